"""Votes into labels: the funnel against plain pandas, the gain over the plain rule, a million rows, no extra."""
import subprocess, sys, time

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.votes.cleaning import MEDIA, Rules, clean
from urbanrivers_camtraps.foundations.names import normalise_name, read_labels, read_names
from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES, make_sandbox, serve_sandbox
from urbanrivers_camtraps.votes.api import fetch_observations
from urbanrivers_camtraps.votes.consensus import METHODS, expand_votes, fit_crowd, label_votes, weigh_votes


def fetched(practice, **asked) -> pd.DataFrame:
    "The observations of a practice server."
    with serve_sandbox(practice) as site: return fetch_observations(site, progress=False, **asked).observations


@pytest.fixture(scope='module')
def june() -> pd.DataFrame:
    "The votes of the real site's size, as the original asked for them."
    return fetched(make_sandbox('june-2025'), species=SANDBOX_SPECIES)


@pytest.fixture(scope='module', params=[42, 7])
def small(request):
    "A small practice server, and its votes."
    practice = make_sandbox('small', seed=request.param, width=320, height=240)
    return practice, fetched(practice, reviewed=True)


def wrong(labels: pd.DataFrame, practice) -> pd.Series:
    "Whether each label is wrong; photographs of two species aside."
    truth = practice.truth[practice.truth.second_label == ''].set_index('media_id').label.map(normalise_name)
    known = labels[labels.media_id.isin(truth.index)]
    return known.label != known.media_id.map(truth)


def test_the_funnel_of_june_2025_in_plain_pandas(june):
    "The steps of the original, written down without this project's code, keep the same rows and photographs."
    rows = june[['media_id', 'observation_type', 'scientific_name', 'count', 'votes']].copy()
    rows['name'] = [o.strip() if isinstance(o, str) else 'blank' for o in rows.scientific_name]
    distinct = rows[~rows.duplicated(['media_id', 'observation_type', 'scientific_name', 'count'])]
    three = distinct[distinct.votes >= 3]
    said = three.groupby('media_id').name.agg(lambda names: sorted(set(names)))
    whole = said[[not ('blank' in names and len(names) > 1) for names in said]]
    single = pd.Series({media: names[0] for media, names in whole.items() if len(names) == 1})
    species = single[[name == 'blank' or ' ' in name for name in single]]
    big = species[species.map(species.value_counts()) > 26]

    ours = clean(june, Rules.june_2025())
    steps = ours.funnel.set_index('step')
    assert (len(rows), len(distinct), len(three)) == (18012, 17990, 1801)
    assert (len(whole), len(species), species.nunique(), len(big)) == (1379, 1228, 21, 1142)
    assert steps.rows[['fetch', 'drop_duplicates', 'enough_votes']].tolist() == [len(rows), len(distinct), len(three)]
    assert steps.photographs[['drop_blank_conflicts', 'one_label', 'species_rank', 'enough_photographs']].tolist() \
        == [len(whole), len(single), len(species), len(big)]
    assert dict(zip(ours.labels.media_id, ours.labels.label)) == big.to_dict()
    assert len(ours.dropped) + steps.rows.iloc[-1] == len(rows)


def test_more_photographs_at_no_more_error(small):
    practice, observations = small
    default, rule = (clean(observations, rules) for rules in (Rules(min_photographs=1), Rules.three_votes(1)))
    assert len(default.labels) > 1.1*len(rule.labels)
    assert wrong(default.labels, practice).mean() < wrong(rule.labels, practice).mean() + .002
    assert default.labels.confidence.between(Rules.min_confidence, 1).all()


