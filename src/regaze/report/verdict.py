"""Did it help? Two questions, answered apart: does it grade better; does it look in better places?

Invariant: `evaluation.verdicts` alone decides. A good picture never speaks for the grades, nor the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from regaze.evaluation.verdicts import (
    DASH,
    MEASURES,
    Comparison,
    Verdict,
    compare,
    credited,
    figure,
    how_much,
    judge,
    size,
    together,
    undecided,
)
from regaze.report.data import ReportContent

_GRADES: dict[Verdict, str] = {
    "improved": "it grades better",
    "equivalent": "its grading did not change by an amount that matters",
    "inconclusive": "whether it grades better is inconclusive",
    "worse": "it grades worse",
}
_PLACES: dict[Verdict, str] = {
    "improved": "it looks at the {lesions} more",
    "equivalent": "where it looks did not change by an amount that matters",
    "inconclusive": "whether it looks in better places is inconclusive",
    "worse": "it looks at the {lesions} less",
}


@dataclass(frozen=True)
class Answer:
    """One of the page's answers.

    Attributes:
        question: What is asked.
        state: What the difference says.
        answer: The same in a word or two for the reader.
        sentences: The reasons, most important first.
        doubt: Why an improvement is not credited to the corrections; empty where it is, or where there is none.
        sure: How sure, in one sentence; empty where that is not known.
        credit: What the control says, in one sentence; empty where there is nothing to credit.
    """

    question: str
    state: Verdict
    answer: str
    sentences: tuple[str, ...]
    doubt: str = ""
    sure: str = ""
    credit: str = ""


@dataclass(frozen=True)
class Summary:
    """The answer at the top of the page.

    Attributes:
        state: Both answers together.
        headline: One sentence.
        grading: Does it grade better?
        places: Does it look in better places?
    """

    state: Verdict
    headline: str
    grading: Answer
    places: Answer


def decide(content: ReportContent) -> Summary:
    """Answer both questions and word the headline."""
    grading, places = grading_answer(content), places_answer(content)
    headline = content.words.fill(_headline(grading, places))
    return Summary(together((grading.state, places.state)), headline, grading, places)


def _headline(grading: Answer, places: Answer) -> str:
    pair = (grading.state, places.state)
    if pair == ("equivalent", "equivalent"):
        return "No: neither its grading nor where it looks changed by an amount that matters."
    if pair == ("inconclusive", "inconclusive"):
        return "Inconclusive: this much data cannot tell whether it grades better or looks in better places."
    order = ("improved", "worse", "equivalent", "inconclusive")
    clauses = sorted(((grading, _GRADES), (places, _PLACES)), key=lambda clause: order.index(clause[0].state))
    joiner = "; "
    if set(pair) == {"improved", "worse"}:
        joiner = ", but "
    elif pair in (("improved", "improved"), ("worse", "worse")):
        joiner = " and "
    return f"{_opening(grading, places)}: {joiner.join(_clause(*clause) for clause in clauses)}."


def _clause(answer: Answer, words: dict[Verdict, str]) -> str:
    return words[answer.state] + (f" ({answer.doubt})" if answer.doubt else "")


def _opening(grading: Answer, places: Answer) -> str:
    states = {grading.state, places.state}
    if {"improved", "worse"} <= states:
        return "At a price"
    if "worse" in states:
        return "No, it got worse"
    if "improved" not in states:
        return "Inconclusive"
    return "Yes" if states == {"improved"} and not grading.doubt and not places.doubt else "In part"


def grading_answer(content: ReportContent) -> Answer:
    """Judge the paired difference of kappa."""
    comparison = compare(content.paired["kappa"])
    before, after = (content.figures(name)["quadratic_weighted_kappa"] for name in (content.before, content.after))
    state = judge(comparison, "kappa")
    reasons = {
        "improved": "Its grades agree better with the experts' than before, by more than chance explains.",
        "equivalent": _too_small("kappa"),
        "inconclusive": "Inconclusive: this much data cannot tell a gain from a loss.",
        "worse": "Its grades agree less with the experts' than before, by more than chance explains.",
    }
    first = _why_undecided(comparison, content) or reasons[state]
    if comparison.low is None:
        first = "No paired comparison of the grades is given."
    sentences = (
        first,
        f"Agreement (kappa: 0 is chance, 1 is perfect) went from {figure(before)} to {figure(after)}. "
        f"{how_much(comparison)}",
        size(comparison, "kappa"),
        *_scores(content),
    )
    return _answer(content, "kappa", "Does it grade better?", state, sentences, "graded better")


_SCORES = {"ranked_probability_score": ("Ranked probability score", 4), "log_loss": ("Log-loss", 3)}


def _scores(content: ReportContent) -> list[str]:
    """Say what kappa does not see: how the probabilities changed. The answer stays kappa's, chosen beforehand."""
    pairs = [(words, digits, key, compare(content.paired[key])) for key, (words, digits) in _SCORES.items()]
    return [
        f"{words} (0 is perfect): {how_much(pair, digits, 'difference')} Lower is better: {judge(pair, key)}."
        for words, digits, key, pair in pairs
        if pair.low is not None
    ]


