"""Predictions of crops that are put together by hand-made scores: blanks, models without a class blank, orders and empty tables."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.evaluation.crop_comparison import frame_predictions
from urbanrivers_camtraps.foundations.core import HUMAN
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.images.crops import EDGES, CropError

CLASSES = ['Anas platyrhynchos', 'Branta canadensis', 'blank']
FRAMES = pd.DataFrame({'media_id': ['a', 'b', 'c']})


def crops_of(*rows: tuple, classes: list[str] = CLASSES) -> Predictions:
    "Predictions of crops as (frame_id, detection_confidence, prediction, score, scores)."
    return Predictions(pd.DataFrame(rows, columns=['frame_id', 'detection_confidence', 'prediction', 'score', 'scores']), classes)


CROPS = crops_of(('a', .9, 'Branta canadensis', .8, [.1, .8, .1]), ('a', .6, 'Anas platyrhynchos', .7, [.7, .1, .2]),
                 ('b', .3, 'blank', .9, [.06, .04, .9]))


def test_the_prediction_of_a_frame_by_hand():
    classes = ['Anas platyrhynchos', 'Branta canadensis', HUMAN, 'blank']
    crops = crops_of(('a', .5, HUMAN, .9, [0, .05, .9, .05]), ('a', 1., 'Branta canadensis', .6, [.1, .6, 0, .3]),
                     ('a', .8, 'Branta canadensis', .8, [.1, .8, 0, .1]), ('b', .4, 'blank', .5, [.3, .1, .1, .5]),
                     ('b', .4, 'blank', .5, [.1, .3, .1, .5]), classes=classes)
    predictions = frame_predictions(crops, pd.DataFrame({'media_id': ['b', 'a']}))
    evidence = np.array([[.12, .12, .04, .25], [.1, .64, .45, .05*.3*.1]])
    assert np.stack(predictions.scores) == pytest.approx(evidence/evidence.sum(1, keepdims=True), abs=1e-6)
    assert predictions.prediction.tolist() == ['blank', 'Branta canadensis'] and predictions['also'].tolist() == ['', HUMAN]
    assert predictions.classes == tuple(classes) and predictions.score.tolist() == pytest.approx([.25/.53, .64/1.1915])


def test_no_frame_is_surer_to_be_blank_than_99_in_100():
    assert frame_predictions(CROPS, FRAMES).scores[2] == pytest.approx([.005, .005, .99], abs=1e-6)
    in_banner = pd.DataFrame([('c', 0, 'animal', .95, .4, .96, .6, 1)], columns=['media_id', 'detection', 'category', 'confidence', *EDGES])
    assert frame_predictions(CROPS, FRAMES, in_banner).scores[2] == pytest.approx([.005, .005, .99], abs=1e-6)  # the clock is no animal


def test_a_fallback_with_other_classes():
    table = pd.DataFrame({'media_id': ['c', 'b'], 'scores': [np.array([.3, .5, .2]), np.array([.9, .1, 0])]})
    mixed = frame_predictions(CROPS, FRAMES, fallback=Predictions(table, ['Aix sponsa', 'Branta canadensis', 'blank']))
    assert mixed.classes == (*CLASSES, 'Aix sponsa')
    assert mixed.scores[2] == pytest.approx([0, .5, .2, .3], abs=1e-6)
    assert mixed.scores[1][:3] == pytest.approx(np.array([.018, .012, .9])/.93, abs=1e-6)  # a frame with a crop does not need it


def test_a_model_without_a_class_blank():
    animals = Predictions(CROPS[CROPS.frame_id == 'a'].assign(scores=[[.2, .8], [.9, .1]]), CLASSES[:2])
    scores = np.stack(frame_predictions(animals, FRAMES).scores)
    assert scores == pytest.approx(np.array([[.54/1.26, .72/1.26, 0], [.005, .005, .99], [.005, .005, .99]]), abs=1e-6)


def test_orders_empty_tables_and_faint_crops():
    assert frame_predictions(CROPS, FRAMES[::-1]).prediction.tolist() == ['blank', 'blank', 'Branta canadensis']
    assert len(frame_predictions(CROPS, FRAMES.head(0))) == 0
    assert frame_predictions(CROPS.head(0), FRAMES).prediction.tolist() == ['blank']*3
    with pytest.raises(CropError, match='twice'): frame_predictions(CROPS, pd.concat([FRAMES]*2))
    faint = CROPS.head(1).assign(frame_id='c', score=.4, scores=[[.35, .4, .25]])
    assert frame_predictions(faint, FRAMES).also.tolist() == ['']*3
