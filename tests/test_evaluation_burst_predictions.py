"""A burst's answer does not depend on the order of its frames, and its temperature says how much the frames share."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.holdout import HoldoutError
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.evaluation.burst_predictions import burst_predictions, fit_burst_temperature, pool_bursts
from urbanrivers_camtraps.foundations.core import BLANK

SPECIES = np.array(['Anas platyrhynchos', 'Castor canadensis', BLANK], object)


def scored(seed: int, together: float) -> pd.DataFrame:
    "Draw bursts of three frames whose scores are true, and whose errors the frames share as far as `together` says."
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 3, 1500)
    noise = together*generator.normal(size=(1500, 1, 3)) + np.sqrt(1 - together**2)*generator.normal(size=(1500, 3, 3))
    logits = 1.5*(1.5*np.eye(3)[label][:, None] + noise)  # of unit noise: log p is linear in what is seen
    scores = (np.exp(logits)/np.exp(logits).sum(2, keepdims=True)).reshape(-1, 3)
    table = pd.DataFrame({'burst_id': np.repeat(np.arange(1500), 3), 'label': SPECIES[np.repeat(label, 3)], 'scores': list(scores), 'score': scores.max(1),
                          'prediction': SPECIES[scores.argmax(1)]})
    table = Predictions(table, list(SPECIES))
    return table


@pytest.mark.parametrize('together, temperature', [(0, 1/3), (1, 1)])
def test_the_temperature_says_how_much_the_frames_share(together, temperature):
    table = scored(0, together)
    table = table[table.label != BLANK]  # of one kind: the label of a burst is that of its frames
    table = Predictions(table, list(SPECIES))
    assert fit_burst_temperature(table) == pytest.approx(temperature, rel=.15)


def test_the_order_of_frames_does_not_matter():
    table = scored(1, .5).head(300)
    shuffled = table.sample(frac=1, random_state=0)
    one, other = burst_predictions(table, .7), burst_predictions(shuffled, .7).sort_index()
    assert np.allclose(np.stack(one.scores), np.stack(other.scores)) and one.prediction.equals(other.prediction)
    assert one.frame_prediction.equals(table.prediction) and one.groupby('burst_id').prediction.nunique().max() == 1
    assert pool_bursts(table.assign(burst_id=None)).prediction.tolist() == table.prediction.tolist()  # alone, a frame keeps its answer


def test_nothing_is_chosen_on_the_test_set():
    table = scored(2, .5).assign(split='valid')
    table.loc[3, 'split'] = 'test'
    with pytest.raises(HoldoutError, match='1 photographs of the held-out test set'): fit_burst_temperature(table)
