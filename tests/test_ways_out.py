"""A season leaves as folders and labels: people's answers win, nothing is lost or overwritten, and faces lie apart."""
import base64
import errno
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from test_apps_app import CHROMIUM, needs_browser
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import collect_notices
from urbanrivers_camtraps.foundations.drawings import draw_photograph
from urbanrivers_camtraps.foundations.sandbox import make_sandbox
from urbanrivers_camtraps.foundations.tables import read_any_table, write_sheet, write_table
from urbanrivers_camtraps.images.photo_labels import LabelError, label_jpeg
from urbanrivers_camtraps.inference.detector_json import read_detector_json
from urbanrivers_camtraps.inference.season_folder import season_files
from urbanrivers_camtraps.review.reviews import Reviews
from urbanrivers_camtraps.survey import sorting
from urbanrivers_camtraps.survey.answered import AnsweredError, answered_season
from urbanrivers_camtraps.survey.preview import preview_page
from urbanrivers_camtraps.survey.sorting import SortError, sort_photographs

CLASSES = ['Castor canadensis', 'Procyon lotor', 'blank', 'human']
#: Camera, what is drawn, what the model says, its score, its decision, and seconds after the first photograph.
FRAMES = [('north', 'Castor canadensis', 'Castor canadensis', .95, 'accept', 0), ('north', 'Castor canadensis', 'blank', .60, 'review', 5),
          ('north', 'blank', 'Procyon lotor', .55, 'review', 900), ('south', 'blank', 'blank', .97, 'blank', 0),
          ('south', 'human', 'human', .93, 'accept', 900), ('south', 'Procyon lotor', 'human', .60, 'review', 5000),
          ('south', 'Procyon lotor', 'Procyon lotor', .90, 'accept', 9000)]


@pytest.fixture(scope='session')
def drawings() -> dict[str, bytes]:
    "A drawn photograph of each class."
    media = make_sandbox('small').media
    return {o: draw_photograph(media[media.label == o].iloc[0], 320, 240, mark=True) for o in CLASSES}


@pytest.fixture
def season(tmp_path, drawings, monkeypatch) -> Path:
    "A season of two cameras that call their photographs alike, as its user has it: paths below the working folder."
    monkeypatch.chdir(tmp_path)
    rows, numbers = [], {}
    for camera, drawn, said, score, decision, seconds in FRAMES:
        numbers[camera] = numbers.get(camera, 0) + 1
        path = Path('card')/camera/'DCIM'/'100RECNX'/f'IMG_{numbers[camera]}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawings[drawn])
        rest = {o: .01 if o == 'human' else (.99 - score)/2 for o in CLASSES if o != said}
        scores = [rest.get(o, 1 - sum(rest.values())) for o in CLASSES]
        rows.append({'path': str(path), 'prediction': said, 'score': score, 'scores': scores, 'decision': decision, 'reason': None,
                     'clock': pd.Timestamp('2025-06-01 20:00:00') + pd.Timedelta(seconds=seconds), 'clock_from': 'exif', 'size': 1,
                     'modified': pd.Timestamp('2025-06-01', tz='UTC')})
    Path('season').mkdir()
    write_table(pd.DataFrame(rows), Path('season/predictions.parquet'), classes=CLASSES)
    pd.DataFrame({'deployment_id': ['n1', 's1'], 'folder': ['north', 'south'], 'location': ['Weir', 'Bank'], 'latitude': 41.9, 'longitude': -87.6,
                  'start': '2025-05-30', 'end': '2025-06-30'}).to_csv('season/deployments.csv', index=False)
    return Path('season')


def answer(season: Path, media_id: str, label: str) -> None:
    "Let somebody say what a photograph shows."
    reviews = Reviews(season_files(season).reviews)
    reviews.add(f'token-{media_id}-{label}'.ljust(30, '-'), media_id, label, 'anna')
    reviews.close()


def sort(*options: object) -> int:
    "Run `camtraps sort` on the season in the working folder."
    return run([str(o) for o in ('sort', '--season', 'season', '--out', 'sorted', *options)])


def files(folder: str = 'sorted') -> list[str]:
    "List the photographs in a folder."
    return sorted(o.relative_to(folder).as_posix() for o in Path(folder).rglob('*.[jJ]*') if not o.is_dir() or o.is_symlink())


