"""Augmentation of a whole batch on its device: one random affine map moves image and lesion mask alike.

Invariant: image and mask of a sample are warped by the same matrix, so a correction stays on its lesion. There is no
random crop or erasing, since a lost lesion would falsify the grade; only enlarging by up to 10 % moves the outermost
4.5 % of each side out of the frame, and rotation the corners, which are black around a round field of view.

Frame: cropped pixels (the square that `Geometry` makes). Shapes: B batch, S side.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Jitter = Literal["mild", "strong"]

ROTATION_DEGREES = 15.0
SCALE = (0.9, 1.1)
# Largest change of brightness, contrast and saturation, and of each channel's own gain and gamma.
JITTER: dict[Jitter, tuple[float, float]] = {"mild": (0.15, 0.0), "strong": (0.4, 0.2)}

# A warped one-pixel lesion peaks at 0.25 or more under bilinear sampling at scale 1 and at 0.194 or more at scale 0.9
# (both between four cells; a test searches for worse), so this threshold never loses it and grows a large lesion by
# less than a pixel.
_MASK_THRESHOLD = 0.19


def random_matrices(count: int, generator: torch.Generator) -> Tensor:
    """Random flips, rotations and scalings about the image's centre.

    Args:
        count: Number of images B.
        generator: A CPU generator; the only source of randomness.

    Returns:
        (B, 2, 3) float32, from output to input in normalised coordinates (-1..1), as `affine_grid` takes them.
    """
    uniform = torch.rand(count, 4, generator=generator)
    angle = (uniform[:, 0] * 2 - 1) * math.radians(ROTATION_DEGREES)
    scale = SCALE[0] + uniform[:, 1] * (SCALE[1] - SCALE[0])
    flip_x = torch.where(uniform[:, 2] < 0.5, -1.0, 1.0)
    flip_y = torch.where(uniform[:, 3] < 0.5, -1.0, 1.0)
    cosine, sine, zero = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros(count)
    rows = [
        torch.stack([cosine * flip_x, -sine * flip_y, zero], 1),
        torch.stack([sine * flip_x, cosine * flip_y, zero], 1),
    ]
    return torch.stack(rows, 1)


def warp(images: Tensor, masks: Tensor | None, matrices: Tensor) -> tuple[Tensor, Tensor | None]:
    """Warp images and their masks by the same matrices.

    Args:
        images: (B, 3, S, S) float32.
        masks: (B, M, S, S) float32 of 0 and 1, or None.
        matrices: (B, 2, 3) as `random_matrices` makes them, on the images' device.

    Returns:
        The images, bilinear, black outside; the masks of 0 and 1, with no lesion lost.
    """
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    warped = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if masks is None:
        return warped, None
    soft = functional.grid_sample(masks, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped, (soft > _MASK_THRESHOLD).to(masks.dtype)


def jitter(images: Tensor, generator: torch.Generator, strength: Jitter = "mild") -> Tensor:
    """Changes of brightness, contrast and saturation; `strong`: also of each channel's gain and gamma, like a camera's.

    Args:
        images: (B, 3, S, S) float32 in 0..1.
        generator: A CPU generator.
        strength: See `JITTER`.

    Returns:
        The same shape, in 0..1; pixels that were black (outside the field of view) stay nearly so.
    """
    overall, each = JITTER[strength]
    factors = (torch.rand(3, images.shape[0], 1, 1, 1, generator=generator) * 2 - 1).to(images.device)
    if each:
        gain, gamma = (torch.rand(2, *images.shape[:2], 1, 1, generator=generator) * 2 - 1).to(images.device)
        images = images ** (1 + each * gamma) * (1 + each * gain)
    images = images * (1 + overall * factors[0])
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = torch.where(images > 0.02, mean + (images - mean) * (1 + overall * factors[1]), images)
    grey = images.mean(dim=1, keepdim=True)
    return (grey + (images - grey) * (1 + overall * factors[2])).clamp(0, 1)
