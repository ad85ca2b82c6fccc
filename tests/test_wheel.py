"""The wheel in an empty environment, with the base requirements alone: what somebody gets who only wants to predict."""
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'urbanrivers_camtraps'
#: The chapters and modules that need an extra; every other module must do without.
NEED_EXTRAS = ('training.', 'evaluation.audit', 'evaluation.forward', 'review.refinement', 'review.server', 'survey.activity', 'survey.health.',
               'survey.density', 'survey.overlap', 'survey.sun_time', 'survey.report', 'dataset.publish', 'foundations.sandbox', 'apps.app', 'apps.hub')
#: Modules without which the wheel is no use: named, so that a missing one fails too.
MUST_BE_THERE = {'foundations.core', 'foundations.sandbox', 'votes.api', 'votes.cleaning', 'images.download',
                 'dataset.splits', 'training.probe', 'evaluation.metrics', 'inference.bundle', 'inference.predict',
                 'review.queue', 'survey.events', 'apps.app', 'apps.main', 'all'}
#: Files that modules read or copy.
DATA_FILES = ('foundations/names.csv', 'votes/taxonomy.csv', 'votes/region_chicago.csv', 'review/page_files/page.js',
              'survey/camtrap_dp.json', 'apps/web_files/index.html')
#: What belongs to extras and must not come with the base.
HEAVY = ['torch', 'torchvision', 'timm', 'fastai', 'fastcore', 'crowdkit', 'cleanlab', 'gradio']

#: Without this project's settings; and Python keeps what it compiles, which pip has not done here.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith('PYTHON')}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    "The wheel of the working tree."
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, ROOT/'tools'/'make_wheel.py', out], check=True)
    return next(out.glob('*.whl'))


@pytest.fixture(scope='module')
def empty(wheel, tmp_path_factory) -> Path:
    "The commands of an environment that holds the wheel and its base requirements."
    folder = tmp_path_factory.mktemp('empty')
    venv.create(folder, with_pip=False)  # the pip of these tests installs into it
    subprocess.run([sys.executable, '-m', 'pip', '--python', folder/'bin'/'python', 'install', '-qq', '--disable-pip-version-check',
                    '--no-compile', '-c', ROOT/'constraints.txt', wheel], check=True)
    return folder/'bin'


@pytest.fixture(scope='module')
def modules(wheel) -> set[str]:
    "The modules in the wheel, such as `votes.api`."
    paths = (Path(o).relative_to(PACKAGE) for o in zipfile.ZipFile(wheel).namelist() if o.startswith(f'{PACKAGE}/'))
    return {'.'.join(o.with_suffix('').parts) for o in paths if o.match('[!_]*.py')}


def run(empty: Path, code: str, cwd: Path) -> str:
    "Run code in the empty environment, away from the project's folder."
    result = subprocess.run([empty/'python', '-I', '-c', code], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_modules_are_in_the_wheel(modules):
    assert MUST_BE_THERE <= modules, f'missing: {sorted(MUST_BE_THERE - modules)}'


def test_nothing_but_code_and_licence(wheel):
    tops = {Path(o).parts[0] for o in zipfile.ZipFile(wheel).namelist()}
    assert tops == {PACKAGE, f'{PACKAGE}-{wheel.name.split("-")[1]}.dist-info'}
    for name in ('py.typed', *DATA_FILES):
        assert f'{PACKAGE}/{name}' in zipfile.ZipFile(wheel).namelist()
    assert any(o.endswith('/LICENSE') for o in zipfile.ZipFile(wheel).namelist())


def test_base_is_light(empty, tmp_path):
    found = run(empty, 'import importlib.util, json; '
                f'print(json.dumps([o for o in {HEAVY} if importlib.util.find_spec(o)]))', tmp_path)
    assert json.loads(found) == []


def test_modules_import_without_extras(empty, modules, tmp_path):
    code = f'''
import importlib, json
faults = {{}}
for name in {sorted(modules)}:
    try: importlib.import_module('{PACKAGE}.' + name)
    except ImportError as error: faults[name] = str(error)
print(json.dumps(faults))'''
    faults = json.loads(run(empty, code, tmp_path))
    assert {name: fault for name, fault in faults.items() if not name.startswith(NEED_EXTRAS)} == {}
    assert [o for o in NEED_EXTRAS if not any(name.startswith(o) for name in faults)] == [], 'needs no extra'


def test_command(empty, tmp_path):
    result = subprocess.run([empty/'camtraps', '--help'], cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for command in ('fetch', 'predict', 'demo'): assert command in result.stdout


@pytest.fixture(scope='module')
def server():
    "The address of a practice server, which runs outside of the empty environment."
    from urbanrivers_camtraps.foundations.sandbox import make_sandbox, serve_sandbox
    with serve_sandbox(make_sandbox('small')) as address: yield address


def test_the_base_alone_fetches_cleans_downloads_splits_and_predicts(empty, server, bundle_folder, tmp_path):
    "Everything but training, with the defaults of each command. Some photographs have no address on the server."
    def camtraps(*arguments: object) -> subprocess.CompletedProcess:
        done = subprocess.run([empty/'camtraps', *map(str, arguments)], cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
        assert done.returncode in (0, 3) and 'Traceback' not in done.stderr, done.stderr
        return done

    camtraps('fetch', '--server', server)
    assert camtraps('clean').returncode == 0
    downloaded = camtraps('images')
    assert downloaded.returncode == 0 and 'has no address' in downloaded.stderr and 'nan' not in downloaded.stderr
    assert camtraps('dataset').returncode == 0
    assert camtraps('card').returncode == 0 and (tmp_path/'data'/'data.html').is_file()
    predicted = camtraps('predict', 'data/images/blank', '--bundle', bundle_folder)
    assert predicted.returncode == 0 and '.jpg' in predicted.stdout


def test_what_needs_an_extra_names_it(empty, tmp_path):
    for arguments, extra in ((('sandbox',), 'serve'), (('train',), 'train'), (('app', '--bundle', 'nowhere'), 'app')):
        (tmp_path/'data').mkdir(exist_ok=True)
        done = subprocess.run([empty/'camtraps', *arguments], cwd=tmp_path, env=CLEAN, capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
        if extra == 'serve': assert f"pip install 'urbanrivers_camtraps[{extra}]'" in done.stderr
