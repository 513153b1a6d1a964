"""Options of the network. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NetworkKind = Literal["plain", "single-scale", "multi-scale"]
Precision = Literal["auto", "bf16", "fp32"]
Decoding = Literal["median", "expected", "argmax"]


@dataclass(frozen=True)
class NetworkOptions:
    """What the network looks like and where its weights start."""

    network: NetworkKind = "multi-scale"
    """plain: backbone and classifier. single-scale: ABN on the deepest block. multi-scale: ABN on every block."""
    backbone: str = "resnet18"
    """alexnet, resnet18, resnet34, resnet50 (torchvision), or the name of any timm model that gives feature maps."""
    weights: str = "none"
    """none: start from scratch. hub or hub:TAG: pretrained weights from the model hub. Else a .safetensors file."""
    scales: int = 3
    """Number of blocks of a multi-scale network, 1 to 4, counted from the deepest of the extractor's blocks."""
    perception: Literal["block", "light", "full"] = "block"
    """Depth of a perception branch: block: the next stage's first block. light: that stage. full: all that follow."""
    fusion: Literal["concat", "mean"] = "concat"
    """Final grade: a linear layer over the branches' joined vectors, or the mean of their logits."""
    attention_width: Literal["wide", "faithful"] = "wide"
    """Channels of the attention branch before the map. wide: max(classes, 16). faithful: classes, as the ABN's."""


@dataclass(frozen=True)
class MachineOptions:
    """Where and how the arithmetic is done."""

    precision: Precision = "auto"
    """auto: bf16 where the processor computes it natively, else fp32. bf16 or fp32: as it says."""
    device: str = "auto"
    """auto, cpu, cuda, mps, or cuda:0 and the like."""
    workers: int = 2
    """Processes or threads that decode photographs."""
    cache: str = "4GB"
    """Most that the frozen extractor's features may take on the disk, least recently used out first; 0: none kept."""
