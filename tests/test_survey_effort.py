"""Camera-days are the union of what cameras worked; what is odd is listed."""
import pandas as pd
import pytest

from survey_tables import TIME_ZONE, deployments_of, local, operation_of, outages_of
from urbanrivers_camtraps.foundations.core import TableError
from urbanrivers_camtraps.survey.effort import (
    SurveyError,
    camera_days,
    camera_operation,
    change_days,
    effort_problems,
    suspected_outages,
)

FOUR = (('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'l', '2024-05-08', '2024-05-21'), ('c', 'l', '2024-05-09', '2024-05-10'),
        ('a2', 'm', '2024-05-01', '2024-05-11'))


def operation(table: pd.DataFrame, *tables, **options):
    "Return the camera operation by the clocks of Chicago."
    return camera_operation(table, *tables, **{'time_zone': TIME_ZONE} | options)


def test_camera_days_by_hand_with_outages_months_and_summer_time():
    "11 days of March lack the hour that summer time takes; an outage over the month's end takes from both."
    table = deployments_of(('d', 'l', '2025-03-01 06:00', '2025-04-11 18:00'))
    outages = outages_of(('d', '2025-03-30', '2025-04-02'), ('d', '2025-04-01 12:00', '2025-04-03'))
    days = camera_days(operation(table, outages)).set_index('month').camera_days
    assert days['2025-03'] == pytest.approx(29 - .25 - 1/24) and days['2025-04'] == pytest.approx(10.75 - 2)
    assert camera_days(operation(table, outages, time_zone='UTC'), by='month').camera_days.sum() == pytest.approx(days.sum())


def test_months_are_those_of_the_local_clock():
    days = camera_days(operation_of(('d', 'l', '2024-03-01', '2024-04-01'), ('e', 'l', '2024-11-01', '2024-12-01')), by='month')
    assert days.month.tolist() == ['2024-03', '2024-11'] and days.camera_days.tolist() == pytest.approx([31 - 1/24, 30 + 1/24])


def test_an_outage_may_begin_in_an_hour_that_the_clock_jumps_over():
    table = deployments_of(('d', 'l', '2024-03-01', '2024-04-01'))
    assert operation(table, outages_of(('d', '2024-03-10 02:30', '2024-03-11'))).periods.end.iloc[0] == local('2024-03-10 03:00')


def test_outages_may_overlap_reach_beyond_the_deployment_miss_it_or_have_no_end():
    table = deployments_of(('d', 'l', '2024-03-01', '2024-04-01'))
    outages = outages_of(('d', '2024-03-05', '2024-03-08'), ('d', '2024-03-04', '2024-03-06'), ('d', '2024-02-01', '2024-03-02'),
                         ('d', '2024-03-30', None), ('x', '2024-03-20', '2024-03-21'))
    assert camera_days(operation(table, outages), by='month').camera_days[0] == pytest.approx(31 - 1/24 - 4 - 1 - 2)


def test_overlapping_deployments_are_counted_once_or_twice_and_listed():
    table = deployments_of(*FOUR)
    once, twice = operation(table), operation(table, overlaps='twice')
    assert camera_days(once, by='location_id').camera_days.tolist() == pytest.approx([20, 10])
    assert camera_days(twice, by='location_id').camera_days.tolist() == pytest.approx([10 + 13 + 1, 10])
    assert camera_days(once, by='deployment_id').camera_days.tolist() == pytest.approx([10, 10, 13, 1])
    listed = effort_problems(once)
    assert listed.deployment_id.tolist() == ['b', 'c'] and listed.problem.str.contains('overlaps').all()
    assert listed.days.tolist() == pytest.approx([3, 1])


def test_locations_that_are_not_known_are_not_the_same_location():
    unknown = operation(deployments_of(*FOUR).assign(location_id=None, location=None))
    assert camera_days(unknown, by=()).camera_days[0] == pytest.approx(34) and len(camera_days(unknown, by='location_id')) == 1


def test_an_outage_of_the_first_camera_is_filled_by_the_second():
    "The union of two cameras has no gap while one of them worked."
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-21'), ('b', 'l', '2025-05-06', '2025-05-09'))
    outages = outages_of(('a', '2025-05-05', '2025-05-11'))
    assert camera_days(operation(table, outages), by='location_id').camera_days.tolist() == pytest.approx([4 + 3 + 10])


def test_moments_of_several_offsets_and_none_are_read_together():
    table = deployments_of(('d', 'l', '2025-03-01', '2025-12-01')).assign(start='2025-03-01T00:00:00-06:00', end='2025-07-01T00:00:00-05:00')
    outages = outages_of(('d', '2025-05-01', '2025-05-02'), ('d', '2025-06-01T00:00-05:00', '2025-06-03'))
    assert camera_days(operation(table, outages), by=()).camera_days[0] == pytest.approx(122 - 1/24 - 1 - 2)


def test_ids_may_be_numbers():
    table = deployments_of(*FOUR).assign(deployment_id=[1, 2, 3, 4])
    days = camera_days(operation(table, outages_of((4, '2024-05-01', '2024-05-06'))), by='location_id')
    assert days.camera_days.tolist() == pytest.approx([20, 5])


def test_photographs_tell_unknown_ends_and_suspected_outages_but_apply_none():
    table = deployments_of(('d', 'l', '2025-05-01', '2025-05-01')).assign(end=pd.NaT)
    photographs = pd.DataFrame({'deployment_id': 'd', 'timestamp': [local(f'2025-05-{o:02d}') for o in (1, 2, 3, 15, 16)]})
    found = operation(table, photographs=photographs)
    assert camera_days(found, by=()).camera_days[0] == pytest.approx(15)
    assert found.periods.assumed.tolist() == ['end'] and 'last photograph' in effort_problems(found).problem[0]
    suspected = suspected_outages(found)
    assert suspected[['start', 'end']].values.tolist() == [[local('2025-05-03'), local('2025-05-15')]]
    accepted = operation(table, suspected, photographs)
    assert camera_days(accepted, by=()).camera_days[0] == pytest.approx(3) and suspected_outages(accepted).empty


def test_an_end_that_nobody_knows_leaves_no_effort():
    table = deployments_of(*FOUR[:2]).assign(end=[pd.NaT, pd.NaT])
    other = pd.DataFrame({'deployment_id': ['z'], 'timestamp': [local('2024-06-01')]})
    assert camera_days(operation(table)).empty and operation(table, photographs=other).periods.empty
    assert camera_days(operation(table.head(0))).columns.tolist() == ['location_id', 'month', 'camera_days']


def test_without_any_photograph_all_of_the_time_is_suspected():
    table = deployments_of(FOUR[0])
    none = pd.DataFrame({'deployment_id': [], 'timestamp': []})
    assert suspected_outages(operation(table, photographs=none)).days.tolist() == pytest.approx([10])
    with pytest.raises(SurveyError, match='no photographs were given'): suspected_outages(operation(table))


def test_every_kind_of_problem_is_listed():
    table = deployments_of(*FOUR, ('r', 'n', '2024-05-09', '2024-05-01'), ('u', 'o', None, None))
    listed = effort_problems(operation(table, outages_of(('x', '2024-05-01', '2024-05-02'))))
    assert listed[['deployment_id', 'problem']].values.tolist() == [
        ['u', 'start or end is not known, and no photograph can fill it in: no effort'], ['r', 'ends before it starts: no effort'],
        ['b', 'overlaps an earlier one at its location'], ['c', 'overlaps an earlier one at its location'],
        ['x', 'has an outage, but is not among the deployments']]


@pytest.mark.parametrize('changes, options, error, says', [
    ({'start': 'soon'}, {}, TableError, 'start soon is not a date'), ({}, {'overlaps': 'thrice'}, SurveyError, "'once' or 'twice'"),
    ({}, {'time_zone': 'Chicago'}, Exception, 'time zone Chicago is not known'),
    ({}, {'outages': outages_of(('a', '2024-05-09', '2024-05-02'))}, SurveyError, 'ends before it starts'),
    ({}, {'outages': pd.DataFrame({'deployment_id': ['a']})}, TableError, 'lacks start')])
def test_what_cannot_be_read_is_refused(changes, options, error, says):
    with pytest.raises(error, match=says): operation(deployments_of(*FOUR).assign(**changes), **options)


@pytest.mark.parametrize('changed', ['spring', None, ('2025-07-01', '2025-05-01'), ('2025-07-01',)])
def test_a_change_is_a_day_or_two(changed):
    with pytest.raises(SurveyError, match='is not a day'): change_days(changed, TIME_ZONE)
