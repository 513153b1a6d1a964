"""Corrections in and out of a study in the formats of other tools; a file that is wrong leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from regaze.corrections.author import default_author
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS, Format
from regaze.data.images import photo_orientation, photo_size
from regaze.errors import OptionError, StudyError
from regaze.records import DrawnCorrection
from regaze.study.folder import Study


def format_named(name: str) -> Format:
    """A format by its name on the command line.

    Raises:
        OptionError: There is none.
    """
    if name not in FORMATS:
        raise OptionError(f"--format {name}: expected one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def album_of(study: Study, prefix: str = "") -> Album:
    """The study's photographs as other tools know them: by id and by file name, before which a prefix is written."""
    photographs = []
    samples = study.dataset.samples
    with study.voice.progress("measuring photographs") as feed:
        for done, sample in enumerate(samples, start=1):
            width, height = photo_size(sample.image)
            orientation = photo_orientation(sample.image)
            photographs.append(Photograph(sample.id, (sample.image.name,), width, height, orientation))
            feed(done, len(samples))
    return Album(photographs, prefix)


def export_corrections(
    study: Study, path: Path, format_name: str, model: str | None = None, image_prefix: str = ""
) -> int:
    """Write the corrections of a study to a file or folder of another tool's format.

    The latest of each photograph; where the format holds several, the latest of each expert.

    Args:
        study: Whose corrections.
        path: The new file or folder.
        format_name: One of `FORMATS`.
        model: Only corrections of this model's maps; default: of any.
        image_prefix: Written before the photographs' names; formats that name their files like photographs take none.

    Returns:
        How many were written.

    Raises:
        StudyError: There is none.
        OptionError: The format is unknown, or takes no prefix.
        CorrectionError: The file exists or cannot be written.
    """
    file_format = format_named(format_name)
    if image_prefix and not file_format.names_pictures:
        takers = ", ".join(name for name, one in FORMATS.items() if one.names_pictures)
        raise OptionError(f"--image-prefix {image_prefix}: {format_name} names no pictures, expected one of {takers}.")
    latest: dict[tuple[str, str], int] = {}
    for entry in study.store.correction_index():
        if model is None or entry.model.rpartition("/")[0] == model:
            latest[entry.sample, entry.author if file_format.several else ""] = entry.id
    if not latest:
        whose = "" if model is None else f" of {model}"
        raise StudyError(f"Study {study.path} has no correction{whose} to export: run `regaze correct` first.")
    corrections = (study.store.correction(correction) for _, correction in sorted(latest.items()))
    file_format.write(corrections, album_of(study, image_prefix), path)
    return len(latest)


def import_corrections(
    study: Study, path: Path, format_name: str, model: str, author: str | None = None, intake: Intake | None = None
) -> dict[str, int]:
    """Take corrections from another tool's file or folder: what it holds, or nothing where it cannot be trusted.

    With cross-validation a correction is written once per fold that trains on the photograph. What the store holds
    already is not written again, so that a call that was cut off may be repeated.

    Args:
        study: Where they go.
        path: The file or folder.
        format_name: One of `FORMATS`.
        model: Whose maps were corrected.
        author: Who made those that name nobody; default: the user's login name.
        intake: How it is taken; knows afterwards what was left out.

    Returns:
        `read`, `written` (rows in the store), `there_already` (rows that would say again what the store holds),
        `set_aside` (photographs that no model may learn from: validation without cross-validation, or the test part).

    Raises:
        StudyError: The model is missing.
        OptionError: The format is unknown.
        CorrectionError: The file cannot be read or something in it is wrong; the message names the line or path.
    """
    file_format = format_named(format_name)
    study.require_model(model)
    album = album_of(study)
    drawn = file_format.read(path, album, intake)
    trained = {fold: {sample.id for sample in study.training(fold)} for fold in study.folds}
    learnable = [item for item in drawn if any(item.sample in ids for ids in trained.values())]

    rows = [(item, fold) for item in learnable for fold, ids in trained.items() if item.sample in ids]
    name = author or default_author()
    corrections = (_drawn_correction(item, album, study.fold_name(model, fold), name) for item, fold in rows)
    written = study.store.add_corrections(corrections, unless_there=True)
    return {
        "read": len(drawn),
        "written": len(written),
        "there_already": len(rows) - len(written),
        "set_aside": len(drawn) - len(learnable),
    }


def _drawn_correction(item: Drawn, album: Album, model: str, author: str) -> DrawnCorrection:
    photograph = album.photograph(item.sample)
    size = photograph.height, photograph.width
    return DrawnCorrection(item.sample, model, item.mode, item.shapes, *size, item.author or author, item.remark)
