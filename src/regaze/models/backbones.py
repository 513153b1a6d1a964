"""Backbones cut into four segments, so that blocks, branches and the plain network are built from the same pieces.

Invariant: `segments[0..3]` applied in turn give the backbone's feature maps; segment l + 1 is the stage that seeds the
branches behind block l. Where a timm model cannot be cut, `segments` is None and the branches start fresh.

Shapes: B batch, C channels, H height, W width (map cells).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import timm.models
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from regaze.errors import ModelError
from regaze.models.cells import DARK, find_picture, to_grid

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION = ("alexnet", "resnet18", "resnet34", "resnet50")
_PROBE_SIDE = 128


class SizeError(Exception):
    """A network does not take images of a size, and why.

    Attributes:
        network: The network, where it could be built: other sizes may pass it.
    """

    def __init__(self, reason: str, network: nn.Module | None = None) -> None:
        super().__init__(reason)
        self.network = network


@dataclass
class Backbone:
    """A backbone as the builder needs it.

    Attributes:
        name: As the user wrote it.
        whole: The module that holds all weights under the names that weight files use.
        segments: Four modules that share `whole`'s weights, or None where the model cannot be cut.
        channels: Channels behind each segment (or feature level).
        mean, std: Normalisation of the input, RGB in 0..1.
        up_to: Where the model cannot be cut: makes a copy that ends behind so many levels, counted from the finest.
    """

    name: str
    whole: nn.Module
    segments: list[nn.Sequential] | None
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    up_to: Callable[[int], nn.Module] | None = None


def torchvision_backbone(name: str) -> Backbone:
    """One of `TORCHVISION`, without weights.

    ResNet: stem and layer1 | layer2 | layer3 | layer4. AlexNet: conv1 | conv2 | conv3 | conv4 and conv5, each behind
    the pooling that precedes it. `whole` has no classifier: it would fix AlexNet's image size, and a weights file's
    classifier would be reported as taken.
    """
    whole = getattr(torchvision_models, name)(weights=None)
    if name == "alexnet":
        layers = list(whole.features)
        cuts = [layers[:2], layers[2:5], layers[5:8], layers[8:12]]
        segments = [nn.Sequential(*cut) for cut in cuts]
        channels: tuple[int, ...] = (64, 192, 384, 256)
        whole.classifier = nn.Identity()
    else:
        stem = [whole.conv1, whole.bn1, whole.relu, whole.maxpool]
        segments = [nn.Sequential(*stem, *whole.layer1)]
        segments += [nn.Sequential(*layer) for layer in (whole.layer2, whole.layer3, whole.layer4)]
        width = whole.fc.in_features
        channels = (width // 8, width // 4, width // 2, width)
        whole.fc = nn.Identity()
    return Backbone(name, whole, segments, channels, IMAGENET_MEAN, IMAGENET_STD)


@cache
def count_parameters(name: str) -> int:
    """How many numbers a backbone has, without taking memory for them; 0 where nothing but building it tells."""
    if name in TORCHVISION or not timm.is_model(_timm_name(name).split(".")[0]):
        return 0
    try:
        with torch.device("meta"):
            return sum(each.numel() for each in timm.create_model(_timm_name(name), num_classes=0).parameters())
    except (RuntimeError, NotImplementedError, AttributeError, AssertionError, TypeError, ValueError):
        return 0


def timm_backbone(name: str, size: int, pretrained: bool = False) -> Backbone:
    """Any timm model that gives feature maps; the four deepest levels are used.

    Args:
        name: A timm model name, optionally with its tag (`resnet10t.c3_in1k`), as the hub spells it
            (`hf-hub:timm/resnet10t.c3_in1k`), or an older version's (`tf_efficientnet_b0_ns`).
        size: Side of the input in cropped pixels; models with a fixed input (ViT, Swin) are built for it.
        pretrained: Download the hub's weights.

    Raises:
        ModelError: The name is unknown, or the model gives fewer than two levels of feature maps.
        SizeError: A model with a fixed input cannot be built for the size.
    """
    asked, name = name, _timm_name(name)
    if not timm.is_model(name.split(".")[0]):
        close = timm.list_models(f"*{name.split('.')[0][:6]}*")[:3]
        hint = f"; close names: {', '.join(close)}" if close else ""
        raise ModelError(
            f"Unknown backbone {asked!r}: expected one of {', '.join(TORCHVISION)} or a timm model name{hint}."
        )
    try:
        config = timm.get_pretrained_cfg(name).to_dict()
    except RuntimeError as error:  # the model is known, its tag is not
        raise ModelError(f"Unknown backbone {name!r} ({error}): leave out the tag or give one of timm's.") from error
    shape = {"img_size": size} if config.get("fixed_input_size") else {}
    try:
        model, levels_used = _feature_model(name, pretrained, shape)
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        if pretrained:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        if shape and "features_only" not in reason:
            raise SizeError(reason) from error
        raise ModelError(f"Backbone {name!r} gives no feature maps ({reason}): choose another timm model.") from error
    info = [model.feature_info.info[index] for index in levels_used]
    if len(info) < 2:
        raise ModelError(f"Backbone {name!r} gives {len(info)} level of feature maps, at least 2 are needed.")
    channels = tuple(int(item["num_chs"]) for item in info)
    segments = _cut(model, [str(item["module"]) for item in info], size if shape else _PROBE_SIDE)

    def up_to(levels: int) -> nn.Module:
        short: nn.Module = timm.create_model(name, features_only=True, out_indices=levels_used[:levels], **shape)
        short.load_state_dict(model.state_dict(), strict=False)  # it has no deeper levels
        return short

    return Backbone(asked, model, segments, channels, tuple(config["mean"]), tuple(config["std"]), up_to)


def _timm_name(name: str) -> str:
    """Today's plain name of a timm model: without the hub's prefixes, and without those of earlier versions."""
    plain = re.sub(r"^(hf[-_]hub:)?(timm/)?", "", name)
    return timm.models.get_deprecated_models().get(plain) or plain


def _feature_model(name: str, pretrained: bool, shape: dict[str, int]) -> tuple[Any, list[int]]:
    """A model of timm's that gives features, and the indices of the four (or fewer) of its levels that are used."""
    model: Any = timm.create_model(name, pretrained=pretrained, features_only=True, **shape)
    info = list(model.feature_info.info)
    chosen = list(range(len(info)))[-4:]
    if len(info) > 4 and len({item["reduction"] for item in info}) == 1:
        # A vision transformer: every block has one and the same grid; take four spread over its depth.
        chosen = [len(info) * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    if list(model.feature_info.out_indices)[-len(chosen) :] != chosen:
        model = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=chosen, **shape)
    return model, chosen


