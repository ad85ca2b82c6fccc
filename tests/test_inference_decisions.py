"""What is done with each photograph, in one order everywhere: the table, CSV and JSON, a season, its survey, the app, older bundles."""
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from urbanrivers_camtraps.apps.app import answer
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.apps.rendering import answer_html, contact_sheet, summary_html, thumbnail, verdict
from urbanrivers_camtraps.foundations.doubt import score_directions
from urbanrivers_camtraps.foundations.predictions import Predictions
from urbanrivers_camtraps.foundations.tables import read_settings
from urbanrivers_camtraps.inference.bundle import Bundle, read_bundle
from urbanrivers_camtraps.inference.decisions import (
    DOUBT_COLUMNS,
    UNKNOWN_REASON,
    add_decisions,
    answer_name,
    answer_score,
    doubt_columns,
)
from urbanrivers_camtraps.inference.predict import make_predictions, predict, write_predictions
from urbanrivers_camtraps.inference.season import Job, on_threads, predict_season, read_season
from urbanrivers_camtraps.survey.waiting import is_waiting, waiting_text, with_higher_taxa
from urbanrivers_camtraps.training.bundle_format import Description, RollUp, UnknownClasses
from urbanrivers_camtraps.training.export import write_bundle
from urbanrivers_camtraps.votes.higher_taxa import higher_taxa

MALLARD, GOOSE, RACCOON, HUMAN, BLANK = CLASSES = ('Anas platyrhynchos', 'Branta canadensis', 'Procyon lotor', 'human', 'blank')
NAMES = dict(zip(CLASSES, ('Mallard', 'Canada Goose', 'Raccoon', 'Human', 'No Animal Detected')))
#: Scores → what is done with them by a bundle that accepts from 0.8, calls blank from 0.69, and knows all patterns but the second.
CASES = {
    'accepted': ([.85, .05, .04, .02, .04], ('accept', None, None, 'Mallard', .85)),
    'unknown': ([.02, .05, .9, .01, .02], ('review', UNKNOWN_REASON, None, 'Unknown', None)),
    'duck': ([.5, .4, .05, .02, .03], ('review', 'no species is sure, but it is a duck, goose or swan (0.90)', 'Anatidae', 'Duck, Goose or Swan', .9)),
    'animal': ([.4, .2, .35, .02, .03], ('review', 'no species is sure, but it is an animal (0.95)', 'Animalia', 'Animal', .95)),
    'person': ([.3, .2, .1, .35, .05], ('review', 'no class is sure', None, 'Human', .35)),
    'maybe a person': ([.5, .35, .02, .1, .03], ('review', 'no class is sure', None, 'Mallard', .5)),
    'unsure': ([.3, .2, .1, .02, .38], ('review', 'no class is sure', None, 'No Animal Detected', .38)),
    'blank': ([.1, .1, .05, .05, .7], ('blank', None, None, 'No Animal Detected', .7)),
    'a person, surely': ([.02, .02, .02, .9, .04], ('accept', None, None, 'Human', .9))}
SCORES = np.array([o for o, _ in CASES.values()])


def description(**fields: object) -> Description:
    "Describe a bundle that knows the patterns of all cases but `unknown`."
    known = score_directions(np.delete(SCORES, 1, axis=0))
    unknown = UnknownClasses(reference=[' '.join(f'{o:.5f}' for o in row) for row in known], neighbours=1, threshold=.2, share=.05, caught=.4)
    roll_up = RollUp(taxa=higher_taxa(CLASSES), people=('human',))
    return Description(**{'classes': CLASSES, 'common_names': NAMES, 'backbone': 'made up', 'thresholds': {'blank': .69, 'accept': .8},
                          'transforms': {'size': 64, 'mean': (.5,)*3, 'std': (.25,)*3, 'trim': (0, 0)}, 'unknown': unknown, 'roll_up': roll_up, **fields})


def made(about: Description, reasons: tuple = ()) -> Predictions:
    "Make the table of all cases."
    return make_predictions(Bundle(Path(), about, None), [(f'{name}.jpg', o) for name, o in zip(CASES, SCORES)], reasons=reasons)


def outcomes(table: Predictions) -> list[tuple]:
    "Return decision, reason, taxon, name and score of each photograph."
    rows = pd.DataFrame(table).to_dict('records')
    scores = [answer_score(o) for o in rows]
    return [(o['decision'], o['review_reason'], o['taxon'], answer_name(o, NAMES), score if score is None else round(score, 6))
            for o, score in zip(rows, scores)]


