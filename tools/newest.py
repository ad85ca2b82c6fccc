"""Run the demo, the app and a dry run of publishing on the newest releases that settings.ini admits: today's user gets those."""
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from make_wheel import build_wheel


def pinned(
    listing: str, # lines of `name==version`
) -> dict[str, str]:
    "Read versions by name, spelled as pip compares them."
    pairs = (line.split('==') for line in listing.splitlines() if '==' in line and not line.startswith('#'))
    return {name.lower().replace('_', '-'): version for name, version in pairs}


def main() -> None:
    "Install the wheel into an empty environment elsewhere, say what is newer there, and run demo, app and publishing in it."
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, python = build_wheel(root, folder), folder/'venv'/'bin'/'python'
        venv.create(folder/'venv', with_pip=True)
        print('Installing the newest releases: a few minutes.', flush=True)
        subprocess.run([python, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check', f'{wheel}[train,app]'],
                       check=True)
        frozen = subprocess.run([python, '-m', 'pip', 'freeze'], check=True, capture_output=True, text=True).stdout
        ours, theirs = pinned((root/'constraints.txt').read_text()), pinned(frozen)
        for package, version in sorted(theirs.items()):
            if ours.get(package) != version: print(f"  {package} {ours.get(package, 'not pinned')} -> {version}")
        sys.stdout.flush()
        camtraps = python.with_name('camtraps')
        for command in ([camtraps, 'demo', '--out', folder/'demo'],
                        [python, root/'tools'/'newest_pages.py', camtraps, folder/'demo']):
            if status := subprocess.run(command, cwd=folder).returncode: sys.exit(status)


if __name__ == '__main__': main()
