"""What somebody drew on a photograph, as all formats see it: shapes with their checks, labels and notes.

Invariant: a name in a foreign file is compared with the names of photographs and is never opened. A reader takes what
a file holds, and counts what it had to leave out (`Intake`), or raises where the file cannot be trusted; a writer
leaves a whole file or folder, or none.

Two labels are written, `look` and `avoid`. Read are `avoid`, `not here` and `not_here` (in any case) as "not here";
every other label, a lesion's name for example, as "look here"; names that are no lesion's (`regaze.lesion_names`:
optic disc, fovea, background) say neither and are left out, as in the boxes of `data.boxes`.

What a foreign file says of a photograph is taken to be the whole map (`replace`) unless the file says `edit`. A
photograph with nothing drawn on it is *not corrected*, unless the file says that somebody reviewed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.sheet import upright_shapes
from regaze.corrections.formats.source import Source, shown
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.lesion_names import lesion_type
from regaze.records import Correction, Mark, Shape

LABELS: tuple[Mark, ...] = ("look", "avoid")
"""What is written of `Shape.mark`; other tools know no marks that erase."""

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
        shapes = _mask_shapes(item.look, item.avoid)
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
        Boxes, polygons and masks that mark the same pixels in the same order, as they lie on `photograph.upright`,
        which is what other tools show. A stroke, and a shape that leaves the photograph, becomes a mask; neighbours
        among these that say the same become one mask; what marks no pixel is left out. Other tools cannot erase: all up
        to the last shape that does becomes what is left of it, a mask of each mark.
    """
    count = 1 + max((number for number, shape in enumerate(drawn.shapes) if shape.mark == "erase"), default=-1)
    shapes = drawn.shapes[count:]
    if count:
        shapes = (*_mask_shapes(*rasterise(drawn.shapes[:count], photograph.height, photograph.width)), *shapes)
    simple: list[Shape] = []
    for (keep, mark), group in groupby(shapes, key=lambda shape: (_is_simple(shape, photograph), shape.mark)):
        if keep:
            simple += [replace(shape, points=tuple((float(x), float(y)) for x, y in shape.points)) for shape in group]
            continue
        masks = rasterise(tuple(group), photograph.height, photograph.width)
        mask = masks[0] if mark == "look" else masks[1]
        if mask.any():
            simple.append(Shape("mask", mark, runs=mask_to_runs(mask)))
    return upright_shapes(simple, photograph)


def meaning(label: str) -> Mark | None:
    """What a foreign tool's label says: "look here", "not here", or None, neither (a landmark)."""
    if re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") in _AVOID:
        return "avoid"
    return None if lesion_type(label) is None else "look"


def _mask_shapes(look: NDArray[np.bool_], avoid: NDArray[np.bool_] | None) -> tuple[Shape, ...]:
    """Masks that share no pixel, (H, W) each, as shapes; none for one without a pixel."""
    masks: tuple[tuple[Mark, NDArray[np.bool_] | None], ...] = (("look", look), ("avoid", avoid))
    return tuple(
        Shape("mask", mark, runs=mask_to_runs(mask)) for mark, mask in masks if mask is not None and mask.any()
    )


def _is_simple(shape: Shape, photograph: Photograph) -> bool:
    """Whether other tools know the shape as it is: a polygon, or a box with an inside, within the photograph."""
    if shape.kind not in ("polygon", "box"):
        return False
    if shape.kind == "box" and any(abs(a - b) < _THIN for a, b in zip(*shape.points, strict=True)):
        return False
    return all(0 <= x <= photograph.width and 0 <= y <= photograph.height for x, y in shape.points)
