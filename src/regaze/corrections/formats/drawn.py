"""What somebody drew on a photograph, as all formats see it: shapes with their checks, labels and notes.

Invariant: a name in a foreign file is compared with the names of photographs and is never opened. A reader returns
all that a file holds or raises; a writer leaves a whole file or folder, or none.

Two labels are written, `look` and `avoid`. Read are `avoid`, `not here` and `not_here` (in any case) as "not here";
every other label, a lesion's name for example, as "look here"; names that are no lesion's (`regaze.lesion_names`: optic
disc, fovea, background) say neither and are left out, as in the boxes of `data.boxes`.

What a foreign file says of a photograph is taken to be the whole map (`replace`) unless the file says `edit`. A
photograph with nothing drawn on it is *not corrected*, unless the file says that somebody reviewed it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

from msgspec import Struct

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, shown
from regaze.corrections.shape_checks import MAX_POINTS
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.lesion_names import lesion_type
from regaze.records import Correction, Shape

LABELS = {True: "look", False: "avoid"}
"""`Shape.look` -> the label that is written."""

_TOLERANCE = 0.5
"""How far outside the photograph a coordinate may lie, in pixels: tools round to whole pixels at its edge."""

# Thinner boxes would not survive formats that round.
_THIN = 1e-3

_AVOID = frozenset({"avoid", "not_here"})


@dataclass(frozen=True)
class Drawn:
    """What somebody drew on one photograph, free of the model whose map they corrected.

    Attributes:
        sample: `Photograph.sample`.
        shapes: In order, a later one over an earlier one; original pixels. Empty with `replace`: nothing here
            deserves attention.
        author: Who drew it; empty where the file does not say.
        remark: Free text.
        mode: `replace`: the shapes are the whole map. `edit`: untouched pixels keep the model's own value.
        time: UTC, ISO 8601, seconds, ends with `Z`; empty where the file does not say.
    """

    sample: str
    shapes: tuple[Shape, ...]
    author: str = ""
    remark: str = ""
    mode: Literal["replace", "edit"] = "replace"
    time: str = ""

    @property
    def notes(self) -> dict[str, str]:
        """What is said beside the shapes, in the order in which it is written."""
        return {"mode": self.mode, "author": self.author, "time": self.time, "remark": self.remark}


class Notes(Struct, kw_only=True):
    """What a foreign file says beside the shapes; None or empty where it does not say.

    Attributes:
        mode: `replace`, the default, or `edit`.
        author: Who drew it.
        time: ISO 8601; one without a zone is UTC.
        remark: Free text.
    """

    mode: str | None = None
    author: str | None = None
    time: str | None = None
    remark: str | None = None

    def drawn(self, sample: str, shapes: Iterable[Shape], source: Source) -> Drawn:
        """What was drawn, with these notes.

        Args:
            sample: `Photograph.sample`.
            shapes: In order.
            source: Where the notes were read.

        Raises:
            CorrectionError: The mode is another word, or the time is none.
        """
        if self.mode not in (None, "", "replace", "edit"):
            raise source.refuse(f"mode {shown(self.mode)}", "replace or edit")
        time = ""
        if self.time:
            try:
                moment = datetime.fromisoformat(self.time)
                moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            except (ValueError, OverflowError):
                raise source.refuse(f"time {shown(self.time)}", "a time such as 2024-05-31T12:00:00Z") from None
            time = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        mode: Literal["replace", "edit"] = "edit" if self.mode == "edit" else "replace"
        return Drawn(sample, tuple(shapes), self.author or "", self.remark or "", mode, time)


def as_drawn(item: Drawn | Correction) -> Drawn:
    """What was drawn, as it can be written.

    A correction without shapes has its masks turned into two. Half characters (lone surrogates), which no file can
    hold, become `?`.
    """
    shapes = item.shapes
    if isinstance(item, Correction) and not shapes:
        masks = ((True, item.look), (False, item.avoid))
        shapes = tuple(
            Shape("mask", look, runs=mask_to_runs(mask)) for look, mask in masks if mask is not None and mask.any()
        )
    author, remark = (text.encode("utf-8", "replace").decode("utf-8") for text in (item.author, item.remark))
    return Drawn(item.sample, shapes, author, remark, item.mode, item.time)


def sheets(items: Iterable[Drawn | Correction], album: Album) -> Iterator[tuple[Photograph, Drawn]]:
    """Pair what was drawn with its photograph, for a format that holds one sheet for each.

    Args:
        items: What is to be written.
        album: The photographs.

    Yields:
        In the order given.

    Raises:
        CorrectionError: A photograph is unknown, or comes twice.
    """
    seen = set()
    for drawn in map(as_drawn, items):
        if drawn.sample in seen:
            raise CorrectionError(
                f"{drawn.sample!r} has several corrections, but this format holds one for each photograph: "
                "export the current ones, or one author at a time"
            )
        seen.add(drawn.sample)
        yield album.photograph(drawn.sample), drawn


def simple_shapes(drawn: Drawn, photograph: Photograph) -> list[Shape]:
    """Restate what was drawn with the shapes that other tools know.

    Args:
        drawn: Any shapes.
        photograph: The photograph they were drawn on.

    Returns:
        Boxes, polygons and masks that mark the same pixels in the same order. A stroke, and a shape that leaves the
        photograph, becomes a mask; neighbours among these that say the same become one mask; what marks no pixel is
        left out.
    """
    simple: list[Shape] = []
    for (keep, look), group in groupby(drawn.shapes, key=lambda shape: (_is_simple(shape, photograph), shape.look)):
        if keep:
            simple += [replace(shape, points=tuple((float(x), float(y)) for x, y in shape.points)) for shape in group]
            continue
        masks = rasterise(tuple(group), photograph.height, photograph.width)
        mask = masks[0] if look else masks[1]
        if mask.any():
            simple.append(Shape("mask", look, runs=mask_to_runs(mask)))
    return simple


def meaning(label: str) -> bool | None:
    """What a foreign tool's label says: False "not here", True "look here", None neither (a landmark)."""
    if re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") in _AVOID:
        return False
    return None if lesion_type(label) is None else True


