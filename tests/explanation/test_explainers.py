"""What holds for every explainer: no trace left, any batch, which network it fits, mistakes."""

import builtins
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from regaze.errors import ModelError, OptionError
from regaze.explanation.explainers import EXPLAINERS, available, explain
from regaze.models.build import build_network
from regaze.models.network import AttentionNetwork, Output, PlainNetwork
from regaze.models.options import NetworkOptions
from tests.explanation.networks import FEW, SIDE, built, predictor_of

LIBRARIES = ("grad-cam", "layer-cam", "integrated-gradients", "occlusion")


def all_cases():
    """Every explainer with every kind of network that it fits."""
    return [("plain", name) for name in EXPLAINERS if EXPLAINERS[name].kind is not AttentionNetwork] + [
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


def test_classes_are_the_arg_max_or_as_given(abn, images):
    """None explains the likeliest class of the clean photograph; attention maps do not care."""
    likeliest = abn.predict(images).probabilities.argmax(axis=1)
    assert np.array_equal(explain(abn, images, "grad-cam"), explain(abn, images, "grad-cam", likeliest))
    assert not np.array_equal(explain(abn, images, "grad-cam"), explain(abn, images, "grad-cam", (likeliest + 1) % 4))
    assert np.array_equal(explain(abn, images, "attention"), explain(abn, images, "attention", likeliest))


def test_no_photographs_give_no_maps(abn, images):
    """An empty batch is no error."""
    assert explain(abn, images[:0], "grad-cam").shape == (0, SIDE, SIDE)


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
    assert available(abn.network) == ("attention", "scale1", "scale2", "scale3", "evidence", *of_all)
    assert available(built("single-scale")) == ("attention", "scale1", "evidence", *of_all)


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
    assert available(abn.network) == ("attention", "scale1", "scale2", "scale3", "evidence", "grad-cam++", "rise")
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
    with pytest.raises(ModelError, match=r"evidence does not fit a plain network: this model takes cam"):
        explain(plain, images, "evidence")
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
