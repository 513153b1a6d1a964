"""Options of the network and of the machine. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

NetworkKind = Literal["plain", "single-scale", "multi-scale"]
Weighting = Literal["residual", "gate", "evidence", "pooling"]
Precision = Literal["auto", "bf16", "fp32"]
Decoding = Literal["median", "expected", "argmax"]


@dataclass(frozen=True)
class NetworkOptions:
    """Architecture and initial weights."""

    network: NetworkKind = "multi-scale"
    """plain: backbone and classifier. single-scale: ABN on the deepest block. multi-scale: ABN on --scales blocks."""
    backbone: str = "resnet18"
    """alexnet, resnet18, resnet34, resnet50 (torchvision), or the name of any timm model that gives feature maps."""
    weights: str = "none"
    """none: random. hub or hub:TAG: pretrained weights, downloaded from the model hub. Else a .safetensors file."""
    scales: int = 3
    """Number of attention branches of a multi-scale network, 1 to 4, from the extractor's deepest block upwards."""
    perception: Literal["block", "light", "full", "none"] = "block"
    """Depth of a perception branch: block: the next stage's first block. light: that stage. full: all that follow.
    none: no branch has stages of its own, and the blocks reach down to the backbone's last."""
    weighting: Weighting = field(default="residual", metadata={"before": "residual"})
    """How the map M weighs the features g. residual: (1 + M) g, the paper's. gate: M g, nothing passes beside the map.
    evidence: the grade is the sum of the cells' class evidence, each weighed by the map. pooling: likewise, by the
    cell's share in the map: where it looks counts, and how much it lights up does not."""
    maps: Literal["each", "one"] = field(default="each", metadata={"before": "each"})
    """each: every block has a map of its own. one: a single map on the finest block's cells, made from all blocks and
    weighing the cells of all; with --weighting evidence or pooling."""
    fusion: Literal["concat", "mean"] = "concat"
    """Final grade: a linear layer over the branches' joined vectors, or the mean of their logits."""
    attention_width: Literal["wide", "faithful"] = "wide"
    """Channels of the attention branch before the map. wide: max(classes, 16). faithful: classes, as the ABN's."""
    bars: Literal["seen", "masked"] = field(default="masked", metadata={"before": "seen"})
    """Bars that pad a photograph to a square. masked: no map reaches into them, and no branch counts their cells. seen:
    they count as picture, so that a photograph's shape may tell its grade."""


@dataclass(frozen=True)
class MachineOptions:
    """Device, precision, workers, feature cache."""

    precision: Precision = "auto"
    """bf16, fp32, or auto: bf16 where the processor computes it natively, else fp32."""
    device: str = "auto"
    """auto, cpu, mps, cuda, or one of several GPUs: cuda:0, cuda:1 ..."""
    workers: int = 2
    """Processes or threads that decode photographs."""
    cache: str = "4GB"
    """Disk budget of the feature cache (LRU), e.g. 500MB; 0 disables it."""
