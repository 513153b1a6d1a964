"""The networks: shapes, maps given from outside, gradients, class activation maps."""

import copy

import pytest
import torch
from torch import nn

from regaze.errors import ModelError
from regaze.models.branches import PerceptionBranch
from regaze.models.build import build_network
from regaze.models.network import AttentionNetwork, PlainNetwork, TrainableBranches, fuse
from regaze.models.options import NetworkOptions

# Side of the input -> sides of a ResNet's maps behind layer1..layer4, by the formula floor((n + 2p - k) / s) + 1.
RESNET_GRIDS = {64: (16, 8, 4, 2), 96: (24, 12, 6, 3), 75: (19, 10, 5, 3)}


def network_of(scales=3, classes=5, seed=0, **options):
    """A ResNet18 network from scratch."""
    kind = "multi-scale" if scales > 1 else "single-scale"
    return build_network(NetworkOptions(network=kind, scales=scales, **options), classes, seed=seed).network


@pytest.fixture(scope="module")
def shared():
    """A three-scale network in evaluation mode; tests that change it take a copy."""
    return network_of().eval()


@pytest.mark.parametrize("scales", [1, 2, 3, 4])
def test_every_number_of_scales_gives_maps_from_the_deepest_blocks(scales, images):
    """S scales give S maps in 0..1, finest first, and S grades per kind of branch; one to three end at layer3."""
    output = network_of(scales, classes=4).eval()(images)
    grids = RESNET_GRIDS[64][:4] if scales == 4 else RESNET_GRIDS[64][3 - scales : 3]
    assert [tuple(item.shape) for item in output.maps] == [(2, 1, side, side) for side in grids]
    assert [item.shape for item in output.map_logits] == [item.shape for item in output.maps]
    assert all(((item > 0) & (item < 1)).all() for item in output.maps)
    assert output.logits.shape == (2, 4)
    assert [tuple(item.shape) for item in output.attention_logits + output.perception_logits] == [(2, 4)] * 2 * scales
    for logits, attention_map in zip(output.map_logits, output.maps, strict=True):
        torch.testing.assert_close(torch.sigmoid(logits), attention_map)


def test_single_scale_ignores_the_number_of_scales(images):
    """The single-scale ABN has one map on the deepest block, whatever --scales says."""
    network = build_network(NetworkOptions(network="single-scale", scales=3), 5).network.eval()
    assert [tuple(item.shape[2:]) for item in network(images).maps] == [(4, 4)]


@pytest.mark.parametrize("side", sorted(RESNET_GRIDS))
def test_any_size_is_graded(side, shared):
    """Nothing in a convolutional network fixes the image size, odd sizes included."""
    output = shared(torch.rand(1, 3, side, side))
    assert [item.shape[2] for item in output.maps] == list(RESNET_GRIDS[side][:3])
    assert torch.isfinite(output.logits).all()


def test_alexnet_has_maps_at_its_poolings_grids(images):
    """AlexNet at 64 pixels: conv1 gives 15 cells, the poolings 7 and 3 (by hand), a fourth block keeps 3."""
    for scales, grids in ((1, [3]), (3, [15, 7, 3]), (4, [15, 7, 3, 3])):
        output = network_of(scales, backbone="alexnet").eval()(images)
        assert [item.shape[2] for item in output.maps] == grids
        assert output.logits.shape == (2, 5)


def test_the_forward_pass_is_the_papers(images):
    """Logits = fusion(concat_l GAP(stage_l((1 + M_l) g_l))), M = sigmoid(conv3x3(a)); stated anew, layer by layer."""
    network = network_of(2, classes=3).eval()
    segments = network.extractor.segments
    features = [segments[1](segments[0](images))]
    features.append(segments[2](features[0]))
    vectors = []
    output = network(images)
    for place, g in enumerate(features):
        attention, perception = network.attention[place], network.perception[place]
        a = attention.reduce(attention.stage(g))
        torch.testing.assert_close(output.attention_logits[place], attention.classify(a).flatten(2).mean(2))
        M = 1 / (1 + torch.exp(-nn.functional.conv2d(a, attention.map.weight, attention.map.bias, padding=1)))
        torch.testing.assert_close(output.maps[place], M)
        vectors.append(perception.stage(g + M * g).flatten(2).mean(2))
        torch.testing.assert_close(output.perception_logits[place], perception.classify(vectors[-1]))
    joined = torch.cat(vectors, 1) @ network.fusion.weight.T + network.fusion.bias
    torch.testing.assert_close(output.logits, joined)


