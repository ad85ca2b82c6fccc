"""The mixed model beside the before/after comparison, against a likelihood that is integrated here by itself."""
import importlib
import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.survey.before_after import before_after
from urbanrivers_camtraps.survey.mixed_model import _design, mixed_effect
from urbanrivers_camtraps.survey.simulation import simulate_survey


@pytest.fixture(scope='module')
def effect():
    "The change in a simulated survey of ten locations an arm."
    drawn = simulate_survey(3, days=120)
    return before_after(drawn.events, drawn.operation, drawn.arms, drawn.changed, permutations=0)


def integrated(events: np.ndarray, days: np.ndarray, design: np.ndarray, locations: int) -> np.ndarray:
    "Return coefficients, log spread and log shape at the largest likelihood, integrated by 40 Gauss-Hermite nodes."
    nodes, weights = special.roots_hermitenorm(40)
    def loss(values: np.ndarray) -> float:
        mean = design @ values[:4] + np.log(days)
        mean = np.exp(mean[:, None] + math.exp(values[4])*nodes)
        shape = math.exp(values[5])
        chance = stats.nbinom.logpmf(events[:, None], shape, shape/(shape + mean)).reshape(2, locations, -1).sum(0)
        return -special.logsumexp(chance, axis=1, b=weights/weights.sum()).sum()
    start = [math.log(events.sum()/days.sum()), 0, 0, 0, -1, 2]
    return optimize.minimize(loss, start, method='Nelder-Mead', options={'maxiter': 6000, 'maxfev': 6000, 'xatol': 1e-5, 'fatol': 1e-8}).x


def test_the_estimates_are_those_of_the_integrated_likelihood(effect):
    mixed = mixed_effect(effect)
    design, events, days = _design(effect.changes)
    ours = integrated(events, days, design.to_numpy(), len(effect.changes))
    assert np.abs(mixed.coefficients.estimate.to_numpy() - ours[:4]).max() < .01
    assert mixed.spread == pytest.approx(math.exp(ours[4]), rel=.05)
    assert mixed.shape == pytest.approx(math.exp(ours[5]), rel=.05)


def test_the_interval_is_that_of_t_with_two_degrees_fewer_than_locations(effect):
    mixed = mixed_effect(effect)
    error = mixed.coefficients.error.iloc[-1]
    assert math.log(mixed.high/mixed.low) == pytest.approx(2*2.100922*error)  # table of t: 97.5 % with 18 degrees


def test_without_gpboost_it_says_what_to_install(effect, monkeypatch):
    def missing(name: str) -> None: raise ModuleNotFoundError(name)
    monkeypatch.setattr(importlib, 'import_module', missing)
    with pytest.raises(CamtrapsError, match=r"pip install 'urbanrivers_camtraps\[mixed\]'"): mixed_effect(effect)
