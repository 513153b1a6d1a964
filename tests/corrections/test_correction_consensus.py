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
_WIDE, _TALL = np.ones((2, 3), bool), np.ones((3, 2), bool)
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
# then GetSensitivity, GetSpecificity, the sum of p, the number of its pixels above 0.5, and p at four pixels.
_ITK = {
    2: (
        (0.9408226279183813, 0.9126604355398356),
        (0.9848005060991433, 0.9896802884549215),
        (355.9993890666915, 306),
        (0.9989522556374085, 0.9989522556374085, 0.0009227662095043455, 0.48067837938225777),
    ),
    3: (
        (0.9408190267793365, 0.8763235455247781, 0.8914925729879695),
        (0.991551304406886, 0.9896220024472488, 0.9455773882272258),
        (370.80021052261384, 363),
        (0.9999659521118989, 0.9951630104004543, 0.0001631794438656927, 0.09932069278669335),
    ),
    4: (
        (0.9568680202494868, 0.894492785153844, 0.9041310804353369, 0.5510599743072766),
        (0.9883606461073966, 0.9872301805234741, 0.9424028826098719, 0.9858443294150001),
        (357.65479452824854, 363),
        (0.9999983058754939, 0.9781412416032296, 0.003088542171585448, 0.023202845456933793),
    ),
}


@pytest.mark.parametrize("n_experts", sorted(_ITK))
def test_staple_gives_simpleitks_numbers(n_experts):
    """The same probabilities, sensitivities and specificities as an independent implementation."""
    result = staple(_experts()[:n_experts])
    sensitivity, specificity, (total, n_likely), probabilities = _ITK[n_experts]
    assert result.converged
    assert result.sensitivity == pytest.approx(sensitivity, abs=1e-9)
    assert result.specificity == pytest.approx(specificity, abs=1e-9)
    assert result.probability.dtype == np.float32
    assert result.probability.sum(dtype=np.float64) == pytest.approx(total, abs=1e-4)
    assert np.count_nonzero(result.probability > 0.5) == n_likely
    found = [result.probability[place] for place in ((20, 25), (10, 48), (33, 10), (20, 36))]
    assert found == pytest.approx(probabilities, abs=1e-6)


def test_staple_finds_how_reliable_each_expert_is():
    """Masks made from a known truth with known errors: the estimates come out near the rates they were made with."""
    rng = np.random.default_rng(5)
    truth = rng.random((300, 300)) < 0.3
    rates = [(0.95, 0.99), (0.8, 0.95), (0.6, 0.9), (0.9, 0.8)]
    masks = [np.where(truth, rng.random(truth.shape) < p, rng.random(truth.shape) > q) for p, q in rates]
    result = staple(masks)
    assert result.sensitivity == pytest.approx([p for p, _ in rates], abs=0.02)
    assert result.specificity == pytest.approx([q for _, q in rates], abs=0.02)
    assert np.mean((result.probability > 0.5) == truth) > np.mean(majority(masks) == truth)


def test_staple_of_equal_masks_is_that_mask():
    """Where all say the same there is nothing to weigh; one expert alone is believed."""
    mask = _experts()[0]
    for masks in ([mask], [mask] * 3):
        result = staple(masks)
        np.testing.assert_allclose(result.probability, mask, atol=1e-6)
        assert result.sensitivity == pytest.approx([1] * len(masks), abs=1e-6)
        assert result.specificity == pytest.approx([1] * len(masks), abs=1e-6)


@pytest.mark.parametrize("prior", [None, 0.2])
def test_staple_where_nobody_or_everybody_marked_all(prior):
    """Certain either way, and the share over no pixels is NaN, not 0 or 1."""
    empty = staple([np.zeros((3, 4), bool)] * 2, prior=prior)
    assert not empty.probability.any()
    assert np.isnan(empty.sensitivity).all()
    assert empty.specificity == (1.0, 1.0)
    full = staple([np.ones((3, 4), bool)] * 2, prior=prior)
    assert (full.probability == 1).all()
    assert full.sensitivity == (1.0, 1.0)
    assert np.isnan(full.specificity).all()
    assert empty.converged
    assert full.converged


def test_staple_within_a_region_is_staple_of_the_region():
    """Surroundings that nobody marked change neither the experts' numbers nor the probabilities inside."""
    masks = _experts()
    whole = [np.pad(mask, 50) for mask in masks]
    within = np.pad(np.ones(masks[0].shape, bool), 50)
    alone, inside = staple(masks), staple(whole, within=within)
    assert inside.sensitivity == pytest.approx(alone.sensitivity, abs=1e-12)
    assert inside.specificity == pytest.approx(alone.specificity, abs=1e-12)
    np.testing.assert_array_equal(inside.probability[50:-50, 50:-50], alone.probability)
    assert staple(whole).specificity[2] > alone.specificity[2]


