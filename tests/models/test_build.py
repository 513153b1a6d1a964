"""Building networks: families of backbones, determinism, where the branches start."""

import random
import re

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from regaze.errors import ModelError
from regaze.models import build as build_module
from regaze.models.backbones import looks_around, timm_backbone, torchvision_backbone, unstride
from regaze.models.build import build_network
from regaze.models.options import NetworkOptions
from regaze.training.losses import classification_loss, soft_labels

# Families by what is special about them; tiny members of each.
CUT = [
    "test_resnet",  # timm's own ResNet: stem outside the stages, five levels
    "mobilenetv3_small_050",  # inverted residuals, squeeze-and-excitation inside
    "test_convnext",  # layer norm, strided convolutions with even kernels
    "test_byobnet",  # squeeze-and-excitation as wide as the block
]


def live(network):
    """Make layers that timm starts at zero (the last norm of a residual block) let gradients through."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    return network


def dead_parameters(network, images):
    """Names of the parameters that phase 1's loss gives no gradient."""
    output = network.train()(images)
    classification_loss(output, soft_labels(torch.tensor([0, 4]), 5, "ordinal", 0.1)).backward()
    return [name for name, item in network.named_parameters() if item.grad is None or not item.grad.any()]


@pytest.mark.parametrize("scales", [1, 3, 4])
@pytest.mark.parametrize("backbone", CUT)
def test_families_on_every_number_of_scales(backbone, scales, images):
    """A cut backbone gives S maps, finest first, and no parameter without a gradient in phase 1."""
    options = NetworkOptions(backbone=backbone, scales=scales)
    network = live(build_network(options, 5, size=64).network)
    output = network.eval()(images)
    assert len(output.maps) == network.scales == scales
    sides = [item.shape[2] for item in output.maps]
    assert sides == sorted(sides, reverse=True)
    assert output.logits.shape == (2, 5)
    assert all(looks_around(branch.stage) for branch in network.attention)
    dead = dead_parameters(network, images)
    # A bias before a batch norm has no effect by construction.
    assert [name for name in dead if not name.endswith("bias")] == []


@pytest.mark.parametrize("backbone", [*CUT, "resnet50", "alexnet"])
def test_a_block_has_the_grid_of_its_stage(backbone, images):
    """Perception branches of depth `block` end on the grid of depth `light`, and are smaller where a stage has more."""
    shapes, sizes = [], []
    for depth in ("block", "light"):
        network = build_network(NetworkOptions(backbone=backbone, perception=depth), 5, size=64).network.eval()
        features = network.extractor(images)
        pairs = list(zip(network.perception, features[-network.scales :], strict=True))
        shapes.append([tuple(branch.stage(item).shape[2:]) for branch, item in pairs])
        sizes.append(sum(item.numel() for item in network.perception.parameters()))
    assert shapes[0] == shapes[1]
    assert sizes[0] <= sizes[1]
    assert (sizes[0] < sizes[1]) == (backbone in ("resnet50", "mobilenetv3_small_050")), sizes


@pytest.mark.parametrize(
    "options",
    [
        NetworkOptions(perception="light"),
        NetworkOptions(perception="full"),
        NetworkOptions(backbone="alexnet", scales=4),
    ],
)
def test_no_parameter_of_torchvisions_networks_is_dead(options, images):
    """Every weight of every group gets a gradient from phase 1's loss."""
    network = build_network(options, 5, seed=1).network
    assert dead_parameters(network, images) == []


@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_plain_and_attention_networks_learn_whole(fusion, images):
    """The same for the mean fusion and for the plain network."""
    for kind in ("plain", "multi-scale"):
        options = NetworkOptions(network=kind, backbone="test_resnet", fusion=fusion)
        network = live(build_network(options, 5).network)
        assert dead_parameters(network, images) == []


@pytest.fixture(scope="module")
def swin():
    """A Swin network at 64 pixels."""
    return build_network(NetworkOptions(backbone="swin_tiny_patch4_window7_224"), 3, size=64).network


