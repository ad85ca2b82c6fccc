"""Photographs that are cut off, odd or hostile: each gives upright RGB pixels, or one kind of error."""
import io
import struct
import sys
import tempfile
import warnings
from datetime import datetime

import numpy as np
import pytest
from PIL import ExifTags, Image

from urbanrivers_camtraps.images.photograph import (
    BYTES_LIMIT,
    PhotographError,
    _all_rgb,
    _damage,
    _rgb,
    describe_photograph,
    open_for_network,
    open_photograph,
    parse_clock,
    read_clock,
    reduction,
)


def as_bytes(image: Image.Image, kind: str, **options) -> bytes:
    "An image as bytes of the format `kind`."
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_jpeg(size: tuple[int, int] = (2000, 1500), **options) -> bytes:
    "A colour gradient as JPEG bytes."
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return as_bytes(Image.fromarray(np.stack([across, down, across*0 + 90], -1).astype('uint8')), 'JPEG', **options)


def stamped(original: str) -> bytes:
    "A photograph that was taken at this time."
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = original
    return as_jpeg((60, 40), exif=exif)


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'restart_marker_blocks': 8}], ids=['baseline', 'progressive', 'restarts'])
@pytest.mark.parametrize('max_side', [None, 1024, 512, 200])
def test_a_photograph_that_is_cut_off_is_refused_at_every_scale(options, max_side):
    data = as_jpeg((2048, 1536), quality=90, **options)  # libjpeg would fill the rest with grey
    for share in (.03, .2, .5, .9, .99):
        with pytest.raises(PhotographError, match='is damaged'): open_photograph(data[:int(share*len(data))], max_side)


def test_huge_files_and_things_that_are_no_files(tmp_path):
    huge = as_bytes(Image.new('1', (20_000, 10_000)), 'PNG')  # 200 megapixels in a few kilobytes
    with pytest.raises(PhotographError, match='million'): open_photograph(huge)
    with pytest.raises(PhotographError, match='cannot be read'): open_photograph(tmp_path)
    with pytest.raises(PhotographError, match='is empty'): open_photograph('/dev/zero')
    with pytest.raises(PhotographError, match=r'cannot be read \(embedded null'): open_photograph('a\0b.jpg')
    with pytest.raises(PhotographError, match='photograph: has more than 100 MB'): open_photograph(bytes(BYTES_LIMIT + 1))
    with tempfile.NamedTemporaryFile(suffix='.jpg') as file:
        file.truncate(BYTES_LIMIT + 1)
        with pytest.raises(PhotographError, match='has more than 100 MB'): open_photograph(file.name)


def test_errors_are_short_and_printable():
    assert _damage(ValueError('a\x1b[0m\n' + 'b'*500))[:20] == 'is damaged (a [0m bb'
    assert _damage(MemoryError()) == 'is damaged (MemoryError)'


def test_rows_at_a_time_give_the_same_colours():
    noise = np.random.default_rng(0).integers(0, 256, (700, 300, 4), 'uint8')
    for image in (Image.fromarray(noise), Image.fromarray(noise).convert('CMYK'), Image.fromarray(noise[..., :3]).quantize(64),
                  Image.fromarray(noise[..., :2].copy().view('uint16')[..., 0]), Image.fromarray(noise[..., 0])):
        assert np.array_equal(np.asarray(_all_rgb(image)), np.asarray(_rgb(image)))
    clear = Image.fromarray(noise[..., :3])
    clear.info['transparency'] = tuple(noise[0, 0, :3])
    assert _all_rgb(clear).getpixel((0, 0)) == (255,)*3


