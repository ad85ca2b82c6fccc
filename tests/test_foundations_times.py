"""One rule for times and dates in all tables; camtrapR's sample gives the camera-days that are counted by hand."""
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import CamtrapsError, TableError, collect_notices
from urbanrivers_camtraps.foundations.tables import read_any_table
from urbanrivers_camtraps.foundations.times import read_moments, read_periods, time_zone_at
from urbanrivers_camtraps.survey.deployments import (
    coordinate_problems,
    fill_ends,
    implausible_times,
    local_time_zone,
    make_deployments,
    read_deployments,
)
from urbanrivers_camtraps.survey.effort import camera_days, camera_operation, read_outages
from urbanrivers_camtraps.survey.events import read_events

#: The data set `camtraps` of camtrapR.
STATIONS = """Station,utm_y,utm_x,Setup_date,Retrieval_date,Problem1_from,Problem1_to
StationA,604000,526000,02/04/2009,14/05/2009,,
StationB,606000,523000,03/04/2009,16/05/2009,,
StationC,607050,525000,04/04/2009,17/05/2009,12/05/2009,17/05/2009
"""
SABAH = 'Asia/Kuching'


def written(tmp_path, text: str, name: str = 'table.csv'):
    "Write a table, and return its path."
    (tmp_path/name).write_text(text, encoding='utf-8')
    return tmp_path/name


def days_of(path, **options) -> dict:
    "Return the camera-days of each deployment."
    zone = options.pop('time_zone', SABAH)
    table = read_deployments(path, zone, **options)
    return camera_days(camera_operation(table, time_zone=zone), by='deployment_id').set_index('deployment_id').camera_days.round(6).to_dict()


def test_the_sample_of_camtrapr_gives_its_camera_days(tmp_path):
    "2 April to 14 May are 29 + 14 days; 3 April to 16 May 28 + 16; 4 April to 17 May 27 + 17, less 12 to 17 May."
    path = written(tmp_path, STATIONS)
    with pytest.raises(TableError, match='line 2: start 02/04/2009 may be 2 April or 4 February. Add --dates day-first'): read_deployments(path, SABAH)
    assert days_of(path, dates='day-first') == {'StationA': 43, 'StationB': 44, 'StationC': 44 - 6}
    with collect_notices() as notices: read_deployments(path, SABAH, 'day-first')
    assert any('2 columns are not used: utm_y, utm_x' in o for o in notices)


def test_several_cameras_and_seasons_of_a_station_are_deployments_of_their_own(tmp_path):
    rows = ('Station,camera,session,Setup_date,Retrieval_date,Problem1_from,Problem1_to,Problem2_from,Problem2_to\n'
            'A,1,1,2009-04-01,2009-04-10,2009-04-02,2009-04-02,2009-04-04,2009-04-05\nA,2,1,2009-04-01,2009-04-10,,,,\nA,1,2,2010-04-01,2010-04-10,,,,\n')
    assert days_of(written(tmp_path, rows)) == {'A__SESS_1__CAM_1': 7, 'A__SESS_1__CAM_2': 10, 'A__SESS_2__CAM_1': 10}


@pytest.mark.parametrize('head', [
    'deployment_id,placename,latitude,longitude,start_date,end_date', 'deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd',
    'Deployment ID,Station,Lat,Lon,Setup_date,Retrieval_date', 'deployment id,site,LATITUDE (deg),long,From,To',
    'DEPLOYMENT_ID,location,lat,lng,date_start,until'])
@pytest.mark.parametrize('divider', [',', ';', '\t', '|'])
def test_columns_by_any_name_give_the_same_effort(tmp_path, head, divider):
    "The first ten days and the next fifteen overlap by five: 20 days at one place."
    text = f'{head}\nd1,P,41.9,-87.6,2025-05-01,2025-05-10\nd2,P,41.9,-87.6,2025-05-06,2025-05-20\n'.replace(',', divider)
    table = read_deployments(written(tmp_path, text), 'America/Chicago')
    operation = camera_operation(table, time_zone='America/Chicago')
    assert camera_days(operation, by=()).camera_days.tolist() == pytest.approx([20]) and table.latitude.tolist() == [41.9, 41.9]


def test_days_and_hours_in_two_columns_are_joined(tmp_path):
    path = written(tmp_path, 'deployment_id,start_date,start_time,end_date,end_time\na,2025-05-01,12:00,2025-05-03,06:30\nb,2025-05-01,,2025-05-01,\n')
    assert days_of(path, time_zone='UTC') == {'a': pytest.approx(1.770833), 'b': 1}


