"""Photographs of every kind are predicted or listed, in their order, and written so that every photograph is accounted for."""
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.images.photograph import open_for_network
from urbanrivers_camtraps.inference.bundle import Bundle, read_bundle
from urbanrivers_camtraps.inference.predict import predict, score_photograph, write_predictions
from urbanrivers_camtraps.inference.season import Job, predict_season, read_season
from urbanrivers_camtraps.training.bundle_format import golden_photographs
from urbanrivers_camtraps.training.export import write_bundle

CLASSES = ['Anas platyrhynchos', 'Branta canadensis', 'blank']


class Tiny(torch.nn.Module):
    "A convolution and a head."
    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Conv2d(3, 16, 5, 4), torch.nn.Linear(16, 3)

    def forward(self, x): return self.head(self.body(x).relu().mean((2, 3)))*10


@pytest.fixture(scope='module')
def bundle(tmp_path_factory) -> Bundle:
    "A bundle whose network has learned nothing."
    torch.manual_seed(0)
    recipe = SimpleNamespace(backbone='tiny', size=64, trim_top=.05, trim_bottom=.05, mean=(.5,)*3, std=(.25,)*3)
    learner = SimpleNamespace(model=Tiny(), recipe=recipe, dls=SimpleNamespace(vocab=CLASSES))
    return read_bundle(write_bundle(learner, tmp_path_factory.mktemp('predict')/'bundle', deployments={'Wild Mile 02': (.2, .1)}))


@pytest.fixture(scope='module')
def card(tmp_path_factory) -> Path:
    "Four photographs, an empty file and a list."
    card = tmp_path_factory.mktemp('card')
    for name, photograph in golden_photographs().items(): photograph.save(card/f'{name}.jpg')
    (card/'empty.jpg').touch()
    (card/'index.txt').write_text('not a photograph, and not named like one')
    return card


def test_scores_and_what_is_skipped(bundle, card):
    predictions = predict(bundle, card, progress=False)
    assert list(predictions.classes) == CLASSES and len(predictions) == 4
    np.testing.assert_allclose(np.stack(predictions.scores).sum(1), 1, atol=1e-5)
    assert predictions.score.tolist() == [float(o.max()) for o in predictions.scores]
    assert predictions.skipped.reason.tolist() == ['is empty. Copy or download it again']
    assert set(predictions.decision) == {'review'}  # without thresholds, all of them


def test_thresholds_decide(bundle, card):
    lenient = Bundle(bundle.folder, bundle.description.model_copy(update={'thresholds': {'blank': .3, 'accept': .5}}), bundle.session)
    decided = predict(lenient, card, progress=False)
    blank = np.stack(decided.scores)[:, CLASSES.index('blank')] >= .3
    assert (decided.decision == 'blank').tolist() == blank.tolist()
    accepted = ~blank & (decided.score >= .5) & (decided.prediction != 'blank')
    assert (decided.decision == 'accept').tolist() == accepted.tolist()


def test_a_known_deployment_is_cut_as_measured(bundle, card):
    portrait = card/'portrait.jpg'
    usual, measured = (predict(bundle, portrait, deployment=o, progress=False).scores[0] for o in (None, 'Wild Mile 02'))
    assert (measured == score_photograph(bundle, portrait, (.2, .1))).all() and np.abs(measured - usual).max() > 1e-5
    with pytest.raises(CamtrapsError, match='It knows Wild Mile 02'): predict(bundle, card, deployment='Goose Island', progress=False)


@pytest.mark.parametrize('workers', [1, 4])
def test_rows_are_in_the_order_of_the_paths(bundle, card, workers):
    names = ['thumbnail', 'landscape', 'portrait']
    predictions = predict(bundle, [card/f'{o}.jpg' for o in names], workers=workers, progress=False)
    assert [Path(o).stem for o in predictions.path] == names
    assert (predictions.scores[2] == score_photograph(bundle, card/'portrait.jpg')).all()


