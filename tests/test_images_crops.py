"""Crops that are cut at the edge, below a banner, from turned and shrunk photographs, killed half-way and on a full disk; siblings and people."""
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.dataset.splits import add_folds, split_photographs
from urbanrivers_camtraps.foundations.core import HUMAN, CamtrapsError
from urbanrivers_camtraps.images.crops import EDGES, CropError, crop_boxes, crop_edges, plot_crops, write_crops
from urbanrivers_camtraps.images.photograph import describe_photograph, open_photograph

ORANGE, BANNER = (240, 140, 0), (0, 0, 255)
WRITE = """import sys, resource, pandas as pd
from urbanrivers_camtraps.images.crops import write_crops
crops, folder, limit = pd.read_parquet(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print('ready', flush=True)
write_crops(crops, folder, workers=1, progress=False)
"""


def detected(*boxes: tuple) -> pd.DataFrame:
    "Boxes as (media_id, category, confidence, left, top, right, bottom)."
    table = pd.DataFrame(boxes, columns=['media_id', 'category', 'confidence', *EDGES])
    return table.assign(detection=table.groupby('media_id').cumcount())


def scene(path: Path, box: tuple, size: tuple = (400, 300), banner: int = 0, **options) -> dict:
    "Write a grey photograph with an orange box, in pixels, and a blue banner below; give its row."
    image = Image.new('RGB', size, (90, 90, 90))
    image.paste(ORANGE, box)
    if banner: image.paste(BANNER, (0, size[1] - banner, *size))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95, subsampling=0, **options)
    return {'media_id': path.stem, 'label': 'Branta canadensis', 'banner_top': 0., 'banner_bottom': banner/size[1], **describe_photograph(path)}


def share(path: str | Path, color: tuple) -> float:
    "Give the share of a picture's pixels that have about this colour."
    return (np.abs(np.asarray(open_photograph(path)).astype(int) - color).max(2) < 60).mean()


def noisy(folder: Path, count: int, each: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Write photographs of noise, the fourth of them flat; give them and `each` boxes on each."
    folder.mkdir(parents=True, exist_ok=True)
    rows, boxes = [], []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (120, 160, 3), 'uint8')
        if number == 3: pixels[:] = 128
        Image.fromarray(pixels).save(folder/f'{number:03}.jpg', quality=90)
        rows.append({'media_id': f'{number:03}', 'label': ('Branta canadensis', 'blank')[number % 2],
                     'banner_top': 0., 'banner_bottom': 0., **describe_photograph(folder/f'{number:03}.jpg')})
        boxes += [(f'{number:03}', 'animal', .9 - .1*o, .1 + .2*o, .2, .4 + .2*o, .6) for o in range(each)]
    return pd.DataFrame(rows), detected(*boxes)


def files(folder: Path) -> dict[str, bytes]:
    "Read all that stands below a folder but its lock."
    return {o.relative_to(folder).as_posix(): o.read_bytes() for o in sorted(folder.rglob('*')) if o.is_file() and o.name != '.lock'}


