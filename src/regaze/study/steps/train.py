"""Phase 1 of a study's models, fold by fold; a finished fold is never trained again."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from regaze.files import digest
from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.check import check_name, check_options, check_value
from regaze.study.folder import Study
from regaze.study.steps.fold_model import FoldModel, arithmetic, training_set, weights_identity
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
    start = asdict(network) | {"weights": weights_identity(network.weights)}
    recipe = {"phase1": asdict(training)}
    for fold in study.folds:
        key = digest([start, recipe, study.options.seed, side, study.dataset.fingerprint, fold, arithmetic(machine)])
        model = FoldModel(study, name, fold, key, machine)
        if not model.is_done():
            _train_fold(model, network, training, side)
    return name


def _train_fold(model: FoldModel, network: NetworkOptions, training: TrainingOptions, side: int) -> None:
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
            mean=built.mean,
            std=built.std,
            recipe={"phase1": asdict(training)},
        )
        samples = study.training(model.fold)
        data = training_set(samples, study.pixels(samples, side, model.machine.workers))
        recipe = partial(train_phase1, options=training)
        model.make("training", card, built.network, data, recipe, training.epochs, weights=weights)
