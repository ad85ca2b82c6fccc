"""How long all votes of a site of June 2025's size take: our fetch against a serial loop, as the original had it."""
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import requests

from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES
from urbanrivers_camtraps.votes.api import API_PATH, fetch_observations


@contextmanager
def slow_site(
    seconds: float = 3.5, # that 1,000 rows take
):
    "Serve the practice server of June 2025 from a process of its own; yield its address."
    command = [Path(sys.executable).parent/'camtraps', 'sandbox', '--size', 'june-2025', '--port', '0', '--faults', f'row_delay={seconds}']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try: yield process.stdout.readline().strip().split('=', 1)[1]
    finally:
        process.terminate()
        process.wait(10)


def serial(
    site: str, # address of the site
) -> pd.DataFrame:
    "Read page after page, each over a new connection, and make a table of all votes."
    rows, page, pages = [], 1, 1
    while page <= pages:
        query = {'species': ','.join(SANDBOX_SPECIES), 'limit': 1000, 'page': page, 'sort': '_id', 'sortDirection': 'asc'}
        answer = requests.get(site + API_PATH, params=query, timeout=60).json()
        for image in answer['images']:
            rows += [{'mediaID': image['mediaID'], 'url': image['publicURL'], **vote} for vote in image['speciesConsensus'] or []]
        page, pages = page + 1, answer['totalPages']
    return pd.DataFrame(rows)


def main() -> dict:
    "Time both against one site and say how many times faster ours is."
    with slow_site() as site, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        theirs = serial(site)
        between = time.perf_counter()
        ours = fetch_observations(site, SANDBOX_SPECIES, folder=Path(folder)/'pages', progress=False)
        ended = time.perf_counter()
    if len(theirs) != len(ours.observations): raise SystemExit(f'{len(theirs)} rows against {len(ours.observations)}')
    return {'what': f'fetch {ours.query["total"]:,} photographs, 3.5 s per 1,000 rows', 'rival': 'serial loop',
            'rival_seconds': between - began, 'seconds': ended - between, 'ratio': (between - began)/(ended - between), 'wanted': 2.5}


if __name__ == '__main__': print(main())
