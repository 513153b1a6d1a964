"""Each explainer's map against its equation, a computation of its own or an answer known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from regaze.explanation.explainers import explain
from regaze.explanation.forward import log_odds
from regaze.explanation.job import Job, Settings
from regaze.explanation.perturbations import draw_masks, enlarge_masks
from regaze.models import uncertainty
from regaze.models.network import PlainNetwork, fuse
from tests.explanation.networks import FEW, SIDE, built, predictor_of


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


@pytest.mark.parametrize("weighting", ["residual", "gate", "evidence"])
def test_evidence_over_all_pixels_is_the_logit(images, weighting):
    """Over cropped pixels it adds up to the logit of the class less the bias, signed, whatever class is asked for."""
    predictor = predictor_of(built("multi-scale", weighting=weighting))
    network = predictor.network
    with torch.no_grad():
        logits = (network(predictor.normalise(images)).logits - network.bias()).numpy()
    maps = [explain(predictor, images, "evidence", np.full(4, index)) for index in range(4)]
    sums = np.stack([item.sum(axis=(1, 2)) for item in maps], axis=1)
    np.testing.assert_allclose(sums, logits, atol=1e-4, rtol=1e-3)
    assert np.min(maps) < 0 < np.max(maps)


def test_pixels_that_the_map_darkens_lose_their_evidence(images):
    """Where the network weighs evidence, the place whose cell of the map is set to 0 is the place that changes."""
    predictor = predictor_of(built("single-scale", weighting="evidence"))
    network = predictor.network
    classes = np.array([2])
    whole = explain(predictor, images[:1], "evidence", classes)[0]
    row, column = 1, 2
    hide = network.attention[0].register_forward_hook(lambda _, __, output: _darkened(output, row, column))
    try:
        changed = whole - explain(predictor, images[:1], "evidence", classes)[0]
    finally:
        hide.remove()
    cell = SIDE // network.grids(SIDE)[0][0]
    inside = np.zeros((SIDE, SIDE), bool)
    inside[(row - 1) * cell : (row + 2) * cell, (column - 1) * cell : (column + 2) * cell] = True
    assert np.abs(changed[inside]).max() > 1e3 * np.abs(changed[~inside]).max()


def _darkened(output, row, column):
    logits, map_logits = output
    dark = map_logits.clone()
    dark[:, :, row, column] = -80.0
    return logits, dark


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


def test_an_operation_in_place_behind_the_deepest_block_changes_nothing(images):
    """A branch that begins with ReLU(inplace=True) leaves the features that the CAMs weigh as they were."""
    network = built("single-scale")
    expected = explain(predictor_of(network), images, "layer-cam")

    class Double(nn.Module):
        def forward(self, features):
            return features.mul_(2).div_(2)

    network.attention[0].stage = nn.Sequential(Double(), network.attention[0].stage)
    assert np.allclose(explain(predictor_of(network), images, "layer-cam"), expected, rtol=1e-4)
