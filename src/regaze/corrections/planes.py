"""What one correction says of the square that the network sees: look here, not here, or nothing.

Invariant: a "look here" component never vanishes, whatever the tolerance and however its size is matched to a scale.

Shapes: S side of the cropped square, P planes (1, or one per scale). Everything is in cropped pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Planes:
    """One correction, ready to become targets.

    Attributes:
        look: (P, S, S) bool, where to look.
        avoid: (S, S) bool, where the expert said "not here" in so many words.
        doubt: (P, S, S) bool, where the correction says nothing: near a drawn edge, or a lesion that another scale's
            map is to show.
    """

    look: Mask
    avoid: Mask
    doubt: Mask


def make_planes(
    look_SS: Mask, avoid_SS: Mask | None, tolerance: float = 0.0, cells: Sequence[float] | None = None
) -> Planes:
    """Planes of one correction.

    Args:
        look_SS: (S, S) bool, "look here".
        avoid_SS: (S, S) bool, "not here"; None: none drawn.
        tolerance: How far, in cropped pixels, a drawn edge may be off: within it, on either side, nothing is claimed,
            so that a sloppy brush does not punish the ring around a lesion. What is thinner than that keeps the pixels
            that lie deepest in it, and what was refused in so many words stays refused.
        cells: Side of a map cell per scale in cropped pixels, finest first: every component then goes to one scale
            only, the coarsest whose cell is not larger than the component's equivalent diameter (the finest for
            smaller ones), and the other scales' maps are free there. None: every scale shows every lesion.

    Returns:
        The planes; P is 1, or the number of scales where `cells` is given.
    """
    avoid = np.zeros_like(look_SS) if avoid_SS is None else avoid_SS & ~look_SS
    look, doubt = (look_SS, np.zeros_like(look_SS)) if tolerance <= 0 else _tolerant(look_SS, avoid, tolerance)
    if cells is None:
        return Planes(look[None], avoid, doubt[None])
    scales = _scale_of_components(look_SS, cells)
    looks = [look & (scales == scale) for scale in range(len(cells))]
    doubts = [doubt | (look & (scales != scale)) for scale in range(len(cells))]
    return Planes(np.stack(looks), avoid, np.stack(doubts))


def _tolerant(look_SS: Mask, avoid_SS: Mask, tolerance: float) -> tuple[Mask, Mask]:
    """The surely meant part of "look here", and the band around its edge of which nothing is claimed."""
    depth = _distance(look_SS)
    count, component = _components(look_SS)
    deepest = np.zeros(count)
    np.maximum.at(deepest, component[look_SS], depth[look_SS])
    # A component that is thinner than the band keeps its deepest pixels.
    sure = look_SS & (depth > np.minimum(tolerance, deepest[component] - 1e-6))
    near = ~look_SS & (_distance(~look_SS) <= tolerance) & ~avoid_SS
    return sure, (look_SS & ~sure) | near


def _scale_of_components(look_SS: Mask, cells: Sequence[float]) -> NDArray[np.int64]:
    """(S, S): the scale to which each pixel's component belongs; -1 outside."""
    count, component = _components(look_SS)
    areas = np.bincount(component[look_SS], minlength=count)
    diameters = 2 * np.sqrt(areas / np.pi)
    scales = np.maximum(np.searchsorted(np.asarray(cells), diameters, side="right") - 1, 0)
    return np.where(look_SS, scales[component], -1)


def _distance(mask_SS: Mask) -> NDArray[np.float32]:
    """Distance of each set pixel's centre to the nearest unset pixel's; pixels outside the square are not counted."""
    if mask_SS.all():
        return np.full(mask_SS.shape, np.inf, dtype=np.float32)
    distances: NDArray[np.float32] = cv2.distanceTransform(mask_SS.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distances


def _components(mask_SS: Mask) -> tuple[int, NDArray[np.int32]]:
    """Number of labels, 0 for the background among them, and each pixel's; corners touch."""
    count, labels = cv2.connectedComponents(mask_SS.astype(np.uint8), connectivity=8)
    return int(count), labels
