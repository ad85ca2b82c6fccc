"""Group sizes, people as pressure and event gaps: by hand, and what cannot be said."""
import math

import numpy as np
import pandas as pd
import pytest

from survey_tables import baci_of, events_of, local, operation_of
from urbanrivers_camtraps.foundations.core import HUMAN, VEHICLE
from urbanrivers_camtraps.inference.decisions import UNKNOWN_REASON
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.event_gaps import answers_by_gap, event_gap_section, event_gaps
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.survey.group_size import group_sizes
from urbanrivers_camtraps.survey.pressure import pressure
from urbanrivers_camtraps.survey.report import Survey
from urbanrivers_camtraps.survey.simulation import simulate_survey

WATCHED = operation_of(*((o, o, '2025-05-01', '2025-05-11') for o in 'abc'))


def test_mean_group_size_and_its_interval_by_hand():
    events = events_of(*((o, 'Anas', f'2025-05-0{day}') for o, day in zip('aabc', (2, 3, 2, 2))))
    row = group_sizes(events.assign(count=[2, 4, 5, 1]), WATCHED).set_index('label').loc['Anas']
    assert row['mean'] == 3  # 12 in 4; residuals by location 0, 2, -2
    width = 4.302653*math.sqrt(8*3/2)/12
    assert (row.low, row.high) == (pytest.approx(max(3*math.exp(-width), 1)), pytest.approx(3*math.exp(width)))
    assert row.individuals == pytest.approx(100*12/30)


def test_people_are_counted_too_and_events_without_a_number_are_told_apart():
    events = events_of(('a', HUMAN, '2025-05-02'), ('a', VEHICLE, '2025-05-03'), ('b', 'Anas', '2025-05-02'), ('b', 'Anas', '2025-05-03'))
    table = group_sizes(events.assign(count=[3, 1, 7, None]), WATCHED).set_index('label')
    assert table.loc['people', ['events', 'counted', 'mean']].tolist() == [2, 2, 2]
    assert table.loc['Anas', ['events', 'counted', 'largest']].tolist() == [2, 1, 7]
    assert table.loc['Anas', 'individuals'] == pytest.approx(100*2*7/30)  # the other is taken for as many
    assert np.isnan(table.loc['Anas', 'low'])


def test_events_outside_the_effort_have_no_size():
    events = events_of(('a', 'Anas', '2025-06-02'), ('a', 'Anas', '2025-05-02')).assign(count=[90, 1])
    assert group_sizes(events, WATCHED).set_index('label').loc['Anas', 'largest'] == 1


def places(number: int, label: str, people: list[int], animals: list[int]):
    "Return events and operation of places with so many people and animals."
    operation = operation_of(*((f'd{o}', f'l{o}', '2025-05-01', '2025-06-01') for o in range(number)))
    rows = [(f'd{o}', what, f'2025-05-{2 + i} 12:00') for what, counts in ((HUMAN, people), (label, animals))
            for o, count in enumerate(counts) for i in range(count)]
    return events_of(*rows), operation


