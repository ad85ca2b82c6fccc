"""The blank filter keeps its promise where the truth is known, and refuses where it cannot; a naive one breaks it."""
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from urbanrivers_camtraps.evaluation.blank_filter import (
    CANDIDATES,
    FilterError,
    accept_threshold,
    allowed_losses,
    blank_filter,
    decision_counts,
    filter_curve,
    filter_section,
    groups_needed,
    lost_by_class,
    plot_filter,
    removed_at,
)
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE, CamtrapsError
from urbanrivers_camtraps.foundations.holdout import HoldoutError
from urbanrivers_camtraps.foundations.predictions import DECISIONS, Predictions, decide, read_predictions
from urbanrivers_camtraps.foundations.tables import write_table

ANIMAL, OTHER = 'Branta canadensis', 'Castor canadensis'
BETWEEN, WITHIN, MEAN = 1.6, .6, -3.


def animals(units: int, seed: int, unit: str = 'location', mean_size: float = 6, harder: float = 1.) -> pd.DataFrame:
    "Draw units of animal photographs lost together, for better or worse; the harder to see, the more photographs it has (`harder` above 0)."
    generator = np.random.default_rng(seed)
    effect = generator.normal(0, 1, units)
    size = 1 + generator.poisson(mean_size*np.exp(harder*effect - harder**2/2))
    code = np.repeat(np.arange(units), size)
    blank = 1/(1 + np.exp(-(MEAN + BETWEEN*effect[code] + WITHIN*generator.normal(size=len(code)))))
    table = pd.DataFrame({'media_id': np.arange(len(code)), f'{unit}_id': code, 'label': ANIMAL, 'scores': list(np.stack([1 - blank, blank], 1))})
    table = Predictions(table, [ANIMAL, BLANK])
    return table


def true_loss(threshold: float) -> float:
    "Give what a new unit is expected to lose; its size makes no difference to its share."
    if threshold >= 1: return 0.
    return math.erfc((math.log(threshold/(1 - threshold)) - MEAN)/math.hypot(BETWEEN, WITHIN)/math.sqrt(2))/2


def answers(units: int, seed: int, right_at, size: float = 2, together: float = .5) -> pd.DataFrame:
    "Draw answers of scores between 0.5 and 1, right with the chance `right_at(score)`; in a share `together` of units, they share their luck."
    generator = np.random.default_rng(seed)
    code = np.repeat(np.arange(units), 1 + generator.poisson(size, units))
    score = .5 + generator.random(len(code))/2
    luck = np.where(generator.random(units)[code] < together, generator.random(units)[code], generator.random(len(code)))
    return pd.DataFrame({'media_id': np.arange(len(code)), 'burst_id': code, 'prediction': ANIMAL, 'score': score,
                         'label': np.where(luck < right_at(score), ANIMAL, OTHER)})


def judged(locations: int = 320, seed: int = 0) -> pd.DataFrame:
    "Draw animals, people and blanks, with answers."
    table, generator = animals(locations, seed, mean_size=2), np.random.default_rng(seed + 1)
    empty = table.assign(media_id=table.media_id + len(table), label=np.where(generator.random(len(table)) < .05, HUMAN, BLANK))
    blank = np.where(empty.label == BLANK, generator.beta(4, 1, len(empty)), .05)
    together = pd.concat([table, empty.assign(scores=list(np.stack([1 - blank, blank], 1)))], ignore_index=True)
    scores = np.stack(together.scores.to_list()).astype('float32')
    together = together.assign(scores=list(scores), score=scores.max(1), prediction=np.array([ANIMAL, BLANK])[scores.argmax(1)])
    together = Predictions(together, [ANIMAL, BLANK])
    return together


# --- the binomial ---

def test_allowed_losses_are_those_of_the_exact_binomial():
    for units in (1, 17, 59, 298, 299, 1000, 12_345):
        for recall in (.5, .9, .95, .99, .999):
            for confidence in (.5, .9, .95, .99):
                ours = allowed_losses(units, recall, confidence)
                chance = stats.binom.cdf([ours, ours + 1], units, 1 - recall)
                assert chance[0] <= (1 - confidence)*(1 + 1e-6) and chance[1] > (1 - confidence)*(1 - 1e-6), (units, recall, confidence)
                if ours >= 0:  # Clopper and Pearson's upper end
                    assert stats.beta.ppf(confidence, ours + 1, units - ours) <= (1 - recall)*(1 + 1e-6)


