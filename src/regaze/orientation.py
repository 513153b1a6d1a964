"""EXIF orientation: how a photograph's stored pixels are turned before people and annotation tools see them.

Invariant: regaze keeps everything in *stored* order (see `data.images`); *upright* is what a browser, Label Studio,
CVAT or OpenCV shows. The eight orientations are those of EXIF 2.32, tag 0x0112; 1 turns nothing.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Pixels = TypeVar("_Pixels", bound=np.generic)

# Stored becomes upright by: rows and columns exchanged, then mirrored left to right, then top to bottom.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height of the upright picture; arguments are the stored one's. Also the way back."""
    return (height, width) if _TURNS[orientation][0] else (width, height)


def upright_pixels(pixels: NDArray[_Pixels], orientation: int) -> NDArray[_Pixels]:
    """Turn stored pixels (H, W, ...) upright; a view."""
    swapped, across, down = _TURNS[orientation]
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def stored_pixels(pixels: NDArray[_Pixels], orientation: int) -> NDArray[_Pixels]:
    """Turn upright pixels (H, W, ...) back into stored order; a view."""
    swapped, across, down = _TURNS[orientation]
    pixels = pixels[:: -1 if down else 1, :: -1 if across else 1]
    return pixels.swapaxes(0, 1) if swapped else pixels


def upright_point(point: tuple[float, float], width: float, height: float, orientation: int) -> tuple[float, float]:
    """Where a stored point lies on the upright picture.

    Args:
        point: x and y.
        width: Of the *upright* picture, in the unit of the point (1 for shares).
        height: Likewise.
        orientation: 1 to 8.
    """
    swapped, across, down = _TURNS[orientation]
    x, y = reversed(point) if swapped else point
    return (width - x if across else x, height - y if down else y)


def stored_point(point: tuple[float, float], width: float, height: float, orientation: int) -> tuple[float, float]:
    """Where an upright point lies on the stored picture; arguments as `upright_point`."""
    swapped, across, down = _TURNS[orientation]
    x, y = point
    x, y = (width - x if across else x, height - y if down else y)
    return (y, x) if swapped else (x, y)
