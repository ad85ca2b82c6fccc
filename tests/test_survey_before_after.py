"""An effect rests on locations; who cannot be compared is listed, and the effect is corrected by an audit of the filter."""
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from survey_tables import TIME_ZONE, baci_of, deployments_of, local
from urbanrivers_camtraps.foundations.core import HUMAN, TableError
from urbanrivers_camtraps.survey.before_after import (
    FalseNegativeAudit,
    before_after,
    compare_arms,
    effects,
    effects_table,
    location_changes,
    minimum_detectable_change,
    plot_effect,
    t_and_bootstrap,
)
from urbanrivers_camtraps.survey.effort import DAY, SurveyError, camera_operation
from urbanrivers_camtraps.survey.simulation import simulate_survey

COUNTS = {'W1': (10, 30), 'W2': (20, 40), 'K1': (12, 12), 'K2': (15, 10)}


def test_baci_by_hand():
    counts = {'W1': (10, 30), 'W2': (20, 40), 'W3': (6, 9), 'K1': (12, 12), 'K2': (15, 10), 'K3': (9, 12)}
    effect = before_after(*baci_of(counts), '2025-07-01')
    changes = np.array([math.log((after + .5)/(before + .5)) for before, after in counts.values()])  # as many days before as after
    test = stats.ttest_ind(changes[:3], changes[3:], equal_var=False)
    assert np.log([effect.ratio, effect.low, effect.high]) == pytest.approx([changes[:3].mean() - changes[3:].mean(), *test.confidence_interval()])
    differences = [changes[list(o)].mean() - np.delete(changes, o).mean() for o in combinations(range(6), 3)]
    assert effect.p == pytest.approx(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))
    assert effect.parts.ratio.tolist() == pytest.approx([math.exp(changes[:3].mean()), math.exp(changes[3:].mean()), effect.ratio])
    assert effect.changes[['place', 'events_before', 'events_after']].values.tolist()[:2] == [['W1', 10, 30], ['W2', 20, 40]]


def test_effort_that_differs_does_not_look_like_a_change():
    events, operation, arms = baci_of({'W1': (70, 7), 'W2': (140, 14), 'K1': (70, 70), 'K2': (60, 59)})
    outages = pd.DataFrame({'deployment_id': ['W1', 'W2'], 'start': '2025-07-01', 'end': '2025-07-24'})
    wrong, table = before_after(events, operation, arms, '2025-07-01'), operation.deployments
    short = table.assign(end=table.end.mask(table.deployment_id.str.startswith('W'), local('2025-08-02')))
    right = before_after(events, camera_operation(short, outages, time_zone=TIME_ZONE), arms, '2025-07-01')
    assert wrong.ratio < .2 and right.changes.days_after[right.changes.arm == 'impact'].tolist() == pytest.approx([8, 8])
    assert right.ratio == pytest.approx(wrong.ratio*70/8, rel=1e-6)


@pytest.mark.parametrize('counts, says', [
    ({'W1': (5, 9), 'K1': (5, 5)}, 'each arm needs two locations'), ({'W1': (5, 9), 'W2': (3, 4)}, '2 impact and 0 control'),
    ({'W1': (0, 0), 'W2': (0, 0), 'K1': (0, 0), 'K2': (0, 0)}, '4 without an event in either period'),
    ({'W1': (5, 5), 'W2': (5, 5), 'K1': (5, 5), 'K2': (5, 5)}, 'do not differ at all'),
    ({'W1': (5, 9), 'W2': (3, 4), 'K1': (5, 4), 'K2': (7, 7)}, 'Ten locations per arm'),
    (COUNTS, 'cannot give a p below 0.33'), (COUNTS, 'may be chance')])
def test_few_locations_are_told_what_they_can_show(counts, says):
    effect = before_after(*baci_of(counts), '2025-07-01')
    assert says in str(effect)
    assert np.isnan(effect.ratio) == ('nothing can be said' in str(effect))
    assert plot_effect(effect).axes


