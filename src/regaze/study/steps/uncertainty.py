"""Uncertainty scores of the collected maps, and how far they lie from what earlier corrections make one expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from regaze.data.pixels import Pixels
from regaze.models.card import ModelCard
from regaze.models.predictor import Predictions, Predictor
from regaze.models.uncertainty import cell_features, map_signals
from regaze.records import Sample
from regaze.selection.prior import Prior
from regaze.study.folder import Study
from regaze.study.lesions import grids_of, targets
from regaze.study.steps.supervision import corrections_of

_MIN_CORRECTIONS = 8  # a prior from fewer says more about those photographs than about lesions


@dataclass(frozen=True)
class Doubts:
    """Of N photographs.

    Attributes:
        signals: One mapping per photograph, see `Collected.signals`; plain numbers or None.
        features: (N, F) float32, pooled features for diversity.
    """

    signals: list[dict[str, float | None]]
    features: NDArray[np.float32]


def doubts(
    study: Study,
    card: ModelCard,
    fold: int,
    predictor: Predictor,
    samples: Sequence[Sample],
    pixels: Pixels,
    predictions: Predictions,
) -> Doubts:
    """Signals that need no label, for the photographs of a fold's training part.

    Args:
        study: The study, for the corrections so far.
        card: Of the model whose maps are collected.
        fold: Of the study.
        predictor: That model.
        samples: N photographs.
        pixels: The same in cropped pixels.
        predictions: What the model says of them.
    """
    with study.voice.progress(f"uncertainty of the maps of {card.name}") as feed:
        found = map_signals(predictor, pixels.images, feed)
    columns = {
        "branches": found.branches,
        "scales": found.scales,
        "cam": found.cam,
        "instability": found.instability,
        "prior": _prior(study, card, fold, predictor, samples, pixels, predictions),
    }
    signals = [
        {name: _plain(None if column is None else column[place]) for name, column in columns.items()}
        for place in range(len(samples))
    ]
    return Doubts(signals, found.features)


def cheap_signals(predictions: Predictions, place: int) -> dict[str, float | None]:
    """The uncertainty scores of one photograph that its prediction shows; none for a plain network."""
    columns = {"branches": predictions.branches, "scales": predictions.scales}
    return {name: _plain(column[place]) for name, column in columns.items() if column is not None}


def _prior(
    study: Study,
    card: ModelCard,
    fold: int,
    predictor: Predictor,
    samples: Sequence[Sample],
    pixels: Pixels,
    predictions: Predictions,
) -> NDArray[np.float64] | None:
    """(N,) distance of the maps to the prior, on the coarsest scale's grid; None with too few corrections."""
    root = card.lineage[0]["name"] if card.lineage else card.name
    places = {sample.id: place for place, sample in enumerate(samples)}
    entries = [entry for entry in corrections_of(study, root, fold) if entry.sample in places]
    if len(entries) < _MIN_CORRECTIONS:
        return None
    grid = grids_of(predictions)[-1]
    features = cell_features(predictor, pixels.images, grid)
    chosen = [places[entry.sample] for entry in entries]
    looks = [
        pixels.geometries[place].mask(study.store.correction(entry.id).look)
        for place, entry in zip(chosen, entries, strict=True)
    ]
    wanted = targets(np.stack(looks), [grid])[0]
    groups = [samples[place].patient or samples[place].id for place in chosen]
    prior = Prior.fit(features[chosen], wanted, study.options.seed, groups=groups)
    maps = np.mean([_shrunk(item, grid) for item in predictions.maps], axis=0)
    return prior.distance(features, maps)


def _shrunk(maps_Nhw: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Maps averaged to a coarser grid."""
    return functional.adaptive_avg_pool2d(torch.from_numpy(maps_Nhw).unsqueeze(1), grid).squeeze(1).numpy()


def _plain(value: float | None) -> float | None:
    """A number that JSON can hold; None for NaN."""
    return None if value is None or not np.isfinite(value) else float(value)
