"""A thousand broken tables: read with every row used or named, or refused with an error of ours in one line; never a traceback."""
import gzip
import random
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import CamtrapsError, CamtrapsWarning
from urbanrivers_camtraps.survey.deployments import read_deployments
from urbanrivers_camtraps.survey.effort import camera_days, camera_operation, read_outages
from urbanrivers_camtraps.survey.events import read_events
from urbanrivers_camtraps.survey.rates import events_with_effort, skipped_events

ZONE = 'America/Chicago'
#: What people and programs put into cells.
CELLS = ['', ' ', 'NA', 'n/a', '#N/A', '-', '?', '0', '-1', '1e999', 'nan', 'inf', '41,9', '41.9.1', '−87.6', '87.6W', '45777', '2025-02-30', '02/04/2009',
         '14/05/2009', '2025-06-01T12:00:00Z', '2025-06-01 24:00', '2025-06-01 2:30 PM', '2025-03-09 02:30', '9999-12-31', '0001-01-01', 'soon', 'Café',
         '"', '"a', 'a"b', '=1+1', "'007", '\ufeff', '\u2028', '\x85', '\x0b', 'x'*200_000, 'a\nb', 'a;b', 'a,b', 'a\tb', '📷', '\ud7ff', 'deployment_id',
         '2025-06-01 12:00:00+99:99', '2025-06-01 12:00 -15:00', 'UTC', '٤١', '1'*400, '12:30']
HEADS = {'deployments': ['deployment_id', 'location', 'latitude', 'longitude', 'start', 'end', 'time_zone', 'clock_ahead', 'camera', 'Problem1_from',
                         'Problem1_to', 'notes'],
         'outages': ['deployment_id', 'start', 'end', 'notes'], 'events': ['event_id', 'deployment_id', 'label', 'start', 'end', 'count', 'notes']}
NAMES = ['', 'start', 'Start', 'Setup_date', 'from', 'to', 'deploymentID', 'Station', 'lat', 'lattitude', 'id', 'Problem2_from', 'label', 'species', 'genus',
         'date', 'time', 'start_time', '\n', '"', 'x'*300, 'time zone', '🦝', 'session']


def rows_of(kind: str, chance: random.Random, number: int) -> list[list[str]]:
    "Make rows that are right."
    def day(first: int, last: int) -> str: return f'2025-0{chance.randint(first, last)}-{chance.randint(10, 28)}'
    if kind == 'deployments':
        return [[f'cam{o}', f'Weir {o % 3}', f'{41.9 + o/1000:.4f}', '-87.65', day(4, 5), day(7, 8), '', '', f'B{o}', '', '', 'muddy'] for o in range(number)]
    if kind == 'outages': return [[f'cam{o % 4}', day(5, 5), day(6, 6), ''] for o in range(number)]
    return [[f'e{o}', f'cam{o % 4}', chance.choice(['Procyon lotor', 'blank', 'human']), f'{day(4, 8)} 23:30:00', '', '1', ''] for o in range(number)]


def spoiled(head: list[str], rows: list[list[str]], chance: random.Random) -> None:
    "Spoil cells, lines and names of columns in place."
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        what, row = chance.choice(['cell', 'cell', 'cell', 'name', 'twice', 'drop', 'longer', 'shorter', 'empty']), chance.choice(rows)
        if what == 'cell' and row: row[chance.randrange(len(row))] = chance.choice(CELLS)
        elif what == 'name': head[chance.randrange(len(head))] = chance.choice(NAMES)
        elif what == 'twice': head.append(chance.choice(head)), [o.append('x') for o in rows]
        elif what == 'drop' and len(head) > 1:
            at = chance.randrange(len(head))
            del head[at]
            for o in rows: del o[at:at + 1]
        elif what == 'longer': row.extend(['more']*chance.randint(1, 3))
        elif what == 'shorter': del row[chance.randrange(len(row) + 1):]
        elif what == 'empty': row[:] = ['']*len(row)


