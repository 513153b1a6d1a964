"""Grading by period: known by hand, and grades that are hard are not taken for a period that is."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from regaze.evaluation.periods import FEWEST_PHOTOGRAPHS, grading_by_period, period_answer


def judged(*parts):
    """Labels, grades and periods of parts (period, label, grade, count)."""
    rows = [(label, grade, period) for period, label, grade, count in parts for _ in range(count)]
    labels, grades, periods = zip(*rows, strict=True)
    return np.array(labels), np.array(grades), list(periods)


def figures(labels, grades, periods, **more):
    """What a model that is sure of its grades gets."""
    return grading_by_period(np.eye(3)[grades], grades, labels, periods, **more)


def test_known_by_hand():
    """Two years of 30: class 0 right in 20 of 20 and 10 of 20, class 1 in 5 of 10 and 10 of 10."""
    labels, grades, periods = judged(
        *(("2009", 0, 0, 20), ("2009", 1, 1, 5), ("2009", 1, 2, 5)),
        *(("2010", 0, 0, 10), ("2010", 0, 2, 10), ("2010", 1, 1, 10)),
        *(("2011", 2, 2, 4), (None, 2, 2, 3)),
    )
    found = figures(labels, grades, periods)
    assert found["n_left_out"] == 7
    assert list(found["periods"]) == ["2009", "2010"], "2011 has too few"
    for year, accuracy, recall, score in (
        ("2009", 25 / 30, [1, 0.5, None], 5 * 0.5 / 30),
        ("2010", 20 / 30, [0.5, 1, None], 10 * 1 / 30),
    ):
        here = np.array(periods) == year
        entry = found["periods"][year]
        assert entry["n"] == 30
        assert entry["accuracy"] == pytest.approx(accuracy)
        assert entry["recall"] == pytest.approx(recall)
        assert entry["ranked_probability_score"] == pytest.approx(score)
        kappa = cohen_kappa_score(labels[here], grades[here], weights="quadratic", labels=range(3))
        assert entry["quadratic_weighted_kappa"] == pytest.approx(kappa)
        # Both classes are graded right in three quarters over both years.
        assert entry["excess"]["mean"] == pytest.approx(accuracy - 0.75)


def test_hard_grades_are_no_hard_period():
    """One year has the hard grade, the other the easy one, each as well graded as anywhere: nothing follows."""
    labels, grades, periods = judged(
        *(("2009", 0, 0, 54), ("2009", 0, 1, 6), ("2009", 1, 1, 10), ("2009", 1, 0, 10)),
        *(("2010", 0, 0, 18), ("2010", 0, 1, 2), ("2010", 1, 1, 30), ("2010", 1, 0, 30)),
    )
    found = figures(labels, grades, periods)
    years = found["periods"]
    assert years["2009"]["accuracy"] - years["2010"]["accuracy"] == pytest.approx(0.2)
    assert years["2009"]["excess"]["mean"] == pytest.approx(0) == years["2010"]["excess"]["mean"]
    assert "not shown to follow the period" in period_answer(found)


def test_an_error_that_follows_the_period_is_said():
    """A year that is graded 40 points less often right than another, at the same grades, is named with its points."""
    labels, grades, periods = judged(
        *(("2009", 0, 0, 90), ("2009", 0, 1, 10)), *(("2010", 0, 0, 50), ("2010", 0, 1, 50))
    )
    found = figures(labels, grades, periods)
    low, high = found["periods"]["2010"]["excess"]["interval"]
    assert low < -0.2 < high < 0
    assert period_answer(found) == (
        "the error follows the period: 2009 is graded right 20 points more often than its grades explain; 2010 is "
        "graded right 20 points less often than its grades explain"
    )


def test_photographs_of_one_patient_decide_nothing():
    """All photographs of a period are of one patient: no interval, and so no claim."""
    labels, grades, periods = judged(("a", 0, 0, 40), ("b", 0, 1, 40))
    found = figures(labels, grades, periods, groups=["p"] * 40 + ["q"] * 40)
    assert [entry["excess"]["interval"] for entry in found["periods"].values()] == [[None, None]] * 2
    assert "not shown" in period_answer(found)


def test_more_periods_need_wider_intervals():
    """The interval of a period holds together with those of all others, so it widens with their number."""

    def width(years):
        parts = [(year, 0, grade, 20) for year in years for grade in (0, 1)]
        low, high = figures(*judged(*parts))["periods"]["2009"]["excess"]["interval"]
        return high - low

    assert width(["2009", "2010", "2011", "2012", "2013", "2014"]) > width(["2009", "2010"]) > 0


@pytest.mark.parametrize("second", [[], [("2010", 0, 0, FEWEST_PHOTOGRAPHS - 1)], [(None, 0, 0, 90)]])
def test_one_period_is_no_comparison(second):
    """With fewer than two periods of enough photographs there is no table."""
    assert figures(*judged(("2009", 0, 0, 40), *second)) is None


def test_classes_without_an_order_have_no_ranked_score():
    """Kappa is unweighted there, and the ranked probability score is None."""
    labels, grades, periods = judged(
        *(("a", 0, 0, 20), ("a", 2, 0, 5), ("a", 1, 1, 9)), *(("b", 0, 0, 20), ("b", 1, 0, 2))
    )
    entry = figures(labels, grades, periods, ordinal=False)["periods"]["a"]
    here = np.array(periods) == "a"
    assert entry["ranked_probability_score"] is None
    assert entry["quadratic_weighted_kappa"] == pytest.approx(cohen_kappa_score(labels[here], grades[here]))
