"""How long the static page takes for a photograph of 1,024 px: headless Chromium, WebAssembly, one thread, EfficientNet-Lite0.

    python tools/bench_browser.py

The page's own worker is asked, as the page asks it; it says how long the model ran, and how long all took from the file
to the scores (reading, decoding, the thumbnail, the model). Five photographs warm it up; the median of the next 20 counts.
Beside it, without a wish: a photograph of 12 megapixels, which has to be decoded and shrunk first. And how many bytes a first visit loads
before the page can answer, as the files are; the files `….packed` are compressed already, so a host that compresses saves of the texts only."""
import base64
import functools
import gzip
import http.server
import io
import shutil
import statistics
import tempfile
import threading
from pathlib import Path

import pandas as pd
from PIL import Image

ROUNDS, WARM_UP, WANTED_MS = 20, 5, 150
#: Half of what it was: the model of 13.5 MB, and onnxruntime of 14.3 MB.
WANTED_MB = 13.9
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
ASK = """async ([data, rounds]) => {
  const source = `import ${JSON.stringify(new URL('worker.js', location.href).href)}`
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })), { type: 'module' })
  const said = () => new Promise((resolve, reject) => { worker.onmessage = o => resolve(o.data); worker.onerror = reject })
  const file = new Blob([Uint8Array.from(atob(data), o => o.charCodeAt(0))]), found = []
  await said()
  for (let id = 0; id < rounds; id++) {
    worker.postMessage({ id, file, trim: [.05, .05] })
    found.push(await said())
  }
  worker.terminate()
  return found.map(o => o.error ? { error: o.error } : o.ms)
}"""


def make_site(folder: Path) -> Path:
    "Write a bundle of the network that trains without a hub, and its site."
    from urbanrivers_camtraps.apps.web import write_web_page
    from urbanrivers_camtraps.training.bundle_format import golden_photographs
    from urbanrivers_camtraps.training.export import write_bundle
    from urbanrivers_camtraps.training.learner import make_learner
    from urbanrivers_camtraps.training.preprocess import Recipe
    rows = []
    for number, (name, photograph) in enumerate(golden_photographs().items()):
        photograph.save(folder/f'{name}.png')
        rows.append({'path': str(folder/f'{name}.png'), 'label': 'abbc'[number % 4], 'split': 'valid' if number % 4 == 3 else 'train'})
    return write_web_page(write_bundle(make_learner(pd.DataFrame(rows), Recipe()), folder/'bundle'), folder/'site')


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A static host that says nothing."
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, '.mjs': 'text/javascript', '.wasm': 'application/wasm'}
    def log_message(self, *args): pass


def as_jpeg(photograph: Image.Image) -> str:
    "Encode a photograph for the page."
    buffer = io.BytesIO()
    photograph.save(buffer, 'JPEG', quality=90)
    return base64.b64encode(buffer.getvalue()).decode()


def time_in_chromium(site: Path, photographs: dict[str, Image.Image]) -> dict[str, dict[str, float]]: # name → median milliseconds
    "Ask the page's worker for each photograph again and again."
    from playwright.sync_api import sync_playwright
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
            page = browser.new_page()
            page.goto(f'http://127.0.0.1:{server.server_port}/')
            page.get_by_text('Kept on this device').wait_for()  # nothing loads beside what is measured
            found = {name: page.evaluate(ASK, [as_jpeg(o), WARM_UP + ROUNDS]) for name, o in photographs.items()}
            browser.close()
    finally: server.shutdown()
    return {name: {part: statistics.median(o[part] for o in times[WARM_UP:]) for part in ('model', 'all')} for name, times in found.items()}


def loaded_first(site: Path) -> dict[str, tuple[int, int]]: # file → bytes, and bytes if the host compresses
    "Return what a first visit loads before the page says that it is ready, without what is kept for later."
    from playwright.sync_api import sync_playwright
    server, names = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site)), set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/'
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
            context = browser.new_context()
            context.on('request', lambda o: None if o.service_worker or not o.url.startswith(url) else names.add(o.url.removeprefix(url) or 'index.html'))
            page = context.new_page()
            page.goto(url)
            page.get_by_text('Ready.', exact=True).wait_for()
            browser.close()
    finally: server.shutdown()
    data = {o: (site/o).read_bytes() for o in sorted(names) if (site/o).is_file()}
    return {name: (len(o), min(len(o), len(gzip.compress(o, 6)))) for name, o in data.items()}


def main() -> list[dict]:
    "Measure; give one figure for the model alone and one from the file to the scores."
    what = 'a photograph of 1,024 px in the browser'
    if not CHROMIUM: return [{'what': what, 'skipped': 'no Chromium is installed'}]
    from urbanrivers_camtraps.apps.web import WebError
    from urbanrivers_camtraps.training.bundle_format import golden_photographs
    drawn = golden_photographs()['landscape']
    with tempfile.TemporaryDirectory() as folder:
        try: site = make_site(Path(folder))
        except WebError as error: return [{'what': what, 'skipped': str(error)}]
        first = loaded_first(site)
        found = time_in_chromium(site, {'stored': drawn, 'camera': drawn.resize((4000, 3000), Image.Resampling.BICUBIC)})
    largest = ', '.join(f'{Path(name).name} {size/1e6:.2f}' for name, (size, _) in sorted(first.items(), key=lambda o: -o[1][0])[:4])
    plain, compressed = (sum(o[part] for o in first.values())/1e6 for part in (0, 1))
    return [{'what': f'before the first answer in the browser ({largest}; {compressed:.2f} MB if the host compresses)', 'MB': plain,
             'wanted_MB': WANTED_MB},
            {'what': f'{what}, the model alone', 'ms': found['stored']['model'], 'wanted_ms': WANTED_MS},
            {'what': f"{what}, from the file to the scores (of 12 megapixels: {found['camera']['all']:.0f} ms)",
             'ms': found['stored']['all'], 'wanted_ms': WANTED_MS}]


if __name__ == '__main__':
    from bench import line
    for one in main(): print(line(one))
