"""What making a model takes, whatever the recipe: is it there already, its data, its progress, its card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from regaze.data.images import content_hash
from regaze.errors import StudyError
from regaze.files import alone
from regaze.models.build import Network
from regaze.models.card import ModelCard, read_card
from regaze.models.device import choose_device, uses_bf16
from regaze.models.folder import save_model
from regaze.models.options import MachineOptions
from regaze.records import Sample
from regaze.study.folder import Study
from regaze.training.batches import TrainingSet
from regaze.training.loop import History, Progress


def arithmetic(machine: MachineOptions) -> str:
    """The part of the machine's options that changes a result beyond rounding."""
    return "bf16" if uses_bf16(machine.precision, choose_device(machine.device)) else "fp32"


def weights_mark(weights: str) -> str:
    """A weights file counts by its content, so that another spelling of its path is the same model."""
    path = Path(weights).expanduser()
    return content_hash(path) if path.is_file() else weights


def is_done(study: Study, name: str, fold: int, key: str) -> bool:
    """Whether a fold's model is there, made in just this way.

    Raises:
        StudyError: A model of that name was made differently.
    """
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


@contextmanager
def making(study: Study, name: str, fold: int) -> Iterator[None]:
    """Keep other processes from making a fold's model meanwhile; ask `is_done` inside.

    Raises:
        StudyError: Another process is at it.
    """
    busy = (
        f"Another process is making {name!r} (fold {fold}) of study {study.path}: wait for it, or give another --name."
    )
    with alone(study.path / ".locks" / f"{name}.fold{fold}", busy):
        yield


def training_set(study: Study, samples: list[Sample], side: int, workers: int) -> TrainingSet:
    """Photographs and grades, without corrections."""
    pixels = study.pixels(samples, side, workers)
    labels = [-1 if sample.label is None else sample.label for sample in samples]
    return TrainingSet(torch.from_numpy(pixels.images), torch.tensor(labels, dtype=torch.int64))


def timed(
    study: Study, label: str, fold: int, epochs: int, call: Callable[[Progress], History]
) -> tuple[History, float]:
    """Call a recipe with progress; returns its history and the seconds that it took."""
    text = label if len(study.folds) == 1 else f"{label}, fold {fold + 1} of {len(study.folds)}"
    start = time.monotonic()
    with study.voice.progress(text) as feed:
        feed(0, epochs)
        history = call(lambda done, total, _losses: feed(done, total))
    return history, time.monotonic() - start


def checkpoint_file(study: Study, name: str, fold: int) -> Path:
    """Where an unfinished model's state lies."""
    return study.model_folder(name, fold) / "checkpoint.safetensors"


def about_data(study: Study, fold: int, count: int) -> dict[str, Any]:
    """The data as a model's card names it."""
    return {
        "spec": study.options.data,
        "fingerprint": study.dataset.fingerprint,
        "folds": study.options.folds,
        "fold": fold,
        "n_training": count,
    }


def details(study: Study, machine: MachineOptions, seconds: float) -> dict[str, Any]:
    """Seed, machine and wall time as a model's card names them."""
    return {"seed": study.options.seed, "machine": asdict(machine), "seconds": round(seconds, 1)}


def finish(study: Study, name: str, fold: int, network: Network, card: ModelCard) -> None:
    """Write the model; its checkpoint has served."""
    save_model(study.model_folder(name, fold), network, card)
    checkpoint_file(study, name, fold).unlink(missing_ok=True)
