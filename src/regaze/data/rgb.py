"""A decoded picture of any mode as RGB of 8 bits.

Invariant: a picture is converted strip by strip, so that no more than its own pixels and the result are held.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP = 4_000_000  # pixels at a time
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a decoded picture to (H, W, 3) uint8 RGB; see `images.read_photo`.

    Args:
        image: Of any mode but `F`, its pixels decoded.
    """
    width, height = image.size
    result = np.empty((height, width, 3), dtype=np.uint8)
    if image.mode.startswith("I"):  # I;16, I;16B, I: greys of more than 8 bits, which convert("RGB") would clip
        surplus = surplus_bits(max(int(np.asarray(strip).max()) for _, strip in strips(image)))
        for rows, strip in strips(image):
            grey = np.asarray(strip).clip(0) >> surplus
            result[rows] = grey.astype(np.uint8)[..., None]
        return result
    for rows, strip in strips(image):
        if strip.has_transparency_data:
            rgba = strip.convert("RGBA")
            black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
            strip = Image.alpha_composite(black, rgba)
        result[rows] = np.asarray(strip.convert("RGB"))
    return result


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """A decoded picture in strips of whole rows: the rows, and the picture of these."""
    step = max(1, _STRIP // image.width)
    for top in range(0, image.height, step):
        bottom = min(image.height, top + step)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def surplus_bits(highest: int) -> int:
    """Bits below the upper 8 of the depth that a level needs: cameras have 8, 10, 12, 14 or 16."""
    depth = max(8, highest.bit_length())
    return depth + depth % 2 - 8


def swap_bytes(image: Image.Image) -> bool:
    """Have a picture of 16 bits in each of several channels decoded to its lower bytes, where Pillow takes the upper.

    Args:
        image: Opened and not yet decoded.

    Returns:
        False where it is no such picture, or Pillow cannot.
    """
    tiles = []
    for tile in getattr(image, "tile", ()):  # what came from plain pixels (DICOM) has none
        arguments = (tile.args,) if isinstance(tile.args, str) else tile.args
        deep = re.fullmatch("(RGB|RGBA|RGBX);16([BLN])", str(arguments[0]))
        if deep is None:
            return False
        swapped = (f"{deep[1]};16{_OTHER_BYTE[deep[2]]}", *arguments[1:])
        tiles.append(tile._replace(args=swapped[0] if isinstance(tile.args, str) else swapped))
    image.tile = tiles  # type: ignore[attr-defined]
    return bool(tiles)
