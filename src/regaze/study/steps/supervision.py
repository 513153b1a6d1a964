"""What a model learns from the store: whose corrections count, and how several experts are merged.

Invariant: with cross-validation a fold's model never learns from a correction of its own validation photographs, since
every fold has its own selection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.corrections.consensus import majority, staple
from regaze.corrections.planes import Planes, make_planes
from regaze.corrections.rows import CorrectionEntry
from regaze.data.pixels import Pixels
from regaze.errors import OptionError, StudyError
from regaze.files import digest
from regaze.models.build import Network
from regaze.models.network import AttentionNetwork
from regaze.records import Sample
from regaze.study.folder import Study
from regaze.study.steps.fold_model import training_set
from regaze.training.batches import TrainingSet
from regaze.training.options import Experts, SupervisionOptions

Mask = NDArray[np.bool_]


def corrections_of(
    study: Study,
    root: str,
    fold: int,
    experts: Experts = "latest",
    index: Sequence[CorrectionEntry] | None = None,
) -> list[CorrectionEntry]:
    """The corrections that count, made on maps of `root` or its descendants, ordered by photograph and id.

    Corrections made for another fold's model stay out; and so do those of another network's maps, so that each method
    of a comparison learns from its own.

    Args:
        study: Holds the corrections.
        root: A phase-1 model.
        fold: Of its folds.
        experts: `latest`: one per photograph, whoever made it. Otherwise the latest of each expert.
        index: The store's corrections, where they have been read.
    """
    line = [name for name, card in study.cards().items() if card.root == root]
    makers = {study.fold_name(name, fold) for name in (root, *line)}
    latest = {
        (entry.sample, "" if experts == "latest" else entry.author): entry
        for entry in (study.store.correction_index() if index is None else index)
        if entry.model in makers
    }
    return sorted(latest.values(), key=lambda entry: (entry.sample, entry.id))


def author_weights(texts: Iterable[str]) -> dict[str, float]:
    """Author -> weight, from `NAME=WEIGHT` texts.

    Raises:
        OptionError: A text is not of that form, or a weight is not above 0.
    """
    weights = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not name.strip() or not 0 < weight < float("inf"):
            raise OptionError(f"--authors {text!r}: expected NAME=WEIGHT with a weight above 0, e.g. anna=2.")
        weights[name.strip()] = weight
    return weights


def learned_from(entries: Sequence[CorrectionEntry]) -> dict[str, Any]:
    """What a model's card says of the corrections that it learned from."""
    hashes = [entry.hash for entry in entries]
    return {"n": len(entries), "fingerprint": digest(hashes), "ids": [entry.id for entry in entries]}


def cells_of(network: Network, size: int) -> list[float]:
    """Side of a map cell per scale in cropped pixels, finest first; empty for a network without attention maps."""
    return [size / width for _, width in network.grids(size)] if isinstance(network, AttentionNetwork) else []


def corrections_by_fold(study: Study, root: str, options: SupervisionOptions) -> dict[int, list[CorrectionEntry]]:
    """Fold -> `corrections_of`, for a model that learns with these options.

    Raises:
        StudyError: There is no correction to learn from.
        OptionError: An author's weight is not above 0, or for no author of the corrections.
    """
    index = study.store.correction_index()  # once: all folds learn from what is there now
    corrections = {fold: corrections_of(study, root, fold, options.experts, index) for fold in study.folds}
    if not any(corrections.values()) and options.learns:
        raise StudyError(f"Study {study.path} has no correction yet: run `regaze select` and `regaze correct` first.")
    weighted = author_weights(options.authors).keys()
    authors = {entry.author for entries in corrections.values() for entry in entries}
    if weighted - authors:
        strange, known = min(weighted - authors), ", ".join(sorted(authors))
        raise OptionError(f"--authors: no correction is by {strange!r}; the authors are {known}.")
    return corrections


def free_of_lesions(samples: Sequence[Sample], pixels: Pixels, sound: int | None) -> list[int]:
    """Rows of the photographs of the sound class that mark no lesion: they say for free that there is nothing to see.

    Args:
        samples: N photographs.
        pixels: The same in cropped pixels.
        sound: The sound class (`Dataset.sound`); None: of no class is known that it is.
    """
    free = [row for row, sample in enumerate(samples) if sound is not None and sample.label == sound]
    return [row for row in free if not pixels.lesions[row].any()]


def corrected_set(
    study: Study,
    samples: Sequence[Sample],
    pixels: Pixels,
    entries: Sequence[CorrectionEntry],
    options: SupervisionOptions,
    cells: Sequence[float],
    free: Sequence[int] = (),
) -> TrainingSet:
    """Photographs, grades and corrections, in cropped pixels.

    Args:
        study: Holds the corrections' masks.
        samples: N photographs.
        pixels: The same in cropped pixels.
        entries: As `corrections_of` orders them; those of other photographs are left out.
        options: Tolerance, sizes, experts and their weights.
        cells: Side of a map cell per scale in cropped pixels, finest first.
        free: Rows of photographs that count as corrected to "nothing here deserves attention", see `free_of_lesions`.
    """
    rows = {sample.id: row for row, sample in enumerate(samples)}
    count, size = pixels.images.shape[:2]
    weights = author_weights(options.authors)
    shape = (count, len(cells) if options.match_sizes else 1, size, size)
    look, doubt = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    avoid = np.zeros((count, size, size), dtype=bool)
    corrected, edited = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=bool)
    corrected[list(free)] = 1.0
    sure = np.ones(count, dtype=np.float32)
    for sample, group in groupby(entries, key=lambda entry: entry.sample):
        if sample not in rows:
            continue
        row = rows[sample]
        corrections = [study.store.correction(entry.id) for entry in group]
        geometry = pixels.geometries[row]
        looks = [geometry.mask(item.look) for item in corrections]
        avoids = [None if item.avoid is None else geometry.mask(item.avoid) for item in corrections]
        planes = _planes(looks, avoids, options, cells)
        look[row], doubt[row], avoid[row] = planes.look, planes.doubt, planes.avoid
        sure[row] = options.box_weight if all(item.origin == "boxes" for item in corrections) else 1.0
        edited[row] = all(item.mode == "edit" for item in corrections)
        corrected[row] = np.mean([weights.get(item.author, 1.0) for item in corrections])
    return replace(
        training_set(samples, pixels),
        look=torch.from_numpy(look),
        corrected=torch.from_numpy(corrected),
        avoid=torch.from_numpy(avoid) if avoid.any() else None,
        doubt=torch.from_numpy(doubt) if doubt.any() else None,
        edited=torch.from_numpy(edited) if edited.any() else None,
        sure=torch.from_numpy(sure) if (sure < 1).any() else None,
    )


def _planes(
    looks: list[Mask], avoids: list[Mask | None], options: SupervisionOptions, cells: Sequence[float]
) -> Planes:
    """The planes of one expert's masks, or of several experts' merged masks."""
    look, avoid = looks[0], avoids[0]
    if len(looks) > 1:
        look = staple(looks) >= 0.5 if options.experts == "staple" else majority(looks)
        avoid = majority([np.zeros_like(look) if item is None else item for item in avoids]) & ~look
    return make_planes(look, avoid, options.tolerance, cells if options.match_sizes else None)
