"""How sure a number is: bootstrap intervals that resample whole patients.

Invariant: every statistic here is a function of totals that add up over groups (a confusion matrix, a sum and a count).
A resample is then a weighted sum of group totals, so 2000 resamples are one matrix product, and two models that are
compared always see the same resamples.

Groups are patients: both eyes of one visit are alike, and resampling photographs one by one would claim a certainty
that is not there (cluster bootstrap; Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section
3.8). Intervals are 95 % percentile intervals (Efron 1981). Where a number is undefined the result holds None, never
NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regaze.errors import OptionError
from regaze.evaluation.verdicts import is_above_chance

Bounds = list[float | None]

_LEVEL = 0.95
_SEED = 0  # of the draws
# Cells (resamples x groups) drawn at a time: 32 MB of counts, whatever the size of the data set.
_CELLS_AT_A_TIME = 4_000_000


def as_classes(values: ArrayLike, classes: int, name: str) -> NDArray[np.int64]:
    """Check class indices and bring them to int64.

    Args:
        values: (N,) int, each 0..classes-1.
        classes: Number of classes K.
        name: What the values are, for the message.

    Returns:
        (N,) int64.

    Raises:
        ValueError: Not one-dimensional, not whole numbers, or out of range.
    """
    indices = np.asarray(values)
    if indices.ndim != 1:
        raise ValueError(f"{name} has shape {indices.shape}: pass one class index per image, shape (N,)")
    if indices.size == 0:
        return np.zeros(0, dtype=np.int64)
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"{name} has dtype {indices.dtype}: pass whole class indices 0..{classes - 1}")
    low, high = indices.min(), indices.max()
    if low < 0 or high >= classes:
        raise ValueError(f"{name} spans {low}..{high}, outside 0..{classes - 1}: leave out images without a class")
    return indices.astype(np.int64)


def group_codes(groups: Sequence[str | None] | None, n: int) -> NDArray[np.int64]:
    """Number the groups 0..G-1.

    Args:
        groups: One name per item; items of one name are resampled together. None as a name: unknown, a group of its
            own (eight unknown patients are not one patient). None altogether: each item is its own group.
        n: Number of items.

    Returns:
        (n,) int64, every number 0..G-1 used.

    Raises:
        ValueError: The number of names differs from `n`.
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} items: pass one group per item, or None")
    numbers: dict[str | int, int] = {}
    keys = (index if group is None else group for index, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def resampled_totals(totals: NDArray[np.float64], resamples: int) -> NDArray[np.float64]:
    """Draw G of G groups with replacement, many times, and sum the totals of those drawn; equal G have equal draws.

    Args:
        totals: (G, M) float64, what each group adds to M additive quantities; G >= 1.
        resamples: Number of resamples R, at least 1.

    Returns:
        (R, M) float64.

    Raises:
        OptionError: `resamples` below 1.
    """
    if resamples < 1:
        raise OptionError(f"resamples is {resamples}: pass at least 1 (2000 is usual)")
    groups = totals.shape[0]
    rng = np.random.default_rng(_SEED)
    rows = max(1, _CELLS_AT_A_TIME // groups)
    parts = []
    for begin in range(0, resamples, rows):
        size = min(rows, resamples - begin)
        cells = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * groups).reshape(size, groups)
        parts.append(counts.astype(np.float64) @ totals)
    return np.concatenate(parts)


def group_confusions(
    labels: NDArray[np.int64], grades: NDArray[np.int64], classes: int, codes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """One confusion matrix per group.

    Args:
        labels: (N,) int64 truth, 0..classes-1.
        grades: (N,) int64 decision, 0..classes-1.
        classes: Number of classes K.
        codes: (N,) int64 group of each item, see `group_codes`.

    Returns:
        (G, K, K) float64 counts, rows = truth.
    """
    groups = _count(codes)
    cells = (codes * classes + labels) * classes + grades
    counts = np.bincount(cells, minlength=groups * classes**2)
    return counts.reshape(groups, classes, classes).astype(np.float64)


def kappas(confusions: NDArray[np.float64], ordinal: bool = True) -> NDArray[np.float64]:
    """Kappa of many confusion matrices at once, quadratic weighted where classes have an order.

    kappa = 1 - sum(w * observed) / sum(w * expected), w = (i - j)^2 (Cohen 1968) or 1 off the diagonal (Cohen 1960),
    expected = product of the margins / n. scikit-learn's `cohen_kappa_score` is the same number for one matrix (the
    tests hold them together); 2000 calls of it take seconds.

    Args:
        confusions: (..., K, K) counts, rows = truth.
        ordinal: False: every miss counts alike, as it must where the order of the classes means nothing.

    Returns:
        (...) float64, at most 1; NaN where undefined (nothing counted, or one and the same class on both sides).
    """
    classes = confusions.shape[-1]
    index = np.arange(classes)
    apart = index[:, None] - index[None, :]
    weights = (apart**2 if ordinal else apart != 0).astype(np.float64)
    rows, columns = confusions.sum(-1), confusions.sum(-2)
    observed = (confusions * weights).sum((-1, -2)) * rows.sum(-1)
    expected = np.einsum("...i,ij,...j->...", rows, weights, columns)
    ratio = np.full(observed.shape, np.nan)
    np.divide(observed, expected, out=ratio, where=expected > 0)
    return 1.0 - ratio


def percentile_bounds(values: NDArray[np.float64], groups: int) -> Bounds:
    """The middle 95 % of resampled values.

    Args:
        values: (R,) float64; NaN (undefined in that resample) is left out.
        groups: How many groups were resampled. One group resamples to itself: a width of zero would claim
            certainty, so the bounds are None.

    Returns:
        [low, high], or [None, None] where undefined.
    """
    defined = values[~np.isnan(values)]
    if groups < 2 or not defined.size:
        return [None, None]
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return [float(low), float(high)]


def _share_above_zero(differences: NDArray[np.float64], groups: int) -> float | None:
    """Share of the resamples above zero, ties counted half (two equal models: one half, not zero)."""
    defined = differences[~np.isnan(differences)]
    if groups < 2 or not defined.size:
        return None
    return float((defined > 0).mean() + (defined == 0).mean() / 2)


def _as_values(values: ArrayLike) -> NDArray[np.float64]:
    """(N,) float64 with NaN for None."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values have shape {numbers.shape}: pass one number per item, shape (N,)")
    return numbers


def _count(codes: NDArray[np.int64]) -> int:
    """Groups that `group_codes` numbered."""
    return int(codes.max(initial=-1)) + 1


def resampled_ratios(
    top: NDArray[np.float64], bottom: NDArray[np.float64], codes: NDArray[np.int64], resamples: int
) -> NDArray[np.float64]:
    """Sum over sum of N items in each resample of their groups.

    Args:
        top: (N,) float64.
        bottom: (N,) float64, above 0; ones: means of `top`.
        codes: (N,) int64, every number 0..G-1 used, see `group_codes`.
        resamples: Number of resamples R.

    Returns:
        (R,) float64; empty without items.
    """
    if not top.size:
        return np.zeros(0)
    totals = np.stack([np.bincount(codes, top), np.bincount(codes, bottom)], axis=1).astype(np.float64)
    drawn = resampled_totals(totals, resamples)
    return np.asarray(drawn[:, 0] / drawn[:, 1])


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def _kept_groups(groups: Sequence[str | None] | None, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Codes of the kept items; the groups of all items are checked first."""
    group_codes(groups, keep.size)
    kept = None if groups is None else [group for group, wanted in zip(groups, keep, strict=True) if wanted]
    return group_codes(kept, int(keep.sum()))


def mean_interval(
    values: ArrayLike,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> tuple[float | None, float | None, float | None]:
    """Mean over items with its 95 % bootstrap interval.

    Args:
        values: (N,) float; None and NaN are left out (whoever skipped them has counted them).
        groups: Resampled together (patients), see `group_codes`.
        resamples: Number of resamples.

    Returns:
        (mean, low, high); None where undefined: all three without values, the bounds with fewer than two groups.

    Raises:
        ValueError: Shapes that do not fit each other.
        OptionError: `resamples` below 1.
    """
    numbers = _as_values(values)
    keep = ~np.isnan(numbers)
    codes = _kept_groups(groups, keep)
    means = resampled_ratios(numbers[keep], np.ones(len(codes)), codes, resamples)
    low, high = percentile_bounds(means, _count(codes))
    return _mean(numbers[keep]), low, high


def paired_kappa_difference(
    labels: ArrayLike,
    grades_a: ArrayLike,
    grades_b: ArrayLike,
    classes: int,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
    *,
    ordinal: bool = True,
) -> dict[str, float | int | Bounds | None]:
    """Difference of the kappas of two models on the same images.

    Args:
        labels: (N,) int truth, 0..classes-1.
        grades_a: (N,) int decisions of the model before.
        grades_b: (N,) int decisions of the model after.
        classes: Number of classes K.
        groups: Resampled together (patients), see `group_codes`.
        resamples: Number of resamples; both models see the same ones.
        ordinal: See `kappas`.

    Returns:
        `difference`: kappa of b minus kappa of a. `interval`: [low, high], 95 %. `probability_better`: share of the
        resamples in which b is better, ties half; not a p-value. `above_chance`: whether either kappa's own interval
        lies above 0. None where undefined. `n_used`: images; `n_groups`: patients.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
        OptionError: `resamples` below 1.
    """
    truth = as_classes(labels, classes, "labels")
    before, after = as_classes(grades_a, classes, "grades_a"), as_classes(grades_b, classes, "grades_b")
    if not truth.size == before.size == after.size:
        raise ValueError(
            f"{truth.size} labels, {before.size} grades_a, {after.size} grades_b: pass one of each per image"
        )
    codes = group_codes(groups, truth.size)
    result: dict[str, float | int | Bounds | None] = {
        "difference": None,
        "interval": [None, None],
        "probability_better": None,
        "above_chance": None,
        "n_used": int(truth.size),
        "n_groups": _count(codes),
    }
    both = np.stack([group_confusions(truth, grades, classes, codes) for grades in (before, after)], axis=1)
    whole = kappas(both.sum(0), ordinal)
    difference = float(whole[1] - whole[0])
    if np.isnan(difference):
        return result
    drawn = resampled_totals(both.reshape(len(both), -1), resamples).reshape(-1, 2, classes, classes)
    drawn_kappas = kappas(drawn, ordinal)
    differences = drawn_kappas[:, 1] - drawn_kappas[:, 0]
    return result | {
        "difference": difference,
        "interval": percentile_bounds(differences, len(both)),
        "probability_better": _share_above_zero(differences, len(both)),
        "above_chance": is_above_chance(percentile_bounds(draws, len(both))[0] for draws in drawn_kappas.T),
    }


def paired_mean_difference(
    values_a: ArrayLike,
    values_b: ArrayLike,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> dict[str, float | int | Bounds | None]:
    """Mean difference of one number between two models on the same images.

    Args:
        values_a: (N,) float of the model before; None or NaN where it has none.
        values_b: (N,) float of the model after, likewise. A pair counts only where both have a value.
        groups: Resampled together (patients), see `group_codes`.
        resamples: Number of resamples.

    Returns:
        `difference`: mean of b - a. `interval`: [low, high], 95 %. `probability_greater`: share of the resamples in
        which b lies above a, ties half (whether greater is better depends on the number). `mean_a`, `mean_b` over the
        used pairs. `n_used`, `n_skipped`: pairs; `n_groups`: patients of the used ones. None where undefined.

    Raises:
        ValueError: Shapes that do not fit each other.
        OptionError: `resamples` below 1.
    """
    before, after = _as_values(values_a), _as_values(values_b)
    if before.size != after.size:
        raise ValueError(f"{before.size} values_a for {after.size} values_b: pass one of each per image")
    keep = ~(np.isnan(before) | np.isnan(after))
    before, after = before[keep], after[keep]
    codes = _kept_groups(groups, keep)
    n_groups = _count(codes)
    means = resampled_ratios(after - before, np.ones(len(codes)), codes, resamples)
    return {
        "difference": _mean(after - before),
        "interval": percentile_bounds(means, n_groups),
        "probability_greater": _share_above_zero(means, n_groups),
        "mean_a": _mean(before),
        "mean_b": _mean(after),
        "n_used": before.size,
        "n_skipped": keep.size - before.size,
        "n_groups": n_groups,
    }
