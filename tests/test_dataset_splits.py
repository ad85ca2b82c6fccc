"""Splits: no group on two sides, each class in proportion, the test set stays, and what cannot be split is named."""
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.dataset.bursts import GROUP_COLUMNS
from urbanrivers_camtraps.dataset.splits import (
    DatasetError,
    add_folds,
    class_level,
    content_hash,
    hard_to_split,
    read_folder,
    split_by_date,
    split_counts,
    split_photographs,
)
from urbanrivers_camtraps.foundations.core import CamtrapsError, collect_notices
from urbanrivers_camtraps.foundations.holdout import split_hash


@pytest.fixture(scope='module')
def made() -> pd.DataFrame:
    "Four hundred photographs in bursts of four, at eight deployments."
    made = pd.DataFrame({'media_id': [f'm{o:03}' for o in range(400)], 'burst_id': [f'b{o//4:03}' for o in range(400)]})
    made['deployment_id'] = made.burst_id.map(lambda o: f'd{int(o[1:])%8}')
    made['location_id'] = made.deployment_id.map(lambda o: f'l{int(o[1:])//2}')
    drawn = np.random.default_rng(7).choice(['Branta canadensis', 'Anas platyrhynchos', 'blank'], 100, p=[.5, .3, .2])
    return made.assign(label=made.burst_id.map(dict(zip(made.burst_id.unique(), drawn))))


def test_each_class_in_proportion(made):
    counts = split_counts(split_photographs(made))
    assert ((counts.valid/(counts.train + counts.valid)) - .25).abs().max() < .08
    assert .1 < counts.test.sum()/len(made) < .3


def test_a_seed_decides(made):
    split = split_photographs(made)
    assert split_photographs(made, seed=1).split.ne(split.split).any()
    assert split_photographs(made).split.tolist() == split.split.tolist()


@pytest.mark.parametrize('by', ['image', 'burst', 'deployment', 'location'])
@pytest.mark.parametrize('seed', [1, 2, 3])
def test_no_group_on_two_sides(made, by, seed):
    split = split_photographs(made, by, seed=seed)
    assert split.groupby(GROUP_COLUMNS[by]).split.nunique().max() == 1
    assert add_folds(split, by, seed=seed).groupby(GROUP_COLUMNS[by]).fold.nunique().max() == 1


