"""Look-alikes: the mean of a burst's frames without its camera, the nearest in order, groups, ten thousand bursts in time, and real frames."""
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from urbanrivers_camtraps.foundations.core import TableError, collect_notices
from urbanrivers_camtraps.inference.season_features import features_column
from urbanrivers_camtraps.review.alike import (
    burst_features,
    find_more,
    groups_alike,
    look_alikes,
    nearest_bursts,
    share_alike,
)
from urbanrivers_camtraps.review.label_errors import ReviewError

FRAMES = os.environ.get('CAMTRAPS_FRAMES')


def write(path: Path, paths: list[str], numbers: np.ndarray) -> Path:
    "Write features as a season has them."
    count = len(paths)
    table = pa.table({'path': paths, 'size': [1]*count, 'etag': pa.nulls(count, pa.string()), 'modified': pa.nulls(count, pa.timestamp('us', 'UTC'))})
    pq.write_table(table.append_column('features', features_column(list(np.float32(numbers)), numbers.shape[1])), path)
    return path


def turned(*degrees: float) -> pd.DataFrame:
    "Bursts a, b, c … whose features point in so many degrees."
    angles = np.radians(degrees)
    return pd.DataFrame(np.float32([np.cos(angles), np.sin(angles)]).T, list('abcdefgh')[:len(degrees)])


