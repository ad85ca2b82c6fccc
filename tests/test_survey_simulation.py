"""Intervals hold a planted truth as often as they say, also behind a filter that misses animals."""
import math

import numpy as np
import pytest

from urbanrivers_camtraps.survey.before_after import before_after, t_and_bootstrap
from urbanrivers_camtraps.survey.simulation import simulate_survey

TRUTH, SURVEYS, CHANCE = 1.5, 200, (181, 198)  # 95 % of 200, give or take what chance alone does


def surveys(**planted) -> tuple[np.ndarray, np.ndarray]: # changes as seen (surveys × arms × locations), log intervals (surveys × 2)
    "Simulate surveys, and ask each what changed."
    changes, ends = [], []
    for seed in range(SURVEYS):
        river = simulate_survey(seed, change=TRUTH, days=90, **planted)
        effect = before_after(river.events, river.operation, river.arms, river.changed, missed=river.missed, permutations=0)
        changes.append([effect.changes.change[effect.changes.arm == o].to_numpy() for o in ('impact', 'control')])
        ends.append(np.log([effect.low, effect.high]))
    return np.array(changes), np.array(ends)


def held(ends: np.ndarray) -> int:
    "Count the intervals with the truth inside."
    return int(((ends[:, 0] <= math.log(TRUTH)) & (math.log(TRUTH) <= ends[:, 1])).sum())


def test_the_same_seed_draws_the_same_survey():
    one, same, other = (simulate_survey(seed, arms=2, days=60) for seed in (3, 3, 4))
    assert one.events.equals(same.events) and one.outages.equals(same.outages) and not one.events.equals(other.events)
    assert len(one.arms) == 4 and len(one.deployments) == len(one.outages) == 8


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
