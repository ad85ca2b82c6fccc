"""Unknown classes and higher taxa, by values worked out by hand: geometry, the promised share, the lowest taxon, never people."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.evaluation.roll_up import rank_precision, roll_up_section
from urbanrivers_camtraps.evaluation.unknown import (
    UnknownError,
    UnknownRule,
    fit_unknown,
    left_out_metrics,
    rule_fields,
    unknown_section,
    unknown_summary,
)
from urbanrivers_camtraps.foundations.doubt import HigherTaxon, roll_up_scores, score_directions, unknown_scores
from urbanrivers_camtraps.foundations.holdout import HoldoutError
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.training.bundle_format import UnknownClasses
from urbanrivers_camtraps.votes.higher_taxa import higher_taxa

NAMES = ['Castor canadensis', 'Lontra canadensis', 'Procyon lotor']
#: Equal steps up, equal steps down, and all alike: distances 0, 2 and 1 from the first.
UP, DOWN, FLAT = np.array([1, 2, 4])/7, np.array([4, 2, 1])/7, np.full(3, 1/3)


def table(scores: np.ndarray, fold: object = 0, label: object = None, classes: list[str] = NAMES, **columns: object) -> Predictions:
    "Make predictions out of fold; by default every answer is right."
    best = np.array(classes)[np.argmax(scores, 1)]
    rows = pd.DataFrame({'media_id': [f'p{o}' for o in range(len(scores))], 'label': best if label is None else label, 'fold': fold,
                         'prediction': best, 'score': np.max(scores, 1), 'scores': list(scores)}).assign(**columns)
    return Predictions(rows, classes)


def drawn(generator: np.random.Generator, count: int, sharp: float = 5, spread: float = 1) -> np.ndarray:
    "Draw scores of photographs of each class in turn."
    logits = sharp*np.eye(3)[np.arange(count) % 3] + generator.normal(0, spread, (count, 3))
    return np.exp(logits)/np.exp(logits).sum(1, keepdims=True)


# --- the distance ---

def test_the_distance_is_that_of_the_angle():
    known = score_directions(UP[None])
    assert unknown_scores(np.stack([UP, DOWN, FLAT]), known) == pytest.approx([0, 2, 1])
    both = score_directions(np.stack([UP, DOWN]))
    assert unknown_scores(np.stack([UP, FLAT]), both, 1) == pytest.approx([0, 1])
    assert unknown_scores(np.stack([UP, FLAT]), both, 2) == pytest.approx([1, 1])


@pytest.mark.parametrize('temperature', [.5, 1, 3])
def test_a_temperature_changes_no_distance(temperature):
    scores = drawn(np.random.default_rng(0), 50)
    cooled = scores**(1/temperature)
    cooled = cooled/cooled.sum(1, keepdims=True)
    known = score_directions(scores[:10])
    assert unknown_scores(cooled, known) == pytest.approx(unknown_scores(scores, known), abs=1e-9)


def test_a_score_of_nothing_is_no_infinity():
    assert np.isfinite(unknown_scores(np.array([[1., 0, 0], [0, 0, 1]]), score_directions(UP[None]))).all()
    assert unknown_scores(np.empty((0, 3)), score_directions(UP[None])).shape == (0,)


# --- the rule ---

def test_the_threshold_by_hand():
    """Ten photographs up in fold 0; five up and five down in fold 1. By their nearest of the other fold, 15 distances are 0 and 5 are 2.

    A quarter may be above the threshold: it stands a quarter of the way from the 15th to the 16th distance, at 0.5."""
    scores = np.stack([UP]*15 + [DOWN]*5)
    rule = fit_unknown(table(scores, [0]*10 + [1]*10), share=.25, neighbours=1)
    assert rule.threshold == pytest.approx(.5, abs=1e-3) and len(rule.reference) == 20
    assert rule(np.stack([UP, DOWN, FLAT])).tolist() == [False, False, True]  # of all 20: down is known, all alike is not


@pytest.mark.parametrize('share', [.05, .2])
def test_so_many_known_photographs_are_sent_to_a_volunteer(share):
    "New photographs are compared with those of all folds, so they are a little nearer than those that chose the threshold."
    sent = []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        rule = fit_unknown(table(drawn(generator, 450), np.arange(450) % 5), share)
        sent.append(rule(drawn(generator, 5000)).mean())
    assert .85*share < np.mean(sent) < 1.15*share and np.max(sent) < 2*share


def test_siblings_in_the_same_fold_do_not_count_as_neighbours():
    "Each burst has a pattern of its own, three times. If siblings were neighbours, every distance would be 0."
    generator = np.random.default_rng(2)
    bursts = generator.dirichlet([1, 1, 1], 100)
    scores, fold = bursts.repeat(3, 0), np.arange(300)//3 % 5
    assert fit_unknown(table(scores, fold), neighbours=2).threshold > 0
    mixed = fit_unknown(table(scores, np.arange(300) % 3), neighbours=2).threshold  # a burst in three folds
    assert mixed == pytest.approx(0, abs=1e-6)


def test_who_takes_no_part():
    generator = np.random.default_rng(3)
    good = table(drawn(generator, 300), np.arange(300) % 5)
    strangers = table(np.stack([FLAT]*60), np.arange(60) % 5, 'Neogale vison')  # a mink that somebody labelled
    outside = table(np.stack([FLAT]*60), np.nan)  # in no fold
    together = Predictions(pd.concat([good, strangers, outside], ignore_index=True), NAMES)
    assert fit_unknown(together).threshold == pytest.approx(fit_unknown(good).threshold)
    with pytest.raises(HoldoutError): fit_unknown(good.assign(split='test'))
    with pytest.raises(HoldoutError): fit_unknown(good.drop(columns='fold').assign(split='train', fold_2=0), fold='fold_2')
    with pytest.raises(UnknownError, match='199 photographs of known classes are too few. 200 are needed'): fit_unknown(good.head(199))
    with pytest.raises(UnknownError, match='a share of 0'): fit_unknown(good, share=0)


def test_the_rule_in_a_bundle_decides_alike():
    generator = np.random.default_rng(4)
    rule = fit_unknown(table(drawn(generator, 900), np.arange(900) % 5))
    assert len(rule.reference) == 500  # no more are kept
    stored = UnknownClasses(**rule_fields(rule))
    scores = np.concatenate([drawn(generator, 200), generator.dirichlet([1, 1, 1], 200)])
    again = UnknownRule(stored.directions, stored.threshold, stored.share, stored.neighbours)
    assert (again(scores) == rule(scores)).all() and 0 < rule(scores).sum() < 400
    assert '5% of the known ones' in repr(rule) and '500' in rule._repr_html_()


# --- what it catches ---

def left_out() -> Predictions:
    """Three known photographs and two of the class that was left out; their own class has the score 0.

    Highest scores 0.9, 0.8, 0.6 and 0.7, 0.5: of the six pairs, the left-out one is less sure in five."""
    scores = np.array([[.9, .1, 0], [.2, .8, 0], [.6, .4, 0], [.7, .3, 0], [.5, .5, 0]])
    return table(scores, [0, 1, 0, 1, 0], [NAMES[0], NAMES[1], NAMES[0], NAMES[2], NAMES[2]], left_out=NAMES[2])


def test_area_and_share_by_hand():
    metrics = left_out_metrics(left_out()).set_index('measure')
    assert metrics.photographs.tolist() == [2]*3
    assert metrics.auc['highest score'] == pytest.approx(5/6)
    assert metrics.caught['highest score'] == .5  # above all known ones but 5 %: that of 0.5, not that of 0.7
    assert metrics.auc['entropy'] == pytest.approx(5/6)
    heading, text, body = unknown_section(left_out(), 'five photographs', .05)
    means = unknown_summary(left_out_metrics(left_out()))
    assert f"{means['caught']:.0%} of the others are caught" in text and '5% of the photographs of known classes' in text and '<svg' in body


# --- higher taxa ---

DUCKS = ('Anas platyrhynchos', 'Branta canadensis', 'Larus delawarensis', 'Procyon lotor', 'human', 'vehicle', 'blank')


def rolled(*scores: float, accept: float = .9) -> tuple:
    "Return the taxon and the summed score of one photograph."
    row = roll_up_scores(np.array([scores]), DUCKS, higher_taxa(DUCKS), accept).iloc[0]
    return row.taxon, None if row.taxon is None else round(row.taxon_score, 6)


@pytest.mark.parametrize('scores, expected', [
    ((.5, .42, .03, .05, 0, 0, 0), ('Anatidae', .92)),  # the family is sure; so is the class of birds, which is less exact
    ((.5, .3, .15, .05, 0, 0, 0), ('Aves', .95)),
    ((.4, .2, .1, .25, 0, 0, .05), ('Animalia', .95)),
    ((.9, .05, .05, 0, 0, 0, 0), (None, None)),  # a class is sure
    ((.5, .3, 0, 0, 0, 0, .2), (None, None)),  # blank or a duck: nothing is
    ((0, 0, 0, .05, 0, 0, .95), (None, None)),  # blank
    ((.5, .4, 0, 0, .06, .04, 0), (None, None)),  # a tenth for people and vehicles together
    ((.5, .41, 0, 0, .05, .04, 0), ('Anatidae', .91)),  # a little less
    ((.1, .1, .1, .1, .3, .3, 0), (None, None)),  # a person is likeliest
])
def test_the_lowest_taxon_that_is_sure(scores, expected): assert rolled(*scores) == expected


def test_people_are_below_no_taxon():
    assert all(not {'human', 'vehicle', 'blank'} & set(o.classes) for o in higher_taxa(DUCKS))
    assert higher_taxa(['human', 'vehicle', 'blank']) == () and higher_taxa(['Procyon lotor', 'human']) == ()


def test_of_two_families_the_surer_one_is_named():
    taxa = [HigherTaxon('family', 'A', 'A', ('a', 'b')), HigherTaxon('family', 'B', 'B', ('c', 'd'))]
    found = roll_up_scores(np.array([[.22, .2, .28, .3]]), 'abcd', taxa, .4).iloc[0]
    assert (found.taxon, round(found.taxon_score, 6), found.taxon_text) == ('B', .58, 'an animal of the family B')


def test_precision_by_rank_counts_each_photograph_once():
    """With scores by class, a mallard of 0.6 is accepted, although taxa need 0.9: it counts as the class, not as its family.

    The second is no mallard, so it may be rolled up; the label is a gull, so the family is wrong."""
    scores = np.array([[.6, .35, .05, 0, 0, 0, 0], [.4, .55, .05, 0, 0, 0, 0]])
    judged = table(scores, label=['Anas platyrhynchos', 'Larus delawarensis'], classes=list(DUCKS))
    found = rank_precision(judged, {'Anas platyrhynchos': .5, 'Procyon lotor': .9}).set_index('rank')
    assert found.photographs[found.photographs > 0].to_dict() == {'the class itself': 1, 'family': 1}
    assert found.right[found.photographs > 0].to_dict() == {'the class itself': 1, 'family': 0}
    assert rank_precision(judged, .9).set_index('rank').photographs['family'] == 2


def test_the_report_shows_what_would_be_without_a_promise():
    judged = table(np.array([[.5, .42, .03, .05, 0, 0, 0]]), label=['Branta canadensis'], classes=list(DUCKS))
    heading, text, body = roll_up_section(judged, 'one photograph', None)
    assert 'rolls nothing up' in text and 'family' in body and '1.00' in body
    promised = roll_up_section(judged, 'one photograph', {'Branta canadensis': .93})[1]
    assert 'a score of 0.93 or more' in promised and 'rolls nothing up' not in promised
