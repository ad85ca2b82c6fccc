"""Other programs' results are read whole or refused, in bounded memory, and ours are taken by the field's own tools; see `field_tools.txt` for these."""
import contextlib
import importlib.util
import io
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, CamtrapsError
from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.votes.taxonomy import NO_RESULT, UNKNOWN, write_taxon

GOOSE, DUCK, RACCOON = (write_taxon(o) for o in ('Branta canadensis', 'Anas platyrhynchos', 'Procyon lotor'))
NOTHING, PERSON = write_taxon(BLANK), write_taxon(HUMAN)
needs_field_tools = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('megadetector', 'cv2', 'kagglehub', 'absl'))),
                                       reason='needs `pip install --no-deps -r tests/field_tools.txt`')


def child(*arguments: object, **options) -> dict:
    "Run this file in a process of its own and return what it says."
    run = subprocess.run([sys.executable, '-W', 'ignore', __file__, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                         env={**os.environ, 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'agg'}, **options)
    assert run.returncode == 0, (run.returncode, run.stderr[-3000:])
    return json.loads(run.stdout.splitlines()[-1])


def written(path: Path, records: list, key: str = 'predictions', **head) -> Path:
    "Write a file of records."
    path.write_text(json.dumps({key: records, **head}))
    return path


# --- the field's own tools, each in a process of its own ---

def without_init() -> None:
    "Let `speciesnet`'s modules be imported without its `__init__`, which wants yolov5 and reverse_geocoder, for a detector and places that are not called."
    package = types.ModuleType('speciesnet')
    package.__path__ = list(importlib.util.find_spec('speciesnet').submodule_search_locations)
    sys.modules['speciesnet'] = package


#: Photograph → detections (category, confidence), and the five best of each that is classified.
SEEN = {
    'goose.jpg': [('1', .93, [GOOSE, DUCK], [.95, .03])],
    'two.jpg': [('1', .9, [DUCK, RACCOON], [.3, .25]), ('1', .6, [GOOSE, DUCK], [.97, .01])], # of the better box nothing is known but that it is an animal
    'unsure.jpg': [('1', .4, [DUCK, RACCOON], [.3, .25]), ('1', .3, [NOTHING, DUCK], [.995, .001])],
    'person.jpg': [('2', .91, [PERSON, DUCK], [.8, .1])],
    'blank.jpg': [('1', .15, [NOTHING, DUCK], [.9, .05])],
    'quiet.jpg': [('1', .05, None, None)],
    'empty.jpg': [],
    'failed.jpg': None}
ANSWERS = {'goose.jpg': 'Branta canadensis', 'two.jpg': 'Animalia', 'unsure.jpg': None, 'person.jpg': HUMAN, 'blank.jpg': BLANK, 'quiet.jpg': BLANK,
           'empty.jpg': BLANK}


def let_speciesnet_write(folder: Path) -> dict:
    "Let SpeciesNet's own code write what its two versions say of `SEEN`."
    without_init()
    from speciesnet.ensemble import SpeciesNetEnsemble, _load_taxonomy_from_file
    from speciesnet.ensemble_prediction_combiner import combine_predictions
    from speciesnet.utils import (
        build_classifier_result,
        make_predictions_dict,
        save_predictions,
        select_detections_for_classification,
    )
    (folder/'taxonomy.txt').write_text('\n'.join([GOOSE, DUCK, RACCOON, NOTHING]))
    ensemble = object.__new__(SpeciesNetEnsemble)  # without its download
    ensemble.taxonomy_map, ensemble.geofence_map, ensemble.enable_geofence = _load_taxonomy_from_file(folder/'taxonomy.txt'), {}, False
    ensemble.prediction_combiner, labels = combine_predictions, {'1': 'animal', '2': 'human', '3': 'vehicle'}
    for name, whole in (('a', False), ('b', True)):
        ensemble.model_info, classifier, detector, places = types.SimpleNamespace(version=f'4.0.3{name}'), {}, {}, {}
        for path, seen in SEEN.items():
            places[path] = {'country': 'USA', 'admin1_region': 'IL', 'latitude': 41.9, 'longitude': -87.65}
            if seen is None:
                classifier[path] = detector[path] = {'filepath': path, 'failures': ['DETECTOR']}
                continue
            found = [{'category': o[0], 'label': labels[o[0]], 'conf': o[1], 'bbox': [.1, .2, .3, .4]} for o in seen]
            which = select_detections_for_classification(found, .1)
            said = [{'classes': seen[o][2], 'scores': seen[o][3]} for o in which]
            if whole: said = said[:1] or [{'classes': [NOTHING, DUCK], 'scores': [.9, .05]}]
            classifier[path] = build_classifier_result({'filepath': path, 'classifications_list': said}, found, which, whole)
            detector[path] = {'filepath': path, 'detections': found}
        save_predictions(make_predictions_dict(ensemble.combine(list(SEEN), classifier, detector, places)), folder/f'{name}.json')
    return {}


def let_field_tools_read(folder: Path) -> dict:
    "Let SpeciesNet resume from our file, and MegaDetector validate, convert and preview."
    without_init()
    from megadetector.postprocessing.postprocess_batch_results import PostProcessingOptions, process_batch_results
    from megadetector.postprocessing.validate_batch_results import ValidateBatchResultsOptions, validate_batch_results
    from megadetector.utils.wi_taxonomy_utils import (
        generate_md_results_from_predictions_json,
        validate_predictions_file,
    )
    from speciesnet.utils import load_partial_predictions, prepare_instances_dict
    said = {}
    strict = ValidateBatchResultsOptions()
    strict.raise_errors = strict.check_image_existence = True
    for name in ('md', 'md_boxes'): said[name] = validate_batch_results(str(folder/f'{name}.json'), strict)['validation_results']
    instances = prepare_instances_dict(folders=[str(folder/'images')])['instances']
    done, left = load_partial_predictions(str(folder/'speciesnet.json'), instances)
    said['done'], said['left'] = {path: o['detections'][0]['processed_classification'] for path, o in done.items()}, [o['filepath'] for o in left]
    validate_predictions_file(str(folder/'speciesnet.json'), {'instances': instances})
    try: load_partial_predictions(str(folder/'old.json'), instances)
    except RuntimeError as error: said['old'] = str(error)
    generate_md_results_from_predictions_json(str(folder/'speciesnet.json'), str(folder/'converted.json'))
    for name in ('md', 'md_boxes', 'speciesnet'):
        options = PostProcessingOptions()
        options.md_results_file, options.output_dir, options.image_base_dir = str(folder/f'{name}.json'), str(folder/f'preview_{name}'), ''
        options.parallelize_rendering, options.confidence_threshold, options.viz_target_width = False, .2, 400
        process_batch_results(options)
    return said


@pytest.fixture(scope='module')
def speciesnet_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('speciesnet')
    child('write', folder)
    return folder


@needs_field_tools
def test_what_speciesnet_writes_is_read(speciesnet_files):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    found = read_detector_json(speciesnet_files/'a.json')
    table = found.predictions.set_index('path')
    assert {path: o if isinstance(o, str) else None for path, o in table.prediction.items()} == ANSWERS
    assert table.loc['goose.jpg', ['score', 'source', 'model_version', 'country', 'admin1_region', 'latitude', 'longitude']].tolist() == \
        [.95, 'classifier', '4.0.3a', 'USA', 'IL', 41.9, -87.65]
    assert table.taxa['goose.jpg'] == [GOOSE, DUCK] and table.scores['goose.jpg'] == [.95, .03]
    assert table.loc['person.jpg', ['score', 'source']].tolist() == [.91, 'detector']  # the ensemble's own rule
    assert NO_RESULT in table.taxon['unsure.jpg'] and table.taxon['two.jpg'].endswith(';animal')
    assert table.source[['quiet.jpg', 'empty.jpg']].tolist() == ['detector']*2 and table.score[['quiet.jpg', 'empty.jpg']].isna().all()
    assert found.skipped.values.tolist() == [['failed.jpg', 'CLASSIFIER, DETECTOR']]
    boxes = found.detections
    assert boxes.groupby('path').size().to_dict() == {path: len(o) for path, o in SEEN.items() if o}
    assert np.allclose(boxes[['left', 'top', 'right', 'bottom']], [.1, .2, .4, .6])
    assert boxes[boxes.path == 'two.jpg'].prediction.tolist() == ['Animalia', 'Branta canadensis']
    assert boxes.category[boxes.path == 'person.jpg'].tolist() == [HUMAN]


@needs_field_tools
def test_what_its_version_b_writes_is_read(speciesnet_files):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    found = read_detector_json(speciesnet_files/'b.json')
    table = found.predictions.set_index('path')
    assert table.prediction['goose.jpg'] == 'Branta canadensis' and table.prediction['person.jpg'] == HUMAN
    assert set(table.prediction[['blank.jpg', 'quiet.jpg', 'empty.jpg']]) == {BLANK}
    assert table.loc['empty.jpg', ['score', 'source']].tolist() == [.9, 'classifier']  # it was classified, unlike in version A
    assert len(found.detections) == sum(len(o) for o in SEEN.values() if o)  # the whole frame is no box
    assert found.detections.prediction.isna().all() and (found.detections.confidence < 1).all()


CLASSES = ['Branta canadensis', 'Trachemys scripta elegans', HUMAN, BLANK]


def ours(folder: Path, count: int = 6):
    "Predict drawn photographs, with scores of real precision; one file is broken."
    from urbanrivers_camtraps.foundations.predictions import Predictions, top
    from urbanrivers_camtraps.training.bundle_format import golden_photographs
    rng, drawn = np.random.default_rng(3), list(golden_photographs().values())
    scores = rng.dirichlet([.4]*len(CLASSES), count).astype('float32')
    scores[:4] = .02 + .92*np.eye(4, dtype='float32')
    paths = [folder/'images'/f'Wild Mile {o % 2}'/f'{o}.jpg' for o in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn[number % len(drawn)].resize((320, 240)).save(path)
    broken = folder/'images'/'broken "é".jpg'
    broken.touch()
    best = [top(o, CLASSES, 1)[0] for o in scores]
    prediction, score = zip(*best)
    table = pd.DataFrame({'path': list(map(str, paths)), 'prediction': prediction, 'score': score, 'scores': list(scores), 'decision': 'accept'})
    table.attrs = {'common_names': {HUMAN: 'Somebody'}}
    boxes = pd.DataFrame([(o, 0, 'animal', .25, .1, .2, .5, .7) for o in table.path[:3]] + [(table.path[0], 1, HUMAN, .9, 0, 0, 1, 1)],
                         columns=['path', 'detection', 'category', 'confidence', 'left', 'top', 'right', 'bottom'])
    skipped = pd.DataFrame({'id': [str(broken)], 'reason': ['is empty. Copy or download it again']})
    return Predictions(table, CLASSES, skipped), boxes


def assert_same(path: Path, predictions) -> None:
    "What was written is read back, to the six digits that are written."
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    found = read_detector_json(path)
    assert found.predictions.path.tolist() == predictions.path.tolist()
    assert found.predictions.prediction.tolist() == predictions.prediction.tolist()
    assert np.abs(found.predictions.score - predictions.score).max() <= 1e-6
    for scores, of_ours in zip(found.predictions.scores, predictions.scores): assert np.abs(np.array(scores) - np.sort(of_ours)[::-1]).max() <= 1e-6
    assert found.skipped.values.tolist() == predictions.skipped.values.tolist()


@pytest.fixture(scope='module')
def our_files(tmp_path_factory):
    from urbanrivers_camtraps.inference.write_detector_json import write_megadetector, write_speciesnet
    folder = tmp_path_factory.mktemp('ours')
    predictions, boxes = ours(folder)
    write_speciesnet(predictions, folder/'speciesnet.json')
    write_speciesnet(predictions, folder/'speciesnet_boxes.json', boxes)
    write_speciesnet(predictions, folder/'old.json', schema='5.0.5')
    write_megadetector(predictions, folder/'md.json')
    write_megadetector(predictions, folder/'md_boxes.json', boxes)
    return folder, predictions, boxes


@pytest.mark.parametrize('name', ['speciesnet', 'speciesnet_boxes', 'old', 'md', 'md_boxes'])
def test_round_trip(our_files, name):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    folder, predictions, boxes = our_files
    assert_same(folder/f'{name}.json', predictions)
    back = read_detector_json(folder/f'{name}.json').detections
    if 'boxes' not in name: assert back.empty
    else:
        want = boxes.assign(at=boxes.path.map(predictions.path.tolist().index)).sort_values(['at', 'confidence'], ascending=[True, False])
        assert back[['path', 'category', 'confidence']].values.tolist() == want[['path', 'category', 'confidence']].values.tolist()
        assert np.allclose(back[['left', 'top', 'right', 'bottom']], want[['left', 'top', 'right', 'bottom']], atol=2e-6)


@needs_field_tools
def test_the_fields_tools_take_ours(our_files):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    folder, predictions, _ = our_files
    said = child('read', folder)
    for name in ('md', 'md_boxes'): assert said[name]['errors'] == said[name]['warnings'] == [], said[name]
    people = sum(np.stack(predictions.scores)[:, :3].argmax(1) == CLASSES.index(HUMAN))  # rather than animals, if anything is there
    assert said['md']['detection_category_id_to_count'] == {'1': len(predictions) - people, '2': people} and people
    answers = {path: o['class'] for path, o in said['done'].items()}
    assert answers.keys() == set(predictions.path) and answers[predictions.path[1]].split(';')[5] == 'scripta elegans'
    assert said['left'] == predictions.skipped.id.tolist()  # SpeciesNet would run on the broken one alone
    assert 'older output format' in said['old']
    converted = read_detector_json(folder/'converted.json').predictions.set_index('path').prediction  # by their converter, and back
    assert converted[predictions.path].tolist() == predictions.prediction.tolist()
    for name in ('md', 'md_boxes', 'speciesnet'):
        pages = {o.name: o.read_text(encoding='utf-8') for o in (folder/f'preview_{name}').glob('*.html')}
        assert len(list((folder/f'preview_{name}').rglob('*.jpg'))) >= 6, pages.keys()
        assert {'index.html', 'non_detections.html', 'class_canada_goose.html', 'class_red-eared_slider.html'} <= pages.keys()
        assert predictions.path[0] in pages['class_canada_goose.html'] and predictions.path[3] in pages['non_detections.html']


# --- broken files ---

def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path):
    from urbanrivers_camtraps.inference.detector_json import (
        DetectorJsonError,
        convert_detector_json,
        read_detector_json,
    )
    records = [{'filepath': f'{o}.jpg', 'prediction': GOOSE, 'prediction_score': .5, 'detections': []} for o in range(3)]
    whole = written(tmp_path/'whole.json', records, info={}).read_bytes()
    assert len(read_detector_json(tmp_path/'whole.json').predictions) == 3
    for length in range(len(whole)):
        (tmp_path/'cut.json').write_bytes(whole[:length])
        with pytest.raises(DetectorJsonError, match=r'cut\.json, record [1234]: is not JSON, or cut short'): read_detector_json(tmp_path/'cut.json')
    with pytest.raises(DetectorJsonError, match='record 4'): convert_detector_json(tmp_path/'cut.json', tmp_path/'tables')
    assert sorted(o.name for o in tmp_path.iterdir()) == ['cut.json', 'whole.json']


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), schema=st.sampled_from(['speciesnet_boxes', 'old', 'md_boxes']))
def test_a_changed_byte_does_no_harm(our_files, tmp_path, at, byte, schema):
    from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, read_detector_json
    data = bytearray((our_files[0]/f'{schema}.json').read_bytes())
    data[at % len(data)] = byte
    (tmp_path/'changed.json').write_bytes(data)
    try: found = read_detector_json(tmp_path/'changed.json')
    except DetectorJsonError as error: assert 'changed.json' in str(error) and str(error).isprintable()
    else: assert len(found.predictions) + found.skipped.id.nunique(dropna=False) >= 7 or found.skipped.empty and len(found.predictions) == 7


