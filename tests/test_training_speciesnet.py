"""Version B is opened only if it is trusted, sees what Google's package sees, and learns like any backbone."""
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('fastai')
pytest.importorskip('onnx2torch')

import torch  # noqa: E402
from torch import nn  # noqa: E402

from urbanrivers_camtraps.images.photograph import open_photograph  # noqa: E402
from urbanrivers_camtraps.inference.bundle import read_bundle  # noqa: E402
from urbanrivers_camtraps.inference.speciesnet import run_speciesnet  # noqa: E402
from urbanrivers_camtraps.training.bundle_format import Transforms, load_session  # noqa: E402
from urbanrivers_camtraps.training.export import AGREEMENT, _before_network, write_bundle  # noqa: E402
from urbanrivers_camtraps.training.finetune import _halves, finetune  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe  # noqa: E402
from urbanrivers_camtraps.training.probe import learner_predictions, load_run, out_of_fold, probe, save_run  # noqa: E402
from urbanrivers_camtraps.training.speciesnet_files import (  # noqa: E402
    SUMS,
    SpeciesNetError,
    find_model,
    pin_model,
    read_model_labels,
)
from urbanrivers_camtraps.training.speciesnet_network import (  # noqa: E402
    RECIPE,
    _cut_rows,
    _frame_square,
    _score_frames,
    _without_head,
    classify,
    load_network,
    load_speciesnet,
    make_stand_in,
)

SHAPES = {'wide.jpg': (900, 601), 'odd.png': (333, 517), 'large.jpg': (1600, 1401), 'small.png': (120, 97)}


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> Path:
    "A stand-in's folder, pinned."
    folder = make_stand_in(tmp_path_factory.mktemp('model')/'model')
    pin_model(folder)
    return folder


