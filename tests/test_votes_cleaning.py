"""Cleaning: the funnel against plain pandas, the gain over the plain rule, signed votes, a million rows, the base install."""
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.foundations.names import normalise_name, read_labels, read_names
from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES, make_sandbox, serve_sandbox
from urbanrivers_camtraps.votes.api import Fetched, fetch_observations
from urbanrivers_camtraps.votes.cleaning import PLACE_COLUMNS, Cleaned, Rules, clean


def fetched(practice, **asked) -> pd.DataFrame:
    "The observations of a practice server."
    with serve_sandbox(practice) as server: return fetch_observations(server, progress=False, **asked).observations


@pytest.fixture(scope='module')
def june() -> pd.DataFrame:
    "The votes of the real server's size, as the original asked for them."
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
    named = np.where(rng.random(len(media)) < .85, truth[media], rng.choice(30, len(media)))
    ids, animal = np.array([f'{o:032x}' for o in rng.permutation(300_000)], object), named < 28
    return pd.DataFrame({'media_id': ids[media], **dict.fromkeys(PLACE_COLUMNS, 'somewhere'),
                         'observation_type': np.where(animal, 'animal', names[named]),
                         'scientific_name': np.where(animal, names[named], None), 'votes': 1,
                         'count': rng.integers(1, 4, len(media))})


def test_a_million_rows_in_five_seconds():
    rows, took = million_votes(), []
    for _ in range(2):  # the second time nothing is imported any more
        start = time.process_time()  # of all cores together: the machine may be busy with something else
        cleaned = clean(rows)
        took.append(time.process_time() - start)
    assert min(took) < 5, took
    assert len(cleaned.labels) > 150_000 and len(cleaned.dropped) + cleaned.funnel.rows.iloc[-1] == len(rows)


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


@pytest.fixture(scope='module')
def signed() -> Fetched:
    "A small practice server's votes, signed."
    with serve_sandbox(make_sandbox('small', width=320, height=240)) as server:
        return fetch_observations(server, reviewed=True, key='a secret of sixteen bytes', progress=False)


def accounted(cleaned: Cleaned, observations: pd.DataFrame, rules: Rules) -> None:
    "Check that no row is lost, and that the labels keep what the rules promise."
    assert cleaned.funnel.rows.iloc[0] == len(observations)
    assert len(cleaned.labels) == cleaned.funnel.photographs.iloc[-1]
    assert len(cleaned.dropped) + cleaned.funnel.rows.iloc[-1] == len(observations)
    dropped = cleaned.dropped.step.value_counts()
    assert {o.step: o.dropped_rows for o in cleaned.funnel.itertuples() if o.dropped_rows} == dropped.to_dict()
    assert cleaned.labels.media_id.is_unique and cleaned.labels.vote_share.between(0, 1).all()
    assert (cleaned.labels.votes >= rules.min_votes).all()
    assert cleaned.labels.label.value_counts().min() >= rules.min_photographs


@pytest.mark.parametrize('rules', [Rules(), Rules.three_votes(), Rules.june_2025(), Rules(method='majority')], ids=str)
def test_every_row_is_accounted_for(signed, rules):
    votes = signed.votes if rules.method == 'majority' else None
    accounted(clean(signed.observations, rules, votes), signed.observations, rules)
    accounted(clean(signed.observations, rules, signed.votes), signed.observations, rules)


def test_confidence_is_measured_on_photographs_with_many_votes(signed):
    assert clean(signed.observations).calibrated_on > 200


def test_second_votes_are_found(signed):
    twice = signed.votes.assign(label=read_labels(signed.votes)[0]).dropna(subset='label')
    assert twice.duplicated(['media_id', 'volunteer', 'label']).any()


def test_without_signatures_the_counts_are_used(signed):
    plain = clean(signed.observations).labels
    pd.testing.assert_frame_equal(clean(signed.observations, votes=signed.votes.head(0)).labels, plain)
    pd.testing.assert_frame_equal(clean(signed.observations, votes=signed.votes.assign(volunteer=None)).labels, plain)
    part = signed.votes[signed.votes.media_id < '8']  # signed votes for some photographs only
    assert clean(signed.observations, votes=part).labels.votes.sum() <= plain.votes.sum()
    elsewhere = signed.votes.assign(media_id='another photograph')
    pd.testing.assert_frame_equal(clean(signed.observations, votes=elsewhere).labels, plain)


def test_votes_without_volunteers_are_refused(signed):
    with pytest.raises(CamtrapsError, match='lacks volunteer'):
        clean(signed.observations, votes=signed.votes.drop(columns='volunteer'))


def test_reprs_are_short(signed):
    cleaned = clean(signed.observations)
    assert len(repr(cleaned)) < 120 and len(cleaned._repr_html_()) < 3000 and 'photographs in' in repr(cleaned)
    assert 'confidence' in Rules()._repr_html_() and 'confidence' not in Rules.three_votes()._repr_html_()