@pytest.mark.parametrize('text, why', [
    ('deployment_id,from,Setup_date\na,2025-01-01,2025-01-01', 'from and Setup_date both mean start'),
    ('deployment_id,start,end\na,2025-05-03,2025-05-03\nb,2025-05-03,2025-05-02', 'line 3: ends before it starts'),
    ('deployment_id,Problem1_from,Problem1_to\na,2025-05-03,2025-05-01', 'line 2: ends before it starts'),
    ('deployment_id,start\na,2025-13-01', 'line 2: start 2025-13-01 is not a day of the calendar'),
    ('deployment_id,start\n', 'has no rows below its first line'), ('deployment_id\n"a', 'line 2 cannot be read'),
    ('deployment_id,start\na,3025-01-01', 'has the year 3025')])
def test_what_cannot_be_right_is_named_with_its_line(tmp_path, text, why):
    with pytest.raises(CamtrapsError) as error: read_deployments(written(tmp_path, text), 'UTC')
    assert why in str(error.value)


@pytest.mark.parametrize('start, end, days', [('2025-05-03', '2025-05-03', 1), ('2025-05-03', '2025-05-04', 2), ('2025-05-03 12:00', '2025-05-03', .5),
                                              ('2025-05-03 12:00', '2025-05-04 00:00', .5)])
def test_a_day_counts_whole_at_both_ends_of_an_outage(tmp_path, start, end, days):
    table = read_deployments(written(tmp_path, 'deployment_id,location,start,end\na,Weir,2025-05-01,2025-05-10\n'), 'UTC')
    for text in (f'deployment_id,start,end\na,{start},{end}\n', f'Station;Problem1_from;Problem1_to\nWeir;{start};{end}\n'):
        outages = read_outages(written(tmp_path, text, 'outages.csv'), table, 'UTC')
        assert camera_days(camera_operation(table, outages, time_zone='UTC'), by=()).camera_days.tolist() == pytest.approx([10 - days])
    raw = pd.DataFrame({'deployment_id': ['a'], 'start': [start], 'end': [end]})
    assert camera_days(camera_operation(table, raw, time_zone='UTC'), by=()).camera_days.tolist() == pytest.approx([10 - days])


def test_dates_of_excel_and_of_pandas_count_as_days():
    days = pd.DataFrame({'start': pd.to_datetime(['2025-05-03']), 'end': pd.to_datetime(['2025-05-03'])})
    assert (lambda o: (o.end - o.start)[0])(read_periods(days, 'x', 'UTC')) == pd.Timedelta('24h')
    hours = pd.DataFrame({'start': pd.to_datetime(['2025-05-03 00:00', '2025-05-03 07:00']), 'end': pd.to_datetime(['2025-05-04 00:00', '2025-05-04 08:00'])})
    assert (lambda o: (o.end - o.start).tolist())(read_periods(hours, 'x', 'UTC')) == [pd.Timedelta('24h'), pd.Timedelta('25h')]


@pytest.mark.parametrize('text, utc', [
    ('2025-06-01T23:30:00Z', '2025-06-01 23:30'), ('2025-06-01T23:30:00+02:00', '2025-06-01 21:30'), ('2025-06-01 23:30 UTC', '2025-06-01 23:30'),
    ('2025-06-01 23:30:00.250', '2025-06-02 04:30:00.25'), ('2025/06/01 11:30 PM', '2025-06-02 04:30'), ('2025:06:01 23:30:00', '2025-06-02 04:30'),
    ('1 June 2025 23:30', '2025-06-02 04:30'), ('Jun 1, 2025 23:30', '2025-06-02 04:30'), ('20250601', '2025-06-01 05:00'),
    ('2025-06-01 12:30 AM', '2025-06-01 05:30')])
def test_moments_as_people_and_programs_write_them(text, utc):
    assert read_moments(pd.Series([text]), 'x', 'America/Chicago')[0] == pd.Timestamp(utc, tz='UTC')


def test_events_are_by_the_local_clock_whatever_the_columns_are_called(tmp_path):
    table = read_deployments(written(tmp_path, 'deployment_id,location,latitude,longitude,start,end\ncam1,Weir,41.9,-87.6,2025-06-01,2025-06-30\n'))
    for text in ('event_id,deployment_id,label,start\ne1,cam1,Procyon lotor,2025-06-01 23:30:00\n',
                 'Station,Species,DateTimeOriginal,Date,Time\nWeir,Procyon lotor,2025-06-01 23:30:00,2025-06-01,23:30:00\n',
                 'Station,Species,Date,Time\nWeir,Procyon lotor,2025-06-01,23:30:00\n',
                 'deployment_id,genus,species,timestamp\ncam1,Procyon,lotor,2025-06-02T04:30:00Z\n'):
        event = read_events(written(tmp_path, text, 'events.csv'), table, 'America/Chicago').iloc[0]
        assert (event.deployment_id, event.label, event.start) == ('cam1', 'Procyon lotor', pd.Timestamp('2025-06-02 04:30', tz='UTC'))


