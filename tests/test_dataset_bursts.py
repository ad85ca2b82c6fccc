"""Bursts: one rule of time for bursts and events, whatever the order of the photographs, and the groups of a split."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanrivers_camtraps.dataset.bursts import GROUP_COLUMNS, add_bursts, group_ids, runs
from urbanrivers_camtraps.foundations.core import CamtrapsError

MOMENTS = st.lists(st.tuples(st.sampled_from('dw'), st.integers(0, 600)), max_size=40)


def frames_of(moments: list[tuple[str, int]]) -> pd.DataFrame:
    "Photographs at some seconds of two deployments."
    seconds = pd.to_datetime('2024-02-03', utc=True) + pd.to_timedelta([o for _, o in moments], 's')
    return pd.DataFrame({'media_id': [f'm{o:02}' for o in range(len(moments))], 'timestamp': seconds,
                         'deployment_id': pd.Series([o for o, _ in moments], dtype=object)})


def burst_by_burst(frames: pd.DataFrame, gap: int) -> list[str]:
    "The bursts in plain Python."
    burst, last = {}, {}
    for row in frames.sort_values(['deployment_id', 'timestamp', 'media_id']).itertuples():
        name, moment = last.get(row.deployment_id, (None, None))
        if name is None or (row.timestamp - moment).total_seconds() > gap: name = row.media_id
        burst[row.media_id], last[row.deployment_id] = name, (name, row.timestamp)
    return frames.media_id.map(burst).tolist()


@settings(max_examples=60, deadline=None)
@given(MOMENTS, st.sampled_from([0, 1, 30, 60]))
def test_bursts_in_plain_python(moments, gap):
    frames = frames_of(moments)
    bursts = add_bursts(frames, gap=f'{gap}s')
    assert bursts.burst_id.tolist() == burst_by_burst(frames, gap)
    shuffled = frames.sample(frac=1, random_state=1)
    assert add_bursts(shuffled, gap=f'{gap}s').burst_id.sort_index().tolist() == bursts.burst_id.tolist()


def test_runs_keep_the_index_and_take_several_columns():
    frames = frames_of([('d', 0), ('d', 10), ('d', 100), ('w', 0)]).assign(label=['goose', 'blank', 'goose', 'goose'])
    frames.index = [7, 7, 3, 1]
    by_both = runs(frames.timestamp, '5min', frames[['deployment_id', 'label']])
    assert by_both.index.tolist() == [7, 7, 3, 1] and by_both.tolist() == [0, 1, 0, 2] and by_both.dtype == 'Int64'
    assert runs(frames.timestamp.head(0), '1min', frames.label.head(0)).empty


def test_what_is_not_known_has_no_run():
    frames = frames_of([('d', 0), ('d', 1), ('w', 2)])
    frames.loc[0, 'timestamp'], frames.loc[2, 'deployment_id'] = pd.NaT, None
    assert runs(frames.timestamp, '60s', frames.deployment_id).isna().tolist() == [True, False, True]
    assert add_bursts(frames).burst_id.fillna('none').tolist() == ['none', 'm01', 'none']


@pytest.mark.parametrize('gap', [60, '60', 'soon', None])
def test_a_gap_without_a_unit_is_refused(gap):
    with pytest.raises((CamtrapsError, TypeError)): add_bursts(frames_of([('d', 0)]), gap=gap)


def test_a_burst_id_that_is_given_is_believed_only_if_complete():
    frames = frames_of([('d', 0), ('d', 1)])
    assert add_bursts(frames.assign(burst_id='given')).burst_id.tolist() == ['given']*2
    assert add_bursts(frames.assign(burst_id=['given', None])).burst_id.tolist() == ['m00']*2


def test_groups():
    frames = frames_of([('d', 0), ('d', 1), ('w', 2)]).assign(burst_id=list('aab'), location_id=['l', None, None])
    assert set(GROUP_COLUMNS) == {'image', 'burst', 'deployment', 'location', 'date'}
    assert group_ids(frames, 'image').tolist() == frames.media_id.tolist()
    assert group_ids(frames.assign(sha256=[1, 1, 2]), 'image').tolist() == [1, 1, 2]  # two copies of a file
    assert group_ids(frames, 'location').fillna('none').tolist() == ['l', 'l', 'none']
    assert group_ids(frames, 'date').tolist() == ['2024-02-03']*3
    assert np.array_equal(group_ids(frames), list('aab'))
