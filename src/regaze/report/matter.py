"""Does the grade depend on the attended region? The third answer of the page.

Invariant: a map is compared with reference rankings that do not use the photograph. "Yes" needs the better of every
one of them, on deletion and on insertion, each by a whole paired interval that reaches beyond the margin; because all
must hold, no allowance for several looks is needed. "No" needs one such ranking that so beats the map on both; there
are three, so it comes a little too easily.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regaze.evaluation.intervals import FEWEST
from regaze.evaluation.verdicts import FAITHFULNESS_MARGIN, Comparison, State, compare, how_much, judge
from regaze.report.data import ReportContent
from regaze.report.verdict import Claim

QUESTION = "Does the grade depend on the attended region?"

#: Reference rankings that do not use the photograph, and how to name them.
BLIND = {"random": "a random order", "centre": "the centre first", "blurred-random": "smooth noise"}
MEASURES = ("deletion", "insertion")

Duel = tuple[str, str, Comparison]  # measure, control, comparison turned so that above zero is better


def matter_claim(content: ReportContent) -> Claim:
    """Judge the new model's fused map against reference rankings that do not use the photograph.

    Without grade 0 where the classes are grades: on a healthy eye there is nothing whose loss could take the grade
    away.
    """
    found = duels(content)
    if not found:
        return Claim(QUESTION, "unknown", "Not measured", (_why_not(content), *_change(content)))
    least = min(comparison.n_used or 0 for *_, comparison in found)
    if least < FEWEST:
        few = f"Too few photographs were measured with reference rankings: {least}, and {FEWEST} are the fewest."
        return Claim(QUESTION, "unknown", "Cannot be told", (few, *_detail(found), *_change(content)))
    state, first = _decide(found)
    answers: dict[State, str] = {"better": "Yes", "worse": "No", "unknown": "Cannot be told"}
    healthy = ("Healthy photographs are left out.",) if part_used(content) == "without_grade_0" else ()
    sentences = (first, *healthy, *_detail(found), *_change(content))
    return Claim(QUESTION, state, answers[state], sentences, sure=_sure(found))


def matter_line(claim: Claim) -> str:
    """Return the answer as one sentence, to stand beneath the headline."""
    return {
        "Yes": "What it looks at matters to its grade.",
        "No": "What it looks at does not matter to its grade more than other places do.",
        "Cannot be told": "Whether what it looks at matters to its grade cannot be told.",
        "Not measured": "Whether what it looks at matters to its grade was not measured.",
    }[claim.answer]


def duels(content: ReportContent) -> list[Duel]:
    """Return the comparisons of the map with each blind order that was measured, on both measures."""
    part = part_used(content)
    orders = _faithfulness(content).get(part) or {} if part else {}
    found = []
    for control in BLIND:
        against = (orders.get(control) or {}).get("against") or {}
        for measure in MEASURES:
            comparison = compare(against.get(measure))
            if comparison.low is not None and comparison.high is not None:
                found.append((measure, control, mirrored(comparison) if measure == "deletion" else comparison))
    return found


def part_used(content: ReportContent) -> str | None:
    """Return which photographs the answer rests on: `without_grade_0`, else `all`; None: none was measured."""
    faithfulness = _faithfulness(content)
    fused = {part: (faithfulness.get(part) or {}).get("fused") or {} for part in ("without_grade_0", "all")}
    return next((part for part, entry in fused.items() if entry.get("n_used")), None)


def hardest(found: list[Duel]) -> list[Duel]:
    """Return, for each measure, the comparison in which the map does worst."""
    return [
        min((duel for duel in found if duel[0] == measure), key=lambda duel: duel[2].low or 0.0)
        for measure in MEASURES
        if any(duel[0] == measure for duel in found)
    ]


def mirrored(comparison: Comparison) -> Comparison:
    """Turn a comparison in which lower is better, so that above zero is better."""

    def turned(value: float | None) -> float | None:
        return None if value is None else -value

    share = comparison.probability_better
    return replace(
        comparison,
        difference=turned(comparison.difference),
        low=turned(comparison.high),
        high=turned(comparison.low),
        probability_better=None if share is None else 1 - share,
    )


def _faithfulness(content: ReportContent) -> Mapping[str, Any]:
    return content.results["models"][content.after].get("faithfulness") or {}


def _decide(found: list[Duel]) -> tuple[State, str]:
    states = {(measure, control): judge(comparison, FAITHFULNESS_MARGIN) for measure, control, comparison in found}
    lost = [
        BLIND[control]
        for control in dict.fromkeys(control for _, control, _ in found)
        if all(states.get((measure, control)) == "worse" for measure in MEASURES)
    ]
    if lost:
        return "worse", (
            f"A reference ranking ({' or '.join(lost)}) finds the pixels that decide its "
            "grade better than its attention does."
        )
    if len(states) == len(BLIND) * len(MEASURES) and set(states.values()) == {"better"}:
        return "better", (
            "Erasing the places it looks at first takes its certainty away sooner, and showing them first gives it "
            "back sooner, than any reference ranking."
        )
    unbeaten = [control for control in BLIND if any(states.get((measure, control)) != "better" for measure in MEASURES)]
    return "unknown", (
        "It is not shown: a reference ranking may find the pixels that decide its grade as "
        f"well as its attention does ({_listed([BLIND[control] for control in unbeaten])})."
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sure(found: list[Duel]) -> str:
    shares = [comparison.probability_better for *_, comparison in found if comparison.probability_better is not None]
    if len(shares) < len(found):
        return ""
    least = min(shares)
    count = "more than 99" if least > 0.995 else "fewer than 1" if least < 0.005 else f"{round(100 * least)}"
    return f"How sure: in the hardest of {len(found)} comparisons the map won in {count} of 100 random redraws."


def _detail(found: list[Duel]) -> list[str]:
    return [
        f"{measure.capitalize()}, hardest order ({BLIND[control]}), above zero is better: "
        + how_much(comparison, 3, "difference")
        for measure, control, comparison in hardest(found)
    ]


def _change(content: ReportContent) -> list[str]:
    """Say how deletion and insertion changed from the model before."""
    pairs = (content.paired.get("without_grade_0") or content.paired) if content.paired else {}
    told = []
    for measure, direction in (("deletion", "lower"), ("insertion", "higher")):
        comparison = compare(pairs.get(measure))
        if comparison.low is not None:
            told.append(
                f"{measure.capitalize()}, after against before ({direction} is better): "
                + how_much(comparison, 3, "difference")
            )
    return told


def _why_not(content: ReportContent) -> str:
    if _faithfulness(content):
        return "Nothing was measured to compare with: without reference rankings a curve says little."
    return "What happens when the places it looks at are erased or shown first was not measured."
