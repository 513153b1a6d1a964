"""Reading photographs safely: an allow-list of formats, a pixel limit, and one clear line for a broken file.

Invariant: pixels stay in *stored order*. The EXIF orientation is not applied, because lesion masks and boxes are drawn
in stored pixel order and most carry no EXIF of their own: rotating the photograph alone would lay every lesion in the
wrong place. Where a person looks at a photograph, `regaze.orientation` turns it, and what was marked with it.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from regaze.data.dicom import DICOM_SUFFIXES, dicom_facts, is_dicom, open_frame
from regaze.data.rgb import surplus_bits, swap_bytes, to_rgb
from regaze.data.signatures import heif_image, is_png, what_it_is, without_texts
from regaze.errors import DataError
from regaze.records import MAX_PIXELS

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".heic", ".heif"}
    | DICOM_SUFFIXES
)
"""Lower-case suffixes, with the dot, of the files that are taken for pictures (`is_picture`)."""

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that may be decoded, whatever a file is called (Pillow's SECURITY.md). HEIC and DICOM
come beside them by the extras `heic` and `dicom`."""

PAGED: tuple[str, ...] = ("TIFF", "GIF", "PNG", "WEBP", "AVIF")
"""Formats whose further pages are pictures of their own; those of an MPO are previews."""

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
    RuntimeError,  # libavif's
    MemoryError,  # of sizes that a damaged header promises
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# warnings.catch_warnings changes the whole process, so only one thread at a time may stand inside it.
_opening = threading.Lock()


def is_picture(path: Path) -> bool:
    """Whether a path is a picture's file by its suffix, or, under any other name, by DICOM's signature."""
    if not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or is_dicom(path)


@contextmanager
def open_image(path: Path, *, decode: bool = False, at_least: int | None = None) -> Iterator[Image.Image]:
    """Open a picture for the length of a `with` block; errors of decoding inside it are translated too.

    Args:
        path: The picture's file.
        decode: Decode its pixels (the first page's); False: its header only.
        at_least: See `read_photo`; with `decode`.

    Yields:
        The picture.

    Raises:
        DataError: The file is missing or no plain file, is none of the formats, is broken, or exceeds
            `records.MAX_PIXELS`.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{path} is a folder, pipe or device, expected a picture's file: give the file itself.")
        with _picture(path, decode, at_least) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"There is no picture at {path}: check the path.") from None
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read as a picture {_reason(path, error)}") from error


def read_photo(path: Path, at_least: int | None = None) -> NDArray[np.uint8]:
    """Decode a photograph.

    A JPEG is decoded at 1/2, 1/4 or 1/8 (the decoder's own reduction in the DCT, several times faster) as long as the
    shorter side of the result keeps `at_least` pixels; its sides are then the stored ones divided by that factor,
    rounded up. Other formats come at full size; of several pages or frames the first one.

    Greys are repeated over the three channels. Levels of more than 8 bits keep their upper 8: of the bits that the
    file's brightest level needs, an even number (a fixed range for each depth of camera, so that exposures stay
    comparable between photographs). Transparent pixels become black, like a fundus' surround.

    Args:
        path: The photograph's file.
        at_least: Shorter side, in pixels, that is enough; None: full size.

    Returns:
        (H, W, 3) uint8 RGB, 0..255, stored pixel order (EXIF orientation is not applied, see the module).

    Raises:
        DataError: The file is missing, broken, too large, or holds floating-point pixels.
    """
    with open_image(path, decode=True, at_least=at_least) as image:
        _refuse_floats(image, path)
        photo = to_rgb(image)
        may_be_deep = image.format in ("PNG", "TIFF")
    if may_be_deep and photo.max() < 64:  # Pillow takes the upper bytes of 16 bits; 12 or 14 bits leave little there
        return _with_lower_bytes(path, photo)
    return photo


def _refuse_floats(image: Image.Image, name: Path) -> None:
    if image.mode == "F":
        raise DataError(
            f"{name} holds floating-point pixels, whose range is not known: export it with 8 or 16 bits per channel."
        )


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
        _refuse_floats(image, name)
        return to_rgb(image)
    except _BROKEN as error:
        raise DataError(f"{name} cannot be decoded ({_one_line(error)}): replace it or leave it out.") from error


def photo_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in stored pixels, from the header alone.

    Raises:
        DataError: The file is missing, not a picture, or too large.
    """
    with open_image(path) as image:
        return image.width, image.height


