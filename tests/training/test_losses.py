"""Losses with answers known by hand."""

import math

import pytest
import torch
from torch.nn import functional

from regaze.models.network import Output
from regaze.training.losses import classification_loss, grade_loss, map_loss, soft_labels
from regaze.training.targets import Target

LAMBDA = 5.0


def square(*values):
    """(1, 1, 2, 2) map."""
    return torch.tensor(values).view(1, 1, 2, 2)


def loss_of(maps, values, corrected, weight, kind="norm", claim=None):
    """`map_loss` of maps against targets that claim every cell, unless `claim` says which."""
    claim = [torch.ones_like(item) for item in values] if claim is None else [claim]
    targets = [Target(value, one, (value > 0.5).float()) for value, one in zip(values, claim, strict=True)]
    logits = [torch.logit(item, eps=1e-6) for item in maps]
    return map_loss(Output(torch.zeros(1), own_logits=logits, own_maps=list(maps)), targets, corrected, weight, kind)


def test_map_loss_by_hand():
    """λ / sqrt(H W) times the norm: differences 0.3 and 0.4 on a 2x2 map give λ / 2 x 0.5."""
    loss = loss_of([square(0.5, 0.2, 0.9, 1.0)], [square(0.2, 0.2, 0.5, 1.0)], torch.tensor([True]), LAMBDA)
    assert loss.item() == pytest.approx(LAMBDA / 2 * 0.5, abs=1e-6)


def test_map_loss_is_not_squared():
    """Twice the difference gives twice the loss, not four times."""
    one, two = (
        loss_of([square(x, x, x, x)], [square(0.0, 0.0, 0.0, 0.0)], torch.tensor([True]), 1.0) for x in (0.4, 0.8)
    )
    assert (two / one).item() == pytest.approx(2, abs=1e-5)


def test_map_loss_does_not_grow_with_the_grid():
    """λ_l makes one and the same error everywhere cost the same on every grid; scales add up."""
    maps = [torch.full((1, 1, side, side), 0.75) for side in (2, 8, 32)]
    targets = [torch.full_like(item, 0.25) for item in maps]
    corrected = torch.tensor([True])
    assert [round(loss_of([m], [t], corrected, 1.0).item(), 5) for m, t in zip(maps, targets, strict=True)] == [0.5] * 3
    assert loss_of(maps, targets, corrected, 2.0).item() == pytest.approx(3.0, abs=1e-5)


def test_map_loss_is_a_mean_over_corrected_photographs_only():
    """Norms 1 and 2 of the corrected ones: mean 1.5 x λ / 2; the uncorrected one does not count, nor dilute."""
    maps = torch.cat([square(1.0, 0.0, 0.0, 0.0), square(0.9, 0.1, 0.7, 0.3), square(1.0, 1.0, 1.0, 1.0)])
    loss = loss_of([maps], [torch.zeros_like(maps)], torch.tensor([True, False, True]), LAMBDA)
    assert loss.item() == pytest.approx(LAMBDA / 2 * 1.5, abs=1e-6)


def test_without_corrections_there_is_no_loss_and_no_gradient():
    """Exactly zero, also where the uncorrected target is NaN."""
    for value in (0.0, float("nan")):
        maps = torch.rand(2, 1, 2, 2, requires_grad=True)
        loss = loss_of([maps], [torch.full((2, 1, 2, 2), value)], torch.tensor([False, False]), LAMBDA)
        assert loss.item() == 0
        loss.backward()
        assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_an_uncorrected_photograph_gets_no_gradient_whatever_its_target_holds():
    """NaN in the target of an uncorrected photograph touches neither the loss nor anybody's gradient."""
    maps = torch.rand(2, 1, 2, 2, requires_grad=True)
    gradients = []
    for value in (0.3, float("nan")):
        target = torch.cat([torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), value)])
        loss = loss_of([maps], [target], torch.tensor([True, False]), LAMBDA)
        gradients.append(torch.autograd.grad(loss, maps)[0])
    assert torch.equal(gradients[0], gradients[1])
    assert gradients[0][0].abs().min() > 0
    assert not gradients[0][1].any()


