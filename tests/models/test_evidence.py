"""Evidence brought to one grid."""

import pytest
import torch

from regaze.models.evidence import spread


@pytest.mark.parametrize("side", [16, 23, 64])
def test_spreading_loses_nothing_and_keeps_the_place(side):
    """The sum over the grid is the sum over all cells and scales, and a cell's share stays around that cell."""
    scales = [torch.randn(2, cells, cells) for cells in (16, 7, 3)]
    grid = spread(scales, side)
    assert grid.shape == (2, side, side)
    torch.testing.assert_close(grid.sum(dim=(1, 2)), sum(item.sum(dim=(1, 2)) for item in scales), atol=1e-4, rtol=1e-4)
    one = torch.zeros(1, 4, 4)
    one[0, 1, 3] = -2.0
    grid = spread([one], side)[0]
    assert grid.sum() == pytest.approx(-2, abs=1e-5)
    assert grid.max() <= 0
    rows, columns = torch.nonzero(grid < grid.min() / 2, as_tuple=True)
    assert (rows.float().mean() + 0.5) / side == pytest.approx(1.5 / 4, abs=0.03)
    assert (columns.float().min() + 0.5) / side > 2.5 / 4


def test_cells_that_divide_evenly_are_the_bilinear_picture():
    """Where the grid is a multiple, what is drawn is the usual enlargement, times the area of a position."""
    cells = torch.randn(1, 4, 4)
    large = torch.nn.functional.interpolate(cells[None], size=(12, 12), mode="bilinear")[0]
    torch.testing.assert_close(spread([cells], 12), large / 9, atol=1e-6, rtol=1e-5)
