"""Phase 1 and fine-tuning of a study's models, fold by fold; a finished fold is never trained again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regaze.corrections.rows import CorrectionEntry
from regaze.data.images import content_hash
from regaze.errors import StudyError
from regaze.files import digest
from regaze.models.build import Built, Network, build_network
from regaze.models.device import choose_device, uses_bf16
from regaze.models.folder import ModelCard, load_network, read_card, save_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.records import Sample
from regaze.study.check import check_finetuning, check_name, check_training, check_value
from regaze.study.folder import Study
from regaze.training.batches import TrainingSet
from regaze.training.loop import History, Progress
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import finetune, train_phase1


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
    recipe = {"phase1": asdict(training)}
    # A weights file counts by its content, so that another spelling of its path is the same model.
    start = asdict(network) | {"weights": _weights_mark(network.weights)}
    for fold in study.folds:
        key = digest([start, recipe, study.options.seed, side, study.dataset.fingerprint, fold, _arithmetic(machine)])
        if _is_done(study, name, fold, key):
            continue
        built = build_network(network, len(study.classes), side, seed=study.options.seed + fold)
        if built.report is not None and fold == study.folds[0]:
            study.voice.say(built.report.line())
        samples = study.training(fold)
        data = _training_set(study, samples, side, machine.workers)

        def recipe_call(
            progress: Progress, built: Built = built, data: TrainingSet = data, fold: int = fold
        ) -> History:
            return train_phase1(
                built.network,
                data,
                training,
                classes=len(study.classes),
                ordinal=study.dataset.ordinal,
                normalisation=(built.mean, built.std),
                seed=study.options.seed + fold,
                machine=machine,
                checkpoint=_checkpoint(study, name, fold),
                progress=progress,
            )

        history, seconds = _timed(study, f"training {name}", fold, training.epochs, recipe_call)
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
            recipe=recipe,
            data=_about_data(study, fold, len(samples)),
            history=tuple(history.epochs),
            key=key,
            details=_details(study, machine, seconds)
            | {"weights": built.report.line() if built.report else "from scratch"},
        )
        _finish(study, name, fold, built.network, card)
    return name


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
    if name is not None:
        check_name(name)
    study.require_model(parent)
    if study.lineage(parent):
        raise StudyError(f"{parent} is fine-tuned itself: give the phase-1 model, fine-tuning always restarts from it.")
    if study.card_values(parent)["network"]["network"] == "plain":
        raise StudyError(f"{parent} is a plain network without attention maps: fine-tune single-scale or multi-scale.")
    corrections = {fold: corrections_of(study, parent, fold) for fold in study.folds}
    if not any(corrections.values()) and options.map_weight > 0:
        raise StudyError(f"Study {study.path} has no correction yet: run `regaze select` and `regaze correct` first.")
    keys = {fold: _finetune_key(study, parent, fold, options, machine, corrections[fold]) for fold in study.folds}
    suffix = "finetuned" if options.map_weight > 0 else "control"
    name = name or _free_name(study, f"{parent}-{suffix}", keys)
    for fold in study.folds:
        if not _is_done(study, name, fold, keys[fold]):
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
    data = _with_corrections(
        study, _training_set(study, samples, card.size, machine.workers), samples, card, corrections
    )

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
            checkpoint=_checkpoint(study, name, fold),
            progress=progress,
        )

    history, seconds = _timed(study, f"fine-tuning {name}", fold, options.epochs, recipe_call)
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
        data=_about_data(study, fold, len(samples)),
        corrections=learned,
        history=tuple(history.epochs),
        key=key,
        details=_details(study, machine, seconds),
    )
    _finish(study, name, fold, network, tuned)


def corrections_of(study: Study, parent: str, fold: int) -> list[CorrectionEntry]:
    """The latest correction of each photograph, made on maps of `parent` or its descendants, ordered by photograph.

    With cross-validation every fold has its own selection, so corrections made for another fold's model stay out; and
    so do corrections of another network's maps, so that each method of a comparison learns from its own.
    """
    family = [name for name in study.models() if any(item["name"] == parent for item in study.lineage(name))]
    makers = {f"{name}/fold{fold}" for name in (parent, *family)}
    latest = {entry.sample: entry for entry in study.store.correction_index() if entry.model in makers}
    return [latest[sample] for sample in sorted(latest)]


def _finetune_key(
    study: Study,
    parent: str,
    fold: int,
    options: FinetuneOptions,
    machine: MachineOptions,
    corrections: list[CorrectionEntry],
) -> str:
    parent_key = read_card(study.model_folder(parent, fold)).key
    marks = [entry.hash for entry in corrections] if options.map_weight > 0 else []
    return digest([parent_key, asdict(options), marks, fold, _arithmetic(machine)])


def _weights_mark(weights: str) -> str:
    path = Path(weights).expanduser()
    return content_hash(path) if path.is_file() else weights


def _arithmetic(machine: MachineOptions) -> str:
    """The part of the machine's options that changes a result beyond rounding."""
    return "bf16" if uses_bf16(machine.precision, choose_device(machine.device)) else "fp32"


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


