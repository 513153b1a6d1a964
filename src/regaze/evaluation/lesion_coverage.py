"""How many lesions of each type and size a map lights up, when every map may light equally many pixels.

Definition. A map's light is its k largest pixels, k = `BUDGET` of the picture's pixels (rounded, at least one; the bars
that pad a photograph to a square are no picture); pixels that tie for the last places share them in expectation. A
lesion is an 8-connected component of its type's mask. It counts as lit by the share of its pixels that are lit: three
of four pixels are 0.75 of a lesion, a lesion of one pixel is lit or not. Recall is the sum over lesions over their
number.

Why so: a fixed budget keeps a map that is bright everywhere from winning, and makes maps of any range comparable; and
counting by pixels makes chance known exactly: a constant map, or one drawn at random however smooth, gets k of all
pixels for lesions of every type and every size. (Were a lesion lit as soon as one of its pixels is, large lesions would
be hit by chance.) What the definition cannot show: where lesions cover more than the budget, no map reaches 1.

Invariants: the map is ranked, never thresholded by value; an image without lesions of a type says nothing about that
type, it is skipped and counted; counts are plain numbers in dicts that JSON can hold and that may be added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.agreement import BoolArray, FloatArray, as_map
from regaze.evaluation.intervals import Bounds, group_codes, percentile_bounds, resampled_ratios
from regaze.evaluation.picture import WHOLE, Picture

#: Share of a map's pixels that count as lit.
BUDGET = 0.05

#: Classes of size: name, and the diameter in shares of the side from which on a lesion belongs to it. The first ends
#: near 125 um on a 50-degree photograph (0.9 % of its side), beyond which ETDRS calls no red lesion a microaneurysm.
SIZES: tuple[tuple[str, float], ...] = (
    ("below 1 %", 0.0),
    ("1 to 2 %", 0.01),
    ("2 to 4 %", 0.02),
    ("4 % and more", 0.04),
)

#: Lesion type -> class of size -> a number (of lesions, or of lit ones).
Counts = dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one photograph.

    Attributes:
        side: Side S of the cropped square, in shares of which sizes are told.
        picture: Where in the square the photograph lies.
        types: (L,) the type of each lesion.
        sizes: (L,) the name of its class of size, see `SIZES`.
        areas: (L,) int64, its pixels.
        owner: (P,) int64, for each pixel of a lesion the lesion's index 0..L-1.
        pixels: (P,) int64, that pixel's index in row-major order of the picture. Lesions of two types may share one.
    """

    side: int
    picture: Picture
    types: tuple[str, ...]
    sizes: tuple[str, ...]
    areas: NDArray[np.int64]
    owner: NDArray[np.int64]
    pixels: NDArray[np.int64]

    @property
    def n_pixels(self) -> int:
        """Pixels of the picture."""
        rows, columns = (len(range(*part.indices(self.side))) for part in self.picture)
        return rows * columns

    @property
    def chance(self) -> float:
        """Recall of a constant map, or of one drawn at random: k / pixels of the picture, for every type and size."""
        return _lit_pixels(self.n_pixels) / self.n_pixels


def diameter(area: float) -> float:
    """Diameter, in pixels, of the disc that touches `area` pixels on average.

    Masks shrink by any-of: every cropped pixel that a lesion touches is marked, so a small lesion's area is far too
    large (a point becomes a pixel). A convex shape of area A whose shadows on the axes are w and h touches
    A + w + h + 1 cells of a grid laid at random, on average; for a disc pi d^2 / 4 + 2 d + 1 = area is solved for d.
    On IDRiD's segmented photographs at 224 px the medians of microaneurysms, haemorrhages, hard and soft exudates are
    0.47, 1.40, 0.59 and 3.14 % of the side; measured before shrinking, 0.62, 1.42, 0.63 and 3.18 %; the diameter of a
    disc of the area itself would be 1.01, 1.95, 1.13 and 3.70 %.

    One pixel has the diameter 0.
    """
    return float((np.sqrt(4 + np.pi * (area - 1)) - 2) / (np.pi / 2))


