"""IDRiD (Porwal et al., *Data* 3(3):25, 2018, https://doi.org/10.3390/data3030025) in its official layout.

Part A holds photographs with lesion masks, part B photographs with grades 0..4; either may be absent, and either may
lack its test set. Both parts, and both sets, use the same file names for different pictures. So nothing is keyed by
name: a segmented photograph and its graded twin are found by the picture (`data.match`), and the twin takes the masks.
Segmented photographs without a twin stay, without a grade.

A picture is in one set only. Its graded copy decides which; if it is graded in both sets, the test set keeps it and the
training copy is left out. Copies within one set stay, with one `Sample.twin`.

The JPEG comment holds the patient's visit, typed by hand: both eyes carry it. `No ID` and no comment mean unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from regaze.data.images import jpeg_comment
from regaze.data.match import SAME_EYE, TWIN, Keep, Likeness, Progress, groups, likenesses, mark_twins, with_contents
from regaze.data.text_table import csv_lines
from regaze.data.tree import pictures
from regaze.errors import DataError
from regaze.lesion_names import named_lesion
from regaze.records import Dataset, Part, Sample

CLASSES: tuple[str, ...] = ("R0", "R1", "R2", "R3", "R4")
"""Grades of the International Clinical Diabetic Retinopathy scale as IDRiD names them, worst last."""

_SEGMENTATION = "A. Segmentation"
_GRADING = "B. Disease Grading"
_IMAGES = "1. Original Images"
_MASKS = "2. All Segmentation Groundtruths"
_LABELS = "2. Groundtruths"
_SETS: dict[Part, str] = {"training": "a. Training Set", "test": "b. Testing Set"}
_TABLES: dict[Part, str] = {
    "training": "a. IDRiD_Disease Grading_Training Labels.csv",
    "test": "b. IDRiD_Disease Grading_Testing Labels.csv",
}
_NO_PATIENT = ("", "no id")


class _Notes(list[str]):
    """Remarks collected while reading, in order."""

    def add(self, count: int, text: str) -> None:
        """Keep a remark that begins with a count, if there is anything to count."""
        if count:
            self.append(f"{count} {text}")


def read_idrid(
    root: Path,
    spec: str,
    progress: Progress | None = None,
    keep: Keep | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Read IDRiD.

    Args:
        root: The folder that holds `A. Segmentation` and/or `B. Disease Grading`.
        spec: The spelling that the user gave.
        progress: Called with (done, total) while the photographs are compared.
        keep: See `match.Keep`.
        cache: See `match.likenesses`.

    Returns:
        The data set: graded photographs `training/IDRiD_001`, `test/IDRiD_001` in the order of their names, then
        ungraded ones `segmentation-training/IDRiD_05`. Patients, contents, masks and twins are filled in;
        the fingerprint is left empty for `sources.load_dataset`.

    Raises:
        DataError: No such folder, neither part, photographs without their label table or mask folder, a label outside
            0..4, a table without the expected columns, or a photograph that cannot be read.
    """
    notes = _Notes()
    graded = list(_graded(_section(root, _GRADING), notes))
    segmented = list(_segmented(_section(root, _SEGMENTATION), notes))
    if keep is not None:
        graded, segmented = keep(graded), keep(segmented)
    everything = graded + segmented
    if not everything:
        raise DataError(
            f"{root} holds no photographs of IDRiD: expected '{_SEGMENTATION}/{_IMAGES}/{_SETS['training']}/*.jpg' or "
            f"'{_GRADING}/{_IMAGES}/{_SETS['training']}/*.jpg'; pass the folder that holds these two."
        )
    everything = _with_patients(with_contents(everything))
    alike = likenesses(everything, progress, cache)
    same = groups(len(everything), [(like.first, like.second) for like in alike if like.correlation >= TWIN])
    everything = _shared_patients(everything, same, alike, notes)
    kept = _merged(everything, len(graded), same, notes)
    _note_visits(kept, notes)
    return Dataset(spec, CLASSES, True, tuple(kept), "", tuple(notes), "the visit in the files' comments")


