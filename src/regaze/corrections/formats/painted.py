"""Pictures that hold marks: which pixels are painted, whatever the mode."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from regaze.corrections.formats.source import Source

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_size(data: bytes, source: Source) -> tuple[int, int]:
    """Width and height of a PNG, before a pixel is decoded.

    Raises:
        CorrectionError: It is no PNG.
    """
    if len(data) < 24 or not data.startswith(_SIGNATURE):
        raise source.refuse("no PNG", "a PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@contextmanager
def open_png(data: bytes, source: Source) -> Iterator[PngImageFile]:
    """Hand out a PNG, without looking at its size.

    Raises:
        CorrectionError: It is damaged, also where its pixels are decoded inside the block.
    """
    try:
        with PngImageFile(io.BytesIO(data)) as image:  # Image.open would warn above 89 Mpx
            yield image
    except (OSError, ValueError, SyntaxError, OverflowError) as error:
        raise source.refuse(f"a damaged PNG ({error})", "a whole one") from error


def orientation_of(image: PngImageFile) -> int | None:
    """The EXIF orientation that a picture names itself, 1 to 8; None where it does not."""
    if "exif" not in image.info:
        return None
    value = image.getexif().get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def painted(image: Image.Image) -> NDArray[np.bool_]:
    """Which pixels are not 0, (H, W): of an index, a grey or a colour; of a picture in part transparent, its alpha."""
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
        values = pixels[..., :3] if (pixels[..., 3] > 0).all() else pixels[..., 3:]
    else:
        values = np.asarray(image)
    marked: NDArray[np.bool_] = np.any(values.reshape(*values.shape[:2], -1) != 0, axis=2)
    return marked
