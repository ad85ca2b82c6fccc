"""Which recipe `camtraps train` takes, and which of two models it keeps."""
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.apps.cli import training
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.dataset.splits import add_folds, split_photographs
from urbanrivers_camtraps.evaluation.blank_filter import blank_filter
from urbanrivers_camtraps.foundations.core import CamtrapsError, collect_notices
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.images.background import BOX
from urbanrivers_camtraps.training.bundle_format import read_description
from urbanrivers_camtraps.training.preprocess import Recipe


def dataset_with(folder: Path, **columns: object) -> Path:
    "Write a data set of two photographs that nobody opens."
    table = pd.DataFrame({'media_id': ['a', 'b'], 'path': ['a.jpg', 'b.jpg'], 'label': ['blank', 'Castor canadensis'], 'split': ['train', 'valid'],
                          'fold': [0, 1], 'sha256': ['1', '2']}).assign(**columns)
    write_table(table, folder/'dataset.parquet')
    return folder


@pytest.mark.parametrize('place, arguments, expected', [
    (.5, [], ('tf_efficientnet_lite2', 320, True, 2e-3)), (None, [], ('tf_efficientnet_lite2', 320, False, 3e-3)),
    (.5, ['--no-motion'], ('tf_efficientnet_lite2', 320, False, 3e-3)),
    (.5, ['--backbone', 'tf_efficientnet_lite0'], ('tf_efficientnet_lite0', 224, True, 2e-3))])
def test_train_takes_the_recipe_of_the_study(tmp_path, monkeypatch, place, arguments, expected):
    taken = []
    def stop(method, seen, recipe, *_):
        taken.append((recipe.backbone, recipe.size, recipe.motion, recipe.C))
        raise CamtrapsError('seen enough')
    monkeypatch.setattr(training, '_trained', stop)
    run(['train', *arguments, '--data', str(dataset_with(tmp_path, **dict.fromkeys(BOX, place)))])
    assert taken == [expected]


@pytest.mark.parametrize('tuned, plain, kept', [
    (['a', 'b', 'a'], ['a', 'a', 'a'], 'tuned'), (['a', 'a', 'a'], ['a', 'a', 'b'], 'probe'), (['a', 'a', 'a'], ['b', 'a', 'b'], 'probe')])
def test_out_of_fold_the_better_of_fine_tuning_and_its_probe_is_kept(monkeypatch, tuned, plain, kept):
    judged, other = (pd.DataFrame({'label': ['a', 'b', 'b'], 'prediction': o}) for o in (tuned, plain))
    monkeypatch.setattr(training, 'probe', SimpleNamespace(out_of_fold=lambda *_, **__: other, probe=lambda *_, **__: 'probe'))
    learner = SimpleNamespace(recipe=None)
    with collect_notices() as notices: model, table = training._better(learner, judged, judged, {})
    assert (model is learner and table is judged and not notices) if kept == 'tuned' else (model == 'probe' and table is other and len(notices) == 1)


# --- what cannot be trained, judged or shipped ends in a line that says what to do ---

def photographs_in(folder: Path, bursts: int = 9) -> Path:
    "Draw plain photographs of four classes, two a burst, and the table that names them."
    rows, random = [], np.random.default_rng(0)
    for label, colour in {'Castor canadensis': (200, 40, 40), 'Branta canadensis': (40, 200, 40), 'Anas platyrhynchos': (40, 40, 200),
                          'blank': (128, 128, 128)}.items():
        for number in range(2*bursts):
            path = folder/f'{label[:4]}{number}.png'
            Image.fromarray((np.array(colour) + random.integers(-40, 40, (48, 64, 3))).clip(0, 255).astype('uint8')).save(path)
            rows.append({'media_id': path.stem, 'path': str(path), 'label': label, 'burst_id': f'{label[:4]}{number//2}',
                         'sha256': path.stem})
    table = split_photographs(pd.DataFrame(rows), 'burst', test=0, valid=.25)
    write_table(add_folds(table, 'burst'), folder/'dataset.parquet', by='burst', seed=42)
    return folder


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    "A data folder without a held-out set, in which a quick model was trained and never evaluated."
    data = photographs_in(tmp_path_factory.mktemp('trained'))
    assert called('train', *QUICK, data=data) == 0
    return data


QUICK = '--backbone', 'tf_efficientnet_lite0', '--size', '32', '--no-motion'


def called(*arguments: object, data: Path) -> int:
    "Run a command on a data folder in this process; return its exit status."
    return run([str(o) for o in arguments] + ['--data', str(data)]) or 0


