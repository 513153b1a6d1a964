"""The last layer fitted anew: a logistic regression on what the perception branches pool.

A few hundred photographs do not hold a linear layer of as many numbers back by steps of gradient descent, and what it
learns first of a camera stays (Kirichenko et al., "Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations", ICLR 2023, fit it anew, too). An L2-regularised fit has one optimum, whatever the order of photographs.

Shapes: N photographs, D pooled numbers, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from regaze.errors import ModelError
from regaze.models.build import Network
from regaze.models.network import AttentionNetwork
from regaze.models.predictor import evaluating
from regaze.training.batches import Feed

_STEPS = 1000
_ABSENT = -10.0  # bias of a class that no photograph has, below the least other one


def check_refit(network: Network) -> None:
    """Refuse a network without a layer over joined vectors.

    Raises:
        ModelError: As said.
    """
    if not isinstance(network, AttentionNetwork) or network.fusion is None:
        raise ModelError(
            "--refit fits the layer over the branches' joined vectors: pass --network multi-scale or single-scale with "
            "--fusion concat, or leave it out."
        )


def refit(trained: nn.Module, layer: nn.Linear, feed: Feed, strength: float, fabric: Fabric) -> None:
    """Fit the last layer anew on a feed's photographs, unturned; everything else stays.

    Each graded photograph counts once with the network's own maps, and a corrected one `feed.teacher` times its
    correction's weight again with the expert's, so that the layer knows both what the network will see and what it
    should have seen.

    Args:
        trained: What the loop trained, on the fabric's device: the network, or its part behind a frozen extractor.
        layer: Its fusion; changed in place.
        feed: The photographs, whose labels and corrections count, and their features where they are frozen.
        strength: C of the regression on standardised numbers, above 0: smaller is more held back.
        fabric: Device and precision.
    """
    with evaluating(trained):
        own = list(_rows(trained, feed, fabric, experts=False))
        rows = own + (list(_rows(trained, feed, fabric, experts=True)) if feed.teacher > 0 else [])
    own_ND = np.concatenate([vectors for vectors, _, _ in own])
    vectors_ND, labels_N, weights_N = (np.concatenate(part) for part in zip(*rows, strict=True))
    known = np.unique(labels_N)
    if len(known) < 2:
        return
    mean_D, spread_D = own_ND.mean(axis=0), own_ND.std(axis=0)
    spread_D[spread_D == 0] = 1.0
    fitted = LogisticRegression(C=strength, max_iter=_STEPS)
    fitted.fit((vectors_ND - mean_D) / spread_D, labels_N, sample_weight=weights_N)
    matrix, bias = fitted.coef_, fitted.intercept_
    if len(known) == 2:  # one row for two classes
        matrix, bias = np.stack([-matrix[0], matrix[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    matrix = matrix / spread_D
    bias = bias - matrix @ mean_D
    layer_KD, bias_K = np.zeros((feed.classes, matrix.shape[1])), np.full(feed.classes, bias.min() + _ABSENT)
    layer_KD[known], bias_K[known] = matrix, bias
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(layer_KD))
        layer.bias.copy_(torch.from_numpy(bias_K))


_Rows = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]


def _rows(trained: nn.Module, feed: Feed, fabric: Fabric, *, experts: bool) -> Iterator[_Rows]:
    """Pooled vectors (B, D), labels (B,), weights (B,): of graded photographs, or of those with an expert's map."""
    graded_N = feed.data.labels >= 0
    weights_N = torch.ones(len(feed.data), dtype=torch.float64)
    if experts:
        corrected = feed.data.corrected
        weights_N = weights_N * 0 if corrected is None else corrected.double() * feed.teacher
    for index in torch.split((graded_N & (weights_N > 0)).nonzero().flatten(), feed.batch):
        batch = feed.unturned(index, fabric.device)
        with fabric.autocast():
            vector = trained(batch.inputs, batch.maps if experts else None).vector
        yield vector.double().cpu().numpy(), feed.data.labels[index].numpy(), weights_N[index].numpy()
