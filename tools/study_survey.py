"""Measure how often a before/after answer holds the truth: `make study-survey`, half an hour on two cores.

Every figure is of 200 simulated seasons with 10 locations an arm, about 10,000 bursts and a change of 1.5. The figures
go into nbs/study/survey.csv and nbs/study/survey_plan.csv. nbs/study/survey_uncommon.csv is about uncommon species, of
which all labels are right (200 surveys of 90 days before and after); ONLY=uncommon measures nothing else, in four
minutes. SEEDS=20 gives a quick look and writes nothing."""
import math
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from urbanrivers_camtraps.review.sample import draw_sample
from urbanrivers_camtraps.survey.before_after import WILDLIFE, before_after, compare_arms, location_changes
from urbanrivers_camtraps.survey.corrected import corrections, group_totals
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.sample_plan import plan_sample
from urbanrivers_camtraps.survey.season_simulation import Model, SimulatedSeason, simulate_season
from urbanrivers_camtraps.survey.simulation import simulate_survey

RESULTS, SEEDS = Path('nbs/study'), int(os.environ.get('SEEDS', 200))
LABEL, SPECIES, WANTED, PILOT = 'Castor canadensis', 'Anas platyrhynchos', 1.25, 128
STEMS, PLACES = Model(made_up_later=.05, more_blanks=2.), Model(places=1.)
#: What is simulated: name → model, species, and how many bursts people look at.
ARMS = {'all animals': (Model(), None, (100, 200, 400, 800)), 'moving stems': (STEMS, None, (400, 800)),
        'locations differ': (PLACES, None, (400,)),
        'one species': (Model(), SPECIES, (400, 800))}
#: Uncommon species, and how many of their events 100 camera-days bring; and all wildlife beside them.
RATES = {'Ondatra zibethicus': .3, 'Actitis macularius': .8, 'Ardea herodias': 1.5, 'Castor canadensis': 4., WILDLIFE: 37.7}


def effect(season: SimulatedSeason, rows: pd.DataFrame, missed: dict | None = None):
    "Compare before and after by some of the bursts."
    events = rows.rename(columns={'timestamp': 'start'}).assign(label=LABEL)
    return before_after(events, season.operation, season.arms, season.changed, LABEL, missed, permutations=0)


def row(name: str, n: int, who: str, seed: int, found, season: SimulatedSeason, full: float) -> dict:
    "Return what one answer says beside the truth."
    truth = season.truth
    return {'arm': name, 'n': n, 'who': who, 'seed': seed, 'holds': found.low <= truth <= found.high,
            'bias': math.log(found.ratio/truth), 'width': math.log(found.high/found.low)/full}


def seen(season: SimulatedSeason, n: int, seed: int) -> pd.DataFrame:
    "Draw a sample, on which people see the truth."
    sample = draw_sample(season.units, n, seed=seed)
    return sample.assign(seen=sample.animal.where(sample.drawn))


def one_season(task: tuple[str, int]) -> tuple[list[dict], list[dict]]:
    "Return the rows of one season, and those of its plan."
    (name, seed), plans = task, []
    model, species, sizes = ARMS[name]
    season = simulate_season(seed, model=model, species=species)
    whole, alone = (effect(season, season.units[o.astype(bool)]) for o in (season.units.animal, season.units.called))
    full = math.log(whole.high/whole.low)
    rows = [row(name, 0, 'people, everything', seed, whole, season, full), row(name, 0, 'model alone', seed, alone, season, full)]
    for n in sizes:
        sample = seen(season, n, seed)
        for who, scores in (('corrected', True), ('people, the sample alone', False)):
            found = effect(season, season.units[season.units.called], corrections(group_totals(sample, scores)))
            rows.append(row(name, n, who, seed, found, season, full))
    if name == 'all animals': plans.append(planned(season, alone, full, seed))
    return rows, plans


def planned(season: SimulatedSeason, alone, full: float, seed: int) -> dict:
    "Plan from a pilot, look at so many bursts, and return the width that comes of it."
    pilot = seen(season, PILOT, seed)
    try: bursts = int(plan_sample(pilot, alone, [WANTED]).bursts[0])
    except SurveyError: return {'seed': seed, 'bursts': np.nan, 'width': np.nan}
    found = effect(season, season.units[season.units.called], corrections(group_totals(seen(season, bursts, seed))))
    return {'seed': seed, 'bursts': bursts, 'width': math.log(found.high/found.low)/full}


def uncommon(seed: int) -> list[dict]:
    "Compare before and after by uncommon species, if locations count by their events and if each counts once."
    survey, rows = simulate_survey(seed, days=90), []
    for label, rate in RATES.items():
        found = before_after(survey.events, survey.operation, survey.arms, survey.changed, label, permutations=0).changes
        for arms in (2, 5, 10):
            some = found[found.location.str[-2:].astype(int) <= arms]
            for how, limit in (('as built', None), ('each once', 0)):
                changes = location_changes(some, **({} if limit is None else {'uncommon': limit}))
                value, low, high = compare_arms(changes)
                truth = math.log(survey.truth)
                rows.append({'label': label, 'rate': rate, 'arms': arms, 'how': how, 'seed': seed, 'told': not np.isnan(low),
                             'holds': low <= truth <= high, 'bias': value - truth if low < high else np.nan, 'half': (high - low)/2})
    return rows


def study_uncommon(pool: ProcessPoolExecutor) -> None:
    "Measure uncommon species, print it, and write it."
    rows = pd.DataFrame([o for part in pool.map(uncommon, range(SEEDS), chunksize=5) for o in part])
    table = rows.groupby(['label', 'rate', 'arms', 'how'], sort=False).agg(
        surveys=('told', 'sum'), holds=('holds', 'sum'), bias=('bias', 'mean'), half_width=('half', 'median'))
    print(table.round(3).to_string())
    if SEEDS >= 200: table.reset_index().round(4).to_csv(RESULTS/'survey_uncommon.csv', index=False)


def main() -> None:
    "Measure everything, print it, and write it."
    with ProcessPoolExecutor(os.cpu_count()) as pool: study_uncommon(pool)
    if os.environ.get('ONLY') == 'uncommon': return
    tasks = [(name, seed) for name in ARMS for seed in range(SEEDS)]
    with ProcessPoolExecutor(os.cpu_count()) as pool: found = list(pool.map(one_season, tasks, chunksize=5))
    rows, plans = (pd.DataFrame([o for part in found for o in part[kind]]) for kind in (0, 1))
    grouped = rows.groupby(['arm', 'n', 'who'], sort=False)
    table = grouped.agg(seasons=('seed', 'size'), holds=('holds', 'sum'), bias=('bias', 'mean'), width=('width', 'median'))
    print(table.round(3).to_string())
    print(f'plan: {(plans.width <= WANTED*1.1).sum()} of {len(plans)} at most {WANTED*1.1:.3g}, '
          f'{plans.width.between(WANTED/1.1, WANTED*1.1).sum()} within a tenth of {WANTED}; bursts {plans.bursts.median():,.0f}')
    if SEEDS < 200: return
    table.reset_index().round(4).to_csv(RESULTS/'survey.csv', index=False)
    plans.round(4).to_csv(RESULTS/'survey_plan.csv', index=False)


if __name__ == '__main__': main()