LEAVES = ['1', '2', '9', 'a.jpg', GOOSE, NOTHING, UNKNOWN, '', ';;;;;;']
KEYS = st.sampled_from(['classes', 'scores', 'class', 'score', 'category', 'conf', 'bbox'])
ANYTHING = st.recursive(st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 2) | st.sampled_from(LEAVES),
                        lambda o: st.lists(o, max_size=4) | st.dictionaries(KEYS, o, max_size=4), max_leaves=6)
BOX = st.fixed_dictionaries({}, optional={
    'category': st.sampled_from(['0', '1', '2', 1, None, '9']), 'conf': st.floats(-.1, 1.1) | st.none(),
    'bbox': st.lists(st.floats(-.5, 1.5), min_size=3, max_size=5),
    **dict.fromkeys(['raw_classifications', 'processed_classification', 'classifications', 'label'], ANYTHING)})
RECORD = ANYTHING | st.fixed_dictionaries({}, optional={
    'filepath': st.sampled_from(['a.jpg', 'b.jpg', 'c/d.jpg', 'e\\f.jpg', '', 7]), 'file': st.sampled_from(['a.jpg', 'b.jpg', None]),
    'detections': st.lists(BOX, max_size=3) | ANYTHING,
    **dict.fromkeys(['prediction', 'prediction_score', 'classifications', 'failures', 'failure', 'latitude', 'country', 'model_version'], ANYTHING)})


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], derandomize=True)
@given(records=st.lists(RECORD, max_size=5), key=st.sampled_from(['predictions', 'images']))
def test_no_record_is_lost(tmp_path, records, key):
    from urbanrivers_camtraps.inference.detector_json import convert_detector_json, read_detector_json
    from urbanrivers_camtraps.inference.detector_records import PREDICTION_COLUMNS
    head = {'detection_categories': {'1': 'animal', '2': 'person', '9': 'unheard of'}, 'classification_categories': {'1': GOOSE, '2': 'coyote'}}
    path = written(tmp_path/'any.json', records, key, **head)
    found = read_detector_json(path)
    answered = set(found.predictions.path)
    for number, record in enumerate(records, 1):
        name = record.get('filepath' if key == 'predictions' else 'file') if isinstance(record, dict) else None
        listed = found.skipped.reason.str.startswith(f'record {number}: ').any()
        said = isinstance(name, str) and (name.replace('\\', '/') in answered or name.replace('\\', '/') in set(found.skipped.id))
        assert listed or said, record
    assert len(answered) == len(found.predictions) and list(found.predictions) == list(PREDICTION_COLUMNS)
    assert not (found.detections[['left', 'top']].to_numpy() >= found.detections[['right', 'bottom']].to_numpy()).any()
    assert found.detections[['confidence', 'left', 'top', 'right', 'bottom']].stack().between(0, 1).all()
    tables = convert_detector_json(path, tmp_path/'tables', size=2)
    assert len(read_table(tables/'predictions.parquet')) == len(found.predictions) and len(read_table(tables/'detections.parquet')) == len(found.detections)
    assert len(pd.read_csv(tables/'skipped.csv')) == len(found.skipped)


