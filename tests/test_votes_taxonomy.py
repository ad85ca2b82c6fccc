"""Taxonomy: every name at its ranks and back, spellings of both sides, agreement, and regions."""
from dataclasses import astuple

import pandas as pd
import pytest
from fastcore.test import test_close as assert_close
from fastcore.test import test_eq as assert_eq
from fastcore.test import test_fail as assert_fail

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, NOT_ANIMALS, VEHICLE
from urbanrivers_camtraps.foundations.names import read_name, read_names
from urbanrivers_camtraps.votes import taxonomy
from urbanrivers_camtraps.votes.taxonomy import (
    ANIMAL,
    RANKS,
    SPECIAL_LABELS,
    TAXONOMY_FILE,
    UNKNOWN,
    Taxon,
    at_rank,
    in_region,
    rank_agreement,
    read_region,
    read_taxon,
    roll_up,
    taxon_name,
    taxon_of,
    write_taxon,
)

GOOSE = '427cd520-9264-420e-b1d1-6c9e6495b461;aves;anseriformes;anatidae;branta;canadensis;canada goose'
SWIFT = '4abf727d-f7e4-464b-9d07-f914049fe28b;aves;caprimulgiformes;apodidae;;;apodidae family'
NUTRIA = ';mammalia;rodentia;myocastoridae;myocastor;coypus;nutria'
MUSKRAT = ';mammalia;rodentia;cricetidae;ondatra;zibethicus;muskrat'


@pytest.fixture(scope='module')
def names():
    "The table of names."
    return read_names()


@pytest.fixture(scope='module')
def animals(names) -> pd.DataFrame:
    "The animals that are in use in the table of names."
    used = names.table[names.table.accepted == '']
    return used[~used.name.isin(NOT_ANIMALS)]


@pytest.fixture(scope='module')
def chicago() -> pd.DataFrame:
    "The list of Chicago."
    return read_region()


def test_labels_that_are_not_animals_or_not_labels():
    goose = read_taxon(GOOSE)
    for label in (SPECIAL_LABELS[BLANK], SPECIAL_LABELS[VEHICLE], SPECIAL_LABELS[ANIMAL], UNKNOWN): assert_eq(read_taxon(label).rank, None)
    assert_eq(read_taxon(SPECIAL_LABELS[HUMAN]).species, 'Homo sapiens')
    for odd in ('', ';'*5, ';'*7, None, 3.5): assert_fail(lambda: read_taxon(odd), contains='fields, not 7')
    assert_fail(lambda: read_taxon(';aves;anseriformes;anatidae;;canadensis;'), contains='of no genus')
    assert_fail(lambda: goose.at('kingdom'), contains="'kingdom' is not a rank")


def test_every_animal_of_our_names_and_back(names, animals):
    for name, rank in zip(animals.name, animals['rank']):  # every animal of names.csv, at its rank and at all above it
        taxon = taxon_of(name)
        assert taxon is not None and taxon.klass, name
        expected = {'subspecies': 'species', 'suborder': 'order'}.get(rank, rank)
        assert_eq((name, taxon.rank), (name, expected))
        assert all(taxon.at(o) for o in RANKS[RANKS.index(expected):]), name
        if rank not in ('subspecies', 'suborder'): assert_eq(taxon.at(rank), name)
        written = write_taxon(name)
        assert_eq(astuple(taxon_of(written))[:5], astuple(taxon)[:5])  # there and back
        if rank not in ('subspecies', 'suborder'): assert_eq(taxon_name(written), name)
    for name in SPECIAL_LABELS: assert_eq((taxon_name(SPECIAL_LABELS[name]), write_taxon(name)), (name, SPECIAL_LABELS[name]))
    for name in (BLANK, HUMAN, VEHICLE, None, float('nan'), '', 'thingamajig', UNKNOWN, SPECIAL_LABELS[HUMAN]): assert_eq(taxon_of(name), None)
    assert_eq(taxon_of('Animalia'), Taxon())
    assert_fail(lambda: write_taxon('thingamajig'), contains='its ranks are not known')

    table = pd.read_csv(TAXONOMY_FILE, dtype=str, keep_default_na=False)
    assert_eq(table.columns.tolist(), ['genus', 'family', 'order', 'class', 'source'])
    assert (table != '').all().all() and table.genus.is_unique and not table.duplicated().any()
    for lower, higher in (('family', 'order'), ('order', 'class')): assert_eq(table.groupby(lower)[higher].nunique().max(), 1)
    ranked = [set(table[o]) for o in ('genus', 'family', 'order', 'class')]
    assert_eq(len(set.union(*ranked)), sum(map(len, ranked)))  # no name at two ranks
    assert table.family.str.endswith('idae').all()
    assert table.order[table['class'] == 'Aves'].str.endswith('iformes').all()
    known = set.union(*ranked)
    assert {o.split()[0] for o in taxonomy._OUR_SPELLING.values()} | set(taxonomy._BETWEEN.values()) | set(taxonomy._WIDER.values()) <= known
    spelt = set(taxonomy._OUR_SPELLING)
    assert not spelt & (known | set(taxonomy._OUR_SPELLING.values()) | set(taxonomy._WIDER))
    assert not set(taxonomy._OUR_SPELLING) & set(names.table.name)  # nothing is said twice


