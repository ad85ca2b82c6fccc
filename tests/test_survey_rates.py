"""Rates rest on days that were watched, and their intervals on locations."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from survey_tables import TIME_ZONE, deployments_of, events_of, local, operation_of, outages_of
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.survey.deployments import make_deployments
from urbanrivers_camtraps.survey.effort import camera_operation, effort_problems
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.survey.rates import plot_map, rates, skipped_events
from urbanrivers_camtraps.survey.simulation import simulate_survey

FOUR = (('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'l', '2024-05-08', '2024-05-21'), ('c', 'l', '2024-05-09', '2024-05-10'),
        ('a2', 'm', '2024-05-01', '2024-05-11'))
SEEN = events_of(('a', 'Anas', '2024-05-02'), ('a', HUMAN, '2024-05-02 08:00'), ('b', 'Anas', '2024-05-20'), ('b', VEHICLE, '2024-05-20'),
                 ('a2', 'Anas', '2024-05-02'), ('a2', BLANK, '2024-05-02'), ('a2', 'Castor', '2024-05-11'))


def test_rates_by_hand():
    table = rates(SEEN, operation_of(*FOUR), by='location_id').set_index(['label', 'location_id'])
    found = table.rate.unstack().loc[['wildlife', 'people', 'Anas', 'Castor', HUMAN]].to_numpy().T
    assert found == pytest.approx(np.array([[10, 10, 10, 0, 5], [20, 0, 10, 10, 0]]))
    assert BLANK not in table.index.levels[0] and table.low.isna().all()
    whole = rates(SEEN, operation_of(*FOUR), by=()).set_index('label')
    assert whole.loc['wildlife', ['events', 'camera_days', 'rate']].tolist() == pytest.approx([4, 30, 400/30])
    assert whole.low.isna().all()  # two locations carry no interval


def test_rates_are_zero_if_nothing_came_and_missing_if_nobody_watched():
    watched = operation_of(('a', 'l', '2025-05-01', '2025-05-11'), ('b', 'm', '2025-06-01', '2025-06-26'))
    seen = events_of(('a', 'Anas', '2025-05-02'), ('a', HUMAN, '2025-05-02'), ('a', VEHICLE, '2025-05-02'), ('a', BLANK, '2025-05-03'),
                     ('b', 'Castor', '2025-06-02'))
    rate = rates(seen, watched).set_index(['label', 'location_id', 'month']).rate
    assert rate['Anas', 'l', '2025-05'] == pytest.approx(10) and rate['Castor', 'm', '2025-06'] == pytest.approx(4)
    assert rate['Anas', 'm', '2025-06'] == 0 and rate['Castor', 'l', '2025-05'] == 0
    assert rate.unstack('label').loc[[('l', '2025-06'), ('m', '2025-05')]].isna().all(axis=None)
    assert rate['people', 'l', '2025-05'] == pytest.approx(20) and rate['wildlife', 'l', '2025-05'] == pytest.approx(10)
    assert BLANK not in rate.index.levels[0]


def test_without_events_all_rates_are_zero_and_without_effort_there_are_none():
    none = rates(SEEN.head(0), operation_of(*FOUR), by='location_id')
    assert none[['label', 'rate']].values.tolist() == [[o, 0.] for o in ('wildlife', 'wildlife', 'people', 'people')]
    assert rates(SEEN, camera_operation(deployments_of(*FOUR).head(0), time_zone=TIME_ZONE)).empty


def test_a_location_that_is_not_known_is_its_deployment():
    unknown = camera_operation(deployments_of(*FOUR).assign(location_id=None, location=None), time_zone=TIME_ZONE)
    assert rates(SEEN, unknown, by=()).locations.iloc[0] == 4


def test_events_without_effort_are_listed_with_the_reason_and_left_out():
    watched = operation_of(('a', 'l', '2025-05-01', '2025-05-11'), outages=outages_of(('a', '2025-05-04', '2025-05-05')))
    seen = events_of(*(('a', 'Anas', o) for o in ('2025-04-30', '2025-05-02', '2025-05-04 12:00', '2025-05-12', None)), ('q', 'Anas', '2025-05-02'))
    assert skipped_events(seen, watched).set_index('id').reason.to_dict() == {
        'e0': 'before its deployment', 'e2': 'during an outage', 'e3': 'after its deployment', 'e4': 'its time is not known',
        'e5': 'its deployment is not known'}
    assert rates(seen, watched, by=()).set_index('label').events['Anas'] == 1


def test_a_deployment_without_an_end_has_no_effort():
    watched = operation_of(('n', 'l', '2025-05-01', None))
    assert skipped_events(events_of(('n', 'Anas', '2025-05-02')), watched).reason.tolist() == ['its deployment has no effort']


def test_intervals_of_rates_hold_the_mean_over_locations():
    "Locations with rates of their own: the interval of the mean rate holds it about as often as it says."
    generator, held = np.random.default_rng(5), 0
    watched = operation_of(*((f'd{o}', f'l{o}', '2025-05-01', '2025-08-09') for o in range(20)))
    for _ in range(60):
        counts = generator.poisson(30*generator.gamma(4, 1/4, 20))
        events = pd.DataFrame({'deployment_id': np.repeat(watched.deployments.deployment_id, counts), 'label': 'Anas', 'start': local('2025-06-01')})
        row = rates(events, watched, by=()).iloc[0]
        held += row.low <= 30 <= row.high
    assert 52 <= held <= 60  # of 57 expected


def test_the_tables_of_events_and_deployments_fit():
    "Photographs → events and deployments → rates; ends taken from photographs are marked."
    photographs = pd.DataFrame({'media_id': list('abcdef'), 'timestamp': [local(f'2025-05-{o}') for o in ('01', '02', '02 00:01', '05', '11', '07')],
                                'label': ['Anas', 'Anas', 'Anas', HUMAN, BLANK, None], 'deployment_id': 'd', 'deployment': 'D',
                                'location_id': 'l', 'location': 'River', 'latitude': 41.9, 'longitude': -87.65})
    watched, events = camera_operation(make_deployments(photographs), time_zone=TIME_ZONE), make_events(photographs)
    table = rates(events, watched, by=()).set_index('label')
    assert table.events[['Anas', HUMAN, 'wildlife']].tolist() == [2, 1, 2] and table.camera_days['Anas'] == pytest.approx(10)
    assert effort_problems(watched).problem.str.contains('taken from the').sum() == 2


def test_the_map_names_all_and_lists_what_has_no_coordinates():
    river = simulate_survey(7, days=100)
    lost = river.deployments.assign(latitude=river.deployments.latitude.mask(river.deployments.location == 'Wall 01'))
    figure = plot_map(river.events, camera_operation(lost, river.outages, time_zone=TIME_ZONE))
    assert any('Wall 01' in o.get_text() for o in figure.texts)
    assert len(figure.axes[0].collections[0].get_offsets()) == len([o for o in figure.axes[0].texts if ' · ' in o.get_text()]) == 19
    assert plot_map(SEEN, camera_operation(deployments_of(*FOUR).assign(latitude=np.nan), time_zone=TIME_ZONE)).texts  # no coordinates at all
    plt.close('all')
