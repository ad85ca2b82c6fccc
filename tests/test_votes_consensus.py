"""Consensus: every method answers, the default is crowd-kit's Dawid and Skene, and confidence is never certain."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.foundations.names import read_labels
from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES, make_sandbox, serve_sandbox
from urbanrivers_camtraps.votes.api import fetch_observations
from urbanrivers_camtraps.votes.consensus import (
    METHODS,
    expand_votes,
    fit_calibration,
    fit_crowd,
    label_votes,
    thin_votes,
    weigh_votes,
)


@pytest.fixture(scope='module', params=[42, 7])
def votes(request) -> pd.DataFrame:
    "The votes of a small practice server, one row each."
    with serve_sandbox(make_sandbox('small', seed=request.param, width=320, height=240)) as server:
        observations = fetch_observations(server, reviewed=True, progress=False).observations
    return expand_votes(observations.assign(label=read_labels(observations)[0]))


def test_every_method_answers():
    "Every method that is offered answers for every photograph, the same each time, and the crowd is right."
    rng, names = np.random.default_rng(0), np.array(['Aix sponsa', 'Anas platyrhynchos', 'blank'], object)
    truth, media = rng.choice(3, 60), np.repeat(np.arange(60), 4)
    named = np.where(rng.random(240) < .85, truth[media], rng.choice(3, 240))
    votes = pd.DataFrame({'media_id': [f'm{o}' for o in media], 'label': names[named],
                          'volunteer': [f'v{o % 9}' for o in range(240)]})
    for method in METHODS:
        answers = label_votes(votes, method)
        pd.testing.assert_frame_equal(answers, label_votes(votes, method))
        assert set(answers.media_id) == set(votes.media_id) and answers.confidence.between(0, 1).all(), method
        assert (answers.label == names[truth[answers.media_id.str[1:].astype(int)]]).mean() > .9, method


@pytest.mark.parametrize('rounds', [0, 1, 2, 5])
def test_pooled_is_the_dawid_skene_of_crowd_kit(votes, rounds):
    "The default method returns crowd-kit's labels, tables and probabilities, for one worker who gives all votes."
    classification = pytest.importorskip('crowdkit.aggregation.classification')
    crowd = fit_crowd(votes, rounds=rounds)
    ours = weigh_votes(votes, crowd).set_index('media_id')
    table = pd.DataFrame({'task': votes.media_id, 'worker': 'all', 'label': votes.label.astype(str)})
    theirs = classification.DawidSkene(n_iter=rounds + 1, tol=-np.inf).fit(table).probas_.loc[ours.index]
    assert (ours.label == theirs.idxmax(axis=1)).all()
    np.testing.assert_allclose(ours.confidence, theirs.max(axis=1), atol=1e-9)
    if not rounds: return
    fitted = classification.DawidSkene(n_iter=rounds, tol=-np.inf).fit(table)
    names = crowd.prior.index
    np.testing.assert_allclose(crowd.errors, fitted.errors_.droplevel('worker').loc[names, names], atol=1e-9)
    np.testing.assert_allclose(crowd.prior, fitted.priors_[names], atol=1e-9)


@pytest.mark.parametrize('seed', range(20))
def test_pooled_is_crowd_kit_on_votes_drawn_at_random(seed):
    "Many names, few votes, ties and names that are always wrong: still crowd-kit's labels."
    classification = pytest.importorskip('crowdkit.aggregation.classification')
    rng = np.random.default_rng(seed)
    names = np.array([f'name {o}' for o in range(rng.integers(2, 25))], object)
    votes = pd.DataFrame({'media_id': rng.permutation(rng.integers(0, 80, 300)).astype(str),
                          'label': rng.choice(names, 300, p=rng.dirichlet(np.ones(len(names))))})
    ours = weigh_votes(votes, fit_crowd(votes)).set_index('media_id')
    table = pd.DataFrame({'task': votes.media_id, 'worker': 'all', 'label': votes.label})
    theirs = classification.DawidSkene(n_iter=3, tol=-np.inf).fit(table).probas_.loc[ours.index]
    np.testing.assert_allclose(ours.confidence, theirs.max(axis=1), atol=1e-9)
    clear = theirs.apply(lambda row: row.nlargest(2).diff().abs().iloc[-1], axis=1) > 1e-9  # no tie
    assert (ours.label == theirs.idxmax(axis=1))[clear].all() and clear.any()


def test_no_more_than_the_votes_that_there_are():
    "Expanding counts loses no vote that names something."
    with serve_sandbox(make_sandbox('june-2025')) as server:
        june = fetch_observations(server, SANDBOX_SPECIES, progress=False).observations
    rows = june.assign(label=june.scientific_name)
    assert len(expand_votes(rows)) == rows.votes[rows.label.notna()].sum()


def test_the_order_of_votes_decides_no_label(votes):
    labels = label_votes(votes)
    mixed = label_votes(votes.sample(frac=1, random_state=1)).set_index('media_id').loc[labels.media_id]
    assert (mixed.label.to_numpy() == labels.label.to_numpy()).all()


def test_few_votes_are_not_calibrated():
    few = label_votes(pd.DataFrame({'media_id': ['a', 'a', 'b'], 'label': ['blank', 'blank', 'Aves']}))
    assert few.label.tolist() == ['blank', 'Aves'] and few.attrs['calibrated_on'] == 0
    with pytest.raises(CamtrapsError, match='no vote with a label'): label_votes(few.head(0))


def test_a_curve_is_never_certain_and_never_falls():
    assert fit_calibration(np.full(100, 1.), np.full(100, True), 100)(np.array([1.]))[0] < 1
    opinion = np.tile([.6, .9, .99], 200)
    np.testing.assert_allclose(fit_calibration(opinion, opinion < .8, 600)(np.array([.6, .99])), [1/3]*2, atol=.01)  # the surer the worse


def test_a_name_that_the_crowd_does_not_know_says_nothing(votes):
    crowd = fit_crowd(votes)
    typo = votes.head(1).assign(label='Procion lotus')
    pd.testing.assert_frame_equal(weigh_votes(pd.concat([votes, typo]), crowd), weigh_votes(votes, crowd))


def test_thinning_is_the_same_each_time(votes):
    pd.testing.assert_frame_equal(thin_votes(votes), thin_votes(votes))
