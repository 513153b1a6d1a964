"""Explainers by hiding parts of the photograph and watching the class's probability: occlusion and RISE.

What is hidden becomes grey (0 in normalised space). Both run one photograph at a time in batches of the predictor's
size, so memory does not grow with the number of photographs, windows or masks.

Shapes: B batch, M masks of a batch, S side of the cropped square.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from regaze.explanation.job import Job


def occlusion(job: Job) -> Tensor:
    """How much the probability falls when a square is hidden (captum's `Occlusion`).

    Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 2.1. The square moves by
    half its side; a pixel gets the mean over the squares that hid it (Zeiler & Fergus note the value at the square's
    centre), so pixels tie within half a square. In fp32: one square moves the probability by less than bfloat16 tells
    apart.

    Returns:
        (B, S, S) float32, -1..1.
    """
    from captum.attr import Occlusion

    window = min(max(1, round(job.settings.window * job.side)), job.side)
    stride = max(1, window // 2)
    method = Occlusion(job.probabilities)
    maps = []
    for image_3SS, chosen in zip(job.images, job.classes.tolist(), strict=True):
        falls = method.attribute(
            image_3SS.unsqueeze(0),
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            baselines=0.0,
            target=chosen,
            perturbations_per_eval=job.predictor.batch,
        )
        maps.append(falls[:, 0])  # the same in all three channels, which are hidden together
    return torch.cat(maps)


def rise(job: Job) -> Tensor:
    """RISE: masks weighted by the probability that the class keeps under them.

    Petsiuk et al., "RISE", BMVC 2018 (arXiv 1806.07421), equations 5 and 6 and section 3.2. Own code, since neither
    captum nor torchcam has it. Deviation: the probabilities' mean is subtracted first. Every pixel is kept with the
    same probability, so this shifts the expected map by a constant; but as many masks give a less noisy map, because
    how often a pixel happened to be kept no longer counts (an IDRiD photograph, multi-scale network: maps from two
    disjoint sets of 200 masks had a rank correlation of 0.43 with, and -0.17 without). The masks are the same for every
    photograph. In the predictor's precision: a sum over many masks ties nothing, and there bfloat16's order had a rank
    correlation of 0.99997 with fp32's at 400 masks.

    Returns:
        (B, S, S) float32.
    """
    grids, shifts = draw_masks(job)
    maps = []
    for image_3SS, chosen in zip(job.images, job.classes.tolist(), strict=True):
        kept = []
        for masks_MSS in enlarge_masks(job, grids, shifts):
            with job.predictor.precision():
                kept.append(job.probabilities(image_3SS * masks_MSS.unsqueeze(1))[:, chosen])
        weights = torch.cat(kept)
        weights = (weights - weights.mean()) / (job.settings.keep * len(weights))
        total = torch.zeros_like(image_3SS[0])
        start = 0
        for masks_MSS in enlarge_masks(job, grids, shifts):
            total += torch.einsum("m,mhw->hw", weights[start : start + len(masks_MSS)], masks_MSS)
            start += len(masks_MSS)
        maps.append(total)
    return torch.stack(maps)


def draw_masks(job: Job) -> tuple[Tensor, Tensor]:
    """RISE's random numbers, all at once so that they do not depend on the batch; the same on every device.

    Returns:
        (masks, cells, cells) float32, 0 or 1, and (masks, 2) int64 shifts in pixels, both on the CPU.
    """
    settings = job.settings
    generator = torch.Generator().manual_seed(settings.seed)
    grids = torch.rand(settings.masks, settings.cells, settings.cells, generator=generator) < settings.keep
    cell = -(-job.side // settings.cells)
    return grids.float(), torch.randint(cell, (settings.masks, 2), generator=generator)


def enlarge_masks(job: Job, grids: Tensor, shifts: Tensor) -> Iterator[Tensor]:
    """Yield (M, S, S) float32 masks in 0..1 on the device, at most the predictor's batch at a time.

    A grid is enlarged bilinearly to one cell more than the photograph, which is then cut out at the shift.

    Args:
        job: For side, batch and device.
        grids: (masks, cells, cells), see `draw_masks`.
        shifts: (masks, 2), likewise.
    """
    side, cells = job.side, job.settings.cells
    large = (cells + 1) * -(-side // cells)
    for start in range(0, len(grids), job.predictor.batch):
        part = grids[start : start + job.predictor.batch].to(job.images.device).unsqueeze(1)
        enlarged = functional.interpolate(part, size=(large, large), mode="bilinear", align_corners=False).squeeze(1)
        corners = shifts[start : start + job.predictor.batch].tolist()
        yield torch.stack([mask[y : y + side, x : x + side] for mask, (y, x) in zip(enlarged, corners, strict=True)])