def test_the_gradient_is_finite_where_map_and_target_agree():
    """The norm has no derivative at 0; the ε under the root makes it 0 there."""
    maps = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    loss = loss_of([maps], [torch.full((1, 1, 2, 2), 0.5)], torch.tensor([True]), LAMBDA)
    loss.backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))
    assert loss.item() == pytest.approx(LAMBDA / 2 * 1e-4, rel=1e-3)


def test_half_precision_maps_are_compared_in_fp32():
    """A bf16 map gives an fp32 loss."""
    loss = loss_of([torch.ones(1, 1, 2, 2).bfloat16()], [torch.zeros(1, 1, 2, 2)], torch.tensor([True]), 1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1, abs=1e-6)


def test_ordinal_labels_by_hand():
    """Weights exp(-d² / 2·0.6²) on the neighbours, divided by their sum; smoothing last."""
    one, two = math.exp(-1 / 0.72), math.exp(-4 / 0.72)
    total = one + 1 + one + two
    wanted = torch.tensor([[one / total, 1 / total, one / total, two / total]])
    torch.testing.assert_close(soft_labels(torch.tensor([1]), 4, "ordinal", 0.0), wanted)
    torch.testing.assert_close(soft_labels(torch.tensor([1]), 4, "ordinal", 0.2), 0.8 * wanted + 0.05)


@pytest.mark.parametrize("kind", ["ordinal", "cross-entropy"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_labels_are_distributions_that_peak_at_the_grade(kind, smoothing):
    """Rows sum to 1 with the grade on top; a photograph without a grade has a row of zeros."""
    labels = torch.tensor([0, 1, 2, 3, 4, -1])
    target = soft_labels(labels, 5, kind, smoothing)
    torch.testing.assert_close(target.sum(1), torch.tensor([1.0, 1, 1, 1, 1, 0]))
    assert not target[5].any()
    assert (target >= 0).all()
    if smoothing < 1:
        assert torch.equal(target[:5].argmax(1), labels[:5])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_cross_entropy_is_torchs(smoothing):
    """Independent reference: torch's own label smoothing and ignored index."""
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)) * 4
    labels = torch.tensor([0, 4, -1, 2, 2, -1])
    found = grade_loss(logits, soft_labels(labels, 5, "cross-entropy", smoothing))
    wanted = functional.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=smoothing)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-6)


def test_soft_labels_are_torchs_cross_entropy_with_probabilities():
    """Independent reference for the ordinal loss: torch takes target distributions too."""
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    target = soft_labels(torch.tensor([0, 1, 2, 4]), 5, "ordinal", 0.1)
    assert grade_loss(logits, target).item() == pytest.approx(functional.cross_entropy(logits, target).item(), abs=1e-6)


def test_a_photograph_without_a_grade_gives_no_loss():
    """It adds nothing and does not dilute the mean; alone it gives exactly zero with zero gradient."""
    logits = torch.randn(3, 5, requires_grad=True)
    labels = torch.tensor([1, -1, 3])
    both = grade_loss(logits, soft_labels(labels, 5, "ordinal", 0.1))
    kept = grade_loss(logits[[0, 2]], soft_labels(labels[[0, 2]], 5, "ordinal", 0.1))
    torch.testing.assert_close(both, kept)
    both.backward()
    assert not logits.grad[1].any()
    logits.grad = None
    alone = grade_loss(logits, soft_labels(torch.tensor([-1, -1, -1]), 5, "ordinal", 0.1))
    alone.backward()
    assert alone.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_classification_loss_is_the_sum_of_all_terms():
    """Σ_l (L_att + L_per) + the fused grade's own: seven terms with three scales, one in a plain network."""
    generator = torch.Generator().manual_seed(2)
    logits = [torch.randn(2, 5, generator=generator) for _ in range(7)]
    target = soft_labels(torch.tensor([0, 3]), 5, "ordinal", 0.1)
    output = Output(logits[0], attention_logits=logits[1:4], perception_logits=logits[4:])
    wanted = sum(functional.cross_entropy(item, target) for item in logits)
    torch.testing.assert_close(classification_loss(output, target), wanted)
    torch.testing.assert_close(
        classification_loss(Output(logits[0]), target), functional.cross_entropy(logits[0], target)
    )


