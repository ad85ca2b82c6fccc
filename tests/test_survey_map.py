"""The map of a survey is true: its scale against a known distance, north, and the outline that somebody gives."""
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from survey_tables import TIME_ZONE, deployments_of, events_of
from urbanrivers_camtraps.apps.main import app
from urbanrivers_camtraps.survey.effort import CameraOperation, camera_operation
from urbanrivers_camtraps.survey.outline import OutlineError, read_outline
from urbanrivers_camtraps.survey.rates import plot_map
from urbanrivers_camtraps.survey.report import Survey

SEEN = events_of(('a', 'Anas', '2024-05-02'), ('b', 'Anas', '2024-05-03'))


def two_places(latitude: tuple, longitude: tuple) -> pd.DataFrame:
    "Return two deployments at places with these coordinates."
    return deployments_of(('a', 'Weir', '2024-05-01', '2024-05-11'), ('b', 'Dam', '2024-05-01', '2024-05-11')).assign(latitude=latitude, longitude=longitude)


def operation(latitude: tuple = (41.9, 41.91), longitude: tuple = (-87.65, -87.65)) -> CameraOperation:
    "Return their camera operation."
    return camera_operation(two_places(latitude, longitude), time_zone=TIME_ZONE)


def drawn(watched: CameraOperation, outline: pd.DataFrame | None = None) -> tuple[plt.Axes, np.ndarray]:
    "Return a map, and where its circles are, in pixels."
    ax = plot_map(SEEN, watched, digits=6, outline=outline).axes[0]
    ax.figure.canvas.draw()
    return ax, ax.transData.transform(ax.collections[0].get_offsets())


@pytest.mark.parametrize('latitude, longitude, metres', [
    ((41.9, 41.91), (-87.65, -87.65), 1111.95),  # a hundredth of a degree of a great circle of 40,030 km
    ((59.995, 59.995), (10., 10.02), 1112.1),  # twice as much to the east, at half of its length: cos 59.995° = 0.50008
    ((-.5, .5), (0., 0.), 111_195.)])
def test_the_scale_is_that_of_a_known_distance(latitude, longitude, metres):
    ax, at = drawn(operation(latitude, longitude))
    bar = ax.transData.transform(ax.lines[-1].get_xydata())
    number, unit = next(re.fullmatch(r'([\d,]+) (m|km)', o.get_text()) for o in ax.texts if o.get_text().endswith('m')).groups()
    length = float(number.replace(',', ''))*(1000 if unit == 'km' else 1)
    assert np.hypot(*(at[1] - at[0]))/np.hypot(*(bar[1] - bar[0])) == pytest.approx(metres/length, rel=.002)
    plt.close(ax.figure)


def test_north_is_up_and_east_is_right():
    ax, at = drawn(operation((41.9, 41.91), (-87.65, -87.64)))
    names = [o.get_text().split(' · ')[0] for o in ax.texts]
    (x, y), (other_x, other_y) = at  # in the order of the locations: at Dam (b) is north and east
    assert {'at Weir', 'at Dam', 'N'} <= set(names) and abs(x - other_x) > 50 and (x - other_x)*(y - other_y) > 0
    arrow = next(o for o in ax.texts if o.get_text() == 'N')
    assert arrow.xy[1] > arrow.get_position()[1]
    plt.close(ax.figure)


def write(folder: Path, found: object) -> Path:
    "Write an outline."
    path = folder/'river.geojson'
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


BANK, RING = [[-87.65, 41.9], [-87.65, 41.91, 180.]], [[-87.66, 41.9], [-87.64, 41.9], [-87.64, 41.91], [-87.66, 41.9]]


def feature(kind: str, coordinates: list) -> dict:
    "Return a feature."
    return {'type': 'Feature', 'properties': None, 'geometry': {'type': kind, 'coordinates': coordinates}}


@pytest.mark.parametrize('found, counts', [
    ({'type': 'LineString', 'coordinates': BANK}, [2]), (feature('Polygon', [RING, RING]), [4, 4]), (feature('MultiLineString', [BANK, BANK]), [2, 2]),
    ({'type': 'FeatureCollection', 'features': [feature('MultiPolygon', [[RING]]), feature('Point', BANK[0]), feature('LineString', BANK)]}, [4, 2]),
    ({'type': 'GeometryCollection', 'geometries': [{'type': 'LineString', 'coordinates': BANK}]}, [2])])
