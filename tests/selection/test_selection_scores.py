"""The scores of the rules, known by hand and against independent references."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from scipy.stats import rankdata

from regaze.errors import OptionError
from regaze.records import Collected
from regaze.selection.rules import NEEDS_EXPERT, RULES, select
from regaze.selection.scores import SIGNALS, normalised_ranks

_PATIENT = settings(deadline=None, max_examples=50)


def _one(sample, probabilities=(), label=None, grade=1, error=None, diagnosis="unknown", **signals):
    return Collected(sample, label, grade, 0.5, error, None, None, diagnosis, probabilities, signals)


def _score(rule, *collected):
    return RULES[rule](collected, 0).tolist()


def test_entropy_by_hand():
    """Certain: 0. Even between two of four: half of the maximum. Even over all: 1, whatever the number of classes."""
    collected = [
        _one("a", (0.0, 1.0, 0.0, 0.0)),
        _one("b", (0.5, 0.0, 0.5, 0.0)),
        _one("c", (0.25,) * 4),
        _one("d", (0.5, 0.5)),
        _one("e", (1.0,)),
    ]
    assert _score("entropy", *collected) == pytest.approx([0, 0.5, 1, 1, 0])
    assert math.copysign(1, _score("entropy", collected[0])[0]) == 1


def test_margin_by_hand():
    """1 minus the lead of the likeliest class over the next, in whatever order the classes stand."""
    collected = [_one("a", (0.1, 0.7, 0.2)), _one("b", (0.5, 0.0, 0.5)), _one("c", (0.0, 0.0, 1.0)), _one("d", (1.0,))]
    assert _score("margin", *collected) == pytest.approx([0.5, 1, 0, 0])


@_PATIENT
@given(st.lists(st.floats(0, 1), min_size=2, max_size=7).filter(lambda values: sum(values) > 0.1))
def test_entropy_and_margin_against_references(values):
    """SciPy's entropy to the base K, and NumPy's partition, on any probabilities; both within 0..1."""
    shares = tuple(np.array(values) / sum(values))
    entropy, margin = _score("entropy", _one("a", shares))[0], _score("margin", _one("a", shares))[0]
    assert entropy == pytest.approx(scipy_entropy(shares, base=len(shares)), abs=1e-12)
    second, first = np.partition(shares, -2)[-2:]
    assert margin == pytest.approx(1 - (first - second))
    assert -1e-12 <= entropy <= 1 + 1e-12
    assert 0 <= margin <= 1


def test_numbers_that_are_none_are_never_a_score():
    """Without probabilities, or with a NaN among them, the rules cannot tell; lists as JSON gives them are fine."""
    strange = [_one("a"), _one("b", (math.nan, 0.5)), _one("c", [0.5, 0.5])]
    for rule in ("entropy", "margin"):
        scores = _score(rule, *strange)
        assert [math.isnan(score) for score in scores] == [True, True, False]
        assert scores[2] == pytest.approx(1.0)


@pytest.mark.parametrize("rule", sorted(SIGNALS))
def test_a_signals_rule_is_that_signal(rule):
    """Each rule reads its own signal and no other; None, NaN and a missing key are NaN."""
    others = {name: 9.0 for name in SIGNALS if name != rule}
    collected = [
        _one("a", **others, **{rule: 0.25}),
        _one("b", **others, **{rule: None}),
        _one("c", **others),
        _one("d", **others, **{rule: math.nan}),
        _one("e", **others, **{rule: 0.0}),
    ]
    np.testing.assert_array_equal(_score(rule, *collected), [0.25, math.nan, math.nan, math.nan, 0.0])
    ranking = select(collected, rule, share=1.0)
    assert ranking.samples == ("a", "e")
    assert ranking.n_candidates == 2


def test_only_map_error_is_an_oracle():
    """Every rule but map-error gives the same scores whatever is known about lesions."""
    signals = dict.fromkeys(SIGNALS, 0.3)
    known = [_one("a", (0.4, 0.6), 1, error=0.2, **signals), _one("b", (0.1, 0.9), 0, error=0.7, **signals)]
    blind = [_one("a", (0.4, 0.6), **signals), _one("b", (0.1, 0.9), **signals)]
    for name, rule in RULES.items():
        same = np.array_equal(rule(known, 3), rule(blind, 3), equal_nan=True)
        assert same == (name != "map-error"), name


def test_where_no_lesions_are_known_a_label_free_rule_ranks_all():
    """All right-graded photographs are candidates there, so the list is the one of everything."""
    collected = [_one("a", label=1, scales=0.1), _one("b", label=1, scales=0.3), _one("c", label=0, scales=0.2)]
    assert all(one.diagnosis in NEEDS_EXPERT for one in collected)
    ranking = select(collected, "scales", share=1.0)
    assert ranking.samples == ("b", "c", "a")
    assert ranking == select(collected, "scales", share=1.0, everything=True)


def test_combined_by_hand():
    """Mean of (rank - 1/2) / n over the signals at hand; units and outliers do not matter."""
    collected = [
        _one("a", scales=0.1, cam=1000.0),  # 1/6 and 5/6
        _one("b", scales=0.2, cam=2.0),  # 3/6 and 3/6
        _one("c", scales=0.3, cam=1.0),  # 5/6 and 1/6
    ]
    assert _score("combined", *collected) == pytest.approx([0.5, 0.5, 0.5])
    collected.append(_one("d", scales=0.4, cam=0.5))
    assert _score("combined", *collected) == pytest.approx([0.5, 0.5, 0.5, 0.5])
    tilted = [_one("a", scales=0.1, cam=3.0), _one("b", scales=0.2, cam=9.0), _one("c", scales=0.2, cam=1.0)]
    # scales: 1/6, then two that share ranks 2 and 3: 4/6. cam: 3/6, 5/6, 1/6.
    assert _score("combined", *tilted) == pytest.approx([2 / 6, 4.5 / 6, 2.5 / 6])


def test_combined_does_with_what_there_is():
    """Missing signals neither punish nor reward; without any the rule cannot tell; one that all share is neutral."""
    collected = [
        _one("a", scales=0.1, prior=None, branches=7.0),
        _one("b", scales=0.9, branches=7.0),
        _one("c", cam=0.5),  # the only one with cam: in the middle
        _one("d"),
    ]
    # scales: 1/4, 3/4; branches: 1/2, 1/2.
    np.testing.assert_allclose(_score("combined", *collected), [3 / 8, 5 / 8, 0.5, math.nan])
    assert select(collected, "combined", share=1.0).samples == ("b", "c", "a")


def test_combined_leaves_doubt_about_the_grade_out():
    """Probabilities change nothing: the rule stands in for map error."""
    even, sure = (0.5, 0.5), (1.0, 0.0)
    scores = [
        _score("combined", _one("a", p, scales=0.2), _one("b", q, scales=0.1)) for p, q in [(even, sure), (sure, even)]
    ]
    assert scores[0] == scores[1] == pytest.approx([0.75, 0.25])


@_PATIENT
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, math.inf, math.nan]) | st.floats(allow_nan=False), max_size=12))
def test_normalised_ranks_against_scipy(values):
    """SciPy's average ranks minus a half, over the number of measured values; NaN stays NaN."""
    found = normalised_ranks(np.array(values, dtype=np.float64))
    measured = [value for value in values if not math.isnan(value)]
    expected = iter((rankdata(measured) - 0.5) / max(1, len(measured)))
    np.testing.assert_allclose(found, [math.nan if math.isnan(value) else next(expected) for value in values])


