"""The training part in memory, and the batches of one epoch.

Invariant: the order and the augmentation of epoch e depend on (seed, e) only, so that a run that was interrupted and
resumed sees the batches it would have seen.

Shapes: N photographs, B batch, S side of the cropped square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regaze.data.augment import jitter, random_matrices, warp


@dataclass(frozen=True)
class TrainingSet:
    """What the loop learns from; everything stays on the CPU, batches move to the device.

    Attributes:
        images: (N, S, S, 3) uint8, RGB, cropped pixels.
        labels: (N,) int64, -1 where there is no grade.
        look: (N, S, S) bool, where the expert says "look here".
        touched: (N, S, S) bool, where the expert's word counts, or None: everywhere. Outside, the map is left alone.
        corrected: (N,) bool, images that have a correction.
    """

    images: Tensor
    labels: Tensor
    look: Tensor | None = None
    touched: Tensor | None = None
    corrected: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Batch:
    """One step's tensors on the device.

    Attributes:
        images: (B, 3, S, S) float32, normalised, channels_last.
        labels: (B,) int64.
        look, touched: (B, S, S) float32 of 0 and 1, or None.
        corrected: (B,) bool or None.
    """

    images: Tensor
    labels: Tensor
    look: Tensor | None
    touched: Tensor | None
    corrected: Tensor | None


@dataclass(frozen=True)
class Feed:
    """Turns a training set into the batches of an epoch.

    Attributes:
        data: The training set.
        classes: K.
        batch: B per process.
        seed: With the epoch, the only source of randomness.
        sampling: See `TrainingOptions.sampling`.
        augment: See `TrainingOptions.augment`.
        mean, std: Normalisation.
        rank, world: This process among the processes; each takes every world-th image of the epoch's order.
    """

    data: TrainingSet
    classes: int
    batch: int
    seed: int
    sampling: Literal["square-root", "balanced", "natural"]
    augment: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rank: int = 0
    world: int = 1

    def steps(self) -> int:
        """Steps of an epoch, the same for every process."""
        share = len(self.data) // self.world
        return max(1, round(share / self.batch))

    def epoch(self, number: int, device: torch.device) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = self._order(generator)
        for step in range(self.steps()):
            places = torch.arange(step * self.batch, (step + 1) * self.batch) * self.world + self.rank
            yield self._batch(order[places % len(order)], generator, device)

    def _order(self, generator: torch.Generator) -> Tensor:
        """Indices of the epoch: a shuffle (`natural`), or drawn with replacement by class weight."""
        total = len(self.data)
        if self.sampling == "natural":
            return torch.randperm(total, generator=generator)
        labels = self.data.labels
        counts = torch.bincount(labels.clamp_min(0)[labels >= 0], minlength=self.classes).clamp_min(1).double()
        power = 0.5 if self.sampling == "square-root" else 1.0
        weights = torch.where(labels >= 0, counts[labels.clamp_min(0)] ** -power, 0.0)
        # A photograph without a grade comes as often as the average one.
        graded = weights[labels >= 0]
        weights = torch.where(labels >= 0, weights, graded.mean() if len(graded) else torch.tensor(1.0).double())
        return torch.multinomial(weights, total, replacement=True, generator=generator)

    def _batch(self, index: Tensor, generator: torch.Generator, device: torch.device) -> Batch:
        data = self.data
        images = data.images[index].to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        masks = None
        if data.look is not None:
            planes = [data.look[index]] if data.touched is None else [data.look[index], data.touched[index]]
            masks = torch.stack(planes, dim=1).to(device, non_blocking=True).float()
        if self.augment:
            matrices = random_matrices(len(index), generator).to(device)
            images, masks = warp(images, masks, matrices)
            images = jitter(images, generator)
        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)
        images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        return Batch(
            images=images,
            labels=data.labels[index].to(device, non_blocking=True),
            look=None if masks is None else masks[:, 0],
            touched=None if masks is None or data.touched is None else masks[:, 1],
            corrected=None if data.corrected is None else data.corrected[index].to(device, non_blocking=True),
        )
