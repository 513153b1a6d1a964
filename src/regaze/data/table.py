"""Photographs listed in a CSV table, with their labels, patients, parts and lesion masks.

Columns (in any order, upper or lower case): `image` and `label`; if wanted `patient`, `split` (train, training, val,
validation or test), what folds leave out as a whole (`period`, `site`), and masks: a column named like a lesion
(`regaze.lesion_names`: `haemorrhages`, `HE`), `mask`, or `LESION_mask` (`anything_mask` counts as type `lesion`,
`optic_disc_mask` is no lesion). Columns of plain numbers hold no masks. Paths are relative to the table or absolute.

A mask cell lists files separated by `;`. `none` means: looked for and absent. An empty cell means absent too, where the
row's other mask cells say anything; a row whose mask cells are all empty is not annotated. An empty label means: not
graded.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from regaze.data.folder import ordered_classes, with_patients
from regaze.data.tree import part_name, part_of
from regaze.errors import DataError
from regaze.lesion_names import lesion_type, named_lesion
from regaze.records import Dataset, Origin, Part, Sample

_MOST_GRADES = 20  # a table with the "grade" 57 holds something else than grades


@dataclass(frozen=True)
class _Row:
    """A photograph's line of the table.

    Attributes:
        file: The table.
        line: From 1, the header's.
        cells: Column (lower case) -> stripped text; empty where the line is short.
    """

    file: Path
    line: int
    cells: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def read_table(file: Path, spec: str, patient: str | None = None, split_by: str = "patient") -> Dataset:
    """Read a CSV table of photographs.

    Args:
        file: The table, see the module.
        spec: The spelling that the user gave.
        patient: Name of the column with the patient; if there is no such column, a regular expression with one group
            that finds the patient in the photograph's stem. None: the column `patient`, if the table has it.
        split_by: Column with what folds leave out as a whole; `patient`: none; `period`: if the table has it.

    Returns:
        The data set. Classes: 0..K - 1 (ordinal) where all labels are such numbers, otherwise the names, sorted,
        ordinal only if they are a word and consecutive numbers (`folder.ordered_classes`). Ids are the photographs'
        paths without suffix. Contents, twins and fingerprint are left empty for `sources.load_dataset`.

    Raises:
        DataError: No file, no rows, a missing column, a bad label or part, a photograph or mask that does not exist or
            is listed twice. The message names file and line.
    """
    columns, rows = _read_rows(file)
    mask_columns = _mask_columns(columns, rows)
    images = [_existing(row, "image", row.cells["image"]) for row in rows]
    _refuse_twice(rows, images)
    labels = [_plain_number(row.cells["label"]) for row in rows]
    classes, ordinal, notes = _classes(rows, labels)
    index = {name: number for number, name in enumerate(classes)}
    patient_column = (patient or "patient").strip().lower()
    period_column = None if split_by == "patient" else split_by.strip().lower()
    if period_column not in (None, "period", *columns):
        raise DataError(
            f"{file} has no column '{split_by}' to split by (its columns: {', '.join(columns)}): pass --split-by "
            "patient, period or one of these."
        )
    samples = []
    for row, image, label, sample in zip(rows, images, labels, _ids(rows), strict=True):
        masks, origin = _masks(row, mask_columns)
        samples.append(
            Sample(
                id=sample,
                image=image,
                label=index[label] if label else None,
                part=_part(row),
                patient=row.cells.get(patient_column) or None,
                masks=masks,
                origin=origin,
                period=row.cells.get(period_column or "") or None,
            )
        )
    if patient is not None and patient_column not in columns:
        samples, more = with_patients(samples, patient)
        notes += more
    used = {"image", "label", "split", patient_column, period_column, *mask_columns}
    ignored = [column for column in columns if column not in used]
    notes += [f"Columns of the table that are not used: {', '.join(ignored)}."] if ignored else []
    return Dataset(spec, classes, ordinal, tuple(samples), "", tuple(notes))


def csv_lines(file: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV table that are not empty: number from 1, stripped cells.

    Raises:
        DataError: It cannot be read.
    """
    try:
        if file.exists() and not file.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{file} is a folder, pipe or device, expected a table's file: give the file itself.")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"{file} cannot be read as a CSV table in UTF-8 ({reason}): check the path and file."
        ) from error
    return [(number, cells) for number, cells in lines if any(cells)]