# --- time zones and coordinates ---

def test_the_time_zone_is_asked_for_or_derived_and_said():
    table = pd.DataFrame({'latitude': [41.9, 41.8], 'longitude': [-87.6, -87.7]})
    with collect_notices() as notices: assert local_time_zone(table) == 'America/Chicago'
    assert 'America/Chicago, by the coordinates' in notices[0]
    assert local_time_zone(table, 'UTC-6') == 'UTC-06:00'
    with pytest.raises(TableError, match='several time zones: America/Chicago, Asia/Kuching'):
        local_time_zone(pd.DataFrame({'latitude': [41.9, 5], 'longitude': [-87.6, 117]}))
    with pytest.raises(TableError, match='Add --time-zone'): local_time_zone(pd.DataFrame({'latitude': [None], 'longitude': [None]}))
    assert time_zone_at(95, 0) is None


@pytest.mark.parametrize('place, zone, why', [
    ((41.9, 87.65), 'America/Chicago', 'is the sign of the longitude missing?'), ((-87.65, 41.9), 'America/Chicago', 'exchanged'), ((0, 0), 'UTC', '0, 0'),
    ((5.0, 117.0), 'America/Chicago', 'far from the time zone'), ((41.9, -87.65), 'America/Chicago', None), ((29.65, 91.1), 'Asia/Shanghai', None)])
def test_coordinates_that_do_not_fit_the_time_zone(place, zone, why):
    table = pd.DataFrame({'deployment_id': ['a'], 'latitude': place[:1], 'longitude': place[1:], 'time_zone': zone})
    found = coordinate_problems(table)
    assert found.empty if why is None else why in found.reason[0]


# --- times that cannot be right ---

def test_a_clock_that_fell_back_does_not_stretch_its_deployment():
    "40 photographs, one every eleven hours: 39 · 11/24 = 17.875 days; the three of 2015 are set aside and said."
    times = [*pd.date_range('2025-06-01 08:00', periods=40, freq='11h', tz='UTC'), *pd.date_range('2015-01-01', periods=3, freq='1h', tz='UTC')]
    photographs = pd.DataFrame({'media_id': range(43), 'deployment_id': 'cam1', 'timestamp': times})
    table = pd.DataFrame({'deployment_id': ['cam1'], 'start': pd.Series([pd.NaT], dtype='datetime64[us, UTC]'),
                          'end': pd.Series([pd.NaT], dtype='datetime64[us, UTC]'), 'from_photographs': False})
    with collect_notices() as notices: filled = fill_ends(table, photographs)
    assert (filled.end - filled.start)[0] == pd.Timedelta(days=17.875) and '3 photographs of cam1' in notices[0]
    operation = camera_operation(table, photographs=photographs, time_zone='UTC')
    assert camera_days(operation, by=()).camera_days.tolist() == pytest.approx([17.875])
    assert (lambda o: (o.end - o.start)[0])(make_deployments(photographs)) == pd.Timedelta(days=17.875)
    assert implausible_times(photographs).id.tolist() == [40, 41, 42]


# --- Excel and encodings ---

def test_encodings_and_compression(tmp_path):
    import gzip
    text = 'deployment_id,location\n007,"Café, north"\n'
    kinds = {'utf8.csv': text.encode(), 'bom.csv': text.encode('utf-8-sig'), 'utf16.csv': text.encode('utf-16'), 'le.csv': text.encode('utf-16-le'),
             'cp1252.csv': text.encode('cp1252'), 'packed.csv.gz': gzip.compress(text.encode()), 'sep.csv': ('sep=;\n' + text.replace(',', ';', 1).replace(
                 '007,', '007;')).encode(), 'mac.csv': text.replace('\n', '\r').encode()}
    for name, content in kinds.items():
        (tmp_path/name).write_bytes(content)
        with collect_notices() as notices: table = read_any_table(tmp_path/name)
        assert table.values.tolist() == [['007', 'Café, north']], name
        assert len(notices) == (name == 'cp1252.csv')


