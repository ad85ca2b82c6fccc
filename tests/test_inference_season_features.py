"""A season's features: none is lost or taken for another photograph's, whenever the run is killed; an older bundle goes without."""
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from urbanrivers_camtraps.foundations.core import TableError, collect_notices
from urbanrivers_camtraps.images.photograph import open_photograph
from urbanrivers_camtraps.inference.bundle import read_bundle
from urbanrivers_camtraps.inference.season import PART, Job, on_threads, predict_season, read_season
from urbanrivers_camtraps.inference.season_features import copy_features, features_column, have_features, read_features
from urbanrivers_camtraps.training.bundle_format import BundleError
from urbanrivers_camtraps.training.quantise import to_float16

#: Runs a season over argv[1:5] (bundle, folder, out, features), and waits to be killed after the write that argv[5:7] name and number.
CHILD = """
import sys, time
from urbanrivers_camtraps.inference import season
calls = []
def slowly(function):
    def slow(*args, **settings):
        result = function(*args, **settings)
        calls.append(function.__name__)
        if calls.count(sys.argv[5]) == int(sys.argv[6]):
            print('written', flush=True)
            time.sleep(600)
        return result
    return slow
for name in ('_write_part', 'copy_features', '_join'): setattr(season, name, slowly(getattr(season, name)))
season.predict_season(sys.argv[2], sys.argv[3], season.Job(sys.argv[1]), features=sys.argv[4], progress=False)
"""


