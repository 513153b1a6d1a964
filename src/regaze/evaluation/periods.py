"""How well a model grades in each period, and whether its error follows the period.

Periods differ in their grades, and some grades are harder than others. So beside a period's accuracy stands what it has
over or under the accuracy that its grades explain: the mean over its photographs of (right or not) less the share of
that grade that is graded right over all periods. Far from zero, the model does better or worse there for a reason that
is not the grade: a camera's look, another kind of patient, or a shortcut that holds in some periods only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regaze.evaluation.intervals import as_classes, group_codes, group_confusions, kappas, resampled_ratios
from regaze.evaluation.proper_scores import ranked_probability_scores
from regaze.files import json_number

#: A period of fewer graded photographs is left out: its accuracy would be off by .2 by chance alone.
FEWEST_PHOTOGRAPHS = 20


def grading_by_period(
    probabilities: ArrayLike,
    grades: ArrayLike,
    labels: ArrayLike,
    periods: Sequence[str | None],
    *,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
    ordinal: bool = True,
) -> dict[str, Any] | None:
    """Figures of each period that has enough photographs.

    Args:
        probabilities: (N, K) float softmax probabilities.
        grades: (N,) int decoded grades, 0..K-1.
        labels: (N,) int truth, 0..K-1.
        periods: N names; None: unknown.
        groups: Resampled together (patients), see `intervals.group_codes`.
        resamples: Number of bootstrap resamples.
        ordinal: False for classes without an order.

    Returns:
        None with fewer than two such periods; else `periods`: name -> `n`, `accuracy`, `recall` (K shares, None for a
        grade that does not occur), `quadratic_weighted_kappa` (unweighted for classes without an order; None where
        undefined), `ranked_probability_score` (mean; None for classes without an order) and `excess` (accuracy over
        what its grades explain: `mean`, and `interval`, which is as wide as holds for *all* periods together with 95 %,
        Bonferroni); `n_left_out`: graded photographs of unknown periods or of such with too few.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
        ModelError: Probabilities that are not numbers in 0..1.
        OptionError: `resamples` below 1.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    classes = shares.shape[1]
    truth, decided = as_classes(labels, classes, "labels"), as_classes(grades, classes, "grades")
    if not len(shares) == truth.size == decided.size == len(periods):
        raise ValueError(f"{len(shares)} rows of probabilities, {truth.size} labels, {len(periods)} periods: one each")
    counts = Counter(period for period in periods if period is not None)
    names = sorted(period for period, count in counts.items() if count >= FEWEST_PHOTOGRAPHS)
    if len(names) < 2:
        return None
    right = (truth == decided).astype(np.float64)
    totals = np.bincount(truth, minlength=classes)
    excess = right - (np.bincount(truth, right, classes) / np.maximum(totals, 1))[truth]
    ranked = ranked_probability_scores(shares, truth) if ordinal else None
    named = np.array([period if period is not None else "" for period in periods], dtype=object)
    figures = {}
    for name in names:
        here = np.flatnonzero(named == name)
        confusion = group_confusions(truth[here], decided[here], classes, np.zeros(here.size, np.int64))
        codes = group_codes(None if groups is None else [groups[int(index)] for index in here], here.size)
        figures[name] = {
            "n": int(here.size),
            "accuracy": float(right[here].mean()),
            "recall": [_share(confusion[0, k, k], confusion[0, k].sum()) for k in range(classes)],
            "quadratic_weighted_kappa": json_number(float(kappas(confusion[0], ordinal))),
            "ranked_probability_score": None if ranked is None else float(ranked[here].mean()),
            "excess": {
                "mean": float(excess[here].mean()),
                "interval": _bounds(excess[here], codes, resamples, len(names)),
            },
        }
    return {"periods": figures, "n_left_out": truth.size - sum(counts[name] for name in names)}


def period_answer(by_period: dict[str, Any]) -> str:
    """One sentence: whether the error follows the period.

    Args:
        by_period: What `grading_by_period` gave.
    """
    off = {}
    for name, figures in by_period["periods"].items():
        low, high = figures["excess"]["interval"]
        if low is not None and (low > 0 or high < 0):
            off[name] = figures["excess"]["mean"]
    if not off:
        return (
            "the error is not shown to follow the period: no period is clearly graded right more or less often than "
            "its grades explain"
        )
    listed = "; ".join(
        f"{name} is graded right {abs(100 * mean):.0f} points {'more' if mean > 0 else 'less'} often than its grades "
        "explain"
        for name, mean in off.items()
    )
    return f"the error follows the period: {listed}"


def _bounds(values: NDArray[np.float64], codes: NDArray[np.int64], resamples: int, periods: int) -> list[float | None]:
    """Bounds of the mean that hold for so many periods together with 95 %."""
    if codes.max(initial=-1) < 1:
        return [None, None]
    means = resampled_ratios(values, np.ones(values.size), codes, resamples)
    tail = 0.025 / periods
    return [float(end) for end in np.quantile(means, [tail, 1 - tail])]


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None
