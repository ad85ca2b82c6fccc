"""From a season through a sample by chance to an answer that holds, by the commands a user types; and how the estimate breaks."""
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.foundations.core import CamtrapsWarning
from urbanrivers_camtraps.foundations.tables import read_table, write_table
from urbanrivers_camtraps.inference.season_folder import season_files
from urbanrivers_camtraps.review.reviews import Reviews
from urbanrivers_camtraps.review.sample import draw_sample
from urbanrivers_camtraps.survey.corrected import group_totals
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.season_simulation import simulate_season

SPECIES = 'Castor canadensis'
CLASSES = [SPECIES, 'blank', 'human']


def called(*arguments):
    "Run a command in this process; what it refuses is part of the output."
    done = CliRunner().invoke(app, [str(o) for o in arguments])
    return SimpleNamespace(exit_code=done.exit_code, output=f'{done.output}{done.exception or ""}')


@pytest.fixture(scope='module')
def simulated():
    return simulate_season(5, blanks=1500, arms=4, days=120)


@pytest.fixture
def season(tmp_path, simulated):
    "Write a season with one frame a burst, its deployments and its arms, as a user would have them."
    units = simulated.units.drop_duplicates(['deployment_id', 'timestamp'])
    clock = units.timestamp.dt.tz_convert('America/Chicago').dt.tz_localize(None).dt.floor('s')
    scores = np.stack([units.p, 1 - units.p, 0*units.p], 1)
    table = pd.DataFrame({'path': units.deployment_id + '/' + units.burst_id.astype(str) + '.jpg', 'clock': clock, 'reason': None,
                          'prediction': np.where(units.called, SPECIES, 'blank'), 'score': scores.max(1), 'scores': list(scores), 'decision': 'accept'})
    write_table(table.reset_index(drop=True), tmp_path/'season.parquet', classes=CLASSES)
    deployments = simulated.survey.deployments.assign(folder=lambda o: o.deployment_id)
    local = {o: deployments[o].dt.tz_convert('America/Chicago').dt.strftime('%Y-%m-%dT%H:%M:%S') for o in ('start', 'end')}
    deployments.assign(**local).to_csv(tmp_path/'deployments.csv', index=False)
    simulated.arms.to_csv(tmp_path/'arms.csv', index=False)
    return tmp_path


def options(folder: Path, simulated) -> list:
    "Return what names the tables of a season."
    return ['--season', folder/'season.parquet', '--deployments', folder/'deployments.csv', '--arms', folder/'arms.csv', '--changed', simulated.changed,
            '--time-zone', 'America/Chicago']


def answer(folder: Path, simulated, share: float = 1.) -> pd.DataFrame:
    "Let people see the truth on the drawn bursts, in the order of the page."
    files = season_files(folder if (folder/'predictions.parquet').is_file() else folder/'season.parquet')
    drawn = read_table(files.sample)
    truth = simulated.units.set_index(simulated.units.burst_id.astype(str)).animal
    reviews = Reviews(files.reviews)
    shown = drawn[drawn.drawn].sort_values('turn')
    for number, row in enumerate(shown.head(round(share*len(shown))).itertuples()):
        seen = truth[Path(row.media_id).stem]
        reviews.add(f'token-of-review-{number:06d}', row.media_id, SPECIES if seen else 'blank', 'anna')
    reviews.close()
    return drawn


