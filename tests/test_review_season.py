"""A season under review: bursts by keyboard and on the wall, with browsers and servers that are killed, and what the survey makes of it."""
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect, sync_playwright

from axe import violations
from test_apps_app import CHROMIUM, QUIET, SCREENSHOTS, needs_browser
from test_review_server import killable, post, reviewing, seen
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, CamtrapsError
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.review.assignments import Assignments
from urbanrivers_camtraps.review.reviews import CANNOT_TELL, Answer, Reviews, read_reviews
from urbanrivers_camtraps.review.sample import add_answers
from urbanrivers_camtraps.review.season_queue import folder_cameras, season_queue, with_bursts
from urbanrivers_camtraps.review.server import serve_reviews
from urbanrivers_camtraps.survey.people_first import people_first

MALLARD, BEAVER, RACCOON = 'Anas platyrhynchos', 'Castor canadensis', 'Procyon lotor'
CLASSES = [MALLARD, BEAVER, RACCOON, BLANK, HUMAN]
COUNT = 1000


def draw(folder: Path, number: int) -> Path:
    "Draw a river at dusk, with something in it unless the number is 0."
    image = Image.fromarray(np.linspace([120, 140, 150], [40, 60, 50], 60).astype('uint8')[:, None].repeat(80, 1))
    if number: ImageDraw.Draw(image).ellipse((10 + 8*number, 30, 24 + 8*number, 40), '#70604a')
    image.save(folder/f'{number}.jpg', quality=80)
    return folder/f'{number}.jpg'


def make_season(folder: Path, bursts: int) -> Path:
    "Write a season of bursts of one to three frames at three cameras; two of three show nothing, and few files have many names."
    generator, clock, rows = np.random.default_rng(7), pd.Timestamp('2025-05-01T06:00'), []
    pictures = [draw(folder, o) for o in range(5)]
    for burst in range(bursts):
        clock += pd.Timedelta(minutes=int(generator.integers(2, 90)))
        kind = 3 if burst % 3 else burst//3 % 3
        for frame in range(1 + burst % 3):
            scores = np.full(5, .02) + generator.random(5)*.05
            scores[kind] += 1 - scores.sum()
            path = folder/f'{"weir dock mouth".split()[burst % 3]}'/f'{burst:04}_{frame}.jpg'
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(pictures[0 if kind == 3 else 1 + burst % 4])
            rows.append((str(path), clock + pd.Timedelta(seconds=frame), scores))
    table = pd.DataFrame(rows, columns=['path', 'clock', 'scores'])
    table = table.assign(reason=None, prediction=[CLASSES[np.argmax(o)] for o in table.scores], score=table.scores.map(max), decision='accept')
    write_table(table, folder/'season.parquet', classes=CLASSES)
    return folder/'season.parquet'


@pytest.fixture(scope='module')
def large(tmp_path_factory):
    "A season of 1,000 bursts: its table, frames and queue."
    path = make_season(tmp_path_factory.mktemp('season'), COUNT)
    frames = with_bursts(folder_cameras(path))
    return path, frames, season_queue(frames)


@pytest.fixture
def few(large):
    "Twelve bursts of that season, four of which show something, in the order of time."
    _, frames, queue = large
    queue = queue.sort_values('timestamp').head(12).reset_index(drop=True)
    return queue, frames[frames.burst_id.isin(queue.burst_id)]


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────
OLD = """CREATE TABLE reviews (id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, media_id TEXT NOT NULL, label TEXT,
        reviewer TEXT NOT NULL, reviewed_at TEXT NOT NULL, undoes INTEGER UNIQUE REFERENCES reviews(id),
        CHECK ((label IS NULL) = (undoes IS NOT NULL)));
CREATE TRIGGER no_UPDATE BEFORE UPDATE ON reviews BEGIN SELECT RAISE(ABORT, 'reviews are never changed'); END;
CREATE TRIGGER no_DELETE BEFORE DELETE ON reviews BEGIN SELECT RAISE(ABORT, 'reviews are never changed'); END;
CREATE VIEW standing AS SELECT id, media_id, label, reviewer, reviewed_at FROM reviews
        WHERE undoes IS NULL AND id NOT IN (SELECT undoes FROM reviews WHERE undoes IS NOT NULL);
CREATE VIEW latest AS SELECT max(id) AS id, media_id, label, reviewer, reviewed_at FROM standing GROUP BY media_id, reviewer;
CREATE TABLE address (secret TEXT NOT NULL); INSERT INTO address VALUES ('the-secret-of-old'); PRAGMA user_version = 1;
INSERT INTO reviews VALUES (1, 'a', 'm1', 'blank', 'Heron', '2025-05-01T10:00:00.000+00:00', NULL),
 (2, 'b', 'm2', 'human', 'Heron', '2025-05-01T10:00:01.000+00:00', NULL), (3, 'c', 'm2', NULL, 'Heron', '2025-05-01T10:00:02.000+00:00', 2);"""


