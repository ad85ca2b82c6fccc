"""Predicting, held against how the original did it: the same ResNet-18, photographs of 10 megapixels, both cores.

    python tools/bench_predict.py

The rivals are a loop over `learn.predict`, as the original's app and notebook had it, and `learn.get_preds` on a `test_dl`
with two processes. Ours is the bundle's `predict` as it comes, with float32 and with static int8. How far the scores move by
int8 is said beside; whether it may be used at all is decided by accuracy (`small`), not here. The network has learned nothing,
which costs as much time as one that has. All take turns, and the seconds are sums over the turns.

With CAMTRAPS_FRAMES, a folder of real frames with a `manifest.csv`, it also says how far scores are from those of the whole
decode (`bench_decode`)."""
import os
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bench_decode import decode_lines
from bench_images import draw

TURNS, EACH = 3, 50


def original(paths: list[Path]):
    "Make the original's learner."
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, Resize, aug_transforms, resnet18, vision_learner
    names = iter(range(10**6))
    block = DataBlock((ImageBlock, CategoryBlock), get_y=lambda o: 'abcdefgh'[next(names) % 8], item_tfms=[Resize(224)], batch_tfms=aug_transforms())
    return vision_learner(block.dataloaders(paths, bs=32, num_workers=2), resnet18, pretrained=False, normalize=False)


def bundled(learner, folder: Path, paths: list[Path]):
    "Write the bundle of the same network, in both precisions; give both."
    import pandas as pd

    from urbanrivers_camtraps.inference.bundle import read_bundle
    from urbanrivers_camtraps.training.export import write_bundle
    from urbanrivers_camtraps.training.quantise import add_quantised
    recipe = SimpleNamespace(backbone='resnet18', size=224, trim_top=.05, trim_bottom=.05, mean=(.485, .456, .406), std=(.229, .224, .225))
    write_bundle(SimpleNamespace(model=learner.model, recipe=recipe, dls=SimpleNamespace(vocab=list('abcdefgh'))), folder)
    add_quantised(folder, 'int8', paths[:10], pd.DataFrame({'path': paths[:2], 'label': 'a'}), max_loss=2)
    return read_bundle(folder), read_bundle(folder, precision='int8')


def main(
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the drawn photographs
) -> list[dict]:
    "Let all take turns."
    warnings.filterwarnings('ignore')
    from urbanrivers_camtraps.inference.predict import predict
    draw(cache)
    paths = sorted(cache.glob('*.jpg'))[:EACH]
    learner = original(paths)
    with tempfile.TemporaryDirectory() as folder, learner.no_bar(), learner.no_logging():
        bundle, small = bundled(learner, Path(folder)/'bundle', paths)
        runs = {'loop': lambda: [learner.predict(o) for o in paths], 'test_dl': lambda: learner.get_preds(dl=learner.dls.test_dl(paths, num_workers=2)),
                'ours': lambda: predict(bundle, paths, progress=False), 'int8': lambda: predict(small, paths, progress=False)}
        seconds, found = dict.fromkeys(runs, 0.), {}
        for _ in range(TURNS):
            for name, run in runs.items():
                began = time.perf_counter()
                found[name] = run()
                seconds[name] += time.perf_counter() - began
    one, other = (np.stack(found[o].scores) for o in ('ours', 'int8'))
    moved, count = np.abs(one - other).max(1).mean(), TURNS*EACH
    said = {'ours': "the bundle's `predict`", 'int8': f"`predict` with static int8 (scores move by {moved:.3f} on average)"}
    rivals = {'loop': 'a loop over `learn.predict`', 'test_dl': '`get_preds` on a `test_dl`'}
    wanted = {('ours', 'loop'): 4.5, ('ours', 'test_dl'): 3.3, ('int8', 'loop'): 7, ('int8', 'test_dl'): 5.5}
    decoded = decode_lines(os.environ.get('CAMTRAPS_FRAMES'))
    return decoded + [{'what': f'{count} photographs of 10 megapixels, ResNet-18, {said[a]}', 'rival': rivals[b], 'seconds': seconds[a],
             'rival_seconds': seconds[b], 'ratio': seconds[b]/seconds[a], 'wanted': least} for (a, b), least in wanted.items()]


if __name__ == '__main__':
    from bench import line
    for one in main(): print(line(one))
