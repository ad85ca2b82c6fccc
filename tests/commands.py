"""Run `camtraps` as a person would, in a process, a folder and an environment of its own: the installed script, or sooner a copy of a process
that has imported everything."""
import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

#: The script that pip has installed.
CAMTRAPS = Path(sys.executable).parent/'camtraps'
#: What the commands import late. A process that has imported it begins each command as a copy of itself: torch and fastai alone take seven seconds.
IMPORTED = ('urbanrivers_camtraps.apps.main', 'urbanrivers_camtraps.training.finetune', 'urbanrivers_camtraps.training.attention',
            'urbanrivers_camtraps.training.export', 'urbanrivers_camtraps.evaluation.audit', 'urbanrivers_camtraps.evaluation.report',
            'urbanrivers_camtraps.survey.report')


def script(
    *arguments: object, # command and options
    folder: Path, # where to run it
) -> CompletedProcess: # exit status, and what was printed
    "Run the installed script with a Python of its own. For a command that trains or evaluates, `camtraps` saves seven seconds."
    return subprocess.run([CAMTRAPS, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=1800)


@cache
def _processes():
    "Processes that begin as a copy of one in which nothing but the imports has happened."
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _command(arguments: list[str], folder: str, environment: dict[str, str], printed: tuple[str, str]) -> None:
    "What the installed script does; it ends with the exit status."
    gc.freeze()  # or each collection would go through all that was imported, and copy it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(printed, 1): os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ['camtraps', *arguments]
    from urbanrivers_camtraps.apps.main import main
    try: main()
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def camtraps(
    *arguments: object, # command and options
    folder: Path, # where to run it
    seconds: float = 1800, # after which it is killed
    **environment: str, # added to that of the tests
) -> CompletedProcess: # exit status, and what was printed
    "Run a command to its end."
    words = [str(o) for o in arguments]
    with tempfile.TemporaryDirectory() as kept:
        printed = str(Path(kept)/'stdout'), str(Path(kept)/'stderr')
        process = _processes().Process(target=_command, args=(words, str(folder), {**os.environ, **environment}, printed))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f'camtraps {words} takes longer than {seconds} seconds')
        out, err = (Path(o).read_text(encoding='utf-8') if Path(o).exists() else '' for o in printed)
    return CompletedProcess(words, process.exitcode, out, err)
