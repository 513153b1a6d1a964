"""Promises of regaze.evaluation.sanity."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from regaze.errors import OptionError
from regaze.evaluation import sanity
from regaze.evaluation.sanity import (
    parameter_randomisation,
    rank_correlation,
    redraw,
    similarity,
    stability,
)

GROUPS = [("top", ["2"]), ("bottom", ["0"])]


@pytest.fixture
def network():
    """Two convolutions; the map is read after the first."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).eval()


@pytest.fixture
def images():
    """Three images of noise, (3, 3, 12, 12) float32."""
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def after_first(images):
    """A callable: network -> the mean of its first layer's channels."""
    return lambda network: network[0](images).mean(dim=1).detach().numpy()


def test_stages_by_hand(network, images):
    """A map that hangs on the lower layer alone stays when the top is destroyed, and changes when the bottom is."""
    top, bottom = parameter_randomisation(network, GROUPS, after_first(images))
    assert (top.name, bottom.name) == ("top", "bottom")
    np.testing.assert_allclose(top.spearman, 1)
    np.testing.assert_allclose(top.ssim, 1, atol=1e-6)
    assert (np.abs(bottom.spearman) < 0.9).all()
    assert (bottom.ssim < 0.9).all()


def test_it_cascades(network, images):
    """Each stage keeps the destruction of the ones before."""
    seen = []

    def maps(twin):
        seen.append({name: value.clone() for name, value in twin.state_dict().items()})
        return after_first(images)(twin)

    parameter_randomisation(network, GROUPS, maps)
    changed = [{name for name in seen[0] if not torch.equal(state[name], seen[0][name])} for state in seen]
    assert changed[0] == set()
    assert changed[1] == {"2.weight"}, "a bias of one number has no deviation"
    assert changed[2] == {"2.weight", "0.weight", "0.bias"}
    assert torch.equal(seen[1]["2.weight"], seen[2]["2.weight"])


def test_a_map_that_ignores_the_weights_is_found_out(network):
    """An edge detector in the guise of a map stays the same down to the last layer."""
    picture = np.random.default_rng(0).random((2, 9, 9))
    for stage in parameter_randomisation(network, GROUPS, lambda _: picture):
        np.testing.assert_allclose(stage.spearman, 1)
        np.testing.assert_allclose(stage.ssim, 1)


def test_the_network_is_left_as_it_was(network, images):
    """Weights, modes, gradients and torch's random state stay, also after an exception."""
    network.train()
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    calls = []

    def fails(twin):
        calls.append(twin)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return after_first(images)(twin)

    with pytest.raises(RuntimeError, match="out of memory"):
        parameter_randomisation(network, GROUPS, fails)
    assert all(twin is not network for twin in calls)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_decide(network, images):
    """The same seed gives the same stages, another seed others."""
    first, again, other = (
        parameter_randomisation(network, GROUPS, after_first(images), seed=seed)[1].spearman for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_redraw_keeps_size():
    """New weights have about the mean and deviation of the old ones, another order, and the same type."""
    layer = nn.Linear(100, 100, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(100, 100) * 3 + 2)
        layer.bias.fill_(0.5)
    old = layer.weight.detach().float().clone()
    redraw(layer, torch.Generator().manual_seed(0))
    new = layer.weight.detach().float()
    assert layer.weight.dtype is torch.bfloat16
    assert float(new.mean()) == pytest.approx(float(old.mean()), abs=0.15)
    assert float(new.std()) == pytest.approx(float(old.std()), rel=0.05)
    assert abs(np.corrcoef(old.flatten(), new.flatten())[0, 1]) < 0.05
    assert (layer.bias == 0.5).all()


def test_unknown_submodule(network, images):
    """A name that the network does not have is refused by name."""
    with pytest.raises(OptionError, match=r"group 'top' names the submodule 'fusion'"):
        parameter_randomisation(network, [("top", ["fusion"])], after_first(images))


def test_rank_correlation_against_scipy():
    """Ties included, the number is scipy's; by hand it is 1 for the same order and -1 for the reverse."""
    rng = np.random.default_rng(0)
    one, other = rng.integers(5, size=(4, 6, 7)).astype(float), rng.integers(5, size=(4, 6, 7)).astype(float)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlation(one, other), expected)
    np.testing.assert_allclose(rank_correlation(one, np.exp(one)), 1)
    np.testing.assert_allclose(rank_correlation(one, -one), -1)


