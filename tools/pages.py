"""Turn a notebook into Markdown as a reader should see it: for the README and the site alike, and without Quarto."""
import base64
import re
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from html import escape
from importlib import import_module
from inspect import Signature, cleandoc, formatannotation, getsourcefile, getsourcelines, isclass, signature, unwrap
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePath
from textwrap import shorten
from types import FunctionType, ModuleType
from typing import Annotated, Literal, get_args, get_origin

from execnb.nbio import read_nb
from fastcore.docments import docments
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor, Processor
from nbdev.processors import FilterDefaults

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
    pages.process()
    module = exported_module(notebook)
    if signatures and module: sign(pages.nb.cells, import_module(module))
    return pages.nb.cells


def exported_module(
    notebook: Path, # where it lies
) -> str | None: # such as `urbanrivers_camtraps.votes.api`
    "Name the module that a notebook exports, if it exports one."
    sources = (o.source for o in read_nb(notebook).cells if o.cell_type == 'code')
    named = re.search(r'^#\|\s*default_exp\s+(\S+)', '\n'.join(sources), flags=re.MULTILINE)
    return f'{get_config().lib_name}.{named[1]}' if named else None


def public_names(
    module: str | None, # such as `urbanrivers_camtraps.votes.api`
) -> set[str]:
    "List the public names of a module."
    return set(import_module(module).__all__) if module else set()


def sign(
    cells: list, # processed; `show_doc(name)` stands where a signature belongs
    module: ModuleType, # which the notebook exports
) -> None:
    "Put what a reader has to know of each exported name into the output of its cell."
    for cell in cells:
        name = re.search(r'^show_doc\(([\w.]+)', cell.source, flags=re.MULTILINE) if cell.cell_type == 'code' else None
        if not name: continue
        shown = NbdevLookup().linkify(documented(attrgetter(name[1])(module), name[1]))
        cell.outputs = [{'output_type': 'display_data', 'data': {'text/markdown': shown}}]


def documented(
    thing: object, # function or class
    name: str, # to show
    level: int = 3, # of its heading
    is_property: bool = False, # read rather than called
) -> str:
    "Write heading, signature, docstring and table of parameters, and the same for the public methods of a class."
    settings = get_config()
    path = Path(getsourcefile(unwrap(thing))).resolve().relative_to(settings.config_path.resolve())
    line = getsourcelines(unwrap(thing))[1]
    parts = [f'[source]({settings.git_url}/blob/{settings.branch}/{path.as_posix()}#L{line}){{ .source }}',
             f'{"#" * level} <code>{name}</code> {{ #{anchor(thing.__module__, name)} }}',
             fenced(called(thing, name, is_property), '{ .python .signature }'), plain(cleandoc(thing.__doc__ or '')), parameters(thing)]
    if isclass(thing):
        for key, method in vars(thing).items():
            if key[0] == '_' or not method.__doc__ or not isinstance(method, (FunctionType, classmethod, staticmethod, property)): continue
            is_property = isinstance(method, property)
            parts.append(documented(method.fget if is_property else getattr(thing, key), f'{name}.{key}', level + 1, is_property))
    return '\n\n'.join(filter(None, parts))


def anchor(
    module: str, # in which the name is defined
    name: str, # of a function or class
) -> str:
    "Name an anchor as nbdev does, in lower case; where `Audit` stands beside `audit`, the function has it."
    return name.lower() + ('_class' if name != name.lower() and hasattr(sys.modules[module], name.lower()) else '')


def called(
    thing: object, # function or class
    name: str, # to show
    is_property: bool = False, # read rather than called
) -> str:
    "Write how a thing is called, with defaults and without types, which stand in its table."
    known = signature_of(thing)
    own = [o.replace(annotation=o.empty, default=o.default if o.default is o.empty else Shown(default_text(o.default)))
           for o in known.parameters.values() if o.name != 'self']
    gives = '' if isclass(thing) else re.sub('<.*?>', '', type_html(known.return_annotation)).replace('&#124;', '|')
    brackets = '' if is_property else str(known.replace(parameters=own, return_annotation=known.empty))
    return name + brackets + (f' -> {gives}' if gives else '')


def signature_of(
    thing: object, # function or class
) -> Signature:
    "Read a signature; types that the module imports for type checkers alone stay as they are written."
    try: return signature(thing, eval_str=True)
    except NameError: return signature(thing)


class Shown(str):
    "A default as the site shows it."
    __repr__ = str.__str__


def default_text(
    default: object, # of a parameter
) -> str:
    "Write a default as one would in code, and a long one short."
    if isinstance(default, Enum): return repr(default.value)
    if isinstance(default, PurePath): return f"Path('{default.as_posix()}')"
    if is_dataclass(default): return f'{type(default).__name__}(…)'
    return getattr(default, '__name__', None) or shorten(repr(default), 80, placeholder=' …')


def type_html(
    annotation: object, # of a parameter, or what a function gives
) -> str:
    "Write a type without its modules, our own ones as links, and a choice as what can be chosen."
    def short(found):
        module, name = found[1].rstrip('.'), found[2]
        address = NbdevLookup().doc(f'{module}.{name}') if module.startswith(f'{get_config().lib_name}.') else None
        if not address or name[0] == '_': return name
        return f'<a href="{address.partition("#")[0]}#{anchor(module, name)}">{name}</a>'

    if annotation is Signature.empty: return ''
    if isinstance(annotation, str): return re.sub(r'\b(?:[a-z_]\w*\.)+', '', escape(annotation)).replace('|', '&#124;')
    if get_origin(annotation) is Annotated: return type_html(get_args(annotation)[0])
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if isclass(annotation) and issubclass(annotation, Enum): choices = [o.value for o in annotation]
    if choices: return ' &#124; '.join(map(repr, choices))
    return re.sub(r'\b((?:[a-z_]\w*\.)+)(\w+)', short, formatannotation(annotation)).replace('|', '&#124;')


def parameters(
    thing: object, # function or class
) -> str:
    "Write the table of parameters: name, type, and its comment (docment) or, for a command, its help."
    known, rows = signature_of(thing), []
    notes = docments(thing, full=True, args_kwargs=True)
    for name, parameter in known.parameters.items():
        if name == 'self': continue
        helps = ' '.join(o.help for o in getattr(parameter.annotation, '__metadata__', ()) if getattr(o, 'help', None))
        rows.append((f'<code>{name}</code>', type_html(parameter.annotation), notes.get(name, {}).get('docment') or helps))
    gives = '' if isclass(thing) or known.return_annotation is None else type_html(known.return_annotation)
    if gives: rows.append(('gives', gives, notes.get('return', {}).get('docment')))
    if not [o for o in rows if o[0] != 'gives' or o[2]]: return ''
    table = [f'| {name} | {f"<code>{kind}</code>" if kind else ""} | {plain(note or "")} |'.replace('  ', ' ') for name, kind, note in rows]
    return '\n'.join(['<div class="parameters" markdown>', '', '| parameter | type | meaning |', '|---|---|---|', *table, '', '</div>'])


def plain(
    note: str, # a docstring or comment: Markdown, as far as back-ticks go
) -> str:
    "Keep `<` and `|` outside of code from being taken for HTML and columns."
    parts = re.split(r'(`[^`]*`|\]\([^)\s]+\))', note)
    return ''.join(o if o.startswith(('`', '](')) else escape(o, quote=False).replace('*', r'\*').replace('_', r'\_') for o in parts).replace('|', '&#124;')


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
    page = re.sub(r'( border="\d")? class="dataframe[^"]*"| style="text-align: right;"', '', page)
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
