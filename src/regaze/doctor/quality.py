"""Findings about single pictures: dark, washed out, out of focus, without a field of view.

What is unusual is judged against the rest: X-rays have white margins and scans no detail, all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np

from regaze.data.inspection import NEARLY_BLACK
from regaze.doctor.finding import Finding, Item, about
from regaze.doctor.look import Look
from regaze.records import Dataset, Sample
from regaze.words import Words, words_of

_WASHED = 0.1  # of the field of view
_DARK = 0.45  # of the usual brightness
_FEWEST = 12  # photographs from which on there is a usual one
_USUAL = 0.9  # share of the photographs that have a field of view where one is expected
_A_FIELD = 0.97  # of the frame
_DEVIATIONS = 4.5  # of the logarithm of sharpness, below the median (robust: median absolute deviation)
_BLURRED = 0.5  # and at most this share of the median


def quality_findings(dataset: Dataset, pairs: Sequence[tuple[Sample, Look]]) -> Iterator[Finding]:
    """Findings about photographs that can be read.

    Args:
        dataset: Their data set.
        pairs: Photographs, each with the look at it.

    Yields:
        The findings.
    """
    black = [(sample, look) for sample, look in pairs if look.brightest < NEARLY_BLACK]
    yield from about(
        "black",
        "misleads",
        [Item(f"{sample.id}: brightest {look.brightest:.0f} of 255", (sample,)) for sample, look in black],
        ("photograph is nearly black", "photographs are nearly black"),
        "export them anew (12 bits in a file of 16, perhaps), or take them out",
    )
    seen = [(sample, look) for sample, look in pairs if look.brightest >= NEARLY_BLACK]
    if len(seen) < _FEWEST:
        return
    yield from _exposure(seen)
    yield from _focus(seen, words_of(dataset))
    fields = sum(look.field < _A_FIELD for _, look in seen)
    if fields < len(seen) and fields >= _USUAL * len(seen):
        yield from about(
            "no-field",
            "look",
            [Item(sample.id, (sample,)) for sample, look in seen if look.field >= _A_FIELD],
            ("photograph has no field of view on a dark surround", "photographs have no field of view"),
            "the others have one: check that it is no other kind of picture, and not cut out",
        )


def _exposure(seen: Sequence[tuple[Sample, Look]]) -> Iterator[Finding]:
    washed = np.array([look.washed for _, look in seen])
    over = (washed > _WASHED) & (washed > 4 * np.median(washed) + _WASHED)
    yield from about(
        "over-exposed",
        "look",
        [Item(f"{sample.id}: {look.washed:.0%} white", (sample,)) for sample, look in compress(seen, over)],
        ("photograph is over-exposed", "photographs are over-exposed"),
        "what is white shows nothing: look whether it can be graded",
    )
    bright = np.array([look.brightest for _, look in seen])
    under = bright < _DARK * np.median(bright)
    yield from about(
        "under-exposed",
        "look",
        [
            Item(f"{sample.id}: brightest {look.brightest:.0f} of 255", (sample,))
            for sample, look in compress(seen, under)
        ],
        ("photograph is under-exposed", "photographs are under-exposed"),
        "look whether it can be graded",
    )


def _focus(seen: Sequence[tuple[Sample, Look]], words: Words) -> Iterator[Finding]:
    sharp = np.log(np.maximum([look.sharpness for _, look in seen], 1e-3))
    median = float(np.median(sharp))
    deviation = 1.4826 * float(np.median(np.abs(sharp - median)))
    blurred = (sharp < median - _DEVIATIONS * deviation) & (sharp < median + np.log(_BLURRED))
    yield from about(
        "out-of-focus",
        "look",
        [
            Item(f"{sample.id}: {np.exp(value - median):.0%} of the usual detail", (sample,))
            for (sample, _), value, is_so in zip(seen, sharp, blurred, strict=True)
            if is_so
        ],
        ("photograph is out of focus", "photographs are out of focus"),
        f"small {words.lesions} are lost in it: look whether it can be graded",
    )
