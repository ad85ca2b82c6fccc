"""Boxes where something moved: the same whatever the order of the rows, and none without neighbours."""
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.images.background import BOX
from urbanrivers_camtraps.images.motion import add_motion


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> pd.DataFrame:
    "Twelve frames of noise, a minute apart, with a bright square that moves."
    folder, generator, rows = tmp_path_factory.mktemp('frames'), np.random.default_rng(0), []
    for number in range(12):
        frame = generator.integers(60, 120, (90, 120))
        frame[20:35, 8*number:8*number + 15] = 240
        Image.fromarray(frame.astype('uint8')).save(folder/f'{number}.jpg', quality=90)
        rows.append({'path': str(folder/f'{number}.jpg'), 'label': 'Branta canadensis'})
    return pd.DataFrame(rows).assign(deployment_id='dock', timestamp=pd.date_range('2024-02-03 06:00', periods=12, freq='min', tz='UTC'))


def test_the_order_of_the_rows_does_not_matter(frames):
    moved, shuffled = add_motion(frames), add_motion(frames.sample(frac=1, random_state=0))
    assert shuffled.sort_index()[list(BOX)].equals(moved[list(BOX)])


def test_a_box_is_large_enough_and_within_the_frame(frames):
    moved = add_motion(frames)
    assert (moved.motion_right - moved.motion_left >= 1/3 - 1e-9).all()
    assert moved[list(BOX)].ge(0).all(axis=None) and moved[list(BOX)].le(1).all(axis=None)


def test_photographs_without_a_deployment_and_empty_tables(frames):
    partly = add_motion(frames.assign(deployment_id=[None]*2 + ['dock']*10))
    assert partly.motion_left.isna().tolist() == [True]*2 + [False]*10
    assert add_motion(frames.head(0)).columns.tolist() == [*frames.columns, *BOX]