def test_a_sample_corrects_the_answer_from_the_shell(season, simulated):
    told = options(season, simulated)
    done = called('sample', *told, '--n', 320)
    assert done.exit_code == 0, done.output
    drawn = answer(season, simulated)
    assert 300 <= drawn.drawn.sum() <= 340 and f'{drawn.drawn.sum():,} of {len(drawn):,} bursts are drawn' in done.output
    counts = drawn[drawn.drawn].location.value_counts()
    assert f'cameras: {counts.index[0]} {counts.iloc[0]}, ' in done.output
    done = called('survey', *told, '--sample', season/'season_sample.parquet', '--out', season/'s.html')
    assert done.exit_code == 0, done.output
    assert done.output.count('Wildlife changed by a factor') == 1  # the corrected one
    table = pd.read_csv(season/'s_corrected.csv').set_index(['what', 'who'])
    factor = table.loc['factor']
    assert factor.loc['corrected', 'low'] <= simulated.truth <= factor.loc['corrected', 'high']
    assert factor.loc['corrected', 'value']/factor.loc['model alone', 'value'] > 1.1  # it missed more at the wetlands after the change
    truth = simulated.units.groupby('group').animal.sum()
    for group, animals in truth.items():
        row = table.loc[(f'bursts, {group}', 'corrected')]
        assert row.low*.97 <= animals <= row.high*1.03, group
    page = (season/'s.html').read_text()
    factors = re.findall(r'changed by a factor of ([0-9.]+) at', page)  # nowhere the model's, as if nobody had looked
    assert factors and set(factors) == {f"{factor.loc['corrected', 'value']:.2f}"}, factors
    assert page.count('not corrected by the sample') >= 2
    assert page.index('Wildlife, corrected by people') < page.index('In numbers')
    assert f'People looked at {drawn.drawn.sum():,} of {len(drawn):,} bursts' in page and 'nobody has reviewed them' not in page


def test_without_any_review_the_survey_says_that_all_labels_are_the_models(season, simulated):
    done = called('survey', *options(season, simulated), '--out', season/'s.html')
    assert done.exit_code == 0 and 'nobody has reviewed them' in (season/'s.html').read_text()
    assert not (season/'s_corrected.csv').exists()


def test_a_larger_sample_keeps_the_answers_of_the_smaller_one(season, simulated):
    told = options(season, simulated)
    called('sample', *told, '--n', 96)
    small = answer(season, simulated)
    called('sample', *told, '--n', 200)
    large = read_table(season/'season_sample.parquet')
    assert set(small.media_id[small.drawn]) < set(large.media_id[large.drawn])
    done = called('survey', *told, '--sample', season/'season_sample.parquet', '--out', season/'s.html')
    assert done.exit_code == 0, done.output
    assert f'{large.drawn.sum() - small.drawn.sum():,} more are drawn and not answered' in (season/'s.html').read_text()


def test_a_plan_after_a_pilot_says_how_many(season, simulated):
    told = options(season, simulated)
    called('sample', *told, '--n', 128)
    answer(season, simulated)
    done = called('plan', season/'season_sample.parquet', *told, '--width', 1.5)
    count = int(re.search(r'Look at ([0-9,]+) bursts in all \(128 are answered\)', done.output)[1].replace(',', ''))
    assert 40 < count < len(simulated.units)
    done = called('plan', season/'season_sample.parquet', *told, '--width', 3.)
    assert 'that is enough' in done.output and 'draw the others' not in done.output
    done = called('plan', season/'season_sample.parquet', *told, '--width', 1.)
    assert done.exit_code == 1 and 'only more locations' in done.output


