"""Options of the two recipes. Importing this module imports no torch.

Where the defaults come from: pooled patient-wise out-of-fold predictions on IDRiD's training half (docs/results.md:
recipe, fine-tuning). Phase 1's loss, sampling, averaging, extractor's rate and length, the decoding, and fine-tuning's
length, rates, replay, map loss and augmentation were each set against alternatives; phase 1's rates of branches and
heads are the method's first trial's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

Experts = Literal["latest", "majority", "staple"]
MapLoss = Literal["norm", "mse", "l1", "bce", "dice", "energy", "outside"]


@dataclass(frozen=True)
class TrainingOptions:
    """Phase 1: learn grades from photographs alone."""

    epochs: int = 10
    """Passes over the training part, 1 or more."""
    batch: int = 16
    """Photographs per step, 2 or more."""
    loss: Literal["cross-entropy", "ordinal"] = "cross-entropy"
    """cross-entropy: the paper's. ordinal: soft labels that spread over neighbouring grades (ordered classes only)."""
    smoothing: float = 0.1
    """Label smoothing: share of the label spread over all classes, 0 to 1."""
    decoding: Literal["median", "expected", "argmax"] = "median"
    """From probabilities to a grade: median, rounded expected value (ordered classes only), or most probable class
    (argmax)."""
    sampling: Literal["square-root", "balanced", "natural"] = "square-root"
    """How often a class is drawn: by the square root of its share, equally, or by its share."""
    lr_extractor: float = 3e-4
    """Peak learning rate of the feature extractor; 0: it stays frozen, and its features are computed once."""
    lr_branches: float = 1e-3
    """Peak learning rate of the branches' stages."""
    lr_heads: float = 1e-3
    """Peak learning rate of the randomly initialised layers."""
    lr_maps: float = field(default=0.0, metadata={"before": 0.0})
    """Peak learning rate of the convolution that outputs the map; 0: that of the other heads. Maps learned
    from corrections need a larger one."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    averaging: float = 0.97
    """Decay per step of the moving average of the weights that becomes the model, 0 to 0.9999; 0: off."""
    augment: bool = True
    """Flips, rotation, scale and changes of colour; flips and quarter turns where the extractor is frozen."""
    colour_jitter: Literal["mild", "strong"] = field(default="mild", metadata={"before": "mild"})
    """How far augmentation changes colours. mild: brightness, contrast and saturation by up to 15 %. strong: by up to
    40 %, and each channel's gain and gamma by up to 20 %."""
    refit: float = field(default=0.0, metadata={"before": 0.0})
    """Strength C, above 0, of an L2-regularised logistic regression that fits the last layer anew when the epochs are
    over, in fine-tuning too, with the expert's maps by their share (--teacher-maps); 0: it stays as trained."""


@dataclass(frozen=True)
class SupervisionOptions:
    """What is learned from corrections, and from whose."""

    map_weight: float = 2.0
    """Weight λ of the map loss, 0 or more; λ / sqrt(H·W) for a map of H·W cells. 0: without the loss."""
    map_loss: MapLoss = "norm"
    """norm: the paper's. mse, l1, bce, dice: other distances. energy: share of the map outside the lesions. outside:
    only what lies outside."""
    teacher_maps: float = field(default=0.0, metadata={"before": 0.0})
    """Share of the corrected photographs on which the perception branches see the expert's map in place of the model's,
    0 to 1, from a third of the epochs on: they learn to grade from a right map."""
    box_weight: float = field(default=1.0, metadata={"before": 1.0})
    """What a cell in a box counts in the map loss beside one in a drawn outline or mask, 0 to 1: a box says where a
    lesion is, and not which of its cells are the lesion."""
    tolerance: float = 0.0
    """Uncertainty of a drawn edge in pixels of the network's input, 0 or more; cells within it carry no loss."""
    match_sizes: bool = False
    """Small lesions supervise the fine map, large ones the coarse map; off: all lesions supervise every map."""
    experts: Experts = "latest"
    """Several experts on one photograph. latest: the last correction. majority, staple (Warfield 2004): consensus of
    each expert's last."""
    authors: tuple[str, ...] = ()
    """Weights of authors' corrections as NAME=WEIGHT; 1 for all others."""

    @property
    def learns(self) -> bool:
        """Whether anything is learned from corrections; a control learns nothing of them."""
        return self.map_weight > 0 or self.teacher_maps > 0

    def control(self) -> Self:
        """The same but for what is learned from corrections."""
        return replace(self, map_weight=0.0, teacher_maps=0.0)


@dataclass(frozen=True)
class FinetuneOptions(SupervisionOptions):
    """Fine-tuning on corrections: the paper's equations 1 and 2."""

    epochs: int = 8
    """Passes over the training part, 1 or more."""
    batch: int = 16
    """Photographs per step, 2 or more."""
    map_weight: float = 5.0
    """Weight λ of the map loss, 0 or more; λ / sqrt(H·W) for a map of H·W cells. 0: the control, without the loss."""
    lr_branches: float = 6e-4
    """Peak learning rate of the branches and heads."""
    lr_maps: float = 5e-3
    """Peak learning rate of the convolution that outputs the map."""
    lr_extractor: float = field(default=3e-5, metadata={"before": 3e-5})
    """Peak learning rate of the extractor's blocks that --unfreeze lets move."""
    unfreeze: int = field(default=0, metadata={"before": 0})
    """Number of the extractor's deepest blocks that move, too; 0: none, and their features are computed once."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    averaging: float = 0.97
    """Decay per step of the moving average of the weights that becomes the model, 0 to 0.9999; 0: off."""
    replay: float = 0.5
    """Share of the uncorrected photographs drawn in each epoch, above 0 to 1."""
    augment: Literal["turns", "free", "none"] = "turns"
    """turns: flips and quarter turns, with cached features. free: as in phase 1, computed each time. none: none."""
