"""Does the grade depend on the attended region? The third answer of the page.

Invariant: a map is compared with reference rankings that do not use the photograph. "Yes" needs the better of every
one of them, on deletion and on insertion, each by a whole paired interval that reaches beyond the margin; because all
must hold, no allowance for several looks is needed. "No" needs one such ranking that so beats the map on both; there
are three, so it comes a little too easily.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regaze.evaluation.comparison import MEASURES
from regaze.evaluation.verdicts import Comparison, Verdict, compare, gain, how_much, judge, undecided
from regaze.report.data import ReportContent
from regaze.report.verdict import Answer, redraws

QUESTION = "Does the grade depend on the attended region?"

#: Reference rankings that do not use the photograph, and how to name them.
BLIND = {"random": "a random order", "centre": "the centre first", "blurred-random": "smooth noise"}

Duel = tuple[str, str, Comparison]  # measure, control, the map less the control

_ANSWERS: dict[Verdict, str] = {"improved": "Yes", "worse": "No", "inconclusive": "Inconclusive"}


def matter_answer(content: ReportContent) -> Answer:
    """Judge the new model's fused map against reference rankings that do not use the photograph.

    Without grade 0 where the classes are grades: on a healthy eye there is nothing whose loss could take the grade
    away.
    """
    found = duels(content)
    if not found:
        return Answer(QUESTION, "inconclusive", "Not measured", (_why_not(content), *_change(content)))
    why = next((why for *_, comparison in found if (why := undecided(comparison))), "")
    if why:
        few = f"Too few photographs were measured with reference rankings: {why}."
        return Answer(QUESTION, "inconclusive", "Inconclusive", (few, *_detail(found), *_change(content)))
    state, first = _decide(found)
    healthy = ("Healthy photographs are left out.",) if part_used(content) == "without_grade_0" else ()
    sentences = (first, *healthy, *_detail(found), *_change(content))
    return Answer(QUESTION, state, _ANSWERS[state], sentences, sure=_sure(found))


def matter_line(answer: Answer) -> str:
    """Return the answer as one sentence, to stand beneath the headline."""
    return {
        "Yes": "What it looks at matters to its grade.",
        "No": "What it looks at does not matter to its grade more than other places do.",
        "Inconclusive": "Whether what it looks at matters to its grade is inconclusive.",
        "Not measured": "Whether what it looks at matters to its grade was not measured.",
    }[answer.answer]


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
                found.append((measure, control, comparison))
    return found


def part_used(content: ReportContent) -> str | None:
    """Return which photographs the answer rests on: `without_grade_0`, else `all`; None: none was measured."""
    faithfulness = _faithfulness(content)
    fused = {part: (faithfulness.get(part) or {}).get("fused") or {} for part in ("without_grade_0", "all")}
    return next((part for part, entry in fused.items() if entry.get("n_used")), None)


def hardest(found: list[Duel]) -> list[Duel]:
    """Return, for each measure, the comparison in which the map does worst, turned so that above zero is better."""
    turned = [(measure, control, gain(comparison, measure)) for measure, control, comparison in found]
    return [
        min((duel for duel in turned if duel[0] == measure), key=lambda duel: duel[2].low or 0.0)
        for measure in MEASURES
        if any(duel[0] == measure for duel in turned)
    ]


def _faithfulness(content: ReportContent) -> Mapping[str, Any]:
    return content.results["models"][content.after].get("faithfulness") or {}


def _decide(found: list[Duel]) -> tuple[Verdict, str]:
    states = {(measure, control): judge(comparison, measure) for measure, control, comparison in found}
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
    if len(states) == len(BLIND) * len(MEASURES) and set(states.values()) == {"improved"}:
        return "improved", (
            "Erasing the places it looks at first takes its certainty away sooner, and showing them first gives it "
            "back sooner, than any reference ranking."
        )
    unbeaten = [name for name in BLIND if any(states.get((measure, name)) != "improved" for measure in MEASURES)]
    return "inconclusive", (
        "It is not shown: a reference ranking may find the pixels that decide its grade as "
        f"well as its attention does ({_listed([BLIND[name] for name in unbeaten])})."
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sure(found: list[Duel]) -> str:
    turned = [gain(comparison, measure) for measure, _, comparison in found]
    shares = [comparison.probability_better for comparison in turned if comparison.probability_better is not None]
    if len(shares) < len(found):
        return ""
    count = redraws(min(shares))
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
