"""The drawn results of Label Studio, each as shapes; see `label_studio`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from itertools import groupby
from typing import Annotated, Any

from msgspec import Meta, Struct

from regaze.corrections.formats.brush_rle import decode_brush
from regaze.corrections.formats.drawn import meaning
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.json_paths import Finite, converted
from regaze.corrections.formats.painted import open_png, painted, png_size
from regaze.corrections.formats.photographs import Photograph
from regaze.corrections.formats.sheet import Sheet, rotated, sheet_of
from regaze.corrections.formats.source import Source, shown
from regaze.corrections.shapes import mask_to_runs
from regaze.records import Mark, Shape

UNDRAWN = frozenset({"choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "relation"})
"""Types of results that say something of the whole picture and draw nothing."""

_DATA_URL = "data:image/png;base64,"
_DIGITS = 6


class Result(Struct):
    """One result; `value` is of another kind for each type."""

    type: str
    id: Any = None
    from_name: Any = None
    to_name: Any = None
    item_index: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: Finite | None = None
    value: Any = None


class _Brush(Struct):
    format: str
    rle: list[Annotated[int, Meta(ge=0, le=255)]]


class _Bitmask(Struct):
    imageDataURL: str  # noqa: N815 -- Label Studio's spelling


class _Polygon(Struct):
    points: list[tuple[Finite, Finite]]


class _Rectangle(Struct):
    x: Finite
    y: Finite
    width: Finite
    height: Finite
    rotation: Finite = 0.0


class _Ellipse(Struct):
    x: Finite
    y: Finite
    radiusX: Finite  # noqa: N815 -- Label Studio's spelling
    radiusY: Finite  # noqa: N815
    rotation: Finite = 0.0


def shapes_of(located: list[tuple[Source, Result]], photograph: Photograph, intake: Intake) -> list[Shape]:
    """What an annotation draws on one photograph.

    Args:
        located: Its results, in order, and where each stands.
        photograph: What they lie on.
        intake: Where what is left out is counted.

    Raises:
        CorrectionError: A result is wrong; names its path.
    """
    shapes: list[Shape] = []
    # Results of one region follow each other and share its id.
    for _, group in groupby(located, key=lambda item: item[1].id if isinstance(item[1].id, str) else str(item[0])):
        region = list(group)
        is_labelled = any(result.type == "labels" for _, result in region)
        for source, result in region:
            if result.type not in UNDRAWN and (result.type == "labels" or not is_labelled):
                shapes += _shapes(result, photograph, intake, source)
    return shapes


def _shapes(result: Result, photograph: Photograph, intake: Intake, source: Source) -> tuple[Shape, ...]:
    inside = source.inner(".value")
    value: dict[str, Any] = converted(result.value, dict[str, Any], inside)
    labels: list[str] = converted(value.get(result.type) or [], list[str], inside.inner(f".{result.type}"))
    marks = {meaning(label) for label in labels}
    if marks == {None}:
        intake.landmark(labels[0])
        return ()
    if {"look", "avoid"} <= marks:
        raise source.refuse(f"the labels {shown(labels)}", "look here or not here, not both")
    kind = result.type.removesuffix("labels") or _kind(value)
    if kind not in _READERS or not labels:
        intake.leave_out(f"a result of type {shown(result.type)}{'' if labels else ' without a label'}", source)
        return ()
    if result.image_rotation:
        intake.count(
            "Marks on pictures turned in the editor (image_rotation), taken on the picture as it is", str(source)
        )
    width, height = result.original_width, result.original_height
    size = None if width is None or height is None else (width, height)
    struct, draw = _READERS[kind]
    mark: Mark = "look" if "look" in marks else "avoid"
    return draw(converted(value, struct, inside), mark, sheet_of(photograph, size, intake, source), inside)


def _kind(value: dict[str, Any]) -> str:
    """What `labels` goes with."""
    keys = {"rle": "brush", "imageDataURL": "bitmask", "points": "polygon", "radiusX": "ellipse", "height": "rectangle"}
    return next((kind for key, kind in keys.items() if key in value), "")


def _brush(value: _Brush, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    if value.format != "rle":
        raise source.refuse(f"a brush of format {shown(value.format)}", "format 'rle'")
    try:
        runs = decode_brush(value.rle, sheet.height, sheet.width)
    except ValueError as error:
        raise source.refuse(f"a brush RLE with {error}", "an RGBA picture of the photograph's size") from error
    return sheet.mask(runs, mark, source)


def _bitmask(value: _Bitmask, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    try:
        if not value.imageDataURL.startswith(_DATA_URL):
            raise ValueError
        data = base64.b64decode(value.imageDataURL[len(_DATA_URL) :], validate=True)
    except (binascii.Error, ValueError):
        raise source.refuse(f"imageDataURL {shown(value.imageDataURL)}", f"a picture as {_DATA_URL}...") from None
    size = png_size(data, source)
    if size != (sheet.width, sheet.height):
        raise source.refuse(f"a bit mask of {size[0]} x {size[1]}", f"{sheet.width} x {sheet.height}")
    with open_png(data, source) as image:
        return sheet.mask(mask_to_runs(painted(image)), mark, source)


def _polygon(value: _Polygon, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    return sheet.polygon((_pixels(point, sheet) for point in value.points), mark, source)


def _rectangle(value: _Rectangle, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    (x0, y0), (x1, y1) = (
        _pixels((value.x, value.y), sheet),
        _pixels((value.x + value.width, value.y + value.height), sheet),
    )
    if value.rotation % 360 == 0:
        return sheet.box((x0, x1), (y0, y1), mark, source)
    # Around the corner that it is drawn from, clockwise, in pixels: percent are not square.
    offsets = rotated(((0.0, 0.0), (x1 - x0, 0.0), (x1 - x0, y1 - y0), (0.0, y1 - y0)), value.rotation)
    return sheet.turned([(round(x0 + dx, _DIGITS), round(y0 + dy, _DIGITS)) for dx, dy in offsets], mark, source)


def _ellipse(value: _Ellipse, mark: Mark, sheet: Sheet, source: Source) -> tuple[Shape, ...]:
    radii = _pixels((value.radiusX, value.radiusY), sheet)
    return sheet.ellipse(_pixels((value.x, value.y), sheet), radii, value.rotation, mark, source)


def _pixels(percent: tuple[float, float], sheet: Sheet) -> tuple[float, float]:
    # Rounded so that a border in the middle of a pixel comes back there.
    x, y = percent
    return round(x * sheet.width / 100, _DIGITS), round(y * sheet.height / 100, _DIGITS)


_READERS: dict[str, tuple[type[Struct], Callable[[Any, Mark, Sheet, Source], tuple[Shape, ...]]]] = {
    "brush": (_Brush, _brush),
    "bitmask": (_Bitmask, _bitmask),
    "polygon": (_Polygon, _polygon),
    "rectangle": (_Rectangle, _rectangle),
    "ellipse": (_Ellipse, _ellipse),
}
