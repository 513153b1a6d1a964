"""Which photographs an expert should correct first.

Invariant: the same photographs, rule and seed give the same ranking, in whatever order the photographs come
and on whatever machine; with the same seed, a bigger share begins with the smaller one.

To add a rule, write one function and give it one entry in `RULES`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from regaze.errors import OptionError
from regaze.records import Collected

NEEDS_EXPERT = ("misgraded", "elsewhere", "unknown")


@dataclass(frozen=True)
class Rule:
    """A way to rank, callable like the function it holds.

    Attributes:
        function: Photographs and seed -> scores (N,) float64, higher = sooner; NaN where the rule cannot
            tell.
        quantity: What the score is, as it stands in the reasons.
        needs: What must be known for a score; named where no photograph has one.
    """

    function: Callable[[Sequence[Collected], int], NDArray[np.float64]]
    quantity: str
    needs: str = "nothing but the model's own output"

    def __call__(self, collected: Sequence[Collected], seed: int) -> NDArray[np.float64]:
        """Score photographs.

        Args:
            collected: N photographs as the model sees them.
            seed: Seed; used by random rules only.

        Returns:
            (N,) float64, higher = sooner; NaN where the rule cannot tell.
        """
        return self.function(collected, seed)


def confidence(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Least confident first (rule (a) of the paper).

    Args:
        collected: N photographs.
        _seed: Not used.

    Returns:
        (N,) float64: 1 - confidence, 0..1.
    """
    return np.array([1.0 - one.confidence for one in collected], dtype=np.float64)


