"""Reviewed bursts teach the next model: with the right labels, never from the held-out set, and the report says what was drawn by chance."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.dataset.duplicates import add_hashes
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN
from urbanrivers_camtraps.foundations.outputs import overwriting
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.review.reviews import CANNOT_TELL, Reviews
from urbanrivers_camtraps.survey.deployments import read_deployments
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.gain import compare_factors, correction_factors, rescored_sample, season_factors
from urbanrivers_camtraps.survey.teaching import (
    TeachingError,
    add_reviewed,
    reviewed_photographs,
    store_photographs,
    taught_section,
)

BEAVER, RACCOON = 'Castor canadensis', 'Procyon lotor'
CLASSES = [BEAVER, RACCOON, BLANK, HUMAN]
DAY = pd.Timestamp('2025-06-01 05:00')


def called(*arguments):
    "Run a command in this process; what it refuses is part of the output."
    with overwriting(False): done = CliRunner().invoke(app, [str(o) for o in arguments])
    return SimpleNamespace(exit_code=done.exit_code, output=f'{done.output}{done.exception or ""}')


def noise(path: Path, seed: int) -> Path:
    "Write a photograph that looks like no other."
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(small).resize((160, 120)).save(path, quality=92)
    return path


class Season:
    "A season of bursts of two frames, one a day: camera, and what the model says of each frame."
    def __init__(self, folder: Path, bursts: list[tuple]):
        self.folder, rows = folder/'season', []
        self.folder.mkdir(parents=True)
        for number, (camera, *answers) in enumerate(bursts):
            for frame, answer in enumerate(answers):
                path = noise(folder/'card'/camera/f'{number}_{frame}.jpg', 1000 + 10*number + frame)
                clock = DAY + pd.Timedelta(days=number, seconds=5*frame)
                scores = np.eye(len(CLASSES))[CLASSES.index(answer)]*.6 + .1
                rows.append((str(path), answer, .7, scores, 'review', None, clock))
        self.table = pd.DataFrame(rows, columns=['path', 'prediction', 'score', 'scores', 'decision', 'reason', 'clock'])
        write_table(self.table, self.folder/'predictions.parquet', classes=CLASSES)
        cameras = sorted({o[0] for o in bursts})
        (self.folder/'deployments.csv').write_text('deployment_id,location,latitude,longitude,start,end\n' + ''.join(
            f'{o},{o},41.9,-87.65,2025-05-01,2025-09-01\n' for o in cameras))
        self.reviews = Reviews(self.folder/'reviews.sqlite')
        self.number, self.names = 0, {}

    def name(self, number: int, frame: int = 0) -> str:
        "Return the path of a frame, by which answers are kept if nothing names the deployments."
        return next(o for o in self.table.path if Path(o).name == f'{number}_{frame}.jpg')

    def say(self, number: int, label: str, frame: int = 0, who: str = 'anna') -> None:
        "Let somebody answer."
        self.number += 1
        name = self.name(number, frame)
        self.reviews.add(f'token number {self.number}', self.names.get(name, name), label, who)


@pytest.fixture
def dataset():
    "A data set of 40 photographs that look like nothing else; every fifth is held out."
    rows = range(40)
    table = pd.DataFrame({'media_id': [f'm{o}' for o in rows], 'label': [[BEAVER, RACCOON, BLANK][o % 3] for o in rows],
                          'sha256': [f's{o}' for o in rows],
                          'burst_id': [f'm{o}' for o in rows], 'deployment_id': 'old',
                          'phash': [f'{np.random.default_rng(o).integers(2**63):016x}' for o in rows],
                          'timestamp': [DAY.tz_localize('UTC') - pd.Timedelta(days=o + 9) for o in rows],
                          'split': [('test', 'train', 'train', 'valid', 'train')[o % 5] for o in rows]})
    return table.assign(fold=pd.Series([None if o % 5 == 0 else o % 3 for o in rows], dtype='Int64'))


def rows(count: int, **columns) -> pd.DataFrame:
    "Return reviewed photographs as `store_photographs` and `add_hashes` give them."
    table = pd.DataFrame({'media_id': [f'n{o}' for o in range(count)], 'label': RACCOON, 'sha256': [f'z{o}' for o in range(count)],
                          'burst_id': [f'n{o}' for o in range(count)], 'phash': [f'{2**62 + 977*3**o:016x}' for o in range(count)], 'deployment_id': 'new',
                          'timestamp': pd.Timestamp('2025-07-01', tz='UTC'), 'source': 'review', 'by_chance': False})
    return table.assign(**columns)


# --- which frames are labelled ---

def test_the_answer_on_a_burst_labels_the_frames_that_show_something(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BLANK), ('a', RACCOON, BLANK), ('b', BEAVER, RACCOON), ('b', BLANK, BLANK), ('b', BEAVER, BEAVER)])
    season.say(0, RACCOON)  # the second frame is empty for the model, and nobody looked at it alone
    season.say(1, BLANK)  # all frames of a blank burst are blank
    season.say(2, BEAVER)
    season.say(3, BEAVER)  # what people saw on the best frame is true of it, though the model saw nothing
    season.say(4, CANNOT_TELL)
    found, skipped = reviewed_photographs(season.folder)
    assert [(Path(o).stem, label) for o, label in zip(found.path, found.label)] == [
        ('0_0', RACCOON), ('1_0', BLANK), ('1_1', BLANK), ('2_0', BEAVER), ('2_1', BEAVER), ('3_0', BEAVER)]
    assert [Path(o).stem for o in skipped.id] == ['0_1', '3_1']


def test_frames_answered_one_by_one_have_their_own_labels(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BLANK)])
    season.say(0, BEAVER)
    season.say(0, BLANK, frame=1)
    found, skipped = reviewed_photographs(season.folder)
    assert found.label.tolist() == [BEAVER, BLANK] and skipped.empty


def test_a_divided_answer_is_no_label_and_a_majority_is(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BEAVER), ('a', BEAVER, BEAVER)])
    for burst, labels in ((0, (BEAVER, RACCOON)), (1, (RACCOON, RACCOON, BEAVER))):
        for who, label in zip(('anna', 'ben', 'cleo'), labels): season.say(burst, label, who=who)
    found, skipped = reviewed_photographs(season.folder)
    assert set(found.label) == {RACCOON} and len(found) == 2
    assert found.votes.tolist() == [3, 3] and found.vote_share.tolist() == pytest.approx([2/3]*2)
    assert set(skipped.reason) == {'people are divided'}


def test_a_family_is_no_label(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BEAVER)])
    season.say(0, 'Anatidae')
    found, skipped = reviewed_photographs(season.folder)
    assert found.empty and set(skipped.reason) == {'is not named to its species'}


def test_a_season_that_nobody_reviewed_teaches_nothing(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BEAVER)])
    with pytest.raises(TeachingError, match='no answers of people'): reviewed_photographs(season.folder)


def test_the_sample_can_be_left_out(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BEAVER), ('a', BEAVER, BEAVER)])
    names = [[season.name(o, frame) for frame in (0, 1)] for o in (0, 1)]
    write_table(pd.DataFrame({'burst_id': [o[0] for o in names], 'drawn': [True, False], 'media_ids': names, 'paths': names}), season.folder/'sample.parquet')
    for number in (0, 1): season.say(number, RACCOON)
    found, _ = reviewed_photographs(season.folder)
    assert found.by_chance.tolist() == [True, True, False, False]
    found, skipped = reviewed_photographs(season.folder, with_sample=False)
    assert len(found) == 2 and set(skipped.reason) == {'was drawn by chance for an estimate'}


def test_copies_survive_the_card_and_unreadable_files_are_listed(tmp_path):
    season = Season(tmp_path, [('a', BEAVER, BEAVER), ('a', HUMAN, HUMAN)])
    season.say(0, BEAVER)
    season.say(1, HUMAN)
    found, _ = reviewed_photographs(season.folder)
    Path(season.name(0, 1)).write_bytes(b'damaged')
    stored, skipped = store_photographs(found, tmp_path/'taught')
    assert [Path(o).parent.name for o in stored.path] == ['Castor_canadensis', 'human', 'human']
    assert skipped.id.tolist() == [season.name(0, 1)] and stored.width.tolist() == [160]*3
    again, _ = store_photographs(found, tmp_path/'taught')
    assert again.path.tolist() == stored.path.tolist() and again.sha256.tolist() == stored.sha256.tolist()


# --- never the held-out set ---

def held(dataset: pd.DataFrame) -> pd.Series: return dataset[dataset.split == 'test'].iloc[0]


@pytest.mark.parametrize(('column', 'reason'), [('sha256', 'is in the held-out set'), ('media_id', 'is in the held-out set'),
                                                ('burst_id', 'is of a burst of the held-out set'), ('phash', 'looks like a photograph of the held-out set')])
def test_nothing_of_the_held_out_set_teaches(dataset, column, reason):
    reviewed = rows(2)
    reviewed.loc[0, column] = held(dataset)[column]
    together, skipped = add_reviewed(dataset, reviewed)
    assert skipped.reason.tolist() == [reason]
    assert together[together.source == 'review'].sha256.tolist() == ['z1']
    old = together[together.source != 'review'].drop(columns=['source', 'by_chance'])
    pd.testing.assert_frame_equal(old, dataset, check_dtype=False)


def test_what_ties_one_frame_to_the_held_out_set_ties_its_burst(dataset):
    reviewed = rows(3, burst_id=['x', 'x', 'y'])
    reviewed.loc[0, 'sha256'] = held(dataset).sha256
    together, skipped = add_reviewed(dataset, reviewed)
    assert skipped.reason.tolist() == ['is in the held-out set', 'is of a burst of the held-out set']
    assert together[together.source == 'review'].media_id.tolist() == ['n2']


@pytest.mark.parametrize(('bits', 'hours', 'camera', 'teaches'), [(0, 48, 'old', True), (0, .5, 'old', False), (0, 48, 'other', False), (4, .5, 'old', False),
                                                                  (5, .5, 'old', True)])
def test_an_empty_scene_may_look_like_itself_on_another_day(dataset, bits, hours, camera, teaches):
    test = held(dataset)
    phash = f'{int(test.phash, 16) ^ (2**bits - 1):016x}'
    reviewed = rows(1, phash=phash, deployment_id=camera, timestamp=test.timestamp + pd.Timedelta(hours=hours))
    together, _ = add_reviewed(dataset, reviewed)
    assert (len(together) > len(dataset)) == teaches


def test_a_split_by_camera_keeps_its_cameras(dataset):
    dataset = dataset.assign(deployment_id=np.where(dataset.split == 'test', 'held', 'old'))
    together, skipped = add_reviewed(dataset, rows(3, deployment_id=['held', 'old', None]), by='deployment')
    assert together[together.source == 'review'].media_id.tolist() == ['n1']
    assert set(skipped.reason) == {'is on the side of the held-out set'}


def test_a_split_by_date_keeps_the_future(dataset):
    times = pd.to_datetime(['2025-05-01', '2025-07-01', None], utc=True)
    together, skipped = add_reviewed(dataset, rows(3, timestamp=times), until='2025-06-15', time_zone='America/Chicago')
    assert together[together.source == 'review'].media_id.tolist() == ['n0'] and len(skipped) == 2


def test_a_burst_stays_on_its_side_and_in_its_fold(dataset):
    valid, train = (dataset[dataset.split == o].iloc[0] for o in ('valid', 'train'))
    together, _ = add_reviewed(dataset, rows(3, burst_id=[valid.burst_id, train.burst_id, 'new']))
    mine = together[together.source == 'review'].set_index('media_id')
    assert mine.split.tolist() == ['valid', 'train', 'train']
    assert mine.fold[:2].tolist() == [valid.fold, train.fold] and mine.fold.notna().all()


def test_without_a_held_out_set_all_may_teach(dataset):
    together, skipped = add_reviewed(dataset.assign(split='train'), rows(2))
    assert len(together) == 42 and skipped.empty


def test_a_class_that_is_new_needs_some_photographs(dataset):
    reviewed = rows(13, label=['Vulpes vulpes']*10 + ['Canis latrans']*2 + [HUMAN])
    together, skipped = add_reviewed(dataset, reviewed)
    assert together[together.source == 'review'].label.unique().tolist() == ['Vulpes vulpes']
    assert skipped.reason.value_counts().to_dict() == {'fewer than 10 of a class that the data set does not have': 2,
                                                       'the data set has no class of people or vehicles': 1}


def test_copies_count_once_and_known_photographs_keep_their_label(dataset):
    known = dataset[dataset.split == 'train'].iloc[0]
    together, skipped = add_reviewed(dataset, rows(3, sha256=['z', 'z', known.sha256]))
    assert skipped.reason.tolist() == ['there twice', 'is in the data set already']
    assert together[together.media_id == known.media_id].label.tolist() == [known.label]


def test_the_report_says_what_was_drawn_by_chance(dataset):
    together, _ = add_reviewed(dataset, rows(3, by_chance=[True, False, False]))
    _, text, _ = taught_section(together)
    assert '3 photographs of 3 bursts' in text and '1 of the bursts were drawn by chance' in text
    _, text, _ = taught_section(add_reviewed(dataset, rows(3))[0])
    assert 'by chance' not in text
    assert taught_section(dataset) is None


# --- by the commands ---

@pytest.fixture
def taught(tmp_path):
    "A data set in class folders, and a season of which one frame is a copy of a photograph in it."
    for number in range(36): noise(tmp_path/'classes'/[BEAVER, RACCOON, BLANK][number % 3].replace(' ', '_')/f'{number}.jpg', number)
    season = Season(tmp_path, [('a', BEAVER, BEAVER), ('a', RACCOON, BLANK), ('b', BLANK, BLANK)])
    season.names = {season.name(o): f"{'aab'[o]}/{o}_0.jpg" for o in range(3)}  # as deployments name them
    for number, label in enumerate((RACCOON, RACCOON, BLANK)): season.say(number, label)
    return season


def dataset_of(folder: Path, *options: object) -> pd.DataFrame:
    "Run `camtraps dataset` on class folders."
    done = called('dataset', '--folder', folder/'classes', '--data', folder/'data', '--no-motion', *options)
    assert done.exit_code in (0, 3), done.output
    return read_table(folder/'data'/'dataset.parquet').assign(output=done.output)


def test_a_season_is_added_by_one_command_and_stays(taught, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = dataset_of(tmp_path)
    test = before[before.split == 'test']
    copied = Path(taught.name(2, 0))
    copied.write_bytes(Path(test.path.iloc[0]).read_bytes())  # a held-out photograph on the card
    after = dataset_of(tmp_path, '--add-season', taught.folder)
    mine = after[after.source == 'review']
    assert 'None of them is in the held-out set' in after.output.iloc[0]
    assert after[after.split == 'test'].media_id.tolist() == test.media_id.tolist()
    assert set(mine.split) <= {'train', 'valid'} and set(mine.label) == {RACCOON}
    listed = pd.read_csv(tmp_path/'data'/'not_taught.csv')
    assert (listed.reason.str.contains('held-out set')).sum() == 2  # the copy, and the other frame of its burst
    again = dataset_of(tmp_path)
    assert again[again.source == 'review'].media_id.tolist() == mine.media_id.tolist() and 'are used again' in again.output.iloc[0]
    taught.say(0, BEAVER, who='ben')
    taught.say(0, BEAVER, who='cleo')  # two against one
    corrected = dataset_of(tmp_path, '--add-season', taught.folder)
    assert corrected[corrected.source == 'review'].label.value_counts().to_dict() == {BEAVER: 2, RACCOON: 1}


def test_perceptual_hashes_are_those_of_the_data_set(taught, tmp_path):
    found, _ = reviewed_photographs(taught.folder, read_deployments(taught.folder/'deployments.csv'))
    assert found.deployment_id.notna().all() and found.timestamp.notna().all()
    stored, _ = store_photographs(found, tmp_path/'taught')
    assert add_hashes(stored, progress=False).phash.notna().all()


# --- what the model gained ---

def test_factors_are_the_corrected_number_by_the_model_s(tmp_path):
    sample = pd.DataFrame({'burst_id': [str(o) for o in range(8)], 'group': 'all', 'stratum': 0., 'drawn': True, 'p': .5, 'called': [True]*2 + [False]*6,
                           'seen': [1.]*4 + [0.]*4})
    before = correction_factors(sample)
    assert (before.total[0], before.called[0], before.factor[0]) == (pytest.approx(4), 2, pytest.approx(2))
    assert before.low[0] == before.high[0] == pytest.approx(2)  # everything was looked at
    after = correction_factors(rescored_sample(sample, pd.DataFrame({'burst_id': sample.burst_id, 'p': .5, 'called': [True]*4 + [False]*4})))
    assert after.factor[0] == pytest.approx(1)
    assert compare_factors(before, after).nearer.tolist() == [True]
    assert compare_factors(after, before).nearer.tolist() == [False]
    with pytest.raises(SurveyError, match='does not have'): rescored_sample(sample, pd.DataFrame({'burst_id': ['0'], 'p': .5, 'called': True}))


def test_a_model_that_calls_nothing_an_animal_has_no_factor():
    sample = pd.DataFrame({'burst_id': list('ab'), 'group': 'all', 'stratum': 0., 'p': .1, 'called': False, 'seen': [1., 0.]})
    assert correction_factors(sample).factor.isna().all()


def test_two_models_are_compared_on_the_sample_of_one_season(tmp_path):
    bursts = [('a', BEAVER if o % 4 == 0 else BLANK) for o in range(24)]
    season, again = Season(tmp_path/'old', bursts), tmp_path/'again'
    table = season.table.assign(prediction=[BEAVER if o % 2 == 0 else BLANK for o in range(24)])
    table['scores'] = [np.eye(len(CLASSES))[CLASSES.index(o)]*.6 + .1 for o in table.prediction]
    again.mkdir()
    write_table(table, again/'predictions.parquet', classes=CLASSES)
    deployments = season.folder/'deployments.csv'
    done = called('sample', '--season', season.folder, '--deployments', deployments, '--n', 24)
    assert done.exit_code == 0, done.output
    drawn = read_table(season.folder/'sample.parquet')
    for number, (media_id, path) in enumerate(zip(drawn.media_id, drawn.path)):
        burst = int(Path(path).stem.split('_')[0])
        season.reviews.add(f'review number {number}', media_id, BEAVER if burst % 2 == 0 else BLANK, 'anna')
    found = season_factors(season.folder, again, read_deployments(deployments))
    assert found.factor_before[0] == pytest.approx(2, abs=.3) and found.factor_after[0] == pytest.approx(1, abs=.15)
    assert found.nearer.tolist() == [True]