def test_a_plan_until_records_are_stable_needs_no_arms(season, simulated, monkeypatch):
    table = read_table(season/'season.parquet')
    told = [*options(season, simulated)[:4], '--time-zone', 'America/Chicago']
    alone = table.path.str.split('/').str[0].isin({'l00-1', 'l00-2', 'l01-1', 'l01-2'})
    nothing = table[alone].assign(prediction='blank', scores=[np.array([0., 1., 0.])]*int(alone.sum()))
    first = nothing.groupby(nothing.path.str[:3]).head(1).index
    nothing.loc[first, 'prediction'] = SPECIES  # one call at each of two locations, with a score of .55
    for row in first: nothing.at[row, 'scores'] = np.array([.55, .45, 0.])
    write_table(pd.concat([nothing, table[~alone]]).sort_index(), season/'season.parquet', **table.attrs)
    assert called('sample', *told, '--n', 16).exit_code == 0
    drawn = read_table(season/'season_sample.parquet')
    reviews = Reviews(season_files(season/'season.parquet').reviews)  # on a burst that was not drawn, so that no score changes
    chosen = drawn[~drawn.drawn & drawn.location.eq('Wall 02') & ~drawn.called].media_id.iloc[0]
    reviews.add('token-of-review-000000', chosen, 'blank', 'anna')
    reviews.close()
    done = called('plan', season/'season_sample.parquet', *told, '--until-stable', '--seconds', 3600)
    assert done.exit_code == 0, done.output
    assert 'Look at 1 more burst,' in done.output and 'That takes 1.0 hours' in done.output
    name, places, false, missed, needed = done.output.split('bursts\n')[1].split('\n')[0].rsplit(maxsplit=4)
    assert (name.strip(), places, false, missed, needed) == (SPECIES, '7.1', '0.9', '0.0', '1')
    listed = read_table(season/'season_sample_to_review.parquet')
    assert listed.because.tolist() == [SPECIES] and listed.path.isin(table.path[first]).all()
    shown = []
    monkeypatch.setattr('urbanrivers_camtraps.review.server.run_review_server', lambda queue, *_, **__: shown.append(queue))
    where = ['--season', season/'season.parquet', '--only', season/'season_sample_to_review.parquet']
    done = called('review', *where)  # as the plan proposes it: without a table of the cameras
    assert done.exit_code == 0 and shown[0].path.tolist() == listed.path.tolist(), done.output
    assert called('review', *where, '--order', 'time').exit_code == called('review', *where[2:]).exit_code == 1
    (season/'mine.parquet').write_bytes((season/'season.parquet').read_bytes())
    done = called('plan', season/'season_sample.parquet', *told, '--until-stable', '--out', season/'mine.parquet')
    assert done.exit_code == 1 and 'something else than a list of bursts' in done.output
    done = called('plan', season/'season_sample.parquet', *told)
    assert done.exit_code == 1 and 'or --until-stable' in done.output


def test_a_sample_of_another_season_is_refused(season, simulated):
    told = options(season, simulated)
    called('sample', *told, '--n', 64)
    answer(season, simulated)
    table = read_table(season/'season.parquet')
    write_table(table.iloc[:-5], season/'season.parquet', **table.attrs)
    done = called('survey', *told, '--sample', season/'season_sample.parquet', '--out', season/'s.html')
    assert done.exit_code == 1 and 'drawn from other photographs' in done.output and not (season/'s.html').exists()


def test_a_sample_of_another_model_or_another_change_is_refused(season, simulated):
    told = options(season, simulated)
    called('sample', *told, '--n', 64)
    answer(season, simulated)
    later = [*told[:-3], '2024-07-20', *told[-2:]]
    done = called('survey', *later, '--sample', season/'season_sample.parquet', '--out', season/'s.html')
    assert done.exit_code == 1 and 'another day of change' in done.output and not (season/'s.html').exists()
    table = read_table(season/'season.parquet')
    flipped = [o[[1, 0, 2]] for o in table.scores]  # a model that answers otherwise
    prediction = np.where(table.prediction == 'blank', SPECIES, 'blank')
    write_table(table.assign(scores=flipped, prediction=prediction), season/'season.parquet', **table.attrs)
    done = called('survey', *told, '--sample', season/'season_sample.parquet', '--out', season/'s.html')
    assert done.exit_code == 1 and 'another model' in done.output and not (season/'s.html').exists()


def test_two_samples_of_a_season_share_its_answers(season, simulated):
    told = options(season, simulated)
    called('sample', *told, '--n', 64)
    answer(season, simulated)
    assert called('sample', *told, '--n', 64, '--out', season/'again.parquet').exit_code == 0
    done = called('survey', *told, '--sample', season/'again.parquet', '--out', season/'s.html')
    assert done.exit_code == 0 and 'not answered' not in (season/'s.html').read_text(), done.output


@pytest.mark.parametrize('arguments, said', [
    (['--species', 'Lontra canadensis'], 'It knows Castor canadensis'), (['--arms', 'ARMS'], 'Give both'), (['--n', '3'], 'n')])
def test_a_sample_that_cannot_be_drawn_is_refused(season, simulated, arguments, said):
    arguments = [season/'arms.csv' if o == 'ARMS' else o for o in arguments]
    done = called('sample', *options(season, simulated)[:4], '--time-zone', 'America/Chicago', *arguments)
    assert done.exit_code in (1, 2) and said in done.output
    assert not (season/'season_sample.parquet').exists()


