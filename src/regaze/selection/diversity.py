"""A batch of ten is not ten times the same eye.

Invariant: photographs are chosen one after another and no choice is taken back, so with the same seed a longer batch
begins with the shorter one.

Greedy k-centre on pooled features (Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach", ICLR 2018, arXiv:1708.00489, algorithm 1), weighted by the score of the rule. Ours and not
scikit-activeml's `CoreSet`: that one knows no scores, no patients and no quotas, draws its first photograph at random,
and would bring matplotlib along for a loop of ten lines. Not k-means either: its clusters change with the number asked
for, so a batch of twenty would not begin with the batch of ten that an expert has already begun.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.selection.quotas import Quota, Turns
from regaze.selection.scores import normalised_ranks


def diverse(
    features: NDArray[np.floating] | None,
    scores: NDArray[np.float64],
    count: int,
    seed: int = 0,
    *,
    weight: float = 0.5,
    groups: Sequence[str | None] | None = None,
    grades: Sequence[int] | None = None,
    quota: Quota | None = None,
    corrected: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """Choose photographs that are wanted and unlike each other.

    The next one has the largest r^(1 - weight) * d^weight: r is the normalised rank of its score (so the unit of the
    score does not matter), d the distance to the nearest photograph chosen before. A product and not a sum, so that a
    photograph with a twin in the batch comes last however much it is wanted, and so that the unit of the features
    does not matter. The first is the one with the highest score, unless `corrected` says what is near already.

    Args:
        features: (N, F) float, one pooled feature vector per photograph; distances are Euclidean, on the features as
            they come. None: no diversity (weight 0), for turns alone.
        scores: (N,) float64, higher = sooner, without NaN.
        count: How many to choose, at least 1; all, where there are fewer.
        seed: Decides between photographs that are equal in all of this.
        weight: 0: by score alone. 1: k-centre alone, where scores decide only between equally far photographs.
        groups: N patients; no patient comes twice before all have come once.
        grades: N grades, needed with a quota.
        quota: How grades take turns, see `quotas.Turns`.
        corrected: (M, F) float, features of photographs that were corrected before: also what is to be avoided.

    Returns:
        (min(count, N),) int64 indices in 0..N-1, first chosen first.

    Raises:
        ValueError: Features that are not finite.
    """
    points = np.zeros((len(scores), 0)) if features is None else _as_points(features, "features")
    turns = Turns(len(points), groups=groups, grades=grades, quota=quota)
    wanted = normalised_ranks(scores)
    # Best score first, ties by a draw: the first of several largest values is then the right one.
    order = np.lexsort((np.random.default_rng(int(seed) % 2**64).permutation(len(points)), -wanted))
    distance = np.full(len(points), np.inf)  # all alike before the first one, so that its score decides
    if corrected is not None and weight > 0:
        for centre in _as_points(corrected, "corrected"):
            distance = np.minimum(distance, _distances(points, centre))
    left = np.ones(len(points), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(count, len(points)):
        value = np.where(turns.open(left), wanted ** (1 - weight) * distance**weight, -1.0)
        best = int(order[np.argmax(value[order])])
        chosen.append(best)
        left[best] = False
        turns.take(best)
        distance = np.minimum(distance, _distances(points, points[best]))
    return np.array(chosen, dtype=np.int64)


def _distances(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) Euclidean distances.

    By the difference itself: scikit-learn's faster form, x^2 - 2xy + y^2, leaves copies of one picture at a small
    distance above 0 instead of at 0.
    """
    difference = points - centre
    distances: NDArray[np.float64] = np.sqrt(np.einsum("nf,nf->n", difference, difference))
    return distances


def _as_points(features: NDArray[np.floating], name: str) -> NDArray[np.float64]:
    points = features.astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"{name} holds numbers that are not finite: leave out photographs without features")
    return points
