"""What the experiments on corrections share: one fold of a study, runs from its phase-1 model, and their judgement."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.data.pixels import Pixels
from regaze.evaluation.agreement import lesion_enrichment, squared_error
from regaze.evaluation.picture import picture_cells
from regaze.models.build import Network
from regaze.models.card import ModelCard, read_card
from regaze.models.features import FeatureCache
from regaze.models.folder import load_network
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictor
from regaze.records import Sample
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions, targets
from regaze.training.batches import TrainingSet
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import Setup, finetune

MODEL = "multi-scale"
MACHINE = MachineOptions(workers=1)
CACHE_BYTES = 8 * 10**9


@dataclass
class Part:
    """Photographs of one part of a fold in cropped pixels, and what is known of their lesions."""

    samples: list[Sample]
    pixels: Pixels
    masks: NDArray[np.bool_]
    known: NDArray[np.bool_]


@dataclass
class Fold:
    """One fold of a study with a phase-1 model, decoded."""

    study: Study
    number: int
    card: ModelCard
    training: Part
    validation: Part

    def network(self) -> Network:
        """A fresh phase-1 model."""
        return load_network(self.study.model_folder(MODEL, self.number), self.card)

    def predictor(self, network: Network) -> Predictor:
        """A network that predicts."""
        return Predictor(network, self.card.mean, self.card.std, self.card.decoding, MACHINE)

    def features(self) -> FeatureCache:
        """Where the frozen extractor's features are kept."""
        return FeatureCache(self.study.path / "cache" / "selection" / str(self.number), CACHE_BYTES)

    def drawable(self) -> list[int]:
        """Indices of the training photographs that have lesions to draw."""
        part = self.training
        return [index for index, mask in enumerate(part.masks) if part.known[index] and mask.any()]


def open_fold(study: Study, number: int) -> Fold:
    """Decode both parts of a fold."""
    card = read_card(study.model_folder(MODEL, number))
    parts = [part_of(study, part, card.size) for part in (study.training(number), study.validation(number))]
    return Fold(study, number, card, *parts)


def part_of(study: Study, samples: list[Sample], size: int) -> Part:
    """Decode a part."""
    pixels = study.pixels(samples, size, MACHINE.workers)
    return Part(samples, pixels, *known_lesions(samples, pixels, study.dataset.sound))


def run(fold: Fold, indices: list[int] | None, options: FinetuneOptions) -> dict[str, Any]:
    """Fine-tune on corrections of these photographs (None: phase 1 as it is) and judge the validation part."""
    network = fold.network()
    if indices is not None:
        corrected = torch.zeros(len(fold.training.samples), dtype=torch.bool)
        corrected[indices] = True
        labels = [-1 if sample.label is None else sample.label for sample in fold.training.samples]
        data = TrainingSet(
            torch.from_numpy(fold.training.pixels.images),
            torch.tensor(labels),
            torch.from_numpy(fold.training.masks),
            corrected,
        )
        with tempfile.TemporaryDirectory() as scratch:
            setup = Setup(
                classes=len(fold.card.classes),
                ordinal=fold.card.ordinal,
                normalisation=(fold.card.mean, fold.card.std),
                seed=fold.number,
                machine=MACHINE,
                checkpoint=Path(scratch) / "checkpoint.safetensors",
            )
            phase1 = TrainingOptions(**fold.card.recipe["phase1"])
            finetune(network, data, options, phase1, setup, cache=fold.features())
    return measure(fold, fold.predictor(network))


def measure(fold: Fold, predictor: Predictor) -> dict[str, Any]:
    """Grades, and the fused map against the lesions, per validation photograph."""
    part = fold.validation
    predictions = predictor.predict(part.pixels.images, cache=fold.features())
    fused = enlarge(predictions.fused, part.masks.shape[1])
    wanted = targets(part.masks, [(predictions.fused.shape[1], predictions.fused.shape[2])])[0]
    rows = []
    for index, (sample, picture) in enumerate(zip(part.samples, part.pixels.pictures, strict=True)):
        cells = picture_cells(picture, part.masks.shape[1], wanted.shape[1:])
        maps = predictions.fused[index][cells], wanted[index][cells]
        has = bool(part.known[index] and part.masks[index].any())
        rows.append(
            {
                "sample": sample.id,
                "patient": sample.patient,
                "label": sample.label,
                "grade": int(predictions.grades[index]),
                "enrichment": lesion_enrichment(fused[index][picture], part.masks[index][picture]) if has else None,
                "squared_error": squared_error(*maps) if part.known[index] else None,
            }
        )
    return {"rows": rows}
