"""Promises of regaze.evaluation.faithfulness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import conv2d

from regaze.errors import ModelError, OptionError
from regaze.evaluation import substrates
from regaze.evaluation.faithfulness import Procedure, area_under_curve, compare_orders
from regaze.evaluation.perturbation import pixel_order
from regaze.evaluation.substrates import blur_size, blurred, gaussian_kernel


def deletion_insertion(scores, images, maps, *, classes=None, batch=None, **procedure):
    """One map's result."""
    orders = {"map": maps}
    return compare_orders(scores, images, orders, Procedure(**procedure), classes=classes, batch=batch)["map"]


def mean_brightness(images):
    """A classifier that sums: class 0's probability is the mean of the image, class 1 has the rest."""
    p = images.mean((1, 2, 3))
    return torch.stack([p, 1 - p], dim=1)


def tiny_network(classes=4, side=8, seed=0):
    """A seeded linear softmax classifier that sees every pixel."""
    weights = torch.randn(3 * side * side, classes, generator=torch.Generator().manual_seed(seed))
    return lambda images: (images.flatten(1) @ weights / side).softmax(1)


def inputs(n=3, side=8, seed=1):
    """Normalised images and maps without ties."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, side, side, generator=generator)
    return images, torch.rand(n, side, side, generator=generator)


def rise_kernel(side, sigma):
    """RISE's kernel by its definition: a delta through scipy's Gaussian filter."""
    delta = np.zeros((side, side))
    delta[side // 2, side // 2] = 1
    return gaussian_filter(delta, sigma)


def plain_loop(scores, image, attention_map, step, blur, chosen=None):
    """Both curves of one image from the definition: change `step` pixels, ask again."""
    side = image.shape[-1]
    kernel = torch.zeros(3, 3, blur[0], blur[0])
    for channel in range(3):
        kernel[channel, channel] = torch.tensor(rise_kernel(*blur), dtype=torch.float32)
    smooth = conv2d(image[None], kernel, padding=blur[0] // 2)[0]
    if chosen is None:
        chosen = int(scores(image[None])[0].argmax())
    order = sorted(range(side * side), key=lambda i: (-float(attention_map.flatten()[i]), i))
    curves = []
    for start, finish in ((image, torch.zeros_like(image)), (smooth, image)):
        now, curve = start.clone().flatten(1), []
        curve.append(float(scores(now.view(1, 3, side, side))[0, chosen]))
        for begin in range(0, side * side, step):
            for pixel in order[begin : begin + step]:
                now[:, pixel] = finish.flatten(1)[:, pixel]
            curve.append(float(scores(now.view(1, 3, side, side))[0, chosen]))
        curves.append(curve)
    return curves


def test_by_hand():
    """A 2 x 2 image, one pixel a step, a classifier that sums: both curves worked out on paper."""
    image = torch.tensor([[0.4, 0.8], [0.0, 1.0]]).expand(1, 3, 2, 2)
    attention_map = torch.tensor([[[2.0, 1.0], [-3.0, 4.0]]])  # order: 1.0, .4, .8, 0
    found = deletion_insertion(mean_brightness, image, attention_map, n_steps=4, classes=torch.tensor([0]))
    np.testing.assert_allclose(found.deletion_curves, [[0.55, 0.3, 0.2, 0, 0]], atol=1e-6)
    # (1.05 - .275 - 0) / 4
    np.testing.assert_allclose(found.deletion, [0.19375], atol=1e-6)
    grey = deletion_insertion(
        mean_brightness, image, attention_map, n_steps=4, classes=torch.tensor([0]), insertion="grey"
    )
    np.testing.assert_allclose(grey.insertion_curves, [[0, 0.25, 0.35, 0.55, 0.55]], atol=1e-6)
    # (1.7 - 0 - .275) / 4
    np.testing.assert_allclose(grey.insertion, [0.35625], atol=1e-6)


def test_insertion_by_hand(monkeypatch):
    """Four equal pixels under a 3 x 3 box with zeros around: blurred to 4/9, then raised one by one to 1."""
    monkeypatch.setattr(substrates, "blur_size", lambda _: (3, 1000.0))
    values = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
    found = deletion_insertion(mean_brightness, torch.ones(1, 3, 2, 2), values, n_steps=4)
    blur = 4 / 9
    expected = [[blur, (3 * blur + 1) / 4, (2 * blur + 2) / 4, (blur + 3) / 4, 1.0]]
    np.testing.assert_allclose(found.insertion_curves, expected, atol=1e-5)
    np.testing.assert_allclose(found.deletion_curves, [[1, 0.75, 0.5, 0.25, 0]], atol=1e-6)


@pytest.mark.parametrize(("n_steps", "step"), [(64, 1), (13, 5), (8, 8), (2, 32), (1, 64), (100, 1)])
def test_equals_a_plain_loop(n_steps, step):
    """Curves and areas are those of the definition, also where steps do not divide the image or exceed its pixels."""
    images, maps = inputs()
    scores = tiny_network()
    found = deletion_insertion(scores, images, maps, n_steps=n_steps, batch=7)
    assert found.deletion_curves.shape == (3, -(-64 // step) + 1)
    for index in range(3):
        deletion, insertion = plain_loop(scores, images[index], maps[index], step, blur_size(8))
        np.testing.assert_allclose(found.deletion_curves[index], deletion, atol=1e-5)
        np.testing.assert_allclose(found.insertion_curves[index], insertion, atol=1e-5)
        for area, curve in ((found.deletion, deletion), (found.insertion, insertion)):
            assert area[index] == pytest.approx(np.trapezoid(curve, np.linspace(0, 1, len(curve))), abs=1e-5)


def test_the_default_step_is_one_row():
    """RISE changes 224 pixels a step at 224 px: S steps."""
    images, maps = inputs()
    found = deletion_insertion(tiny_network(), images, maps)
    assert found.shares[1] == 8 / 64
    assert found.deletion_curves.shape == (3, 9)


def test_ends_of_the_curves():
    """Deletion runs from the clean image to grey, insertion from the blurred to the clean one."""
    images, maps = inputs()
    scores = tiny_network()
    found = deletion_insertion(scores, images, maps, n_steps=7)
    rows, chosen = torch.arange(3), torch.tensor(found.classes)
    clean = scores(images)
    smooth = scores(blurred(images, gaussian_kernel(*blur_size(8))))
    assert found.classes.tolist() == clean.argmax(1).tolist()
    np.testing.assert_allclose(found.deletion_curves[:, 0], clean[rows, chosen], atol=1e-6)
    np.testing.assert_allclose(found.deletion_curves[:, -1], 0.25, atol=1e-6)
    np.testing.assert_allclose(found.insertion_curves[:, 0], smooth[rows, chosen], atol=1e-6)
    np.testing.assert_allclose(found.insertion_curves[:, -1], clean[rows, chosen], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 9, 10, 1000])
def test_batch_size_changes_nothing(batch):
    """Batches that cut through images, hold several, or hold all give the same curves."""
    images, maps = inputs(4)
    reference = deletion_insertion(tiny_network(), images, maps, batch=64)
    found = deletion_insertion(tiny_network(), images, maps, batch=batch)
    np.testing.assert_allclose(found.deletion_curves, reference.deletion_curves, atol=1e-6)
    np.testing.assert_allclose(found.insertion_curves, reference.insertion_curves, atol=1e-6)


def test_batches_stay_small():
    """The model never sees more images at once than asked for."""
    images, maps = inputs(4)
    sizes = []

    def scores(rows):
        sizes.append(len(rows))
        return tiny_network()(rows)

    deletion_insertion(scores, images, maps, batch=5)
    assert max(sizes) == 5
    assert sum(sizes) == 4 * (3 + 2 * 7), "untouched, grey, blurred, and seven points between on each curve"


def test_given_classes_are_followed():
    """Another class than the arg-max gives that class's curve."""
    images, maps = inputs()
    scores = tiny_network()
    found = deletion_insertion(scores, images, maps, classes=np.array([2, 0, 3]))
    assert found.classes.tolist() == [2, 0, 3]
    deletion, _ = plain_loop(scores, images[1], maps[1], 8, blur_size(8), chosen=0)
    np.testing.assert_allclose(found.deletion_curves[1], deletion, atol=1e-5)


