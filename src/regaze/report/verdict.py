"""Did it help? Two claims, judged apart: it grades better; it looks in better places.

Invariant: a claim is made by `judgement` alone, and none of the grades where neither model is shown to grade better
than chance. A good picture never speaks for the grades, nor the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regaze.evaluation.verdicts import (
    DASH,
    ENRICHMENT_MARGIN,
    KAPPA_MARGIN,
    Comparison,
    State,
    compare,
    figure,
    how_much,
    judge,
    number,
    too_few,
)
from regaze.report.data import ReportContent

_GRADES: dict[State, str] = {
    "better": "it grades better",
    "same": "its grading did not change by an amount that matters",
    "unknown": "whether it grades better cannot be told",
    "worse": "it grades worse",
}
_PLACES: dict[State, str] = {
    "better": "it looks at the lesions more",
    "same": "where it looks did not change by an amount that matters",
    "unknown": "whether it looks in better places cannot be told",
    "worse": "it looks at the lesions less",
}
_STATES: dict[State, str] = {
    "better": "Better",
    "same": "No difference that matters",
    "unknown": "Cannot be told",
    "worse": "Worse",
}


@dataclass(frozen=True)
class Claim:
    """One of the two answers.

    Attributes:
        question: What is asked.
        state: The answer.
        answer: The state in two or three words.
        sentences: The reasons in plain words, most important first.
        credited: Whether the gain exceeds that of the control; None: there is no gain or no control.
        sure: How sure, in one sentence; empty where that is not known.
        credit: What the control says, in one sentence; empty where there is nothing to credit.
    """

    question: str
    state: State
    answer: str
    sentences: tuple[str, ...]
    credited: bool | None = None
    sure: str = ""
    credit: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer at the top of the page.

    Attributes:
        state: `better`, `same`, `unknown` or `worse`; harm in either claim makes it `worse`.
        headline: One sentence.
        grading: Does it grade better?
        places: Does it look in better places?
    """

    state: State
    headline: str
    grading: Claim
    places: Claim


def decide(content: ReportContent) -> Verdict:
    """Judge both claims and word the headline."""
    grading, places = grading_claim(content), places_claim(content)
    states = (grading.state, places.state)
    overall: State
    if "worse" in states:
        overall = "worse"
    elif "better" in states:
        overall = "better"
    else:
        overall = "same" if states == ("same", "same") else "unknown"
    return Verdict(overall, _headline(grading, places), grading, places)


def _headline(grading: Claim, places: Claim) -> str:
    pair = (grading.state, places.state)
    if pair == ("same", "same"):
        return "No: neither its grading nor where it looks changed by an amount that matters."
    if pair == ("unknown", "unknown"):
        return "It cannot be told whether it grades better or looks in better places."
    rank = {"better": 0, "worse": 1, "same": 2, "unknown": 3}
    clauses = [(rank[c.state], _clause(c, words)) for c, words in ((grading, _GRADES), (places, _PLACES))]
    clauses.sort(key=lambda clause: clause[0])
    joiner = "; "
    if set(pair) == {"better", "worse"}:
        joiner = ", but "
    elif pair in (("better", "better"), ("worse", "worse")):
        joiner = " and "
    return f"{_opening(grading, places)}: {joiner.join(text for _, text in clauses)}."


def _clause(claim: Claim, words: dict[State, str]) -> str:
    text = words[claim.state]
    return f"{text} (not shown to come from the corrections)" if claim.credited is False else text


def _opening(grading: Claim, places: Claim) -> str:
    states = {grading.state, places.state}
    if {"better", "worse"} <= states:
        return "At a price"
    if "worse" in states:
        return "No, it got worse"
    if "better" not in states:
        return "It cannot be told"
    if states == {"better"} and grading.credited is not False and places.credited is not False:
        return "Yes"
    return "In part"


def grading_claim(content: ReportContent) -> Claim:
    """Judge the paired difference of kappa."""
    comparison = compare(content.paired.get("kappa"))
    models = [content.results["models"][name] for name in (content.before, content.after)]
    before, after = (figures.get("quadratic_weighted_kappa") for figures in models)
    lows = [number((figures.get("interval") or [None])[0]) for figures in models]
    guessing = None not in lows and not any(low > 0 for low in lows if low is not None)
    state = "unknown" if guessing else judge(comparison, KAPPA_MARGIN)
    reasons = {
        "better": "Its grades agree better with the experts' than before, by more than chance explains.",
        "same": f"Any difference is too small to matter: the interval lies within ±{KAPPA_MARGIN:g}.",
        "unknown": "With these photographs a gain cannot be told from a loss.",
        "worse": "Its grades agree less with the experts' than before, by more than chance explains.",
    }
    first = too_few(comparison) or reasons[state]
    if comparison.low is None:
        first = "No paired comparison of the grades is given."
    elif guessing:
        first = "Neither model is shown to grade better than chance, so there is nothing to compare."
    sentences = [
        first,
        f"Agreement (kappa: 0 is chance, 1 is perfect) went from {figure(before)} to {figure(after)}. "
        f"{how_much(comparison)}",
        _size(comparison, state, KAPPA_MARGIN),
        _against_control(content, "kappa"),
    ]
    return Claim(
        "Does it grade better?",
        state,
        _STATES[state],
        tuple(s for s in sentences if s),
        sure="" if guessing else _how_sure(comparison, "graded better"),
        **({} if guessing else _credit(content, "kappa", state, KAPPA_MARGIN)),
    )


