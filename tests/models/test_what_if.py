"""What-ifs: what other maps would make of a grade, whole and where only touched cells are computed anew."""

import numpy as np
import pytest
import torch
from torch import nn

from regaze.errors import DataError, ModelError
from regaze.models.backbones import torchvision_backbone
from regaze.models.build import build_network
from regaze.models.kept_branch import Field, field_of
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.models.what_if import HARDLY, OWN, with_mean

HALF = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
SIDE = 150  # ResNet grids of 38, 19 and 10 cells, odd ones too
KINDS = [
    {},
    {"weighting": "gate"},
    {"weighting": "evidence"},
    {"weighting": "pooling", "perception": "none", "scales": 2},
    {"perception": "none"},
    {"perception": "light"},
    {"fusion": "mean"},
    {"backbone": "test_resnet"},
    {"backbone": "resnet50"},
    {"network": "single-scale"},
]


def predictor_of(precision="fp32", **options):
    """A network from scratch whose grade does hang on the map."""
    network = build_network(NetworkOptions(**{"backbone": "resnet18"} | options), 5).network
    return Predictor(network.eval(), *HALF, "median", MachineOptions(precision, "cpu"))


@pytest.fixture(scope="module")
def photograph():
    """(S, S, 3) uint8 with dark bars above and below, so that masked bars count."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:20], pixels[-20:] = 0, 0
    return pixels


def strokes(grids, seed):
    """Maps per scale that are NaN but for a stroke across and a dot, always the same."""
    random = np.random.default_rng(seed)
    maps = []
    for rows, columns in grids:
        item = np.full((rows, columns), np.nan, np.float32)
        start = random.integers(0, rows, 2)
        for step in range(max(2, rows // 2)):
            row, column = (int(place + step * way) % rows for place, way in zip(start, (1, seed % 3 - 1), strict=True))
            item[row, column] = seed % 2
        item[random.integers(rows), random.integers(columns)] = 0.5
        maps.append(item)
    return maps


def to_bytes(maps):
    """Grids of a page."""
    cells = [np.where(np.isnan(item), OWN, np.nan_to_num(item) * 254).round().astype(np.uint8) for item in maps]
    return b"".join(item.tobytes() for item in cells)


def whole(predictor, photograph, maps):
    """The reference: the whole network, with tensors (1, 1, H, W) or None for maps."""
    with torch.inference_mode():
        return predictor.network(predictor.normalise(photograph[None]), maps)


def shares(logits):
    """(K,) probabilities."""
    return torch.softmax(logits, 1)[0].numpy()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_touched_cells_are_the_whole_network(options, photograph):
    """After one stroke after the other, erased and painted: within 1e-5 of a pass through all, branch by branch."""
    predictor = predictor_of(**options)
    held = predictor.hold(photograph)
    gaps, moved = [], []
    for seed in range(6):
        maps = strokes(held.grids, seed)
        if seed == 4:
            maps = [np.full_like(item, np.nan) for item in maps]
        found = held.quick_what_if(to_bytes(maps))
        given = [torch.from_numpy(np.round(item * 254) / 254)[None, None] for item in maps]
        output = whole(predictor, photograph, given)
        wanted = [shares(output.logits), *map(shares, output.perception_logits)]
        gaps.append(np.abs(np.stack([found.now.fused, *found.now.branches]) - np.stack(wanted)).max())
        moved.append(np.abs(found.now.fused - found.before.fused).max())
    assert max(gaps) <= 1e-5
    assert moved[4] <= 1e-5  # nothing painted: what it was
    assert max(moved) > 20 * max(gaps)


def test_only_touched_cells_are_computed(photograph, monkeypatch):
    """A dot costs a small part of the cells, a stroke across less than its bounding box, all of the map the whole."""
    predictor = predictor_of()
    held = predictor.hold(np.repeat(np.repeat(photograph, 4, 0), 4, 1))
    held.prepare()
    branch = predictor.network.perception[0]
    seen = []
    monkeypatch.setattr(branch.stage, "forward", _counting(branch.stage.forward, seen))
    rows, columns = held.grids[0]
    maps = [np.full(grid, np.nan, np.float32) for grid in held.grids]

    def share():
        seen.clear()
        held.quick_what_if(to_bytes(maps))
        return sum(seen) / (rows * columns)

    maps[0][60, 60] = 0.0
    assert 0 < share() < 0.02
    assert share() == 0  # nothing changed since
    np.fill_diagonal(maps[0], 0.0)
    assert 0 < share() < 0.5
    maps[0][:] = 0.0
    assert share() == 1


def _counting(forward, seen):
    def counted(features):
        seen.append(features.shape[2] * features.shape[3])
        return forward(features)

    return counted


def test_fields_of_stages():
    """By hand: two 3x3 convolutions at stride 2 see 3 cells on either side; squeezing blocks see everything."""
    segments = torchvision_backbone("resnet18").segments
    assert field_of(segments[1][0]) == Field(2, 3)  # 1 + 2 * 1
    assert field_of(segments[1]) == Field(2, 7)  # and two more between cells at stride 2, of 2 each
    assert field_of(torchvision_backbone("resnet50").segments[1][0]) == Field(2, 1)  # 1x1, 3x3 at stride 2, 1x1
    assert field_of(nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.ReLU())) == Field(1, 2)
    for stage in (nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 2), nn.MaxPool2d(2)):
        assert field_of(stage) is None
        assert field_of(nn.Sequential(nn.ReLU(), stage)) is None


@pytest.mark.parametrize("stage", ["resnet18", "resnet50"])
@pytest.mark.parametrize("segment", [1, 2])
def test_a_field_holds_all_that_a_cell_sees(stage, segment):
    """Against autograd: the input cells with a gradient are the field's, no fewer and no more."""
    block = torchvision_backbone(stage).segments[segment][0].eval()
    field = field_of(block)
    images = torch.randn(1, block.conv1.in_channels, 32, 32, requires_grad=True)
    block(images)[0, :, 8, 8].sum().backward()
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
    centre = 8 * field.stride
    assert rows == list(range(centre - field.reach, centre + field.reach + 1))


