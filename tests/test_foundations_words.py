"""What projects and programs call people, vehicles and blanks, in any language, and the animals whose names hold such a word."""
import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import BLANK, HUMAN, VEHICLE, collect_notices
from urbanrivers_camtraps.foundations.names import (
    class_name,
    label_meaning,
    read_labels,
    read_name,
    standard_labels,
    taken_for_animals,
)
from urbanrivers_camtraps.foundations.privacy import names_people, shows_people

PEOPLE = ['humans', 'HUMAN', 'Persona', 'personas', 'Menschen', 'mensch', 'Personne', 'pessoas', 'Persone', 'mensen', 'Człowiek', 'ludzie',
    'människa', 'menneske', 'ihminen', 'люди', 'Человек', '人', '人类', 'ヒト', '사람', 'manusia', 'orang', 'Homo_sapiens', 'homo sapiens',
    'hiker', 'Hikers', 'cyclist', 'staff', 'researcher', 'setup_pickup', 'Setup Pickup', 'maintenance', 'kayaker', 'Human-Camera Trapper',
    'person 1', 'person_2', 'Persons (2)', 'person_dog', 'human, raccoon', 'raccoon;human', 'dog walker', 'dog-walker', 'person with dog',
    'People / Dogs', 'PEATÓN', 'peaton', 'Fußgänger', 'fussganger', 'pedestrian', 'unknown person', 'camera trapper', 'human being',
    'Human&dog', 'man', 'women', 'children', 'fisherman', 'Fishermen', 'horse rider',
    'wędkarz', 'Wedkarz', 'dzieci', 'kinderen', 'Fischer', 'pescatore', 'рыбак', 'human-other',
    'homo~sapiens', 'Homo.sapiens', 'HOMO-SAPIENS', 'people & dogs', 'person(s)', '[person]', '*human*', 'human?', '"human"', 'person@camera',
    'Person#2', 'people~', 'human.dog', 'human~dog', 'people-dogs', 'hiker-with-dog', 'person-vehicle', 'human:adult', 'class:human',
    'h\u200buman', 'Ｈｕｍａｎ', 'Homo sapiens Linnaeus, 1758', 'Homosapien', 'homo sp.', 'dog and owner', 'mountain biker 3 + dog', 'human🙂',
    'Homo_sapiens_sapiens', 'baby', 'Birder']
VEHICLES = ['vehicle', 'Vehicles', 'car', 'Cars', 'boat', 'BOATS', 'bicycle', 'Fahrzeug', 'vehículo', 'vehiculo', 'Véhicule', 'veículo',
    'auto', 'pojazd', 'fordon', 'kjøretøy', 'ajoneuvo', 'машина', '车辆', '車', 'kendaraan', 'kayak', 'motorcycle', 'ATV',
    'official vehicle', 'water craft', 'car 2', 'Car_1', 'human vehicle', 'truck']
NOTHING = ['blank', 'Blanks', 'empty', 'EMPTY', 'nothing', 'none', 'false trigger', 'False_Trigger', 'no animal', 'No_Animals', 'ghost',
    'Misfire', 'vacio', 'vacío', 'Vacía', 'leer', 'vide', 'tom', 'vazio', 'vuoto', 'leeg', 'pusty', 'tyhjä', 'tyhja', 'пусто', '空',
    'なし', 'kosong', 'no detection', 'background', 'nothing here', 'f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank', 'blank/empty',
    'no_animal_detected']
