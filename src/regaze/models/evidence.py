"""Evidence in numbers: what each cell adds to the logits, signed, for each class; as arrays, when asked for.

Invariant: sums are kept. A network's `bias()` plus the evidence of a class over all cells and scales is its logit, up
to the rounding of the predictor's precision; bringing evidence to another grid shares it out and loses none.

Shapes: N photographs, B batch, K classes, S scales (finest first), (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """The evidence of N photographs (`Output.evidence`).

    Attributes:
        scales: One (N, K, h, w) float16 array per scale, finest first: half the bytes, since at 512 pixels the five
            grades of a photograph take 0.2 MB.
        sums: (N, S, K) float32: over the cells of each scale, summed before the rounding to float16.
        bias: (K,) float32: the logits without any evidence.
    """

    scales: tuple[NDArray[np.float16], ...]
    sums: NDArray[np.float32]
    bias: NDArray[np.float32]

    def of(self, classes_N: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """One class of each photograph over all scales: (N, h, w) float32 on the finest grid, the sums kept."""
        rows = np.arange(len(classes_N))
        chosen = [torch.from_numpy(item[rows, classes_N].astype(np.float32)) for item in self.scales]
        return spread(chosen, chosen[0].shape[1]).numpy()


def spread(scales: Sequence[Tensor], side: int) -> Tensor:
    """Add up the evidence of one class over the scales on one grid.

    Each cell is shared out bilinearly, by weights that add up to 1: smooth, and the sum over the grid is the sum over
    all cells, also on grids that do not divide evenly.

    Args:
        scales: S tensors (B, h, w) float32 in map cells.
        side: Of the grid, in cropped pixels or map cells; at least every h and w.

    Returns:
        (B, side, side) float32.
    """
    total = scales[0].new_zeros((scales[0].shape[0], side, side))
    for item in scales:
        rows, columns = (_shares(cells, side, item.device) for cells in item.shape[1:])
        total += rows @ item @ columns.T
    return total


def _shares(cells: int, side: int, device: torch.device) -> Tensor:
    """(side, cells) float32: what share of each cell every position gets; columns add up to 1."""
    assert cells <= side, f"{cells} cells do not fit on {side} positions"
    identity = torch.eye(cells, device=device).unsqueeze(1)
    weights = torch.nn.functional.interpolate(identity, size=side, mode="linear", align_corners=False).squeeze(1)
    return (weights / weights.sum(dim=1, keepdim=True)).T