def as_file(head: list[str], rows: list[list[str]], path: Path, chance: random.Random) -> tuple[Path, bool]:
    "Write the table in one of many dialects; return its path, and whether its bytes were left whole."
    if chance.random() < .12: return as_excel(head, rows, path.with_suffix('.xlsx'))
    divider, quote = chance.choice(',;\t|'), chance.random() < .8
    def cell(text: str) -> str:
        return f'''"{text.replace('"', '""')}"''' if quote and any(o in text for o in f'{divider}"\n\r') else text
    text = chance.choice(['\n', '\r\n', '\r']).join(divider.join(map(cell, o)) for o in [head, *rows]) + chance.choice(['', '\n', '\n\n;;;\n'])
    try: content = text.encode(chance.choice(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'cp1252', 'latin-1']))
    except UnicodeEncodeError: content = text.encode()
    whole = quote and not text.endswith(';;;\n') and chance.random() < .7
    if not whole:
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content) + 1)
            content = chance.choice([content[:at], content[:at] + chance.randbytes(2) + content[at:], content[:at] + b'"' + content[at:],
                                     content[:at] + content[at + 9:], b'\0' + content, content*2]) or b'\n'
    packed = chance.random() < .1
    path.write_bytes(gzip.compress(content)[:chance.choice([None, None, -9])] if packed else content)
    return path, whole and not packed


def as_excel(head: list[str], rows: list[list[str]], path: Path) -> tuple[Path, bool]:
    "Write an Excel file."
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError
    book = Workbook()
    for row in [head, *rows]:
        try: book.active.append([o[:30_000] for o in row])
        except IllegalCharacterError: book.active.append(['x']*len(row))
    book.save(path)
    return path, False


def outcome(kind: str, path: Path, places: pd.DataFrame) -> pd.DataFrame:
    "Read a table of this kind and do with it what a survey does."
    if kind == 'deployments':
        table = read_deployments(path, ZONE)
        camera_days(camera_operation(table, time_zone=ZONE), by=())
        return table
    if kind == 'outages':
        table = read_outages(path, places, ZONE)
        assert camera_days(camera_operation(places, table, time_zone=ZONE), by=()).camera_days.sum() >= 0
        return table
    events, operation = read_events(path, places, ZONE), camera_operation(places, time_zone=ZONE)
    assert len(events_with_effort(events, operation)) + len(skipped_events(events, operation)) == len(events)
    return events


@pytest.mark.parametrize('kind', list(HEADS))
def test_broken_tables(tmp_path, kind):
    places = pd.DataFrame({'deployment_id': [f'cam{o}' for o in range(4)], 'location': [f'Weir {o}' for o in range(4)],
                           'start': pd.Timestamp('2025-05-01', tz=ZONE), 'end': pd.Timestamp('2025-08-01', tz=ZONE)})
    counts = Counter()
    for number in range(334):
        chance = random.Random(f'{kind} {number}')
        head, rows = list(HEADS[kind]), rows_of(kind, chance, chance.randint(1, 6))
        spoiled(head, rows, chance)
        path, whole = as_file(head, rows, tmp_path/f'{number}.csv', chance)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                table = outcome(kind, path, places)
        except CamtrapsError as error:
            counts['refused'] += 1
            assert '\n' not in str(error) and 'Traceback' not in str(error), (number, error)
            continue
        assert all(issubclass(o.category, CamtrapsWarning) for o in caught), (number, [str(o.message) for o in caught])
        counts['read'] += 1
        expected = sum(any(o.strip('\ufeff \t\n\r\x0b\x85\u2028') for o in row) for row in rows)
        unused = any('are not used: no deployment' in str(o.message) for o in caught)
        if whole: assert len(table) == expected or unused, (number, kind, expected, table)
    assert counts['read'] > 60 and counts['refused'] > 60, counts
