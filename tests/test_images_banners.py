"""Banners of a real camera, if there are such frames: the practice server's are tried in the module's notebook."""
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from urbanrivers_camtraps.images import banners
from urbanrivers_camtraps.images.banners import PHOTOGRAPHS_NEEDED, add_banners, find_banners, plot_banners
from urbanrivers_camtraps.images.photograph import open_photograph

FRAMES = os.environ.get('CAMTRAPS_FRAMES')


@pytest.fixture(scope='module')
def frames() -> pd.DataFrame:
    "The table of a real RECONYX camera's frames: 256×256 pixels, paper of 5.3 and 5.2 rows, a logo of 11."
    if not FRAMES: pytest.skip('CAMTRAPS_FRAMES names no folder of real frames')
    table = pd.read_csv(Path(FRAMES)/'manifest.csv')
    paths = [str(Path(FRAMES)/o) for o in table.path]
    return table.assign(path=paths, deployment_id=table.location, burst_id=table.seq_id, width=256, height=256)


def test_banner_and_logo_of_a_real_camera(frames):
    banner, = find_banners(frames).itertuples()
    assert banner.banner_how == 'found'
    assert (round(banner.banner_top*256), round(banner.banner_bottom*256)) == (6, 11)  # paper at the top; logo at the bottom


def test_a_part_of_the_frames_says_the_same(frames):
    generator, answers = np.random.default_rng(0), []
    bursts = frames.drop_duplicates('seq_id')
    for _ in range(40):
        some = bursts.iloc[generator.choice(len(bursts), PHOTOGRAPHS_NEEDED, replace=False)]
        banner, = find_banners(some).itertuples()
        answers.append((banner.banner_how, round(banner.banner_top*256), round(banner.banner_bottom*256)))
    answers = pd.DataFrame(answers, columns=['how', 'top', 'bottom'])
    found = answers[answers.how == 'found']
    assert len(found) > 30 and (found.top >= 6).all() and (found.bottom >= 11).all(), answers.value_counts()
    assert (answers.top >= 6).all() and (answers.bottom >= 11).all()  # nothing of the writing is left, sure or not


def test_strips_of_real_frames_show_no_person(frames, monkeypatch):
    table, shown = add_banners(frames.head(300).assign(label=frames.observation_type)), []
    monkeypatch.setattr(banners, 'open_photograph', lambda path, side: shown.append(path) or open_photograph(path, side))
    plot_banners(table)
    assert table.label.isin(['human', 'vehicle']).any()
    assert shown and not table.set_index('path').label[shown].isin(['human', 'vehicle']).any()


@pytest.mark.parametrize('share, rows', [(0, 21), (.2, 45), (.7, 45), (1, 45)])
def test_a_camera_that_was_replaced_by_one_with_a_higher_banner(tmp_path, share, rows):
    "Two cameras with white paper of 20 and 44 rows and photographs of one size, one after the other at one deployment."
    generator, table = np.random.default_rng(1), []
    for number in range(40):
        depth, size = (44, 30) if number >= 40*(1 - share) else (20, 13)
        noise = generator.normal(generator.integers(40, 200), 40, (480, 640, 3))
        image = Image.fromarray(np.clip(noise, 0, 255).astype('uint8'))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 480 - depth, 640, 480), fill='white')
        text = f'2025-06-{number % 28 + 1:02} 1{number % 10}:22:0{number % 6}  {number*7 % 40}C  CAM 12'
        draw.text((10, 480 - depth + (depth - size)//2 - 1), text, 'black', ImageFont.load_default(size))
        image.save(tmp_path/f'{number}.jpg', quality=85)
        table.append({'path': tmp_path/f'{number}.jpg', 'width': 640, 'height': 480, 'deployment_id': 'd', 'timestamp': pd.Timestamp(number, unit='h')})
    banner, = find_banners(pd.DataFrame(table)).itertuples()
    assert (banner.banner_how, round(banner.banner_top*480), round(banner.banner_bottom*480)) == ('found', 0, rows)
