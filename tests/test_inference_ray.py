"""A cluster of two nodes, of which a worker and then a whole node are killed on the way, gives the rows of one machine."""
import io
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import ray
from PIL import ExifTags, Image
from ray.cluster_utils import Cluster

from urbanrivers_camtraps.inference.ray import BATCH, on_ray
from urbanrivers_camtraps.inference.season import Job, predict_season, read_season


@pytest.fixture
def two_nodes(monkeypatch):
    "A cluster of two nodes on this machine, one core each; gives it and its second node."
    monkeypatch.setenv('RAY_health_check_failure_threshold', '2')
    cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'include_dashboard': False})
    second = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level='ERROR')
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def workers() -> list[psutil.Process]:
    "The processes that predict."
    return [o for o in psutil.process_iter(['cmdline']) if any('ray::MapWorker' in part for part in o.info['cmdline'] or ())]


def stamped(photograph: Path) -> bytes:
    "A photograph whose camera had a clock."
    exif, buffer = Image.Exif(), io.BytesIO()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = '2025:06:01 05:30:00'
    Image.open(photograph).save(buffer, 'JPEG', quality='keep', exif=exif)
    return buffer.getvalue()


def test_a_worker_and_a_node_are_killed_on_the_way(two_nodes, bundle_folder, photograph, tmp_path):
    cluster, second = two_nodes
    card, data = tmp_path/'card', stamped(photograph)
    card.mkdir()
    for number in range(12*BATCH): (card/f'{number:04}.jpg').write_bytes(data + number.to_bytes(4, 'big') if number % 100 else b'no photograph')
    killed = []

    def killing(sources, job):
        "Compute on the cluster; kill a worker after the first results, the second node after half of them."
        for count, result in enumerate(on_ray(sources, job)):
            if count == BATCH:
                while not (found := workers()): time.sleep(.1)
                victim = found[0]
                victim.kill()
                killed.append(victim.pid)
            if count == 4*BATCH:
                cluster.remove_node(second, allow_graceful=False)
                killed.append('node')
            yield result

    found = read_season(predict_season(card, tmp_path/'ray.parquet', Job(str(bundle_folder)), killing, progress=False,
                                       features=tmp_path/'ray_features.parquet'))
    assert len(killed) == 2 and len(ray.nodes()) == 2
    ends = time.monotonic() + 60  # the head notices a dead node by the heartbeats that are missing
    while sum(o['Alive'] for o in ray.nodes()) > 1 and time.monotonic() < ends: time.sleep(.2)
    assert sum(o['Alive'] for o in ray.nodes()) == 1
    plain = read_season(predict_season(card, tmp_path/'plain.parquet', Job(str(bundle_folder)), progress=False,
                                       features=tmp_path/'plain_features.parquet'))
    pd.testing.assert_frame_equal(found.sort_values('path', ignore_index=True), plain, check_exact=True)
    assert list(found.skipped.id) == list(plain.skipped.id) and len(found.skipped) == 6
    clocks = [pd.read_parquet(tmp_path/o).set_index('path').clock.sort_index() for o in ('ray.parquet', 'plain.parquet')]
    pd.testing.assert_series_equal(*clocks)
    assert clocks[0].notna().sum() == 600 - 6 and clocks[0].max() == pd.Timestamp('2025-06-01 05:30')
    features = [pd.read_parquet(tmp_path/f'{o}_features.parquet').set_index('path').features.sort_index() for o in ('ray', 'plain')]
    assert len(features[0]) == 594 and features[0].map(tuple).equals(features[1].map(tuple))
