"""How long a million vote rows take to clean, by the default rules."""
import time

import numpy as np
import pandas as pd

from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES
from urbanrivers_camtraps.votes.cleaning import clean


def million_rows(
    rows: int = 1_000_000, # vote rows
    photographs: int = 300_000, # that they are about
) -> pd.DataFrame: # as `site` gives it
    "Make vote rows as the site has them: half of them blanks, three volunteers in four agreeing."
    rng = np.random.default_rng(0)
    names = np.array([*SANDBOX_SPECIES, None], object)
    truth = rng.choice(len(names), photographs, p=[*[.5/len(SANDBOX_SPECIES)]*len(SANDBOX_SPECIES), .5])
    media = np.sort(rng.integers(0, photographs, rows))
    said = np.where(rng.random(rows) < .75, truth[media], rng.integers(0, len(names), rows))
    blank = said == len(names) - 1
    place = media % 40
    return pd.DataFrame({
        'media_id': np.char.add('m', media.astype(str)).astype(object), 'url': 'http://127.0.0.1/photograph.jpg',
        'timestamp': pd.Timestamp('2024-01-01', tz='UTC') + pd.to_timedelta(media*60, 's'),
        'deployment_id': place.astype(str), 'deployment': place.astype(str), 'location_id': place.astype(str),
        'location': place.astype(str), 'latitude': 41.9, 'longitude': -87.65,
        'observation_type': np.where(blank, 'blank', 'animal'), 'scientific_name': names[said],
        'count': rng.integers(1, 4, rows), 'votes': rng.choice([1, 2, 3, 4], rows, p=[.5, .25, .15, .1])})


def main() -> dict:
    "Time one cleaning."
    observations = million_rows()
    began = time.perf_counter()
    cleaned = clean(observations)
    seconds = time.perf_counter() - began
    return {'what': f'clean {len(observations):,} vote rows of {observations.media_id.nunique():,} photographs, {len(cleaned.labels):,} labels',
            'seconds': seconds, 'wanted_seconds': 5}


if __name__ == '__main__': print(main())
