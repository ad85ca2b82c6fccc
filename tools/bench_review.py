"""Review of a season: does it slow down with ten thousand bursts, and how many labels a minute is one key a burst worth?

`make bench ONLY=review`, or `python tools/bench_review.py [SECONDS]`. The first figure is the server's time for *next* and *answer* with a queue of
10,000 bursts, 5,000 of them answered, over that with 100 bursts, 50 of them answered. The others are photographs labelled in Chromium, scripted at one key
as soon as the page takes it: bursts of three frames, and screens of 24 empty bursts, against single photographs of a data set. A person is slower than
the script, and looks longer at a burst than at one photograph."""
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import sync_playwright

from urbanrivers_camtraps.review.assignments import Assignments
from urbanrivers_camtraps.review.reviews import Answer, Reviews
from urbanrivers_camtraps.review.server import serve_reviews

CHROMIUM, FRAMES, CLASSES = '/usr/bin/chromium', 3, ['Anas platyrhynchos', 'Castor canadensis', 'blank']


def make_queue(
    bursts: int, # number of them
    path: Path, # of a photograph that all frames share
) -> tuple[pd.DataFrame, pd.DataFrame]: # the queue, all frames
    "Make bursts of three frames."
    rows = [(f'b{burst:05}f{frame}', f'b{burst:05}', burst, frame) for burst in range(bursts) for frame in range(FRAMES)]
    frames = pd.DataFrame(rows, columns=['media_id', 'burst_id', 'burst', 'frame'])
    times = pd.Timestamp('2025-05-01T00:00Z') + pd.to_timedelta(frames.burst*600 + frames.frame, 's')
    frames = frames.assign(path=path, timestamp=times, deployment='weir', prediction='blank', score=.9)
    return frames[frames.frame == 0].reset_index(drop=True), frames


def server_seconds(
    bursts: int, # in the queue; half of them are answered already
    folder: Path, # of the file of reviews
    steps: int = 40, # answers that are timed
) -> float: # the median, of an answer and the request for the next bursts
    "Measure what an answer costs the server."
    queue, frames = make_queue(bursts, folder/'photograph.jpg')
    reviews = Reviews(folder/f'{bursts}.sqlite')
    reviews.add_all('half', [Answer(o, 'blank', scope='burst') for o in queue.media_id[:bursts//2]], 'Heron')
    assignments = Assignments(queue, reviews, frames={o: (o,) for o in queue.media_id})
    held, _ = assignments.take('Heron', 'page', [], [])
    seconds = []
    for step in range(steps):
        begun = time.perf_counter()
        reviews.add_all(f'answer {step}', [Answer(held.pop(0), 'blank', scope='burst')], 'Heron')
        assignments.progress('Heron')
        held += assignments.take('Heron', 'page', held, [])[0]
        assignments.progress('Heron')
        seconds.append(time.perf_counter() - begun)
    reviews.close()
    return float(np.median(seconds))


def labels_a_minute(
    page: object, # of Playwright
    address: str, # of the review page
    frames: int, # photographs that one key labels
    seconds: float, # for which keys are pressed
) -> float:
    "Press one key after the other, each as soon as the page takes it."
    page.goto(address)
    page.get_by_label('Alias').fill('Heron')
    page.keyboard.press('Enter')
    keys, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        media = page.locator('#review[data-state=ready]').get_attribute('data-media')
        page.keyboard.press('n')
        page.locator(f'#review:not([data-media="{media}"])').wait_for()
        keys += 1
    return 60*frames*keys/(time.perf_counter() - begun)


def walls_a_minute(
    page: object, # of Playwright
    address: str, # of the review page
    frames: int, # photographs of a burst
    seconds: float, # for which screens are signed off
) -> float:
    "Sign off screens of bursts that the model calls blank, each as soon as it is there."
    page.goto(address)
    page.get_by_label('Alias').fill('Heron')
    page.keyboard.press('Enter')
    page.locator('#review[data-state=ready]').wait_for()
    page.keyboard.press('e')
    bursts, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        page.locator('#wall[data-state=ready]').wait_for()
        tiles = page.locator('.tile').evaluate_all('tiles => tiles.map(o => o.dataset.media)')
        if not tiles: break
        page.keyboard.press('Enter')
        page.wait_for_function('first => document.querySelector(".tile")?.dataset.media !== first', arg=tiles[0])
        bursts += len(tiles)
    return 60*frames*bursts/(time.perf_counter() - begun)


def main(
    seconds: float = 15, # for which keys are pressed, each way
) -> list[dict]: # one figure each
    "Measure all, in headless Chromium."
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        Image.effect_noise((640, 480), 60).convert('RGB').save(folder/'photograph.jpg')
        small, large = (server_seconds(o, folder) for o in (100, 10_000))
        queue, frames = make_queue(4000, folder/'photograph.jpg')
        browser, rates = playwright.chromium.launch(executable_path=CHROMIUM), {}
        ways = {'photographs': (labels_a_minute, frames.assign(label='blank'), 1), 'season': (labels_a_minute, queue, FRAMES),
                'wall': (walls_a_minute, queue, FRAMES)}
        for way, (measure, shown, count) in ways.items():
            kind = 'photographs' if way == 'photographs' else 'season'
            with serve_reviews(shown, folder/f'{way}.sqlite', CLASSES, frames, kind=kind) as address:
                context = browser.new_context()
                rates[way] = measure(context.new_page(), address, count, seconds)
                context.close()
        browser.close()
    rival = {'rival': 'one photograph a key', 'rival_seconds': 60_000/rates['photographs']}
    return [{'what': 'review: an answer with 10,000 bursts, against 100', 'times': large/small, 'wanted_times': 1.5},
            *({'what': f'1,000 photographs labelled, {name}', 'seconds': 60_000/rates[way], 'ratio': rates[way]/rates['photographs'],
               'wanted': 3, **rival} for way, name in (('season', f'one key a burst of {FRAMES}'), ('wall', 'a screen of empty bursts a key')))]


if __name__ == '__main__': print(main(*map(float, sys.argv[1:])))
