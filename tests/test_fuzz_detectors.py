"""A thousand broken files of detectors: our own error in one line, or every record answered or listed; never a person or a blank out of nothing."""
import copy
import json
import math
import random
import warnings

import pytest

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE, collect_notices
from urbanrivers_camtraps.foundations.names import label_meaning
from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, read_detector_json
from urbanrivers_camtraps.votes.taxonomy import write_taxon

GOOSE, NOTHING = write_taxon('Branta canadensis'), write_taxon(BLANK)
CATEGORIES = {'0': 'empty', '1': 'animal', '2': 'person', '3': 'vehicle', '4': 'wolf', '5': 'fish', '6': 'Hikers'}
ODD = [None, True, -1, -.93, 0, .22, .95, 1, 2, 93, 1e308, 10**400, math.nan, math.inf, -math.inf, '', '1', '7', 'person', 'a\\b', {}, [], [[]], {'a': 1},
    [.1]*4,
       [.1, .1, -.1, .1], 'x'*300, '\ud800', GOOSE, NOTHING, ';;;;;;', ['2', .9], 'NaN', '"NaN, \\"']


def box(rng: random.Random, key: str = 'conf') -> dict:
    "One detection."
    return {'category': rng.choice([*CATEGORIES, '9']), key: round(rng.choice([-.93, .05, .19, .22, .5, .95]), 3), 'bbox': [.1, .2, .3, .4]}