def test_staple_says_when_it_did_not_come_to_rest():
    """Stopped early, the result says so; the prior that was asked for is used."""
    result = staple(_experts(), max_iterations=2, prior=0.3)
    assert not result.converged
    assert result.n_iterations == 2
    assert result.prior == 0.3


@settings(deadline=None, max_examples=100)
@given(st.lists(_SMALL, min_size=1, max_size=5))
def test_staple_never_leaves_zero_to_one(masks):
    """Any masks give numbers between 0 and 1 (or NaN over no pixels), never a warning."""
    result = staple(masks, max_iterations=50)
    assert ((result.probability >= 0) & (result.probability <= 1)).all()
    for value in (*result.sensitivity, *result.specificity):
        assert math.isnan(value) or 0 <= value <= 1


def test_agreement_by_hand():
    """Two of three and two of four pixels in common, on 10 pixels: every measure worked out on paper."""
    result = agreement({"a": _mask("xxx..", "....."), "b": _mask(".xxx.", "...x.")})
    (pair,) = result.pairs
    assert (pair.first, pair.second) == ("a", "b")
    assert (pair.n_first, pair.n_second, pair.n_both, pair.both_empty) == (3, 4, 2, False)
    assert pair.dice == pytest.approx(4 / 7)
    assert pair.iou == pytest.approx(2 / 5)
    # Agree in 2 + 5 of 10; by chance in .3 x .4 + .7 x .6 = .54.
    assert pair.kappa == pytest.approx((0.7 - 0.54) / (1 - 0.54))
    assert pair.tolerant_dice == pair.dice
    assert (result.n_used, result.n_skipped, result.n_both_empty) == (1, 0, 0)
    assert (result.dice, result.iou, result.kappa) == (pair.dice, pair.iou, pair.kappa)


@_ANY
@given(_SMALL.filter(lambda mask: mask.any() and not mask.all()), _SMALL.filter(np.any))
def test_agreement_is_scikit_learns(one, other):
    """Dice is F1, IoU the Jaccard score, kappa Cohen's: as scikit-learn computes them."""
    (pair,) = agreement({"a": one, "b": other}).pairs
    assert pair.dice == pytest.approx(f1_score(one.ravel(), other.ravel()))
    assert pair.iou == pytest.approx(jaccard_score(one.ravel(), other.ravel()))
    assert pair.kappa == pytest.approx(cohen_kappa_score(one.ravel(), other.ravel()))


@_ANY
@given(_SMALL, _SMALL, st.floats(0, 3))
def test_agreement_identities(one, other, tolerance):
    """Symmetric, 1 with itself, Dice and IoU 0 for disjoint masks, and tolerance never lowers agreement."""
    (pair,) = agreement({"a": one, "b": other}, tolerance=tolerance).pairs
    (back,) = agreement({"b": other, "a": one}, tolerance=tolerance).pairs
    names = ("dice", "iou", "kappa", "tolerant_dice")
    assert [getattr(pair, name) for name in names] == [getattr(back, name) for name in names]
    assert 0 <= pair.iou <= pair.dice <= pair.tolerant_dice <= 1
    (same,) = agreement({"a": one, "b": one.copy()}, tolerance=tolerance).pairs
    assert [getattr(same, name) for name in names] == [1, 1, 1, 1]
    if one.any():
        (apart,) = agreement({"a": one, "b": other & ~one}).pairs
        assert apart.dice == apart.iou == 0
        assert apart.kappa <= 0


def test_within_the_tolerance_a_pixel_agrees():
    """Distance between centres: 1 reaches the neighbour, 1.4 not the diagonal, 1.5 does."""
    one, other = _mask("x....", "....."), _mask("....x", ".x...")

    def tolerant(tolerance):
        return agreement({"a": one, "b": other}, tolerance=tolerance).tolerant_dice

    assert tolerant(0) == tolerant(1) == tolerant(1.4) == 0
    assert tolerant(1.5) == pytest.approx(2 / 3)  # of the three pixels, the two near each other
    assert tolerant(4) == 1
    assert agreement({"a": one, "b": np.roll(one, 1, axis=1)}, tolerance=1).tolerant_dice == 1


