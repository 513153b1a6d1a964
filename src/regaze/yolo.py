"""Reads marks in YOLO format: a folder with one text per photograph, and what its class numbers mean.

A line is `class centre-x centre-y width height`, the last four as shares of the photograph's width and height; or a
class and the corners of a polygon, `class x1 y1 x2 y2 x3 y3 ...` (YOLO-seg), four of which are a turned box
(YOLO-OBB). A last number that has no partner is the confidence of a prediction, 0..1, and passed over. Shares are of
the photograph as tools show it, upright (`regaze.orientation`).

Keypoints (YOLO-pose) and tracks look like polygons and are refused: by the `kpt_shape` of their `data.yaml`, and where
all lines of a folder are as long. The class names stand
in `classes.txt`, `obj.names` or `_darknet.labels` (one per line, class 0 first) or as `names` in `data.yaml` or
`dataset.yaml`: at the top of the folder, else below it. Texts that list pictures (`train.txt`), and what is said of the
data set (`README.roboflow.txt`), are passed over.

Invariant: every mistake is one DataError that names the file and the line; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import yaml

from regaze.errors import DataError

_MAX_BYTES = 16 * 2**20
_SLIGHT = 0.03
"""How far a side may lie outside 0..1 and is clipped: people draw beyond the edge, and exporters round (IDRiD's boxes
reach -.0028); more is a mistake."""

_ALIKE = 3  # lines: of fewer no length tells anything
_EXPECTED = "class, centre x, centre y, width, height, or class and the x and y of three corners or more"

# No photograph: lists of names, what people put beside them, and, at the top, the pictures of each part.
_OTHER_TEXTS = frozenset({"classes", "readme", "license", "licence"})
_PART_LISTS = frozenset({"train", "valid", "val", "test"})


class Mark(NamedTuple):
    """A line of a text.

    Attributes:
        line: From 1.
        number: The class's.
        points: Shares of the upright photograph's width and height: a box's two opposite corners, the upper left one
            first, or a polygon's corners. A box lies within 0..1; what a polygon has outside is to be cut off.
    """

    line: int
    number: int
    points: tuple[tuple[float, float], ...]

    @property
    def is_box(self) -> bool:
        """Whether it is a box along the photograph's sides."""
        return len(self.points) == 2

    @property
    def edges(self) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 of the box around it, 0..1, x0 < x1, y0 < y1; None where that has no inside."""
        xs, ys = ([min(1.0, max(0.0, value)) for value in values] for values in zip(*self.points, strict=True))
        edges = (min(xs), min(ys), max(xs), max(ys))
        return edges if edges[0] < edges[2] and edges[1] < edges[3] else None


def is_box_file(path: PurePath) -> bool:
    """Whether a text belongs to a photograph by its name; `path` is relative to the folder of boxes."""
    stem = path.stem.lower()
    is_other = stem.partition(".")[0] in _OTHER_TEXTS or (len(path.parts) == 1 and stem in _PART_LISTS)
    return path.suffix == ".txt" and not is_other


def box_files(folder: Path) -> list[Path]:
    """The texts below a folder that belong to photographs, sorted.

    Raises:
        DataError: All their lines look like boxes with more numbers behind them (keypoints, tracks).
    """
    files = [file for file in sorted(folder.rglob("*.txt")) if file.is_file() and is_box_file(file.relative_to(folder))]
    files = [file for file in files if file.parent != folder or not _lists_pictures(file)]
    _refuse_more_than_boxes(files)
    return files


def _refuse_more_than_boxes(files: Sequence[Path]) -> None:
    """Refuse texts whose lines all are as long, longer than a box and no turned one: polygons differ."""
    length, first, lines = 0, "", 0
    for file in files:
        try:
            texts = [] if file.is_symlink() else read_text(file).split("\n")
        except DataError:  # said when it is read
            return
        for text in filter(str.strip, texts):
            values = text.split()
            length, first, lines = length or len(values), first or text.strip()[:80], lines + 1
            if len(values) != length or length < 7 or length in (9, 10):
                return
    if lines >= _ALIKE:
        raise DataError(
            f"{files[0]}: every line holds {length - 1} numbers behind the class ({first!r}), as boxes with keypoints "
            "or with confidence and track do, and polygons do not: export boxes or polygons"
        )


def _lists_pictures(file: Path) -> bool:
    """Whether a text begins with the path of a picture, as the lists of a data set's parts do."""
    try:
        with file.open("rb") as stream:
            lines = stream.read(4096).split(b"\n")
    except OSError:  # said when it is read
        return False
    return bool(re.search(rb"\.(jpe?g|png|tiff?|bmp|webp)\s*$", lines[0], re.IGNORECASE))


def read_names(folder: Path) -> dict[int, str] | None:
    """The name of each class number; None where the folder does not say.

    The first of `_NAMES` counts, at the top of the folder before what lies below it.

    Raises:
        DataError: The file is there but cannot be read or holds no names; or two below the folder differ.
    """
    top = [folder / name for name in _NAMES if (folder / name).is_file()]
    if top:
        return _NAMES[top[0].name](top[0])
    below = sorted(file for file in folder.rglob("*") if file.name in _NAMES and file.is_file())
    found = [(file, _NAMES[file.name](file)) for file in below]
    for file, names in found[1:]:
        if names != found[0][1]:
            raise DataError(f"{found[0][0]} and {file} name the classes differently: keep one of them in {folder}")
    return found[0][1] if found else None


