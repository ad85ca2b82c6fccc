"""A bundle with the motion crop is used as it was measured: on a folder, a season that was killed, and a single photograph."""
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

torch = pytest.importorskip('torch')
pytest.importorskip('fastai')

from torch import nn  # noqa: E402

from urbanrivers_camtraps.foundations.core import collect_notices  # noqa: E402
from urbanrivers_camtraps.images.background import BOX  # noqa: E402
from urbanrivers_camtraps.images.motion import add_motion  # noqa: E402
from urbanrivers_camtraps.inference.bundle import Bundle, read_bundle  # noqa: E402
from urbanrivers_camtraps.inference.motion_crop import order_frames  # noqa: E402
from urbanrivers_camtraps.inference.predict import predict, write_predictions  # noqa: E402
from urbanrivers_camtraps.inference.season import PART, Job, on_threads, predict_season, read_season  # noqa: E402
from urbanrivers_camtraps.training.export import write_bundle  # noqa: E402
from urbanrivers_camtraps.training.learner import set_temperature  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe  # noqa: E402
from urbanrivers_camtraps.training.probe import learner_predictions, probe  # noqa: E402

RECIPE = Recipe(size=64, motion=True)


def tiny_body() -> nn.Module:
    "A convolution and a pool."
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def draw_card(folder: Path, count: int, camera: int = 0) -> pd.DataFrame:
    "Draw frames of one camera, a minute apart, in each of which a red or blue square stands somewhere else."
    random = np.random.default_rng(camera)
    scene = Image.fromarray(random.integers(40, 160, (6, 8, 3), 'uint8')).resize((320, 240), Image.Resampling.BICUBIC)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        frame, (left, top) = np.asarray(scene) + random.normal(0, 4, (240, 320, 3)), (random.integers(0, 280), random.integers(20, 180))
        frame[top:top + 30, left:left + 40] = (230, 30, 30) if number % 2 else (30, 30, 230)
        taken, exif = pd.Timestamp('2025-06-01 08:00') + pd.Timedelta(number, 'min'), Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken.strftime('%Y:%m:%d %H:%M:%S')
        path = folder/f'IMG_{number:04}.JPG'
        Image.fromarray(frame.clip(0, 255).astype('uint8')).save(path, quality=90, exif=exif)
        rows.append({'path': str(path), 'label': ['blue', 'red'][number % 2], 'split': 'valid' if number % 4 > 1 else 'train',
                     'deployment_id': f'camera {camera}', 'timestamp': taken.tz_localize('UTC')})
    return pd.DataFrame(rows)


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> pd.DataFrame:
    "Forty frames of one camera and one frame of another, with the boxes of the motion crop."
    card = tmp_path_factory.mktemp('motion')/'card'
    return add_motion(pd.concat([draw_card(card/'a', 40), draw_card(card/'b', 1, 1)], ignore_index=True))


@pytest.fixture(scope='module')
def learner(photographs):
    "A probe with a temperature that is far from 1."
    return set_temperature(probe(photographs, RECIPE, tiny_body()), .1)


@pytest.fixture(scope='module')
def bundle(learner, tmp_path_factory) -> Bundle:
    "Its bundle."
    return read_bundle(write_bundle(learner, tmp_path_factory.mktemp('motion')/'bundle'))


@pytest.fixture(scope='module')
def expected(learner, photographs):
    "The predictions that were measured."
    return learner_predictions(learner, photographs)


def card_of(photographs: pd.DataFrame) -> Path:
    "Return the folder that holds all photographs."
    return Path(photographs.path[0]).parents[1]


def test_a_folder_gets_the_scores_that_were_measured(bundle, photographs, expected):
    with collect_notices() as notices: found = predict(bundle, card_of(photographs), progress=False)
    assert found.path.tolist() == photographs.path.tolist()
    np.testing.assert_allclose(np.stack(found.scores), np.stack(expected.scores), atol=1e-3)
    apart = np.abs(np.stack(expected.scores) - np.stack(expected.whole_scores)).max(1)
    assert (apart[:40] > .01).mean() > .5 and apart[40] < 1e-6  # the second view counts
    assert photographs[list(BOX)].notna().all(axis=1).tolist() == (found.views == 2).tolist() == [True]*40 + [False]
    assert any('1 of 41 photographs were looked at as a whole only: 1 because it came alone' in o for o in notices)


def test_the_mean_of_cooled_views_is_the_cooled_mean(bundle, expected, learner, photographs):
    "The temperature is in the graph, so each view is cooled before their mean is taken."
    pixels = [np.stack(expected[o]) for o in ('scores', 'whole_scores')]
    assert learner.temperature == .1 and pixels[0].max() > .9  # far from the scores before cooling
    set_temperature(learner, 1.)
    plain = np.stack(learner_predictions(learner, photographs).scores)**(1/.1)
    set_temperature(learner, .1)
    np.testing.assert_allclose(plain/plain.sum(1, keepdims=True), pixels[0], atol=1e-3)


