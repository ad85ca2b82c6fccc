"""Metrics from tables whose truth is known: intervals that cover, weights that count."""
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.evaluation.metrics import (
    METRICS,
    EvaluateError,
    blank_share_weights,
    intervals,
    macro_recall,
    metrics_by_blank_share,
    per_class,
    prediction_error,
    top_losses,
    unknown_class_metrics,
)
from urbanrivers_camtraps.foundations.core import BLANK
from urbanrivers_camtraps.foundations.predictions import Predictions

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


def test_the_highest_losses_are_those_the_model_believed_least():
    table = scored(200, 1, seed=0)
    chosen = top_losses(table, 10)
    given = pd.Series([scores[label] for scores, label in zip(table.scores, table.label)])
    assert set(chosen.index) == set(given.nsmallest(10).index) and chosen.loss.is_monotonic_decreasing


def test_figures_need_no_network():
    "The modules that read tables run on the base install."
    code = ('import sys, urbanrivers_camtraps.evaluation.calibration, urbanrivers_camtraps.evaluation.metrics, urbanrivers_camtraps.evaluation.report\n'
            'print([o for o in ("torch", "fastai", "sklearn", "scipy") if o in sys.modules])')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'


# --- edge cases ---

def test_a_class_that_is_never_called_has_no_precision():
    table = per_class(pd.DataFrame({'label': ['goose', 'duck'], 'prediction': ['goose', 'goose']})).set_index('label')
    assert np.isnan(table.loc['duck', 'precision']) and table.loc['duck', 'recall'] == 0 == table.loc['duck', 'f1']


def test_intervals_do_not_change_the_values_and_need_two_groups():
    table = judged(20, 3, seed=1)
    columns = ['label', 'photographs', 'recall', 'precision', 'f1']
    assert per_class(table, 'burst')[columns].equals(per_class(table)[columns]) and per_class(table, 'burst').equals(per_class(table, 'burst_id'))
    assert per_class(table.assign(burst_id='a'), 'burst').filter(regex='_low|_high').isna().all(axis=None)
    assert intervals(table.assign(burst_id=1)).low.isna().all()


def test_where_all_groups_agree_the_bound_is_exact():
    table = pd.DataFrame({'label': ['goose']*10, 'burst_id': [*'aabbccddee'], 'prediction': 'crow'})
    ends = per_class(table, 'burst').set_index('label').loc['goose', ['recall_low', 'recall_high']].astype(float)
    assert np.allclose(ends, [0, 1 - .025**(1/5)])
    right = pd.DataFrame({'label': ['goose']*100 + [BLANK]*100, 'burst_id': np.arange(200)//4})
    known = intervals(right.assign(prediction=right.label)).set_index('metric')
    assert np.allclose([known.high['error'], known.low['macro_recall']], [1 - .025**(1/50), .025**(1/25)])


def test_the_share_that_is_there_changes_nothing():
    table = pd.DataFrame({'label': ['goose']*100 + [BLANK]*100, 'burst_id': np.arange(200)//4,
                          'prediction': ['goose']*90 + [BLANK]*10 + ['goose']*5 + [BLANK]*95})
    assert np.allclose(per_class(table, share=.5)[['recall', 'precision', 'f1']], per_class(table)[['recall', 'precision', 'f1']])
    known = intervals(table).set_index('metric')
    assert np.isclose(known.low['accuracy'], 1 - known.high['error'])


def test_what_cannot_be_judged_is_refused():
    table = judged(5, 2, seed=0)
    with pytest.raises(EvaluateError, match='without a label or a prediction: 10'): per_class(table.assign(prediction=None))
    with pytest.raises(EvaluateError, match='needs blank photographs'): metrics_by_blank_share(table.assign(label=CLASSES[0]))


def test_only_labels_that_the_model_does_not_know_are_counted_as_unknown():
    table = pd.DataFrame({'label': ['mink', 'mink', 'goose'], 'prediction': 'goose', 'score': .9})
    assert unknown_class_metrics(table, ['mink', 'goose']).empty
    assert unknown_class_metrics(table, ['crow']).photographs.tolist() == [2, 1]
