"""Occupancy estimates are those of PRESENCE, wiqid and unmarked on their own data, and the closed form's where there is one."""
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from survey_tables import events_of, operation_of
from urbanrivers_camtraps.foundations.core import collect_notices
from urbanrivers_camtraps.survey.detection_history import DetectionHistory
from urbanrivers_camtraps.survey.effort import SurveyError, camera_operation
from urbanrivers_camtraps.survey.occupancy import occupancy
from urbanrivers_camtraps.survey.occupancy_change import occupancy_change
from urbanrivers_camtraps.survey.presence import used_changes, used_sections, used_shares
from urbanrivers_camtraps.survey.report import Survey
from urbanrivers_camtraps.survey.simulation import simulate_survey

#: Blue ridge salamanders (MacKenzie and others 2006, page 99): where seen, counted from 1 down the columns of 39 sites × 5 visits. The estimates below are
#: those that the tests of the R package wiqid (M. Meredith, GPL >= 3, https://github.com/mikemeredith/wiqid) have, "the values returned by PRESENCE".
SEEN = [4, 10, 13, 14, 41, 42, 43, 82, 83, 84, 85, 86, 87, 89, 90, 92, 118, 121, 128, 129, 130, 131, 153, 154, 157, 167, 168, 169, 194, 195]
#: Cells that those tests make missing.
MISSING = [6, 167, 130, 123, 89, 154, 32, 120, 127, 147]


def history_of(table: np.ndarray) -> DetectionHistory:
    "Return a detection history of a table of 0, 1 and missing."
    table = np.asarray(table, float)
    frame = pd.DataFrame(table, [f's{o}' for o in range(len(table))], [f'o{o}' for o in range(table.shape[1])])
    return DetectionHistory('Eurycea wilderae', 1, frame, frame.notna()*1., pd.Series('2001-04-01', frame.index), pd.DataFrame({'id': [], 'reason': []}))


def salamanders(missing: int = 0) -> np.ndarray:
    "Return the salamanders; with 1, 2, 3 also missing cells, a missing site, a missing visit."
    table = np.zeros(195)
    table[np.array(SEEN) - 1] = 1
    if missing: table[np.array(MISSING) - 1] = np.nan
    table = table.reshape(5, 39).T
    if missing > 1: table[2] = np.nan
    if missing > 2: table[:, 2] = np.nan
    return table


@pytest.mark.parametrize(('missing', 'psi', 'p', 'aic', 'wald'), [
    (0, .5946, .2587, 165.7586, (.3512, .1622, .7990, .3863)), (1, .5861, .2445, 149.7430, (.3238, .1422, .8073, .3872)),
    (2, .5558, .2531, 144.1232, (.3095, .1475, .7775, .3989)), (3, .3798, .3160, 101.1297, (.1918, .1644, .6124, .5204))])
def test_salamanders_are_those_of_presence(missing, psi, p, aic, wald):
    found = occupancy(history_of(salamanders(missing)))
    assert (found.share[0], found.seen[0], found.aic) == pytest.approx((psi, p, aic), abs=1e-4)
    logit, error = found.coefficients.estimate, found.coefficients.error
    assert [*expit(logit - 1.96*error), *expit(logit + 1.96*error)] == pytest.approx(wald, abs=2e-4)  # by the standard error, as PRESENCE has it
    assert found.skipped.id.tolist() == (['s2'] if missing > 1 else [])


def test_detection_by_visit_and_by_time():
    history = history_of(salamanders())
    visits = {o: history.history*0 + (history.history.columns == o) for o in history.history.columns[1:]}
    by_visit = occupancy(history, detection=visits)
    first, *others = by_visit.coefficients.estimate[1:]
    assert by_visit.share[0] == pytest.approx(.5799, abs=1e-4) and by_visit.aic == pytest.approx(167.7144, abs=1e-4)
    assert [expit(first), *expit(first + np.array(others))] == pytest.approx([.1769, .1327, .3980, .3537, .2653], abs=1e-4)
    time = history.history*0 + np.arange(5)
    trend = occupancy(history, detection={'time': time})
    assert trend.aic == pytest.approx(165.9228, abs=1e-4)
    assert trend.coefficients.estimate[1:].tolist() == pytest.approx([-1.4732, .2056], abs=1e-4)