def test_an_arm_of_one_has_a_change_but_no_interval():
    lonely = before_after(*baci_of({'W1': (10, 30), 'K1': (12, 12), 'K2': (15, 10)}), '2025-07-01')
    assert lonely.parts.ratio[0] == pytest.approx(30.5/10.5) and np.isnan(lonely.parts.low[0]) and not np.isnan(lonely.parts.low[1])
    assert 'none' not in str(lonely).lower()


def test_locations_that_cannot_be_compared_are_listed():
    counts = COUNTS | {'W3': (0, 0), 'W4': (1, 0), 'K3': (5, 5)}
    events, operation, arms = baci_of(counts)
    table = operation.deployments
    short = camera_operation(table.assign(end=table.end.mask(table.deployment_id == 'W4', local('2025-07-03'))), time_zone=TIME_ZONE)
    arms = pd.concat([arms[arms.location_id != 'K3'], pd.DataFrame({'location_id': ['K9'], 'arm': ['control']})])
    effect = before_after(events, short, arms, '2025-07-01')
    assert dict(effect.skipped.values) == {'W3': 'without an event in either period', 'W4': 'watched for fewer than 7 days after',
                                           'K3': 'without an arm', 'K9': 'without any effort'}
    plain = before_after(*baci_of(COUNTS), '2025-07-01')
    assert [effect.ratio, effect.low] == pytest.approx([plain.ratio, plain.low]) and 'Left out: 4 locations' in str(effect)
    nowhere = camera_operation(table.head(0), time_zone=TIME_ZONE)
    assert len(before_after(events, nowhere, arms, '2025-07-01').skipped) == 7


def test_days_in_between_belong_to_neither_period():
    events, operation, arms = baci_of(COUNTS)
    between = before_after(events, operation, arms, ('2025-05-02', '2025-07-31'))
    assert between.changes.days_before.tolist() == pytest.approx([10]*4) and between.changes.days_after.tolist() == pytest.approx([39]*4)
    assert between.changes.events_after.tolist() == [30, 40, 12, 10]


def test_arms_that_were_watched_in_other_months_are_pointed_out():
    events, operation, arms = baci_of(COUNTS)
    table = operation.deployments
    early = table.start.mask(table.deployment_id.str.startswith('W'), table.start - 90*DAY)
    effect = before_after(events, camera_operation(table.assign(start=early), time_zone=TIME_ZONE), arms, '2025-07-01')
    assert effect.seasons > .25 and 'same months' in str(effect)
    assert before_after(events, operation, arms, '2025-07-01').seasons < .05


def test_power_is_what_the_noncentral_t_says():
    "A change of the size named is found in about four of five surveys."
    effect = before_after(*baci_of({'W1': (10, 30), 'W2': (20, 40), 'W3': (10, 12), 'K1': (12, 12), 'K2': (15, 10), 'K3': (8, 9)}), '2025-07-01')
    change = math.log(minimum_detectable_change(effect, [12]).increase[0])
    generator, (one, other, _) = np.random.default_rng(1), effect.variances
    ends, _ = t_and_bootstrap(change + generator.normal(0, one**.5, (4000, 12)), generator.normal(0, other**.5, (4000, 12)), draws=2)
    assert (ends[:, 0] > 0).mean() == pytest.approx(.8, abs=.03)


@pytest.mark.parametrize('wrong, says', [
    ({'changed': 'soon'}, 'is not a day'), ({'changed': ('2025-07-01', '2025-05-01')}, 'the earlier first'),
    ({'arms': pd.DataFrame({'location_id': ['W1'], 'arm': ['wet']})}, 'wet is not an arm'),
    ({'arms': pd.DataFrame({'location_id': ['W1', 'W1'], 'arm': ['impact', 'control']})}, 'W1 has two arms'),
    ({'missed': FalseNegativeAudit((3, 2), (1, 2))}, 'is not an audit'), ({'missed': {'wet': FalseNegativeAudit((1, 2), (1, 2))}}, 'wet is not an arm')])
