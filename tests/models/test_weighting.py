"""What the map does to the grade: residual, gate, evidence and pooling."""

import pytest
import torch

from regaze.models.branches import USUAL_MASS
from regaze.models.build import build_network
from regaze.models.cells import brought
from regaze.models.options import NetworkOptions
from tests.models.networks import network_of

WEIGHTINGS = ("residual", "gate", "evidence", "pooling")


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("fusion", ["concat", "mean"])
@pytest.mark.parametrize("perception", ["block", "none"])
@pytest.mark.parametrize(("backbone", "side"), [("resnet18", 64), ("resnet18", 75), ("alexnet", 110)])
def test_the_logits_are_the_sum_of_the_evidence(weighting, fusion, perception, backbone, side):
    """Bias plus evidence over all cells and scales are the logits, on grids that divide evenly and that do not."""
    network = network_of(weighting, fusion=fusion, backbone=backbone, perception=perception)
    output = network(torch.rand(2, 3, side, side))
    summed = network.bias() + sum(item.sum(dim=(2, 3)) for item in output.evidence)
    torch.testing.assert_close(summed, output.logits, atol=1e-5, rtol=1e-4)
    assert all(item.shape[:2] == (2, 4) for item in output.evidence)
    assert any(bool(item.abs().max() > 0) for item in output.evidence)


@pytest.mark.parametrize("fusion", ["concat", "mean"])
@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_a_dark_cell_takes_exactly_its_share(fusion, side, scale):
    """Where the network weighs evidence, a cell of the map set to 0 changes the logits by its evidence, no more."""
    network = network_of("evidence", fusion=fusion)
    images = torch.rand(2, 3, side, side)
    output = network(images)
    assert [item.shape[2:] for item in output.evidence] == [item.shape[2:] for item in output.maps]
    maps = [item.clone() for item in output.maps]
    row, column = maps[scale].shape[2] - 1, maps[scale].shape[3] // 2
    maps[scale][0, 0, row, column] = 0
    changed = network(images, maps).logits
    share = output.evidence[scale][0, :, row, column]
    assert share.abs().max() > 1e-6
    torch.testing.assert_close(output.logits[0] - changed[0], share, atol=2e-6, rtol=1e-3)
    torch.testing.assert_close(changed[1], output.logits[1])


@pytest.mark.parametrize("weighting", ["gate", "evidence", "pooling"])
def test_an_empty_map_lets_nothing_through(weighting):
    """With empty maps two photographs get one and the same grade; under residual weighting they do not."""
    images = torch.rand(2, 3, 64, 64)
    for kind, alike in ((weighting, True), ("residual", False)):
        network = network_of(kind)
        empty = [torch.zeros_like(item) for item in network(images).maps]
        first, second = network(images, empty).logits
        assert torch.allclose(first, second, atol=1e-5) is alike
    for kind in ("evidence", "pooling"):
        network = network_of(kind)
        torch.testing.assert_close(network(images, empty).logits, network.bias().expand(2, -1))


@pytest.mark.parametrize("perception", ["block", "none"])
@pytest.mark.parametrize("side", [64, 75])
def test_pooling_counts_where_a_map_looks_and_not_how_bright_it_is(perception, side):
    """Half the map is the same grade; a map on one cell alone gives the grade of what lies there."""
    network = network_of("pooling", perception=perception)
    generator = torch.Generator().manual_seed(0)  # a map that is nearly empty does not rest on its place alone
    images = torch.rand(2, 3, side, side, generator=generator)
    maps = [torch.rand(item.shape, generator=generator) ** 8 for item in network(images).maps]
    whole, half = network(images, maps).logits, network(images, [item / 2 for item in maps]).logits
    moved = network(images, [item.flip(3) for item in maps]).logits
    assert (half - whole).abs().max() < 0.05 * (moved - whole).abs().max()
    one = [torch.zeros_like(item) for item in maps]
    for item in one:
        item[:, :, 1, 1] = 1
    evidence = network(images, one).evidence
    if perception == "none":
        assert all(int((item.abs().sum(dim=(0, 1)) > 0).sum()) == 1 for item in evidence)


