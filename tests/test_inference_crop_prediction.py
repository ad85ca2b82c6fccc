"""A card whose photographs are predicted by a detector's boxes: in order, with what was skipped, and with a model for frames without a box."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.images.crops import CropError
from urbanrivers_camtraps.images.photograph import open_photograph
from urbanrivers_camtraps.inference.bundle import Bundle, read_bundle
from urbanrivers_camtraps.inference.crop_prediction import predict_crops
from urbanrivers_camtraps.inference.detector_json import read_detector_json
from urbanrivers_camtraps.inference.predict import predict, score_photograph
from urbanrivers_camtraps.inference.write_detector_json import write_megadetector, write_speciesnet


def scene(path: Path, box: tuple, size: tuple = (400, 300), banner: int = 0) -> None:
    "Write a grey photograph with an orange box, in pixels, and a blue banner below."
    image = Image.new('RGB', size, (90, 90, 90))
    image.paste((240, 140, 0), box)
    if banner: image.paste((0, 0, 255), (0, size[1] - banner, *size))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95, subsampling=0)


def on_a_card(tmp_path: Path) -> Path:
    "A card of three photographs and a broken file, and a detector's file that knows three of the four."
    card = tmp_path/'card'
    for number, box in enumerate([(100, 100, 200, 180), (10, 10, 90, 90), (200, 150, 300, 250)]): scene(card/'100RECNX'/f'IMG_{number}.JPG', box, banner=30)
    (card/'100RECNX'/'IMG_3.JPG').write_bytes(b'\xff\xd8 broken')
    found = lambda *box, conf=.9: {'category': '1', 'conf': conf, 'bbox': list(box)}
    images = [{'file': '100RECNX/IMG_0.JPG', 'detections': [found(.25, 1/3, .25, .27), found(.5, .5, .2, .2, conf=.05)]},
              {'file': '100RECNX/IMG_1.JPG', 'detections': [found(.5, .5, .2, .2, conf=.1)]},
              {'file': '100RECNX/IMG_3.JPG', 'failure': 'Failure image access', 'detections': None}]
    (tmp_path/'boxes.json').write_text(json.dumps({
        'info': {'format_version': '1.4'}, 'detection_categories': {'1': 'animal', '2': 'person'}, 'images': images}))
    return card


def test_a_card_with_a_detectors_file(tmp_path, bundle_folder):
    bundle, card = read_bundle(bundle_folder), on_a_card(tmp_path)
    results = read_detector_json(tmp_path/'boxes.json')
    predictions = predict_crops(bundle, card, results, trim=(0, .1), progress=False)
    assert [Path(o).name for o in predictions.path] == ['IMG_0.JPG', 'IMG_1.JPG']
    assert [Path(o).name for o in predictions.skipped.id] == ['IMG_2.JPG', 'IMG_3.JPG'] and predictions.skipped.reason.str.contains('Let it look again').all()
    expected, blank = bundle(open_photograph(card/'100RECNX'/'IMG_0.JPG').crop((90, 80, 210, 200)), (0, 0)), bundle.classes.index('blank')
    evidence = np.where(np.arange(len(expected)) == blank, expected, .9*expected)
    assert predictions.scores[0] == pytest.approx(evidence/evidence.sum(), abs=1e-5)
    assert predictions.prediction[1] == 'blank' and predictions.score[1] == pytest.approx(.9) and predictions.crops.tolist() == [1, 0]
    assert predictions.attrs == predict(bundle, card, progress=False).attrs and predictions.attrs['model']['origin'] == bundle.origin
    bare = predict_crops(bundle, card, results.detections, trim=(0, .1), progress=False)
    assert [Path(o).name for o in bare.path] == ['IMG_0.JPG', 'IMG_1.JPG', 'IMG_2.JPG'] and bare.prediction[2] == 'blank'
    assert bare.skipped.reason.str.contains('damaged|not a photograph').all() and len(bare.skipped) == 1
    for workers in (1, 3):
        again = predict_crops(bundle, card, results, trim=(0, .1), workers=workers, progress=False)
        assert np.array_equal(np.stack(again.scores), np.stack(predictions.scores))


def test_predictions_by_boxes_name_the_bundle_and_its_commit(tmp_path, bundle_folder):
    commit = '5f'*20
    bundle = replace(read_bundle(bundle_folder), folder=Path(f'models--urban-rivers--who/snapshots/{commit}'))  # as if it were fetched
    predictions = predict_crops(bundle, on_a_card(tmp_path), read_detector_json(tmp_path/'boxes.json'), progress=False)
    written = json.loads(write_megadetector(predictions, tmp_path/'written.json').read_text())
    assert f'urban-rivers/who@{commit}' in written['info']['classifier']
    records = json.loads(write_speciesnet(predictions, tmp_path/'speciesnet.json').read_text())['predictions']
    assert {o['model_version'] for o in records} == {written['info']['classifier']} and len(records) == 4
    for write, name in ((write_megadetector, 'written.json'), (write_speciesnet, 'speciesnet.json')):  # known as ours, so it may be replaced
        before = (tmp_path/name).read_bytes()
        assert write(predictions, tmp_path/name).read_bytes() == before
    assert json.loads(write_megadetector(predictions, tmp_path/'mine.json', model_version='mine').read_text())['info']['classifier'] == 'mine'


@pytest.mark.parametrize('out', ['season', 'season.parquet'])
def test_boxes_make_no_season_and_it_is_said_before_the_work(tmp_path, bundle_folder, capsys, out):
    card = on_a_card(tmp_path)
    assert run(['predict', str(card), '--bundle', str(bundle_folder), '--boxes', str(tmp_path/'boxes.json'), '--out', str(tmp_path/out)]) == 1
    assert 'cannot become a season yet' in capsys.readouterr().err and not (tmp_path/out).exists()


@pytest.mark.parametrize('options, said', [
    (['--engine', 'ray'], '--engine ray: says something about a file'), (['--format', 'megadetector'], '--format: says something about a file'),
    (['--times-from', 'file', '--out', 'a.csv', '--boxes', 'boxes.json'], '--times-from file: has no effect with --boxes'),
    (['--address', 'auto', '--out', 'a.csv'], '--address: is of a Ray cluster')])
def test_no_option_is_passed_over_without_a_word(tmp_path, bundle_folder, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    assert run(['predict', 'card', '--bundle', str(bundle_folder), *options]) == 1
    assert said in capsys.readouterr().err and not (tmp_path/'a.csv').exists()


def test_a_card_with_another_model_for_frames_without_a_box(tmp_path, bundle_folder):
    bundle, card = read_bundle(bundle_folder), on_a_card(tmp_path)
    results, whole = read_detector_json(tmp_path/'boxes.json'), predict(bundle, card, progress=False)
    predictions = predict_crops(bundle, card, results, fallback=whole, progress=False)
    assert predictions.scores[1] == pytest.approx(score_photograph(bundle, card/'100RECNX'/'IMG_1.JPG'), abs=1e-6)
    whole = Predictions(whole, ['Aix sponsa', *whole.classes[1:]])
    with pytest.raises(CropError, match='does not, such as Aix sponsa'): predict_crops(bundle, card, results, fallback=whole, progress=False)
    classes = tuple(o.replace('blank', 'Aix sponsa') for o in bundle.classes)
    no_blank = Bundle(bundle.folder, bundle.description.model_copy(update={'classes': classes}), bundle.session)
    with pytest.raises(CropError, match='has no class blank'): predict_crops(no_blank, card, results, progress=False)
