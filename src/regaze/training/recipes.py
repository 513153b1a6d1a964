"""The two recipes: phase 1 (grades alone) and fine-tuning on corrections. Both call the one loop."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from regaze.errors import ModelError, OptionError
from regaze.files import digest, identity
from regaze.models.backbones import CutExtractor
from regaze.models.build import Network
from regaze.models.device import choose_device, uses_bf16
from regaze.models.features import FeatureCache, FrozenFeatures
from regaze.models.network import AttentionNetwork, Output, TrainableBranches
from regaze.models.options import MachineOptions
from regaze.training.batches import Augmentation, Batch, Feed, TrainingSet
from regaze.training.loop import History, Plan, Progress, fit
from regaze.training.losses import classification_loss, map_loss, soft_labels
from regaze.training.options import FinetuneOptions, SupervisionOptions, TrainingOptions
from regaze.training.refit import check_refit, refit
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


# Share of the epochs before teacher maps come: a map that has not been learned yet is nothing to stand in for.
_TEACHER_START = 1 / 3


def train_phase1(
    network: Network,
    data: TrainingSet,
    options: TrainingOptions,
    setup: Setup,
    supervision: SupervisionOptions | None = None,
    cache: FeatureCache | None = None,
) -> History:
    """Learn grades from images (the paper's phase 1), and maps beside them where there are corrections to learn from.

    With an extractor's rate of 0 the extractor is frozen, weights and batch-norm statistics, as `finetune` has it: the
    loop sees its features only, and augmentation is by flips and quarter turns.

    Args:
        network: As `build_network` hands it out; changed in place.
        data: Training photographs; those without a grade are drawn but add no loss.
        options: The recipe.
        setup: Classes, seed, machine, checkpoint.
        supervision: What is learned from the data's corrections, from the first step; None: nothing.
        cache: Keeps the features of a frozen extractor; same result without it.

    Raises:
        ModelError: Corrections, or a frozen extractor, for a network without attention branches.
    """
    kind = options.loss if setup.ordinal else "cross-entropy"
    rates = {
        "extractor": options.lr_extractor,
        "branches": options.lr_branches,
        "heads": options.lr_heads,
        "maps": options.lr_maps or options.lr_heads,
    }
    fabric = make_fabric(setup.machine)
    augment: Augmentation = "free" if options.augment else "none"
    trained: nn.Module = network
    frozen = None
    if options.refit > 0:
        check_refit(network)
    if options.lr_extractor == 0:
        if not isinstance(network, AttentionNetwork):
            raise ModelError(
                "A plain network whose extractor is frozen (--lr-extractor 0) is the linear probe that evaluate sets "
                "beside every model: pass --network multi-scale, or a rate above 0."
            )
        trained, augment = TrainableBranches(network), "turns" if options.augment else "none"
        rates.pop("extractor")
        frozen = _frozen(network.extractor, data, setup, fabric, cache)
        if augment == "none":
            frozen.prepare()
    feed = Feed(data, setup.classes, options.batch, setup.seed, options.sampling, augment, *setup.normalisation)
    feed = replace(feed, frozen=frozen, colour_jitter=options.colour_jitter, bars_masked=network.masks_bars)
    recipe: list[object] = ["phase1", kind]
    loss = partial(_loss, setup=setup, kind=kind, smoothing=options.smoothing, supervision=supervision)
    if supervision is not None:
        feed = _with_teacher(feed, network, supervision, options.epochs)
        recipe.append(identity(supervision))
    plan = Plan(options, _groups(network, rates), loss, _identity(recipe, options, feed, network, setup.machine))
    history = fit(trained, _shared(feed, fabric), plan, fabric, setup.checkpoint, setup.progress)
    _finish(network, trained, feed, options, fabric)
    return history


def finetune(
    network: Network,
    data: TrainingSet,
    options: FinetuneOptions,
    phase1: TrainingOptions,
    setup: Setup,
    cache: FeatureCache | None = None,
) -> History:
    """Fine-tune the branches on corrections (equations 1 and 2).

    The extractor is frozen, weights and batch-norm statistics: the loop sees its features only. `unfreeze` lets its
    last blocks move.

    Args:
        network: The phase-1 model; changed in place.
        data: Training photographs with all corrections so far.
        options: The recipe.
        phase1: Phase 1's recipe; the grade's loss is the same.
        setup: Classes, seed, machine, checkpoint.
        cache: Keeps the features; same result without it.

    Raises:
        ModelError: The network has no attention branches.
        OptionError: More blocks are to move than the extractor has.
    """
    if not isinstance(network, AttentionNetwork):
        raise ModelError("A plain network has no attention map to correct: train single-scale or multi-scale first.")
    kept, moving = _split(network, options.unfreeze)
    kind = phase1.loss if setup.ordinal else "cross-entropy"
    rates = {"branches": options.lr_branches, "heads": options.lr_branches, "maps": options.lr_maps}
    rates |= {"extractor": options.lr_extractor} if moving else {}
    fabric = make_fabric(setup.machine)
    frozen = _frozen(kept, data, setup, fabric, cache)
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
        phase1.colour_jitter,
        bars_masked=network.masks_bars,
    )
    words = ["finetune", kind, phase1.smoothing, *([phase1.refit] if phase1.refit else [])]
    recipe = _identity(words, options, feed, network, setup.machine)
    feed = _with_teacher(feed, network, options, options.epochs)
    loss = partial(_loss, setup=setup, kind=kind, smoothing=phase1.smoothing, supervision=options)
    branches = TrainableBranches(network, moving)
    plan = Plan(options, _groups(network, rates, within=branches), loss, recipe)
    history = fit(branches, _shared(feed, fabric), plan, fabric, setup.checkpoint, setup.progress)
    _finish(network, branches, feed, phase1, fabric)
    return history


def _finish(network: Network, trained: nn.Module, feed: Feed, phase1: TrainingOptions, fabric: Fabric) -> None:
    """Leave the network in evaluation mode, its last layer fitted anew where phase 1's recipe says so."""
    network.eval()
    if phase1.refit > 0:
        assert isinstance(network, AttentionNetwork) and network.fusion is not None
        refit(trained, network.fusion, feed, phase1.refit, fabric)


def _frozen(
    extractor: nn.Module, data: TrainingSet, setup: Setup, fabric: Fabric, cache: FeatureCache | None
) -> FrozenFeatures:
    """What a frozen extractor makes of the photographs."""
    bf16 = uses_bf16(setup.machine.precision, fabric.device)
    return FrozenFeatures(extractor, data.images, *setup.normalisation, fabric.device, bf16=bf16, cache=cache)


def _shared(feed: Feed, fabric: Fabric) -> Feed:
    """The feed with the fabric's rank and world size: 0 of 1, since `make_fabric` starts no other process."""
    return replace(feed, rank=fabric.global_rank, world=fabric.world_size)


def _split(network: AttentionNetwork, unfreeze: int) -> tuple[nn.Module, list[nn.Module]]:
    """The part of the extractor that stays frozen, and the segments behind it that move.

    Raises:
        ModelError: An extractor of one piece is to move in part.
        OptionError: No block would stay frozen.
    """
    extractor = network.extractor
    if unfreeze == 0:
        return extractor, []
    if not isinstance(extractor, CutExtractor):
        raise ModelError(
            f"--unfreeze {unfreeze}: this backbone cannot be cut into blocks; leave it out, or learn from the first "
            "step with `regaze train --corrections`."
        )
    if unfreeze >= len(extractor.segments):
        raise OptionError(
            f"--unfreeze {unfreeze}: the extractor has {len(extractor.segments)} blocks, so expected 0 to "
            f"{len(extractor.segments) - 1}; `regaze train --corrections` trains all of them."
        )
    return extractor.split(unfreeze)


def _loss(
    output: Output,
    batch: Batch,
    *,
    setup: Setup,
    kind: Literal["ordinal", "cross-entropy"],
    smoothing: float,
    supervision: SupervisionOptions | None,
) -> dict[str, Tensor]:
    """Equation 1, with the map's term where the batch has corrections."""
    target = soft_labels(batch.labels, setup.classes, kind, smoothing)
    terms = {"grade": classification_loss(output, target)}
    if supervision is None or supervision.map_weight == 0 or batch.look is None or batch.corrected is None:
        return terms
    grids = [(int(item.shape[2]), int(item.shape[3])) for item in output.own_maps]
    targets = render(batch.look, batch.avoid, batch.doubt, batch.edited, grids, batch.sure)
    terms["map"] = map_loss(output, targets, batch.corrected, supervision.map_weight, supervision.map_loss)
    return terms


def _with_teacher(feed: Feed, network: Network, supervision: SupervisionOptions, epochs: int) -> Feed:
    """The feed with teacher maps, where they are asked for.

    Raises:
        ModelError: The network has no attention branches.
    """
    if not isinstance(network, AttentionNetwork):
        raise ModelError("A plain network has no attention map to correct: train single-scale or multi-scale.")
    if supervision.teacher_maps == 0:
        return feed
    grids, start = network.grids(feed.data.images.shape[1]), round(_TEACHER_START * epochs)
    return replace(feed, teacher=supervision.teacher_maps, teacher_from=start, grids=grids)


def _groups(network: Network, rates: dict[str, float], within: nn.Module | None = None) -> list[dict[str, Any]]:
    """Parameter groups by learning rate; a parameter without a rate, or outside `within`, stays out (frozen)."""
    chosen: dict[str, list[nn.Parameter]] = {group: [] for group in rates}
    trained = None if within is None else set(within.parameters())
    for name, parameter in network.named_parameters():
        group = network.group_of(name)
        if group in chosen and (trained is None or parameter in trained):
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
    if data.sure is not None:
        corrections.append(data.sure)
    tensors = [data.images[:, ::16, ::16], data.labels, *corrections]
    contents = [None if tensor is None else _content(tensor) for tensor in tensors]
    weights = {name: _content(tensor) for name, tensor in network.state_dict().items()}
    settings: list[Any] = [feed.seed, feed.sampling, feed.classes, feed.mean, feed.std]
    # What the precision comes to, not its name: `auto` is another arithmetic on another device.
    settings.append(uses_bf16(machine.precision, choose_device(machine.device)))
    if feed.colour_jitter != "mild":
        settings.append(feed.colour_jitter)
    if feed.bars_masked:
        settings.append("bars masked")
    return digest([list(recipe), identity(options), settings, len(data), contents, weights])


def _content(tensor: Tensor) -> str:
    """Hash of a tensor's values in order."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(values.numpy().tobytes(), digest_size=16).hexdigest()
