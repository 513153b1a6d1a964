"""Photographs of one and the same thing: under other exposures, a little shifted, or cut out anew.

Where `data.match` finds copies of one picture, this finds pictures of one part or eye that no model should learn from
and be judged on. Two steps. Two coarse signatures (24 x 24 cells of local contrast, less what all photographs share)
propose each photograph's nearest; those pairs are correlated at 128 pixels over shifts of up to a tenth, inside the
field of view that both share, once frame on frame and once at one scale of pixels, since crops of one part differ in
size. Local contrast of the logarithm of brightness takes exposure and lighting away.

Memory: 2.3 kB for each photograph, and 21 kB of disk while it works. Time, beside reading every file once: about 1.2 ms
of a core for each proposed pair (some six for each photograph) and, of 100,000 photographs, three minutes for the
products of all signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft, irfft, next_fast_len, rfft2

from regaze.data.images import photo_size, read_photo
from regaze.data.kept_rows import Rows, kept_rows, writable
from regaze.data.match import Likeness, Progress, in_order, reading_pool
from regaze.files import digest, replacing

NEAR = 0.75
"""Fine correlation from which two photographs show one and the same thing. Measured on 1,344 photographs of magnetic
tiles (github.com/abin24/Magnetic-tile-defect-datasets.), each tile under one to six exposures and cut out anew each
time: 19 of 20 pairs of one tile have .83 or more, 99 of 100 .74; of 1,500 proposed pairs of other tiles ten exceed
.7, and all ten were one tile after all; the best pair of two tiles had .67. Of 413 training photographs of IDRiD the
five known copies have 1, one shot under two exposures (013 and 397) .94, the best pair of two eyes .51."""

_VERSION = 1  # of what proposes and compares pairs
_SIDE = 128  # of the fine picture's longer side
_CELLS = 24  # of a coarse signature
_NEIGHBOURS = 4  # by each signature
_FEW = 32  # photographs of which every pair is looked at: what few share may be the thing itself
_DARK = 8.0  # greys, 0..255, that are noise
_FLAT = 0.02  # local contrast that is noise
_BLOCK = 2048  # photographs whose products are held at once
_LEAST_COARSE = 0.3  # coarse correlation below which no pair is looked at: 97 of 100 pairs of one tile have more
_SHIFT = 13  # pixels of the fine picture
_LEAST_SHARED = 0.3  # of the larger field of view
_LEAST_SCALE = 0.8  # ratio of longer sides from which two photographs may be crops at one scale


_ROW = np.dtype(
    [
        ("shape", np.int32, 2),  # of the grey picture
        ("side", np.int32),  # longer side of the photograph in stored pixels
        ("brightest", np.float32),  # level, 0..255, that one pixel in a hundred exceeds
        ("coarse", np.float32, (2, _CELLS * _CELLS)),
        ("grey", np.uint8, (_SIDE, _SIDE)),
    ]
)
"""What of a photograph is compared."""

_PAIR = np.dtype([("a", np.int32), ("b", np.int32), ("correlation", np.float64)])  # NaN: not compared yet


class _Detail:
    """Local contrast of a grey picture (h, w), and its Fourier transforms."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        self.shape = grey.shape
        self._inside = _inside(grey)
        self._detail = _local(grey.astype(np.float32), _DARK, 0.8, 4.0) * self._inside
        self.area = float(self._inside.sum())
        self._spectra: dict[tuple[int, ...], NDArray[np.complex64]] = {}

    def spectra(self, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        """Of contrast, its square and where it counts, (3, H, W // 2 + 1)."""
        if shape not in self._spectra:
            planes = np.stack([self._detail, self._detail * self._detail, self._inside])
            self._spectra[shape] = np.asarray(rfft2(planes, shape), np.complex64)
        return self._spectra[shape]


def near_copies(paths: Sequence[Path], progress: Progress | None = None, keep: Path | None = None) -> list[Likeness]:
    """Find the pairs of photographs that show one and the same thing, copies of one picture included.

    Args:
        paths: The photographs' files.
        progress: Called with (done, total) as the photographs are read, then as they are compared.
        keep: See `thumbnails`.

    Returns:
        See `Thumbnails.alike`.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    with thumbnails(keep) as found:
        with reading_pool() as pool:
            for done, (key, row) in enumerate(in_order(pool, found.read, paths), start=1):
                found.add(key, row)
                if progress is not None:
                    progress(done, len(paths))
        return found.alike(progress)


@contextmanager
def thumbnails(keep: Path | None = None) -> Iterator[Thumbnails]:
    """Photographs to be compared.

    Args:
        keep: A file without a suffix; beside it, what was read stays until all is compared, and what was compared
            stays, so that a call that was ended goes on, and one of the same photographs finds it done. None: nothing
            stays.
    """
    if keep is not None and writable(keep.parent) is None:
        keep = None
    with kept_rows(_ROW, keep and keep.with_name(f"{keep.name}.thumbnails")) as rows:
        yield Thumbnails(rows, keep and keep.with_name(f"{keep.name}.pairs"))


class Thumbnails:
    """Photographs in the order in which they are added."""

    def __init__(self, rows: Rows, kept_pairs: Path | None) -> None:
        self._rows = rows
        self._kept_pairs = kept_pairs

    def read(self, path: Path) -> tuple[bytes, NDArray[np.void]]:
        """Decode a photograph for `add`, or find it decoded; may be called by threads.

        Raises:
            DataError: It cannot be read as a picture.
        """
        return self._rows.read(path, read_thumbnail)

    def add(self, key: bytes, row: NDArray[np.void]) -> None:
        """Take the next photograph, see `read`."""
        self._rows.add(key, row)

    def alike(self, progress: Progress | None = None) -> list[Likeness]:
        """Compare them.

        Args:
            progress: Called with (done, total), first as pairs are proposed, then as these are compared.

        Returns:
            Pairs with a correlation of at least `NEAR`, in the order of their indices. Of more than `_NEIGHBOURS`
            photographs of one thing not every pair is listed, but all of them are linked.
        """
        pairs = self._pairs(progress)
        todo = np.flatnonzero(np.isnan(pairs["correlation"]))
        runs = np.split(todo, 1 + np.flatnonzero(np.diff(pairs["a"][todo]))) if len(todo) else []
        done = len(pairs) - len(todo)
        with reading_pool() as pool:
            compared = in_order(pool, lambda run: self._compared(pairs["a"][run[0]], pairs["b"][run]), runs)
            for run, correlations in zip(runs, compared, strict=True):
                pairs["correlation"][run] = correlations
                done += len(run)
                if progress is not None:
                    progress(done, len(pairs))
        return [Likeness(int(a), int(b), float(value)) for a, b, value in pairs[pairs["correlation"] >= NEAR]]

    def _pairs(self, progress: Progress | None) -> NDArray[np.void]:
        """Pairs (`_PAIR`) that are proposed, sorted; on the disk where they are kept."""
        file = self._kept_pairs if self._kept_pairs is not None and all(self._rows.keys) else None
        key = digest([_VERSION, [key.decode() for key in self._rows.keys]]).encode()
        if file is not None and file.is_file():
            found = _kept_pairs(file, key, len(self._rows))
            if found is not None:
                return found
        proposed = [self._proposed(number, progress) for number in (0, 1)]
        a, b = np.unique(np.concatenate(proposed), axis=0).T
        pairs = np.empty(len(a), _PAIR)
        pairs["a"], pairs["b"], pairs["correlation"] = a, b, np.nan
        if file is None or not len(pairs):
            return pairs
        with replacing(file) as temporary:
            temporary.write_bytes(key + pairs.tobytes())
        return np.memmap(file, _PAIR, "r+", offset=len(key))

    def _proposed(self, number: int, progress: Progress | None) -> NDArray[np.int64]:
        """Pairs (n, 2) by one of the two signatures."""
        count = len(self._rows)
        if count <= _FEW:
            return np.array(list(combinations(range(count), 2)), np.int64).reshape(-1, 2)
        signatures = np.empty((count, _CELLS * _CELLS), np.float32)
        for start in range(0, count, _BLOCK):
            block = self._rows.block(start, min(count, start + _BLOCK))
            signatures[start : start + len(block)] = block["coarse"][:, number]
        return _nearest(_distinct(signatures), lambda done: progress and progress(number * count + done, 2 * count))

    def _compared(self, first: int, others: NDArray[np.int32]) -> list[float]:
        """Correlations of a photograph with others."""
        a = self._rows[first]
        detail = _Detail(_grey(a))
        return [_correlation(a, detail, self._rows[other]) for other in others]


def _kept_pairs(file: Path, key: bytes, count: int) -> NDArray[np.void] | None:
    """What an earlier call left of the same photographs; None where it is of others, or damaged."""
    with file.open("rb") as kept:
        if kept.read(len(key)) != key:
            return None
    size = file.stat().st_size - len(key)
    if size <= 0 or size % _PAIR.itemsize:
        return None
    pairs = np.memmap(file, _PAIR, "r+", offset=len(key))
    return pairs if pairs["a"].min() >= 0 and (pairs["a"] < pairs["b"]).all() and pairs["b"].max() < count else None


def read_thumbnail(path: Path) -> NDArray[np.void]:
    """Decode a photograph (`_ROW`)."""
    width, height = photo_size(path)
    size = _thumbnail_size(width, height)
    photo = read_photo(path, at_least=2 * min(size))
    interpolation = cv2.INTER_AREA if max(width, height) > _SIDE else cv2.INTER_LINEAR
    grey = np.asarray(cv2.resize(photo[..., 1], size, interpolation=interpolation), np.uint8)
    row = np.zeros((), _ROW)
    row["shape"], row["side"], row["coarse"] = grey.shape, max(width, height), _coarse(grey)
    row["brightest"] = np.percentile(photo.max(axis=2), 99)
    row["grey"][: grey.shape[0], : grey.shape[1]] = grey
    return row


def _grey(row: NDArray[np.void]) -> NDArray[np.uint8]:
    height, width = row["shape"]
    grey: NDArray[np.uint8] = row["grey"][:height, :width]
    return grey


def _thumbnail_size(width: int, height: int) -> tuple[int, int]:
    scale = _SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _local(grey: NDArray[np.float32], dark: float, fine: float, wide: float) -> NDArray[np.float32]:
    """Contrast between two scales of the logarithm of brightness, over its local strength; below `dark` it fades."""
    light = np.log(grey + dark)
    detail = cv2.GaussianBlur(light, (0, 0), fine) - cv2.GaussianBlur(light, (0, 0), wide)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), wide))
    return np.asarray(detail / (strength + _FLAT), np.float32)


def _coarse(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(2, 576) float32, zero mean: with the surround, which exposures share, and without it, which shifts leave behind.

    One alone misses a fifth of what the other finds among IDRiD's photographs, exposed and shifted anew.
    """
    cells = np.asarray(cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)
    whole = _local(cells, max(4.0, 0.3 * float(np.percentile(grey, 95))), 1.0, 6.0)
    inside = np.asarray(cv2.resize(_inside(grey), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)

    def smooth(values: NDArray[np.float32], width: float) -> NDArray[np.float32]:
        weight = cv2.GaussianBlur(inside, (0, 0), width) + 1e-3
        return np.asarray(cv2.GaussianBlur(values * inside, (0, 0), width) / weight, np.float32)

    light = np.log(cells + _DARK)
    within = (smooth(light, 1.0) - smooth(light, 4.0)) * inside
    within = within / (np.sqrt(smooth(within * within, 4.0)) + _FLAT) * inside
    within -= inside * (within.sum() / inside.sum())
    return np.stack([(whole - whole.mean()).ravel(), within.ravel()]).astype(np.float32)


def _distinct(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make coarse signatures of unit length without what photographs share: their mean, and their main components.

    Of few photographs main components would be the photographs themselves. The array itself is changed.
    """
    _to_unit(values)
    values -= values.mean(axis=0, keepdims=True)
    _to_unit(values)
    components = min(8, len(values) // 50)
    if components:
        _, vectors = np.linalg.eigh(values.T @ values)
        main = vectors[:, -components:]
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK]
            block -= (block @ main) @ main.T
        _to_unit(values)
    return values


def _to_unit(rows: NDArray[np.float32]) -> None:
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None] + 1e-6


def _nearest(signatures: NDArray[np.float32], told: Callable[[int], object]) -> NDArray[np.int64]:
    """Pairs (n, 2), a < b, of photographs and the `_NEIGHBOURS` nearest to each, from `_LEAST_COARSE` on.

    Each block of products serves its rows and its columns; a block that holds none nearer is looked at once.
    """
    count = len(signatures)
    likest = np.full((count, _NEIGHBOURS), np.nextafter(np.float32(_LEAST_COARSE), np.float32(0)), np.float32)
    who = np.full((count, _NEIGHBOURS), -1, np.int64)

    def take(products: NDArray[np.float32], rows: int, columns: int) -> None:
        hit = np.flatnonzero(products.max(axis=1) > likest[rows : rows + len(products)].min(axis=1))
        if not len(hit):
            return
        chosen, few = products[hit], min(_NEIGHBOURS, products.shape[1])
        best = np.argpartition(chosen, -few, axis=1)[:, -few:]
        values = np.concatenate([likest[rows + hit], np.take_along_axis(chosen, best, axis=1)], axis=1)
        names = np.concatenate([who[rows + hit], columns + best], axis=1)
        order = np.argpartition(values, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        likest[rows + hit] = np.take_along_axis(values, order, axis=1)
        who[rows + hit] = np.take_along_axis(names, order, axis=1)

    for stop in range(_BLOCK, count + _BLOCK, _BLOCK):
        own = signatures[stop - _BLOCK : stop]
        for start in range(0, stop, _BLOCK):
            products = own @ signatures[start : start + _BLOCK].T
            if start == stop - _BLOCK:
                np.fill_diagonal(products, -1)
            else:
                take(np.ascontiguousarray(products.T), start, stop - _BLOCK)
            take(products, stop - _BLOCK, start)
        told(round(count * (min(stop, count) / count) ** 2))
    rows, places = np.nonzero(who >= 0)
    pairs = np.stack([rows, who[rows, places]], axis=1)
    return np.sort(pairs, axis=1)


def _inside(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w), 1 where a picture counts: brighter than its darkest, the surround, and off the rim, which all share."""
    low, high = (float(value) for value in np.percentile(grey, (1, 95)))
    bright = (grey > max(4.0, low + 0.12 * (high - low))).astype(np.uint8)
    bright = np.asarray(cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
    inside = cv2.erode(bright, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return np.asarray(inside if inside.mean() >= 0.1 else np.ones_like(inside), np.float32)


def _correlation(a: NDArray[np.void], detail: _Detail, b: NDArray[np.void]) -> float:
    """The higher one of two: frame on frame, and at one scale of pixels; `detail` is of a."""
    other = _Detail(_grey(b))
    found = _over_shifts(detail, other)
    large, small = ((a, detail), (b, other)) if a["side"] >= b["side"] else ((b, other), (a, detail))
    ratio = float(small[0]["side"] / large[0]["side"])
    if ratio > _LEAST_SCALE and (1 - ratio) * _SIDE > 1:
        grey = _grey(small[0])
        height, width = (max(1, round(length * ratio)) for length in grey.shape)
        shrunk = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        found = max(found, _over_shifts(large[1], _Detail(shrunk)))
    return found


def _over_shifts(a: _Detail, b: _Detail) -> float:
    """Highest Pearson correlation over shifts, of what both count; 0 where too little is shared.

    Masked normalised correlation by Fourier transforms: Padfield, IEEE Transactions on Image Processing 21 (2012) 2706.
    """
    shape = tuple(next_fast_len(max(sides) + _SHIFT, real=True) for sides in zip(a.shape, b.shape, strict=True))
    first, first_square, first_mask = a.spectra(shape)
    second, second_square, second_mask = np.conj(b.spectra(shape))
    spectra = [first_mask * second_mask, first * second_mask, first_mask * second, first * second]
    spectra += [first_square * second_mask, first_mask * second_square]
    rows, columns = (np.arange(-_SHIFT, _SHIFT + 1) % length for length in shape)
    # Of the shifts that are asked for alone.
    sums = irfft(ifft(np.stack(spectra), axis=1, overwrite_x=True)[:, rows], shape[1], axis=2)[:, :, columns]
    shared = np.maximum(sums[0], 1)
    mean_a, mean_b, product, square_a, square_b = sums[1:] / shared
    covariance = product - mean_a * mean_b
    # A variance below a thousandth is a picture without detail.
    scale = np.sqrt(np.maximum(square_a - mean_a**2, 1e-3) * np.maximum(square_b - mean_b**2, 1e-3))
    enough = shared >= _LEAST_SHARED * max(a.area, b.area)
    return float(np.where(enough, covariance / scale, 0).max())
