"""Tables go to Excel and to R, and come back from Excel; a Camtrap DP package has what the readers of camtrapdp and camtrapR take from it."""
import datetime as dt
import json
import re
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from typer.testing import CliRunner

from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.foundations.core import HUMAN, TableError, collect_notices
from urbanrivers_camtraps.foundations.outputs import OutputError
from urbanrivers_camtraps.survey.camtrap_dp.standard import TABLES, standard
from urbanrivers_camtraps.survey.camtrap_dp.validation import validate_camtrap_dp
from urbanrivers_camtraps.survey.camtrap_dp.writing import write_camtrap_dp
from urbanrivers_camtraps.survey.camtrapr import record_table
from urbanrivers_camtraps.survey.deployments import DeploymentsError, read_deployments
from urbanrivers_camtraps.survey.effort import camera_operation, read_outages
from urbanrivers_camtraps.survey.events import make_events, read_events
from urbanrivers_camtraps.survey.report import Survey

CHICAGO = 'America/Chicago'


def workbook(path: Path, *rows: list) -> Path:
    "Write rows as a person's workbook."
    book = openpyxl.Workbook()
    for row in rows: book.active.append(row)
    book.save(path)
    return path


@pytest.fixture
def books(tmp_path) -> dict[str, Path]:
    "Deployments, outages and events as somebody types them into Excel: cells of dates and times, ids that became numbers."
    return {
        'deployments': workbook(tmp_path/'deployments.xlsx', ['deployment_id', 'location', 'latitude', 'longitude', 'start', 'end'],
                                [101, 'Weir', 41.9, -87.6, dt.datetime(2025, 5, 1, 9, 30), dt.datetime(2025, 6, 1, 12)],
                                [102.0, 'Dam', 41.91, -87.61, dt.datetime(2025, 5, 1, 10), dt.datetime(2025, 6, 1, 17)],
                                ['7', 'Pond', 41.92, -87.62, '2025-05-02 08:00', '2025-06-01 09:00']),
        'outages': workbook(tmp_path/'outages.xlsx', ['deployment_id', 'start', 'end'],
                            [101.0, dt.datetime(2025, 5, 10), dt.datetime(2025, 5, 12)], ['102', dt.date(2025, 5, 20), dt.date(2025, 5, 20)]),
        'events': workbook(tmp_path/'events.xlsx', ['deployment_id', 'label', 'date', 'time', 'count'],
                           [101, 'Procyon lotor', dt.datetime(2025, 5, 3), dt.time(23, 15), 2], ['102', 'Castor canadensis', dt.date(2025, 5, 4), '04:05', 1],
                           [7, 'Castor canadensis', dt.date(2025, 5, 5), dt.time(6, 0), 1.0])}


def test_deployments_outages_and_events_come_from_excel(books):
    with collect_notices():
        deployments = read_deployments(books['deployments'], CHICAGO)
        outages = read_outages(books['outages'], deployments, CHICAGO)
        events = read_events(books['events'], deployments, CHICAGO)
    assert deployments.deployment_id.tolist() == ['101', '102', '7'] and events.deployment_id.tolist() == ['101', '102', '7']
    local = events.start.dt.tz_convert(CHICAGO).dt.strftime('%m-%d %H:%M').tolist()
    assert local == ['05-03 23:15', '05-04 04:05', '05-05 06:00'] and events['count'].tolist() == [2, 1, 1]
    assert (outages.end - outages.start).dt.days.tolist() == [3, 1]  # days count whole at both ends
    survey = Survey(events, deployments, outages, CHICAGO)
    days = survey.effort('deployment_id').set_index('deployment_id').camera_days.to_dict()
    # by hand: 31 days 2.5 hours less 3 days; 31 days 7 hours less 1; 30 days 1 hour
    assert days == pytest.approx({'101': 28 + 2.5/24, '102': 30 + 7/24, '7': 30 + 1/24}) and survey.skipped.empty


