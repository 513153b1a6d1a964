"""Promises of Deletion and Insertion beyond RISE's defaults: steps, patches, substrates, several maps at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regaze.errors import ModelError, OptionError
from regaze.evaluation.faithfulness import Procedure, compare_orders
from regaze.evaluation.perturbation import pixel_order
from regaze.evaluation.substrates import SUBSTRATES, blur_size, blurred, gaussian_kernel, normalised_black, substituted


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
    return torch.randn(n, 3, side, side, generator=generator), torch.rand(n, side, side, generator=generator)


def plain_patches(scores, image, values, patch, step, start, finish):
    """One curve from the definition, patch by patch, with slices."""
    side = image.shape[-1]
    corners = [(top, left) for top in range(0, side, patch) for left in range(0, side, patch)]
    cuts = [(slice(top, top + patch), slice(left, left + patch)) for top, left in corners]
    order = sorted(range(len(cuts)), key=lambda i: (-float(values[cuts[i]].double().mean()), i))
    chosen = int(scores(image[None])[0].argmax())
    now, curve = start.clone(), [float(scores(start[None])[0, chosen])]
    for begin in range(0, len(order), step):
        for place in order[begin : begin + step]:
            now[:, cuts[place][0], cuts[place][1]] = finish[:, cuts[place][0], cuts[place][1]]
        curve.append(float(scores(now[None])[0, chosen]))
    return curve


@pytest.mark.parametrize(
    ("patch", "n_steps", "step"), [(2, 16, 1), (2, 6, 3), (3, 5, 2), (4, 1, 4), (5, 4, 1), (8, 1, 1), (20, 1, 1)]
)
def test_patches_equal_a_plain_loop(patch, n_steps, step):
    """Squares change as one by the mean of their map, also where they do not divide the side."""
    images, maps = inputs()
    scores = tiny_network()
    found = deletion_insertion(scores, images, maps, patch=patch, n_steps=n_steps)
    for index, image in enumerate(images):
        smooth = blurred(image[None], gaussian_kernel(*blur_size(8)))[0]
        deletion = plain_patches(scores, image, maps[index], patch, step, image, torch.zeros_like(image))
        insertion = plain_patches(scores, image, maps[index], patch, step, smooth, image)
        np.testing.assert_allclose(found.deletion_curves[index], deletion, atol=1e-5)
        np.testing.assert_allclose(found.insertion_curves[index], insertion, atol=1e-5)


def test_patches_by_hand():
    """3 x 3 in patches of 2: one whole, two halves, one corner; a corner's mean is not diluted by what is cut off."""
    values = torch.tensor([[1.0, 1.0, 9.0], [1.0, 1.0, 0.0], [4.0, 4.0, 5.0]])
    order, cuts = pixel_order(values, 2, [0, 0.25, 0.5, 0.75, 1])
    # Means: 1 (upper left), 4.5 (upper right), 4 (lower left), 5 (corner).
    assert order.tolist() == [8, 2, 5, 6, 7, 0, 1, 3, 4]
    assert cuts == [0, 1, 3, 5, 9]


def test_patches_that_tie_go_row_by_row():
    """A constant map in patches is the reading order of the patches, cut ones too."""
    order, _ = pixel_order(torch.full((5, 5), 0.1), 2, [0, 1])
    assert order[:4].tolist() == [0, 1, 5, 6]
    assert order[-1] == 24


def test_steps_are_counted():
    """A number of steps is the share of pixels that makes them; where it does not divide there may be fewer."""
    images, maps = inputs()
    even = deletion_insertion(tiny_network(), images, maps, n_steps=16)
    assert even.shares.tolist() == [4 * k / 64 for k in range(17)]
    uneven = deletion_insertion(tiny_network(), images, maps, n_steps=24)
    assert uneven.deletion_curves.shape[1] == 23
    assert uneven.shares.tolist() == [*(3 * k / 64 for k in range(22)), 1.0]
    assert deletion_insertion(tiny_network(), images, maps, patch=3).shares.tolist() == [0, 1 / 3, 2 / 3, 1], "by row"


def test_substrates_by_hand():
    """Each substrate of a 2 x 2 image: its value, in each channel; `blur` is RISE's for the side."""
    image = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).expand(1, 3, 2, 2) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    black = normalised_black((0.5, 0.4, 0.2), (0.25, 0.2, 0.1))
    assert black == (-2.0, -2.0, -2.0)
    assert substituted(image, "grey").unique().tolist() == [0]
    assert substituted(image, "black", black=(-2, -1, 0))[0, :, 1, 0].tolist() == [-2, -1, 0]
    assert substituted(image, "mean")[0, :, 0, 1].tolist() == [2, 4, 6]
    # A 3 x 3 box with zeros around reaches all four pixels from each of them.
    torch.testing.assert_close(blurred(image, gaussian_kernel(3, 1000.0))[0, 0], torch.full((2, 2), 8 / 9))
    torch.testing.assert_close(substituted(image, "blur"), blurred(image, gaussian_kernel(*blur_size(2))))


FIXED = [kind for kind in SUBSTRATES if kind != "inpaint"]  # that one depends on what is gone: see test_inpainting


