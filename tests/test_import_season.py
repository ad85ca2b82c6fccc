"""Results of other programs become seasons: equal after a round trip, never a species by guess, and nothing lost without a word."""
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.dataset.bursts import add_bursts
from urbanrivers_camtraps.evaluation.burst_predictions import burst_predictions
from urbanrivers_camtraps.foundations.core import collect_notices
from urbanrivers_camtraps.foundations.outputs import overwriting
from urbanrivers_camtraps.foundations.predictions import Predictions, score_matrix
from urbanrivers_camtraps.foundations.privacy import shows_people
from urbanrivers_camtraps.foundations.sandbox import make_sandbox
from urbanrivers_camtraps.foundations.tables import read_settings
from urbanrivers_camtraps.inference.import_season import import_season, import_skipped
from urbanrivers_camtraps.inference.other_programs import ResultsError, read_results
from urbanrivers_camtraps.inference.season import Job, predict_season, read_season, write_season
from urbanrivers_camtraps.inference.write_detector_json import write_megadetector, write_speciesnet
from urbanrivers_camtraps.survey.deployments import read_deployments, season_photographs
from urbanrivers_camtraps.survey.waiting import is_waiting

BOX = [.1, .2, .3, .4]
RACCOON, BEAVER = 'Procyon lotor', 'Castor canadensis'


def called(*arguments):
    "Run a command in this process; what it refuses is part of the output."
    with overwriting(False): done = CliRunner().invoke(app, [str(o) for o in arguments])
    return SimpleNamespace(exit_code=done.exit_code, output=f'{done.output}{done.exception or ""}')


@pytest.fixture
def card(tmp_path):
    "Six photographs of two cameras, a day apart; the last has no time in its EXIF."
    for number in range(1, 7):
        path = tmp_path/'card'/f'cam{1 + (number > 3)}'/f'{number}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if number < 6: exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f'2025:06:0{number} 05:30:00'
        Image.new('RGB', (64, 48), (40*number, 90, 60)).save(path, exif=exif)
    (tmp_path/'deployments.csv').write_text('deployment_id,location,latitude,longitude,start,end\n'
                                            'cam1,Weir,41.9,-87.65,2025-05-01,2025-07-01\ncam2,Dam,41.91,-87.66,2025-05-01,2025-07-01\n')
    return tmp_path/'card'


def megadetector(path: Path, images: list, **head) -> Path:
    "Write a file of MegaDetector."
    categories = {'1': 'animal', '2': 'person', '3': 'vehicle'}
    path.write_text(json.dumps({'info': {'detector': 'md_v5a.0.0.pt'}, 'detection_categories': categories, **head, 'images': images}))
    return path


def seen(file: str, *boxes: tuple) -> dict:
    "Return a record with boxes of (category, confidence, *classifications)."
    return {'file': file, 'detections': [{'category': o[0], 'conf': o[1], 'bbox': BOX, **({'classifications': list(o[2:])} if o[2:] else {})} for o in boxes]}


def imported(results: Path, photographs: Path | None = None, **options) -> Predictions:
    "Import results and read the season."
    path = import_season(results, results.with_name('season.parquet'), photographs, progress=False, **options)
    return read_season(path)


# --- the round trip ---

WRITERS = {'megadetector': write_megadetector, 'speciesnet': write_speciesnet,
           'speciesnet 5.0.5': lambda season, path: write_speciesnet(season, path, schema='5.0.5')}


@pytest.mark.parametrize('kind', WRITERS)
def test_what_is_predicted_written_and_imported_is_equal(tmp_path, bundle_folder, kind):
    practice, card = make_sandbox('small'), tmp_path/'card'
    card.mkdir()
    for row in range(12): (card/f'IMG_{row:04}.JPG').write_bytes(practice.photograph(row))
    (card/'IMG_0099.JPG').write_bytes(b'')
    before = read_season(predict_season(card, tmp_path/'own.parquet', Job(str(bundle_folder)), progress=False))
    WRITERS[kind](before, tmp_path/'results.json')
    after = imported(tmp_path/'results.json', card)
    assert after.path.tolist() == before.path.tolist()
    assert after.prediction.tolist() == before.prediction.tolist()
    assert after.classes == before.classes
    np.testing.assert_allclose(score_matrix(after)[0], score_matrix(before)[0], atol=2e-6)
    np.testing.assert_allclose(after.score, before.score, atol=2e-6)
    assert after.skipped.id.tolist() == before.skipped.id.tolist()
    own, other = (pd.read_parquet(tmp_path/o) for o in ('own.parquet', 'season.parquet'))
    columns = ['path', 'clock', 'size', 'modified', 'drawn']
    read = [o[o.reason.isna()][columns].reset_index(drop=True) for o in (own, other)]
    pd.testing.assert_frame_equal(*read, check_dtype=False)


