"""The ranking of photographs for an expert."""

import hashlib
import math
import random as stdlib_random
from collections import Counter
from decimal import ROUND_CEILING, Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.errors import OptionError
from regaze.records import Collected
from regaze.selection.rules import NEEDS_EXPERT, RULES, NothingToSelect, Rule, select
from regaze.selection.scores import SIGNALS

# A busy machine is slow; that is no fault of the code.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _one(sample, confidence=0.5, error=0.1, diagnosis="misgraded", label=3, grade=2, rank=0.1, enrichment=1.0, **more):
    return Collected(sample, label, grade, confidence, error, rank, enrichment, diagnosis, **more)


def candidates(collected):
    """The photographs that need an expert."""
    return [one for one in collected if one.diagnosis in NEEDS_EXPERT]


# Confidence and squared error disagree on purpose; `d` needs no expert and would come first by either rule.
FOUR = [
    _one("a", confidence=0.9, error=0.30),
    _one("b", confidence=0.4, error=0.10),
    _one("c", confidence=0.6, error=0.20, diagnosis="elsewhere", label=2),
    _one("d", confidence=0.1, error=0.90, diagnosis="fine", label=2),
]


def test_confidence_takes_the_least_confident_first():
    """Rule (a) of the paper, on an order known by hand; what needs no expert is not ranked."""
    ranking = select(FOUR, "confidence", share=1.0)
    assert ranking.samples == ("b", "c", "a")
    assert ranking.n_candidates == 3
    np.testing.assert_allclose(RULES["confidence"](FOUR, 0), [0.1, 0.6, 0.4, 0.9])


def test_map_error_takes_the_largest_error_first():
    """Rule (b) of the paper, on an order known by hand."""
    assert select(FOUR, "map-error", share=1.0).samples == ("a", "c", "b")
    np.testing.assert_allclose(RULES["map-error"](FOUR, 0), [0.3, 0.1, 0.2, 0.9])


def test_map_error_leaves_out_what_has_no_truth():
    """Without known lesions there is no error to rank by; the share is a share of the ranked ones."""
    collected = [*FOUR, _one("x", error=None, diagnosis="unknown"), _one("y", error=math.nan)]
    ranking = select(collected, "map-error", share=1.0)
    assert ranking.samples == ("a", "c", "b")
    assert ranking.n_candidates == 3
    by_confidence = select(collected, "confidence", share=1.0)
    assert set(by_confidence.samples) == set("abcxy")
    assert by_confidence.n_candidates == 5


def test_candidates_are_all_but_the_fine():
    """Misgraded, looking elsewhere and unknown need an expert."""
    collected = [
        _one("4", diagnosis="unknown"),
        _one("3", diagnosis="elsewhere"),
        _one("2", diagnosis="fine"),
        _one("1"),
    ]
    order = select(collected, "confidence", share=1.0)
    assert sorted(order.samples) == ["1", "3", "4"]


def test_everything_ranks_the_fine_ones_too():
    """Asked for everything, photographs that need no expert are ranked like the others."""
    assert select(FOUR, "map-error", share=1.0, everything=True).samples == ("d", "a", "c", "b")
    fine = [one for one in FOUR if one.diagnosis == "fine"]
    assert select(fine, "confidence", everything=True).samples == ("d",)


@pytest.mark.parametrize(
    ("n", "share", "taken"),
    [
        (10, 0.3, 3),
        (10, 0.31, 4),
        (100, 0.07, 7),  # 7.000000000000001 in floats
        (100, 0.29, 29),
        (1, 0.3, 1),
        (41, 0.3, 13),  # 12.3
        (41, 1e-9, 1),
        (41, 1.0, 41),
        (413, np.float64(0.1), 42),  # 41.3
    ],
)
def test_a_share_is_rounded_up(n, share, taken):
    """The share that the user typed, as a decimal, rounded up; at least one photograph."""
    assert taken == int((Decimal(str(float(share))) * n).to_integral_value(ROUND_CEILING))
    ranking = select([_one(f"{i:03d}") for i in range(n)], "random", share=share)
    assert len(ranking.samples) == taken
    assert ranking.n_candidates == n


def test_the_default_share_is_the_papers():
    """Without a wish, 30 % of the candidates."""
    assert len(select([_one(str(i)) for i in range(20)], "confidence").samples) == 6


