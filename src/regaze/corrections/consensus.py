"""What several experts' masks of one photograph have in common, and how far they agree.

Invariant: only pixels that somebody looked at and judged count. An expert who said nothing about a photograph is absent
(`None`, or left out); an empty mask is a word: nothing here.

With n experts a pixel shows one of 2^n patterns of votes. Everything here is computed from the patterns and how often
each occurs, which is exact and makes 12 million pixels cost one pass over each mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.masks import check_mask
from regaze.errors import CorrectionError

# Bounds the table of patterns to 65,536 rows.
MAX_EXPERTS = 16

_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Staple:
    """The true mask as STAPLE estimates it, and how reliable each expert was.

    Attributes:
        probability: (H, W) float32, 0..1: that the pixel is truly marked.
        sensitivity: Per expert, in the order given: share of the truly marked pixels that the expert marked; NaN where
            nothing is truly marked.
        specificity: Per expert: share of the truly unmarked pixels left unmarked; NaN where there are none.
        prior: Share of truly marked pixels assumed beforehand.
        n_iterations: Rounds of the algorithm.
        converged: False: the estimates still moved after the last round allowed.
    """

    probability: NDArray[np.float32]
    sensitivity: tuple[float, ...]
    specificity: tuple[float, ...]
    prior: float
    n_iterations: int
    converged: bool


@dataclass(frozen=True)
class PairAgreement:
    """How far two masks agree; every number is 1 for equal masks, two empty ones included.

    Attributes:
        first, second: Names of the two.
        dice: 2 |A and B| / (|A| + |B|).
        iou: |A and B| / |A or B|.
        kappa: Cohen's kappa over the pixels: agreement beyond that of two masks of these sizes placed by chance.
        tolerant_dice: Dice in which a pixel agrees when the other mask has one at most `tolerance` away.
        n_first, n_second, n_both: Pixels in A, in B, in both.
        both_empty: Neither marks a pixel.
    """

    first: str
    second: str
    dice: float
    iou: float
    kappa: float
    tolerant_dice: float
    n_first: int
    n_second: int
    n_both: int
    both_empty: bool


@dataclass(frozen=True)
class Agreement:
    """How far the masks of one photograph agree, pair by pair.

    Attributes:
        pairs: Every pair of names that both said something, in the order given.
        n_used: Number of these pairs.
        n_skipped: Pairs left out because one of the two said nothing.
        n_both_empty: Pairs used in which neither marks a pixel. They agree, and count with 1 in the means.
        dice, iou, kappa, tolerant_dice: Means over the pairs used; NaN where there are none.
    """

    pairs: tuple[PairAgreement, ...]
    n_used: int
    n_skipped: int
    n_both_empty: int
    dice: float
    iou: float
    kappa: float
    tolerant_dice: float


def majority(masks: Sequence[_Mask]) -> _Mask:
    """The pixels that more than half of the experts marked.

    A tie is not marked. Half is no majority; with two experts a tie that counted would make each one's slip part of the
    consensus; and where every expert's "look here" and "not here" are disjoint, so are the two majorities. For two
    experts this is the intersection; `staple` weighs them instead.

    Args:
        masks: At least one and at most `MAX_EXPERTS`, each (H, W) bool of one size.

    Returns:
        (H, W) bool.

    Raises:
        CorrectionError: If there are too few or too many masks, or they are no masks of one size.
    """
    _check(masks)
    votes = np.zeros(masks[0].shape, dtype=np.uint8)
    for mask in masks:
        votes += mask
    is_marked: _Mask = votes > len(masks) // 2
    return is_marked


def staple(
    masks: Sequence[_Mask], *, within: _Mask | None = None, prior: float | None = None, max_iterations: int = 10_000
) -> Staple:
    """Estimate the true mask and every expert's sensitivity and specificity at once (STAPLE).

    Warfield, Zou and Wells 2004, https://doi.org/10.1109/TMI.2004.828354: expectation-maximisation for binary masks, in
    turn the probability of every pixel and the shares that say how reliable each expert is; no smoothing between
    neighbours (the paper's Markov field). As in ITK it starts from the share of the experts that marked a pixel, and
    ends when no estimate moves by more than 1e-7. Written here because SimpleITK, which has it, is a wheel of 53 MB
    (264 MB installed); a test compares the numbers. Two masks alone do not determine four unknowns: their result
    depends on the start.

    The unmarked surroundings count as agreement: the larger they are, the smaller the prior and the nearer all
    specificities to 1. `within` (the field of view, or the surroundings of the lesions) keeps that in bounds.

    Args:
        masks: At least one and at most `MAX_EXPERTS`, each (H, W) bool of one size.
        within: (H, W) bool: pixels from which to estimate; None: all. The others are still given a probability.
        prior: Share of truly marked pixels, above 0 and below 1; None: the mean share that the experts marked.
        max_iterations: Rounds allowed, at least 1.

    Returns:
        The estimate. Where nobody marked anything (or everybody all), that is certain.

    Raises:
        CorrectionError: If there are too few or too many masks, they or `within` are no masks of one size, `within` is
            empty, or a number lies outside its range.
    """
    _check(masks)
    if prior is not None and not 0 < prior < 1:
        raise CorrectionError(f"prior is {prior}, expected above 0 and below 1: leave it out to take the experts' mean")
    if max_iterations < 1:
        raise CorrectionError(f"max_iterations is {max_iterations}, expected 1 or more")
    patterns = _patterns(masks)
    votes = _votes(len(masks))
    counts = _counts(patterns, len(masks), within).astype(np.float64)
    share = float(counts @ votes.mean(axis=1) / counts.sum())
    if prior is not None and 0 < share < 1:
        share = prior
    sensitivity = specificity = np.full(len(masks), np.inf)
    marked = votes.mean(axis=1)
    converged, n_iterations = False, 0
    while not converged and n_iterations < max_iterations:
        before = (sensitivity, specificity)
        sensitivity = _share_of(votes, counts * marked)
        specificity = _share_of(~votes, counts * (1 - marked))
        marked = _posterior(votes, sensitivity, specificity, share)
        n_iterations += 1
        change = np.abs(np.concatenate([sensitivity - before[0], specificity - before[1]]))
        converged = not bool((change > 1e-7).any())  # NaN: there is nothing to estimate, and so nothing moves
    return Staple(
        marked.astype(np.float32)[patterns],
        tuple(sensitivity.tolist()),
        tuple(specificity.tolist()),
        share,
        n_iterations,
        converged,
    )


def agreement(masks: Mapping[str, _Mask | None], *, within: _Mask | None = None, tolerance: float = 0.0) -> Agreement:
    """Compare the masks of one photograph, each with each.

    The same measure serves experts among each other and a model against experts: pass the model's map, cut at a level
    and in original pixels, as one more mask, and read the pairs that have its name.

    Args:
        masks: Name -> (H, W) bool of one size, or None for who said nothing; at most `MAX_EXPERTS` words.
        within: (H, W) bool: pixels to compare; None: all. Kappa depends on it, since it rewards agreeing on nothing.
        tolerance: Distance in pixels (between centres) within which `tolerant_dice` lets a pixel agree, 0 or more.

    Returns:
        The pairs, their means, and how many were used and skipped.

    Raises:
        CorrectionError: If there are too many masks, they or `within` are no masks of one size, `within` is empty, or
            the tolerance is negative or no number.
    """
    if not 0 <= tolerance < math.inf:
        raise CorrectionError(f"tolerance is {tolerance}, expected 0 or more pixels")
    given = {name: mask for name, mask in masks.items() if mask is not None}
    pairs: list[PairAgreement] = []
    if len(given) >= 2:
        names, words = list(given), list(given.values())
        _check(words, names)
        votes, counts = _votes(len(words)), _counts(_patterns(words), len(words), within)
        near = _neighbourhoods(words, within, tolerance)
        for i, j in combinations(range(len(words)), 2):
            n_first, n_second = int(counts[votes[:, i]].sum()), int(counts[votes[:, j]].sum())
            n_both = int(counts[votes[:, i] & votes[:, j]].sum())
            n_near = 2 * n_both if near is None else _overlap(near[i], near[j])
            pairs.append(_pair((names[i], names[j]), (n_first, n_second, n_both, int(counts.sum())), n_near))
    n_possible = len(masks) * (len(masks) - 1) // 2
    means = [
        float(np.mean([getattr(pair, name) for pair in pairs])) if pairs else math.nan
        for name in ("dice", "iou", "kappa", "tolerant_dice")
    ]
    n_both_empty = sum(pair.both_empty for pair in pairs)
    return Agreement(tuple(pairs), len(pairs), n_possible - len(pairs), n_both_empty, *means)


def _check(masks: Sequence[_Mask], names: Sequence[str] | None = None) -> None:
    if not 1 <= len(masks) <= MAX_EXPERTS:
        raise CorrectionError(f"{len(masks)} experts' masks of one photograph, expected 1 to {MAX_EXPERTS}")
    for number, mask in enumerate(masks):
        name = names[number] if names else f"expert {number + 1}"
        check_mask(mask, "look", name)
        _check_size(mask, masks[0], f"the mask of {name}")


def _check_size(mask: _Mask, first: _Mask, what: str) -> None:
    if mask.shape != first.shape:
        raise CorrectionError(
            f"{what} has shape {mask.shape}, expected that of the first, {first.shape}: all must be of one photograph"
        )


def _patterns(masks: Sequence[_Mask]) -> NDArray[np.uint16]:
    """(H, W) numbers whose bit i is the vote of mask i."""
    patterns = np.zeros(masks[0].shape, dtype=np.uint16)
    for bit, mask in enumerate(masks):
        patterns |= mask.astype(np.uint16) << bit
    return patterns


def _votes(n_experts: int) -> _Mask:
    """(2^n, n) bool: the votes of every pattern."""
    votes: _Mask = (np.arange(1 << n_experts)[:, None] >> np.arange(n_experts)) % 2 == 1
    return votes


def _counts(patterns: NDArray[np.uint16], n_experts: int, within: _Mask | None) -> NDArray[np.int64]:
    """How many pixels show each pattern.

    Raises:
        CorrectionError: If `within` is no mask of that size, or empty.
    """
    counted = patterns
    if within is not None:
        check_mask(within, "within", "the comparison")
        if within.shape != patterns.shape or not within.any():
            raise CorrectionError(
                f"mask 'within' has shape {within.shape} and {np.count_nonzero(within)} pixels, "
                f"expected shape {patterns.shape} and at least one: pass None to compare all pixels"
            )
        counted = patterns[within]
    return np.bincount(counted.reshape(-1), minlength=1 << n_experts)


def _posterior(
    votes: _Mask, sensitivity: NDArray[np.float64], specificity: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """Probability that a pixel with each pattern is truly marked."""
    if_marked = prior * np.where(votes, sensitivity, 1 - sensitivity).prod(axis=1)
    if_unmarked = (1 - prior) * np.where(votes, 1 - specificity, specificity).prod(axis=1)
    if prior in (0.0, 1.0):
        return np.full(len(votes), prior)
    total = if_marked + if_unmarked
    # Both are 0 only for a pattern that no counted pixel shows; it is as probable as it was beforehand.
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


def _pair(names: tuple[str, str], sizes: tuple[int, int, int, int], n_near: int) -> PairAgreement:
    """Measures from |A|, |B|, |A and B|, the number of pixels, and how many pixels of A and B have a near one."""
    n_first, n_second, n_both, n_pixels = sizes
    n_sum = n_first + n_second
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
        n_first=n_first,
        n_second=n_second,
        n_both=n_both,
        both_empty=both_empty,
    )


def _neighbourhoods(masks: Sequence[_Mask], within: _Mask | None, tolerance: float) -> list[tuple[_Mask, _Mask]] | None:
    """Each mask, and the pixels at most `tolerance` from it, both within the rectangle that holds all masks.

    Returns:
        One pair per mask; None where the tolerance reaches no neighbour.
    """
    if tolerance < 1:
        return None
    import cv2  # here, since the rest of the room does without it

    kept = [mask if within is None else mask & within for mask in masks]
    marked = np.logical_or.reduce(kept)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    if not len(rows):
        return None
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    found = []
    for mask in (one[window] for one in kept):
        if mask.any():
            distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            found.append((mask, distance <= tolerance + 1e-3))  # the distances are float32
        else:
            found.append((mask, mask))
    return found


def _overlap(first: tuple[_Mask, _Mask], second: tuple[_Mask, _Mask]) -> int:
    """Pixels of either mask that lie near the other."""
    return int(np.count_nonzero(first[0] & second[1])) + int(np.count_nonzero(second[0] & first[1]))
