"""The forward audit: the right verdict at the right rate, no burst divided at midnight, and weeks by the local clock."""
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip('torch')

from urbanrivers_camtraps.apps.cli import evaluation as commands  # noqa: E402
from urbanrivers_camtraps.apps.cli.options import place_zone  # noqa: E402
from urbanrivers_camtraps.apps.main import app  # noqa: E402
from urbanrivers_camtraps.evaluation.audit import Audit, AuditError  # noqa: E402
from urbanrivers_camtraps.evaluation.comparison import compare_runs  # noqa: E402
from urbanrivers_camtraps.evaluation.forward import (  # noqa: E402
    HURTS,
    RETRAIN,
    UNSURE,
    default_until,
    forward_audit,
    forward_section,
    forward_verdict,
    judge_forward,
    plot_forward,
    side_by_side,
    side_by_side_section,
)
from urbanrivers_camtraps.foundations.core import collect_notices  # noqa: E402
from urbanrivers_camtraps.foundations.tables import read_table, write_table  # noqa: E402
from urbanrivers_camtraps.training.preprocess import Recipe  # noqa: E402

ZONE = 'America/Chicago'


def answers(generator: np.random.Generator, bursts: int, frozen: float, retrained: float) -> tuple[pd.DataFrame, ...]:
    "Draw photographs in bursts of three that mostly succeed or fail together, and the answers of both models."
    burst, hard = np.arange(bursts).repeat(3), generator.random(bursts).repeat(3)
    table = pd.DataFrame({'media_id': np.arange(3*bursts).astype(str), 'burst_id': burst.astype(str), 'label': 'blank'})
    noise = generator.normal(0, .15, (2, 3*bursts))
    return tuple(table.assign(prediction=np.where(hard + o > error, 'blank', 'human'))
                 for o, error in zip(noise, (frozen, retrained)))


def verdicts(frozen: float, retrained: float, bursts: int = 120, draws: int = 200) -> pd.Series:
    "Count the verdicts over many draws of the same river."
    found = [forward_verdict(compare_runs(*answers(np.random.default_rng(o), bursts, frozen, retrained)))
             for o in range(draws)]
    return pd.Series(found).value_counts().reindex([RETRAIN, HURTS, UNSURE], fill_value=0)


def test_without_a_difference_a_verdict_is_rare():
    "By chance each side is claimed in 2.5 % of draws at most: in 200 draws more than 11 would have a chance of 1 %."
    found = verdicts(.3, .3, 60)
    assert found[RETRAIN] <= 11 and found[HURTS] <= 11


def test_what_retraining_mends_is_found_and_what_it_spoils_too():
    assert verdicts(.45, .25, draws=50)[RETRAIN] >= 45
    assert verdicts(.25, .45, draws=50)[HURTS] >= 45


def test_few_changed_bursts_are_not_enough():
    "Five bursts, all better: the interval leaves 0 out, but the exact test gives p = 0.06. With six it is 0.03."
    table = pd.DataFrame({'media_id': np.arange(60).astype(str), 'burst_id': np.arange(60).astype(str), 'label': 'a'})
    for changed, verdict in ((5, UNSURE), (6, RETRAIN)):
        pair = [table.assign(prediction=np.where(table.index < o, 'b', 'a')) for o in (changed, 0)]
        assert forward_verdict(compare_runs(*pair)) == verdict


def river(seed: int, drift: float = 0.) -> tuple[np.ndarray, pd.DataFrame]:
    "Two classes in four numbers, three bursts of two a day; from week 8 on moved by `drift`."
    generator, weeks = np.random.default_rng(seed), 18
    burst = np.arange(weeks*21).repeat(2)
    week, code = burst//21, generator.integers(0, 2, weeks*21).repeat(2)
    centre = np.where(code, 1.6, -1.6)[:, None]*[1, 1, 0, 0] + generator.normal(0, 1, (weeks*21, 4)).repeat(2, 0)
    taken = centre + generator.normal(0, .2, centre.shape) + drift*np.outer(week >= 8, [1, 0, 1, 0])
    moment = pd.Timestamp('2025-01-06 06:00', tz=ZONE) + pd.to_timedelta(burst*8, 'h')
    return taken, pd.DataFrame({'media_id': np.arange(len(burst)).astype(str), 'burst_id': burst.astype(str),
                                'label': np.array(['blank', 'human'])[code], 'timestamp': moment})


