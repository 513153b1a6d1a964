"""Promises of regaze.evaluation.grading."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix, recall_score, roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_cohen_kappa

from regaze.errors import ModelError, OptionError
from regaze.evaluation.grading import grading_summary, quadratic_weighted_kappa, reliability
from regaze.evaluation.intervals import paired_kappa_difference

CLASSES = 5


def predictions(n=413, seed=0):
    """Plausible predictions: probabilities (n, 5), decoded grades and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=n)
    logits = rng.normal(size=(n, CLASSES)) - 0.4 * (np.arange(CLASSES) - labels[:, None]) ** 2
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    grades = np.rint(shares @ np.arange(CLASSES)).astype(int)
    return shares, grades, labels


def test_kappa_by_hand():
    """Of two classes, 3 of 4 right, margins (2, 2) and (3, 1): observed .25, expected .5, so kappa is .5."""
    assert quadratic_weighted_kappa([0, 0, 1, 1], [0, 0, 0, 1], 2) == pytest.approx(0.5)


def test_kappa_punishes_by_the_square_of_the_distance():
    """Truth 0, 2 and grades 0, 1: observed (0 + 1) / 2, expected (0 + 1 + 4 + 1) / 4: 1 - .5 / 1.5."""
    assert quadratic_weighted_kappa([0, 2], [0, 1], 3) == pytest.approx(1 - 0.5 / 1.5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_kappa_equals_scikit_learn(pairs):
    """Wherever scikit-learn defines kappa ours is the same number; elsewhere ours is None."""
    labels, grades = np.array(pairs).T
    ours = quadratic_weighted_kappa(labels, grades, CLASSES)
    if len(np.unique(np.concatenate([labels, grades]))) == 1:
        assert ours is None
    else:
        theirs = cohen_kappa_score(labels, grades, labels=range(CLASSES), weights="quadratic")
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_kappa_equals_torchmetrics():
    """A second independent implementation agrees."""
    _, grades, labels = predictions()
    theirs = multiclass_cohen_kappa(torch.tensor(grades), torch.tensor(labels), CLASSES, weights="quadratic")
    assert quadratic_weighted_kappa(labels, grades, CLASSES) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize(("labels", "grades"), [([], []), ([3, 3], [3, 3])])
def test_undefined_kappa_is_none(labels, grades):
    """No image, or one class on both sides, has no kappa; it is not 0, 1 or NaN."""
    assert quadratic_weighted_kappa(labels, grades, CLASSES) is None


def test_kappa_of_one_true_class_is_chance():
    """One true class with scattered grades is defined: no better than chance."""
    assert quadratic_weighted_kappa([2, 2, 2], [2, 1, 3], CLASSES) == pytest.approx(0)


def test_summary_equals_scikit_learn():
    """Accuracy, recall, confusion and the referable cut are those of scikit-learn."""
    shares, grades, labels = predictions()
    summary = grading_summary(shares, grades, labels, resamples=200)
    referable = summary["referable"]
    assert summary["n"] == 413
    assert summary["accuracy"] == pytest.approx((grades == labels).mean())
    assert summary["recall"] == pytest.approx(list(recall_score(labels, grades, average=None)))
    assert summary["confusion"] == confusion_matrix(labels, grades).tolist()
    assert referable["auroc"] == pytest.approx(roc_auc_score(labels >= 2, shares[:, 2:].sum(1)))
    assert referable["sensitivity"] == pytest.approx(recall_score(labels >= 2, grades >= 2))
    assert referable["specificity"] == pytest.approx(recall_score(labels < 2, grades < 2))
    # By hand: cut at each photograph's score, keep the cuts that pass nine of ten who need no referral.
    score, refer = shares[:, 2:].sum(1), labels >= 2
    kept = [cut for cut in score if (score[~refer] < cut).mean() >= 0.9]
    best = max((score[refer] >= cut).mean() for cut in kept)
    assert referable["sensitivity_at_90"] == pytest.approx(best)
    low, high = summary["interval"]
    assert low < summary["quadratic_weighted_kappa"] < high


def test_summary_by_hand():
    """Four images, every number worked out on paper; a grade that does not occur has no recall."""
    shares = [[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.5, 0.5, 0.0]]
    summary = grading_summary(shares, [0, 1, 1, 0], [0, 0, 1, 1], referable_from=1, resamples=50)
    assert summary["accuracy"] == 0.5
    assert summary["recall"] == [0.5, 0.5, None]
    assert summary["confusion"] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    # Scores .1 and .4 against .8 and .5: every referable image scores higher.
    assert summary["referable"] == {
        "auroc": 1.0,
        "sensitivity": 0.5,
        "specificity": 0.5,
        "sensitivity_at_90": 1.0,
    }
    # Arg-max right on the first three; each image in its own bin: .1 + .4 + .3 + .5 over 4.
    assert summary["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.3 + 0.5) / 4)


def test_calibration_equals_torchmetrics():
    """Expected calibration error by our diagram is torchmetrics' (l1 norm, equal-width bins)."""
    shares, grades, labels = predictions()
    theirs = multiclass_calibration_error(torch.tensor(shares), torch.tensor(labels), CLASSES, n_bins=10)
    diagram = reliability(shares, labels)
    ours = sum(entry["n"] * abs(entry["accuracy"] - entry["confidence"]) for entry in diagram) / 413
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    summary = grading_summary(shares, grades, labels, resamples=10)
    assert summary["calibration_error"] == pytest.approx(ours)


def test_reliability_counts_every_image_once():
    """A confidence of exactly 1 lies in the last bin; empty bins are left out; counts add up to n."""
    diagram = reliability([[1.0, 0.0], [0.5, 0.5], [0.05, 0.95]], [0, 1, 1])
    assert diagram == [
        {"confidence": 0.5, "accuracy": 0.0, "n": 1},
        {"confidence": pytest.approx(0.975), "accuracy": 1.0, "n": 2},
    ]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_defined_is_none_in_json(n):
    """With no image or one image the undefined numbers are None, and the dict is strict JSON."""
    summary = grading_summary(np.full((n, 3), 1 / 3), np.full(n, 1), np.full(n, 1))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["quadratic_weighted_kappa"] is None
    assert summary["interval"] == [None, None]
    assert summary["referable"]["auroc"] is None
    assert summary["accuracy"] == (1.0 if n else None)
    assert summary["recall"] == ([None, 1.0, None] if n else [None] * 3)
    assert (summary["calibration_error"] is None) == (n == 0)


@pytest.mark.parametrize("referable_from", [None, 0, 5, 9])
def test_no_referable_cut(referable_from):
    """Without a cut between grades there is no sensitivity: not a specificity of 1 over everybody."""
    summary = grading_summary(*predictions(30), referable_from=referable_from, resamples=10)
    assert set(summary["referable"].values()) == {None}


def test_groups_widen_the_interval():
    """Photographs copied within a patient add nothing: grouped, the interval is that of the patients."""
    shares, grades, labels = predictions(60)
    copied = [np.repeat(values, 4, axis=0) for values in (shares, grades, labels)]
    single = grading_summary(shares, grades, labels)["interval"]
    grouped = grading_summary(*copied, groups=[f"p{i // 4}" for i in range(240)])["interval"]
    naive = grading_summary(*copied)["interval"]
    assert grouped == pytest.approx(single)
    assert naive[1] - naive[0] < 0.7 * (grouped[1] - grouped[0])


def test_interval_is_the_percentile_of_scikit_learns_kappa():
    """Our vectorised resamples are those of a plain loop over the same draws with scikit-learn's kappa."""
    shares, grades, labels = predictions(40)
    draws = np.random.default_rng(0).integers(40, size=(150, 40))
    slow = [cohen_kappa_score(labels[draw], grades[draw], labels=range(CLASSES), weights="quadratic") for draw in draws]
    summary = grading_summary(shares, grades, labels, resamples=150)
    assert summary["interval"] == pytest.approx(list(np.percentile(slow, [2.5, 97.5])))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [0, 5]}, ValueError, r"labels spans 0\.\.5, outside 0\.\.2"),
        ({"labels": [0, -1]}, ValueError, "leave out images without a class"),
        ({"grades": [0.5, 1.0]}, ValueError, "grades has dtype float64"),
        ({"grades": [0]}, ValueError, "2 rows of probabilities, 1 grades, 2 labels"),
        ({"probabilities": [[np.nan, 0, 0], [1, 0, 0]]}, ModelError, "softmax"),
        ({"probabilities": [[3.0, -1.0, 0], [1, 0, 0]]}, ModelError, "outside 0..1"),
        ({"probabilities": [1.0, 0.0]}, ValueError, "shape"),
        ({"resamples": 0}, OptionError, "resamples is 0"),
        ({"groups": ["a"]}, ValueError, "1 groups for 2 items"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    """Logits, NaN, missing labels and lengths that differ are refused, with what was expected."""
    arguments = {"probabilities": [[1.0, 0, 0], [0, 1.0, 0]], "grades": [0, 1], "labels": [0, 1]} | change
    with pytest.raises(error, match=message):
        grading_summary(**arguments)


def test_inputs_are_left_alone():
    """The caller's arrays are not written to."""
    arrays = predictions(20)
    copies = [values.copy() for values in arrays]
    grading_summary(*arrays, resamples=10)
    for before, after in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


def test_no_torch():
    """Grading, intervals and agreement load without torch, for a page or a script that only counts."""
    code = (
        "import sys, regaze.evaluation.grading, regaze.evaluation.intervals, regaze.evaluation.agreement;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kappa_of_classes_without_an_order():
    """The unweighted kappa is scikit-learn's, does not change when classes are renamed."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, 60)
    grades = np.where(generator.random(60) < 0.5, labels, generator.integers(0, CLASSES, 60))
    shares = np.eye(CLASSES)[grades]
    summary = grading_summary(shares, grades, labels, referable_from=None, resamples=100, ordinal=False)
    assert summary["quadratic_weighted_kappa"] == pytest.approx(cohen_kappa_score(labels, grades))
    assert summary["interval"][0] < summary["quadratic_weighted_kappa"] < summary["interval"][1]
    other = generator.permutation(CLASSES)
    renamed = grading_summary(shares, other[grades], other[labels], referable_from=None, resamples=100, ordinal=False)
    assert renamed["interval"] == pytest.approx(summary["interval"])
    pair = paired_kappa_difference(labels, labels, grades, CLASSES, resamples=100, ordinal=False)
    assert pair["difference"] == pytest.approx(cohen_kappa_score(labels, grades) - 1)