def test_pressure_is_seen_if_it_is_there_and_not_said_from_five_locations():
    events, operation = places(8, 'Anas', [1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1])
    found = pressure(events, operation, 'Anas')
    assert found.correlation == -1
    assert found.high < 0
    assert 'Anas comes less often where more people pass (rank correlation −1.00,' in repr(found)
    assert list(found.table.people) == sorted(found.table.people, reverse=True)
    events, operation = places(5, 'Anas', [1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert 'cannot be said from 5 locations' in repr(pressure(events, operation, 'Anas'))
    events, operation = places(8, 'Anas', [1]*8, [1, 2, 3, 4, 5, 6, 7, 8])
    assert np.isnan(pressure(events, operation, 'Anas').correlation)


def photographs_at(minutes: list[int], label: str = 'turtle', place: str = 'river') -> pd.DataFrame:
    "Return photographs at minutes after noon."
    return pd.DataFrame({'media_id': [f'{label}{place}{o}' for o in minutes], 'deployment_id': place, 'location_id': place, 'label': label,
                         'timestamp': local('2025-05-02 12:00') + pd.to_timedelta(minutes, 'min')})


@pytest.mark.parametrize(('since', 'expected'), [('last photograph', [4, 2, 1]), ('first photograph', [4, 3, 2])])
def test_events_by_gap_by_hand(since, expected):
    taken = pd.concat([photographs_at([0, 20, 40, 80]), photographs_at([0], 'goose')])
    table = event_gaps(taken, ('10min', '30min', '45min'), since).set_index('label')
    assert table.loc['turtle', ['10min', '30min', '45min']].tolist() == expected
    assert table.loc['goose'].tolist() == [1, 1, 1, 1]


def test_places_and_labels_do_not_interrupt_each_other():
    taken = pd.concat([photographs_at([0, 20]), photographs_at([10], place='pond'), photographs_at([15], 'goose')])
    for since in ('last photograph', 'first photograph'):
        assert event_gaps(taken, ('30min',), since).set_index('label')['30min'].to_dict() == {'turtle': 2, 'goose': 1}
    with pytest.raises(SurveyError, match='cannot be measured'): event_gaps(taken, since='lastRecord')


def drawn_photographs(seed: int, count: int = 300) -> pd.DataFrame:
    """Draw photographs of two locations and a camera without one, an hour of them twice because the clock was put back: whole minutes, so that many come at
    the same moment or exactly a gap apart, some with two species, some listed twice, some blank."""
    generator = np.random.default_rng(seed)
    minute = np.sort(generator.integers(0, 900, count))
    when = pd.Timestamp('2025-11-02 03:00', tz='UTC') + pd.to_timedelta(minute - 60*(minute > 240), 'min')  # written after midnight in Chicago
    camera = generator.integers(0, 4, count)
    table = pd.DataFrame({'media_id': [f'm{o}' for o in range(count)], 'timestamp': when, 'deployment_id': np.array(list('abcd'))[camera],
                          'location_id': np.array(['river', 'river', 'pond', None], object)[camera],
                          'label': np.array(['Anas', 'Castor canadensis', 'blank', None], object)[generator.choice(4, count, p=[.5, .3, .1, .1])]})
    both = table.sample(frac=.2, random_state=seed)
    return pd.concat([table, both.assign(label='Ardea herodias'), both.head(5)]).sample(frac=1, random_state=seed)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('by', ['location', 'deployment'])
def test_counts_are_those_of_the_events_themselves(seed, by):
    taken, gaps = drawn_photographs(seed), ('1min', '2min', '10min', '60min')
    table = event_gaps(taken, gaps, by=by).set_index('label')
    for gap in gaps:
        events = make_events(taken, gap, by=by)
        assert table[gap].to_dict() == events.label.value_counts().to_dict()
    single = make_events(taken, '1us', by=by)
    assert table.photographs.to_dict() == single.groupby('label').photographs.sum().to_dict()


def as_camtrapr(records: pd.DataFrame, seconds: float, compared_to: str) -> int:
    """Count independent records as camtrapR's `assessTemporalIndependence` does (its source, version 2.3): the first of a species at a station, and each that
    comes at least `seconds` after the record, or independent record, before it. Records of one moment are removed as duplicates first."""
    count = 0
    for _, rows in records.drop_duplicates(['location_id', 'label', 'timestamp']).sort_values('timestamp').groupby(['location_id', 'label']):
        times, independent = list(rows.timestamp), []
        for row, time in enumerate(times):
            before = independent if compared_to == 'lastIndependentRecord' else times[:row]
            if not before or min((time - o).total_seconds() for o in before) >= seconds: independent.append(time)
        count += len(independent)
    return count


@pytest.mark.parametrize(('since', 'compared_to'), [('last photograph', 'lastRecord'), ('first photograph', 'lastIndependentRecord')])
def test_events_are_its_independent_records_but_for_exactly_the_gap(since, compared_to):
    """An event of ours goes on for as long as no gap is *longer* than half an hour; camtrapR's next record is independent from half an hour *on*. So with times
    in whole minutes half an hour here is its 31 minutes, and the two differ only in photographs that are exactly a gap apart."""
    for seed in range(4):
        taken = drawn_photographs(seed).dropna(subset=['location_id', 'label']).query('label != "blank"')
        for minutes in (1, 7, 30):
            ours = int(event_gaps(taken, (f'{minutes}min',), since)[f'{minutes}min'].sum())
            assert ours == as_camtrapr(taken, 60*(minutes + 1), compared_to)
            assert ours < as_camtrapr(taken, 60*minutes, compared_to)
    by_hand = photographs_at([0, 29, 30, 60, 91])
    assert as_camtrapr(by_hand, 1800, 'lastRecord') == 3  # 0, 60 (30 after 30), 91
    assert event_gaps(by_hand, ('30min',))['30min'].tolist() == [2]  # 0 to 60, 91
    assert as_camtrapr(by_hand, 1800, 'lastIndependentRecord') == 4  # 0, 30, 60, 91
    assert event_gaps(by_hand, ('30min',), 'first photograph')['30min'].tolist() == [3]  # 0 to 30, 60, 91


def test_a_survey_makes_its_events_by_other_gaps():
    taken = drawn_photographs(0).assign(reviewed=False, review_reason=None).rename(columns={'label': 'prediction'})
    places = pd.DataFrame({'deployment_id': list('abcd'), 'location_id': ['river', 'river', 'pond', None],
                           'start': local('2025-11-01'), 'end': local('2025-11-04')})
    for by in ('location', 'deployment'):
        survey = Survey(make_events(taken, label='prediction', by=by), places, time_zone='America/Chicago', photographs=taken)
        table = survey.event_gaps(gaps=('30min', '2h')).set_index('label')
        assert table['30min'].to_dict() == survey.events.label.value_counts().to_dict()
        assert (table['2h'] < table['30min']).any()
    waiting = taken.assign(review_reason=['unknown' if o == 'Anas' else None for o in taken.prediction]).assign(review_reason=lambda o: o.review_reason.map(
        {'unknown': UNKNOWN_REASON}))
    assert 'Anas' not in survey.event_gaps(waiting).label.tolist()  # what waits for a person is in no event
    with pytest.raises(SurveyError, match='not known with their prediction'): survey.event_gaps(taken.rename(columns={'prediction': 'label'}))
    with pytest.raises(SurveyError, match='not known with their label'): Survey(make_events(taken.rename(columns={'prediction': 'label'})), places,
                                                                                time_zone='UTC').event_gaps()
    edited = Survey(survey.events.assign(edited=False), places, time_zone='UTC', photographs=taken)
    with pytest.raises(SurveyError, match='edited the events'): edited.event_gaps()


def test_the_answer_by_gap_is_that_of_before_and_after():
    events, operation, arms = baci_of({'W1': (4, 16), 'W2': (3, 9), 'W3': (5, 14), 'C1': (4, 4), 'C2': (6, 5), 'C3': (5, 6)})
    taken = events.assign(media_id=events.event_id, timestamp=events.start + pd.to_timedelta(range(len(events)), 'h'))
    taken['location_id'] = taken.deployment_id
    table = answers_by_gap(taken, operation, arms, '2025-07-01', gaps=('30min', '48h'))
    assert table.events.tolist()[0] > table.events.tolist()[1]
    assert table.ratio[0] > 1
    survey = Survey(make_events(taken), operation.deployments, time_zone='America/Chicago', photographs=taken)
    pd.testing.assert_frame_equal(survey.answers_by_gap(arms, '2025-07-01', gaps=('30min', '48h')), table)
    heading, words, page = event_gap_section(event_gaps(taken), table)
    assert heading.startswith('If events')
    assert 'does not depend on it' in words
    assert page.count('<table') == 2


def test_the_survey_has_each_as_a_method():
    river = simulate_survey(2, arms=3, days=60)
    survey = Survey(river.events, river.deployments, river.outages, time_zone='America/Chicago')
    assert {'counted', 'mean'} <= set(survey.group_sizes())
    assert len(survey.pressure().table) == 6
    assert survey.rarefaction().days > 100
    assert survey.activity_curve().label == 'wildlife'
    assert survey.overlap('wildlife').names[1] == 'People and their boats'