BEFORE = ['No_Animal_Detected/south_100RECNX_IMG_1.JPG', 'North_American_Beaver/north_100RECNX_IMG_1.JPG',
          'North_American_Beaver/north_100RECNX_IMG_2.JPG', 'People/south_100RECNX_IMG_2.JPG', 'People/south_100RECNX_IMG_3.JPG',
          'Raccoon/south_100RECNX_IMG_4.JPG', 'To_review/Raccoon/north_100RECNX_IMG_3.JPG']


# ---- folders

def test_each_photograph_is_in_one_folder_under_a_name_of_its_own(season, capsys):
    assert sort() == 0
    assert files() == BEFORE
    told = capsys.readouterr().out
    assert told.startswith("All labels are a model's answers, and nobody has looked at any of the 7 photographs. "
                           'The model itself would ask somebody about 2 photographs.')
    assert '       2  North_American_Beaver\n' in told and '7 photographs: sorted' in told
    listed = pd.read_csv('sorted/sorted.csv').set_index('photograph')
    for name, row in listed.iterrows(): assert Path(name).read_bytes() == (Path('sorted')/row.sorted).read_bytes()
    assert listed.loc['card/north/DCIM/100RECNX/IMG_2.JPG', 'label'] == 'Castor canadensis', 'frames of a burst share an answer'


def test_by_photograph_each_frame_has_its_own_answer(season):
    assert sort('--by-photograph') == 0
    assert 'To_review/No_Animal_Detected/north_100RECNX_IMG_2.JPG' in files()


def test_people_win_and_the_next_run_moves_the_copies(season, capsys):
    assert sort() == 0
    number = Path('sorted/To_review/Raccoon/north_100RECNX_IMG_3.JPG').stat().st_ino
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'blank')
    answer(season, 'n1/DCIM/100RECNX/IMG_2.JPG', 'Procyon lotor')  # the burst, so its first frame as well
    capsys.readouterr()
    assert sort() == 0
    assert capsys.readouterr().out.startswith('People looked at 2 of 6 bursts and saw something else on 2 of them. The other')
    assert files() == sorted([BEFORE[0], 'No_Animal_Detected/north_100RECNX_IMG_3.JPG', 'Raccoon/north_100RECNX_IMG_1.JPG',
                              'Raccoon/north_100RECNX_IMG_2.JPG', *BEFORE[3:6]])
    assert Path('sorted/No_Animal_Detected/north_100RECNX_IMG_3.JPG').stat().st_ino == number, 'it is moved, not copied'
    assert not Path('sorted/To_review').exists() or not Path('sorted/To_review/Raccoon').exists()


def test_what_the_model_takes_for_people_stays_with_people(season):
    answer(season, 's1/DCIM/100RECNX/IMG_3.JPG', 'Procyon lotor')
    assert sort() == 0
    assert 'People/Raccoon/south_100RECNX_IMG_3.JPG' in files() and 'People/south_100RECNX_IMG_2.JPG' in files()


def test_what_somebody_moved_or_changed_by_hand_stays(season, capsys):
    assert sort() == 0
    shutil.move('sorted/To_review/Raccoon/north_100RECNX_IMG_3.JPG', 'sorted/Raccoon')
    changed = Path('sorted/North_American_Beaver/north_100RECNX_IMG_1.JPG')
    changed.write_bytes(b'\xff\xd8 cropped by me')
    answer(season, 'n1/DCIM/100RECNX/IMG_1.JPG', 'Procyon lotor')
    capsys.readouterr()
    assert sort() == 0
    assert changed.read_bytes() == b'\xff\xd8 cropped by me'
    assert 'Raccoon/north_100RECNX_IMG_3.JPG' in files() and 'To_review/Raccoon/north_100RECNX_IMG_3.JPG' not in files()
    told = capsys.readouterr().err
    assert '1 copies were changed by somebody' in told and '1 photographs lie in another folder' in told


