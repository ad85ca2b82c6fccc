"""Whatever is thrown at the readers of photographs, uploads and bundles: a good result, or the one typed error in one line."""
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import stat
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from urbanrivers_camtraps.apps.uploads import Limits, UploadError, photographs_in
from urbanrivers_camtraps.images.photograph import COSTLY_PIXEL_LIMIT, PhotographError, open_photograph, read_clock
from urbanrivers_camtraps.inference.bundle import Bundle, read_bundle
from urbanrivers_camtraps.training.bundle_format import BundleError, golden_photographs

warnings.filterwarnings('ignore', module='PIL')
MEMORY = 1_000_000_000


def broken(count: int) -> settings:
    "So many broken files, the same ones each time."
    return settings(max_examples=count, derandomize=True, deadline=None, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def is_one_line(error: Exception, *private: object) -> None:
    "Check an error's text: one line of printable letters that tells nothing of this machine."
    text = str(error)
    assert text.isprintable() and len(text) < 600, text
    for part in ('/home', '/tmp', '/work', 'site-packages', 'object at 0x', *map(str, private)): assert part not in text, text


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    "Encode an image."
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def interlaced_png() -> bytes:
    "A PNG of 32 × 32 pixels in seven passes, which Pillow reads and does not write."
    rows = b''
    for x, y, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += (b'\0' + bytes(range(0, 3*((32 - x + across - 1)//across))))*((32 - y + down - 1)//down)
    return b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', struct.pack('>IIBBBBB', 32, 32, 8, 2, 0, 0, 1)) + \
        png_chunk(b'IDAT', zlib.compress(rows)) + png_chunk(b'IEND', b'')


def png_chunk(kind: bytes, data: bytes) -> bytes:
    "One chunk of a PNG."
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def sound_photographs() -> dict[str, bytes]:
    "One small file of each encoding that cameras, phones and programs write."
    whole = golden_photographs()['thumbnail']
    exif = Image.Exif()
    exif[0x0112], exif[0x010f], exif[0x8825] = 6, 'Maker', {1: 'N', 2: (41., 54., 0.)}
    exif[0x0132], exif[0x8769] = '2025:06:02 05:30:00', {0x9003: '2025:06:01 05:30:00'}
    alpha = whole.copy()
    alpha.putalpha(128)
    deep = Image.frombytes('I;16', (32, 32), bytes(range(256))*8)
    return {'jpeg': encoded(whole, 'JPEG'), 'progressive': encoded(whole, 'JPEG', progressive=True),
            'cmyk': encoded(whole.convert('CMYK'), 'JPEG'), 'exif': encoded(whole, 'JPEG', exif=exif), 'grey': encoded(whole.convert('L'), 'JPEG'),
            'restarts': encoded(whole, 'JPEG', restart_marker_blocks=2), 'png': encoded(whole, 'PNG'), 'palette': encoded(whole.quantize(16), 'PNG'),
            'alpha': encoded(alpha, 'PNG', exif=exif), '16 bit': encoded(deep, 'PNG'), 'interlaced': interlaced_png(),
            'text': encoded(whole, 'PNG', icc_profile=bytes(500)), 'film': encoded(whole, 'PNG', save_all=True, append_images=[whole.rotate(9)]*3),
            'webp': encoded(whole, 'WEBP'), 'lossless': encoded(alpha, 'WEBP', lossless=True, exif=exif),
            'moving': encoded(whole, 'WEBP', save_all=True, append_images=[whole.rotate(9)]*3),
            'tiff': encoded(whole, 'TIFF'), 'lzw': encoded(whole, 'TIFF', compression='tiff_lzw'),
            'deflate': encoded(whole, 'TIFF', compression='tiff_adobe_deflate', tiffinfo={274: 8}),
            'tiles': encoded(whole, 'TIFF', compression='tiff_lzw', tiffinfo={322: 16, 323: 16}),
            'tiff jpeg': encoded(whole, 'TIFF', compression='jpeg'), 'fax': encoded(whole.convert('1'), 'TIFF', compression='group4'),
            'bmp': encoded(whole, 'BMP'), 'bmp palette': encoded(whole.quantize(16), 'BMP'),
            'mpo': encoded(whole, 'MPO', save_all=True, append_images=[whole.rotate(9)])}


SOUND = sound_photographs()
LENGTHS = [b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\0\0', b'\xff\xff', b'\0\1', b'\xff\xda', b'\xff\xd9', b'\xff\xc2', b'\x80']
edits = st.lists(st.tuples(st.sampled_from(['flip', 'set', 'length', 'cut', 'drop', 'insert', 'repeat', 'splice']),
                           st.floats(0, 1), st.integers(0, 255), st.binary(min_size=1, max_size=24)), min_size=1, max_size=6)


def edited(data: bytes, steps: list[tuple], other: bytes) -> bytes:
    "Break bytes step by step; half of the steps hit the head, where the structure is."
    for kind, where, value, new in steps:
        if not data: return data
        at = int((where*2 % 1)*(len(data) - 1) if where > .5 else where*2*min(len(data) - 1, 300))
        length = LENGTHS[value % len(LENGTHS)]
        data = {'flip': lambda: data[:at] + bytes([data[at] ^ 1 << value % 8]) + data[at + 1:],
                'set': lambda: data[:at] + new + data[at + len(new):],
                'length': lambda: data[:at] + length + data[at + len(length):],
                'cut': lambda: data[:at], 'drop': lambda: data[:at] + data[at + value:], 'insert': lambda: data[:at] + new + data[at:],
                'repeat': lambda: data[:at] + data[max(0, at - value):at]*3 + data[at:],
                'splice': lambda: data[:at] + other[int(where*len(other)):]}[kind]()
    return data


def reads_or_refuses(data: bytes, max_side: int | None = None) -> None:
    "Check the promise for one file."
    read_clock(data)  # whatever it is, nothing is raised
    try: image = open_photograph(data, max_side)
    except PhotographError as error: return is_one_line(error)
    assert image.mode == 'RGB' and type(image) is Image.Image and not image.info
    assert max(image.size) <= (max_side or 1e9) and 0 < image.width*image.height <= COSTLY_PIXEL_LIMIT


# -- photographs

@pytest.mark.parametrize('name', SOUND)
def test_sound_photographs_are_read(name):
    assert open_photograph(SOUND[name]).size in ((64, 48), (48, 64), (32, 32))


@broken(1000)
@given(st.sampled_from(sorted(SOUND)), st.sampled_from(sorted(SOUND)), edits, st.sampled_from([None, 16, 1024]))
def test_broken_photographs(name, other, steps, max_side):
    reads_or_refuses(edited(SOUND[name], steps, SOUND[other]), max_side)


@broken(200)
@given(st.sampled_from([o[:n] for o in SOUND.values() for n in (2, 4, 8, 16, 40)]), st.binary(max_size=400))
def test_heads_with_anything_behind_them(head, rest):
    reads_or_refuses(head + rest)


def tiff(*tags: tuple[int, int, int, int], order=None) -> bytes:
    "A little-endian TIFF of (tag, type, count, value)."
    entries = b''.join(struct.pack('<HHII', *o) for o in sorted(tags, key=order))
    return b'II*\0\x08\0\0\0' + struct.pack('<H', len(tags)) + entries + bytes(4) + bytes(500)


def sized_png(width: int, height: int, *chunks: bytes) -> bytes:
    "A PNG that says it has so many pixels, and holds its first ones."
    return b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)) + b''.join(chunks) + \
        png_chunk(b'IDAT', zlib.compress(bytes(1000))) + png_chunk(b'IEND', b'')


def scans(side: int, count: int) -> bytes:
    "A progressive JPEG whose last scan comes so many times more."
    data = encoded(Image.new('L', (side, side)), 'JPEG', progressive=True)
    return data[:-2] + data[data.rindex(b'\xff\xda'):-2]*count + b'\xff\xd9'


def frames(kind: str) -> bytes:
    "A film of 500 small frames."
    images = [Image.new('RGB', (64, 64), (o % 256, o//256, 9)) for o in range(500)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:])


ZEROS = zlib.compress(bytes(200_000_000), 9)
SIZE = ((256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (262, 3, 1, 1))
BOMBS = {
    'png 50,000 × 50,000': lambda: sized_png(50_000, 50_000), 'png 2³¹ × 2³¹': lambda: sized_png(2**31 - 1, 2**31 - 1),
    'png just within': lambda: encoded(Image.new('RGBA', (7000, 7000)), 'PNG'),
    'png zTXt': lambda: sized_png(64, 64, *[png_chunk(b'zTXt', b'a\0\0' + ZEROS)]*20),
    'png iTXt': lambda: sized_png(64, 64, *[png_chunk(b'iTXt', b'a\0\1\0\0\0' + ZEROS)]*20),
    'png iCCP': lambda: sized_png(64, 64, png_chunk(b'iCCP', b'a\0\0' + ZEROS)),
    'png many texts': lambda: sized_png(64, 64, *[png_chunk(b'zTXt', b'a%d\0\0' % o + zlib.compress(bytes(1_000_000))) for o in range(300)]),
    'tiff tile': lambda: tiff(*SIZE, (259, 3, 1, 5), (322, 4, 1, 65_520), (323, 4, 1, 32_752), (324, 4, 1, 200), (325, 4, 1, 100)),
    'tiff tile twice': lambda: tiff(*SIZE, (259, 3, 1, 5), (322, 4, 1, 65_520), (322, 4, 1, 16), (323, 4, 1, 32_752), (323, 4, 1, 16),
                                    (324, 4, 1, 200), (325, 4, 1, 100), order=lambda o: (o[0], -o[3])),
    'tiff tile twice, small first': lambda: tiff(*SIZE, (259, 3, 1, 5), (322, 4, 1, 65_520), (322, 4, 1, 16), (323, 4, 1, 32_752), (323, 4, 1, 16),
                                                 (324, 4, 1, 200), (325, 4, 1, 100)),
    'tiff strip': lambda: tiff(*SIZE, (259, 3, 1, 8), (278, 4, 1, 2**31 - 1), (273, 4, 1, 200), (279, 4, 1, 2**31 - 1)),
    'tiff counts': lambda: tiff(*SIZE, (259, 3, 1, 1), (273, 4, 2**30, 200), (279, 4, 2**30, 100), (700, 1, 2**32 - 1, 0)),
    'tiff bits': lambda: tiff((256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 65_535), (262, 3, 1, 2), (277, 3, 1, 65_535), (259, 3, 1, 5)),
    'jpeg scans': lambda: scans(200, 10_000), 'jpeg scans within': lambda: scans(7000, 20),
    'jpeg 65,500 × 65,500': lambda: SOUND['jpeg'].replace(struct.pack('>HH', 48, 64), struct.pack('>HH', 65_500, 65_500), 1),
    'webp 16,383 × 16,383': lambda: bytes.fromhex('524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03'),
    'webp just within': lambda: bytes.fromhex('524946461a000000574542505650384c0d0000002f57dbd516071011118888fe0700'),
    'bmp 2³¹': lambda: SOUND['bmp'][:18] + struct.pack('<ii', 2**31 - 1, -2**31) + SOUND['bmp'][26:],
    'png film': lambda: frames('PNG'), 'webp film': lambda: frames('WEBP'), 'text of 50 MB': lambda: b'It was a dark night. '*2_500_000}


def child(*arguments: object, memory: int = 3*MEMORY) -> dict:
    "Run this file in a process of its own with little memory and return what it says; fail where the process dies."
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    command = [sys.executable, '-W', 'ignore', __file__, *map(str, arguments)]
    few = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    run = subprocess.run(command, capture_output=True, text=True, timeout=80, preexec_fn=limit, env=few)
    assert run.returncode == 0, (run.returncode, run.stderr[-2000:])
    return json.loads(run.stdout.splitlines()[-1])


def peak() -> int:
    "The most memory this process has held, in bytes."
    return int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])*1024  # getrusage tells the parent's where that was higher


def test_bombs(tmp_path):
    for name, make in BOMBS.items(): (tmp_path/name).write_bytes(make())
    results = child('photographs', tmp_path)
    assert set(results) == set(BOMBS)
    for name, (answer, memory, seconds) in results.items():
        assert memory < MEMORY and seconds < 8, (name, answer, memory, seconds)
        if not any(o in name for o in ('within', 'film', 'texts', 'zTXt', 'iTXt', 'iCCP', 'tiff')): assert isinstance(answer, str), (name, answer)
        if isinstance(answer, str): assert answer.isprintable() and str(tmp_path) not in answer, answer
    assert 'is not a photograph' in results['text of 50 MB'][0] and results['text of 50 MB'][2] < 1
    assert results['webp film'][0] == results['png film'][0] == [64, 64]


def open_each(folder: Path) -> dict:
    "Open every file of a folder; the most hungry come last."
    results = {}
    for path in sorted(folder.iterdir(), key=lambda o: ('within' in o.name, o.name)):
        data = path.read_bytes()
        pid_out, pid_in = os.pipe()
        if not (pid := os.fork()):
            before, start = peak(), time.process_time()
            try: answer = open_photograph(data).size
            except PhotographError as error: answer = str(error)
            os.write(pid_in, json.dumps([answer, peak() - before, time.process_time() - start]).encode())
            os._exit(0)
        os.close(pid_in)
        results[path.name] = json.loads(os.read(pid_out, 10_000) or 'null') or [f'died {os.waitpid(pid, 0)}', 9e99, 9e99]
    return results


@pytest.mark.parametrize('data', [b'<svg xmlns="http://www.w3.org/2000/svg"/>', b'<?xml version="1.0"?><svg><image href="file:///etc/passwd"/></svg>',
                                  b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n', b'%PDF-1.7', b'GIF89a' + bytes(50), b'8BPS\0\1' + bytes(50),
                                  b'\0\0\1\0\1\0' + bytes(50), b'MZ' + bytes(60), b'PK\3\4' + bytes(60), b'<html></html>' + SOUND['jpeg'],
                                  b'\x1f\x8b' + bytes(60), b'#!/bin/sh\nid', b'P6 64 64 255\n' + bytes(64*64*3), bytes(1000)])
def test_other_kinds_are_refused(data):
    with pytest.raises(PhotographError, match='is not a photograph|is GIF, which is not read') as error: open_photograph(data)
    is_one_line(error.value)


@pytest.mark.parametrize('name', SOUND)
@pytest.mark.parametrize('behind', [b'<script>alert(1)</script>', b'PK\3\4' + b'evil'*100])
def test_nothing_of_a_polyglot_is_left(name, behind):
    image = open_photograph(SOUND[name] + behind)
    assert all(behind[:24] not in encoded(image, kind) for kind in ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP'))


# -- uploads

def packed(entries: dict[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> bytes:
    "Pack entries as a ZIP."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', way) as archive:
        for name, data in entries.items(): archive.writestr(name, data)
    return buffer.getvalue()


def upload(folder: Path, data: bytes, limits: Limits = Limits(), name: str = 'card.zip') -> list | UploadError:
    "Send one file and check the promise for each row."
    (folder/name).write_bytes(data)
    try: rows = list(photographs_in([folder/name], limits))
    except UploadError as error: return is_one_line(error, folder) or error
    for shown, row in rows:
        assert shown.isprintable() and len(shown) <= 120 and str(folder) not in shown
        if isinstance(row, UploadError): is_one_line(row, folder)
        else: assert isinstance(row, bytes) and len(row) <= limits.bytes_each
    assert sum(len(row) for _, row in rows if isinstance(row, bytes)) <= limits.bytes_in_all
    assert sorted(o.name for o in folder.iterdir()) == [name]
    return rows


ZIPS = [packed({'DCIM/IMG_1.JPG': SOUND['jpeg'], 'b.png': SOUND['png'], 'notes.txt': b'rain', 'DCIM/': b''}, o)
        for o in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)]


@broken(400)
@given(st.sampled_from(ZIPS), st.sampled_from(ZIPS), edits, st.booleans())
def test_broken_zips(tmp_path_factory, data, other, steps, at_the_end):
    folder = tmp_path_factory.getbasetemp()/'zips'
    folder.mkdir(exist_ok=True)
    data = edited(data[::-1], steps, other[::-1])[::-1] if at_the_end else edited(data, steps, other)  # a ZIP's list is at its end
    rows = upload(folder, data)
    for _, row in rows if isinstance(rows, list) else []:
        if isinstance(row, bytes): reads_or_refuses(row)


@pytest.mark.parametrize('name', ['../x.jpg', 'a/../../x.jpg', '/etc/x.jpg', 'C:/x.jpg', 'c:x.jpg', '..\\x.jpg', '\\\\host\\x.jpg', '//host/x.jpg'])
def test_names_that_lead_out_are_rows(tmp_path, name):
    (_, refused), (_, sound) = upload(tmp_path, packed({name: SOUND['jpeg'], 'sound.jpg': SOUND['jpeg']}))
    assert 'leads out' in str(refused) and sound == SOUND['jpeg']


def test_bombs_in_zips(tmp_path):
    black = packed({f'{o}.jpg': bytes(29_000_000) for o in range(8)})
    assert 'more than 200 MB' in str(upload(tmp_path, black, Limits(ratio=2000, bytes_in_all=200_000_000)))
    assert all('grows more than' in str(row) for _, row in upload(tmp_path, black))
    nested = packed({f'{o}.zip': black for o in range(16)})  # as 42.zip
    assert {str(row) for _, row in upload(tmp_path, nested)} == {'is a ZIP within a ZIP. Unpack it first'}
    assert 'files at once' in str(upload(tmp_path, packed(dict.fromkeys((f'{o}.jpg' for o in range(2_001)), b'x'))))
    assert 'holds too many files' in str(upload(tmp_path, packed(dict.fromkeys((f'{o:030}' for o in range(60_000)), b''), zipfile.ZIP_STORED)))


def test_overlapping_entries_are_a_bomb(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('a.jpg', random.Random(0).randbytes(10_000))
        archive.filelist += archive.filelist*1000
    assert 'overlap' in str(upload(tmp_path, buffer.getvalue()))


def test_links_and_liars_are_rows(tmp_path):
    link = zipfile.ZipInfo('link.jpg')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert 'is a link' in str(upload(tmp_path, packed({link: b'/etc/passwd'}))[0][1])
    data = packed({'a.jpg': bytes(20_000_000)})
    for claimed in (1, 10, 19_999_999, 2**32 - 2):
        lying = data.replace(struct.pack('<I', 20_000_000), struct.pack('<I', claimed))
        assert isinstance(upload(tmp_path, lying, Limits(ratio=10**9))[0][1], UploadError)
    (tmp_path/'card.zip').unlink()
    assert 'more than 30 MB' in str(upload(tmp_path, b'x'*30_000_001, name='a.jpg')[0][1])


# -- bundles

values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) |
                      st.sampled_from([10**400, 1e308, float('nan'), float('inf'), '\ud800', '../x', '/etc/passwd', 'a\0b', 'a\nb', '\x1b[2J',
                                       'x'*5000]),
                      lambda o: st.lists(o, max_size=4) | st.dictionaries(st.text(max_size=8), o, max_size=4), max_leaves=6)


def places(tree, path: tuple = ()) -> list[tuple]:
    "List the way to every value of a JSON document."
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(o for key, value in below for o in places(value, (*path, key)))]


def changed(tree, path: tuple, change) -> object:
    "Replace, or with None for `change` take out, the value at a place."
    copy = tree.copy()
    if len(path) > 1: copy[path[0]] = changed(tree[path[0]], path[1:], change)
    elif change is None: del copy[path[0]]
    else: copy[path[0]] = change(tree[path[0]])
    return copy


@pytest.fixture(scope='module')
def sick(bundle_folder, tmp_path_factory) -> Path:
    "A copy of the bundle to break."
    return Path(shutil.copytree(bundle_folder, tmp_path_factory.mktemp('sick')/'bundle'))


def reads_or_refuses_bundle(folder: Path, photograph: Image.Image = golden_photographs()['thumbnail']) -> Bundle | BundleError:
    "Check the promise for one bundle."
    try:
        bundle = read_bundle(folder)
        assert bundle(photograph).shape == (len(bundle.classes),)
        return bundle
    except BundleError as error:
        text = str(error).replace(str(folder), '')
        assert '\n' not in text and '\r' not in text and '\x1b' not in text and len(text) < 1500, text
        return error


@broken(400)
@given(st.data())
def test_broken_descriptions(bundle_folder, sick, data):
    tree = json.loads((bundle_folder/'bundle.json').read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(tree)[1:] or [('classes',)]))
        kind = data.draw(st.sampled_from(['value', 'missing', 'extra', 'file']))
        if kind == 'value': new = data.draw(values); tree = changed(tree, path, lambda _: new)
        elif kind == 'missing': tree = changed(tree, path, None)
        elif kind == 'extra': tree = {**tree, data.draw(st.text(max_size=9)): data.draw(values)}
        else: tree = {**tree, 'files': {**(tree.get('files') if isinstance(tree.get('files'), dict) else {}), data.draw(st.text(max_size=9)): 'a'}}
        if not tree: break
    (sick/'bundle.json').write_bytes(json.dumps(tree).encode())
    reads_or_refuses_bundle(sick)


@broken(200)
@given(edits)
def test_broken_json(bundle_folder, sick, steps):
    (sick/'bundle.json').write_bytes(edited((bundle_folder/'bundle.json').read_bytes(), steps, b'{"classes": [1e999, "\xff"]}'))
    reads_or_refuses_bundle(sick)


@pytest.mark.parametrize('text', [b'', b'null', b'[]', b'7', b'"a"', b'['*100_000, b'{"a":'*100_000, b'\xff\xfe\0',
                                  b'{"format_version": ' + b'9'*5000 + b'}',
                                  b'{"format_version": 1, "format_version": [1]}', b'{"format_version": NaN}', b' '*20_000_000,
                                  b'{"a": 1e99999}'], ids=range(13))
def test_named_json_is_refused(sick, text):
    (sick/'bundle.json').write_bytes(text)
    assert isinstance(reads_or_refuses_bundle(sick), BundleError)


@pytest.mark.parametrize('name', ['../x', '../../../etc/passwd', '/etc/passwd', 'a\0b', 'a'*5000, '\ud800', '.', '', 'link', 'loop', 'pipe',
                                  'nowhere'])
def test_listed_files_that_are_none_are_refused(bundle_folder, tmp_path, name):
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    (folder/'link').symlink_to('/etc/passwd')
    (folder/'loop').symlink_to(folder/'loop')
    os.mkfifo(folder/'pipe')
    tree = json.loads((folder/'bundle.json').read_text())
    (folder/'bundle.json').write_text(json.dumps({**tree, 'files': {**tree['files'], name: '00'}}))
    assert isinstance(reads_or_refuses_bundle(folder), BundleError)


def with_model(folder: Path, model: bytes) -> Path:
    "Put a model into a bundle, with its hash, so that the hash does not save the reader."
    tree = json.loads((folder/'bundle.json').read_text())
    tree['files']['model.onnx'] = hashlib.sha256(model).hexdigest()
    (folder/'bundle.json').write_text(json.dumps(tree))
    (folder/'model.onnx').write_bytes(model)
    return folder


def changed_graph(data: bytes, chance: random.Random) -> bytes:
    "Break a graph in a way that is still a graph."
    import onnx
    from onnx import helper
    model = onnx.load_from_string(data)
    graph, huge = model.graph, [0, -1, 2, 3, 65_536, 2**31 - 1, -2**31, 2**62, -2**63, 2**63 - 1]
    for _ in range(chance.randrange(1, 3)):
        node, tensor = chance.choice(graph.node), chance.choice(graph.initializer)
        kind = chance.choice(['operator', 'input', 'attribute', 'dims', 'data', 'type', 'numbers', 'remove'])
        if kind == 'operator':
            node.op_type = chance.choice(['Add', 'Reshape', 'Resize', 'Slice', 'Tile', 'Expand', 'Loop', 'If', 'LSTM', 'Einsum', 'Pad'])
        elif kind == 'input' and node.input: node.input[0] = chance.choice([o.name for o in graph.initializer])
        elif kind == 'attribute':
            name = chance.choice(['axis', 'perm', 'kernel_shape', 'pads', 'strides', 'group', 'to', 'start', 'num_outputs'])
            kept = [o for o in node.attribute if o.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, chance.choice([chance.choice(huge), [chance.choice(huge)]*2]))])
        elif kind == 'dims' and tensor.dims: tensor.dims[0] = chance.choice(huge)
        elif kind == 'data': tensor.raw_data = chance.choice([b'', tensor.raw_data[:-1], tensor.raw_data*2])
        elif kind == 'type': tensor.data_type = chance.randrange(24)
        elif kind == 'numbers' and tensor.data_type == 7:
            tensor.raw_data = b''.join(struct.pack('<q', chance.choice(huge)) for _ in range(len(tensor.raw_data)//8))
        else: graph.node.remove(node)
    return model.SerializeToString()


def read_models(folder: Path) -> dict:
    "Read a bundle with one broken model after the other; say after each how it went, so that a crash is known by its number."
    data, counts = (folder/'model.onnx').read_bytes(), {'Bundle': 0, 'BundleError': 0}
    for number in range(300):
        print(number, flush=True)
        chance = random.Random(number)
        kinds = ['flip', 'set', 'length', 'cut', 'drop', 'insert', 'repeat']
        steps = [(chance.choice(kinds), chance.random(), chance.randrange(256), chance.randbytes(8)) for _ in range(chance.randrange(1, 4))]
        model = changed_graph(data, chance) if number % 2 else edited(data, steps, data)
        counts[type(reads_or_refuses_bundle(with_model(folder, model))).__name__] += 1
    return {**counts, 'memory': peak()}


def test_broken_models(bundle_folder, tmp_path):
    counts = child('models', shutil.copytree(bundle_folder, tmp_path/'bundle'), memory=6*MEMORY)
    assert counts['Bundle'] > 10 and counts['BundleError'] > 100 and counts['memory'] < MEMORY, counts


@pytest.mark.parametrize('place', ['../../../etc/passwd', '/etc/passwd', 'bundle.json', 'here.bin', '*/_ORT_MEM_ADDR_/*'])
def test_a_model_reads_no_other_file(bundle_folder, tmp_path, monkeypatch, place):
    import onnx
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    model = onnx.load(folder/'model.onnx')
    tensor = max(model.graph.initializer, key=lambda o: len(o.raw_data))
    length = len(tensor.raw_data)
    (tmp_path/'here.bin').write_bytes(tensor.raw_data)
    tensor.ClearField('raw_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (('location', place), ('offset', '0'), ('length', str(length))): tensor.external_data.add(key=key, value=value)
    monkeypatch.chdir(tmp_path)
    assert isinstance(reads_or_refuses_bundle(with_model(folder, model.SerializeToString())), BundleError)


def rename(model, old: str, new: str) -> None:
    "Give one end of a graph another name."
    for end in (*model.graph.input, *model.graph.output): end.name = new if end.name == old else end.name
    for node in model.graph.node:
        for names in (node.input, node.output): names[:] = [new if o == old else o for o in names]


def as_double(model) -> None:
    "Let a graph give its scores in double precision."
    from onnx import helper
    rename(model, 'scores', 'floats')
    model.graph.node.append(helper.make_node('Cast', ['floats'], ['scores'], to=11))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info('scores', 11, [5]))


@pytest.mark.parametrize('change', [lambda o: rename(o, 'scores', 'other'), lambda o: rename(o, 'photograph', 'picture'),
                                    lambda o: rename(o, 'trim', 'cut'),
                                    lambda o: o.graph.ClearField('output'), lambda o: o.ClearField('graph'), as_double,
                                    lambda o: o.graph.input.add(name='more').type.tensor_type.shape.dim.add(dim_value=1)], ids=range(7))
def test_other_graphs_are_refused(bundle_folder, tmp_path, change):
    import onnx
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    model = onnx.load(folder/'model.onnx')
    change(model)
    assert isinstance(reads_or_refuses_bundle(with_model(folder, model.SerializeToString())), BundleError)


def test_another_hash_is_refused(bundle_folder, tmp_path):
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    (folder/'model.onnx').write_bytes((folder/'model.onnx').read_bytes() + b'\0')
    assert 'SHA-256' in str(reads_or_refuses_bundle(folder))


if __name__ == '__main__': print(json.dumps({'photographs': open_each, 'models': read_models}[sys.argv[1]](Path(sys.argv[2]))))