def test_a_file_of_the_first_version_keeps_all(tmp_path):
    path = tmp_path/'reviews.sqlite'
    with sqlite3.connect(path) as old: old.executescript(OLD)
    old.close()
    reviews = Reviews(path)
    assert reviews.secret == 'the-secret-of-old'
    assert [o[:3] for o in reviews.latest()] == [('m1', BLANK, 'Heron')]
    reviews.add('a', 'm1', BLANK, 'Heron')  # the same token is the same review still
    reviews.add_all('d', [Answer('m3', MALLARD, 2, ((BEAVER, None),), 'burst')], 'Heron')
    assert reviews.undo('e', 'Heron') == 'm3' and reviews.undo('f', 'Heron') == 'm1' and reviews.undo('c', 'Heron') == 'm2'
    with pytest.raises(sqlite3.IntegrityError, match='never changed'): reviews._db.execute("UPDATE reviews SET count = 3")
    reviews.close()
    assert len(read_reviews(path)) == 0
    with sqlite3.connect(path) as db: assert db.execute('SELECT count(*) FROM reviews').fetchone() == (6,)
    with sqlite3.connect(path) as db: db.execute('PRAGMA user_version = 4')
    with pytest.raises(CamtrapsError, match='of a later version'): Reviews(path)


#: What the second version added to the first.
SECOND = """DROP VIEW latest; DROP VIEW standing; ALTER TABLE reviews ADD COLUMN act TEXT; ALTER TABLE reviews ADD COLUMN count INTEGER CHECK (count > 0);
ALTER TABLE reviews ADD COLUMN also TEXT; ALTER TABLE reviews ADD COLUMN scope TEXT CHECK (scope IN ('burst', 'frame'));
CREATE VIEW standing AS SELECT * FROM reviews WHERE undoes IS NULL AND id NOT IN (SELECT undoes FROM reviews WHERE undoes IS NOT NULL);
CREATE VIEW latest AS SELECT max(id) AS id, media_id, label, reviewer, reviewed_at, count, also, scope FROM standing
        GROUP BY media_id, reviewer, scope IS 'frame'; PRAGMA user_version = 2;
INSERT INTO reviews VALUES (4, 'd', 'm4', 'blank', 'Heron', '2025-05-01T10:00:03.000+00:00', NULL, 'd', 3, NULL, 'burst');"""


def test_of_answers_of_earlier_versions_nobody_knows_whether_they_were_drawn(tmp_path):
    path = tmp_path/'reviews.sqlite'
    with sqlite3.connect(path) as old: old.executescript(OLD + SECOND)
    old.close()
    reviews = Reviews(path)
    reviews.add_all('d', [Answer('m4', BLANK, 3, scope='burst', by_chance=True)], 'Heron')  # sent again after the update: stored already
    reviews.add_all('e', [Answer('m5', BLANK, scope='burst', by_chance=True)], 'Heron')
    with pytest.raises(CamtrapsError): reviews.add_all('f', [Answer('m6', BLANK, by_chance=2)], 'Heron')
    reviews.close()
    answers = read_reviews(path).set_index('media_id')
    assert answers['count'].dropna().to_dict() == {'m4': 3}
    assert answers.by_chance.isna().to_dict() == {'m1': True, 'm4': True, 'm5': False} and answers.by_chance['m5']


@pytest.mark.parametrize('kind, is_drawn', [('sample', True), ('season', False)])
def test_an_answer_keeps_whether_it_was_drawn_by_chance(few, tmp_path, kind, is_drawn):
    queue, frames = few
    with serve_reviews(queue, tmp_path/'reviews.sqlite', CLASSES, frames, kind=kind) as address:
        for number, media_id in enumerate((queue.media_id[0], 'of another queue')):
            body = dict(token=f'token-of-answer-{number}', reviewer='Heron', media_id=media_id, label=BLANK)
            assert post(address, 'answer', **body).ok
    assert read_reviews(tmp_path/'reviews.sqlite').by_chance.tolist() == [is_drawn, False]


