"""The practice server: its filters, its faults, its voters, and the same sandbox from the same seed."""
import hashlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from PIL import Image

from urbanrivers_camtraps.foundations import sandbox as module
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, CamtrapsError, collect_notices
from urbanrivers_camtraps.foundations.drawings import DRAWN_CLASSES, draw_photograph
from urbanrivers_camtraps.foundations.sandbox import (
    API_PATH,
    SANDBOX_CLASSES,
    SANDBOX_SPECIES,
    YEAR_CHANGES,
    Faults,
    Sandbox,
    make_sandbox,
    make_sandbox_from,
    sandbox_boxes,
    serve_sandbox,
)


@pytest.fixture(scope='module')
def small() -> Sandbox: return make_sandbox('small')


@pytest.fixture(scope='module')
def june() -> Sandbox: return make_sandbox('june-2025')


@pytest.fixture(scope='module')
def ask(small) -> Iterator[Callable]:
    "A function that asks the small sandbox."
    with serve_sandbox(small) as address: yield lambda **query: asked(address, **query)


def asked(address: str, **query) -> dict:
    "Ask a server for JSON."
    return requests.get(address+API_PATH, params=query, timeout=30).json()


@pytest.fixture(scope='module')
def documents(ask) -> list[dict]: return ask(limit=1000, sort='_id', sortDirection='asc')['images']


# ── the same sandbox from the same seed ─────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_sandbox(june):
    again = make_sandbox('june-2025')
    pd.testing.assert_frame_equal(again.votes, june.votes)
    pd.testing.assert_frame_equal(again.media, june.media)
    assert not make_sandbox('june-2025', seed=1).votes.equals(june.votes)


def test_numbers_of_the_demonstration_stay(small):
    "What was measured on the sandbox holds only as long as seed 42 gives these tables."
    tables = {'media': small.media.drop(columns='media_id'), 'votes': small.votes}  # the ids are the MD5 of photographs
    found = {name: hashlib.sha256(table.to_csv().encode()).hexdigest()[:12] for name, table in tables.items()}
    assert found == {'media': 'ba6711a9944b', 'votes': '9745d2335aa3'}


def test_june_has_the_classes_that_were_published(june):
    assert set(june.media.label) <= {*DRAWN_CLASSES, BLANK} and june.media.media_id.str.endswith('-2').all()
    assert (len(SANDBOX_SPECIES), len(set(SANDBOX_SPECIES))) == (30, 30)
    asked_for = june.votes.media[june.votes.scientific_name.isin(SANDBOX_SPECIES)].unique()
    assert june.votes[~june.votes.media.isin(asked_for)].scientific_name.isna().all()


def test_bursts_of_a_deployment_are_apart(june):
    taken = june.media.drop_duplicates('media_id').groupby('deployment').timestamp
    seconds = taken.diff().dt.total_seconds().dropna()
    assert set(seconds[seconds <= 60]) == {1.} and seconds[seconds > 60].min() > 60


def test_photograph_is_drawn_from_its_row(small):
    row = next(small.media.itertuples())
    assert draw_photograph(row) == draw_photograph(small.media.loc[0]) == small.photograph(0)
    assert Image.open(io.BytesIO(draw_photograph(row, 3648, 2736))).size == (3648, 2736)


def test_every_class_is_on_some_photograph(small):
    assert {*SANDBOX_CLASSES, HUMAN} <= set(small.truth.label)


# ── the API ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_people_in_the_answers_are_invented(documents):
    emails = {o['creator']['email'] for document in documents for o in document['observations']}
    emails |= {o['email'] for document in documents for o in document['reviewers']}
    assert emails and all(o.endswith('@example.org') for o in emails)


def test_counts_and_votes(documents):
    consensus = [row for document in documents for row in document['speciesConsensus'] or []]
    kinds = {o['observationType'] for o in consensus if 'observationType' in o and o['scientificName'] is None}
    assert kinds == {'blank', 'human', 'vehicle', 'unknown', 'unclassified'}
    twice = [o for o in documents if len(o['reviewers']) < len(o['observations'])]  # somebody voted twice
    for document in twice:
        counted = sum(row['observationCount'] for row in document['speciesConsensus'] or [])
        assert counted in (0, len(document['observations']))
    assert twice


