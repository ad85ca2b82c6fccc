"""Ask the app and read the cards with the Gradio and the huggingface_hub that are installed: run by `make newest` on the demo's bundle."""
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from gradio_client import Client, handle_file
from huggingface_hub import ModelCard, RepoCard

NAME = 'urban-rivers/who'
#: Nothing here needs the Hub, so nothing may be asked of it.
OFFLINE = {**os.environ, 'HF_HUB_OFFLINE': '1', 'GRADIO_ANALYTICS_ENABLED': 'False', 'NO_PROXY': '127.0.0.1,localhost'}


def publish(
    camtraps: Path, # the command
    bundle: Path, # of the demo
    out: Path, # folder for what is written
) -> None:
    "Write what would be published, and read each card as the Hub's own library does."
    for kind in ('model', 'space', 'web'):
        command = [camtraps, 'publish', kind, NAME, '--bundle', bundle, '--out', out/kind, '--licence', 'mit', '--dry-run', '--drawn']
        subprocess.run(command, check=True, env={**OFFLINE, 'HF_TOKEN': ''}, stdout=subprocess.DEVNULL)
        card = (ModelCard if kind == 'model' else RepoCard).load(out/kind/'README.md')
        assert card.data.license == 'mit' and (kind != 'model' or card.data.eval_results), card.data
        print(f'  publish {kind}: its card is read', flush=True)


def ask(
    camtraps: Path, # the command
    bundle: Path, # of the demo
) -> None:
    "Serve the app and ask its endpoint about an example."
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([camtraps, 'app', '--bundle', bundle, '--port', str(port)], env=OFFLINE, stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try: socket.create_connection(('127.0.0.1', port), 5).close()
            except OSError: time.sleep(1)
            else: break
        else: sys.exit('the app was not served within two minutes')
        client = Client(f'http://127.0.0.1:{port}/', verbose=False, analytics_enabled=False)
        photograph = handle_file(str(next(bundle.glob('examples/*.jpg'))))
        _, answer = client.predict(image_path=photograph, api_name='/top_3_preds')
        assert answer['prediction']['class'] and 0 <= answer['prediction']['probability'] <= 1, answer
        print(f"  app: /top_3_preds answers {answer['prediction']['class']}", flush=True)
    finally:
        server.terminate()
        server.wait(20)


if __name__ == '__main__':
    command, demo = Path(sys.argv[1]), Path(sys.argv[2])
    publish(command, demo/'bundle', demo/'published')
    ask(command, demo/'bundle')
