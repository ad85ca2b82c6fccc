"""Measure scores for unknown classes on real frames, one class left out in turn: `python tools/unknown_study.py FRAMES`. Writes nbs/study/unknown.csv."""
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from study import LITE2, RESULTS, WORK, frames
from urbanrivers_camtraps.dataset.splits import add_folds
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.foundations.doubt import score_directions, unknown_scores
from urbanrivers_camtraps.training.preprocess import Recipe
from urbanrivers_camtraps.training.probe import features, fit_head

SHARE, COMPONENTS, NEIGHBOURS = .05, 256, 10


def principal(taken: np.ndarray, train: np.ndarray) -> np.ndarray:
    "Standardise features and keep their first principal components, by the training rows."
    scaled = (taken - taken[train].mean(0))/(taken[train].std(0) + 1e-6)
    return scaled@np.linalg.svd(scaled[train], full_matrices=False)[2][:COMPONENTS].T


def mahalanobis(parts: np.ndarray, train: np.ndarray, target: np.ndarray) -> np.ndarray:
    "Return the least squared distance to a class mean, with one shrunk covariance for all classes (Lee and others, 2018)."
    means = np.stack([parts[train & (target == o)].mean(0) for o in range(target.max() + 1)])
    inverse = np.linalg.inv(ledoit_wolf(parts[train] - means[target[train]])[0])
    return np.min([np.einsum('ni,ij,nj->n', parts - o, inverse, parts - o) for o in means], axis=0)


def near(parts: np.ndarray, train: np.ndarray) -> np.ndarray:
    "Return the mean distance (1 - cosine) to the nearest training rows."
    unit = parts/np.linalg.norm(parts, axis=1, keepdims=True)
    return np.sort(1 - unit@unit[train].T, axis=1)[:, :NEIGHBOURS].mean(1)


def fold_measures(taken: np.ndarray, train: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    "Fit a head on the training rows; return each measure of all rows, and their log scores."
    weight, bias = fit_head(taken[train], target[train], target.max() + 1, Recipe.C)
    logits, parts = taken@weight.T + bias, principal(taken, train)
    scores = softmax(logits, 1)
    return {'highest score': 1 - scores.max(1), 'entropy': -(scores*log_softmax(logits, 1)).sum(1),
            'highest logit': -logits.max(1), 'energy': -logsumexp(logits, 1),
            'Mahalanobis distance of features': mahalanobis(parts, train, target),
            'neighbours among features': near(parts, train), 'scores': scores}


def left_out(taken: np.ndarray, label: np.ndarray, fold: np.ndarray, name: str) -> dict[str, np.ndarray]:
    "Return each measure of all rows, by models that know neither the class nor the fold."
    names = [o for o in sorted(set(label)) if o != name]
    target = np.array([names.index(o) if o in names else -1 for o in label])
    found = {o: fold_measures(taken, (fold != o) & (target >= 0), target) for o in np.unique(fold)}
    together = {key: np.array([found[o][key][row] for row, o in enumerate(fold)]) for key in next(iter(found.values()))}
    scores, near_scores = together.pop('scores'), np.empty(len(fold))
    for o in found:
        reference = score_directions(scores[(fold != o) & (target >= 0)])
        near_scores[fold == o] = unknown_scores(scores[fold == o], reference)
    mean_rank = sum(pd.Series(o).rank() for o in (near_scores, together['Mahalanobis distance of features']))
    return {**together, 'neighbours among scores': near_scores, 'both distances, by rank': mean_rank.to_numpy()}


def measure(taken: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    "Judge each measure: area under the curve, and share caught at 5 % of the known frames, means over left-out classes."
    label, fold, rows = table.label.to_numpy(str), table.fold.to_numpy(int), []
    for name in sorted(set(label) - {BLANK}):
        new = label == name
        for key, values in left_out(taken, label, fold, name).items():
            caught = (values[new] > np.quantile(values[~new], 1 - SHARE)).mean()
            rows.append({'measure': key, 'animal': name not in (HUMAN, VEHICLE), 'auc': roc_auc_score(new, values), 'caught': caught})
    found = pd.DataFrame(rows)
    means = found.groupby('measure', sort=False)[['auc', 'caught']].mean()
    animals = found[found.animal].groupby('measure', sort=False)[['auc', 'caught']].mean().add_suffix('_animals')
    return means.join(animals).reset_index()


def main(folder: str) -> None:
    "Read the frames, take features, measure and write."
    table = add_folds(frames(folder), 'burst', seed=0)
    results = measure(features(table, Recipe(**LITE2), cache=WORK/'features'), table)
    RESULTS.mkdir(parents=True, exist_ok=True)
    results.round(3).to_csv(RESULTS/'unknown.csv', index=False)
    print(results.round(3).to_string())


if __name__ == '__main__':
    if len(sys.argv) != 2 or not (Path(sys.argv[1])/'manifest.csv').exists():
        sys.exit('Name the folder of the frames, with a manifest.csv in it: python tools/unknown_study.py folder')
    main(sys.argv[1])
