"""A visit to the static page: on a phone, with a folder of many photographs, on a graphics card, and where a new version comes."""
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image
from playwright.sync_api import expect

import test_apps_web
from axe import DESK, PHONE, overflowing, violations
from test_apps_app import CHROMIUM, QUIET, needs_browser
from test_apps_web import eventually, give, opened, scores_in, serve, stop, table, written
from urbanrivers_camtraps.apps.web_model import SAME_SCORES
from urbanrivers_camtraps.foundations.core import file_sha256
from urbanrivers_camtraps.inference.bundle import read_bundle
from urbanrivers_camtraps.inference.heat_map import heat_map
from urbanrivers_camtraps.inference.predict import score_photograph
from urbanrivers_camtraps.training.bundle_format import golden_photographs
from urbanrivers_camtraps.training.export import write_bundle

pytestmark = needs_browser
browser, card, decisive = test_apps_web.browser, test_apps_web.card, test_apps_web.decisive

#: Chromium with a graphics card that the processor plays: slow, but the real WebGPU.
CARD = [o for o in QUIET if o != '--disable-gpu'] + ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']


@pytest.fixture(scope='module')
def wide(tmp_path_factory) -> Path:
    "A bundle with weights enough that 16 bits change them, and two classes to try."
    import torch

    class Wide(torch.nn.Module):
        "Two convolutions and a head."
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 5, 4), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, 2), torch.nn.ReLU())
            self.head = torch.nn.Linear(64, 3)
        def forward(self, x): return self.head(self.body(x).mean((2, 3)))*6

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('wide')
    golden_photographs()['landscape'].save(folder/'photograph.jpg', quality=90)
    recipe = SimpleNamespace(backbone='wide', size=96, trim_top=.05, trim_bottom=.1, mean=(.5,)*3, std=(.25,)*3)
    learner = SimpleNamespace(model=Wide(), recipe=recipe, dls=SimpleNamespace(vocab=['Anas platyrhynchos', 'Branta canadensis', 'blank']))
    return write_bundle(learner, folder/'bundle', examples={'Branta canadensis': folder/'photograph.jpg'})


@pytest.fixture(scope='module')
def host(wide, tmp_path_factory):
    "The page of this bundle below a path, as GitHub Pages serves a repository."
    root = tmp_path_factory.mktemp('host')
    written(wide, root/'river', address='https://urban.example/river')
    server = serve(root)
    yield SimpleNamespace(url=f'http://127.0.0.1:{server.server_port}/river/', folder=root/'river', root=root)
    stop(server)


@pytest.fixture
def page(browser, host):
    "The page on a desk."
    page = opened(browser, host.url, viewport=DESK)
    yield page
    page.context.close()
    assert not page.wrong


def plain_folder(folder: Path, count: int) -> Path:
    "A folder of that many small photographs."
    folder.mkdir()
    for number in range(count): golden_photographs()['thumbnail'].save(folder/f'{number:04}.png')
    return folder


def pause(page) -> None:
    "Press Pause as soon as it is there: a person has more photographs and more time."
    page.wait_for_function("() => document.querySelector('#pause').offsetParent && (document.querySelector('#pause').click(), true)", polling=10)


def changed_page(host, folder: Path, **texts: tuple[str, str]) -> Path:
    "A copy of the page in which `script=(old, new)` is replaced in `script.js`, or in `page.json` for `settings`."
    shutil.copytree(host.folder, folder)
    (folder/'service_worker.js').write_text('')  # it would find that the files are not those of its version
    for name, (old, new) in texts.items():
        path = folder/('page.json' if name == 'settings' else f'{name}.js')
        text = path.read_text()
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new))
    return folder


def test_a_phone_shows_the_answer_after_a_tap(browser, host):
    page = opened(browser, host.url, viewport=PHONE, has_touch=True, is_mobile=True)
    page.get_by_role('button', name='Canada Goose').tap()
    page.locator('#answer h2').wait_for()
    page.wait_for_timeout(100)  # nothing moves any more
    for part in ('#answer img', '#answer h2', '#answer .decision', '#answer .bars b >> nth=0'):
        expect(page.locator(part)).to_be_in_viewport(ratio=.99)
    assert not overflowing(page)
    page.context.close()


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('window', [DESK, PHONE], ids=['desk', 'phone'])
def test_nothing_shuts_anybody_out(browser, host, card, tmp_path, window, scheme):
    "axe-core finds nothing in any state of the page."
    page = opened(browser, host.url, viewport=window, color_scheme=scheme)
    states = {'empty': violations(page)}
    many = plain_folder(tmp_path/'many', 80)
    page.set_input_files('#folder', many)
    pause(page)
    page.get_by_text('Paused.').wait_for()
    states['answering'] = violations(page)
    page.get_by_role('button', name='Go on').click()
    page.get_by_text('80 looked at.').wait_for()
    states['folder'] = violations(page)
    page.get_by_role('button', name='Clear').click()
    give(page, card/'IMG_0001.png')
    page.get_by_label('Show where it looked').check()
    states['answer'] = violations(page)
    page.get_by_role('button', name='Clear', include_hidden=True).dispatch_event('click')
    give(page, card/'login.png')
    states['error'] = violations(page)
    assert states == {o: [] for o in ('empty', 'answering', 'folder', 'answer', 'error')}
    assert not overflowing(page)
    page.context.close()


