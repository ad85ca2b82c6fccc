"""A burst's answer does not depend on the order of its frames, and its temperature says how much the frames share."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.evaluation.burst_predictions import burst_predictions, fit_burst_temperature, pool_bursts
from urbanrivers_camtraps.foundations.core import BLANK
from urbanrivers_camtraps.foundations.holdout import HoldoutError
from urbanrivers_camtraps.foundations.predictions import Predictions

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
    assert fit_burst_temperature(table, rule='mean') == pytest.approx(temperature, rel=.15)


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


# --- edge cases ---

def frames() -> Predictions:
    "Six frames of three bursts, and one that stands alone."
    scores = [[.9, .1], [.1, .9], [.9, .1], [.5, .5], [.3, .7], [.6, .4]]
    beaver = 'Castor canadensis'
    table = pd.DataFrame({'media_id': list('abcdef'), 'burst_id': [1, 1, 2, 2, 3, None], 'label': [beaver, BLANK, beaver, beaver, BLANK, BLANK],
                          'prediction': [beaver, BLANK]*3, 'score': [max(o) for o in scores], 'scores': scores})
    return Predictions(table, [beaver, BLANK])


def test_bursts_come_with_the_same_scores_in_any_order():
    mixed, pooled = frames().iloc[[5, 3, 1, 4, 0, 2]], pool_bursts(frames())
    again = pool_bursts(mixed).set_index('burst_id')
    assert np.allclose(np.stack(again.scores[[1, 2, 3]]), np.stack(pooled.scores[:3]))
    assert again.label[[1, 2, 3]].tolist() == pooled.label[:3].tolist()
    assert burst_predictions(mixed).loc[frames().index].score.tolist() == burst_predictions(frames()).score.tolist()


def test_bursts_without_frames_labels_or_certainty():
    table = frames()
    assert len(pool_bursts(table.head(0))) == 0
    assert pool_bursts(table.assign(burst_id=1, label=['b', 'b', 'a', 'a', BLANK, None])).label.tolist() == ['a']  # a tie: the first by name
    assert pool_bursts(table.assign(label=None)).label.isna().all()
    assert 'label' not in pool_bursts(table.drop(columns='label'))
    assert np.isfinite(pool_bursts(table.assign(scores=[np.array([1., 0.])]*6)).score).all()  # a score of 0 does not forbid for good


def test_one_frame_with_an_animal_outweighs_its_empty_siblings_and_only_an_empty_burst_is_blank():
    scores = [[.05, .05, .9], [.8, .05, .15], [.05, .05, .9], [.02, .08, .9], [.1, .2, .7], [.01, .04, .95]]
    table = pd.DataFrame({'burst_id': [1, 1, 1, 2, 2, 2], 'scores': scores})
    pooled = pool_bursts(Predictions(table.assign(prediction='', score=0.), list(SPECIES)))
    assert pooled.prediction.tolist() == [SPECIES[0], BLANK]
    assert np.allclose(pooled.scores[0], np.array([.8, .05, .15])/1.0)
    assert np.allclose(pooled.scores[1], np.array([.1, .2, .7])/1.0)


def test_rules_without_a_class_blank_agree_on_bursts_of_one_frame():
    table = Predictions(frames().drop(columns='label').assign(burst_id=list('abcdef')), ['Castor canadensis', 'Anas platyrhynchos'])
    for rule in ('peak', 'highest', 'mean', 'noisy_or'):
        assert np.allclose(np.stack(pool_bursts(table, rule=rule).scores), np.stack(frames().scores), atol=.01), rule
