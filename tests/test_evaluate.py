"""Figures from tables whose truth is known: intervals that cover, tests that do not cry wolf, temperatures found again."""
import subprocess, sys

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.evaluation.calibration import (
    apply_temperature, calibration_error, calibration_section, chance_calibration_error, cross_temperature, fit_temperature)
from urbanrivers_camtraps.foundations.core import BLANK
from urbanrivers_camtraps.evaluation.comparison import compare_runs
from urbanrivers_camtraps.training.learning_curve import learning_curve
from urbanrivers_camtraps.evaluation.metrics import METRICS, blank_share_weights, prediction_error, metrics_by_blank_share, intervals, macro_recall, per_class, top_losses
from urbanrivers_camtraps.evaluation.report import write_report
from urbanrivers_camtraps.evaluation.statistics import sign_test, bootstrap_interval

CLASSES = ['Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', BLANK]


def judged(bursts: int, size: int, seed: int, together: float = 4) -> pd.DataFrame:
    "Draw bursts of photographs; each burst has its own chance to be right, 3/4 on average, more alike the larger `together`."
    generator = np.random.default_rng(seed)
    burst = np.repeat(np.arange(bursts), size)
    label = generator.integers(4, size=bursts)[burst]
    right = generator.random(len(burst)) < generator.beta(3/together, 1/together, bursts)[burst]
    answer = np.where(right, label, (label + generator.integers(1, 4, len(burst))) % 4)
    return pd.DataFrame({'media_id': np.arange(len(burst)), 'burst_id': burst, 'label': np.array(CLASSES)[label],
                         'prediction': np.array(CLASSES)[answer]})


def scored(count: int, temperature: float, seed: int, classes: int = 9, spread: float = 2.) -> pd.DataFrame:
    "Draw photographs whose labels follow their scores, then make the scores such that they need `temperature`."
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (count, classes))
    true = np.exp(logits)/np.exp(logits).sum(1, keepdims=True)
    label = np.minimum((generator.random((count, 1)) > true.cumsum(1)).sum(1), classes - 1)
    sharp = np.exp((logits - logits.max(1, keepdims=True))*temperature)
    sharp = (sharp/sharp.sum(1, keepdims=True)).astype('float32')
    table = pd.DataFrame({'label': label, 'prediction': sharp.argmax(1), 'score': sharp.max(1), 'scores': list(sharp), 'fold': np.arange(count) % 5})
    table = Predictions(table, list(range(classes)))
    return table


# --- intervals ---

def test_an_interval_is_what_drawing_the_groups_one_by_one_gives():
    table, generator = judged(25, 4, seed=0), np.random.default_rng(1)
    parts = [part for _, part in table.groupby('burst_id')]
    drawn = [pd.concat([parts[o] for o in generator.integers(25, size=25)]) for _ in range(1000)]
    expected = {'error': [prediction_error(o) for o in drawn], 'macro_recall': [macro_recall(o) for o in drawn]}
    known, of_class = intervals(table).set_index('metric'), per_class(table, 'burst_id').set_index('label')
    for name, values in expected.items():
        assert np.allclose(known.loc[name, ['low', 'high']].astype(float), np.percentile(values, [2.5, 97.5]), atol=.025), name
    precision = [per_class(o).set_index('label').precision.get(CLASSES[0], np.nan) for o in drawn[:400]]
    ours = of_class.loc[CLASSES[0], ['precision_low', 'precision_high']].astype(float)
    assert np.allclose(ours, np.nanpercentile(precision, [2.5, 97.5]), atol=.06)


@pytest.mark.parametrize('size', [1, 8])
def test_intervals_cover_the_truth_about_as_often_as_they_say(size):
    known = [intervals(judged(60, size, seed)).set_index('metric').loc['error'] for seed in range(200)]
    assert 180 <= sum(o.low <= .25 <= o.high for o in known) <= 198


def test_photographs_of_a_burst_taken_for_independent_promise_too_much():
    tables = [judged(60, 8, seed) for seed in range(100)]
    naive = [intervals(o, 'media_id').set_index('metric').loc['error'] for o in tables]
    honest = [intervals(o).set_index('metric').loc['error'] for o in tables]
    assert sum(o.low <= .25 <= o.high for o in naive) < 75
    assert np.mean([o.high - o.low for o in honest]) > 1.6*np.mean([o.high - o.low for o in naive])


def test_intervals_do_not_depend_on_order_or_names_of_the_groups_more_than_on_chance():
    table = judged(40, 5, seed=3)
    other = intervals(table.sample(frac=1, random_state=0).assign(burst_id=lambda o: 'burst ' + o.burst_id.astype(str)))
    assert np.allclose(intervals(table)[['value', 'low', 'high']], other[['value', 'low', 'high']], atol=.03)
    assert intervals(table).equals(intervals(table))


def test_many_groups_are_drawn_a_few_draws_at_a_time():
    sums = np.stack([np.random.default_rng(0).random(30_000) < .2, np.ones(30_000)], 1)
    low, high = bootstrap_interval(sums, lambda o: o[:, 0]/o[:, 1], draws=400)  # 30,000 × 400 needs three turns
    assert np.allclose([low, high], sums[:, 0].mean() + np.array([-1.96, 1.96])*np.sqrt(.16/30_000), atol=.001)


