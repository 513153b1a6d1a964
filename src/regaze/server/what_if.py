"""What a model would say if it looked elsewhere: grades of one photograph from its features and maps that are given.

Shapes: S scales, finest first; (h, w) map cells; K classes; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.errors import ModelError
from regaze.models.network import AttentionNetwork, Output
from regaze.models.predictor import Predictor, evaluating

_HARDLY = 0.02  # half L1 of the probabilities below which a model hardly listens
OWN = 255  # a cell that keeps the model's own value


@dataclass(frozen=True)
class Said:
    """Probabilities, fused (K) and of each scale's branch (S of K)."""

    fused: list[float]
    branches: list[list[float]]


@dataclass(frozen=True)
class Answer:
    """Grades with the model's own maps, with the given ones, and with the given amount but the model's own places."""

    before: Said
    now: Said
    same_amount: Said
    listens: bool


class WhatIf:
    """One photograph with its features, ready to be asked.

    Args:
        predictor: Of an attention network.
        image_SSC: (S, S, 3) uint8, cropped pixels.

    Attributes:
        maps: The model's own maps, (h, w) float32 in 0..1 for each scale.
    """

    def __init__(self, predictor: Predictor, image_SSC: NDArray[np.uint8]) -> None:
        self._predictor = predictor
        assert isinstance(predictor.network, AttentionNetwork)
        self._network = predictor.network
        with evaluating(self._network), predictor.precision():
            self._features = self._network.extractor(predictor.normalise(image_SSC[None]))
            own = self._network.branches(self._features)
        self._own = [item.float() for item in own.own_maps]
        self.maps = [item[0, 0].cpu().numpy() for item in self._own]
        self.before = _said(own)
        ends = [self._said([torch.full_like(item, value) for item in self._own]) for value in (0.0, 1.0)]
        self.listens = any(_moved(self.before, end) >= _HARDLY for end in ends)

    def grade(self, grids: Sequence[NDArray[np.uint8]]) -> Answer:
        """Grade the photograph with maps of which some cells are given.

        Args:
            grids: One (h, w) uint8 grid per scale: 255: the model's own value, else value / 254.

        Raises:
            ModelError: The grids are not those of the model's maps.
        """
        shapes = [tuple(item.shape) for item in grids]
        if shapes != [item.shape for item in self.maps]:
            raise ModelError(f"grids of {shapes}, expected {[item.shape for item in self.maps]}: send the model's own.")
        given = []
        for grid, own in zip(grids, self._own, strict=True):
            values = torch.from_numpy(np.ascontiguousarray(grid)).to(own.device)[None, None]
            given.append(torch.where(values == OWN, own, values.float() / 254))
        same = [self._scaled(edited, own) for edited, own in zip(given, self._own, strict=True)]
        return Answer(self.before, self._said(given), self._said(same), self.listens)

    def _said(self, maps: Sequence[Tensor]) -> Said:
        with evaluating(self._network), self._predictor.precision():
            return _said(self._network.branches(self._features, list(maps)))

    @staticmethod
    def _scaled(edited: Tensor, own: Tensor) -> Tensor:
        return (own * (edited.mean() / own.mean().clamp_min(1e-6))).clamp(0, 1)


def _said(output: Output) -> Said:
    fused, *branches = (
        torch.softmax(item.float(), dim=1)[0].tolist() for item in (output.logits, *output.perception_logits)
    )
    return Said(fused, list(branches))


def _moved(before: Said, after: Said) -> float:
    return sum(abs(a - b) for a, b in zip(before.fused, after.fused, strict=True)) / 2
