"""Reading the site while everything goes wrong: killed at random, faulty answers, people in every answer."""
import asyncio, os, random, signal, socket, subprocess, sys, threading, time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.responses import JSONResponse

from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.foundations.sandbox import FAULTS, Faults, make_sandbox, sandbox_app, serve_sandbox
from urbanrivers_camtraps.votes.api import fetch_observations

CAMTRAPS = Path(sys.executable).parent/'camtraps'
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


def fetch(folder: Path, site: str, *options: str) -> subprocess.CompletedProcess:
    "Run `camtraps fetch` as a person would."
    return subprocess.run([CAMTRAPS, 'fetch', '--server', site, '--data', folder, *options], env=environment(),
                          capture_output=True, text=True, timeout=300)


def killed_fetch(folder: Path, site: str, pages: int, after: float, *options: str) -> int:
    "Start a fetch and kill it `after` seconds from when it has kept `pages` pages more; say how many are kept."
    kept = lambda: sum(o.endswith('.json') and o[0].isdigit() for o in os.listdir(folder/'.fetch')) if (folder/'.fetch').is_dir() else 0
    wanted = kept() + pages
    process = subprocess.Popen([CAMTRAPS, 'fetch', '--server', site, '--data', folder, *options], env=environment(),
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


@contextmanager
def serving(app: Callable):
    "Serve an app on loopback; yields its address."
    listener = socket.create_server(('127.0.0.1', 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level='critical'))
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]}, daemon=True)
    thread.start()
    try: yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    finally:
        server.should_exit = True
        thread.join(10)


def test_four_pages_at_once_and_no_more(practice):
    app, now, most = sandbox_app(practice), 0, 0

    async def counting(scope, receive, send):
        nonlocal now, most
        if scope['type'] != 'http': return await app(scope, receive, send)
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(.05)
        await app(scope, receive, send)
        now -= 1

    with serving(counting) as site: fetch_observations(site, reviewed=True, page_size=20, progress=False)
    assert most == 4


def test_a_busy_site_is_left_alone_as_long_as_it_asks(practice):
    app, asked = sandbox_app(practice), []

    async def busy(scope, receive, send):
        if scope['type'] != 'http': return await app(scope, receive, send)
        asked.append(time.monotonic())
        if len(asked) != 2: return await app(scope, receive, send)
        await JSONResponse({'message': 'Too many requests'}, 429, {'Retry-After': '2'})(scope, receive, send)

    with serving(busy) as site: fetch_observations(site, reviewed=True, progress=False)
    assert len(asked) == 3 and asked[2] - asked[1] >= 2  # the second answer was: come back in two seconds


def test_killed_ten_times_as_if_undisturbed(june, tmp_path):
    moments = random.Random(7)
    with serve_sandbox(june, Faults(row_delay=.3)) as site:
        assert fetch(tmp_path/'whole', site, '--volunteers').returncode == 0
        kept = [killed_fetch(tmp_path/'killed', site, moments.randint(0, 3), moments.uniform(0, .5), '--volunteers') for _ in range(10)]
        assert kept == sorted(kept) and len(set(kept)) > 5 and kept[-1] < 59, kept  # it went on, and did not begin again
        assert fetch(tmp_path/'killed', site, '--volunteers').returncode == 0
    for name in TABLES: assert (tmp_path/'killed'/name).read_bytes() == (tmp_path/'whole'/name).read_bytes(), name
    assert not (tmp_path/'killed'/'.fetch').exists()


@pytest.mark.parametrize('fault', FAULTS[:5])
def test_no_volunteer_in_any_byte_whatever_goes_wrong(practice, fault, tmp_path):
    people = [str(o).encode() for column in ('volunteer_id', 'name', 'email') for o in practice.volunteers[column]]
    people += [b'example.org', KEY.encode()]
    for share in (.3, 1.):
        with serve_sandbox(practice, Faults(**{fault: share}, retry_after=0, slow_seconds=.1)) as site:
            done = fetch(tmp_path, site, '--volunteers')
        assert done.returncode == 0 or share == 1
        written = bytes_below(tmp_path) + (done.stdout + done.stderr).encode()
        assert len(written) > 100 and not [o for o in people if o in written], fault


def test_no_volunteer_in_a_page_kept_by_a_killed_run(practice, tmp_path):
    people = [str(o).encode() for column in ('volunteer_id', 'name', 'email') for o in practice.volunteers[column]]
    with serve_sandbox(practice, Faults(row_delay=1.5)) as site:
        assert 1 <= killed_fetch(tmp_path, site, 1, 0, '--volunteers') < 3
    kept = bytes_below(tmp_path)
    assert kept.count(b'"records"') >= 1
    assert not [o for o in [*people, b'example.org', KEY.encode()] if o in kept]


def test_since_takes_over_from_the_last_run(practice, tmp_path):
    with serve_sandbox(practice) as site:
        assert fetch(tmp_path, site).returncode == 0
        before = {name: (tmp_path/name).read_bytes() for name in TABLES if (tmp_path/name).exists()}
        done = fetch(tmp_path, site, '--since', 'last')
        assert done.returncode == 0, done.stderr
        assert {name: (tmp_path/name).read_bytes() for name in before} == before  # nothing changed
        done = fetch(tmp_path, site, '--since', '2099-01-01')
    assert done.returncode == 1 and 'leave a hole' in done.stderr
    assert 'votes.parquet' not in before
