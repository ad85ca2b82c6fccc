"""Fetching while everything goes wrong: killed at random, faulty answers, changes meanwhile, people in every answer."""
import asyncio
import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from commands import CAMTRAPS, camtraps
from urbanrivers_camtraps.foundations.core import CamtrapsError, serve_in_background
from urbanrivers_camtraps.foundations.sandbox import FAULTS, Faults, make_sandbox, sandbox_app, serve_sandbox
from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.votes.api import Fetched, fetch_changes, fetch_observations, read_fetched, write_fetched
from urbanrivers_camtraps.votes.documents import EMPTY, LEFT_OUT, parse_document

KEY = 'a secret of sixteen bytes'
TABLES = ('observations.parquet', 'votes.parquet', 'media.parquet', 'fetch_skipped.csv')


@pytest.fixture(scope='module')
def practice():
    "A practice server with small photographs."
    return make_sandbox('small', width=320, height=240)


@pytest.fixture(scope='module')
def june():
    "A practice server of the real one's size."
    return make_sandbox('june-2025', width=320, height=240)


def environment() -> dict[str, str]:
    "The environment with the key for volunteers' ids."
    return {**os.environ, 'CAMTRAPS_VOLUNTEER_KEY': KEY}


def fetch(folder: Path, server: str, *options: str) -> subprocess.CompletedProcess:
    "Run `camtraps fetch` as a person would."
    return camtraps('fetch', '--server', server, '--data', folder, *options, folder=Path.cwd(), seconds=600, CAMTRAPS_VOLUNTEER_KEY=KEY)


