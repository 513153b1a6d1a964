"""Explain photographs that belong to no study: a panel with one picture per explainer and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.console import Voice
from regaze.data.images import photo_orientation
from regaze.data.pixels import load_pixels
from regaze.drawing.overlay import balanced
from regaze.drawing.panel import FORMATS, PHOTO_SIDE, Row, Tile, draw_panel, strength
from regaze.errors import DataError, OptionError
from regaze.explanation.explainers import EXPLAINERS, available, explain, find
from regaze.files import replacing
from regaze.models.card import ModelCard
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictor
from regaze.orientation import upright_pixels
from regaze.photographs.predict import describe
from regaze.records import Sample


@dataclass(frozen=True)
class _Explained:
    """What one model says of the photographs.

    Attributes:
        model: Its folder.
        card: Its card.
        precision: In which it predicted, `bf16` or `fp32`; gradients are fp32.
        photographs: For each photograph, what `describe` gives and `explained`: a class, None where maps have none.
        maps: Explainer -> (N, S, S) float32 in cropped pixels.
    """

    model: Path
    card: ModelCard
    precision: str
    photographs: list[dict[str, Any]]
    maps: dict[str, NDArray[np.float32]]

    def result(self) -> dict[str, Any]:
        """The part of the command's result that is this model's."""
        return {
            "model": str(self.model),
            "key": self.card.key,
            "precision": self.precision,
            "explainers": list(self.maps),
            "photographs": self.photographs,
        }


def explain_files(
    models: Sequence[Path],
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
        models: Model folders, at least one; their pictures stand side by side, in this order.
        images: Photographs.
        by: Names of explainers, separated by commas; None: every quick one that each network takes.
        to: The panel's file.
        class_name: The class to explain; None: the likeliest of each photograph.
        masks: Masks of the lesions of the one photograph, in original pixels.
        machine: Device and precision.
        batch: Photographs per forward pass.
        voice: Shows the progress.

    Returns:
        What the first model was asked and what it says of each photograph; the same of the others under `beside`.

    Raises:
        ModelError: A folder is no model folder, or an explainer does not fit a network.
        DataError: A photograph or mask cannot be read.
        OptionError: An unknown explainer or class, or options that do not go together.
    """
    _check(images, to, masks, batch)
    lesions = {"lesion": tuple(masks)} if masks else {}
    samples = [Sample(str(path), path, None, masks=lesions, origin="masks") for path in images]
    explained = [_explain_with(model, samples, by, class_name, machine, batch, voice) for model in models]
    cards = [each.card for each in explained]
    if len({card.crop for card in cards}) > 1:
        raise OptionError("--beside: of these models some crop photographs to the field of view and others do not.")
    side = max(PHOTO_SIDE, *(card.size for card in cards))
    large = load_pixels(samples, side, None, machine.workers, crop=cards[0].crop)
    rows = [
        Row(
            *_caption(path, explained, index),
            upright_pixels(large.images[index], turn),
            (Tile("Photograph", "cropped as the model sees it"), *_tiles(explained, index, turn)),
            upright_pixels(large.union[index], turn) if masks else None,
        )
        for index, (path, turn) in enumerate(zip(images, map(photo_orientation, images), strict=True))
    ]
    with replacing(to) as temporary:
        draw_panel(rows).save(temporary, format=FORMATS[to.suffix.lower()])
    first, *others = (each.result() for each in explained)
    return first | {"beside": others, "panel": str(to)}


def _explain_with(
    model: Path,
    samples: Sequence[Sample],
    by: str | None,
    class_name: str | None,
    machine: MachineOptions,
    batch: int,
    voice: Voice,
) -> _Explained:
    """Grade and explain the photographs with one model; arguments as in `explain_files`."""
    predictor, card = load_model(model, machine, batch)
    names = _names(by, predictor)
    wanted = _class_index(class_name, card)
    pixels = load_pixels(samples, card.size, None, machine.workers, crop=card.crop, colour=card.colour)
    predictions = predictor.predict(pixels.images)
    likeliest = predictions.probabilities.argmax(axis=1)
    classes = likeliest if wanted is None else np.full(len(samples), wanted, np.int64)
    maps: dict[str, NDArray[np.float32]] = {}
    for name in names:
        with voice.progress(EXPLAINERS[name].title) as feed:
            maps[name] = explain(predictor, pixels.images, name, classes, progress=feed)
    # Attention maps belong to no class: where there is nothing else, none was explained.
    has_class = any(EXPLAINERS[name].of_class for name in names)
    photographs = [
        describe(sample.image, card, predictions, index)
        | {"explained": card.classes[classes[index]] if has_class else None}
        for index, sample in enumerate(samples)
    ]
    return _Explained(model, card, predictor.arithmetic, photographs, maps)


def _tiles(explained: Sequence[_Explained], index: int, turn: int) -> list[Tile]:
    """One photograph's maps, upright by its orientation; below each its explainer, of several models whose it is."""
    tiles = []
    names = [each.card.name for each in explained]
    for each in explained:
        name = each.card.name if names.count(each.card.name) == 1 else str(each.model)
        for by, maps in each.maps.items():
            explainer = EXPLAINERS[by]
            title, text = explainer.title, explainer.text
            if len(explained) > 1:
                title, text = name, f"{title}: {text}"
            values = balanced(maps[index])[0] if explainer.signed else strength(maps[index])
            tiles.append(Tile(title, text, upright_pixels(values, turn), explainer.signed))
    return tiles


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
    if to.suffix.lower() not in FORMATS:
        raise OptionError(f"--to {to}: expected a name that ends in {', '.join(FORMATS)}.")
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
    if name is not None and name not in card.classes:
        raise OptionError(f"--class {name}: this model has no such class, it has {', '.join(card.classes)}.")
    return None if name is None else card.classes.index(name)


def _caption(path: Path, explained: Sequence[_Explained], index: int) -> tuple[str, str]:
    """Title and text of a photograph: one model's grade and probabilities, or the grades of several."""
    if len(explained) > 1:
        grades = [(each.card.name, each.photographs[index]) for each in explained]
        text = "    ".join(f"{name}: {grade['class']} ({grade['confidence']:.2f})" for name, grade in grades)
        return path.name, f"Graded   {text}"
    photograph = explained[0].photographs[index]
    probabilities = "    ".join(f"{name}: {value:.2f}" for name, value in photograph["probabilities"].items())
    of_class = "" if photograph["explained"] is None else f"Explained: {photograph['explained']}.    "
    return f"{path.name}: graded {photograph['class']}", f"{of_class}Probabilities   {probabilities}"
