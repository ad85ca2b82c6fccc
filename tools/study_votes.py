"""Measure how many votes a posterior saves at the label error of three who agree: `make study-votes`, about ten minutes.

Practice servers are replayed with a model's out-of-fold scores, without the held-out test set; simulated crowds with more votes.
The figures go into nbs/study/votes.csv and nbs/study/votes_curves.csv."""
from pathlib import Path

import numpy as np
import pandas as pd

from urbanrivers_camtraps.dataset.bursts import add_bursts
from urbanrivers_camtraps.dataset.splits import split_photographs
from urbanrivers_camtraps.evaluation.calibration import apply_temperature, fit_temperature
from urbanrivers_camtraps.foundations.names import normalise_name
from urbanrivers_camtraps.foundations.predictions import Predictions, read_predictions
from urbanrivers_camtraps.foundations.sandbox import Sandbox, make_sandbox, serve_sandbox
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.images.banners import add_banners
from urbanrivers_camtraps.images.download import download_photographs
from urbanrivers_camtraps.review.vote_replay import compare_rules, replay_halves, rule_curves, simulate_crowd
from urbanrivers_camtraps.review.votes_needed import single_votes
from urbanrivers_camtraps.training.preprocess import Recipe
from urbanrivers_camtraps.training.probe import features, fit_head, head_scores
from urbanrivers_camtraps.votes.api import fetch_observations
from urbanrivers_camtraps.votes.cleaning import clean

WORK, RESULTS = Path('study'), Path('nbs/study')
#: Practice servers: size and seed of the drawing and its volunteers.
SERVERS = (('small', 42), ('small', 1), ('small', 2), ('year-2025', 42))
#: Shares of bursts on which everybody is misled, and the seeds of the simulated crowds.
HARD, SEEDS = (0., .05, .15, .3), range(5)
FOLDS = 5


def fetch(size: str, seed: int) -> tuple[Sandbox, pd.DataFrame, pd.DataFrame]:
    "Return a practice server, its single votes, and its photographs with a label where votes agree, downloaded."
    practice, folder = make_sandbox(size, seed=seed, width=640, height=480), WORK/'votes'/f'{size}-{seed}'
    with serve_sandbox(practice) as address:
        fetched = fetch_observations(address, reviewed=True, key='the same volunteer, the same hash', progress=False)
        every = fetched.observations.drop_duplicates('media_id').drop(columns=['observation_type', 'scientific_name', 'count', 'votes'])
        labels = clean(fetched.observations, votes=fetched.votes).labels.set_index('media_id').label
        table, _ = download_photographs(every.assign(label='reviewed'), folder, max_side=512, progress=False)
    table = table.assign(label=table.media_id.map(labels))
    return practice, single_votes(fetched.observations, fetched.votes), add_bursts(table)


def open_photographs(table: pd.DataFrame) -> pd.DataFrame:
    "Keep photographs of bursts that are not in the held-out test set, with a fold for each burst."
    labelled = split_photographs(table[table.label.notna() & table.burst_id.notna()])
    held = set(labelled.burst_id[labelled.split == 'test'])
    kept = table[table.burst_id.notna() & ~table.burst_id.isin(held)].reset_index(drop=True)
    burst = pd.factorize(kept.burst_id)[0]
    return add_banners(kept.assign(fold=np.random.default_rng(0).permutation(burst.max() + 1)[burst] % FOLDS))


def out_of_fold(photographs: pd.DataFrame) -> Predictions:
    "Score each photograph, labelled or not, by a head that learned from the labels of other folds; calibrated."
    recipe, classes = Recipe(), sorted(photographs.label.dropna().unique())
    taken, scores = features(photographs, recipe, cache=WORK/'features'), np.zeros((len(photographs), len(classes)))
    targets = pd.Index(classes).get_indexer(photographs.label)
    for fold in range(FOLDS):
        learned, held = ((photographs.fold != fold) & (targets >= 0)).to_numpy(), (photographs.fold == fold).to_numpy()
        scores[held] = head_scores(taken[held], *fit_head(taken[learned], targets[learned], len(classes), recipe.C))
    table = photographs.assign(prediction=[classes[o] for o in scores.argmax(1)], score=scores.max(1), scores=list(scores))
    predictions = Predictions(table, classes)
    return apply_temperature(predictions, fit_temperature(predictions[predictions.label.notna()]))


def server(size: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Replay a practice server; read what an earlier run made of its photographs."
    saved = [WORK/'votes'/f'{size}-{seed}-{o}.parquet' for o in ('votes', 'truth', 'predictions')]
    if not all(o.exists() for o in saved):
        practice, votes, table = fetch(size, seed)
        predictions = out_of_fold(open_photographs(table))
        for path, o in zip(saved, (votes, practice.truth, predictions)): write_table(o, path)
    votes, truth, predictions = read_table(saved[0]), read_table(saved[1]), read_predictions(saved[2])
    alone = truth[(truth.second_label == '') & truth.media_id.isin(predictions.media_id)].set_index('media_id')
    alone = alone.label.map(normalise_name)
    bursts = predictions.set_index('media_id').burst_id
    right = (predictions.prediction == predictions.media_id.map(alone))[predictions.media_id.isin(alone.index)].mean()
    print(f'{size} {seed}: {len(alone)} photographs in {bursts.nunique()} bursts, model right on {right:.1%}', flush=True)
    return measured(replay_halves(votes, alone, bursts, predictions), right)


def measured(replayed: pd.DataFrame, right: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Return the compared rules and the curves."
    return compare_rules(replayed).assign(model_right=right), rule_curves(replayed)


def crowd(hard: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Replay a simulated crowd."
    made = simulate_crowd(hard=hard, seed=seed)
    right = (made.predictions.prediction == made.predictions.media_id.map(made.truth)).mean()
    return measured(replay_halves(*made), right)


def main() -> None:
    "Measure everything, print it, and write it."
    runs = [(f'practice server {size}', seed, server(size, seed)) for size, seed in SERVERS]
    runs += [(f'simulated, {hard:.0%} misled', seed, crowd(hard, seed)) for hard in HARD for seed in SEEDS]
    rules, curves = (pd.concat([o[kind].assign(crowd=name, seed=seed) for name, seed, o in runs], ignore_index=True)
                     for kind in (0, 1))
    print(rules.round(4).to_string())
    rules.round(5).to_csv(RESULTS/'votes.csv', index=False)
    mean = curves.groupby(['crowd', 'rule', 'level'], sort=False)[['votes', 'settled', 'error']].mean().reset_index()
    mean.round(5).to_csv(RESULTS/'votes_curves.csv', index=False)


if __name__ == '__main__': main()