@pytest.mark.parametrize("options", KINDS[:4], ids=str)
def test_what_if_says_what_the_network_says(options, photograph):
    """Before, now, and the same amount without its place: each is a whole pass with those maps; NaN and None stay."""
    predictor = predictor_of(**options)
    own = predictor.predict(photograph[None])
    maps = [np.full_like(item[0], np.nan) for item in own.maps]
    maps[0][: len(maps[0]) // 2] = 0.0
    found = predictor.what_if(photograph, [maps[0], *[None] * (len(maps) - 1)])
    np.testing.assert_allclose(found.before.fused, own.probabilities[0], atol=1e-6)
    edited = np.where(np.isnan(maps[0]), own.maps[0][0], maps[0])
    factor = edited.mean() / own.maps[0][0].mean()
    assert factor < 0.9
    for said, first in ((found.now, edited), (found.same_amount, own.maps[0][0] * factor)):
        output = whole(predictor, photograph, [torch.from_numpy(first)[None, None], *[None] * (len(maps) - 1)])
        np.testing.assert_allclose(said.fused, shares(output.logits), atol=1e-5)
        np.testing.assert_allclose(said.branches, np.stack(list(map(shares, output.perception_logits))), atol=1e-5)
    assert np.abs(found.now.fused - found.before.fused).max() > 1e-4
    np.testing.assert_allclose(found.now.branches[1:], found.before.branches[1:], atol=1e-6)
    if options.get("weighting") == "pooling":  # which heeds no amount
        np.testing.assert_allclose(found.same_amount.fused, found.before.fused, atol=1e-3)


@pytest.mark.parametrize("peaked", [False, True])
@pytest.mark.parametrize("options", KINDS[:2], ids=str)
def test_the_curve_of_amounts_is_close(options, peaked, photograph):
    """The page's `same_amount` errs by less than a twentieth of what amounts move, with faint, peaked maps as well."""
    predictor = predictor_of(**options)
    if peaked:
        with torch.no_grad():
            for branch in predictor.network.attention:
                branch.map.weight.mul_(25)
                branch.map.bias.fill_(-6)
    held = predictor.hold(photograph)
    spread, gaps = [], []
    for share in (0.0, 0.1, 0.3, 0.7, 1.0):
        maps = [np.full(grid, np.nan, np.float32) for grid in held.grids]
        for item in maps:
            item[: round(len(item) * share)] = 0.0
            item[round(len(item) * (1 - share / 2)) :] = 1.0
        found, exact = held.quick_what_if(to_bytes(maps)), held.what_if(maps)
        np.testing.assert_allclose(found.now.fused, exact.now.fused, atol=1e-5)
        gaps.append(np.abs(found.same_amount.fused - exact.same_amount.fused).max())
        spread.append(exact.same_amount.fused)
    assert max(gaps) < np.ptp(spread, axis=0).max() / 20
    assert np.ptp(spread, axis=0).max() > 1e-3


def test_with_mean_by_hand():
    """A factor, and where that leaves 0..1 the rest is shared out; zeros stay, so that bars do."""
    own = torch.tensor([[[[0.2, 0.4], [0.0, 0.8]]]])
    torch.testing.assert_close(with_mean(own, 0.175), own / 2)
    torch.testing.assert_close(with_mean(own, 0.55), torch.tensor([[[[0.4, 0.8], [0.0, 1.0]]]]))
    torch.testing.assert_close(with_mean(own, 0.75), torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]]))
    for mean in (0.0, 0.9):
        assert with_mean(torch.zeros(1, 1, 2, 2), mean).tolist() == [[[[0, 0], [0, 0]]]]
        assert with_mean(own, mean)[0, 0, 1, 0] == 0
    for mean in np.linspace(0, 1, 7):
        assert with_mean(torch.rand(1, 1, 9, 9) ** 4, mean).mean().item() == pytest.approx(mean, abs=1e-5)


