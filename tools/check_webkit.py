"""Open the web page in WebKit, the engine of Safari: it names a photograph, and its golden answers are Python's.

    apt-get install -y --no-install-recommends webkit2gtk-driver xvfb    # Debian and Ubuntu
    python tools/check_webkit.py SITE [PHOTOGRAPH]

SITE is a folder that `camtraps web` wrote. This is WebKitGTK's MiniBrowser, driven by WebDriver: the engine is Safari's, what a telephone's
memory allows is not. It ends with status 1 if an answer differs or the page says that something is wrong."""
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

READ = """return ['said', 'trouble', 'verdict', 'checked', 'offline'].map(o => document.getElementById(o)?.innerText ?? '').concat(
  [typeof navigator.gpu, 'webkitdirectory' in document.createElement('input'), typeof WebAssembly.Suspending])"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A static host that says nothing."
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, '.mjs': 'text/javascript'}
    def log_message(self, *args): pass


class WebKit:
    "MiniBrowser, as WebDriver sees it."
    def __init__(self):
        tools = {o: shutil.which(o) for o in ('WebKitWebDriver', 'Xvfb')}
        browsers = sorted(Path('/usr/lib').glob('*/webkit2gtk-*/MiniBrowser'))
        if not all(tools.values()) or not browsers: sys.exit(f'{__doc__}\nNot installed: WebKitWebDriver, MiniBrowser or Xvfb')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        display, environment = f':{self.port % 900 + 50}', {**os.environ, 'WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS': '1'}
        self.processes = [subprocess.Popen([tools['Xvfb'], display, '-screen', '0', '1300x1000x24'], stderr=subprocess.DEVNULL)]
        self.processes += [subprocess.Popen([tools['WebKitWebDriver'], f'--port={self.port}'], env={**environment, 'DISPLAY': display})]
        time.sleep(2)
        options = {'webkitgtk:browserOptions': {'binary': str(browsers[-1]), 'args': ['--automation']}}
        started = self.call('POST', '/session', {'capabilities': {'alwaysMatch': options}})
        self.session, self.version = f"/session/{started['sessionId']}", started['capabilities'].get('browserVersion')

    def call(self, method: str, path: str, body: dict | None = None) -> object:
        "Send a command of WebDriver."
        request = urllib.request.Request(f'http://127.0.0.1:{self.port}{path}', json.dumps(body or {}).encode() if method == 'POST' else None,
                                         {'Content-Type': 'application/json'}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer: return json.load(answer)['value']

    def run(self, script: str) -> list:
        "Run a script in the page."
        return self.call('POST', f'{self.session}/execute/sync', {'script': script, 'args': []})

    def until(self, done: Callable[[list], object], seconds: int = 120) -> list:
        "Wait until the page says what it should."
        for _ in range(seconds):
            found = self.run(READ)
            if found[1]: sys.exit(f'the page says: {found[1]}')
            if done(found): return found
            time.sleep(1)
        sys.exit(f'it took more than {seconds} s: {found}')

    def close(self) -> None:
        "End what was started."
        for process in reversed(self.processes): process.terminate()


def main(site: Path, photograph: Path | None = None) -> None:
    "Open the page, give it a photograph, and let it check itself."
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    photograph = photograph or next(o for o in (*site.glob('examples/*'), *site.glob('golden/portrait.jpg')))
    webkit = WebKit()
    try:
        webkit.call('POST', f'{webkit.session}/url', {'url': f'http://127.0.0.1:{server.server_port}/'})
        webkit.until(lambda o: o[0] == 'Ready.')
        field = webkit.call('POST', f'{webkit.session}/element', {'using': 'css selector', 'value': '#files'})
        webkit.call('POST', f"{webkit.session}/element/{next(iter(field.values()))}/value", {'text': str(photograph.resolve())})
        answer = webkit.until(lambda o: o[0] == 'Done.')[2]
        webkit.run("document.getElementById('check').click()")
        *_, checked, offline, gpu, folders, jspi = webkit.until(lambda o: o[3].endswith('.'))
        print(f'WebKit {webkit.version}: {answer.splitlines()[0]}. {checked} {offline}')
        print(f'navigator.gpu {gpu}, choosing a folder {folders}, JSPI {jspi}')
    finally: webkit.close()
    if not checked.startswith('It does ('): sys.exit(1)


if __name__ == '__main__':
    if len(sys.argv) < 2: sys.exit(__doc__)
    main(*map(Path, sys.argv[1:3]))
