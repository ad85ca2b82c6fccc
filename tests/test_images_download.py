"""Downloads that are killed, meet a full disk, bad hosts and each other: what is stored is whole, the rest listed."""
import hashlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from urbanrivers_camtraps.foundations.core import LockedError
from urbanrivers_camtraps.images.download import download_photographs
from urbanrivers_camtraps.images.hosts import Patience
from urbanrivers_camtraps.images.manifest import read_manifest
from urbanrivers_camtraps.images.photograph import open_photograph

HASTY = Patience(connect_timeout=1, read_timeout=.5, total_timeout=5, pauses=(.1,), free_bytes=0)
RUN = """import sys
import pandas as pd
from urbanrivers_camtraps.images.download import download_photographs
from urbanrivers_camtraps.images.hosts import Patience
labels, folder = pd.read_csv(sys.argv[1]), sys.argv[2]
print('ready', flush=True)
patience = Patience(pauses=(.1,), free_bytes=0, tries=6)
tables = download_photographs(labels, folder, 160, 8, False, patience=patience)
for name, table in zip(('photographs', 'skipped'), tables): table.to_csv(f'{sys.argv[3]}/{name}.csv', index=False)
"""


def drawn(number: int) -> bytes:
    "A JPEG of noise; each number another one."
    pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), 'uint8')
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((320, 240)).save(buffer, 'JPEG', quality=90)
    return buffer.getvalue()


@contextmanager
def served(answer=None, delay: float = 0.):
    "Serve drawn photographs as `/<number>.jpg`, or what `answer(handler, number)` writes instead; count requests."
    class Handler(BaseHTTPRequestHandler):
        protocol_version, wbufsize = 'HTTP/1.1', -1
        def setup(self):
            server.connections += 1
            super().setup()
        def do_GET(self):
            number = int(re.search(r'\d+', self.path)[0])
            server.asked[number] += 1
            time.sleep(delay)
            if not (answer and answer(self, number)): says(self, drawn(number))
        def log_message(self, *arguments): pass
    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 64
        def handle_error(self, *arguments): pass  # of clients that were killed
    server = Server(('127.0.0.1', 0), Handler)
    server.asked, server.connections, server.address = Counter(), 0, f'http://127.0.0.1:{server.server_port}'
    threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
    try: yield server
    finally:
        server.shutdown()
        server.server_close()


