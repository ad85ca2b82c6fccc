"""A million records of SpeciesNet and of MegaDetector turned into tables: how many a second, and the memory it takes.

    python tools/bench_results.py

Each file is made once and kept, 0.4 to 1.0 GB, five labels and one to three boxes a photograph, as the programs write them: MegaDetector's
with its categories at the end. Each run is a process of its own, which imports what it needs, and its peak memory is what the system says it held. The rival
is `json.load` of the same file, which makes no tables yet."""
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

RECORDS = 1_000_000
NAMES = ('Branta canadensis', 'Anas platyrhynchos', 'Procyon lotor', 'Castor canadensis', 'Turdus migratorius', 'blank')


def boxes(number: int) -> list[dict]:
    "Make the boxes of a photograph."
    return [{'category': str(1 + (number + o) % 3), 'label': ('animal', 'human', 'vehicle')[(number + o) % 3], 'conf': round(.99 - .3*o - number % 97/1000, 4),
             'bbox': [round(.05 + (number + o) % 400/1000, 4), .2137, .3024, .4461]} for o in range(1 + number % 3)]


def records(kind: str, count: int, labels: list[str]) -> Iterator[dict]:
    "Make the records of a file."
    for number in range(count):
        path = f'/data/river/{number % 40:02d}/100MEDIA/{number:09d}.JPG'
        top = {'classes': [labels[(number + o) % len(labels)] for o in range(5)], 'scores': [.8, .1, .05, .02, .01]}
        if kind == 'md':
            yield {'file': path, 'detections': [{k: v for k, v in o.items() if k != 'label'} for o in boxes(number)]}
            continue
        record, best = {'filepath': path, 'country': 'USA', 'admin1_region': 'IL', 'model_version': '4.0.3a'}, top['classes'][0]
        if kind == '5.0.5':
            yield {**record, 'classifications': top, 'detections': boxes(number), 'prediction': best, 'prediction_score': .8, 'prediction_source': 'classifier'}
        else:
            processed = {'class': best, 'score': .8, 'source': 'classifier'}
            said = {'raw_classifications': {k: v[:2] for k, v in top.items()}, 'processed_classification': processed}
            yield {**record, 'detections': [{**o, **said} for o in boxes(number)]}


def make(folder: Path, kind: str, count: int) -> Path:
    "Write a file as the program would, or take the one of an earlier run."
    from urbanrivers_camtraps.foundations.core import atomic_path
    from urbanrivers_camtraps.votes.taxonomy import write_taxon
    path, key = folder/f'results-{kind}-{count}.json', 'images' if kind == 'md' else 'predictions'
    if path.exists(): return path
    info = {'info': {'format_version': '1.6' if kind == 'md' else '20261015'}}
    if kind == 'md': info['detection_categories'] = {'1': 'animal', '2': 'person', '3': 'vehicle'}
    with atomic_path(path) as temporary, temporary.open('w') as file:
        file.write(f'{{"{key}": [')
        for number, record in enumerate(records(kind, count, [write_taxon(o) for o in NAMES])):
            file.write((',\n' if number else '\n') + json.dumps(record, indent=1))
        file.write('\n],' + json.dumps(info)[1:])
    return path


def child(what: str, path: Path) -> tuple[float, float]: # seconds, and MB at the peak
    "Read a file in a process of its own."
    done = subprocess.run([sys.executable, __file__, what, path], check=True, stdout=subprocess.PIPE, text=True)
    return tuple(map(float, done.stdout.split()))


def measure(what: str, path: Path) -> None:
    "Read a file and print the seconds and the peak memory of this process in MB."
    with tempfile.TemporaryDirectory() as folder:
        if what == 'convert':
            import pyarrow.parquet as pq

            from urbanrivers_camtraps.inference.detector_json import convert_detector_json
            began = time.perf_counter()
            convert_detector_json(path, Path(folder)/'tables')
            seconds, rows = time.perf_counter() - began, pq.read_metadata(Path(folder)/'tables'/'predictions.parquet').num_rows
        else:
            began = time.perf_counter()
            with path.open() as file: found = json.load(file)
            seconds, rows = time.perf_counter() - began, len(found.get('predictions') or found['images'])
    assert rows == int(path.stem.rsplit('-', 1)[1]), rows
    peak = re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]  # getrusage would tell the parent's where that was higher
    print(seconds, int(peak)/1024)


def main(
    cache: Path = Path(tempfile.gettempdir())/'camtraps-bench', # keeps the files
    count: int = RECORDS, # in each of them
) -> list[dict]:
    "Read a file of each kind."
    cache.mkdir(exist_ok=True)
    found = []
    for kind, program in (('5.0.5', 'SpeciesNet up to 5.0.5'), ('5.0.6', 'SpeciesNet from 5.0.6'), ('md', 'MegaDetector')):
        path = make(cache, kind, count)
        (seconds, memory), (_, whole) = child('convert', path), child('load', path)
        what = f'{count:,} records of {program} ({path.stat().st_size/1e9:.1f} GB) to tables'
        found += [{'what': what, 'rate': count/seconds, 'errors': 0, 'at_least': 5_000},
                  {'what': f'{what}, peak memory; json.load of the file takes {whole:,.0f} MB, {whole/memory:.1f} times as much',
                   'MB': memory, 'wanted_MB': 400}]
    return found


if __name__ == '__main__':
    if len(sys.argv) > 2: measure(sys.argv[1], Path(sys.argv[2]))
    else:
        from bench import line
        for one in main(): print(line(one), flush=True)