def test_a_file_of_the_user_in_the_folder_is_not_overwritten(season):
    assert sort() == 0
    mine = Path('sorted/Raccoon/south_100RECNX_IMG_5.JPG')
    mine.write_bytes(b'mine')
    table = pd.read_parquet('season/predictions.parquet')
    more = table.iloc[[6]].assign(path='card/south/DCIM/100RECNX/IMG_5.JPG', clock=pd.Timestamp('2025-06-02 20:00:00'))
    shutil.copy('card/south/DCIM/100RECNX/IMG_4.JPG', 'card/south/DCIM/100RECNX/IMG_5.JPG')
    write_table(pd.concat([table, more], ignore_index=True), Path('season/predictions.parquet'), classes=CLASSES)
    assert sort() == 0
    assert mine.read_bytes() == b'mine' and 'Raccoon/south_100RECNX_IMG_5_2.JPG' in files()


def test_a_folder_of_somebody_else_is_refused_before_anything_is_read(season, capsys):
    Path('sorted').mkdir()
    Path('sorted/notes.txt').write_text('three summers')
    assert run(['sort', '--season', 'nothing', '--out', 'sorted']) == 1
    assert 'holds notes.txt, and was not sorted by camtraps' in capsys.readouterr().err
    assert sort('--overwrite') == 0
    assert Path('sorted/notes.txt').read_text() == 'three summers' and files() == BEFORE


def test_links_take_no_room_and_do_not_mix_with_copies(season, capsys):
    assert sort('--link') == 0
    assert files() == BEFORE and all((Path('sorted')/o).is_symlink() and (Path('sorted')/o).exists() for o in BEFORE)
    assert sort() == 1 and 'was sorted with --link' in capsys.readouterr().err
    assert run(['sort', '--season', 'season', '--out', 'other', '--link', '--write-labels']) == 1
    assert 'would write into your own photographs' in capsys.readouterr().err and not Path('other').exists()


def test_a_photograph_that_is_gone_is_listed_and_a_missing_card_is_an_error(season, capsys):
    Path('card/north/DCIM/100RECNX/IMG_1.JPG').unlink()
    assert sort() == 3
    assert len(files()) == 6 and pd.read_csv('sorted/sorted_skipped.csv').id.tolist() == ['card/north/DCIM/100RECNX/IMG_1.JPG']
    shutil.rmtree('card')
    assert sort() == 1 and 'not one of 7 photographs is there' in capsys.readouterr().err
    assert len(files()) == 6


def test_a_folder_among_the_photographs_is_told(season, capsys):
    assert run(['sort', '--season', 'season', '--out', 'card/sorted']) == 0
    assert 'card/sorted: lies among the photographs' in capsys.readouterr().err
    assert sort() == 0 and 'lies among' not in capsys.readouterr().err


#: Sorts two photographs of the season in the working folder, and waits with the third until it is killed.
CHILD = """
import time
from urbanrivers_camtraps.survey import sorting
from urbanrivers_camtraps.survey.answered import answered_season
write, begun = sorting._write, []
def only_two(target, content, source):
    begun.append(target)
    if len(begun) > 2: time.sleep(600)
    write(target, content, source)
sorting._write = only_two
sorting.sort_photographs(answered_season('season'), 'sorted', progress=False)
"""


def test_a_killed_run_goes_on_where_it_stopped(season):
    with subprocess.Popen([sys.executable, '-c', CHILD], env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}) as child:
        while child.poll() is None and sum(not o.endswith('.part') for o in files()) < 2: time.sleep(.02)
        child.send_signal(signal.SIGKILL)
    begun = {o: (Path('sorted')/o).stat().st_ino for o in files()}
    assert len(begun) == 2
    (Path('sorted')/'Raccoon').mkdir(exist_ok=True)
    (Path('sorted')/'Raccoon'/'.south_100RECNX_IMG_4.JPG.part').write_bytes(b'half a photograph')
    assert sort() == 0 and files() == BEFORE
    assert {o: (Path('sorted')/o).stat().st_ino for o in begun} == begun, 'what was there is not written again'
    assert not list(Path('sorted').rglob('.*')), 'nothing of the killed run is left'


def test_a_full_disk_is_named_in_plain_words(season, monkeypatch, capsys):
    def full(source: str, target: Path) -> None: raise OSError(errno.ENOSPC, 'No space left on device')
    with monkeypatch.context() as patch:
        patch.setattr(sorting.shutil, 'copystat', full)
        assert sort() == 1
    told = capsys.readouterr().err
    assert 'the disk is full. Make room' in told and 'goes on where it stopped' in told and files() == []
    assert sort() == 0 and files() == BEFORE


