"""Masks as 1-bit PNG bytes and back, without loss.

Invariant: `decode_mask(encode_mask(mask), ...)` equals `mask` bit for bit, and no stored bytes can make the
decoder allocate more than `records.MAX_PIXELS` pixels. All masks are in original pixels. How a mask is packed may
change with the version; masks are compared, never their bytes.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from regaze.errors import CorrectionError
from regaze.records import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ROW_ABOVE = 2  # the filter of a row that is written as its difference to the one above


def check_mask(mask: NDArray[np.bool_], name: str, sample: str) -> None:
    """Refuse what is no mask (H, W) of bool, or empty, or larger than `records.MAX_PIXELS`.

    Args:
        mask: What should be a mask.
        name: `look` or `avoid`, for the message.
        sample: The photograph's id, for the message.

    Raises:
        CorrectionError: It is no mask.
    """
    what = f"mask {name!r} of {sample!r}"
    if not isinstance(mask, np.ndarray):
        raise CorrectionError(f"{what} is a {type(mask).__name__}, expected a NumPy array (H, W) of bool")
    if mask.dtype != np.bool_:
        raise CorrectionError(f"{what} has dtype {mask.dtype}, expected bool: pass a comparison such as mask > 0")
    if mask.ndim != 2:
        raise CorrectionError(f"{what} has shape {mask.shape}, expected (H, W): pass one plane")
    if not 1 <= mask.size <= MAX_PIXELS:
        raise CorrectionError(
            f"{what} has shape {mask.shape}, expected 1 to {MAX_PIXELS} pixels: "
            "store masks in the pixels of the photograph"
        )


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Pack a mask (H, W) that `check_mask` accepts into the bytes of a PNG with one bit per pixel.

    Each row as its difference to the row above (https://www.w3.org/TR/png-3/#9Filters), which of areas is mostly zeros,
    and these as run lengths: 6 CPU ms for the 54 of Pillow's encoder (200 strokes on 4288 x 2848, `bench/saving.py`),
    in no more bytes.
    """
    height, width = mask.shape
    packed = np.packbits(mask, axis=1)
    rows = np.empty((height, 1 + packed.shape[1]), dtype=np.uint8)
    rows[:, 0], rows[:, 1:] = _ROW_ABOVE, packed
    rows[1:, 1:] -= packed[:-1]
    deflate = zlib.compressobj(1, strategy=zlib.Z_RLE)
    data = deflate.compress(rows.tobytes()) + deflate.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)  # one bit, grey
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode_mask(png: bytes, height: int, width: int, what: str) -> NDArray[np.bool_]:
    """Unpack a stored mask.

    The size is compared before any pixel is decoded, so that a damaged blob cannot exhaust the memory.

    Args:
        png: Bytes written by `encode_mask`.
        height: Rows that the store noted.
        width: Columns that the store noted.
        what: Names the mask in the message.

    Returns:
        (height, width) bool; the caller owns it.

    Raises:
        CorrectionError: The bytes are no 1-bit PNG of that size.
    """
    if not 1 <= height * width <= MAX_PIXELS:
        raise CorrectionError(f"{what} claims {height} x {width} pixels, expected 1 to {MAX_PIXELS}: file damaged")
    try:
        with PngImageFile(io.BytesIO(png)) as image:  # Image.open would warn above 89 Mpx
            if image.mode != "1" or image.size != (width, height):
                raise CorrectionError(
                    f"{what} holds a PNG of mode {image.mode} and {image.height} x {image.width} pixels, "
                    f"expected mode 1 and {height} x {width}: the file is damaged, restore it from a copy"
                )
            return np.array(image, dtype=np.bool_)
    except (OSError, ValueError, SyntaxError) as error:
        raise CorrectionError(f"{what} is no readable PNG ({error}): restore the file from a copy") from error


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
