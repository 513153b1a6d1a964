"""Deletion and Insertion: does the grade depend on the pixels that the map points at?

Defined by RISE (Petsiuk et al. 2018, arXiv 1806.07421; github.com/eclique/RISE, `evaluation.py`): pixels, all channels
at once, are changed by falling value of the map, a step at a time, and the probability of the class that the model
gives the untouched image is recorded before the first change and after each. Deletion goes from the image to grey (0 in
normalised space), Insertion from a blurred image to the image. Only the order of the map's values counts.

Invariant: this module knows no model, only a callable `images -> probabilities`; it changes neither images nor maps.

Bars that pad a photograph to a square are no picture: they stay as they are from the first point to the last, and no
step changes them. A map would rank them last and a random order anywhere, which is a difference of the bars.

Deviations from RISE's code: where values tie, the pixel that comes first in row-major order is changed first (RISE's
`argsort` leaves the order open); kernel and sigma of the blur grow with the side of the image (RISE's are for 224 px);
what curves have in common is asked once (the untouched image is the first point of Deletion and the last of Insertion,
of every map). AUCs are given per image (RISE's is that of the mean curve, which is their mean).

Suffixes: N = image, C = channel, S = side, P = pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regaze.errors import ModelError, OptionError
from regaze.evaluation.inpainting import inpainted
from regaze.evaluation.perturbation import Questions, Scores, pixel_order
from regaze.evaluation.picture import WHOLE, Picture
from regaze.evaluation.substrates import check_substrate, substituted
from regaze.records import Substrate

# Rows per call of the model. On processors ResNet18 at 224 px was fastest in batches of 8 to 16, and 11 to 15 % slower
# in 64, whose layers outgrow the cache (bench/faithfulness.py searches again); graphics cards were not measured.
_BATCH_CPU, _BATCH_OTHER = 16, 64


@dataclass(frozen=True)
class Procedure:
    """How pixels are changed. The defaults are RISE's.

    Attributes:
        n_steps: Number of steps: each changes positions (pixels, or patches) / n_steps, rounded up, so that there may
            be fewer where that does not divide. None: one row's worth a step, S pixels (RISE's 224 at 224 px) or a row
            of patches.
        patch: Side in cropped pixels of the squares that are changed as one; 1: pixels. A lesion of a few pixels
            leaves the model hardly any trace when its pixels vanish one by one among others.
        deletion: What deleted pixels become.
        insertion: What Insertion starts from.
        black: Per channel the value of the substrate `black`, see `substrates.normalised_black`.
    """

    n_steps: int | None = None
    patch: int = 1
    deletion: Substrate = "grey"
    insertion: Substrate = "blur"
    black: Sequence[float] | None = None

    def positions(self, side: int) -> int:
        """Pixels or patches in an image of this side."""
        return (-(-side // self.patch)) ** 2

    def step_for(self, side: int) -> int:
        """Positions per step at this side; the last step may change fewer."""
        return -(-side // self.patch) if self.n_steps is None else -(-self.positions(side) // self.n_steps)

    def check(self, channels: int) -> None:
        """Raise OptionError on what cannot be done, for images of that many channels."""
        if self.n_steps is not None and self.n_steps < 1:
            raise OptionError(f"n_steps is {self.n_steps}: pass at least 1, or nothing for one row's worth per step")
        if self.patch < 1:
            raise OptionError(f"patch is {self.patch}: pass a side of at least 1 pixel")
        for substrate in (self.deletion, self.insertion):
            check_substrate(substrate, channels, self.black)


@dataclass(frozen=True)
class Faithfulness:
    """Deletion and Insertion of N images.

    Attributes:
        deletion: (N,) float64, area under each deletion curve, 0..1, lower is better.
        insertion: (N,) float64, area under each insertion curve, 0..1, higher is better.
        deletion_curves: (N, n_steps + 1) float64, probability of the class after 0..n_steps steps.
        insertion_curves: (N, n_steps + 1) float64, likewise.
        classes: (N,) int64, the class whose probability was followed.
        shares: (n_steps + 1,) float64, share of the positions that are changed after each step, 0..1; the same for all
            images, a picture beside bars takes the nearest whole numbers of its own positions. The areas count each
            step alike, as RISE's do, also where the last is shorter.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    deletion_curves: NDArray[np.float64]
    insertion_curves: NDArray[np.float64]
    classes: NDArray[np.int64]
    shares: NDArray[np.float64]