def test_room_is_asked_for_before_the_first_copy(season, monkeypatch, capsys):
    usage = shutil.disk_usage('.')
    with monkeypatch.context() as patch:
        patch.setattr(sorting.shutil, 'disk_usage', lambda o: usage._replace(free=10_000))
        assert sort() == 1
    assert 'has room for 0.0 GB' in capsys.readouterr().err and files() == []


def test_answers_that_belong_to_no_photograph_stop_it(season):
    Path('season/deployments.csv').unlink()
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'blank')
    with pytest.raises(AnsweredError, match='--deployments'): answered_season(season)


def test_blurred_people_cannot_be_recognised_and_carry_no_small_picture(season):
    assert sort('--blur-people') == 0
    names = [o for o in files() if o.startswith('People/')]
    assert names == ['People/south_100RECNX_IMG_2.jpg', 'People/south_100RECNX_IMG_3.jpg']
    for name, number in zip(names, (2, 3)):
        seen, drawn = (np.asarray(Image.open(o).convert('L'), float) for o in (f'sorted/{name}', f'card/south/DCIM/100RECNX/IMG_{number}.JPG'))
        assert seen.shape == drawn.shape
        edges = [np.abs(np.diff(o)).mean() for o in (seen, drawn)]
        assert edges[0] < .25*edges[1]
        assert not Image.open(f'sorted/{name}').getexif()
    animals = [o for o in files() if not o.startswith('People/')]
    assert [(Path('sorted')/o).read_bytes() for o in animals if o.startswith('Raccoon')] == [Path('card/south/DCIM/100RECNX/IMG_4.JPG').read_bytes()]


def test_a_copy_that_was_plain_is_taken_away_once_it_shows_people(season):
    assert sort('--blur-people') == 0
    answer(season, 's1/DCIM/100RECNX/IMG_4.JPG', 'human')
    assert sort('--blur-people') == 0
    assert 'People/south_100RECNX_IMG_4.jpg' in files() and not [o for o in files() if o.startswith('Raccoon/')]


# ---- other programs

def export(*options: object) -> int:
    "Run `camtraps export-season` on the season in the working folder."
    return run([str(o) for o in ('export-season', '--season', 'season', *options)])


@pytest.mark.parametrize('name', ['answers.csv', 'answers.xlsx', 'answers.parquet'])
def test_people_win_in_each_table(season, name, capsys):
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'blank')
    assert export('--out', name) == 0 and export('--out', name) == 0, 'our own file is written again'
    assert '7 photographs (1 by people): ' in capsys.readouterr().out
    table = read_any_table(Path(name), ('path', 'prediction', 'score', 'decision', 'reviewed')).set_index('path')
    row = table.loc['card/north/DCIM/100RECNX/IMG_3.JPG']
    assert (row.prediction, float(row.score), row.decision, str(row.reviewed).lower()) == ('blank', 1, 'blank', 'true')
    assert table.prediction['card/north/DCIM/100RECNX/IMG_2.JPG'] == 'Castor canadensis', 'as the survey counts it'
    assert table.reviewed.astype(str).str.lower().value_counts()['false'] == 6


def test_people_win_in_timelapse_and_speciesnet(season):
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'blank')
    answer(season, 's1/DCIM/100RECNX/IMG_4.JPG', 'Castor canadensis')
    assert export('--out', 'md.json', '--format', 'megadetector', '--relative-to', 'card') == 0
    images = {o['file']: o for o in json.loads(Path('md.json').read_text())['images']}
    assert images['north/DCIM/100RECNX/IMG_3.JPG'] == {'file': 'north/DCIM/100RECNX/IMG_3.JPG', 'manually_checked': True, 'detections': []}
    seen = images['south/DCIM/100RECNX/IMG_4.JPG']
    assert (seen['manually_checked'], seen['detections'][0]['conf'], seen['detections'][0]['classifications'][0]) == (True, 1, ['0', 1])
    assert 'manually_checked' not in images['south/DCIM/100RECNX/IMG_1.JPG']
    assert export('--out', 'sn.json', '--format', 'speciesnet') == 0
    back = read_detector_json('sn.json').predictions.set_index('path')
    assert back.source.value_counts().to_dict() == {'classifier': 5, 'human': 2}
    assert back.prediction['card/south/DCIM/100RECNX/IMG_4.JPG'] == 'Castor canadensis'