def test_298_units_are_refused_and_299_answer():
    assert groups_needed(.99, .95) == 299
    table = animals(299, seed=0)
    assert blank_filter(table, by='location').groups == 299
    with pytest.raises(FilterError, match='298 locations .* it takes 299 without a miss'):
        blank_filter(table[table.location_id < 298], by='location')


# --- the promise ---

def thresholds(choose, units: int, unit: str, mean_size: float, repetitions: int, **settings) -> list[float]:
    "Choose a threshold on each of many seeded tables."
    return [choose(animals(units, seed, unit, mean_size, **settings)) for seed in range(repetitions)]


@pytest.mark.parametrize('unit, units, recall, mean_size, repetitions, most', [ # at 5 % each: more once in 40 times, and once in 600
    ('location', 299, .99, 6, 200, 16), ('burst', 181, .95, 2, 200, 16), ('location', 103, .9, 10, 1000, 71)])
def test_the_promise_is_kept_as_often_as_said(unit, units, recall, mean_size, repetitions, most):
    chosen = thresholds(lambda table: blank_filter(table, recall, by=unit).threshold, units, unit, mean_size, repetitions)
    assert sum(true_loss(o) > 1 - recall for o in chosen) <= most


@pytest.mark.parametrize('unit, units, recall, mean_size', [('location', 299, .99, 6), ('burst', 181, .95, 2)])
def test_counting_photograph_by_photograph_breaks_the_promise(unit, units, recall, mean_size):
    def as_if_independent(table: pd.DataFrame) -> float:
        return blank_filter(table.assign(**{f'{unit}_id': table.media_id}), recall, by=unit).threshold
    def as_counted(table: pd.DataFrame) -> float: return removed_at(table, [recall]).threshold[0]
    def broken(choose, **settings) -> int:
        return sum(true_loss(o) > 1 - recall for o in thresholds(choose, units, unit, mean_size, 200, **settings))
    assert broken(as_if_independent, harder=0) >= 25  # whatever the sizes mean
    assert broken(as_counted, harder=0) >= 80
    assert broken(as_if_independent, harder=-1) >= 150  # worse where the easy units are the large ones


def test_the_loss_said_to_be_true_is_that_of_many_new_units():
    table, threshold = animals(30_000, seed=1, mean_size=2), .6
    lost = pd.Series(np.stack(table.scores.to_list())[:, 1] >= threshold).groupby(table.location_id).mean().mean()
    assert abs(lost - true_loss(threshold)) < .003


# --- the draw ---

def test_neither_order_nor_index_nor_other_rows_of_a_filter_matter():
    table = judged()
    first = blank_filter(table, by='location')
    for seed in range(5):
        assert blank_filter(table.sample(frac=1, random_state=seed), by='location') == first
    assert blank_filter(table.assign(media_id=table.media_id.map('{:07}'.format)).set_axis([0]*len(table)), by='location').groups == first.groups
    assert accept_threshold(table.sample(frac=1, random_state=1), by='location') == accept_threshold(table, by='location')


def test_one_photograph_is_drawn_from_each_unit_and_blindly():
    table = animals(300, seed=0)
    drawn = [blank_filter(table, by='location', seed=seed).threshold for seed in range(40)]
    highest = np.stack(table.scores.to_list())[:, 1].max()
    assert len(set(drawn)) > 10 and min(drawn) < highest


def test_a_location_hidden_on_some_photographs_is_that_of_their_deployment():
    table = animals(299, seed=0).assign(deployment_id=lambda o: o.location_id)
    hidden = table.assign(location_id=table.location_id.astype(float).mask(table.location_id.duplicated()))
    assert blank_filter(hidden, by='location').skipped == 0
    assert blank_filter(hidden.drop(columns='deployment_id'), by='location').skipped == table.location_id.duplicated().sum()


# --- thresholds ---

@pytest.mark.parametrize('kind', ['float32', 'float64'])
@pytest.mark.parametrize('digits', [1, 3, 9])
def test_ties_never_lose_more_than_allowed_in_any_precision(kind, digits):
    for seed in range(10):
        table = animals(700, seed, 'burst', mean_size=0, harder=0).drop_duplicates('burst_id')
        scores = np.stack(table.scores.to_list()).round(digits).astype(kind)
        table = table.assign(scores=list(scores), score=scores.max(1), prediction=ANIMAL)
        table = Predictions(table, [ANIMAL, BLANK])
        chosen = blank_filter(table)
        removed = (decide(table, chosen.threshold, None) == BLANK).sum()
        assert removed == chosen.lost == (scores[:, 1] >= chosen.threshold).sum() <= chosen.allowed == 2  # the last as others compare
        just_below = np.nextafter(np.asarray(chosen.threshold, kind), np.asarray(0, kind))
        assert (scores[:, 1] >= just_below).sum() > chosen.allowed  # none lower would do


