"""The order of the chapters: a module imports only what stands before it."""
import ast
import json
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = 'urbanrivers_camtraps'
ROOT = Path(__file__).resolve().parents[1]
#: Libraries that only training may import.
TRAINING_ONLY = {'torch', 'fastai', 'torchvision', 'timm', 'onnx', 'onnxscript'}
#: A command imports what it needs when it runs, so that `camtraps --help` answers at once.
COMMANDS = ('apps.cli.', 'apps.main')


def numbers() -> dict[str, tuple[int, ...]]:
    "Return the numbers of each module that a notebook exports, chapter first, such as `votes.api`: (1, 10)."
    found = {}
    for notebook in (ROOT/'nbs').glob('[0-9]_*/**/[0-9]*.ipynb'):
        if exports := re.search(r'#\| default_exp (\S+?)[\\"]', notebook.read_text(encoding='utf-8')):
            found[exports[1]] = tuple(int(o.split('_')[0]) for o in notebook.relative_to(ROOT/'nbs').parts)
    return found


NUMBERS = numbers()
PATHS = {o: ROOT/PACKAGE/f"{o.replace('.', '/')}.py" for o in NUMBERS}
TREES = {o: ast.parse(path.read_text(encoding='utf-8')) for o, path in PATHS.items()}


def imports(module: str) -> Iterator[tuple[str, str, bool]]:
    "Yield what a module imports: the other module's full name, the name taken from it, and whether in a function."
    functions = [o for o in ast.walk(TREES[module]) if isinstance(o, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import): yield from ((o.name, '', id(node) in inside) for o in node.names)
        if not isinstance(node, ast.ImportFrom): continue
        parents = f'{PACKAGE}.{module}'.split('.')[:-node.level] if node.level else []
        source = '.'.join([*parents, *filter(None, [node.module])])
        for taken in node.names:
            whole = f'{source}.{taken.name}'  # a module itself, as in `from ..images import photograph`
            yield (*((whole, '') if ours(whole) in NUMBERS else (source, taken.name)), id(node) in inside)


def ours(name: str) -> str:
    "Return `votes.api` for the full name of one of our modules, and nothing for another."
    return name.removeprefix(f'{PACKAGE}.') if name.startswith(f'{PACKAGE}.') else ''


def test_every_module_has_a_notebook_in_its_chapter():
    modules = {'.'.join(o.relative_to(ROOT/PACKAGE).with_suffix('').parts) for o in (ROOT/PACKAGE).rglob('[!_]*.py')}
    assert modules == set(NUMBERS)
    assert len(set(NUMBERS.values())) == len(NUMBERS), 'two notebooks have one number'


def test_cells_are_of_the_kinds_that_jupyter_opens():
    wrong = [o.name for o in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts
             for cell in json.loads(o.read_text(encoding='utf-8'))['cells'] if cell['cell_type'] not in ('code', 'markdown', 'raw')]
    assert wrong == []


def test_imports_go_to_lower_numbers():
    upward = [f'{module} imports {ours(source)}' for module in NUMBERS for source, *_ in imports(module)
              if ours(source) in NUMBERS and NUMBERS[ours(source)] >= NUMBERS[module]]
    assert upward == []


def test_no_import_goes_round_in_a_circle():
    graph = {o: {ours(source) for source, *_ in imports(o)} & NUMBERS.keys() for o in NUMBERS}
    TopologicalSorter(graph).prepare()  # raises `CycleError`


def test_our_own_modules_are_imported_at_the_top():
    late = [f'{module} imports {source}' for module in NUMBERS if not module.startswith(COMMANDS)
            for source, _, is_inside in imports(module) if ours(source) and is_inside]
    assert late == []


def test_no_private_name_is_imported():
    private = [f'{module} imports {name} from {source}' for module in NUMBERS for source, name, _ in imports(module)
               if ours(source) and name.startswith('_')]
    assert private == []


def test_only_training_needs_torch():
    found = [f'{module} imports {source}' for module in NUMBERS if not module.startswith('training.')
             for source, *_ in imports(module) if source.partition('.')[0] in TRAINING_ONLY]
    assert found == []


def test_lines_end_at_120_columns():
    "Aside from `__all__`, which nbdev writes."
    long = [f'{module}:{number}' for module, path in PATHS.items()
            for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
            if len(line) > 120 and '__all__' not in line]
    assert long == []
