"""A clinician's boxes around lesions: a folder in YOLO format (`regaze.yolo`), one text file per photograph.

A file without a lesion's box (empty, or the optic disc alone) means that nothing was marked, which is knowledge; a
photograph without a file is unknown.

IDRiD's boxes are those of CODRAS (Chris von Csefalvay, 2019, CC BY-SA 4.0), whose numbers are known without a file of
names, see `CODRAS_CLASSES`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from regaze.data.images import photo_orientation
from regaze.errors import DataError
from regaze.lesion_names import lesion_type
from regaze.orientation import stored_point
from regaze.records import Box, Sample
from regaze.tool_names import spellings
from regaze.yolo import Mark, box_files, read_marks, read_names

CODRAS_CLASSES: Mapping[int, str | None] = {0: None, 1: "hard_exudates", 2: "haemorrhages"}
"""Class number -> lesion type of the CODRAS boxes; None: the optic disc, never a lesion. Checked against the
masks of the 42 photographs that have both: class 0 covers 99 % of the optic disc's pixels; class 1 covers 68
% of the hard exudates' pixels and 3 % of the haemorrhages'; class 2 covers 50 % of the haemorrhages', 12 % of
the microaneurysms' and 2 % of the hard exudates'. Class 2 stands for haemorrhages and microaneurysms
together; it is called haemorrhages here because those make up nearly all of what it covers."""


def read_classes(folder: Path) -> dict[int, str | None] | None:
    """The lesion type (None: no lesion) of each class number of a folder; None where the folder does not say.

    Raises:
        DataError: The file with the names is there but cannot be read or holds none.
    """
    names = read_names(folder)
    return None if names is None else {number: lesion_type(name) for number, name in names.items()}


def with_boxes(
    samples: Sequence[Sample],
    folder: Path,
    *,
    default_classes: Mapping[int, str | None] | None = None,
    prefix: str = "",
) -> tuple[list[Sample], tuple[str, ...]]:
    """Attach a folder of boxes to photographs.

    A text file belongs to the sample whose id it spells below the folder (`test/IDRiD_001.txt`), otherwise to the
    only photograph whose file has its stem. Masks, being finer, win over boxes.

    Args:
        samples: Photographs; those with masks keep them.
        folder: The boxes folder.
        default_classes: Meaning of the class numbers where the folder does not say; None: it must say.
        prefix: Where names repeat, as between the parts of IDRiD: what an id begins with if its box file lies flat in
            the folder (`training/`). Stems alone then mean nothing.

    Returns:
        The samples in the same order, and notes about what was attached and what was not.

    Raises:
        DataError: No folder, no text files, a malformed file, a name that fits several photographs, or nothing that
            fits any photograph.
    """
    if not folder.is_dir():
        raise DataError(f"There is no boxes folder at {folder}: check the path.")
    files = box_files(folder)
    if not files:
        raise DataError(f"{folder} holds no box files: expected one .txt per photograph in YOLO format.")
    classes = read_classes(folder) or default_classes
    if classes is None:
        raise DataError(
            f"{folder} does not say what its class numbers mean: put one name per line, class 0 first, "
            f"in {folder / 'classes.txt'} (for example optic_disc, hard_exudates, haemorrhages)."
        )
    owners = _Owners(samples, prefix)
    result = list(samples)
    claimed: dict[int, Path] = {}
    unmatched = []
    counts = Counter[str]()
    for file in files:
        index = owners.find(file, folder)
        if index is None:
            unmatched.append(file)
            continue
        if index in claimed:
            raise DataError(f"{claimed[index]} and {file} both describe {samples[index].id}: keep one of them.")
        claimed[index] = file
        marks = [(lesion, mark) for mark in read_marks(file, classes) if (lesion := classes[mark.number]) is not None]
        if samples[index].origin != "masks":
            result[index] = _with_marks(samples[index], marks, counts)
    if not claimed:
        raise DataError(
            f"None of the {len(files)} box files in {folder} fits a photograph (for example {files[0].name}; "
            f"photographs are called like {samples[0].image.stem}): name them alike."
        )
    covered = sum(samples[index].origin == "masks" for index in claimed)
    return result, _notes(result, len(claimed), covered, unmatched, counts)


def _with_marks(sample: Sample, marks: Sequence[tuple[str, Mark]], counts: Counter[str]) -> Sample:
    """A sample with its boxes; counts photographs that are `turned` and boxes that are `empty`."""
    orientation = photo_orientation(sample.image) if marks and sample.image.is_file() else 1
    boxes = [_box(lesion, mark, orientation) for lesion, mark in marks]
    counts["turned"] += orientation != 1
    counts["empty"] += boxes.count(None)
    lesions = tuple(box for box in boxes if box is not None)
    # Where all marks are left out, nobody said that there is nothing to see.
    return replace(sample, boxes=lesions, origin="boxes") if lesions or not marks else sample


def _box(lesion: str, mark: Mark, orientation: int) -> Box | None:
    """The box around a mark, on the stored photograph; None where it has no inside."""
    if mark.edges is None:
        return None
    x0, y0, x1, y1 = mark.edges
    xs, ys = zip(*(stored_point(point, 1, 1, orientation) for point in ((x0, y0), (x1, y1))), strict=True)
    return Box(lesion, min(xs), min(ys), max(xs), max(ys))


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
        relative = file.relative_to(folder).as_posix().removesuffix(".txt")
        names = [re.sub("^train/", "training/", name) for name in (relative, *map(_stem, spellings(relative)[1:]))]
        if self._prefix:
            return next((self._ids[self._full(name)] for name in names if self._full(name) in self._ids), None)
        known = next((name for name in names if name in self._ids), None)
        if known is not None:
            return self._ids[known]
        fitting = next((self._stems[base] for base in (n.rpartition("/")[2] for n in names) if base in self._stems), [])
        if len(fitting) > 1:
            both = " and ".join(self._samples[index].id for index in fitting[:2])
            raise DataError(
                f"{file} fits several photographs ({both}): lay the box files out like the photographs' ids, "
                f"for example {folder / (self._samples[fitting[0]].id + '.txt')}."
            )
        return fitting[0] if fitting else None

    def _full(self, name: str) -> str:
        return name if "/" in name else self._prefix + name


def _stem(name: str) -> str:
    """A name without the suffix of a picture."""
    return re.sub(r"\.(jpe?g|png|tiff?|bmp|webp|gif)$", "", name, flags=re.IGNORECASE)


def _notes(
    samples: Sequence[Sample], matched: int, covered: int, unmatched: Sequence[Path], counts: Counter[str]
) -> tuple[str, ...]:
    origins = Counter(sample.origin for sample in samples)
    unmarked = sum(sample.origin == "boxes" and not sample.boxes for sample in samples)
    notes = [
        f"Boxes: {matched} files fit a photograph; {origins['boxes']} photographs take them ({unmarked} of these "
        f"with nothing marked), {covered} keep their masks instead."
    ]
    if unmatched:
        notes.append(f"Boxes: {len(unmatched)} files fit no photograph (for example {unmatched[0].name}).")
    if counts["empty"]:
        notes.append(f"Boxes: {counts['empty']} without an inside, left out.")
    if counts["turned"]:
        notes.append(
            f"Boxes: EXIF turns {counts['turned']} of these photographs; their boxes were taken as drawn upright, as "
            "tools show them."
        )
    return tuple(notes)
