"""Camera health: the cards on which something went wrong, and their kinds in other places, years and clocks."""
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.survey.deployments import read_deployments, season_photographs
from urbanrivers_camtraps.survey.health.card import check_card, check_season
from urbanrivers_camtraps.survey.health.check import check_cameras
from urbanrivers_camtraps.survey.health.simulation import FAULTS, KINDS, simulate_cameras

START, DAYS = pd.Timestamp('2025-05-01 12:00'), 60
HEAD = 'deployment_id,location,latitude,longitude,start,end\n'


def some(generator: np.random.Generator, count: int, first: float, days: float) -> list[pd.Timestamp]:
    "Times at random, in no order."
    return [START + pd.Timedelta(days=float(o)) for o in generator.uniform(first, first + days, count)]


def is_night(time: pd.Timestamp) -> bool: return time.hour < 6 or time.hour > 20


def draw(path: Path, taken: pd.Timestamp, shade: int, colour: bool) -> None:
    "Draw a frame, grey as by infra-red or green as by day, with its time in the EXIF."
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f'{taken:%Y:%m:%d %H:%M:%S}'
    image = Image.effect_noise((160, 120), 60).point(lambda v: max(0, min(255, v - 128 + shade))).convert('RGB')
    if colour: image = Image.blend(image, Image.new('RGB', (160, 120), (70, 140, 40)), .35)
    image.save(path, exif=exif, quality=80)


def cards_of(seed: int) -> dict[str, list[pd.Timestamp]]:
    "The clocks of eight cameras, in the order of the files; only the first is in order."
    generator = np.random.default_rng(seed)
    def drawn(*arguments): return some(generator, *arguments)
    fallen = [o - START + pd.Timestamp('2015-01-01') for o in sorted(drawn(25, 0, 30))]
    days, nights = [o for o in drawn(150, 0, 59) if not is_night(o)], [o for o in drawn(60, 0, 59) if is_night(o)]
    grass = [START + pd.Timedelta(days=33, minutes=o) for o in range(300)]
    return {'good': sorted(drawn(60, 0, 59)), 'dead': sorted(drawn(30, 0, 20)),
            'covered': sorted(drawn(25, 0, 15) + drawn(25, 45, 14)), 'reset2015': sorted(drawn(25, 0, 25)) + fallen,
            'future': sorted(o.replace(year=2035) for o in drawn(20, 0, 59)),
            'ampm': sorted(o + pd.Timedelta(hours=12) for o in drawn(60, 0, 58)), 'noflash': sorted(days + nights),
            'vegetation': sorted(drawn(40, 0, 59) + grass)}


@pytest.fixture(scope='module')
def health_card(tmp_path_factory) -> Path:
    "Eight cameras of 60 days each, and a table of them."
    folder = tmp_path_factory.mktemp('cards')
    lines = [HEAD]
    for name, clock in cards_of(1).items():
        for number, taken in enumerate(clock, 1):
            night = is_night(taken - pd.Timedelta(hours=12*(name == 'ampm')))
            shade = (2 if name == 'noflash' else 60) if night else 140
            draw(folder/'health'/name/'DCIM'/'100MEDIA'/f'IMG_{number:04}.JPG', taken, shade, not night)
        lines.append(f'{name},{name},41.9,-87.65,2025-05-01 12:00,2025-06-30 12:00\n')
    (folder/'health.csv').write_text(''.join(lines))
    return folder


def test_each_camera_is_named_with_what_is_wrong_with_it_and_the_good_one_is_not(health_card, capsys, tmp_path):
    status = run(['check', str(health_card/'health'), '--deployments', str(health_card/'health.csv'),
                  '--out', str(tmp_path/'found.csv')])
    assert status == 4
    found = pd.read_csv(tmp_path/'found.csv').set_index('deployment_id')
    expected = {'dead': 'stopped after', 'covered': 'nothing for 3', 'reset2015': 'clock fell back',
                'future': 'clock is ahead', 'ampm': 'clock is 12 h ahead of the sun', 'noflash': 'black nights',
                'vegetation': 'photographs in 5 hours'}
    assert set(found.index) == set(expected) and len(found) == len(expected)
    for name, words in expected.items(): assert words in found.finding[name], name
    assert found.clock_ahead['future'] == '3652 days' and found.clock_ahead['ampm'] == '12h'
    assert 'good' not in capsys.readouterr().out