def killed_fetch(folder: Path, server: str, pages: int, after: float, *options: str) -> int:
    "Start a fetch and kill it `after` seconds from when it has kept `pages` pages more; say how many are kept."
    kept = lambda: sum(o.endswith('.json') and o[0].isdigit() for o in os.listdir(folder/'.fetch')) if (folder/'.fetch').is_dir() else 0
    wanted = kept() + pages
    process = subprocess.Popen([CAMTRAPS, 'fetch', '--server', server, '--data', folder, *options], env=environment(),
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while kept() < wanted and process.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    try: process.wait(after)
    except subprocess.TimeoutExpired: process.send_signal(signal.SIGKILL)
    process.wait()
    return kept()


def bytes_below(folder: Path) -> bytes:
    "Everything that stands below a folder, names included; Parquet is compressed, so its values are added."
    found = b''
    for path in sorted(o for o in folder.rglob('*') if o.is_file()):
        found += str(path.relative_to(folder)).encode() + path.read_bytes()
        if path.suffix == '.parquet': found += read_table(path).to_csv().encode() + str(read_table(path).attrs).encode()
    return found


def test_four_pages_at_once_and_no_more(practice):
    app, now, most = sandbox_app(practice), 0, 0

    async def counting(scope, receive, send):
        nonlocal now, most
        if scope['type'] != 'http': return await app(scope, receive, send)
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(.05)
        await app(scope, receive, send)
        now -= 1

    with serve_in_background(counting) as server: fetch_observations(server, reviewed=True, page_size=20, progress=False)
    assert most == 4


def test_a_busy_server_is_left_alone_as_long_as_it_asks(practice):
    app, asked = sandbox_app(practice), []

    async def busy(scope, receive, send):
        if scope['type'] != 'http': return await app(scope, receive, send)
        asked.append(time.monotonic())
        if len(asked) != 2: return await app(scope, receive, send)
        await JSONResponse({'message': 'Too many requests'}, 429, {'Retry-After': '2'})(scope, receive, send)

    with serve_in_background(busy) as server: fetch_observations(server, reviewed=True, progress=False)
    assert len(asked) == 3 + 2 and asked[2] - asked[1] >= 2  # the second answer was: come back in two seconds; the last two are of places


def test_killed_ten_times_as_if_undisturbed(june, tmp_path):
    moments = random.Random(7)
    with serve_sandbox(june, Faults(row_delay=.3)) as server:
        assert fetch(tmp_path/'whole', server, '--volunteers').returncode == 0
        kept = [killed_fetch(tmp_path/'killed', server, moments.randint(0, 3), moments.uniform(0, .5), '--volunteers') for _ in range(10)]
        assert kept == sorted(kept) and len(set(kept)) > 5 and kept[-1] < 59, kept  # it went on, and did not begin again
        assert fetch(tmp_path/'killed', server, '--volunteers').returncode == 0
    for name in TABLES: assert (tmp_path/'killed'/name).read_bytes() == (tmp_path/'whole'/name).read_bytes(), name
    assert not (tmp_path/'killed'/'.fetch').exists()


@pytest.mark.parametrize('fault', FAULTS[:5])
def test_no_volunteer_in_any_byte_whatever_goes_wrong(practice, fault, tmp_path):
    people = [str(o).encode() for column in ('volunteer_id', 'name', 'email') for o in practice.volunteers[column]]
    people += [b'example.org', KEY.encode()]
    for share in (.3, 1.):
        with serve_sandbox(practice, Faults(**{fault: share}, retry_after=0, slow_seconds=.1)) as server:
            done = fetch(tmp_path, server, '--volunteers')
        assert done.returncode == 0 or share == 1
        written = bytes_below(tmp_path) + (done.stdout + done.stderr).encode()
        assert len(written) > 100 and not [o for o in people if o in written], fault


def test_no_volunteer_in_a_page_kept_by_a_killed_run(practice, tmp_path):
    people = [str(o).encode() for column in ('volunteer_id', 'name', 'email') for o in practice.volunteers[column]]
    with serve_sandbox(practice, Faults(row_delay=1.5)) as server:
        assert 1 <= killed_fetch(tmp_path, server, 1, 0, '--volunteers') < 3
    kept = bytes_below(tmp_path)
    assert kept.count(b'"records"') >= 1
    assert not [o for o in [*people, b'example.org', KEY.encode()] if o in kept]


def test_since_takes_over_from_the_last_run(practice, tmp_path):
    with serve_sandbox(practice) as server:
        assert fetch(tmp_path, server).returncode == 0
        before = {name: (tmp_path/name).read_bytes() for name in TABLES if (tmp_path/name).exists()}
        done = fetch(tmp_path, server, '--since', 'last')
        assert done.returncode == 0, done.stderr
        assert {name: (tmp_path/name).read_bytes() for name in before} == before  # nothing changed
        done = fetch(tmp_path, server, '--since', '2099-01-01')
    assert done.returncode == 1 and 'leave a hole' in done.stderr
    assert 'votes.parquet' not in before


# --- without a shell ---

#: One document of the server.
DOCUMENT = {
    '_id': '66540', 'mediaID': '9189635ca915cb3507c37f0b4c529846', 'publicURL': 'http://127.0.0.1/SYFW0158.JPG',
    'timestamp': '2024-02-03T17:21:09.000Z', 'updatedAt': '2024-02-05T08:00:00.000Z',
    'deploymentId': {'_id': '65b', 'locationName': 'Prologis 02', 'locationId': {
        '_id': '65c', 'locationName': 'Prologis', 'location': {'type': 'Point', 'coordinates': [-87.65, 41.9]}}},
    'speciesConsensus': [{'observationType': 'animal', 'scientificName': 'Branta canadensis', 'count': 2, 'observationCount': 3},
                         {'observationType': 'blank', 'scientificName': None, 'count': 1, 'observationCount': 1}]}


def answering(answer: dict):
    "Serve one JSON answer for everything."
    async def reply(request): return JSONResponse(answer)
    return serve_in_background(Starlette(routes=[Route('/{path:path}', reply)]))


def same(left: Fetched, right: Fetched) -> None:
    "Compare two fetches, without the addresses, which hold a port."
    pd.testing.assert_frame_equal(left.observations.drop(columns='url'), right.observations.drop(columns='url'))
    for name in ('media', 'votes', 'skipped'): pd.testing.assert_frame_equal(getattr(left, name), getattr(right, name))


def fetched_from(practice, **options) -> Fetched:
    "Everything reviewed on a practice server."
    with serve_sandbox(practice) as server: return fetch_observations(server, reviewed=True, progress=False, **options)


@pytest.fixture(scope='module')
def whole(practice) -> Fetched:
    "An undisturbed fetch."
    return fetched_from(practice)


def changed(practice, gone=(), voted=()):
    "The practice server after `gone` rows of its media were removed, and a volunteer called the `voted` ones a Muskrat."
    keep = ~practice.media.index.isin(gone)
    muskrats = [practice.votes[practice.votes.media == o].head(1).assign(scientific_name='Ondatra zibethicus',
                                                                       observation_type='animal') for o in voted]
    votes = pd.concat([practice.votes, *muskrats])
    votes = votes[votes.media.isin(practice.media.index[keep])].sort_values('media', kind='stable')
    updated_at = practice.media.updated_at.mask(practice.media.index.isin(voted), pd.Timestamp('2026-01-01', tz='UTC'))
    at = pd.Series(range(keep.sum()), practice.media.index[keep])
    return dataclasses.replace(practice, media=practice.media.assign(updated_at=updated_at)[keep].reset_index(drop=True),
                               votes=votes.assign(media=votes.media.map(at)).reset_index(drop=True), photograph=practice.photograph)


def switching(before, after, answers: int):
    "Serve `before` for the first `answers` answers, then `after`."
    apps, count = (sandbox_app(before), sandbox_app(after)), itertools.count()
    async def app(scope, receive, send): await apps[next(count) >= answers](scope, receive, send)
    return serve_in_background(app)


def rows_of(practice, count: int) -> list[int]:
    "Some reviewed rows of the media."
    return practice.media.document_id[practice.media.reviewed].sort_values().index[[5, 50, 120][:count]].tolist()


@pytest.mark.parametrize('answers', [2, 3, 5, 6, 8, 13])
@pytest.mark.parametrize('change', ['one goes', 'one comes', 'one goes, two come'])
def test_changes_meanwhile_lose_nothing(practice, change, answers):
    first, second, third = rows_of(practice, 3)
    less, other = changed(practice, gone=[first]), changed(practice, gone=[second, third])
    before, after = {'one goes': (practice, less), 'one comes': (less, practice), 'one goes, two come': (less, other)}[change]
    with switching(before, after, answers) as server:
        met = fetch_observations(server, reviewed=True, page_size=40, progress=False)
    same(met, fetched_from(after))


def test_what_the_server_left_empty_is_counted(practice, whole):
    hidden = practice.media[practice.media.reviewed & (practice.media.hidden != '')].hidden.value_counts()
    fields = ['publicURL', 'timestamp', 'deploymentId', 'speciesConsensus', 'deploymentId.locationId']
    assert whole.skipped.field.value_counts()[fields].tolist() == hidden[['url', 'timestamp', 'deployment', 'consensus', 'location']].tolist()
    assert set(whole.skipped.effect) == {EMPTY} and len(whole.votes) == 0
    everything = ''.join(o.to_csv() for o in (whole.observations, whole.media, whole.skipped))
    assert 'example.org' not in everything and not any(o in everything for o in practice.volunteers.name)


def test_single_votes_are_all_there_and_anonymous(practice):
    signed = fetched_from(practice, key=KEY)
    assert len(signed.votes) == len(practice.votes)
    assert 'example.org' not in signed.votes.to_csv() and 'secret' not in str(signed.query)


def test_errors_do_not_quote_people(practice):
    for fault in ('html', 'cut', 'error_500'):
        with serve_sandbox(practice, Faults(**{fault: 1})) as server, pytest.raises(CamtrapsError) as error:
            fetch_observations(server, reviewed=True, progress=False)
        assert 'example.org' not in str(error.value)


def test_a_slow_server_is_asked_for_fewer_rows(practice, whole):
    "With 8 s for a thousand rows and our patience at 0.4 s, it manages 50 at once."
    with serve_sandbox(practice, Faults(row_delay=8)) as server:
        same(fetch_observations(server, reviewed=True, page_size=160, timeout=.4, progress=False), whole)


@pytest.mark.parametrize('answer, complaint', [
    ({'totalImages': 1, 'totalPages': 1}, 'answered without a proper images'),
    ({'images': [], 'totalImages': 0, 'totalPages': 0}, 'knows no such photograph'),
    ({'images': [{**DOCUMENT, 'speciesConsensus': [{}]}], 'totalImages': 1}, 'speciesConsensus.0.observationCount: Field required'),
    ({'images': None, 'totalImages': 1, 'totalPages': '1'}, 'without a proper images')])
def test_an_answer_that_is_not_the_api_is_refused(answer, complaint):
    with answering(answer) as server, pytest.raises(CamtrapsError, match=complaint): fetch_observations(server, progress=False)


def test_a_short_fetch_is_listed():
    with answering({'images': [DOCUMENT], 'totalImages': 5}) as server: short = fetch_observations(server, progress=False)
    last = short.skipped.iloc[-1]
    assert (last.field, last.effect) == ('totalImages', LEFT_OUT) and 'has 5 photographs and 1 are here' in last.reason


def test_one_run_at_a_time_and_a_damaged_page_is_read_again(practice, whole, tmp_path):
    with serve_sandbox(practice) as server:
        fetch = lambda: fetch_observations(server, folder=tmp_path/'pages', page_size=200, reviewed=True, progress=False)
        fetch()
        (tmp_path/'pages'/'200-2.json').write_text('{"total": 6')
        same(fetch(), whole)
        before = json.loads((tmp_path/'pages'/'query.json').read_text())
        assert before['page_size'] == 200 and 'key' in before


def test_changes_that_would_leave_a_hole_are_refused(practice, whole):
    first, second, third = rows_of(practice, 3)
    later = changed(practice, voted=[second, third])
    expected = fetched_from(later)
    with serve_sandbox(changed(later, gone=[])) as server: same(fetch_changes(whole, server, page_size=40, progress=False), expected)
    with serve_sandbox(changed(practice, gone=[first])) as server: gone = fetch_changes(whole, server, progress=False)
    assert gone.skipped.effect.iloc[-1] == LEFT_OUT and f'and {len(whole.media)} are here' in gone.skipped.reason.iloc[-1]
    with serve_sandbox(later) as server:
        same(fetch_changes(gone, server, since='2020-01-01', progress=False), expected)  # healed
        same(fetch_changes(expected, server, page_size=40, progress=False), expected)  # nothing new


def test_undated_documents_cannot_be_merged(whole):
    undated = {name: value for name, value in DOCUMENT.items() if name != 'updatedAt'}
    with answering({'images': [undated], 'totalImages': 1}) as server:
        fetched = fetch_observations(server, progress=False)
        with pytest.raises(CamtrapsError, match='leave --since out'): fetch_changes(fetched, server, progress=False)
        with pytest.raises(CamtrapsError, match='does not say when a photograph changed'): fetch_changes(whole, server, progress=False)


def test_files_keep_everything(whole, tmp_path):
    back = read_fetched(write_fetched(whole, tmp_path))
    same(back, whole)
    assert back.query == whole.query and back.observations.url.equals(whole.observations.url)


def test_the_repr_is_short(whole): assert len(whole._repr_html_()) < 200 and 'photographs' in repr(whole)


# --- one document ---

def test_optional_fields_may_be_empty_or_wrong():
    nothing = {**DOCUMENT, 'deploymentId': None, 'publicURL': None, 'timestamp': None, 'speciesConsensus': None}
    assert parse_document(nothing).rows == []
    assert [o[2] for o in parse_document(nothing).skipped] == ['publicURL', 'timestamp', 'deploymentId', 'speciesConsensus']
    assert parse_document({**DOCUMENT, 'observations': 'none'}, key=KEY.encode()).skipped[0][2] == 'observations'
    for odd in ({'deploymentId': 'text'}, {'deploymentId': {'_id': {}}}, {'updatedAt': []}, {'publicURL': {}}):
        assert len(parse_document({**DOCUMENT, **odd}).rows) == 2  # kept, without what is wrong


def test_a_wrong_point_leaves_the_location():
    place = {'_id': '65b', 'locationId': {'_id': '65c', 'location': {'coordinates': ['here', 1]}}}
    assert parse_document({**DOCUMENT, 'deploymentId': place}).rows[0][3:9] == ('65b', None, '65c', None, None, None)