def test_a_count_goes_before_the_share():
    """A number of photographs is taken as it is, and cut to what there is."""
    assert select(FOUR, "map-error", count=2).samples == ("a", "c")
    assert len(select(FOUR, "map-error", count=99).samples) == 3


_COLLECTED = st.lists(
    st.builds(
        _one,
        sample=st.text(max_size=4),
        confidence=st.sampled_from([0.2, 0.5, 0.9]),  # few values: many ties
        error=st.sampled_from([0.0, 0.1, 0.2]),
        diagnosis=st.sampled_from(["misgraded", "elsewhere", "unknown", "fine"]),
        probabilities=st.sampled_from([(0.2, 0.3, 0.5), (0.5, 0.3, 0.2), (0.0, 0.0, 1.0)]),
        signals=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.1, 0.2]) for name in SIGNALS}),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda one: one.sample,
).filter(lambda collected: len(candidates(collected)) > 0)
_RULE = st.sampled_from(sorted(RULES))
_SHARE = st.floats(0, 1, exclude_min=True)
_SEED = st.integers(-(2**63), 2**63 - 1)


@_PATIENT
@given(_COLLECTED, _RULE, _SEED, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(collected, rule, seed, shuffler):
    """Photographs in another order give the very same ranking, ties included."""
    shuffled = list(collected)
    shuffler.shuffle(shuffled)
    assert select(shuffled, rule, share=1.0, seed=seed) == select(collected, rule, share=1.0, seed=seed)


@_PATIENT
@given(_COLLECTED, _RULE, _SEED, _SHARE, _SHARE)
def test_a_bigger_share_begins_with_the_smaller_one(collected, rule, seed, one, other):
    """Growing the budget with the same seed only adds photographs at the end, with the same reasons."""
    small = select(collected, rule, share=min(one, other), seed=seed)
    big = select(collected, rule, share=max(one, other), seed=seed)
    assert len(small.samples) >= 1
    assert big.samples[: len(small.samples)] == small.samples
    assert big.reasons[: len(small.reasons)] == small.reasons


@_PATIENT
@given(_COLLECTED, _RULE, _SEED)
def test_a_full_ranking_is_sorted_and_complete(collected, rule, seed):
    """Against NumPy's sort: scores never rise along the ranking, and nobody is lost or doubled."""
    ranking = select(collected, rule, share=1.0, seed=seed)
    pool = {one.sample: one for one in candidates(collected)}
    assert sorted(ranking.samples) == sorted(pool)
    scores = RULES[rule]([pool[sample] for sample in ranking.samples], seed)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, -np.sort(-scores))


@_PATIENT
@given(_COLLECTED, _SEED, st.sampled_from(["confidence", "random"]))
def test_a_photograph_that_leaves_does_not_reorder_the_others(collected, seed, rule):
    """After one photograph was corrected and has left, the rest keep their order under the same seed."""
    order = select(collected, rule, share=1.0, seed=seed).samples
    rest = [one for one in collected if one.sample != order[0]]
    if candidates(rest):
        assert select(rest, rule, share=1.0, seed=seed).samples == order[1:]


def test_ties_are_broken_by_the_seed_and_not_by_name():
    """Equal scores: each seed gives its own order, and every photograph leads under some seed."""
    collected = [_one(sample) for sample in "abcd"]
    leaders = Counter(select(collected, "confidence", count=1, seed=seed).samples[0] for seed in range(400))
    assert set(leaders) == set("abcd")
    assert all(60 <= n <= 140 for n in leaders.values())  # 100 each; 4.6 standard deviations


def test_random_draws_evenly_and_differs_by_seed():
    """Each of 5 photographs leads in about a fifth of 500 seeds; scores fill 0..1; same seed, same order."""
    collected = [_one(str(i)) for i in range(5)]
    leaders = Counter(select(collected, "random", count=1, seed=seed).samples[0] for seed in range(500))
    assert all(60 <= leaders[str(i)] <= 140 for i in range(5))
    many = RULES["random"]([_one(str(i)) for i in range(2000)], 1)
    counts, _ = np.histogram(many, bins=10, range=(0, 1))
    assert counts.sum() == 2000
    assert counts.min() > 140
    np.testing.assert_array_equal(many, RULES["random"]([_one(str(i)) for i in range(2000)], 1))


