"""A package is valid, holds no people and no volunteers, reads back equal; a spoiled one is refused with file and row; a killed run leaves none."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE, collect_notices
from urbanrivers_camtraps.foundations.names import read_labels
from urbanrivers_camtraps.foundations.privacy import shows_people
from urbanrivers_camtraps.foundations.sandbox import make_sandbox, serve_sandbox
from urbanrivers_camtraps.survey.camtrap_dp.reading import read_camtrap_dp
from urbanrivers_camtraps.survey.camtrap_dp.standard import COLUMNS, TABLES, CamtrapDPError
from urbanrivers_camtraps.survey.camtrap_dp.validation import validate_camtrap_dp
from urbanrivers_camtraps.survey.camtrap_dp.writing import skipped_media, write_camtrap_dp
from urbanrivers_camtraps.survey.deployments import local_time_zone, make_deployments
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.votes.api import fetch_observations

pytest.importorskip('frictionless')


@pytest.fixture(scope='module')
def practice():
    "What the practice server gives: labels by plain majority, all votes, and who cast them."
    key = 'a key of this test'
    with serve_sandbox(make_sandbox('small')) as site: fetched = fetch_observations(site, reviewed=True, progress=False, key=key)
    votes = fetched.observations.assign(label=read_labels(fetched.observations)[0])
    labels = votes.sort_values('votes', ascending=False).drop_duplicates('media_id').reset_index(drop=True)
    return labels.assign(confidence=np.where(labels.label.notna(), .9, np.nan)), fetched


@pytest.fixture(scope='module')
def package(practice, tmp_path_factory) -> Path:
    "A package of it."
    labels, fetched = practice
    deployments = make_deployments(fetched.observations)
    folder = tmp_path_factory.mktemp('packages')/'package'
    return write_camtrap_dp(folder, labels, deployments, make_events(labels), observations=fetched.observations, title='SandboxSettings', license='CC0-1.0')


def alike(one: pd.Series, other: pd.Series) -> bool:
    "Say whether two columns hold the same, missing where the other is."
    return bool(((one.isna() & other.isna()) | (one.astype(object) == other.astype(object)).fillna(False)).all())


def small(count: int = 6) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Photographs and deployments by hand."
    photographs = pd.DataFrame({
        'media_id': [f'm{o}' for o in range(count)], 'deployment_id': 'd1',
        'timestamp': pd.Timestamp('2025-06-01 12:00', tz='UTC') + pd.to_timedelta(np.arange(count), 'h'),
        'label': 'Castor canadensis', 'url': [f'https://example.org/{o}.jpg' for o in range(count)]})
    place = {'deployment': 'River, "north" | 1', 'location': 'Böschung', 'location_id': 'l1', 'latitude': 41.91234, 'longitude': -87.6543}
    return photographs, make_deployments(photographs.assign(**place))


# --- valid, and read back equal ---

def test_the_practice_site_makes_a_valid_package(package):
    assert validate_camtrap_dp(package).empty


def test_what_was_written_is_read_back(practice, package):
    labels, fetched = practice
    gone = skipped_media(labels, make_deployments(fetched.observations), observations=fetched.observations)
    read, kept = read_camtrap_dp(package), labels[~labels.media_id.isin(gone.id)].set_index('media_id')
    photographs = read.photographs.set_index('media_id')
    assert len(kept) > 400 and len(photographs) == len(kept)
    kept['count'] = kept['count'].where(kept.label.notna() & (kept.label != BLANK) & (kept['count'] > 0))  # nobody counts what is not there
    for column in ('label', 'timestamp', 'url', 'deployment_id', 'deployment', 'confidence', 'count'):
        assert alike(photographs[column].reindex(kept.index), kept[column]), column
    events = make_events(labels)
    events = events[~events.label.isin([HUMAN, VEHICLE]) & events.deployment_id.notna()].set_index('event_id')
    back = read.events.set_index('event_id').reindex(events.index)
    assert len(read.events) == len(events) > 100
    for column in ('label', 'start', 'end', 'count', 'photographs', 'deployment_id', 'location'): assert alike(back[column], events[column]), column
    private = set(gone.id)
    assert [o for o in back.media_ids] == [[m for m in o if m not in private] for o in events.media_ids]


def test_names_that_are_awkward_in_a_csv_come_back(tmp_path):
    photographs, deployments = small()
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', photographs, deployments))
    assert (read.deployments.deployment[0], read.deployments.location[0]) == ('River, "north" | 1', 'Böschung')
    assert validate_camtrap_dp(tmp_path/'p').empty
    assert read.deployments.from_photographs.tolist() == [True]


def test_two_labels_in_one_photograph_come_back(tmp_path):
    photographs, deployments = small()
    both = pd.concat([photographs, photographs.head(1).assign(label='Anas platyrhynchos')], ignore_index=True)
    events = make_events(both)
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', both, deployments, events))
    assert validate_camtrap_dp(tmp_path/'p').empty
    assert sorted(read.photographs.label[read.photographs.media_id == 'm0']) == ['Anas platyrhynchos', 'Castor canadensis']
    assert read.events.set_index('event_id').media_ids.to_dict() == events.set_index('event_id').media_ids.to_dict()


def test_votes_and_predictions_stand_side_by_side(tmp_path):
    photographs, deployments = small()
    both = photographs.assign(prediction=['Castor canadensis', BLANK]*3, score=np.float32([.8, .6]*3), confidence=.95)
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', both, deployments, make_events(both, label='prediction'), model='probe 1'))
    said = read.observations.groupby(['level', 'method']).classified_by.agg(['size', 'first'])
    assert said['size'].to_dict() == {('event', 'machine'): 3, ('media', 'human'): 6, ('media', 'machine'): 6}
    assert said['first'].to_dict() == {('event', 'machine'): 'probe 1', ('media', 'human'): 'volunteers', ('media', 'machine'): 'probe 1'}
    back = read.photographs.sort_values('media_id')
    assert back.prediction.tolist() == both.prediction.tolist() and back.score.astype('float32').tolist() == both.score.tolist()
    assert read.observations[read.observations.method == 'human'].event_id.isna().all()


# --- people, volunteers, places ---

def test_no_people_and_no_volunteers_in_any_file(practice, package):
    labels, fetched = practice
    written = {o.name: o.read_text('utf-8') for o in package.iterdir()}
    private = labels.media_id[shows_people(labels, fetched.observations)]
    urls, volunteers = labels.url[labels.media_id.isin(private)].dropna(), fetched.votes.volunteer.unique()
    assert len(private) > 30 and len(urls) > 30 and len(volunteers) > 3
    for name, text in written.items():
        for secret in (*private, *urls, *volunteers): assert secret not in text, (name, secret)
    observations = pd.read_csv(package/'observations.csv', dtype=str)
    assert not observations.observationType.isin(['human', 'vehicle']).any()
    assert set(observations.classifiedBy.dropna()) == {'volunteers'}
    assert not any(o['scientificName'] == 'Homo sapiens' for o in json.loads(written['datapackage.json'])['taxonomic'])


def test_a_single_vote_for_a_person_is_enough(practice):
    labels, fetched = practice
    alone, asked = (skipped_media(labels, make_deployments(fetched.observations), observations=o) for o in (None, fetched.observations))
    assert set(alone.id) <= set(asked.id)
    one = pd.DataFrame({'media_id': ['m3'], 'observation_type': ['animal'], 'scientific_name': ['Homo sapiens']})
    photographs, deployments = small()
    assert skipped_media(photographs, deployments, observations=one).to_dict('records') == [{'id': 'm3', 'reason': 'shows people'}]


def test_events_of_people_stay_where_they_are_asked_for(tmp_path):
    photographs, deployments = small()
    photographs.loc[2:3, 'label'] = HUMAN
    events = make_events(photographs)
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', photographs, deployments, events, people='events'))
    assert (read.events.label == HUMAN).sum() == 2 and len(read.media) == 4
    assert 'm2' not in ''.join(o.read_text() for o in (tmp_path/'p').iterdir())
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', photographs, deployments, events, people='withheld'))
    assert read.media.set_index('media_id').public.to_dict() == {f'm{o}': o not in (2, 3) for o in range(6)}
    assert 'example.org/2' not in (tmp_path/'p'/'media.csv').read_text()
    assert validate_camtrap_dp(tmp_path/'p').empty


@pytest.mark.parametrize('name', ['Homo sapiens', 'person', 'Human', 'vehicle'])
def test_people_by_other_names_are_people(tmp_path, name):
    photographs, deployments = small()
    photographs.loc[0, 'label'] = name
    read = read_camtrap_dp(write_camtrap_dp(tmp_path/'p', photographs, deployments, make_events(photographs)))
    assert len(read.media) == 5 and len(read.events) == 5


@pytest.mark.parametrize('digits, known, uncertainty', [(1, None, 15721), (2, None, 1600), (3, 100, 257)])
def test_coordinates_are_rounded_and_say_so(tmp_path, digits, known, uncertainty):
    photographs, deployments = small()
    write_camtrap_dp(tmp_path/'p', photographs, deployments.assign(coordinate_uncertainty=known), round_coordinates=digits)
    read = read_camtrap_dp(tmp_path/'p').deployments.iloc[0]
    assert (read.latitude, read.longitude, read.coordinate_uncertainty) == (round(41.91234, digits), round(-87.6543, digits), uncertainty)
    about = json.loads((tmp_path/'p'/'datapackage.json').read_text())
    assert about['coordinatePrecision'] == pytest.approx(10**-digits) and about['spatial']['coordinates'] == [round(-87.6543, digits), round(41.91234, digits)]
    assert '1234' not in ''.join(o.read_text() for o in (tmp_path/'p').iterdir())
    assert validate_camtrap_dp(tmp_path/'p').empty


# --- spoiled packages ---

def cell(table: str, row: int, column: str, value: str):
    "Change one cell; rows are counted with the header as row 1."
    def spoil(folder: Path) -> None:
        rows = pd.read_csv(folder/f'{table}.csv', dtype=str, keep_default_na=False)
        rows.loc[row - 2, column] = value
        rows.to_csv(folder/f'{table}.csv', index=False)
    return spoil


def drop(table: str, column: str):
    "Drop a column."
    def spoil(folder: Path) -> None:
        rows = pd.read_csv(folder/f'{table}.csv', dtype=str, keep_default_na=False)
        rows.drop(columns=column).to_csv(folder/f'{table}.csv', index=False)
    return spoil


SPOILED = {
    'missing column': (drop('media', 'timestamp'), 'media.csv', 1, 'timestamp'),
    'wrong type': (cell('observations', 5, 'count', 'many'), 'observations.csv', 5, 'count'),
    'count of none': (cell('observations', 5, 'count', '0'), 'observations.csv', 5, 'count'),
    'deployment ends before it starts': (cell('deployments', 2, 'deploymentEnd', '1999-01-01T00:00:00Z'), 'deployments.csv', 2, 'deploymentEnd'),
    'event ends before it starts': (cell('observations', 7, 'eventEnd', '1999-01-01T00:00:00Z'), 'observations.csv', 7, 'eventEnd'),
    'unknown deployment': (cell('media', 4, 'deploymentID', 'nowhere'), 'media.csv', 4, 'deploymentID'),
    'unknown photograph': (cell('observations', 3, 'mediaID', 'nothing'), 'observations.csv', 3, 'mediaID'),
    'photograph not named': (cell('observations', 3, 'mediaID', ''), 'observations.csv', 3, 'mediaID'),
    'id twice': (cell('media', 6, 'mediaID', 'm0'), 'media.csv', 6, 'mediaID'),
    'id missing': (cell('observations', 4, 'observationID', ''), 'observations.csv', 4, 'observationID'),
    'latitude off the globe': (cell('deployments', 2, 'latitude', '241.9'), 'deployments.csv', 2, 'latitude'),
    'longitude in words': (cell('deployments', 2, 'longitude', 'W 87'), 'deployments.csv', 2, 'longitude'),
    'no time zone': (cell('media', 3, 'timestamp', '2025-06-01T12:00:00'), 'media.csv', 3, 'timestamp'),
    'time of a spreadsheet': (cell('media', 3, 'timestamp', '6/1/2025 12:00'), 'media.csv', 3, 'timestamp'),
    'type unheard of': (cell('observations', 2, 'observationType', 'ghost'), 'observations.csv', 2, 'observationType'),
    'level unheard of': (cell('observations', 2, 'observationLevel', 'sequence'), 'observations.csv', 2, 'observationLevel'),
    'probability above 1': (cell('observations', 2, 'classificationProbability', '1.5'), 'observations.csv', 2, 'classificationProbability'),
    'path out of the package': (cell('media', 2, 'filePath', '../secret.jpg'), 'media.csv', 2, 'filePath'),
    'method unheard of': (cell('observations', 2, 'classificationMethod', 'oracle'), 'observations.csv', 2, 'classificationMethod')}


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    "A small package."
    photographs, deployments = small()
    return write_camtrap_dp(tmp_path_factory.mktemp('whole')/'p', photographs, deployments, make_events(photographs))


@pytest.mark.parametrize('name', SPOILED)
def test_a_spoiled_package_is_refused_with_file_and_row(whole, tmp_path, name):
    spoil, file, row, column = SPOILED[name]
    folder = Path(shutil.copytree(whole, tmp_path/'p'))
    spoil(folder)
    problems = validate_camtrap_dp(folder)
    found = problems[(problems.file == file) & (problems.row == row)]
    assert len(found) and (column in found.field.tolist() or found.problem.str.contains(f"{column}|{file.split('.')[0]}").any()), problems.to_string()
    with pytest.raises(CamtrapDPError, match=f'^{file}, row {row}: .*{column}'): read_camtrap_dp(folder)


DESCRIPTORS = {
    'no project': (lambda o: o.pop('project'), "'project' is a required"),
    'no resources': (lambda o: o.pop('resources'), 'does not list the table deployments'),
    'no observations': (lambda o: o['resources'].pop(), 'does not list the table observations'),
    'a date that is none': (lambda o: o['temporal'].update(start='2025-02-31'), 'date'),
    'a role unheard of': (lambda o: o['contributors'][0].update(role='author'), 'author'),
    'an area that is none': (lambda o: o['spatial'].update(type='Circle'), 'Circle'),
    'one licence': (lambda o: o.update(licenses=[{'name': 'CC0-1.0', 'scope': 'data'}]), 'too short'),
    'a table elsewhere': (lambda o: o['resources'][1].update(path='https://example.org/media.csv'), 'not a single file of the package'),
    'a table above': (lambda o: o['resources'][1].update(path='../media.csv'), 'not a single file of the package'),
    'a name in capitals': (lambda o: o.update(name='My Package'), 'does not match')}


@pytest.mark.parametrize('name', DESCRIPTORS)
def test_a_spoiled_descriptor_is_found(whole, tmp_path, name):
    spoil, expected = DESCRIPTORS[name]
    folder = Path(shutil.copytree(whole, tmp_path/'p'))
    about = json.loads((folder/'datapackage.json').read_text())
    spoil(about)
    (folder/'datapackage.json').write_text(json.dumps(about))
    problems = validate_camtrap_dp(folder)
    assert (problems.file == 'datapackage.json').any() and problems.problem.str.contains(expected).any(), problems.to_string()


@pytest.mark.parametrize('content, expected', [(b'{', 'is not JSON'), (b'[]', 'does not describe a package'), (b'\xff\xfe', 'is not JSON'),
                                               (b'{"resources": [1, {"name": []}]}', 'does not list the table deployments'),
                                               (b'{"profile": "https://x/camtrap-dp/0.6/camtrap-dp-profile.json"}', 'is Camtrap DP 0.6')])
def test_what_is_no_descriptor_is_said(tmp_path, content, expected):
    (tmp_path/'datapackage.json').write_bytes(content)
    with pytest.raises(CamtrapDPError, match=expected): read_camtrap_dp(tmp_path)
    assert validate_camtrap_dp(tmp_path).problem.str.contains(expected).any()


@pytest.mark.parametrize('content, expected', [
    (b'', 'not a readable CSV'), (b'\xff\xfe\x00', 'not a readable CSV'), (b'mediaID,x\na,b,c\n', 'not a readable CSV')])
def test_what_is_no_table_is_said(whole, tmp_path, content, expected):
    folder = Path(shutil.copytree(whole, tmp_path/'p'))
    (folder/'media.csv').write_bytes(content)
    with pytest.raises(CamtrapDPError, match=expected): read_camtrap_dp(folder)
    assert validate_camtrap_dp(folder).problem.str.contains(expected).any()
    (folder/'media.csv').unlink()
    with pytest.raises(CamtrapDPError, match='media.csv: is missing'): read_camtrap_dp(folder)


# --- packages of others ---

def test_a_package_of_others_is_read(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path/'p'))
    for table in TABLES:  # fewer columns, another order, one of their own, another zone, semicolons, a byte order mark
        rows = pd.read_csv(folder/f'{table}.csv', dtype=str, keep_default_na=False)
        rows = rows[[o for o in rows if (rows[o] != '').any()][::-1]].assign(theirs='x')
        rows = rows.drop(columns=[o for o in ('deploymentTags', 'observationTags', 'locationID', 'fileName') if o in rows])
        if table == 'media': rows['timestamp'] = pd.to_datetime(rows.timestamp).dt.tz_convert('Etc/GMT+5').dt.strftime('%Y-%m-%dT%H:%M:%S-05:00')
        rows.to_csv(folder/f'their_{table}.csv', index=False, sep=';', encoding='utf-8-sig')
        (folder/f'{table}.csv').unlink()
    about = json.loads((folder/'datapackage.json').read_text())
    for o in about['resources']: o.update(path=f"their_{o['name']}.csv", dialect={'delimiter': ';'})
    (folder/'datapackage.json').write_text(json.dumps(about))
    ours, theirs = read_camtrap_dp(whole), read_camtrap_dp(folder)
    assert theirs.photographs[['media_id', 'timestamp', 'label', 'url']].equals(ours.photographs[['media_id', 'timestamp', 'label', 'url']])
    assert theirs.deployments.deployment.isna().all() and theirs.events.photographs.tolist() == ours.events.photographs.tolist()
    with zipfile.ZipFile(tmp_path/'p.zip', 'w') as archive:
        for o in folder.iterdir(): archive.write(o, f'export/{o.name}')
    assert read_camtrap_dp(tmp_path/'p.zip').photographs.equals(theirs.photographs)
    assert len(read_camtrap_dp(folder/'datapackage.json').media) == 6
    (tmp_path/'q.zip').write_bytes((tmp_path/'p.zip').read_bytes()[:-30])
    with pytest.raises(CamtrapDPError, match='not a readable .zip'): read_camtrap_dp(tmp_path/'q.zip')


def test_columns_are_those_of_the_standard(whole):
    for table in TABLES:
        header = (whole/f'{table}.csv').read_text().splitlines()[0].split(',')
        assert set(COLUMNS[table].values()) <= set(header)


# --- whole or not at all ---

KILLED = """
import sys, numpy as np, pandas as pd
from urbanrivers_camtraps.survey.camtrap_dp.writing import write_camtrap_dp
from urbanrivers_camtraps.survey.deployments import local_time_zone, make_deployments
n = 120_000
photographs = pd.DataFrame({'media_id': [f'm{o}' for o in range(n)], 'deployment_id': 'd', 'label': 'Castor canadensis', 'latitude': 41.9, 'longitude': -87.6,
                            'timestamp': pd.Timestamp('2025-06-01', tz='UTC') + pd.to_timedelta(np.arange(n), 's')})
