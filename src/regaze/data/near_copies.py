"""Photographs of one and the same thing: under other exposures, a little shifted, or cut out anew.

Where `data.match` finds copies of one picture, this finds pictures of one part or eye that no model should learn from
and be judged on. Two steps. Two coarse signatures (24 x 24 cells of local contrast, less what all photographs share)
propose each photograph's nearest; those pairs are correlated at 128 pixels over shifts of up to a tenth, inside the
field of view that both share, once frame on frame and once at one scale of pixels, since crops of one part differ in
size. Local contrast of the logarithm of brightness takes exposure and lighting away.

Memory: 4.6 kB for each photograph, and 16 kB of temporary disk. Time on two slow cores, beside reading every file once:
about 2 ms for each proposed pair (some four for each photograph) and the products of all signatures, 12 minutes for
100,000 photographs: about half an hour for these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from regaze.data.images import photo_size, read_photo
from regaze.data.match import Likeness, Progress, groups, in_order, reading_pool
from regaze.data.split import known_groups
from regaze.records import Dataset, Sample
from regaze.words import words_of

NEAR_COPIES = "near-copies"
"""`Dataset.named_by` where nothing else names groups."""

NEAR = 0.75
"""Fine correlation from which two photographs show one and the same thing. Measured on 1,344 photographs of magnetic
tiles (github.com/abin24/Magnetic-tile-defect-datasets.), each tile under one to six exposures and cut out anew each
time: 19 of 20 pairs of one tile have .83 or more, 99 of 100 .74; of 1,500 proposed pairs of other tiles ten exceed
.7, and all ten were one tile after all; the best pair of two tiles had .67. Of 413 training photographs of IDRiD the
five known copies have 1, one shot under two exposures (013 and 397) .94, the best pair of two eyes .51."""

_SIDE = 128  # of the fine picture's longer side
_CELLS = 24  # of a coarse signature
_NEIGHBOURS = 4  # by each signature
_FEW = 32  # photographs of which every pair is looked at: what few share may be the thing itself
_DARK = 8.0  # greys, 0..255, that are noise
_FLAT = 0.02  # local contrast that is noise
_LEAST_COARSE = 0.3  # coarse correlation below which no pair is looked at: 97 of 100 pairs of one tile have more
_SHIFT = 13  # pixels of the fine picture
_LEAST_SHARED = 0.3  # of the larger field of view
_LEAST_SCALE = 0.8  # ratio of longer sides from which two photographs may be crops at one scale


class Thumbnail(NamedTuple):
    """What of a photograph is compared."""

    grey: NDArray[np.uint8]  # (h, w), the longer side `_SIDE`
    side: int  # longer side of the photograph in stored pixels


class _Contrast(NamedTuple):
    """Local contrast (h, w) float32, and where it counts (h, w), 0 or 1."""

    detail: NDArray[np.float32]
    inside: NDArray[np.float32]


def near_copies(paths: Sequence[Path], progress: Progress | None = None) -> list[Likeness]:
    """Find the pairs of photographs that show one and the same thing, copies of one picture included.

    Args:
        paths: The photographs' files.
        progress: Called with (done, total) as the photographs are read, then as they are compared.

    Returns:
        See `Thumbnails.alike`.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    with Thumbnails(len(paths)) as thumbnails:
        with reading_pool() as pool:
            for done, found in enumerate(in_order(pool, read_thumbnail, paths), start=1):
                thumbnails.add(found)
                if progress is not None:
                    progress(done, len(paths))
        return thumbnails.alike(progress)