def test_a_file_that_is_no_sample_stays(season, simulated):
    before = (season/'season.parquet').read_bytes()
    done = called('sample', *options(season, simulated), '--out', season/'season.parquet')
    assert done.exit_code == 1 and 'something else than a sample' in done.output
    assert (season/'season.parquet').read_bytes() == before


def test_half_a_review_is_half_a_sample():
    "The page shows the drawn bursts in a random order, so the first half of the answers is a sample, too."
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        p = generator.beta(.3, .9, 3000)
        units = pd.DataFrame({'p': p, 'called': p > .5, 'animal': (generator.random(3000) < p).astype(float)})
        drawn = draw_sample(units, n=200, seed=seed)
        first = drawn[drawn.drawn].sort_values('turn').index[:100]
        total = group_totals(drawn.assign(seen=drawn.animal.where(drawn.index.isin(first)))).iloc[0]
        assert total.looked == 100
        held += total.low <= units.animal.sum() <= total.high
    assert held >= 34  # of 40 at 95 %: fewer than 34 by chance once in 1,000


def test_a_stratum_that_nobody_looked_at_is_named():
    drawn = draw_sample(pd.DataFrame({'p': np.linspace(0, 1, 400), 'called': False}), n=64)
    seen = pd.Series(np.where(drawn.drawn & (drawn.stratum > 0), 1., np.nan))
    with pytest.raises(SurveyError, match='nobody has answered for stratum 1'): group_totals(drawn.assign(seen=seen))


@pytest.mark.parametrize('column', ['stratum', 'p'])
def test_bursts_without_a_stratum_or_a_score_are_not_left_out(column):
    drawn = draw_sample(pd.DataFrame({'p': np.linspace(0, 1, 400), 'called': False}), n=64)
    drawn = drawn.assign(seen=np.where(drawn.drawn, 1., np.nan)).astype({'stratum': float})
    drawn.loc[[3, 5], column] = np.nan
    with pytest.raises(SurveyError, match='2 bursts have no stratum or no score'): group_totals(drawn)


def test_as_many_are_drawn_as_were_asked_for():
    units = pd.DataFrame({'p': np.linspace(.01, .99, 900), 'group': ['a before', 'a after', 'b after']*300})
    small, large = (draw_sample(units, n=o).drawn for o in (130, 131))
    assert small.sum() == 130 and large.sum() == 131 and large[small].all()


def test_odds_are_those_of_the_draw():
    units = pd.DataFrame({'p': np.linspace(.01, .99, 500)})
    times = sum(draw_sample(units, n=80, seed=seed).drawn.to_numpy(int) for seed in range(400))
    odds = draw_sample(units, n=80).odds.to_numpy()
    error = np.sqrt(odds*(1 - odds)/400)
    assert (np.abs(times/400 - odds) < 4.5*error + .002).all()


def test_events_are_edited_in_a_spreadsheet_and_come_back(season, simulated):
    told = [*options(season, simulated)[:4], '--time-zone', 'America/Chicago']
    assert called('events', season/'events.xlsx', *told).exit_code == 0
    book = pd.read_excel(season/'events.xlsx', dtype=object)
    count = len(book)
    done = called('survey', *told, '--events', season/'events.xlsx', '--out', season/'same.html')
    assert done.exit_code == 0 and 'events.xlsx: 0 changes by hand' in done.output, done.output
    book.loc[0, 'label'], book.loc[1, 'count'] = 'Ondatra zibethicus', 3
    added = book.iloc[[2]].assign(event_id=None, label='Lontra canadensis', media_ids=None, photographs=None)
    pd.concat([book.drop(index=5), added]).to_excel(season/'events.xlsx', index=False)
    done = called('survey', *told, '--events', season/'events.xlsx', '--out', season/'s.html')
    assert done.exit_code == 0 and '4 changes by hand' in done.output, done.output
    changed = pd.read_csv(season/'s_events_changed.csv').set_index('change')
    assert sorted(changed.index) == ['added', 'count', 'label', 'removed']
    assert changed.loc['label', 'before':'after'].tolist() == [SPECIES, 'Ondatra zibethicus'] and changed.after['count'] == '3'
    rates = pd.read_csv(season/'s_rates.csv')
    assert rates[rates.label == 'Lontra canadensis'].events.sum() == 1 and rates[rates.label == 'wildlife'].events.sum() == count  # one less, one more
    done = called('package', season/'package', *told, '--events', season/'events.xlsx')
    assert done.exit_code in (0, 3), done.output
    rows = pd.read_csv(season/'package'/'observations.csv')
    of_events = rows[rows.observationLevel == 'event']
    assert len(of_events) == count and {'Ondatra zibethicus', 'Lontra canadensis'} <= set(of_events.scientificName)
    by_hand = of_events[of_events.classificationMethod == 'human']  # a label, a count, and one that was added
    assert len(by_hand) == 3 and {'Ondatra zibethicus', 'Lontra canadensis'} <= set(by_hand.scientificName)


