"""Splits: no group on two sides, each class in proportion, the test set stays, and what cannot be split is named."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.dataset.bursts import GROUP_COLUMNS
from urbanrivers_camtraps.dataset.splits import add_folds, content_hash, hard_to_split, split_counts, split_photographs
from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.foundations.holdout import split_hash


@pytest.fixture(scope='module')
def made() -> pd.DataFrame:
    "Four hundred photographs in bursts of four, at eight deployments."
    made = pd.DataFrame({'media_id': [f'm{o:03}' for o in range(400)], 'burst_id': [f'b{o//4:03}' for o in range(400)]})
    made['deployment_id'] = made.burst_id.map(lambda o: f'd{int(o[1:])%8}')
    made['location_id'] = made.deployment_id.map(lambda o: f'l{int(o[1:])//2}')
    drawn = np.random.default_rng(7).choice(['Branta canadensis', 'Anas platyrhynchos', 'blank'], 100, p=[.5, .3, .2])
    return made.assign(label=made.burst_id.map(dict(zip(made.burst_id.unique(), drawn))))


def test_each_class_in_proportion(made):
    counts = split_counts(split_photographs(made))
    assert ((counts.valid/(counts.train + counts.valid)) - .25).abs().max() < .08
    assert .1 < counts.test.sum()/len(made) < .3


def test_a_seed_decides(made):
    split = split_photographs(made)
    assert split_photographs(made, seed=1).split.ne(split.split).any()
    assert split_photographs(made).split.tolist() == split.split.tolist()


@pytest.mark.parametrize('by', ['image', 'burst', 'deployment', 'location'])
@pytest.mark.parametrize('seed', [1, 2, 3])
def test_no_group_on_two_sides(made, by, seed):
    split = split_photographs(made, by, seed=seed)
    assert split.groupby(GROUP_COLUMNS[by]).split.nunique().max() == 1
    assert add_folds(split, by, seed=seed).groupby(GROUP_COLUMNS[by]).fold.nunique().max() == 1


def test_by_date(made):
    hours = pd.to_datetime('2024-02-03', utc=True) + pd.to_timedelta(made.index//4*97, 'min')
    dated = split_photographs(made.assign(timestamp=hours), 'date')
    assert dated.groupby(hours.date).split.nunique().max() == 1


@pytest.mark.parametrize('shares', [(0, .2), (.2, 0), (.6, .2), (.2, .5)])
def test_shares_that_make_no_sense(made, shares):
    with pytest.raises(CamtrapsError, match='cannot set'): split_photographs(made, 'image', *shares)


def test_copies_of_a_file_stay_together(made):
    pairs = made.assign(sha256=made.index//2)
    assert split_photographs(pairs, 'image').groupby('sha256').split.nunique().max() == 1


def test_a_location_is_taken_from_the_deployment(made):
    nowhere = made.assign(location_id=made.location_id.where(made.index % 5 > 0))
    assert split_photographs(nowhere, 'location').split.tolist() == split_photographs(made, 'location').split.tolist()


def test_an_index_that_repeats_does_no_harm(made):
    twice = split_photographs(pd.concat([made.head(200), made.tail(200).reset_index(drop=True)]))
    assert twice.split.tolist() == split_photographs(made).split.tolist()


@pytest.mark.parametrize('change, by, complaint', [
    (lambda o: o, 'moon', 'image, burst, deployment, location'),
    (lambda o: o.drop(columns='burst_id'), 'burst', 'lacks burst_id'),
    (lambda o: o[o.deployment_id == 'd1'], 'deployment', r'all \(1 deployment\)')])
def test_what_cannot_be_split_is_named(made, change, by, complaint):
    with pytest.raises(CamtrapsError, match=complaint): split_photographs(change(made), by)


def test_the_test_set_stays_for_any_addition(made):
    for count in (120, 200, 320):
        early = split_photographs(made.head(count))
        late = split_photographs(made)
        assert (late.split.head(count) == 'test').tolist() == (early.split == 'test').tolist()


def test_folds_are_in_proportion_and_as_many_as_can_be(made):
    assert add_folds(made, 'deployment', 20).fold.nunique() == 8  # there are no more deployments
    with pytest.raises(CamtrapsError, match='1 deployment'): add_folds(made[made.deployment_id == 'd1'], 'deployment')
    folds = add_folds(made)
    shares = pd.crosstab(folds.label, folds.fold, normalize='index')
    assert shares.sub(.2).abs().max(axis=None) < .12


def test_what_to_do_with_rare_classes(made):
    few = pd.concat([made, made.tail(2).assign(label='Lontra canadensis', burst_id=['b998', 'b999'])], ignore_index=True)
    assert hard_to_split(few).what_to_do.tolist() == ['Judge it with care: add 3 more bursts']
    assert 'or split by burst' in hard_to_split(made.head(4), 'deployment').what_to_do[0]
    assert hard_to_split(made).empty


def test_hashes_of_content():
    table = pd.DataFrame({'sha256': ['a', 'b'], 'label': ['blank', 'Aves'], 'split': ['train', 'test']})
    assert content_hash(table) == 'f9dacb6da81059aa' and split_hash(table) == 'dfb27c935efe8b30'  # names of versions that are published
