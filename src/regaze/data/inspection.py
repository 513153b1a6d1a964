"""A look at every photograph and mask before anything is trained: what cannot be read, and what looks like a slip.

Invariant: a file that no step could read is an error here already, and every note names a file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regaze.console import Voice
from regaze.data.images import pages, photo_orientation, photo_size
from regaze.data.masks import fitted, read_masks
from regaze.data.match import Progress, in_order, reading_pool
from regaze.data.near_copies import Thumbnails, thumbnails
from regaze.data.near_groups import near_groups
from regaze.errors import DataError
from regaze.records import Dataset, Sample

NEARLY_ALL = 0.5  # a lesion mask over more of its photograph is inverted or shows something else, as a rule
NEARLY_BLACK = 24  # of 255: the brightest hundredth of a photograph below this level shows next to nothing
_SHOWN = 3  # files that a note names


@dataclass(frozen=True)
class _Look:
    """What one photograph and its masks look like.

    Attributes:
        brightest: Level, 0..255, that one pixel in a hundred exceeds.
        pages: How many pictures its file holds.
        turned: EXIF says that viewers turn it.
        covered: Share of it that its masks mark, 0..1; None without a mask.
        masks: Its mask files.
        scaled: Of these those of another size.
        full: Of these those that mark more than half of their pixels.
        values: Values of those of no stated type that may be classes.
    """

    brightest: float
    pages: int
    turned: bool
    covered: float | None = None
    masks: tuple[Path, ...] = ()
    scaled: tuple[Path, ...] = ()
    full: tuple[Path, ...] = ()
    values: tuple[str, ...] = ()


def inspect(dataset: Dataset, shown: Thumbnails, progress: Progress | None = None) -> tuple[str, ...]:
    """Look at every photograph and mask.

    Args:
        dataset: Its photographs.
        shown: Takes the photographs in their order, so that who compares them need not decode them again.
        progress: Called with (done, total).

    Returns:
        Notes on what looks like a slip, the worst first; no note where nothing does.

    Raises:
        DataError: A photograph or mask cannot be read, or a mask does not fit its photograph; the message names the
            sample and the file.
    """
    looks = []
    with reading_pool() as pool:
        seen = in_order(pool, lambda sample: _look(sample, shown), dataset.samples)
        for done, (look, key, row) in enumerate(seen, start=1):
            looks.append(look)
            shown.add(key, row)
            if progress is not None:
                progress(done, len(dataset.samples))
    return tuple(_notes(dataset, looks))


def look_at(dataset: Dataset, voice: Voice) -> tuple[str, ...]:
    """`inspect` with its progress shown."""
    with thumbnails() as shown, voice.progress("looking at photographs and masks") as feed:
        return inspect(dataset, shown, feed)


def look_and_compare(
    dataset: Dataset, voice: Voice, keep: Path | None = None
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """`inspect` and `near_groups` with their progress shown; photographs that were painted are compared by nobody.

    Args:
        dataset: Its photographs.
        voice: Shows the progress.
        keep: See `near_copies.thumbnails`.

    Raises:
        DataError: See `inspect`.
    """
    with thumbnails(keep) as shown:
        with voice.progress("looking at photographs and masks") as feed:
            notes = inspect(dataset, shown, feed)
        if dataset.spec.startswith("synthetic"):
            return notes, ()
        with voice.progress("looking for near-copies") as feed:
            return notes, tuple(near_groups(dataset.samples, shown.alike(feed)))


def _look(sample: Sample, shown: Thumbnails) -> tuple[_Look, bytes, NDArray[np.void]]:
    """A look, and the same photograph as it is compared: what that needs is enough to see light by."""
    try:
        key, row = shown.read(sample.image)
        look = _Look(float(row["brightest"]), pages(sample.image), photo_orientation(sample.image) != 1)
        return _with_masks(look, sample) if sample.origin == "masks" and sample.masks else look, key, row
    except DataError as error:
        raise DataError(f"{sample.id}: {error}") from error


def _with_masks(look: _Look, sample: Sample) -> _Look:
    width, height = photo_size(sample.image)
    union = np.zeros((height, width), dtype=np.bool_)
    masks: dict[Path, None] = {}
    scaled, full, values = [], [], []
    for kind, file, marks in read_masks(sample):
        masks[file] = None
        union |= fitted(marks.mask, file, sample.image, width, height)
        if marks.mask.shape != (height, width):
            scaled.append(file)
        if marks.mask.mean() > NEARLY_ALL:
            full.append(file)
        if kind == "lesion":
            values += [value for value in marks.values if value not in values]
    return replace(
        look,
        covered=float(union.mean()),
        masks=tuple(masks),
        scaled=tuple(scaled),
        full=tuple(full),
        values=tuple(values),
    )


def _notes(dataset: Dataset, looks: list[_Look]) -> Iterator[str]:
    found: dict[str, list[tuple[Sample, _Look]]] = defaultdict(list)
    for sample, look in zip(dataset.samples, looks, strict=True):
        for kind in _kinds(sample, look, dataset):
            found[kind].append((sample, look))
    for kind, words in _WORDS.items():
        if kind in found:
            yield words.format(count=len(found[kind]), files=_files(kind, found[kind]))


def _kinds(sample: Sample, look: _Look, dataset: Dataset) -> Iterator[str]:
    if look.covered is not None:
        if look.full or look.covered > NEARLY_ALL:
            yield "full"
        if look.covered == 0 and _is_graded(sample, dataset):
            yield "empty"
        if look.values:
            yield "values"
        if look.scaled:
            yield "scaled"
        if look.turned:
            yield "turned"
    if look.brightest < NEARLY_BLACK:
        yield "black"
    if look.pages > 1:
        yield "pages"


def _is_graded(sample: Sample, dataset: Dataset) -> bool:
    """Whether a photograph's class says that something is to be seen; none does where no sound class is known."""
    return None not in (sample.label, dataset.sound) and sample.label != dataset.sound


_WORDS = {
    "full": "Masks: {count} mark more than half of their photograph, as inverted ones do ({files}): check them.",
    "empty": "Masks: {count} mark nothing, although the class says that something is there ({files}): check them.",
    "values": "Masks: {count} hold several values ({files}), which all count as one mark: where they are classes, name "
    "them (--mask-classes 1=MA,2=HE,3=optic_disc).",
    "scaled": "Masks: {count} have another size than their photograph ({files}): brought to it.",
    "turned": "Masks: {count} belong to photographs that viewers turn (EXIF orientation; {files}): those of the "
    "upright size were turned back, the others are taken as stored.",
    "black": "{count} photographs are nearly black ({files}): check how they were exported.",
    "pages": "{count} photographs hold several pictures ({files}): the first is used.",
}


def _files(kind: str, found: list[tuple[Sample, _Look]]) -> str:
    """The first files that a note is about, each with what was seen."""
    words = []
    for sample, look in found[:_SHOWN]:
        if kind in ("black", "pages"):
            seen = f"{look.brightest:.0f} of 255" if kind == "black" else str(look.pages)
            words.append(f"{sample.image}: {seen}")
            continue
        file = {"full": look.full, "scaled": look.scaled}.get(kind, ()) or look.masks
        seen = {"full": f": {look.covered or 0:.0%}", "values": f": {', '.join(look.values)}"}.get(kind, "")
        words.append(f"{file[0]}{seen}")
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(words) + more