def test_half_of_the_bits_give_the_same_answers(page, host, wide, card):
    assert (host.folder/'model.float16.onnx.packed').is_file() and not (host.folder/'model.onnx.packed').exists()
    paths = [card/o for o in ('IMG_0001.png', 'plain0.bmp', 'plain1.bmp')]
    give(page, *paths)
    scores, bundle = scores_in(page), read_bundle(wide)
    apart = max(np.abs(np.float32(scores[o.name]) - score_photograph(bundle, o)).max() for o in paths)
    assert 0 < apart < SAME_SCORES
    page.get_by_role('button', name='Check that this device').click()
    page.get_by_text('It does (').wait_for()


def test_what_the_first_answer_needs_is_loaded_and_no_more(browser, host):
    needed = {'page.js', 'page.css', 'page.json', 'bundle.json', 'worker.js', 'model.float16.onnx.packed', 'icon-192.png', 'manifest.webmanifest',
              'vendor/ort.wasm.bundle.min.mjs', 'vendor/ort-wasm-simd-threaded.wasm.packed', 'examples/Branta_canadensis.jpg', 'service_worker.js', ''}
    context, loaded = browser.new_context(), set()
    context.on('request', lambda o: None if o.service_worker else loaded.add(o.url.removeprefix(host.url)))
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(host.url)
    page.get_by_text('it works without a network').wait_for()
    assert {o for o in loaded if not o.startswith('blob:')} <= needed
    kept = page.evaluate("""async () => (await (await caches.open((await caches.keys())[0])).keys()).map(o => o.url)""")
    assert not [o for o in kept if 'jspi' in o or 'gradio' in o or '/golden/' in o]
    assert sum((host.folder/o).stat().st_size for o in needed if 'vendor' in o) < 4_000_000
    context.close()


