"""Reading photographs safely: an allow-list of formats, a pixel limit, and one clear line for a broken file.

Invariant: pixels stay in *stored order*. The EXIF orientation is not applied, because lesion masks and boxes are drawn
in stored pixel order and most carry no EXIF of their own: rotating the photograph alone would lay every lesion in the
wrong place.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from regaze.errors import DataError
from regaze.records import MAX_PIXELS

IMAGE_SUFFIXES: frozenset[str] = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
"""Lower-case suffixes, with the dot, of the files that are taken for pictures."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of the formats that may be decoded, whatever a file is called (Pillow's SECURITY.md)."""

# What Pillow's decoders raise on damaged files, beyond OSError (which UnidentifiedImageError is).
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# warnings.catch_warnings changes the whole process, so only one thread at a time may stand inside it.
_opening = threading.Lock()


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open a picture for the length of a `with` block; errors of decoding inside it are translated too.

    Yields:
        The picture, its header read and its pixels not yet decoded.

    Raises:
        DataError: The file is missing, is not one of the four formats, is broken, or exceeds `records.MAX_PIXELS`.
    """
    try:
        with _opening, warnings.catch_warnings():
            # Pillow warns from 89 Mpx on and about odd metadata; our limit and the decoder judge instead.
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=FORMATS)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{path} has {image.width} x {image.height} pixels, "
                    f"more than {MAX_PIXELS // 1_000_000} million: shrink the picture or leave it out."
                )
            yield image
    except FileNotFoundError:
        raise DataError(f"There is no picture at {path}: check the path.") from None
    except _BROKEN as error:
        raise DataError(
            f"{path} cannot be read as a JPEG, PNG, TIFF or WebP picture ({_one_line(error)}): "
            "replace the file or leave it out."
        ) from error


def read_photo(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Decode a photograph.

    A JPEG is decoded at 1/2, 1/4 or 1/8 (the decoder's own reduction in the DCT, several times faster) as long as the
    shorter side of the result keeps `at_least` pixels; its sides are then the stored ones divided by that factor,
    rounded up. Other formats come at full size.

    Greys are repeated over the three channels; 16-bit greys keep their upper 8 bits (a fixed range, so that exposures
    stay comparable between photographs); transparent pixels become black, like a fundus' surround.

    Args:
        path: The photograph's file.
        at_least: Shorter side, in pixels, that is enough; None: full size.

    Returns:
        (H, W, 3) uint8 RGB, 0..255, stored pixel order (EXIF orientation is not applied, see the module).

    Raises:
        DataError: The file is missing, broken, too large, or holds floating-point pixels.
    """
    with open_image(path) as image:
        if at_least:
            image.draft(None, (at_least, at_least))
        image.load()
        return _to_rgb(image, path)


def image_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a Pillow picture of any mode, as `read_photo` gives those of a file.

    Raises:
        DataError: It is broken, too large, or holds floating-point pixels.
    """
    name = Path(getattr(image, "filename", "") or "The picture")
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: shrink it.")
    try:
        image.load()
        return _to_rgb(image, name)
    except _BROKEN as error:
        raise DataError(f"{name} cannot be decoded ({_one_line(error)}): replace it or leave it out.") from error


def photo_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in stored pixels, from the header alone.

    Raises:
        DataError: The file is missing, not a picture, or too large.
    """
    with open_image(path) as image:
        return image.width, image.height


def photo_orientation(path: Path) -> int:
    """Return the EXIF orientation of a photograph, 1 to 8 (`regaze.orientation`); 1 where it has none or damaged EXIF.

    Raises:
        DataError: The file is missing, not a picture, or too large.
    """
    with open_image(path) as image:
        return _orientation(image)


def jpeg_comment(path: Path) -> str | None:
    """Return the text of a JPEG's comment (COM segment), or None where there is none.

    IDRiD keeps the patient's visit there, NUL-terminated (`010820171`), so NUL and blanks are taken off.

    Raises:
        DataError: The file is missing or not a picture.
    """
    with open_image(path) as image:
        comment = image.info.get("comment") if image.format == "JPEG" else None
    if comment is None:
        return None
    text = comment.decode("utf-8", errors="replace") if isinstance(comment, bytes) else str(comment)
    return text.strip("\0 \t\r\n") or None


def acquisition(path: Path) -> tuple[str | None, str]:
    """Return the day on which a photograph was taken and the camera, as its EXIF has them.

    Returns:
        (day, camera): `DateTimeOriginal`, else `DateTime`, as `2009-08-20`, None where there is none or it is no date
        (`0000:00:00 00:00:00`); make and model, '' where there are none. Damaged EXIF counts as none: the picture may
        be sound.

    Raises:
        DataError: The file is missing or not a picture.
    """
    with open_image(path) as image:
        if _has_no_exif(image):
            return None, ""
        try:
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exif = image.getexif()
                times = [exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)]
                times.append(exif.get(ExifTags.Base.DateTime))
                names = [exif.get(tag) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
        except _BROKEN:
            return None, ""
    make, model = (" ".join(str(name or "").replace("\0", " ").split()) for name in names)
    camera = model if model.startswith(make) else f"{make} {model}".strip()
    return next((day for day in map(_day, times) if day is not None), None), camera


def _orientation(image: Image.Image) -> int:
    """The orientation of an open picture, 1 to 8; 1 for a TIFF, which Pillow turns itself when it is decoded."""
    if image.format == "TIFF" or _has_no_exif(image):
        return 1
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _has_no_exif(image: Image.Image) -> bool:
    """Whether it is a PNG without EXIF before its pixels: Pillow would decode them all to look behind."""
    return image.format == "PNG" and "exif" not in image.info


def _day(text: object) -> str | None:
    """The day of an EXIF time, `2009:08:20 12:31:05`."""
    try:
        return datetime.strptime(str(text)[:10], "%Y:%m:%d").strftime("%Y-%m-%d")
    except ValueError:
        return None


def content_hash(path: Path) -> str:
    """Return the BLAKE2b fingerprint of a file's bytes, 32 hexadecimal digits.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({_one_line(error)}): check the path and its rights.") from error


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Convert a decoded picture of any mode to (H, W, 3) uint8 RGB."""
    if image.mode == "F":
        raise DataError(
            f"{path} holds floating-point pixels, whose range is not known: export it with 8 or 16 bits per channel."
        )
    if image.mode.startswith("I"):  # I;16, I;16B, I: greys of more than 8 bits, which convert("RGB") would clip
        grey = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(black, rgba).convert("RGB"))
    return np.array(image.convert("RGB"))  # a copy: the caller may write into it


def _one_line(error: BaseException) -> str:
    """Say what went wrong in one line, without the path that the caller names anyway."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        return "not one of these formats"
    return " ".join(str(error).split()) or type(error).__name__
