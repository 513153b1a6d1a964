"""The whole loop in one call: train, collect, select, correct, fine-tune, and the control beside it.

A step that an earlier call finished is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from regaze.errors import StudyError
from regaze.models.build import build_network
from regaze.models.options import MachineOptions, NetworkKind
from regaze.records import Dataset
from regaze.selection.rules import NothingToSelect
from regaze.study.check import check_options, check_selection
from regaze.study.folder import Study
from regaze.study.options import RULES_OF_EXTRA_PASSES, LoopOptions
from regaze.study.steps.collect import collect, is_collected
from regaze.study.steps.correct import correct, is_selected, select
from regaze.study.steps.finetune import finetune_model
from regaze.study.steps.train import check_lesson, train, train_on_corrections


@dataclass(frozen=True)
class LoopResult:
    """Models that the loop made: phase 1, the one that learned from corrections, its control; None: there was none."""

    before: str
    after: str | None
    control: str | None


def check_loop(options: LoopOptions) -> None:
    """Refuse options that a later step of the loop would refuse.

    Raises:
        OptionError: A value is out of range.
    """
    check_options(options.training, options.finetuning, options.supervision, options.collect)
    if options.learn == "train":
        check_lesson(options.supervision)
    check_selection(options.select)


def check_photographs(dataset: Dataset, options: LoopOptions) -> None:
    """Refuse photographs on which the loop cannot be done.

    Raises:
        StudyError: The data says nothing about lesions.
        ModelError: The network cannot be built, or its weights do not fit or cannot be reached.
    """
    _require_lesions(dataset, options)
    for kind in _kinds(options):
        build_network(replace(options.network, network=kind), len(dataset.classes), options.study.size)


def _kinds(options: LoopOptions) -> list[NetworkKind]:
    """The kinds of network that the loop trains, the one that matters last."""
    kind = options.network.network
    others: tuple[NetworkKind, ...] = ("plain", "single-scale") if options.baselines else ()
    return [*(other for other in others if other != kind), kind]


def _require_lesions(dataset: Dataset, options: LoopOptions) -> None:
    if options.network.network != "plain" and not any(sample.origin != "none" for sample in dataset.samples):
        raise StudyError(
            f"{dataset.spec} has neither masks nor boxes to correct maps with: pass --boxes DIR, add masks, "
            "or pass --network plain."
        )


def run_loop(study: Study, options: LoopOptions, machine: MachineOptions) -> LoopResult:
    """Do the loop; models that are finished are taken as they are.

    Args:
        study: May be there already.
        options: As `check_loop` passed them.
        machine: Device and precision.

    Raises:
        StudyError: The data says nothing about lesions, so there is nothing to correct with.
        OptionError: A value is out of range.
    """
    _require_lesions(study.dataset, options)
    for kind in _kinds(options)[:-1]:
        _run_network(study, replace(options, network=replace(options.network, network=kind), control=False), machine)
    return _run_network(study, options, machine)


def _run_network(study: Study, options: LoopOptions, machine: MachineOptions) -> LoopResult:
    before = train(study, options.network, options.training, machine)
    if options.network.network == "plain":
        return LoopResult(before, None, None)
    collect_options = options.collect
    if options.select.by in RULES_OF_EXTRA_PASSES or options.select.diversity > 0:
        collect_options = replace(collect_options, signals=True)
    # Corrections change the scores: a call that goes on keeps the selection that it began with.
    if not (is_collected(study, before, collect_options) and is_selected(study, before, options.select)):
        collect(study, before, machine, collect_options)
        try:
            select(study, before, options.select, options.correct.author)
        except NothingToSelect as reason:
            study.voice.warn(f"Nothing to correct: {reason}")
            return LoopResult(before, None, None)
    correct(study, before, options.correct)
    if options.learn == "train":
        lesson = options.supervision
        after = train_on_corrections(study, before, options.network, options.training, lesson, machine)
        return LoopResult(before, after, before)
    after = finetune_model(study, before, options.finetuning, machine)
    control = None
    if options.control:
        control = finetune_model(study, before, options.finetuning.control(), machine)
    return LoopResult(before, after, control)
