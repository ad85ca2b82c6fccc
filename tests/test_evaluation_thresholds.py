"""Thresholds that ship: chosen out of fold, transferred to the model that ships, for one view and for two, and by class."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.evaluation.blank_filter import FilterError, blank_filter
from urbanrivers_camtraps.evaluation.thresholds import choose_thresholds, class_thresholds, transfer_threshold
from urbanrivers_camtraps.foundations.predictions import Predictions, blank_scores, decide
from urbanrivers_camtraps.inference.bundle import Bundle
from urbanrivers_camtraps.inference.predict import make_predictions
from urbanrivers_camtraps.training.bundle_format import Description

CLASSES = ('blank', 'Castor canadensis')
TRANSFORMS = {'size': 8, 'mean': (0, 0, 0), 'std': (1, 1, 1), 'trim': (0, 0)}


def scored(logit: np.ndarray, is_blank: np.ndarray, burst: np.ndarray) -> Predictions:
    "Make predictions of two classes from logits of blank."
    blank = 1/(1 + np.exp(-logit))
    table = pd.DataFrame({'media_id': [f'm{o:05}' for o in range(len(blank))], 'burst_id': burst.astype(str),
                          'label': np.where(is_blank, *CLASSES), 'scores': list(np.stack([blank, 1 - blank], 1))})
    return Predictions(table.assign(prediction=np.where(blank >= .5, *CLASSES), score=np.maximum(blank, 1 - blank)), CLASSES)


def draw(random: np.random.Generator, bursts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Draw logits of blank, three photographs a burst, two in five bursts blank."
    is_blank = np.repeat(random.random(bursts) < .4, 3)
    return np.where(is_blank, 2., -2.) + np.repeat(random.normal(0, 1.2, bursts), 3) + random.normal(0, .5, 3*bursts), is_blank, np.repeat(np.arange(bursts), 3)


def test_the_promise_is_kept_by_the_model_that_ships():
    "It is twice as sure as the models of the folds: on an animal that looks like blank, too."
    kept, plain = 0, 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        logit, is_blank, burst = draw(random, 160)
        judged = scored(logit, is_blank, burst)
        threshold = blank_filter(judged, .95, .95).threshold
        new, new_blank, _ = draw(random, 3000)
        animals = 1/(1 + np.exp(-2*new[~new_blank]))
        kept += (animals >= transfer_threshold(threshold, blank_scores(judged), 1/(1 + np.exp(-2*logit)))).mean() <= .05
        plain += (animals >= threshold).mean() <= .05
    assert kept >= 181 and kept > plain


def test_a_recall_that_cannot_be_promised_is_refused_with_the_bursts_it_takes():
    judged = scored(*draw(np.random.default_rng(0), 60))
    with pytest.raises(FilterError, match='it takes 59 without a miss'): choose_thresholds(judged, recall=.95)
    chosen = choose_thresholds(judged)
    assert 'blank' not in chosen.values and 'it takes 299' in chosen.sentences[0]
    with pytest.raises(FilterError, match='Split by burst'): choose_thresholds(judged.drop(columns='burst_id'), recall=.9)
    assert choose_thresholds(judged.drop(columns='burst_id')).values == {}


def test_a_class_with_few_bursts_has_no_threshold():
    table = class_thresholds(scored(*draw(np.random.default_rng(0), 30)))
    assert table.threshold.isna().all() and 'bursts with such answers' in table.reason[0]
    table = class_thresholds(scored(*draw(np.random.default_rng(0), 300)))
    assert table.label.tolist() == ['Castor canadensis'] and table.low[0] < table.precision[0] <= table.high[0]


def test_as_many_as_before_are_put_aside():
    judged, shipped = np.array([.1, .5, .8, .9]), np.array([.2, .7, .95, .99])
    threshold = transfer_threshold(.8, judged, shipped)
    assert .7 < threshold and (shipped >= threshold).sum() == 2
    assert transfer_threshold(.8, judged, judged) == .8 and transfer_threshold(.8, judged, judged/2) == .8


def test_one_frame_has_thresholds_of_its_own():
    described = Description(classes=CLASSES, common_names={}, backbone='made up', transforms=TRANSFORMS, motion=True,
                            thresholds={'blank': .6}, whole_frame_thresholds={'blank': .9},
                            class_thresholds={'Castor canadensis': .7})
    bundle, rows = Bundle(Path(), described, None), [('a', np.float32([.8, .2])), ('b', np.float32([.2, .8]))]
    assert make_predictions(bundle, rows).decision.tolist() == ['blank', 'accept']
    assert make_predictions(bundle, rows, reasons=['one frame', 'one frame']).decision.tolist() == ['review', 'review']
    assert make_predictions(bundle, rows, reasons=['one frame', None]).decision.tolist() == ['review', 'accept']


def test_a_class_without_threshold_is_reviewed():
    rows = Predictions(pd.DataFrame({'prediction': ['a', 'b'], 'score': [.99, .6], 'scores': [[.99, .01], [.4, .6]]}), ('a', 'b'))
    assert decide(rows, None, {'b': .5}).tolist() == ['review', 'accept'] and decide(rows, None, .7).tolist() == ['accept', 'review']
