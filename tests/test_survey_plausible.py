"""Tables that look right and once gave a wrong figure without a word; the right values are counted by hand."""
import json

import numpy as np
import pandas as pd
import pytest

from survey_tables import TIME_ZONE, baci_of, deployments_of, events_of, local, operation_of, outages_of
from urbanrivers_camtraps.foundations.core import CamtrapsWarning, TableError, collect_notices
from urbanrivers_camtraps.survey.before_after import (
    FalseNegativeAudit,
    before_after,
    effects,
    minimum_detectable_change,
)
from urbanrivers_camtraps.survey.camtrap_dp.writing import write_camtrap_dp
from urbanrivers_camtraps.survey.camtrapr import record_table, write_camtrapr
from urbanrivers_camtraps.survey.density import activity_curve
from urbanrivers_camtraps.survey.deployments import location_ids, read_deployments, text_ids
from urbanrivers_camtraps.survey.detection_history import DetectionHistory, detection_history
from urbanrivers_camtraps.survey.effort import (
    SurveyError,
    add_arms,
    camera_days,
    camera_operation,
    effort_problems,
    read_outages,
)
from urbanrivers_camtraps.survey.events import EventsError, make_events, read_events
from urbanrivers_camtraps.survey.group_size import group_sizes
from urbanrivers_camtraps.survey.occupancy import occupancy
from urbanrivers_camtraps.survey.occupancy_change import occupancy_change
from urbanrivers_camtraps.survey.rates import animals_of, rates, skipped_events
from urbanrivers_camtraps.survey.report import Survey, _by_location
from urbanrivers_camtraps.survey.survey_plan import plan_survey

#: Two cameras that hang at one location for the same ten days, and one at another.
PAIR = (('a', 'W', '2025-05-01', '2025-05-11'), ('b', 'W', '2025-05-01', '2025-05-11'), ('c', 'X', '2025-05-01', '2025-05-11'))


def test_two_cameras_at_one_location_are_one_also_if_only_its_name_is_known():
    named = deployments_of(*PAIR).drop(columns='location_id')
    operation = camera_operation(named, time_zone=TIME_ZONE)
    assert camera_days(operation, by='location').camera_days.tolist() == pytest.approx([10, 10])
    assert rates(events_of(), operation, by=()).locations.iloc[0] == 2


def test_the_second_camera_of_a_location_has_effort_if_rates_are_by_camera():
    operation = camera_operation(deployments_of(*PAIR).assign(camera_model=['one', 'other', 'one']), time_zone=TIME_ZONE)
    events = events_of(('a', 'Anas', '2025-05-02'), ('b', 'Anas', '2025-05-03'), ('b', 'Anas', '2025-05-04'), ('c', 'Anas', '2025-05-04'))
    found = rates(events, operation, by='camera_model').query("label == 'Anas'").set_index('camera_model')
    assert found.events.to_dict() == {'one': 2, 'other': 2} and found.camera_days.to_dict() == pytest.approx({'one': 20, 'other': 10})
    assert rates(events, operation, by=()).camera_days.iloc[0] == pytest.approx(20)  # together, the shared days count once


def test_a_deployment_that_is_listed_twice_loses_no_event():
    operation = operation_of(('a', 'W', '2025-05-01', '2025-06-01'), ('a', 'W', '2025-05-10', '2025-05-12'))
    events = events_of(('a', 'Anas', '2025-05-02'), ('a', 'Anas', '2025-05-11'), ('a', 'Anas', '2025-05-20'))
    found = rates(events, operation, by=()).iloc[0]
    assert (found.events, found.camera_days) == (3, pytest.approx(31)) and skipped_events(events, operation).empty


@pytest.mark.parametrize('ids', [[1, 2, 3], [1., 2., 3.], ['1', '2', '3'], pd.Categorical(['1', '2', '3'])])
def test_a_number_and_its_text_are_one_id(ids):
    table = deployments_of(*PAIR).assign(deployment_id=ids)
    events = events_of((1., 'Anas', '2025-05-02'), (np.nan, 'Anas', '2025-05-02'))
    assert rates(events, camera_operation(table, time_zone=TIME_ZONE), by=()).events.iloc[0] == 1
    assert text_ids(pd.Series([7., np.nan])).fillna('none').tolist() == ['7', 'none'] and text_ids(pd.Series([7.5])).tolist() == ['7.5']


