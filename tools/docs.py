"""Build the site of the notebooks: nbdev makes signatures and links, mkdocs-material the pages. Nothing is fetched."""
import re, shutil
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbdev.config import get_config
from pages import page_markdown, processed

NOTEBOOKS, PAGES = Path('nbs'), Path('_proc')


def page_name(
    notebook: Path, # such as `nbs/00_core.ipynb`
) -> str:
    "Name the page of a notebook as nbdev's index does: `core.md`."
    return re.sub(r'^\d+[a-zA-Z0-9]*_', '', notebook.stem.lower()) + '.md'


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
    "Lead nbdev's links, which name the published site, to the page beside this one; anchor headings as they expect."
    site = f'{get_config().doc_host}{get_config().doc_baseurl}/'
    page = re.sub(rf'\]\({re.escape(site)}(\w+)\.html', r'](\1.md', page)
    def anchored(heading): return f'{heading[1]}`{heading[2]}` {{ #{heading[2].lower()} }}'
    return re.sub(r'^(### )([A-Za-z_][\w.]*)$', anchored, page, flags=re.MULTILINE)


def write_page(
    notebook: Path, # where it lies
) -> None:
    "Write the page of one notebook, with its pictures beside it."
    page, pictures = PAGES/page_name(notebook), PAGES/'drawn'

    def keep(picture: bytes, extension: str) -> str:
        pictures.mkdir(exist_ok=True)
        path = pictures/f'{page.stem}_{len(list(pictures.glob(f"{page.stem}_*"))) + 1}.{extension}'
        path.write_bytes(picture)
        return path.relative_to(PAGES).as_posix()

    page.write_text(local_links(page_markdown(processed(notebook, signatures=True), keep, link_of)), encoding='utf-8')


def main() -> None:
    "Write all pages and build the site."
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    if (NOTEBOOKS/'images').exists(): shutil.copytree(NOTEBOOKS/'images', PAGES/'images')
    notebooks = sorted(NOTEBOOKS.glob('[!_.]*.ipynb'), key=lambda o: (o.stem != 'index', o.name))
    for notebook in notebooks: write_page(notebook)
    first, *others = map(page_name, notebooks)
    build(load_config('mkdocs.yml', nav=[{'Overview': first}, *others]))
    print('To read it: python -m http.server --directory _docs')


if __name__ == '__main__': main()
