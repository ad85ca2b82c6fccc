"""Google's package is run to the end, whatever kills it, and why it stopped is said in one line."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from PIL import Image

from urbanrivers_camtraps.inference.speciesnet import run_speciesnet
from urbanrivers_camtraps.training.speciesnet_files import SpeciesNetError, pin_model

#: A package of the same name whose script writes the real format, some photographs at a time, and is killed after the second if told so.
FAKE = '''
import argparse, json, os, signal, sys, time
from pathlib import Path
parser = argparse.ArgumentParser()
for name in ('model', 'instances_json', 'predictions_json', 'country', 'admin1_region'): parser.add_argument(f'--{name}')
for name in ('bypass_prompts', 'noprogress_bars'): parser.add_argument(f'--{name}', action='store_true')
asked = parser.parse_args()
out, mode = Path(asked.predictions_json), os.environ.get('FAKE', '')
paths = [o['filepath'] for o in json.loads(Path(asked.instances_json).read_text())['instances']]
done = {o['filepath']: o for o in json.loads(out.read_text())['predictions'] if 'failures' not in o} if out.exists() else {}
if set(done) - set(paths): raise RuntimeError('Filepath from loaded predictions is missing from the set of instances to process')
with open(os.environ['FAKE_LOG'], 'a') as log: print('start', asked.country, asked.admin1_region, file=log)
if mode == 'offline': raise ConnectionError('no route to www.kaggle.com')

def save():
    rows = [done.get(o, {'filepath': o, 'failures': ['CLASSIFIER']}) for o in paths]
    part = out.with_name(f'{out.stem}.tmp.1234{out.suffix}')
    part.write_text(json.dumps({'info': {'format_version': '20261015'}, 'predictions': rows}))
    if mode == 'kill' and len(done) == 4: os.kill(os.getpid(), signal.SIGKILL)  # while it saves: the part is left
    part.replace(out)

for path in [o for o in paths if o not in done]:
    with open(os.environ['FAKE_LOG'], 'a') as log: print(path, file=log)
    if mode == 'hang' and len(done) == 2: time.sleep(600)
    if 'broken' not in path: done[path] = {'filepath': path, 'detections': []}
    if len(done) % 2 == 0: save()
save()
'''


def model_folder(folder: Path) -> Path:
    "Make a folder with the layout of a model; nothing in it can be loaded."
    folder.mkdir()
    names = {'classifier': 'network.pt', 'classifier_labels': 'labels.txt', 'taxonomy': 'taxonomy_release.txt', 'geofence': 'geofence_release.json'}
    for name in names.values(): (folder/name).write_text(name)
    (folder/'info.json').write_text(json.dumps({'version': '4.0.3a', 'type': 'always_crop', **names}))
    return folder


@pytest.fixture
def fake(tmp_path, monkeypatch):
    "A fake package, and photographs; returns the photographs, the file to write and the log of what it did."
    scripts = tmp_path/'package'/'speciesnet'/'scripts'
    scripts.mkdir(parents=True)
    for name, text in (('run_model.py', FAKE), ('__init__.py', ''), ('../__init__.py', '')): (scripts/name).write_text(text)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path/'package'))
    monkeypatch.setenv('FAKE_LOG', str(tmp_path/'log'))
    monkeypatch.delenv('SPECIESNET_DIR', raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env
    (tmp_path/'card').mkdir()
    for number in range(6): Image.new('RGB', (32, 32)).save(tmp_path/'card'/f'{number}.jpg')
    return tmp_path/'card', tmp_path/'out'/'predictions.json', tmp_path/'log'


def test_another_card_under_the_same_names_is_predicted_anew(fake):
    card, out, log = fake
    assert run_speciesnet(card, out, progress=False).empty
    Image.new('RGB', (48, 32)).save(card/'3.jpg')
    assert run_speciesnet(card, out, progress=False).empty
    assert done(log)[6:] == ['3.jpg']


def done(log: Path) -> list[str]:
    "List the photographs that were worked on, in order."
    return [Path(o).name for o in log.read_text().splitlines() if not o.startswith('start')]


def test_a_run_killed_while_it_saves_goes_on_where_it_stopped(fake, monkeypatch):
    card, out, log = fake
    monkeypatch.setenv('FAKE', 'kill')
    with pytest.raises(SpeciesNetError, match=r'was killed \(signal 9\).*goes on from'): run_speciesnet(card, out, progress=False)
    assert done(log) == ['0.jpg', '1.jpg', '2.jpg', '3.jpg'] and len(list(out.parent.iterdir())) == 3  # saved, half saved, sizes
    assert len([o for o in json.loads(out.read_text())['predictions'] if 'failures' not in o]) == 2
    monkeypatch.delenv('FAKE')
    assert run_speciesnet(card, out, 'USA', 'IL', progress=False).empty
    assert done(log)[4:] == ['2.jpg', '3.jpg', '4.jpg', '5.jpg'] and 'start USA IL' in log.read_text()
    assert sorted(o.name for o in out.parent.iterdir()) == ['.predictions.json.files.parquet', 'predictions.json']
    worked = log.read_text()
    assert run_speciesnet(card, out, progress=False).empty and log.read_text() == worked  # all is there: it is not even started


def test_a_kill_of_everything_leaves_a_whole_file(fake, monkeypatch):
    card, out, log = fake
    code = f'from urbanrivers_camtraps.inference.speciesnet import run_speciesnet; run_speciesnet({str(card)!r}, {str(out)!r}, progress=False)'
    process = subprocess.Popen([sys.executable, '-c', code], env={**os.environ, 'FAKE': 'hang'}, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not (log.exists() and '2.jpg' in log.read_text()) and process.poll() is None and time.monotonic() < until: time.sleep(.05)
    finally: os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(json.loads(out.read_text())['predictions']) == 6
    assert run_speciesnet(card, out, progress=False).empty
    assert done(log) == ['0.jpg', '1.jpg', '2.jpg', '2.jpg', '3.jpg', '4.jpg', '5.jpg']


def test_why_it_stopped_is_said_in_one_line(fake, monkeypatch, tmp_path):
    card, out, log = fake
    monkeypatch.setenv('FAKE', 'offline')
    with pytest.raises(SpeciesNetError, match='no route to www.kaggle.com.*SPECIESNET_DIR') as told: run_speciesnet(card, out, progress=False)
    assert '\n' not in str(told.value)
    monkeypatch.delenv('FAKE')
    Image.new('RGB', (32, 32)).save(card/'broken.jpg')
    skipped = run_speciesnet(card, out, progress=False)
    assert skipped.id.map(lambda o: Path(o).name).tolist() == ['broken.jpg'] and skipped.reason.tolist() == ['CLASSIFIER']
    with pytest.raises(SpeciesNetError, match='missing from the set of instances'): run_speciesnet([card/'broken.jpg'], out, progress=False)
    out.write_text('{"predictions": [')
    with pytest.raises(SpeciesNetError, match='Name a new file'): run_speciesnet(card, out, progress=False)
    folder = model_folder(tmp_path/'other')
    pin_model(folder)
    (folder/'geofence_release.json').write_text('{"everything": {}}')
    with pytest.raises(SpeciesNetError, match='geofence_release.json.*SHA-256 differs'): run_speciesnet(card, tmp_path/'new.json', folder=folder)


def test_a_missing_package_is_said(fake, monkeypatch):
    card, out, log = fake
    empty = textwrap.dedent(f'''\
        #!/bin/sh
        exec {sys.executable} -I -S "$@"
        ''')
    (card.parent/'python').write_text(empty)
    (card.parent/'python').chmod(0o755)
    with pytest.raises(SpeciesNetError, match='has no package speciesnet.*pip install speciesnet'): run_speciesnet(card, out, python=card.parent/'python')
    assert not out.parent.exists()
