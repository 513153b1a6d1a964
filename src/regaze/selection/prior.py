"""Where an expert would probably look, learned from the corrections made so far.

Invariant: what is learned is judged on photographs that it has not seen; where looking at the photograph does not beat
the mean of the corrected maps there, the mean map is used.

A linear model per map cell: the features of the cell -> how much an expert would look there. Linear least squares with
a penalty (ridge), because the distance is a squared error, corrected maps are soft (0..1), and everything that
cross-validation needs is a sum over photographs: five folds and all penalties cost one pass over the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.intervals import group_codes

# Penalties that are tried, per cell and on standardised features. The factor of 10 between them is coarse on purpose:
# the held-out error is flat around its minimum.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 5
_CELLS = 8000  # drawn at most
# Cells that are taken to float64 at a time, times their features: 32 MB.
_NUMBERS_AT_A_TIME = 4_000_000
# A cell at or above half of the map's range is "look here".
_LOOK = 0.5


@dataclass(frozen=True)
class Prior:
    """What corrections so far make one expect of a map.

    Attributes:
        mean: (h, w) float64, mean of the corrected maps, 0..1.
        weights: (C,) float64 per feature, or None: every photograph is expected to look like `mean`.
        bias: Expectation of a cell whose features are all 0.
        error: Mean squared error on held-out photographs of the linear model; None where it was not measured (fewer
            than two patients, or no cell that an expert would look at).
        error_mean: The same of the mean map.
    """

    mean: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    bias: float
    error: float | None
    error_mean: float | None

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating],
        targets: NDArray[np.floating],
        seed: int = 0,
        *,
        groups: Sequence[str | None] | None = None,
    ) -> Prior:
        """Learn from corrected photographs.

        Cells are drawn half from where the expert looks and half from elsewhere, as far as there are, since lesions
        cover few; each counts for as many as it stands for, so that the expectation stays one of whole maps.

        Args:
            features: (N, C, h, w) float, features per map cell; may be memory-mapped, is read photograph by photograph.
            targets: (N, h, w) float, 0..1, the corrected maps on the same cells; all 0: "nothing here".
            seed: Seed of the cells that are drawn and of the folds.
            groups: N patients, kept on one side of the cross-validation; None as a patient: unknown. None: each
                photograph is its own.

        Returns:
            The prior; the mean map alone where the features do no better on held-out photographs.

        Raises:
            ValueError: Features that are not finite.
        """
        codes = group_codes(groups, len(targets))
        mean = targets.astype(np.float64).mean(axis=0)
        n_groups = int(codes.max()) + 1
        if n_groups < 2 or not (targets >= _LOOK).any():
            return cls(mean, None, 0.0, None, None)
        rng = np.random.default_rng(int(seed) % 2**64)
        fold_of = (rng.permutation(n_groups) % min(_FOLDS, n_groups))[codes]
        drawn = _draw(features, targets, rng)
        sums = [_sums(drawn, fold_of[drawn.photo] == fold) for fold in range(int(fold_of.max()) + 1)]
        errors = [_held_out_error(drawn, fold_of, sums, penalty) for penalty in _PENALTIES]
        error_mean = _held_out_error_of_mean(drawn, fold_of, targets)
        best = int(np.argmin(errors))
        if not errors[best] < error_mean:
            return cls(mean, None, 0.0, errors[best], error_mean)
        solution = _solve(sums, _PENALTIES[best])
        weights = solution[:-1] / drawn.spread
        bias = float(solution[-1] - drawn.centre @ weights)
        return cls(mean, weights, bias, errors[best], error_mean)

    def distance(self, features: NDArray[np.floating], maps: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far a model's maps are from what is expected.

        Args:
            features: (N, C, h, w) float, the same features as in `fit`, of any photographs; may be memory-mapped.
            maps: (N, h, w) float, 0..1, the model's maps on the same cells.

        Returns:
            (N,) float64, mean squared difference over the cells, 0..1: what map error is against the true map of
            one scale.

        Raises:
            ValueError: Features that are not finite.
        """
        distances = np.empty(len(maps))
        step = max(1, _NUMBERS_AT_A_TIME // max(1, int(np.prod(features.shape[1:]))))
        for begin in range(0, len(maps), step):
            part = slice(begin, begin + step)
            expected = self.expected(features[part])
            distances[part] = ((maps[part].astype(np.float64) - expected) ** 2).mean(axis=(1, 2))
        return distances

    def expected(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where an expert would look.

        From (n, C, h, w) float features of a few photographs: (n, h, w) float64, 0..1, or (h, w) where all are alike.
        """
        if self.weights is None:
            return self.mean
        flat = _finite(features).reshape(len(features), len(self.weights), -1)
        expected: NDArray[np.float64] = np.clip(self.weights @ flat + self.bias, 0, 1)
        return expected.reshape(len(features), *self.mean.shape)


@dataclass(frozen=True)
class _Drawn:
    """Cells drawn from the corrected photographs.

    Attributes:
        rows: (n, C + 1) float64, standardised features and a last column of ones.
        wanted: (n,) float64, the targets.
        weight: (n,) float64, how many cells each stands for, mean 1.
        photo: (n,) int64, the photograph of each.
        cell: (n,) int64, its index in the flattened map.
        centre, spread: (C,) float64, what the features were standardised with.
    """

    rows: NDArray[np.float64]
    wanted: NDArray[np.float64]
    weight: NDArray[np.float64]
    photo: NDArray[np.int64]
    cell: NDArray[np.int64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]


def _draw(features: NDArray[np.floating], targets: NDArray[np.floating], rng: np.random.Generator) -> _Drawn:
    flat = targets.ravel()
    look, elsewhere = np.flatnonzero(flat >= _LOOK), np.flatnonzero(flat < _LOOK)
    n_look = min(len(look), max(1, _CELLS // 2))
    n_elsewhere = min(len(elsewhere), max(1, _CELLS - n_look))
    kinds = ((look, n_look), (elsewhere, n_elsewhere))
    indices = np.concatenate([rng.choice(kind, size=n, replace=False) for kind, n in kinds])
    weight = np.concatenate([np.full(n, len(kind) / max(1, n)) for kind, n in kinds])
    order = np.argsort(indices)  # photograph by photograph
    indices, weight = indices[order], weight[order] / weight.mean()
    photo, cell = np.divmod(indices, targets[0].size)
    rows = np.empty((len(indices), features.shape[1] + 1))
    for index in np.unique(photo):
        here = photo == index
        rows[here, :-1] = _finite(features[index].reshape(features.shape[1], -1)[:, cell[here]].T)
    rows[:, -1] = 1.0
    centre = np.average(rows[:, :-1], axis=0, weights=weight)
    spread = np.sqrt(np.average((rows[:, :-1] - centre) ** 2, axis=0, weights=weight))
    # A dead channel: what is left of it is rounding, which must not be blown up to a feature.
    spread[spread <= 1e-9 * np.abs(centre)] = 1.0
    rows[:, :-1] = (rows[:, :-1] - centre) / spread
    return _Drawn(rows, flat[indices].astype(np.float64), weight, photo, cell, centre, spread)


class _Sums(NamedTuple):
    """What least squares needs of some cells: X'WX (C+1, C+1), X'Wy (C+1,), and the sum of the weights."""

    gram: NDArray[np.float64]
    moment: NDArray[np.float64]
    total: float


def _sums(drawn: _Drawn, chosen: NDArray[np.bool_]) -> _Sums:
    rows, weight = drawn.rows[chosen], drawn.weight[chosen]
    weighted = rows * weight[:, None]
    return _Sums(weighted.T @ rows, weighted.T @ drawn.wanted[chosen], float(weight.sum()))


def _solve(sums: Sequence[_Sums], penalty: float) -> NDArray[np.float64]:
    """(C+1,) float64 minimiser of mean weighted squared error + penalty * |weights|^2, the constant unpenalised."""
    gram = np.sum([part.gram for part in sums], axis=0)
    moment = np.sum([part.moment for part in sums], axis=0)
    total = sum(part.total for part in sums)
    ridge = np.full(len(moment), penalty)
    ridge[-1] = 0.0
    solution: NDArray[np.float64] = np.linalg.solve(gram / total + np.diag(ridge), moment / total)
    return solution


def _held_out_error(drawn: _Drawn, fold_of: NDArray[np.int64], sums: Sequence[_Sums], penalty: float) -> float:
    """Mean squared error per cell of whole maps, on photographs that the model has not seen."""
    error = 0.0
    for fold in range(len(sums)):
        held_out = fold_of[drawn.photo] == fold
        solution = _solve([part for index, part in enumerate(sums) if index != fold], penalty)
        guess = np.clip(drawn.rows[held_out] @ solution, 0, 1)
        error += float(drawn.weight[held_out] @ (guess - drawn.wanted[held_out]) ** 2)
    return error / float(drawn.weight.sum())


def _held_out_error_of_mean(drawn: _Drawn, fold_of: NDArray[np.int64], targets: NDArray[np.floating]) -> float:
    """The same of the mean map of the other folds, on the same cells."""
    error = 0.0
    for fold in np.unique(fold_of):
        held_out = fold_of[drawn.photo] == fold
        mean = targets[fold_of != fold].astype(np.float64).mean(axis=0).ravel()
        error += float(drawn.weight[held_out] @ (mean[drawn.cell[held_out]] - drawn.wanted[held_out]) ** 2)
    return error / float(drawn.weight.sum())


def _finite(features: NDArray[np.floating]) -> NDArray[np.float64]:
    values = features.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("features hold numbers that are not finite: collect them again")
    return values
