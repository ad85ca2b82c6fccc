"""Build the wheel into a folder, from a copy: setuptools would put leftovers of an older build into it."""
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def build_wheel(
    root: Path, # the project
    out: Path, # folder for the wheel
) -> Path:
    "Build the wheel of the files that git knows or would add."
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=root,
                            check=True, capture_output=True, text=True).stdout.split('\0')
    with tempfile.TemporaryDirectory() as copy:
        for name in filter(None, listed):
            if not (root/name).exists(): continue  # deleted, not yet committed
            (Path(copy)/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root/name, Path(copy)/name)
        subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-qq', '--no-deps', '-w', out, copy], check=True)
    return next(out.glob('*.whl'))


if __name__ == '__main__': print(build_wheel(Path(__file__).resolve().parents[1], Path(sys.argv[1]).resolve()))
