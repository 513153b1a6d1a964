"""What all formats share: photographs found by name, what was drawn on them, and how a mistake is reported.

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
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, shown
from regaze.corrections.shape_checks import MAX_POINTS
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.lesion_names import lesion_type
from regaze.records import Correction, Shape

Mode = Literal["replace", "edit"]

LABELS = {True: "look", False: "avoid"}
"""`Shape.look` -> the label that is written."""

TOLERANCE = 0.5
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
    mode: Mode = "replace"
    time: str = ""


def as_drawn(item: Drawn | Correction) -> Drawn:
    """Turn a stored correction into what was drawn.

    Args:
        item: A correction, whose masks become two shapes where it has none; or what was drawn already.

    Returns:
        What was drawn; half characters (lone surrogates), which no file can hold, become `?`.
    """
    shapes = item.shapes
    if isinstance(item, Correction) and not shapes:
        masks = ((True, item.look), (False, item.avoid))
        shapes = tuple(
            Shape("mask", look, runs=mask_to_runs(mask)) for look, mask in masks if mask is not None and mask.any()
        )
    return Drawn(item.sample, shapes, _plain(item.author), _plain(item.remark), item.mode, item.time)


def sheets(items: Iterable[Drawn | Correction], album: Album) -> Iterator[tuple[Photograph, Drawn]]:
    """Pair what was drawn with its photograph, for a format that holds one sheet for each.

    Args:
        items: What is to be written.
        album: The photographs.

    Yields:
        The photograph and what was drawn on it, in the order given.

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
            simple.extend(replace(one, points=tuple((float(x), float(y)) for x, y in one.points)) for one in group)
            continue
        masks = rasterise(tuple(group), photograph.height, photograph.width)
        mask = masks[0] if look else masks[1]
        if mask.any():
            simple.append(Shape("mask", look, runs=mask_to_runs(mask)))
    return simple


def mask_shapes(runs: tuple[int, ...], look: bool, source: Source) -> tuple[Shape, ...]:
    """Make a shape of a mask that was read.

    Args:
        runs: Row by row.
        look: "look here" or "not here".
        source: Where it was read.

    Returns:
        One shape; none for a mask without pixels, which says nothing.

    Raises:
        CorrectionError: It has more runs than a shape may have.
    """
    if len(runs) > MAX_POINTS:
        raise source.refuse(f"a mask of {len(runs)} runs", f"at most {MAX_POINTS}, which no drawing reaches")
    return (Shape("mask", look, runs=runs),) if len(runs) > 1 else ()


def meaning(label: str) -> bool | None:
    """Say what a label stands for.

    Args:
        label: As the foreign tool writes it.

    Returns:
        False for "not here"; None for a landmark that says neither; True, "look here", for any other.
    """
    if re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") in _AVOID:
        return False
    return None if lesion_type(label) is None else True


def check_points(points: Iterable[tuple[float, float]], photograph: Photograph, source: Source) -> None:
    """Refuse coordinates that are no numbers or lie outside the photograph.

    Args:
        points: (x, y) in original pixels.
        photograph: Whose edges count.
        source: Where they were read.

    Raises:
        CorrectionError: One is not finite or more than `TOLERANCE` outside.
    """
    width, height = photograph.width, photograph.height
    for x, y in points:
        inside = -TOLERANCE <= x <= width + TOLERANCE and -TOLERANCE <= y <= height + TOLERANCE
        if not (math.isfinite(x) and math.isfinite(y) and inside):
            raise source.refuse(f"the point ({x:g}, {y:g})", f"inside the photograph, 0..{width} and 0..{height}")


def check_box(x0: float, y0: float, x1: float, y1: float, photograph: Photograph, source: Source) -> None:
    """Refuse a box without an inside, or outside the photograph; x0, y0, x1, y1 in original pixels.

    Raises:
        CorrectionError: It is.
    """
    check_points(((x0, y0), (x1, y1)), photograph, source)
    if x0 >= x1 or y0 >= y1:
        raise source.refuse(f"a box {x1 - x0:g} wide and {y1 - y0:g} high", "both above 0")


def check_size(width: int | None, height: int | None, photograph: Photograph, source: Source) -> None:
    """Refuse an image size that is not the photograph's.

    Raises:
        CorrectionError: It is another one, or no size.
    """
    if (width, height) != (photograph.width, photograph.height):
        raise source.refuse(
            f"width {width} and height {height}",
            f"{photograph.width} and {photograph.height}, the size of {photograph.sample}",
        )


def noted(
    sample: str,
    shapes: Iterable[Shape],
    source: Source,
    *,
    mode: str | None,
    time: str | None,
    author: str | None = None,
    remark: str | None = None,
) -> Drawn:
    """What was drawn, with what a file says of it; whatever it does not say is None or empty.

    Args:
        sample: `Photograph.sample`.
        shapes: In order.
        source: Where it was read.
        mode: `replace`, the default, or `edit`.
        time: ISO 8601; one without a zone is UTC.
        author: Who drew it.
        remark: Free text.

    Returns:
        It.

    Raises:
        CorrectionError: The mode is another word, or the time is none.
    """
    if mode not in (None, "", "replace", "edit"):
        raise source.refuse(f"mode {shown(mode)}", "replace or edit")
    if time:
        try:
            moment = datetime.fromisoformat(time)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise source.refuse(f"time {shown(time)}", "a time such as 2024-05-31T12:00:00Z") from None
        time = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    drawn_mode: Mode = "edit" if mode == "edit" else "replace"
    return Drawn(sample, tuple(shapes), author or "", remark or "", drawn_mode, time or "")


def check_free(path: Path, *, or_empty_folder: bool = False) -> None:
    """Refuse to write over what is there.

    Raises:
        CorrectionError: There is something, and not just an empty folder where that may be.
    """
    is_empty = or_empty_folder and path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if (path.exists() or path.is_symlink()) and not is_empty:
        raise CorrectionError(f"{path} is there already: export under another name, or remove it")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside `path`; it becomes `path` when the block ends well, and goes otherwise.

    Raises:
        CorrectionError: There is something at `path`.
    """
    check_free(path, or_empty_folder=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def member(folder: Path, sample: str, suffix: str) -> Path:
    """The file of a sample in a folder of files named by sample.

    Returns:
        The path, below `folder`.

    Raises:
        CorrectionError: The id is no safe relative path.
    """
    parts = sample.split("/")
    if any(
        not part or part.startswith(".") or not part.isprintable() or set(part) & set('\\:*?"<>|') for part in parts
    ):
        raise CorrectionError(f"the id {sample!r} cannot name a file in {folder.name}: export to another format")
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)


def _is_simple(shape: Shape, photograph: Photograph) -> bool:
    """Whether other tools know the shape as it is: a polygon, or a box with an inside, within the photograph."""
    if shape.kind not in ("polygon", "box"):
        return False
    if shape.kind == "box" and any(abs(a - b) < _THIN for a, b in zip(*shape.points, strict=True)):
        return False
    return all(0 <= x <= photograph.width and 0 <= y <= photograph.height for x, y in shape.points)


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
