"""Publishing as the Hub sees it: a Space in an empty environment, a repo that is downloaded, and a line that is cut."""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest
import yaml

from hub_stand_in import Hub
from urbanrivers_camtraps.apps.hub import PublishError, publish, write_model_repo, write_space
from urbanrivers_camtraps.apps.hub_cards import Card
from urbanrivers_camtraps.apps.hub_repo import REPOS, send_folder
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.apps.web import write_web_page
from urbanrivers_camtraps.dataset.licences import LICENCES, LicenceError
from urbanrivers_camtraps.foundations.core import CamtrapsError, CamtrapsWarning
from urbanrivers_camtraps.images.photograph import open_photograph
from urbanrivers_camtraps.inference.bundle import read_bundle
from urbanrivers_camtraps.inference.predict import score_photograph

ROOT = Path(__file__).resolve().parents[1]
#: What a page that only predicts must do without.
HEAVY = ['torch', 'torchvision', 'fastai', 'fastcore', 'matplotlib', 'sklearn', 'onnx', 'urbanrivers_camtraps']
NAME = 'urban-rivers/who'


def contents(folder: Path) -> dict[str, bytes]:
    "Read all files below a folder."
    return {o.relative_to(folder).as_posix(): o.read_bytes() for o in folder.rglob('*') if o.is_file()}


def with_files(folder: Path, files: dict[str, bytes]) -> Path:
    "Put files into a bundle and list all that it holds."
    for name, data in files.items():
        (folder/name).parent.mkdir(exist_ok=True)
        (folder/name).write_bytes(data)
    description = json.loads((folder/'bundle.json').read_text())
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in contents(folder).items() if name != 'bundle.json'}
    (folder/'bundle.json').write_text(json.dumps(description | {'files': hashes}))
    return folder


# --- a Space in an environment of its own

@pytest.fixture(scope='module')
def space(bundle_folder, tmp_path_factory) -> Path:
    "A Space as a dry run leaves it, copied away."
    folder = tmp_path_factory.mktemp('written')/'space'
    tried = publish('space', NAME, bundle_folder, dry_run=True, folder=folder, endpoint='http://127.0.0.1:9')
    assert tried.commit is None
    return Path(shutil.copytree(tried.folder, tmp_path_factory.mktemp('elsewhere')/'app'))


@pytest.fixture(scope='module')
def python(space, tmp_path_factory) -> Path:
    "A Python with the Space's own requirements and nothing else."
    folder = tmp_path_factory.mktemp('venv')
    venv.create(folder, with_pip=False)  # the pip of these tests installs into it
    subprocess.run([sys.executable, '-m', 'pip', '--python', folder/'bin'/'python', 'install', '-qq', '--no-compile', '-r', space/'requirements.txt'],
                   check=True, timeout=1200)
    return folder/'bin'/'python'


def clean_environment(**extra) -> dict[str, str]:
    "The environment without what points to this project or to a Hub."
    mine = {o: value for o, value in os.environ.items() if not o.startswith(('PYTHON', 'CAMTRAPS', 'HF_', 'GRADIO', 'VIRTUAL'))}
    return {**mine, 'NO_PROXY': '127.0.0.1,localhost', **extra}


