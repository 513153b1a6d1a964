"""What an expert drew, as masks.

Invariant: the same shapes give the same two masks on every machine, by these rules and no library's:

* A pixel belongs to a stroke when its centre lies at most `radius` from the stroke's line. A brush thinner than a
  pixel (radius below half a pixel's diagonal) also marks every pixel that its line runs through.
* A pixel belongs to a polygon when its centre lies inside: where the outline winds around it (the non-zero rule, as a
  canvas fills), so that a lasso that overlaps its own beginning leaves no hole. A centre exactly on the outline belongs
  to the inside on its right or below it; polygons that share an edge neither overlap nor leave a gap.
* A box is the polygon of its four corners.
* A box or polygon that holds no centre of the photograph marks the pixels of it that its outline runs through. With
  the second sentence on strokes this means: what touches the photograph marks at least one pixel.
* Later shapes lie over earlier ones, pixel by pixel: a pixel says what the last shape that it belongs to says, and
  nothing where that one erases or there is none. What lies outside the photograph is cut off.

Centres closer than about 1e-9 pixels to a slanted border are decided by rounding. OpenCV is not used here, because it
rounds a vertex to 1/2^shift pixels and draws the outline's own pixels as well, which thickens a microaneurysm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.shape_checks import check_shapes
from regaze.records import Mark, Shape

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Spans = tuple[_Ints, _Ints]  # first and past-the-last flat index of runs of pixels

# What a shape writes on the pixels that belong to it; 0, as everywhere before, says nothing.
_VALUES: dict[Mark, int] = {"erase": 0, "look": 1, "avoid": 2}

# Any line that runs through a pixel passes its centre within half the diagonal.
_HALF_DIAGONAL = math.sqrt(0.5)

# Keeps a division finite, and the product of its result with any coordinate too.
_TINY = 1e-280

# Pairs of a segment and a row, and segments, that are worked on at once: what a processor's cache holds.
_PAIRS, _SEGMENTS = 1 << 15, 1 << 12


def rasterise(
    shapes: Sequence[Shape], height: int, width: int, what: str = "shapes"
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw shapes in order, by the rules at the top of this module.

    Args:
        shapes: In original pixels, centre of the top-left pixel at (0.5, 0.5); a later one lies over an earlier one.
        height: Rows of the photograph.
        width: Columns of the photograph.
        what: Names the shapes in the message.

    Returns:
        Two (height, width) bool masks in original pixels that share no pixel: "look here" and "not here". What was
        erased last, or never drawn on, is in neither.

    Raises:
        CorrectionError: A shape makes no sense, see `shape_checks.check_shapes`.
    """
    check_shapes(shapes, height, width, what)
    values = np.zeros(height * width, dtype=np.uint8)
    for shape in shapes:
        value = _VALUES[shape.mark]
        for starts, stops in _spans(shape, height, width):
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                values[start:stop] = value
    photograph = values.reshape(height, width)
    return photograph == _VALUES["look"], photograph == _VALUES["avoid"]


