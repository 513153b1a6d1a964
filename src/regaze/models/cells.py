"""Which cells of a grid are picture, and the mean over cells.

Invariant: a cell counts by the share of it that is picture. Where all is picture, every number is, bit for bit, what it
is without asking.

Shapes: B batch, C channels, S side of the cropped square, (H, W) cells of a finer grid, (h, w) of a coarser one.
"""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor
from torch.nn import functional

# Up to this level (of 0..1) a pixel may be bar. The padding is exactly 0, jittered or not, and so is what `--colour
# normalised` leaves outside the field of view; bars that came with a photograph, like the surround of IDRiD's (0 to 7
# of 255), are a few levels brighter through noise and JPEG. A row that is darker throughout hides no lesion.
DARK = 8 / 255
NOTHING = 1e-6  # a map of 0 has the logit of this, a map of 1 that of one less it


def find_picture(images_B3SS: Tensor, dark: Tensor | float = DARK) -> Tensor:
    """Find the picture between the bars that pad it to a square.

    Bars are the rows and columns at the border that nowhere exceed `dark` in any channel; in an image that nowhere does
    there are none. Bars that were turned by less than a quarter are not found: who turns images must turn what this
    says of them, too.

    Args:
        images_B3SS: (B, 3, S, S) RGB.
        dark: In the images' range; a tensor (3, 1, 1) where it differs by channel, as in normalised images.

    Returns:
        (B, 1, S, S) float32, 1 in the picture and 0 in the bars.
    """
    bright = (images_B3SS > dark).any(dim=1)
    rows, columns = (_between(bright.any(dim=axis)) for axis in (2, 1))
    return rows[:, None, :, None] * columns[:, None, None, :]


def _between(lit_BS: Tensor) -> Tensor:
    """(B, S) float32: 1 from a row's first True to its last; 1 everywhere where there is none."""
    lit = lit_BS.float()
    inside = lit.cummax(dim=1).values * lit.flip(1).cummax(dim=1).values.flip(1)
    return torch.where(lit_BS.any(dim=1, keepdim=True), inside, 1.0)


def grid_of(planes: Tensor) -> tuple[int, int]:
    """(H, W) of (B, C, H, W)."""
    return int(planes.shape[2]), int(planes.shape[3])


def nearest(fine_B1HW: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(H,) and (W,) int64: the row and the column of the coarser grid that each fine cell lies in."""
    sides = zip(grid_of(fine_B1HW), grid, strict=True)
    rows, columns = (torch.arange(fine, device=fine_B1HW.device) * coarse // fine for fine, coarse in sides)
    return rows, columns


def _gathered(fine_B1HW: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, 1, h, w) float32: of each coarse cell the sum of the fine cells that lie in it."""
    rows, columns = (
        functional.one_hot(index, side).to(torch.float32)
        for index, side in zip(nearest(fine_B1HW, grid), grid, strict=True)
    )
    with torch.autocast(fine_B1HW.device.type, enabled=False):
        return rows.T @ fine_B1HW.float() @ columns


@overload
def to_grid(picture_B1HW: Tensor, grid: tuple[int, int]) -> Tensor: ...
@overload
def to_grid(picture_B1HW: None, grid: tuple[int, int]) -> None: ...
def to_grid(picture_B1HW: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """(B, 1, h, w) float32 in 0..1: how much of each coarse cell is picture; None: all of it."""
    if picture_B1HW is None or grid_of(picture_B1HW) == grid:
        return picture_B1HW
    return _gathered(picture_B1HW, grid) / _gathered(torch.ones_like(picture_B1HW[:1]), grid)


def without_bars(map_B1HW: Tensor, logits_B1HW: Tensor, picture_B1HW: Tensor | None) -> tuple[Tensor, Tensor]:
    """A map and its logits, dark in the cells that hold none of the picture (as `evaluation.picture` has them)."""
    if picture_B1HW is None:
        return map_B1HW, logits_B1HW
    bars = picture_B1HW == 0
    return map_B1HW.masked_fill(bars, 0.0), logits_B1HW.masked_fill(bars, math.log(NOTHING / (1 - NOTHING)))


def pooled(features_BCHW: Tensor, picture_B1HW: Tensor | None = None) -> Tensor:
    """(B, C): the mean over the cells, each counted by how much of it is picture.

    Over the joined cells where channels lie last, so that its gradient lies as the features do: the plain mean's does
    not, and a ReLU's backward pass over two orders in memory is 24 times slower on a CPU (torch 2.14; same bytes).
    """
    if picture_B1HW is not None:
        weighted = pooled(features_BCHW * picture_B1HW.to(features_BCHW.dtype))
        return (weighted.float() / picture_B1HW.mean(dim=(2, 3))).to(weighted.dtype)
    if features_BCHW.is_contiguous(memory_format=torch.channels_last):
        return features_BCHW.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)
    return features_BCHW.mean(dim=(2, 3))


def weights(features_BCHW: Tensor, picture_B1HW: Tensor | None) -> Tensor | float:
    """What each cell weighs in `pooled`: (B, 1, H, W) that sums to 1, or one number for all cells."""
    if picture_B1HW is None:
        return 1 / features_BCHW[0, 0].numel()
    return picture_B1HW / picture_B1HW.sum(dim=(2, 3), keepdim=True)


def brought(map_B1HW: Tensor, picture_B1HW: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """(B, 1, h, w) float32: a map on a coarser grid, so that the mean over that is the map's own over the picture.

    Each coarse cell gets the sum of the map's cells that lie in it, times what these count; where all is picture and
    the grid divides evenly that is their mean.
    """
    if picture_B1HW is None:
        return _gathered(map_B1HW, grid) * (grid[0] * grid[1] / map_B1HW[0, 0].numel())
    counted = _gathered(map_B1HW * picture_B1HW, grid)
    return counted * (grid[0] * grid[1] / picture_B1HW.sum(dim=(2, 3), keepdim=True))