HEADS = {'deployments': ['deployment_id', 'location', 'latitude', 'longitude', 'start', 'end'], 'outages': ['deployment_id', 'start', 'end'],
         'events': ['deployment_id', 'label', 'start', 'end']}
ROWS = {'deployments': ['007', 'Weir', 41.9, -87.6, dt.datetime(2025, 5, 1, 9, 30), dt.datetime(2025, 6, 1, 12)],
        'outages': ['007', dt.datetime(2025, 5, 3, 8), dt.datetime(2025, 5, 4, 9, 30)],
        'events': ['007', 'Procyon lotor', dt.datetime(2025, 5, 3, 23, 15), dt.datetime(2025, 5, 3, 23, 20)]}


def read_book(kind: str, path: Path) -> pd.DataFrame:
    "Read a workbook of deployments, outages or events, with notices out of sight."
    hung = pd.DataFrame({'deployment_id': ['007', '008'], 'location': 'Weir', 'start': pd.Timestamp('2025-05-01', tz=CHICAGO),
                         'end': pd.Timestamp('2025-06-02', tz=CHICAGO)})
    if kind == 'deployments': return read_deployments(path, CHICAGO)
    return (read_outages if kind == 'outages' else read_events)(path, hung, CHICAGO)


@pytest.mark.parametrize('kind', HEADS)
@pytest.mark.parametrize('how', ['dates', 'text', 'epoch of 1904', 'empty rows'])
def test_dates_of_excel_are_the_same_however_they_are_stored(tmp_path, kind, how):
    book, row = openpyxl.Workbook(), ROWS[kind]
    if how == 'epoch of 1904': book.epoch = CALENDAR_MAC_1904
    cells = [str(o) if how == 'text' and isinstance(o, dt.datetime) else o for o in row]
    for line in (HEADS[kind], *([[None]*4] if how == 'empty rows' else []), cells, [None]*4): book.active.append(line)
    book.save(tmp_path/'t.xlsx')
    table = read_book(kind, tmp_path/'t.xlsx')
    expected = [o.strftime('%m-%d %H:%M') for o in row if isinstance(o, dt.datetime)]
    assert table[['start', 'end']].iloc[0].map(lambda o: o.tz_convert(CHICAGO).strftime('%m-%d %H:%M')).tolist() == expected
    assert table.deployment_id.tolist() == ['007']


@pytest.mark.parametrize('kind', HEADS)
def test_what_cannot_be_read_in_a_workbook_is_refused_in_words(tmp_path, kind):
    row = ROWS[kind]
    titled = workbook(tmp_path/'titled.xlsx', ['All of 2025', None, 'by us'], [], HEADS[kind], row)
    with pytest.raises(TableError, match='line 1 does not hold the names of the columns, but line 3 does'): read_book(kind, titled)
    numbers = workbook(tmp_path/'numbers.xlsx', HEADS[kind], [45780.5 if isinstance(o, dt.datetime) else o for o in row])
    with pytest.raises(TableError, match='line 2: start 45780.5 is a number, as Excel stores dates. Format it as a date'): read_book(kind, numbers)
    american = workbook(tmp_path/'american.xlsx', HEADS[kind], ['05/03/2025 09:30' if isinstance(o, dt.datetime) else o for o in row])
    with pytest.raises(TableError, match='may be 5 March or 3 May'): read_book(kind, american)
    broken = workbook(tmp_path/'broken.xlsx', HEADS[kind], ['#REF!', *row[1:]])
    with pytest.raises(TableError, match='cell A2 of Sheet holds #REF!, an error of Excel'): read_book(kind, broken)
    wide = workbook(tmp_path/'wide.xlsx', HEADS[kind], [*row, None, 'a remark'])
    with pytest.raises(TableError, match='line 2 has more cells than the first. Name each column in the first line'): read_book(kind, wide)


