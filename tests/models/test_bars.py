"""Bars that pad a photograph to a square get no attention and no vote."""

import pytest
import torch
from torch import nn

from regaze.models.backbones import CutExtractor, Picture
from regaze.models.branches import AttentionBranch, PerceptionBranch
from regaze.models.build import build_network
from regaze.models.features import FeatureCache, FrozenFeatures, normalise, turn
from regaze.models.network import AttentionNetwork, TrainableBranches
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.models.uncertainty import cell_features

SIDE = 96
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTINGS = ("residual", "gate", "evidence")


def photographs(count=2, start=32, height=32, side=SIDE):
    """(count, side, side, 3) uint8: the same noise in `height` rows from `start` on, black above and below."""
    noise = torch.randint(20, 256, (count, height, side, 3), generator=torch.Generator().manual_seed(2))
    images = torch.zeros(count, side, side, 3, dtype=torch.uint8)
    images[:, start : start + height] = noise.to(torch.uint8)
    return images


def normalised(images):
    """As a network takes them."""
    return normalise(images.permute(0, 3, 1, 2).float() / 255, MEAN, STD)


def network_of(seed=0, **options):
    """A network in evaluation mode whose batch norms have seen photographs."""
    network = build_network(NetworkOptions(**options), 4, SIDE, seed).network
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)))
    return network.eval()


KINDS = [{"network": "plain"}, *({"weighting": weighting} for weighting in WEIGHTINGS), {"backbone": "alexnet"}]


@pytest.mark.parametrize("options", [*KINDS, {"backbone": "test_vit"}])
def test_a_picture_without_bars_is_graded_as_ever(options):
    """Where there are no bars, masking them changes no bit, and it adds no weight."""
    if options.get("backbone") == "test_vit":
        images = torch.randn(2, 3, SIDE, SIDE)
    else:
        images = normalised(photographs(start=0, height=SIDE))
    masked, seen = (network_of(**options, bars=bars) for bars in ("masked", "seen"))
    assert list(masked.state_dict()) == list(seen.state_dict())
    one, two = masked(images), seen(images)
    assert torch.equal(one.logits, two.logits)
    for name in ("maps", "map_logits", "attention_logits", "perception_logits"):
        assert all(torch.equal(*pair) for pair in zip(getattr(one, name), getattr(two, name), strict=True)), name


@pytest.mark.parametrize("options", KINDS)
def test_bars_get_no_attention_and_their_cells_no_evidence(options):
    """Maps are 0 there, given ones too, and below all others before the sigmoid; evidence still sums to the logits."""
    network = network_of(**options)
    output = network(normalised(photographs()))
    for name in ("maps", "own_maps", "evidence"):
        for item in getattr(output, name):
            third = item.shape[2] // 3
            if options.get("backbone") == "alexnet":
                third -= 1  # its grids do not divide the square: a cell may hold a little of the picture
            assert not item[:, :, :third].any(), name
            assert not item[:, :, item.shape[2] - third :].any(), name
            assert item[:, :, third : item.shape[2] - third].any(), name
    summed = network.bias() + sum(item.sum(dim=(2, 3)) for item in output.evidence)
    torch.testing.assert_close(summed, output.logits, atol=1e-5, rtol=1e-4)
    if options.get("network") == "plain":
        return
    for logits, attention_map in zip(output.map_logits, output.maps, strict=True):
        assert logits[attention_map == 0].max() < logits[attention_map > 0].min()
    full = network(normalised(photographs()), [torch.ones_like(item) for item in output.maps])
    assert all(torch.equal(item > 0, own > 0) for item, own in zip(full.maps, output.maps, strict=True))
    assert all(set(item.unique().tolist()) == {0.0, 1.0} for item in full.maps)


@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_a_dark_cell_takes_exactly_its_share_beside_bars(fusion):
    """As without bars: a cell of the map set to 0 changes the logits by its evidence; a cell cut by a bar, too."""
    network = network_of(weighting="evidence", fusion=fusion)
    images = normalised(photographs(start=30, height=37))
    output = network(images)
    for scale, row in ((0, 7), (0, 12), (1, 3), (2, 3)):
        maps = [item.clone() for item in output.maps]
        maps[scale][0, 0, row, 2] = 0
        share = output.evidence[scale][0, :, row, 2]
        assert share.abs().max() > 1e-6
        torch.testing.assert_close(output.logits[0] - network(images, maps).logits[0], share, atol=2e-6, rtol=1e-3)


