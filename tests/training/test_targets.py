"""From a lesion mask to the map that a block should show."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from regaze.training.targets import SIGMA_CELLS, target_maps

GRIDS = [(56, 56), (28, 28), (14, 14)]


@given(row=st.integers(0, 223), column=st.integers(0, 223))
def test_a_one_pixel_lesion_survives_on_every_grid(row, column):
    """A microaneurysm of one pixel at 224 peaks with 1 in its own cell of the 56, 28 and 14 grids."""
    mask = torch.zeros(1, 224, 224)
    mask[0, row, column] = 1
    for target, (height, width) in zip(target_maps(mask, GRIDS), GRIDS, strict=True):
        assert target.shape == (1, 1, height, width)
        assert target.max() == 1
        assert divmod(int(target.argmax()), width) == (row * height // 224, column * width // 224)
        assert (target == 1).sum() == 1


def test_an_empty_mask_is_an_empty_map():
    """The target of "nothing here deserves attention" is exactly zero everywhere, not NaN."""
    for target in target_maps(torch.zeros(2, 64, 64), [(16, 16), (4, 4)]):
        assert target.shape[0] == 2
        assert not target.any()


def test_the_gaussian_by_hand():
    """One lesion cell: exp(-d² / 2σ²) at distance d, cut at two cells, 1 in the centre."""
    mask = torch.zeros(1, 7, 7)
    mask[0, 3, 3] = 1
    target = target_maps(mask, [(7, 7)])[0][0, 0]
    side, corner = math.exp(-1 / (2 * 0.7**2)), math.exp(-2 / (2 * 0.7**2))
    assert SIGMA_CELLS == 0.7
    assert target[3, 4].item() == pytest.approx(side, abs=1e-6)
    assert target[2, 2].item() == pytest.approx(corner, abs=1e-6)
    assert target[3, 5].item() == pytest.approx(side**4, abs=1e-6)
    assert target[3, 6] == 0
    assert torch.equal(target, target.T)


@given(seed=st.integers(0, 1000))
def test_against_an_independent_gaussian(seed):
    """Maximum over the cell's pixels, then SciPy's Gaussian, then division by the maximum gives the same."""
    generator = np.random.default_rng(seed)
    mask = generator.random((2, 24, 24)) < 0.02
    for side in (12, 6):
        cells = mask.reshape(2, side, 24 // side, side, 24 // side).max((2, 4)).astype(float)
        soft = np.stack([gaussian_filter(item, SIGMA_CELLS, mode="constant", radius=2) for item in cells])
        peaks = soft.max((1, 2), keepdims=True)
        wanted = np.divide(soft, peaks, out=np.zeros_like(soft), where=peaks > 0)
        found = target_maps(torch.tensor(mask), [(side, side)])[0]
        np.testing.assert_allclose(found[:, 0].numpy(), wanted, atol=1e-6)
        assert found.dtype == torch.float32


def test_grids_that_do_not_divide_lose_no_lesion():
    """75 pixels on 19, 10 and 5 cells, and a grid finer than the mask: every lesion pixel has its cell."""
    for place in (0, 37, 74):
        mask = torch.zeros(1, 75, 75)
        mask[0, place, 74 - place] = 1
        for target in target_maps(mask, [(19, 19), (10, 10), (5, 5), (100, 100)]):
            assert target.max() == 1


def test_each_photograph_has_its_own_peak():
    """A photograph's target does not depend on its neighbours in the batch."""
    masks = torch.zeros(3, 16, 16)
    masks[0, 4, 4] = 1
    masks[1, :8] = 1
    together = target_maps(masks, [(8, 8)])[0]
    alone = [target_maps(masks[place : place + 1], [(8, 8)])[0] for place in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.amax((1, 2, 3)).tolist() == [1, 1, 0]
