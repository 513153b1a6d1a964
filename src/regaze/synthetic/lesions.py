"""The lesions of diabetic retinopathy: their records, the grade they amount to, and how they are painted.

Invariant: a lesion changes the canvas at a pixel if and only if its mask holds there, and every lesion owns at least
one mask pixel at any size. Positions, shapes and strengths are in shares of the side.

The grade follows the international clinical scale (Wilkinson et al. 2003,
https://doi.org/10.1016/S0161-6420(03)00475-5) as far as one photograph shows it: see `grade_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.records import LESION_TYPES
from regaze.synthetic.eye import Eye, Floats, rgb

MANY_HAEMORRHAGES = 20  # more than these, in all quadrants: grade 3
# Sign -> the lesion type to whose mask it belongs: a preretinal haemorrhage is a haemorrhage, and beading of the veins
# is a lesion that IDRiD's five types do not name.
MASK_OF = {name: name for name in LESION_TYPES[:-1]} | {"preretinal": "haemorrhages", "beading": "lesion"}

# Share of the light left where a sign is at full strength, and (factor on the retina's colour, offset)
# for signs that hide the retina. Judged by eye beside photographs of IDRiD.
_ABSORBS = {
    "microaneurysms": (0.66, 0.32, 0.42),
    "haemorrhages": (0.66, 0.32, 0.42),
    "neovascularisation": (0.72, 0.38, 0.50),
    "beading": (0.72, 0.38, 0.50),
}
_COVERS = {
    "preretinal": ((0.62, 0.24, 0.35), (0.0, 0.0, 0.0)),
    "hard_exudates": ((1.25, 1.85, 1.6), (0.08, 0.1, 0.06)),
    "soft_exudates": ((1.05, 1.5, 1.9), (0.06, 0.09, 0.12)),
}
_LEAST = 0.2  # share of a pixel that a lesion must cover to change it

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Lesion:
    """One lesion, or a cluster of specks that belong together.

    Attributes:
        sign: A key of `MASK_OF`.
        shapes: Outlines (filled) or, where `stroke` > 0, lines: (N, 2) x, y in shares of the side.
        anchors: (K, 2) one point inside each of the K lesions: the pixel there is always painted.
        strength: How far the colour goes towards the lesion's own, 0..1.
        soft: Standard deviation of the edge, share of the side; 0: sharp.
        stroke: Width of the lines, share of the side.
    """

    sign: str
    shapes: tuple[Points, ...]
    anchors: Points
    strength: float
    soft: float = 0.0
    stroke: float = 0.0


def count_signs(lesions: tuple[Lesion, ...]) -> dict[str, int]:
    """Number of lesions per sign; signs that do not occur are absent."""
    counts: dict[str, int] = {}
    for lesion in lesions:
        counts[lesion.sign] = counts.get(lesion.sign, 0) + len(lesion.anchors)
    return counts


def grade_of(counts: Mapping[str, int], quadrants: int) -> int:
    """Grade by the international clinical scale.

    Args:
        counts: Lesions per sign, a key of `MASK_OF`.
        quadrants: Quadrants around the fovea that hold an intraretinal haemorrhage, 0..4.

    Returns:
        4 with new vessels or preretinal haemorrhage; 3 with more than 20 haemorrhages in all four quadrants
        or beaded veins; 1 with microaneurysms only; 0 with nothing; 2 otherwise.
    """
    if counts.get("neovascularisation", 0) or counts.get("preretinal", 0):
        return 4
    many = counts.get("haemorrhages", 0) > MANY_HAEMORRHAGES and quadrants == 4
    if many or counts.get("beading", 0):
        return 3
    present = {sign for sign, count in counts.items() if count}
    if not present:
        return 0
    return 1 if present == {"microaneurysms"} else 2


def intraretinal_quadrants(lesions: tuple[Lesion, ...], eye: Eye) -> int:
    """Quadrants around the fovea with a haemorrhage inside the retina, 0..4."""
    points = [point for lesion in lesions if lesion.sign == "haemorrhages" for point in lesion.anchors]
    return len({(bool(x > eye.fovea[0]), bool(y > eye.fovea[1])) for x, y in points})


def _coverage(lesion: Lesion, size: int) -> tuple[Floats, int, int]:
    """Share of every pixel that a lesion covers (H, W), with the patch's left and top edge in pixels."""
    corners = np.concatenate([*lesion.shapes, lesion.anchors]) * size
    margin = 2 + int(np.ceil((3 * lesion.soft + lesion.stroke) * size))
    left, top = (np.maximum(0, np.floor(corners.min(axis=0)).astype(int) - margin)).tolist()
    right, bottom = (np.minimum(size, np.ceil(corners.max(axis=0)).astype(int) + margin)).tolist()
    fine = int(np.clip(640 // max(right - left, bottom - top), 1, 8))
    layer = np.zeros(((bottom - top) * fine, (right - left) * fine), np.uint8)
    for shape in lesion.shapes:
        ends = np.round(((shape * size - (left, top)) * fine - 0.5) * 16).astype(np.int32)
        if lesion.stroke:
            cv2.polylines(layer, [ends], False, 255, max(1, round(lesion.stroke * size * fine)), cv2.LINE_8, 4)
        else:
            cv2.fillPoly(layer, [ends], 255, cv2.LINE_8, 4)
    if fine > 1:
        layer = cv2.resize(layer, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    cover = layer.astype(np.float32) / np.float32(255)
    if lesion.soft * size > 0.15:
        cover = cv2.GaussianBlur(cover, (0, 0), lesion.soft * size)
    columns, rows = (np.floor(lesion.anchors * size).astype(int) - (left, top)).T
    # A lesion far below one pixel would vanish and its mask would be a lie: it keeps its pixel, half covered.
    cover[rows, columns] = np.maximum(cover[rows, columns], 0.5)
    return np.asarray(cover, np.float32), left, top


def _tint(canvas: Floats, sign: str, amount: Floats, base: Floats) -> Floats:
    """The canvas (H, W, 3) with a sign painted over it as far as the amount (H, W, 1) says.

    Blood in or under the retina absorbs; exudates and blood before the retina cover what lies behind.
    """
    if sign in _ABSORBS:
        return np.asarray(canvas * (1 - amount * (1 - rgb(*_ABSORBS[sign]))), np.float32)
    factor, offset = _COVERS[sign]
    return np.asarray(canvas + amount * (base * rgb(*factor) + rgb(*offset) - canvas), np.float32)


def paint_lesions(eye: Eye, lesions: tuple[Lesion, ...]) -> tuple[Floats, dict[str, NDArray[np.bool_]]]:
    """Paint lesions into a copy of the eye's canvas.

    Args:
        eye: The healthy eye; its canvas is left as it is.
        lesions: From `plan_lesions`, for this eye at any size.

    Returns:
        The canvas (size, size, 3) float32 as in `Eye`, and the masks (size, size) bool by the type's name in
        `records.LESION_TYPES`; types that do not occur are absent. The canvas differs from the eye's exactly
        where the union of the masks holds.
    """
    canvas = eye.canvas.copy()
    masks: dict[str, NDArray[np.bool_]] = {}
    for lesion in lesions:
        cover, left, top = _coverage(lesion, eye.size)
        inside = cover > _LEAST
        if lesion.soft * eye.size > 0.15:
            cover = (cover - np.float32(_LEAST)) / np.float32(1 - _LEAST)  # a soft edge ends where the mask ends
        amount = (np.where(inside, cover, np.float32(0)) * np.float32(lesion.strength))[..., None]
        rows, columns = slice(top, top + cover.shape[0]), slice(left, left + cover.shape[1])
        canvas[rows, columns] = _tint(canvas[rows, columns], lesion.sign, amount, eye.base)
        name = MASK_OF[lesion.sign]
        mask = masks.setdefault(name, np.zeros((eye.size, eye.size), np.bool_))
        mask[rows, columns] |= inside
    return canvas, masks
