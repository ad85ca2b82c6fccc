"""Review of a season: does it slow down with ten thousand bursts, and how many labels a minute is one key a burst worth?

    python tools/bench_review.py [SECONDS]

The first ratio is the server's time for *next* and *answer* with a queue of 10,000 bursts, 5,000 of them answered, over that with 100 bursts, 50 of them
answered. The second is photographs labelled a minute in Chromium, scripted at one key as soon as the page takes it: bursts of three frames in a season
against single photographs of a data set. A person is slower than the script, and looks longer at a burst than at one photograph."""
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


def main() -> None:
    "Print both ratios."
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        Image.effect_noise((640, 480), 60).convert('RGB').save(folder/'photograph.jpg')
        small, large = (server_seconds(o, folder) for o in (100, 10_000))
        print(f'an answer and the next bursts: {1000*small:.2f} ms with 100, {1000*large:.2f} ms with 10,000: ratio {large/small:.2f}')
        queue, frames = make_queue(1000, folder/'photograph.jpg')
        browser, rates = playwright.chromium.launch(executable_path=CHROMIUM), {}
        for kind, shown in (('photographs', frames.assign(label='blank')), ('season', queue)):
            with serve_reviews(shown, folder/f'{kind}.sqlite', CLASSES, frames, kind=kind) as address:
                context = browser.new_context()
                rates[kind] = labels_a_minute(context.new_page(), address, FRAMES if kind == 'season' else 1, seconds)
                context.close()
        browser.close()
        print(f"labels a minute: {rates['photographs']:.0f} by photograph, {rates['season']:.0f} by burst of {FRAMES}: "
              f"ratio {rates['season']/rates['photographs']:.2f}")


if __name__ == '__main__': main()
