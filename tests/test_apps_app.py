"""The app as visitors meet it: served by `python app.py` or `camtraps app`, used in Chromium and called as the public page calls it."""
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from axe import DESK, PHONE, overflowing, violations
from urbanrivers_camtraps.apps.app import answer
from urbanrivers_camtraps.inference.bundle import read_bundle
from urbanrivers_camtraps.inference.predict import predict, score_photograph, write_predictions

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
#: The same page, which is also a tool for assistants.
MCP = 'camtraps app --mcp'


@contextmanager
def serving(command: str, bundle_folder: Path, folder: Path, **settings):
    "The app on a free port, with its address, its log and the folder of its reports."
    port, log = free_port(), folder/'log.txt'
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(bundle_folder), 'GRADIO_SERVER_PORT': str(port),
                   'GRADIO_TEMP_DIR': str(folder/'uploads'), 'NO_PROXY': '127.0.0.1,localhost', 'PYTHONUNBUFFERED': '1', **settings}
    with log.open('w') as output:
        process = subprocess.Popen(COMMANDS.get(command) or [*COMMANDS['camtraps app'], '--mcp'], cwd=ROOT, env=environment, stdout=output, stderr=output,
                                   start_new_session=True)
    try:
        wait_for(f'http://127.0.0.1:{port}/', process, log)
        yield SimpleNamespace(url=f'http://127.0.0.1:{port}/', log=log, reports=folder/'reports')
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try: process.wait(60)
        except subprocess.TimeoutExpired: os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope='module', params=COMMANDS)
def app(request, bundle_folder, tmp_path_factory):
    "The app as most serve it: nobody can report anything."
    with serving(request.param, bundle_folder, tmp_path_factory.mktemp('app')) as app: yield app


@pytest.fixture(scope='module')
def reporting(bundle_folder, tmp_path_factory):
    "The app with a folder for reports and a bundle that knows a place and promises something."
    folder = tmp_path_factory.mktemp('reporting')
    bundle = Path(shutil.copytree(bundle_folder, folder/'bundle'))
    described = json.loads((bundle/'bundle.json').read_text())
    described['thresholds'], described['transforms']['deployment_trims'] = {'accept': .999}, {'North Pond': [0, .2]}
    (bundle/'bundle.json').write_text(json.dumps(described))
    with serving('python app.py', bundle, folder, CAMTRAPS_REPORTS=str(folder/'reports')) as app: yield app


@pytest.fixture(scope='module')
def browser():
    "Headless Chromium that talks to nobody of its own accord."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def opened(browser, url: str):
    "A page in Chromium; what it requested and what went wrong in it are kept."
    page = browser.new_page(viewport={'width': 1100, 'height': 800})
    page.set_default_timeout(60_000)  # of a busy machine; passing takes a second
    page.requested, page.wrong = [], []
    page.on('request', lambda o: page.requested.append(o.url))
    page.on('pageerror', lambda o: page.wrong.append(str(o)))
    page.goto(url)
    page.get_by_role('button', name='Try Canada Goose').wait_for()  # the name comes when all else is there and listens
    try: yield page
    finally: page.close()


@pytest.fixture
def page(browser, app):
    "The page of the app as most serve it."
    with opened(browser, app.url) as page: yield page


@pytest.fixture
def reporting_page(browser, reporting):
    "The page of the app that takes reports."
    with opened(browser, reporting.url) as page: yield page


def picture(page, name: str) -> None:
    "Keep what the page looks like."
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(400)  # what fades in is there
    page.screenshot(path=SCREENSHOTS/name, full_page=True)


def fits(page) -> bool:
    "Say whether the page needs no scrolling to the side."
    return page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')


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
        assert name in shown and f'{100*float(score):.1f} %' in shown
    page.get_by_role('button', name='Raw JSON').click()
    page.get_by_text('"common_name"').first.wait_for()
    page.get_by_text('nothing is promised').wait_for()
    page.get_by_text('Cut away before looking: 5% from the top and 5% from the bottom').wait_for()
    assert not page.get_by_text('This is wrong').count() and not page.get_by_label('Where was it taken?').count()
    picture(page, 'app.png')
    foreign = [o for o in page.requested if not o.startswith((app.url, 'data:', 'blob:'))]
    assert not foreign and not page.wrong