def test_branches_without_stages_reach_the_last_block():
    """`perception="none"`: as fine and as deep as asked, each branch on the block's own cells."""
    network = network_of("pooling", perception="none")
    assert network.grids(64) == [(8, 8), (4, 4), (2, 2)]
    assert [branch.classify.in_features for branch in network.perception] == [128, 256, 512]
    single = build_network(NetworkOptions(network="single-scale", perception="none"), 4).network
    assert single.grids(64) == [(2, 2)]
    of_own = sum(item.numel() for name, item in network.named_parameters() if not name.startswith("extractor."))
    assert of_own < 0.02 * sum(item.numel() for item in network.extractor.parameters())


def test_many_lesions_count_more_than_one():
    """Evidence keeps mass: twice the map is twice the evidence, not the same again."""
    network = network_of("evidence")
    images = torch.rand(1, 3, 64, 64)
    half = [torch.full_like(item, 0.25) for item in network(images).maps]
    one, two = (network(images, [factor * item for item in half]).logits - network.bias() for factor in (1, 2))
    torch.testing.assert_close(two, 2 * one, atol=1e-5, rtol=1e-4)


def test_a_map_of_usual_mass_keeps_the_features_size():
    """`gate` scales its map by its usual mean, and starts there; one everywhere at that value changes nothing."""
    network = network_of("gate")
    features = torch.rand(1, 64, 16, 16)
    branch = network.perception[0]
    usual = torch.full((1, 1, 16, 16), USUAL_MASS)
    torch.testing.assert_close(branch.cells(features, usual), branch.stage(features))
    for weighting in WEIGHTINGS:
        fresh = build_network(NetworkOptions(weighting=weighting), 4).network
        starts = [torch.sigmoid(item.map.bias).item() for item in fresh.attention]
        if weighting == "residual":
            assert starts != pytest.approx([USUAL_MASS] * 3, abs=0.01)
        else:
            assert starts == pytest.approx([USUAL_MASS] * 3)


@pytest.mark.parametrize(("fine", "coarse"), [(8, 4), (13, 7), (5, 5), (27, 13)])
def test_maps_are_shared_out_without_loss(fine, coarse):
    """A map on coarser cells has the same mean over them as over its own, wherever its mass lies."""
    maps = torch.zeros(2, 1, fine, fine)
    maps[0, 0, fine - 1, 0] = 1
    maps[1] = torch.rand(1, fine, fine)
    shared = brought(maps, None, (coarse, coarse))
    torch.testing.assert_close(shared.mean(dim=(1, 2, 3)), maps.mean(dim=(1, 2, 3)))


def test_cells_that_are_not_given_keep_the_models_own_value():
    """NaN in a given map stands for the model's own cell; given cells replace it, and the own map is there still."""
    network = network_of("gate")
    images = torch.rand(2, 3, 64, 64)
    own = network(images)
    given = [torch.full_like(item, torch.nan) for item in own.maps]
    torch.testing.assert_close(network(images, given).logits, own.logits)
    given[0][1, 0, 3, 4] = 1.0
    output = network(images, given)
    changed = (output.maps[0] != own.maps[0]).nonzero().tolist()
    assert changed == [[1, 0, 3, 4]]
    torch.testing.assert_close(output.own_maps[0], own.maps[0])
    assert torch.equal(output.logits[0], own.logits[0])
    assert not torch.equal(output.logits[1], own.logits[1])


def test_a_plain_networks_evidence_sums_to_its_logits():
    """The class activation maps of all classes, shared by the number of cells, and the bias."""
    network = build_network(NetworkOptions(network="plain"), 4).network.eval()
    output = network(torch.rand(2, 3, 64, 64))
    (evidence,) = output.evidence
    torch.testing.assert_close(evidence.sum(dim=(2, 3)) + network.bias(), output.logits, atol=1e-5, rtol=1e-4)


def test_asking_for_the_grids_changes_nothing():
    """Modes stay module by module (a frozen part is in evaluation mode beside branches that train), statistics too."""
    network = build_network(NetworkOptions(), 4).network
    network.extractor.segments[0].eval()
    before = {name: item.clone() for name, item in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    assert network.grids(75) == [(19, 19), (10, 10), (5, 5)]
    assert [module.training for module in network.modules()] == modes
    assert True in modes and False in modes
    assert all(torch.equal(item, before[name]) for name, item in network.state_dict().items())
