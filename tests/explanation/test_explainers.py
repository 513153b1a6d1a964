"""Explainers against answers known by hand and against computations of their own."""

import builtins
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from regaze.errors import ModelError, OptionError
from regaze.explanation.explainers import EXPLAINERS, available, explain
from regaze.explanation.forward import log_odds
from regaze.explanation.job import Job, Settings
from regaze.explanation.perturbations import draw_masks, enlarge_masks
from regaze.models import uncertainty
from regaze.models.build import build_network
from regaze.models.network import Output, PlainNetwork, fuse
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor

SIDE = 64
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
FEW = Settings(masks=12, gradient_steps=4, window=0.5)
LIBRARIES = ("grad-cam", "layer-cam", "integrated-gradients", "occlusion")


def predictor_of(network, batch=3, **machine):
    """A predictor in fp32, unless told otherwise, three photographs at a time."""
    return Predictor(network.eval(), MEAN, STD, "argmax", MachineOptions(**({"precision": "fp32"} | machine)), batch)


def lively(network):
    """Batch norms of a network from scratch pass on means of 0; give them something to say."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
    return network


def built(kind, **more):
    """A tiny network of four classes."""
    return lively(build_network(NetworkOptions(network=kind, backbone="test_resnet", **more), 4, SIDE).network)


@pytest.fixture(scope="module")
def plain():
    """A plain network."""
    return predictor_of(built("plain"))


@pytest.fixture(scope="module")
def abn():
    """A multi-scale attention network."""
    return predictor_of(built("multi-scale"))


@pytest.fixture(scope="module")
def images():
    """(4, 64, 64, 3) uint8, soft blobs so that neighbouring pixels are alike."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def all_cases():
    """Every explainer with every kind of network that it fits."""
    return [("plain", name) for name in EXPLAINERS if not name.startswith(("attention", "scale"))] + [
        ("abn", name) for name in EXPLAINERS if name not in ("cam", "scale4")
    ]


def state_of(network):
    """Everything that an explainer could leave behind."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": {name: module.training for name, module in network.named_modules()},
        "hooks": {
            name: [list(getattr(module, kind).values()) for kind in hooks] for name, module in network.named_modules()
        },
        "asks": {name: parameter.requires_grad for name, parameter in network.named_parameters()},
        "gradients": {
            name: None if parameter.grad is None else parameter.grad.numpy().tobytes()
            for name, parameter in network.named_parameters()
        },
        "values": {name: value.numpy().tobytes() for name, value in network.state_dict().items()},
        "random": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
    }


def unruly(predictor):
    """A state that a careless explainer would tidy up: mixed modes, flags and gradients."""
    network = predictor.network
    network.train()
    for index, module in enumerate(network.modules()):
        module.training = index % 3 > 0
    for index, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(index % 4 > 0)
        parameter.grad = torch.full_like(parameter, 0.5) if index % 5 == 0 else None
    return network


@pytest.mark.parametrize(("kind", "by"), all_cases())
def test_every_explainer_gives_finite_maps_and_leaves_no_trace(kind, by, plain, abn, images):
    """(N, S, S) float32; modes, hooks, flags, gradients, weights and random states come back, also after an error."""
    predictor = {"plain": plain, "abn": abn}[kind]
    network = unruly(predictor)
    before = state_of(network)
    done = []
    maps = explain(predictor, images[:2], by, progress=lambda *step: done.append(step), settings=FEW)
    assert maps.shape == (2, SIDE, SIDE)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert all(item.max() > item.min() for item in maps)
    assert done[-1] == (2, 2)
    assert state_of(network) == before
    breaking = next(module for module in reversed(list(network.modules())) if isinstance(module, nn.Linear))
    calls = []

    def fail(module, arguments):
        calls.append(module)
        if len(calls) == 2:  # the first tells the class (or is the only one); the second is in the middle
            raise RuntimeError("broken in the middle")

    handle = breaking.register_forward_pre_hook(fail)
    before = state_of(network)
    with pytest.raises(RuntimeError, match="broken in the middle"):
        explain(predictor, np.concatenate([images, images]), by, settings=FEW)
    assert state_of(network) == before
    handle.remove()


@pytest.mark.parametrize(("kind", "by"), all_cases())
def test_a_map_does_not_depend_on_its_batch_and_comes_again(kind, by, plain, abn, images):
    """The same call gives the same bits; another batch size gives the same map up to rounding."""
    predictor = {"plain": plain, "abn": abn}[kind]
    first = explain(predictor, images[:3], by, settings=FEW)
    assert np.array_equal(first, explain(predictor, images[:3], by, settings=FEW))
    other = explain(predictor_of(predictor.network, batch=2), images[:3], by, settings=FEW)
    assert np.allclose(first, other, atol=1e-4 * np.abs(first).max())


@pytest.mark.parametrize(("kind", "by"), all_cases())
def test_it_runs_inside_the_callers_inference_mode_and_autocast(kind, by, plain, abn, images):
    """The caller's inference mode and autocast neither stop an explainer nor change its map."""
    predictor = {"plain": plain, "abn": abn}[kind]
    alone = explain(predictor, images[:1], by, settings=FEW)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(alone, explain(predictor, images[:1], by, settings=FEW))


