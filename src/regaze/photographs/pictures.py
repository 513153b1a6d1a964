"""A loaded model that takes pictures: files, Pillow's and arrays become the squares that it learned from."""

from __future__ import annotations

from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regaze.data.images import image_pixels
from regaze.data.pixels import load_pixels, square_of
from regaze.errors import DataError
from regaze.models import folder as models
from regaze.models.card import ModelCard
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictor
from regaze.records import Sample

Picture = str | PathLike[str] | Image.Image | NDArray[np.uint8]


def load_model(
    folder: str | PathLike[str], machine: MachineOptions | None = None, batch: int = 32
) -> tuple[Predictor, ModelCard]:
    """A model folder, ready to predict pictures (`Predictor.predict`, see `squares`).

    Args:
        folder: For example `study/models/multi-scale/fold0`.
        machine: Device and precision; default: automatic.
        batch: Photographs per forward pass.

    Raises:
        ModelError: The folder is no model folder, is damaged, or was written by a newer version.
    """
    predictor, card = models.load_model(Path(folder), machine, batch)
    predictor.squares = partial(squares, card=card)
    return predictor, card


def squares(pictures: Any, card: ModelCard) -> NDArray[np.uint8]:
    """The squares that a model sees, cropped and coloured as its card says.

    Args:
        pictures: One picture or several: paths, Pillow pictures, (H, W, 3) uint8 RGB arrays in stored pixels. An array
            (N, S, S, 3) uint8 is taken for N squares of the model's size.
        card: The model's.

    Returns:
        (N, S, S, 3) uint8 RGB, cropped pixels.

    Raises:
        DataError: There is no picture, one cannot be read, or an array has another type or shape.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim != 3:
        wanted = (card.size, card.size, 3)
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != wanted or not len(pictures):
            raise DataError(
                f"{_described(pictures)}: expected squares (N, {card.size}, {card.size}, 3) uint8, or pictures of any "
                "size as a list of (H, W, 3) uint8 arrays."
            )
        given: NDArray[np.uint8] = pictures
        return given
    if isinstance(pictures, (str, PathLike, Image.Image, np.ndarray)):
        pictures = [pictures]
    made = [_square(picture, card) for picture in pictures]
    if not made:
        raise DataError("No picture to predict: give one or more.")
    return np.stack(made)


def _square(picture: Any, card: ModelCard) -> NDArray[np.uint8]:
    if isinstance(picture, (str, PathLike)):
        path = Path(picture).expanduser()
        sample = Sample(path.name, path, None)
        made = load_pixels([sample], card.size, None, 1, crop=card.crop, colour=card.colour)
        return np.asarray(made.images[0], np.uint8)
    if isinstance(picture, Image.Image):
        picture = image_pixels(picture)
    elif not isinstance(picture, np.ndarray):
        raise DataError(f"A picture is a {type(picture).__name__}: expected a path, a Pillow picture or an array.")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        cure = "multiply by 255 and round, " if picture.dtype.kind == "f" else ""
        raise DataError(f"{_described(picture)}: expected (height, width, 3) uint8, RGB: {cure}or give a path.")
    return square_of(picture, card.size, card.crop, card.colour)


def _described(array: NDArray[Any]) -> str:
    return f"An array is {array.shape} {array.dtype}"
