"""One geometry for photograph, lesion masks and attention maps.

Invariant: `Geometry` alone knows how original pixels and cropped pixels relate. The window's corner and side are whole
numbers, so that the cell of every pixel is found in exact integer arithmetic: image, mask and map cannot drift apart by
a rounding error.

Frames: *original pixels* (stored order of the photograph), *cropped pixels* (size x size), *map cells* (any grid that
covers the whole cropped square). Pixel centres lie at +0.5 in each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

_Levels = TypeVar("_Levels", bound=np.generic)

Rectangle = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""

_FIELD_SIDE = 536  # the longer side of the picture in which the field of view is found: enough for a box, and fast
# A pixel counts as fundus this many levels (0..255) above the surround, and this share of the way from the
# surround to the picture's 90th percentile: the second keeps out the haze around a bright disc. In the 413
# graded photographs of IDRiD (536 pixels wide here, one camera, disc 426 wide) boxes are 426..464 wide with
# no share, 426..434 with this one (.06: 464, .08: 448, .12: 432), and none cuts into the disc.
_ABOVE_SURROUND = 10
_SHARE_OF_BRIGHT = 0.1
_DARK = 24  # up to this level a corner is dark; in the same photographs it is 0..7


def field_of_view(photo_HWC: NDArray[np.uint8]) -> Rectangle:
    """Find the bounding box of a fundus (or any bright, compact object) on a dark surround.

    Args:
        photo_HWC: (H, W, 3) uint8 RGB, 0..255, any scale.

    Returns:
        In pixels of the given array. The whole frame where the corners are not dark, or where what stands out from
        them is small or scattered: rather too much of the picture than a cut disc.
    """
    height, width = photo_HWC.shape[:2]
    shrink = max(1.0, max(height, width) / _FIELD_SIDE)
    small_width, small_height = max(1, round(width / shrink)), max(1, round(height / shrink))
    level = photo_HWC.max(axis=2)  # the red channel carries a fundus, but a coloured object must count too
    if shrink > 1.0:
        level = cv2.resize(level, (small_width, small_height), interpolation=cv2.INTER_AREA)
    box = _bright_box(level)
    if box is None:
        return 0, 0, width, height
    left, top, right, bottom = box
    # One small pixel more on every side, and outwards in rounding: the box must not cut into the disc.
    across, down = width / small_width, height / small_height
    return (
        max(0, math.floor((left - 1) * across)),
        max(0, math.floor((top - 1) * down)),
        min(width, math.ceil((right + 1) * across)),
        min(height, math.ceil((bottom + 1) * down)),
    )


def field_mask(photo_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find the pixels of a fundus (or any bright, compact object) on a dark surround.

    Args:
        photo_HWC: (H, W, 3) uint8 RGB, 0..255.

    Returns:
        (H, W) bool: the object's convex hull, so that a dark lesion at its rim is in it. True everywhere where
        `field_of_view` is the whole frame.
    """
    found = _bright_object(photo_HWC.max(axis=2))
    if found is None:
        return np.ones(photo_HWC.shape[:2], dtype=np.bool_)
    filled = np.zeros(photo_HWC.shape[:2], dtype=np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(cv2.findNonZero(found.astype(np.uint8))), 1)
    return filled > 0


