"""The app as a Space runs it: how fast it starts, how much memory it takes, and how many photographs a second it answers.

    python tools/bench_app.py

`python app.py` serves a bundle of a freshly made EfficientNet-Lite0 and one of a ResNet-18, each in a process of its
own, from the folder that `publish space --dry-run` writes and in an environment of its requirements alone (with pyarrow, which
pandas loads where it finds it, it takes some 80 MB more). The cold start is from starting the process to its first
page. Then eight clients each send drawn photographs of
3648×2736 pixels, each uploaded anew and asked about as the public page does, for twenty seconds; the peak memory is
the process's own after that. The clients and the app share the machine's cores, and drawing is not counted."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import venv
from pathlib import Path
from types import SimpleNamespace

from bench_images import draw

BOUNDARY, CLIENTS, SECONDS = 'between-the-parts', 8, 20
CLASSES = ['Actitis macularius', 'Anas platyrhynchos', 'Branta canadensis', 'Castor canadensis', 'Sylvilagus floridanus',
           'Trachemys scripta', 'Turdus migratorius', 'blank']


def make_bundle(
    backbone: str, # timm's name
    folder: Path, # becomes the bundle
) -> Path:
    "Write a bundle whose network has learned nothing: it costs what a trained one does."
    import timm
    import torch

    from urbanrivers_camtraps.training.export import write_bundle
    torch.manual_seed(0)
    network = timm.create_model(backbone, pretrained=False, num_classes=len(CLASSES)).eval()
    recipe = SimpleNamespace(backbone=backbone, size=224, trim_top=.05, trim_bottom=.05, mean=(.5,)*3, std=(.5,)*3)
    return write_bundle(SimpleNamespace(model=network, recipe=recipe, dls=SimpleNamespace(vocab=CLASSES)), folder)


def environment_of(
    requirements: Path, # of a Space
    folder: Path, # becomes the environment
) -> Path: # its Python
    "Install a Space's requirements and nothing else."
    venv.create(folder, with_pip=True)
    subprocess.run([folder/'bin'/'pip', 'install', '-qq', '--disable-pip-version-check', '-r', requirements], check=True, stderr=subprocess.DEVNULL)
    return folder/'bin'/'python'


def start(
    space: Path, # to serve
    python: Path, # of its environment
    uploads: Path, # where the visitors' files go
) -> tuple[subprocess.Popen, int, float]:
    "Serve a Space; return the process, its port and the seconds until its first page."
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
    environment = {**os.environ, 'CAMTRAPS_BUNDLE': str(space/'bundle'), 'GRADIO_SERVER_PORT': str(port), 'GRADIO_TEMP_DIR': str(uploads),
                   'CAMTRAPS_RATE': '100000'}
    began = time.perf_counter()
    process = subprocess.Popen([python, 'app.py'], cwd=space, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        try:
            if ask(port, 'GET', '/')[0] == 200: return process, port, time.perf_counter() - began
        except OSError: time.sleep(.02)
    raise SystemExit('the app did not start')


def ask(port: int, method: str, path: str, body: bytes | None = None, kind: str = 'application/json') -> tuple[int, bytes]:
    "Make one request; return status and body."
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request(method, path, body, {'Content-Type': kind} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally: connection.close()


def classify(port: int, photograph: bytes) -> bool:
    "Upload a photograph and ask what it shows; say whether there was an answer."
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = head.encode() + photograph + f'\r\n--{BOUNDARY}--\r\n'.encode()
    status, path = ask(port, 'POST', '/gradio_api/upload', body, f'multipart/form-data; boundary={BOUNDARY}')
    if status != 200: return False
    described = {'path': json.loads(path)[0], 'meta': {'_type': 'gradio.FileData'}}
    status, event = ask(port, 'POST', '/gradio_api/call/top_3_preds', json.dumps({'data': [described]}).encode())
    if status != 200: return False
    said = ask(port, 'GET', f"/gradio_api/call/top_3_preds/{json.loads(event)['event_id']}")[1]
    return b'event: complete' in said and b'probability' in said


def load(port: int, photographs: list[bytes]) -> tuple[int, int, float]:
    "Let the clients ask; return how many were answered, how many were not, and the seconds."
    answered, began = [], time.perf_counter()

    def client(number: int) -> None:
        while time.perf_counter() < began + SECONDS:
            fresh = photographs[len(answered) % len(photographs)] + os.urandom(8)  # no two the same: nothing is kept
            try: answered.append(classify(port, fresh))
            except (OSError, http.client.HTTPException, ValueError, KeyError): answered.append(False)
    threads = [threading.Thread(target=client, args=[o]) for o in range(CLIENTS)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sum(answered), answered.count(False), time.perf_counter() - began


def measure(
    name: str, # how to call the network
    backbone: str, # timm's name
    photographs: list[bytes], # to send
) -> list[dict]:
    "Measure one bundle."
    from urbanrivers_camtraps.apps.hub import write_space
    with tempfile.TemporaryDirectory() as folder:
        space = write_space(make_bundle(backbone, Path(folder)/'bundle'), Path(folder)/'space')
        python = environment_of(space/'requirements.txt', Path(folder)/'environment')
        start(space, python, Path(folder)/'uploads')[0].kill()  # once, to compile what was just installed
        process, port, seconds = start(space, python, Path(folder)/'uploads')
        try:
            done, errors, spent = load(port, photographs)
            peak = int(re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{process.pid}/status').read_text())[1])/1024
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
    return [{'what': f'cold start of the app, {name}', 's': seconds, 'wanted_s': 5},
            {'what': f'photographs of 10 megapixels a second from {CLIENTS} clients, {name}', 'rate': done/spent, 'at_least': 5,
             'errors': errors},
            {'what': f'peak memory of the app after {done} photographs, {name}', 'MB': peak, 'wanted_MB': 300}]


def main(
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the drawn photographs
) -> list[dict]:
    "Measure the app with a small and a middling network."
    photographs = draw(cache)
    return [one for name, backbone in (('EfficientNet-Lite0', 'tf_efficientnet_lite0'), ('ResNet-18', 'resnet18'))
            for one in measure(name, backbone, photographs)]


if __name__ == '__main__':
    for one in main(): print(one)
