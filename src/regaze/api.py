"""The loop from Python: each function does what the command of its name does, and returns what it found.

Options are keywords, named as the command's flags with underscores and checked likewise (`train(study, epochs=5,
backbone="resnet18")`). Where a study is wanted, its folder will do. Invariant: nothing is printed, but for warnings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from regaze.console import Voice
from regaze.errors import OptionError
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.photographs.pictures import Picture, load_model
from regaze.records import Collected, Diagnosis, Selection
from regaze.study import folder as studies
from regaze.study.active_model import active_model, model_folder
from regaze.study.assessment import summary
from regaze.study.assessment.convergence import training_loss
from regaze.study.assessment.summary import Assessment
from regaze.study.folder import Study
from regaze.study.options import CollectOptions, CorrectOptions, EvaluateOptions, SelectOptions, StudyOptions
from regaze.study.steps import collect as collecting
from regaze.study.steps import correct as correcting
from regaze.study.steps import finetune as finetuning
from regaze.study.steps import train as training
from regaze.training.options import FinetuneOptions, TrainingOptions

StudyLike = Study | str | PathLike[str]


@dataclass(frozen=True)
class TrainedModel:
    """A model of a study.

    Attributes:
        name: Its name in the study.
        folders: One model folder per fold, for `regaze.load_model`.
        corrections: Number of corrections that it learned from.
        training_loss: `first`, `last`, `chance`, `least` and `epochs`, see docs/cli.md; None where none is known.
    """

    name: str
    folders: tuple[Path, ...]
    corrections: int
    training_loss: Mapping[str, Any] | None


@dataclass(frozen=True)
class Collection:
    """What a model says of its training photographs.

    Attributes:
        model: Its name.
        diagnoses: Diagnosis -> number of photographs.
        photographs: One record each, of all folds.
    """

    model: str
    diagnoses: Mapping[Diagnosis, int]
    photographs: tuple[Collected, ...]


@dataclass(frozen=True)
class Corrected:
    """Numbers of photographs, see `study.steps.correct.correct`."""

    written: int
    kept: int
    without_knowledge: int
    healthy: int


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        grade: Index of the class.
        class_name: Its name.
        confidence: Its probability, 0..1.
        probabilities: Class -> probability; they sum to 1.
        attention: (h, w) float32 in 0..1, the fused map over the model's square, in map cells.
        scales: The map of each scale, finest first, likewise.
    """

    grade: int
    class_name: str
    confidence: float
    probabilities: Mapping[str, float]
    attention: NDArray[np.float32]
    scales: tuple[NDArray[np.float32], ...]


def create_study(path: str | PathLike[str], data: str, **options: Any) -> Study:
    """Make a study, or open it where the folder holds the very same one.

    Args:
        path: Its folder.
        data: The photographs: `idrid:DIR`, `folder:DIR`, `csv:FILE`, `synthetic[:N]` ...
        **options: As the flags of `regaze init`: `size`, `folds`, `patient`, `boxes` ...

    Raises:
        RegazeError: As `regaze init` says.
    """
    (wish,) = _options("create_study", {"data": data, **options}, StudyOptions)
    return studies.create_study(Path(path), wish, Voice(quiet=True))


def open_study(path: str | PathLike[str]) -> Study:
    """Open a study.

    Raises:
        StudyError: The folder is no study, is damaged, or its data has changed.
    """
    return studies.open_study(Path(path), Voice(quiet=True))


def train(study: StudyLike, *, name: str | None = None, size: int | None = None, **options: Any) -> TrainedModel:
    """Phase 1, on grades alone; what is finished is not trained again.

    Args:
        study: A study or its folder.
        name: The model's name; default: the kind of network.
        size: Side of the input; default: the study's.
        **options: As the flags of `regaze train`: `epochs`, `backbone`, `weights`, `precision` ...
    """
    study = _opened(study)
    network, recipe, machine = _options("train", options, NetworkOptions, TrainingOptions, MachineOptions)
    return _trained(study, training.train(study, network, recipe, machine, name, size))


def collect(study: StudyLike, model: str | None = None, **options: Any) -> Collection:
    """Collect the maps of a model (default: the active one) and diagnose them.

    Args:
        study: A study or its folder.
        model: Its name.
        **options: As the flags of `regaze collect`: `signals`, `min_rank`, `precision` ...
    """
    study = _opened(study)
    name = model or active_model(study)
    wish, machine = _options("collect", options, CollectOptions, MachineOptions)
    counts = collecting.collect(study, name, machine, wish)
    found = [item for fold in study.folds for item in collecting.read_collected(study, name, fold)]
    return Collection(name, dict(counts), tuple(found))  # type: ignore[arg-type]  # the keys are the diagnoses


