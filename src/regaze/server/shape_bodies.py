"""Shapes of the page and shapes of the store: the one place where one becomes the other.

Invariant: stored shapes mark the same pixels of the stored photograph as the page's mark of the upright one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.shapes import mask_to_runs
from regaze.errors import CorrectionError
from regaze.records import Shape
from regaze.server.bodies import ShapeBody
from regaze.server.frame import Frame


def stored_shapes(bodies: Sequence[ShapeBody], frame: Frame) -> tuple[Shape, ...]:
    """The page's shapes as the store keeps them.

    Raises:
        CorrectionError: Runs do not fill the photograph.
    """
    return tuple(_stored_shape(body, frame) for body in bodies)


def _stored_shape(body: ShapeBody, frame: Frame) -> Shape:
    points, runs = tuple((x, y) for x, y in body.points), tuple(body.runs)
    if frame.orientation != 1:
        points = tuple(frame.stored_point(point) for point in points)
    if runs and frame.orientation != 1:
        runs = mask_to_runs(frame.stored(_mask(body.runs, frame)))
    return Shape(body.kind, body.mark, points, body.radius, runs)


def shown_runs(mask_HW: NDArray[np.bool_], frame: Frame) -> list[int]:
    """The runs of a mask of stored pixels as the page takes them."""
    return list(mask_to_runs(frame.shown(mask_HW)))


def _mask(runs: Sequence[int], frame: Frame) -> NDArray[np.bool_]:
    """(H, W) bool of the upright photograph."""
    width, height = frame.upright
    if sum(runs) != width * height:
        raise CorrectionError(
            f"a mask's runs sum to {sum(runs)}, expected {width} x {height} = {width * height}: draw it on the "
            "photograph at its original size"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(height, width)