# --- odd files ---

@pytest.mark.parametrize('text, reason', {
    '': 'record 1: is not JSON, or cut short', 'no': 'is not JSON', '{"predictions": []} {}': 'is not JSON',
    '[{"predictions": []}]': 'holds no list', '{"predictions": {}}': 'holds no list',
    '{"images": [], "detection_categories": []}': 'unreadable detection_categories', '{"images": ' + '['*100_000: 'more than 64 deep'}.items())
def test_what_is_not_a_file_of_results_is_refused(tmp_path, text, reason):
    from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, read_detector_json
    (tmp_path/'bad.json').write_text(text)
    with pytest.raises(DetectorJsonError, match=reason): read_detector_json(tmp_path/'bad.json')


def test_encodings_and_gzip(tmp_path):
    import gzip

    from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, read_detector_json
    (tmp_path/'latin.json').write_bytes(b'{"predictions": [{"filepath": "caf\xe9.jpg"}]}')
    with pytest.raises(DetectorJsonError, match='is not JSON'): read_detector_json(tmp_path/'latin.json')
    (tmp_path/'marked.json').write_text('\ufeff{"predictions": []}')
    assert repr(read_detector_json(tmp_path/'marked.json')) == '0 predictions, 0 detections, 0 skipped'
    packed = gzip.compress(json.dumps({'predictions': [{'filepath': 'a.jpg', 'detections': []}]}).encode())
    (tmp_path/'packed').write_bytes(packed)
    assert read_detector_json(tmp_path/'packed').predictions.path.tolist() == ['a.jpg']
    (tmp_path/'packed').write_bytes(packed[:-9])
    with pytest.raises(DetectorJsonError, match='is not JSON, or cut short'): read_detector_json(tmp_path/'packed')


