"""Build the site of the notebooks: nbdev decides what is shown and linked, mkdocs-material makes the pages. Nothing is fetched."""
import logging
import posixpath
import re
import shutil
import sys
from itertools import groupby
from pathlib import Path, PurePosixPath

from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbdev.config import get_config

from pages import exported_module, page_markdown, processed, public_names, retarget

NOTEBOOKS = Path('nbs')
TUTORIALS = 'tutorials'
#: What a folder of notebooks is called in the navigation, if its name alone says too little.
TITLES = {'density': 'Activity and overlap', 'edited': 'Events, edited by hand', 'waiting': 'Events that wait for review',
          'ways_out': 'Sorting and exports', 'health': 'Camera health', 'groups': 'Group sizes', 'corrected': 'Corrected answers',
          'gaps': 'Event gaps', 'mixed': 'Mixed model', 'plan': 'Plan a survey', 'camtrap_dp': 'Camtrap DP',
          'exchange': 'For R and Excel', 'page': 'Words of the report', 'seasons': 'Simulated seasons', 'cli': 'Command line'}


def notebook_paths() -> list[PurePosixPath]: # such as `1_votes/12_api.ipynb`
    "List the notebooks, relative to `nbs`: the tutorials first, then the chapters by their numbers."
    found = [PurePosixPath(o.relative_to(NOTEBOOKS).as_posix()) for o in NOTEBOOKS.rglob('*.ipynb')]
    shown = [o for o in found if not any(part[0] in '_.' for part in o.parts)]
    return sorted(shown, key=lambda o: (o.parts[0] != TUTORIALS, o.parts))


def page_name(
    notebook: PurePosixPath, # relative to `nbs`, such as `1_votes/12_api.ipynb`
) -> PurePosixPath:
    "Name the page of a notebook as nbdev's index does: `1_votes/api.md`."
    return notebook.with_name(re.sub(r'^\d+[a-zA-Z0-9]*_', '', notebook.stem.lower()) + '.md')


def navigation(
    notebooks: list[PurePosixPath], # in order, `index` among them
) -> list:
    "List the pages by chapter, as mkdocs wants it, and the repository after them."
    chapters = section([o for o in notebooks if len(o.parts) > 1], depth=0)
    return [{'Overview': 'index.md'}, *chapters, {'Repository': get_config().git_url}]


def section(
    notebooks: list[PurePosixPath], # in order
    depth: int, # folders above them
) -> list:
    "List pages, and the pages of each folder under the folder's name."
    found = []
    for folder, own in groupby(notebooks, lambda o: o.parts[depth] if len(o.parts) > depth + 1 else None):
        if folder is None: found += [str(page_name(o)) for o in own]
        else:
            name = folder.lstrip('0123456789_')
            title = TITLES.get(name, name.capitalize()) if depth else name.capitalize()
            found.append({title: section(list(own), depth + 1)})
    return found


def in_repository(
    path: PurePosixPath | str, # from the project's root
) -> str:
    "Return the address of a file of the project."
    return f'{get_config().git_url}/blob/{get_config().branch}/{path}'


def link_from(
    notebook: PurePosixPath, # relative to `nbs`
    link: str, # relative to the notebook
) -> str:
    "Lead a link to another notebook to its page, and one to a file outside the notebooks to the repository."
    path, _, anchor = link.partition('#')
    target = posixpath.normpath(posixpath.join('nbs', notebook.parent, path))
    if not target.startswith('nbs/'): return in_repository(target) + (f'#{anchor}' if anchor else '')
    if not path.endswith('.ipynb'): return link
    page = page_name(PurePosixPath(target).relative_to('nbs'))
    return posixpath.relpath(page, notebook.parent) + (f'#{anchor}' if anchor else '')


def local_links(
    text: str, # Markdown
    page: PurePosixPath, # where it will stand
    own: set[str], # public names of the module that the page documents
) -> str:
    "Lead nbdev's links, which name the published site, to the page beside this one; private names stand on none."
    site = re.escape(f'{get_config().doc_host}{get_config().doc_baseurl}/')

    def relative(found: re.Match) -> str:
        return found[1] + posixpath.relpath(found[2], page.parent) + ('.md' if found[1] == '](' else '.html')

    text = re.sub(rf'\[(`[^`]+`)\]\({site}[\w/]+\.html#(?:\w+\.)?_\w*\)', r'\1', text)
    text = re.sub(rf'(\[`(\w+)(?:\(\))?`\]\(){site}[\w/]+\.html#',  # a name that two modules have is the own one here
                  lambda found: f'{found[1]}{page.name}#' if found[2] in own else found[0], text)
    return re.sub(rf'(\]\(|href="){site}([\w/]+)\.html', relative, text)


def ways_to_open(
    notebook: PurePosixPath, # relative to `nbs`
) -> str:
    "Write the line below a page's title: the notebook, and for a tutorial the services that run it."
    links = [f'[Notebook]({in_repository(NOTEBOOKS/notebook)})']
    if notebook.parts[0] == TUTORIALS:
        github = get_config().git_url.removeprefix('https://github.com')
        links += [f'[Open in Colab](https://colab.research.google.com/github{github}/blob/{get_config().branch}/nbs/{notebook})',
                  f'[Open in Kaggle](https://kaggle.com/kernels/welcome?src={in_repository(NOTEBOOKS/notebook)})']
    return ' · '.join(links) + '\n{ .opens }'


def write_page(
    notebook: PurePosixPath, # relative to `nbs`
    pages: Path, # folder for the Markdown
) -> None:
    "Write the page of one notebook, with its pictures beside it."
    name = page_name(notebook)
    page, pictures = pages/name, pages/name.parent/'drawn'
    page.parent.mkdir(parents=True, exist_ok=True)

    def keep(picture: bytes, extension: str) -> str:
        pictures.mkdir(exist_ok=True)
        path = pictures/f'{page.stem}_{len(list(pictures.glob(f"{page.stem}_*"))) + 1}.{extension}'
        path.write_bytes(picture)
        return path.relative_to(page.parent).as_posix()

    path = NOTEBOOKS/notebook
    text = page_markdown(processed(path, signatures=True), keep, lambda link: link_from(notebook, link))
    text = re.sub('^# .*\n', lambda title: f'{title[0]}\n{ways_to_open(notebook)}\n', text, count=1, flags=re.MULTILINE)
    text = retarget(text, lambda link: link_from(notebook, link))  # also the links of docstrings
    page.write_text(local_links(text, name, public_names(exported_module(path))), encoding='utf-8')


def main(
    out: Path = Path(), # where `_proc`, the Markdown, and `_docs`, the site, go
) -> None:
    "Write all pages and build the site."
    pages = out.resolve()/'_proc'
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(NOTEBOOKS/'images', pages/'images')
    shutil.copy('tools/docs.css', pages)
    notebooks = notebook_paths()
    for notebook in notebooks: write_page(notebook, pages)
    site = pages.with_name('_docs')
    build(load_config('mkdocs.yml', nav=navigation(notebooks), docs_dir=str(pages), site_dir=str(site)))
    print(f'To read it: python -m http.server --directory {out/"_docs"}')


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING, format='%(message)s')  # or a strict build would end without a word
    main(*map(Path, sys.argv[1:]))
