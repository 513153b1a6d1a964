"""The training part in memory, and the batches of one epoch.

Invariant: the order and the augmentation of epoch e depend on (seed, e) only, so that a run that was interrupted and
resumed sees the batches it would have seen.

Shapes: N photographs, B batch, S side of the cropped square, P planes (1, or one per scale).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from regaze.data.augment import Jitter, jitter, random_matrices, warp
from regaze.models.cells import find_picture
from regaze.models.features import TURNS, FrozenFeatures, normalise, turn
from regaze.training.targets import render

Augmentation = Literal["turns", "free", "none"]


@dataclass(frozen=True)
class TrainingSet:
    """What the loop learns from; everything stays on the CPU, batches move to the device.

    Attributes:
        images: (N, S, S, 3) uint8, RGB, cropped pixels.
        labels: (N,) int64, -1 where there is no grade.
        look: (N, S, S) or (N, P, S, S) bool, where the expert says "look here".
        corrected: (N,) bool or float32, weight of a photograph's correction; 0: it has none.
        avoid: As `look`, where the expert says "not here"; None: nowhere.
        doubt: As `look`, where a correction claims nothing; None: nowhere.
        edited: (N,) bool, True where what the expert did not touch keeps the model's own value; None: nowhere.
        sure: (N,) float32 in 0..1, what the cells of "look here" count; None: 1 everywhere.
    """

    images: Tensor
    labels: Tensor
    look: Tensor | None = None
    corrected: Tensor | None = None
    avoid: Tensor | None = None
    doubt: Tensor | None = None
    edited: Tensor | None = None
    sure: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Batch:
    """One step's tensors on the device.

    Attributes:
        inputs: (B, 3, S, S) float32, normalised, channels_last, or (B, 4, S, S) with the picture (see
            `models.backbones.Picture`); in fine-tuning what the frozen extractor hands out instead.
        labels: (B,) int64.
        look, avoid, doubt: (B, P, S, S) float32 of 0 and 1, or None.
        corrected: (B,) float32 or None.
        edited: (B,) bool or None.
        sure: (B,) float32 or None.
        maps: One (B, 1, H_l, W_l) tensor per scale that stands in for the network's own, NaN where that stays; None:
            nothing stands in for it.
    """

    inputs: Tensor | list[Tensor]
    labels: Tensor
    look: Tensor | None
    avoid: Tensor | None
    doubt: Tensor | None
    corrected: Tensor | None
    edited: Tensor | None
    sure: Tensor | None
    maps: list[Tensor] | None


@dataclass(frozen=True)
class Feed:
    """Turns a training set into the batches of an epoch.

    Attributes:
        data: The training set.
        classes: K.
        batch: B.
        seed: With the epoch, the only source of randomness.
        sampling: See `TrainingOptions.sampling`.
        augment: See `FinetuneOptions.augment`.
        mean, std: Normalisation.
        frozen: The frozen extractor, where batches hold features.
        replay: Share of the photographs without a correction that an epoch draws, above 0 to 1.
        colour_jitter: See `TrainingOptions`; where `augment` is `free`.
        teacher: Share of the corrected photographs that come with the expert's map, 0 to 1.
        teacher_from: The first epoch in which they do.
        grids: (h, w) of every scale's map, finest first; the teacher needs them.
        bars_masked: The network masks bars: where `augment` is `free` it is told what is picture.
        rank, world: Share of an epoch: every world-th image from `rank` on. 0 of 1 wherever regaze trains today.
    """

    data: TrainingSet
    classes: int
    batch: int
    seed: int
    sampling: Literal["square-root", "balanced", "natural"]
    augment: Augmentation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frozen: FrozenFeatures | None = None
    replay: float = 1.0
    colour_jitter: Jitter = "mild"
    teacher: float = 0.0
    teacher_from: int = 0
    grids: Sequence[tuple[int, int]] = ()
    bars_masked: bool = False
    rank: int = 0
    world: int = 1

    def steps(self) -> int:
        """Steps of an epoch, the same for every rank."""
        return max(1, round(self._drawn() // self.world / self.batch))

    def epoch(self, number: int, device: torch.device) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = self._order(generator)
        for step in range(self.steps()):
            positions = torch.arange(step * self.batch, (step + 1) * self.batch) * self.world + self.rank
            batch = self._batch(order[positions % len(order)], generator, device)
            if self.teacher > 0 and number >= self.teacher_from:
                batch.maps = self._teacher_maps(batch, generator)
            yield batch

    def unturned(self, index: Tensor, device: torch.device) -> Batch:
        """Photographs as they are, each corrected one with the expert's map where the feed has a teacher."""
        feed, generator = replace(self, augment="none", teacher=1.0), torch.Generator()
        batch = feed._batch(index, generator, device)
        if self.teacher > 0:
            batch.maps = feed._teacher_maps(batch, generator)
        return batch

    def _corrected(self) -> Tensor:
        """(N,) bool."""
        corrected = self.data.corrected
        return torch.zeros(len(self.data), dtype=torch.bool) if corrected is None else corrected > 0

    def _drawn(self) -> int:
        """Photographs of an epoch: all, or the corrected ones and the replayed share of the rest."""
        corrected = int(self._corrected().sum())
        return corrected + round(self.replay * (len(self.data) - corrected))

    def _order(self, generator: torch.Generator) -> Tensor:
        """Indices of the epoch."""
        if self.replay == 1:
            return self._draw(torch.arange(len(self.data)), len(self.data), generator)
        is_corrected = self._corrected()
        corrected, others = is_corrected.nonzero().flatten(), (~is_corrected).nonzero().flatten()
        replayed = self._drawn() - len(corrected)
        order = torch.cat([self._draw(corrected, len(corrected), generator), self._draw(others, replayed, generator)])
        return order[torch.randperm(len(order), generator=generator)]

    def _draw(self, indices: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` of the indices: a shuffle (`natural`), or drawn with replacement by class weight."""
        if count == 0 or len(indices) == 0:
            return indices[:0]
        if self.sampling == "natural":
            return indices[torch.randperm(len(indices), generator=generator)[:count]]
        weights = self._weights()[indices]
        return indices[torch.multinomial(weights, count, replacement=True, generator=generator)]

    def _weights(self) -> Tensor:
        """(N,) float64: how often each photograph is drawn."""
        labels = self.data.labels
        counts = torch.bincount(labels.clamp_min(0)[labels >= 0], minlength=self.classes).clamp_min(1).double()
        power = 0.5 if self.sampling == "square-root" else 1.0
        weights = torch.where(labels >= 0, counts[labels.clamp_min(0)] ** -power, 0.0)
        # A photograph without a grade comes as often as the average one.
        graded = weights[labels >= 0]
        return torch.where(labels >= 0, weights, graded.mean() if len(graded) else torch.tensor(1.0).double())

    def _batch(self, index: Tensor, generator: torch.Generator, device: torch.device) -> Batch:
        data = self.data
        planes = {name: _rows(getattr(data, name), index) for name in ("look", "avoid", "doubt")}
        given = [item for item in planes.values() if item is not None]
        masks = torch.cat(given, dim=1).to(device, non_blocking=True).float() if given else None
        turns = [0] * len(index)
        if self.augment == "turns":
            turns = torch.randint(TURNS, (len(index),), generator=generator).tolist()
            masks = None if masks is None else _turn_each(masks, turns)
        if self.frozen is not None and self.augment != "free":
            inputs: Tensor | list[Tensor] = self.frozen(index, turns)
        else:
            images = data.images[index].to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
            if self.augment == "free":
                images, masks = self._moved(images, masks, generator)
            else:
                images = normalise(_turn_each(images, turns), self.mean, self.std)
            inputs = images if self.frozen is None else self.frozen.compute(images)
        parts = iter(() if masks is None else torch.split(masks, [item.shape[1] for item in given], dim=1))
        moved = {name: None if item is None else next(parts) for name, item in planes.items()}
        labels, corrected, edited, sure = (
            None if item is None else item[index].to(device, non_blocking=True)
            for item in (data.labels, data.corrected, data.edited, data.sure)
        )
        assert labels is not None
        corrected = None if corrected is None else corrected.float()
        return Batch(inputs, labels, **moved, corrected=corrected, edited=edited, sure=sure, maps=None)

    def _moved(self, images: Tensor, masks: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Images (B, 3 or 4, S, S), normalised, and masks, freely augmented.

        The picture moves with the image: bars that were turned a little could not be found any more, and branches would
        learn to pool another share of the square than they are given later.
        """
        if self.bars_masked:
            images = torch.cat([images, find_picture(images)], dim=1)
        images, masks = warp(images, masks, random_matrices(len(images), generator).to(images.device))
        colours = normalise(jitter(images[:, :3], generator, self.colour_jitter), self.mean, self.std)
        return torch.cat([colours, images[:, 3:]], dim=1) if self.bars_masked else colours, masks

    def _teacher_maps(self, batch: Batch, generator: torch.Generator) -> list[Tensor] | None:
        """The expert's maps, where they claim a cell, for the share of the corrected photographs that gets them."""
        if batch.corrected is None or batch.look is None:
            return None
        targets = render(batch.look, batch.avoid, batch.doubt, batch.edited, self.grids, batch.sure)
        drawn = torch.rand(len(batch.labels), generator=generator).to(batch.corrected.device) < self.teacher
        given = (drawn & (batch.corrected > 0)).view(-1, 1, 1, 1)
        return [torch.where(given & (target.claim > 0), target.value, torch.nan) for target in targets]


def _turn_each(planes: Tensor, turns: list[int]) -> Tensor:
    """(B, C, S, S), each row in its own turn (see `models.features.turn`)."""
    return torch.stack([turn(row, how) for row, how in zip(planes, turns, strict=True)])


def _rows(planes: Tensor | None, index: Tensor) -> Tensor | None:
    """Rows of (N, S, S) or (N, P, S, S) planes as (B, P, S, S), or None."""
    if planes is None:
        return None
    rows = planes[index]
    return rows.unsqueeze(1) if rows.ndim == 3 else rows