def places_answer(content: ReportContent) -> Answer:
    """Judge where the model looks by enrichment; squared error may veto an answer, never make one.

    An empty map has a small squared error where lesions are small, so a fall of the squared error alone is no
    success; a rise beside a steady or better enrichment means that the two measures disagree.
    """
    comparison, error = compare(content.paired["enrichment"]), compare(content.paired["squared_error"])
    state, lesions = judge(comparison, "enrichment"), content.words.lesions
    vetoed = state != "worse" and judge(error, "squared_error") == "worse"
    if vetoed:
        state = "inconclusive"
    reasons = {
        "improved": f"More of its attention lies on the {lesions} than before, by more than chance explains.",
        "equivalent": _too_small("enrichment"),
        "inconclusive": f"Inconclusive: this much data cannot tell a move towards the {lesions} from a move away.",
        "worse": f"Less of its attention lies on the {lesions} than before, by more than chance explains.",
    }
    first = _why_undecided(comparison, content) or reasons[state]
    if vetoed:
        first = "The two measures disagree: the squared error to the experts' maps rose."
    elif comparison.low is None:
        first = f"No paired comparison of the maps is given: it needs photographs whose {lesions} are known."
    error_text = f"Squared error to the experts' maps: {how_much(error, 3, 'difference')} Lower is better."
    sentences = (
        first,
        _enrichment_text(content, comparison),
        "" if vetoed else size(comparison, "enrichment"),
        "" if error.low is None else error_text,
    )
    question = "Does it look in better places?"
    return _answer(content, "enrichment", question, state, sentences, f"looked at the {lesions} more")


def _answer(
    content: ReportContent, measure: str, question: str, state: Verdict, sentences: tuple[str, ...], did: str
) -> Answer:
    comparison = compare(content.paired[measure])
    control = compare(content.paired[f"{measure}_against_control"])
    credit, doubt = _credit(control, measure, state)
    against = "" if control.low is None else f"Against the control: {how_much(control, begin='difference')}"
    reasons = tuple(sentence for sentence in (*sentences, against) if sentence)
    return Answer(question, state, state.capitalize(), reasons, doubt, _how_sure(comparison, did, content.unit), credit)


def _too_small(measure: str) -> str:
    return f"Any difference is too small to matter: the interval lies within ±{MEASURES[measure].margin:g}."


def _why_undecided(comparison: Comparison, content: ReportContent) -> str:
    why = undecided(comparison, content.words.patient)
    return f"Inconclusive: {why}." if why else ""


def _enrichment_text(content: ReportContent, comparison: Comparison) -> str:
    before, after = figure(comparison.before, 1), figure(comparison.after, 1)
    if DASH in (before, after):
        maps = (content.figures(name)["maps"]["fused"] for name in (content.before, content.after))
        before, after = (figure(fused["lesion_enrichment"], 1) for fused in maps)
    if DASH in (before, after):
        return how_much(comparison)
    change = f"went from {before} to {after} times chance. {how_much(comparison)}"
    return f"Attention on the {content.words.lesions} (1 is chance) {change}"


def _how_sure(comparison: Comparison, did: str, unit: str) -> str:
    share = comparison.probability_better
    if share is None or undecided(comparison):
        return ""
    return f"How sure: of 100 random redraws of the {unit}s, the new model {did} in {redraws(share)}."


def redraws(share: float) -> str:
    """A share of bootstrap draws as so many of 100, claiming neither certainty nor impossibility."""
    return "more than 99" if share > 0.995 else "fewer than 1" if share < 0.005 else f"{round(100 * share)}"


def _credit(control: Comparison, measure: str, state: Verdict) -> tuple[str, str]:
    """Whether the corrections made the difference or the longer training did: `credit` and `doubt` of the answer."""
    if control.low is None:
        if state != "improved":
            return "", ""
        return (
            "It is not compared with a control (a model trained equally long without the corrected maps), so the gain "
            "may come from the longer training.",
            "not compared with a control",
        )
    against = judge(control, measure)
    words = {
        "improved": "is better",
        "equivalent": "shows no difference that matters",
        "inconclusive": "is inconclusive",
        "worse": "is worse",
    }
    text = f"Against the control, trained equally long without the corrected maps, it {words[against]}."
    if state != "improved":
        return text, ""
    if credited(state, against) == "improved":
        return f"{text} So the corrections made the difference.", ""
    doubt = "not shown to come from the corrections"
    return f"{text} So the gain is {doubt}.", doubt