def test_by_date(made):
    hours = pd.to_datetime('2024-02-03', utc=True) + pd.to_timedelta(made.index//4*97, 'min')
    dated = split_photographs(made.assign(timestamp=hours), 'date')
    assert dated.groupby(hours.date).split.nunique().max() == 1


@pytest.mark.parametrize('shares', [(-.1, .2), (.2, 0), (.6, .2), (.2, .5)])
def test_shares_that_make_no_sense(made, shares):
    with pytest.raises(CamtrapsError, match='cannot set'): split_photographs(made, 'image', *shares)


def test_copies_of_a_file_stay_together(made):
    pairs = made.assign(sha256=made.index//2)
    assert split_photographs(pairs, 'image').groupby('sha256').split.nunique().max() == 1


def test_a_location_is_taken_from_the_deployment(made):
    nowhere = made.assign(location_id=made.location_id.where(made.index % 5 > 0))
    assert split_photographs(nowhere, 'location').split.tolist() == split_photographs(made, 'location').split.tolist()


def test_an_index_that_repeats_does_no_harm(made):
    twice = split_photographs(pd.concat([made.head(200), made.tail(200).reset_index(drop=True)]))
    assert twice.split.tolist() == split_photographs(made).split.tolist()


@pytest.mark.parametrize('change, by, complaint', [
    (lambda o: o, 'moon', 'image, burst, deployment, location'),
    (lambda o: o.drop(columns='burst_id'), 'burst', 'lacks burst_id'),
    (lambda o: o[o.deployment_id == 'd1'], 'deployment', r'all \(1 deployment\)')])
def test_what_cannot_be_split_is_named(made, change, by, complaint):
    with pytest.raises(CamtrapsError, match=complaint): split_photographs(change(made), by)


def test_the_test_set_stays_for_any_addition(made):
    for count in (120, 200, 320):
        early = split_photographs(made.head(count))
        late = split_photographs(made)
        assert (late.split.head(count) == 'test').tolist() == (early.split == 'test').tolist()


@pytest.mark.parametrize('seed', range(20))
def test_no_class_is_missing_in_the_test_set(made, seed):
    "Ten bursts of skunks, eight of them long: a hash of each burst alone holds out none of them in one of nine seeds."
    skunks = pd.DataFrame({'burst_id': [f'c{o//9}' for o in range(90)], 'media_id': [f's{o:02}' for o in range(90)]})
    table = pd.concat([made, skunks.assign(label='Mephitis mephitis', deployment_id='d1')], ignore_index=True)
    split = split_photographs(table, seed=seed)
    held = split[split.split == 'test'].groupby('label').burst_id.nunique()
    assert held['Mephitis mephitis'] == 2 and held.sum() == pytest.approx(.2*110, abs=3)


def test_older_photographs_move_nothing_either(made):
    late = made[made.index//4 % 3 > 0]
    before = split_photographs(late).set_index('media_id').split
    after = split_photographs(made, before=split_photographs(late)).set_index('media_id').split
    assert (after[before.index] == 'test').tolist() == (before == 'test').tolist() and (after == 'test').sum() > (before == 'test').sum()


def test_nothing_has_to_be_held_out(made):
    few = made[made.burst_id.isin(made.drop_duplicates('burst_id').groupby('label').head(2).burst_id)]
    assert set(split_photographs(few, test=0).split) == {'train', 'valid'}
    before = split_photographs(made)
    with collect_notices() as notices: opened = split_photographs(made, test=0, before=before)
    assert (opened.split != 'test').all() and notices == [f"{(before.split == 'test').sum()} photographs that were held out are so no longer"]
    assert split_photographs(made, before=opened).split.tolist() == before.split.tolist()


def test_folds_are_in_proportion_and_as_many_as_can_be(made):
    assert add_folds(made, 'deployment', 20).fold.nunique() == 8  # there are no more deployments
    with pytest.raises(CamtrapsError, match='1 deployment'): add_folds(made[made.deployment_id == 'd1'], 'deployment')
    folds = add_folds(made)
    shares = pd.crosstab(folds.label, folds.fold, normalize='index')
    assert shares.sub(.2).abs().max(axis=None) < .12


def test_what_to_do_with_rare_classes(made):
    few = pd.concat([made, made.tail(2).assign(label='Lontra canadensis', burst_id=['b998', 'b999'])], ignore_index=True)
    assert hard_to_split(few).what_to_do.tolist() == ['Judge it with care: add 3 more bursts']
    assert 'or split by burst' in hard_to_split(made.head(4), 'deployment').what_to_do[0]
    assert hard_to_split(made).empty


def test_hashes_of_content():
    table = pd.DataFrame({'sha256': ['a', 'b'], 'label': ['blank', 'Aves'], 'split': ['train', 'test']})
    assert content_hash(table) == 'f9dacb6da81059aa' and split_hash(table) == 'dfb27c935efe8b30'  # names of versions that are published


def fill(folder: Path, layout: str, number: int = 3) -> None:
    "Draw photographs of two classes at two places in a layout such as `{label}/{place}`."
    shade = 0
    for label in ('Procyon_lotor', 'Branta_canadensis'):
        for place in ('Weir', 'Park'):
            for count in range(number):
                path = folder/layout.format(label=label, place=place, split=('train', 'val')[count % 2])/f'{place}_{count}.JPG'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (40, 30), (shade := shade + 9, 0, 0)).save(path)


@pytest.mark.parametrize('layout', ['{label}', '{label}/{place}', '{label}/{place}/DCIM/100MEDIA',
                                    '{place}/{label}', '{split}/{label}', '{split}/{label}/{place}', 'all/{label}/{place}'])
def test_every_photograph_of_a_folder_is_found(layout, tmp_path):
    fill(tmp_path, layout, 9)
    photographs, skipped = read_folder(tmp_path)
    assert len(photographs) == 36 and skipped.empty and photographs.media_id.is_unique
    assert photographs.label.value_counts().to_dict() == {'Procyon lotor': 18, 'Branta canadensis': 18}


def test_half_of_the_photographs_by_place(tmp_path):
    fill(tmp_path, '{label}', 4)
    fill(tmp_path, '{label}/{place}', 5)
    with collect_notices() as notices: photographs, skipped = read_folder(tmp_path)
    assert (len(photographs), len(skipped)) == (36, 0) and any('20 photographs stand deeper than one folder' in o for o in notices)


def test_what_stands_in_no_class_folder_is_listed(tmp_path):
    fill(tmp_path, '{label}')
    Image.new('RGB', (40, 30)).save(tmp_path/'loose.jpg')
    (tmp_path/'Procyon_lotor'/'film.MP4').write_bytes(b'')
    photographs, skipped = read_folder(tmp_path)
    assert len(photographs) == 12
    assert skipped.values.tolist() == [[str(tmp_path/'Procyon_lotor'/'film.MP4'), 'is a video (MP4), which is not read. Save frames of it as JPEG'],
                                       [str(tmp_path/'loose.jpg'), 'stands in no class folder']]
    with pytest.raises(DatasetError, match='no such file or folder'): read_folder(tmp_path/'nowhere')


def test_a_list_with_labels_is_relative_to_itself(tmp_path, monkeypatch):
    fill(tmp_path/'photos', '{label}', 1)
    (tmp_path/'photos'/'list.csv').write_text(
        'path,label\nProcyon_lotor/Weir_0.JPG,Procyon lotor\nBranta_canadensis/Park_0.JPG,empty\nnone.JPG,empty\n', encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    photographs, skipped = read_folder(tmp_path/'photos'/'list.csv')
    assert photographs.label.tolist() == ['Procyon lotor', 'blank'] and len(skipped) == 1


@pytest.mark.parametrize(('folders', 'level'), [([('kind a', 'Goose Island'), ('kind b', 'Weir'), ('kind c', 'Park')], 0),
                                                ([('a', 'b')], 0), ([], 0), ([()], 0), ([('2025', 'raccoon', 'night'), ('2024', 'blank', 'day')], 1)])
def test_the_level_of_class_folders(folders, level): assert class_level(folders) == level


def test_by_day_nothing_later_is_trained_on_and_no_burst_is_divided(made):
    "Each burst of four takes three seconds, and begins two seconds before Chicago's midnight, 05:00 UTC in summer."
    begins = pd.Timestamp('2024-05-02 04:59:58', tz='UTC') + pd.to_timedelta(made.index//4, 'D')
    dated = made.assign(timestamp=begins + pd.to_timedelta(made.index % 4, 's'))
    split = split_by_date(dated, '2024-06-15', 'America/Chicago')
    assert split.groupby('burst_id').split.nunique().max() == 1
    assert dated.timestamp[split.split != 'test'].max() < pd.Timestamp('2024-06-16', tz='America/Chicago')
    assert (split.split == 'test').sum() == 55*4  # of 100 bursts, the 45th ends on 15 June, 44 days after the first
    unknown = split_by_date(dated.assign(timestamp=dated.timestamp.where(dated.index >= 4)), '2024-06-15', 'America/Chicago')
    assert unknown.split[:4].eq('none').all() and unknown.split[4:].ne('none').all()


def test_a_day_that_cannot_be_used_is_refused(made):
    dated = made.assign(timestamp=pd.Timestamp('2024-05-01', tz='UTC') + pd.to_timedelta(made.index//4, 'D'))
    with pytest.raises(DatasetError, match='Write it like'): split_by_date(dated, '5/6/2024', 'UTC')
    with pytest.raises(DatasetError, match='nothing in test'): split_by_date(dated, '2025-01-01', 'UTC')
    with pytest.raises(DatasetError, match='Name the time zone'): split_photographs(dated, until='2024-06-01')
    with pytest.raises(CamtrapsError, match='not known'): split_by_date(dated, '2024-06-01', 'Mars/Olympus')


def test_class_folders_that_no_table_knows_are_told(tmp_path):
    for number, name in enumerate(('Procyon_lotor', 'humans', 'xylophone')):
        (tmp_path/name).mkdir()
        Image.new('RGB', (64, 48), (number, 20, 30)).save(tmp_path/name/'1.jpg')
    with collect_notices() as notices: photographs, _ = read_folder(tmp_path)
    assert sorted(photographs.label) == ['Procyon lotor', 'human', 'xylophone']
    assert [o for o in notices if 'taken for animals' in o][0].startswith('1 labels were taken for animals: xylophone')
