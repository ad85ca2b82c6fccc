"""Training, held against how the original did it: the loader alone, one epoch, and the probe against fine-tuning.

    python tools/bench_train.py                               loader on 1,000 photographs, epoch on 200
    CAMTRAPS_FRAMES=<folder> python tools/bench_train.py      the probe on 1,460 real frames too: some five minutes more

The loader: photographs of 10 megapixels, 50 of them drawn and told apart by eight trailing bytes. Ours reads the copies
of 1,024 px that `images` stores, cuts off the banner and squishes. The original's reads the photographs as they came:
`DataBlock((ImageBlock, CategoryBlock), …, item_tfms=[Resize(224)], batch_tfms=aug_transforms())`. Both have the same
augmentation, division, batch size and number of processes, and go once through all batches of both sides. The richer
augmentation of `finetune` costs more; its time is said beside. So is what making the copies takes, which is not
counted, since `images` does it once and not in every epoch.

The epoch: the same network from the same weights and seed, all of it learning, on the same photographs from either
loader, ours with its own augmentation. No drawing is on two sides, or copies of it would be recognised; that leaves few
drawings to validate on, so the errors beside are coarse.

The probe: CAMTRAPS_FRAMES names a folder of real frames with a `manifest.csv` (`path`, `label`, `seq_id`). Whole bursts
are on one side. Both are timed from files to the predictions of the validation frames, fine-tuning for 5 epochs as the
room does it, with the probe that it starts from."""
import os
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from bench_images import DRAWN, SIDE, draw

WORKERS = 2


def drawn_labels() -> list[str]:
    "Say what the drawn photographs show."
    from urbanrivers_camtraps.foundations.sandbox import make_sandbox
    return make_sandbox('small').media.label.iloc[:7*DRAWN:7].tolist()


def write(drawings: list[bytes], labels: list[str], count: int, folder: Path) -> pd.DataFrame:
    "Write photographs as they come from the site, one folder a class; give their table."
    rows = []
    for number in range(count):
        label = labels[number % DRAWN]
        path = folder/label/f'{number:05}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawings[number % DRAWN] + number.to_bytes(8))
        rows.append({'whole': path, 'label': label, 'drawing': number % DRAWN})
    return pd.DataFrame(rows)


def shrink(photographs: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, float]:
    "Make the copies that `images` stores; add their `path`, and say how many seconds it took."
    from urbanrivers_camtraps.images.download import make_copy
    folder.mkdir()

    def copy(whole: Path) -> str:
        path = folder/whole.name
        path.write_bytes(make_copy(whole.read_bytes(), whole.stem, path.name, SIDE)[1])
        return str(path)
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool: paths = list(pool.map(copy, photographs.whole))
    return photographs.assign(path=paths), time.perf_counter() - began


def divided(photographs: pd.DataFrame, column: str | None = None, seed: int = 42) -> pd.DataFrame:
    "Set a fifth apart as fastai's `RandomSplitter(.2, seed=42)` does it; whole groups where a column names them."
    from fastai.data.transforms import RandomSplitter
    group = photographs[column] if column else pd.Series(photographs.index, photographs.index)
    names = group.drop_duplicates().to_list()
    valid = {names[o] for o in RandomSplitter(.2, seed=seed)(names)[1]}
    return photographs.assign(split=group.isin(valid).map({True: 'valid', False: 'train'}))


def our_loaders(photographs: pd.DataFrame, recipe, own: bool = True):
    "Make ours, with all augmentation of the fine-tuning room, or with the original's."
    from fastai.vision.augment import aug_transforms

    from urbanrivers_camtraps.training.finetune import augmentations
    from urbanrivers_camtraps.training.learner import make_dataloaders
    return make_dataloaders(photographs, recipe, augmentations(recipe) if own else aug_transforms(), WORKERS)


def original_loaders(photographs: pd.DataFrame, recipe, normalize: bool = False):
    "Make the original's, on the same sides; normalised, as `vision_learner` adds it, where a network is trained."
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import IndexSplitter, Normalize, parent_label
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.data import ImageBlock
    valid = [number for number, split in enumerate(photographs.split) if split == 'valid']
    block = DataBlock((ImageBlock, CategoryBlock(vocab=sorted(photographs.label.unique()))), get_items=lambda table: table.whole.tolist(),
                      splitter=IndexSplitter(valid), get_y=parent_label, item_tfms=[Resize(recipe.size)],
                      batch_tfms=aug_transforms() + ([Normalize.from_stats(recipe.mean, recipe.std, cuda=False)] if normalize else []))
    return block.dataloaders(photographs, bs=recipe.batch_size, num_workers=WORKERS)