def test_swin_is_not_cut_but_works(swin, images):
    """A model whose features come as NHWC still gives NCHW maps on its levels' grids."""
    output = swin.eval()(images)
    assert [tuple(item.shape[1:]) for item in swin.extractor(images)[-3:]] == [(96, 16, 16), (192, 8, 8), (384, 4, 4)]
    assert [item.shape[2] for item in output.maps] == [16, 8, 4]
    assert output.logits.shape == (2, 3)


def test_swin_carries_no_level_that_nobody_uses(swin, images):
    """Three of four levels are used: the fourth is neither stored nor trained."""
    output = swin.train()(images)
    sum(item.square().sum() for item in [output.logits, *output.attention_logits, *output.perception_logits]).backward()
    assert [name for name, item in swin.named_parameters() if item.grad is None] == []


@pytest.mark.parametrize("scales", [1, 3, 4])
def test_vision_transformers_give_levels_spread_over_their_depth(scales, images):
    """test_vit has 6 blocks on one 4x4 grid: levels behind blocks 1, 3, 4 and 6 (counted from 1)."""
    network = build_network(NetworkOptions(backbone="test_vit", scales=scales), 5, size=64).network
    assert [tuple(item.shape[2:]) for item in network.eval()(images).maps] == [(4, 4)] * scales
    torch.manual_seed(0)
    whole = timm_backbone("test_vit", 64)
    assert whole.segments is None
    levels = whole.whole.eval()(images)
    # Independent reference: the class's own interface on the whole model with the same weights.
    full = timm.create_model("test_vit", img_size=64, num_classes=0)
    wanted = {name.removeprefix("model."): item for name, item in whole.whole.state_dict().items()}
    full.load_state_dict(wanted, strict=False)
    blocks = full.eval().forward_intermediates(images, indices=[0, 2, 3, 5], intermediates_only=True)
    for level, block in zip(levels, blocks, strict=True):
        torch.testing.assert_close(level, block)
    short = whole.up_to(2).eval()(images)
    assert len(short) == 2
    assert all(torch.equal(item, level) for item, level in zip(short, levels, strict=False))


def test_segments_give_torchvisions_features(images):
    """The segments in turn compute what torchvision's forward computes behind layer1 to layer4."""
    backbone = torchvision_backbone("resnet18")
    model = torchvision.models.resnet18()
    model.load_state_dict(backbone.whole.state_dict(), strict=False)
    model.eval()
    wanted = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    found = images
    for segment, layer, channels in zip(
        backbone.segments, (model.layer1, model.layer2, model.layer3, model.layer4), backbone.channels, strict=True
    ):
        wanted, found = layer(wanted), segment.eval()(found)
        assert torch.equal(found, wanted)
        assert found.shape[1] == channels


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050"])
def test_segments_give_timms_features(name, images):
    """A cut timm model computes what the whole model computes."""
    backbone = timm_backbone(name, 64)
    levels = backbone.whole.eval()(images)[-4:]
    found = images
    for segment, level in zip(backbone.segments, levels, strict=True):
        found = segment.eval()(found)
        assert torch.equal(found, level)


def test_the_table_of_the_default_network_is_true(tmp_path):
    """Every row of the module's table: what the part is made of, its output's shape, its number of parameters."""
    rows = re.findall(
        r"^    (\w+(?: \d)?) {2,}(?:(\S.*?) {2,}([\dx ]+?) {2,}|)([\d,]+)$", build_module.__doc__, re.MULTILINE
    )
    torch.manual_seed(5)
    resnet = torchvision.models.resnet18()
    save_file(resnet.state_dict(), tmp_path / "resnet18.safetensors")
    network = build_network(NetworkOptions(weights=str(tmp_path / "resnet18.safetensors")), 5).network.eval()

    features, parts = torch.randn(1, 3, 224, 224), {}
    for number, segment in enumerate(network.extractor.segments):
        attention, perception = network.attention[number], network.perception[number]
        features = segment(features)
        parts[f"extractor {number + 1}"] = segment, segment, features
        parts[f"attention {number + 1}"] = attention, attention.stage, attention(features)[1]
        parts[f"perception {number + 1}"] = perception, perception.stage, perception.stage(features)
    parts["fusion"] = network.fusion, network.fusion, network.fusion(torch.zeros(1, 896))
    parts["network"] = network, network, torch.zeros(1)
    assert sorted(row[0] for row in rows) == sorted(parts)
    for name, made_of, shape, parameters in rows:
        part, stage, output = parts[name]
        assert f"{sum(item.numel() for item in part.parameters()):,}" == parameters, name
        assert " x ".join(str(side) for side in output.shape[1:]) == shape, name
        source = [resnet.get_submodule(layer) for layer in re.findall(r"layer\d(?:\.\d)?", made_of)]
        source = [resnet.conv1, resnet.bn1, *source] if "stem" in made_of else source
        copied = [weight for module in source for weight in module.parameters()]
        if source:
            assert all(torch.equal(a, b) for a, b in zip(stage.parameters(), copied, strict=True)), name


