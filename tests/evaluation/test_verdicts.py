"""Promises of regaze.evaluation.verdicts, by hand."""

import math

import pytest

from regaze.evaluation.verdicts import MEASURES, Comparison, compare, credited, gain, judge, size, together, undecided

FLIPPED = {"improved": "worse", "worse": "improved"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.2, "improved"),
        (0.0, 0.2, "inconclusive"),
        (-0.2, -0.001, "worse"),
        (-0.05, 0.05, "equivalent"),
        (-0.051, 0.02, "inconclusive"),
        (0.001, 0.05, "equivalent"),
        (-0.05, -0.001, "equivalent"),
        (0.001, 0.051, "improved"),
        (math.nan, 0.2, "inconclusive"),
        (None, None, "inconclusive"),
    ],
)
def test_judged_by_the_interval(low, high, expected):
    """Only an interval beyond zero and the margin makes a claim, only one within the margin denies a difference."""
    pair = compare({"difference": 0.0, "interval": [low, high]})
    assert MEASURES["kappa"].margin == 0.05
    assert judge(pair, "kappa") == expected
    mirrored = Comparison(0.0, *(None if end is None else -end for end in (pair.high, pair.low)))
    assert judge(mirrored, "kappa") == FLIPPED.get(expected, expected)


@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_has_its_margin_and_direction(measure):
    """Within the margin: equivalent; beyond: by the direction. Deletion and errors are better when they fall."""
    margin = MEASURES[measure].margin
    assert judge(Comparison(0.0, -margin, margin), measure) == "equivalent"
    rise = judge(Comparison(1.5 * margin, margin, 2 * margin), measure)
    errors = ("squared_error", "ranked_probability_score", "log_loss")
    assert rise == ("worse" if measure in ("deletion", "relative_deletion", *errors) else "improved")
    assert (gain(Comparison(margin, 0.0, 2 * margin, probability_better=0.9), measure).difference > 0) == (
        rise == "improved"
    )


def test_what_decides_nothing_says_why():
    """Nine patients, nine photographs, two trainings, two models that guess: no word but inconclusive."""
    for few, why in (
        ({"patients": 9}, "9 patients, and 10 are the fewest"),
        ({"patients": 1, "n_used": 50}, "1 patient, and 10 are the fewest"),
        ({"n_used": 9}, "9 photographs, and 10 are the fewest"),
        ({"patients": 3, "n_used": 6}, "3 patients, and 10 are the fewest"),
        ({"patients": 6, "n_used": 6}, "6 photographs, and 10 are the fewest"),
        ({"seeds": 2, "patients": 30}, "2 training runs, and 3 are the fewest"),
        ({"above_chance": False}, "neither model is shown to grade better than chance"),
    ):
        for ends in ((0.2, 0.4), (-0.4, -0.2), (-0.01, 0.01)):
            pair = Comparison(0.0, *ends, **few)
            assert (judge(pair, "kappa"), undecided(pair)) == ("inconclusive", why)
            assert size(pair, "kappa") == ""
    assert judge(Comparison(0.3, 0.2, 0.4, n_used=10, patients=10, seeds=3, above_chance=True), "kappa") == "improved"


def test_several_measures_together():
    """Harm in one is harm, whatever the other gained; equivalent needs all."""
    assert together(("improved", "worse")) == "worse"
    assert together(("improved", "inconclusive")) == together(("equivalent", "improved")) == "improved"
    assert together(("equivalent", "inconclusive")) == "inconclusive"
    assert together(("equivalent", "equivalent")) == "equivalent"


def test_only_what_exceeds_the_control_is_credited():
    """An improvement takes the control's word; what is none keeps its own."""
    assert credited("improved", None) == "inconclusive"
    for against in ("improved", "worse", "equivalent", "inconclusive"):
        assert credited("improved", against) == against
        assert credited("worse", against) == "worse"
    assert credited("equivalent", "improved") == "equivalent"


def test_size_in_words():
    """A sure difference is said to be below, across, or beyond the least that matters."""
    assert "There is a small gain, below the 0.05" in size(Comparison(0.02, 0.01, 0.03), "kappa")
    assert "The loss may yet be smaller than the 0.05" in size(Comparison(-0.1, -0.2, -0.01), "kappa")
    assert "Even the cautious end of the interval is a gain that matters" in size(Comparison(0.2, 0.1, 0.3), "kappa")
    assert size(Comparison(0.0, -0.1, 0.1), "kappa") == ""
