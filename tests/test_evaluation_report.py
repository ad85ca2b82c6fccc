"""The page takes what the table has."""

from test_evaluation_metrics import judged
from urbanrivers_camtraps.evaluation.calibration import calibration_section
from urbanrivers_camtraps.evaluation.report import write_report
from urbanrivers_camtraps.foundations.core import BLANK


def test_a_report_takes_what_the_table_has(tmp_path, photograph):
    table = judged(20, 2, seed=0).assign(path=str(photograph), score=.8)
    pages = {}
    tables = {'all': table, 'no bursts': table.drop(columns='burst_id'), 'no blanks': table[table.label != BLANK],
              'one burst': table.assign(burst_id=1)}
    for name, given in tables.items():
        write_report(given, tmp_path/'report.html', table.label, 'drawn photographs', [calibration_section(given, 'drawn photographs')])
        pages[name] = (tmp_path/'report.html').read_text()
    assert {name for name, page in pages.items() if '95\u00a0% intervals' in page} == {'all', 'no blanks'}
    assert {name for name, page in pages.items() if 'on the river' in page} == {'all', 'no bursts', 'one burst'}
    assert all('Are the scores true' in page and 'nan' not in page.split('<body')[1].split('<svg')[0] for page in pages.values())