def test_cells_that_are_merged_over_rows_hold_for_each_of_them(tmp_path):
    book = openpyxl.Workbook()
    rest = ROWS['deployments'][2:]
    for row in (HEADS['deployments'], ROWS['deployments'], ['008', None, *rest], ['009', 'Dam', *rest]): book.active.append(row)
    book.active.merge_cells('B2:B3')
    book.active.merge_cells('C2:D2')  # side by side: the first column's value alone
    book.save(tmp_path/'t.xlsx')
    with collect_notices() as told: table = read_deployments(tmp_path/'t.xlsx', CHICAGO)
    assert table.location.tolist() == ['Weir', 'Weir', 'Dam'] and pd.isna(table.longitude[0])
    assert sum('cells are merged, such as at B2' in str(o) for o in told) == 1
    book.active.merge_cells('A2:A3')
    book.save(tmp_path/'t.xlsx')
    with collect_notices(), pytest.raises(DeploymentsError, match='line 3: deployment_id 007 stands twice'): read_deployments(tmp_path/'t.xlsx', CHICAGO)


def test_a_number_keeps_the_zeros_that_its_cell_shows(tmp_path):
    book = openpyxl.Workbook()
    for row in (HEADS['deployments'], [7, *ROWS['deployments'][1:]], [8, *ROWS['deployments'][1:]]): book.active.append(row)
    book.active['A2'].number_format = '000'
    book.save(tmp_path/'t.xlsx')
    assert read_deployments(tmp_path/'t.xlsx', CHICAGO).deployment_id.tolist() == ['007', '8']


def test_zeros_that_excel_drops_are_told(tmp_path):
    (tmp_path/'deployments.csv').write_text('deployment_id,location,latitude,longitude,start,end\n007,Weir,41.9,-87.6,2025-05-01,2025-06-01\n')
    deployments = read_deployments(tmp_path/'deployments.csv', CHICAGO)
    events = workbook(tmp_path/'events.xlsx', ['deployment_id', 'label', 'start'], [7, 'Procyon lotor', dt.datetime(2025, 5, 3, 23, 15)])
    with collect_notices() as told: read_events(events, deployments, CHICAGO)
    assert any('7 is not a deployment, but 007 is' in str(o) for o in told)
    outages = workbook(tmp_path/'outages.xlsx', ['deployment_id', 'start', 'end'], [7, dt.datetime(2025, 5, 3), dt.datetime(2025, 5, 4)])
    with collect_notices() as told, pytest.raises(TableError, match='no deployment has'): read_outages(outages, deployments, CHICAGO)
    assert any('007' in str(o) for o in told)


def test_all_tables_in_one_workbook(books, tmp_path):
    with collect_notices():
        deployments = read_deployments(books['deployments'], CHICAGO)
        events = read_events(books['events'], deployments, CHICAGO)
    events.loc[events.index[0], 'label'] = '=1+1'
    survey = Survey(events, deployments, None, CHICAGO)
    path = survey.to_workbook(tmp_path/'all.xlsx', notes=['Nobody has reviewed the labels.'])
    sheets = pd.read_excel(path, sheet_name=None, dtype=str)
    assert 'Nobody has reviewed the labels.' in set(sheets['read me'].holds) and sheets['events'].start[0] == '2025-05-03 23:15:00'
    assert sheets['detection histories'].query('seen == "1"').first_day.tolist() == ['2025-05-01', '2025-05-01', '2025-05-02']
    book = openpyxl.load_workbook(path)
    assert not [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == 'f']  # no formula
    other = workbook(tmp_path/'mine.xlsx', ['name', 'telephone'], ['a', 1])
    with pytest.raises(OutputError): survey.to_workbook(other)


def test_no_record_points_at_a_photograph_of_a_person():
    taken = pd.DataFrame({'media_id': ['a', 'b'], 'deployment_id': 'd1', 'label': [HUMAN, 'Procyon lotor'],
                          'timestamp': [pd.Timestamp('2025-05-02 12:00', tz='UTC')]*2})
    operation = camera_operation(pd.DataFrame({'deployment_id': ['d1'], 'start': ['2025-05-01'], 'end': ['2025-05-09']}), time_zone='UTC')
    assert record_table(make_events(taken), operation).set_index('Species').FileName.fillna('').to_dict() == {'Procyon lotor': 'b', HUMAN: ''}


