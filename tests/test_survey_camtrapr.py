"""On camtrapR's sample data, record table, camera operation and detection histories are those that its documentation prints.

"Vignette 3" is https://jniedballa.github.io/camtrapR/articles/camtrapr3.html, "help" the reference pages beside it, both of version 2.1.0. Where we differ on
purpose, the test says why.
"""
import io
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import camtrapr_sample as sample
from survey_tables import local, operation_of
from urbanrivers_camtraps.foundations.core import CamtrapsError, collect_notices
from urbanrivers_camtraps.foundations.outputs import OutputError
from urbanrivers_camtraps.survey.camtrapr import record_table, station_table, write_camtrapr
from urbanrivers_camtraps.survey.detection_history import camera_matrix, detection_history
from urbanrivers_camtraps.survey.effort import SurveyError, camera_operation
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.survey.report import Survey

#: What vignette 3 prints as `head(rec.db.species0)`.
HEAD = '''
StationA,PBE,2009-04-21 00:40:00,2009-04-21,00:40:00,0,0,0.0,0.0
StationA,PBE,2009-04-22 20:19:00,2009-04-22,20:19:00,157140,2619,43.6,1.8
StationA,PBE,2009-04-22 20:21:00,2009-04-22,20:21:00,120,2,0.0,0.0
StationA,PBE,2009-04-23 00:07:00,2009-04-23,00:07:00,13560,226,3.8,0.2
StationA,PBE,2009-04-23 00:09:00,2009-04-23,00:09:00,120,2,0.0,0.0
StationA,PBE,2009-05-07 17:11:00,2009-05-07,17:11:00,1270920,21182,353.0,14.7
'''


def printed(text: str, columns: list[str]) -> pd.DataFrame:
    "Read a matrix as R prints it: a name, then the numbers of a row."
    table = pd.read_csv(io.StringIO(text.strip()), sep=r'\s+', header=None, index_col=0)
    return table.set_axis(columns, axis=1).astype(float)


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    "Compare rows, columns and numbers; missing where the other is."
    assert (list(found.index), list(found.columns)) == (list(expected.index), list(expected.columns))
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), atol=5e-5)


def test_the_sample_has_68_photographs_of_three_stations():
    counts = sample.photographs().deployment_id.value_counts().to_dict()
    assert counts == {'StationA': 8, 'StationB': 23, 'StationC': 37}  # "8 images", "23 images", "37 images"


def test_record_table_without_a_least_time():
    table = record_table(sample.events(), sample.operation())
    assert len(table) == 56  # "a data frame containing 56 records, less than the number of images in the image directory (68)"
    head = table.iloc[:6, :9]
    expected = pd.read_csv(io.StringIO(HEAD.strip()), header=None, names=head.columns)
    pd.testing.assert_frame_equal(head, expected, check_dtype=False)


@pytest.mark.parametrize('compared_to', ['lastRecord', 'lastIndependentRecord'])
def test_record_table_with_an_hour(compared_to):
    table = record_table(sample.events(), sample.operation(), 60, compared_to)
    assert len(table) == 40  # "Now 40 records were returned instead of 56"
    # table(rec.db.species60$Species); with lastIndependentRecord and exclude = "UNID" the others are the same
    assert table.Species.value_counts().to_dict() == {'EGY': 6, 'MNE': 2, 'PBE': 18, 'TRA': 8, 'UNID': 1, 'VTA': 5}


def test_an_hour_from_the_last_record_or_from_the_last_independent_one():
    # help of recordTableIndividual, minDeltaTime 60, lastIndependentRecord: individual 2 at station A
    one = sample.events()
    individual = one[(one.deployment_id == 'StationA') & (one.label == 'PBE') & (one.start < pd.Timestamp('2009-05-01', tz='UTC'))]
    by_independent = record_table(individual, sample.operation(), 60, 'lastIndependentRecord')
    assert by_independent['delta.time.secs'].tolist() == [0, 157140, 13680] and by_independent['delta.time.days'].tolist() == [0, 1.8, .2]
    assert by_independent.n_images.tolist() == [1, 2, 2]
    assert record_table(individual, sample.operation(), 60, 'lastRecord')['delta.time.secs'].tolist() == [0, 157140, 13560]


