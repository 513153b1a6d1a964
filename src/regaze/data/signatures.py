"""What a file is by its first bytes, where Pillow alone does not say: for a message that helps, or another decoder."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, TiffImagePlugin

from regaze.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks of a PNG that say nothing of its pixels
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NO_PICTURE: dict[bytes, tuple[str, str]] = {
    b"\xff\x0a": ("it is a JPEG XL", "convert it to PNG"),
    b"\0\0\0\x0cJXL ": ("it is a JPEG XL", "convert it to PNG"),
    b"\x93NUMPY": ("it is a NumPy array", "save it as PNG, 8 or 16 bits per channel"),
    b"%PDF": ("it is a PDF", "export its pictures as PNG"),
    b"PK\x03\x04": ("it is a ZIP archive", "unpack it"),
    b"\x1f\x8b": ("it is packed by gzip", "unpack it"),
    b"\x89HDF": ("it is an HDF5 file", "export its pictures as PNG"),
    b"version https://git-lfs": ("it is a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
}
_SAMPLES = {1: "whole", 2: "signed whole", 3: "floating-point"}  # TIFF's SampleFormat


def is_png(path: Path) -> bool:
    """Whether a file begins as a PNG does."""
    return _head(path).startswith(_PNG)


def without_texts(path: Path) -> bytes:
    """The bytes of a PNG without its texts and colour profile.

    Raises:
        ValueError: Its chunks are broken.
    """
    data = path.read_bytes()
    kept, at = [data[: len(_PNG)]], len(_PNG)
    while at < len(data):
        if at + 8 > len(data):
            raise ValueError("broken PNG file")
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        if data[at + 4 : at + 8] not in _TEXTS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def heif_image(path: Path) -> Image.Image | None:
    """The picture in a HEIC file (upright: HEIC turns its pixels by itself); None where the file is none.

    Raises:
        DataError: The extra `heic` is not installed.
    """
    head = _head(path)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF or b"avif" in head[8:]:
        return None
    if find_spec("pillow_heif") is None:
        raise DataError(
            f"{path} is a HEIC picture, which needs pillow-heif: install the extra (pip install 'regaze[heic]'), or "
            "convert the picture to JPEG or PNG."
        )
    from pillow_heif import HeifImageFile

    image: Image.Image = HeifImageFile(path)
    return image


def what_it_is(path: Path) -> tuple[str, str]:
    """What a file is that Pillow does not read, and the cure: two halves of a message."""
    head = _head(path)
    if not head:
        return "it is empty", "replace the file or leave it out"
    for signature, words in _NO_PICTURE.items():
        if head.startswith(signature):
            return words
    if head.startswith(_TIFF):
        return _tiff(path), "export it with 8 or 16 bits per channel"
    expected = "not one of JPEG, PNG, TIFF, WebP, BMP, GIF, PPM, JPEG 2000, AVIF"
    return expected, "convert it to PNG, replace the file or leave it out"


def _tiff(path: Path) -> str:
    """What the numbers in a TIFF are."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            head += file.read(8) if b"+" in head[:4] else b""
            tags = TiffImagePlugin.ImageFileDirectory_v2(head)
            file.seek(tags.next)
            tags.load(file)
        bits, samples = tags.get(258, (1,)), tags.get(339, (1,))
        kind = _SAMPLES[samples[0]]
        return f"a TIFF of {kind} numbers of {bits[0]} bits in {len(bits)} channel{'s' * (len(bits) > 1)}"
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error):
        return "a broken TIFF"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)