def crowd(count: int, length: int, kinds: int, spread: float, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    "Bursts of several kinds, scattered around directions of their own."
    generator = np.random.default_rng(seed)
    middles, kind = generator.normal(0, 1, (kinds, length)).astype('float32'), generator.integers(0, kinds, count)
    numbers = middles[kind] + spread*generator.normal(0, 1, (count, length)).astype('float32')
    return pd.DataFrame(numbers/np.linalg.norm(numbers, axis=1, keepdims=True), [f'burst {o}' for o in range(count)]), kind


def test_a_burst_is_the_mean_of_its_frames_without_what_its_camera_always_sees(tmp_path):
    numbers = np.array([[0, 8], [2, 0], [4, 0], [0, 16.], [0, 4], [9, 9]])
    path = write(tmp_path/'f.parquet', ['1', '2', '3', '4', '5', 'of no burst'], numbers)
    frames = pd.DataFrame({'path': ['1', '2', '3', '4', '5', 'of no burst', 'no features'], 'burst_id': ['a', 'a', 'a', 'b', 'c', None, 'd'],
                           'deployment_id': ['x', 'x', 'x', 'x', 'y', 'y', 'y']})
    with collect_notices() as notices: found = burst_features(path, frames)
    # means (2, 8/3), (0, 16), (0, 4) → roots (√2, √(8/3)), (0, 4), (0, 2); season (√2/3, (√(8/3) + 6)/3)
    roots = np.array([[2**.5, (8/3)**.5], [0, 4], [0, 2]])
    season = roots.mean(0)
    off = np.array([(roots[0] + roots[1] + 2*season)/4]*2 + [(roots[2] + 2*season)/3])
    expected = (roots - off)/np.linalg.norm(roots - off, axis=1, keepdims=True)
    assert found.index.tolist() == ['a', 'b', 'c']
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert any('1 bursts have no features' in o for o in notices) and len(notices) == 1


def test_order_of_frames_and_batches_does_not_matter(tmp_path):
    generator = np.random.default_rng(0)
    numbers, paths = generator.random((12_000, 4)), [f'{o}.jpg' for o in range(12_000)]
    frames = pd.DataFrame({'path': paths, 'burst_id': [f'b{o//3}' for o in range(12_000)], 'deployment_id': [f'd{o//3000}' for o in range(12_000)]})
    mixed = generator.permutation(12_000)
    ordered = burst_features(write(tmp_path/'1.parquet', paths, numbers), frames)
    other = burst_features(write(tmp_path/'2.parquet', [paths[o] for o in mixed], numbers[mixed]), frames.sample(frac=1, random_state=1))
    assert len(ordered) == 4_000
    np.testing.assert_allclose(ordered, other.loc[ordered.index], atol=1e-4)


def test_a_season_without_features_has_no_look_alikes_and_says_so(tmp_path):
    frames = pd.DataFrame({'path': ['1'], 'burst_id': ['a']})
    with collect_notices() as notices: found = burst_features(tmp_path/'none.parquet', frames)
    assert found.empty and 'no look-alikes are shown' in notices[0]
    assert nearest_bursts(found, 'a').empty and groups_alike(found).empty and list(groups_alike(found)) == ['burst_id', 'group', 'size', 'nearness']
    with pytest.raises(ReviewError, match='have no features'): find_more(found, ['a'])
    (tmp_path/'other.parquet').write_text('mine')
    with pytest.raises(TableError, match='holds no features'): burst_features(tmp_path/'other.parquet', frames)
    pd.DataFrame({'path': ['1']}).to_parquet(tmp_path/'table.parquet')
    with pytest.raises(TableError, match='holds no features'): burst_features(tmp_path/'table.parquet', frames)


def test_a_camera_or_a_season_of_one_burst_is_no_error(tmp_path):
    path = write(tmp_path/'f.parquet', ['1'], np.array([[1., 2]]))
    found = burst_features(path, pd.DataFrame({'path': ['1'], 'burst_id': ['a'], 'deployment_id': ['x']}))
    assert found.notna().all(axis=None) and nearest_bursts(found, 'a').empty and groups_alike(found).empty


def test_the_nearest_come_in_order_without_the_burst_itself():
    found = nearest_bursts(turned(0, 10, 90, 180, -20), 'a', 3)
    assert found.burst_id.tolist() == ['b', 'e', 'c']
    np.testing.assert_allclose(found.nearness, np.cos(np.radians([10, 20, 90])), atol=1e-6)
    assert len(nearest_bursts(turned(0, 10), 'a', 10)) == 1 and nearest_bursts(turned(0, 10), 'z').empty


def test_a_review_asks_by_the_frame_that_stands_for_a_burst(tmp_path):
    path = write(tmp_path/'f.parquet', list('123456'), np.array([[9, 0, 0], [9, 1, 0], [0, 9, 0], [0, 9, 1], [0, 0, 9], [9., 2, 0]]))
    frames = pd.DataFrame({'path': list('123456'), 'burst_id': ['a', 'b', 'c', 'd', 'e', 'f']})
    queue = pd.DataFrame({'media_id': ['m-d', 'm-c', 'm-b', 'm-a', 'without'], 'burst_id': ['d', 'c', 'b', 'a', 'x']})
    find = look_alikes(path, frames, queue, 2)
    assert find('m-a')[0] == 'm-b' and find('m-c')[0] == 'm-d' and len(find('m-a')) == 2  # e and f are not reviewed
    assert find('without') == [] and find('unknown') == []
    assert look_alikes(path, frames, queue[queue.burst_id == 'x']) is None


def test_counter_examples_push_away_what_looks_like_them():
    bursts = turned(0, 40, -40, 80)
    assert find_more(bursts, ['a'], k=2).nearness.round(4).tolist() == [.766, .766]
    found = find_more(bursts, ['a'], ['d'], k=5)
    assert found.burst_id.tolist() == ['c', 'b']  # neither those that were named nor their like first
    np.testing.assert_allclose(found.nearness, [np.cos(np.radians(40)), np.cos(np.radians(40)) - np.cos(np.radians(40))/2], atol=1e-5)


def test_examples_that_look_in_two_ways_find_both():
    "By day and in infrared: eight examples of each; the mean of all would find neither first."
    two, kind = crowd(200, 64, 4, .5)
    examples = [o for o, number in zip(two.index, kind) if number in (0, 1)]
    half = examples[::2]
    found = find_more(two, half, k=len(examples) - len(half))
    assert set(found.burst_id) == set(examples) - set(half)


def test_examples_without_features_are_passed_over_if_others_have_some():
    assert find_more(turned(0, 10, 90), ['none', 'a'], k=1).burst_id.tolist() == ['b']


def test_groups_hold_what_is_near_each_other_and_start_with_the_largest():
    bursts = turned(0, 4, 8, 90, 95, 180, 181, 182)
    found = groups_alike(bursts.rename(index=str.upper), .98, least=2)
    assert found.groupby('group').burst_id.agg(set).tolist() == [{'A', 'B', 'C'}, {'F', 'G', 'H'}, {'D', 'E'}] or \
        found.groupby('group').burst_id.agg(set).tolist() == [{'F', 'G', 'H'}, {'A', 'B', 'C'}, {'D', 'E'}]
    assert found['size'].tolist() == [3]*6 + [2]*2
    assert found[found.group == found.group[found.burst_id == 'A'].iloc[0]].burst_id.iloc[0] == 'B'  # the middle one first
    assert len(groups_alike(bursts, .98)) == 6 and groups_alike(bursts, .9999).empty


def test_any_two_of_a_group_are_as_near_as_was_asked():
    bursts, _ = crowd(300, 32, 12, .8)
    for nearness in (.3, .5):
        groups = groups_alike(bursts, nearness)
        assert len(groups)
        for _, rows in groups.groupby('group'):
            numbers = bursts.loc[rows.burst_id].to_numpy()
            assert (numbers @ numbers.T).min() >= nearness - 1e-5


def test_ten_thousand_bursts():
    "Forty kinds are told apart."
    bursts, kind = crowd(10_000, 1280, 40, 1.)
    groups, of = groups_alike(bursts), pd.Series(kind, bursts.index)
    for number in range(5): assert set(nearest_bursts(bursts, f'burst {number}', 5).burst_id.map(of)) == {of[f'burst {number}']}
    assert len(groups) > 9_000 and groups.burst_id.map(of).groupby(groups.group).nunique().eq(1).all()


def test_the_share_of_alike_bursts_by_hand():
    shares = share_alike(turned(0, 5, 90, 95), pd.Series(['x', 'x', 'y', 'y'], list('abcd')), k=1)
    assert shares.alike.tolist() == [1, 1, 1] and shares.bursts.tolist() == [2, 2, 4]
    np.testing.assert_allclose(shares.chance, 1/3)
    crossed = share_alike(turned(0, 5, 90, 95), pd.Series(['x', 'y', 'x', 'y'], list('abcd')), k=1)
    assert crossed.alike.tolist() == [0, 0, 0]
    assert share_alike(turned(0, 5), pd.Series(['x', 'x'], list('ab')), k=10).alike['all'] == 1  # fewer than ten others
    with pytest.raises(ReviewError, match='fewer than two bursts'): share_alike(turned(0, 5), pd.Series(['x'], ['a']))


@pytest.mark.skipif(not FRAMES, reason='CAMTRAPS_FRAMES names no folder of real frames')
def test_real_frames_look_like_their_class(tmp_path):
    pytest.importorskip('torch')
    from urbanrivers_camtraps.training.learner import make_learner
    from urbanrivers_camtraps.training.preprocess import Recipe
    from urbanrivers_camtraps.training.probe import features
    frames = pd.read_csv(Path(FRAMES)/'manifest.csv')
    frames = frames.assign(path=[str(Path(FRAMES)/o) for o in frames.path], split=np.where(np.arange(len(frames)) % 5, 'train', 'valid'))
    learner = make_learner(frames, Recipe())
    seen = features(frames, learner.recipe, learner.model[0])
    path = write(tmp_path/'f.parquet', frames.path.tolist(), seen)
    frames = frames.assign(burst_id=frames.seq_id, deployment_id=frames.location)
    bursts, animals = burst_features(path, frames), frames[frames.label != 'empty']
    labels = animals.groupby('burst_id').label.agg(lambda o: o.mode()[0]).reindex(bursts.index).fillna('empty')
    shares = share_alike(bursts, labels)
    groups = groups_alike(bursts)
    same = groups.burst_id.map(labels).groupby(groups.group).agg(lambda o: o.value_counts().iloc[0]).sum()
    print(f'{shares.alike["all"]:.3f} against {shares.chance["all"]:.3f} by chance; groups {same/len(groups):.3f} right of {len(groups)/len(bursts):.3f}')
    assert shares.alike['all'] > .65 and shares.chance['all'] < .15
    assert same/len(groups) > .8 and len(groups)/len(bursts) > .7


def test_the_review_of_a_season_folder_has_look_alikes(bundle_folder, tmp_path, monkeypatch):
    from PIL import Image
    from typer.testing import CliRunner

    from urbanrivers_camtraps.apps.main import app
    from urbanrivers_camtraps.review import server
    (tmp_path/'card').mkdir()
    for number in range(6): Image.new('RGB', (64, 48), (40*number, 200 - 30*number, 90)).save(tmp_path/'card'/f'{number}.jpg')
    run, served = CliRunner().invoke, []
    done = run(app, ['predict', str(tmp_path/'card'), '--bundle', str(bundle_folder), '--out', str(tmp_path/'season')])
    assert done.exit_code == 0 and (tmp_path/'season'/'features.parquet').is_file(), done.output
    monkeypatch.setattr(server, 'run_review_server', lambda queue, *args, alike, **settings: served.append((queue, alike)))
    done = run(app, ['review', '--season', str(tmp_path/'season')])
    assert done.exit_code == 0, done.output
    queue, alike = served[0]
    first = queue.media_id.iloc[0]
    assert set(alike(first)) == set(queue.media_id) - {first}
    (tmp_path/'season'/'features.parquet').unlink()
    with collect_notices() as notices: run(app, ['review', '--season', str(tmp_path/'season')])
    assert served[1][1] is None and any('no look-alikes are shown' in o for o in notices)
