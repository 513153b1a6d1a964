"""Majority, STAPLE and agreement: by hand, against identities, and against SimpleITK's numbers."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score, f1_score, jaccard_score

from regaze.corrections.consensus import MAX_EXPERTS, agreement, majority, staple
from regaze.errors import CorrectionError

_SMALL = arrays(np.bool_, (5, 6))
_WIDE = np.ones((2, 3), bool)
_ANY = settings(deadline=None, max_examples=60)


def _mask(*rows):
    return np.array([[one == "x" for one in row] for row in rows])


def _experts():
    """Four masks of 40 x 60 pixels: two good experts, a generous one, a sparing one with a false find."""
    y, x = np.mgrid[:40, :60]

    def disc(column, row, radius):
        return (x - column) ** 2 + (y - row) ** 2 <= radius * radius

    return [
        disc(25, 20, 10) | disc(48, 10, 4),
        disc(27, 20, 10) | disc(48, 11, 3),
        disc(24, 18, 12),
        disc(26, 21, 8) | disc(10, 33, 3),
    ]


def test_a_majority_is_more_than_half():
    """Of three, two suffice; of two or four, half does not."""
    one, two, three, four = _mask("xx.", "x.."), _mask("x.x", "x.."), _mask("x..", ".xx"), _mask("xxx", "...")
    np.testing.assert_array_equal(majority([one, two, three]), _mask("x..", "x.."))
    np.testing.assert_array_equal(majority([one, two]), one & two)
    np.testing.assert_array_equal(majority([one, two, three, four]), _mask("x..", "..."))
    np.testing.assert_array_equal(majority([one]), one)


@_ANY
@given(st.lists(_SMALL, min_size=1, max_size=6), st.data())
def test_majorities_of_look_and_avoid_share_no_pixel(looks, data):
    """Where each expert's two masks are disjoint, so are the two majorities: this is why a tie is not marked."""
    avoids = [data.draw(_SMALL) & ~look for look in looks]
    look, avoid = majority(looks), majority(avoids)
    assert not (look & avoid).any()
    np.testing.assert_array_equal(look, np.mean(looks, axis=0) > 0.5)


# Made once by SimpleITK 2.5.7 (ITK 5.4), which is no dependency: for the first n masks of `_experts` as uint8 images,
#   f = SimpleITK.STAPLEImageFilter(); f.SetForegroundValue(1); p = f.Execute(images)
# then the sum of p, the number of its pixels above 0.5, and p at four pixels.
_ITK = {
    2: (
        (355.9993890666915, 306),
        (0.9989522556374085, 0.9989522556374085, 0.0009227662095043455, 0.48067837938225777),
    ),
    3: (
        (370.80021052261384, 363),
        (0.9999659521118989, 0.9951630104004543, 0.0001631794438656927, 0.09932069278669335),
    ),
    4: (
        (357.65479452824854, 363),
        (0.9999983058754939, 0.9781412416032296, 0.003088542171585448, 0.023202845456933793),
    ),
}


@pytest.mark.parametrize("n_experts", sorted(_ITK))
def test_staple_gives_simpleitks_numbers(n_experts):
    """The same probabilities as an independent implementation."""
    probability = staple(_experts()[:n_experts])
    (total, n_likely), probabilities = _ITK[n_experts]
    assert probability.dtype == np.float32
    assert probability.sum(dtype=np.float64) == pytest.approx(total, abs=1e-4)
    assert np.count_nonzero(probability > 0.5) == n_likely
    found = [probability[place] for place in ((20, 25), (10, 48), (33, 10), (20, 36))]
    assert found == pytest.approx(probabilities, abs=1e-6)


def test_staple_weighs_each_expert_by_reliability():
    """Masks made from a known truth with known errors: nearer to the truth than the majority."""
    rng = np.random.default_rng(5)
    truth = rng.random((300, 300)) < 0.3
    rates = [(0.95, 0.99), (0.8, 0.95), (0.6, 0.9), (0.9, 0.8)]
    masks = [np.where(truth, rng.random(truth.shape) < p, rng.random(truth.shape) > q) for p, q in rates]
    assert np.mean((staple(masks) > 0.5) == truth) > np.mean(majority(masks) == truth)


def test_staple_of_equal_masks_is_that_mask():
    """Where all say the same there is nothing to weigh; one expert alone is believed."""
    mask = _experts()[0]
    for masks in ([mask], [mask] * 3):
        np.testing.assert_allclose(staple(masks), mask, atol=1e-6)


def test_staple_where_nobody_or_everybody_marked_all():
    """Certain either way."""
    assert not staple([np.zeros((3, 4), bool)] * 2).any()
    assert (staple([np.ones((3, 4), bool)] * 2) == 1).all()


@settings(deadline=None, max_examples=100)
@given(st.lists(_SMALL, min_size=1, max_size=5))
def test_staple_never_leaves_zero_to_one(masks):
    """Any masks give numbers between 0 and 1, never a warning."""
    probability = staple(masks)
    assert ((probability >= 0) & (probability <= 1)).all()


def test_agreement_by_hand():
    """Two of three and two of four pixels in common, on 10 pixels: every measure worked out on paper."""
    (pair,) = agreement({"a": _mask("xxx..", "....."), "b": _mask(".xxx.", "...x.")})
    assert (pair.first, pair.second) == ("a", "b")
    assert not pair.both_empty
    assert pair.dice == pytest.approx(4 / 7)
    assert pair.iou == pytest.approx(2 / 5)
    # Agree in 2 + 5 of 10; by chance in .3 x .4 + .7 x .6 = .54.
    assert pair.kappa == pytest.approx((0.7 - 0.54) / (1 - 0.54))
    assert pair.tolerant_dice == pair.dice