def test_a_table_says_the_same_when_read_again(tmp_path):
    table = judged()
    again = read_predictions(write_table(table, tmp_path/'predictions.parquet'))
    assert blank_filter(again, by='location') == blank_filter(table, by='location')
    assert filter_curve(again).equals(filter_curve(table))


def test_animals_sure_to_be_blank_leave_a_filter_that_removes_nothing():
    table = animals(299, seed=0)
    table = table.assign(scores=[np.array([0, 1], 'float32')]*len(table), prediction=BLANK, score=1.)
    table = Predictions(table, [ANIMAL, BLANK])
    chosen = blank_filter(table, by='location')
    assert chosen.threshold > 1 and chosen.lost == 0 and 'which are none' in str(chosen)
    assert (decide(table, chosen.threshold, None) == DECISIONS[2]).all()


# --- what it may not be chosen on ---

@pytest.mark.parametrize('columns, said', [({'split': 'train'}, 'was trained on'), ({'split': 'test'}, 'test set'),
                                           ({'split': 'test', 'fold': 0}, 'test set'), ({'split': 'train', 'fold': np.nan}, 'was trained on')])
def test_trained_on_or_test_photographs_are_refused(columns, said):
    table = judged().assign(**columns)
    for choose in (blank_filter, accept_threshold):
        with pytest.raises(HoldoutError, match=said): choose(table, by='location')
    heading, text, body = filter_section(table, 'these', by='location')
    assert said in text and 'promised' not in body


def test_out_of_fold_photographs_may_be_judged():
    assert blank_filter(judged().assign(split='train', fold=0), by='location') == blank_filter(judged(), by='location')


# --- sure answers ---

def test_sure_answers_are_never_promised_where_none_deserve_it():
    def hardly(score: np.ndarray) -> np.ndarray: return np.full_like(score, .949)
    assert sum(accept_threshold(answers(200, seed, hardly)) is not None for seed in range(200)) <= 16
    few = [answers(60, seed, hardly, size=20, together=1) for seed in range(200)]
    assert sum(accept_threshold(o) is not None for o in few) <= 16
    assert sum(accept_threshold(o.assign(burst_id=o.media_id)) is not None for o in few) > 25  # each answer for itself


def test_sure_answers_stop_before_the_drop():
    def right_at(score: np.ndarray) -> np.ndarray: return np.where(score >= .8, .99, .8)
    def precision(least: float) -> float: return (.99*.2 + .8*(.8 - least))/(1 - least) if least < .8 else .99
    found = [accept_threshold(answers(500, seed, right_at)) for seed in range(200)]
    assert sum(o is not None and precision(o) < .95 for o in found) <= 16
    assert sum(o is not None and o <= .9 for o in found) > 150  # and it finds what there is


def test_too_few_units_promise_no_sure_answer():
    table = answers(58, 0, np.ones_like)
    assert accept_threshold(table) is None
    assert accept_threshold(answers(59, 0, np.ones_like)) == CANDIDATES[-1]


# --- what is shown ---

def test_classes_and_curve_tell_the_same_story():
    table = judged()
    at = removed_at(table, [.95]).iloc[0]
    by_class = lost_by_class(table, at.threshold).set_index('label')
    assert np.isclose(by_class.share[ANIMAL], at.animals_lost) and at.animals_lost <= .05
    assert np.isclose(by_class.share[HUMAN], at.people_lost)
    ways = decision_counts(table, at.threshold, None).set_index('decision')
    assert np.isclose(ways.share[BLANK], at.removed_share) and ways.photographs.sum() == len(table)
    as_they_are = filter_curve(table, [at.threshold], share=None).removed_share[0]
    assert np.isclose(as_they_are, (decide(table, at.threshold, None) == BLANK).mean())


def test_a_section_gives_the_promise_or_how_many_it_takes():
    heading, text, body = filter_section(judged(), 'drawn', by='location')
    assert str(blank_filter(judged(), by='location')) in text and 'promised' in body and body.count('<svg') == 1
    heading, text, body = filter_section(judged(5), 'drawn', by='location')
    assert 'No promise' in text and 'it takes 299 without a miss' in text and body.count('<svg') == 1
    table = judged()
    for rows in (table.label != BLANK, table.label == BLANK, table.label == HUMAN, table.label == 'nothing'):
        assert filter_section(table[rows], 'drawn')[2] == ''