def test_what_a_finding_says_to_write_into_the_table_places_all_photographs(health_card, tmp_path):
    clock = cards_of(1)
    rows = [(f'{name}/IMG_{number:04}.JPG', 'blank', o) for name in ('reset2015', 'future') for number, o in
            enumerate(clock[name], 1)]
    table = pd.DataFrame(rows, columns=['path', 'prediction', 'clock']).assign(score=.9, reason=None, retry=False)
    table.to_parquet(tmp_path/'season.parquet')
    health = check_season(tmp_path/'season.parquet', read_deployments(health_card/'health.csv'))
    found = health.findings.set_index('deployment_id').loc[['reset2015', 'future']]
    turned = found.start['reset2015'].tz_convert('America/Chicago').tz_localize(None)
    ahead = {name: f'{o.days} days' for name, o in found.clock_ahead.items()}
    (tmp_path/'set_right.csv').write_text(
        'deployment_id,location,latitude,longitude,start,end,folder,clock_ahead\n'
        f'reset2015,R,41.9,-87.65,2025-05-01 12:00,{turned + pd.Timedelta("1s")},reset2015,\n'
        f'reset2015-2,R,41.9,-87.65,{turned + pd.Timedelta("2s")},2025-06-30 12:00,reset2015,{ahead["reset2015"]}\n'
        f'future,F,41.9,-87.65,2025-05-01 12:00,2025-06-30 12:00,,{ahead["future"]}\n')
    placed = season_photographs(tmp_path/'season.parquet', read_deployments(tmp_path/'set_right.csv'))
    assert len(placed) == 70 and placed.skipped.empty


def test_without_a_table_clocks_that_cannot_be_right_are_still_named(health_card):
    found = check_card(health_card/'health', progress=False).findings.set_index('deployment_id').finding
    assert {'reset2015', 'future', 'noflash', 'vegetation', 'covered'} == set(found.index)
    assert found['future'] == 'dates in the future'


def health_of(clock, **line):
    "Check one camera in Chicago, whose files have these times."
    row = {'deployment_id': 'cam', 'latitude': 41.9, 'longitude': -87.65, 'time_zone': 'America/Chicago',
           'start': START.tz_localize('America/Chicago'), 'end': (START + pd.Timedelta(days=DAYS)).tz_localize('America/Chicago')}
    table = pd.DataFrame({'deployment_id': 'cam', 'path': [f'cam/IMG_{o:04}.JPG' for o in range(1, len(clock) + 1)],
                          'clock': pd.Series(list(clock), dtype='datetime64[us]')})
    return check_cameras(table, pd.DataFrame([row | line]), now=pd.Timestamp('2026-06-01'))


@pytest.mark.parametrize('year', ['1970', '2000', '2010', '2013', '2019', '2020'])
def test_a_clock_that_fell_back_to_any_year_is_named_once_with_the_time_it_lost(year):
    good = [START + pd.Timedelta(days=o) for o in range(1, 26)]
    fallen = [pd.Timestamp(f'{year}-01-01 00:01') + pd.Timedelta(days=o) for o in range(33)]
    found = health_of(good + fallen).findings
    assert found.finding.tolist() == ['clock fell back'] and found.photographs.tolist() == [33]
    # the first was taken after day 25, the last before day 60: the clock lost this time, to within three days
    lost = fallen[0] - (START + pd.Timedelta(days=26.5))
    assert abs(found.clock_ahead[0] - lost) < pd.Timedelta(days=3)


def test_two_resets_are_two_findings_and_a_reset_at_the_start_is_one():
    good = [START + pd.Timedelta(days=o) for o in range(1, 60)]
    def old(days): return [pd.Timestamp('2015-01-01') + pd.Timedelta(days=o) for o in range(days)]
    assert health_of(good[:15] + old(10) + good[27:40] + old(15)).findings.finding.tolist() == ['clock fell back']*2
    assert health_of(old(8) + good[9:]).findings.photographs.tolist() == [8]


def test_a_clock_a_day_a_month_or_a_year_off_is_set_right_by_what_is_written():
    good = [START + pd.Timedelta(days=.2 + o) for o in np.linspace(0, 59.5, 80)]
    for off in (pd.Timedelta(days=30), pd.Timedelta(days=-365), pd.Timedelta(days=365)):
        found = health_of([o + off for o in good]).findings
        assert len(found) == 1 and abs(found.clock_ahead[0] - off) <= pd.Timedelta(days=1), off
    beyond = health_of([o + pd.Timedelta(days=1) for o in good]).findings
    assert beyond.finding.tolist() == ['photographs after its end']


