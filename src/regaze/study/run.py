"""The whole loop in one call: train, collect, select, correct, fine-tune, and the control beside it.

Every step finds what an earlier call finished and goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from regaze.errors import StudyError
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.records import Dataset
from regaze.study.check import check_finetuning, check_training, check_value
from regaze.study.collect import collect
from regaze.study.correct import correct, select
from regaze.study.folder import Study
from regaze.study.options import CorrectOptions, SelectOptions
from regaze.study.train import finetune_model, train
from regaze.training.options import FinetuneOptions, TrainingOptions


@dataclass(frozen=True)
class LoopOptions:
    """All that the loop's steps need.

    Attributes:
        network: The network whose maps are corrected.
        training: Phase 1.
        finetuning: Fine-tuning on the corrections.
        select: Which photographs are corrected.
        correct: Where corrections come from.
        control: Also fine-tune equally long without the map loss.
        baselines: Also train the paper's other methods: plain, and single-scale fine-tuned likewise.
    """

    network: NetworkOptions
    training: TrainingOptions
    finetuning: FinetuneOptions
    select: SelectOptions
    correct: CorrectOptions
    control: bool = True
    baselines: bool = False


@dataclass(frozen=True)
class LoopResult:
    """Names of the models that the loop made.

    Attributes:
        before: The phase-1 model.
        after: The fine-tuned model, or None for a plain network.
        control: The model fine-tuned without the map loss, or None.
    """

    before: str
    after: str | None
    control: str | None


def check_loop(options: LoopOptions) -> None:
    """Refuse options that a later step of the loop would refuse.

    Raises:
        OptionError: A value is out of range.
    """
    check_training(options.training)
    check_finetuning(options.finetuning)
    check_value("share", options.select.share)


def require_lesions(dataset: Dataset, options: LoopOptions) -> None:
    """Make sure that there is something to correct maps with.

    Raises:
        StudyError: The data says nothing about lesions.
    """
    if options.network.network != "plain" and not any(sample.origin != "none" for sample in dataset.samples):
        raise StudyError(
            f"{dataset.spec} has neither masks nor boxes to correct maps with: pass --boxes DIR, add masks, "
            "or pass --network plain."
        )


def run_loop(study: Study, options: LoopOptions, machine: MachineOptions) -> LoopResult:
    """Do the loop; models that are finished are taken as they are.

    Raises:
        StudyError: The data says nothing about lesions, so there is nothing to correct with.
        OptionError: A value is out of range.
    """
    check_loop(options)
    require_lesions(study.dataset, options)
    if options.baselines:
        for kind in ("plain", "single-scale"):
            if kind != options.network.network:
                _one(study, replace(options, network=replace(options.network, network=kind), control=False), machine)
    return _one(study, options, machine)


def _one(study: Study, options: LoopOptions, machine: MachineOptions) -> LoopResult:
    before = train(study, options.network, options.training, machine)
    if options.network.network == "plain":
        return LoopResult(before, None, None)
    collect(study, before, machine)
    select(study, before, options.select, options.correct.author)
    correct(study, before, options.correct)
    after = finetune_model(study, before, options.finetuning, machine)
    control = None
    if options.control:
        control = finetune_model(study, before, replace(options.finetuning, map_weight=0.0), machine)
    return LoopResult(before, after, control)
