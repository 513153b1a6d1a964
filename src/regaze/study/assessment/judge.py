"""Judge a study's models on photographs they never saw, one record per photograph, pooled over the folds.

Invariant: every model of a study is judged on the same photographs. Records are kept in `evaluation/` and made again
only when the model, the data or the options change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regaze.data.classes import LabelWish, UnknownLabelError
from regaze.data.columns import TableWish
from regaze.data.inspection import look_at
from regaze.data.pixels import Pixels
from regaze.errors import DataError, StudyError
from regaze.evaluation.faithfulness import Procedure
from regaze.evaluation.substrates import normalised_black
from regaze.files import digest, read_sealed, typed, write_sealed
from regaze.models.card import ModelCard, read_card
from regaze.models.folder import check_fit, load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions, Predictor
from regaze.records import Dataset, Sample
from regaze.study.assessment.ensemble import Ensemble
from regaze.study.assessment.kept_maps import Maps, keep_maps, read_maps
from regaze.study.assessment.measure import measure_faithfulness, measure_maps, measure_sanity
from regaze.study.assessment.thresholds import add_iou
from regaze.study.folder import Study, load_photographs
from regaze.study.lesions import known_lesions
from regaze.study.options import EvaluateOptions

Row = dict[str, Any]

_FORMAT = 5  # of the records; raise it when their content changes


@dataclass(frozen=True)
class Evaluation:
    """One model, of one fold or of all, and the photographs that it is judged on.

    Attributes:
        folders: The model's folders; of several their mean is judged.
        cards: Of these models.
        samples: Photographs to judge on, none of which the model saw.
        fold: Whose training part gives the mean-map baseline.
        file: Of the records; the maps lie beside it.
    """

    folders: tuple[Path, ...]
    cards: tuple[ModelCard, ...]
    samples: tuple[Sample, ...]
    fold: int
    file: Path


def part_of(study: Study) -> str:
    """`test` where the data sets photographs aside, else `validation`."""
    return "test" if study.test() else "validation"


def judge_model(
    study: Study,
    name: str,
    options: EvaluateOptions,
    machine: MachineOptions,
    part: str | None = None,
    other: Dataset | None = None,
    folder: str = "",
) -> list[Row]:
    """Records of one model on every photograph of a part.

    Args:
        study: Whose model and data.
        name: A complete model.
        options: What is measured.
        machine: Device and precision.
        part: `test` or `validation`; default: `part_of`.
        other: Judge on this data instead.
        folder: Where below `evaluation/` the records are kept apart from others; empty: in the part's own place.

    Returns:
        One dict per photograph: `sample`, `label`, `patient`, `probabilities`, `grade`, `precision` (missing in records
        of an earlier version), `maps` (scale -> record of `agree`, with `iou` and `iou_threshold`), and what `measure`
        adds: `lesions`, `deletion`, `insertion`, the relative ones of both, `faithfulness` and `sanity` (None where not
        measured).
    """
    study.require_model(name)
    evaluations = _evaluations(study, name, part or part_of(study), other, folder)
    folds: list[list[Row]] = []
    for evaluation in evaluations:
        key = _key(study, evaluation, options, machine)
        for folder_of, card in zip(evaluation.folders, evaluation.cards, strict=True):
            check_fit(folder_of, card)  # also where what it was judged by is kept
        records = stored_records(evaluation.file, key)
        if records is None:
            shown = other is None and not folder
            ensemble, pixels, predictions = _predict(study, evaluation, machine, evidence=shown)
            if shown:
                _keep(evaluation, machine, predictions)
            records = _judge(study, evaluation, options, ensemble, pixels, predictions)
            write_sealed(evaluation.file, {"key": key, "model": name, "photographs": records})
        folds.append(records)
    judged = [sample for evaluation in evaluations for sample in evaluation.samples]
    add_iou(study, name, machine, judged, folds, crossed=len(evaluations) > 1)
    return [record for records in folds for record in records]


def judged_maps(study: Study, name: str, wanted: Collection[str], machine: MachineOptions) -> dict[str, Maps]:
    """Maps and evidence of photographs that `judge_model` judged: as it kept them, else predicted.

    An earlier version kept no evidence, or no maps; then there is no evidence, or all is predicted.

    Args:
        study: Whose model and data.
        name: A model that was judged on the study's own test or validation part.
        wanted: Ids of photographs of that part.
        machine: As given to `judge_model`.
    """
    maps: dict[str, Maps] = {}
    for evaluation in _evaluations(study, name, part_of(study), None, ""):
        rows = {row: sample.id for row, sample in enumerate(evaluation.samples) if sample.id in wanted}
        if not rows:
            continue
        file, key = evaluation.file.with_suffix(".safetensors"), _maps_key(evaluation, machine)
        kept = read_maps(file, key, list(rows))
        if kept is None:
            _keep(evaluation, machine, _predict(study, evaluation, machine, evidence=True)[2])
            kept = read_maps(file, key, list(rows))
        assert kept is not None
        maps |= zip(rows.values(), kept, strict=True)
    return maps


@dataclass(frozen=True)
class _Kept:
    """What every kept record has."""

    sample: str
    label: int | None
    patient: str | None
    probabilities: tuple[float, ...]
    grade: int


def stored_records(file: Path, key: str) -> list[Row] | None:
    """Records of an earlier call; None where there are none, they are of another key, or the file is damaged."""
    try:
        values = read_sealed(file)
        if values["key"] != key:
            return None
        typed(list[_Kept], values["photographs"])
        return list(values["photographs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def other_data(
    study: Study, spec: str, boxes: Path | None, patient: str | None = None, columns: TableWish | None = None
) -> Dataset:
    """Read other data of the same classes; a small set may lack the last of them (the worst grades).

    Args:
        study: Whose classes.
        spec: As for a new study, see `PhotographOptions.data`; likewise the next two.
        boxes: Folder of boxes.
        patient: Column or regular expression.
        columns: Columns of a table.

    Raises:
        StudyError: Its classes are not the study's.
        DataError: It cannot be read.
    """
    own, columns = study.dataset, columns or TableWish()
    options = replace(
        study.options,
        data=spec,
        boxes=boxes,
        patient=patient,
        split_by="patient",
        image_column=columns.image,
        label_column=columns.label,
        images=columns.images,
    )

    def as_own(found: Dataset) -> Dataset:
        return replace(found, classes=own.classes, ordinal=own.ordinal, sound=own.sound, referable=own.referable)

    try:
        found = as_own(load_photographs(study.path, options, study.voice, LabelWish(own.classes, own.ordinal)))
    except UnknownLabelError:
        options = replace(options, classes=None, ordinal=None, sound_class=None)
        found = load_photographs(study.path, options, study.voice)
        if found.classes == own.classes[: len(found.classes)]:
            found = as_own(found)
        # Grades may be named otherwise (R0 for 0), as long as both are scales of one length.
        elif not (found.ordinal and own.ordinal) or len(found.classes) != len(own.classes):
            raise StudyError(
                f"{spec} has the classes {', '.join(found.classes)}, the study has {', '.join(own.classes)}: give data "
                "of the same classes."
            ) from None
    return replace(found, notes=found.notes + look_at(found, study.voice))


def _evaluations(study: Study, name: str, part: str, other: Dataset | None, folder: str) -> list[Evaluation]:
    where = part if other is None else f"data-{digest([other.fingerprint])}"
    crossed = other is None and part == "validation"

    def evaluation(folds: Sequence[int], samples: Sequence[Sample]) -> Evaluation:
        if not samples:
            raise DataError("There is no photograph to judge the models on: give data with a test or validation part.")
        folders = tuple(study.model_folder(name, fold) for fold in folds)
        file = study.evaluation_folder / folder / where / (f"{name}-fold{folds[0]}.json" if crossed else f"{name}.json")
        return Evaluation(folders, tuple(map(read_card, folders)), tuple(samples), folds[0], file)

    return [evaluation(*each) for each in judged_parts(study, part, other)]


def judged_parts(
    study: Study, part: str | None = None, other: Dataset | None = None
) -> list[tuple[list[int], Sequence[Sample]]]:
    """The photographs that a study's models are judged on, with the folds whose models judge them together.

    Args:
        study: Whose folds.
        part: `test` or `validation`; default: `part_of`.
        other: This data instead: its test part, else all of it.
    """
    if other is not None:
        return [(study.folds, [item for item in other.samples if item.part == "test"] or other.samples)]
    if (part or part_of(study)) == "test":
        return [(study.folds, study.test())]
    return [([fold], study.validation(fold)) for fold in study.folds]


def _key(study: Study, evaluation: Evaluation, options: EvaluateOptions, machine: MachineOptions) -> str:
    contents = [[sample.id, sample.content, sample.label, sample.origin] for sample in evaluation.samples]
    cards = [card.key for card in evaluation.cards]
    counts = [options.faithfulness, options.steps, options.reference_rankings, options.sanity, options.patch]
    how = [counts, options.deletion_substrate, options.insertion_substrate, machine.precision]
    return digest([_FORMAT, cards, contents, study.dataset.fingerprint, how])


def _maps_key(evaluation: Evaluation, machine: MachineOptions) -> str:
    photographs = [[sample.id, sample.content] for sample in evaluation.samples]
    return digest([[card.key for card in evaluation.cards], photographs, machine.precision])


def _keep(evaluation: Evaluation, machine: MachineOptions, predictions: Predictions) -> None:
    labels = [sample.label for sample in evaluation.samples]
    keep_maps(evaluation.file.with_suffix(".safetensors"), _maps_key(evaluation, machine), predictions, labels)


def _predict(
    study: Study, evaluation: Evaluation, machine: MachineOptions, evidence: bool
) -> tuple[Ensemble, Pixels, Predictions]:
    ensemble = Ensemble(tuple(load_model(folder, machine)[0] for folder in evaluation.folders))
    pixels = study.pixels(evaluation.samples, evaluation.cards[0].size, machine.workers)
    return ensemble, pixels, ensemble.predict(pixels.images, study.feature_cache(machine), evidence=evidence)


def _judge(
    study: Study,
    evaluation: Evaluation,
    options: EvaluateOptions,
    ensemble: Ensemble,
    pixels: Pixels,
    predictions: Predictions,
) -> list[Row]:
    samples, card, member = evaluation.samples, evaluation.cards[0], ensemble.members[0]
    rows: list[Row] = [
        {
            "sample": sample.id,
            "label": sample.label,
            "patient": sample.patient,
            "probabilities": [float(value) for value in probabilities],
            "grade": int(grade),
            "precision": ensemble.arithmetic,
        }
        for sample, probabilities, grade in zip(samples, predictions.probabilities, predictions.grades, strict=True)
    ]
    _, known = known_lesions(samples, pixels, study.dataset.sound)
    training = study.training_masks(evaluation.fold, card.size)
    with study.voice.progress(f"measuring maps of {card.name}") as feed:
        measure_maps(rows, samples, pixels, known, training, predictions, feed)

    def share(count: int) -> int:
        # Options count photographs over all folds, so each fold takes its share.
        return count if len(evaluation.folders) > 1 else -(-count // len(study.folds))

    counts = share(options.faithfulness), share(options.reference_rankings)
    procedure = _procedure(options, member)
    with study.voice.progress(f"deletion and insertion of {card.name}") as feed:
        measure_faithfulness(
            rows, samples, ensemble, pixels, known, predictions.probabilities, procedure, *counts, feed
        )
    measure_sanity(rows, member, pixels.images, share(options.sanity), study.options.seed)
    return rows


def _procedure(options: EvaluateOptions, predictor: Predictor) -> Procedure:
    """How deletion and insertion change pixels for a model of this normalisation."""
    mean, std = (values.flatten().tolist() for values in (predictor.mean, predictor.std))
    return Procedure(
        n_steps=options.steps,
        patch=options.patch,
        deletion=options.deletion_substrate,
        insertion=options.insertion_substrate,
        black=normalised_black(mean, std),
    )
