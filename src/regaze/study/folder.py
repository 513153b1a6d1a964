"""The folder that holds one study.

    study.json        options, classes, data fingerprint, the split; written once
    records.sqlite    selections and corrections
    cache/            decoded photographs, features of frozen extractors (may be deleted)
    data/             synthetic photographs, where the study is about them
    models/NAME/foldK/      model.safetensors, model.json
    collected/NAME/foldK/   collected.json, maps.safetensors
    evaluation/       figures per model, per photograph
    jobs/             logs of what the page started
    report.html

Invariant: the split is made once, never divides a patient, and is stored; the data must still be what it was (same
fingerprint).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regaze import __version__
from regaze.console import Voice
from regaze.corrections.store import Store
from regaze.data.classes import LabelWish, UnknownLabelError, referable_from
from regaze.data.inspection import look_and_compare
from regaze.data.near_groups import told_of_near_copies
from regaze.data.pixels import Pixels, load_pixels
from regaze.data.sources import load_dataset
from regaze.data.split import make_split
from regaze.errors import DataError, ModelError, RegazeError, StudyError
from regaze.files import held, restored, write_json
from regaze.models.card import ModelCard, read_card
from regaze.models.options import MachineOptions
from regaze.records import Colour, Dataset, Sample, timestamp
from regaze.study.check import check_options
from regaze.study.options import StudyOptions
from regaze.study.study_file import DEFAULT_FOLDS, SCHEMA_VERSION, read_study_file
from regaze.training.options import FinetuneOptions, SupervisionOptions, TrainingOptions
from regaze.words import words_of

if TYPE_CHECKING:
    from regaze.models.features import FeatureCache

_RECIPES = {"phase1": TrainingOptions, "finetune": FinetuneOptions, "supervision": SupervisionOptions}


@dataclass
class Study:
    """One study, open.

    Attributes:
        path: Its folder.
        options: As the study was made.
        dataset: The photographs.
        split: Sample id -> fold, for photographs of the training part.
        voice: For notes and progress.
        near_copies: Ids of photographs that look like one and the same thing and that nothing else groups, a tuple for
            each thing; found when the study was made.
    """

    path: Path
    options: StudyOptions
    dataset: Dataset
    split: dict[str, int]
    voice: Voice
    near_copies: tuple[tuple[str, ...], ...] = ()
    _training_masks: dict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False)

    @property
    def folds(self) -> list[int]:
        """The folds that are validated: [0] without cross-validation."""
        return list(range(self.options.folds))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.dataset.classes

    @cached_property
    def store(self) -> Store:
        """Selections and corrections.

        Raises:
            StudyError: Its file is empty, and models learned from what it held.
            CorrectionError: It cannot be opened, or is damaged.
        """
        file = self.path / "records.sqlite"
        if file.is_file() and not file.stat().st_size:
            taught = [name for name, card in self.cards().items() if card.corrections.get("n")]
            if taught:
                raise StudyError(
                    f"{file} is empty, and {taught[0]} learned from its corrections: restore a copy of it."
                )
        return Store(file)

    def training(self, fold: int) -> list[Sample]:
        """What fold's models learn from."""
        return [sample for sample in self.dataset.samples if self.split.get(sample.id, fold) != fold]

    def validation(self, fold: int) -> list[Sample]:
        """What fold's models never see."""
        return [sample for sample in self.dataset.samples if self.split.get(sample.id) == fold]

    def test(self) -> list[Sample]:
        """What the data itself sets aside for the final test."""
        return [sample for sample in self.dataset.samples if sample.part == "test"]

    def pixels(self, samples: Sequence[Sample], size: int, workers: int = 2, colour: Colour | None = None) -> Pixels:
        """Photographs in cropped pixels, from the cache where it has them; `colour` where it is not the models'."""
        colour = self.options.colour if colour is None else colour
        with self.voice.progress("decoding photographs") as feed:
            return load_pixels(samples, size, self.path / "cache", workers, feed, self.options.crop, colour)

    @property
    def evaluation_folder(self) -> Path:
        """Where records and figures of the models lie."""
        return self.path / "evaluation"

    @staticmethod
    def fold_name(name: str, fold: int) -> str:
        """NAME/foldK: a fold's model in folders, selections and corrections."""
        return f"{name}/fold{fold}"

    def training_masks(self, fold: int, size: int) -> NDArray[np.bool_]:
        """Lesion masks (N, S, S) of a fold's training photographs that have any, in cropped pixels; read once."""
        if (fold, size) not in self._training_masks:
            masks = self.pixels(self.training(fold), size).union
            self._training_masks[fold, size] = np.packbits(masks[masks.any(axis=(1, 2))], axis=2)
        return np.unpackbits(self._training_masks[fold, size], axis=2, count=size).astype(bool)

    def model_folder(self, name: str, fold: int) -> Path:
        """Where a fold's model lies."""
        return self.path / "models" / self.fold_name(name, fold)

    def collected_folder(self, name: str, fold: int) -> Path:
        """Where the collected maps of a fold's model lie."""
        return self.path / "collected" / self.fold_name(name, fold)

    def card(self, name: str) -> ModelCard:
        """The card of a model's first fold.

        Raises:
            ModelError: It is missing or damaged.
        """
        folder = self.model_folder(name, self.folds[0])
        card = read_card(folder)
        try:
            for recipe, values in card.recipe.items():
                restored(_RECIPES[recipe], values)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{folder / 'model.json'} is damaged (recipe: {error}): restore the file.") from error
        return card

    def cards(self) -> dict[str, ModelCard]:
        """`card` of each model that is complete on every fold, by name: phase 1 first, in the order they were made.

        Raises:
            ModelError: One is damaged.
        """
        names = [
            folder.name
            for folder in (self.path / "models").glob("*/")
            if all((self.model_folder(folder.name, fold) / "model.json").is_file() for fold in self.folds)
        ]
        cards = {name: self.card(name) for name in names}
        return dict(
            sorted(cards.items(), key=lambda item: (len(item[1].lineage), item[1].order, item[1].created, item[0]))
        )

    def models(self) -> list[str]:
        """Names of the models that are complete on every fold, in the order of `cards`."""
        return list(self.cards())

    def require_model(self, name: str) -> ModelCard:
        """The card of a model that is complete on every fold.

        Raises:
            StudyError: It is not there, or not on every fold.
        """
        cards = self.cards()
        if name not in cards:
            there = ", ".join(cards) or "none yet"
            raise StudyError(f"Study {self.path} has no model {name!r} (models: {there}): run `regaze train` first.")
        return cards[name]

    def feature_cache(self, machine: MachineOptions) -> FeatureCache:
        """The feature cache of one step; a new one for each, since it holds on to what it handed out.

        Raises:
            OptionError: `machine.cache` is no size.
        """
        from regaze.models.features import FeatureCache, parse_size  # with torch, which a study is listed without

        return FeatureCache(self.path / "cache" / "features", parse_size(machine.cache))


