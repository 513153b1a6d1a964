"""Photographs listed in a CSV table, with their labels, patients, parts and lesion masks.

Columns (in any order, upper or lower case): `image` and `label` or other names for them (`data.columns`); if wanted
`patient`, `split` (train, training, val, validation or test), what folds leave out as a whole (`period`, `site`), and
masks: a column named like a lesion (`regaze.lesion_names`: `haemorrhages`, `HE`), `mask`, or `LESION_mask`
(`anything_mask` counts as type `lesion`, `optic_disc_mask` is no lesion). Columns of plain numbers hold no masks. Paths
are relative to the table (also to a folder of the photographs) or absolute, and may be spelled as other tools do
(`data.finder`). A cell that says that nothing is known (`nan`, `NA`, `-`) is an empty one.

A mask cell lists files separated by `;`. `none` means: looked for and absent. An empty cell means absent too, where the
row's other mask cells say anything; a row whose mask cells are all empty is not annotated. An empty label means: not
graded.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from regaze.data.classes import Arranged, LabelWish, UnknownLabelError, arrange, is_missing, plain_number
from regaze.data.columns import Roles, TableWish, binary_columns, find_roles, label_of
from regaze.data.finder import Finder
from regaze.data.folder import expression_words, with_patients
from regaze.data.fundus import are_fundus
from regaze.data.images import IMAGE_SUFFIXES
from regaze.data.text_table import TextTable, read_text_table
from regaze.data.tree import part_name, part_of
from regaze.errors import DataError
from regaze.lesion_names import lesion_type, named_lesion
from regaze.records import Dataset, Origin, Part, Sample

# Names of columns with the patient, without separators; they are offered, since `case` may be anything.
_PATIENTS = (
    r"(patient|pat|subject|subj|person|case|study|exam|individual|participant|mrn|pid)s?"
    r"(id|no|nr|num|number|code|name|key|uid)?"
)


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


def read_table(
    file: Path,
    spec: str,
    patient: str | None = None,
    split_by: str = "patient",
    columns: TableWish | None = None,
    wish: LabelWish | None = None,
    faults: list[str] | None = None,
) -> Dataset:
    """Read a table of photographs.

    Args:
        file: The table, see the module and `text_table`.
        spec: The spelling that the user gave.
        patient: Name of the column with the patient; if there is no such column, a regular expression with one group
            that finds the patient in the photograph's stem. None: the column `patient`, if the table has it.
        split_by: Column with what folds leave out as a whole; `patient`: none; `period`: if the table has it.
        columns: What the user says of the columns, see `columns`.
        wish: What the user says of the classes.
        faults: Takes what is wrong with single rows, which are then left out (of a bad label the label alone); None:
            the first is an error.

    Returns:
        The data set; classes by `classes.arrange`. Ids are the photographs' paths as written, without suffix. Contents,
        twins and fingerprint are left empty for `sources.load_dataset`.

    Raises:
        DataError: No file, no rows, a missing column, a bad label or part, a photograph or mask that does not exist or
            is listed twice. The message names file and line.
    """
    columns, wish = columns or TableWish(), wish or LabelWish()
    names, rows, notes = _read_rows(file)
    roles = _roles(file, names, rows, columns)
    mask_columns = _mask_columns([name for name in names if name not in (roles.image, *roles.labels)], rows)
    if columns.images is not None and not columns.images.is_dir():
        raise DataError(f"--images {columns.images}: there is no such folder.")
    finder = Finder(columns.images or file.parent, anywhere=columns.images is not None)
    beside = [Finder(folder, anywhere=False) for folder in (file.parent, columns.images) if folder is not None]
    rows, images = _present(rows, roles.image, mask_columns, finder, beside, faults)
    notes += _respelled(rows, roles.image, images, finder.base)
    labels, more = _labels(rows, roles, names)
    notes += more
    column = roles.labels[0] if len(roles.labels) == 1 else ""
    arranged = _arranged(labels, rows, file, wish, column or "class", images, faults)
    notes += arranged.notes
    patient_column = (patient or "patient").strip().lower()
    if patient is not None and patient_column not in names and "(" not in patient:
        raise DataError(
            f"{file} has no column '{patient}' with the patient (its columns: {', '.join(names)}): pass --patient with "
            "one of these, or with an expression that has one group, such as ^(P[0-9]+)_."
        )
    period_column = None if split_by == "patient" else split_by.strip().lower()
    if period_column not in (None, "period", *names):
        raise DataError(
            f"{file} has no column '{split_by}' to split by (its columns: {', '.join(names)}): pass --split-by "
            "patient, period or one of these."
        )
    ids = _ids(rows, roles.image, images, finder.base)
    samples = []
    for row, image, label, sample in zip(rows, images, arranged.indices, ids, strict=True):
        masks, origin = _masks(row, mask_columns, beside)
        samples.append(
            Sample(
                id=sample,
                image=image,
                label=label,
                part=_part(row),
                patient=_known(row.cells.get(patient_column, ""), wish),
                masks=masks,
                origin=origin,
                period=_known(row.cells.get(period_column or "", ""), wish),
            )
        )
    named_by = f"column {names.get(patient_column, patient_column)}"
    if patient is not None and patient_column not in names:
        named_by = expression_words(patient)
        samples, more = with_patients(samples, patient)
        notes += more
    used = {roles.image, *roles.labels, "split", patient_column, period_column, *mask_columns}
    ignored = [column for column in names if column not in used]
    if (roles.image, *roles.labels) != ("image", "label"):
        notes.append(
            f"Photographs by the column {names[roles.image]}, labels by {', '.join(names[x] for x in roles.labels)}."
        )
    notes += [f"Columns of the table that are not used: {', '.join(ignored)}."] if ignored else []
    told = [column for column in ignored if re.fullmatch(_PATIENTS, re.sub(r"[\s_-]+", "", column))]
    if patient is None and "patient" not in names and told:
        notes.append(
            f"The column {names[told[0]]} may name the patients: pass --patient '{names[told[0]]}' if it does."
        )
    return Dataset(spec, arranged.classes, arranged.ordinal, tuple(samples), "", tuple(notes), named_by)


def _read_rows(file: Path) -> tuple[dict[str, str], list[_Row], list[str]]:
    """The columns (lower case -> as written), the photographs' rows, and how the table was read."""
    table = read_text_table(file)
    if not table.lines:
        raise DataError(
            f"{file} is empty: expected a header with the columns image and label, and a row per photograph."
        )
    table = _with_header(table)
    written = table.lines[0][1]
    columns = [name.lower() for name in written]
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise DataError(f"{file} has two columns '{twice[0]}': rename one of them.")
    rows = []
    for number, cells in table.lines[1:]:
        row = _Row(file, number, dict(zip_longest(columns, cells[: len(columns)], fillvalue="")))
        if any(cells[len(columns) :]):
            raise DataError(f"{row} has {len(cells)} cells, expected {len(columns)}: quote cells that hold a comma.")
        rows.append(row)
    if not rows:
        raise DataError(f"{file} lists no photographs: add a row per photograph below the header.")
    return {column: name for column, name in zip(columns, written, strict=True) if column}, rows, table.notes


