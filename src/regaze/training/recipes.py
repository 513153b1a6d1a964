"""The two recipes: phase 1 (grades alone) and fine-tuning on corrections. Both call the one loop."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from regaze.errors import ModelError
from regaze.files import digest
from regaze.models.build import Network
from regaze.models.device import choose_device, uses_bf16
from regaze.models.features import FeatureCache, FrozenFeatures
from regaze.models.network import AttentionNetwork, Output, TrainableBranches
from regaze.models.options import MachineOptions
from regaze.training.batches import Augmentation, Batch, Feed, TrainingSet
from regaze.training.loop import History, Plan, Progress, fit
from regaze.training.losses import classification_loss, map_loss, soft_labels
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.targets import render


def make_fabric(machine: MachineOptions) -> Fabric:
    """Fabric for one process on the chosen device."""
    device = choose_device(machine.device)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision at every start
    precision = "bf16-mixed" if uses_bf16(machine.precision, device) else "32-true"
    devices: Any = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=devices, precision=precision)


@dataclass(frozen=True)
class Setup:
    """What both recipes need besides network, data and options.

    Attributes:
        classes: K.
        ordinal: False for classes without an order, which take plain cross-entropy.
        normalisation: Mean and standard deviation of the input.
        seed: Seeds order and augmentation.
        machine: Device and precision.
        checkpoint: Where the state after an epoch goes (see `training.loop.fit`); a later call with the same inputs
            goes on from it.
        progress: See `training.loop.fit`.
    """

    classes: int
    ordinal: bool
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]]
    seed: int
    machine: MachineOptions
    checkpoint: Path
    progress: Progress | None = None


def train_phase1(network: Network, data: TrainingSet, options: TrainingOptions, setup: Setup) -> History:
    """Learn grades from images alone (the paper's phase 1).

    Args:
        network: As `build_network` hands it out; changed in place.
        data: Training photographs; those without a grade are drawn but add no loss.
        options: The recipe.
        setup: Classes, seed, machine, checkpoint.
    """
    kind = options.loss if setup.ordinal else "cross-entropy"

    def loss(output: Output, batch: Batch) -> dict[str, Tensor]:
        target = soft_labels(batch.labels, setup.classes, kind, options.smoothing)
        return {"grade": classification_loss(output, target)}

    rates = {
        "extractor": options.lr_extractor,
        "branches": options.lr_branches,
        "heads": options.lr_heads,
        "maps": options.lr_heads,
    }
    fabric = make_fabric(setup.machine)
    augment: Augmentation = "free" if options.augment else "none"
    feed = Feed(data, setup.classes, options.batch, setup.seed, options.sampling, augment, *setup.normalisation)
    identity = _identity(["phase1", kind], options, feed, network, setup.machine)
    plan = Plan(options, _groups(network, rates), loss, identity)
    return fit(network, _shared(feed, fabric), plan, fabric, setup.checkpoint, setup.progress)


def finetune(
    network: Network,
    data: TrainingSet,
    options: FinetuneOptions,
    phase1: TrainingOptions,
    setup: Setup,
    cache: FeatureCache | None = None,
) -> History:
    """Fine-tune the branches on corrections (equations 1 and 2).

    The extractor is frozen, weights and batch-norm statistics: the loop sees its features only.

    Args:
        network: The phase-1 model; changed in place.
        data: Training photographs with all corrections so far.
        options: The recipe.
        phase1: Phase 1's recipe; the grade's loss is the same.
        setup: Classes, seed, machine, checkpoint.
        cache: Keeps the features; same result without it.

    Raises:
        ModelError: The network has no attention branches.
    """
    if not isinstance(network, AttentionNetwork):
        raise ModelError("A plain network has no attention map to correct: train single-scale or multi-scale first.")
    kind = phase1.loss if setup.ordinal else "cross-entropy"

    def loss(output: Output, batch: Batch) -> dict[str, Tensor]:
        target = soft_labels(batch.labels, setup.classes, kind, phase1.smoothing)
        terms = {"grade": classification_loss(output, target)}
        if options.map_weight > 0 and batch.look is not None and batch.corrected is not None:
            grids = [(int(item.shape[2]), int(item.shape[3])) for item in output.maps]
            targets = render(batch.look, batch.avoid, batch.doubt, batch.edited, grids)
            terms["map"] = map_loss(output, targets, batch.corrected, options.map_weight, options.map_loss)
        return terms

    rates = {"branches": options.lr_branches, "heads": options.lr_branches, "maps": options.lr_maps}
    fabric = make_fabric(setup.machine)
    bf16 = uses_bf16(setup.machine.precision, fabric.device)
    frozen = FrozenFeatures(network.extractor, data.images, *setup.normalisation, fabric.device, bf16=bf16, cache=cache)
    feed = Feed(
        data,
        setup.classes,
        options.batch,
        setup.seed,
        phase1.sampling,
        options.augment,
        *setup.normalisation,
        frozen,
        options.replay,
    )
    identity = _identity(["finetune", kind, phase1.smoothing], options, feed, network, setup.machine)
    plan = Plan(options, _groups(network, rates), loss, identity)
    history = fit(TrainableBranches(network), _shared(feed, fabric), plan, fabric, setup.checkpoint, setup.progress)
    network.eval()
    return history


def _shared(feed: Feed, fabric: Fabric) -> Feed:
    """The feed with the fabric's rank and world size: 0 of 1, since `make_fabric` starts no other process."""
    return replace(feed, rank=fabric.global_rank, world=fabric.world_size)


def _groups(network: Network, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Parameter groups by learning rate; parameters of a group without a rate stay out (frozen)."""
    chosen: dict[str, list[torch.nn.Parameter]] = {group: [] for group in rates}
    for name, parameter in network.named_parameters():
        group = network.group_of(name)
        if group in chosen:
            chosen[group].append(parameter)
    return [{"params": chosen[group], "lr": rate} for group, rate in rates.items() if chosen[group]]


def _identity(
    recipe: Sequence[object],
    options: TrainingOptions | FinetuneOptions,
    feed: Feed,
    network: Network,
    machine: MachineOptions,
) -> str:
    """Hash of what decides the result; a checkpoint with another one is another run's.

    `recipe` is its name and what the other arguments do not say. Photographs count by every 16th pixel of every 16th
    row; masks, labels and weights by all bytes in order, since two corrections may have equal areas.
    """
    data = feed.data
    corrections = [data.look, data.corrected, data.avoid, data.doubt, data.edited]
    tensors = [data.images[:, ::16, ::16], data.labels, *corrections]
    contents = [None if tensor is None else _content(tensor) for tensor in tensors]
    weights = {name: _content(tensor) for name, tensor in network.state_dict().items()}
    settings = [feed.seed, feed.sampling, feed.classes, feed.mean, feed.std]
    # What the precision comes to, not its name: `auto` is another arithmetic on another device.
    settings.append(uses_bf16(machine.precision, choose_device(machine.device)))
    return digest([list(recipe), asdict(options), settings, len(data), contents, weights])


def _content(tensor: Tensor) -> str:
    """Hash of a tensor's values in order."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(values.numpy().tobytes(), digest_size=16).hexdigest()
