"""The command line as a person at a terminal meets it."""
import ast
import importlib
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from urbanrivers_camtraps.apps import main
from urbanrivers_camtraps.apps.cli import options

CLI = Path(options.__file__).parent
MODULES = [*sorted(o for o in CLI.glob('*.py') if o.name != '__init__.py'), CLI.parent/'main.py']


def lazy_names(tree: ast.Module) -> dict[str, str]:
    "List the modules that a module of the command line loads when it needs them, by the name it uses."
    return {node.targets[0].id: node.value.args[0].value for node in tree.body if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call) and getattr(node.value.func, 'id', '') == 'LazyModule'}


@pytest.mark.parametrize('path', MODULES, ids=lambda o: o.stem)
def test_what_is_loaded_late_is_there(path):
    "A name that was renamed elsewhere would fail only when somebody runs the command."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    modules = lazy_names(tree)
    used = {(modules[node.value.id], node.attr) for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name) and node.value.id in modules and isinstance(node.ctx, ast.Load)}
    assert set(modules.values()) <= {name for name, _ in used}, "a module is named and not used"
    assert [f'{name}.{attribute}' for name, attribute in sorted(used) if not hasattr(importlib.import_module(name), attribute)] == []


def test_choices_are_those_of_the_library():
    "They are written down twice, so that showing the help loads nothing."
    from urbanrivers_camtraps.dataset.bursts import GROUP_COLUMNS
    from urbanrivers_camtraps.inference.season import FORMATS
    from urbanrivers_camtraps.review.queue import Order
    from urbanrivers_camtraps.review.season_queue import QueueOrder
    from urbanrivers_camtraps.survey.camtrap_dp.writing import People
    from urbanrivers_camtraps.training.bundle_format import MODELS
    from urbanrivers_camtraps.votes.consensus import METHODS

    def values(choice: type[Enum]) -> set[str]: return {o.value for o in choice}
    assert values(options.By) == set(GROUP_COLUMNS)
    assert values(options.Precision) == set(MODELS)
    assert values(options.Format) == set(FORMATS)
    assert values(options.ReviewOrder) == {*get_args(Order), *get_args(QueueOrder)}
    assert values(options.People) == set(get_args(People))
    assert values(options.Consensus) == {'agreement', *METHODS}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    "Run the command in a process of its own."
    return subprocess.run([sys.executable, '-m', 'urbanrivers_camtraps.apps.main', *arguments], cwd=cwd, capture_output=True, text=True)


def test_every_command_is_listed_in_the_help(tmp_path):
    done = run('--help', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in get_command(main.app).commands: assert f' {command} ' in done.stdout, command


def test_version_and_unknown_commands(tmp_path):
    shown = run('--version', cwd=tmp_path)
    assert (shown.returncode, shown.stdout.split()[0]) == (0, 'camtraps')
    assert run('fetsch', cwd=tmp_path).returncode == 2


@pytest.mark.parametrize('arguments, words', [
    (('check', 'notes.txt'), 'notes.txt: cannot be read: is not a photograph'),
    (('check', 'notes.txt', 'bad.jpg'), 'neither can any other of 2'),
    (('card',), 'Run `camtraps dataset` first'),
    (('fetch', '--server', 'server.org'), 'Write it with https://'),
    (('fetch', '--server', 'http://127.0.0.1:9', '--since', 'last'), 'without --since first'),
    (('plan-survey', '--rate', '5', '--power', '2'), 'power: 2 is not possible. Write a share between 0 and 1'),
    (('plan-survey', '--rate', '0'), 'rate: 0 is not possible'),
    (('predict', 'bad.jpg', '--bundle', 'notes.txt'), 'is a file; a bundle is a folder'),
    (('preview', '--season', 'notes.txt'), 'is not a readable Parquet file. Run'),
    (('survey', '--changed', '2025-04-30'), 'Add --arms with a table of location and arm'),
    (('sandbox', '--faults', 'cut'), "needs a share behind 'cut'"),
    (('clean', '--data', 'notes.txt'), 'is a file'),
    (('demo', '--out', 'notes.txt'), 'is a file'),
    (('sandbox', '--port', '99999'), '65535'),
], ids=lambda o: ' '.join(o) if isinstance(o, tuple) else '')
def test_what_was_typed_wrong_is_named(arguments, words, tmp_path, monkeypatch, capsys):
    "Neither a traceback nor a status of 0: what happened, where, and what to do."
    monkeypatch.chdir(tmp_path)
    for name in ('notes.txt', 'bad.jpg'): Path(name).write_text('not a photograph')
    assert main.run(list(arguments)) in (1, 2)
    told = ' '.join(capsys.readouterr().err.split())
    assert words in told and 'Errno' not in told and 'unexpected' not in told


def test_the_help_shows_names_in_brackets(capsys):
    "Rich takes `[mcp]` for a style and leaves it out, unless it is escaped."
    assert main.run(['app', '--help']) == 0
    assert 'urbanrivers_camtraps[mcp]' in ''.join(capsys.readouterr().out.replace('│', '').split())


def test_photographs_beside_the_shell_have_a_camera(tmp_path, monkeypatch, capsys):
    "`cd card` and `camtraps check a.jpg`: the camera is called as the folder."
    (tmp_path/'weir').mkdir()
    monkeypatch.chdir(tmp_path/'weir')
    Path('a.jpg').write_text('x')
    main.run(['check', 'a.jpg', '--no-pixels'])
    assert '\nweir: no time' in capsys.readouterr().out