def test_confidence_keeps_its_word(small):
    "Of all labels together about as many are wrong as the confidence lets expect; among the surest hardly any."
    practice, observations = small
    labels = clean(observations, Rules(1, 1, 0)).labels
    mistaken = wrong(labels, practice)
    expected = 1 - labels.confidence[mistaken.index]
    assert abs(expected.mean() - mistaken.mean()) < .012
    surest = expected.nsmallest(len(expected)//2).index
    assert mistaken[surest].mean() < .01 < mistaken.drop(surest).mean()


def million_votes() -> pd.DataFrame:
    "A million vote rows on 300,000 photographs under 30 names."
    rng = np.random.default_rng(0)
    species = [o for o, rank in read_names().rank.items() if rank == 'species'][:28]
    names, share = np.array([*species, 'blank', 'human'], object), 1/np.arange(1, 31)
    truth = rng.choice(30, 300_000, p=share/share.sum())
    media = rng.integers(0, 300_000, 1_000_000)
    said = np.where(rng.random(len(media)) < .85, truth[media], rng.choice(30, len(media)))
    ids, animal = np.array([f'{o:032x}' for o in rng.permutation(300_000)], object), said < 28
    return pd.DataFrame({'media_id': ids[media], **dict.fromkeys(MEDIA, 'somewhere'),
                         'observation_type': np.where(animal, 'animal', names[said]),
                         'scientific_name': np.where(animal, names[said], None), 'votes': 1,
                         'count': rng.integers(1, 4, len(media))})


def test_a_million_rows_in_five_seconds():
    rows, took = million_votes(), []
    for _ in range(2):  # the second time nothing is imported any more
        start = time.process_time()  # of all cores together: the machine may be busy with something else
        cleaned = clean(rows)
        took.append(time.process_time() - start)
    assert min(took) < 5, took
    assert len(cleaned.labels) > 150_000 and len(cleaned.dropped) + cleaned.funnel.rows.iloc[-1] == len(rows)


def test_every_method_answers():
    "Every method that is offered answers for every photograph, the same each time, and the crowd is right."
    rng, names = np.random.default_rng(0), np.array(['Aix sponsa', 'Anas platyrhynchos', 'blank'], object)
    truth, media = rng.choice(3, 60), np.repeat(np.arange(60), 4)
    said = np.where(rng.random(240) < .85, truth[media], rng.choice(3, 240))
    votes = pd.DataFrame({'media_id': [f'm{o}' for o in media], 'label': names[said],
                          'volunteer': [f'v{o % 9}' for o in range(240)]})
    for method in METHODS:
        answers = label_votes(votes, method)
        pd.testing.assert_frame_equal(answers, label_votes(votes, method))
        assert set(answers.media_id) == set(votes.media_id) and answers.confidence.between(0, 1).all(), method
        assert (answers.label == names[truth[answers.media_id.str[1:].astype(int)]]).mean() > .9, method


WITHOUT = '''
import sys
class Missing:
    "An environment without the extra."
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('crowdkit', 'cleanlab', 'transformers', 'nltk'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Missing())
import pandas as pd
from urbanrivers_camtraps.votes.cleaning import Rules, clean
from urbanrivers_camtraps.votes.consensus import expand_votes, label_votes
from urbanrivers_camtraps.foundations.core import CamtrapsError
rows = pd.DataFrame([(f'm{o}', 'animal', 'Mallard', 1, 3 + o % 3) for o in range(60)],
                    columns=['media_id', 'observation_type', 'scientific_name', 'count', 'votes'])
for rules in (Rules(), Rules.three_votes(), Rules.june_2025()):
    print(len(clean(rows, rules).labels), clean(rows, rules).labels.confidence.notna().all())
try: label_votes(expand_votes(rows.assign(label='Mallard')).assign(volunteer='v'), 'glad')
except CamtrapsError as error: print(error)
'''


def test_without_the_extra():
    "The default and the plain rules run on the base install; a model of single volunteers names the extra it needs."
    run = subprocess.run([sys.executable, '-c', WITHOUT], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[:3] == ['60 True']*3 and len(lines) == 4
    assert 'urbanrivers_camtraps[votes]' in lines[3] and 'the method pooled' in lines[3]


@pytest.mark.parametrize('rounds', [0, 1, 2, 5])
def test_pooled_is_the_dawid_skene_of_crowd_kit(small, rounds):
    "The default method returns crowd-kit's labels, tables and probabilities, for one worker who gives all votes."
    classification = pytest.importorskip('crowdkit.aggregation.classification')
    _, observations = small
    votes = expand_votes(observations.assign(label=read_labels(observations)[0]))
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


def test_no_more_than_the_votes_that_there_are(june):
    "Expanding counts loses no vote that names something."
    rows = june.assign(label=june.scientific_name)
    assert len(expand_votes(rows)) == rows.votes[rows.label.notna()].sum()
