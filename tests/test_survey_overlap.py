"""Activity curves and their overlap against figures that others have printed, and what cannot be said."""
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

from published_samples import CALL_DATES, CALLS, PIG, TIGER
from survey_tables import TIME_ZONE, events_of, operation_of
from urbanrivers_camtraps.foundations.core import collect_notices
from urbanrivers_camtraps.survey.density import (
    activity_curve,
    concentrations,
    event_hours,
    hour_counts,
    plot_activity,
    resampled,
    smoothed,
)
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.overlap import activity_overlap, overlap_before_after, overlap_coefficient
from urbanrivers_camtraps.survey.simulation import simulate_survey
from urbanrivers_camtraps.survey.sun_time import sun_hours


def typical(kappa: float, count: int, middle: float = 0) -> np.ndarray:
    "Return hours of a von Mises sample without chance: its quantiles."
    angles = np.linspace(-np.pi, np.pi, 5001)
    return (np.interp((np.arange(count) + .5)/count, stats.vonmises.cdf(angles, kappa), angles) + middle) % (2*np.pi)*12/np.pi


HOURS = {'tiger': TIGER*12/np.pi, 'pig': PIG*12/np.pi}


def test_the_bandwidth_is_the_one_that_the_r_package_overlap_prints():
    # its tests: getBandWidth(tigerObs) is 29.90650, getBandWidth(pigObs) is 10.42076
    assert concentrations(hour_counts(HOURS['tiger'])) == pytest.approx(29.90650, rel=2e-3)
    assert concentrations(hour_counts(HOURS['pig'])) == pytest.approx(10.42076, rel=2e-3)


def test_the_density_is_the_one_that_the_r_package_overlap_prints():
    # its tests: densityFit(pigObs, c(pi/2, pi, 3*pi/2), 10); here with the kernel's concentration forced to 10
    counts = hour_counts(HOURS['pig'])
    curve = smoothed(counts, adjust=10/float(concentrations(counts)))*12/np.pi
    assert curve[[120, 240, 360]] == pytest.approx([4.522317e-02, 4.622752e-01, 1.216268e-01], abs=2e-3)


def test_the_overlap_is_the_one_that_the_r_package_overlap_prints():
    # help page of overlapEst: 0.2908618 and 0.2692011; the true overlap is 0.2910917
    assert overlap_coefficient(*HOURS.values(), 'Δ̂1') == pytest.approx(.2908618, abs=.002)
    assert overlap_coefficient(*HOURS.values(), 'Δ̂4') == pytest.approx(.2692011, abs=.002)
    assert overlap_coefficient(*HOURS.values()) == overlap_coefficient(*HOURS.values(), 'Δ̂4')  # 80 and 100 events


def test_smoothing_by_waves_equals_adding_up_the_kernels():
    counts, hours = hour_counts(HOURS['tiger']), np.arange(480)/20 + .025
    angle = (hours[:, None] - HOURS['tiger'])*np.pi/12
    kernels = stats.vonmises.pdf(angle, float(concentrations(counts)))
    assert smoothed(counts) == pytest.approx(kernels.mean(1)*np.pi/12, abs=1e-3)  # an hour has up to 0.13


@pytest.mark.parametrize(('kappa', 'apart'), [(1, .5), (2, 2), (5, 1)])
def test_the_overlap_of_large_samples_is_the_integral(kappa, apart):
    one, other = (lambda o: stats.vonmises.pdf(o, kappa), lambda o: stats.vonmises.pdf(o, kappa, loc=apart))
    truth = integrate.quad(lambda o: min(one(o), other(o)), -np.pi, np.pi)[0]
    a, b = (typical(kappa, 3000, o) for o in (0, apart))
    for estimator in ('Δ̂1', 'Δ̂4'): assert overlap_coefficient(a, b, estimator) == pytest.approx(truth, abs=.01)


def test_the_plug_in_rule_by_hand():
    # all three waves of a von Mises sample give nearly its own concentration; the rule is Taylor's equation 10
    by_hand = (3*500*9*special.iv(2, 6)/(4*np.sqrt(np.pi)*special.iv(0, 3)**2))**.4
    assert concentrations(hour_counts(typical(3, 500))) == pytest.approx(by_hand, rel=.02)


def test_sun_time_is_the_one_that_the_r_package_overlap_prints():
    # its tests: sum(sunTime(simCalls$time, dates, coords)) is 207.0542 radians at 3° W, 56° N
    days = pd.to_datetime([f'2017-{o}' for o in CALL_DATES], utc=True)
    times = pd.Series(days + pd.to_timedelta(CALLS*12/np.pi, unit='h'))
    found = sun_hours(times, pd.Series(56., times.index), pd.Series(-3., times.index))
    assert found.sum()*np.pi/12 == pytest.approx(207.0542, abs=.2)  # R takes the night before from the same date


@pytest.mark.parametrize('longitude', [-179.9, -87.6, 0, 87.6, 179.9])
def test_noon_and_midnight_by_the_sun_anywhere(longitude):
    noon = pd.Series(pd.to_datetime(['2024-03-20 12:07', '2024-03-20 00:07'], utc=True)) - pd.Timedelta(hours=longitude/15)
    found = sun_hours(noon, pd.Series([40.]*2), pd.Series([longitude]*2))
    assert found[0] == pytest.approx(12, abs=.1)
    assert (found[1] + 12) % 24 == pytest.approx(12, abs=.1)


