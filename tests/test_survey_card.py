"""From a memory card and a table written by hand to a survey and a data package, in three lines of shell."""
import io
import json
import shutil

import pandas as pd
import pytest
from PIL import ExifTags, Image

from urbanrivers_camtraps.apps.cli.options import SOME_SKIPPED
from urbanrivers_camtraps.apps.cli.survey import _of_several
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import plain_path
from urbanrivers_camtraps.survey.camtrap_dp.reading import read_camtrap_dp
from urbanrivers_camtraps.survey.camtrap_dp.validation import validate_camtrap_dp

#: Where each photograph lies, and what the camera's clock said: two visits at Prologis, one at Goose Island, whose clock was an hour ahead, and one too early.
TAKEN = {'Prologis/DCIM/100MEDIA/IMG_0001.JPG': '2025:06:02 05:30:00', 'Prologis/DCIM/100MEDIA/IMG_0002.JPG': '2025:06:02 05:30:01',
         'Prologis/DCIM/100MEDIA/IMG_0003.JPG': '2025:06:02 05:45:00', 'Prologis/DCIM/100MEDIA/IMG_0004.JPG': '2025:06:02 06:15:01',
         'goose-06/IMG_0001.JPG': '2025:06:03 13:00:00', 'goose-06/IMG_0002.JPG': '2025:05:01 12:00:00'}

DEPLOYMENTS = """deployment_id,location,latitude,longitude,start,end,folder,clock_ahead
prologis-06,Prologis,41.9002,-87.6513,2025-06-01,2025-06-10,Prologis,
goose-06,Goose Island,41.9056,-87.6571,2025-06-01,2025-06-05,,1h
wolf-06,Wolf Point,41.8872,-87.6372,2025-06-01,2025-06-05,,
"""


@pytest.fixture(scope='module')
def survey(photograph, bundle_folder, tmp_path_factory):
    "A folder with a season that was predicted, and the table of its deployments."
    folder = tmp_path_factory.mktemp('survey')
    for name, moment in TAKEN.items():
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = moment
        stamped = io.BytesIO()
        Image.open(photograph).save(stamped, 'JPEG', quality='keep', exif=exif)
        (folder/'card'/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/'card'/name).write_bytes(stamped.getvalue())
    (folder/'card'/'goose-06'/'IMG_0003.JPG').write_bytes(stamped.getvalue()[:900])
    (folder/'deployments.csv').write_text(DEPLOYMENTS)
    assert called('predict', folder/'card', '--bundle', bundle_folder, '--out', folder/'season.parquet') == SOME_SKIPPED  # one is damaged
    return folder


def called(*arguments) -> int:
    "Run a command in this process; return its exit status."
    return run([str(o) for o in arguments])


def test_a_card_becomes_a_survey(survey, tmp_path, capsys):
    told = ('--season', survey/'season.parquet', '--deployments', survey/'deployments.csv')
    assert called('survey', *told, '--out', tmp_path/'survey.html') == SOME_SKIPPED
    rates = pd.read_csv(tmp_path/'survey_rates.csv').groupby(['label', 'location_id'])[['events', 'camera_days']].sum().loc['wildlife']
    # 05:30 to 05:45 is one visit; more than half an hour later begins another
    assert rates.events.to_dict() == {'Goose Island': 1, 'Prologis': 2, 'Wolf Point': 0}
    assert rates.camera_days.to_dict() == {'Goose Island': 5, 'Prologis': 10, 'Wolf Point': 5}
    skipped = pd.read_csv(tmp_path/'survey_photographs_skipped.csv')
    reasons = {o.rsplit('/', 1)[-1]: why.split(' (')[0] for o, why in skipped.values}
    assert reasons == {'IMG_0002.JPG': 'was taken before its deployment', 'IMG_0003.JPG': 'is damaged'}
    said, page = capsys.readouterr(), (tmp_path/'survey.html').read_text(encoding='utf-8')
    assert '3 events: ' in said.out and 'would ask a volunteer about 5 of them' in said.err
    assert 'would ask a volunteer about 5 of them' in page and '2 photographs are left out: 1 was taken before its deployment, 1 is damaged' in page
    assert 'wolf-06 (no photograph)' in said.err and 'no photograph' in page.split('In numbers')[0]


def test_cameras_with_banners_of_their_own_have_a_table_each(survey, bundle_folder, tmp_path, capsys):
    about = json.loads((shutil.copytree(bundle_folder, tmp_path/'other')/'bundle.json').read_text())
    about['transforms']['trim'] = [.1, .08]
    (tmp_path/'other'/'bundle.json').write_text(json.dumps(about))
    wide, narrow = (('--bundle', o) for o in (tmp_path/'other', bundle_folder))
    assert called('predict', survey/'card'/'Prologis', *wide, '--out', tmp_path/'one.parquet') == 0
    assert called('predict', survey/'card'/'goose-06', *narrow, '--out', tmp_path/'one.parquet') == 1  # nothing is thrown away
    assert 'holds predictions of another bundle or other settings' in capsys.readouterr().err
    assert called('predict', survey/'card'/'goose-06', *narrow, '--out', tmp_path/'two.parquet') == SOME_SKIPPED
    told = ('--season', tmp_path/'one.parquet', '--season', tmp_path/'two.parquet', '--deployments', survey/'deployments.csv')
    assert called('survey', *told, '--out', tmp_path/'survey.html') == SOME_SKIPPED and '3 events: ' in capsys.readouterr().out


