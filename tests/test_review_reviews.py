"""Reviews are stored or refused, and become votes by every method."""
import sqlite3

import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE, CamtrapsError
from urbanrivers_camtraps.foundations.names import read_labels
from urbanrivers_camtraps.foundations.sandbox import make_sandbox, serve_sandbox
from urbanrivers_camtraps.review.reviews import CANNOT_TELL, Reviews, add_reviews, read_reviews
from urbanrivers_camtraps.votes.api import fetch_observations
from urbanrivers_camtraps.votes.cleaning import Rules, clean


@pytest.fixture(scope='module')
def fetched():
    "Observations and single votes of the practice server."
    with serve_sandbox(make_sandbox('small', width=320, height=240)) as server:
        return fetch_observations(server, reviewed=True, key='a secret for this test', progress=False)


def reviewed(labels: pd.Series, reviewer: str = 'Heron') -> pd.DataFrame:
    "Reviews that give these labels."
    return pd.DataFrame({'media_id': labels.index, 'label': labels.to_numpy(object), 'reviewer': reviewer, 'reviewed_at': pd.Timestamp('2025-06-30T12:00Z')})


# --- the file ---

def test_undoing_brings_the_first_thought_back(tmp_path):
    path, reviews = tmp_path/'reviews.sqlite', Reviews(tmp_path/'reviews.sqlite')
    for token, media_id, label, reviewer in (('1', 'm1', 'Branta canadensis', 'Heron'), ('2', 'm2', BLANK, 'Heron'), ('3', 'm2', 'Castor canadensis', 'Heron'),
                                             ('4', 'm2', CANNOT_TELL, 'Otter')): reviews.add(token, media_id, label, reviewer)
    assert reviews.undo('5', 'Heron', among={'m2'}) == 'm2'
    heron = read_reviews(path).query('reviewer == "Heron"')
    assert dict(zip(heron.media_id, heron.label)) == {'m1': 'Branta canadensis', 'm2': BLANK}
    assert [reviews.undo(f'more {o}', 'Heron') for o in range(3)] == ['m2', 'm1', None]
    assert read_reviews(path).reviewer.tolist() == ['Otter']
    with pytest.raises(CamtrapsError, match='was made for another review'): reviews.add('5', 'm2', BLANK, 'Heron')  # of a step back


def test_the_file_checks_itself(tmp_path):
    reviews = Reviews(tmp_path/'reviews.sqlite')
    unknown = "INSERT INTO reviews (token, media_id, reviewer, reviewed_at, undoes) VALUES ('x', 'm', 'r', '', 999)"
    with pytest.raises(sqlite3.IntegrityError, match='FOREIGN KEY'): reviews._db.execute(unknown)
    assert Reviews(tmp_path/'reviews.sqlite').secret == reviews.secret
    with pytest.raises(CamtrapsError, match='cannot be opened'): Reviews(tmp_path)


def test_no_review_yet(tmp_path):
    Reviews(tmp_path/'empty.sqlite').close()
    table = read_reviews(tmp_path/'empty.sqlite')
    assert (len(table), table.dtypes['reviewed_at'].kind, str(table.reviewed_at.dt.tz)) == (0, 'M', 'UTC')


# --- votes ---

def test_tables_keep_their_columns_and_types(fetched):
    observations, votes = fetched.observations, fetched.votes
    drawn = pd.Series(['Castor canadensis', BLANK, HUMAN], observations.media_id.unique()[:3])
    both = pd.concat([reviewed(drawn), reviewed(drawn, 'Otter')])
    once = add_reviews(observations, both, votes)
    for a, b in zip(once, add_reviews(once[0], both, once[1])): pd.testing.assert_frame_equal(a, b)  # added twice
    assert [list(observations) + ['source'], list(votes)] == [list(o) for o in once]
    assert observations.dtypes.to_dict() == once[0].dtypes[:-1].to_dict()
    assert set(once[0].source) == {'server', 'review'} and not any('Heron' in o.to_csv() for o in once)


@pytest.mark.parametrize('method', ['pooled', 'agreement', 'majority', 'dawid-skene'])
def test_the_label_is_the_reviewers_by_every_method(fetched, method):
    some = pd.Series(fetched.observations.media_id.unique()).sample(100, random_state=1)
    drawn = pd.Series([BLANK, HUMAN, VEHICLE, 'Castor canadensis', 'Grus americana']).sample(100, replace=True, random_state=2).set_axis(some)
    observations, votes = add_reviews(fetched.observations, reviewed(drawn), fetched.votes)
    labels = clean(observations, Rules(3, 1, method=method, min_confidence=0), votes).labels.set_index('media_id').label
    assert labels.reindex(drawn.index).tolist() == drawn.tolist()


def test_what_is_no_vote_changes_nothing(fetched, tmp_path):
    observations, votes = fetched.observations, fetched.votes
    nothing = pd.concat([reviewed(pd.Series({observations.media_id[0]: CANNOT_TELL})), reviewed(pd.Series({'not on the server': BLANK}))])
    same = add_reviews(observations, nothing, votes)
    pd.testing.assert_frame_equal(same[0].drop(columns='source'), observations)
    pd.testing.assert_frame_equal(same[1], votes)
    Reviews(tmp_path/'empty.sqlite').close()
    none = add_reviews(observations, read_reviews(tmp_path/'empty.sqlite'))
    pd.testing.assert_frame_equal(none[0].drop(columns='source'), observations)
    assert none[1] is None
    with pytest.raises(CamtrapsError, match='lacks votes'): add_reviews(observations.drop(columns='votes'), nothing)


def test_every_kind_of_label_comes_back_as_it_was(fetched):
    kinds = pd.Series([BLANK, HUMAN, VEHICLE, 'Aves'], fetched.observations.media_id.unique()[:4])
    rows = add_reviews(fetched.observations, reviewed(kinds))[0].query('source == "review"')
    assert read_labels(rows)[0].tolist() == kinds.tolist()
