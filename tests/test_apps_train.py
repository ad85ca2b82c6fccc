"""Which recipe `camtraps train` takes, and which of two models it keeps."""
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from urbanrivers_camtraps.apps.cli import training
from urbanrivers_camtraps.apps.main import run
from urbanrivers_camtraps.foundations.core import CamtrapsError, collect_notices
from urbanrivers_camtraps.foundations.tables import write_table
from urbanrivers_camtraps.images.background import BOX


def dataset_with(folder: Path, **columns: object) -> Path:
    "Write a data set of two photographs that nobody opens."
    table = pd.DataFrame({'media_id': ['a', 'b'], 'path': ['a.jpg', 'b.jpg'], 'label': ['blank', 'Castor canadensis'], 'split': ['train', 'valid'],
                          'fold': [0, 1], 'sha256': ['1', '2']}).assign(**columns)
    write_table(table, folder/'dataset.parquet')
    return folder


@pytest.mark.parametrize('place, arguments, expected', [
    (.5, [], ('tf_efficientnet_lite2', 320, True, 2e-3)), (None, [], ('tf_efficientnet_lite2', 320, False, 3e-3)),
    (.5, ['--no-motion'], ('tf_efficientnet_lite2', 320, False, 3e-3)),
    (.5, ['--backbone', 'tf_efficientnet_lite0'], ('tf_efficientnet_lite0', 224, True, 2e-3))])
def test_train_takes_the_recipe_of_the_study(tmp_path, monkeypatch, place, arguments, expected):
    taken = []
    def stop(method, seen, recipe, *_):
        taken.append((recipe.backbone, recipe.size, recipe.motion, recipe.C))
        raise CamtrapsError('seen enough')
    monkeypatch.setattr(training, '_trained', stop)
    run(['train', *arguments, '--data', str(dataset_with(tmp_path, **dict.fromkeys(BOX, place)))])
    assert taken == [expected]


@pytest.mark.parametrize('tuned, plain, kept', [
    (['a', 'b', 'a'], ['a', 'a', 'a'], 'tuned'), (['a', 'a', 'a'], ['a', 'a', 'b'], 'probe'), (['a', 'a', 'a'], ['b', 'a', 'b'], 'probe')])
def test_out_of_fold_the_better_of_fine_tuning_and_its_probe_is_kept(monkeypatch, tuned, plain, kept):
    judged, other = (pd.DataFrame({'label': ['a', 'b', 'b'], 'prediction': o}) for o in (tuned, plain))
    monkeypatch.setattr(training, 'probe', SimpleNamespace(out_of_fold=lambda *_, **__: other, probe=lambda *_, **__: 'probe'))
    learner = SimpleNamespace(recipe=None)
    with collect_notices() as notices: model, table = training._better(learner, judged, judged, {})
    assert (model is learner and table is judged and not notices) if kept == 'tuned' else (model == 'probe' and table is other and len(notices) == 1)
