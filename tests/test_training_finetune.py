"""Two processes on the CPU train one network: same weights in both, one checkpoint that one process can read as well, and a killed run goes on."""
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from fastai.callback.core import Callback
from PIL import Image
from torch import nn

from urbanrivers_camtraps.foundations.core import HUMAN, atomic_path
from urbanrivers_camtraps.training.finetune import finetune, plot_augmented
from urbanrivers_camtraps.training.preprocess import Recipe

RECIPE = Recipe(size=64, C=1e-4, epochs=2, batch_size=2, learning_rate=.01)


def body() -> nn.Module:
    "A tiny body with batch norm, which is another one in each process."
    torch.manual_seed(int(os.environ.get('RANK', 2)))
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Watch(Callback):
    "Note what seeds chance, and the first weights, at each epoch's start; where `pause` is a folder, stay in the second epoch until killed."
    def __init__(self, pause: Path | None = None): self.pause, self.seeds, self.lower = pause, [], []

    def before_train(self):
        self.seeds.append(torch.initial_seed())
        self.lower.append(next(self.model.parameters()).detach().clone())
        if self.pause and self.epoch == 1:
            with atomic_path(self.pause/f"{os.environ['RANK']}.pid") as path: path.write_text(str(os.getpid()))
            while True: signal.pause()


class PowerCut(Callback):
    "Stop at the start of the second epoch."
    def before_epoch(self):
        if self.epoch == 1: raise InterruptedError('power cut')


def train(folder: Path, name: str, pause: bool = False) -> None:
    "Fine-tune in one of the processes, and keep what it ended with."
    from fastai.distributed import DistributedDL
    orders = []

    def broadcast(self, order: list[int], rank: int) -> list[int]:
        "Do what fastai does, which puts the order on a GPU, on the CPU."
        orders.append(order)
        order = torch.tensor(order)
        torch.distributed.broadcast(order, rank)
        return order.tolist()

    DistributedDL._broadcast = broadcast
    watch = Watch(folder if pause else None)
    recipe = replace(RECIPE, batch_size=28) if name == 'large' else RECIPE
    own = folder/(f'{name}-elsewhere' if int(os.environ['RANK']) else name)  # the second process is on another machine
    learner = finetune(pd.read_parquet(folder/'photographs.parquet'), recipe, body(), own, folder/'features', progress=False, callbacks=(watch,),
                       keep_better=False)
    torch.save({'weights': learner.model.state_dict(), 'seeds': watch.seeds, 'lower': watch.lower, 'orders': orders},
               folder/f"{name}-{os.environ['RANK']}.pt")


@pytest.fixture
def folder(tmp_path) -> Path:
    "A folder with 40 drawn photographs, of red discs and of blue ones, and their table."
    chance, (y, x), rows = np.random.default_rng(0), np.mgrid[:64, :64], []
    for number in range(40):
        label, pixels = ('red', 'blue')[number % 2], chance.normal(100, 20, (64, 64, 3))
        pixels[(x - chance.integers(16, 48))**2 + (y - chance.integers(16, 48))**2 < 300, 2*(number % 2)] += 100
        Image.fromarray(pixels.clip(0, 255).astype('uint8')).save(path := tmp_path/f'{number}.png')
        rows.append({'media_id': str(number), 'path': str(path), 'label': label, 'sha256': str(number), 'split': 'train' if number < 28 else 'valid'})
    pd.DataFrame(rows).to_parquet(tmp_path/'photographs.parquet')
    return tmp_path


@contextmanager
def launched(folder: Path, *runs: str) -> Iterator[subprocess.Popen]:
    "Start two processes that do `runs` one after the other; end them in any case."
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', __file__, str(folder), *runs]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try: yield running
        finally: running.terminate()  # which ends both


def history(folder: Path, name: str) -> pd.DataFrame: return pd.read_csv(folder/name/'history.csv')


def ended(folder: Path, name: str) -> list[dict]: return [torch.load(folder/f'{name}-{rank}.pt') for rank in (0, 1)]


