"""Varied batches, turns of patients and grades."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regaze.records import Collected
from regaze.selection.diversity import diverse
from regaze.selection.quotas import Turns
from regaze.selection.rules import select

_PATIENT = settings(deadline=None, max_examples=40)

# Three clusters of three; the best three scores all lie in the first.
CLUSTERS = np.array([[0, 0], [0, 0.1], [0.1, 0], [10, 0], [10, 0.1], [10.1, 0], [0, 10], [0, 10.1], [0.1, 10]])
SCORES = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("weight", [0.5, 0.8, 1.0])
def test_three_clusters_give_one_each(weight):
    """The first three of the list come from three clusters, and without diversity from one."""
    batch = diverse(CLUSTERS, SCORES, 3, weight=weight)
    assert sorted(batch // 3) == [0, 1, 2]
    assert batch[0] == 0
    assert diverse(CLUSTERS, SCORES, 3, weight=0).tolist() == [0, 1, 2]


def test_scores_decide_within_a_cluster():
    """With both, the best of each cluster; k-centre alone takes the farthest, whatever its score."""
    assert diverse(CLUSTERS, SCORES, 3, weight=0.5).tolist() == [0, 4, 8]
    # From (0, 0): (10.1, 0) and (0, 10.1) are equally far, the score decides; then the other.
    assert diverse(CLUSTERS, SCORES, 3, weight=1).tolist()[:2] == [0, 7]


def test_a_batch_by_hand():
    """On a line at 0, 1, 3, 7 from the best one: 7, then 3 (3 from 0, 4 from 7), then 1."""
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert diverse(points, np.array([4.0, 3, 2, 1]), 4, weight=1).tolist() == [0, 3, 2, 1]
    # Ranks 7/8, 5/8, 3/8, 1/8: after 0 the products r*d are 5/8, 9/8, 7/8, so 3 leads; then 5/8 against 4/8.
    assert diverse(points, np.array([4.0, 3, 2, 1]), 4, weight=0.5).tolist() == [0, 2, 1, 3]


def test_a_copy_comes_last_however_much_it_is_wanted():
    """The same picture twice teaches once; large float16 features leave no distance between copies."""
    rng = np.random.default_rng(0)
    features = (1000 + rng.normal(size=(6, 64))).astype(np.float16)
    features[1] = features[0]
    scores = np.array([9.0, 8, 5, 4, 3, 2])
    batch = diverse(features, scores, 6, weight=0.1)
    assert (batch[0], batch[-1]) == (0, 1)


def test_what_was_corrected_before_is_stayed_away_from():
    """A cluster that holds a corrected photograph is not the first to be shown again."""
    corrected = np.array([[0.05, 0.05]])
    batch = diverse(CLUSTERS, SCORES, 3, weight=0.5, corrected=corrected)
    assert sorted(batch[:2] // 3) == [1, 2]
    both = np.array([[0.05, 0.05], [10.05, 0.05]])
    for centres in (both, both[::-1]):
        assert diverse(CLUSTERS, SCORES, 1, weight=0.9, corrected=centres)[0] // 3 == 2
    nothing = diverse(CLUSTERS, SCORES, 3, weight=0.5, corrected=np.zeros((0, 2)))
    np.testing.assert_array_equal(nothing, diverse(CLUSTERS, SCORES, 3, weight=0.5))


_CASE = st.integers(0, 10_000).map(np.random.default_rng)


@_PATIENT
@given(_CASE, st.integers(1, 4))
def test_k_centre_is_within_twice_the_best(rng, count):
    """Gonzalez 1985: the greedy radius is at most twice that of the best centres, found by trying all."""
    points = rng.integers(0, 6, size=(8, 2)).astype(np.float64)
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)

    def radius(centres):
        return gaps[:, list(centres)].min(axis=1).max()

    best = min(radius(centres) for centres in itertools.combinations(range(8), count))
    assert radius(diverse(points, rng.normal(size=8), count, weight=1)) <= 2 * best + 1e-9


def _greedy(points, scores, count, weight):
    """The definition, slowly: no state is carried from one choice to the next."""
    ranks = np.array([((scores < s).sum() + (scores <= s).sum()) / 2 / len(scores) for s in scores])
    chosen = []
    while len(chosen) < count:
        left = [i for i in range(len(points)) if i not in chosen]
        gap = {i: min([math.dist(points[i], points[j]) for j in chosen], default=1.0) for i in left}
        chosen.append(max(left, key=lambda i: (ranks[i] ** (1 - weight) * gap[i] ** weight, ranks[i])))
    return chosen


@_PATIENT
@given(_CASE, st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(1, 12))
def test_a_batch_against_its_definition(rng, weight, count):
    """The same list as from the definition, written without any shortcut."""
    points, scores = rng.normal(size=(12, 3)), rng.permutation(12).astype(np.float64)
    assert diverse(points, scores, count, weight=weight).tolist() == _greedy(points, scores, count, weight)


@_PATIENT
@given(_CASE, st.integers(0, 99), st.sampled_from([None, "equal", "proportional"]), st.booleans(), st.floats(0, 1))
def test_a_longer_batch_begins_with_the_shorter(rng, seed, quota, by_patient, weight):
    """For every length, with ties, patients and quotas: nothing is taken back, nobody is lost or doubled."""
    points = rng.integers(0, 3, size=(10, 2)).astype(np.float64)
    scores = rng.integers(0, 3, size=10).astype(np.float64)
    options = {
        "weight": weight,
        "groups": [f"p{i}" for i in rng.integers(0, 5, size=10)] if by_patient else None,
        "grades": rng.integers(0, 3, size=10).tolist(),
        "quota": quota,
    }
    whole = diverse(points, scores, 99, seed, **options)
    assert sorted(whole) == list(range(10))
    for count in range(1, 10):
        np.testing.assert_array_equal(diverse(points, scores, count, seed, **options), whole[:count])


def test_ties_are_drawn_by_the_seed():
    """Photographs that are alike in everything: each leads under some seed, the same one under the same seed."""
    leaders = Counter(int(diverse(np.zeros((4, 2)), np.ones(4), 1, seed)[0]) for seed in range(-200, 200))
    assert set(leaders) == {0, 1, 2, 3}
    assert all(60 <= n <= 140 for n in leaders.values())  # 100 each; 4.6 standard deviations


def test_equal_quotas_by_hand():
    """Grades take turns until one has no photograph left; the better score goes first within a turn."""
    grades = [0, 0, 0, 0, 1, 1, 2]
    scores = np.array([9.0, 8, 7, 6, 5, 4, 10])
    batch = diverse(None, scores, 7, weight=0, grades=grades, quota="equal")
    assert batch.tolist() == [6, 0, 4, 1, 5, 2, 3]


def test_proportional_quotas_by_hand():
    """Sizes 4, 2, 2: every four places hold 2, 1, 1; a grade of one in ten gets its place in the middle."""
    grades = [0, 0, 0, 0, 1, 1, 2, 2]
    scores = np.array([8.0, 7, 6, 5, 4, 3, 2, 1])
    batch = diverse(None, scores, 8, weight=0, grades=grades, quota="proportional")
    for begin in (0, 4):
        assert Counter(grades[i] for i in batch[begin : begin + 4]) == {0: 2, 1: 1, 2: 1}
    rare = [1] + [0] * 9
    batch = diverse(None, np.arange(10.0), 10, weight=0, grades=rare, quota="proportional")
    assert batch.tolist().index(0) in (4, 5)


def _webster(sizes, seats):
    """Webster's method by its other definition: round sizes over a common divisor, found by search."""
    for divisor in sorted({size / (k + 0.5) for size in sizes for k in range(seats + 1)}, reverse=True):
        shares = [math.floor(size / divisor + 0.5 + 1e-12) for size in sizes]
        if sum(shares) >= seats:
            return shares if sum(shares) == seats else None
    return None