@needs_browser
def test_example_and_phone(page, expected):
    page.set_viewport_size({'width': 390, 'height': 844})
    page.locator('.gallery-item').first.click()
    page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
    picture(page, 'app-phone.png')
    assert fits(page)
    page.get_by_role('tab', name='About the model').click()
    page.get_by_role('heading', name='A camera-trap classifier').wait_for()
    assert fits(page)


@contextmanager
def on_phone(browser, url: str):
    "A page on a phone that is touched."
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion='reduce')
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(url)
    page.get_by_role('button', name='Try Canada Goose').wait_for()
    try: yield page
    finally: context.close()


#: Photograph, name and verdict are all inside the window.
ALL_IN_VIEW = """() => ['.photo', '.answers h2', '.answers .verdict'].every(name => {
    const box = document.querySelector(name)?.getBoundingClientRect()
    return box && box.height && box.top >= -1 && box.bottom <= innerHeight + 1 })"""


@needs_browser
@pytest.mark.parametrize('way', ['example', 'upload'])
def test_on_a_phone_the_answer_is_in_view_after_a_tap(browser, app, photograph, way):
    with on_phone(browser, app.url) as page:
        if way == 'example': page.get_by_role('button', name='Try Canada Goose').tap()
        else: page.set_input_files('input[type=file]', photograph)
        page.wait_for_function(ALL_IN_VIEW)  # nobody has scrolled
        assert overflowing(page) == []


@needs_browser
def test_at_a_desk_photograph_and_answer_are_side_by_side(page, expected):
    page.set_viewport_size(DESK)
    page.get_by_role('button', name='Try Canada Goose').click()
    page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
    photograph, answered = (page.locator(o).bounding_box() for o in ('.photo', '.answers .verdict'))
    assert photograph['x'] + photograph['width'] <= answered['x'] and answered['y'] < photograph['y'] + photograph['height']


@needs_browser
@pytest.mark.parametrize('window, scheme', [(DESK, 'light'), (DESK, 'dark'), (PHONE, 'light'), (PHONE, 'dark')])
def test_everybody_can_use_it(browser, reporting, expected, window, scheme):
    context = browser.new_context(viewport=window, color_scheme=scheme)
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(reporting.url)
        page.get_by_role('button', name='Try Canada Goose').click()
        page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
        page.wait_for_timeout(400)  # what fades in has its colours
        assert violations(page) == [] and overflowing(page) == []
        for tab in ('Many photographs', 'About the model'):
            page.get_by_role('tab', name=tab).click()
            page.wait_for_timeout(400)
            assert violations(page) == [] and overflowing(page) == []
    finally: context.close()


@needs_browser
def test_the_heat_map_has_a_switch(page, bundle_folder, expected):
    page.get_by_role('button', name='Try Canada Goose').click()
    page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
    drawn = page.get_by_role('img', name='what speaks for the answer is orange')
    drawn.wait_for()
    page.get_by_role('switch', name='Show where it looked').uncheck()
    drawn.wait_for(state='hidden')


@needs_browser
def test_by_keyboard_in_the_dark(browser, reporting, expected):
    with opened(browser, f'{reporting.url}?__theme=dark') as page:
        assert page.evaluate("document.body.classList.contains('dark')")
        example = page.get_by_role('button', name='Try Canada Goose')
        example.wait_for()
        for _ in range(30):
            page.keyboard.press('Tab')
            if example.evaluate('o => o === document.activeElement'): break
        assert example.evaluate("o => getComputedStyle(o).outlineStyle === 'solid'")
        page.keyboard.press('Enter')
        page.get_by_role('heading', name=expected['prediction']['common_name'], exact=True).wait_for()
        page.get_by_text('Unsure: a volunteer should look (').wait_for()
        picture(page, 'app-dark.png')
        assert not page.wrong


