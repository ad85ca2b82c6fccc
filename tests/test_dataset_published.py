"""A published data set: what must not leave, what the Hub, Kaggle and `datasets` document, and the way back."""
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from pandas.testing import assert_frame_equal
from PIL import ExifTags, Image

from hub_stand_in import Hub
from urbanrivers_camtraps.apps.hub_dataset import fetch_dataset, publish_dataset
from urbanrivers_camtraps.apps.hub_repo import PublishError
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.dataset.bursts import DatasetError
from urbanrivers_camtraps.dataset.licences import LICENCES, LicenceError, kaggle_licence, read_licence
from urbanrivers_camtraps.dataset.publish import write_published
from urbanrivers_camtraps.dataset.published_card import About
from urbanrivers_camtraps.dataset.read_published import read_published
from urbanrivers_camtraps.dataset.splits import add_folds, content_hash, read_folder, split_photographs
from urbanrivers_camtraps.foundations.outputs import OutputError, overwriting
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.images.photograph import open_photograph
from urbanrivers_camtraps.images.plain_copy import plain_copy
from urbanrivers_camtraps.review.reviews import Answer, Reviews

NAME = 'urban-rivers/animals'
CLASSES = ('Castor canadensis', 'Branta canadensis', 'blank', 'human')


def picture(seed: int) -> Image.Image:
    "Return noise."
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), 'uint8'))


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> pd.DataFrame:
    "Eight photographs of each class at two places, in bursts of two, with what the server says about them."
    folder = tmp_path_factory.mktemp('images')
    for number, label in enumerate(CLASSES):
        (folder/label.replace(' ', '_')).mkdir()
        for shot in range(8): picture(10*number + shot).save(folder/label.replace(' ', '_')/f'{shot}.jpg')
    rows = read_folder(folder)[0]
    rows['media_id'] = [f'{number:032x}' for number in range(len(rows))]
    rows['burst_id'] = rows.media_id.iloc[[o//2*2 for o in range(len(rows))]].to_numpy()
    rows['timestamp'] = pd.date_range('2025-06-01', periods=len(rows), freq='h', tz='UTC')
    rows = rows.assign(votes=3, vote_share=1., confidence=.98, latitude=41.90732, longitude=-87.65204, drawn=False,
                       location=None, url='https://server.example/1.jpg', nickname='HeronFan77')
    rows.loc[rows.index[::3], 'location'] = 'Bubbly Creek'
    rows = add_folds(split_photographs(rows, 'burst', .25, .25), 'burst', 2)
    settings = {'by': 'burst', 'seed': 42, 'dataset_hash': content_hash(rows)}
    return read_table(write_table(rows, folder/'dataset.parquet', **settings))


@pytest.fixture(scope='module')
def folder(photographs, tmp_path_factory) -> Path:
    "The published folder."
    out = tmp_path_factory.mktemp('out')/'published'
    write_published(photographs, out, 'cc-by-4.0', kaggle=NAME, progress=False)
    return out


# --- what must not leave

def test_nothing_private_is_in_any_file(folder, photographs):
    for path in (o for o in folder.rglob('*') if o.is_file()):
        data = path.read_bytes()
        for secret in (b'server.example', b'HeronFan77', b'nickname', b'41.90732', b'/tmp/', b'@'):
            if secret != b'@' or path.suffix in ('.md', '.json'): assert secret not in data, (path.name, secret)
    rows = pd.concat(pd.read_parquet(o) for o in folder.glob('*/metadata.parquet'))
    assert set(rows.latitude) == {41.91} and set(rows.longitude) == {-87.65}
    assert 'human' not in set(rows.label) and not list(folder.rglob('*uman*'))


def noted_jpeg(turn: int = 1) -> bytes:
    "Return a JPEG as a camera writes it: with its serial number, GPS, a comment, and a second picture behind it."
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = 'RECONYX', turn
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = 'H600HF0123'
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (41.0, 54.0, 26.0)
    picture(7).save(buffer, 'JPEG', exif=exif, comment=b'Owner', icc_profile=b'H600HF0123', progressive=True)
    return buffer.getvalue() + b'\xff\xd8 second picture H600HF0123'


@pytest.mark.parametrize('turn', range(1, 9))
def test_notes_go_and_the_photograph_stays_upright(turn):
    data = noted_jpeg(turn)
    copy = plain_copy(data)
    assert not any(o in copy.data for o in (b'RECONYX', b'H600HF0123', b'Owner', b'second'))
    assert copy.suffix == '.jpg' and np.array_equal(open_photograph(copy.data), open_photograph(data))
    assert set(Image.open(io.BytesIO(copy.data)).getexif()) <= {ExifTags.Base.Orientation}


@pytest.mark.parametrize('damage', [lambda o: o[:20] + b'\0\0' + o[20:], lambda o: o[:-2] + b'\0'*50])
def test_a_jpeg_that_cannot_be_divided_becomes_a_png(damage):
    "Two bytes between its segments, or no end behind its pixels: it can be seen, but not be taken apart."
    buffer = io.BytesIO()
    picture(7).save(buffer, 'JPEG', comment=b'H600HF0123')
    data = damage(buffer.getvalue())
    copy = plain_copy(data)
    assert copy.suffix == '.png' and b'H600HF0123' in data and b'H600HF0123' not in copy.data
    assert np.array_equal(open_photograph(copy.data), open_photograph(data))


def test_a_table_of_photographs_with_notes_has_the_hashes_of_the_copies(tmp_path, recwarn):
    (tmp_path/'images/blank').mkdir(parents=True)
    for number in range(4): picture(number).save(tmp_path/f'images/blank/{number}.jpg')
    (tmp_path/'images/blank/3.jpg').write_bytes(noted_jpeg(6))
    rows = split_photographs(read_folder(tmp_path/'images')[0], 'image', 0, .25)
    written = write_published(rows, tmp_path/'out', 'cc0-1.0', progress=False)
    assert any('1 files held notes' in str(o.message) for o in recwarn)
    read = read_published(tmp_path/'out', progress=False)
    assert read.is_complete and content_hash(read.photographs) != content_hash(rows)
    assert list(read.photographs.sha256) == list(written.photographs.sha256)
    assert (read.photographs.sha256 == rows.sha256).sum() == 3


def test_one_voice_for_a_person_is_enough(photographs, tmp_path):
    ids, bursts = photographs.media_id, photographs.burst_id
    voted = pd.DataFrame({'media_id': ids[[0]], 'scientific_name': 'Homo sapiens'})
    scored = Predictions(pd.DataFrame({'media_id': ids[[4]], 'prediction': 'blank', 'scores': [[.85, .15]]}),
                         classes=['blank', 'human'])
    boxed = pd.DataFrame({'media_id': ids[[10]], 'category': 'person'})
    written = write_published(photographs, tmp_path/'out', 'cc0-1.0', [voted, scored, boxed], progress=False)
    people = set(ids[photographs.label == 'human']) | set(ids[bursts.isin(bursts[[0, 4, 10]])])
    assert set(written.skipped.id) == people and len(people) == 8 + 6
    assert set(written.photographs.media_id) == set(ids) - people
    assert f'- {len(people)} photographs that may show people' in (tmp_path/'out/README.md').read_text()


# --- what others document

def test_the_layout_is_an_imagefolder(folder):
    """By https://huggingface.co/docs/datasets/image_dataset: a metadata file in the folder of each split, in which
    `file_name` links each photograph, relative to that file. All have the same columns and types."""
    tables = sorted(folder.glob('*/metadata.parquet'))
    assert [o.parent.name for o in tables] == ['test', 'train', 'valid']  # SPLIT_KEYWORDS of datasets: valid is validation
    schemas = [pq.read_schema(o) for o in tables]
    assert all(o.equals(schemas[0]) for o in schemas) and str(schemas[0].field('file_name').type).endswith('string')
    for table in tables:
        rows = pd.read_parquet(table)
        assert rows.file_name.is_unique and not rows.file_name.str.startswith(('/', '.')).any()
        found = {o.relative_to(table.parent).as_posix() for o in table.parent.rglob('*') if o.suffix in ('.jpg', '.png')}
        assert found == set(rows.file_name)
        assert set(rows.split) == {table.parent.name}
        assert all(name.partition('/')[0] == label.replace(' ', '_') for name, label in zip(rows.file_name, rows.label))


#: Keys of the header, from https://github.com/huggingface/hub-docs/blob/main/datasetcard.md.
DOCUMENTED = {
    'language', 'license', 'license_name', 'license_link', 'license_details', 'tags', 'annotations_creators',
    'language_creators', 'language_details', 'pretty_name', 'size_categories', 'source_datasets', 'task_categories',
    'task_ids', 'paperswithcode_id', 'configs', 'dataset_info', 'extra_gated_fields', 'extra_gated_prompt',
    'train-eval-index'}


def test_the_card_has_documented_keys(folder):
    card = DatasetCard.load(folder/'README.md')
    header = card.data.to_dict()
    assert set(header) <= DOCUMENTED
    assert header['annotations_creators'] == ['crowdsourced'] and header['task_categories'] == ['image-classification']
    config, = header['configs']
    assert [o['split'] for o in config['data_files']] == ['train', 'validation', 'test']
    names = next(o for o in config['features'] if o['name'] == 'label')['dtype']['class_label']['names']
    assert list(names.values()) == ['Branta canadensis', 'Castor canadensis', 'blank']
    columns = pq.read_schema(folder/'train/metadata.parquet').names
    assert {o['name'] for o in config['features']} == {'image', *columns} - {'file_name'}
    for link in re.findall(r'\]\((card/\S+)\)', card.text): assert (folder/link).is_file()
    assert 'Choose' not in card.text.partition('## Splits')[0] and 'it is used once' in ' '.join(card.text.split())


def test_kaggle_takes_the_metadata(folder):
    "Limits from https://github.com/Kaggle/kaggle-api/blob/main/docs/datasets_metadata.md."
    metadata = json.loads((folder/'dataset-metadata.json').read_text('utf-8'))
    assert set(metadata) <= {'title', 'subtitle', 'description', 'id', 'id_no', 'licenses', 'resources', 'keywords'}
    assert 6 <= len(metadata['title']) <= 50 and 20 <= len(metadata['subtitle']) <= 80
    assert len(metadata['licenses']) == 1 and metadata['licenses'][0]['name'] == 'CC-BY-4.0'
    assert re.fullmatch(r'[^/]+/[^/]{6,50}', metadata['id'])  # the command wants 6
    types = {'string', 'boolean', 'numeric', 'datetime', 'id', 'uuid', 'latitude', 'longitude', 'integer', 'decimal'}
    for resource in metadata['resources']:
        fields = resource['schema']['fields']
        assert [o['name'] for o in fields] == pq.read_schema(folder/resource['path']).names  # all of them, in order
        assert {o['type'] for o in fields} <= types and all(o['description'] for o in fields)


#: From https://github.com/Kaggle/kaggle-api/blob/main/docs/datasets_metadata.md.
KAGGLE = '''CC0-1.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-SA-4.0 GPL-2.0 ODbL-1.0 DbCL-1.0 CC-BY-4.0 CC-BY-NC-4.0 PDDL CC-BY-3.0
CDLA-Permissive-1.0 CDLA-Sharing-1.0 CC-BY-ND-4.0 CC-BY-NC-ND-4.0 ODC-BY-1.0'''.split()
#: Licence of the Hub → of Kaggle, from https://huggingface.co/docs/hub/repositories-licenses and the list above.
BOTH = {'cc0-1.0': 'CC0-1.0', 'cc-by-3.0': 'CC-BY-3.0', 'cc-by-nc-sa-4.0': 'CC-BY-NC-SA-4.0', 'odbl': 'ODbL-1.0', 'odc-by': 'ODC-BY-1.0', 'pddl': 'PDDL'}


def test_licences_are_those_of_both():
    assert {hub: kaggle_licence(hub) for hub in BOTH} == BOTH
    assert {kaggle_licence(o) for o in LICENCES if o not in ONLY_HUB} == {*KAGGLE} - {'DbCL-1.0'}  # which the Hub lacks
    for name in ONLY_HUB:
        with pytest.raises(LicenceError, match='is not a licence that the Hub and Kaggle both know'): kaggle_licence(name)


#: Licences of programs and earlier versions, which Kaggle's list lacks.
ONLY_HUB = """apache-2.0 mit openrail openrail++ afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc
cc-by-2.0 cc-by-2.5 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-nd-3.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0
etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 osl-3.0 postgresql ofl-1.1 ncsa unlicense
zlib lgpl-lr""".split()


@pytest.mark.parametrize('typed, meant', [('CC BY-SA 4.0', 'cc-by-sa-4.0'), (' odbl ', 'odbl'), ('OpenRAIL++', 'openrail++'), ('bsd 3 clause', 'bsd-3-clause')])
def test_a_licence_is_read_as_people_write_it(typed, meant): assert read_licence(typed) == meant


@pytest.mark.parametrize('typed', ['cc-by-40', 'openrail+', 'other', 'unknown', 'cc-by', ' '])
def test_a_licence_that_is_nearly_one_is_refused(typed):
    with pytest.raises(LicenceError, match='Choose one such as'): read_licence(typed)


# --- whole or absent

def pages(folder: Path) -> int:
    "Return how many kilobytes the files of a folder take on a disk, in pages of four."
    return sum(4*(-o.stat().st_size//-4096) if o.is_file() else 4 for o in folder.rglob('*'))


def test_a_full_disk_leaves_the_earlier_folder(folder, photographs, tmp_path):
    "A real disk, in a mount namespace of its own, with room for a small data set and half of the whole one."
    small = photographs.groupby(['split', 'label']).head(1).reset_index(drop=True)
    for name, rows in (('small', small), ('whole', photographs)): write_table(rows, tmp_path/name/'dataset.parquet', **photographs.attrs)
    write_published(small, tmp_path/'written', 'cc0-1.0', progress=False)
    room = pages(tmp_path/'written') + pages(folder)//2
    export = f'{sys.executable} -m urbanrivers_camtraps.apps.main export-dataset disk/out --licence cc0-1.0 --data'
    inside = (f'mount -t tmpfs -o size={room}k none disk && {export} small && cp -r disk before && '
              f'{{ {export} whole; echo $? > status; cp -r disk after; }}')
    (tmp_path/'disk').mkdir()
    unshare = ['unshare', '-m'] if os.geteuid() == 0 else ['unshare', '-Urm']
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run([*unshare, 'sh', '-c', inside], cwd=tmp_path, env=os.environ | {'PYTHONPATH': path}, capture_output=True, text=True, timeout=300)
    if any(o in done.stderr for o in ('unshare:', 'mount:')): pytest.skip(f'no disk can be made: {done.stderr}')
    assert (tmp_path/'status').read_text() == '1\n' and 'the disk is full' in done.stderr and 'Traceback' not in done.stderr, done.stderr
    before, after = ({o.relative_to(tmp_path/name): o.read_bytes() for o in (tmp_path/name).rglob('*') if o.is_file()} for name in ('before', 'after'))
    assert before == after and len(before) > 10
    assert [o.name for o in (tmp_path/'after').iterdir()] == ['out']


def test_a_folder_of_somebody_else_stays(photographs, tmp_path):
    "An ImageFolder has the names of our files, but not our mark."
    (tmp_path/'train/blank').mkdir(parents=True)
    picture(1).save(tmp_path/'train/blank/1.jpg')
    with pytest.raises(OutputError, match='not written by camtraps'):
        write_published(photographs, tmp_path, 'cc0-1.0', progress=False)
    with overwriting(), pytest.raises(DatasetError, match='holds the photographs'):
        write_published(photographs, Path(photographs.path[0]).parents[1], 'cc0-1.0', progress=False)
    assert Path(photographs.path[0]).is_file()


def test_a_damaged_table_under_our_names_is_not_replaced(photographs, tmp_path):
    (tmp_path/'train').mkdir()
    (tmp_path/'train/metadata.parquet').write_bytes(b'PAR1, and no more')
    with pytest.raises(OutputError, match='not written by camtraps'): write_published(photographs, tmp_path, 'cc0-1.0', progress=False)
    assert (tmp_path/'train/metadata.parquet').read_bytes() == b'PAR1, and no more'


def test_files_that_changed_are_skipped_with_the_reason(photographs, tmp_path):
    rows = photographs.copy()
    rows.loc[0, 'path'] = str(tmp_path/'gone.jpg')
    rows.loc[2, 'sha256'] = '0'*64
    written = write_published(rows, tmp_path/'out', 'cc0-1.0', progress=False)
    assert written.failed.id.tolist() == rows.media_id[[0, 2]].tolist()
    assert written.failed.reason.str.contains('is not there|has changed').all()
    assert len(read_published(tmp_path/'out', progress=False).photographs) == len(rows) - 8 - 2
    assert '2 photographs whose files could not be used' in (tmp_path/'out/README.md').read_text()


def test_ids_that_cannot_name_a_file(photographs, tmp_path):
    rows = photographs[photographs.label != 'human'].reset_index(drop=True)
    rows.loc[[0, 1, 2], 'media_id'] = ['A/b c.jpg', '../../x', 'Ü:*?']
    written = write_published(rows, tmp_path/'out', 'cc0-1.0', progress=False)
    assert all(re.fullmatch(r'\w+/\w+/[\w-]+\.jpg', o) for o in written.photographs.file_name)
    assert list(read_published(tmp_path/'out', progress=False).photographs.media_id) == list(rows.media_id)


# --- the way back

def expected(photographs: pd.DataFrame) -> pd.DataFrame:
    "Return what has to come back."
    rows = photographs[photographs.label != 'human'].reset_index(drop=True)
    return rows.drop(columns=['url', 'nickname', 'path']).assign(latitude=41.91, longitude=-87.65)


def camtraps(capfd, *words: object) -> tuple[int, str]:
    "Run a command; return its status and what it said."
    status = run([str(o) for o in words])
    said = capfd.readouterr()
    return status, said.out + said.err


def test_the_command_line_there_and_back(photographs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(photographs, 'data/dataset.parquet', **photographs.attrs)
    assert camtraps(capfd, 'export-dataset', 'out', '--license', 'CC BY 4.0')[0] == 0
    status, said = camtraps(capfd, 'dataset', '--from', 'out', '--data', 'back')
    back = read_table('back/dataset.parquet')
    assert_frame_equal(back.drop(columns='path'), expected(photographs), check_like=True)
    assert status == 0 and content_hash(back) in said and '8 photographs that may show people stayed' in said
    assert (back.attrs['by'], back.attrs['seed'], back.attrs['dataset_hash']) == ('burst', 42, content_hash(back))
    assert all(Path(o).is_file() for o in back.path)
    (tmp_path/back.path[3]).unlink()
    status, said = camtraps(capfd, 'dataset', '--from', 'out', '--data', 'back')
    assert status == 3 and 'is not there' in said and '23 of 24 photographs' in said


def test_a_review_of_a_person_counts_before_the_labels_are_made_anew(photographs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(photographs, 'data/dataset.parquet', **photographs.attrs)
    beavers = photographs[photographs.label == 'Castor canadensis'].media_id.tolist()  # bursts of two
    reviews = Reviews('data/reviews.sqlite')
    reviews.add_all('one', [Answer(beavers[0], 'human'), Answer(beavers[2], 'Castor canadensis', also=(('vehicle', 1),)), Answer(beavers[4], 'blank')], 'Heron')
    reviews.close()
    assert camtraps(capfd, 'export-dataset', 'out', '--licence', 'cc0-1.0')[0] == 0
    there = read_published('out', progress=False).photographs.media_id
    assert set(beavers) - set(there) == set(beavers[:4]) and len(there) == 20


def test_what_was_published_without_settings_is_read_back(photographs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = photographs.copy()
    bare.attrs = {}
    write_published(bare, 'out', 'cc0-1.0', progress=False)
    assert camtraps(capfd, 'dataset', '--from', './out', '--data', 'back')[0] == 0


@pytest.mark.parametrize(('options', 'reason'), [
    (['--folder', 'images'], 'contradicts --from: --folder'), (['--no-motion'], '--no-motion'),
    (['--by', 'image', '--merge', 'a,b'], '--by, --merge'), (['--seed', '7'], 'brings its own split'),
    (['--add-season', 'season'], '--add-season')])
def test_options_that_contradict(folder, tmp_path, capfd, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    status, said = camtraps(capfd, 'dataset', '--from', folder, *options)
    assert status == 1 and reason in said and not (tmp_path/'data/dataset.parquet').exists()


def test_tables_of_other_photographs_are_not_mixed_with_it(folder, photographs, tmp_path, capfd):
    write_table(photographs, tmp_path/'photographs.parquet')
    status, said = camtraps(capfd, 'dataset', '--from', folder, '--data', tmp_path)
    assert status == 1 and 'holds photographs.parquet, which is about other photographs' in said


def test_a_dry_run_needs_no_licence_and_says_so(photographs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(photographs, 'demo/dataset.parquet')
    status, said = camtraps(capfd, 'publish', 'dataset', NAME, '--dry-run')
    assert status == 0 and 'has no licence yet' in said and 'demo: was found here and is used' in said
    card = DatasetCard.load(tmp_path/'demo'/'publish'/'dataset'/'README.md')
    assert card.data.license is None and 'None was chosen yet' in card.text


def test_other_contradictions(photographs, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(photographs, 'data/dataset.parquet')
    status, said = camtraps(capfd, 'export-dataset', 'out', '--license', 'odbl', '--digits', '3', '--exact-places')
    assert status == 1 and '--digits and --exact-places' in said
    assert 'no such folder' in camtraps(capfd, 'dataset', '--from', './nowhere')[1]
    assert 'has no licence' in camtraps(capfd, 'publish', 'dataset', NAME)[1]
    assert not (tmp_path/'out').exists()


def test_a_folder_of_somebody_else_becomes_a_data_set(tmp_path, capfd):
    for split in ('train', 'test'):
        for number, label in enumerate(CLASSES[:3]):
            (tmp_path/'theirs'/split/label).mkdir(parents=True)
            for shot in range(6): picture(100*number + 10*shot + len(split)).save(tmp_path/'theirs'/split/label/f'{shot}.png')
    status, said = camtraps(capfd, 'dataset', '--from', tmp_path/'theirs', '--data', tmp_path/'data')
    rows = read_table(tmp_path/'data/dataset.parquet')
    assert status == 0 and 'bursts are not known' in said and 'since it has none' in said
    assert rows.split.value_counts().to_dict().keys() == {'train', 'valid', 'test'}
    assert (rows.split == 'test').tolist() == rows.media_id.str.startswith('test/').tolist()
    assert rows.fold.isna().tolist() == (rows.split == 'test').tolist()


# --- the Hub

#: Where nobody answers.
NOWHERE = 'http://127.0.0.1:9'


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    "A Hub, and an empty cache."
    server = Hub()
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_DISABLE_XET', True)
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('HF_TOKEN', 'hf_writer')
    yield server
    server.close()


def test_a_data_set_comes_back_from_the_hub_pinned(hub, photographs, tmp_path):
    options = {'folder': tmp_path/'out', 'licence': 'cc-by-4.0', 'progress': False, 'endpoint': hub.url}
    sent, _ = publish_dataset(photographs, NAME, **options)
    assert hub.gated[NAME] == 'manual'
    found = fetch_dataset(NAME, endpoint=hub.url)
    assert found.commit == sent.commit
    read = read_published(found.folder, progress=False)
    assert_frame_equal(read.photographs.drop(columns='path'), expected(photographs), check_like=True)
    assert read.is_complete and read.skipped.empty
    changed, _ = publish_dataset(photographs.iloc[2:], NAME, **options)
    assert changed.commit != sent.commit
    assert len(read_published(fetch_dataset(f'{NAME}@{sent.commit}', endpoint=hub.url).folder, progress=False).photographs) == 24
    assert len(read_published(fetch_dataset(NAME, endpoint=hub.url).folder, progress=False).photographs) == 22
    with pytest.raises(PublishError, match='has no version 0000'): fetch_dataset(f'{NAME}@{"0"*40}', endpoint=hub.url)
    with pytest.warns(match='the version that was fetched last is used'):
        assert fetch_dataset(NAME, endpoint=NOWHERE).commit == changed.commit
    hub.down = 503
    with pytest.warns(match=r'the Hub has a fault \(503\), so that the version that was fetched last is used'):
        assert fetch_dataset(NAME, endpoint=hub.url).commit == changed.commit


def test_who_may_not_read_is_told_what_to_do(hub, photographs, tmp_path, monkeypatch):
    publish_dataset(photographs, NAME, tmp_path/'out', 'cc-by-4.0', progress=False, endpoint=hub.url)
    monkeypatch.delenv('HF_TOKEN')
    with pytest.raises(PublishError, match='is gated: its owners decide'): fetch_dataset(NAME, endpoint=hub.url)
    with pytest.raises(PublishError, match='is not a data set on the Hub'): fetch_dataset('urban-rivers/none', endpoint=hub.url)
    with pytest.raises(PublishError, match='cannot be reached'): fetch_dataset('urban-rivers/none', endpoint=NOWHERE)


def test_open_only_if_asked(hub, photographs, tmp_path):
    publish_dataset(photographs, NAME, tmp_path/'out', 'cc0-1.0', gated=False, progress=False, endpoint=hub.url)
    assert not hub.gated.get(NAME)
    with pytest.raises(PublishError, match='was to be gated'):
        publish_dataset(photographs, NAME, tmp_path/'out', 'cc0-1.0', progress=False, endpoint=hub.url)
    assert About.title in (tmp_path/'out/README.md').read_text()
