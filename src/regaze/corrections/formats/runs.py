"""Run lengths of masks: whole frames and small crops of them, rows and columns, without ever filling a frame.

Runs start with the pixels outside (which may be 0), alternate, and sum to height x width; only the first may be 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def crop_of_runs(runs: tuple[int, ...], width: int) -> tuple[NDArray[np.bool_], int, int]:
    """Cut out of a mask the smallest rectangle with everything in it.

    Args:
        runs: Row by row.
        width: Of the frame.

    Returns:
        The rectangle (h, w) bool, its top row, its left column; 0 x 0 for an empty mask.
    """
    ends = np.cumsum(np.asarray(runs, dtype=np.int64))
    starts, stops = ends[:-1][::2], ends[1::2]
    if len(stops) == 0:
        return np.zeros((0, 0), dtype=np.bool_), 0, 0
    top, bottom = int(starts[0]) // width, (int(stops[-1]) - 1) // width + 1
    # The runs between the first and the last pixel inside, with what is missing of the first and last row.
    lengths = np.asarray(runs, dtype=np.int64)[: 2 * len(stops)].copy()
    lengths[0] -= top * width
    inside = np.resize(np.array([False, True]), len(lengths))
    rows = np.zeros((bottom - top, width), dtype=np.bool_)
    flat = np.repeat(inside, lengths)
    rows.reshape(-1)[: len(flat)] = flat
    columns = np.flatnonzero(rows.any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return rows[:, left:right].copy(), top, left


def runs_of_crop(crop: NDArray[np.bool_], top: int, left: int, height: int, width: int) -> tuple[int, ...]:
    """Place a small mask in an empty frame.

    Args:
        crop: (h, w) bool.
        top: Row of the frame where the crop's first row lies; the crop fits into the frame.
        left: Column likewise.
        height: Rows of the frame.
        width: Columns.

    Returns:
        The frame's runs, row by row.
    """
    padded = np.zeros((crop.shape[0], crop.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = crop
    rows, columns = np.nonzero(np.diff(padded, axis=1))
    borders = (rows.astype(np.int64) + top) * width + columns + left
    starts, stops = borders[::2], borders[1::2]
    if len(starts) == 0:
        return (height * width,)
    # A run that ends with a row and one that begins the next are one run.
    apart = stops[:-1] != starts[1:]
    starts, stops = starts[np.r_[True, apart]], stops[np.r_[apart, True]]
    edges = np.empty(2 * len(starts) + 2, dtype=np.int64)
    edges[0], edges[-1], edges[1:-1:2], edges[2:-1:2] = 0, height * width, starts, stops
    lengths: list[int] = np.diff(edges).tolist()
    return tuple(lengths if lengths[-1] else lengths[:-1])


def transpose_runs(runs: tuple[int, ...], height: int, width: int) -> tuple[int, ...]:
    """Turn runs row by row into runs column by column; back: the same with height and width exchanged.

    Args:
        runs: Row by row.
        height: Rows of the frame.
        width: Columns.
    """
    crop, top, left = crop_of_runs(runs, width)
    return runs_of_crop(crop.T, left, top, width, height)


def tidy_runs(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Join what other tools leave apart: runs of 0 between others, and at the end.

    Args:
        counts: (N,) run lengths, outside first.

    Returns:
        The same mask's runs, of which only the first may be 0.
    """
    inside = np.arange(len(counts)) % 2 == 1
    inside, counts = inside[counts > 0], counts[counts > 0]
    if len(counts) == 0:
        return ()
    firsts = np.flatnonzero(np.r_[True, inside[1:] != inside[:-1]])
    lengths: list[int] = np.add.reduceat(counts, firsts).tolist()
    return tuple([0, *lengths] if inside[0] else lengths)