def test_filters_by_votes(small, ask, documents):
    def count(**query): return ask(limit=1000, **query)['totalImages']
    reviewed = count(reviewed='true')
    assert reviewed == len(documents) - 3*module._SMALL_UNREVIEWED
    assert count(type='humans') < count(type='animals') < reviewed
    assert count(type='animals') == small.votes[small.votes.observation_type == 'animal'].media.nunique()
    assert 0 < count(favorites='true') < 60
    assert count(consensusStatus='ConsensusReached') + count(needsReview='true') == len(documents)


def test_filters_by_place_and_time(ask, documents):
    def count(**query): return ask(limit=1000, **query)['totalImages']
    place = next(o['deploymentId'] for o in documents if o['deploymentId'] and o['deploymentId']['locationId'])
    assert 0 < count(deploymentId=place['_id']) < count(locationId=place['locationId']['_id']) < len(documents)
    dated = [o['timestamp'] for o in documents if o['timestamp']]
    summer = count(startDate='2024-07-01', endDate='2024-09-30')
    assert summer == sum('2024-07-01' <= o < '2024-10-01' for o in dated)
    night = count(startTime='21:00', endTime='05:00')
    assert night == sum(o[11:16] >= '21:00' or o[11:19] <= '05:00:00' for o in dated)
    newest = ask(sort='timestamp', sortDirection='desc', limit=1)['images'][0]['timestamp']
    oldest = ask(sort='timestamp', sortDirection='asc', limit=1)['images'][0]['timestamp']
    assert newest == max(dated) and oldest is None  # MongoDB sorts null first


def test_order(ask, small, documents):
    assert [o['_id'] for o in documents] == sorted(small.media.document_id)
    assert ask()['page'] == 1 and ask(limit=1000)['totalPages'] == 1


@pytest.mark.parametrize('query', [
    {'limit': 'many'}, {'limit': 0}, {'page': 0}, {'startDate': 'yesterdayish'}, {'limit': 5000}])
def test_queries_that_are_refused(small, query):
    with serve_sandbox(small) as address:
        answer = requests.get(address+API_PATH, params=query, timeout=30)
    assert answer.status_code == 500 and answer.json()['message'] == 'Error fetching images'


def test_ids_are_md5(documents, small, ask):
    by_id = {o: row for row, o in reversed(list(enumerate(small.media.media_id)))}
    for document in documents[:64]:
        body = small.photograph(by_id[document['mediaID']])
        assert (hashlib.md5(body).hexdigest() == document['mediaID']) == ('-' not in document['mediaID'])


def test_june_is_served(june):
    with serve_sandbox(june) as address:
        query = {'sort': '_id', 'sortDirection': 'asc', 'limit': 1000}
        species = ','.join(SANDBOX_SPECIES)
        assert asked(address, species=species, limit=1)['totalImages'] == 12118
        assert len(asked(address, species=species, page=13, **query)['images']) == 118
        assert asked(address, reviewed='true', **query)['totalPages'] == 59
        drawn = asked(address, type='humans', limit=1)['images'][0]
        assert Image.open(io.BytesIO(requests.get(drawn['publicURL'], timeout=30).content)).format == 'JPEG'


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def real(tmp_path) -> Sandbox:
    "A sandbox of three real files."
    return make_sandbox_from(*written(tmp_path))


def written(folder: Path) -> tuple[Path, Path]:
    "Write three photographs with a manifest."
    lines = ['path,location,seq_id,burst_index,observation_type,scientific_name']
    rows = [('animal', 'Branta canadensis'), ('animal', 'Branta canadensis'), ('blank', '')]
    (folder/'images').mkdir()
    for i, (kind, name) in enumerate(rows):
        Image.new('RGB', (64, 48), (60*i, 90, 120)).save(folder/'images'/f'{i}.jpg')
        lines.append(f'images/{i}.jpg,Wild Mile,{i//2},{2-i % 2},{kind},{name}')
    (folder/'manifest.csv').write_text('\n'.join(lines))
    return folder, folder/'manifest.csv'


def meet(sandbox: Sandbox, path: str, **faults) -> requests.Response:
    "Ask a server on which something always goes wrong."
    with serve_sandbox(sandbox, Faults(**faults)) as address: return requests.get(address+path, timeout=10)


