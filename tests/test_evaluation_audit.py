"""The audit finds each kind of leak where there is one, and keeps quiet where there is none."""
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('torch')

from urbanrivers_camtraps.evaluation.audit import (  # noqa: E402
    BANNER,
    FRAME,
    PLACE,
    Audit,
    AuditError,
    audit,
    audit_section,
    banner_strips,
    plot_audit,
    scene_background,
)
from urbanrivers_camtraps.foundations.pages import html_page
from urbanrivers_camtraps.foundations.tables import read_table, write_table  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe, load_pixels  # noqa: E402

RECIPE = Recipe(size=64)
CLASSES = np.array(['Branta canadensis', 'Castor canadensis'])
COLORS = ((230, 230, 220), (40, 25, 15))


def coarse(generator: np.random.Generator) -> np.ndarray:
    "Draw a scene of large blurred patches."
    patches = Image.fromarray(generator.integers(50, 200, (8, 8, 3)).astype('uint8'))
    return np.asarray(patches.resize((64, 64), Image.Resampling.BILINEAR)).astype(float)


def draw(path: Path, scene: np.ndarray, animal: int | None, banner: tuple[int, int, int] | None, generator: np.random.Generator) -> None:
    "Draw a scene with noise, an animal somewhere on it, and a banner of 6 rows at the bottom: one colour, or writing at random."
    image = Image.fromarray((scene + generator.normal(0, 6, scene.shape)).clip(0, 255).astype('uint8'))
    x, y, pen = *generator.integers(8, 42, 2), ImageDraw.Draw(image)
    if animal == 1: pen.rectangle((x, y, x + 14, y + 8), COLORS[1])
    if animal == 0: pen.ellipse((x, y, x + 12, y + 14), COLORS[0])
    pixels = np.array(image)
    pixels[58:] = generator.choice([20, 220], (6, 64, 1)) if banner is None else banner
    Image.fromarray(pixels).save(path)


def made_up(folder: Path, seed: int = 0, painted: bool = False, places: bool = False, siblings: bool = False) -> pd.DataFrame:
    "Make 6 deployments of 10 bursts of 2. What carries the class: the animal; `painted` banners; `places`; for `siblings` nothing."
    generator, rows = np.random.default_rng(seed), []
    for deployment in range(6):
        scene = coarse(generator)
        for burst, code in enumerate(generator.permutation(np.arange(10) % 2)):
            code, scene = deployment % 2 if places else code, coarse(generator) if siblings else scene
            for number in range(2):
                name, banner = f'{deployment}-{burst}-{number}', ((200, 40, 40), (40, 40, 200))[code] if painted else None
                draw(folder/f'{name}.png', scene, None if siblings else code, banner, generator)
                when = pd.Timestamp('2024-05-01', tz='UTC') + pd.Timedelta(days=burst, seconds=number)
                rows.append({'media_id': name, 'path': str(folder/f'{name}.png'), 'label': CLASSES[code], 'timestamp': when,
                             'burst_id': f'{deployment}-{burst}', 'deployment_id': f'deployment {deployment}',
                             'sha256': hashlib.sha256((folder/f'{name}.png').read_bytes()).hexdigest()})
    return pd.DataFrame(rows).assign(banner_top=0., banner_bottom=6/64)


@pytest.fixture(scope='module')
def clean_set(tmp_path_factory) -> pd.DataFrame:
    "Photographs without any leak."
    return made_up(tmp_path_factory.mktemp('clean'))


@pytest.fixture(scope='module')
def clean_audit(clean_set) -> Audit:
    "What is found in them."
    return audit(clean_set, RECIPE)


def test_a_clean_set_is_not_called_out(clean_audit):
    assert clean_audit.leaks == ()
    assert str(clean_audit).count('cannot be told from chance') == 2
    table = clean_audit.table.set_index(['what', 'by'])
    assert table.error[FRAME, 'burst'] < table.chance_error[FRAME, 'burst'] - .2  # the animal itself is recognised
    assert clean_audit.border == 0


def test_nor_is_another_clean_set(tmp_path):
    assert audit(made_up(tmp_path, seed=1), RECIPE).leaks == ()


def test_a_banner_that_carries_the_class_is_called_out(tmp_path):
    found = audit(made_up(tmp_path, painted=True), RECIPE)
    assert found.leaks == ('banner',)
    table = found.table.set_index(['what', 'by'])
    assert table.error[BANNER, 'burst'] < .02 and table.error[BANNER, 'deployment'] < .02  # it travels from place to place
    assert 'go on cutting them off' in str(found)


