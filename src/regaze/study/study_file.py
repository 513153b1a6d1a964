"""The file that makes a folder a study, `study.json`, read through one door.

Invariant: what is read has the types and ranges that making a study writes, whatever the file holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regaze.data.classes import LabelWish
from regaze.errors import OptionError, StudyError
from regaze.files import read_json, typed
from regaze.study.check import check_options
from regaze.study.options import StudyOptions

SCHEMA_VERSION = 1
DEFAULT_FOLDS = 5  # a single validation part is one fifth


@dataclass(frozen=True)
class StudyFile:
    """What `study.json` says.

    Attributes:
        options: What the study is about.
        split: Sample id of each training photograph -> fold.
        fingerprint: Of the data.
        labels: What the classes are.
        eyes: Whether the photographs show eyes; None: the study is of an earlier version, which did not ask.
        referable: See `Dataset.referable`.
        found: Notes on photographs and masks that look like a slip; empty in older studies.
        near: Groups of near-copies, likewise.
    """

    options: StudyOptions
    split: dict[str, int]
    fingerprint: str
    labels: LabelWish
    eyes: bool | None
    referable: int | None
    found: tuple[str, ...]
    near: tuple[tuple[str, ...], ...]


def read_study_file(path: Path) -> StudyFile:
    """Read a study's `study.json`.

    Args:
        path: The study's folder.

    Raises:
        StudyError: It is missing, damaged, or written by a newer version.
    """
    file = path / "study.json"
    if not file.is_file():
        raise StudyError(f"{path} is no study (it has no study.json): run `regaze init {path} --data ...` first.")
    try:
        values = read_json(file)
        schema: int = typed(int, values["schema_version"])
        if schema > SCHEMA_VERSION:  # asked first: a newer file may hold what this version cannot read
            raise StudyError(f"{file} has schema {schema}, this regaze reads up to {SCHEMA_VERSION}: update regaze.")
        options = StudyOptions.from_plain(values["options"])
        check_options(options)
        split: dict[str, int] = typed(dict[str, int], values["split"])
        fingerprint: str = typed(str, values["fingerprint"])
        classes, ordinal = typed(tuple[str, ...], values["classes"]), typed(bool, values["ordinal"])
        # An earlier version took the third of any grades for referable.
        usual = 2 if ordinal and len(classes) > 2 else None
        referable = typed(int | None, values.get("referable", usual))
        if schema < 1 or (referable is not None and not 0 < referable < len(classes)):
            raise ValueError(f"schema_version is {schema}, referable is {referable}")
        labels = LabelWish(classes, ordinal, options.sound_class, earlier="referable" not in values)
        eyes = typed(bool | None, values.get("eyes"))
        # Older studies were made without a look at the photographs.
        found = typed(tuple[str, ...], values.get("found", []))
        near = typed(tuple[tuple[str, ...], ...], values.get("near_copies", []))
        folds = options.folds if options.folds > 1 else DEFAULT_FOLDS
        if not all(0 <= fold < folds for fold in split.values()):
            raise ValueError(f"the split has a fold outside 0..{folds - 1}")
    except (KeyError, TypeError, ValueError, AttributeError, OptionError) as error:
        raise StudyError(f"{file} is damaged ({error}): restore it, or start a new study.") from error
    return StudyFile(options, split, fingerprint, labels, eyes, referable, found, near)