def test_our_events_are_its_independent_records():
    """With an event gap of an hour our events are the records that camtrapR counts from the last record. At exactly one hour we differ: `make_events` still
    joins ("the longest time between two photographs of one event"), camtrapR does not ("minimum time difference")."""
    ours, theirs = record_table(sample.events('60min'), sample.operation()), record_table(sample.events(), sample.operation(), 60)
    columns = ['Station', 'Species', 'DateTimeOriginal', 'delta.time.secs', 'delta.time.days', 'n_images']
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])
    hour = pd.DataFrame({'media_id': ['a', 'b'], 'deployment_id': 'StationA', 'label': 'VTA',
                         'timestamp': [pd.Timestamp(f'2009-04-10 0{o}:07', tz=sample.TIME_ZONE) for o in (5, 6)]})
    assert len(make_events(hour, '60min')) == 1
    assert len(record_table(make_events(hour, '1s'), sample.operation(), 60)) == 2


def test_camera_operation_of_dates():
    matrix = camera_matrix(sample.operation(outages=sample.problem()))
    assert matrix.shape == (3, 46) and matrix.columns[-1] == '2009-05-17'
    same(matrix.iloc[:, :5], printed('''
        StationA        0.5        1.0        1.0          1          1
        StationB         NA        0.5        1.0          1          1
        StationC         NA         NA        0.5          1          1''', [f'2009-04-0{o}' for o in range(2, 7)]))
    same(matrix.iloc[:, -7:], printed('''
        StationA          1          1          1        0.5         NA         NA  NA
        StationB          1          1          1        1.0          1        0.5  NA
        StationC          1          0          0        0.0          0        0.0   0''', [f'2009-05-{o}' for o in range(11, 18)]))
    assert (camera_matrix(sample.operation()).loc['StationC'].iloc[-6:] == [1, 1, 1, 1, 1, .5]).all()  # camop_no_problem


def test_camera_operation_of_hours():
    hours = [' 12:00', ' 15:00', ' 18:00'], [' 18:00', ' 15:00', ' 12:00']
    matrix = camera_matrix(sample.operation(*hours, outages=sample.problem('2009-05-12 20:00', '2009-05-17 12:00')))
    same(matrix.iloc[:, :5], printed('''
        StationA        0.5      1.000       1.00          1          1
        StationB         NA      0.375       1.00          1          1
        StationC         NA         NA       0.25          1          1''', [f'2009-04-0{o}' for o in range(2, 7)]))
    same(matrix.iloc[:, -7:], printed('''
        StationA          1     1.0000          1       0.75         NA         NA  NA
        StationB          1     1.0000          1       1.00          1      0.625  NA
        StationC          1     0.8333          0       0.00          0      0.000   0''', [f'2009-05-{o}' for o in range(11, 18)]))


def test_a_day_without_an_hour_counts_whole_here():
    "camtrapR takes a set-up day without an hour for noon since 2.1; before, and here, the day counts whole. Written with its hour it is the same in both."
    matrix = camera_matrix(sample.operation('', ''))
    assert matrix.loc['StationA', '2009-04-02'] == matrix.loc['StationC', '2009-05-17'] == 1


def test_two_cameras_at_one_station():
    """The cameras of vignette 3, "Combining multiple cameras per station". Added up, both programs agree (`camerasIndependent`, not `allCamsOn`). Otherwise
    camtrapR takes the mean of the cameras (0.75 on 3 January); here a location is watched while one of them works, which decides whether an animal is seen."""
    cameras = pd.DataFrame({'deployment_id': ['cam1', 'cam2'], 'location_id': 'A', 'start': '2020-01-01 12:00',
                            'end': ['2020-01-08 18:00', '2020-01-07 18:00']})
    lost = pd.DataFrame({'deployment_id': 'cam1', 'start': ['2020-01-03 12:00', '2020-01-06 12:00'], 'end': ['2020-01-05 18:00', '2020-01-07 12:00']})
    added = camera_matrix(camera_operation(cameras, lost, time_zone='UTC', overlaps='twice'))
    assert added.loc['A'].tolist() == [1, 2, 1.5, 1, 1.25, 1.5, 1.25, .75]
    once = camera_matrix(camera_operation(cameras, lost, time_zone='UTC'))
    assert once.loc['A'].tolist() == [.5, 1, 1, 1, 1, 1, 1, .75]


def test_detection_history_of_the_civet():
    found = detection_history(sample.events('60min'), sample.operation(), 'VTA', days=7)
    columns = [f'o{o}' for o in range(1, 8)]
    same(found.history, printed('''
        StationA  0  1  0  0  1  0  0
        StationB  0  1  0  1  0  0  0
        StationC  0  0  1  0  0  0  0''', columns))
    same(found.effort, printed('''
        StationA 6.5  7  7  7  7  7 0.5
        StationB 6.5  7  7  7  7  7 1.5
        StationC 6.5  7  7  7  7  7 1.5''', columns))
    assert found.effort.stack().mean() == pytest.approx(6.095238, abs=1e-6)  # effort.scaled.center
    assert found.effort.stack().std() == pytest.approx(2.077372, abs=1e-6)  # effort.scaled.scale


