"""SpeciesNet's answers on photographs, made up from their labels, in the layouts of both releases."""
import json
from pathlib import Path

import numpy as np
import pandas as pd

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE
from urbanrivers_camtraps.votes.taxonomy import write_taxon

CATEGORIES = {HUMAN: ('2', 'human'), VEHICLE: ('3', 'vehicle')}


def _box(rng: np.random.Generator, label: str) -> list[dict]:
    "A box around what is there; none where nothing is."
    if label == BLANK: return []
    left, top, width, height = rng.uniform((.1, .2, .2, .2), (.5, .5, .4, .4))
    category, name = CATEGORIES.get(label, ('1', 'animal'))
    return [{'category': category, 'label': name, 'conf': round(rng.uniform(.5, .98), 3), 'bbox': [round(o, 4) for o in (left, top, width, height)]}]


def write_opinions(
    photographs: pd.DataFrame, # with `path, label`
    path: Path, # a JSON file
    schema: str, # `5.0.5` or `5.0.6`
    right: float = .85, # share of the answers that are the label
    seed: int = 0,
) -> Path:
    "Write what SpeciesNet might have said."
    rng, labels, records = np.random.default_rng(seed), sorted(photographs.label.unique()), []
    for row in photographs.itertuples():
        said = row.label if rng.random() < right else rng.choice(labels)
        other = rng.choice([o for o in labels if o != said])
        sure = round(rng.uniform(.6, .99), 3)
        taxa, boxes = [write_taxon(said), write_taxon(other)], _box(rng, row.label)
        record = {'filepath': f'/elsewhere/{Path(row.path).name}', 'country': 'USA', 'model_version': '4.0.3a', 'detections': boxes}
        if schema == '5.0.5':
            record |= {'classifications': {'classes': taxa, 'scores': [sure, round(1 - sure, 3)]}, 'prediction': taxa[0], 'prediction_score': sure,
                       'prediction_source': 'classifier'}
        else:
            whole = {'category': '0', 'label': 'whole image', 'conf': 1., 'bbox': [0, 0, 1, 1]}
            for box in boxes or record['detections'].append(whole) or record['detections']:
                box |= {'raw_classifications': {'classes': taxa, 'scores': [sure, round(1 - sure, 3)]},
                        'processed_classification': {'class': taxa[0], 'score': sure, 'source': 'classifier'}}
        records.append(record)
    head = {} if schema == '5.0.5' else {'info': {'format_version': '20261015'}}
    path.write_text(json.dumps({**head, 'predictions': records}))
    return path