def read_labels(table: Path) -> dict[str, tuple[int, str]]:
    """Read a table of grades.

    Args:
        table: CSV with the columns `Image name` and `Retinopathy grade`; blanks around names, further columns and empty
            rows do no harm.

    Returns:
        Image name (without suffix) -> (grade 0..4, file and row for errors).

    Raises:
        DataError: The table cannot be read, lacks a column, names an image twice, or holds another grade.
    """
    lines = csv_lines(table)
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    if "image name" not in header or "retinopathy grade" not in header:
        raise DataError(
            f"{table} lacks the columns 'Image name' and 'Retinopathy grade' (its header: "
            f"{', '.join(header) or 'none'}): restore the official file."
        )
    name_at, grade_at = header.index("image name"), header.index("retinopathy grade")
    labels: dict[str, tuple[int, str]] = {}
    for number, cells in lines[1:]:
        cells = cells + [""] * len(header)
        name, grade, where = cells[name_at].removesuffix(".jpg"), cells[grade_at], f"{table}, row {number}"
        if grade not in ("0", "1", "2", "3", "4"):
            raise DataError(
                f"{where}: the grade of '{name}' is '{grade}', expected 0..4: correct it or remove the row."
            )
        if name in labels:
            raise DataError(f"{where}: '{name}' has a grade already ({labels[name][1]}): keep one row.")
        labels[name] = (int(grade), where)
    return labels


def _section(root: Path, name: str) -> Path:
    """A part's folder; unpacking each archive into a folder of its own nests it once more."""
    if not root.is_dir():
        raise DataError(f"There is no folder at {root}: check the path after idrid:.")
    nested = root / name / name
    return nested if (nested / _IMAGES).is_dir() else root / name


def _photographs(section: Path) -> Iterator[tuple[Part, list[Path]]]:
    """Each set of a part with its photographs; sets that are absent or empty are left out."""
    for part, name in _SETS.items():
        folder = section / _IMAGES / name
        photos = pictures(folder) if folder.is_dir() else []
        if photos:
            yield part, photos


def _graded(section: Path, notes: _Notes) -> Iterator[Sample]:
    """The photographs of part B with their grades."""
    for part, photos in _photographs(section):
        table = section / _LABELS / _TABLES[part]
        if not table.is_file():
            raise DataError(f"The grades of {len(photos)} {part} photographs are missing: expected them at {table}.")
        labels = read_labels(table)
        names = {photo.stem for photo in photos}
        notes.add(len(labels.keys() - names), f"rows of the {part} grades have no photograph.")
        notes.add(len(names - labels.keys()), f"photographs of the graded {part} set have no row: not graded.")
        for photo in photos:
            label = labels[photo.stem][0] if photo.stem in labels else None
            yield Sample(f"{part}/{photo.stem}", photo, label, part)


def _segmented(section: Path, notes: _Notes) -> Iterator[Sample]:
    """The photographs of part A with their masks; no file of a type means no such lesion."""
    for part, photos in _photographs(section):
        top = section / _MASKS / _SETS[part]
        if not top.is_dir():
            raise DataError(f"The masks of {len(photos)} {part} photographs are missing: expected them in {top}.")
        names = {photo.stem for photo in photos}
        files: dict[str, dict[str, list[Path]]] = {}
        for folder in sorted(top.iterdir()):
            kind = named_lesion(folder.name)
            if kind is None or not folder.is_dir():  # `5. Optic Disc` names no lesion
                continue
            for file in pictures(folder):
                files.setdefault(file.stem.rsplit("_", 1)[0], {}).setdefault(kind, []).append(file)
        if not names & files.keys():
            raise DataError(
                f"None of the {len(photos)} {part} photographs of '{_SEGMENTATION}' has a lesion mask in {top}: "
                f"expected files such as '1. Microaneurysms/{photos[0].stem}_MA.tif'."
            )
        notes.add(len(files.keys() - names), f"photographs of the segmented {part} set are missing; they have masks.")
        for photo in photos:
            masks = {kind: tuple(paths) for kind, paths in files.get(photo.stem, {}).items()}
            yield Sample(f"segmentation-{part}/{photo.stem}", photo, None, part, masks=masks, origin="masks")


