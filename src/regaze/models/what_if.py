"""What a network would grade if it looked elsewhere (the paper's figure 1), for one photograph that is held open.

Beside what a given map makes of the grade stands what *the same amount of attention without its place* makes of it: on
trained networks erasing moves a grade mostly by its amount, and "before and now" alone would tell an expert that the
place matters where only the amount does.

Shapes: K classes, S scales (finest first), (H, W) map cells of a scale, C channels.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.errors import ModelError
from regaze.models.cells import grid_of
from regaze.models.kept_branch import KeptBranch
from regaze.models.network import AttentionNetwork

#: Probability that must move, at least, where all attention is taken away or all is given, for a network that listens.
HARDLY = 0.02
#: Where the curve of amounts has points, as shares of the way from the own map's mean to a map of 1.
_ABOVE = (1 / 16, 1 / 4, 9 / 16)
#: In a grid of bytes: the model's own value stays. 0 to 254 are 0 to 1.
OWN = 255


@dataclass(frozen=True)
class Probabilities:
    """What a network and its branches say of one photograph.

    Attributes:
        fused: (K,) float32, sums to 1: the final grade's.
        branches: (S, K) float32, rows sum to 1: each perception branch's, finest scale first.
    """

    fused: NDArray[np.float32]
    branches: NDArray[np.float32]


@dataclass(frozen=True)
class WhatIf:
    """What other maps would make of a photograph's grade.

    Attributes:
        before: With the network's own maps.
        now: With the given ones.
        same_amount: With the own maps times a factor for each scale (cut at 1), so that its mean is the given map's:
            what of the change is owed to the amount of attention and not to its place.
        listens: False: even no attention at all and attention everywhere move less than `HARDLY` of the probability
            (half the sum of the absolute differences), so that little can be learned from any what-if.
    """

    before: Probabilities
    now: Probabilities
    same_amount: Probabilities
    listens: bool


def with_mean(map_11HW: Tensor, mean: float) -> Tensor:
    """The map times a factor, cut at 1, that has the mean; as near as a map gets that has cells of exactly 0."""
    values = map_11HW.double().flatten().sort(descending=True).values
    cut = torch.arange(len(values), device=values.device)  # how many of the largest are cut
    rest = values.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.float64).tiny)
    factors = (mean * len(values) - cut).clamp_min(0) / rest
    fits = (factors * values <= 1 + 1e-12).nonzero()
    factor = factors[fits[0, 0] if len(fits) else -1]
    return (map_11HW * factor).clamp_max(1).nan_to_num().to(map_11HW.dtype)


class HeldPhotograph:
    """One photograph whose features and own maps are kept, so that what-ifs are quick: see `Predictor.hold`.

    A what-if repeats the perception branches only, and of these, in ResNets, only the cells that differ from the last
    one (`kept_branch`). It may be asked from several threads; they take turns.

    Attributes:
        grids: (H, W) of every scale.
        maps: S arrays (H, W) float32 in 0..1, the network's own maps.
        before: With these.

    Args:
        network: In evaluation mode; its weights must not change any more.
        features: Of one photograph, as the extractor hands them out.
        precision: Makes the context in which branches compute.
    """

    def __init__(
        self,
        network: AttentionNetwork,
        features: Sequence[Tensor],
        precision: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._network = network
        self._precision = precision
        self._turn = threading.Lock()
        with self._computing():
            self._look = look = network.look(features)
            parts = zip(network.perception_branches(), network.blocks(features), look.maps, look.pictures, strict=True)
            self._kept = [KeptBranch(*part) for part in parts]
            self.before = self._said([kept.vector(own) for kept, own in zip(self._kept, look.maps, strict=True)])
        self.maps = [item[0, 0].cpu().numpy() for item in look.maps]
        self.grids = [grid_of(item) for item in look.maps]

    def what_if(self, maps: Sequence[NDArray[Any] | None]) -> WhatIf:
        """What given maps would make of the grade.

        Args:
            maps: One (H, W) array in 0..1 per scale, NaN where the own value stays; None: the whole map stays.

        Raises:
            ModelError: The number, the shape or the values of the maps do not fit, or the network gives no number.
        """
        _check(maps, self.grids)
        return self._asked([None if item is None else torch.from_numpy(np.array(item, np.float32)) for item in maps])

    def quick_what_if(self, cells: bytes) -> WhatIf:
        """As `what_if` of a page's bytes, quick enough to be asked while a stroke is drawn.

        Where the map weighs what a branch sees, `same_amount` takes every cell anew; here it is read off a curve
        through seven amounts of attention instead. The first call draws it, which takes as long as seven whole ones, if
        `prepare` has not.

        Args:
            cells: The scales' grids, finest first, row by row, joined: a byte per cell, `OWN` or 0 to 254 for 0 to 1.

        Raises:
            ModelError: There are too few bytes or too many, or the network gives no number.
        """
        sizes = [rows * columns for rows, columns in self.grids]
        if len(cells) != sum(sizes):
            grids = ", ".join(f"{rows} x {columns}" for rows, columns in self.grids)
            raise ModelError(f"The maps given have {len(cells)} bytes: expected {sum(sizes)}, one per cell of {grids}.")
        every = torch.frombuffer(bytearray(cells), dtype=torch.uint8)
        values = torch.where(every == OWN, torch.nan, every.float() / (OWN - 1))
        parts = torch.split(values, sizes)
        grids_HW = [item.view(grid) for item, grid in zip(parts, self.grids, strict=True)]
        return self._asked(grids_HW, quick=True)

    def prepare(self) -> None:
        """Do now what the first call of `quick_what_if` would do."""
        with self._computing():
            _ = self._listens, self._curves

    def _asked(self, maps: Sequence[Tensor | None], *, quick: bool = False) -> WhatIf:
        """See `what_if`; maps (H, W) float32."""
        with self._computing():
            given = []
            for scale, (item, own) in enumerate(zip(maps, self._look.maps, strict=True)):
                told = None if item is None else item.to(own.device).view_as(own)
                given.append(self._look.with_map(scale, told)[0])
            now = self._said([kept.vector(item) for kept, item in zip(self._kept, given, strict=True)])
            amounts = [item.mean().item() for item in given]
            same = self._said([self._amount(scale, mean, quick=quick) for scale, mean in enumerate(amounts)])
            return WhatIf(self.before, now, same, self._listens)

    def _amount(self, scale: int, mean: float, *, quick: bool) -> Tensor:
        """What a branch pools where the network's own map has another mean."""
        kept = self._kept[scale]
        if quick and not kept.branch.weighs_cells:
            return _on_curve(*self._curves[scale], mean)
        return kept.whole(with_mean(self._look.maps[scale], mean))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with self._turn, torch.inference_mode(), self._precision():
            yield

    def _said(self, vectors: Sequence[Tensor]) -> Probabilities:
        """In float32, as the vectors: a logit's steps in bfloat16 are as large as what a stroke moves.

        Raises:
            ModelError: The network gives no number.
        """
        with torch.autocast(vectors[0].device.type, enabled=False):
            branches = [kept.branch.classify(vector) for kept, vector in zip(self._kept, vectors, strict=True)]
            fused = self._network.fused(torch.cat(list(vectors), dim=1), branches)
            shares_RK = torch.softmax(torch.cat([fused, *branches]), dim=1).cpu().numpy()
        if not np.isfinite(shares_RK).all():
            raise ModelError(
                "The model gives no number for this photograph (NaN): pass --precision fp32, or train it again."
            )
        return Probabilities(shares_RK[0], shares_RK[1:])

    @cached_property
    def _extremes(self) -> list[tuple[Tensor, Tensor]]:
        """What each branch pools without any attention, and with attention everywhere."""
        found = []
        for scale, (kept, own) in enumerate(zip(self._kept, self._look.maps, strict=True)):
            dark, lit = (self._look.with_map(scale, torch.full_like(own, value))[0] for value in (0.0, 1.0))
            found.append((kept.whole(dark), kept.whole(lit)))
        return found

    @cached_property
    def _listens(self) -> bool:
        tried = [self._said(vectors).fused for vectors in zip(*self._extremes, strict=True)]
        return max(float(np.abs(shares - self.before.fused).sum()) / 2 for shares in tried) >= HARDLY

    @cached_property
    def _curves(self) -> list[tuple[list[float], list[Tensor]]]:
        """For each scale some means of its own map, ascending, and what the branch pools under each.

        Below the own mean this is all but a straight line; above it bends where cells reach 1, which begins early where
        the map is faint and has peaks.
        """
        curves = []
        for scale, (kept, own) in enumerate(zip(self._kept, self._look.maps, strict=True)):
            (dark, lit), mean = self._extremes[scale], own.mean().item()
            most = self._look.with_map(scale, torch.ones_like(own))[0].mean().item()
            means = [mean / 2, mean, *(mean + (most - mean) * share for share in _ABOVE)]
            curves.append(([0.0, *means, most], [dark, *(kept.whole(with_mean(own, item)) for item in means), lit]))
        return curves


