"""Fine-tuning of a study's models on the corrections so far, fold by fold; a result is never overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from regaze.corrections.rows import CorrectionEntry
from regaze.errors import StudyError
from regaze.files import digest, identity, restored
from regaze.models.card import ModelCard, read_card
from regaze.models.folder import load_network
from regaze.models.options import MachineOptions
from regaze.study.check import check_name, check_options
from regaze.study.folder import Study
from regaze.study.steps.fold_model import FoldModel, arithmetic, free_name
from regaze.study.steps.supervision import (
    author_weights,
    cells_of,
    corrected_set,
    corrections_by_fold,
    learned_from,
)
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import finetune


def finetune_model(
    study: Study,
    parent: str,
    options: FinetuneOptions,
    machine: MachineOptions,
    name: str | None = None,
) -> str:
    """Fine-tune a phase-1 model's branches on all corrections so far, on every fold.

    Args:
        study: Where it goes.
        parent: Name of the phase-1 model to restart from.
        options: The recipe; one that learns nothing from corrections makes the control.
        machine: Device and precision.
        name: The model's name; default: the parent's with `-finetuned` or `-control`, numbered where an earlier
            round has it.

    Returns:
        The model's name.

    Raises:
        StudyError: The parent is missing or no phase-1 model, there is no correction, or a model of that name exists
            and was made differently.
        OptionError: An option is out of range.
    """
    check_options(options)
    author_weights(options.authors)  # refuses wrong ones before any work, as the next line does a wrong --cache
    study.feature_cache(machine)
    if name is not None:
        check_name(name)
    card = study.require_model(parent)
    if card.parent is not None:
        raise StudyError(f"{parent} is fine-tuned itself: give the phase-1 model, fine-tuning always restarts from it.")
    if not card.has_maps:
        raise StudyError(f"{parent} is a plain network without attention maps: fine-tune single-scale or multi-scale.")
    corrections = corrections_by_fold(study, parent, options)
    keys = {
        fold: _key(read_card(study.model_folder(parent, fold)), fold, options, machine, corrections[fold])
        for fold in study.folds
    }
    suffix = "finetuned" if options.learns else "control"
    name = name or free_name(study, f"{parent}-{suffix}", keys)
    for fold in study.folds:
        model = FoldModel(study, name, fold, keys[fold], machine)
        with model.making():
            if not model.is_done():
                _finetune_fold(model, parent, options, corrections[fold])
    return name


def _finetune_fold(
    model: FoldModel, parent: str, options: FinetuneOptions, corrections: Sequence[CorrectionEntry]
) -> None:
    study = model.study
    folder = study.model_folder(parent, model.fold)
    card = read_card(folder)
    network = load_network(folder, card)
    tuned = replace(
        card,
        recipe={"finetune": asdict(options), **card.recipe},
        lineage=(*card.lineage, {"name": parent, "key": card.key}),
        corrections=learned_from(corrections),
    )
    samples = study.training(model.fold)
    pixels = study.pixels(samples, card.size, model.machine.workers)
    data = corrected_set(study, samples, pixels, corrections, options, cells_of(network, card.size))
    phase1, cache = restored(TrainingOptions, card.recipe["phase1"]), study.feature_cache(model.machine)
    recipe = partial(finetune, options=options, phase1=phase1, cache=cache)
    model.make("fine-tuning", tuned, network, data, recipe, options.epochs)


def _key(
    parent: ModelCard, fold: int, options: FinetuneOptions, machine: MachineOptions, corrections: list[CorrectionEntry]
) -> str:
    # For a control corrections count for one thing only: which photographs a shortened epoch draws.
    counts = options.learns or options.replay < 1
    hashes = [entry.hash for entry in corrections] if counts else []
    return digest([parent.key, identity(options), hashes, fold, arithmetic(machine)])
