"""Make everything that is made from the notebooks: clean notebooks, the modules, app.py and README.md."""
import base64
import io
import json
import re
from pathlib import Path

from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export
from nbdev.export import nb_export
from PIL import Image

from readme import write_readme

#: A larger PNG, in characters of base64, shows photographs, which JPEG holds in a tenth of the space.
LARGEST_PNG = 150_000


def as_jpeg(
    png: str, # base64
) -> str: # base64
    "Encode a picture again as JPEG."
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').save(buffer, 'JPEG', quality=80)
    return base64.b64encode(buffer.getvalue()).decode() + '\n'


def shrink_pictures(
    notebook: Path, # changed if it holds large pictures
) -> None:
    "Keep large pictures in a notebook's outputs as JPEG, so that the repository stays small."
    content, changed = json.loads(notebook.read_text(encoding='utf-8')), False
    for output in (o for cell in content['cells'] for o in cell.get('outputs', [])):
        data, png = output.get('data', {}), ''.join(output.get('data', {}).get('image/png', ''))
        if len(png) <= LARGEST_PNG: continue
        data['image/jpeg'], changed = as_jpeg(png), True
        del data['image/png']
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + '\n'
    if changed: notebook.write_text(text, encoding='utf-8')


#: The folder of a `TemporaryDirectory`, as it is printed.
TEMPORARY = re.compile(r'(/private)?(/var/folders/\w+/\w+/T|/tmp)/tmp\w{8}/')


def shorten_paths(
    notebook: Path, # changed if its outputs name temporary folders
) -> None:
    "Take the names of temporary folders out of a notebook's outputs: they differ in every run."
    content = json.loads(notebook.read_text(encoding='utf-8'))
    changed = False
    for cell in content['cells']:
        if not TEMPORARY.search(json.dumps(cell.get('outputs', []))): continue
        cell['outputs'], changed = json.loads(TEMPORARY.sub('', json.dumps(cell['outputs']))), True
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + '\n'
    if changed: notebook.write_text(text, encoding='utf-8')


def name_cells(
    notebook: Path, # changed if it has a cell of a kind that Jupyter does not open
) -> None:
    "Call cells of text `markdown`: a script that adds one may call it `md`, and Jupyter then refuses the notebook."
    content = json.loads(notebook.read_text(encoding='utf-8'))
    wrong = [cell for cell in content['cells'] if cell['cell_type'] == 'md']
    for cell in wrong: cell['cell_type'] = 'markdown'
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + '\n'
    if wrong: notebook.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    for path in sorted(Path('nbs').rglob('*.ipynb')):
        name_cells(path)
        shrink_pictures(path)
        shorten_paths(path)
    nbdev_clean()
    nbdev_export()
    nb_export('nbs/9_apps/940_space.ipynb', lib_path='.', name='app')  # a Space wants its app.py at the top
    write_readme()
