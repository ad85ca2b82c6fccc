"""Turn a notebook into Markdown as a reader should see it: for the README and the site alike, and without Quarto."""
import base64, re
from collections.abc import Callable
from importlib import import_module
from inspect import getsourcelines
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import ModuleType

from execnb.nbio import read_nb
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor, Processor
from nbdev.processors import FilterDefaults
from nbdev.showdoc import show_doc

#: Kinds of picture a cell can put out, and what their files are called.
PICTURES = {'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg'}


class in_written_order(Processor):
    "nbdev puts the signatures of one cell in reverse."
    def begin(self):
        runs = groupby(list(self.nb.cells), key=lambda o: bool(getattr(o, 'has_sd', False)))
        self.nb.cells[:] = [o for made, run in runs for o in (reversed(list(run)) if made else run)]


def processed(
    notebook: Path, # where it lies
    signatures: bool, # whether exported functions become signatures and parameter tables, and their names links
) -> list:
    "Read the cells of a notebook through nbdev's own processors: what is hidden or exported is gone."
    left_out = {'FrontmatterProc', 'insert_warning', 'add_fold', 'clean_magics'}  # they write for Quarto
    left_out |= {'exec_show_docs'}  # it would run examples; `sign` asks the module instead
    if not signatures: left_out |= {'add_show_docs', 'add_links'}
    procs = [o for o in FilterDefaults().procs() if o.__name__ not in left_out]
    at = next((i + 1 for i, o in enumerate(procs) if o.__name__ == 'add_show_docs'), 0)
    pages = NBProcessor(nb=read_nb(notebook), procs=[*procs[:at], in_written_order, *procs[at:]])
    module = next((o.directives_['default_exp'][0] for o in pages.nb.cells if 'default_exp' in o.directives_), None)
    pages.process()
    if signatures and module: sign(pages.nb.cells, import_module(f'{get_config().lib_name}.{module}'))
    return pages.nb.cells


def sign(
    cells: list, # processed; `show_doc(name)` stands where a signature belongs
    module: ModuleType, # which the notebook exports
) -> None:
    "Put the signature and the parameter table of each exported name into the output of its cell."
    for cell in cells:
        name = re.search(r'^show_doc\(([\w.]+)', cell.source, flags=re.MULTILINE) if cell.cell_type == 'code' else None
        if not name: continue
        thing = attrgetter(name[1])(module)
        line = f'#L{getsourcelines(thing)[1]}'  # for which nbdev looks in vain
        shown = show_doc(thing)._repr_markdown_().replace('#LNone', line)
        cell.outputs = [{'output_type': 'display_data', 'data': {'text/markdown': NbdevLookup().linkify(shown)}}]


def options(
    source: str, # a code cell
) -> tuple[dict[str, str], str]:
    "Split a cell into its options, such as `#| echo: false`, and the code below them."
    found, lines = {}, source.splitlines()
    while lines and (option := re.match(r'#\|\s*([\w-]+):\s*(.*)', lines[0])):
        found[option[1]] = option[2].strip().strip('"\'')
        lines.pop(0)
    return found, '\n'.join(lines).strip('\n')


def text(
    part: str | list[str], # text of a notebook, which may come in lines
) -> str:
    "Join what a notebook stores as lines."
    return part if isinstance(part, str) else ''.join(part)


def fenced(
    block: str, # code or what it printed
    language: str, # for the colours
) -> str:
    "Put a fence around `block`, longer than any in it."
    fence = '`' * max(3, 1 + max(map(len, re.findall('`+', block)), default=0))
    return f'{fence}{language}\n{block.rstrip()}\n{fence}'


def tidy_html(
    page: str, # what a cell put out
) -> str:
    "Leave out what pandas adds for Jupyter; a blank line would end the HTML in Markdown."
    page = re.sub(r'<style scoped>.*?</style>', '', page, flags=re.DOTALL)
    page = re.sub(r' border="1" class="dataframe"| style="text-align: right;"', '', page)
    return '\n'.join(o for o in page.splitlines() if o.strip())


def output_markdown(
    output: dict, # one output of a cell
    alt: str, # what a picture shows
    keep: Callable[[bytes, str], str], # keeps a picture and returns the link to it
) -> str:
    "Turn one output into Markdown: the richest form that a plain page can show."
    if output['output_type'] == 'stream':
        return fenced(text(output['text']), 'text') if output['name'] == 'stdout' else ''
    data = {kind: text(part) for kind, part in output.get('data', {}).items() if kind in
            {'text/markdown', 'text/html', 'text/plain', *PICTURES}}
    if 'text/markdown' in data: return data['text/markdown'].strip()
    if 'text/html' in data: return tidy_html(data['text/html'])
    for kind, extension in PICTURES.items():
        if kind not in data: continue
        picture = data[kind].encode() if extension == 'svg' else base64.b64decode(data[kind])
        return f'![{alt}]({keep(picture, extension)})'
    return fenced(data['text/plain'], 'text') if 'text/plain' in data else ''


def retarget(
    source: str, # Markdown
    change: Callable[[str], str], # from a relative link to the one to write
) -> str:
    "Change the relative links and pictures of a page, not those inside fences."
    def changed(found): return found[0] if re.match(r'[a-z]+:|[/#]', found[2]) else found[1] + change(found[2])
    parts = re.split(r'(^```.*?^```)', source, flags=re.DOTALL | re.MULTILINE)
    return ''.join(o if o.startswith('```') else re.sub(r'(\]\(|(?:src|href)=")([^)"\s]+)', changed, o) for o in parts)


def page_markdown(
    cells: list, # from `processed`
    keep: Callable[[bytes, str], str], # keeps a picture and returns the link to it
    change: Callable[[str], str], # from a relative link to the one to write
) -> str:
    "Turn processed cells into one Markdown page, without trailing blanks and the same every time."
    blocks = []
    for cell in cells:
        if cell.cell_type == 'markdown': blocks.append(retarget(cell.source, change))
        if cell.cell_type != 'code': continue
        settings, code = options(cell.source)
        if settings.get('include') == 'false': continue
        if settings.get('echo') != 'false' and code: blocks.append(fenced(code, 'python'))
        if settings.get('output') == 'false': continue
        blocks += [output_markdown(o, settings.get('fig-alt', 'What the cell drew'), keep) for o in cell.outputs]
    page = '\n\n'.join(o.strip('\n') for o in blocks if o.strip())
    return '\n'.join(o.rstrip() for o in page.splitlines()) + '\n'
