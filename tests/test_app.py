"""The app as visitors meet it: served by `python app.py` or `camtraps app`, used in Chromium and called as the public page calls it."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from urbanrivers_camtraps.app import answer
from urbanrivers_camtraps.bundle import read_bundle
from urbanrivers_camtraps.predict import score_photograph

ROOT = Path(__file__).parents[1]
SCREENSHOTS = Path(os.environ.get('CAMTRAPS_SCREENSHOTS', ROOT/'tests'/'screenshots'))
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
needs_browser = pytest.mark.skipif(not CHROMIUM and not os.environ.get('CI'), reason='no Chromium is installed')


def free_port() -> int:
    "Ask the system for a free port."
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    "Wait until `url` answers; fail with the log where the process ends or the time is up."
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try: return opener.open(url, timeout=5).close()
        except OSError: time.sleep(.1)
    pytest.fail(f'the app did not start:\n{log.read_text()}')


#: The two ways to serve the page.
COMMANDS = {'python app.py': [sys.executable, 'app.py'], 'camtraps app': [Path(sys.executable).parent/'camtraps', 'app']}


@pytest.fixture(scope='module', params=COMMANDS)
def app(request, bundle_folder, tmp_path_factory):
    "The app on a free port, with its address and its log."
    folder, port = tmp_path_factory.mktemp('app'), free_port()
    log = folder/'log.txt'
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(bundle_folder), 'GRADIO_SERVER_PORT': str(port),
                   'GRADIO_TEMP_DIR': str(folder/'uploads'), 'NO_PROXY': '127.0.0.1,localhost', 'PYTHONUNBUFFERED': '1'}
    with log.open('w') as output:
        process = subprocess.Popen(COMMANDS[request.param], cwd=ROOT, env=environment, stdout=output, stderr=output,
                                   start_new_session=True)
    try:
        wait_for(f'http://127.0.0.1:{port}/', process, log)
        yield SimpleNamespace(url=f'http://127.0.0.1:{port}/', log=log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try: process.wait(10)
        except subprocess.TimeoutExpired: os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope='module')
def browser():
    "Headless Chromium that talks to nobody of its own accord."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, app):
    "The app's page, opened; what it requested and what went wrong in it are kept."
    page = browser.new_page(viewport={'width': 1100, 'height': 800})
    page.requested, page.wrong = [], []
    page.on('request', lambda o: page.requested.append(o.url))
    page.on('pageerror', lambda o: page.wrong.append(str(o)))
    page.goto(app.url)
    page.get_by_role('heading', name='Who is on the river?').wait_for()
    yield page
    page.close()


@pytest.fixture(scope='module')
def expected(bundle_folder, photograph) -> dict:
    "What the bundle says of the photograph without any app."
    bundle = read_bundle(bundle_folder)
    return answer(bundle, score_photograph(bundle, photograph))[1]


@needs_browser
def test_upload_in_chromium(page, app, photograph, expected):
    page.set_input_files('input[type=file]', photograph)
    page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
    shown = page.get_by_role('table').inner_text()
    for line in expected['top3']:
        name, score = line.rsplit(': ', 1)
        assert name in shown and f'{float(score):.1%}' in shown
    page.get_by_role('button', name='Raw JSON').click()
    page.get_by_text('"common_name"').first.wait_for()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS/'app.png', full_page=True)
    foreign = [o for o in page.requested if not o.startswith((app.url, 'data:', 'blob:'))]
    assert not foreign and not page.wrong


@needs_browser
def test_example_and_phone(page, expected):
    page.set_viewport_size({'width': 390, 'height': 844})
    page.locator('.gallery-item').first.click()
    page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS/'app-phone.png', full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')


@needs_browser
def test_bad_photograph_in_chromium(page, tmp_path):
    (tmp_path/'page.jpg').write_text('<html>Please log in</html>')
    page.set_input_files('input[type=file]', tmp_path/'page.jpg')
    page.get_by_text('This photograph is no photograph').first.wait_for()


@pytest.fixture(scope='module')
def client(app):
    "What the public page uses, in Python."
    from gradio_client import Client
    return Client(app.url, verbose=False, analytics_enabled=False)


def call(client, path: Path) -> tuple:
    "Ask `/top_3_preds` for a file."
    from gradio_client import handle_file
    return client.predict(image_path=handle_file(str(path)), api_name='/top_3_preds')


def test_as_the_public_page_calls_it(client, photograph, expected, tmp_path):
    named_png = Path(shutil.copy(photograph, tmp_path/'example.png'))  # its example: JPEG bytes under a PNG's name
    text, found = call(client, named_png)
    assert found == expected and expected['prediction']['common_name'] in text
    assert set(found) == {'prediction', 'top3'} and set(found['prediction']) == {'class', 'common_name', 'probability'}
    assert isinstance(found['prediction']['probability'], float) and len(found['top3']) == 3
    assert found['top3'][0] == f"{found['prediction']['common_name']}: {found['prediction']['probability']:.4f}"


def test_bad_files_get_one_line(client, photograph, app, tmp_path):
    whole = photograph.read_bytes()
    bad = {'empty.jpg': b'', 'truncated.jpg': whole[:len(whole)//2],
           'page.png': b'<html>Please log in</html>', 'drawing.svg': b'<svg/>'}
    for name, data in bad.items():
        (tmp_path/name).write_bytes(data)
        with pytest.raises(Exception, match='^This photograph is ') as error: call(client, tmp_path/name)
        assert '\n' not in str(error.value) and '/' not in str(error.value)
    log = app.log.read_text()
    assert 'Traceback' not in log and str(tmp_path) not in log


def test_no_file_of_the_server_is_opened(app, photograph):
    described = {'path': str(photograph), 'meta': {'_type': 'gradio.FileData'}}  # never uploaded
    asked = urllib.request.Request(f'{app.url}gradio_api/call/top_3_preds', json.dumps({'data': [described]}).encode(),
                                   {'Content-Type': 'application/json'})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    event = json.load(opener.open(asked, timeout=20))['event_id']
    said = opener.open(f'{app.url}gradio_api/call/top_3_preds/{event}', timeout=20).read().decode()
    assert 'event: error' in said and 'probability' not in said and photograph.name not in said


def test_without_a_bundle_it_ends_with_one_line(tmp_path):
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(tmp_path/'nowhere')}
    ended = subprocess.run([sys.executable, 'app.py'], cwd=ROOT, env=environment, capture_output=True, text=True,
                           timeout=120)
    assert ended.returncode == 1 and ended.stderr.count('\n') == 1 and 'camtraps demo' in ended.stderr
