"""The folder of the web page without a browser: the libraries it needs, what it may reach and what it replaces."""
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from urbanrivers_camtraps.apps import web
from urbanrivers_camtraps.apps.web import WebError, write_web_page


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
