"""Which cells are picture, and the mean over cells."""

import pytest
import torch

from regaze.models.cells import DARK, brought, find_picture, pooled, to_grid, weights


def rectangle(side, rows, columns):
    """(1, 1, side, side) float32 of ones inside."""
    plane = torch.zeros(1, 1, side, side)
    plane[..., rows, columns] = 1
    return plane


def test_rows_and_columns_in_which_nothing_is_bright_are_bars():
    """By hand: black rows above and below, noise up to the limit to the left; what is dark inside stays picture."""
    image = torch.zeros(1, 3, 6, 6)
    image[:, :, :, 0] = DARK  # no brighter than the limit
    image[0, 1, 2, 1] = image[0, 2, 4, 5] = 0.5  # one bright pixel in one channel is enough
    assert torch.equal(find_picture(image), rectangle(6, slice(2, 5), slice(1, 6)))


def test_each_image_has_its_own_bars():
    """A picture without bars and one that is all black are whole, whatever stands beside them in the batch."""
    images = torch.zeros(3, 3, 4, 4)
    images[1] = 0.5
    images[2, :, :, 1:3] = 0.5
    whole, tall = torch.ones(1, 1, 4, 4), rectangle(4, slice(None), slice(1, 3))
    assert torch.equal(find_picture(images), torch.cat([whole, whole, tall]))


def test_the_limit_may_differ_by_channel():
    """As in normalised images, where black is another number in each channel."""
    image = torch.tensor([-2.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4).clone()
    image[:, :, 1:3] += 0.2
    dark = torch.tensor([-1.9, -0.9, 0.1]).view(3, 1, 1)
    assert torch.equal(find_picture(image, dark), rectangle(4, slice(1, 3), slice(None)))


def test_shares_of_cells_by_hand():
    """Rows 1 to 4 and columns 2 to 7 of 8 pixels on 2 x 2 cells: 3 or 1 of 4 rows times 2 or 4 of 4 columns."""
    shares = to_grid(rectangle(8, slice(1, 5), slice(2, 8)), (2, 2))
    assert shares.tolist() == [[[[0.375, 0.75], [0.125, 0.25]]]]


@pytest.mark.parametrize("grid", [19, 13, 7, 5, 1])
def test_where_all_is_picture_every_cell_is(grid):
    """Exactly 1, on grids that divide the square and that do not, also under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(to_grid(torch.ones(2, 1, 75, 75), (grid, grid)), torch.ones(2, 1, grid, grid))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_that_of_the_picture(layout, dtype):
    """Bars count nothing and a half cell half; a whole picture changes no bit; the gradient lies as features do."""
    values = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    features = values.to(memory_format=layout).requires_grad_()
    hidden = features * 1
    seen = []
    hidden.register_hook(seen.append)
    picture = torch.ones(2, 1, 4, 5)
    assert torch.equal(pooled(hidden, picture), pooled(hidden))
    picture[0, 0, 0] = 0
    picture[0, 0, 1] = 0.5
    mean = pooled(hidden, picture)
    assert mean.dtype == dtype
    wanted = (values[0, :, 1] * 0.5 + values[0, :, 2] + values[0, :, 3]).float().sum(dim=1) / 12.5
    torch.testing.assert_close(mean[0].detach().float(), wanted, atol=0.01 if dtype == torch.bfloat16 else 1e-6, rtol=0)
    torch.testing.assert_close(mean[1], pooled(values[1:])[0])
    mean.sum().backward()
    assert not seen[0][0, :, 0].any()
    assert seen[0][0, :, 2].all()
    if layout == torch.channels_last:
        assert seen[0].stride() == hidden.stride()


def test_weights_are_those_of_the_mean():
    """They sum to 1, and weighing by them is the mean."""
    features, picture = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5)
    torch.testing.assert_close((features * weights(features, picture)).sum(dim=(2, 3)), pooled(features, picture))
    torch.testing.assert_close((features * weights(features, None)).sum(dim=(2, 3)), pooled(features))


@pytest.mark.parametrize(("fine", "coarse"), [(8, 4), (13, 7), (5, 5)])
def test_a_map_on_a_coarser_grid_keeps_its_mean_over_the_picture(fine, coarse):
    """Whatever the grids, and wherever the map's mass and the bars lie; mass in the bars counts nothing."""
    maps, picture = torch.rand(2, 1, fine, fine), torch.rand(2, 1, fine, fine)
    picture[:, :, 0] = 0
    wanted = (maps * picture).sum(dim=(1, 2, 3)) / picture.sum(dim=(1, 2, 3))
    torch.testing.assert_close(brought(maps, picture, (coarse, coarse)).mean(dim=(1, 2, 3)), wanted)