def test_a_screen_is_stored_whole_or_not_at_all(tmp_path):
    reviews = Reviews(tmp_path/'reviews.sqlite')
    screen = [Answer(f'b{o}', BLANK, scope='burst') for o in range(24)]
    reviews.add_all('one', screen, 'Heron')
    reviews.add_all('one', screen, 'Heron')  # the "ok" was lost
    assert len(reviews.latest()) == 24
    with pytest.raises(CamtrapsError, match='another review'):
        reviews.add_all('one', [*screen[:3], Answer('b3', MALLARD, scope='burst')], 'Heron')
    with pytest.raises(CamtrapsError): reviews.add_all('two', [Answer('c', BLANK), Answer('d', BLANK, count=0)], 'Heron')
    assert len(reviews.latest()) == 24
    assert reviews.undo_all('three', 'Heron') == [o.media_id for o in screen] == reviews.undo_all('three', 'Heron')
    assert reviews.undo_all('four', 'Heron') == [] and reviews.latest() == []


# ── who gets what ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_answer_reads_only_what_is_new(tmp_path, monkeypatch):
    reviews, read = Reviews(tmp_path/'reviews.sqlite'), []
    one = Assignments(pd.DataFrame({'media_id': [f'm{o}' for o in range(500)], 'label': BLANK}), reviews)
    for number in range(400): reviews.add(f't{number}', f'm{number}', BLANK, 'Heron')
    monkeypatch.setattr(reviews, 'since', lambda last, since=reviews.since: read.append(found := since(last)) or found)
    assert one.progress('Heron')['done'] == 400 and len(read[-1]) == 400
    with Reviews(tmp_path/'reviews.sqlite')._writing(): pass
    Reviews(tmp_path/'reviews.sqlite').add('another program', 'm450', HUMAN, 'Otter')
    assert one.progress('Mink') == {'done': 401, 'total': 500, 'changed': 1} and len(read[-1]) == 1
    assert one.take('Mink', 'p', [], [])[0] == ['m400', 'm401', 'm402', 'm403'] and len(read[-1]) == 0
    reviews.undo('back', 'Heron')
    assert one.take('Mink', 'p', [], [])[0] == ['m399', 'm400', 'm401', 'm402']


def test_random_steps_give_the_sums_of_reading_all_again(tmp_path):
    generator, reviews = np.random.default_rng(3), Reviews(tmp_path/'reviews.sqlite')
    frames = {f'u{o}': tuple(f'u{o}' if not k else f'u{o}f{k}' for k in range(1 + o % 3)) for o in range(12)}
    queue = pd.DataFrame({'media_id': list(frames), 'prediction': BLANK, 'deployment': ['weir', 'dock']*6,
                          'event': pd.array([*[0]*5, *[1]*5, None, None], 'Int64')})
    kept = Assignments(queue, reviews, 2, frames=frames)
    everything = [o for own in frames.values() for o in own]
    for step in range(300):
        who = str(generator.choice(['Heron', 'Otter', 'Mink']))
        if generator.random() < .2: reviews.undo_all(f'undo {step}', who, kept.standing)
        else:
            chosen = generator.choice(everything, generator.integers(1, 4), replace=False)
            labels = generator.choice([BLANK, MALLARD, CANNOT_TELL], len(chosen))
            answers = [Answer(str(o), str(label), scope=str(generator.choice(['burst', 'frame']))) for o, label in zip(chosen, labels)]
            reviews.add_all(f'add {step}', answers, who)
        if step % 10: kept.progress(who)
    afresh = Assignments(queue, reviews, 2, frames=frames)
    for chosen in (None, {'deployment': 'weir'}, {'event': 1}, {'deployment': 'dock', 'event': 0}):
        for who in ('Heron', 'Otter', 'Mink', 'Crow'):
            assert kept.progress(who, chosen) == afresh.progress(who, chosen)
            assert kept.take(who, 'p', [], [], 12, chosen)[0] == afresh.take(who, 'p', [], [], 12, chosen)[0]
    assert (kept.standing.both, kept.standing.agreed) == (afresh.standing.both, afresh.standing.agreed)
    assert 0 < kept.standing.agreed < kept.standing.both