@pytest.fixture
def card(photograph, tmp_path) -> Path:
    "A folder like a memory card's, one photograph of it broken."
    folder = tmp_path/'card'
    folder.mkdir()
    for number in range(3): shutil.copy(photograph, folder/f'IMG_{number}.JPG')
    (folder/'IMG_9.JPG').write_bytes(photograph.read_bytes()[:999])
    return folder


@needs_browser
def test_many_photographs(page, bundle_folder, card, photograph, tmp_path):
    with zipfile.ZipFile(tmp_path/'card.zip', 'w') as archive:
        for path in sorted(card.iterdir()): archive.write(path, path.name)
    page.get_by_role('tab', name='Many photographs').click()
    page.locator('input[type=file][multiple]').set_input_files([tmp_path/'card.zip'])
    page.get_by_test_id('download-link').wait_for()  # it is there, not on its way
    page.get_by_role('button', name='Look at them').click()
    page.get_by_role('heading', name='3 photographs looked at, 1 could not be read').wait_for()
    page.get_by_role('img', name='Contact sheet').wait_for()
    with page.expect_download() as download: page.get_by_role('link', name='Download the table').or_(
        page.get_by_role('button', name='Download the table')).first.click()
    found = list(csv.reader(io.StringIO(Path(download.value.path()).read_text())))
    wanted = write_predictions(predict(read_bundle(bundle_folder), card, progress=False), tmp_path/'wanted.csv')
    rows = [[Path(first).name, *rest] for first, *rest in csv.reader(io.StringIO(wanted.read_text()))]
    assert found == rows and {'decision', 'error'} < set(found[0]) and len(found) == 5
    picture(page, 'app-batch.png')
    page.set_viewport_size({'width': 390, 'height': 844})
    assert fits(page) and not page.wrong and not [o for o in page.requested if not o.startswith((page.url, 'data:', 'blob:'))]


def send_report(page, right: str, words: str = '', agreed: bool = False) -> None:
    "Fill in the form and send it."
    page.get_by_role('button', name='This is wrong').click()
    page.get_by_label('What is it?').click()
    page.get_by_role('option', name=right, exact=True).click()
    if words: page.get_by_label('What else?').fill(words)
    if agreed: page.get_by_label('Keep the photograph, too').check()
    page.get_by_role('button', name='Send').click()
    page.get_by_text('Your report was stored').wait_for()


@needs_browser
def test_a_report_is_what_was_agreed_to(reporting_page, reporting, photograph, expected, tmp_path):
    page, lines = reporting_page, lambda: [json.loads(o) for o in (reporting.reports/'reports.jsonl').read_text().splitlines()]
    with_place = tmp_path/'with place.jpg'
    exif = Image.Exif()
    exif[0x010E] = 'at home'
    Image.open(photograph).save(with_place, exif=exif, quality=90)
    page.set_input_files('input[type=file]', with_place)
    send_report(page, 'Mallard')
    page.get_by_text('without the photograph').wait_for()
    assert not (reporting.reports/'photographs').exists()
    page.reload()
    page.set_input_files('input[type=file]', with_place)
    send_report(page, 'Something else', 'a mink', agreed=True)
    page.get_by_text('with the photograph').wait_for()
    kept, = (reporting.reports/'photographs').iterdir()
    assert b'at home' not in kept.read_bytes() and not Image.open(kept).getexif()
    assert [(o['said'], o['right'], o['words'], o['photograph']) for o in lines()] == [
        (expected['prediction']['class'], 'Anas platyrhynchos', '', None),
        (expected['prediction']['class'], 'something else', 'a mink', kept.name)]
    assert {o for line in lines() for o in line} == {'day', 'said', 'score', 'right', 'words', 'model', 'photograph'}


@needs_browser
def test_what_is_cut_depends_on_the_place(reporting_page, photograph):
    page = reporting_page
    page.set_input_files('input[type=file]', photograph)
    page.get_by_text('5% from the top and 5% from the bottom').wait_for()
    page.get_by_label('Where was it taken?').first.click()
    page.get_by_role('option', name='North Pond').click()
    page.get_by_text('Cut away before looking: 20% from the bottom').wait_for()


