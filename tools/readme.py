"""Make README.md from nbs/index.ipynb. Pictures in README_files are those that its cells draw."""
import posixpath
import re
import shutil
from pathlib import Path

from pages import page_markdown, processed

#: Badges are pictures of other hosts: GitHub shows them, and the site, which fetches nothing, goes without.
BADGES = """
[![tests](https://github.com/urbanrivers/urbanrivers_camtraps/actions/workflows/test.yml/badge.svg)](https://github.com/urbanrivers/urbanrivers_camtraps/actions/workflows/test.yml)
[![documentation](https://img.shields.io/badge/documentation-notebooks-blue)](https://urbanrivers.github.io/urbanrivers_camtraps)
[![licence](https://img.shields.io/badge/licence-Apache--2.0-green)](LICENSE)
"""
NOTE = '<!-- Made from nbs/index.ipynb: edit that and run `make export`. -->\n\n'


def write_readme(
    root: Path = Path(), # the project
) -> None:
    "Write README.md and the pictures it needs; pictures it no longer needs go."
    folder = root/'README_files'
    shutil.rmtree(folder, ignore_errors=True)

    def keep(picture: bytes, extension: str) -> str:
        folder.mkdir(exist_ok=True)
        path = folder/f'{len(list(folder.iterdir())) + 1}.{extension}'
        path.write_bytes(picture)
        return path.relative_to(root).as_posix()

    cells = processed(root/'nbs'/'index.ipynb', signatures=False)
    page = page_markdown(cells, keep, lambda link: posixpath.normpath(posixpath.join('nbs', link)))
    page = re.sub('^# .*\n', lambda title: title[0] + BADGES, page, count=1, flags=re.MULTILINE)
    (root/'README.md').write_text(NOTE + page, encoding='utf-8')


if __name__ == '__main__': write_readme()