def rank_correlation(first, second):
    """Spearman's, for values without ties."""

    def ranks(values):
        return np.argsort(np.argsort(values.ravel())).astype(float)

    return np.corrcoef(ranks(first), ranks(second))[0, 1]


def test_cam_is_grad_cam_up_to_scale_for_a_plain_network(plain, images):
    """Features -> pool -> linear: Grad-CAM's weights are the classifier's, divided by the number of cells."""
    classes = np.array([3, 0, 1, 2])
    cam = explain(plain, images, "cam", classes)
    grad_cam = explain(plain, images, "grad-cam", classes)
    for one, other in zip(cam, grad_cam, strict=True):
        slope, offset = np.polyfit(one.ravel(), other.ravel(), 1)
        assert slope > 0
        assert np.allclose(slope * one + offset, other, atol=1e-4 * np.abs(other).max())


def test_cam_is_what_the_predictor_shows(plain, images):
    """Without a class it explains the arg-max, by the very evidence whose positive part the predictor shows."""
    with torch.no_grad():
        output = plain.network.eval()(plain.normalise(images))
    assert np.allclose(explain(plain, images, "cam"), large(output.map_logits[0][:, 0].numpy()), atol=1e-5)
    assert np.allclose(plain.predict(images).maps[0], output.maps[0][:, 0].numpy(), atol=1e-5)


def head(network, features):
    """Logits from the extractor's features."""
    return (
        network.branches(features).logits
        if hasattr(network, "branches")
        else network.classify(features[-1].mean(dim=(2, 3)))
    )


def features_and_gradient(predictor, images, classes):
    """Deepest features and the gradient of the classes' logits at them, float64, by plain autograd."""
    network = predictor.network.eval()
    features = [item.detach() for item in network.extractor(predictor.normalise(images))]
    leaf = features[-1].clone().requires_grad_()
    logits = head(network, [*features[:-1], leaf.clone()])
    logits[torch.arange(len(classes)), torch.from_numpy(classes)].sum().backward()
    network.zero_grad(set_to_none=True)
    return leaf.detach().numpy().astype(np.float64), leaf.grad.numpy().astype(np.float64)


def large(cells):
    """Map cells enlarged to pixels."""
    tensor = torch.from_numpy(cells.astype(np.float32))[:, None]
    return nn.functional.interpolate(tensor, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0].numpy()


@pytest.mark.parametrize("kind", ["plain", "abn"])
@pytest.mark.parametrize("by", ["grad-cam", "grad-cam++", "layer-cam"])
def test_cams_against_their_equations(kind, by, plain, abn, images):
    """Loops over cells and channels as the papers write them, on gradients by autograd, give the same maps."""
    predictor = {"plain": plain, "abn": abn}[kind]
    classes = np.array([2, 1])
    activation, gradient = features_and_gradient(predictor, images[:2], classes)
    expected = np.zeros((2, *activation.shape[2:]))
    for n in range(2):
        for channel in range(activation.shape[1]):
            a, g = activation[n, channel], gradient[n, channel]
            if by == "grad-cam":
                expected[n] += g.mean() * a
            elif by == "layer-cam":
                expected[n] += np.maximum(g, 0) * a
            else:
                bottom = 2 * g**2 + a.sum() * g**3
                alpha = np.divide(g**2, bottom, out=np.zeros_like(g), where=(g > 0) & (bottom > 0))
                expected[n] += (alpha * np.maximum(g, 0)).sum() * a
    if by == "layer-cam":
        expected = np.maximum(expected, 0)
    found = explain(predictor, images[:2], by, classes)
    assert np.allclose(found, large(expected), atol=1e-4 * np.abs(expected).max())


