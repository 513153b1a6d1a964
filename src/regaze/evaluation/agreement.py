"""How far an attention map agrees with the lesions: numbers per image, then their summary.

Invariants: an image without lesions, or about whose lesions nothing is known, is skipped and counted, never a hit; ties
count in expectation, so a constant map gets what a map drawn by chance would get, not luck; a dead map stays in the
mean. Records of images are plain dicts that JSON can hold, so that folds can be stored one by one and pooled later.
Every measure refuses shapes that differ (ValueError) and maps with values that are not finite (ModelError).

Bars that pad a photograph to a square are no picture: what lies on the square is cut to the picture before it is
measured (`agree` does it). The pointing game alone sees the whole square: a peak on a bar is a miss.

Squared error alone says little: where lesions cover 2 % of a photograph an all-zero map is nearly right. It is
therefore never given without the errors of the zero map and of the mean map beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from regaze.errors import ModelError
from regaze.evaluation.picture import WHOLE, Picture, picture_cells

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
Record = dict[str, float | int | bool | None]

#: A map whose largest and smallest value lie closer than this is dead (constant).
DEAD_BELOW = 1e-3

# The numbers that exist only where lesions are known and present.
_LESION_NUMBERS = (
    "squared_error",
    "zero_map_squared_error",
    "mean_map_squared_error",
    "lesion_enrichment",
    "relevance_rank",
    "pointing_game",
    "auroc",
)
_NUMBERS = (*_LESION_NUMBERS, "healthy_squared_error")


def squared_error(attention_map: FloatArray, target: FloatArray) -> float:
    """Mean squared difference of a map and its target (table 3 of the paper).

    Args:
        attention_map: (h, w) float, 0..1, map cells.
        target: (h, w) float, 0..1, map cells.

    Returns:
        0..1, lower is better.
    """
    values = as_map(attention_map)
    _check_target(values, target)
    return float(np.mean((values - np.asarray(target, dtype=np.float64)) ** 2))


def _check_target(values: FloatArray, target: FloatArray) -> None:
    if np.shape(values) != np.shape(target):
        raise ValueError(
            f"map {np.shape(values)} and target {np.shape(target)} differ in shape: bring both to the map's grid"
        )


def lesion_enrichment(attention_map: FloatArray, mask: BoolArray) -> float | None:
    """How much denser the map's energy is inside lesions than over the whole picture.

    (sum of the map inside / sum of the map) / (lesion pixels / all pixels). A constant map gets 1.

    Args:
        attention_map: (H, W) float, not negative, the picture's cropped pixels.
        mask: (H, W) bool, the same.

    Returns:
        0 or more; None for an empty mask. An all-zero map gets 0.0, although it has no energy to share out:
        None would let the images on which a map died vanish from the mean and so praise it.

    Raises:
        ValueError: Negative values too (a map before its sigmoid has no energy).
    """
    values, lesions = as_pair(attention_map, mask)
    if values.min(initial=0.0) < 0:
        raise ValueError(f"the map's smallest value is {values.min()}: energy needs a map after its sigmoid, 0 or more")
    if not lesions.any():
        return None
    total = values.sum()
    if total == 0:
        return 0.0
    return float(values[lesions].sum() / total / lesions.mean())


def relevance_rank(attention_map: FloatArray, mask: BoolArray) -> float | None:
    """Share of the map's k largest pixels that lie in lesions, k = number of lesion pixels.

    Relevance rank accuracy (Arras et al. 2022, arXiv 2003.07258). Deviation: pixels that tie for the last places count
    in expectation, so a constant map gets the share of the picture that lesions cover.

    Args:
        attention_map: (H, W) float, any range (only the order counts), the picture's cropped pixels.
        mask: (H, W) bool, the same.

    Returns:
        0..1; None for an empty mask.
    """
    values, lesions = as_pair(attention_map, mask)
    k = int(lesions.sum())
    if k == 0:
        return None
    last = np.partition(values, values.size - k, axis=None)[values.size - k]
    above, tied = values > last, values == last
    n_left = k - int(above.sum())
    hits = (above & lesions).sum() + n_left * (tied & lesions).sum() / tied.sum()
    return float(hits / k)


#: To be said wherever a figure of the pointing game stands.
POINTING_RULE = "a hit within 15 px at a side of 224, in proportion for others"


def pointing_tolerance(side: int) -> float:
    """Tolerance of the pointing game in pixels: 15 (Zhang et al. 2016) at a side of 224, in proportion for others."""
    return 15.0 * side / 224.0


def pointing_game(attention_map: FloatArray, mask: BoolArray, tolerance: float) -> float | None:
    """Whether the map's largest pixel lies on a lesion or near one.

    Pointing game (Zhang et al. 2016, arXiv 1608.00507). Deviation: where several pixels tie for the largest, the share
    of them that would hit; a constant map gets the share of the image that lies near lesions.

    Args:
        attention_map: (S, S) float, any range, cropped pixels.
        mask: (S, S) bool, cropped pixels.
        tolerance: Euclidean distance from pixel centre to pixel centre that still counts, in pixels.

    Returns:
        0..1 (0 or 1 without ties); None for an empty mask.
    """
    values, lesions = as_pair(attention_map, mask)
    if not lesions.any():
        return None
    distance = cv2.distanceTransform((~lesions).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The distances are float32 roots: a hair of slack keeps "exactly 15 px away" a hit.
    near = distance <= tolerance + 1e-4
    return float(near[values == values.max()].mean())


def auroc(attention_map: FloatArray, mask: BoolArray) -> float | None:
    """Area under the ROC curve of the map's pixels against the mask.

    Args:
        attention_map: (H, W) float, any range (only the order counts), the picture's cropped pixels.
        mask: (H, W) bool, the same.

    Returns:
        0..1, a constant map .5; None where the mask is empty or covers everything.
    """
    values, lesions = as_pair(attention_map, mask)
    if not lesions.any() or lesions.all():
        return None
    return float(roc_auc_score(lesions.ravel(), values.ravel()))


def agree(
    attention_map: FloatArray,
    upsampled: FloatArray,
    target: FloatArray,
    mask: BoolArray,
    *,
    mean_target: FloatArray,
    known: bool = True,
    picture: Picture = WHOLE,
) -> Record:
    """All numbers on one image's map.

    Args:
        attention_map: (h, w) float, 0..1, the map at its own grid.
        upsampled: (S, S) float, 0 or more, the same map brought to the mask's grid.
        target: (h, w) float, 0..1, what the map should be, map cells.
        mask: (S, S) bool lesions, cropped pixels.
        mean_target: (h, w) float, 0..1, the mean target of the *training* images: what a map that ignores the image
            would say.
        known: False where nothing is known about lesions; `target` and `mask` are then ignored.
        picture: Where in the square the photograph lies; only the pointing game sees what lies outside.

    Returns:
        A dict that JSON can hold. `known`; `lesion_pixels` (None: unknown); `dead` (largest minus smallest value below
        `DEAD_BELOW`); then `_LESION_NUMBERS`, None wherever the image has no known lesions; and `healthy_squared_error`
        (mean of the squared map) only where the image is known to be free of lesions. The order of a dead map's pixels
        is the rounding of its resampling, so it is taken as constant.

    Raises:
        ValueError: Negative values in `upsampled` too.
    """
    whole = as_map(attention_map)
    cells = picture_cells(picture, len(upsampled), whole.shape)
    values = whole[cells]
    dead = bool(np.ptp(values) < DEAD_BELOW)
    record: Record = {"known": bool(known), "lesion_pixels": None, "dead": dead}
    record |= dict.fromkeys(_NUMBERS)
    if not known:
        return record
    large, lesions = as_pair(upsampled, mask)
    record["lesion_pixels"] = int(lesions.sum())
    if not lesions.any():
        record["healthy_squared_error"] = float(np.mean(values**2))
        return record
    if dead:
        large = np.full_like(large, large[picture].mean())
    for item in (target, mean_target):
        _check_target(whole, item)
    wanted, inside, held = target[cells], large[picture], lesions[picture]
    return record | {
        "squared_error": squared_error(values, wanted),
        "zero_map_squared_error": squared_error(np.zeros_like(values), wanted),
        "mean_map_squared_error": squared_error(mean_target[cells], wanted),
        "lesion_enrichment": lesion_enrichment(inside, held),
        "relevance_rank": relevance_rank(inside, held),
        "pointing_game": pointing_game(large, lesions, pointing_tolerance(lesions.shape[-1])),
        "auroc": auroc(inside, held),
    }


def agree_all(
    maps: FloatArray,
    upsampled: Iterable[FloatArray],
    targets: FloatArray,
    masks: Iterable[BoolArray],
    *,
    mean_target: FloatArray,
    known: Sequence[bool] | BoolArray,
    pictures: Sequence[Picture],
) -> list[Record]:
    """N records of `agree`.

    Args:
        maps: (N, h, w), see there.
        upsampled: N maps (S, S), may be made one by one.
        targets: (N, h, w).
        masks: N masks (S, S), likewise.
        mean_target: (h, w).
        known: (N,).
        pictures: N.

    Raises:
        ValueError: Numbers of images that differ too.
    """
    rows = zip(maps, upsampled, targets, masks, known, pictures, strict=True)
    return [
        agree(*row, mean_target=mean_target, known=bool(is_known), picture=picture) for *row, is_known, picture in rows
    ]


def per_image(records: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """The numbers of N records of `agree`: name -> (N,) float64, NaN where an image has none."""
    rows = list(records)
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in _NUMBERS}


def summarise_maps(records: Iterable[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """Means over the records of images; those of several folds may be pooled before.

    Returns:
        A dict that JSON can hold; a mean over no image is None. `_LESION_NUMBERS` over the `n_used` images with known
        lesions (one that lesions cover wholly has no `auroc`). `n_skipped`: all other images. Over the `n_healthy` of
        them that are known to be free of lesions: `healthy_squared_error`. `dead`: images, of all, whose map is
        constant.
    """
    rows = list(records)
    arrays = per_image(rows)
    n_used = sum(bool(row["known"]) and row["lesion_pixels"] > 0 for row in rows)
    return {
        **{name: _mean(arrays[name]) for name in _NUMBERS},
        "n_used": n_used,
        "n_skipped": len(rows) - n_used,
        "n_healthy": sum(bool(row["known"]) and row["lesion_pixels"] == 0 for row in rows),
        "dead": sum(bool(row["dead"]) for row in rows),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    """Mean of what is not NaN; None over nothing."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def as_map(attention_map: FloatArray) -> NDArray[np.float64]:
    """(h, w) float64, finite."""
    values = np.asarray(attention_map, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"the map has shape {values.shape}: pass one map (h, w)")
    if not np.isfinite(values).all():
        raise ModelError(
            "An attention map holds NaN or infinite values, expected finite ones: "
            "training diverged; train again with a smaller learning rate."
        )
    return values


def as_pair(attention_map: FloatArray, mask: BoolArray) -> tuple[NDArray[np.float64], BoolArray]:
    """The map as float64 and the mask as bool, of one shape."""
    values, lesions = as_map(attention_map), np.asarray(mask)
    if lesions.dtype != np.bool_:
        raise ValueError(f"the mask has dtype {lesions.dtype}: pass bool (mask > 0), True = lesion")
    if values.shape != lesions.shape:
        raise ValueError(
            f"map {values.shape} and mask {lesions.shape} differ in shape: bring the map to the mask's grid"
        )
    return values, lesions
