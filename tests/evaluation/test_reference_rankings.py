"""Promises of regaze.evaluation.reference_rankings."""

from __future__ import annotations

import numpy as np
import pytest

from regaze.errors import OptionError
from regaze.evaluation.reference_rankings import RANKINGS, blurred_random, centre_prior, mask_order, random_order


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
    """Neighbours are alike, far pixels are not, and a wider Gaussian is smoother."""
    found = blurred_random(4, 112, 0)
    assert found.dtype == np.float32
    assert all(smoothness(values) > 0.9 for values in found)
    assert smoothness(random_order(1, 112, 0)[0]) < 0.1
    far = np.corrcoef(found[:, :, :-28].ravel(), found[:, :, 28:].ravel())[0, 1]
    assert abs(far) < 0.3
    assert smoothness(blurred_random(1, 112, 0, sigma=8)[0]) > smoothness(blurred_random(1, 112, 0, sigma=1)[0])


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
    with pytest.raises(OptionError, match="sigma is 0"):
        blurred_random(1, 8, 0, sigma=0)
