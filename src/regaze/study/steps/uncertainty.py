"""Uncertainty scores of the collected maps, and how far they lie from what earlier corrections make one expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from regaze.data.pixels import Pixels
from regaze.files import json_number
from regaze.models.card import ModelCard
from regaze.models.predictor import Predictions, Predictor
from regaze.models.uncertainty import cell_features, uncertainty_scores
from regaze.records import Sample
from regaze.selection.prior import Prior
from regaze.study.folder import Study
from regaze.study.lesions import grids_of, targets
from regaze.study.steps.supervision import corrections_of

_MIN_CORRECTIONS = 8  # a prior from fewer says more about those photographs than about lesions

Scores = dict[str, float | None]  # of one photograph, see `Collected.signals`


def forward_scores(predictions: Predictions) -> list[Scores]:
    """The scores of N photographs that the prediction itself shows; none for a plain network."""
    columns = {"branches": predictions.branches, "scales": predictions.scales}
    return _by_photograph({name: column for name, column in columns.items() if column is not None}, predictions)


def all_scores(
    study: Study,
    card: ModelCard,
    fold: int,
    predictor: Predictor,
    samples: Sequence[Sample],
    pixels: Pixels,
    predictions: Predictions,
) -> tuple[list[Scores], NDArray[np.float32]]:
    """Those and the scores that need extra forward passes, for the photographs of a fold's training part.

    Args:
        study: Holds the corrections so far.
        card: Of the model whose maps are collected.
        fold: Whose training part.
        predictor: The model.
        samples: N photographs.
        pixels: The same in cropped pixels.
        predictions: What the model says of them.

    Returns:
        One mapping per photograph, and (N, F) float32 pooled features for diversity.
    """
    with study.voice.progress(f"uncertainty of the maps of {card.name}") as feed:
        scores = uncertainty_scores(predictor, pixels.images, feed)
    columns = {name: getattr(scores, name) for name in ("branches", "scales", "cam", "instability")}
    prior = _prior(study, card.root, fold, predictor, samples, pixels, predictions)
    return _by_photograph({**columns, "prior": prior}, predictions), scores.features


def _by_photograph(columns: Mapping[str, NDArray[Any] | None], predictions: Predictions) -> list[Scores]:
    return [
        {name: None if column is None else json_number(column[index]) for name, column in columns.items()}
        for index in range(len(predictions.grades))
    ]


def _prior(
    study: Study,
    root: str,
    fold: int,
    predictor: Predictor,
    samples: Sequence[Sample],
    pixels: Pixels,
    predictions: Predictions,
) -> NDArray[np.float64] | None:
    """(N,) distance of the maps to the prior, on the coarsest scale's grid; None with too few corrections."""
    rows = {sample.id: row for row, sample in enumerate(samples)}
    entries = [entry for entry in corrections_of(study, root, fold) if entry.sample in rows]
    if len(entries) < _MIN_CORRECTIONS:
        return None
    grid = grids_of(predictions)[-1]
    features = cell_features(predictor, pixels.images, grid)
    corrected = [rows[entry.sample] for entry in entries]
    looks = [pixels.geometries[rows[entry.sample]].mask(study.store.correction(entry.id).look) for entry in entries]
    wanted = targets(np.stack(looks), [grid])[0]
    groups = [samples[row].patient or samples[row].id for row in corrected]
    prior = Prior.fit(features[corrected], wanted, study.options.seed, groups=groups)
    # (N, 1, h, w) each: the scales' maps averaged to the coarsest grid.
    scales = [functional.adaptive_avg_pool2d(torch.from_numpy(item).unsqueeze(1), grid) for item in predictions.maps]
    return prior.distance(features, np.mean([scale.squeeze(1).numpy() for scale in scales], axis=0))
