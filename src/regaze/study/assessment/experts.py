"""How far experts agree with each other on where to look, and whether a model reaches what they reach.

Everything is compared in cropped pixels, the square that the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.corrections.consensus import PairAgreement, agreement
from regaze.errors import StudyError
from regaze.evaluation.intervals import mean_interval, paired_mean_difference
from regaze.evaluation.verdicts import Verdict, compare, judge
from regaze.models.card import read_card
from regaze.study.assessment.overlap import LISTED
from regaze.study.folder import Study
from regaze.study.lesions import enlarge
from regaze.study.steps.collect import read_collected, read_fused
from regaze.study.steps.supervision import corrections_of

MODEL_NAME = "the model"


@dataclass(frozen=True)
class PairSummary:
    """Two authors of masks of the same photographs.

    Attributes:
        first, second: Authors; `the model` for the model's map.
        n: Photographs of which both have a mask.
        n_both_empty: Of them, those where both masks are empty (they agree).
        dice, iou, kappa, tolerant_dice: Means over the n photographs, see `corrections.consensus.PairAgreement`.
        dice_interval: [low, high] of the mean Dice, 95 %, resampled by patient.
    """

    first: str
    second: str
    n: int
    n_both_empty: int
    dice: float
    iou: float
    kappa: float
    tolerant_dice: float
    dice_interval: list[float | None]


@dataclass(frozen=True)
class ExpertAgreement:
    """Agreement of each pair of experts, and of the model with them.

    Attributes:
        pairs: Experts first, then the model with each of them.
        model_against_experts: Dice of the model with experts minus that of experts among themselves, paired on the
            photographs that two experts corrected, as `paired_mean_difference` gives it.
        n: Number of photographs.
        learned: Those of them whose corrections the model learned from.
    """

    pairs: list[PairSummary]
    model_against_experts: dict[str, Any]
    n: int = 0
    learned: tuple[str, ...] = ()

    @property
    def learned_words(self) -> str:
        """Of how many photographs the model learned what it is held to."""
        return f"of {len(self.learned)} of the {self.n} photographs the model learned these very corrections"

    @property
    def verdict(self) -> Verdict:
        """What that difference says: equivalent or improved where the model reaches what experts reach."""
        return judge(compare(self.model_against_experts), "dice")


_Item = tuple[str | None, PairAgreement]  # the photograph's patient, None: unknown


def agree(study: Study, name: str, tolerance: float = 0.0, *, allow_overlap: bool = False) -> ExpertAgreement:
    """Compare all experts who corrected a model's maps, and the model's collected maps with each of them.

    The model's map is cut where it is highest, at as many pixels as the photograph's experts marked in the mean.

    Args:
        study: Whose corrections.
        name: The model whose maps were corrected and collected; corrections of its relatives' maps count too.
        tolerance: For `tolerant_dice`, in cropped pixels.
        allow_overlap: Hold a model to corrections that it learned from, too.

    Raises:
        StudyError: The model is missing, its maps were not collected, nobody corrected any of them, or it learned from
            corrections that it would be held to.
    """
    card = study.require_model(name)
    root, side = card.root, card.size
    learned: set[str] = set()
    photographs: list[tuple[str | None, list[PairAgreement]]] = []
    for fold in study.folds:
        rows = {item.sample: row for row, item in enumerate(read_collected(study, name, fold))}
        samples = [sample for sample in study.training(fold) if sample.id in rows]
        patients = {sample.id: sample.patient for sample in samples}
        geometries = dict(zip(patients, study.pixels(samples, side).geometries, strict=True))
        taught = set(read_card(study.model_folder(name, fold)).corrections.get("ids", ()))
        looks: dict[str, dict[str, NDArray[np.bool_]]] = {}  # photograph -> author -> where to look
        for entry in corrections_of(study, root, fold, experts="majority"):
            if entry.sample in rows:
                look = geometries[entry.sample].mask(study.store.correction(entry.id).look)
                looks.setdefault(entry.sample, {})[entry.author] = look
                learned |= {entry.sample} if entry.id in taught else set()
        if not looks:
            continue
        fused = read_fused(study, name, fold)
        for sample, masks in looks.items():
            highest = _highest(enlarge(fused[rows[sample]][None], side)[0], list(masks.values()))
            photographs.append((patients[sample], agreement({**masks, MODEL_NAME: highest}, tolerance)))
    if not photographs:
        raise StudyError(f"Nobody has corrected a map of {name} yet: run `regaze correct` or `regaze import` first.")
    summaries = _summaries([(patient, pair) for patient, pairs in photographs for pair in pairs])
    against = _model_against_experts(photographs)
    found = ExpertAgreement(summaries, against, len(photographs), tuple(sorted(learned)))
    if learned and not allow_overlap:
        more = "" if len(learned) <= LISTED else f" and {len(learned) - LISTED} more"
        raise StudyError(
            f"{name} cannot be held to what it was taught: {found.learned_words}: "
            f"{', '.join(found.learned[:LISTED])}{more}. Give the phase-1 model, {root}, or pass --allow-overlap to "
            "compare all the same; the table then says so."
        )
    return found


def _highest(fused_SS: NDArray[np.float32], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """The map's highest pixels, as many as the masks have in the mean; of equal ones the first."""
    count = round(float(np.mean([mask.sum() for mask in masks])))
    cut = np.zeros(fused_SS.size, dtype=bool)
    cut[np.argsort(-fused_SS.reshape(-1), kind="stable")[:count]] = True
    return cut.reshape(fused_SS.shape)


def _model_against_experts(photographs: Sequence[tuple[str | None, Sequence[PairAgreement]]]) -> dict[str, Any]:
    """See `ExpertAgreement`; a photograph counts where two experts corrected it."""

    def mean(pairs: Sequence[PairAgreement], of_model: bool) -> float:
        values = [pair.dice for pair in pairs if (MODEL_NAME in (pair.first, pair.second)) == of_model]
        return float(np.mean(values)) if values else np.nan

    among, with_model = ([mean(pairs, of_model) for _, pairs in photographs] for of_model in (False, True))
    return paired_mean_difference(among, with_model, [patient for patient, _ in photographs])


def _summaries(items: Sequence[_Item]) -> list[PairSummary]:
    """Means per pair of names, experts first, then the model."""
    groups: dict[tuple[str, str], list[_Item]] = {}
    for patient, pair in items:
        first, second = sorted((pair.first, pair.second), key=lambda author: (author == MODEL_NAME, author))
        groups.setdefault((first, second), []).append((patient, pair))
    return [
        PairSummary(
            first=first,
            second=second,
            n=len(group),
            n_both_empty=sum(pair.both_empty for _, pair in group),
            **{
                key: float(np.mean([getattr(pair, key) for _, pair in group]))
                for key in ("dice", "iou", "kappa", "tolerant_dice")
            },
            dice_interval=list(mean_interval([pair.dice for _, pair in group], [patient for patient, _ in group])[1:]),
        )
        for (first, second), group in sorted(groups.items(), key=lambda item: (item[0][1] == MODEL_NAME, item[0]))
    ]
