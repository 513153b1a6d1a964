"""Shapes drawn to masks, by hand: edges, order, tiny shapes, far-off points, time."""

import time

import numpy as np
import pytest

from regaze.corrections import shapes as shapes_module
from regaze.corrections.shapes import rasterise
from regaze.records import Shape
from tests.corrections.shape_pixels import HEIGHT, WIDTH, draw, pixels_of


def test_a_box_of_whole_pixels_is_these_pixels():
    """Corners (1, 1) and (3, 2) hold the centres of two pixels, and the next pixels' edges do not count."""
    assert pixels_of(Shape("box", "look", ((1, 1), (3, 2)))) == {(1, 1), (1, 2)}
    for corners in (((3, 2), (1, 1)), ((1, 2), (3, 1)), ((3, 1), (1, 2))):  # any two opposite ones
        assert pixels_of(Shape("box", "look", corners)) == {(1, 1), (1, 2)}


def test_centres_on_the_edge_belong_to_the_right_and_the_lower_side():
    """A box from centre to centre keeps its left and upper ones, so that two boxes side by side share none."""
    assert pixels_of(Shape("box", "look", ((0.5, 0.5), (2.5, 1.5)))) == {(0, 0), (0, 1)}
    assert pixels_of(Shape("box", "look", ((2.5, 0.5), (4.5, 1.5)))) == {(0, 2), (0, 3)}


def test_a_round_brush_keeps_the_pixels_whose_centres_it_reaches():
    """Radius 1 around a pixel's centre is a plus of five (the border counts); just below 1, one pixel."""
    plus = {(2, 2), (1, 2), (3, 2), (2, 1), (2, 3)}
    assert pixels_of(Shape("stroke", "look", ((2.5, 2.5),), 1.0), 5, 5) == plus
    assert pixels_of(Shape("stroke", "look", ((2.5, 2.5),), 0.999), 5, 5) == {(2, 2)}
    block = {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert pixels_of(Shape("stroke", "look", ((2.5, 2.5),), 1.5), 5, 5) == block


def test_a_stroke_has_round_ends():
    """A level line of radius 1 reaches one pixel beyond its ends, but not in the rows above and below."""
    drawn = draw(Shape("stroke", "look", ((1.5, 1.5), (3.5, 1.5)), 1.0), 3, 5)
    np.testing.assert_array_equal(drawn.astype(int), [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]])
    upright = draw(Shape("stroke", "look", ((1.5, 3.5), (1.5, 1.5)), 1.0), 5, 3)
    np.testing.assert_array_equal(upright, drawn.T)


def test_a_triangle_by_hand():
    """The lower left half of 4 x 4 pixels: centres on the slanted side lie on its lower left, so they are out."""
    drawn = draw(Shape("polygon", "look", ((0, 0), (4, 4), (0, 4))), 4, 4)
    np.testing.assert_array_equal(drawn.astype(int), np.tri(4, k=-1, dtype=int))
    other = draw(Shape("polygon", "look", ((0, 0), (4, 0), (4, 4))), 4, 4)
    np.testing.assert_array_equal(drawn, ~other)


def test_a_lasso_that_overlaps_its_beginning_leaves_no_hole():
    """The non-zero rule: going round twice is inside, where the even-odd rule would make a hole."""
    square = ((0, 0), (4, 0), (4, 4), (0, 4))
    assert draw(Shape("polygon", "look", square * 2), 4, 4).all()


def test_a_hole_is_made_by_a_bridge_or_by_a_later_shape():
    """An inner ring in the other direction, or "not here" drawn over "look here", takes pixels away."""
    ring = ((0, 0), (5, 0), (5, 5), (0, 5), (0, 0), (1, 1), (1, 4), (4, 4), (4, 1), (1, 1))
    expected = np.ones((5, 5), bool)
    expected[1:4, 1:4] = False
    np.testing.assert_array_equal(draw(Shape("polygon", "look", ring), 5, 5), expected)


def test_a_later_shape_lies_over_an_earlier_one_both_ways():
    """Pixels move from "look here" to "not here" and back; no pixel is ever in both masks."""
    shapes = [
        Shape("box", "look", ((0, 0), (4, 4))),
        Shape("box", "avoid", ((1, 0), (3, 4))),
        Shape("mask", "look", runs=(9, 2, 5)),
        Shape("stroke", "avoid", ((1.5, 2.5),), 0.4),
    ]
    look, avoid = rasterise(shapes, 4, 4)
    np.testing.assert_array_equal(look.astype(int), [[1, 0, 0, 1], [1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1]])
    np.testing.assert_array_equal(avoid.astype(int), [[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]])


def test_no_shapes_give_two_empty_masks():
    """Nothing drawn, nothing marked: two separate masks of the photograph's size."""
    look, avoid = rasterise([], 3, 5)
    assert look.shape == avoid.shape == (3, 5)
    assert look.dtype == avoid.dtype == np.bool_
    assert not look.any()
    assert not avoid.any()
    look[0, 0] = True
    assert not avoid[0, 0]


