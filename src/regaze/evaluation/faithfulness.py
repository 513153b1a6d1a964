"""Deletion and Insertion: does the grade depend on the pixels that the map points at?

Defined by RISE (Petsiuk et al. 2018, arXiv 1806.07421; github.com/eclique/RISE,
`evaluation.py`): pixels, all channels at once, are changed by falling value of the map, `step` at a time, and
the probability of the class that the model gives the untouched image is recorded before the first change and
after each. Deletion goes from the image to grey (0 in normalised space), Insertion from a blurred image to
the image. Only the order of the map's values counts.

Invariant: this module knows no model, only a callable `images -> probabilities`; it changes neither images
nor maps.

Deviations from RISE's code: where values tie, the pixel that comes first in row-major order is changed first
(RISE's `argsort` leaves the order open); kernel and sigma of the blur grow with the side of the image (RISE's
are for 224 px). AUCs are given per image (RISE's is that of the mean curve, which is their mean).

Suffixes: B = row of a batch (one image at one step), N = image, C = channel, S = side, K = class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from regaze.errors import ModelError, OptionError

Scores = Callable[[Tensor], Tensor]
Mode = Literal["deletion", "insertion"]


@dataclass(frozen=True)
class Faithfulness:
    """Deletion and Insertion of N images.

    Attributes:
        deletion: (N,) float64, area under each deletion curve, 0..1, lower is better.
        insertion: (N,) float64, area under each insertion curve, 0..1, higher is better.
        deletion_curves: (N, n_steps + 1) float64, probability of the class after 0..n_steps steps.
        insertion_curves: (N, n_steps + 1) float64, likewise.
        classes: (N,) int64, the class whose probability was followed.
        step: Pixels changed in each step; the last may change fewer.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    deletion_curves: NDArray[np.float64]
    insertion_curves: NDArray[np.float64]
    classes: NDArray[np.int64]
    step: int


@torch.no_grad()
def deletion_insertion(
    scores: Scores,
    images: Tensor,
    maps: Tensor,
    *,
    step: int | None = None,
    classes: Tensor | NDArray[np.int64] | None = None,
    batch: int = 64,
    grey: float = 0.0,
    blur: tuple[int, float] | None = None,
) -> Faithfulness:
    """Follow the probability of a class while pixels are deleted or inserted by falling value of the map.

    Memory beyond the inputs is that of a few batches, whatever N and the number of steps.

    Args:
        scores: (B, 3, S, S) float32 on the device of `images` -> (B, K) softmax probabilities; puts the model
            into eval mode itself.
        images: (N, 3, S, S) float32, normalised, cropped pixels.
        maps: (N, S, S) float, cropped pixels, any range. Pass the map before its sigmoid: saturated values
            tie.
        step: Pixels changed per step; None: S, one row's worth (RISE's 224 at 224 px).
        classes: (N,) int, the classes to follow; None: the model's arg-max on the untouched images.
        batch: Images per call of `scores`.
        grey: What a deleted pixel becomes, in normalised space.
        blur: Side (odd) and sigma of the kernel in pixels; None: `blur_size(S)`.

    Returns:
        Areas and curves.

    Raises:
        ValueError: Shapes that do not fit each other, or a class that the scores do not have.
        OptionError: `step` or `batch` below 1, or a kernel that is not odd.
        ModelError: Maps or scores that are not finite, or scores that are no probabilities.
    """
    _check(images, maps, step, batch, blur)
    side = images.shape[-1]
    pixels = step if step is not None else side
    kernel = gaussian_kernel(*(blur or blur_size(side)))
    followed = _followed_classes(scores, images, classes, batch)

    def curves(mode: Mode) -> NDArray[np.float64]:
        rows = _steps(images, maps, mode, pixels, batch, grey, kernel)
        return _curves(scores, rows, followed, _n_steps(side, pixels))

    deletion_curves, insertion_curves = curves("deletion"), curves("insertion")
    return Faithfulness(
        deletion=area_under_curve(deletion_curves),
        insertion=area_under_curve(insertion_curves),
        deletion_curves=deletion_curves,
        insertion_curves=insertion_curves,
        classes=followed.cpu().numpy(),
        step=pixels,
    )


