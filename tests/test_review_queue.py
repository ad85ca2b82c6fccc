"""The opinions and its queue: the held-out test set stays out, odd tables pass, and planted errors come first."""
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanrivers_camtraps.foundations.core import TableError
from urbanrivers_camtraps.foundations.holdout import HoldoutError
from urbanrivers_camtraps.foundations.predictions import Predictions, read_predictions
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.review.label_errors import (
    ReviewError,
    combine_opinions,
    label_quality,
    likely_wrong,
    opinions_table,
)
from urbanrivers_camtraps.review.queue import (
    agreement_table,
    informativeness,
    review_queue,
    review_section,
    write_review_report,
)

CLASSES = ['Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', 'blank', 'human']
BOX = {'left': .1, 'top': .2, 'right': .3, 'bottom': .4}
ORDERS = ('label_error', 'informative', 'both')


def out_of_fold(bursts: int = 40, seed: int = 0, sharp: float = 3., classes: list[str] = CLASSES) -> pd.DataFrame:
    "Predictions of a model that is mostly right, of bursts of three, as `train.out_of_fold` gives them."
    generator, truth = np.random.default_rng(seed), np.repeat(np.arange(bursts) % len(classes), 3)
    logits = generator.normal(size=(3*bursts, len(classes))) + sharp*np.eye(len(classes))[truth]
    scores = np.exp(logits)/np.exp(logits).sum(1, keepdims=True)
    table = pd.DataFrame({'media_id': [f'photograph {o:04}' for o in range(3*bursts)], 'label': np.array(classes, object)[truth],
                          'prediction': np.array(classes, object)[scores.argmax(1)], 'score': scores.max(1), 'scores': list(scores.astype('float32')),
                          'burst_id': np.repeat([f'burst {o}' for o in range(bursts)], 3),
                          'deployment_id': np.repeat([f'place {o % 4}' for o in range(bursts)], 3),
                          'split': 'train', 'fold': 0, 'votes': 3, 'confidence': .95})
    table = Predictions(table, list(classes))
    return table


def kept(table: pd.DataFrame, **columns) -> pd.DataFrame:
    "The table with other columns, its classes remembered."
    return table.assign(**columns)


# The held-out test set

def test_one_photograph_of_the_test_set_closes_opinions_and_queue():
    "It does not matter how few: the first is refused, with the reason."
    predictions = out_of_fold()
    one = np.where(np.arange(len(predictions)) == 5, 'test', 'train')
    with pytest.raises(HoldoutError, match='1 photographs of the held-out test set'): opinions_table(kept(predictions, split=one))
    opinions = opinions_table(predictions)
    for order in ORDERS:
        with pytest.raises(HoldoutError, match='stays closed'): review_queue(kept(opinions, split=one), order)


def test_who_hides_the_split_is_refused():
    "Without `split` nobody can say what is held out."
    predictions = out_of_fold()
    with pytest.raises(TableError, match='lacks split'): opinions_table(predictions.drop(columns='split'))
    with pytest.raises(TableError, match='lacks split'): review_queue(opinions_table(predictions).drop(columns='split'))


@pytest.mark.parametrize('by', ['media_id', 'burst_id'])
def test_the_data_set_tells_test_photographs_and_their_siblings(by):
    "A split that was overwritten does not help, and a sibling of a test photograph is as closed as it."
    predictions = out_of_fold()
    photographs = predictions[['media_id', 'burst_id', 'split']].copy()
    photographs.loc[3, 'split'] = 'test'
    if by == 'burst_id': predictions = kept(predictions.drop(index=3))  # only its siblings are left
    with pytest.raises(HoldoutError, match='held-out test set'): opinions_table(predictions, photographs=photographs)
    apart = photographs.assign(burst_id='other') if by == 'burst_id' else photographs.assign(split='train')
    assert len(opinions_table(predictions, photographs=apart)) == len(predictions)