@needs_browser
def test_bad_photograph_in_chromium(page, tmp_path):
    (tmp_path/'page.jpg').write_text('<html>Please log in</html>')
    page.set_input_files('input[type=file]', tmp_path/'page.jpg')
    page.get_by_text('This file is not a photograph').first.wait_for()


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
    assert set(found) == {'prediction', 'top3', 'model'} and set(found['prediction']) == {'class', 'common_name', 'probability'}
    assert isinstance(found['prediction']['probability'], float) and len(found['top3']) == 3
    assert found['top3'][0] == f"{found['prediction']['common_name']}: {found['prediction']['probability']:.4f}"


def test_the_endpoint_describes_itself(app):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    told = json.loads(opener.open(f'{app.url}gradio_api/info', timeout=60).read())['named_endpoints']['/top_3_preds']
    assert told['description'].startswith('Names what is on one camera-trap photograph') and 'partial' not in json.dumps(told)
    assert [o['parameter_name'] for o in told['parameters']] == ['image_path']
    assert [o['label'] for o in told['returns']] == ['Answer, as Markdown', 'Answer, as an object']


def test_the_head_says_what_the_page_is(app):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open(app.url, timeout=60).read().decode()
    head = page.split('</head>')[0].split('<script')[0]
    assert '<meta property="og:title" content="Who is on the river?" />' in head and '"Gradio"' not in head
    assert f'<meta property="og:image" content="{app.url}cover.jpg" />' in head and 'name="theme-color"' in head
    assert Image.open(opener.open(f'{app.url}cover.jpg', timeout=60)).size == (1200, 630)


def test_many_photographs_by_the_endpoint(client, app, card, expected):
    from gradio_client import handle_file
    found = client.predict([handle_file(str(o)) for o in sorted(card.iterdir())], api_name='/predict_many')
    assert [o['file'] for o in found['photographs']] == ['IMG_0.JPG', 'IMG_1.JPG', 'IMG_2.JPG']
    assert {o['class'] for o in found['photographs']} == {expected['prediction']['class']}
    assert found['skipped'][0]['file'] == 'IMG_9.JPG' and found['skipped'][0]['reason'].startswith('is damaged')
    with pytest.raises(Exception, match='is not a deployment of this bundle'):
        client.predict([], 'Goose Island', api_name='/predict_many')
    for outside in ([{'path': '/etc/passwd', 'meta': {'_type': 'gradio.FileData'}}], ['/etc/passwd'], ['data:;base64,!']):
        status, said = post(f'{app.url}gradio_api/run/predict_many', json.dumps({'data': [outside, '']}).encode(), 'application/json')
        assert (status >= 400 or 'reason' in said) and 'root:' not in said and 'Traceback' not in said


def test_assistants_use_it_as_a_tool(bundle_folder, tmp_path, photograph, expected):
    pytest.importorskip('mcp')
    import asyncio
    import base64

    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client
    sent = 'data:image/jpeg;base64,' + base64.b64encode(photograph.read_bytes()).decode()

    async def use(url: str) -> tuple[dict, str, str]:
        async with streamablehttp_client(f'{url}gradio_api/mcp/') as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = {o.name: o for o in (await session.list_tools()).tools}
            one = await session.call_tool('top_3_preds', {'image_path': sent})
            many = await session.call_tool('predict_many', {'files': [sent, sent], 'place': ''})
            assert not one.isError and not many.isError, (one, many)
            return tools, one.content[0].text, many.content[0].text
    with serving(MCP, bundle_folder, tmp_path) as app, ThreadPoolExecutor() as pool:
        tools, one, many = pool.submit(asyncio.run, use(app.url)).result()  # the browser's thread has a loop already
    assert set(tools) == {'top_3_preds', 'predict_many'}
    assert tools['top_3_preds'].description.startswith('Names what is on one camera-trap photograph')
    assert tools['predict_many'].inputSchema['properties']['place']['description'].startswith('Where they were taken')
    assert expected['prediction']['common_name'] in one and many.count(f"'class': '{expected['prediction']['class']}'") == 2


