"""Measure the recipes on real frames, out of fold: `make study FRAMES=folder`. A killed run goes on where it was; the results go into nbs/study.

The first recipe is measured through the command `camtraps train` itself."""
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.dataset.splits import add_folds, content_hash
from urbanrivers_camtraps.evaluation.blank_filter import removed_at
from urbanrivers_camtraps.evaluation.burst_predictions import compare_burst_rules
from urbanrivers_camtraps.evaluation.calibration import calibration_error, cross_temperature
from urbanrivers_camtraps.evaluation.metrics import macro_recall, prediction_error
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.foundations.predictions import Predictions, read_predictions
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.images.motion import add_motion
from urbanrivers_camtraps.images.photograph import describe_photograph
from urbanrivers_camtraps.training.finetune import finetune
from urbanrivers_camtraps.training.preprocess import DEFAULT_BACKBONE, DEFAULT_SIZE, Recipe
from urbanrivers_camtraps.training.probe import learning_points, out_of_fold, probe

WORK, RESULTS = Path('study'), Path('nbs/study')
SEEDS = (0, 1, 2)
UNCUT = {'banner_top': 0., 'banner_bottom': 0.}


def frames(
    folder: str | Path, # holds manifest.csv: path, label, location, frame, seq_id, observation_type, scientific_name
    least: int = 27, # photographs a class must have
) -> pd.DataFrame: # as the rooms take it
    "Read the frames of one camera; where there is no clock, the running number serves: one frame a second."
    table = pd.read_csv(Path(folder)/'manifest.csv')
    label = table.scientific_name.fillna(table.observation_type).where(~table.observation_type.isin([BLANK, HUMAN, VEHICLE]), table.observation_type)
    table = pd.DataFrame({'media_id': table.path, 'label': label, 'path': [str(Path(folder)/o) for o in table.path], 'burst_id': table.seq_id,
                          'deployment_id': table.location, 'timestamp': pd.Timestamp('2000-01-01', tz='UTC') + pd.to_timedelta(table.frame, 's')})
    table = table[table.groupby('label').label.transform('size') >= least].reset_index(drop=True)
    return add_motion(table.assign(sha256=[describe_photograph(o)['sha256'] for o in table.path]))


def pick(photographs: pd.DataFrame, recipe: Recipe, count: int = 25) -> pd.DataFrame:
    "Keep so many training photographs of each class, drawn at random."
    train = photographs[photographs.split == 'train'].sample(frac=1, random_state=recipe.seed).groupby('label').head(count)
    return pd.concat([train, photographs[photographs.split != 'train']]).sort_index()


def command(folded: pd.DataFrame, recipe: Recipe) -> Predictions:
    "Predict all frames out of fold as a user does: with `camtraps train` and no options."
    seed, folder = recipe.seed, WORK/f'command {recipe.seed}'
    split = folded.assign(split=np.where(folded.fold == 0, 'valid', 'train'))
    write_table(split, folder/'dataset.parquet', by='burst', seed=seed, dataset_hash=content_hash(split))
    if not (folder/'features').exists(): (folder/'features').symlink_to((WORK/'features').resolve())
    if run(['train', '--seed', str(seed), '--data', str(folder)]): raise SystemExit('camtraps train failed')
    return read_predictions(folder/'out_of_fold.parquet')


def probe_25(photographs, recipe, **settings): return probe(pick(photographs, recipe), recipe, **settings)
def finetune_25(photographs, recipe, **settings): return finetune(pick(photographs, recipe), recipe, **settings)


@dataclass(frozen=True)
class Arm:
    "One way of training."
    name: str
    fit: object
    recipe: Recipe = Recipe()
    seeds: tuple[int, ...] = SEEDS
    columns: dict = field(default_factory=dict) # laid over the table