@pytest.mark.parametrize('size', [1, 7, 40, 100])
def test_a_photograph_that_comes_twice_is_found_across_chunks(tmp_path, size):
    from urbanrivers_camtraps.inference.detector_json import detector_json_chunks
    many = [{'filepath': f'{o % 40}.jpg', 'detections': []} for o in range(50)] + [{'filepath': '', 'detections': []}]*3
    chunks = list(detector_json_chunks(written(tmp_path/'many.json', many), size))
    assert pd.concat([o.predictions for o in chunks]).path.tolist() == [f'{o}.jpg' for o in range(40)]
    twice, nowhere = 'is in the file twice, and the first counts', 'has no filepath'
    wanted = [f'record {o}: {twice}' for o in range(41, 51)] + [f'record {o}: {nowhere}' for o in (51, 52, 53)]
    assert pd.concat([o.skipped for o in chunks]).reason.tolist() == wanted


@pytest.mark.parametrize('bad', [
    {'raw_classifications': {'classes': ['a'], 'scores': []}}, {'raw_classifications': []}, {'processed_classification': {'score': .5}},
    {'processed_classification': {'class': 'a'}}, {'classifications': {'7': .5}}, {'classifications': ['7']}, {'classifications': [['8', .5, 1]]},
    {'classifications': [[8, .5]]}, {'classifications': [['8', .5]]}, {'processed_classification': {'class': 'a;b', 'score': .5}},
    {'raw_classifications': {'classes': ['a'], 'scores': ['high']}}])
def test_a_classification_that_cannot_be_read_is_a_problem(bad):
    from urbanrivers_camtraps.inference.detector_records import read_record, record_format
    detection = {'category': '1', 'conf': .9, 'bbox': [.1, .2, .3, .4]}
    reading = read_record({'filepath': 'a.jpg', 'detections': [detection | bad]}, record_format('predictions', {}))
    assert len(reading.problems) == 1 and reading.problems[0].startswith('detection 0: ') and not reading.detections and reading.prediction is None


def classification(**fields):
    "What is read of a box that was classified: prediction, score, source, taxa and scores of the photograph."
    from urbanrivers_camtraps.inference.detector_records import PREDICTION_COLUMNS, read_record, record_format
    detection = {'category': '1', 'conf': .9, 'bbox': [.1, .2, .3, .4]}
    said = dict(zip(PREDICTION_COLUMNS, read_record({'filepath': 'a.jpg', 'detections': [detection | fields]}, record_format('predictions', {})).prediction))
    return [said[o] for o in ('taxon', 'score', 'source', 'taxa', 'scores')]


