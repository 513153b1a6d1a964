"""Sanity of maps: do they change when the weights are destroyed, and stay when the photograph hardly changes?

`parameter_randomisation` is the cascading randomisation of Adebayo et al. 2018, "Sanity Checks for Saliency Maps"
(arXiv 1810.03292, section 3.1): the weights are destroyed group by group from the top (the output) to the bottom, each
stage on top of the ones before, and each stage's maps are compared with the original ones. A map that stays the same
does not show what the model has learned.

Invariants: this module knows no model, only modules and callables; the network is left as it was, also after an
exception, since the work is done on a copy; torch's global random state is not touched.

Deviation from Adebayo et al.: weights are redrawn with the mean and deviation that each tensor has (`redraw`), not by
the layer's initialiser, so that the signal keeps its size and a map cannot change merely because it died.

Shapes: N photographs, S side of the cropped square, (h, w) any grid of map cells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn

from regaze.errors import OptionError

FloatArray = NDArray[np.floating[Any]]
Network = TypeVar("Network", bound=nn.Module)
Maps = Callable[[NDArray[np.uint8]], FloatArray]

#: A map whose largest and smallest value lie closer than this, in shares of its largest magnitude, has no order.
_FLAT_BELOW = 1e-6
#: Length of a shift along both axes as a share of the side; what comes in at the edge repeats the edge.
_SHIFT = 0.04
#: Standard deviation of the normal noise, in levels 0..255.
_NOISE = 5.0
#: Side of the uniform window of structural similarity, as in scikit-image; smaller where the map is.
_WINDOW = 7
#: The constants of structural similarity for values in 0..1, those of its authors.
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Stage:
    """How like the original maps are those of a network destroyed down to a group of layers.

    Attributes:
        name: The group that was destroyed last.
        spearman: (N,) float64, rank correlation -1..1 over the cells; NaN where a map is constant.
        ssim: (N,) float64, structural similarity -1..1 of the maps, each brought to 0..1; NaN where the maps have
            fewer than 3 x 3 cells.
    """

    name: str
    spearman: NDArray[np.float64]
    ssim: NDArray[np.float64]


def redraw(module: nn.Module, generator: torch.Generator) -> None:
    """Replace each parameter by normal numbers of its own mean and deviation; buffers stay.

    A tensor whose values are all the same stays as it is. Parameters that occur in several modules are redrawn once
    for each call.

    Args:
        module: Changed in place.
        generator: On the CPU.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            values = parameter.detach().float().cpu()
            drawn = torch.randn(values.shape, generator=generator) * values.std(correction=0) + values.mean()
            parameter.copy_(drawn.to(parameter.device, parameter.dtype))


def parameter_randomisation(
    network: Network,
    groups: Sequence[tuple[str, Sequence[str]]],
    maps: Callable[[Network], FloatArray],
    *,
    seed: int = 0,
) -> list[Stage]:
    """Destroy a copy of a network from the top to the bottom and see how its maps change.

    Args:
        network: Left as it was.
        groups: From the top (the output) to the bottom: a name, and the names of the submodules (as
            `network.get_submodule` takes them) that are destroyed at this stage.
        maps: Network -> (N, h, w) float, its maps of always the same photographs.
        seed: Of the generator.

    Returns:
        One stage per group, in order.

    Raises:
        OptionError: A group names a submodule that the network does not have.
        ValueError: Maps that are no (N, h, w), or change their shape.
    """
    twin = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    original = _as_maps(maps(twin)).copy()
    stages = []
    for name, parts in groups:
        for part in parts:
            try:
                module = twin.get_submodule(part)
            except AttributeError as error:
                raise OptionError(
                    f"group {name!r} names the submodule {part!r}: the network has none ({error})"
                ) from None
            redraw(module, generator)
        changed = _as_maps(maps(twin))
        stages.append(Stage(name, rank_correlation(original, changed), similarity(original, changed)))
    return stages


