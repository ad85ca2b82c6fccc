"""A photograph labelled with any word for people leaves in nothing that is written: red frames stand for people, and no red may come out."""
import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.privacy import shows_people

WORDS = ['humans', 'Persona', 'Menschen', 'person_dog', 'Fahrzeuge', 'setup_pickup']


def called(*arguments: object) -> int:
    "Run `camtraps` and return the exit status."
    return run([str(o) for o in arguments])


def is_red(image: Image.Image) -> bool:
    "Return whether a picture holds a red area."
    pixels = np.asarray(image.convert('RGB')).astype(int)
    return bool(((pixels[..., 0] > 180) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)).mean() > .001)


def pictures_of(page: str) -> list[Image.Image]:
    "Return the pictures in a page."
    return [Image.open(io.BytesIO(base64.b64decode(o))) for o in re.findall(r'data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)', page)]


@pytest.fixture
def folder(tmp_path) -> Path:
    "Class folders: raccoons in green noise, blanks in grey, people in red."
    rng = np.random.default_rng(1)
    for name in ('Procyon_lotor', 'empty', *WORDS):
        (tmp_path/'images'/name).mkdir(parents=True)
        colour = {'Procyon_lotor': (40, 140, 60), 'empty': (120, 120, 120)}.get(name, (230, 10, 10))
        for number in range(4):
            noise = rng.integers(-10, 10, (240, 320, 3))
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype('uint8')).save(tmp_path/'images'/name/f'{number}.jpg')
    return tmp_path


def test_the_pictures_are_told_apart(folder):
    assert [is_red(Image.open(folder/'images'/o/'0.jpg')) for o in ('Procyon_lotor', 'empty', 'humans')] == [False, False, True]


def test_class_folders_of_people_are_in_no_card_and_no_page(folder):
    data = folder/'data'
    assert called('dataset', '--folder', folder/'images', '--data', data) in (0, 3)
    labels = pd.read_parquet(data/'dataset.parquet').label.value_counts().to_dict()
    assert labels == {'human': 20, 'vehicle': 4, 'Procyon lotor': 4, 'blank': 4}
    assert called('card', '--data', data) in (0, 3)
    found = [o for path in data.rglob('*.html') for o in pictures_of(path.read_text(encoding='utf-8'))]
    assert found and not any(map(is_red, found))


def test_a_contact_sheet_is_grey_where_people_are(folder):
    from urbanrivers_camtraps.apps.rendering import contact_sheet, thumbnail
    paths = [folder/'images'/o/'0.jpg' for o in ('Procyon_lotor', *WORDS)]
    table = pd.DataFrame({'path': [f'{number}.jpg' for number in range(len(paths))], 'prediction': ['Procyon lotor', *WORDS], 'score': .9,
        'decision': 'accept'})
    predictions = Predictions(table, ['Procyon lotor', *WORDS])
    predictions.attrs = {'common_names': {}}
    assert not is_red(Image.open(io.BytesIO(contact_sheet([thumbnail(Image.open(o)) for o in paths], predictions))))


def test_a_review_report_shows_none(folder):
    from urbanrivers_camtraps.review.label_errors import opinions_table
    from urbanrivers_camtraps.review.queue import write_review_report
    names = ['Procyon_lotor', *WORDS]
    paths = [str(folder/'images'/o/'0.jpg') for o in names]
    scores = np.full((len(names), 2), (.1, .9))
    table = pd.DataFrame({'media_id': names, 'path': [paths[0], *(str(Path(folder/f'{o}.jpg')) for o in range(len(WORDS)))],
                          'label': ['Procyon lotor', *WORDS], 'prediction': 'Procyon lotor', 'score': .9, 'scores': list(scores), 'split': 'train', 'fold': 0})
    for old, new in zip(paths[1:], table.path[1:]): Image.open(old).save(new)  # no folder tells what they show
    predictions = Predictions(table, ['blank', 'Procyon lotor'])
    page = write_review_report(opinions_table(predictions), folder/'review.html').read_text(encoding='utf-8')
    assert not any(map(is_red, pictures_of(page)))
    assert shows_people(table).tolist() == [False] + [True]*len(WORDS)


def test_no_example_of_people_goes_into_a_bundle_or_is_published(folder):
    from urbanrivers_camtraps.apps.hub_repo import PublishError, check_public
    from urbanrivers_camtraps.training.bundle_format import BundleError
    from urbanrivers_camtraps.training.export import _write_examples
    for word in WORDS:
        with pytest.raises(BundleError, match='shows a person'): _write_examples({word: folder/'images'/word/'0.jpg'}, folder)
        space = folder/f'space {word}'
        (space/'examples').mkdir(parents=True)
        (space/'examples'/f'{word}.jpg').write_bytes((folder/'images'/word/'0.jpg').read_bytes())
        with pytest.raises(PublishError, match='shows a person'): check_public(space, folder/'bundle')


def season(path: Path, rows: list[tuple], classes: tuple) -> Path:
    "Write a season: rows of path, label, camera clock."
    table = pd.DataFrame([{'path': p, 'prediction': o, 'score': .9, 'scores': [.9 if c == o else .02 for c in classes], 'decision': 'accept',
        'clock': pd.Timestamp(k),
                           'reason': None, 'retry': False} for p, o, k in rows])
    about = json.dumps({'classes': classes, 'common_names': {}}).encode()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({b'camtraps': about}), path)
    return path


@pytest.mark.parametrize('human, vehicle, blank', [('humans', 'vehicles', 'empty'), ('Persona', 'coche', 'vacío'), ('Menschen', 'Fahrzeug', 'leer')])
def test_a_season_of_anybodys_classes(tmp_path, human, vehicle, blank, capsys):
    path = season(tmp_path/'s.parquet', [('C/cam1/1.JPG', human, '2025-06-01 08:00'), ('C/cam1/2.JPG', 'Procyon lotor', '2025-06-02 08:00'),
                                         ('C/cam1/3.JPG', blank, '2025-06-03 08:00'), ('C/cam1/4.JPG', vehicle, '2025-06-04 08:00')],
                  (human, 'Procyon lotor', blank, vehicle))
    (tmp_path/'d.csv').write_text('deployment_id,location,latitude,longitude,start,end\ncam1,Weir,41.9,-87.6,2025-06-01,2025-06-30\n')
    told = ('--season', path, '--deployments', tmp_path/'d.csv', '--time-zone', 'America/Chicago')
    assert called('survey', *told, '--out', tmp_path/'survey'/'survey.html') == 0
    rates = pd.concat(map(pd.read_csv, (tmp_path/'survey').rglob('*rates.csv'))).set_index('label').rate.round(1)
    assert rates['wildlife'] == 3.3 and rates['people'] == 6.7  # one and two events in 30 camera-days
    assert called('package', tmp_path/'package', *told, '--organization', 'A') == 0
    assert '2 photographs of people or vehicles are not in it' in capsys.readouterr().out
    assert pd.read_csv(tmp_path/'package'/'media.csv').mediaID.tolist() == ['cam1/2.JPG', 'cam1/3.JPG']
    kinds = pd.read_csv(tmp_path/'package'/'observations.csv').observationType
    assert set(kinds) == {'animal', 'blank'}
