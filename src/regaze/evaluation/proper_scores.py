"""Scores of the probabilities themselves, photograph by photograph: what kappa of decoded grades cannot see.

Both are proper: nobody is better off in the mean by saying other probabilities than what he believes (Gneiting and
Raftery 2007). Lower is better. A kappa counts decided grades alone, so that two models that decide alike are the same
to it, however much surer of the truth one of them is; over a few hundred photographs these differ where kappa cannot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regaze.errors import ModelError
from regaze.evaluation.intervals import as_classes

#: Names, in the order in which they are shown; keys of `evaluation.verdicts.MEASURES` too.
PROPER_SCORES = ("ranked_probability_score", "log_loss")

# A softmax in float32 may say 0 of what comes true, and its logarithm would then outweigh all other photographs.
_LEAST = float(np.finfo(np.float32).eps)


def proper_scores(probabilities: ArrayLike, labels: ArrayLike, ordinal: bool) -> dict[str, NDArray[np.float64]]:
    """Every score of `PROPER_SCORES` that the classes allow.

    Args:
        probabilities: (N, K) float softmax probabilities.
        labels: (N,) int truth, 0..K-1.
        ordinal: False for classes without an order, which have no ranked probability score.

    Returns:
        Name -> (N,) float64.

    Raises:
        ValueError: Shapes that do not fit each other, or indices out of range.
        ModelError: Probabilities that are not numbers in 0..1.
    """
    ranked = {"ranked_probability_score": ranked_probability_scores(probabilities, labels)} if ordinal else {}
    return ranked | {"log_loss": log_losses(probabilities, labels)}


def ranked_probability_scores(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Sum over k of (F_k - 1[y <= k])^2 / (K - 1), F_k the probability of grade k or a lower one (Epstein 1969).

    Normalised as by Murphy (1971): 0 for certainty of the truth, 1 for certainty of the grade at the other end; a
    certain grade that is d steps off scores d / (K - 1).

    Args:
        probabilities: (N, K) float softmax probabilities of classes in order, K at least 2.
        labels: (N,) int truth, 0..K-1.

    Returns:
        (N,) float64 in 0..1.

    Raises:
        ValueError, ModelError: As `proper_scores`.
    """
    shares, truth = _checked(probabilities, labels)
    classes = shares.shape[1]
    below = truth[:, None] <= np.arange(classes - 1)
    return np.asarray(((shares.cumsum(1)[:, :-1] - below) ** 2).sum(1) / max(1, classes - 1))


def log_losses(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """-log of the probability of the truth, in nats.

    Args:
        probabilities: (N, K) float softmax probabilities; below 1.2e-7 (float32's precision) they count as that.
        labels: (N,) int truth, 0..K-1.

    Returns:
        (N,) float64 in 0..15.95.

    Raises:
        ValueError, ModelError: As `proper_scores`.
    """
    shares, truth = _checked(probabilities, labels)
    return np.asarray(-np.log(np.maximum(shares[np.arange(len(truth)), truth], _LEAST)))


def as_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """(N, K) float64, at most 1.

    Raises:
        ValueError: Not two dimensions.
        ModelError: Values outside 0..1, or NaN.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.ndim != 2:
        raise ValueError(f"probabilities have shape {shares.shape}: pass (N, K), one row per image")
    # Softmax in half precision may end a hair above 1.
    if not ((shares >= 0) & (shares <= 1 + 1e-3)).all():
        raise ModelError(
            "The model's probabilities hold values outside 0..1 or NaN: pass softmax outputs; "
            "if they are, training diverged: train again with a smaller learning rate."
        )
    return np.minimum(shares, 1.0)


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    shares = as_probabilities(probabilities)
    truth = as_classes(labels, shares.shape[1], "labels")
    if truth.size != len(shares):
        raise ValueError(f"{truth.size} labels for {len(shares)} rows of probabilities: pass one per image")
    return shares, truth