def test_ties_go_row_by_row():
    """Pixels that tie are changed in row-major order, so a constant map is the reading order."""
    assert pixel_order(torch.tensor([[1.0, 3.0], [3.0, 1.0]]), 1, [0, 1])[0].tolist() == [1, 2, 0, 3]
    assert pixel_order(torch.full((64, 64), 0.5), 1, [0, 1])[0].tolist() == list(range(64 * 64))


def test_a_constant_map_equals_the_reading_order():
    """An all-equal map is evaluated like any order, and the same on every run."""
    images, _ = inputs()
    reading = -torch.arange(64.0).view(1, 8, 8).expand(3, 8, 8)
    constant = deletion_insertion(tiny_network(), images, torch.zeros(3, 8, 8), n_steps=22)
    ordered = deletion_insertion(tiny_network(), images, reading, n_steps=22)
    np.testing.assert_array_equal(constant.deletion_curves, ordered.deletion_curves)
    np.testing.assert_array_equal(constant.insertion_curves, ordered.insertion_curves)


def test_only_the_order_counts():
    """Any rising function of the map gives the same result, its sigmoid included."""
    images, maps = inputs()
    plain = deletion_insertion(tiny_network(), images, maps)
    squashed = deletion_insertion(tiny_network(), images, (4 * maps - 2).sigmoid())
    np.testing.assert_array_equal(plain.deletion, squashed.deletion)