def stability(
    maps: Maps,
    images_NSSC: NDArray[np.uint8],
    *,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """How like the original maps are those of photographs that show the same, hardly changed.

    Args:
        maps: (N, S, S, 3) uint8 -> (N, S, S) float, the maps in cropped pixels (any range, only the order counts).
        images_NSSC: (N, S, S, 3) uint8, cropped pixels; left as they are.
        seed: Of the noise.

    Returns:
        Change -> (N,) float64 rank correlation -1..1 of the map brought back with the original one; NaN where a map is
        constant. `flip`: mean of the horizontal and the vertical flip. `shift`: mean of down and right, and up and
        left; over the pixels that both maps show. `noise`: normal, see `_NOISE`.

    Raises:
        ValueError: Maps on another grid.
    """
    images = images_NSSC
    side = images.shape[1]
    pixels = max(1, round(_SHIFT * side))

    def of(changed: NDArray[np.uint8]) -> NDArray[np.float64]:
        values = _as_maps(maps(np.ascontiguousarray(changed)))
        if values.shape != images.shape[:3]:
            raise ValueError(f"maps of shape {values.shape} for images {images.shape}: bring them to cropped pixels")
        return values

    original = of(images)
    flips = [rank_correlation(original, np.flip(of(np.flip(images, axis)), axis)) for axis in (1, 2)]
    shifts = []
    for by in (pixels, -pixels):
        moved, back = _shifted(images, by), slice(max(0, by), side + min(0, by))
        here = slice(max(0, -by), side + min(0, -by))
        shifts.append(rank_correlation(original[:, here, here], of(moved)[:, back, back]))
    grain = np.random.default_rng(seed).normal(0, _NOISE, images.shape)
    noisy = np.clip(np.rint(images + grain), 0, 255).astype(np.uint8)
    return {
        "flip": np.mean(flips, axis=0),
        "shift": np.mean(shifts, axis=0),
        "noise": rank_correlation(original, of(noisy)),
    }


def rank_correlation(maps_a: FloatArray, maps_b: FloatArray) -> NDArray[np.float64]:
    """Spearman's correlation of each pair of maps over their cells; ties take their mean rank.

    Args:
        maps_a: (N, h, w) float, any range.
        maps_b: The same.

    Returns:
        (N,) float64, -1..1; NaN where one of the two is constant or not finite.

    Raises:
        ValueError: Shapes that differ.
    """
    correlations = []
    for map_a, map_b in zip(*_both(maps_a, maps_b), strict=True):
        defined = all(np.isfinite(values).all() and not _flat(values) for values in (map_a, map_b))
        correlations.append(np.corrcoef(_ranks(map_a), _ranks(map_b))[0, 1] if defined else np.nan)
    return np.array(correlations, dtype=np.float64)


def similarity(maps_a: FloatArray, maps_b: FloatArray) -> NDArray[np.float64]:
    """Structural similarity of each pair of maps, each brought to 0..1 by its own extremes; a constant one to 0.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equation 13, mean over
    all windows of 7 x 7 cells (fewer where the map is smaller) that lie wholly inside, uniform weights. Own code:
    torchmetrics pads the uniform window by the size of the Gaussian one, so that small maps are mostly padding.

    Args:
        maps_a: (N, h, w) float, any range.
        maps_b: The same.

    Returns:
        (N,) float64, -1..1, 1 for the same map; NaN for maps of fewer than 3 x 3 cells.

    Raises:
        ValueError: Shapes that differ.
    """
    first, second = _both(maps_a, maps_b)
    least = min(first.shape[1:])
    if least < 3 or not len(first):
        return np.full(len(first), np.nan)
    window = min(_WINDOW, least - 1 + least % 2)
    means_a, means_b, squares_a, squares_b, products = (
        sliding_window_view(maps, (window, window), axis=(1, 2)).mean(axis=(3, 4))
        for unit_a, unit_b in [(_unit(first), _unit(second))]
        for maps in (unit_a, unit_b, unit_a**2, unit_b**2, unit_a * unit_b)
    )
    variances = squares_a - means_a**2 + squares_b - means_b**2
    covariances = products - means_a * means_b
    alike = (2 * means_a * means_b + _C1) * (2 * covariances + _C2)
    alike /= (means_a**2 + means_b**2 + _C1) * (variances + _C2)
    return np.asarray(alike.mean(axis=(1, 2)), dtype=np.float64)


def _as_maps(maps: FloatArray) -> NDArray[np.float64]:
    """(N, h, w) float64."""
    values = np.asarray(maps, dtype=np.float64)
    if values.ndim != 3:
        raise ValueError(f"maps of shape {values.shape}: pass (N, h, w)")
    return values


def _both(maps_a: FloatArray, maps_b: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = _as_maps(maps_a), _as_maps(maps_b)
    if first.shape != second.shape:
        raise ValueError(f"maps of shapes {first.shape} and {second.shape}: bring both to one grid")
    return first, second


def _flat(map_hw: NDArray[np.float64]) -> bool:
    return bool(np.ptp(map_hw) <= _FLAT_BELOW * np.abs(map_hw).max())


def _ranks(map_hw: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h * w,) ranks from 1, ties their mean."""
    _, inverse, counts = np.unique(map_hw.ravel(), return_inverse=True, return_counts=True)
    means = counts.cumsum() - (counts - 1) / 2
    return np.asarray(means[inverse])


def _unit(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each map brought to 0..1."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    flat = np.array([_flat(map_hw) for map_hw in maps]).reshape(-1, 1, 1)
    return np.asarray(np.where(flat, 0.0, (maps - low) / np.where(span == 0, 1.0, span)))


def _shifted(images: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Moved down and right by so many pixels (up and left where negative); the edge is repeated."""
    sources = np.clip(np.arange(images.shape[1]) - by, 0, images.shape[1] - 1)
    return np.asarray(images[:, sources][:, :, sources])
