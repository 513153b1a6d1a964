"""The control of a model that learned from corrections: which model it is, and the command that makes it.

A control is trained equally long on the same draws of photographs, without the map loss. Of a model that learned grades
and maps together from the first step it is the phase-1 model of the same network, recipe and size.
"""

from __future__ import annotations

import shlex
from typing import Any

from regaze.files import digest, identity, restored
from regaze.models.card import ModelCard, read_card
from regaze.models.options import NetworkOptions
from regaze.study.folder import Study
from regaze.study.options import option_words
from regaze.study.steps.supervision import corrections_of
from regaze.training.options import FinetuneOptions, TrainingOptions


def is_control(study: Study, name: str) -> bool:
    """True for a model that was fine-tuned without learning anything from corrections."""
    recipe = study.card(name).recipe
    return "finetune" in recipe and not restored(FinetuneOptions, recipe["finetune"]).learns


def control_of(study: Study, name: str) -> str | None:
    """The latest control of a model that learned from corrections; None for phase 1, a control, and where none is.

    Of a fine-tuned model it shares folds, parent and recipe but for what is learned from corrections, and the
    corrections where these decide which photographs an epoch draws (`replay` below 1).
    """
    card = study.card(name)
    if card.parent is None or is_control(study, name):
        return None
    if "supervision" in card.recipe:
        roots = {other: found for other, found in study.cards().items() if found.parent is None}
        same = [other for other, found in roots.items() if _phase1(found) == _phase1(card)]
        return card.parent if card.parent in same else same[-1] if same else None
    wanted = _training_of(study, name)
    controls = [other for other in study.models() if is_control(study, other) and _training_of(study, other) == wanted]
    return controls[-1] if controls else None


def _phase1(card: ModelCard) -> list[Any]:
    """What a model that was trained on corrections shares with the phase-1 model that is its control."""
    machine = card.details["machine"]["precision"]
    return [card.network, card.size, identity(restored(TrainingOptions, card.recipe["phase1"])), machine]


def _training_of(study: Study, name: str) -> list[Any]:
    """What a fine-tuned model and its control share, fold by fold."""
    shared = []
    for fold in study.folds:
        card = read_card(study.model_folder(name, fold))
        recipe = identity(restored(FinetuneOptions, card.recipe["finetune"]).control())
        shared.append([card.lineage[-1], recipe, card.corrections["fingerprint"] if recipe["replay"] < 1 else None])
    return shared


def control_command(study: Study, name: str) -> str | None:
    """The command line that makes a round's control; None where later corrections would change its draws."""
    cards = {fold: read_card(study.model_folder(name, fold)) for fold in study.folds}
    card = cards[study.folds[0]]
    if "supervision" in card.recipe:
        recipe = restored(TrainingOptions, card.recipe["phase1"])
        size = [] if card.size == study.options.size else ["--size", str(card.size)]
        words = ["regaze", "train", "STUDY", "--name", f"{name}-control", *size]
        return shlex.join(
            [*words, *option_words(card.network, NetworkOptions()), *option_words(recipe, TrainingOptions())]
        )
    tuned = restored(FinetuneOptions, card.recipe["finetune"]).control()
    if tuned.replay < 1 and not all(_is_current(study, str(card.parent), fold, one) for fold, one in cards.items()):
        return None
    words = ["regaze", "finetune", "STUDY", "--model", str(card.parent), "--map-weight", "0"]
    return shlex.join([*words, *option_words(tuned, FinetuneOptions().control())])


def _is_current(study: Study, parent: str, fold: int, card: ModelCard) -> bool:
    """Whether the study holds just the corrections that a model learned from."""
    entries = corrections_of(study, parent, fold, card.recipe["finetune"]["experts"])
    return bool(card.corrections["fingerprint"] == digest([entry.hash for entry in entries]))
