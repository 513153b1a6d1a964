"""One model, or the mean of several folds' models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.explanation.explainers import explain
from regaze.models.evidence import Evidence
from regaze.models.features import FeatureCache
from regaze.models.network import AttentionNetwork
from regaze.models.predictor import Predictions, Predictor, decode


@dataclass(frozen=True)
class Ensemble:
    """One model, or one model per fold whose probabilities and maps are averaged (on the test part)."""

    members: tuple[Predictor, ...]

    @property
    def arithmetic(self) -> str:
        """`bf16` or `fp32`; both where members differ."""
        return " and ".join(sorted({member.arithmetic for member in self.members}))

    def predict(
        self, images_NSSC: NDArray[np.uint8], cache: FeatureCache | None = None, *, evidence: bool = False
    ) -> Predictions:
        """Mean probabilities, decoded; mean maps, and where it is asked for mean evidence."""
        predictions = [member.predict(images_NSSC, cache=cache, evidence=evidence) for member in self.members]
        probabilities = np.mean([item.probabilities for item in predictions], axis=0).astype(np.float32)
        return Predictions(
            probabilities=probabilities,
            grades=decode(probabilities, self.members[0].decoding),
            maps=tuple(np.mean(scale, axis=0) for scale in zip(*(item.maps for item in predictions), strict=True)),
            fused=np.mean([item.fused for item in predictions], axis=0),
            evidence=_mean([item.evidence for item in predictions if item.evidence is not None]),
        )

    def order(self, images_NSSC: NDArray[np.uint8], classes_N: NDArray[np.int64]) -> NDArray[np.float32]:
        """The shown (fused) map as an order of pixels: before its sigmoid, or its ReLU, which tie what they flatten.

        Args:
            images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels.
            classes_N: (N,) whose evidence a plain network's map shows; an attention map belongs to no class.

        Returns:
            (N, S, S) float32, larger = more important; of several members the mean.
        """
        by = "attention" if isinstance(self.members[0].network, AttentionNetwork) else "cam"
        orders = [explain(member, images_NSSC, by, classes_N) for member in self.members]
        return np.asarray(np.mean(orders, axis=0), dtype=np.float32)

    def scores(self, images_B3SS: Tensor) -> Tensor:
        """Mean softmax probabilities (B, K)."""
        return torch.stack([member.scores(images_B3SS) for member in self.members]).mean(dim=0)


def _mean(evidence: Sequence[Evidence]) -> Evidence | None:
    """What each cell adds to the members' mean logits."""
    if not evidence:
        return None
    scales = zip(*(item.scales for item in evidence), strict=True)
    return Evidence(
        scales=tuple(np.asarray(np.mean(scale, axis=0, dtype=np.float32), np.float16) for scale in scales),
        sums=np.mean([item.sums for item in evidence], axis=0),
        bias=np.mean([item.bias for item in evidence], axis=0),
    )
