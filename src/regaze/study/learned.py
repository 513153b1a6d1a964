"""What a study's models learned from, also one that was made elsewhere and put into its folder."""

from __future__ import annotations

from regaze.models.card import ModelCard, read_card
from regaze.models.learned import Learned, read_learned
from regaze.study.folder import Study


def learned_by(study: Study, name: str, fold: int) -> Learned:
    """What a fold's model learned from: as its folder says; made here by an earlier version, as the split says.

    Args:
        study: Whose model.
        name: The model's.
        fold: Of its folds.

    Raises:
        ModelError: The folder is damaged.
    """
    folder = study.model_folder(name, fold)
    card = read_card(folder)
    learned = read_learned(folder, card)
    if "learned" in card.data or not _made_here(study, card, fold):
        return learned
    return Learned(frozenset(sample.content for sample in study.training(fold)), frozenset())


def _made_here(study: Study, card: ModelCard, fold: int) -> bool:
    """Whether a model of an earlier version was made in this very study, by all that its card says."""
    here = {
        "fingerprint": study.dataset.fingerprint,
        "folds": study.options.folds,
        "fold": fold,
        "n_training": len(study.training(fold)),
    }
    known = all(card.data.get(key) == value for key, value in here.items())
    return known and card.details.get("seed") == study.options.seed
