"""The picture that somebody drew on: a photograph as it is stored, or upright, or a smaller copy of either.

Tools show a photograph upright, turned as its EXIF orientation says, and write upright coordinates. Which of the two a
file means is told by the size that it gives; where this is the same for both (180 degrees, mirrors, squares) or not
given, upright is taken, since browsers, Label Studio, CVAT, Roboflow, labelme and OpenCV all turn. Each photograph
where that decided is counted, and `Intake.drawn_on` overrides it.

Invariant: what a `Sheet` returns is in original pixels, stored order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Photograph
from regaze.corrections.formats.source import Source
from regaze.corrections.shape_checks import MAX_POINTS
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.orientation import stored_pixels, stored_point, upright_pixels, upright_point
from regaze.records import MAX_PIXELS, Mark, Shape

_Points = Iterable[tuple[float, float]]

_SLIGHT = 0.03
"""How far outside a coordinate may lie, in sides of the picture: tools let people draw beyond its edge, and round."""

_SAME_ASPECT = 0.02
"""How far the ratio of the sides of a copy may be off, besides a pixel of rounding."""

# Corners of the polygon that stands for an ellipse; its area is a thousandth too small.
_CORNERS = 90

_DIGITS = 6


@dataclass(frozen=True)
class Sheet:
    """A picture that was drawn on.

    Attributes:
        photograph: The photograph it shows.
        width, height: Of the picture that was drawn on, in the pixels that its marks are given in.
        orientation: How the stored photograph was turned before it was drawn on; 1: it was not.
        intake: Where what is left out is counted.
    """

    photograph: Photograph
    width: int
    height: int
    orientation: int
    intake: Intake

    def box(self, x: tuple[float, float], y: tuple[float, float], mark: Mark, source: Source) -> tuple[Shape, ...]:
        """The shape of a box, clipped where it lies slightly outside; none for one without an inside.

        Args:
            x: Its left and right side, in any order.
            y: Its upper and lower side, likewise.
            mark: "Look here" or "not here".
            source: Where it was read.

        Raises:
            CorrectionError: It lies outside the picture.
        """
        (x0, x1), (y0, y1) = sorted(x), sorted(y)
        self._check(((x0, y0), (x1, y1)), source)
        x0, x1 = (min(max(value, 0.0), float(self.width)) for value in (x0, x1))
        y0, y1 = (min(max(value, 0.0), float(self.height)) for value in (y0, y1))
        if x0 >= x1 or y0 >= y1:
            self.intake.leave_out(f"a box {x1 - x0:g} wide and {y1 - y0:g} high", source)
            return ()
        (xs, ys) = zip(*self._stored(((x0, y0), (x1, y1))), strict=True)
        return (Shape("box", mark, ((min(xs), min(ys)), (max(xs), max(ys)))),)

    def polygon(self, points: _Points, mark: Mark, source: Source) -> tuple[Shape, ...]:
        """The shape of a polygon; none for one of fewer than three corners. What lies outside is cut off when drawn.

        Raises:
            CorrectionError: It leaves the picture by more than slightly.
        """
        corners = tuple(points)
        self._check(corners, source)
        if len(corners) < 3:
            self.intake.leave_out(f"a polygon of {len(corners)} points", source)
            return ()
        return (Shape("polygon", mark, tuple(self._stored(corners))),)

    def turned(self, points: _Points, mark: Mark, source: Source) -> tuple[Shape, ...]:
        """The shape of something turned or round, of which any part may lie outside but the middle.

        Raises:
            CorrectionError: Its middle lies outside.
        """
        corners = tuple(points)
        (xs, ys), farthest = zip(*corners, strict=True), 3 * max(self.width, self.height)
        self._check([(sum(xs) / len(xs), sum(ys) / len(ys))], source)
        for x, y in corners:
            if not max(abs(x), abs(y)) <= farthest:
                raise source.refuse(f"the point ({x:g}, {y:g})", "one near the photograph")
        if not area(corners) > 0:
            self.intake.leave_out("a shape without an inside", source)
            return ()
        return (Shape("polygon", mark, tuple(self._stored(corners))),)

    def ellipse(
        self, middle: tuple[float, float], radii: tuple[float, float], degrees: float, mark: Mark, source: Source
    ) -> tuple[Shape, ...]:
        """The shape of an ellipse: a polygon.

        Args:
            middle: x and y.
            radii: Across and down before it is turned.
            degrees: Clockwise.
            mark: As in `box`.
            source: As in `box`.

        Raises:
            CorrectionError: Its middle lies outside, or a radius is no size.
        """
        if not all(0 <= radius <= 4 * max(self.width, self.height) for radius in radii):
            raise source.refuse(f"the radii {radii[0]:g} and {radii[1]:g}", "sizes within the picture")
        steps = (2 * math.pi * step / _CORNERS for step in range(_CORNERS))
        offsets = rotated(((radii[0] * math.cos(step), radii[1] * math.sin(step)) for step in steps), degrees)
        return self.turned(((middle[0] + dx, middle[1] + dy) for dx, dy in offsets), mark, source)

    def mask(self, runs: tuple[int, ...], mark: Mark, source: Source) -> tuple[Shape, ...]:
        """The shape of a mask; none for one without pixels, which says nothing.

        Args:
            runs: Row by row of the picture that was drawn on.
            mark: As in `box`.
            source: As in `box`.

        Raises:
            CorrectionError: It has more runs than a shape may have.
        """
        if mark == "look" and 2 * sum(runs[1::2]) > self.width * self.height:
            what = "Masks over more than half of their photograph, which may be inverted"
            self.intake.count(what, f"{self.photograph.sample}, {source}")
        if len(runs) >= 2 and not self._is_plain():
            drawn, _ = rasterise((Shape("mask", "look", runs=runs),), self.height, self.width)
            runs = mask_to_runs(self._stored_mask(drawn))
        if len(runs) > MAX_POINTS:
            raise source.refuse(f"a mask of {len(runs)} runs", f"at most {MAX_POINTS}, which no drawing reaches")
        return () if len(runs) < 2 else (Shape("mask", mark, runs=runs),)

    def _is_plain(self) -> bool:
        """Whether its pixels are the stored ones."""
        photograph = self.photograph
        return self.orientation == 1 and (self.width, self.height) == (photograph.width, photograph.height)

    def _upright_size(self) -> tuple[int, int]:
        """Width and height of the photograph, turned as the picture is."""
        upright = self.photograph.upright if self.orientation != 1 else self.photograph
        return upright.width, upright.height

    def _stored(self, points: _Points) -> list[tuple[float, float]]:
        if self._is_plain():
            return [(float(x), float(y)) for x, y in points]
        width, height = self._upright_size()
        scaled = ((x * width / self.width, y * height / self.height) for x, y in points)
        # Rounded so that a border in the middle of a pixel comes back there.
        moved = (stored_point(point, width, height, self.orientation) for point in scaled)
        return [(round(x, _DIGITS), round(y, _DIGITS)) for x, y in moved]

    def _stored_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        size = self._upright_size()
        if size != (self.width, self.height):
            # Area by area, so that one pixel of a larger copy survives.
            shrinks = size[0] < self.width
            scaled = cv2.resize(
                mask.astype(np.float32), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
            )
            mask = scaled > 0
        return stored_pixels(mask, self.orientation)

    def _check(self, points: _Points, source: Source) -> None:
        """Refuse coordinates that are no numbers or lie more than slightly outside the picture."""
        width, height = self.width, self.height
        right, below = slight(width), slight(height)
        for x, y in points:
            # Not-a-number and infinity are not within either.
            if not (-right <= x <= width + right and -below <= y <= height + below):
                raise source.refuse(f"the point ({x:g}, {y:g})", f"inside the photograph, 0..{width} and 0..{height}")


def sheet_of(
    photograph: Photograph, size: tuple[int, int] | None, intake: Intake, source: Source, *, by_a_tool: bool = True
) -> Sheet:
    """The picture that a file speaks of.

    Args:
        photograph: What it shows.
        size: Its width and height as the file gives them; None where it does not.
        intake: How the file is to be taken.
        source: Where the size was read.
        by_a_tool: It was drawn in a tool that shows photographs upright.

    Raises:
        CorrectionError: The size is neither the photograph's nor that of a copy of the same aspect; or nothing tells
            whether it was turned.
    """
    upright = Sheet(photograph, photograph.upright.width, photograph.upright.height, photograph.orientation, intake)
    stored = Sheet(photograph, photograph.width, photograph.height, 1, intake)
    sheets = [upright, stored] if photograph.orientation != 1 else [stored]
    if intake.drawn_on is not None:
        sheets = [upright if intake.drawn_on == "upright" else stored]
    fitting = sheets if size is None else [sheet for sheet in sheets if size == (sheet.width, sheet.height)]
    if not fitting and size is not None:
        fitting = [
            Sheet(photograph, *size, sheet.orientation, intake)
            for sheet in sheets
            if _is_copy(size, (sheet.width, sheet.height))
        ]
        if fitting:
            copy = f"{size[0]} x {size[1]} of {photograph.sample}, {source}"
            intake.count("Pictures of another size, scaled to their photographs", copy, photograph.sample)
    if not fitting:
        raise source.refuse(f"width {size and size[0]} and height {size and size[1]}", _expected(photograph, sheets))
    if len(fitting) > 1 and not by_a_tool:
        raise source.refuse(
            f"nothing that says whether it is turned as EXIF turns {photograph.sample} (orientation "
            f"{photograph.orientation})",
            "--drawn-on upright, as tools show the photograph, or --drawn-on stored, as scripts read it",
        )
    if len(fitting) > 1:
        intake.count(
            "Photographs that EXIF turns, taken as drawn on upright as tools show them, since no size tells (else pass "
            "--drawn-on stored)",
            f"{photograph.sample}, orientation {photograph.orientation}",
            photograph.sample,
        )
    return fitting[0]


def upright_shapes(shapes: Iterable[Shape], photograph: Photograph) -> list[Shape]:
    """Boxes, polygons and masks as they lie on the photograph that other tools show.

    Args:
        shapes: In original pixels, stored order.
        photograph: Where they lie.

    Returns:
        The same in pixels of `photograph.upright`.
    """
    if photograph.orientation == 1:
        return list(shapes)
    upright, result = photograph.upright, []
    for shape in shapes:
        if shape.kind == "mask":
            mask, _ = rasterise((Shape("mask", "look", runs=shape.runs),), photograph.height, photograph.width)
            turned = Shape("mask", shape.mark, runs=mask_to_runs(upright_pixels(mask, photograph.orientation)))
        else:
            moved = [upright_point(p, upright.width, upright.height, photograph.orientation) for p in shape.points]
            if shape.kind == "box":
                (x0, x1), (y0, y1) = map(sorted, zip(*moved, strict=True))
                moved = [(x0, y0), (x1, y1)]
            turned = Shape(shape.kind, shape.mark, tuple(moved))
        result.append(turned)
    return result


def slight(side: int) -> float:
    """How many pixels beyond a side of that length a mark may reach."""
    return max(0.5, _SLIGHT * side)


def rotated(offsets: _Points, degrees: float) -> list[tuple[float, float]]:
    """Turn (dx, dy) clockwise as one sees it, for y runs down.

    Args:
        offsets: From the point that stays.
        degrees: By how much.
    """
    angle = math.radians(degrees % 360)
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(dx * cosine - dy * sine, dx * sine + dy * cosine) for dx, dy in offsets]


def rotated_box(x: tuple[float, float], y: tuple[float, float], degrees: float) -> list[tuple[float, float]]:
    """The corners of a box that is turned clockwise around its middle; `x` and `y` are its two sides each."""
    middle_x, middle_y, half_x, half_y = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    offsets = rotated(((-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)), degrees)
    return [(middle_x + dx, middle_y + dy) for dx, dy in offsets]


def _is_copy(size: tuple[int, int], full: tuple[int, int]) -> bool:
    """Whether a picture of one size can be another one, shrunk or enlarged: its aspect up to rounding."""
    (width, height), (full_width, full_height) = size, full
    if min(size) < 1 or width * height > MAX_PIXELS:
        return False
    off = abs(width * full_height - height * full_width)
    return off < max(full) and off <= _SAME_ASPECT * width * full_height


def area(points: tuple[tuple[float, float], ...]) -> float:
    """A polygon's area by the shoelace formula, square pixels."""
    following = points[1:] + points[:1]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, following, strict=True))) / 2


def _expected(photograph: Photograph, sheets: list[Sheet]) -> str:
    sizes = list(dict.fromkeys(f"{sheet.width} and {sheet.height}" for sheet in sheets))
    turned = f", which EXIF turns (orientation {photograph.orientation})" if photograph.orientation != 1 else ""
    return f"{' or '.join(sizes)}, the size of {photograph.sample}{turned}"