@torch.no_grad()
def compare_orders(
    scores: Scores,
    images: Tensor,
    maps: Mapping[str, Tensor | NDArray[np.float32]],
    procedure: Procedure = Procedure(),
    *,
    classes: Tensor | NDArray[np.int64] | None = None,
    pictures: Sequence[Picture] | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Faithfulness]:
    """Deletion and Insertion of several maps of the same images: explainers, and reference rankings.

    Memory beyond the inputs is that of one batch, whatever N and the number of steps; both modes are one pass over the
    images. The untouched images, the substrates and the followed class are shared: M maps take 3 + 2 M (n_steps - 1)
    rows per image (one row fewer where both modes have the same substrate).

    Args:
        scores: (B, 3, S, S) float32, channels_last, on the device of `images`, valid during the call alone -> (B, K)
            softmax probabilities; puts the model into eval mode itself.
        images: (N, 3, S, S) float32, normalised, cropped pixels.
        maps: Name -> (N, S, S) float, cropped pixels, any range, on any device. Pass a map before its sigmoid:
            saturated values tie.
        procedure: Steps, patches and substrates.
        classes: (N,) int, the classes to follow; None: the model's arg-max on the untouched images.
        pictures: Where in each of the N squares the photograph lies; None: everywhere.
        batch: Images per call of `scores`; None: 16 on a processor, else 64.
        progress: Called with (images done, N).

    Returns:
        One result per name, in the order of `maps`.

    Raises:
        ValueError: Shapes that do not fit each other, or a class that the scores do not have.
        OptionError: What `Procedure` cannot do, or `batch` below 1.
        ModelError: Maps or scores that are not finite, or scores that are no probabilities.
    """
    tensors = {name: torch.as_tensor(item) for name, item in maps.items()}
    _check(images, tensors, batch)
    if pictures is not None and len(pictures) != len(images):
        raise ValueError(f"{len(pictures)} pictures for {len(images)} images: pass one per image")
    procedure.check(images.shape[1])
    side = images.shape[-1]
    step, positions = procedure.step_for(side), procedure.positions(side)
    inner = -(-positions // step) - 1
    shares = np.minimum(np.arange(inner + 2) * step, positions) / positions
    # Of each image: the untouched one, both substrates, then the inner points of each curve.
    per_image = 3 + 2 * inner * len(tensors)
    rows_at_once = batch or (_BATCH_CPU if images.device.type == "cpu" else _BATCH_OTHER)
    questions = Questions(scores, images, len(images) * per_image, rows_at_once, _given_classes(classes, images))
    for index, picture in enumerate([WHOLE] * len(images) if pictures is None else pictures):
        own_maps = [maps_NSS[index] for maps_NSS in tensors.values()]
        for slot, picture_PC in _rows(images[index : index + 1], picture, own_maps, procedure, shares.tolist()):
            questions.add(picture_PC, index, index * per_image + slot, decides=slot == 0)
        if progress is not None:
            progress(index + 1, len(images))
    questions.close()
    answers = questions.answers.cpu().double().numpy().reshape(len(images), per_image)
    clean, deleted = answers[:, :1], answers[:, 1:2]
    start = deleted if procedure.insertion == procedure.deletion else answers[:, 2:3]
    followed = questions.classes.cpu().numpy()
    results = {}
    for number, name in enumerate(tensors):
        begin = 3 + 2 * inner * number
        middle, end = begin + inner, begin + 2 * inner
        deletion_curves = np.concatenate([clean, answers[:, begin:middle], deleted], axis=1)
        insertion_curves = np.concatenate([start, answers[:, middle:end], clean], axis=1)
        results[name] = Faithfulness(
            deletion=area_under_curve(deletion_curves),
            insertion=area_under_curve(insertion_curves),
            deletion_curves=deletion_curves,
            insertion_curves=insertion_curves,
            classes=followed.copy(),
            shares=shares,
        )
    return results


def mean_result(results: Sequence[Faithfulness]) -> Faithfulness:
    """The mean of several orders of the same images, e.g. of several draws of one reference ranking.

    Args:
        results: At least one, of one call of `compare_orders`, so that classes and shares are the same.
    """
    keys = ("deletion", "insertion", "deletion_curves", "insertion_curves")
    means = {key: np.mean([getattr(result, key) for result in results], axis=0) for key in keys}
    return replace(results[0], **means)


def area_under_curve(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trapezoid rule over an x axis of length 1: (sum - first / 2 - last / 2) / (scores - 1), RISE's `auc`.

    Args:
        curves: (..., n_steps + 1) float64, at least two scores.

    Returns:
        (...) float64.
    """
    inner = curves.sum(-1) - curves[..., 0] / 2 - curves[..., -1] / 2
    return np.asarray(inner / (curves.shape[-1] - 1))


def _rows(
    image_1CSS: Tensor, picture: Picture, maps: Sequence[Tensor], procedure: Procedure, shares: Sequence[float]
) -> Iterator[tuple[int, Tensor]]:
    """Every row of one image with its slot among the image's answers; a picture is changed after it was yielded."""

    def replaced(substrate: Substrate) -> Tensor:
        result_1CSS = image_1CSS.clone()
        result_1CSS[..., *picture] = substituted(image_1CSS[..., *picture], substrate, procedure.black)
        return _flat(result_1CSS)

    clean_PC = _flat(image_1CSS)
    deleted_PC = start_PC = replaced(procedure.deletion)
    yield 0, clean_PC
    yield 1, deleted_PC
    if procedure.insertion != procedure.deletion:
        start_PC = replaced(procedure.insertion)
        yield 2, start_PC
    slot = 3
    for map_SS in maps:
        pixels_P, cuts = pixel_order(map_SS.to(image_1CSS.device), procedure.patch, shares, picture)
        for substrate, before_PC, after_PC in (
            (procedure.deletion, clean_PC, deleted_PC),
            (procedure.insertion, start_PC, clean_PC),
        ):
            if substrate == "inpaint":
                pictures = _walk_inpainted(image_1CSS, picture, pixels_P, cuts, inserts=after_PC is clean_PC)
            else:
                pictures = _walk(before_PC, after_PC, pixels_P, cuts)
            for picture_PC in pictures:
                yield slot, picture_PC
                slot += 1


def _walk(before_PC: Tensor, after_PC: Tensor, pixels_P: Tensor, cuts: Sequence[int]) -> Iterator[Tensor]:
    """The picture after each step but the last, always the same tensor."""
    picture_PC = before_PC.clone()
    for begin, end in pairwise(cuts[:-1]):
        changed = pixels_P[begin:end]
        picture_PC.index_copy_(0, changed, after_PC.index_select(0, changed))
        yield picture_PC


def _walk_inpainted(
    image_1CSS: Tensor, picture: Picture, pixels_P: Tensor, cuts: Sequence[int], *, inserts: bool
) -> Iterator[Tensor]:
    """As `_walk`; what is missing after each step is filled from what is there of the picture."""
    known_SS = torch.full(image_1CSS.shape[-2:], not inserts, dtype=torch.bool, device=image_1CSS.device)
    filled_1CSS = image_1CSS.clone()
    for begin, end in pairwise(cuts[:-1]):
        known_SS.view(-1)[pixels_P[begin:end]] = inserts
        filled_1CSS[..., *picture] = inpainted(image_1CSS[..., *picture], known_SS[picture])
        yield _flat(filled_1CSS)


def _flat(image_1CSS: Tensor) -> Tensor:
    """(P, C), a pixel's channels side by side."""
    return image_1CSS[0].permute(1, 2, 0).flatten(0, 1).contiguous()


def _given_classes(classes: Tensor | NDArray[np.int64] | None, images: Tensor) -> Tensor | None:
    """(N,) int64 on the images' device."""
    if classes is None:
        return None
    given = torch.as_tensor(classes).to(device=images.device, dtype=torch.int64)
    if given.shape != (len(images),):
        raise ValueError(f"classes have shape {tuple(given.shape)} for {len(images)} images: pass one class per image")
    return given


def _check(images: Tensor, maps: Mapping[str, Tensor], batch: int | None) -> None:
    """Raise on inputs that cannot be evaluated."""
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images have shape {tuple(images.shape)}: pass square ones, (N, 3, S, S)")
    if batch is not None and batch < 1:
        raise OptionError(f"batch is {batch}: pass at least 1 image per batch")
    expected = (images.shape[0], *images.shape[-2:])
    for name, item in maps.items():
        if tuple(item.shape) != expected:
            raise ValueError(
                f"maps of {name!r} have shape {tuple(item.shape)}, expected {expected}: bring them to the images' grid"
            )
        # One at a time: an answer for all of them would be as large as the maps.
        if not all(bool(torch.isfinite(map_SS).all()) for map_SS in item):
            raise ModelError(
                f"A map of {name!r} holds NaN or infinite values, expected finite ones: an attention map diverged in "
                "training (train again with a smaller learning rate), or the lesions of a photograph without any were "
                "to be ranked (leave it out)."
            )
