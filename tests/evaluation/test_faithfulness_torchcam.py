"""Deletion and Insertion against torchcam's metric, an implementation that is not ours.

torchcam 0.5.0 differs from RISE, and so from us, in: one baseline for both curves (zeros, where RISE's Insertion starts
from a blur); areas over the share of pixels that are changed (RISE counts each step alike, also a shorter last one);
20 steps by default; raw logits unless `logits_fn` is a softmax; images whose map holds NaN are left out and counted
(we refuse them). Ties fall alike. Each is matched here through options.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from regaze.evaluation.faithfulness import Procedure, compare_orders
from regaze.evaluation.substrates import substituted

metrics = pytest.importorskip("torchcam.metrics")  # of the extra `dev`; without it there is no peer to compare with

SIDE = 32


class GivenMaps:
    """Stands where torchcam has an extractor, with maps that are there already."""

    def __init__(self, model, maps):
        self.model, self.maps = model, maps

    def __call__(self, *_, **__):
        """The maps, whatever was asked for."""
        return [self.maps]

    def fuse_cams(self, cams):
        """The maps."""
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


def network():
    """A small convolutional network with strong opinions."""
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    ).eval()
    with torch.no_grad():
        found(torch.zeros(1, 3, SIDE, SIDE))
        found[-1].weight *= 40
    return found


def inputs():
    """Four images, maps with and without ties."""
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(4, SIDE, SIDE, generator=generator)
    maps[1] = (maps[1] * 4).round()
    maps[2] = 0.5
    return torch.randn(4, 3, SIDE, SIDE, generator=generator), maps


def theirs(model, images, maps, steps, baseline=None):
    """Deletion and insertion of each image, by a metric of its own (torchcam gives the mean of what it saw)."""
    found = []
    for image, values in zip(images, maps, strict=True):
        metric = metrics.DeletionInsertionMetric(
            GivenMaps(model, values[None]), lambda logits: logits.softmax(1), steps=steps, baseline=baseline
        )
        metric.update(image[None])
        summary = metric.summary()
        found.append((summary["deletion_auc"], summary["insertion_auc"]))
    return np.array(found).T


def ours(model, images, maps, **options):
    """Our result."""
    return compare_orders(lambda rows: model(rows).softmax(1), images, {"map": maps}, Procedure(**options))["map"]


@pytest.mark.parametrize("steps", [1, 16, 32, 256])
def test_equals_torchcam(steps):
    """Where steps divide the image, with grey for both curves: the same areas to 1e-4."""
    model, (images, maps) = network(), inputs()
    found = ours(model, images, maps, n_steps=steps, insertion="grey")
    deletion, insertion = theirs(model, images, maps, steps)
    assert found.deletion.std() > 0.02, "images with different areas, or the comparison says nothing"
    np.testing.assert_allclose(found.deletion, deletion, atol=1e-4)
    np.testing.assert_allclose(found.insertion, insertion, atol=1e-4)


@pytest.mark.parametrize("steps", [3, 20, 100])
def test_equals_torchcam_with_a_shorter_last_step(steps):
    """Where they do not divide it, over torchcam's axis: the share of pixels that are changed."""
    model, (images, maps) = network(), inputs()
    found = ours(model, images, maps, n_steps=steps, insertion="grey")
    deletion, insertion = theirs(model, images, maps, steps)
    assert found.shares[-1] - found.shares[-2] < found.shares[1]
    np.testing.assert_allclose(np.trapezoid(found.deletion_curves, found.shares), deletion, atol=1e-4)
    np.testing.assert_allclose(np.trapezoid(found.insertion_curves, found.shares), insertion, atol=1e-4)


@pytest.mark.parametrize("substrate", ["blur", "mean", "black"])
def test_equals_torchcam_with_other_baselines(substrate):
    """RISE's blur and our other substrates, given to torchcam as its baseline: the same areas for both curves."""
    model, (images, maps) = network(), inputs()
    black = (-2.0, -1.5, -1.0)
    found = ours(model, images, maps, n_steps=16, deletion=substrate, insertion=substrate, black=black)
    deletion, insertion = theirs(model, images, maps, 16, lambda batch: substituted(batch, substrate, black))
    np.testing.assert_allclose(found.deletion, deletion, atol=1e-4)
    np.testing.assert_allclose(found.insertion, insertion, atol=1e-4)


def test_both_together_are_rises():
    """Our defaults are torchcam's deletion with zeros and its insertion with a blurred baseline."""
    model, (images, maps) = network(), inputs()
    found = ours(model, images, maps)
    np.testing.assert_allclose(found.deletion, theirs(model, images, maps, SIDE)[0], atol=1e-4)
    blurry = theirs(model, images, maps, SIDE, lambda batch: substituted(batch, "blur"))
    np.testing.assert_allclose(found.insertion, blurry[1], atol=1e-4)