@pytest.mark.parametrize("depth", ["block", "light", "full"])
def test_branches_start_from_the_files_stages(tmp_path, depth):
    """Attention: the last block of the block's own stage. Perception: of the stages that follow. Byte for byte."""
    torch.manual_seed(5)
    state = torchvision.models.resnet18().state_dict()
    save_file(state, tmp_path / "resnet18.safetensors")
    options = NetworkOptions(weights=str(tmp_path / "resnet18.safetensors"), perception=depth)
    built = build_network(options, 5)
    network = built.network

    def under(prefix):
        return [item for name, item in state.items() if name.startswith(prefix)]

    for place, layer in enumerate((1, 2, 3)):
        found = list(network.attention[place].stage.state_dict().values())
        assert len(found) == len(under(f"layer{layer}.1."))
        assert all(torch.equal(a, b) for a, b in zip(found, under(f"layer{layer}.1."), strict=True))
        following = range(layer + 1, 5) if depth == "full" else [layer + 1]
        part = "0." if depth == "block" else ""
        wanted = [item for number in following for item in under(f"layer{number}.{part}")]
        found = list(network.perception[place].stage.state_dict().values())
        assert len(found) == len(wanted) > 15
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    wanted = under("conv1.") + under("bn1.") + [item for number in (1, 2, 3) for item in under(f"layer{number}.")]
    assert all(torch.equal(a, b) for a, b in zip(network.extractor.state_dict().values(), wanted, strict=True))
    assert built.report.taken == 120


@pytest.mark.parametrize("backbone", ["resnet18", "alexnet", "test_resnet", "test_vit"])
def test_a_branch_never_shares_memory_with_the_extractor(backbone):
    """Training a branch while the extractor is frozen must not change the extractor through shared storage."""
    network = build_network(NetworkOptions(backbone=backbone, scales=4), 5, size=64).network
    places = [item.untyped_storage().data_ptr() for item in network.state_dict().values()]
    assert len(places) == len(set(places)) > 20
    before = {name: item.clone() for name, item in network.extractor.state_dict().items()}
    with torch.no_grad():
        for part in (network.attention, network.perception):
            for parameter in part.parameters():
                parameter.add_(1)
    after = network.extractor.state_dict()
    assert all(torch.equal(after[name], item) for name, item in before.items())