def map_error(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Largest squared error between map and true lesion map first (rule (b) of the paper).

    An oracle: it needs the true map of every candidate beforehand, which is what the expert is to be asked
    for.

    Args:
        collected: N photographs.
        _seed: Not used.

    Returns:
        (N,) float64, 0 or more; NaN where the truth about lesions is unknown.
    """
    return np.array(
        [math.nan if one.squared_error is None else one.squared_error for one in collected], dtype=np.float64
    )


def random(collected: Sequence[Collected], seed: int) -> NDArray[np.float64]:
    """In random order: the baseline that any other rule has to beat.

    Args:
        collected: N photographs.
        seed: Seed of the order.

    Returns:
        (N,) float64, uniform in 0..1; each depends on the seed and the photograph's id alone.
    """
    return np.array([_draw("random", seed, one.sample) for one in collected], dtype=np.float64)


RULES: dict[str, Rule] = {
    "confidence": Rule(confidence, "doubt"),
    "map-error": Rule(map_error, "squared error", needs="lesion masks or boxes"),
    "random": Rule(random, "draw"),
}


@dataclass(frozen=True)
class Ranking:
    """What a rule puts in front of an expert.

    Attributes:
        samples: `Sample.id`s taken, most wanted first.
        reasons: One line per sample: rank, score, grade, truth and diagnosis.
        n_candidates: Photographs that were ranked; the share is a share of these.
        n_left_out: Photographs that need an expert but have no score under this rule, and so were not ranked.
    """

    samples: tuple[str, ...]
    reasons: tuple[str, ...]
    n_candidates: int
    n_left_out: int


def candidates(collected: Sequence[Collected]) -> list[Collected]:
    """The photographs that need an expert.

    Args:
        collected: Photographs as the model sees them.

    Returns:
        The misgraded, those whose map misses the lesions, and those whose lesions are unknown (an expert has
        to decide there), sorted by sample id.
    """
    return sorted((one for one in collected if one.diagnosis in NEEDS_EXPERT), key=lambda one: one.sample)


def select(
    collected: Sequence[Collected],
    rule: str,
    *,
    share: float | None = 0.3,
    count: int | None = None,
    seed: int = 0,
    everything: bool = False,
    classes: Sequence[str] | None = None,
) -> Ranking:
    """Rank the candidates and take the first of them.

    Ties are broken by a draw that depends on the seed and the photograph's id alone.

    Args:
        collected: Photographs as the model sees them; unique sample ids.
        rule: One of `RULES`.
        share: Share of the ranked candidates to take, above 0 and at most 1, rounded up; the paper's grading
            gains come at 0.3. Not looked at where `count` is given.
        count: Number of photographs to take; all, where there are fewer.
        seed: Seed of the random rule and of ties.
        everything: Rank every photograph, also those that need no expert.
        classes: Class names for the reasons, indexed by grade and label; None: their numbers.

    Returns:
        The ranking.

    Raises:
        OptionError: If the rule is unknown, the share or count out of range or both missing, no photograph
            needs an expert, or the rule can score none of them.
        ValueError: If two photographs have the same id.
    """
    if rule not in RULES:
        raise OptionError(f"rule is {rule!r}, expected one of {', '.join(RULES)}")
    _check_amount(share, count)
    if len({one.sample for one in collected}) != len(collected):
        raise ValueError("two collected photographs have the same sample id")
    pool = sorted(collected, key=lambda one: one.sample) if everything else candidates(collected)
    if not pool:
        raise OptionError(_nothing_to_rank(len(collected)))

    scores = RULES[rule](pool, seed)
    assert scores.shape == (len(pool),)
    ranked = [(one, float(score)) for one, score in zip(pool, scores, strict=True) if not math.isnan(score)]
    if not ranked:
        raise OptionError(
            f"rule {rule!r} needs {RULES[rule].needs}, which none of the {len(pool)} photographs has: "
            f"take another rule ({', '.join(name for name in RULES if name != rule)}), or add what it needs"
        )
    ranked.sort(key=lambda pair: (-pair[1], _draw("tie", seed, pair[0].sample), pair[0].sample))
    n_taken = _amount(len(ranked), share, count)
    reasons = tuple(
        f"rank {rank} of {len(ranked)} by {rule}: {RULES[rule].quantity} {score:.3f}; {_describe(one, classes)}"
        for rank, (one, score) in enumerate(ranked[:n_taken], start=1)
    )
    samples = tuple(one.sample for one, _ in ranked[:n_taken])
    return Ranking(samples, reasons, n_candidates=len(ranked), n_left_out=len(pool) - len(ranked))


def _check_amount(share: float | None, count: int | None) -> None:
    if count is not None:
        if count < 1:
            raise OptionError(f"count is {count}, expected 1 or more photographs")
    elif share is None:
        raise OptionError("neither share nor count is given, expected one of them: how many photographs to take")
    elif not 0 < share <= 1:
        raise OptionError(f"share is {share}, expected above 0 and at most 1")


def _amount(n_ranked: int, share: float | None, count: int | None) -> int:
    if count is not None:
        return min(count, n_ranked)
    assert share is not None
    # As the decimal that the user typed: 0.07 * 100 is 7.000000000000001 in floats, rounded up 8.
    return math.ceil(Fraction(str(float(share))) * n_ranked)


def _nothing_to_rank(n_collected: int) -> str:
    if n_collected == 0:
        return "no photograph was collected, expected at least one: collect the training photographs first"
    return (
        f"none of the {n_collected} photographs needs an expert (all graded right, all maps on the lesions): "
        "rank everything, or raise the least relevance rank or enrichment when collecting"
    )


def _describe(one: Collected, classes: Sequence[str] | None) -> str:
    def name(index: int) -> str:
        return str(index) if classes is None else classes[index]

    truth = "unknown" if one.label is None else name(one.label)
    return f"graded {name(one.grade)} (confidence {one.confidence:.2f}), truth {truth}: {_verdict(one)}"


def _verdict(one: Collected) -> str:
    if one.diagnosis == "elsewhere":
        measures = (("relevance rank", one.relevance_rank), ("enrichment", one.enrichment))
        text = ", ".join(f"{name} {value:.2f}" for name, value in measures if value is not None)
        return f"looks elsewhere ({text})" if text else "looks elsewhere"
    return "lesions unknown" if one.diagnosis == "unknown" else one.diagnosis


def _draw(purpose: str, seed: int, sample: str) -> float:
    """A number in 0..1 that depends on nothing but its arguments.

    A hash and not a generator, so that a photograph keeps its number when others join or leave.
    """
    # surrogatepass: a file name that is no UTF-8 must not stop a ranking.
    text = f"{purpose}\0{int(seed)}\0{sample}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11) / 2**53
