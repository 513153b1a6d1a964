"""Promises of regaze.evaluation.agreement."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, roc_auc_score

from regaze.errors import ModelError
from regaze.evaluation.agreement import (
    agree,
    agree_all,
    auroc,
    lesion_enrichment,
    per_image,
    pointing_game,
    pointing_tolerance,
    relevance_rank,
    squared_error,
    summarise_maps,
)
from regaze.evaluation.overlap import THRESHOLDS, at_threshold, best_threshold, iou_curve
from regaze.evaluation.picture import WHOLE

MASK = np.array([[True, False], [False, False]])


def drawn(seed, side=6, values=4):
    """A map with many ties and a mask that is neither empty nor full."""
    rng = np.random.default_rng(seed)
    mask = rng.random((side, side)) < 0.3
    mask[0, 0], mask[-1, -1] = True, False
    return rng.integers(values, size=(side, side)).astype(np.float32), mask


def image(seed=0, side=16, cells=4):
    """One image's map, the same map upsampled, target and mask."""
    rng = np.random.default_rng(seed)
    found = rng.random((cells, cells)).astype(np.float32)
    mask = np.zeros((side, side), bool)
    mask[2:5, 3:7] = True
    target = mask.reshape(cells, side // cells, cells, side // cells).max((1, 3)).astype(np.float32)
    return found, found.repeat(side // cells, 0).repeat(side // cells, 1), target, mask


def test_squared_error_by_hand():
    """Mean, not sum, of the squared differences."""
    assert squared_error(np.array([[1.0, 0.0], [0.5, 0.0]]), MASK.astype(float)) == pytest.approx(0.25 / 4)


def test_enrichment_by_hand():
    """Half of the energy on a quarter of the image is twice as dense as chance."""
    assert lesion_enrichment(np.array([[3.0, 1.0], [1.0, 1.0]]), MASK) == pytest.approx(2.0)


def test_enrichment_of_flat_maps():
    """A constant map is as dense inside as outside; an all-zero map stays in the mean with 0."""
    assert lesion_enrichment(np.full((2, 2), 0.3), MASK) == pytest.approx(1.0)
    assert lesion_enrichment(np.zeros((2, 2)), MASK) == 0.0


def test_enrichment_refuses_a_map_before_its_sigmoid():
    """Negative values have no energy."""
    with pytest.raises(ValueError, match="after its sigmoid"):
        lesion_enrichment(np.array([[-1.0, 2.0], [0.0, 0.0]]), MASK)


def test_relevance_rank_by_hand():
    """Two lesion pixels, one of them among the two largest: one half."""
    mask = np.array([[True, True], [False, False]])
    assert relevance_rank(np.array([[0.9, 0.1], [0.8, 0.2]]), mask) == 0.5
    assert relevance_rank(mask.astype(float), mask) == 1.0
    assert relevance_rank(1.0 - mask, mask) == 0.0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_relevance_rank_is_the_mean_over_random_tie_breaks(seed):
    """With ties the number is what breaking them at random gives on average."""
    found, mask = drawn(seed)
    rng = np.random.default_rng(seed)
    k = mask.sum()
    trials = [mask.ravel()[np.lexsort((rng.random(mask.size), -found.ravel()))[:k]].mean() for _ in range(1500)]
    # Five standard errors; at least a hair where every trial agrees.
    slack = 5 * np.std(trials) / np.sqrt(len(trials)) + 1e-9
    assert relevance_rank(found, mask) == pytest.approx(np.mean(trials), abs=slack)


def test_pointing_game_by_hand():
    """The largest pixel is 3 right of and 4 below the lesion: 5 away, Euclidean."""
    found, mask = np.zeros((8, 8)), np.zeros((8, 8), bool)
    found[5, 4] = 1
    mask[1, 1] = True
    assert pointing_game(found, mask, 5.0) == 1.0
    assert pointing_game(found, mask, 4.99) == 0.0
    assert pointing_game(mask.astype(float), mask, 0.0) == 1.0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, np.sqrt(2), 2.5, 5.0]))
def test_pointing_game_equals_a_plain_loop(seed, tolerance):
    """Hits and ties are those of measuring every distance."""
    found, mask = drawn(seed, side=9)
    mask &= np.random.default_rng(seed + 1).random(mask.shape) < 0.2
    mask[0, 0] = True
    top, lesions = np.argwhere(found == found.max()), np.argwhere(mask)
    nearest = np.linalg.norm(top[:, None] - lesions[None], axis=2).min(1)
    assert pointing_game(found, mask, tolerance) == pytest.approx((nearest <= tolerance + 1e-9).mean())


def test_constant_map_is_no_lucky_hit():
    """The first pixel is a lesion, yet a constant map earns only what chance earns."""
    constant = np.full((2, 2), 0.7)
    assert relevance_rank(constant, MASK) == 0.25
    assert pointing_game(constant, MASK, 0.0) == 0.25
    assert auroc(constant, MASK) == 0.5