# ── what the survey makes of it ─────────────────────────────────────────────────────────────────────────────────────
def test_frames_bursts_and_paths(few):
    queue, frames = few
    three = frames[frames.burst_id == queue.burst_id[2]]  # of three frames
    assert len(three) == 3
    reviews = pd.DataFrame([(queue.media_id[2], MALLARD, 'x', 'burst', 3, []), (three.media_id.iloc[1], BLANK, 'x', 'frame', None, []),
                            (three.media_id.iloc[1], BLANK, 'y', 'frame', None, [])], columns=['media_id', 'label', 'reviewer', 'scope', 'count', 'also'])
    placed = frames.assign(media_id='weir 2025/' + frames.media_id.str.rsplit('/', n=1).str[1])  # as a table of deployments names them
    said = people_first(placed, reviews).query('reviewed')
    assert said.prediction.tolist() == [MALLARD, BLANK, MALLARD] and said['count'].tolist() == [3, pd.NA, 3]
    answered = add_answers(queue, reviews.iloc[1:])
    assert answered.answer.isna().all() and answered.reviewers.sum() == 0


CAMTRAPS = [sys.executable, '-W', 'ignore', '-c', 'from urbanrivers_camtraps.apps.main import app; app()']
HERE = os.environ | {'PYTHONPATH': str(Path(__file__).parents[1]), 'PYTHONUNBUFFERED': '1'}


@contextmanager
def command(folder: Path, *arguments: object, port: int = 0):
    "The page as `camtraps review` serves it, in a process of its own: the process, its address, and what it printed."
    process = subprocess.Popen([*CAMTRAPS, 'review', *map(str, arguments), '--port', str(port)], stdout=subprocess.PIPE, text=True, cwd=folder, env=HERE)
    printed = []
    for line in process.stdout:
        printed.append(line)
        if address := re.search(r'http://\S+/', line): break
    try: yield process, address[0], ''.join(printed)
    finally:
        process.kill()
        process.wait()


def test_the_command_and_the_survey(tmp_path):
    season = make_season(tmp_path, 30)
    pd.DataFrame({'deployment_id': ['w', 'd', 'm'], 'location': ['Weir', 'Dock', 'Mouth'], 'folder': [str(tmp_path/o) for o in ('weir', 'dock', 'mouth')],
                  'latitude': 41.9, 'longitude': -87.6, 'start': '2025-04-30', 'end': '2025-05-20',
                  'time_zone': 'America/Chicago'}).to_csv(tmp_path/'deployments.csv', index=False)
    with command(tmp_path, '--season', season, '--order', 'time') as (_, address, printed):
        assert '30 bursts of 60 photographs; the model calls 20 blank' in printed
        items = post(address, 'next', reviewer='Heron', page='name-of-one-page', have=[], passed=[], count=30).json()['items']
        assert [len(o['burst']) for o in items[:3]] == [1, 2, 3] and items[0]['opinions'][0]['label'] == MALLARD
        two = {'also': [{'label': 'canada geese', 'count': None}], 'count': 4}
        assert post(address, 'answer', token='token-of-an-answer-0', reviewer='Heron', media_id=items[1]['media_id'], label=BEAVER, **two).json()['done']
        empty = [{'media_id': items[o]['media_id'], 'label': BLANK} for o in (0, 3)]
        assert post(address, 'answers', token='token-of-a-screen-00', reviewer='Heron', answers=empty).ok
        odd = post(address, 'answer', token='token-of-an-answer-1', reviewer='Heron', media_id=items[5]['media_id'], label=BLANK, also=[{'label': MALLARD}])
        assert odd.status_code == 400
        frame = items[2]['burst'][2]['media_id']
        assert not post(address, 'answer', token='token-of-an-answer-2', reviewer='Heron', media_id=frame, label=RACCOON, scope='frame').json()['done']
        again = post(address, 'open', reviewer='Heron', media_id=items[2]['media_id']).json()['items'][0]
        assert again['own'] == {'label': None, 'count': None, 'frames': {frame: RACCOON}}
    with command(tmp_path, '--season', season, '--deployments', tmp_path/'deployments.csv') as (_, address, _):  # other names, the same answers
        left = post(address, 'next', reviewer='Otter', page='name-of-one-page', have=[], passed=[], count=60).json()
        assert left['progress'] == {'done': 3, 'total': 30, 'changed': 3} and len(left['items']) == 27
    packed = subprocess.run([*CAMTRAPS, 'package', '--season', str(season), '--deployments', 'deployments.csv', 'package'], capture_output=True, text=True,
                            cwd=tmp_path, env=HERE)
    assert packed.returncode == 0, packed.stdout + packed.stderr
    observations = pd.read_csv(tmp_path/'package'/'observations.csv')
    assert observations.scientificName.eq('Branta canadensis').sum() > 0 and pd.read_csv(tmp_path/'package'/'media.csv').mediaID.is_unique
    done = subprocess.run([*CAMTRAPS, 'events', '--season', str(season), '--deployments', 'deployments.csv', 'events.csv'], capture_output=True, text=True,
                          cwd=tmp_path, env=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    events = pd.read_csv(tmp_path/'events.csv')
    seen_there = events[events.label.isin([BEAVER, 'Branta canadensis', RACCOON])].sort_values(['start', 'label'])
    first = seen_there[seen_there.location == 'Dock'].iloc[:2]
    assert first.label.tolist() == ['Branta canadensis', BEAVER] and first['count'].fillna(0).tolist() == [0, 4] and first.photographs.tolist() == [2, 2]
    alone = events[(events.location == 'Mouth') & (events.label == RACCOON)].iloc[0]
    assert alone.photographs == 1 and alone.media_ids.endswith(Path(frame).name)
    assert MALLARD not in events.label[events.start < '2025-05-01 07:30'].tolist()  # burst 0 was signed off


def test_orders_belong_to_what_is_reviewed(tmp_path):
    from typer.testing import CliRunner

    from urbanrivers_camtraps.apps.main import app

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, ['review', *arguments])
        assert done.exit_code
        return f'{done.output}{done.exception}'
    assert 'is an order of a season' in refused('--order', 'time')
    assert 'is an order of labels' in refused('--season', 'season', '--order', 'both')
    assert 'Name one of the two' in refused('--season', 'season', '--sample', 'sample.parquet')
    assert 'Run `camtraps predict' in refused('--season', str(tmp_path/'none'))