def places_claim(content: ReportContent) -> Claim:
    """Judge where the model looks by enrichment; squared error may veto a claim, never make one.

    An empty map has a small squared error where lesions are small, so a fall of the squared error alone is no
    success; a rise beside a steady or better enrichment means that the two measures disagree.
    """
    comparison = compare(content.paired.get("enrichment"))
    error = compare(content.paired.get("squared_error"))
    state = judge(comparison, ENRICHMENT_MARGIN)
    vetoed = state != "worse" and judge(error, 0, higher_is_better=False) == "worse"
    if vetoed:
        state = "unknown"
    reasons = {
        "better": "More of its attention lies on the lesions than before, by more than chance explains.",
        "same": f"Any difference is too small to matter: the interval lies within ±{ENRICHMENT_MARGIN:g}.",
        "unknown": "With these photographs a move towards the lesions cannot be told from a move away.",
        "worse": "Less of its attention lies on the lesions than before, by more than chance explains.",
    }
    first = too_few(comparison) or reasons[state]
    if vetoed:
        first = "The two measures disagree: the squared error to the experts' maps rose."
    elif comparison.low is None:
        first = "No paired comparison of the maps is given: it needs photographs whose lesions are known."
    sentences = [
        first,
        _went(content, comparison),
        "" if vetoed else _size(comparison, state, ENRICHMENT_MARGIN),
        f"Squared error to the experts' maps: {how_much(error, 3, 'difference')} Lower is better."
        if error.low is not None
        else "",
        _against_control(content, "enrichment"),
    ]
    return Claim(
        "Does it look in better places?",
        state,
        _STATES[state],
        tuple(s for s in sentences if s),
        sure=_how_sure(comparison, "looked at the lesions more"),
        **_credit(content, "enrichment", state, ENRICHMENT_MARGIN),
    )


def _went(content: ReportContent, comparison: Comparison) -> str:
    before, after = figure(comparison.before, 1), figure(comparison.after, 1)
    if DASH in (before, after):
        before, after = (_fused(content, name) for name in (content.before, content.after))
    if DASH in (before, after):
        return how_much(comparison)
    return f"Attention on the lesions (1 is chance) went from {before} to {after} times chance. {how_much(comparison)}"


def _fused(content: ReportContent, name: str) -> str:
    maps = content.results["models"][name].get("maps") or {}
    return figure((maps.get("fused") or {}).get("lesion_enrichment"), 1)


def _how_sure(comparison: Comparison, did: str) -> str:
    share = comparison.probability_better
    if share is None or too_few(comparison):
        return ""
    count = f"{round(share * 100)}"
    if share > 0.995:
        count = "more than 99"
    elif share < 0.005:
        count = "fewer than 1"
    return f"How sure: of 100 random redraws of the patients, the new model {did} in {count}."


def _size(comparison: Comparison, state: State, margin: float) -> str:
    """Say whether a difference that is there is also large enough to matter."""
    if state == "unknown" or comparison.low is None or comparison.high is None:
        return ""
    if comparison.low <= 0 <= comparison.high:
        return ""
    least, most = sorted((abs(comparison.low), abs(comparison.high)))
    noun = "gain" if comparison.low > 0 else "loss"
    if most <= margin:
        return f"There is a small {noun}, below the {margin:g} that we hold to be the least that matters."
    if least < margin:
        return f"The {noun} may yet be smaller than the {margin:g} that we hold to be the least that matters."
    return f"Even the cautious end of the interval is a {noun} that matters ({margin:g} or more)."


def _against_control(content: ReportContent, key: str) -> str:
    comparison = compare(content.paired.get(f"{key}_against_control"))
    return "" if comparison.low is None else f"Against the control: {how_much(comparison, begin='difference')}"


def _credit(content: ReportContent, key: str, state: State, margin: float) -> dict[str, Any]:
    """Ask whether the corrections made the difference or the longer training did: `credit` and `credited`."""
    if content.control is None:
        if state != "better":
            return {}
        return {
            "credit": "There is no control (a model trained equally long without the corrected maps), so the gain may "
            "come from the longer training."
        }
    comparison = compare(content.paired.get(f"{key}_against_control"))
    against = judge(comparison, margin)
    if comparison.low is None:
        text = "There is no paired comparison with the control (trained equally long without corrected maps)."
        return {"credit": text, "credited": False if state == "better" else None}
    words = {
        "better": "is better",
        "same": "shows no difference that matters",
        "unknown": "cannot be told apart",
        "worse": "is worse",
    }
    text = f"Against the control, trained equally long without the corrected maps, it {words[against]}."
    if state != "better":
        return {"credit": text}
    ending = (
        "So the corrections made the difference."
        if against == "better"
        else "So the gain is not shown to come from the corrections."
    )
    return {"credit": f"{text} {ending}", "credited": against == "better"}
