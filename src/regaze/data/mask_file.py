"""One mask file as boolean pixels.

Invariant: a mark of the expert is never lost: a mask is read by what it means, not by its file's numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regaze.data.images import PAGED, open_image
from regaze.data.rgb import strips, swap_bytes
from regaze.errors import DataError
from regaze.lesion_names import lesion_type

# A picture of classes has a handful of levels (0/1, 0/255, one per class); soft edges and lossy noise have dozens, as
# have the labels of instances (1..N), which are told from them by their shapes.
_MOST_CLASSES = 8
_LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")
_CUT_OUT = 0.02  # share of black pixels inside a piece cut out of a photograph
_SUBFILE = 254  # TIFF's tag; bits 0 and 2: a reduced copy, a mask of transparency


class Marks(NamedTuple):
    """What a mask file marks.

    Attributes:
        mask: (H, W) bool in the mask's own pixels, True = lesion.
        values: The values of its marks, where they may be classes: two or more, and no more than a handful.
    """

    mask: NDArray[np.bool_]
    values: tuple[str, ...]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask file; (H, W) bool in the mask's own pixels, True = lesion. See `read_marks`."""
    return read_marks(path).mask


def read_marks(path: Path) -> Marks:
    """Read a mask file, and what values it has.

    Palette and 1-bit pictures: every colour but black (IDRiD's palette TIFFs). Where the palette itself is
    all black, every index but 0.

    Greys, RGB and RGBA: the strongest colour channel counts, transparent pixels (alpha 0) are background.
    So RGBA masks work both as colour on opaque black and as colour on transparency; where nothing but black is painted
    on transparency, or a piece of a photograph is cut out, the opaque pixels are the mask. With up to 8 levels the
    picture holds classes (0/1, 0/255, or one level per class), and with more it may hold instances (areas of one level
    each): every level but 0 is lesion. Other levels, and those of a JPEG, have soft edges or lossy noise: lesion is
    what reaches half of the strongest level.
    Floating-point numbers likewise; those that are no number mark nothing.

    Several pages: what is marked on any of them.

    Raises:
        DataError: The file is missing, broken, or too large, or its pages differ in size.
    """
    deep = _deep_pixels(path)
    if deep is not None:
        return _level_marks(deep, lossy=False)
    with open_image(path, decode=True) as image:
        first, *others = (_page_marks(page) for page in _pages(image))
        for number, page in enumerate(others, start=2):
            if page.mask.shape != first.mask.shape:
                raise DataError(
                    f"The mask {path} has {first.mask.shape[1]} x {first.mask.shape[0]} pixels on its first page and "
                    f"{page.mask.shape[1]} x {page.mask.shape[0]} on page {number}: save one mask per file."
                )
            first.mask[...] |= page.mask
    return first


def named_values(text: str) -> dict[str, str | None]:
    """What `--mask-classes` says: `1=MA,2=hard exudates,5=OD` or `#ff0000=EX`.

    Returns:
        Value (`3`, `#ff0000`) -> lesion type (`regaze.lesion_names`), None where the name is a landmark's or says that
        nothing is there.

    Raises:
        DataError: It is written otherwise, or names a value twice.
    """
    return {value: lesion_type(name) for value, name in value_names(text).items()}


def value_names(text: str) -> dict[str, str]:
    """What `--mask-classes` says: value -> name, as `named_values` reads it.

    Raises:
        DataError: It is written otherwise, or names a value twice.
    """
    named: dict[str, str] = {}
    for piece in re.split("[,;]", text):
        value, equals, name = (part.strip() for part in piece.partition("="))
        key = value.lower() if value.startswith("#") else value.lstrip("0") or "0" * bool(value)
        if not equals or not name or "=" in name or not re.fullmatch(r"\d{1,9}|#[0-9a-f]{6}", key) or key in named:
            raise DataError(
                f"--mask-classes '{text}': '{piece.strip()}' is not VALUE=NAME, each value once: write for example "
                "1=MA,2=HE,5=optic_disc, or #ff0000=EX for colours."
            )
        named[key] = name
    return named