def test_grad_cam_agrees_with_the_selections_own(abn, images):
    """`selection by cam` and this explainer look at the same layer and mean the same by Grad-CAM."""
    network = abn.network.eval()
    features = network.extractor(abn.normalise(images))
    _, cam = uncertainty._grad_cam(abn, network, [item.detach() for item in features])
    found = torch.from_numpy(explain(abn, images, "grad-cam"))
    cells = nn.functional.adaptive_avg_pool2d(found, cam.shape[1:]).numpy()
    positive = cam.detach().numpy() > 0.2
    assert positive.any()
    assert (cells[positive] > 0).all()


@pytest.mark.parametrize("kind", ["plain", "abn"])
def test_integrated_gradients_are_complete(kind, plain, abn, images):
    """The map's sum is the logit's rise from a grey image to the photograph."""
    predictor = {"plain": plain, "abn": abn}[kind]
    classes = np.array([1, 3])
    found = explain(predictor, images[:2], "integrated-gradients", classes, settings=Settings(gradient_steps=48))
    with torch.no_grad():
        network = predictor.network.eval()
        inputs = predictor.normalise(images[:2])
        rise = (network(inputs).logits - network(torch.zeros_like(inputs)).logits)[[0, 1], [1, 3]].numpy()
    assert np.allclose(found.sum(axis=(1, 2)), rise, atol=0.02 * np.abs(rise).max())


class Corner(nn.Module):
    """An extractor whose one feature is the top left quarter's first channel (normalised), elsewhere 0."""

    def forward(self, images_B3HW):
        """One feature map."""
        half = images_B3HW.shape[2] // 2
        seen = torch.zeros_like(images_B3HW[:, :1])
        seen[:, :, :half, :half] = images_B3HW[:, :1, :half, :half]
        return [seen]


@pytest.fixture
def corner():
    """A network of two classes: class 1's logit is 16 times the mean of `Corner`'s feature, class 0's is 0."""
    network = PlainNetwork(Corner(), 1, 2)
    with torch.no_grad():
        network.classify.weight.copy_(torch.tensor([[0.0], [16.0]]))
        network.classify.bias.zero_()
    return predictor_of(network)


def test_occlusion_is_known_by_hand(corner):
    """8 px, all 1 in normalised space: the logit is 16 · 16/64 = 4; a 4-px square in the corner takes it to 0."""
    image = np.full((1, 8, 8, 3), round(255 * 0.75), np.uint8)
    found = explain(corner, image, "occlusion", np.array([1]), settings=Settings(window=0.5))[0]
    value = (round(255 * 0.75) / 255 - 0.5) / 0.25

    def probability(hidden):
        return 1 / (1 + np.exp(-16 * value * (16 - hidden) / 64))

    falls = {hidden: probability(0) - probability(hidden) for hidden in (4, 8, 16)}
    # The squares start at 0, 2, 4. Pixel (0, 0) lies only in the first; (2, 2) in four; (7, 7) in none that matters.
    assert found[0, 0] == pytest.approx(falls[16], abs=1e-5)
    assert found[2, 2] == pytest.approx((falls[16] + 2 * falls[8] + falls[4]) / 4, abs=1e-5)
    assert found[7, 7] == pytest.approx(0, abs=1e-6)
    assert explain(corner, image, "occlusion", np.array([0]), settings=Settings(window=0.5))[0][0, 0] < 0


def test_integrated_gradients_are_known_by_hand(corner):
    """A linear logit: each pixel of the corner gets its own share 16 / 64, every other pixel 0."""
    image = np.full((1, 8, 8, 3), 255, np.uint8)
    found = explain(corner, image, "integrated-gradients", np.array([1]), settings=FEW)[0]
    assert np.allclose(found[:4, :4], 2 * 16 / 64, atol=1e-5)
    assert not found[4:].any()
    assert not found[:, 4:].any()


def test_rise_finds_the_planted_patch(corner):
    """The quarter that decides the class stands out, above every other quarter, for either class in its own sense."""
    image = np.full((1, 32, 32, 3), 140, np.uint8)
    for chosen, sign in ((1, 1), (0, -1)):
        found = sign * explain(corner, image, "rise", np.array([chosen]), settings=Settings(masks=400, cells=4))[0]
        quarters = found.reshape(2, 16, 2, 16).mean(axis=(1, 3))
        assert quarters[0, 0] > 3 * np.abs(np.delete(quarters.ravel(), 0)).max()
        assert np.unravel_index(found.argmax(), found.shape)[0] < 16


