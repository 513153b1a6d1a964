"""The two kinds of branches on a block of the extractor: one shows where it looks, one grades what that lets pass.

Shapes: B batch, K classes, C channels and (H, W) map cells of a block, (h, w) cells that a perception branch pools.

Sources: the paper (section 2.1 and figure 3); Fukui et al., "Attention Branch Network", CVPR 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regaze.models.cells import brought, grid_of, nearest, pooled, to_grid, weights
from regaze.models.options import Weighting

# Mean of a map that leaves the features' size as it is, where the map alone decides what passes (`gate`, `evidence`).
# A constant and not each map's own mean: many lesions must count more than one.
USUAL_MASS = 0.25
# Mean of a map so faint that half of a grade by `pooling` rests on nothing, which is the bias.
FAINT_MASS = 1e-4


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
        vector = self.pool(cells, map_B1HW, picture_B1HW)
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

    def pool(self, cells_BChw: Tensor, map_B1HW: Tensor, picture_B1HW: Tensor | None) -> Tensor:
        """(B, C): the mean of the cells, where the map weighs these by what it gives each."""
        if not self.weighs_cells:
            return pooled(cells_BChw, to_grid(picture_B1HW, grid_of(cells_BChw)))
        weight = brought(self._share(map_B1HW, picture_B1HW), picture_B1HW, grid_of(cells_BChw))
        return pooled(cells_BChw * weight.to(cells_BChw.dtype))

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
