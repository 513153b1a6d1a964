"""The control of a model that learned from corrections: which model it is, and the command that makes it.

A control is trained equally long on the same draws of photographs, without the map loss. Of a model that learned grades
and maps together from the first step it is the phase-1 model of the same network, recipe and size.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from regaze.files import digest, identity, restored
from regaze.models.card import ModelCard, read_card
from regaze.study.folder import Study
from regaze.study.steps.supervision import corrections_of
from regaze.training.options import FinetuneOptions, TrainingOptions


def is_control(study: Study, name: str) -> bool:
    """True for a model that was fine-tuned, or trained on corrections, without the map loss."""
    recipe = study.card(name).recipe
    lesson = recipe.get("finetune", recipe.get("supervision"))
    return lesson is not None and lesson["map_weight"] == 0


def control_of(study: Study, name: str) -> str | None:
    """The latest control of a fine-tuned model; None for phase 1, for a control, and where there is none.

    It shares folds, parent and recipe but for `map_weight`, and the corrections where these decide which photographs
    an epoch draws (`replay` below 1).
    """
    card = study.card(name)
    if card.parent is None or is_control(study, name):
        return None
    if "supervision" in card.recipe:
        roots = {other: found for other, found in study.cards().items() if found.parent is None}
        same = [other for other, found in roots.items() if _phase1(found) == _phase1(card)]
        return card.parent if card.parent in same else same[-1] if same else None
    wanted = _training_of(study, name)
    tuned = [other for other in study.models() if is_control(study, other) and "finetune" in study.card(other).recipe]
    controls = [other for other in tuned if _training_of(study, other) == wanted]
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
        recipe = {**identity(restored(FinetuneOptions, card.recipe["finetune"])), "map_weight": None}
        shared.append([card.lineage[-1], recipe, card.corrections["fingerprint"] if recipe["replay"] < 1 else None])
    return shared


def control_command(study: Study, name: str) -> str | None:
    """The command line that makes a round's control; None where later corrections would change its draws."""
    if "supervision" in study.card(name).recipe:
        return None
    parent = str(study.card(name).parent)
    cards = {fold: read_card(study.model_folder(name, fold)) for fold in study.folds}
    recipe = cards[study.folds[0]].recipe["finetune"]
    if recipe["replay"] < 1 and not all(_is_current(study, parent, fold, card) for fold, card in cards.items()):
        return None
    words = ["regaze", "finetune", "STUDY", "--model", parent, "--map-weight", "0"]
    usual = asdict(FinetuneOptions(map_weight=recipe["map_weight"]))
    for key, value in recipe.items():
        if value not in (usual.get(key), []):
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{key.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _is_current(study: Study, parent: str, fold: int, card: ModelCard) -> bool:
    """Whether the study holds just the corrections that a model learned from."""
    entries = corrections_of(study, parent, fold, card.recipe["finetune"]["experts"])
    return bool(card.corrections["fingerprint"] == digest([entry.hash for entry in entries]))