def read_regions(path: Path, values: Mapping[str, str | None]) -> dict[str, NDArray[np.bool_]]:
    """Read a mask of classes.

    Args:
        path: A picture of one value, palette index or colour per class; 0, black and transparent pixels are background.
        values: As `named_values` gives them; by colours where one of them is a colour.

    Returns:
        Lesion type -> (H, W) bool in the mask's own pixels, for every type that `values` name.

    Raises:
        DataError: The file cannot be read, or holds a value that is not named.
    """
    by_colour = any(key.startswith("#") for key in values)
    deep = None if by_colour else _deep_pixels(path)
    numbers = {int(key.removeprefix("#"), 16 if key.startswith("#") else 10): kind for key, kind in values.items()}
    regions: dict[str, NDArray[np.bool_]] = {}
    with open_image(path, decode=True) as image:
        for page in _pages(image):
            codes = _codes(page, by_colour) if deep is None else deep.astype(np.int32)
            if codes is None:
                raise DataError(f"The mask {path} is in colour: name its colours, --mask-classes '#ff0000=EX,...'.")
            for number in map(int, np.unique(codes)):
                if number != 0 and number not in numbers:
                    value = f"#{number:06x}" if by_colour else str(number)
                    count = int((codes == number).sum())
                    raise DataError(
                        f"The mask {path} holds the value {value} ({count} pixels), which --mask-classes does not "
                        f"name: add {value}=NAME (background, where nothing is there)."
                    )
            for kind in dict.fromkeys(kind for kind in numbers.values() if kind is not None):
                region = np.isin(codes, [number for number, other in numbers.items() if other == kind])
                regions[kind] = regions[kind] | region if kind in regions else region
    return regions


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """The pages of a decoded picture that are masks of their own."""
    yield image
    for number in range(1, getattr(image, "n_frames", 1) if image.format in PAGED else 1):
        image.seek(number)
        if not getattr(image, "tag_v2", {}).get(_SUBFILE, 0) & 5:
            image.load()
            yield image


def _page_marks(image: Image.Image) -> Marks:
    if image.mode == "1":
        return Marks(np.array(image), ())
    if image.mode == "P":
        return _palette_marks(image)
    strength = _strength(image)
    return _level_marks(strength, lossy=image.format in _LOSSY, image=image)


def _level_marks(strength: NDArray[Any], *, lossy: bool, image: Image.Image | None = None) -> Marks:
    """Judge a picture by its levels, see `read_marks`; `image` tells what values they are."""
    levels = np.unique(strength) if strength.dtype != np.uint8 else np.flatnonzero(np.bincount(strength.ravel()))
    if levels[-1] <= 0:  # marks of -1
        return Marks(strength != 0, ())
    levels = levels[levels > 0]
    if not lossy:
        if len(levels) < _MOST_CLASSES:
            return Marks(strength > 0, () if image is None else _values(image, levels))
        if _holds_instances(strength, levels):
            return Marks(strength > 0, ())
    return Marks((strength > 0) & (strength >= float(levels[-1]) / 2), ())


def _deep_pixels(path: Path) -> NDArray[np.uint16] | None:
    """(H, W) strongest channel of a picture of 16 bits in each of several, of which Pillow gives the upper 8 alone.

    None for any other picture, and for one whose marks all show in the upper bytes.
    """
    with open_image(path) as image:
        if getattr(image, "n_frames", 1) > 1 or not swap_bytes(image):
            return None
        image.load()
        lower = np.asarray(image)
    with open_image(path, decode=True) as image:
        upper = np.asarray(image)
    if not (lower.any(axis=2) & ~upper.any(axis=2)).any():
        return None
    levels = ((upper.astype(np.uint16) << 8) | lower)[..., :3].max(axis=2)
    return np.where(upper[..., 3] > 0, levels, 0) if upper.shape[2] == 4 else levels


def _values(image: Image.Image, levels: NDArray[Any]) -> tuple[str, ...]:
    """The values of a picture's marks, of few levels, where they may be classes."""
    if image.mode[0] in "LIF":
        named = tuple(f"{level:.0f}" for level in levels) if (levels == np.round(levels)).all() else ()
    else:
        codes = _codes(image, by_colour=True)
        named = () if codes is None else tuple(f"#{code:06x}" for code in np.unique(codes) if code != 0)
    return named if 1 < len(named) < _MOST_CLASSES else ()


