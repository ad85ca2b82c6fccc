"""The curve ends with all species that were met, and its mean is the known one."""
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from survey_tables import TIME_ZONE, deployments_of, events_of, operation_of
from urbanrivers_camtraps.foundations.core import HUMAN
from urbanrivers_camtraps.survey.effort import SurveyError, camera_operation
from urbanrivers_camtraps.survey.richness import accumulation, chao, plot_accumulation

WATCHED = operation_of(('a', 'l', '2024-05-01', '2024-05-11'), ('b', 'l', '2024-05-08', '2024-05-21'), ('c', 'l', '2024-05-09', '2024-05-10'),
                       ('a2', 'm', '2024-05-01', '2024-05-11'))
SEEN = events_of(('a', 'Anas', '2024-05-02'), ('a', HUMAN, '2024-05-02 08:00'), ('b', 'Anas', '2024-05-20'), ('a2', 'Anas', '2024-05-02'),
                 ('a2', 'Castor', '2024-05-11'))


def test_no_order_is_no_curve():
    with pytest.raises(SurveyError, match='at least one order'): accumulation(SEEN, WATCHED, orders=0)


def test_accumulation_ends_with_all_species_and_knows_no_people():
    watched = operation_of(('a', 'l', '2025-05-01', '2025-05-11'), ('b', 'm', '2025-05-01', '2025-05-11'))
    seen = events_of(('a', 'Anas', '2025-05-02'), ('b', 'Anas', '2025-05-02'), ('b', 'Castor', '2025-05-04'), ('a', 'Lontra', '2025-05-04'),
                     ('a', HUMAN, '2025-05-04'))
    for whole in (False, True):
        found = accumulation(seen, watched, whole=whole)
        assert found.species == 3 and found.curve.species.iloc[-1] == 3 and found.curve.camera_days.iloc[-1] == pytest.approx(20)
        assert found.curve.species.is_monotonic_increasing
    assert found.chao2[0] == pytest.approx(3 + 19/20*2*1/(2*2))  # two met on one location-day, one on two


def test_the_mean_over_all_orders_is_known():
    "S − Σ C(H − h, q)/C(H, q) (Colwell and others, 2004); here H = 30, q = 3 and 1."
    found = accumulation(SEEN, WATCHED, orders=1000)
    assert found.species == 2 and len(found.curve) == 30 and found.curve.camera_days.iloc[-1] == pytest.approx(30)
    assert found.curve.species.iloc[14] == pytest.approx(2 - math.comb(15, 3)/math.comb(30, 3) - .5, abs=.06)


def test_chao1_is_the_one_of_estimates():
    """The tests of scikit-bio (`test_chao1.py`, Modified BSD), "should match observed results from EstimateS", which rounds to two digits; and those of the R
    package wiqid (`test-rich.R`, GPL >= 3) for the 31 birds of its data set KillarneyBirds, four of them counted once and four twice."""
    for counts, expected in (([0, 1, 1, 4, 2, 5, 2, 4, 1, 2], (9.75, 9.07, 17.45)), ([0, 2, 2, 4, 5], (4, 4, 4.95)), ([0, 1, 1, 4, 5], (5, 4.08, 17.27))):
        assert chao(counts) == pytest.approx(expected, rel=.01)
    assert chao([1]*4 + [2]*4 + [9]*23) == pytest.approx((32.2, 31.14, 41.37), abs=.01)


def test_chao2_is_the_one_of_estimates():
    "The bias-corrected Chao2 of the same birds: 31 of them in 9 woods, six in one wood only, five in two (wiqid, `test-rich.R`: richChao2(correct=TRUE))."
    assert chao([1]*6 + [2]*5 + [4]*20, samples=9) == pytest.approx((33.22, 31.36, 44.88), abs=.01)
    # the six and five of the same file: richUnique, richDuplicate; the other woods of the 20 do not matter
    assert chao([1]*6 + [2]*5 + [9]*20, samples=9) == chao([1]*6 + [2]*5 + [3]*20, samples=9)


def test_one_event_is_one_species_and_no_sign_of_others():
    found = accumulation(events_of(('a', 'Anas', '2024-05-02')), WATCHED)
    assert found.species == 1 and found.chao1[0] == found.chao2[0] == 1
    assert str(found).endswith('Whether there are others cannot be said from so few days: it may be up to 3.')
    often = accumulation(events_of(*(('a', 'Anas', f'2024-05-0{o}') for o in range(2, 9))), WATCHED)
    assert str(often).endswith('does not suggest that there are others.')
    assert found.curve.species.iloc[-1] == 1 and found.curve.low.iloc[0] == 0
    assert plot_accumulation(found).axes
    plt.close('all')


def test_without_animals_or_effort_nothing_was_met():
    none = camera_operation(deployments_of(('a', 'l', '2024-05-01', None)), time_zone=TIME_ZONE)
    assert str(accumulation(SEEN.head(0), WATCHED)) == 'No animal was met.' and np.isnan(chao([])[2])
    assert accumulation(SEEN, none).curve.empty
    assert plot_accumulation(accumulation(SEEN.head(0), WATCHED)).axes and plot_accumulation(accumulation(SEEN, none)).axes
    plt.close('all')