def _on_curve(means: Sequence[float], vectors: Sequence[Tensor], mean: float) -> Tensor:
    """Straight between the two points on either side."""
    above = min(max(bisect_right(means, mean), 1), len(means) - 1)
    low, high = means[above - 1], means[above]
    share = min(max((mean - low) / (high - low), 0.0), 1.0) if high > low else 0.0
    return torch.lerp(vectors[above - 1], vectors[above], share)


def _check(maps: Sequence[NDArray[Any] | None], grids: Sequence[tuple[int, int]]) -> None:
    """Refuse maps that do not fit, see `HeldPhotograph.what_if`."""
    if len(maps) != len(grids):
        raise ModelError(f"{len(maps)} maps were given to a network with {len(grids)} scales: give one per scale.")
    for scale, (item, grid) in enumerate(zip(maps, grids, strict=True), start=1):
        if item is None:
            continue
        values = np.asarray(item)
        if values.shape != grid or values.dtype.kind not in "fiub":
            raise ModelError(
                f"The map given for scale {scale} is {values.shape} {values.dtype}: expected {grid} of numbers."
            )
        if ((values < 0) | (values > 1)).any():
            raise ModelError(
                f"The map given for scale {scale} has values from {np.nanmin(values):g} to {np.nanmax(values):g}: "
                "expected 0 to 1, or NaN where the model's own value stays."
            )