def last_line(capsys) -> str:
    "Return the last line of the error stream."
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('command', ['evaluate', 'export', 'train'])
def test_without_a_data_set_nothing_begins(tmp_path, capsys, command):
    assert called(command, data=tmp_path) == 1
    assert last_line(capsys) == f"camtraps: {tmp_path/'dataset.parquet'}: there is no such table. Run `camtraps dataset` first"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('command, said', [
    (['evaluate'], 'there is no trained model. Run `camtraps train` first'), (['export'], 'there is no trained model. Run `camtraps train` first'),
    (['evaluate', '--final'], 'there is no trained model. Run `camtraps train` first'),
    (['train', '--final', *QUICK], 'there is no evaluated model. Run `camtraps train` with the same options, then `camtraps evaluate --final`')])
def test_without_a_model_nothing_is_judged_or_shipped(tmp_path, capsys, command, said):
    assert called(*command, data=dataset_with(tmp_path)) == 1
    assert last_line(capsys) == f"camtraps: {tmp_path/'model'}: {said}"
    assert [o.name for o in tmp_path.iterdir()] == ['dataset.parquet']


def test_without_a_held_out_set_there_is_nothing_to_open(trained, capsys):
    assert called('evaluate', '--final', data=trained) == 1
    assert last_line(capsys) == f"camtraps: {trained/'dataset.parquet'}: there is no held-out set. Run `camtraps evaluate` without --final"
    assert not (trained/'metrics.json').exists() and not (trained/'report.html').exists()


def test_a_recall_that_cannot_be_promised_is_refused_before_anything_is_written(trained, capsys):
    before = sorted(trained.rglob('*'))
    assert called('export', '--recall', .95, '--confidence', .95, data=trained) == 1
    line = last_line(capsys)
    assert '27 bursts with animal photographs are too few to promise 95 % with 95 % confidence: it takes 59 without a miss' in line
    assert line.endswith('Label more bursts, or promise less') and sorted(trained.rglob('*')) == before
    for wrong in ('0', '1', '95', '-1'):
        assert called('export', f'--recall={wrong}', data=trained) == 1
        assert last_line(capsys) == f'camtraps: a recall of {wrong} cannot be promised. Write a number between 0 and 1'
    assert called('export', '--recall', .8, '--confidence', 95, data=trained) == 1 and 'a confidence of 95' in last_line(capsys)
    assert sorted(trained.rglob('*')) == before


def test_a_model_that_nobody_evaluated_ships_with_what_training_measured(trained, tmp_path, capsys):
    assert called('export', '--recall', .8, '--bundle', tmp_path/'bundle', data=trained) == 0
    told = capsys.readouterr()
    assert 'was not evaluated, so the bundle states only what training measured. Run `camtraps evaluate`, then export again' in told.err
    assert 'a new burst loses on average at most 20 % of its animal photographs' in told.out
    judged, known = read_table(trained/'out_of_fold.parquet'), read_description(tmp_path/'bundle')
    assert known.metrics['error'].value == pytest.approx((judged.prediction != judged.label).mean()) and 'blank' in known.thresholds
    assert known.metrics['error'].conditions == '72 photographs out of fold, no burst on two sides'
    (trained/'metrics.json').write_text('{"error": 0.1')
    try:
        assert called('export', '--bundle', tmp_path/'other', data=trained) == 1 and not (tmp_path/'other').exists()
        assert last_line(capsys) == f"camtraps: {trained/'metrics.json'}: is damaged. Run `camtraps evaluate` again"
        assert called('train', '--final', *QUICK, data=trained) == 1 and 'metrics.json: is damaged' in last_line(capsys)
    finally: (trained/'metrics.json').unlink()


def test_the_last_model_needs_an_evaluated_one(trained, capsys):
    assert called('train', '--final', *QUICK, data=trained) == 1
    assert last_line(capsys) == f"camtraps: {trained/'model'}: was not evaluated. Run `camtraps evaluate`: there is no held-out set to open"
    (trained/'metrics.json').write_text(json.dumps({'error': .1, 'evaluated_on': '72 photographs out of fold'}))
    try: assert called('train', '--final', *QUICK, data=trained) == 0 and (trained/'final'/'run.json').exists()
    finally:
        (trained/'metrics.json').unlink()
        shutil.rmtree(trained/'final', ignore_errors=True)
    assert 'trained on all 72 photographs' in capsys.readouterr().out


