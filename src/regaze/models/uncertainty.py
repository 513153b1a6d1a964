"""Uncertainty scores of a network's attention maps, from its own behaviour: they need no label.

Invariants: the network is left exactly as it was (modes, `requires_grad`, `.grad`, no hooks), also after an exception;
one photograph's numbers do not depend on which others share its batch.

Cost per photograph of `uncertainty_scores`: five forward passes (the photograph, two flips, two shifts) and one
backward pass through the deepest scale's branches. `cell_features` costs one pass through the extractor.

How maps are compared: see `disagreement`.

Shapes: N photographs, B batch, S side of the cropped square, C channels, (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from regaze.errors import ModelError
from regaze.models.disagreement import between_branches, between_scales, movement, shape_gap
from regaze.models.network import AttentionNetwork, Output, fuse
from regaze.models.predictor import Predictor, Progress, at_rest, evaluating

#: Length of a shift along each axis as a share of the side. Not tuned: at 224 px it is 8 px, half a cell of the
#: coarsest of three scales, so that a map that hangs on where its cells happen to lie shows it.
_SHIFT = 0.04


@dataclass(frozen=True)
class UncertaintyScores:
    """Uncertainty scores of the maps of N photographs; higher = more uncertain, NaN = could not be computed.

    Attributes:
        branches: (N,) float32 in 0..1: disagreement among the grades of the perception branches; with one scale: among
            those of the attention branch, the perception branch and the network (see `disagreement`).
        scales: (N,) float32 in 0..2: mean over all pairs of scales of `shape_gap` between their maps, on the
            finest scale's grid. NaN for a network with one scale.
        cam: (N,) float32 in 0..2: `shape_gap` between the fused map and Grad-CAM of the likeliest class (the arg-max,
            not the decoded grade), on the deepest block's grid, because Grad-CAM can show no more than that.
        instability: (N,) float32 in 0..2: `movement` of the fused map, mean over the horizontal flip, the vertical
            flip, and a shift by 4 % of the side down and right, and up and left; each mapped back.
        features: (N, C) float32: the deepest block's features, mean over its cells.
    """

    branches: NDArray[np.float32]
    scales: NDArray[np.float32]
    cam: NDArray[np.float32]
    instability: NDArray[np.float32]
    features: NDArray[np.float32]


def uncertainty_scores(
    predictor: Predictor, images_NSSC: NDArray[np.uint8], progress: Progress | None = None
) -> UncertaintyScores:
    """Uncertainty scores of the maps of photographs.

    Args:
        predictor: Gives network, device, precision, and photographs per batch.
        images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels.
        progress: Called with (photographs done, N).

    Raises:
        ModelError: The network is a plain one.
    """
    network = _with_attention(predictor)
    scores, features = [torch.zeros(0, 4)], []
    with at_rest(network):
        for rows in predictor.batches(len(images_NSSC), progress):
            scores_B4, pooled_BC = _scores(predictor, network, predictor.normalise(images_NSSC[rows]))
            scores.append(scores_B4.cpu())
            features.append(pooled_BC.cpu())
    branches, scales, cam, instability = torch.cat(scores).T.contiguous().numpy()
    pooled = torch.cat(features).numpy() if features else np.zeros((0, 0), np.float32)
    return UncertaintyScores(branches, scales, cam, instability, pooled)


def cell_features(
    predictor: Predictor,
    images_NSSC: NDArray[np.uint8],
    grid: tuple[int, int],
    progress: Progress | None = None,
) -> NDArray[np.float16]:
    """What the extractor sees in each cell: the features of all its blocks on one grid.

    Each block is brought to the grid by adaptive average pooling (which repeats cells where the block is coarser).

    Args:
        predictor: Gives network, device, precision, and photographs per batch.
        images_NSSC: (N, S, S, 3) uint8, RGB, cropped pixels.
        grid: (h, w) wanted, map cells.
        progress: Called with (photographs done, N).

    Returns:
        (N, C, h, w) float16, the blocks' channels one after the other, finest block first; C is their sum (0 where N
        is 0). Values beyond the largest float16 are cut to it.

    Raises:
        ModelError: The network is a plain one.
    """
    network = _with_attention(predictor)
    total, largest = len(images_NSSC), torch.finfo(torch.float16).max
    cells_NChw = np.zeros((total, 0, *grid), np.float16)
    with evaluating(network):
        for rows in predictor.batches(total, progress):
            with predictor.precision():
                features = network.blocks(network.extractor(predictor.normalise(images_NSSC[rows])))
            cells = torch.cat([_pool(item.float(), grid) for item in features], dim=1)
            if rows.start == 0:  # filled in place: a list of batches joined at the end would need the memory twice
                cells_NChw = np.empty((total, *cells.shape[1:]), np.float16)
            cells_NChw[rows] = cells.clamp(-largest, largest).half().cpu().numpy()
    return cells_NChw


def _with_attention(predictor: Predictor) -> AttentionNetwork:
    if not isinstance(predictor.network, AttentionNetwork):
        raise ModelError("A plain network has no attention maps to correct: use a single-scale or multi-scale model.")
    return predictor.network


def _scores(predictor: Predictor, network: AttentionNetwork, images_B3SS: Tensor) -> tuple[Tensor, Tensor]:
    """The four scores (B, 4) float32 in the order of `UncertaintyScores`, and the pooled features (B, C) float32."""
    with predictor.precision():
        features = network.extractor(images_B3SS)
    output, cam = _grad_cam(predictor, network, features)
    fused = fuse(output.maps)
    columns = [
        between_branches(output),
        between_scales(output.maps),
        shape_gap(_pool(fused, (cam.shape[1], cam.shape[2])), cam),
        _instability(predictor, network, images_B3SS, fused),
    ]
    return torch.stack(columns, dim=1), features[-1].float().mean(dim=(2, 3))


def _grad_cam(predictor: Predictor, network: AttentionNetwork, features: Sequence[Tensor]) -> tuple[Output, Tensor]:
    """The network's output for features, and Grad-CAM of the likeliest class at the deepest of them.

    Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2: ReLU of the features' sum, weighted by the mean over the
    cells of the gradient of the class's final logit (before the softmax). The gradient goes through attention and
    perception branch alike. Divided by its maximum (all zero where nothing is positive).

    Returns:
        The output, and (B, h, w) float32 in 0..1, cells of the deepest block.
    """
    deepest_BChw = features[-1].detach().requires_grad_()
    with torch.enable_grad(), predictor.precision():
        # A copy goes in: a stage that begins with an operation in place may not change what autograd starts from.
        output = network.branches([*features[:-1], deepest_BChw.clone()])
        chosen = output.logits.amax(dim=1).sum()  # the photographs of a batch do not see each other
    (gradient_BChw,) = torch.autograd.grad(chosen, deepest_BChw)
    weights_BC11 = gradient_BChw.float().mean(dim=(2, 3), keepdim=True)
    cam_Bhw = functional.relu((weights_BC11 * deepest_BChw.float()).sum(dim=1))
    peak_B11 = cam_Bhw.amax(dim=(1, 2), keepdim=True)
    return output, cam_Bhw / torch.where(peak_B11 == 0, 1.0, peak_B11)


def _pool(items: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive average pooling of (.., H, W) to the grid, on the items' device."""
    if items.device.type == "mps":  # older torch refuses sizes that do not divide there (pytorch/pytorch#143864)
        return functional.adaptive_avg_pool2d(items.cpu(), grid).to(items.device)
    return functional.adaptive_avg_pool2d(items, grid)