def _bright_box(level_HW: NDArray[np.uint8]) -> Rectangle | None:
    """Bounding box of the bright object in a grey picture, None without a dark surround around one."""
    found = _bright_object(level_HW)
    if found is None:
        return None
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _bright_object(level_HW: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The pixels (H, W) of the bright object in a grey picture, None without a dark surround around one."""
    height, width = level_HW.shape
    corner = max(1, round(min(height, width) * 0.03))
    ends = (slice(None, corner), slice(-corner, None))
    corners = [level_HW[rows, columns] for rows in ends for columns in ends]
    surround = max(float(np.median(patch)) for patch in corners)
    if surround > _DARK:
        return None
    above = max(_ABOVE_SURROUND, _SHARE_OF_BRIGHT * (float(np.percentile(level_HW, 90)) - surround))
    bright = (cv2.medianBlur(level_HW, 5) > surround + above).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size == 0 or areas.max() < 0.1 * height * width:
        return None
    # A dark vessel or shadow may split the disc: every sizeable part belongs to it. Burnt-in text does not.
    found = np.concatenate([[False], areas >= 0.02 * areas.max()])[labels]
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    # A disc fills 0.79 of its box; a scatter of bright spots fills far less and has no border to take off.
    if bright[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() < 0.5:
        return None
    return np.asarray(found, dtype=np.bool_)


@dataclass(frozen=True)
class Geometry:
    """A square window of the photograph, resized to `size` x `size` cropped pixels.

    Attributes:
        width, height: The photograph's size in original pixels.
        left, top: The window's corner in original pixels; negative where it reaches beyond the photograph.
        side: The window's side in original pixels.
        size: The result's side in cropped pixels.
    """

    width: int
    height: int
    left: int
    top: int
    side: int
    size: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.side, self.size) < 1:
            raise ValueError(f"{self} has a side below 1 pixel: width, height, side and size must be at least 1.")

    @classmethod
    def fit(cls, width: int, height: int, fov: Rectangle, size: int) -> Geometry:
        """Place the smallest square around the field of view, centred, padded where it leaves the photograph.

        Args:
            width: The photograph's width in original pixels.
            height: Its height.
            fov: The field of view in original pixels.
            size: Side of the result in cropped pixels, at least 1.

        Raises:
            ValueError: A side is below 1 pixel, or the field of view is empty.
        """
        left, top, right, bottom = fov
        if right <= left or bottom <= top:
            raise ValueError(f"The field of view {fov} is empty: right and bottom must exceed left and top.")
        side = max(right - left, bottom - top)
        return cls(width, height, (left + right - side) // 2, (top + bottom - side) // 2, side, size)

    @property
    def picture(self) -> tuple[slice, slice]:
        """Rows and columns of the cropped square that hold any of the photograph; the rest are the bars that pad it."""
        rows, columns = (
            np.flatnonzero(_any_of(np.ones(count, dtype=np.bool_), 0, -start, self.side, self.size))
            for count, start in ((self.height, self.top), (self.width, self.left))
        )
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def image(self, photo_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the window out and resize it: area mean when shrinking, bilinear when enlarging.

        Args:
            photo_HWC: (H, W, 3) uint8 RGB, at original size or shrunk by one factor (`read_photo(at_least=)`).

        Returns:
            (size, size, 3) uint8 RGB in cropped pixels; black beyond the photograph.

        Raises:
            ValueError: The array's aspect is not the photograph's.
        """
        down, across = self._photo_factors(photo_HWC)
        rows = _resample(photo_HWC, 0, self.top / down, self.side / down, self.size)
        both = _resample(rows, 1, self.left / across, self.side / across, self.size)
        rounded: NDArray[np.uint8] = np.floor(both + 0.5).clip(0, 255).astype(np.uint8)
        return rounded

    def mask(self, mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bring a mask to cropped pixels, any-of: a single true original pixel inside the window survives.

        Shrinking: a cell is true where any true pixel has its centre in it. Enlarging: a cell takes the pixel that
        holds its centre, so that there are no holes. (Bilinear shrinking to a network's grid loses up to 96 % of
        two-pixel lesions.)

        Args:
            mask_HW: (height, width) bool in original pixels.

        Returns:
            (size, size) bool in cropped pixels; False beyond the photograph.

        Raises:
            ValueError: The mask's size is not the photograph's.
        """
        return self.brightest(mask_HW)

    def brightest(self, levels_HW: NDArray[_Levels]) -> NDArray[_Levels]:
        """Bring grey levels to cropped pixels as `mask` brings marks: of those in a cell the brightest counts.

        Args:
            levels_HW: (height, width) in original pixels, 0 is dark.

        Returns:
            (size, size) in cropped pixels; 0 beyond the photograph.

        Raises:
            ValueError: The size is not the photograph's.
        """
        if levels_HW.shape != (self.height, self.width):
            raise ValueError(f"The mask has shape {levels_HW.shape}, the photograph {(self.height, self.width)}.")
        rows = _any_of(levels_HW, 0, -self.top, self.side, self.size)
        return _any_of(rows, 1, -self.left, self.side, self.size)

    def map_to_original(self, map_hw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lay a map back on the photograph, bilinear between cell centres.

        Args:
            map_hw: (h, w) float32, any range; its grid covers the whole cropped square, whatever h and w are.

        Returns:
            (height, width) float32 in original pixels, 0 outside the window. Within half a cell of the
            window's edge the outermost cell's value holds.
        """
        result = map_hw.astype(np.float32, copy=False)
        for axis, count, start in ((1, self.width, self.left), (0, self.height, self.top)):
            cells = result.shape[axis]
            centres = (np.arange(count, dtype=np.float64) + 0.5 - start) * (cells / self.side)
            result = _bilinear(result, axis, *_neighbours(centres, cells))
        for axis, count, start in ((1, self.width, self.left), (0, self.height, self.top)):
            outside = (np.arange(count) < start) | (np.arange(count) >= start + self.side)
            result[(slice(None),) * axis + (outside,)] = 0.0
        return result

    def _photo_factors(self, photo_HWC: NDArray[np.uint8]) -> tuple[float, float]:
        """(down, across): original pixels per pixel of an array that may be at a reduced scale."""
        height, width = photo_HWC.shape[:2]
        # JPEG scales: sides are divided and rounded up, so that the quotient of the sides is not the factor.
        for factor in (1, 2, 4, 8):
            if (height, width) == (-(-self.height // factor), -(-self.width // factor)):
                return float(factor), float(factor)
        # Elsewhere each side was rounded by itself, which shifts the product below by at most half a side.
        if abs(height * self.width - width * self.height) > max(self.width, self.height):
            raise ValueError(
                f"The array has {width} x {height} pixels, the photograph {self.width} x {self.height}: "
                "it must be the photograph, or the photograph shrunk by one factor."
            )
        return self.height / height, self.width / width


def resize_any_of(mask_HW: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """Resize a mask (H, W) so that every true pixel survives; nearest where the result is larger.

    Args:
        mask_HW: (H, W) bool.
        width: New width in pixels.
        height: New height in pixels.
    """
    rows = _any_of(mask_HW, 0, 0, mask_HW.shape[0], height)
    return _any_of(rows, 1, 0, mask_HW.shape[1], width)


def _cell_of(count: int, shift: int, span: int, size: int) -> NDArray[np.int64]:
    """(count,) floor((i + 0.5 + shift) * size / span) in integers, exact at the borders."""
    return ((2 * (np.arange(count, dtype=np.int64) + shift) + 1) * size) // (2 * span)


def _inside(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The same indices, -1 where they leave 0..count-1."""
    return np.where((indices >= 0) & (indices < count), indices, -1)


def _any_of(mask: NDArray[_Levels], axis: int, shift: int, span: int, size: int) -> NDArray[_Levels]:
    """Resample one axis of a mask, or of levels: pixel i + shift of `span` pixels -> `size` cells."""
    length = mask.shape[axis]
    if span < size:  # enlarging: each cell takes the pixel that holds its centre
        indices = _inside(_cell_of(size, 0, size, span) - shift, length)
        taken = mask.take(indices.clip(0), axis=axis)
        taken[(slice(None),) * axis + (indices < 0,)] = 0
        return taken
    cells = _inside(_cell_of(length, shift, span, size), size)
    kept = np.flatnonzero(cells >= 0)
    shape = list(mask.shape)
    shape[axis] = size
    result = np.zeros(shape, dtype=mask.dtype)
    if kept.size:
        window = mask[(slice(None),) * axis + (slice(kept[0], kept[-1] + 1),)]
        targets, starts = np.unique(cells[kept], return_index=True)
        most = np.logical_or if mask.dtype == np.bool_ else np.maximum
        pooled = most.reduceat(window, starts, axis=axis)
        result[(slice(None),) * axis + (targets,)] = pooled
    return result


def _neighbours(
    positions: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For positions in units of cells (centres at +0.5): lower cell, upper cell, share of the upper one."""
    inner = (positions - 0.5).clip(0.0, count - 1.0)
    low = np.floor(inner).astype(np.int64)
    return low, np.minimum(low + 1, count - 1), (inner - low).astype(np.float32)


def _bilinear(
    values: NDArray[np.float32],
    axis: int,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    share: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Interpolate along one axis."""
    weights = share.reshape([-1 if at == axis else 1 for at in range(values.ndim)])
    first = values.take(low, axis=axis)
    result = first + (values.take(high, axis=axis) - first) * weights
    return cast("NDArray[np.float32]", result)


def _resample(
    pixels: NDArray[np.uint8] | NDArray[np.float32], axis: int, start: float, span: float, size: int
) -> NDArray[np.float32]:
    """Resample start..start+span of one axis to `size` cells: area mean, or bilinear when enlarging.

    Written out because a window of a reduced photograph starts at a fraction of a pixel, which cv2's
    INTER_AREA cannot express, and Pillow's BOX filter takes pixels as a whole.
    """
    count = pixels.shape[axis]
    if span < size:
        # One division, so that a centre on the photograph's border is exactly there, as in `_cell_of`.
        centres = start + (2 * np.arange(size) + 1) * span / (2 * size)
        smooth = _bilinear(pixels.astype(np.float32), axis, *_neighbours(centres, count))
        smooth[(slice(None),) * axis + ((centres < 0) | (centres >= count),)] = 0.0
        return smooth
    # A cell's integral is a difference of running sums, each read at a whole pixel plus a share of the next.
    edges = (start + np.arange(size + 1) * span / size).clip(0, count)
    whole = np.minimum(np.floor(edges).astype(np.int64), count - 1)
    part = (edges - whole).reshape([-1 if at == axis else 1 for at in range(pixels.ndim)])
    starts, indices = np.unique(whole, return_inverse=True)
    kind = np.uint32 if pixels.dtype == np.uint8 else np.float64
    between = np.add.reduceat(pixels, starts, axis=axis, dtype=kind).astype(np.float64)
    running = (np.cumsum(between, axis=axis) - between).take(indices, axis=axis)
    running += pixels.take(whole, axis=axis) * part
    return cast("NDArray[np.float32]", (np.diff(running, axis=axis) * (size / span)).astype(np.float32))