def size_class(diameter_share: float) -> str:
    """Name in `SIZES` of a diameter in shares of the side."""
    return next(name for name, least in reversed(SIZES) if diameter_share >= least)


def find_lesions(masks: Mapping[str, BoolArray], picture: Picture = WHOLE) -> Lesions:
    """Take masks apart into single lesions.

    Lesions of one type that touch in cropped pixels, also across a corner, count as one.

    Args:
        masks: Type -> (S, S) bool in cropped pixels; empty masks add nothing.
        picture: Where in the square the photograph lies; no mask reaches beyond it.

    Returns:
        The lesions, type by type.
    """
    side = len(next(iter(masks.values())))
    types: list[str] = []
    owners, pixels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for kind, mask in masks.items():
        count, labels = cv2.connectedComponents(mask[picture].astype(np.uint8), connectivity=8)
        pixels.append(np.flatnonzero(mask[picture]).astype(np.int64))
        owners.append(labels.ravel()[pixels[-1]].astype(np.int64) - 1 + len(types))
        types += [kind] * (count - 1)
    owner = np.concatenate(owners)
    areas = np.bincount(owner, minlength=len(types)).astype(np.int64)
    sizes = tuple(size_class(diameter(float(area)) / side) for area in areas)
    return Lesions(side, picture, tuple(types), sizes, areas, owner, np.concatenate(pixels))


def light(attention_map: FloatArray, k: int) -> NDArray[np.float64]:
    """Which pixels are lit.

    Args:
        attention_map: (H, W) float, any range (only the order counts), the picture's cropped pixels.
        k: Number of pixels that are lit, at least one.

    Returns:
        (H, W) float64: 1 for the k largest pixels, 0 for the others; pixels that tie for the last places share what is
        left of k. The sum is k.

    Raises:
        ValueError: Not one map (h, w).
        ModelError: A map with values that are not finite.
    """
    values = as_map(attention_map)
    last = np.partition(values, values.size - k, axis=None)[values.size - k]
    above, tied = values > last, values == last
    return np.asarray(above + tied * ((k - above.sum()) / tied.sum()), dtype=np.float64)


def _lit_pixels(n_pixels: int) -> int:
    return max(1, round(BUDGET * n_pixels))


def lesion_light(attention_map: FloatArray, lesions: Lesions) -> NDArray[np.float64]:
    """How far each lesion is lit.

    Args:
        attention_map: (S, S) float, any range, cropped pixels; what lies outside the picture does not count.
        lesions: Of the same photograph.

    Returns:
        (L,) float64, 0..1: the share of the lesion's pixels that are lit.

    Raises:
        ValueError: The map's shape is not that of the masks.
        ModelError: A map with values that are not finite.
    """
    shape = (lesions.side, lesions.side)
    if attention_map.shape != shape:
        raise ValueError(f"map {attention_map.shape} and masks {shape} differ in shape: bring the map to their grid")
    lit = light(attention_map[lesions.picture], _lit_pixels(lesions.n_pixels))
    inside = np.bincount(lesions.owner, lit.ravel()[lesions.pixels], minlength=len(lesions.areas))
    return np.asarray(inside / lesions.areas)


def count(lesions: Lesions, values: NDArray[np.float64] | None = None) -> Counts:
    """Add up a number over the lesions of each type and size.

    Args:
        lesions: Of one photograph.
        values: (L,) float, one number per lesion, such as `lesion_light`; None: 1 for each, which counts them.

    Returns:
        Type -> class of size -> sum; what does not occur is absent.
    """
    numbers = np.ones(len(lesions.types)) if values is None else values
    counts: Counts = {}
    for kind, size, value in zip(lesions.types, lesions.sizes, numbers, strict=True):
        sizes = counts.setdefault(kind, {})
        sizes[size] = sizes.get(size, 0.0) + float(value)
    return counts


