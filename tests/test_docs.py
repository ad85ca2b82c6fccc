"""The site of the notebooks as a reader meets it, and the workflows that build, test and release."""
import functools
import http.server
import importlib
import inspect
import json
import posixpath
import re
import subprocess
import sys
import threading
from collections import defaultdict
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from test_apps_app import CHROMIUM, QUIET, needs_browser

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(o for o in (ROOT/'nbs').rglob('*.ipynb')
                   if not any(part[0] in '_.' for part in o.relative_to(ROOT/'nbs').parts))
WORKFLOWS = sorted((ROOT/'.github'/'workflows').iterdir())


class Page(HTMLParser):
    "What is on a page: title, first headings, anchors, links, pictures, text, and the parameters that stand under each anchor."
    def __init__(self, path: Path):
        super().__init__()
        self.title, self.headings, self.ids, self.pictures, self.parameters = '', [], [], [], defaultdict(list)
        self.links, self.navigation = [], []
        self.tags, self.heading, self.in_table, self.column, self.pieces = [], None, 0, 0, []
        self.feed(path.read_text(encoding='utf-8'))
        self.text = ''.join(self.pieces)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if 'id' in given and not given['id'].startswith('__'): self.ids.append(given['id'])  # the theme's own begin so
        if tag == 'a' and 'href' in given: self.links.append(given['href'])
        if tag == 'a' and 'md-nav__link' in given.get('class', ''): self.navigation.append(given['href'])
        if tag in ('link', 'script'): self.links += [given[o] for o in ('href', 'src') if o in given and given.get('rel') != 'canonical']
        if tag == 'img': self.pictures.append((given['src'], given.get('alt')))
        if re.fullmatch('h[1-6]', tag) and 'id' in given: self.heading = given['id']
        if tag == 'h1': self.headings.append('')
        if tag == 'div' and (self.in_table or given.get('class') == 'parameters'): self.in_table += 1
        if tag == 'tr': self.column = 0
        if tag == 'td': self.column += 1
        if tag not in ('br', 'img', 'link', 'meta', 'input', 'hr', 'source'): self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag == 'div' and self.in_table: self.in_table -= 1
        while tag in self.tags and self.tags.pop() != tag: pass

    def handle_data(self, data):
        self.pieces.append(data)
        if self.tags[-1:] == ['title']: self.title += data
        if 'h1' in self.tags: self.headings[-1] += data
        if self.in_table and self.column == 1 and self.tags[-1] == 'code': self.parameters[self.heading].append(data)


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    "The folder of the site, built as `make docs` builds it."
    out = tmp_path_factory.mktemp('docs')
    built = subprocess.run([sys.executable, '-W', 'ignore', 'tools/docs.py', out], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return out/'_docs'


@pytest.fixture(scope='module')
def pages(site) -> dict[str, Page]:
    "Every page by its path below the site."
    return {o.relative_to(site).as_posix(): Page(o) for o in sorted(site.rglob('*.html')) if o.name != '404.html'}


def page_of(notebook: Path) -> str:
    "Name the page of a notebook, without asking the tool that makes it."
    path = notebook.relative_to(ROOT/'nbs')
    return path.with_name(path.stem.lower().split('_', 1)[-1] + '.html').as_posix()


def target_of(
    page: str, # on which the link stands
    link: str, # relative
) -> tuple[str, str]: # path below the site, and anchor
    "Follow a link from a page."
    parts = urlsplit(link)
    path = unquote(parts.path)
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page, unquote(parts.fragment)


def test_every_notebook_has_a_page_with_a_title(pages):
    assert set(pages) == {page_of(o) for o in NOTEBOOKS}
    assert len({o.title for o in pages.values()}) == len(pages), 'two pages have one title'
    for name, page in pages.items():
        assert len(page.headings) == 1 and page.headings[0].strip('¶ \n'), f'{name}: {page.headings}'


def test_every_page_is_reached_from_the_first(pages):
    "From the navigation, which is on each page."
    assert set(pages) <= {target_of('index.html', o)[0] for o in pages['index.html'].links}


def test_tutorials_come_first(pages):
    chapters = list(dict.fromkeys(target_of('index.html', o)[0].split('/')[0] for o in pages['index.html'].navigation))
    folders = [o for o in chapters if o[:1].isdigit()]
    assert [o for o in chapters if o == 'tutorials' or o in folders] == ['tutorials', *sorted(folders)]


def test_tutorials_can_be_opened_elsewhere(pages):
    for notebook in NOTEBOOKS:
        links = ' '.join(pages[page_of(notebook)].links)
        path = notebook.relative_to(ROOT).as_posix()
        assert f'/blob/main/{path}' in links
        for service in ('colab.research.google.com/github/', 'kaggle.com/kernels/welcome?src=https://github.com/'):
            address = f'https://{service}urbanrivers/urbanrivers_camtraps/blob/main/{path}'
            assert (address in links) == (notebook.parent.name == 'tutorials'), f'{path}: {address}'


def test_no_dead_link_and_no_missing_picture(site, pages):
    dead = []
    for name, page in pages.items():
        for link in page.links + [o for o, _ in page.pictures]:
            if urlsplit(link).scheme in ('http', 'https', 'mailto', 'data') or link in ('.', '..', '../'): continue
            target, anchor = target_of(name, link)
            if not (site/target).is_file(): dead.append(f'{name}: {link}')
            elif anchor and target in pages and anchor not in pages[target].ids: dead.append(f'{name}: {link}')
    assert not dead, '\n'.join(dead)


def test_no_anchor_twice(pages):
    assert {name: twice for name, page in pages.items() if (twice := {o for o in page.ids if page.ids.count(o) > 1})} == {}


@pytest.mark.parametrize('path', ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'])
def test_files_that_a_text_names_are_there(path):
    "On GitHub a link is relative to the file in which it stands, and an anchor is a heading."
    text = (ROOT/path).read_text(encoding='utf-8')
    headings = {re.sub(r'[^\w\- ]', '', o.lower()).strip().replace(' ', '-') for o in re.findall(r'^#+ (.*)', text, re.MULTILINE)}
    links = re.findall(r'\]\(([^)\s]+)', text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    own = [o for o in links if not urlsplit(o).scheme]
    assert own or path == 'CHANGELOG.md'
    for link in own:
        file, _, anchor = link.partition('#')
        assert (ROOT/unquote(file)).exists(), f'{path}: {link}'
        assert file or anchor in headings, f'{path}: {link}'


def test_links_into_the_repository(pages):
    "Source and files beside the notebooks exist, with that many lines."
    links = {o for page in pages.values() for o in page.links if '/urbanrivers_camtraps/blob/main/' in o}
    assert any('#L' in o for o in links) and any(o.endswith('.ipynb') for o in links)
    for link in links:
        path, _, line = link.partition('/blob/main/')[2].partition('#L')
        assert (ROOT/path).exists(), link
        if line: assert int(line) <= len((ROOT/path).read_text(encoding='utf-8').splitlines()), link


def test_every_picture_says_what_it_shows(pages):
    assert [(name, source) for name, page in pages.items() for source, alt in page.pictures if not alt] == []


def public() -> list[tuple[str, str, object]]:
    "List every public function and class of every module that a notebook exports: its page, its name, itself."
    found = []
    for notebook in NOTEBOOKS:
        exports = re.search(r'#\| default_exp (\S+?)[\\"]', notebook.read_text(encoding='utf-8'))
        if not exports: continue
        module = importlib.import_module(f'urbanrivers_camtraps.{exports[1]}')
        for name in module.__all__:
            thing = getattr(module, name)
            if not (inspect.isfunction(thing) or inspect.isclass(thing)) or thing.__module__ != module.__name__: continue
            if inspect.isclass(thing) and issubclass(thing, Enum): continue
            found.append((page_of(notebook), name, thing))
    return found


def test_every_public_function_is_documented_with_its_parameters(pages):
    things, faults = public(), []
    functions = {(page, name) for page, name, _ in things}
    assert ('1_votes/cleaning.html', 'clean') in functions
    for page, name, thing in things:
        wanted = [o for o in inspect.signature(thing).parameters if o != 'self']
        anchor = name.lower() + ('_class' if name != name.lower() and (page, name.lower()) in functions else '')
        shown = pages[page].parameters[anchor] if anchor in pages[page].ids else 'nothing'
        if shown != wanted: faults.append(f'{page}: of {name} it shows {shown}, not {wanted}')
    assert not faults, '\n'.join(faults)


def test_names_lead_to_their_page(pages):
    cleaning = pages['1_votes/cleaning.html'].links
    assert 'cleaning.html#cleanerror' in cleaning  # in a docstring
    assert 'cleaning.html#rules' in cleaning  # as a type
    assert '../1_votes/cleaning.html#clean' in pages['tutorials/kaggle.html'].links  # in prose


def is_hidden(cell: dict) -> bool:
    "Whether a cell asks not to be shown."
    return bool(re.search(r'^#\|\s*(hide\s*$|include:\s*false)', ''.join(cell['source']), flags=re.MULTILINE))


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_nothing_hidden_is_shown(pages, notebook):
    cells = json.loads(notebook.read_text(encoding='utf-8'))['cells']
    shown = '\n'.join(''.join(o['source']) for o in cells if not is_hidden(o))
    hidden = [line.strip() for o in cells if is_hidden(o) for line in o['source'] if not line.startswith('#|')]
    page = pages[page_of(notebook)].text
    assert [line for line in hidden if len(line) > 30 and line not in shown and line in page] == []
    assert '#|' not in page


def test_no_path_of_this_machine(site):
    own = '|'.join(re.escape(f'{o}/') for o in {str(ROOT), str(Path.home()), sys.prefix} if o != '/')
    pattern = re.compile(rf'{own}|(?<![\w.])/(tmp|root|work|workspace|Users)/')
    found = [f'{o.name}: {hit[0]}' for o in sorted(site.rglob('*')) if o.suffix in ('.html', '.json', '.xml', '.svg')
             for hit in pattern.finditer(o.read_text(encoding='utf-8'))]
    assert found == []


# ── in the browser ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope='module')
def opened(site):
    "A function that opens a page and returns it; afterwards no console complained and nobody else was asked for anything."
    from playwright.sync_api import sync_playwright
    quiet = type('Quiet', (http.server.SimpleHTTPRequestHandler,), {'log_message': lambda *_: None})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, complaints = f'http://127.0.0.1:{server.server_port}/', []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)

        def open_page(name: str, **settings):
            page = browser.new_page(**{'viewport': {'width': 1280, 'height': 900}, **settings})
            page.on('console', lambda said: said.type in ('error', 'warning') and complaints.append(said.text))
            page.on('pageerror', lambda error: complaints.append(str(error)))
            page.on('request', lambda asked: asked.url.startswith((address, 'data:', 'blob:')) or complaints.append(asked.url))
            page.goto(address + name, wait_until='networkidle')
            return page

        yield open_page
        browser.close()
    server.shutdown()
    server.server_close()
    assert complaints == []


@needs_browser
def test_search_without_a_network(opened):
    from playwright.sync_api import expect
    page = opened('index.html')
    page.locator('input.md-search__input').click()
    page.keyboard.type('observations')
    page.locator('a.md-search-result__link[href*="api.html"]').first.click()
    expect(page).to_have_url(re.compile(r'/1_votes/api\.html'))


@needs_browser
@pytest.mark.parametrize('name', ['index.html', '5_evaluation/metrics.html', '8_survey/report.html', 'tutorials/kaggle.html'])
def test_on_a_phone_in_the_dark(opened, name):
    page = opened(name, viewport={'width': 390, 'height': 844}, color_scheme='dark')
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') != opened(name).evaluate('getComputedStyle(document.body).backgroundColor')
    assert page.evaluate('[...document.images].filter(o => o.complete && !o.naturalWidth).map(o => o.src)') == []


# ── workflows ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda o: o.stem)
def test_workflow(path):
    text = path.read_text(encoding='utf-8')
    workflow = yaml.safe_load(text)
    assert workflow['permissions'] in ({}, {'contents': 'read'}), 'a job asks for more where it needs it, the workflow does not'
    for name, job in workflow['jobs'].items():
        assert 'uses' in job or job['timeout-minutes'] <= 120, name
        for step in job.get('steps', []):
            if step.get('uses', '').startswith('actions/checkout@'): assert step.get('with', {}).get('persist-credentials') is False, name
            assert '${{ github.event' not in step.get('run', ''), 'what others write must not become a command'
    for line in text.splitlines():
        if not (used := re.search(r'\buses:\s*(.*)', line)) or used[1].startswith('./'): continue
        assert re.fullmatch(r'[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+', used[1]), f'not pinned by its commit, with the version: {line.strip()}'
