"""What a grader must beat: one that sees no lesion, and one that learns nothing but a linear layer.

Both are standard classifiers on plain numbers: what they reach out of fold is what the folds, the colours and the
pretrained weights give away. Shapes: N photographs to learn from, M to grade, D numbers each, K classes.
"""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]

THUMBNAIL = 6  # cells on a side: on a fundus of 224 pixels a lesion is far smaller than one of these
_PERCENTILES = (5, 25, 50, 75, 95)
_TREES = 300  # scikit-learn's other defaults; twice or half as many trees grade alike
#: Strengths among which the probe chooses: weaker ones than 1 no longer change 500 standardised numbers.
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_USUAL = 1e-2  # where photographs are too few to choose; the choice on IDRiD's five folds, with two backbones
_LEAST = 1e-6  # least probability in a log-loss, so that one photograph cannot decide the choice


def blind_features(picture_HWC: NDArray[np.uint8], width: int, height: int) -> Numbers:
    """What can be known of a photograph without seeing a lesion.

    Args:
        picture_HWC: (H, W, 3) uint8 RGB, the photograph without padding, shrunk to any size.
        width: Of the photograph as it was stored, in pixels.
        height: Likewise.

    Returns:
        (D,) float64: mean, deviation and percentiles of each colour, a thumbnail of 6 x 6 cells (0..255 each), and the
        photograph's width, height and aspect.
    """
    colours = picture_HWC.reshape(-1, 3).astype(np.float64)
    statistics = [colours.mean(0), colours.std(0), np.percentile(colours, _PERCENTILES, axis=0).ravel()]
    cells = cv2.resize(picture_HWC, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    return np.concatenate([*statistics, cells.astype(np.float64), [width, height, width / height]])


def forest(features_ND: Numbers, labels_N: Codes, others_MD: Numbers, classes: int, seed: int) -> Numbers:
    """Probabilities (M, K) of a random forest that learned from N photographs.

    Args:
        features_ND: (N, D) to learn from.
        labels_N: (N,) 0..K-1.
        others_MD: (M, D) to grade.
        classes: K; a class that does not occur gets probability 0.
        seed: Of the trees.
    """
    return _probabilities(RandomForestClassifier(_TREES, random_state=seed), features_ND, labels_N, others_MD, classes)


def linear_probe(
    features_ND: Numbers, labels_N: Codes, folds_N: Codes | None, others_MD: Numbers, classes: int
) -> Numbers:
    """Probabilities (M, K) of a logistic regression on standardised features that learned from N photographs.

    Its strength is the one with the least log-loss on inner folds of the N photographs.

    Args:
        features_ND: (N, D) to learn from.
        labels_N: (N,) 0..K-1.
        folds_N: (N,) inner fold of each; None: the usual strength.
        others_MD: (M, D) to grade.
        classes: K; a class that does not occur gets probability 0.
    """
    strength = _USUAL if folds_N is None else _best_strength(features_ND, labels_N, folds_N, classes)
    return _probabilities(_logistic(strength), features_ND, labels_N, others_MD, classes)


def _logistic(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _best_strength(features_ND: Numbers, labels_N: Codes, folds_N: Codes, classes: int) -> float:
    losses = []
    for strength in _STRENGTHS:
        right = np.empty(len(labels_N))
        for fold in np.unique(folds_N):
            held, kept = folds_N == fold, folds_N != fold
            found = _probabilities(_logistic(strength), features_ND[kept], labels_N[kept], features_ND[held], classes)
            right[held] = found[np.arange(held.sum()), labels_N[held]]
        losses.append(-np.log(right.clip(_LEAST)).mean())
    return _STRENGTHS[int(np.argmin(losses))]


def _probabilities(
    classifier: RandomForestClassifier | Pipeline,
    features_ND: Numbers,
    labels_N: Codes,
    others_MD: Numbers,
    classes: int,
) -> Numbers:
    """Fit and predict, with a column for every class; one class alone is certain."""
    result = np.zeros((len(others_MD), classes))
    present = np.unique(labels_N)
    if len(present) == 1:
        result[:, present[0]] = 1.0
        return result
    with warnings.catch_warnings():
        # A fit that was cut off is a worse choice of strength at most; it is no matter for the user.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features_ND, labels_N)
    result[:, present] = classifier.predict_proba(others_MD)
    return result
