"""Augmentation of image and mask by one matrix."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regaze.data.augment import ROTATION_DEGREES, SCALE, jitter, random_matrices, warp


def generator(seed):
    """A seeded CPU generator."""
    return torch.Generator().manual_seed(seed)


def landing(matrix, row, column, side):
    """Where the centre of an input pixel comes to lie in the output (row, column in pixels), in float64 NumPy.

    `matrix` maps the output's normalised coordinates to the input's, so it is inverted here.
    """
    point = (2 * np.array([column, row]) + 1) / side - 1
    x, y = np.linalg.inv(np.float64(matrix[:, :2])) @ (point - np.float64(matrix[:, 2]))
    return ((y + 1) * side - 1) / 2, ((x + 1) * side - 1) / 2


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(5, 48), data=st.data())
def test_a_one_pixel_lesion_is_lost_only_by_leaving_the_frame(seed, side, data):
    """It comes to lie within a pixel of where the matrix puts it, whatever flip, rotation and scale."""
    row, column = (data.draw(st.integers(0, side - 1)) for _ in range(2))
    mask = torch.zeros(1, 1, side, side)
    mask[0, 0, row, column] = 1
    matrices = random_matrices(1, generator(seed))
    _, warped = warp(mask.expand(1, 3, side, side), mask, matrices)
    y, x = landing(matrices[0].numpy(), row, column, side)
    found = warped[0, 0].nonzero().numpy()
    if 0 <= y <= side - 1 and 0 <= x <= side - 1:
        assert len(found) > 0
    assert set(warped.unique().tolist()) <= {0.0, 1.0}
    if len(found):
        assert np.hypot(*(found - (y, x)).T).max() < 1.5
        assert len(found) <= 5


@pytest.mark.parametrize("degrees", [0, 4, 9, 15])
def test_no_lesion_is_lost_at_the_smallest_scale(degrees):
    """256 one-pixel lesions in one photograph that shrinks to .9: all of them are still there after the warp."""
    side, places = 96, [(row, column) for row in range(3, 96, 6) for column in range(2, 96, 6)]
    mask = torch.zeros(1, 1, side, side)
    for row, column in places:
        mask[0, 0, row, column] = 1
    cosine, sine = math.cos(math.radians(degrees)) / SCALE[0], math.sin(math.radians(degrees)) / SCALE[0]
    matrix = torch.tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0]]])
    _, warped = warp(mask.expand(1, 3, side, side), mask, matrix)
    inside = 0
    for row, column in places:
        y, x = landing(matrix[0].numpy(), row, column, side)
        if 1 <= y < side - 2 and 1 <= x < side - 2:
            inside += 1
            top, left = math.floor(y), math.floor(x)
            assert warped[0, 0, top : top + 2, left : left + 2].any(), (row, column)
    assert inside > 200


def test_the_worst_place_for_a_one_pixel_lesion():
    """The module's threshold: searched over rotations and offsets, the peak never falls below .194 at scale .9."""
    worst = 1.0
    steps = np.linspace(-0.5, 0.5, 41)
    for degrees in np.linspace(0, ROTATION_DEGREES, 16):
        cosine, sine = math.cos(math.radians(degrees)) / SCALE[0], math.sin(math.radians(degrees)) / SCALE[0]
        turn = np.array([[cosine, -sine], [sine, cosine]])
        lattice = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), -1).reshape(-1, 2) @ turn.T
        offsets = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) @ turn.T
        tent = (1 - np.abs(offsets[:, None] - lattice)).clip(0).prod(-1)
        worst = min(worst, float(tent.max(1).min()))
    assert worst == pytest.approx(0.194, abs=0.0005)


def test_flips_are_exact_at_no_rotation_and_scale_one():
    """A pure flip moves pixels without blurring them, mask and image alike."""
    images, masks = torch.rand(1, 3, 6, 6, generator=generator(0)), torch.zeros(1, 2, 6, 6)
    masks[0, 0, 1, 4] = masks[0, 1, 5, 0] = 1
    flip = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    warped, moved = warp(images, masks, flip)
    torch.testing.assert_close(warped, images.flip(3))
    assert torch.equal(moved, masks.flip(3))
    same, kept = warp(images, masks, torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]))
    torch.testing.assert_close(same, images)
    assert torch.equal(kept, masks)
    assert warp(images, None, flip)[1] is None