def test_wrong_questions_get_an_answer(wrong, says):
    events, operation, arms = baci_of({'W1': (5, 9), 'K1': (5, 5)})
    with pytest.raises(SurveyError, match=says): before_after(events, operation, **({'arms': arms, 'changed': '2025-07-01'} | wrong))


def test_arms_need_an_arm():
    events, operation, arms = baci_of({'W1': (5, 9), 'K1': (5, 5)})
    with pytest.raises(TableError, match='lacks arm'): before_after(events, operation, arms[['location_id']], '2025-07-01')


# --- the filter ---

def test_an_audit_moves_the_effect_and_widens_it_the_less_the_more_was_looked_at():
    survey = baci_of({'W1': (10, 30), 'W2': (20, 40), 'W3': (14, 30), 'K1': (12, 12), 'K2': (15, 10), 'K3': (8, 9)})
    plain = before_after(*survey, '2025-07-01')
    audits = {looked: {'impact': FalseNegativeAudit((looked/10, looked), (3*looked/10, looked))} for looked in (10, 100, 100_000)}
    found = {looked: before_after(*survey, '2025-07-01', missed=o) for looked, o in audits.items()}
    for looked, eps in ((100, .02), (100_000, 1e-4)): assert math.log(found[looked].ratio/plain.ratio) == pytest.approx(math.log(.9/.7), abs=eps)
    wide = [math.log(o.high/o.low) for o in found.values()]
    assert wide[0] > wide[1] > wide[2] == pytest.approx(math.log(plain.high/plain.low), rel=1e-3)
    assert f'would be {plain.ratio:.2f}' in str(found[100])
    assert found[100].variances[2] == pytest.approx(audits[100]['impact'].log_recall()[1])


def test_one_audit_for_both_arms_cancels_from_the_effect_alone():
    audit = FalseNegativeAudit((10, 100), (30, 100))
    plain, together = (before_after(*baci_of(COUNTS), '2025-07-01', missed=o) for o in (None, audit))
    assert [together.ratio, together.high] == pytest.approx([plain.ratio, plain.high])
    assert np.log(together.parts.ratio[:2]/plain.parts.ratio[:2]).tolist() == pytest.approx([-audit.log_recall()[0]]*2)


def test_a_sample_of_the_removed_says_the_same_as_one_of_the_animals():
    "Of 4,000 removed events 5 % are animals, 1,800 animals were kept: 10 % are missed; its delta method is that of 200/(1,800 + 200)."
    value, variance = FalseNegativeAudit((100, 2000, 4000, 1800), (0, 10**9)).log_recall()
    assert -value == pytest.approx(math.log(.9), abs=.002)
    assert variance == pytest.approx((4000/2000)**2*.05*.95/2000, rel=.05)
    same = (50, 1000, 2000, 900)
    assert FalseNegativeAudit(same, same).log_recall()[0] == pytest.approx(0)


@pytest.mark.parametrize('counts, says', [((3, 0), 'is not an audit'), ((1, 2, 5), 'removed and kept')])
def test_an_audit_that_cannot_be_right_is_refused(counts, says):
    with pytest.raises(SurveyError, match=says): FalseNegativeAudit(counts, (1, 2)).log_recall()


def test_people_are_not_corrected_by_an_audit_of_animals():
    river = simulate_survey(0, arms=3, days=60)
    audit = {'impact': FalseNegativeAudit((10, 100), (30, 100))}
    asked = river.events, river.operation, river.arms, river.changed, ['wildlife', HUMAN, 'people']
    plain, full = (effects_table(effects(*asked, missed=o)) for o in (None, audit))
    assert (full.ratio != plain.ratio).tolist() == [True, False, False]


def test_overlapping_cameras_count_once_or_twice():
    events, operation, arms = baci_of(COUNTS)
    double = pd.concat([operation.deployments, deployments_of(('W1b', 'W1', '2025-07-01', '2025-09-09'))])
    once, twice = (before_after(events, camera_operation(double, time_zone=TIME_ZONE, overlaps=o), arms, '2025-07-01') for o in ('once', 'twice'))
    assert once.changes.days_after.tolist() == pytest.approx([70]*4) and twice.changes.days_after.tolist() == pytest.approx([140, 70, 70, 70])