@pytest.mark.parametrize("deletion", FIXED)
@pytest.mark.parametrize("insertion", FIXED)
def test_curves_run_between_image_and_substrate(deletion, insertion):
    """Deletion ends on its substrate, Insertion starts from its own, and all between equals a plain loop."""
    images, maps = inputs()
    scores = tiny_network()
    black = (-2.0, -1.5, -1.0)
    found = deletion_insertion(scores, images, maps, n_steps=10, deletion=deletion, insertion=insertion, black=black)
    gone, start = (substituted(images, kind, black=black) for kind in (deletion, insertion))
    for index, image in enumerate(images):
        wanted = plain_patches(scores, image, maps[index], 1, 7, image, gone[index])
        np.testing.assert_allclose(found.deletion_curves[index], wanted, atol=1e-5)
        wanted = plain_patches(scores, image, maps[index], 1, 7, start[index], image)
        np.testing.assert_allclose(found.insertion_curves[index], wanted, atol=1e-5)


@pytest.mark.parametrize(("deletion", "insertion"), [("inpaint", "blur"), ("grey", "inpaint")])
def test_inpainting_goes_with_the_others(deletion, insertion):
    """Inpainting one way leaves the other way's curve as it is, and ends on the photograph's mean colour."""
    images, maps = inputs()
    scores = tiny_network()
    found = deletion_insertion(scores, images, maps, n_steps=10, deletion=deletion, insertion=insertion)
    usual = deletion_insertion(scores, images, maps, n_steps=10)
    same = "deletion_curves" if deletion == "grey" else "insertion_curves"
    np.testing.assert_allclose(getattr(found, same), getattr(usual, same), atol=1e-6)
    blank = scores(substituted(images, "mean")).gather(1, torch.tensor(found.classes)[:, None])[:, 0]
    end = found.deletion_curves[:, -1] if deletion == "inpaint" else found.insertion_curves[:, 0]
    np.testing.assert_allclose(end, blank, atol=1e-6)


def test_several_maps_share_what_they_can():
    """Several maps give what each gives alone, with the untouched image and the substrates asked once."""
    images, maps = inputs()
    rows = []

    def counting(batch):
        rows.append(len(batch))
        return tiny_network()(batch)

    found = compare_orders(counting, images, {"one": maps, "other": (-maps).numpy()}, batch=5)
    assert list(found) == ["one", "other"]
    assert sum(rows) == 3 * (3 + 2 * 2 * 7)
    assert max(rows) == 5
    for name, own in (("one", maps), ("other", -maps)):
        alone = deletion_insertion(tiny_network(), images, own)
        np.testing.assert_allclose(found[name].deletion_curves, alone.deletion_curves, atol=1e-6)
        np.testing.assert_allclose(found[name].insertion, alone.insertion, atol=1e-6)
        assert found[name].classes.tolist() == alone.classes.tolist()
    rows.clear()
    compare_orders(counting, images, {"one": maps}, Procedure(insertion="grey"))
    assert sum(rows) == 3 * (2 + 2 * 7), "one substrate for both modes is asked once"


def test_a_map_that_is_not_finite_is_named():
    """One photograph's map of NaN is refused by the name of the maps."""
    images, maps = inputs()
    maps[1] = torch.nan
    with pytest.raises(ModelError, match="'partial' holds NaN"):
        compare_orders(tiny_network(), images, {"partial": maps})


def test_progress_counts_images():
    """Progress is told after each image."""
    seen = []
    images, maps = inputs()
    compare_orders(tiny_network(), images, {"map": maps}, progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_channels_last_images():
    """Images in another memory layout give the same."""
    images, maps = inputs()
    found = deletion_insertion(tiny_network(), images.contiguous(memory_format=torch.channels_last), maps)
    np.testing.assert_allclose(found.deletion, deletion_insertion(tiny_network(), images, maps).deletion, atol=1e-6)


def test_memory_is_flat():
    """Sixteen times the steps and eight times the images keep no more than a batch: 350 MB of rows pass through."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("the system has no high-water mark that can be reset")

    def peak():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    images, maps = inputs(8, side=64)
    deletion_insertion(mean_brightness_of_any, images[:1], maps[:1], n_steps=16)
    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("the system's high-water mark cannot be reset")
    before = peak()
    rows = []
    deletion_insertion(
        lambda batch: rows.append(len(batch)) or mean_brightness_of_any(batch), images, maps, n_steps=512
    )
    passed = sum(rows) * images[0].numel() * 4 / 2**20
    assert passed > 350
    assert peak() - before < 50


def mean_brightness_of_any(images):
    """As `mean_brightness`, of images of any range."""
    p = images.mean((1, 2, 3)).sigmoid()
    return torch.stack([p, 1 - p], dim=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 0}, "n_steps is 0"),
        ({"patch": 0}, "patch is 0"),
        ({"deletion": "white"}, "pass one of grey, black, mean, blur"),
        ({"insertion": "black"}, r"black=normalised_black\(mean, std\)"),
        ({"deletion": "black", "black": (0.0,)}, "given 1 values"),
    ],
)
def test_impossible_procedures_are_refused(change, message):
    """What cannot be done is refused before the model is asked, with what can."""

    def never(_):
        raise AssertionError("the model was asked")

    with pytest.raises(OptionError, match=message):
        deletion_insertion(never, *inputs(), **change)


def test_late_nonsense_is_refused():
    """A model whose scores break after the first batch is refused as well."""
    images, maps = inputs()
    calls = []

    def breaking(batch):
        calls.append(len(batch))
        return tiny_network()(batch) * (torch.nan if len(calls) == 3 else 1)

    with pytest.raises(ModelError, match="NaN"):
        deletion_insertion(breaking, images, maps, batch=4)
