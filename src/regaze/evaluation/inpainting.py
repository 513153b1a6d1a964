"""Filling a hole from what lies around it: deletion that leaves no edge, no grey and no blur behind.

Pull-push (Gortler et al. 1996, "The Lumigraph", section 3.6.2): the known pixels are averaged into ever coarser grids,
then each grid, finest last, keeps what it knows and takes the rest from the coarser one. Near the hole's edge the fill
follows the edge, deep inside it follows the wider surroundings. Every filled value is a mean of known ones, so that no
colour appears that the photograph does not have.

It differs from the fixed substrates in that the fill depends on which pixels are gone, and has to be made for every
step of a curve anew: 7 ms a picture of 224 px on one processor core and 40 ms of 512, an eighth of what ResNet18 takes
for it.

Suffixes: C = channel, H, W = height and width of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


def inpainted(image: Tensor, known: Tensor) -> Tensor:
    """The image with what is not known filled from what is.

    Args:
        image: (1, C, H, W) float32; what it holds where it is not known has no say.
        known: (H, W) bool, at least one True.

    Returns:
        (1, C, H, W) float32, a new tensor: `image` itself to the last bit where it is known, elsewhere between the
        least and the largest known value of the channel.
    """
    weight = known.to(image.dtype)[None, None]
    grids = [(torch.where(known, image, 0.0), weight)]  # sums of known values, and how much is known
    while max(grids[-1][1].shape[-2:]) > 1:
        height, width = grids[-1][1].shape[-2:]
        sides = (-(-height // 2), -(-width // 2))
        grids.append((adaptive_avg_pool2d(grids[-1][0], sides), adaptive_avg_pool2d(grids[-1][1], sides)))
    total, weight = grids.pop()
    filled = total / weight
    while grids:
        total, weight = grids.pop()
        coarse = interpolate(filled, size=weight.shape[-2:], mode="bilinear", align_corners=False)
        # A quarter known is as good as all: the cells of a coarser grid at the hole's edge are not diluted.
        trust = (4 * weight).clamp(max=1)
        filled = trust * (total / weight.clamp(min=1e-12)) + (1 - trust) * coarse
    return torch.where(known, image, filled)
