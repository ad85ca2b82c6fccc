"""The test set stays closed, whatever the table looks like."""
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.holdout import (
    HoldoutError,
    refuse_test_photographs,
    refuse_training_photographs,
    split_hash,
    without_test_photographs,
)


@pytest.mark.parametrize('split', [['test', None], pd.Categorical(['test', 'valid']), pd.array(['test', pd.NA], dtype='string')])
def test_one_photograph_is_enough(split):
    table = pd.DataFrame({'media_id': ['a', 'b'], 'split': split}, index=[7, 7])
    with pytest.raises(HoldoutError, match='holds 1 photographs of the held-out test set'): refuse_test_photographs(table)
    assert without_test_photographs(table).media_id.tolist() == ['b']
    assert refuse_test_photographs(table, final=True) is table


def test_a_table_without_a_split_passes():
    table = pd.DataFrame({'media_id': ['a']})
    assert refuse_test_photographs(table) is table and refuse_training_photographs(table) is table


@pytest.mark.parametrize('columns, inside', [({'media_id': ['a', 'z']}, 1), ({'media_id': ['y', 'z'], 'burst_id': ['one', None]}, 1),
                                             ({'media_id': ['y', 'z'], 'burst_id': [None, 'two']}, 0)])
def test_the_data_set_tells(columns, inside):
    dataset = pd.DataFrame({'media_id': ['a', 'b', 'c'], 'burst_id': ['one', 'two', None], 'split': ['test', 'train', 'test']})
    table = pd.DataFrame(columns)
    if not inside: assert refuse_test_photographs(table, dataset=dataset) is table
    else:
        with pytest.raises(HoldoutError, match=f'holds {inside} '): refuse_test_photographs(table, dataset=dataset)


@pytest.mark.parametrize('fold, trained', [(None, 2), ([0, None], 1), ([0, 1], 0)])
def test_training_photographs_pass_out_of_fold_only(fold, trained):
    table = pd.DataFrame({'split': ['train', 'train', 'valid'][:2]})
    if fold: table['fold'] = fold
    if not trained: assert refuse_training_photographs(table) is table
    else:
        with pytest.raises(HoldoutError, match=f'trained on {trained} of'): refuse_training_photographs(table)


def test_the_name_of_a_split_never_changes():
    table = pd.DataFrame({'label': ['a', 'b'], 'sha256': ['1', '2'], 'split': ['train', 'test']})
    assert split_hash(table) == split_hash(table[::-1]) == 'cf80d2eaed8b7f5c'
    assert split_hash(table) != split_hash(table.assign(split='train'))
