"""What a paired difference says, in one of four words: improved, worse, equivalent, inconclusive.

Invariant: nobody else compares an interval with zero or with a margin. Every command, page and table takes its word and
its decision from `judge`, and the margins and minima from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Verdict = Literal["improved", "worse", "equivalent", "inconclusive"]

DASH = "\N{EN DASH}"  # stands for a figure that was not measured
MINUS = "\N{MINUS SIGN}"

#: Below so many patients a bootstrap's interval is too narrow to decide. Chosen beforehand, not tuned.
FEWEST = 10
#: Below so many trainings of each model it is hardly known how far another one would lie.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Measure:
    """How differences of a measure are judged.

    Attributes:
        margin: The least difference that matters: half-width of the band around zero inside which none does.
        lower_is_better: True for errors.
    """

    margin: float
    lower_is_better: bool = False


#: Margins were chosen beforehand, not tuned, each for its reason.
MEASURES = {
    "kappa": Measure(0.05),  # about half of what the choice of 103 photographs alone moves a kappa (+-.1)
    # One photograph in fifty, graded with certainty, moved by one grade of five (.25 each).
    "ranked_probability_score": Measure(0.005, lower_is_better=True),
    "log_loss": Measure(0.02, lower_is_better=True),  # a fiftieth more probability for the truth
    "enrichment": Measure(0.2),  # a fifth of looking nowhere in particular, which is 1
    "squared_error": Measure(0.01, lower_is_better=True),  # a map that is off by a tenth everywhere
    "deletion": Measure(0.02, lower_is_better=True),  # two points of certainty, all along the curve
    "insertion": Measure(0.02),  # likewise
    # The same two points of a certainty of two thirds.
    "relative_deletion": Measure(0.03, lower_is_better=True),
    "relative_insertion": Measure(0.03),
    # Shares of one: a twentieth, such as one photograph in twenty.
    "accuracy": Measure(0.05),
    "iou": Measure(0.05),
    "dice": Measure(0.05),
    "area": Measure(0.05),
}


@dataclass(frozen=True)
class Comparison:
    """A paired difference over the same photographs; None is not measured or not given.

    Attributes:
        difference: After - before.
        low, high: Ends of its 95 % interval.
        probability_better: Share of bootstrap draws in which the difference was on the good side.
        n_used: Photographs that entered.
        patients: Patients that they are of.
        seeds: Trainings of each model, where the interval is over them too; None: it takes the models as given.
        above_chance: Whether either kappa is shown to be above chance; None: the measure is no kappa.
        before, after: Means over these photographs.
    """

    difference: float | None
    low: float | None
    high: float | None
    probability_better: float | None = None
    n_used: int | None = None
    patients: int | None = None
    seeds: int | None = None
    above_chance: bool | None = None
    before: float | None = None
    after: float | None = None


def number(value: Any) -> float | None:
    """Return a finite float, or None for None, NaN, infinity and anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def figure(value: Any, digits: int = 2, sign: bool = False) -> str:
    """Write a number for a reader: fixed decimals, a true minus, an en dash where there is none.

    Args:
        value: What should be a number.
        digits: Decimals.
        sign: A plus before gains.
    """
    finite = number(value)
    if finite is None:
        return DASH
    text = f"{finite:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # -0.001 at two decimals is neither a gain nor a loss
    return text.replace("-", MINUS)


def compare(entry: Mapping[str, Any] | None) -> Comparison:
    """Read a pair as `evaluation.intervals` writes it, tolerating None and missing keys."""
    pair = entry or {}
    low, high = pair.get("interval") or (None, None)
    return Comparison(
        difference=number(pair.get("difference")),
        low=number(low),
        high=number(high),
        probability_better=number(pair.get("probability_better", pair.get("probability_greater"))),
        before=number(pair.get("mean_a")),
        after=number(pair.get("mean_b")),
        n_used=pair.get("n_used"),
        patients=pair.get("n_groups"),
        above_chance=pair.get("above_chance"),
    )


def is_above_chance(lows: Iterable[float | None]) -> bool:
    """Whether any of several kappas, by the lower ends of their intervals, is shown to be above chance."""
    return any(low is not None and low > 0 for low in lows)