@_ANY
@given(_SMALL.filter(lambda mask: mask.any() and not mask.all()), _SMALL.filter(np.any))
def test_agreement_is_scikit_learns(one, other):
    """Dice is F1, IoU the Jaccard score, kappa Cohen's: as scikit-learn computes them."""
    (pair,) = agreement({"a": one, "b": other})
    assert pair.dice == pytest.approx(f1_score(one.ravel(), other.ravel()))
    assert pair.iou == pytest.approx(jaccard_score(one.ravel(), other.ravel()))
    assert pair.kappa == pytest.approx(cohen_kappa_score(one.ravel(), other.ravel()))


@_ANY
@given(_SMALL, _SMALL, st.floats(0, 3))
def test_agreement_identities(one, other, tolerance):
    """Symmetric, 1 with itself, Dice and IoU 0 for disjoint masks, and tolerance never lowers agreement."""
    (pair,) = agreement({"a": one, "b": other}, tolerance=tolerance)
    (back,) = agreement({"b": other, "a": one}, tolerance=tolerance)
    names = ("dice", "iou", "kappa", "tolerant_dice")
    assert [getattr(pair, name) for name in names] == [getattr(back, name) for name in names]
    assert 0 <= pair.iou <= pair.dice <= pair.tolerant_dice <= 1
    (same,) = agreement({"a": one, "b": one.copy()}, tolerance=tolerance)
    assert [getattr(same, name) for name in names] == [1, 1, 1, 1]
    if one.any():
        (apart,) = agreement({"a": one, "b": other & ~one})
        assert apart.dice == apart.iou == 0
        assert apart.kappa <= 0


def test_within_the_tolerance_a_pixel_agrees():
    """Distance between centres: 1 reaches the neighbour, 1.4 not the diagonal, 1.5 does."""
    one, other = _mask("x....", "....."), _mask("....x", ".x...")

    def tolerant(tolerance):
        (pair,) = agreement({"a": one, "b": other}, tolerance=tolerance)
        return pair.tolerant_dice

    assert tolerant(0) == tolerant(1) == tolerant(1.4) == 0
    assert tolerant(1.5) == pytest.approx(2 / 3)  # of the three pixels, the two near each other
    assert tolerant(4) == 1
    (neighbours,) = agreement({"a": one, "b": np.roll(one, 1, axis=1)}, tolerance=1)
    assert neighbours.tolerant_dice == 1


@_ANY
@given(_SMALL, _SMALL, st.integers(1, 4))
def test_the_tolerance_agrees_with_all_distances(one, other, tolerance):
    """Counted pixel by pixel: which of either mask have one of the other at most so far away."""
    places, others = np.argwhere(one), np.argwhere(other)
    squared = ((places[:, None] - others[None]) ** 2).sum(axis=2) <= tolerance**2
    n_near = int(squared.any(axis=1).sum() + squared.any(axis=0).sum())
    n_marked = len(places) + len(others)
    expected = n_near / n_marked if n_marked else 1.0
    (pair,) = agreement({"a": one, "b": other}, tolerance=tolerance)
    assert pair.tolerant_dice == pytest.approx(expected)


def test_nothing_from_both_is_agreement_and_is_counted():
    """Two who say "nothing here" agree; one who does and one who marks something do not."""
    nothing, something = np.zeros((2, 3), bool), _mask("x..", "...")
    pairs = agreement({"a": nothing, "b": nothing, "c": something})
    assert [pair.both_empty for pair in pairs] == [True, False, False]
    assert [pair.dice for pair in pairs] == [1, 0, 0]
    assert [pair.kappa for pair in pairs] == [1, 0, 0]
    (everything,) = agreement({"a": ~nothing, "b": ~nothing})
    assert everything.kappa == 1


def test_one_expert_alone_forms_no_pair():
    """There is nobody to agree with."""
    assert agreement({}) == agreement({"a": _mask("xx.", "...")}) == []


def test_a_models_map_is_one_more_mask():
    """The pairs that name the model are the model against the experts; the others are experts among each other."""
    first, second = _experts()[:2]
    result = agreement({"one": first, "two": second, "model": first})
    by_name = {(pair.first, pair.second): pair.dice for pair in result}
    assert by_name[("one", "model")] == 1
    assert by_name[("two", "model")] == by_name[("one", "two")] < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: majority([_WIDE] * (MAX_EXPERTS + 1)), "17 experts' masks of one photograph, expected at most 16"),
        (lambda: staple([_WIDE] * (MAX_EXPERTS + 1)), "17 experts' masks"),
        (lambda: agreement({"x": _WIDE}, tolerance=-1), "tolerance is -1"),
        (lambda: agreement({"x": _WIDE}, tolerance=math.nan), "tolerance is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    """Each refusal names the number and what was expected."""
    with pytest.raises(CorrectionError, match=message):
        call()


def test_a_whole_photograph_takes_a_second():
    """Three experts at 4288 x 2848: seconds of this process, so that a busy machine does not count."""
    masks = [np.kron(mask, np.ones((71, 71), bool))[:2840, :4260] for mask in _experts()[:3]]
    start = time.process_time()
    result = staple(masks)
    pairs = agreement({str(i): mask for i, mask in enumerate(masks)}, tolerance=5)
    voted = majority(masks)
    assert time.process_time() - start < 5
    assert result.shape == voted.shape == (2840, 4260)
    assert len(pairs) == 3