@pytest.mark.parametrize(('spoiled', 'expected'), [('nothing', (.44457, -.14706, .44103)), ('a site', (.66243, -.22862, .58192))])
def test_covariates_are_those_of_unmarked(spoiled, expected):
    """The tests of the R package unmarked (GPL >= 3, https://github.com/biodiverse/unmarked, `test_occu.R`): `occu(~ o1 + o2 ~ x)` on five sites. Presence is
    at its bound there, so the coefficients of detection are compared. Without the third site unmarked stops at ψ = 0.9998 (8.70 on the logit scale), this one
    at 0.999994; that moves the last one by 0.0014."""
    y = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1]])
    x = pd.DataFrame({'x': [0, 2, 3, 4, 1.]}, index=[f's{o}' for o in range(5)])
    if spoiled == 'a site': x.loc['s2'] = np.nan
    history = history_of(y)
    def table(values: np.ndarray) -> pd.DataFrame: return pd.DataFrame(values.reshape(5, 2), history.history.index, history.history.columns)
    with collect_notices(): found = occupancy(history, x, {'o1': table(np.arange(1., 11)), 'o2': table(np.exp(np.arange(-5., 5))/10)})
    assert found.coefficients.estimate[2:].tolist() == pytest.approx(expected, abs=1e-3 if spoiled == 'nothing' else 2e-3)
    assert found.skipped.id.tolist() == ([] if spoiled == 'nothing' else ['s2']) and len(found.locations) == (5 if spoiled == 'nothing' else 4)


@pytest.mark.parametrize('seed', range(4))
def test_closed_form_of_complete_histories(seed):
    "With K visits everywhere, p solves p/(1 − (1 − p)^K) = detections/(K · sites seen), and ψ is the share seen divided by the chance to see it at all."
    generator = np.random.default_rng(seed)
    table = (generator.random((50, 6)) < .35)*(generator.random((50, 1)) < .55)
    places, times, visits = int(table.any(axis=1).sum()), int(table.sum()), 6
    p = brentq(lambda o: o/(1 - (1 - o)**visits) - times/(visits*places), 1e-6, 1 - 1e-9)
    found = occupancy(history_of(table))
    assert (found.share[0], found.seen[0]) == pytest.approx((places/50/(1 - (1 - p)**visits), p), abs=1e-4)
    psi, grid = np.meshgrid(np.linspace(.01, .99, 491), np.linspace(.01, .99, 491))  # the maximum on a grid of steps of 0.002
    with np.errstate(divide='ignore'):
        value = places*np.log(psi) + times*np.log(grid) + (places*visits - times)*np.log(1 - grid) + (50 - places)*np.log(psi*(1 - grid)**visits + 1 - psi)
    best = np.unravel_index(value.argmax(), value.shape)
    assert (found.share[0], found.seen[0]) == pytest.approx((psi[best], grid[best]), abs=.0021)
    assert found.log_likelihood == pytest.approx(value.max(), abs=1e-3)
    inside = psi[value >= value.max() - 1.9207]  # all values of ψ that some p makes likely enough
    assert found.share[1:] == pytest.approx((inside.min(), inside.max()), abs=.004)


def test_at_the_bounds():
    with collect_notices() as told: everywhere = occupancy(history_of(np.ones((8, 4))))
    assert (everywhere.share[0], everywhere.seen[0]) == pytest.approx((1, 1), abs=1e-4) and everywhere.share[2] == 1 and everywhere.share[1] > .7
    assert any('at its bound' in str(o) for o in everywhere.doubts) and len(told) == len(everywhere.doubts)
    # seen once at each of 8 of 10 sites, in 3 visits: fewer than chance would miss, so that it is everywhere and p = detections/visits (closed form)
    table = np.zeros((10, 3))
    table[range(8), [0, 1, 2, 0, 1, 2, 0, 1]] = 1
    with collect_notices(): found = occupancy(history_of(table))
    assert (found.share[0], found.seen[0]) == pytest.approx((1, 8/30), abs=1e-3) and found.share[1] < .9


def test_seen_always_or_at_one_location_by_the_likelihood():
    """If a species was seen on every occasion of K locations, n in all, the likelihood is ψ^K · p^n: both intervals end where that falls to exp(−1.9207), so at
    0.1465^(1/K) and 0.1465^(1/n). Occasions without a working camera are in neither."""
    least = np.exp(-1.9207)
    gaps = [[1, 1, np.nan], [np.nan, 1, 1], [1, np.nan, 1], [1, 1, 1]]
    for table, places, times in (([[1, 1, 1]], 1, 3), (gaps, 4, 9), (np.ones((8, 4)), 8, 32)):
        with collect_notices(): found = occupancy(history_of(table))
        assert found.share == pytest.approx((1, least**(1/places), 1), abs=1e-3) and found.seen == pytest.approx((1, least**(1/times), 1), abs=1e-3)
        assert any('few for 2 coefficients' in o for o in found.doubts) == (places < 8)
        assert any('cannot have been missed' in o for o in found.doubts)
    # one location, seen once in four: p^1 (1 − p)^3, which is largest at 1/4
    with collect_notices(): found = occupancy(history_of([[0, 1, 0, 0]]))
    assert found.share == pytest.approx((1, least, 1), abs=1e-3) and found.seen[0] == pytest.approx(.25, abs=1e-3)
    ends = [brentq(lambda o: np.log(o*(1 - o)**3) - np.log(.25*.75**3) + 1.9207, *o) for o in ((1e-6, .25), (.25, 1 - 1e-6))]
    assert found.seen[1:] == pytest.approx(ends, abs=1e-3)