@pytest.mark.parametrize('out', ['for_r', 'all.xlsx'])
def test_the_command_writes_a_folder_or_a_workbook(books, tmp_path, out):
    line = ['export-survey', str(tmp_path/out), '--events', books['events'], '--deployments', books['deployments'], '--outages', books['outages'],
            '--time-zone', CHICAGO, '--days', '10']
    found = CliRunner().invoke(app, [str(o) for o in line], prog_name='camtraps')
    assert found.exit_code == 0 and '3 events, occasions of 10 days' in found.output, found.output
    if out == 'all.xlsx': return
    history = pd.read_csv(tmp_path/out/'detection_history_Castor_canadensis.csv', index_col=0)
    assert history.sum(axis=1).to_dict() == {'Dam': 1, 'Pond': 1, 'Weir': 0} and history.shape[1] == 4
    (tmp_path/out/'thesis.R').write_text('# mine')
    again = CliRunner().invoke(app, [str(o) for o in line], prog_name='camtraps')
    assert again.exit_code != 0 and (tmp_path/out/'thesis.R').exists()


#: What R's readers take from a package. camtrapdp: https://github.com/inbo/camtrapdp, `read_camtrapdp.R`, `events.R`, `taxonomic.R`, `version.R`; it reads the
#: tables with https://github.com/frictionlessdata/frictionless-r, `read_resource.R`, which takes names and types from the schema, by position.
#: camtrapR: https://github.com/jniedballa/camtrapR, `readCamtrapDP.R`.
READERS = {
    'camtrapdp': {
        'observations': ('deploymentID', 'eventID', 'eventStart', 'eventEnd', 'observationLevel', 'scientificName'),
        'media': ('mediaID', 'deploymentID', 'timestamp'),
        'deployments': ('deploymentID', 'deploymentStart', 'deploymentEnd', 'latitude', 'longitude')},
    'camtrapR': {
        'deployments': ('deploymentID', 'locationID', 'locationName', 'cameraID', 'deploymentStart', 'deploymentEnd', 'latitude', 'longitude',
                        'deploymentTags'),
        'observations': ('deploymentID', 'mediaID', 'eventStart', 'observationType', 'scientificName', 'count', 'observationTags'),
        'media': ('mediaID', 'filePath')}}
#: How `read_resource.R` reads each type: what it does not match becomes NA, with a warning.
READ_AS = {'datetime': r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)', 'boolean': 'true|false', 'integer': r'-?\d+',
           'number': r'-?\d+(\.\d+)?([eE]-?\d+)?'}


@pytest.fixture
def package(tmp_path) -> Path:
    "A package of a few photographs in the summer of Chicago."
    taken = pd.DataFrame({'media_id': [f'm{o}' for o in range(5)], 'deployment_id': ['d1', 'd1', 'd1', 'd2', 'd2'], 'location_id': ['l1']*3 + ['l2']*2,
                          'location': ['Weir']*3 + ['Dam']*2, 'label': ['Castor canadensis', 'Castor canadensis', 'blank', 'Procyon lotor', 'bird'],
                          'timestamp': pd.Timestamp('2025-06-01 12:00', tz='UTC') + pd.to_timedelta([0, 10, 20, 60, 90], 'min'),
                          'url': [f'https://example.org/{o}.jpg' for o in range(5)]})
    places = pd.DataFrame({'deployment_id': ['d1', 'd2'], 'location_id': ['l1', 'l2'], 'location': ['Weir', 'Dam'], 'latitude': 41.9, 'longitude': -87.65,
                           'start': pd.Timestamp('2025-05-01', tz='UTC'), 'end': pd.Timestamp('2025-07-01', tz='UTC')})
    return write_camtrap_dp(tmp_path/'package', taken, places, make_events(taken), time_zone=CHICAGO)


