"""Whether phase 1 has learned what it was shown: its training loss, from the history in the cards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from regaze.models.card import ModelCard, read_card
from regaze.study.folder import Study

#: Share of the way from chance to the least possible loss below which a model has hardly begun. On IDRiD (64 to 112
#: pixels, ResNet18 and EfficientNet-Lite0) trainings of 3 epochs went .10 to .16 of it, one .25, and ten epochs from
#: scratch .20 (kappa .45); those of ten from pretrained weights .30 to .53 (kappa .73 and more).
_BEGUN = 0.2


def training_loss(study: Study, name: str) -> dict[str, Any] | None:
    """The grade's loss while a model was trained, mean over its heads and the folds.

    Args:
        study: Whose model.
        name: A complete model.

    Returns:
        `first` and `last`: cross-entropy in the first and the last epoch; `chance`: of equal probabilities; `least`: of
        perfect ones, above 0 with label smoothing; `epochs`. None where a card has no history.
    """
    cards = [read_card(study.model_folder(name, fold)) for fold in study.folds]
    if not all(card.history for card in cards):
        return None
    means = np.mean([[epoch["grade"] / _heads(card) for epoch in card.history] for card in cards], axis=0)
    classes = len(study.classes)
    return {
        "first": float(means[0]),
        "last": float(means[-1]),
        "chance": math.log(classes),
        "least": _least(classes, float(cards[0].recipe["phase1"]["smoothing"])),
        "epochs": len(means),
    }


def unfinished(study: Study, name: str) -> str:
    """Say that a phase-1 model has hardly learned its own training photographs; empty where it has.

    The loss is that of augmented photographs under label smoothing, which a finished model brings far below chance; one
    that ends near it was trained too short or at the wrong rate, whatever it reaches on other photographs.
    """
    loss = training_loss(study, name)
    if loss is None or study.card(name).parent is not None:
        return ""
    way = (loss["chance"] - loss["last"]) / (loss["chance"] - loss["least"])
    if way >= _BEGUN:
        return ""
    return (
        f"{name} has not converged: its training loss per head ended at {loss['last']:.2f} (first epoch "
        f"{loss['first']:.2f}, chance {loss['chance']:.2f}, {loss['epochs']} epochs). Train longer (--epochs), or "
        "start from weights nearer to these photographs."
    )


def _heads(card: ModelCard) -> int:
    """Heads whose cross-entropies the grade's loss sums up: see `training.losses.classification_loss`."""
    blocks = {"plain": 0, "single-scale": 1}.get(card.network.network, card.network.scales)
    return 1 + blocks + (1 if blocks and card.network.maps == "one" else blocks)


def _least(classes: int, smoothing: float) -> float:
    """Entropy of a smoothed label."""
    other = smoothing / classes
    right = 1 - smoothing + other
    return -sum(share * math.log(share) for share in (right, *[other] * (classes - 1)) if share > 0)
