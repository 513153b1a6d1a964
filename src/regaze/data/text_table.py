"""Tables as people and programs write them: columns and rows of text, whatever the encoding and what parts the cells.

Read are CSV in UTF-8, UTF-16 and Windows-1252, parted by commas, semicolons, tabs or bars (with or without Excel's line
`sep=;`), and JSON Lines (Hugging Face's `metadata.jsonl`). Anything but commas in UTF-8 is said in a note. Workbooks
and other files that are no text are refused with what to do.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regaze.errors import DataError

_NO_TEXT = {
    b"PK\x03\x04": "is an Excel workbook (.xlsx) or another zipped file",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook of the old kind (.xls)",
    b"PAR1": "is a Parquet file",
    b"\x1f\x8b": "is compressed (gzip)",
    b"%PDF": "is a PDF",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_INVISIBLE = str.maketrans("", "", "\u200b\u200e\u200f\u2060\ufeff")
_WIDE = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
Line = tuple[int, list[str]]


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        lines: Those that are not empty: number from 1 (of JSON Lines the line after the header, which is 1), stripped
            cells. The first is the header.
        notes: How it was read, where not as commas in UTF-8.
    """

    lines: list[Line]
    notes: list[str]


def csv_lines(file: Path) -> list[Line]:
    """The lines of a table that are not empty, see `TextTable.lines`; arguments and errors as `read_text_table`."""
    return read_text_table(file).lines


def read_text_table(file: Path) -> TextTable:
    """Read a table.

    Args:
        file: CSV, or JSON Lines by its suffix (`.jsonl`, `.ndjson`) or by how it begins.

    Raises:
        DataError: It cannot be read, or is no text.
    """
    text, notes = _text(file)
    if file.suffix.lower() in (".jsonl", ".ndjson") or text.lstrip().startswith(("{", "[")):
        return TextTable(_json_lines(file, text), [*notes, "The table is read as JSON Lines."])
    first = re.match(r"sep=(.)\r?\n", text)
    separator = first[1] if first else _separator(text)
    # Excel's line must not shift the numbers of the lines that follow.
    text = text[first.end() :] if first else text
    shift = 1 if first else 0
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        lines = [(reader.line_num + shift, [cell.translate(_INVISIBLE).strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{file} cannot be read as a CSV table ({error}): check the file.") from error
    if separator != ",":
        notes.append(f"The table's cells are parted by {_SEPARATORS.get(separator, repr(separator))}.")
    return TextTable([(number, cells) for number, cells in lines if any(cells)], notes)


def _text(file: Path) -> tuple[str, list[str]]:
    """A file's text, and how it is encoded where not in UTF-8."""
    if file.exists() and not file.is_file():  # opening a pipe would wait for ever
        raise DataError(f"{file} is a folder, pipe or device, expected a table's file: give the file itself.")
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{file} cannot be read as a CSV table ({reason}): check the path and file.") from error
    for magic, words in _NO_TEXT.items():
        if data.startswith(magic):
            raise DataError(f"{file} {words}, not a CSV table: open it in its program and save it as CSV (UTF-8).")
    try:
        encoding = next((name for start, name in _WIDE.items() if data.startswith(start)), "")
        if not encoding and b"\0" in data[:2]:  # UTF-16 of plain letters, without the mark that it should have
            encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        if encoding:
            return data.decode(encoding), [f"The table is read as {encoding[:6].upper()}."]
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} cannot be read as a CSV table in UTF-8, UTF-16 or Windows-1252 (UnicodeDecodeError: {error}): "
            "save it as CSV (UTF-8)."
        ) from error
    if re.search(r"[\0-\x08\x0e-\x1f]", text):
        raise DataError(f"{file} is no text: expected a CSV table, saved as CSV (UTF-8).")
    return text, ["The table is not UTF-8; it is read as Windows-1252. If letters come out wrong, save it as UTF-8."]


def _separator(text: str) -> str:
    """What parts the cells of the header: of `_SEPARATORS` what makes most cells of it; a tie is commas."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    counts = {separator: len(next(csv.reader([header], delimiter=separator), [])) for separator in _SEPARATORS}
    return max(counts, key=lambda separator: counts[separator])


def _json_lines(file: Path, text: str) -> list[Line]:
    """The objects of a JSON Lines file as lines of a table, their keys being the columns; nested values stay JSON."""
    objects: list[tuple[int, dict[str, Any]]] = []
    if text.lstrip().startswith("["):  # one array of objects is as good
        text = _array_lines(file, text)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{file}, line {number} is no JSON ({error}): write one object on each line (JSON Lines)."
            ) from error
        if not isinstance(value, dict):
            raise DataError(f"{file}, line {number} is no JSON object: write one object on each line (JSON Lines).")
        objects.append((number, value))
    columns = list(dict.fromkeys(key for _, value in objects for key in value))
    header: list[Line] = [(1, [column.strip() for column in columns])] if columns else []
    return header + [(number, _cells(value, columns)) for number, value in objects]


def _array_lines(file: Path, text: str) -> str:
    """The items of a JSON array, one a line."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} begins like JSON but is none ({error}): export it anew.") from error
    return "\n".join(json.dumps(item) for item in items)


def _cells(value: dict[str, Any], columns: Sequence[str]) -> list[str]:
    def cell(item: Any) -> str:
        if item is None:
            return ""
        return item.strip() if isinstance(item, str) else json.dumps(item)

    return [cell(value.get(column)) for column in columns]
