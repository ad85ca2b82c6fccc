"""Rarefaction against iNEXT's figures, all orders of days, and surveys with known truth."""
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from published_samples import ANTS
from survey_tables import events_of, operation_of
from urbanrivers_camtraps.survey.effort import SurveyError
from urbanrivers_camtraps.survey.rarefaction import _coverage, _undetected, rarefaction, species_at


def test_rarefaction_is_the_one_that_inext_calculates():
    # iNEXT(ant$h500m, q=0, datatype='incidence_freq', size=...), 230 samples, 241 species
    inext = {1: 12.79565, 5: 45.69389, 20: 98.95589, 229: 240.6913, 230: 241, 231: 241.30741, 460: 286.54652}
    found = species_at(ANTS, 230, inext)
    assert found.species.tolist() == pytest.approx(list(inext.values()), abs=1e-3)
    assert found.how.tolist() == ['interpolated']*4 + ['observed'] + ['extrapolated']*2
    assert _coverage(ANTS, 230) == pytest.approx(.9759754, abs=1e-6)
    assert len(ANTS) + _undetected(71, 34, 230) == pytest.approx(314.81, abs=.01)  # ChaoRichness of iNEXT


def test_rarefaction_equals_all_orders_of_days():
    # species by day, 5 days; mean over all subsets of days
    met = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    for effort in range(1, 6):
        subsets = [met[:, list(o)].any(1).sum() for o in combinations(range(5), effort)]
        assert species_at(met.sum(1), 5, [effort]).species[0] == pytest.approx(np.mean(subsets))


def test_the_interval_of_rarefaction_holds_what_other_surveys_find():
    generator, chance = np.random.default_rng(3), np.geomspace(.5, .002, 30)
    inside = {50: 0, 100: 0, 200: 0}
    for _ in range(200):
        days = generator.binomial(100, chance)
        for effort, row in zip(inside, species_at(days, 100, inside).itertuples()):
            truth = (1 - (1 - chance)**effort).sum()  # expected in another survey
            inside[effort] += row.low <= truth <= row.high
    assert inside[50] >= 181, inside
    assert min(inside.values()) >= 150, inside  # beyond the effort it is one of a lower bound, as the notebook says


def test_rarefaction_of_nothing_and_of_one_species():
    assert species_at([], 10, [5, 10, 20]).species.tolist() == [0, 0, 0]
    assert species_at([3], 3, [1, 3, 6]).species.tolist() == [1, 1, 1]
    with pytest.raises(SurveyError, match='more samples than there are'): species_at([4], 3, [1])


def test_reviewed_events_are_counted_and_the_others_named():
    operation = operation_of(('a', 'x', '2025-05-01', '2025-05-11'))
    events = events_of(('a', 'Anas', '2025-05-02'), ('a', 'Anas', '2025-05-03'), ('a', 'Lynx rufus', '2025-05-04'))
    assert 'It is not known' in repr(rarefaction(events, operation))
    told = repr(rarefaction(events.assign(reviewed=[True, False, False]), operation))
    assert '33 % of the events' in told
    assert 'Bobcat' in told
    assert 'Without' not in repr(rarefaction(events.assign(reviewed=True), operation))
    assert repr(rarefaction(events.iloc[:0], operation)) == 'No animal was met.'
    with pytest.raises(SurveyError, match='not reliable'): rarefaction(events, operation, until=10)


def test_if_no_species_was_met_twice_the_form_without_doubletons_is_used():
    """Four species on one day each of ten: Q1 = 4, Q2 = 0. By Chao (1987), Q0 = 9/10 · 4 · 3/2 = 5.4; Colwell et al. (2012, equation 18): in ten more days
    Q0·(1 − (1 − Q1/(10·Q0 + Q1))^10) more; coverage by Chao and Jost (2012, equation 4b, with Q2 = 0): 1 − 9·3/(9·3 + 2)."""
    once = [1]*4
    assert _undetected(4, 0, 10) == pytest.approx(5.4)
    assert species_at(once, 10, [20]).species[0] == pytest.approx(4 + 5.4*(1 - (1 - 4/58)**10))
    assert species_at(once, 10, [5]).species[0] == pytest.approx(2)  # each with chance 5/10
    assert _coverage(np.array(once), 10) == pytest.approx(1 - 27/29)
    found = species_at(once, 10, [1, 5, 10, 15, 20])
    assert found[['low', 'high']].notna().all(axis=None) and (found.low >= 0).all() and (found.high >= found.species).all()


def test_rarefaction_of_one_event_has_no_interval():
    "With Q1 = 1 and Q2 = 0 every formula is 0 (Chat.Sam of iNEXT gives a coverage of 1, too), which is no knowledge that there is one species."
    operation = operation_of(('a', 'x', '2025-05-01', '2025-05-11'))
    found = rarefaction(events_of(('a', 'Anas', '2025-05-02')), operation)
    assert found.curve.species.iloc[-1] == pytest.approx(1) and found.coverage == 1
    assert 'it cannot be said how many would be found.' in repr(found) and found.plot().axes
    often = rarefaction(events_of(*(('a', 'Anas', f'2025-05-0{o}') for o in range(2, 9))), operation)
    assert 'no others would be expected' in repr(often)  # met on seven days of ten
    plt.close('all')