class Thumbnails:
    """Photographs in the order in which they are added, in a temporary file that is gone when the context ends.

    Attributes:
        count: How many there will be.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._coarse = np.zeros((2, count, _CELLS * _CELLS), np.float32)
        self._sizes = np.zeros((count, 3), np.int64)
        self._added = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._greys = np.memmap(self._file, np.uint8, "w+", shape=(max(count, 1), _SIDE, _SIDE))

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        self._file.close()

    def add(self, thumbnail: Thumbnail) -> None:
        """Take the next photograph."""
        height, width = thumbnail.grey.shape
        self._greys[self._added, :height, :width] = thumbnail.grey
        self._sizes[self._added] = height, width, thumbnail.side
        self._coarse[:, self._added] = _coarse(thumbnail.grey)
        self._added += 1

    def alike(self, progress: Progress | None = None) -> list[Likeness]:
        """Compare them.

        Args:
            progress: Called with (done, total), first as pairs are proposed, then as these are compared.

        Returns:
            Pairs with a correlation of at least `NEAR`, in the order of their indices. Of more than `_NEIGHBOURS`
            photographs of one thing not every pair is listed, but all of them are linked.
        """
        pairs: set[tuple[int, int]] = set()
        for number, signatures in enumerate(self._coarse):
            for done, proposed in _proposed(signatures):
                pairs |= proposed
                if progress is not None:
                    progress(number * self.count + done, 2 * self.count)
        found = []
        with reading_pool() as pool:
            for done, like in enumerate(in_order(pool, self._likeness, sorted(pairs)), start=1):
                if like.correlation >= NEAR:
                    found.append(like)
                if progress is not None:
                    progress(done, len(pairs))
        return found

    def _likeness(self, pair: tuple[int, int]) -> Likeness:
        return Likeness(*pair, _correlation(*map(self._thumbnail, pair)))

    def _thumbnail(self, index: int) -> Thumbnail:
        height, width, side = map(int, self._sizes[index])
        return Thumbnail(np.asarray(self._greys[index, :height, :width]), side)


def read_thumbnail(path: Path) -> Thumbnail:
    """Decode a photograph for `Thumbnails`."""
    return thumbnail_of(read_photo(path, at_least=enough_for_thumbnail(path)), path)


def enough_for_thumbnail(path: Path) -> int:
    """The shorter side in pixels at which a photograph is to be decoded."""
    return 2 * min(_thumbnail_size(*photo_size(path)))


def thumbnail_of(photo: NDArray[np.uint8], path: Path) -> Thumbnail:
    """A photograph (H, W, 3), decoded at `enough_for_thumbnail`, as it is compared."""
    width, height = photo_size(path)
    shrinks = max(width, height) > _SIDE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(photo[..., 1], _thumbnail_size(width, height), interpolation=interpolation)
    return Thumbnail(np.asarray(small, np.uint8), max(width, height))


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


def _distinct(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coarse signatures of unit length without what photographs share: their mean, and their main components.

    Of few photographs main components would be the photographs themselves.
    """
    values = _unit(coarse)
    values = _unit(values - values.mean(axis=0, keepdims=True))
    components = min(8, len(values) // 50)
    if components:
        _, vectors = np.linalg.eigh(values.T @ values)
        main = vectors[:, -components:]
        values = _unit(values - (values @ main) @ main.T)
    return values


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6), np.float32)


