"""How far a class goes with something else that is known of a photograph: an effect first, then its p.

Both effects are 0 where nothing goes together and 1 where one tells the other, and are freed of what chance adds.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, rankdata

_PERMUTATIONS = 2000
_LEAST_EXPECTED = 5.0  # photographs in every cell from which on chi-square's p holds


@dataclass(frozen=True)
class Association:
    """How far two things go together.

    Attributes:
        effect: 0 (not at all) to 1 (one tells the other).
        p: Probability of as much by chance, if photographs were independent.
        n: Photographs.
    """

    effect: float
    p: float
    n: int


def of_categories(values: Sequence[Hashable], classes: ArrayLike, seed: int = 0) -> Association:
    """Cramer's V, bias-corrected (Bergsma, Journal of the Korean Statistical Society 42 (2013) 323).

    Args:
        values: N of anything.
        classes: (N,) int.
        seed: Of the permutations, which give p where a cell is expected to hold fewer than five.
    """
    codes, n_values = _codes(values)
    labels, n_classes = _codes(np.asarray(classes).tolist())
    count = len(codes)
    if min(n_values, n_classes) < 2:
        return Association(0.0, 1.0, count)
    table = contingency(codes, labels)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / count
    found = _chi_square(table, expected)
    freedom = (n_values - 1) * (n_classes - 1)
    corrected = max(0.0, found / count - freedom / (count - 1))
    sides = [side - (side - 1) ** 2 / (count - 1) for side in (n_values, n_classes)]
    effect = float(np.sqrt(corrected / max(min(sides) - 1, 1e-9)))
    if expected.min() >= _LEAST_EXPECTED:
        return Association(min(effect, 1.0), float(chi2.sf(found, freedom)), count)
    rng = np.random.default_rng(seed)
    by_chance = [_chi_square(contingency(codes, rng.permutation(labels)), expected) for _ in range(_PERMUTATIONS)]
    p = (1 + sum(value >= found - 1e-9 for value in by_chance)) / (1 + _PERMUTATIONS)
    return Association(min(effect, 1.0), p, count)


def of_numbers(values: ArrayLike, classes: ArrayLike, seed: int = 0) -> Association:
    """Square root of epsilon squared of ranks (Kruskal and Wallis' H, freed of its mean under chance).

    Args:
        values: (N,) float.
        classes: (N,) int.
        seed: Of the permutations, which give p where a class has fewer than five.
    """
    labels, n_classes = _codes(np.asarray(classes).tolist())
    ranks = rankdata(np.asarray(values, dtype=np.float64))
    count = len(ranks)
    spread = float(((ranks - ranks.mean()) ** 2).sum())
    if n_classes < 2 or count <= n_classes or spread == 0:
        return Association(0.0, 1.0, count)
    sizes = np.bincount(labels)

    def between(order: NDArray[np.int64]) -> float:
        means = np.bincount(order, ranks) / sizes
        return float((sizes * (means - ranks.mean()) ** 2).sum())

    found = between(labels)
    statistic = (count - 1) * found / spread
    effect = float(np.sqrt(max(0.0, (statistic - n_classes + 1) / (count - n_classes))))
    if sizes.min() >= _LEAST_EXPECTED:
        return Association(min(effect, 1.0), float(chi2.sf(statistic, n_classes - 1)), count)
    rng = np.random.default_rng(seed)
    by_chance = [between(rng.permutation(labels)) for _ in range(_PERMUTATIONS)]
    p = (1 + sum(value >= found - 1e-9 for value in by_chance)) / (1 + _PERMUTATIONS)
    return Association(min(effect, 1.0), p, count)


def contingency(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each pair of codes from 0 on occurs, (values, classes)."""
    n_classes = int(labels.max()) + 1
    counts = np.bincount(codes * n_classes + labels, minlength=(int(codes.max()) + 1) * n_classes)
    return counts.reshape(-1, n_classes)


def _codes(values: Sequence[Hashable]) -> tuple[NDArray[np.int64], int]:
    places: dict[Hashable, int] = {}
    codes = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)
    return codes, len(places)


def _chi_square(table: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    return float(((table - expected) ** 2 / expected).sum())
