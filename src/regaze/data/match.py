"""Which photographs show the same picture, judged by the pictures alone and never by their names.

A data set may hold one picture twice: under two names, re-encoded, shrunk, or squeezed into a square. Two eyes of one
patient, or two shots of one eye taken seconds apart, are *different* pictures here.

Two steps. A coarse signature of every photograph (64 x 48 greys with the slow brightness taken away) proposes pairs;
for these alone a fine signature (192 x 128, read anew) is correlated inside the field of view that both share. The rim
of the field of view is left out: every fundus photograph of one camera has the same rim, and it alone lifts the
correlation of two strangers' eyes above .9.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.data.images import content_hash, read_photo
from regaze.records import Sample

Item = TypeVar("Item")
Done = TypeVar("Done")
Progress = Callable[[int, int], None]
"""Called with (done, total) while photographs are read."""

Keep = Callable[[Sequence[Sample]], list[Sample]]
"""Called with photographs as they are listed, before any is opened; returns those to go on with."""

_COARSE_SIZE = (64, 48)  # width, height
_FINE_SIZE = (192, 128)

_CANDIDATE = 0.95
"""Coarse correlation from which a pair is looked at more closely. On IDRiD's training half every true pair
has .998 or more, and a copy of 300 x 199 pixels at JPEG quality 50 .991; 51 of 108,811 pairs pass."""

TWIN = 0.985
"""Fine correlation from which two photographs are the same picture. Measured on IDRiD's training half (413
graded and 54 segmented photographs, and ten files of them at their native 4288 x 2848): the worst of 47 true
pairs has .9994, the worst native file against its quarter-size copy .9997; the best false pair .938 (two
shots of one eye, segmented 26 and graded 299), the next two .912 and .909 (likewise), the best pair of
different eyes .765. Copies made from every eighth photograph and matched with their source have, at worst:
512 x 340 at JPEG quality 75 .991; a 512 x 512 square at 85 .996; full size at quality 30 .978 (56 of 59
found); 300 x 199 at quality 50 .945 (39 of 59 found). So a badly damaged copy can be missed, but no picture
was taken for another."""

SAME_EYE = 0.85
"""Fine correlation from which two photographs are at least shots of one eye in the same position: between the
best pair of different eyes (.765) and the three pairs of shots taken seconds apart (.909 and more), see
`TWIN`. Drawn from three pairs only: good enough to keep two photographs in one fold, and used for nothing
else."""

_MOST = 32  # candidates of one photograph
_PRODUCTS = 2**25  # products of signatures that are held at once, 128 MiB
_AHEAD = 32  # photographs
_DARK = 15  # grey value, 0..255, below which a pixel belongs to the black surround
_LEAST_SHARED = 0.1  # share of the fine grid that two fields of view must have in common


@dataclass(frozen=True)
class Likeness:
    """Two photographs that look alike.

    Attributes:
        first, second: Their indices, first < second.
        correlation: Fine correlation inside the common field of view, -1..1. See `TWIN` and `SAME_EYE`.
    """

    first: int
    second: int
    correlation: float


class _Fine(NamedTuple):
    """The fine signature of one photograph."""

    detail: NDArray[np.float32]  # (128, 192), grey minus its surroundings
    inside: NDArray[np.bool_]  # (128, 192), well inside the field of view


def likenesses(paths: Sequence[Path], progress: Progress | None = None) -> list[Likeness]:
    """Find the pairs of photographs that show the same picture, or nearly.

    Args:
        paths: The photographs' files.
        progress: Called with (done, total) as the photographs are read.

    Returns:
        Pairs with a fine correlation of at least `SAME_EYE`, in the order of their indices.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    coarse = np.zeros((len(paths), _COARSE_SIZE[0] * _COARSE_SIZE[1]), np.float32)
    with reading_pool() as pool:
        for index, signature in enumerate(in_order(pool, _coarse, paths)):
            coarse[index] = signature
            if progress is not None:
                progress(index + 1, len(paths))
    return [like for like in compared(paths, _candidates(coarse)) if like.correlation >= SAME_EYE]


def compared(paths: Sequence[Path], pairs: Iterable[tuple[int, int]]) -> list[Likeness]:
    """Compare pairs of photographs closely, see `TWIN`; photographs of which a hundred pairs are at hand are read once.

    Args:
        paths: The photographs' files.
        pairs: Indices into them; the order in which they come is kept.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    fine = lru_cache(maxsize=128)(lambda index: _fine(paths[index]))
    with reading_pool() as pool:
        return list(in_order(pool, lambda pair: Likeness(*pair, _correlation(*map(fine, pair))), pairs))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Join pairs into groups: whatever is linked, directly or through others, is one group.

    Args:
        count: Number of indices, 0..count - 1.
        pairs: Links between them.

    Returns:
        Every index in exactly one group; indices ascend within a group, groups ascend by their first index.
    """
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for index in range(count):
        members.setdefault(root(index), []).append(index)
    return [tuple(group) for group in members.values()]