def test_a_sample_shows_nothing_that_leads_the_eye(few, tmp_path):
    queue, frames = few
    blind = queue[['media_id', 'path', 'burst_id', 'deployment', 'timestamp']]
    asked = []
    from starlette.testclient import TestClient

    from urbanrivers_camtraps.review.server import review_app
    reviews = Reviews(tmp_path/'reviews.sqlite')
    app = review_app(blind, reviews, CLASSES, frames[['media_id', 'path', 'burst_id', 'timestamp']], kind='sample', alike=lambda o: asked.append(o) or [])
    with TestClient(app, base_url='http://localhost') as web:
        def post(path: str, **body): return web.post(f'/{reviews.secret}/{path}', json=body, headers={'Origin': 'http://localhost'}).json()
        settings = web.get(f'/{reviews.secret}/settings').json()
        assert (settings['kind'], settings['choices'], settings['alike']) == ('sample', {}, False)
        told = post('next', reviewer='Heron', page='name-of-one-page', have=[], passed=[], chosen={'deployment': 'weir', 'prediction': BLANK})
        assert [o['media_id'] for o in told['items']] == queue.media_id[:4].tolist()  # nothing can be chosen
        assert all(o['opinions'] == [] and o['reason'] == '' and o['event'] is None for o in told['items'])
        assert told['progress'] == {'done': 0, 'total': 12, 'changed': None}
        assert post('alike', reviewer='Heron', media_id=queue.media_id[0]) == {'items': []} and not asked
    reviews.close()


# ── in the browser ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope='module')
def playwright():
    "Playwright."
    with sync_playwright() as playwright: yield playwright


@pytest.fixture(scope='module')
def browser(playwright):
    "Headless Chromium that talks to nobody of its own accord."
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
    yield browser
    browser.close()


def wall(page) -> None:
    "Wait until a wall can be signed off."
    page.locator('#wall[data-state=ready]').wait_for()


def begin(page, address: str) -> None:
    "Open the page, and choose an alias if it is not known any more."
    page.goto(address)
    page.locator('#alias[open], #review[data-state=ready]').first.wait_for()
    if page.locator('#alias[open]').is_visible():
        page.get_by_label('Alias').fill('Heron')
        page.keyboard.press('Enter')


KEYS = {MALLARD: '1', BEAVER: '2', RACCOON: '3', BLANK: 'n'}