@pytest.mark.parametrize('kind', ['megadetector', 'speciesnet'])
def test_of_more_than_five_classes_the_rest_stays_open(tmp_path, card, kind):
    classes = ['Anas platyrhynchos', 'Branta canadensis', BEAVER, 'Odocoileus virginianus', RACCOON, 'blank', 'human']
    scores = [.4, .2, .1, .1, .08, .07, .05]
    season = Predictions(pd.DataFrame({'path': [str(card/'cam1/1.JPG')], 'prediction': classes[:1], 'score': .4, 'scores': [scores]}), classes)
    WRITERS[kind](season, tmp_path/'results.json')
    after = imported(tmp_path/'results.json', card)
    found = dict(zip(after.classes, score_matrix(after)[0][0].round(6)))
    assert {o: found[o] for o in classes[:5]} == pytest.approx(dict(zip(classes, scores[:5])), abs=1e-6)
    assert sum(found.values()) == pytest.approx(.88, abs=1e-6)


def test_a_season_goes_back_into_the_formats_of_the_field(tmp_path, card):
    imported(megadetector(tmp_path/'md.json', [seen('cam1/1.JPG', ('1', .9)), seen('cam1/2.JPG')]), card)
    for kind in ('megadetector', 'speciesnet'):
        path = write_season(tmp_path/'season.parquet', tmp_path/f'{kind}.json', kind)
        assert read_results(path).answers.prediction.tolist() == ['Animalia', 'blank']


# --- what an answer is ---

def test_an_animal_is_never_a_species_by_guess(tmp_path, card):
    categories = {'0': 'raccoon', '1': 'unknown'}
    records = [seen('cam1/1.JPG', ('1', .9)), seen('cam1/2.JPG', ('1', .9, ['0', .6])), seen('cam1/3.JPG', ('1', .9, ['1', .8]))]
    results = megadetector(tmp_path/'md.json', records, classification_categories=categories)
    with collect_notices() as told: season = imported(results, card)
    assert season.prediction.tolist() == ['Animalia', RACCOON, 'Animalia']
    assert season.score.isna().tolist() == [False, False, True]
    assert is_waiting(season).tolist() == [False, False, True]
    assert set(season.decision) == {'review'}
    assert any('species is not named' in str(o) for o in told) and any('names nothing' in str(o) for o in told)


def test_a_burst_is_no_surer_than_its_frames(tmp_path, card):
    (tmp_path/'mine.csv').write_text('path,label,score\n' + ''.join(f'cam1/{o}.JPG,raccoon,0.6\n' for o in (1, 2, 3)))
    season = imported(tmp_path/'mine.csv', card).assign(burst_id='one')
    pooled = burst_predictions(season)
    assert pooled.score.tolist() == pytest.approx([.6]*3)
    assert score_matrix(pooled)[0].sum(1) == pytest.approx([.6]*3)


def test_a_burst_without_scores_has_none(tmp_path, card):
    (tmp_path/'mine.csv').write_text('path,label,score\ncam1/1.JPG,raccoon,\ncam1/2.JPG,empty,0.9\ncam1/3.JPG,raccoon,\n')
    season = imported(tmp_path/'mine.csv', card)
    assert season.score.isna().tolist() == [True, False, True]
    pooled = burst_predictions(season.assign(burst_id='one'))
    assert set(pooled.prediction) == {RACCOON} and pooled.score.isna().all()


