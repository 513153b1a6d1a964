"""Does the grade depend on the attended region? The third answer of the page.

Invariant: a map is compared with reference rankings that do not use the photograph. "Yes" needs the better of every
one of them, on deletion and on insertion, each by a whole paired interval that reaches beyond the margin; because all
must hold, no allowance for several looks is needed. "No" needs one such ranking that so beats the map on both; there
are three, so it comes a little too easily.
"""

from __future__ import annotations

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
    compared = duels(content)
    if not compared:
        return Answer(QUESTION, "inconclusive", "Not measured", (_why_not(content), *_change(content)))
    why = next((why for *_, comparison in compared if (why := undecided(comparison))), "")
    if why:
        few = f"Too few photographs were measured with reference rankings: {why}."
        return Answer(QUESTION, "inconclusive", "Inconclusive", (few, *_detail(compared), *_change(content)))
    state, first = _decide(compared)
    healthy = ("Healthy photographs are left out.",) if part_used(content) == "without_grade_0" else ()
    sentences = (first, *healthy, *_detail(compared), *_change(content))
    return Answer(QUESTION, state, _ANSWERS[state], sentences, sure=_sure(compared))


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
    orders = content.figures(content.after)["faithfulness"][part] if part is not None else {}
    compared = [
        (measure, control, compare(orders[control]["against"][measure]))
        for control in BLIND
        if control in orders
        for measure in MEASURES
    ]
    return [duel for duel in compared if duel[2].low is not None]


def part_used(content: ReportContent) -> str | None:
    """Return which photographs the answer rests on: `without_grade_0`, else `all`; None: none was measured."""
    parts = content.figures(content.after)["faithfulness"] or {}
    measured = [part for part, orders in parts.items() if orders is not None and orders["fused"]["n_used"]]
    return next((part for part in ("without_grade_0", "all") if part in measured), None)


def hardest(compared: list[Duel]) -> list[Duel]:
    """Return, for each measure, the comparison in which the map does worst, turned so that above zero is better."""
    gains = [(measure, control, gain(comparison, measure)) for measure, control, comparison in compared]
    by_measure = ([duel for duel in gains if duel[0] == measure] for measure in MEASURES)
    return [min(rivals, key=lambda duel: duel[2].low or 0.0) for rivals in by_measure if rivals]


def _decide(compared: list[Duel]) -> tuple[Verdict, str]:
    states = {(measure, control): judge(comparison, measure) for measure, control, comparison in compared}
    # A ranking may lack a measure; then it neither beats the map nor is beaten.
    lost = [words for name, words in BLIND.items() if all(states.get((m, name)) == "worse" for m in MEASURES)]
    unbeaten = [words for name, words in BLIND.items() if any(states.get((m, name)) != "improved" for m in MEASURES)]
    if lost:
        return "worse", (
            f"A reference ranking ({' or '.join(lost)}) finds the pixels that decide its "
            "grade better than its attention does."
        )
    if not unbeaten:
        return "improved", (
            "Erasing the places it looks at first takes its certainty away sooner, and showing them first gives it "
            "back sooner, than any reference ranking."
        )
    return "inconclusive", (
        "It is not shown: a reference ranking may find the pixels that decide its grade as "
        f"well as its attention does ({_listed(unbeaten)})."
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sure(compared: list[Duel]) -> str:
    gains = [gain(comparison, measure) for measure, _, comparison in compared]
    shares = [each.probability_better for each in gains if each.probability_better is not None]
    if len(shares) < len(compared):
        return ""
    count = redraws(min(shares))
    return f"How sure: in the hardest of {len(compared)} comparisons the map won in {count} of 100 random redraws."


def _detail(compared: list[Duel]) -> list[str]:
    return [
        f"{measure.capitalize()}, hardest order ({BLIND[control]}), above zero is better: "
        + how_much(comparison, 3, "difference")
        for measure, control, comparison in hardest(compared)
    ]


def _change(content: ReportContent) -> list[str]:
    """Say how deletion and insertion changed from the model before."""
    pairs = content.paired["without_grade_0"] or content.paired
    ways = (("deletion", "lower"), ("insertion", "higher"))
    comparisons = [(measure, way, compare(pairs[measure])) for measure, way in ways]
    return [
        f"{measure.capitalize()}, after against before ({way} is better): {how_much(comparison, 3, 'difference')}"
        for measure, way, comparison in comparisons
        if comparison.low is not None
    ]


def _why_not(content: ReportContent) -> str:
    if content.figures(content.after)["faithfulness"]:
        return "Nothing was measured to compare with: without reference rankings a curve says little."
    return "What happens when the places it looks at are erased or shown first was not measured."