def _with_header(table: TextTable) -> TextTable:
    """A table without a header gets one where its first line plainly is a photograph's: `a.jpg 0`, as DDR has it."""
    suffixes = "|".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    pattern = re.compile(rf"(\S.*?\.({suffixes}))[\s,;|]+([^\s,;|]+)", re.IGNORECASE)
    lines = [(number, pattern.fullmatch(" ".join(cells))) for number, cells in table.lines]
    if lines[0][1] is None:
        return table
    rows = [
        (number, [found[1], found[3]] if found else cells)
        for (number, found), (_, cells) in zip(lines, table.lines, strict=True)
    ]
    notes = [*table.notes, "The table has no header: its lines are taken as the name of a photograph and its label."]
    labels = Counter(cells[-1] for _, cells in rows)
    if labels["5"] and len(labels) > 3 and labels.keys() <= set("012345"):
        rows = [(number, [name, "" if label == "5" else label]) for number, (name, label) in rows]
        notes.append(f"Label 5 ({labels['5']} photographs) is DDR's word for ungradable: these count as not graded.")
    return TextTable([(0, ["image", "label"]), *rows], notes)


def _roles(file: Path, columns: Mapping[str, str], rows: Sequence[_Row], wish: TableWish) -> Roles:
    """The columns of photograph and label; where no label is found, one-hot columns are named."""
    try:
        roles = find_roles(file, list(columns), wish)
        hot = binary_columns(list(columns), [row.cells for row in rows]) if wish.label is None else []
        # `DR` among a dozen diseases is one of them (RFMiD), and not the label.
        if roles.labels[0] in hot and len(hot) > 2 and roles.labels[0] in ("dr", "diabetic_retinopathy", "target"):
            raise DataError(f"{file} has no column 'label' that is plainly one.")
        return roles
    except DataError as error:
        hot = binary_columns(list(columns), [row.cells for row in rows]) if wish.label is None else []
        hot = [columns[column] for column in hot]
        if len(hot) < 2 or "'label'" not in str(error):
            raise
        raise DataError(
            f"{file} has no column with a label, but {len(hot)} of 0 and 1 ({', '.join(hot)}): where these are its "
            f"classes, pass --label-column {','.join(hot)}; else --label-column NAME."
        ) from error