def test_one_frame_says_so_and_is_scored_as_a_whole(bundle, photographs, expected, tmp_path):
    with collect_notices() as notices: alone = predict(bundle, photographs.path[7], progress=False)
    np.testing.assert_allclose(alone.scores[0], expected.whole_scores[7], atol=1e-3)
    assert '1 of 1 photographs were looked at as a whole only: 1 because it came alone' in notices[0]
    table = pd.read_csv(write_predictions(alone, tmp_path/'one.csv'))
    assert table.views.tolist() == [1] and 'came alone' in table.view_reason[0]
    record = json.loads(write_predictions(predict(bundle, card_of(photographs), progress=False), tmp_path/'all.json').read_text())[0]
    assert (record['views'], record['view_reason']) == (2, None)


def test_names_give_the_order_if_there_are_no_clocks(bundle, photographs, expected, tmp_path):
    for path in photographs.path[:40]: Image.open(path).convert('RGB').save(tmp_path/f'{Path(path).stem}.png')
    found = predict(bundle, tmp_path, progress=False)
    np.testing.assert_allclose(np.stack(found.scores), np.stack(expected.scores[:40]), atol=1e-3)


def test_clocks_go_before_names_and_files_without_one_follow_the_file_before(tmp_path):
    card = draw_card(tmp_path, 4)
    Path(card.path[0]).rename(tmp_path/'IMG_0009.JPG')  # the first by its clock
    Image.open(card.path[2]).save(card.path[2], quality='keep')  # without its clock
    ordered = order_frames(pd.DataFrame({'path': sorted(map(str, tmp_path.iterdir()))}))
    assert [Path(o).name for o in ordered.path] == ['IMG_0009.JPG', 'IMG_0001.JPG', 'IMG_0002.JPG', 'IMG_0003.JPG']
    assert (ordered.seconds - ordered.seconds[0]).tolist() == [0, 60, 60, 180]


def test_a_table_names_cameras_and_times(bundle, photographs, expected, tmp_path):
    table = photographs.sample(frac=1, random_state=0)[['path', 'deployment_id', 'timestamp']]
    flat = tmp_path/'flat'
    flat.mkdir()
    names = [f'{number:03}.png' for number in range(len(table))]  # names that say nothing, in one folder
    for path, name in zip(table.path, names): Image.open(path).convert('RGB').save(flat/name)
    table.assign(path=[f'flat/{o}' for o in names]).to_csv(tmp_path/'table.csv', index=False)
    season = read_season(predict_season(tmp_path/'table.csv', tmp_path/'s.parquet', Job(str(bundle.folder)), progress=False))
    found = season.set_index(season.path.map(lambda o: Path(o).name)).loc[names]
    np.testing.assert_allclose(np.stack(found.scores), np.stack(expected.scores[table.index]), atol=1e-3)


def test_a_killed_season_goes_on_as_if_nothing_had_happened(bundle, tmp_path):
    draw_card(tmp_path/'card'/'a', PART + 40)
    draw_card(tmp_path/'card'/'b', 20, 1)
    for name in ('IMG_0030.JPG', f'IMG_{PART + 5:04}.JPG'): (tmp_path/'card'/'a'/name).write_bytes(b'\xff\xd8 cut')
    job, out, asked = Job(str(bundle.folder)), tmp_path/'season.parquet', []

    def stopped(sources, job):
        "Stop after the first part."
        for number, result in enumerate(on_threads(sources, job)):
            if number == PART: raise KeyboardInterrupt
            yield result

    def watched(sources, job):
        "Note what is asked for."
        asked.extend(sources)
        return on_threads(sources, job)

    with pytest.raises(KeyboardInterrupt): predict_season(tmp_path/'card', out, job, stopped, progress=False)
    with collect_notices() as notices: season = read_season(predict_season(tmp_path/'card', out, job, watched, progress=False))
    whole = read_season(predict_season(tmp_path/'card', tmp_path/'whole.parquet', job, progress=False))
    assert len(asked) == 60 and len(season) == PART + 58
    pd.testing.assert_frame_equal(season, whole)
    assert (season.views == 2).all() and not any('as a whole only' in o for o in notices)
    direct = predict(bundle, tmp_path/'card', progress=False)
    np.testing.assert_allclose(np.stack(season.scores), np.stack(direct.scores), atol=1e-5)


def test_features_are_the_mean_of_both_views(bundle, photographs):
    "As the scores, they are of the whole frame and of the square where something moved."
    paths = photographs.path.tolist()
    plain, seen = (list(on_threads(paths, Job(str(bundle.folder), features=o))) for o in (False, True))
    assert {o.features is None for o in plain} == {True} and {o.views for o in seen} == {1, 2}
    views, describe = [], Bundle.describe

    def noted(self, photograph, trim=None):
        found = describe(self, photograph, trim)
        views.append(found[1])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, 'describe', noted)
        alone = list(on_threads(paths[:2], Job(str(bundle.folder), features=True), workers=1))
    assert [o.views for o in alone] == [1, 1] and all((o.features == view).all() for o, view in zip(alone, views))
    views.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, 'describe', noted)
        both = next(o for o in on_threads(paths[:5], Job(str(bundle.folder), features=True), workers=1) if o.views == 2)
    pairs = [(one + other)/2 for number, one in enumerate(views) for other in views[number + 1:]]
    assert any(np.allclose(both.features, o, atol=1e-6) for o in pairs)
    assert not any(np.allclose(both.features, o, atol=1e-6) for o in views)


