"""Judge a study's models on photographs they never saw, one record per photograph, pooled over the folds.

Invariant: every model of a study is judged on the same photographs. Records are kept in `evaluation/` and made again
only when the model, the data or the options change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regaze.data.pixels import Pixels
from regaze.data.sources import load_dataset
from regaze.errors import DataError, StudyError
from regaze.evaluation.faithfulness import Procedure
from regaze.evaluation.substrates import normalised_black
from regaze.files import digest, read_json, write_json
from regaze.models.card import ModelCard, read_card
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions, Predictor
from regaze.records import Dataset, Sample
from regaze.study.assessment.ensemble import Panel
from regaze.study.assessment.kept_maps import Maps, keep_maps, read_maps
from regaze.study.assessment.measure import measure_faithfulness, measure_maps, measure_sanity
from regaze.study.assessment.thresholds import add_iou
from regaze.study.features import feature_cache
from regaze.study.folder import Study
from regaze.study.lesions import known_lesions
from regaze.study.options import EvaluateOptions

_FORMAT = 4  # of the records; raise it when their content changes


@dataclass(frozen=True)
class Sitting:
    """One panel and the photographs it is judged on.

    Attributes:
        name: Model name.
        cards: Cards of the panel's members.
        samples: Photographs to judge on.
        learned: Photographs that the members learned from (for the mean-map baseline).
        file: Where the records go.
    """

    name: str
    folders: tuple[Path, ...]
    cards: tuple[ModelCard, ...]
    samples: tuple[Sample, ...]
    learned: tuple[Sample, ...]
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
) -> list[dict[str, Any]]:
    """Records of one model on every photograph of a part.

    Args:
        study: The study.
        name: A complete model.
        options: How many photographs get deletion and insertion, reference rankings, sanity checks; number of steps.
        machine: Device and precision.
        part: `test` or `validation`; default: `part_of`.
        other: Judge on this data instead.
        folder: Where below `evaluation/` the records are kept apart from others; empty: in the part's own place.

    Returns:
        One dict per photograph: `sample`, `label`, `patient`, `probabilities`, `grade`, `maps` (scale -> record of
        `agree`, with `iou` and `iou_threshold`), and what `evidence` adds: `lesions`, `deletion`, `insertion`,
        `faithfulness` and `sanity` (None where not measured).
    """
    study.require_model(name)
    sittings = _sittings(study, name, part or part_of(study), other, folder)
    rows: list[list[dict[str, Any]]] = []
    for sitting in sittings:
        key = _key(study, sitting, options, machine)
        found = _stored(sitting.file, key)
        if found is None:
            panel, pixels, predictions = _predict(study, sitting, machine)
            if other is None and not folder:
                keep_maps(sitting.file.with_suffix(".safetensors"), _maps_key(sitting, machine), predictions)
            found = _sit(study, sitting, panel, pixels, predictions, options)
            write_json(sitting.file, {"key": key, "model": name, "photographs": found})
        rows.append(found)
    judged = [sample for sitting in sittings for sample in sitting.samples]
    add_iou(study, name, machine, judged, rows, crossed=len(sittings) > 1)
    return [row for some in rows for row in some]


def judged_maps(study: Study, name: str, wanted: Collection[str], machine: MachineOptions) -> dict[str, Maps]:
    """The maps of photographs that `judge_model` judged: as it kept them, else (an earlier version) predicted.

    Args:
        study: The study.
        name: A model that was judged on the study's own test or validation part.
        wanted: Ids of photographs of that part.
        machine: As given to `judge_model`.
    """
    maps: dict[str, Maps] = {}
    for sitting in _sittings(study, name, part_of(study), None, ""):
        places = [place for place, sample in enumerate(sitting.samples) if sample.id in wanted]
        if not places:
            continue
        file, key = sitting.file.with_suffix(".safetensors"), _maps_key(sitting, machine)
        kept = read_maps(file, key, places)
        if kept is None:
            keep_maps(file, key, _predict(study, sitting, machine)[2])
            kept = read_maps(file, key, places)
        assert kept is not None
        maps |= {sitting.samples[place].id: some for place, some in zip(places, kept, strict=True)}
    return maps


def _stored(file: Path, key: str) -> list[dict[str, Any]] | None:
    """Records of an earlier sitting; None where there are none, they are of another key, or the file is damaged."""
    if not file.is_file():
        return None
    try:
        values = read_json(file)
        return list(values["photographs"]) if values["key"] == key else None
    except (ValueError, KeyError, TypeError):
        return None


def other_data(study: Study, spec: str, boxes: Path | None, patient: str | None = None) -> Dataset:
    """Read other data of the same classes; a small set may lack the last of them (the worst grades).

    Raises:
        StudyError: Its classes are not the study's.
        DataError: It cannot be read.
    """
    with study.voice.progress("reading photographs") as feed:
        dataset = load_dataset(
            spec, boxes=boxes, patient=patient, folder=study.path / "data", seed=study.options.seed, progress=feed
        )
    if dataset.classes == study.classes[: len(dataset.classes)]:
        return replace(dataset, classes=study.classes, ordinal=study.dataset.ordinal)
    # Grades may be named otherwise (R0 for 0), as long as both are scales of one length.
    scales = dataset.ordinal and study.dataset.ordinal
    if not scales or len(dataset.classes) != len(study.classes):
        raise StudyError(
            f"{spec} has the classes {', '.join(dataset.classes)}, the study has {', '.join(study.classes)}: "
            "give data of the same classes."
        )
    return dataset


def _sittings(study: Study, name: str, part: str, other: Dataset | None, folder: str) -> list[Sitting]:
    everything = tuple(study.model_folder(name, fold) for fold in study.folds)
    root = study.path / "evaluation" / folder
    if other is not None:
        own = tuple(item for item in other.samples if item.part == "test") or other.samples
        where = root / f"data-{digest([other.fingerprint])}" / f"{name}.json"
        return [_sitting(study, name, everything, own, where)]
    if part == "test":
        return [_sitting(study, name, everything, tuple(study.test()), root / "test" / f"{name}.json")]
    return [
        _sitting(
            study, name, (folder,), tuple(study.validation(fold)), root / "validation" / f"{name}-fold{fold}.json", fold
        )
        for fold, folder in zip(study.folds, everything, strict=True)
    ]


def _sitting(
    study: Study, name: str, folders: tuple[Path, ...], samples: tuple[Sample, ...], file: Path, fold: int | None = None
) -> Sitting:
    if not samples:
        raise DataError("There is no photograph to judge the models on: give data with a test or validation part.")
    learned = study.training(fold if fold is not None else study.folds[0])
    cards = tuple(read_card(folder) for folder in folders)
    return Sitting(name, folders, cards, samples, tuple(learned), file)


def _key(study: Study, sitting: Sitting, options: EvaluateOptions, machine: MachineOptions) -> str:
    contents = [[sample.id, sample.content, sample.label, sample.origin] for sample in sitting.samples]
    cards = [card.key for card in sitting.cards]
    counts = [options.faithfulness, options.steps, options.reference_rankings, options.sanity, options.patch]
    how = [counts, options.deletion_substrate, options.insertion_substrate, machine.precision]
    return digest([_FORMAT, cards, contents, study.dataset.fingerprint, how])


def _maps_key(sitting: Sitting, machine: MachineOptions) -> str:
    pictures = [[sample.id, sample.content] for sample in sitting.samples]
    return digest([[card.key for card in sitting.cards], pictures, machine.precision])


def _predict(study: Study, sitting: Sitting, machine: MachineOptions) -> tuple[Panel, Pixels, Predictions]:
    panel = Panel(tuple(load_model(folder, machine)[0] for folder in sitting.folders))
    pixels = study.pixels(sitting.samples, sitting.cards[0].size, machine.workers)
    return panel, pixels, panel.predict(pixels.images, feature_cache(study, machine))


def _sit(
    study: Study,
    sitting: Sitting,
    panel: Panel,
    pixels: Pixels,
    predictions: Predictions,
    options: EvaluateOptions,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "sample": sample.id,
            "label": sample.label,
            "patient": sample.patient,
            "probabilities": [float(value) for value in predictions.probabilities[place]],
            "grade": int(predictions.grades[place]),
        }
        for place, sample in enumerate(sitting.samples)
    ]
    _measure(study, sitting, panel, pixels, predictions, rows, options)
    return rows


def _measure(
    study: Study,
    sitting: Sitting,
    panel: Panel,
    pixels: Pixels,
    predictions: Predictions,
    rows: list[dict[str, Any]],
    options: EvaluateOptions,
) -> None:
    """What the grades do not say; see `evidence`."""
    ordinal = study.dataset.ordinal
    _, known = known_lesions(sitting.samples, pixels, ordinal)
    learned = study.pixels(sitting.learned, pixels.images.shape[1])
    masks, _ = known_lesions(sitting.learned, learned, ordinal)
    with study.voice.progress(f"measuring maps of {sitting.name}") as feed:
        measure_maps(rows, sitting.samples, pixels, known, masks, predictions, feed)

    def share(wanted: int) -> int:
        # Options count photographs over all folds, so each fold takes its share.
        return wanted if len(sitting.folders) > 1 else -(-wanted // len(study.folds))

    with study.voice.progress(f"deletion and insertion of {sitting.name}") as feed:
        wanted, rankings = share(options.faithfulness), share(options.reference_rankings)
        procedure = procedure_of(options, panel.members[0])
        measure_faithfulness(rows, panel, pixels, known, predictions.probabilities, procedure, wanted, rankings, feed)
    measure_sanity(rows, panel.members[0], pixels.images, share(options.sanity), study.options.seed)


def procedure_of(options: EvaluateOptions, predictor: Predictor) -> Procedure:
    """How deletion and insertion change pixels for a model of this normalisation."""
    mean, std = (values.flatten().tolist() for values in (predictor.mean, predictor.std))
    return Procedure(
        n_steps=options.steps,
        patch=options.patch,
        deletion=options.deletion_substrate,
        insertion=options.insertion_substrate,
        black=normalised_black(mean, std),
    )


def pooled(rows: Sequence[dict[str, Any]], scale: str, field: str) -> list[float | None]:
    """One figure per photograph, in the records' order: `field` of the agreement record of `scale`."""
    return [row["maps"][scale][field] if scale in row["maps"] else None for row in rows]
