"""Near-duplicates: none is missed that must be found, and what is not known does no harm."""
import numpy as np
import pandas as pd

from urbanrivers_camtraps.dataset.bursts import add_bursts
from urbanrivers_camtraps.dataset.duplicates import merge_bursts, near_duplicates

CLOCK = ('06:00:00', '06:00:01', '06:30:00', '06:30:02', '09:30:00', '06:10:00', '06:10:00')
HASHES = (0xf0, 0xff, 0xfe, 0x0fffff0000000000, 0xf7, 0xff, 0xffff0000ffff0000)
#: Two bursts of one occasion that look alike, and photographs elsewhere that do, too.
SEEN = add_bursts(pd.DataFrame({
    'media_id': list('abcdefg'), 'deployment_id': ['dock']*5 + ['wall']*2, 'label': ['goose']*6 + ['blank'],
    'timestamp': pd.to_datetime([f'2024-02-03 {o}' for o in CLOCK], utc=True), 'phash': [f'{o:016x}' for o in HASHES]}))


def joining(photographs: pd.DataFrame) -> list[list[str]]:
    "The pairs that join bursts."
    pairs = near_duplicates(photographs)
    return pairs[pairs.relation == 'occasion'][['media_id', 'other_id']].values.tolist()


def test_a_folder_has_no_occasions():
    plain = SEEN[['media_id', 'label', 'phash']]
    assert set(near_duplicates(plain).relation) == {'not known'}
    assert merge_bursts(plain, near_duplicates(plain)).equals(plain)


def test_nothing_to_compare():
    for few in (SEEN.head(0), SEEN.head(1), SEEN.assign(phash=None)): assert near_duplicates(few).empty


def test_the_order_of_photographs_does_not_matter():
    assert joining(SEEN.iloc[::-1]) == joining(SEEN) == [['b', 'c']]


def test_the_window():
    assert joining(SEEN) and near_duplicates(SEEN, window='10min').relation.ne('occasion').all()


def test_the_columns():
    assert list(near_duplicates(SEEN)) == ['media_id', 'other_id', 'distance', 'relation', 'apart', 'deployment_id',
                                           'other_deployment_id', 'label', 'other_label']


def test_a_missing_burst_stays_missing():
    pairs = near_duplicates(SEEN)
    assert merge_bursts(SEEN.assign(burst_id=SEEN.burst_id.where(SEEN.index != 4)), pairs).burst_id.isna().sum() == 1


def test_none_is_missed_at_four_bits():
    generator = np.random.default_rng(3)
    base = generator.integers(0, 2**63, 300, dtype=np.uint64)
    flipped = base.copy()
    for _ in range(4): flipped ^= np.uint64(1) << generator.integers(0, 64, 300, dtype=np.uint64)
    hashes = [f'{o:016x}' for o in np.concatenate([base, flipped])]
    found = near_duplicates(pd.DataFrame({'media_id': [f'{o:04}' for o in range(600)], 'phash': hashes}))
    assert set(zip(found.media_id, found.other_id)) == {(f'{o:04}', f'{o + 300:04}') for o in range(300)}
