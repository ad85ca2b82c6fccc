"""fastai's own calls on our Learner, and a fastai learner in our reports and bundles."""
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
pytest.importorskip('fastai')

from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock  # noqa: E402
from fastai.data.transforms import ColReader, ColSplitter  # noqa: E402
from fastai.learner import load_learner  # noqa: E402
from fastai.vision.augment import Resize  # noqa: E402
from fastai.vision.data import ImageBlock  # noqa: E402
from fastai.vision.learner import vision_learner  # noqa: E402
from torchvision.models import resnet18  # noqa: E402

from urbanrivers_camtraps.inference.bundle import read_bundle  # noqa: E402
from urbanrivers_camtraps.inference.predict import predict  # noqa: E402
from urbanrivers_camtraps.training.export import write_bundle  # noqa: E402
from urbanrivers_camtraps.training.learner import from_learner, set_temperature  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe, TrainError  # noqa: E402
from urbanrivers_camtraps.training.probe import learner_predictions, load_run, probe, save_run  # noqa: E402

CUT = Recipe(size=64, trim_top=.25, trim_bottom=0, batch_size=8)


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    "Red and green squares below a bright banner of a quarter of the height."
    folder, rows, generator = tmp_path_factory.mktemp('squares'), [], np.random.default_rng(0)
    for number in range(40):
        label = ('green', 'red')[number % 2]
        pixels = generator.integers(0, 60, (128, 128, 3), 'uint8')
        pixels[..., 0 if label == 'red' else 1] += 120
        pixels[:32] = generator.integers(0, 255, 3)
        path = folder/f'{number}.png'
        Image.fromarray(pixels).save(path)
        rows.append({'path': str(path), 'label': label, 'split': 'train' if number < 28 else 'valid', 'sha256': path.stem})
    return pd.DataFrame(rows)


@pytest.fixture(scope='module')
def learner(photographs): return probe(photographs, CUT)


def quietly(learner, what):
    with learner.no_bar(), learner.no_logging(): return what()


def test_predict_takes_a_path_bytes_and_an_image_and_cuts_the_banner_off(learner, photographs, tmp_path):
    path = photographs.path[1]
    label, number, scores = learner.predict(path)
    expected = learner_predictions(learner, photographs.iloc[[1]])
    assert label == 'red' == expected.prediction.iloc[0] and number == 1
    assert np.allclose(scores, expected.scores.iloc[0], atol=1e-3)
    with Image.open(path) as opened: painted = opened.convert('RGB')
    painted.paste((0, 255, 0), (0, 0, 128, 32))  # where the banner is
    painted.save(tmp_path/'painted.png')
    for same in (str(tmp_path/'painted.png'), tmp_path/'painted.png', (tmp_path/'painted.png').read_bytes(), painted):
        assert np.allclose(learner.predict(same)[2], scores, atol=1e-3)


def test_test_dl_takes_paths_and_tables_and_prefers_the_heights_of_a_table(learner, photographs):
    paths = photographs.path.tolist()
    expected = np.stack(learner_predictions(learner, photographs).scores)
    for items in (paths, photographs[['path']]):
        scores, _ = quietly(learner, lambda: learner.get_preds(dl=learner.dls.test_dl(items)))
        assert np.allclose(scores, expected, atol=1e-3)
    uncut = photographs.assign(banner_top=0., banner_bottom=0.)
    scores, _ = quietly(learner, lambda: learner.get_preds(dl=learner.dls.test_dl(uncut)))
    assert np.allclose(scores, np.stack(learner_predictions(learner, uncut).scores), atol=1e-3)
    assert not np.allclose(scores, expected, atol=1e-3)


def test_fine_tune_starts_from_the_head_of_the_probe_and_freeze_leaves_the_body(photographs):
    learner = probe(photographs, CUT)
    head = learner.model[1].weight.detach().clone()
    convolution = next(o for o in learner.model[0].modules() if isinstance(o, torch.nn.Conv2d))
    body = convolution.weight.detach().clone()
    learner.freeze()
    quietly(learner, lambda: learner.fit(1, 1e-4))
    assert torch.equal(convolution.weight, body) and not torch.equal(learner.model[1].weight, head)
    assert (learner.model[1].weight - head).abs().max() < .05
    quietly(learner, lambda: learner.fine_tune(1, base_lr=1e-3))
    assert not torch.equal(convolution.weight, body)


def test_a_temperature_reaches_every_way_to_predict_and_goes_when_the_weights_change(photographs, tmp_path):
    learner = probe(photographs, CUT)
    plain = learner.predict(photographs.path[0])[2]
    set_temperature(learner, 4.)
    softer = (plain.log()/4).softmax(0)
    assert np.allclose(learner.predict(photographs.path[0])[2], softer, atol=1e-3)
    assert np.allclose(learner_predictions(learner, photographs.head(1)).scores.iloc[0], softer, atol=1e-3)
    run = load_run(save_run(learner, tmp_path/'run', photographs), photographs)
    assert np.allclose(run.predict(photographs.path[0])[2], softer, atol=1e-3)
    learner.export(tmp_path/'learner.pkl')
    assert np.allclose(load_learner(tmp_path/'learner.pkl').predict(photographs.path[0])[2], softer, atol=1e-3)
    quietly(learner, lambda: learner.lr_find(num_it=12, show_plot=False, suggest_funcs=()))
    assert learner.temperature == 4 == learner.loss_func.temperature
    quietly(learner, lambda: learner.fit(1, 1e-5))
    assert learner.temperature == 1 == learner.loss_func.temperature and not learner.frozen


def theirs(photographs, blocks=(ImageBlock, CategoryBlock), resize=None):
    "Train nothing, but make a learner as fastai's book does."
    table = photographs.assign(is_valid=photographs.split == 'valid')
    block = DataBlock(blocks, get_x=ColReader('path'), get_y=ColReader('label'), splitter=ColSplitter(),
                      item_tfms=resize or Resize(64, method='squish'))
    return vision_learner(block.dataloaders(table, bs=8), resnet18, pretrained=False)


def test_any_fastai_learner_is_judged_and_shipped_as_it_predicts_itself(photographs, tmp_path):
    learner = from_learner(theirs(photographs), backbone='resnet18')
    quietly(learner, lambda: learner.fit_one_cycle(2, 1e-3))
    valid = photographs[photographs.split == 'valid']
    judged = learner_predictions(learner, valid)
    scores, _ = quietly(learner, lambda: learner.get_preds(dl=learner.dls.test_dl(valid)))
    assert np.allclose(np.stack(judged.scores), scores, atol=.02)
    bundle = read_bundle(write_bundle(learner, tmp_path/'bundle'))
    shipped = predict(bundle, valid.path.tolist(), progress=False)
    assert np.allclose(np.stack(shipped.scores), np.stack(judged.scores), atol=.02)
    assert bundle.description.backbone == 'resnet18'


def test_a_learner_that_does_not_fit_is_refused_or_named(photographs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert from_learner(theirs(photographs, resize=Resize(48))).recipe.size == 48
    assert any("method='squish'" in str(o.message) for o in caught)
    several = photographs.assign(label=photographs.label.map(lambda o: [o]))
    with pytest.raises(TrainError, match='one class for each'):
        from_learner(theirs(several, (ImageBlock, MultiCategoryBlock)))