def pages(path: Path) -> int:
    """How many pictures a file holds: pages of a TIFF, frames of an animation; reduced copies and previews not.

    Raises:
        DataError: The file is missing or not a picture.
    """
    with open_image(path) as image:
        return getattr(image, "n_frames", 1) if image.format in PAGED else 1


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
        be sound. Of DICOM its own tags.

    Raises:
        DataError: The file is missing or not a picture.
    """
    if is_dicom(path):
        facts = dicom_facts(path)
        return facts.date, facts.camera
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


def photo_orientation(path: Path) -> int:
    """How viewers turn a photograph (`regaze.orientation`), 1..8; 1 (not) where its EXIF says nothing or is damaged.

    A TIFF, a HEIC and a DICOM file count as 1: their decoders turn the pixels themselves, or nothing turns them.

    Raises:
        DataError: The file is missing or not a picture.
    """
    with open_image(path) as image:
        if image.format not in ("JPEG", "MPO", "PNG", "WEBP", "AVIF") or is_dicom(path) or _has_no_exif(image):
            return 1
        try:
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = image.getexif().get(ExifTags.Base.Orientation)
        except _BROKEN:
            return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


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
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is a folder, pipe or device, expected a file: give the file itself.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({_one_line(error)}): check the path and its rights.") from error


@contextmanager
def _picture(path: Path, decode: bool, at_least: int | None) -> Iterator[Image.Image]:
    """`open_image`, with the errors as Pillow raises them."""
    try:
        image = _opened(path, path, decode, at_least)
    except ValueError:
        if not is_png(path):
            raise
        # Pillow refuses a large text, although the pixels are sound.
        image = _opened(path, io.BytesIO(without_texts(path)), decode, at_least)
    with image:
        yield image


def _opened(path: Path, source: Path | io.BytesIO, decode: bool, at_least: int | None) -> Image.Image:
    with _opening, warnings.catch_warnings():
        # Pillow warns from 89 Mpx on and about odd metadata; our limit and the decoder judge instead.
        warnings.simplefilter("ignore")
        image = (open_frame(path) if is_dicom(path) else heif_image(path)) or Image.open(source, formats=_formats())
    try:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{path} has {image.width} x {image.height} pixels, "
                f"more than {MAX_PIXELS // 1_000_000} million: shrink the picture or leave it out."
            )
        tags = getattr(image, "tag_v2", {})
        if tags.get(284) == 2 and 16 in tags.get(258, ()) and tags.get(259, 1) == 1:  # Pillow mixes up their bytes
            raise DataError(
                f"{path} is a TIFF with 16 bits in separate planes, not packed: export it with interleaved channels."
            )
        if decode:
            if at_least:
                image.draft(None, (at_least, at_least))
            image.load()
    except BaseException:
        image.close()
        raise
    return image


@cache
def _formats() -> tuple[str, ...]:
    """Of `FORMATS` those that the installed Pillow has (AVIF is of 11.3)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _with_lower_bytes(path: Path, upper: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph of 16 bits per channel that uses the lower ones alone; as it is where these cannot be had."""
    with open_image(path) as image:
        if not swap_bytes(image):
            return upper
        image.load()
        levels = (upper.astype(np.uint16) << 8) | to_rgb(image)
    return (levels >> surplus_bits(int(levels.max()))).astype(np.uint8)


def _reason(path: Path, error: BaseException) -> str:
    """Say what went wrong and the cure in one line, without the path that the caller names anyway."""
    if isinstance(error, UnidentifiedImageError):
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            what, cure = what_it_is(path)
        return f"({what}): {cure}."
    return f"({_one_line(error)}): replace the file or leave it out."


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
