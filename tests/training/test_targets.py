"""From a lesion mask to the map that a block should show."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from regaze.training.targets import SIGMA_CELLS, render, target_maps

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


@pytest.mark.parametrize("grid", [*GRIDS, (7, 28), (28, 7), (13, 14), (30, 9)])
def test_inside_is_an_adaptive_maximum(grid):
    """Grids that divide the side, one of their sides, or neither: as torch's own pooling, for planes of any values."""
    look = (torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(0)) > 0.999) * 7.0
    wanted = (torch.nn.functional.adaptive_max_pool2d(look, grid) > 0).float()
    assert 0 < wanted.mean() < 1
    assert torch.equal(render(look, None, None, None, [grid])[0].inside, wanted)


def test_each_photograph_has_its_own_peak():
    """A photograph's target does not depend on its neighbours in the batch."""
    masks = torch.zeros(3, 16, 16)
    masks[0, 4, 4] = 1
    masks[1, :8] = 1
    together = target_maps(masks, [(8, 8)])[0]
    alone = [target_maps(masks[place : place + 1], [(8, 8)])[0] for place in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.amax((1, 2, 3)).tolist() == [1, 1, 0]


def planes(*pixels, side=16):
    """(1, 1, side, side) with these (row, column) set."""
    plane = torch.zeros(1, 1, side, side)
    for row, column in pixels:
        plane[0, 0, row, column] = 1
    return plane


def test_not_here_beside_look_here_is_exactly_zero():
    """The Gaussian's halo of a lesion does not soften a neighbour cell that the expert refused."""
    look = planes((6, 6))
    halo = render(look, None, None, None, [(4, 4)])[0]
    assert halo.value[0, 0, 1, 2] > 0.1
    refused = render(look, planes((6, 9)), None, None, [(4, 4)])[0]
    assert refused.value[0, 0, 1, 2] == 0
    assert torch.equal(refused.value[0, 0, :, :2], halo.value[0, 0, :, :2])


def test_look_here_wins_in_a_cell_with_both():
    """A cell that holds a lesion is inside, even if the expert refused another part of it."""
    target = render(planes((5, 5)), planes((6, 6)), None, None, [(4, 4)])[0]
    assert target.inside[0, 0, 1, 1] == target.value[0, 0, 1, 1] == 1


def test_an_edit_claims_what_was_touched():
    """In an edit the cells with "look here" or "not here"; in a correction of the whole map all of them."""
    look, avoid = planes((2, 2)), planes((15, 15))
    both = [torch.cat([item, item]) for item in (look, avoid)]
    target = render(*both, None, torch.tensor([True, False]), [(4, 4)])[0]
    assert target.claim[0].nonzero().tolist() == [[0, 0, 0], [0, 3, 3]]
    assert target.claim[1].all()


def test_cells_in_doubt_are_not_claimed():
    """Unless they hold a lesion or were refused."""
    doubt = planes((2, 2), (2, 6), (15, 15))
    target = render(planes((2, 3)), planes((14, 14)), doubt, None, [(4, 4)])[0]
    assert (target.claim[0, 0] == 0).nonzero().tolist() == [[0, 1]]


def test_what_is_less_sure_claims_less():
    """The cells inside alone, of the photograph alone; wholly sure is what nothing is said of."""
    look = torch.cat([planes((2, 3)), planes((2, 3))])
    usual, less = (render(look, None, None, None, [(4, 4)], sure)[0] for sure in (None, torch.tensor([0.1, 1.0])))
    assert torch.equal(less.claim[1], usual.claim[1])
    assert less.claim[0, 0, 0, 0] == pytest.approx(0.1)
    assert (less.claim[0] != usual.claim[0]).sum() == 1
    assert torch.equal(less.value, usual.value)


def test_each_scale_takes_its_own_plane():
    """With one plane per scale, small lesions can go to the fine map and large ones to the coarse map."""
    fine, coarse = planes((0, 0)), planes((12, 12))
    targets = render(torch.cat([fine, coarse], dim=1), None, None, None, [(8, 8), (4, 4)])
    assert targets[0].inside.nonzero().tolist() == [[0, 0, 0, 0]]
    assert targets[1].inside.nonzero().tolist() == [[0, 0, 3, 3]]


def test_no_photographs_have_no_targets():
    """A fold without known lesions gives empty targets on every grid, not an error."""
    assert [item.shape for item in target_maps(torch.zeros(0, 32, 32), [(4, 4), (3, 5)])] == [
        (0, 1, 4, 4),
        (0, 1, 3, 5),
    ]
