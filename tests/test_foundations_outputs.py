"""What is written: never over a user's files, never taken for a command, on any disk and any terminal."""
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import CamtrapsError, LockedError, lock_folder
from urbanrivers_camtraps.foundations.outputs import OutputError, overwriting, plain_cell, safe_cell, write_csv
from urbanrivers_camtraps.foundations.provenance import Provenance, drawn_exif, is_drawn, provenance
from urbanrivers_camtraps.foundations.tables import read_any_table, read_table, write_table
from urbanrivers_camtraps.survey.camtrap_dp.writing import CamtrapDPError, _check_place
from urbanrivers_camtraps.training.export import _replaced_folder
from urbanrivers_camtraps.votes.api import _tables, write_fetched

ROOT = Path(__file__).resolve().parents[1]


def camtraps(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    "Run a command in a process of its own."
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore', **environment}
    return subprocess.run([sys.executable, '-m', 'urbanrivers_camtraps.apps.main', *map(str, arguments)], cwd=cwd,
                          env=env, capture_output=True, timeout=300)


def survey_tables(folder: Path, location: str = 'Weir') -> list:
    "Write a table of events and one of deployments; return the options that name them."
    events = ''.join(f'e{day},d{day % 2},Procyon lotor,2025-06-0{day} 23:30:00\n' for day in range(1, 9))
    (folder/'events.csv').write_text(f'event_id,deployment_id,label,start\n{events}', 'utf-8')
    rows = ''.join(f'd{number},"{location} {number}",41.9{number},-87.6,2025-06-01,2025-06-30\n' for number in (0, 1))
    (folder/'deployments.csv').write_text(f'deployment_id,location,latitude,longitude,start,end\n{rows}', 'utf-8')
    return ['survey', '--events', folder/'events.csv', '--deployments', folder/'deployments.csv', '--time-zone',
            'America/Chicago']


def survey(folder: Path, *options: object, location: str = 'Weir') -> int:
    "Run a survey in this process and return the exit status."
    return run([str(o) for o in (*survey_tables(folder, location), *options)])


# ---- what users have

def test_two_reports_in_one_folder_keep_their_own_tables(tmp_path):
    (tmp_path/'arms.csv').write_text('location,arm\nWeir 0,impact\nWeir 1,control\n')
    assert survey(tmp_path, '--out', tmp_path/'a.html', '--arms', tmp_path/'arms.csv', '--changed', '2025-06-15') == 0
    first = {o.name: o.read_bytes() for o in tmp_path.iterdir()}
    assert {'a.html', 'a_rates.csv', 'a_effects.csv'} <= set(first)
    assert survey(tmp_path, '--out', tmp_path/'b.html') == 0
    assert {name: (tmp_path/name).read_bytes() for name in first} == first
    assert (tmp_path/'b_rates.csv').is_file() and not (tmp_path/'b_effects.csv').exists()


@pytest.mark.parametrize('name', ['mine.html', 'mine_rates.csv'])
def test_a_survey_replaces_no_file_of_a_user(tmp_path, capsys, name):
    (tmp_path/name).write_text('my own notes, of three summers')
    assert survey(tmp_path, '--out', tmp_path/'mine.html') == 1
    error = capsys.readouterr().err
    assert f'{name}: exists and was not written by camtraps' in error and '--overwrite' in error
    assert (tmp_path/name).read_text() == 'my own notes, of three summers'
    assert not {'mine.html', 'mine_rates.csv'} - {name} & {o.name for o in tmp_path.iterdir()}, 'half a report was written'
    assert survey(tmp_path, '--out', tmp_path/'mine.html', '--overwrite') == 0
    assert 'three summers' not in (tmp_path/name).read_text()
    assert survey(tmp_path, '--out', tmp_path/'mine.html') == 0, 'our own report may be written again'


def test_an_empty_list_of_ours_goes_and_a_users_file_of_that_name_stays(tmp_path):
    (tmp_path/'a_effects.csv').write_text('what I think of the effects\n')
    assert survey(tmp_path, '--out', tmp_path/'a.html') == 0
    assert (tmp_path/'a_effects.csv').read_text() == 'what I think of the effects\n'


def test_a_survey_of_which_one_list_is_in_the_way_writes_nothing(tmp_path, capsys):
    options = survey_tables(tmp_path)
    with (tmp_path/'events.csv').open('a') as file: file.write('late,d1,Procyon lotor,2025-08-01 12:00\n')  # without effort: listed
    (tmp_path/'mine_events_skipped.csv').write_text('what I skipped\n')
    before = sorted(tmp_path.iterdir())
    assert run([str(o) for o in (*options, '--out', tmp_path/'mine.html')]) == 1
    assert 'mine_events_skipped.csv: exists and was not written by camtraps' in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('name', ['found.csv', 'found.html', 'found.parquet'])
def test_check_refuses_before_it_looks_at_anything(tmp_path, capsys, name):
    (tmp_path/name).write_text('my own notes')
    assert run(['check', str(tmp_path/'no such card'), '--out', str(tmp_path/name)]) == 1
    assert f'{name}: exists and was not written by camtraps' in capsys.readouterr().err


@pytest.mark.parametrize('name, content', [('deployments.csv', 'deployment_id,start\nd0,2025-06-01\n'), ('datapackage.json', '{"name": "mine"}'),
    ('datapackage.json', '["mine"]')])
def test_a_package_does_not_replace_a_table_of_deployments_or_another_package(tmp_path, name, content):
    folder = tmp_path/'package'
    folder.mkdir()
    (folder/name).write_text(content)
    with pytest.raises(CamtrapDPError, match=f'holds {name}, which was not written by camtraps'): _check_place(folder)
    assert (folder/name).read_text() == content


def test_an_exported_bundle_does_not_replace_a_readme(tmp_path):
    (tmp_path/'README.md').write_text('my thesis')
    with pytest.raises(CamtrapsError, match='holds README.md, which was not written'), _replaced_folder(tmp_path): pass
    assert (tmp_path/'README.md').read_text() == 'my thesis'


def test_a_fetch_keeps_a_table_of_deployments_that_is_not_its_own(tmp_path):
    pd.DataFrame({'deployment_id': ['mine']}).to_parquet(tmp_path/'deployments.parquet')
    with pytest.raises(OutputError, match='deployments.parquet: exists and was not written'): write_fetched(_tables([], {}), tmp_path)
    assert [o.name for o in tmp_path.iterdir()] == ['deployments.parquet']
    assert pd.read_parquet(tmp_path/'deployments.parquet').deployment_id.tolist() == ['mine']


def test_a_parquet_file_of_somebody_else_stays(tmp_path):
    table, path = pd.DataFrame({'a': [1]}), tmp_path/'labels.parquet'
    table.to_parquet(path)
    with pytest.raises(OutputError, match='was not written by camtraps'): write_table(table, path)
    with overwriting(): write_table(table, path)
    write_table(table.assign(a=2), path)
    assert read_table(path).a.tolist() == [2]


@pytest.mark.parametrize('name, content', [('list.csv', 'path\na.jpg\n'), ('md.json', '{"images": [], "info": {}}')])
def test_predict_does_not_replace_what_it_was_given(tmp_path, capsys, name, content):
    (tmp_path/name).write_text(content)
    assert run(['predict', str(tmp_path/'list.csv'), '--out', str(tmp_path/name)]) == 1
    assert 'was not written by camtraps' in capsys.readouterr().err and (tmp_path/name).read_text() == content


def test_each_command_that_writes_can_overwrite():
    from typer.main import get_command

    from urbanrivers_camtraps.apps.cli.options import app
    commands = get_command(app).commands
    listed = {**{name: o for name, o in commands.items() if not hasattr(o, 'commands')},
              **{f'publish {name}': o for name, o in commands['publish'].commands.items()}}
    without = {name for name, command in listed.items() if 'overwrite' not in {o.name for o in command.params}}
    assert len(commands['publish'].commands) > 2 and without <= {'sandbox', 'compare', 'gain', 'plan-survey', 'app'}


# ---- what users type

@pytest.mark.parametrize('location', ['Lot $1_$2', '$\\frac{', '100 % $x$ \\alpha', '<script>alert(1)</script>', '_north'])
def test_a_location_is_drawn_and_written_as_it_is_called(tmp_path, location):
    (tmp_path/'arms.csv').write_text(f'location,arm\n"{location} 0",impact\n"{location} 1",control\n')
    assert survey(tmp_path, '--out', tmp_path/'a.html', '--arms', tmp_path/'arms.csv', '--changed', '2025-06-15',
                  location=location) == 0
    assert '<script' not in (tmp_path/'a.html').read_text()


@pytest.mark.parametrize('cell', ['=1+1', '+SUM(A1)', '-2+3', '@home', "'=x", '\tx', "''@"])
def test_a_cell_is_no_formula_and_reads_back_equal(tmp_path, cell):
    path = write_csv(pd.DataFrame({'location': [cell], 'rate': [-.5]}), tmp_path/'t.csv')
    assert path.read_text().splitlines()[1].lstrip('"').startswith("'")
    table = read_any_table(path)
    assert table.location.tolist() == [cell.strip()] or cell == '\tx'
    assert table.rate.tolist() == ['-0.5']


@given(st.text())
def test_every_text_survives(text):
    assert plain_cell(safe_cell(text)) == text


# ---- real or drawn

def test_mixed_tables_count_what_is_drawn_and_what_nobody_noted(tmp_path):
    rows = pd.DataFrame({'media_id': list('abcdef'), 'drawn': [True, True, False, False, None, None]})
    read = read_table(write_table(rows, tmp_path/'mixed.parquet'))
    assert provenance(read) == Provenance(6, drawn=2, unknown=2) and read.attrs['provenance']['drawn'] == 2
    assert provenance(read).kind == 'partly drawn' and '2 of 6 photographs are drawings' in provenance(read).warning
    assert provenance(rows.drop(columns='drawn')).kind == 'not known'
    assert provenance(pd.concat([rows[2:4], rows[2:4].assign(media_id=['x', 'y'])])).kind == 'real'


def test_the_mark_survives_what_people_do_to_photographs(tmp_path):
    Image.new('RGB', (640, 480), 'green').save(tmp_path/'a.jpg', exif=drawn_exif())
    small = Image.open(tmp_path/'a.jpg')
    small.resize((320, 240)).save(tmp_path/'b.jpg', exif=small.getexif())
    small.save(tmp_path/'c.png', exif=small.getexif())
    shutil.copy(tmp_path/'a.jpg', tmp_path/'card.jpg')
    assert all(is_drawn(o) for o in tmp_path.iterdir())


# ---- disks and terminals

@pytest.fixture
def small_disk(tmp_path):
    "A disk of one megabyte."
    disk = tmp_path/'disk'
    disk.mkdir()
    if os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], capture_output=True).returncode:
        pytest.skip('only root can mount a small disk')
    yield disk
    subprocess.run(['umount', '-l', disk], check=True)


