"""From votes to photographs at the real server's size: killed at random moments, and with faulty answers."""
import filecmp
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES, Faults, make_sandbox, serve_sandbox
from urbanrivers_camtraps.foundations.tables import read_table

SOME_SKIPPED = 3 # exit status: done, some photographs listed
CAMTRAPS = Path(sys.executable).parent/'camtraps'
TABLES = ('observations.parquet', 'media.parquet', 'fetch_skipped.csv', 'labels.parquet', 'funnel.parquet', 'dropped.parquet',
          'photographs.parquet')
#: Five answers in a hundred go wrong, in every way there is.
FAULTY = Faults(error_500=.01, cut=.01, too_many=.005, html=.005, slow=.005, truncated=.01, not_jpeg=.005, retry_after=0, slow_seconds=.1)


@pytest.fixture(scope='module')
def june():
    "A practice server of the real one's size, its photographs small."
    return make_sandbox('june-2025', width=160, height=120)


def start(server: str, data: Path) -> subprocess.Popen:
    "Start the three commands that bring the data, one after the other; a shell gives the exit status of the last."
    fetch = f'{CAMTRAPS} fetch --server {server} --species "{",".join(SANDBOX_SPECIES)}" --data {data}'
    clean = f'{CAMTRAPS} clean --method agreement --data {data}'  # fewer photographs than the default keeps
    command = f'{fetch} && {clean} && exec {CAMTRAPS} images --data {data}'
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    return subprocess.Popen(['sh', '-c', command], start_new_session=True, **quiet)


def progress(data: Path) -> int:
    "Count what stands there: pages, tables and photographs."
    try: return sum(len(list(data.glob(o))) for o in ('.fetch/*-*.json', '*.parquet', 'images/*/*.jpg'))
    except FileNotFoundError: return progress(data)  # a folder went while it was read


def killed(server: str, data: Path, more: int, after: float) -> int:
    "Start a run, kill it `after` seconds from when `more` files have come or gone, and say how many photographs it left."
    process, before, deadline = start(server, data), progress(data), time.monotonic() + 120
    while abs(progress(data) - before) < more and process.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    try: process.wait(after)
    except subprocess.TimeoutExpired: subprocess.run(['kill', '-KILL', '--', f'-{process.pid}'], check=True)
    process.wait()
    return len(list(data.glob('images/*/*.jpg')))


def images_of(data: Path) -> dict[str, bytes]:
    "Read all that stands below images/, by its place."
    return {str(o.relative_to(data)): o.read_bytes() for o in (data/'images').rglob('*') if o.is_file()}


@pytest.fixture(scope='module')
def undisturbed(june, tmp_path_factory):
    "The address of the server and the folder of a run that nothing disturbed."
    data = tmp_path_factory.mktemp('undisturbed')
    with serve_sandbox(june, Faults(row_delay=.1, photograph_delay=.02)) as server:
        assert start(server, data).wait(600) == 0
        yield server, data


def test_killed_ten_times_the_same_bytes(undisturbed, tmp_path):
    server, whole = undisturbed
    moments = random.Random(3)
    more = [0, 3, 40, 8, 100, 30, 5, 150, 60, 25]  # some in the fetch, some in the download
    left = [killed(server, tmp_path, o, moments.uniform(0, .5)) for o in more]
    assert left == sorted(left) and 0 < left[-1] < len(list(whole.glob('images/*/*.jpg'))), left
    assert left[0] == 0 and len(set(left)) > 3, left
    assert start(server, tmp_path).wait(600) == 0
    for name in TABLES[:-1]: assert filecmp.cmp(whole/name, tmp_path/name, shallow=False), name
    photographs = [read_table(o/'photographs.parquet') for o in (whole, tmp_path)]
    for table, data in zip(photographs, (whole, tmp_path)): table['path'] = table.path.str.removeprefix(str(data))
    pd.testing.assert_frame_equal(*photographs)
    assert images_of(tmp_path) == images_of(whole)


def test_faulty_answers_leave_it_short_only_of_what_is_listed(june, undisturbed, tmp_path):
    _, whole = undisturbed
    with serve_sandbox(june, FAULTY) as server: status = start(server, tmp_path).wait(600)
    there, here = (read_table(o/'observations.parquet').drop(columns='url') for o in (whole, tmp_path))
    pd.testing.assert_frame_equal(here, there)
    labels, photographs = read_table(tmp_path/'labels.parquet'), read_table(tmp_path/'photographs.parquet')
    listed = set(pd.read_csv(tmp_path/'skipped.csv').id) if status == SOME_SKIPPED else set()
    assert status in (0, SOME_SKIPPED) and len(listed) < len(labels)*.01
    assert set(labels.media_id) == set(photographs.media_id) | listed and not set(photographs.media_id) & listed
    stored, wanted = images_of(tmp_path), images_of(whole)
    assert len(photographs) > 1000 and all(data == wanted[name] for name, data in stored.items() if name.endswith('.jpg'))