def test_a_place_that_carries_the_class_is_called_out(tmp_path):
    found = audit(made_up(tmp_path, places=True), RECIPE)
    assert 'place' in found.leaks and 'banner' not in found.leaks
    table = found.table.set_index(['what', 'by'])
    by_burst, by_deployment = table.macro_recall[PLACE, 'burst'], table.macro_recall[PLACE, 'deployment']
    assert by_burst > .9 and by_deployment < by_burst - .05  # .80 or .86, by the processor
    assert 'knowing the place' in str(found)


def test_siblings_on_both_sides_are_called_out(tmp_path):
    "Without an animal, in a scene of each burst's own, only a sibling in training can tell the label."
    found = audit(made_up(tmp_path, siblings=True), RECIPE)
    assert 'burst' in found.leaks and 'banner' not in found.leaks
    row = found.table.set_index(['what', 'by']).loc[(FRAME, 'burst')]
    assert row.promised < .35 < row.low and 'times as many' in str(found)


def test_the_test_set_is_not_looked_at(clean_set, clean_audit):
    "Rows of the test set without files change nothing, not even the classes."
    gone = clean_set.head(20).assign(split='test', path='nowhere.png', label='Neogale vison', media_id=lambda o: 'test ' + o.media_id, sha256='none')
    both = pd.concat([gone, clean_set.assign(split='train')], ignore_index=True)
    pd.testing.assert_frame_equal(audit(both, RECIPE).table, clean_audit.table)
    with pytest.raises(AuditError, match='two classes'): audit(both[both.split == 'test'], RECIPE)


def test_features_are_kept(clean_set, clean_audit, tmp_path):
    assert audit(clean_set, RECIPE, cache=tmp_path).table.equals(clean_audit.table)
    [file] = tmp_path.glob('features-*.parquet')
    written = file.stat().st_mtime_ns
    audit(clean_set, RECIPE, cache=tmp_path)
    assert file.stat().st_mtime_ns == written


def test_what_is_not_available_is_named(clean_set):
    some = clean_set.assign(location_id='one').drop(columns='deployment_id')
    found = audit(some, RECIPE, folds=2)
    why = found.table.set_index(['what', 'by']).reason
    assert why[FRAME, 'deployment'] == 'the table has no deployment_id' and why[FRAME, 'location'] == '1 location known: two are needed'
    assert 'Not available: whole frame, by location (1 location known: two are needed).' in str(found)
    assert found.border == len(clean_set)  # without deployments nothing but the border is left
    heading, text, body = audit_section(found)
    assert '1 location known' in body and 'nan' not in text.lower()
    assert '<svg' in html_page('audit', [(heading, text, body)])


def test_a_class_at_one_place_only_is_counted_and_left_out(clean_set):
    table = clean_set.assign(label=clean_set.label.where(clean_set.deployment_id != 'deployment 0', 'Neogale vison'))
    row = audit(table, RECIPE, folds=3).table.set_index(['what', 'by']).loc[(FRAME, 'deployment')]
    assert (row.unseen, row.photographs, row.chance_recall) == (20, 100, .5)


def test_groups_that_are_not_known_take_no_part_in_their_split(clean_set):
    some = clean_set.copy()
    some.loc[:9, ['burst_id', 'deployment_id']] = None
    table = audit(some, RECIPE, folds=2).table.set_index(['what', 'by'])
    assert table.photographs[FRAME].iloc[:3].tolist() == [120, 110, 110]


def test_backgrounds_hold_no_animal_and_nothing_of_their_own_burst(clean_set):
    squares, border = scene_background(clean_set, RECIPE, side=64)
    frames = load_pixels(clean_set, RECIPE, side=64).astype(int)
    assert not border.any() and squares.shape == (120, 64, 64, 3)
    for one in clean_set.groupby('deployment_id').indices.values():
        scene = np.median(frames[one], axis=0)
        left = (np.abs(squares[one] - scene).mean(-1) > 40).mean((1, 2))  # share of pixels that are not the scene
        animal = (np.abs(frames[one] - scene).mean(-1) > 40).mean((1, 2))
        assert left.mean() < .15*animal.mean()
    twin = clean_set.assign(path=clean_set.path.where(clean_set.burst_id != '0-5', clean_set.path[10]))  # siblings that are alike
    more = pd.concat([twin, *[twin[twin.burst_id == '0-5'].assign(media_id=f'more {o}') for o in range(3)]], ignore_index=True)
    assert np.abs(scene_background(more, RECIPE, side=64)[0][:10].astype(int) - squares[:10]).mean() < 6  # are no majority
    changed = clean_set.copy()
    mine = changed.burst_id == changed.burst_id[0]
    changed.loc[mine, 'path'] = clean_set.path.iloc[-1]
    assert (scene_background(changed, RECIPE, side=64)[0][mine] == squares[mine]).all()


