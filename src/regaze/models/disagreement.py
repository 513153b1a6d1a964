"""How far grades of one photograph contradict each other, and how far two maps of it differ.

`between_branches` and `between_scales` need no more than one forward pass; what needs more is in `uncertainty`.

Where maps are compared, only their shape counts: each map is standardised (mean 0, standard deviation 1 over the cells
that are compared), so that neither its level nor its contrast matters. A dead map (see `_DEAD_BELOW`) has no shape and
becomes zero everywhere.

Shapes: B batch, K classes, G grades (branches that give one), (h, w) map cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from regaze.models.network import Output, fuse

#: A map in 0..1 whose largest and smallest value lie closer than this is dead, as `evaluation.agreement` counts it.
_DEAD_BELOW = 1e-3


def between_branches(output: Output) -> Tensor:
    """`disagreement` among the perception branches, (B,) float32 in 0..1.

    With one scale: among the attention branch, the perception branch and the network.
    """
    if len(output.perception_logits) == 1:
        return disagreement([*output.attention_logits, *output.perception_logits, output.logits])
    return disagreement(output.perception_logits)


def between_scales(maps: Sequence[Tensor]) -> Tensor:
    """Mean `shape_gap` over all pairs of scales on the finest grid, (B,) float32; NaN where there is one scale."""
    if len(maps) == 1:
        return maps[0].new_full((maps[0].shape[0],), math.nan, dtype=torch.float32)
    alike = [fuse([item], maps[0].shape[2]) for item in maps]
    return torch.stack([shape_gap(first, second) for first, second in combinations(alike, 2)]).mean(dim=0)


def disagreement(logits: Sequence[Tensor]) -> Tensor:
    """How far several grades of one photograph contradict each other.

    Generalised Jensen-Shannon divergence of G distributions with equal weights, H(mean of p_g) - mean of H(p_g) (Lin,
    "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37, 1991, section IV), natural
    logarithm, divided by its bound log G.

    Args:
        logits: G >= 2 tensors (B, K).

    Returns:
        (B,) float32 in 0..1. 0: all agree. 1: each is sure of a class of its own, which needs K >= G.
    """
    probabilities_GBK = torch.softmax(torch.stack(list(logits)).float(), dim=2)
    entropy_of_mean = torch.special.entr(probabilities_GBK.mean(dim=0)).sum(dim=1)
    mean_entropy = torch.special.entr(probabilities_GBK).sum(dim=2).mean(dim=0)
    divergence: Tensor = (entropy_of_mean - mean_entropy) / math.log(len(logits))
    return divergence.clamp(0, 1)  # only rounding leaves 0..1


def shape_gap(first_Bhw: Tensor, second_Bhw: Tensor) -> Tensor:
    """One minus Pearson's correlation of two maps over their cells.

    Two dead maps have the same shape, none: 0. A dead map has nothing in common with a live one: 1, as if unrelated.

    Args:
        first_Bhw: (B, h, w) floats in 0..1.
        second_Bhw: The same of the other map, on the same grid.

    Returns:
        (B,) float32 in 0..2. 0: one is the other up to level and contrast. 1: unrelated. 2: one is the other's
        negative.
    """
    first, second = _standardise(first_Bhw), _standardise(second_Bhw)
    correlation = (first * second).mean(dim=(1, 2))
    both_dead = (first == 0).all(dim=2).all(dim=1) & (second == 0).all(dim=2).all(dim=1)
    return torch.where(both_dead, 0.0, 1 - correlation.clamp(-1, 1))


def movement(first_Bhw: Tensor, second_Bhw: Tensor) -> Tensor:
    """Mean absolute difference of two standardised maps over their cells.

    Args:
        first_Bhw: (B, h, w) floats in 0..1: a photograph's map.
        second_Bhw: The same of its flipped or shifted copy, mapped back, over the cells that both show.

    Returns:
        (B,) float32 in 0..2; two unrelated maps with normally distributed values get 2 / sqrt(pi) = 1.13; two dead
        maps 0.
    """
    return (_standardise(first_Bhw) - _standardise(second_Bhw)).abs().mean(dim=(1, 2))


def _standardise(maps_Bhw: Tensor) -> Tensor:
    """(B, h, w) float32 with mean 0 and standard deviation 1 over the cells; zero where the map is dead."""
    maps = maps_Bhw.float()
    centred = maps - maps.mean(dim=(1, 2), keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    dead = (maps.amax(dim=(1, 2), keepdim=True) - maps.amin(dim=(1, 2), keepdim=True)) < _DEAD_BELOW
    return torch.where(dead, 0.0, centred / deviation)  # a map with NaN is not dead and stays NaN