def _palette_marks(image: Image.Image) -> Marks:
    """Judge a palette picture by its colours: tools write palettes in any order (white may be index 0)."""
    image.apply_transparency()
    indices = np.asarray(image)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    colours = np.zeros((256, 4), dtype=np.uint8)
    found = np.array(image.getpalette("RGBA") or [], dtype=np.uint8).reshape(-1, 4)
    colours[: len(found)] = found
    lesion = np.arange(256) > 0  # for indices beyond the palette, and for a palette that is black throughout
    if found[:, :3].any():
        lesion[: len(found)] = (found[:, :3].max(axis=1) > 0) & (found[:, 3] > 0)
    if not colours[used][:, :3].any() and len(set(colours[used, 3].tolist())) > 1:  # black paint on transparency
        lesion = colours[:, 3] > 0
    marked = [str(index) for index in used if lesion[index]]
    mask: NDArray[np.bool_] = lesion[indices]
    return Marks(mask, tuple(marked) if 1 < len(marked) < _MOST_CLASSES else ())


def _strength(image: Image.Image) -> NDArray[Any]:
    """(H, W) level of the strongest colour channel, 0 where it is transparent; alpha where that is the mask."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F":
            finite = values[np.isfinite(values)]
            most = float(finite.max()) if finite.size else 0.0
            values = np.nan_to_num(values, nan=0.0, posinf=most, neginf=0.0)
        return values
    if image.mode == "L" and not image.has_transparency_data:
        return np.asarray(image)
    strongest = np.zeros((image.height, image.width), dtype=np.uint8)
    alpha = np.full_like(strongest, 255)
    for rows, strip in strips(image):
        if image.has_transparency_data:
            pixels = np.asarray(strip.convert("RGBA"))
            alpha[rows] = pixels[..., 3]
        else:
            pixels = np.asarray(strip.convert("RGB"))
        strongest[rows] = np.where(alpha[rows] > 0, pixels[..., :3].max(axis=2), 0)
    opaque = alpha > 0
    if not strongest.any():
        return np.asarray(alpha - alpha.min(), dtype=np.uint8)
    # Hardly any black inside: a piece of a photograph, cut out.
    is_cut_out = not opaque.all() and (strongest[opaque] == 0).mean() < _CUT_OUT
    return alpha if is_cut_out and len(np.unique(strongest)) > _MOST_CLASSES else strongest


def _holds_instances(strength: NDArray[Any], levels: NDArray[Any]) -> bool:
    """Whether levels number areas (instances, many classes), rather than soften edges or come of lossy packing.

    In an area of one level most pixels have no neighbour of another level but 0. Along a soft edge every pixel has:
    the edge's next level. So has the noise around a mark, but for stray pixels. Three quarters of the levels must be
    areas, because noise and edges may happen to hold a few.

    Args:
        strength: (H, W), 0 or less: background.
        levels: Its levels above 0, ascending.
    """
    if len(levels) == 0:
        return False
    ranks = np.searchsorted(levels, strength, side="right").astype(np.float32)  # exact up to 2**24 levels
    kernel, turned = np.ones((3, 3), dtype=np.uint8), len(levels) + 1 - ranks
    highest = cv2.dilate(ranks, kernel)
    lowest = len(levels) + 1 - cv2.dilate(np.where(ranks > 0, turned, 0), kernel)
    plain = (ranks > 0) & (highest == ranks) & (lowest == ranks)
    pixels = np.bincount(ranks[ranks > 0].astype(np.int64), minlength=len(levels) + 1)[1:]
    alone = np.bincount(ranks[plain].astype(np.int64), minlength=len(levels) + 1)[1:]
    return bool((alone >= 0.2 * pixels).mean() >= 0.75)


def _codes(image: Image.Image, by_colour: bool) -> NDArray[np.int32] | None:
    """(H, W) value, palette index or 0xRRGGBB of each pixel, 0 where it is transparent; None: colours have no value."""
    if not by_colour and image.mode in ("1", "P", "L") and not (image.mode == "L" and image.has_transparency_data):
        return np.asarray(image).astype(np.int32)
    if not by_colour and image.mode[0] in "IF":
        return np.asarray(np.nan_to_num(np.asarray(image)).round(), np.int32)
    codes = np.zeros((image.height, image.width), dtype=np.int32)
    for rows, strip in strips(image):
        pixels = np.asarray(strip.convert("RGBA")).astype(np.int32)
        red, green, blue, alpha = np.moveaxis(pixels, -1, 0)
        seen = alpha > 0
        if not by_colour and ((red != green) | (green != blue))[seen].any():
            return None
        codes[rows] = np.where(seen, (red << 16) + (green << 8) + blue if by_colour else red, 0)
    return codes
