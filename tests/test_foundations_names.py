"""Names as people type them, the table of names, and what visitors read."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanrivers_camtraps.foundations.core import BLANK, VEHICLE, TableError
from urbanrivers_camtraps.foundations.names import SPECIES_RANKS, common_name, is_species_rank, read_name, read_names
from urbanrivers_camtraps.foundations.sandbox import SANDBOX_SPECIES

GOOSE = ('Branta canadensis', 'species', True)


def reading(typed) -> tuple:
    return tuple(vars(read_name(typed)).values())


@pytest.mark.parametrize('typed', [
    'BRANTA CANADENSIS', 'branta\u00a0canadensis', 'Branta_canadensis', 'Branta canadensis (Linnaeus, 1758)', 'Canada goose',
    'Canada geese', 'branta canadensis linnaeus, 1758', 'Branta canadensis (Linnaeus 1758)', 'Branta canadensis Linnaeus',
    'Branta canadensis.'])
def test_one_goose_in_many_spellings(typed):
    assert read_name(typed).label == GOOSE[0]
    if 'linnaeus, 1758' not in typed: assert reading(typed) == GOOSE


@pytest.mark.parametrize('typed, expected', [
    ('Chelydra  Serpentina ', ('Chelydra serpentina', 'species', True)),
    ('neovision Vision', ('Neogale vison', 'species', True)), ('Neovison vison', ('Neogale vison', 'species', True)),
    ('mustela vison', ('Neogale vison', 'species', True)),
    ('Turdus migratorius L.', ('Turdus migratorius', 'species', True)),
    ('Sciurus carolinensis Gmelin', ('Sciurus carolinensis', 'species', True)),
    ('Poecile atricapillus (Linnaeus & Gmelin, 1766)', ('Poecile atricapillus', 'species', True)),
    ('Trachemys scripta ssp. elegans', ('Trachemys scripta elegans', 'subspecies', True)),
    ('Trachemys scripta', ('Trachemys scripta', 'species', True)),
    ('Aves', ('Aves', 'class', True)), ('Leporidae', ('Leporidae', 'family', True)), ('bird', ('Aves', 'class', True)),
    ('Anatidae', ('Anatidae', 'family', True)), ('Larus', ('Larus', 'genus', True)),
    ('Laridae Rafinesque, 1815', ('Laridae', 'family', True)),
    ('Anas sp.', ('Anas', 'genus', True)), ('Anas spp', ('Anas', 'genus', True)),
    ('Anas cf. platyrhynchos', ('Anas', 'genus', True)), ('Anas platyrhynchos?', ('Anas', 'genus', True)),
    ('Bird sp.', ('Aves', 'class', True)), ('Unknown bird', ('Aves', 'class', True)),
    ('cf. Anas platyrhynchos', ('Anas platyrhynchos', 'species', True)),
    ('Anas platyrhynchos x rubripes', ('Anas platyrhynchos × Anas rubripes', 'hybrid', True)),
    ('anas platyrhynchos X ANAS RUBRIPES', ('Anas platyrhynchos × Anas rubripes', 'hybrid', True)),
    ('Homo sapiens', ('human', 'none', True)),
    ('unknown', (None, 'none', False)), (None, (None, 'none', True)), (' ', (None, 'none', True)),
    (float('nan'), (None, 'none', True)), ('\u00a0', (None, 'none', True))])
def test_what_was_typed(typed, expected):
    assert reading(typed) == expected


@pytest.mark.parametrize('typed, expected', [
    ('Grus Americana', ('Grus americana', 'species', False)), ('Grus americana (Linnaeus, 1758)', ('Grus americana', 'species', False)),
    ('Branta canadensis maxima', ('Branta canadensis', 'species', False)), ('Gruidae', ('Gruidae', 'family', False))])
def test_names_that_are_well_typed_and_not_in_the_table(typed, expected):
    assert reading(typed) == expected


def test_an_unknown_name_is_read_by_its_shape():
    assert [reading(o)[1] for o in ('Apodiformes', 'Parulinae', 'thingamajig', 'x1', 'x')] == ['order', 'subfamily', *['unknown']*3]


def test_every_name_of_the_table_reads_as_itself():
    for name, meant in read_names().accepted.items():
        for spelling in (name, name.upper(), name.title(), f' {name.replace(" ", "_")} '): assert read_name(spelling).label == meant
        again = read_name(meant)
        assert (read_name(again.label).label, read_name(again.label).rank) == (again.label, again.rank)


@settings(deadline=None, max_examples=200, database=None)
@given(st.text(max_size=40))
def test_no_text_raises(text):
    found = read_name(text)
    assert found.label is None or found.label.strip()
    assert found.rank not in SPECIES_RANKS or ' ' in found.label


@pytest.mark.parametrize('text, reason', [
    (b'name,accepted\nGhost,Nowhere at all\n', "accepted 'Nowhere at all' has no row"), (b'name,rank\nGhost,\n', 'neither a rank nor'),
    (b'name,rank,common_name\nGhost ghost,species,Mallard\n', "'mallard' is the common name of two"), (b'what\nGhost\n', 'lacks name'),
    (b'name\n\xff\xfe\xfa', r'has neither a rank nor an accepted name')])
def test_mistakes_in_a_table(tmp_path, text, reason):
    (tmp_path/'names.csv').write_bytes(text)
    with pytest.raises(TableError, match=reason): read_names(tmp_path/'names.csv')


def test_a_table_of_ones_own(tmp_path, monkeypatch):
    own = tmp_path/'names.csv'
    own.write_text('name,accepted,rank,common_name\nAccipiter cooperii,,species,\nAstur cooperii,Accipiter cooperii,,\n'
                   'Lampsilis siliquoidea,,species,Fatmucket\nEmydid,Emydidae,,\n')
    accepted = read_names(own).accepted
    assert [accepted[o] for o in ('astur cooperii', 'fatmucket', 'emydid')] == ['Accipiter cooperii', 'Lampsilis siliquoidea', 'Emydidae']
    own.write_text('name,rank,common_name\nBranta canadensis,species,Kanadagans\n')
    monkeypatch.setenv('CAMTRAPS_NAMES', str(own))
    assert (common_name('Branta canadensis'), read_name('kanadagans').label) == ('Kanadagans', 'Branta canadensis')
    monkeypatch.setenv('CAMTRAPS_NAMES', 'nowhere.csv')
    with pytest.raises(TableError, match='nowhere.csv: there is no such table'): common_name('Branta canadensis')


def test_names_that_other_pages_rely_on():
    "The first eight are those of the original page."
    names = {
        'Actitis macularius': 'Spotted Sandpiper', 'Anas platyrhynchos': 'Mallard', 'Branta canadensis': 'Canada Goose',
        'Castor canadensis': 'North American Beaver', 'Sylvilagus floridanus': 'Eastern Cottontail',
        'Trachemys scripta elegans': 'Red-eared Slider', 'Turdus migratorius': 'American Robin', BLANK: 'No Animal Detected',
        'human': 'Human', VEHICLE: 'Vehicle', 'Aix sponsa': 'Wood Duck', 'Ardea herodias': 'Great Blue Heron', 'Bos taurus': 'Cattle',
        'Canis latrans': 'Coyote', 'Cervus canadensis': 'Elk', 'Chelydra serpentina': 'Snapping Turtle',
        'Didelphis virginiana': 'Virginia Opossum', 'Lynx rufus': 'Bobcat', 'Mephitis mephitis': 'Striped Skunk',
        'Neovison vison': 'American Mink', 'Nycticorax nycticorax': 'Black-crowned Night Heron', 'Ondatra zibethicus': 'Muskrat',
        'Otospermophilus beecheyi': 'California Ground Squirrel', 'Procyon lotor': 'Raccoon', 'Puma concolor': 'Mountain Lion',
        'Rattus norvegicus': 'Brown Rat', 'Sciurus carolinensis': 'Eastern Gray Squirrel', 'Sus scrofa': 'Wild Boar',
        'Tamias striatus': 'Eastern Chipmunk', 'Vulpes vulpes': 'Red Fox'}
    assert {o: common_name(o) for o in names} == names


def test_ranks_that_are_too_high_for_a_class():
    assert not any(is_species_rank(o) for o in ('Aves', 'Canis', 'Anas platyrhynchos × Anas rubripes'))


def test_the_table_knows_the_species_of_the_practice_server():
    assert [o for o in SANDBOX_SPECIES if not read_name(o).known] == []