@pytest.mark.parametrize("sizes", [(20, 7, 3), (168, 25, 168, 93, 62), (5, 5, 5)])
def test_proportional_quotas_against_webster(sizes):
    """Each prefix is Webster's apportionment of that many seats, where that has no ties; at least half have none."""
    grades = [grade for grade, size in enumerate(sizes) for _ in range(size)]
    batch = diverse(None, np.zeros(len(grades)), 60, weight=0, grades=grades, quota="proportional")
    compared = 0
    for seats in range(1, min(60, len(grades)) + 1):
        expected = _webster(sizes, seats)
        if expected is not None:
            counts = Counter(grades[i] for i in batch[:seats])
            assert [counts[grade] for grade in range(len(sizes))] == expected
            compared += 1
    assert compared >= (5 if len(set(sizes)) == 1 else 20)


def test_no_patient_comes_twice_before_all_have_come():
    """By score: a, a, b, a, c. In turn: a, b, c, a, a. Unknown patients are not one patient."""
    groups = ["a", "a", "b", "a", "c"]
    scores = np.array([5.0, 4, 3, 2, 1])
    assert diverse(None, scores, 5, weight=0, groups=groups).tolist() == [0, 2, 4, 1, 3]
    assert diverse(None, scores, 5, weight=0, groups=[None, None, "b", "b", None]).tolist() == [0, 1, 2, 4, 3]


@_PATIENT
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), _CASE, st.sampled_from([0.0, 0.5, 1.0]))
def test_patients_keep_step(groups, rng, weight):
    """At any length no patient is more than one ahead of one who still has photographs."""
    n = len(groups)
    batch = diverse(rng.normal(size=(n, 2)), rng.normal(size=n), n, weight=weight, groups=groups)
    sizes = Counter(groups)
    for length in range(1, n + 1):
        taken = Counter(groups[i] for i in batch[:length])
        waiting = [taken[name] for name in sizes if taken[name] < sizes[name]]
        assert max(taken.values()) <= min(waiting, default=n) + 1