ANIMALS = ['non-human', 'Nonhuman primate 2', 'human flea (2)', 'boat-tailed grackle, male', 'Man-o-war', 'Manatee',
    'human botfly', 'Human Flea', 'boat-tailed grackle', 'Boat-tailed Grackle', 'Boatbill', 'boat-billed heron', 'Manx',
    'Manx shearwater', 'carpet python', 'peopleless', 'Procyon lotor', 'fisher', 'Fisher', 'kingfisher', 'roadrunner',
    'Greater Roadrunner', 'monk parakeet', 'orang utan', 'orangutan', 'cardinal', 'Vanellus', 'Carcharias', 'Homoptera', 'Canis lupus',
    'cariblanco', 'emptysis', 'Tomistoma', 'tomtit', 'muskrat', 'ovenbird', 'car-killed raccoon', 'non-human primate', 'unknown', 'animal',
    'other', 'no cv result', 'unclassified', '', ' ', '___', 'Aves', 'Lepus', 'Mandrill', 'Boa constrictor', 'Carduelis', 'wheelbug']


@pytest.mark.parametrize('label, meaning', [(o, HUMAN) for o in PEOPLE] + [(o, VEHICLE) for o in VEHICLES] + [(o, BLANK) for o in NOTHING] + [(o,
    None) for o in ANIMALS])
def test_what_a_label_means(label, meaning):
    assert label_meaning(label) == meaning
    assert names_people(label) == (meaning in (HUMAN, VEHICLE))
    if meaning: assert class_name(label) == meaning


@pytest.mark.parametrize('label', [None, float('nan'), 3, pd.NA, []])
def test_what_is_no_text_means_nothing(label):
    assert not names_people(label)


def test_letters_composed_or_not_are_one():
    assert label_meaning('vehi\u0301culo') == label_meaning('veh\u00edculo') == VEHICLE
    assert label_meaning('ＨＵＭＡＮ') == HUMAN  # as a Japanese keyboard writes it


def test_every_word_of_the_table_is_read_as_it_stands_there():
    from urbanrivers_camtraps.foundations.names import _read_words
    for word, (meaning, _) in _read_words().items(): assert (label_meaning(word) or 'animal') == meaning, word


def test_votes_in_other_words():
    votes = pd.DataFrame([('Person', None), ('vehículo', None), ('EMPTY', None), ('Animal', 'Procyon lotor'), ('animal', 'Homo sapiens'), ('animal', 'none'),
                          ('animal', 'person'), ('unknown', None), (None, 'leer'), (None, None)], columns=['observation_type', 'scientific_name'])
    labels, _ = read_labels(votes)
    assert labels.where(labels.notna(), '-').tolist() == [HUMAN, VEHICLE, BLANK, 'Procyon lotor', HUMAN, '-', HUMAN, '-', BLANK, BLANK]


def test_a_name_with_an_author_or_a_doubt_is_still_a_person():
    assert read_name('Homo sapiens Linnaeus, 1758').label == HUMAN and read_name('Unidentified hiker').label == HUMAN


@pytest.mark.parametrize('folder, people', [('humans', True), ('Persona', True), ('vehicles', True), ('water craft', True), ('person_dog', True),
    ('Car_Park', False),
                                            ('Boat_Ramp', False), ('cam1', False), ('Bicycle path', False), ('raccoon', False)])
def test_folders_of_people_and_places(folder, people):
    for path in (f'images/{folder}/1.jpg', f'C:\\images\\{folder}\\1.jpg'): assert shows_people(pd.DataFrame({'path': [path]})).tolist() == [people]


def test_labels_that_nobody_knows_are_told():
    from urbanrivers_camtraps.survey.events import make_events
    assert taken_for_animals(['fish tank', 'Canada Goose', 'humans', None, 'blank', 'Kayak tour', 'Kayak tour']) == ['Kayak tour', 'fish tank']
    seen = pd.DataFrame({'media_id': list('abc'), 'deployment_id': 'c', 'timestamp': pd.to_datetime(['2025-06-01', '2025-06-02', '2025-06-03'], utc=True),
                         'label': ['Kayak tour', 'humans', 'empty']})
    with collect_notices() as told: events = make_events(seen)
    assert events.label.tolist() == ['Kayak tour', HUMAN] and told[0].startswith('1 labels were taken for animals: Kayak tour')
    assert standard_labels(pd.Series(['Humans', None], index=[3, 3])).tolist() == [HUMAN, None]