def test_families_as_a_zoologist_knows_them():
    for name, family, order, klass in (
        ('Procyon lotor', 'Procyonidae', 'Carnivora', 'Mammalia'), ('Castor canadensis', 'Castoridae', 'Rodentia', 'Mammalia'),
        ('Neogale vison', 'Mustelidae', 'Carnivora', 'Mammalia'), ('Mephitis mephitis', 'Mephitidae', 'Carnivora', 'Mammalia'),
        ('Didelphis virginiana', 'Didelphidae', 'Didelphimorphia', 'Mammalia'), ('Ondatra zibethicus', 'Cricetidae', 'Rodentia', 'Mammalia'),
        ('Sylvilagus floridanus', 'Leporidae', 'Lagomorpha', 'Mammalia'), ('Blarina brevicauda', 'Soricidae', 'Eulipotyphla', 'Mammalia'),
        ('Odocoileus virginianus', 'Cervidae', 'Artiodactyla', 'Mammalia'), ('Eptesicus fuscus', 'Vespertilionidae', 'Chiroptera', 'Mammalia'),
        ('Nycticorax nycticorax', 'Ardeidae', 'Pelecaniformes', 'Aves'), ('Nannopterum auritum', 'Phalacrocoracidae', 'Suliformes', 'Aves'),
        ('Pandion haliaetus', 'Pandionidae', 'Accipitriformes', 'Aves'), ('Falco peregrinus', 'Falconidae', 'Falconiformes', 'Aves'),
        ('Cathartes aura', 'Cathartidae', 'Cathartiformes', 'Aves'), ('Megaceryle alcyon', 'Alcedinidae', 'Coraciiformes', 'Aves'),
        ('Junco hyemalis', 'Passerellidae', 'Passeriformes', 'Aves'), ('Passer domesticus', 'Passeridae', 'Passeriformes', 'Aves'),
        ('Chaetura pelagica', 'Apodidae', 'Apodiformes', 'Aves'), ('Chordeiles minor', 'Caprimulgidae', 'Caprimulgiformes', 'Aves'),
        ('Fulica americana', 'Rallidae', 'Gruiformes', 'Aves'), ('Actitis macularius', 'Scolopacidae', 'Charadriiformes', 'Aves'),
        ('Chelydra serpentina', 'Chelydridae', 'Testudines', 'Reptilia'), ('Trachemys scripta elegans', 'Emydidae', 'Testudines', 'Reptilia'),
        ('Apalone spinifera', 'Trionychidae', 'Testudines', 'Reptilia'), ('Nerodia sipedon', 'Colubridae', 'Squamata', 'Reptilia'),
        ('Lithobates catesbeianus', 'Ranidae', 'Anura', 'Amphibia'), ('Cyprinus carpio', 'Cyprinidae', 'Cypriniformes', 'Actinopterygii')):
        taxon = taxon_of(name)
        assert_eq((taxon.family, taxon.order, taxon.klass), (family, order, klass))

    deer, hoofed = ';mammalia;cetartiodactyla;cervidae;odocoileus;virginianus;white-tailed deer', ';mammalia;cetartiodactyla;;;;even-toed ungulate'
    assert_eq(taxon_of(deer).order, 'Artiodactyla')
    assert_eq((taxon_name(hoofed), taxon_of(hoofed).order), ('Artiodactyla', 'Artiodactyla'))
    assert_eq(taxon_of('g;mammalia;artiodactyla;suidae;sus;scrofa scrofa;domestic pig').species, 'Sus scrofa')
    lion = taxon_of('ddf59264-185a-4d35-b647-2785792bdf54;mammalia;carnivora;felidae;panthera;leo;lion')
    assert_eq((lion.species, lion.genus, lion.family, lion.klass, lion.common_name), ('Panthera leo', 'Panthera', 'Felidae', 'Mammalia', 'lion'))
    duiker = taxon_of(';mammalia;cetartiodactyla;bovidae;philantomba;monticola;blue duiker')  # not in our table, its family is
    assert_eq((duiker.genus, duiker.order), ('Philantomba', 'Artiodactyla'))
    elephant = taxon_of(';mammalia;proboscidea;elephantidae;;;elephant family')
    assert_eq((elephant.family, elephant.order, elephant.klass, elephant.rank), ('Elephantidae', 'Proboscidea', 'Mammalia', 'family'))
    assert_eq(taxon_name(';aves;accipitriformes;accipitridae;accipiter;striatus;'), 'Accipiter striatus')
    assert_eq(taxon_name(';mammalia;primates;hominidae;homo;;'), HUMAN)
    assert_eq(taxon_of('60eb9e56-9b25-4adf-9d95-59ca3dadfec6;reptilia;squamata;natricidae;thamnophis;proximus;western ribbonsnake').family, 'Colubridae')
    pileated = taxon_of('4358855e-64a1-4805-8481-8c6da9f21377;aves;piciformes;picidae;hylatomus;pileatus;pileated woodpecker')
    assert_eq((pileated.species, pileated.genus), ('Dryocopus pileatus', 'Dryocopus'))
    assert_eq(taxon_of('Rana catesbeiana').species, 'Lithobates catesbeianus')  # typed by a volunteer
    mouse = taxon_of('3368a7e3-469d-4cda-a062-3274749142fa;mammalia;rodentia;dipodidae;zapus;hudsonius;meadow jumping mouse')
    assert_eq((mouse.species, mouse.family), ('Zapus hudsonius', 'Zapodidae'))
    for label, ours in ((';mammalia;rodentia;dipodidae;;;dipodidae family', 'Rodentia'),
                        (';mammalia;carnivora;mustelidae;mustela;;weasel species', 'Mustelidae'),
                        (';mammalia;cetartiodactyla;;;;cetartiodactyla order', 'Artiodactyla'),
                        (';aves;passeriformes;parulidae;dendroica;aestiva;', 'Setophaga aestiva'),
                        (';aves;pelecaniformes;ardeidae;ixobrychus;exilis;least bittern', 'Botaurus exilis'),
                        (';aves;pelecaniformes;ardeidae;ardea;albus;great egret', 'Ardea alba'),
                        (';mammalia;carnivora;felidae;felis;silvestris lybica;african wild cat', 'Felis silvestris lybica')):
        assert_eq(taxon_name(label), ours)
    assert_eq(taxon_of(';mammalia;carnivora;felidae;felis;silvestris lybica;african wild cat').species, 'Felis silvestris')
    grizzly = taxon_of('601cf098-9876-4912-84bb-0926834305e9;mammalia;carnivora;ursidae;ursus;u. arctos;grizzly bear')  # a slip of the list
    assert_eq((grizzly.rank, grizzly.genus), ('genus', 'Ursus'))