def test_complete_scores_are_pooled_as_before():
    scores = np.random.default_rng(3).dirichlet(np.ones(4), 40).astype('float32')
    table = pd.DataFrame({'burst_id': np.arange(40)//3, 'prediction': 'a', 'score': scores.max(1), 'scores': list(scores)})
    season = Predictions(table, ['a', 'b', 'c', 'blank'])
    assert score_matrix(burst_predictions(season))[0].sum(1) == pytest.approx(np.ones(40))


@pytest.mark.parametrize(('confidence', 'hidden'), [(.03, False), (.3, True)])
def test_a_person_beside_an_animal_is_not_shown(tmp_path, card, confidence, hidden):
    results = megadetector(tmp_path/'md.json', [seen('cam1/1.JPG', ('1', .9, ['0', .08]), ('2', confidence))], classification_categories={'0': 'raccoon'})
    season = imported(results, card)
    assert season.prediction.tolist() == [RACCOON]
    assert shows_people(season).tolist() == [hidden]


def test_addaxai_writes_species_as_categories_of_boxes(tmp_path, card):
    records = [seen('cam1/1.JPG', ('4', .8)), seen('cam1/2.JPG', ('1', .7)), seen('cam1/3.JPG', ('2', .7))]
    results = megadetector(tmp_path/'image_recognition_file.json', records,
                           detection_categories={'1': 'animal', '2': 'person', '4': 'species Procyon lotor'})
    path = import_season(tmp_path, tmp_path/'season.parquet', card, progress=False)  # the folder into which it wrote
    assert read_season(path).prediction.tolist() == [RACCOON, 'Animalia', 'human']
    assert read_settings(path)['imported']['results'] == results.name


ADDAXAI_FILES = ('absolute_path,relative_path,data_type,n_detections,file_height,file_width,max_confidence,human_verified,DateTimeOriginal,DateTime,'
                 'DateTimeDigitized,Latitude,Longitude,GPSLink,Altitude,Make,Model')
ADDAXAI_BOXES = ('absolute_path,relative_path,data_type,label,confidence,human_verified,bbox_left,bbox_top,bbox_right,bbox_bottom,file_height,file_width,'
                 'DateTimeOriginal,DateTime,DateTimeDigitized,Latitude,Longitude,GPSLink,Altitude,Make,Model')


@pytest.mark.parametrize('which', ['results_files.csv', 'results_detections.csv'])
def test_tables_that_addaxai_exports(tmp_path, card, which):
    tail = '{},NA,NA,NA,NA,NA,NA,RECONYX,HC500'
    (tmp_path/'results_files.csv').write_text('\n'.join([
        ADDAXAI_FILES, r'C:\s,cam1\1.JPG,img,2,48,64,0.9,False,' + tail.format('12/06/25 10:37:28'),
        r'C:\s,cam1\2.JPG,img,0,48,64,0.0,False,' + tail.format('NA'), r'C:\s,cam2\6.JPG,img,1,48,64,NA,True,' + tail.format('07/06/25 09:00:00')]))
    (tmp_path/'results_detections.csv').write_text('\n'.join([
        ADDAXAI_BOXES, r'C:\s,cam1\1.JPG,img,beaver,0.5,False,1,2,3,4,48,64,' + tail.format('12/06/25 10:37:28'),
        r'C:\s,cam1\1.JPG,img,family Anatidae,0.9,False,1,2,3,4,48,64,' + tail.format('12/06/25 10:37:28'),
        r'C:\s,cam2\6.JPG,img,raccoon,NA,True,1,2,3,4,48,64,' + tail.format('07/06/25 09:00:00')]))
    season = imported(tmp_path/which, card)
    assert season.prediction.tolist() == ['Anatidae', 'blank', RACCOON]
    assert season.decision.tolist() == ['review', 'review', 'accept']  # a person checked the last one
    table = pd.read_parquet(tmp_path/'season.parquet').set_index('path')
    table.index = [o[-5:] for o in table.index]
    assert table.clock['1.JPG'] == pd.Timestamp('2025-06-01 05:30')  # EXIF before the table
    assert (table.clock['6.JPG'], table.clock_from['6.JPG']) == (pd.Timestamp('2025-06-07 09:00'), 'table')  # the seventh of June, not the sixth of July


def test_addaxai_without_the_list_of_files(tmp_path, card):
    (tmp_path/'results_detections.csv').write_text(ADDAXAI_BOXES + '\n' + r'C:\s,cam1\1.JPG,img,beaver,0.5,False' + ',0'*6 + ',NA'*9)
    with collect_notices() as told: season = imported(tmp_path/'results_detections.csv', card)
    assert len(season) == 1 and any('blank photographs are not in the season' in str(o) for o in told)
    (tmp_path/'results_files.csv').write_text(ADDAXAI_FILES + '\n' + r'C:\s,cam1\1.JPG,img,1,48,64,0.5,False' + ',NA'*9)
    (tmp_path/'results_detections.csv').unlink()
    with pytest.raises(ResultsError, match='without what is on them'): read_results(tmp_path/'results_files.csv')


@pytest.mark.parametrize(('line', 'what'), [('cam1/1.JPG,raccoon,87', 'not from 0 to 1'), ('cam1/1.JPG,raccoon,high', 'high'), (',raccoon,0.5', 'no answer'),
                                            ('cam1/1.JPG,,0.5', 'no answer')])
def test_a_table_that_cannot_be_read_is_refused(tmp_path, line, what):
    (tmp_path/'mine.csv').write_text(f'path,label,score\n{line}\n')
    with pytest.raises(Exception, match=what): read_results(tmp_path/'mine.csv')


def test_of_several_rows_the_surest_answers_and_people_are_told(tmp_path, card):
    (tmp_path/'mine.csv').write_text('path,label,score\ncam1/1.JPG,raccoon,0.8\ncam1/1.JPG,person,0.6\ncam1/2.JPG,raccoon,\ncam1/2.JPG,person,\n')
    season = imported(tmp_path/'mine.csv', card)
    assert season.prediction.tolist() == [RACCOON, 'human']
    assert shows_people(season).tolist() == [True, True]


# --- photographs and times ---

def test_what_has_no_partner_is_counted_and_listed(tmp_path, card):
    results = megadetector(tmp_path/'md.json', [seen('D:\\s\\cam1\\1.JPG', ('1', .9)), seen('D:\\s\\cam9\\9.JPG', ('1', .9)),
                                                {'file': 'D:\\s\\cam1\\2.JPG', 'failure': 'Failure image access'}])
    with collect_notices() as told: season = imported(results, card)
    assert len(season) == 2
    listed = import_skipped(tmp_path/'season.parquet')
    assert listed.reason.value_counts().to_dict() == {'is on the disk, but not in the results': 4, 'Failure image access': 1,
                                                      'is in the results, but not on the disk': 1}
    assert listed.id[listed.reason == 'Failure image access'].tolist() == [str(card/'cam1/2.JPG')]
    assert any('4 photographs on the disk are not in the results' in str(o) for o in told)
    assert any('1 answers are of photographs that are not on the disk' in str(o) for o in told)


def test_without_a_folder_the_paths_lead_to_the_photographs(tmp_path, card):
    season = imported(megadetector(tmp_path/'md.json', [seen('card/cam1/1.JPG', ('1', .9))]))
    assert season.path.tolist() == [str(card/'cam1/1.JPG')]
    assert len(season.skipped) == 2  # the other two of this camera; the other camera is not in the results
    (tmp_path/'season.parquet').unlink()
    season = imported(megadetector(tmp_path/'md.json', [seen(str(card/'cam1/1.JPG'), ('1', .9)), seen(str(card/'cam2/4.JPG'), ('1', .9))]))
    assert len(season) == 2 and len(season.skipped) == 4


def test_without_photographs_the_times_of_the_table_count(tmp_path):
    (tmp_path/'mine.csv').write_text('path,label,timestamp\ngone/1.JPG,raccoon,2025-06-01 05:30:00\ngone/2.JPG,raccoon,2025-06-01T10:30:00Z\n')
    with collect_notices() as told: imported(tmp_path/'mine.csv')
    table = pd.read_parquet(tmp_path/'season.parquet')
    assert table.clock.tolist() == [pd.Timestamp('2025-06-01 05:30'), pd.NaT]  # a time in UTC is none of a camera's clock
    assert any('no photograph of the results was found' in str(o) for o in told) and any('1 photographs have no time' in str(o) for o in told)


@pytest.mark.parametrize('times_from', ['exif', 'file'])
def test_the_time_of_a_file_is_taken_only_if_asked_for(tmp_path, card, times_from):
    results = megadetector(tmp_path/'md.json', [seen(f'cam2/{o}.JPG', ('1', .9)) for o in (5, 6)])
    with collect_notices() as told: imported(results, card, times_from=times_from)
    table = pd.read_parquet(tmp_path/'season.parquet')
    assert table.clock_from[:2].fillna('').tolist() == ['exif', 'file' if times_from == 'file' else '']
    assert any(('time of their file' if times_from == 'file' else 'have no time') in str(o) for o in told)


def test_no_photograph_on_the_disk_that_was_named_is_an_error(tmp_path, card):
    with pytest.raises(Exception, match='no path ends like'): imported(megadetector(tmp_path/'md.json', [seen('other/IMG_77.JPG')]), card)


def test_a_predicted_season_is_not_replaced(tmp_path, card, bundle_folder):
    predict_season(card, tmp_path/'season.parquet', Job(str(bundle_folder)), progress=False)
    (tmp_path/'mine.csv').write_text('path,label\ncam1/1.JPG,raccoon\n')
    done = called('import', tmp_path/'mine.csv', '--photographs', card, '--out', tmp_path/'season.parquet')
    assert done.exit_code == 1 and 'season of other answers' in done.output
    assert called('import', tmp_path/'mine.csv', '--photographs', card, '--out', tmp_path/'season.parquet', '--overwrite').exit_code == 3


def test_predict_does_not_go_on_in_an_imported_season(tmp_path, card, bundle_folder):
    imported(megadetector(tmp_path/'md.json', [seen('cam1/1.JPG', ('1', .9))]), card)
    with pytest.raises(Exception, match='another bundle'): predict_season(card, tmp_path/'season.parquet', Job(str(bundle_folder)), progress=False)


# --- what comes after ---

def test_survey_and_package_count_an_imported_season(tmp_path, card):
    results = megadetector(tmp_path/'md.json', [seen(f'cam{1 + (o > 3)}/{o}.JPG', ('1', .9, ['0', .7])) for o in (1, 2, 3, 4, 5)] + [seen('cam2/6.JPG')],
                           classification_categories={'0': 'raccoon'})
    season = tmp_path/'season'
    assert called('import', results, '--photographs', card, '--out', season).exit_code == 0
    done = called('survey', '--season', season, '--deployments', tmp_path/'deployments.csv', '--out', tmp_path/'s.html')
    assert done.exit_code == 3, done.output  # one photograph has no time
    assert "read from md.json" in done.output and "All labels are a model's answers" in done.output
    rates = pd.read_csv(tmp_path/'s_rates.csv')
    assert rates[rates.label == RACCOON].events.sum() == 5
    done = called('package', tmp_path/'dp', '--season', season, '--deployments', tmp_path/'deployments.csv')
    assert done.exit_code in (0, 3), done.output
    shown = pd.read_csv(tmp_path/'dp/observations.csv').set_index('scientificName').classificationProbability[RACCOON].dropna()
    assert len(shown) and shown.to_numpy() == pytest.approx(.7, abs=1e-6)


def test_a_sample_is_drawn_from_an_imported_season(tmp_path, card):
    (tmp_path/'mine.csv').write_text('path,label,score,timestamp\n' + ''.join(
        f'cam1/{o}.JPG,{"animal" if o%3 else "empty"},0.8,2025-06-{1 + o//24:02} {o%24:02}:00:00\n' for o in range(60)))
    season = tmp_path/'season.parquet'
    import_season(tmp_path/'mine.csv', season, progress=False)
    done = called('sample', '--season', season, '--deployments', tmp_path/'deployments.csv', '--n', 16, '--out', tmp_path/'sample.parquet')
    assert done.exit_code == 0, done.output
    assert pd.read_parquet(tmp_path/'sample.parquet').drawn.sum() >= 16


def test_the_deployment_of_a_table_wins_over_the_folder(tmp_path, card):
    (tmp_path/'mine.csv').write_text('path,label,deployment\ncam1/1.JPG,raccoon,cam2\ncam1/2.JPG,raccoon,\n')
    import_season(tmp_path/'mine.csv', tmp_path/'season.parquet', card, progress=False)
    placed = season_photographs(tmp_path/'season.parquet', read_deployments(tmp_path/'deployments.csv', 'America/Chicago'))
    assert placed.set_index(placed.path.str[-5:]).deployment_id.to_dict() == {'1.JPG': 'cam2', '2.JPG': 'cam1'}
    assert add_bursts(placed).burst_id.notna().all()