@pytest.fixture
def ours(model, monkeypatch) -> Path:
    "The stand-in's folder, set."
    monkeypatch.setenv('SPECIESNET_DIR', str(model))
    return model


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> list[Path]:
    "Noisy photographs of several sizes, one of them lying on its side."
    folder, random = tmp_path_factory.mktemp('frames'), np.random.default_rng(0)
    for name, (width, height) in SHAPES.items():
        coarse = Image.fromarray(random.integers(0, 256, (height//8, width//8, 3), dtype=np.uint8)).resize((width, height))
        coarse.save(folder/name)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    coarse.save(folder/'sideways.jpg', exif=sideways)
    return sorted(folder.iterdir())


@pytest.fixture(scope='module')
def drawn(tmp_path_factory) -> pd.DataFrame:
    "Forty photographs of two classes: dark bars on light grass, and bare grass; neighbours are not on two sides."
    folder, random, rows = tmp_path_factory.mktemp('drawn'), np.random.default_rng(1), []
    for number in range(40):
        photograph = Image.fromarray(random.integers(150, 220, (96, 128, 3), dtype=np.uint8))
        if number % 2:
            for at in range(20, 110, 12): ImageDraw.Draw(photograph).rectangle((at, 40, at + 5, 60), fill=(20, 30, 40))
        photograph.save(folder/f'{number}.png')
        rows.append({'media_id': str(number), 'path': str(folder/f'{number}.png'), 'label': 'Branta canadensis' if number % 2 else 'blank',
                     'sha256': f'{number:064x}', 'fold': number//8 % 2, 'split': 'valid' if number//8 == 4 else 'train'})
    return pd.DataFrame(rows)


def small(**more) -> object:
    "The recipe for small photographs."
    return replace(RECIPE, size=64, batch_size=8, epochs=1, **more)


# ---------------------------------------------------------------- trust

def test_what_is_not_pinned_or_was_exchanged_is_not_opened(model, tmp_path):
    class Harm:
        "Leaves a trace when it is loaded."
        def __reduce__(self): return Path.touch, (tmp_path/'harm',)
    folder = make_stand_in(tmp_path/'model')
    with pytest.raises(SpeciesNetError, match='is not pinned'): load_network(folder)
    pins = pin_model(folder)
    torch.save(Harm(), folder/'stand_in.pt')
    for given in (None, pins['stand_in.pt'], '0'*64):
        with pytest.raises(SpeciesNetError, match='SHA-256 differs'): load_speciesnet(folder, given)
    assert not (tmp_path/'harm').exists()
    torch.load(folder/'stand_in.pt', weights_only=False)  # the trap is a real one
    assert (tmp_path/'harm').exists()


def test_the_setting_pins_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    folder = make_stand_in(tmp_path/'model')
    (folder/SUMS).mkdir()  # stands in the way, as a read-only disk would
    with pytest.raises(SpeciesNetError, match='SPECIESNET_SHA256=') as told: pin_model(folder)
    (folder/SUMS).rmdir()
    monkeypatch.setenv('SPECIESNET_SHA256', str(told.value).rpartition('=')[2])
    assert load_speciesnet(folder)[0](torch.zeros(1, 3, 64, 64)).shape == (1, 64)


def test_a_damaged_file_that_is_trusted_says_so(tmp_path):
    folder = make_stand_in(tmp_path/'model')
    (folder/'stand_in.pt').write_bytes((folder/'stand_in.pt').read_bytes()[:5000])
    pin_model(folder)
    with pytest.raises(SpeciesNetError, match='cannot be loaded with torch'): load_network(folder)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv('SPECIESNET_DIR', raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpeciesNetError, match='SPECIESNET_DIR.*google/speciesnet.*Kaggle'): find_model()
    folder = make_stand_in(tmp_path/'model')
    (folder/'stand_in.pt').unlink()
    with pytest.raises(SpeciesNetError, match='lacks stand_in.pt.*Kaggle'): find_model(folder)


def test_a_folder_that_is_not_version_b_says_why(model, tmp_path):
    folder = make_stand_in(tmp_path/'other', seed=1)
    info = json.loads((folder/'info.json').read_text())
    for change, message in (({'type': 'always_crop'}, 'Take version B'), ({'classifier': 'gone.pt'}, 'lacks gone.pt')):
        (folder/'info.json').write_text(json.dumps({**info, **change}))
        with pytest.raises(SpeciesNetError, match=message): load_network(folder)
    (folder/'info.json').write_text(json.dumps(info))
    torch.save({'not': 'a network'}, folder/'stand_in.pt')
    pin_model(folder)
    with pytest.raises(SpeciesNetError, match='holds a dict and no graph'): load_network(folder)


def test_without_the_setting_the_weights_are_not_found(drawn, tmp_path, monkeypatch):
    monkeypatch.delenv('SPECIESNET_DIR', raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpeciesNetError, match='Kaggle'): load_speciesnet()
    with pytest.raises(SpeciesNetError, match='SPECIESNET_DIR'): probe(drawn, small())


# ---------------------------------------------------------------- what Google's package sees

#: Lets the package be imported without what only its detector and its maps need.
STUBS = {'yolov5/__init__.py': '', 'yolov5/utils/__init__.py': '', 'yolov5/utils/augmentations.py': 'letterbox = None',
         'yolov5/utils/general.py': 'non_max_suppression = xyxy2xywhn = scale_boxes = None', 'reverse_geocoder.py': ''}
THEIRS = '''
import json, sys
import numpy as np
from speciesnet.classifier import SpeciesNetClassifier
from speciesnet.utils import load_rgb_image
classifier, found = SpeciesNetClassifier(sys.argv[1], device='cpu'), {}
for number, path in enumerate(sys.argv[3:]):
    seen = classifier.preprocess(load_rgb_image(path))
    np.save(f'{sys.argv[2]}/{number}.npy', seen[0].arr)
    found[path] = classifier.predict(path, seen, num_classes=None)['classifications_list'][0]
print(json.dumps(found))
'''


@pytest.fixture(scope='module')
def with_package(tmp_path_factory) -> dict:
    "The environment in which Google's package can be imported; skip where it is not installed."
    folder = tmp_path_factory.mktemp('stubs')
    for name, text in STUBS.items():
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).write_text(text)
    environment = {**os.environ, 'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1'}
    if subprocess.run([sys.executable, '-c', 'import speciesnet'], env=environment, capture_output=True).returncode:
        pytest.skip("Google's package is not here: `pip install --no-deps -r tests/field_tools.txt`")
    return environment


def test_pixels_and_scores_are_those_of_the_package(model, frames, with_package, tmp_path):
    paths = [str(o) for o in frames]
    run = subprocess.run([sys.executable, '-c', THEIRS, str(model), str(tmp_path), *paths], env=with_package, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    scores, labels = _score_frames(load_network(model), paths), read_model_labels(find_model(model))
    for number, path in enumerate(paths):
        assert np.array_equal(_frame_square(path), np.load(tmp_path/f'{number}.npy')), path
        theirs = dict(zip(found[path]['classes'], found[path]['scores']))
        assert np.allclose(scores[number], [theirs[o] for o in labels], atol=1e-6)
    assert np.ptp(scores, axis=0).max() > .01  # the photographs are told apart, or anything would agree


def test_the_packages_own_script_runs_and_goes_on(model, frames, with_package, tmp_path, monkeypatch):
    for name in ('PYTHONPATH', 'OMP_NUM_THREADS'): monkeypatch.setenv(name, with_package[name])
    out, options = tmp_path/'predictions.json', dict(folder=model, options=('--classifier_only',), progress=False)
    assert run_speciesnet(frames[:2], out, **options).empty
    written = json.loads(out.read_text())
    written['predictions'][0]['detections'][0]['raw_classifications']['scores'][0] = .123  # to know it again
    out.write_text(json.dumps(written))
    assert run_speciesnet(frames, out, **options).empty
    after = {o['filepath']: o for o in json.loads(out.read_text())['predictions']}
    assert list(after) == [str(o) for o in frames]
    assert after[str(frames[0])] == written['predictions'][0]
    top = after[str(frames[-1])]['detections'][0]['raw_classifications']
    table = classify(pd.DataFrame({'path': [str(frames[-1])]}), model)
    assert np.isclose(top['scores'][0], table.score.iloc[0], atol=1e-4)


# ---------------------------------------------------------------- a backbone like any other

def test_probe_and_finetune_learn_and_the_bundle_agrees(ours, drawn, tmp_path):
    valid = drawn[drawn.split == 'valid']
    probed = probe(drawn, small(), cache=tmp_path/'features')
    tuned = finetune(drawn, small(), cache=tmp_path/'features', folder=tmp_path/'run', progress=False, keep_better=False)
    for learner in (probed, tuned):
        said = learner_predictions(learner, valid)
        assert (said.prediction == said.label).mean() >= .9
    assert probed.frozen and not tuned.frozen
    read = read_bundle(write_bundle(tuned, tmp_path/'bundle'))
    assert json.loads((tmp_path/'bundle/bundle.json').read_text())['transforms']['antialias'] is False
    assert np.abs(np.stack([read(open_photograph(o)) for o in valid.path]) - np.stack(said.scores)).max() <= AGREEMENT
    again = load_run(save_run(tuned, tmp_path/'saved', drawn), drawn)
    assert np.allclose(np.stack(learner_predictions(again, valid).scores), np.stack(said.scores), atol=1e-5)


def test_the_body_is_frozen_first_and_then_learns_down_to_the_first_convolution(ours, drawn):
    from fastai.callback.core import Callback
    seen = []

    class Watch(Callback):
        "Keep the first and the last convolution's weights as each epoch's training leaves them."
        order = 85
        def after_train(self):
            convolutions = [o for o in self.model[0].modules() if isinstance(o, nn.Conv2d)]
            seen.append([convolutions[0].weight.detach().clone(), convolutions[-1].weight.detach().clone()])

    start = [o.weight.detach().clone() for o in load_speciesnet()[0].modules() if isinstance(o, nn.Conv2d)]
    tuned = finetune(drawn, replace(small(), epochs=2), progress=False, callbacks=(Watch(),), keep_better=False)
    (first, last), (first_then, _) = seen
    assert torch.equal(first, start[0]) and not torch.equal(last, start[-1])  # the lower half waits
    assert not torch.equal(first_then, start[0])
    norm = next(o for o in tuned.model[0].modules() if isinstance(o, nn.BatchNorm2d))
    assert norm.running_mean.abs().max() == 0 and norm.running_var.min() == 1  # as in the file


def test_folds_and_cache_tell_the_ways_of_shrinking_apart(ours, drawn, tmp_path):
    body, _ = load_speciesnet()
    scores = {}
    for antialias in (True, False):
        recipe = replace(small(), antialias=antialias, size=48)
        out_of_fold(drawn, recipe, cache=tmp_path/'features', folder=tmp_path/'folds', body=body)
        scores[antialias] = np.stack(out_of_fold(drawn, recipe, cache=tmp_path/'features', folder=tmp_path/'folds', body=body).scores)
    assert len(list((tmp_path/'features').iterdir())) == 2 and len(list((tmp_path/'folds').iterdir())) == 4
    assert np.abs(scores[True] - scores[False]).max() > 1e-3


def test_the_graph_of_a_bundle_gives_the_network_what_the_package_would(ours, frames):
    "The graph in front, with version B's own trim for each frame, against the package's squares."
    from types import SimpleNamespace

    import onnx
    versions = SimpleNamespace(opset_import=[onnx.helper.make_opsetid('', 18)], ir_version=10)
    before = load_session(_before_network(Transforms(size=480, mean=(0,)*3, std=(1,)*3, trim=(0, 0), antialias=False), versions).SerializeToString())
    for path in frames:
        photograph = open_photograph(path)
        trim = np.float32([int(o)/photograph.height for o in _cut_rows(photograph.height)])
        squares, = before.run(None, {'photograph': np.asarray(photograph), 'trim': trim})
        levels = np.abs(squares[0].transpose(1, 2, 0)*255 - _frame_square(path))
        assert levels.max() < 1.01 and (levels > .5).mean() < 1e-3


def test_a_head_of_separate_operations_is_cut_off_too(model):
    "A head as MatMul and Add over constants, which onnx2torch leaves apart."
    from onnx2torch.node_converters.binary_math_operations import OnnxBinaryMathOperation
    from onnx2torch.node_converters.matmul import OnnxMatMul
    network, whole, body = load_network(model), load_network(model), load_speciesnet(model)[0]
    linear = next(o for o in network.graph.nodes if o.op == 'call_module' and isinstance(network.get_submodule(o.target), nn.Linear))
    weights = network.get_submodule(linear.target)
    network.register_buffer('weight', weights.weight.detach().T)
    network.register_buffer('bias', weights.bias.detach())
    network.add_module('product', OnnxMatMul())
    network.add_module('plus', OnnxBinaryMathOperation('Add'))
    with network.graph.inserting_before(linear):
        product = network.graph.call_module('product', (linear.args[0], network.graph.get_attr('weight')))
        linear.replace_all_uses_with(network.graph.call_module('plus', (product, network.graph.get_attr('bias'))))
    network.graph.erase_node(linear)
    network.recompile()
    pixels = torch.rand(2, 64, 64, 3)
    assert torch.allclose(network(pixels), whole(pixels), atol=1e-5)
    assert torch.allclose(_without_head(network)(pixels), body(pixels.permute(0, 3, 1, 2)), atol=1e-6)


def test_a_branch_around_the_head_is_refused():
    class Gate(nn.Module):
        "Its linear layer weighs the map that is pooled."
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 8)
        def forward(self, x):
            x = self.conv(x.permute(0, 3, 1, 2))
            return (x*self.fc(x.mean((2, 3)))[..., None, None]).mean((2, 3))

    with pytest.raises(SpeciesNetError, match='does not end in a linear layer'): _without_head(torch.fx.symbolic_trace(Gate()))


def test_gradients_reach_the_first_layer_and_the_halves_hold_all_parameters(ours, drawn):
    body, _ = load_speciesnet()
    first = next(o for o in body.modules() if isinstance(o, nn.Conv2d))
    norm = next(o for o in body.modules() if isinstance(o, nn.BatchNorm2d))
    body.train()(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert first.weight.grad.abs().sum() > 0 and (norm.running_mean != 0).any()  # in training, without SteadyNorm, they change
    learner = finetune(drawn, replace(small(), epochs=2), progress=False, keep_better=False)  # the lower half is frozen in the first epoch
    lower, upper, ahead = ({id(o) for o in part} for part in _halves(learner.model))
    stem, *_, top = [o for o in learner.model[0].modules() if isinstance(o, nn.Conv2d)]
    assert id(stem.weight) in lower and id(top.weight) in upper and not lower & upper
    assert lower | upper | ahead == {id(o) for o in learner.model.parameters()}
    before, after = load_speciesnet()[0].state_dict(), learner.model[0].state_dict()
    steady = [o for o in before if 'running' in o]
    assert len(steady) == 2
    for name in before: assert torch.equal(before[name], after[name].cpu()) == (name in steady or not before[name].is_floating_point()), name


def test_the_preprocessing_comes_with_the_backbone(ours, drawn):
    learner = probe(drawn, Recipe('speciesnet', 64, batch_size=8))  # as the command line makes it
    assert (learner.recipe.mean, learner.recipe.std, learner.recipe.antialias) == ((0, 0, 0), (1, 1, 1), False)


def test_labels_of_one_name_are_added_up_and_labels_must_go_with_the_network(tmp_path, drawn):
    folder, rows = make_stand_in(tmp_path/'model'), drawn.head(1)
    labels = folder/'stand_in.labels.txt'
    text, pin = labels.read_text(), pin_model(folder)['stand_in.pt']
    answers = classify(rows, folder)
    assert len(classify(rows.head(0), folder)) == 0
    (folder/SUMS).write_text(f'{pin}  stand_in.pt\n')
    labels.write_text(text.replace(text.splitlines()[3], text.splitlines()[0]))  # two labels of one name
    added = classify(rows, folder)
    assert len(added.classes) == len(answers.classes) - 1
    assert np.isclose(added.scores.iloc[0][0], answers.scores.iloc[0][[0, 3]].sum(), atol=1e-6)
    labels.write_text(text + text.splitlines()[0] + '\n')
    with pytest.raises(SpeciesNetError, match='9 scores for 10 labels'): classify(rows, folder)


# ---------------------------------------------------------------- the real file

@pytest.mark.skipif(not os.environ.get('SPECIESNET_DIR'), reason='SPECIESNET_DIR points at no model: its weights cannot be downloaded by a program')
def test_the_real_file_gives_1280_features_and_2498_logits(frames):
    assert len(read_model_labels(find_model())) == 2498
    pixels = torch.from_numpy(np.stack([_frame_square(o) for o in frames[:2]])).float()/255
    network = load_network()
    body, statistics = load_speciesnet()
    with torch.no_grad():
        assert network(pixels).shape == (2, 2498)
        assert body(pixels.permute(0, 3, 1, 2)).shape == (2, 1280)
    body(pixels.permute(0, 3, 1, 2)).square().mean().backward()
    first = next(o for o in body.modules() if isinstance(o, nn.Conv2d))
    assert first.weight.grad.abs().sum() > 0 and statistics['mean'] == (0, 0, 0)


@pytest.mark.skipif(not os.environ.get('SPECIESNET_DIR'), reason='SPECIESNET_DIR points at no model: its weights cannot be downloaded by a program')
def test_a_bundle_can_be_made_of_the_real_file(drawn, tmp_path):
    learner = probe(drawn.groupby('label').head(8).assign(split=['train', 'train', 'valid', 'valid']*4), RECIPE)
    read_bundle(write_bundle(learner, tmp_path/'bundle'))