@needs_browser
def test_a_thousand_bursts_with_browser_and_server_killed_half_way(playwright, large, tmp_path):
    "The walls of empty bursts and one key for each of the others; one in ten is not what the model says."
    season, frames, queue = large
    frames_of = frames.groupby('burst_id').media_id.agg(list)
    truth = dict(zip(queue.media_id, queue.prediction))
    for number, media in enumerate(queue.media_id):
        if number % 10 == 0 and truth[media] != BLANK: truth[media] = BEAVER if truth[media] == MALLARD else MALLARD
    slips = queue.media_id[queue.prediction == BLANK].iloc[::60].tolist()  # of these the model saw nothing
    truth |= dict.fromkeys(slips, RACCOON)
    database = tmp_path/'season_reviews.sqlite'
    (tmp_path/'season.parquet').symlink_to(season)

    def sign_screens(page, screens: int) -> None:
        page.keyboard.press('e')
        for _ in range(screens):
            wall(page)
            tiles = page.locator('.tile').evaluate_all('tiles => tiles.map(o => o.dataset.media)')
            if not tiles: break
            first = tiles[0]
            for media in set(tiles) & set(slips):
                page.locator(f'.tile[data-media="{media}"]').click()
                page.keyboard.press(KEYS[RACCOON])
            page.keyboard.press('Enter')
            page.wait_for_function('first => document.querySelector(".tile")?.dataset.media !== first', arg=first)
        wall(page)
        page.keyboard.press('Escape')

    def answer(page, count: int) -> None:
        for _ in range(count):
            media = seen(page)
            page.keyboard.press(KEYS[truth[media]])
            page.locator(f'#review:not([data-media="{media}"]), #end:not([hidden])').first.wait_for()

    with command(tmp_path, '--season', tmp_path/'season.parquet') as (process, address, _):
        port = int(address.split(':')[2].split('/')[0])
        with killable(playwright, tmp_path/'profile') as (page, kill):
            begin(page, address)
            answer(page, 160)
            sign_screens(page, 14)
            seen(page)
            confirmed = read_reviews(database)
            page.keyboard.press(KEYS[truth[page.locator('#review').get_attribute('data-media')]])
            kill()  # with the last answer under way
            process.send_signal(signal.SIGKILL)
            assert not page.wrong and process.wait(60) == -signal.SIGKILL
    there = read_reviews(database)
    assert 480 < len(confirmed) and len(there) - len(confirmed) in (0, 1) and set(confirmed.media_id) <= set(there.media_id)
    with command(tmp_path, '--season', tmp_path/'season.parquet', port=port) as (process, again, _):
        assert again == address
        with killable(playwright, tmp_path/'profile') as (page, _):
            begin(page, again)
            seen(page)
            sign_screens(page, 40)
            page.locator('#review[data-state=ready], #end:not([hidden])').first.wait_for()
            left = COUNT - len(read_reviews(database))
            answer(page, left)
            expect(page.locator('#end-title')).to_have_text('Nothing is left to review')
            other = sum(truth[o] != label for o, label in zip(queue.media_id, queue.prediction))
            expect(page.locator('#counted')).to_have_text(f'{COUNT} of {COUNT} · {other} not as the model says')
            assert not page.wrong
    rows = read_reviews(database)
    assert rows.media_id.is_unique and dict(zip(rows.media_id, rows.label)) == truth
    shared = people_first(frames, rows)
    assert shared.reviewed.all()
    expected = {media: truth[unit] for unit, burst in zip(queue.media_id, queue.burst_id) for media in frames_of[burst]}
    assert dict(zip(shared.media_id, shared.prediction)) == expected


@needs_browser
def test_frames_counts_and_several_species_by_keyboard(browser, few, tmp_path):
    queue, frames = few
    database = tmp_path/'reviews.sqlite'
    with serve_reviews(queue, database, CLASSES, frames, kind='season') as address, reviewing(browser, address) as page:
        first, second, third = (str(o) for o in queue.media_id[:3])
        see_burst(page, first)
        assert page.locator('#opinions').inner_text().split('\n')[:2] == ['Model', 'Mallard']
        assert page.locator('#one-frame').is_hidden()  # one frame
        for key in '++-+': page.keyboard.press(key)
        expect(page.locator('#number')).to_have_text('3')
        page.keyboard.press('Enter')  # the model is right
        see_burst(page, second)
        expect(page.locator('#number')).to_have_text('not counted')
        for key in ('+', 'a', '1'): page.keyboard.press(key)
        expect(page.locator('#begun')).to_have_text('Mallard × 2 and …')
        page.keyboard.press('n')  # nothing and a mallard cannot be
        expect(page.locator('#status')).to_contain_text('stand alone')
        page.keyboard.press('x')
        expect(page.locator('#begun')).to_be_hidden()
        for key in ('+', 'a', '1', 'a', '2', '3'): page.keyboard.press(key)
        see_burst(page, third)
        expect(page.locator('#what')).to_have_text('What is on these 3 frames?')
        page.keyboard.press('f')
        expect(page.locator('#caption')).to_contain_text('for this frame alone')
        looking = page.locator('#strip [aria-current=true]').get_attribute('data-media')
        page.keyboard.press('2')
        expect(page.locator('#strip .named')).to_have_attribute('data-said', 'North American Beaver')
        page.locator('#review[data-state=ready]').wait_for()
        page.keyboard.press('f')
        page.keyboard.press('n')  # the burst, but for that frame
        see_burst(page, str(queue.media_id[3]))
        page.keyboard.press('u')
        see_burst(page, third)
        expect(page.locator('#strip .named')).to_have_count(1)
        page.keyboard.press('n')
        see_burst(page, str(queue.media_id[3]))
        page.keyboard.press('o')
        page.keyboard.type('canada geese')
        page.keyboard.press('Enter')
        see_burst(page, str(queue.media_id[4]))
    rows = read_reviews(database)
    assert rows[['media_id', 'label', 'scope']].to_numpy().tolist() == [
        [first, MALLARD, 'burst'], [second, MALLARD, 'burst'], [looking, BEAVER, 'frame'], [third, BLANK, 'burst'],
        [str(queue.media_id[3]), 'Branta canadensis', 'burst']]
    assert rows['count'].fillna(0).tolist() == [3, 2, 0, 0, 0] and rows.also.tolist()[1] == [(BEAVER, None), (RACCOON, None)]
    said = people_first(frames, rows)
    burst = frames.burst_id == queue.burst_id[2]
    labels = said.drop_duplicates('media_id').set_index('media_id').prediction
    assert labels[frames.media_id[burst]].to_dict() == {o: BEAVER if o == looking else BLANK for o in frames.media_id[burst]}


