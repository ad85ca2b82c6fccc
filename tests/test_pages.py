"""Every page that is written as a file: read with a keyboard or a screen reader, on a desk and a phone, by day and by night."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import sync_playwright

from axe import DESK, PHONE, overflowing, violations
from test_apps_app import CHROMIUM, QUIET, SCREENSHOTS, needs_browser
from test_evaluation_metrics import judged
from test_review_queue import out_of_fold
from urbanrivers_camtraps.dataset.card import write_card
from urbanrivers_camtraps.evaluation.blank_filter import filter_section
from urbanrivers_camtraps.evaluation.calibration import calibration_section
from urbanrivers_camtraps.evaluation.report import unknown_class_section, write_report
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.review.label_errors import opinions_table
from urbanrivers_camtraps.review.queue import write_review_report
from urbanrivers_camtraps.survey.answered import answered_season
from urbanrivers_camtraps.survey.health.check import check_cameras, health_page
from urbanrivers_camtraps.survey.health.simulation import simulate_cameras
from urbanrivers_camtraps.survey.preview import preview_page
from urbanrivers_camtraps.survey.report import Survey
from urbanrivers_camtraps.survey.simulation import simulate_survey

pytestmark = needs_browser


def report(folder: Path, photograph: Path) -> str:
    "The report, with sections of other modules."
    table = judged(40, 3, seed=1).assign(path=str(photograph), score=np.random.default_rng(1).uniform(.3, 1, 120))
    table.attrs['by'] = 'burst'
    strange = table.head(8).assign(label='Neogale vison')
    sections = [calibration_section(table, 'drawn photographs'), filter_section(table, 'drawn photographs'),
                unknown_class_section(strange, set(table.label))]
    write_report(table, folder/'report.html', table.label, 'drawn photographs, no burst on two sides', sections, elsewhere=.4, model='a head')
    return (folder/'report.html').read_text()


def card(folder: Path, photograph: Path) -> str:
    "The data card with all its tables."
    table = out_of_fold(20)
    label = table.label.where(table.label != 'human', 'Chelydra serpentina')
    photographs = pd.DataFrame({
        'media_id': table.media_id, 'label': label, 'path': str(photograph), 'sha256': 'x', 'votes': 3, 'confidence': .95, 'burst_id': table.burst_id,
        'timestamp': pd.Timestamp('2025-05-01T06:00Z') + pd.to_timedelta(np.arange(60)*5, unit='h'), 'deployment_id': table.deployment_id,
        'deployment': table.deployment_id, 'location': table.deployment_id, 'make': 'RECONYX', 'drawn': True, 'banner_top': .05, 'banner_bottom': .05,
        'banner_how': 'found'})
    write_table(photographs, folder/'dataset.parquet')
    write_table(photographs.assign(sha256='y').head(40), folder/'previous.parquet')
    write_table(pd.DataFrame({'step': ['rows', 'people'], 'rows': [70, 60], 'dropped_rows': [0, 10], 'photographs': [60, 60]}), folder/'funnel.parquet')
    write_table(photographs.head(2).assign(step='people', count=1, observation_type='animal', scientific_name=label), folder/'dropped.parquet')
    pd.DataFrame({'id': ['a'], 'reason': ['the server has no photograph of it']}).to_csv(folder/'skipped.csv', index=False)
    return write_card(folder, folder/'card.html').read_text()


def survey(folder: Path, photograph: Path) -> str:
    "A survey before and after a change."
    river = simulate_survey(0, arms=2, days=60)
    seen = Survey(river.events, river.deployments, river.outages, 'America/Chicago')
    return seen.report(folder/'survey.html', arms=river.arms, changed=river.changed).read_text()


def preview(folder: Path, photograph: Path) -> str:
    "What is in a season."
    rows = [{'path': str(photograph), 'prediction': said, 'score': score, 'scores': [score, 1 - score], 'decision': 'accept' if score > .8 else 'review',
             'reason': None, 'clock': pd.Timestamp('2025-06-01 20:00') + pd.Timedelta(hours=number), 'clock_from': 'exif', 'size': 1,
             'modified': pd.Timestamp('2025-06-01', tz='UTC')} for number, (said, score) in enumerate([('Castor canadensis', .97), ('blank', .6)]*6)]
    (folder/'season').mkdir()
    write_table(pd.DataFrame(rows), folder/'season'/'predictions.parquet', classes=['Castor canadensis', 'blank'])
    return preview_page(answered_season(folder/'season'), progress=False)[0]


def health(folder: Path, photograph: Path) -> str:
    "Cameras of which two are in doubt."
    cameras = simulate_cameras(['usual', 'few', 'dead', 'reset'], place='Chicago')
    return health_page(check_cameras(cameras.photographs, cameras.deployments, now=cameras.now))


def opinions(folder: Path, photograph: Path) -> str:
    "Who is right."
    table = opinions_table(out_of_fold().assign(path=str(photograph)))
    return write_review_report(table, folder/'review.html').read_text()


#: Name → how it is written.
PAGES = {o.__name__: o for o in (report, card, survey, preview, health, opinions)}


@pytest.fixture(scope='module')
def pages(tmp_path_factory, photograph) -> dict[str, Path]:
    "All pages, written once from small drawn data."
    folder = tmp_path_factory.mktemp('pages')
    for name, write in PAGES.items():
        (folder/name).mkdir()
        (folder/f'{name}.html').write_text(write(folder/name, photograph))
    return {name: folder/f'{name}.html' for name in PAGES}


@pytest.fixture(scope='module')
def browser():
    "Headless Chromium."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('window', [DESK, PHONE], ids=['desk', 'phone'])
@pytest.mark.parametrize('name', PAGES)
def test_everybody_can_read_a_page(pages, browser, name, window, scheme):
    page = browser.new_page(viewport=window, color_scheme=scheme)
    page.goto(pages[name].as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS/f'{name}-{window["width"]}-{scheme}.png', full_page=True)
    assert overflowing(page) == []
    page.evaluate("document.querySelectorAll('details').forEach(o => { o.open = true })")
    assert violations(page) == [] and overflowing(page) == []
    page.close()