def test_tolerance_is_in_proportion_to_the_side():
    """15 pixels at 224, and the same share of the image elsewhere."""
    assert pointing_tolerance(224) == 15
    assert pointing_tolerance(448) == 30


def test_auroc_equals_scikit_learn():
    """The map's values rank the pixels."""
    found, mask = drawn(5)
    assert auroc(found, mask) == pytest.approx(roc_auc_score(mask.ravel(), found.ravel()))


def test_empty_and_full_masks():
    """Nothing to find is no hit and no miss; where everything is lesion there is nothing to rank against."""
    found, empty, full = (
        np.random.default_rng(0).random((4, 4)),
        np.zeros((4, 4), bool),
        np.ones((4, 4), bool),
    )
    for number in (lesion_enrichment, relevance_rank, auroc):
        assert number(found, empty) is None
    assert pointing_game(found, empty, 3.0) is None
    assert auroc(found, full) is None
    assert lesion_enrichment(found, full) == pytest.approx(1.0)
    assert relevance_rank(found, full) == 1.0


def test_nan_is_refused():
    """A diverged model's map raises; its NaN is neither a hit nor silently dropped."""
    broken = np.array([[np.nan, 0.0], [0.0, 0.0]])
    for call in (
        lambda: squared_error(broken, MASK.astype(float)),
        lambda: lesion_enrichment(broken, MASK),
        lambda: relevance_rank(broken, MASK),
        lambda: pointing_game(broken, MASK, 1.0),
        lambda: auroc(broken, MASK),
    ):
        with pytest.raises(ModelError, match="NaN"):
            call()


