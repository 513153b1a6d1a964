"""What a study's models must beat: a blind baseline, and a linear probe on the features that phase 1 started from.

Invariant: both learn from the photographs that the models of a fold learned from, and are judged on those that these
are judged on. Their records are kept in `evaluation/baselines/` and made again only when data, classifier or weights
change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.data.split import make_split
from regaze.errors import DataError, ModelError
from regaze.evaluation.baselines import blind_features, forest, linear_probe
from regaze.evaluation.verdicts import compare, figure, judge, undecided
from regaze.files import digest, write_sealed
from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.device import choose_device
from regaze.models.features import FrozenFeatures
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.models.predictor import decode
from regaze.records import Dataset, Sample
from regaze.study.assessment.judge import judged_parts, part_of, stored_records
from regaze.study.folder import Study
from regaze.study.steps.fold_model import weights_identity

Row = dict[str, Any]
Numbers = NDArray[np.float64]

BLIND = "blind"
_FORMAT = 2  # of the records; raise it when their content or a classifier changes
_INNER_FOLDS = 5
_BATCH = 64  # photographs whose features are computed before they are pooled


@dataclass(frozen=True)
class Baseline:
    """One baseline, judged.

    Attributes:
        name: `blind`, or `probe-` and the backbone.
        words: What it is, as part of a sentence.
        models: Models of the study that it is set against.
        records: One per graded photograph, in the order of the models': `sample`, `label`, `patient`, `probabilities`,
            `grade`.
    """

    name: str
    words: str
    models: tuple[str, ...]
    records: list[Row]


@dataclass(frozen=True)
class _Grader:
    """What makes a baseline: numbers of photographs, and a classifier of them.

    Attributes:
        name: Of the baseline.
        identity: What decides its records beside photographs and folds.
        measure: N photographs -> (N, D).
        learn: (numbers and photographs to learn from, numbers of M others) -> (M, K).
    """

    name: str
    identity: list[Any]
    measure: Callable[[Sequence[Sample]], Numbers]
    learn: Callable[[Numbers, Sequence[Sample], Numbers], Numbers]


def judge_baselines(
    study: Study, names: Sequence[str], machine: MachineOptions, other: Dataset | None = None
) -> tuple[list[Baseline], list[str]]:
    """Judge the baselines of a study.

    Args:
        study: Whose data and folds.
        names: Its models that are judged.
        machine: Device; features are computed in fp32.
        other: Judge on this data instead, as `judge_model` does.

    Returns:
        The baselines, and notes on those that there cannot be. A part without grades has none.
    """
    found, notes = [], []
    blind = judge_blind(study, machine, other)
    if blind:
        words = "the blind baseline (a random forest on colours, a 6 x 6 thumbnail and the photograph's size)"
        found.append(Baseline(BLIND, words, tuple(names), blind))
    for models in _starts(study, names) if blind else ():
        card = study.card(models[0])
        try:
            name = f"probe-{card.network.backbone}"
            if any(item.name == name for item in found):  # the same backbone from other weights, or at another size
                name += f"-{len(found)}"
            records = judge_probe(study, name, card.network, card.size, machine, other)
            words = f"a linear probe on the features that {card.network.backbone} started from, never trained further"
            found.append(Baseline(name, words, models, records))
        except ModelError as error:
            notes.append(f"No linear probe on {card.network.backbone}: {error}")
    return found, list(dict.fromkeys(notes))


def warning(
    baseline: Baseline, kappa: float | None, card: ModelCard, pair: dict[str, Any], patient: str = "patient"
) -> str:
    """Say plainly that a baseline puts a model in doubt; empty where it does not.

    Every model should be clearly above the blind baseline. Phase 1 should not be below what its backbone could do
    before it.

    Args:
        baseline: The baseline.
        kappa: Its kappa.
        card: Of the model.
        pair: Paired difference of kappa, model - baseline.
        patient: What a patient is called.
    """
    comparison = compare(pair)
    state, blind = judge(comparison, "kappa"), baseline.name == BLIND
    below = (comparison.difference or 0) < 0 and state != "equivalent"
    if state == "improved" or not (blind or (below and card.parent is None)):
        return ""
    why = undecided(comparison, patient)
    place, reason = (
        ("not clearly above", "It may grade by the camera and not by what is to be seen")
        if blind
        else ("below", "Phase 1 lost what its weights knew, or did not get that far")
    )
    return (
        f"{card.name} is {place} {baseline.words}: kappa {figure(kappa)}, difference "
        f"{figure(comparison.difference, sign=True)} [{figure(comparison.low)}, {figure(comparison.high)}], {state}"
        f'{f" ({why})" if why else ""}. {reason} (docs/guide.md, "What a model must beat").'
    )


def _starts(study: Study, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The models by where their phase 1 started: backbone, weights, size of the input."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for name in names:
        card = study.card(name)
        groups.setdefault((card.network.backbone, card.network.weights, card.size), []).append(name)
    return [tuple(group) for group in groups.values()]


def judge_blind(study: Study, machine: MachineOptions, other: Dataset | None = None) -> list[Row]:
    """Records of the blind baseline; see `judge_baselines`."""

    def measure(samples: Sequence[Sample]) -> Numbers:
        pixels = study.pixels(samples, study.options.size, machine.workers)
        pictures = zip(pixels.images, pixels.geometries, strict=True)
        # Without its bars, which would tell the photograph's shape twice.
        return np.array([blind_features(image[where.picture], where.width, where.height) for image, where in pictures])

    def learn(numbers: Numbers, samples: Sequence[Sample], others: Numbers) -> Numbers:
        return forest(numbers, _labels(samples), others, len(study.classes), study.options.seed)

    grader = _Grader(BLIND, [study.options.size, study.options.crop], measure, learn)
    return _judge(study, grader, other)


def judge_probe(
    study: Study, name: str, network: NetworkOptions, size: int, machine: MachineOptions, other: Dataset | None = None
) -> list[Row]:
    """Records of a linear probe on a backbone's pooled features as they were before any training.

    Args:
        study: Whose data and folds.
        name: The probe's.
        network: Its backbone and weights count.
        size: Side of the input in cropped pixels.
        machine: Device and workers.
        other: See `judge_baselines`.

    Raises:
        ModelError: The network started from scratch, or its weights are gone.
    """
    if network.weights == "none":
        raise ModelError("phase 1 started from random weights (--weights none).")
    identity = weights_identity(network.weights)
    if identity == network.weights and not network.weights.startswith("hub"):
        raise ModelError(f"the weights that phase 1 started from, {network.weights}, are gone.")

    def measure(samples: Sequence[Sample]) -> Numbers:
        plain = NetworkOptions("plain", network.backbone, network.weights, bars="seen")  # pooled below, all of it
        built = build_network(plain, len(study.classes), size)
        images = torch.from_numpy(study.pixels(samples, size, machine.workers).images)
        device = choose_device(machine.device)
        frozen = FrozenFeatures(built.network.extractor, images, built.mean, built.std, device, bf16=False)
        pooled = []
        with study.voice.progress(f"features of {network.backbone}") as feed:
            for start in range(0, len(images), _BATCH):
                rows = torch.arange(start, min(start + _BATCH, len(images)))
                pooled.append(frozen(rows, [0] * len(rows))[-1].mean(dim=(2, 3)).cpu())
                feed(start + len(rows), len(images))
        return torch.cat(pooled).double().numpy()

    def learn(numbers: Numbers, samples: Sequence[Sample], others: Numbers) -> Numbers:
        return linear_probe(numbers, _labels(samples), _inner_folds(samples, study), others, len(study.classes))

    return _judge(study, _Grader(name, [network.backbone, identity, size, study.options.crop], measure, learn), other)


def _judge(study: Study, grader: _Grader, other: Dataset | None) -> list[Row]:
    """Learn fold by fold, and grade the photographs that the fold's models are judged on; of several folds the mean."""
    parts = [
        (folds, [s for s in samples if s.label is not None]) for folds, samples in judged_parts(study, other=other)
    ]
    where = part_of(study) if other is None else f"data-{digest([other.fingerprint])}"
    contents = [[folds, [[s.id, s.content, s.label] for s in samples]] for folds, samples in parts]
    key = digest([_FORMAT, grader.identity, study.dataset.fingerprint, study.options.seed, contents])
    file = study.evaluation_folder / "baselines" / f"{where}-{grader.name}.json"
    records = stored_records(file, key)
    if records is None:
        own = [sample for sample in study.dataset.samples if sample.label is not None]
        numbers = dict(zip([s.id for s in own], grader.measure(own), strict=True))
        records = []
        for folds, samples in parts:
            if not samples:
                continue
            theirs = np.array([numbers[s.id] for s in samples]) if other is None else grader.measure(samples)
            graded = []
            for fold in folds:
                learned = [sample for sample in study.training(fold) if sample.label is not None]
                graded.append(grader.learn(np.array([numbers[s.id] for s in learned]), learned, theirs))
            records += _records(samples, np.mean(graded, axis=0), study.dataset.ordinal)
        write_sealed(file, {"key": key, "model": grader.name, "photographs": records})
    return records


def _records(samples: Sequence[Sample], probabilities_NK: Numbers, ordinal: bool) -> list[Row]:
    """Records as models have them, decoded as a model's are by default."""
    grades = decode(probabilities_NK, "median" if ordinal else "argmax")
    return [
        {
            "sample": sample.id,
            "label": sample.label,
            "patient": sample.patient,
            "probabilities": [float(value) for value in row],
            "grade": int(grade),
        }
        for sample, row, grade in zip(samples, probabilities_NK, grades, strict=True)
    ]


def _labels(samples: Sequence[Sample]) -> NDArray[np.int64]:
    return np.array([sample.label for sample in samples], dtype=np.int64)


def _inner_folds(samples: Sequence[Sample], study: Study) -> NDArray[np.int64] | None:
    """Inner folds by patient and copies of one picture, as the study's own; None where there are too few."""
    try:
        folds = make_split(samples, _INNER_FOLDS, study.options.seed)
    except DataError:
        return None
    return np.array([folds[sample.id] for sample in samples], dtype=np.int64)