def _is_done(study: Study, name: str, fold: int, key: str) -> bool:
    folder = study.model_folder(name, fold)
    if not (folder / "model.json").is_file():
        return False
    card = read_card(folder)
    if card.key != key:
        raise StudyError(
            f"Model {name!r} (fold {fold}) of study {study.path} exists and was made with other options: "
            "give the same options, another --name, or a new study."
        )
    return True


def _training_set(study: Study, samples: list[Sample], side: int, workers: int) -> TrainingSet:
    pixels = study.pixels(samples, side, workers)
    labels = [-1 if sample.label is None else sample.label for sample in samples]
    return TrainingSet(torch.from_numpy(pixels.images), torch.tensor(labels, dtype=torch.int64))


def _with_corrections(
    study: Study, data: TrainingSet, samples: list[Sample], card: ModelCard, corrections: list[CorrectionEntry]
) -> TrainingSet:
    """Render the corrections to cropped pixels beside their photographs."""
    places = {sample.id: place for place, sample in enumerate(samples)}
    geometries = study.pixels(samples, card.size).geometries
    look = np.zeros((len(samples), card.size, card.size), dtype=bool)
    touched = np.ones_like(look)
    corrected = np.zeros(len(samples), dtype=bool)
    for entry in corrections:
        place = places.get(entry.sample)
        if place is None:
            continue
        correction = study.store.correction(entry.id)
        geometry = geometries[place]
        look[place] = geometry.mask(correction.look)
        if correction.mode == "edit":
            touched[place] = look[place]
            if correction.avoid is not None:
                touched[place] |= geometry.mask(correction.avoid)
        corrected[place] = True
    return TrainingSet(
        images=data.images,
        labels=data.labels,
        look=torch.from_numpy(look),
        touched=None if touched.all() else torch.from_numpy(touched),
        corrected=torch.from_numpy(corrected),
    )


def _timed(
    study: Study, label: str, fold: int, epochs: int, call: Callable[[Progress], History]
) -> tuple[History, float]:
    text = label if len(study.folds) == 1 else f"{label}, fold {fold + 1} of {len(study.folds)}"
    start = time.monotonic()
    with study.voice.progress(text) as feed:
        feed(0, epochs)
        history = call(lambda done, total, _losses: feed(done, total))
    return history, time.monotonic() - start


def _checkpoint(study: Study, name: str, fold: int) -> Any:
    return study.model_folder(name, fold) / "checkpoint.safetensors"


def _about_data(study: Study, fold: int, count: int) -> dict[str, Any]:
    return {
        "spec": study.options.data,
        "fingerprint": study.dataset.fingerprint,
        "folds": study.options.folds,
        "fold": fold,
        "n_training": count,
    }


def _details(study: Study, machine: MachineOptions, seconds: float) -> dict[str, Any]:
    return {"seed": study.options.seed, "machine": asdict(machine), "seconds": round(seconds, 1)}


def _finish(study: Study, name: str, fold: int, network: Network, card: ModelCard) -> None:
    save_model(study.model_folder(name, fold), network, card)
    _checkpoint(study, name, fold).unlink(missing_ok=True)
