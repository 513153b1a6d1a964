"""One model, or several folds' models that speak as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.models.features import FeatureCache
from regaze.models.predictor import Predictions, Predictor, decode


@dataclass(frozen=True)
class Panel:
    """One model, or one model per fold whose probabilities and maps are averaged (on the test part)."""

    members: tuple[Predictor, ...]

    def predict(self, images_NSSC: NDArray[np.uint8], cache: FeatureCache | None = None) -> Predictions:
        """Mean probabilities, decoded; mean maps."""
        said = [member.predict(images_NSSC, cache=cache) for member in self.members]
        probabilities = np.mean([item.probabilities for item in said], axis=0).astype(np.float32)
        return Predictions(
            probabilities=probabilities,
            grades=decode(probabilities, self.members[0].decoding),
            maps=tuple(np.mean(scale, axis=0) for scale in zip(*(item.maps for item in said), strict=True)),
            fused=np.mean([item.fused for item in said], axis=0),
        )

    def scores(self, images_B3SS: Tensor) -> Tensor:
        """Mean softmax probabilities (B, K)."""
        return torch.stack([member.scores(images_B3SS) for member in self.members]).mean(dim=0)
