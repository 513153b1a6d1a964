"""States whole networks: `build_network` is the one place that says what a network is made of.

The default network: multi-scale on three blocks of ResNet18, at 224 px, for five classes. Copies share no memory:

    part          made of             output           parameters
    extractor 1   stem and layer1     64 x 56 x 56        157,504
    extractor 2   layer2              128 x 28 x 28       525,568
    extractor 3   layer3              256 x 14 x 14     2,099,712
    attention 1   copy of layer1.1    1 x 56 x 56          75,398
    attention 2   copy of layer2.1    1 x 28 x 28         297,990
    attention 3   copy of layer3.1    1 x 14 x 14       1,185,542
    perception 1  copy of layer2.0    128 x 28 x 28       230,789
    perception 2  copy of layer3.0    256 x 14 x 14       920,325
    perception 3  copy of layer4.0    512 x 7 x 7       3,675,653
    fusion        linear, 896 to 5    5                     4,485
    network                                             9,172,966

A branch's parameters include its small layers (see `network`): attention's reduction, class and map path, perception's
classifier. A perception branch's output is the grid that it pools.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

from regaze.errors import ModelError
from regaze.models.backbones import (
    TORCHVISION,
    Backbone,
    CutExtractor,
    Picture,
    SizeError,
    WholeExtractor,
    first_block,
    last_blocks,
    looks_around,
    timm_backbone,
    torchvision_backbone,
    unstride,
)
from regaze.models.branches import USUAL_MASS, AttentionBranch, PerceptionBranch, PyramidBranch
from regaze.models.network import AttentionNetwork, PlainNetwork
from regaze.models.options import NetworkOptions
from regaze.models.weights import LoadReport, load_weights

Network = AttentionNetwork | PlainNetwork


@dataclass
class Built:
    """A network with what its user must know.

    Attributes:
        network: In training mode, on the CPU, fp32.
        mean, std: Normalisation of the input, RGB in 0..1.
        report: What was taken from the weights, or None without weights.
    """

    network: Network
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    report: LoadReport | None


def build_network(options: NetworkOptions, classes: int, size: int = 224, seed: int = 0) -> Built:
    """Build a network, start its weights, and make sure that it takes images of the size.

    Args:
        options: Kind, backbone, weights and shape of the network.
        classes: Number of classes K, at least 2.
        size: Side of the input in cropped pixels.
        seed: Seeds the weights that nothing else starts; the caller's random state is left as it was.

    Raises:
        ModelError: Unknown backbone, too many scales, a size that the backbone cannot take, or weights that do not fit
            or cannot be reached.
    """
    if classes < 2:
        raise ModelError(f"A classifier needs at least 2 classes, the data has {classes}.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the caller's GPUs too
        try:
            backbone, network, report = _built(options, classes, size)
        except SizeError as error:
            raise ModelError(_other_size(options, classes, size, error)) from error
    return Built(network, backbone.mean, backbone.std, report)


def _built(options: NetworkOptions, classes: int, size: int) -> tuple[Backbone, Network, LoadReport | None]:
    """See `build_network`; raises `SizeError` where one image of zeros does not pass."""
    name = options.backbone
    backbone = torchvision_backbone(name) if name in TORCHVISION else timm_backbone(name, size)
    report = load_weights(backbone, options.weights, size)
    make = _plain if options.network == "plain" else _attention
    network = make(backbone, options, classes)
    network.eval()
    try:
        _pass(network, size)
    except _REFUSALS as error:
        raise SizeError((str(error).splitlines() or [type(error).__name__])[0][:100], network) from error
    network.train()
    return backbone, network, report


_REFUSALS = (RuntimeError, AssertionError, ValueError, IndexError)  # of a forward pass


def _pass(network: nn.Module, size: int) -> None:
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))


def _other_size(options: NetworkOptions, classes: int, size: int, refused: SizeError) -> str:
    """Why a size is refused, and the next one that the backbone takes."""
    steps = {-(-(size + 1) // step) * step for step in (8, 14, 16, 24, 32)}
    for other in sorted(each for each in steps | {96, 128, 224, 256, 299, 384} if each > size):
        try:
            if refused.network is not None:
                _pass(refused.network, other)
            else:  # built for one size
                _built(replace(options, weights="none"), classes, other)
        except (SizeError, ModelError, *_REFUSALS):
            continue
        return f"--size {size}: backbone {options.backbone} cannot take it ({refused}): pass --size {other}."
    return f"--size {size}: backbone {options.backbone} cannot take it ({refused}): choose another backbone."


def _plain(backbone: Backbone, options: NetworkOptions, classes: int) -> PlainNetwork:
    levels, picture = len(backbone.channels), _picture(backbone, options)
    if backbone.segments is None:
        extractor: nn.Module = WholeExtractor(backbone.whole, [levels - 1], levels, picture)
    else:
        extractor = CutExtractor(backbone.segments, len(backbone.segments) - 1, picture)
    return PlainNetwork(extractor, backbone.channels[-1], classes)


def _picture(backbone: Backbone, options: NetworkOptions) -> Picture | None:
    return Picture(backbone.mean, backbone.std) if options.bars == "masked" else None


def _blocks(backbone: Backbone, options: NetworkOptions) -> list[int]:
    """Indices of the segments whose features get branches.

    The extractor ends one segment before the backbone does (that segment seeds the deepest branches), so three scales
    of a ResNet sit behind layer1, layer2 and layer3; a fourth scale uses layer4 too, and so do branches without stages
    of their own.
    """
    levels = len(backbone.channels)
    scales = 1 if options.network == "single-scale" else options.scales
    if not 1 <= scales <= levels:
        raise ModelError(f"--scales {scales}: backbone {backbone.name} gives 1 to {levels} scales.")
    deepest = levels - 1 if scales < levels and options.perception != "none" else levels
    return list(range(deepest - scales, deepest))


def _attention(backbone: Backbone, options: NetworkOptions, classes: int) -> AttentionNetwork:
    blocks = _blocks(backbone, options)
    attention: list[AttentionBranch | PyramidBranch] = []
    perception: list[PerceptionBranch] = []
    for block in blocks:  # in this order, since a seed's initial weights are drawn by it
        if options.maps == "each":
            attention.append(_attention_branch(backbone, block, options, classes))
        stage, channels = _perception_stage(backbone, block, options.perception)
        perception.append(PerceptionBranch(stage, channels, classes, options.weighting))
    if options.maps == "one":
        attention.append(_pyramid(backbone, blocks, options, classes))
    fusion = None
    if options.fusion == "concat":
        fusion = nn.Linear(sum(branch.classify.in_features for branch in perception), classes)
    levels, picture = blocks[-1] + 1, _picture(backbone, options)
    if backbone.segments is None:
        assert backbone.up_to is not None  # only timm models cannot be cut
        extractor: nn.Module = WholeExtractor(backbone.up_to(levels), blocks, levels, picture)
    else:
        extractor = CutExtractor(backbone.segments[:levels], blocks[0], picture)
    return AttentionNetwork(extractor, attention, perception, fusion, classes)


def _attention_branch(backbone: Backbone, block: int, options: NetworkOptions, classes: int) -> AttentionBranch:
    width = max(classes, 16) if options.attention_width == "wide" else classes
    if options.perception == "none":
        stage, channels = _small_stage(backbone.channels[block]), _SMALL
    else:
        stage, channels = _attention_stage(backbone, block)
    branch = AttentionBranch(stage, channels, width, classes)
    if options.weighting != "residual":  # where the map alone decides what passes it starts at its usual mass
        _start_at_usual_mass(branch.map)
    return branch


def _pyramid(backbone: Backbone, blocks: Sequence[int], options: NetworkOptions, classes: int) -> PyramidBranch:
    """The attention of one map for all blocks.

    Raises:
        ModelError: The map would weigh features, which have another grid on each block.
    """
    if options.weighting not in ("evidence", "pooling"):
        raise ModelError(
            f"--maps one: one map weighs the cells of all blocks, and --weighting {options.weighting} weighs what each "
            "block's stage sees: pass --weighting pooling or --weighting evidence."
        )
    branch = PyramidBranch([backbone.channels[block] for block in blocks], _PYRAMID, classes)
    for path in branch.map:
        _start_at_usual_mass(path)
    return branch


def _start_at_usual_mass(path: nn.Module) -> None:
    assert isinstance(path, nn.Conv2d) and path.bias is not None
    nn.init.constant_(path.bias, math.log(USUAL_MASS / (1 - USUAL_MASS)))


def _attention_stage(backbone: Backbone, block: int) -> tuple[nn.Module, int]:
    """A residual block at stride 1 that starts from pretrained weights.

    First choice: the last residual block of the block's own stage, which keeps grid and channels and costs a third of
    the next one; then the first block of the next stage made to keep the grid; then a fresh residual block. (The
    official ABN has one scale and copies the whole last stage; on the finest of three scales that is most of the
    network's arithmetic.)
    """
    channels = backbone.channels[block]
    segments = backbone.segments or []
    candidates: list[nn.Module] = []
    if block < len(segments):
        candidates += [copy.deepcopy(module) for module in last_blocks(segments[block])]
    if block + 1 < len(segments):
        candidates.append(unstride(copy.deepcopy(first_block(segments[block + 1]))))
    for stage in candidates:
        # Squeeze-and-excitation, MLPs and bare poolings keep the grid too, but a map needs a look at the neighbours.
        shape = _shape_behind(stage, channels) if looks_around(stage) else None
        if shape is not None and shape[1:] == (_PROBE, _PROBE):
            return stage, shape[0]
    return BasicBlock(channels, channels), channels


_PYRAMID = 24  # channels of a pyramid, whose finest cells are most of its arithmetic
_SMALL = 64  # channels of the stage of an attention branch without a copy of one of the backbone's


def _small_stage(channels: int) -> nn.Module:
    """A fresh stage that keeps the grid, at a tenth of a copied one's arithmetic."""
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, _SMALL, 1, bias=False),
        nn.BatchNorm2d(_SMALL),
        nn.ReLU(inplace=True),
        nn.Conv2d(_SMALL, _SMALL, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _perception_stage(backbone: Backbone, block: int, depth: str) -> tuple[nn.Module, int]:
    """The segments that follow the block; fresh where the backbone cannot be cut.

    `light`: the next segment. `block`: its first residual block only, which already has the stage's stride and width
    and costs half of it; the whole segment where such a block does not exist (AlexNet) or does not take the features.
    """
    channels = backbone.channels[block]
    if depth == "none":  # the block's own cells, brought to one spread, so that one rate suits all
        return nn.BatchNorm2d(channels, affine=False), channels
    if backbone.segments is None:
        wider = backbone.channels[min(block + 1, len(backbone.channels) - 1)]
        shortcut = nn.Sequential(conv1x1(channels, wider, 2), nn.BatchNorm2d(wider))
        return BasicBlock(channels, wider, stride=2, downsample=shortcut), wider
    following = backbone.segments[block + 1 :]
    if depth != "full":
        following = following[:1]
    if not following:
        return nn.Identity(), channels
    if depth == "block":
        stage = copy.deepcopy(first_block(following[0]))
        shape = _shape_behind(stage, channels)
        if shape is not None:
            return stage, shape[0]
    stage = nn.Sequential(*(copy.deepcopy(segment) for segment in following))
    return stage, backbone.channels[block + len(following)]


_PROBE = 24


def _shape_behind(stage: nn.Module, channels: int) -> Sequence[int] | None:
    """(C, H, W) that the stage makes of (channels, 24, 24), or None where it does not take them."""
    training = stage.training
    stage.eval()
    try:
        with torch.no_grad():
            return tuple(stage(torch.zeros(1, channels, _PROBE, _PROBE)).shape[1:])
    except (RuntimeError, TypeError, ValueError):
        return None
    finally:
        stage.train(training)
