"""Posteriors by hand, advice at its edges, no score that a model was told, and a command that writes no names of volunteers."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.foundations.core import BLANK, CamtrapsWarning
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.review.vote_replay import (
    agreement_path,
    check_on_many,
    compare_rules,
    errs_more,
    posterior_path,
    replay_halves,
    replay_metrics,
    simulate_crowd,
    stop_votes,
)
from urbanrivers_camtraps.review.votes_needed import (
    COLUMNS,
    EXPERT,
    ONE_MORE,
    RETIRE,
    score_priors,
    single_votes,
    unlearned,
    vote_posteriors,
    votes_needed,
)
from urbanrivers_camtraps.votes.consensus import Crowd, VotesError, fit_crowd

GOOSE, MALLARD = 'Branta canadensis', 'Anas platyrhynchos'
#: With 2 % of the votes taken as any name, .8 and .2 count as .794 and .206.
TWO = Crowd(pd.DataFrame([[.8, .2], [.2, .8]], [GOOSE, MALLARD], [GOOSE, MALLARD]), pd.Series([.5, .5], [GOOSE, MALLARD]))


def cast(**labels: list) -> pd.DataFrame:
    "Return votes: photograph → labels."
    return pd.DataFrame([(o, label) for o, all_of in labels.items() for label in all_of], columns=['media_id', 'label'])


def scored(classes: list[str], **scores: list[float]) -> Predictions:
    "Return predictions: photograph → scores."
    table = pd.DataFrame({'media_id': list(scores), 'scores': list(map(np.array, scores.values()))})
    return Predictions(table.assign(prediction=classes[0]), classes)


# --- by hand ---

@pytest.mark.parametrize('labels, posterior', [
    ([GOOSE], .794),
    ([GOOSE, GOOSE], .794**2/(.794**2 + .206**2)),
    ([GOOSE, MALLARD], .5),
    ([MALLARD, MALLARD, GOOSE], .206),
    ([GOOSE, None, 'Lutra lutra'], .794)])  # who cannot tell, or says a name that nobody knows, adds nothing
def test_posterior_of_votes(labels, posterior):
    assert vote_posteriors(cast(a=labels), TWO).loc['a', GOOSE] == pytest.approx(posterior, abs=1e-9)


def test_posterior_of_votes_and_scores():
    prior = score_priors(scored([GOOSE, MALLARD], a=[.9, .1]), TWO, doubt=.05)
    assert prior.loc['a', GOOSE] == pytest.approx(.95*.9 + .05*.5)  # .88
    after = vote_posteriors(cast(a=[MALLARD]), TWO, prior).loc['a', GOOSE]
    assert after == pytest.approx(.88*.206/(.88*.206 + .12*.794))


def test_a_name_that_the_model_does_not_know_keeps_its_share():
    crowd = Crowd(pd.DataFrame(np.eye(3), [GOOSE, MALLARD, 'Aves'], [GOOSE, MALLARD, 'Aves']), pd.Series([.6, .2, .2], [GOOSE, MALLARD, 'Aves']))
    prior = score_priors(scored([GOOSE, MALLARD, 'Lutra lutra'], a=[.5, .1, .4]), crowd, doubt=0).loc['a']
    assert prior.tolist() == pytest.approx([.8*.5 + .4*.6, .8*.1 + .4*.2, .2])  # the otter's .4 means nothing to this crowd
    assert prior.sum() == pytest.approx(1)


def test_a_score_of_one_can_be_outvoted():
    prior = score_priors(scored([GOOSE, MALLARD], a=[1., 0.]), TWO)
    assert vote_posteriors(cast(a=[MALLARD]*5), TWO, prior).loc['a'].idxmax() == MALLARD


# --- advice ---

def advice(votes: pd.DataFrame, **options) -> dict:
    table = votes_needed(votes, TWO, **options)
    return dict(zip(table.media_id, table.advice))


def test_threshold_is_reached_exactly():
    two_agree = .794**2/(.794**2 + .206**2)
    assert advice(cast(a=[GOOSE]*2), threshold=two_agree - 1e-9) == {'a': RETIRE}
    assert advice(cast(a=[GOOSE]*2), threshold=two_agree + 1e-9) == {'a': ONE_MORE}


def test_nobody_looked_yet():
    sure = score_priors(scored([GOOSE, MALLARD], a=[1., 0.]), TWO)
    nobody = cast(a=[])
    assert advice(nobody, priors=sure) == {'a': ONE_MORE}  # the model alone retires nothing
    assert advice(nobody, priors=sure, least=0) == {'a': RETIRE}
    assert votes_needed(nobody, TWO, sure).votes.tolist() == [0]


def test_an_expert_is_asked_after_the_last_vote_and_for_two_species():
    divided = cast(a=[GOOSE, MALLARD])
    assert advice(divided, threshold=.9, most=4) == {'a': ONE_MORE}  # 67 % of such photographs are settled by two more
    assert advice(divided, threshold=.9, most=3) == {'a': EXPERT}  # one more cannot settle it
    assert advice(divided, threshold=.9, most=2) == {'a': EXPERT}
    assert advice(cast(a=[GOOSE]*5 + [MALLARD]*2), threshold=.6) == {'a': EXPERT}
    assert advice(cast(a=[GOOSE]*5 + [MALLARD]), threshold=.6) == {'a': RETIRE}


def test_expected_votes_by_hand():
    "Before any vote, at .9: two that agree settle it (.673); else four may (as if anew). Expected within four: 2 + .327·2."
    table = votes_needed(cast(a=[]), TWO, pd.DataFrame([[.5, .5]], ['a'], [GOOSE, MALLARD]), threshold=.9, most=4, draws=20_000)
    agree = .794**2 + .206**2
    assert table.more_votes[0] == pytest.approx(2 + (1 - agree)*2, abs=.03)


def test_list_is_sorted_and_the_same_every_time():
    votes = cast(a=[GOOSE]*4, b=[GOOSE], c=[GOOSE, MALLARD, GOOSE, MALLARD, None, None], d=[])
    once, again = votes_needed(votes, TWO), votes_needed(votes, TWO)
    pd.testing.assert_frame_equal(once, again)
    assert tuple(once) == COLUMNS and once.advice.tolist() == [ONE_MORE, EXPERT, RETIRE]
    assert once.more_votes.isna().tolist() == [False, True, False]


@pytest.mark.parametrize('threshold', [0, 1, 1.5])
def test_impossible_thresholds(threshold):
    with pytest.raises(VotesError, match='is not a threshold'): votes_needed(cast(a=[GOOSE]), TWO, threshold=threshold)


def test_no_votes_at_all():
    assert votes_needed(cast(), TWO).empty


# --- whose scores ---

def test_scores_of_learned_bursts_are_left_out():
    seen = scored([GOOSE, MALLARD], a2=[1, 0], b1=[1, 0], t1=[1, 0], c1=[1, 0]).assign(burst_id=['a1', 'b1', 'other', None])
    dataset = pd.DataFrame({'media_id': ['a1', 't1'], 'burst_id': ['a1', None], 'split': ['train', 'test']})
    assert unlearned(seen, dataset).media_id.tolist() == ['b1']


def test_a_document_stored_twice_votes_once():
    rows = pd.DataFrame([('a', 'animal', GOOSE, 1, 2), ('a', 'animal', GOOSE, 2, 1), ('a', 'animal', GOOSE, 1, 2)],
                        columns=['media_id', 'observation_type', 'scientific_name', 'count', 'votes'])
    assert len(single_votes(rows)) == 3


# --- the command ---

@pytest.fixture
def data(tmp_path):
    "Votes on four photographs, a model's scores of one, and a season of all."
    times = pd.to_datetime(['2025-05-01 08:00:00', '2025-05-01 08:00:02', '2025-05-02 08:00:00', '2025-05-03 08:00:00'], utc=True)
    places = pd.DataFrame({'media_id': list('abcd'), 'url': [f'https://x.test/{o}.jpg' for o in 'abcd'], 'timestamp': times, 'deployment_id': 'd1'})
    counts = pd.DataFrame([('a', 'animal', GOOSE, 5), ('b', 'animal', GOOSE, 1), ('c', 'animal', MALLARD, 1), ('c', 'blank', None, 1),
                           ('d', 'animal', MALLARD, 5)], columns=['media_id', 'observation_type', 'scientific_name', 'votes']).assign(count=1)
    write_table(counts.merge(places), tmp_path/'observations.parquet')
    dataset = places.iloc[[0]].assign(path='a.jpg', label=GOOSE, split='train', fold=0., sha256='x', burst_id='a')
    write_table(dataset, tmp_path/'dataset.parquet')
    judged = Predictions(dataset.assign(prediction=GOOSE, score=.9, scores=[np.array([.9, .1])]), [GOOSE, MALLARD])
    write_table(judged, tmp_path/'out_of_fold.parquet')
    season = Predictions(places.assign(path=places.url, prediction=GOOSE, score=.99, reason=None, scores=[np.array([.99, .01])]*4)
                         .drop(columns=['media_id', 'url', 'deployment_id', 'timestamp']), [GOOSE, MALLARD])
    write_table(season, tmp_path/'season.parquet')
    return tmp_path


def run(*words: object) -> tuple[int, str]:
    from typer.testing import CliRunner
    result = CliRunner().invoke(app, ['votes-needed', *map(str, words)])
    return result.exit_code, f'{result.output}{result.exception or ""}'


def test_command_writes_the_list(data):
    status, output = run('--data', data, '--season', data/'season.parquet')
    table = pd.read_csv(data/'votes_needed.csv').set_index('media_id')
    assert status == 0 and set(table.index) == set('abcd') and table.votes.to_dict() == {'a': 5, 'b': 1, 'c': 2, 'd': 5}
    assert 'scores of 2 of 4 photographs are used' in output  # a is out of fold, b is in its burst
    assert '4 photographs, 3 of them with scores' in output


def test_command_spares_files_of_others_and_reviewed_photographs(data):
    from urbanrivers_camtraps.review.reviews import Reviews
    Reviews(data/'reviews.sqlite').add('1', 'c', BLANK, 'Heron')
    (data/'mine.csv').write_text('media_id,note\na,mine\n')
    status, output = run('--data', data, '--out', data/'mine.csv')
    assert status == 1 and 'was not written by camtraps' in output and (data/'mine.csv').read_text().endswith('mine\n')
    assert run('--data', data, '--out', data/'mine.csv', '--overwrite')[0] == 0
    assert set(pd.read_csv(data/'mine.csv').media_id) == set('abd')


def test_command_works_without_a_model(data):
    (data/'out_of_fold.parquet').unlink()
    status, output = run('--data', data)
    assert status == 0 and '0 of them with scores' in output


def test_no_volunteer_is_named(data):
    observations = pd.read_parquet(data/'observations.parquet')
    votes = observations.loc[observations.index.repeat(observations.votes)].assign(volunteer=[f'person{o}' for o in range(13)])
    write_table(votes.drop(columns='votes'), data/'votes.parquet')
    assert run('--data', data)[0] == 0
    text = (data/'votes_needed.csv').read_text()
    assert 'person' not in text and text.splitlines()[0] == ','.join(COLUMNS)


# --- the replay ---

def stopped(labels: list, rule: str, level: float, least: int = 1) -> tuple:
    "Return how a photograph with these votes ends: label, votes, whether it is settled."
    path = agreement_path(cast(a=labels)) if rule == 'agreement' else posterior_path(cast(a=labels), TWO)
    row = stop_votes(path, level, least).iloc[0]
    return row.label, int(row.votes), bool(row.settled)


@pytest.mark.parametrize('labels, rule, level, least, ends', [
    ([GOOSE]*5, 'agreement', 3, 1, (GOOSE, 3, True)),
    ([GOOSE, MALLARD, MALLARD, GOOSE, MALLARD, GOOSE], 'agreement', 3, 1, (MALLARD, 5, True)),
    ([GOOSE, MALLARD, MALLARD, GOOSE], 'agreement', 3, 1, (MALLARD, 4, False)),  # mallards were two first
    ([None, None, None], 'agreement', 1, 1, (None, 3, False)),
    ([GOOSE]*3, 'posterior', .79, 1, (GOOSE, 1, True)),
    ([GOOSE]*3, 'posterior', .79, 2, (GOOSE, 2, True)),
    ([GOOSE]*3, 'posterior', .93, 1, (GOOSE, 2, True)),
    ([GOOSE, MALLARD, GOOSE, GOOSE], 'posterior', .93, 1, (GOOSE, 4, True)),
    ([GOOSE, MALLARD], 'posterior', .93, 1, (GOOSE, 2, False)),
    ([GOOSE], 'posterior', .4, 0, (GOOSE, 0, True))])  # even odds are enough before anybody looks
def test_where_a_rule_stops(labels, rule, level, least, ends):
    label, *rest = stopped(labels, rule, level, least)
    assert (None if pd.isna(label) else label, *rest) == ends


def test_paths_of_mixed_votes_are_those_of_each_photograph():
    a, b = cast(a=[GOOSE, MALLARD, GOOSE]), cast(b=[MALLARD, None])
    mixed = pd.concat([a.iloc[:1], b.iloc[:1], a.iloc[1:2], b.iloc[1:], a.iloc[2:]], ignore_index=True)
    for path in (agreement_path, lambda o: posterior_path(o, TWO)):
        apart = pd.concat([path(a), path(b)], ignore_index=True)
        together = path(mixed).sort_values(['media_id', 'votes'], ignore_index=True)
        pd.testing.assert_frame_equal(together[list(apart)], apart)


def test_the_last_posterior_of_a_path_is_that_of_all_votes():
    crowd = simulate_crowd(90, seed=3)
    known = fit_crowd(crowd.votes)
    priors = score_priors(crowd.predictions, known)
    last = posterior_path(crowd.votes, known, priors).drop_duplicates('media_id', keep='last').set_index('media_id')
    whole = vote_posteriors(crowd.votes, known, priors).loc[last.index]
    assert np.allclose(last.strength, whole.max(axis=1)) and (last.label == whole.idxmax(axis=1)).all()


def test_halves_are_whole_bursts_and_judge_what_they_did_not_learn_from():
    replayed = replay_halves(*simulate_crowd(300, each=4, seed=1))
    judged, learned = (replayed[replayed.judged == o] for o in (True, False))
    assert judged.groupby('burst_id').half.nunique().max() == 1
    for half in (0, 1): assert not set(judged.burst_id[judged.half == half]) & set(learned.burst_id[learned.half == half])
    assert judged.media_id.nunique() == 300


def test_a_model_that_knows_nothing_saves_nothing_beyond_the_votes():
    crowd = simulate_crowd(1500, seed=5)
    flat = crowd.predictions.assign(scores=list(np.full((1500, 12), 1/12)))
    saved = compare_rules(replay_halves(*crowd[:3], flat)).set_index('rule').saved
    assert abs(saved['votes and model'] - saved['votes, weighed']) < .12


def test_judging_by_hand():
    table = pd.DataFrame({'votes': [3, 4, 6, 3], 'settled': [True, True, False, True], 'wrong': [False, True, True, False]})
    found = replay_metrics(table)
    assert (found['photographs'], found['votes'], found['settled'], found['wrong']) == (4, 4, .75, 1)
    assert found['error'] == pytest.approx(1/3)


def test_one_burst_cannot_be_halved():
    crowd = simulate_crowd(3)
    with pytest.raises(VotesError, match='two bursts'): replay_halves(*crowd)


# --- the check without the truth ---

def test_check_by_hand():
    "Two photographs with five votes each: three who agree need three votes on each, and one suffices if the model is sure."
    votes, priors = cast(a=[GOOSE]*5, b=[MALLARD]*5, c=[GOOSE]), score_priors(scored([GOOSE, MALLARD], a=[.9, .1], b=[1., 0.], c=[1., 0.]), TWO)
    checked = check_on_many(votes, TWO, priors, threshold=.95)
    assert checked.photographs.tolist() == [2, 2] and checked.wrong.tolist() == [0, 0]
    assert checked.loc['three who agree', 'votes'] == 3
    # a: .88 after none, .966 after one. b: the model says goose with .975: .910, .723, .404, .149, .043 after one to five mallards
    assert checked.loc['votes and model', 'votes'] == (1 + 5)/2
    assert check_on_many(cast(a=[GOOSE]), TWO, priors).empty and not errs_more(check_on_many(cast(a=[GOOSE]), TWO, priors))


@pytest.mark.parametrize('ours, three, more', [(8, 2, False), (9, 2, True), (2, 9, False), (0, 0, False), (5, 0, True), (4, 0, False)])
def test_more_errors_than_by_chance(ours, three, more):
    table = pd.DataFrame({'wrong': [three, ours]}, ['three who agree', 'votes and model'])
    assert errs_more(table) == more  # 8 − 2 < 2·√10 = 6.3; 9 − 2 > 2·√11 = 6.6; 5 > 2·√5 = 4.5; 4 = 2·√4


def test_command_warns_if_the_threshold_errs_more(data, monkeypatch):
    from urbanrivers_camtraps.review import vote_replay
    found = pd.DataFrame({'photographs': 200, 'votes': [3.2, 1.2], 'settled': 1., 'error': [.01, .1], 'wrong': [2, 20]}, ['three who agree', 'votes and model'])
    monkeypatch.setattr(vote_replay, 'check_on_many', lambda *o: found)
    with pytest.warns(CamtrapsWarning, match='wrong labels more often than three who agree'): status, output = run('--data', data)
    assert status == 0 and '1.2 votes instead of 3.2 for three who agree, and another label than all votes give on 10.0% instead of 1.0%' in output


def test_one_vote_needs_a_second_witness():
    certain = Crowd(pd.DataFrame(np.eye(2), [GOOSE, MALLARD], [GOOSE, MALLARD]), pd.Series([.9, .1], [GOOSE, MALLARD]))
    scores = score_priors(scored([GOOSE, MALLARD], a=[.9, .1]), certain)
    table = votes_needed(cast(a=[GOOSE], b=[GOOSE], c=[GOOSE]*2), certain, scores)
    assert (table.posterior > .95).all() and dict(zip(table.media_id, table.advice)) == {'a': RETIRE, 'b': ONE_MORE, 'c': RETIRE}
    assert table.more_votes[table.media_id == 'b'].tolist() == [pytest.approx(1, abs=.2)]