def test_a_species_that_the_model_does_not_know_is_written(season):
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'Didelphis virginiana')
    assert export('--out', 'md.json', '--format', 'megadetector') == 0
    assert json.loads(Path('md.json').read_text())['classification_categories']['4'] == 'Virginia Opossum'
    assert sort() == 0 and 'Virginia_Opossum/north_100RECNX_IMG_3.JPG' in files()


def test_the_season_itself_and_files_of_others_stay(season, capsys):
    before = Path('season/predictions.parquet').read_bytes()
    assert export('--out', 'season/predictions.parquet') == 1
    assert 'is another table of this package' in capsys.readouterr().err
    Path('mine.xlsx').write_bytes(b'my own notes')
    assert export('--out', 'mine.xlsx') == 1
    assert 'exists and was not written by camtraps' in capsys.readouterr().err
    assert Path('season/predictions.parquet').read_bytes() == before and Path('mine.xlsx').read_bytes() == b'my own notes'


def test_what_looks_like_a_formula_stays_text(tmp_path):
    import openpyxl
    table = pd.DataFrame({'label': ['=HYPERLINK("http://x")', '-1', 'a\x00b'], 'count': [1, 2, 3]})
    sheet = openpyxl.load_workbook(write_sheet(table, tmp_path/'t.xlsx')).active
    assert [(o.value, o.data_type) for o in sheet['A'][1:]] == [('=HYPERLINK("http://x")', 's'), ('-1', 's'), ('a\\x00b', 's')]
    assert [o.data_type for o in sheet['B'][1:]] == ['n']*3


# ---- labels

def pixels(jpeg: bytes) -> bytes:
    "Return a JPEG from its first scan on."
    return jpeg[jpeg.index(b'\xff\xda'):]


def camera_jpeg(order: str) -> bytes:
    "Make a JPEG whose EXIF has a maker note with an address in it, as cameras write it."
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 64, 3), 'uint8'))
    file = io.BytesIO()
    image.save(file, 'JPEG')
    mark = {'<': b'II', '>': b'MM'}[order]
    make, note, taken = b'RECONYX\0', b'note at its place', b'2025:06:01 20:00:00\0'
    def tags(*rows): return struct.pack(f'{order}H', len(rows)) + b''.join(struct.pack(f'{order}HHLL', *o) for o in rows) + b'\0'*4
    at = 8 + 2 + 24 + 4
    below = at + len(make)
    values = below + 2 + 24 + 4
    tiff = (mark + struct.pack(f'{order}HL', 42, 8) + tags((0x10f, 2, len(make), at), (0x8769, 4, 1, below)) + make
            + tags((0x9003, 2, len(taken), values), (0x927c, 7, len(note), values + len(taken))) + taken + note)
    exif = b'Exif\0\0' + tiff
    return b'\xff\xd8\xff\xe1' + (len(exif) + 2).to_bytes(2) + exif + file.getvalue()[2:]


@pytest.mark.parametrize('order', ['<', '>'])
def test_a_label_moves_nothing_that_the_camera_wrote(order):
    jpeg = camera_jpeg(order)
    labelled = label_jpeg(jpeg, 'Mallard (Anas platyrhynchos)', ['Mallard'], ['Species|Anas platyrhynchos'])
    assert pixels(labelled) == pixels(jpeg)
    assert labelled.index(b'note at its place') - labelled.index(b'Exif\0\0') == jpeg.index(b'note at its place') - jpeg.index(b'Exif\0\0')
    exif = Image.open(io.BytesIO(labelled)).getexif()
    assert (exif[ExifTags.Base.ImageDescription], exif[ExifTags.Base.Make]) == ('Mallard (Anas platyrhynchos)', 'RECONYX')
    below = exif.get_ifd(ExifTags.IFD.Exif)
    assert (below[ExifTags.Base.DateTimeOriginal], below[ExifTags.Base.MakerNote]) == ('2025:06:01 20:00:00', b'note at its place')


