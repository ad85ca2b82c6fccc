"""The whole path from a shell: the demo on the practice site, and on real frames where there are some."""
import os, shutil, subprocess, sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from urbanrivers_camtraps.bundle import read_bundle
from urbanrivers_camtraps.core import read_table

CAMTRAPS = Path(sys.executable).parent/'camtraps'
FRAMES = os.environ.get('CAMTRAPS_FRAMES')


def camtraps(
    *arguments: object, # verb and options
    folder: Path, # where to run it
) -> subprocess.CompletedProcess:
    "Run a verb as a person would."
    return subprocess.run([CAMTRAPS, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope='module')
def demo(tmp_path_factory) -> tuple[Path, str]:
    "The demo's folder, made once, and what the demo said."
    folder = tmp_path_factory.mktemp('demo')
    done = camtraps('demo', folder=folder)
    assert done.returncode == 0, done.stderr
    return folder/'demo', done.stdout


def test_demo_shows_the_whole_job(demo):
    folder, said = demo
    assert 'enough_votes' in said and 'error' in said and 'report.html' in said
    figures = pd.read_json(folder/'figures.json', typ='series')
    assert figures.error < figures.majority_error - .1
    page = (folder/'report.html').read_text(encoding='utf-8')
    assert '@' not in page.split('</style>')[1] and 'src="http' not in page and str(folder) not in page


def test_no_burst_stands_on_two_sides(demo):
    photographs = read_table(demo[0]/'dataset.parquet')
    assert photographs.groupby('burst_id').split.nunique().max() == 1
    assert photographs.groupby('burst_id').size().max() >= 3  # there are bursts to be torn apart


def test_no_volunteer_is_in_any_file(demo):
    for path in demo[0].rglob('*'):
        if path.is_file() and path.suffix != '.jpg': assert b'example.org' not in path.read_bytes(), path


def test_bundle_answers_as_the_learner_did(demo):
    test, bundle = read_table(demo[0]/'predictions.parquet').head(8), read_bundle(demo[0]/'bundle')
    from urbanrivers_camtraps.predict import predict
    os.chdir(demo[0].parent)
    answers = predict(bundle, test.path.tolist(), progress=False).table
    assert np.abs(np.stack(answers.scores) - np.stack(test.scores)).max() < .02


def test_second_run_fetches_only_what_is_missing(demo, tmp_path):
    copy = tmp_path/'demo'
    shutil.copytree(demo[0], copy)
    gone, *kept = sorted((copy/'images').rglob('*.jpg'))
    gone.unlink()
    times = {o: o.stat().st_mtime_ns for o in kept}
    from urbanrivers_camtraps.images import download_photographs
    from urbanrivers_camtraps.sandbox import make_practice, serve_practice
    labels = read_table(copy/'labels.parquet')
    with serve_practice(make_practice('small')) as site:
        labels['url'] = labels.url.str.replace(r'^http://[^/]+', site, regex=True)
        photographs, _ = download_photographs(labels, copy/'images', progress=False)
    assert gone.exists() and len(photographs) == len(kept) + 1
    assert times == {o: o.stat().st_mtime_ns for o in kept}


@pytest.mark.skipif(not FRAMES, reason='CAMTRAPS_FRAMES names no folder of real frames')
def test_demo_on_real_frames(tmp_path):
    done = camtraps('demo', '--images', FRAMES, '--manifest', Path(FRAMES)/'manifest.csv', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    photographs = read_table(tmp_path/'demo'/'dataset.parquet')
    given = pd.read_csv(Path(FRAMES)/'manifest.csv')
    import hashlib
    given['media_id'] = [hashlib.md5((Path(FRAMES)/o).read_bytes()).hexdigest() for o in given.path]
    both = photographs.merge(given[['media_id', 'seq_id']].drop_duplicates('media_id'), on='media_id')
    assert len(both) == len(photographs) > 1000
    assert both.groupby('seq_id').split.nunique().max() == 1  # the banner's own bursts, not those we found
    figures = pd.read_json(tmp_path/'demo'/'figures.json', typ='series')
    assert figures.error < .3 < figures.majority_error
