"""What takes a pixel's place when it is deleted, and what an image starts from when pixels are inserted.

Deleted and blurred photographs are unlike anything that a model has seen, and which of them it takes for empty
differs from model to model (black is the surround of a fundus photograph, grey is not). A result that holds on
one substrate alone is a result about the substrate; hence the choice.

Suffixes: N = image, C = channel, S = side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.errors import OptionError
from regaze.records import Substrate

SUBSTRATES: tuple[Substrate, ...] = get_args(Substrate)


def substituted(images: Tensor, substrate: Substrate, black: Sequence[float] | None = None) -> Tensor:
    """The images with every pixel replaced.

    Args:
        images: (N, C, H, W) float32, normalised, cropped pixels; of a photograph beside bars the picture alone.
        substrate: `grey`: 0 in normalised space. `black`: the normalised value of black. `mean`: each image's own mean
            colour, a photograph's black surround included. `blur`: the image, blurred (`blur_size` of its longer side).
            `inpaint`: as `mean`, since nothing is left to fill from; what takes a pixel's place before depends on which
            others are gone, see `inpainting`.
        black: (C) the normalised value of black in each channel, see `normalised_black`; needed by `black` alone.

    Returns:
        (N, C, H, W) float32, a new tensor.
    """
    if substrate == "blur":
        return blurred(images, gaussian_kernel(*blur_size(max(images.shape[-2:]))))
    if substrate == "grey":
        return torch.zeros_like(images)
    if substrate in ("mean", "inpaint"):
        return images.mean((2, 3), keepdim=True).expand_as(images).clone()
    value = torch.as_tensor(black, dtype=images.dtype, device=images.device)
    return value.view(1, -1, 1, 1).expand_as(images).clone()


def check_substrate(substrate: str, channels: int, black: Sequence[float] | None) -> None:
    """Raise OptionError on a substrate that cannot be made: an unknown one, or `black` without its value.

    Args:
        substrate: Its name.
        channels: Of the images.
        black: As `substituted` takes it.
    """
    if substrate not in SUBSTRATES:
        raise OptionError(f"substrate is {substrate!r}: pass one of {', '.join(SUBSTRATES)}")
    if substrate == "black" and (black is None or len(black) != channels):
        given = "nothing" if black is None else f"{len(black)} values"
        raise OptionError(
            f"substrate 'black' of {channels} channels was given {given} for black: "
            "pass black=normalised_black(mean, std)"
        )


def normalised_black(mean: Sequence[float], std: Sequence[float]) -> tuple[float, ...]:
    """What black becomes under (x - mean) / std.

    Args:
        mean: Per channel, in 0..1.
        std: Per channel, above 0.

    Returns:
        One value per channel.
    """
    return tuple((0.0 - middle) / spread for middle, spread in zip(mean, std, strict=True))


def blur_size(side: int) -> tuple[int, float]:
    """RISE's blur, 11 x 11 and sigma 5 at 224 px, in proportion to the side.

    Args:
        side: Side of the image in pixels.

    Returns:
        Side of the kernel (the nearest odd number, at least 3, for a kernel of 1 would not blur) and sigma
        (5/11 of it, so that the kernel keeps RISE's form).
    """
    kernel = max(3, 2 * round((11 * side / 224 - 1) / 2) + 1)
    return kernel, kernel * 5 / 11


def gaussian_kernel(kernel: int, sigma: float) -> NDArray[np.float64]:
    """One axis of RISE's blur kernel; the kernel is its outer product with itself.

    RISE filters a delta of the kernel's size with `scipy.ndimage.gaussian_filter`, whose Gaussian reaches 4
    sigma and is reflected at the edges. With 11 pixels and sigma 5 the reflected tails fill the edges up, so
    the kernel is nearly a box: along one axis the edge has .94 of the centre, in a sampled and normalised
    Gaussian .61 (corners: .88 and .37). We follow RISE, for numbers that can be compared.

    Args:
        kernel: Side in pixels, odd.
        sigma: In pixels, above 0.

    Returns:
        (kernel,) float64, sums to 1.
    """
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    values = np.exp(-0.5 * (offsets / sigma) ** 2)
    # Reflected, d c b a | a b c d | d c b a: a period is 2 * kernel pixels, its second half backwards.
    cells = (kernel // 2 + offsets) % (2 * kernel)
    cells = np.where(cells < kernel, cells, 2 * kernel - 1 - cells)
    folded = np.bincount(cells, values, kernel)
    return np.asarray(folded / folded.sum())


def blurred(images: Tensor, axis: NDArray[np.float64]) -> Tensor:
    """Blur each channel, zeros outside (as RISE's `conv2d` pads).

    Args:
        images: (N, C, H, W) float32, normalised.
        axis: (kernel,) from `gaussian_kernel`.

    Returns:
        (N, C, H, W) float32, a new tensor.
    """
    # The kernel is an outer product and the padding is zero, so one axis after the other gives the same, and each is a
    # product with a banded matrix: on a processor several times faster than a convolution of single channels.
    bands = [torch.as_tensor(_band(side, axis), dtype=images.dtype, device=images.device) for side in images.shape[-2:]]
    return bands[0] @ images.contiguous() @ bands[1]


def _band(side: int, axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(side, side), the matrix whose product with a line of so many pixels blurs it."""
    half = len(axis) // 2
    reach = min(half, side - 1)  # where the kernel ends, or the image does
    shifts = range(-reach, reach + 1)
    return np.asarray(sum(np.diag(np.full(side - abs(shift), axis[half + shift]), shift) for shift in shifts))
