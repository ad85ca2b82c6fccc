"""A season: how close the stream comes to its slowest stage, what it holds in memory, what going on costs, and what Ray costs.

    python tools/bench_season.py

Photographs of 10 megapixels from disk, the default network (EfficientNet-Lite0, nothing learned, which costs the same), both cores.
The rivals are the slower of decoding alone (shrink-on-load, as `predict` does it) and inference alone, each with a thread a core.
The long run takes 20,000 photographs, 50 files told apart by trailing bytes, from a server on loopback in a process of its own; it is
killed half-way and goes on. Rounds take turns."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bench_images import draw

TURNS, EACH, ROUND, LONG = 3, 50, 8, int(os.environ.get('CAMTRAPS_LONG', 20_000))

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
files = [Path(o).read_bytes() for o in sys.argv[1:]]
class Photographs(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        number = int(self.path.strip('/').split('.')[0])
        body = files[number % len(files)] + number.to_bytes(4, 'big')
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *arguments): pass
    def handle(self):
        try: super().handle()
        except OSError: pass  # the killed run hung up
server = ThreadingHTTPServer(('127.0.0.1', 0), Photographs)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

RUN = """
import re, sys, time
from pathlib import Path
from urbanrivers_camtraps.inference.season import Job, predict_season
began = time.perf_counter()
predict_season(sys.argv[2], sys.argv[3], Job(sys.argv[1]), progress=False)
print(time.perf_counter() - began, int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])/1024)
"""


def lite0(folder: Path) -> Path:
    "Write a bundle of the default network."
    import timm
    import torch

    from urbanrivers_camtraps.training.export import write_bundle
    torch.manual_seed(0)
    recipe = SimpleNamespace(backbone='tf_efficientnet_lite0', size=224, trim_top=.05, trim_bottom=.05, mean=(.5,)*3, std=(.5,)*3)
    network = timm.create_model(recipe.backbone, num_classes=8).eval()
    return write_bundle(SimpleNamespace(model=network, recipe=recipe, dls=SimpleNamespace(vocab=list('abcdefgh'))), folder)


def stages(bundle_folder: Path, paths: list[Path]) -> dict:
    "Time decoding alone, inference alone, the plain stream and Ray's, in turns."
    import ray

    from urbanrivers_camtraps.foundations.core import in_order
    from urbanrivers_camtraps.inference.bundle import read_bundle
    from urbanrivers_camtraps.inference.ray import on_ray
    from urbanrivers_camtraps.inference.season import Job, on_threads
    bundle, job, cores = read_bundle(bundle_folder), Job(str(bundle_folder)), os.cpu_count()
    pixels = [np.asarray(bundle.open(o)) for o in paths]*ROUND  # long enough that reading the bundle, once a season, does not count
    paths, sources = paths*ROUND, [str(o) for o in paths]*ROUND
    ray.init(log_to_driver=False, logging_level='ERROR', include_dashboard=False)
    runs = {'decode': lambda: list(in_order(lambda o: bundle.open(o).size, paths, cores)),
            'infer': lambda: list(in_order(bundle, pixels, cores)),
            'stream': lambda: list(on_threads(sources, job))}
    seconds = dict.fromkeys([*runs, 'stream, long', 'ray'], 0.)
    for _ in range(TURNS):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name] += time.perf_counter() - began
    many = sources*(40//ROUND)  # long enough that starting workers does not count for more than it would in a season
    for name, engine in (('stream, long', on_threads), ('ray', on_ray)):
        began = time.perf_counter()
        list(engine(many, job))
        seconds[name] = time.perf_counter() - began
    ray.shutdown()
    return seconds


def season(bundle_folder: Path, paths: list[Path], folder: Path) -> dict:
    "Predict the long season in a process of its own, killed half-way; give seconds, and the peak of memory in MB."
    import pandas as pd

    from urbanrivers_camtraps.inference.season import read_season
    with subprocess.Popen([sys.executable, '-c', SERVER, *map(str, paths)], stdout=subprocess.PIPE, text=True) as server:
        port = int(server.stdout.readline())
        pd.DataFrame({'url': [f'http://127.0.0.1:{port}/{o}.jpg' for o in range(LONG)]}).to_csv(folder/'season.csv')
        command, out = [sys.executable, '-c', RUN, bundle_folder, folder/'season.csv'], folder/'season.parquet'
        began = time.perf_counter()
        with subprocess.Popen([*command, out], stdout=subprocess.DEVNULL) as first:
            while len(list(folder.glob('.season.parquet.parts/*.parquet'))) < LONG//500: time.sleep(.05)
            first.send_signal(signal.SIGKILL)
        killed = time.perf_counter() - began
        kept = 250*len(list(folder.glob('.season.parquet.parts/*.parquet')))
        seconds, peak = map(float, subprocess.run([*command, out], capture_output=True, text=True, check=True).stdout.split())
        again = time.perf_counter()
        subprocess.run([*command, out], capture_output=True, check=True)  # nothing is left to do: what reading the table and starting costs
        again = time.perf_counter() - again
        server.kill()
    found = read_season(out)
    assert len(found) == LONG and not len(found.skipped)
    return {'seconds': killed + seconds, 'peak': peak, 'again': again, 'kept': kept}


def stage_lines(seconds: dict) -> list[dict]:
    "Put the stages' seconds into figures."
    count, slower = TURNS*EACH*ROUND, max(('decode', 'infer'), key=seconds.get)
    names = {'decode': 'decoding alone', 'infer': 'inference alone'}
    other = 'infer' if slower == 'decode' else 'decode'
    return [{'what': f'{count} photographs of 10 megapixels from disk, EfficientNet-Lite0, against the slower stage ({names[other]}: {seconds[other]:.1f} s)',
             'rival': names[slower], 'seconds': seconds['stream'], 'rival_seconds': seconds[slower], 'ratio': seconds[slower]/seconds['stream'], 'wanted': .8},
            {'what': f'{40*EACH:,} of them on Ray, one machine', 'rival': 'the plain stream',
             'seconds': seconds['ray'], 'rival_seconds': seconds['stream, long'],
             'ratio': seconds['stream, long']/seconds['ray'], 'wanted': .7}]


def main(
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the drawn photographs
) -> Iterator[dict]:
    "Measure the stages and the long run."
    warnings.filterwarnings('ignore')
    draw(cache)
    paths = sorted(cache.glob('*.jpg'))[:EACH]
    with tempfile.TemporaryDirectory() as name:
        bundle = lite0(Path(name)/'bundle')
        yield from stage_lines(stages(bundle, paths))
        long = season(bundle, paths, Path(name))
    yield {'what': f'{LONG:,} photographs from a server, killed half-way: peak memory', 'megabytes': long['peak'], 'wanted_megabytes': 700}
    yield {'what': f'going on after {long["kept"]:,} of {LONG:,}: share of the whole that finding out costs', 'percent': 100*long['again']/long['seconds'],
           'wanted_percent': 2}


if __name__ == '__main__':
    from bench import line
    for one in main(): print(line(one), flush=True)
