"""A table that is written by hand is refused if it may mean two things, and every photograph of a season is placed or listed."""
import pandas as pd
import pytest

from survey_tables import TIME_ZONE
from urbanrivers_camtraps.foundations.core import CamtrapsError, TableError, collect_notices
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.foundations.times import read_moments
from urbanrivers_camtraps.survey.deployments import (
    DEPLOYMENT_COLUMNS,
    DeploymentsError,
    make_deployments,
    outages_of,
    read_deployments,
    season_photographs,
)

TABLE = """deployment_id, location,     latitude, longitude, start,            end,        folder,   clock_ahead
prologis-06,   Prologis,     41.9002,  -87.6513,  2025-06-01 09:30, 2025-06-30, Prologis,
prologis-12,   Prologis,     41.9002,  -87.6513,  2025-12-01,       2026-01-05, Prologis, 1h
goose-06,      Goose Island, 41.9056,  -87.6571,  2025-06-01,       ,           ,
"""
PATHS = ['disk/Prologis/DCIM/100MEDIA/IMG_0001.JPG', 'disk/Prologis/DCIM/100MEDIA/IMG_0002.JPG', 'disk/Prologis/DCIM/101MEDIA/IMG_0001.JPG',
         'disk/goose-06/IMG_0001.JPG', 'disk/Prologis/IMG_0500.JPG', 'disk/unknown/IMG_0001.JPG', 'backup/goose-06/IMG_0001.JPG',
         'disk/goose-06/IMG_0002.JPG', 'disk/goose-06/IMG_0003.JPG', 'disk/goose-06/IMG_0004.JPG', 'disk/prologis/IMG_0007.JPG',
         'july/Prologis/IMG_0007.JPG']
CLOCK = ['2025-06-02 05:30', '2025-06-02 05:30:01', '2025-12-24 18:00', '2025-06-05 12:00', '2025-09-01', '2025-06-02', '2025-06-05 12:00', None,
         '2025-06-05 12:00:01', '2000-01-01 00:03', '2025-06-07', '2025-06-30']