def says(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, length: int | None = None) -> bool:
    "Send an answer, which may promise another length than it has."
    handler.send_response(status)
    handler.send_header('Content-Length', str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = length is not None
    return True


def labelled(address: str, count: int, first: int = 0) -> pd.DataFrame:
    "Labels for photographs that `served` serves."
    numbers = range(first, first + count)
    return pd.DataFrame({'media_id': [hashlib.md5(drawn(o)).hexdigest() for o in numbers],
                         'label': ['Branta canadensis' if o % 3 else 'blank' for o in numbers],
                         'url': [f'{address}/{o}.jpg' for o in numbers]})


def files(folder: Path) -> dict[str, bytes]:
    "Read all that stands below a folder, but not its lock."
    found = (o for o in folder.rglob('*') if o.is_file() and o.name != '.lock')
    return {o.relative_to(folder).as_posix(): o.read_bytes() for o in found}


def missing(handler, number: int) -> bool:
    "Answer 404 for each fortieth, and for some others fail at first."
    if number % 40 == 7: return says(handler, b'', 404)
    if number % 15 == 3 and handler.server.asked[number] == 1: return says(handler, b'half', length=1000)
    return number % 15 == 4 and handler.server.asked[number] == 1 and says(handler, b'', 503)


def test_killed_ten_times_it_ends_as_if_nothing_had_happened(tmp_path):
    (tmp_path/'run.py').write_text(RUN)
    killed, undisturbed, chance = tmp_path/'killed', tmp_path/'undisturbed', np.random.default_rng(7)
    with served(missing, delay=.05) as server:
        labels = labelled(server.address, 240)
        labels.to_csv(tmp_path/'labels.csv', index=False)

        def start(folder):
            (folder/'tables').mkdir(parents=True, exist_ok=True)
            call = [sys.executable, '../run.py', '../labels.csv', 'images', 'tables']
            process = subprocess.Popen(call, cwd=folder, stdout=subprocess.PIPE)
            process.stdout.readline()
            return process

        def stored(): return len(list(killed.glob('images/*/*.jpg')))

        stood = []
        for more in chance.integers(3, 12, 10):  # by what is stored and not by the clock: the machine may be busy
            process, target = start(killed), stored() + more
            while stored() < target and process.poll() is None: time.sleep(.002)
            process.kill()
            process.wait()
            stood.append(stored())
        assert stood == sorted(set(stood)) and stood[-1] < 234, stood  # it was killed half-way, and went on
        for folder in (killed, undisturbed): assert start(folder).wait() == 0
    assert files(killed) == files(undisturbed)
    assert len(pd.read_csv(killed/'tables'/'photographs.csv')) == 234
    assert pd.read_csv(killed/'tables'/'photographs.csv').media_id.tolist() == [
        o for number, o in enumerate(labels.media_id) if number % 40 != 7]


def test_full_disk(tmp_path):
    "A real disk of 600 kB in a mount namespace of its own."
    (tmp_path/'run.py').write_text(RUN)
    for name in ('disk', 'kept', 'tables'): (tmp_path/name).mkdir()
    run = f'{sys.executable} run.py labels.csv disk/images tables'
    inside = f'mount -t tmpfs -o size=600k none disk && {run} && cp -r disk/images kept'
    unshare = ['unshare', '-m'] if os.geteuid() == 0 else ['unshare', '-Urm']
    with served() as server:
        labels = labelled(server.address, 150)
        labels.to_csv(tmp_path/'labels.csv', index=False)
        done = subprocess.run([*unshare, 'sh', '-c', inside], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        if any(o in done.stderr for o in ('unshare:', 'mount:')): pytest.skip(f'no disk can be made: {done.stderr}')
        assert done.returncode == 0, done.stderr
        photographs, skipped = (pd.read_csv(tmp_path/'tables'/f'{o}.csv') for o in ('photographs', 'skipped'))
        assert 10 < len(photographs) < 100 and len(photographs) + len(skipped) == 150
        for said in ('No space left on device', 'Make room'): assert skipped.reason.str.contains(said).all()
        assert server.asked.total() < len(photographs) + 40  # the rest was not even asked for
        assert not list((tmp_path/'kept').rglob('*.part'))
        manifest = read_manifest(tmp_path/'kept'/'images')
        stored = manifest[manifest.path != '']
        for path in (tmp_path/'kept'/'images').glob('*/*.jpg'): open_photograph(path)
        assert set(stored.media_id) == set(photographs.media_id) == {o.stem for o in (tmp_path/'kept').rglob('*.jpg')}

        room = tmp_path/'kept'/'images'  # on a larger disk it goes on
        asked = server.asked.total()
        download_photographs(labels, room, 160, progress=False, patience=HASTY)
        assert server.asked.total() == asked + 150 - len(photographs)
        download_photographs(labels, tmp_path/'whole', 160, progress=False, patience=HASTY)
    assert files(room) == files(tmp_path/'whole')


def test_room_is_left_for_the_tables(tmp_path):
    spare = shutil.disk_usage(tmp_path).free + 10**9
    with served() as server:
        photographs, skipped = download_photographs(
            labelled(server.address, 30), tmp_path, 160, progress=False, patience=Patience(free_bytes=spare))
    assert photographs.empty and skipped.reason.str.contains('Make room').all()


def test_bad_hosts_cost_seconds_and_nothing_else(tmp_path):
    silent = socket.create_server(('127.0.0.1', 0), backlog=200)  # takes calls and says nothing
    wrong = lambda handler, number: says(handler, drawn(number + 1))
    cut = lambda handler, number: says(handler, drawn(number)[:500], length=5000)
    endless = lambda handler, number: says(handler, b'', length=10**12)
    with served() as good, served(wrong) as damaged, served(cut) as cutting, served(endless) as huge:
        addresses = {'refusing': 'http://127.0.0.1:9', 'silent': f'http://127.0.0.1:{silent.getsockname()[1]}',
                     'good': good.address, 'damaged': damaged.address, 'cutting': cutting.address, 'huge': huge.address}
        parts = [labelled(o, 60, first*60).assign(host=name) for first, (name, o) in enumerate(addresses.items())]
        labels = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=0)
        photographs, skipped = download_photographs(labels, tmp_path, 160, progress=False, patience=HASTY)
    silent.close()
    assert photographs.host.unique() == ['good'] and len(photographs) == 60
    by_host = labels.merge(skipped.rename(columns={'id': 'media_id'})).groupby('host').reason
    assert by_host.count().to_dict() == dict.fromkeys(['refusing', 'silent', 'damaged', 'cutting', 'huge'], 60)
    assert by_host.agg(lambda o: o.str.contains('8 times in a row').sum())[['refusing', 'silent']].tolist() == [60, 60]
    assert damaged.asked.total() < 250 and good.asked.total() == 60  # neither is a bad host overrun
    assert by_host.get_group('huge').str.contains('more than 100 MB').all()


def test_a_host_that_comes_back_is_asked_again(tmp_path):
    began = time.monotonic()
    restarts = lambda handler, number: time.monotonic() - began < .7 and says(handler, b'', 503)
    with served(restarts) as server:
        patience = Patience(retries=0, pauses=(.3, .5), free_bytes=0)
        labels = labelled(server.address, 120)
        photographs, skipped = download_photographs(labels, tmp_path, 160, progress=False, patience=patience)
    assert len(photographs) == 120 and skipped.empty


def test_connections_are_kept(tmp_path):
    with served() as server:
        download_photographs(labelled(server.address, 100), tmp_path, 160, workers=4, progress=False, patience=HASTY)
        assert server.connections <= 4 and server.asked.total() == 100


def test_two_runs_in_one_folder(tmp_path):
    with served(delay=.1) as server:
        labels = labelled(server.address, 40)
        run = threading.Thread(target=download_photographs, args=(labels, tmp_path/'images', 160, 4, False))
        run.start()
        while not list(tmp_path.glob('images/*/*.jpg')): time.sleep(.01)
        with pytest.raises(LockedError, match='another run is writing'):
            download_photographs(labels, tmp_path/'images', 160, progress=False)
        run.join()
    assert len(list(tmp_path.glob('images/*/*.jpg'))) == 40


def test_interrupted_by_hand(tmp_path):
    "Ctrl-C ends a run within moments; what was stored is known."
    (tmp_path/'run.py').write_text(RUN)
    (tmp_path/'tables').mkdir()
    with served(delay=.1) as server:
        labelled(server.address, 300).to_csv(tmp_path/'labels.csv', index=False)
        call = [sys.executable, 'run.py', 'labels.csv', 'images', 'tables']
        process = subprocess.Popen(call, cwd=tmp_path, stderr=subprocess.DEVNULL)
        while len(list(tmp_path.glob('images/*/*.jpg'))) < 20: time.sleep(.01)
        process.send_signal(2)
        process.wait(60)
    stored = read_manifest(tmp_path/'images')
    assert set(stored.media_id) == {o.stem for o in tmp_path.glob('images/*/*.jpg')} and len(stored) < 300


def test_labels_that_come_twice_and_names_that_lead_elsewhere(tmp_path):
    with served() as server:
        labels = labelled(server.address, 3)
        photographs, _ = download_photographs(pd.concat([labels]*2), tmp_path/'twice', 160, progress=False, patience=HASTY)
        nothing, empty = download_photographs(labels.head(0), tmp_path/'nothing', 160, progress=False, patience=HASTY)
    assert photographs.media_id.tolist() == labels.media_id.tolist() and all(Path(o).is_file() for o in photographs.path)
    assert (len(nothing), len(empty), list(nothing)[-5:]) == (
        0, 0, ['path', 'width', 'height', 'sha256', 'drawn'])
    odd = pd.DataFrame({'media_id': ['../a', 'b', 'c'], 'label': ['blank', '../blank', 'blank'], 'url': ['', None, 'no']})
    nothing, skipped = download_photographs(odd, tmp_path/'odd', progress=False, patience=HASTY)
    assert nothing.empty and [o.split(':')[0] for o in skipped.reason][:2] == ["'../a'", "'../blank'"]


def test_the_order_of_the_labels_is_kept(tmp_path):
    with served(missing) as server:
        labels = labelled(server.address, 60)
        photographs, skipped = download_photographs(labels, tmp_path, 160, progress=False, patience=HASTY)
    stored = labels.media_id.isin(photographs.media_id)
    assert photographs.media_id.tolist() == labels.media_id[stored].tolist()
    assert skipped.id.tolist() == labels.media_id[~stored].tolist() and len(skipped) == 2
