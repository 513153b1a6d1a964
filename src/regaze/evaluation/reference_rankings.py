"""Orders of the pixels that owe nothing to what the model saw at that place: what a map has to beat.

Deletion and Insertion see a map's order only, and on images unlike any photograph. Some orders do well for reasons that
have nothing to do with the place: the middle of a photograph holds more than its rim, and smooth orders take away whole
regions (arXiv 2304.13836 on the same effect in ROAR and ROAD). Two kinds stand beside every map:

* `RANKINGS` know neither the model nor (but for the lesions) the photograph: a random order, a centre prior, a random
  map as smooth as an attention map, and the lesions themselves.
* The model's maps in the wrong place: another photograph's map, and the photograph's own, `turned` and `mirrored`. They
  have all that makes the model's maps what they are, grain, mass and habit of place, but for what it saw here.

A random order of single pixels takes a photograph's texture away faster than any smooth map can, and is no measure of
place: table 2 of docs/results.md has a deletion of .186 for it, .389 for smooth noise (ResNet18).

All are (N, S, S) float32 in cropped pixels, larger = changed earlier; only the order counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.errors import OptionError

Maps = NDArray[np.float32]
Ranking = Callable[[int, int, int, NDArray[np.bool_] | None], Maps]


def random_order(n: int, side: int, seed: int) -> Maps:
    """Every pixel at a random place in the order: patternless.

    Args:
        n: Number of images N.
        side: S in cropped pixels.
        seed: The same seed gives image i the same order, however many images follow.

    Returns:
        (N, S, S) float32, each a permutation of 0..S*S-1 (whole numbers, so that nothing ties).

    Raises:
        OptionError: `side` below 1, or above 4096, where float32 would tie.
    """
    if not 1 <= side <= 4096:
        raise OptionError(f"side is {side}: pass 1..4096, beyond which float32 cannot tell all pixels apart")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(side * side).astype(np.float32) for _ in range(n)]
    return np.array(orders, dtype=np.float32).reshape(n, side, side)


def centre_prior(n: int, side: int) -> Maps:
    """From the middle outwards; the same for every image.

    Args:
        n: Number of images N.
        side: S in cropped pixels.

    Returns:
        (N, S, S) float32, the negative squared distance from the centre in pixels, so 0 or less. A read-only view
        of one map.
    """
    from_centre = np.arange(side, dtype=np.float64) - (side - 1) / 2
    squared = from_centre[:, None] ** 2 + from_centre[None, :] ** 2
    return np.broadcast_to((-squared).astype(np.float32), (n, side, side))


def blurred_random(n: int, side: int, seed: int) -> Maps:
    """Noise, smoothed: an order in regions, like an attention map's, but of regions drawn by lot.

    The smoothing Gaussian is one cell of an attention map of 28 x 28 cells wide (the finest of a ResNet's three scales
    has twice that, the coarsest half).

    Args:
        n: Number of images N.
        side: S in cropped pixels.
        seed: As in `random_order`.

    Returns:
        (N, S, S) float32, zero on average.
    """
    rng = np.random.default_rng(seed)
    maps = np.empty((n, side, side), dtype=np.float32)
    for smooth in maps:
        noise = rng.standard_normal((side, side))
        smooth[:] = cv2.GaussianBlur(noise, (0, 0), side / 28, borderType=cv2.BORDER_REFLECT)
    return maps


def mask_order(masks: NDArray[np.bool_]) -> Maps:
    """Lesions first, the deepest pixels of each before its rim, then what lies nearest to a lesion.

    A mask has two values, and its ties would fall to the reading order: upper lesions first, then the upper rim of
    the photograph. The distance to the lesions' edge settles almost all of them and keeps every lesion pixel before
    every other.

    Args:
        masks: (N, S, S) bool, cropped pixels.

    Returns:
        (N, S, S) float32, in pixels: above 0 inside lesions, below 0 outside. Where a mask is empty there is no
        order: NaN, which `compare_orders` refuses; leave those images out.

    Raises:
        ValueError: Not three dimensions.
    """
    if masks.ndim != 3:
        raise ValueError(f"masks have shape {masks.shape}: pass (N, S, S)")
    orders = np.empty(masks.shape, dtype=np.float32)
    for mask, order in zip(masks, orders, strict=True):
        order[:] = _signed_distance(mask) if mask.any() else np.nan
    return orders


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the nearest pixel of the other kind, negative outside; a mask without an outside is flat."""
    inside = mask.astype(np.uint8)
    if mask.all():
        return inside.astype(np.float32)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(inner - outer, dtype=np.float32)


def turned(maps: Maps) -> Maps:
    """Each map turned by 180 degrees: the same values, in another place.

    Args:
        maps: (N, S, S) float32.
    """
    return np.ascontiguousarray(maps[:, ::-1, ::-1])


def mirrored(maps: Maps) -> Maps:
    """Each map with left and right exchanged.

    Args:
        maps: (N, S, S) float32.
    """
    return np.ascontiguousarray(maps[:, :, ::-1])


def other_photographs(
    index: int, grades: NDArray[np.int64], strangers: NDArray[np.bool_], draws: int
) -> tuple[list[int], int]:
    """Whose maps stand in for a photograph's own: drawn by lot, of the same predicted grade as far as there are any.

    Args:
        index: The photograph, 0..N-1; also the seed, so that every model draws in the same order.
        grades: (N,) the grade that the model predicts for each.
        strangers: (N,) bool, which may be drawn: no copy of the photograph, nor another one of its patient.
        draws: How many to draw; where fewer are strangers, these.

    Returns:
        The photographs drawn, each once, and how many of them are of another grade.
    """
    order = [int(other) for other in np.random.default_rng(index).permutation(len(grades)) if strangers[other]]
    alike = [other for other in order if grades[other] == grades[index]][:draws]
    unlike = [other for other in order if grades[other] != grades[index]][: draws - len(alike)]
    return alike + unlike, len(unlike)


def _lesions(n: int, side: int, masks: NDArray[np.bool_] | None) -> Maps:
    if masks is None or masks.shape != (n, side, side):
        given = "none" if masks is None else f"shape {masks.shape}"
        raise ValueError(f"the ranking 'lesions' needs masks of shape {(n, side, side)}, given {given}")
    return mask_order(masks)


#: Name -> ranking of (number of images, side, seed, masks or None); `lesions` alone needs the masks.
RANKINGS: Mapping[str, Ranking] = {
    "random": lambda n, side, seed, _: random_order(n, side, seed),
    "centre": lambda n, side, _seed, _: centre_prior(n, side),
    "blurred-random": lambda n, side, seed, _: blurred_random(n, side, seed),
    "lesions": lambda n, side, _seed, masks: _lesions(n, side, masks),
}