LITE2 = dict(backbone=DEFAULT_BACKBONE, size=DEFAULT_SIZE)
ARMS = (
    Arm('camtraps train (Lite2 320, motion crop), all frames', command),
    Arm('probe, Lite0 224, all frames', probe),
    Arm('the same, banners left in', probe, columns=UNCUT),
    Arm('probe, Lite0 224, motion crop, all frames', probe, Recipe(motion=True, C=2e-2)),
    Arm('probe, Lite2 320, all frames', probe, Recipe(**LITE2)),
    Arm('probe, Lite0 224, 25 a class', probe_25),
    Arm('probe, Lite0 224, motion crop, 25 a class', probe_25, Recipe(motion=True)),
    Arm('probe, Lite2 320, 25 a class', probe_25, Recipe(**LITE2)),
    Arm('probe, Lite2 320, motion crop, 25 a class', probe_25, Recipe(**LITE2, motion=True)),
    Arm('finetune, Lite0 224, 25 a class', finetune_25, Recipe(epochs=3), seeds=(0,)),
    Arm('finetune, Lite0 224, all frames', finetune, Recipe(epochs=3), seeds=(0,)),
)


def judge(arm: Arm, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    "Predict all frames out of fold with one seed, or read what an earlier run predicted."
    path = WORK/f'{arm.name} {seed}.parquet'
    if path.exists(): return read_predictions(path)
    began, recipe = time.perf_counter(), Recipe(**{**vars(arm.recipe), 'seed': seed})
    folded = add_folds(table.assign(**arm.columns), 'burst', seed=seed)
    if arm.fit is command: judged = command(folded, recipe)
    else: judged = out_of_fold(folded, recipe, arm.fit, WORK/'folds', cache=WORK/'features')
    write_table(judged.drop(columns='path'), path, **judged.attrs, seconds=time.perf_counter() - began)
    return read_predictions(path)


def figures(arm: Arm, judged: pd.DataFrame, seed: int) -> dict:
    "Take the figures of one run."
    after, removed = cross_temperature(judged), removed_at(judged).set_index('kept').blanks_removed
    bursts = compare_burst_rules(judged).set_index('rule').loc['peak']
    return {'arm': arm.name, 'seed': seed, 'accuracy': 1 - prediction_error(judged), 'macro_recall': macro_recall(judged),
            'bursts_accuracy': bursts.accuracy, 'bursts_macro_recall': bursts.macro_recall,
            'calibration_before': calibration_error(judged), 'calibration_after': calibration_error(after),
            'calibration_new': after.groupby('fold').apply(lambda o: calibration_error(after.loc[o.index])).mean(),
            'removed_at_99': removed[.99], 'removed_at_95': removed[.95]}


def keep_predictions(judged: pd.DataFrame, name: str) -> None:
    "Keep what the plots of the docs need: no photographs, no paths."
    columns = ['media_id', 'burst_id', 'label', 'prediction', 'score', 'scores', 'fold']
    small = judged[columns].assign(scores=[np.round(o, 4).astype('float32') for o in judged.scores], score=judged.score.round(4))
    write_table(small, RESULTS/f'{name}.parquet')


def with_earlier(results: pd.DataFrame) -> pd.DataFrame:
    "Add the figures of an earlier run of the arms that are still to come."
    path = RESULTS/'results.csv'
    if not path.exists(): return results
    earlier = pd.read_csv(path)
    coming = {o.name for o in ARMS} - set(results.arm)
    return pd.concat([results, earlier[earlier.arm.isin(coming)]], ignore_index=True)


def main(folder: str) -> None:
    "Run all arms, and write results after each."
    table, rows, best = frames(folder), [], {}
    for arm in ARMS:
        for seed in arm.seeds:
            judged = judge(arm, table, seed)
            rows.append(figures(arm, judged, seed))
            best.setdefault(arm.name, judged)
        results = with_earlier(pd.DataFrame(rows))
        RESULTS.mkdir(parents=True, exist_ok=True)
        results.round(4).to_csv(RESULTS/'results.csv', index=False)
        print(results[results.arm == arm.name].drop(columns='seed').groupby('arm').mean().round(3).to_string(header=arm is ARMS[0]), flush=True)
    names = results.groupby('arm').accuracy.mean().sort_values()
    keep_predictions(best[names.index[-1]], 'best')
    keep_predictions(best[ARMS[1].name], 'probe')
    points = learning_points(add_folds(table, 'burst', seed=0), cache=WORK/'features')
    points.round(4).to_csv(RESULTS/'learning.csv', index=False)


if __name__ == '__main__':
    if len(sys.argv) != 2 or not (Path(sys.argv[1])/'manifest.csv').exists():
        sys.exit('Name the folder of the frames, with a manifest.csv in it: make study FRAMES=folder')
    main(sys.argv[1])
