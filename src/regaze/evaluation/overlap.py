"""Intersection over union of a map's bright part and the lesions, at a threshold that was chosen elsewhere.

Invariant: nothing here chooses a threshold on the photograph that it is then applied to; `best_threshold` is to be
given curves of other photographs (the validation part, or other folds of it). An empty mask is never a hit: it has no
number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.agreement import BoolArray, FloatArray, as_pair

#: Thresholds to choose from: 0.02, 0.04 ... 0.98. A pixel belongs to the bright part from its threshold on.
THRESHOLDS: tuple[float, ...] = tuple(step / 50 for step in range(1, 50))


def iou_curve(attention_map: FloatArray, mask: BoolArray) -> NDArray[np.float64] | None:
    """Intersection over union of {map >= t} and the mask, for every t of `THRESHOLDS`.

    Args:
        attention_map: (H, W) float, 0..1, the picture's cropped pixels.
        mask: (H, W) bool, the same.

    Returns:
        (len(THRESHOLDS),) float64, 0..1; None for an empty mask.

    Raises:
        ValueError: Shapes that differ, or values outside 0..1 (a map before its sigmoid has no such threshold).
        ModelError: A map with values that are not finite.
    """
    values, lesions = as_pair(attention_map, mask)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"the map spans {values.min():.3g}..{values.max():.3g}: a threshold needs a map after its sigmoid, 0..1"
        )
    size = int(lesions.sum())
    if size == 0:
        return None
    # Pixels sorted into the gaps between thresholds; summed from above, they count what reaches each threshold.
    gaps = np.searchsorted(THRESHOLDS, values, side="right")
    bright, inside = (
        np.bincount(pixels, minlength=len(THRESHOLDS) + 1)[::-1].cumsum()[::-1][1:]
        for pixels in (gaps.ravel(), gaps[lesions])
    )
    return np.asarray(inside / (bright + size - inside), dtype=np.float64)


def best_threshold(curves: Sequence[NDArray[np.float64] | Sequence[float]]) -> float | None:
    """The threshold with the highest mean intersection over union, the lowest one among equals.

    Args:
        curves: From `iou_curve`, of photographs other than those that will be judged.

    Returns:
        One of `THRESHOLDS`; None without any curve.
    """
    if not len(curves):
        return None
    return THRESHOLDS[int(np.mean(np.asarray(curves, dtype=np.float64), axis=0).argmax())]


def at_threshold(curve: NDArray[np.float64] | Sequence[float], threshold: float) -> float:
    """The curve's value at one of `THRESHOLDS`.

    Args:
        curve: From `iou_curve`.
        threshold: From `best_threshold`.

    Raises:
        ValueError: It is none of them.
    """
    return float(curve[THRESHOLDS.index(threshold)])