def assert_same(one: dict, other: dict) -> None:
    "Two networks have the same weights."
    assert list(one) == list(other) and all(torch.equal(one[o], other[o]) for o in one)


def test_two_processes_train_one_network_and_a_killed_run_goes_on(folder):
    photographs = pd.read_parquet(folder/'photographs.parquet')
    with launched(folder, 'whole', 'killed:pause') as running:
        ends = time.monotonic() + 400
        while len(found := list(folder.glob('*.pid'))) < 2 and running.poll() is None and time.monotonic() < ends: time.sleep(.1)
        if len(found) < 2: running.terminate()
        assert len(found) == 2, running.communicate()[0]
        for victim in (running, *[psutil.Process(int(o.read_text())) for o in found]): victim.send_signal(signal.SIGKILL)
        running.communicate()

    first, second = ended(folder, 'whole')
    assert_same(first['weights'], second['weights'])
    assert len(first['orders']) == 4 and first['orders'] == second['orders']  # two epochs, training and validation: alike without being told
    assert not set(first['seeds']) & set(second['seeds'])
    assert torch.equal(*first['lower']) and not torch.equal(first['lower'][1], first['weights']['0.0.weight'])  # frozen in the first epoch only
    assert not list(folder.glob('*-elsewhere'))  # the second process writes nothing
    whole = history(folder, 'whole')
    assert list(whole.epoch) == [0, 1] and whole.valid_loss[1] < whole.valid_loss[0] - .03 and whole.train_loss.is_monotonic_decreasing
    assert history(folder, 'killed').equals(whole.head(1))

    # what two processes began, one goes on with; and the other way round
    shutil.copytree(folder/'killed', folder/'one')
    watch = Watch()
    finetune(photographs, RECIPE, body(), folder/'one', progress=False, callbacks=(watch,), keep_better=False)
    assert len(watch.seeds) == 1 and history(folder, 'one').head(1).equals(whole.head(1))
    assert history(folder, 'one').valid_loss[1] < whole.valid_loss[0] - .03
    with pytest.raises(InterruptedError): finetune(photographs, RECIPE, body(), folder/'begun', progress=False, callbacks=(PowerCut(),), keep_better=False)
    begun = history(folder, 'begun')

    with launched(folder, 'killed', 'begun', 'large') as running: output = running.communicate(timeout=120)[0]
    assert (folder/'large-1.pt').exists(), output
    for name in ('killed', 'begun'):
        first, second = ended(folder, name)
        assert_same(first['weights'], second['weights'])
        assert list(history(folder, name).epoch) == [0, 1] and len(first['seeds']) == len(second['seeds']) == 1  # the first epoch was not done again
    assert history(folder, 'begun').head(1).equals(begun)
    for one, other in zip(ended(folder, 'killed')[0]['weights'].values(), ended(folder, 'whole')[0]['weights'].values()):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    large = ended(folder, 'large')[0]
    assert not torch.equal(large['lower'][1], large['weights']['0.0.weight'])  # it learned, though a batch is larger than the share of a process


def test_only_what_is_not_a_person_is_drawn(folder):
    photographs = pd.read_parquet(folder/'photographs.parquet').assign(label=lambda o: o.label.replace({'red': 'Branta canadensis', 'blue': HUMAN}))
    for some in (photographs, photographs[photographs.label != HUMAN], photographs[photographs.label != HUMAN].head(3)):  # fewer than are shown
        panel = plot_augmented(some, RECIPE)
        assert {ax.get_title('left') for ax in panel.axes} - {''} == {'Canada Goose'}
    people = plot_augmented(photographs[photographs.label == HUMAN], RECIPE)
    assert (len(people.axes), len(people.axes[0].images)) == (1, 0)
    plt.close('all')


if __name__ == '__main__':
    for run in sys.argv[2:]: train(Path(sys.argv[1]), *run.split(':')[:1], pause=run.endswith(':pause'))
