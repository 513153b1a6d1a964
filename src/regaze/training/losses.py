"""Losses of phase 1 and of fine-tuning.

Sources: the paper, equations 1 and 2. Shapes: B batch, K classes, S scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from regaze.models.network import Output

# Spread of a soft ordinal label in grades. 0.6 puts .66 on the grade itself and .17 on each neighbour (inner grades,
# before smoothing); a Gaussian over grades is what the literature on retinopathy grading found to beat hard labels.
ORDINAL_SIGMA = 0.6


def soft_labels(labels_B: Tensor, classes: int, kind: Literal["ordinal", "cross-entropy"], smoothing: float) -> Tensor:
    """Target distributions for the grade.

    Args:
        labels_B: (B,) int64, -1 where the photograph has no grade.
        classes: K.
        kind: `ordinal` spreads a Gaussian over neighbouring grades; `cross-entropy` is one-hot.
        smoothing: Share taken from the target and spread evenly over all classes, 0..1.

    Returns:
        (B, K) float32; each row sums to 1, or to 0 where the label is -1, so that it adds nothing to the loss.
    """
    distance = torch.arange(classes, device=labels_B.device) - labels_B.unsqueeze(1)
    if kind == "ordinal":
        target = torch.exp(-(distance**2).float() / (2 * ORDINAL_SIGMA**2))
        target = target / target.sum(dim=1, keepdim=True)
    else:
        target = (distance == 0).float()
    target = target * (1 - smoothing) + smoothing / classes
    return target * (labels_B >= 0).unsqueeze(1)


def grade_loss(logits_BK: Tensor, target_BK: Tensor) -> Tensor:
    """Cross-entropy against target distributions, mean over the photographs that have a grade (0 where none has)."""
    losses = -(target_BK * functional.log_softmax(logits_BK.float(), dim=1)).sum(dim=1)
    return losses.sum() / (target_BK.sum(dim=1) > 0).sum().clamp_min(1)


def classification_loss(output: Output, target_BK: Tensor) -> Tensor:
    """Σ_l (L_att + L_per)_l of equation 1, plus the fused grade's own cross-entropy.

    The paper's equation has no term for the fusion; without one its linear layer would not learn.
    """
    logits = [output.logits, *output.attention_logits, *output.perception_logits]
    return torch.stack([grade_loss(item, target_BK) for item in logits]).sum()


def map_loss(maps: Sequence[Tensor], targets: Sequence[Tensor], corrected_B: Tensor, weight: float) -> Tensor:
    """Σ_l L_map of equation 2: λ_l ||M' - M||_2, un-squared, λ_l = λ / sqrt(H_l W_l).

    Args:
        maps: S tensors (B, 1, H_l, W_l) in 0..1.
        targets: The same shapes, M'.
        corrected_B: (B,) bool; images without a correction give no L_map.
        weight: λ.

    Returns:
        Scalar: the sum over scales of the mean over the corrected images; 0 where none is corrected.
    """
    total = maps[0].new_zeros((), dtype=torch.float32)
    count = corrected_B.sum().clamp_min(1)
    for attention_map, target in zip(maps, targets, strict=True):
        # `where` before the norm: whatever an uncorrected image's target holds, it gives neither loss nor gradient.
        difference = torch.where(corrected_B.view(-1, 1, 1, 1), attention_map.float() - target, 0.0)
        squared = difference.square().sum(dim=(1, 2, 3))
        cells = attention_map.shape[2] * attention_map.shape[3]
        # ε inside the root: the norm's gradient is undefined where map and target agree.
        norms = torch.sqrt(squared + 1e-8) * (weight / cells**0.5)
        total = total + (norms * corrected_B).sum() / count
    return total