def one_line(ran: subprocess.CompletedProcess) -> str:
    "Return the one line of an error that a command ended with."
    text = ran.stderr.decode(errors='replace')
    assert ran.returncode == 1 and 'Traceback' not in text, text
    return [o for o in text.splitlines() if o.startswith('camtraps:')][-1]


def test_a_full_disk(small_disk, tmp_path):
    (small_disk/'filler').write_bytes(bytes((1 << 20) - 8192))
    ran = camtraps(*survey_tables(tmp_path), '--out', small_disk/'a.html', cwd=tmp_path)
    assert 'the disk is full. Make room' in one_line(ran)
    assert not list(small_disk.glob('*.html')) and not list(small_disk.glob('.*part'))


def test_a_read_only_disk(small_disk, tmp_path):
    subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)
    ran = camtraps(*survey_tables(tmp_path), '--out', small_disk/'a.html', cwd=tmp_path)
    assert 'the disk is read-only. Name a folder on another disk' in one_line(ran)


@pytest.mark.parametrize('environment', [{'PYTHONIOENCODING': 'cp1252'}, {'PYTHONIOENCODING': 'ascii'},
                                         {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}])
def test_a_terminal_without_our_letters(tmp_path, environment):
    (tmp_path/'Łódź 🦫').mkdir()
    ran = camtraps('survey', '--events', tmp_path/'Łódź 🦫'/'none.csv', '--deployments', 'none.csv', cwd=tmp_path, **environment)
    assert 'there is no such table' in one_line(ran) or 'none.csv' in one_line(ran)
    ran = camtraps(*survey_tables(tmp_path, 'Łódź 🦫 →'), '--out', tmp_path/'Łódź 🦫'/'a.html', cwd=tmp_path, **environment)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path/'Łódź 🦫'/'a_rates.csv').is_file()