def test_what_cannot_be_estimated():
    with pytest.raises(SurveyError, match='never seen'): occupancy(history_of(np.zeros((5, 3))))
    with pytest.raises(SurveyError, match='two occasions'): occupancy(history_of([[1, np.nan], [np.nan, 0]]))
    history = history_of(salamanders())
    with pytest.raises(SurveyError, match='none of the locations'): occupancy(history, pd.DataFrame({'location': ['x'], 'depth': [1]}))
    with pytest.raises(SurveyError, match='twice'): occupancy(history, pd.DataFrame({'location': ['s1', 's1'], 'depth': [1, 2]}))


def test_units_of_a_covariate_change_its_coefficient_only():
    generator, history = np.random.default_rng(3), history_of(salamanders())
    depth = pd.DataFrame({'location': history.history.index, 'depth': generator.normal(50, 10, 39)})
    metres, millimetres = (occupancy(history, depth.assign(depth=depth.depth*o)) for o in (1, 1000))
    one, other = (o.coefficients.loc[1, ['estimate', 'low', 'high']].to_numpy(float) for o in (metres, millimetres))
    np.testing.assert_allclose(one, other*1000, rtol=1e-3)
    assert metres.share == pytest.approx(millimetres.share, abs=1e-4)


def test_a_missing_rain_gauge_makes_its_occasion_missing():
    history = history_of(salamanders())
    rain = history.history*0 + np.random.default_rng(1).random((39, 5))
    rain.iloc[3, 0] = np.nan
    found, table = occupancy(history, detection={'rain': rain}), salamanders()
    table[3, 0] = np.nan
    assert found.log_likelihood == pytest.approx(occupancy(history_of(table), detection={'rain': rain.fillna(.5)}).log_likelihood, abs=1e-6)
    assert found.locations.occasions.tolist() == [5, 5, 5, 4, *[5]*35]


def test_from_a_survey():
    river = simulate_survey(3, arms=8, days=60)
    survey = Survey(river.events, river.deployments, river.outages, time_zone=river.time_zone)
    found = survey.occupancy('Procyon lotor', river.arms.rename(columns={'arm': 'bank'}), effort=True)
    assert found.coefficients.name.tolist() == ['(intercept)', 'bank: impact (against control)', '(intercept)', 'active days / 7']
    assert found.coefficients.estimate[3] > 0 and len(found.locations) == 16 and '<table' in found._repr_html_()


def seen_always(cells: dict[tuple[str, int], int], size: int = 10) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    "Return events, deployments and arms; a species lives at so many of the locations of an arm in a period, and is seen every week."
    first, rows = pd.Timestamp('2025-05-01', tz='UTC'), []
    names = [f'{arm[0]}{o}' for arm in ('impact', 'control') for o in range(size)]
    for (arm, period), count in cells.items():
        weeks = range(4) if period == 0 else range(4, 8)
        rows += [(f'{arm[0]}{place}', first + pd.Timedelta(days=7*week + 2)) for place in range(count) for week in weeks]
    events = pd.DataFrame(rows, columns=['deployment_id', 'start']).assign(label='Lutra lutra', event_id=[f'e{o}' for o in range(len(rows))])
    deployments = pd.DataFrame({'deployment_id': names, 'location_id': names, 'location': names, 'start': first, 'end': first + pd.Timedelta(days=56)})
    return events, deployments, pd.DataFrame({'location': names, 'arm': ['impact' if o[0] == 'i' else 'control' for o in names]})


CELLS = {('impact', 0): 2, ('impact', 1): 8, ('control', 0): 3, ('control', 1): 4}


def test_change_of_a_species_that_is_never_missed_is_that_of_counts():
    events, deployments, arms = seen_always(CELLS)
    found = occupancy_change(events, camera_operation(deployments, time_zone='UTC'), arms, '2025-05-29', 'Lutra lutra')
    assert found.cells.share.tolist() == pytest.approx([.2, .8, .3, .4], abs=2e-3)
    assert found.odds[0] == pytest.approx((8/2)/(2/8)/((4/6)/(3/7)), rel=.02)  # 10.3
    assert found.odds[1] < found.odds[0] < found.odds[2] and 'Each location counts as two' in repr(found)


