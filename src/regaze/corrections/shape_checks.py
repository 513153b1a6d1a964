"""Which shapes can be drawn, and shapes as JSON.

Invariant: what `check_shapes` accepts can be drawn, and `shapes_from_json(shapes_to_json(shapes))` equals `shapes`
number by number. What was written before shapes could erase (`look`: true or false in place of `mark`) is read too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from regaze.errors import CorrectionError
from regaze.records import MAX_PIXELS, Mark, Shape

# A minute of drawing at 120 points a second is 7,200 points; the most ragged mask of IDRiD has under 200,000 runs.
MAX_POINTS = 1_000_000

MAX_COORDINATE = 1e6  # beyond the side of any photograph; keeps the arithmetic on coordinates finite

_LEAST_POINTS = {"stroke": 1, "polygon": 3, "box": 2, "mask": 0}
_MOST_POINTS = {"stroke": MAX_POINTS, "polygon": MAX_POINTS, "box": 2, "mask": 0}
_FIELDS = {"kind", "mark", "points", "radius", "runs"}
_MARKS: tuple[Mark, ...] = get_args(Mark)


def check_shapes(shapes: Sequence[Shape], height: int, width: int, what: str = "shapes") -> None:
    """Refuse shapes that cannot be drawn on a photograph.

    A box without height or width is accepted: it is a click without a drag, and marks the pixels it lies in. So is a
    shape outside the photograph: it marks nothing.

    Args:
        shapes: In original pixels.
        height: Rows of the photograph.
        width: Columns of the photograph.
        what: Names the shapes in the message.

    Raises:
        CorrectionError: The photograph has no pixels or more than `records.MAX_PIXELS`; or a shape is of no known
            kind or mark, has too few or too many points, a coordinate or radius that is no number or beyond
            `MAX_COORDINATE`, or runs that do not sum to height x width.
    """
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise CorrectionError(f"{what} on {height} x {width} pixels, expected 1 to {MAX_PIXELS}: name the true size")
    for number, shape in enumerate(shapes, 1):
        _check_shape(shape, f"{what}: shape {number}")
        if shape.kind == "mask" and sum(shape.runs) != height * width:
            raise CorrectionError(
                f"{what}: shape {number} (mask) has runs that sum to {sum(shape.runs)}, expected "
                f"{height} x {width} = {height * width}: draw it on the photograph at its original size"
            )


def shapes_to_json(shapes: Sequence[Shape]) -> str:
    """Write shapes that `check_shapes` accepts as one line of JSON.

    Returns:
        A list of objects with `kind`, `mark`, and those of `points`, `radius`, `runs` that the kind has. Numbers are
        written such that reading gives the same 64 bits.
    """
    return json.dumps([_to_object(shape) for shape in shapes], separators=(",", ":"), allow_nan=False)


def shapes_from_json(text: str, what: str = "shapes") -> tuple[Shape, ...]:
    """Read what `shapes_to_json` wrote.

    Args:
        text: JSON, also of an earlier version.
        what: Names the text in the message.

    Returns:
        The shapes, in order. Runs are not compared with a photograph's size; see `check_shapes`.

    Raises:
        CorrectionError: It is no such JSON, or holds a shape that makes no sense.
    """
    try:
        objects = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorrectionError(f"{what}: no readable JSON ({error}): write it by shapes_to_json") from error
    if not isinstance(objects, list):
        raise CorrectionError(f"{what}: JSON of type {type(objects).__name__}, expected a list of shapes")
    return tuple(_from_object(values, f"{what}: shape {number}") for number, values in enumerate(objects, 1))


def _to_object(shape: Shape) -> dict[str, Any]:
    values: dict[str, Any] = {"kind": shape.kind, "mark": shape.mark}
    if shape.points:
        values["points"] = [[float(x), float(y)] for x, y in shape.points]
    if shape.radius:
        values["radius"] = float(shape.radius)
    if shape.runs:
        values["runs"] = [int(run) for run in shape.runs]
    return values


def _from_object(values: Any, what: str) -> Shape:
    if isinstance(values, dict) and "mark" not in values and isinstance(values.get("look"), bool):
        values = {"mark": "look" if values["look"] else "avoid", **values}
        del values["look"]
    if not isinstance(values, dict) or not {"kind", "mark"} <= set(values) <= _FIELDS:
        raise CorrectionError(f"{what} is {_short(values)}, expected an object with {', '.join(sorted(_FIELDS))}")
    points, runs = values.get("points", []), values.get("runs", [])
    if not isinstance(points, list) or not isinstance(runs, list) or not all(isinstance(p, list) for p in points):
        raise CorrectionError(f"{what} is {_short(values)}, expected lists of [x, y] points and of runs")
    radius = values.get("radius", 0.0)
    shape = Shape(values["kind"], values["mark"], tuple(tuple(point) for point in points), radius, tuple(runs))
    _check_shape(shape, what)
    return shape


def _check_shape(shape: Shape, what: str) -> None:
    """Refuse a shape that makes no sense whatever the photograph.

    Raises:
        CorrectionError: It makes no sense.
    """
    if not isinstance(shape.kind, str) or shape.kind not in _LEAST_POINTS:
        raise CorrectionError(f"{what} is of kind {_short(shape.kind)}, expected one of {', '.join(_LEAST_POINTS)}")
    what = f"{what} ({shape.kind})"
    if not isinstance(shape.mark, str) or shape.mark not in _MARKS:
        raise CorrectionError(f"{what} has mark {_short(shape.mark)}, expected one of {', '.join(_MARKS)}")
    least, most = _LEAST_POINTS[shape.kind], _MOST_POINTS[shape.kind]
    if not least <= len(shape.points) <= most:
        raise CorrectionError(f"{what} has {len(shape.points)} points, expected {least} to {most}")
    _check_points(shape, what)
    _check_radius(shape, what)
    _check_runs(shape, what)


def _check_points(shape: Shape, what: str) -> None:
    try:  # all at once first: a million points take a fifth of a second
        points = np.asarray(shape.points, dtype=np.float64)
        if points.shape in ((0,), (len(shape.points), 2)) and bool((np.abs(points) <= MAX_COORDINATE).all()):
            return
    except (TypeError, ValueError, OverflowError):
        pass
    for number, point in enumerate(shape.points, 1):
        if not (isinstance(point, Sequence) and len(point) == 2 and all(_is_coordinate(value) for value in point)):
            raise CorrectionError(
                f"{what} has {_short(point)} as point {number}, expected x and y in pixels of the photograph, "
                f"at most {MAX_COORDINATE:.0f}"
            )


def _check_radius(shape: Shape, what: str) -> None:
    radius = shape.radius
    if shape.kind == "stroke":
        if not _is_coordinate(radius) or radius <= 0:
            raise CorrectionError(
                f"{what} has radius {_short(radius)}, expected more than 0 pixels: half the brush's width"
            )
    elif not _is_coordinate(radius) or radius != 0:
        raise CorrectionError(f"{what} has radius {_short(radius)}, expected 0: only a stroke has one")


def _check_runs(shape: Shape, what: str) -> None:
    if shape.kind != "mask":
        if len(shape.runs):
            raise CorrectionError(f"{what} has {len(shape.runs)} runs, expected none: only a mask has them")
        return
    if not 1 <= len(shape.runs) <= MAX_POINTS:
        raise CorrectionError(
            f"{what} has {len(shape.runs)} runs, expected 1 to {MAX_POINTS}: store so ragged a mask without shapes"
        )
    for number, run in enumerate(shape.runs, 1):
        if not isinstance(run, (int, np.integer)) or isinstance(run, bool) or run < 0:
            raise CorrectionError(f"{what} has {_short(run)} as run {number}, expected a whole number of 0 or more")


def _is_coordinate(value: Any) -> bool:
    """A real number within `MAX_COORDINATE` that is no bool."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return is_number and bool(abs(value) <= MAX_COORDINATE)  # which NaN is not


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