FEW = {'W1': (0, 1), 'W2': (3, 9), 'W3': (1, 1), 'K1': (4, 4), 'K2': (6, 3), 'K3': (0, 2)}


def test_uncommon_species_count_locations_by_their_events():
    effect = before_after(*baci_of(FEW), '2025-07-01')
    n = np.array([1, 12, 2, 8, 9, 2])
    weights = n/(1 + (n - 1)/10)
    changes = np.array([math.log((after + 3/8)/(before + 3/8)) for before, after in FEW.values()])
    assert effect.changes.weight.tolist() == pytest.approx(weights) and effect.changes.change.tolist() == pytest.approx(changes)
    def mean(rows): return np.average(changes[rows], weights=weights[rows])
    variances = [np.average((changes[o] - mean(o))**2, weights=weights[o])/2 for o in ([0, 1, 2], [3, 4, 5])]
    degrees = sum(variances)**2/sum(o**2/2 for o in variances)
    half = stats.t.ppf(.975, degrees)*math.sqrt(sum(variances))
    value = mean([0, 1, 2]) - mean([3, 4, 5])
    assert np.log([effect.ratio, effect.low, effect.high]) == pytest.approx([value, value - half, value + half])
    assert compare_arms(effect.changes) == pytest.approx((value, value - half, value + half))
    differences = [mean(list(o)) - mean([p for p in range(6) if p not in o]) for o in combinations(range(6), 3)]
    assert effect.p == pytest.approx(np.mean(np.abs(differences) >= abs(value) - 1e-12))
    assert effect.parts.ratio.tolist() == pytest.approx(np.exp([mean([0, 1, 2]), mean([3, 4, 5]), value]))
    assert 'Events are few (5.7 a location)' in str(effect)


def test_locations_count_once_from_twenty_events_a_location():
    assert 'count by their events' not in str(before_after(*baci_of({o: (10, 10 + (o == 'W1')) for o in ('W1', 'W2', 'K1', 'K2')}), '2025-07-01'))
    table = pd.DataFrame({'events_before': [10, 5], 'events_after': [10, 15], 'days_before': 50, 'days_after': 50})
    assert location_changes(table).weight.tolist() == [1, 1]
    assert location_changes(table.assign(events_after=[10, 14])).weight.tolist() == pytest.approx([20/2.9, 19/2.8])


def test_an_audit_corrects_an_uncommon_species():
    audit = {'impact': FalseNegativeAudit(before=(10, 100), after=(30, 100))}
    plain, corrected = (before_after(*baci_of(FEW), '2025-07-01', missed=o) for o in (None, audit))
    assert corrected.ratio/plain.ratio == pytest.approx(math.exp(-audit['impact'].log_recall()[0]))
    assert f'without that the factor would be {plain.ratio:.2f}' in str(corrected)


def test_counting_by_events_pulls_less_towards_no_change_and_holds():
    generator, truth, count = np.random.default_rng(1), math.log(1.5), 600
    found = {'built': [], 'once': []}
    for _ in range(count):
        rate = .72*generator.lognormal(-.32, .8, 20)
        drift = generator.normal(0, .2, (2, 20))
        mean = rate*np.exp(drift + np.outer([0, 1], .15 + truth*(np.arange(20) < 10)))
        before, after = generator.poisson(mean*1.3)
        table = pd.DataFrame({'arm': np.repeat(['impact', 'control'], 10), 'events_before': before, 'events_after': after, 'days_before': 90,
                              'days_after': 90})
        table = table[before + after > 0]
        for name, uncommon in (('built', 20), ('once', 0)): found[name].append(compare_arms(location_changes(table, uncommon)))
    built, once = (np.array(found[o]) for o in ('built', 'once'))
    assert -.09 < built[:, 0].mean() - truth < .05 and once[:, 0].mean() - truth < built[:, 0].mean() - truth - .04
    assert .905 < ((built[:, 1] <= truth) & (truth <= built[:, 2])).mean() < .99
