"""Figures over seeds: known by hand, against the one-seed intervals of `evaluation`, and the width of the interval."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from regaze.evaluation.intervals import mean_interval, paired_kappa_difference
from regaze.evaluation.seeds import (
    Grade,
    Value,
    accuracy_values,
    kappa_difference,
    kappa_over_seeds,
    mean_difference,
    mean_over_seeds,
    unlearned,
)


def _values(seed, numbers, patients=None):
    patients = patients or [f"p{place:02}" for place in range(len(numbers))]
    return [Value(f"{seed}/{place:02}", patients[place], number) for place, number in enumerate(numbers)]


def _graded(labels, grades):
    pairs = zip(labels, grades, strict=True)
    return [Grade(f"s{place:02}", f"p{place:02}", int(a), int(b)) for place, (a, b) in enumerate(pairs)]


def test_mean_of_the_seeds_means():
    """Each seed counts the same, however many photographs it has; seeds with nothing are left out and shown as None."""
    found = mean_over_seeds([_values(0, [1.0, 3.0]), _values(1, [4.0]), []], 100)
    assert (found.value, found.per_seed, found.n) == (3.0, (2.0, 4.0, None), 3)
    nothing = mean_over_seeds([[], []], 10)
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (None, None, None, 0)


def test_one_seed_is_the_bootstrap_over_patients():
    """With one seed the interval is `evaluation.intervals`' own."""
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=20).tolist()
    patients = [f"p{place // 2:02}" for place in range(20)]
    found = mean_over_seeds([_values(0, numbers, patients)], 500)
    assert (found.value, found.low, found.high) == pytest.approx(mean_interval(numbers, patients, 500))


def test_kappa_difference_of_one_seed():
    """The same for kappa, which does not come from a mean."""
    rng = np.random.default_rng(5)
    labels, one, other = (rng.integers(0, 5, 40) for _ in range(3))
    found = kappa_difference([_graded(labels, one)], [_graded(labels, other)], 5, 300)
    wanted = paired_kappa_difference(labels, one, other, 5, [f"p{place:02}" for place in range(40)], 300)
    assert found.value == pytest.approx(wanted["difference"])
    assert [found.low, found.high] == pytest.approx(wanted["interval"])


def test_kappa_is_computed_within_each_seed():
    """Kappa over seeds is the mean of scikit-learn's kappas."""
    rng = np.random.default_rng(7)
    seeds = [(rng.integers(0, 4, 30), rng.integers(0, 4, 30)) for _ in range(3)]
    found = kappa_over_seeds([_graded(*seed) for seed in seeds], 4, 50)
    wanted = [cohen_kappa_score(*seed, weights="quadratic") for seed in seeds]
    assert found.per_seed == pytest.approx(wanted)
    assert found.value == pytest.approx(np.mean(wanted))


def test_seeds_that_differ_widen_the_interval():
    """Where photographs are all alike and seeds differ, the interval is Student's over the seeds; one seed has none."""
    means = [0.0, 1.0, 2.0, 3.0, 4.0]
    found = mean_over_seeds([_values(seed, [mean] * 10) for seed, mean in enumerate(means)], 500)
    low, high = stats.t.interval(0.95, 4, loc=2.0, scale=stats.sem(means))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, low, high))
    cut = mean_over_seeds([_values(seed, [mean] * 10) for seed, mean in enumerate(means)], 500, (0.5, 9.0))
    assert (cut.low, cut.high) == pytest.approx((0.5, high))
    alone = mean_over_seeds([_values(0, [2.0] * 10)], 200)
    assert (alone.low, alone.high) == (2.0, 2.0)


def test_patients_that_differ_widen_the_interval():
    """Where seeds are all alike the interval is Student's over the patients, with the bootstrap's own noise."""
    numbers = np.random.default_rng(2).normal(size=40)
    found = mean_over_seeds([_values(seed, numbers.tolist()) for seed in range(3)], 4000)
    low, high = stats.t.interval(0.95, 39, loc=numbers.mean(), scale=stats.sem(numbers))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_patients_go_together_in_every_seed():
    """Ten copies of two patients are no more certain than the two; one patient has no interval."""
    twice = [_values(seed, [0.0] * 10 + [1.0] * 10, ["a"] * 10 + ["b"] * 10) for seed in range(3)]
    found = mean_over_seeds(twice, 4000)
    assert (found.value, found.patients, found.n) == (0.5, 2, 60)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 1) * 0.5, rel=0.05)
    single = mean_over_seeds([_values(0, [0.0, 1.0], ["a", "a"])], 100)
    assert (single.value, single.low, single.high) == (0.5, None, None)


@pytest.mark.parametrize("shared", [True, False], ids=["one test part", "a part per seed"])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
def test_an_interval_seldom_misses_the_truth(shared, seeds, spread):
    """Whether patients or seeds differ most, an interval lies above a true zero about as seldom as it says (.025)."""
    rng = np.random.default_rng(1)
    above, trials = 0, 400
    for _ in range(trials):
        people = rng.normal(size=(1 if shared else seeds, 30)) * np.sqrt(15)
        own = people + rng.normal(size=(seeds, 30)) * np.sqrt(15) + spread * rng.normal(size=(seeds, 1))
        names = [[f"p{place:02}" if shared else f"{seed}/{place:02}" for place in range(30)] for seed in range(seeds)]
        found = mean_over_seeds([_values(s, own[s].tolist(), names[s]) for s in range(seeds)], 200)
        above += found.low > 0
    assert above / trials <= 0.04 + 2 * np.sqrt(0.04 / trials)


def test_differences_are_paired():
    """A constant gain has no width however much the photographs differ; unpaired photographs are left out."""
    before = [_values(0, [0.0, 10.0, 50.0]), _values(1, [3.0, 80.0])]
    after = [_values(0, [1.0, 11.0, 51.0])[:2], _values(1, [4.0, 81.0])]
    found = mean_difference(before, after, 200)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((1.0, 1.0, 1.0, 4))


def test_accuracy_by_hand():
    """Two of three right."""
    assert mean_over_seeds(accuracy_values([_graded([0, 1, 2], [0, 1, 1])]), 10).value == pytest.approx(2 / 3)


def test_undefined_kappa_is_none():
    """One class on both sides has no kappa, and no figure is made up for it."""
    found = kappa_over_seeds([_graded([1, 1], [1, 1])], 5, 20)
    assert (found.value, found.low, found.per_seed) == (None, None, (None,))
    assert unlearned([found])


def test_unlearned_needs_one_above_chance():
    """Two networks at chance cannot be compared; one above it is enough."""
    labels = np.arange(60) % 5
    right, constant = (kappa_over_seeds([_graded(labels, g)], 5, 200) for g in (labels, np.full(60, 2)))
    assert unlearned([constant, constant])
    assert not unlearned([constant, right])
