"""YOLO: a folder with one text for each photograph (`regaze.yolo`): boxes, polygons, turned boxes.

Written are `<sample id>.txt`, `classes.txt` with `look` and `avoid`, and `reviewed.list` with the ids of the corrected
photographs. Lost: author, remark, time; mode (read back as `replace`); and any shape but a box. Where something
else was drawn, or erased, the photograph gets the bounding box of each connected area: "not here" first, so that "look
here" wins where the two overlap.

A text without boxes is *not corrected*, for tools write one for every photograph; it means "nothing here deserves
attention" only where `reviewed.list` names the photograph.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.drawn import LABELS, Drawn, meaning, sheets, simple_shapes
from regaze.corrections.formats.folders import by_name, member, new_folder
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.sheet import Sheet, sheet_of, upright_shapes
from regaze.corrections.formats.source import Source
from regaze.corrections.shapes import rasterise
from regaze.errors import CorrectionError, DataError
from regaze.files import write_text
from regaze.records import Correction, Mark, Shape
from regaze.yolo import box_files, is_box_file, read_marks, read_names, read_text

REVIEWED = "reviewed.list"


def read_yolo(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    """Read a folder of YOLO texts.

    Args:
        path: The folder.
        album: The photographs it may name; a text belongs to the photograph with its name.
        intake: How it is taken.

    Returns:
        What was drawn, ordered by file name; see the module for texts without boxes.

    Raises:
        CorrectionError: A text is malformed, fits no photograph, or has a class without a name.
    """
    try:
        return _read(path, album, intake)
    except DataError as error:
        raise CorrectionError(f"{error}, nothing was taken") from error


def _read(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    texts = by_name(path, box_files(path), suffix=".txt", may_be_empty=(path / REVIEWED).is_file())
    names = read_names(path)
    if names is None:
        raise Source(path).refuse("no classes.txt", "the names of the classes, one per line, class 0 first")
    reviewed = _reviewed(path, album, intake)
    result, owners = list[Drawn](), dict[str, str]()
    for name, file in texts.items():
        source = Source(file)
        photograph = intake.find(album, name, source)
        if photograph is None:
            continue
        first = owners.setdefault(photograph.sample, name)
        if first != name:
            raise source.refuse(f"a second text of {photograph.sample} beside {first}", "one")
        before = intake.shapes_left_out
        shapes = _shapes(file, names, sheet_of(photograph, None, intake, source))
        # Where all that was drawn is left out, nobody said that there is nothing to see.
        if shapes or (photograph.sample in reviewed and intake.shapes_left_out == before):
            result.append(Drawn(photograph.sample, shapes))
    for sample, source in reviewed.items():
        if sample not in owners:
            raise source.refuse(f"{sample} without a text", f"{sample}.txt, which may be empty")
    return result


def write_yolo(items: Iterable[Drawn | Correction], album: Album, path: Path) -> None:
    """Write a folder of YOLO boxes, whole or not at all.

    Args:
        items: At most one for each photograph.
        album: The photographs.
        path: The folder; absent or empty.

    Raises:
        CorrectionError: A photograph is unknown or comes twice, its id cannot name a file, or `path` is taken.
    """
    reviewed = []
    with new_folder(path) as folder:
        for photograph, drawn in sheets(items, album):
            if not is_box_file(PurePath(f"{photograph.sample}.txt")):
                raise CorrectionError(f"{photograph.sample}.txt is no box file in YOLO: export to another format")
            lines = [_line(shape, photograph.upright) for shape in _as_boxes(drawn, photograph)]
            write_text(member(folder, photograph.sample, ".txt"), "".join(lines))
            reviewed.append(photograph.sample)
        write_text(folder / "classes.txt", "".join(f"{label}\n" for label in LABELS))
        write_text(folder / REVIEWED, "".join(f"{sample}\n" for sample in reviewed))


def _as_boxes(drawn: Drawn, photograph: Photograph) -> list[Shape]:
    """Boxes on the upright photograph."""
    shapes = simple_shapes(drawn, photograph)
    if all(shape.kind == "box" for shape in shapes):
        return shapes
    look, avoid = rasterise(drawn.shapes, photograph.height, photograph.width)
    return upright_shapes([*_bounds(avoid, "avoid"), *_bounds(look, "look")], photograph)


def _bounds(mask: NDArray[np.bool_], mark: Mark) -> list[Shape]:
    """The bounding box of each 8-connected area of a (H, W) bool mask."""
    _, _, areas, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [
        Shape("box", mark, ((float(x), float(y)), (float(x + width), float(y + height))))
        for x, y, width, height, _ in areas[1:].tolist()
    ]


def _line(shape: Shape, photograph: Photograph) -> str:
    (x0, y0), (x1, y1) = shape.points
    values = (
        (x0 + x1) / 2 / photograph.width,
        (y0 + y1) / 2 / photograph.height,
        abs(x1 - x0) / photograph.width,
        abs(y1 - y0) / photograph.height,
    )
    return " ".join([str(LABELS.index(shape.mark)), *(f"{value:.12f}" for value in values)]) + "\n"


def _reviewed(path: Path, album: Album, intake: Intake) -> dict[str, Source]:
    """The samples that `reviewed.list` names, and where."""
    file = path / REVIEWED
    lines = read_text(file).split("\n") if file.is_file() else []
    sources = ((text.strip(), Source(file, line)) for line, text in enumerate(lines, start=1))
    find = album.match if intake.skip_unknown else album.find  # a stranger is counted by its text
    found = ((find(name, source), source) for name, source in sources if name)
    return {photograph.sample: source for photograph, source in found if photograph is not None}


def _shapes(file: Path, names: dict[int, str], sheet: Sheet) -> tuple[Shape, ...]:
    shapes: list[Shape] = []
    for item in read_marks(file, names):
        mark, source = meaning(names[item.number]), Source(file, item.line)
        if mark is None:
            sheet.intake.landmark(names[item.number])
            continue
        # To a millionth of a pixel: a border in the middle of a pixel must come back there.
        points = [(round(x * sheet.width, 6), round(y * sheet.height, 6)) for x, y in item.points]
        if item.is_box:
            (x0, y0), (x1, y1) = points
            shapes += sheet.box((x0, x1), (y0, y1), mark, source)
        elif len(points) == 4:
            shapes += sheet.turned(points, mark, source)
        else:
            shapes += sheet.polygon(points, mark, source)
    return tuple(shapes)