def survey_of(counts: dict[str, int], places: int, day: str = '2025-05-02'):
    "Return events of labels at midnight plus an hour each, spread over places."
    operation = operation_of(*((f'd{o}', f'l{o}', '2025-05-01', '2025-06-01') for o in range(places)))
    return events_of(*((f'd{i % places}', label, f'{day} {i*7 % 24:02d}:{i*13 % 60:02d}')
                       for label, number in counts.items() for i in range(number))), operation


def test_nothing_is_said_from_too_few_events_or_locations():
    events, operation = survey_of({'Anas': 9, 'Branta': 40}, 2)
    with pytest.raises(SurveyError, match='cannot be said from 9 events'): activity_curve(events, operation, 'Anas')
    found = activity_overlap(events, operation, 'Anas', 'Branta')
    assert np.isnan(found.estimate)
    assert 'cannot be said' in repr(found)
    many, operation = survey_of({'Anas': 30, 'Branta': 40}, 2)
    over_locations = activity_overlap(many, operation, 'Anas', 'Branta')
    assert np.isnan(over_locations.low)
    assert 'no interval, because it needs three locations' in repr(over_locations)
    assert activity_overlap(many, operation, 'Anas', 'Branta', over='events').low > 0
    assert activity_curve(many, operation, 'Anas').curve.low.isna().all()


def test_events_at_one_time_give_a_narrow_curve():
    operation = operation_of(('a', 'x', '2025-05-01', '2025-06-01'))
    events = events_of(*(('a', 'Anas', '2025-05-02 06:00') for _ in range(12)))
    curve = activity_curve(events, operation, 'Anas').curve
    assert curve.share.mean()*24 == pytest.approx(1, abs=.01)
    assert (curve.hour[curve.share > .01] - 6).abs().max() < 1


def test_sun_time_needs_coordinates_and_counts_events_without():
    events, operation = survey_of({'Anas': 12}, 3)
    operation.periods['latitude'] = [np.nan, 41.9, 41.9]
    with collect_notices() as notices: hours = event_hours(events, operation, 'Anas', 'sun')
    assert len(hours) == 8
    assert any('4 of 12 events' in str(o) for o in notices)
    operation.periods['latitude'] = np.nan
    with pytest.raises(SurveyError, match='needs coordinates'): event_hours(events, operation, 'Anas', 'sun')


@pytest.mark.parametrize('wrong', [{'clock': 'moon'}, {'over': 'cameras'}])
def test_options_are_checked(wrong):
    events, operation = survey_of({'Anas': 12, 'Branta': 12}, 3)
    with pytest.raises(SurveyError): activity_overlap(events, operation, 'Anas', 'Branta', **wrong)
    with pytest.raises(SurveyError): plot_activity(activity_curve(events, operation, 'Anas'), activity_curve(events, operation, 'Branta', clock='sun'))


def test_hours_are_checked():
    for wrong in ([-1], [25], [np.nan]):
        with pytest.raises(SurveyError): hour_counts(wrong)
    assert hour_counts([24.])[0] == 1


def test_a_draw_over_locations_keeps_the_events_of_a_location_together():
    counts = np.zeros((3, 480), int)
    counts[0, 10], counts[1, 20], counts[2, 30] = 5, 7, 0
    drawn = resampled(counts, 'locations', 50, np.random.default_rng(0))
    assert set(drawn[:, 10]) <= {0, 5, 10, 15}
    assert set(drawn[:, 20]) <= {0, 7, 14, 21}
    assert (resampled(counts, 'events', 50, np.random.default_rng(0)).sum(1) == 12).all()


def test_before_and_after_are_told_apart():
    operation = operation_of(*((f'd{o}', f'l{o}', '2025-04-01', '2025-09-01') for o in range(4)))
    rows = [(f'd{i % 4}', 'Anas', f'2025-{month}-{1 + i//4:02d} {hour}:{i:02d}')
            for month, hour in (('05', '06'), ('08', '18')) for i in range(40)]
    moved = overlap_before_after(events_of(*rows), operation, 'Anas', '2025-07-01')
    assert moved.estimate < .05  # from 6 o'clock to 18 o'clock
    assert moved.same > .8
    arms = pd.DataFrame({'location_id': ['l0', 'l1', 'l2', 'l3'], 'arm': ['impact']*2 + ['control']*2})
    part = overlap_before_after(events_of(*rows), operation, 'Anas', '2025-07-01', arms, 'control')
    assert [len(o) for o in part.hours] == [20, 20]
    assert set(part.hours[0].place) == {'location l2', 'location l3'} or part.hours[0].place.nunique() == 2
    assert TIME_ZONE == operation.time_zone


def test_the_same_seed_gives_the_same_interval():
    river = simulate_survey(3, days=120)
    first, again = (activity_overlap(river.events, river.operation, 'Castor canadensis', 'people', seed=5, draws=200)
                    for _ in range(2))
    assert (first.low, first.high) == (again.low, again.high)