def test_unlabelled_photographs_of_the_test_set_are_refused():
    "A photograph without a label may be in the test set too."
    predictions = out_of_fold()
    half, other = predictions.iloc[:60], predictions.iloc[60:].drop(columns=['label', 'fold'])
    assert opinions_table(half, unlabelled=other).label.isna().sum() == 60
    with pytest.raises(HoldoutError, match='unlabelled: holds 60 photographs of the held-out test set'):
        opinions_table(half, unlabelled=kept(other, split='test'))
    with pytest.raises(ReviewError, match='other classes'):
        opinions_table(half, unlabelled=out_of_fold(classes=[*CLASSES[:4], 'vehicle']).drop(columns='label'))
    with pytest.raises(ReviewError, match='lists a photograph twice'): opinions_table(half, unlabelled=predictions.drop(columns='label'))


def test_predictions_of_a_model_that_saw_the_label_are_refused():
    "Out of fold, or not at all."
    predictions = out_of_fold()
    fold = pd.Series(0, predictions.index, 'Int64').mask(predictions.index == 0)
    with pytest.raises(ReviewError, match='not out of fold: 1'): opinions_table(kept(predictions, fold=fold))
    with pytest.raises(TableError, match='lacks fold'): opinions_table(predictions.drop(columns='fold'))


# What is found

@pytest.mark.parametrize('seed', range(3))
def test_planted_errors_come_first_and_before_plain_loss(seed):
    "With siblings, the queue finds more than the loss alone; both more than chance."
    predictions, generator = out_of_fold(80, seed, 1.5), np.random.default_rng(seed)
    wrong = generator.choice(len(predictions), 24, replace=False)
    label = predictions.label.to_numpy(object).copy()
    label[wrong] = [CLASSES[(CLASSES.index(o) + 1 + generator.integers(4)) % 5] for o in label[wrong]]
    planted, opinions = set(predictions.media_id[wrong]), opinions_table(kept(predictions, label=label))
    code = [CLASSES.index(o) for o in label]
    loss = predictions.media_id.iloc[np.argsort(np.stack(predictions.scores)[np.arange(len(code)), code])]
    ours, plain = (sum(o in planted for o in media[:24]) for media in (review_queue(opinions, 'label_error').media_id, loss))
    assert ours > plain > 24*24/240 and ours >= 20
    assert likely_wrong(opinions)[wrong].mean() > .7 and likely_wrong(opinions).sum() < 48


def test_a_slip_among_siblings_is_told_with_its_figures():
    "The reason names votes, score and siblings."
    predictions = out_of_fold(sharp=8)
    label = predictions.label.mask(predictions.index == 3, 'blank')  # of the second burst, all Canada Goose
    first = review_queue(opinions_table(kept(predictions, label=label)), 'label_error', 1).iloc[0]
    assert first.media_id == 'photograph 0003' and first.order_score > .99
    assert re.fullmatch(r'Volunteers say No Animal Detected \(3 votes\), the model Canada Goose \((0\.\d\d|1\.00)\); both other photographs of its burst '
                        r'are labelled Canada Goose\.', first.reason), first.reason


def test_speciesnet_and_the_detector_tip_the_scales():
    "Where the model cannot tell, they can; a higher rank that holds the label does not speak against it."
    predictions = out_of_fold().drop(columns='burst_id')
    flat = kept(predictions, scores=[np.full(5, .2)]*len(predictions), score=.2, label='Branta canadensis')
    assert flat.classes == tuple(CLASSES)
    named = pd.DataFrame({'media_id': flat.media_id[:3], 'prediction': ['Anatidae', 'Castor canadensis', None], 'score': .9})
    seen = pd.DataFrame({'media_id': flat.media_id[3:5], 'category': ['animal', None], 'confidence': [.9, None], **BOX})
    opinions = opinions_table(flat, named, seen)
    quality = label_quality(opinions)
    assert quality[0] > quality[2] > quality[1] and quality[2] == pytest.approx(.2)  # goose family, beaver, no result
    assert quality[3] > .2 > quality[4]  # an animal is there, nothing is there
    assert opinions.agreement[0] != opinions.agreement[1] and 'SpeciesNet' not in opinions.agreement[2]


# Odd tables

