"""A perception branch that keeps what it made of one photograph, and repeats only what a changed map touches.

Invariant: what it pools is, up to the rounding of one convolution over more or fewer cells, what the branch makes of
the whole map, whatever maps came before: cells are replaced, never added to.

Shapes: C channels, (H, W) map cells, (h, w) cells that the branch pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from regaze.models.branches import PerceptionBranch
from regaze.models.cells import grid_of

_WORTH_IT = 0.7  # share of the cells from which the whole is repeated: parts have their own cost


class Field(NamedTuple):
    """A stage's stride, and how far from `stride` times its place the cells lie that one of its cells sees."""

    stride: int
    reach: int


class _Window(NamedTuple):
    """Along one axis: the map's cells that are read, and the pooled cells that are written, in all and in the part."""

    read: slice
    write: slice
    take: slice


def field_of(stage: nn.Module) -> Field | None:
    """What a cell behind a stage in evaluation mode sees; None where that may be the whole picture, or is not known.

    Known are ResNets' blocks, and what a chain of convolutions with their own padding, batch norms and ReLUs is.
    """
    if isinstance(stage, nn.BatchNorm2d | nn.ReLU | nn.Identity):
        return Field(1, 0)
    if isinstance(stage, nn.Conv2d):
        reach = stage.dilation[0] * (stage.kernel_size[0] // 2)
        square = all(len(set(sides)) == 1 for sides in (stage.kernel_size, stage.stride, stage.dilation))
        centred = stage.kernel_size[0] % 2 == 1 and stage.padding in ((reach, reach), "same")
        return Field(stage.stride[0], reach) if square and centred and stage.padding_mode == "zeros" else None
    if type(stage) is nn.Sequential:
        return _chain(list(stage))
    if isinstance(stage, BasicBlock | Bottleneck):
        names = ("conv1", "conv2", "conv3")
        main = _chain([getattr(stage, name) for name in names if hasattr(stage, name)])
        beside = field_of(stage.downsample or nn.Identity())
        if main is None or beside is None or main.stride != beside.stride:
            return None
        return Field(main.stride, max(main.reach, beside.reach))
    return None


def _chain(stages: list[nn.Module]) -> Field | None:
    whole = Field(1, 0)
    for stage in stages:
        field = field_of(stage)
        if field is None:
            return None
        whole = Field(whole.stride * field.stride, whole.reach + field.reach * whole.stride)
    return whole


class KeptBranch:
    """A perception branch and the features of one photograph.

    Args:
        branch: In evaluation mode; its weights must not change any more.
        features_1CHW: The block's.
        map_11HW: The first map, float32 in 0..1.
        picture_11HW: How much of each of the map's cells is picture; None: all of it.
    """

    def __init__(
        self, branch: PerceptionBranch, features_1CHW: Tensor, map_11HW: Tensor, picture_11HW: Tensor | None
    ) -> None:
        self.branch = branch
        self._features = features_1CHW
        self._picture = picture_11HW
        self._field = field_of(branch.stage)
        self._map: Tensor | None = map_11HW
        self._cells = branch.cells(features_1CHW, map_11HW)

    def vector(self, map_11HW: Tensor) -> Tensor:
        """(1, C) float32: what the branch pools where this map weighs its features; quick if it resembles the last."""
        if not self.branch.weighs_cells:
            self._follow(map_11HW)
        return self._pooled(self._cells, map_11HW)

    def whole(self, map_11HW: Tensor) -> Tensor:
        """As `vector`, of every cell anew, for a map that resembles none."""
        if self.branch.weighs_cells:
            return self.vector(map_11HW)
        return self._pooled(self.branch.cells(self._features, map_11HW), map_11HW)

    def _pooled(self, cells_1Chw: Tensor, map_11HW: Tensor) -> Tensor:
        """In float32 whatever the precision: bfloat16 would round away what a stroke moves."""
        with torch.autocast(map_11HW.device.type, enabled=False):
            return self.branch.pool(cells_1Chw.float(), map_11HW, self._picture)

    def _follow(self, map_11HW: Tensor) -> None:
        """Bring the cells from the last map to this one."""
        last, self._map = self._map, None  # interrupted, the next call repeats the whole
        windows = None if last is None else self._windows((map_11HW != last)[0, 0].cpu().numpy())
        if windows is None:
            self._cells = self.branch.cells(self._features, map_11HW)
        else:
            for rows, columns in windows:
                read = (..., rows.read, columns.read)
                part = self.branch.cells(self._features[read], map_11HW[read])
                self._cells[..., rows.write, columns.write] = part[..., rows.take, columns.take]
        self._map = map_11HW

    def _windows(self, changed_HW: NDArray[np.bool_]) -> list[tuple[_Window, _Window]] | None:
        """The parts to repeat, rows and columns of each; None: the whole."""
        if self._field is None:
            return None if changed_HW.any() else []
        margin = 2 * self._field.reach
        boxes = list(_boxes(changed_HW, margin))
        if sum(_area(box, margin) for box in boxes) > _WORTH_IT * changed_HW.size:
            return None
        sides = list(zip(changed_HW.shape, grid_of(self._cells), strict=True))
        return [
            (self._window(box[0], *sides[0], self._field), self._window(box[1], *sides[1], self._field))
            for box in boxes
        ]

    @staticmethod
    def _window(changed: slice, count: int, pooled: int, field: Field) -> _Window:
        """Along one axis of `count` cells, `pooled` behind the stage: what a change touches, and what that needs."""
        stride, reach = field
        first = max(0, -((reach - changed.start) // stride))
        last = min(pooled - 1, (changed.stop - 1 + reach) // stride)
        start = max(0, (first * stride - reach) // stride)  # in pooled cells, so that the part lies as the whole does
        read = slice(start * stride, min(count, last * stride + reach + 1))
        return _Window(read, slice(first, last + 1), slice(first - start, last + 1 - start))


_Box = tuple[slice, slice]


def _boxes(changed_HW: NDArray[np.bool_], margin: int, top: int = 0, left: int = 0) -> Iterator[_Box]:
    """Rectangles that hold all that changed; halved where that leaves out enough, as along a stroke across."""
    rows, columns = (np.flatnonzero(changed_HW.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return
    box = slice(top + int(rows[0]), top + int(rows[-1]) + 1), slice(left + int(columns[0]), left + int(columns[-1]) + 1)
    inside = changed_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    axis = int(inside.shape[1] > inside.shape[0])
    half = inside.shape[axis] // 2
    if half > margin and inside.mean() < _WORTH_IT:
        first, second = np.split(inside, [half], axis=axis)
        corner = box[0].start, box[1].start
        behind = (corner[0] + half, corner[1]) if axis == 0 else (corner[0], corner[1] + half)
        parts = [*_boxes(first, margin, *corner), *_boxes(second, margin, *behind)]
        if sum(_area(part, margin) for part in parts) < _WORTH_IT * _area(box, margin):
            yield from parts
            return
    yield box


def _area(box: _Box, margin: int) -> int:
    """Cells that are read for a box."""
    height, width = (int(side.stop - side.start) + 2 * margin for side in box)
    return height * width
