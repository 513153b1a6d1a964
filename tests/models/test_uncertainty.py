"""Uncertainty scores of a network's maps, which need no label."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from regaze.errors import ModelError
from regaze.models.branches import AttentionBranch, PerceptionBranch
from regaze.models.build import build_network
from regaze.models.disagreement import disagreement, movement, shape_gap
from regaze.models.network import AttentionNetwork
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import Predictor
from regaze.models.uncertainty import cell_features, uncertainty_scores

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NAMES = ("branches", "scales", "cam", "instability", "features")


def predict_with(network, batch=32, precision="fp32"):
    """A predictor on the CPU."""
    return Predictor(network, *HALF, "median", MachineOptions(precision, "cpu"), batch)


def resnet(kind="multi-scale", batch=32, precision="fp32"):
    """The predictor of a small ResNet with weights from scratch."""
    return predict_with(build_network(NetworkOptions(kind, "test_resnet"), 5, 64).network, batch, precision)


class Cells(nn.Module):
    """An extractor: the image averaged over squares of the given sides, finest first."""

    def __init__(self, *sides):
        super().__init__()
        self.sides = sides

    def forward(self, images):
        """Images (B, 3, S, S) -> one (B, 3, S / side, S / side) per side."""
        return [nn.functional.avg_pool2d(images, side) for side in self.sides]


class PointMap(nn.Module):
    """An attention branch whose map logits are the cells' mean over the channels plus what `place` adds."""

    def __init__(self, place=None):
        super().__init__()
        self.place = place or (lambda height, width: torch.zeros(height, width))

    def forward(self, features, _picture):
        """Features -> logits (B, 3), map logits (B, 1, h, w)."""
        logits = features.mean(1, keepdim=True) + self.place(*features.shape[2:])
        return features.mean((2, 3)), logits


class Says(PerceptionBranch):
    """A perception branch that gives the same logits whatever it sees."""

    def __init__(self, *logits):
        super().__init__(nn.Identity(), 3, 3)
        self.logits = logits

    def forward(self, features, attention_map, picture):
        """Logits (B, 3), the pooled vector, the cells that it pools."""
        _, vector, cells = super().forward(features, attention_map, picture)
        return torch.tensor(self.logits).expand(len(vector), -1) + 0 * vector.sum(1, keepdim=True), vector, cells


def tiny(sides=(2, 4), said=((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)), place=None):
    """A network made of averages: its maps can be told by hand; three classes."""
    fusion = nn.Linear(3 * len(sides), 3)
    with torch.no_grad():
        fusion.weight.copy_(torch.linspace(-1, 1, fusion.weight.numel()).view_as(fusion.weight))
    attention = [PointMap(place) for _ in sides]
    return AttentionNetwork(Cells(*sides), attention, [Says(*logits) for logits in said], fusion, 3)