def gain(comparison: Comparison, measure: str) -> Comparison:
    """Turn a comparison so that above zero is better; its means stay as they are.

    Args:
        comparison: After - before.
        measure: A key of `MEASURES`.
    """
    if not MEASURES[measure].lower_is_better:
        return comparison
    difference, low, high = (
        None if value is None else -value for value in (comparison.difference, comparison.high, comparison.low)
    )
    share = comparison.probability_better
    return replace(
        comparison, difference=difference, low=low, high=high, probability_better=None if share is None else 1 - share
    )


def judge(comparison: Comparison, measure: str) -> Verdict:
    """Decide what a paired difference says.

    The rule: an interval within the margin is *equivalent*, whether or not it excludes zero, since a difference that is
    sure and too small to matter is no gain. Else it is *improved* or *worse* where the whole interval lies on that side
    of zero (its far end then reaches beyond the margin), and *inconclusive* where it includes or touches zero. What is
    `undecided` is inconclusive, whatever the interval.

    Args:
        comparison: The paired difference, after - before.
        measure: A key of `MEASURES`, whose margin and direction count.
    """
    better, margin = gain(comparison, measure), MEASURES[measure].margin
    low, high = better.low, better.high
    if low is None or high is None or undecided(comparison):
        return "inconclusive"
    if -margin <= low and high <= margin:
        return "equivalent"
    if low > 0:
        return "improved"
    return "worse" if high < 0 else "inconclusive"


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """Sum up the verdicts on several measures of one model: harm in any of them is harm."""
    order: tuple[Verdict, ...] = ("worse", "improved", "inconclusive", "equivalent")
    return min(verdicts, key=order.index, default="equivalent")


def credited(verdict: Verdict, against_control: Verdict | None) -> Verdict:
    """What corrections are credited with: an improvement only as far as it goes beyond an equally long training.

    Args:
        verdict: On the model after against the one before.
        against_control: On the model after against its control; None: there is none, so that an improvement is not
            shown to come from the corrections.
    """
    return verdict if verdict != "improved" else against_control or "inconclusive"


def undecided(comparison: Comparison, patient: str = "patient") -> str:
    """Why an interval decides nothing, as part of a sentence; empty where it does or where that is not known.

    Fewer than `FEWEST` patients or photographs, or fewer than `FEWEST_SEEDS` trainings, decide nothing; nor do two
    models that guess, since equal kappas of theirs are no finding.

    Args:
        comparison: The paired difference.
        patient: What a patient is called.
    """
    alone = comparison.patients == comparison.n_used  # where no patient is known, each photograph is one of its own
    for count, fewest, noun in (
        (comparison.seeds, FEWEST_SEEDS, "training run"),
        (None if alone else comparison.patients, FEWEST, patient),
        (comparison.n_used, FEWEST, "photograph"),
    ):
        if count is not None and count < fewest:
            return f"{count} {noun}{'' if count == 1 else 's'}, and {fewest} are the fewest"
    return "neither model is shown to grade better than chance" if comparison.above_chance is False else ""


def size(comparison: Comparison, measure: str) -> str:
    """Say whether a difference that is there is also large enough to matter; empty where none is shown.

    Args:
        comparison: The paired difference, after - before.
        measure: A key of `MEASURES` of which higher is better.
    """
    low, high, margin = comparison.low, comparison.high, MEASURES[measure].margin
    if low is None or high is None or undecided(comparison) or low <= 0 <= high:
        return ""
    noun = "gain" if low > 0 else "loss"
    if judge(comparison, measure) == "equivalent":
        return f"There is a small {noun}, below the {margin:g} that we hold to be the least that matters."
    if min(abs(low), abs(high)) < margin:
        return f"The {noun} may yet be smaller than the {margin:g} that we hold to be the least that matters."
    return f"Even the cautious end of the interval is a {noun} that matters ({margin:g} or more)."


def how_much(comparison: Comparison, digits: int = 2, begin: str = "Difference") -> str:
    """Write a difference, its interval and over how many photographs; nothing where there is no difference.

    Args:
        comparison: The paired difference.
        digits: Decimals.
        begin: The first word.
    """
    if comparison.difference is None:
        return ""
    text, low, high = (
        figure(value, digits, sign=True) for value in (comparison.difference, comparison.low, comparison.high)
    )
    text = f"{begin} {text}"
    if DASH not in (low, high):
        text += f" (95 % interval {low} to {high})"
    used = "" if comparison.n_used is None else f", over {comparison.n_used} photographs"
    return f"{text}{used}."
