"""What the tests share: a bundle whose network is tiny and has learned nothing, a photograph to show it, and what the demo makes."""
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from playwright.sync_api import expect

from commands import script
from urbanrivers_camtraps.training.bundle_format import golden_photographs
from urbanrivers_camtraps.training.export import write_bundle

expect.set_options(timeout=60_000)  # of a busy machine; passing takes a second

CLASSES = ['Actitis macularius', 'Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', 'blank']

#: What takes longest begins first, so that all workers end at about the same time.
SLOW = ('path_training', 'path', 'docs', 'votes_newer', 'apps_hub', 'apps_web_visit', 'votes_api', 'dataset_resume', 'wheel', 'apps_app',
        'survey_sample', 'apps_web', 'review_season', 'fuzz', 'training_speciesnet', 'training_backbones', 'training_finetune', 'import_season',
        'review_teaches', 'inference_detector_json', 'survey_camtrap_dp', 'inference_motion_crop', 'foundations_outputs', 'apps_train',
        'survey_health', 'inference_season', 'inference_ray')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    "Put the files of `SLOW` first, in that order."
    place = {f'test_{name}': number for number, name in enumerate(SLOW)}
    items.sort(key=lambda o: place.get(o.path.stem, len(place)))


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


@pytest.fixture(scope='session')
def demo(tmp_path_factory) -> tuple[Path, str]:
    "The demo's folder, and what the demo printed: made once for all workers. A test that writes copies it."
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base)/'made_by_the_demo'
    folder.mkdir(exist_ok=True)
    with FileLock(folder/'lock'):
        if not (folder/'printed.txt').exists():
            done = script('demo', folder=folder)
            assert done.returncode == 0, done.stderr
            (folder/'printed.txt').write_text(done.stdout, encoding='utf-8')
    return folder/'demo', (folder/'printed.txt').read_text(encoding='utf-8')