def summarise_recall(
    counts: Sequence[Counts | None],
    lit: Mapping[str, Sequence[Counts | None]],
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Recall over photographs, for all lesions, by type and by size.

    Lesions are pooled: a photograph with 100 microaneurysms weighs 100 times one with a single one. The interval is a
    bootstrap by group of the ratio, so a photograph that outweighs the others makes it wide.

    Args:
        counts: N counts of lesions (`count`), None where nothing is known.
        lit: Map's name (`fused`, `scale1`) -> N counts of lit lesions (`count` of `lesion_light`), None likewise.
        groups: Resampled together (patients), see `group_codes`.
        resamples: Number of resamples.

    Returns:
        `all`; `types`: one entry per type that occurs; `sizes`: one per class of size that occurs, small first. An
        entry has `n_lesions`; `n_used`, photographs that have such lesions; `n_skipped`, all others; and `recall`:
        map's name -> {`share`, `interval`: [low, high] 95 %}. Without any lesion `all` has None for share and bounds.

    Raises:
        ValueError: Numbers of photographs that differ.
    """
    kinds = dict.fromkeys(kind for row in counts if row for kind in row)
    present = {size for row in counts if row for sizes in row.values() for size in sizes}

    def entry(kind: str | None = None, size: str | None = None) -> dict[str, Any]:
        n = _pick(counts, kind, size)
        codes = group_codes(groups, n.size)
        ratios = {name: _ratio(_pick(rows, kind, size), n, codes, resamples) for name, rows in lit.items()}
        recall = {name: {"share": share, "interval": bounds} for name, (share, bounds) in ratios.items()}
        return {**_how_many(n), "recall": recall}

    return {
        "all": entry(),
        "types": {kind: entry(kind) for kind in kinds},
        "sizes": {size: entry(size=size) for size, _ in SIZES if size in present},
    }


def recall_difference(
    counts: Sequence[Counts | None],
    lit_a: Sequence[Counts | None],
    lit_b: Sequence[Counts | None],
    kind: str | None = None,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Recall of one map less that of another over the same lesions.

    Args:
        counts: N counts of lesions, None where nothing is known.
        lit_a: N counts of lesions that the map before lights.
        lit_b: N counts of those that the map after lights.
        kind: A lesion type; None: all.
        groups: Resampled together (patients).
        resamples: Number of resamples.

    Returns:
        `difference`: recall of b - recall of a, pooled over lesions. `interval`: [low, high], 95 %. `n_lesions`,
        `n_used`, `n_skipped` (photographs). None where there is no such lesion.

    Raises:
        ValueError: Numbers of photographs that differ.
    """
    n, more = _pick(counts, kind), _pick(lit_b, kind) - _pick(lit_a, kind)
    if n.size != more.size:
        raise ValueError(f"{more.size} photographs with maps for {n.size} with lesions: pass the same ones")
    share, bounds = _ratio(more, n, group_codes(groups, n.size), resamples)
    return {"difference": share, "interval": bounds, **_how_many(n)}


def _how_many(n: NDArray[np.float64]) -> dict[str, int]:
    """From (N,) numbers of lesions: their sum, and the photographs with and without any."""
    n_used = int((n > 0).sum())
    return {"n_lesions": int(n.sum()), "n_used": n_used, "n_skipped": n.size - n_used}


def _pick(rows: Sequence[Counts | None], kind: str | None = None, size: str | None = None) -> NDArray[np.float64]:
    """(N,) float64: what each photograph counts of a type and a size (None: of all of them)."""
    return np.array(
        [
            sum(
                value
                for row_kind, sizes in (row or {}).items()
                if kind in (None, row_kind)
                for row_size, value in sizes.items()
                if size in (None, row_size)
            )
            for row in rows
        ],
        dtype=np.float64,
    )


def _ratio(
    top: NDArray[np.float64], bottom: NDArray[np.float64], codes: NDArray[np.int64], resamples: int
) -> tuple[float | None, Bounds]:
    """Sum over sum, where the lower is not 0, with its 95 % bootstrap interval by group; None over nothing."""
    used = bottom > 0
    if not used.any():
        return None, [None, None]
    # Groups without such lesions are left out before the draw, so that no resample is empty.
    names, codes = np.unique(codes[used], return_inverse=True)
    ratios = resampled_ratios(top[used], bottom[used], codes, resamples)
    return float(top[used].sum() / bottom[used].sum()), percentile_bounds(ratios, len(names))