def once_through(loaders) -> tuple[float, int]:
    "Go through all batches of both sides; give the seconds and the photographs seen."
    began, seen = time.perf_counter(), 0
    for side in loaders:
        for batch in side: seen += len(batch[0])
    return time.perf_counter() - began, seen


def loader(photographs: pd.DataFrame, shrunk: float) -> dict:
    "Hold the loaders against each other, on one random division."
    from urbanrivers_camtraps.training.preprocess import Recipe
    table = divided(photographs)
    seconds, seen = once_through(our_loaders(table, Recipe(), own=False))
    own_seconds, _ = once_through(our_loaders(table, Recipe()))
    rival_seconds, rival_seen = once_through(original_loaders(table, Recipe()))
    assert seen == rival_seen, (seen, rival_seen)
    what = (f'load {seen:,} photographs of 10 megapixels in batches of 32, {WORKERS} processes, from the copies of {SIDE} px '
            f'(decoded once by `images`: {shrunk:.1f} s for {len(table):,})')
    rival = f"the original's on the photographs as they came; ours with the augmentation of `finetune`: {own_seconds:.1f} s"
    return {'what': what, 'rival': rival, 'seconds': seconds,
            'rival_seconds': rival_seconds, 'ratio': rival_seconds/seconds, 'wanted': 5}


def one_epoch(loaders, recipe, classes: int) -> tuple[float, float]:
    "Train the whole network for an epoch; give the seconds and the validation error."
    from fastai.callback import progress, schedule  # noqa: F401 -- they give Learner `no_bar` and `fit_one_cycle`
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import error_rate
    from fastai.torch_core import set_seed

    from urbanrivers_camtraps.training.backbones import make_model
    set_seed(recipe.seed, reproducible=True)
    model, _ = make_model(recipe, classes)
    learner, began = Learner(loaders, model.to(loaders.device), CrossEntropyLossFlat(), metrics=error_rate), time.perf_counter()
    with learner.no_bar(), learner.no_logging(): learner.fit_one_cycle(1, recipe.learning_rate)
    return time.perf_counter() - began, learner.recorder.final_record[-1]


def epoch(photographs: pd.DataFrame) -> dict:
    "Hold one epoch from either loader against the other."
    from urbanrivers_camtraps.training.backbones import make_model
    from urbanrivers_camtraps.training.preprocess import Recipe
    table, (_, recipe) = divided(photographs, 'drawing'), make_model(Recipe(), 2)
    seconds, error = one_epoch(our_loaders(table, recipe), recipe, table.label.nunique())
    rival_seconds, rival_error = one_epoch(original_loaders(table, recipe, normalize=True), recipe, table.label.nunique())
    valid = table[table.split == 'valid']
    what = (f'an epoch of {recipe.backbone} on {len(table) - len(valid)} photographs of 10 megapixels, validation error {error:.2f} on '
            f'{len(valid)} of {valid.drawing.nunique()} drawings')
    return {'what': what, 'rival': f"the original's loader, validation error {rival_error:.2f}", 'seconds': seconds,
            'rival_seconds': rival_seconds, 'ratio': rival_seconds/seconds}


def fitted(fit, frames: pd.DataFrame, recipe) -> tuple[float, float]:
    "Time a way of training, from files to predictions; give the seconds and the validation error."
    from urbanrivers_camtraps.training.probe import learner_predictions
    began = time.perf_counter()
    predictions = learner_predictions(fit(frames, recipe), frames[frames.split == 'valid'])
    return time.perf_counter() - began, float((predictions.prediction != predictions.label).mean())


def read_frames(folder: Path, count: int | None) -> pd.DataFrame:
    "Read real frames; whole bursts are on one side."
    frames = pd.read_csv(folder/'manifest.csv').head(count)
    return divided(frames.assign(path=[str(folder/o) for o in frames.path]), 'seq_id')