def test_mean_fusion_is_the_mean_of_the_perception_branches(images):
    """With `fusion="mean"` the final logits are the branches' mean and no linear layer exists."""
    network = network_of(3, fusion="mean").eval()
    output = network(images)
    assert network.fusion is None
    torch.testing.assert_close(output.logits, sum(output.perception_logits) / 3)


@pytest.mark.parametrize("width", ["wide", "faithful"])
def test_attention_width(width):
    """Wide: at least 16 channels before the map; faithful: as many as classes, like the original ABN."""
    network = network_of(1, classes=5, attention_width=width)
    assert network.attention[0].map.in_channels == {"wide": 16, "faithful": 5}[width]
    assert network_of(1, classes=20, attention_width=width).attention[0].map.in_channels == 20


def test_given_maps_replace_the_models_own_and_change_the_grade(shared, images):
    """The paper's figure 1: a map given at inference is used as it is, handed out again, and moves the logits."""
    own = shared(images)
    given = [torch.rand_like(item) for item in own.maps]
    output = shared(images, given)
    for item, wanted, logits in zip(output.maps, given, output.map_logits, strict=True):
        assert torch.equal(item, wanted)
        torch.testing.assert_close(torch.sigmoid(logits), wanted, atol=2e-6, rtol=0)
    assert not torch.allclose(output.logits, own.logits)
    for before, after in zip(own.attention_logits, output.attention_logits, strict=True):
        assert torch.equal(before, after)  # the attention branch grades from the features, not from the map


def test_none_keeps_the_models_own_map(shared, images):
    """Only the scales that are given change; giving back the model's own maps changes nothing."""
    own = shared(images)
    assert torch.equal(shared(images, [None] * 3).logits, own.logits)
    torch.testing.assert_close(shared(images, own.maps).logits, own.logits)
    one = shared(images, [None, torch.zeros_like(own.maps[1]), None])
    assert torch.equal(one.maps[0], own.maps[0])
    assert torch.equal(one.maps[2], own.maps[2])
    assert not one.maps[1].any()
    assert torch.equal(one.perception_logits[0], own.perception_logits[0])
    assert not torch.equal(one.perception_logits[1], own.perception_logits[1])


def test_extreme_given_maps_have_finite_logits(shared, images):
    """Maps of exactly 0 and 1 ("look nowhere", "look everywhere") are allowed and give finite numbers."""
    for value in (0.0, 1.0):
        output = shared(images, [torch.full((2, 1, side, side), value) for side in (16, 8, 4)])
        assert all(torch.isfinite(item).all() for item in output.map_logits)
        assert torch.isfinite(output.logits).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 1, 16, 16)], "1 maps were given to a network with 3 scales"),
        ([(2, 1, 16, 16)] * 4, "4 maps were given to a network with 3 scales"),
        ([(2, 1, 16, 16), (2, 1, 4, 4), None], r"scale 2 has shape \(2, 1, 4, 4\): expected \(2, 1, 8, 8\)"),
        ([(2, 16, 16), None, None], r"scale 1 has shape \(2, 16, 16\): expected \(2, 1, 16, 16\)"),
        ([None, None, (1, 1, 4, 4)], r"scale 3 has shape \(1, 1, 4, 4\): expected \(2, 1, 4, 4\)"),
    ],
)
def test_maps_that_do_not_fit_are_refused(shared, images, shapes, message):
    """A wrong number, grid, rank or batch is named with what was expected; nothing is broadcast silently."""
    maps = [None if shape is None else torch.zeros(shape) for shape in shapes]
    with pytest.raises(ModelError, match=message):
        shared(images, maps)


def test_a_plain_network_takes_no_maps(images):
    """There is nothing to replace in a plain network, and it says so."""
    network = build_network(NetworkOptions(network="plain"), 5).network
    with pytest.raises(ModelError, match="no attention maps to replace"):
        network(images, [None])


