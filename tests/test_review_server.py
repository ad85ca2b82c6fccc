"""The review page as people use it: by keyboard in Chromium, with browsers, servers, connections and disks that fail."""
import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from PIL import Image, ImageDraw
from playwright.sync_api import expect, sync_playwright

from axe import DESK, PHONE, overflowing, violations
from test_apps_app import CHROMIUM, QUIET, SCREENSHOTS, needs_browser
from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, CamtrapsError
from urbanrivers_camtraps.review.assignments import Assignments
from urbanrivers_camtraps.review.reviews import CANNOT_TELL, Reviews, read_reviews
from urbanrivers_camtraps.review.server import class_keys, serve_reviews

CLASSES = ['Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', 'Chelydra serpentina', 'Procyon lotor', BLANK]
COUNT = 500


def drawn(path: Path, seed: int) -> Path:
    "Draw a river at dusk with something in it."
    image = Image.fromarray(np.linspace([120, 140, 150], [40, 60, 50], 180).astype('uint8')[:, None].repeat(240, 1))
    ImageDraw.Draw(image).ellipse((60 + 10*seed, 90, 110 + 10*seed, 120), '#70604a')
    image.save(path, quality=80)
    return path


@pytest.fixture(scope='module')
def queue(tmp_path_factory) -> pd.DataFrame:
    "500 photographs in bursts of three; few files under many ids."
    folder = tmp_path_factory.mktemp('photographs')
    paths = [drawn(folder/f'{o}.jpg', o) for o in range(3)]
    rows, moment = np.arange(COUNT), pd.Timestamp('2025-05-01T06:00Z')
    return pd.DataFrame({
        'media_id': [f'm{o:03}' for o in rows], 'path': [paths[o % 3] for o in rows], 'burst_id': [f'b{o//3}' for o in rows],
        'timestamp': [moment + pd.Timedelta(minutes=int(o)//3, seconds=int(o) % 3) for o in rows], 'deployment': 'Wild <i>Mile</i>',
        'label': [CLASSES[o % 6] for o in rows], 'votes': 3, 'confidence': .81, 'prediction': [CLASSES[o//2 % 6] for o in rows], 'score': .6321,
        'speciesnet': [None if o % 5 else '<img src=x onerror=alert(1)>' for o in rows], 'speciesnet_score': [np.nan if o % 5 else .4 for o in rows],
        'boxes': [[{'category': '1', 'confidence': .93, 'left': .25, 'top': .5, 'right': .5, 'bottom': .67}] if o % 2 else [] for o in rows],
        'reason': 'volunteers and model <b>disagree</b>'})


def post(address: str, path: str, **body) -> requests.Response:
    "Ask as the page asks."
    with requests.Session() as web:
        web.trust_env = False
        return web.post(address + path, json=body, headers={'Origin': '/'.join(address.split('/')[:3])}, timeout=30)


def stored(database: Path) -> pd.DataFrame:
    "Read every row of the file, also what was taken back."
    reviews = Reviews(database)
    try: return pd.read_sql('SELECT * FROM reviews ORDER BY id', reviews._db)
    finally: reviews.close()


# ── requests that are odd ───────────────────────────────────────────────────────────────────────────────────────────
def test_requests_that_are_wrong_change_nothing(queue, tmp_path):
    database, answer = tmp_path/'reviews.sqlite', dict(token='another-token-of-one', reviewer='Otter', media_id='m002', label='blank')
    with serve_reviews(queue.head(3), database, ['Branta canadensis']) as address:
        for header in ({}, {'Origin': 'http://elsewhere.example'}, {'Origin': 'null'}):
            assert requests.post(address + 'answer', json=answer, headers=header, timeout=30).status_code == 403
        for wrong in ({'token': 'short'}, {'reviewer': '  '}, {'reviewer': 'x'*41}, {'label': '\ud800'}, {'label': 'unknown'}, {'label': ''}, {'media_id': 7}):
            assert post(address, 'answer', **answer | wrong).status_code == 400, wrong
        assert post(address, 'answer', **answer | {'label': 'x'*2_000_000}).status_code == 413
        assert len(read_reviews(database)) == 0
        for _ in range(2): assert post(address, 'answer', **answer | {'label': 'Chelydra Serpentina '}).status_code == 200
        assert read_reviews(database).label.tolist() == ['Chelydra serpentina']
        read = requests.get(address + 'read', params={'typed': 'canada geese'}, timeout=30)
        assert read.json() == {'label': 'Branta canadensis', 'name': 'Canada Goose', 'known': True}
        small = requests.get(address + 'photograph', params={'of': 'm000', 'small': 1}, timeout=30)
        assert max(Image.open(io.BytesIO(small.content)).size) == 240
        for _ in range(2): assert post(address, 'undo', token='undo-token-of-twenty', reviewer='Otter').json()['item']['media_id'] == 'm002'
        assert post(address, 'undo', token='undo-token-of-twenty-1', reviewer='Otter').json()['item'] is None
        assert len(read_reviews(database)) == 0
        with serve_reviews(queue, database, []) as other: assert other.split('/')[3] == address.split('/')[3]  # the same secret
        port = int(address.split(':')[2].split('/')[0])
        with pytest.raises(CamtrapsError, match='cannot be opened'): serve_reviews(queue, database, [], port=port).__enter__()


def test_a_photograph_of_which_nothing_is_known(queue, tmp_path):
    with serve_reviews(queue[['media_id', 'path']].head(1), tmp_path/'reviews.sqlite', []) as address:
        items = post(address, 'next', reviewer='Heron', page='name-of-one-page', have=[], passed=[]).json()['items']
    assert items[0]['burst'] == [{'media_id': 'm000', 'time': ''}] and items[0]['boxes'] == [] and not any(o['label'] for o in items[0]['opinions'])


def test_a_burst_of_which_nothing_else_is_known(queue, tmp_path):
    with serve_reviews(queue.head(1).assign(burst_id='none'), tmp_path/'reviews.sqlite', [], queue) as address:
        items = post(address, 'next', reviewer='Heron', page='name-of-one-page', have=[], passed=[]).json()['items']
    assert [o['media_id'] for o in items[0]['burst']] == ['m000']


def test_classes_beyond_the_keyboard_have_no_key():
    many = class_keys([f'Species number{o}' for o in range(40)])
    keys = [o['key'] for o in many if o['key']]
    assert (len(keys), len(set(keys)), set(keys) & set('bmszu'), len(many)) == (30, 30, set(), 45)


def test_who_gets_which_photograph(queue, tmp_path):
    "One reviewer a photograph: what a page holds stays with it for five minutes."
    few, now = queue.head(6).assign(label=BLANK), [0.]
    one = Assignments(few, Reviews(tmp_path/'one.sqlite'), 1, minutes=5, clock=lambda: now[0])
    assert one.take('Heron', 'p', [], []) == (['m000', 'm001', 'm002', 'm003'], 0)
    assert one.take('Otter', 'p', [], []) == (['m004', 'm005'], 4)
    assert one.take('Heron', 'another page', [], []) == ([], 6)
    assert one.take('Heron', 'p', [], [], 2) == (['m000', 'm001'], 2)  # opened again: the same
    one.reviews.add('a', 'm000', 'Castor canadensis', 'Heron')
    one.reviews.add('b', 'm001', BLANK, 'Heron')
    one.reviews.add('c', 'm005', CANNOT_TELL, 'Heron')  # assigned to another: no matter
    assert [one.progress(o) for o in ('Heron', 'Mink')] == [{'done': 3, 'total': 6, 'changed': 1}]*2
    assert one.take('Heron', 'p', ['m002'], ['m002']) == (['m003'], 1)
    now[0] += 299
    assert one.take('Mink', 'p', [], []) == ([], 3)
    now[0] += 2
    assert one.take('Mink', 'p', [], ['m002', 'gone']) == (['m003', 'm004', 'm002'], 0)  # assignments ran out; passed ones come last
    assert one.take('Heron', 'p', ['m002'], []) == ([], 2)  # still held in the page: its own


def test_two_reviewers_a_photograph(queue, tmp_path):
    two = Assignments(queue.head(6).assign(label=BLANK), Reviews(tmp_path/'two.sqlite'), 2)
    for token, media_id, reviewer in (('a', 'm000', 'Heron'), ('b', 'm001', 'Heron'), ('c', 'm001', 'Otter')): two.reviews.add(token, media_id, BLANK, reviewer)
    assert [two.progress(o)['done'] for o in ('Heron', 'Otter', 'Mink')] == [2, 1, 1]
    assert two.take('Otter', 'p', [], [], 2) == (['m000', 'm002'], 0)
    assert two.take('Mink', 'p', [], [], 2) == (['m002', 'm003'], 1)  # m000 needs one more, and Otter has it
    assert two.take('Heron', 'p', [], [], 2) == (['m003', 'm004'], 1)
    two.reviews.undo('d', 'Heron')
    assert two.progress('Heron')['done'] == 1


# ── servers that are killed, disks that are full ────────────────────────────────────────────────────────────────────
@contextmanager
def serving(folder: Path, queue: pd.DataFrame, port: int = 0):
    "The page in a process of its own: the process and the address."
    queue[['media_id', 'path', 'label']].astype(str).to_csv(folder/'queue.csv', index=False)
    script = ('import sys, pandas; from urbanrivers_camtraps.review.server import run_review_server; '
              'run_review_server(pandas.read_csv(sys.argv[1]), sys.argv[2], [], port=int(sys.argv[3]), ready=lambda o: print(o, flush=True))')
    process = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', script, folder/'queue.csv', folder/'reviews.sqlite', str(port)],
                               stdout=subprocess.PIPE, text=True)
    try: yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def test_a_killed_server_has_every_answer_it_confirmed(queue, tmp_path):
    confirmed, refused = [], []

    def send(number: int) -> None:
        body = dict(token=f'token-of-answer-{number:04}', reviewer=f'reviewer {number % 3}', media_id=f'm{number:03}', label=BLANK)
        try: (confirmed if post(address, 'answer', **body).ok else refused).append(number)
        except requests.RequestException: refused.append(number)
        if len(confirmed) == 60: process.send_signal(signal.SIGKILL)

    with serving(tmp_path, queue) as (process, address), ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(150)))
        assert process.wait(60) == -signal.SIGKILL
    assert len(confirmed) >= 60 and refused
    there = set(read_reviews(tmp_path/'reviews.sqlite').media_id)
    assert {f'm{o:03}' for o in confirmed} <= there
    with serving(tmp_path, queue, port=int(address.split(':')[2].split('/')[0])) as (process, again), ThreadPoolExecutor(4) as pool:
        assert again == address  # an open page goes on
        list(pool.map(send, [*refused, *confirmed]))
    assert Counter(stored(tmp_path/'reviews.sqlite').media_id) == Counter(f'm{o:03}' for o in range(150))


def test_a_full_disk_is_said_and_heals(queue, tmp_path):
    with serving(tmp_path, queue) as (process, address):
        body = dict(token='token-of-an-answer', reviewer='Heron', media_id='m001', label=BLANK)
        assert post(address, 'answer', **body | {'token': 'token-of-the-first', 'media_id': 'm000'}).ok
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        full = post(address, 'answer', **body)
        assert full.status_code == 507 and 'Is the disk full' in full.json()['message'] and str(tmp_path) not in full.text
        assert post(address, 'undo', token='token-of-an-undo', reviewer='Heron').status_code == 507
        assert post(address, 'next', reviewer='Heron', page='name-of-one-page', have=[], passed=[]).json()['progress']['done'] == 1
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert post(address, 'answer', **body).ok
    assert read_reviews(tmp_path/'reviews.sqlite').media_id.tolist() == ['m000', 'm001']


def test_interrupted_it_ends_well(queue, tmp_path):
    with serving(tmp_path, queue) as (process, address):
        post(address, 'answer', token='token-of-an-answer', reviewer='Heron', media_id='m001', label=BLANK)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert len(read_reviews(tmp_path/'reviews.sqlite')) == 1 and not (tmp_path/'reviews.sqlite-wal').exists()


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


def watched(page):
    "Keep what goes wrong in a page, and what it asks for."
    page.wrong, page.requested = [], []
    page.set_default_timeout(60_000)  # of a busy machine; passing takes a second
    page.on('pageerror', lambda o: page.wrong.append(str(o)))
    page.on('console', lambda o: page.wrong.append(o.text) if o.type in ('error', 'warning') else None)
    page.on('request', lambda o: page.requested.append(o.url))
    return page


@contextmanager
def reviewing(browser, address: str, alias: str = 'Heron', **settings):
    "Somebody who reviews, with a browser profile of their own; afterwards nothing went wrong in it and nobody else was asked."
    context = browser.new_context(**{'viewport': {'width': 1280, 'height': 900}, **settings})
    page = watched(context.new_page())
    page.goto(address)
    page.get_by_label('Alias').fill(alias)
    page.get_by_role('button', name='Begin').click()
    try:
        yield page
        assert not page.wrong and all(o.startswith(('data:', address)) for o in page.requested)
    finally: context.close()


def see(page, media_id: str) -> None:
    "Wait until a photograph can be answered."
    page.locator(f'#review[data-state=ready][data-media={media_id}]').wait_for()


def seen(page) -> str:
    "Wait until any photograph can be answered, and say which."
    return page.locator('#review[data-state=ready]').get_attribute('data-media')


def done(page, text: str) -> None:
    "Wait for the count."
    expect(page.locator('#counted')).to_have_text(re.compile(text))


#: Key → label; the keys of each photograph's three opinions give what they say.
KEYS = {o['key']: o['label'] for o in class_keys(CLASSES) if o['label']}


def pressed(queue: pd.DataFrame) -> list[tuple[str, str, str]]:
    "Choose a key for each photograph: media_id, key, label."
    kinds = [*KEYS, 'Enter', 'm']
    rows = zip(queue.media_id, queue.label, queue.prediction, np.random.default_rng(0).choice(kinds, len(queue)))
    return [(media, str(key), {'Enter': label, 'm': prediction}.get(key) or KEYS[key]) for media, label, prediction, key in rows]


@contextmanager
def killable(playwright, profile: Path):
    "Chromium with a profile on the disk, in a process group that can be killed."
    (profile/'DevToolsActivePort').unlink(missing_ok=True)
    command = [CHROMIUM, *QUIET, '--headless=new', '--remote-debugging-port=0', f'--user-data-dir={profile}', 'about:blank']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (profile/'DevToolsActivePort').exists() or not (profile/'DevToolsActivePort').read_text().count('\n'):
        assert process.poll() is None and time.monotonic() < deadline, 'Chromium did not start'
        time.sleep(.02)
    port = (profile/'DevToolsActivePort').read_text().split()[0]
    connected = playwright.chromium.connect_over_cdp(f'http://127.0.0.1:{port}')
    try: yield watched(connected.contexts[0].new_page()), lambda: os.killpg(process.pid, signal.SIGKILL)
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@needs_browser
def test_500_by_keyboard_and_the_browser_killed_half_way(playwright, queue, tmp_path):
    plan, database = pressed(queue), tmp_path/'reviews.sqlite'
    with serve_reviews(queue, database, CLASSES) as address:
        with killable(playwright, tmp_path/'profile') as (page, kill):
            page.goto(address)
            page.get_by_label('Alias').fill('Heron')
            page.keyboard.press('Enter')
            for media, key, _ in plan[:COUNT//2]:
                see(page, media)
                page.keyboard.press(key)
            kill()  # with the last answer under way
            wrong = page.wrong
        assert not wrong
        arrived = read_reviews(database)
        assert len(arrived) in (COUNT//2 - 1, COUNT//2)
        with killable(playwright, tmp_path/'profile') as (page, kill):
            page.goto(address)
            page.locator('#alias[open], #review[data-state=ready]').first.wait_for()
            if page.locator('#alias[open]').is_visible():  # the profile was killed before it was written
                page.get_by_label('Alias').fill('Heron')
                page.keyboard.press('Enter')
            first = int(seen(page)[1:])
            assert first in (COUNT//2 - 1, COUNT//2)  # it goes on where it was
            for media, key, _ in plan[first:]:
                see(page, media)
                page.keyboard.press(key)
            page.get_by_role('heading', name='Nothing is left to review').wait_for()
            changed = sum(label not in (old, CANNOT_TELL) for (*_, label), old in zip(plan, queue.label))
            done(page, f'^500 of 500 · {changed} changed$')
            assert not page.wrong
    rows = stored(database)
    assert rows.undoes.isna().all() and rows.media_id.is_unique
    assert dict(zip(rows.media_id, rows.label)) == {media: label for media, _, label in plan}


@needs_browser
def test_two_at_once_undo_and_skip(browser, queue, tmp_path):
    database, few = tmp_path/'reviews.sqlite', queue.head(12)
    with serve_reviews(few, database, CLASSES) as address, reviewing(browser, address) as heron, reviewing(browser, address, 'Otter') as otter:
        see(heron, 'm000')
        see(otter, 'm004')  # the first four wait in the other's page
        heron.keyboard.press('2')
        see(heron, 'm001')
        otter.keyboard.press('n')
        see(otter, 'm005')
        heron.keyboard.press('u')
        see(heron, 'm000')
        heron.keyboard.press('s')
        see(heron, 'm001')
        for page in (heron, otter) * 20:
            if page.locator('#review').is_visible():
                seen(page)
                page.keyboard.press('Enter')
                page.locator('#review:not([data-state=saving]):not([data-state=loading])').wait_for(state='attached')
        done(heron, '^12 of 12')
        expect(otter.locator('#end-title')).to_have_text('Nothing is left to review')
    rows = read_reviews(database)
    assert sorted(rows.media_id) == sorted(few.media_id) and set(rows.reviewer) == {'Heron', 'Otter'}
    expected = dict(zip(few.media_id, few.label)) | {'m004': BLANK}
    assert dict(zip(rows.media_id, rows.label)) == expected
    assert stored(database).undoes.notna().sum() == 1
    assert stored(database).dropna(subset='label').media_id.tolist().index('m000') == 0 and rows.media_id.tolist().index('m000') >= 4  # skipped: later


@needs_browser
def test_the_last_ones_are_with_another(browser, queue, tmp_path):
    with serve_reviews(queue.head(2), tmp_path/'reviews.sqlite', CLASSES) as address, reviewing(browser, address) as heron:
        see(heron, 'm000')
        with reviewing(browser, address, 'Otter') as otter:
            expect(otter.locator('#end-text')).to_contain_text('2 photographs are with other reviewers')
            heron.keyboard.press('1')
            see(heron, 'm001')
            heron.keyboard.press('1')
            for page in (heron, otter): expect(page.locator('#end-title')).to_have_text('Nothing is left to review')
        heron.get_by_role('button', name='Undo the last answer').click()
        see(heron, 'm001')
        heron.keyboard.press('2')
        done(heron, '^2 of 2')
    assert read_reviews(tmp_path/'reviews.sqlite').label.tolist() == CLASSES[:2]


@needs_browser
def test_what_the_page_shows_and_mouse_and_touch(browser, queue, tmp_path):
    with serve_reviews(queue.head(6), tmp_path/'reviews.sqlite', CLASSES) as address, reviewing(browser, address, '<b>Heron</b>') as page:
        see(page, 'm000')
        assert page.get_by_role('button', name='Volunteers').inner_text().splitlines() == ['Volunteers', 'Mallard', '3 votes, 81 % sure', 'Enter']
        assert '63.2 % sure' in page.get_by_role('button', name='Model').inner_text()
        assert page.locator('#reason').inner_text() == 'volunteers and model <b>disagree</b>'
        assert page.locator('#opinions img').count() == 0 and '<img' in page.get_by_role('button', name='SpeciesNet').inner_text()
        assert page.locator('#boxes div').count() == 0 and page.locator('#strip button').count() == 3
        expect(page.locator('#toggle')).to_be_hidden()  # there is no box
        page.get_by_role('button', name='Canada Goose').click()
        see(page, 'm001')
        expect(page.locator('#opinions button')).to_have_count(2)  # nobody asked SpeciesNet
        expect(page.locator('#toggle')).to_be_visible()
        page.locator('#boxes div').wait_for(state='attached')
        frame, box = page.locator('#frame').bounding_box(), page.locator('#boxes div').bounding_box()
        assert abs((box['x'] - frame['x'])/frame['width'] - .25) < .01 and abs(box['width']/frame['width'] - .25) < .01
        assert page.locator('#boxes').inner_text() == 'animal 0.93'
        page.keyboard.press('b')
        expect(page.locator('#boxes div')).to_have_count(0)
        page.keyboard.press('b')
        page.keyboard.press('ArrowRight')
        expect(page.locator('#caption')).to_contain_text('another photograph of the burst')
        see(page, 'm001')
        expect(page.locator('#boxes div')).to_have_count(0)
        page.locator('#strip button').nth(1).click()
        expect(page.locator('#caption')).to_have_text('Wild <i>Mile</i> · 2025-05-01 06:00:01')
        see(page, 'm001')
        page.keyboard.press('o')
        page.keyboard.type('grus americana')
        expect(page.locator('#heard')).to_contain_text('Grus americana: not in the table of names')  # all of it was read, not its beginning
        page.keyboard.press('Enter')
        see(page, 'm002')
        page.keyboard.press('o')
        page.keyboard.type('canada geese')
        page.keyboard.press('Enter')
        see(page, 'm003')
        page.keyboard.press('?')
        expect(page.locator('#keys')).to_be_visible()
        page.keyboard.press('3')  # no answer behind the help
        page.keyboard.press('Escape')
        page.get_by_role('button', name='Human').focus()
        page.keyboard.press('Enter')  # the button that was tabbed to, not the volunteers
        see(page, 'm004')
        done(page, '^4 of 6')
        page.reload()
        see(page, 'm004')
    labels = read_reviews(tmp_path/'reviews.sqlite')
    assert labels.label.tolist() == ['Branta canadensis', 'Grus americana', 'Branta canadensis', HUMAN]
    assert set(labels.reviewer) == {'<b>Heron</b>'}


@needs_browser
def test_a_cut_connection_and_a_full_disk_in_the_page(browser, queue, tmp_path):
    cut = []

    def once(route):
        if cut: return route.continue_()
        cut.append(route.fetch().status)  # it reaches the server, and the "ok" does not come back
        route.abort()

    with serving(tmp_path, queue) as (process, address):
        context = browser.new_context()
        page = watched(context.new_page())
        page.goto(address)
        page.get_by_label('Alias').fill('Heron')
        page.keyboard.press('Enter')
        page.route('**/answer', once)
        see(page, 'm000')
        page.keyboard.press('n')
        expect(page.locator('#trouble')).to_contain_text('Not saved yet. The server cannot be reached')
        see(page, 'm001')
        expect(page.locator('#trouble')).to_be_hidden()
        assert cut == [200]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        page.keyboard.press('h')
        expect(page.locator('#trouble')).to_contain_text('Is the disk full')
        page.keyboard.press('n')  # not heard: the answer before is not saved yet
        page.reload()  # the unsent answer is kept, and sent first
        expect(page.locator('#trouble')).to_contain_text('Is the disk full')
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        see(page, 'm002')
        context.close()
    assert stored(tmp_path/'reviews.sqlite')[['media_id', 'label']].to_numpy().tolist() == [['m000', BLANK], ['m001', HUMAN]]


@needs_browser
def test_fits_a_phone_and_the_dark(browser, queue, tmp_path):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    views = {'review': {}, 'review-dark': {'color_scheme': 'dark'},
             'review-phone': {'viewport': {'width': 375, 'height': 812}, 'has_touch': True, 'is_mobile': True}}
    with serve_reviews(queue.tail(24), tmp_path/'reviews.sqlite', CLASSES) as address:
        for name, settings in views.items():
            with reviewing(browser, address, name, **settings) as page:
                seen(page)
                page.screenshot(path=SCREENSHOTS/f'{name}.png', full_page=True)
                wide = page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
                assert wide <= 0, name
                if 'has_touch' in settings: page.get_by_role('button', name='Nothing there').tap()
                else: page.get_by_role('button', name='Nothing there').click()
                done(page, '^[123] of 24')
    assert len(read_reviews(tmp_path/'reviews.sqlite')) == 3


@needs_browser
def test_a_broken_photograph_can_be_answered(browser, queue, tmp_path):
    broken = tmp_path/'broken.jpg'
    broken.write_bytes(Path(queue.path[0]).read_bytes()[:300])
    few = queue.head(2).assign(path=[broken, queue.path[0]], burst_id=None)
    with serve_reviews(few, tmp_path/'reviews.sqlite', CLASSES) as address:
        context = browser.new_context()
        page = watched(context.new_page())
        page.goto(address)
        page.get_by_label('Alias').fill('Heron')
        page.keyboard.press('Enter')
        see(page, 'm000')
        expect(page.locator('#broken')).to_contain_text('cannot be shown: is damaged')
        page.keyboard.press('c')
        see(page, 'm001')
        expect(page.locator('#broken')).to_be_hidden()
        context.close()
    assert read_reviews(tmp_path/'reviews.sqlite').label.tolist() == [CANNOT_TELL]


@needs_browser
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('window', [DESK, PHONE], ids=['desk', 'phone'])
def test_everybody_can_use_the_page(browser, queue, tmp_path, window, scheme):
    def fits(state):
        page.screenshot(path=SCREENSHOTS/f'review-{state}-{window["width"]}-{scheme}.png')
        assert violations(page) == [] and overflowing(page) == [], state

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    missing = queue.tail(3).assign(path='gone.jpg')
    with serve_reviews(pd.concat([queue.head(2), missing]), tmp_path/'reviews.sqlite', CLASSES) as address:
        context = browser.new_context(viewport=window, color_scheme=scheme)
        page = watched(context.new_page())
        page.goto(address)
        page.get_by_label('Alias').wait_for()
        fits('start')
        assert not page.locator('#photograph').is_visible()  # nothing broken behind the question
        page.get_by_label('Alias').fill('Heron')
        page.keyboard.press('Enter')
        see(page, 'm000')
        fits('photograph')
        page.keyboard.press('?')
        expect(page.locator('#keys kbd').first).to_be_visible()
        fits('keys')
        page.keyboard.press('Escape')
        page.keyboard.press('o')
        page.keyboard.type('canada geese')
        expect(page.locator('#heard')).to_contain_text('Branta')
        fits('other')
        page.keyboard.press('Enter')
        see(page, 'm001')
        page.keyboard.press('n')
        see(page, 'm497')
        expect(page.locator('#broken')).to_contain_text('cannot be shown')
        expect(page.locator('#photograph')).to_be_hidden()
        fits('broken')
        for media in ('m497', 'm498', 'm499'):
            see(page, media)
            page.keyboard.press('n')
        page.get_by_role('heading', name='Nothing is left to review').wait_for()
        fits('end')
        context.close()
