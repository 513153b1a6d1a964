"""A figure over several seeds with an interval that counts both the photographs and the training runs.

Why not a t-interval over seeds: where all seeds are judged on one test part it says nothing about other patients. Why
not a bootstrap over patients alone: it takes the trained networks as given, and a second training may turn a difference
round. So the variances of both are added: that of patients from a bootstrap (all photographs of a patient, in every
seed, go together; see `evaluation.intervals`), and s²/S of the S seeds' own figures. The interval is Student's, its
degrees of freedom by Satterthwaite (1946): near S - 1 where the seeds differ most (a factor of 4.3 for three), near the
number of patients where those do. Where seeds judge different photographs, s² holds patients too, so that they are
counted twice: the interval errs to the wide side. With three seeds it lies above a true zero in at most 4 of 100 cases
(2.5 are meant), whatever differs most (the tests simulate it again), and with two in 7, so that two decide no claim.
Seeds drawn again and again instead, as an earlier version did, never leave their own range: 9 and 14 of 100.

Differences are paired: both models see the same draws of patients.

Invariant: the point is the mean of the seeds' own figures; what is undefined is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from regaze.evaluation.intervals import Bounds, kappas, percentile_bounds, resampled_totals
from regaze.evaluation.verdicts import is_above_chance
from regaze.files import json_number

Floats = NDArray[np.float64]
_ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, over seeds or of one model.

    Attributes:
        value: Mean of the seeds' figures, or None.
        low, high: 95 % interval, or None where undefined (fewer than two patients).
        per_seed: Each seed's own figure; this and what follows is left out where a figure is only drawn.
        n: Photographs that count, over all seeds (one that several seeds judge counts several times).
        patients: Patients that these are of.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    per_seed: tuple[float | None, ...] = ()
    n: int = 0
    patients: int = 0


@dataclass(frozen=True)
class Grade:
    """One photograph's truth and what a model said of it."""

    sample: str
    patient: str | None
    label: int
    grade: int


@dataclass(frozen=True)
class Value:
    """One photograph's figure, e.g. its map's squared error."""

    sample: str
    patient: str | None
    value: float


_Photographs = Sequence[Sequence[Grade]] | Sequence[Sequence[Value]]  # per seed


def mean_over_seeds(
    seeds: Sequence[Sequence[Value]], resamples: int, limits: tuple[float, float] = _ANYTHING
) -> Estimate:
    """The mean of a figure of photographs.

    Args:
        seeds: One sequence of photographs per seed.
        resamples: Bootstrap resamples.
        limits: What the figure lies between by definition; the interval is cut there.
    """
    codes = _codes(seeds)
    totals = np.zeros((max(1, len(codes)), len(seeds), 2))
    for seed, items in enumerate(seeds):
        for item in items:
            totals[codes[_group(item)], seed] += (item.value, 1)
    return _estimate(totals, len(codes), lambda sums: _ratio(sums[..., 0], sums[..., 1]), resamples, seeds, limits)


def mean_difference(before: Sequence[Sequence[Value]], after: Sequence[Sequence[Value]], resamples: int) -> Estimate:
    """Mean of after - before over the photographs that both have, paired within each seed.

    Args:
        before: One sequence of photographs per seed.
        after: The same of the other model.
        resamples: Bootstrap resamples.
    """
    pairs = []
    for olds, news in zip(before, after, strict=True):
        old = {item.sample: item.value for item in olds}
        pairs.append([Value(i.sample, i.patient, i.value - old[i.sample]) for i in news if i.sample in old])
    return mean_over_seeds(pairs, resamples)


def accuracy_values(seeds: Sequence[Sequence[Grade]]) -> list[list[Value]]:
    """1 for a photograph that is graded right, else 0."""
    return [[Value(i.sample, i.patient, float(i.label == i.grade)) for i in items] for items in seeds]


def kappa_over_seeds(
    seeds: Sequence[Sequence[Grade]], classes: int, resamples: int, *, ordinal: bool = True
) -> Estimate:
    """Kappa, computed within each seed; quadratic weighted where classes have an order.

    Args:
        seeds: One sequence of photographs per seed.
        classes: Number of classes.
        resamples: Bootstrap resamples.
        ordinal: False: classes without an order.
    """
    codes = _codes(seeds)
    totals = _confusions(seeds, codes, classes)
    return _estimate(totals, len(codes), lambda sums: kappas(sums, ordinal), resamples, seeds, (-1.0, 1.0))