def probe_on_frames(count: int | None = None, epochs: int = 5) -> dict:
    "Hold the probe against fine-tuning, on real frames."
    what = 'the probe on real frames against fine-tuning'
    if not os.environ.get('CAMTRAPS_FRAMES'):
        return {'what': what, 'skipped': 'CAMTRAPS_FRAMES, a folder of frames with a `manifest.csv`, is not set'}
    from urbanrivers_camtraps.training.finetune import finetune
    from urbanrivers_camtraps.training.preprocess import Recipe
    from urbanrivers_camtraps.training.probe import probe
    frames, recipe = read_frames(Path(os.environ['CAMTRAPS_FRAMES']), count), Recipe(epochs=epochs)
    print(f'fine-tuning on {len(frames):,} frames for {epochs} epochs takes its time: some five minutes on two cores for 1,460', file=sys.stderr)
    seconds, error = fitted(probe, frames, recipe)
    rival_seconds, rival_error = fitted(finetune, frames, recipe)
    return {'what': f'`probe` on {len(frames):,} real frames, end to end, error {error:.3f} on bursts not trained on',
            'rival': f'`finetune`, {epochs} epochs, error {rival_error:.3f}', 'seconds': seconds, 'rival_seconds': rival_seconds,
            'ratio': rival_seconds/seconds, 'wanted': 4}


def torch_features(body, batches, recipe) -> None:
    "Take features as it was done before: by torch, 32 at once, in bfloat16 where the processor gains by it."
    import torch

    from urbanrivers_camtraps.training.features import quick_precision
    from urbanrivers_camtraps.training.preprocess import normalise
    with torch.no_grad(), quick_precision():
        for pixels in batches:
            for start in range(0, len(pixels), 32):
                body(normalise(pixels[start:start + 32], recipe.mean, recipe.std)).float().numpy()


def features_of_frames(count: int | None = None) -> dict:
    "Hold the processor time of features by onnxruntime against that of torch, with decoding, Lite2 at 320 pixels."
    import torch

    from urbanrivers_camtraps.training.backbones import make_body
    from urbanrivers_camtraps.training.features import feature_engine
    from urbanrivers_camtraps.training.preprocess import Recipe, frame_views, pixel_batches
    what = 'features of real frames by onnxruntime against torch'
    if not os.environ.get('CAMTRAPS_FRAMES'):
        return {'what': what, 'skipped': 'CAMTRAPS_FRAMES, a folder of frames with a `manifest.csv`, is not set'}
    frames = read_frames(Path(os.environ['CAMTRAPS_FRAMES']), count)
    body, statistics = make_body('tf_efficientnet_lite2', size=320)
    recipe = Recipe('tf_efficientnet_lite2', 320, **statistics)
    table, body, seconds = frame_views(frames, recipe)[0], body.eval(), []
    began = time.process_time()
    engine = feature_engine(body, recipe)
    for pixels in pixel_batches(table, 320): engine.take(pixels)
    seconds.append(time.process_time() - began)
    body, began = body.to(memory_format=torch.channels_last), time.process_time()
    torch_features(body, pixel_batches(table, 320), recipe)
    seconds.append(time.process_time() - began)
    return {'what': f'processor time of features of {len(frames):,} real frames with decoding and export, Lite2 at 320 pixels, {engine.name}',
            'rival': 'torch', 'seconds': seconds[0], 'rival_seconds': seconds[1], 'ratio': seconds[1]/seconds[0], 'wanted': 3.3}


def main(
    count: int = 1000, # photographs for the loader
    epoch_count: int = 200, # for the epoch
    frames: int | None = None, # for the probe; all by default
    epochs: int = 5, # of its rival
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the drawn photographs
) -> list[dict]:
    "Measure loader, epoch and probe."
    warnings.filterwarnings('ignore')
    with tempfile.TemporaryDirectory() as folder:
        photographs = write(draw(cache), drawn_labels(), max(count, epoch_count), Path(folder)/'whole')
        photographs, shrunk = shrink(photographs, Path(folder)/'images')
        found = [loader(photographs.head(count), shrunk), epoch(photographs.head(epoch_count))]
    return [*found, features_of_frames(frames), probe_on_frames(frames, epochs)]


if __name__ == '__main__':
    from bench import line
    for one in main(): print(line(one), flush=True)
