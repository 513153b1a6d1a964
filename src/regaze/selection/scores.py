"""How much each photograph deserves an expert, as one number per photograph.

Invariant: a score depends on the photographs and the seed alone, never on the order in which they come; higher =
sooner; NaN where the rule cannot tell, never a guess.

Only `map_error` looks at the truth about lesions. All others use what the model itself says, so they work where
nobody knows where the lesions are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from regaze.records import Collected

Score = Callable[[Sequence[Collected], int], NDArray[np.float64]]
"""N photographs and a seed -> (N,) float64, higher = sooner; NaN where the rule cannot tell."""

# The label-free stand-ins for map error, each with what a clinician reads of it.
SIGNALS: dict[str, str] = {
    "branches": "the grades of its branches",
    "scales": "the maps of its scales",
    "cam": "its map against Grad-CAM",
    "instability": "its map under flips and small shifts",
    "prior": "its map against earlier corrections",
}
# The loudest signals that the reason of `combined` names; a third makes the line long and says little.
_NAMED = 2


def confidence(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """1 - confidence, 0..1: least confident first (rule (a) of the paper)."""
    return np.array([1.0 - photograph.confidence for photograph in collected], dtype=np.float64)


def entropy(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Shannon entropy over its maximum, 0 (one class is certain) .. 1 (all alike); NaN without probabilities.

    -sum(p ln p) / ln K (Settles, "Active Learning Literature Survey", 2009, section 3.1). Divided by ln K, so that it
    reads the same for two classes and for five.
    """
    return np.array([_entropy(photograph.probabilities) for photograph in collected], dtype=np.float64)


def margin(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Closest race between the two likeliest classes first, 0..1; NaN without probabilities.

    1 - (p1 - p2) (Scheffer et al. 2001; Settles 2009, section 3.1). The two are the likeliest classes, which need not
    include the decoded grade.
    """
    return np.array([_margin(photograph.probabilities) for photograph in collected], dtype=np.float64)


def map_error(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Largest squared error between map and true lesion map first (rule (b) of the paper); NaN without that truth.

    An oracle: it needs the true map of every candidate beforehand, which is what the expert is to be asked for.
    """
    return np.array([_known(photograph.squared_error) for photograph in collected], dtype=np.float64)


def signal(name: str) -> Score:
    """The score that is one of `SIGNALS`, 0 or more; NaN where a photograph lacks it."""
    return lambda collected, _seed: _signal(collected, name)


def combined(collected: Sequence[Collected], _seed: int) -> NDArray[np.float64]:
    """Highest mean rank over the label-free signals first, above 0 and below 1; NaN without any signal.

    Each signal is replaced by its rank among the photographs that have it, so that no unit or outlier rules the sum,
    and a photograph's score is the mean over the signals that it has. A signal that nobody has, or that is the same
    for all, changes no order.

    Uncertainty of the grade (`entropy`, `margin`, `confidence`) is not in it: this rule stands in for map error, which
    knows nothing of the grade, and `branches` already speaks for the grade. It also keeps the question clean whether
    looking at the maps beats confidence.

    A rank depends on who else is a candidate: unlike with the other rules, a photograph that leaves may reorder the
    rest.
    """
    ranks = _signal_ranks(collected)
    present = ~np.isnan(ranks)
    sums, counts = np.where(present, ranks, 0.0).sum(axis=0), present.sum(axis=0)
    means = np.full(len(collected), math.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def explain_combined(collected: Sequence[Collected], scores: NDArray[np.float64]) -> list[str]:
    """Which signals put a photograph where `combined` ranks it.

    Args:
        collected: N photographs, those that were ranked together.
        scores: (N,) float64 of `combined`.

    Returns:
        One phrase per photograph.
    """
    ranks = _signal_ranks(collected)
    names = SIGNALS.values()
    lines = []
    for index, score in enumerate(scores):
        known = [(name, float(rank)) for name, rank in zip(names, ranks[:, index], strict=True) if not math.isnan(rank)]
        loudest = sorted(known, key=lambda pair: -pair[1])[:_NAMED]
        text = " and ".join(f"{name} ({rank:.2f})" for name, rank in loudest)
        lines.append(f"{score:.3f} of 1 over {len(known)} uncertainty score{'s' * (len(known) > 1)}, most by {text}")
    return lines


def random(collected: Sequence[Collected], seed: int) -> NDArray[np.float64]:
    """In random order, uniform in 0..1: the baseline that any other rule has to beat."""
    return np.array([draw("random", seed, photograph.sample) for photograph in collected], dtype=np.float64)


def draw(purpose: str, seed: int, sample: str) -> float:
    """A number in 0..1 that depends on nothing but its arguments.

    A hash and not a generator, so that a photograph keeps its number when others join or leave.

    Args:
        purpose: Keeps draws for different uses apart.
        seed: Any whole number.
        sample: `Sample.id`.

    Returns:
        Uniform in 0..1, 1 excluded.
    """
    # surrogatepass: a file name that is no UTF-8 must not stop a ranking.
    text = f"{purpose}\0{int(seed)}\0{sample}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11) / 2**53


def normalised_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks brought between 0 and 1, whatever the unit of the values.

    (rank - 1/2) / n with rank 1 for the smallest; equal values share the mean of their ranks. The mean of the result
    is 1/2 for any values, so a signal that is the same for all is neutral.

    Args:
        values: (N,) float64; NaN: not measured.

    Returns:
        (N,) float64, above 0 and below 1, n = number of measured values; NaN where not measured.
    """
    ranks = np.full(values.shape, math.nan)
    measured = ~np.isnan(values)
    if measured.any():
        _, inverse, counts = np.unique(values[measured], return_inverse=True, return_counts=True)
        ranks[measured] = ((np.cumsum(counts) - counts / 2) / counts.sum())[inverse]
    return ranks


def _signal_ranks(collected: Sequence[Collected]) -> NDArray[np.float64]:
    """(signals, N) normalised ranks in the order of `SIGNALS`; NaN where a photograph lacks a signal."""
    return np.stack([normalised_ranks(_signal(collected, name)) for name in SIGNALS])


def _signal(collected: Sequence[Collected], name: str) -> NDArray[np.float64]:
    return np.array([_known(photograph.signals.get(name)) for photograph in collected], dtype=np.float64)


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _entropy(probabilities: Sequence[float]) -> float:
    if not _whole(probabilities):
        return math.nan
    if len(probabilities) == 1:
        return 0.0
    # A probability of 0 adds nothing (the limit of p ln p); max: a certain grade is 0.0 and not -0.0.
    spread = -math.fsum(share * math.log(share) for share in probabilities if share > 0)
    return max(0.0, spread / math.log(len(probabilities)))


def _margin(probabilities: Sequence[float]) -> float:
    if not _whole(probabilities):
        return math.nan
    first, second = sorted([*probabilities, 0.0], reverse=True)[:2]
    return 1.0 - (first - second)


def _whole(probabilities: Sequence[float]) -> bool:
    return len(probabilities) > 0 and not any(math.isnan(share) for share in probabilities)