@pytest.fixture
def photographs():
    """(5, 64, 64, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def slopes():
    """(2, 64, 64, 3) uint8 that rise to the right and downwards, at the same rate everywhere."""
    across = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    return np.stack([np.repeat(item[..., None], 3, axis=2) for item in (across, across.T)])


def test_disagreement_by_hand():
    """Equal grades 0; two sure of different classes 1; half-sure against sure as worked out on paper."""
    sure, other, torn = torch.tensor([[60.0, 0.0]]), torch.tensor([[0.0, 60.0]]), torch.tensor([[0.0, 0.0]])
    assert disagreement([torn, torn, torn]).item() == pytest.approx(0, abs=1e-6)
    assert disagreement([sure, sure]).item() == pytest.approx(0, abs=1e-6)
    assert disagreement([sure, other]).item() == pytest.approx(1, abs=1e-6)
    # The mean is (3/4, 1/4); H(mean) - (0 + ln 2) / 2, over ln 2.
    wanted = (-0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / math.log(2) - 0.5
    assert disagreement([sure, torn]).item() == pytest.approx(wanted, abs=1e-6)
    three = [60 * torch.eye(3)[place : place + 1] for place in range(3)]
    assert disagreement(three).item() == pytest.approx(1, abs=1e-6)


def test_disagreement_is_the_mean_divergence_from_the_mean():
    """The entropy form equals the mean Kullback-Leibler divergence of the grades from their mean."""
    generator = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(7, 5, generator=generator) for _ in range(3)]
    p = torch.stack(logits).double().softmax(2)
    wanted = (p * (p / p.mean(0)).log()).sum(2).mean(0) / math.log(3)
    torch.testing.assert_close(disagreement(logits), wanted.float(), atol=1e-5, rtol=0)


def test_shape_gap_is_one_minus_pearson():
    """Against NumPy's correlation; level and contrast do not count, the negative is as far as can be."""
    first, second = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    wanted = [1 - np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first.numpy(), second.numpy(), strict=True)]
    np.testing.assert_allclose(shape_gap(first, second).numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(shape_gap(first, 0.1 + 0.2 * first).numpy(), 0, atol=1e-5)
    np.testing.assert_allclose(shape_gap(first, 1 - first).numpy(), 2, atol=1e-5)


def test_dead_maps_have_numbers():
    """Two dead maps are alike (0), a dead and a live one unrelated (1); NaN stays NaN; dead maps do not move."""
    live = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    dead = 0.3 + 5e-4 * live  # less than a thousandth from end to end
    assert shape_gap(dead, torch.zeros(1, 4, 4)).item() == 0
    assert shape_gap(dead, live).item() == shape_gap(live, dead).item() == 1
    assert movement(dead, torch.zeros(1, 4, 4)).item() == 0
    assert math.isnan(shape_gap(live, live * float("nan")).item())
    assert math.isnan(movement(live * float("nan"), dead).item())


def test_movement_by_hand():
    """Half ones against the other half: every cell goes from one deviation below the mean to one above it."""
    left = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert movement(left, 1 - left).item() == pytest.approx(2)
    assert movement(left, 0.25 + left / 2).item() == pytest.approx(0)
    # One of four cells: (3, -1, -1, -1) / sqrt(3) against itself moved by one: two cells differ by 4 / sqrt(3).
    corner, beside = torch.tensor([[[1.0, 0], [0, 0]]]), torch.tensor([[[0, 1.0], [0, 0]]])
    assert movement(corner, beside).item() == pytest.approx(2 / math.sqrt(3))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [(((2.0, 1.0, 0.0), (2.0, 1.0, 0.0)), 0), (((90.0, 0.0, 0.0), (0.0, 90.0, 0.0)), 1)],
)
def test_branches_that_agree_and_that_contradict(photographs, said, wanted):
    """Identical perception branches: 0. Each sure of another class: 1."""
    found = uncertainty_scores(predict_with(tiny(said=said)), photographs)
    np.testing.assert_allclose(found.branches, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["single-scale", "multi-scale"])
def test_signals_are_what_the_network_says(photographs, kind):
    """Shapes, types, ranges; branches and scales from one plain forward pass, the three grades of one scale too."""
    predictor = resnet(kind)
    found = uncertainty_scores(predictor, photographs)
    with torch.no_grad():
        network = predictor.network.eval()
        features = network.extractor(predictor.normalise(photographs))
        output = network.branches(features)
    one = kind == "single-scale"
    grades = [*output.attention_logits, *output.perception_logits, output.logits] if one else output.perception_logits
    assert len(grades) == 3
    np.testing.assert_allclose(found.branches, disagreement(grades).numpy(), atol=1e-6)
    assert (found.branches > 1e-4).all()
    np.testing.assert_allclose(found.features, features[-1].mean((2, 3)).numpy(), atol=1e-5)
    if one:
        assert np.isnan(found.scales).all()
    else:
        side = output.maps[0].shape[2:]
        large = [
            nn.functional.interpolate(item, size=side, mode="bilinear", align_corners=False).flatten(1).numpy()
            for item in output.maps
        ]
        pairs = [(0, 1), (0, 2), (1, 2)]
        wanted = [np.mean([1 - np.corrcoef(large[a][n], large[b][n])[0, 1] for a, b in pairs]) for n in range(5)]
        np.testing.assert_allclose(found.scales, wanted, atol=1e-4)
    for name in NAMES:
        number = getattr(found, name)
        assert number.dtype == np.float32
        assert len(number) == 5
    for number in (found.cam, found.instability):
        assert ((number > 0) & (number < 2)).all()


def test_maps_alike_at_different_resolutions_do_not_disagree(slopes):
    """A slope is the same slope on 32 and on 16 cells; noise is not the same noise."""
    predictor = predict_with(tiny())
    noise = np.random.default_rng(0).integers(0, 256, slopes.shape, dtype=np.uint8)
    assert uncertainty_scores(predictor, slopes).scales.max() < 1e-3
    assert uncertainty_scores(predictor, noise).scales.min() > 0.1


