"""Rates rest on days that were watched, and an effect on locations: the interval holds the planted truth as often as it says, also behind a filter."""
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.survey.deployments import make_deployments
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.survey.activity import activity
from urbanrivers_camtraps.survey.before_after import FalseNegativeAudit, before_after, effects, effects_table, minimum_detectable_change, t_and_bootstrap
from urbanrivers_camtraps.survey.deployments import TIME_ZONE
from urbanrivers_camtraps.survey.effort import SurveyError, camera_days, camera_operation, effort_problems, suspected_outages
from urbanrivers_camtraps.survey.rates import events_outside, rates
from urbanrivers_camtraps.survey.report import write_survey
from urbanrivers_camtraps.survey.richness import accumulation
from urbanrivers_camtraps.survey.simulation import simulate_survey

TRUTH, SURVEYS, CHANCE = 1.5, 200, (181, 198)  # 95 % of 200, give or take what chance alone does


def local(moment: str) -> pd.Timestamp: return pd.Timestamp(moment, tz=TIME_ZONE)


def deployments_of(*rows: tuple) -> pd.DataFrame:
    "Deployments by (deployment, location, start, end), local time."
    table = pd.DataFrame(rows, columns=['deployment_id', 'location_id', 'start', 'end'])
    return table.assign(location='at ' + table.location_id, latitude=41.9, longitude=-87.65, start=table.start.map(local), end=table.end.map(local))


def events_of(*rows: tuple) -> pd.DataFrame:
    "Events by (deployment, label, start), local time."
    table = pd.DataFrame(rows, columns=['deployment_id', 'label', 'start'])
    return table.assign(event_id=[f'e{o}' for o in range(len(table))], start=table.start.map(local))


