"""A walk over a card passes nothing over in silence: links, films, thumbnails, copies, folders that cannot be opened."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from urbanrivers_camtraps.foundations.core import collect_notices, path_key, plain_path
from urbanrivers_camtraps.images.discover import CardFiles, file_kind, find_photographs
from urbanrivers_camtraps.images.photograph import PhotographError


def put(path: Path, content: bytes = b'...') -> Path:
    "Write a file with the folders above it."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def photograph(path: Path, shade: int = 0) -> Path:
    "Draw a photograph, each shade another file."
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (40, 30), (shade, 0, 0)).save(path, 'JPEG', comment=b'.'*shade)
    return path


def names(found: CardFiles, card: Path) -> list[str]:
    "The photographs below a card."
    return [o.relative_to(card).as_posix() for o in found.paths]


def test_links_are_followed_once_and_circles_end(tmp_path):
    card, elsewhere = tmp_path/'card', tmp_path/'elsewhere'
    photograph(card/'cam1'/'IMG_0001.JPG', 1)
    photograph(elsewhere/'IMG_0002.JPG', 2)
    (card/'a_link').symlink_to(card/'cam1')
    (card/'cam2').symlink_to(elsewhere)
    (card/'cam1'/'up').symlink_to(card)
    (elsewhere/'back').symlink_to(card/'cam1')
    (card/'IMG_0003.JPG').symlink_to(photograph(tmp_path/'c.jpg', 3))
    (card/'IMG_0004.JPG').symlink_to(card/'cam1'/'IMG_0001.JPG')
    (card/'out').symlink_to(tmp_path)
    (card/'IMG_0005.JPG').symlink_to('nowhere')
    found = find_photographs(card)
    assert names(found, card) == ['IMG_0003.JPG', 'cam1/IMG_0001.JPG', 'cam2/IMG_0002.JPG']
    assert found.skipped.values.tolist() == [[str(card/'IMG_0005.JPG'), 'is a link to nothing']]
    assert set(found.left_out.reason) == {'is a link to what was found already'} and len(found.left_out) == 5


@pytest.mark.parametrize('name', ['@eaDir/a.JPG/thumb.jpg', '.Trashes/501/a.jpg', '$RECYCLE.BIN/S-1/$R1.JPG', 'System Volume Information/a.jpg',
                                  '.thumbnails/a.jpg', '._IMG_0001.JPG',
                                  'Thumbs.db', 'lost+found/a.jpg', '.Spotlight-V100/a.jpg', '__MACOSX/a.jpg', '.Trash-1000/files/a.jpg', '#recycle/a.jpg',
                                  'IMG_0001.THM'])
def test_what_a_system_made_is_left_out_and_counted(name, tmp_path):
    photograph(tmp_path/'IMG_0001.JPG')
    put(tmp_path/name)
    with collect_notices() as notices: found = find_photographs(tmp_path)
    assert names(found, tmp_path) == ['IMG_0001.JPG'] and found.left_out.files.tolist() == [1] and found.skipped.empty
    assert notices[0].startswith(('left out: 1 is a small copy (', 'left out: 1 was made by the system or a program ('))


@pytest.mark.parametrize('name', ['a.AVI', 'a.mp4', 'a.MOV', 'a.mkv', 'a.CR2', 'a.cr3', 'a.NEF', 'a.ARW', 'a.dng', 'a.RAF', 'a.ORF', 'a.rw2', 'a.GIF', 'a.jxl'])
def test_what_may_show_an_animal_is_named(name, tmp_path):
    photograph(tmp_path/'IMG_0001.JPG')
    put(tmp_path/name)
    with collect_notices() as notices: found = find_photographs(tmp_path)
    assert found.skipped.id.tolist() == [str(tmp_path/name)] and name in notices[0]
    assert name.split('.')[1].upper() in found.skipped.reason[0]


@pytest.mark.parametrize('name', ['a.jfif', 'a.JPE', 'a.MPO', 'a.JPG', 'a.avif', 'IMG_0002', 'a.dat', 'FILE0001.CHK', 'a.JPG.bak'])
def test_what_is_a_photograph_inside_is_found(name, tmp_path):
    photograph(tmp_path/name)
    assert names(find_photographs(tmp_path), tmp_path) == [name]


def test_heic_without_its_package_is_named(tmp_path, monkeypatch):
    photograph(tmp_path/'a.jpg')
    put(tmp_path/'b.HEIC')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    found = find_photographs(tmp_path)
    assert found.skipped.reason.tolist() == ["is HEIC, which is not read. Run `pip install 'urbanrivers_camtraps[heic]'`"]


def test_other_files_are_left_out(tmp_path):
    photograph(tmp_path/'a.jpg')
    for name in ('a.txt', 'IMG', 'table.csv'): put(tmp_path/name)
    found = find_photographs(tmp_path)
    assert found.notes == ['left out: 3 are not photographs (IMG, a.txt and 1 more)']


def test_a_card_that_is_there_twice(tmp_path):
    for number in range(6): photograph(tmp_path/'card1'/'DCIM'/f'IMG_{number:04}.JPG', number)
    shutil.copytree(tmp_path/'card1', tmp_path/'card2')
    shutil.copytree(tmp_path/'card1', tmp_path/'card1'/'backup')
    with collect_notices() as notices: found = find_photographs(tmp_path)
    assert len(found.photographs) == 18 and len(found.copies) == 12
    assert sorted(notices)[0].startswith(f'6 photographs of {tmp_path}/card1/backup/DCIM are the same as in') or len(notices) == 2
    assert {os.path.dirname(o) for o in found.copies.copy_of} == {os.path.dirname(found.photographs.path[0])}


def test_files_of_one_size_are_not_copies(tmp_path):
    for number in range(3): put(tmp_path/f'{number}.jpg', bytes([number])*100_000)
    put(tmp_path/'3.jpg', b'\1'*50_000 + b'\2' + b'\1'*49_999)
    assert find_photographs(tmp_path).copies.empty


@pytest.mark.skipif(os.name == 'nt', reason='the rights of folders are those of POSIX')
def test_a_folder_that_cannot_be_opened_is_named(tmp_path):
    for camera in ('cam1', 'cam2'): photograph(tmp_path/camera/'a.jpg')
    code = ('import os, sys; from urbanrivers_camtraps.images.discover import find_photographs\n'
            'os.getuid() == 0 and os.setuid(65534); print(find_photographs(sys.argv[1]).skipped.to_csv())')
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:3]: folder.chmod(folder.stat().st_mode | 0o055)  # those of pytest, for another user
    (tmp_path/'cam2').chmod(0)
    try: run = subprocess.run([sys.executable, '-c', code, tmp_path], capture_output=True, text=True, check=False)
    finally: (tmp_path/'cam2').chmod(0o755)
    assert f'{tmp_path}/cam2,"cannot be opened (Permission denied), and what is in it is missing"' in run.stdout, run.stderr


def test_nothing_but_films_is_an_error_that_names_them(tmp_path):
    put(tmp_path/'a.AVI')
    with pytest.raises(PhotographError, match=r'holds no photographs.*1 video not read: .*a.AVI'): find_photographs(tmp_path)
    photograph(tmp_path/'more'/'a.jpg')
    assert len(find_photographs([tmp_path/'a.AVI', tmp_path/'more']).photographs) == 1  # as a shell names them


@pytest.mark.parametrize('source', ['.', 'card', './card', 'card/', 'card/*', 'card/**/*.JPG'])
def test_paths_are_written_in_one_way(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph(tmp_path/'card'/'DCIM'/'a.JPG')
    assert find_photographs(source).photographs.path.tolist() == ['card/DCIM/a.JPG']


def test_a_glob_leaves_out_what_a_system_made(tmp_path):
    photograph(tmp_path/'a.jpg'), put(tmp_path/'@eaDir'/'a.jpg')
    found = find_photographs(f'{tmp_path}/**/*.jpg')
    assert names(found, tmp_path) == ['a.jpg'] and len(found.left_out) == 1


def test_odd_names(tmp_path):
    odd = ['IMG#12.JPG', 'IMG 1?.JPG', 'IMG%20.JPG', 'é.JPG', os.fsdecode(b'caf\xe9.JPG'), "it's.JPG"]
    for name in odd: photograph(tmp_path/name)
    found = find_photographs(tmp_path)
    assert sorted(o.name for o in found.paths) == sorted(odd)
    assert [plain_path(o) for o in odd[:3]] == odd[:3]


@pytest.mark.parametrize('path', ['dcim/caf\u00e9/IMG_1.JPG', 'DCIM\\cafe\u0301\\img_1.jpg',
                                  './DCIM/Caf\u00e9/IMG_1.jpg', 
                                  'https://example.org/dcim/caf%C3%A9/img_1.jpg?size=2#top'])
def test_one_key_for_every_spelling(path): assert path_key(path) == 'dcim/caf\u00e9/img_1.jpg'


def test_kinds_by_name():
    names = 'a.JPG', 'a', '.a.jpg', 'b/.c/a.jpg', 'a.zip', '../a.jpg'
    assert [file_kind(o) for o in names] == ['photograph', 'other', 'system', 'system', 'archive', 'photograph']
