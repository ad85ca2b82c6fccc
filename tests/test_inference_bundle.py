"""Reading a bundle: what is damaged is refused in one line, and what a call cannot take is refused, too."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from urbanrivers_camtraps.inference.bundle import find_bundle, read_bundle
from urbanrivers_camtraps.training.bundle_format import BundleError


@pytest.fixture
def copied(bundle_folder, tmp_path) -> Path:
    "A copy of the bundle, to be damaged."
    return Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))


def edit(folder: Path, **fields) -> None:
    "Change fields of bundle.json."
    path = folder/'bundle.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_description_without_the_newer_fields_is_read(copied):
    transforms = json.loads((copied/'bundle.json').read_text())['transforms']
    del transforms['deployment_trims'], transforms['antialias']
    edit(copied, transforms=transforms)
    assert read_bundle(copied).description.transforms.antialias


@pytest.mark.parametrize('content, message', [(b'[]', 'not a readable JSON'), (b'\xff\xfe\x00', 'not a readable JSON'),
                                              (b'{"format_version": 1', 'not a readable JSON')])
def test_a_description_that_is_not_json_is_refused(copied, content, message):
    (copied/'bundle.json').write_bytes(content)
    with pytest.raises(BundleError, match=message): read_bundle(copied)


@pytest.mark.parametrize('fields, message', [
    ({'files': {}}, 'no hash in bundle.json'), ({'classes': ['a', 'b']}, 'scores for 2 classes'), ({'classes': ['a', 'a', 'b', 'c', 'd']}, 'each once'),
    ({'temperature': 0}, 'temperature'), ({'format_version': None}, 'format version None'), ({'format_version': 9}, 'format version 9'),
    ({'files': 7}, 'files'), ({'figures': {}}, 'figures')])
def test_fields_that_cannot_be_are_refused_in_one_line(copied, fields, message):
    edit(copied, **fields)
    with pytest.raises(BundleError, match=message) as error: read_bundle(copied)
    assert '\n' not in str(error.value)


def test_missing_and_foreign_files_are_refused(copied):
    files = json.loads((copied/'bundle.json').read_text())['files']
    edit(copied, files={**files, '../../../etc/passwd': '00'})
    with pytest.raises(BundleError, match='outside of the bundle'): read_bundle(copied)
    (copied/'bundle.json').unlink()
    with pytest.raises(BundleError, match='no bundle.json'): read_bundle(copied)


def test_a_precision_that_is_not_there_is_refused(copied):
    with pytest.raises(BundleError, match='has no model of precision int8'): read_bundle(copied, precision='int8')
    with pytest.raises(BundleError, match='is not a precision'): read_bundle(copied, precision='int4')


def test_pixels_of_another_kind_are_refused(bundle_folder):
    bundle = read_bundle(bundle_folder)
    for pixels in (np.zeros((20, 20), 'uint8'), np.zeros((20, 20, 3)), np.zeros((0, 20, 3), 'uint8'), np.zeros((20, 20, 4), 'uint8')):
        with pytest.raises(BundleError, match='takes uint8 pixels'): bundle(pixels)
    assert bundle(np.zeros((1, 1, 3), 'uint8')).shape == (len(bundle.classes),)
    with pytest.raises(BundleError, match='It knows none'): bundle.trim_of('Prologis 01')


def test_a_bundle_shows_itself(bundle_folder):
    bundle = read_bundle(bundle_folder)
    assert repr(bundle) == 'Bundle(tiny, 5 classes, 64 pixels)' and '<table>' in bundle._repr_html_() and 'Castor canadensis' in bundle._repr_html_()


def test_the_usual_folders_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('CAMTRAPS_BUNDLE', raising=False)
    assert find_bundle() == Path('data/bundle')
    (tmp_path/'demo'/'bundle').mkdir(parents=True)
    assert find_bundle() == Path('demo/bundle')
    monkeypatch.setenv('CAMTRAPS_BUNDLE', 'mine')
    assert find_bundle() == Path('mine') and find_bundle('other') == Path('other')
