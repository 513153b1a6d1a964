"""The rounds of a study: which model came from which corrections, whether it got better, and which one is active.

Invariant: every round is judged on the same fixed validation part, also where the data has a test part, since rounds
are choices and the test part is not for choosing. A round is credited with what exceeds its control alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from regaze.errors import StudyError
from regaze.evaluation.verdicts import Verdict, compare, credited, judge, together, undecided
from regaze.models.options import MachineOptions
from regaze.study.active_model import choose, chosen_model
from regaze.study.assessment import summary
from regaze.study.assessment.controls import control_command, control_of, is_control
from regaze.study.assessment.judge import judge_model
from regaze.study.assessment.overlap import overlap, refuse
from regaze.study.folder import Study
from regaze.study.options import EvaluateOptions

# Rounds without a gain, in a row, after which the next one is not worth an expert's time.
_PATIENCE = 2

Pair = dict[str, Any] | None


@dataclass(frozen=True)
class Round:
    """One model in the history of a phase-1 model.

    Attributes:
        number: 0 for phase 1, then in the order they were made.
        model: Its name.
        parent: The model that its training restarted from; None for phase 1.
        corrections: How many corrections it learned from.
        kappa, interval, accuracy, ranked_probability_score, log_loss: On the validation part.
        enrichment, squared_error: Of the fused map, on the validation part.
        against: The round before, which `grading` and `attention` compare with; None for phase 1.
        kappa_difference, ranked_probability_score_difference, log_loss_difference, enrichment_difference: Against that
            round, with their paired intervals.
        grading, attention: What the differences of kappa and enrichment say.
        control: Trained equally long on the same draws without the map loss; None: there is none.
        kappa_against_control, and so on: The four differences against the control.
        control_command: What makes the control; None where there is one, and where further corrections came since.
        verdict: What its corrections are credited with: see `evaluation.verdicts.credited`, measure by measure, and
            `together`.
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
    ranked_probability_score: float | None = None
    log_loss: float | None = None
    against: str | None = None
    kappa_difference: Pair = None
    ranked_probability_score_difference: Pair = None
    log_loss_difference: Pair = None
    enrichment_difference: Pair = None
    grading: Verdict = "inconclusive"
    attention: Verdict = "inconclusive"
    control: str | None = None
    kappa_against_control: Pair = None
    ranked_probability_score_against_control: Pair = None
    log_loss_against_control: Pair = None
    enrichment_against_control: Pair = None
    control_command: str | None = None
    verdict: Verdict = "inconclusive"
    in_use: bool = False

    @property
    def is_uncredited(self) -> bool:
        """Whether an improvement waits for a control to be compared with."""
        return self.control is None and together((self.grading, self.attention)) == "improved"


def rounds(study: Study, machine: MachineOptions, resamples: int = 2000) -> list[Round]:
    """All rounds of a study, phase-1 model by phase-1 model, each judged on the validation part.

    Controls (fine-tuned without the map loss) are no rounds.

    Args:
        study: Whose rounds.
        machine: Device and precision.
        resamples: Bootstrap resamples of each interval.

    Raises:
        StudyError: No model has maps to correct, or one learned from photographs that it would be judged on.
    """
    roots = _roots(study)
    if not roots:
        raise StudyError(
            f"Study {study.path} has no model with maps to correct: run `regaze train {study.path}` first."
        )
    options = EvaluateOptions(faithfulness=0, resamples=resamples)

    def rows_of(name: str) -> list[summary.Row]:
        return judge_model(study, name, options, machine, part="validation", folder="rounds")

    chosen = chosen_model(study)
    known = [name for root in roots for name in _history(study, root)]
    cure = "Another study made the model: put this study's own back into its folder."
    refuse(overlap(study, known, part="validation"), "the validation part", cure)
    history: list[Round] = []
    for root in roots:
        before: tuple[str, Sequence[summary.Row]] | None = None
        for number, name in enumerate(_history(study, root)):
            rows = rows_of(name)
            figures = summary.summary(study, rows, options)
            fused = figures["maps"]["fused"]
            item = Round(
                number=number,
                model=name,
                parent=root if number else None,
                corrections=int(study.card(name).corrections.get("n", 0)),
                kappa=figures["quadratic_weighted_kappa"],
                interval=figures["interval"],
                accuracy=figures["accuracy"],
                enrichment=fused["lesion_enrichment"],
                squared_error=fused["squared_error"],
                ranked_probability_score=_mean(figures["ranked_probability_score"]),
                log_loss=_mean(figures["log_loss"]),
                in_use=name == chosen,
            )
            if before is not None:
                control = control_of(study, name)
                command = None if control else control_command(study, name)
                pair = summary.compare(study, before[1], rows, options)
                pair_control = summary.compare(study, rows_of(control), rows, options) if control else None
                item = _judged(replace(item, control=control, control_command=command), before[0], pair, pair_control)
            history.append(item)
            before = (name, rows)
    return history


