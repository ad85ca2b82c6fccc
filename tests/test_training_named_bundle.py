"""A bundle by its name, fetched from a stand-in for the Hub: the real Hub was not asked."""
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from hub_stand_in import Hub
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import CamtrapsWarning
from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.inference.bundle import find_bundle, read_bundle
from urbanrivers_camtraps.inference.season import Job
from urbanrivers_camtraps.training.bundle_format import BundleError
from urbanrivers_camtraps.training.named_bundle import find_named

pytest.importorskip('huggingface_hub')
NAME = 'urban-rivers/who'


def contents(folder: Path) -> dict[str, bytes]:
    "Read all files below a folder."
    return {o.relative_to(folder).as_posix(): o.read_bytes() for o in folder.rglob('*') if o.is_file()}


def with_readme(bundle_folder: Path, text: str) -> dict[str, bytes]:
    "Return the files of a bundle with another card."
    files = {**contents(bundle_folder), 'README.md': text.encode()}
    about = json.loads(files['bundle.json'])
    about['files']['README.md'] = hashlib.sha256(text.encode()).hexdigest()
    return files | {'bundle.json': json.dumps(about).encode()}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    "A stand-in for the Hub, an empty cache, and an empty folder to work in."
    from huggingface_hub import close_session, constants
    hub = Hub()
    for name, value in {'ENDPOINT': hub.url, 'HF_HUB_CACHE': str(tmp_path/'cache'),
                        'HUGGINGFACE_CO_URL_TEMPLATE': hub.url + '/{repo_id}/resolve/{revision}/{filename}', 'HF_HUB_DISABLE_XET': True,
                        'HF_HUB_DISABLE_PROGRESS_BARS': True}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path/'no token'))
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    (tmp_path/'work').mkdir()
    monkeypatch.chdir(tmp_path/'work')
    close_session()
    yield hub
    hub.close()
    close_session()


def cut(hub: Hub) -> None:
    "Take the Hub away, with the connections that are open."
    from huggingface_hub import close_session
    hub.close()
    close_session()


@pytest.fixture
def published(hub, bundle_folder) -> list[str]:
    "The commits of a repo that holds two states of a bundle, and a file that belongs to neither."
    hub.publish(NAME, {**contents(bundle_folder), 'huge.bin': b'not of the bundle'})
    hub.commit(NAME, {**with_readme(bundle_folder, '# Second'), 'huge.bin': b'not of the bundle'})
    return [commit for commit, _ in hub.repos[NAME]]


def test_the_newest_state_is_fetched_and_its_commit_known(published, bundle_folder, photograph):
    bundle = read_bundle(NAME)
    assert bundle.name == f'{NAME}@{published[1]}' and bundle.name in bundle.origin
    assert (bundle.folder/'README.md').read_text() == '# Second' and not (bundle.folder/'huge.bin').exists()
    assert (bundle.folder/'model.onnx').read_bytes() == (bundle_folder/'model.onnx').read_bytes()
    assert find_bundle(NAME) == find_named(Path(NAME)) == find_named(f'hf://{NAME}') == bundle.folder


def test_a_pinned_commit_is_asked_for_once(hub, published, bundle_folder):
    bundle = read_bundle(f'{NAME}@{published[0]}')
    assert bundle.name == f'{NAME}@{published[0]}' and contents(bundle.folder) == contents(bundle_folder)
    asked = len(hub.requests)
    assert read_bundle(f'{NAME}@{published[0]}').folder == bundle.folder and len(hub.requests) == asked
    assert Job(f'{NAME}@{published[0]}').fingerprint == Job(str(bundle_folder)).fingerprint


def test_without_a_network_the_last_state_is_used_and_said(hub, published, monkeypatch):
    folder = read_bundle(NAME).folder
    cut(hub)
    with pytest.warns(CamtrapsWarning, match=f'cannot be reached .*fetched last is used: {published[1][:12]}'):
        assert read_bundle(NAME).folder == folder
    with pytest.raises(BundleError, match='urban-rivers/other: is not on this machine yet, and the Hub cannot be reached'):
        read_bundle('urban-rivers/other')
    from huggingface_hub import constants
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    with pytest.warns(CamtrapsWarning, match='HF_HUB_OFFLINE is set, so the state that was fetched last'): read_bundle(NAME)
    with pytest.raises(BundleError, match='not on this machine yet, and HF_HUB_OFFLINE is set'): read_bundle('urban-rivers/other')


def test_a_half_fetched_bundle_is_not_used(hub, published):
    folder = read_bundle(NAME).folder
    (folder/'model.onnx').unlink()
    cut(hub)
    with pytest.raises(BundleError, match='is not on this machine yet'): read_bundle(f'{NAME}@{published[1]}')


def test_a_damaged_download_is_refused(published):
    folder = read_bundle(NAME).folder
    (folder/'model.onnx').resolve().write_bytes(b'?')
    with pytest.raises(BundleError, match='is damaged'): read_bundle(NAME)


def test_refusals_are_one_line(hub, published, bundle_folder, monkeypatch):
    hub.publish('urban-rivers/notes', {'README.md': b'# Notes'})
    hub.publish('urban-rivers/asks', contents(bundle_folder))
    hub.gated['urban-rivers/asks'] = 'manual'
    hub.publish('urban-rivers/secret', contents(bundle_folder))
    hub.private['urban-rivers/secret'] = True
    for name, said in (('urban-rivers/none', 'neither a folder here nor a model on the Hub that you may see'),
                       ('urban-rivers/secret', 'neither a folder here nor a model'), ('urban-rivers/asks', 'is gated'),
                       ('urban-rivers/notes', 'but not a bundle'), (f'{NAME}@v9', 'there is no such revision')):
        with pytest.raises(BundleError, match=said) as error: read_bundle(name)
        assert '\n' not in str(error.value) and str(error.value).startswith(f'{name}: ')
    monkeypatch.setenv('HF_TOKEN', 'hf_reader')
    assert read_bundle('urban-rivers/asks').name.startswith('urban-rivers/asks@')


def test_a_folder_wins_over_a_name(published, bundle_folder):
    shutil.copytree(bundle_folder, NAME)
    assert read_bundle(NAME).folder == Path(NAME) and read_bundle(f'hf://{NAME}').name
    assert find_named('demo/bundle') == Path('demo/bundle')  # a folder that was not made yet, and no stranger's model
    with pytest.raises(BundleError, match='there is no such bundle'): read_bundle('demo/bundle')


def test_predictions_name_the_commit(published, photograph, capsys):
    assert run(['predict', str(photograph), '--bundle', NAME, '--out', 'found.parquet']) == 0
    assert f'bundle: {NAME}@{published[1]}' in capsys.readouterr().err
    assert f'{NAME}@{published[1]}' in read_table('found.parquet').attrs['model']['origin']


def test_the_web_page_is_made_from_a_name(published, hub):
    assert run(['web', '--bundle', NAME]) == 0
    assert json.loads(Path('site/bundle.json').read_bytes()) == json.loads(hub.files(NAME)['bundle.json'])


def test_a_name_needs_huggingface_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    with pytest.raises(BundleError, match=r'needs huggingface_hub, .*camtraps\[app\]'): read_bundle(NAME)