@pytest.mark.parametrize("seed", range(20))
def test_image_and_mask_move_alike(seed):
    """A picture that is its own mask: after the warp, every pixel that is bright is in the mask."""
    picture = torch.zeros(1, 1, 32, 32)
    picture[0, 0, 8:14, 17:25] = 1
    warped, mask = warp(picture.expand(1, 3, 32, 32), picture, random_matrices(1, generator(seed)))
    bright = warped[:, :1] > 0.5
    assert bright.sum() > 25
    assert not (bright & (mask == 0)).any()
    assert mask.sum() <= 48 * SCALE[1] ** 2 * 1.5  # grown by less than a pixel on each side


def test_matrices_keep_to_their_ranges():
    """Every matrix is a flip, a rotation of at most 15 degrees and a scale of .9 to 1.1; all four flips occur."""
    matrices = random_matrices(2000, generator(0)).double()
    assert matrices.shape == (2000, 2, 3)
    assert not matrices[:, :, 2].any()  # about the centre
    linear = matrices[:, :, :2]
    scale = 1 / torch.linalg.det(linear).abs().sqrt()
    assert SCALE[0] - 1e-6 <= scale.min() < 0.905
    assert 1.095 < scale.max() <= SCALE[1] + 1e-6
    gram = linear.transpose(1, 2) @ linear * (scale**2).view(-1, 1, 1)
    torch.testing.assert_close(gram, torch.eye(2).double().expand(2000, 2, 2), atol=1e-5, rtol=0)
    signs = torch.stack([linear[:, 0, 0], linear[:, 1, 1]], 1).sign()
    assert len(signs.unique(dim=0)) == 4
    assert float((signs[:, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.06)
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0].abs(), linear[:, 0, 0].abs()))
    assert 14.5 < angle.max() <= ROTATION_DEGREES + 1e-4


def test_the_generator_is_the_only_source_of_randomness():
    """The same generator state gives the same matrices and colours; the global state is not used."""
    images = torch.rand(3, 3, 8, 8, generator=generator(1))
    before = torch.get_rng_state()
    assert torch.equal(random_matrices(3, generator(4)), random_matrices(3, generator(4)))
    assert torch.equal(jitter(images, generator(4)), jitter(images, generator(4)))
    assert not torch.equal(jitter(images, generator(4)), jitter(images, generator(5)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", range(10))
def test_colours_change_mildly_and_stay_in_range(seed):
    """Within 0..1, black stays black, the brightest stays within the three factors of its value."""
    images = torch.rand(4, 3, 16, 16, generator=generator(seed)) * 0.6 + 0.2
    images[:, :, :4] = 0
    before = images.clone()
    found = jitter(images, generator(seed))
    assert torch.equal(images, before)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found[:, :, :4].any()
    assert not torch.equal(found, images)
    assert (found - images).abs().max() < 0.4
    shift = (found - images)[:, :, 4:].mean((1, 2, 3))
    assert len(shift.unique()) == 4  # each photograph has its own factors


def test_strong_colours_change_more():
    """Strong changes go further than mild ones, channel by channel, within 0..1, and black stays black."""
    images = torch.rand(64, 3, 8, 8, generator=generator(1)) * 0.6 + 0.2
    images[:, :, :2] = 0
    mild, strong = (jitter(images, generator(2), strength) for strength in ("mild", "strong"))
    torch.testing.assert_close(jitter(images, generator(2)), mild, rtol=0, atol=0)
    assert 0 <= float(strong.min()) <= float(strong.max()) <= 1
    assert not strong[:, :, :2].any()

    def shifts(found):
        return (found[:, :, 2:].mean((2, 3)) / images[:, :, 2:].mean((2, 3))).log()

    assert shifts(strong).std() > 2 * shifts(mild).std()
    # Between channels, beyond what changes of all three make: a camera's colour.
    assert shifts(strong).std(dim=1).mean() > 3 * shifts(mild).std(dim=1).mean()


def test_large_masks_grow_by_less_than_a_pixel():
    """The low threshold that keeps microaneurysms does not inflate a big lesion."""
    mask = torch.zeros(8, 1, 64, 64)
    mask[:, :, 24:40, 24:40] = 1
    matrices = random_matrices(8, generator(3))
    _, warped = warp(mask.expand(8, 3, 64, 64), mask, matrices)
    scale = 1 / torch.linalg.det(matrices[:, :, :2].double()).abs().sqrt()
    for area, factor in zip(warped.sum((1, 2, 3)).tolist(), scale.tolist(), strict=True):
        assert (16 * factor) ** 2 <= area <= (16 * factor + 1.2) ** 2
