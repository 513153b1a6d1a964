"""Label Studio's brush strokes: `@thi.ng/rle-pack` over the bytes of an RGBA picture. It is not COCO's RLE.

The format (https://github.com/thi-ng/umbrella, `packages/rle-pack`): bits, highest first. 32: number of words; 5: bits
in a word less 1; four times 4: bits of a count less 1, for the counts' four sizes. Then blocks: 1 bit, 1 for one
repeated word and 0 for different ones; 2 bits, which size the count has; the count less 1; the word, or the words.

Label Studio writes 8-bit words, R G B A of each pixel row by row. Painted is where alpha is not 0: the page writes
255, the converter's `contour2rle` writes 100.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.runs import tidy_runs

_HEADER_BITS = 53
_COUNT_BITS = np.array([3, 4, 8, 16], dtype=np.int64)
_LONGEST = 1 << 16


def encode_brush(runs: tuple[int, ...]) -> list[int]:
    """Pack a mask as Label Studio's converter does (`brush.mask2rle` of 0 and 255), byte for byte.

    Args:
        runs: Row by row (`Shape.runs`).

    Returns:
        `value.rle`, numbers of 0 to 255.
    """
    lengths = 4 * np.asarray(runs, dtype=np.int64)
    words = np.arange(len(lengths)) % 2 * 255
    lengths, words = lengths[lengths > 0], words[lengths > 0]
    total = int(lengths.sum())
    # The size of the count follows from the whole run, also for the rest of one longer than the longest.
    sizes = np.searchsorted([8, 16, 256], lengths)
    pieces = -(-lengths // _LONGEST)
    rest = lengths - (pieces - 1) * _LONGEST
    words, sizes = np.repeat(words, pieces), np.repeat(sizes, pieces)
    counts = np.full(len(words), _LONGEST, dtype=np.int64)
    counts[np.cumsum(pieces) - 1] = rest
    bits = _COUNT_BITS[sizes]
    blocks = (1 << (bits + 10)) | (sizes << (bits + 8)) | ((counts - 1) << 8) | words
    header = f"{total:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in _COUNT_BITS.tolist())
    stream = np.concatenate([np.array([int(bit) for bit in header], dtype=np.uint8), _to_bits(blocks, bits + 11)])
    # The converter closes with 1 to 8 zero bits: a whole byte of them where none would be needed.
    packed: list[int] = np.packbits(np.append(stream, np.zeros(8 - len(stream) % 8, dtype=np.uint8))).tolist()
    return packed


def decode_brush(rle: Sequence[int], height: int, width: int) -> tuple[int, ...]:
    """Read a brush stroke.

    Args:
        rle: `value.rle`, numbers of 0 to 255.
        height: Rows of the photograph.
        width: Columns.

    Returns:
        Runs row by row (`Shape.runs`).

    Raises:
        ValueError: It is damaged or of another size; the message says how.
    """
    data = bytes(rle)
    head = int.from_bytes(data[:7].ljust(7, b"\0"), "big") >> 3
    total, word_bits = head >> 21, ((head >> 16) & 31) + 1
    if len(data) < 7 or word_bits != 8 or total != 4 * height * width:
        raise ValueError(
            f"{len(data)} bytes that hold {total} words of {word_bits} bits, not 4 x {height} x {width} of 8"
        )
    words, lengths = _blocks(data, total, [((head >> shift) & 15) + 1 for shift in (12, 8, 4, 0)])
    return _alpha_runs(np.frombuffer(words, dtype=np.uint8), np.asarray(lengths, dtype=np.int64), height * width)


def _blocks(data: bytes, total: int, count_bits: list[int]) -> tuple[bytearray, list[int]]:
    """The words and how often each is repeated; their sum is `total`."""
    words, lengths = bytearray(), list[int]()
    position, end, done = _HEADER_BITS, 8 * len(data), 0
    while done < total:
        start, offset = position >> 3, position & 7
        # 48 bits hold any block's head: 7 to skip, 3, 16 for the count, 8 for the word.
        window = int.from_bytes(data[start : start + 6].ljust(6, b"\0"), "big")
        kind = window >> (45 - offset) & 7
        size = count_bits[kind & 3]
        count = (window >> (45 - offset - size) & ((1 << size) - 1)) + 1
        position += 3 + size
        if kind & 4:
            words.append(window >> (37 - offset - size) & 255)
            lengths.append(count)
            position += 8
        else:
            start, offset = position >> 3, position & 7
            chunk = int.from_bytes(data[start : start + count + 1].ljust(count + 1, b"\0"), "big")
            words += (chunk >> (8 - offset) & ((1 << 8 * count) - 1)).to_bytes(count, "big")
            lengths += [1] * count
            position += 8 * count
        if position > end:
            raise ValueError(f"bytes that end after {done} of {total} words")
        done += count
    if done > total:
        raise ValueError(f"{done} words, not the {total} that the head promises")
    return words, lengths


def _alpha_runs(words: NDArray[np.uint8], lengths: NDArray[np.int64], pixels: int) -> tuple[int, ...]:
    """Runs of the pixels whose fourth word is not 0."""
    painted = np.flatnonzero(words)
    if len(painted) == 0:
        return (pixels,)
    # Only what lies between the first and the last word above 0 is unfolded.
    first, last = int(painted[0]), int(painted[-1]) + 1
    start = int(lengths[:first].sum())
    unfolded = np.repeat(words[first:last], lengths[first:last])
    skip = (3 - start) % 4
    alpha = np.concatenate([[False], unfolded[skip::4] > 0, [False]])
    borders = np.flatnonzero(alpha[1:] != alpha[:-1]) + (start + skip) // 4
    edges = np.concatenate([[0], borders, [pixels]]).astype(np.int64)
    return tidy_runs(np.diff(edges))


def _to_bits(values: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The lowest `sizes` bits of each value, highest first, one after the other; (N,) of 0 and 1."""
    widest = int(sizes.max())
    aligned = (values << (widest - sizes)).astype(np.uint32)
    column = np.arange(widest)
    bits = (aligned[:, None] >> (widest - 1 - column).astype(np.uint32)) & 1
    return bits[column < sizes[:, None]].astype(np.uint8)
