"""Where the photograph lies in the square; the bars that pad it to a square are no picture.

Invariant: whatever a measure counts (pixels, cells, energy, steps) it counts inside the picture, so that a figure is
what it would be on the photograph without its bars. Else a map that knows nothing but where the bars are would have, in
a picture that fills three quarters of its square, an enrichment of 1.33.

Frame: cropped pixels (the square that `data.geometry` makes).
"""

from __future__ import annotations

Picture = tuple[slice, slice]
"""Rows and columns of a square array that hold the photograph: `values[picture]` is the picture alone."""

WHOLE: Picture = (slice(None), slice(None))
"""The picture of a photograph without bars."""


def picture_cells(picture: Picture, side: int, grid: tuple[int, int]) -> Picture:
    """The picture on a coarser or finer grid over the same square: every cell that holds any of it.

    Args:
        picture: In cropped pixels.
        side: Side of the square in cropped pixels.
        grid: (h, w) cells.
    """
    rows, columns = (_cells(part, side, cells) for part, cells in zip(picture, grid, strict=True))
    return rows, columns


def _cells(part: slice, side: int, cells: int) -> slice:
    start, stop, _ = part.indices(side)
    return slice(start * cells // side, -(-stop * cells // side))
