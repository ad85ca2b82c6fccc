"""Writing a bundle: an earlier one is replaced, the learner stays as it is, and nothing but a bundle is ever replaced."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')

from urbanrivers_camtraps.foundations.core import CamtrapsError  # noqa: E402
from urbanrivers_camtraps.foundations.outputs import overwriting  # noqa: E402
from urbanrivers_camtraps.foundations.provenance import Provenance, drawn_exif, is_drawn  # noqa: E402
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


@pytest.mark.parametrize('origin, tag', [(Provenance(131, drawn=131), 'trained-on-drawings'), (Provenance(131, drawn=1), 'trained-on-drawings'),
                                         (None, 'origin-not-known'), (Provenance(131), None)])
def test_a_bundle_of_drawings_is_published_only_if_that_is_asked_for(tmp_path, origin, tag):
    publish = pytest.importorskip('urbanrivers_camtraps.apps.hub').publish
    folder = write_bundle(tiny_learner(('blank', 'Castor canadensis')), tmp_path/'bundle', provenance=origin, trained='2026-03-01')
    for kind, card in (('model', 'README.md'), ('space', 'README.md')):
        if origin and origin.drawn:
            with pytest.raises(CamtrapsError, match='add --drawn'):
                publish(kind, 'me/it', folder, dry_run=True, folder=tmp_path/kind)
            assert not (tmp_path/kind).exists()
        published = publish(kind, 'me/it', folder, dry_run=True, folder=tmp_path/kind, drawn=True)
        _, header, body = (published.folder/card).read_text('utf-8').split('---\n', 2)
        first = [o for o in body.splitlines() if o and not o.startswith('#')][0]
        assert (tag in header) if tag else 'drawings' not in header
        assert first.startswith({'trained-on-drawings': '**For practice only', 'origin-not-known': '**Whether'}.get(tag, 'It was trained'))
    description = read_bundle(folder).description
    assert (description.provenance, description.trained) == (origin, '2026-03-01')


def test_examples_of_drawings_stay_marked_and_classes_are_no_markdown(tmp_path):
    drawing = golden_photographs()['portrait']
    drawing.save(tmp_path/'a.jpg', exif=drawn_exif())
    drawing.save(tmp_path/'b.jpg')
    folder = write_bundle(tiny_learner(('A|b', 'C <img>')), tmp_path/'bundle', examples={'A|b': tmp_path/'a.jpg', 'C <img>': tmp_path/'b.jpg'})
    assert sorted(map(is_drawn, (folder/'examples').iterdir())) == [False, True]
    card = (folder/'README.md').read_text('utf-8')
    assert r'A\|b' in card and '<img>' not in card


def test_what_somebody_keeps_in_a_bundle_is_not_removed(tmp_path):
    folder = write_bundle(tiny_learner(('a', 'b')), tmp_path/'bundle')
    (folder/'notes.txt').write_text('do not lose')
    with pytest.raises(BundleError, match='holds notes.txt'): write_bundle(tiny_learner(('a', 'b')), folder)
    assert (folder/'notes.txt').read_text() == 'do not lose'
    with overwriting(): write_bundle(tiny_learner(('a', 'b')), folder)
    assert not (folder/'notes.txt').exists()


class Pooled(torch.nn.Module):
    "A convolution, a pooling that is given, and a head."
    def __init__(self, features: int, pool):
        super().__init__()
        self.body, self.head, self.pool = torch.nn.Conv2d(3, 16, 5, 8), torch.nn.Linear(features, 3), pool
    def grid(self, x): return torch.nn.functional.relu6(self.body(x)*4)  # some cells are cut off at the same 6
    def forward(self, x): return self.head(self.pool(self.grid(x)))*3 - 1


def both(x): return torch.cat((x.amax((2, 3)), x.mean((2, 3))), 1)
def average(x): return torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
def rooted(x): return x.mean((2, 3)).sqrt()  # not linear: no map can be made


def pooled_learner(features, pool):
    "Something like a Learner, whose network pools in this way."
    torch.manual_seed(1)
    recipe = SimpleNamespace(backbone='tiny', size=64, trim_top=.05, trim_bottom=.1, mean=(.5,)*3, std=(.25,)*3)
    return SimpleNamespace(model=Pooled(features, pool).eval(), recipe=recipe, dls=SimpleNamespace(vocab=['a', 'b', 'c']), temperature=1.7)


@pytest.mark.parametrize('features, pool', [(16, average), (32, both)])
def test_the_means_of_the_activation_are_the_logits(tmp_path, features, pool):
    learner = pooled_learner(features, pool)
    bundle = read_bundle(write_bundle(learner, tmp_path/'bundle'))
    assert bundle.description.activation == (8, 8)
    for photograph in golden_photographs().values():
        scores, activation = bundle.locate(photograph)
        means = activation.mean((1, 2))
        assert np.abs(np.exp(means)/np.exp(means).sum() - scores).max() < 1e-5
        assert np.array_equal(scores, bundle(photograph)) and np.ptp(activation[0]) > .1


def test_the_activation_is_what_the_head_makes_of_each_cell(tmp_path):
    "By hand, as Zhou et al. 2016 have it: weights times the last grid, plus the bias."
    learner = pooled_learner(16, average)
    network, pixels = learner.model, np.full((64, 64, 3), 128, 'uint8')
    pixels[8:24, 40:56] = 250
    bundle = read_bundle(write_bundle(learner, tmp_path/'bundle'))
    with torch.no_grad():
        grid = network.grid(torch.from_numpy(pixels).permute(2, 0, 1)[None]/255*4 - 2)[0]
        expected = (torch.einsum('cf,fyx->cyx', network.head.weight, grid) + network.head.bias[:, None, None])*3 - 1
    activation = bundle.locate(pixels, trim=(0, 0))[1]
    assert np.abs(activation - expected.numpy()/1.7).max() < 1e-4
    surprise = np.abs(activation - np.median(activation, (1, 2), keepdims=True)).max(0)
    assert {(int(y), int(x)) for y, x in np.argwhere(surprise > .05)} <= {(y, x) for y in (0, 1, 2, 3) for x in (4, 5, 6, 7)}


def test_a_network_that_does_not_pool_a_grid_has_no_activation(tmp_path):
    bundle = read_bundle(write_bundle(pooled_learner(16, rooted), tmp_path/'bundle'))
    assert bundle.description.activation is None and bundle.features == 16
    assert bundle.locate(golden_photographs()['portrait'])[1] is None


@pytest.mark.parametrize('precision, apart', [('float16', 1e-5), ('int8', .02)])
def test_smaller_models_have_the_activation_too(tmp_path, precision, apart):
    quantise = pytest.importorskip('urbanrivers_camtraps.training.quantise')
    pandas = pytest.importorskip('pandas')
    folder = write_bundle(pooled_learner(32, both), tmp_path/'bundle')
    paths = sorted((folder/'golden').iterdir())
    quantise.add_quantised(folder, precision, paths, pandas.DataFrame({'path': paths, 'label': 'a'}), max_loss=2)
    scores, activation = read_bundle(folder, precision=precision).locate(golden_photographs()['portrait'])
    means = np.exp(activation.mean((1, 2)))
    assert np.abs(means/means.sum() - scores).max() < apart


def test_eight_bits_do_not_overflow_without_vnni(tmp_path):
    "Processors without it add two products of a uint8 and an int8 in 16 bits: 2 × 255 × 64 fits, 2 × 255 × 127 does not."
    quantise, onnx = pytest.importorskip('urbanrivers_camtraps.training.quantise'), pytest.importorskip('onnx')
    folder = write_bundle(pooled_learner(32, both), tmp_path/'bundle')
    graph = onnx.load_from_string(quantise.to_int8(folder, sorted((folder/'golden').iterdir()))).graph
    weights = [onnx.numpy_helper.to_array(o) for o in graph.initializer if o.data_type == onnx.TensorProto.INT8 and len(o.dims) > 1]
    assert weights and 2*255*max(np.abs(o.astype(int)).max() for o in weights) < 2**15
