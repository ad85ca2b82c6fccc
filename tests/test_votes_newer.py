"""The server as it is today: the same answer as from the older one, nothing lost, nobody's name, nothing in silence."""
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import commands
from urbanrivers_camtraps.foundations.core import CamtrapsError, collect_notices, serve_in_background
from urbanrivers_camtraps.foundations.names import read_name
from urbanrivers_camtraps.foundations.sandbox import (
    API_PATH,
    NEWER_PATHS,
    Faults,
    make_sandbox,
    sandbox_app,
    serve_sandbox,
)
from urbanrivers_camtraps.foundations.tables import read_table
from urbanrivers_camtraps.survey.deployments import read_deployments
from urbanrivers_camtraps.votes.api import fetch_changes, fetch_observations, fetch_unreviewed, write_fetched
from urbanrivers_camtraps.votes.documents import parse_document

CAMTRAPS = Path(sys.executable).parent/'camtraps'
KEY = 'a secret of sixteen bytes'
VERSIONS = ('2025-06', '2026-03')


@pytest.fixture(scope='module')
def older():
    "A practice server with small photographs."
    return make_sandbox('small', width=320, height=240)


@pytest.fixture(scope='module')
def newer(older): return older.in_version('2026-03')


@pytest.fixture(scope='module')
def june():
    "The newest server, of the real one's size."
    return make_sandbox('june-2025', width=320, height=240, api='2026-03')


def camtraps(*arguments: object) -> subprocess.CompletedProcess:
    "Run a command as a person would."
    return commands.camtraps(*arguments, folder=Path.cwd(), seconds=600, CAMTRAPS_VOLUNTEER_KEY=KEY)


def told(sandbox, function, *arguments, **options):
    "Call a function with the address of a server; return what it returned, and the notices."
    with serve_sandbox(sandbox) as server, collect_notices() as notices:
        return function(*arguments, server=server, progress=False, **options), notices


def people_of(sandbox) -> list[str]:
    "Everything that could give a volunteer away, the parts of a name too."
    volunteers = sandbox.volunteers
    return [*volunteers.volunteer_id, *volunteers.name, *volunteers.email, 'example.org', KEY]


def bytes_below(folder: Path) -> bytes:
    "Everything that stands below a folder, names included; Parquet is compressed, so its values are added."
    found = b''
    for path in sorted(o for o in folder.rglob('*') if o.is_file()):
        found += str(path.relative_to(folder)).encode() + path.read_bytes()
        if path.suffix == '.parquet': found += read_table(path).to_csv().encode() + str(read_table(path).attrs).encode()
    return found