def test_the_processed_classification_counts_before_the_raw_ones():
    raw = {'classes': [DUCK, GOOSE], 'scores': [.6, .4]}
    assert classification(raw_classifications=raw) == [DUCK, .6, 'classifier', [DUCK, GOOSE], [.6, .4]]
    processed = {'class': RACCOON, 'score': .7, 'source': 'x'}
    assert classification(raw_classifications=raw, processed_classification=processed) == [RACCOON, .7, 'x', [DUCK, GOOSE], [.6, .4]]
    assert classification()[:3] == ['animal', .9, 'detector']


def test_records_in_other_layouts():
    from urbanrivers_camtraps.inference.detector_records import PREDICTION_COLUMNS, read_record, record_format
    old = record_format('predictions', {})
    md = record_format('images', {'detection_categories': {'1': 'animal'}, 'classification_categories': {'0': 'coyote', '1': 'blank'}})
    best = read_record({'filepath': 'a.jpg', 'classifications': {'classes': [DUCK, GOOSE], 'scores': [.5, .3]}}, old).prediction
    assert dict(zip(PREDICTION_COLUMNS, best))['taxon'] == DUCK and best[2] == .5
    box = {'category': '1', 'bbox': [.1, .1, .2, .2]}
    two = [box | {'conf': .4, 'classifications': [['0', .8]]}, box | {'conf': .8, 'classifications': [['1', .9]]}]
    assert read_record({'file': 'a.jpg', 'detections': two}, md).prediction[1:3] == ('Canis latrans', .8)
    whole = {'category': '0', 'conf': 1., 'processed_classification': {'class': GOOSE, 'score': .6, 'source': 'classifier'}}
    assert read_record({'filepath': 'a.jpg', 'detections': [whole, box | {'category': '2', 'conf': .9}]}, old).prediction[1] == 'Branta canadensis'
    assert read_record({'filepath': 'a.jpg', 'prediction': GOOSE}, old).problems == ['the score is null, which is not from 0 to 1']
    assert read_record({'filepath': 'a.jpg', 'prediction': 7, 'prediction_score': .5}, old).problems == ['the class 7 is not a label']
    record = {'filepath': 'a.jpg', 'detections': [box | {'category': '3', 'conf': .19}]}
    assert read_record(record, record_format('predictions', {}, None, .1)).prediction[1] == 'vehicle'


# --- odd predictions ---

def made(classes: list[str], scores: np.ndarray):
    "Predictions of three photographs."
    from urbanrivers_camtraps.foundations.predictions import Predictions
    table = pd.DataFrame({'path': ['a.jpg', 'b.jpg', 'c.jpg'], 'prediction': np.array(classes, object)[scores.argmax(1)], 'score': scores.max(1),
                          'scores': list(scores), 'decision': 'review'})
    return Predictions(table, classes, pd.DataFrame({'id': ['d.jpg'], 'reason': ['is empty']}))


def test_scores_that_are_not_numbers_are_not_written(tmp_path):
    from urbanrivers_camtraps.inference.write_detector_json import write_speciesnet
    with pytest.raises(CamtrapsError, match='not a number'):
        write_speciesnet(made(['Procyon lotor', 'Castor canadensis', BLANK], np.full((3, 3), np.nan)), tmp_path/'x.json')
    assert not (tmp_path/'x.json').exists()


def test_a_model_without_blank_is_sure_that_something_is_there(tmp_path):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    from urbanrivers_camtraps.inference.write_detector_json import write_megadetector
    classes = [HUMAN, 'vehicle', 'Procyon lotor']
    path = write_megadetector(made(classes, np.eye(3, dtype='float32')*.4 + .2), tmp_path/'people.json')
    assert read_detector_json(path).predictions.prediction.tolist() == classes
    frames = [o['detections'][0] for o in json.loads(path.read_text())['images'][:3]]
    assert [(o['category'], o['conf']) for o in frames] == [('2', 1), ('3', 1), ('1', 1)]


def test_no_photograph_at_all_can_be_written(tmp_path):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    from urbanrivers_camtraps.inference.write_detector_json import write_megadetector, write_speciesnet
    whole = made(['Procyon lotor', BLANK, HUMAN], np.eye(3, dtype='float32'))
    nothing = whole.iloc[:0]
    for write in (write_speciesnet, write_megadetector):
        assert repr(read_detector_json(write(nothing, tmp_path/'x.json'))) == '0 predictions, 0 detections, 1 skipped'


# --- memory, a kill, a full disk ---

def many(path: Path, count: int) -> Path:
    "Write many records, as SpeciesNet does."
    record = {'filepath': '#', 'classifications': {'classes': [GOOSE, DUCK, RACCOON, NOTHING, PERSON], 'scores': [.8, .1, .05, .03, .02]},
              'detections': [{'category': '1', 'label': 'animal', 'conf': .9, 'bbox': [.1, .2, .3, .4]}]*2,
              'prediction': GOOSE, 'prediction_score': .8, 'prediction_source': 'classifier', 'model_version': '4.0.3a'}
    before, after = json.dumps(record).split('#')
    with path.open('w') as file:
        file.write('{"predictions": [')
        file.writelines(f"{',' if o else ''}{before}images/{o:06d}.jpg{after}" for o in range(count))
        file.write(']}')
    return path


def peak(what: str, path: Path) -> dict:
    "Read a file and say the most memory this process has held, in MB."
    if what == 'convert':
        from urbanrivers_camtraps.inference.detector_json import convert_detector_json
        convert_detector_json(path, path.with_suffix(''), size=2_000)
    else:
        with path.open() as file: _held = json.load(file)
    return {'peak': int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])/1024}


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_memory_does_not_grow_with_the_file(tmp_path):
    few, lots = many(tmp_path/'few.json', 10_000), many(tmp_path/'lots.json', 50_000)
    ours, theirs = (child('peak', o, lots)['peak'] - child('peak', o, few)['peak'] for o in ('convert', 'load'))
    assert theirs > 100, theirs  # that is what 40,000 more records take
    assert ours < theirs/5, (ours, theirs)
    assert len(read_table(tmp_path/'lots'/'predictions.parquet')) == 50_000