def select(
    study: StudyLike, model: str | None = None, *, author: str | None = None, **options: Any
) -> tuple[Selection, ...]:
    """Rank the photographs that an expert should correct, one selection per fold.

    Args:
        study: A study or its folder.
        model: Whose maps; default: the active model's.
        author: Who asks; default: the login name.
        **options: As the flags of `regaze select`: `by`, `count`, `diversity` ...
    """
    study = _opened(study)
    (wish,) = _options("select", options, SelectOptions)
    return tuple(correcting.select(study, model or active_model(study), wish, author))


def correct(study: StudyLike, model: str | None = None, **options: Any) -> Corrected:
    """Write the corrections that masks or boxes give for the selected photographs.

    Args:
        study: A study or its folder.
        model: Whose maps; default: the active model's.
        **options: `source` (masks, boxes or all; the flag --from), `healthy`, `author`.
    """
    study = _opened(study)
    (wish,) = _options("correct", options, CorrectOptions)
    return Corrected(**correcting.correct(study, model or active_model(study), wish))


def finetune(study: StudyLike, model: str | None = None, *, name: str | None = None, **options: Any) -> TrainedModel:
    """Fine-tune a phase-1 model on all corrections so far.

    Args:
        study: A study or its folder.
        model: Name of the phase-1 model; default: that of the active model.
        name: The new model's name.
        **options: As the flags of `regaze finetune`: `epochs`, `map_weight`, `unfreeze` ...
    """
    study = _opened(study)
    recipe, machine = _options("finetune", options, FinetuneOptions, MachineOptions)
    parent = model or study.require_model(active_model(study)).root
    return _trained(study, finetuning.finetune_model(study, parent, recipe, machine, name))


def evaluate(study: StudyLike, **options: Any) -> Assessment:
    """Judge all models of a study on its test part, else its validation part.

    Args:
        study: A study or its folder.
        **options: As the flags of `regaze evaluate`: `faithfulness`, `resamples`, `sanity` ...
    """
    wish, machine = _options("evaluate", options, EvaluateOptions, MachineOptions)
    return summary.evaluate(_opened(study), wish, machine)


def predict(
    model: StudyLike, pictures: Picture | Sequence[Picture], *, batch: int = 32, **options: Any
) -> list[Prediction]:
    """Grade pictures and say where the model looked.

    Args:
        model: A model folder, or a study (or its folder): the first fold of its active model.
        pictures: Paths, Pillow pictures, (H, W, 3) uint8 RGB arrays, see `photographs.pictures.squares`.
        batch: Pictures per forward pass.
        **options: `precision`, `device`.

    Raises:
        DataError: A picture cannot be taken.
        ModelError, StudyError: There is no such model.
    """
    (machine,) = _options("predict", options, MachineOptions)
    path = model.path if isinstance(model, Study) else Path(model)
    predictor, card = load_model(model_folder(path), machine, batch)
    found = predictor.predict(pictures)
    return [
        Prediction(
            grade=int(grade),
            class_name=card.classes[grade],
            confidence=float(row[grade]),
            probabilities=dict(zip(card.classes, map(float, row), strict=True)),
            attention=found.fused[index],
            scales=tuple(maps[index] for maps in found.maps),
        )
        for index, (grade, row) in enumerate(zip(found.grades, found.probabilities, strict=True))
    ]


def _opened(study: StudyLike) -> Study:
    return study if isinstance(study, Study) else open_study(study)


def _trained(study: Study, name: str) -> TrainedModel:
    folders = tuple(study.model_folder(name, fold) for fold in study.folds)
    corrections = int(study.card(name).corrections.get("n", 0))
    return TrainedModel(name, folders, corrections, training_loss(study, name))


def _options(function: str, given: Mapping[str, Any], *kinds: Any) -> tuple[Any, ...]:
    """Keywords as the dataclasses that have fields of these names.

    Raises:
        OptionError: No dataclass has such a field, or it has no such value.
    """
    known = [item.name for kind in kinds for item in fields(kind)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"its options are {', '.join(known)}."
            raise OptionError(f"{function} has no option {name!r}: {meant}")
    return tuple(
        _made(kind, {item.name: given[item.name] for item in fields(kind) if item.name in given}) for kind in kinds
    )


def _made(kind: Any, values: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    for name, value in values.items():
        kinds = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
        words = [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]
        if words and value not in words:
            raise OptionError(f"{name} is {value!r}: expected one of {', '.join(map(str, words))}.")
        if Path in kinds and isinstance(value, str):
            values[name] = Path(value)
    return kind(**values)