def with_contents(samples: Sequence[Sample]) -> list[Sample]:
    """Fill in `Sample.content`, the fingerprint of each photograph's bytes.

    Raises:
        DataError: A file is missing or cannot be read.
    """
    with reading_pool() as pool:
        hashes = list(pool.map(content_hash, [sample.image for sample in samples]))
    return [replace(sample, content=value) for sample, value in zip(samples, hashes, strict=True)]


def with_twins(samples: Sequence[Sample], progress: Progress | None = None) -> list[Sample]:
    """Fill in `Sample.twin`: the smallest id among the samples that show the same picture.

    Files with the same bytes (`Sample.content`) are twins even where the picture has no detail to compare.

    Args:
        samples: With `content` filled in.
        progress: Called with (done, total) as the photographs are read.

    Returns:
        The same samples in the same order; `twin` is None where a picture occurs once.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    alike = likenesses([sample.image for sample in samples], progress)
    links = [(like.first, like.second) for like in alike if like.correlation >= TWIN]
    first_with: dict[str, int] = {}
    for index, sample in enumerate(samples):
        if sample.content:
            links.append((first_with.setdefault(sample.content, index), index))
    return mark_twins(samples, groups(len(samples), links))


def mark_twins(samples: Sequence[Sample], same: Iterable[tuple[int, ...]]) -> list[Sample]:
    """Set `Sample.twin`.

    Args:
        samples: N samples.
        same: Groups of indices into them that show one picture; groups of one give None.
    """
    marked = list(samples)
    for group in same:
        name = min(samples[index].id for index in group) if len(group) > 1 else None
        for index in group:
            marked[index] = replace(samples[index], twin=name)
    return marked


def reading_pool() -> ThreadPoolExecutor:
    """Threads for reading files: Pillow, OpenCV and the hash let go of the interpreter while they work."""
    return ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) + 1))


def in_order(pool: ThreadPoolExecutor, work: Callable[[Item], Done], items: Iterable[Item]) -> Iterator[Done]:
    """Yield work(item) in the order of the items, a few ahead of whoever takes them, so that nothing piles up."""
    ahead: deque[Future[Done]] = deque()
    for item in items:
        ahead.append(pool.submit(work, item))
        if len(ahead) > _AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _shrunk(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """Read a photograph's green channel (vessels and lesions stand out there) as (h, w) float32, 0..255."""
    green = read_photo(path, at_least=size[1])[..., 1]
    return np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), np.float32)


def _coarse(path: Path) -> NDArray[np.float32]:
    """A signature of unit length, (3072,) float32; all zero for a picture without detail."""
    # By way of the fine size: at a bare 48 pixels the decoder's own shrinking would be too rough.
    grey = np.asarray(cv2.resize(_shrunk(path, _FINE_SIZE), _COARSE_SIZE, interpolation=cv2.INTER_AREA), np.float32)
    detail = cv2.GaussianBlur(grey, (0, 0), 0.5) - cv2.GaussianBlur(grey, (0, 0), 4.0)
    flat = np.asarray(detail, np.float32).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    # A mean detail below a tenth of a grey value is rounding noise, not a picture.
    return flat / length if length > 0.1 * np.sqrt(flat.size) else np.zeros_like(flat)


def _candidates(coarse: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The pairs (a, b), a < b, whose coarse signatures correlate at `_CANDIDATE` or more; of each a the likest few.

    Of parts on one fixture all may pass; a copy is likest.
    """
    pairs: list[tuple[int, int]] = []
    block = min(2048, max(64, _PRODUCTS // max(1, len(coarse))))
    for start in range(0, len(coarse), block):
        likeness = coarse[start : start + block] @ coarse[start:].T
        likeness[np.tri(*likeness.shape, dtype=np.bool_)] = -1  # each pair once
        nearest = np.argpartition(-likeness, min(_MOST, likeness.shape[1] - 1), axis=1)[:, :_MOST]
        rows, places = np.nonzero(np.take_along_axis(likeness, nearest, axis=1) >= _CANDIDATE)
        columns = nearest[rows, places]
        pairs += [(start + int(r), start + int(c)) for r, c in zip(rows, columns, strict=True)]
    return sorted(pairs)


def _fine(path: Path) -> _Fine:
    grey = _shrunk(path, _FINE_SIZE)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)  # evens out what shrinking and re-encoding change
    detail = smooth - cv2.GaussianBlur(grey, (0, 0), 6.0)
    return _Fine(np.asarray(detail, np.float32), _inside(grey))


def _inside(grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The pixels well inside the field of view; all of them where the picture is nearly black."""
    bright = (grey > _DARK).astype(np.uint8)
    bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    # Four cells off the rim; the picture's own edge is no rim, hence the border value.
    inside = cv2.erode(bright, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0
    return np.asarray(inside if inside.mean() >= _LEAST_SHARED else np.ones_like(inside), np.bool_)


def _correlation(a: _Fine, b: _Fine) -> float:
    """Pearson correlation inside both fields of view; 0 where too little is shared or it is flat."""
    shared = a.inside & b.inside
    if shared.mean() < _LEAST_SHARED:
        return 0.0
    first, second = a.detail[shared].astype(np.float64), b.detail[shared].astype(np.float64)
    first -= first.mean()
    second -= second.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 1e-6 else 0.0