@pytest.fixture(scope='module')
def served(space, python, tmp_path_factory):
    "The Space, served: its address."
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
    folder = tmp_path_factory.mktemp('log')
    environment = clean_environment(GRADIO_SERVER_PORT=str(port), GRADIO_TEMP_DIR=str(folder/'uploads'), HF_HUB_OFFLINE='1')
    started = time.monotonic()
    with (folder/'log.txt').open('w') as log:
        process = subprocess.Popen([python, 'app.py'], cwd=space, env=environment, stdout=log, stderr=log, start_new_session=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        while True:
            try: opener.open(f'http://127.0.0.1:{port}/', timeout=5).close()
            except OSError:
                if process.poll() is not None or time.monotonic() - started > 120: pytest.fail((folder/'log.txt').read_text())
                time.sleep(.1)
            else: break
        yield f'http://127.0.0.1:{port}/'
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def test_space_answers_as_the_bundle_does(served, space, bundle_folder, photograph):
    from gradio_client import Client, handle_file
    client = Client(served, verbose=False, analytics_enabled=False)
    _, found = client.predict(image_path=handle_file(str(photograph)), api_name='/top_3_preds')
    bundle = read_bundle(bundle_folder)
    scores = score_photograph(bundle, photograph)
    assert found['prediction']['class'] == bundle.classes[scores.argmax()]
    assert found['prediction']['probability'] == pytest.approx(float(scores.max()), abs=1e-6)


def test_space_is_light(python, tmp_path):
    code = f'import importlib.util as u; print([o for o in {HEAVY} if u.find_spec(o)])'
    done = subprocess.run([python, '-I', '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == '[]\n', done.stderr


def test_space_has_the_whole_bundle_and_no_more_modules_than_it_needs(space, bundle_folder):
    assert contents(space/'bundle') == contents(bundle_folder)
    package = space/'urbanrivers_camtraps'
    modules = {'.'.join(o.relative_to(package).with_suffix('').parts) for o in package.rglob('*.py')}
    assert {'apps.__init__', 'apps.app', 'inference.bundle', 'foundations.core', 'inference.predict'} <= modules
    assert not {'apps.cli', 'apps.hub'} & modules
    assert not [o for o in modules if o.startswith(('votes.', 'survey.', 'evaluation.', 'review.'))]
    allowed = {'training.__init__', 'training.bundle_format', 'training.named_bundle'}  # the format, and where a bundle is: no torch
    assert {o for o in modules if o.startswith('training.')} <= allowed


# --- the Hub

@pytest.fixture
def hub(monkeypatch):
    "A stand-in for the Hub; huggingface_hub sends large files the plain way and does not wait between attempts."
    from types import SimpleNamespace

    from huggingface_hub import close_session, constants
    from huggingface_hub.utils import _http
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr(_http, 'time', SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    close_session()
    hub = Hub()
    yield hub
    hub.close()
    close_session()


@pytest.fixture
def send(hub, bundle_folder, tmp_path):
    "Publish to the stand-in."
    def send(kind='space', token='hf_writer', **options):
        card = options.pop('card', Card(licence='apache-2.0'))
        return publish(kind, NAME, options.pop('bundle', bundle_folder), card, folder=tmp_path/kind, token=token, endpoint=hub.url, **options)
    return send


@pytest.fixture
def other_bundle(bundle_folder, tmp_path) -> Path:
    "Another bundle: other weights, one example less, one more text."
    folder = Path(shutil.copytree(bundle_folder, tmp_path/'other'))
    shutil.rmtree(folder/'examples')
    return with_files(folder, {'model.safetensors': b'other weights'*99, 'notes.md': b'New.\n'})


def test_space_is_published_as_one_commit(hub, send):
    done = send()
    assert hub.files(NAME) == contents(done.folder) and len(hub.repos[NAME]) == 2
    assert done.commit == hub.repos[NAME][-1][0] and set(done.difference.change) == {'new', 'changed'}
    assert done.url == f'{hub.url}/spaces/{NAME}'


def test_the_web_page_is_published_as_a_static_space(hub, send, bundle_folder, other_bundle, tmp_path):
    page = write_web_page(bundle_folder, tmp_path/'page')
    done = send('web', page=page)
    files = hub.files(NAME)
    assert done.url.endswith(f'/spaces/{NAME}') and files == contents(done.folder) and contents(page).items() <= files.items()
    header = yaml.safe_load(files['README.md'].decode().split('---')[1])
    assert header['sdk'] == 'static' and header['app_file'] in files and not {'sdk_version', 'python_version'} & set(header)
    assert b'*.wasm filter=lfs' in files['.gitattributes']  # above what git takes
    assert set(send('web', page=page).difference.change) == {'same'}
    with pytest.raises(PublishError, match='page of another bundle'): send('web', page=page, bundle=other_bundle)
    with pytest.raises(PublishError, match='needs a web page'): send('web')


def test_again_changes_nothing_and_sends_nothing(hub, send):
    first, sent = send(), len(hub.requests)
    second = send()
    assert second.commit == first.commit and set(second.difference.change) == {'same'}
    assert {command for command, _ in hub.requests[sent:]} == {'GET'}


def test_difference_and_removal(hub, send, other_bundle):
    send()
    tried = send(bundle=other_bundle, dry_run=True)
    assert len(hub.repos[NAME]) == 2 and tried.commit is None
    done = send(bundle=other_bundle)
    change = done.difference.set_index('path').change
    assert tried.difference.equals(done.difference)
    assert change['bundle/examples/Branta_canadensis.jpg'] == 'removed' and change['bundle/notes.md'] == 'new'
    assert change['bundle/model.safetensors'] == 'changed' and change['bundle/model.onnx'] == change['app.py'] == 'same'
    assert hub.files(NAME) == contents(done.folder)


def test_model_repo_is_a_bundle_after_download(hub, send, bundle_folder, photograph, tmp_path):
    send('model')
    for path, data in hub.files(NAME).items():
        (tmp_path/'got'/path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'got'/path).write_bytes(data)
    got, given = read_bundle(tmp_path/'got'), read_bundle(bundle_folder)
    assert (score_photograph(got, photograph) == score_photograph(given, photograph)).all()
    assert (tmp_path/'got'/'README.md').read_text().startswith('---\nlanguage: en\nlibrary_name: onnx\nlicense: apache-2.0\npipeline_tag:')


def test_private(hub, send):
    send(private=True)
    assert hub.private[NAME]
    hub.private[NAME] = False
    with pytest.raises(PublishError, match='is public, but was to be private'): send(private=True)


def test_a_dataset_is_gated_before_its_files_are_there(hub, tmp_path):
    (tmp_path/'README.md').write_text('---\nlicense: cc0-1.0\n---\n')
    options = {'folder': tmp_path, 'token': 'hf_writer', 'endpoint': hub.url}
    sent = send_folder(REPOS['dataset'], NAME, **options)
    assert sent.url == f'{hub.url}/datasets/{NAME}' and hub.gated[NAME] == 'manual' and hub.asked[NAME]['type'] == 'dataset'
    order = [path.rpartition('/')[2] for command, path in hub.requests if command in ('POST', 'PUT')]
    assert order.index('settings') < order.index('main')  # preupload/main, commit/main
    hub.gated[NAME] = False
    with pytest.raises(PublishError, match='is open to everyone, but was to be gated'): send_folder(REPOS['dataset'], NAME, **options)
    assert send_folder(REPOS['dataset']._replace(gated=None), NAME, **options).commit == sent.commit


@pytest.fixture
def before(hub, send) -> dict[str, bytes]:
    "What is published before something goes wrong."
    send()
    return hub.files(NAME)


def is_as_before(hub, before) -> bool:
    "Say whether the published Space is as it was."
    return hub.files(NAME) == before and len(hub.repos[NAME]) == 2


def completes(hub, send, bundle) -> bool:
    "Publish again, and say whether all of it is there."
    folder = send(bundle=bundle).folder
    return hub.files(NAME) == contents(folder) and len(hub.repos[NAME]) == 3


def test_line_cut_once(hub, send, before, other_bundle):
    hub.cuts = 1
    assert completes(hub, send, other_bundle) and hub.cuts == 0


def test_line_cut_for_good(hub, send, before, other_bundle):
    hub.cuts = 1000
    with pytest.raises(PublishError, match='the connection to the Hub was cut') as error: send(bundle=other_bundle)
    assert '\n' not in str(error.value) and is_as_before(hub, before)
    hub.cuts = 0
    assert completes(hub, send, other_bundle)


def test_reply_to_the_commit_lost(hub, send, before, other_bundle):
    hub.mute = True
    with pytest.raises(PublishError, match='was cut'): send(bundle=other_bundle)
    hub.mute = False
    again = send(bundle=other_bundle)  # it did arrive
    assert set(again.difference.change) == {'same'} and len(hub.repos[NAME]) == 3 and hub.files(NAME) == contents(again.folder)


@pytest.mark.parametrize(('part', 'status', 'said'), [
    ('/commit/', 500, 'has a fault'), ('/preupload/', 503, 'has a fault'), ('/objects/batch', 502, 'has a fault'),
    ('/commit/', 412, 'changed by somebody else'), ('/commit/', 429, 'too many requests')])
def test_fault_of_the_hub(hub, send, before, other_bundle, part, status, said):
    hub.faults = {part: status}
    with pytest.raises(PublishError, match=said) as error: send(bundle=other_bundle)
    assert '\n' not in str(error.value) and ('half published' in str(error.value) or status == 429)
    assert is_as_before(hub, before)
    hub.faults = {}
    assert completes(hub, send, other_bundle)


def test_somebody_else_publishes_meanwhile(hub, send, before, other_bundle, monkeypatch):
    from huggingface_hub import HfApi
    sent = HfApi.preupload_lfs_files

    def slowly(*args, **kwargs):
        "Let somebody else commit while the large files are sent."
        hub.commit(NAME, {'theirs.txt': b'theirs'})
        return sent(*args, **kwargs)
    monkeypatch.setattr(HfApi, 'preupload_lfs_files', slowly)
    with pytest.raises(PublishError, match='changed by somebody else'): send(bundle=other_bundle)
    assert hub.files(NAME) == {'theirs.txt': b'theirs'}


@pytest.mark.parametrize(('token', 'said'), [('hf_wrong', r'refused the token \(401'), ('hf_reader', r'does not allow this .*\(403')])
def test_refused(hub, send, before, other_bundle, token, said):
    with pytest.raises(PublishError, match=said) as error: send(bundle=other_bundle, token=token)
    assert token not in str(error.value) and '\n' not in str(error.value) and is_as_before(hub, before)


def test_refused_to_make_a_repo(hub, send):
    with pytest.raises(PublishError, match='403'): send(token='hf_reader')
    assert not hub.repos


def test_no_token_and_no_network(hub, bundle_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no .env
    with pytest.raises(CamtrapsError, match='HF_TOKEN: is not set'): publish('space', NAME, bundle_folder, endpoint=hub.url)
    hub.close()
    with pytest.raises(PublishError, match='was cut'): publish('space', NAME, bundle_folder, Card(licence='mit'), token='hf_writer', endpoint=hub.url)
    tried = publish('model', NAME, bundle_folder, dry_run=True, token='hf_writer', endpoint=hub.url)
    assert set(tried.difference.change) == {'not compared'} and tried.folder == Path('data/publish/model')


def test_killed_in_the_middle_of_an_upload(hub, send, before, other_bundle, tmp_path):
    hub.held = True
    code = ('import sys\nfrom urbanrivers_camtraps.apps.hub import Card, publish\n'
            'publish("space", sys.argv[1], sys.argv[2], Card(licence="apache-2.0"), folder=sys.argv[3], token="hf_writer", endpoint=sys.argv[4])')
    process = subprocess.Popen([sys.executable, '-c', code, NAME, other_bundle, tmp_path/'space', hub.url], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env={**os.environ, 'HF_HUB_DISABLE_XET': '1', 'NO_PROXY': '127.0.0.1'})
    try: assert hub.uploading.wait(60), process.communicate(timeout=5)
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL and is_as_before(hub, before)
    hub.held = False
    hub.go_on.set()
    assert is_as_before(hub, before) and completes(hub, send, other_bundle)


# --- what a page costs, and what it may do

def test_nothing_is_published_without_a_licence(hub, send):
    with pytest.raises(LicenceError, match='has no licence, so nobody would know what is allowed'): send(card=Card())
    assert not hub.repos
    with pytest.warns(CamtrapsWarning, match='has no licence yet'): tried = send('model', card=Card(), dry_run=True)
    header = yaml.safe_load((tried.folder/'README.md').read_text().split('---\n')[1])
    assert 'license' not in header and 'None was chosen yet' in (tried.folder/'README.md').read_text()


def test_hardware_is_asked_for_when_a_space_is_made_and_later(hub, send):
    send(hardware='zero-a10g')
    assert hub.asked[NAME]['hardware'] == 'zero-a10g' and b'@spaces.GPU' not in hub.files(NAME)['app.py']
    assert b'spaces.GPU(' in hub.files(NAME)['app.py'] and b"python_version: '3.12'" in hub.files(NAME)['README.md']
    assert not [path for _, path in hub.requests if path.endswith('/hardware')]
    send(hardware='cpu-upgrade')
    assert hub.asked[NAME]['hardware'] == 'cpu-upgrade' and b'spaces' not in hub.files(NAME)['app.py'].replace(b'urbanrivers', b'')


def test_a_plan_is_named_before_anything_is_uploaded(bundle_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.chdir(tmp_path)
    base = ['publish', 'space', NAME, '--bundle', str(bundle_folder), '--out', 'space', '--drawn']
    assert run([*base, '--licence', 'mit']) == 1  # no token
    assert 'needs a paid plan' in (error := capsys.readouterr().err) and error.index('paid plan') < error.index('HF_TOKEN')
    assert run([*base, '--dry-run', '--hardware', 'zero-a10g']) == 0
    assert 'free personal account in good standing' in capsys.readouterr().err
    assert run([*base, '--dry-run', '--hardware', 'a10g']) == 1 and 'cpu-basic, cpu-upgrade, zero-a10g' in capsys.readouterr().err


# --- cards

#: Keys of a Space's header. Source: https://hf.co/docs/hub/spaces-config-reference, as of 2026; `license` and `language`
#: are those of every card (https://hf.co/docs/hub/repositories-licenses).
SPACE_KEYS = {'title', 'emoji', 'colorFrom', 'colorTo', 'sdk', 'python_version', 'sdk_version', 'suggested_hardware', 'suggested_storage',
              'app_file', 'app_build_command', 'app_port', 'base_path', 'fullWidth', 'header', 'short_description', 'models', 'datasets',
              'tags', 'thumbnail', 'pinned', 'hf_oauth', 'hf_oauth_scopes', 'hf_oauth_expiration_minutes', 'hf_oauth_authorized_org',
              'disable_embedding', 'startup_duration_timeout', 'custom_headers', 'preload_from_hub', 'license', 'language'}
COLOURS = {'red', 'yellow', 'green', 'blue', 'indigo', 'purple', 'pink', 'gray'}
#: Keys of a model's header. Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md, and `base_model` and
#: `pipeline_tag` of https://hf.co/docs/hub/model-cards.
MODEL_KEYS = {'language', 'license', 'license_name', 'license_link', 'library_name', 'tags', 'datasets', 'metrics', 'model-index',
              'base_model', 'pipeline_tag', 'thumbnail'}


def test_model_card_is_what_the_hub_reads(bundle_folder, tmp_path):
    from huggingface_hub import ModelCard
    metrics = {name: {'value': value, 'conditions': '99 test photographs, split by burst'}
               for name, value in {'error': .1717, 'macro_recall': .82376, 'macro_f1': .8049, 'photographs': 99}.items()}
    bundle = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    about = json.loads((bundle/'bundle.json').read_text()) | {'metrics': metrics, 'backbone': 'tf_efficientnet_lite2'}
    (bundle/'bundle.json').write_text(json.dumps(about))
    links = Card(NAME, 'cc-by-4.0', dataset='urban-rivers/river', space='urban-rivers/page')
    card = ModelCard.load(write_model_repo(bundle, tmp_path/'out', links)/'README.md')
    assert {o.metric_type: o.metric_value for o in card.data.eval_results} == {'accuracy': .828, 'recall': .824, 'f1': .805}
    assert {(o.dataset_type, o.dataset_name, o.dataset_split) for o in card.data.eval_results} == {
        ('urban-rivers/river', '99 test photographs, split by burst', 'test')}
    data = card.data.to_dict()
    assert set(data) <= MODEL_KEYS and data['license'] in LICENCES and data['base_model'] == 'timm/tf_efficientnet_lite2.in1k'
    assert data['datasets'] == ['urban-rivers/river'] and data['metrics'] == ['accuracy', 'recall', 'f1']
    assert 'https://huggingface.co/spaces/urban-rivers/page' in card.text and 'datasets/urban-rivers/river' in card.text
    bare = ModelCard.load(write_model_repo(bundle, tmp_path/'bare', Card(NAME, 'mit'))/'README.md')
    assert 'See also' not in bare.text and 'datasets' not in bare.data.to_dict()  # no link that leads nowhere


@pytest.mark.parametrize('kind', ['space', 'web'])
def test_space_header_is_what_the_hub_reads(kind, bundle_folder, tmp_path):
    from huggingface_hub import RepoCard, SpaceCardData
    card, page = Card(NAME, 'mit', model='urban-rivers/model', dataset='urban-rivers/river'), None
    if kind == 'web': page = write_web_page(bundle_folder, tmp_path/'page')
    folder = publish(kind, NAME, bundle_folder, card, dry_run=True, drawn=True, folder=tmp_path/kind, page=page).folder
    data = RepoCard.load(folder/'README.md').data.to_dict()
    assert set(data) <= SPACE_KEYS and {data['colorFrom'], data['colorTo']} <= COLOURS and len(data['short_description']) <= 60
    assert SpaceCardData(**data).to_dict() == data and (folder/data['app_file']).is_file() and data['pinned'] is False
    assert data['models'] == ['urban-rivers/model'] and data['datasets'] == ['urban-rivers/river']
    assert ('sdk_version' in data) == (kind == 'space') and data['sdk'] == {'space': 'gradio', 'web': 'static'}[kind]
    prefix = f'https://huggingface.co/spaces/{NAME}/resolve/main/'
    assert data['thumbnail'].startswith(prefix) and (folder/data['thumbnail'].removeprefix(prefix)).is_file()


def test_the_lines_of_the_card_run(hub, send, photograph, tmp_path):
    "Both Python blocks, in a process of their own, against the stand-in."
    folder = send('model').folder
    blocks = re.findall('```python\n(.*?)```', (folder/'README.md').read_text(), re.S)
    work = tmp_path/'elsewhere'
    work.mkdir()
    shutil.copy(photograph, work/'photograph.jpg')
    environment = {**os.environ, 'HF_ENDPOINT': hub.url, 'HF_HOME': str(tmp_path/'home'), 'HF_HUB_DISABLE_XET': '1',
                   'NO_PROXY': '127.0.0.1', 'PYTHONPATH': str(ROOT)}
    printed = []
    for block in blocks:
        done = subprocess.run([sys.executable, '-c', block], cwd=work, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    bundle = read_bundle(folder)
    scores = bundle(open_photograph(work/'photograph.jpg'))
    best = bundle.classes[scores.argmax()]
    assert len(printed) == 2 and best in printed[0] and printed[1].startswith(best)


# --- folders

def test_killed_while_writing(bundle_folder, tmp_path):
    write_space(bundle_folder, tmp_path/'space')
    shutil.copytree(tmp_path/'space'/'bundle', tmp_path/'.space.part')  # what a killed run leaves
    assert contents(write_space(bundle_folder, tmp_path/'space')) and [o.name for o in tmp_path.iterdir()] == ['space']


def test_damaged_bundle_is_not_published(bundle_folder, tmp_path):
    damaged = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    (damaged/'model.onnx').write_bytes(b'?')
    for write in (write_space, write_model_repo):
        with pytest.raises(CamtrapsError, match='is damaged'): write(damaged, tmp_path/'out')
    assert not (tmp_path/'out').exists()


@pytest.mark.parametrize(('name', 'data', 'reason'), [
    ('README.md', b'Ask jo.doe@example.org.', 'jo.doe@example.org, which must not be public'),
    ('README.md', b'It was in /home/jo/river before.', '/home/jo, which must not be public'),
    ('golden/notes.txt', b'C:\\Users\\jo', 'must not be public'),
    ('golden/notes.bin', None, 'must not be public'),  # a path of this machine in a binary file
    ('examples/human.jpg', b'x', 'shows a person'),
    ('golden/Homo_sapiens.jpg', b'x', 'shows a person')])
def test_what_must_not_be_public_is_refused(bundle_folder, tmp_path, name, data, reason):
    bundle = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    if data is None: data = b'\xff\0' + str(tmp_path.resolve()).encode() + b'/x'
    earlier = contents(write_model_repo(bundle, tmp_path/'out'))
    with_files(bundle, {name: data})
    with pytest.raises(PublishError, match=re.escape(reason)): write_model_repo(bundle, tmp_path/'out')
    assert contents(tmp_path/'out') == earlier and sorted(o.name for o in tmp_path.iterdir()) == ['bundle', 'out']


def test_a_downloaded_repo_is_published_again(bundle_folder, tmp_path):
    first = write_model_repo(bundle_folder, tmp_path/'first')
    assert contents(write_model_repo(first, tmp_path/'second')) == contents(first)
    assert contents(write_model_repo(bundle_folder, tmp_path/'second')) == contents(first)  # replaces its own
    assert sorted(o.name for o in tmp_path.iterdir()) == ['first', 'second']


def test_card_with_a_table_of_classes(bundle_folder, tmp_path):
    bundle = Path(shutil.copytree(bundle_folder, tmp_path/'bundle'))
    table = {'conditions': 'a test set', 'classes': [{'class': 'blank', 'recall': .51234, 'photographs': 12}]}
    folder = write_model_repo(with_files(bundle, {'metrics.json': json.dumps(table).encode()}), tmp_path/'out', Card(licence='apache-2.0'))
    card = (folder/'README.md').read_text()
    assert 'Measured on a test set' in card and '| blank | 0.512 | 12 |' in card and card.endswith('apache-2.0`.\n')
    assert (write_model_repo(folder, tmp_path/'again', Card(licence='apache-2.0'))/'README.md').read_text() == card
    with pytest.raises(PublishError, match='has no `classes`'):
        write_model_repo(with_files(bundle, {'metrics.json': b'[]'}), tmp_path/'out')


def test_other_folders_are_not_replaced(bundle_folder, tmp_path):
    for folder in (bundle_folder, bundle_folder.parent, bundle_folder/'model'):
        with pytest.raises(PublishError, match='would replace the bundle'): write_model_repo(bundle_folder, folder)
    (tmp_path/'diary').mkdir()
    (tmp_path/'diary'/'README.md').write_text('mine')
    clone = write_model_repo(bundle_folder, tmp_path/'clone')
    (clone/'.git').mkdir()
    for folder in (tmp_path/'diary', clone):
        with pytest.raises(PublishError, match='holds something else'): write_model_repo(bundle_folder, folder)
    assert (tmp_path/'diary'/'README.md').read_text() == 'mine'