def see_burst(page, media_id: str) -> None:
    "Wait until a burst can be answered; ids of a season are paths."
    page.locator(f'#review[data-state=ready][data-media="{media_id}"]').wait_for()


@needs_browser
def test_each_frame_alone_finishes_a_burst(browser, few, tmp_path):
    queue, frames = few
    with serve_reviews(queue.iloc[[2, 5]], tmp_path/'reviews.sqlite', CLASSES, frames, kind='season') as address, reviewing(browser, address) as page:
        see_burst(page, str(queue.media_id[2]))
        page.keyboard.press('f')
        for number in range(3):
            page.locator('#review[data-state=ready]').wait_for()
            page.keyboard.press('123'[number])
            if number < 2: expect(page.locator('#strip .named')).to_have_count(number + 1)
        see_burst(page, str(queue.media_id[5]))
        expect(page.locator('#counted')).to_have_text('1 of 2 · 1 not as the model says')
    assert (read_reviews(tmp_path/'reviews.sqlite').scope == 'frame').all()


@needs_browser
def test_the_wall_filters_undo_and_agreement(browser, few, tmp_path):
    queue, frames = few
    database = tmp_path/'reviews.sqlite'
    blank = queue.media_id[queue.prediction == BLANK].tolist()
    near = {queue.media_id[0]: queue.media_id[[3, 6]].tolist()}
    reviews = Reviews(database)
    from urbanrivers_camtraps.foundations.core import serve_in_background
    from urbanrivers_camtraps.review.server import review_app
    app = review_app(queue, reviews, CLASSES, frames, 2, kind='season', alike=lambda o: near.get(o, []))
    with serve_in_background(app, 0) as server, reviewing(browser, f'{server}/{reviews.secret}/') as page:
        see_burst(page, queue.media_id[0])
        expect(page.locator('#near-ones button')).to_have_count(2)
        page.keyboard.press('g')  # what looks alike, relabelled at once
        wall(page)
        expect(page.locator('.tile')).to_have_count(3)
        page.keyboard.press('Enter')
        expect(page.locator('#status')).to_contain_text('Press the key')
        page.keyboard.press('3')
        expect(page.locator('#sign')).to_contain_text('3 are Raccoon')
        page.keyboard.press('Enter')
        seen(page)
        assert set(read_reviews(database).media_id) == {queue.media_id[o] for o in (0, 3, 6)} and set(read_reviews(database).label) == {RACCOON}
        page.keyboard.press('e')
        wall(page)
        expect(page.locator('.tile')).to_have_count(8)
        page.keyboard.press('ArrowRight')
        page.keyboard.press(' ')
        page.keyboard.press('ArrowRight')
        page.keyboard.press(' ')
        page.keyboard.press('1')
        expect(page.locator('.tile b')).to_have_text(['Mallard', 'Mallard'])
        page.locator('.tile').nth(4).click()
        expect(page.locator('#sign')).to_contain_text('5 show nothing')
        page.keyboard.press('z')
        expect(page.locator('#closer')).to_be_visible()
        page.keyboard.press('Enter')  # closes it, and signs nothing off
        expect(page.locator('#closer')).to_be_hidden()
        wall(page)
        assert len(read_reviews(database)) == 3
        page.locator('.tile').nth(0).focus()
        page.keyboard.press('Enter')
        expect(page.locator('#wall-help')).to_have_text('Nothing is left here.')
        assert read_reviews(database).label.value_counts().to_dict() == {RACCOON: 3, BLANK: 5, MALLARD: 2}
        page.keyboard.press('u')  # all of the screen
        expect(page.locator('.tile')).to_have_count(7)  # the one that was picked out waits
        assert len(read_reviews(database)) == 3
        page.keyboard.press('Enter')
        expect(page.locator('#wall-help')).to_have_text('Nothing is left here.')
        page.keyboard.press('Escape')
        see_burst(page, blank[4])  # picked out and not named: it comes by itself
        page.get_by_label('Camera').select_option('dock')
        page.locator('#review[data-state=ready], #end:not([hidden])').first.wait_for()
        expect(page.locator('#counted')).to_have_text(re.compile('^[34] of 4'))
        page.get_by_label('Camera').select_option('')
        page.locator('#review[data-state=ready]').wait_for()
        page.get_by_role('button', name='This event alone').click()
        page.locator('#review[data-state=ready]').wait_for()
        event = queue.set_index('media_id').event[seen(page)]
        expect(page.locator('#counted')).to_have_text(re.compile(f'of {(queue.event == event).sum()} '))
    with serve_in_background(app, 0) as server, reviewing(browser, f'{server}/{reviews.secret}/', 'Otter') as page:
        seen(page)
        page.keyboard.press('e')
        wall(page)
        for number in (0, 1): page.locator('.tile').nth(number).click()
        page.keyboard.press('1')
        page.keyboard.press('Enter')
        expect(page.locator('#wall-help')).to_have_text('Nothing is left here.')
        page.keyboard.press('Escape')
        seen(page)
        page.get_by_role('button', name='Otter').click()
        expect(page.locator('#agreement')).to_have_text('Two people or more have named 7 of them, and agree on 5 (71 %).')
        page.keyboard.press('Escape')
    reviews.close()