def child(tmp_path: Path, crops: pd.DataFrame, folder: Path, limit: int = 0) -> subprocess.Popen:
    "Write crops in another process."
    crops.to_parquet(tmp_path/'crops.parquet')
    return subprocess.Popen([sys.executable, '-c', WRITE, tmp_path/'crops.parquet', folder, str(limit)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_animal_is_in_the_crop_and_the_banner_is_not(tmp_path):
    middle, corner = scene(tmp_path/'middle.jpg', (160, 120, 240, 160), banner=30), scene(tmp_path/'corner.jpg', (0, 230, 60, 270), banner=30)
    frames = pd.DataFrame([middle, corner])
    boxes = detected(('middle', 'animal', .9, .4, .4, .6, 160/300), ('corner', 'animal', .9, 0, 230/300, .15, 1), ('corner', 'animal', .9, .8, .92, .9, .98))
    crops, _ = write_crops(crop_boxes(frames, boxes, square=False), tmp_path/'crops', progress=False)
    assert crops.media_id.tolist() == ['middle_0', 'corner_0']  # the box in the banner is no animal
    assert crops[['width', 'height']].to_numpy().tolist() == [[96, 48], [72, 48]]
    assert share(crops.path[0], ORANGE) == pytest.approx(80*40/(96*48), abs=.02)
    assert share(crops.path[1], ORANGE) == pytest.approx(60*40/(72*48), abs=.02)
    assert [share(o, BANNER) for o in crops.path] == [0, 0]
    assert (crops.banner_top == 0).all() and (crops.banner_bottom == 0).all() and crops.frame_path.tolist() == frames.path.tolist()


def test_a_photograph_turned_by_its_tag_is_cut_upright(tmp_path):
    upright, tag = scene(tmp_path/'upright.jpg', (40, 300, 120, 380), (300, 400)), Image.Exif()
    tag[0x0112] = 6  # the camera hung on its side: to be turned a quarter to the right
    with Image.open(upright['path']) as image: image.rotate(90, expand=True).save(tmp_path/'turned.jpg', quality=95, subsampling=0, exif=tag)
    turned = {**upright, 'media_id': 'turned', 'path': str(tmp_path/'turned.jpg')}
    frames = pd.DataFrame([upright, turned])
    boxes = detected(*[(o, 'animal', .9, 40/300, .75, .4, .95) for o in frames.media_id])
    crops, skipped = write_crops(crop_boxes(frames, boxes), tmp_path/'crops', progress=False)
    assert skipped.empty and crops.width.tolist() == crops.height.tolist() == [96, 96]
    for path in crops.path: assert share(path, ORANGE) == pytest.approx((80/96)**2, abs=.02)


def test_originals_give_more_pixels_and_only_the_path_decides(tmp_path):
    original = scene(tmp_path/'originals'/'a.jpg', (1600, 1200, 1800, 1400), (4000, 3000))
    (tmp_path/'stored').mkdir()
    open_photograph(original['path'], 1000).save(tmp_path/'stored'/'a.jpg', quality=90)
    stored, boxes = {**original, **describe_photograph(tmp_path/'stored'/'a.jpg')}, detected(('a', 'animal', .9, .4, .4, .45, 1400/3000))
    tables = (pd.DataFrame([stored | {'path': o}]) for o in (stored['path'], original['path']))
    small, large = (write_crops(crop_boxes(o, boxes), tmp_path/'crops', progress=False)[0] for o in tables)
    assert (small.width[0], large.width[0]) == (60, 240) and small.sha256[0] != large.sha256[0]  # cut anew, since it comes from another file
    for o in (large,): assert share(o.path[0], ORANGE) == pytest.approx((200/240)**2, abs=.02)
    shrunk, _ = write_crops(crop_boxes(pd.DataFrame([original]), boxes), tmp_path/'crops', max_side=100, progress=False)
    assert (shrunk.width[0], shrunk.height[0]) == (100, 100)


def test_tiny_boxes_and_frames_without_one(tmp_path):
    rows = [scene(tmp_path/f'{o}.jpg', (200, 150, 204, 152)) for o in ('tiny', 'flat', 'none')]
    boxes = detected(('tiny', 'animal', .9, .5, .5, .51, .506), ('flat', 'animal', .9, .5, .5, .5, .6), ('flat', 'animal', .1, .2, .2, .4, .4))
    crops, _ = write_crops(crop_boxes(pd.DataFrame(rows), boxes), tmp_path/'crops', progress=False)
    assert crops.media_id.tolist() == ['tiny_0'] and (crops.width[0], crops.height[0]) == (32, 32)
    assert open_photograph(crops.path[0]).size == (32, 32)  # large enough for every other room
    wide = detected(('tiny', 'animal', .9, 0, .5, 1, .505))
    crops, _ = write_crops(crop_boxes(pd.DataFrame(rows), wide, square=False), tmp_path/'wide', progress=False)
    # an eighth of the 480 that it would have with its margin
    assert open_photograph(crops.path[0]).size == (400, 60)


def test_siblings_and_their_crops_are_on_one_side(tmp_path):
    generator = np.random.default_rng(0)
    frames = pd.DataFrame({'media_id': [f'{o:03}' for o in range(240)], 'label': np.repeat(['Branta canadensis', 'Anas platyrhynchos'], 120), 'path': 'x.jpg',
                           'width': 640, 'height': 480, 'burst_id': [f'{o//3}' for o in range(240)]})
    frames = add_folds(split_photographs(frames))
    boxes = detected(*[(o, 'animal', .9, *np.sort(generator.random((2, 2)), 0).ravel()) for o in frames.media_id for _ in range(3)])
    crops = crop_boxes(frames, boxes)
    assert len(crops) > 400 and crops.media_id.is_unique
    assert crops.groupby('burst_id').split.nunique().max() == 1 and crops.groupby('burst_id').fold.nunique(dropna=False).max() == 1
    own = frames.set_index('media_id').loc[crops.frame_id]
    for column in ('split', 'burst_id', 'label'): assert crops[column].tolist() == own[column].tolist()


def test_people_are_no_training_photographs_of_animals_and_are_not_drawn(tmp_path):
    rows = [scene(tmp_path/f'{o}.jpg', (100, 100, 200, 200)) for o in ('goose', 'person', 'nothing')]
    frames = pd.DataFrame(rows).assign(label=['Branta canadensis', HUMAN, 'blank'])
    boxes = detected(*[(o, kind, .9, *box) for o in frames.media_id for kind, box in (('animal', (.2, .3, .5, .7)), ('human', (.6, .2, .9, .9)))])
    crops = crop_boxes(frames, boxes)
    trained = crops[crops.for_training]
    assert list(zip(trained.frame_id, trained.category, trained.label)) == [
        ('goose', 'animal', 'Branta canadensis'), ('person', 'human', HUMAN), ('nothing', 'animal', 'blank')]
    written, _ = write_crops(crops, tmp_path/'crops', progress=False)
    people = written[(written.category == HUMAN) | (written.frame_id == 'person')]
    assert set(Path(o).parent.name for o in people.path) == {HUMAN} and len(written) == 6
    drawn = plot_crops(written)
    assert sum(len(ax.patches) for ax in drawn.axes) == 2


def test_killed_half_way_it_goes_on_where_it_was(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 150, each=2)
    crops, killed = crop_boxes(frames, boxes), tmp_path/'killed'
    whole, _ = write_crops(crops, tmp_path/'whole', progress=False)
    stood = []
    for wanted in (40, 160):
        process = child(tmp_path, crops, killed)
        while process.poll() is None and len(list(killed.glob('*/*.jpg'))) < wanted: time.sleep(.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        stood.append({o: o.stat().st_mtime_ns for o in killed.glob('*/*.jpg')})
    assert 40 <= len(stood[0]) < len(stood[1]) < 300 and stood[0].items() <= stood[1].items(), list(map(len, stood))
    assert all(files(tmp_path/'whole')[o.relative_to(killed).as_posix()] == o.read_bytes() for o in stood[1])  # no half file
    again, _ = write_crops(crops, killed, progress=False)
    assert stood[1].items() <= {o: o.stat().st_mtime_ns for o in killed.glob('*/*.jpg')}.items()
    assert files(killed) == files(tmp_path/'whole')
    pd.testing.assert_frame_equal(again.drop(columns='path'), whole.drop(columns='path'))


def test_no_room_is_an_error_and_leaves_no_half_file(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 8)
    crops, folder = crop_boxes(frames, boxes), tmp_path/'crops'
    whole, _ = write_crops(crops, tmp_path/'whole', progress=False)
    sizes = [Path(o).stat().st_size for o in whole.path]
    assert sizes[3] < 1500 < 3000 < min(sizes[:3])
    order = crops.iloc[[3, 0, 1, 2]].reset_index(drop=True)
    process = child(tmp_path, order, folder, limit=2000)  # files may grow no further, as on a disk that is full
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and 'CropError' in said and 'not all crops were written (File too large)' in said and 'Make room' in said
    assert [o for o in files(folder)] == ['blank/003_0.jpg']
    assert list(write_crops(crops, folder, progress=False)[0].sha256) == list(whole.sha256)
    assert files(folder) == files(tmp_path/'whole')


def test_a_folder_that_another_run_writes_into_is_left_alone(tmp_path):
    import filelock
    frames, boxes = noisy(tmp_path/'frames', 2)
    (tmp_path/'crops').mkdir()
    with filelock.FileLock(tmp_path/'crops'/'.lock'), pytest.raises(Exception, match='another run is writing'):
        write_crops(crop_boxes(frames, boxes), tmp_path/'crops', progress=False)


def test_boxes_in_pixels_are_refused(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 2)
    boxes[EDGES] *= 160
    with pytest.raises(CropError, match='not shares of the frame'): crop_boxes(frames, boxes)


def test_a_copy_smaller_than_the_table_says_gives_crops_that_open(tmp_path):
    row = scene(tmp_path/'a.jpg', (500, 300, 520, 320), (1000, 750))
    (tmp_path/'small').mkdir()
    open_photograph(row['path'], 250).save(tmp_path/'small'/'a.jpg')
    boxes = detected(('a', 'animal', .9, .5, .4, .52, 320/750))
    crops, _ = write_crops(crop_boxes(pd.DataFrame([row | {'path': str(tmp_path/'small'/'a.jpg')}]), boxes), tmp_path/'crops', progress=False)
    assert open_photograph(crops.path[0]).size == (16, 16)  # 8 of its pixels


def frame_of(**columns) -> pd.DataFrame:
    "A frame of 1,000×500 pixels."
    return pd.DataFrame([{'media_id': 'a', 'path': 'a.jpg', 'width': 1000, 'height': 500, 'banner_top': .1, 'banner_bottom': .2,
                          'label': 'Branta canadensis', 'confidence': .99, **columns}])


def cut(*boxes: tuple, frame: pd.DataFrame | None = None, category: str = 'animal', confidence: float = .9, **settings) -> pd.DataFrame:
    "The crops of boxes in one frame."
    rows = [('a', number, category, confidence, *box) for number, box in enumerate(boxes)]
    detections = pd.DataFrame(rows, columns=['media_id', 'detection', 'category', 'confidence', *EDGES])
    return crop_boxes(frame_of() if frame is None else frame, detections, **settings)


@pytest.mark.parametrize('box, settings, edges', [
    ((0, .4, .1, .6), {}, [0, .38, .12, .62]),  # moved inwards at the left,
    ((.95, .7, 1.05, .88), {}, [.94, .68, 1, .8]),  # at the right and above the banner, 50 × 50 pixels of it in the scene
    ((.4, .05, .6, .3), {'margin': 0, 'square': False}, [.4, .1, .6, .3]),  # the banner ends the box
    ((.5, .5, .502, .504), {}, [.485, .47, .517, .534]),  # 2 × 2 pixels become 32 × 32
    ((0, .5, 1, .505), {'square': False, 'margin': 0}, [0, .3775, 1, .6275])])  # 1,000 × 2.5 pixels: 125 high
def test_where_a_box_is_cut(box, settings, edges):
    assert cut(box, **settings)[EDGES].iloc[0].tolist() == pytest.approx(edges)


def test_a_crop_keeps_its_frames_columns():
    crop = cut((.4, .4, .5, .6)).iloc[0]
    assert (crop.media_id, crop.frame_id, crop.confidence, crop.detection_confidence, crop.label) == ('a_0', 'a', .99, .9, 'Branta canadensis')
    assert list(cut()) == list(cut((.4, .4, .5, .6)))  # no box, the same columns


def test_which_boxes_count():
    assert cut((.4, 0, .6, .09), (.4, .85, .5, .99), (.1, .05, .2, .14)).empty  # in the banner
    assert cut((.4, .4, .4, .6), (.5, .6, .6, .5), (np.nan, .1, .2, .3), (-.4, .2, -.1, .5)).empty  # no boxes at all
    assert len(cut((.4, .4, .6, .6), (.41, .4, .6, .6), (.5, .4, .7, .6))) == 2  # the second is the first again
    assert len(cut(*[(.1*o, .2, .1*o + .05, .6) for o in range(8)])) == 5
    assert [len(cut((.4, .4, .6, .6), confidence=o)) for o in (.19, .2)] == [0, 1]


def test_tables_that_cannot_be_used():
    box = pd.DataFrame([('a', 0, 'animal', .9, .4, .4, .6, .6)], columns=['media_id', 'detection', 'category', 'confidence', *EDGES])
    with pytest.raises(CropError, match='twice'): crop_boxes(pd.concat([frame_of()]*2), box)
    with pytest.raises(CamtrapsError, match='lacks category'): crop_boxes(frame_of(), box.drop(columns='category'))
    with pytest.raises(CamtrapsError, match='lacks media_id'): crop_boxes(frame_of(), box.rename(columns={'media_id': 'path'}))
    bare = frame_of().drop(columns=['banner_top', 'banner_bottom', 'label'])
    whole = crop_boxes(bare, box.assign(left=0, top=0, right=1, bottom=1))
    assert whole[EDGES].iloc[0].tolist() == pytest.approx([0, .05, 1, .95]) and 'for_training' not in whole


@pytest.mark.parametrize('label, category, crop, trains', [
    ('blank', 'animal', 'blank', True), ('blank', 'vehicle', 'blank', True), ('blank', 'human', 'human', False),
    ('Branta canadensis', 'human', 'human', False), ('Branta canadensis', 'vehicle', 'Branta canadensis', False),
    ('human', 'human', 'human', True), ('human', 'animal', 'human', False), ('vehicle', 'vehicle', 'vehicle', True)])
def test_labels_and_what_is_learned_from(label, category, crop, trains):
    row = cut((.4, .4, .6, .6), frame=frame_of(label=label), category=category).iloc[0]
    assert (row.label, bool(row.for_training)) == (crop, trains)


@pytest.mark.parametrize('square', [True, False])
def test_whatever_box_it_is_within_its_crop_and_the_crop_within_the_scene(square):
    generator = np.random.default_rng(0)
    size, banners = generator.integers(100, 4000, (3000, 2)).astype(float), generator.uniform(0, .12, (3000, 2))
    across, down = generator.random((3000, 2)), banners[:, 0, None] + (1 - banners.sum(1))[:, None]*generator.random((3000, 2))
    edges = np.sort(np.stack([across, down], 2), 1).reshape(3000, 4)
    around = crop_edges(edges, size, banners, generator.uniform(0, .3), square)
    assert (around[:, :2] <= edges[:, :2] + 1e-9).all() and (around[:, 2:] >= edges[:, 2:] - 1e-9).all()
    assert (around[:, [1, 3]] >= banners[:, :1]).all() and (around[:, [1, 3]] <= 1 - banners[:, 1:]).all()
    assert (around[:, [0, 2]] >= 0).all() and (around <= 1).all()
    scene = size*np.stack([np.ones(3000), 1 - banners.sum(1)], 1)
    assert ((around[:, 2:] - around[:, :2])*size >= np.minimum(32, scene) - 1e-6).all()


def test_damaged_missing_and_relabelled_crops_are_made_anew(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 6)
    crops, folder = crop_boxes(frames, boxes), tmp_path/'crops'
    written, _ = write_crops(crops, folder, progress=False)
    damaged = Path(written.path[0])
    good = damaged.read_bytes()
    assert b'\xff\xfe\x00\x42' in good and Image.open(damaged).info['comment'] != b'0'*64
    damaged.write_bytes(good[:-300] + bytes(300))
    Path(written.path[1]).unlink()
    stray = folder/'Anas_acuta'/damaged.name  # from before it was labelled otherwise
    stray.parent.mkdir()
    stray.write_bytes(good)
    (stray.parent/'mine.jpg').write_bytes(good)
    again, _ = write_crops(crops, folder, progress=False)
    pd.testing.assert_frame_equal(again, written)
    assert (damaged.read_bytes(), stray.exists(), (stray.parent/'mine.jpg').exists()) == (good, False, True)


def test_frames_that_cannot_be_read_are_listed(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 4)
    crops = crop_boxes(frames, boxes)
    gone = crops.assign(path=crops.path.where(crops.frame_id != crops.frame_id[0], 'nowhere.jpg'))
    written, skipped = write_crops(gone, tmp_path/'crops', progress=False)
    assert skipped.id.tolist() == ['nowhere.jpg'] and len(written) == (crops.frame_id != crops.frame_id[0]).sum()
    broken = tmp_path/'broken.jpg'
    broken.write_bytes(Path(crops.path[0]).read_bytes()[:3000])
    _, skipped = write_crops(crops.head(1).assign(path=str(broken)), tmp_path/'other', progress=False)
    assert 'damaged' in skipped.reason[0] and not list((tmp_path/'other').rglob('*.jpg'))


def test_ids_that_are_paths_and_empty_tables(tmp_path):
    frames, boxes = noisy(tmp_path/'frames', 2)
    crops, folder = crop_boxes(frames, boxes), tmp_path/'crops'
    odd, _ = write_crops(crops.head(2).assign(media_id=['Branta_canadensis/IMG 1.JPG_0', '../../IMG_1.JPG_0']), folder, progress=False)
    assert [Path(o).parent.parent for o in odd.path] == [folder]*2
    empty, _ = write_crops(crops.head(0), folder, progress=False)
    assert list(empty) == list(odd)
    with pytest.raises(CamtrapsError, match='lacks label'): write_crops(crops.drop(columns='label'), folder)