def megadetector(rng: random.Random) -> dict:
    "A file as MegaDetector and its users write it."
    images = [{'file': f'a/{o}.jpg', 'detections': [box(rng) for _ in range(rng.randrange(4))]} for o in range(rng.randrange(1, 9))]
    for image in rng.sample(images, len(images)//3):
        image.update(rng.choice([{'failure': None}, {'failure': 'Failure image access', 'detections': None}, {'max_detection_conf': ''}, {'frame_rate': 20},
                                 {'detections': [{**box(rng), 'classifications': [['7', .9], ['8', .05]]}]}]))
    return {'info': {'format_version': rng.choice(['1.0', '1.2', '1.4', '1.6', 1.3, '2.0'])}, 'detection_categories': CATEGORIES,
            'classification_categories': {'7': 'coyote', '8': 'human', '9': GOOSE}, 'images': images}


def speciesnet(rng: random.Random) -> dict:
    "A file of SpeciesNet, of both versions."
    final = [{'class': o, 'score': .8, 'source': 'classifier'} for o in (GOOSE, NOTHING)]
    rows = []
    for number in range(rng.randrange(1, 9)):
        found = [{**box(rng), 'processed_classification': rng.choice(final)} if rng.random() < .5 else box(rng) for _ in range(rng.randrange(4))]
        old = {'prediction': GOOSE, 'prediction_score': .9, 'prediction_source': 'classifier', 'classifications': {'classes': [GOOSE], 'scores': [.9]}}
        rows.append({'filepath': f'a\\{number}.jpg', 'detections': found, **(old if rng.random() < .4 else {})})
    return {'predictions': rows}


def lists(rng: random.Random) -> dict:
    "PyTorch-Wildlife's lists."
    rows = []
    for number in range(rng.randrange(1, 9)):
        count = rng.randrange(4)
        rows.append({'img_id': f'./{number}.jpg', 'bbox': [[1, 2, 30, 40]]*count, 'category': [rng.randrange(3) for _ in range(count)],
                     'confidence': [round(rng.random(), 2) for _ in range(count)]})
    return {'annotations': rows, 'categories': {'0': 'animal', '1': 'person', '2': 'vehicle'}}


def one_list(rng: random.Random) -> list:
    "Microsoft's `megadetector detect`."
    return [{'file': f'{o}.jpg', 'detections': [{**box(rng, 'confidence'), 'category': rng.choice(['animal', 'person', 'unknown'])}
                                                for _ in range(rng.randrange(3))]} for o in range(rng.randrange(1, 9))]


LAYOUTS = {'images': (megadetector, 'file'), 'predictions': (speciesnet, 'filepath'), 'annotations': (lists, 'img_id'), 'list': (one_list, 'file')}


def places(value: object) -> list[tuple]:
    "List each container with each of its keys, at any depth."
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [found for key in keys for found in [(value, key), *places(value[key])]]


def break_something(content: object, rng: random.Random) -> None:
    "Put something odd in, take something out, or double it."
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        where = places(content)
        if not where: return
        container, key = rng.choice(where)
        action = rng.random()
        if action < .7: container[key] = copy.deepcopy(rng.choice(ODD))
        elif action < .85: del container[key]
        elif isinstance(container, list): container.append(copy.deepcopy(container[key]))
        else: container[f'{key}x'] = copy.deepcopy(container[key])


def check_counts(content: object, name: str, key: str, found) -> None:
    "Check that each record is answered or listed with a reason, and no path twice."
    records = content if name == 'list' else content[name]
    answered, listed = set(found.predictions.path), set(found.skipped.id.dropna())
    numbers = set(found.skipped.reason.str.extract(r'^record (\d+): ')[0].dropna().astype(int))
    assert len(answered) == len(found.predictions)
    for number, record in enumerate(records, 1):
        path = record.get(key) if isinstance(record, dict) else None
        path = path.replace('\\', '/') if isinstance(path, str) and '/' not in path else path
        assert number in numbers or path in answered or path in listed, (number, record)


def check_people_and_blanks(content: dict, found) -> None:
    "Check, with rules of a few lines, that a detector's person is its surest box and that nothing at all was seen in a blank."
    images = {o['file'].replace('\\', '/'): o for o in reversed(content['images']) if isinstance(o, dict) and isinstance(o.get('file'), str)}
    table = content['detection_categories']
    for row in found.predictions[found.predictions.source == 'detector'].itertuples():
        if row.prediction not in (BLANK, HUMAN, VEHICLE): continue
        boxes = [o for o in images[row.path].get('detections') or [] if isinstance(o, dict)]
        sure = [(o['conf'], table.get(str(o.get('category')))) for o in boxes if type(o.get('conf')) in (int, float) and .2 <= o['conf'] <= 1.000001]
        named = [(conf, name) for conf, name in sure if isinstance(name, str) and label_meaning(name) != BLANK]
        if row.prediction == BLANK: assert not named, images[row.path]
        else: assert label_meaning(max(sure, key=lambda o: o[0])[1] or '') in (row.prediction, BLANK) or \
                len({o for o, _ in sure}) < len(sure), images[row.path]


@pytest.mark.parametrize('part', range(10))
def test_a_thousand_broken_files_of_detectors(tmp_path, part):
    path, outcomes = tmp_path/'broken.json', {'read': 0, 'refused': 0}
    for seed in range(part*100, part*100 + 100):
        rng = random.Random(seed)
        name = rng.choice(list(LAYOUTS))
        make, key = LAYOUTS[name]
        content = make(rng)
        break_something(content, rng)
        data = json.dumps(content, ensure_ascii=rng.random() < .5).encode('utf-8', 'surrogatepass')
        cut = rng.random() < .15
        if cut:
            data = bytearray(data)
            for _ in range(rng.randrange(1, 4)): data[rng.randrange(len(data))] = rng.randrange(256)
            data = bytes(data[:rng.randrange(len(data))] if rng.random() < .5 else data)
        path.write_bytes(data)
        try:
            with collect_notices() as told, warnings.catch_warnings(): found = read_detector_json(path)
        except DetectorJsonError as error:
            assert 'broken.json' in str(error) and str(error).isprintable() and len(str(error)) < 600, str(error)
            outcomes['refused'] += 1
            continue
        outcomes['read'] += 1
        assert found.skipped.empty or told, seed
        assert all(o.isprintable() for o in told), told
        if cut: continue
        check_counts(content, name, key, found)
        if name == 'images': check_people_and_blanks(content, found)
    assert outcomes['read'] >= 50, outcomes
