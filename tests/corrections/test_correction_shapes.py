"""Shapes drawn to masks: by hand, and against exact arithmetic on every pixel's centre."""

import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from regaze.corrections import shapes as shapes_module
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.records import Shape

# A busy machine is slow; that is no fault of the code.
_PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
_HEIGHT, _WIDTH = 9, 11

# Quarter pixels hit centres and corners of pixels exactly; the others hit nothing in particular.
_COORDINATES = st.one_of(
    st.integers(-12, 56).map(lambda quarters: quarters / 4), st.floats(-3, 14, allow_subnormal=False)
)
_POINTS = st.tuples(_COORDINATES, _COORDINATES)


def _drawn(shape, height=_HEIGHT, width=_WIDTH):
    look, avoid = rasterise([shape], height, width)
    assert not avoid.any()
    return look


def _pixels(shape, height=_HEIGHT, width=_WIDTH):
    return {(int(row), int(column)) for row, column in zip(*np.nonzero(_drawn(shape, height, width)), strict=True)}


def _exact(points):
    return [(Fraction(x), Fraction(y)) for x, y in points]


def _centres():
    return [
        (row, column, Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2))
        for row in range(_HEIGHT)
        for column in range(_WIDTH)
    ]


def _squared_distance(x, y, a, b):
    """From a point to a segment, in exact numbers."""
    (ax, ay), (bx, by) = a, b
    dx, dy = bx - ax, by - ay
    squared = dx * dx + dy * dy
    t = min(max(((x - ax) * dx + (y - ay) * dy) / squared, Fraction(0)), Fraction(1)) if squared else Fraction(0)
    return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2


def _segments(points):
    points = _exact(points)
    return list(pairwise(points)) or [(points[0], points[0])]


def _winding(x, y, edges):
    """How often edges run around a point: those that cross the ray to its left, which is closed at the point."""
    total = 0
    for (ax, ay), (bx, by) in edges:
        if (ay <= y) != (by <= y):
            crossing = ax + (y - ay) * (bx - ax) / (by - ay)
            if crossing <= x:
                total += 1 if ay <= y else -1
    return total


def _runs_through(row, column, a, b):
    """Whether a segment has a point in a pixel (with its upper and left edges), in exact numbers."""
    low, high = Fraction(0), Fraction(1)
    low_open = high_open = False
    for start, end, edge in ((a[0], b[0], column), (a[1], b[1], row)):
        step = end - start
        if step == 0:
            if not edge <= start < edge + 1:
                return False
            continue
        t0, t1 = (edge - start) / step, (edge + 1 - start) / step
        enter, leave, enter_open, leave_open = (t0, t1, False, True) if step > 0 else (t1, t0, True, False)
        if (enter, enter_open) > (low, low_open):
            low, low_open = enter, enter_open
        if (leave, not leave_open) < (high, not high_open):
            high, high_open = leave, leave_open
    return low < high or (low == high and not low_open and not high_open)


def _touched(edges):
    return {
        (row, column)
        for row in range(_HEIGHT)
        for column in range(_WIDTH)
        if any(_runs_through(row, column, a, b) for a, b in edges)
    }


def test_a_box_of_whole_pixels_is_these_pixels():
    """Corners (1, 1) and (3, 2) hold the centres of two pixels, and the next pixels' edges do not count."""
    assert _pixels(Shape("box", True, ((1, 1), (3, 2)))) == {(1, 1), (1, 2)}
    for corners in (((3, 2), (1, 1)), ((1, 2), (3, 1)), ((3, 1), (1, 2))):  # any two opposite ones
        assert _pixels(Shape("box", True, corners)) == {(1, 1), (1, 2)}


def test_centres_on_the_edge_belong_to_the_right_and_the_lower_side():
    """A box from centre to centre keeps its left and upper ones, so that two boxes side by side share none."""
    assert _pixels(Shape("box", True, ((0.5, 0.5), (2.5, 1.5)))) == {(0, 0), (0, 1)}
    assert _pixels(Shape("box", True, ((2.5, 0.5), (4.5, 1.5)))) == {(0, 2), (0, 3)}


