"""What every explainer is handed, and the state in which the network rests meanwhile.

Invariant: whatever happens inside `resting`, the network comes out as it went in.

Shapes: B batch, S side of the cropped square.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regaze.models.network import fuse
from regaze.models.predictor import Predictor, at_rest


@dataclass(frozen=True)
class Settings:
    """The numbers that the slow explainers' papers leave open.

    Attributes:
        seed: Seeds RISE's masks, the only thing here that is drawn.
        gradient_steps: Points on the path of integrated gradients (Gauss-Legendre, which is exact for polynomials).
        window: Side of the occluded square as a share of the photograph's side; it moves by half of itself.
        masks: Number of RISE's masks (the paper: 4000 and 8000). Two sets of 200 agreed with a rank correlation of 0.43
            on an IDRiD photograph; if noise alone keeps them apart, two sets of 2000 agree with 0.88.
        cells: RISE's coarse grid, cells on a side (the paper: 7).
        keep: Probability that a cell of a mask is kept (the paper: 0.5).
    """

    seed: int = 0
    gradient_steps: int = 32
    window: float = 1 / 8
    masks: int = 2000
    cells: int = 7
    keep: float = 0.5


@dataclass(frozen=True)
class Job:
    """A batch of photographs to explain.

    Attributes:
        predictor: Network, device, precision, and photographs per forward pass.
        images: (B, 3, S, S) float32, normalised, on the device.
        classes: (B,) int64 on the device: the class whose evidence is asked for.
        settings: See `Settings`.
    """

    predictor: Predictor
    images: Tensor
    classes: Tensor
    settings: Settings

    @property
    def side(self) -> int:
        """S."""
        return self.images.shape[-1]

    def logits(self, images_B3SS: Tensor) -> Tensor:
        """(B, K) float32: the final logits, in the precision of the caller (fp32 unless it says otherwise)."""
        logits: Tensor = self.predictor.network(images_B3SS).logits
        return logits.float()

    def probabilities(self, images_B3SS: Tensor) -> Tensor:
        """(B, K) float32: softmax of the final logits, as `logits`."""
        return torch.softmax(self.logits(images_B3SS), dim=1)


@contextmanager
def resting(network: nn.Module, device: torch.device) -> Iterator[None]:
    """`at_rest` in fp32; the random states of the CPU and the device come back too, also after an exception.

    The caller's own inference mode and autocast do not reach inside.
    """
    forked = [device] if device.type == "cuda" else []
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=forked),
        at_rest(network),
        torch.autocast(device.type, enabled=False),
    ):
        yield


def enlarge(maps_Bhw: Tensor, side: int) -> Tensor:
    """(B, h, w) float map cells -> (B, side, side) float32 cropped pixels, bilinear."""
    return fuse([maps_Bhw.unsqueeze(1)], side)