def cells(package: Path) -> dict[str, pd.DataFrame]:
    "Read the tables as text."
    return {name: pd.read_csv(package/f'{name}.csv', dtype=str, keep_default_na=False) for name in TABLES}


def test_the_package_has_every_column_that_the_readers_take(package):
    tables = cells(package)
    for reader, needed in READERS.items():
        for name, columns in needed.items(): assert set(columns) <= set(tables[name]), (reader, name)
    about = json.loads((package/'datapackage.json').read_text())
    assert re.search(r'camtrap-dp/([0-9A-Za-z]|\.|-)+/', about['profile'])[0] == 'camtrap-dp/1.0.2/'  # version.R; 1.0, 1.0.1 and 1.0.2 are supported
    assert {o['name']: (o['profile'], o['path']) for o in about['resources']} == {o: ('tabular-data-resource', f'{o}.csv') for o in TABLES}


def test_columns_stand_at_their_place_and_hold_their_type(package):
    for name, table in cells(package).items():
        fields = standard()[name]['fields']
        assert list(table) == [o['name'] for o in fields], name  # read_resource.R does not look at the names in the file
        for field in fields:
            found = table[field['name']][table[field['name']] != '']  # `missingValues` is the empty cell
            if pattern := READ_AS.get(field['type']): assert found.str.fullmatch(pattern).all(), field['name']
            if allowed := field.get('constraints', {}).get('enum'): assert found.isin(list(map(str, allowed))).all(), field['name']


def test_camtrapdp_finds_the_event_of_each_photograph(package):
    tables = cells(package)
    events = tables['observations'].query("observationLevel == 'event'")[['deploymentID', 'eventID', 'eventStart', 'eventEnd']].drop_duplicates()
    assert (events != '').all(axis=None)
    joined = tables['media'].merge(events, on='deploymentID')
    time = {o: pd.to_datetime(joined[o], utc=True) for o in ('timestamp', 'eventStart', 'eventEnd')}
    found = joined[(time['timestamp'] >= time['eventStart']) & (time['timestamp'] <= time['eventEnd'])]
    assert found.groupby('mediaID').size().to_dict() == {'m0': 1, 'm1': 1, 'm3': 1, 'm4': 1}  # m2 is blank
    taxa = json.loads((package/'datapackage.json').read_text())['taxonomic']
    names = [o['scientificName'] for o in taxa]
    assert len(names) == len(set(names)) and set(tables['observations'].scientificName) - {''} <= set(names)


def test_camtrapr_finds_stations_species_and_times(package):
    tables = cells(package)
    assert tables['deployments'].locationID.tolist() == ['l1', 'l2']  # its `Station`
    taxa = json.loads((package/'datapackage.json').read_text())['taxonomic']
    assert all(o['vernacularNames']['eng'] for o in taxa)  # its species column is vernacularName_eng if there is one
    named = tables['observations']
    assert ((named.scientificName != '') | (named.observationType != 'animal')).all()  # others are called by their type
    assert pd.to_datetime(named.eventStart, utc=True).notna().all()


def test_a_package_without_any_animal_opens_in_r(tmp_path):
    "camtrapdp's `taxonomic.R` stops at an empty list (tried in R: `scientificName` not found in `.data`), so all animals stand for what was looked for."
    taken = pd.DataFrame({'media_id': ['m0'], 'deployment_id': 'd1', 'label': 'blank', 'timestamp': [pd.Timestamp('2025-06-01 12:00', tz='UTC')]})
    places = pd.DataFrame({'deployment_id': ['d1'], 'latitude': 41.9, 'longitude': -87.65, 'start': pd.Timestamp('2025-05-01', tz='UTC'),
                           'end': pd.Timestamp('2025-07-01', tz='UTC')})
    with collect_notices(): package = write_camtrap_dp(tmp_path/'p', taken, places, make_events(taken), time_zone=CHICAGO)
    assert json.loads((package/'datapackage.json').read_text())['taxonomic'] == [{'scientificName': 'Animalia', 'taxonRank': 'kingdom'}]
    assert validate_camtrap_dp(package).empty
