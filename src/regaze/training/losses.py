"""Losses of phase 1 and of fine-tuning.

Sources: the paper, equations 1 and 2; others at their functions. Shapes: B batch, K classes, S scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from regaze.models.network import Output
from regaze.training.options import MapLoss
from regaze.training.targets import Target

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
    """Cross-entropy against target distributions, mean over the photographs that have a grade (0 where none has).

    Args:
        logits_BK: (B, K).
        target_BK: (B, K), see `soft_labels`.
    """
    losses = -(target_BK * functional.log_softmax(logits_BK.float(), dim=1)).sum(dim=1)
    return losses.sum() / (target_BK.sum(dim=1) > 0).sum().clamp_min(1)


def classification_loss(output: Output, target_BK: Tensor) -> Tensor:
    """Σ_l (L_att + L_per)_l of equation 1, plus the fused grade's own cross-entropy.

    The paper's equation has no term for the fusion; without one its linear layer would not learn.

    Args:
        output: Logits of the network and of all branches.
        target_BK: (B, K), see `soft_labels`.
    """
    logits = [output.logits, *output.attention_logits, *output.perception_logits]
    return torch.stack([grade_loss(item, target_BK) for item in logits]).sum()


def map_loss(
    output: Output, targets: Sequence[Target], corrected_B: Tensor, weight: float, kind: MapLoss = "norm"
) -> Tensor:
    """Σ_l L_map: how far the maps are from what the expert wants.

    `norm` is the paper's equation 2, un-squared: λ_l ||M' - M||_2 with λ_l = λ / sqrt(H_l W_l). The others are λ times
    a mean or ratio in 0..1 (bce: 0 or more) over the claimed cells: see `_MAP_LOSSES`.

    Args:
        output: The network's own S maps (B, 1, H_l, W_l) in 0..1, and their logits.
        targets: One per scale.
        corrected_B: (B,) 0 or more: weight of each photograph's correction; 0: it has none and gives no L_map.
        weight: λ.
        kind: Which distance.

    Returns:
        Scalar: the sum over scales of the weighted mean over the corrected photographs; 0 where none is corrected.
    """
    distance = _MAP_LOSSES[kind]
    total: Tensor = output.own_maps[0].new_zeros((), dtype=torch.float32)
    weights = corrected_B.float()
    # Divided by the sum of the weights where that is above 1e-12, so that no correction gives 0 and not NaN.
    share = weights / weights.sum().clamp_min(1e-12)
    corrected = (weights > 0).view(-1, 1, 1, 1)
    for attention_map, logits, target in zip(output.own_maps, output.own_logits, targets, strict=True):
        # `where` before the distance: whatever an uncorrected photograph's target holds, it gives neither loss nor
        # gradient.
        claim = torch.where(corrected, target.claim, 0.0)
        distances = distance(_Scale(attention_map.float(), logits.float(), target.value, claim, target.inside))
        total = total + (torch.where(weights > 0, distances, 0.0) * share).sum() * weight
    return total


@dataclass(frozen=True)
class _Scale:
    """One scale's maps and logits beside its `Target`; all (B, 1, h, w) float32."""

    maps: Tensor
    logits: Tensor
    value: Tensor
    claim: Tensor
    inside: Tensor


def _sum(values_B1hw: Tensor) -> Tensor:
    return values_B1hw.sum(dim=(1, 2, 3))


def _mean(values_B1hw: Tensor, over_B1hw: Tensor) -> Tensor:
    """Mean over the cells that `over` holds; 0 where it holds none."""
    return torch.div(_sum(values_B1hw * over_B1hw), _sum(over_B1hw).clamp_min(1))


def _norm(scale: _Scale) -> Tensor:
    """||M' - M||_2 over the claimed cells, divided by the square root of the number of *all* cells (equation 2)."""
    squared = _sum(torch.where(scale.claim > 0, scale.maps - scale.value, 0.0).square())
    # ε inside the root: the norm's gradient is undefined where map and target agree.
    return torch.sqrt(squared + 1e-8) / math.sqrt(scale.maps[0].numel())


def _mse(scale: _Scale) -> Tensor:
    """Mean squared difference."""
    return _mean((scale.maps - scale.value).square(), scale.claim)


def _l1(scale: _Scale) -> Tensor:
    """Mean absolute difference."""
    return _mean((scale.maps - scale.value).abs(), scale.claim)


def _bce(scale: _Scale) -> Tensor:
    """Mean binary cross-entropy against M' as a probability; from the logits, so that no map saturates."""
    losses = functional.binary_cross_entropy_with_logits(scale.logits, scale.value, reduction="none")
    return _mean(losses, scale.claim)


def _dice(scale: _Scale) -> Tensor:
    """1 - soft Dice, 2 Σ M M' / (Σ M² + Σ M'²) (Milletari et al. 2016); for an empty M' the mean of the map."""
    both = 2 * _sum(scale.maps * scale.value * scale.claim)
    each = _sum((scale.maps.square() + scale.value.square()) * scale.claim)
    empty = _sum(scale.value * scale.claim) == 0
    return torch.where(empty, _mean(scale.maps, scale.claim), 1 - both / each.clamp_min(1e-12))


def _energy(scale: _Scale) -> Tensor:
    """Share of the map's energy outside the lesions; where there are none, the mean of the map."""
    inside = _sum(scale.maps * scale.inside * scale.claim)
    everything = _sum(scale.maps * scale.claim).clamp_min(1e-12)
    empty = _sum(scale.inside * scale.claim) == 0
    return torch.where(empty, _mean(scale.maps, scale.claim), 1 - inside / everything)


def _outside(scale: _Scale) -> Tensor:
    """Mean of M² where there is no lesion; inside, the map is free (right for the right reasons, Ross et al. 2017)."""
    return _mean(scale.maps.square(), scale.claim * (scale.inside == 0))


_MAP_LOSSES: dict[MapLoss, Callable[[_Scale], Tensor]] = {
    "norm": _norm,
    "mse": _mse,
    "l1": _l1,
    "bce": _bce,
    "dice": _dice,
    "energy": _energy,
    "outside": _outside,
}