def test_photographs_of_every_kind(bundle, card, tmp_path):
    photograph, upside_down = golden_photographs()['landscape'], Image.Exif()
    upside_down[0x0112] = 3  # the camera hung upside down and says so
    photograph.convert('CMYK').save(tmp_path/'cmyk.jpg')
    Image.fromarray(np.asarray(photograph.convert('L')).astype('uint16')*257).save(tmp_path/'grey16.png')
    photograph.rotate(180).save(tmp_path/'rotated.jpg', exif=upside_down, quality=95)
    photograph.save(tmp_path/'upright.jpg', quality=95)
    photograph.convert('RGBA').save(tmp_path/'alpha.png')
    Image.new('RGB', (1, 1)).save(tmp_path/'1x1.png')
    Image.new('1', (20_000, 10_000)).save(tmp_path/'200-megapixels.png')
    whole = (card/'landscape.jpg').read_bytes()
    (tmp_path/'truncated.jpg').write_bytes(whole[:len(whole)//2])
    (tmp_path/'page.jpg').write_text('<html>Please log in</html>')
    predictions = predict(bundle, tmp_path, progress=False)
    scores = dict(zip([Path(o).stem for o in predictions.path], predictions.scores))
    assert sorted(scores) == ['alpha', 'cmyk', 'grey16', 'rotated', 'upright']
    assert sorted(Path(o).name for o in predictions.skipped.id) == ['1x1.png', '200-megapixels.png', 'page.jpg', 'truncated.jpg']
    for name in ('rotated', 'alpha'): np.testing.assert_allclose(scores[name], scores['upright'], atol=.02)


def test_nothing_could_be_read(bundle, tmp_path):
    Image.new('RGB', (1, 1)).save(tmp_path/'1x1.png')
    broken = predict(bundle, [tmp_path/'1x1.png'], progress=False)
    assert (len(broken), len(broken.skipped), list(broken)) == (0, 1, ['path', 'prediction', 'score', 'scores', 'decision'])
    assert list(broken.classes) == CLASSES
    assert pd.read_csv(write_predictions(broken, tmp_path/'broken.csv')).error.notna().tolist() == [True]
    assert len(json.loads(write_predictions(broken, tmp_path/'broken.json').read_text())) == 1


def test_files_account_for_every_photograph(bundle, card, tmp_path):
    predictions = predict(bundle, card, progress=False)
    written = pd.read_csv(write_predictions(predictions, tmp_path/'all.CSV'))
    assert list(written) == ['path', 'prediction', 'common_name', 'score', 'decision', *CLASSES, 'error']
    assert written.error.notna().tolist() == [False]*4 + [True]
    records = json.loads(write_predictions(predictions, tmp_path/'all.json').read_text())
    assert len(records) == 5 and records[-1]['error'] == 'is empty. Copy or download it again'
    with pytest.raises(CamtrapsError, match='neither in .csv'): write_predictions(predictions, tmp_path/'all.txt')
    assert sorted(o.name for o in tmp_path.iterdir()) == ['all.CSV', 'all.json']


def test_max_side_is_refused_in_words(bundle, card, capsys):
    assert run(['predict', str(card), '--bundle', str(bundle.folder), '--max-side', '512']) == 1
    said = capsys.readouterr().err
    assert '--max-side: is not an option of predict any more' in said and 'as small as the network allows' in said


def test_predict_season_and_app_see_the_same_pixels_of_a_large_photograph(bundle, tmp_path):
    golden_photographs()['landscape'].resize((2050, 1538)).save(tmp_path/'large.jpg', quality=90)
    reduced = open_for_network(tmp_path/'large.jpg', 64)
    assert reduced.size == (257, 193)  # an eighth, and the rest of a block
    expected = bundle(reduced)
    assert (predict(bundle, tmp_path/'large.jpg', progress=False).scores[0] == expected).all()
    assert (read_season(predict_season(tmp_path, tmp_path/'season.parquet', Job(str(bundle.folder)), progress=False)).scores[0] == expected).all()
