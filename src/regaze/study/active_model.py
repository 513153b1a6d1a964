"""The active model, which commands take where none is named: the one that `regaze use` chose, else the usual one.

Importing this module imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from regaze.console import Voice
from regaze.errors import StudyError
from regaze.files import read_json, typed, write_json
from regaze.records import timestamp
from regaze.study.folder import Study, open_study

_USUAL = "multi-scale"
ACTIVE_FILE = "in_use.json"  # the name that studies on disk have


def active_model(study: Study) -> str:
    """The chosen model, else the only one that there is, else the usual one, whether or not it is there.

    Raises:
        StudyError: The note of the choice is damaged.
    """
    models = study.models()
    return chosen_model(study) or (models[0] if len(models) == 1 else _USUAL)


def chosen_model(study: Study) -> str | None:
    """The model that `regaze use` chose; None where nobody has chosen, or the model is gone.

    Raises:
        StudyError: The note of the choice is damaged.
    """
    file = study.path / ACTIVE_FILE
    if not file.is_file():
        return None
    try:
        name: str = typed(str, read_json(file)["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} is damaged ({error}): run `regaze use {study.path} MODEL` again.") from error
    return name if name in study.models() else None


def choose(study: Study, name: str) -> None:
    """Note a choice; what was chosen before is noted with it."""
    file = study.path / ACTIVE_FILE
    try:
        before = read_json(file)["model"] if file.is_file() else None
    except (ValueError, KeyError, TypeError):  # damaged: choosing anew is the cure
        before = None
    write_json(file, {"model": name, "time": timestamp(), "before": before})


def model_folder(path: Path) -> Path:
    """A model folder as it is, or the first fold of a study's active model.

    Raises:
        StudyError: The active model is not there.
    """
    if not (path / "study.json").is_file() or (path / "model.json").is_file():
        return path
    study = open_study(path, Voice(quiet=True))
    name = active_model(study)
    study.require_model(name)
    return study.model_folder(name, study.folds[0])
