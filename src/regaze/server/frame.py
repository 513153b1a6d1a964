"""The two frames of a photograph: stored pixels, in which regaze keeps everything, and upright, as the page shows it.

Invariant: turning upright and back gives the same pixels, cells and points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from regaze.data.geometry import Geometry
from regaze.data.images import photo_orientation, photo_size
from regaze.orientation import stored_pixels, stored_point, upright_pixels, upright_point, upright_size
from regaze.records import Sample

_Pixels = TypeVar("_Pixels", bound=np.generic)
Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """A photograph's size and how viewers turn it.

    Attributes:
        sample: `Sample.id`.
        width, height: In stored pixels.
        orientation: See `regaze.orientation`.
    """

    sample: str
    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown."""
        return upright_size(self.width, self.height, self.orientation)

    def shown(self, pixels: NDArray[_Pixels]) -> NDArray[_Pixels]:
        """Stored pixels or cells (H, W, ...) as shown."""
        return np.ascontiguousarray(upright_pixels(pixels, self.orientation))

    def stored(self, pixels: NDArray[_Pixels]) -> NDArray[_Pixels]:
        """Shown pixels or cells (H, W, ...) in stored order."""
        return np.ascontiguousarray(stored_pixels(pixels, self.orientation))

    def shown_point(self, point: Point) -> Point:
        """A stored point as shown."""
        return upright_point(point, *self.upright, self.orientation)

    def stored_point(self, point: Point) -> Point:
        """A shown point in stored pixels."""
        return stored_point(point, *self.upright, self.orientation)

    def square(self, geometry: Geometry) -> tuple[int, int, int]:
        """Left, top and side of the network's square as shown."""
        corners = [(geometry.left, geometry.top), (geometry.left + geometry.side, geometry.top + geometry.side)]
        turned = [self.shown_point((float(x), float(y))) for x, y in corners]
        return int(min(x for x, _ in turned)), int(min(y for _, y in turned)), geometry.side


def frame_of(sample: Sample) -> Frame:
    """The frame of a photograph, from its file's header.

    Raises:
        DataError: The file cannot be read.
    """
    width, height = photo_size(sample.image)
    return Frame(sample.id, width, height, photo_orientation(sample.image))