def test_a_cell_with_line_breaks_does_not_shift_the_numbers_of_lines(tmp_path):
    table = read_any_table(written(tmp_path, 'deployment_id,notes\na,"one\ntwo"\nb,\n'))
    assert table.notes[2] == 'one\ntwo' and table.index.tolist() == [2, 4]


def test_excel(tmp_path):
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = 'Cameras'
    for row in (['deployment_id', 'start', 'end', 'latitude'],
                ['007', pd.Timestamp('2025-06-01 09:30').to_pydatetime(), pd.Timestamp('2025-06-30').date(), 41.5],
                [8, None, None, 41]): sheet.append(row)
    book.save(tmp_path/'one.xlsx')
    table = read_deployments(tmp_path/'one.xlsx', 'UTC')
    assert table.deployment_id.tolist() == ['007', '8'] and table.latitude.tolist() == [41.5, 41]
    assert (table.start[0], table.end[0]) == (pd.Timestamp('2025-06-01 09:30Z'), pd.Timestamp('2025-07-01 00:00Z'))
    book.create_sheet('More').append(['deployment_id'])
    book['More'].append(['9'])
    book.save(tmp_path/'two.xlsx')
    with pytest.raises(TableError, match='has several sheets: Cameras, More'): read_any_table(tmp_path/'two.xlsx', ('deployment_id',))
    assert read_any_table(f"{tmp_path/'two.xlsx'}:More").deployment_id.tolist() == ['9']
    sheet['D2'] = '=40+1.5'
    del book['More']
    book.save(tmp_path/'formula.xlsx')
    with pytest.raises(TableError, match='cell D2 of Cameras holds a formula without a result'): read_any_table(tmp_path/'formula.xlsx')
    (tmp_path/'broken.xlsx').write_bytes((tmp_path/'one.xlsx').read_bytes()[:-900])
    with pytest.raises(TableError, match='not a readable Excel file'): read_any_table(tmp_path/'broken.xlsx')
    (tmp_path/'old.xls').write_bytes(b'\xd0\xcf\x11\xe0' + bytes(99))
    with pytest.raises(TableError, match='Excel file of the old kind'): read_any_table(tmp_path/'old.xls')


# ---- ends at midnight

@pytest.mark.parametrize('cells, expected, said', [
    (['2025-06-29', '2025-06-30T00:00:00'], ['2025-06-30 00:00', '2025-07-01 00:00'], '1 times at midnight are read as whole days'),
    (['2025-06-29 00:00:00', '2025-06-30'], ['2025-06-30 00:00', '2025-07-01 00:00'], '1 times at midnight are read as whole days'),
    (['2025-06-29 00:00', '2025-06-30 00:00'], ['2025-06-29 00:00', '2025-06-30 00:00'], '2 times at midnight are read as that moment'),
    (['2025-06-29', '2025-06-30 00:00', '2025-06-30 09:30'], ['2025-06-30 00:00', '2025-06-30 00:00', '2025-06-30 09:30'], '1 days without an hour'),
    (['2025-06-29', '2025-06-30T00:00:00Z'], ['2025-06-30 00:00', '2025-06-30 00:00'], None),  # stated: nothing to guess
    (['2025-06-29', '2025-06-30'], ['2025-06-30 00:00', '2025-07-01 00:00'], None),
    ([pd.Timestamp('2025-06-29'), pd.Timestamp('2025-06-30')], ['2025-06-30 00:00', '2025-07-01 00:00'], '2 times at midnight are read as whole days'),
    ([pd.Timestamp('2025-06-29'), pd.Timestamp('2025-06-30 07:00')], ['2025-06-29 00:00', '2025-06-30 07:00'], None)])
def test_an_end_at_midnight_is_read_by_one_rule_and_told(cells, expected, said):
    with collect_notices() as notices: read = read_moments(pd.Series(cells, name='end'), 'd.csv', 'UTC', ends=True)
    assert read.dt.strftime('%Y-%m-%d %H:%M').tolist() == expected
    assert len(notices) == (said is not None) and all(f'd.csv, end: {said}' in o for o in notices)


def test_each_row_may_have_a_zone_of_its_own():
    clocks, zones = pd.Series(['2025-07-01 12:00']*3 + [None], list('abcd')), pd.Series(['America/Chicago', 'UTC+9', 'America/Chicago', 'UTC'])
    read = read_moments(clocks, 'd.csv', zones)
    assert read.index.tolist() == list('abcd') and read.isna().tolist() == [False]*3 + [True]
    assert read[:3].dt.strftime('%H:%M').tolist() == ['17:00', '03:00', '17:00']
