"""Batched inference: arrays in, arrays out, with the model left as it was.

Shapes: N photographs, S side of the cropped square, K classes, (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regaze.errors import DataError, ModelError
from regaze.models.build import Network
from regaze.models.device import choose_device, uses_bf16
from regaze.models.disagreement import between_branches, between_scales
from regaze.models.evidence import Evidence
from regaze.models.features import FeatureCache, FrozenFeatures
from regaze.models.network import AttentionNetwork, Output, fuse
from regaze.models.options import Decoding, MachineOptions
from regaze.models.what_if import HeldPhotograph, WhatIf

_ROUNDING = 1e-6  # of a share of probability in float32

Progress = Callable[[int, int], None]  # takes (photographs done, all)


@dataclass(frozen=True)
class Predictions:
    """Everything that a network says about N photographs.

    Attributes:
        probabilities: (N, K) float32, rows sum to 1.
        grades: (N,) int64, decoded (see `decode`).
        maps: One (N, h, w) float32 array in 0..1 per scale, finest first.
        fused: (N, h, w) float32 in 0..1 at the finest scale's grid: the mean of all scales.
        branches: (N,) float32 in 0..1, how far the branches' grades contradict each other, see `disagreement`; None for
            a plain network.
        scales: (N,) float32 in 0..2, how far the scales' maps differ in shape; NaN with one scale, None for a plain
            network.
        evidence: What each cell adds to the logits; None where it was not asked for.
    """

    probabilities: NDArray[np.float32]
    grades: NDArray[np.int64]
    maps: tuple[NDArray[np.float32], ...]
    fused: NDArray[np.float32]
    branches: NDArray[np.float32] | None = None
    scales: NDArray[np.float32] | None = None
    evidence: Evidence | None = None


def decode(probabilities_NK: NDArray[np.floating[Any]], how: Decoding) -> NDArray[np.int64]:
    """From probabilities to grades.

    Args:
        probabilities_NK: (N, K), rows sum to 1.
        how: `median`: the first grade at which the cumulative probability reaches one half; it minimises the expected
            distance in grades. On IDRiD's pooled out-of-fold predictions it agrees with the expert's grades about as
            well as `expected` (the rounded expected value Σ k·p_k), and unlike that keeps the accuracy of `argmax`
            (docs/results.md). `argmax` is for classes without an order. One half up to rounding is one half (a forest
            of 300 trees says so often, in either direction).
    """
    if how == "argmax":
        return np.asarray(probabilities_NK.argmax(axis=1), dtype=np.int64)
    exact = probabilities_NK.astype(np.float64)
    if how == "median":
        below = np.cumsum(exact, axis=1) < (0.5 - _ROUNDING) * exact.sum(axis=1, keepdims=True)
        return np.asarray(below.sum(axis=1), dtype=np.int64)
    expected = exact @ np.arange(probabilities_NK.shape[1])
    return np.asarray(np.floor(expected + 0.5), dtype=np.int64)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode comes back, also after an exception."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, and no parameter that asks for one; everything comes back.

    Not inference mode, whose tensors autograd refuses: gradients may be switched on inside, and since no parameter asks
    for one, none gets one and the graph stays as small as the input that does.
    """
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in learning:
            parameter.requires_grad_(False)
        with evaluating(network), torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