# ── the whole chain in both versions ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope='module')
def chains(older, newer, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    "What the whole chain writes and prints, by version."
    found = {}
    for sandbox in (older, newer):
        folder, printed = tmp_path_factory.mktemp(sandbox.api)/'data', ''
        with serve_sandbox(sandbox, Faults(error_500=.02, cut=.02, html=.01)) as server:
            for command in (['fetch', '--server', server], ['clean'], ['images'], ['dataset'], ['card'], ['survey'],
                            ['package', folder/'package']):
                done = camtraps(*command, '--data', folder)
                assert done.returncode in (0, 3), done.stderr
                printed += (done.stdout + done.stderr).replace(server, 'SERVER')
        found[sandbox.api] = folder, printed
    return found


def test_both_versions_give_the_same_names_maps_and_rates(chains):
    first, second = (chains[o][0] for o in VERSIONS)
    assert (first/'rates.csv').read_bytes() == (second/'rates.csv').read_bytes()
    assert (first/'package'/'deployments.csv').read_bytes() == (second/'package'/'deployments.csv').read_bytes()
    for name in ('labels', 'dataset'):
        one, two = (read_table(o/f'{name}.parquet') for o in (first, second))
        columns = [o for o in one if o not in ('url', 'path')]
        pd.testing.assert_frame_equal(one[columns], two[columns])
    one, two = (read_table(o/'deployments.parquet') for o in (first, second))
    columns = ['deployment_id', 'deployment', 'location_id', 'location', 'latitude', 'longitude', 'start', 'end', 'folder']
    pd.testing.assert_frame_equal(one[columns], two[columns])
    assert one[['deployment', 'location', 'latitude', 'longitude', 'start']].notna().all(axis=None)
    assert two.camera_model.notna().all() and one.camera_model.isna().all()


def test_the_chain_tells_what_is_missing_and_what_it_used(chains):
    older, newer = (chains[o][1] for o in VERSIONS)
    assert older.count('has no /api/cameratrap/deployments') == 1
    assert '12 photographs of' in newer and 'are given to nobody' in newer
    for printed in (older, newer): assert printed.count('deployments as the server has them') == 2  # survey and package
    assert 'notes a wrong clock at Prologis 01' in newer


def test_nobody_is_named_by_the_chain(chains, older):
    for folder, printed in chains.values():
        written = bytes_below(folder) + printed.encode()
        assert not [o for o in people_of(older) if o.encode() in written]


# ── killed, faulty, slow ────────────────────────────────────────────────────────────────────────────────────────────


def killed_fetch(folder: Path, server: str, pages: int, after: float) -> int:
    "Start a fetch and kill it `after` seconds from when it has kept `pages` pages more; return how many are kept."
    kept = lambda: sum(o.endswith('.json') and o[0].isdigit() for o in os.listdir(folder/'.fetch')) if (folder/'.fetch').is_dir() else 0
    wanted = kept() + pages
    process = subprocess.Popen([CAMTRAPS, 'fetch', '--server', server, '--data', folder], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while kept() < wanted and process.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    try: process.wait(after)
    except subprocess.TimeoutExpired: process.send_signal(signal.SIGKILL)
    process.wait()
    return kept()


def test_ten_kills_and_five_percent_faults_lose_nothing(june, tmp_path):
    moments = random.Random(7)
    with serve_sandbox(june) as server: assert camtraps('fetch', '--server', server, '--data', tmp_path/'whole').returncode == 0
    with serve_sandbox(june, Faults(error_500=.02, cut=.01, html=.01, too_many=.01, retry_after=0, row_delay=.3)) as server:
        kept = [killed_fetch(tmp_path/'killed', server, moments.randint(0, 3), moments.uniform(0, .5)) for _ in range(10)]
        assert kept == sorted(kept) and kept[-1] > 5
        done = camtraps('fetch', '--server', server, '--data', tmp_path/'killed')
        assert done.returncode == 0, done.stderr
    for name in ('observations', 'media', 'deployments', 'server_scores'):
        one, two = (read_table(tmp_path/o/f'{name}.parquet') for o in ('whole', 'killed'))
        pd.testing.assert_frame_equal(one.drop(columns='url', errors='ignore'), two.drop(columns='url', errors='ignore'))


def test_a_request_that_takes_too_long_is_asked_in_halves(newer):
    whole, _ = told(newer, fetch_observations, reviewed=True)
    with serve_sandbox(newer, Faults(row_delay=4, time_limit=.5)) as server:  # 125 rows at once, then 504
        halved = fetch_observations(server, reviewed=True, page_size=400, progress=False)
    pd.testing.assert_frame_equal(halved.media, whole.media)


@pytest.mark.parametrize('api', VERSIONS)
@pytest.mark.parametrize('fault', ['error_500', 'cut', 'html'])
def test_no_person_in_any_byte_whatever_goes_wrong(older, api, fault, tmp_path):
    sandbox = older.in_version(api)
    for share in (.2, 1.):
        for option in ('--volunteers', '--unreviewed', '--species=Canada Goose'):
            with serve_sandbox(sandbox, Faults(**{fault: share}, retry_after=0)) as server:
                done = camtraps('fetch', '--server', server, '--data', tmp_path, option)
            assert done.returncode == 0 or share == 1, done.stderr
            written = bytes_below(tmp_path) + (done.stdout + done.stderr).encode()
            assert not [o for o in people_of(sandbox) if o.encode() in written], option


def test_no_person_in_what_a_killed_run_keeps(newer, tmp_path):
    with serve_sandbox(newer, Faults(row_delay=1.5)) as server: killed_fetch(tmp_path, server, 1, 0)
    kept = bytes_below(tmp_path)
    assert b'"records"' in kept and not [o for o in people_of(newer) if o.encode() in kept]


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_thirteen_hundred_documents_of_one_moment_are_all_read(june):
    before, _ = told(june, fetch_observations, species=['Branta canadensis', 'Anas platyrhynchos', 'Actitis macularius'])
    chosen = june.media.document_id.isin(before.media.document_id[:1300])
    moment = pd.Timestamp('2026-03-01', tz='UTC')
    later = dataclasses.replace(june, media=june.media.assign(updated_at=june.media.updated_at.mask(chosen, moment)))
    merged, _ = told(later, fetch_changes, before)
    expected, _ = told(later, fetch_observations, species=['Branta canadensis', 'Anas platyrhynchos', 'Actitis macularius'])
    assert (merged.media.updated_at == moment).sum() == 1300
    for name in ('media', 'observations'):
        one, two = getattr(merged, name), getattr(expected, name)
        pd.testing.assert_frame_equal(one.drop(columns='url', errors='ignore'), two.drop(columns='url', errors='ignore'))
    assert not merged.skipped.field.eq('totalImages').any()


def test_a_flagged_photograph_leaves_and_the_user_is_told_what_to_do(newer):
    before, _ = told(newer, fetch_observations, reviewed=True)
    row = newer.media.index[newer.media.reviewed & ~newer.media.flagged][10]
    flagged = dataclasses.replace(newer, media=newer.media.assign(flagged=newer.media.flagged | (newer.media.index == row)))
    merged, _ = told(flagged, fetch_changes, before)
    assert 'some left the selection' in merged.skipped.reason.iloc[-1] and 'leave --since out' in merged.skipped.reason.iloc[-1]
    whole, _ = told(flagged, fetch_observations, reviewed=True)
    assert len(whole.media) == len(before.media) - 1 and not whole.skipped.field.eq('totalImages').any()


@pytest.mark.parametrize('api', VERSIONS)
def test_a_renamed_place_has_one_name_afterwards(older, api):
    sandbox = older.in_version(api)
    before, _ = told(sandbox, fetch_observations, reviewed=True)
    media = sandbox.media.assign(location=sandbox.media.location.replace('Prologis', 'Prologis park'))
    media.loc[media.index[media.reviewed & (media.location == 'Prologis park')][5], 'updated_at'] = pd.Timestamp('2026-03-01', tz='UTC')
    merged, notices = told(dataclasses.replace(sandbox, media=media), fetch_changes, before)
    assert set(merged.observations.location.dropna()) == {'Prologis park', 'Wild Mile', 'Bubbly Creek', 'Goose Island'}
    assert sum('is now Prologis park' in o for o in notices) == 1


# ── what is withheld, or left out ───────────────────────────────────────────────────────────────────────────────────


def test_flagged_and_removed_photographs_of_the_older_server_are_left_out_and_counted(older):
    rows = older.media.index[older.media.reviewed & (older.media.hidden == '')]
    media = older.media.assign(flagged=older.media.index.isin(rows[:3]), removed=older.media.index.isin(rows[3:5]))
    sandbox = dataclasses.replace(older, media=media)
    fetched, notices = told(sandbox, fetch_observations, reviewed=True)
    ids = media.document_id[rows[:5]]
    assert not fetched.observations.document_id.isin(ids).any() and len(fetched.media) == fetched.query['total']
    assert any('3 flagged and 2 removed photographs are left out' in o and '--flagged' in o for o in notices)
    kept, notices = told(sandbox, fetch_observations, reviewed=True, flagged=True)
    assert set(ids) <= set(kept.observations.document_id) and not any('left out' in o for o in notices)


def test_without_the_lists_of_places_their_lack_is_told(newer):
    app, missing = sandbox_app(newer), set(NEWER_PATHS.values())

    async def without(scope, receive, send):
        if scope['type'] == 'http' and scope['path'] in missing: return await Response('', 404)(scope, receive, send)
        await app(scope, receive, send)

    with serve_in_background(without) as server, collect_notices() as notices:
        fetched = fetch_observations(server, reviewed=True, progress=False)
    assert fetched.observations.location.isna().all() and fetched.observations.location_id.notna().any()
    assert any('coordinates of 8 of 8 deployments are not known' in o for o in notices)
    assert fetched.places.start.notna().all()  # these come with the photographs


def test_one_list_makes_up_for_the_other(newer):
    for path in (NEWER_PATHS['deployments'], NEWER_PATHS['locations']):
        app = sandbox_app(newer)

        async def without(scope, receive, send, app=app, path=path):
            if scope['type'] == 'http' and scope['path'] == path: return await Response('', 404)(scope, receive, send)
            await app(scope, receive, send)

        with serve_in_background(without) as server, collect_notices() as notices:
            fetched = fetch_observations(server, reviewed=True, progress=False)
        assert fetched.places[['deployment', 'location', 'latitude', 'start', 'camera_model']].notna().all(axis=None)
        assert sum(path in o for o in notices) == 1


@pytest.mark.parametrize('answer', [{}, [], 'text', {'images': [], 'totalImages': 1}, [None, 'd1', 7, {'_id': None}], {'data': {}}, {'error': 'x'}])
def test_a_strange_list_of_places_costs_no_vote(answer):
    document = {'_id': '1', 'mediaID': 'a', 'reviewCount': 1, 'deploymentId': 'd1', 'speciesConsensus': [
        {'observationType': 'animal', 'scientificName': 'Aves', 'count': 1, 'observationCount': 2}]}

    async def images(request): return JSONResponse({'images': [document], 'totalImages': 1})

    async def other(request): return JSONResponse(answer)

    routes = [Route(API_PATH, images), Route('/{path:path}', other)]
    with serve_in_background(Starlette(routes=routes)) as server, collect_notices() as notices:
        fetched = fetch_observations(server, reviewed=True, progress=False)
    assert fetched.observations[['deployment_id', 'votes']].to_numpy().tolist() == [['d1', 2]]  # a bare id is an id
    assert any('names of 1 of 1 deployments are not known' in o for o in notices)


def test_what_the_deployments_say_is_read(tmp_path):
    "Ends, a retired place, a camera's model, coordinates of the deployment itself; and a survey can read the table."
    listed = [
        {'_id': 'd1', 'locationName': 'Weir 1', 'deploymentStart': '2024-05-01T00:00:00.000Z', 'deploymentEnd': None, 'locationId': {
            '_id': 'l1', 'locationName': 'Weir'}, 'cameraId': {'name': 'C1', 'model': 'Reveal X'}, 'mediaCount': 3, 'creator': {'name': 'Ada Alder'}},
        {'_id': 'd2', 'locationName': 'Lake 1', 'deploymentStart': '2024-05-01T00:00:00.000Z', 'deploymentEnd': '2024-06-01T12:00:00.000Z',
         'locationId': 'l2', 'location': {'coordinates': [-87.7, 42]}, 'timestampIssues': True, 'deploymentComments': 'Ask ada@example.org'}]
    places = [{'_id': 'l1', 'locationName': 'Weir', 'location': {'coordinates': [-87.6, 41.9]}, 'retired': True, 'notes': 'Ada Alder'},
              {'_id': 'l2', 'locationName': 'Lake'}]
    document = {'_id': '1', 'mediaID': 'a', 'timestamp': '2024-05-03T10:00:00Z', 'deploymentId': {'_id': 'd1', 'locationId': {'_id': 'l1'}},
                'speciesConsensus': [{'observationType': 'animal', 'scientificName': 'Aves', 'count': 1, 'observationCount': 2}]}

    async def reply(request):
        answers = {API_PATH: {'images': [document], 'totalImages': 1}, NEWER_PATHS['deployments']: listed, NEWER_PATHS['locations']: places}
        return JSONResponse(answers.get(request.url.path, {}))

    with serve_in_background(Starlette(routes=[Route('/{path:path}', reply)])) as server, collect_notices():
        write_fetched(fetch_observations(server, reviewed=True, progress=False), tmp_path)
    read = read_deployments(tmp_path/'deployments.parquet', 'America/Chicago').set_index('deployment_id')
    assert read[['latitude', 'longitude']].to_numpy().tolist() == [[42, -87.7], [41.9, -87.6]]  # Lake 1 before Weir 1
    assert read.location.tolist() == ['Lake', 'Weir'] and read.retired.tolist() == [False, True]
    assert pd.isna(read.end['d1']) and read.end['d2'] == pd.Timestamp('2024-06-01T12:00Z')
    assert read.camera_model['d1'] == 'Reveal X' and bool(read.timestamp_issues['d2'])
    assert b'Alder' not in bytes_below(tmp_path) and b'example.org' not in bytes_below(tmp_path)
    assert read_table(tmp_path/'observations.parquet')[['location', 'latitude']].to_numpy().tolist() == [['Weir', 41.9]]


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize('api', VERSIONS)
def test_every_spelling_of_a_species_is_found(older, api):
    sandbox = older.in_version(api)
    meant = sandbox.consensus.scientific_name.map(lambda o: read_name(o).label, na_action='ignore')
    askable = sandbox.consensus.scientific_name.map(lambda o: o == o.strip(), na_action='ignore') == True  # noqa: E712 -- missing ones are False
    given = sandbox.media.document_id if api == '2025-06' else sandbox.media.document_id[~sandbox.media.flagged & (sandbox.media.conf_human <= .85)]
    for label, names in {'Branta canadensis': ('Canada Goose', 'canada goose', 'BRANTA CANADENSIS', 'Branta canadiensis'),
                         'Neogale vison': ('Neogale vison', 'Neovison vison', 'Mustela vison', 'mink')}.items():
        expected = set(sandbox.media.document_id[sandbox.consensus.media[(meant == label) & askable]]) & set(given)
        for name in names:
            fetched, _ = told(sandbox, fetch_observations, species=[name])
            assert set(fetched.media.document_id) == expected and expected


def test_a_species_cut_at_a_hyphen_is_told(newer):
    _, notices = told(newer, fetch_observations, species=['Trachemys scripta elegans'])
    assert any('photographs with' in o and 'without --species' in o for o in notices)
    whole, _ = told(newer, fetch_observations, reviewed=True)
    assert 'Red-eared Slider' in whole.observations.scientific_name.tolist()  # made whole again from the single votes


def test_an_unknown_name_is_told(newer):
    with serve_sandbox(newer) as server, collect_notices() as notices, pytest.raises(CamtrapsError, match='knows no such photograph'):
        fetch_observations(server, species=['Nonsuch nonsuchus'], progress=False)
    assert any("'Nonsuch nonsuchus' is not in the table of names" in o for o in notices)


@pytest.mark.parametrize('name', ['undefined', 'null', 'Undefined', ' NULL ', 'None', 'nan', 'NaN', 'N/A', 'n.a.', '<NA>', '-', '??', '0'])
def test_a_word_for_nothing_is_no_name(name): assert read_name(name).label is None


@pytest.mark.parametrize('value', ['-N', [], {}, 7, None, [[]], [{'confHuman': 'high'}], [{'modelName': 'm'}]])
def test_strange_scores_cost_no_vote(value):
    document = {'_id': '1', 'mediaID': 'a-2', 'aiResults': value, 'speciesConsensus': [{'observationType': 'blank', 'count': 1, 'observationCount': 2}]}
    record = parse_document(document)
    assert len(record.rows) == 1 and record.scores == []


# ── what nobody has looked at ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize('api', VERSIONS)
def test_unreviewed_photographs_can_be_predicted(older, api, tmp_path):
    from urbanrivers_camtraps.inference.season import find_sources
    sandbox = older.in_version(api)
    with serve_sandbox(sandbox) as server:
        done = camtraps('fetch', '--unreviewed', '--server', server, '--data', tmp_path)
    assert done.returncode == 0, done.stderr
    table, places = (read_table(tmp_path/f'{o}.parquet') for o in ('unreviewed', 'deployments'))
    assert set(table.document_id) == set(sandbox.media.document_id[~sandbox.media.reviewed]) and len(table) == 24
    assert set(table.deployment_id) <= set(places.deployment_id) and table[['timestamp', 'location', 'latitude']].notna().all(axis=None)
    assert find_sources(tmp_path/'unreviewed.parquet').path.tolist() == table.url.tolist()
    assert 'predict' in done.stdout and not (tmp_path/'.fetch_unreviewed').exists()


def test_a_season_of_unreviewed_photographs_becomes_a_survey(newer, bundle_folder, tmp_path):
    with serve_sandbox(newer) as server:
        assert camtraps('fetch', '--unreviewed', '--server', server, '--data', tmp_path).returncode == 0
        done = camtraps('predict', tmp_path/'unreviewed.parquet', '--bundle', bundle_folder, '--out', tmp_path/'season.parquet')
    assert done.returncode == 0, done.stderr
    done = camtraps('survey', '--season', tmp_path/'season.parquet', '--data', tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'deployments as the server has them' in done.stdout and 'no volunteer has looked at' in done.stderr
    assert (tmp_path/'survey.html').exists()


def test_unreviewed_is_refused_beside_other_choices(tmp_path):
    done = camtraps('fetch', '--unreviewed', '--species', 'Aves', '--server', 'http://127.0.0.1:9', '--data', tmp_path)
    assert done.returncode == 1 and 'cannot be used with --unreviewed' in done.stderr


def test_unreviewed_photographs_of_nowhere_are_told_by_the_function(newer):
    hidden = newer.media.assign(hidden=newer.media.hidden.mask(newer.media.index == newer.media.index[~newer.media.reviewed][0], 'url'))
    (table, _), notices = told(dataclasses.replace(newer, media=hidden), fetch_unreviewed)
    assert len(table) == 23 and any('1 photographs have no address' in o for o in notices)