def test_a_round_brush_keeps_the_pixels_whose_centres_it_reaches():
    """Radius 1 around a pixel's centre is a plus of five (the border counts); just below 1, one pixel."""
    plus = {(2, 2), (1, 2), (3, 2), (2, 1), (2, 3)}
    assert _pixels(Shape("stroke", True, ((2.5, 2.5),), 1.0), 5, 5) == plus
    assert _pixels(Shape("stroke", True, ((2.5, 2.5),), 0.999), 5, 5) == {(2, 2)}
    block = {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert _pixels(Shape("stroke", True, ((2.5, 2.5),), 1.5), 5, 5) == block


def test_a_stroke_has_round_ends():
    """A level line of radius 1 reaches one pixel beyond its ends, but not in the rows above and below."""
    drawn = _drawn(Shape("stroke", True, ((1.5, 1.5), (3.5, 1.5)), 1.0), 3, 5)
    np.testing.assert_array_equal(drawn.astype(int), [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]])
    upright = _drawn(Shape("stroke", True, ((1.5, 3.5), (1.5, 1.5)), 1.0), 5, 3)
    np.testing.assert_array_equal(upright, drawn.T)


def test_a_triangle_by_hand():
    """The lower left half of 4 x 4 pixels: centres on the slanted side lie on its lower left, so they are out."""
    drawn = _drawn(Shape("polygon", True, ((0, 0), (4, 4), (0, 4))), 4, 4)
    np.testing.assert_array_equal(drawn.astype(int), np.tri(4, k=-1, dtype=int))
    other = _drawn(Shape("polygon", True, ((0, 0), (4, 0), (4, 4))), 4, 4)
    np.testing.assert_array_equal(drawn, ~other)


def test_a_lasso_that_overlaps_its_beginning_leaves_no_hole():
    """The non-zero rule: going round twice is inside, where the even-odd rule would make a hole."""
    square = ((0, 0), (4, 0), (4, 4), (0, 4))
    assert _drawn(Shape("polygon", True, square * 2), 4, 4).all()


def test_a_hole_is_made_by_a_bridge_or_by_a_later_shape():
    """An inner ring in the other direction, or "not here" drawn over "look here", takes pixels away."""
    ring = ((0, 0), (5, 0), (5, 5), (0, 5), (0, 0), (1, 1), (1, 4), (4, 4), (4, 1), (1, 1))
    expected = np.ones((5, 5), bool)
    expected[1:4, 1:4] = False
    np.testing.assert_array_equal(_drawn(Shape("polygon", True, ring), 5, 5), expected)


def test_a_later_shape_lies_over_an_earlier_one_both_ways():
    """Pixels move from "look here" to "not here" and back; no pixel is ever in both masks."""
    shapes = [
        Shape("box", True, ((0, 0), (4, 4))),
        Shape("box", False, ((1, 0), (3, 4))),
        Shape("mask", True, runs=(9, 2, 5)),
        Shape("stroke", False, ((1.5, 2.5),), 0.4),
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
        Shape("stroke", True, ((2000.98, 1000.02),), 0.01),
        Shape("stroke", True, ((2000.6, 1000.6), (2000.61, 1000.6)), 0.05),
        Shape("box", True, ((2000.6, 1000.7), (2000.9, 1000.8))),
        Shape("box", True, ((2000.2, 1000.2), (2000.2, 1000.2))),
        Shape("polygon", True, ((2000.6, 1000.6), (2000.9, 1000.6), (2000.9, 1000.9))),
    ],
    ids=["dot", "short stroke", "box", "click", "polygon"],
)
def test_what_is_smaller_than_a_pixel_marks_the_pixel_it_lies_in(shape):
    """At 4288 x 2848 no dot, box or polygon is lost between the centres."""
    assert _pixels(shape, 2848, 4288) == {(1000, 2000)}


def test_a_microaneurysm_of_three_pixels_survives():
    """Three pixels in a corner of a photograph of 4288 x 2848, drawn as a polygon: these three and no ring."""
    corners = ((4285, 2847), (4288, 2847), (4288, 2848), (4285, 2848))
    assert _pixels(Shape("polygon", True, corners), 2848, 4288) == {(2847, column) for column in (4285, 4286, 4287)}


