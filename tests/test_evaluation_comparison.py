"""Two runs: the test over bursts does not cry wolf, and a better run is seen."""
import numpy as np

from test_evaluation_metrics import judged
from urbanrivers_camtraps.evaluation.comparison import compare_runs


def test_where_bursts_go_together_only_the_test_over_bursts_keeps_quiet():
    "Two runs that are equally good differ burst by burst; an alarm at 5 % should be rare."
    alarms = []
    for seed in range(200):
        one, other = judged(50, 8, seed), judged(50, 8, seed + 1000)
        other = one.assign(prediction=np.where(other.prediction == other.label, one.label, 'Ondatra zibethicus'))
        compared = compare_runs(one, other)
        alarms.append((compared.p_photographs < .05, compared.p_groups < .05))
    of_photographs, of_bursts = np.mean(alarms, axis=0)
    assert of_bursts <= .08 < .25 < of_photographs


def test_a_better_run_is_seen():
    one = judged(80, 4, seed=0)
    generator = np.random.default_rng(1)
    cured = generator.random(80)[one.burst_id] < .5
    compared = compare_runs(one, one.assign(prediction=one.label.where(cured, one.prediction)))
    assert compared.p_groups < .001 and 0 < compared.low < compared.difference < compared.high
    assert 'Believe the groups: the new run is better' in str(compared)
    assert set(compared.changed.change) == {'put right'} and len(compared.changed) == compared.counts.loc['wrong', 'right']





def test_a_worse_run_is_seen_and_images_can_stand_for_themselves():
    one = judged(60, 1, seed=0).assign(prediction=lambda o: o.label)
    worse = one.assign(prediction=one.label.where(one.index % 3 > 0, 'crow'))
    assert 'the new run is worse' in str(compare_runs(one, worse))
    assert compare_runs(one, worse, 'image').p_groups == compare_runs(one, worse).p_photographs


def test_the_same_run_twice_has_no_difference():
    one = judged(10, 3, seed=0)
    compared = compare_runs(one, one)
    assert compared.p_photographs == compared.p_groups == 1 and compared.changed.empty and 'chance' in str(compared)
