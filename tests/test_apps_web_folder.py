"""The folder of the web page without a browser: the libraries it needs, what it may reach and what it replaces."""
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml

from urbanrivers_camtraps.apps import web, web_model
from urbanrivers_camtraps.apps.web import WebError, write_web_page
from urbanrivers_camtraps.foundations.core import collect_notices


@pytest.fixture
def vendor(tmp_path, monkeypatch) -> Path:
    "A folder of two small packages in place of the real libraries, which count as the pinned ones."
    folder = tmp_path/'packages'
    folder.mkdir()
    pinned = []
    for package in web._PACKAGES:
        with tarfile.open(folder/package.tarball, 'w:gz') as archive:
            for member in package.members:
                entry, data = tarfile.TarInfo(f'package/{member}'), f'// {member}'.encode()
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        hashed = web._integrity(folder/package.tarball)
        pinned.append(web._Package(package.name, package.version, hashed, package.members))
    monkeypatch.setattr(web, '_PACKAGES', tuple(pinned))
    return folder


@pytest.fixture
def npm(tmp_path, monkeypatch):
    "A cache of its own, and a program `npm` that runs the given line of shell."
    folder = tmp_path/'bin'
    folder.mkdir()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    monkeypatch.setenv('PATH', str(folder))

    def install(script: str) -> None:
        "Write the program."
        (folder/'npm').write_text(f'#!/bin/sh\n{script}\n')
        (folder/'npm').chmod(0o755)
    return install


def test_a_library_comes_from_npm_once(vendor, npm, tmp_path):
    package, cache = web._PACKAGES[0], tmp_path/'cache'/'urbanrivers_camtraps'/'vendor'
    assert web._cache_folder() == cache
    with pytest.raises(WebError, match=r'npm is not installed\. Install Node\.js'): web._tarball(package, None)
    npm('echo no network >&2; exit 1')
    with pytest.raises(WebError, match=r'npm did not get it \(no network\)'): web._tarball(package, None)
    npm(f'echo other > {package.tarball}')
    with pytest.raises(WebError, match='its SHA-512 differs'): web._tarball(package, None)
    assert list(cache.iterdir()) == []
    npm(f'/bin/cp {vendor/package.tarball} .')
    assert web._tarball(package, None) == cache/package.tarball
    npm('exit 1')
    assert web._tarball(package, None) == cache/package.tarball  # from the cache


def test_what_is_no_package_is_not_unpacked(vendor, tmp_path):
    package = web._PACKAGES[0]
    missing = web._Package('x', '1', '', {'missing': 'y'})
    with pytest.raises(WebError, match='cannot be unpacked'):
        web._unpack(missing, vendor/package.tarball, tmp_path/'vendor')
    (tmp_path/'page.tgz').write_text('<html>')
    with pytest.raises(WebError, match='cannot be unpacked'):
        web._unpack(package, tmp_path/'page.tgz', tmp_path/'vendor')


@pytest.mark.parametrize('space', ['camtraps', 'a/b/c', 'a/b; script-src *', 'ftp://a', 'https://', 'https://a;b',
                                   'https://me:word@a', 'https://a/ b', 'https://[', "https://'self'"])
def test_what_is_no_space_cannot_widen_the_policy(space):
    with pytest.raises(WebError, match='neither'): web._policy(space)


def test_only_an_earlier_page_or_an_empty_folder_is_replaced(vendor, bundle_folder, tmp_path):
    (tmp_path/'file').write_text('mine')
    for folder in (bundle_folder, vendor, tmp_path/'file'):
        with pytest.raises(WebError, match='would be replaced'): write_web_page(bundle_folder, folder, vendor=vendor)
    assert (tmp_path/'file').read_text() == 'mine'
    (tmp_path/'empty').mkdir()
    page = write_web_page(bundle_folder, tmp_path/'empty', vendor=vendor)
    before = (page/'site.json').read_text()
    with pytest.raises(WebError, match='is missing'): write_web_page(bundle_folder, page, vendor=tmp_path/'nowhere')
    assert (page/'site.json').read_text() == before
    assert sorted(o.name for o in tmp_path.iterdir()) == ['empty', 'file', 'packages']  # nothing is left over
    shutil.copytree(bundle_folder, page/'bundle')
    with pytest.raises(WebError, match='holds bundle/README.md'): write_web_page(page/'bundle', page, vendor=vendor)


@pytest.mark.parametrize('why', ['onnx is not installed', 'it answers differently'])
def test_a_model_that_cannot_be_halved_is_carried_whole_and_told(vendor, bundle_folder, tmp_path, monkeypatch, why):
    if why == 'onnx is not installed': monkeypatch.setattr(web_model, 'to_float16', None)
    else: monkeypatch.setattr(web_model, 'SAME_SCORES', -1)
    with collect_notices() as told: page = write_web_page(bundle_folder, tmp_path/'page', vendor=vendor)
    assert (page/'model.onnx.packed').is_file() and not list(page.glob('model.float16*'))
    assert json.loads((page/'page.json').read_text())['model']['file'] == 'model.onnx.packed'
    assert len(told) == 1 and 'twice the download' in told[0] and ("pip install 'urbanrivers_camtraps[train]'" in told[0]) == (why[0] == 'o')


def test_the_workflow_in_the_docs_publishes_the_folder_with_the_actions_of_our_own():
    root = Path(__file__).parents[1]
    cells = json.loads((root/'nbs'/'9_apps'/'96_web.ipynb').read_text())['cells']
    text, = re.findall(r'```yaml\n(.*?)```', '\n'.join(''.join(o['source']) for o in cells if o['cell_type'] == 'markdown'), re.S)
    steps = [o['uses'] for o in yaml.safe_load(text)['jobs']['publish']['steps']]
    own = (root/'.github'/'workflows'/'docs.yml').read_text()
    assert [o.split('@')[0] for o in steps] == ['actions/checkout', 'actions/upload-pages-artifact', 'actions/deploy-pages']
    assert all(o in own for o in steps), 'an action is pinned to another commit than in docs.yml'
