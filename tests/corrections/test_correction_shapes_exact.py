"""Shapes drawn to masks, against exact arithmetic on every pixel's centre."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regaze.records import Shape
from tests.corrections.shape_pixels import HEIGHT, PATIENT, WIDTH, draw, pixels_of

# Quarter pixels hit centres and corners of pixels exactly; the others hit nothing in particular.
_COORDINATES = st.one_of(
    st.integers(-12, 56).map(lambda quarters: quarters / 4), st.floats(-3, 14, allow_subnormal=False)
)
_POINTS = st.tuples(_COORDINATES, _COORDINATES)


def _exact(points):
    return [(Fraction(x), Fraction(y)) for x, y in points]


def _centres():
    return [
        (row, column, Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2))
        for row in range(HEIGHT)
        for column in range(WIDTH)
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
        for row in range(HEIGHT)
        for column in range(WIDTH)
        if any(_runs_through(row, column, a, b) for a, b in edges)
    }


def test_a_thin_line_has_no_gaps():
    """A brush thinner than a pixel still draws a connected line: every pixel that the line runs through."""
    points = ((0.5, 0.5), (6.5, 3.5))
    assert pixels_of(Shape("stroke", "look", points, 0.01)) == _touched(_segments(points))
    assert pixels_of(Shape("stroke", "look", ((0, 0), (3, 3)), 0.01)) == {(0, 0), (1, 1), (2, 2), (3, 3)}


@PATIENT
@given(st.lists(_POINTS, min_size=1, max_size=5), st.floats(0.05, 6) | st.integers(1, 20).map(lambda n: n / 4))
def test_strokes_agree_with_exact_distances(points, radius):
    """Every pixel is in or out as the exact distance of its centre says, but for ties within 1e-9 of the border."""
    drawn = draw(Shape("stroke", "look", tuple(points), radius))
    segments = _segments(points)
    for row, column, x, y in _centres():
        distance = float(min(_squared_distance(x, y, a, b) for a, b in segments)) ** 0.5
        # A thin brush also draws the pixels that its line runs through.
        on_line = _meets_pixel(x, y, segments) if radius < 0.7 else {False}
        if abs(distance - radius) > 1e-9 and len(on_line) == 1:
            assert drawn[row, column] == (distance < radius or on_line == {True}), (row, column, distance)


@PATIENT
@given(_POINTS, st.integers(1, 24).map(lambda n: n / 4))
def test_a_dot_on_the_grid_is_exact_to_the_border(point, radius):
    """Where every number is exact, so is the border: a centre at exactly the radius is in."""
    x0, y0 = (round(value * 4) / 4 for value in point)
    drawn = draw(Shape("stroke", "look", ((x0, y0),), radius))
    thin = _touched(_segments([(x0, y0)])) if radius < 0.7 else set()
    for row, column, x, y in _centres():
        is_in = (x - Fraction(x0)) ** 2 + (y - Fraction(y0)) ** 2 <= Fraction(radius) ** 2
        assert drawn[row, column] == (is_in or (row, column) in thin)


@PATIENT
@given(st.lists(_POINTS, min_size=3, max_size=7))
def test_polygons_agree_with_exact_winding_numbers(points):
    """Every centre is in or out as an exact count of crossings says, but for ties within 1e-9 of the outline."""
    drawn = draw(Shape("polygon", "look", tuple(points)))
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


@PATIENT
@given(
    st.lists(st.tuples(*[st.integers(-12, 56).map(lambda n: n / 4)] * 2), min_size=3, max_size=6),
    st.lists(st.tuples(*[st.integers(-12, 56).map(lambda n: n / 4)] * 2), min_size=1, max_size=4),
)
def test_polygons_with_a_common_border_neither_overlap_nor_leave_a_gap(points, border):
    """A box cut in two along any zigzag: each centre is in exactly one part, whichever way the parts are drawn."""
    middle = sorted(set(border), key=lambda point: point[1])
    line = [(5.3, -1.0), *((x, y) for x, y in middle if 0 < x < WIDTH and 0 < y < HEIGHT), (4.1, 10.0)]
    left = Shape("polygon", "look", ((-1, -1), *line, (-1, 10)))
    right = Shape("polygon", "look", ((12, -1), (12, 10), *line[::-1]))
    np.testing.assert_array_equal(draw(left), ~draw(right))
    # And a triangle is the same wherever its outline begins and whichever way it runs.
    corners = tuple(points)
    turned = Shape("polygon", "look", corners[1:] + corners[:1])
    np.testing.assert_array_equal(draw(Shape("polygon", "look", corners)), draw(turned))
    np.testing.assert_array_equal(draw(Shape("polygon", "look", corners[::-1])), draw(turned))


@PATIENT
@given(_POINTS, _POINTS)
def test_a_box_is_the_polygon_of_its_corners(one, other):
    """Both ways of drawing a rectangle give the same pixels, and exactly the centres between the edges."""
    (x0, y0), (x1, y1) = one, other
    drawn = draw(Shape("box", "look", (one, other)))
    polygon = Shape("polygon", "look", ((x1, y1), (x0, y1), (x0, y0), (x1, y0)))
    np.testing.assert_array_equal(drawn, draw(polygon))
    left, right = sorted((Fraction(x0), Fraction(x1)))
    top, bottom = sorted((Fraction(y0), Fraction(y1)))
    inside = {(row, column) for row, column, x, y in _centres() if left <= x < right and top <= y < bottom}
    if inside:
        assert pixels_of(Shape("box", "look", (one, other))) == inside


@PATIENT
@given(st.data())
def test_what_touches_the_photograph_marks_it(data):
    """A shape with one point inside marks at least one pixel, however thin it is and wherever its other points lie."""
    inside = st.tuples(st.floats(0, WIDTH, exclude_max=True), st.floats(0, HEIGHT, exclude_max=True))
    points = [data.draw(inside), *data.draw(st.lists(_POINTS, min_size=2, max_size=4))]
    kind = data.draw(st.sampled_from(["stroke", "polygon", "box"]))
    shape = Shape(kind, "look", tuple(points[:2] if kind == "box" else points), 0.3 if kind == "stroke" else 0.0)
    assert draw(shape).any()


@PATIENT
@given(st.lists(_POINTS, min_size=3, max_size=5), st.integers(0, 2), st.integers(0, 2), st.floats(0.8, 5))
def test_cutting_off_does_not_change_what_is_inside(points, dx, dy, radius):
    """Drawn on a larger photograph and cropped, a stroke is what it is when drawn on the crop."""
    grid = [(round(x * 4) / 4, round(y * 4) / 4) for x, y in points]
    large = draw(Shape("stroke", "look", tuple((x + dx, y + dy) for x, y in grid), radius), 20, 20)
    small = draw(Shape("stroke", "look", tuple(grid), radius))
    differs = large[dy : dy + HEIGHT, dx : dx + WIDTH] != small
    for row, column in zip(*np.nonzero(differs), strict=True):  # ties only
        centre = Fraction(int(column) * 2 + 1, 2), Fraction(int(row) * 2 + 1, 2)
        distance = float(min(_squared_distance(*centre, a, b) for a, b in _segments(grid))) ** 0.5
        assert abs(distance - radius) < 1e-9
