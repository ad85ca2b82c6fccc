"""Records of species at locations: what is expected to be false or missed, against a truth that is known."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.review.sample import draw_sample
from urbanrivers_camtraps.survey.location_records import bursts_to_review, record_curve, record_plan, record_words
from urbanrivers_camtraps.survey.season_simulation import simulate_season, with_scores

BEAVER, MINK = 'Castor canadensis', 'Neogale vison'
CLASSES = [BEAVER, MINK, 'blank', 'human']


def bursts(*rows) -> Predictions:
    "Return bursts of (location, predicted, score of a beaver, score of a mink, answer)."
    table = pd.DataFrame(rows, columns=['location', 'predicted', 'beaver', 'mink', 'answer'])
    scores = [np.array([o.beaver, o.mink, 1 - o.beaver - o.mink, 0]) for o in table.itertuples()]
    return Predictions(table.assign(scores=scores, drawn=False), CLASSES)


def of(plan: pd.DataFrame, species: str) -> pd.Series:
    return plan.set_index('species').loc[species]


def records(answers: pd.Series, table: pd.DataFrame) -> set:
    seen = answers[answers != 'blank']
    return set(zip(seen, table.location[seen.index]))


def test_one_called_burst_is_false_with_what_its_score_leaves():
    found = of(record_plan(bursts(('W1', BEAVER, .7, 0, None), ('W2', 'blank', .25, 0, None))), BEAVER)
    assert found.false == pytest.approx(.3) and found.missed == pytest.approx(1 - 1/1.25)
    assert found.locations == pytest.approx(.7 + .2) and found.bursts == 0  # both are below a half


def test_the_second_call_at_a_location_is_trusted_less():
    found = of(record_plan(bursts(*[('W1', BEAVER, .6, 0, None)]*3)), BEAVER)
    assert found.false == pytest.approx(.4*(1 - .6*5/6)*(1 - .6*5/7))


def test_what_people_did_not_see_makes_the_next_call_less_likely():
    rows = [('W1', BEAVER, .6, 0, 'blank'), ('W1', BEAVER, .6, 0, None)]
    assert of(record_plan(bursts(*rows)), BEAVER).false == pytest.approx(1 - .6*5/6)


def test_a_false_record_goes_only_after_all_of_its_bursts():
    curve = record_curve(bursts(*[('W1', BEAVER, .2, 0, None)]*3), BEAVER)
    start = .8*(1 - .2*5/6)*(1 - .2*5/7)
    assert curve.false.tolist() == pytest.approx([start, start, start, 0])
    assert of(record_plan(bursts(*[('W1', BEAVER, .2, 0, None)]*3)), BEAVER).bursts == 3


def test_a_location_where_people_saw_it_is_settled():
    table = bursts(('W1', BEAVER, .6, 0, None), ('W1', 'blank', .1, 0, BEAVER), ('W1', MINK, .1, .5, None))
    plan = record_plan(table)
    assert of(plan, BEAVER)[['locations', 'false', 'missed', 'bursts']].tolist() == [1, 0, 0, 0]
    assert of(plan, MINK).false == pytest.approx(.5) and of(plan, MINK).bursts == 1
    assert bursts_to_review(table).index.tolist() == [2]


def test_the_pilot_corrects_scores_but_what_was_not_drawn_by_chance_does_not():
    table = bursts(*[('W1', BEAVER, .5, 0, 'blank')]*4, ('W2', BEAVER, .5, 0, None))
    assert of(record_plan(table), BEAVER).false == pytest.approx(.5)
    ratio = (0 + 1)/(4*.5 + 1)
    assert of(record_plan(table.assign(drawn=True)), BEAVER).false == pytest.approx(1 - .5*ratio)
    assert of(record_plan(table.drop(columns='drawn')), BEAVER).false == pytest.approx(1 - .5*ratio)


def test_people_and_blanks_are_no_species_and_all_reviewed_leaves_nothing():
    table = bursts(('W1', BEAVER, .6, 0, 'blank'), ('W1', 'blank', .1, 0, 'blank'), ('W2', 'human', 0, 0, 'human'))
    plan = record_plan(table)
    assert sorted(plan.species) == sorted([BEAVER, MINK])
    assert plan[['locations', 'false', 'missed', 'bursts']].to_numpy().sum() == 0 and bursts_to_review(table).empty
    assert record_words(plan, 0) == ['The records of all species are stable: fewer than 0.5 locations with a false or a missed one.']


def test_a_species_of_few_locations_needs_locations():
    words = record_words(pd.DataFrame({'species': [BEAVER, MINK], 'locations': [12., 1.2], 'false': [0., .9], 'missed': 0., 'bursts': [0, 1]}), 1)
    assert words[0].startswith('Look at 1 more burst,') and f'{MINK} (1.2)' in words[1] and BEAVER not in ' '.join(words)


def test_a_burst_that_waits_for_a_person_is_not_called():
    found = of(record_plan(bursts(('W1', None, .6, 0, None))), BEAVER)
    assert found.false == 0 and found.missed == pytest.approx(1 - 1/1.6)


def test_an_unknown_species_is_refused():
    with pytest.raises(CamtrapsError, match='is not a class of the model'):
        record_curve(bursts(('W1', BEAVER, .7, 0, None)), 'Lontra canadensis')


def test_the_plan_expects_what_simulated_seasons_hold_and_the_list_settles_it():
    sums = np.zeros(6)
    for seed in range(6):
        season = simulate_season(seed)
        drawn = draw_sample(season.units, n=128).drawn
        table = with_scores(season)
        table = table.assign(drawn=drawn, answer=table.label.where(drawn))
        plan, chosen = record_plan(table), bursts_to_review(table)
        truth, before = records(table.label, table), records(table.answer.fillna(table.predicted), table)
        answers = table.answer.fillna(table.label.where(table.index.isin(chosen.index)))
        after = records(answers.fillna(table.predicted), table)
        sums += (plan.false.sum(), len(before - truth), plan.missed.sum(), len(truth - before), len(after ^ truth), len(plan))
    false, truly_false, missed, truly_missed, left, species = sums
    assert truly_false >= 20 and truly_missed >= 15  # so that there is something to foresee
    assert .5 < false/truly_false < 1.5 and .6 < missed/truly_missed < 1.7
    assert left < .5*(truly_false + truly_missed) and left < species*.5