def area_under_curve(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trapezoid rule over an x axis of length 1: (sum - first / 2 - last / 2) / (scores - 1), RISE's `auc`.

    Args:
        curves: (..., n_steps + 1) float64, at least two scores.

    Returns:
        (...) float64.
    """
    inner = curves.sum(-1) - curves[..., 0] / 2 - curves[..., -1] / 2
    return np.asarray(inner / (curves.shape[-1] - 1))


def rank_images(maps: Tensor) -> Tensor:
    """When each pixel is changed: 0 for the largest value of its map, ties in row-major order.

    Args:
        maps: (N, S, S) float.

    Returns:
        (N, S, S) int64, each map a permutation of 0..S*S-1.
    """
    flat = maps.flatten(1)
    order = torch.argsort(flat, dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


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
    places = (kernel // 2 + offsets) % (2 * kernel)
    places = np.where(places < kernel, places, 2 * kernel - 1 - places)
    folded = np.bincount(places, values, kernel)
    return np.asarray(folded / folded.sum())


def blurred(images: Tensor, axis: NDArray[np.float64]) -> Tensor:
    """Blur each channel, zeros outside (as RISE's `conv2d` pads).

    Args:
        images: (N, C, S, S) float32, normalised.
        axis: (kernel,) from `gaussian_kernel`.

    Returns:
        (N, C, S, S) float32, a new tensor.
    """
    weights = torch.as_tensor(axis, dtype=images.dtype, device=images.device)
    half = len(axis) // 2
    one_by_one = images.flatten(0, 1).unsqueeze(1)
    # The kernel is an outer product and the padding is zero: one axis after the other gives the same.
    rows = conv2d(one_by_one, weights.view(1, 1, 1, -1), padding=(0, half))
    return conv2d(rows, weights.view(1, 1, -1, 1), padding=(half, 0)).view(images.shape)


def _n_steps(side: int, step: int) -> int:
    """Steps until every pixel is changed; the last may change fewer."""
    return -(-side * side // step)


def _steps(
    images: Tensor,
    maps: Tensor,
    mode: Mode,
    step: int,
    batch: int,
    grey: float,
    kernel: NDArray[np.float64],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield half-changed images (B, C, S, S) and the index of each one's original (B,), step by step.

    Ranks and blurred images are made for the images of the batch alone, which costs little beside the model
    and keeps memory flat.
    """
    count, side = images.shape[0], images.shape[-1]
    scores_each = _n_steps(side, step) + 1
    for begin in range(0, count * scores_each, batch):
        row_B = torch.arange(begin, min(begin + batch, count * scores_each), device=images.device)
        image_B, step_B = row_B // scores_each, row_B % scores_each
        first, last = begin // scores_each, (begin + len(row_B) - 1) // scores_each
        some_NCSS = images[first : last + 1]
        ranks_NSS = rank_images(maps[first : last + 1].to(images.device))
        local_B = image_B - first
        changed_B1SS = (ranks_NSS[local_B] < (step_B * step)[:, None, None])[:, None]
        whole_BCSS = some_NCSS[local_B]
        if mode == "deletion":
            yield whole_BCSS.masked_fill(changed_B1SS, grey), image_B
        else:
            yield torch.where(changed_B1SS, whole_BCSS, blurred(some_NCSS, kernel)[local_B]), image_B


def _curves(
    scores: Scores, batches: Iterator[tuple[Tensor, Tensor]], followed: Tensor, n_steps: int
) -> NDArray[np.float64]:
    """(N, n_steps + 1) float64: the followed class's probability of each row of the batches."""
    parts = [
        _probabilities(scores, rows).gather(1, followed[image_B][:, None])[:, 0].cpu() for rows, image_B in batches
    ]
    flat = torch.cat(parts) if parts else torch.zeros(0)
    return flat.double().numpy().reshape(len(followed), n_steps + 1)


def _followed_classes(scores: Scores, images: Tensor, classes: Tensor | NDArray[np.int64] | None, batch: int) -> Tensor:
    """(N,) int64 on the images' device: those given, or the arg-max on the untouched images."""
    if not len(images):
        return torch.zeros(0, dtype=torch.int64, device=images.device)
    if classes is None:
        # Clones, so that a model that works in place cannot touch the caller's images.
        parts = [_probabilities(scores, part.clone()).argmax(1) for part in torch.split(images, batch)]
        return torch.cat(parts)
    given = torch.as_tensor(classes).to(device=images.device, dtype=torch.int64)
    if given.shape != (len(images),):
        raise ValueError(f"classes have shape {tuple(given.shape)} for {len(images)} images: pass one class per image")
    known = _probabilities(scores, images[:1].clone()).shape[1]
    if given.min() < 0 or given.max() >= known:
        raise ValueError(f"classes span {given.min()}..{given.max()}, but the scores have classes 0..{known - 1}")
    return given


def _probabilities(scores: Scores, rows: Tensor) -> Tensor:
    """(B, K) float32 on the rows' device, checked."""
    found = scores(rows)
    if found.ndim != 2 or len(found) != len(rows):
        raise ValueError(f"scores of shape {tuple(found.shape)} for {len(rows)} images: return (B, K) probabilities")
    found = found.to(device=rows.device, dtype=torch.float32)
    # Softmax in half precision may end a hair above 1.
    if not bool(((found >= 0) & (found <= 1 + 1e-3)).all()):
        raise ModelError(
            "The model's scores hold values outside 0..1 or NaN: expected softmax probabilities, not logits; "
            "if they are, training diverged: train again with a smaller learning rate."
        )
    return found


def _check(images: Tensor, maps: Tensor, step: int | None, batch: int, blur: tuple[int, float] | None) -> None:
    """Raise on inputs that cannot be evaluated."""
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images have shape {tuple(images.shape)}: pass square ones, (N, 3, S, S)")
    expected = (images.shape[0], *images.shape[-2:])
    if tuple(maps.shape) != expected:
        raise ValueError(f"maps have shape {tuple(maps.shape)}, expected {expected}: bring them to the images' grid")
    if step is not None and step < 1:
        raise OptionError(f"step is {step}: pass at least 1 pixel per step, or nothing for one row's worth")
    if batch < 1:
        raise OptionError(f"batch is {batch}: pass at least 1 image per batch")
    if blur is not None and (blur[0] < 1 or blur[0] % 2 == 0 or blur[1] <= 0):
        raise OptionError(f"blur is {blur}: pass an odd kernel side and a sigma above 0, in pixels, such as (11, 5)")
    if not bool(torch.isfinite(maps).all()):
        raise ModelError(
            "An attention map holds NaN or infinite values, expected finite ones: "
            "training diverged; train again with a smaller learning rate."
        )