def mask_to_runs(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Count the runs of equal pixels of a mask (H, W), row by row, as `Shape.runs` holds them."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts_inside = [0] if flat.size and flat[0] else []
    edges = np.concatenate([np.array([0, *starts_inside]), changes, [flat.size]])
    return tuple(np.diff(edges).tolist())


def _spans(shape: Shape, height: int, width: int) -> Iterator[_Spans]:
    """The runs of flat pixel indices that a shape marks; several may share pixels."""
    if shape.kind == "mask":
        ends = np.cumsum(shape.runs)
        yield ends[:-1:2], ends[1::2]
        return
    points = np.asarray(shape.points, dtype=np.float64).reshape(-1, 2)
    if shape.kind == "stroke":
        # A line of one point is a segment from the point to itself.
        starts, stops = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
        yield from _brush(starts, stops, shape.radius, height, width)
        if shape.radius < _HALF_DIAGONAL:
            yield from _line(starts, stops, height, width)
        return
    if shape.kind == "box":
        (x0, y0), (x1, y1) = points
        points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    nexts = np.roll(points, -1, axis=0)
    is_empty = True
    for spans in _polygon(points, nexts, height, width):
        is_empty = is_empty and not len(spans[0])
        yield spans
    if is_empty:
        yield from _line(points, nexts, height, width)


def _polygon(starts: _Floats, stops: _Floats, height: int, width: int) -> Iterator[_Spans]:
    """Pixels whose centres a closed outline winds around.

    Each edge that crosses the line through a row's centres changes the winding number from the crossing on.
    """
    is_down = starts[:, 1] < stops[:, 1]
    # From top to bottom whichever way it was drawn, so that neighbours round a shared edge alike.
    (ax, ay), (bx, by) = _top_first(starts, stops)
    first, last = _rows(np.ceil(ay - 0.5), np.ceil(by - 0.5), height)
    slope = _slope(ax, ay, bx, by)
    for which, row in _pairs(first, last, height):
        x = ax[which] + (row + 0.5 - ay[which]) * slope[which]
        keys = _flat(row, np.ceil(x - 0.5), width)
        yield _covered(keys[is_down[which]], keys[~is_down[which]])


def _brush(starts: _Floats, stops: _Floats, radius: float, height: int, width: int) -> Iterator[_Spans]:
    """Pixels whose centres lie at most `radius` from one of the segments.

    The points that near to a segment are a convex set, hence one interval in every row. Either end of it is a point at
    distance `radius` from the nearest point of the segment, which is found first: `down` rows below the upper end.
    """
    if len(starts) > _SEGMENTS:
        for i in range(0, len(starts), _SEGMENTS):
            yield from _brush(starts[i : i + _SEGMENTS], stops[i : i + _SEGMENTS], radius, height, width)
        return
    (ax, ay), (bx, by) = _top_first(starts, stops)
    slope, dy = _slope(ax, ay, bx, by), by - ay
    # Of a level segment the left and the right end matter; it has no upper one.
    is_level = dy <= _TINY
    leftmost, rightmost = np.where(is_level, np.minimum(ax, bx), ax), np.where(is_level, np.maximum(ax, bx), ax)
    tangent = radius * (bx - ax) / np.maximum(np.hypot(bx - ax, dy), _TINY)  # rows from the segment to its left side
    first, last = _rows(np.ceil(ay - radius - 0.5), np.floor(by + radius - 0.5) + 1, height)
    for which, row in _pairs(first, last, height):
        y, length = row + 0.5 - ay[which], dy[which]
        columns = []
        for end_x, sign in ((leftmost, -1.0), (rightmost, 1.0)):
            down = np.minimum(np.maximum(y + sign * tangent[which], 0.0), length)
            half = np.sqrt(np.maximum(radius * radius - (y - down) ** 2, 0.0))
            columns.append(end_x[which] + down * slope[which] + sign * half - 0.5)
        start = np.ceil(columns[0])
        yield _covered(_flat(row, start, width), _flat(row, np.maximum(np.floor(columns[1]) + 1, start), width))


def _line(starts: _Floats, stops: _Floats, height: int, width: int) -> Iterator[_Spans]:
    """Pixels (with their upper and left edges, without the others) that one of the segments runs through."""
    (ax, ay), (bx, by) = _top_first(starts, stops)
    first, last = _rows(np.floor(ay), np.floor(by) + 1, height)
    slope = _slope(ax, ay, bx, by)
    for which, row in _pairs(first, last, height):
        begins, ends = ay[which] >= row, by[which] < row + 1  # in this row
        low, high = np.minimum(ax, bx)[which], np.maximum(ax, bx)[which]
        enter = np.clip(ax[which] + (row - ay[which]) * slope[which], low, high)
        leave = np.clip(ax[which] + (row + 1 - ay[which]) * slope[which], low, high)
        enter, leave = np.where(begins, ax[which], enter), np.where(ends, bx[which], leave)
        # The point where a line leaves a row belongs to the next row, unless the line ends before.
        stop = np.where(ends | (leave <= enter), np.floor(np.maximum(enter, leave)) + 1, np.ceil(leave))
        start = np.floor(np.minimum(enter, leave))
        yield _covered(_flat(row, start, width), _flat(row, np.maximum(stop, start + 1), width))


def _top_first(starts: _Floats, stops: _Floats) -> tuple[_Floats, _Floats]:
    """Upper and lower ends of segments: two (2, n) arrays, x and y in their rows."""
    is_up = (starts[:, 1] > stops[:, 1])[:, None]
    return np.where(is_up, stops, starts).T, np.where(is_up, starts, stops).T


def _slope(ax: _Floats, ay: _Floats, bx: _Floats, by: _Floats) -> _Floats:
    """Columns per row of each segment; 0 for a level one, which is never followed from row to row."""
    return np.where(by - ay > _TINY, (bx - ax) / np.maximum(by - ay, _TINY), 0.0)


def _rows(first: _Floats, last: _Floats, height: int) -> tuple[_Ints, _Ints]:
    """First and past-the-last row of each segment, within the photograph."""
    start = np.clip(first, 0, height).astype(np.int64)
    return start, np.maximum(start, np.clip(last, 0, height).astype(np.int64))


def _pairs(first: _Ints, last: _Ints, height: int) -> Iterator[tuple[_Ints, _Ints]]:
    """Pair every segment with every row it concerns, whole rows at a time, about `_PAIRS` pairs at once.

    Yields:
        Two (n,) arrays: number of the segment, number of the row.
    """
    change = np.bincount(first, minlength=height + 1) - np.bincount(last, minlength=height + 1)
    n_before = np.concatenate([[0], np.cumsum(np.cumsum(change)[:height])])
    if not n_before[-1]:
        return
    bands = np.unique(np.searchsorted(n_before, np.arange(0, n_before[-1], _PAIRS), side="right") - 1)
    for top, bottom in zip(bands, [*bands[1:], height], strict=True):
        start = np.maximum(first, top)
        counts = np.maximum(np.minimum(last, bottom) - start, 0)
        which = np.repeat(np.arange(len(first)), counts)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield which, start[which] + offset


def _flat(row: _Ints, column: _Floats, width: int) -> _Ints:
    """Flat index of a pixel; a column outside the photograph becomes its nearest border."""
    return row * width + np.clip(column, 0, width).astype(np.int64)


def _covered(plus: _Ints, minus: _Ints) -> _Spans:
    """Runs of pixels where the number of `plus` at or before them differs from that of `minus`.

    As many of both must be given. One plain sort of keys that carry their sign in the lowest bit is several times
    faster than sorting the signs along with the keys.
    """
    keys = np.concatenate([plus * 2, minus * 2 + 1]).astype(np.int32)  # at most 2 * MAX_PIXELS + 1, far below 2^31
    keys.sort()
    depth = np.cumsum(1 - 2 * (keys & 1))
    keys >>= 1
    is_last = np.ones(len(keys), dtype=np.bool_)  # of equal keys, after which the depth is that of the pixel
    is_last[:-1] = keys[1:] > keys[:-1]
    keys, is_inside = keys[is_last], depth[is_last] != 0
    turns = np.diff(is_inside, prepend=False)
    return keys[turns & is_inside], keys[turns & ~is_inside]