def _cut(model: nn.Module, ends: Sequence[str], side: int) -> list[nn.Sequential] | None:
    """Cut a sequential timm model behind each module in `ends`; None where that does not reproduce its features."""
    pieces: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        inner = [end for end in ends if end.startswith(f"{name}.")]
        if inner and isinstance(child, nn.Sequential):
            pieces += [(f"{name}_{key}", part) for key, part in child.named_children()]
        else:
            pieces.append((name, child))
    names = [name for name, _ in pieces]
    wanted = [end.replace(".", "_") for end in ends]
    if any(end not in names for end in wanted):
        return None
    segments, start = [], 0
    for end in wanted:
        stop = names.index(end) + 1
        segments.append(nn.Sequential(*(piece for _, piece in pieces[start:stop])))
        start = stop
    return segments if _reproduces(model, segments, side) else None


def _reproduces(model: nn.Module, segments: Sequence[nn.Module], side: int) -> bool:
    """True where running the segments in turn gives the model's own features (NCHW) on a probe image."""
    if _channels_last_format(model):  # Swin's would be equal, but its stages do not take NCHW features
        return False
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            features: Tensor = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            expected = model(features)[-len(segments) :]
            for segment, want in zip(segments, expected, strict=True):
                features = segment(features)
                if features.shape != want.shape or not torch.allclose(features, want, atol=1e-5):
                    return False
            return True
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return False
    finally:
        model.train(training)


def _channels_last_format(model: nn.Module) -> bool:
    return str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")


class Picture(nn.Module):
    """What of the square is picture, for an extractor that tells it to the branches.

    Args:
        mean, std: Normalisation of the input, RGB in 0..1.
    """

    dark: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        levels = [(DARK - middle) / spread for middle, spread in zip(mean, std, strict=True)]
        # Follows from the card, and a model's file holds weights: not part of the state.
        self.register_buffer("dark", torch.tensor(levels).view(3, 1, 1), persistent=False)
        self._levels = levels

    def extra_repr(self) -> str:
        """Part of the feature cache's key."""
        return f"dark={self._levels}"

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the images (B, 3, H, W) and the picture (B, 1, H, W) float32 in 0..1.

        Bars become 0, which is what a convolution pads with, so that a picture looks more alike whether a bar or the
        square's border lies beside it: between crops of 12 of IDRiD's photographs at the border and 32 of 224 px from
        it, the mean of the distilled ResNet18's layer3 moves 1.3 times their spread with black bars, .8 times with
        these.

        Args:
            images_BCHW: (B, 3, H, W) normalised, whose picture is found; or (B, 4, H, W), whose last channel is the
                picture: training turns and enlarges images, and behind that it cannot be found any more.
        """
        if images_BCHW.shape[1] == 3:
            picture = find_picture(images_BCHW, self.dark)
            return images_BCHW * picture, picture
        picture = images_BCHW[:, 3:]
        return (images_BCHW[:, :3] * picture).contiguous(memory_format=torch.channels_last), picture


def masks_bars(extractor: nn.Module) -> bool:
    """True where the extractor hands out what of the square is picture, before the blocks' features."""
    return getattr(extractor, "picture", None) is not None