def _with_patients(samples: Sequence[Sample]) -> list[Sample]:
    """Fill in the patient's visit from the JPEG comment."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        comments = list(pool.map(jpeg_comment, [sample.image for sample in samples]))
    visits = [None if comment is None or comment.lower() in _NO_PATIENT else comment for comment in comments]
    return [replace(sample, patient=visit) for sample, visit in zip(samples, visits, strict=True)]


def _shared_patients(
    samples: Sequence[Sample], same: Sequence[tuple[int, ...]], alike: Sequence[Likeness], notes: _Notes
) -> list[Sample]:
    """Lend an unknown patient the visit of a copy, or of another shot of the same eye.

    Most segmented files have lost their comment. Two of those without a graded twin are second shots of an eye that is
    graded: without this, one shot could teach a model that is tried on the other.
    """
    lent = list(samples)
    # Copies first, as they are certain; then second shots.
    for group in same:
        known = next((samples[index].patient for index in group if samples[index].patient is not None), None)
        for index in group:
            lent[index] = replace(lent[index], patient=lent[index].patient or known)
    shots = [(like.first, like.second) for like in alike if SAME_EYE <= like.correlation < TWIN]
    borrowed = 0
    for first, second in shots:
        for taker, giver in ((first, second), (second, first)):
            if lent[taker].patient is None and lent[giver].patient is not None:
                lent[taker] = replace(lent[taker], patient=lent[giver].patient)
                borrowed += 1
    notes.add(borrowed, "photographs without a visit show an eye that was shot twice, and take the other's visit.")
    return lent


def _merged(samples: Sequence[Sample], graded: int, same: Sequence[tuple[int, ...]], notes: _Notes) -> list[Sample]:
    """Hand masks to graded twins, drop the segmented copies, and keep every picture in one set.

    Args:
        samples: `graded` graded photographs, then the segmented ones.
        graded: Number of graded photographs.
        same: Groups of indices that show one picture; every index in one group.
        notes: Takes what was merged and left out.

    Returns:
        The samples that stay, in the order given, twins marked.
    """
    kept: dict[int, Sample] = {}
    twins: list[list[int]] = []
    merged = moved = leaked = 0
    for group in same:
        with_masks = [index for index in group if index >= graded]
        candidates = [index for index in group if index < graded] or with_masks
        stay = [index for index in candidates if samples[index].part == "test"] or candidates
        leaked += len(candidates) - len(stay)
        if stay != with_masks and with_masks:
            merged += len(set(with_masks) - set(stay))
            moved += samples[with_masks[0]].part != samples[stay[0]].part
        for index in stay:
            kept[index] = samples[index]
            if with_masks and samples[index].origin != "masks":
                kept[index] = replace(samples[index], masks=samples[with_masks[0]].masks, origin="masks")
        twins.append(stay)
    notes.add(merged, "segmented photographs are graded too: the graded copy takes the masks.")
    alone = sum(index >= graded for index in kept)
    notes.add(alone, "segmented photographs have no graded copy: no grade, masks only.")
    notes.add(moved, "segmented photographs belong to the other set, where their graded copy is.")
    notes.add(leaked, "training photographs are left out, because the test set holds the same picture.")
    order = sorted(kept)
    position = {index: rank for rank, index in enumerate(order)}
    result = mark_twins(
        [kept[index] for index in order], [tuple(position[index] for index in group) for group in twins]
    )
    _note_twins(result, notes)
    return result


def _note_twins(samples: Sequence[Sample], notes: _Notes) -> None:
    by_twin: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.twin is not None:
            by_twin.setdefault(sample.twin, []).append(sample)
    notes.add(len(by_twin), "pictures occur more than once in one set: kept, on one side of every split.")
    for twins in by_twin.values():
        if len({sample.label for sample in twins}) > 1:
            listed = ", ".join(
                f"{sample.id} {'ungraded' if sample.label is None else CLASSES[sample.label]}" for sample in twins
            )
            notes.append(f"One picture, different grades: {listed}.")


def _note_visits(samples: Sequence[Sample], notes: _Notes) -> None:
    """Say how many visits there are, and how many test photographs share one with training."""
    visits = {part: Counter(s.patient for s in samples if s.part == part and s.patient) for part in _SETS}
    unknown = sum(sample.patient is None for sample in samples)
    notes.append(
        f"{len(visits['training'])} known visits in training, {len(visits['test'])} in test; the visit of {unknown} "
        "photographs is unknown, each counts as its own."
    )
    shared = sum(count for visit, count in visits["test"].items() if visit in visits["training"])
    notes.add(shared, "test photographs share a visit with training; the official split stands.")
