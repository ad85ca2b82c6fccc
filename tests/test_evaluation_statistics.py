"""Intervals and tests over groups agree with scipy."""
import math

import numpy as np
from scipy import stats

from urbanrivers_camtraps.evaluation.statistics import bootstrap_interval, exact_bound, sign_test, widen_to_exact


def test_many_groups_are_drawn_a_few_draws_at_a_time():
    sums = np.stack([np.random.default_rng(0).random(30_000) < .2, np.ones(30_000)], 1)
    low, high = bootstrap_interval(sums, lambda o: o[:, 0]/o[:, 1], draws=400)  # 30,000 × 400 needs three turns
    assert np.allclose([low, high], sums[:, 0].mean() + np.array([-1.96, 1.96])*np.sqrt(.16/30_000), atol=.001)


def test_the_sign_test_is_the_binomial_test_of_scipy():
    for one, other in ((0, 0), (0, 1), (1, 7), (12, 30), (5, 5), (300, 391)):
        assert np.isclose(sign_test(one, other), stats.binomtest(one, one + other).pvalue if one + other else 1)


def test_very_uneven_and_very_many_trials_keep_their_digits():
    assert np.isclose(sign_test(600, 400)*2**999/sum(math.comb(1000, o) for o in range(401)), 1)
    assert sign_test(0, 0) == 1


def test_the_exact_bound_is_that_of_clopper_and_pearson():
    groups = np.arange(2, 400)
    assert np.allclose(exact_bound(groups), stats.beta.ppf(.025, groups, 1))
    assert np.isnan(exact_bound(np.array([0, 1]))).all()


def test_only_open_ends_are_widened():
    value, ends = np.array([1, 1, 0, np.nan]), np.array([[1, .8, 0, np.nan], [1, 1, .1, np.nan]])
    assert np.allclose(widen_to_exact(value, ends, np.array(.5)), [[.5, .8, 0, np.nan], [1, 1, .1, np.nan]], equal_nan=True)