def test_bad_files_get_one_line(client, photograph, app, tmp_path):
    whole = photograph.read_bytes()
    bad = {'empty.jpg': b'', 'truncated.jpg': whole[:len(whole)//2],
           'phone.heic': b'\0\0\0\x18ftypheic' + bytes(64),
           'page.png': b'<html>Please log in</html>', 'drawing.svg': b'<svg/>'}
    for name, data in bad.items():
        (tmp_path/name).write_bytes(data)
        with pytest.raises(Exception, match='^This file is ') as error: call(client, tmp_path/name)
        assert '\n' not in str(error.value) and '/' not in str(error.value)
    log = app.log.read_text()
    assert 'Traceback' not in log and str(tmp_path) not in log


def test_no_file_of_the_server_is_opened(app, photograph):
    described = {'path': str(photograph), 'meta': {'_type': 'gradio.FileData'}}  # never uploaded
    asked = urllib.request.Request(f'{app.url}gradio_api/call/top_3_preds', json.dumps({'data': [described]}).encode(),
                                   {'Content-Type': 'application/json'})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    event = json.load(opener.open(asked, timeout=60))['event_id']
    said = opener.open(f'{app.url}gradio_api/call/top_3_preds/{event}', timeout=60).read().decode()
    assert 'event: error' in said and 'probability' not in said and photograph.name not in said


def post(url: str, body: bytes, kind: str) -> tuple[int, str]:
    "Send something; return status and answer."
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try: answer = opener.open(urllib.request.Request(url, body, {'Content-Type': kind}), timeout=60)
    except urllib.error.HTTPError as error: answer = error
    with answer: return answer.status, answer.read().decode()


def upload(url: str, data: bytes) -> tuple[int, str]:
    "Upload a file as a form does."
    body = (b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + data + b'\r\n--x--\r\n')
    return post(f'{url}gradio_api/upload', body, 'multipart/form-data; boundary=x')


def test_too_large_a_photograph(client, tmp_path):
    (tmp_path/'large.jpg').write_bytes(b'\xff\xd8' + bytes(31_000_000))
    with pytest.raises(Exception, match='^This file has more than 30 MB. Send it in a smaller size$'): call(client, tmp_path/'large.jpg')


def test_nothing_of_the_server_is_told(app):
    for data in ([{'path': '/etc/passwd', 'meta': {'_type': 'gradio.FileData'}}], ['x'], [], [{'path': ['x']}]):
        status, said = post(f'{app.url}gradio_api/run/top_3_preds', json.dumps({'data': data}).encode(), 'application/json')
        assert status >= 400 and 'Traceback' not in said and 'passwd' not in said and str(ROOT) not in said
    log = app.log.read_text()
    assert 'Traceback' not in log and 'passwd' not in log


def test_too_many_requests(bundle_folder, tmp_path, photograph):
    with serving('python app.py', bundle_folder, tmp_path, CAMTRAPS_RATE='12') as app:  # two at once
        answers = [upload(app.url, photograph.read_bytes()) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 429]
        assert json.loads(answers[-1][1])['detail'].startswith('Too many photographs at once: wait ')
        asked = [post(f'{app.url}gradio_api/call/top_3_preds', b'{"data": [null]}', 'application/json') for _ in range(3)]
        assert [status for status, _ in asked] == [200, 200, 429]
        forged = urllib.request.Request(f'{app.url}gradio_api/call/top_3_preds', b'{"data": [null]}',
                                        {'Content-Type': 'application/json', 'X-Forwarded-For': '1.2.3.4'})
        with pytest.raises(urllib.error.HTTPError, match='429'):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(forged, timeout=60)


def test_without_a_bundle_it_ends_with_one_line(tmp_path):
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(tmp_path/'nowhere')}
    ended = subprocess.run([sys.executable, 'app.py'], cwd=ROOT, env=environment, capture_output=True, text=True,
                           timeout=120)
    assert ended.returncode == 1 and ended.stderr.count('\n') == 1 and 'camtraps demo' in ended.stderr