@pytest.mark.parametrize("backbone", ["resnet18", "test_resnet", "test_vit"])
def test_the_seed_decides_the_weights(backbone):
    """The same seed gives the same bytes whatever happened before; another seed gives other weights."""
    options = NetworkOptions(backbone=backbone, scales=2)

    def weights(seed):
        torch.rand(seed + 3)
        return build_network(options, 5, size=64, seed=seed).network.state_dict()

    first, second, other = weights(7), weights(7), weights(8)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_leaves_the_callers_random_state(monkeypatch):
    """The generators of torch, NumPy and Python are as before, and no GPU is seeded."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("seeded the caller's GPUs"))
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    build_network(NetworkOptions(backbone="test_resnet"), 5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    with pytest.raises(ModelError):
        build_network(NetworkOptions(backbone="test_resnet", scales=9), 5)
    assert torch.equal(torch.get_rng_state(), before[0])


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        (NetworkOptions(scales=0), 5, "--scales 0: backbone resnet18 gives 1 to 4 scales"),
        (NetworkOptions(scales=5), 5, "--scales 5: backbone resnet18 gives 1 to 4 scales"),
        (NetworkOptions(), 1, "at least 2 classes, the data has 1"),
        (NetworkOptions(backbone="resnet19"), 5, "Unknown backbone 'resnet19': expected one of alexnet, resnet18"),
        (NetworkOptions(backbone="resnet10x"), 5, "close names: .*resnet"),
        (NetworkOptions(backbone="no such thing"), 5, "Unknown backbone 'no such thing'"),
        (NetworkOptions(backbone="test_resnet.nonsense"), 5, r"Unknown backbone 'test_resnet\.nonsense' .*tag"),
    ],
)
def test_what_cannot_be_built_is_named(options, classes, message):
    """A user's mistake is one line that names the value and what was expected."""
    with pytest.raises(ModelError, match=message) as caught:
        build_network(options, classes, size=64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("features_only not implemented\nfor this"), AssertionError()])
def test_a_model_without_feature_maps_is_named(monkeypatch, error):
    """Whatever timm raises for such a model, even without a word, becomes one line."""

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(timm, "create_model", refuse)
    # Without a word it may as well be the size of a network that is built for one.
    message = r"Backbone 'test_vit' gives no feature maps \(features_only not implemented\): choose"
    if isinstance(error, AssertionError):
        message = r"--size 64: backbone test_vit cannot take it \(AssertionError\): choose another backbone"
    with pytest.raises(ModelError, match=message):
        build_network(NetworkOptions(backbone="test_vit"), 5, size=64)


def test_normalisation_is_the_backbones():
    """Networks of torchvision take ImageNet's statistics, timm's those of their own configuration."""
    built = build_network(NetworkOptions(), 5)
    assert (built.mean, built.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    config = timm.get_pretrained_cfg("test_vit")
    built = build_network(NetworkOptions(backbone="test_vit"), 5, size=64)
    assert (built.mean, built.std) == (tuple(config.mean), tuple(config.std))
    assert built.mean == (0.5, 0.5, 0.5)
    assert built.report is None


def test_unstriding_keeps_the_grid_and_the_weights():
    """Strides and poolings go, weights stay, and only the copy that was handed in changes."""
    stage = torchvision.models.resnet18().layer2
    weights = [item.clone() for item in stage.state_dict().values()]
    same = unstride(nn.Sequential(nn.MaxPool2d(2), *stage))
    assert same.eval()(torch.zeros(1, 64, 9, 7)).shape == (1, 128, 9, 7)
    assert all(torch.equal(a, b) for a, b in zip(weights, same.state_dict().values(), strict=True))
    assert max(item.stride[0] for item in same.modules() if isinstance(item, nn.Conv2d)) == 1


def test_an_attention_stage_looks_around():
    """Squeeze-and-excitation, an MLP or a bare pooling keeps grid and channels but sees one cell: never a stage."""
    assert not looks_around(nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1)))
    assert not looks_around(nn.Identity())
    assert looks_around(nn.Conv2d(1, 1, 3))
    network = build_network(NetworkOptions(backbone="seresnet18", scales=1), 5).network
    assert [type(branch.stage).__name__ for branch in network.attention] == ["BasicBlock"]


@pytest.mark.parametrize(("backbone", "size"), [("inception_v3", 64), ("xcit_nano_12_p16_224", 97)])
def test_a_size_that_a_backbone_cannot_take_is_refused_with_one_that_it_can(backbone, size):
    """One line with the next size; the network of that size passes."""
    options = NetworkOptions(backbone=backbone, scales=1)
    with pytest.raises(
        ModelError, match=rf"^--size {size}: backbone {backbone} cannot take it .*: pass --size"
    ) as said:
        build_network(options, 3, size)
    other = int(str(said.value).rsplit(" ", 1)[1].rstrip("."))
    assert other > size
    build_network(options, 3, other)
