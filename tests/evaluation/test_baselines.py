"""The two baselines as classifiers of plain numbers: what they are given, what they say, how they choose."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from regaze.evaluation import baselines
from regaze.evaluation.baselines import THUMBNAIL, blind_features, forest, linear_probe


def test_blind_features_are_colours_a_thumbnail_and_the_size():
    """Of a picture that is red above and black below, every number is known by hand."""
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:30, :, 0] = 200
    found = blind_features(picture, width=4288, height=2848)
    means, deviations, percentiles, rest = np.split(found, [3, 6, 21])
    assert means.tolist() == [100, 0, 0]
    assert deviations.tolist() == [100, 0, 0]
    assert percentiles.reshape(5, 3)[:, 0].tolist() == [0, 0, 100, 200, 200]
    cells = rest[:-3].reshape(THUMBNAIL, THUMBNAIL, 3)
    assert (cells[:3, :, 0] == 200).all()
    assert not cells[3:].any()
    assert rest[-3:].tolist() == [4288, 2848, 4288 / 2848]


def test_a_lesion_is_not_seen():
    """A microaneurysm, a bright dot of 3 x 3 in 224 x 224 pixels, moves no number by more than two of 255."""
    picture = np.random.default_rng(0).integers(60, 120, (224, 224, 3)).astype(np.uint8)
    with_lesion = picture.copy()
    with_lesion[100:103, 100:103] = 255
    moved = np.abs(blind_features(with_lesion, 500, 400) - blind_features(picture, 500, 400))
    assert 0 < moved.max() <= 2


def test_forest_learns_and_repeats_itself():
    """Two classes that one number tells apart are told apart; the same seed gives the same probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    numbers = np.stack([labels + rng.normal(0, 0.1, 60), rng.normal(size=60)], axis=1)
    found = forest(numbers[:40], labels[:40], numbers[40:], 3, seed=5)
    assert found.shape == (20, 3)
    assert (found.argmax(1) == labels[40:]).all()
    assert not found[:, 2].any(), "a class that does not occur has no probability"
    np.testing.assert_array_equal(found, forest(numbers[:40], labels[:40], numbers[40:], 3, seed=5))


@pytest.mark.parametrize("folds", [None, np.arange(40) % 4])
def test_probe_learns_what_is_linear(folds):
    """A linear boundary in 30 numbers is found, with inner folds and without; a missing class keeps its column."""
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(80, 30)) * rng.uniform(0.01, 100, 30)  # any units: they are standardised
    labels = np.where(numbers[:, 3] / numbers[:, 3].std() > 0, 2, 0)
    numbers[:, 4] = numbers[:, 3] * 2
    found = linear_probe(numbers[:40], labels[:40], folds, numbers[40:], 3)
    assert (found.argmax(1) == labels[40:]).mean() > 0.8
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(1), 1)


def test_probe_takes_the_strength_of_the_least_log_loss():
    """The choice is the one that scikit-learn's own cross-validation gives on the same inner folds."""
    rng = np.random.default_rng(2)
    numbers, labels, folds = rng.normal(size=(90, 20)), rng.integers(0, 3, 90), np.arange(90) % 5
    numbers[:, 0] += labels
    losses = []
    for strength in baselines._STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        held = cross_val_predict(model, numbers, labels, cv=PredefinedSplit(folds), method="predict_proba")
        losses.append(log_loss(labels, held))
    chosen = baselines._best_strength(numbers, labels, folds, 3)
    assert chosen == baselines._STRENGTHS[int(np.argmin(losses))]
    assert len({round(loss, 3) for loss in losses}) == len(losses), "else any choice would pass"


def test_one_class_is_certain():
    """Where all photographs are of one class there is nothing to fit."""
    numbers = np.zeros((4, 2))
    for found in (
        forest(numbers, np.full(4, 1), numbers[:2], 3, 0),
        linear_probe(numbers, np.full(4, 1), None, numbers[:2], 3),
    ):
        assert found.tolist() == [[0, 1, 0]] * 2