def test_labels_for_people_and_nothing_are_understood_in_any_table_of_events():
    labels = ['Person', 'human', 'vehicles', 'empty', 'Blank', 'wildlife', 'Procyon lotor']
    events = events_of(*((PAIR[0][0], o, '2025-05-02') for o in labels))
    found = rates(events, operation_of(*PAIR), by=()).set_index('label').events
    assert found.to_dict() == {'wildlife': 2, 'people': 3, 'Procyon lotor': 1, 'human': 2, 'vehicle': 1}
    assert skipped_events(events, operation_of(*PAIR)).reason.tolist() == ['is blank']*2
    assert detection_history(events, operation_of(*PAIR), 'Person').history.loc['at W', 'o1'] == 1
    assert animals_of(events.label) == ['Procyon lotor', 'wildlife']
    counts = {'W1': (9, 9), 'W2': (9, 8), 'K1': (7, 8), 'K2': (9, 9)}
    some, operation, arms = baci_of(counts)
    said = effects(some.assign(label=['Person', 'empty']*(len(some)//2)), operation, arms, '2025-07-01')
    assert [o.label for o in said] == ['wildlife', 'people', 'human']


def test_both_days_of_a_change_are_left_out():
    operation = operation_of(*((o, o, '2025-05-01', '2025-07-01') for o in ('W1', 'W2', 'K1', 'K2')))
    arms = pd.DataFrame({'location_id': ['W1', 'W2', 'K1', 'K2'], 'arm': ['impact']*2 + ['control']*2})
    days = ('2025-05-10 12:00', '2025-05-31 12:00', '2025-06-01 12:00')
    events = events_of(*((o, 'Anas', day) for o in arms.location_id for day in days))
    found = before_after(events, operation, arms, ('2025-05-20', '2025-05-31')).changes
    assert found.days_before.tolist() == pytest.approx([19]*4) and found.days_after.tolist() == pytest.approx([30]*4)
    assert found.events_before.tolist() == [1]*4 and found.events_after.tolist() == [1]*4


def test_a_location_that_was_not_watched_before_shows_no_change():
    events, operation, arms = baci_of({'W1': (9, 8), 'W2': (9, 9), 'K1': (7, 8), 'K2': (9, 9)})
    late = pd.concat([operation.deployments, deployments_of(('W9', 'W9', '2025-08-01', '2025-09-01'))])
    more = pd.concat([events, events_of(('W9', 'Anas', '2025-08-05'))]), pd.concat([arms, pd.DataFrame({'location_id': ['W9'], 'arm': ['impact']})])
    found = before_after(more[0], camera_operation(late, time_zone=TIME_ZONE), more[1], '2025-07-01', least_days=0)
    assert found.skipped.values.tolist() == [['W9', 'not watched before']]
    assert found.ratio == pytest.approx(before_after(events, operation, arms, '2025-07-01').ratio)


def test_a_location_with_two_names_has_its_arm_by_either():
    table = deployments_of(('a', 'W', '2025-05-01', '2025-05-11'), ('b', 'W', '2025-05-11', '2025-05-21')).assign(location=['Weir', 'New weir'])
    operation = camera_operation(table, time_zone=TIME_ZONE)
    for name in table.location:
        assert add_arms(operation, pd.DataFrame({'location': [name], 'arm': 'impact'})).periods.arm.tolist() == ['impact']*2
    with pytest.raises(SurveyError, match='location W has several names, and two arms'):
        add_arms(operation, pd.DataFrame({'location': table.location, 'arm': ['impact', 'control']}))


def test_an_event_at_a_location_belongs_to_the_camera_that_hung_then(tmp_path):
    table = deployments_of(('year', 'W', '2025-01-01', '2025-11-01'), ('month', 'W', '2025-02-01', '2025-03-01'))
    (tmp_path/'e.csv').write_text('location,label,start\nat W,Anas platyrhynchos,2025-02-15 08:00\nat W,Anas platyrhynchos,2025-06-15 08:00\n'
                                  'at  W,Anas platyrhynchos,2024-12-15 08:00\n')
    with collect_notices(): events = read_events(tmp_path/'e.csv', table, TIME_ZONE)
    assert events.deployment_id.tolist()[:2] == ['month', 'year']
    assert skipped_events(events, camera_operation(table, time_zone=TIME_ZONE)).reason.tolist() == ['before its deployment']


def test_an_event_of_several_rows_has_its_largest_group_and_its_last_end(tmp_path):
    (tmp_path/'e.csv').write_text('eventID,deploymentID,species,eventStart,eventEnd,individualCount\n'
                                  'x,a,Anas platyrhynchos,2025-05-02 08:00,2025-05-02 08:01,2\nx,a,Anas platyrhynchos,2025-05-02 08:03,2025-05-02 08:04,7\n')
    with collect_notices() as notices: events = read_events(tmp_path/'e.csv', deployments_of(*PAIR), TIME_ZONE)
    assert (len(events), events['count'][0], events.end[0]) == (1, 7, local('2025-05-02 08:04')) and '1 rows repeat an event' in str(notices)


def test_words_that_no_table_of_names_knows_are_told_when_events_are_read(tmp_path):
    (tmp_path/'e.csv').write_text('deployment_id,label,start\na,camera being serviced,2025-05-02 08:00\n')
    with collect_notices() as notices: read_events(tmp_path/'e.csv', deployments_of(*PAIR), TIME_ZONE)
    assert 'taken for animals: camera being serviced' in str(notices)


def test_two_species_of_one_event_keep_their_own_counts():
    events = events_of(('a', 'Anas', '2025-05-02'), ('a', 'Castor', '2025-05-02')).assign(event_id='x', count=[5, 1], photographs=[7, 2],
                                                                                     media_ids=[['m1'], ['m2']])
    found = record_table(events, operation_of(*PAIR))
    assert found[['Species', 'count', 'n_images', 'FileName']].values.tolist() == [['Anas', 5, 7, 'm1'], ['Castor', 1, 2, 'm2']]


def test_histories_of_names_that_a_disk_takes_for_one_are_all_written(tmp_path):
    labels = ['Sus scrofa', 'Sus_scrofa', 'SUS SCROFA']
    folder = write_camtrapr(events_of(*(('a', o, f'2025-05-0{day}') for day, o in enumerate(labels, 2))), operation_of(*PAIR), tmp_path/'r', days=1)
    files = sorted(o.name.lower() for o in folder.glob('detection_history_*'))
    assert files == ['detection_history_sus_scrofa.csv', 'detection_history_sus_scrofa_2.csv', 'detection_history_sus_scrofa_3.csv']


def test_names_of_locations_are_compared_without_spaces_and_told_if_only_case_differs(tmp_path):
    assert location_ids(pd.DataFrame({'location': ['Cafe\u0301 Weir', 'Café  Weir ', 'Café\u00a0Weir']})).nunique() == 1
    (tmp_path/'d.csv').write_text('deployment_id,location,start,end,latitude,longitude\na,North Weir,2025-05-01,2025-05-10,41.9,-87.6\n'
                                  'b,North  Weir,2025-05-01,2025-05-10,41.9,-87.6\nc,north weir,2025-05-01,2025-05-10,41.9,-87.6\n')
    (tmp_path/'o.csv').write_text('location,start,end\nNorth   Weir,2025-05-01,2025-05-02\n')
    with collect_notices() as notices:
        table = read_deployments(tmp_path/'d.csv', TIME_ZONE)
        operation = camera_operation(table, read_outages(tmp_path/'o.csv', table, TIME_ZONE), time_zone=TIME_ZONE)
    assert camera_days(operation, by='location').camera_days.tolist() == pytest.approx([8, 10])
    assert any("'North Weir' and 'north weir' count as 2" in o for o in notices)


def test_a_deployment_without_effort_is_listed_with_the_reason():
    operation = operation_of(('a', 'W', '2025-05-01', '2025-05-11'), ('b', 'X', '2025-05-01', '2025-05-01'), ('c', 'Y', '2025-05-01', '2025-05-11'),
                             outages=outages_of(('c', '2025-04-01', '2025-06-01')))
    assert effort_problems(operation)[['deployment_id', 'problem']].values.tolist() == [
        ['b', 'ends when it starts: no effort'], ['c', 'did not work at any time, by its outages: no effort']]


@pytest.fixture(scope='module')
def wide() -> tuple[DetectionHistory, pd.Series]:
    "Return a history of 60 locations, and a covariate on which presence depends."
    random = np.random.default_rng(1)
    width = pd.Series(random.normal(size=60), [f'L{o:02}' for o in range(60)])
    there = random.random(60) < 1/(1 + np.exp(-.3 - 1.5*width.to_numpy()))
    table = pd.DataFrame((random.random((60, 8)) < .3)*there[:, None]*1., width.index, [f'o{o}' for o in range(1, 9)])
    return DetectionHistory('Anas', 7, table, table*0 + 7, pd.Series('2025-05-01', width.index), pd.DataFrame({'id': [], 'reason': []})), width


@pytest.mark.parametrize('shift, scale', [(2025, 1), (41.9, .02), (-1000, 30)])
def test_occupancy_does_not_hang_on_the_units_of_a_covariate(wide, shift, scale):
    history, width = wide
    plain, other = (occupancy(history, pd.DataFrame({'x': o})) for o in (width, shift + scale*width))
    assert other.aic == pytest.approx(plain.aic, abs=1e-4) and other.share == pytest.approx(plain.share, abs=1e-3)
    one, two = (o.coefficients.set_index(['part', 'name'])[['estimate', 'error', 'low', 'high']] for o in (plain, other))
    assert (two.loc[('presence', 'x')]*scale).tolist() == pytest.approx(one.loc[('presence', 'x')].tolist(), rel=1e-2)
    slope, start = one.estimate['presence', 'x'], one.estimate['presence', '(intercept)']
    assert two.estimate['presence', '(intercept)'] == pytest.approx(start - slope*shift/scale, rel=1e-3)  # so ψ is the same everywhere


def test_a_covariate_that_says_nothing_is_left_out_and_two_alike_are_refused(wide):
    history, width = wide
    plain = occupancy(history)
    for constant in (3., 'reed'):
        with collect_notices() as notices: found = occupancy(history, pd.DataFrame({'bank': constant}, width.index))
        assert found.aic == pytest.approx(plain.aic) and 'covariates: bank is the same everywhere and is left out' in notices
    with pytest.raises(SurveyError, match='cannot be told apart: x, y'): occupancy(history, pd.DataFrame({'x': width, 'y': 2*width + 1}))
    odd = pd.DataFrame({'x': width.where(width.index != 'L00', np.inf)})
    assert occupancy(history, odd).skipped.values.tolist() == [['L00', 'a covariate is missing']]


@pytest.mark.filterwarnings(f'ignore::{CamtrapsWarning.__module__}.CamtrapsWarning')
@pytest.mark.parametrize('seed', range(6))
def test_rates_of_random_tables_add_up_whatever_the_order_of_rows(seed):
    random = np.random.default_rng(seed)
    starts = pd.Timestamp('2025-03-01', tz='UTC') + pd.to_timedelta(random.integers(0, 40*24, 8), 'h')
    table = pd.DataFrame({'deployment_id': [f'd{o}' for o in range(8)], 'location_id': random.choice(['A', 'B', 'C'], 8), 'start': starts,
                          'end': starts + pd.to_timedelta(random.integers(0, 60*24, 8), 'h')})
    lost = starts[:4] + pd.to_timedelta(random.integers(-200, 800, 4), 'h')
    outages = pd.DataFrame({'deployment_id': table.deployment_id[:4], 'start': lost, 'end': lost + pd.Timedelta('5D')})
    events = pd.DataFrame({'event_id': [f'e{o}' for o in range(300)], 'deployment_id': random.choice([*table.deployment_id, 'none'], 300),
                           'label': random.choice(['Anas', 'Castor', 'human', 'blank', 'empty'], 300),
                           'start': pd.Timestamp('2025-02-20', tz='UTC') + pd.to_timedelta(random.integers(0, 120*24*60, 300), 'min')})
    before = [o.copy() for o in (table, outages, events)]
    operation = camera_operation(table, outages, time_zone=TIME_ZONE)
    found, month = rates(events, operation, by=()).set_index('label'), rates(events, operation, by=('location_id', 'month'))
    skipped = skipped_events(events, operation)
    assert found.events[['wildlife', 'people']].sum() + len(skipped) == 300 and skipped.id.is_unique
    assert month.groupby('label').events.sum().to_dict() == found.events.to_dict()
    assert month.groupby('label').camera_days.sum().tolist() == pytest.approx([found.camera_days.iloc[0]]*len(found))
    hours = pd.date_range('2025-02-20', '2025-07-01', freq='h', tz='UTC')  # every hour is looked at by itself
    watched = {o: set() for o in 'ABC'}
    for row in table.itertuples():
        down = [outages.start[row.Index] <= o < outages.end[row.Index] if row.Index < 4 else False for o in hours]
        watched[row.location_id] |= {o for o, is_down in zip(hours, down) if row.start <= o < row.end and not is_down}
    assert found.camera_days.iloc[0]*24 == pytest.approx(sum(map(len, watched.values())))
    order = [o.sample(frac=1, random_state=seed) for o in (events, table, outages)]
    again = rates(order[0], camera_operation(*order[1:], time_zone=TIME_ZONE), by=('location_id', 'month'))
    key = ['label', 'location_id', 'month']
    pd.testing.assert_frame_equal(*(o.sort_values(key, ignore_index=True) for o in (month, again)))
    for now, then in zip((table, outages, events), before): pd.testing.assert_frame_equal(now, then)


def test_the_page_has_a_row_for_each_name_of_a_location_with_its_own_rates():
    table = deployments_of(('a', 'W', '2025-05-01', '2025-05-11'), ('b', 'W', '2025-05-11', '2025-05-31')).assign(location=['Weir', 'New weir'])
    events = events_of(('a', 'human', '2025-05-02'), ('b', 'Anas', '2025-05-12'), ('b', 'human', '2025-05-12'))
    found = _by_location(Survey(events, table, time_zone=TIME_ZONE), None)
    assert found.to_dict('records') == [{'location': 'New weir', 'camera-days': 20, 'wildlife': 5., 'people and their boats': 5.},
                                        {'location': 'Weir', 'camera-days': 10, 'wildlife': 0., 'people and their boats': 10.}]


@pytest.mark.parametrize('counts, most', [(['2', '10'], 10), ([2, None], 2), ([0, 3], 3), (pd.array([4, None], 'Int64'), 4)])
def test_the_largest_count_of_an_event_is_that_of_numbers(counts, most):
    photographs = pd.DataFrame({'media_id': ['a', 'b'], 'timestamp': [local('2025-05-02 10:00'), local('2025-05-02 10:05')], 'deployment_id': 'a',
                                'label': 'Anas', 'count': counts})
    assert make_events(photographs)['count'].tolist() == [most]
    assert group_sizes(make_events(photographs), operation_of(*PAIR)).largest.iloc[0] == most


@pytest.mark.parametrize('count, error, says', [(1.5, EventsError, '1.5 is no number of individuals'), (-1, EventsError, '-1 is no number'),
                                                ('some', TableError, 'some is not a number'), (np.inf, TableError, 'inf is not a number')])
def test_what_is_no_number_of_individuals_is_refused(count, error, says):
    events = events_of(('a', 'Anas', '2025-05-02')).assign(count=[count])
    with pytest.raises(error, match=says): group_sizes(events, operation_of(*PAIR))
    with pytest.raises(error, match=says): make_events(events.rename(columns={'event_id': 'media_id', 'start': 'timestamp'}))


def test_two_spellings_of_one_animal_are_named(tmp_path):
    (tmp_path/'e.csv').write_text('deployment_id,label,start\na,Canada Goose,2025-05-02 08:00\na,Branta canadensis,2025-05-03 08:00\n'
                                  'a,Person,2025-05-03 08:00\n'
                                  'a,human,2025-05-03 08:00\na,Castor canadensis,2025-05-03 08:00\n')
    with collect_notices() as notices: read_events(tmp_path/'e.csv', deployments_of(*PAIR), TIME_ZONE)
    told = [o.partition(': ')[2] for o in notices if 'count as' in o]
    assert told == ["'Branta canadensis' and 'Canada Goose' count as 2. If they are one, write it in one way"]


@pytest.mark.parametrize('options', [{'spread': -1}, {'clumping': 0}, {'clumping': -5}, {'power': 1.5}, {'power': 0}, {'weeks': (0,)}, {'locations': (2.5,)},
                                     {'change': np.nan}, {'basis': np.inf}, {'basis': np.nan}, {'working': 0}])
def test_a_plan_of_numbers_that_cannot_be_is_refused(options):
    with pytest.raises(SurveyError, match='is not possible'): plan_survey(**{'basis': 40., **options})


def test_a_plan_for_a_fall_needs_five_events_after_it():
    table = plan_survey(10., change=.5, locations=[10], weeks=[10, 16], working=1.).table
    assert table.events.tolist() == pytest.approx([7, 11.2])  # of which half stay: 3.5 and 5.6
    assert table.power.notna().tolist() == [False, True]


@pytest.mark.parametrize('power', [0, .05, 1, np.nan])
def test_a_power_that_no_test_has_is_refused(power):
    effect = before_after(*baci_of({'W1': (9, 8), 'W2': (9, 9), 'K1': (7, 8), 'K2': (9, 9)}), '2025-07-01')
    with pytest.raises(SurveyError, match='of surveys by a test at 5 %'): minimum_detectable_change(effect, power=power)


@pytest.mark.parametrize('days', [-1, np.nan])
def test_a_number_of_days_that_cannot_be_is_refused(days):
    events, operation, arms = baci_of({'W1': (9, 8), 'W2': (9, 9), 'K1': (7, 8), 'K2': (9, 9)})
    with pytest.raises(SurveyError, match='days cannot be asked for'): before_after(events, operation, arms, '2025-07-01', least_days=days)
    with pytest.raises(SurveyError, match='an occasion cannot have'): detection_history(events, operation, 'Anas', days=days)
    with pytest.raises(SurveyError, match='needs the numbers removed and kept'): FalseNegativeAudit((1, 9, np.nan, 9), (1, 9, 9, 9)).log_recall()


def test_presence_before_and_after_needs_two_occasions_too():
    events, operation, arms = baci_of({'W1': (9, 8), 'W2': (9, 0), 'K1': (7, 8), 'K2': (0, 9)})
    with pytest.raises(SurveyError, match='no location has two occasions'): occupancy_change(events, operation, arms, '2025-07-01', 'Anas', days=365)


def test_beyond_the_polar_circle_it_is_the_sun_that_is_missing_not_the_place():
    polar = camera_operation(deployments_of(*PAIR).assign(latitude=78.2, longitude=15.6), time_zone='UTC')
    with pytest.raises(SurveyError, match='no sunrise and sunset on any day'):
        activity_curve(events_of(*(('a', 'Anas', '2025-05-05 12:00') for _ in range(12))), polar, 'Anas', clock='sun')


def test_visits_of_camtrap_dp_count_once_and_people_before_the_model(tmp_path):
    rows = ['media,x,m1,Anas platyrhynchos,human,08:00', 'media,x,m2,Anas platyrhynchos,human,08:01', 'media,x,m1,Castor canadensis,machine,08:00',
            'event,x,,Anas platyrhynchos,human,08:00', 'event,x,,Castor canadensis,machine,08:00', 'event,y,,Castor canadensis,machine,09:00']
    (tmp_path/'o.csv').write_text('observationLevel,eventID,mediaID,scientificName,classificationMethod,eventStart,deploymentID\n'
                                  + ''.join(f'{level},2025-05-02T{hour}:00-05:00,a\n' for level, _, hour in (o.rpartition(',') for o in rows)))
    with collect_notices() as notices: events = read_events(tmp_path/'o.csv', deployments_of(*PAIR), TIME_ZONE)
    assert events[['event_id', 'label']].values.tolist() == [['x', 'Anas platyrhynchos'], ['y', 'Castor canadensis']]
    assert any('3 rows of single photographs are not counted' in o for o in notices) and any('1 answers of a model are not counted' in o for o in notices)
    (tmp_path/'m.csv').write_text('\n'.join(o for o in (tmp_path/'o.csv').read_text().splitlines() if not o.startswith('event,')) + '\n')
    with collect_notices(): media = read_events(tmp_path/'m.csv', deployments_of(*PAIR), TIME_ZONE)
    assert media[['event_id', 'label']].values.tolist() == [['x', 'Anas platyrhynchos']]


def test_rows_that_look_like_photographs_are_told(tmp_path):
    for name, seconds, is_told in (('photographs', 5, True), ('visits', 120, False)):
        times = pd.date_range('2025-05-02 08:00', periods=8, freq=f'{seconds}s').strftime('%Y-%m-%d %H:%M:%S')
        (tmp_path/f'{name}.csv').write_text('deployment_id,label,start\n' + ''.join(f'a,Castor canadensis,{o}\n' for o in times))
        with collect_notices() as notices: read_events(tmp_path/f'{name}.csv', deployments_of(*PAIR), TIME_ZONE)
        assert any('7 of 8 events begin less than a minute after another' in o for o in notices) == is_told


def test_a_package_names_the_days_of_the_place(tmp_path):
    table = deployments_of(('a', 'W', '2025-05-01 19:30', '2025-06-30 20:00')).assign(deployment='a', from_photographs=False)
    photographs = pd.DataFrame({'media_id': ['m'], 'deployment_id': 'a', 'timestamp': [local('2025-05-02')], 'label': 'Anas platyrhynchos'})
    with collect_notices(): folder = write_camtrap_dp(tmp_path/'p', photographs, table, time_zone=TIME_ZONE)
    assert json.loads((folder/'datapackage.json').read_text())['temporal'] == {'start': '2025-05-01', 'end': '2025-06-30'}
