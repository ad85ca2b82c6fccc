"""A survey answers every question, and its page is whole or not there."""
import re

import pandas as pd
import pytest

from survey_tables import TIME_ZONE, deployments_of, events_of, local
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.report import Survey
from urbanrivers_camtraps.survey.simulation import simulate_survey

TWO = deployments_of(('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'l', '2024-05-08', '2024-05-21')).drop(columns=['latitude', 'longitude', 'location'])
SEEN = events_of(('a', 'Anas', '2024-05-02'), ('b', 'Anas', '2024-05-20'))


def test_the_report_is_whole_or_not_there(tmp_path):
    river = simulate_survey(0, arms=2, days=60)
    survey = Survey(river.events, river.deployments, river.outages, TIME_ZONE)
    page = survey.report(tmp_path/'survey.html', arms=river.arms, changed=river.changed).read_text()
    assert 'Ten locations per arm' in page and page.count('<svg') == 6 and 'href="http' not in page
    nothing = Survey(river.events, river.deployments.assign(end=pd.NaT), time_zone=TIME_ZONE)
    with pytest.raises(SurveyError, match='no deployment has any effort'): nothing.report(tmp_path/'none.html')
    with pytest.raises(SurveyError, match='a change needs arms'): survey.report(tmp_path/'none.html', changed='2024-05-05')
    assert [o.name for o in tmp_path.iterdir()] == ['survey.html']


def test_what_an_audit_found_is_on_the_page(tmp_path):
    river = simulate_survey(3, days=365, missed={'impact': (.1, .3), 'control': (.1, .1)})
    survey = Survey(river.events, river.deployments, river.outages, TIME_ZONE)
    page = survey.report(tmp_path/'survey.html', arms=river.arms, changed=river.changed, missed=river.missed).read_text()
    for words in ('In plain words', 'camera-days', 'Mallard', 'Vehicle', 'Corrected for what the blank filter missed', 'would be', 'hints',
                  'When the cameras worked'): assert words in page, words
    assert 'nan' not in re.sub('<svg.*?</svg>', '', page.split('<body')[1], flags=re.DOTALL).lower() and 'What is odd' not in page


def test_without_events_coordinates_or_arms_there_is_a_page(tmp_path):
    page = Survey(SEEN.head(0), TWO, time_zone=TIME_ZONE).report(tmp_path/'survey.html').read_text()
    assert 'No animal was met' in page and 'are not compared' in page and 'coordinates are not known' in page


def test_what_is_odd_is_on_the_page_and_names_are_escaped(tmp_path):
    events = pd.concat([SEEN, events_of(('q', '<b>Anas', '2024-05-02'), ('a', '<b>Anas', '2024-05-02')).assign(event_id=['x', 'y'])])
    photographs = pd.DataFrame({'deployment_id': 'a', 'timestamp': [local('2024-05-02')]})
    survey = Survey(events, TWO, time_zone=TIME_ZONE, photographs=photographs)
    assert survey.skipped.values.tolist() == [['x', 'its deployment is not known']]
    page = survey.report(tmp_path/'survey.html', notes=['A pause of 30 minutes ends an event.']).read_text()
    assert '&lt;b&gt;Anas' in page and '<b>Anas' not in page and '1 event without effort' in page
    assert survey.health.findings.finding.tolist() == ['no photograph'] and 'no photograph' in page.split('<h2>In plain words')[0]
    assert 'A pause of 30 minutes' in page


def test_a_survey_is_shown_in_words_and_as_a_table():
    survey = Survey(SEEN, TWO, time_zone=TIME_ZONE)
    assert repr(survey) == '2 events, 2 deployments at 1 locations, 20 camera-days, time zone America/Chicago'
    assert '2 events' in survey._repr_html_() and 'Wildlife' in survey._repr_html_()
    with pytest.raises(SurveyError, match='time zone of the cameras is not known'): Survey(SEEN, TWO)