def box_shape(
    edges: tuple[float, float, float, float], look: bool | None, photograph: Photograph, source: Source
) -> tuple[Shape, ...]:
    """The shape of a box that was read; none for a landmark's.

    Args:
        edges: x0, y0, x1, y1 in original pixels.
        look: The `meaning` of its label.
        photograph: Where it lies.
        source: Where it was read.

    Raises:
        CorrectionError: It has no inside, or lies outside the photograph.
    """
    x0, y0, x1, y1 = edges
    points = ((x0, y0), (x1, y1))
    _check_points(points, photograph, source)
    if x0 >= x1 or y0 >= y1:
        raise source.refuse(f"a box {x1 - x0:g} wide and {y1 - y0:g} high", "both above 0")
    return () if look is None else (Shape("box", look, points),)


def polygon_shape(
    points: Iterable[tuple[float, float]], look: bool | None, photograph: Photograph, source: Source
) -> tuple[Shape, ...]:
    """The shape of a polygon that was read; none for a landmark's.

    Args:
        points: (x, y) in original pixels, three or more.
        look: The `meaning` of its label.
        photograph: Where it lies.
        source: Where it was read.

    Raises:
        CorrectionError: It leaves the photograph.
    """
    corners = tuple(points)
    _check_points(corners, photograph, source)
    return () if look is None else (Shape("polygon", look, corners),)


def mask_shape(runs: tuple[int, ...], look: bool | None, source: Source) -> tuple[Shape, ...]:
    """The shape of a mask that was read; none for a landmark's, and for a mask without pixels, which says nothing.

    Args:
        runs: Row by row.
        look: The `meaning` of its label.
        source: Where it was read.

    Raises:
        CorrectionError: It has more runs than a shape may have.
    """
    if len(runs) > MAX_POINTS:
        raise source.refuse(f"a mask of {len(runs)} runs", f"at most {MAX_POINTS}, which no drawing reaches")
    return () if look is None or len(runs) < 2 else (Shape("mask", look, runs=runs),)


def rotated(offsets: Iterable[tuple[float, float]], degrees: float) -> list[tuple[float, float]]:
    """Turn (dx, dy) clockwise as one sees it, for y runs down.

    Args:
        offsets: From the point that stays.
        degrees: By how much.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(dx * cosine - dy * sine, dx * sine + dy * cosine) for dx, dy in offsets]


def check_size(width: int | None, height: int | None, photograph: Photograph, source: Source) -> None:
    """Refuse an image size that is not the photograph's.

    Args:
        width: As the file says it; None where it does not.
        height: Likewise.
        photograph: Whose size counts.
        source: Where it was read.

    Raises:
        CorrectionError: It is another one, or no size.
    """
    if (width, height) != (photograph.width, photograph.height):
        raise source.refuse(
            f"width {width} and height {height}",
            f"{photograph.width} and {photograph.height}, the size of {photograph.sample}",
        )


def _check_points(points: Iterable[tuple[float, float]], photograph: Photograph, source: Source) -> None:
    """Refuse coordinates that are no numbers or lie more than `_TOLERANCE` outside the photograph."""
    width, height = photograph.width, photograph.height
    for x, y in points:
        # Not-a-number and infinity are not within either.
        if not (-_TOLERANCE <= x <= width + _TOLERANCE and -_TOLERANCE <= y <= height + _TOLERANCE):
            raise source.refuse(f"the point ({x:g}, {y:g})", f"inside the photograph, 0..{width} and 0..{height}")


def _is_simple(shape: Shape, photograph: Photograph) -> bool:
    """Whether other tools know the shape as it is: a polygon, or a box with an inside, within the photograph."""
    if shape.kind not in ("polygon", "box"):
        return False
    if shape.kind == "box" and any(abs(a - b) < _THIN for a, b in zip(*shape.points, strict=True)):
        return False
    return all(0 <= x <= photograph.width and 0 <= y <= photograph.height for x, y in shape.points)
