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
