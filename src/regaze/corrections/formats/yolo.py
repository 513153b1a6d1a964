"""YOLO boxes: a folder with one text for each photograph, a line `class centre-x centre-y width height` for each box.

The last four are shares of the photograph's width and height. What the class numbers mean stands in the folder's
`classes.txt` (one name per line, class 0 first), `obj.names` (the same) or the `names` of `data.yaml`.

Written are `<sample id>.txt`, `classes.txt` with `look` and `avoid`, and `reviewed.list` with the ids of the corrected
photographs. Lost: author, remark, time; mode (read back as `replace`); and any shape but a box. Where something
else was drawn, the photograph gets the bounding box of each connected area: "not here" first, so that "look here" wins
where the two overlap.

A text without boxes is *not corrected*, for tools write one for every photograph; it means "nothing here deserves
attention" only where `reviewed.list` names the photograph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regaze.corrections.formats.drawn import (
    LABELS,
    Album,
    Drawn,
    Photograph,
    check_box,
    meaning,
    member,
    new_folder,
    sheets,
    simple_shapes,
)
from regaze.corrections.formats.source import Place, read_text, shown
from regaze.corrections.formats.xml_lines import number
from regaze.corrections.shapes import rasterise
from regaze.errors import CorrectionError
from regaze.files import write_text
from regaze.records import Correction, Shape

REVIEWED = "reviewed.list"

# Exporters round: the boxes drawn on IDRiD reach .0028 beyond the edge. The same as for the boxes of a data set.
_ROUNDING = 0.01
# No photograph: lists of names, of pictures of each part, and what people put beside them.
_OTHER_TEXTS = frozenset({"classes", "readme", "license", "licence", "train", "valid", "val", "test"})
_Corners = tuple[tuple[float, float], tuple[float, float]]
_CLASSES = {0: True, 1: False}


def read_yolo(path: Path, album: Album) -> list[Drawn]:
    """Read a folder of YOLO boxes.

    Args:
        path: The folder.
        album: The photographs it may name; a text belongs to the photograph with its name.

    Returns:
        What was drawn, ordered by file name; see the module for texts without boxes.

    Raises:
        CorrectionError: A text is malformed, fits no photograph, or has a class without a name.
    """
    texts = _texts(path)
    looks = {key: meaning(name) for key, name in _names(path).items()}
    reviewed = _reviewed(path, album)
    result, owners = [], dict[str, Path]()
    for file in texts:
        photograph = album.find(file.relative_to(path).as_posix(), Place(file))
        if photograph.sample in owners:
            raise Place(file).refuse(f"a second text of {photograph.sample} beside {owners[photograph.sample]}", "one")
        owners[photograph.sample] = file
        shapes = _boxes(file, looks, photograph)
        if shapes or photograph.sample in reviewed:
            result.append(Drawn(photograph.sample, shapes))
    for sample, place in reviewed.items():
        if sample not in owners:
            raise place.refuse(f"{sample} without a text", f"{sample}.txt, which may be empty")
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
            if photograph.sample.lower() in _OTHER_TEXTS:
                raise CorrectionError(f"{photograph.sample}.txt is no box file in YOLO: export to another format")
            lines = [_line(shape, photograph) for shape in _as_boxes(drawn, photograph)]
            write_text(member(folder, photograph.sample, ".txt"), "".join(lines))
            reviewed.append(photograph.sample)
        write_text(folder / "classes.txt", "".join(f"{LABELS[look]}\n" for look in _CLASSES.values()))
        write_text(folder / REVIEWED, "".join(f"{sample}\n" for sample in reviewed))


def _as_boxes(drawn: Drawn, photograph: Photograph) -> list[Shape]:
    shapes = simple_shapes(drawn, photograph)
    if all(shape.kind == "box" for shape in shapes):
        return shapes
    look, avoid = rasterise(drawn.shapes, photograph.height, photograph.width)
    return [*_bounds(avoid, False), *_bounds(look, True)]


def _bounds(mask: NDArray[np.bool_], look: bool) -> list[Shape]:
    """The bounding box of each 8-connected area of a (H, W) bool mask."""
    _, _, areas, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [
        Shape("box", look, ((float(x), float(y)), (float(x + width), float(y + height))))
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
    kind = next(key for key, look in _CLASSES.items() if look == shape.look)
    return " ".join([str(kind), *(f"{value:.12f}" for value in values)]) + "\n"


def _texts(path: Path) -> list[Path]:
    if not path.is_dir():
        raise Place(path).refuse("no folder", "a folder of YOLO texts")
    texts = [
        file
        for file in sorted(path.rglob("*.txt"))
        if file.relative_to(path).with_suffix("").as_posix().lower() not in _OTHER_TEXTS
    ]
    if not texts and not (path / REVIEWED).is_file():
        raise Place(path).refuse("no text", "a .txt for each photograph")
    for file in texts:
        if file.is_symlink():
            raise Place(file).refuse("a link", "the text itself")
    return texts


def _reviewed(path: Path, album: Album) -> dict[str, Place]:
    """The samples that `reviewed.list` names, and where."""
    file = path / REVIEWED
    found: dict[str, Place] = {}
    if file.is_file():
        for line, text in enumerate(_lines(file), start=1):
            if text.strip():
                found[album.find(text.strip(), Place(file, line)).sample] = Place(file, line)
    return found


def _boxes(file: Path, looks: dict[int, bool | None], photograph: Photograph) -> tuple[Shape, ...]:
    shapes = []
    for line, text in enumerate(_lines(file), start=1):
        if text.strip():
            place = Place(file, line)
            kind, box = _box(text, photograph, place)
            if kind not in looks:
                raise place.refuse(f"class {kind}", f"one of {sorted(looks)}, those with a name")
            look = looks[kind]
            if look is not None:
                shapes.append(Shape("box", look, box))
    return tuple(shapes)


def _box(text: str, photograph: Photograph, place: Place) -> tuple[int, _Corners]:
    """Class and corners of a line, in original pixels."""
    words = text.split()
    if len(words) != 5 or not re.fullmatch(r"[0-9]{1,9}", words[0]):
        raise place.refuse(shown(text.strip()), "class, centre x, centre y, width, height")
    x, y, width, height = (number(word, "a share", place) for word in words[1:])
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if not all(-_ROUNDING <= edge <= 1 + _ROUNDING for edge in edges):
        raise place.refuse(f"the box {' '.join(words[1:])}", "shares of width and height, 0..1, not pixels")
    # To a millionth of a pixel: a border in the middle of a pixel must come back there.
    x0, y0, x1, y1 = (
        round(min(1.0, max(0.0, edge)) * side, 6)
        for edge, side in zip(edges, (photograph.width, photograph.height) * 2, strict=True)
    )
    check_box(x0, y0, x1, y1, photograph, place)
    return int(words[0]), ((x0, y0), (x1, y1))


def _names(path: Path) -> dict[int, str]:
    """Class number -> name."""
    for name, parse in (
        ("classes.txt", _listed),
        ("obj.names", _listed),
        ("data.yaml", _in_yaml),
        ("data.yml", _in_yaml),
    ):
        file = path / name
        if file.is_file():
            names = parse(read_text(file, may_be_empty=True))
            if not names:
                raise Place(file, 1).refuse("no names", "one for each class, class 0 first")
            return names
    raise Place(path).refuse("no classes.txt", "the names of the classes, one per line, class 0 first")


def _listed(text: str) -> dict[int, str]:
    return dict(enumerate(line.strip() for line in text.strip().splitlines()))


def _in_yaml(text: str) -> dict[int, str]:
    """The `names` of a data.yaml in their spellings: `[a, b]`, `{0: a}`, a list of `- a`, a list of `0: a`."""
    lines = [re.sub(r"(^|\s)#.*$", "", line) for line in text.splitlines()]
    heads = [index for index, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if not heads:
        return {}
    inline = lines[heads[0]].partition(":")[2].strip()
    entries = inline.strip("[]{}").split(",") if inline else _block(lines[heads[0] + 1 :])
    names = {}
    for position, entry in enumerate(entry.strip() for entry in entries):
        keyed = re.fullmatch(r"(\d{1,9})\s*:\s*(.*)", entry)
        key, name = (int(keyed[1]), keyed[2]) if keyed else (position, entry.removeprefix("-"))
        names[key] = name.strip(" \t'\"")
    return {key: name for key, name in names.items() if name}


def _block(lines: list[str]) -> list[str]:
    """The lines of a YAML list or mapping, up to where it ends."""
    entries = []
    for line in lines:
        if re.match(r"\s*-\s|\s+\d+\s*:", line):
            entries.append(line)
        elif line.strip():
            break
    return entries


def _lines(file: Path) -> list[str]:
    return read_text(file, may_be_empty=True).split("\n")