def _proposed(signatures: NDArray[np.float32]) -> Iterator[tuple[int, set[tuple[int, int]]]]:
    """Pairs (a, b), a < b, of photographs and those nearest to them, and of how many that is."""
    count = len(signatures)
    if count <= _FEW:
        yield count, set(combinations(range(count), 2))
        return
    signatures = _distinct(signatures)
    block = max(64, 2**25 // count)  # 128 MiB of products
    for start in range(0, count, block):
        likeness = signatures[start : start + block] @ signatures.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -1
        nearest = np.argpartition(-likeness, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        pairs: set[tuple[int, int]] = set()
        for row, others in enumerate(nearest):
            own = start + row
            pairs |= {(min(own, int(b)), max(own, int(b))) for b in others if likeness[row, b] >= _LEAST_COARSE}
        yield start + len(likeness), pairs


def _contrast(grey: NDArray[np.uint8]) -> _Contrast:
    return _Contrast(_local(grey.astype(np.float32), _DARK, 0.8, 4.0), _inside(grey))


def _inside(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w), 1 where a picture counts: brighter than its darkest, the surround, and off the rim, which all share."""
    low, high = (float(value) for value in np.percentile(grey, (1, 95)))
    bright = (grey > max(4.0, low + 0.12 * (high - low))).astype(np.uint8)
    bright = np.asarray(cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
    inside = cv2.erode(bright, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return np.asarray(inside if inside.mean() >= 0.1 else np.ones_like(inside), np.float32)


def _correlation(a: Thumbnail, b: Thumbnail) -> float:
    """The higher one of two: frame on frame, and at one scale of pixels."""
    found = _over_shifts(_contrast(a.grey), _contrast(b.grey))
    large, small = (a, b) if a.side >= b.side else (b, a)
    ratio = small.side / large.side
    if ratio > _LEAST_SCALE and (1 - ratio) * _SIDE > 1:
        height, width = (max(1, round(length * ratio)) for length in small.grey.shape)
        shrunk = np.asarray(cv2.resize(small.grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        found = max(found, _over_shifts(_contrast(large.grey), _contrast(shrunk)))
    return found


def _over_shifts(a: _Contrast, b: _Contrast) -> float:
    """Highest Pearson correlation over shifts, of what both count; 0 where too little is shared.

    Masked normalised correlation by Fourier transforms: Padfield, IEEE Transactions on Image Processing 21 (2012) 2706.
    """
    shape = [
        next_fast_len(max(sides) + _SHIFT, real=True) for sides in zip(a.inside.shape, b.inside.shape, strict=True)
    ]
    first, first_square, first_mask = _spectra(a, shape)
    second, second_square, second_mask = np.conj(_spectra(b, shape))
    spectra = [first_mask * second_mask, first * second_mask, first_mask * second, first * second]
    spectra += [first_square * second_mask, first_mask * second_square]
    rows, columns = (np.arange(-_SHIFT, _SHIFT + 1) % length for length in shape)
    sums = irfft2(np.stack(spectra), shape)[:, rows[:, None], columns]
    shared = np.maximum(sums[0], 1)
    mean_a, mean_b, product, square_a, square_b = sums[1:] / shared
    covariance = product - mean_a * mean_b
    # A variance below a thousandth is a picture without detail.
    scale = np.sqrt(np.maximum(square_a - mean_a**2, 1e-3) * np.maximum(square_b - mean_b**2, 1e-3))
    enough = shared >= _LEAST_SHARED * max(float(a.inside.sum()), float(b.inside.sum()))
    return float(np.where(enough, covariance / scale, 0).max())


def _spectra(of: _Contrast, shape: Sequence[int]) -> NDArray[np.complex64]:
    """Of contrast, its square and the mask, (3, H, W // 2 + 1)."""
    detail = of.detail * of.inside
    return np.asarray(rfft2(np.stack([detail, detail * detail, of.inside]), shape), np.complex64)


def near_groups(samples: Sequence[Sample], alike: Sequence[Likeness]) -> list[tuple[str, ...]]:
    """Ids of photographs of one and the same thing, where nothing else says that they belong together.

    Args:
        samples: With patients and twins filled in, as far as they are known.
        alike: Pairs of them that `near_copies` or `Thumbnails.alike` found.

    Returns:
        Groups of two and more, ids in the order of the samples; those of one patient or of copies of one picture alone
        are left out.
    """
    known = {index: number for number, group in enumerate(known_groups(samples)) for index in group}
    found = groups(len(samples), [(like.first, like.second) for like in alike])
    return [
        tuple(samples[index].id for index in group) for group in found if len({known[index] for index in group}) > 1
    ]


def grouped_by_near_copies(samples: Sequence[Sample], near: Sequence[Sequence[str]]) -> list[Sample]:
    """Set `Sample.patient` so that near-copies, and whatever belongs with them, count as one.

    Args:
        samples: Photographs.
        near: What `near_groups` gave; ids that are not there are passed over.
    """
    place = {sample.id: index for index, sample in enumerate(samples)}
    links = [(group[0], index) for group in known_groups(samples) for index in group]
    listed = [[place[name] for name in group if name in place] for group in near]
    touched = {index for group in listed for index in group}
    links += [(group[0], index) for group in listed for index in group]
    marked = list(samples)
    for group in groups(len(samples), links):
        if touched.intersection(group):
            name = f"near-copies of {samples[group[0]].id}"
            for index in group:
                marked[index] = replace(samples[index], patient=name)
    return marked


def told_of_near_copies(dataset: Dataset, near: Sequence[Sequence[str]], *, group: bool) -> Dataset:
    """The data set with near-copies (`near_groups`) as one where they are to be grouped, else with a note."""
    if not near:
        return dataset
    if group:
        samples = tuple(grouped_by_near_copies(dataset.samples, near))
        named_by = NEAR_COPIES if dataset.named_by is None else f"{dataset.named_by} and {NEAR_COPIES}"
        return replace(dataset, samples=samples, named_by=named_by)
    shown = "; ".join(" = ".join(ids[:6]) + (" ..." if len(ids) > 6 else "") for ids in near[:5])
    many = f"{sum(map(len, near))} photographs look like near-copies of {len(near)} {words_of(dataset).eye}s"
    shown += " ..." if len(near) > 5 else ""
    note = (
        f"{many} (under another exposure, or a little shifted), and nothing keeps them together ({shown}): pass "
        "--group-near-copies to keep each on one side of the split."
    )
    return replace(dataset, notes=(*dataset.notes, note))