def test_shapes_must_fit():
    """A map on its own grid is not compared with a mask in pixels; a mask of numbers is not guessed at."""
    with pytest.raises(ValueError, match="bring the map to the mask's grid"):
        relevance_rank(np.zeros((3, 3)), MASK)
    with pytest.raises(ValueError, match="differ in shape"):
        squared_error(np.zeros((3, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="dtype uint8"):
        relevance_rank(np.zeros((2, 2)), MASK.astype(np.uint8))


def test_a_record_holds_every_number():
    """`agree` gives what the single functions give, with the tolerance of the mask's side."""
    found, large, target, mask = image()
    mean_target = np.full((4, 4), 0.2)
    record = agree(found, large, target, mask, mean_target=mean_target)
    assert record == {
        "known": True,
        "lesion_pixels": 12,
        "dead": False,
        "squared_error": squared_error(found, target),
        "zero_map_squared_error": pytest.approx((target**2).mean()),
        "mean_map_squared_error": pytest.approx(((target - 0.2) ** 2).mean()),
        "lesion_enrichment": lesion_enrichment(large, mask),
        "relevance_rank": relevance_rank(large, mask),
        "pointing_game": pointing_game(large, mask, 15 * 16 / 224),
        "auroc": auroc(large, mask),
        "healthy_squared_error": None,
    }


def test_unknown_is_not_healthy():
    """Free of lesions: the map should be empty. Unknown: nothing can be said, whatever the mask holds."""
    found, large, target, mask = image()
    empty = np.zeros_like(mask)
    healthy = agree(found, large, target, empty, mean_target=target)
    unknown = agree(found, large, target, mask, mean_target=target, known=False)
    assert healthy["healthy_squared_error"] == pytest.approx((found.astype(float) ** 2).mean())
    assert healthy["lesion_pixels"] == 0
    assert unknown["lesion_pixels"] is None
    for name in ("squared_error", "lesion_enrichment", "relevance_rank", "pointing_game", "auroc"):
        assert healthy[name] is None
        assert unknown[name] is None
    assert unknown["healthy_squared_error"] is None


def test_a_dead_map_is_not_ranked_by_rounding():
    """Rounding noise of resampling that happens to point at the lesion earns a dead map nothing."""
    _, _, target, mask = image()
    dead = np.full((4, 4), 0.4)
    large = np.where(mask, 0.4 + 1e-7, 0.4)
    record = agree(dead, large, target, mask, mean_target=target)
    assert relevance_rank(large, mask) == 1.0
    assert record["dead"] is True
    assert record["relevance_rank"] == pytest.approx(mask.mean())
    assert record["pointing_game"] < 0.5
    assert record["auroc"] == 0.5
    assert record["lesion_enrichment"] == pytest.approx(1.0)


def records():
    """Two images with lesions, one free of them, two unknown; the last map is dead."""
    rows = [image(seed) for seed in range(5)]
    maps = np.stack([row[0] for row in rows])
    maps[4] = 0
    masks = np.stack([row[3] for row in rows])
    masks[2] = False
    return agree_all(
        maps,
        (row[1] for row in rows),
        np.stack([row[2] for row in rows]),
        masks,
        mean_target=rows[0][2],
        known=[True, True, True, False, False],
        pictures=[WHOLE] * 5,
    )


def test_summary_counts_and_averages():
    """Means run over the images with known lesions; all others are counted with the reason."""
    rows = records()
    summary = summarise_maps(rows)
    assert summary["n_used"] == 2
    assert summary["n_skipped"] == 3
    assert summary["n_healthy"] == 1
    assert summary["dead"] == 1
    for name in ("squared_error", "zero_map_squared_error", "mean_map_squared_error", "lesion_enrichment"):
        assert summary[name] == pytest.approx((rows[0][name] + rows[1][name]) / 2)
    assert summary["healthy_squared_error"] == pytest.approx(rows[2]["healthy_squared_error"])


def test_folds_can_be_stored_and_pooled():
    """Records survive strict JSON, and pooling folds is the same as having had them at once."""
    rows = records()
    folds = [json.loads(json.dumps(part, allow_nan=False)) for part in (rows[:2], rows[2:])]
    assert summarise_maps(folds[0] + folds[1]) == summarise_maps(rows)
    assert json.loads(json.dumps(summarise_maps(rows), allow_nan=False)) == summarise_maps(rows)


def test_per_image_is_nan_where_skipped():
    """Arrays keep the order of the images, so that two models can be paired."""
    arrays = per_image(records())
    assert np.isnan(arrays["squared_error"]).tolist() == [False, False, True, True, True]
    assert np.isnan(arrays["healthy_squared_error"]).tolist() == [True, True, False, True, True]


def test_summary_of_nothing():
    """No image gives counts of zero and None, not NaN or a warning."""
    summary = summarise_maps([])
    assert summary["squared_error"] is None
    assert (summary["n_used"], summary["n_skipped"], summary["dead"]) == (0, 0, 0)


def test_lengths_must_fit():
    """A missing mask is an error, not a shorter result."""
    found, large, target, _ = image()
    with pytest.raises(ValueError, match="zip"):
        agree_all(found[None], [large], target[None], [], mean_target=target, known=[True], pictures=[WHOLE])


def test_iou_curve_by_hand():
    """Of four pixels, one lesion: intersection over union at each threshold."""
    curve = iou_curve(np.array([[0.9, 0.5], [0.1, 0.0]]), MASK)
    assert at_threshold(curve, 0.02) == pytest.approx(1 / 3)
    assert at_threshold(curve, 0.5) == pytest.approx(1 / 2), "a pixel at the threshold belongs to the bright part"
    assert at_threshold(curve, 0.52) == pytest.approx(1)
    assert at_threshold(curve, 0.92) == 0
    assert best_threshold([curve]) == 0.52, "the lowest of the best"


@pytest.mark.parametrize("seed", [0, 1])
def test_iou_curve_against_scikit_learn(seed):
    """At every threshold the number is scikit-learn's Jaccard score, values on a threshold included."""
    rng = np.random.default_rng(seed)
    found = np.where(rng.random((6, 6)) < 0.5, rng.integers(51, size=(6, 6)) / 50, rng.random((6, 6)))
    mask = rng.random((6, 6)) < 0.4
    mask[0, 0] = True
    expected = [jaccard_score(mask.ravel(), (found >= t).ravel(), zero_division=0.0) for t in THRESHOLDS]
    np.testing.assert_allclose(iou_curve(found, mask), expected)


def test_iou_of_empty_and_flat():
    """An empty mask has no number; a map bright everywhere gets the share that lesions cover; an empty map gets 0."""
    assert iou_curve(np.ones((2, 2)), np.zeros((2, 2), bool)) is None
    np.testing.assert_allclose(iou_curve(np.ones((2, 2)), MASK), 0.25)
    np.testing.assert_allclose(iou_curve(np.zeros((2, 2)), MASK), 0)


def test_best_threshold_is_of_the_mean():
    """Photographs weigh alike; without any photograph there is no threshold."""
    low, high = np.zeros(len(THRESHOLDS)), np.zeros(len(THRESHOLDS))
    low[3], high[3], high[30] = 0.5, 0.4, 0.8
    assert best_threshold([low, high]) == THRESHOLDS[3]
    assert best_threshold([low, high, high]) == THRESHOLDS[30]
    assert best_threshold([]) is None


def test_iou_mistakes():
    """A map before its sigmoid and a threshold off the list are refused."""
    with pytest.raises(ValueError, match="after its sigmoid"):
        iou_curve(np.array([[2.0, 0], [0, 0]]), MASK)
    with pytest.raises(ValueError, match="not in"):
        at_threshold(np.zeros(len(THRESHOLDS)), 0.51)