def test_a_thin_line_has_no_gaps():
    """A brush thinner than a pixel still draws a connected line: every pixel that the line runs through."""
    points = ((0.5, 0.5), (6.5, 3.5))
    assert _pixels(Shape("stroke", True, points, 0.01)) == _touched(_segments(points))
    assert _pixels(Shape("stroke", True, ((0, 0), (3, 3)), 0.01)) == {(0, 0), (1, 1), (2, 2), (3, 3)}


def test_a_sliver_between_the_centres_is_drawn_along_its_whole_length():
    """A box 0.2 pixels high holds no centre; it marks the row it lies in and nothing else."""
    assert _pixels(Shape("box", True, ((1.2, 3.1), (5.2, 3.3)))) == {(3, column) for column in range(1, 6)}


@_PATIENT
@given(st.lists(_POINTS, min_size=1, max_size=5), st.floats(0.05, 6) | st.integers(1, 20).map(lambda n: n / 4))
def test_strokes_agree_with_exact_distances(points, radius):
    """Every pixel is in or out as the exact distance of its centre says, but for ties within 1e-9 of the border."""
    drawn = _drawn(Shape("stroke", True, tuple(points), radius))
    segments = _segments(points)
    for row, column, x, y in _centres():
        distance = float(min(_squared_distance(x, y, a, b) for a, b in segments)) ** 0.5
        # A thin brush also draws the pixels that its line runs through.
        on_line = _meets_pixel(x, y, segments) if radius < 0.7 else {False}
        if abs(distance - radius) > 1e-9 and len(on_line) == 1:
            assert drawn[row, column] == (distance < radius or on_line == {True}), (row, column, distance)


@_PATIENT
@given(_POINTS, st.integers(1, 24).map(lambda n: n / 4))
def test_a_dot_on_the_grid_is_exact_to_the_border(point, radius):
    """Where every number is exact, so is the border: a centre at exactly the radius is in."""
    x0, y0 = (round(value * 4) / 4 for value in point)
    drawn = _drawn(Shape("stroke", True, ((x0, y0),), radius))
    thin = _touched(_segments([(x0, y0)])) if radius < 0.7 else set()
    for row, column, x, y in _centres():
        is_in = (x - Fraction(x0)) ** 2 + (y - Fraction(y0)) ** 2 <= Fraction(radius) ** 2
        assert drawn[row, column] == (is_in or (row, column) in thin)


@_PATIENT
@given(st.lists(_POINTS, min_size=3, max_size=7))
def test_polygons_agree_with_exact_winding_numbers(points):
    """Every centre is in or out as an exact count of crossings says, but for ties within 1e-9 of the outline."""
    drawn = _drawn(Shape("polygon", True, tuple(points)))
    corners = _exact(points)
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    inside = {(row, column) for row, column, x, y in _centres() if _winding(x, y, edges)}
    near = {
        (row, column)
        for row, column, x, y in _centres()
        if min(_squared_distance(x, y, a, b) for a, b in edges) < Fraction(1, 10**18)
    }
    wrong = {(row, column) for row, column, *_ in _centres() if drawn[row, column] != ((row, column) in inside)}
    if not wrong <= near:  # then it held no centre, and its outline was drawn
        assert inside <= near
        for row, column, x, y in _centres():
            on_outline = _meets_pixel(x, y, edges)
            assert len(on_outline) == 2 or on_outline == {bool(drawn[row, column])}, (row, column)


def _meets_pixel(x, y, segments):
    """Whether segments run through the pixel around a centre; both answers where they touch its border within 1e-9."""
    slack = Fraction(1, 10**9)
    return {any(_meets_square(x, y, Fraction(1, 2) + sign * slack, a, b) for a, b in segments) for sign in (1, -1)}


def _meets_square(x, y, half, a, b):
    """Whether a segment meets the closed square around a point, in exact numbers."""
    low, high = Fraction(0), Fraction(1)
    for start, end, middle in ((a[0], b[0], x), (a[1], b[1], y)):
        step = end - start
        if step == 0:
            if abs(start - middle) > half:
                return False
            continue
        t0, t1 = sorted(((middle - half - start) / step, (middle + half - start) / step))
        low, high = max(low, t0), min(high, t1)
    return low <= high