def test_rise_is_its_equation_with_the_mean_taken_off(plain, images):
    """Sum over the masks of (probability - mean) · mask / (masks · keep), written as a loop."""
    settings = Settings(masks=7, cells=3, keep=0.4, seed=3)
    inputs = plain.normalise(images[:1])
    job = Job(plain, inputs, torch.tensor([2]), settings)
    masks = torch.cat(list(enlarge_masks(job, *draw_masks(job))))
    assert masks.shape == (7, SIDE, SIDE)
    assert masks.min() >= 0
    assert masks.max() <= 1
    scores = [float(plain.scores(inputs * mask)[0, 2]) for mask in masks]
    expected = sum((score - sum(scores) / 7) * mask for score, mask in zip(scores, masks, strict=True)) / (7 * 0.4)
    found = explain(plain, images[:1], "rise", np.array([2]), settings=settings)[0]
    assert np.allclose(found, expected.numpy(), atol=1e-6)
    other = explain(plain, images[:1], "rise", np.array([2]), settings=Settings(masks=7, cells=3, keep=0.4, seed=4))[0]
    assert not np.allclose(found, other)


def test_rise_keeps_every_pixel_equally_often(plain, images):
    """Each pixel's mean over many masks is the probability of keeping: no place is preferred, the rim included."""
    job = Job(plain, plain.normalise(images[:1]), torch.tensor([0]), Settings(masks=3000, cells=5, keep=0.3))
    mean = torch.cat(list(enlarge_masks(job, *draw_masks(job)))).mean(dim=0)
    assert (mean - 0.3).abs().max() < 0.05


def test_attention_has_the_order_of_the_predictors_maps(abn, images):
    """Fused and per block: enlarging the predictor's map gives the same order of pixels."""
    predictions = abn.predict(images)
    with torch.no_grad():
        maps = abn.network.eval()(abn.normalise(images)).maps
    for by, expected in [("attention", fuse(maps, SIDE))] + [
        (f"scale{index + 1}", fuse([item], SIDE)) for index, item in enumerate(maps)
    ]:
        found = explain(abn, images, by)
        assert np.allclose(1 / (1 + np.exp(-found)), expected.numpy(), atol=1e-5)
        for one, other in zip(found, expected.numpy(), strict=True):
            assert rank_correlation(one, other) > 0.9999
    finest = explain(abn, images, "scale1")
    cells = torch.from_numpy(predictions.maps[0])[:, None]
    enlarged = nn.functional.interpolate(cells, size=(SIDE, SIDE), mode="bilinear")[:, 0].numpy()
    assert np.allclose(1 / (1 + np.exp(-finest)), enlarged, atol=1e-5)


def test_log_odds_do_not_saturate():
    """Cells whose sigmoid is 1 (or 0) in float32 keep their order; a single scale gets its logits back."""
    logits = torch.tensor([[[[20.0, 30.0], [-40.0, 50.0]]]])
    assert len(torch.sigmoid(logits).unique()) < 4
    found = log_odds([logits], 2)[0]
    assert torch.allclose(found, logits[0, 0], rtol=1e-5)
    fused = log_odds([logits, logits + 1], 2)[0]
    assert (fused.flatten().argsort() == logits.flatten().argsort()).all()
    assert torch.isfinite(log_odds([torch.tensor([[[[1e4, -1e4]]]])], 2)).all()


def test_attention_keeps_more_values_than_the_sigmoid_under_bf16(images):
    """Under bf16 autocast the maps are still ranked: hardly two pixels tie."""
    half = predictor_of(built("multi-scale"), precision="bf16")
    maps = explain(half, images[:1], "scale1")
    assert len(np.unique(maps)) > 0.5 * maps.size


def test_gradients_are_fp32_under_bf16(images):
    """The predictor's bf16 does not reach the gradients: the same map as in fp32."""
    network = built("multi-scale")
    classes = np.array([1])
    for by in ("grad-cam", "occlusion"):
        first, second = (
            explain(predictor_of(network, precision=precision), images[:1], by, classes, settings=FEW)
            for precision in ("fp32", "bf16")
        )
        assert np.array_equal(first, second)


def test_classes_are_the_arg_max_or_as_given(abn, images):
    """None explains the likeliest class of the clean photograph; attention maps do not care."""
    likeliest = abn.predict(images).probabilities.argmax(axis=1)
    assert np.array_equal(explain(abn, images, "grad-cam"), explain(abn, images, "grad-cam", likeliest))
    assert not np.array_equal(explain(abn, images, "grad-cam"), explain(abn, images, "grad-cam", (likeliest + 1) % 4))
    assert np.array_equal(explain(abn, images, "attention"), explain(abn, images, "attention", likeliest))