def _labels(rows: Sequence[_Row], roles: Roles, columns: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The photographs' labels as written, whole numbers as 3 for 03 and 3.0, and notes about one-hot columns."""
    labels: list[str] = []
    several = []
    for row in rows:
        try:
            label = label_of(row.cells, roles.labels, columns)
        except ValueError as error:
            raise DataError(
                f"{row}: the cell '{error}' is '{row.cells[str(error)]}', expected 0 or 1, since --label-column names "
                "several columns."
            ) from error
        several += [row.line] if label is None else []
        labels.append(plain_number(label or ""))
    if len(roles.labels) == 1:
        return labels, []
    notes = [f"Labels are one-hot, in the columns {', '.join(columns[column] for column in roles.labels)}."]
    if several:
        notes.append(
            f"{len(several)} photographs have none or several of these labels (for example line {several[0]}): they "
            "count as not graded."
        )
    return labels, notes


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


def _existing(row: _Row, column: str, text: str, finders: Sequence[Finder], deep: bool = False) -> Path:
    """The file that a cell names; `deep`: also looked for in other folders, see `Finder`."""
    if not text or not text.isprintable():
        raise DataError(f"{row}: the cell '{column}' is {text!r}: write the path of a file.")
    try:
        path = next(filter(None, (finder.find(text, deep) for finder in finders)), None)
    except DataError as error:
        raise DataError(f"{row}, column '{column}': {error}") from error
    if path is None:
        cure = " (pass --images DIR where the photographs lie elsewhere)" if deep else ""
        raise DataError(
            f"{row}: there is no file {finders[0].base / text} (column '{column}'): correct the path or remove the "
            f"row{cure}."
        )
    return path


def _present(
    rows: Sequence[_Row],
    column: str,
    mask_columns: Mapping[str, str],
    finder: Finder,
    beside: Sequence[Finder],
    faults: list[str] | None,
) -> tuple[list[_Row], list[Path]]:
    """The rows whose files are there, and their photographs; see `read_table` for the faults of others."""
    seen: dict[Path, _Row] = {}
    kept, images = [], []
    for row in rows:
        try:
            image = _existing(row, column, row.cells[column], [finder], deep=True)
            _refuse_twice(row, column, seen.setdefault(image.resolve(), row))
            if faults is not None:  # else read with the rest of the row, after what concerns all of them
                _masks(row, mask_columns, beside)
                _part(row)
        except DataError as error:
            if faults is None:
                raise
            faults.append(str(error))
            continue
        kept.append(row)
        images.append(image)
    if not kept:
        raise DataError(f"{finder.base}: none of the {len(rows)} rows has its files (for example {rows[0]}).")
    return kept, images


def _arranged(
    labels: list[str],
    rows: Sequence[_Row],
    file: Path,
    wish: LabelWish,
    graded_by: str,
    images: Sequence[Path],
    faults: list[str] | None,
) -> Arranged:
    """`arrange`; a label that is outside what the classes may be is a fault, and taken out."""
    while True:
        try:
            return arrange(labels, str(file), wish, graded_by, lambda: are_fundus(images), lambda row: str(rows[row]))
        except UnknownLabelError as error:
            if faults is None:
                raise
            count = labels.count(error.label)
            faults.append(f"{error}" + (f" {count} rows have this label." if count > 1 else ""))
            labels = ["" if label == error.label else label for label in labels]


def _respelled(rows: Sequence[_Row], column: str, images: Sequence[Path], base: Path) -> list[str]:
    """A note about photographs whose names are written otherwise in the table."""
    found = [
        (row.cells[column], image) for row, image in zip(rows, images, strict=True) if image != base / row.cells[column]
    ]
    if not found:
        return []
    text, image = found[0]
    return [f"{len(found)} of {len(rows)} photographs are spelled otherwise in the table: {text} is {image}."]


def _refuse_twice(row: _Row, column: str, other: _Row) -> None:
    if other is not row:
        raise DataError(f"{row}: {row.cells[column]} is listed in line {other.line} already: keep one row.")


def _known(text: str, wish: LabelWish) -> str | None:
    """A patient or period; None where the cell says that nothing is known."""
    return None if not text or (is_missing(text) and not wish.earlier) else text


def _part(row: _Row) -> Part:
    text = row.cells.get("split", "")
    if is_missing(text):
        return "training"
    name = part_name(text)
    if name is None:
        raise DataError(f"{row}: split '{text}' is not one of training, train, val, validation, test: correct it.")
    return part_of(name)


def _masks(
    row: _Row, columns: Mapping[str, str], finders: Sequence[Finder]
) -> tuple[dict[str, tuple[Path, ...]], Origin]:
    """A row's masks by lesion type, and whether anything is known about its lesions."""
    masks: dict[str, tuple[Path, ...]] = {}
    said = {column: row.cells[column] for column in columns}
    # `nan` is an empty cell, as pandas writes it; `none` says that somebody looked.
    said = {column: text for column, text in said.items() if not is_missing(text) or text.lower() == "none"}
    for column, text in said.items():
        if text.lower() != "none":
            names = [name.strip() for name in text.split(";") if name.strip()]
            kind = columns[column]
            masks[kind] = masks.get(kind, ()) + tuple(_existing(row, column, name, finders) for name in names)
    return masks, "masks" if said else "none"


def _ids(rows: Sequence[_Row], column: str, images: Sequence[Path], base: Path) -> Iterator[str]:
    """Yield an id per row: the photograph's path as written, without suffix and without anything that climbs.

    Where two rows would share an id (`a.jpg` and `a.png`, `../a` and `a`), both get their line in front.
    """
    texts = [row.cells[column] for row in rows]
    plain = [_safe(text, image == base / text) for text, image in zip(texts, images, strict=True)]
    # Upper and lower case are one file on some systems, and an id names files in a study.
    counts = Counter(name.casefold() for name in plain)
    for row, name in zip(rows, plain, strict=True):
        yield name if counts[name.casefold()] == 1 else f"line{row.line}/{name}"


def _safe(text: str, exact: bool) -> str:
    """An id of a name; where it is not exactly the file's (`exact`), what follows its dot may be no suffix."""
    pieces = [piece for piece in re.split(r"[/\\]+", text) if piece not in ("", ".", "..")]
    pieces = [re.sub(r'[:*?"<>|]', "_", piece) for piece in pieces]
    name = Path(pieces[-1])
    if exact:
        return "/".join([*pieces[:-1], name.stem])
    last = name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name
    return unicodedata.normalize("NFC", "/".join([*pieces[:-1], last]))
