"""Fine-tuning of a study's models on the corrections so far, fold by fold; a result is never overwritten."""

from __future__ import annotations

from dataclasses import asdict

import torch

from regaze.corrections.rows import CorrectionEntry
from regaze.errors import OptionError, StudyError
from regaze.files import digest
from regaze.models.build import Network
from regaze.models.card import ModelCard, read_card
from regaze.models.folder import load_network
from regaze.models.options import MachineOptions
from regaze.study.check import check_finetuning, check_name
from regaze.study.folder import Study
from regaze.study.steps.fold_model import (
    about_data,
    arithmetic,
    checkpoint_file,
    details,
    finish,
    is_done,
    making,
    timed,
    training_set,
)
from regaze.study.steps.supervision import author_weights, corrections_of, with_corrections
from regaze.training.loop import History, Progress
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
        study: The study.
        parent: Name of the phase-1 model to restart from.
        options: The recipe; `map_weight` 0 makes the control.
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
    check_finetuning(options)
    author_weights(options.authors)
    study.feature_cache(machine)
    if name is not None:
        check_name(name)
    card = study.require_model(parent)
    if card.parent is not None:
        raise StudyError(f"{parent} is fine-tuned itself: give the phase-1 model, fine-tuning always restarts from it.")
    if not card.has_maps:
        raise StudyError(f"{parent} is a plain network without attention maps: fine-tune single-scale or multi-scale.")
    corrections = {fold: corrections_of(study, parent, fold, options.experts) for fold in study.folds}
    if not any(corrections.values()) and options.map_weight > 0:
        raise StudyError(f"Study {study.path} has no correction yet: run `regaze select` and `regaze correct` first.")
    known = {entry.author for entries in corrections.values() for entry in entries}
    strange = sorted(author_weights(options.authors).keys() - known)
    if strange:
        raise OptionError(f"--authors: no correction is by {strange[0]!r}; the authors are {', '.join(sorted(known))}.")
    keys = {fold: _finetune_key(study, parent, fold, options, machine, corrections[fold]) for fold in study.folds}
    suffix = "finetuned" if options.map_weight > 0 else "control"
    name = name or _free_name(study, f"{parent}-{suffix}", keys)
    for fold in study.folds:
        with making(study, name, fold):
            if not is_done(study, name, fold, keys[fold]):
                _finetune_fold(study, parent, name, fold, options, machine, corrections[fold], keys[fold])
    return name


def _finetune_fold(
    study: Study,
    parent: str,
    name: str,
    fold: int,
    options: FinetuneOptions,
    machine: MachineOptions,
    corrections: list[CorrectionEntry],
    key: str,
) -> None:
    folder = study.model_folder(parent, fold)
    card = read_card(folder)
    network = load_network(folder, card)
    phase1 = TrainingOptions(**card.recipe["phase1"])
    samples = study.training(fold)
    data = training_set(study, samples, card.size, machine.workers)
    data = with_corrections(study, data, samples, card, corrections, options, _cells(network, card.size))

    def recipe_call(progress: Progress) -> History:
        return finetune(
            network,
            data,
            options,
            phase1,
            classes=len(study.classes),
            ordinal=study.dataset.ordinal,
            normalisation=(card.mean, card.std),
            seed=study.options.seed + fold,
            machine=machine,
            checkpoint=checkpoint_file(study, name, fold),
            progress=progress,
            cache=study.feature_cache(machine),
        )

    history, seconds = timed(study, f"fine-tuning {name}", fold, options.epochs, recipe_call)
    learned = {
        "n": len(corrections),
        "fingerprint": digest([entry.hash for entry in corrections]),
        "ids": [entry.id for entry in corrections],
    }
    tuned = ModelCard(
        name=name,
        network=card.network,
        classes=card.classes,
        ordinal=card.ordinal,
        decoding=card.decoding,
        size=card.size,
        crop=card.crop,
        mean=card.mean,
        std=card.std,
        recipe={"finetune": asdict(options), **card.recipe},
        lineage=(*card.lineage, {"name": parent, "key": card.key}),
        data=about_data(study, fold, len(samples)),
        corrections=learned,
        history=tuple(history.epochs),
        key=key,
        details=details(study, machine, seconds),
    )
    finish(study, name, fold, network, tuned)


@torch.no_grad()
def _cells(network: Network, size: int) -> list[float]:
    """Side of a map cell per scale in cropped pixels, finest first."""
    maps = network(torch.zeros(1, 3, size, size)).maps
    return [size / item.shape[-1] for item in maps]


def _finetune_key(
    study: Study,
    parent: str,
    fold: int,
    options: FinetuneOptions,
    machine: MachineOptions,
    corrections: list[CorrectionEntry],
) -> str:
    parent_key = read_card(study.model_folder(parent, fold)).key
    # Without the map loss corrections count for one thing only: which photographs a shortened epoch draws.
    counts = options.map_weight > 0 or options.replay < 1
    marks = [entry.hash for entry in corrections] if counts else []
    return digest([parent_key, asdict(options), marks, fold, arithmetic(machine)])


def _free_name(study: Study, wanted: str, keys: dict[int, str]) -> str:
    """The first of NAME, NAME-2, NAME-3 … that is free or holds this very model (a result is never overwritten)."""
    number = 1
    while True:
        name = wanted if number == 1 else f"{wanted}-{number}"
        cards = [study.model_folder(name, fold) / "model.json" for fold in study.folds]
        others = [
            fold
            for fold, card in zip(study.folds, cards, strict=True)
            if card.is_file() and read_card(card.parent).key != keys[fold]
        ]
        if not others:
            return name
        number += 1
