"""Does the grade depend on the attended region? The third answer of the page.

Invariant: a map is compared with the reference rankings of `DECIDING`, which have all that a map has but for what the
model saw at that place. "Yes" needs the better of every one of them, on deletion and on insertion, each by a whole
paired interval that reaches beyond the margin; because all must hold, no allowance for several looks is needed. "No"
needs one such ranking that so beats the map on both; there are five, so it comes too easily.

A random order of pixels stands in the tables and decides nothing: it takes the texture of a photograph away faster than
any smooth map can, wherever the map lies, so that losing to it says nothing of the place (see `reference_rankings`).
"""

from __future__ import annotations

from regaze.evaluation.comparison import MEASURES
from regaze.evaluation.verdicts import Comparison, Verdict, compare, gain, how_much, judge, undecided
from regaze.report.data import ReportContent
from regaze.report.verdict import Answer, redraws

QUESTION = "Does the grade depend on the attended region?"

#: Reference rankings that the answer rests on, and how to name them.
DECIDING = {
    "another": "another photograph's map",
    "turned": "its own map turned",
    "mirrored": "its own map mirrored",
    "blurred-random": "smooth noise",
    "centre": "the centre first",
}

Duel = tuple[str, str, Comparison]  # measure, ranking, the map less the ranking

_ANSWERS: dict[Verdict, str] = {"improved": "Yes", "worse": "No", "inconclusive": "Inconclusive"}


def matter_answer(content: ReportContent) -> Answer:
    """Judge the new model's fused map against the reference rankings of `DECIDING`.

    Without grade 0 where the classes are grades: on a healthy eye there is nothing whose loss could take the grade
    away.
    """
    compared = duels(content)
    if not compared:
        return Answer(QUESTION, "inconclusive", "Not measured", (_why_not(content), *_change(content)))
    why = next((why for *_, comparison in compared if (why := undecided(comparison, content.words.patient))), "")
    if why:
        few = f"Too few photographs were measured with reference rankings: {why}."
        return Answer(QUESTION, "inconclusive", "Inconclusive", (few, *_detail(compared), *_change(content)))
    state, first = _decide(compared)
    sentences = (first, _over(content, compared), *_detail(compared), *_change(content))
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
    """Return the comparisons of the map with each deciding ranking that was measured, on both measures."""
    part = part_used(content)
    orders = content.figures(content.after)["faithfulness"][part] if part is not None else {}
    compared = [
        (measure, ranking, compare(orders[ranking]["against"][measure]))
        for ranking in DECIDING
        if ranking in orders
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
    gains = [(measure, ranking, gain(comparison, measure)) for measure, ranking, comparison in compared]
    by_measure = ([duel for duel in gains if duel[0] == measure] for measure in MEASURES)
    return [min(rivals, key=lambda duel: duel[2].low or 0.0) for rivals in by_measure if rivals]


def _decide(compared: list[Duel]) -> tuple[Verdict, str]:
    states = {(measure, ranking): judge(comparison, measure) for measure, ranking, comparison in compared}
    # A ranking may lack a measure, or not be there; then it neither beats the map nor is beaten.
    lost = [words for name, words in DECIDING.items() if all(states.get((m, name)) == "worse" for m in MEASURES)]
    unbeaten = [words for name, words in DECIDING.items() if any(states.get((m, name)) != "improved" for m in MEASURES)]
    if lost:
        return "worse", (
            f"A reference ranking ({' or '.join(lost)}) finds the pixels that decide its "
            "grade better than its attention does."
        )
    if not unbeaten:
        return "improved", (
            "Erasing the places it looks at first takes its certainty away sooner, and showing them first gives it "
            "back sooner, than any of these orders: "
            f"{_listed(list(DECIDING.values()))}."
        )
    return "inconclusive", (
        "It is not shown: a reference ranking may find the pixels that decide its grade as "
        f"well as its attention does ({_listed(unbeaten)})."
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _over(content: ReportContent, compared: list[Duel]) -> str:
    """Say over how many photographs the answer rests, the fewest of any comparison."""
    used = [comparison.n_used for *_, comparison in compared if comparison.n_used is not None]
    over = f"Over {min(used)} photographs" if used else "Over the photographs measured"
    healthy = part_used(content) == "without_grade_0"
    return f"{over}{f'; {content.words.healthy} ones are left out' if healthy else ''}."


def _sure(compared: list[Duel]) -> str:
    gains = [gain(comparison, measure) for measure, _, comparison in compared]
    shares = [each.probability_better for each in gains if each.probability_better is not None]
    if len(shares) < len(compared):
        return ""
    count = redraws(min(shares))
    return f"How sure: in the hardest of {len(compared)} comparisons the map won in {count} of 100 random redraws."


def _detail(compared: list[Duel]) -> list[str]:
    return [
        f"{measure.capitalize()}, hardest order ({DECIDING[ranking]}), above zero is better: "
        + how_much(comparison, 3, "difference")
        for measure, ranking, comparison in hardest(compared)
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
