"""Corrections in and out of a study in the formats of other tools; a foreign file is taken whole or not at all."""

from __future__ import annotations

from pathlib import Path

from regaze.corrections.author import default_author
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS, Format
from regaze.corrections.shapes import rasterise
from regaze.data.images import photo_size
from regaze.errors import OptionError, StudyError
from regaze.records import Correction
from regaze.study.folder import Study


def format_named(name: str) -> Format:
    """A format by its name on the command line.

    Raises:
        OptionError: There is none.
    """
    if name not in FORMATS:
        raise OptionError(f"--format {name}: expected one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def album_of(study: Study) -> Album:
    """The study's photographs as other tools know them: by id and by file name."""
    photographs = []
    samples = study.dataset.samples
    with study.voice.progress("measuring photographs") as feed:
        for done, sample in enumerate(samples, start=1):
            photographs.append(Photograph(sample.id, (sample.image.name,), *photo_size(sample.image)))
            feed(done, len(samples))
    return Album(photographs)


def export_corrections(study: Study, path: Path, format_name: str, model: str | None = None) -> int:
    """Write the corrections of a study to a file or folder of another tool's format.

    The latest of each photograph; where the format holds several, the latest of each expert.

    Args:
        study: Whose corrections.
        path: The new file or folder.
        format_name: One of `FORMATS`.
        model: Only corrections of this model's maps; default: of any.

    Returns:
        How many were written.

    Raises:
        StudyError: There is none.
        OptionError: The format is unknown.
        CorrectionError: The file exists or cannot be written.
    """
    file_format = format_named(format_name)
    latest: dict[tuple[str, str], int] = {}
    for entry in study.store.correction_index():
        if model is None or entry.model.rpartition("/")[0] == model:
            latest[entry.sample, entry.author if file_format.several else ""] = entry.id
    if not latest:
        whose = "" if model is None else f" of {model}"
        raise StudyError(f"Study {study.path} has no correction{whose} to export: run `regaze correct` first.")
    corrections = (study.store.correction(correction) for _, correction in sorted(latest.items()))
    file_format.write(corrections, album_of(study), path)
    return len(latest)


def import_corrections(
    study: Study, path: Path, format_name: str, model: str, author: str | None = None
) -> dict[str, int]:
    """Take corrections from another tool's file or folder: all of them, or none where one is wrong.

    With cross-validation a correction is written once per fold that trains on the photograph.

    Args:
        study: Where they go.
        path: The file or folder.
        format_name: One of `FORMATS`.
        model: Whose maps were corrected.
        author: Who made those that name nobody; default: the user's login name.

    Returns:
        `read`, `written` (rows in the store), `set_aside` (photographs that no model may learn from: validation
        without cross-validation, or the test part).

    Raises:
        StudyError: The model is missing.
        OptionError: The format is unknown.
        CorrectionError: The file cannot be read or something in it is wrong; the message names the line or path.
    """
    file_format = format_named(format_name)
    study.require_model(model)
    album = album_of(study)
    drawn = file_format.read(path, album)
    trained = {fold: {sample.id for sample in study.training(fold)} for fold in study.folds}
    learnable = [item for item in drawn if any(item.sample in ids for ids in trained.values())]

    corrections = (
        _correction(item, album, study.fold_name(model, fold), author or default_author())
        for item in learnable
        for fold, ids in trained.items()
        if item.sample in ids
    )
    written = study.store.add_corrections(corrections)
    return {"read": len(drawn), "written": len(written), "set_aside": len(drawn) - len(learnable)}


def _correction(item: Drawn, album: Album, model: str, author: str) -> Correction:
    photograph = album.photograph(item.sample)
    look, avoid = rasterise(item.shapes, photograph.height, photograph.width)
    return Correction(
        id=0,
        sample=item.sample,
        model=model,
        origin="expert",
        mode=item.mode,
        look=look,
        avoid=avoid if avoid.any() else None,
        author=item.author or author,
        time="",
        remark=item.remark,
        shapes=item.shapes,
    )
