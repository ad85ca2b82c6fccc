"""Surveys in the clocks of Colorado, which change twice a year, and of Borneo, far from Chicago and never changed, from a season or a table to the page."""
from pathlib import Path

import pandas as pd
import pytest

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.tables import write_table

#: What a camera in Colorado took, by its clock: before and after the hour that spring leaves out, and around the one that autumn has twice.
COLORADO = {'spring/1.jpg': '2025-03-09 01:50', 'spring/2.jpg': '2025-03-09 03:05', 'spring/3.jpg': '2025-03-10 12:00',
            'autumn/1.jpg': '2025-11-02 00:50', 'autumn/2.jpg': '2025-11-02 02:10', 'autumn/3.jpg': '2025-11-03 23:59'}
COLORADO_PLACES = """deployment_id,location,latitude,longitude,start,end,folder
spring,Boulder Creek,40.015,-105.28,2025-03-07 12:00,2025-03-11 12:00,spring
autumn,Boulder Creek,40.015,-105.28,2025-10-31 12:00,2025-11-04 12:00,autumn
"""
#: The last of May and the first of June by the clocks of Sabah; all of them are in May by UTC.
BORNEO = {'danum/1.jpg': '2025-05-31 23:50', 'danum/2.jpg': '2025-06-01 00:05', 'danum/3.jpg': '2025-06-01 07:30', 'maliau/1.jpg': '2025-06-01 00:10'}
BORNEO_PLACES = """deployment_id,location,latitude,longitude,start,end,folder
danum,Danum,4.96,117.80,2025-05-30 00:00,2025-06-03 00:00,danum
maliau,Maliau,4.74,116.97,2025-05-30 00:00,2025-06-03 00:00,maliau
"""


def called(*arguments) -> int:
    "Run a command in this process; return its exit status."
    return run([str(o) for o in arguments])


def season_of(folder: Path, taken: dict[str, str], places: str, species: str) -> list:
    "Write a season with one animal a photograph and a table of its cameras, without any time zone; return what names them."
    table = pd.DataFrame({'path': list(taken), 'clock': pd.to_datetime(list(taken.values())), 'reason': None, 'prediction': species, 'score': .9,
                          'scores': [[.9, .1]]*len(taken), 'decision': 'accept'})
    write_table(table, folder/'season.parquet', classes=[species, 'blank'])
    (folder/'deployments.csv').write_text(places)
    return ['--season', folder/'season.parquet', '--deployments', folder/'deployments.csv']


def table_of(path: Path, *keys: str) -> dict:
    "Return the number of events by some columns of a table of rates, where there are any."
    table = pd.read_csv(path)
    return table[(table.label == 'wildlife') & (table.events > 0)].groupby(list(keys)).events.sum().to_dict()


def test_colorado_has_an_hour_less_in_spring_and_one_more_in_autumn(tmp_path, capsys):
    told = season_of(tmp_path, COLORADO, COLORADO_PLACES, 'Puma concolor')
    assert called('survey', *told, '--out', tmp_path/'survey.html') == 0
    # 01:50 and 03:05 of 9 March are 15 minutes apart; 00:50 and 02:10 of 2 November are 2 hours and 20 minutes apart
    assert table_of(tmp_path/'survey_rates.csv', 'month') == {'2025-03': 2, '2025-11': 3}
    watched = pd.read_csv(tmp_path/'survey_rates.csv').query('label == "wildlife"').groupby('month').camera_days.sum()
    assert watched['2025-03'] == pytest.approx(4 - 1/24, abs=1e-6)
    assert watched['2025-10'] + watched['2025-11'] == pytest.approx(4 + 1/24, abs=1e-6)
    assert 'America/Denver' in (tmp_path/'survey.html').read_text(encoding='utf-8')
    assert called('export-survey', tmp_path/'r', *told, '--days', 1) == 0
    records = pd.read_csv(tmp_path/'r'/'record_table.csv')
    clock = [COLORADO[o] + ':00' for o in ('spring/1.jpg', 'spring/3.jpg', 'autumn/1.jpg', 'autumn/2.jpg', 'autumn/3.jpg')]
    assert records.DateTimeOriginal.tolist() == clock
    assert records['delta.time.secs'].tolist()[3] == 2*3600 + 20*60
    operation = pd.read_csv(tmp_path/'r'/'camera_operation.csv', index_col=0).loc['Boulder Creek'].dropna()
    assert operation[['2025-03-07', '2025-03-09', '2025-11-02', '2025-11-04']].tolist() == [.5, 1, 1, .5]


def test_borneo_counts_by_its_own_days_and_months(tmp_path, capsys):
    told = season_of(tmp_path, BORNEO, BORNEO_PLACES, 'Helarctos malayanus')
    assert called('survey', *told, '--out', tmp_path/'survey.html') == 0
    # 23:50 and 00:05 are one visit, which began in May; 07:30 is in June, though still May in Greenwich
    assert table_of(tmp_path/'survey_rates.csv', 'location_id', 'month') == {('Danum', '2025-05'): 1, ('Danum', '2025-06'): 1, ('Maliau', '2025-06'): 1}
    assert 'Asia/Kuching' in (tmp_path/'survey.html').read_text(encoding='utf-8')
    assert called('export-survey', tmp_path/'r', *told, '--days', 1) == 0
    history = pd.read_csv(tmp_path/'r'/'detection_history_Helarctos_malayanus.csv', index_col=0)
    assert history.loc['Danum'].tolist() == [0, 1, 1, 0] and history.loc['Maliau'].tolist() == [0, 0, 1, 0]  # from 30 May to 2 June
    assert 'timeZone = "Asia/Kuching"' in (tmp_path/'r'/'read.R').read_text()


def test_a_table_of_events_is_read_by_the_clock_of_its_coordinates(tmp_path, capsys):
    (tmp_path/'deployments.csv').write_text(BORNEO_PLACES)
    rows = ['Station,Species,DateTimeOriginal', 'Danum,Helarctos malayanus,2025-06-01 00:05:00', 'Maliau,Helarctos malayanus,2025-05-31 23:59:00']
    (tmp_path/'events.csv').write_text('\n'.join(rows))
    told = ['--events', tmp_path/'events.csv', '--deployments', tmp_path/'deployments.csv']
    assert called('survey', *told, '--out', tmp_path/'s.html') == 0
    assert table_of(tmp_path/'s_rates.csv', 'location_id', 'month') == {('Danum', '2025-06'): 1, ('Maliau', '2025-05'): 1}