def test_agreement_with_missing_and_unknown_names(animals):
    photographs = pd.DataFrame([
        ('Branta canadensis', GOOSE), ('Anas platyrhynchos', ';aves;anseriformes;anatidae;anas;;anas species'),
        ('Castor canadensis', ';mammalia;rodentia;;;;rodent'), ('Procyon lotor', SPECIAL_LABELS[BLANK]), ('human', SPECIAL_LABELS[HUMAN]),
        ('Chaetura pelagica', SWIFT), ('Larus delawarensis', UNKNOWN), (None, GOOSE)], columns=['label', 'speciesnet'])
    column = pd.Series(['Anas rubripes', None, 'blank', 'Aves', 'thingamajig', 'Homo sapiens', 'Anas rubripes'], index=[5, 5, 1, 2, 3, 4, 0], name='label')
    assert_eq(at_rank(column, 'family').tolist(), ['Anatidae', None, 'blank', None, None, 'human', 'Anatidae'])
    assert_eq(at_rank(column, 'class').tolist(), ['Aves', None, 'blank', 'Aves', None, 'human', 'Aves'])
    assert_eq((at_rank(column, 'class').index.tolist(), at_rank(column, 'class').name), ([5, 5, 1, 2, 3, 4, 0], 'label'))
    assert_eq(at_rank(pd.Series([], dtype=object), 'class').tolist(), [])
    assert_fail(lambda: at_rank(column, 'tribe'), contains="'tribe' is not a rank")
    assert_fail(lambda: rank_agreement(photographs, 'label', 'nobody'), contains='lacks nobody')
    assert_eq(rank_agreement(photographs.head(0), 'label', 'speciesnet').share.isna().all(), True)
    same = rank_agreement(animals, 'name', 'name')
    assert_eq((same.share == 1).all(), True)
    assert_eq(same.photographs.is_monotonic_increasing and same.photographs.iloc[-1], len(animals))
    both = rank_agreement(photographs.rename(columns={'label': 'b', 'speciesnet': 'a'}), 'a', 'b')
    pd.testing.assert_frame_equal(both, rank_agreement(photographs, 'label', 'speciesnet'))  # nobody is the truth here


