"""Promises of regaze.evaluation.reference_rankings."""

from __future__ import annotations

import numpy as np
import pytest

from regaze.errors import OptionError
from regaze.evaluation.reference_rankings import (
    RANKINGS,
    blurred_random,
    centre_prior,
    mask_order,
    mirrored,
    other_photographs,
    random_order,
    turned,
)


def smoothness(values):
    """Correlation of neighbours: near 0 for noise, near 1 for a smooth map."""
    return np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]


def test_random_order_is_a_permutation():
    """Every pixel has a place of its own, each image its own order, and nothing of the reading order is left."""
    found = random_order(3, 32, seed=0)
    assert found.shape == (3, 32, 32)
    assert found.dtype == np.float32
    for values in found:
        assert sorted(values.ravel().astype(int)) == list(range(1024))
        assert abs(np.corrcoef(values.ravel(), np.arange(1024))[0, 1]) < 0.1
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("control", [random_order, blurred_random])
def test_seeds_decide(control):
    """The same seed gives an image the same order however many follow; another seed another order."""
    np.testing.assert_array_equal(control(2, 16, 5), control(4, 16, 5)[:2])
    assert not np.array_equal(control(2, 16, 5), control(2, 16, 6))


def test_centre_prior_by_hand():
    """3 x 3: the centre first, then the four beside it, then the corners; alike for every image."""
    found = centre_prior(2, 3)
    assert found.tolist() == [[[-2, -1, -2], [-1, 0, -1], [-2, -1, -2]]] * 2
    even = centre_prior(1, 4)[0]
    assert even.max() == even[1, 1] == even[2, 2] == even[1, 2]


def test_blurred_random_is_smooth():
    """Neighbours are alike, far pixels are not."""
    found = blurred_random(4, 112, 0)
    assert found.dtype == np.float32
    assert all(smoothness(values) > 0.9 for values in found)
    assert smoothness(random_order(1, 112, 0)[0]) < 0.1
    far = np.corrcoef(found[:, :, :-28].ravel(), found[:, :, 28:].ravel())[0, 1]
    assert abs(far) < 0.3


def test_lesions_come_first():
    """Every lesion pixel before every other, the middle of a lesion before its rim, the nearest outside first."""
    mask = np.zeros((1, 9, 9), dtype=bool)
    mask[0, 2:5, 2:5] = True
    order = mask_order(mask)[0]
    assert order[mask[0]].min() > 0 > order[~mask[0]].max()
    assert order.argmax() == 3 * 9 + 3
    assert order[5, 3] > order[6, 3] > order[8, 8]


def test_lesions_edges():
    """No lesion: no order, as NaN. All lesion: a flat one."""
    found = mask_order(np.stack([np.zeros((4, 4), dtype=bool), np.ones((4, 4), dtype=bool)]))
    assert np.isnan(found[0]).all()
    assert (found[1] == 1).all()
    assert mask_order(np.zeros((0, 4, 4), dtype=bool)).shape == (0, 4, 4)


def test_rankings_have_one_signature():
    """Every ranking answers to (n, side, seed, masks) with finite maps of that shape."""
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[:, 1, 1] = True
    assert list(RANKINGS) == ["random", "centre", "blurred-random", "lesions"]
    for ranking in RANKINGS.values():
        found = ranking(2, 8, 0, masks)
        assert found.shape == (2, 8, 8)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_turned_and_mirrored_keep_all_but_the_place():
    """By hand; the values are the same, twice is the map itself, and the map that was given stays."""
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert turned(maps)[0].tolist() == [[3, 2], [1, 0]]
    assert mirrored(maps)[1].tolist() == [[5, 4], [7, 6]]
    for move in (turned, mirrored):
        moved = move(maps)
        assert moved.flags["C_CONTIGUOUS"], "torch takes no negative strides"
        np.testing.assert_array_equal(move(moved), maps)
        assert sorted(moved.ravel()) == sorted(maps.ravel())


def test_other_photographs_are_graded_alike():
    """Drawn by lot among those of the same grade; never the photograph itself, a copy, or one that may not be."""
    grades = np.array([2, 2, 2, 0, 2, 2, 2, 1])
    strangers = np.array([False, False, True, True, True, True, True, True])
    found = [other_photographs(0, grades, strangers, 3) for _ in range(2)]
    assert found[0] == found[1], "the photograph is the seed"
    drawn, unlike = found[0]
    assert (len(set(drawn)), unlike) == (3, 0)
    assert set(drawn) <= {2, 4, 5, 6}
    draws = {tuple(other_photographs(index, np.zeros(40, int), np.arange(40) != index, 3)[0]) for index in range(20)}
    assert len(draws) > 15, "another draw for each photograph"


def test_other_grades_fill_up_and_are_counted():
    """Where too few are graded alike, any other grade; where there are too few at all, these."""
    grades = np.array([4, 4, 1, 2, 3])
    strangers = np.arange(5) != 0
    drawn, unlike = other_photographs(0, grades, strangers, 3)
    assert drawn[0] == 1
    assert (len(set(drawn)), unlike) == (3, 2)
    assert other_photographs(0, grades, np.zeros(5, dtype=bool), 3) == ([], 0)
    assert sorted(other_photographs(0, grades, strangers, 9)[0]) == [1, 2, 3, 4]


def test_every_model_draws_in_the_same_order():
    """Two models that grade alike give a photograph the same others; where they differ, those that both may take."""
    grades = np.zeros(30, dtype=int)
    strangers = np.arange(30) != 7
    first = other_photographs(7, grades, strangers, 3)[0]
    other = grades.copy()
    other[first[1]] = 3
    second = other_photographs(7, other, strangers, 3)[0]
    assert second[:2] == [first[0], first[2]]


def test_mistakes_are_named():
    """Masks that are missing or do not fit, and impossible sizes."""
    with pytest.raises(ValueError, match="needs masks"):
        RANKINGS["lesions"](2, 8, 0, None)
    with pytest.raises(ValueError, match="needs masks"):
        RANKINGS["lesions"](2, 8, 0, np.zeros((2, 4, 4), dtype=bool))
    with pytest.raises(ValueError, match="masks have shape"):
        mask_order(np.zeros((4, 4), dtype=bool))
    with pytest.raises(OptionError, match="side is 5000"):
        random_order(1, 5000, 0)