write_camtrap_dp(sys.argv[1], photographs, make_deployments(photographs))
"""


@pytest.mark.parametrize('before', [False, True])
def test_a_killed_run_leaves_no_half_package(tmp_path, before):
    folder, (photographs, deployments) = tmp_path/'p', small()
    if before: write_camtrap_dp(folder, photographs, deployments)
    run = subprocess.Popen([sys.executable, '-c', KILLED, str(folder)], env={**os.environ, 'OMP_NUM_THREADS': '1'})
    part, deadline = tmp_path/'.p.part'/'media.csv', time.monotonic() + 120
    while not part.exists() and run.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL and part.exists()  # it was killed while it wrote
    assert folder.exists() == before and (not before or len(read_camtrap_dp(folder).media) == 6)
    assert len(read_camtrap_dp(write_camtrap_dp(folder, photographs.head(3), deployments)).media) == 3
    assert [o.name for o in tmp_path.iterdir()] == ['p']


def test_what_could_not_be_read_is_not_written(tmp_path):
    photographs, deployments = small()
    for spoiled in (deployments.assign(latitude=95.), deployments.assign(end=deployments.start - pd.Timedelta('1D')), pd.concat([deployments, deployments])):
        with pytest.raises(CamtrapDPError, match='deployments.csv, row'): write_camtrap_dp(tmp_path/'p', photographs, spoiled)
        assert not list(tmp_path.iterdir())
    with pytest.raises(CamtrapDPError, match='media.csv, row 2: filePath'):
        write_camtrap_dp(tmp_path/'p', photographs.assign(url='https://example.org/../m.jpg'), deployments)
    (tmp_path/'p').mkdir()
    (tmp_path/'p'/'notes.txt').write_text('mine')
    with pytest.raises(CamtrapDPError, match='not written by camtraps'): write_camtrap_dp(tmp_path/'p', photographs, deployments)
    assert (tmp_path/'p'/'notes.txt').read_text() == 'mine'


def same(one: pd.DataFrame, other: pd.DataFrame, key: str) -> bool:
    "Return whether two tables hold the same, whatever their order, types and signs of what is missing."
    one, other = (o.sort_values(key).reset_index(drop=True) for o in (one, other[list(one)]))
    def equal(a: object, b: object) -> bool: return a == b if isinstance(a, list) else pd.isna(a) == pd.isna(b) and bool(pd.isna(a) or a == b)
    return len(one) == len(other) and all(equal(a, b) for column in one for a, b in zip(one[column], other[column]))


def test_withheld_photographs_have_no_address(practice, tmp_path):
    labels, fetched = practice
    own = read_camtrap_dp(write_camtrap_dp(tmp_path/'own', labels, make_deployments(fetched.observations), make_events(labels), people='withheld',
                                           observations=fetched.observations))
    private = own.media[own.media.media_id.isin(labels.media_id[labels.label == HUMAN])]
    assert len(private) and not private.public.any() and private.url.isna().all() and private.file_name.isna().all()


def test_the_predictions_of_a_model_and_their_events_are_read_back_equal(practice, tmp_path):
    labels, fetched = practice
    deployments = make_deployments(fetched.observations)
    kept = labels[~labels.media_id.isin(skipped_media(labels, deployments, observations=fetched.observations).id)]
    guessed = kept.assign(prediction=kept.label, score=np.float32(.7)).drop(columns=['label', 'confidence', 'votes'])
    guessed.loc[guessed.index[:2], ['prediction', 'score']] = [None, np.nan]
    events = make_events(guessed, label='prediction')
    machine = read_camtrap_dp(write_camtrap_dp(tmp_path/'machine', guessed, deployments, events, model='probe 1',
                                               predicted_at=pd.Timestamp('2025-07-01', tz='UTC')))
    assert same(guessed[['media_id', 'prediction']], machine.photographs, 'media_id') and same(events, machine.events, 'event_id')
    assert machine.events.attrs['label'] == 'prediction'
    by = machine.observations[machine.observations.level == 'media'].groupby('observation_type').agg(method=('method', 'first'), by=('classified_by', 'first'))
    assert by.loc['animal'].tolist() == ['machine', 'probe 1']
    assert machine.observations.observation_type.eq('unclassified').sum() == 2 + kept.label.isna().sum()
    assert machine.photographs.score.dropna().unique() == pytest.approx([.7])
    with pytest.raises(CamtrapDPError, match='made from prediction'): write_camtrap_dp(tmp_path/'x', labels, deployments, events)


def test_a_folder_that_holds_something_else_is_not_replaced(practice, tmp_path):
    labels, fetched = practice
    (tmp_path/'other').mkdir()
    (tmp_path/'other'/'thesis.docx').touch()
    with pytest.raises(CamtrapDPError, match='holds thesis.docx, which was not written by camtraps'):
        write_camtrap_dp(tmp_path/'other', labels, make_deployments(fetched.observations))


# --- packages with less than the standard asks for ---

def changed_package(whole: Path, folder: Path, change) -> tuple:
    "Copy a package, change the cells of its observations, and read it; return it with its notices."
    shutil.copytree(whole, folder)
    rows = change(pd.read_csv(folder/'observations.csv', dtype=str, keep_default_na=False))
    rows.to_csv(folder/'observations.csv', index=False)
    with collect_notices() as notices: package = read_camtrap_dp(folder)
    return package, notices


@pytest.mark.parametrize('left_out', [['classificationMethod'], ['observationLevel'], ['observationID', 'eventStart', 'eventEnd', 'deploymentID'],
                                      ['classificationMethod', 'classifiedBy', 'observationTags', 'count', 'eventID']])
def test_labels_do_not_need_optional_fields(whole, tmp_path, left_out):
    package, notices = changed_package(whole, tmp_path/'p', lambda o: o[o.observationLevel == 'media'].drop(columns=left_out))
    ours = read_camtrap_dp(whole)
    assert package.photographs.label.tolist() == ours.photographs.label.tolist() and len(notices) == 1


def test_events_come_from_the_ids_of_photographs(whole, tmp_path):
    package, _ = changed_package(whole, tmp_path/'p', lambda o: o[o.observationLevel == 'media'])
    columns = ['event_id', 'deployment_id', 'label', 'photographs']
    assert package.events[columns].values.tolist() == read_camtrap_dp(whole).events[columns].values.tolist()


def test_photographs_are_labelled_by_the_events_in_whose_time_they_lie(whole, tmp_path):
    package, _ = changed_package(whole, tmp_path/'p', lambda o: o[o.observationLevel == 'event'].assign(mediaID=''))
    assert package.photographs.label.tolist() == read_camtrap_dp(whole).photographs.label.tolist()


def test_packed_tables_nested_dialects_and_a_package_without_observations(whole, tmp_path):
    import gzip
    folder = Path(shutil.copytree(whole, tmp_path/'p'))
    about, ours = json.loads((folder/'datapackage.json').read_text()), read_camtrap_dp(whole)
    for table in TABLES:
        text = pd.read_csv(folder/f'{table}.csv', dtype=str, keep_default_na=False).to_csv(index=False, sep=';')
        (folder/f'{table}.csv').unlink()
        (folder/f'{table}.csv.gz').write_bytes(gzip.compress(text.encode()))
    for o in about['resources']: o.update(path=f"{o['name']}.csv.gz", name=o['name'].capitalize(), dialect={'csv': {'delimiter': ';'}})
    (folder/'datapackage.json').write_text(json.dumps(about))
    assert read_camtrap_dp(folder).photographs.equals(ours.photographs)
    (folder/'datapackage.json').write_text(json.dumps(about | {'resources': about['resources'][:2]}))
    with collect_notices() as notices: package = read_camtrap_dp(folder)
    assert len(package.photographs) == len(ours.media) and package.photographs.label.isna().all() and package.events.empty
    assert 'has no table observations' in notices[0]
    (folder/'media.csv.gz').write_bytes((folder/'media.csv.gz').read_bytes()[:-12])
    with pytest.raises(CamtrapDPError, match='cannot be unpacked'): read_camtrap_dp(folder)


def test_times_have_the_offset_of_the_place_and_nobody_holds_the_rights_by_default(tmp_path):
    photographs, deployments = small()
    photographs = photographs.assign(url=None, path=[f'card/IMG#{o} %20.JPG' for o in range(6)])
    with collect_notices() as notices: folder = write_camtrap_dp(tmp_path/'p', photographs, deployments)
    media = pd.read_csv(folder/'media.csv')
    assert media.timestamp[0] == '2025-06-01T07:00:00-05:00' and media.fileName[0] == 'IMG#0 %20.JPG'
    assert json.loads((folder/'datapackage.json').read_text())['contributors'] == [{'title': 'not stated'}]
    assert 'does not state the holder of the rights (--organization) and the licence' in notices[0] and validate_camtrap_dp(folder).empty
    named = write_camtrap_dp(tmp_path/'q', photographs, deployments, organization='Goose Watch', license='CC0-1.0', time_zone='UTC')
    assert pd.read_csv(named/'media.csv').timestamp[0] == '2025-06-01T12:00:00Z' and validate_camtrap_dp(named).empty


def test_the_time_zone_of_the_volunteers_photographs_follows_from_their_coordinates(practice):
    assert local_time_zone(make_deployments(practice[1].observations)) == 'America/Chicago'