@pytest.mark.parametrize("kind", ["plain", "single-scale", "multi-scale"])
def test_groups_cover_all_parameters(kind):
    """Every parameter takes one of the four learning rates; the map's convolutions are the `maps` group."""
    network = build_network(NetworkOptions(network=kind), 5).network
    groups = {name: network.group_of(name) for name, _ in network.named_parameters()}
    if kind == "plain":
        assert {name for name, group in groups.items() if group == "heads"} == {"classify.weight", "classify.bias"}
        assert set(groups.values()) == {"extractor", "heads"}
        return
    assert set(groups.values()) == {"extractor", "branches", "heads", "maps"}
    scales = range(network.scales)
    assert {name for name, group in groups.items() if group == "maps"} == {
        f"attention.{place}.map.{kind}" for place in scales for kind in ("weight", "bias")
    }
    stages = [part.stage for part in [*network.attention, *network.perception]]
    assert sum(group == "branches" for group in groups.values()) == sum(len(list(s.parameters())) for s in stages)
    extractor = {id(parameter) for parameter in network.extractor.parameters()}
    for name, parameter in network.named_parameters():
        assert (groups[name] == "extractor") == (id(parameter) in extractor)


def test_branches_work_on_features_that_were_handed_out(shared, images):
    """`forward` is branches after extractor, and the branches leave the features as they were."""
    features = shared.extractor(images)
    before = [item.clone() for item in features]
    assert torch.equal(shared.branches(features).logits, shared(images).logits)
    assert all(torch.equal(item, kept) for item, kept in zip(features, before, strict=True))


@pytest.mark.parametrize("weighting", ["residual", "gate", "evidence", "pooling"])
@pytest.mark.parametrize("options", [{}, {"perception": "none"}, {"fusion": "mean"}, {"bars": "seen"}, {"scales": 1}])
def test_one_look_serves_many_grades(weighting, options, images):
    """Maps once, grades as often as other maps are given: the very bytes of whole passes, and the look stays."""
    images = images.clone()
    images[:, :, :20] = -9.0  # bars
    network = network_of(**{"scales": 2, "weighting": weighting, "backbone": "test_resnet"} | options).eval()
    with torch.inference_mode():
        features = network.extractor(images)
        look = network.look(features)
        kept = [item.clone() for item in (*look.maps, *look.map_logits, *look.attention_logits)]
        dark = [torch.zeros_like(item) for item in look.maps]
        for maps in (None, dark, [None] * (len(dark) - 1) + [torch.ones_like(dark[-1])], None):
            part, whole = network.grade(features, look, maps), network(images, maps)
            for name in ("maps", "map_logits", "own_maps", "attention_logits", "perception_logits", "evidence"):
                pairs = zip(getattr(part, name), getattr(whole, name), strict=True)
                assert all(torch.equal(one, other) for one, other in pairs), name
            assert torch.equal(part.logits, whole.logits)
            assert torch.equal(part.vector, whole.vector)
        assert not torch.equal(network.grade(features, look, dark).logits, network.grade(features, look).logits)
    assert all(map(torch.equal, kept, (*look.maps, *look.map_logits, *look.attention_logits)))


class Given(nn.Module):
    """Stands for an extractor: hands out the features that it was made with."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, _):
        """The same features, whatever the images."""
        return [self.features]


def test_class_activation_map_by_hand():
    """CAM = Σ_c w_c g_c of the arg-max class, negative evidence cut off, divided by the maximum."""
    features = torch.tensor([[[[4.0, 0.0], [0.0, 2.0]], [[0.0, 8.0], [0.0, 1.0]]]])  # channel means 1.5 and 2.25
    network = PlainNetwork(Given(features), channels=2, classes=3)
    with torch.no_grad():
        network.classify.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -0.25], [-1.0, 0.0]]))
        network.classify.bias.zero_()
    output = network.eval()(torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(output.logits, torch.tensor([[0.0, 1.5 - 0.5625, -1.5]]))
    torch.testing.assert_close(output.map_logits[0], torch.tensor([[[[4.0, -2.0], [0.0, 1.75]]]]))
    torch.testing.assert_close(output.maps[0], torch.tensor([[[[1.0, 0.0], [0.0, 0.4375]]]]))
    assert network.train()(torch.zeros(1, 3, 2, 2)).maps == []


def test_class_activation_map_without_evidence_is_empty():
    """Where all evidence is negative the map is zero, not NaN."""
    network = PlainNetwork(Given(torch.ones(1, 1, 2, 2)), channels=1, classes=2)
    with torch.no_grad():
        network.classify.weight.fill_(-1.0)
    output = network.eval()(torch.zeros(1, 3, 2, 2))
    assert not output.maps[0].any()


def test_class_activation_map_is_the_gradient_of_the_logit(images):
    """Independent reference: Grad-CAM by autograd gives the same map up to its scale of one over the cells."""
    network = build_network(NetworkOptions(network="plain"), 5).network.eval()
    output = network(images)
    features = network.extractor(images)[-1].detach().requires_grad_()
    logits = network.classify(features.mean(dim=(2, 3)))
    gradients = torch.autograd.grad(logits.max(dim=1).values.sum(), features)[0]
    grad_cam = (gradients.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True)
    torch.testing.assert_close(output.map_logits[0], grad_cam * features[0, 0].numel())


def test_maps_stay_fp32_under_autocast(images):
    """bf16 has 8 bits: ranking by it would tie cells, so both kinds of map are computed in fp32."""
    for kind in ("plain", "multi-scale"):
        network = build_network(NetworkOptions(network=kind, backbone="test_resnet"), 5).network.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            output = network(images)
        assert output.logits.dtype == torch.bfloat16  # autocast was at work
        for item in output.map_logits + output.maps:
            assert item.dtype == torch.float32
        finest = output.map_logits[0]
        assert not torch.equal(finest, finest.bfloat16().float())


def test_fused_map_by_hand():
    """The fused map is the mean of the scales' maps, each brought bilinearly to one grid."""
    coarse = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    fine = torch.full((1, 1, 4, 4), 0.5)
    row = torch.tensor([0.0, 0.25, 0.75, 1.0])  # half-pixel centres, clamped at the edges
    torch.testing.assert_close(fuse([fine, coarse], 4), ((row + 0.5) / 2).expand(1, 4, 4))
    torch.testing.assert_close(fuse([coarse], 2), coarse[:, 0])
    assert fuse([coarse.bfloat16()], 2).dtype == torch.float32


