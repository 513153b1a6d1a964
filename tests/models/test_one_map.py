"""One map for all blocks: `--maps one`."""

import pytest
import torch

from regaze.errors import ModelError
from regaze.models.branches import USUAL_MASS
from regaze.models.build import build_network
from regaze.models.options import NetworkOptions
from regaze.training.losses import map_loss
from regaze.training.targets import render
from tests.models.networks import network_of


def one_map(weighting="pooling", **options):
    """Three blocks under one map."""
    return network_of(weighting, maps="one", **options)


@pytest.mark.parametrize("weighting", ["evidence", "pooling"])
@pytest.mark.parametrize("fusion", ["concat", "mean"])
@pytest.mark.parametrize("perception", ["block", "none"])
@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 64), ("resnet18", 75), ("alexnet", 110)])
def test_one_map_shows_all_evidence(weighting, fusion, perception, backbone, side):
    """One map on the finest block's grid; bias plus its cells' evidence are the logits."""
    network = one_map(weighting, fusion=fusion, perception=perception, backbone=backbone)
    output = network(torch.rand(2, 3, side, side))
    assert network.scales == len(output.maps) == len(output.evidence) == 1
    assert len(output.perception_logits) == 3
    assert output.evidence[0].shape[2:] == output.maps[0].shape[2:] == network.grids(side)[0]
    summed = network.bias() + output.evidence[0].sum(dim=(2, 3))
    torch.testing.assert_close(summed, output.logits, atol=1e-5, rtol=1e-4)


def test_a_dark_cell_takes_its_share_of_every_block():
    """A cell set to 0 changes the logits by its evidence, which is that of the cells of all blocks under it."""
    network = one_map("evidence")
    images = torch.rand(1, 3, 64, 64)
    output = network(images)
    dark = output.maps[0].clone()
    dark[0, 0, 3, 5] = 0
    changed = network(images, [dark])
    share = output.evidence[0][0, :, 3, 5]
    assert share.abs().max() > 1e-6
    torch.testing.assert_close(output.logits[0] - changed.logits[0], share, atol=2e-6, rtol=1e-3)
    moved = [
        (one - other).abs().max()
        for one, other in zip(output.perception_logits, changed.perception_logits, strict=True)
    ]
    assert all(item > 0 for item in moved)


def test_the_map_knows_what_coarse_blocks_see():
    """The coarsest block's features alone change the finest map, and its own gradient reaches them."""
    network = one_map()
    features = network.extractor(torch.rand(1, 3, 64, 64))
    own = network.look(features).maps[0]
    other = network.look([*features[:-1], features[-1] + 1]).maps[0]
    assert (own - other).abs().max() > 1e-4


def test_coarser_blocks_learn_the_map_too():
    """The map loss sees a map of each block; the network itself shows one, which starts at its usual mass."""
    network = one_map()
    fresh = build_network(NetworkOptions(weighting="pooling", maps="one"), 4).network
    assert [torch.sigmoid(path.bias).item() for path in fresh.attention[0].map] == pytest.approx([USUAL_MASS] * 3)
    network.train()
    output = network(torch.rand(2, 3, 64, 64))
    assert [item.shape[2] for item in output.own_logits] == [item.shape[2] for item in output.own_maps] == [16, 8, 4]
    look = torch.zeros(2, 64, 64)
    look[:, 10:14, 20:30] = 1
    targets = render(look.unsqueeze(1), None, None, None, [(16, 16), (8, 8), (4, 4)])
    map_loss(output, targets, torch.ones(2), 1.0, "bce").backward()
    assert all(path.weight.grad.abs().max() > 0 for path in network.attention[0].map)


def test_bars_are_dark():
    """No evidence in the bars that pad a photograph, as with a map for each block."""
    network = one_map()
    images = torch.rand(2, 3, 64, 64) + 1
    images[:, :, :16] = -9.0
    output = network(images)
    assert not output.maps[0][:, :, :4].any()
    assert not output.evidence[0][:, :, :4].any()
    assert output.maps[0][:, :, 4:].all()


@pytest.mark.parametrize("weighting", ["residual", "gate"])
def test_a_map_that_weighs_features_is_refused(weighting):
    """Those of each block have a grid of their own."""
    with pytest.raises(ModelError, match=rf"--maps one: .*--weighting {weighting} .*--weighting pooling"):
        build_network(NetworkOptions(weighting=weighting, maps="one"), 4)


def test_earlier_cards_have_a_map_for_each_block():
    """What was made before the option is what it was."""
    assert NetworkOptions().maps == "each"
    assert NetworkOptions.__dataclass_fields__["maps"].metadata["before"] == "each"