@pytest.mark.parametrize('encoding', ['utf-8', 'cp1252', 'ascii'])
def test_file_names_in_latin_1_are_listed(tmp_path, encoding):
    for label, shade in (('Fox', 10), ('Hare', 200)):
        (tmp_path/'card'/label).mkdir(parents=True)
        for number in range(8): Image.new('RGB', (64, 48), (shade, 20*number, 0)).save(tmp_path/'card'/label/f'{number}.jpg')
    bad = os.fsencode(tmp_path/'card'/'Fox')+b'/Biber_\xe9.JPG'
    os.rename(tmp_path/'card'/'Fox'/'7.jpg', bad)
    ran = camtraps('dataset', '--folder', tmp_path/'card', '--data', tmp_path/'data', cwd=tmp_path, PYTHONIOENCODING=encoding)
    error = ran.stderr.decode(encoding)
    assert ran.returncode == 3 and 'Biber_\\xe9.JPG: has a name that is not UTF-8' in error, error
    assert read_any_table(tmp_path/'data'/'unreadable.csv')['id'].tolist() == [str(tmp_path/'card/Fox')+'/Biber_\\xe9.JPG']
    assert len(read_table(tmp_path/'data'/'dataset.parquet')) == 15


@pytest.fixture
def odd_card(tmp_path, photograph):
    "A card whose folders are called in Latin-1, in UTF-8, and by what commands a terminal."
    for name in (b'caf\xe9', 'M\u00fcller'.encode(), b'esc\x1b[31mred'):
        folder = os.fsencode(tmp_path/'card')+b'/'+name
        os.makedirs(folder)
        shutil.copy(photograph, folder+b'/IMG_0001.JPG')
    return tmp_path/'card'