def test_a_folder_with_other_things_is_no_season(tmp_path):
    (tmp_path/'IMG_0001.JPG').touch()
    done = called('predict', tmp_path, '--out', tmp_path)
    assert done.exit_code == 1 and 'such as IMG_0001.JPG' in done.output and len(list(tmp_path.iterdir())) == 1
    done = called('survey', '--season', tmp_path/'autumn')
    assert done.exit_code == 1 and 'there is no such season' in done.output


# ---- a season as a folder

def in_a_folder(tmp_path) -> Path:
    "Move the season of a test into a folder, with its tables under the names that are found there."
    folder = tmp_path/'season'
    folder.mkdir()
    (tmp_path/'season.parquet').rename(folder/'predictions.parquet')
    for name in ('deployments.csv', 'arms.csv'): (tmp_path/name).rename(folder/name)
    return folder


def test_one_folder_is_enough_for_every_command(season, simulated):
    folder = in_a_folder(season)
    zone = ['--time-zone', 'America/Chicago', '--changed', simulated.changed]
    done = called('sample', '--season', folder, *zone, '--n', 64)
    assert done.exit_code == 0 and f'arms: {folder}/arms.csv' in done.output, done.output
    done = called('survey', '--season', folder, *zone)
    assert 'nobody has looked at the sample' in done.output and done.exit_code == 0
    assert 'nobody has reviewed them' in (folder/'exports'/'survey.html').read_text()
    drawn = answer(folder, simulated)
    done = called('survey', '--season', folder, *zone)
    assert done.exit_code == 0 and f'sample: {folder}/sample.parquet' in done.output, done.output
    assert 'corrected' in set(pd.read_csv(folder/'exports'/'corrected.csv').who)
    media = pd.read_parquet(folder/'media.parquet')
    assert len(media) == len(read_table(folder/'predictions.parquet')) and media.burst_id.nunique() == len(drawn)
    assert called('plan', '--season', folder, *zone, '--width', 1.5).exit_code == 0


def test_what_was_not_drawn_corrects_no_rate_in_silence(season, simulated):
    folder = in_a_folder(season)
    zone = ['--time-zone', 'America/Chicago', '--changed', simulated.changed]
    assert called('sample', '--season', folder, *zone, '--n', 64).exit_code == 0
    drawn = read_table(folder/'sample.parquet')
    reviews = Reviews(folder/'reviews.sqlite')
    for o in drawn[~drawn.drawn].media_id.head(5): reviews.add(f'token-of-review-{o}', o, 'blank', 'anna')
    reviews.close()
    done = called('survey', '--season', folder, *zone)  # people looked at other bursts alone
    assert done.exit_code == 0 and 'nothing is corrected' in done.output and not (folder/'exports'/'corrected.csv').exists(), done.output
    answer(folder, simulated, .9)
    with pytest.warns(CamtrapsWarning, match='outside the sample'): done = called('survey', '--season', folder, *zone)
    page = (folder/'exports'/'survey.html').read_text()
    assert done.exit_code == 0 and re.search(r'5 bursts outside the sample are answered while [1-9]\d* in it are not', page), done.output
    answer(folder, simulated)
    done = called('survey', '--season', folder, *zone)
    assert done.exit_code == 0 and 'outside the sample' not in (folder/'exports'/'survey.html').read_text()
