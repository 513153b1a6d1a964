"""How well a model grades: one dict of numbers per set of predictions.

Invariant: what is undefined is None, never NaN, for the dict becomes JSON; and no number goes without its `n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from regaze.evaluation.intervals import (
    as_classes,
    group_codes,
    group_confusions,
    kappas,
    mean_interval,
    percentile_bounds,
    resampled_totals,
)
from regaze.evaluation.proper_scores import PROPER_SCORES, as_probabilities, proper_scores
from regaze.files import json_number

_BINS = 10  # of the reliability diagram
_SPECIFICITY = 0.9  # of `sensitivity_at_90`


def quadratic_weighted_kappa(labels: ArrayLike, grades: ArrayLike, classes: int) -> float | None:
    """Agreement of two gradings, corrected for chance, far misses punished by the square of their distance.

    Cohen 1968; the same as scikit-learn's `cohen_kappa_score(weights="quadratic", labels=range(classes))`.

    Args:
        labels: (N,) int truth, 0..classes-1.
        grades: (N,) int decoded grades, 0..classes-1.
        classes: Number of grades K.

    Returns:
        At most 1, 0 for chance; None where undefined: no image, or one and the same class on both sides.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
    """
    truth, decided = as_classes(labels, classes, "labels"), as_classes(grades, classes, "grades")
    if truth.size != decided.size:
        raise ValueError(f"{truth.size} labels for {decided.size} grades: pass one of each per image")
    codes = group_codes(None, truth.size)
    return json_number(float(kappas(group_confusions(truth, decided, classes, codes).sum(0))))


def grading_summary(
    probabilities: ArrayLike,
    grades: ArrayLike,
    labels: ArrayLike,
    *,
    referable_from: int | None = 2,
    positive: int | None = None,
    groups: Sequence[str | None] | None = None,
    resamples: int = 2000,
    ordinal: bool = True,
) -> dict[str, Any]:
    """All numbers on the grading of N images.

    Args:
        probabilities: (N, K) float softmax probabilities.
        grades: (N,) int decoded grades, 0..K-1 (not always the arg-max).
        labels: (N,) int truth, 0..K-1.
        referable_from: From this grade on a patient is referred; None, or a grade that leaves one side without classes
            (2 with two classes): no such cut, and the numbers of `referable` are None.
        positive: Of two classes the one that is looked for; None: no such figures.
        groups: Resampled together (patients), see `intervals.group_codes`.
        resamples: Number of bootstrap resamples.
        ordinal: False for classes without an order.

    Returns:
        A dict that JSON can hold; None where undefined: `quadratic_weighted_kappa`, for classes without an order the
        unweighted kappa under the same name; `interval`: its [low, high], 95 % bootstrap percentiles, by group;
        `ranked_probability_score` (None for classes without an order) and `log_loss`, each `mean` and `interval`;
        `accuracy` of the decoded grades; `recall`: K shares, None for a grade that does not occur; `confusion`: K x K
        counts, rows = truth; `referable`: `auroc` (score = summed probability of the referable grades),
        `sensitivity_at_90` (the most that a cut of this score reaches at a specificity of at least .9), `sensitivity`
        and `specificity` (decision = decoded grade >= `referable_from`); `two_classes`: the same of class `positive`
        against the other; `calibration_error`: sum over the bins of
        `reliability` of share of images x |accuracy - mean confidence|; `n`: number of images.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
        ModelError: Probabilities that are not numbers in 0..1.
        OptionError: `resamples` below 1.
    """
    shares = as_probabilities(probabilities)
    n, classes = shares.shape
    truth, decided = as_classes(labels, classes, "labels"), as_classes(grades, classes, "grades")
    if not n == truth.size == decided.size:
        raise ValueError(f"{n} rows of probabilities, {decided.size} grades, {truth.size} labels: pass one per image")
    per_group = group_confusions(truth, decided, classes, group_codes(groups, n))
    confusion = per_group.sum(0)
    rows = confusion.sum(1)
    return {
        "quadratic_weighted_kappa": json_number(float(kappas(confusion, ordinal))),
        "interval": _kappa_interval(per_group, resamples, ordinal),
        **dict.fromkeys(PROPER_SCORES),
        **_mean_scores(proper_scores(shares, truth, ordinal), groups, resamples),
        "accuracy": _share(np.trace(confusion), n),
        "recall": [_share(confusion[k, k], rows[k]) for k in range(classes)],
        "confusion": confusion.astype(int).tolist(),
        "referable": _referable(shares, decided, truth, referable_from),
        "two_classes": None if positive is None else _of_two(shares, decided, truth, positive),
        "calibration_error": _calibration_error(reliability(shares, truth)),
        "n": n,
    }


def reliability(probabilities: ArrayLike, labels: ArrayLike) -> list[dict[str, float]]:
    """Confidence against accuracy, for a reliability diagram (Guo et al. 2017, arXiv 1706.04599, section 2).

    Args:
        probabilities: (N, K) float softmax probabilities.
        labels: (N,) int truth, 0..K-1.

    Returns:
        The bins that hold images, of ten of equal width, by rising confidence: `confidence` (mean largest probability),
        `accuracy` (share whose arg-max is the truth) and `n`. The arg-max, not the decoded grade: the confidence is
        that of the arg-max.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
        ModelError: Probabilities that are not numbers in 0..1.
    """
    shares = as_probabilities(probabilities)
    truth = as_classes(labels, shares.shape[1], "labels")
    if truth.size != len(shares):
        raise ValueError(f"{truth.size} labels for {len(shares)} rows of probabilities: pass one per image")
    if not truth.size:
        return []
    confidence, right = shares.max(1), shares.argmax(1) == truth
    bins = np.digitize(confidence, np.arange(1, _BINS) / _BINS)
    return [
        {
            "confidence": float(confidence[bins == index].mean()),
            "accuracy": float(right[bins == index].mean()),
            "n": int((bins == index).sum()),
        }
        for index in np.unique(bins)
    ]


def _mean_scores(
    scores: dict[str, NDArray[np.float64]], groups: Sequence[str | None] | None, resamples: int
) -> dict[str, Any]:
    """Mean and 95 % bounds of each score."""
    means = {name: mean_interval(values, groups, resamples) for name, values in scores.items()}
    return {name: {"mean": mean, "interval": [low, high]} for name, (mean, low, high) in means.items()}


def _kappa_interval(per_group: NDArray[np.float64], resamples: int, ordinal: bool) -> list[float | None]:
    """95 % bounds of kappa from (G, K, K) confusions."""
    groups, classes, _ = per_group.shape
    if not groups:
        return [None, None]
    drawn = resampled_totals(per_group.reshape(groups, -1), resamples)
    return percentile_bounds(kappas(drawn.reshape(-1, classes, classes), ordinal), groups)


def _referable(
    shares: NDArray[np.float64],
    grades: NDArray[np.int64],
    labels: NDArray[np.int64],
    referable_from: int | None,
) -> dict[str, float | None]:
    """AUROC, sensitivity and specificity of "refer" against "do not refer"."""
    keys = ("auroc", "sensitivity", "specificity", "sensitivity_at_90")
    result: dict[str, float | None] = dict.fromkeys(keys)
    if referable_from is None or not 0 < referable_from < shares.shape[1]:
        return result
    truth, decision = labels >= referable_from, grades >= referable_from
    result["sensitivity"] = _share((truth & decision).sum(), truth.sum())
    result["specificity"] = _share((~truth & ~decision).sum(), (~truth).sum())
    if truth.any() and not truth.all():
        score = shares[:, referable_from:].sum(1)
        result["auroc"] = float(roc_auc_score(truth, score))
        false_alarms, found, _ = roc_curve(truth, score, drop_intermediate=False)
        result["sensitivity_at_90"] = float(found[false_alarms <= 1 - _SPECIFICITY + 1e-9].max())
    return result


def _of_two(
    shares: NDArray[np.float64], grades: NDArray[np.int64], labels: NDArray[np.int64], positive: int
) -> dict[str, float | None]:
    """`_referable` of one of two classes against the other."""
    if positive == 1:
        return _referable(shares, grades, labels, 1)
    return _referable(shares[:, ::-1], 1 - grades, 1 - labels, 1)


def _calibration_error(diagram: list[dict[str, float]]) -> float | None:
    """Expected calibration error of a reliability diagram (Guo et al. 2017, equation 3)."""
    gaps = sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in diagram)
    return _share(gaps, sum(row["n"] for row in diagram))


def _share(part: float | np.number[Any], whole: float | np.number[Any]) -> float | None:
    """Part over whole; None where the whole is empty."""
    return float(part) / float(whole) if whole else None
