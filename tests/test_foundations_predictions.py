"""Predictions keep their classes through whatever pandas does with them, and on disk."""
import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, TableError
from urbanrivers_camtraps.foundations.predictions import (
    DECISIONS,
    Predictions,
    blank_scores,
    classes_of,
    decide,
    read_predictions,
    score_matrix,
)
from urbanrivers_camtraps.foundations.tables import read_table, write_table

CLASSES = ('Castor canadensis', BLANK)


@pytest.fixture
def predictions():
    table = pd.DataFrame({'media_id': list('abcd'), 'prediction': [BLANK, *['Castor canadensis']*2, BLANK], 'score': [.9, .9, .6, .7],
                          'scores': [[.1, .9], [.9, .1], [.6, .4], [.3, .7]], 'fold': [0, 1, 0, 1]}, index=[3, 3, 1, 0])
    made = Predictions(table, CLASSES, pd.DataFrame({'id': ['x.jpg'], 'reason': ['is empty']}))
    made.attrs = {'evaluated_on': 'drawings'}
    return made


@pytest.mark.parametrize('change', [
    lambda o: o[o.score > .65], lambda o: o.loc[[1, 0]], lambda o: o.iloc[:0], lambda o: o.head(2), lambda o: o.query('fold == 0'),
    lambda o: o.assign(label=BLANK), lambda o: o.copy(), copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)),
    lambda o: o.sort_values('score'), lambda o: o.sample(frac=1, random_state=0), lambda o: o.reset_index(drop=True),
    lambda o: o.set_index('media_id'), lambda o: o.drop(columns='fold'), lambda o: o.rename(columns={'fold': 'part'}),
    lambda o: o.drop_duplicates('fold'), lambda o: o[['media_id', 'scores']], lambda o: pd.concat([o, o]),
    lambda o: pd.concat([o.reset_index(drop=True), pd.DataFrame({'seed': range(4)})], axis=1),
    lambda o: o.merge(pd.DataFrame({'media_id': list('abcd'), 'votes': 3}), on='media_id'), lambda o: Predictions(o),
    lambda o: next(iter(o.groupby('fold')))[1]])
def test_classes_stay(predictions, change):
    changed = change(predictions)
    assert isinstance(changed, Predictions) and changed.classes == CLASSES
    assert set(changed.skipped.id) <= {'x.jpg'} and score_matrix(changed)[1] == list(CLASSES)


def test_skipped_photographs_stay(predictions):
    assert predictions[predictions.fold == 0].skipped.values.tolist() == [['x.jpg', 'is empty']]
    assert Predictions(predictions).skipped.id.tolist() == Predictions(predictions, ['a', 'b']).skipped.id.tolist() == ['x.jpg']
    assert pd.concat([predictions, predictions]).skipped.id.tolist() == ['x.jpg', 'x.jpg']


def test_what_holds_no_predictions_is_an_ordinary_table(predictions):
    assert type(predictions[['media_id', 'fold']]) is pd.DataFrame
    assert type(predictions.groupby('fold')[['score']].mean()) is pd.DataFrame
    assert classes_of(predictions[['media_id']]) == () == classes_of(pd.DataFrame({'scores': [[1.]]}))


def test_classes_are_not_mixed(predictions):
    other = Predictions(predictions, ('Ondatra zibethicus', BLANK))
    with pytest.raises(TableError, match='different classes'): pd.concat([predictions, other])


def test_a_table_needs_classes():
    with pytest.raises(TableError, match='does not name the classes'): Predictions(pd.DataFrame({'scores': [[1.]]}))


def test_to_disk_and_back(predictions, tmp_path):
    path = write_table(predictions, tmp_path/'predictions.parquet', **predictions.attrs, split='test')
    again = read_predictions(path, ('media_id', 'scores'))
    assert again.classes == CLASSES and again.skipped.values.tolist() == [['x.jpg', 'is empty']]
    assert again.attrs == {'evaluated_on': 'drawings', 'split': 'test'}
    assert np.allclose(score_matrix(again)[0], score_matrix(predictions)[0])
    assert read_table(path).attrs['classes'] == list(CLASSES)


def test_a_file_without_classes_is_refused(tmp_path):
    path = write_table(pd.DataFrame({'scores': [[1.]]}), tmp_path/'plain.parquet')
    with pytest.raises(TableError, match='does not name the classes'): read_predictions(path)


def test_scores_that_cannot_be_used(predictions):
    with pytest.raises(TableError, match='do not go with the classes'): score_matrix(Predictions(predictions, ['a', 'b', 'c']))
    with pytest.raises(TableError, match='no class blank'): blank_scores(Predictions(predictions, ['a', 'b']))
    with pytest.raises(TableError, match='between 0 and 1'): blank_scores(predictions.assign(scores=[[-1., 2.]]*4))
    assert score_matrix(predictions.iloc[:0])[0].shape == (0, 2)


def test_decisions(predictions):
    assert decide(predictions, .8, .9).tolist() == [BLANK, 'accept', 'review', 'review']
    assert decide(predictions, .4, .5).tolist() == [BLANK, 'accept', BLANK, BLANK]
    assert decide(predictions, None, None).tolist() == [DECISIONS[2]]*4
    assert decide(predictions.drop(columns='scores'), None, .5).index.tolist() == [3, 3, 1, 0]


def test_how_it_looks(predictions):
    page = Predictions(predictions, ['<b>', BLANK], predictions.skipped[:0])._repr_html_()
    assert '4 photographs, 2 classes (&lt;b&gt;, blank), 0 skipped' in page
    many = Predictions(pd.concat([predictions]*30), [f'class {o}' for o in range(20)])._repr_html_()
    assert '120 photographs, 20 classes' in many and many.count('<tr') < 10 and 'class 9' not in many