def test_a_killed_conversion_leaves_nothing_that_looks_whole(tmp_path):
    path = many(tmp_path/'many.json', 20_000)
    run = subprocess.Popen([sys.executable, __file__, 'convert', path, tmp_path/'tables'])
    part, until = tmp_path/'.tables.part'/'predictions.parquet', time.monotonic() + 200
    while not (part.exists() and part.stat().st_size > 100_000) and run.poll() is None and time.monotonic() < until: time.sleep(.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL  # it was at work
    assert part.exists() and not (tmp_path/'tables').exists()
    child('convert', path, tmp_path/'tables')
    assert len(read_table(tmp_path/'tables'/'predictions.parquet')) == 20_000
    assert sorted(o.name for o in tmp_path.iterdir()) == ['many.json', 'tables']


def test_a_full_disk_leaves_what_was_there(our_files, tmp_path):
    folder, predictions, boxes = our_files
    names = ['predictions.parquet', 'speciesnet.json', 'md.json']
    path = many(tmp_path/'many.json', 2_000)
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))  # bytes that any file may have
    (tmp_path/'out').mkdir()
    predictions.to_pickle(tmp_path/'ours.pickle')
    said = child('full', path, tmp_path/'out', tmp_path/'ours.pickle', preexec_fn=small)
    assert said == {o: 'OSError' for o in names} and list((tmp_path/'out').iterdir()) == []


def full(path: Path, out: Path, pickled: Path) -> dict:
    "Write where nothing has room, and say which error came."
    from urbanrivers_camtraps.foundations.predictions import Predictions
    from urbanrivers_camtraps.inference.detector_json import convert_detector_json
    from urbanrivers_camtraps.inference.write_detector_json import write_megadetector, write_speciesnet
    ours, said = Predictions(pd.read_pickle(pickled), skipped=pd.DataFrame({'id': [], 'reason': []})), {}
    for name, write in (('predictions.parquet', lambda: convert_detector_json(path, out/'tables')),
                        ('speciesnet.json', lambda: write_speciesnet(ours, out/'speciesnet.json')),
                        ('md.json', lambda: write_megadetector(ours, out/'md.json'))):
        try: write()
        except OSError: said[name] = 'OSError'
    return said


# --- matching ---

def test_join_of_a_hundred_thousand_takes_the_longest_tail():
    from urbanrivers_camtraps.inference.detector_json import match_photographs
    numbers = [(card, frame) for card in range(100) for frame in range(300)]
    photographs = pd.DataFrame({'media_id': [f'{c}-{f}' for c, f in numbers], 'path': [f'/our/disk/{c:03d}/100MEDIA/IMG_{f:04d}.JPG' for c, f in numbers]})
    theirs = pd.DataFrame({'path': [f'D:\\cards\\{c:03d}\\100MEDIA\\IMG_{f:04d}.JPG' for c, f in reversed(numbers)]})
    found = match_photographs(photographs, theirs)
    assert found.media_id.tolist() == [f'{c}-{f}' for c, f in reversed(numbers)]
    assert found.attrs['unmatched'] == 0
    more = pd.concat([theirs, pd.DataFrame({'path': ['D:\\cards\\999\\100MEDIA\\IMG_0007.JPG']})], ignore_index=True)
    assert match_photographs(photographs, more).attrs['unmatched'] == 1
    lacking = more[~more.path.str.endswith('042\\100MEDIA\\IMG_0007.JPG')]  # is the new one this, or neither?
    with pytest.raises(CamtrapsError, match='may be one photograph or another'): match_photographs(photographs, lacking)


def test_photographs_and_results_that_come_twice():
    from urbanrivers_camtraps.inference.detector_json import match_photographs
    cards = pd.DataFrame({'media_id': ['one', 'two'], 'path': ['/our/A/IMG_0001.JPG', '/our/B/IMG_0001.JPG']})
    theirs = lambda *paths: pd.DataFrame({'path': list(paths)})
    assert match_photographs(pd.concat([cards, cards]), theirs('our\\B\\IMG_0001.JPG')).media_id.tolist() == ['two']
    assert len(match_photographs(cards, theirs())) == 0
    with pytest.raises(CamtrapsError, match='lacks path'): match_photographs(cards.drop(columns='path'), theirs('a'))
    twice = match_photographs(cards, pd.concat([theirs('q/A/IMG_0001.JPG')]*3).assign(detection=[0, 1, 2]))
    assert twice.values.tolist() == [['one', 'q/A/IMG_0001.JPG', o] for o in (0, 1, 2)] and list(twice) == ['media_id', 'path', 'detection']
    with pytest.raises(CamtrapsError, match='y/A/IMG_0001.JPG'):
        match_photographs(cards, theirs('x/C/IMG_0001.JPG', 'x/A/IMG_0001.JPG', 'y/A/IMG_0001.JPG'))


if __name__ == '__main__':
    what, paths = sys.argv[1], list(map(Path, sys.argv[2:]))
    with contextlib.redirect_stdout(io.StringIO()):  # the tools talk
        if what == 'write': said = let_speciesnet_write(*paths)
        elif what == 'read': said = let_field_tools_read(*paths)
        elif what == 'full': said = full(*paths)
        elif what == 'peak': said = peak(sys.argv[2], paths[1])
        else:
            from urbanrivers_camtraps.inference.detector_json import convert_detector_json
            said = {'folder': str(convert_detector_json(paths[0], paths[1], size=1_000))}
    print(json.dumps(said))


# --- what users and other programs make of the format ---

TABLE = {'1': 'animal', '2': 'person', '3': 'vehicle'}