# --- the table ---

@pytest.mark.parametrize('case', CASES)
def test_each_photograph_by_hand(case): assert outcomes(made(description()))[list(CASES).index(case)] == CASES[case][1]


def test_blank_goes_before_unknown_and_unknown_before_accept():
    scores = np.array([[.9, .02, .02, .02, .04], [.1, .02, .06, .02, .8]])
    table = Predictions(pd.DataFrame({'prediction': [MALLARD, BLANK], 'score': [.9, .8], 'scores': list(scores)}), CLASSES)
    opposite = UnknownClasses(reference=[' '.join(f'{-o:.4f}' for o in score_directions(scores)[0])], neighbours=1, threshold=.5, share=.05)
    decided = add_decisions(table, {'blank': .7}, .8, opposite)
    assert decided.decision.tolist() == ['review', 'blank'] and decided.review_reason.tolist() == [UNKNOWN_REASON, None]
    assert (decided.unknown_score > .5).all()  # the blank one is far away as well, and stays blank


def test_classes_with_thresholds_of_their_own():
    "A class below the threshold of its own is reviewed; a taxon needs the highest of them; a class without one is never sure."
    table = made(description(class_thresholds={MALLARD: .5, RACCOON: .93}))
    decided = dict(zip(CASES, outcomes(table)))
    assert [decided[o][0] for o in ('accepted', 'duck', 'a person, surely')] == ['accept', 'accept', 'review']
    assert decided['duck'][2] is None and decided['animal'][:3] == ('review', 'no species is sure, but it is an animal (0.95)', 'Animalia')


def test_a_single_frame_has_the_thresholds_of_single_frames():
    about = description(motion=True, whole_frame_thresholds={'accept': .4})
    alone = made(about, reasons=['it came alone']*len(CASES))
    assert alone.decision[list(CASES).index('duck')] == 'accept' and 'blank' not in set(alone.decision)
    assert outcomes(made(about)) == [o for _, o in CASES.values()]


# --- files ---

def test_csv_and_json_say_the_same(tmp_path):
    table = made(description())
    rows = pd.read_csv(write_predictions(table, tmp_path/'table.csv')).astype(object)
    records = json.loads(write_predictions(table, tmp_path/'table.json').read_text())
    assert [o for o in rows if o in DOUBT_COLUMNS] == list(DOUBT_COLUMNS) == list(doubt_columns(description()))
    for (decision, reason, taxon, *_), row, record in zip(outcomes(table), rows.to_dict('records'), records):
        assert (record['decision'], record['review_reason'], record['taxon']) == (decision, reason, taxon)
        assert [None if pd.isna(row[o]) else row[o] for o in ('decision', 'review_reason', 'taxon', 'taxon_rank', 'taxon_score')] == [
            record[o] for o in ('decision', 'review_reason', 'taxon', 'taxon_rank', 'taxon_score')]
    assert not any(pd.isna(o['unknown_score']) for o in records)


@pytest.mark.parametrize('fields', [{'unknown': None}, {'roll_up': None}, {'unknown': None, 'roll_up': None}, {'thresholds': {}},
                                    {'thresholds': {}, 'unknown': None}])
def test_what_a_bundle_lacks_is_no_column(tmp_path, fields):
    about = description(**fields)
    table = made(about)
    assert tuple(o for o in table if o in DOUBT_COLUMNS) == doubt_columns(about)
    header = write_predictions(table, tmp_path/'table.csv').read_text().splitlines()[0].split(',')
    assert [o for o in header if o in DOUBT_COLUMNS] == list(doubt_columns(about))


# --- a bundle in a folder, a season and its survey ---

@pytest.fixture(scope='module')
def card(tmp_path_factory) -> Path:
    "Three plain photographs of one deployment, an hour apart."
    folder = tmp_path_factory.mktemp('doubt')/'card'/'dock'
    folder.mkdir(parents=True)
    for number, colour in enumerate([(30, 60, 30), (120, 140, 150), (250, 250, 250)]):
        noise = np.random.default_rng(number).integers(-20, 20, (96, 128, 3))
        exif, file = Image.Exif(), io.BytesIO()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f'2025:06:02 {8 + number:02}:00:00'
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype('uint8')).save(file, 'JPEG', quality=95, exif=exif)
        (folder/f'IMG_000{number}.JPG').write_bytes(file.getvalue())
    return folder.parent


