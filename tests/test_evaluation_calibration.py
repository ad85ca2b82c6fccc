"""Temperatures are found again, and scores keep what they promise."""
import numpy as np
import pandas as pd
import pytest

from test_evaluation_metrics import scored
from urbanrivers_camtraps.evaluation.calibration import (
    CalibrationError,
    apply_temperature,
    calibration_error,
    calibration_section,
    chance_calibration_error,
    cross_temperature,
    fit_temperature,
)
from urbanrivers_camtraps.foundations.predictions import Predictions, read_predictions
from urbanrivers_camtraps.foundations.tables import write_table


@pytest.mark.parametrize('temperature', [.3, 1, 3, 12])
def test_the_temperature_is_found_again(temperature):
    found = [fit_temperature(scored(3000, temperature, seed)) for seed in range(5)]
    assert np.isclose(np.mean(found), temperature, rtol=.03)


def test_the_temperature_is_the_lowest_loss_that_scipy_finds():
    optimize = pytest.importorskip('scipy.optimize')
    table = scored(500, 4, seed=0, spread=3)
    logs = np.log(np.stack(table.scores).astype(float))
    def loss(log_t): return np.mean(np.logaddexp.reduce(logs/np.exp(log_t), axis=1) - logs[np.arange(500), table.label]/np.exp(log_t))
    best = optimize.minimize_scalar(loss, bounds=(-3, 4), method='bounded', options={'xatol': 1e-9})
    assert np.isclose(fit_temperature(table), np.exp(best.x), rtol=1e-4)


def test_extreme_scores_are_scaled_without_losing_any():
    table = scored(2000, 30, seed=0)  # most scores are 1 and 0 to single precision
    assert (np.stack(table.scores) == 0).mean() > .2
    after = apply_temperature(table, fit_temperature(table))
    assert np.isfinite(np.stack(after.scores)).all() and np.allclose(np.stack(after.scores).sum(1), 1, atol=1e-5)
    assert calibration_error(after) < .2*calibration_error(table)


def test_true_scores_have_the_calibration_error_of_chance():
    tables = [scored(5000, 1, seed) for seed in range(10)]
    measured, chance = np.mean([calibration_error(o) for o in tables]), np.mean([chance_calibration_error(o, draws=20) for o in tables])
    assert np.isclose(measured, chance, rtol=.1) and calibration_error(scored(100_000, 1, seed=1)) < .006


def test_scaling_by_other_folds_is_nearly_as_good_as_peeking():
    table = scored(1500, 2.5, seed=0)
    crossed, peeked = cross_temperature(table), apply_temperature(table, fit_temperature(table))
    assert calibration_error(crossed) < .03 < .1 < calibration_error(table)
    assert abs(calibration_error(crossed) - calibration_error(peeked)) < .01


# --- edge cases ---

def test_scores_of_0_and_1_have_a_bin_and_others_are_refused():
    table = pd.DataFrame({'label': list('aaabcd'), 'prediction': list('aaaaaa'), 'score': [.9]*4 + [.4]*2})
    assert np.isclose(calibration_error(table.assign(score=1.), bins=15), .5) and np.isclose(calibration_error(table.assign(score=0.), bins=15), .5)
    with pytest.raises(CalibrationError, match='between 0 and 1'): calibration_error(table.assign(score=np.nan))
    with pytest.raises(CalibrationError, match='no predictions'): calibration_error(table.head(0))


@pytest.fixture
def table() -> pd.DataFrame: return scored(1000, 2.5, seed=2, classes=4)


def with_scores(table: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame: return table.assign(scores=list(scores))


def test_temperatures_can_be_undone_and_keep_precision_and_columns(table):
    scores = np.stack(table.scores)
    assert np.allclose(np.stack(apply_temperature(apply_temperature(table, 3), 1/3).scores), scores, atol=1e-5)
    assert np.allclose(np.stack(apply_temperature(table, 1).scores), scores, atol=1e-6)
    assert apply_temperature(table, 2).scores.iloc[0].dtype == np.dtype('float32')
    assert apply_temperature(table.head(0), 2).columns.tolist() == table.columns.tolist()


def test_certain_scores_and_scores_that_mean_nothing_have_a_temperature(table):
    certain = with_scores(table, np.eye(4)[table.prediction])  # nothing but 0 and 1
    assert 1 < fit_temperature(certain) and np.isfinite(np.stack(apply_temperature(certain, 2).scores)).all()
    assert fit_temperature(table[table.label == table.prediction]) == 1
    assert fit_temperature(with_scores(table, np.stack(table.scores)[:, ::-1])) > 5  # as little sure as possible
    with pytest.raises(CalibrationError, match='missing or below 0'): fit_temperature(with_scores(table, np.stack(table.scores)*np.nan))


def test_labels_that_the_model_does_not_know_change_no_temperature(table):
    more = pd.concat([table, table.head(100).assign(label='Neogale vison')])
    more = Predictions(more, table.classes)
    assert fit_temperature(more) == fit_temperature(table)


def test_the_labels_of_a_fold_have_no_say_in_its_temperature(table):
    crossed = cross_temperature(table).attrs['temperatures']
    changed = cross_temperature(table.assign(label=table.label.where(table.fold != 0, 0))).attrs['temperatures']
    assert changed['0'] == crossed['0'] and changed['1'] != crossed['1']


def test_rows_may_come_in_any_order_with_any_index(table):
    crossed = cross_temperature(table)
    assert crossed.index.equals(table.index) and crossed.classes == table.classes
    mixed = table.sample(frac=1, random_state=0).set_index(pd.Index([7]*len(table)))
    mixed.attrs = table.attrs
    assert np.allclose(cross_temperature(mixed).score.to_numpy(), crossed.sample(frac=1, random_state=0).score.to_numpy())
    with pytest.raises(CalibrationError, match='in no fold: 1'): cross_temperature(table.assign(fold=[None] + [1]*999))


def test_a_table_that_was_written_has_the_same_temperature(table, tmp_path):
    crossed = cross_temperature(table)
    again = read_predictions(write_table(crossed, tmp_path/'crossed.parquet', **crossed.attrs))
    assert np.isclose(fit_temperature(again), fit_temperature(crossed))


def test_without_blanks_there_is_no_river():
    table = pd.DataFrame({'label': ['a', 'b'], 'prediction': 'a', 'score': .9})
    assert 'on the river' not in calibration_section(table, 'drawn photographs')[2]