@_ANY
@given(_SMALL, _SMALL, st.integers(1, 4))
def test_the_tolerance_agrees_with_all_distances(one, other, tolerance):
    """Counted pixel by pixel: which of either mask have one of the other at most so far away."""
    places, others = np.argwhere(one), np.argwhere(other)
    squared = ((places[:, None] - others[None]) ** 2).sum(axis=2) <= tolerance**2
    n_near = int(squared.any(axis=1).sum() + squared.any(axis=0).sum())
    n_marked = len(places) + len(others)
    expected = n_near / n_marked if n_marked else 1.0
    assert agreement({"a": one, "b": other}, tolerance=tolerance).tolerant_dice == pytest.approx(expected)


def test_nothing_from_both_is_agreement_and_is_counted():
    """Two who say "nothing here" agree; one who does and one who marks something do not."""
    nothing, something = np.zeros((2, 3), bool), _mask("x..", "...")
    result = agreement({"a": nothing, "b": nothing, "c": something})
    assert [pair.both_empty for pair in result.pairs] == [True, False, False]
    assert [pair.dice for pair in result.pairs] == [1, 0, 0]
    assert [pair.kappa for pair in result.pairs] == [1, 0, 0]
    assert (result.n_used, result.n_both_empty) == (3, 1)
    assert result.dice == pytest.approx(1 / 3)
    assert agreement({"a": ~nothing, "b": ~nothing}).kappa == 1


def test_who_said_nothing_is_absent_and_not_empty():
    """None forms no pair: skipped and counted, without a part in the means."""
    mask = _mask("xx.", "...")
    result = agreement({"a": mask, "away": None, "b": mask})
    assert [(pair.first, pair.second) for pair in result.pairs] == [("a", "b")]
    assert (result.n_used, result.n_skipped) == (1, 2)
    assert result.dice == 1
    for few in ({}, {"a": mask}, {"a": mask, "b": None}):
        nobody = agreement(few)
        assert nobody.pairs == ()
        assert math.isnan(nobody.dice)
        assert math.isnan(nobody.kappa)
        assert nobody.n_skipped == len(few) * (len(few) - 1) // 2


def test_only_pixels_within_count():
    """Outside the field of view nothing agrees or disagrees: kappa is that of the pixels inside."""
    one, other = _mask("xx..", "x..x"), _mask("x.x.", "xx..")
    within = _mask("xxx.", "...x")
    for tolerance in (0, 1):
        (pair,) = agreement({"a": one, "b": other}, within=within, tolerance=tolerance).pairs
        (alone,) = agreement({"a": one[within][None], "b": other[within][None]}).pairs
        assert (pair.dice, pair.iou, pair.kappa) == (alone.dice, alone.iou, alone.kappa)
    # Of (0, 0), (0, 1), (1, 3) and (0, 0), (0, 2) all but (1, 3) have a neighbour in the other mask.
    assert pair.tolerant_dice == pytest.approx(4 / 5)


def test_a_models_map_is_one_more_mask():
    """The pairs that name the model are the model against the experts; the others are experts among each other."""
    first, second = _experts()[:2]
    result = agreement({"one": first, "two": second, "model": first})
    by_name = {(pair.first, pair.second): pair.dice for pair in result.pairs}
    assert by_name[("one", "model")] == 1
    assert by_name[("two", "model")] == by_name[("one", "two")] < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: majority([]), "0 experts' masks of one photograph, expected 1 to 16"),
        (lambda: staple([_WIDE] * (MAX_EXPERTS + 1)), "17 experts' masks"),
        (
            lambda: majority([_WIDE, _TALL]),
            r"mask of expert 2 has shape \(3, 2\), expected that of the first, \(2, 3\)",
        ),
        (lambda: agreement({"x": _WIDE, "y": _TALL}), "mask of y has shape"),
        (lambda: agreement({"x": _WIDE, "y": _WIDE.astype(int)}), "'look' of 'y' has dtype int64"),
        (lambda: staple([_WIDE], within=_TALL), r"'within' has shape \(3, 2\) and 6 pixels, expected shape \(2, 3\)"),
        (lambda: staple([_WIDE], within=~_WIDE), "and 0 pixels, expected .* at least one"),
        (lambda: staple([_WIDE], prior=1.0), "prior is 1.0, expected above 0 and below 1"),
        (lambda: staple([_WIDE], prior=math.nan), "prior is nan"),
        (lambda: staple([_WIDE], max_iterations=0), "max_iterations is 0"),
        (lambda: agreement({"x": _WIDE}, tolerance=-1), "tolerance is -1"),
        (lambda: agreement({"x": _WIDE}, tolerance=math.nan), "tolerance is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    """Each refusal names whose mask or which number it is and what was expected."""
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
    assert result.probability.shape == voted.shape == (2840, 4260)
    assert pairs.n_used == 3