def test_constant_maps_have_no_correlation():
    """A dead map is neither alike nor different: NaN, not 1; its structure differs from that of a living one."""
    living, dead = np.random.default_rng(0).random((1, 9, 9)), np.full((1, 9, 9), 0.4)
    assert np.isnan(rank_correlation(living, dead)).all()
    assert np.isnan(rank_correlation(dead, dead)).all()
    assert similarity(living, dead)[0] < 0.2
    assert rank_correlation(living * 1e-9, living)[0] == pytest.approx(1), "small is not constant"
    broken = living.copy()
    broken[0, 3, 3] = np.nan
    assert np.isnan(rank_correlation(living, broken)).all()
    assert np.isnan(similarity(living, broken)).all()


def test_similarity_against_the_formula():
    """With one window over the whole map: the formula of Wang et al. 2004, written out (population moments)."""
    rng = np.random.default_rng(0)
    one, other = rng.random((1, 7, 7)), rng.random((1, 7, 7))
    x, y = ((m - m.min()) / np.ptp(m) for m in (one, other))
    c1, c2 = 0.01**2, 0.03**2
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    expected = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
    expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)
    assert similarity(one, other)[0] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(similarity(one, one * 5 - 3), 1), "each map is brought to 0..1 first"


@pytest.mark.parametrize("side", [3, 4, 6, 7, 8, 14])
def test_similarity_of_small_maps(side):
    """Coarse maps have a number too, down to 3 x 3 cells."""
    maps = np.random.default_rng(0).random((2, side, side))
    np.testing.assert_allclose(similarity(maps, maps), 1)
    assert (similarity(maps, maps[::-1]) < 0.95).all()


def test_similarity_over_all_windows():
    """On a larger map: the mean over every window of 7 x 7 cells that lies inside."""
    rng = np.random.default_rng(1)
    one, other = rng.random((1, 9, 8)), rng.random((1, 9, 8))
    one, other = ((m - m.min()) / np.ptp(m) for m in (one, other))
    # A window's own extremes are not 0 and 1, so each is put to the formula as it is.
    numbers = []
    for down in range(3):
        for across in range(2):
            x, y = (m[0, down : down + 7, across : across + 7] for m in (one, other))
            covariance = np.cov(x.ravel(), y.ravel(), bias=True)[0, 1]
            top = (2 * x.mean() * y.mean() + 1e-4) * (2 * covariance + 9e-4)
            numbers.append(top / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var() + y.var() + 9e-4)))
    assert similarity(one, other)[0] == pytest.approx(np.mean(numbers))


def test_too_small_for_similarity():
    """Below 3 x 3 cells there is none."""
    assert np.isnan(similarity(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))).all()


def photographs(n=2, side=32):
    """Photographs of noise."""
    return np.random.default_rng(0).integers(256, size=(n, side, side, 3)).astype(np.uint8)


def test_a_map_that_moves_with_the_photograph_is_stable(monkeypatch):
    """A map of each pixel's own brightness comes back whole from flips and shifts."""
    monkeypatch.setattr(sanity, "_NOISE", 0)
    found = stability(lambda images: images.mean(axis=3), photographs())
    assert set(found) == {"flip", "shift", "noise"}
    for values in found.values():
        np.testing.assert_allclose(values, 1)


def test_a_map_that_stays_put_is_not():
    """A map that shows the same place whatever the photograph fails flips and shifts, and passes noise."""
    place = np.random.default_rng(2).random((1, 32, 32))
    found = stability(lambda images: place.repeat(len(images), 0), photographs())
    np.testing.assert_allclose(found["noise"], 1)
    assert (np.abs(found["flip"]) < 0.2).all()
    assert (np.abs(found["shift"]) < 0.2).all()


def test_noise_by_hand(monkeypatch):
    """More noise, less likeness; the noise has the deviation asked for and ends at 0 and 255."""
    seen = []

    def brightness(images):
        seen.append(images)
        return images.mean(axis=3)

    def likeness(deviation):
        monkeypatch.setattr(sanity, "_NOISE", deviation)
        return stability(brightness, grey)["noise"]

    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    grey[:, ::2] = 150
    little = likeness(2.0)
    difference = seen[-1].astype(float) - grey
    assert difference.std() == pytest.approx(2, rel=0.1)
    assert likeness(60.0)[0] < little[0]
    assert seen[-1].dtype == np.uint8
    again = likeness(2.0)
    np.testing.assert_array_equal(little, again)


def test_stability_leaves_the_photographs():
    """The caller's images are not written to."""
    images = photographs()
    kept = images.copy()
    stability(lambda given: given.mean(axis=3), images)
    np.testing.assert_array_equal(images, kept)


def test_stability_mistakes():
    """Maps on another grid than the photographs'."""
    images = photographs()
    with pytest.raises(ValueError, match="cropped pixels"):
        stability(lambda given: given.mean(axis=3)[:, ::2, ::2], images)