@pytest.mark.parametrize(
    "shape",
    [
        Shape("stroke", "look", ((2000.98, 1000.02),), 0.01),
        Shape("stroke", "look", ((2000.6, 1000.6), (2000.61, 1000.6)), 0.05),
        Shape("box", "look", ((2000.6, 1000.7), (2000.9, 1000.8))),
        Shape("box", "look", ((2000.2, 1000.2), (2000.2, 1000.2))),
        Shape("polygon", "look", ((2000.6, 1000.6), (2000.9, 1000.6), (2000.9, 1000.9))),
    ],
    ids=["dot", "short stroke", "box", "click", "polygon"],
)
def test_what_is_smaller_than_a_pixel_marks_the_pixel_it_lies_in(shape):
    """At 4288 x 2848 no dot, box or polygon is lost between the centres."""
    assert pixels_of(shape, 2848, 4288) == {(1000, 2000)}


def test_a_microaneurysm_of_three_pixels_survives():
    """Three pixels in a corner of a photograph of 4288 x 2848, drawn as a polygon: these three and no ring."""
    corners = ((4285, 2847), (4288, 2847), (4288, 2848), (4285, 2848))
    assert pixels_of(Shape("polygon", "look", corners), 2848, 4288) == {(2847, column) for column in (4285, 4286, 4287)}


def test_a_sliver_between_the_centres_is_drawn_along_its_whole_length():
    """A box 0.2 pixels high holds no centre; it marks the row it lies in and nothing else."""
    assert pixels_of(Shape("box", "look", ((1.2, 3.1), (5.2, 3.3)))) == {(3, column) for column in range(1, 6)}


@pytest.mark.parametrize(
    "shape",
    [
        Shape("box", "look", ((-9, -9), (-1, 2))),
        Shape("polygon", "look", ((20, 1), (30, 1), (20, 5))),
        Shape("stroke", "look", ((-5, 3), (5, -4)), 0.2),
        Shape("stroke", "look", ((11.2, 9.2),), 0.1),
    ],
)
def test_what_lies_outside_marks_nothing(shape):
    """No pixel at the border is marked in place of one outside."""
    assert not draw(shape).any()


def test_a_shape_that_reaches_far_out_is_cut_off():
    """Coordinates far outside cost nothing and mark what they enclose."""
    assert draw(Shape("box", "look", ((-1e6, -1e6), (1e6, 1e6)))).all()
    assert draw(Shape("stroke", "look", ((-1e6, 5), (1e6, 5)), 1e6)).all()
    drawn = draw(Shape("stroke", "look", ((-1e6, 4.5), (1e6, 4.5)), 0.9))
    np.testing.assert_array_equal(drawn, (np.arange(HEIGHT) == 4)[:, None] & np.ones(WIDTH, bool))


@pytest.mark.parametrize("dy", [0.0, 5e-324, 1e-300, 1e-280, 1.01e-280, 1e-17, 1e-9])
def test_nearly_level_and_nearly_empty_lines_raise_no_warning(dy):
    """Differences down to the smallest number are drawn as the level line and the dot that they are."""
    level = draw(Shape("stroke", "look", ((1.5, 0.0), (6.5, 0.0)), 1.0))
    for points in (((1.5, dy), (6.5, 0.0)), ((1.5, 0.0), (6.5, dy))):
        np.testing.assert_array_equal(draw(Shape("stroke", "look", points, 1.0)), level)
    assert pixels_of(Shape("stroke", "look", ((0.0, 0.0), (dy, dy)), 0.1)) == {(0, 0)}
    assert pixels_of(Shape("polygon", "look", ((0.0, 0.0), (3.0, dy), (dy, 0.0)))) == {(0, 0), (0, 1), (0, 2), (0, 3)}


def test_working_in_small_pieces_changes_nothing(monkeypatch):
    """The number of segments and rows at once is a matter of memory, not of the result."""
    rng = np.random.default_rng(3)
    points = tuple(map(tuple, (rng.random((60, 2)) * 50 - 5).tolist()))
    shapes = [
        Shape("stroke", "look", points, 2.3),
        Shape("polygon", "avoid", points),
        Shape("stroke", "look", points, 0.2),
    ]
    whole = rasterise(shapes, 40, 40)
    monkeypatch.setattr(shapes_module, "_PAIRS", 7)
    monkeypatch.setattr(shapes_module, "_SEGMENTS", 5)
    pieces = rasterise(shapes, 40, 40)
    assert whole[0].any()
    assert whole[1].any()
    np.testing.assert_array_equal(whole, pieces)


def test_many_strokes_on_a_whole_photograph_take_a_second_or_two():
    """100 strokes of 1000 points at 4288 x 2848: seconds of this process, so that a busy machine does not count."""
    rng = np.random.default_rng(0)
    strokes = []
    for number in range(100):
        turns = np.cumsum(rng.normal(0, 0.2, 1000))
        line = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0) * 2 + rng.random(2) * (4288, 2848)
        strokes.append(Shape("stroke", "look" if number % 3 else "avoid", tuple(map(tuple, line.tolist())), 8.0))
    start = time.process_time()
    look, avoid = rasterise(strokes, 2848, 4288)
    assert time.process_time() - start < 4
    assert look.any()
    assert avoid.any()
    assert not (look & avoid).any()