def _instability(predictor: Predictor, network: AttentionNetwork, images_B3SS: Tensor, fused_Bhw: Tensor) -> Tensor:
    """Mean `movement` of the fused map over two flips and two shifts, (B,) float32."""

    def fused_of(variant_B3SS: Tensor) -> Tensor:
        with predictor.precision():
            output: Output = network(variant_B3SS.contiguous(memory_format=torch.channels_last))
        return fuse(output.maps)

    movements = [movement(fused_Bhw, fused_of(images_B3SS.flip(axis)).flip(axis - 1)) for axis in (3, 2)]
    side = fused_Bhw.shape[1]
    # Whole cells, so that mapping back moves cells instead of blurring them; at least one, and some must stay in sight.
    cells = min(max(1, round(_SHIFT * side)), side - 1)
    pixels = round(cells * images_B3SS.shape[2] / side)
    seen, hidden = slice(cells, side), slice(0, side - cells)
    right_down = fused_of(_shift(images_B3SS, pixels))
    movements.append(movement(fused_Bhw[:, hidden, hidden], right_down[:, seen, seen]))
    left_up = fused_of(_shift(images_B3SS, -pixels))
    movements.append(movement(fused_Bhw[:, seen, seen], left_up[:, hidden, hidden]))
    return torch.stack(movements).mean(dim=0)


def _shift(images_B3SS: Tensor, pixels: int) -> Tensor:
    """Move the content down and right (negative: up and left); what comes into the frame is the edge's reflection."""
    reach, side = abs(pixels), images_B3SS.shape[2]
    padded = functional.pad(images_B3SS, (reach, reach, reach, reach), mode="reflect")
    inside = slice(reach - pixels, reach - pixels + side)
    return padded[:, :, inside, inside]
