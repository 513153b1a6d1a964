"""Phase 1 of a study's models, fold by fold, on grades alone or with maps beside them; what is finished stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from regaze.corrections.rows import CorrectionEntry
from regaze.errors import ModelError, OptionError, StudyError
from regaze.files import digest, identity
from regaze.models.build import build_network
from regaze.models.card import ModelCard, read_card
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.check import check_name, check_options, check_value
from regaze.study.folder import Study
from regaze.study.steps.fold_model import FoldModel, arithmetic, free_name, training_set, weights_identity
from regaze.study.steps.supervision import (
    author_weights,
    cells_of,
    corrected_set,
    corrections_by_fold,
    free_of_lesions,
    learned_from,
)
from regaze.training.options import SupervisionOptions, TrainingOptions
from regaze.training.recipes import train_phase1


def train(
    study: Study,
    network: NetworkOptions,
    training: TrainingOptions,
    machine: MachineOptions,
    name: str | None = None,
    size: int | None = None,
) -> str:
    """Phase 1: train a network on grades alone, on every fold of the study.

    Args:
        study: Where it goes.
        network: What to train.
        training: The recipe.
        machine: Device and precision.
        name: The model's name; default: the kind of network.
        size: Side of the input; default: the study's.

    Returns:
        The model's name.

    Raises:
        StudyError: A model of that name exists and was made differently.
        OptionError: An option is out of range.
    """
    name = network.network if name is None else name
    side = study.options.size if size is None else size
    check_name(name)
    check_value("size", side)
    check_options(training)
    for fold in study.folds:
        key = digest(_key(study, network, training, side, fold, machine))
        model = FoldModel(study, name, fold, key, machine)
        if not model.is_done():
            _train_fold(model, network, training, side)
    return name


def train_on_corrections(
    study: Study,
    parent: str,
    network: NetworkOptions,
    training: TrainingOptions,
    supervision: SupervisionOptions,
    machine: MachineOptions,
    name: str | None = None,
    size: int | None = None,
) -> str:
    """Phase 1 anew, on grades and maps together from the first step, on every fold of the study.

    It learns from all corrections of the parent's maps so far, and that a photograph of the sound class without a
    marked lesion deserves no attention. Its control is the parent where network, recipe and size are the same: without
    the map loss both are one and the same training.

    Args:
        study: Where it goes.
        parent: Name of the phase-1 model whose maps, or whose descendants' maps, were corrected.
        network: What to train.
        training: The recipe of phase 1.
        supervision: What is learned from the corrections.
        machine: Device and precision.
        name: The model's name; default: the parent's with `-supervised`, numbered where an earlier round has it.
        size: Side of the input; default: the study's.

    Returns:
        The model's name.

    Raises:
        StudyError: The parent is missing or no phase-1 model, there is no correction, or a model of that name exists
            and was made differently.
        OptionError: An option is out of range, or nothing is to be learned from the corrections.
        ModelError: The network has no attention maps.
    """
    side = study.options.size if size is None else size
    if name is not None:
        check_name(name)
    check_value("size", side)
    check_options(training, supervision)
    check_lesson(supervision)
    if network.network == "plain":
        raise ModelError("A plain network has no attention map to correct: pass --network multi-scale or single-scale.")
    if study.require_model(parent).parent is not None:
        raise StudyError(f"{parent} learned from corrections itself: give the phase-1 model whose maps were corrected.")
    corrections = corrections_by_fold(study, parent, supervision)
    keys = {}
    for fold, entries in corrections.items():
        card = read_card(study.model_folder(parent, fold))
        taught = [card.key, identity(supervision), [entry.hash for entry in entries]]
        keys[fold] = digest([*_key(study, network, training, side, fold, machine), taught])
    name = name or free_name(study, f"{parent}-supervised", keys)
    for fold, entries in corrections.items():
        model = FoldModel(study, name, fold, keys[fold], machine)
        if not model.is_done():
            _train_fold(model, network, training, side, Lesson(parent, supervision, entries))
    return name


def check_lesson(supervision: SupervisionOptions) -> None:
    """Refuse to train on corrections that nothing is learned from, and authors' weights that are none.

    Raises:
        OptionError: As said.
    """
    author_weights(supervision.authors)
    if not supervision.learns:
        raise OptionError(
            "--map-weight 0 without --teacher-maps learns nothing from corrections, which is phase 1, the control: "
            "leave out --corrections (of `run`: --learn train)."
        )


@dataclass(frozen=True)
class Lesson:
    """What a fold's model learns beside the grades.

    Attributes:
        parent: The phase-1 model whose maps were corrected.
        supervision: What is learned from the corrections.
        corrections: As `corrections_of` orders them.
    """

    parent: str
    supervision: SupervisionOptions
    corrections: Sequence[CorrectionEntry]


def _key(
    study: Study, network: NetworkOptions, training: TrainingOptions, side: int, fold: int, machine: MachineOptions
) -> list[Any]:
    """What decides the weights of a fold's model."""
    start = identity(network) | {"weights": weights_identity(network.weights)}
    recipe = {"phase1": identity(training)}
    return [start, recipe, study.options.seed, side, study.dataset.fingerprint, fold, arithmetic(machine)]


def _train_fold(
    model: FoldModel, network: NetworkOptions, training: TrainingOptions, side: int, lesson: Lesson | None = None
) -> None:
    study = model.study
    built = build_network(network, len(study.classes), side, seed=model.seed)
    weights = "from scratch" if built.report is None else built.report.line()
    if built.report is not None and model.fold == study.folds[0]:
        study.voice.say(weights)
    with model.making():
        if model.is_done():
            return
        card = ModelCard(
            name=model.name,
            network=network,
            classes=study.classes,
            ordinal=study.dataset.ordinal,
            decoding=training.decoding if study.dataset.ordinal else "argmax",
            size=side,
            crop=study.options.crop,
            colour=study.options.colour,
            mean=built.mean,
            std=built.std,
            recipe={"phase1": asdict(training)},
        )
        samples = study.training(model.fold)
        pixels = study.pixels(samples, side, model.machine.workers)
        data = training_set(samples, pixels)
        recipe = partial(train_phase1, options=training, cache=study.feature_cache(model.machine))
        if lesson is not None:
            supervision, cells = lesson.supervision, cells_of(built.network, side)
            free = free_of_lesions(samples, pixels, study.dataset.sound)
            data = corrected_set(study, samples, pixels, lesson.corrections, supervision, cells, free)
            recipe = partial(recipe, supervision=supervision)
            parent = read_card(study.model_folder(lesson.parent, model.fold))
            card = replace(
                card,
                recipe={"supervision": asdict(supervision), **card.recipe},
                lineage=(*parent.lineage, {"name": lesson.parent, "key": parent.key}),
                corrections=learned_from(lesson.corrections) | {"free_of_lesions": len(free)},
            )
        model.make("training", card, built.network, data, recipe, training.epochs, weights=weights)