def answers(path: Path) -> tuple[dict, list[str]]:
    "What a file answers for each photograph, and what is told."
    from urbanrivers_camtraps.foundations.core import collect_notices
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    with collect_notices() as told: found = read_detector_json(path)
    missing = {o: 'listed' for o in found.skipped.id.dropna() if o not in set(found.predictions.path)}
    return {**dict(zip(found.predictions.path, found.predictions.prediction.where(found.predictions.prediction.notna(), None))), **missing}, told


def md_box(category: str, conf: object, **more) -> dict:
    return {'category': category, 'conf': conf, 'bbox': [.1, .1, .2, .2], **more}


@pytest.mark.parametrize('boxes, answer', [
    ([('1', -.93)], BLANK), ([('2', -.93), ('1', .3)], None), ([('9', .95)], BLANK), ([('9', .95), ('2', .22)], 'listed'), ([('9', .95), ('1', .3)], None),
    ([('9', .1), ('2', .9)], HUMAN), ([('4', .95), ('2', .22)], None), ([('0', .99)], BLANK), ([('0', .99), ('2', .3)], HUMAN), ([('1', math.nan), ('2',
        .22)], 'listed'),
    ([('1', math.inf)], 'listed'), ([(None, .9), ('2', .22)], 'listed'), ([('1', None), ('3', .3)], 'listed'), ([('1', '0.9'), ('2', .22)], 'listed'),
    ([('5', .4)], HUMAN), ([('6', .4)], 'vehicle'), ([('1', 1.0000001)], None), ([('1', 93)], 'listed'), ([('1', -1.5)], 'listed'), ([('2', .95), ('7',
        .96)], 'listed'),
    ([('8', .9)], BLANK)])
def test_what_users_do_to_megadetectors_files(tmp_path, boxes, answer):
    categories = {'0': 'empty', **TABLE, '4': 'wolf', '5': 'Hikers', '6': 'car', '7': '', '8': 'Nothing'}
    path = written(tmp_path/'md.json', [{'file': 'a.jpg', 'detections': [md_box(*o) for o in boxes]}], 'images', detection_categories=categories)
    found, told = answers(path)
    assert found == {'a.jpg': answer} and (told or answer != 'listed')


@pytest.mark.parametrize('bad', [{'bbox': None}, {'bbox': [.1, .1, .2]}, {'bbox': [math.nan]*4}, {'bbox': [10**400, 0, 1, 1]}])
def test_edges_that_cannot_be_read_do_not_change_the_answer(tmp_path, bad):
    path = written(tmp_path/'md.json', [{'file': 'a.jpg', 'detections': [md_box('1', .95) | bad, md_box('2', .22)]}, {'file': 'b.jpg',
        'detections': [md_box('2', .95) | bad]}],
                   'images', detection_categories=TABLE)
    found, told = answers(path)
    assert found == {'a.jpg': None, 'b.jpg': HUMAN} and len(told) >= 1
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    boxes = read_detector_json(path).detections
    assert boxes[['path', 'category', 'left', 'right']].values.tolist() == [['a.jpg', 'human', .1, pytest.approx(.3)], ['b.jpg', 'human', 0.,
        1.]]  # somewhere in it


def test_an_unknown_class_beside_a_person_is_no_person(tmp_path):
    path = written(tmp_path/'md.json', [{'file': 'a.jpg', 'detections': [md_box('1', .95, classifications=[['77', .9]]), md_box('2', .22)]},
                                        {'file': 'b.jpg', 'detections': [md_box('1', .95, classifications=[['77', .9]]), md_box('1', .3,
                                            classifications=[['8', .9]])]}],
                   'images', detection_categories=TABLE, classification_categories={'7': 'coyote', '8': 'blank'})
    assert answers(path)[0] == {'a.jpg': 'listed', 'b.jpg': 'listed'}


def test_the_best_class_counts_wherever_it_stands(tmp_path):
    path = written(tmp_path/'md.json', [{'file': 'a.jpg', 'detections': [md_box('1', .9, classifications=[['8', .1], ['7', .8]])]}], 'images',
                   detection_categories=TABLE, classification_categories={'7': 'coyote', '8': 'humans'})
    assert answers(path)[0] == {'a.jpg': 'Canis latrans'}


def test_one_nan_in_a_season_is_one_failure(tmp_path):
    records = [{'file': f'{o}, NaN.jpg', 'detections': [md_box('1', .9)], 'max_detection_conf': math.nan if o % 500 == 0 else .9} for o in range(5000)]
    records[2500]['detections'][0]['conf'] = math.inf
    found, told = answers(written(tmp_path/'md.json', records, 'images', detection_categories=TABLE))
    assert len(found) == 5000 and [o for o, answer in found.items() if answer == 'listed'] == ['2500, NaN.jpg'] and len(told) == 1


def test_records_of_each_version(tmp_path):
    records = [{'file': '1.jpg', 'max_detection_conf': 0., 'detections': []}, {'file': '2.jpg', 'detections': [], 'failure': None}, {'file': '3.jpg',
        'failure': 'Failure image access'},
               {'file': '4.jpg', 'failure': 'Failure inference', 'detections': None}, {'file': '5.jpg', 'failure': 'Failure', 'detections': []},
               {'file': '6.jpg', 'detections': None}, {'file': '7.jpg'}, {'file': '8.mp4', 'frame_rate': 20, 'frames_processed': [0, 20],
                                                                       'detections': [md_box('2', .8, frame_number=0), md_box('1', .9, frame_number=20)]}]
    found, told = answers(written(tmp_path/'md.json', records, 'images', detection_categories=TABLE, info={'format_version': '1.6'}))
    assert found == {'1.jpg': BLANK, '2.jpg': BLANK, **dict.fromkeys(['3.jpg', '4.jpg', '5.jpg', '6.jpg', '7.jpg'], 'listed'), '8.mp4': None}
    assert sum('records: ' in o for o in told) == 4 and any('a video' in o for o in told)  # three failures and one lack


