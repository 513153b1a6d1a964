"""Promises of regaze.evaluation.proper_scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from regaze.errors import ModelError
from regaze.evaluation.grading import grading_summary
from regaze.evaluation.intervals import mean_interval
from regaze.evaluation.proper_scores import PROPER_SCORES, log_losses, proper_scores, ranked_probability_scores
from regaze.evaluation.verdicts import MEASURES, compare, judge


def drawn(n=60, classes=5, seed=0):
    """Probabilities (n, classes) and labels."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n), rng.integers(classes, size=n)


def test_ranked_probability_score_by_hand():
    """Of (.5, .3, .2), truth 1: ((.5 - 0)^2 + (.8 - 1)^2) / 2; certainty d of K - 1 steps off: d / (K - 1)."""
    assert ranked_probability_scores([[0.5, 0.3, 0.2]], [1]) == pytest.approx([(0.25 + 0.04) / 2])
    certain = np.eye(5)
    assert ranked_probability_scores(certain, [0] * 5) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert ranked_probability_scores(certain, [4] * 5) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_ranked_probability_score_is_the_mean_brier_score_of_the_cuts():
    """An independent way there: the Brier score of "grade above k", averaged over the cuts."""
    shares, labels = drawn()
    cuts = [brier_score_loss(labels > k, shares[:, k + 1 :].sum(1).clip(0, 1), pos_label=True) for k in range(4)]
    assert ranked_probability_scores(shares, labels).mean() == pytest.approx(np.mean(cuts))


def test_log_loss_equals_scikit_learn():
    """And by hand; what was held impossible costs no more than float32 can tell."""
    shares, labels = drawn()
    assert log_losses(shares, labels).mean() == pytest.approx(log_loss(labels, shares, labels=range(5)))
    assert log_losses([[0.25, 0.75]], [0]) == pytest.approx([math.log(4)])
    assert log_losses([[1.0, 0.0]], [1]) == pytest.approx([-math.log(np.finfo(np.float32).eps)])


def test_truth_is_the_best_thing_to_say():
    """Both are proper: no other probabilities have a smaller mean score than those that the labels are drawn from."""
    truth = np.array([0.5, 0.1, 0.2, 0.2])
    for other in ([0.4, 0.2, 0.2, 0.2], [0.25] * 4, [0.6, 0.1, 0.15, 0.15]):
        for score in (ranked_probability_scores, log_losses):
            honest, said = (truth @ score(np.tile(shares, (4, 1)), np.arange(4)) for shares in (truth, other))
            assert honest < said


def test_classes_without_an_order_have_no_ranks():
    """The ranked probability score would depend on the alphabet; log-loss stays."""
    shares, labels = drawn(30)
    assert list(proper_scores(shares, labels, ordinal=True)) == list(PROPER_SCORES)
    assert list(proper_scores(shares, labels, ordinal=False)) == ["log_loss"]
    grades = shares.argmax(1)
    summary = grading_summary(shares, grades, labels, ordinal=False, resamples=20)
    assert summary["ranked_probability_score"] is None
    assert summary["log_loss"]["mean"] == pytest.approx(log_losses(shares, labels).mean())


def test_the_summary_has_both_with_intervals_by_patient():
    """Mean over the photographs, and the interval that `mean_interval` gives with the patients as groups."""
    shares, labels = drawn(40)
    groups = [str(index // 2) for index in range(40)]
    summary = grading_summary(shares, shares.argmax(1), labels, groups=groups, resamples=200)
    for name, values in proper_scores(shares, labels, ordinal=True).items():
        mean, low, high = mean_interval(values, groups, 200)
        assert summary[name] == {"mean": mean, "interval": [low, high]}
        assert low < mean < high


def test_lower_is_better_and_has_a_margin():
    """A fall beyond the margin improves, one within it is equivalent."""
    for name, margin in (("ranked_probability_score", 0.005), ("log_loss", 0.02)):
        assert MEASURES[name].margin == margin
        for ends, word in (((-3, -1), "improved"), ((1, 3), "worse"), ((-0.9, -0.1), "equivalent")):
            pair = {"difference": sum(ends) / 2 * margin, "interval": [end * margin for end in ends], "n_used": 50}
            assert judge(compare(pair), name) == word


def test_mistakes_are_named():
    """Shapes that do not fit, labels out of range, and what are no probabilities."""
    with pytest.raises(ValueError, match="2 labels for 1 rows"):
        log_losses([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        ranked_probability_scores([[0.5, 0.5]], [2])
    with pytest.raises(ModelError, match="pass softmax outputs"):
        log_losses([[3.0, -1.0]], [0])
    assert ranked_probability_scores(np.zeros((0, 5)), []).size == 0