def test_faults_of_the_api(real):
    assert set(meet(real, API_PATH, error_500=1.).json()) == {'message', 'error'}
    assert meet(real, API_PATH, html=1.).text.startswith('<!doctype html>')
    assert 'not_jpeg' not in {Faults(not_jpeg=1.).pick(API_PATH, attempt) for attempt in range(200)}
    with pytest.raises(requests.exceptions.ChunkedEncodingError): meet(real, API_PATH, cut=1.)


def test_delays(real):
    began = time.monotonic()
    assert meet(real, API_PATH, slow=1., slow_seconds=.3, row_delay=70.).status_code == 200  # 3 rows, 70 s for 1,000
    assert time.monotonic()-began > .5
    began = time.monotonic()
    meet(real, f'/images/{real.media.path[0]}', photograph_delay=.3)
    assert time.monotonic()-began > .3


def test_port_in_use(real):
    with serve_sandbox(real) as address, pytest.raises(CamtrapsError, match='Choose another port'):
        serve_sandbox(real, port=int(address.split(':')[-1])).__enter__()


def test_run_until_interrupted(tmp_path):
    folder, manifest = written(tmp_path)
    code = ('from urbanrivers_camtraps.foundations.sandbox import make_sandbox_from, run_sandbox\n'
            f'run_sandbox(make_sandbox_from({str(folder)!r}, {str(manifest)!r}), port=0, '
            'ready=lambda address: print(address, flush=True))')
    quiet = {'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL, 'text': True}
    with subprocess.Popen([sys.executable, '-c', code], **quiet) as process:
        assert asked(process.stdout.readline().strip())['totalImages'] == 3
        process.send_signal(signal.SIGINT)
        process.wait(60)


# ── real photographs, boxes, voters ─────────────────────────────────────────────────────────────────────────────────


def test_real_photographs(real, tmp_path):
    assert real.truth.timestamp.diff().dt.total_seconds().tolist()[1:] == [1, 600]
    assert real.media.media_id[0] == hashlib.md5((tmp_path/'images'/'1.jpg').read_bytes()).hexdigest()
    assert (real.consensus.votes >= 3).all() and real.consensus.media.is_unique
    pd.testing.assert_frame_equal(make_sandbox_from(tmp_path/'images', tmp_path/'manifest.csv').truth, real.truth)


HEAD = 'path,location,seq_id,burst_index,observation_type,scientific_name'


@pytest.mark.parametrize(('text', 'message'), [
    ('path,location\na,b', 'lacks seq_id'), (HEAD, 'has no rows'), ('', 'is empty'),
    (f'{HEAD}\nimages/9.jpg,x,1,1,blank,', '1 of 1 photographs are missing, such as images/9'),
    (f'{HEAD}\nimages/0.jpg,x,1,1,bird,', "line 2 has the observation_type 'bird'"),
    (f'{HEAD}\nimages/0.jpg,x,1,1,animal,', 'without a scientific_name')])
def test_broken_manifest(tmp_path, text, message):
    folder, manifest = written(tmp_path)
    manifest.write_text(text)
    with pytest.raises(CamtrapsError, match=message): make_sandbox_from(folder, manifest)


@pytest.mark.parametrize('encoding, delimiter', [('utf-8', ','), ('cp1252', ';'), ('utf-16', '\t')])
def test_a_manifest_as_spreadsheets_write_it(tmp_path, encoding, delimiter):
    folder, manifest = written(tmp_path)
    text = manifest.read_text().replace('path,', 'note,path,', 1).splitlines()
    text = [text[0], *(f'Fluß,{o}' for o in text[1:])]
    manifest.write_bytes('\n'.join(text).replace(',', delimiter).encode(encoding))
    with collect_notices() as notices: real = make_sandbox_from(folder, manifest)
    assert len(real.truth) == len(text) - 1 and any('1 column is not used: note' in o for o in notices)


def test_no_manifest(tmp_path):
    with pytest.raises(CamtrapsError, match='there is no such table. A manifest is a table with the columns path'):
        make_sandbox_from(tmp_path, tmp_path/'none.csv')


def test_boxes_without_errors(june):
    chosen = june.media[june.media.label.isin(SANDBOX_CLASSES)].groupby('label').head(1)
    exact = sandbox_boxes(june, misses=0, false_alarms=0, jitter=0, among=chosen.media_id)
    there = chosen[chosen.label != BLANK].set_index('media_id')['count']
    assert exact.groupby('media_id').size().to_dict() == there.to_dict()


def test_the_detector_errs_as_often_as_it_states():
    rng, box = np.random.default_rng(0), (.2, .3, .6, .9)
    seen = [o for _ in range(4000) for o in module._detected(rng, [(HUMAN, *box)], .05, .1, .05)]
    kind, edges = np.array([o[0] for o in seen]), np.array([o[1:] for o in seen])
    found, alarms = kind == HUMAN, kind == 'animal'
    assert [found.sum()/4000, alarms.sum()/4000] == pytest.approx([.95, .1], abs=.015)
    assert edges[found, 1:].mean(0) == pytest.approx(box, abs=.005)
    assert edges[found, 1:].std(0) == pytest.approx([.02, .03, .02, .03], abs=.002)
    assert edges[found, 0].mean() > .7 > .4 > edges[alarms, 0].mean()


def test_skilled_volunteers_are_more_often_right(small):
    animals = small.media[(small.media.second_label == '') & ~small.media.label.isin([BLANK, HUMAN])]
    votes = small.votes.merge(animals[['label']], left_on='media', right_index=True)
    right = votes.scientific_name.fillna('').str.strip().str.lower() == votes.label.str.lower()
    by_volunteer = right.groupby(votes.volunteer).mean()
    expected = small.volunteers.skill*(1 - small.volunteers.zones_out)
    assert np.corrcoef(by_volunteer, expected[by_volunteer.index])[0, 1] > .5


# ── the year with seasons ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope='module')
def year() -> Sandbox: return make_sandbox('year-2025', width=240, height=180)


def test_the_light_of_a_year_is_that_of_the_local_sun(year):
    "By the formulas of astral: by day the sun is up, at night it is down; ten minutes are 2.5 degrees at most."
    sun = pytest.importorskip('urbanrivers_camtraps.survey.health.sun')
    for _, media in year.media.groupby('deployment'):
        height = sun.sun_elevation(pd.DatetimeIndex(media.timestamp), media.latitude.iloc[0], media.longitude.iloc[0])
        assert height[media.light == 'day'].min() > 2.5 and height[media.light == 'night'].max() < -2.5
        assert np.abs(height[media.light == 'dusk']).max() < 9.5


def test_each_species_of_a_year_comes_in_its_season(year):
    month = year.media.timestamp.dt.tz_convert('America/Chicago').dt.month.groupby(year.media.label)
    assert month.get_group('Larus delawarensis').min() >= 9 and month.get_group('Trachemys scripta elegans').between(4, 11).all()
    assert month.get_group(BLANK).nunique() == 12


def test_two_cameras_change_on_their_day_and_no_other(year):
    day = year.media.timestamp.dt.tz_convert('America/Chicago').dt.strftime('%Y-%m-%d')
    for deployment, media in year.media.groupby('deployment'):
        changes = [o for o in YEAR_CHANGES if o[0] == deployment]
        later = day[media.index] >= (changes[0][1] if changes else '2026')
        assert media.view_seed.nunique() == media.view_seed[~later].nunique() + bool(changes)
        assert media.make[~later].nunique() == media.view_seed[~later].nunique() == 1
        replaced = bool(changes) and changes[0][2] == 'replaced'
        assert (media.make.nunique() == 2) == (media.camera_id.nunique() == 2) == replaced


def test_the_banner_of_a_year_shows_the_local_clock_and_the_view_its_half_month(year):
    row = next(year.media[year.media.light == 'day'].itertuples())
    assert row.clock == row.timestamp.tz_convert('America/Chicago').tz_localize(None)
    changed = {**row._asdict(), 'half_month': (row.half_month + 12) % 24}
    pictures = [np.asarray(Image.open(io.BytesIO(draw_photograph(o, 240, 180))), float) for o in (row._asdict(), changed)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 3


def test_the_same_seed_gives_the_same_year(year):
    again = make_sandbox('year-2025', width=240, height=180)
    pd.testing.assert_frame_equal(again.media, year.media)
    assert again.photograph(5) == year.photograph(5)