def create_study(
    path: Path, options: StudyOptions, voice: Voice, check: Callable[[Dataset], None] | None = None
) -> Study:
    """Make a study, or open it where the folder already holds the very same one.

    A study that is refused leaves no folder behind.

    Args:
        path: Its folder.
        options: What it is about.
        voice: For notes and progress.
        check: Raises where the photographs do not suit what the study is made for; asked before anything is written.

    Raises:
        StudyError: The folder holds another study or other files, or the data is too small.
        OptionError: An option is out of range.
        DataError: The data cannot be read.
    """
    check_options(options)
    if (path / "study.json").is_file():
        return _open_same(path, options, voice)
    if path.exists() and (not path.is_dir() or any(_is_foreign(item) for item in path.iterdir())):
        raise StudyError(f"{path} is not empty and no study: give a new folder.")
    made = not path.exists()
    with held(path / ".locks" / "init", wait=True):
        if (path / "study.json").is_file():  # another process has made it meanwhile
            return _open_same(path, options, voice)
        return _make(path, options, voice, check, made)


def _open_same(path: Path, options: StudyOptions, voice: Voice) -> Study:
    """The study of a folder, if it was made with these options."""
    study = open_study(path, voice)
    changed = _differences(study.options, options)
    if changed:
        raise StudyError(f"Study {path} was made with {changed}: give the same options, or another folder.")
    return study


def _is_foreign(item: Path) -> bool:
    """Whether a file in a folder without study.json is none that making a study, however it ended, leaves there."""
    return item.name not in ("data", "cache", ".locks") and not item.name.startswith(".study.json.")


