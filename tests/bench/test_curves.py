"""Areas under gain curves, and where a rule stands between the random order and the oracle."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import auc

from regaze.errors import OptionError

FILE = Path(__file__).parents[2] / "bench" / "curves.py"


def _load():
    """The file beside the scripts that use it, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("bench_curves", FILE)
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


curves = _load()
area_under_gain, relative_score, standings = curves.area_under_gain, curves.relative_score, curves.standings

BUDGETS = [0.0, 0.1, 0.3, 1.0]


def test_the_area_by_hand():
    """Trapezoids over the budgets, over their width: a mean gain."""
    # 0.1 * 1 + 0.2 * 3 + 0.7 * 4 = 3.5 over a width of 1.
    assert area_under_gain(BUDGETS, [0, 2, 4, 4]) == pytest.approx(3.5)
    assert area_under_gain([1, 3], [5, 7]) == pytest.approx(6)
    assert area_under_gain([5, 50, 100], [2, 2, 2]) == pytest.approx(2)
    assert area_under_gain([0, 1], [[0, 2], [1, 1], [np.nan, 1]]) == pytest.approx([1, 1, np.nan], nan_ok=True)


def test_the_area_against_scikit_learn():
    """The same as scikit-learn's trapezoids over the width, curve by curve."""
    rng = np.random.default_rng(1)
    budgets, gains = np.cumsum(rng.uniform(0.1, 1, 7)), rng.normal(size=(2, 3, 7))
    areas = area_under_gain(budgets, gains)
    assert areas.shape == (2, 3)
    for place in itertools.product(range(2), range(3)):
        assert areas[place] == pytest.approx(auc(budgets, gains[place]) / (budgets[-1] - budgets[0]))


@pytest.mark.parametrize(
    ("area", "random", "oracle", "expected"),
    [
        (2.0, 2.0, 4.0, 0.0),
        (4.0, 2.0, 4.0, 1.0),
        (3.6, 2.0, 4.0, 0.8),
        (1.0, 2.0, 4.0, -0.5),
        (5.0, 2.0, 4.0, 1.5),
        (3.0, 2.0, 2.0, None),  # no scale: undefined, not infinity
        (3.0, 2.0, 1.0, None),  # turned over: better than random would read as worse
        (np.nan, 2.0, 4.0, None),
        (3.0, np.nan, 4.0, None),
    ],
)
def test_the_relative_score_by_hand(area, random, oracle, expected):
    """0 = random, 1 = oracle."""
    found = relative_score(area, random, oracle)
    assert found is None if expected is None else found == pytest.approx(expected)


def _curves(*levels):
    """One seed per level: a curve that is flat at that level."""
    return [[level] * len(BUDGETS) for level in levels]


def test_a_rule_like_random_is_0_and_one_like_the_oracle_is_1():
    """By name and by value, in every resample: the pairing takes the same seeds for all."""
    random, oracle = _curves(0.1, 0.5, 0.3), _curves(0.4, 0.7, 0.9)
    gains = {"random": random, "map-error": oracle, "confidence": _curves(0.2, 0.6, 0.4), "a": random, "b": oracle}
    found = standings(BUDGETS, gains)
    assert list(found) == list(gains)
    for rule, value in (("random", 0), ("a", 0), ("map-error", 1), ("b", 1)):
        assert found[rule].relative == pytest.approx(value)
        assert found[rule].interval == pytest.approx([value, value])
    assert found["confidence"].area == pytest.approx(0.4)
    assert found["confidence"].relative == pytest.approx((0.4 - 0.3) / (2 / 3 - 0.3))
    assert (found["confidence"].lead, found["confidence"].lead_interval) == (0.0, [0.0, 0.0])
    assert found["b"].lead == pytest.approx(2 / 3 - 0.4)
    assert found["a"].lead == pytest.approx(-0.1)
    assert found["a"].lead_interval == pytest.approx([-0.1, -0.1])  # by pairs; unpaired it would be wide


def test_the_interval_collapses_when_all_seeds_agree():
    """Five seeds that say the same leave no doubt; one seed alone says nothing about doubt."""
    gains = {"random": _curves(*[0.1] * 5), "map-error": _curves(*[0.6] * 5), "confidence": _curves(*[0.5] * 5)}
    found = standings(BUDGETS, gains)["confidence"]
    assert found.relative == pytest.approx(0.8)
    assert found.interval == pytest.approx([0.8, 0.8])
    alone = standings(BUDGETS, {rule: curve[:1] for rule, curve in gains.items()})["confidence"]
    assert alone.relative == pytest.approx(0.8)
    assert alone.interval == alone.lead_interval == [None, None]


