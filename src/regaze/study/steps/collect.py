"""Collects what a model says of its training photographs, where it looked, and whether an expert should look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from regaze.errors import StudyError
from regaze.evaluation.agreement import lesion_enrichment, relevance_rank, squared_error
from regaze.evaluation.picture import Picture, picture_cells
from regaze.files import digest, held, read_sealed, replacing, typed, write_sealed
from regaze.models.card import ModelCard, read_card
from regaze.models.folder import check_fit, load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions
from regaze.records import Collected, Sample
from regaze.selection.diagnosis import diagnose
from regaze.study.check import check_options
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, grids_of, known_lesions, targets
from regaze.study.options import CollectOptions
from regaze.study.steps.supervision import corrections_of
from regaze.study.steps.uncertainty import Scores, all_scores, forward_scores

_FORMAT = 4  # of what is collected; raise it when its content changes


def collect(study: Study, name: str, machine: MachineOptions, options: CollectOptions | None = None) -> dict[str, int]:
    """Run a model over its training photographs, on every fold, and write what it says.

    Writes `collected/NAME/foldK/collected.json` and `maps.safetensors` (float16 maps per scale, map cells).

    Returns:
        Diagnosis -> number of photographs, over all folds.

    Raises:
        StudyError: The model is missing.
        OptionError: An option is out of range.
    """
    options = options or CollectOptions()
    check_options(options)
    study.require_model(name)
    counts: dict[str, int] = {"misgraded": 0, "elsewhere": 0, "fine": 0, "unknown": 0}
    for fold in study.folds:
        folder = study.collected_folder(name, fold)
        card = read_card(study.model_folder(name, fold))
        check_fit(study.model_folder(name, fold), card)
        hashes = [entry.hash for entry in corrections_of(study, card.root, fold)] if options.signals else []
        key = digest([_basis(card, options), hashes])
        if not _is_stored(folder, key):
            _collect_fold(study, name, fold, machine, options, key)
        for item in read_collected(study, name, fold):
            counts[item.diagnosis] += 1
    return counts


def _collect_fold(
    study: Study, name: str, fold: int, machine: MachineOptions, options: CollectOptions, key: str
) -> None:
    """Collect one fold, unless another process does so meanwhile: records and maps are always those of one call."""
    folder = study.collected_folder(name, fold)
    with held(study.path / ".locks" / f"{name}.collect{fold}", wait=True):
        if _is_stored(folder, key):
            return
        predictor, card = load_model(study.model_folder(name, fold), machine)
        samples = study.training(fold)
        pixels = study.pixels(samples, card.size, machine.workers)
        with study.voice.progress(f"collecting maps of {name}") as feed:
            predictions = predictor.predict(pixels.images, feed, study.feature_cache(machine))
        masks, known = known_lesions(samples, pixels, study.dataset.sound)
        scores, features = forward_scores(predictions), None
        if options.signals:
            scores, features = all_scores(study, card, fold, predictor, samples, pixels, predictions)
        collected = diagnose_all(samples, predictions, masks, known, pixels.pictures, options, scores)
        head = {"model": name, "key": key, "basis": _basis(card, options)}
        _write(folder, head, collected, predictions, features)


def diagnose_all(
    samples: list[Sample],
    predictions: Predictions,
    masks: NDArray[np.bool_],
    known: NDArray[np.bool_],
    pictures: Sequence[Picture],
    options: CollectOptions,
    scores: Sequence[Scores],
) -> list[Collected]:
    """Measure each photograph's maps against its lesions and diagnose it.

    Args:
        samples: N photographs.
        predictions: Of the model to be corrected.
        masks: (N, S, S) bool lesions in cropped pixels.
        known: (N,) bool, False where nothing is known about lesions.
        pictures: Where in each square the photograph lies.
        options: Thresholds of an off-target map.
        scores: Uncertainty scores of the N photographs.
    """
    wanted = targets(masks, grids_of(predictions))
    fused = enlarge(predictions.fused, masks.shape[1])
    collected = []
    for index, sample in enumerate(samples):
        picture = pictures[index]
        shown, mask = fused[index][picture], masks[index][picture]
        has_lesions = bool(known[index] and mask.any())
        rank = relevance_rank(shown, mask) if has_lesions else None
        enrichment = lesion_enrichment(shown, mask) if has_lesions else None
        errors = []
        for maps, target in zip(predictions.maps, wanted, strict=True) if known[index] else ():
            cells = picture_cells(picture, masks.shape[1], maps[index].shape)
            errors.append(squared_error(maps[index][cells], target[index][cells]))
        grade = int(predictions.grades[index])
        collected.append(
            Collected(
                sample=sample.id,
                label=sample.label,
                grade=grade,
                confidence=float(predictions.probabilities[index, grade]),
                squared_error=float(np.mean(errors)) if errors else None,
                relevance_rank=rank,
                enrichment=enrichment,
                diagnosis=diagnose(
                    sample.label,
                    grade,
                    rank,
                    enrichment,
                    has_lesions=has_lesions if known[index] else None,
                    min_rank=options.min_rank,
                    min_enrichment=options.min_enrichment,
                ),
                probabilities=tuple(float(value) for value in predictions.probabilities[index]),
                signals=scores[index],
            )
        )
    return collected


def read_collected(study: Study, name: str, fold: int) -> list[Collected]:
    """What `collect` wrote for one fold.

    Raises:
        StudyError: The model's maps have not been collected.
    """
    file = study.collected_folder(name, fold) / "collected.json"
    if not file.is_file():
        raise StudyError(
            f"The maps of {name} have not been collected: run `regaze collect {study.path} --model {name}` first."
        )
    try:
        values = read_sealed(file)["photographs"]
        collected: list[Collected] = typed(list[Collected], values)
        if not all(0 <= item.grade < len(study.classes) for item in collected):
            raise ValueError(f"a grade is outside 0..{len(study.classes) - 1}")
        return collected
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} is damaged ({error}): remove it and run `regaze collect {study.path}`.") from error


def is_collected(study: Study, name: str, options: CollectOptions) -> bool:
    """Whether all folds were collected from this very model with these options, whatever was corrected since."""
    return all(
        _stored(study.collected_folder(name, fold)).get("basis")
        == _basis(read_card(study.model_folder(name, fold)), options)
        for fold in study.folds
    )


def _is_stored(folder: Path, key: str) -> bool:
    return _stored(folder).get("key") == key and (folder / "maps.safetensors").is_file()


def _stored(folder: Path) -> dict[str, Any]:
    """What `_write` wrote as JSON; empty where there is none, or it is damaged: then it is collected again."""
    try:
        return read_sealed(folder / "collected.json")
    except (OSError, ValueError, TypeError):
        return {}


def _basis(card: ModelCard, options: CollectOptions) -> str:
    return digest([_FORMAT, card.key, asdict(options)])


def read_features(study: Study, name: str, fold: int) -> NDArray[np.float32]:
    """Pooled features (N, F) of one fold's photographs, in the order of `read_collected`.

    Raises:
        StudyError: They were not collected.
    """
    features = _read_array(study, name, fold, "features")
    if features is None:
        cure = f"run `regaze collect {study.path} --model {name} --signals` first"
        raise StudyError(f"--diversity needs features of photographs: {cure}.")
    return features


def read_fused(study: Study, name: str, fold: int) -> NDArray[np.float32]:
    """Fused maps (N, h, w) of one fold's photographs, in the order of `read_collected`.

    Raises:
        StudyError: They cannot be read.
    """
    fused = _read_array(study, name, fold, "fused")
    assert fused is not None  # `_write` always writes it
    return fused


def _read_array(study: Study, name: str, fold: int, key: str) -> NDArray[np.float32] | None:
    file = study.collected_folder(name, fold) / "maps.safetensors"
    try:
        with safe_open(file, framework="numpy") as stream:
            return np.asarray(stream.get_tensor(key), np.float32) if key in stream.keys() else None  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise StudyError(f"{file} cannot be read ({error}): run `regaze collect {study.path}` again.") from error


def _write(
    folder: Path,
    head: dict[str, str],
    collected: list[Collected],
    predictions: Predictions,
    features: NDArray[np.float32] | None,
) -> None:
    arrays: dict[str, Any] = {
        f"scale{index + 1}": maps.astype(np.float16) for index, maps in enumerate(predictions.maps)
    }
    arrays |= {"fused": predictions.fused.astype(np.float16), "probabilities": predictions.probabilities}
    if features is not None:
        arrays["features"] = features
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "maps.safetensors") as temporary:
        save_file(arrays, temporary)
    write_sealed(folder / "collected.json", head | {"photographs": [asdict(item) for item in collected]})
