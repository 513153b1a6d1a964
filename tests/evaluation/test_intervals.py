"""Promises of regaze.evaluation.intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

import regaze.evaluation.intervals as intervals
from regaze.errors import OptionError
from regaze.evaluation.intervals import (
    group_codes,
    mean_interval,
    paired_kappa_difference,
    paired_mean_difference,
    percentile_bounds,
    resampled_totals,
)


def grades(n=120, seed=0):
    """Labels and the grades of a worse and a better model, with patients of two photographs each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=n)
    worse = np.clip(labels + rng.integers(-2, 3, size=n), 0, 4)
    better = np.clip(labels + rng.integers(-1, 2, size=n), 0, 4)
    return labels, worse, better, [f"p{i // 2}" for i in range(n)]


def test_groups_are_numbered_and_unknown_patients_stay_apart():
    """None is an unknown patient, never one with all other unknown ones."""
    assert group_codes(["b", None, "a", "b", None], 5).tolist() == [0, 1, 2, 0, 3]
    assert group_codes(None, 3).tolist() == [0, 1, 2]


def test_a_resample_draws_as_many_groups_as_there_are(monkeypatch):
    """Each resample holds G groups, whole ones; drawing in small blocks draws the same."""
    totals = np.array([[1.0, 10.0], [1.0, 20.0], [1.0, 30.0]])
    drawn = resampled_totals(totals, 500)
    assert drawn.shape == (500, 2)
    assert (drawn[:, 0] == 3).all()
    assert set(drawn[:, 1]) == {30, 40, 50, 60, 70, 80, 90}
    monkeypatch.setattr(intervals, "_CELLS_AT_A_TIME", 7)
    np.testing.assert_array_equal(resampled_totals(totals, 500), drawn)


def test_mean_interval_by_hand():
    """Two values: a resample's mean is 0, 1 or 2 with chances 1/4, 1/2, 1/4: the 95 % bounds are 0 and 2."""
    assert mean_interval([0.0, 2.0]) == (1.0, 0.0, 2.0)


def test_mean_interval_equals_a_plain_loop():
    """Cluster resampling by totals is what drawing whole patients and averaging their photographs gives."""
    rng = np.random.default_rng(0)
    values, names = rng.normal(size=50), [f"p{i}" for i in rng.integers(12, size=50)]
    members = [np.flatnonzero(np.array(names) == name) for name in dict.fromkeys(names)]
    draws = np.random.default_rng(0).integers(len(members), size=(300, len(members)))
    slow = [values[np.concatenate([members[g] for g in draw])].mean() for draw in draws]
    mean, low, high = mean_interval(values, names, resamples=300)
    assert mean == pytest.approx(values.mean())
    assert [low, high] == pytest.approx(list(np.percentile(slow, [2.5, 97.5])))


def test_mean_interval_leaves_out_what_is_missing():
    """None and NaN neither count as zero nor poison the mean, and their patients are not drawn."""
    values, names = [1.0, None, 3.0, float("nan"), 5.0], ["a", "b", "c", "c", "d"]
    assert mean_interval(values, names) == mean_interval([1.0, 3.0, 5.0], ["a", "c", "d"])


def test_nothing_and_a_single_patient():
    """No value has no mean; one patient has a mean but no interval, for width zero would claim certainty."""
    assert mean_interval([]) == (None, None, None)
    assert mean_interval([None, float("nan")]) == (None, None, None)
    assert mean_interval([1.0, 3.0], ["a", "a"]) == (2.0, None, None)
    assert percentile_bounds(np.array([np.nan, np.nan]), 2) == [None, None]


def test_coverage():
    """Over 400 simulated studies the 95 % interval by patient covers the truth; by photograph it does not."""
    rng = np.random.default_rng(2024)
    patients, eyes = 50, 4
    names = [f"p{i // eyes}" for i in range(patients * eyes)]
    inside = np.zeros(2)
    for _ in range(400):
        values = np.repeat(rng.normal(size=patients), eyes) + 0.5 * rng.normal(size=patients * eyes)
        for way, groups in enumerate((names, None)):
            _, low, high = mean_interval(values, groups, resamples=400)
            inside[way] += low <= 0 <= high
    by_patient, by_photograph = inside / 400
    assert 0.915 <= by_patient <= 0.975
    assert by_photograph < 0.8


