"""A survey answers every question, and its page is whole or not there."""
import html
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from survey_tables import TIME_ZONE, baci_of, deployments_of, events_of, local, operation_of, outages_of
from urbanrivers_camtraps.inference.decisions import UNKNOWN_REASON
from urbanrivers_camtraps.survey import mixed_model
from urbanrivers_camtraps.survey.before_after import before_after, plot_effect
from urbanrivers_camtraps.survey.effort import SurveyError, plot_effort
from urbanrivers_camtraps.survey.events import make_events
from urbanrivers_camtraps.survey.findings import (
    doubt_warning,
    methods,
    second_opinion,
    what_it_rests_on,
    what_was_found,
)
from urbanrivers_camtraps.survey.rates import interval_words, plot_months
from urbanrivers_camtraps.survey.report import Survey
from urbanrivers_camtraps.survey.simulation import simulate_survey

TWO = deployments_of(('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'l', '2024-05-08', '2024-05-21')).drop(columns=['latitude', 'longitude', 'location'])
SEEN = events_of(('a', 'Anas', '2024-05-02'), ('b', 'Anas', '2024-05-20'))


def test_the_report_is_whole_or_not_there(tmp_path):
    river = simulate_survey(0, arms=2, days=60)
    survey = Survey(river.events, river.deployments, river.outages, TIME_ZONE)
    page = survey.report(tmp_path/'survey.html', arms=river.arms, changed=river.changed).read_text()
    assert 'Ten locations per arm' in page and page.count('<svg') == 7 and 'href="http' not in page
    nothing = Survey(river.events, river.deployments.assign(end=pd.NaT), time_zone=TIME_ZONE)
    with pytest.raises(SurveyError, match='no deployment has any effort'): nothing.report(tmp_path/'none.html')
    with pytest.raises(SurveyError, match='a change needs arms'): survey.report(tmp_path/'none.html', changed='2024-05-05')
    assert [o.name for o in tmp_path.iterdir()] == ['survey.html']


def test_what_an_audit_found_is_on_the_page(tmp_path):
    river = simulate_survey(3, days=365, missed={'impact': (.1, .3), 'control': (.1, .1)})
    survey = Survey(river.events, river.deployments, river.outages, TIME_ZONE)
    page = survey.report(tmp_path/'survey.html', arms=river.arms, changed=river.changed, missed=river.missed).read_text()
    for words in ('In numbers', 'camera-days', 'Mallard', 'Vehicle', 'corrected for what the blank filter missed', 'would be', 'hints',
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
    assert survey.health.findings.finding.tolist() == ['no photograph'] and 'no photograph' in page.split('<h2>In numbers')[0]
    assert 'A pause of 30 minutes' in page


def test_a_survey_is_shown_in_words_and_as_a_table():
    survey = Survey(SEEN, TWO, time_zone=TIME_ZONE)
    assert repr(survey) == '2 events, 2 deployments at 1 location, 20 camera-days, time zone America/Chicago'
    assert '2 events' in survey._repr_html_() and 'Wildlife' in survey._repr_html_()
    with pytest.raises(SurveyError, match='time zone of the cameras is not known'): Survey(SEEN, TWO)


def text_of(page: str, heading: str) -> str:
    "Return the text of one section of a page."
    return html.unescape(re.sub('<[^>]*>', ' ', page.split(f'<h2>{heading}</h2>')[1].split('</section>')[0]))


def verdict_of(page: str) -> str:
    "Return the sentences over a page."
    return html.unescape(re.search('<p class="verdict">(.*?)</p>', page)[1])


def test_the_page_begins_with_sentences_to_read_aloud_and_ends_with_methods(tmp_path):
    events, operation, arms = baci_of({'W1': (10, 40), 'W2': (10, 41), 'C1': (20, 20), 'C2': (20, 21)})
    page = Survey(events, operation.deployments, time_zone=TIME_ZONE).report(tmp_path/'s.html', arms=arms, changed='2025-07-01').read_text()
    # 182 visits; 22 April to 8 September are 9 + 31 + 30 + 31 + 31 + 8 days; ((40.5/10.5)(41.5/10.5)/((20.5/20.5)(21.5/20.5)))**.5 = 3.81
    start = 'In 140 days, the cameras at 4 locations saw 182 visits by wildlife of at least one kind.'
    rose = ('After the change of 1 July 2025, wildlife came to the changed locations more often: 3.81 times as often as the unchanged ones lead one to '
            'expect (95\u00a0% interval ')
    assert verdict_of(page).startswith(f'{start} {rose}')
    headings = re.findall('<h2>(.*?)</h2>', page)
    assert headings[:4] == ['Camera health', 'What it rests on', 'In numbers', 'Events per 100 camera-days'] and headings[-1] == 'Methods and limits'
    assert 'Stewart-Oaten' in text_of(page, 'Methods and limits') and 'Spearman' not in text_of(page, 'Methods and limits')


AFTER = 'to the changed locations after the change of 1 July 2025'


@pytest.mark.parametrize('counts, said', [
    ({'W1': (40, 10), 'W2': (41, 10), 'C1': (20, 20), 'C2': (20, 21)},
     'came to the changed locations less often: 0.25 times as often as the unchanged ones lead one to expect (95 % interval '),
    ({'W1': (10, 12), 'W2': (10, 10), 'C1': (10, 12), 'C2': (10, 10)}, f'Whether wildlife came more or less often {AFTER} is not shown: anything from '),
    ({'W1': (10, 40), 'W2': (10, 10), 'C1': (10, 10), 'C2': (10, 40)}, f'more or less often {AFTER} cannot be said from 4 locations.'),
    ({'W1': (10, 40), 'C1': (10, 10), 'C2': (10, 40)},
     'cannot be said: that takes two changed and two unchanged locations, and only 1 and 2 can be compared.'),
    ({'W1': (2, 200), 'W2': (2, 400), 'C1': (10, 10), 'C2': (10, 12)},
     'came to the changed locations more often than the unchanged ones lead one to expect; how much more cannot be said from 4 locations.')])
def test_whether_something_changed_is_said_in_one_sentence(counts, said):
    events, operation, arms = baci_of(counts)
    assert said in what_was_found(events, operation, before_after(events, operation, arms, '2025-07-01', permutations=0), '2025-07-01')


def test_species_are_not_counted_twice_and_people_are_no_species():
    events = events_of(('a', 'Anas platyrhynchos', '2024-05-02'), ('a', 'Aves', '2024-05-03'), ('a', 'human', '2024-05-04'), ('a', 'blank', '2024-05-05'))
    operation = operation_of(('a', 'l', '2024-05-01', '2024-05-11'))
    assert what_was_found(events, operation) == ('In 10 days, the camera at one location saw 2 visits by wildlife of at least one species '
                                                 '(and one kind not named to the species), and 1 by people and their boats.')
    assert what_was_found(events.tail(2), operation) == 'In 10 days, the camera at one location saw no visit by wildlife. People and their boats came once.'


def test_an_interval_wider_than_a_factor_of_20_is_said_nowhere(tmp_path):
    assert interval_words(1, 20, 3) == '1.00 to 20.00' and interval_words(1, 20.1, 3) == 'cannot be said from 3 locations'
    assert interval_words(np.nan, 3, 2) == '–' and interval_words(.0123, .1, 1) == '0.012 to 0.10'
    events, operation, arms = baci_of({'W1': (10, 40), 'W2': (10, 10), 'C1': (10, 10), 'C2': (10, 40)})
    # changes of log(40.5/10.5) = 1.35 and 0 in each arm: 0 ± 4.30 (t, 2 degrees) · √(2 · 0.456) = ± 4.11, a factor of 0.016 to 61
    effect = before_after(events, operation, arms, '2025-07-01', permutations=0)
    assert effect.low == pytest.approx(.0164, abs=.0005) and 'cannot be said from 4 locations' in str(effect) and '0.02 to' not in str(effect)
    figure = plot_effect(effect)
    texts = [o.get_text() for o in figure.axes[0].texts]
    assert texts == ['cannot be said from 2 locations', 'cannot be said from 2 locations', 'cannot be said from 4 locations'] and not figure.axes[0].patches
    plt.close(figure)
    page = Survey(events, operation.deployments, time_zone=TIME_ZONE).report(tmp_path/'s.html', arms=arms, changed='2025-07-01').read_text()
    first = text_of(page, 'Change, label by label').split('Wildlife')[1].split('Anas')[0].split()
    assert ' '.join(first) == '2 2 – cannot be said from 4 locations –'
    assert 'How large a change' not in page and 'interval' not in verdict_of(page)


def test_a_month_has_no_line_for_an_interval_that_says_nothing():
    counts = {'a': 1, 'b': 1, 'c': 40}
    operation = operation_of(*((o, o, '2025-05-01', '2025-05-31') for o in counts))
    seen = [events_of(*((o, 'Anas', '2025-05-02') for o, n in c.items() for _ in range(n))) for c in (counts, {'a': 9, 'b': 10, 'c': 11})]
    lines = []
    for events in seen:
        figure = plot_months(events, operation, labels=['Anas'])
        lines.append(sum(len(o.get_segments()) for o in figure.axes[0].collections if isinstance(o, LineCollection)))
        plt.close(figure)
    assert lines == [0, 1]


def test_what_a_page_rests_on_is_who_looked_at_the_events(tmp_path):
    operation = operation_of(('a', 'l', '2024-05-01', '2024-05-11'), outages=outages_of(('a', '2024-05-08', '2024-05-10')))
    model = pd.DataFrame({'media_id': ['m1', 'm2', 'm3', 'm4'], 'prediction': 'Anas', 'deployment_id': 'a',
                          'timestamp': [local(f'2024-05-0{o}') for o in ('2 12:00', '2 12:01', '3', '4')]})
    def first(taken: pd.DataFrame, label: str = 'prediction') -> str: return what_it_rests_on(make_events(taken, label=label), operation)[0]
    assert first(model) == "No event was reviewed by a person: all labels are the model's."
    assert first(model.assign(reviewed=[False, True, False, False])) == "People looked at 1 of 3 events. The labels of the others are the model's."
    assert first(model.rename(columns={'prediction': 'label'}), 'label') == 'People looked at all 3 events.'
    told = make_events(model, label='prediction').drop(columns='reviewed')  # as others write them
    assert what_it_rests_on(told, operation) == ['Whether people looked at the events is not known: the table of events does not say so.',
                                                 'Cameras did not work in 1 outage, 2 camera-days in all. This time does not count as watched.']
    survey = Survey(make_events(model, label='prediction'), operation.deployments, time_zone=TIME_ZONE)
    page = survey.report(tmp_path/'s.html', notes=['As told.']).read_text()
    assert 'No event was reviewed by a person' in text_of(page, 'What it rests on') and 'As told.' in page
    assert 'No person has reviewed any of these events.' in repr(survey.rarefaction())  # without a command that adds it


@pytest.mark.parametrize('decisions, reviewed, warns', [
    (['review', 'accept', 'blank'], [False]*3, False), # a third is not over a third
    (['review', 'review', 'accept', 'blank', 'accept'], [False]*5, True),
    (['review', 'review', 'accept', 'blank', 'accept'], [True, False, False, False, False], False)])
def test_a_third_of_doubtful_answers_puts_a_banner_over_the_page(decisions, reviewed, warns, tmp_path):
    photographs = pd.DataFrame({'media_id': [f'm{o}' for o in range(len(decisions))], 'decision': decisions, 'reviewed': reviewed, 'deployment_id': 'a',
                                'prediction': 'Anas', 'timestamp': local('2024-05-02')})
    page = Survey(SEEN, TWO, time_zone=TIME_ZONE).report(tmp_path/'s.html', labelled=photographs, warnings=['Another.']).read_text()
    banners = re.findall('class="warning" role="note">(.*?)<', page)
    assert len(banners) == 1 + warns and banners[-1] == 'Another.'
    if warns: assert banners[0].startswith('The model was in doubt about 2 of 5 photographs (40')
    assert doubt_warning(photographs.drop(columns='decision')) == ''


def test_photographs_that_wait_are_in_doubt_but_in_no_event_of_another_gap(tmp_path):
    photographs = pd.DataFrame({'media_id': ['m1', 'm2', 'm3'], 'decision': ['accept', 'review', 'review'], 'deployment_id': 'a', 'prediction': 'Anas',
                                'review_reason': [None, UNKNOWN_REASON, UNKNOWN_REASON], 'timestamp': [local(f'2024-05-02 {o}:00') for o in (1, 5, 9)]})
    survey = Survey(SEEN, TWO, time_zone=TIME_ZONE)
    page = survey.report(tmp_path/'s.html', labelled=photographs).read_text()
    assert 'in doubt about 2 of 3' in page and text_of(page, 'If events ended sooner or later').split()[-5:] == ['1']*5
    edited = Survey(SEEN.assign(edited=True), TWO, time_zone=TIME_ZONE).report(tmp_path/'s.html', labelled=photographs).read_text()
    assert 'If events ended sooner' not in edited


def test_a_map_is_drawn_only_where_there_are_coordinates(tmp_path):
    known = TWO.assign(latitude=41.9, longitude=-87.65, location='Weir')
    known = known.assign(location_id=['l', 'm'], latitude=[41.9, 41.91])
    for deployments, is_drawn in ((TWO, False), (known, True), (known.assign(latitude=[41.9, None]), False), (known.assign(location_id='l'), False)):
        page = Survey(SEEN, deployments, time_zone=TIME_ZONE).report(tmp_path/'s.html').read_text()
        assert ('<h2>Where</h2>' in page) == is_drawn


def test_each_photograph_is_a_tick_on_its_location():
    taken = pd.DataFrame({'deployment_id': ['a', 'a', 'a', 'b', 'q'], 'timestamp': [local(f'2024-05-0{o}') for o in (2, 2, 4, 3, 3)]})
    cameras = ('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'm', '2024-05-01', '2024-05-11')
    figure = plot_effort(operation_of(*cameras, photographs=taken))
    ticks = [[round(float(s[0][1]) + .31, 6) for s in o.get_segments()] for o in figure.axes[0].collections]
    assert ticks == [[0, 0], [1]]  # two at one moment share a tick, and a camera that is not known has no row
    plt.close(figure)
    figure = plot_effort(operation_of(*cameras))
    assert not figure.axes[0].collections
    plt.close(figure)


def test_without_gpboost_the_page_says_that_the_answer_was_not_checked(monkeypatch):
    events, operation, arms = baci_of({'W1': (10, 40), 'W2': (10, 30), 'C1': (20, 20), 'C2': (20, 21)})
    effect = before_after(events, operation, arms, '2025-07-01', permutations=0)
    def missing(name: str): raise ModuleNotFoundError(name)
    monkeypatch.setattr(mixed_model.importlib, 'import_module', missing)
    assert second_opinion(effect).startswith('Not checked with a second method: a mixed model needs GPBoost, which is not installed')
    one = before_after(events[events.deployment_id != 'W2'], operation, arms, '2025-07-01', permutations=0)
    assert second_opinion(one) == 'Not checked with a second method: a mixed model needs two locations in each arm.'


def test_methods_name_only_what_is_shown():
    assert any('Welch' in o for o in methods({'change'})) and not any('Welch' in o for o in methods(set()))
    assert 'Labels can be wrong' in methods(set())[-1]


@pytest.mark.parametrize('changed, said', [
    (None, 'after the change is'), ('2025-07-01', 'after the change of 1 July 2025 is'),
    (('2025-06-28', '2025-07-03'), 'after the change between 28 June 2025 and 3 July 2025 is')])
def test_a_change_is_called_by_its_day(changed, said):
    events, operation, arms = baci_of({'W1': (10, 12), 'W2': (10, 10), 'C1': (10, 12), 'C2': (10, 10)})
    assert said in what_was_found(events, operation, before_after(events, operation, arms, '2025-07-01', permutations=0), changed)


def test_one_location_has_no_map_and_no_table_of_locations_and_nothing_is_in_the_plural(tmp_path):
    page = Survey(SEEN.head(1), TWO.head(1), time_zone=TIME_ZONE).report(tmp_path/'s.html').read_text()
    headings = re.findall('<h2>(.*?)</h2>', page)
    assert 'By location' not in headings and 'Month by month' in headings
    # 1 to 11 May are ten or eleven days: 1 event in 11 camera-days
    days = re.search('<b>([0-9]+)</b><span>camera-days', page)[1]
    assert re.findall('<b>1</b><span>(.*?)<', page) == ['location', 'event', 'species']
    assert f'Wildlife came {100/int(days):#.3g} times per 100 camera-days.' in page and 'No visit by people and their boats was seen' in page
    assert '1 species (or higher rank) was met' in page and 'saw 1 visit by wildlife.' in verdict_of(page) and 'these take three locations' in page


def test_without_any_event_nothing_is_drawn_but_effort(tmp_path):
    page = Survey(SEEN.head(0), TWO, time_zone=TIME_ZONE).report(tmp_path/'s.html').read_text()
    assert page.count('<svg') == 1 and 'saw no visit by wildlife.' in verdict_of(page) and 'How many species' not in page


def test_a_small_p_is_no_zero_and_labels_that_were_nowhere_seen_are_left_out(tmp_path):
    # all of ten wetlands change by a factor of four, no wall does: of 184,756 ways to assign the arms two are as far apart
    events, operation, arms = baci_of({**{f'W{o}': (10 + o, 4*(10 + o)) for o in range(10)}, **{f'C{o}': (20 + o, 20 + o) for o in range(10)}})
    page = Survey(events, operation.deployments, time_zone=TIME_ZONE).report(tmp_path/'s.html', arms=arms, changed='2025-07-01').read_text()
    table = text_of(page, 'Change, label by label')
    assert '< 0.01' in table and '0.00' not in table and 'People' not in table


def test_dates_below_a_plot_are_whole():
    for end, said in (('2024-05-21', r'\d+ May 2024'), ('2025-05-01', r'[A-Z][a-z]+ 202[45]')):
        figure = plot_effort(operation_of(('a', 'l', '2024-05-01', end)))
        figure.draw_without_rendering()
        labels = [o.get_text() for o in figure.axes[0].get_xticklabels()]
        assert 2 <= len(labels) <= 7 and all(re.fullmatch(said, o) for o in labels), labels
        plt.close(figure)


def test_groups_are_of_animals_that_people_counted(tmp_path):
    seen = ('a', 'Anas', '2024-05-02'), ('a', 'Anas', '2024-05-03'), ('a', 'Anas', '2024-05-04'), ('b', 'human', '2024-05-20')
    events = events_of(*seen).assign(count=[2, 5, None, 3])
    page = Survey(events, TWO, time_zone=TIME_ZONE).report(tmp_path/'s.html').read_text()
    rows = text_of(page, 'How many come at once').split('largest group')[-1].split()
    # three events, two of them counted: 2 and 5 are 3.5 on average
    assert rows == ['Wildlife', '3', '2', '3.50', '–', '5', 'Anas', '3', '2', '3.50', '–', '5']