def test_the_interval_against_all_resamples():
    """With three seeds all 27 resamples can be listed: the bootstrap's bounds are those of the list."""
    rule, random, oracle = [0.3, 0.2, 0.6], [0.1, 0.1, 0.2], [0.4, 0.6, 0.7]
    gains = {"random": _curves(*random), "map-error": _curves(*oracle), "confidence": _curves(*rule)}
    ratios = []
    for draw in itertools.product(range(3), repeat=3):
        gap = sum(rule[i] - random[i] for i in draw)
        ratios.append(gap / sum(oracle[i] - random[i] for i in draw))
    expected = np.quantile(np.repeat(ratios, 1000), [0.025, 0.975])  # of the distribution, not of 27 draws
    assert expected[0] < 0.45 < expected[1]
    found = standings(BUDGETS, gains, resamples=20_000)["confidence"]
    assert found.interval == pytest.approx(expected, abs=1e-9)
    assert found == standings(BUDGETS, gains, resamples=20_000)["confidence"]


def test_an_oracle_that_is_no_better_gives_no_scale():
    """Equal on the whole: no number. Better on the whole but not surely: a number without bounds."""
    equal = {"random": _curves(0.1, 0.3), "map-error": _curves(0.3, 0.1), "confidence": _curves(0.5, 0.6)}
    found = standings(BUDGETS, equal)["confidence"]
    assert (found.relative, found.interval) == (None, [None, None])
    assert found.lead == 0.0
    shaky = {"random": _curves(0.1, 0.3), "map-error": _curves(0.5, 0.2), "confidence": _curves(0.5, 0.6)}
    found = standings(BUDGETS, shaky)["confidence"]
    assert found.relative == pytest.approx(0.35 / 0.15)
    assert found.interval == [None, None]


def test_a_seed_without_a_whole_curve_is_left_out_and_counted():
    """NaN in the rule, the random order, the oracle or the reference: that seed counts for none of the four."""
    gains = {
        "random": _curves(0.0, 0.0, np.nan, 0.0),
        "map-error": _curves(1.0, 1.0, 1.0, 1.0),
        "confidence": _curves(0.5, 0.5, 0.5, 0.5),
        "a": _curves(0.7, np.nan, 0.1, 0.9),
    }
    found = standings(BUDGETS, gains)
    assert (found["a"].n_used, found["a"].n_skipped) == (2, 2)
    assert (found["a"].area, found["a"].relative) == (pytest.approx(0.8), pytest.approx(0.8))
    assert (found["confidence"].n_used, found["confidence"].n_skipped) == (3, 1)
    none = standings(BUDGETS, gains | {"a": _curves(*[np.nan] * 4)})["a"]
    assert (none.area, none.relative, none.interval, none.lead) == (None, None, [None, None], None)
    assert (none.n_used, none.n_skipped) == (0, 4)


def test_what_does_not_fit_is_refused_by_name():
    """Budgets that do not rise, curves of another length, other numbers of seeds, a rule that is missing."""
    with pytest.raises(ValueError, match=r"budgets are \[0.0, 0.0\]"):
        area_under_gain([0, 0], [1, 1])
    with pytest.raises(ValueError, match=r"budgets are \[1.0\]"):
        area_under_gain([1], [1])
    with pytest.raises(ValueError, match=r"gains have shape \(2,\) for 4 budgets"):
        area_under_gain(BUDGETS, [1, 2])
    gains = {"random": _curves(0.1, 0.2), "map-error": _curves(0.4, 0.4), "confidence": _curves(0.2)}
    with pytest.raises(ValueError, match="alike for all"):
        standings(BUDGETS, gains)
    with pytest.raises(ValueError, match="no gains of confidence: pass those of random, map-error, confidence"):
        standings(BUDGETS, {"random": _curves(0.1), "map-error": _curves(0.2)})
    with pytest.raises(OptionError, match="resamples is 0"):
        standings(BUDGETS, gains | {"confidence": _curves(0.2, 0.3)}, resamples=0)
