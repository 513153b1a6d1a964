"""What other maps than its own would make of a model's grade of one photograph: figures, and one panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.data.geometry import Geometry
from regaze.data.images import open_image, photo_orientation, photo_size, read_photo
from regaze.data.pixels import load_pixels
from regaze.drawing.panel import FORMATS, PHOTO_SIDE, Row, Tile, draw_panel, strength
from regaze.errors import CorrectionError, DataError, OptionError
from regaze.files import replacing
from regaze.models.card import ModelCard
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import decode
from regaze.models.what_if import Probabilities
from regaze.orientation import stored_pixels, upright_pixels, upright_size
from regaze.records import Correction, Sample
from regaze.training.targets import render

Grids = Sequence[tuple[int, int]]
Maps = list[NDArray[np.float32]]
MOMENTS = ("before", "now", "same_amount")


def what_if_file(
    model: Path, photo: Path, marks: Path | Correction, to: Path, machine: MachineOptions
) -> dict[str, Any]:
    """Ask a model what it would grade with another map, and write one panel: the photograph, its own map, the other.

    Args:
        model: A model folder.
        photo: A photograph.
        marks: The other map: a grey picture over the photograph, see `maps_of_picture`, or a correction of it.
        to: The panel's file.
        machine: Device and precision.

    Returns:
        `model`, its `key`, `file`, `precision` of the branches, each of `MOMENTS` -> `grade`, `class`, `probabilities`
        and `branches` (a dict of probabilities each, finest scale first), `moved` (of the probability, 0..1: `now`, and
        `same_amount`), `listens`, and `panel`.

    Raises:
        ModelError: The folder is no model folder, or the network has no maps.
        DataError: A picture cannot be read, or the map is not the photograph's.
        OptionError: The panel would replace the photograph or the map, or has no known suffix.
    """
    if to.resolve() in (photo.resolve(), marks.resolve() if isinstance(marks, Path) else None):
        raise OptionError(f"--to {to}: this is the photograph or map itself; give another name.")
    if to.suffix.lower() not in FORMATS:
        raise OptionError(f"--to {to}: expected a name that ends in {', '.join(FORMATS)}.")
    predictor, card = load_model(model, machine)
    sample = Sample(photo.name, photo, None)
    pixels = load_pixels([sample], card.size, None, 1, crop=card.crop, colour=card.colour)
    geometry = pixels.geometries[0]
    held = predictor.hold(pixels.images[0])
    if isinstance(marks, Correction):
        maps = maps_of_correction(marks, photo, geometry, held.grids)
    else:
        maps = maps_of_picture(marks, photo, geometry, held.grids)
    found = held.what_if(maps)
    said = {moment: _said(getattr(found, moment), card) for moment in MOMENTS}
    moved = {moment: _moved(found.before, getattr(found, moment)) for moment in MOMENTS[1:]}
    large = load_pixels([sample], max(PHOTO_SIDE, card.size), None, 1, crop=card.crop)
    lesions = large.geometries[0].mask(marks.look) if isinstance(marks, Correction) and marks.look.any() else None
    fused = [predictor.predict(pixels.images, maps=given).fused[0] for given in (None, [item[None] for item in maps])]
    _draw(to, photo, said, large.images[0], lesions, fused)
    return {
        "model": str(model),
        "key": card.key,
        "file": str(photo),
        "precision": predictor.arithmetic,
        **said,
        "moved": moved,
        "listens": found.listens,
        "panel": str(to),
    }


def maps_of_picture(file: Path, photo: Path, geometry: Geometry, grids: Grids) -> Maps:
    """A map for each scale from a grey picture over a photograph, as viewers show it (EXIF): black 0, white 1.

    Each map cell takes the brightest of the pixels whose centres lie in it, so that no small lesion is lost; cells
    beyond the photograph are 0. Every cell is given, and none keeps the model's own value.

    Args:
        file: A picture with 8 or 1 bits of grey and the upright photograph's size.
        photo: The photograph.
        geometry: Its own.
        grids: (h, w) of every scale, finest first.

    Raises:
        DataError: It cannot be read, or is another kind or size.
    """
    turn = photo_orientation(photo)
    size = upright_size(*photo_size(photo), turn)
    with open_image(file, decode=True) as image:
        if image.mode not in ("L", "1"):
            raise DataError(f"The map {file} has the mode {image.mode}: expected grey, save it with 8 bits (L).")
        if image.size != size:
            raise DataError(
                f"The map {file} has {image.width} x {image.height} pixels: expected {size[0]} x {size[1]}, those of "
                f"{photo} as viewers show it."
            )
        levels = stored_pixels(np.asarray(image.convert("L"), np.uint8), turn)
    return [np.asarray(replace(geometry, size=rows).brightest(levels) / 255, np.float32) for rows, _ in grids]


def maps_of_correction(correction: Correction, photo: Path, geometry: Geometry, grids: Grids) -> Maps:
    """A map for each scale from a correction: M' as fine-tuning would teach it, without tolerance or sizes.

    NaN, where an edit leaves the model's own value.

    Args:
        correction: Of this photograph.
        photo: The photograph.
        geometry: Its own.
        grids: (h, w) of every scale, finest first.

    Raises:
        CorrectionError: It was drawn on a photograph of another size.
    """
    if correction.look.shape != (geometry.height, geometry.width):
        height, width = correction.look.shape
        raise CorrectionError(
            f"Correction {correction.id} was drawn on {width} x {height} pixels, {photo} has {geometry.width} x "
            f"{geometry.height}: give the photograph of {correction.sample}."
        )
    planes = [
        None if mask is None else torch.from_numpy(np.ascontiguousarray(geometry.mask(mask)))[None, None]
        for mask in (correction.look, correction.avoid)
    ]
    assert planes[0] is not None
    edited = torch.tensor([correction.mode == "edit"])
    targets = render(planes[0], planes[1], None, edited, grids)
    return [torch.where(target.claim > 0, target.value, torch.nan)[0, 0].numpy() for target in targets]


def check_photograph(correction: Correction, photo: Path, own: Path) -> None:
    """Refuse a photograph that is not a correction's.

    Args:
        correction: Of a study.
        photo: The file that was named.
        own: The study's file of the corrected photograph.

    Raises:
        CorrectionError: The pixels differ.
        DataError: One of them cannot be read.
    """
    if photo.resolve() != own.resolve() and not np.array_equal(read_photo(photo), read_photo(own)):
        raise CorrectionError(
            f"Correction {correction.id} is of {correction.sample}, and {photo} shows something else: give {own}."
        )


def _said(probabilities: Probabilities, card: ModelCard) -> dict[str, Any]:
    grade = int(decode(probabilities.fused[None], card.decoding)[0])
    named = [dict(zip(card.classes, map(float, row), strict=True)) for row in probabilities.branches]
    return {
        "grade": grade,
        "class": card.classes[grade],
        "probabilities": dict(zip(card.classes, map(float, probabilities.fused), strict=True)),
        "branches": named,
    }


def _moved(before: Probabilities, after: Probabilities) -> float:
    """Probability that goes to other classes: half the sum of the absolute differences."""
    return float(np.abs(after.fused - before.fused).sum()) / 2


def _draw(
    to: Path,
    photo: Path,
    said: Mapping[str, Mapping[str, Any]],
    square: NDArray[np.uint8],
    lesions: NDArray[np.bool_] | None,
    fused: Sequence[NDArray[np.float32]],
) -> None:
    """Write the panel; maps (h, w) of the model's own and of the given ones, all in stored order."""
    turn = photo_orientation(photo)
    texts = [f"{what['class']} ({what['probabilities'][what['class']]:.2f})" for what in said.values()]
    titles = ("The model's own map", "The map given")
    tiles = [
        Tile(title, f"graded {text}", upright_pixels(strength(item), turn))
        for title, text, item in zip(titles, texts, fused, strict=False)
    ]
    row = Row(
        f"{photo.name}: {said['before']['class']} -> {said['now']['class']}",
        f"With as much attention as the map given has, but in the model's own places: {texts[2]}",
        upright_pixels(square, turn),
        (Tile("Photograph", "cropped as the model sees it"), *tiles),
        None if lesions is None else upright_pixels(lesions, turn),
    )
    with replacing(to) as temporary:
        draw_panel([row]).save(temporary, format=FORMATS[to.suffix.lower()])