def _make(
    path: Path, options: StudyOptions, voice: Voice, check: Callable[[Dataset], None] | None, made: bool
) -> Study:
    try:
        dataset = load_photographs(path, options, voice)
        if not any(sample.label is not None for sample in dataset.samples if sample.part == "training"):
            raise StudyError(f"{options.data} has no graded photograph to train on: add labels.")
        if check is not None:
            check(dataset)
        found, near = look_and_compare(dataset, voice, path / "cache" / "near")
        dataset = _told(dataset, options, found, near)
        split = _split(dataset, options)
        referable = referable_from(dataset.classes, dataset.ordinal, dataset.eyes)
        dataset = replace(dataset, referable=referable)
        values = {
            "schema_version": SCHEMA_VERSION,
            "regaze": __version__,
            "created": timestamp(),
            "options": options.plain(),
            "classes": list(dataset.classes),
            "ordinal": dataset.ordinal,
            "referable": referable,
            "eyes": dataset.eyes,
            "fingerprint": dataset.fingerprint,
            "notes": list(dataset.notes),
            "found": list(found),
            "near_copies": near,
            "split": split,
        }
        for left_over in path.glob(".study.json.*"):  # of a call that was killed
            left_over.unlink()
        write_json(path / "study.json", values)
    except (RegazeError, OSError):
        if made:
            shutil.rmtree(path, ignore_errors=True)
        raise
    return Study(path, options, dataset, split, voice, near)


def open_study(path: Path, voice: Voice) -> Study:
    """Open a study and make sure that its data is still what it was.

    Raises:
        StudyError: The folder is no study, is damaged, was written by a newer version, or its data has changed.
    """
    stored = read_study_file(path)
    options, split, near = stored.options, stored.split, stored.near
    changed = (
        f"The data of study {path} ({options.data}) has changed since the study was made: restore it, or start a new "
        "study."
    )
    try:
        dataset = load_photographs(path, options, voice, stored.labels, stored.eyes)
    except UnknownLabelError as error:
        raise StudyError(changed) from error
    if dataset.fingerprint != stored.fingerprint:
        raise StudyError(changed)
    if split.keys() != {sample.id for sample in dataset.samples if sample.part == "training"}:
        raise StudyError(
            f"{path / 'study.json'} is damaged (its split lists other photographs): restore it, or start a new study."
        )
    dataset = _told(replace(dataset, referable=stored.referable), options, stored.found, near)
    return Study(path, options, dataset, split, voice, near)


def load_photographs(
    path: Path, options: StudyOptions, voice: Voice, labels: LabelWish | None = None, eyes: bool | None = None
) -> Dataset:
    """Read the data that options name; synthetic photographs are made in the study's folder.

    Args:
        path: The study's folder.
        options: Data, boxes, patients, what the split is by, and seed.
        voice: Shows the progress.
        labels: What the classes are, where a study has settled it; None: what the options say of them.
        eyes: Likewise whether the photographs show eyes; None: look.

    Raises:
        DataError: The data cannot be read.
    """
    with voice.progress("reading photographs") as feed:
        return load_dataset(
            options.data,
            boxes=options.boxes,
            patient=options.patient,
            split_by=options.split_by,
            columns=options.table_wish,
            labels=labels or options.label_wish,
            mask_classes=options.mask_classes,
            folder=path / "data",
            seed=options.seed,
            progress=feed,
            eyes=eyes,
            cache=path / "cache",
        )


def _told(dataset: Dataset, options: StudyOptions, found: Sequence[str], near: Sequence[tuple[str, ...]]) -> Dataset:
    """The data set with what a look at its photographs found."""
    dataset = replace(dataset, notes=(*dataset.notes, *found))
    return told_of_near_copies(dataset, near, group=options.group_near_copies)


def _split(dataset: Dataset, options: StudyOptions) -> dict[str, int]:
    """Sample id -> fold; without cross-validation fold 0 of five is the validation part."""
    by_period = options.split_by != "patient"
    if options.folds > 1:
        return make_split(dataset.samples, options.folds, options.seed, by_period=by_period)
    try:
        return make_split(dataset.samples, DEFAULT_FOLDS, options.seed, by_period=by_period)
    except DataError as error:  # which speaks of folds that the user did not ask for
        if by_period and all(sample.period is None for sample in dataset.samples):
            raise
        patients = words_of(dataset).patients
        units = patients if not by_period else "periods (or values of the column) that share no group"
        raise StudyError(
            f"{options.data} is too small for a validation part of one fifth, which needs the training photographs of "
            f"at least {DEFAULT_FOLDS} {units}: pass --folds 2, or add photographs."
        ) from error


def _differences(stored: StudyOptions, asked: StudyOptions) -> str:
    """The stored options that differ from the asked ones, as they would be written on the command line."""
    before, now = stored.plain(), asked.plain()
    return " ".join(f"--{key.replace('_', '-')} {value}" for key, value in before.items() if value != now[key])