def test_no_photographs():
    "An empty opinions gives an empty queue with all columns, and a page."
    opinions = opinions_table(out_of_fold().head(0))
    assert combine_opinions(opinions).shape == (0, 5) and len(likely_wrong(opinions)) == len(informativeness(opinions)) == 0
    for order in ORDERS: assert review_queue(opinions, order).columns.tolist()[-3:] == ['order_score', 'order', 'reason']
    assert '0 photographs' in review_section(opinions)[1]


def test_one_class():
    "With one class nothing can be wrong, and nothing learned."
    opinions = opinions_table(out_of_fold(4, classes=['blank']))
    assert (label_quality(opinions) == 1).all() and not likely_wrong(opinions).any() and (informativeness(opinions) == 0).all()
    assert len(review_queue(opinions)) == 12
    known = out_of_fold(6)
    assert len(review_queue(opinions_table(kept(known, label='blank')))) == 18  # one label, of five classes that the model knows


def test_a_label_that_the_model_does_not_know():
    "It is no label error that can be judged, and is in no such order; it may be informative."
    predictions = out_of_fold()
    opinions = opinions_table(kept(predictions, label=predictions.label.mask(predictions.index == 0, 'Vulpes vulpes')))
    assert np.isnan(label_quality(opinions)[0]) and not likely_wrong(opinions)[0]
    assert 'photograph 0000' not in set(review_queue(opinions, 'label_error').media_id)
    assert 'photograph 0000' in set(review_queue(opinions, 'informative').media_id)


@pytest.mark.parametrize('lacks', [['burst_id'], ['deployment_id'], ['votes', 'confidence'], ['burst_id', 'deployment_id', 'votes', 'confidence']])
def test_columns_that_may_be_missing(lacks):
    "The queue goes on without them, or with nothing in them."
    predictions = out_of_fold()
    for table in (kept(predictions.drop(columns=lacks)), kept(predictions, **dict.fromkeys(lacks, None))):
        for order in ORDERS: assert len(review_queue(opinions_table(table), order)) == len(table)
        assert review_section(opinions_table(table))[2]


def test_bursts_that_are_not_known_are_no_siblings():
    "Photographs without a burst do not vouch for each other."
    predictions = out_of_fold()
    opinions = [opinions_table(kept(predictions, burst_id=None)), opinions_table(kept(predictions, burst_id=predictions.media_id))]
    np.testing.assert_allclose(*map(combine_opinions, opinions))


def test_ties_stand_in_the_order_of_their_identifiers():
    "Equal scores do not depend on the order of the rows."
    predictions = kept(out_of_fold(10), scores=[np.full(5, .2, 'float32')]*30, label='blank', burst_id=None, deployment_id=None)
    for order in ORDERS: assert review_queue(opinions_table(predictions.iloc[::-1]), order).media_id.tolist() == sorted(predictions.media_id)


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(30)), st.sampled_from(ORDERS))
def test_the_queue_does_not_depend_on_the_order_of_the_rows(rows, order):
    "Shuffled rows, same queue."
    predictions = out_of_fold(10, sharp=1.)
    assert review_queue(opinions_table(predictions.iloc[rows]), order).media_id.tolist() == review_queue(opinions_table(predictions), order).media_id.tolist()


def test_informative_takes_one_of_each_burst_before_the_second_of_any():
    "And rare classes and new places first, other things equal."
    predictions = out_of_fold()
    informative = review_queue(opinions_table(predictions), 'informative')
    assert informative.burst_id[:40].is_unique and informative.burst_id[40:80].is_unique
    flat = kept(predictions, scores=[np.full(5, .2, 'float32')]*len(predictions), deployment_id=['new']*3 + ['known']*(len(predictions) - 3))
    assert review_queue(opinions_table(flat), 'informative', 1).deployment_id.item() == 'new'
    leaning = [np.eye(5, dtype='float32')[3 if o < 3 else 1]*.2 + .16 for o in range(len(predictions))]
    labels = ['blank']*3 + ['Branta canadensis']*(len(predictions) - 3)
    assert review_queue(opinions_table(kept(predictions, scores=leaning, label=labels, deployment_id=None)), 'informative', 1).label.item() == 'blank'


