"""What a model learned from, by content: `learned.json` beside its card, so that no photograph of it is judged unseen.

Invariant: hashes alone, sorted; neither a name nor a picture can be read from them. The card holds their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.errors import ModelError
from regaze.files import digest, read_json, typed, write_json
from regaze.models.card import ModelCard
from regaze.records import Colour

FILE = "learned.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Learned:
    """Photographs that a model, or one that it started from, learned from.

    Attributes:
        contents: Fingerprints of the files' bytes (`Sample.content`).
        squares: Fingerprints of the squares that the network saw, see `square_hash`: a photograph that was stored anew
            without loss has other bytes and the same square.
        whole: Whether that is all; False where of a model that it started from nobody can tell.
    """

    contents: frozenset[str]
    squares: frozenset[str]
    whole: bool = True

    def __or__(self, other: Learned) -> Learned:
        return Learned(self.contents | other.contents, self.squares | other.squares, self.whole and other.whole)

    @property
    def entry(self) -> dict[str, Any]:
        """What the card says of it: how many files, and a digest of all."""
        return {"n": len(self.contents), "fingerprint": digest(_plain(self))}


NOTHING_KNOWN = Learned(frozenset(), frozenset(), whole=False)
"""Of a model that was made before it was kept."""


def square_hash(image: NDArray[np.uint8], crop: bool, colour: Colour) -> str:
    """Fingerprint of one square (S, S, 3) uint8 as a model sees it, 32 hexadecimal digits."""
    view = f"{image.shape[0]} {crop} {colour}\n".encode()
    return hashlib.blake2b(view + np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest()


def learned_from(contents: Iterable[str], images: NDArray[np.uint8], card: ModelCard) -> Learned:
    """What a model of this card learns from.

    Args:
        contents: Of N files.
        images: (N, S, S, 3) uint8, their squares.
        card: Says how squares are made.
    """
    squares = frozenset(square_hash(image, card.crop, card.colour) for image in images)
    return Learned(frozenset(contents) - {""}, squares)


def write_learned(folder: Path, learned: Learned) -> None:
    """Write `learned.json`."""
    write_json(folder / FILE, {"schema_version": _SCHEMA_VERSION, **_plain(learned)})


def read_learned(folder: Path, card: ModelCard) -> Learned:
    """Read what a model learned from; `NOTHING_KNOWN` where the model was made before it was kept.

    Args:
        folder: The model's.
        card: Its card.

    Raises:
        ModelError: It is missing, damaged, or another model's.
    """
    entry = card.data.get("learned")
    if entry is None:
        return NOTHING_KNOWN
    file = folder / FILE
    try:
        values = read_json(file)
        contents, squares = (frozenset(typed(list[str], values[name])) for name in ("contents", "squares"))
        learned = Learned(contents, squares, typed(bool, values["whole"]))
        if learned.entry != entry:
            raise ValueError("it is another model's")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} is missing or damaged ({error}), so that nobody can tell what {card.name} learned from: restore "
            "the file, or train the model again."
        ) from error
    return learned


def _plain(learned: Learned) -> dict[str, Any]:
    return {
        "contents": sorted(learned.contents),
        "squares": sorted(learned.squares),
        "whole": learned.whole,
    }
