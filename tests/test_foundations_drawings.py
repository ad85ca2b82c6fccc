"""Drawn photographs: what they show, and that stored drawings never differ from fresh ones."""
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.foundations import drawings
from urbanrivers_camtraps.foundations.core import BLANK
from urbanrivers_camtraps.foundations.drawings import (
    BANNERS,
    DRAWN_CLASSES,
    animal_boxes,
    draw_animal,
    draw_banner,
    draw_photograph,
    draw_view,
)
from urbanrivers_camtraps.foundations.sandbox import make_sandbox


@pytest.fixture(scope='module')
def june() -> pd.DataFrame:
    "Media of a large sandbox: none of its photographs is drawn yet."
    return make_sandbox('june-2025').media


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    "An empty folder of drawings."
    monkeypatch.setenv('CAMTRAPS_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'/'drawings'


def fresh(row, *options) -> bytes:
    "Draw without looking into the folder of drawings."
    return drawings._draw_jpeg(drawings._as_row(row), *options)


@pytest.mark.parametrize('label', DRAWN_CLASSES)
def test_animal(label):
    for pose in (0., 1.):
        animal = draw_animal(label, 40, pose)
        assert (animal.mode, animal.size) == ('RGBA', (60, 60))
        assert np.asarray(animal)[..., 3].mean() > 15
        assert draw_animal(label, 40, pose).tobytes() == animal.tobytes()


def test_what_cannot_be_drawn():
    with pytest.raises(KeyError): draw_animal('Rara avis', 40)
    with pytest.raises(KeyError): draw_view('desert', 1, 64, 48)


@pytest.mark.parametrize('make', BANNERS)
def test_banner_has_the_height_it_states(make):
    plain = Image.new('RGB', (640, 480), '#7d8c7f')
    draw_banner(banner := plain.copy(), make, pd.Timestamp('2024-05-04 17:21:09', tz='UTC'), 'Wild Mile 02', 0, 12)
    changed = (np.asarray(banner) != np.asarray(plain)).any((1, 2))
    assert np.allclose([changed[:240].mean()/2, changed[240:].mean()/2], BANNERS[make][0], atol=.006)


def test_boxes_hold_what_differs_from_the_scene_without_the_animal(june):
    "What differs is the animal in its box, and beside it at most its shadow, its reflection and grass."
    alone = june[(june['count'] == 1) & (june.second_label == '') & (june.label != BLANK)].sample(12, random_state=1)
    for media in alone.itertuples():
        row = drawings._as_row(media)
        empty = drawings._as_row({**vars(row), 'label': BLANK})
        there, nothing = (np.asarray(drawings._draw_scene(o, 640, 480, 1.)[0]) for o in (row, empty))
        [(_, *box)] = animal_boxes(media, 640, 480)
        left, top, right, bottom = (np.array(box)*([640, 480]*2)).round().astype(int)
        changed = (there != nothing).any(2)
        inside = changed[top:bottom, left:right]
        assert inside.mean() > .3 and inside.sum() > .4*changed.sum()
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert rows[0] <= top + 2 and rows[-1] >= bottom - 3 and columns[0] <= left + 2 and columns[-1] >= right - 3


def test_any_kind_of_row(june, cache):
    row = next(june.itertuples())
    series = june.loc[0]
    same = {draw_photograph(o, 64, 48) for o in (row, series, series.to_dict())}
    assert len(same) == 1


# ── the folder of drawings ──────────────────────────────────────────────────────────────────────────────────────────


OPTIONS = (160, 120, 75, 1.)


def test_stored_bytes_are_the_fresh_ones(june, cache):
    rows = june[(june.index % 4000) == 0]
    first = [draw_photograph(row, *OPTIONS) for row in rows.itertuples()]
    assert len(list(cache.iterdir())) == len(rows)
    again = [draw_photograph(row, *OPTIONS) for row in rows.itertuples()]
    assert first == again == [fresh(row, *OPTIONS) for row in rows.itertuples()]


def test_own_folder_of_drawings_is_not_stale(june):
    "Also what earlier runs have left in the folder of this machine."
    small = make_sandbox('small')
    for number in (0, 100, 400):
        assert small.photograph(number) == fresh(small.media.loc[number], 1280, 960, 75, 1.)


def test_stored_drawing_is_read(june, cache):
    row = june.loc[0]
    draw_photograph(row, *OPTIONS)
    [path] = cache.iterdir()
    path.write_bytes(b'\xff\xd8 stored \xff\xd9')
    assert draw_photograph(row, *OPTIONS) == b'\xff\xd8 stored \xff\xd9'
    path.write_bytes(b'\xff\xd8 half a')
    assert draw_photograph(row, *OPTIONS) == fresh(row, *OPTIONS) == path.read_bytes()


@pytest.mark.parametrize('field', drawings._FIELDS)
def test_every_field_decides(june, cache, field):
    row, other = (drawings._as_row(o) for o in (june.loc[0], {**june.loc[0], field: 'another value'}))
    assert drawings._stored_path(row, OPTIONS) != drawings._stored_path(other, OPTIONS)


@pytest.mark.parametrize('number', range(4))
def test_every_option_decides(june, cache, number):
    row, options = drawings._as_row(june.loc[0]), list(OPTIONS)
    options[number] += 1
    assert drawings._stored_path(row, OPTIONS) != drawings._stored_path(row, tuple(options))


def test_the_code_decides(june, cache, monkeypatch):
    row = drawings._as_row(june.loc[0])
    before = drawings._stored_path(row, OPTIONS)
    monkeypatch.setattr(drawings, '_version', lambda: 'of other code')
    assert drawings._stored_path(row, OPTIONS) != before


def test_nothing_is_stored_if_switched_off(june, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('CAMTRAPS_CACHE', 'off')
    assert draw_photograph(june.loc[0], *OPTIONS) == fresh(june.loc[0], *OPTIONS) and not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(june, tmp_path, monkeypatch):
    (tmp_path/'file').write_text('in the way')
    monkeypatch.setenv('CAMTRAPS_CACHE', str(tmp_path/'file'))
    assert draw_photograph(june.loc[0], *OPTIONS) == fresh(june.loc[0], *OPTIONS)


def test_full_disk(june, cache, monkeypatch):
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    assert draw_photograph(june.loc[0], *OPTIONS) == fresh(june.loc[0], *OPTIONS) and not list(cache.iterdir())


def test_no_home(june, monkeypatch):
    def homeless(): raise RuntimeError('Could not determine home directory.')
    for name in ('CAMTRAPS_CACHE', 'XDG_CACHE_HOME'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, 'home', homeless)
    assert draw_photograph(june.loc[0], *OPTIONS) == fresh(june.loc[0], *OPTIONS)


def test_oldest_drawings_go(cache, monkeypatch):
    cache.mkdir(parents=True)
    for age, name in enumerate(('new.jpg', 'old.jpg', 'oldest.jpg')):
        (cache/name).write_bytes(b'x'*100)
        os.utime(cache/name, (1e9 - age, 1e9 - age))
    (cache/'killed.part').write_bytes(b'')
    os.utime(cache/'killed.part', (1e9, 1e9))
    (cache/'at work.part').write_bytes(b'')
    monkeypatch.setattr(drawings, '_LARGEST_CACHE', 200)
    drawings._tidy(cache)
    assert {o.name for o in cache.iterdir()} == {'new.jpg', 'old.jpg', 'at work.part'}


def draw_all(numbers: list[int]) -> list[bytes]:
    "Draw the same photographs in a process."
    media = make_sandbox('june-2025').media
    return [draw_photograph(media.loc[o], *OPTIONS) for o in numbers]


def test_two_processes_at_once(june, cache):
    numbers = list(range(20))
    with multiprocessing.get_context('spawn').Pool(2) as pool:
        first, second = pool.map(draw_all, [numbers]*2, chunksize=1)
    assert first == second == [fresh(june.loc[o], *OPTIONS) for o in numbers]
    assert sorted(o.suffix for o in cache.iterdir()) == ['.jpg']*20


def test_killed_while_drawing(june, cache):
    "What a killed process leaves is a whole drawing, or one under a name that nobody reads."
    code = ('from urbanrivers_camtraps.foundations.sandbox import make_sandbox\n'
            'from urbanrivers_camtraps.foundations.drawings import draw_photograph\n'
            'media = make_sandbox("june-2025").media\nprint(flush=True)\n'
            'for row in media.itertuples(): draw_photograph(row, 160, 120)')
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        while not (cache.is_dir() and len(list(cache.glob('*.jpg'))) > 5) and process.poll() is None: pass
        process.kill()
    for path in cache.glob('*.jpg'): Image.open(path).load()