@pytest.fixture
def read(tmp_path):
    "Write a table, and read it."
    def written(text: str | bytes, name: str = 'some.csv') -> pd.DataFrame:
        (tmp_path/name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_deployments(tmp_path/name, TIME_ZONE)
    return written


@pytest.fixture
def deployments(read) -> pd.DataFrame: return read(TABLE)


def made() -> pd.DataFrame:
    "Make what a season's run would have written."
    table = pd.DataFrame({'path': PATHS, 'prediction': 'Anas platyrhynchos', 'score': .9, 'clock': pd.to_datetime(CLOCK, format='ISO8601'),
                          'reason': None, 'retry': False})
    table.loc[8, ['prediction', 'reason']] = None, 'is damaged'
    return table


@pytest.fixture
def season(tmp_path):
    made().to_parquet(tmp_path/'season.parquet')
    return tmp_path/'season.parquet'


@pytest.fixture
def placed(tmp_path, deployments):
    "Place photographs of which path, clock, and an error are given."
    def of(*rows: tuple, **changes) -> Predictions:
        table = pd.DataFrame([(*o, None)[:3] for o in rows], columns=['path', 'clock', 'reason']).assign(prediction='blank', retry=False)
        table.assign(clock=pd.to_datetime(table.clock, format='ISO8601')).to_parquet(tmp_path/'some.parquet')
        return season_photographs(tmp_path/'some.parquet', deployments.assign(**changes))
    return of


# --- the table ---

def test_days_count_whole_and_names_stand_for_ids(deployments):
    assert deployments.start.tolist() == [pd.Timestamp(o, tz=TIME_ZONE) for o in ('2025-06-01 09:30', '2025-12-01', '2025-06-01')]
    assert deployments.end.tolist()[:2] == [pd.Timestamp('2025-07-01', tz=TIME_ZONE), pd.Timestamp('2026-01-06', tz=TIME_ZONE)]
    assert pd.isna(deployments.end[2])
    assert deployments.clock_ahead.tolist() == [pd.Timedelta(0), pd.Timedelta('1h'), pd.Timedelta(0)]
    assert deployments.location_id.tolist() == ['Prologis', 'Prologis', 'Goose Island']
    assert deployments.deployment.tolist() == ['prologis-06', 'prologis-12', 'goose-06']


@pytest.mark.parametrize('text, why', [
    ('camera\nBushnell', 'some.csv: lacks deployment_id'), ('deployment_id,start\na,2025-01-01\n\n,2025-01-02', 'line 4: has no deployment_id'),
    ('deployment_id\na \na', 'deployment_id a stands twice'), ('deployment_id,latitude\na,41.9\nb,419', 'latitude 419 is not an angle of up to 90 degrees'),
    ('deployment_id,longitude\na,west', 'longitude west is not a number'),
    ('deployment_id,start,end\na,2025-02-01,2025-01-31', 'line 2: ends before it starts: 2025-02-01 to 2025-01-31'),
    ('deployment_id,end,End\na,,', 'end and End both mean end'), ('deployment_id,start\na,spring', 'line 2: start spring is not a date'),
    ('deployment_id,start\na,01.06.2025', 'start 01.06.2025 may be 1 June or 6 January. Add --dates day-first'),
    ('deployment_id,timezne\na,UTC', 'does not know the column timezne. Call it time_zone'),
    ('deployment_id,lati\na,41.9', 'Call it latitude'),
    ('deployment_id,start,Start date\na,2025-01-01,', 'start and Start date both mean start'),
    ('deployment_id,location\na,Goose Island,41,9', 'line 2 has more cells than the first'),
    ('deployment_id,time_zone\na,Chicago', 'time zone Chicago is not known'), ('', 'is empty'), ('\n \n', 'is empty'),
    (b'deployment_id\nCaf\x81\xe9', 'is not text'),
    *((f'deployment_id,clock_ahead\na,"{o}"', 'clock_ahead cannot be read') for o in ('much', '1', '-3652', '1,5h', '1:00'))])
def test_what_may_mean_two_things_is_refused(read, text, why):
    with pytest.raises(CamtrapsError) as error: read(text)
    assert why in str(error.value)


def test_a_table_and_a_time_zone_must_be_there(tmp_path, read):
    read(TABLE)
    with pytest.raises(CamtrapsError, match='there is no such table'): read_deployments(tmp_path/'nowhere.csv', TIME_ZONE)
    with pytest.raises(TableError, match='time zone Chicago is not known'): read_deployments(tmp_path/'some.csv', 'Chicago')


def test_tables_are_read_as_spreadsheets_write_them(read):
    "Ids that look like numbers or like nothing; a comma behind each line; what else there is stays."
    first = read(b'\xef\xbb\xbfDeployment ID;Location;Latitude;Notes\r\n007;"Goose; Island";41,9002;muddy\r\nNA;;;\r\n').iloc[0]
    assert first[['deployment_id', 'location', 'latitude', 'Notes']].tolist() == ['007', 'Goose; Island', 41.9002, 'muddy']
    assert read('deployment_id\tlocation\nNA\tNone\n').values.tolist()[0][:4] == ['NA', 'NA', 'None', 'None']
    assert read('deployment_id,location,start\na,Prologis,2025-06-01,\n').location.tolist() == ['Prologis']


def test_the_camera_s_own_zone_says_nothing_of_the_notes(read):
    own = read('deployment_id,time_zone,start,end,clock_ahead\na,UTC-06:00,2025-07-01,2025-07-02 12:00,-1h 5min').iloc[0]
    assert own[['start', 'end', 'clock_ahead']].tolist() == [pd.Timestamp('2025-07-01 05:00Z'), pd.Timestamp('2025-07-02 17:00Z'), -pd.Timedelta('65min')]


def test_locations_without_an_id_share_that_of_their_name(read):
    table = read('deployment_id,location,location_id\na,Prologis,p\nb,Prologis,\nc,,\n')
    assert table[['location', 'location_id']].values.tolist() == [['Prologis', 'p']]*2 + [['c', 'c']]


def test_tables_of_this_package_are_read_again(tmp_path, deployments):
    deployments.drop(columns=['folder', 'clock_ahead', 'time_zone']).assign(deployment_id=range(3)).to_parquet(tmp_path/'deployments.parquet')
    columns = ['start', 'end', 'location']
    assert read_deployments(tmp_path/'deployments.parquet', TIME_ZONE)[columns].equals(deployments[columns])
    table = make_deployments(pd.DataFrame({'deployment_id': ['a'], 'timestamp': [pd.Timestamp('2025-06-01 12:00Z')], 'latitude': [41.9]}))
    table.to_csv(tmp_path/'made.csv')  # with the index, as people do
    columns = ['deployment_id', 'start', 'end', 'latitude', 'from_photographs']
    assert read_deployments(tmp_path/'made.csv', TIME_ZONE)[columns].values.tolist() == table[columns].values.tolist()


def test_deployments_without_times_or_photographs_are_listed_without():
    rows = pd.DataFrame({'deployment_id': ['a', 'b'], 'timestamp': pd.NaT})
    assert make_deployments(rows).start.isna().all() and list(make_deployments(rows.head(0))) == list(DEPLOYMENT_COLUMNS)


@pytest.mark.parametrize('wrong', ['soon', '30.04.2025', '07/05/2025', '9:30', 'today', '20251304', '2025-04-301', '2025-02-30', '2025-04-30 25:00',
                                   '45777', '2025-04-30 9', '5 Jun 25', '0225-04-30'])
def test_a_moment_begins_with_the_year(wrong):
    with pytest.raises(TableError, match='notes.csv: ' + wrong.replace('.', r'\.')): read_moments(pd.Series([wrong]), 'notes.csv', TIME_ZONE)


def test_an_unknown_zone_is_refused_with_the_moments():
    with pytest.raises(TableError, match='time zone Chicago is not known'): read_moments(pd.Series(['2025-01-01']), 'notes.csv', 'Chicago')


# --- the photographs ---

def test_every_photograph_is_placed_or_listed(season, deployments):
    found = season_photographs(season, deployments)
    assert found.media_id.tolist() == [
        'prologis-06/DCIM/100MEDIA/IMG_0001.JPG', 'prologis-06/DCIM/100MEDIA/IMG_0002.JPG', 'prologis-12/DCIM/101MEDIA/IMG_0001.JPG',
        'goose-06/IMG_0001.JPG', 'prologis-06/2025-06-07T00-00-00/IMG_0007.JPG', 'prologis-06/2025-06-30T00-00-00/IMG_0007.JPG']
    assert found.timestamp.tolist() == [pd.Timestamp(o) for o in (
        '2025-06-02 10:30Z', '2025-06-02 10:30:01Z', '2025-12-24 23:00Z', '2025-06-05 17:00Z', '2025-06-07 05:00Z', '2025-06-30 05:00Z')]
    assert found.skipped.values.tolist() == [
        [PATHS[4], 'was taken when no deployment of its folder ran'], [PATHS[5], 'lies in no folder of a deployment: disk/unknown'],
        [PATHS[6], 'is there twice'], [PATHS[7], 'has no time in its EXIF'], [PATHS[8], 'is damaged'], [PATHS[9], 'has a clock that was never set']]
    assert len(found) + len(found.skipped) == len(PATHS)


def test_a_clock_without_summer_time_and_one_that_jumps_over_an_hour(placed):
    assert placed((PATHS[0], CLOCK[0]), time_zone='UTC-06:00').timestamp[0] == pd.Timestamp('2025-06-02 11:30Z')
    spring = placed(('goose-06/a', '2026-03-08 02:01'), ('goose-06/b', '2026-03-08 02:59')).timestamp
    assert spring.tolist() == [pd.Timestamp('2026-03-08 08:01Z'), pd.Timestamp('2026-03-08 08:59Z')]


def test_the_last_day_counts_whole_and_a_desk_does_not(placed):
    edges = placed(('Prologis/a', '2025-06-30 23:59:59'), ('Prologis/b', '2025-07-01 00:00:01'), ('goose-06/c', '2025-05-31 12:00'))
    assert edges.deployment_id.tolist() == ['prologis-06']
    assert edges.skipped.reason.tolist() == ['was taken when no deployment of its folder ran', 'was taken before its deployment']


def test_without_ends_the_next_deployment_at_the_location_decides(placed):
    unknown = pd.Series([pd.NaT]*3, dtype='datetime64[us, UTC]')
    assert placed(('Prologis/a', '2025-12-02'), end=unknown).deployment_id.tolist() == ['prologis-12']
    with pytest.raises(DeploymentsError, match='deployments at several locations ran in its folder'):
        placed(('Prologis/a', '2025-12-24'), end=unknown, location_id=['a', 'b', 'c'])


def test_of_a_damaged_photograph_and_its_sound_copy_the_sound_one_counts(placed):
    found = placed(('a/goose-06/1.JPG', '2025-06-05', 'is damaged'), ('b/goose-06/1.JPG', '2025-06-05'))
    assert found.media_id.tolist() == ['goose-06/1.JPG']


def test_a_single_deployment_needs_no_folder_but_a_folder_that_is_named_must_be_there(season, deployments):
    "Columns of one's own do no harm."
    only = season_photographs(season, deployments.iloc[[2]].assign(deployment_id='all', clock='x', row=1, rest='y'))
    assert (len(only), only.media_id[0]) == (9, 'all/disk/Prologis/DCIM/100MEDIA/IMG_0001.JPG')
    with pytest.raises(DeploymentsError, match='lies in no folder of a deployment: disk/Prologis'):
        season_photographs(season, deployments.iloc[[2]].assign(folder='gose'))
    with pytest.raises(DeploymentsError, match='no photograph can be placed'): season_photographs(season, deployments.assign(folder='elsewhere'))


def test_without_a_photograph_that_can_be_placed_there_is_an_error(placed):
    with pytest.raises(DeploymentsError, match='no photograph can be placed: goose-06/a is damaged'): placed(('goose-06/a', '2025-06-05', 'is damaged'))
    with pytest.raises(DeploymentsError, match='holds no photographs'): placed()


def test_several_seasons_are_read_as_one(tmp_path, season, placed, deployments):
    second = placed(('goose-06/9.JPG', '2025-06-09')).media_id.tolist()
    together = season_photographs([season, tmp_path/'some.parquet'], deployments)
    assert together.media_id.tolist() == season_photographs(season, deployments).media_id.tolist() + second


def test_a_season_is_a_parquet_file(tmp_path, deployments):
    for wrong in ('nowhere.parquet', tmp_path/'some.csv'):
        with pytest.raises(DeploymentsError, match='is not a season'): season_photographs(wrong, deployments)


def test_paths_of_windows_are_the_same_photographs(tmp_path, season, deployments):
    made().assign(path=[o.replace('/', '\\') for o in PATHS]).to_parquet(tmp_path/'windows.parquet')
    assert season_photographs(tmp_path/'windows.parquet', deployments).media_id.tolist() == season_photographs(season, deployments).media_id.tolist()


def test_two_seasons_of_one_slot_are_two_cards(tmp_path, deployments):
    for name, day, label in (('a', '2025-06-02', 'Anas platyrhynchos'), ('b', '2025-06-12', 'blank')):
        table = pd.DataFrame({'path': [f'CARD/goose-06/IMG_000{o}.JPG' for o in range(3)], 'prediction': label, 'score': .9, 'retry': False,
                              'clock': pd.to_datetime([f'{day} 08:0{o}' for o in range(3)]), 'reason': None})
        table.to_parquet(tmp_path/f'{name}.parquet')
    with collect_notices() as notices: placed = season_photographs([tmp_path/'a.parquet', tmp_path/'b.parquet'], deployments)
    assert placed.prediction.tolist() == ['Anas platyrhynchos']*3 + ['blank']*3 and placed.media_id.is_unique
    assert any('3 photographs of other times have the path of an earlier one' in o for o in notices)
    assert len(season_photographs([tmp_path/'a.parquet', tmp_path/'a.parquet'], deployments)) == 3


def test_cells_that_r_leaves_empty_are_empty_but_a_deployment_may_be_called_na(read):
    table = read('Station,lat,long,Setup_date,Retrieval_date,Problem1_from,Problem1_to\nNA,41.9,-87.65,2025-05-01,2025-05-10,NA,NA\n'
                 'b,NA,NA,2025-05-01,NA,2025-05-03,2025-05-04\n')
    assert table.deployment_id.tolist() == ['NA', 'b'] and table.latitude.notna().tolist() == [True, False]
    assert table.end.notna().tolist() == [True, False]
    assert (outages_of(table).end - outages_of(table).start).tolist() == [pd.Timedelta('2D')]  # both days count whole


@pytest.mark.parametrize('place, said', [
    ('41.9,87.65', 'is the sign of the longitude missing'), ('-87.65,41.9', 'near a pole'), ('0,0', 'has the coordinates 0, 0'),
    ('4.97,117.8', 'far from the time zone America/Chicago'), ('5.1,52.1', 'lies in the open sea')])
def test_places_that_cannot_be_right_are_told_by_every_table(read, place, said):
    with collect_notices() as notices: read(f'deployment_id,latitude,longitude,start,end\na,{place},2025-05-01,2025-05-10\n')
    assert any(said in o for o in notices)


def test_coordinates_that_are_exchanged_within_neighbouring_zones_lie_in_the_sea(tmp_path):
    path = tmp_path/'some.csv'
    path.write_text('deployment_id,latitude,longitude,start,end\na,5.1,52.1,2025-05-01,2025-05-10\n')  # Utrecht, exchanged
    with collect_notices() as notices: read_deployments(path, 'Europe/Amsterdam')
    assert any('a lies in the open sea' in o for o in notices)


def test_an_end_in_the_future_is_refused(read):
    with pytest.raises(DeploymentsError, match='line 3: b ends in the future: 2098-05-11'):
        read('deployment_id,start,end\na,2025-05-01,2025-05-10\nb,2025-05-01,2098-05-10\n')


def test_a_season_of_version_0_0_1_is_read(tmp_path, read):
    old = {'path': ['C/a/1.JPG', 'C/a/2.JPG'], 'prediction': ['humans', 'empty'], 'score': .9, 'scores': [[.9, .1], [.1, .9]], 'way': 'accept',
           'clock': pd.to_datetime(['2025-06-01 08:00', '2025-06-02 08:00']), 'error': None, 'again': False}
    write_table(pd.DataFrame(old), tmp_path/'s.parquet', classes=['humans', 'empty'])
    placed = season_photographs(tmp_path/'s.parquet', read('deployment_id,start,end\na,2025-06-01,2025-06-30\n'))
    assert placed.prediction.tolist() == ['human', 'blank'] and placed.decision.tolist() == ['accept']*2


# ---- several time zones in one table

NETWORK = 'deployment_id,latitude,longitude,start,end,time_zone\n'


def read_noticed(path, text, zone=None):
    "Write a table, and read it; return it with its notices."
    path.write_text(NETWORK + text)
    with collect_notices() as notices: table = read_deployments(path, zone)
    return table, notices


def test_a_network_across_zones_is_read_by_the_zone_of_each_place(tmp_path):
    rows = 'a,41.9,-87.6,2025-05-01 12:00,2025-05-02,America/Chicago\nb,40.7,-74.0,2025-05-01 12:00,2025-05-02,America/New_York\n'
    with pytest.raises(TableError, match='several time zones: America/Chicago, America/New_York'): read_noticed(tmp_path/'d.csv', rows)
    table, notices = read_noticed(tmp_path/'d.csv', rows, 'America/Chicago')
    assert table.start.dt.strftime('%H:%M').tolist() == ['17:00', '16:00']
    assert table.end.dt.strftime('%d %H:%M').tolist() == ['03 05:00', '03 04:00']
    assert any('notes of 1 deployments are read by the time zone of their place, America/New_York' in o for o in notices)


def test_a_camera_s_zone_that_is_not_that_of_the_notes_is_told(tmp_path):
    table, notices = read_noticed(tmp_path/'d.csv', 'a,41.9,-87.6,2025-05-01 12:00,2025-05-02,America/Chicago\nb,41.9,-87.6,2025-05-01 12:00,2025-05-02,UTC\n')
    assert table.start.dt.strftime('%H:%M').tolist() == ['17:00', '17:00'] and table.time_zone.tolist() == ['America/Chicago', 'UTC']
    assert any('time_zone of 1 deployments (UTC) is that of the camera; start and end are read by the local clock, America/Chicago' in o for o in notices)


def test_no_zone_is_proposed_because_of_coordinates_at_0_0(tmp_path):
    rows = 'a,0,0,2025-05-01,2025-05-02,\nb,41.9,-87.6,2025-05-01,2025-05-02,\n'
    table, notices = read_noticed(tmp_path/'d.csv', rows)
    assert table.start.dt.strftime('%H:%M').tolist() == ['05:00', '05:00'] and any('a has the coordinates 0, 0' in o for o in notices)