def test_locations_that_cannot_be_compared_are_listed():
    events, deployments, arms = seen_always(CELLS)
    late = pd.Timestamp('2025-06-01', tz='UTC')
    deployments.loc[deployments.deployment_id == 'i9', 'start'] = late
    found = occupancy_change(events, camera_operation(deployments, time_zone='UTC'), arms[arms.location != 'c9'], '2025-05-29', 'Lutra lutra')
    assert dict(zip(found.skipped.id, found.skipped.reason)) == {'i9': 'not watched in both periods', 'c9': 'without an arm'}
    assert found.cells.locations.tolist() == [9]*4 and 'Left out: 2 locations' in repr(found)


def test_few_locations_say_nothing():
    events, deployments, arms = seen_always({('impact', 1): 2, ('control', 0): 1}, size=2)
    with collect_notices() as told: found = occupancy_change(events, camera_operation(deployments, time_zone='UTC'), arms, '2025-05-29', 'Lutra lutra')
    assert 'nothing can be said from 2 locations' in repr(found) and told
    with pytest.raises(SurveyError, match='no impact location'):
        occupancy_change(events, camera_operation(deployments, time_zone='UTC'), arms.assign(arm='control'), '2025-05-29', 'Lutra lutra')
    with pytest.raises(SurveyError, match='nothing was watched after'):
        occupancy_change(events, camera_operation(deployments, time_zone='UTC'), arms, '2026-05-29', 'Lutra lutra')


def seen_in_weeks(cells: dict, weeks: tuple = ('2025-05-01', '2025-05-09')) -> pd.DataFrame:
    "Events at locations: in the first week, the second, both, or none."
    rows = [(name, 'Lontra canadensis', day) for name, seen in cells.items() for day, was_seen in zip(weeks, seen) if was_seen]
    return events_of(*rows)


def test_the_share_of_locations_is_that_of_two_occasions_by_hand():
    # of 20 locations 4 saw it in both weeks, 4 in one: p = 2·4/(2·4 + 4) = 2/3; share = 8/(20·(1 − (1/3)²)) = 0.45
    cells = {f'l{o:02}': (o < 8, o < 4) for o in range(20)}
    operation = operation_of(*((o, o, '2025-05-01', '2025-05-14') for o in cells))
    row = used_shares(seen_in_weeks(cells), operation).iloc[0]
    assert [row.seen_at, row.locations] == [8, 20]
    assert [row.share, row.seen] == pytest.approx([.45, 2/3], abs=1e-3)
    heading, text, body = used_sections(seen_in_weeks(cells), operation)[0]
    assert heading == 'At how many locations' and '8 of 20' in body and '>45 %<' in body and '>67 %<' in body
    assert 'Left out here' not in text
    once = events_of(('l00', 'Castor canadensis', '2025-05-02')).assign(event_id='beaver')
    assert used_sections(pd.concat([seen_in_weeks(cells), once]), operation)[0][1].endswith('Left out here: North American Beaver.')


@pytest.mark.parametrize('cells', [
    {f'l{o}': (True, True) for o in range(4)},  # four locations
    {**{f'l{o}': (True, True) for o in range(2)}, **{f'l{o}': (False, False) for o in range(2, 9)}},  # seen at two
    {f'l{o}': (True, False) for o in range(9)}])  # nowhere seen twice
def test_what_occupancy_cannot_bear_is_left_out(cells):
    operation = operation_of(*((o, o, '2025-05-01', '2025-05-14') for o in cells))
    assert used_sections(seen_in_weeks(cells), operation) == []


def test_the_change_of_shares_is_that_by_hand():
    # of 9 locations a cell, n saw it in both weeks and n in one: p = 2/3 everywhere, share = 2n/(9·8/9) = n/4
    counts, cells, later = {('W', 0): 1, ('W', 1): 3, ('C', 0): 2, ('C', 1): 2}, {}, {}
    for (arm, period), n in counts.items():
        for o in range(9): (later if period else cells)[f'{arm}{o}'] = (o < 2*n, o < n)
    events = pd.concat([seen_in_weeks(cells), seen_in_weeks(later, ('2025-05-16', '2025-05-24'))], ignore_index=True)
    events['event_id'] = [f'e{o}' for o in range(len(events))]
    operation = operation_of(*((o, o, '2025-05-01', '2025-05-28') for o in cells))
    arms = pd.DataFrame({'location': [f'at {o}' for o in cells], 'arm': ['impact' if o[0] == 'W' else 'control' for o in cells]})
    row = used_changes(events, operation, arms, '2025-05-15', ['Lontra canadensis']).iloc[0]
    shares = row[['impact_before', 'impact_after', 'control_before', 'control_after']].astype(float).tolist()
    assert shares == pytest.approx([.25, .75, .5, .5], abs=2e-3)
    assert row.odds == pytest.approx(9, rel=.02) and row.locations == 18  # (0.75/0.25)/(0.25/0.75), the controls stay
