"""Promises of regaze.evaluation.lesion_coverage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from regaze.errors import ModelError
from regaze.evaluation import lesion_coverage
from regaze.evaluation.lesion_coverage import (
    BUDGET,
    SIZES,
    count,
    diameter,
    find_lesions,
    lesion_light,
    light,
    recall_difference,
    size_class,
    summarise_recall,
)

TINY = SIZES[0][0]


def planes(side=20):
    """Two microaneurysms (one pixel; two that touch across a corner) and one exudate of 2 x 2 pixels."""
    small, large = np.zeros((side, side), bool), np.zeros((side, side), bool)
    small[0, 0] = small[5, 5] = small[6, 6] = True
    large[10:12, 10:12] = True
    return {"microaneurysms": small, "hard_exudates": large, "soft_exudates": np.zeros((side, side), bool)}


def test_light_by_hand():
    """The largest pixels are lit; those that tie for the last places share them."""
    found = np.array([[9.0, 5.0], [5.0, 5.0]])
    np.testing.assert_allclose(light(found, 2), [[1, 1 / 3], [1 / 3, 1 / 3]])
    np.testing.assert_allclose(light(found, 1), [[1, 0], [0, 0]])


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 15, 49]))
@settings(max_examples=50, deadline=None)
def test_every_map_has_the_same_budget(seed, k):
    """However many pixels tie, and however bright the map, exactly k pixels are lit."""
    rng = np.random.default_rng(seed)
    found = rng.integers(rng.integers(1, 50), size=(7, 7)).astype(np.float32) + 100
    lit = light(found, k)
    assert lit.sum() == pytest.approx(k)
    assert (lit >= 0).all()
    assert (lit <= 1 + 1e-12).all()
    np.testing.assert_allclose(light(np.exp(found / 50), k), lit), "only the order counts"


def test_lesions_by_hand():
    """Components of each type, across corners; their sizes; a type without a lesion is absent from the counts."""
    lesions = find_lesions(planes())
    assert lesions.types == ("microaneurysms", "microaneurysms", "hard_exudates")
    assert lesions.areas.tolist() == [1, 2, 4]
    assert count(lesions) == {"microaneurysms": {TINY: 1, "2 to 4 %": 1}, "hard_exudates": {"4 % and more": 1}}


def test_components_against_scipy():
    """The lesions are those that scipy.ndimage labels, with the same pixels."""
    mask = np.random.default_rng(0).random((40, 40)) < 0.2
    lesions = find_lesions({"lesion": mask})
    labels, n = ndimage.label(mask, structure=np.ones((3, 3)))
    assert len(lesions.types) == n
    ours = {frozenset(lesions.pixels[lesions.owner == place].tolist()) for place in range(n)}
    assert ours == {frozenset(np.flatnonzero(labels == place + 1).tolist()) for place in range(n)}


def test_lesions_of_two_types_may_share_pixels(monkeypatch):
    """A pixel that two types claim lights a lesion of each."""
    mask = np.zeros((10, 10), bool)
    mask[3, 3:5] = True
    lesions = find_lesions({"haemorrhages": mask, "hard_exudates": mask})
    found = np.zeros((10, 10))
    found[3, 3] = 1
    monkeypatch.setattr(lesion_coverage, "BUDGET", 0.01)
    assert lesion_light(found, lesions).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("disc", [0.0, 0.8, 2.0, 5.0, 11.0])
def test_diameter_of_touched_cells(disc):
    """The diameter of a disc comes back from the number of cells that it touches, averaged over places of the grid."""
    rng = np.random.default_rng(1)
    corners = np.arange(-1, int(disc) + 3, dtype=float)
    touched = []
    for x, y in rng.random((3000, 2)) + disc / 2:
        # Distance from the disc's centre to each cell: a cell is touched where it is at most the radius.
        across = np.maximum(np.maximum(corners - x, x - corners - 1), 0)
        down = np.maximum(np.maximum(corners - y, y - corners - 1), 0)
        touched.append((np.hypot(across[:, None], down[None, :]) <= disc / 2).sum())
    assert diameter(float(np.mean(touched))) == pytest.approx(disc, abs=0.05)


def test_size_classes():
    """A class holds its lower bound; one pixel is the smallest class at any side."""
    assert [size_class(share) for share in (0, 0.0099, 0.01, 0.02, 0.04, 1)] == [
        TINY,
        TINY,
        "1 to 2 %",
        "2 to 4 %",
        "4 % and more",
        "4 % and more",
    ]
    assert diameter(1) == 0


def test_recall_by_hand(monkeypatch):
    """A lesion counts by the share of its pixels that are lit."""
    found = np.zeros((20, 20))
    found[5, 5] = 3
    found[10, 10:12] = found[11, 10] = 2
    lesions = find_lesions(planes())
    monkeypatch.setattr(lesion_coverage, "BUDGET", 4 / 400)
    assert lesion_light(found, lesions).tolist() == [0, 0.5, 0.75]
    monkeypatch.setattr(lesion_coverage, "BUDGET", 1 / 400)
    assert count(lesions, lesion_light(found, lesions)) == {
        "microaneurysms": {TINY: 0, "2 to 4 %": 0.5},
        "hard_exudates": {"4 % and more": 0},
    }


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_a_map_bright_everywhere_gets_chance(value):
    """A constant map lights every lesion by chance, whatever its value, type and size."""
    lit = lesion_light(np.full((20, 20), value), find_lesions(planes()))
    np.testing.assert_allclose(lit, BUDGET)
    assert find_lesions(planes()).chance == BUDGET
    assert find_lesions({"lesion": np.ones((2, 2), bool)}).chance == 1 / 4, "at least one pixel"


def test_a_smooth_random_map_gets_chance():
    """However smooth: over all places of a blob, lesions of every size are lit by chance."""
    lesions = find_lesions(planes())
    blob = np.zeros((20, 20))
    blob[:4, :5] = 1
    lit = [lesion_light(np.roll(blob, (down, across), (0, 1)), lesions) for down in range(20) for across in range(20)]
    np.testing.assert_allclose(np.mean(lit, axis=0), BUDGET)


def test_no_lesion_is_never_a_hit():
    """Empty masks give no lesion, and a part without lesions gives None, not 0 or 1."""
    none = find_lesions({"lesion": np.zeros((5, 5), bool)})
    assert count(none) == {}
    assert lesion_light(np.ones((5, 5)), none).size == 0
    found = summarise_recall([{}, None], {"fused": [{}, None]}, resamples=10)
    assert found["all"] == {
        "n_lesions": 0,
        "n_used": 0,
        "n_skipped": 2,
        "recall": {"fused": {"share": None, "interval": [None, None]}},
    }
    assert (found["types"], found["sizes"]) == ({}, {})


COUNTS = [
    {"microaneurysms": {TINY: 3.0}, "hard_exudates": {"1 to 2 %": 1.0}},
    {"microaneurysms": {TINY: 1.0}},
    None,
    {},
]
LIT = [
    {"microaneurysms": {TINY: 1.5}, "hard_exudates": {"1 to 2 %": 1.0}},
    {"microaneurysms": {TINY: 0.0}},
    None,
    {},
]


def test_summary_by_hand():
    """Lesions are pooled; photographs without such a lesion are skipped and counted; the result is JSON."""
    found = summarise_recall(COUNTS, {"fused": LIT}, resamples=200)
    entry = found["types"]["microaneurysms"]
    assert (entry["n_lesions"], entry["n_used"], entry["n_skipped"]) == (4, 2, 2)
    assert entry["recall"]["fused"]["share"] == pytest.approx(1.5 / 4)
    low, high = entry["recall"]["fused"]["interval"]
    assert (low, high) == pytest.approx((0, 0.5)), "both photographs may be drawn twice"
    assert found["all"]["recall"]["fused"]["share"] == pytest.approx(2.5 / 5)
    assert list(found["sizes"]) == [TINY, "1 to 2 %"]
    single = found["types"]["hard_exudates"]["recall"]["fused"]
    assert single == {"share": 1.0, "interval": [None, None]}, "one photograph has no interval"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_interval_goes_by_patient():
    """Two photographs of one patient are drawn together: one group, no interval."""
    found = summarise_recall(COUNTS, {"fused": LIT}, groups=["a", "a", "b", "c"], resamples=50)
    assert found["types"]["microaneurysms"]["recall"]["fused"]["interval"] == [None, None]


def test_difference_by_hand():
    """After less before over the same lesions; a type that does not occur has no difference."""
    better = [{"microaneurysms": {TINY: 3.0}, "hard_exudates": {"1 to 2 %": 0.0}}, {"microaneurysms": {TINY: 1.0}}]
    better += [None, {}]
    found = recall_difference(COUNTS, LIT, better, "microaneurysms", resamples=200)
    assert found["difference"] == pytest.approx((1.5 + 1) / 4)
    assert found["interval"] == pytest.approx([0.5, 1.0])
    assert (found["n_lesions"], found["n_used"], found["n_skipped"]) == (4, 2, 2)
    assert recall_difference(COUNTS, LIT, better)["difference"] == pytest.approx(1.5 / 5)
    assert recall_difference(COUNTS, LIT, better, "soft_exudates")["difference"] is None
    assert recall_difference(COUNTS, LIT, LIT, resamples=20)["interval"] == [0, 0]


def test_mistakes_are_named():
    """Maps that do not fit the masks, or are not finite."""
    lesions = find_lesions(planes())
    with pytest.raises(ValueError, match="differ in shape"):
        lesion_light(np.ones((10, 10)), lesions)
    with pytest.raises(ModelError, match="NaN"):
        lesion_light(np.full((20, 20), np.nan), lesions)
    with pytest.raises(ValueError, match="3 photographs with maps for 4"):
        recall_difference(COUNTS, LIT[:3], LIT[:3])
