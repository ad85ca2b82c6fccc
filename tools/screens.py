"""Take the docs' screenshots with the demo's classifier and tables: `python tools/screens.py demo`."""
import functools
import http.server
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DESK, PHONE = {'width': 1280, 'height': 900}, {'width': 390, 'height': 844}
IMAGES = Path('nbs/images')


def ask(
    photograph: Path, # to ask about
    said: str, # text that shows that the page has answered
) -> Callable[[Page], None]: # does it in an open page
    "Give the app or the web page a photograph, and wait for its answer."
    def asked(page: Page) -> None:
        if 'Ready' in said: page.get_by_text('Ready.', exact=True).wait_for()
        page.locator('input[type=file]').first.set_input_files(photograph)
        page.get_by_text(said.removeprefix('Ready ')).first.wait_for()
        page.wait_for_timeout(1500)
    return asked


def begin(page: Page) -> None:
    "Begin to review."
    page.get_by_label('Alias').fill('Heron')
    page.keyboard.press('Enter')
    page.locator('#review[data-state=ready]').wait_for()


def shoot(
    browser: Browser, # Chromium
    url: str, # of the page
    act: Callable[[Page], None], # brings the page into the state that is shown
    size: dict, # of the window
    dark: bool, # in the dark
    whole: bool = False, # the whole page, not the window alone
) -> Image.Image:
    "Open a page, bring it into a state, and take its picture."
    page = browser.new_page(viewport=size, color_scheme='dark' if dark else 'light')
    page.set_default_timeout(60_000)
    page.goto(url)
    act(page)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    page.close()
    return picture.convert('RGB')


@contextmanager
def served_app(
    bundle: Path, # of the demo
) -> Iterator[str]: # address
    "Serve the app."
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    address, settings = f'http://127.0.0.1:{port}/', {'CAMTRAPS_BUNDLE': str(bundle), 'GRADIO_SERVER_PORT': str(port)}
    app = subprocess.Popen([sys.executable, 'app.py'], env={**os.environ, **settings})
    try:
        for _ in range(300):
            try: urllib.request.urlopen(address, timeout=5).close()
            except OSError: time.sleep(.2)
            else: break
        yield address
    finally: app.terminate()


@contextmanager
def served_folder(
    folder: Path, # with an index.html
) -> Iterator[str]: # address
    "Serve a folder as a plain host does."
    handler = type('Quiet', (http.server.SimpleHTTPRequestHandler,), {'log_message': lambda *_: None})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}/'
    finally: server.shutdown()


def write_survey(
    folder: Path, # for the page
) -> Path:
    "Write the page of the survey in the tutorial *Before and after*."
    from urbanrivers_camtraps.survey.report import Survey
    from urbanrivers_camtraps.survey.simulation import simulate_survey
    river = simulate_survey(4, arms=10, change=1.5, missed={'impact': (.1, .3), 'control': (.1, .1)})
    survey = Survey(river.events, river.deployments, river.outages, 'America/Chicago')
    return survey.report(folder/'survey.html', arms=river.arms, changed=river.changed, missed=river.missed)


@contextmanager
def served_reviews(
    demo: Path, # folder of the demo
    folder: Path, # for the answers
) -> Iterator[str]: # address
    "Serve the review page for the labels that are likely wrong."
    from urbanrivers_camtraps.foundations.predictions import read_predictions
    from urbanrivers_camtraps.review.label_errors import opinions_table
    from urbanrivers_camtraps.review.queue import review_queue
    from urbanrivers_camtraps.review.server import serve_reviews
    predictions = read_predictions(demo/'out_of_fold.parquet')
    queue = review_queue(opinions_table(predictions), limit=40)
    with serve_reviews(queue, folder/'reviews.sqlite', sorted(predictions.label.unique())) as address: yield address


def main(
    demo: Path, # folder that `make demo` wrote
) -> None:
    "Take each page on a desk and a phone, in light and dark; and the pictures of the README."
    from urbanrivers_camtraps.apps.web import write_web_page
    photograph = demo/'bundle'/'examples'/'Branta_canadensis.jpg'
    folder = IMAGES/'screens'
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright, ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=[
            '--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        stack.callback(browser.close)
        app = stack.enter_context(served_app(demo/'bundle'))
        web = stack.enter_context(served_folder(write_web_page(demo/'bundle', Path(work)/'site')))
        review = stack.enter_context(served_reviews(demo, Path(work)))
        shown = {'app': (app, ask(photograph, 'Branta canadensis')), 'web': (web, ask(photograph, 'Ready Branta canadensis')),
                 'review': (review, begin)}
        for name, path in (('report', demo/'report.html'), ('card', demo/'data.html'), ('survey', write_survey(Path(work)))):
            shown[name] = path.resolve().as_uri(), lambda _: None
        for name, (url, act) in shown.items():
            for size in (DESK, PHONE):
                for dark in (False, True):
                    picture = shoot(browser, url, act, size, dark)
                    picture.save(folder/f'{name}-{size["width"]}-{"dark" if dark else "light"}.webp', quality=60, method=6)
        for name in ('app', 'web'):
            shoot(browser, *shown[name], {'width': 1100, 'height': 800}, False).quantize(128).save(IMAGES/f'{name}.png', optimize=True)
            shoot(browser, *shown[name], PHONE, True, whole=True).quantize(128).save(IMAGES/f'{name}-phone.png', optimize=True)


if __name__ == '__main__': main(Path(sys.argv[1] if len(sys.argv) > 1 else 'demo'))