class CutExtractor(nn.Module):
    """Feature extractor made of a backbone's first segments.

    Args:
        segments: Segments up to the deepest block.
        first: Index of the first block whose features are handed out.
        picture: Where bars are masked.
    """

    def __init__(self, segments: Sequence[nn.Module], first: int, picture: Picture | None = None) -> None:
        super().__init__()
        self.segments = nn.ModuleList(segments)
        self.first = first
        self.picture = picture

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        """Features of the blocks, finest first: a list of (B, C_l, H_l, W_l).

        Where bars are masked, (B, 1, H, W) comes before them: how much of each cell of the finest is picture.
        """
        return _handed_out(self.picture, images_B3HW, self._blocks)

    def _blocks(self, images_B3HW: Tensor) -> list[Tensor]:
        features, handed_out = images_B3HW, []
        for index, segment in enumerate(self.segments):
            features = segment(features)
            if index >= self.first:
                handed_out.append(features)
        return handed_out

    def split(self, moving: int) -> tuple[CutExtractor, list[nn.Module]]:
        """The extractor without its last `moving` segments, handing out what these need, and those segments.

        Args:
            moving: 0 to one less than there are segments.
        """
        kept = len(self.segments) - moving
        shorter = CutExtractor(list(self.segments[:kept]), min(self.first, kept - 1), self.picture)
        return shorter, list(self.segments[kept:])


class WholeExtractor(nn.Module):
    """A timm feature model that cannot be cut; computes all its levels and hands out the chosen ones."""

    def __init__(self, model: nn.Module, blocks: Sequence[int], levels: int, picture: Picture | None = None) -> None:
        super().__init__()
        self.model = model
        self.blocks = tuple(blocks)
        self.levels = levels
        self.picture = picture

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        """As `CutExtractor` hands them out."""
        return _handed_out(self.picture, images_B3HW, self._blocks)

    def _blocks(self, images_B3HW: Tensor) -> list[Tensor]:
        features = self.model(images_B3HW)[-self.levels :]
        if _channels_last_format(self.model):
            features = [item.permute(0, 3, 1, 2).contiguous() for item in features]
        return [features[index] for index in self.blocks]


def _handed_out(picture: Picture | None, images_B3HW: Tensor, blocks: Callable[[Tensor], list[Tensor]]) -> list[Tensor]:
    """The blocks' features; where bars are masked, how much of each cell of the finest is picture comes first."""
    if picture is None:
        return blocks(images_B3HW)
    images_B3HW, picture_B1HW = picture(images_B3HW)
    features = blocks(images_B3HW)
    return [to_grid(picture_B1HW, (features[0].shape[2], features[0].shape[3])), *features]


def unstride(stage: nn.Module) -> nn.Module:
    """Make a stage keep its input's grid: strided convolutions get stride 1, poolings become the identity.

    Changes `stage` in place (hand in a copy) and returns it. A strided convolution with an even kernel (ConvNeXt's
    downsampling) cannot keep the grid; the caller checks.
    """
    for name, child in list(stage.named_children()):
        if isinstance(child, nn.MaxPool2d | nn.AvgPool2d):
            setattr(stage, name, nn.Identity())
            continue
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1:
            child.stride = (1, 1)
            if "Same" not in type(child).__name__:
                child.padding = tuple(k // 2 for k in child.kernel_size)
        unstride(child)
    return stage


def first_block(segment: nn.Sequential) -> nn.Sequential:
    """The segment's leading modules up to and including its first block with two or more convolutions.

    The paper's attention branch is a residual stage; one block of it costs half, and is what the
    method's first trial used. Where no such block exists (AlexNet) this is the whole segment.
    """
    leading: list[nn.Module] = []
    for module in _flat(segment):
        leading.append(module)
        if _convolutions(module) >= 2:
            break
    return nn.Sequential(*leading)


def last_blocks(segment: nn.Sequential) -> list[nn.Module]:
    """The segment's last module with two or more convolutions, and the same inside it; the deepest first.

    ResNet: the last residual block. ConvNeXt: the last block inside the stage. The caller checks which of them keeps
    grid and channels.
    """
    blocks: list[nn.Module] = []
    inner: nn.Module = segment
    while children := [child for child in inner.children() if _convolutions(child) >= 2]:
        inner = children[-1]
        blocks.insert(0, inner)
    return blocks


def looks_around(module: nn.Module) -> bool:
    """True where the module has a convolution over more than one cell."""
    return any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1 for part in module.modules())


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _flat(module: nn.Sequential) -> list[nn.Module]:
    flat: list[nn.Module] = []
    for child in module:
        flat += _flat(child) if type(child) is nn.Sequential else [child]
    return flat