class Predictor:
    """Runs a network on batches.

    Args:
        network: Moved to the device.
        mean, std: Normalisation of the input, RGB in 0..1.
        decoding: How probabilities become grades.
        machine: Device and precision.
        batch: Photographs per forward pass.
    """

    def __init__(
        self,
        network: Network,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        decoding: Decoding,
        machine: MachineOptions,
        batch: int = 32,
    ) -> None:
        self.device = choose_device(machine.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.bf16 = uses_bf16(machine.precision, self.device)
        self.mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, 3, 1, 1)
        self._normalisation = (mean, std)
        self.decoding = decoding
        self.batch = batch
        # Makes squares of pictures; set by `photographs.pictures.load_model`, since models know no picture files.
        self.squares: Callable[[Any], NDArray[np.uint8]] | None = None

    @property
    def arithmetic(self) -> str:
        """`bf16` or `fp32`: what forward passes compute in."""
        return "bf16" if self.bf16 else "fp32"

    def precision(self) -> torch.autocast:
        """The autocast in which forward passes run: to bfloat16, or none."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def batches(self, total: int, progress: Progress | None = None, size: int | None = None) -> Iterator[slice]:
        """Rows of one batch after the other.

        Args:
            total: Number of photographs.
            progress: Called after each batch with (photographs done, total).
            size: Photographs per batch; None: `batch`.
        """
        size = size or self.batch
        for start in range(0, total, size):
            stop = min(start + size, total)
            yield slice(start, stop)
            if progress is not None:
                progress(stop, total)

    def normalise(self, images_NSSC: NDArray[np.uint8]) -> Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) float32 in normalised space, on the device."""
        images = torch.from_numpy(np.ascontiguousarray(images_NSSC)).to(self.device).permute(0, 3, 1, 2).float() / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def scores(self, images_B3SS: Tensor) -> Tensor:
        """Softmax probabilities (B, K) float32 of normalised images."""
        with evaluating(self.network):
            return torch.softmax(self._forward(images_B3SS).logits.float(), dim=1)

    def predict(
        self,
        images_NSSC: Any,
        progress: Progress | None = None,
        cache: FeatureCache | None = None,
        maps: Sequence[NDArray[np.float32]] | None = None,
        *,
        evidence: bool = False,
    ) -> Predictions:
        """Grades and maps of photographs.

        Args:
            images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels. The model of `regaze.load_model` also takes pictures,
                see `photographs.pictures.squares`.
            progress: Called with (photographs done, N).
            cache: Where an attention network's extractor keeps its features; without one the last bits may differ.
            maps: One (N, h, w) array per scale, finest first, that weighs the features in place of the network's own
                maps (NaN: its own value stays); None: its own.
            evidence: Hand out the evidence, too; it takes K times the memory of the maps.

        Raises:
            ModelError: A probability is NaN, which would decode to a grade (with `median` to the healthiest); or the
                given maps do not fit the network.
            DataError: A picture cannot be taken (the model of `regaze.load_model`).
        """
        if self.squares is not None:
            images_NSSC = self.squares(images_NSSC)
        batches: list[list[Tensor]] = []
        shares: list[list[Tensor]] = []
        with evaluating(self.network):
            for output in self._outputs(images_NSSC, progress, cache, maps):
                columns = [torch.softmax(output.logits.float(), dim=1), fuse(output.maps)]
                columns += [item.squeeze(1).float() for item in output.maps]
                if output.perception_logits:
                    columns += [between_branches(output), between_scales(output.maps)]
                batches.append([item.cpu() for item in columns])
                if evidence:
                    sums = torch.stack([item.sum(dim=(2, 3)) for item in output.evidence], dim=1)
                    shares.append([sums.cpu(), *(item.half().cpu() for item in output.evidence)])
        probabilities, fused, *rest = (torch.cat(items).numpy() for items in zip(*batches, strict=True))
        bad = int((~np.isfinite(probabilities).all(axis=1)).sum())
        if bad:
            raise ModelError(
                f"The model gives no number for {bad} of {len(probabilities)} photographs (NaN): "
                "pass --precision fp32, or train it again."
            )
        own, disagreements = rest[: self.network.scales], rest[self.network.scales :]
        given = None
        if evidence:
            sums_NSK, *scales = (torch.cat(items).numpy() for items in zip(*shares, strict=True))
            given = Evidence(tuple(scales), sums_NSK, self.network.bias().detach().float().cpu().numpy())
        branches, between = disagreements or (None, None)
        grades = decode(probabilities, self.decoding)
        return Predictions(probabilities, grades, tuple(own), fused, branches, between, given)

    def hold(self, picture: Any) -> HeldPhotograph:
        """One photograph, held open for what-ifs; the network must stay as it is while it is held.

        Args:
            picture: (S, S, 3) uint8, RGB, cropped pixels; for the model of `regaze.load_model` a picture, see
                `photographs.pictures.squares`.

        Raises:
            ModelError: The network is a plain one, or gives no number.
            DataError: It is not one picture, or cannot be taken.
        """
        if not isinstance(self.network, AttentionNetwork):
            raise ModelError("A plain network has no attention maps to replace: use single-scale or multi-scale.")
        squares = np.asarray(picture)[None] if self.squares is None else self.squares(picture)
        if len(squares) != 1:
            raise DataError(f"{len(squares)} pictures were given, expected one: ask of them one by one.")
        with evaluating(self.network):
            with self.precision():
                features = self.network.extractor(self.normalise(squares))
            return HeldPhotograph(self.network, features, self.precision)

    def what_if(self, picture: Any, maps: Sequence[NDArray[Any] | None]) -> WhatIf:
        """What other maps than its own would make of a photograph's grade (the paper's figure 1).

        Args:
            picture: As `hold` takes it.
            maps: One (h, w) array in 0..1 per scale, finest first, as `predict` gives them for a photograph: NaN where
                the model's own value stays; None: the scale's own map stays.

        Raises:
            ModelError: The network is a plain one, the maps do not fit, or it gives no number.
            DataError: It is not one picture, or cannot be taken.
        """
        with evaluating(self.network):
            return self.hold(picture).what_if(maps)

    def _outputs(
        self,
        images_NSSC: NDArray[np.uint8],
        progress: Progress | None,
        cache: FeatureCache | None,
        maps: Sequence[NDArray[np.float32]] | None,
    ) -> Iterator[Output]:
        """The network's output for one batch after the other."""
        batches = self.batches(len(images_NSSC), progress)
        if not isinstance(self.network, AttentionNetwork):
            if maps is not None:
                raise ModelError("A plain network has no attention maps to replace: use single-scale or multi-scale.")
            for rows in batches:
                yield self._forward(self.normalise(images_NSSC[rows]))
            return
        given = None if maps is None else [torch.from_numpy(np.ascontiguousarray(item)).unsqueeze(1) for item in maps]
        frozen = FrozenFeatures(
            self.network.extractor,
            torch.from_numpy(np.ascontiguousarray(images_NSSC)),
            *self._normalisation,  # as the user's numbers, not float32's: the keys that fine-tuning uses
            self.device,
            bf16=self.bf16,
            cache=cache,
            steady=cache is not None,
        )
        for rows in batches:
            index = torch.arange(rows.start, rows.stop)
            features = frozen(index, [0] * len(index))
            here = None if given is None else [item[rows].to(self.device) for item in given]
            with self.precision():
                output = self.network.branches(features, here)
            yield output

    def _forward(self, images_B3SS: Tensor) -> Output:
        with self.precision():
            output: Output = self.network(images_B3SS)
        return output
