"""Explainers by gradients: Grad-CAM, Grad-CAM++, Layer-CAM, Integrated Gradients.

All in fp32, whatever the predictor's precision: bfloat16 rounds a gradient to 8 bits, and with it the weights by which
channels add up. All explain the class's final logit before the softmax.

Where the CAMs look: a plain network's last features; an ABN's deepest block, un-weighted, as the extractor hands it
out. It is the deepest point that every path to the deepest branches shares (attention branch, and perception branch
with its map), so the gradient counts the map's part too; behind it the paths part, and a perception branch's last
stage would show one path only, on a grid half as fine. The finer blocks' branches do not pass through it: no single
layer of a multi-scale network but its first block is on all paths.

Libraries get a small module made for the occasion that begins at those features, so that their hooks never touch the
caller's network.

Shapes: B batch, C channels, K classes, S side of the cropped square, (h, w) map cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from regaze.explanation.job import Job, enlarge


class _Tapped(nn.Module):
    """The network from its deepest features on, with a layer `tap` that libraries may hook.

    Args:
        rest: (B, C, h, w) -> (B, K) logits. Not registered, so that the network is no child of this module.
    """

    def __init__(self, rest: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.tap = nn.Identity()
        self._rest = rest

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Logits (B, K)."""
        # A copy goes on: a stage that begins with an operation in place may not change what a hook has kept.
        return self._rest(self.tap(features_BChw).clone())


def _tapped(job: Job) -> tuple[_Tapped, Tensor]:
    """The part behind the deepest features, and those features (B, C, h, w) as a leaf that asks for a gradient."""
    network = job.predictor.network
    features = network.extractor(job.images)
    deepest = features[-1].detach().clone().requires_grad_()
    return _Tapped(lambda tapped: network.branches([*features[:-1], tapped]).logits), deepest


def grad_cam(job: Job) -> Tensor:
    """Grad-CAM before its last ReLU (captum's `LayerGradCam`).

    Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2. The ReLU would tie all cells with evidence against the
    class (often half of them), and a tie is ranked by where it lies in the image; without it the positive cells keep
    their order and the negative ones follow, strongest counter-evidence last. For a network of the form features ->
    pool -> linear this is the class activation map divided by h·w.

    Returns:
        (B, S, S) float32.
    """
    from captum.attr import LayerGradCam

    rest, features_BChw = _tapped(job)
    with torch.enable_grad():
        cam_B1hw: Tensor = LayerGradCam(rest, rest.tap).attribute(features_BChw, target=job.classes)
    return enlarge(cam_B1hw.detach().squeeze(1), job.side)


def grad_cam_plus_plus(job: Job) -> Tensor:
    """Grad-CAM++.

    Chattopadhay et al., "Grad-CAM++", WACV 2018 (arXiv 1710.11063), equations 5, 7 and 19 with Y = exp(logit): channel
    weights are the sum over the cells of alpha · ReLU(gradient g), alpha = g² / (2 g² + g³ · sum of the channel A) =
    1 / (2 + g · sum A) where g > 0 (elsewhere the ReLU makes it meaningless).

    Own code: torchcam 0.5.0 divides a copy (`alpha[mask].div_(...)` leaves alpha itself as g²) and sums g³ · A instead
    of A. Where features may be negative (no ReLU before them), a denominator of 0 or less gives no weight.

    Returns:
        (B, S, S) float32.
    """
    rest, features_BChw = _tapped(job)
    with torch.enable_grad():
        chosen = rest(features_BChw).gather(1, job.classes.unsqueeze(1)).sum()
        (gradient_BChw,) = torch.autograd.grad(chosen, features_BChw)
    activation_BChw = features_BChw.detach()
    denominator = 2 + gradient_BChw * activation_BChw.sum(dim=(2, 3), keepdim=True)
    alpha = torch.where(denominator > 0, 1 / denominator, 0.0)
    weights_BC11 = (alpha * functional.relu(gradient_BChw)).sum(dim=(2, 3), keepdim=True)
    return enlarge((weights_BC11 * activation_BChw).sum(dim=1), job.side)


def layer_cam(job: Job) -> Tensor:
    """Layer-CAM (torchcam's `LayerCAM`).

    Jiang et al., "LayerCAM", IEEE TIP 30, 2021, equations 6 and 7: ReLU of the features' sum, each weighted by the
    positive part of its own cell's gradient. The ReLU ties nothing where the features come out of a ReLU themselves.

    Returns:
        (B, S, S) float32, 0 or more.
    """
    from torchcam.methods import LayerCAM

    rest, features_BChw = _tapped(job)
    with torch.enable_grad(), LayerCAM(rest, "tap") as extractor:
        logits_BK = rest(features_BChw)
        # Not normalised: dividing by the peak changes no order, and an all-zero map needs no epsilon.
        (cam_Bhw,) = extractor(job.classes.tolist(), logits_BK, normalized=False)
    # torchcam counts NaN as 0; a network that gives no numbers has no map.
    finite_B11 = torch.isfinite(logits_BK.detach()).all(dim=1).view(-1, 1, 1)
    return enlarge(torch.where(finite_B11, cam_Bhw.detach(), torch.nan), job.side)


def integrated_gradients(job: Job) -> Tensor:
    """Integrated Gradients from grey (0 in normalised space, what Deletion replaces pixels by), captum's.

    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv 1703.01365), equation 1. The three
    channels' attributions are added, sign included: their sum over the pixels is the logit minus that of a grey image.
    A black baseline would give dark lesions (haemorrhages) next to nothing, whatever the gradient.

    Returns:
        (B, S, S) float32.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(job.logits)
    maps = []
    for image_3SS, chosen in zip(job.images, job.classes.tolist(), strict=True):
        # One photograph at a time: its path fills a batch, and captum keeps no more than that in memory.
        attribution = method.attribute(
            image_3SS.unsqueeze(0),
            baselines=0.0,
            target=chosen,
            n_steps=job.settings.gradient_steps,
            internal_batch_size=job.predictor.batch,
        )
        maps.append(attribution.detach().sum(dim=1))
    return torch.cat(maps)