def test_a_card_becomes_a_data_package(survey, tmp_path):
    told = ('--season', survey/'season.parquet', '--deployments', survey/'deployments.csv')
    about = ('--digits', 2, '--license', 'CC0-1.0', '--model', 'tiny 1', '--organization', 'Goose Watch')
    assert called('package', tmp_path/'package', *told, *about) == SOME_SKIPPED
    assert validate_camtrap_dp(tmp_path/'package').empty
    package = read_camtrap_dp(tmp_path/'package')
    assert package.about['licenses'][0]['name'] == 'CC0-1.0' and set(package.observations.classified_by) == {'tiny 1'}
    assert 'left out' in package.about['description'] and 'Goose Watch' in str(package.about['contributors'])
    media = package.media.set_index('media_id')
    assert media.timestamp['prologis-06/DCIM/100MEDIA/IMG_0001.JPG'] == pd.Timestamp('2025-06-02 10:30Z')
    assert media.timestamp['goose-06/IMG_0001.JPG'] == pd.Timestamp('2025-06-03 17:00Z')  # its clock was ahead
    assert sorted(package.deployments.latitude) == [41.89, 41.9, 41.91] and (package.observations.method == 'machine').all()
    assert package.media.path.str.fullmatch(r'media/[\w/-]+\.(JPG|jpg)').all() and not package.media.path.str.contains('JPG.jpg').any()


@pytest.mark.parametrize('arguments, reason', [
    ((), 'there is no such table'), (('--season', 'season.parquet'), 'name such a table with --deployments'),
    (('--events', 'season.parquet'), 'Add --deployments'),
                                               (('--season', 'season.parquet', '--deployments', 'elsewhere.csv'), 'wolf-point, bubbly-creek'),
                                               (('--season', 'seasn.parquet', '--deployments', 'deployments.csv'), 'is not a season'),
                                               (('--season', 'season.parquet', '--deployments', 'deployments.csv', '--event-gap', '30'), 'has no unit'),
                                               (('--season', 'season.parquet', '--deployments', 'wrong.csv'), 'ends before it starts')])
def test_what_is_missing_is_said_in_one_line(survey, capsys, arguments, reason):
    (survey/'elsewhere.csv').write_text('deployment_id,latitude,longitude\nwolf-point,41.9,-87.6\nbubbly-creek,41.9,-87.6\n')
    (survey/'wrong.csv').write_text('deployment_id,start,end,latitude,longitude\ngoose-06,2025-06-02,2025-06-01,41.9,-87.6\n')
    told = [survey/o if o.endswith(('.csv', '.parquet')) else o for o in arguments]
    assert called('survey', *told, '--data', survey/'nothing', '--out', survey/'none.html') == 1
    said = [o for o in capsys.readouterr().err.splitlines() if not o.startswith('note: ')]
    assert len(said) == 1 and reason in said[0] and not (survey/'none.html').exists()


@pytest.mark.parametrize('reason, several', [
    ('is not a photograph (JPEG)', 'are not photographs (JPEG)'), ('was taken before its deployment', 'were taken before its deployment'),
    ('has no time', 'have no time')])
def test_a_reason_is_said_of_one_photograph_and_of_several(reason, several):
    assert _of_several(reason, 1) == reason and _of_several(reason, 2) == several


def test_a_name_in_latin_1_keeps_its_backslash():
    "The table shows a byte that is no UTF-8 as `\\\\xe9`; a backslash is a folder only in a path as Windows writes it."
    assert plain_path('card/cam1/caf\\xe9.JPG') == 'card/cam1/caf\\xe9.JPG'
    assert plain_path('D:\\cam1\\IMG_1.JPG') == 'D:/cam1/IMG_1.JPG' and plain_path('cam1\\IMG_1.JPG') == 'cam1/IMG_1.JPG'


def test_a_list_is_predicted_without_a_file_for_the_predictions_too(bundle_folder, photograph, tmp_path, capsys, monkeypatch):
    (tmp_path/'card').mkdir()
    (tmp_path/'card'/'IMG_1.JPG').write_bytes(photograph.read_bytes())
    (tmp_path/'card'/'list.csv').write_text('path\nIMG_1.JPG\n')
    (tmp_path/'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path/'elsewhere')
    assert run(['predict', '../card/list.csv', '--bundle', str(bundle_folder)]) == 0
    assert 'card/IMG_1.JPG' in capsys.readouterr().out
