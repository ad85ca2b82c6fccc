"""A season's run that is killed, refused the disk or meets a dead host loses nothing it had written down; Ray gives the same rows."""
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from urbanrivers_camtraps.foundations.core import LockedError, collect_notices
from urbanrivers_camtraps.images.photograph import PhotographError
from urbanrivers_camtraps.inference.season import (
    PART,
    Job,
    SeasonError,
    _roots,
    on_threads,
    predict_season,
    read_season,
)

#: Runs a season over argv[1:4] (bundle, folder, out), and waits to be killed after argv[4] photographs.
CHILD = """
import sys, time
from urbanrivers_camtraps.inference.season import Job, on_threads, predict_season
def slowly(sources, job):
    for number, result in enumerate(on_threads(sources, job)):
        if number == int(sys.argv[4]): time.sleep(600)
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


def draw(path: Path, shade: int, taken: str, comment: str = '') -> None:
    "Draw a photograph that was taken at a time."
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    Image.new('RGB', (64, 48), (shade, shade, shade)).save(path, exif=exif, comment=comment.encode())


def parts(out: Path) -> list[Path]:
    "What a run has written down so far."
    return sorted(out.with_name(f'.{out.name}.parts').glob('*.parquet'))


def start(bundle: Path, card: Path, out: Path, stop: int = 590, **options) -> subprocess.Popen:
    "Start a run of its own, which gets no further than `stop` photographs, however late it is killed."
    return subprocess.Popen([sys.executable, '-c', CHILD, bundle, card, out, str(stop)], stderr=subprocess.PIPE, text=True, **options)


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
    peaks = [int(subprocess.run([sys.executable, '-c', code, bundle_folder, o, tmp_path/f'{o.name}.parquet', '-1'], capture_output=True,
                                text=True, check=True).stdout) for o in (few, card)]
    assert peaks[1] < peaks[0] + 60, peaks  # 700 decoded photographs would be a hundred times as much


def watch(asked: list):
    "An engine that notes what it is asked for."
    def engine(sources, job):
        asked.extend(Path(o).name for o in sources)
        return on_threads(sources, job)
    return engine


def test_a_card_that_repeats_the_names_of_the_last_one(bundle_folder, tmp_path):
    out, slot = tmp_path/'season.parquet', tmp_path/'CARD'
    for card, shade in (('A', 10), ('B', 200)):
        for number in range(1, 5 if card == 'A' else 4):
            draw(tmp_path/card/'DCIM'/'100MEDIA'/f'IMG_{number:04}.JPG', shade + number, f'2025:0{"AB".index(card) + 5}:01 08:00:00')
    slot.symlink_to(tmp_path/'A')
    predict_season(slot, out, Job(str(bundle_folder)), progress=False)
    first = pd.read_parquet(out)
    slot.unlink()
    slot.symlink_to(tmp_path/'B')
    with collect_notices() as notices: predict_season(slot, out, Job(str(bundle_folder)), progress=False)
    second = pd.read_parquet(out)
    alone = pd.read_parquet(predict_season(tmp_path/'B', tmp_path/'alone.parquet', Job(str(bundle_folder)), progress=False))
    assert (first.clock.dt.month == 5).all() and (second.clock.dt.month == 6).all() and len(first) == 4
    assert second.score.tolist() == alone.score.tolist() and len(second) == 3
    assert '1 photographs are gone' in notices[0] or 'photographs are other files' in notices[0]
    gone = pd.read_csv(tmp_path/'season.gone.csv')
    assert gone.why.value_counts().to_dict() == {'is another file now': 3, 'is gone': 1}
    assert sorted(gone.score.round(4)) == sorted(first.score.astype(float).round(4))


def test_a_kill_between_two_cards_mixes_nothing(bundle_folder, tmp_path):
    out, slot = tmp_path/'season.parquet', tmp_path/'CARD'
    for card, shade in (('A', 0), ('B', 1)):
        for number in range(600): draw(tmp_path/card/f'IMG_{number:04}.JPG', shade, f'2025:0{shade + 5}:01 08:00:00', str(number))
    slot.symlink_to(tmp_path/'A')
    with start(bundle_folder, slot, out) as run:
        while run.poll() is None and not parts(out): time.sleep(.01)
        run.send_signal(signal.SIGKILL)
    assert parts(out) and not out.exists()
    slot.unlink()
    slot.symlink_to(tmp_path/'B')
    predict_season(slot, out, Job(str(bundle_folder)), progress=False)
    season = pd.read_parquet(out)
    assert len(season) == 600 and (season.clock.dt.month == 6).all()


def test_an_unchanged_card_has_nothing_to_do(bundle_folder, card, tmp_path):
    out, asked = tmp_path/'season.parquet', []
    predict_season(card, out, Job(str(bundle_folder)), progress=False)
    before = pd.read_parquet(out)
    with collect_notices() as notices: predict_season(card, out, Job(str(bundle_folder)), watch(asked), progress=False)
    assert not asked and not (tmp_path/'season.gone.csv').exists() and not any('gone' in o for o in notices)
    pd.testing.assert_frame_equal(pd.read_parquet(out), before)


def test_an_error_is_tried_again_once_the_file_changed(bundle_folder, photograph, tmp_path):
    out, asked, path, good = tmp_path/'season.parquet', [], tmp_path/'card'/'a.jpg', photograph.read_bytes()
    path.parent.mkdir()
    path.write_bytes(good[:2000])
    (tmp_path/'card'/'b.jpg').write_bytes(good)
    season = lambda: read_season(predict_season(tmp_path/'card', out, Job(str(bundle_folder)), watch(asked), progress=False))
    assert len(season().skipped) == 1
    asked.clear()
    assert len(season().skipped) == 1 and not asked  # the same damaged file
    path.write_bytes(good)  # copied again
    assert len(season()) == 2 and asked == ['a.jpg']
    path.unlink()
    assert len(season()) == 1
    path.write_bytes(good)  # reappeared
    assert len(season()) == 2


def test_a_card_that_is_pulled_out_and_put_back(bundle_folder, card, tmp_path):
    out, copy, asked = tmp_path/'season.parquet', tmp_path/'card', []
    shutil.copytree(card, copy)

    def pulled(sources, job):
        "Pull the card out after three hundred photographs."
        for number, result in enumerate(on_threads(sources, job)):
            if number == 300: copy.rename(tmp_path/'pulled')
            yield result

    with pytest.raises(SeasonError, match=r'is gone with its folder.*Put it back and run the same command again'):
        predict_season(copy, out, Job(str(bundle_folder)), pulled, progress=False)
    done = sum(pq.read_metadata(o).num_rows for o in parts(out))
    assert 300 <= done < 400 and not out.exists()
    with pytest.raises(PhotographError, match='no such file or folder'): predict_season(copy, out, Job(str(bundle_folder)), progress=False)
    (tmp_path/'pulled').rename(copy)
    found = read_season(predict_season(copy, out, Job(str(bundle_folder)), watch(asked), progress=False))
    assert len(asked) == 700 - done and (len(found), len(found.skipped)) == (693, 7)


def test_a_device_that_fails_stops_the_run_and_one_bad_file_does_not(bundle_folder, card, tmp_path, monkeypatch):
    from urbanrivers_camtraps.inference import season as module
    bad, read, out = set(), module.photograph_bytes, tmp_path/'season.parquet'

    def failing(source, where=None):
        "Read, but for what is on a bad block."
        if Path(source).name not in bad: return read(source, where)
        raise PhotographError('cannot be read (Input/output error)', where) from OSError(5, 'Input/output error')

    monkeypatch.setattr(module, 'photograph_bytes', failing)
    bad.add('IMG_0010.JPG')
    found = read_season(predict_season(card, out, Job(str(bundle_folder)), progress=False))
    assert len(found.skipped) == 8
    bad.clear()
    assert len(read_season(predict_season(card, out, Job(str(bundle_folder)), progress=False)).skipped) == 7  # tried again
    bad.update(f'IMG_{o:04}.JPG' for o in range(50, 700))
    with pytest.raises(SeasonError, match='nor 19 before it'): predict_season(card, tmp_path/'two.parquet', Job(str(bundle_folder)), progress=False)
    assert sum(pq.read_metadata(o).num_rows for o in parts(tmp_path/'two.parquet')) == 69


def test_a_season_of_an_earlier_version_is_predicted_anew(bundle_folder, card, tmp_path):
    out, few, asked = tmp_path/'season.parquet', tmp_path/'few', []
    few.mkdir()
    for path in sorted(card.iterdir())[:5]: shutil.copy(path, few)
    predict_season(few, out, Job(str(bundle_folder)), progress=False)
    table = pq.read_table(out)
    pq.write_table(table.drop_columns(['size', 'modified', 'etag', 'clock_from']), out)
    with collect_notices() as notices: predict_season(few, out, Job(str(bundle_folder)), watch(asked), progress=False)
    assert len(asked) == 5 and any('5 predictions of an earlier version' in o for o in notices)
    assert len(read_season(out)) == 5 and not (tmp_path/'season.gone.csv').exists()


def test_a_bucket_knows_its_objects_by_etag_or_time(bundle_folder, photograph, tmp_path):
    import fsspec
    memory, out, asked = fsspec.filesystem('memory'), tmp_path/'season.parquet', []
    memory.pipe({f'/cards/{o}.jpg': photograph.read_bytes() for o in 'abc'} | {'/cards/d.AVI': b'RIFF', '/cards/@eaDir/a.jpg': b''})
    season = lambda: read_season(predict_season('memory://cards', out, Job(str(bundle_folder)), watch(asked), progress=False))
    assert len(season()) == 3 and season().skipped.reason.tolist() == ['is a video (AVI), which is not read. Save frames of it as JPEG']
    assert asked == ['a.jpg', 'b.jpg', 'c.jpg']
    memory.pipe('/cards/b.jpg', photograph.read_bytes() + b'.')
    memory.rm('/cards/c.jpg')
    asked.clear()
    assert len(season()) == 2 and asked == ['b.jpg']
    memory.rm('/cards', recursive=True)


def test_a_list_is_relative_to_itself(bundle_folder, photograph, tmp_path, monkeypatch):
    (tmp_path/'lists'/'a#1').mkdir(parents=True)
    for name in ('a#1/IMG#12.JPG', 'IMG 50%.JPG', 'é?.JPG'): shutil.copy(photograph, tmp_path/'lists'/name)
    (tmp_path/'lists'/'list.csv').write_text('path\na#1/IMG#12.JPG\nIMG 50%.JPG\né?.JPG\nnone.JPG\nfilm.AVI\n\n', encoding='utf-8')
    (tmp_path/'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path/'elsewhere')
    found = read_season(predict_season('../lists/list.csv', tmp_path/'season.parquet', Job(str(bundle_folder)), progress=False))
    assert [Path(o).name for o in found.path] == ['IMG#12.JPG', 'IMG 50%.JPG', 'é?.JPG']
    assert found.skipped.reason.tolist() == ['cannot be read (No such file or directory)', 'is a video (AVI), which is not read. Save frames of it as JPEG']


def test_times_of_files_are_taken_if_asked_for(bundle_folder, photograph, tmp_path):
    path, out = tmp_path/'card'/'a.jpg', tmp_path/'season.parquet'
    path.parent.mkdir()
    shutil.copy(photograph, path)
    os.utime(path, (1_750_000_000, 1_750_000_000))
    draw(tmp_path/'card'/'b.jpg', 1, '2025:06:01 08:00:00')
    with collect_notices() as notices: predict_season(path.parent, out, Job(str(bundle_folder)), progress=False)
    assert pd.read_parquet(out).clock.isna().tolist() == [True, False] and '--times-from file' in notices[-1]
    with collect_notices() as notices: predict_season(path.parent, out, Job(str(bundle_folder)), progress=False, times_from='file')
    table = pd.read_parquet(out)
    assert table.clock[0] == datetime.fromtimestamp(1_750_000_000) and table.clock_from.tolist() == ['file', 'exif']
    assert '1 photographs have no time in their EXIF, and have that of their file' in notices[-1]
    predict_season(path.parent, out, Job(str(bundle_folder)), progress=False)
    assert pd.read_parquet(out).clock.isna().tolist() == [True, False]


def test_a_card_that_is_named_by_a_pattern_forgets_what_is_gone(bundle_folder, tmp_path):
    out, pattern = tmp_path/'season.parquet', str(tmp_path/'card'/'**'/'*.JPG')
    for number in range(3): draw(tmp_path/'card'/'DCIM'/f'IMG_{number}.JPG', 90 + number, '2025:05:01 08:00:00')
    predict_season(pattern, out, Job(str(bundle_folder)), progress=False)
    (tmp_path/'card'/'DCIM'/'IMG_2.JPG').unlink()
    with collect_notices() as notices: predict_season(pattern, out, Job(str(bundle_folder)), progress=False)
    assert len(pd.read_parquet(out)) == 2 and '1 photographs are gone' in notices[0]


def test_a_card_that_is_mounted_under_another_path_is_told(bundle_folder, tmp_path):
    out, job = tmp_path/'season.parquet', Job(str(bundle_folder))
    for number in range(3): draw(tmp_path/'E'/'DCIM'/f'IMG_{number}.JPG', 90 + number, '2025:05:01 08:00:00')
    predict_season(tmp_path/'E', out, job, progress=False)
    (tmp_path/'E').rename(tmp_path/'F')
    with collect_notices() as notices: predict_season(tmp_path/'F', out, job, progress=False)
    assert any('3 photographs are in the table under two paths' in o for o in notices)
    with collect_notices() as notices: predict_season(tmp_path/'F', tmp_path/'new.parquet', job, progress=False)
    assert not any('two paths' in o for o in notices)


@pytest.mark.parametrize('source, path, is_below', [
    ('.', 'E/a.JPG', True), ('.', '/E/a.JPG', False), ('.', 'https://x/a.JPG', False), ('E/**/*.JPG', 'E/a.JPG', True),
    ('E/**/*.JPG', 'E/b/c/a.JPG', True), ('E/**/*.JPG', 'E/a.PNG', False), ('E/*/*.JPG', 'E/b/c/a.JPG', False), ('E*', 'E1/b/a.JPG', True),
    ('E/[!a].JPG', 'E/a.JPG', False), ('E/[ab].JPG', 'E/a.JPG', True), ('no.JPG', 'no.JPG', False)])
def test_what_a_folder_or_a_pattern_covers(source, path, is_below):
    assert (_roots(source).match(path) is not None) == is_below
