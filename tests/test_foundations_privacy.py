"""Whatever says that a person may be in a photograph is enough."""
import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.privacy import mentions_people, names_people, scores_show_people, shows_people


@pytest.mark.parametrize('label', [
    'human', 'Human', ' HUMAN ', 'vehicle', 'Vehicle', 'person', 'People', 'Homo', 'homo_sapiens', 'Homo sapiens Linnaeus, 1758',
    'Procyon lotor, human', '990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human'])
def test_labels_of_people(label):
    assert names_people(label)


@pytest.mark.parametrize('label', ['Procyon lotor', BLANK, 'animal', '', None, float('nan'), 3, 'Pica hudsonia'])
def test_labels_of_others(label):
    assert not names_people(label)


@pytest.mark.parametrize('column', ['label', 'prediction', 'frame_prediction', 'speciesnet', 'also', 'observation_type', 'scientific_name',
                                    'category', 'label_before', 'true_label', 'second_label'])
def test_every_opinion_counts(column):
    table = pd.DataFrame({column: ['Procyon lotor', 'human', None, 'vehicle']}, index=[4, 4, 2, 0])
    assert shows_people(table).tolist() == [False, True, False, True] and shows_people(table).index.tolist() == [4, 4, 2, 0]


def test_a_vote_a_folder_and_a_burst_count():
    table = pd.DataFrame({'media_id': ['a', 'b', 'c', 'd', 'a'], 'path': ['x/blank/1.jpg', 'x/Homo_sapiens/2.jpg', None, 'x/4.jpg', 'x/5.jpg'],
                          'burst_id': ['one', 'two', 'two', None, None]})
    votes = pd.DataFrame({'media_id': ['a', 'd'], 'observation_type': ['human', 'animal'], 'scientific_name': [None, 'Castor canadensis']})
    assert shows_people(table).tolist() == [False, True, True, False, False]
    assert shows_people(table, votes).tolist() == [True, True, True, False, True]


def test_photographs_without_a_burst_are_not_siblings():
    table = pd.DataFrame({'label': [HUMAN, BLANK, BLANK], 'burst_id': [None, None, np.nan]})
    assert shows_people(table).tolist() == [True, False, False]


def test_a_tenth_of_the_score_is_enough():
    classes = ['Castor canadensis', HUMAN, VEHICLE]
    scores = [[.9, .05, .05], [.91, .05, .04], [.2, .5, .3]]
    assert [scores_show_people(o, classes) for o in scores] == [True, False, True]
    table = Predictions(pd.DataFrame({'scores': scores}), classes)
    assert shows_people(table).tolist() == [True, False, True]
    assert not shows_people(Predictions(table, ['a', 'b', 'c'])).any() and not shows_people(pd.DataFrame(table)).any()
    many = ['human', *map(str, range(99))]
    assert scores_show_people([.02, *[.98/99]*99], many)  # the best of a hundred


def test_boxes_from_a_twentieth_on():
    boxes = [[{'category': 'human', 'confidence': o}, {'category': 'animal', 'confidence': 1.}] for o in (.04, .05)]
    assert shows_people(pd.DataFrame({'boxes': [*boxes, None]})).tolist() == [False, True, False]


@pytest.mark.parametrize('text, people', [('A woman, running', True), ('Homo sapiens', True), ('my face', True), ('mink', False), ('', False)])
def test_what_visitors_type(text, people):
    assert mentions_people(text) == people


def test_tables_without_opinions_and_without_rows():
    assert shows_people(pd.DataFrame({'media_id': ['a']})).tolist() == [False]
    assert shows_people(pd.DataFrame({'media_id': [], 'label': [], 'path': [], 'burst_id': []})).tolist() == []