def test_where_it_looked_is_drawn_as_python_draws_it(page, wide, card):
    path, bundle = card/'IMG_0001.png', read_bundle(wide)
    give(page, path)
    assert page.locator('.heat').is_hidden()
    page.get_by_label('Show where it looked').check()
    expect(page.locator('.heat')).to_be_visible()
    width, height, pixels = page.locator('.heat').evaluate("o => [o.width, o.height, [...o.getContext('2d').getImageData(0, 0, o.width, o.height).data]]")
    drawn = np.array(pixels).reshape(height, width, 4)
    expected = heat_map(bundle, bundle.open(path))
    smooth = Image.fromarray(expected.heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    assert np.abs(drawn[..., 3]/255/.65 - np.asarray(smooth).clip(0, 1)).max() < .03  # the model has 16 bits
    hot = drawn[drawn[..., 3] > 100][:, :3]
    assert np.abs(hot - [230, 159, 0]).max() < 3
    box, image = page.locator('.heat').bounding_box(), page.locator('#answer img').bounding_box()
    assert box['width'] == pytest.approx(image['width'], abs=1) and box['y'] - image['y'] == pytest.approx(.05*image['height'], abs=1.5)
    assert box['height'] == pytest.approx(.85*image['height'], abs=1.5)


def test_a_bundle_without_a_map_has_no_switch(browser, wide, card, tmp_path):
    old = Path(shutil.copytree(wide, tmp_path/'bundle'))
    model, described = onnx.load(old/'model.onnx'), json.loads((old/'bundle.json').read_text())
    model.graph.output.remove(next(o for o in model.graph.output if o.name == 'activation'))
    onnx.save(model, old/'model.onnx')
    described['activation'], described['files']['model.onnx'] = None, file_sha256(old/'model.onnx')
    (old/'bundle.json').write_text(json.dumps(described))
    written(old, tmp_path/'site')
    server = serve(tmp_path/'site')
    page = opened(browser, f'http://127.0.0.1:{server.server_port}/')
    give(page, card/'IMG_0001.png')
    page.locator('#answer .bars').wait_for()
    assert page.get_by_label('Show where it looked').count() == 0 and not page.wrong
    page.context.close()
    stop(server)


# ── a folder of many ────────────────────────────────────────────────────────────────────────────────────────────────
def test_hundreds_of_photographs_do_not_fill_the_memory(browser, host, tmp_path):
    "Rows, addresses of pictures and the heap are those of one page of the table, however many were looked at."
    page = opened(browser, host.url)
    page.evaluate("""() => {
        window.held = new Set()
        const make = URL.createObjectURL.bind(URL), drop = URL.revokeObjectURL.bind(URL)
        URL.createObjectURL = o => { const url = make(o); held.add(url); return url }
        URL.revokeObjectURL = url => { held.delete(url); drop(url) }
    }""")
    devtools, found = page.context.new_cdp_session(page), []
    devtools.send('Performance.enable')
    for number, part in enumerate('abc', 1):
        page.set_input_files('#folder', plain_folder(tmp_path/part, 150))
        page.get_by_text(f'{150*number} looked at.').wait_for(timeout=240_000)
        page.locator('#working').wait_for(state='hidden')
        devtools.send('HeapProfiler.collectGarbage')
        metrics = {o['name']: o['value'] for o in devtools.send('Performance.getMetrics')['metrics']}
        found.append((metrics['JSHeapUsedSize'], metrics['Nodes'], page.evaluate('held.size')))
    heap, nodes, held = zip(*found)
    assert page.locator('#rows tr').count() == 100 and page.get_by_text('450 looked at.').is_visible()
    assert max(held) <= 102, held  # a picture a row, the large one, and a table that was just saved
    assert heap[2] - heap[0] < 3_000_000 and nodes[2] < 1.3*nodes[0], (heap, nodes)
    page.context.close()


def test_a_folder_is_paused_goes_on_and_tells_what_it_passed_over(page, tmp_path):
    folder = plain_folder(tmp_path/'card', 40)
    (folder/'phone.HEIC').write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))
    for name in ('film.mp4', 'film2.mp4', 'notes.txt'): (folder/name).write_bytes(b'x')
    page.set_input_files('#folder', folder)
    pause(page)
    page.get_by_text('Paused. What is done stays.').wait_for()
    expect(page.locator('#counted')).to_have_text(re.compile(r'^\d+ of 41 · paused$'))
    counted, before = page.locator('#counted'), ''
    while before != (before := counted.inner_text()): page.wait_for_timeout(1500)  # the one that was under way is finished
    assert int(before.split()[0]) < 41  # it did not go on
    page.get_by_role('button', name='Go on').click()
    page.get_by_text('40 looked at, 1 cannot be used.').wait_for()
    rows = table(page)
    assert len(rows) == 41 and rows['card/phone.HEIC']['error'].startswith('is a HEIC file')
    page.get_by_text('3 other files were passed over: not a photograph that this page reads (2 .mp4, 1 .txt)').click()
    assert page.locator('#passed-names').inner_text() == 'card/film.mp4, card/film2.mp4, card/notes.txt'


def test_nobody_leaves_a_table_behind_unwarned(browser, host, tmp_path):
    page, asked = opened(browser, host.url), []
    page.on('dialog', lambda o: (asked.append(o.type), o.dismiss()))
    page.set_input_files('#folder', plain_folder(tmp_path/'card', 3))
    page.get_by_text('3 looked at.').wait_for()
    page.get_by_role('button', name='Later', include_hidden=True).focus()
    page.mouse.click(5, 5)  # browsers ask only those who did something
    page.close(run_before_unload=True)
    for _ in range(100):
        if asked: break
        page.wait_for_timeout(100)
    assert asked == ['beforeunload'] and not page.is_closed()
    table(page)  # saved
    with page.expect_event('close'): page.close(run_before_unload=True)
    assert asked == ['beforeunload']


# ── the graphics card ───────────────────────────────────────────────────────────────────────────────────────────────
#: For a test: tried at the second photograph, and however slow it is. A processor that plays a graphics card is slow.
EAGER = ('"photographs": 20,\n  "times_as_fast": 1', '"photographs": 2,\n  "times_as_fast": 0')


def on_a_card(browser, url: str, card: Path, init: str = '', options: list[str] = CARD) -> SimpleNamespace:
    "Look at three photographs twice in a Chromium that may have a graphics card: scores, and what the page says of it."
    own = browser.browser_type.launch(executable_path=CHROMIUM, args=options)
    page, told = own.new_context().new_page(), []
    page.set_default_timeout(60_000)
    page.on('console', lambda o: told.append(o.text) if o.text.startswith('WebGPU') else None)
    if init: page.add_init_script(init)
    page.goto(url)
    page.get_by_text('Ready.', exact=True).wait_for()
    paths = [card/o for o in ('IMG_0001.png', 'plain0.bmp', 'plain1.bmp')]
    give(page, *paths)
    for _ in range(900):
        if told: break
        page.wait_for_timeout(100)
    page.get_by_role('button', name='Clear').click()
    give(page, *paths)
    found = SimpleNamespace(scores=scores_in(page), told=told, engine=page.locator('#engine').inner_text())
    own.close()
    return found


