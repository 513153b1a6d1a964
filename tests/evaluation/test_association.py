"""Associations: known by hand, equal to scipy's statistics, and nothing where nothing goes together."""

import numpy as np
import pytest
from scipy import stats

from regaze.evaluation.association import of_categories, of_numbers


def test_what_tells_the_class_has_effect_one():
    """A camera for each class, and numbers that never overlap in two classes of many."""
    classes = np.arange(40) % 2
    assert of_categories([f"camera {label}" for label in classes], classes).effect == pytest.approx(1.0, abs=0.02)
    found = of_numbers(classes * 100 + np.arange(40), classes)
    assert found.effect == pytest.approx(np.sqrt((stats.kruskal(*_by(classes)).statistic - 1) / 38))
    assert found.p == pytest.approx(stats.kruskal(*_by(classes)).pvalue)


def _by(classes):
    values = classes * 100 + np.arange(40)
    return [values[classes == label] for label in (0, 1)]


def test_chi_square_is_scipys():
    """Where cells are full, p is that of scipy without Yates' correction."""
    rng = np.random.default_rng(0)
    values, classes = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    table = np.histogram2d(values, classes, bins=(3, 2))[0]
    assert of_categories(values.tolist(), classes).p == pytest.approx(stats.chi2_contingency(table, False).pvalue)


def test_chance_has_no_effect():
    """Of what does not go together, bias-corrected effects stay small, and p is rarely small."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        classes = rng.integers(0, 5, 200)
        found += [of_categories(rng.integers(0, 8, 200).tolist(), classes), of_numbers(rng.normal(size=200), classes)]
    assert np.mean([each.effect for each in found]) < 0.1
    assert sum(each.p < 0.01 for each in found) <= 2


def test_rare_values_take_permutations():
    """Where cells are nearly empty, p comes from permutations: small for what tells the class, large for chance."""
    classes = np.array([0] * 6 + [1] * 6)
    assert of_categories(["a"] * 6 + ["b"] * 6, classes).p < 0.01
    assert of_categories(["a", "b"] * 6, classes).p > 0.5
    few = np.array([0] * 20 + [1] * 3)
    assert of_numbers(np.arange(23), few).p < 0.01
    assert of_numbers(np.tile([1.0, 2.0, 3.0], 8)[:23], few).p > 0.5


def test_one_class_or_one_value_is_no_association():
    """Nothing can go with what never changes."""
    for found in (of_categories("aab", [1, 1, 1]), of_categories("aaa", [0, 1, 1]), of_numbers([2, 2, 2], [0, 1, 1])):
        assert (found.effect, found.p, found.n) == (0.0, 1.0, 3)
