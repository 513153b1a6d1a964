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
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.data.images import content_hash, read_photo
from regaze.data.kept_rows import Rows, kept_rows, writable
from regaze.files import digest, read_sealed, typed, write_sealed
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
_VERSION = 1  # of what finds pairs
_BLOCK = 2048  # photographs whose products are held at once
_ROW = np.dtype((np.float32, (_COARSE_SIZE[0] * _COARSE_SIZE[1],)))  # a coarse signature
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


def likenesses(
    samples: Sequence[Sample], progress: Progress | None = None, cache: Path | None = None
) -> list[Likeness]:
    """Find the pairs of photographs that show the same picture, or nearly.

    Args:
        samples: The photographs, with `content` filled in.
        progress: Called with (done, total) as the photographs are read.
        cache: A folder where the pairs are kept for the next call of photographs of the same contents, and what was
            read where this one is ended.

    Returns:
        Pairs with a fine correlation of at least `SAME_EYE`, in the order of their indices.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    key = digest([_VERSION, [sample.content for sample in samples]])
    kept = None if cache is None else cache / f"likenesses-{key}.json"
    found = None if kept is None else _kept(kept, len(samples))
    if found is not None:
        return found
    paths = [sample.image for sample in samples]
    cache = cache and writable(cache)
    with kept_rows(_ROW, cache and cache / "likenesses.rows") as rows:
        with reading_pool() as pool:
            for done, (name, row) in enumerate(in_order(pool, lambda path: rows.read(path, _coarse), paths), start=1):
                rows.add(name, row)
                if progress is not None:
                    progress(done, len(paths))
        found = [like for like in compared(paths, _candidates(rows)) if like.correlation >= SAME_EYE]
    if kept is not None and cache is not None:
        write_sealed(kept, {"pairs": [list(astuple(like)) for like in found]})
    return found


def _kept(file: Path, count: int) -> list[Likeness] | None:
    """Pairs that an earlier call found; None where there are none, or the file is damaged."""
    try:
        pairs = typed(list[tuple[int, int, float]], read_sealed(file)["pairs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [Likeness(*pair) for pair in pairs] if all(0 <= a < b < count for a, b, _ in pairs) else None


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
    """Fill in `Sample.content`, the fingerprint of each photograph's bytes, where it is not.

    Raises:
        DataError: A file is missing or cannot be read.
    """
    with reading_pool() as pool:
        hashes = list(pool.map(lambda sample: sample.content or content_hash(sample.image), samples))
    return [replace(sample, content=value) for sample, value in zip(samples, hashes, strict=True)]


def with_twins(samples: Sequence[Sample], progress: Progress | None = None, cache: Path | None = None) -> list[Sample]:
    """Fill in `Sample.twin`: the smallest id among the samples that show the same picture.

    Files with the same bytes (`Sample.content`) are twins even where the picture has no detail to compare.

    Args:
        samples: With `content` filled in.
        progress: Called with (done, total) as the photographs are read.
        cache: See `likenesses`.

    Returns:
        The same samples in the same order; `twin` is None where a picture occurs once.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    alike = likenesses(samples, progress, cache)
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


def _candidates(rows: Rows) -> list[tuple[int, int]]:
    """The pairs (a, b), a < b, whose coarse signatures correlate at `_CANDIDATE` or more; of each a the likest few.

    Of parts on one fixture all may pass; a copy is likest.
    """
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        own = np.ascontiguousarray(rows.block(start, start + _BLOCK))
        found = [_likest(own, rows, start, other) for other in range(start, len(rows), _BLOCK)]
        a, b, likeness = (np.concatenate(values) for values in zip(*found, strict=True))
        order = np.lexsort((-likeness, a))
        a, b = a[order], b[order]
        few = np.arange(len(a)) - np.searchsorted(a, a) < _MOST
        pairs += [(int(first), int(second)) for first, second in zip(a[few], b[few], strict=True)]
    return sorted(pairs)


def _likest(
    own: NDArray[np.float32], rows: Rows, start: int, other: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """(a, b, likeness) of the candidates between a block of signatures and one that is no earlier."""
    products = own @ np.ascontiguousarray(rows.block(other, other + _BLOCK)).T
    if other == start:
        products[np.tri(*products.shape, dtype=np.bool_)] = -1  # each pair once
    hit = np.flatnonzero(products.max(axis=1) >= _CANDIDATE)
    products = products[hit]
    few = min(_MOST, products.shape[1])
    nearest = np.argpartition(products, -few, axis=1)[:, -few:]
    values = np.take_along_axis(products, nearest, axis=1)
    at, place = np.nonzero(values >= _CANDIDATE)
    return start + hit[at], other + nearest[at, place], values[at, place]


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