def local_network(weighting, bars):
    """Two scales whose cells see no other cell, but for the map's own convolution, which sees its neighbours."""
    torch.manual_seed(0)
    segments = [nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU()), nn.Conv2d(6, 8, 2, stride=2)]
    extractor = CutExtractor(segments, 0, Picture(MEAN, STD) if bars == "masked" else None)
    attention = [AttentionBranch(nn.Identity(), channels, 16, 4) for channels in (6, 8)]
    perception = [PerceptionBranch(nn.AvgPool2d(2), channels, 4, weighting) for channels in (6, 8)]
    return AttentionNetwork(extractor, attention, perception, nn.Linear(14, 4), 4).eval()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_it_does_not_matter_how_bars_are_shared_out(weighting):
    """Where cells see themselves alone, a picture's logits are the same wherever in the square it lies.

    A smaller frame with smaller bars gives them, too; where bars are seen it does not.
    """
    network = local_network(weighting, "masked")
    wanted = network(normalised(photographs(start=32)))
    assert wanted.logits.std() > 1e-3
    for start, rows in ((16, 96), (48, 96), (32, 80)):
        found = network(normalised(photographs(start=start))[:, :, :rows])
        torch.testing.assert_close(found.logits, wanted.logits, atol=1e-6, rtol=1e-5)
        for name in ("attention_logits", "perception_logits"):
            for one, two in zip(getattr(found, name), getattr(wanted, name), strict=True):
                torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)
    seen = local_network(weighting, "seen")
    full, cut = (seen(normalised(photographs())[:, :, :rows]).logits for rows in (96, 80))
    assert (full - cut).abs().max() > 1e-3


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_real_network_cares_less_about_bars(weighting):
    """A ResNet's cells see far, bars too: bars change its logits, but less than half as much as where bars are seen."""
    changes = {}
    for bars in ("masked", "seen"):
        network = network_of(weighting=weighting, bars=bars)
        with torch.no_grad():
            large, none = (network(normalised(photographs())[:, :, rows]).logits for rows in (slice(96), slice(32, 64)))
        changes[bars] = float((large - none).abs().mean())
    assert changes["masked"] < 0.5 * changes["seen"], changes


@pytest.mark.parametrize("options", [{"weighting": "gate"}, {"backbone": "test_resnet"}])
def test_cached_features_know_their_bars(tmp_path, options):
    """In every turn, computed, cached and read again: the same logits as of the turned photograph itself."""
    network, images = network_of(**options), photographs()
    for _ in range(2):
        cache = FeatureCache(tmp_path, 10**9)
        frozen = FrozenFeatures(network.extractor, images, MEAN, STD, torch.device("cpu"), bf16=False, cache=cache)
        with torch.no_grad():
            output = TrainableBranches(network).eval()(frozen(torch.zeros(8, dtype=torch.int64), list(range(8))))
            for how in range(8):
                wanted = network(normalise(turn(images[:1].permute(0, 3, 1, 2), how).float() / 255, MEAN, STD))
                torch.testing.assert_close(output.logits[how : how + 1], wanted.logits, atol=1e-4, rtol=1e-4)
        assert not output.maps[0][0, 0, : SIDE // 12].any()
        assert not output.maps[0][1, 0, :, : SIDE // 12].any()
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 8


def test_a_cache_of_a_network_that_sees_bars_is_another(tmp_path):
    """The two networks have the same weights; an entry of one would lack, or hold too much, in the other."""
    for bars in ("seen", "masked"):
        extractor = network_of(bars=bars, backbone="test_resnet").extractor
        cache = FeatureCache(tmp_path, 10**9)
        FrozenFeatures(extractor, photographs(), MEAN, STD, torch.device("cpu"), bf16=False, cache=cache)(
            torch.zeros(1, dtype=torch.int64), [0]
        )
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 2


@pytest.mark.parametrize("kind", ["single-scale", "multi-scale"])
@pytest.mark.parametrize("moving", [1, 2])
def test_blocks_that_move_know_their_bars(kind, moving):
    """The extractor in two parts, behind the first of which training begins, is the network."""
    network, images = network_of(network=kind), normalised(photographs())
    kept, segments = network.extractor.split(moving)
    part = TrainableBranches(network, segments).eval()
    assert torch.equal(part(kept(images)).logits, network(images).logits)


def test_a_picture_that_is_told_need_not_be_found():
    """A fourth channel is the picture, whatever the images show; told as found it changes nothing."""
    network, images = network_of(), normalised(photographs())
    told = torch.zeros(2, 1, SIDE, SIDE)
    told[:, :, 32:64] = 1
    four = torch.cat([images, told], dim=1).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(four).logits, network(images).logits)
    left = torch.cat([images, told.transpose(2, 3)], dim=1)
    assert not network(left).maps[0][:, :, :, : SIDE // 12].any()


@pytest.mark.parametrize("kind", ["plain", "multi-scale"])
def test_predictions_have_dark_bars(kind):
    """Beside a feature cache and without, in bfloat16 too; a photograph that is all black is all picture."""
    network = network_of(network=kind, backbone="test_resnet")
    images = torch.cat([photographs(1), torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)]).numpy()
    for precision in ("fp32", "bf16"):
        found = Predictor(network, MEAN, STD, "median", MachineOptions(precision, "cpu")).predict(images)
        for maps in found.maps:
            third = maps.shape[1] // 3
            assert not maps[0, :third].any()
            assert maps[0, third:-third].any()
            if kind == "multi-scale":
                assert maps[1].all()


def test_features_for_the_prior_hold_no_bars():
    """One column for each channel of the blocks, and none for the picture."""
    network = network_of(backbone="test_resnet")
    predictor = Predictor(network, MEAN, STD, "median", MachineOptions("fp32", "cpu"))
    channels = sum(item.shape[1] for item in network.extractor(normalised(photographs()))[-network.scales :])
    assert cell_features(predictor, photographs().numpy(), (3, 3)).shape == (2, channels, 3, 3)