def test_both_orders_take_turns():
    "The first label error, the first informative photograph, the second label error, each photograph once."
    opinions = opinions_table(out_of_fold())
    both, errors, informative = (review_queue(opinions, o).media_id.tolist() for o in ('both', 'label_error', 'informative'))
    assert both[0] == errors[0] and len(both) == len(set(both)) == len(opinions)
    assert both[1] == (informative[0] if informative[0] != errors[0] else errors[1])
    assert review_queue(opinions, 'informative', 7).media_id.tolist() == informative[:7]


def test_the_opinions_survive_a_file(tmp_path):
    "Boxes and all, it gives the same queue."
    predictions = out_of_fold()
    seen = pd.DataFrame({'media_id': predictions.media_id[:4].tolist()*2, 'category': ['1', '2', '1', None]*2, 'confidence': .6, **BOX})
    opinions = opinions_table(predictions, detections=seen)
    write_table(opinions, tmp_path/'opinions.parquet')
    again = read_predictions(tmp_path/'opinions.parquet')
    assert [len(o) for o in again.boxes[:4]] == [2, 2, 2, 0] and again.boxes[4:].isna().all() and again.detected[:4].tolist() == [.6, 0, .6, 0]
    pd.testing.assert_frame_equal(review_queue(again)[['media_id', 'order_score', 'reason']], review_queue(opinions)[['media_id', 'order_score', 'reason']])


# The page

def test_no_photograph_of_a_person_is_on_the_page(tmp_path, photograph):
    "Label, model, SpeciesNet, detector and siblings can each keep it out; others are shown."
    predictions = out_of_fold(sharp=8)
    predictions = kept(predictions[~predictions.burst_id.isin(predictions.burst_id[predictions.label == 'human'])].head(12), path=str(photograph))
    nobody = opinions_table(predictions)
    assert review_section(nobody)[2].count('data:image/jpeg') == 12
    media = predictions.media_id.iloc[[0]]
    person = pd.DataFrame({'media_id': media, 'category': 'person', 'confidence': .1, **BOX})
    named = pd.DataFrame({'media_id': media, 'prediction': 'human', 'score': .9})
    first = predictions.media_id == media.item()
    doubt = kept(predictions, scores=[np.array([.5, .1, .1, 0, .3], 'float32') if o else s for o, s in zip(first, predictions.scores)])
    for opinions in (opinions_table(predictions, detections=person), opinions_table(predictions, named), opinions_table(doubt),
                   *(opinions_table(kept(predictions, **{o: predictions[o].mask(first, 'human')})) for o in ('label', 'prediction'))):
        assert review_section(opinions)[2].count('data:image/jpeg') == 9  # its burst of three is hidden
    assert write_review_report(nobody, tmp_path/'review.html') == tmp_path/'review.html'
    page = (tmp_path/'review.html').read_text()
    assert not re.search(r'(src|href)="(?!data:)', page) and '<script' not in page


def test_names_cannot_break_the_page(tmp_path):
    "What comes from tables is escaped."
    predictions = kept(out_of_fold(4), media_id=[f'<script>{o}' for o in range(12)])
    write_review_report(opinions_table(predictions), tmp_path/'review.html')
    assert '<script' not in (tmp_path/'review.html').read_text()


def test_opinions_are_counted_by_pairs():
    "Only photographs that both name count; a family that holds the species agrees."
    predictions = kept(out_of_fold(sharp=8), label='Branta canadensis', prediction='Branta canadensis')
    named = pd.DataFrame({'media_id': predictions.media_id[:10], 'prediction': ['Anatidae']*6 + ['blank']*3 + [None], 'score': .5})
    counts = agreement_table(opinions_table(predictions, named)).set_index('')
    assert counts.loc['volunteers', 'model'] == '120 of 120' and counts.loc['model', 'SpeciesNet'] == counts.loc['SpeciesNet', 'volunteers'] == '6 of 9'
    assert 'SpeciesNet' not in agreement_table(opinions_table(predictions))


def test_review_needs_no_network_library():
    "The module reads tables: neither torch nor fastai comes in with it."
    code = "import sys, urbanrivers_camtraps.review.queue; assert not {'torch', 'fastai', 'cleanlab'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)
