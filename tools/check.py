"""Fail where notebooks are not clean, or a module, app.py or README.md is not what the notebooks make.

The tree is left as it is: everything is made again in a copy, so that nobody loses an edit made in the wrong file."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = 'urbanrivers_camtraps'
MADE = ('nbs', PACKAGE, 'README_files', 'app.py', 'README.md')  # from notebooks
NEEDED = ('settings.ini', 'tools')  # to make them
IGNORED = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')


def copy_tree(
    folder: Path, # empty
) -> None:
    "Copy what is made from notebooks, and what that takes, into `folder`."
    for name in MADE + NEEDED:
        if Path(name).is_dir(): shutil.copytree(name, folder/name, ignore=IGNORED)
        elif Path(name).exists(): shutil.copy(name, folder/name)


def contents(
    root: Path, # the project or a copy
) -> dict[str, bytes]:
    "Read every file that is made from notebooks."
    paths = [path for name in MADE for path in (root/name, *(root/name).rglob('*'))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths
            if path.is_file() and not {'__pycache__', '.ipynb_checkpoints'} & set(path.parts)}


def differing() -> list[str]:
    "List the files that the notebooks would make otherwise."
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        copy_tree(copy)
        subprocess.run([sys.executable, 'tools/export.py'], cwd=copy, check=True)
        before, after = contents(Path()), contents(copy)
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def orphans() -> list[str]:
    "List modules whose notebook is gone: nbdev leaves them lying, and they would still be imported."
    found = []
    for module in sorted(Path(PACKAGE).rglob('[!_]*.py')):
        source = re.search(r'File to edit: (?:\.\./)+(\S+\.ipynb)', module.read_text(encoding='utf-8'))
        if not source or not Path(source[1]).exists(): found.append(module.as_posix())
    return found


def uncommitted() -> list[str]:
    "List what git sees as changed or new; only CI, which starts from a fresh clone, demands that there is nothing."
    if not os.environ.get('CI'): return []
    status = subprocess.run(['git', 'status', '--porcelain'], check=True, capture_output=True, text=True)
    return [line[3:] for line in status.stdout.splitlines()]


if __name__ == '__main__':
    faults = {'differ from what the notebooks make. Run `make export`, look at the change and commit it': differing(),
              'come from no notebook. Delete them, or write the notebook': orphans(),
              'are changed or new in what should be a fresh clone. Commit or ignore them': uncommitted()}
    for fault, paths in faults.items():
        if paths: print(f"These files {fault}:\n  " + '\n  '.join(paths), file=sys.stderr)
    sys.exit(any(faults.values()))