@pytest.fixture(scope='module')
def doubtful(card, tmp_path_factory) -> Path:
    "A bundle whose only known photograph is the first of the card; no class is ever sure, but all birds together are."
    import torch

    class Colours(torch.nn.Module):
        "Dark, middle and bright give three patterns of scores."
        def __init__(self):
            super().__init__()
            self.body, self.head = torch.nn.Conv2d(3, 1, 1), torch.nn.Linear(1, 4)
            with torch.no_grad():
                self.body.weight[:], self.body.bias[:] = 1, 0
                self.head.weight[:], self.head.bias[:] = torch.tensor([[.05], [.1], [-.1], [.6]]), torch.tensor([2., 2, -1, -3])
        def forward(self, x): return self.head(self.body(x).mean((2, 3)))

    classes = ['Anas platyrhynchos', 'Branta canadensis', 'Procyon lotor', 'blank']
    recipe = SimpleNamespace(backbone='tiny', size=64, trim_top=0, trim_bottom=0, mean=(.5,)*3, std=(.25,)*3)
    learner = SimpleNamespace(model=Colours(), recipe=recipe, dls=SimpleNamespace(vocab=classes))
    folder = tmp_path_factory.mktemp('doubtful')/'bundle'
    write_bundle(learner, folder, thresholds={'accept': .8}, roll_up=True)
    plain = predict(read_bundle(folder), card, progress=False)
    known = score_directions(np.stack(plain.scores)[:1])[0]
    write_bundle(learner, folder, thresholds={'accept': .8}, roll_up=True, unknown={
        'reference': [' '.join(f'{o:.4f}' for o in known)], 'neighbours': 1, 'threshold': .3, 'share': .05})
    return folder


@pytest.fixture(scope='module')
def season(card, doubtful, tmp_path_factory) -> Path:
    "The season of the card."
    out = tmp_path_factory.mktemp('season')/'season.parquet'
    predict_season(card, out, Job(doubtful), on_threads, progress=False)
    return out


def test_a_season_decides_as_predict_does(card, doubtful, season):
    found, kept = predict(read_bundle(doubtful), card, progress=False), read_season(season)
    duck = 'no species is sure, but it is a duck, goose or swan'
    assert found.review_reason.str.split(' (', regex=False).str[0].tolist() == [duck, duck, UNKNOWN_REASON], found.to_dict('records')
    for column in ('decision', 'prediction', 'review_reason', 'taxon', 'taxon_rank'):
        assert kept[column].fillna('').tolist() == found[column].fillna('').tolist(), column
    assert np.allclose(kept.unknown_score, found.unknown_score, atol=1e-6) and np.allclose(kept.taxon_score, found.taxon_score, atol=1e-6, equal_nan=True)


def test_the_survey_counts_no_unknown_animal_and_says_who_waits(season, tmp_path, capsys):
    (tmp_path/'deployments.csv').write_text('deployment_id,location,latitude,longitude,start,end,folder\ndock-06,Dock,41.9,-87.65,2025-06-01,2025-06-10,dock\n')
    status = run(['survey', '--season', str(season), '--deployments', str(tmp_path/'deployments.csv'), '--out', str(tmp_path/'survey.html')])
    said, page = capsys.readouterr(), (tmp_path/'survey.html').read_text(encoding='utf-8')
    assert status in (None, 0, 3, 4) and '2 events: ' in said.out
    events = pd.read_csv(tmp_path/'survey_rates.csv')
    assert 'Anatidae' in set(events.label) and not {'blank', 'Branta canadensis', 'Anas platyrhynchos'} & set(events.label[events.events > 0])
    for text in ('1 photographs show none of the classes that the model knows. They wait for a volunteer and are in no event',
                 'Of 2 photographs no species is sure. They count as a higher taxon: Anatidae 2'): assert text in page, text


def test_a_season_keeps_the_thresholds_of_each_class(doubtful, card, tmp_path):
    "A mallard that is accepted by the threshold of its class is one in the survey, too, although a taxon needs more."
    bundle = Path(shutil.copytree(doubtful, tmp_path/'bundle'))
    about = json.loads((bundle/'bundle.json').read_text())
    about['class_thresholds'] = {'Anas platyrhynchos': .3, 'Branta canadensis': .3, 'Procyon lotor': .9}
    (bundle/'bundle.json').write_text(json.dumps(about))
    predict_season(card, tmp_path/'season.parquet', Job(bundle), on_threads, progress=False)
    kept, settings = read_season(tmp_path/'season.parquet'), read_settings(tmp_path/'season.parquet')
    accepted = kept[kept.decision == 'accept']
    assert len(accepted) == 2 and settings['accept'] == .9
    assert with_higher_taxa(accepted, settings).prediction.tolist() == accepted.prediction.tolist()
    assert with_higher_taxa(accepted, {**settings, 'class_thresholds': {}}).prediction.tolist() == ['Anatidae']*2