def test_many_classes_fit_on_the_plot():
    table = judged()
    names = [f'Species number{o:02}' for o in range(15)]
    table['label'] = np.where(table.label == ANIMAL, np.array(names)[table.media_id % 15], table.label)
    figure = plot_filter(table, blank_filter(table, by='location'))
    lines = figure.axes[0].lines
    assert len(lines) == 14 and len({(o.get_color(), o.get_linestyle()) for o in lines}) == 14


# --- edge cases ---

@pytest.fixture
def tied() -> pd.DataFrame:
    "299 bursts of one animal photograph each, all with the same scores."
    table = pd.DataFrame({'media_id': np.arange(299), 'burst_id': np.arange(299), 'label': ANIMAL, 'scores': [np.array([.4, .6])]*299})
    table = Predictions(table, [ANIMAL, BLANK])
    return table


def test_rounding_does_not_ask_for_a_group_more():
    assert groups_needed(.9, .19) == 2 and allowed_losses(2, .9, .19) == 0  # .9² is .81 but for rounding
    assert groups_needed(.5, .875) == 3 and allowed_losses(0) == -1
    for recall, confidence in ((.9, .9), (.95, .99), (.99, .95), (.999, .5), (.2, .6)):
        needed = groups_needed(recall, confidence)
        assert allowed_losses(needed, recall, confidence) >= 0 > allowed_losses(needed - 1, recall, confidence)


@pytest.mark.parametrize('silly', [0, 1, -.1, 99, float('nan')])
def test_only_shares_between_0_and_1_can_be_promised(silly):
    with pytest.raises(FilterError, match='a recall of'): groups_needed(recall=silly)
    with pytest.raises(FilterError, match='a confidence of'): groups_needed(confidence=silly)
    with pytest.raises(FilterError, match='between 0 and 1'): allowed_losses(10, recall=silly)


def test_tied_scores_give_a_threshold_just_above_them(tied):
    chosen = blank_filter(tied)
    assert chosen.lost == 0 and .6 < chosen.threshold < .6 + 1e-12 and 'nan' not in str(chosen)
    assert blank_filter(tied.assign(scores=[np.array([0, 1.])]*299)).threshold > 1


def test_people_are_no_animals_and_unknown_animals_are(tied):
    with pytest.raises(FilterError, match='298 bursts with animal photographs are too few'): blank_filter(tied.head(298))
    with pytest.raises(FilterError, match='takes 299'): blank_filter(pd.concat([tied.head(298), tied.tail(1).assign(label=HUMAN)]))
    assert blank_filter(tied.assign(label='a duck nobody taught it')).groups == 299


def test_photographs_without_a_group_are_skipped_and_counted(tied):
    chosen = blank_filter(pd.concat([tied, tied.head(3).assign(burst_id=None)]))
    assert chosen.skipped == 3 and 'not known: 3 animal' in repr(chosen) and 'not known: 3 animal' in chosen._repr_html_()


def test_some_training_photographs_among_them_are_refused(tied):
    cases = [({'split': 'train'}, 'the model was trained on 299'), ({'split': ['test'] + ['valid']*298}, '1 photographs of the held-out test set'),
             ({'split': 'train', 'fold': [np.nan] + [1]*298}, 'trained on 1 of')]
    for columns, words in cases:
        with pytest.raises(HoldoutError, match=words): blank_filter(tied.assign(**columns))
    assert blank_filter(tied.assign(split='valid')).groups == 299


def test_what_cannot_be_judged_is_refused(tied):
    for table, words in ((tied.assign(label=BLANK), 'no animal photographs'), (tied.head(0), 'no animal photographs'),
                         (tied.assign(label=None), 'without a label: 299')):
        with pytest.raises(CamtrapsError, match=words): blank_filter(table)
    for settings, words in (({'recall': 1}, 'a recall of 1'), ({'by': 'image'}, "cannot promise by 'image'"),
                            ({'by': 'location'}, 'to promise by location,: lacks location_id')):
        with pytest.raises(CamtrapsError, match=words): blank_filter(tied, **settings)
    with pytest.raises(CamtrapsError, match='between 0 and 1'): blank_filter(tied.assign(scores=[np.array([.4, 6.])]*299))
    tied = Predictions(tied, [ANIMAL, 'Blank'])
    with pytest.raises(CamtrapsError, match='no class blank'): blank_filter(tied)


