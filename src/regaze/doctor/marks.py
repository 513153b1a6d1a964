"""Findings about masks and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from regaze.data.inspection import NEARLY_ALL
from regaze.doctor.finding import Finding, Item, about, label_of
from regaze.doctor.look import GRID, Look, field_of
from regaze.records import Box, Dataset, Sample
from regaze.words import words_of

_OUTSIDE = 0.2  # of what is marked; annotators' strokes cross the rim by a few per cent
_A_FIELD = 0.97  # share of the frame up to which a field of view has an outside

Pairs = Sequence[tuple[Sample, Look]]


def mark_findings(dataset: Dataset, pairs: Pairs) -> Iterator[Finding]:
    """Findings about what is marked in photographs that can be read.

    Args:
        dataset: Its classes, and which of them is the sound one.
        pairs: Photographs, each with the look at it and its masks.

    Yields:
        The findings.
    """
    yield from about(
        "mask-unusable",
        "corrupts",
        [Item(look.mask_error, (sample,)) for sample, look in pairs if look.mask_error],
        ("photograph has masks that cannot be used", "photographs have masks that cannot be used"),
        "export these masks anew, at their photograph's size, or take them out",
    )
    lesions = words_of(dataset).lesions
    masked = [(sample, look) for sample, look in pairs if look.marked is not None]
    yield from about(
        "mask-inverted",
        "corrupts",
        [
            Item(f"{_files(sample)}: {look.fullest:.0%} of the picture", (sample,))
            for sample, look in masked
            if look.fullest > NEARLY_ALL
        ],
        ("photograph has a mask that marks nearly all of it", "photographs have a mask that marks nearly all of them"),
        f"as a rule it is inverted or shows something else than {lesions}: invert it, or take it out",
        with_masks=True,
    )
    yield from class_contradictions(dataset, pairs)
    yield from about(
        "mask-outside-field",
        "misleads",
        [
            Item(f"{_files(sample)}: {look.outside:.0%} outside", (sample,))
            for sample, look in masked
            if look.outside > _OUTSIDE and look.fullest <= NEARLY_ALL and look.field < _A_FIELD
        ],
        ("mask marks what lies outside the field of view", "masks mark what lies outside the field of view"),
        "check that it belongs to its photograph and is neither shifted nor turned",
        with_masks=True,
    )
    yield from about(
        "box-outside-field",
        "misleads",
        [
            Item(f"{sample.id}: {count} of {_boxes(len(sample.boxes))}", (sample,))
            for sample, look in pairs
            if (count := sum(_beside(box, look) for box in sample.boxes))
        ],
        ("photograph has boxes outside its field of view", "photographs have boxes outside their field of view"),
        "check that the boxes belong to it and are neither shifted nor turned",
        with_masks=True,
    )
    yield from about(
        "mask-size",
        "look",
        [Item(", ".join(look.scaled), (sample,)) for sample, look in pairs if look.scaled],
        ("photograph has masks of another size", "photographs have masks of another size"),
        "they are brought to the photograph's; check that nothing was cut off",
    )


def class_contradictions(dataset: Dataset, pairs: Pairs) -> Iterator[Finding]:
    """Marks and class that contradict each other; only where a class is known to be the sound one.

    Args:
        dataset: See `mark_findings`.
        pairs: Likewise; of a bare `Look` the boxes alone are seen.

    Yields:
        The findings.
    """
    sound, lesions = dataset.sound, words_of(dataset).lesions
    if sound is None:
        return
    marked = [
        (sample, f"{look.marked:.2%} of the picture" if look.marked else _boxes(len(sample.boxes)))
        for sample, look in pairs
        if look.marked or sample.boxes
    ]
    yield from about(
        "lesions-in-sound-class",
        "corrupts",
        [Item(f"{sample.id}: {seen}", (sample,)) for sample, seen in marked if sample.label == sound],
        (
            f"photograph of the sound class {dataset.classes[sound]} has {lesions} marked",
            f"photographs of the sound class {dataset.classes[sound]} have {lesions} marked",
        ),
        "either the class or the marks are wrong: correct them",
        with_masks=True,
    )
    yield from about(
        "empty-mask",
        "misleads",
        [
            Item(f"{sample.id}, {label_of(sample, dataset.classes)}: {_files(sample)}", (sample,))
            for sample, look in pairs
            if look.marked == 0 and sample.label not in (None, sound)
        ],
        (
            "mask marks nothing although its photograph's class is not the sound one",
            "masks mark nothing although their photographs' classes are not the sound one",
        ),
        f"the {lesions} of such a photograph count as unknown; draw them, or take the mask out",
    )


def _boxes(count: int) -> str:
    return f"{count} {'box' if count == 1 else 'boxes'}"


def _files(sample: Sample) -> str:
    files = [file.name for several in sample.masks.values() for file in several]
    return files[0] + (" ..." if len(files) > 1 else "")


def _beside(box: Box, look: Look) -> bool:
    """Whether more than half of a box lies outside the field of view."""
    if look.field >= _A_FIELD:
        return False
    rows, columns = (
        slice(math.floor(low * GRID), max(math.floor(low * GRID) + 1, math.ceil(high * GRID)))
        for low, high in ((box.y0, box.y1), (box.x0, box.x1))
    )
    cells = field_of(look)[rows, columns]
    return cells.size == 0 or float(cells.mean()) < 0.5