def test_lines_and_polygons_are_read_and_points_passed_over(found, counts, tmp_path):
    table = read_outline(write(tmp_path, found), operation())
    assert table.groupby('line').size().tolist() == counts and table.columns.tolist() == ['line', 'longitude', 'latitude']


def test_an_outline_runs_through_the_cameras_whose_coordinates_it_has(tmp_path):
    outline = read_outline(write(tmp_path, {'type': 'LineString', 'coordinates': BANK}), operation())
    ax, at = drawn(operation(), outline)
    line = ax.transData.transform(ax.lines[0].get_xydata())
    assert sorted(map(tuple, line.round(3))) == sorted(map(tuple, at.round(3)))
    plt.close(ax.figure)


@pytest.mark.parametrize('found, said', [
    ('no json', 'is not GeoJSON'), ('[1, 2]', 'is not GeoJSON'), ({'shape': 1}, 'is not GeoJSON'), (feature('Point', BANK[0]), 'has no line and no polygon'),
    (feature('LineString', [[447_000, 4_639_000], [447_100, 4_639_000]]), 'coordinates that are no degrees'),
    (feature('LineString', [['west', 'north']]), 'coordinates that are no degrees'), (feature('LineString', [[1]]), 'coordinates that are no degrees'),
    (feature('Polygon', BANK), 'coordinates that are no degrees'), (feature('LineString', [None]), 'coordinates that are no degrees'),
    (feature('LineString', [[-87.65, 42.01], [-87.65, 42.1]]), 'lies 11 km from the cameras'),  # 0.1 degrees north of 41.91
    (feature('LineString', [[41.9, -87.65], [41.91, -87.65]]), 'GeoJSON writes longitude before latitude')])
def test_what_is_no_outline_near_the_cameras_is_refused_in_words(found, said, tmp_path):
    with pytest.raises(OutlineError, match=said): read_outline(write(tmp_path, found), operation())


def test_an_outline_needs_a_file_and_coordinates(tmp_path):
    with pytest.raises(OutlineError, match='there is no such file'): read_outline(tmp_path/'none.geojson', operation())
    path = write(tmp_path, {'type': 'LineString', 'coordinates': BANK})
    with pytest.raises(OutlineError, match='coordinates of no camera are known'): read_outline(path, operation((None, None), (None, None)))
    near = write(tmp_path, feature('LineString', [[-87.65, 41.99], [-87.65, 42.1]]))  # 0.08 degrees are 8.9 km
    assert len(read_outline(near, operation())) == 2


def test_one_location_has_a_map_if_there_is_an_outline(tmp_path):
    one = Survey(SEEN.head(1), two_places((41.9, 41.91), (-87.65, -87.65)).head(1), time_zone=TIME_ZONE)
    outline = read_outline(write(tmp_path, feature('Polygon', [RING])), one.operation)
    pages = [one.report(tmp_path/'s.html', outline=o).read_text() for o in (None, outline)]
    assert ['<h2>Where</h2>' in o for o in pages] == [False, True] and 'The thin line is the outline' in pages[1]


def test_an_outline_comes_from_the_shell_and_a_wrong_one_writes_nothing(tmp_path, capsys):
    events, cameras = tmp_path/'events.csv', tmp_path/'cameras.csv'
    events.write_text('event_id,deployment_id,label,start\ne1,a,Anas,2024-05-02T08:00\ne2,b,Anas,2024-05-03T08:00\n')
    cameras.write_text('deployment_id,location,latitude,longitude,start,end\na,Weir,41.9,-87.65,2024-05-01,2024-05-10\nb,Dam,41.91,-87.65,2024-05-01,2024-05-10\n')
    line = ['survey', '--events', str(events), '--deployments', str(cameras), '--out', str(tmp_path/'s.html'), '--outline']
    with pytest.raises(OutlineError, match='is not GeoJSON'): app(line + [str(events)], standalone_mode=False)
    assert not (tmp_path/'s.html').exists() and not (tmp_path/'s_rates.csv').exists()
    app(line + [str(write(tmp_path, {'type': 'LineString', 'coordinates': BANK}))], standalone_mode=False)
    assert 'The thin line is the outline' in (tmp_path/'s.html').read_text(encoding='utf-8')
