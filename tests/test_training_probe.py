"""A probe is the same with the same seed, whatever is cached, and for two classes as for nine; folds are what they claim to be."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
pytest.importorskip('fastai')

from urbanrivers_camtraps.training.learner import make_dataloaders  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe, TrainError, load_pixels  # noqa: E402
from urbanrivers_camtraps.training.probe import (  # noqa: E402
    features,
    learner_predictions,
    learning_points,
    out_of_fold,
    probe,
    search_recipes,
    unknown_classes,
)

SMALL = Recipe(size=64)
COLOURS = {'blue': (30, 60, 220), 'green': (30, 180, 40), 'red': (220, 50, 30)}


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> pd.DataFrame:
    "Forty-eight drawn photographs of three classes: discs on noise; some are in the test set."
    folder, random, rows = tmp_path_factory.mktemp('drawn'), np.random.default_rng(0), []
    y, x = np.mgrid[:72, :96]
    for number in range(48):
        label = sorted(COLOURS)[number % 3]
        pixels = random.integers(80, 140, (72, 96, 3), dtype='uint8')
        pixels[(x - random.integers(20, 76))**2 + (y - random.integers(20, 52))**2 < 250] = COLOURS[label]
        Image.fromarray(pixels).save(folder/f'{number}.png')
        rows.append({'media_id': str(number), 'path': str(folder/f'{number}.png'), 'sha256': f'{number:064x}', 'label': label,
                     'burst_id': str(number//6), 'fold': number//6 % 3, 'split': ('train', 'train', 'valid', 'test')[number//12]})
    return pd.DataFrame(rows, index=range(100, 148))


@pytest.fixture(scope='module')
def learner(photographs):
    "A probe of them."
    return probe(photographs, SMALL)


def scores(table: pd.DataFrame) -> np.ndarray: return np.stack(table.scores)


def test_the_same_seed_gives_the_same_model_with_and_without_kept_features(photographs, learner, tmp_path):
    valid = photographs[photographs.split == 'valid']
    first = learner_predictions(learner, valid)
    assert np.allclose(scores(learner_predictions(probe(photographs, SMALL), valid)), scores(first), atol=1e-5)
    once, twice = (scores(learner_predictions(learner, valid, cache=tmp_path)) for _ in range(2))
    assert np.array_equal(once, twice) and np.allclose(once, scores(first), atol=.05)  # features may be computed in bfloat16
    assert len(list(tmp_path.iterdir())) == 1
    assert len(learner_predictions(learner, photographs.head(0))) == 0


def test_two_classes_are_enough(photographs):
    two = photographs[photographs.label != 'green']
    judged = learner_predictions(probe(two, SMALL), two[two.split == 'valid'])
    assert (judged.prediction == judged.label).mean() > .6


def test_a_fold_is_predicted_by_a_model_without_it(photographs):
    oof = out_of_fold(photographs, SMALL)
    assert not (oof.split == 'test').any() and oof.index.equals(photographs.index[photographs.split != 'test'])
    table = photographs[photographs.split != 'test'].assign(split=lambda o: np.where(o.fold == 1, 'valid', 'train'))
    by_hand = learner_predictions(probe(table, SMALL), table[table.fold == 1])
    assert np.allclose(scores(by_hand), scores(oof[oof.fold == 1]), atol=1e-5)


def test_without_antialiasing_the_loaders_give_just_the_pixels_of_load_pixels(photographs):
    valid, recipe = photographs[photographs.split == 'valid'].head(3), Recipe(size=64, antialias=False, mean=(0,)*3, std=(1,)*3)
    loaders = make_dataloaders(pd.concat([photographs[photographs.split == 'train'].head(9), valid]), recipe)
    assert np.allclose(loaders.valid.one_batch()[0].permute(0, 2, 3, 1).numpy()*255, load_pixels(valid, recipe), atol=1e-3)


def test_shares_of_the_bursts_and_classes_left_out(photographs, tmp_path):
    points = learning_points(photographs, SMALL, tmp_path, shares=(.5, 1.))
    assert points.columns.tolist() == ['share', 'label', 'train_photographs', 'error'] and set(points.label) == set(COLOURS)
    assert points.groupby('share').train_photographs.sum().is_monotonic_increasing
    unknown = unknown_classes(photographs, SMALL, tmp_path)
    assert (unknown.prediction != unknown.label).all() and len(unknown) == (photographs.split != 'test').sum()
    with pytest.raises(TrainError, match='three classes'): unknown_classes(photographs[photographs.label != 'red'], SMALL, tmp_path)
    found = search_recipes(photographs, [SMALL, Recipe(size=64, C=1e-6)], tmp_path, progress=False)
    assert found.error.is_monotonic_increasing and set(found.C) == {3e-3, 1e-6}


def test_features_of_nothing_are_nothing(photographs, tmp_path):
    assert features(photographs.head(0), SMALL, cache=tmp_path).shape == (0, 0) and not list(Path(tmp_path).iterdir())
