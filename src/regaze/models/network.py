"""The networks: plain, and the Attention Branch Network on one or several scales.

Shapes: B batch, K classes, S scales (finest first), C_l channels and (H_l, W_l) map cells of block l.

Sources: the paper (section 2.1 and figure 3); Fukui et al., "Attention Branch Network", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from regaze.errors import ModelError
from regaze.models.backbones import masks_bars
from regaze.models.cells import NOTHING, brought, grid_of, nearest, pooled, to_grid, weights, without_bars
from regaze.models.options import Weighting

Group = Literal["extractor", "branches", "heads", "maps"]

# Mean of a map that leaves the features' size as it is, where the map alone decides what passes (`gate`, `evidence`).
# A constant and not each map's own mean: many lesions must count more than one.
USUAL_MASS = 0.25
# Mean of a map so faint that half of a grade by `pooling` rests on nothing, which is the bias.
FAINT_MASS = 1e-4


@dataclass
class Output:
    """A network's output for a batch.

    Where bars are masked (see `NetworkOptions.bars`), maps and evidence are 0 in cells that hold none of the picture.

    Attributes:
        logits: (B, K) logits of the final grade.
        map_logits: S tensors (B, 1, H_l, W_l): the maps before the sigmoid. Where maps were given to `forward`, their
            logits. For a plain network: its class activation map (see `PlainNetwork`), in evaluation mode only.
        maps: S tensors (B, 1, H_l, W_l) in 0..1.
        own_logits: As `map_logits`, but the network's own, whatever was given.
        own_maps: As `maps`, likewise.
        attention_logits: S tensors (B, K), the attention branches' own grades.
        perception_logits: S tensors (B, K), the perception branches' own grades.
        vector: (B, C_1 + .. + C_S), what the perception branches pooled, joined: the fusion sees it; None for a plain
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


class AttentionBranch(nn.Module):
    """Grades from a block's features and shows where it looked.

    stage at stride 1 -> BN -> 1x1 conv -> BN -> ReLU = a; class path: a -> 1x1 conv -> global average pool; map path:
    a -> 3x3 conv -> sigmoid.

    Deviations from the official ABN: the map path has a bias instead of a batch norm before the sigmoid (with batch
    norm the map loss hardly moved the maps, see docs/design.md), and `width` channels instead of K in a (with K = 5
    dead ReLUs can make the map constant); `attention_width="faithful"` restores the latter.
    """

    def __init__(self, stage: nn.Module, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.stage = stage
        self.reduce = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.classify = nn.Conv2d(width, classes, 1)
        self.map = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, features_BCHW: Tensor, picture_B1HW: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns logits (B, K) and map logits (B, 1, H, W); `picture_B1HW`: how much of each cell is picture."""
        hidden = self.reduce(self.stage(features_BCHW))
        logits = pooled(self.classify(hidden), picture_B1HW)
        # The map in fp32 also under autocast: bfloat16's 8 bits would tie cells that deletion and insertion rank.
        with torch.autocast(hidden.device.type, enabled=False):
            return logits, self.map(hidden.float())


class PerceptionBranch(nn.Module):
    """Grades from what the map lets through; hands out its pooled vector for the fusion, and the cells it pools.

    `residual`: the stage sees (1 + M) F, the paper's and the ABN's: what the map leaves out passes, too. `gate`: the
    stage sees M F, scaled by `USUAL_MASS`. `evidence`: the stage sees F, and its cells are weighed by M where they are
    pooled, so that each cell's share in the grade is exact (sparse BagNets, Djoumessi et al. 2023, have that form
    without a map of its own). `pooling`: likewise, but each cell weighs M's share in M's sum, which is the attention
    pooling of multiple-instance learning (Ilse et al. 2018); an empty map leaves the bias.
    """

    def __init__(self, stage: nn.Module, channels: int, classes: int, weighting: Weighting = "residual") -> None:
        super().__init__()
        self.stage = stage
        self.classify = nn.Linear(channels, classes)
        self.weighting = weighting

    def forward(
        self, features_BCHW: Tensor, map_B1HW: Tensor, picture_B1HW: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits (B, K), the pooled vector (B, C), and the cells (B, C, h, w) that it pools.

        Args:
            features_BCHW: The block's.
            map_B1HW: In 0..1.
            picture_B1HW: How much of each of the map's cells is picture; None: all of it.
        """
        cells = self.cells(features_BCHW, map_B1HW)
        if self.weighs_cells:
            weight = brought(self._share(map_B1HW, picture_B1HW), picture_B1HW, grid_of(cells))
            vector = pooled(cells * weight.to(cells.dtype))
        else:
            vector = pooled(cells, to_grid(picture_B1HW, grid_of(cells)))
        return self.classify(vector), vector, cells

    def cells(self, features_BCHW: Tensor, map_B1HW: Tensor) -> Tensor:
        """(B, C, h, w): what the stage makes of the features, behind the map where the map weighs these."""
        weight = map_B1HW.to(features_BCHW.dtype)  # in fp32, autocast would only round it again, for 3 % of a step
        if self.weighting == "residual":
            features_BCHW = torch.addcmul(features_BCHW, weight, features_BCHW)  # (1 + M) F
        elif self.weighting == "gate":
            features_BCHW = features_BCHW * (weight / USUAL_MASS)
        cells: Tensor = self.stage(features_BCHW)
        return cells

    def evidence(self, cells_BChw: Tensor, map_B1HW: Tensor, picture_B1HW: Tensor | None, weights_KC: Tensor) -> Tensor:
        """(B, K, ...) float32: what each cell adds to logits that are `weights_KC` times the pooled vector."""
        shares = torch.einsum("kc,bchw->bkhw", weights_KC.float(), cells_BChw.float())
        if not self.weighs_cells:
            return shares * weights(cells_BChw, to_grid(picture_B1HW, grid_of(cells_BChw)))
        rows, columns = nearest(map_B1HW, grid_of(cells_BChw))
        weight = self._share(map_B1HW, picture_B1HW) * weights(map_B1HW, picture_B1HW)
        return shares[:, :, rows][:, :, :, columns] * weight

    @property
    def weighs_cells(self) -> bool:
        """Whether the map weighs the cells that are pooled, and not what the stage sees."""
        return self.weighting in ("evidence", "pooling")

    def _share(self, map_B1HW: Tensor, picture_B1HW: Tensor | None) -> Tensor:
        """(B, 1, H, W) float32: what a cell counts where the cells are weighed, 1 for one of usual weight."""
        map_B1HW = map_B1HW.float()
        if self.weighting == "evidence":
            return map_B1HW / USUAL_MASS
        return map_B1HW / (pooled(map_B1HW, picture_B1HW).view(-1, 1, 1, 1) + FAINT_MASS)