def test_the_trainable_part_is_the_network_without_its_extractor(shared, images):
    """It shares the network's modules, says the same from the extractor's features, and holds nothing of it."""
    part = TrainableBranches(shared)
    assert torch.equal(part(shared.extractor(images)).logits, shared(images).logits)
    whole = {id(parameter) for parameter in shared.parameters()}
    frozen = {id(parameter) for parameter in shared.extractor.parameters()}
    assert {id(parameter) for parameter in part.parameters()} == whole - frozen


def test_gradients_reach_the_frozen_part_only_where_it_is_free(shared, images):
    """A frozen extractor gets no gradient while every branch still learns."""
    network = copy.deepcopy(shared)
    network.extractor.requires_grad_(requires_grad=False)
    assert isinstance(network, AttentionNetwork)
    output = network(images)
    (output.logits.sum() + sum(item.sum() for item in output.attention_logits)).backward()
    for name, parameter in network.named_parameters():
        if ".classify." in name and name.startswith("perception."):
            continue  # learns from its own term of the loss, which this test leaves out
        assert (parameter.grad is None) == name.startswith("extractor."), name


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_pooled_features_lie_as_the_features_do(layout, dtype):
    """The perception branch's pooling is the mean, with its gradient in the features' own order in memory."""
    values = torch.randn(4, 6, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    features = values.to(memory_format=layout).requires_grad_()
    hidden = features * 1  # what a branch's last layer would hand to the pooling
    seen = []
    hidden.register_hook(seen.append)
    branch = PerceptionBranch(nn.Identity(), 6, 3).to(dtype)
    logits, vector, _ = branch(hidden, torch.zeros(4, 1, 5, 7))  # (1 + 0) F
    torch.testing.assert_close(vector.detach(), values.mean(dim=(2, 3)))
    logits.sum().backward()
    wanted = branch.classify.weight.detach().sum(dim=0).view(1, 6, 1, 1) / 35
    torch.testing.assert_close(seen[0], wanted.expand(4, 6, 5, 7))
    if layout == torch.channels_last:
        assert seen[0].stride() == hidden.stride()


def test_weighted_features_by_hand():
    """(1 + M) F, in the features' own type; here M is the sigmoid of 0, so 1.5 F, which bfloat16 holds exactly."""
    network = network_of(1)
    network.attention[0].forward = lambda features: (features.new_zeros(1, 5), torch.zeros(1, 1, 4, 4))
    network.perception[0].stage = nn.Identity()
    features = torch.arange(-8.0, 8).repeat(256).view(1, 256, 4, 4).bfloat16()
    weighted = network.perception[0].cells(features, torch.full((1, 1, 4, 4), 0.5))
    assert weighted.dtype == torch.bfloat16
    assert torch.equal(weighted, 1.5 * features)