def xmp_jpeg(packet: str) -> bytes:
    "Make a JPEG with an XMP packet."
    file, content = io.BytesIO(), b'http://ns.adobe.com/xap/1.0/\0' + packet.encode()
    Image.new('RGB', (64, 48)).save(file, 'JPEG')
    return b'\xff\xd8\xff\xe1' + (len(content) + 2).to_bytes(2) + content + file.getvalue()[2:]


RDF = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</rdf:RDF></x:xmpmeta>'


def test_keywords_of_another_program_stay():
    inside = ('<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4">'
              '<dc:subject><rdf:Bag><rdf:li>dam</rdf:li></rdf:Bag></dc:subject></rdf:Description>')
    jpeg = label_jpeg(xmp_jpeg(RDF.format(inside)), 'Beaver', ['Beaver', 'dam'], ['Species|Castor canadensis'])
    descriptions = Image.open(io.BytesIO(jpeg)).getxmp()['xmpmeta']['RDF']['Description']
    assert descriptions[0]['subject']['Bag']['li'] == ['dam', 'Beaver'] and descriptions[0]['Rating'] == '4'
    assert descriptions[1]['hierarchicalSubject']['Bag']['li'] == 'Species|Castor canadensis'


@pytest.mark.parametrize('packet', [RDF.format('<rdf:Description xmlns:q="http://purl.org/dc/elements/1.1/"><q:subject>dam</q:subject></rdf:Description>'),
                                    '<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', '<broken'])
def test_xmp_that_cannot_be_added_to_is_not_spoilt(packet):
    with pytest.raises(LabelError): label_jpeg(xmp_jpeg(packet), 'Beaver', ['Beaver'])


def test_a_photograph_without_room_for_a_label_is_no_loss(season, capsys):
    path = Path('card/south/DCIM/100RECNX/IMG_4.JPG')
    jpeg = path.read_bytes()
    full = b'Exif\0\0MM\0*\0\0\0\x08' + b'\0'*6 + b'x'*65_500
    path.write_bytes(b'\xff\xd8\xff\xe1' + (len(full) + 2).to_bytes(2) + full + jpeg[2:])
    Image.open('card/north/DCIM/100RECNX/IMG_1.JPG').save('card/north/DCIM/100RECNX/IMG_1.JPG', 'PNG')
    assert sort('--write-labels') == 0
    assert '2 photographs are copied without a label' in capsys.readouterr().err
    assert Path('sorted/Raccoon/south_100RECNX_IMG_4.JPG').read_bytes() == path.read_bytes()


def test_labels_are_in_the_copies_only_and_follow_the_answers(season):
    originals = {o: o.read_bytes() for o in Path('card').rglob('*.JPG')}
    assert sort('--write-labels') == 0
    waiting = Path('sorted/To_review/Raccoon/north_100RECNX_IMG_3.JPG')
    found = Image.open(waiting)
    assert found.getexif()[270] == 'Raccoon (Procyon lotor), by the model, 55 %, waits for review'
    assert 'subject' not in found.getxmp()['xmpmeta']['RDF']['Description'], 'nobody has named a species'
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'Procyon lotor')
    assert sort('--write-labels') == 0
    assert not waiting.exists()
    found = Image.open('sorted/Raccoon/north_100RECNX_IMG_3.JPG')
    assert found.getexif()[270] == 'Raccoon (Procyon lotor), by people'
    assert found.getxmp()['xmpmeta']['RDF']['Description']['hierarchicalSubject']['Bag']['li'] == ['Species|Procyon lotor', 'Labelled by|people']
    for copy in files():
        original = next(o for o in originals if copy.endswith(f'{o.parts[1]}_100RECNX_{o.name}'))
        assert pixels((Path('sorted')/copy).read_bytes()) == pixels(originals[original])
    assert {o: o.read_bytes() for o in originals} == originals


@given(st.integers(0, 3000), st.binary(max_size=3))
def test_no_broken_file_breaks_more_than_itself(cut, tail):
    jpeg = camera_jpeg('<')[:cut] + tail
    try: labelled = label_jpeg(jpeg, 'Mallard', ['Mallard'])
    except LabelError: return
    assert pixels(labelled) == pixels(jpeg)


