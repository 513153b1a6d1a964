"""A paired difference, and what may be said of it: one vocabulary for the whole page.

Invariant: better or worse is said only where the whole interval is on one side of zero and reaches beyond the margin;
where it lies within the margin nothing changed that matters; otherwise, and over fewer than ten patients, it cannot be
told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from regaze.evaluation.intervals import FEWEST

State = Literal["better", "same", "unknown", "worse"]

DASH = "\N{EN DASH}"  # stands for a figure that was not measured
MINUS = "\N{MINUS SIGN}"

# The smallest differences that matter. Chosen beforehand, not tuned: .05 of kappa is about half of what the
# choice of 103 photographs alone moves a kappa (method notes: +-.1); .2 of enrichment is a fifth of looking
# nowhere in particular; .02 of an area under a curve of probabilities is two points of certainty, all along.
KAPPA_MARGIN = 0.05
ENRICHMENT_MARGIN = 0.2
FAITHFULNESS_MARGIN = 0.02


@dataclass(frozen=True)
class Comparison:
    """A paired difference over the same photographs.

    Attributes:
        difference: After - before; None: not measured.
        low, high: Ends of its interval; None: not measured.
        level: What the interval holds, 0..1.
        probability_better: Share of bootstrap draws in which the difference was on the good side; None: not
            given.
        n_used: Photographs that entered; None: not given.
        patients: Patients that they are of; None: not given.
        before, after: Means over these photographs; None: not given.
    """

    difference: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    probability_better: float | None = None
    n_used: int | None = None
    patients: int | None = None
    before: float | None = None
    after: float | None = None


def number(value: Any) -> float | None:
    """Return a finite float, or None for None, NaN, infinity and anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def figure(value: Any, digits: int = 2, sign: bool = False) -> str:
    """Write a number for a reader: fixed decimals, a true minus, an en dash where there is none."""
    known = number(value)
    if known is None:
        return DASH
    text = f"{known:+.{digits}f}" if sign else f"{known:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # -0.001 at two decimals is neither a gain nor a loss
    return text.replace("-", MINUS)


def compare(entry: Mapping[str, Any] | None) -> Comparison:
    """Read one entry of `ReportContent.paired`, tolerating None and missing keys."""
    found = entry or {}
    interval = found.get("interval")
    low, high = interval if interval is not None and len(interval) == 2 else (None, None)
    n_used, patients = number(found.get("n_used")), number(found.get("n_groups"))
    greater = number(found.get("probability_greater"))
    share = number(found.get("probability_better"))
    return Comparison(
        difference=number(found.get("difference")),
        low=number(low),
        high=number(high),
        level=number(found.get("level")) or 0.95,
        probability_better=greater if share is None else share,
        before=number(found.get("mean_a")),
        after=number(found.get("mean_b")),
        n_used=None if n_used is None else int(n_used),
        patients=None if patients is None else int(patients),
    )


def judge(comparison: Comparison, margin: float, higher_is_better: bool = True) -> State:
    """Decide from an interval.

    Args:
        comparison: The paired difference.
        margin: Half-width around zero inside which a difference does not matter.
        higher_is_better: False for errors.

    Returns:
        `same` where the interval lies within the margin, whether or not it includes zero; else `better` or `worse`
        where it excludes zero, and `unknown` otherwise, where there is no interval, and where too few entered.
    """
    low, high = comparison.low, comparison.high
    if low is None or high is None or too_few(comparison):
        return "unknown"
    if not higher_is_better:
        low, high = -high, -low
    if margin > 0 and -margin <= low and high <= margin:
        return "same"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unknown"


def too_few(comparison: Comparison) -> str:
    """Why an interval decides nothing, in one sentence; empty where enough entered or where that is not known."""
    if comparison.patients is not None and comparison.patients < FEWEST:
        return f"Too few to tell: photographs of {comparison.patients} patients, and {FEWEST} are the fewest."
    if comparison.n_used is not None and comparison.n_used < FEWEST:
        return f"Too few to tell: {comparison.n_used} photographs, and {FEWEST} are the fewest."
    return ""


def how_much(comparison: Comparison, digits: int = 2, begin: str = "Difference") -> str:
    """Write a difference, its interval and over how many photographs."""
    if comparison.difference is None:
        return ""
    text = f"{begin} {figure(comparison.difference, digits, sign=True)}"
    if comparison.low is not None and comparison.high is not None:
        low, high = figure(comparison.low, digits, sign=True), figure(comparison.high, digits, sign=True)
        text += f" ({comparison.level:.0%} interval {low} to {high})".replace("%", " %")
    used = "" if comparison.n_used is None else f", over {comparison.n_used} photographs"
    return f"{text}{used}."