@needs_browser
def test_zoom_light_and_keys(browser, few, tmp_path):
    queue, frames = few
    with serve_reviews(queue, tmp_path/'reviews.sqlite', CLASSES, frames, kind='season') as address, reviewing(browser, address) as page:
        seen(page)
        image = page.locator('#photograph')
        narrow = image.bounding_box()['width']
        page.keyboard.press('z')
        assert abs(image.bounding_box()['width']/narrow - 3) < .01
        page.keyboard.press('z')
        page.locator('#frame').hover()
        page.mouse.wheel(0, -100)
        expect(page.locator('#zoom')).to_have_attribute('aria-pressed', 'true')
        assert abs(image.bounding_box()['width']/narrow - 1.25) < .01
        page.keyboard.press('l')
        page.keyboard.press('k')
        assert image.evaluate('o => getComputedStyle(o).filter') == 'brightness(1.6) contrast(1.7)'
        page.keyboard.press('?')
        expect(page.locator('#keys')).to_contain_text('Empties: a wall of bursts that the model calls blank')
        page.keyboard.press('Escape')
        page.keyboard.press('n')
        see_burst(page, queue.media_id[1])
        assert abs(image.bounding_box()['width']/narrow - 1) < .01  # the next one is not zoomed


@needs_browser
def test_fits_a_phone_and_the_dark(browser, few, tmp_path):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    queue, frames = few
    views = {'season': {}, 'season-dark': {'color_scheme': 'dark'},
             'season-phone': {'viewport': {'width': 390, 'height': 844}, 'has_touch': True, 'is_mobile': True}}
    with serve_reviews(queue, tmp_path/'reviews.sqlite', CLASSES, frames, 3, kind='season') as address:
        for name, settings in views.items():
            with reviewing(browser, address, name, **settings) as page:
                seen(page)
                for part in ('', '-wall'):
                    if part:
                        page.get_by_role('button', name='Empties').click()
                        wall(page)
                    page.screenshot(path=SCREENSHOTS/f'{name}{part}.png', full_page=True)
                    assert violations(page) == [], name + part
                    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth') <= 0, name + part
                page.locator('.tile').first.click()
                page.get_by_role('button', name='Human').last.click()
                page.locator('#sign').click()
                expect(page.locator('#wall-help')).to_have_text('Nothing is left here.')
    rows = read_reviews(tmp_path/'reviews.sqlite')
    assert rows.groupby('label').size().to_dict() == {BLANK: 21, HUMAN: 3}
