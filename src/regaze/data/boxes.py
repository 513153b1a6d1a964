"""A clinician's boxes around lesions: a folder in YOLO format, one text file per photograph.

A line is `class centre-x centre-y width height`, the last four as shares of the photograph's width and
height. A file without a lesion's box (empty, or the optic disc alone) means that nothing was marked, which is
knowledge; a photograph without a file is unknown.

The meaning of the class numbers comes from `classes.txt` (one name per line, class 0 first) or the `names` of
a `data.yaml` in the folder. IDRiD's boxes are those of CODRAS (Chris von Csefalvay, 2019, CC BY-SA 4.0),
whose numbers are known without such a file, see `CODRAS_CLASSES`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from regaze.errors import DataError
from regaze.records import LESION_TYPES, Box, Sample

CODRAS_CLASSES: Mapping[int, str | None] = {0: None, 1: "hard_exudates", 2: "haemorrhages"}
"""Class number -> lesion type of the CODRAS boxes; None: the optic disc, never a lesion. Checked against the
masks of the 42 photographs that have both: class 0 covers 99 % of the optic disc's pixels; class 1 covers 68
% of the hard exudates' pixels and 3 % of the haemorrhages'; class 2 covers 50 % of the haemorrhages', 12 % of
the microaneurysms' and 2 % of the hard exudates'. Class 2 stands for haemorrhages and microaneurysms
together; it is called haemorrhages here because those make up nearly all of what it covers."""

_ROUNDING = 0.01
"""How far an edge may lie outside 0..1 and is clipped: exporters round (IDRiD's reach -.0028); more is a
mistake."""

_LESION_WORDS: tuple[tuple[str, str | None], ...] = (
    # The first pattern found in a name decides; `haemorrhages and microaneurysms` counts as haemorrhages, see
    # above.
    (r"(^|_)dis[ck](_|$)|optic|fovea|^macula$", None),
    (r"ha?emorr?h?ag|^he$", "haemorrhages"),
    (r"microan|^ma$", "microaneurysms"),
    (r"soft|cotton|^se$", "soft_exudates"),
    (r"exudate|^ex$", "hard_exudates"),
    (r"neovasc|^nv$", "neovascularisation"),
)


def lesion_type(name: str) -> str | None:
    """Return the lesion type that a name stands for.

    Args:
        name: As people write it: `Hard Exudates`, `hemorrhage`, `MA`, `optic_disc`.

    Returns:
        One of `LESION_TYPES`, `lesion` for an unknown name, None for a landmark that is no lesion (disc,
        fovea).
    """
    plain = re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
    if plain in LESION_TYPES:
        return plain
    return next((kind for pattern, kind in _LESION_WORDS if re.search(pattern, plain)), "lesion")


def read_classes(folder: Path) -> dict[int, str | None] | None:
    """Read what the class numbers of a boxes folder mean.

    Args:
        folder: Where `classes.txt` or `data.yaml` may lie.

    Returns:
        Class number -> lesion type (None: no lesion), or None where the folder does not say.

    Raises:
        DataError: The file is there but holds no names.
    """
    for name, parse in (
        ("classes.txt", _listed_names),
        ("data.yaml", _yaml_names),
        ("data.yml", _yaml_names),
    ):
        file = folder / name
        if file.is_file():
            names = parse(_text(file))
            if not names:
                raise DataError(f"{file} names no classes: write one name per line, class 0 first, in classes.txt.")
            return {number: lesion_type(text) for number, text in names.items()}
    return None


def read_box_file(file: Path, classes: Mapping[int, str | None]) -> tuple[Box, ...]:
    """Read the lesions' boxes of one photograph.

    Args:
        file: One box per line, see the module.
        classes: Class number -> lesion type; None: the class is no lesion and is left out.

    Returns:
        The boxes in the file's order, as shares of the original photograph.

    Raises:
        DataError: A line is malformed, its class is unknown, or its box lies outside the photograph.
    """
    boxes = []
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        kind, edges = _parse_line(line, where)
        if kind not in classes:
            raise DataError(
                f"{where}: class {kind} is not one of {sorted(classes)}: name it in {file.parent / 'classes.txt'}."
            )
        lesion = classes[kind]
        if lesion is not None:
            boxes.append(Box(lesion, *edges))
    return tuple(boxes)


def with_boxes(
    samples: Sequence[Sample],
    folder: Path,
    *,
    default_classes: Mapping[int, str | None] | None = None,
    prefix: str = "",
) -> tuple[list[Sample], tuple[str, ...]]:
    """Attach a folder of boxes to photographs.

    A text file belongs to the sample whose id it spells below the folder (`test/IDRiD_001.txt`), otherwise to
    the one photograph whose file has its stem. Masks, being finer, win over boxes.

    Args:
        samples: Photographs; those with masks keep them.
        folder: The boxes folder.
        default_classes: Meaning of the class numbers where the folder does not say; None: it must say.
        prefix: Where names repeat, as between the parts of IDRiD: what an id begins with if its box file lies
            flat in the folder (`training/`). Stems alone then mean nothing.

    Returns:
        The samples in the same order, and notes about what was attached and what was not.

    Raises:
        DataError: No folder, no text files, a malformed file, a name that fits several photographs, or
            nothing that fits any photograph.
    """
    files = _box_files(folder)
    classes = read_classes(folder) or default_classes
    if classes is None:
        raise DataError(
            f"{folder} does not say what its class numbers mean: put one name per line, class 0 first, "
            f"in {folder / 'classes.txt'} (for example optic_disc, hard_exudates, haemorrhages)."
        )
    owners = _Owners(samples, prefix)
    marked = list(samples)
    claimed: dict[int, Path] = {}
    unmatched, covered = [], 0
    for file in files:
        index = owners.find(file, folder)
        if index is None:
            unmatched.append(file)
            continue
        if index in claimed:
            raise DataError(f"{claimed[index]} and {file} both describe {samples[index].id}: keep one of them.")
        claimed[index] = file
        boxes = read_box_file(file, classes)
        if samples[index].origin == "masks":
            covered += 1
        else:
            marked[index] = replace(samples[index], boxes=boxes, origin="boxes")
    if not claimed:
        raise DataError(
            f"None of the {len(files)} box files in {folder} fits a photograph "
            f"(for example {files[0].name}; photographs are called like {samples[0].image.stem}): name them "
            f"alike."
        )
    return marked, _notes(marked, len(claimed), covered, unmatched)


class _Owners:
    """Finds the photograph that a box file belongs to."""

    def __init__(self, samples: Sequence[Sample], prefix: str) -> None:
        self._samples = samples
        self._prefix = prefix
        self._ids = {sample.id: index for index, sample in enumerate(samples)}
        self._stems: dict[str, list[int]] = {}
        for index, sample in enumerate(samples):
            self._stems.setdefault(sample.image.stem, []).append(index)

    def find(self, file: Path, folder: Path) -> int | None:
        """Return the sample's index, or None where no photograph fits."""
        relative = file.relative_to(folder).with_suffix("")
        spelled = (
            relative.as_posix().replace("train/", "training/", 1)
            if relative.parts[0] == "train"
            else relative.as_posix()
        )
        if self._prefix:
            return self._ids.get(spelled if len(relative.parts) > 1 else self._prefix + spelled)
        if spelled in self._ids:
            return self._ids[spelled]
        fitting = self._stems.get(relative.name, [])
        if len(fitting) > 1:
            names = " and ".join(self._samples[index].id for index in fitting[:2])
            raise DataError(
                f"{file} fits several photographs ({names}): lay the box files out like the photographs' "
                f"ids, "
                f"for example {folder / (self._samples[fitting[0]].id + '.txt')}."
            )
        return fitting[0] if fitting else None


def _parse_line(line: str, where: str) -> tuple[int, tuple[float, float, float, float]]:
    """Return class and edges (x0, y0, x1, y1), 0..1, of one line."""
    words = line.split()
    try:
        kind = int(words[0])
        x, y, width, height = (float(word) for word in words[1:])
    except ValueError:
        raise DataError(
            f"{where}: '{line.strip()[:80]}' is not a box: write class, centre x, centre y, width, height."
        ) from None
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if not all(math.isfinite(edge) and -_ROUNDING <= edge <= 1 + _ROUNDING for edge in edges):
        raise DataError(
            f"{where}: the box {' '.join(words[1:])} leaves the photograph: the numbers are shares of its "
            f"width and "
            "height, 0..1, not pixels."
        )
    if width <= 0 or height <= 0:
        raise DataError(f"{where}: the box is {width} wide and {height} high: both must be above 0.")
    x0, y0, x1, y1 = (min(1.0, max(0.0, edge)) for edge in edges)
    if x0 >= x1 or y0 >= y1:
        raise DataError(f"{where}: the box {' '.join(words[1:])} lies outside the photograph: correct or remove it.")
    return kind, (x0, y0, x1, y1)


def _box_files(folder: Path) -> list[Path]:
    """Return the text files of a boxes folder, sorted; `classes.txt` and README are no photographs."""
    if not folder.is_dir():
        raise DataError(f"There is no boxes folder at {folder}: check the path.")
    skipped = {"classes", "readme", "license", "licence"}
    files = sorted(file for file in folder.rglob("*.txt") if file.stem.lower() not in skipped)
    if not files:
        raise DataError(f"{folder} holds no box files: expected one .txt per photograph in YOLO format.")
    return files


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text ({type(error).__name__}): replace or remove it.") from error


def _listed_names(text: str) -> dict[int, str]:
    return dict(enumerate(line.strip() for line in text.strip().splitlines()))


def _yaml_names(text: str) -> dict[int, str]:
    """Read `names` of a YOLO data file in its three spellings: [a, b]; a list of `- a`; a list of `0: a`."""
    head = re.search(r"^names\s*:[ \t]*(.*)$", text, re.MULTILINE)
    if head is None:
        return {}
    inline = re.sub(r"\s+#.*$", "", head.group(1)).strip()
    if inline:
        entries = re.split(r"\s*,\s*", inline.strip("[]{} "))
    else:
        block = re.match(r"(?:\s*\n[ \t]*(?:-[ \t]|[ \t]\d+[ \t]*:)[^\n]*)*", text[head.end() :])
        entries = block.group(0).strip().splitlines() if block else []
    names: dict[int, str] = {}
    for position, entry in enumerate(entries):
        keyed = re.fullmatch(r"\s*(\d+)\s*:\s*(.*)", entry)
        number, name = (int(keyed.group(1)), keyed.group(2)) if keyed else (position, entry.strip().removeprefix("-"))
        names[number] = re.sub(r"\s+#.*$", "", name).strip(" \t'\"")
    return {number: name for number, name in names.items() if name}


def _notes(samples: Sequence[Sample], matched: int, covered: int, unmatched: Sequence[Path]) -> tuple[str, ...]:
    origins = Counter(sample.origin for sample in samples)
    unmarked = sum(sample.origin == "boxes" and not sample.boxes for sample in samples)
    notes = [
        f"Boxes: {matched} files fit a photograph; {origins['boxes']} photographs take them ({unmarked} of "
        f"these "
        f"with no lesion marked), {covered} keep their masks instead."
    ]
    if unmatched:
        notes.append(f"Boxes: {len(unmatched)} files fit no photograph (for example {unmatched[0].name}).")
    return tuple(notes)