def read_marks(file: Path, classes: Collection[int]) -> list[Mark]:
    """Read the marks of a photograph, in the file's order.

    Args:
        file: A mark per line; empty lines do no harm.
        classes: The class numbers that have a name.

    Raises:
        DataError: A line is malformed, its class is unknown, or its mark lies outside the photograph.
    """
    marks = []
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        values = text.split()
        if values:
            mark = _mark(values, file, line)
            if mark.number not in classes:
                raise _mistake(file, line, f"class {mark.number}", f"one of {sorted(classes)}, those with a name")
            marks.append(mark)
    return marks


def _mark(values: list[str], file: Path, line: int) -> Mark:
    """What one line says."""
    shown = " ".join(values)[:80]
    try:
        if any("_" in value for value in values):  # float takes 1_0
            raise ValueError
        kind, *numbers = (float(value) for value in values)  # NumPy writes a class as 0.000000e+00
        if len(numbers) < 4 or not (0 <= kind < 1e9 and kind.is_integer()):
            raise ValueError
    except ValueError:
        raise _mistake(file, line, repr(shown), _EXPECTED) from None
    if len(numbers) % 2 and not 0 <= numbers.pop() <= 1:
        raise _mistake(file, line, repr(shown), f"{_EXPECTED}; a last number alone is a confidence, 0..1")
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if len(points) == 2:
        (x, y), (width, height) = points
        points = ((x - abs(width) / 2, y - abs(height) / 2), (x + abs(width) / 2, y + abs(height) / 2))
    # A turned box at the photograph's edge has corners outside; its middle has not.
    inner = points if len(points) != 4 else ((sum(numbers[::2]) / 4, sum(numbers[1::2]) / 4),)
    near = all(-1 <= value <= 2 for point in points for value in point)  # NaN is not within either
    if not near or not all(-_SLIGHT <= value <= 1 + _SLIGHT for point in inner for value in point):
        raise _mistake(file, line, f"the box {shown}", "shares of width and height, 0..1, not pixels")
    if len(points) == 2:
        points = tuple((min(1.0, max(0.0, x)), min(1.0, max(0.0, y))) for x, y in points)
    return Mark(line, int(kind), points)


def _listed(file: Path) -> dict[int, str]:
    """One name per line."""
    names = [line.strip() for line in read_text(file).rstrip().split("\n")]
    if "" in names:  # some tools count an empty line, some do not
        raise _mistake(file, names.index("") + 1, "no name", "one per line, class 0 first, without empty lines")
    return dict(enumerate(names))


def _in_yaml(file: Path) -> dict[int, str]:
    """`names` as a list, or as a mapping from numbers.

    The document's nodes are read, not the values they stand for: these know their line, `no` stays a name, and
    aliases that multiply are never unfolded.
    """
    text = read_text(file)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _mistake(file, mark.line + 1 if mark else 1, f"no YAML ({error.problem})", "a YAML file") from error
    except (yaml.reader.ReaderError, RecursionError) as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _mistake(file, line, f"no YAML ({getattr(error, 'reason', 'too deep')})", "a YAML file") from error
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    pose = next((key for key, _ in entries if key.value == "kpt_shape"), None)
    if pose is not None:
        raise _mistake(file, pose.start_mark.line + 1, "keypoints (kpt_shape)", "boxes or polygons: export these")
    node = next((value for key, value in entries if key.value == "names"), None)
    expected = "`names:` with a list of names, class 0 first, or with numbers and names"
    if isinstance(node, yaml.SequenceNode):
        pairs = [(str(number), value) for number, value in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        pairs = [(key.value, value) for key, value in node.value]
    else:
        raise _mistake(file, node.start_mark.line + 1 if node else 1, "no list of names", expected)
    names: dict[int, str] = {}
    for number, value in pairs:
        line = value.start_mark.line + 1
        if not isinstance(number, str) or not re.fullmatch(r"[0-9]{1,9}", number) or int(number) in names:
            raise _mistake(file, line, f"the class {str(number)[:40]!r}", "a number, each once")
        if not isinstance(value, yaml.ScalarNode) or not value.value.strip():
            raise _mistake(file, line, f"no name for class {number}", "a text")
        names[int(number)] = value.value.strip()
    if not names:
        raise _mistake(file, node.start_mark.line + 1, "no names", expected)
    return names


def read_text(file: Path) -> str:
    """A text in UTF-8, with or without a byte order mark.

    Raises:
        DataError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        size = file.stat().st_size
        if size > _MAX_BYTES:
            raise DataError(f"{file} has {size} bytes, expected at most {_MAX_BYTES}: no text of boxes or names")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _mistake(file, line, f"the byte 0x{error.object[error.start]:02x}", "text in UTF-8") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error}): check its permissions") from error


def _mistake(file: Path, line: int, wrong: str, expected: str) -> DataError:
    return DataError(f"{file}, line {line}: {wrong}, expected {expected}: correct it and try again")


_NAMES = {"classes.txt": _listed, "obj.names": _listed, "_darknet.labels": _listed} | dict.fromkeys(
    ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml"), _in_yaml
)
"""Files with the names of the classes, and how each is read."""