def test_addaxai_writes_species_as_categories(tmp_path):
    categories = {'1': 'unidentified animal', '2': 'person', '3': 'vehicle', '4': 'mallard', '5': 'badger'}
    boxes = [[md_box('4', .71, prev_conf=.93, prev_category='1', classifications=[['1', .71]])], [md_box('1', .4)], [md_box('5', .6, prev_conf=.9),
        md_box('2', .3)]]
    path = written(tmp_path/'image_recognition_file.json', [{'file': f'{o}.jpg', 'detections': rows} for o, rows in enumerate(boxes)], 'images',
                   detection_categories=categories, classification_categories={'1': 'mallard', '2': 'badger'}, forbidden_classes=[])
    assert answers(path)[0] == {'0.jpg': 'Anas platyrhynchos', '1.jpg': None, '2.jpg': None}


def test_pytorch_wildlife_with_a_classifier(tmp_path):
    rows = [{'img_id': 'a.jpg', 'bbox': [[1, 2, 3, 4]], 'det_category': [0], 'det_confidence': [.9], 'clf_category': [1], 'clf_confidence': [.8]},
            {'img_id': 'b.jpg', 'bbox': [[1, 2, 3, 4]]*2, 'det_category': [0, 1], 'det_confidence': [.9, .3], 'clf_category': [1], 'clf_confidence': [.8]},
            {'img_id': 'c.jpg', 'bbox': [], 'det_category': [0, 1], 'det_confidence': [.9]}]
    (tmp_path/'pw.json').write_text(json.dumps({'annotations': rows, 'det_categories': TABLE | {'0': 'animal', '1': 'person'},
        'clf_categories': {'1': 'coyote'}}))
    found, told = answers(tmp_path/'pw.json')
    assert found == {'a.jpg': 'Canis latrans', 'b.jpg': 'listed', 'c.jpg': 'listed'} and len(told) == 3  # nobody knows which of b's boxes is the coyote


@pytest.mark.parametrize('head, name', [
    ('filename,date,seqnum,predictionbase,scorebase', 'DeepFaune'), ('filepath;detection_category;detection_conf;x1', 'Zamba'), ('filepath,blank,bird,hog',
        'Zamba'),
    ('absolute_path,relative_path,data_type,n_detections', 'AddaxAI'), ('file,category,detection_conf,bbox1,bbox2',
        'Animl'), ('image_path,max_confidence,detections', 'MegaDetector'),
    ('occurrenceID,eventID,scientificName,occurrenceRemarks', 'PyTorch-Wildlife'), ('a,b,c', 'is a table, not JSON')])
def test_tables_of_other_programs_are_named(tmp_path, head, name):
    from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, read_detector_json
    (tmp_path/'results.csv').write_text(head + '\n1,2,3\n')
    with pytest.raises(DetectorJsonError, match=name): read_detector_json(tmp_path/'results.csv')


@pytest.mark.parametrize('theirs', ['D:\\card\\RIVI\u00c8RE\\IMG_0001.JPG', 'rivie\u0300re/img_0001.jpg', './Rivi\u00e8re/IMG_0001.jpg',
    '/elsewhere/Rivie\u0300re/img_0001.JPG'])
def test_paths_match_in_any_spelling(theirs):
    from urbanrivers_camtraps.inference.detector_json import match_photographs
    ours = pd.DataFrame({'media_id': ['a', 'b'], 'path': ['/disk/Rivi\u00e8re/IMG_0001.JPG', '/disk/Ufer/IMG_0001.JPG']})
    assert match_photographs(ours, pd.DataFrame({'path': [theirs]})).media_id.tolist() == ['a']


def test_capitals_tell_photographs_apart_if_they_must():
    from urbanrivers_camtraps.inference.detector_json import DetectorJsonError, match_photographs
    ours = pd.DataFrame({'media_id': ['a', 'b'], 'path': ['/disk/1.JPG', '/disk/1.jpg']})
    assert match_photographs(ours, pd.DataFrame({'path': ['disk/1.jpg', 'disk/1.JPG']})).media_id.tolist() == ['b', 'a']
    with pytest.raises(DetectorJsonError, match='may be one photograph or another'): match_photographs(ours, pd.DataFrame({'path': ['disk/1.Jpg']}))


def test_a_path_in_two_spellings_is_there_twice(tmp_path):
    found, told = answers(written(tmp_path/'md.json', [{'file': o, 'detections': []} for o in ('a/\u00e9.jpg', './a/e\u0301.jpg', 'a\\\u00e9.jpg')],
        'images', detection_categories=TABLE))
    assert list(found.values()) == [BLANK, 'listed'] or len(found) == 2 and len(told) == 1
    assert 'twice' in told[0] and told[0].count('2 records') == 1


def test_blank_answers_stay_below_the_usual_threshold(tmp_path):
    from urbanrivers_camtraps.inference.detector_json import read_detector_json
    from urbanrivers_camtraps.inference.write_detector_json import write_megadetector
    scores = np.array([[.3, .2, .5], [.34, .33, .33], [.1, .8, .1]], 'float32')
    predictions = made(['Procyon lotor', HUMAN, BLANK], scores)
    images = json.loads(write_megadetector(predictions, tmp_path/'md.json').read_text())['images']
    assert [o['detections'][0]['conf'] >= .2 for o in images[:3]] == [False, True, True] and [o['detections'][0]['category'] for o in images[:3]] == ['1',
        '1', '2']
    assert read_detector_json(tmp_path/'md.json').predictions.prediction.tolist() == predictions.prediction.tolist()
    boxes = pd.DataFrame([('c.jpg', 'animal', .9, .1, .1, .5, .5)], columns=['path', 'category', 'confidence', 'left', 'top', 'right', 'bottom'])
    written_boxes = json.loads(write_megadetector(predictions, tmp_path/'md.json', boxes).read_text())['images'][2]['detections']
    assert [o['category'] for o in written_boxes] == ['1', '2']  # the answer is a person, so a person is in the file
    assert read_detector_json(tmp_path/'md.json').detections.category.tolist() == ['animal']
