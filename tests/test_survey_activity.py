"""Hours are those of the local clock, and light is that of the sun."""
import matplotlib.pyplot as plt
import pandas as pd

from survey_tables import TIME_ZONE, deployments_of, events_of, local
from urbanrivers_camtraps.survey.activity import activity, is_day, plot_hours
from urbanrivers_camtraps.survey.effort import camera_operation

TWO = deployments_of(('a', 'l', '2025-06-01', '2025-06-11'), ('b', 'm', '2025-06-01', '2025-06-11')).assign(latitude=[41.9, None])
SEEN = events_of(('a', 'Anas', '2025-06-02 12:10'), ('a', 'Anas', '2025-06-02 23:50'), ('b', 'Anas', '2025-06-02 12:10'))


def test_without_coordinates_there_is_only_the_clock():
    found = activity(SEEN, camera_operation(TWO, time_zone=TIME_ZONE))
    assert found[found.label == 'Anas'].values.tolist() == [['Anas', 12, 'day', 1], ['Anas', 12, 'not known', 1], ['Anas', 23, 'night', 1]]


def test_the_hour_is_that_of_the_given_time_zone():
    found = activity(SEEN, camera_operation(TWO, time_zone='UTC'))
    assert found[found.label == 'Anas'].hour.tolist() == [4, 17, 17]


def test_the_sun_does_not_set_in_the_far_north_in_june():
    assert is_day(pd.Series([local('2024-06-21 00:30')]), pd.Series([78.2]), pd.Series([15.6]))[0]


def test_hours_are_drawn_without_events_and_without_coordinates():
    for events, deployments in ((SEEN.head(0), TWO), (SEEN, TWO), (SEEN, TWO.assign(latitude=None))):
        assert plot_hours(events, camera_operation(deployments, time_zone=TIME_ZONE)).axes
    plt.close('all')
