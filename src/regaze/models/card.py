"""The card of a model, `model.json`: what it is, how it was made, and what it was made from.

Invariant: importing this module imports no torch, so that a study can be listed, verified and gone on with cheaply.
`model.json` is written last and whole, so a folder that has it is complete.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regaze.errors import ModelError
from regaze.files import read_json, restored, typed
from regaze.models.options import Decoding, NetworkOptions
from regaze.records import Colour, timestamp

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ModelCard:
    """What lies beside a model's weights.

    Attributes:
        name: The model's name in its study.
        network: How the network was built; `weights` is where phase 1 started.
        classes: Class names, K of them.
        ordinal: True where the classes are grades on one scale.
        decoding: How probabilities become grades.
        size: Side of the square input in cropped pixels.
        crop: Whether photographs are cropped to the field of view.
        colour: Whether their colour is taken out.
        mean, std: Normalisation, RGB in 0..1.
        recipe: `phase1` or `finetune` with all its options.
        lineage: Names and keys of the models it descends from, oldest first.
        data: Spelling, fingerprint, folds, this model's fold, number of photographs, and what `learned.json` holds.
        corrections: Number and fingerprint of the corrections it learned from.
        history: Mean losses per epoch.
        key: Hash of everything that decides the weights.
        weights: Hash of `model.safetensors`, which binds the two files; set by `save_model`. Empty: an older card.
        details: Seed, device, precision, wall time, what was taken from the weights; `arithmetic`, see `precision`.
        versions: Of regaze, Python and the libraries that compute.
        created: UTC, ISO 8601.
        schema_version: Of this file.
        order: Its place among the study's models, as they were made, from 1; 0: an older card, before all others. The
            clock does not decide it, since that may go backwards.
    """

    name: str
    network: NetworkOptions
    classes: tuple[str, ...]
    ordinal: bool
    decoding: Decoding
    size: int
    crop: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipe: Mapping[str, Any]
    lineage: tuple[Mapping[str, Any], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    corrections: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    key: str = ""
    weights: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    created: str = field(default_factory=timestamp)
    schema_version: int = SCHEMA_VERSION
    colour: Colour = "none"
    order: int = 0

    @property
    def has_maps(self) -> bool:
        """Whether the network has attention maps that can be corrected: all but a plain one."""
        return self.network.network != "plain"

    @property
    def parent(self) -> str | None:
        """Name of the model that this one was fine-tuned from; None for phase 1."""
        return str(self.lineage[-1]["name"]) if self.lineage else None

    @property
    def root(self) -> str:
        """Name of the phase-1 model of its line: its own, where it is one."""
        return str(self.lineage[0]["name"]) if self.lineage else self.name


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    packages = ("regaze", "torch", "torchvision", "timm", "numpy", "pillow", "opencv-python-headless")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def read_card(folder: Path) -> ModelCard:
    """Read `model.json`.

    Raises:
        ModelError: It is missing, damaged, or written by a newer version of regaze.
    """
    path = folder / "model.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} is no model folder (it has no model.json): give a folder that `regaze train` wrote."
        )
    try:
        values = read_json(path)
        schema = int(values["schema_version"])
        if schema > SCHEMA_VERSION:
            raise ModelError(f"{path} has schema {schema}, this regaze reads up to {SCHEMA_VERSION}: update regaze.")
        network = restored(NetworkOptions, values["network"])
        values["created"]  # the dataclass would take the time now
        card: ModelCard = replace(typed(ModelCard, values), network=network)
        _check(card)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged ({error}): train the model again or restore the file.") from error
    return card


def _check(card: ModelCard) -> None:
    """Refuse what no training writes.

    Raises:
        ValueError: A value cannot be.
        KeyError: An ancestor has no name.
    """
    if len(set(card.classes)) < max(2, len(card.classes)):
        raise ValueError(f"the classes are {list(card.classes)[:5]}, expected two or more, all different")
    if not (32 <= card.size <= 4096 and 1 <= card.network.scales <= 4 and card.schema_version >= 1):
        raise ValueError("size, scales or schema_version is out of range")
    if not all(0 < spread <= 1e3 for spread in card.std) or not all(abs(middle) <= 1e3 for middle in card.mean):
        raise ValueError("mean or std is out of range")
    if not all(isinstance(ancestor["name"], str) for ancestor in card.lineage):
        raise ValueError("an ancestor's name is no text")


def check_weights(folder: Path, card: ModelCard) -> None:
    """Make sure that a folder's weights are the ones that its card was written with (an older card does not know).

    Args:
        folder: The model folder.
        card: Its card.

    Raises:
        ModelError: They are missing, or others.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"{path} is missing: restore it, or train the model again.")
    if card.weights and file_hash(path) != card.weights:
        raise ModelError(
            f"{path} holds other weights than its model.json describes: restore the two files together, "
            "or train the model again."
        )


def file_hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
