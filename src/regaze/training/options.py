"""Options of the two recipes. Importing this module imports no torch.

Where the defaults come from: pooled patient-wise out-of-fold predictions on IDRiD's training half (docs/results.md:
recipe, fine-tuning). Phase 1's loss, sampling, averaging, extractor's rate and length, the decoding, and fine-tuning's
length, rates, replay, map loss and augmentation were each set against alternatives; phase 1's rates of branches and
heads are the method's first trial's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Experts = Literal["latest", "majority", "staple"]
MapLoss = Literal["norm", "mse", "l1", "bce", "dice", "energy", "outside"]


@dataclass(frozen=True)
class TrainingOptions:
    """Phase 1: learn grades from images alone."""

    epochs: int = 10
    """Passes over the training part."""
    batch: int = 16
    """Images per step."""
    loss: Literal["cross-entropy", "ordinal"] = "cross-entropy"
    """cross-entropy: the paper's. ordinal: soft labels that spread over neighbouring grades (classes without an order
    always take cross-entropy)."""
    smoothing: float = 0.1
    """Share of the label spread over all classes, 0 to 1 (label smoothing)."""
    decoding: Literal["median", "expected", "argmax"] = "median"
    """From probabilities to a grade: median, the rounded expected value, or the most probable class (classes without an
    order always take argmax)."""
    sampling: Literal["square-root", "balanced", "natural"] = "square-root"
    """How often a class is drawn: by the square root of its share, equally, or as it comes."""
    lr_extractor: float = 3e-4
    """Peak learning rate of the feature extractor."""
    lr_branches: float = 1e-3
    """Peak learning rate of the branches' stages."""
    lr_heads: float = 1e-3
    """Peak learning rate of the layers that start from nothing."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    averaging: float = 0.97
    """Decay per step of the weights' moving average that becomes the model; 0: off."""
    augment: bool = True
    """Flips, rotation, scale and mild colour changes."""


@dataclass(frozen=True)
class FinetuneOptions:
    """Fine-tuning on corrections: the paper's equations 1 and 2."""

    epochs: int = 8
    """Passes over the training part."""
    batch: int = 16
    """Images per step."""
    map_weight: float = 5.0
    """λ of the map loss; λ_l = λ / sqrt(H_l·W_l) per block. 0: fine-tune equally long without it (the control)."""
    map_loss: MapLoss = "norm"
    """norm: the paper's. mse, l1, bce, dice: other distances. energy: share of the map outside the lesions. outside:
    only suppress what lies outside."""
    lr_branches: float = 6e-4
    """Peak learning rate of the branches and heads."""
    lr_maps: float = 5e-3
    """Peak learning rate of the convolution that makes the map."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    averaging: float = 0.97
    """Decay per step of the weights' moving average that becomes the model; 0: off."""
    tolerance: float = 0.0
    """How far a drawn edge may be off, in pixels of the network's square; within it nothing is claimed."""
    match_sizes: bool = False
    """Small lesions teach the fine map, large ones the coarse map; off: every map shows every lesion."""
    experts: Experts = "latest"
    """Several experts on one photograph: latest takes the last word, whoever had it; majority and staple (Warfield
    2004) take the latest of each expert together."""
    authors: tuple[str, ...] = ()
    """Weights of authors' corrections as NAME=WEIGHT; 1 where nothing is said."""
    replay: float = 0.5
    """Share of the photographs without a correction that each epoch draws, above 0 to 1."""
    augment: Literal["turns", "free", "none"] = "turns"
    """turns: flips and quarter turns, whose features are cached. free: as in phase 1, computed each time. none."""
