"""Measure the probe on one backbone with real frames, out of fold: `make study FRAMES=folder BACKBONE=name`, and SIZE=pixels if you like.

A killed run goes on where it was. The figures go into nbs/study/backbones.csv, beside those of other backbones."""
import sys
from pathlib import Path

from urbanrivers_camtraps.foundations.core import CamtrapsError
from urbanrivers_camtraps.training.backbone_names import check_backbone


def study_backbone(folder: str, name: str, size: int | None = None) -> None:
    "Measure a backbone with three seeds, print the figures and keep them."
    import pandas as pd

    import study  # what takes seconds to import comes after the check of the name
    from urbanrivers_camtraps.training.backbones import default_size, describe_device, training_device
    print(f'device: {describe_device(training_device())}', file=sys.stderr)
    size, table, rows = size or default_size(name), study.frames(folder), []
    arm = study.Arm(f"backbone {name.replace('/', ' ').replace(':', ' ')} {size}", study.probe, study.Recipe(backbone=name, size=size))
    for seed in arm.seeds:
        judged = study.judge(arm, table, seed)
        rows.append({'backbone': name, 'size': size, **study.figures(arm, judged, seed)})
    new = pd.DataFrame(rows).drop(columns='arm').round(4)
    keep_figures(new, study.RESULTS/'backbones.csv')
    print(new.drop(columns='seed').groupby(['backbone', 'size']).mean().round(3).to_string())


def keep_figures(new, path: Path) -> None:
    "Write figures beside those of other backbones and sizes; earlier ones of the same are replaced."
    import pandas as pd
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = pd.read_csv(path) if path.exists() else new.head(0)
    kept = earlier[~earlier.set_index(['backbone', 'size']).index.isin(new.set_index(['backbone', 'size']).index)]
    pd.concat([o for o in (kept, new) if len(o)]).to_csv(path, index=False)


if __name__ == '__main__':
    if len(sys.argv) not in (3, 4) or not (Path(sys.argv[1])/'manifest.csv').exists():
        sys.exit('Name the folder of the frames, with a manifest.csv in it, and a backbone: make study FRAMES=folder BACKBONE=name')
    try:
        check_backbone(sys.argv[2])
        study_backbone(*sys.argv[1:3], *map(int, sys.argv[3:]))
    except CamtrapsError as error: sys.exit(str(error))