def test_the_list_of_chicago_and_other_lists(animals, chicago, tmp_path):
    assert chicago.name.is_unique and 150 <= len(chicago) <= 300 and (chicago != '').all().all()
    for name in chicago.name:
        taxon = taxon_of(name)
        assert_eq(taxon.species, name)  # as we write it
        assert taxon.klass and taxon.family, f'{name} has no row in taxonomy.csv'
        assert read_name(name).rank == 'species', name
    far = animals.name[~in_region(animals.name, chicago)]
    assert_eq(set(far), {'Puma concolor', 'Ursus americanus', 'Cervus canadensis', 'Sus scrofa', 'Bos taurus',
                         'Otospermophilus beecheyi'})  # all others live here
    odd = pd.Series([None, 'thingamajig', UNKNOWN, SPECIAL_LABELS[ANIMAL], SPECIAL_LABELS[HUMAN], 'Homo sapiens',
                     'Anas platyrhynchos x rubripes', 'Puma'], index=[3]*8)
    assert_eq(in_region(odd, chicago).tolist(), [False, False, False, True, True, True, True, False])
    assert_eq(in_region(odd, chicago).dtype, bool)
    assert_eq(in_region(pd.Series(['Dryobates villosus', ';aves;piciformes;picidae;hylatomus;pileatus;']), chicago).all(), True)
    own = tmp_path/'ohio.csv'
    own.write_text('name,source\nMallard,a friend\n')
    assert_eq(in_region(pd.Series(['Anas platyrhynchos', 'Anas', 'Aves', 'Branta']), read_region(own)).tolist(), [True, True, True, False])
    own.write_text('name,source\nAves,a friend\n')
    assert_fail(lambda: read_region(own), contains="'Aves' is not a species")
    own.write_text('animal\nMallard\n')
    assert_fail(lambda: read_region(own), contains='lacks name, source')
    own.write_bytes(b'name,source\n\xff\xfe,x')
    assert_fail(lambda: read_region(own), contains='is not a species')
    assert_fail(lambda: read_region('nowhere.csv'), contains='there is no such table')


def test_rolling_up(chicago):
    assert_close(roll_up([NUTRIA, MUSKRAT], [.6, .3], chicago)[1], .9)
    lion = ';mammalia;carnivora;felidae;panthera;leo;lion'
    assert_eq(roll_up([lion], [.9], chicago)[0].split(';')[3:5], ['felidae', ''])
    assert_eq(roll_up([lion], [.6], chicago), (UNKNOWN, .6))
    assert_eq(roll_up([lion], [.6], chicago, threshold=.6)[0].split(';')[3], 'felidae')
    assert_eq(roll_up([lion, GOOSE], [.4, .3], chicago)[0], SPECIAL_LABELS[ANIMAL])  # only together
    assert_eq(roll_up([lion, SPECIAL_LABELS[BLANK]], [.5, .45], chicago), (UNKNOWN, .5))  # a blank is no animal
    assert_eq(roll_up([SPECIAL_LABELS[BLANK], lion], [.5, .45], chicago), (SPECIAL_LABELS[BLANK], .5))
    assert_eq(roll_up([UNKNOWN, lion], [.5, .45], chicago), (UNKNOWN, .5))
    assert_eq(roll_up([lion, GOOSE], [.3, .7], chicago), (GOOSE, .7))  # the best need not come first
    ostrich = ';aves;struthioniformes;struthionidae;struthio;camelus;common ostrich'
    assert_eq(roll_up([ostrich], [.9], chicago)[0], ';aves;;;;;bird')
    scorpion = ';arachnida;scorpiones;;;;scorpion'
    assert_eq(roll_up([scorpion], [.9], chicago), (SPECIAL_LABELS[ANIMAL], .9))
    assert_fail(lambda: roll_up([], [], chicago), contains='0 labels')
    assert_fail(lambda: roll_up([lion], [.5, .5], chicago), contains='do not belong together')
    assert in_region(pd.Series([roll_up([o], [.9], chicago)[0] for o in (lion, ostrich, scorpion, NUTRIA)]), chicago).all()