def test_incomplete_occasions_are_missing_if_asked():
    "`includeEffort = FALSE` drops occasions with a day on which no camera hung; here one says how many active days it needs. Six of seven is the same."
    found = detection_history(sample.events('60min'), sample.operation(), 'VTA', days=7, least_days=6)
    same(found.history, printed('''
        StationA  0  1  0  0  1  0 NA
        StationB  0  1  0  1  0  0 NA
        StationC  0  0  1  0  0  0 NA''', [f'o{o}' for o in range(1, 8)]))


def test_two_seasons_with_a_malfunction():
    "Help of detectionHistory, `DetHist_multi`, season 2009: ten days, station C broken from 12 May on."
    found = detection_history(sample.events('60min'), sample.operation(outages=sample.problem()), 'VTA', days=10)
    columns = [f'o{o}' for o in range(1, 6)]
    same(found.history, printed('StationA  1  0  0  1  0\nStationB  0  1  1  0  0\nStationC  0  0  1  0 NA', columns))
    same(found.effort, printed('StationA 9.5 10 10 10 2.5\nStationB 9.5 10 10 10 3.5\nStationC 9.5 10 10  8  NA', columns))


def test_dimensions_of_single_days_and_of_a_common_beginning():
    shapes = {first: detection_history(sample.events(), sample.operation(), 'VTA', 1, first).history.shape for first in ('location', 'survey')}
    assert shapes == {'location': (3, 44), 'survey': (3, 46)}  # its tests: DetHist1day, DetHist1day_survey
    late = detection_history(sample.events('60min'), sample.operation(), 'VTA', 7, '2009-05-01')
    assert late.skipped.reason.tolist() == ['before the first occasion']*4  # "4 records (out of 5) were removed because they were taken before day1"


def test_an_event_while_no_camera_worked_is_no_detection():
    "camtrapR counts the mouse-deer of 12 May, on which station C is said to be broken. Here the two contradict each other: it is left out, and listed."
    found = detection_history(sample.events('60min'), sample.operation(outages=sample.problem()), 'TRA')
    assert found.skipped.reason.tolist() == ['during an outage'] and found.history.loc['StationC', 'o6'] == 0
    assert detection_history(sample.events('60min'), sample.operation(), 'TRA').history.loc['StationC', 'o6'] == 1


def test_counts():
    found = detection_history(sample.events('60min'), sample.operation(), 'PBE', 46, 'survey', counts=True)
    assert found.history.o1.to_dict() == {'StationA': 4, 'StationB': 8, 'StationC': 6}  # by hand, from the list of photographs


def test_colorado_changes_its_clocks_in_an_occasion():
    "A week across 9 March 2025 ends at local midnight, one hour earlier than seven times 24 hours."
    operation = camera_operation(pd.DataFrame({'deployment_id': ['d1'], 'start': ['2025-03-05'], 'end': ['2025-03-18']}), time_zone='America/Denver')
    came = pd.DataFrame({'event_id': ['e1'], 'deployment_id': 'd1', 'label': 'Puma concolor', 'start': [pd.Timestamp('2025-03-11 23:30', tz='America/Denver')]})
    found = detection_history(came, operation, 'Puma concolor')
    assert found.history.iloc[0].tolist() == [1, 0] and found.effort.iloc[0].tolist() == [7, 7]
    after = came.assign(start=pd.Timestamp('2025-03-12 00:30', tz='America/Denver'))  # 167.5 hours after the beginning
    assert detection_history(after, operation, 'Puma concolor').history.iloc[0].tolist() == [0, 1]


def test_survey_gives_the_same():
    survey = Survey(sample.events('60min'), pd.DataFrame(sample.STATIONS, columns=['deployment_id', 'start', 'end']), time_zone=sample.TIME_ZONE)
    assert survey.detection_history('VTA', 7).history.equals(detection_history(survey.events, survey.operation, 'VTA').history)


