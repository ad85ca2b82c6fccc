"""Tables on disk and back, and tables as spreadsheets save them."""
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import TableError
from urbanrivers_camtraps.foundations.tables import read_any_table, read_table, write_table


def test_lists_numbers_and_settings_survive(tmp_path):
    votes = pd.DataFrame({'media_id': ['a', 'b'], 'votes': [3, 1], 'scores': [[.1, .9], [.5, .5]]})
    back = read_table(write_table(votes, tmp_path/'votes.parquet', min_votes=3, species=['Castor canadensis']))
    assert back.votes.tolist() == [3, 1] and list(back.scores[0]) == [.1, .9]
    assert back.attrs == {'min_votes': 3, 'species': ['Castor canadensis']}


def test_a_broken_parquet_file(tmp_path):
    (tmp_path/'broken.parquet').write_text('PAR1 no more')
    with pytest.raises(TableError, match='not a readable Parquet'): read_table(tmp_path/'broken.parquet')


@pytest.mark.parametrize('text', ['name,note\nCastor canadensis,a\n', 'name;note\r\nCastor canadensis;a\r\n',
                                  'name\tnote\n Castor canadensis \ta\t\n\n', '\ufeffname, note\n"Castor canadensis", a\n,\n'])
def test_csv_as_spreadsheets_save_it(tmp_path, text):
    (tmp_path/'names.csv').write_bytes(text.encode())
    assert read_any_table(tmp_path/'names.csv').to_dict('list') == {'name': ['Castor canadensis'], 'note': ['a']}


@pytest.mark.parametrize('content, reason', [
    (b'', 'is empty'), (b'\n \n', 'is empty'), (b'name\nCaf\x81\xe9', 'is not text'), (b'a,a\n1,2', 'has two columns a'),
    (b'a\n\n1,2', 'line 3 has more cells'), (b'a\n1', 'lacks name')])
def test_csv_that_cannot_be_read(tmp_path, content, reason):
    (tmp_path/'names.csv').write_bytes(content)
    with pytest.raises(TableError, match=reason): read_any_table(tmp_path/'names.csv', ('name',))


def test_a_parquet_file_is_read_as_well(tmp_path):
    path = write_table(pd.DataFrame({'name': ['a'], 'count': [3]}), tmp_path/'names.parquet')
    assert read_any_table(path, ('name',))['count'].tolist() == [3]


def test_days_of_excel_are_days_whatever_their_format(tmp_path):
    "pandas writes each day of a column with an hour; one real hour in the column means that all are hours."
    days = pd.to_datetime(['2025-05-01', '2025-05-10'])
    pd.DataFrame({'start': days, 'end': [days[0], pd.Timestamp('2025-05-10 09:30')]}).to_excel(tmp_path/'x.xlsx', index=False)
    table = read_any_table(tmp_path/'x.xlsx')
    assert table.start.tolist() == ['2025-05-01', '2025-05-10']
    assert table.end.tolist() == ['2025-05-01 00:00:00', '2025-05-10 09:30:00']