def test_a_map_that_knows_beats_its_opposite():
    """Where class 0 hangs on the left half, pointing left deletes and inserts faster than pointing right."""

    def left_half(images):
        p = images[..., :4].mean((1, 2, 3)).clamp(0, 1)
        return torch.stack([p, 1 - p], dim=1)

    left = torch.zeros(1, 8, 8)
    left[..., :4] = 1
    images, chosen = torch.ones(1, 3, 8, 8), torch.tensor([0])
    good = deletion_insertion(left_half, images, left, classes=chosen)
    bad = deletion_insertion(left_half, images, 1 - left, classes=chosen)
    assert good.deletion[0] < bad.deletion[0] - 0.4
    assert good.insertion[0] > bad.insertion[0]


@pytest.mark.parametrize(("side", "sigma"), [(11, 5.0), (3, 0.7), (25, 11.36), (1, 1.0)])
def test_the_kernel_is_rises(side, sigma):
    """The outer product of our axis is the delta that RISE passes through scipy's Gaussian filter."""
    axis = gaussian_kernel(side, sigma)
    np.testing.assert_allclose(np.outer(axis, axis), rise_kernel(side, sigma), atol=1e-12)
    assert axis.sum() == pytest.approx(1)


def test_the_blur_is_rises():
    """Axis after axis equals RISE's one convolution with zeros around, up to float32."""
    images, _ = inputs(2, side=32)
    kernel = torch.zeros(3, 3, 11, 11)
    for channel in range(3):
        kernel[channel, channel] = torch.tensor(rise_kernel(11, 5.0), dtype=torch.float32)
    theirs = conv2d(images, kernel, padding=5)
    torch.testing.assert_close(blurred(images, gaussian_kernel(11, 5.0)), theirs, atol=1e-5, rtol=0)


def test_the_blur_grows_with_the_side():
    """11 and 5 at 224 px; odd everywhere; never a kernel of one pixel, which would not blur."""
    assert blur_size(224) == (11, 5.0)
    assert blur_size(512)[0] == 25
    assert blur_size(8)[0] == 3
    assert all(blur_size(side)[0] % 2 == 1 for side in range(1, 600))


def test_area_is_the_trapezoid():
    """RISE's formula is the trapezoid rule over an axis of length 1."""
    curves = np.random.default_rng(0).random((2, 7))
    np.testing.assert_allclose(area_under_curve(curves), np.trapezoid(curves, dx=1 / 6, axis=-1))


def test_the_callers_world_is_left_alone():
    """A model that works in place touches only its own batch; images, maps and grad mode stay."""
    images, maps = inputs()
    images_before, maps_before = images.clone(), maps.clone()
    network = tiny_network()

    def in_place(rows):
        assert not torch.is_grad_enabled()
        result = network(rows)
        rows.zero_()
        return result

    found = deletion_insertion(in_place, images, maps)
    given = deletion_insertion(in_place, images, maps, classes=found.classes)
    assert torch.equal(images, images_before)
    assert torch.equal(maps, maps_before)
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal(found.deletion_curves, given.deletion_curves)
    np.testing.assert_array_equal(found.deletion_curves, deletion_insertion(network, images, maps).deletion_curves)


def test_grad_mode_returns_after_an_exception():
    """A model that fails leaves gradients switched on."""

    def broken(rows):
        raise RuntimeError("no such layer")

    with pytest.raises(RuntimeError, match="no such layer"):
        deletion_insertion(broken, *inputs())
    assert torch.is_grad_enabled()


def test_half_precision_scores():
    """Scores in bfloat16 are taken as they are."""
    images, maps = inputs()
    found = deletion_insertion(lambda rows: tiny_network()(rows).bfloat16(), images, maps)
    reference = deletion_insertion(tiny_network(), images, maps)
    np.testing.assert_allclose(found.deletion, reference.deletion, atol=0.02)


def test_no_image():
    """Nothing in, nothing out."""
    found = deletion_insertion(tiny_network(), torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8))
    assert found.deletion.shape == (0,)
    assert found.insertion_curves.shape == (0, 9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch": 0}, OptionError, "batch is 0"),
        ({"maps": torch.zeros(3, 4, 4)}, ValueError, "bring them to the images' grid"),
        ({"maps": torch.full((3, 8, 8), torch.nan)}, ModelError, "NaN"),
        ({"images": torch.zeros(3, 3, 8, 6)}, ValueError, "square"),
        ({"classes": torch.tensor([0, 1, 4])}, ValueError, r"0\.\.3"),
        ({"classes": torch.tensor([0])}, ValueError, "one class per image"),
        ({"scores": lambda rows: rows.flatten(1)}, ModelError, "not logits"),
        ({"scores": lambda rows: torch.full((len(rows), 2), torch.nan)}, ModelError, "NaN"),
        ({"scores": lambda rows: rows.mean((1, 2, 3))}, ValueError, r"\(B, K\)"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    """Maps on another grid, logits, NaN and impossible options are refused with what was expected."""
    images, maps = inputs()
    arguments = {"scores": tiny_network(), "images": images, "maps": maps} | change
    with pytest.raises(error, match=message):
        deletion_insertion(**arguments)
