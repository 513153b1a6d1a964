"""Promises of regaze.evaluation.comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from regaze.evaluation.comparison import (
    ALL_MEASURES,
    faithfulness_difference,
    faithfulness_records,
    summarise_faithfulness,
)
from regaze.evaluation.faithfulness import Faithfulness, area_under_curve, compare_orders, mean_result
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
        shares=np.array([0, 0.5, 1]),
    )


RESULTS = {
    "attention": result([0.1, 0.2, 0.3, 0.6], [0.9, 0.8, 0.7, 0.5]),
    "random": result([0.3, 0.3, 0.5, 0.6], [0.5, 0.5, 0.6, 0.5]),
}
LABELS = [2, 0, 4, None]
PATIENTS = ["a", "b", "b", None]


def records_with_lesions():
    """The records of `RESULTS`; the first and third photograph have a ranking by their lesions, the others none."""
    records = faithfulness_records(RESULTS)
    records[0]["maps"]["lesions"] = {"deletion": 0.2, "insertion": 0.6}
    records[2]["maps"]["lesions"] = {"deletion": 0.1, "insertion": 0.8}
    return records


def test_records_are_json():
    """One record per image, with what is to be drawn."""
    records = faithfulness_records(RESULTS)
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert [record["followed"] for record in records] == [0, 1, 2, 3]
    assert records[1]["curves"]["random"] == {"shares": [0, 0.5, 1], "deletion": [0.3] * 3, "insertion": [0.5] * 3}
    areas = records[2]["maps"]["attention"]
    assert list(areas) == list(ALL_MEASURES)
    assert (areas["deletion"], areas["insertion"]) == (0.3, 0.7)
    assert faithfulness_records({}) == []


def test_relative_areas_are_shares_of_the_clean_score():
    """A network that is half as sure of everything has the same relative areas; one that was sure of nothing none."""
    sure, unsure, blank = (
        Faithfulness(
            deletion=np.array([0.4]) * scale,
            insertion=np.array([0.6]) * scale,
            deletion_curves=np.array([[0.8, 0.4, 0.0]]) * scale,
            insertion_curves=np.array([[0.4, 0.6, 0.8]]) * scale,
            classes=np.array([1]),
            shares=np.array([0, 0.5, 1]),
        )
        for scale in (1.0, 0.5, 0.0)
    )
    records = [faithfulness_records({"map": result})[0]["maps"]["map"] for result in (sure, unsure, blank)]
    for record in records[:2]:
        assert record["relative_deletion"] == pytest.approx(0.5)
        assert record["relative_insertion"] == pytest.approx(0.75)
    assert records[0]["deletion"] == 2 * records[1]["deletion"], "the raw ones stay"
    assert records[2]["relative_deletion"] is records[2]["relative_insertion"] is None
    pair = faithfulness_difference(
        (faithfulness_records({"map": sure}), "map"), (faithfulness_records({"map": unsure}), "map"), resamples=5
    )["all"]
    assert (pair["insertion"]["difference"], pair["relative_insertion"]["difference"]) == pytest.approx((-0.3, 0))


def test_the_mean_of_several_draws():
    """Areas and curves of several orders are averaged; the area is that of the mean curve."""
    images, generator = torch.rand(2, 3, 6, 6), torch.Generator().manual_seed(0)
    maps = {name: torch.rand(2, 6, 6, generator=generator) for name in "abc"}

    def scores(batch):
        p = batch[:, :, :3].mean((1, 2, 3)).sigmoid()
        return torch.stack([p, 1 - p], dim=1)

    found = compare_orders(scores, images, maps)
    mean = mean_result(list(found.values()))
    np.testing.assert_allclose(mean.deletion, np.mean([one.deletion for one in found.values()], axis=0))
    np.testing.assert_allclose(mean.insertion, area_under_curve(mean.insertion_curves))
    assert mean.classes.tolist() == found["a"].classes.tolist()
    assert mean.deletion.tolist() != found["a"].deletion.tolist()


def test_means_by_hand():
    """Means over the images that have the map; with grade 0, and without it and the unknown; all are counted."""
    found = summarise_faithfulness(records_with_lesions(), LABELS, PATIENTS, resamples=50)
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
    records = records_with_lesions()
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
