"""Take the docs' screenshots of the app and of the web page, with the demo's classifier: `python tools/screens.py demo`."""
import functools
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

PHONE, DESK = {'width': 390, 'height': 844}, {'width': 1100, 'height': 800}


def shoot(
    browser, # Chromium
    url: str, # of the page
    photograph: Path, # to ask about
    said: str, # text that shows that it has answered
    image: Path, # where the picture goes
    size: dict, # of the window
    dark: bool = False, # in the dark
) -> None:
    "Open a page, give it a photograph, and take its picture."
    page = browser.new_page(viewport=size, color_scheme='dark' if dark else 'light')
    page.goto(url)
    if 'Ready' in said: page.get_by_text('Ready.', exact=True).wait_for()
    page.locator('input[type=file]').first.set_input_files(photograph)
    page.get_by_text(said.removeprefix('Ready ')).first.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=image, full_page=size is PHONE)
    page.close()


def main(demo: Path, folder: Path = Path('nbs/images')) -> None:
    "Serve both and take four pictures."
    from urbanrivers_camtraps.apps.web import write_web_page
    photograph, port = demo/'bundle'/'examples'/'Branta_canadensis.jpg', 0
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        site = write_web_page(demo/'bundle', Path(work)/'site')
        handler = type('Quiet', (http.server.SimpleHTTPRequestHandler,), {'log_message': lambda *_: None})
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(handler, directory=site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        app = subprocess.Popen([sys.executable, 'app.py'], env={**os.environ, 'CAMTRAPS_BUNDLE': str(demo/'bundle'), 'GRADIO_SERVER_PORT': str(port)})
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=[
            '--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        try:
            for _ in range(300):
                try: urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=5).close()
                except OSError: time.sleep(.2)
                else: break
            address = f'http://127.0.0.1:{server.server_port}/'
            for name, url, said in (('app', f'http://127.0.0.1:{port}/', 'Branta canadensis'), ('web', address, 'Ready Branta canadensis')):
                shoot(browser, url, photograph, said, folder/f'{name}.png', DESK)
                shoot(browser, url, photograph, said, folder/f'{name}-phone.png', PHONE, dark=True)
        finally:
            app.terminate()
            server.shutdown()
            browser.close()


if __name__ == '__main__': main(Path(sys.argv[1] if len(sys.argv) > 1 else 'demo'))