@_PATIENT
@given(
    st.lists(st.tuples(*[st.integers(-12, 56).map(lambda n: n / 4)] * 2), min_size=3, max_size=6),
    st.lists(st.tuples(*[st.integers(-12, 56).map(lambda n: n / 4)] * 2), min_size=1, max_size=4),
)
def test_polygons_with_a_common_border_neither_overlap_nor_leave_a_gap(points, border):
    """A box cut in two along any zigzag: each centre is in exactly one part, whichever way the parts are drawn."""
    middle = sorted(set(border), key=lambda point: point[1])
    line = [(5.3, -1.0), *((x, y) for x, y in middle if 0 < x < _WIDTH and 0 < y < _HEIGHT), (4.1, 10.0)]
    left = Shape("polygon", True, ((-1, -1), *line, (-1, 10)))
    right = Shape("polygon", True, ((12, -1), (12, 10), *line[::-1]))
    np.testing.assert_array_equal(_drawn(left), ~_drawn(right))
    # And a triangle is the same wherever its outline begins and whichever way it runs.
    corners = tuple(points)
    turned = Shape("polygon", True, corners[1:] + corners[:1])
    np.testing.assert_array_equal(_drawn(Shape("polygon", True, corners)), _drawn(turned))
    np.testing.assert_array_equal(_drawn(Shape("polygon", True, corners[::-1])), _drawn(turned))


@_PATIENT
@given(_POINTS, _POINTS)
def test_a_box_is_the_polygon_of_its_corners(one, other):
    """Both ways of drawing a rectangle give the same pixels, and exactly the centres between the edges."""
    (x0, y0), (x1, y1) = one, other
    drawn = _drawn(Shape("box", True, (one, other)))
    polygon = Shape("polygon", True, ((x1, y1), (x0, y1), (x0, y0), (x1, y0)))
    np.testing.assert_array_equal(drawn, _drawn(polygon))
    left, right = sorted((Fraction(x0), Fraction(x1)))
    top, bottom = sorted((Fraction(y0), Fraction(y1)))
    inside = {(row, column) for row, column, x, y in _centres() if left <= x < right and top <= y < bottom}
    if inside:
        assert _pixels(Shape("box", True, (one, other))) == inside


@_PATIENT
@given(st.data())
def test_what_touches_the_photograph_marks_it(data):
    """A shape with one point inside marks at least one pixel, however thin it is and wherever its other points lie."""
    inside = st.tuples(st.floats(0, _WIDTH, exclude_max=True), st.floats(0, _HEIGHT, exclude_max=True))
    points = [data.draw(inside), *data.draw(st.lists(_POINTS, min_size=2, max_size=4))]
    kind = data.draw(st.sampled_from(["stroke", "polygon", "box"]))
    shape = Shape(kind, True, tuple(points[:2] if kind == "box" else points), 0.3 if kind == "stroke" else 0.0)
    assert _drawn(shape).any()


@_PATIENT
@given(st.lists(_POINTS, min_size=3, max_size=5), st.integers(0, 2), st.integers(0, 2), st.floats(0.8, 5))
def test_cutting_off_does_not_change_what_is_inside(points, dx, dy, radius):
    """Drawn on a larger photograph and cropped, a stroke is what it is when drawn on the crop."""
    grid = [(round(x * 4) / 4, round(y * 4) / 4) for x, y in points]
    large = _drawn(Shape("stroke", True, tuple((x + dx, y + dy) for x, y in grid), radius), 20, 20)
    small = _drawn(Shape("stroke", True, tuple(grid), radius))
    differs = large[dy : dy + _HEIGHT, dx : dx + _WIDTH] != small
    for row, column in zip(*np.nonzero(differs), strict=True):  # ties only
        centre = Fraction(int(column) * 2 + 1, 2), Fraction(int(row) * 2 + 1, 2)
        distance = float(min(_squared_distance(*centre, a, b) for a, b in _segments(grid))) ** 0.5
        assert abs(distance - radius) < 1e-9


@pytest.mark.parametrize(
    "shape",
    [
        Shape("box", True, ((-9, -9), (-1, 2))),
        Shape("polygon", True, ((20, 1), (30, 1), (20, 5))),
        Shape("stroke", True, ((-5, 3), (5, -4)), 0.2),
        Shape("stroke", True, ((11.2, 9.2),), 0.1),
    ],
)
def test_what_lies_outside_marks_nothing(shape):
    """No pixel at the border is marked in place of one outside."""
    assert not _drawn(shape).any()