def by_hand() -> pd.DataFrame:
    "Nine photographs whose curve can be worked out by hand."
    blank = (.9, .8, .3, .1, .8, .2, .1, .5, .1)
    table = pd.DataFrame({'label': [BLANK]*4 + ['a', 'a', 'b', HUMAN, VEHICLE], 'scores': [[1 - o, o] for o in blank]})
    table = Predictions(table, ['a', BLANK])
    return table


def test_the_curve_is_that_of_counting_by_hand():
    table = by_hand()
    row = filter_curve(table, [.8]).iloc[0]  # the threshold itself is removed
    assert np.allclose([row.blanks_removed, row.animals_lost, row.people_lost, row.removed_share], [.5, 1/3, 0, .9*.5 + .1*1/5])
    assert np.isclose(filter_curve(table, [.4], share=None).removed_share[0], 4/9)
    assert np.isclose(row.hours_per_1000, 1000*row.removed_share*40/3600)
    curve = filter_curve(table)
    assert curve.threshold.round(9).tolist() == [.1, .2, .3, .5, .8, .9, .9]
    assert [curve.animals_lost.iloc[0], curve.animals_lost.iloc[-1], curve.blanks_removed.iloc[-1]] == [1, 0, 0]
    assert (curve.diff().iloc[1:, 1:] <= 0).all(axis=None)
    assert len(filter_curve(judged())) == 501 and len(filter_curve(table.head(0))) == 0
    assert filter_curve(table[~table.label.isin([HUMAN, VEHICLE])], [.5]).people_lost.isna().all()


def test_losses_by_class_are_those_of_counting_by_hand():
    table = by_hand()
    assert lost_by_class(table, .5).values.tolist() == [[HUMAN, 1, 1, 1.], ['a', 2, 1, .5], ['b', 1, 0, 0.], [VEHICLE, 1, 0, 0.]]
    assert lost_by_class(table.set_axis([1]*9), .5).lost.tolist() == [1, 1, 0, 0]
    assert np.isclose(removed_at(table, [2/3]).blanks_removed[0], .75)  # one of three may go: that at .8
    assert removed_at(judged(), (1, .99)).animals_lost[0] == 0
    with pytest.raises(FilterError, match='no animal'): removed_at(table.head(4))


def test_decisions_are_those_of_counting_by_hand():
    table = pd.DataFrame({'label': [BLANK, 'a', 'a', BLANK], 'prediction': [BLANK, 'a', 'a', BLANK], 'score': [.9, .9, .6, .7],
                          'scores': [[.1, .9], [.9, .1], [.6, .4], [.3, .7]]}, index=[3, 3, 1, 0])
    table = Predictions(table, ['a', BLANK])
    blank, accept, review = DECISIONS
    assert decide(table, .8, .9).tolist() == [blank, accept, review, review]
    assert decide(table, .4, .5).tolist() == [blank, accept, blank, blank]  # blank goes first
    assert decide(table, None, .5).tolist() == [review, accept, accept, review]
    assert decide(table, None, None).tolist() == [review]*4
    assert decide(table.drop(columns='scores'), None, .5).index.tolist() == [3, 3, 1, 0]
    assert np.allclose(decision_counts(table, .8, .9, share=None).share, [.25, .25, .5])
    assert np.allclose(decision_counts(table, .8, .9).share, [.45, .05, .5])
    assert decision_counts(table, None, None).right.isna().all()


def test_answers_that_are_never_wrong_are_accepted_down_to_the_lowest_score():
    always = pd.DataFrame({'media_id': range(59), 'burst_id': range(59), 'label': 'a', 'prediction': 'a', 'score': .75})
    assert accept_threshold(always) == .5 and accept_threshold(always.head(58)) is None
    assert accept_threshold(always.assign(label=['b'] + ['a']*58)) is None
    assert accept_threshold(always.assign(prediction=BLANK, label=BLANK)) is None  # blank answers are the filter's


def test_no_people_leave_a_dash_and_a_model_without_blank_cannot_filter():
    table = judged()
    assert 'NaN' not in filter_section(table[table.label != HUMAN], 'no people', by='location')[2].split('</figure>')[1]
    assert 'no blank photographs' in filter_section(table[table.label != BLANK], 'x')[1]
    assert 'no blank and no animal' in filter_section(table.head(0), 'x')[1]
    assert 'lacks burst_id' in filter_section(table, 'x')[1]  # the report goes on
    table = Predictions(table, [ANIMAL, 'empty'])
    assert 'no class blank' in filter_section(table, 'x')[1]
