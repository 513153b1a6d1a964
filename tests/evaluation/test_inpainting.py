"""Promises of regaze.evaluation.inpainting."""

from __future__ import annotations

import pytest
import torch

from regaze.evaluation.faithfulness import Procedure, compare_orders
from regaze.evaluation.inpainting import inpainted
from regaze.evaluation.substrates import substituted


def image_with_a_hole(side, begin, end):
    """A noisy image (1, 3, S, S), and what is known of it: all but a square."""
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))
    known = torch.ones(side, side, dtype=torch.bool)
    known[begin:end, begin:end] = False
    return image, known


@pytest.mark.parametrize("side", [2, 7, 32, 33, 56])
def test_known_pixels_stay_to_the_last_bit(side):
    """Only what is gone is filled, at every side, and with no colour that the known pixels do not span."""
    image, known = image_with_a_hole(side, 0, max(1, side // 2))
    filled = inpainted(image, known)
    assert torch.equal(filled[:, :, known], image[:, :, known])
    for channel in range(3):
        seen, new = image[0, channel][known], filled[0, channel][~known]
        assert seen.min() - 1e-5 <= new.min() <= new.max() <= seen.max() + 1e-5


def test_what_is_gone_has_no_say():
    """The hole's own pixels, NaN even, change nothing: the model could not read them from the fill."""
    image, known = image_with_a_hole(32, 8, 20)
    other = torch.where(known, image, torch.nan)
    assert torch.equal(inpainted(image, known), inpainted(other, known))


def test_the_fill_is_smooth_and_follows_its_surroundings():
    """A slope is carried on across the hole, without the edges and grain that grey or noise would leave."""
    side = 64
    slope = torch.linspace(0, 1, side).expand(1, 3, side, side)
    known = torch.ones(side, side, dtype=torch.bool)
    known[20:36, 20:36] = False
    filled = inpainted(slope, known)
    assert (filled - slope).abs().max() < 0.12, "of a range of 1, in a hole of 16 pixels"
    step = 1 / (side - 1)
    assert filled.diff(dim=-1).abs().max() < 4 * step
    assert filled.diff(dim=-2).abs().max() < 4 * step
    noise, known = image_with_a_hole(64, 20, 44)
    deep = inpainted(noise, known)[0, :, 26:38, 26:38]
    assert deep.diff(dim=-1).abs().mean() < 0.1 * noise.diff(dim=-1).abs().mean()


def test_a_constant_photograph_cannot_be_told_from_its_fill():
    """Whatever is gone of one colour comes back as that colour, single pixels as well as halves."""
    image = torch.full((1, 3, 40, 40), 0.7)
    generator = torch.Generator().manual_seed(0)
    for share in (0.02, 0.5, 0.99):
        known = torch.rand(40, 40, generator=generator) >= share
        assert 0 < known.sum() < known.numel()
        torch.testing.assert_close(inpainted(image, known), image)


def brightness(images):
    """A classifier that sums: class 0's probability follows the mean of the image."""
    p = images.mean((1, 2, 3)).sigmoid()
    return torch.stack([p, 1 - p], dim=1)


def test_curves_by_inpainting_equal_a_plain_loop():
    """Each step of both modes is the image with the pixels of the steps so far gone, or alone there, and filled."""
    generator = torch.Generator().manual_seed(1)
    images, maps = torch.randn(2, 3, 8, 8, generator=generator), torch.rand(2, 8, 8, generator=generator)
    procedure = Procedure(n_steps=8, deletion="inpaint", insertion="inpaint")
    before = images.clone()
    result = compare_orders(brightness, images, {"map": maps}, procedure, batch=3)["map"]
    assert torch.equal(images, before)
    for index in range(2):
        image = images[index : index + 1]
        kind = int(brightness(image).argmax())
        order = maps[index].flatten().argsort(descending=True)
        nothing = float(brightness(substituted(image, "mean"))[0, kind])
        for curve, inserts in ((result.deletion_curves, False), (result.insertion_curves, True)):
            wanted = []
            for done in range(0, 65, 8):
                gone = torch.zeros(64, dtype=torch.bool)
                gone[order[done:] if inserts else order[:done]] = True
                known = ~gone.view(8, 8)
                full = float(brightness(inpainted(image, known))[0, kind]) if known.any() else nothing
                wanted.append(full)
            assert curve[index] == pytest.approx(wanted, abs=1e-6)


def test_random_pixels_hardly_matter_where_they_are_filled():
    """Half of the pixels gone by lot takes a smooth photograph's look away in grey, and leaves it when filled."""
    side = 32
    smooth = torch.linspace(-1, 1, side).outer(torch.linspace(-1, 1, side)).expand(1, 3, side, side)
    known = torch.rand(side, side, generator=torch.Generator().manual_seed(2)) >= 0.5
    grey = torch.where(known, smooth, torch.zeros(()))
    assert (inpainted(smooth, known) - smooth).abs().mean() < 0.2 * (grey - smooth).abs().mean()