def test_the_reasons_explain_themselves():
    """What the score says of this photograph, in words, for each rule."""
    signals = {"branches": 0.41, "scales": 0.1, "cam": 0.2, "instability": 0.3, "prior": 0.05}
    one = _one("a", (0.45, 0.55), **signals)
    expected = {
        "entropy": "its probability is spread over the grades to 0.993 of 1",
        "margin": "its two likeliest grades lie 0.100 apart",
        "branches": "its branches disagree on the grade by 0.410",
        "scales": "the maps of its scales differ by 0.100",
        "cam": "its map and Grad-CAM differ by 0.200",
        "instability": "its map changes by 0.300 when the photograph is flipped or shifted a little",
        "prior": "its map differs by 0.050 from what earlier corrections make one expect",
    }
    for rule, phrase in expected.items():
        assert select([one], rule).reasons == (
            f"rank 1 of 1 by {rule}: {phrase}; graded 1 (confidence 0.50), truth unknown: marks unknown",
        )
    assert set(RULES) == {*expected, "confidence", "map-error", "combined", "random"}


def test_the_reason_of_combined_names_the_loudest_signals():
    """Two signals at most, loudest first."""
    collected = [_one("a", scales=0.9, cam=0.9, prior=0.1), _one("b", scales=0.1, prior=0.2), _one("c", cam=0.1)]
    lines = dict(zip(*(lambda r: (r.samples, r.reasons))(select(collected, "combined", share=1.0)), strict=True))
    assert (
        "combined: 0.583 of 1 over 3 uncertainty scores, most by the maps of its scales (0.75) and "
        "its map against Grad-CAM (0.75); " in lines["a"]
    )
    assert "0.250 of 1 over 1 uncertainty score, most by its map against Grad-CAM (0.25); " in lines["c"]
    assert all("\n" not in line for line in lines.values())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "entropy",
            "'entropy' needs the probabilities of the grades, which none of the 2 .*again with `regaze collect`",
        ),
        ("margin", "'margin' needs the probabilities of the grades"),
        ("prior", "'prior' needs a prior learned from earlier corrections, .*correct some photographs first"),
        ("combined", "'combined' needs at least one of the signals branches, scales, cam, instability, prior"),
        ("branches", "'branches' needs the grades of several branches"),
    ],
)
def test_a_rule_without_its_numbers_names_the_cure(rule, message):
    """An older collection: the rule says what it needs and which rules can rank these photographs."""
    with pytest.raises(OptionError, match=message) as caught:
        select([_one("a"), _one("b")], rule)
    assert "take another rule (confidence, random), or " in str(caught.value)
