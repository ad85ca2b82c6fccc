"""Events agree with a slow reading of their definition, on tables of every kind."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK
from urbanrivers_camtraps.survey.deployments import make_deployments
from urbanrivers_camtraps.survey.events import left_out_of_events, make_events

SPECIES = np.array(['Anas platyrhynchos', 'Castor canadensis', BLANK, None], object)


def drawn(seed: int, count: int = 120) -> pd.DataFrame:
    "Draw photographs of four cameras at two places and one that is not known, some without time, label or camera."
    generator = np.random.default_rng(seed)
    camera = generator.integers(0, 5, count)
    when = pd.Timestamp('2025-06-01', tz='UTC') + pd.to_timedelta(generator.integers(0, 3000, count), 'min')
    table = pd.DataFrame({'media_id': [f'm{o}' for o in range(count)], 'timestamp': pd.Series(when).mask(generator.random(count) < .05),
                          'label': SPECIES[generator.integers(0, 4, count)],
                          'deployment_id': np.array(['a', 'b', 'c', 'd', None], object)[camera], 'count': generator.integers(1, 6, count),
                          'location_id': np.array(['x', 'x', 'y', None, None], object)[camera]})
    return table.assign(location=table.location_id)


def slowly(photographs: pd.DataFrame, minutes: int) -> set[frozenset]:
    "Join photographs of one label at one place pair by pair, as long as any pause is short enough."
    rows = photographs[photographs.label.notna() & (photographs.label != BLANK) & photographs.timestamp.notna() & photographs.deployment_id.notna()]
    events = []
    for row in rows.sort_values('timestamp').itertuples():
        place = row.location_id or row.deployment_id
        for event in events:
            if event['key'] == (place, row.label) and (row.timestamp - event['last']).total_seconds() < 60*minutes:
                event['media'].append(row.media_id)
                event['last'] = row.timestamp
                break
        else: events.append({'key': (place, row.label), 'last': row.timestamp, 'media': [row.media_id]})
    return {frozenset(o['media']) for o in events}


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('minutes', [1, 30, 600])
def test_events_are_what_their_definition_says(seed, minutes):
    photographs = drawn(seed)
    events = make_events(photographs, f'{minutes}min')
    assert {frozenset(o) for o in events.media_ids} == slowly(photographs, minutes)
    assert events.event_id.is_unique and (events.start <= events.end).all()
    media = photographs.set_index('media_id')
    for event in events.itertuples():
        own = media.loc[event.media_ids]
        assert (event.count, event.photographs, event.start, event.end) == (own['count'].max(), len(own), own.timestamp.min(), own.timestamp.max())
    listed = left_out_of_events(photographs)
    assert len(listed) + events.photographs.sum() + (photographs.label == BLANK).sum() == len(photographs)  # nothing is lost in silence
    assert events.attrs['left_out'] == listed.reason.value_counts().to_dict()


def test_deployments_are_those_of_the_photographs():
    photographs = drawn(0)
    table = make_deployments(photographs).set_index('deployment_id')
    known = photographs.dropna(subset='deployment_id').groupby('deployment_id').timestamp
    assert (table.start == known.min()).all() and (table.end == known.max()).all() and len(table) == 4
