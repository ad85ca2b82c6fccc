"""The long ways through training: real frames, the final word, the last model, the motion crop and fine-tuning, and crops."""
import hashlib
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from commands import camtraps, script
from speciesnet_stand_in import write_opinions
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.inference.bundle import read_bundle

FRAMES = os.environ.get('CAMTRAPS_FRAMES')
QUICK = '--backbone', 'tf_efficientnet_lite0'


@pytest.mark.skipif(not FRAMES, reason='CAMTRAPS_FRAMES names no folder of real frames')
def test_demo_on_real_frames(tmp_path):
    given = pd.read_csv(Path(FRAMES)/'manifest.csv')
    given = given[given.groupby('label').seq_id.transform(lambda o: pd.factorize(o)[0] % 3 == 0)]  # a third of each class's bursts
    given.to_csv(tmp_path/'manifest.csv', index=False)
    done = script('demo', '--images', FRAMES, '--manifest', tmp_path/'manifest.csv', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    photographs = read_table(tmp_path/'demo'/'dataset.parquet')
    given['media_id'] = [hashlib.md5((Path(FRAMES)/o).read_bytes()).hexdigest() for o in given.path]
    both = photographs.merge(given[['media_id', 'seq_id']].drop_duplicates('media_id'), on='media_id')
    assert len(both) == len(photographs) > 300
    assert both.groupby('seq_id').split.nunique().max() == 1  # the banner's own bursts, not those we found
    figures = pd.read_json(tmp_path/'demo'/'metrics.json', typ='series')
    assert figures.error < .3 < figures.majority_error
    write_opinions(photographs, tmp_path/'speciesnet.json', '5.0.6')
    done = camtraps('evaluate', '--speciesnet', 'speciesnet.json', '--data', 'demo', folder=tmp_path)
    assert done.returncode == 0 and 'counts' in done.stdout, done.stderr


def test_nothing_but_the_final_word_opens_a_test_photograph(demo, tmp_path):
    data = tmp_path/'data'
    shutil.copytree(demo[0], data)
    photographs = read_table(data/'dataset.parquet')
    some = pd.factorize(photographs.burst_id.fillna(photographs.media_id))[0] % 2 == 0  # every second burst is enough
    photographs = photographs.assign(path=[str(tmp_path/'data'/Path(o).relative_to('demo')) for o in photographs.path])[some]
    write_table(photographs, data/'dataset.parquet', **photographs.attrs)
    for path in photographs.path[photographs.split == 'test']: Path(path).unlink()
    shutil.rmtree(data/'features')
    for verb in (['train', *QUICK, '--size', '96'], ['evaluate'], ['export']):
        done = camtraps(*verb, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    figures = pd.read_json(data/'metrics.json', typ='series')
    assert 'out of fold' in figures.evaluated_on and figures.photographs == (photographs.split.isin(['train', 'valid'])).sum()
    assert not set(read_table(data/'out_of_fold.parquet').media_id) & set(photographs.media_id[photographs.split == 'test'])
    done = camtraps('evaluate', '--final', folder=tmp_path)
    assert done.returncode == 1 and 'No such file' in done.stderr


def test_the_last_model_learns_from_everything_and_has_the_metrics_of_the_one_before(demo, tmp_path):
    data = tmp_path/'data'
    shutil.copytree(demo[0], data)
    (tmp_path/'demo').symlink_to(data)
    recipe = json.loads((data/'model'/'run.json').read_text())['recipe']
    options = ['--backbone', recipe['backbone'], '--size', recipe['size'], '--motion' if recipe['motion'] else '--no-motion']
    other = camtraps('train', '--final', *options, '--seed', 7, folder=tmp_path)
    assert other.returncode == 1 and 'has another seed' in other.stderr
    done = camtraps('train', '--final', *options, folder=tmp_path)
    assert done.returncode == 0 and 'Its metrics are those of the model before' in done.stdout, done.stderr
    assert camtraps('export', folder=tmp_path).returncode == 0
    known, before = (read_bundle(o/'bundle').description for o in (data, demo[0]))
    photographs = read_table(data/'dataset.parquet')
    assert known.final and not before.final and known.provenance.photographs == (photographs.split != 'none').sum() > before.provenance.photographs
    assert known.metrics['error'].value == before.metrics['error'].value and 'had not seen' in known.metrics['error'].conditions
    assert 'trained on all photographs' in (data/'bundle'/'README.md').read_text()
    assert camtraps('export', '--recall', .99, folder=tmp_path).stderr.count('it takes 299') == 1
    refused = camtraps('export', '--small', 'int8', folder=tmp_path)
    assert refused.returncode == 1 and 'no photographs left' in refused.stderr


def test_a_second_look_and_a_tuned_network_go_all_the_way(demo, tmp_path):
    data = tmp_path/'data'
    shutil.copytree(demo[0], data)
    (tmp_path/'demo').symlink_to(data)  # the paths in the tables
    for verb in (['dataset', '--motion'], ['train', *QUICK, '--motion', '--method', 'finetune', '--epochs', '1', '--size', '64'], ['export']):
        done = camtraps(*verb, folder=tmp_path)
        assert done.returncode in (0, 3), done.stderr
    split, before = (read_table(o/'dataset.parquet').set_index('media_id').split for o in (data, demo[0]))
    assert (split == 'test').equals(before == 'test')  # frozen
    assert (data/'model'/'run'/'history.csv').exists() and read_table(data/'out_of_fold.parquet').attrs['evaluated_on'] == 'validation photographs'
    assert len(read_bundle(data/'bundle').classes) == 9
    described = read_bundle(data/'bundle').description
    assert described.motion and set(described.metrics) == {'error', 'macro_recall', 'photographs', 'whole_frame_error', 'whole_frame_macro_recall'}
    judged = read_table(data/'out_of_fold.parquet')
    assert described.metrics['error'].value == pytest.approx((judged.prediction != judged.label).mean())
    assert described.metrics['whole_frame_error'].conditions.endswith('each by its whole frame only, as if it had come alone')
    assert 'each by whole frame and motion crop' in (data/'bundle'/'README.md').read_text() and 'whole frame error' in done.stdout


def test_crops_go_all_the_way(demo, tmp_path):
    "A detector's boxes, made up from the truth, are cut out, learned from, judged by frame, exported and asked."
    from urbanrivers_camtraps.foundations.sandbox import make_sandbox, sandbox_boxes
    data, numbers = tmp_path/'data', {'animal': '1', 'human': '2', 'vehicle': '3'}
    shutil.copytree(demo[0], data)
    boxes = sandbox_boxes(make_sandbox('small'))  # the practice server that the demo ran on
    images = [{'file': Path(o.path).name, 'detections': [
        {'category': numbers[b.category], 'conf': b.confidence, 'bbox': [b.left, b.top, b.right - b.left, b.bottom - b.top]}
        for b in boxes[boxes.media_id == o.media_id].itertuples()]} for o in read_table(data/'photographs.parquet').itertuples()]
    (tmp_path/'boxes.json').write_text(json.dumps({'info': {'format_version': '1.6'}, 'images': images, 'detection_categories': {
        '1': 'animal', '2': 'person', '3': 'vehicle'}}))
    for arguments in (['dataset', '--boxes', tmp_path/'boxes.json'], ['train', *QUICK, '--crops'], ['evaluate', '--final'], ['export']):
        done = camtraps(*arguments, '--data', data, folder=demo[0].parent)
        assert done.returncode == 0, (arguments, done.stderr)
    assert 'Whole frame or crop' in (data/'report.html').read_text(encoding='utf-8')
    whole, crops = read_table(data/'out_of_fold_whole.parquet'), read_table(data/'out_of_fold.parquet')
    assert set(whole.media_id) == set(crops.media_id) == set(read_table(demo[0]/'out_of_fold.parquet').media_id)
    assert (crops.prediction == crops.label).mean() > (whole.prediction == whole.label).mean()  # out of fold; boxes made of the truth are kind
    assert read_table(data/'predictions.parquet').split.unique().tolist() == ['test']
    some = read_table(data/'predictions.parquet').path.head(4).tolist()
    done = camtraps('predict', *some, '--bundle', data/'bundle', '--boxes', tmp_path/'boxes.json', '--out', tmp_path/'answers.csv', folder=demo[0].parent)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path/'answers.csv')) == 4
