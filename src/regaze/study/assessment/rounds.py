"""The rounds of a study: which model came from which corrections, whether it got better, and which one is in use.

Invariant: every round is judged on the same fixed validation part, also where the data has a test part, since rounds
are choices and the test part is not for choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from regaze.errors import StudyError
from regaze.evaluation.intervals import FEWEST, decided
from regaze.models.options import MachineOptions
from regaze.study.active_model import active_model, choose
from regaze.study.assessment.judge import judge_model
from regaze.study.assessment.summary import Row, compare, is_control, summary
from regaze.study.folder import Study
from regaze.study.options import EvaluateOptions

Verdict = Literal["better", "same", "worse", "unknown"]

# Rounds without a gain, in a row, after which the next one is not worth an expert's time.
_PATIENCE = 2


@dataclass(frozen=True)
class Round:
    """One model in the history of a phase-1 model.

    Attributes:
        number: 0 for phase 1, then in the order they were made.
        model: Its name.
        parent: The model that its training restarted from; None for phase 1.
        corrections: How many corrections it learned from.
        kappa, interval, accuracy: On the validation part.
        enrichment, squared_error: Of the fused map, on the validation part.
        against: The round before, which `grading`, `attention` and `verdict` compare with; None for phase 1.
        kappa_difference, enrichment_difference: Against that round, with their paired intervals.
        grading, attention: better or worse only where the paired interval keeps off zero.
            unknown over fewer than ten patients.
        verdict: better where one of the two is and the other is not worse; worse where one is and the other is not
            better; unknown where both are; else same.
        in_use: What `regaze use` chose.
    """

    number: int
    model: str
    parent: str | None
    corrections: int
    kappa: float | None
    interval: list[float | None] | None
    accuracy: float | None
    enrichment: float | None
    squared_error: float | None
    against: str | None = None
    kappa_difference: dict[str, Any] | None = None
    enrichment_difference: dict[str, Any] | None = None
    grading: Verdict = "same"
    attention: Verdict = "same"
    verdict: Verdict = "same"
    in_use: bool = False


def rounds(study: Study, machine: MachineOptions, resamples: int = 2000) -> list[Round]:
    """All rounds of a study, phase-1 model by phase-1 model, each judged on the validation part.

    Controls (fine-tuned without the map loss) are no rounds.

    Raises:
        StudyError: No model has maps to correct.
    """
    roots = [name for name, card in study.cards().items() if card.parent is None and card.has_maps]
    if not roots:
        raise StudyError(
            f"Study {study.path} has no model with maps to correct: run `regaze train {study.path}` first."
        )
    options = EvaluateOptions(faithfulness=0, resamples=resamples)
    chosen = active_model(study)
    found: list[Round] = []
    for root in roots:
        before: tuple[str, Sequence[Row]] | None = None
        for number, name in enumerate(_history(study, root)):
            rows = judge_model(study, name, options, machine, part="validation", folder="rounds")
            figures = summary(study, rows, options)
            fused = figures["maps"]["fused"]
            one = Round(
                number=number,
                model=name,
                parent=root if number else None,
                corrections=int(study.card(name).corrections.get("n", 0)),
                kappa=figures["quadratic_weighted_kappa"],
                interval=figures["interval"],
                accuracy=figures["accuracy"],
                enrichment=fused["lesion_enrichment"],
                squared_error=fused["squared_error"],
                in_use=name == chosen,
            )
            if before is not None:
                one = _judged(one, before[0], compare(study, before[1], rows, options))
            found.append(one)
            before = (name, rows)
    return found


def advice(history: Sequence[Round]) -> str:
    """One sentence on what to do next, from the rounds of one phase-1 model."""
    if len(history) < 2:
        return "No round yet: correct some maps, then run `regaze finetune`."
    last = history[-1]
    if last.verdict == "unknown":
        return f"The validation part has fewer than {FEWEST} patients: whether a round helped cannot be told from it."
    if last.verdict == "worse":
        better = history[-2].model
        return f"The last round made it worse: go back with `regaze use STUDY {better}`, and look at its corrections."
    idle = 0
    for one in reversed(history[1:]):
        if one.verdict == "better":
            break
        idle += 1
    if idle >= _PATIENCE:
        return f"The last {idle} rounds brought no gain that this many photographs can show: you may stop here."
    if last.verdict == "same":
        return "The last round brought no gain that this many photographs can show: one more will tell."
    return "The last round helped: go on."


def use(study: Study, which: str) -> str:
    """Choose the model that later commands take where none is named.

    Args:
        study: The study.
        which: A model's name, or a round's number where the study has one phase-1 model with maps.

    Returns:
        The model's name.

    Raises:
        StudyError: There is no such model or round.
    """
    name = which
    if which.isdigit() and which not in study.models():
        roots = [item for item, card in study.cards().items() if card.parent is None and card.has_maps]
        histories = [_history(study, root) for root in roots]
        if len(histories) != 1:
            raise StudyError(f"Round {which} of which model? The study has {len(histories)} histories: give a name.")
        if int(which) >= len(histories[0]):
            raise StudyError(f"Study {study.path} has no round {which} (rounds: 0 to {len(histories[0]) - 1}).")
        name = histories[0][int(which)]
    study.require_model(name)
    choose(study, name)
    return name


def _history(study: Study, root: str) -> list[str]:
    """A phase-1 model and what was fine-tuned from it, in the order of making, without controls."""
    line = [name for name, card in study.cards().items() if card.root == root]  # in the order they were made
    return [name for name in line if name == root or not is_control(study, name)]


def _judged(one: Round, against: str, pair: dict[str, Any]) -> Round:
    grading, attention = _word(pair["kappa"]), _word(pair["enrichment"])
    words = {grading, attention}
    verdict: Verdict = "same"
    if words == {"unknown"}:
        verdict = "unknown"
    elif "better" in words and "worse" not in words:
        verdict = "better"
    elif "worse" in words and "better" not in words:
        verdict = "worse"
    return replace(
        one,
        against=against,
        kappa_difference=pair["kappa"],
        enrichment_difference=pair["enrichment"],
        grading=grading,
        attention=attention,
        verdict=verdict,
    )


def _word(pair: dict[str, Any] | None) -> Verdict:
    if pair is not None and pair["difference"] is not None and pair["n_groups"] < FEWEST:
        return "unknown"
    words: dict[int, Verdict] = {0: "same", 1: "better", -1: "worse"}
    return words[decided(pair)]
