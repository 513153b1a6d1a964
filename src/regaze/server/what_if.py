"""What a network would grade if it looked elsewhere, for one photograph that is held open.

Shapes: S scales, finest first; (h, w) map cells; K classes.
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

_HARDLY = 0.02  # half L1 of the probabilities below which a network hardly listens
_OWN = 255  # a cell that keeps the network's own value


@dataclass(frozen=True)
class Probabilities:
    """Of the final grade, (K,) float32, and of each scale's branch, (S, K) float32."""

    fused: NDArray[np.float32]
    branches: NDArray[np.float32]


@dataclass(frozen=True)
class WhatIf:
    """Grades with the network's own maps, with the given ones, and with the given amount in the own places."""

    before: Probabilities
    now: Probabilities
    same_amount: Probabilities
    listens: bool


class HeldPhotograph:
    """One photograph with its features, ready to be asked; not by several threads at once.

    Args:
        predictor: Of an attention network.
        image_SSC: (S, S, 3) uint8, cropped pixels.

    Attributes:
        before: With the network's own maps.
    """

    def __init__(self, predictor: Predictor, image_SSC: NDArray[np.uint8]) -> None:
        assert isinstance(predictor.network, AttentionNetwork)
        self._predictor, self._network = predictor, predictor.network
        with evaluating(self._network), predictor.precision():
            self._features = self._network.extractor(predictor.normalise(image_SSC[None]))
            own = self._network.branches(self._features)
        self._own = [item.float() for item in own.own_maps]
        self.before = _said(own)
        ends = [self._said([torch.full_like(item, value) for item in self._own]) for value in (0.0, 1.0)]
        self._listens = any(np.abs(self.before.fused - end.fused).sum() / 2 >= _HARDLY for end in ends)

    def quick_what_if(self, cells: bytes) -> WhatIf:
        """What given maps would make of the grade.

        Args:
            cells: The scales' grids, finest first, row by row, joined: a byte per cell, 255: the network's own value,
                0 to 254 for 0 to 1.

        Raises:
            ModelError: There are too few bytes or too many.
        """
        sizes = [item.numel() for item in self._own]
        if len(cells) != sum(sizes):
            raise ModelError(f"The maps given have {len(cells)} bytes: expected {sum(sizes)}, one per cell.")
        every = torch.frombuffer(bytearray(cells), dtype=torch.uint8)
        given = [
            torch.where(part.view_as(own) == _OWN, own, part.view_as(own).float() / 254)
            for part, own in zip(torch.split(every, sizes), self._own, strict=True)
        ]
        same = [
            (own * (edited.mean() / own.mean().clamp_min(1e-6))).clamp(0, 1)
            for edited, own in zip(given, self._own, strict=True)
        ]
        return WhatIf(self.before, self._said(given), self._said(same), self._listens)

    def _said(self, maps: Sequence[Tensor]) -> Probabilities:
        with evaluating(self._network), self._predictor.precision():
            return _said(self._network.branches(self._features, list(maps)))


def _said(output: Output) -> Probabilities:
    logits_RK = torch.cat([output.logits, *output.perception_logits]).float()
    shares_RK = torch.softmax(logits_RK, dim=1).cpu().numpy()
    return Probabilities(shares_RK[0], shares_RK[1:])
