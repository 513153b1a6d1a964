"""The networks: plain, and the Attention Branch Network on one or several scales.

Shapes: B batch, K classes, S scales (finest first), C_l channels and (H_l, W_l) map cells of block l.

Sources: the paper (section 2.1 and figure 3); Fukui et al., "Attention Branch Network", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from regaze.errors import ModelError
from regaze.models.backbones import masks_bars
from regaze.models.branches import AttentionBranch, PerceptionBranch, PyramidBranch
from regaze.models.cells import NOTHING, grid_of, pooled, to_grid, weights, without_bars

Group = Literal["extractor", "branches", "heads", "maps"]
_Item = TypeVar("_Item")


@dataclass
class Output:
    """A network's output for a batch.

    Where bars are masked (see `NetworkOptions.bars`), maps and evidence are 0 in cells that hold none of the picture.

    Attributes:
        logits: (B, K) logits of the final grade.
        map_logits: S tensors (B, 1, H_l, W_l): the maps before the sigmoid. Where maps were given to `forward`, their
            logits. For a plain network: its class activation map (see `PlainNetwork`), in evaluation mode only.
        maps: S tensors (B, 1, H_l, W_l) in 0..1.
        own_logits: As `map_logits`, but the network's own, whatever was given; then `Look.aids`.
        own_maps: As `maps`, likewise.
        attention_logits: S tensors (B, K), the attention branches' own grades.
        perception_logits: One (B, K) per block, the perception branches' own grades.
        vector: (B, sum of C), what the blocks' perception branches pooled, joined: the fusion sees it; None for a plain
            network.
        evidence: S tensors (B, K, h_l, w_l), in evaluation mode only: what each cell adds to `logits`, signed. The sum
            over cells and scales, and the network's `bias()`, are the logits. On the map's cells where the network
            weighs evidence, else on those that the perception branch pools (a plain network: on its features' cells).
    """

    logits: Tensor
    map_logits: list[Tensor] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)
    attention_logits: list[Tensor] = field(default_factory=list)
    perception_logits: list[Tensor] = field(default_factory=list)
    own_logits: list[Tensor] = field(default_factory=list)
    own_maps: list[Tensor] = field(default_factory=list)
    evidence: list[Tensor] = field(default_factory=list)
    vector: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """Where an attention network looks of its own accord, which follows from the features alone; all finest first.

    Attributes:
        maps: S tensors (B, 1, H_l, W_l) in 0..1.
        map_logits: The same before the sigmoid.
        attention_logits: S tensors (B, K), the attention branches' own grades.
        pictures: S tensors (B, 1, H_l, W_l) in 0..1, how much of each cell is picture; None: all of it.
        aids: Where one map serves several blocks, the map logits of the coarser ones, which only the map loss sees.
    """

    maps: list[Tensor]
    map_logits: list[Tensor]
    attention_logits: list[Tensor]
    pictures: list[Tensor | None]
    aids: list[Tensor] = field(default_factory=list)

    def with_map(self, scale: int, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """A scale's map and its logits, where another map (B, 1, H_l, W_l) is given; NaN in it keeps the own value."""
        own_map, own_logits = self.maps[scale], self.map_logits[scale]
        if given is None:
            return own_map, own_logits
        mixed = torch.where(given.isnan(), own_map, given.to(own_map.dtype))
        logits = torch.where(given.isnan(), own_logits, torch.logit(mixed, eps=NOTHING))
        return without_bars(mixed, logits, self.pictures[scale])


class AttentionNetwork(nn.Module):
    """Attention Branch Network on S blocks of one extractor (S = 1: the single-scale ABN), or one map (S = 1) for all.

    The extractor passes on un-weighted features, so that freezing it is exact (the paper leaves this open).

    Args:
        extractor: images -> list of the blocks' features, finest first; before them the picture, where it masks bars.
        attention: One branch per block, or one pyramid on all of them.
        perception: One branch per block.
        fusion: Linear layer over the joined vectors, or None for the mean of the perception branches' logits.
        classes: K.
    """

    def __init__(
        self,
        extractor: nn.Module,
        attention: Sequence[AttentionBranch | PyramidBranch],
        perception: Sequence[PerceptionBranch],
        fusion: nn.Linear | None,
        classes: int,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.attention = nn.ModuleList(attention)
        self.perception = nn.ModuleList(perception)
        self.fusion = fusion
        self.classes = classes
        self.masks_bars = masks_bars(extractor)

    @property
    def scales(self) -> int:
        """Number of maps."""
        return len(self.attention)

    @torch.no_grad()
    def grids(self, side: int) -> list[tuple[int, int]]:
        """(h, w) of every scale's map of a square of `side` cropped pixels, finest first; changes nothing."""
        modes = {module: module.training for module in self.extractor.modules()}  # a frozen part rests on its own
        images = torch.zeros(1, 3, side, side, device=next(self.parameters()).device)
        features = self.extractor.eval()(images)
        for module, mode in modes.items():
            module.training = mode
        return [grid_of(item) for item in self.blocks(features)[: self.scales]]

    def forward(self, images_B3HW: Tensor, maps: Sequence[Tensor | None] | None = None) -> Output:
        """Grade a batch of images.

        Args:
            images_B3HW: Normalised images.
            maps: One entry per scale, finest first: a map (B, 1, H_l, W_l) in 0..1 that replaces the model's own (the
                paper's figure 1), NaN where a cell keeps the model's own value, or None to keep the whole.

        Raises:
            ModelError: The number or the shape of the given maps does not fit.
        """
        return self.branches(self.extractor(images_B3HW), maps)

    def branches(self, features: Sequence[Tensor], maps: Sequence[Tensor | None] | None = None) -> Output:
        """The part behind the extractor; `features` as the extractor hands them out, `maps` as `forward` takes them."""
        return self.grade(features, self.look(features), maps)

    def look(self, features: Sequence[Tensor]) -> Look:
        """The attention branches: the network's own maps, for features as the extractor hands them out."""
        blocks = self.blocks(features)
        grids = [grid_of(item) for item in blocks[: self.scales]]
        look = Look([], [], [], [to_grid(features[0], grid) if self.masks_bars else None for grid in grids])
        for features_l, picture, attention in zip(blocks, look.pictures, self.attention, strict=False):
            if isinstance(attention, PyramidBranch):
                attention_logits, (own_logits, *aids) = attention(blocks, picture)
                look.aids.extend(aids)
            else:
                attention_logits, own_logits = attention(features_l, picture)
            own_map, own_logits = without_bars(torch.sigmoid(own_logits), own_logits, picture)
            look.maps.append(own_map)
            look.map_logits.append(own_logits)
            look.attention_logits.append(attention_logits)
        return look

    def grade(self, features: Sequence[Tensor], look: Look, maps: Sequence[Tensor | None] | None = None) -> Output:
        """The perception branches and the fusion, which see the features through the maps.

        Args:
            features: As the extractor hands them out.
            look: What `look` says of them.
            maps: As `forward` takes them.

        Raises:
            ModelError: The number or the shape of the given maps does not fit.
        """
        blocks = self.blocks(features)
        self._check(maps, blocks)
        weighing = [look.with_map(scale, given) for scale, given in enumerate(maps or [None] * self.scales)]
        output = Output(
            logits=blocks[0].new_empty(0),
            maps=[attention_map for attention_map, _ in weighing],
            map_logits=[map_logits for _, map_logits in weighing],
            attention_logits=look.attention_logits,
            own_maps=[*look.maps, *map(torch.sigmoid, look.aids)],
            own_logits=[*look.map_logits, *look.aids],
        )
        vectors: list[Tensor] = []
        cells: list[Tensor] = []
        for features_l, map_l, picture, perception in zip(
            blocks, self.of_blocks(output.maps), self.of_blocks(look.pictures), self.perception, strict=True
        ):
            perception_logits, vector, cells_l = perception(features_l, map_l, picture)
            output.perception_logits.append(perception_logits)
            vectors.append(vector)
            cells.append(cells_l)
        output.vector = torch.cat(vectors, dim=1)
        output.logits = self.fused(output.vector, output.perception_logits)
        if not self.training:
            with torch.autocast(output.logits.device.type, enabled=False):
                shares = self._evidence(cells, self.of_blocks(output.maps), self.of_blocks(look.pictures))
                output.evidence = shares if len(shares) == self.scales else [torch.stack(shares).sum(dim=0)]
        return output

    def blocks(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """The blocks' features among what the extractor hands out, finest first."""
        return features[int(self.masks_bars) :]

    def fused(self, vector_BD: Tensor, perception_logits: Sequence[Tensor]) -> Tensor:
        """(B, K) logits of the final grade, from the perception branches' joined vectors or from their logits."""
        if self.fusion is None:
            return torch.stack(list(perception_logits)).mean(dim=0)
        logits: Tensor = self.fusion(vector_BD)
        return logits

    def of_blocks(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """What belongs to each block's map, where one map may be that of all."""
        return items if len(items) == len(self.perception) else list(items) * len(self.perception)

    def bias(self) -> Tensor:
        """(K,) the logits without any evidence."""
        if self.fusion is not None:
            return self.fusion.bias
        return torch.stack([branch.classify.bias for branch in self.perception_branches()]).mean(dim=0)

    def perception_branches(self) -> list[PerceptionBranch]:
        """The perception branches, finest first."""
        return [branch for branch in self.perception if isinstance(branch, PerceptionBranch)]

    def _evidence(
        self, cells: Sequence[Tensor], maps: Sequence[Tensor], pictures: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """See `Output.evidence`."""
        branches = self.perception_branches()
        if self.fusion is not None:
            classifiers = torch.split(self.fusion.weight, [branch.classify.in_features for branch in branches], dim=1)
        else:
            classifiers = tuple(branch.classify.weight / len(branches) for branch in branches)
        parts = zip(branches, cells, maps, pictures, classifiers, strict=True)
        return [branch.evidence(cells_l, map_l, picture, weight) for branch, cells_l, map_l, picture, weight in parts]

    def _check(self, maps: Sequence[Tensor | None] | None, features: Sequence[Tensor]) -> None:
        if maps is None:
            return
        if len(maps) != self.scales:
            raise ModelError(f"{len(maps)} maps were given to a network with {self.scales} scales: give one per scale.")
        for index, (given, features_l) in enumerate(zip(maps, features, strict=False)):
            expected = (features_l.shape[0], 1, *features_l.shape[2:])
            if given is not None and tuple(given.shape) != expected:
                raise ModelError(
                    f"The map given for scale {index + 1} has shape {tuple(given.shape)}: expected {expected}."
                )

    def group_of(self, name: str) -> Group:
        """Which learning rate a parameter takes (see `training.options`)."""
        if name.startswith("extractor."):
            return "extractor"
        if ".map." in name:
            return "maps"
        return "branches" if ".stage." in name else "heads"


class TrainableBranches(nn.Module):
    """The part of an attention network that fine-tuning trains; it shares its modules with the network.

    Args:
        network: The network; what of its extractor is not in `moving` is not part of this module, so nothing here can
            change it.
        moving: The extractor's last segments that are trained, too; see `backbones.CutExtractor.split`.
    """

    def __init__(self, network: AttentionNetwork, moving: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.moving = nn.ModuleList(moving)
        self.attention = network.attention
        self.perception = network.perception
        self.fusion = network.fusion
        self._masks_bars = network.masks_bars
        self._blocks = len(network.perception)
        self._branches = network.branches  # a bound method: does not register the network as a child

    def forward(self, features: Sequence[Tensor], maps: Sequence[Tensor | None] | None = None) -> Output:
        """Grade from what the frozen extractor hands out; `maps` as the network takes them."""
        picture, blocks = list(features[: int(self._masks_bars)]), list(features)
        for segment in self.moving:
            blocks.append(segment(blocks[-1]))
        return self._branches([*picture, *blocks[-self._blocks :]], maps)


class PlainNetwork(nn.Module):
    """Backbone -> global average pool -> linear classifier.

    For a network of this form the class activation map (Zhou et al., CVPR 2016) is exact and equals Grad-CAM up to its
    scale; in evaluation mode `Output.map_logits` holds it for the arg-max class and `maps` the same brought to 0..1
    (negative evidence cut off, divided by the maximum).
    """

    scales = 1

    def __init__(self, extractor: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.classify = nn.Linear(channels, classes)
        self.classes = classes
        self.masks_bars = masks_bars(extractor)

    def forward(self, images_B3HW: Tensor, maps: Sequence[Tensor | None] | None = None) -> Output:
        """Grade a batch of images.

        Raises:
            ModelError: Maps were given; a plain network has no attention to replace.
        """
        if maps is not None:
            raise ModelError("A plain network has no attention maps to replace: use single-scale or multi-scale.")
        return self.branches(self.extractor(images_B3HW))

    def branches(self, handed_out: Sequence[Tensor]) -> Output:
        """The part behind the extractor, named as in an attention network; `handed_out` by the extractor."""
        features = handed_out[-1]
        picture = to_grid(handed_out[0], grid_of(features)) if self.masks_bars else None
        logits = self.classify(pooled(features, picture))
        if self.training:
            return Output(logits)
        weights_BC = self.classify.weight[logits.argmax(dim=1)]
        # In fp32 also under autocast (einsum would be cast to bfloat16), for the reason given in AttentionBranch.
        with torch.autocast(features.device.type, enabled=False):
            activation = torch.einsum("bc,bchw->bhw", weights_BC.float(), features.float()).unsqueeze(1)
            evidence = torch.einsum("kc,bchw->bkhw", self.classify.weight.float(), features.float())
        if picture is not None:
            activation = activation.masked_fill(picture == 0, 0.0)
        positive = functional.relu(activation)
        peak = positive.amax(dim=(2, 3), keepdim=True).clamp_min(1e-12)
        shares = evidence * weights(features, picture)
        return Output(logits, map_logits=[activation], maps=[positive / peak], evidence=[shares])

    def bias(self) -> Tensor:
        """(K,) the logits without any evidence."""
        return self.classify.bias

    def group_of(self, name: str) -> Group:
        """Which learning rate a parameter takes."""
        return "extractor" if name.startswith("extractor.") else "heads"


def fuse(maps: Sequence[Tensor], side: int | None = None) -> Tensor:
    """The fused map: the mean of all scales' maps, each brought bilinearly to `side`.

    Args:
        maps: S tensors (B, 1, H_l, W_l) in 0..1, finest first.
        side: Wanted height and width (cropped pixels or map cells); None: the finest map's.

    Returns:
        (B, side, side) float32 in 0..1.
    """
    size = (side or maps[0].shape[2],) * 2
    large = [functional.interpolate(item.float(), size=size, mode="bilinear", align_corners=False) for item in maps]
    return torch.stack(large).mean(dim=0).squeeze(1)
