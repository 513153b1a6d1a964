"""Phase 1 of a study's models, fold by fold; a finished fold is never trained again."""

from __future__ import annotations

from dataclasses import asdict

from regaze.files import digest
from regaze.models.build import Built, build_network
from regaze.models.card import ModelCard
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.check import check_name, check_training, check_value
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
    weights_mark,
)
from regaze.training.loop import History, Progress
from regaze.training.options import TrainingOptions
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
        study: The study.
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
    check_training(training)
    # A weights file counts by its content, so that another spelling of its path is the same model.
    start = asdict(network) | {"weights": weights_mark(network.weights)}
    recipe = {"phase1": asdict(training)}
    for fold in study.folds:
        key = digest([start, recipe, study.options.seed, side, study.dataset.fingerprint, fold, arithmetic(machine)])
        if is_done(study, name, fold, key):
            continue
        built = build_network(network, len(study.classes), side, seed=study.options.seed + fold)
        if built.report is not None and fold == study.folds[0]:
            study.voice.say(built.report.line())
        with making(study, name, fold):
            if not is_done(study, name, fold, key):
                _train_fold(study, network, training, machine, name, side, fold, key, built)
    return name


def _train_fold(
    study: Study,
    network: NetworkOptions,
    training: TrainingOptions,
    machine: MachineOptions,
    name: str,
    side: int,
    fold: int,
    key: str,
    built: Built,
) -> None:
    samples = study.training(fold)
    data = training_set(study, samples, side, machine.workers)

    def recipe_call(progress: Progress) -> History:
        return train_phase1(
            built.network,
            data,
            training,
            classes=len(study.classes),
            ordinal=study.dataset.ordinal,
            normalisation=(built.mean, built.std),
            seed=study.options.seed + fold,
            machine=machine,
            checkpoint=checkpoint_file(study, name, fold),
            progress=progress,
        )

    history, seconds = timed(study, f"training {name}", fold, training.epochs, recipe_call)
    card = ModelCard(
        name=name,
        network=network,
        classes=study.classes,
        ordinal=study.dataset.ordinal,
        decoding=training.decoding if study.dataset.ordinal else "argmax",
        size=side,
        crop=study.options.crop,
        mean=built.mean,
        std=built.std,
        recipe={"phase1": asdict(training)},
        data=about_data(study, fold, len(samples)),
        history=tuple(history.epochs),
        key=key,
        details=details(study, machine, seconds) | {"weights": built.report.line() if built.report else "from scratch"},
    )
    finish(study, name, fold, built.network, card)
