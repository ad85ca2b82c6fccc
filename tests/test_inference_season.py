"""A season's run that is killed, refused the disk or meets a dead host loses nothing it had written down; Ray gives the same rows."""
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from urbanrivers_camtraps.foundations.core import LockedError
from urbanrivers_camtraps.inference.season import PART, Job, predict_season, read_season

#: Runs a season over argv[2:5] (bundle, folder, out) with photographs read at most so many a second.
CHILD = """
import sys, time
from urbanrivers_camtraps.inference.season import Job, on_threads, predict_season
def slowly(sources, job):
    for result in on_threads(sources, job):
        time.sleep(.002)
        yield result
predict_season(sys.argv[2], sys.argv[3], Job(sys.argv[1]), slowly, progress=False)
"""


@pytest.fixture(scope='module')
def card(tmp_path_factory, photograph) -> Path:
    "A card of 700 photographs, told apart by trailing bytes; every hundredth is damaged."
    folder, data = tmp_path_factory.mktemp('season')/'card', photograph.read_bytes()
    folder.mkdir()
    for number in range(700): (folder/f'IMG_{number:04}.JPG').write_bytes(data[:2000] if number % 100 == 99 else data + number.to_bytes(4, 'big'))
    return folder


def parts(out: Path) -> list[Path]:
    "What a run has written down so far."
    return sorted(out.with_name(f'.{out.name}.parts').glob('*.parquet'))


def start(bundle: Path, card: Path, out: Path, **options) -> subprocess.Popen:
    "Start a run of its own."
    return subprocess.Popen([sys.executable, '-c', CHILD, bundle, card, out], stderr=subprocess.PIPE, text=True, **options)


def test_a_kill_costs_at_most_the_part_under_way(bundle_folder, card, tmp_path):
    out = tmp_path/'season.parquet'
    with start(bundle_folder, card, out) as run:
        while run.poll() is None and len(parts(out)) < 1: time.sleep(.01)
        run.send_signal(signal.SIGKILL)
    written = [pq.read_table(o).to_pandas() for o in parts(out)]
    assert [len(o) for o in written] == [PART]*len(written) and 1 <= len(written) < 700/PART and not out.exists()
    kept, asked = pd.concat(written), []

    def watched(sources, job):
        "Remember what is asked for."
        from urbanrivers_camtraps.inference.season import on_threads
        asked.extend(sources)
        return on_threads(sources, job)

    found = read_season(predict_season(card, out, Job(str(bundle_folder)), watched, progress=False))
    assert len(asked) == 700 - len(kept) and not set(asked) & set(kept.path)
    assert (len(found), len(found.skipped)) == (693, 7)
    assert found.skipped.reason.str.contains('damaged').all()
    whole = read_season(predict_season(card, tmp_path/'whole.parquet', Job(str(bundle_folder)), progress=False))
    pd.testing.assert_frame_equal(found, whole)  # as if nothing had happened, in the same order
    assert sorted(o.name for o in tmp_path.iterdir()) == ['season.parquet', 'whole.parquet']


def test_a_full_disk_is_named_and_what_was_written_stays(bundle_folder, card, tmp_path):
    out = tmp_path/'season.parquet'
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    with start(bundle_folder, card, out, preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), limit())) as run: errors = run.stderr.read()
    assert run.returncode != 0 and 'File too large' in errors
    assert not out.exists() and not [o for o in parts(out) if pq.read_table(o).num_rows != PART]
    assert len(read_season(predict_season(card, out, Job(str(bundle_folder)), progress=False))) == 693


def test_two_runs_do_not_mix(bundle_folder, card, tmp_path):
    out = tmp_path/'season.parquet'
    with start(bundle_folder, card, out) as run:
        while run.poll() is None and not parts(out): time.sleep(.01)
        with pytest.raises(LockedError, match='another run is writing'):
            predict_season(card, out, Job(str(bundle_folder)), progress=False)
        run.send_signal(signal.SIGKILL)


def test_memory_does_not_grow_with_the_season(bundle_folder, card, tmp_path):
    "Peak memory of a run over all photographs against one over a few."
    code = CHILD + "\nimport re, pathlib; print(int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])//1024)"
    few = tmp_path/'few'
    few.mkdir()
    for path in sorted(card.iterdir())[:30]: shutil.copy(path, few)
    peaks = [int(subprocess.run([sys.executable, '-c', code, bundle_folder, o, tmp_path/f'{o.name}.parquet'], capture_output=True, text=True,
                                check=True).stdout) for o in (few, card)]
    assert peaks[1] < peaks[0] + 60, peaks  # 700 decoded photographs would be a hundred times as much