@pytest.mark.parametrize('environment', [{'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}, {'LC_ALL': 'C.UTF-8'}])
@pytest.mark.parametrize('arguments', [['predict'], ['predict', '--out', 'season.parquet'], ['predict', '--out', 'all.csv'], ['check']])
def test_folders_of_any_name_in_any_locale(tmp_path, odd_card, bundle_folder, environment, arguments):
    command, *options = arguments
    bundle = ['--bundle', bundle_folder] if command == 'predict' else []
    ran = camtraps(command, 'card', *bundle, *options, cwd=tmp_path, **environment)
    shown = ran.stdout + ran.stderr
    assert ran.returncode in (0, 4) and b'Traceback' not in shown and b'unexpected' not in shown, shown
    assert b'\x1b' not in shown and b'caf\\xe9' in shown and (b'esc\\x1b[31mred' in shown)
    for name in options[1:]:
        paths = set(read_any_table(tmp_path/name).path)
        assert paths == {'card/caf\\xe9/IMG_0001.JPG', 'card/M\u00fcller/IMG_0001.JPG', 'card/esc\x1b[31mred/IMG_0001.JPG'}


def test_every_command_prints_in_one_safe_way():
    loud = [o.name for o in (ROOT/'urbanrivers_camtraps'/'apps').rglob('*.py') if 'typer.echo(' in o.read_text('utf-8')]
    assert loud == ['options.py'] and (ROOT/'urbanrivers_camtraps/apps/cli/options.py').read_text('utf-8').count('typer.echo(') == 1


@pytest.mark.parametrize('number', ['ENOTSUP', 'ENOLCK'])
def test_a_network_drive_without_locks(tmp_path, monkeypatch, number):
    import fcntl

    def no_lock(*arguments): raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    monkeypatch.setattr(fcntl, 'flock', no_lock)
    with lock_folder(tmp_path):
        with pytest.raises(LockedError, match='another run is writing'), lock_folder(tmp_path): pass
    with lock_folder(tmp_path): pass
    (tmp_path/'.lock.soft').touch()
    with pytest.raises(LockedError, match=r'one was killed: remove .*\.lock\.soft'), lock_folder(tmp_path): pass


def test_no_date_format_that_windows_lacks():
    import re
    found = [o.name for o in (ROOT/'urbanrivers_camtraps').rglob('*.py') if re.search(r'%-[dmHIj]', o.read_text('utf-8'))]
    assert found == []


def test_settings_stay_json(tmp_path):
    path = write_table(pd.DataFrame({'drawn': [True], 'media_id': ['a']}), tmp_path/'t.parquet', seed=1)
    assert json.loads(json.dumps(read_table(path).attrs))['provenance']['photographs'] == 1


def test_overwrite_ends_with_its_command(tmp_path):
    from typer.testing import CliRunner

    from urbanrivers_camtraps.apps.cli.options import app
    from urbanrivers_camtraps.foundations.outputs import may_overwrite
    CliRunner().invoke(app, ['web', '--overwrite', '--bundle', str(tmp_path/'none')])
    assert not may_overwrite()