def test_the_first_of_a_stereo_pair_and_no_exif():
    stereo = as_bytes(open_photograph(as_jpeg((64, 48))), 'MPO', save_all=True, append_images=[Image.new('RGB', (90, 90))]*3)
    assert open_photograph(stereo).size == (64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert len(open_photograph(as_jpeg((64, 48), exif=exif)).getexif()) == 0


def test_clocks():
    assert read_clock(stamped('2025:06:01 05:30:00\0')) == datetime(2025, 6, 1, 5, 30)
    assert read_clock(stamped('2025:06:01 05:30:00')[:1000]) == datetime(2025, 6, 1, 5, 30)  # cut off: its head is there
    for data in (stamped('yesterday'), b'', b'no photograph', as_bytes(Image.new('RGB', (60, 40)), 'PNG'), 'nowhere.jpg', tempfile.gettempdir()):
        assert read_clock(data) is None


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP'])
def test_broken_files_raise_one_kind_of_error(kind):
    chance, buffer = np.random.default_rng(0), io.BytesIO()
    Image.fromarray(chance.integers(0, 255, (48, 64, 3), 'uint8')).save(buffer, kind)
    good = np.frombuffer(buffer.getvalue(), 'uint8')
    for _ in range(300):
        wrong = good.copy()
        wrong[chance.integers(0, min(len(wrong), 400), 5)] = chance.integers(0, 255, 5)
        with warnings.catch_warnings(action='ignore'):
            try: open_photograph(wrong.tobytes(), 32)
            except PhotographError: pass


def turned(value: int, size: tuple[int, int] = (640, 480)) -> bytes:
    "A photograph whose EXIF asks for a turn, and holds a fraction of 0/-1 besides."
    exif = b'Exif\0\0II*\0' + struct.pack('<LHHHLHHHHLLLll', 8, 2, 0x112, 3, 1, value, 0, 0x11a, 10, 1, 38, 0, -1, 0)
    return as_bytes(Image.new('RGB', size, 'green'), 'JPEG', exif=exif)


@pytest.mark.parametrize(('orientation', 'size'), [(1, (640, 480)), (3, (640, 480)), (5, (480, 640)), (6, (480, 640)), (8, (480, 640)), (9, (640, 480))])
def test_the_table_has_the_size_of_the_upright_photograph(orientation, size, tmp_path):
    (tmp_path/'a.jpg').write_bytes(turned(orientation))
    described = describe_photograph(tmp_path/'a.jpg')
    assert open_photograph(tmp_path/'a.jpg').size == (described['width'], described['height']) == size


@pytest.mark.parametrize('orientation', range(1, 9))
def test_each_turn_is_that_of_pillow(orientation):
    from PIL import ImageOps
    exif = Image.Exif()
    exif[0x112] = orientation
    data = as_jpeg((60, 40), exif=exif)
    assert open_photograph(data).tobytes() == ImageOps.exif_transpose(Image.open(io.BytesIO(data))).tobytes()


@pytest.mark.parametrize('options', [{'exif': b'Exif\0\0' + bytes(20), 'dpi': (72, 72)}, {'exif': b'Exif\0\0MM\0*\xff\xff\xff\xff'},
                                     {'icc_profile': b'no profile'},
                                     {'exif': b'Exif\0\0II*\0\x08\0\0\0\xff\xff' + b'\x12\x01'*40}, {'exif': b'MPF\0'},
                                     {'xmp': b'<x:xmpmeta tiff:Orientation="'}],
                         ids=['zeros', 'far', 'icc', 'endless', 'mpf', 'xmp'])
def test_what_stands_beside_the_pixels_does_not_decide(options, tmp_path):
    (tmp_path/'a.jpg').write_bytes(as_bytes(Image.new('RGB', (64, 48), 'green'), 'JPEG', **options))
    assert open_photograph(tmp_path/'a.jpg').size == (64, 48)
    assert describe_photograph(tmp_path/'a.jpg')['width'] == 64
    assert read_clock(tmp_path/'a.jpg') is None


def test_a_png_with_a_broken_note_counts():
    data = as_bytes(Image.new('RGB', (64, 48), 'green'), 'PNG')
    note = struct.pack('>L', 5) + b'iCCP' + b'abcde' + b'\0\0\0\0'  # its checksum is wrong
    assert open_photograph(data[:33] + note + data[33:]).getpixel((3, 3)) == (0, 128, 0)


def test_heic_is_read_or_refused_by_its_name(monkeypatch, tmp_path):
    heif = pytest.importorskip('pillow_heif', reason='the extra heic is not installed')
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = '2025:06:01 10:37:28'
    image = heif.from_pillow(Image.new('RGB', (64, 48), 'green'))
    image.save(tmp_path/'a.heic', exif=exif.tobytes())
    assert open_photograph(tmp_path/'a.heic').size == (64, 48)
    assert read_clock(tmp_path/'a.heic') == datetime(2025, 6, 1, 10, 37, 28)
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    with pytest.raises(PhotographError, match=r'a.heic: is HEIC, which needs pillow-heif.*urbanrivers_camtraps\[heic\]'): open_photograph(tmp_path/'a.heic')
    assert read_clock(tmp_path/'a.heic') is None


@pytest.mark.parametrize(('head', 'name'), [(b'RIFF\x24\0\0\0AVI LIST', 'AVI'), (b'\0\0\0\x18ftypmp42', 'MP4'), (b'\0\0\0\x18ftypcrx ', 'CR3'),
                                          (b'\x1aE\xdf\xa3', 'MKV'), (b'GIF89a', 'GIF')])
def test_a_film_is_called_a_film(head, name):
    with pytest.raises(PhotographError, match=name): open_photograph(head + bytes(200))


@pytest.mark.parametrize('text', ['2025:06:01 10:37:28', '2025-06-01T10:37:28.123456', '2025:06:01 10:37:28-05:00',
                                  '2025:06:01 10:37:28\0\0', '2025.06.01 10:37:28',
                                  '2025:06:01 10:37:28 UTC', '2025-06-01T10:37:28Z', '2025:06:01 10:37:28+0200'])
def test_one_moment_in_many_ways(text): assert parse_clock(text) == datetime(2025, 6, 1, 10, 37, 28)


@pytest.mark.parametrize(('text', 'hour'), [('2025:06:01 12:00:00 AM', 0), ('2025:06:01 12:00:00 PM', 12),
                                             ('2025:06:01 1:00:00 pm', 13), ('2025:06:01 23:00', 23)])
def test_half_days(text, hour): assert parse_clock(text).hour == hour


@pytest.mark.parametrize('text', ['', '0000:00:00 00:00:00', '2025:02:30 10:00:00', '01:06:2025 10:00:00',
                                  '2025:06:01', '2025:06:01 25:00:00', 'None', '\0'*20, '2025:06:01 10:37:28 tomorrow'])
def test_no_moment(text): assert parse_clock(text) is None


#: Width, height, side of the network's square, and by what the photograph is divided: worked out by hand.
REDUCED = [
    (3648, 2736, 224, 4),  # 912 ≥ 672, and 456 is not
    (2688, 1512, 224, 4),  # exactly 672
    (2687, 1512, 224, 2),
    (2592, 1944, 224, 2),  # 648 is not enough
    (5376, 3024, 224, 8),  # exactly 672
    (1344, 1008, 224, 2), (1343, 1008, 224, 1), (1024, 768, 224, 1),
    (3840, 2160, 320, 4), (3648, 2736, 320, 2), (1920, 1080, 320, 2), (1024, 768, 320, 1),
    (2736, 3648, 224, 4),  # upright
    (6000, 800, 224, 2),  # a quarter of 800 is 200, fewer rows than the network takes
    (4608, 3456, 1024, 2),  # 2,048 are enough for every network
    (4095, 3456, 1024, 1), (640, 480, 64, 2), (64, 48, 224, 1)]


@pytest.mark.parametrize(('width', 'height', 'side', 'factor'), REDUCED)
def test_a_photograph_is_reduced_as_far_as_the_network_allows(width, height, side, factor):
    assert reduction((width, height), side) == factor


def test_no_network_makes_a_photograph_fill_the_memory():
    for side in (32, 224, 480, 1024, 4096):
        for width, height in ((16_000, 7500), (10_954, 10_954), (4095, 4095), (20_000, 1000)):
            factor = reduction((width, height), side)
            assert width*height//factor**2 <= 16.8e6 or min(width, height) < 2*factor*side, (side, width, height)


@pytest.mark.parametrize('kind', ['JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP', 'BMP'])
def test_all_formats_are_reduced_to_the_same_size_and_nearly_the_same_pixels(kind):
    across, down = np.meshgrid(np.arange(1350), np.arange(1010))
    drawn = Image.fromarray(np.stack([across//6, down//5, 128 + 90*np.sin(across/30)*np.sin(down/25)], -1).astype('uint8'))
    options = {'JPEG': {'quality': 95}, 'MPO': {'quality': 95}, 'WEBP': {'quality': 95}}.get(kind, {})
    opened = open_for_network(as_bytes(drawn, kind, **options), 224)
    assert opened.size == (675, 505) and not opened.info
    means = np.asarray(drawn, float).reshape(505, 2, 675, 2, 3).mean((1, 3))
    assert np.abs(np.asarray(opened, float) - means).mean() < (.6 if kind in ('PNG', 'TIFF', 'BMP') else 1.5)


def test_a_turned_photograph_is_reduced_upright():
    opened = open_for_network(turned(6, (1600, 1200)), 224)
    assert opened.size == (600, 800)


@pytest.mark.parametrize('side', [40, 80, 160, 224])
def test_a_photograph_that_is_cut_off_is_refused_whatever_the_network_takes(side):
    data = as_jpeg((2048, 1536), quality=90)
    for share in (.03, .5, .99):
        with pytest.raises(PhotographError, match='is damaged'): open_for_network(data[:int(share*len(data))], side)