def test_ends_that_are_not_known_come_from_the_photographs_that_can_be_right():
    clock = [pd.Timestamp('2025-06-01 08:00') + pd.Timedelta(hours=11*o) for o in range(40)]
    found = health_of([*clock, pd.Timestamp('2015-01-01 00:00:10')], start=pd.NaT, end=pd.NaT).findings
    assert found.finding.tolist() == ['clock fell back'] and found.photographs.tolist() == [1]
    assert health_of([]).findings.finding.tolist() == ['no photograph']


def test_a_camera_at_which_little_comes_is_not_taken_for_dead():
    generator = np.random.default_rng(3)
    named = [len(health_of(sorted(some(generator, 10, 0, 60))).findings) for _ in range(40)]
    assert sum(named) == 0
    den = sorted(o + pd.Timedelta(seconds=20*frame) for o in some(generator, 12, 22, 9) for frame in range(4))
    assert health_of(sorted(some(generator, 8, 0, 60)) + []).findings.empty and health_of(sorted(
        [*den, *some(generator, 4, 0, 20), *some(generator, 4, 40, 19)])).findings.empty


@pytest.mark.parametrize('seed', [4, 5])
def test_good_cameras_of_all_kinds_and_places_are_hardly_ever_named(seed):
    season = simulate_cameras([o for o in KINDS if o != 'busy']*3, seed=seed)
    assert len(check_cameras(season.photographs, season.deployments, now=season.now).in_doubt) <= 1


def test_every_fault_is_found_at_a_place_with_nights():
    season = simulate_cameras(FAULTS, seed=6, place='Borneo')
    assert set(check_cameras(season.photographs, season.deployments, now=season.now).in_doubt) == set(season.deployments.deployment_id)


def test_a_survey_names_cameras_in_doubt_and_takes_their_outages_out_only_if_told_to(tmp_path, capsys):
    rows = [(f'cam1/IMG_{o:04}.JPG', START + pd.Timedelta(hours=11*o)) for o in range(1, 41)]  # the last on day 18.33
    table = pd.DataFrame(rows, columns=['path', 'clock']).assign(prediction='blank', score=.9, decision='accept', reason=None, retry=False,
                                                                 scores=[[.9, .1]]*40)
    table.loc[::4, 'prediction'] = 'Procyon lotor'
    table.loc[::4, 'scores'] = pd.Series([[.1, .9]]*10, table.index[::4])
    from urbanrivers_camtraps.foundations.tables import write_table
    write_table(table, tmp_path/'s.parquet', classes=['blank', 'Procyon lotor'], common_names={})
    (tmp_path/'d.csv').write_text(HEAD + 'cam1,Weir,41.9,-87.65,2025-05-01 12:00,2025-06-30 12:00\n')
    words = ['survey', '--season', str(tmp_path/'s.parquet'), '--deployments', str(tmp_path/'d.csv')]
    assert run([*words, '--out', str(tmp_path/'all.html')]) == 0
    assert 'The only camera is in doubt: cam1 (stopped after 2025-05-19)' in capsys.readouterr().err
    assert run([*words, '--out', str(tmp_path/'less.html'), '--without-suspected-outages']) == 0
    assert '1 suspected outages, 41.7 camera-days, are taken out of effort' in capsys.readouterr().err
    days = [pd.read_csv(tmp_path/f'{o}_rates.csv').query("label == 'wildlife'").camera_days.sum() for o in ('all', 'less')]
    assert days == pytest.approx([60, 440/24])
    assert (tmp_path/'all.html').read_text(encoding='utf-8').split('<h2>')[1].startswith('Camera health')


def test_a_name_in_latin_1_stops_nothing(tmp_path):
    folder = tmp_path/'card'/'cam1'
    folder.mkdir(parents=True)
    for day in (1, 2, 3):
        Image.new('RGB', (64, 48), (90, 90, 90)).save(folder/f'{day}.JPG')
    (folder/'1.JPG').rename(Path(os.fsdecode(os.fsencode(folder) + b'/caf\xe9.JPG')))
    camera, = check_card(tmp_path/'card', progress=False).cameras
    assert len(camera.photographs) == 3


# ---- clocks without a time, and clocks that stand still