def with_wrong_week(taken: np.ndarray, rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    "In the week of 3 February eight times as many photographs come, and a new volunteer confuses both classes."
    first = pd.Timestamp('2025-02-03', tz=ZONE)
    wrong = ((rows.timestamp >= first) & (rows.timestamp < first + pd.Timedelta('7D'))).to_numpy()
    swapped = rows[wrong].assign(label=rows.label[wrong].map({'blank': 'human', 'human': 'blank'}))
    more = [swapped.assign(media_id=swapped.media_id + f'-{o}', burst_id=swapped.burst_id + f'-{o}') for o in range(8)]
    return np.concatenate([taken[~wrong], *[taken[wrong]]*8]), pd.concat([rows[~wrong], *more], ignore_index=True)


def test_the_whole_path_finds_drift_nothing_and_harm():
    """Drift from 3 March on: retrain now. None: not enough to say. One week of wrong labels: retraining would hurt.

    In the wrong week itself both models are equal; afterwards the retrained one has learned from it."""
    for seed in range(3):
        assert judge_forward(*river(seed, drift=4.), ZONE, '2025-03-02', C=1.).verdict == RETRAIN
        assert judge_forward(*river(seed), ZONE, '2025-03-02', C=1.).verdict == UNSURE
        assert judge_forward(*with_wrong_week(*river(seed)), ZONE, '2025-02-02', C=1.).verdict == HURTS


def test_weeks_begin_at_the_midnight_of_the_place_and_no_burst_is_divided():
    "In Chicago 03:59 UTC on 9 June is still 8 June, the last day of the first week; the burst at midnight is whole."
    taken, rows = river(0)
    rows.loc[:, 'timestamp'] = pd.Timestamp('2025-05-01 12:00', tz='UTC') + pd.to_timedelta(np.arange(len(rows))//2, 'h')
    late = ['2025-06-02 04:59:59', '2025-06-02 05:00:01', '2025-06-09 03:59', '2025-06-09 05:00']
    rows = rows[rows.timestamp < '2025-05-16'].copy()
    more = pd.DataFrame({'media_id': list('abcd'), 'burst_id': ['m', 'm', 'n', 'o'], 'label': 'blank',
                         'timestamp': pd.to_datetime(late, format='ISO8601', utc=True)})
    rows = pd.concat([rows, more], ignore_index=True)
    found = judge_forward(taken[:len(rows)], rows, ZONE, '2025-06-01')
    weeks = found.judged.set_index('media_id').week.dt.strftime('%m-%d').to_dict()
    assert weeks == {'a': '06-02', 'b': '06-02', 'c': '06-02', 'd': '06-09'}
    assert found.before.media_id.isin(list('abcd')).sum() == 0


def test_training_never_sees_what_comes_later():
    "A week that is changed changes no answer of an earlier week, and no out-of-fold answer."
    taken, rows = river(1)
    first = judge_forward(taken, rows, ZONE, '2025-03-30')
    changed = taken.copy()
    last = (rows.timestamp >= pd.Timestamp('2025-05-05', tz=ZONE)).to_numpy()
    changed[last] += 50
    second = judge_forward(changed, rows, ZONE, '2025-03-30')
    earlier = first.judged.week < '2025-05-05'
    assert first.judged[earlier].retrained.equals(second.judged[earlier].retrained)
    assert np.allclose(np.stack(first.before.scores), np.stack(second.before.scores))


def test_a_class_that_comes_later_counts_as_an_error_until_it_is_trained():
    taken, rows = river(2)
    new = (rows.timestamp >= pd.Timestamp('2025-04-07', tz=ZONE)) & (rows.index % 6 < 2)
    taken[new.to_numpy()], rows.loc[new, 'label'] = [0, 0, 9, 9], 'Castor canadensis'
    found = judge_forward(taken, rows, ZONE, '2025-03-30', C=1.)
    assert found.new_classes == ['Castor canadensis'] and 'Castor canadensis' in str(found)
    late = found.judged[(found.judged.label == 'Castor canadensis') & (found.judged.week >= '2025-04-14')]
    assert (late.prediction != late.label).all() and (late.retrained == late.label).mean() > .9


def test_what_cannot_be_judged_is_refused_in_words(tmp_path):
    taken, rows = river(0)
    with pytest.raises(AuditError, match='no photographs after 2026-01-01'): judge_forward(taken, rows, ZONE, '2026-01-01')
    with pytest.raises(AuditError, match='not two classes before'): judge_forward(taken, rows, ZONE, '2024-01-01')
    with pytest.raises(AuditError, match='of 31 days are too few'):
        default_until(rows[rows.timestamp < pd.Timestamp('2025-02-06', tz=ZONE)], ZONE)
    with pytest.raises(AuditError, match='not known when'):
        forward_audit(rows.drop(columns='timestamp').assign(path='x.jpg'), ZONE)


def test_sections_without_a_forward_audit_say_why():
    empty = Audit(pd.DataFrame(columns=['what', 'by', 'reason']))
    table = side_by_side(empty, None, 'photographs of 31 days')
    assert table.reason.tolist()[2] == 'photographs of 31 days' and table.error.isna().all()
    assert 'nan' not in side_by_side_section(empty, None, 'photographs of 31 days')[2].lower()
    assert forward_section(None, 'photographs of 31 days')[2] == ''


def test_photographs_without_bursts_stand_for_themselves():
    taken, rows = river(3)
    found = judge_forward(taken, rows.drop(columns='burst_id'), ZONE, '2025-04-27', by='burst')
    assert found.by == 'image' and found.weeks.groups.equals(found.weeks.photographs)
    assert len(plot_forward(found).axes[0].get_xticks()) == len(found.weeks)


def test_the_command_names_its_time_zone_or_says_that_it_took_utc():
    "By the coordinates if there are any; otherwise UTC, and never in silence."
    pytest.importorskip('tzfpy')
    rows = pd.DataFrame({'latitude': [41.9, np.nan], 'longitude': [-87.6, np.nan], 'timestamp': pd.Timestamp('2025-01-01')})
    assert place_zone(rows, None) == ZONE and place_zone(rows, 'Europe/Berlin') == 'Europe/Berlin'
    with collect_notices() as notices:
        assert place_zone(rows.drop(columns='latitude'), None) == 'UTC'
    assert 'days begin in UTC' in notices[0]


def test_the_command_says_in_one_line_why_there_is_no_forward_audit(capsys, tmp_path):
    photographs = pd.DataFrame({'media_id': list('abcd'), 'path': 'x.jpg', 'label': ['blank', 'human']*2})
    empty = Audit(pd.DataFrame(columns=['what', 'by', 'reason']))
    month = photographs.assign(timestamp=pd.date_range('2025-06-01', periods=4, freq='10D', tz='UTC'))
    for table, reason in ((photographs, 'it is not known when'), (month, 'photographs of 31 days are too few')):
        sections = commands._forward_sections(empty, table, Recipe(), (None, 'UTC'), tmp_path)
        assert f'no forward audit: {reason}' in capsys.readouterr().out and reason in sections[1][1]
    with pytest.raises(AuditError, match='no photographs after'):
        commands._forward_sections(empty, month.assign(sha256=list('abcd')), Recipe(), ('2025-12-31', 'UTC'), tmp_path)


def test_the_held_out_set_of_the_command_is_what_came_after_a_day(tmp_path):
    "Sixty bursts, one a day from 1 June: after 30 June come 30."
    noise = np.random.default_rng(0).integers(0, 256, (120, 6, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise): Image.fromarray(pixels).resize((64, 48), 0).save(tmp_path/f'{number}.jpg')
    burst, labels = np.arange(120)//2, np.array(['blank', 'human', 'Castor canadensis'])
    rows = pd.DataFrame({'media_id': np.arange(120).astype(str), 'burst_id': burst.astype(str), 'label': labels[burst % 3],
                         'deployment_id': 'd', 'path': [f'{tmp_path}/{o}.jpg' for o in range(120)], 'sha256': np.arange(120).astype(str),
                         'timestamp': pd.Timestamp('2025-06-01 12:00', tz='UTC') + pd.to_timedelta(burst, 'D')})
    write_table(rows, tmp_path/'photographs.parquet')
    result = CliRunner().invoke(app, ['dataset', '--until', '2025-06-30', '--time-zone', ZONE, '--no-motion', '--data', str(tmp_path)])
    assert result.exit_code == 0, result.output
    split = read_table(tmp_path/'dataset.parquet')
    assert ((split.split == 'test') == (split.timestamp >= pd.Timestamp('2025-07-01', tz=ZONE))).all()
    assert (split.split == 'test').sum() == 60 and split.attrs['until'] == '2025-06-30'