def test_few_frames_are_in_memory(bundle, tmp_path, monkeypatch):
    "Frames that wait for their neighbours are counted, while a long card passes."
    from urbanrivers_camtraps.inference import motion_crop
    draw_card(tmp_path/'card', 120)
    held, first = [], motion_crop._neighbourhoods

    def counted(looked, background):
        "Count the frames in the line that still hold pixels."
        for item in first(looked, background):
            held.append(sum(o.view is not None for o in item.around))
            yield item
    monkeypatch.setattr(motion_crop, '_neighbourhoods', counted)
    predict(bundle, tmp_path/'card', progress=False)
    assert len(held) == 120 and max(held) <= 15


def test_frames_of_other_hours_are_no_neighbours(bundle, tmp_path):
    draw_card(tmp_path, 6)
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f'2025:06:01 {8 + 2*number:02}:00:00'
        Image.open(path).save(path, quality='keep', exif=exif)
    with collect_notices() as notices: found = predict(bundle, tmp_path, progress=False)
    assert found.views.tolist() == [1]*6
    assert '6 because fewer than 2 others of its camera are within 60 minutes' in notices[0]


def camtraps(*arguments: object) -> subprocess.CompletedProcess:
    "Run the command line."
    return subprocess.run([sys.executable, '-m', 'urbanrivers_camtraps.apps.main', *map(str, arguments)], capture_output=True, text=True)


def test_the_command_line_gives_the_scores_that_were_measured(bundle, photographs, expected, tmp_path):
    done = camtraps('predict', card_of(photographs), '--bundle', bundle.folder, '--out', tmp_path/'card.csv')
    assert done.returncode == 0 and '1 of 41 photographs were looked at as a whole only' in done.stderr, done.stderr
    found = pd.read_csv(tmp_path/'card.csv').set_index('path').loc[photographs.path]
    np.testing.assert_allclose(found[list(expected.classes)], np.stack(expected.scores), atol=1e-3)
    assert found.views.tolist() == [2]*40 + [1]
    done = camtraps('predict', photographs.path[7], '--bundle', bundle.folder)
    assert '1 of 1 photographs were looked at as a whole only: 1 because it came alone' in done.stderr
    assert f'{expected.whole_scores[7].max():.2f}' in done.stdout
    photographs[['path', 'deployment_id', 'timestamp']].head(5).to_csv(tmp_path/'list.csv', index=False)
    done = camtraps('predict', tmp_path/'list.csv', '--bundle', bundle.folder)
    assert done.returncode == 0 and 'as a whole only' not in done.stderr, done.stderr


def test_a_zip_in_the_app_is_looked_at_twice_and_a_photograph_says_it_came_alone(bundle, photographs, expected, tmp_path):
    app = pytest.importorskip('urbanrivers_camtraps.apps.app')
    order = np.random.default_rng(0).permutation(41)  # a ZIP that was packed in no order
    with zipfile.ZipFile(tmp_path/'card.zip', 'w') as archive:
        for number in order: archive.write(photographs.path[number], '/'.join(Path(photographs.path[number]).parts[-2:]))
    (tmp_path/'served').mkdir()
    shown, table, _ = app._many([{'path': str(tmp_path/'card.zip')}], '', bundle, str(tmp_path/'served'), lambda *_, **__: None)
    assert '1 of 41 photographs were looked at as a whole only: 1 because it came alone' in shown
    found = pd.read_csv(table['value']).set_index('path').loc[['/'.join(Path(o).parts[-2:]) for o in photographs.path]]
    np.testing.assert_allclose(found[list(expected.classes)], np.stack(expected.scores), atol=1e-3)
    shown, found, _ = app._show({'path': photographs.path[7]}, '', bundle)
    assert 'One frame only' in shown and 'One frame only' in found['model']['one_frame']
    assert found['prediction']['probability'] == pytest.approx(expected.whole_scores[7].max(), abs=1e-3)
    assert 'One frame only' in app.answer(bundle, expected.whole_scores[7])[0]


def test_the_web_page_says_that_it_looks_at_single_frames(learner, bundle, tmp_path):
    from urbanrivers_camtraps.apps.web import _page
    metrics = {'whole_frame_error': {'value': .149, 'conditions': '1,460 photographs out of fold'}}
    measured = read_bundle(write_bundle(learner, tmp_path/'bundle', metrics))
    page = _page(measured, None, False, '')
    assert 'looks at each photograph by itself' in page and 'error 14.9% on 1,460 photographs out of fold' in page
    assert 'its error was not measured' in _page(bundle, None, False, '')
