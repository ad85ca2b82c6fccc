"""The static page as visitors meet it: served below a path, used in Chromium, with and without a network and a Space."""
import base64
import csv
import functools
import http.server
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from test_apps_app import CHROMIUM, QUIET, ROOT, SCREENSHOTS, free_port, needs_browser, wait_for
from urbanrivers_camtraps.apps.hub import publish
from urbanrivers_camtraps.apps.web import WebError, write_web_page
from urbanrivers_camtraps.foundations.doubt import score_directions, unknown_scores
from urbanrivers_camtraps.images.photograph import PhotographError, open_for_network, open_photograph
from urbanrivers_camtraps.inference.bundle import read_bundle
from urbanrivers_camtraps.inference.decisions import UNKNOWN_REASON
from urbanrivers_camtraps.inference.predict import predict, score_photograph, write_predictions
from urbanrivers_camtraps.training.bundle_format import golden_photographs
from urbanrivers_camtraps.votes.higher_taxa import higher_taxa

pytestmark = needs_browser

#: Scores of the browser and of Python: from the same pixels, and from the same JPEG, which the two decode differently.
SAME, DECODED = .001, .05

#: What Chromium itself says if there is no graphics card.
NO_GPU = 'No available adapters.'


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A plain static host that says nothing."
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, '.mjs': 'text/javascript', '.wasm': 'application/wasm'}
    def log_message(self, *args): pass


