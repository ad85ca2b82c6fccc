"""Uploads of every odd kind: overlapping entries, other ways of packing, links, passwords, limits over several files."""
import io
import json
import random
import resource
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from urbanrivers_camtraps.apps.uploads import Limits, UploadError, photographs_in
from urbanrivers_camtraps.apps.visitor_reports import ReportError, Reports, store_report


def photograph() -> bytes:
    "Return noise as a photograph's bytes."
    buffer = io.BytesIO()
    Image.frombytes('RGB', (64, 48), random.Random(0).randbytes(64*48*3)).save(buffer, 'JPEG')
    return buffer.getvalue()


def answers(*paths, **limits) -> dict[str, object]:
    "Return the bytes or the refusal of each file of an upload."
    return dict(photographs_in(paths, Limits(**limits)))


@pytest.fixture
def goose(tmp_path):
    "A photograph on the disk."
    path = tmp_path/'goose.jpg'
    path.write_bytes(photograph())
    return path


def test_overlapping_entries_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path/'overlap.zip', 'w') as archive:
        archive.writestr('a.jpg', photograph())
        archive.filelist += archive.filelist*50
    with pytest.raises(UploadError, match='overlap.zip: its files overlap: it is damaged or a bomb'):
        answers(tmp_path/'overlap.zip')


def test_other_ways_of_packing_links_and_passwords_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path/'other.zip', 'w') as archive:
        archive.writestr('bzip2.jpg', photograph(), zipfile.ZIP_BZIP2)
        archive.writestr('lzma.jpg', photograph(), zipfile.ZIP_LZMA)
        modes = {'link.jpg': stat.S_IFLNK | 0o777, 'plain.jpg': stat.S_IFREG | 0o644, 'fifo.jpg': stat.S_IFIFO | 0o644}
        for name, mode in modes.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, photograph() if name == 'plain.jpg' else b'/etc/passwd')
        entry = zipfile.ZipInfo('secret.jpg')
        archive.writestr(entry, photograph())
        entry.flag_bits |= 1
    found = answers(tmp_path/'other.zip')
    assert all('unusual way' in str(found[o]) for o in ('bzip2.jpg', 'lzma.jpg'))
    assert all('link or a device' in str(found[o]) for o in ('link.jpg', 'fifo.jpg'))
    assert 'encrypted' in str(found['secret.jpg']) and found['plain.jpg'] == photograph()


def test_limits_hold_for_one_file_and_for_all(goose):
    assert str(answers(goose, bytes_each=100)['goose.jpg']) == 'has more than 0.0001 MB. Send it in a smaller size'
    with pytest.raises(UploadError, match='more than 0.02 MB at once'): answers(*[goose]*30, bytes_in_all=20_000)
    with pytest.raises(UploadError, match='more than 2 files at once'): answers(*[goose]*3, photographs=2)


def test_an_empty_zip_holds_nothing(tmp_path):
    zipfile.ZipFile(tmp_path/'nothing.zip', 'w').close()
    assert answers(tmp_path/'nothing.zip') == {}


# ── reports of visitors ─────────────────────────────────────────────────────────────────────────────────────────────
def test_a_full_disk_leaves_no_half_line_among_the_reports(tmp_path):
    bundle, scores = SimpleNamespace(classes=('blank', 'fox'), description=SimpleNamespace(files={})), np.array([.4, .6])
    def lines() -> list[dict]: return [json.loads(o) for o in Path(tmp_path, 'reports.jsonl').read_text().splitlines()]
    store_report(Reports(tmp_path), bundle, scores, 'blank')
    size, limits = (tmp_path/'reports.jsonl').stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))  # room for half a line
    try:
        with pytest.raises(ReportError, match='the disk is full'): store_report(Reports(tmp_path), bundle, scores, 'fox')
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path/'reports.jsonl').stat().st_size == size
    store_report(Reports(tmp_path), bundle, scores, 'fox')
    assert [o['right'] for o in lines()] == ['blank', 'fox']
