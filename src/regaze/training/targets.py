"""From what an expert said to the map that a block should show: M'.

"Look here" is brought to the block's grid by an adaptive *maximum*, so that a lesion smaller than a cell survives
(bilinear shrinking from 224 to 14 loses 96 % of 2-pixel lesions, see docs/design.md), then softened by a Gaussian and
divided by its maximum.

Shapes: B batch, P planes (1, or one per scale), S side of the cropped square, (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SIGMA_CELLS = 0.7


@dataclass(frozen=True)
class Target:
    """What one scale's map should show.

    Attributes:
        value: (B, 1, h, w) float32 in 0..1, M'; all zero for "nothing here deserves attention", else with maximum 1.
        claim: (B, 1, h, w) float32 in 0..1: how much the target holds; at 0 the map is left alone.
        inside: (B, 1, h, w) float32 of 0 and 1: cells that hold a pixel of "look here".
    """

    value: Tensor
    claim: Tensor
    inside: Tensor


def render(
    look_BPSS: Tensor,
    avoid_BPSS: Tensor | None,
    doubt_BPSS: Tensor | None,
    edited_B: Tensor | None,
    grids: Sequence[tuple[int, int]],
    sure_B: Tensor | None = None,
) -> list[Target]:
    """Targets for every scale.

    A cell that holds a "look here" pixel is inside, whatever else it holds. A cell that holds a "not here" pixel and
    none of "look here" gets exactly 0, also in the Gaussian's halo. Of the others, a cell that holds a pixel in doubt
    is not claimed, and neither is any in an edit (where what nobody touched keeps the model's own value).

    Args:
        look_BPSS: (B, P, S, S), non-zero where the expert says "look here" (cropped pixels).
        avoid_BPSS: The same with its own P, "not here"; None: nowhere.
        doubt_BPSS: The same with its own P, where nothing is claimed; None: nowhere.
        edited_B: (B,) bool, True for an edit; None: every correction replaces the whole map.
        grids: (h, w) of every scale's map, finest first; P is 1 or their number.
        sure_B: (B,) in 0..1, how much the cells inside are claimed; None: all of them wholly.
    """
    targets = []
    for scale, grid in enumerate(grids):
        inside = _pooled(look_BPSS, scale, grid)
        value = _soften(inside)
        claim = torch.ones_like(value)
        if edited_B is not None:
            claim = claim * ~edited_B.view(-1, 1, 1, 1)
        if doubt_BPSS is not None:
            claim = claim * (1 - _pooled(doubt_BPSS, scale, grid))
        claim = torch.maximum(claim, inside)
        if sure_B is not None:
            claim = torch.where(inside > 0, sure_B.view(-1, 1, 1, 1), claim)
        if avoid_BPSS is not None:
            refused = (_pooled(avoid_BPSS, scale, grid) > 0) & (inside == 0)
            value = torch.where(refused, 0.0, value)
            claim = torch.where(refused, 1.0, claim)
        targets.append(Target(value, claim, inside))
    return targets


def target_maps(masks_BSS: Tensor, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Targets M' for every scale where the whole map is given by one mask.

    Args:
        masks_BSS: (B, S, S), non-zero where the expert says "look here" (cropped pixels).
        grids: (h, w) of every scale's map, finest first.

    Returns:
        One (B, 1, h, w) float32 tensor in 0..1 per scale; all zero for an empty mask, else with maximum 1.
    """
    return [target.value for target in render(masks_BSS.unsqueeze(1), None, None, None, grids)]


def _pooled(planes_BPSS: Tensor, scale: int, grid: tuple[int, int]) -> Tensor:
    """(B, 1, h, w): 1 where a cell holds a pixel of the scale's plane."""
    index = scale if planes_BPSS.shape[1] > 1 else 0
    plane = planes_BPSS[:, index : index + 1]
    height, width = grid
    if plane.shape[2] % height == 0 and plane.shape[3] % width == 0:  # rows, then columns: a sixth of the pool's time
        tall, wide = plane.shape[2] // height, plane.shape[3] // width
        rows = plane.reshape(-1, 1, height, tall, width * wide).amax(dim=3)
        cells: Tensor = rows.view(-1, 1, height, width, wide).amax(dim=4)
        return (cells > 0).float()
    plane = (plane > 0).float()
    if plane.device.type == "mps":  # wrong values where the grid does not divide the side (pytorch/pytorch#190064)
        return functional.adaptive_max_pool2d(plane.cpu(), grid).to(plane.device)
    return functional.adaptive_max_pool2d(plane, grid)


def _soften(cells_B1hw: Tensor) -> Tensor:
    """Gaussian of `SIGMA_CELLS`, then divided by each map's own maximum."""
    offsets = torch.arange(-2, 3, dtype=torch.float32, device=cells_B1hw.device)
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA_CELLS**2))
    kernel = kernel / kernel.sum()
    soft = functional.conv2d(cells_B1hw, kernel.view(1, 1, 1, 5), padding=(0, 2))
    soft = functional.conv2d(soft, kernel.view(1, 1, 5, 1), padding=(2, 0))
    peak = soft.amax(dim=(2, 3), keepdim=True)
    return soft / peak.clamp_min(1e-12)
