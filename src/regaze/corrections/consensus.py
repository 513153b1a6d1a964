"""What several experts' masks of one photograph have in common, and how far they agree.

Invariant: an expert who said nothing about a photograph is absent; an empty mask says that nothing is here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from regaze.errors import CorrectionError

MAX_EXPERTS = 16  # bounds STAPLE's table of patterns of votes to 65,536 rows

_TOLERANCE, _MAX_ROUNDS = 1e-7, 10_000  # STAPLE ends when no estimate moves by more, or after so many rounds

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PairAgreement:
    """How far two masks agree; every number is 1 for equal masks, two empty ones included.

    Attributes:
        first, second: Their names.
        dice: 2 |A and B| / (|A| + |B|).
        iou: |A and B| / |A or B|.
        kappa: Cohen's kappa over the pixels: agreement beyond that of two masks of these sizes laid down by chance.
        tolerant_dice: Dice in which a pixel agrees when the other mask has one at most `tolerance` away.
        both_empty: Neither marks a pixel.
    """

    first: str
    second: str
    dice: float
    iou: float
    kappa: float
    tolerant_dice: float
    both_empty: bool


def majority(masks: Sequence[_Mask]) -> _Mask:
    """The pixels that more than half of the experts marked.

    A tie is not marked. Half is no majority; with two experts a tie that counted would make each one's slip part of the
    consensus; and where every expert's "look here" and "not here" are disjoint, so are the two majorities. For two
    experts this is the intersection; `staple` weighs them instead.

    Args:
        masks: At least one and at most `MAX_EXPERTS`, each (H, W) bool of one size.

    Raises:
        CorrectionError: Too many masks.
    """
    _check_number(masks)
    votes = np.zeros(masks[0].shape, dtype=np.uint8)
    for mask in masks:
        votes += mask
    is_marked: _Mask = votes > len(masks) // 2
    return is_marked


def staple(masks: Sequence[_Mask]) -> NDArray[np.float32]:
    """Estimate the true mask and every expert's sensitivity and specificity at once (STAPLE).

    Warfield, Zou and Wells 2004, https://doi.org/10.1109/TMI.2004.828354: expectation-maximisation for binary masks, in
    turn the probability of every pixel and the shares that say how reliable each expert is; no smoothing between
    neighbours (the paper's Markov field). As in ITK it starts from the share of the experts that marked a pixel.
    Written here because SimpleITK, which has it, is a wheel of 53 MB (264 MB installed); a test compares the numbers.
    Two masks alone do not determine four unknowns: their result depends on the start. The unmarked surroundings count
    as agreement: the larger they are, the smaller the prior and the nearer all specificities to 1.

    With n experts a pixel shows one of 2^n patterns of votes. Everything is computed from the patterns and how often
    each occurs, which is exact and makes 12 million pixels cost one pass over each mask.

    Args:
        masks: At least one and at most `MAX_EXPERTS`, each (H, W) bool of one size.

    Returns:
        (H, W) float32, 0..1: the probability that the pixel is truly marked. Where nobody marked anything (or everybody
        all), that is certain.

    Raises:
        CorrectionError: Too many masks.
    """
    _check_number(masks)
    patterns = np.zeros(masks[0].shape, dtype=np.uint16)  # bit i is the vote of mask i
    for bit, mask in enumerate(masks):
        patterns |= mask.astype(np.uint16) << bit
    n = len(masks)
    votes: _Mask = (np.arange(1 << n)[:, None] >> np.arange(n)) % 2 == 1  # (2^n, n)
    counts = np.bincount(patterns.reshape(-1), minlength=1 << n).astype(np.float64)
    marked = votes.mean(axis=1)
    prior = float(counts @ marked / counts.sum())
    rates = np.full(2 * n, np.inf)
    for _ in range(_MAX_ROUNDS):
        before = rates
        sensitivity, specificity = _share_of(votes, counts * marked), _share_of(~votes, counts * (1 - marked))
        marked = _posterior(votes, sensitivity, specificity, prior)
        rates = np.concatenate([sensitivity, specificity])
        if not (np.abs(rates - before) > _TOLERANCE).any():  # NaN: there is nothing to estimate, and so nothing moves
            break
    probability: NDArray[np.float32] = marked.astype(np.float32)[patterns]
    return probability


def agreement(masks: Mapping[str, _Mask], tolerance: float = 0.0) -> list[PairAgreement]:
    """Compare the masks of one photograph, each with each.

    The same measure serves experts among each other and a model against experts: pass the model's map, cut at a level,
    as one more mask.

    Args:
        masks: Name -> (H, W) bool of one size.
        tolerance: Distance in pixels (between centres) within which `tolerant_dice` lets a pixel agree, 0 or more.

    Returns:
        One entry per pair, in the order given.

    Raises:
        CorrectionError: The tolerance is negative or no number.
    """
    if not 0 <= tolerance < math.inf:
        raise CorrectionError(f"tolerance is {tolerance}, expected 0 or more pixels")
    near = {name: _neighbourhood(mask, tolerance) for name, mask in masks.items()}
    return [
        _pair(
            (first, second),
            (masks[first], masks[second]),
            int(np.count_nonzero(masks[first] & near[second]) + np.count_nonzero(masks[second] & near[first])),
        )
        for first, second in combinations(masks, 2)
    ]


def _check_number(masks: Sequence[_Mask]) -> None:
    if len(masks) > MAX_EXPERTS:
        raise CorrectionError(f"{len(masks)} experts' masks of one photograph, expected at most {MAX_EXPERTS}")


def _posterior(
    votes: _Mask, sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """Probability that a pixel with each pattern is truly marked."""
    if prior in (0.0, 1.0):
        return np.full(len(votes), prior)
    if_marked = prior * np.where(votes, sensitivity, 1 - sensitivity).prod(axis=1)
    if_unmarked = (1 - prior) * np.where(votes, 1 - specificity, specificity).prod(axis=1)
    total = if_marked + if_unmarked
    # Both are 0 only for a pattern that no pixel shows; it is as probable as it was beforehand.
    posterior = np.full(len(votes), prior)
    np.divide(if_marked, total, out=posterior, where=total > 0)
    return posterior


def _share_of(votes: _Mask, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted share of the pixels for which each expert voted so; NaN over no weight."""
    total = weights.sum()
    if not total:
        return np.full(votes.shape[1], np.nan)
    # Rounding may end a hair above 1.
    shares: NDArray[np.float64] = np.minimum(weights @ votes / total, 1.0)
    return shares


def _pair(names: tuple[str, str], masks: tuple[_Mask, _Mask], n_near: int) -> PairAgreement:
    """Measures of two masks, of whose pixels `n_near` have one of the other mask near."""
    n_first, n_second, n_both = (int(np.count_nonzero(mask)) for mask in (*masks, masks[0] & masks[1]))
    n_pixels, n_sum = masks[0].size, n_first + n_second
    both_empty = n_sum == 0
    n_observed = n_pixels - n_sum + 2 * n_both  # agree
    # Times n_pixels: how many would agree by chance. Whole numbers, so that nothing is lost on the way.
    n_chance = n_first * n_second + (n_pixels - n_first) * (n_pixels - n_second)
    surplus = n_pixels * n_pixels - n_chance  # 0: both mark nothing, or both mark all
    return PairAgreement(
        *names,
        dice=1.0 if both_empty else 2 * n_both / n_sum,
        iou=1.0 if both_empty else n_both / (n_sum - n_both),
        kappa=1.0 if surplus == 0 else (n_observed * n_pixels - n_chance) / surplus,
        tolerant_dice=1.0 if both_empty else n_near / n_sum,
        both_empty=both_empty,
    )


def _neighbourhood(mask: _Mask, tolerance: float) -> _Mask:
    """The pixels at most `tolerance` from one of the mask."""
    if tolerance < 1 or not mask.any():
        return mask
    import cv2  # here, since the rest of the module does without it

    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    is_near: _Mask = distance <= tolerance + 1e-3  # the distances are float32
    return is_near
