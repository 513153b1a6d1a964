"""Periods: photographs of one time and camera, or of one site, which may look alike for reasons that are no disease.

Who was photographed changes with the years (screening camps, a clinic's patients) and so does the camera's look; a
model that reads the year off the colours is rewarded wherever training and validation share the years. A split by
period leaves whole periods out.

A period is a calendar year of one camera, by EXIF. A year that holds more photographs than a fold should is cut *in
time*, between days, never interleaved. The values of a column are periods as they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from regaze.data.images import acquisition
from regaze.records import Sample

_SLACK = 1.1  # a year may exceed a fold's fair share by a tenth before it is cut


def with_periods(samples: Sequence[Sample]) -> list[Sample]:
    """Fill in `Sample.date` and `Sample.period` (`2009`, or `2009, NIKON D90`) from the photographs' EXIF.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        taken = list(pool.map(acquisition, [sample.image for sample in samples]))
    return [
        replace(sample, date=day, period=period_name(day, camera)) if day is not None else sample
        for sample, (day, camera) in zip(samples, taken, strict=True)
    ]


def period_name(day: str, camera: str) -> str:
    """The period of a day (`2009-08-20`) and a camera ('' where it is unknown)."""
    return f"{day[:4]}, {camera}" if camera else day[:4]


def cut_periods(samples: Sequence[Sample], most: float) -> list[tuple[str, int] | None]:
    """The periods that a split leaves out: as they are, or where their days are known cut to a size.

    Args:
        samples: N photographs.
        most: Photographs that a period should hold at most; a tenth more is let pass.

    Returns:
        For each photograph (period, piece of it in time, from 0), None where the period is unknown. Pieces are as many
        as the size needs, about equally large, and hold whole days.
    """
    pieces: dict[tuple[str, str], int] = {}
    for period, members in _by_period(samples):
        days = Counter(sample.date for sample in members if sample.date is not None)
        count = math.ceil(days.total() / (_SLACK * most))
        before = 0
        for day, photographs in sorted(days.items()):
            # The piece in which the middle of the day lies.
            pieces[period, day] = int((before + photographs / 2) * count / days.total())
            before += photographs
    return [
        None if sample.period is None else (sample.period, pieces.get((sample.period, sample.date or ""), 0))
        for sample in samples
    ]


def fold_periods(samples: Iterable[Sample], split: dict[str, int]) -> dict[int, list[str]]:
    """What each fold holds of the periods, for a reader.

    Args:
        samples: Photographs.
        split: Sample id -> fold; photographs that are not in it are left out.

    Returns:
        Fold -> names in their order: `2009` where it has the whole period, `2009 (2009-08-20 to 2009-11-07)` for a run
        of neighbouring days of it. Photographs of unknown period add none.
    """
    dealt = [sample for sample in samples if sample.id in split]
    names: dict[int, list[str]] = {fold: [] for fold in sorted(set(split.values()))}
    for period, members in _by_period(dealt):
        ordered = sorted((sample.date or "", split[sample.id]) for sample in members)
        runs = [(fold, [day for day, _ in run]) for fold, run in groupby(ordered, key=lambda item: item[1])]
        for fold, days in runs:
            names[fold].append(period if len(runs) == 1 or not days[0] else f"{period} ({days[0]} to {days[-1]})")
    return names


def _by_period(samples: Sequence[Sample]) -> list[tuple[str, list[Sample]]]:
    """The known periods in the order of their names, each with its photographs."""
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.period is not None:
            members.setdefault(sample.period, []).append(sample)
    return sorted(members.items())