class AttentionNetwork(nn.Module):
    """Attention Branch Network on S blocks of one extractor (S = 1: the single-scale ABN).

    The extractor passes on un-weighted features, so that freezing it is exact (the paper leaves this open).

    Args:
        extractor: images -> list of S feature tensors, finest first; before them the picture, where it masks bars.
        attention, perception: One branch per block.
        fusion: Linear layer over the joined vectors, or None for the mean of the perception branches' logits.
        classes: K.
    """

    def __init__(
        self,
        extractor: nn.Module,
        attention: Sequence[AttentionBranch],
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
        return [grid_of(item) for item in features[-self.scales :]]

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
        blocks = features[int(self.masks_bars) :]
        self._check(maps, blocks)
        given_maps = [None] * self.scales if maps is None else maps
        pictures = [to_grid(features[0], grid_of(item)) if self.masks_bars else None for item in blocks]
        output = Output(logits=blocks[0].new_empty(0))
        vectors: list[Tensor] = []
        cells: list[Tensor] = []
        for features_l, picture, attention, perception, given in zip(
            blocks, pictures, self.attention, self.perception, given_maps, strict=True
        ):
            attention_logits, own_logits = attention(features_l, picture)
            own_map, own_logits = without_bars(torch.sigmoid(own_logits), own_logits, picture)
            map_logits, attention_map = own_logits, own_map
            if given is not None:
                attention_map = torch.where(given.isnan(), own_map, given.to(own_map.dtype))
                map_logits = torch.where(given.isnan(), own_logits, torch.logit(attention_map, eps=NOTHING))
                attention_map, map_logits = without_bars(attention_map, map_logits, picture)
            perception_logits, vector, cells_l = perception(features_l, attention_map, picture)
            vectors.append(vector)
            cells.append(cells_l)
            output.own_logits.append(own_logits)
            output.own_maps.append(own_map)
            output.map_logits.append(map_logits)
            output.maps.append(attention_map)
            output.attention_logits.append(attention_logits)
            output.perception_logits.append(perception_logits)
        output.vector = torch.cat(vectors, dim=1)
        if self.fusion is None:
            output.logits = torch.stack(output.perception_logits).mean(dim=0)
        else:
            output.logits = self.fusion(output.vector)
        if not self.training:
            with torch.autocast(output.logits.device.type, enabled=False):
                output.evidence = self._evidence(cells, output.maps, pictures)
        return output

    def bias(self) -> Tensor:
        """(K,) the logits without any evidence."""
        if self.fusion is not None:
            return self.fusion.bias
        return torch.stack([branch.classify.bias for branch in self._perception()]).mean(dim=0)

    def _perception(self) -> list[PerceptionBranch]:
        return [branch for branch in self.perception if isinstance(branch, PerceptionBranch)]

    def _evidence(
        self, cells: Sequence[Tensor], maps: Sequence[Tensor], pictures: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """See `Output.evidence`."""
        branches = self._perception()
        if self.fusion is not None:
            classifiers = torch.split(self.fusion.weight, [branch.classify.in_features for branch in branches], dim=1)
        else:
            classifiers = tuple(branch.classify.weight / self.scales for branch in branches)
        parts = zip(branches, cells, maps, pictures, classifiers, strict=True)
        return [branch.evidence(cells_l, map_l, picture, weight) for branch, cells_l, map_l, picture, weight in parts]

    def _check(self, maps: Sequence[Tensor | None] | None, features: Sequence[Tensor]) -> None:
        if maps is None:
            return
        if len(maps) != self.scales:
            raise ModelError(f"{len(maps)} maps were given to a network with {self.scales} scales: give one per scale.")
        for index, (given, features_l) in enumerate(zip(maps, features, strict=True)):
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
        self._branches = network.branches  # a bound method: does not register the network as a child

    def forward(self, features: Sequence[Tensor], maps: Sequence[Tensor | None] | None = None) -> Output:
        """Grade from what the frozen extractor hands out; `maps` as the network takes them."""
        picture, blocks = list(features[: int(self._masks_bars)]), list(features)
        for segment in self.moving:
            blocks.append(segment(blocks[-1]))
        return self._branches([*picture, *blocks[-len(self.attention) :]], maps)


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
