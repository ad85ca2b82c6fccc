"""What the tests share: a bundle whose network is tiny and has learned nothing, and a photograph to show it."""
from pathlib import Path
from types import SimpleNamespace

import pytest

from urbanrivers_camtraps.training.bundle_format import golden_photographs
from urbanrivers_camtraps.training.export import write_bundle

CLASSES = ['Actitis macularius', 'Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', 'blank']


@pytest.fixture(scope='session')
def photograph(tmp_path_factory) -> Path:
    "A drawn photograph as JPEG."
    path = tmp_path_factory.mktemp('photographs')/'photograph.jpg'
    golden_photographs()['landscape'].save(path, quality=90)
    return path


@pytest.fixture(scope='session')
def bundle_folder(tmp_path_factory, photograph) -> Path:
    "A bundle with one example photograph."
    import torch

    class Tiny(torch.nn.Module):
        "A convolution and a head."
        def __init__(self):
            super().__init__()
            self.body, self.head = torch.nn.Conv2d(3, 16, 5, 4), torch.nn.Linear(16, len(CLASSES))
        def forward(self, x): return self.head(self.body(x).relu().mean((2, 3)))*10

    torch.manual_seed(0)
    recipe = SimpleNamespace(backbone='tiny', size=64, trim_top=.05, trim_bottom=.05, mean=(.5,)*3, std=(.25,)*3)
    learner = SimpleNamespace(model=Tiny(), recipe=recipe, dls=SimpleNamespace(vocab=CLASSES))
    folder = tmp_path_factory.mktemp('bundle')/'bundle'
    return write_bundle(learner, folder, examples={'Branta canadensis': photograph})