def answers_right(found: SimpleNamespace, wide: Path, card: Path) -> bool:
    "Whether the scores are Python's."
    bundle = read_bundle(wide)
    return all(np.abs(np.float32(scores) - score_photograph(bundle, card/name)).max() < SAME_SCORES for name, scores in found.scores.items())


def test_a_graphics_card_answers_the_same(browser, host, wide, card):
    changed_page(host, host.root/'eager', settings=EAGER)
    found = on_a_card(browser, host.url.replace('/river/', '/eager/'), card)
    assert found.engine.startswith('The graphics card computes') and answers_right(found, wide, card)
    assert float(re.search(r'differ by ([\d.]+)', found.told[0])[1]) < SAME_SCORES


@pytest.mark.parametrize('fault', ['fails', 'differs', 'is slow'])
def test_a_graphics_card_that_does_not_help_is_not_used(browser, host, wide, card, fault):
    "It has no WebGPU in the worker after all, it answers something else, or it takes a thousand times as long."
    name = fault.replace(' ', '-')
    differs = ('return { scores: scores.data, activation', "return { scores: OWN.build === 'jspi' ? scores.data.map(o => o + .01) : scores.data, activation")
    slow = (EAGER[0], EAGER[1].replace('"times_as_fast": 0', '"times_as_fast": 1000'))
    changed_page(host, host.root/name, settings=slow if fault == 'is slow' else EAGER, **({'worker': differs} if fault == 'differs' else {}))
    stand_in = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({}) } })" if fault == 'fails' else ''
    found = on_a_card(browser, host.url.replace('/river/', f'/{name}/'), card, stand_in, QUIET if fault == 'fails' else CARD)
    assert found.engine == '' and answers_right(found, wide, card)
    assert found.told[0].startswith('WebGPU is not used' if fault == 'fails' else 'WebGPU: scores differ by')


def test_a_browser_that_is_too_old_is_told_so(browser, host):
    changed_page(host, host.root/'old', worker=('if (!self.DecompressionStream', 'delete self.DecompressionStream\n  if (!self.DecompressionStream'))
    page = browser.new_context().new_page()
    page.set_default_timeout(60_000)
    page.goto(host.url.replace('/river/', '/old/'))
    page.get_by_text('This browser cannot look at photographs: it is too old. Use a newer one.').wait_for()
    page.context.close()


# ── an app ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_it_can_be_installed_and_shown_beside_a_link(page, host):
    page.get_by_text('it works without a network').wait_for()
    devtools = page.context.new_cdp_session(page)
    assert devtools.send('Page.getAppManifest')['errors'] == []
    icons = json.loads((host.folder/'manifest.webmanifest').read_text())['icons']
    assert {(o['sizes'], o['purpose']) for o in icons} == {('192x192', 'any'), ('512x512', 'any'), ('512x512', 'maskable')}
    for icon in icons:
        with Image.open(host.folder/icon['src']) as image: assert f'{image.width}x{image.height}' == icon['sizes']
    said = {o: page.locator(f'meta[property="og:{o}"]').get_attribute('content') for o in ('title', 'description', 'image', 'url')}
    assert said['image'] == 'https://urban.example/river/preview.png' and said['url'] == 'https://urban.example/river/'
    assert said['title'] == page.title() and 'no photograph leaves it' in said['description']


def test_a_new_version_is_announced_and_used_on_a_click(browser, wide, tmp_path):
    written(wide, tmp_path/'river')
    server = serve(tmp_path)
    page = opened(browser, f'http://127.0.0.1:{server.server_port}/river/')
    page.get_by_text('it works without a network').wait_for()
    page.reload()
    page.get_by_text('Ready.', exact=True).wait_for()
    assert page.locator('#newer').is_hidden()
    newer = Path(shutil.copytree(wide, tmp_path/'newer'))
    described = json.loads((newer/'bundle.json').read_text())
    described['thresholds'] = {'accept': .123}
    (newer/'bundle.json').write_text(json.dumps(described))
    written(newer, tmp_path/'river')
    page.evaluate('navigator.serviceWorker.getRegistration().then(o => o.update())')
    page.get_by_text('There is a new version of this page.').wait_for()
    with page.expect_navigation(): page.get_by_role('button', name='Use it').click()
    eventually(page, "() => fetch('bundle.json').then(o => o.json()).then(o => o.thresholds.accept === .123)")
    page.get_by_text('Ready.', exact=True).wait_for()
    assert page.locator('#newer').is_hidden()
    page.context.close()
    stop(server)
