"""Explain photographs that belong to no study: a panel with one picture per explainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.console import Voice
from regaze.data.pixels import load_pixels
from regaze.drawing.panel import Row, Tile, draw_panel, strength
from regaze.errors import DataError, OptionError
from regaze.explanation.explainers import EXPLAINERS, available, explain, find
from regaze.files import replacing
from regaze.models.card import ModelCard
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions, Predictor
from regaze.photographs.predict import describe
from regaze.records import Sample

_PHOTO_SIDE = 748  # pixels: twice the largest tile, so that lesions stay sharp
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}


def explain_files(
    model: Path,
    images: Sequence[Path],
    by: str | None,
    to: Path,
    class_name: str | None,
    masks: Sequence[Path],
    machine: MachineOptions,
    batch: int,
    voice: Voice,
) -> dict[str, Any]:
    """Explain photographs and write one panel.

    Args:
        model: A model folder.
        images: Photographs.
        by: Names of explainers, separated by commas; None: every quick one that the network takes.
        to: The panel's file.
        class_name: The class to explain; None: the likeliest of each photograph.
        masks: Masks of the lesions of the one photograph, in original pixels.
        machine: Device and precision.
        batch: Photographs per forward pass.
        voice: Shows the progress.

    Returns:
        What was explained, of which class, and what the model says of each photograph.

    Raises:
        ModelError: `model` is no model folder, or an explainer does not fit the network.
        DataError: A photograph or mask cannot be read.
        OptionError: An unknown explainer or class, or options that do not go together.
    """
    _check(images, to, masks, batch)
    predictor, card = load_model(model, machine, batch)
    names = _names(by, predictor)
    wanted = _class_index(class_name, card)
    samples = [Sample(str(path), path, None, masks=_masks(masks), origin="masks") for path in images]
    pixels = load_pixels(samples, card.size, None, machine.workers, crop=card.crop)
    predictions = predictor.predict(pixels.images)
    likeliest = predictions.probabilities.argmax(axis=1)
    classes = likeliest if wanted is None else np.full(len(images), wanted, np.int64)
    maps: dict[str, NDArray[np.float32]] = {}
    for name in names:
        with voice.progress(EXPLAINERS[name].title) as feed:
            maps[name] = explain(predictor, pixels.images, name, classes, progress=feed)
    # Attention maps belong to no class: where there is nothing else, none was explained.
    told = any(EXPLAINERS[name].of_class for name in names)
    of_class = [int(item) if told else None for item in classes]
    large = load_pixels(samples, max(_PHOTO_SIDE, card.size), None, machine.workers, crop=card.crop)
    rows = []
    for index, path in enumerate(images):
        tiles = [Tile("Photograph", "cropped as the model sees it")]
        tiles += [Tile(EXPLAINERS[name].title, EXPLAINERS[name].text, strength(maps[name][index])) for name in names]
        lesions = large.union[index] if masks else None
        rows.append(
            Row(*_words(path, card, predictions, index, of_class[index]), large.images[index], tuple(tiles), lesions)
        )
    with replacing(to) as temporary:
        draw_panel(rows).save(temporary, format=_FORMATS[to.suffix.lower()])
    found = [_describe(path, card, predictions, index, of_class[index]) for index, path in enumerate(images)]
    return {"model": str(model), "key": card.key, "explainers": names, "photographs": found, "panel": str(to)}


def _check(images: Sequence[Path], to: Path, masks: Sequence[Path], batch: int) -> None:
    """Refuse what cannot work before the network is loaded."""
    if batch < 1:
        raise OptionError(f"--batch {batch}: expected 1 or more.")
    if not images:
        raise OptionError("No photograph to explain: give one or more files.")
    for path in images:
        if path.is_dir():
            raise DataError(f"{path} is a folder: give the photographs in it, e.g. {path}/*.jpg.")
    if to.resolve() in [path.resolve() for path in (*images, *masks)]:
        raise OptionError(f"--to {to}: this is the photograph or mask itself; give another name.")
    if to.suffix.lower() not in _FORMATS:
        raise OptionError(f"--to {to}: expected a name that ends in {', '.join(_FORMATS)}.")
    if masks and len(images) > 1:
        raise OptionError(f"--mask goes with one photograph, not with {len(images)}: explain them one by one.")


def _names(by: str | None, predictor: Predictor) -> list[str]:
    """The explainers to use, in the order given."""
    if by is None:
        return [name for name in available(predictor.network) if EXPLAINERS[name].quick]
    names = list(dict.fromkeys(part.strip() for part in by.split(",") if part.strip()))
    if not names:
        raise OptionError(
            f"--by {by!r} names no explainer: this model takes {', '.join(available(predictor.network))}."
        )
    for name in names:
        find(name, predictor.network)
    return names


def _class_index(name: str | None, card: ModelCard) -> int | None:
    if name is None:
        return None
    if name not in card.classes:
        raise OptionError(f"--class {name}: this model has no such class, it has {', '.join(card.classes)}.")
    return card.classes.index(name)


def _masks(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    return {"lesion": tuple(paths)} if paths else {}


def _words(path: Path, card: ModelCard, predictions: Predictions, index: int, explained: int | None) -> tuple[str, str]:
    """Title and text of a photograph."""
    grade = int(predictions.grades[index])
    probabilities = predictions.probabilities[index]
    all_of_them = "    ".join(f"{name}: {value:.2f}" for name, value in zip(card.classes, probabilities, strict=True))
    title = f"{path.name}: graded {card.classes[grade]}"
    words = f"Probabilities   {all_of_them}"
    return (
        title,
        words if explained is None else f"Explained: {card.classes[explained]}.    Probabilities   {all_of_them}",
    )


def _describe(
    path: Path, card: ModelCard, predictions: Predictions, index: int, explained: int | None
) -> dict[str, Any]:
    said = describe(path, card, predictions, index)
    return said | {"explained": None if explained is None else card.classes[explained]}