def test_the_quota_goes_before_the_patients():
    """Grade 1 is only to be had from a patient who has come; among its photographs a new patient would go first."""
    groups, grades = ["a", "a", "b", "c"], [0, 1, 0, 0]
    scores = np.array([4.0, 1, 3, 2])
    assert diverse(None, scores, 4, weight=0, groups=groups, grades=grades, quota="equal").tolist() == [0, 1, 2, 3]
    groups, grades = ["a", "a", "b"], [0, 1, 1]
    assert diverse(None, np.array([3.0, 2, 1]), 3, weight=0, groups=groups, grades=grades, quota="equal").tolist() == [
        0,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.full((9, 2), np.nan)}, "features holds numbers that are not finite"),
        ({"corrected": np.full((1, 2), np.inf)}, "corrected holds numbers that are not finite"),
    ],
)
def test_features_that_are_no_numbers_are_refused(change, message):
    """The message names what holds them."""
    with pytest.raises(ValueError, match=message):
        diverse(**{"features": CLUSTERS, "scores": SCORES, "count": 2, **change})


def test_turns_never_leave_nobody():
    """Whoever is left, somebody is open, and only those who are left."""
    turns = Turns(4, groups=["a", "a", "b", None], grades=[0, 0, 1, 1], quota="equal")
    left = np.array([False, True, False, False])
    for place in (0, 2, 3):
        turns.take(place)
    np.testing.assert_array_equal(turns.open(left), left)


def _photo(place, label=0, grade=0):
    return Collected(f"s{place}", label, grade, 1 - float(SCORES[place]), 0.1, None, None, "unknown")


NINE = [_photo(place) for place in range(9)]
PATIENTS = ["a", "a", "b", "b", "c", "c", "d", None, None]


def test_select_puts_it_together():
    """Rule, then diversity: the best of each cluster; each line says place, rank and what changed the order."""
    ranking = select(NINE, "confidence", count=3, features=CLUSTERS, diversity=0.5)
    assert ranking.samples == ("s0", "s4", "s8")
    assert ranking.n_candidates == 9
    assert ranking.reasons[1] == (
        "place 2 (with diversity 0.5 of 1), rank 4 of 9 by confidence: uncertainty 0.600; "
        "graded 0 (confidence 0.40), truth 0: marks unknown"
    )
    both = select(NINE, "confidence", count=3, groups=PATIENTS, quota="equal")
    assert both.samples == ("s0", "s2", "s4")
    assert both.reasons[0].startswith("place 1 (groups in turn, grades in equal turns), rank 1 of 9 by confidence")


def test_a_quota_takes_the_label_and_else_the_grade():
    """The label is known in training; a photograph without one counts as what the model says."""
    collected = [_photo(0, 0, 1), _photo(1, 0, 1), _photo(2, None, 0), _photo(3, None, 1), _photo(5, 1, 0)]
    # Grades 0, 0, 0, 1, 1 by confidence s0, s1, s2, s3, s5.
    assert select(collected, "confidence", share=1.0, quota="equal").samples == ("s0", "s3", "s1", "s5", "s2")


@_PATIENT
@given(st.permutations(range(9)), st.integers(0, 9), st.sampled_from([None, "equal", "proportional"]), st.floats(0, 1))
def test_the_order_of_the_input_does_not_matter_to_a_batch(order, seed, quota, diversity):
    """Photographs, features and patients in another order give the very same list, ties included."""
    collected = [_photo(place, label=place % 2) for place in range(9)]
    points = np.round(CLUSTERS)  # copies: many ties
    options = {"share": 1.0, "seed": seed, "quota": quota, "diversity": diversity}
    one = select(collected, "confidence", features=points, groups=PATIENTS, **options)
    other = select(
        [collected[i] for i in order],
        "confidence",
        features=points[order],
        groups=[PATIENTS[i] for i in order],
        **options,
    )
    assert one == other
    half = select(collected, "confidence", features=points, groups=PATIENTS, **{**options, "share": 0.5})
    assert half.samples == one.samples[:5]
    assert half.reasons == one.reasons[:5]


def test_features_without_diversity_change_nothing():
    """What callers hand in by habit does not change today's ranking or its words."""
    assert select(NINE, "random", share=1.0, features=CLUSTERS) == select(NINE, "random", share=1.0)


def test_one_vector_and_one_patient_per_photograph():
    """Rows that do not belong to the photographs are our own mistake."""
    with pytest.raises(ValueError, match="8 features for 9 collected"):
        select(NINE, "random", features=CLUSTERS[:8], diversity=0.5)
    with pytest.raises(ValueError, match=r"diversity is 0\.5 without features"):
        select(NINE, "random", diversity=0.5)
    with pytest.raises(ValueError, match="1 groups for 9 collected"):
        select(NINE, "random", groups=["a"])
