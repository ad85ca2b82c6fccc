"""How far the scores of a reduced decode are from those of the whole photograph, for JPEGs of 2 to 16 megapixels.

    CAMTRAPS_FRAMES=<folder> python tools/bench_decode.py

Real frames of that size are not at hand, so they are built from small real ones: a frame is enlarged, the fine texture of other
frames is added at a quarter of the size and at full size, and some grain, and all of it is saved as JPEG of quality 75, 85 or
92. The network is a probe on the other frames (whole bursts apart), EfficientNet-Lite0 at 224 pixels."""
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

SIZES = ((1600, 1200), (1920, 1080), (2048, 1536), (2592, 1944), (2688, 1512), (3264, 2448), (3648, 2736), (3776, 2124), (4000, 3000),
         (4608, 3456), (5120, 2880))
EACH, TILE = 6, 224


def texture(paths: list[str], size: tuple[int, int], chance: np.random.Generator) -> np.ndarray:
    "Fill an area with the fine texture of frames."
    filled = np.zeros(size[::-1], 'float32')
    for top in range(0, size[1], TILE):
        for left in range(0, size[0], TILE):
            tile = Image.open(chance.choice(paths)).convert('L').crop((16, 16, 16 + TILE, 16 + TILE))
            fine = np.asarray(tile, 'float32') - np.asarray(tile.filter(ImageFilter.GaussianBlur(2)), 'float32')
            part = filled[top:top + TILE, left:left + TILE]
            part[:] = fine[:part.shape[0], :part.shape[1]]
    return filled


def build(path: str, size: tuple[int, int], others: list[str], seed: int) -> Image.Image:
    "Build a photograph of this size from a frame."
    chance = np.random.default_rng(seed)
    large = np.asarray(Image.open(path).convert('RGB').resize(size, Image.Resampling.BICUBIC), 'float32')
    coarse = Image.fromarray(.5*texture(others, (size[0]//4, size[1]//4), chance)).resize(size, Image.Resampling.BICUBIC)
    detail = np.asarray(coarse) + .3*texture(others, size, chance) + chance.normal(0, 1.5, size[::-1]).astype('float32')
    return Image.fromarray((large + detail[..., None]).clip(0, 255).astype('uint8'))


def write(frames: pd.DataFrame, folder: Path) -> list[Path]:
    "Write the photographs; those that an earlier run wrote are taken."
    folder.mkdir(parents=True, exist_ok=True)
    chosen = frames[frames.split == 'valid'].sample(EACH*len(SIZES), random_state=3).path.tolist()
    others, written = frames[frames.split == 'train'].path.tolist(), []
    for number, path in enumerate(chosen):
        size = SIZES[number % len(SIZES)]
        written.append(folder/f'{number}-{size[0]}x{size[1]}.jpg')
        options = {'quality': (75, 85, 92)[number % 3], 'subsampling': (2, 1, 2)[number % 3]}
        if not written[-1].exists(): build(path, size, others, number).save(written[-1], **options)
    return written


def frames_of(folder: Path) -> pd.DataFrame:
    "Read the frames, a quarter of the bursts to validate on."
    frames = pd.read_csv(folder/'manifest.csv')
    frames = frames[frames.groupby('label').label.transform('size') >= 10].reset_index(drop=True)
    valid = frames.seq_id.drop_duplicates().sample(frac=.25, random_state=1)
    return frames.assign(path=[str(folder/o) for o in frames.path], split=np.where(frames.seq_id.isin(valid), 'valid', 'train'))


def decode_lines(folder: str | None) -> list[dict]:
    "Measure how far scores move by the rule, and by what stood in its place before."
    if not folder: return [{'what': 'scores against the whole decode', 'skipped': 'no CAMTRAPS_FRAMES is given'}]
    from urbanrivers_camtraps.images.photograph import STORED_SIDE, open_photograph
    from urbanrivers_camtraps.inference.bundle import read_bundle
    from urbanrivers_camtraps.training.export import write_bundle
    from urbanrivers_camtraps.training.preprocess import Recipe
    from urbanrivers_camtraps.training.probe import probe
    frames = frames_of(Path(folder))
    paths = write(frames, Path(tempfile.gettempdir())/'camtraps-bench'/'built')
    with tempfile.TemporaryDirectory() as workspace:
        bundle = read_bundle(write_bundle(probe(frames, Recipe()), Path(workspace)/'bundle'))
        to = {f'as {side:,} px': partial(open_photograph, max_side=side) for side in (STORED_SIDE, 512)}
        ways = {'by the rule': bundle.open, **to}
        looks = {'whole': open_photograph, **ways}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scores = {name: np.stack(list(pool.map(lambda path, opened=opened: bundle(opened(path)), paths))) for name, opened in looks.items()}
    whole, lines = scores['whole'], []
    for name in ways:
        moved, same = np.abs(scores[name] - whole).max(1), (scores[name].argmax(1) == whole.argmax(1)).mean()
        what = f'{len(paths)} JPEGs of 2 to 16 megapixels, decoded {name}, the same first class for {same:.3f}, against the whole decode'
        lines += [{'what': f'{what}: mean shift of a score in thousandths', 'thousandths': 1000*moved.mean(), 'wanted_thousandths': 8},
                  {'what': f'{what}: largest shift in thousandths', 'thousandths': 1000*moved.max(), 'wanted_thousandths': 50}]
    return lines


if __name__ == '__main__':
    from bench import line
    for one in decode_lines(os.environ.get('CAMTRAPS_FRAMES') or (sys.argv[1] if len(sys.argv) > 1 else None)): print(line(one))