MAP = (0.8, 0.4, 0.2, 0.0)  # against M' = (1, 0, 0, 0), whose first cell is the lesion
BY_HAND = {
    "norm": math.sqrt(0.04 + 0.16 + 0.04) / 2,
    "mse": (0.04 + 0.16 + 0.04) / 4,
    "l1": (0.2 + 0.4 + 0.2) / 4,
    "bce": -(math.log(0.8) + math.log(0.6) + math.log(0.8)) / 4,
    "dice": 1 - 2 * 0.8 / (0.64 + 0.16 + 0.04 + 1),
    "energy": 1 - 0.8 / 1.4,
    "outside": (0.16 + 0.04) / 3,
}


@pytest.mark.parametrize(("kind", "wanted"), BY_HAND.items())
def test_every_map_loss_by_hand(kind, wanted):
    """One map, one lesion cell: each distance as its formula gives it, times λ."""
    loss = loss_of([square(*MAP)], [square(1.0, 0.0, 0.0, 0.0)], torch.tensor([True]), LAMBDA, kind)
    assert loss.item() == pytest.approx(LAMBDA * wanted, abs=1e-4)


@pytest.mark.parametrize("kind", BY_HAND)
def test_unclaimed_cells_pull_on_nothing(kind):
    """Where the expert said nothing, no distance has a gradient and no value changes it."""
    claim = square(1.0, 1.0, 0.0, 0.0)
    results = []
    for rest in (0.2, 0.9):
        maps = square(0.8, 0.4, rest, rest).requires_grad_()
        loss = loss_of([maps], [square(1.0, 0.0, 0.0, 1.0)], torch.tensor([True]), 1.0, kind, claim)
        (gradient,) = torch.autograd.grad(loss, maps)
        assert torch.equal(gradient[0, 0, 1], torch.zeros(2))
        assert gradient[0, 0, 0].abs().sum() > 0
        results.append(loss.item())
    assert results[0] == pytest.approx(results[1], abs=1e-7)


@pytest.mark.parametrize("kind", BY_HAND)
def test_look_nowhere_darkens_the_map(kind):
    """An empty target is a wish for an empty map: the loss is above zero, finite, and falls with the map."""
    maps = square(0.9, 0.5, 0.3, 0.1).requires_grad_()
    loss = loss_of([maps], [torch.zeros(1, 1, 2, 2)], torch.tensor([True]), 1.0, kind)
    (gradient,) = torch.autograd.grad(loss, maps)
    assert loss.item() > 0
    assert torch.isfinite(gradient).all()
    assert (gradient > 0).all()


@pytest.mark.parametrize("kind", [kind for kind in BY_HAND if kind not in ("energy", "outside")])
def test_a_perfect_map_costs_nothing(kind):
    """The distances to M' are 0 (to the ε under the root) where the map is M'."""
    target = square(1.0, 0.0, 0.0, 1.0)
    assert loss_of([target], [target], torch.tensor([True]), 1.0, kind).item() == pytest.approx(0, abs=1e-4)


def test_outside_leaves_the_lesion_free():
    """`outside` has no gradient inside the lesion."""
    maps = square(*MAP).requires_grad_()
    loss = loss_of([maps], [square(1.0, 0.0, 0.0, 0.0)], torch.tensor([True]), 1.0, "outside")
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient[0, 0, 0, 0] == 0
    assert gradient[0, 0, 0, 1] > 0


def test_corrections_weigh_as_their_authors_do():
    """Norms 1 and 2 with weights 1 and 3: their weighted mean 1.75; equal weights of any size are the plain mean."""
    maps = torch.cat([square(1.0, 0.0, 0.0, 0.0), square(1.0, 1.0, 1.0, 1.0)])
    values = [torch.zeros_like(maps)]
    assert loss_of([maps], values, torch.tensor([1.0, 3.0]), 2.0).item() == pytest.approx(1.75, abs=1e-6)
    for weight in (1.0, 0.01):
        found = loss_of([maps], values, torch.tensor([weight, weight]), 2.0).item()
        assert found == pytest.approx(1.5, abs=1e-6)
