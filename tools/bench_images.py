"""Photographs of 10 megapixels to checked copies of 1,024 pixels: our download against fastai's, and our peak memory.

    python tools/bench_images.py          ratio on 200 photographs, peak memory at 1,000
    python tools/bench_images.py --full   peak memory at 20,000 too: a quarter of an hour

The site is a process of its own on this machine, which takes 50 ms a photograph. It serves 50 drawn photographs of
3648×2736 pixels and 1.5 to 4 MB, told apart by eight trailing bytes, so that each has an MD5 of its own. Drawing them
is not counted.

The rival is what fastai offers: `download_images` (8 threads), then `resize_images` (a process a core), which looks
whether a file is a photograph, decodes all of it, resizes and saves it. It checks no MD5, keeps no list and opens a
connection a photograph; its answer is taken as it is. Both take turns, and the ratio is of the sums. `bare` leaves out
what of `resize_images` is not decoding, resizing and saving: the least that can follow `download_images`."""
import argparse
import asyncio
import hashlib
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd

DRAWN, SIDE = 50, 1024


def draw(folder: Path) -> list[bytes]:
    "Draw the photographs, or take those that an earlier run drew."
    from urbanrivers_camtraps.foundations.core import atomic_path
    from urbanrivers_camtraps.foundations.drawings import draw_photograph
    from urbanrivers_camtraps.foundations.sandbox import make_sandbox
    rows = None
    for number in range(DRAWN):
        path = folder/f'{number}.jpg'
        if path.exists(): continue
        if rows is None: rows = list(make_sandbox('small').media.itertuples())
        with atomic_path(path) as temporary:
            temporary.write_bytes(draw_photograph(rows[number*7], 3648, 2736, quality=(75, 85, 92)[number % 3]))
    return [(folder/f'{o}.jpg').read_bytes() for o in range(DRAWN)]


def serve(photographs: list[bytes], delay: float, ready) -> None:
    "Serve `/<number>.jpg`; tell the port through `ready`."
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    from urbanrivers_camtraps.foundations.core import listen

    async def photograph(request) -> Response:
        await asyncio.sleep(delay)
        number = request.path_params['number']
        return Response(photographs[number % DRAWN] + number.to_bytes(8), media_type='image/jpeg')
    listener = listen(0)
    ready.send(listener.getsockname()[1])
    app = Starlette(routes=[Route('/{number:int}.jpg', photograph)])
    config = uvicorn.Config(app, log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def labelled(photographs: list[bytes], port: int, numbers: range) -> pd.DataFrame:
    "Labels for some of the photographs."
    begun = [hashlib.md5(o) for o in photographs]

    def md5(number: int) -> str:
        whole = begun[number % DRAWN].copy()
        whole.update(number.to_bytes(8))
        return whole.hexdigest()
    return pd.DataFrame({'media_id': [md5(o) for o in numbers], 'label': 'blank',
                         'url': [f'http://127.0.0.1:{port}/{o}.jpg' for o in numbers]})


def ours(labels: pd.DataFrame, folder: Path) -> float:
    "Download with this library; return the seconds."
    from urbanrivers_camtraps.images.download import download_photographs
    began = time.perf_counter()
    photographs, skipped = download_photographs(labels, folder, SIDE, progress=False)
    seconds = time.perf_counter() - began
    assert len(photographs) == len(labels), skipped.reason.head().tolist()
    assert photographs[['width', 'height']].max().max() == SIDE
    return seconds


def shrink(path: Path, dest: Path) -> None:
    "Decode all of a photograph, resize it and save it."
    from PIL import Image
    with Image.open(path) as image:
        size = (SIDE, round(SIDE*image.height/image.width))
        image.resize(size, Image.Resampling.BILINEAR).save(dest/path.name)


def fastais(labels: pd.DataFrame, folder: Path, bare: bool) -> float:
    "Download with fastai, then decode and resize; return the seconds."
    with warnings.catch_warnings(action='ignore'):
        from fastai.vision.utils import download_images, get_image_files, parallel, resize_images
    whole, small, began = folder/'whole', folder/'small', time.perf_counter()
    with redirect_stdout(None):  # its bars
        download_images(whole, urls=labels.url.tolist())
        small.mkdir()
        if bare: parallel(shrink, get_image_files(whole), dest=small, n_workers=multiprocessing.cpu_count())
        else: resize_images(whole, max_size=SIDE, dest=small)
    seconds = time.perf_counter() - began
    assert len(list(small.iterdir())) == len(labels)
    return seconds


def compare(
    photographs: list[bytes], # as the site serves them
    port: int, # of the site
    count: int, # photographs for each
    turns: int = 4, # that each has
) -> dict:
    "Let all take turns and say how many times as fast we are."
    spent = dict.fromkeys(('ours', 'fastai', 'bare'), 0.)
    for turn in range(turns):
        labels = labelled(photographs, port, range(turn*count//turns, (turn + 1)*count//turns))
        for name in spent:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder)
                spent[name] += ours(labels, path) if name == 'ours' else fastais(labels, path, name == 'bare')
    rival = f"fastai's download_images and resize_images; a bare decode and resize after it: {spent['bare']:.1f} s"
    return {'what': f'{count} photographs of 10 megapixels to checked copies of {SIDE} px', 'rival': rival,
            'seconds': spent['ours'], 'rival_seconds': spent['fastai'], 'bare_seconds': spent['bare'],
            'ratio': spent['fastai']/spent['ours'], 'wanted': 3}


def peak(
    labels: pd.DataFrame, # photographs to download
) -> dict:
    "Download in a process of its own and say its peak memory."
    with tempfile.TemporaryDirectory() as folder:
        labels.to_csv(f'{folder}/labels.csv', index=False)
        call = [sys.executable, __file__, '--measure', folder]
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    memory, rate = map(float, done.stdout.split())
    what = f'peak memory of downloading {len(labels):,} photographs, {rate:.1f} a second'
    return {'what': what, 'MB': memory, 'wanted_MB': 500}


def measure(folder: Path) -> None:
    "Download and print the peak memory of this process in MB, and the photographs a second."
    labels = pd.read_csv(folder/'labels.csv')
    seconds = ours(labels, folder/'images')
    status = Path('/proc/self/status').read_text()  # getrusage would tell the parent's peak where that was higher
    print(int(re.search(r'VmHWM:\s+(\d+) kB', status)[1])/1024, len(labels)/seconds)


def main(
    count: int = 200, # photographs to compare on
    memory: tuple[int, ...] = (1000,), # photographs at which to measure the memory
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the drawn photographs
) -> list[dict]:
    "Measure the speed against fastai's, and the peak memory."
    photographs = draw(cache)
    receive, send = multiprocessing.Pipe(False)
    site = multiprocessing.get_context('spawn').Process(target=serve, args=(photographs, .05, send), daemon=True)
    site.start()
    try:
        port = receive.recv()
        found = [compare(photographs, port, count)] if count else []
        return found + [peak(labelled(photographs, port, range(o))) for o in memory]
    finally: site.terminate()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--full', action='store_true', help='measure the memory at 20,000 too')
    parser.add_argument('--measure', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure: measure(args.measure)
    else:
        for one in main(memory=(1000, 20_000) if args.full else (1000,)): print(one)
