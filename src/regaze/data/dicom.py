"""Ophthalmic photographs in DICOM: one frame of greys or colours, and what its tags say of patient and eye.

Invariant: what identifies a patient never leaves this module: the patient's number comes out hashed, names and other
identifiers are not read at all. pydicom (the extra `dicom`) parses the file; Pillow decodes a JPEG or JPEG 2000 frame.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regaze.errors import DataError

DICOM_SUFFIXES: frozenset[str] = frozenset({".dcm", ".dicom"})
"""Lower-case suffixes of DICOM files; others are known by their signature (`is_dicom`)."""

_PREAMBLE = 128  # bytes before the signature
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline and extended
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
# Photometric interpretations that are a photograph's; PS3.3 C.7.6.3.1.2 of the standard has them all.
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_WANTED = ("PatientID", "IssuerOfPatientID", "ImageLaterality", "Laterality", "AcquisitionDateTime", "AcquisitionDate")
_MORE = ("ContentDate", "StudyDate", "Manufacturer", "ManufacturerModelName")


@dataclass(frozen=True)
class DicomFacts:
    """What the tags of a DICOM file say of its photograph.

    Attributes:
        patient: Hash of the patient's number and who gave it, 16 hexadecimal digits; None without a number.
        laterality: `R` or `L`; None where it is not said, or both.
        date: The day on which it was taken, `2009-08-20`; None: unknown.
        camera: Manufacturer and model, '' where there are none.
    """

    patient: str | None
    laterality: str | None
    date: str | None
    camera: str


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's signature; a pipe, which would be waited for, has none."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def dicom_facts(path: Path) -> DicomFacts:
    """Read the tags of a DICOM file, not its pixels.

    Raises:
        DataError: The extra `dicom` is not installed, or the file is broken.
    """
    tags = _read(path, only=[*_WANTED, *_MORE])
    number = _text(tags, "PatientID")
    issued = f"{_text(tags, 'IssuerOfPatientID')}\0{number}"
    days = (_text(tags, name)[:8] for name in ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate"))
    day = next((text for text in days if len(text) == 8 and text.isdecimal()), None)
    sides = (_text(tags, name).upper() for name in ("ImageLaterality", "Laterality"))
    make, model = _text(tags, "Manufacturer"), _text(tags, "ManufacturerModelName")
    return DicomFacts(
        patient=hashlib.blake2b(issued.encode(), digest_size=8, person=b"regaze").hexdigest() if number else None,
        laterality=next((side for side in sides if side in ("R", "L")), None),
        date=None if day is None else f"{day[:4]}-{day[4:6]}-{day[6:]}",
        camera=model if model.startswith(make) else f"{make} {model}".strip(),
    )


def open_frame(path: Path) -> Image.Image:
    """Open the photograph in a DICOM file, as Pillow opens a picture.

    Raises:
        DataError: The extra `dicom` is not installed; the file is broken, or holds no picture, several frames, or one
            that is not a photograph's.
    """
    tags = _read(path)
    if "PixelData" not in tags:
        raise DataError(f"{path} is a DICOM file without a picture: leave it out.")
    frames = int(tags.get("NumberOfFrames") or 1)
    if frames != 1:
        raise DataError(
            f"{path} holds {frames} frames, expected one photograph: export the frame as a file of its own."
        )
    colours = str(tags.get("PhotometricInterpretation", ""))
    if colours not in ("MONOCHROME2", *_COLOURS) or int(tags.get("PixelRepresentation") or 0) != 0:
        signed = " of signed numbers" * bool(tags.get("PixelRepresentation"))
        raise DataError(
            f"{path} has the photometric interpretation {colours or 'none'}{signed}, expected MONOCHROME2, RGB or YBR "
            "(a photograph): export it as PNG."
        )
    syntax = tags.file_meta.get("TransferSyntaxUID", _PLAIN[0])
    if syntax in (*_JPEG, *_JPEG_2000):
        return _encapsulated(tags, colours, "JPEG" if syntax in _JPEG else "JPEG2000")
    if syntax not in _PLAIN or colours not in ("MONOCHROME2", "RGB", "YBR_FULL"):
        name = getattr(syntax, "name", syntax)
        raise DataError(
            f"{path} is packed as {name} ({colours}), expected JPEG, JPEG 2000 or plain pixels: export it as JPEG or "
            "PNG."
        )
    return _plain(tags, colours)


def _encapsulated(tags: Any, colours: str, kind: str) -> Image.Image:
    from pydicom.encaps import get_frame

    image = Image.open(io.BytesIO(get_frame(tags.PixelData, 0, number_of_frames=1)), formats=(kind,))
    if (kind, colours, image.mode) == ("JPEG", "RGB", "RGB") and not {"adobe", "jfif"} & image.info.keys():
        # No mark in the frame says that its three channels are not YCbCr, as a JPEG's usually are: the tag does.
        image.tile = [tile._replace(args=("RGB", "RGB")) for tile in image.tile]
    return image


def _plain(tags: Any, colours: str) -> Image.Image:
    """Pixels that are not packed, brought to 8 bits."""
    height, width, channels = int(tags.Rows), int(tags.Columns), int(tags.get("SamplesPerPixel", 1))
    allocated, stored = int(tags.BitsAllocated), int(tags.get("BitsStored", tags.BitsAllocated))
    if allocated not in (8, 16):
        raise ValueError(f"{allocated} bits per level, expected 8 or 16")
    order = "<" if tags.original_encoding[1] else ">"
    levels = np.frombuffer(tags.PixelData, f"{order}u{allocated // 8}", count=height * width * channels)
    if channels == 1:
        shape: tuple[int, ...] = (height, width)
    else:
        shape = (channels, height, width) if tags.get("PlanarConfiguration") else (height, width, channels)
    pixels = np.moveaxis(levels.reshape(shape), 0, -1) if shape[0] == channels != height else levels.reshape(shape)
    grey = (pixels >> (stored - 8) if stored > 8 else pixels).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(grey))
    return Image.frombytes("YCbCr", image.size, image.tobytes()) if colours == "YBR_FULL" else image


def _read(path: Path, only: list[str] | None = None) -> Any:
    """The tags of a file; `only` these, and no pixels."""
    if find_spec("pydicom") is None:
        raise DataError(
            f"{path} is a DICOM file, which needs pydicom: install the extra (pip install 'regaze[dicom]'), or export "
            "the photograph as JPEG or PNG."
        )
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break the standard's rules; ours are checked here
        try:
            return pydicom.dcmread(path, specific_tags=only, stop_before_pixels=only is not None)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of it; no tag is repeated
            raise DataError(
                f"{path} is a broken DICOM file ({type(error).__name__}): replace the file or leave it out."
            ) from None


def _text(tags: Any, name: str) -> str:
    """A tag as text, without the blanks and NULs that pad it."""
    try:
        return " ".join(str(tags.get(name) or "").replace("\0", " ").split())
    except Exception:  # noqa: BLE001 - pydicom converts values when they are asked for
        return ""
