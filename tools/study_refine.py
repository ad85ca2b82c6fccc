"""Measure what the review's queue finds and gains on the practice servers; the results go into nbs/study: `python tools/study_refine.py`."""
from pathlib import Path

import numpy as np
import pandas as pd

from urbanrivers_camtraps.dataset.bursts import add_bursts
from urbanrivers_camtraps.dataset.splits import add_folds, split_photographs
from urbanrivers_camtraps.evaluation.metrics import confusion_matrix
from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES, make_sandbox, serve_sandbox
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.images.banners import add_banners
from urbanrivers_camtraps.images.download import download_photographs
from urbanrivers_camtraps.review.refinement import (
    count_found,
    found_curve,
    gains,
    head_out_of_fold,
    label_once,
    plant_errors,
    refine_once,
    review_orders,
)
from urbanrivers_camtraps.training.preprocess import Recipe
from urbanrivers_camtraps.training.probe import features
from urbanrivers_camtraps.votes.api import fetch_observations
from urbanrivers_camtraps.votes.cleaning import Rules, clean

WORK, RESULTS = Path('study'), Path('nbs/study')
SEEDS = range(8)
FIRST = 100
#: Site → how it is asked for, and the rules it is cleaned by.
SITES = {'june': ('june-2025', {'species': SANDBOX_SPECIES}, Rules.june_2025()), 'small': ('small', {'reviewed': True}, Rules())}
SHARES = {'photograph': (.05, .1, .2), 'burst': (.05, .1, .2), 'look-alikes': (.1,)}
#: As many as a hundred planted errors can be found on the small site with this share alone.
MORE = {('small', 'photograph'): (.25,), ('small', 'burst'): (.25,)}


def photographs_of(site: str) -> pd.DataFrame:
    "Fetch, clean and split a practice server, with what really is on its photographs; read what an earlier run made."
    path, (size, asked, rules) = WORK/site/'photographs.parquet', SITES[site]
    if path.exists(): return read_table(path)
    practice = make_sandbox(size)
    with serve_sandbox(practice) as address:
        observations = fetch_observations(address, progress=False, **asked).observations
        table, _ = download_photographs(clean(observations, rules).labels, WORK/site, max_side=512, progress=False)
    table = add_folds(add_banners(split_photographs(add_bursts(table))))
    truth = practice.truth.set_index('media_id').loc[table.media_id]
    second = truth.second_label.to_numpy() == table.label.to_numpy()  # two species in one photograph: either name is right
    table = table.assign(true_label=truth.label.where(~second, truth.second_label).to_numpy())
    table = table[table.true_label.isin(table.label.unique()) & (table.split != 'none')].reset_index(drop=True)
    write_table(table, path)
    return table


def planted_by(photographs: pd.DataFrame, taken: np.ndarray, kind: str, share: float, seed: int) -> pd.DataFrame:
    "Plant errors of a kind."
    if kind != 'look-alikes': return plant_errors(photographs, share, seed, kind)
    return plant_errors(photographs, share, seed, mistaken=confusion_matrix(head_out_of_fold(photographs, taken)))


def measure(photographs: pd.DataFrame, taken: np.ndarray, kind: str, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Plant, find, correct and judge with all seeds: one row an arm; one row an order and number of photographs looked at."
    judged, counts, curves = [], [], []
    for seed in SEEDS:
        planted = planted_by(photographs, taken, kind, share, seed)
        orders, wrong = review_orders(planted, taken, seed), set(planted.media_id[planted.planted])
        judged.append(refine_once(planted, taken, orders, FIRST, final=True).assign(seed=seed))
        counts += [{'arm': name, 'found': count_found(media, wrong, FIRST), 'planted': len(wrong)} for name, media in orders.items()]
        curves.append(found_curve(orders, wrong))
    counts = pd.DataFrame(counts)
    of = counts.groupby('arm').found
    table = gains(pd.concat(judged)).assign(seeds=len(SEEDS), photographs=len(next(iter(orders.values()))), planted=counts.planted.mean(),
                                           tested=(photographs.split == 'test').sum())
    table = table.assign(found_least=table.arm.map(of.min()), found_most=table.arm.map(of.max()))
    return table, pd.concat(curves).groupby(['order', 'looked_at'], sort=False)[['found', 'planted']].mean().reset_index()


def main() -> None:
    "Measure all, and write results after each."
    tables, curves, labelled_more = [], [], []
    for site in SITES:
        photographs = photographs_of(site)
        taken = features(photographs, Recipe(), cache=WORK/site/'features')
        for kind, shares in SHARES.items():
            for share in (*shares, *MORE.get((site, kind), ())):
                about = {'site': site, 'kind': kind, 'share': share}
                table, curve = measure(photographs, taken, kind, share)
                tables.append(table.assign(**about))
                if kind == 'photograph' and share < .25: curves.append(curve[curve.looked_at % 5 == 0].assign(**about))
                print(*about.values(), table.set_index('arm').found.round(1).to_dict(), flush=True)
        for labelled in (50, FIRST):
            judged = pd.concat([label_once(photographs, taken, labelled, seed=seed, final=True).assign(seed=seed) for seed in SEEDS])
            labelled_more.append(gains(judged, 'chance').assign(site=site, labelled=labelled, seeds=len(SEEDS)))
        RESULTS.mkdir(parents=True, exist_ok=True)
        for name, parts in (('refine', tables), ('refine_found', curves), ('refine_informative', labelled_more)):
            pd.concat(parts).round(4).to_csv(RESULTS/f'{name}.csv', index=False)


if __name__ == '__main__': main()