def test_kappa_difference_equals_a_plain_loop():
    """Difference and interval are those of scikit-learn's kappa on the same draws, paired."""
    labels, worse, better, _ = grades(40)

    def kappa(chosen, pick):
        return cohen_kappa_score(labels[pick], chosen[pick], labels=range(5), weights="quadratic")

    draws = np.random.default_rng(0).integers(40, size=(120, 40))
    slow = np.array([kappa(better, draw) - kappa(worse, draw) for draw in draws])
    found = paired_kappa_difference(labels, worse, better, 5, resamples=120)
    assert found["difference"] == pytest.approx(kappa(better, slice(None)) - kappa(worse, slice(None)))
    assert found["interval"] == pytest.approx(list(np.percentile(slow, [2.5, 97.5])))
    assert found["probability_better"] == pytest.approx((slow > 0).mean())


def test_kappa_difference_has_a_direction():
    """Positive where b is better; swapped, everything turns over."""
    labels, worse, better, patients = grades()
    there = paired_kappa_difference(labels, worse, better, 5, patients)
    back = paired_kappa_difference(labels, better, worse, 5, patients)
    assert there["difference"] > 0
    assert there["interval"][0] > 0
    assert there["probability_better"] == 1
    assert back["difference"] == pytest.approx(-there["difference"])
    assert back["interval"] == pytest.approx([-edge for edge in reversed(there["interval"])])
    assert back["probability_better"] == 0


def test_a_model_against_itself():
    """Pairing leaves no noise: difference and interval are exactly 0, and neither side is better."""
    labels, worse, _, patients = grades()
    found = paired_kappa_difference(labels, worse, worse, 5, patients)
    counts = {"n_used": len(labels), "n_groups": len(set(patients))}
    assert found == {
        "difference": 0.0,
        "interval": [0.0, 0.0],
        "probability_better": 0.5,
        "above_chance": True,
        **counts,
    }


@pytest.mark.parametrize("labels", [[], [2, 2]])
def test_undefined_kappa_difference(labels):
    """Where kappa is undefined so is its difference: None, not NaN."""
    found = paired_kappa_difference(labels, labels, labels, 5)
    nothing = {"difference": None, "interval": [None, None], "probability_better": None, "above_chance": None}
    assert found == {**nothing, "n_used": len(labels), "n_groups": len(labels)}


def test_mean_difference_skips_and_counts():
    """A pair counts only where both have a value; the others are counted as skipped."""
    found = paired_mean_difference([1.0, None, 3.0, 2.0], [2.0, 5.0, float("nan"), 5.0])
    assert found["n_used"] == 2
    assert found["n_skipped"] == 2
    assert found["n_groups"] == 2
    assert found["difference"] == 2.0
    assert (found["mean_a"], found["mean_b"]) == (1.5, 3.5)
    assert found["interval"] == [1.0, 3.0]
    assert found["probability_greater"] == 1.0
    json.dumps(found, allow_nan=False)


def test_mean_difference_of_nothing():
    """With every pair skipped there is no difference, and the count says why."""
    found = paired_mean_difference([None, 1.0], [1.0, None], ["a", "b"])
    assert found["difference"] is None
    assert found["interval"] == [None, None]
    assert (found["n_used"], found["n_skipped"]) == (0, 2)


def test_mean_difference_is_paired():
    """A constant gain on noisy images has no spread, which only pairing sees."""
    values = np.random.default_rng(0).normal(size=30)
    found = paired_mean_difference(values, values + 0.25)
    assert found["interval"] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mean_interval([1.0, 2.0], ["a"]), ValueError, "1 groups for 2 items"),
        (lambda: mean_interval([[1.0]]), ValueError, "shape"),
        (lambda: mean_interval([1.0], resamples=0), OptionError, "resamples is 0"),
        (lambda: paired_mean_difference([1.0], [1.0, 2.0]), ValueError, "1 values_a for 2 values_b"),
        (
            lambda: paired_kappa_difference([1], [1], [1, 2], 5),
            ValueError,
            "1 labels, 1 grades_a, 2 grades_b",
        ),
    ],
)
def test_wrong_input_is_refused(call, error, message):
    """Lengths that do not fit are refused rather than broadcast."""
    with pytest.raises(error, match=message):
        call()
