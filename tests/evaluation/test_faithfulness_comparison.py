"""Promises of regaze.evaluation.comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regaze.evaluation.comparison import (
    faithfulness_difference,
    faithfulness_records,
    mean_curves,
    summarise_faithfulness,
)
from regaze.evaluation.faithfulness import Faithfulness
from regaze.evaluation.intervals import mean_interval, paired_mean_difference


def result(deletion, insertion):
    """A result with these areas, curves flat at them."""
    deletion, insertion = np.array(deletion, dtype=float), np.array(insertion, dtype=float)
    return Faithfulness(
        deletion=deletion,
        insertion=insertion,
        deletion_curves=np.repeat(deletion[:, None], 3, axis=1),
        insertion_curves=np.repeat(insertion[:, None], 3, axis=1),
        classes=np.arange(len(deletion)),
        step=2,
        shares=np.array([0, 0.5, 1]),
    )


RESULTS = {
    "attention": result([0.1, 0.2, 0.3, 0.6], [0.9, 0.8, 0.7, 0.5]),
    "random": result([0.3, 0.3, 0.5, 0.6], [0.5, 0.5, 0.6, 0.5]),
    "lesions": result([0.2, np.nan, 0.1, np.nan], [0.6, np.nan, 0.8, np.nan]),
}
LABELS = [2, 0, 4, None]
PATIENTS = ["a", "b", "b", None]


def test_records_are_json():
    """One record per image, None and not NaN where an image has no such map."""
    records = faithfulness_records(RESULTS)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [record["followed"] for record in records] == [0, 1, 2, 3]
    assert records[1]["maps"]["lesions"] == {"deletion": None, "insertion": None}
    assert records[2]["maps"]["attention"] == {"deletion": 0.3, "insertion": 0.7}
    assert faithfulness_records({}) == []


def test_means_by_hand():
    """Means over the images that have the map; with grade 0, and without it and the unknown; all are counted."""
    found = summarise_faithfulness(faithfulness_records(RESULTS), LABELS, PATIENTS, resamples=50)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    everything, without = found["all"], found["without_grade_0"]
    assert everything["attention"]["deletion"]["mean"] == pytest.approx(0.3)
    assert everything["lesions"]["insertion"]["mean"] == pytest.approx(0.7)
    assert (everything["lesions"]["n_used"], everything["lesions"]["n_skipped"]) == (2, 2)
    assert without["attention"]["deletion"]["mean"] == pytest.approx(0.2)
    assert (without["attention"]["n_used"], without["attention"]["n_skipped"]) == (2, 0)
    low, high = everything["attention"]["deletion"]["interval"]
    assert low < 0.3 < high
    assert "without_grade_0" not in summarise_faithfulness(faithfulness_records(RESULTS), resamples=5)


def test_intervals_are_by_patient():
    """The interval is that of `mean_interval` with the patients as groups, not of single photographs."""
    records = faithfulness_records(RESULTS)
    found = summarise_faithfulness(records, LABELS, PATIENTS, resamples=200)["all"]["attention"]["deletion"]
    _, low, high = mean_interval([0.1, 0.2, 0.3, 0.6], PATIENTS, 200)
    assert found["interval"] == [low, high]
    alone = summarise_faithfulness(records, LABELS, resamples=200)["all"]["attention"]["deletion"]
    assert alone["interval"] != found["interval"]


def test_differences_are_paired():
    """Difference of two names on the images that have both, as `paired_mean_difference` gives it."""
    records = faithfulness_records(RESULTS)
    found = faithfulness_difference((records, "random"), (records, "attention"), LABELS, PATIENTS, resamples=100)
    assert found["all"]["deletion"] == paired_mean_difference([0.3, 0.3, 0.5, 0.6], [0.1, 0.2, 0.3, 0.6], PATIENTS, 100)
    assert found["all"]["deletion"]["difference"] == pytest.approx(-0.125)
    assert found["all"]["insertion"]["difference"] == pytest.approx(0.2)
    assert found["without_grade_0"]["deletion"]["difference"] == pytest.approx(-0.2)
    assert found["without_grade_0"]["deletion"]["n_used"] == 2
    lesions = faithfulness_difference((records, "lesions"), (records, "attention"), LABELS, PATIENTS, resamples=10)
    assert (lesions["all"]["deletion"]["n_used"], lesions["all"]["deletion"]["n_skipped"]) == (2, 2)
    assert lesions["all"]["deletion"]["difference"] == pytest.approx(((0.1 - 0.2) + (0.3 - 0.1)) / 2)


def test_two_models_are_paired_by_place():
    """Two lists of records are two models on the same images."""
    better = faithfulness_records({"attention": result([0.0, 0.1, 0.2, 0.5], [0.9, 0.8, 0.7, 0.5])})
    found = faithfulness_difference((faithfulness_records(RESULTS), "attention"), (better, "attention"), resamples=20)
    assert list(found) == ["all"]
    assert found["all"]["deletion"]["difference"] == pytest.approx(-0.1)
    assert found["all"]["deletion"]["interval"] == pytest.approx([-0.1, -0.1])
    assert found["all"]["insertion"]["difference"] == 0


def test_mean_curves_leave_out_what_is_not_there():
    """The curve to draw is the mean over images with the map; without any it is None, never NaN."""
    found = mean_curves(RESULTS | {"none": result([np.nan], [np.nan])})
    assert found["lesions"]["deletion"] == pytest.approx([0.15] * 3)
    assert found["attention"]["shares"] == [0, 0.5, 1]
    assert found["none"]["insertion"] == [None, None, None]


def test_nothing_gives_nothing():
    """No image: no number, and no failure; also where only grade 0 is left."""
    assert summarise_faithfulness([], [], []) == {"all": {}, "without_grade_0": {}}
    records = faithfulness_records({"attention": result([0.1], [0.2])})
    healthy = summarise_faithfulness(records, [0], ["a"], resamples=5)["without_grade_0"]["attention"]
    assert healthy["deletion"] == {"mean": None, "interval": [None, None]}
    assert healthy["n_used"] == 0


def test_mistakes_are_named():
    """Numbers that do not fit each other, and names that no record has."""
    records = faithfulness_records(RESULTS)
    with pytest.raises(ValueError, match="3 labels for 4 records"):
        summarise_faithfulness(records, [0, 1, 2])
    with pytest.raises(ValueError, match="1 patients for 4 records"):
        summarise_faithfulness(records, patients=["a"])
    with pytest.raises(ValueError, match="no record has a map 'cam'"):
        faithfulness_difference((records, "attention"), (records, "cam"))
    with pytest.raises(ValueError, match="4 and 3 records"):
        faithfulness_difference((records, "attention"), (records[:3], "attention"))
    with pytest.raises(ValueError, match="same images"):
        faithfulness_records({"attention": result([0.1], [0.2]), "random": result([0.1, 0.2], [0.2, 0.3])})