@pytest.mark.parametrize("seed", [0, 7, -1])
def test_the_random_order_is_the_same_on_every_machine(seed):
    """The order follows from a published hash of purpose, seed and id, so a study can be repeated."""
    ids = [f"training/IDRiD_{i:03d}" for i in range(1, 30)]

    def hashed(sample):
        return hashlib.blake2b(f"random\0{seed}\0{sample}".encode(), digest_size=8).digest()

    expected = tuple(sorted(ids, key=hashed, reverse=True))
    assert expected != tuple(ids)
    assert select([_one(sample) for sample in ids], "random", share=1.0, seed=seed).samples == expected


def test_the_callers_list_and_random_state_are_left_alone():
    """Ranking sorts a copy and touches no global generator."""
    collected = list(reversed(FOUR))
    before = (list(collected), stdlib_random.getstate(), np.random.get_state()[1].tolist())
    select(collected, "random", share=1.0)
    assert (list(collected), stdlib_random.getstate(), np.random.get_state()[1].tolist()) == before


def test_the_reasons_say_why():
    """One line per photograph: rank, score, grade with confidence, truth, diagnosis, by name or number."""
    classes = ["R0", "R1", "R2", "R3", "R4"]
    assert select(FOUR, "map-error", share=1.0, classes=classes).reasons == (
        "rank 1 of 3 by map-error: squared error 0.300; graded R2 (confidence 0.90), truth R3: misgraded",
        "rank 2 of 3 by map-error: squared error 0.200; graded R2 (confidence 0.60), truth R2: "
        "off-target (relevance rank 0.10, enrichment 1.00)",
        "rank 3 of 3 by map-error: squared error 0.100; graded R2 (confidence 0.40), truth R3: misgraded",
    )
    unknown = _one("u", confidence=0.25, label=None, diagnosis="unknown", rank=None, enrichment=None)
    assert select([unknown], "confidence").reasons == (
        "rank 1 of 1 by confidence: uncertainty 0.750; graded 2 (confidence 0.25), truth unknown: marks unknown",
    )


def test_a_new_rule_is_one_function_and_one_entry(monkeypatch):
    """A rule put into the table ranks, and is named in the reasons: no other change."""

    def longest_name(collected, seed):
        return np.array([len(one.sample) + seed for one in collected], dtype=np.float64)

    monkeypatch.setitem(RULES, "longest", Rule(longest_name, "letters {score:.3f}"))
    ranking = select([_one("a"), _one("ccc"), _one("bb")], "longest", share=1.0, seed=10)
    assert ranking.samples == ("ccc", "bb", "a")
    assert ranking.reasons[0].startswith("rank 1 of 3 by longest: letters 13.000; ")


@pytest.mark.parametrize("everything", [False, True])
def test_a_rule_sees_the_photographs_by_id(monkeypatch, everything):
    """A rule that looks at positions gets them sorted: the order of the input is no matter."""
    monkeypatch.setitem(RULES, "position", Rule(lambda pool, _seed: -np.arange(len(pool)) * 1.0, "position"))
    shuffled = [_one(sample) for sample in "cadb"]
    assert select(shuffled, "position", share=1.0, everything=everything).samples == tuple("abcd")


def test_map_error_without_any_truth_names_the_cure():
    """The oracle cannot rank where nothing is known about lesions; the message names the rules that can."""
    collected = [_one("a", error=None), _one("b", error=None, diagnosis="unknown")]
    expected = r"'map-error' needs masks or boxes, which none of the 2 .*another rule \(confidence, random\)"
    with pytest.raises(OptionError, match=expected):
        select(collected, "map-error")


def test_nobody_to_ask_about_is_said_plainly():
    """All fine, or nothing collected: two messages and two classes, so that a caller can go on from the first."""
    with pytest.raises(NothingToSelect, match=r"none of the 1 photographs needs an expert") as caught:
        select([FOUR[3]], "confidence")
    assert all(
        cure in str(caught.value) for cure in ("--min-rank", "--min-enrichment", "regaze collect", "--everything")
    )
    with pytest.raises(OptionError, match="no photograph was collected") as caught:
        select([], "confidence", everything=True)
    assert not isinstance(caught.value, NothingToSelect)


def test_one_id_twice_is_our_own_mistake():
    """Two photographs under one id cannot be told apart in a ranking."""
    with pytest.raises(ValueError, match="same sample id"):
        select([_one("a"), _one("a")], "random")