def advice(history: Sequence[Round], patient: str = "patient") -> str:
    """One sentence on what to do next, from the rounds of one phase-1 model; with what a patient is called."""
    if len(history) < 2:
        return "No round yet: correct some maps, then run `regaze finetune`."
    last = history[-1]
    reasons = [undecided(compare(pair), patient) for pair in (last.kappa_difference, last.enrichment_difference)]
    if all(reasons):
        return f"Inconclusive: the validation part cannot judge a round ({reasons[1]})."
    if "worse" in (last.grading, last.attention):
        before = history[-2].model
        return f"The last round made it worse: go back with `regaze use STUDY {before}`, and look at its corrections."
    if last.is_uncredited:
        how = "corrections were added since, so make one with the next round"
        if last.control_command is not None:
            how = f"make one with `{last.control_command}`"
        return f"The last round is better than the one before, but not compared with a control: {how}."
    if last.verdict == "worse":
        return f"{last.control}, trained equally long without the corrected maps, is better: look at the corrections."
    idle = _idle(history)
    if idle >= _PATIENCE:
        return f"The last {idle} rounds brought no gain that this many photographs can show: you may stop here."
    if idle:
        return "The last round brought no gain that this many photographs can show: one more will tell."
    return "The last round helped: go on."


def _idle(history: Sequence[Round]) -> int:
    """How many of the last rounds, in a row, brought no gain."""
    for idle, item in enumerate(reversed(history[1:])):
        if item.verdict == "improved" or item.is_uncredited:
            return idle
    return len(history) - 1


def use(study: Study, which: str) -> str:
    """Make a model the active one.

    Args:
        study: Whose active model.
        which: A model's name, or a round's number where the study has one phase-1 model with maps.

    Returns:
        The model's name.

    Raises:
        StudyError: There is no such model or round.
    """
    name = which
    if which.isdigit() and which not in study.models():
        roots = _roots(study)
        if len(roots) != 1:
            raise StudyError(f"Round {which} of which model? The study has {len(roots)} histories: give a name.")
        history = _history(study, roots[0])
        if int(which) >= len(history):
            raise StudyError(f"Study {study.path} has no round {which} (rounds: 0 to {len(history) - 1}).")
        name = history[int(which)]
    study.require_model(name)
    choose(study, name)
    return name


def _roots(study: Study) -> list[str]:
    """The phase-1 models that have maps."""
    return [name for name, card in study.cards().items() if card.parent is None and card.has_maps]


def _history(study: Study, root: str) -> list[str]:
    """A phase-1 model and what was fine-tuned from it, in the order of making, without controls."""
    line = [name for name, card in study.cards().items() if card.root == root]  # in the order they were made
    return [name for name in line if name == root or not is_control(study, name)]


def _mean(entry: dict[str, Any] | None) -> float | None:
    return None if entry is None else entry["mean"]


def _judged(item: Round, against: str, pair: dict[str, Any], pair_control: dict[str, Any] | None) -> Round:
    """A round with its verdicts, by the paired differences from the round before and from the control, if any."""
    grading, attention = _verdicts(pair)
    beyond = (None, None) if pair_control is None else _verdicts(pair_control)
    control = pair_control or {}
    return replace(
        item,
        against=against,
        kappa_difference=pair["kappa"],
        ranked_probability_score_difference=pair["ranked_probability_score"],
        log_loss_difference=pair["log_loss"],
        enrichment_difference=pair["enrichment"],
        grading=grading,
        attention=attention,
        kappa_against_control=control.get("kappa"),
        ranked_probability_score_against_control=control.get("ranked_probability_score"),
        log_loss_against_control=control.get("log_loss"),
        enrichment_against_control=control.get("enrichment"),
        verdict=together((credited(grading, beyond[0]), credited(attention, beyond[1]))),
    )


def _verdicts(pair: dict[str, Any]) -> tuple[Verdict, Verdict]:
    return judge(compare(pair["kappa"]), "kappa"), judge(compare(pair["enrichment"]), "enrichment")