def test_totals_and_wrong_questions():
    operation = operation_of(('d1', 'l1', '2025-06-01', '2025-06-15'))
    labels = ['human', 'Lontra canadensis', 'blank']
    came = pd.DataFrame({'event_id': ['a', 'b', 'c'], 'deployment_id': 'd1', 'label': labels, 'start': [local('2025-06-02 10:00')]*3})
    assert detection_history(came, operation, 'people').history.iloc[0].tolist() == [1, 0]
    assert detection_history(came, operation, 'wildlife').history.iloc[0].tolist() == [1, 0]
    for options, words in (({'label': 'beaver'}, 'no event shows'), ({'label': 'human', 'days': 1.5}, 'occasion cannot have 1.5 days'),
                           ({'label': 'human', 'least_days': 8}, 'cannot have 8 active'), ({'label': 'human', 'first': 'monday'}, 'not a day')):
        with pytest.raises(SurveyError, match=words): detection_history(came, operation, **options)
    with pytest.raises(CamtrapsError, match='compared_to'): record_table(came, operation, compared_to='last')


def test_station_table_holds_set_up_retrieval_and_problems():
    row = station_table(sample.operation(outages=sample.problem())).set_index('Station').loc['StationC']
    assert (row.Setup_date, row.Retrieval_date) == ('2009-04-04 12:00:00', '2009-05-17 12:00:00')
    assert (row.Problem1_from, row.Problem1_to) == ('2009-05-12 00:00:00', '2009-05-17 12:00:00')


def test_more_outages_than_camtrapr_reads_are_told(tmp_path):
    "`cameraOperation` finds its columns by the pattern Problem, one digit, one sign, from: Problem10_from is passed over without a word."
    for number in (9, 10):
        days = pd.date_range('2009-04-05', periods=number, freq='2D')
        lost = pd.DataFrame({'deployment_id': 'StationC', 'start': days.strftime('%Y-%m-%d 08:00'), 'end': days.strftime('%Y-%m-%d 10:00')})
        with collect_notices() as told: folder = write_camtrapr(sample.events(), sample.operation(outages=lost), tmp_path/f'r{number}')
        assert any('Problem1 to Problem9 only' in str(o) for o in told) == (number == 10)
        assert f'Problem{number}_from' in pd.read_csv(folder/'camtraps.csv') and 'hasProblems = TRUE, dateFormat = "ymd HMS"' in (folder/'read.R').read_text()
    folder = write_camtrapr(sample.events(), sample.operation(), tmp_path/'none')
    assert 'hasProblems = FALSE' in (folder/'read.R').read_text()  # it stops if there are no such columns


def test_the_folder_is_whole_and_refuses_what_is_not_ours(tmp_path):
    folder = write_camtrapr(sample.events('60min'), sample.operation(), tmp_path/'r')
    text = (folder/'effort.csv').read_text().splitlines()
    assert text[:2] == [',o1,o2,o3,o4,o5,o6,o7', 'StationA,6.5,7,7,7,7,7,0.5']
    assert 'NA' in (folder/'camera_operation.csv').read_text() and len(pd.read_csv(folder/'record_table.csv')) == 40
    (folder/'notes.txt').write_text('mine')
    with pytest.raises(OutputError, match='notes.txt'): write_camtrapr(sample.events(), sample.operation(), folder)
    assert (folder/'notes.txt').exists()


def test_names_with_commas_and_formulas_come_back(tmp_path):
    weir = pd.DataFrame({'deployment_id': ['d1'], 'location_id': ['l1'], 'location': ['Weir, "old" =1+1'], 'start': ['2025-06-01'], 'end': ['2025-06-08']})
    operation = camera_operation(weir, time_zone='UTC')
    came = pd.DataFrame({'event_id': ['e'], 'deployment_id': 'd1', 'label': 'Sorex/araneus', 'start': [pd.Timestamp('2025-06-02', tz='UTC')]})
    folder = write_camtrapr(came, operation, tmp_path/'r')
    assert pd.read_csv(folder/'effort.csv', index_col=0).index.tolist() == ['Weir, "old" =1+1']
    assert (folder/'detection_history_Sorex_araneus.csv').is_file()


@pytest.mark.skipif(shutil.which('Rscript') is None, reason='R is not installed')
def test_r_reads_the_folder(tmp_path):
    folder = write_camtrapr(sample.events('60min'), sample.operation(), tmp_path/'r')
    code = ('source("read.R"); cat(nrow(record_table), dim(camera_operation), sum(is.na(camera_operation)), '
            'effort["StationB", "o7"], sum(detection_histories$VTA), sep = " ")')
    found = subprocess.run(['Rscript', '--vanilla', '-e', code], cwd=folder, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ['40', '3', '46', '7', '1.5', '5']
