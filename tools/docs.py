"""Build the site of the notebooks: nbdev decides what is shown and linked, mkdocs-material makes the pages. Nothing is fetched."""
import logging, re, shutil, sys
from itertools import groupby
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbdev.config import get_config
from pages import page_markdown, processed

NOTEBOOKS = Path('nbs')
#: What the numbers of the notebooks stand for, in the order of the navigation.
SECTIONS = {'Tutorials': range(50, 60), 'From votes to labels': (1, 2), 'Photographs': (3, 4), 'Training and judging': (5, 6, 40),
            'Bundle, app, web': (7, 8, *range(19, 23)), 'SpeciesNet, seasons, review': (9, 10), 'Surveys': (11,), 'Reference': (0, 30, 31)}


def page_name(
    notebook: Path, # such as `nbs/00_core.ipynb`
) -> str:
    "Name the page of a notebook as nbdev's index does: `core.md`."
    return re.sub(r'^\d+[a-zA-Z0-9]*_', '', notebook.stem.lower()) + '.md'


def section_of(
    notebook: Path, # such as `nbs/00_core.ipynb`
) -> str:
    "Name the section in which a notebook stands."
    number = int(re.match(r'\d+', notebook.stem)[0])
    return next(name for name, numbers in SECTIONS.items() if number in numbers)


def navigation(
    notebooks: list[Path], # `index` among them
) -> list:
    "List the pages by section, as mkdocs wants it."
    order = list(SECTIONS)
    rooms = sorted((o for o in notebooks if o.stem != 'index'), key=lambda o: (order.index(section_of(o)), o.name))
    return [{'Overview': 'index.md'}, *({name: [*map(page_name, own)]} for name, own in groupby(rooms, section_of))]


def link_of(
    link: str, # relative, as it stands in a notebook
) -> str:
    "Lead a link to another notebook to its page, and one to a file outside the notebooks to the repository."
    path, _, anchor = link.partition('#')
    if path.endswith('.ipynb'): return page_name(Path(path)) + (f'#{anchor}' if anchor else '')
    if path.startswith('../'): return f'{get_config().git_url}/blob/{get_config().branch}/{path[3:]}'
    return link


def local_links(
    page: str, # Markdown
) -> str:
    "Lead nbdev's links, which name the published site, to the page beside this one; private names stand on none."
    site = f'{get_config().doc_host}{get_config().doc_baseurl}/'
    page = re.sub(rf'\[(`[^`]+`)\]\({re.escape(site)}\w+\.html#(?:\w+\.)?_\w*\)', r'\1', page)
    return re.sub(rf'\]\({re.escape(site)}(\w+)\.html', r'](\1.md', page)


def write_page(
    notebook: Path, # where it lies
    pages: Path, # folder for the Markdown
) -> None:
    "Write the page of one notebook, with its pictures beside it."
    page, pictures = pages/page_name(notebook), pages/'drawn'

    def keep(picture: bytes, extension: str) -> str:
        pictures.mkdir(exist_ok=True)
        path = pictures/f'{page.stem}_{len(list(pictures.glob(f"{page.stem}_*"))) + 1}.{extension}'
        path.write_bytes(picture)
        return path.relative_to(pages).as_posix()

    page.write_text(local_links(page_markdown(processed(notebook, signatures=True), keep, link_of)), encoding='utf-8')


def main(
    out: Path = Path(), # where `_proc`, the Markdown, and `_docs`, the site, go
) -> None:
    "Write all pages and build the site."
    pages = out.resolve()/'_proc'
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(NOTEBOOKS/'images', pages/'images')
    shutil.copy('tools/docs.css', pages)
    notebooks = sorted(NOTEBOOKS.glob('[!_.]*.ipynb'))
    for notebook in notebooks: write_page(notebook, pages)
    build(load_config('mkdocs.yml', nav=navigation(notebooks), docs_dir=str(pages), site_dir=str(pages.with_name('_docs'))))
    print(f'To read it: python -m http.server --directory {out/"_docs"}')


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING, format='%(message)s')  # or a strict build would end without a word
    main(*map(Path, sys.argv[1:]))
