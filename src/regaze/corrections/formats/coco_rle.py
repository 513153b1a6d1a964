"""COCO's run lengths: column by column, as a list of numbers or packed into a text.

The text is that of the COCO API (https://github.com/cocodataset/cocoapi, `common/maskApi.c`, `rleToString`): from the
fourth run on, the difference to the run two before; five bits a character, least first; the sixth bit says that more
follow, the highest of the last five is the sign; 48 is added to each to make it a letter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.runs import tidy_runs, transpose_runs
from regaze.records import MAX_PIXELS

# Five bits each: enough for the difference of two runs of MAX_PIXELS (28 bits with its sign).
_MAX_LETTERS = 6


def encode_counts(runs: tuple[int, ...], height: int, width: int) -> str:
    """Pack a mask as the COCO API does, byte for byte.

    Args:
        runs: Row by row (`Shape.runs`).
        height: Rows.
        width: Columns.

    Returns:
        `counts` of a compressed RLE.
    """
    values = np.asarray(transpose_runs(runs, height, width), dtype=np.int64)
    values[3:] -= values[1:-2].copy()
    letters = np.zeros((len(values), _MAX_LETTERS), dtype=np.uint8)
    used = np.zeros(letters.shape, dtype=np.bool_)
    open_ = np.ones(len(values), dtype=np.bool_)
    for position in range(_MAX_LETTERS):
        low = values & 31
        values = values >> 5
        more = np.where(low & 16, values != -1, values != 0)
        letters[:, position] = (low | (more << 5)) + 48
        used[:, position] = open_
        open_ = open_ & more
    assert not open_.any()
    return letters[used].tobytes().decode("ascii")


def decode_counts(counts: str | Sequence[int], height: int, width: int) -> tuple[int, ...]:
    """Read a mask of either spelling.

    Args:
        counts: The text of a compressed RLE, or the numbers of an uncompressed one.
        height: Rows.
        width: Columns.

    Returns:
        Runs row by row (`Shape.runs`).

    Raises:
        ValueError: It is damaged or does not fill height x width; the message says how.
    """
    values = _unpack(counts) if isinstance(counts, str) else np.asarray(counts, dtype=np.int64)
    if len(values) and int(values.min()) < 0:
        raise ValueError(f"a run of {int(values.min())} pixels")
    total = int(values.sum())
    if total != height * width:
        raise ValueError(f"runs of {total} pixels in all, not {height} x {width} = {height * width}")
    return transpose_runs(tidy_runs(values), width, height)


def _unpack(text: str) -> NDArray[np.int64]:
    """The run lengths in a text, negative ones included."""
    letters = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if len(letters) == 0:
        return np.zeros(0, dtype=np.int64)
    wrong = np.flatnonzero((letters < 0) | (letters > 63))
    if len(wrong):
        raise ValueError(f"the character {text[wrong[0]]!r} at position {wrong[0]}, not one of '0' to 'o'")
    last = np.flatnonzero(letters < 32)
    if len(last) == 0 or last[-1] != len(letters) - 1:
        raise ValueError("a text that ends within a run")
    first = np.r_[0, last[:-1] + 1]
    sizes = last - first + 1
    if int(sizes.max()) > _MAX_LETTERS:
        raise ValueError(f"a run of {int(sizes.max())} characters, which is longer than {MAX_PIXELS} pixels")
    place = np.arange(len(letters)) - np.repeat(first, sizes)
    values = np.add.reduceat((letters & 31) << (5 * place), first)
    values -= np.where(letters[last] & 16, np.int64(1) << (5 * sizes), 0)
    # Runs 1, 3, 5 ... add up, and so do 2, 4, 6 ...; run 0 stands alone.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
