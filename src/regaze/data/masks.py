"""Lesion masks and boxes, brought to boolean pixels of the photograph.

Invariant: a mark of the expert is never lost: a mask is read by what it means, not by its file's numbers,
and every box covers at least one pixel. All results are in original pixels, stored order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regaze.data.geometry import resize_any_of
from regaze.data.images import open_image, photo_size
from regaze.errors import DataError
from regaze.records import Box, Sample

# A picture of labels has a handful of levels (0/1, 0/255, one per class); soft edges and lossy noise have dozens.
_MOST_LABELS = 8


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask file; True = lesion.

    Palette and 1-bit pictures: every colour but black (IDRiD's palette TIFFs). Where the palette itself is
    all black, every index but 0.

    Greys, RGB and RGBA: the strongest colour channel counts, transparent pixels (alpha 0) are background.
    So RGBA masks work both as colour on opaque black and as colour on transparency. With up to 8 levels the picture
    holds labels (0/1, 0/255, or one level per class) and every level but 0 is lesion. With more levels, or in a JPEG,
    the low ones are soft edges or lossy noise: lesion is what reaches half of the strongest level.

    Returns:
        (H, W) bool in the mask's own pixels.

    Raises:
        DataError: The file is missing, broken, or too large.
    """
    with open_image(path) as image:
        image.load()
        if image.mode == "1":
            return np.array(image)
        if image.mode == "P":
            return _palette_mask(image)
        return _above_noise(_strength(image), lossy=image.format == "JPEG")


def boxes_to_mask(boxes: Sequence[Box], width: int, height: int) -> NDArray[np.bool_]:
    """Draw boxes.

    Args:
        boxes: Edges as shares of the photograph's width and height; what lies beyond 0..1 is cut off.
        width: The photograph's width in original pixels.
        height: Its height.

    Returns:
        (height, width) bool in original pixels: True where a pixel's centre lies in a box, and at least in the pixel
        that holds the box's middle.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in boxes:
        mask[_covered(box.y0, box.y1, height), _covered(box.x0, box.x1, width)] = True
    return mask


def lesion_masks(sample: Sample) -> dict[str, NDArray[np.bool_]]:
    """Read what is known about a photograph's lesions.

    Args:
        sample: Its `origin` says whether masks or boxes count.

    Returns:
        Lesion type -> (H, W) bool in original pixels of the photograph; types without a mask or box are absent. A mask
        of another size but of the photograph's aspect (within 1 %) is brought to the photograph's size, any-of.

    Raises:
        DataError: A file cannot be read, or a mask's aspect differs from the photograph's.
    """
    if sample.origin == "masks" and sample.masks:
        width, height = photo_size(sample.image)
        return {
            lesion: np.logical_or.reduce([_fitted(path, sample.image, width, height) for path in paths])
            for lesion, paths in sample.masks.items()
            if paths
        }
    if sample.origin == "boxes" and sample.boxes:
        width, height = photo_size(sample.image)
        return {
            lesion: boxes_to_mask([box for box in sample.boxes if box.lesion == lesion], width, height)
            for lesion in dict.fromkeys(box.lesion for box in sample.boxes)
        }
    return {}


def lesion_union(sample: Sample) -> NDArray[np.bool_]:
    """Return (H, W) bool in original pixels: every lesion of a photograph, whatever its type.

    All False where nothing is known or nothing was marked: ask `sample.origin` which of the two it is.

    Raises:
        DataError: As `lesion_masks`.
    """
    width, height = photo_size(sample.image)
    union = np.zeros((height, width), dtype=np.bool_)
    for mask in lesion_masks(sample).values():
        union |= mask
    return union


def _palette_mask(image: Image.Image) -> NDArray[np.bool_]:
    """Judge a palette picture by its colours: tools write palettes in any order (white may be index 0)."""
    image.apply_transparency()
    indices = np.asarray(image)
    colours = np.array(image.getpalette("RGBA") or [], dtype=np.uint8).reshape(-1, 4)
    lesion = np.arange(256) > 0  # for indices beyond the palette, and for a palette that is black throughout
    if colours[:, :3].any():
        lesion[: len(colours)] = (colours[:, :3].max(axis=1) > 0) & (colours[:, 3] > 0)
    mask: NDArray[np.bool_] = lesion[indices]
    return mask


def _strength(image: Image.Image) -> NDArray[np.int32] | NDArray[np.uint8]:
    """(H, W) level of the strongest colour channel, 0 where the pixel is transparent."""
    if image.mode.startswith(("I", "F")):
        return np.asarray(image).astype(np.int32)
    if image.mode == "L":
        return np.asarray(image)
    rgba = np.asarray(image.convert("RGBA"))
    strongest: NDArray[np.uint8] = rgba[..., :3].max(axis=2)
    strongest[rgba[..., 3] == 0] = 0
    return strongest


def _above_noise(strength: NDArray[np.int32] | NDArray[np.uint8], *, lossy: bool) -> NDArray[np.bool_]:
    """Tell lesion from background in levels; see `read_mask`."""
    levels = np.unique(strength) if strength.dtype != np.uint8 else np.flatnonzero(np.bincount(strength.ravel()))
    if len(levels) <= _MOST_LABELS and not lossy:
        return strength > 0
    return (strength > 0) & (strength >= int(levels[-1]) / 2)


def _covered(low: float, high: float, count: int) -> slice:
    """Pixels along one axis whose centres lie in low..high (shares of the axis), at least one."""
    first = min(max(math.ceil(low * count - 0.5), 0), count)
    last = min(max(math.ceil(high * count - 0.5), 0), count)
    if last > first:
        return slice(first, last)
    middle = min(max(math.floor((low + high) / 2 * count), 0), count - 1)
    return slice(middle, middle + 1)


def _fitted(path: Path, photo: Path, width: int, height: int) -> NDArray[np.bool_]:
    """Read a mask and bring it to the photograph's size."""
    mask = read_mask(path)
    mask_height, mask_width = mask.shape
    if (mask_width, mask_height) == (width, height):
        return mask
    if abs(mask_width * height - width * mask_height) > 0.01 * width * mask_height:
        raise DataError(
            f"The mask {path} has {mask_width} x {mask_height} pixels, its photograph {photo} has "
            f"{width} x {height}: export the mask at that size (or aspect), or check that it belongs to it."
        )
    return resize_any_of(mask, width, height)