def test_an_equivariant_map_does_not_move_a_placed_one_does(photographs):
    """Maps that follow the picture cell by cell: 0 up to rounding; a map that favours the left: not."""
    still = uncertainty_scores(predict_with(tiny(sides=(2, 2))), photographs)
    np.testing.assert_allclose(still.instability, 0, atol=1e-4)

    def favour_left(height, width):
        return torch.linspace(1, -1, width).expand(height, width)

    placed = uncertainty_scores(predict_with(tiny(sides=(2, 2), place=favour_left)), photographs)
    assert (placed.instability > 0.1).all()


@pytest.mark.parametrize("side", [8, 30, 75])
def test_any_size_has_numbers(side):
    """Odd sizes, and maps of a single cell that cannot be shifted, give finite numbers in their ranges."""
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    for predictor in (resnet(), resnet("single-scale")):
        found = uncertainty_scores(predictor, images)
        for number in (found.branches, found.cam, found.instability):
            assert ((number >= 0) & (number <= 2)).all()


def grad_cam_by_hooks(network, image):
    """Grad-CAM of one normalised image as it is told: hook, backward, weights, ReLU. Returns (h, w) and the map."""
    kept = {}

    def keep(module, inputs, features):
        kept["features"] = features[-1]
        kept["features"].retain_grad()

    handle = network.extractor.register_forward_hook(keep)
    output = network(image[None])
    handle.remove()
    output.logits[0, output.logits[0].argmax()].backward()
    total = 0
    for channel in range(kept["features"].shape[1]):
        weight = kept["features"].grad[0, channel].mean()
        total = total + weight * kept["features"][0, channel]
    network.zero_grad()
    side = output.maps[0].shape[2]
    large = [
        nn.functional.interpolate(item, size=(side, side), mode="bilinear", align_corners=False) for item in output.maps
    ]
    return torch.relu(total).detach(), sum(large)[0, 0].detach() / len(large)


@pytest.mark.parametrize("kind", ["single-scale", "multi-scale"])
def test_grad_cam_is_that_of_hooks(photographs, kind):
    """The gap is the one that a plain loop with hooks and backward passes finds, photograph by photograph."""
    predictor = resnet(kind)
    found = uncertainty_scores(predictor, photographs).cam
    predictor.network.eval()
    alive = 0
    for image, gap in zip(predictor.normalise(photographs), found, strict=True):
        cam, fused = grad_cam_by_hooks(predictor.network, image)
        small = nn.functional.adaptive_avg_pool2d(fused[None], cam.shape)[0]
        alive += bool(cam.max() > 0)
        # Where nothing speaks for the class Grad-CAM is zero everywhere: nothing in common with a live map.
        wanted = 1 - np.corrcoef(cam.ravel(), small.ravel())[0, 1] if cam.max() > 0 else 1
        assert gap == pytest.approx(wanted, abs=1e-4)
    assert alive >= 2


def test_a_stage_that_works_in_place_is_no_obstacle(photographs):
    """An attention branch that begins with an operation in place does not stop autograd."""
    network = build_network(NetworkOptions("single-scale", "test_resnet"), 5, 64).network
    channels = network.extractor(torch.zeros(1, 3, 64, 64))[-1].shape[1]
    network.attention[0] = AttentionBranch(nn.ReLU(inplace=True), channels, 16, 5)
    network.perception[0] = PerceptionBranch(nn.Identity(), channels, 5)
    network.fusion = nn.Linear(channels, 5)
    assert np.isfinite(uncertainty_scores(predict_with(network), photographs).cam).all()


def state_of(network):
    """Everything that a caller could find changed."""
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad for parameter in network.parameters()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
        {name: item.numpy().tobytes() for name, item in network.state_dict().items()},
    )


