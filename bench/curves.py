"""How much a rule teaches per correction, as one number.

Invariant: a rule is compared with others on the same budgets and the same seeds, and a resample takes the same seeds
for all of them. What is undefined is None, never infinity or NaN.

The area under the gain curve is the mean gain over the budgets. The relative score puts the random order at 0 and the
oracle at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regaze.evaluation.intervals import Bounds, paired_mean_difference, percentile_bounds, resampled_totals

# Half of what a 95 % interval leaves out, see `_relative_bounds`.
_TAIL = 0.025


@dataclass(frozen=True)
class Standing:
    """How a rule stands between the random order and the oracle.

    Attributes:
        rule: Its name.
        area: Mean over seeds of the area under its gain curve, in the unit of the gain; None without a seed.
        relative: 0 = as the random order, 1 = as the oracle, from the mean areas; None where the oracle gains no more
            than the random order.
        interval: [low, high] of `relative`, 95 %, seeds resampled; None where they are unbounded.
        lead: Mean area minus that of the reference rule, in the unit of the gain.
        lead_interval: [low, high] of `lead`, 95 %, seeds resampled.
        n_used: Seeds with a whole curve for rule, random order, oracle and reference.
        n_skipped: Seeds without.
    """

    rule: str
    area: float | None
    relative: float | None
    interval: Bounds
    lead: float | None
    lead_interval: Bounds
    n_used: int
    n_skipped: int


def area_under_gain(budgets: ArrayLike, gains: ArrayLike) -> NDArray[np.float64]:
    """Area under gain curves, by trapezoids, over the width of the budgets: the mean gain.

    Args:
        budgets: (B,) float, rising; shares or numbers of corrections, B >= 2. A gain is nothing at budget 0 by
            definition: whoever wants that part counted passes the point (0, 0).
        gains: (..., B) float, the gain at each budget, any unit, higher = better; NaN where a run is missing.

    Returns:
        (...) float64 in the unit of the gain; NaN where one gain of the curve is missing.

    Raises:
        ValueError: Budgets do not rise, or there is not one gain per budget.
    """
    at, curve = np.asarray(budgets, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    if at.ndim != 1 or at.size < 2 or not (np.diff(at) > 0).all():
        raise ValueError(f"budgets are {at.tolist()}: pass two or more, each above the one before")
    if curve.ndim < 1 or curve.shape[-1] != at.size:
        raise ValueError(
            f"gains have shape {curve.shape} for {at.size} budgets: pass one gain per budget, budgets last"
        )
    area: NDArray[np.float64] = ((curve[..., 1:] + curve[..., :-1]) / 2 * np.diff(at)).sum(-1) / (at[-1] - at[0])
    return area


def relative_score(area: float, random: float, oracle: float) -> float | None:
    """Where a rule lies between the random order and the oracle.

    Args:
        area: Mean gain of the rule.
        random: Mean gain of the random order.
        oracle: Mean gain of the oracle.

    Returns:
        (area - random) / (oracle - random): 0 = as random, 1 = as the oracle, below 0 and above 1 are possible. None
        where the oracle gains no more than the random order (there is no scale then, and a negative one would turn
        better into worse), or a number is NaN.
    """
    scale = oracle - random
    if not scale > 0 or np.isnan(area):
        return None
    return (area - random) / scale


def standings(
    budgets: ArrayLike,
    gains: Mapping[str, ArrayLike],
    *,
    random: str = "random",
    oracle: str = "map-error",
    reference: str = "confidence",
    resamples: int = 2000,
) -> dict[str, Standing]:
    """Compare rules by the area under their gain curves.

    Args:
        budgets: (B,) float, rising, the same for all rules.
        gains: Rule -> (S, B) float: gain of each seed at each budget, seeds in the same order for all rules; NaN where
            a run is missing.
        random: The rule that is 0.
        oracle: The rule that is 1.
        reference: The rule that the lead is measured against.
        resamples: Number of bootstrap resamples.

    Returns:
        Rule -> its standing, in the order of `gains`.

    Raises:
        ValueError: One of the three named rules has no gains, or shapes do not fit each other.
        OptionError: `resamples` below 1.
    """
    missing = [name for name in (random, oracle, reference) if name not in gains]
    if missing:
        raise ValueError(f"no gains of {', '.join(missing)}: pass those of {', '.join((random, oracle, reference))}")
    areas = {rule: area_under_gain(budgets, curve) for rule, curve in gains.items()}
    shapes = {area.shape for area in areas.values()}
    if len(shapes) != 1 or areas[random].ndim != 1:
        raise ValueError(
            f"gains of {len(areas)} rules have {sorted(shapes)} seeds: pass (seeds, budgets), alike for all"
        )
    return {
        rule: _standing(rule, area, areas[random], areas[oracle], areas[reference], resamples)
        for rule, area in areas.items()
    }


def _standing(
    rule: str,
    area: NDArray[np.float64],
    random: NDArray[np.float64],
    oracle: NDArray[np.float64],
    reference: NDArray[np.float64],
    resamples: int,
) -> Standing:
    together = np.stack([area, random, oracle, reference], axis=1)
    used = together[~np.isnan(together).any(axis=1)]
    n_used = len(used)
    n_skipped = len(together) - n_used
    if not n_used:
        return Standing(rule, None, None, [None, None], None, [None, None], 0, n_skipped)
    lead = paired_mean_difference(used[:, 3], used[:, 0], resamples=resamples)
    mean = used.mean(axis=0)
    difference, bounds = lead["difference"], lead["interval"]
    assert isinstance(difference, float) and isinstance(bounds, list)
    return Standing(
        rule=rule,
        area=float(mean[0]),
        relative=relative_score(float(mean[0]), float(mean[1]), float(mean[2])),
        interval=_relative_bounds(used, resamples),
        lead=difference,
        lead_interval=bounds,
        n_used=n_used,
        n_skipped=n_skipped,
    )


def _relative_bounds(used: NDArray[np.float64], resamples: int) -> Bounds:
    """Bootstrap bounds of the relative score.

    A ratio whose denominator may be 0 has no bounds (Fieller 1954): where the oracle fails to beat the random order in
    more than 2.5 % of the resamples, they are None and not the bounds of the resamples that happened to be fine.
    """
    # The gap to random, and the oracle's: differences first, so that seeds that agree give the very same ratio.
    gaps = np.stack([used[:, 0] - used[:, 1], used[:, 2] - used[:, 1]], axis=1)
    drawn = resampled_totals(gaps, resamples)
    fine = drawn[:, 1] > 0
    if (~fine).mean() > _TAIL:
        return [None, None]
    return percentile_bounds(drawn[fine, 0] / drawn[fine, 1], len(used))
