"""COCO's run lengths: column by column, as a list of numbers or packed into a text (`rleToString` of the COCO API).

pycocotools packs. It would unpack a damaged text too, but reads past its end, and takes runs that do not fill the
photograph for a mask: so a text is unpacked here, where each of its mistakes is reported by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.runs import tidy_runs, transpose_runs
from regaze.records import MAX_PIXELS

# Five bits each: enough for the difference of two runs of MAX_PIXELS (29 bits with its sign).
_MAX_LETTERS = 6


def encode_counts(runs: tuple[int, ...], height: int, width: int) -> str:
    """Pack a mask into the `counts` of a compressed RLE.

    Args:
        runs: Row by row (`Shape.runs`).
        height: Rows of the photograph.
        width: Columns.
    """
    from pycocotools.mask import frPyObjects  # here: only an export needs it

    counts = list(transpose_runs(runs, height, width))
    packed: bytes = frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return packed.decode("ascii")


def decode_counts(counts: str | Sequence[int], height: int, width: int) -> tuple[int, ...]:
    """Read a mask of either spelling.

    Args:
        counts: The text of a compressed RLE, or the numbers of an uncompressed one.
        height: Rows of the photograph.
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
    """The run lengths in a text, negative ones included.

    Five bits a letter, least first, above 48; the sixth bit says that more follow; the highest bit of the last five
    is the sign. From the fourth run on it is the difference to the run two before.
    """
    letters = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8).astype(np.int64) - 48
    wrong = np.flatnonzero((letters < 0) | (letters > 63))
    if len(wrong):
        raise ValueError(f"the character {text[wrong[0]]!r} at position {wrong[0]}, not one of '0' to 'o'")
    last = np.flatnonzero(letters < 32)
    if len(letters) and (len(last) == 0 or last[-1] != len(letters) - 1):
        raise ValueError("a text that ends within a run")
    sizes = np.diff(last, prepend=-1)
    if int(sizes.max(initial=0)) > _MAX_LETTERS:
        raise ValueError(f"a run of {int(sizes.max())} characters, which is longer than {MAX_PIXELS} pixels")
    first = last - sizes + 1
    position = np.arange(len(letters)) - np.repeat(first, sizes)
    values = np.add.reduceat((letters & 31) << (5 * position), first) if len(first) else first
    values -= np.where(letters[last] & 16, np.int64(1) << (5 * sizes), 0)
    # Runs 1, 3, 5 ... add up, and so do 2, 4, 6 ...; run 0 stands alone.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