@pytest.fixture(scope='module')
def card(tmp_path_factory) -> Path:
    "A card of 620 photographs in two folders, each of its own shade; every hundredth is damaged."
    folder = tmp_path_factory.mktemp('features')/'card'
    folder.mkdir()
    for number in range(620):
        path = folder/f'IMG_{number:04}.JPG'
        Image.new('RGB', (64, 48), (number % 250, number//3, 255 - number % 250)).save(path)
        if number % 100 == 99: path.write_bytes(path.read_bytes()[:200])
    return folder


def seen(path: Path) -> pd.DataFrame:
    "Read all features, one row a photograph."
    return pd.concat([pd.DataFrame(numbers, paths) for paths, numbers in read_features(path)])


def direct(bundle: Path, paths: list[str]) -> np.ndarray:
    "Compute features one by one."
    model = read_bundle(bundle)
    return np.stack([model.describe(model.open(o))[1] for o in paths])


def without_features(folder: Path, copy: Path) -> Path:
    "Copy a bundle as an earlier version wrote it."
    shutil.copytree(folder, copy)
    model = onnx.load(copy/'model.onnx')
    outputs = [o for o in model.graph.output if o.name != 'features']
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    about = json.loads((copy/'bundle.json').read_text())
    about['files']['model.onnx'] = hashlib.sha256(model.SerializeToString()).hexdigest()
    (copy/'model.onnx').write_bytes(model.SerializeToString())
    (copy/'bundle.json').write_text(json.dumps(about))
    return copy


@pytest.mark.parametrize('moment, times', [('_write_part', 1), ('_write_part', 2), ('copy_features', 1), ('_join', 1)])
def test_a_kill_between_any_two_writes_loses_and_misplaces_nothing(bundle_folder, card, tmp_path, moment, times):
    out, features = tmp_path/'predictions.parquet', tmp_path/'features.parquet'
    command = [sys.executable, '-c', CHILD, bundle_folder, card, out, features, moment, str(times)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == 'written\n'
        run.send_signal(signal.SIGKILL)
    assert out.exists() == (moment == '_join') and features.exists() == (moment in ('copy_features', '_join'))
    (card/'IMG_0003.JPG').touch()  # another file now, as far as anybody can tell
    predict_season(card, out, Job(str(bundle_folder)), features=features, progress=False)
    found, season = seen(features), read_season(out)
    assert found.index.tolist() != [] and found.index.is_unique and set(found.index) == set(season.path)
    some = found.index[::40]
    np.testing.assert_allclose(found.loc[some], direct(bundle_folder, list(some)), atol=2e-3)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['features.parquet', 'predictions.parquet'] or (tmp_path/'predictions.gone.csv').exists()


def test_features_of_a_file_that_changed_or_is_gone_leave(bundle_folder, card, tmp_path):
    slot, out, features = tmp_path/'card', tmp_path/'predictions.parquet', tmp_path/'features.parquet'
    slot.mkdir()
    for path in sorted(card.iterdir())[:6]: shutil.copy(path, slot)
    job = Job(str(bundle_folder))
    predict_season(slot, out, job, features=features, progress=False)
    before = seen(features)
    (slot/'IMG_0001.JPG').unlink()
    Image.new('RGB', (64, 48), (255, 0, 0)).save(slot/'IMG_0002.JPG')
    shutil.copy(card/'IMG_0050.JPG', slot)
    asked = []

    def watched(sources, job):
        asked.extend(Path(o).name for o in sources)
        return on_threads(sources, job)

    predict_season(slot, out, job, watched, features=features, progress=False)
    after = seen(features)
    assert sorted(asked) == ['IMG_0002.JPG', 'IMG_0050.JPG']
    assert [Path(o).name for o in sorted(after.index)] == ['IMG_0000.JPG', 'IMG_0002.JPG', 'IMG_0003.JPG', 'IMG_0004.JPG', 'IMG_0005.JPG', 'IMG_0050.JPG']
    same = [o for o in before.index if o in after.index and not o.endswith('2.JPG')]
    assert (after.loc[same] == before.loc[same]).all(axis=None)
    np.testing.assert_allclose(after, direct(bundle_folder, list(after.index)), atol=2e-3)
    written = features.stat().st_mtime_ns
    predict_season(slot, out, job, features=features, progress=False)
    assert features.stat().st_mtime_ns == written  # nothing new: it is not written again


def test_without_a_file_for_them_nothing_changes(bundle_folder, card, tmp_path):
    few = tmp_path/'few'
    few.mkdir()
    for path in sorted(card.iterdir())[:4]: shutil.copy(path, few)
    plain = predict_season(few, tmp_path/'plain.parquet', Job(str(bundle_folder)), progress=False)
    kept = predict_season(few, tmp_path/'kept.parquet', Job(str(bundle_folder)), features=tmp_path/'f.parquet', progress=False)
    assert plain.read_bytes() == kept.read_bytes() and 'features' not in pq.read_schema(plain).names
    assert sorted(o.name for o in tmp_path.iterdir()) == ['f.parquet', 'few', 'kept.parquet', 'plain.parquet']
    assert [o.features for o in on_threads([str(few/'IMG_0000.JPG')], Job(str(bundle_folder)))] == [None]


def test_an_older_bundle_predicts_as_before_and_says_what_is_missing(bundle_folder, card, tmp_path):
    old = without_features(bundle_folder, tmp_path/'old')
    assert (read_bundle(old).features, read_bundle(bundle_folder).features) == (0, 16)
    photograph = open_photograph(card/'IMG_0007.JPG')
    scores, features = read_bundle(old).describe(photograph)
    assert features is None and (scores == read_bundle(bundle_folder)(photograph)).all()
    few = sorted(card.iterdir())[:3]
    with collect_notices() as notices:
        out = predict_season(few, tmp_path/'predictions.parquet', Job(str(old)), features=tmp_path/'features.parquet', progress=False)
    assert len(read_season(out)) == 3 and not (tmp_path/'features.parquet').exists()
    assert 'gives no features' in notices[0] and 'camtraps export' in notices[0]


def test_photographs_that_were_predicted_before_features_were_kept_are_counted(bundle_folder, card, tmp_path):
    job, out, paths = Job(str(bundle_folder)), tmp_path/'predictions.parquet', sorted(card.iterdir())
    predict_season(paths[:5], out, job, progress=False)
    with collect_notices() as notices: predict_season(paths[:8], out, job, features=tmp_path/'features.parquet', progress=False)
    assert [Path(o).name for o in seen(tmp_path/'features.parquet').index] == ['IMG_0005.JPG', 'IMG_0006.JPG', 'IMG_0007.JPG']
    assert any('5 photographs were predicted before features were kept' in o for o in notices)


def test_features_of_another_bundle_are_not_mixed_in(bundle_folder, card, tmp_path):
    paths, out, features = sorted(card.iterdir())[:3], tmp_path/'predictions.parquet', tmp_path/'features.parquet'
    predict_season(paths, out, Job(str(bundle_folder), trim=(.2, .2)), features=features, progress=False)
    out.unlink()  # only the features are left
    predict_season(paths[:2], out, Job(str(bundle_folder)), features=features, progress=False)
    assert len(seen(features)) == 2
    np.testing.assert_allclose(seen(features), direct(bundle_folder, list(map(str, paths[:2]))), atol=2e-3)


def test_a_foreign_file_is_refused_before_the_work(bundle_folder, card, tmp_path):
    (tmp_path/'features.parquet').write_text('mine')
    worked = lambda *args: pytest.fail('worked')
    with pytest.raises(TableError):
        predict_season(card, tmp_path/'p.parquet', Job(str(bundle_folder)), worked, features=tmp_path/'features.parquet', progress=False)
    assert (tmp_path/'features.parquet').read_text() == 'mine'


def test_weights_of_sixteen_bits_give_the_same_features(bundle_folder, tmp_path):
    import onnxruntime as ort
    photograph = np.asarray(Image.effect_noise((64, 48), 80).convert('RGB'))
    small = ort.InferenceSession(to_float16(bundle_folder), providers=['CPUExecutionProvider'])
    found = small.run(['features'], {'photograph': photograph, 'trim': np.float32([.05, .05])})[0]
    np.testing.assert_allclose(found, read_bundle(bundle_folder).describe(photograph)[1], atol=2e-2)


def test_features_of_another_shape_are_refused(bundle_folder, tmp_path):
    from onnx import helper
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    model = onnx.load(folder/'model.onnx')
    next(o for o in model.graph.node if 'features' in o.output).output[0] = 'row'
    model.graph.node.append(helper.make_node('Cast', ['row'], ['features'], to=11))
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info('features', 11, [16]))
    (folder/'model.onnx').write_bytes(model.SerializeToString())
    about = json.loads((folder/'bundle.json').read_text())
    about['files']['model.onnx'] = hashlib.sha256((folder/'model.onnx').read_bytes()).hexdigest()
    (folder/'bundle.json').write_text(json.dumps(about))
    with pytest.raises(BundleError, match='features that are not one row'): read_bundle(folder)


def test_rows_without_features_and_files_of_many_batches(tmp_path):
    numbers = np.random.default_rng(0).normal(0, 50, (12_000, 3)).astype('float32')
    rows = [None if number % 7 == 0 else o for number, o in enumerate(numbers)]
    import pyarrow as pa
    table = pa.table({'path': [str(o) for o in range(12_000)], 'size': [1]*12_000, 'etag': pa.nulls(12_000, pa.string()),
                      'modified': pa.nulls(12_000, pa.timestamp('us', 'UTC'))})
    pq.write_table(table.append_column('features', features_column(rows, 3)), tmp_path/'1.parquet', row_group_size=1_000)
    is_there = have_features([tmp_path/'1.parquet'])
    assert is_there.sum() == sum(o is not None for o in rows)
    found = seen(copy_features([tmp_path/'1.parquet'], is_there, tmp_path/'2.parquet', {}))
    expected = numbers[is_there]
    assert found.index.tolist() == [str(o) for o in np.flatnonzero(is_there)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    found = seen(copy_features([tmp_path/'2.parquet'], np.zeros(len(expected), bool) | (np.arange(len(expected)) == 6_000), tmp_path/'2.parquet', {}))
    assert len(found) == 1 and found.index[0] == str(np.flatnonzero(is_there)[6_000])


def test_parts_hold_predictions_and_features_of_the_same_photographs(bundle_folder, card, tmp_path):
    out = tmp_path/'predictions.parquet'

    def stopped(sources, job):
        yield from on_threads(sources[:PART + 10], job)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt): predict_season(card, out, Job(str(bundle_folder)), stopped, features=tmp_path/'f.parquet', progress=False)
    parts = sorted((tmp_path/'.predictions.parquet.parts').glob('*.parquet'))
    assert len(parts) == 2
    for part in parts:
        table = pq.read_table(part)
        assert table['features'].is_valid().to_pylist() == table['reason'].is_null().to_pylist()
