"""Events agree with a slow reading of their definition, on tables of every kind."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, SettingError, TableError, collect_notices
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.survey.camtrap_dp.reading import read_camtrap_dp
from urbanrivers_camtraps.survey.camtrap_dp.writing import write_camtrap_dp
from urbanrivers_camtraps.survey.deployments import make_deployments
from urbanrivers_camtraps.survey.edited_events import changed_events, read_edited_events, with_edits, write_events
from urbanrivers_camtraps.survey.events import EVENT_COLUMNS, EventsError, make_events, read_events, skipped_photographs

TIME_ZONE = 'America/Chicago'
PLACES = pd.DataFrame({'deployment_id': ['a'], 'deployment': 'a', 'location_id': 'l', 'location': 'Weir', 'start': pd.to_datetime(['2025-05-01'], utc=True),
                       'end': pd.to_datetime(['2025-07-01'], utc=True)})
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
    "Join photographs of one label at one place pair by pair, as long as no time between two is longer."
    rows = photographs[photographs.label.notna() & (photographs.label != BLANK) & photographs.timestamp.notna() & photographs.deployment_id.notna()]
    events = []
    for row in rows.sort_values('timestamp').itertuples():
        place = row.location_id or row.deployment_id
        for event in events:
            if event['key'] == (place, row.label) and (row.timestamp - event['last']).total_seconds() <= 60*minutes:
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
    listed = skipped_photographs(photographs)
    assert len(listed) + events.photographs.sum() + (photographs.label == BLANK).sum() == len(photographs)  # nothing is lost in silence
    assert events.attrs['skipped'] == listed.reason.value_counts().to_dict()


def test_deployments_are_those_of_the_photographs():
    photographs = drawn(0)
    table = make_deployments(photographs).set_index('deployment_id')
    known = photographs.dropna(subset='deployment_id').groupby('deployment_id').timestamp
    assert (table.start == known.min()).all() and (table.end == known.max()).all() and len(table) == 4


def minutes_after(*minutes: int) -> pd.DatetimeIndex: return pd.Timestamp('2024-05-01 12:00', tz='UTC') + pd.to_timedelta(list(minutes), 'min')


#: A turtle at two cameras of one place, a goose, and what makes no event.
SEEN = pd.DataFrame({'media_id': list('abcdefghi'), 'timestamp': minutes_after(0, 29, 58, 89, 10, 5, 0, 0, 0),
                     'deployment_id': ['one']*5 + ['two', 'one', None, 'one'], 'location_id': ['river']*7 + [None, 'river'],
                     'location': ['River']*7 + [None, 'River'], 'label': ['turtle']*4 + ['goose', 'turtle', BLANK, 'turtle', None],
                     'count': [1, 2, 1, 1, 3, 5, None, 1, None]})
SEEN.loc[6, 'timestamp'] = pd.NaT  # a blank without a time


def test_the_order_of_rows_and_copies_of_a_photograph_do_not_matter():
    events = make_events(SEEN)
    assert make_events(SEEN.sample(frac=1, random_state=0)).to_dict('records') == events.to_dict('records')
    assert make_events(pd.concat([SEEN, SEEN])).photographs.tolist() == events.photographs.tolist()
    assert [len(make_events(SEEN, o)) for o in ('30min', '31min')] == [3, 2] and len(make_events(SEEN, '1s', by='deployment')) == 6


def test_a_photograph_of_two_species_is_in_two_events():
    both = pd.concat([SEEN, SEEN.iloc[[0]].assign(label='heron')], ignore_index=True)
    assert sorted(make_events(both).label) == ['goose', 'heron', 'turtle', 'turtle']


def test_counts_and_locations_may_be_missing():
    assert make_events(SEEN.drop(columns=['count', 'location_id', 'location']))['count'].isna().all()
    unplaced = SEEN.assign(**{o: SEEN[o].mask(SEEN.media_id == 'd') for o in ('location_id', 'location')})
    assert make_events(unplaced).to_dict('records') == make_events(SEEN).to_dict('records')  # its deployment knows
    named = make_events(SEEN.assign(location_id=None))  # the name stands for the id
    assert named.media_ids.tolist() == make_events(SEEN).media_ids.tolist()
    alone = make_events(SEEN.assign(location_id=None, location=None))
    assert alone.media_ids.tolist() == make_events(SEEN, by='deployment').media_ids.tolist()


def test_without_a_usable_photograph_there_is_no_event():
    for rows in (SEEN.head(0), SEEN[SEEN.label == BLANK]):
        events = make_events(rows)
        assert events.empty and list(events) == list(EVENT_COLUMNS)


def test_events_are_read_back_as_they_were_written(tmp_path):
    events = make_events(SEEN)
    back = read_table(write_table(events, tmp_path/'events.parquet', **events.attrs))
    assert [list(o) for o in back.media_ids] == events.media_ids.tolist() and back.attrs == events.attrs
    assert back.drop(columns='media_ids').astype(str).to_dict() == events.drop(columns='media_ids').astype(str).to_dict()


@pytest.mark.parametrize('options, error, says', [
    ({'event_gap': '0s'}, EventsError, 'joins nothing'), ({'event_gap': 30}, SettingError, 'event_gap'), ({'event_gap': '30'}, SettingError, 'no unit'),
    ({'event_gap': 'half an hour'}, SettingError, 'event_gap'), ({'by': 'burst'}, EventsError, 'location or deployment'),
    ({'label': 'prediction'}, TableError, 'lacks prediction')])
def test_what_joins_nothing_is_refused(options, error, says):
    with pytest.raises(error, match=says): make_events(SEEN, **options)


def test_observations_of_camtrap_dp_count_each_event_once(tmp_path):
    rows = ['observationID,deploymentID,eventID,eventStart,eventEnd,observationLevel,observationType,scientificName',
            'o1,a,e1,2025-05-03T23:30:00-05:00,2025-05-03T23:31:00-05:00,media,animal,Procyon lotor',
            'o2,a,e1,2025-05-03T23:30:30-05:00,2025-05-03T23:31:00-05:00,media,animal,Procyon lotor',
            'o3,a,e1,2025-05-03T23:30:00-05:00,2025-05-03T23:31:00-05:00,event,animal,Procyon lotor',
            'o4,a,e1,2025-05-03T23:30:00-05:00,2025-05-03T23:31:00-05:00,event,human,']
    (tmp_path/'observations.csv').write_text('\n'.join(rows) + '\n')
    with collect_notices() as notices: events = read_events(tmp_path/'observations.csv', pd.DataFrame(), 'America/Chicago')
    assert events.label.tolist() == ['Procyon lotor', 'human'] and any('2 rows of single photographs are not counted' in o for o in notices)
    assert events.start.tolist() == [pd.Timestamp('2025-05-04 04:30Z')]*2


def test_an_event_is_reviewed_if_a_person_looked_at_one_of_its_photographs():
    by_model = SEEN.rename(columns={'label': 'prediction'})
    assert make_events(SEEN).reviewed.tolist() == [True]*3  # volunteers' labels
    assert make_events(by_model, label='prediction').reviewed.tolist() == [False]*3
    looked = by_model.assign(reviewed=(by_model.media_id == make_events(SEEN).media_ids[0][-1]).map({True: True, False: None}))
    assert make_events(looked, label='prediction').reviewed.tolist() == [True, False, False]
    assert make_events(looked.rename(columns={'prediction': 'label'})).reviewed.tolist() == [True, False, False]  # the photographs say so themselves


def test_a_table_of_events_may_say_who_looked(tmp_path):
    told = []
    for words, found in (('TRUE\nfalse\n\n', [True, False, pd.NA]), ('x\nnein\n1\n', [True, False, True])):
        lines = [f'a,Anas,2025-06-0{day} 12:00,{word}' for day, word in enumerate(words.split('\n')[:3], 1)]
        (tmp_path/'t.csv').write_text('\n'.join(['deployment_id,label,start,reviewed', *lines]))
        told.append(read_events(tmp_path/'t.csv', PLACES, TIME_ZONE).reviewed.tolist() == found)
    assert told == [True, True]
    (tmp_path/'dp.csv').write_text('deploymentID,scientificName,eventStart,classificationMethod\na,Anas,2025-06-01T12:00:00Z,machine\na,Anas,2025-06-02T12:00:00Z,human\n')
    assert read_events(tmp_path/'dp.csv', PLACES, TIME_ZONE).reviewed.tolist() == [False, True]
    (tmp_path/'t.csv').write_text('deployment_id,label,start,reviewed\na,Anas,2025-06-01 12:00,perhaps\n')
    with pytest.raises(TableError, match='reviewed perhaps is not yes or no'): read_events(tmp_path/'t.csv', PLACES, TIME_ZONE)


@pytest.mark.parametrize('name', ['events.csv', 'events.xlsx'])
def test_who_looked_comes_back_from_a_spreadsheet(tmp_path, name):
    taken = pd.DataFrame({'media_id': list('abcd'), 'deployment_id': 'a', 'prediction': 'Anas', 'reviewed': [False, False, True, False],
                          'timestamp': pd.to_datetime([f'2025-06-0{o} 12:00' for o in (1, 2, 3, 4)], utc=True)})
    events = make_events(taken, label='prediction')
    back = read_edited_events(write_events(events, tmp_path/name, TIME_ZONE), PLACES, TIME_ZONE)
    assert back.reviewed.tolist() == [False, False, True, False]
    edited = back.assign(label=['Anas', 'Anas acuta', 'Anas', 'Anas'], reviewed=[False, False, True, True])  # one corrected, one ticked
    changes = changed_events(events, edited)
    assert changes[['event_id', 'change']].values.tolist() == [[events.event_id[1], 'label'], [events.event_id[3], 'reviewed']]
    marked = with_edits(events, edited, changes)
    assert marked.reviewed.tolist() == [False, True, True, True] and marked.edited.tolist() == [False, True, False, True]
    since = make_events(taken.assign(reviewed=[True, False, True, False]), label='prediction')  # reviewed after the table was written
    assert changed_events(since, back).empty and with_edits(since, back, changed_events(since, back)).reviewed.tolist() == [True, False, True, False]
    old = back.drop(columns='reviewed')  # as an earlier version wrote it
    assert with_edits(events, old, changed_events(events, old)).reviewed.tolist() == [False, False, True, False]


def test_who_looked_comes_back_from_camtrap_dp(tmp_path):
    places = PLACES.assign(latitude=41.9, longitude=-87.65)
    taken = pd.DataFrame({'media_id': list('abc'), 'deployment_id': 'a', 'prediction': 'Anas', 'reviewed': [True, False, False], 'score': .9,
                          'timestamp': pd.to_datetime(['2025-06-01 12:00', '2025-06-01 12:01', '2025-06-02 12:00'], utc=True)})
    events = make_events(taken, label='prediction')
    assert events.reviewed.tolist() == [True, False]
    package = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', taken, places, events, model='m 1'))
    assert package.events.reviewed.tolist() == [True, False]
    assert package.observations[package.observations.level == 'event'].method.tolist() == ['machine', 'machine']  # one of two photographs is not all
    without = make_events(taken.drop(columns='prediction').assign(label='Anas', reviewed=True))
    assert read_camtrap_dp(write_camtrap_dp(tmp_path/'q', taken.assign(label='Anas'), places, without)).events.reviewed.tolist() == [True, True]