def test_strips_show_nothing_of_the_scene(clean_set):
    row = clean_set.head(1)
    square = banner_strips(row, RECIPE, side=64)[0]
    assert (square[:32] == 128).all() and (square[32:] != 128).any()
    blind = clean_set.head(1).assign(path=str(Path(row.path[0]).with_name('blind.png')))
    pixels = np.array(Image.open(row.path[0]))
    pixels[:58] = 0
    Image.fromarray(pixels).save(blind.path[0])
    assert (banner_strips(blind, RECIPE, side=64)[0] == square).all()  # whatever the scene


def test_the_verdict_reads_the_table_alone(clean_audit, tmp_path):
    again = Audit(read_table(write_table(clean_audit.table, tmp_path/'audit.parquet')))
    assert (str(again), again.leaks) == (str(clean_audit), clean_audit.leaks)
    figure = plot_audit(again)
    assert len(figure.axes) == 2


def test_noise_is_no_leak():
    "Rules read intervals: a recall or a difference that chance may make is not called out."
    row = {'what': FRAME, 'by': 'image', 'error': .04, 'low': .02, 'high': .06, 'reason': None}
    burst = row | {'by': 'burst', 'error': .09, 'promised': .04, 'more_low': -.01, 'more_high': .1}
    banner = row | {'what': BANNER, 'by': 'burst', 'macro_recall': .2, 'recall_low': .12, 'recall_high': .28, 'chance_recall': .1, 'shuffled_recall': .13}
    assert Audit(pd.DataFrame([row, burst, banner])).leaks == ()
    sure = [row, burst | {'more_low': .01}, banner | {'recall_low': .15}]
    assert Audit(pd.DataFrame(sure)).leaks == ('burst', 'banner')
    small = [row, burst | {'error': .06, 'more_low': .01}, banner | {'recall_low': .11, 'macro_recall': .12, 'shuffled_recall': .1}]
    assert Audit(pd.DataFrame(small)).leaks == ()


# --- edge cases ---

def test_strips_of_one_side_leave_the_other_half_grey(clean_set):
    both = clean_set.head(3).assign(banner_top=.1)
    seen, below = banner_strips(both, RECIPE, side=64), banner_strips(both.assign(banner_top=0.), RECIPE, side=64)
    assert (below[:, :32] == 128).all() and (below[:, 32:] == seen[:, 32:]).all()
    assert banner_strips(clean_set.head(0), RECIPE).shape == (0, 112, 112, 3)


def test_backgrounds_without_other_bursts_are_borders(clean_set):
    lonely = clean_set.head(4).assign(burst_id='one')
    squares, border = scene_background(lonely, RECIPE, side=100)
    assert border.all() and (squares[:, 15:85, 15:85] == 128).all()
    assert (squares[:, :15] == load_pixels(lonely, RECIPE, side=100)[:, :15]).all()
    assert scene_background(clean_set.drop(columns='burst_id').head(3), RECIPE)[1].all()
    assert scene_background(clean_set.assign(deployment_id=[None] + ['a']*119).head(20), RECIPE)[1].tolist()[:1] == [True]
    assert scene_background(clean_set.drop(columns='timestamp').head(20), RECIPE)[1].sum() == 0
    assert scene_background(clean_set.head(0), RECIPE)[0].shape == (0, 112, 112, 3)


def test_little_is_judged_without_an_error(clean_set):
    uncut = audit(clean_set.assign(banner_bottom=0.), RECIPE, folds=2)
    assert 'nothing is cut off' in str(uncut) and 'banner' not in uncut.leaks
    bare = audit(clean_set[['media_id', 'path', 'label']].head(24), RECIPE, folds=2)
    assert bare.table.by[bare.table.reason.isna()].tolist() == ['image', 'image', 'image']
    assert bare.border == 24 and 'only the border' in str(bare) and plot_audit(bare)
    three = audit(clean_set.groupby('burst_id').head(1).sort_values('label').iloc[[0, -2, -1]], RECIPE, folds=2)
    assert three.leaks == () and str(three)
    with pytest.raises(AuditError, match='without a label'): audit(clean_set.assign(label=None), RECIPE)