# --- shares of blanks ---

def test_weights_are_what_so_many_more_blanks_would_be():
    table = judged(100, 2, seed=5)
    blank = table.label == BLANK
    many = pd.concat([table[~blank]] + [table[blank]]*7)
    share = (many.label == BLANK).mean()
    ours, counted = (o.set_index('label').sort_index() for o in (per_class(table, share=share), per_class(many)))
    assert np.allclose(ours[['recall', 'precision', 'f1']], counted[['recall', 'precision', 'f1']])
    row = metrics_by_blank_share(table, {'there': share}).iloc[0]
    assert np.isclose(row.error, prediction_error(many)) and np.isclose(row.macro_recall, macro_recall(many))
    animal = many[many.prediction != BLANK]
    assert np.isclose(row.animal_precision, (animal.prediction == animal.label).mean())
    assert np.isclose(row.animal_blank, (animal.label == BLANK).mean())
    assert np.isclose(row.blank_precision, (many.label[many.prediction == BLANK] == BLANK).mean())
    assert np.isclose((blank_share_weights(table, share)*(table.prediction != table.label)).mean(), prediction_error(many))


def test_intervals_at_a_share_cover_its_truth():
    truth = .9*.25 + .1*.25  # every class errs alike
    known = [intervals(judged(80, 3, seed), share=.9).set_index('metric').loc['error'] for seed in range(100)]
    assert 86 <= sum(o.low <= truth <= o.high for o in known)


def test_a_table_without_blanks_has_no_share_of_them_but_all_else():
    table = judged(30, 2, seed=0)
    table = table[(table.label != BLANK) & (table.prediction != BLANK)]
    known = intervals(table).set_index('metric')
    assert known.loc[['error', 'animal_precision'], ['value', 'low', 'high']].notna().all(axis=None)
    assert list(known.index) == list(METRICS) and np.isnan(known.value['blank_precision'])
    assert np.isclose(known.value['animal_precision'], known.value['accuracy'])


# --- two runs ---

def test_the_coin_is_the_binomial_test_of_scipy():
    stats = pytest.importorskip('scipy.stats')
    for one, other in ((0, 0), (0, 1), (1, 7), (12, 30), (5, 5), (300, 391)):
        assert np.isclose(sign_test(one, other), stats.binomtest(one, one + other).pvalue if one + other else 1)


def test_where_bursts_go_together_only_the_test_over_bursts_keeps_quiet():
    "Two runs that are equally good differ burst by burst; an alarm at 5 % should be rare."
    alarms = []
    for seed in range(200):
        one, other = judged(50, 8, seed), judged(50, 8, seed + 1000)
        other = one.assign(prediction=np.where(other.prediction == other.label, one.label, 'Ondatra zibethicus'))
        compared = compare_runs(one, other)
        alarms.append((compared.by_photograph < .05, compared.by_group < .05))
    of_photographs, of_bursts = np.mean(alarms, axis=0)
    assert of_bursts <= .08 < .25 < of_photographs


def test_a_better_run_is_seen():
    one = judged(80, 4, seed=0)
    generator = np.random.default_rng(1)
    cured = generator.random(80)[one.burst_id] < .5
    compared = compare_runs(one, one.assign(prediction=one.label.where(cured, one.prediction)))
    assert compared.by_group < .001 and 0 < compared.low < compared.difference < compared.high
    assert 'Believe the groups: the other run is better' in str(compared)
    assert set(compared.changed.change) == {'put right'} and len(compared.changed) == compared.counts.loc['wrong', 'right']


# --- learning curves ---

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


# --- calibration ---

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


def test_the_highest_losses_are_those_the_model_believed_least():
    table = scored(200, 1, seed=0)
    chosen = top_losses(table, 10)
    given = pd.Series([scores[label] for scores, label in zip(table.scores, table.label)])
    assert set(chosen.index) == set(given.nsmallest(10).index) and chosen.loss.is_monotonic_decreasing


# --- the page ---

def test_a_report_takes_what_the_table_has(tmp_path, photograph):
    table = judged(20, 2, seed=0).assign(path=str(photograph), score=.8)
    pages = {}
    tables = {'all': table, 'no bursts': table.drop(columns='burst_id'), 'no blanks': table[table.label != BLANK],
              'one burst': table.assign(burst_id=1)}
    for name, given in tables.items():
        write_report(given, tmp_path/'report.html', table.label, 'drawn photographs', [calibration_section(given, 'drawn photographs')])
        pages[name] = (tmp_path/'report.html').read_text()
    assert {name for name, page in pages.items() if '95 % intervals' in page} == {'all', 'no blanks'}
    assert {name for name, page in pages.items() if 'on the river' in page} == {'all', 'no bursts', 'one burst'}
    assert all('taken at their word' in page and 'nan' not in page.split('<img')[0] for page in pages.values())


def test_figures_need_no_network():
    "The rooms that read tables run on the base install."
    code = ('import sys, urbanrivers_camtraps.evaluation.calibration, urbanrivers_camtraps.evaluation.metrics\n'
            'print([o for o in ("torch", "fastai", "sklearn", "scipy") if o in sys.modules])')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'
