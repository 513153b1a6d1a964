"""One look at one photograph and its masks: a few numbers, so that 100,000 photographs fit in memory.

Invariant: a photograph or mask that cannot be read gives a look that says so, never an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.data.geometry import field_mask, resize_any_of
from regaze.data.images import acquisition, content_hash, open_image, photo_size, read_photo
from regaze.data.masks import lesion_masks
from regaze.errors import DataError
from regaze.records import Sample

GRID = 32  # cells on a side of `Look.field_grid`
_SIDE = 512  # pixels of the longer side at which a photograph is looked at; vessels and lesions are still seen
_WHITE = 250  # of 255
_STANDARD_TABLE = 57.625  # mean of the luminance table that JPEG's standard gives as an example (quality 50)


@dataclass(frozen=True)
class Look:
    """What one photograph and its masks look like.

    Attributes:
        error: Why the photograph cannot be read, one line; empty where it can.
        damage: `missing`, `empty`, `cut short` or `unreadable` where it cannot.
        content: Fingerprint of the file's bytes.
        width, height: In stored pixels.
        size: Of the file in bytes.
        encoding: Format and JPEG quality: `JPEG 93`, `PNG`.
        day, camera: As EXIF has them, see `images.acquisition`.
        field: Share of the frame that its field of view covers; 1 where there is no dark surround.
        field_grid: (32, 32) bits of where the field of view is, hexadecimal.
        colour: Mean red, green and blue in the field of view, 0..255.
        brightest: Level, 0..255, that one pixel in a hundred exceeds.
        washed: Share of the field of view whose green is white.
        sharpness: Strength of the finest detail over that of middling detail; small where out of focus.
        fullest: Share of the frame that the fullest of its masks (of one lesion type) marks.
        marked: Share of the frame that masks mark; None without a mask.
        outside: Of what masks mark the share that lies outside the field of view.
        scaled: Masks of another size than the photograph (and of its aspect).
        mask_error: Why its masks cannot be used; empty where they can.
    """

    error: str = ""
    damage: str = ""
    content: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    encoding: str = ""
    day: str | None = None
    camera: str = ""
    field: float = 1.0
    field_grid: str = ""
    colour: tuple[float, ...] = (0.0, 0.0, 0.0)
    brightest: float = 0.0
    washed: float = 0.0
    sharpness: float = 0.0
    fullest: float = 0.0
    marked: float | None = None
    outside: float = 0.0
    scaled: tuple[str, ...] = ()
    mask_error: str = ""


def look_at(sample: Sample) -> Look:
    """Look at a photograph, decoded at a reduced scale, and at its masks."""
    file = sample.image
    try:
        size = file.stat().st_size
    except OSError:
        return Look(error=f"There is no picture at {file}", damage="missing")
    if size == 0:
        return Look(error=f"{file} is empty (0 bytes)", damage="empty")
    try:
        content = content_hash(file)
        width, height = photo_size(file)
    except DataError as error:
        return Look(error=str(error), damage="unreadable", size=size)
    try:
        photo = read_photo(file, at_least=_SIDE)
        day, camera = acquisition(file)
        encoding = _encoding(sample)
    except DataError as error:  # its header was sound
        return Look(str(error), "cut short", content, width, height, size)
    small = _small(photo)
    inside = field_mask(small)
    look = Look(
        content=content,
        width=width,
        height=height,
        size=size,
        encoding=encoding,
        day=day,
        camera=camera,
        field=float(inside.mean()),
        field_grid=np.packbits(resize_any_of(inside, GRID, GRID)).tobytes().hex(),
        colour=tuple(float(value) for value in small[inside].mean(axis=0)),
        brightest=float(np.percentile(small.max(axis=2), 99)),
        washed=float((small[inside][:, 1] >= _WHITE).mean()),
        sharpness=_sharpness(small[..., 1], inside),
    )
    return _with_masks(look, sample, inside) if sample.origin == "masks" and sample.masks else look


def field_of(look: Look) -> NDArray[np.bool_]:
    """(32, 32) bool: where the field of view is."""
    bits = np.frombuffer(bytes.fromhex(look.field_grid), np.uint8)
    return np.unpackbits(bits).reshape(GRID, GRID).astype(bool)


def _small(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) with its longer side at most `_SIDE`."""
    height, width = photo.shape[:2]
    shrink = max(height, width) / _SIDE
    if shrink <= 1:
        return photo
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sharpness(green: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    """See `Look`; a ratio, so that contrast and exposure cancel. The rim of the field of view is left out."""
    kernel = np.ones((15, 15), np.uint8)
    core = cv2.erode(inside.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    core = core if core.any() else inside
    values = green.astype(np.float32)
    fine, wide = cv2.GaussianBlur(values, (0, 0), 1.0), cv2.GaussianBlur(values, (0, 0), 4.0)
    middling = float((fine - wide)[core].std())
    return float((values - fine)[core].std()) / middling if middling > 0.1 else 0.0


def _encoding(sample: Sample) -> str:
    """Format, and of a JPEG the quality whose usual table is as coarse as its own."""
    with open_image(sample.image) as image:
        tables = getattr(image, "quantization", None)
        form = str(image.format)
    if not tables:
        return form
    scale = 100 * float(np.mean(next(iter(tables.values())))) / _STANDARD_TABLE
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return f"{form} {round(quality)}"


def _with_masks(look: Look, sample: Sample, inside: NDArray[np.bool_]) -> Look:
    try:
        masks = lesion_masks(sample)
        files = [file for several in sample.masks.values() for file in several]
        scaled = tuple(str(file) for file in files if photo_size(file) != (look.width, look.height))
    except DataError as error:
        return replace(look, mask_error=str(error))
    nothing = np.zeros((look.height, look.width), np.bool_)  # landmarks alone are no lesion
    union = np.logical_or.reduce([nothing, *masks.values()])
    small = resize_any_of(union, inside.shape[1], inside.shape[0])
    # Two pixels of grace: the field's edge is soft, and a mask that is shrunk any-of is wider by one.
    near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return replace(
        look,
        fullest=max((float(mask.mean()) for mask in masks.values()), default=0.0),
        marked=float(union.mean()),
        outside=float((small & ~near).sum() / max(1, small.sum())),
        scaled=scaled,
    )