def serve(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    "Serve a folder on loopback."
    server = http.server.ThreadingHTTPServer(('127.0.0.1', port), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def stop(server: http.server.ThreadingHTTPServer) -> None:
    "Stop serving and give the port back."
    server.shutdown()
    server.server_close()


@pytest.fixture(scope='session')
def decisive(bundle_folder, tmp_path_factory) -> Path:
    "The bundle with thresholds that let photographs go all three ways, and two deployments."
    folder = Path(shutil.copytree(bundle_folder, tmp_path_factory.mktemp('decisive')/'bundle'))
    description = json.loads((folder/'bundle.json').read_text())
    description['thresholds'] = {'blank': .03, 'accept': .75}
    description['transforms']['deployment_trims'] = {'Prologis 01': [.3, .2], 'dock "<b>7': [0, 0]}
    (folder/'bundle.json').write_text(json.dumps(description))
    return folder


def written(bundle: Path, out: Path, **settings) -> Path:
    "Write a site; skip where npm cannot get the packages, but not where it must."
    try: return write_web_page(bundle, out, **settings)
    except WebError as error:
        if os.environ.get('CI') or 'npm' not in str(error): raise
        pytest.skip(str(error))


@pytest.fixture(scope='module')
def site(decisive, tmp_path_factory):
    "The page, below a path of a static host."
    root = tmp_path_factory.mktemp('host')
    written(decisive, root/'a path'/'rivers')
    server = serve(root)
    yield SimpleNamespace(url=f'http://127.0.0.1:{server.server_port}/a%20path/rivers/', folder=root/'a path'/'rivers')
    stop(server)


@pytest.fixture(scope='module')
def browser():
    "Headless Chromium that talks to nobody of its own accord."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def opened(browser, url: str, **settings):
    "Open the page in a profile of its own; what it requests and what goes wrong in it are kept."
    context = browser.new_context(**{'viewport': {'width': 1100, 'height': 900}, **settings})
    context.set_default_timeout(60_000)  # of a busy machine; passing takes a second
    page = context.new_page()
    page.requested, page.wrong = [], []
    context.on('request', lambda o: page.requested.append(o.url))
    page.on('pageerror', lambda o: page.wrong.append(str(o)))
    page.on('console', lambda o: page.wrong.append(o.text) if o.type in ('error', 'warning') and o.text != NO_GPU else None)
    page.goto(url)
    page.get_by_text('Ready.', exact=True).wait_for()
    return page



def test_a_static_space_runs_from_a_plain_file_server(browser, decisive, tmp_path):
    page = written(decisive, tmp_path/'page')
    space = publish('web', 'urban-rivers/who', decisive, dry_run=True, folder=tmp_path/'space', page=page, endpoint='http://127.0.0.1:9').folder
    server = serve(space)
    try:
        shown = opened(browser, f'http://127.0.0.1:{server.server_port}/')
        assert not shown.wrong and (space/'README.md').read_text().startswith('---')
        shown.context.close()
    finally: stop(server)


@pytest.fixture
def page(browser, site):
    "The page, opened and ready; afterwards nothing went wrong in it and nobody else was asked."
    page = opened(browser, site.url)
    yield page
    foreign = [o for o in page.requested if not o.startswith((site.url, 'blob:http://127.0.0.1'))]
    page.context.close()
    assert not foreign and not page.wrong


def give(page, *paths: Path, by: str = '#files') -> None:
    "Give the page files and wait until it has looked at them."
    page.set_input_files(by, list(paths) if len(paths) > 1 else paths[0])
    page.locator('#working').wait_for(state='hidden')
    expect(page.locator('#said')).to_have_text(re.compile('Done|looked at'))


def eventually(page, code: str, argument=None) -> None:
    "Wait until `code` says yes; the page's policy forbids Playwright's own way to wait for it."
    for _ in range(600):
        if page.evaluate(code, argument): return
        page.wait_for_timeout(100)
    pytest.fail(f'it never came true: {code}')


def table(page) -> dict[str, dict]:
    "Download the table; give its rows by path."
    with page.expect_download() as download: page.get_by_role('button', name='Download as CSV').click()
    text = Path(download.value.path()).read_bytes().decode()
    page.text = text
    return {o['path']: o for o in csv.DictReader(io.StringIO(text, newline=''))}


def scores_in(page) -> dict[str, list[float]]:
    "Give the scores in the downloaded table by path."
    classes = json.loads(page.evaluate("fetch('bundle.json').then(o => o.text())"))['classes']
    return {path: [float(row[o]) for o in classes] for path, row in table(page).items() if not row['error']}


@pytest.fixture(scope='session')
def card(tmp_path_factory) -> Path:
    "A memory card with photographs that decode to the same pixels everywhere, some with odd names, and with what breaks."
    folder, drawn = tmp_path_factory.mktemp('cards')/'card', golden_photographs()
    (folder/'100 MEDIA').mkdir(parents=True)
    (folder/'.trash').mkdir()
    names = {'landscape': 'IMG_0001.png', 'portrait': '100 MEDIA/=1+1, "x".png', 'panorama': '100 MEDIA/<img src=x onerror=alert(1)>.PNG',
             'thumbnail': '100 MEDIA/gås & ånd\n%41.png'}
    for name, path in names.items(): drawn[name].save(folder/path, 'PNG')
    for number, colour in enumerate(['#203010', '#a0b0c0', '#f0e0d0']):
        noise = np.random.default_rng(number).integers(-20, 20, (300, 400, 3))
        Image.fromarray((np.asarray(Image.new('RGB', (400, 300), colour)) + noise).clip(0, 255).astype('uint8')).save(folder/f'plain{number}.bmp')
    drawn['portrait'].save(folder/'.trash'/'gone.png')
    whole = io.BytesIO()
    drawn['landscape'].save(whole, 'JPEG')
    data = whole.getvalue()
    broken = {'cut.jpg': data[:len(data)//2], 'empty.jpg': b'', 'login.png': b'<html>Please log in</html>'}
    for name, content in broken.items(): (folder/name).write_bytes(content)
    (folder/'notes.txt').write_text('no photograph')
    Image.new('RGB', (400, 15)).save(folder/'narrow.png')
    Image.new('RGB', (15, 15)).save(folder/'small.png')
    Image.new('1', (12_000, 12_000)).save(folder/'vast.png')
    return folder


@pytest.fixture(scope='module')
def known(decisive):
    "The bundle, as Python reads it."
    return read_bundle(decisive)


def test_one_photograph(page, card, known):
    path = card/'IMG_0001.png'
    scores = score_photograph(known, path)
    give(page, path)
    name = known.common_names[known.classes[scores.argmax()]]
    page.get_by_role('heading', name=name, exact=True).wait_for()
    shown = page.locator('#answer').inner_text()
    for o in np.argsort(-scores)[:5]: assert f'{known.common_names[known.classes[o]]}\n{scores[o]*100:.1f} %' in shown
    assert known.classes[scores.argmax()] in shown and page.locator('#many').is_hidden()


def test_a_card_gets_the_table_that_predict_writes(page, card, known, tmp_path):
    found = predict(known, card, progress=False)
    assert len(set(found.decision)) == 3, 'the card should go all three ways'
    write_predictions(found, tmp_path/'python.csv')
    give(page, card, by='#folder')
    rows = table(page)
    with (tmp_path/'python.csv').open(newline='') as file: expected = {o['path'].removeprefix(f'{card.parent}/'): o for o in csv.DictReader(file)}
    assert page.text.splitlines()[0] == (tmp_path/'python.csv').read_text().splitlines()[0]
    assert list(rows) == list(expected)
    for path, row in expected.items():
        if row['error']:
            assert rows[path]['error'] and rows[path]['error'].split('(')[0] in row['error'].replace(', TIFF or BMP', ' or BMP'), path
            continue
        assert [rows[path][o] for o in ('prediction', 'common_name', 'decision')] == [row[o] for o in ('prediction', 'common_name', 'decision')], path
        for column in ('score', *known.classes): assert abs(float(rows[path][column]) - float(row[column])) < SAME, (path, column)
    assert page.locator('img[onerror]').count() == 0
    assert page.locator('#ways div').first.inner_text().split() == [str(len(expected)), 'photographs']


@pytest.fixture(scope='module')
def doubtful(decisive, card, known, tmp_path_factory) -> Path:
    "The bundle with higher taxa and a rule by which every other photograph of the card is like none that it knows."
    folder = Path(shutil.copytree(decisive, tmp_path_factory.mktemp('doubtful')/'bundle'))
    description, found = json.loads((folder/'bundle.json').read_text()), predict(known, card, progress=False)
    patterns = score_directions(np.stack(found.scores))
    distances = np.sort(unknown_scores(np.stack(found.scores), patterns[::2], 1))
    widest = np.diff(distances).argmax()  # far from every distance, so that decoders cannot change an answer
    description['unknown'] = {'reference': [' '.join(f'{o:.4f}' for o in row) for row in patterns[::2]], 'neighbours': 1, 'share': .05,
                              'threshold': distances[widest:widest + 2].mean()}
    description['roll_up'] = {'taxa': [asdict(o) for o in higher_taxa(known.classes)]}
    best = np.stack(found.scores)[:, :-1].max(1)
    description['thresholds'] = {'accept': float(np.sort(best)[-1] + .01)}  # no class is sure; taxa may be
    (folder/'bundle.json').write_text(json.dumps(description))
    return folder


def test_doubt_is_told_as_predict_tells_it(browser, doubtful, card, tmp_path):
    "Distance, reason and higher taxon of each photograph are those of Python, in the table and on the page."
    found = predict(read_bundle(doubtful), card, progress=False)
    reasons = set(found.review_reason.str.split(' \\(', regex=True).str[0])
    assert UNKNOWN_REASON in reasons and found.taxon.notna().any(), reasons
    write_predictions(found, tmp_path/'python.csv')
    with (tmp_path/'python.csv').open(newline='') as file: expected = {o['path'].removeprefix(f'{card.parent}/'): o for o in csv.DictReader(file)}
    written(doubtful, tmp_path/'site')
    server = serve(tmp_path/'site')
    try:
        page = opened(browser, f'http://127.0.0.1:{server.server_port}/')
        give(page, card, by='#folder')
        rows = table(page)
        assert page.text.splitlines()[0] == (tmp_path/'python.csv').read_text().splitlines()[0] and list(rows) == list(expected)
        for path, row in expected.items():
            if row['error']: continue
            assert [rows[path][o] for o in ('decision', 'taxon', 'taxon_rank')] == [row[o] for o in ('decision', 'taxon', 'taxon_rank')], path
            assert rows[path]['review_reason'].split(' (')[0] == row['review_reason'].split(' (')[0], path
            for column in ('unknown_score', 'taxon_score'):
                assert row[column] == rows[path][column] == '' or abs(float(rows[path][column]) - float(row[column])) < 10*SAME, (path, column)
        unknown = page.locator('#rows tr', has_text='Unknown').first
        assert '–' in unknown.inner_text() and '%' not in unknown.inner_text()
        assert not page.wrong
    finally: stop(server)


def test_refuses_what_python_refuses(page, tmp_path):
    drawn = golden_photographs()['thumbnail']
    drawn.save(tmp_path/'moving.gif')
    drawn.save(tmp_path/'a.webp')
    drawn.save(tmp_path/'a.png')
    Image.new('L', (8000, 8000)).save(tmp_path/'steps.jpg', progressive=True)
    drawn.resize((3000, 100)).save(tmp_path/'long.jpg')
    for name in ('a.webp', 'a.png'):
        data = (tmp_path/name).read_bytes()
        (tmp_path/f'cut {name}').write_bytes(data[:len(data)*2//3])
        (tmp_path/name).unlink()
    (tmp_path/'phone.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))
    (tmp_path/'film.jpg').write_bytes(b'\0\0\0\x18ftypmp42' + bytes(100))
    (tmp_path/'drawing.svg').write_text('<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"/>')
    (tmp_path/'short.jpg').write_bytes(b'\xff\xd8')
    drawn.save(tmp_path/'scan.tif')
    give(page, *sorted(tmp_path.iterdir()))
    said = {path: row['error'] for path, row in table(page).items()}
    assert len(said) == len(list(tmp_path.iterdir())) and all(said.values())
    for name in said.keys() - {'phone.heic', 'scan.tif'}:
        with pytest.raises(PhotographError) as error: open_photograph(tmp_path/name)
        expected = '. '.join(filter(None, [error.value.what, error.value.todo])).replace(', TIFF or BMP', ' or BMP')
        assert said[name].split(' (')[0] == expected.split(' (')[0], name
    assert said['phone.heic'].startswith('is a HEIC file') and said['scan.tif'].startswith('is a TIFF file')


def test_by_the_keyboard(page, card):
    order = []
    for _ in range(5):
        page.keyboard.press('Tab')
        order.append(page.evaluate('document.activeElement.id || document.activeElement.className'))
    assert [o for o in order if o != 'camera'][:4] == ['files', 'folder', 'deployment', 'example'], order
    page.get_by_role('button', name='Canada Goose').press('Enter')
    page.locator('#answer h2').wait_for()
    unnamed = """[...document.querySelectorAll('input, select, button, img, progress')].filter(o =>
        !(o.labels?.length || o.textContent.trim() || o.getAttribute('aria-label') || o.hasAttribute('alt') || o.querySelector('[alt]'))).length"""
    assert page.evaluate(unnamed) == 0


def test_the_table_is_filtered_and_sorted(page, card, known):
    give(page, card, by='#folder')
    found = predict(known, card, progress=False)
    page.get_by_label('Decision').select_option('accept')
    expect(page.locator('#rows tr')).to_have_count(int((found.decision == 'accept').sum()))
    page.get_by_label('Decision').select_option('')
    label = found.prediction.iloc[0]
    page.get_by_label('Class').select_option(known.common_names[label])
    expect(page.locator('#rows tr')).to_have_count(int((found.prediction == label).sum()))
    page.get_by_label('Class').select_option('')
    page.get_by_role('button', name='Probability').click()
    shown = [float(o.removesuffix(' %')) for o in page.locator('#rows td:nth-child(4)').all_inner_texts() if o]
    assert shown == sorted(shown, reverse=True) and len(shown) == len(found)
    page.locator('#rows .open', has_text='plain1').press('Enter')  # by the keyboard
    expect(page.locator('#answer figcaption')).to_contain_text('plain1.bmp')
    page.get_by_role('button', name='Clear').click()
    for part in ('#answer', '#many'): expect(page.locator(part)).to_be_hidden()
    give(page, card/'IMG_0001.png')
    page.locator('#answer h2').wait_for()


def test_other_files_are_decoded_alike(page, tmp_path, known):
    drawn = golden_photographs()['landscape']
    large = drawn.resize((2600, 1950), Image.Resampling.BICUBIC)
    drawn.save(tmp_path/'photograph.jpg', quality=90)
    large.save(tmp_path/'large.jpg', quality=90)
    large.save(tmp_path/'large.png')
    drawn.save(tmp_path/'photograph.webp', quality=85)
    drawn.convert('CMYK').save(tmp_path/'ink.jpg', quality=90)
    drawn.convert('L').save(tmp_path/'grey.jpg', quality=90)
    clear = drawn.convert('RGBA')
    clear.putalpha(Image.linear_gradient('L').resize(drawn.size))
    clear.save(tmp_path/'clear.png')
    drawn.quantize(64).save(tmp_path/'palette.png')
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn.save(tmp_path/'turned.jpg', quality=90, exif=exif)
    shutil.copy(tmp_path/'photograph.jpg', tmp_path/'really a jpeg.png')
    give(page, *sorted(tmp_path.iterdir()))
    apart = {path: float(np.abs(np.float32(scores) - score_photograph(known, tmp_path/path)).max()) for path, scores in scores_in(page).items()}
    assert len(apart) == len(list(tmp_path.iterdir()))
    print(json.dumps({o: round(apart[o], 5) for o in sorted(apart)}))
    for path, value in apart.items(): assert value < (SAME if path in ('large.png', 'palette.png', 'clear.png') else DECODED), (path, value)


def test_reduces_to_the_pixels_that_pillow_makes(page, tmp_path):
    random = np.random.default_rng(0)
    for width, height in ((1500, 1100), (1349, 901), (2695, 1803), (3001, 160), (90, 1601)):
        Image.fromarray(random.integers(0, 256, (height, width, 3), 'uint8')).save(tmp_path/f'{width}.png')
        page.set_input_files('#files', tmp_path/f'{width}.png')
        code = page.evaluate("fetch('worker.js').then(o => o.text())")
        code = code.split('const loading')[0] + 'side = 224\n'
        worker = """async ([code, data]) => {
            const tail = `onmessage = async ({data}) => { const o = pixelsOf(await decode(data)); postMessage([o.wide, o.high, o.pixels]) }`
            const worker = new Worker(URL.createObjectURL(new Blob([code + tail], { type: 'text/javascript' })))
            const bytes = Uint8Array.from(atob(data), o => o.charCodeAt(0))
            const answer = await new Promise((resolve, reject) => { worker.onmessage = o => resolve(o.data); worker.onerror = reject
                                                                    worker.postMessage(new Blob([bytes])) })
            worker.terminate()
            let text = ''
            for (const byte of answer[2]) text += String.fromCharCode(byte)
            return [answer[0], answer[1], btoa(text)]
        }"""
        code = code.replace('import.meta.url', 'location.href')
        wide, high, pixels = page.evaluate(worker, [code, base64.b64encode((tmp_path/f'{width}.png').read_bytes()).decode()])
        ours = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(high, wide, 3)
        pillows = np.asarray(open_for_network(tmp_path/f'{width}.png', 224))
        apart = np.abs(ours.astype(int) - pillows)
        assert not apart.any(), f'{width}×{height}: {(apart > 0).mean():.2%} differ, by {apart.max()} at most'


def test_a_photograph_of_sixteen_megapixels_gets_the_scores_of_python(page, tmp_path, known):
    random = np.random.default_rng(0)
    drawn = golden_photographs()['landscape'].resize((4608, 3456), Image.Resampling.BICUBIC)
    grain = random.normal(0, 6, (1728, 2304, 1)).repeat(2, 0).repeat(2, 1)
    large = Image.fromarray((np.asarray(drawn) + grain).clip(0, 255).astype('uint8'))
    for number, (quality, subsampling) in enumerate(((75, 2), (90, 0))):
        large.save(tmp_path/f'{number}.jpg', quality=quality, subsampling=subsampling)
    give(page, *sorted(tmp_path.iterdir()))
    apart = {path: float(np.abs(np.float32(scores) - score_photograph(known, tmp_path/path)).max()) for path, scores in scores_in(page).items()}
    assert len(apart) == 2 and max(apart.values()) < .02, apart


def test_a_known_place_has_its_banner_cut(page, card, known):
    path = card/'IMG_0001.png'
    page.get_by_label('Where they were taken').select_option('Prologis 01')
    give(page, path)
    page.get_by_label('Where they were taken').select_option('')
    give(page, card/'plain0.bmp')
    cut, plain = score_photograph(known, path, known.trim_of('Prologis 01')), score_photograph(known, path)
    scores = scores_in(page)
    assert np.abs(np.float32(scores['IMG_0001.png']) - cut).max() < SAME and np.abs(cut - plain).max() > 2*SAME
    assert np.abs(np.float32(scores['plain0.bmp']) - score_photograph(known, card/'plain0.bmp')).max() < SAME


def test_dropped_pasted_and_stopped(page, card, known):
    give_as = """([kind, names, text]) => {
        const data = new DataTransfer(), bytes = Uint8Array.from(atob(text), o => o.charCodeAt(0))
        for (const name of names) data.items.add(new File([bytes], name))
        const event = kind === 'drop' ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
                                      : new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
        document.getElementById('drop').dispatchEvent(event)
    }"""
    text = base64.b64encode((card/'IMG_0001.png').read_bytes()).decode()
    page.evaluate(give_as, ['drop', ['dropped.png'], text])
    page.get_by_text('Done.', exact=True).wait_for()
    page.evaluate(give_as, ['paste', ['pasted.png'], text])
    page.get_by_text('2 looked at.', exact=True).wait_for()
    assert set(scores_in(page)) == {'dropped.png', 'pasted.png'}
    page.evaluate(give_as, ['drop', [f'{o}.png' for o in range(150)], text])
    page.get_by_role('button', name='Stop').click()
    page.get_by_text('left out').wait_for()
    rows = table(page)
    left = [path for path, row in rows.items() if row['error'] == 'was not looked at: it was stopped before']
    assert len(rows) == 152 and 0 < len(left) < 150 and page.get_by_text(f'{len(left)} left out').is_visible(), 'nothing is lost in silence'


def test_hundreds_are_shown_a_hundred_at_a_time(page, tmp_path):
    small = golden_photographs()['thumbnail']
    for number in range(230): small.save(tmp_path/f'{number:03}.png')
    give(page, *sorted(tmp_path.iterdir()))
    expect(page.locator('#rows tr')).to_have_count(100)
    expect(page.get_by_text('1 to 100 of 230')).to_be_visible()
    page.get_by_role('button', name='Later').click()
    page.get_by_role('button', name='Later').click()
    expect(page.locator('#rows tr')).to_have_count(30)
    expect(page.get_by_role('button', name='Later')).to_be_disabled()
    assert len(table(page)) == 230


def test_this_device_answers_the_golden_photographs(page):
    page.get_by_role('button', name='Check that this device').click()
    page.get_by_text('It does (').wait_for()
    assert float(re.search(r'([\d.]+) apart', page.locator('#checked').inner_text())[1]) < SAME


def test_without_a_network(browser, decisive, card, known, tmp_path):
    written(decisive, tmp_path/'rivers')
    server = serve(tmp_path)
    url = f'http://127.0.0.1:{server.server_port}/rivers/'
    page = opened(browser, url)
    page.get_by_text('it works without a network').wait_for()
    stop(server)
    page.context.set_offline(True)
    page.reload()
    page.get_by_text('Ready.', exact=True).wait_for()
    give(page, card/'IMG_0001.png', card/'plain0.bmp')
    for path, scores in scores_in(page).items(): assert np.abs(np.float32(scores) - score_photograph(known, card/path)).max() < SAME
    page.locator('.example').first.click()
    page.get_by_text('3 looked at.', exact=True).wait_for()
    assert not page.wrong
    page.context.close()


def test_a_new_version_replaces_what_was_kept(browser, decisive, tmp_path):
    written(decisive, tmp_path/'rivers')
    server = serve(tmp_path)
    page = opened(browser, f'http://127.0.0.1:{server.server_port}/rivers/')
    page.get_by_text('it works without a network').wait_for()
    caches = page.evaluate('caches.keys()')
    page.reload()
    page.get_by_text('Ready.', exact=True).wait_for()
    newer = Path(shutil.copytree(decisive, tmp_path/'newer'))
    content = json.loads((newer/'bundle.json').read_text())
    content['thresholds'] = {}
    (newer/'bundle.json').write_text(json.dumps(content))
    written(newer, tmp_path/'rivers')
    context = page.context
    assert page.evaluate("fetch('bundle.json').then(o => o.json())")['thresholds'], 'an open page keeps its version'
    page.evaluate('navigator.serviceWorker.getRegistration().then(o => o.update())')
    eventually(page, 'navigator.serviceWorker.getRegistration().then(o => !!o.waiting)')
    page.close()
    page = context.new_page()  # beside the page's folder: a page inside it would keep the old version in use
    page.goto(f'http://127.0.0.1:{server.server_port}/')
    eventually(page, "navigator.serviceWorker.getRegistration('/rivers/').then(o => !o.waiting && o.active.state === 'activated')")
    page.goto(f'http://127.0.0.1:{server.server_port}/rivers/')
    eventually(page, 'old => caches.keys().then(o => o.length === 1 && o[0] !== old)', caches[0])
    assert len(caches) == 1 and page.evaluate("fetch('bundle.json').then(o => o.json())")['thresholds'] == {}
    context.close()
    stop(server)


def test_the_policy_holds_in_the_page_and_in_the_worker(browser, site):
    other = serve(site.folder)
    stranger = f'http://127.0.0.1:{other.server_port}/bundle.json'
    page = opened(browser, site.url)
    refused = "url => fetch(url, { mode: 'no-cors' }).then(() => 'sent', () => 'refused')"
    assert page.evaluate(refused, stranger) == 'refused'
    in_worker = """url => new Promise(resolve => {
        const text = `fetch(${JSON.stringify(url)}, { mode: 'no-cors' }).then(() => postMessage('sent'), () => postMessage('refused'))`
        new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })), { type: 'module' }).onmessage = o => resolve(o.data)
    })"""
    assert page.evaluate(in_worker, stranger) == 'refused'
    page.evaluate("""() => { const script = document.createElement('script')
        script.textContent = 'window.ran = true'
        document.body.append(script)
        document.body.insertAdjacentHTML('beforeend', '<img src="nowhere" onerror="window.ran = true">') }""")
    page.wait_for_timeout(300)
    assert page.evaluate('window.ran') is None
    page.context.close()
    stop(other)


def test_dark_and_phone(browser, site, card):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = opened(browser, site.url, color_scheme='dark')
    give(page, card, by='#folder')
    page.locator('#answer img').wait_for()
    page.screenshot(path=SCREENSHOTS/'web.png', full_page=True)
    page.context.close()
    page = opened(browser, site.url, viewport={'width': 390, 'height': 844}, has_touch=True, is_mobile=True)
    assert page.get_by_text('Take a photograph').is_visible()
    give(page, card/'IMG_0001.png', card/'plain0.bmp', card/'plain1.bmp', card/'cut.jpg')
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    page.screenshot(path=SCREENSHOTS/'web-phone.png', full_page=True)
    page.context.close()


# ── with a Space: our app stands for it ─────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope='module')
def app(bundle_folder, tmp_path_factory):
    "The app, served by `python app.py` on a free port."
    folder, port = tmp_path_factory.mktemp('space'), free_port()
    log = folder/'log.txt'
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(bundle_folder), 'GRADIO_SERVER_PORT': str(port),
                   'GRADIO_TEMP_DIR': str(folder/'uploads'), 'NO_PROXY': '127.0.0.1,localhost', 'PYTHONUNBUFFERED': '1'}
    with log.open('w') as output:
        process = subprocess.Popen([sys.executable, 'app.py'], cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_for(f'http://127.0.0.1:{port}/', process, log)
        yield f'http://127.0.0.1:{port}/'
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try: process.wait(60)
        except subprocess.TimeoutExpired: os.killpg(process.pid, signal.SIGKILL)


#: What the project's first public page does, and no more.
ORIGINAL = """<!doctype html><meta charset="utf-8"><p id="said"></p><script type="module">
import { Client } from "./vendor/gradio-client.js"
const say = text => { document.getElementById('said').textContent = text }
try {
  const client = await Client.connect(new URLSearchParams(location.search).get('space'))
  const data = await (await fetch('examples/Branta_canadensis.jpg')).blob()
  const file = new File([data], 'example.png', { type: 'image/png' })
  const result = await client.predict("/top_3_preds", { image_path: file })
  const found = result.data[1]
  say(found?.prediction ? `${found.prediction.common_name} ${found.prediction.probability.toFixed(4)} | ${found.top3.join(' | ')}`
                        : 'Unexpected response format')
} catch (error) { say(`Error: ${error.message}`) }
</script>"""


def test_the_first_public_page_goes_on_working(browser, site, app, bundle_folder):
    (site.folder/'original.html').write_text(ORIGINAL)
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f'{site.url}original.html?space={app}')
    page.wait_for_function("document.getElementById('said').textContent", timeout=60_000)
    bundle = read_bundle(bundle_folder)
    scores = score_photograph(bundle, bundle_folder/'examples'/'Branta_canadensis.jpg')
    best = [(bundle.common_names[bundle.classes[o]], scores[o]) for o in np.argsort(-scores)[:3]]
    assert page.locator('#said').inner_text() == ' | '.join([f'{best[0][0]} {best[0][1]:.4f}', *(f'{name}: {score:.4f}' for name, score in best)])
    page.close()


@pytest.fixture(scope='module')
def with_space(bundle_folder, app, tmp_path_factory):
    "The page with a Space."
    root = tmp_path_factory.mktemp('spaced')
    written(bundle_folder, root/'rivers', space=app)
    server = serve(root)
    yield f'http://127.0.0.1:{server.server_port}/rivers/'
    stop(server)


def test_by_the_space(browser, with_space, app, card, photograph, bundle_folder):
    page = opened(browser, with_space)
    give(page, photograph)
    assert not any(o.startswith(app) for o in page.requested), 'the Space is asked only where it was chosen'
    page.get_by_role('button', name='Clear', include_hidden=True).dispatch_event('click')
    page.get_by_role('radio', name='The Space').check()
    assert 'are sent' in page.locator('#promise').inner_text()
    give(page, photograph, card/'login.png')
    bundle = read_bundle(bundle_folder)
    scores = score_photograph(bundle, photograph)
    rows = table(page)
    assert rows[photograph.name]['prediction'] == bundle.classes[scores.argmax()]
    assert abs(float(rows[photograph.name]['score']) - scores.max()) < 1e-5
    assert rows['login.png']['error'].startswith('is not a photograph')
    page.get_by_role('heading', name=bundle.common_names[bundle.classes[scores.argmax()]], exact=True).wait_for()
    assert not [o for o in page.requested if not o.startswith((with_space, app, 'blob:'))]
    page.context.close()


def test_a_space_that_is_not_there(browser, bundle_folder, photograph, tmp_path):
    written(bundle_folder, tmp_path/'rivers', space=f'http://127.0.0.1:{free_port()}')
    server = serve(tmp_path)
    page = opened(browser, f'http://127.0.0.1:{server.server_port}/rivers/')
    page.get_by_role('radio', name='The Space').check()
    page.set_input_files('#files', photograph)
    page.get_by_text('The Space cannot be reached').first.wait_for()
    page.context.set_offline(True)
    page.set_input_files('#files', photograph)
    page.get_by_text('You are offline').first.wait_for()
    page.get_by_role('radio', name='This browser').check()
    give(page, photograph)
    page.locator('#answer h2').wait_for()
    page.context.close()
    stop(server)
