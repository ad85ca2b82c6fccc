"""Writing a bundle: an earlier one is replaced, the learner stays as it is, and nothing but a bundle is ever replaced."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')

from urbanrivers_camtraps.inference.bundle import read_bundle  # noqa: E402
from urbanrivers_camtraps.training.bundle_format import BundleError, golden_photographs  # noqa: E402
from urbanrivers_camtraps.training.export import write_bundle  # noqa: E402


def tiny_learner(classes: tuple[str, ...]) -> SimpleNamespace:
    "Something like a Learner."
    class Tiny(torch.nn.Module):
        "A convolution and a head."
        def __init__(self):
            super().__init__()
            self.body, self.head = torch.nn.Conv2d(3, 16, 5, 4), torch.nn.Linear(16, len(classes))
        def forward(self, x): return self.head(self.body(x).relu().mean((2, 3)))*10

    torch.manual_seed(0)
    recipe = SimpleNamespace(backbone='tiny', size=64, trim_top=.05, trim_bottom=.1, mean=(.5, .4, .3), std=(.2, .25, .3))
    return SimpleNamespace(model=Tiny(), recipe=recipe, dls=SimpleNamespace(vocab=list(classes)))


@pytest.fixture
def goose(tmp_path) -> Path:
    "A drawn photograph."
    golden_photographs()['portrait'].save(tmp_path/'goose.jpg')
    return tmp_path/'goose.jpg'


def test_a_second_bundle_takes_the_place_of_the_first(tmp_path, goose):
    folder, learner = tmp_path/'bundles'/'bundle', tiny_learner(('blank', 'human'))
    write_bundle(tiny_learner(('a', 'b', 'c')), folder)
    learner.model.train()
    write_bundle(learner, folder, examples={'blank': goose})
    second = read_bundle(folder)
    assert learner.model.training  # the learner is left as it was
    assert second.classes == ('blank', 'human') and second.common_names['blank'] == 'No Animal Detected'
    assert 'examples/blank.jpg' in second.description.files
    assert [o.name for o in folder.parent.iterdir()] == ['bundle']  # nothing is left behind
    with pytest.raises(BundleError, match='shows a person'): write_bundle(learner, folder, examples={'human': goose})
    assert read_bundle(folder).description == second.description


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path/'diary.txt').write_text('mine')
    with pytest.raises(BundleError, match='would be replaced'): write_bundle(tiny_learner(('a', 'b')), tmp_path/'diary.txt')
    assert (tmp_path/'diary.txt').read_text() == 'mine'


def test_the_graph_rounds_as_python_does():
    "In float32, as in the graph; at some exact halves it is another row."
    heights = np.arange(1, 5000)
    for fraction in (.03, .05, .07, .1, .15, .25):
        rows = np.rint(np.float32(fraction)*heights.astype(np.float32)) - [round(fraction*int(o)) for o in heights]
        assert np.abs(rows).max() <= 1 and (rows != 0).mean() < .01
