"""One fold's model, whatever the recipe: whether it is there, its training with progress, its card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regaze.data.images import content_hash
from regaze.data.pixels import Pixels
from regaze.errors import ModelError, StudyError
from regaze.files import alone
from regaze.models.build import Network
from regaze.models.card import SCHEMA_VERSION, ModelCard, read_card, versions
from regaze.models.device import choose_device, uses_bf16
from regaze.models.folder import save_model
from regaze.models.learned import Learned, learned_from, write_learned
from regaze.models.options import MachineOptions
from regaze.models.precision import compare_precisions
from regaze.records import Sample, timestamp
from regaze.study.folder import Study
from regaze.study.learned import learned_by
from regaze.training.batches import TrainingSet
from regaze.training.loop import History
from regaze.training.recipes import Setup


def arithmetic(machine: MachineOptions) -> str:
    """The part of the machine's options that changes a result beyond rounding."""
    return "bf16" if uses_bf16(machine.precision, choose_device(machine.device)) else "fp32"


def weights_identity(weights: str) -> str:
    """A weights file counts by its content, so that another spelling of its path is the same model."""
    path = Path(weights).expanduser()
    return content_hash(path) if path.is_file() else weights


def free_name(study: Study, wanted: str, keys: Mapping[int, str]) -> str:
    """The first of NAME, NAME-2, NAME-3 … that is free or holds this very model (a result is never overwritten).

    Args:
        study: Where it goes.
        wanted: The name.
        keys: Fold -> key of the model to be made.
    """

    def is_taken(name: str) -> bool:
        folders = {study.model_folder(name, fold): key for fold, key in keys.items()}
        return any(
            (folder / "model.json").is_file() and read_card(folder).key != key for folder, key in folders.items()
        )

    name, number = wanted, 1
    while is_taken(name):
        number += 1
        name = f"{wanted}-{number}"
    return name


def _next_order(study: Study, name: str) -> int:
    """`ModelCard.order` of a model that is finished now; a model's folds may differ, of which the first counts."""
    orders = [0]
    for file in (study.path / "models").glob("*/fold*/model.json"):
        if file.parent.parent.name != name:
            with suppress(ModelError):  # another model's damage is told where that model is used
                orders.append(read_card(file.parent).order)
    return max(orders) + 1


def checkpoint_file(study: Study, name: str, fold: int) -> Path:
    """Where an unfinished model's state lies."""
    return study.model_folder(name, fold) / "checkpoint.safetensors"


def training_set(samples: Sequence[Sample], pixels: Pixels) -> TrainingSet:
    """Photographs and grades, without corrections.

    Args:
        samples: N photographs.
        pixels: The same in cropped pixels.
    """
    labels = [-1 if sample.label is None else sample.label for sample in samples]
    return TrainingSet(torch.from_numpy(pixels.images), torch.tensor(labels, dtype=torch.int64))


@dataclass(frozen=True)
class FoldModel:
    """One fold's model, to be made unless it is there.

    Attributes:
        study, name: Where it goes.
        fold: The fold whose validation part it never sees.
        key: Hash of everything that decides its weights.
        machine: Device and precision.
    """

    study: Study
    name: str
    fold: int
    key: str
    machine: MachineOptions

    @property
    def seed(self) -> int:
        """Of its weights, order and augmentation."""
        return self.study.options.seed + self.fold

    def is_done(self) -> bool:
        """Whether it is there, made in just this way.

        Raises:
            StudyError: A model of that name was made differently.
        """
        folder = self.study.model_folder(self.name, self.fold)
        if not (folder / "model.json").is_file():
            return False
        if read_card(folder).key != self.key:
            raise StudyError(
                f"Model {self.name!r} (fold {self.fold}) of study {self.study.path} exists and was made with other "
                "options: give the same options, another --name, or a new study."
            )
        return True

    @contextmanager
    def making(self) -> Iterator[None]:
        """Keep other processes from making it meanwhile; ask `is_done` inside.

        Raises:
            StudyError: Another process is at it.
        """
        busy = f"Another process is making {self.name!r} (fold {self.fold}) of study {self.study.path}"
        lock = self.study.path / ".locks" / f"{self.name}.fold{self.fold}"
        with alone(lock, f"{busy}: wait for it, or give another --name."):
            yield

    def make(
        self,
        label: str,
        card: ModelCard,
        network: Network,
        data: TrainingSet,
        recipe: Callable[..., History],
        epochs: int,
        **details: Any,
    ) -> None:
        """Train with progress, and write the model.

        Args:
            label: What is going on, e.g. `training`.
            card: What the recipe decides; name, data, history, key, details, versions and time are filled in.
            network: As the recipe starts from it.
            data: What it learns from.
            recipe: A function of `training.recipes` with its options given.
            epochs: Of the recipe.
            **details: For the card, beside seed, machine and wall time.
        """
        study, checkpoint = self.study, checkpoint_file(self.study, self.name, self.fold)
        which_fold = "" if len(study.folds) == 1 else f", fold {self.fold + 1} of {len(study.folds)}"
        start = time.monotonic()
        with study.voice.progress(f"{label} {self.name}{which_fold}") as feed:
            feed(0, epochs)
            setup = Setup(
                classes=len(card.classes),
                ordinal=card.ordinal,
                normalisation=(card.mean, card.std),
                seed=self.seed,
                machine=self.machine,
                checkpoint=checkpoint,
                progress=lambda done, total, _losses: feed(done, total),
            )
            history = recipe(network, data, setup=setup)
        seconds = round(time.monotonic() - start, 1)
        computed: dict[str, Any] = {"trained": arithmetic(self.machine)}
        if computed["trained"] == "bf16":
            computed |= compare_precisions(network, card, data.images.numpy(), self.machine)
        learned = self._learned(card, data)
        finished = replace(
            card,
            name=self.name,
            data={
                "spec": study.options.data,
                "fingerprint": study.dataset.fingerprint,
                "folds": study.options.folds,
                "fold": self.fold,
                "n_training": len(data),
                "learned": learned.entry,
            },
            history=tuple(history),
            key=self.key,
            details={
                "seed": study.options.seed,
                "machine": asdict(self.machine),
                "arithmetic": computed,
                "seconds": seconds,
                **details,
            },
            versions=versions(),
            created=timestamp(),
            schema_version=SCHEMA_VERSION,
            order=_next_order(study, self.name),
        )
        folder = study.model_folder(self.name, self.fold)
        write_learned(folder, learned)
        save_model(folder, network, finished)
        checkpoint.unlink(missing_ok=True)

    def _learned(self, card: ModelCard, data: TrainingSet) -> Learned:
        """The fold's photographs, and what its parent, which may be another study's, learned from."""
        contents = [sample.content for sample in self.study.training(self.fold)]
        learned = learned_from(contents, data.images.numpy(), card)
        return learned if card.parent is None else learned | learned_by(self.study, card.parent, self.fold)