def test_the_held_out_set_is_opened_before_the_last_model(tmp_path, monkeypatch):
    "Metrics out of fold are not enough where there is a held-out set; those of the held-out set are."
    run_json = {'method': 'probe', 'recipe': asdict(Recipe())}
    (tmp_path/'model').mkdir()
    (tmp_path/'model'/'run.json').write_text(json.dumps(run_json))
    rows, judge = pd.DataFrame({'split': ['train', 'test']}), training._evaluated_run
    for evaluated_on, fits in (('434 photographs out of fold', False), ('99 test photographs, split by burst', True)):
        (tmp_path/'metrics.json').write_text(json.dumps({'evaluated_on': evaluated_on}))
        if fits: assert judge(training.Fit.probe, Recipe(), rows, tmp_path)['method'] == 'probe'
        else:
            with pytest.raises(CamtrapsError, match='was not evaluated on the held-out set'): judge(training.Fit.probe, Recipe(), rows, tmp_path)
    with pytest.raises(CamtrapsError, match='has another size, method'): judge(training.Fit.finetune, Recipe(size=96), rows, tmp_path)


def test_both_ways_of_looking_are_measured_in_report_bundle_and_readme(tmp_path, capsys):
    "With the motion crop, metrics are stated for both views and for the whole frame only: in the report, bundle.json and the README."
    table = read_table(photographs_in(tmp_path)/'dataset.parquet')
    for column, place in zip(BOX, (.25, .25, .75, .75)): table[column] = [np.nan, *[place]*(len(table) - 1)]  # one had no neighbours
    write_table(table, tmp_path/'dataset.parquet', **table.attrs)
    assert called('train', *QUICK[:-1], '--motion', data=tmp_path) == 0 and called('evaluate', data=tmp_path) == 0
    assert called('export', data=tmp_path) == 0
    both = 'each by whole frame and motion crop, but 1 without enough neighbours by the whole frame only'
    page, known = (tmp_path/'report.html').read_text('utf-8'), read_description(tmp_path/'bundle')
    section = page.split('<h2>One view or two</h2>')[1].split('</section>')[0]
    heads = re.findall('<th(?: [^>]*)?>(.*?)</th>', section)
    assert both in section and {'whole frame only', 'whole frame and motion crop'} <= set(heads)
    judged = read_table(tmp_path/'out_of_fold.parquet')
    alone = np.array(known.classes)[np.stack(judged.whole_scores).argmax(1)]
    for name, wrong in (('error', judged.prediction != judged.label), ('whole_frame_error', alone != judged.label)):
        assert known.metrics[name].value == pytest.approx(wrong.mean()) == json.loads((tmp_path/'metrics.json').read_text())[name]
    readme = (tmp_path/'bundle'/'README.md').read_text('utf-8')
    assert both in known.metrics['error'].conditions and both in readme
    assert 'as if it had come alone' in known.metrics['whole_frame_error'].conditions and 'as if it had come alone' in readme
    headings = {'One answer for a burst', 'From which score does nobody need to look?', 'Where no species is sure', 'None of the classes it knows',
                'Is it right next month?', 'Random, burst, next weeks, unseen location'}
    assert all(f'<h2>{o}</h2>' in page for o in headings)
    told = capsys.readouterr()
    assert 'whole frame error' in told.out and 'was not evaluated' not in told.err


def test_thresholds_are_chosen_on_scores_of_the_kind_that_ships(tmp_path, monkeypatch):
    """Training leaves scores before the temperature. A threshold that is chosen on those is too low for the model that ships.

    That model knows these photographs by heart and tells all of them apart, so counting on it does not mend the threshold."""
    random, count = np.random.default_rng(0), 400
    is_blank = np.arange(count) % 2 == 0
    logit = np.where(is_blank, 6., 0.) + random.normal(0, .7, count)
    table = pd.DataFrame({'media_id': [f'p{o}' for o in range(count)], 'label': np.where(is_blank, 'blank', 'Castor canadensis'),
                          'burst_id': np.arange(count).astype(str), 'split': 'train', 'fold': np.arange(count) % 5})
    def scored(logits: np.ndarray) -> Predictions:
        blank = 1/(1 + np.exp(-logits))
        best = np.where(blank >= .5, 'blank', 'Castor canadensis')
        return Predictions(table.assign(prediction=best, score=np.maximum(blank, 1 - blank), scores=list(np.stack([1 - blank, blank], 1))),
                           ['Castor canadensis', 'blank'])
    told, expected = [], blank_filter(scored(logit/.5), .95)
    monkeypatch.setattr(training, 'calibration_rows', lambda _: scored(logit))
    monkeypatch.setattr(training, 'probe', SimpleNamespace(learner_predictions=lambda *_, **__: scored(np.where(is_blank, 6., -6.))))
    monkeypatch.setattr(training, 'echo', told.append)
    found = training._thresholds(SimpleNamespace(temperature=.5), table, table, tmp_path, .95, .95)
    assert found['thresholds']['blank'] == pytest.approx(expected.threshold) and expected.threshold > blank_filter(scored(logit), .95).threshold + .05
    assert f'{100*expected.blanks_removed:g} % of the blank ones' in told[0]