def _read_rows(file: Path) -> tuple[list[str], list[_Row]]:
    """The columns' names (lower case) and the photographs' rows."""
    lines = csv_lines(file)
    if not lines:
        raise DataError(
            f"{file} is empty: expected a header with the columns image and label, and a row per photograph."
        )
    columns = [name.lower() for name in lines[0][1]]
    for needed in ("image", "label"):
        if needed not in columns:
            raise DataError(f"{file} has no column '{needed}' (its columns: {', '.join(columns)}): add or rename it.")
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise DataError(f"{file} has two columns '{twice[0]}': rename one of them.")
    rows = []
    for number, cells in lines[1:]:
        row = _Row(file, number, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
        if any(cells[len(columns) :]):
            raise DataError(f"{row} has {len(cells)} cells, expected {len(columns)}: quote cells that hold a comma.")
        rows.append(row)
    if not rows:
        raise DataError(f"{file} lists no photographs: add a row per photograph below the header.")
    return [column for column in columns if column], rows


def _mask_columns(columns: Sequence[str], rows: Sequence[_Row]) -> dict[str, str]:
    """Column -> lesion type, of the columns that hold masks."""
    kinds = {}
    for column in columns:
        name = re.fullmatch(r"(?:(.+?)[\s_-]+)?masks?", column)
        kind = named_lesion(column) if name is None else lesion_type(name[1] or "")
        texts = {row.cells[column] for row in rows} - {""}
        # A column `he` of 0 and 1 says that there are some, not where.
        if kind is not None and not (texts and all(re.fullmatch(r"[\d.]+", text) for text in texts)):
            kinds[column] = kind
    return kinds


def _existing(row: _Row, column: str, text: str) -> Path:
    """The file that a cell names, relative to the table."""
    if not text or not text.isprintable():
        raise DataError(f"{row}: the cell '{column}' is {text!r}: write the path of a file.")
    path = row.file.parent / text
    if not _is_file(path):
        raise DataError(f"{row}: there is no file {path} (column '{column}'): correct the path or remove the row.")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _refuse_twice(rows: Sequence[_Row], images: Sequence[Path]) -> None:
    seen: dict[Path, _Row] = {}
    for row, image in zip(rows, images, strict=True):
        other = seen.setdefault(image.resolve(), row)
        if other is not row:
            raise DataError(f"{row}: {row.cells['image']} is listed in line {other.line} already: keep one row.")


def _plain_number(label: str) -> str:
    """A label as written, but 3 for 03 and for 3.0, which spreadsheets write."""
    return str(int(float(label))) if re.fullmatch(r"-?\d{1,9}(\.0*)?", label) else label


def _classes(rows: Sequence[_Row], labels: Sequence[str]) -> tuple[tuple[str, ...], bool, list[str]]:
    """Classes, whether they are ordinal, and notes; the empty label is no class."""
    present = {label for label in labels if label}
    if not present:
        raise DataError(f"{rows[0]} and all rows below it have no label: grade at least some photographs.")
    if not all(re.fullmatch(r"-?\d+", label) for label in present):
        return *ordered_classes(present), []
    for row, label in zip(rows, labels, strict=True):
        if label and not 0 <= int(label) < _MOST_GRADES:
            raise DataError(
                f"{row}: label {label} is outside 0..{_MOST_GRADES - 1}: number the grades from 0, or write names."
            )
    highest = max(int(label) for label in present)
    absent = [str(grade) for grade in range(highest) if str(grade) not in present]
    notes = [f"No photograph has the grade {', '.join(absent)}."] if absent else []
    return tuple(str(grade) for grade in range(highest + 1)), highest > 0, notes


def _part(row: _Row) -> Part:
    text = row.cells.get("split", "")
    name = part_name(text)
    if text and name is None:
        raise DataError(f"{row}: split '{text}' is not one of training, train, val, validation, test: correct it.")
    return part_of(name)


def _masks(row: _Row, columns: Mapping[str, str]) -> tuple[dict[str, tuple[Path, ...]], Origin]:
    """A row's masks by lesion type, and whether anything is known about its lesions."""
    masks: dict[str, tuple[Path, ...]] = {}
    for column, kind in columns.items():
        text = row.cells[column]
        if text and text.lower() != "none":
            names = [name.strip() for name in text.split(";") if name.strip()]
            masks[kind] = masks.get(kind, ()) + tuple(_existing(row, column, name) for name in names)
    return masks, "masks" if any(row.cells[column] for column in columns) else "none"


def _ids(rows: Sequence[_Row]) -> Iterator[str]:
    """Yield an id per row: the photograph's path as written, without suffix and without anything that climbs.

    Where two rows would share an id (`a.jpg` and `a.png`, `../a` and `a`), both get their line in front.
    """
    plain = [_safe(row.cells["image"]) for row in rows]
    # Upper and lower case are one file on some systems, and an id names files in a study.
    counts = Counter(name.casefold() for name in plain)
    for row, name in zip(rows, plain, strict=True):
        yield name if counts[name.casefold()] == 1 else f"line{row.line}/{name}"


def _safe(text: str) -> str:
    pieces = [piece for piece in re.split(r"[/\\]+", text) if piece not in ("", ".", "..")]
    pieces = [re.sub(r'[:*?"<>|]', "_", piece) for piece in pieces]
    return "/".join([*pieces[:-1], Path(pieces[-1]).stem])