def test_an_older_bundle_and_its_season_work_as_before(doubtful, card, tmp_path, capsys):
    bundle = Path(shutil.copytree(doubtful, tmp_path/'bundle'))
    about = json.loads((bundle/'bundle.json').read_text())
    for name in ('unknown', 'roll_up', 'class_thresholds', 'whole_frame_thresholds', 'whole_frame_class_thresholds', 'final'): about.pop(name, None)
    (bundle/'bundle.json').write_text(json.dumps(about))
    found = predict(read_bundle(bundle), card, progress=False)
    assert not set(DOUBT_COLUMNS) & set(found) and set(found.decision) == {'review'}
    assert 'always answers with one of its classes' in read_bundle(bundle).description.limit
    predict_season(card, tmp_path/'season.parquet', Job(bundle), on_threads, progress=False)
    kept = read_season(tmp_path/'season.parquet')
    assert not set(DOUBT_COLUMNS) & set(kept) and not is_waiting(kept).any()
    assert with_higher_taxa(kept, {}).equals(kept) and waiting_text(0, kept) == ()
    assert run(['predict', str(card), '--bundle', str(bundle)]) in (None, 0)
    assert 'review_reason' not in capsys.readouterr().out


def test_the_command_line_says_who_waits(doubtful, card, capsys):
    assert run(['predict', str(card), '--bundle', str(doubtful)]) in (None, 0)
    said = capsys.readouterr().out
    assert '1 wait for a volunteer: none of the classes that the model knows' in said and 'of 2 no species is sure, but a higher taxon is' in said


# --- the app ---

def of_case(name: str) -> np.ndarray:
    "Return the scores of a case."
    return np.float32(SCORES[list(CASES).index(name)])


@pytest.mark.parametrize('case, heading, words', [
    ('accepted', 'Mallard', 'Likely (85.0 %)'), ('unknown', 'Unknown', 'None of the classes I know'), ('duck', 'Duck, Goose or Swan', 'No species is sure'),
    ('blank', 'No Animal Detected', 'Likely (70.0 %)'), ('unsure', 'No Animal Detected', 'Unsure: a volunteer should look')])
def test_the_app_in_words(case, heading, words):
    bundle = Bundle(Path(), description(), None)
    page = answer_html(bundle, of_case(case), Image.new('RGB', (64, 48)), (0, 0))
    assert f'<h2>{heading}</h2>' in page and words in page
    text, record = answer(bundle, of_case(case))
    assert text.startswith(f'## {heading}') and record['answer'] == heading and record['decision'] == CASES[case][1][0]
    assert record['review_reason'] == CASES[case][1][1] and ('For a volunteer' in text) == (record['decision'] == 'review')
    assert json.loads(json.dumps(record)) == record


def test_a_photograph_alone_is_answered_by_the_thresholds_of_whole_frames():
    "With two views this bundle would take a mallard for sure; of one photograph it is not."
    bundle = Bundle(Path(), description(motion=True, whole_frame_thresholds={'accept': .88}), None)
    page, (text, record) = answer_html(bundle, of_case('accepted'), Image.new('RGB', (64, 48)), (0, 0)), answer(bundle, of_case('accepted'))
    assert verdict(bundle, of_case('accepted'))[1].startswith('No species is sure')
    assert record['decision'] == 'review' and '<h2>Duck, Goose or Swan</h2>' in page and text.startswith('## Duck, Goose or Swan')


def test_many_photographs_show_the_score_of_what_they_are_called():
    table = made(description())
    page = summary_html(Bundle(Path(), description(), None), table)
    cells = {name: page.split(f'<td>{name}.jpg</td>')[1].split('</tr>')[0] for name in CASES}
    expected = {'accepted': '85.0 %', 'duck': '90.0 %', 'animal': '95.0 %', 'unknown': '–'}
    for name, share in expected.items(): assert f'<td>{share}</td>' in cells[name], name
    assert '(1 of them: none of the classes that it knows)' in page
    sheet = contact_sheet([thumbnail(Image.new('RGB', (64, 48)))]*len(CASES), table)
    assert Image.open(io.BytesIO(sheet)).size[0] > 0
