"""Whether a photograph's lesions are known, absent or unknown, and the target maps that follow from them.

Invariant: "known to be free of lesions" is claimed only where somebody looked and the class does not contradict it. A
clinician's box file without a box beside a grade of R2, or an empty mask of a scratched part, means that nothing was
marked, not that there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.data.pixels import Pixels
from regaze.models.network import fuse
from regaze.models.predictor import Predictions
from regaze.records import Sample
from regaze.training.targets import target_maps

LesionStatus = Literal["lesions", "free", "unknown"]


def lesion_status(sample: Sample, has_lesions: bool, sound: int | None) -> LesionStatus:
    """What is known about a photograph's lesions.

    Args:
        sample: The photograph.
        has_lesions: Whether its masks or boxes mark anything.
        sound: The class that means "no finding" (`Dataset.sound`); None: of no class is that known.
    """
    if has_lesions:
        return "lesions"
    if sample.origin == "none" or sample.label not in (sound, None):
        return "unknown"
    return "free"


def known_lesions(
    samples: Sequence[Sample], pixels: Pixels, sound: int | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lesion masks of N photographs, and where they can be relied on.

    Args:
        samples: N photographs.
        pixels: The same in cropped pixels.
        sound: See `lesion_status`.

    Returns:
        (N, S, S) bool masks in cropped pixels and (N,) bool: True where the lesions are known, or known to be absent.
    """
    masks = pixels.union
    states = [lesion_status(sample, mask.any(), sound) for sample, mask in zip(samples, masks, strict=True)]
    return masks, np.array([state != "unknown" for state in states], dtype=bool)


def targets(masks_NSS: NDArray[np.bool_], grids: Sequence[tuple[int, int]]) -> list[NDArray[np.float32]]:
    """Target maps M' per scale, as training sees them: (N, h, w) float32 in 0..1."""
    maps = target_maps(torch.from_numpy(np.ascontiguousarray(masks_NSS)), grids)
    return [item.squeeze(1).numpy() for item in maps]


def mean_targets(masks_NSS: NDArray[np.bool_], grids: Sequence[tuple[int, int]]) -> list[NDArray[np.float32]]:
    """The mean target map per scale over the photographs that have lesions: a baseline that has seen no image.

    Returns:
        One (h, w) float32 array per scale; all zero where no photograph has lesions.
    """
    with_lesions = masks_NSS[masks_NSS.any(axis=(1, 2))]
    if len(with_lesions) == 0:
        return [np.zeros(grid, dtype=np.float32) for grid in grids]
    return [item.mean(axis=0) for item in targets(with_lesions, grids)]


def enlarge(maps_Nhw: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Maps brought bilinearly to cropped pixels: (N, side, side) float32."""
    return fuse([torch.from_numpy(np.ascontiguousarray(maps_Nhw)).unsqueeze(1)], side).numpy()


def grids_of(predictions: Predictions) -> list[tuple[int, int]]:
    """(h, w) of every scale, finest first."""
    return [(int(item.shape[1]), int(item.shape[2])) for item in predictions.maps]
