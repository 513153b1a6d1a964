"""Explainers that need one forward pass and no library: attention maps, evidence, and the class activation map.

Shapes: B batch, S side of the cropped square, C channels, (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regaze.explanation.job import Job, enlarge
from regaze.models.evidence import spread
from regaze.models.network import AttentionNetwork, Output, PlainNetwork, fuse


def attention(job: Job, scale: int | None = None) -> Tensor:
    """The attention maps of an ABN before their sigmoid.

    They belong to no class: the network has one map per block, whatever it grades.

    Args:
        job: The network is an `AttentionNetwork`.
        scale: Index of one block's map, 0 = finest; None: the fused one.

    Returns:
        (B, S, S) float32, log-odds.
    """
    network = job.predictor.network
    assert isinstance(network, AttentionNetwork)
    with job.predictor.precision():
        map_logits = network(job.images).map_logits
    return log_odds(map_logits if scale is None else [map_logits[scale]], job.side)


def log_odds(map_logits: Sequence[Tensor], side: int) -> Tensor:
    """Log-odds of the fused map.

    The fused map f (`models.network.fuse`: mean over the scales of the enlarged sigmoid maps) is what the project
    shows, stores and judges, so its order is the one to keep; the mean of the logits would be another order. But f
    saturates: in float32 sigmoid(17) is 1, and everything above it ties. log f - log(1 - f) rises strictly with f, and
    since sigmoid(-z) = 1 - sigmoid(z) and enlarging and averaging are linear, 1 - f is the fused map of the negated
    logits. Both are small where they are near 0 instead of rounded near 1, so no two cells tie whose logits differ by
    more than float32's own rounding. With one scale it is that scale's logit wherever pixel and cell centre coincide.

    Args:
        map_logits: Tensors (B, 1, h, w) float, one per scale.
        side: Wanted height and width in cropped pixels.

    Returns:
        (B, side, side) float32; finite for logits within +-87 (beyond them float32 has no sigmoid but 0).
    """
    logits = [item.float() for item in map_logits]
    smallest = torch.finfo(torch.float32).tiny
    inside = fuse([torch.sigmoid(item) for item in logits], side).clamp_min(smallest)
    outside = fuse([torch.sigmoid(-item) for item in logits], side).clamp_min(smallest)
    return inside.log() - outside.log()


def evidence(job: Job) -> Tensor:
    """What each pixel adds to the logit of the class, over all scales: `Output.evidence`, spread over cropped pixels.

    Returns:
        (B, S, S) float32, signed; the sum and the network's `bias()` are the logit.
    """
    with job.predictor.precision():
        output: Output = job.predictor.network(job.images)
    rows = torch.arange(len(job.classes), device=job.classes.device)
    return spread([item[rows, job.classes] for item in output.evidence], job.side)


def class_activation(job: Job) -> Tensor:
    """Class activation map of a plain network, negative evidence included.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2: the features' sum,
    weighted by the classifier's weights of the class. In fp32 behind the extractor, as `PlainNetwork` computes it.

    Returns:
        (B, S, S) float32.
    """
    network = job.predictor.network
    assert isinstance(network, PlainNetwork)
    with job.predictor.precision():
        features_BChw = network.extractor(job.images)[-1]
    weights_BC = network.classify.weight[job.classes]
    evidence_Bhw = torch.einsum("bc,bchw->bhw", weights_BC.float(), features_BChw.float())
    return enlarge(evidence_Bhw, job.side)
