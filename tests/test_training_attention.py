"""Heat is asked for in every way, for any convolutional body, and leaves the learner as it was; people are never drawn."""
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
pytest.importorskip('fastai')

from torch import nn  # noqa: E402

from urbanrivers_camtraps.foundations.core import HUMAN, VEHICLE  # noqa: E402
from urbanrivers_camtraps.training.attention import _choose, activation, plot_activation  # noqa: E402
from urbanrivers_camtraps.training.backbones import make_body  # noqa: E402
from urbanrivers_camtraps.training.learner import make_learner  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe, TrainError  # noqa: E402
from urbanrivers_camtraps.training.probe import learner_predictions, probe  # noqa: E402

UNCUT = Recipe(size=64, trim_top=0, trim_bottom=0)


def tiny_body() -> nn.Module:
    "A convolution and a pool."
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture(scope='module')
def squares(tmp_path_factory) -> pd.DataFrame:
    "Sixteen squares, half red and half blue."
    folder, random, rows = tmp_path_factory.mktemp('squares'), np.random.default_rng(0), []
    for number in range(16):
        square = random.integers(0, 80, (64, 64, 3), dtype='uint8')
        square[20:40, 20:40, 2*(number % 2)] = 250
        Image.fromarray(square).save(folder/f'{number}.png')
        rows.append({'path': str(folder/f'{number}.png'), 'label': ['red', 'blue'][number % 2], 'split': 'train' if number < 8 else 'valid'})
    return pd.DataFrame(rows)


@pytest.fixture(scope='module')
def learner(squares):
    "A probe that tells red from blue."
    return probe(squares, UNCUT, tiny_body())


@pytest.fixture
def judged(learner, squares) -> pd.DataFrame:
    "Right predictions of validation squares."
    table = learner_predictions(learner, squares[squares.split == 'valid'])
    right = table[table.prediction == table.label]
    assert len(right) >= 4 and set(right.label) == {'red', 'blue'}
    return right


def test_the_class_is_asked_for_in_every_way(learner, judged):
    heats = activation(learner, judged)
    assert np.array_equal(activation(learner, judged, 'label'), heats)  # every prediction is right
    assert np.array_equal(activation(learner, judged.drop(columns=['prediction', 'label'])), heats)  # the learner is asked
    assert np.array_equal(activation(learner, judged.assign(split='test'), final=True), heats)
    with torch.no_grad(): assert np.array_equal(activation(learner, judged), heats)  # also if gradients are switched off
    assert activation(learner, judged.head(0)).shape == (0, 64, 64)
    assert all(o.grad is None for o in learner.model.parameters())  # nothing is left behind
    with pytest.raises(TrainError, match='does not know green'): activation(learner, judged.assign(label='green'), 'label')


def test_any_convolutional_body_has_heat(squares, judged):
    for body in (tiny_body(), make_body('resnet18', pretrained=False)[0]):
        learner = make_learner(squares, UNCUT, body)
        assert activation(learner, judged.drop(columns='prediction').head(2)).shape == (2, 64, 64)
    with torch.no_grad():
        for name in ('weight', 'bias'): getattr(learner.model[1], name).zero_()
    assert activation(learner, judged.head(2)).max() == 0  # nothing spoke


def test_with_motion_the_whole_frame_is_shown(squares, judged):
    moved = squares.assign(motion_left=.5, motion_top=.5, motion_right=1., motion_bottom=1.)
    learner = make_learner(moved, Recipe(size=64, trim_top=0, trim_bottom=0, motion=True), tiny_body())
    assert activation(learner, judged).shape == (len(judged), 64, 64)


def test_errors_and_right_answers_share_the_panel():
    table = pd.DataFrame({'label': [*'aaaabb', HUMAN, 'a', 'b'], 'prediction': [*'aaaaaa', 'a', VEHICLE, 'b'],
                          'score': [.9, .8, .7, .6, .5, .4, 1, 1, .3]})
    assert _choose(table, 4).index.tolist() == [4, 5, 0, 1]
    assert _choose(table, 6).index.tolist() == [4, 5, 0, 1, 2, 3]  # fewer errors than half
    assert _choose(table.tail(2), 4).index.tolist() == [8]
    assert _choose(table[table.label == 'b'].head(2), 8).index.tolist() == [4, 5]  # nothing right


def test_people_are_not_drawn_and_any_index_will_do(learner, judged):
    people = plot_activation(learner, judged.assign(label=HUMAN))
    assert sum(len(ax.images) for ax in people.axes) == 0
    plain = judged.drop(columns=['prediction', 'score', 'scores'])
    panel = plot_activation(learner, plain.set_index(np.zeros(len(plain), int)), count=3)  # rows with one index
    assert [len(ax.images) for ax in panel.axes] == [2, 2, 2, 0]
    plt.close('all')