@pytest.mark.parametrize("failing", [None, "forward", "progress"])
@pytest.mark.parametrize("function", ["signals", "cells"])
def test_the_model_is_left_as_it_was(photographs, failing, function, monkeypatch):
    """A half-frozen network in training stays just that, also when the forward pass or the callback raises."""
    predictor = resnet(batch=2)
    network = predictor.network.train()
    network.extractor.eval().requires_grad_(False)
    before = state_of(network)
    assert len(set(before[0])) == len(set(before[1])) == 2

    def stop(*arguments):
        raise KeyboardInterrupt

    if failing == "forward":
        # The signals fail behind the extractor, inside the part that computes with gradients.
        monkeypatch.setattr(network.attention[-1] if function == "signals" else network.extractor, "forward", stop)

    def run():
        progress = stop if failing == "progress" else None
        if function == "signals":
            return uncertainty_scores(predictor, photographs, progress)
        return cell_features(predictor, photographs, (4, 4), progress)

    if failing is None:
        run()
    else:
        with pytest.raises(KeyboardInterrupt):
            run()
    monkeypatch.undo()
    assert state_of(network) == before
    assert before[2] == [None] * len(before[2])
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_callers_without_gradients_get_the_same(photographs):
    """Inside a caller's own inference mode the gradient is there all the same."""
    predictor = resnet()
    wanted = uncertainty_scores(predictor, photographs)
    with torch.inference_mode():
        found = uncertainty_scores(predictor, photographs)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_the_batch_size_changes_nothing(photographs, batch):
    """Batches of any size, dividing or not, give the same numbers in fp32."""
    whole, parts = resnet(batch=5), resnet(batch=batch)
    wanted, found = uncertainty_scores(whole, photographs), uncertainty_scores(parts, photographs)
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-4)
    cells = cell_features(parts, photographs, (4, 4)).astype(np.float32)
    np.testing.assert_allclose(cells, cell_features(whole, photographs, (4, 4)).astype(np.float32), atol=1e-2)


def test_the_extractor_runs_once_per_variant(photographs):
    """Five passes per photograph (itself, two flips, two shifts) for the signals; one for the cells' features."""
    predictor = resnet(batch=2)
    seen = []
    predictor.network.extractor.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    uncertainty_scores(predictor, photographs)
    assert sum(seen) == 5 * len(photographs)
    seen.clear()
    cell_features(predictor, photographs, (4, 4))
    assert sum(seen) == len(photographs)


def test_progress_counts_photographs(photographs):
    """Progress ends with all photographs done, whatever the last batch holds."""
    calls = []
    uncertainty_scores(resnet(batch=2), photographs, lambda done, total: calls.append((done, total)))
    cell_features(resnet(batch=2), photographs, (4, 4), lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)] * 2


def test_no_photographs_no_scores(photographs):
    """An empty list gives empty arrays."""
    predictor = resnet()
    found = uncertainty_scores(predictor, photographs[:0])
    assert [getattr(found, name).shape for name in NAMES] == [(0,)] * 4 + [(0, 0)]
    assert cell_features(predictor, photographs[:0], (4, 4)).shape == (0, 0, 4, 4)


def test_bf16_is_close_to_fp32(photographs):
    """Half the bits change the numbers by little, and never their type."""
    exact, rough = uncertainty_scores(resnet(), photographs), uncertainty_scores(resnet(precision="bf16"), photographs)
    assert not np.array_equal(exact.features, rough.features)  # bf16 was at work
    assert rough.cam.dtype == rough.features.dtype == np.float32
    np.testing.assert_allclose(rough.branches, exact.branches, atol=0.01)
    np.testing.assert_allclose(rough.scales, exact.scales, atol=0.1)
    np.testing.assert_allclose(rough.instability, exact.instability, atol=0.1)


def test_plain_networks_have_no_uncertain_maps(photographs):
    """One clear line instead of an attribute error."""
    for function in (uncertainty_scores, lambda *given: cell_features(*given, (4, 4))):
        with pytest.raises(ModelError, match=r"plain network has no attention maps.*use a single-scale or multi-scale"):
            function(resnet("plain"), photographs)


def test_cells_by_hand(slopes):
    """Averages of averages: the features of every block on one grid are the picture's own means, finest first."""
    predictor = predict_with(tiny(sides=(2, 8)))
    found = cell_features(predictor, slopes, (4, 16))
    assert found.shape == (2, 6, 4, 16)
    assert found.dtype == np.float16
    picture = slopes[:, :, :, 0] / 127.5 - 1
    fine = picture.reshape(2, 4, 16, 16, 4).mean((2, 4))
    np.testing.assert_allclose(found[:, 0], fine, atol=2e-3)
    coarse = picture.reshape(2, 4, 16, 8, 8).mean((2, 4)).repeat(2, axis=2)  # eight cells on sixteen: repeated
    np.testing.assert_allclose(found[:, 3], coarse, atol=2e-3)


def test_cells_beyond_half_precision_are_cut():
    """A feature too large for float16 becomes its largest number, not infinity."""
    network = tiny()
    network.extractor.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 1e9,))
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    assert (cell_features(predict_with(network), white, (2, 2)) == np.finfo(np.float16).max).all()