def test_a_shape_that_reaches_far_out_is_cut_off():
    """Coordinates far outside cost nothing and mark what they enclose."""
    assert _drawn(Shape("box", True, ((-1e6, -1e6), (1e6, 1e6)))).all()
    assert _drawn(Shape("stroke", True, ((-1e6, 5), (1e6, 5)), 1e6)).all()
    drawn = _drawn(Shape("stroke", True, ((-1e6, 4.5), (1e6, 4.5)), 0.9))
    np.testing.assert_array_equal(drawn, (np.arange(_HEIGHT) == 4)[:, None] & np.ones(_WIDTH, bool))


@pytest.mark.parametrize("dy", [0.0, 5e-324, 1e-300, 1e-280, 1.01e-280, 1e-17, 1e-9])
def test_nearly_level_and_nearly_empty_lines_raise_no_warning(dy):
    """Differences down to the smallest number are drawn as the level line and the dot that they are."""
    level = _drawn(Shape("stroke", True, ((1.5, 0.0), (6.5, 0.0)), 1.0))
    for points in (((1.5, dy), (6.5, 0.0)), ((1.5, 0.0), (6.5, dy))):
        np.testing.assert_array_equal(_drawn(Shape("stroke", True, points, 1.0)), level)
    assert _pixels(Shape("stroke", True, ((0.0, 0.0), (dy, dy)), 0.1)) == {(0, 0)}
    assert _pixels(Shape("polygon", True, ((0.0, 0.0), (3.0, dy), (dy, 0.0)))) == {(0, 0), (0, 1), (0, 2), (0, 3)}


def test_working_in_small_pieces_changes_nothing(monkeypatch):
    """The number of segments and rows at once is a matter of memory, not of the result."""
    rng = np.random.default_rng(3)
    points = tuple(map(tuple, (rng.random((60, 2)) * 50 - 5).tolist()))
    shapes = [Shape("stroke", True, points, 2.3), Shape("polygon", False, points), Shape("stroke", True, points, 0.2)]
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
        strokes.append(Shape("stroke", number % 3 > 0, tuple(map(tuple, line.tolist())), 8.0))
    start = time.process_time()
    look, avoid = rasterise(strokes, 2848, 4288)
    assert time.process_time() - start < 4
    assert look.any()
    assert avoid.any()
    assert not (look & avoid).any()


def test_runs_by_hand():
    """Runs go row by row and begin outside, with 0 where the first pixel is inside."""
    assert mask_to_runs(np.array([[False, True], [True, False]])) == (1, 2, 1)
    assert mask_to_runs(np.array([[True, False], [False, True]])) == (0, 1, 2, 1)
    assert mask_to_runs(np.zeros((2, 3), bool)) == (6,)
    assert mask_to_runs(np.ones((2, 3), bool)) == (0, 6)
    np.testing.assert_array_equal(_drawn(Shape("mask", True, runs=(1, 2, 1)), 2, 2), [[False, True], [True, False]])


@_PATIENT
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)), st.booleans())
def test_runs_and_masks_are_two_ways_to_say_the_same(mask, as_view):
    """Back and forth without loss, also for a transposed view; and a mask shape draws exactly that mask."""
    mask = mask.T if as_view else mask
    runs = mask_to_runs(mask)
    assert all(isinstance(run, int) for run in runs)
    assert sum(runs) == mask.size
    assert all(run > 0 for run in runs[1:])
    np.testing.assert_array_equal(_drawn(Shape("mask", True, runs=runs), *mask.shape), mask)


def test_runs_of_another_size_are_refused():
    """Runs that do not fill the photograph are refused."""
    with pytest.raises(CorrectionError, match=r"sum to 5, expected 2 x 3 = 6"):
        rasterise([Shape("mask", True, runs=(2, 3))], 2, 3)
    with pytest.raises(CorrectionError, match=r"shape 2 \(mask\) has runs that sum to 7"):
        rasterise([Shape("box", True, ((0, 0), (1, 1))), Shape("mask", True, runs=(7,))], 2, 3)