def test_no_photographs_give_no_maps(abn, images):
    """An empty batch is no error."""
    assert explain(abn, images[:0], "grad-cam").shape == (0, SIDE, SIDE)


def test_an_operation_in_place_behind_the_deepest_block_changes_nothing(images):
    """A branch that begins with ReLU(inplace=True) leaves the features that the CAMs weigh as they were."""
    network = built("single-scale")
    expected = explain(predictor_of(network), images, "layer-cam")

    class Double(nn.Module):
        def forward(self, features):
            return features.mul_(2).div_(2)

    network.attention[0].stage = nn.Sequential(Double(), network.attention[0].stage)
    assert np.allclose(explain(predictor_of(network), images, "layer-cam"), expected, rtol=1e-4)


def test_timm_networks_that_cannot_be_cut(images):
    """A vision transformer's deepest features are explained as any other's."""
    options = NetworkOptions(network="single-scale", backbone="test_vit")
    predictor = predictor_of(build_network(options, 4, SIDE).network)
    for by in ("attention", "grad-cam", "grad-cam++", "layer-cam"):
        assert np.isfinite(explain(predictor, images[:1], by)).all()


def test_what_is_available(plain, abn):
    """By the kind of network and its number of scales, in the order of the mapping."""
    of_all = ("grad-cam", "grad-cam++", "layer-cam", "integrated-gradients", "occlusion", "rise")
    assert available(plain.network) == ("cam", *of_all)
    assert available(abn.network) == ("attention", "scale1", "scale2", "scale3", *of_all)
    assert available(built("single-scale")) == ("attention", "scale1", *of_all)


def test_without_the_libraries(plain, abn, images, monkeypatch):
    """Those that need none work and are offered; the others say in one line what to install."""
    original = builtins.__import__

    def refuse(name, *rest, **more):
        if name.split(".")[0] in ("captum", "torchcam"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    monkeypatch.setitem(__import__("sys").modules, "torchcam", None)
    assert available(abn.network) == ("attention", "scale1", "scale2", "scale3", "grad-cam++", "rise")
    for predictor in (plain, abn):
        for by in available(predictor.network):
            assert np.isfinite(explain(predictor, images[:1], by, settings=FEW)).all()
    for by in LIBRARIES:
        with pytest.raises(OptionError, match=rf"{by} needs (captum|torchcam).*pip install 'regaze\[explain\]'"):
            explain(plain, images[:1], by)


def test_mistakes(plain, abn, images):
    """Each names what was given and what is expected."""
    with pytest.raises(OptionError, match=r"no explainer 'gradcam': this model takes cam, grad-cam"):
        explain(plain, images, "gradcam")
    with pytest.raises(ModelError, match=r"attention does not fit a plain network: this model takes cam"):
        explain(plain, images, "attention")
    with pytest.raises(ModelError, match=r"cam does not fit an attention network of 3 scale"):
        explain(abn, images, "cam")
    with pytest.raises(ModelError, match=r"scale4 does not fit"):
        explain(abn, images, "scale4")
    with pytest.raises(ValueError, match=r"expected \(N, S, S, 3\) uint8"):
        explain(plain, images.astype(np.float32), "cam")
    with pytest.raises(ValueError, match=r"expected \(4,\)"):
        explain(plain, images, "cam", np.array([1]))
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=r"the network has 0\.\.3"):
            explain(plain, images, "cam", np.full(4, bad))


class Broken(nn.Module):
    """A network whose extractor gives no numbers."""

    def forward(self, images_B3HW):
        """NaN everywhere."""
        return [images_B3HW * torch.nan]


def test_values_that_are_no_numbers(images):
    """They are refused; torchcam by itself would count them as 0."""
    predictor = predictor_of(PlainNetwork(Broken(), 3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for by in ("cam", "grad-cam", "grad-cam++", "layer-cam", "integrated-gradients", "occlusion", "rise"):
            with pytest.raises(ModelError, match="not finite"):
                explain(predictor, images[:1], by, np.array([1]), settings=FEW)


def test_the_output_type_is_the_networks(plain):
    """The tests above speak of the real network: it hands out an `Output`."""
    assert isinstance(plain.network.eval()(torch.zeros(1, 3, SIDE, SIDE)), Output)