def test_a_network_that_does_not_listen_says_so(photograph):
    """With a fusion of zeros nothing can move; else the extremes decide."""
    predictor = predictor_of(backbone="test_resnet")
    maps = [None] * 3
    own = predictor.what_if(photograph, maps)
    moved = []
    for value in (0.0, 1.0):
        given = [np.full(grid, value) for grid in predictor.hold(photograph).grids]
        moved.append(np.abs(predictor.what_if(photograph, given).now.fused - own.before.fused).sum() / 2)
    assert own.listens == (max(moved) >= HARDLY)
    with torch.no_grad():
        predictor.network.fusion.weight.mul_(5)
    assert predictor.what_if(photograph, maps).listens
    with torch.no_grad():
        predictor.network.fusion.weight.zero_()
    assert not predictor.what_if(photograph, maps).listens


def test_bfloat16_is_close_and_does_not_swallow_a_stroke(photograph):
    """The last layer is fp32: a change of a tenth of a thousandth is seen, which bfloat16's logits would round away."""
    exact, rough = (predictor_of(precision, backbone="test_resnet").hold(photograph) for precision in ("fp32", "bf16"))
    maps = [np.full(grid, np.nan, np.float32) for grid in exact.grids]
    maps[0][5:9, 5:9] = 0.0
    found, near = exact.what_if(maps), rough.quick_what_if(to_bytes(maps))
    np.testing.assert_allclose(near.now.fused, found.now.fused, atol=0.03)
    moved, wanted = (item.now.fused - item.before.fused for item in (near, found))
    assert np.abs(wanted).max() < 0.01
    np.testing.assert_allclose(moved, wanted, atol=0.5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (lambda own: own[:2], "2 maps were given to a network with 3 scales: give one per scale"),
        (lambda own: [own[0][:3], None, None], r"scale 1 is \(3, \d+\) float32: expected \(\d+, \d+\) of numbers"),
        (lambda own: [None, own[1] * 0 + 1.5, None], "scale 2 has values from 1.5 to 1.5: expected 0 to 1, or NaN"),
        (lambda own: [None, None, own[2] - 9], "scale 3 has values from -.*expected 0 to 1, or NaN"),
        (lambda own: [own[0] * np.inf, None, None], "scale 1 has values from inf to inf: expected 0 to 1"),
        (lambda own: [own[0].astype(str), None, None], "scale 1 is .*<U.*expected .* of numbers"),
    ],
)
def test_maps_that_do_not_fit_are_refused(photograph, maps, message):
    """One line names the scale, what it is, and what was expected."""
    predictor = predictor_of(backbone="test_resnet")
    own = [item[0] for item in predictor.predict(photograph[None]).maps]
    with pytest.raises(ModelError, match=message):
        predictor.what_if(photograph, maps(own))


def test_what_cannot_be_held_is_refused(photograph):
    """A plain network, several pictures, bytes that are not the grids', a network that gives no number."""
    with pytest.raises(ModelError, match="plain network has no attention maps to replace"):
        predictor_of(network="plain", backbone="test_resnet").what_if(photograph, [None])
    predictor = predictor_of(backbone="test_resnet")
    held = predictor.hold(photograph)
    with pytest.raises(ModelError, match=r"have 3 bytes: expected \d+, one per cell of \d+ x \d+, "):
        held.quick_what_if(b"abc")
    predictor.squares = lambda pictures: np.stack(pictures)
    with pytest.raises(DataError, match="2 pictures were given, expected one"):
        predictor.hold([photograph, photograph])
    with torch.no_grad():
        predictor.network.fusion.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"no number for this photograph \(NaN\)"):
        predictor.hold([photograph])


def test_a_what_if_leaves_the_network_as_it_was(photograph):
    """Modes, gradients and weights, also where a map is refused; a half-painted map that failed does no harm."""
    predictor = predictor_of(backbone="test_resnet")
    predictor.network.train()
    predictor.network.extractor.eval()
    modes = [module.training for module in predictor.network.modules()]
    with pytest.raises(ModelError):
        predictor.what_if(photograph, [])
    predictor.what_if(photograph, [None] * 3)
    assert [module.training for module in predictor.network.modules()] == modes
    held = predictor_of().hold(photograph)
    maps = strokes(held.grids, 1)
    wanted = held.what_if(maps).now.fused
    branch = held._kept[2].branch
    forward, branch.stage.forward = branch.stage.forward, None
    with pytest.raises(TypeError):
        held.what_if(strokes(held.grids, 2))
    branch.stage.forward = forward
    np.testing.assert_allclose(held.what_if(maps).now.fused, wanted, atol=1e-6)
