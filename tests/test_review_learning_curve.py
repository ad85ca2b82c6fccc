"""Learning curves on errors whose law is known."""
import numpy as np
import pandas as pd

from urbanrivers_camtraps.review.learning_curve import learning_curve


def test_a_noisy_power_law_says_about_how_many_more():
    generator, sizes, told = np.random.default_rng(0), np.array([25, 50, 100, 200]), []
    for _ in range(100):
        errors = generator.binomial(400, 2*sizes**-.5)/400
        told.append(learning_curve(pd.DataFrame({'label': 'a', 'train_photographs': sizes, 'error': errors})).more.iloc[0])
    assert 150 < np.nanmedian(told) < 260 and np.isnan(told).mean() < .05  # the truth: 200 more


def test_a_level_error_is_seldom_carried_on():
    generator, sizes, told = np.random.default_rng(0), np.array([25, 50, 100, 200]), []
    for _ in range(100):
        errors = generator.binomial(200, .3, 4)/200
        told.append(learning_curve(pd.DataFrame({'label': 'a', 'train_photographs': sizes, 'error': errors})).more.iloc[0])
    assert np.isnan(told).mean() > .9
