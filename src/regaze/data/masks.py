"""Lesion masks and boxes, brought to boolean pixels of the photograph.

Invariant: a mark of the expert is never lost: a mask is read by what it means (`data.mask_file`), and every box covers
at least one pixel. All results are in original pixels, stored order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regaze.data.geometry import resize_any_of
from regaze.data.images import photo_orientation, photo_size
from regaze.data.mask_file import Marks, read_marks, read_regions
from regaze.errors import DataError
from regaze.orientation import stored_pixels
from regaze.records import Box, Sample


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
        of another size but of the photograph's aspect (within 1 %) is brought to the photograph's size, any-of; one of
        the size that viewers show a turned photograph in (EXIF) is turned back.

    Raises:
        DataError: A file cannot be read, or a mask's aspect differs from the photograph's.
    """
    if sample.origin == "masks" and sample.masks:
        width, height = photo_size(sample.image)
        found: dict[str, NDArray[np.bool_]] = {}
        for lesion, path, marks in read_masks(sample):
            mask = fitted(marks.mask, path, sample.image, width, height)
            found[lesion] = found[lesion] | mask if lesion in found else mask
        return found
    if sample.origin == "boxes" and sample.boxes:
        width, height = photo_size(sample.image)
        return {
            lesion: boxes_to_mask([box for box in sample.boxes if box.lesion == lesion], width, height)
            for lesion in dict.fromkeys(box.lesion for box in sample.boxes)
        }
    return {}


def read_masks(sample: Sample) -> Iterator[tuple[str, Path, Marks]]:
    """A sample's masks in their own pixels: lesion type, file, and what it marks of that type.

    Raises:
        DataError: A file cannot be read, or holds a value that is not named.
    """
    for lesion, paths in sample.masks.items():
        for path in paths:
            if lesion == "lesion" and sample.mask_values:
                regions = read_regions(path, sample.mask_values)
                yield from ((kind, path, Marks(region, ())) for kind, region in regions.items())
            else:
                yield lesion, path, read_marks(path)


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


def _covered(low: float, high: float, count: int) -> slice:
    """Pixels along one axis whose centres lie in low..high (shares of the axis), at least one."""
    first = min(max(math.ceil(low * count - 0.5), 0), count)
    last = min(max(math.ceil(high * count - 0.5), 0), count)
    if last > first:
        return slice(first, last)
    middle = min(max(math.floor((low + high) / 2 * count), 0), count - 1)
    return slice(middle, middle + 1)


def fitted(mask: NDArray[np.bool_], path: Path, photo: Path, width: int, height: int) -> NDArray[np.bool_]:
    """Bring a mask to its photograph's size, see `lesion_masks`.

    Args:
        mask: (h, w) bool in the mask's own pixels.
        path: Its file.
        photo: The photograph's file.
        width: The photograph's width in original pixels.
        height: Its height.

    Returns:
        (height, width) bool in original pixels.

    Raises:
        DataError: The mask has another aspect.
    """
    if mask.shape == (height, width):
        return mask
    if not _one_aspect(mask.shape, (height, width)) and _one_aspect(mask.shape, (width, height)):
        turned = stored_pixels(mask, photo_orientation(photo))
        mask = np.ascontiguousarray(turned) if turned.shape != mask.shape else mask
    if not _one_aspect(mask.shape, (height, width)):
        raise DataError(
            f"The mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, its photograph {photo} has "
            f"{width} x {height}: export the mask at that size (or aspect), or check that it belongs to it."
        )
    return mask if mask.shape == (height, width) else resize_any_of(mask, width, height)


def _one_aspect(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two (height, width) have one aspect, within 1 %."""
    return abs(first[1] * second[0] - second[1] * first[0]) <= 0.01 * second[1] * first[0]