def test_sorting_by_the_library_tells_what_it_passes_over(season):
    answered = answered_season(season)
    remote = answered.assign(path=answered.path.where(answered.index > 0, 'https://example.org/a.jpg'))
    with collect_notices():
        table, skipped = sort_photographs(remote, 'sorted', progress=False)
    assert skipped.values.tolist() == [['https://example.org/a.jpg', 'is on a server, not on this machine. Download it first']]
    with pytest.raises(SortError, match='not one of 7 photographs is there'):
        sort_photographs(answered.assign(path='https://example.org/a.jpg'), 'other', progress=False)


# ---- the page

def preview(*options: object) -> int:
    "Run `camtraps preview` on the season in the working folder."
    return run([str(o) for o in ('preview', '--season', 'season', *options)])


def pictures(page: str) -> list[str]:
    "List what each picture of a page is said to show."
    return re.findall(r'<img alt="([^"]*)" src="data:image/jpeg;base64,', page)


def test_a_page_shows_each_class_and_says_first_who_looked(season, capsys):
    answer(season, 'n1/DCIM/100RECNX/IMG_3.JPG', 'blank')
    assert preview() == 0
    page = Path('season/exports/preview.html').read_text()
    beaver = 'North American Beaver, 81 %'  # .95 of 1.175, see `pool_bursts`
    assert sorted(pictures(page)) == ['No Animal Detected, 97 %', 'No Animal Detected, by people', beaver, 'Raccoon, 90 %']
    first = re.search(r'<p[^>]*>(.*?)</p>', page)[1]
    assert first.startswith('People looked at 1 of 6 bursts and saw something else on 1 of them.')
    assert '2 photographs that may show people are left out' in page and 'the model said Raccoon' in page
    assert 'card/' not in page and str(Path.cwd()) not in page, 'a page that is sent away names no folder of a machine'
    assert preview('--seed', 42) == 0 and Path('season/exports/preview.html').read_text() == page


def test_people_are_blurred_on_a_page_and_the_number_is_limited(season):
    assert preview('--blur-people', '--out', 'b.html') == 0
    page = Path('b.html').read_text()
    assert sum(o.startswith('Human') for o in pictures(page)) == 2 and 'may show people are blurred' in page
    for data in re.findall(r'<img alt="Human[^"]*" src="data:image/jpeg;base64,([^"]*)"', page):
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert('L'), float)
        drawn = np.asarray(Image.open('card/south/DCIM/100RECNX/IMG_2.JPG').convert('L').resize(seen.shape[::-1]), float)
        assert np.abs(np.diff(seen)).mean() < .25*np.abs(np.diff(drawn)).mean()
    assert preview('--limit', 2, '--out', 'two.html') == 0
    page = Path('two.html').read_text()
    assert len(pictures(page)) == 2 and '2 of 4 bursts are shown' in page


def test_a_page_names_what_cannot_be_opened_and_refuses_a_page_of_somebody_else(season, capsys):
    Path('card/south/DCIM/100RECNX/IMG_4.JPG').write_bytes(b'broken')
    assert preview('--out', 'p.html') == 3
    assert pd.read_csv('p_skipped.csv').id.tolist() == ['card/south/DCIM/100RECNX/IMG_4.JPG']
    Path('mine.html').write_text('my own page')
    assert preview('--out', 'mine.html') == 1 and Path('mine.html').read_text() == 'my own page'
    shutil.rmtree('card')
    assert preview('--out', 'p.html') == 1 and 'not one of 4 photographs can be opened' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['<script>alert(1)</script>', 'a"onerror="x'])
def test_a_name_on_the_page_is_text(season, name):
    answered = answered_season(season).assign(common_name=name)
    page, _ = preview_page(answered, progress=False)
    assert '<script' not in page and 'onerror="x' not in page


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_the_page_fits_a_screen(season, width, scheme):
    from playwright.sync_api import sync_playwright
    assert preview('--out', 'p.html') == 0
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)
        asked = []
        page.on('request', lambda o: asked.append(o.url) if not o.url.startswith(('file:', 'data:')) else None)
        page.goto(Path('p.html').resolve().as_uri())
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate('[...document.images].every(o => o.complete && o.naturalWidth)') and asked == []
        page.get_by_role('link', name='Raccoon').last.click()
        assert page.evaluate("[...document.querySelectorAll('h2')].find(o => o.textContent === 'Raccoon').getBoundingClientRect().top") < 900
        browser.close()