def card_with_clock(tmp_path, written: list[str | None], light: bool = True) -> Path:
    "Draw a card whose EXIF says exactly this, by day and by night in turn; with a table of its one deployment."
    for number, text in enumerate(written):
        exif = Image.Exif()
        if text is not None: exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = text
        shade = (120 if number % 2 else 60) if light else 90
        path = tmp_path/'card'/'cam1'/f'IMG_{number:04}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 120), 60).point(lambda v, s=shade: max(0, min(255, v - 128 + s))).convert('RGB').save(path, exif=exif)
    (tmp_path/'d.csv').write_text(f'{HEAD}cam1,cam1,41.9,-87.65,2025-05-01 12:00,2025-06-30 12:00\n')
    return tmp_path/'card'


@pytest.mark.parametrize('text', ['0000:00:00 00:00:00', '    :  :     :  :  ', None])
def test_a_card_without_a_single_time_is_named(tmp_path, text):
    card = card_with_clock(tmp_path, [text]*20)
    found = check_card(card, read_deployments(tmp_path/'d.csv'), progress=False).findings
    assert found.finding.tolist()[0] == 'no time' and found.effect[0] == '20 of 20 photographs are left out; its days count as watched with nothing seen'
    assert 'no photograph' not in found.finding.tolist() and found.is_outage[0]


@pytest.mark.parametrize('light', [True, False])
def test_a_clock_that_stands_still_is_named(tmp_path, light):
    card = card_with_clock(tmp_path, ['2025:05:03 10:00:00']*20, light)
    found = check_card(card, read_deployments(tmp_path/'d.csv'), progress=False).findings
    assert found.finding.tolist()[0] == 'clock stands still' and '20 of 20 photographs show 2025-05-03 10:00:00' in found.cause[0]


def test_a_burst_is_no_clock_that_stands_still(tmp_path):
    card = card_with_clock(tmp_path, [f'2025:05:{3 + number//10:02} 10:00:00' for number in range(20)])
    assert 'clock stands still' not in check_card(card, read_deployments(tmp_path/'d.csv'), progress=False).findings.finding.tolist()


@pytest.mark.parametrize('offset, gps, zone, said', [
    ('+00:00', None, '', 'state UTC+00:00, and America/Chicago is UTC-05:00'), ('-05:00', None, '', None), ('+00:00', None, 'UTC', None),
    (None, 5, '', 'state UTC-10:00'), (None, 0, '', None)])
def test_an_offset_in_the_exif_that_contradicts_the_table_is_named(tmp_path, offset, gps, zone, said):
    "`gps`: by how many hours the time of GPS is later than that of a clock that is right; all pictures are equally bright."
    for day in range(1, 21):
        exif = Image.Exif()
        own, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
        own[ExifTags.Base.DateTimeOriginal] = f'2025:05:{day + 1:02} 08:00:00'
        if offset: own[ExifTags.Base.OffsetTimeOriginal] = offset
        if gps is not None: place[ExifTags.GPS.GPSDateStamp], place[ExifTags.GPS.GPSTimeStamp] = f'2025:05:{day + 1:02}', (13. + gps, 0., 7.)
        path = tmp_path/'card'/'cam1'/f'IMG_{day:04}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (160, 120), (90, 90, day)).save(path, exif=exif)
    (tmp_path/'d.csv').write_text(f'{HEAD.strip()},time_zone\ncam1,cam1,41.9,-87.65,2025-05-01 12:00,2025-05-22 12:00,{zone}\n')
    found = check_card(tmp_path/'card', read_deployments(tmp_path/'d.csv', 'America/Chicago'), progress=False).findings
    causes = found.cause[found.finding == 'another time zone in its EXIF'].tolist()
    assert len(causes) == (said is not None) and all(said in o for o in causes)
    assert 'another time zone in its EXIF' not in check_card(tmp_path/'card', progress=False).findings.finding.tolist()


def test_coordinates_in_doubt_are_said_once(tmp_path, capsys):
    card = card_with_clock(tmp_path, [f'2025:05:{day:02} 10:00:00' for day in range(2, 20)])
    (tmp_path/'d.csv').write_text(f'{HEAD}cam1,cam1,41.9,87.65,2025-05-01 12:00,2025-05-21 12:00\n')
    assert run(['check', str(card), '--deployments', str(tmp_path/'d.csv'), '--time-zone', 'America/Chicago', '--no-pixels']) == 4
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count('far from the time zone America/Chicago') == 1