def unlearned(estimates: Sequence[Estimate]) -> str:
    """Why kappas cannot be compared: none of them is shown to be above chance; empty where one is."""
    if is_above_chance(item.low for item in estimates):
        return ""
    return "neither is shown to grade better than chance, so they have not learned enough to be compared"


def kappa_difference(
    before: Sequence[Sequence[Grade]],
    after: Sequence[Sequence[Grade]],
    classes: int,
    resamples: int,
    *,
    ordinal: bool = True,
) -> Estimate:
    """Kappa of after minus kappa of before on the same photographs, within each seed.

    Args:
        before: One sequence of photographs per seed.
        after: The same photographs, graded by the other model.
        classes: Number of classes.
        resamples: Bootstrap resamples.
        ordinal: False: classes without an order.
    """
    for olds, news in zip(before, after, strict=True):
        assert [item.sample for item in olds] == [item.sample for item in news]
    codes = _codes(before)
    both = np.stack([_confusions(side, codes, classes) for side in (before, after)], axis=2)

    def difference(sums: Floats) -> Floats:
        pair: Floats = kappas(sums, ordinal)
        return pair[..., 1] - pair[..., 0]

    return _estimate(both, len(codes), difference, resamples, before)


def _estimate(
    totals: Floats,
    groups: int,
    statistic: Callable[[Floats], Floats],
    resamples: int,
    seeds: _Photographs,
    limits: tuple[float, float] = _ANYTHING,
) -> Estimate:
    """From totals (G groups, S seeds, …) to the mean of the seeds' statistics and its interval."""
    n = sum(len(items) for items in seeds)
    figures_S = statistic(totals.sum(axis=0))
    per_seed = tuple(json_number(value) for value in figures_S)
    known = figures_S[~np.isnan(figures_S)]
    if not known.size or groups == 0:
        return Estimate(None, None, None, per_seed, n, groups)
    drawn = resampled_totals(totals.reshape(len(totals), -1), resamples).reshape(-1, *totals.shape[1:])
    figures = statistic(drawn)
    defined = ~np.isnan(figures)
    means = _ratio(np.where(defined, figures, 0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
    value = float(known.mean())
    low, high = percentile_bounds(means, groups) if known.size == 1 else _student(value, known, means, groups)
    if low is not None and high is not None:
        low, high = max(low, min(limits[0], value)), min(high, max(limits[1], value))
    return Estimate(value, low, high, per_seed, n, groups)


def _student(value: float, figures_S: Floats, means_R: Floats, groups: int) -> Bounds:
    """The interval around the mean of at least two seeds' figures, see the module.

    `means_R`: the mean over seeds in each draw of patients; NaN where undefined.
    """
    means = means_R[~np.isnan(means_R)]
    if groups < 2 or means.size < 2:
        return [None, None]
    # A bootstrap of G patients has (G - 1) / G of the variance.
    patients = float(means.var(ddof=1)) * groups / (groups - 1)
    seeds = float(figures_S.var(ddof=1)) / figures_S.size
    total = patients + seeds
    if total == 0:
        return [value, value]
    freedom = total**2 / (seeds**2 / (figures_S.size - 1) + patients**2 / (groups - 1))
    half = float(stdtrit(freedom, 0.975)) * total**0.5
    return [value - half, value + half]


def _group(item: Grade | Value) -> tuple[str, str]:
    """Photographs of one patient go together; an unknown patient is one of their own."""
    return ("patient", item.patient) if item.patient is not None else ("sample", item.sample)


def _codes(seeds: _Photographs) -> dict[tuple[str, str], int]:
    names = sorted({_group(item) for items in seeds for item in items})
    return {name: code for code, name in enumerate(names)}


def _confusions(seeds: Sequence[Sequence[Grade]], codes: dict[tuple[str, str], int], classes: int) -> Floats:
    totals = np.zeros((max(1, len(codes)), len(seeds), classes, classes))
    for seed, items in enumerate(seeds):
        for item in items:
            totals[codes[_group(item)], seed, item.label, item.grade] += 1
    return totals


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above / below, NaN where below is 0."""
    result: Floats = np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
    return result
