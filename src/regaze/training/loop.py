"""The one training loop: phase 1 and fine-tuning differ by the data, the parameters and the loss handed in.

Invariants: only this module calls backward; checkpoints are written between epochs, whole or not at all, and a run that
goes on from one ends with the weights of a run that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from regaze.errors import ModelError
from regaze.models.network import Output
from regaze.training.average import WeightAverage
from regaze.training.batches import Batch, Feed
from regaze.training.checkpoint import Checkpoint
from regaze.training.options import FinetuneOptions, TrainingOptions

Loss = Callable[[Output, Batch], dict[str, Tensor]]
Progress = Callable[[int, int, dict[str, float]], None]
History = list[dict[str, float]]  # mean losses per epoch

_WARM_UP = 0.05  # share of all steps with a linearly rising learning rate
# Seconds of work that a run which is stopped may have to do again (and the epoch it was in). A checkpoint of ResNet18's
# branches takes half a second to write: after each of a round's short epochs that was 5 % of it (bench/round.py).
_CHECKPOINT_SECONDS = 20.0


@dataclass(frozen=True)
class Plan:
    """What one run of the loop does.

    Attributes:
        options: Epochs, weight decay (not applied to vectors: biases and norms), averaging.
        groups: Parameter groups for AdamW, each `{"params": [...], "lr": peak}`.
        loss: (output, batch) -> named terms; their sum is minimised.
        identity: Hash of everything that decides the result; a checkpoint of another identity is ignored.
    """

    options: TrainingOptions | FinetuneOptions
    groups: Sequence[dict[str, Any]]
    loss: Loss
    identity: str


def fit(
    network: nn.Module,
    feed: Feed,
    plan: Plan,
    fabric: Fabric,
    checkpoint: Path,
    progress: Progress | None = None,
) -> History:
    """Train `network` in place and leave the averaged weights in it.

    Args:
        network: What is trained, whole; on any device; comes back on the fabric's device in evaluation mode.
        feed: Batches by epoch.
        plan: Parameters, loss and length.
        fabric: Device and precision.
        checkpoint: File written after an epoch, at most every 20 seconds; read first if it exists and has the plan's
            identity.
        progress: Called after every epoch with (epochs done, epochs, mean losses).

    Raises:
        ModelError: The loss became NaN or infinite.
    """
    network = network.to(memory_format=torch.channels_last)
    # fused: one pass over the weights. It reads memory in order, so moments must lie as weights do (Checkpoint).
    optimizer = torch.optim.AdamW(_decayed(plan), betas=(0.9, 0.999), fused=True)
    module, optimizer = fabric.setup(network, optimizer)
    epochs, averaging = plan.options.epochs, plan.options.averaging
    average = WeightAverage(network, averaging) if averaging > 0 else None
    history: History = []
    state = Checkpoint(checkpoint, plan.identity, network, average, optimizer, history)
    state.load()
    steps = feed.steps()
    written = time.monotonic()
    for epoch in range(len(history), epochs):
        module.train()
        sums: dict[str, Tensor] = {}
        for step, batch in enumerate(feed.epoch(epoch, fabric.device)):
            _set_rates(optimizer, (epoch * steps + step) / (epochs * steps))
            terms = plan.loss(module(batch.inputs, batch.maps), batch)
            total = torch.stack(list(terms.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(total)
            optimizer.step()
            if average is not None:
                average.update(network)
            for name, term in terms.items():  # summed on the device: no synchronisation inside the loop
                sums[name] = sums.get(name, 0) + term.detach()
        losses = {name: float(value) / steps for name, value in sums.items()}
        _check_finite(losses, epoch)
        history.append(losses)
        if fabric.is_global_zero and time.monotonic() - written >= _CHECKPOINT_SECONDS:
            written = time.monotonic()
            state.save()
        if progress is not None:
            progress(epoch + 1, epochs, losses)
    if average is not None:
        average.copy_to(network)
    network.eval()
    return history


def _decayed(plan: Plan) -> list[dict[str, Any]]:
    """Split each group into matrices, which decay, and vectors, which do not."""
    groups = []
    for group in plan.groups:
        for decays in (True, False):
            chosen = [parameter for parameter in group["params"] if (parameter.ndim > 1) == decays]
            if chosen:
                decay = plan.options.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": group["lr"], "peak": group["lr"], "weight_decay": decay})
    return groups


def _set_rates(optimizer: torch.optim.Optimizer, done: float) -> None:
    """Linear warm-up, then a cosine to zero; a function of the share done, so it needs no state."""
    factor = done / _WARM_UP if done < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * max(factor, 0.01)


def _check_finite(losses: dict[str, float], epoch: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise ModelError(
                f"The loss {name} became {value} in epoch {epoch + 1}: "
                "lower the learning rates, or pass --precision fp32."
            )
