"""Which columns of a table name the photograph and its label.

Known are the names that public data sets use. Where several columns could be meant, or none, the message names the
option that says it. Labels may be one-hot (ODIR: `N,D,G,C,A,H,M,O`), where `--label-column` names all columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regaze.errors import DataError

_IMAGES = (
    *("image", "file_name", "filename", "image_name", "image_id", "id_code", "image_file", "image_path", "img"),
    *("file_path", "filepath", "path", "file", "photo", "photograph", "img_path", "img_name", "image_filename"),
)
_LABELS = (
    *("label", "diagnosis", "level", "grade", "dr_grade", "retinopathy_grade", "adjudicated_dr_grade", "class"),
    *("dr_level", "diabetic_retinopathy", "diabetic_retinopathy_grade", "icdr", "class_name", "category", "target"),
    *("class_label", "class_id", "label_name", "image_label", "severity", "stage", "dr"),
)
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")


@dataclass(frozen=True)
class TableWish:
    """What a user says of a table; None: by the names that are known.

    Attributes:
        image: Column with the photograph's name.
        label: Column with its label; several, joined by commas, are one-hot.
        images: Folder that the names are relative to, whatever folders stand in them.
    """

    image: str | None = None
    label: str | None = None
    images: Path | None = None


@dataclass(frozen=True)
class Roles:
    """The columns, lower case.

    Attributes:
        image: With the photograph's name.
        labels: One, or several that are one-hot.
    """

    image: str
    labels: tuple[str, ...]


def find_roles(file: Path, columns: Sequence[str], wish: TableWish) -> Roles:
    """Find the columns of photograph and label.

    Args:
        file: The table.
        columns: Its columns, lower case.
        wish: What the user says.

    Raises:
        DataError: A column is missing, or several could be meant.
    """
    if wish.label is None:
        labels: tuple[str, ...] = (_known(file, columns, _LABELS, "label"),)
    else:
        labels = tuple(dict.fromkeys(name.strip().lower() for name in wish.label.split(",") if name.strip()))
        # The name of one column may hold a comma itself.
        labels = (wish.label.strip().lower(),) if wish.label.strip().lower() in columns else labels
        _require(file, columns, labels, "label")
    if wish.image is None:
        return Roles(_known(file, columns, _IMAGES, "image"), labels)
    image = wish.image.strip().lower()
    _require(file, columns, (image,), "image")
    return Roles(image, labels)


def label_of(cells: Mapping[str, str], labels: Sequence[str], names: Mapping[str, str]) -> str | None:
    """A row's label as written; None where one-hot columns mark none or several.

    Args:
        cells: Column -> text.
        labels: See `Roles`.
        names: Column -> its name as the table spells it, which is the class.

    Raises:
        ValueError: A one-hot cell is neither 0 nor 1; its text is the column.
    """
    if len(labels) == 1:
        return cells[labels[0]]
    for column in labels:
        if cells[column].lower() not in (*_TRUE, *_FALSE):
            raise ValueError(column)
    marked = [names[column] for column in labels if cells[column].lower() in _TRUE]
    return marked[0] if len(marked) == 1 else None


def binary_columns(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns whose cells are all 0 or 1, both of which occur: they may be one-hot labels."""
    found = []
    for column in columns:
        texts = {row[column].lower() for row in rows}
        if texts <= {*_TRUE, *_FALSE} and texts & set(_TRUE) and texts & set(_FALSE):
            found.append(column)
    return found


def _known(file: Path, columns: Sequence[str], names: Sequence[str], what: str) -> str:
    """The column that goes by a known name; the first of the known names goes before all others."""
    by_plain = {re.sub(r"[\s_-]+", "", column): column for column in columns}
    plain = dict.fromkeys(name.replace("_", "") for name in names)
    found = [by_plain[name] for name in plain if name in by_plain]
    option = f"--{what}-column"
    listed = ", ".join(columns)
    if not found:
        raise DataError(
            f"{file} has no column '{what}' (its columns: {listed}): pass {option} NAME"
            + (" (several, joined by commas, where labels are one-hot)." if what == "label" else ".")
        )
    if len(found) > 1 and found[0] != by_plain.get(names[0]):
        raise DataError(f"{file} has the columns {' and '.join(found)}: pass {option} with the one that holds it.")
    return found[0]


def _require(file: Path, columns: Sequence[str], wanted: Sequence[str], what: str) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing or not wanted:
        name = missing[0] if missing else ""
        raise DataError(f"--{what}-column: {file} has no column '{name}' (its columns: {', '.join(columns)}).")
