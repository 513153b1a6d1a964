"""What is drawn upright marks the same pixels in stored order, however a camera was held."""

import numpy as np
import pytest

from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.data.geometry import Geometry
from regaze.records import Shape
from regaze.server.bodies import ShapeBody
from regaze.server.frame import Frame
from regaze.server.shape_bodies import shown_runs, stored_shapes

WIDTH, HEIGHT = 37, 23  # stored
ORIENTATIONS = range(1, 9)


def drawn(frame):
    """Shapes on the upright photograph, as the page sends them."""
    width, height = frame.upright
    mask = np.zeros((height, width), dtype=bool)
    mask[2:5, 3:9] = True
    return [
        {"kind": "stroke", "mark": "look", "points": [[2.3, 3.7], [17.1, 9.2], [5.05, 20.9]], "radius": 2.13},
        {"kind": "polygon", "mark": "avoid", "points": [[1.2, 1.7], [12.3, 2.1], [4.4, 15.6]]},
        {"kind": "box", "mark": "look", "points": [[6.1, 12.2], [14.7, 18.3]]},
        {"kind": "mask", "mark": "avoid", "runs": list(mask_to_runs(mask))},
    ]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_shapes_are_turned_with_the_photograph(orientation):
    """Stored masks, shown upright, are what drawing on the upright photograph gives, pixel by pixel."""
    frame = Frame("eye", WIDTH, HEIGHT, orientation)
    width, height = frame.upright
    bodies = [ShapeBody(**shape) for shape in drawn(frame)]
    stored = rasterise(stored_shapes(bodies, frame), HEIGHT, WIDTH)
    seen = rasterise(stored_shapes(bodies, Frame("eye", width, height, 1)), height, width)
    for there, here in zip(stored, seen, strict=True):
        assert here.any()
        assert (frame.shown(there) == here).all()
        assert (frame.stored(here) == there).all()
    assert shown_runs(stored[0], frame) == list(mask_to_runs(seen[0]))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_square_is_turned_with_the_photograph(orientation):
    """The square as shown holds the same pixels as the network's, bars included."""
    frame = Frame("eye", WIDTH, HEIGHT, orientation)
    geometry = Geometry(WIDTH, HEIGHT, 2, -5, 32, 8)
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[max(0, geometry.top) : geometry.top + 32, 2:34] = True
    left, top, side = frame.square(geometry)
    shown = np.zeros(frame.upright[::-1], dtype=bool)
    shown[max(0, top) : top + side, max(0, left) : left + side] = True
    assert side == 32
    assert (frame.shown(inside) == shown).all()


def test_a_shape_is_a_shape():
    """On a photograph that nothing turns, numbers stay what the page sent."""
    frame = Frame("eye", WIDTH, HEIGHT, 1)
    (shape,) = stored_shapes([ShapeBody(kind="box", mark="look", points=[[1.25, 2.5], [3.0, 4.125]])], frame)
    assert shape == Shape("box", "look", ((1.25, 2.5), (3.0, 4.125)), 0.0, ())
