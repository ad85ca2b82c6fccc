"""Settings on Kaggle and in the environment, folders after a kill, and results in order."""
import sys
import threading
from types import SimpleNamespace

import pandas as pd
import pytest

from urbanrivers_camtraps.foundations.core import SettingError, atomic_folder, in_order, read_duration, setting


class UserSecretsClient:
    "Answers as Kaggle's own does."
    def get_secret(self, name):
        if name == 'CAMTRAPS_PRACTICE': return 'from-kaggle'
        unknown = name == 'CAMTRAPS_OTHER'
        raise RuntimeError('No user secrets exist for kernel id 1 and label x.' if unknown else 'Connection error')


def test_kaggle_secrets(monkeypatch):
    monkeypatch.setitem(sys.modules, 'kaggle_secrets', SimpleNamespace(UserSecretsClient=UserSecretsClient))
    assert setting('CAMTRAPS_PRACTICE', env_file='nowhere') == 'from-kaggle'
    with pytest.raises(SettingError, match='is not set'): setting('CAMTRAPS_OTHER', env_file='nowhere')
    with pytest.raises(SettingError, match='Kaggle refused the secret'): setting('CAMTRAPS_BROKEN', env_file='nowhere')


def test_the_environment_comes_before_the_file(monkeypatch, tmp_path):
    (tmp_path/'.env').write_text('CAMTRAPS_PRACTICE=from-the-file\n')
    monkeypatch.setenv('CAMTRAPS_PRACTICE', 'from-the-environment')
    assert setting('CAMTRAPS_PRACTICE', env_file=tmp_path/'.env') == 'from-the-environment'
    assert setting('CAMTRAPS_PRACTICE', 'from-the-argument', tmp_path/'.env') == 'from-the-argument'


@pytest.mark.parametrize('duration', ['30', 30, 30., '', ' ', 'NaT', 'half an hour', '1:30:00'])
def test_durations_that_are_refused(duration):
    with pytest.raises(SettingError, match='gap: .*Write a number with its unit'): read_duration(duration, 'gap')


def test_durations_of_every_kind():
    for duration in ('90 min', '1.5h', ' 1h 30min ', pd.Timedelta('90min'), pd.Timedelta('90min').to_pytimedelta()):
        assert read_duration(duration) == pd.Timedelta(minutes=90)


def test_a_folder_survives_the_worst_moment(tmp_path):
    "A run was killed after the old folder had been moved away, and before the new one took its place."
    old = tmp_path/'.bundle.old'
    old.mkdir()
    (old/'b.txt').write_text('kept')
    with pytest.raises(OSError, match='disk full'), atomic_folder(tmp_path/'bundle'): raise OSError('disk full')
    assert [o.name for o in tmp_path.rglob('*')] == ['bundle', 'b.txt']


def test_results_come_in_order_though_the_first_is_done_last():
    done = [threading.Event() for _ in range(3)]

    def late(number: int) -> int:
        if number < 2: done[number + 1].wait(10)
        done[number].set()
        return number
    assert list(in_order(late, range(3), workers=3)) == [0, 1, 2]