def arms_of(counts: dict[str, tuple[int, int]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    "Events, deployments and arms of locations watched for ten weeks before and after 1 July; W is a wetland."
    deployments = deployments_of(*((o, o, '2025-04-22', '2025-09-09') for o in counts))
    events = events_of(*((o, 'Anas', day) for o, pair in counts.items() for day, times in zip(('2025-05-01', '2025-08-01'), pair) for _ in range(times)))
    return events, deployments, pd.DataFrame({'location_id': list(counts), 'arm': ['impact' if o[0] == 'W' else 'control' for o in counts]})


# --- effort ---

def test_camera_days_by_hand_with_gaps_months_and_summer_time():
    "11 days of March lack the hour that summer time takes; a gap over the month's end takes from both."
    table = deployments_of(('d', 'l', '2025-03-01 06:00', '2025-04-11 18:00'))
    outages = pd.DataFrame({'deployment_id': ['d', 'd'], 'start': ['2025-03-30', '2025-04-01 12:00'], 'end': ['2025-04-02', '2025-04-03']})
    days = camera_days(table, outages).set_index('month').camera_days
    assert days['2025-03'] == pytest.approx(29 - .25 - 1/24) and days['2025-04'] == pytest.approx(10.75 - 2)
    assert camera_days(table, outages, by='month', time_zone='UTC').camera_days.sum() == pytest.approx(days.sum())


def test_overlapping_deployments_are_counted_once_or_twice_and_listed():
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-11'), ('b', 'l', '2025-05-06', '2025-05-21'))
    assert camera_days(table, by='location_id').camera_days.tolist() == pytest.approx([20])
    assert camera_days(table, by='location_id', overlaps='twice').camera_days.tolist() == pytest.approx([25])
    listed = effort_problems(table)
    assert listed.deployment_id.tolist() == ['b'] and 'overlaps' in listed.problem[0] and listed.days[0] == pytest.approx(5)


def test_a_gap_of_the_first_camera_is_filled_by_the_second():
    "The union of two cameras has no gap where one of them worked."
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-21'), ('b', 'l', '2025-05-06', '2025-05-09'))
    outages = pd.DataFrame({'deployment_id': ['a'], 'start': ['2025-05-05'], 'end': ['2025-05-11']})
    assert camera_days(table, outages, by='location_id').camera_days.tolist() == pytest.approx([4 + 3 + 10])


def test_moments_of_several_offsets_and_none_are_read_together():
    table = deployments_of(('d', 'l', '2025-03-01', '2025-12-01')).assign(start='2025-03-01T00:00:00-06:00', end='2025-07-01T00:00:00-05:00')
    outages = pd.DataFrame({'deployment_id': ['d', 'd'], 'start': ['2025-05-01', '2025-06-01T00:00-05:00'], 'end': ['2025-05-02', '2025-06-03']})
    assert camera_days(table, outages, by=()).camera_days[0] == pytest.approx(122 - 1/24 - 1 - 2)


def test_photographs_tell_ends_and_suspected_gaps_but_apply_none():
    table = deployments_of(('d', 'l', '2025-05-01', '2025-05-01')).assign(end=pd.NaT)
    photographs = pd.DataFrame({'deployment_id': 'd', 'timestamp': [local(f'2025-05-{o:02d}') for o in (1, 2, 3, 15, 16)]})
    assert camera_days(table, by=(), photographs=photographs).camera_days[0] == pytest.approx(15)
    assert 'last photograph' in effort_problems(table, photographs=photographs).problem[0]
    suspected = suspected_outages(camera_operation(table, photographs=photographs), photographs)
    assert suspected[['start', 'end']].values.tolist() == [[local('2025-05-03'), local('2025-05-15')]]
    assert camera_days(table, suspected, by=(), photographs=photographs).camera_days[0] == pytest.approx(3)


# --- rates ---

def test_rates_are_zero_where_nothing_came_and_missing_where_nobody_watched():
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-11'), ('b', 'm', '2025-06-01', '2025-06-26'))
    seen = events_of(('a', 'Anas', '2025-05-02'), ('a', HUMAN, '2025-05-02'), ('a', VEHICLE, '2025-05-02'), ('a', BLANK, '2025-05-03'),
                     ('b', 'Castor', '2025-06-02'))
    rate = rates(seen, table).set_index(['label', 'location_id', 'month']).rate
    assert rate['Anas', 'l', '2025-05'] == pytest.approx(10) and rate['Castor', 'm', '2025-06'] == pytest.approx(4)
    assert rate['Anas', 'm', '2025-06'] == 0 and rate['Castor', 'l', '2025-05'] == 0
    assert rate.unstack('label').loc[[('l', '2025-06'), ('m', '2025-05')]].isna().all(axis=None)
    assert rate['people', 'l', '2025-05'] == pytest.approx(20) and rate['wildlife', 'l', '2025-05'] == pytest.approx(10)
    assert BLANK not in rate.index.levels[0]


def test_events_without_effort_are_listed_with_the_reason_and_left_out():
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-11'))
    outages = pd.DataFrame({'deployment_id': ['a'], 'start': ['2025-05-04'], 'end': ['2025-05-05']})
    seen = events_of(*(('a', 'Anas', o) for o in ('2025-04-30', '2025-05-02', '2025-05-04 12:00', '2025-05-12')), ('q', 'Anas', '2025-05-02'))
    out = events_outside(seen, table, outages).set_index('event_id').reason
    assert out.to_dict() == {'e0': 'before its deployment', 'e2': 'in an outage', 'e3': 'after its deployment', 'e4': 'its deployment is not known'}
    assert rates(seen, table, outages, by=()).set_index('label').events['Anas'] == 1


def test_intervals_of_rates_hold_the_mean_over_locations():
    "Locations with rates of their own: the interval of the mean rate holds it about as often as it says."
    generator, held = np.random.default_rng(5), 0
    table = deployments_of(*((f'd{o}', f'l{o}', '2025-05-01', '2025-08-09') for o in range(20)))
    for _ in range(60):
        counts = generator.poisson(30*generator.gamma(4, 1/4, 20))
        events = pd.DataFrame({'deployment_id': np.repeat(table.deployment_id, counts), 'label': 'Anas', 'start': local('2025-06-01')})
        one = rates(events, table, by=()).iloc[0]
        held += one.low <= 30 <= one.high
    assert 52 <= held <= 60  # of 57 expected


def test_the_tables_of_events_and_deployments_fit():
    "Photographs → events and deployments → rates; ends that photographs told are marked."
    photographs = pd.DataFrame({'media_id': list('abcdef'), 'timestamp': [local(f'2025-05-{o}') for o in ('01', '02', '02 00:01', '05', '11', '07')],
                                'label': ['Anas', 'Anas', 'Anas', HUMAN, BLANK, None], 'deployment_id': 'd', 'deployment': 'D',
                                'location_id': 'l', 'location': 'River', 'latitude': 41.9, 'longitude': -87.65})
    deployments, events = make_deployments(photographs), make_events(photographs)
    table = rates(events, deployments, by=()).set_index('label')
    assert table.events[['Anas', HUMAN, 'wildlife']].tolist() == [2, 1, 2] and table.camera_days['Anas'] == pytest.approx(10)
    assert effort_problems(deployments).problem.str.contains('taken from the').sum() == 2


def test_without_coordinates_there_is_only_the_clock():
    table = deployments_of(('a', 'l', '2025-06-01', '2025-06-11'), ('b', 'm', '2025-06-01', '2025-06-11')).assign(latitude=[41.9, None])
    seen = events_of(('a', 'Anas', '2025-06-02 12:10'), ('a', 'Anas', '2025-06-02 23:50'), ('b', 'Anas', '2025-06-02 12:10'))
    found = activity(seen, table)
    assert found[found.label == 'Anas'].values.tolist() == [['Anas', 12, 'day', 1], ['Anas', 12, 'not known', 1], ['Anas', 23, 'night', 1]]


def test_accumulation_ends_with_all_species_and_knows_no_people():
    table = deployments_of(('a', 'l', '2025-05-01', '2025-05-11'), ('b', 'm', '2025-05-01', '2025-05-11'))
    seen = events_of(('a', 'Anas', '2025-05-02'), ('b', 'Anas', '2025-05-02'), ('b', 'Castor', '2025-05-04'), ('a', 'Lontra', '2025-05-04'),
                     ('a', HUMAN, '2025-05-04'))
    for whole in (False, True):
        found = accumulation(seen, table, whole=whole)
        assert found.species == 3 and found.curve.species.iloc[-1] == 3 and found.curve.camera_days.iloc[-1] == pytest.approx(20)
        assert found.curve.species.is_monotonic_increasing
    assert found.chao2[0] == pytest.approx(3 + 19/20*2*1/(2*2))  # two met on one location-day, one on two


# --- before and after ---

def test_baci_by_hand():
    counts = {'W1': (10, 30), 'W2': (20, 40), 'W3': (6, 9), 'K1': (12, 12), 'K2': (15, 10), 'K3': (9, 12)}
    effect = before_after(*arms_of(counts), '2025-07-01')
    changes = np.array([math.log((after + .5)/(before + .5)) for before, after in counts.values()])  # as many days before as after
    test = stats.ttest_ind(changes[:3], changes[3:], equal_var=False)
    assert np.log([effect.ratio, effect.low, effect.high]) == pytest.approx([changes[:3].mean() - changes[3:].mean(), *test.confidence_interval()])
    differences = [changes[list(o)].mean() - np.delete(changes, o).mean() for o in combinations(range(6), 3)]
    assert effect.p == pytest.approx(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))
    assert effect.parts.ratio.tolist() == pytest.approx([math.exp(changes[:3].mean()), math.exp(changes[3:].mean()), effect.ratio])


def test_effort_that_differs_does_not_look_like_a_change():
    events, deployments, arms = arms_of({'W1': (70, 7), 'W2': (140, 14), 'K1': (70, 70), 'K2': (60, 59)})
    outages = pd.DataFrame({'deployment_id': ['W1', 'W2'], 'start': '2025-07-01', 'end': '2025-07-25'})
    wrong = before_after(events, deployments, arms, '2025-07-01')
    short = deployments.assign(end=deployments.end.mask(deployments.deployment_id.str.startswith('W'), local('2025-08-02')))
    right = before_after(events, short, arms, '2025-07-01', outages=outages)
    assert wrong.ratio < .2 and right.changes.days_after[right.changes.arm == 'impact'].tolist() == pytest.approx([8, 8])
    assert right.ratio == pytest.approx(wrong.ratio*70/8, rel=1e-6)


@pytest.mark.parametrize('counts, says', [
    ({'W1': (5, 9), 'K1': (5, 5)}, 'it takes two locations an arm'), ({'W1': (5, 9), 'W2': (3, 4)}, '2 impact and 0 control'),
    ({'W1': (0, 0), 'W2': (0, 0), 'K1': (0, 0), 'K2': (0, 0)}, '4 without an event in either period'),
    ({'W1': (5, 9), 'W2': (3, 4), 'K1': (5, 4), 'K2': (7, 7)}, 'fewer than ten locations an arm can show')])
def test_few_locations_are_told_what_they_can_show(counts, says):
    effect = before_after(*arms_of(counts), '2025-07-01')
    assert says in str(effect)
    assert np.isnan(effect.ratio) == ('nothing can be said' in str(effect))


def test_locations_that_cannot_be_compared_are_listed():
    events, deployments, arms = arms_of({'W1': (10, 30), 'W2': (20, 40), 'W3': (5, 5), 'K1': (12, 12), 'K2': (15, 10), 'K3': (5, 5)})
    deployments.loc[2, 'end'] = local('2025-06-01')
    arms = pd.concat([arms.iloc[:-1], pd.DataFrame({'location_id': ['K7'], 'arm': ['control']})])
    effect = before_after(events, deployments, arms, '2025-07-01')
    reasons = {'W3': 'watched for fewer than 7 days after', 'K3': 'without an arm', 'K7': 'without any effort'}
    assert dict(zip(effect.left_out.place, effect.left_out.reason)) == reasons
    assert len(effect.changes) == 4


def test_power_is_what_the_noncentral_t_says():
    "A change of the size named is found in about four of five surveys."
    effect = before_after(*arms_of({'W1': (10, 30), 'W2': (20, 40), 'W3': (10, 12), 'K1': (12, 12), 'K2': (15, 10), 'K3': (8, 9)}), '2025-07-01')
    change = math.log(minimum_detectable_change(effect, [12]).increase[0])
    generator, (one, other, _) = np.random.default_rng(1), effect.variances
    ends, _ = t_and_bootstrap(change + generator.normal(0, one**.5, (4000, 12)), generator.normal(0, other**.5, (4000, 12)), draws=2)
    assert (ends[:, 0] > 0).mean() == pytest.approx(.8, abs=.03)


@pytest.mark.parametrize('wrong, says', [
    ({'changed': 'soon'}, 'is no day'), ({'arms': pd.DataFrame({'location_id': ['W1'], 'arm': ['wet']})}, 'no such arm: wet'),
    ({'missed': FalseNegativeAudit((3, 2), (1, 2))}, 'is no audit'), ({'missed': {'wet': FalseNegativeAudit((1, 2), (1, 2))}}, 'no such arm: wet')])
def test_wrong_questions_get_an_answer(wrong, says):
    events, deployments, arms = arms_of({'W1': (5, 9), 'K1': (5, 5)})
    with pytest.raises(SurveyError, match=says): before_after(events, deployments, **({'arms': arms, 'changed': '2025-07-01'} | wrong))


# --- the filter ---

def test_an_audit_moves_the_effect_and_widens_it_the_less_the_more_was_looked_at():
    survey = arms_of({'W1': (10, 30), 'W2': (20, 40), 'W3': (14, 30), 'K1': (12, 12), 'K2': (15, 10), 'K3': (8, 9)})
    plain = before_after(*survey, '2025-07-01')
    audits = {looked: {'impact': FalseNegativeAudit((looked/10, looked), (3*looked/10, looked))} for looked in (10, 100, 100_000)}
    found = {looked: before_after(*survey, '2025-07-01', missed=o) for looked, o in audits.items()}
    for looked, eps in ((100, .02), (100_000, 1e-4)): assert math.log(found[looked].ratio/plain.ratio) == pytest.approx(math.log(.9/.7), abs=eps)
    wide = [math.log(o.high/o.low) for o in found.values()]
    assert wide[0] > wide[1] > wide[2] == pytest.approx(math.log(plain.high/plain.low), rel=1e-3)
    assert f'would be {plain.ratio:.2f}' in str(found[100])


def test_a_sample_of_the_removed_says_the_same_as_one_of_the_animals():
    "Of 4,000 removed events 5 % are animals, 1,800 animals were kept: 10 % are missed; its delta method is that of 200/(1,800 + 200)."
    value, variance = FalseNegativeAudit((100, 2000, 4000, 1800), (0, 10**9)).log_recall()
    assert -value == pytest.approx(math.log(.9), abs=.002)
    assert variance == pytest.approx((4000/2000)**2*.05*.95/2000, rel=.05)


def test_people_are_not_corrected_by_an_audit_of_animals():
    one = simulate_survey(0, arms=3, days=60)
    audit = {'impact': FalseNegativeAudit((10, 100), (30, 100))}
    asked = one.events, one.deployments, one.arms, one.changed, ['wildlife', HUMAN, 'people']
    plain, full = (effects_table(effects(*asked, missed=o, outages=one.outages)) for o in (None, audit))
    assert (full.ratio != plain.ratio).tolist() == [True, False, False]


# --- coverage, on planted changes ---

def surveys(**planted) -> tuple[np.ndarray, np.ndarray]: # changes as seen (surveys × arms × locations), log intervals (surveys × 2)
    "Simulate surveys, and ask each what changed."
    changes, ends = [], []
    for seed in range(SURVEYS):
        one = simulate_survey(seed, change=TRUTH, days=90, **planted)
        effect = before_after(one.events, one.deployments, one.arms, one.changed, outages=one.outages, missed=one.missed, permutations=0)
        changes.append([effect.changes.change[effect.changes.arm == o].to_numpy() for o in ('impact', 'control')])
        ends.append(np.log([effect.low, effect.high]))
    return np.array(changes), np.array(ends)


def held(ends: np.ndarray) -> int:
    "Count the intervals with the truth inside."
    return int(((ends[:, 0] <= math.log(TRUTH)) & (math.log(TRUTH) <= ends[:, 1])).sum())


def test_ten_locations_an_arm_hold_the_truth_and_a_bootstrap_of_few_does_not():
    changes, ends = surveys()
    assert CHANCE[0] <= held(ends) <= CHANCE[1]
    for count in (2, 3, 5):
        t_ends, drawn = t_and_bootstrap(changes[:, 0, :count], changes[:, 1, :count])
        assert held(t_ends) >= CHANCE[0] > held(drawn)


def test_a_filter_that_misses_more_at_the_wetland_afterwards_looks_like_an_effect_unless_carried_in():
    changes, ends = surveys(missed={'impact': (.1, .3), 'control': (.1, .1)})
    ignored = t_and_bootstrap(changes[:, 0], changes[:, 1])[0]
    assert np.mean(ignored) == pytest.approx(math.log(TRUTH*.7/.9), abs=.05)  # the bias is the filter's
    assert held(ignored) < 160
    assert CHANCE[0] <= held(ends) <= CHANCE[1]
    assert np.mean(ends) == pytest.approx(math.log(TRUTH), abs=.05)


def test_a_filter_that_misses_more_everywhere_cancels():
    assert CHANCE[0] <= held(surveys(missed=(.1, .3))[1]) <= CHANCE[1]


# --- the report ---

def test_the_report_is_whole_or_not_there(tmp_path):
    one = simulate_survey(0, arms=2, days=60)
    page = write_survey(tmp_path/'survey.html', one.events, one.deployments, one.outages, one.arms, one.changed).read_text()
    assert 'fewer than ten locations an arm' in page and page.count('<img') == 6 and 'http' not in page.split('</style>')[1].split('<img')[0]
    with pytest.raises(SurveyError, match='no deployment has any effort'): write_survey(tmp_path/'none.html', one.events, one.deployments.assign(end=pd.NaT))
    assert [o.name for o in tmp_path.iterdir()] == ['survey.html']
