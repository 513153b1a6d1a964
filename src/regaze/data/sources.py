"""The one door to photographs: a spelling such as `idrid:DIR` becomes a `Dataset`.

Whatever the source, a data set leaves here complete: contents hashed, copies of one picture marked as twins, boxes
attached, and one fingerprint over everything that training or evaluation could depend on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from regaze.data.boxes import CODRAS_CLASSES, with_boxes
from regaze.data.classes import LabelWish, UnknownLabelError, refuse_no_classes, sound_class, speak_of_the_eye
from regaze.data.columns import TableWish
from regaze.data.dicom import dicom_facts, is_dicom
from regaze.data.folder import read_folder, table_in
from regaze.data.fundus import are_fundus
from regaze.data.idrid import read_idrid
from regaze.data.images import content_hash
from regaze.data.mask_file import named_values
from regaze.data.match import Keep, Progress, with_contents, with_twins
from regaze.data.pairs import pair_expression
from regaze.data.periods import with_periods
from regaze.data.table import read_table
from regaze.errors import DataError
from regaze.records import Dataset, Sample
from regaze.synthetic.dataset import write_synthetic
from regaze.synthetic.photograph import TASKS
from regaze.words import words_of

SPELLINGS = "idrid:DIR, folder:DIR, csv:FILE, synthetic[:N] or synthetic-simple[:N]"
TAGS = "the tags of DICOM"  # `Dataset.named_by`
SYNTHETIC_COUNT = 400  # photographs that `synthetic` has without a number

_NAME_OF_EYE = re.compile(r"(^|[^a-z])(eyes?|fundus|retinas?|left|right|od|os)([^a-z]|$)", re.IGNORECASE)
_TASKS = {"synthetic": "clinical", "synthetic-simple": "simple"}  # spelling -> what the painted grades mean


def load_dataset(
    spec: str,
    *,
    boxes: Path | None = None,
    patient: str | None = None,
    split_by: str = "patient",
    columns: TableWish | None = None,
    labels: LabelWish | None = None,
    mask_classes: str | None = None,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    eyes: bool | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Read a data set.

    Args:
        spec: `idrid:DIR` (see `data.idrid`), `folder:DIR` (`data.folder`), `csv:FILE` (`data.table`) or
            `synthetic[:N]`, N photographs painted on first use; `synthetic-simple[:N]`, with few and large lesions.
        boxes: A folder of a clinician's boxes (`data.boxes`). Flat in it, a file means a *training*
            photograph of IDRiD, and any photograph of that name elsewhere.
        patient: For `csv:` the column with the patient; for `folder:`, and `csv:` without such a column, a
            regular expression with one group that finds the patient in the stem of a photograph's file
            (`folder.with_patients`).
        split_by: `patient`, `period`, or for `csv:` a column: fills in `Sample.period`, by EXIF where it is no column.
        columns: For `csv:` what the user says of its columns.
        labels: What the user says of the classes; those of IDRiD and of synthetic photographs are what they are.
        mask_classes: What the values of masks of no stated type mean (`mask_file.named_values`); None: every value but
            0 is lesion.
        folder: Where synthetic photographs are written; needed by `synthetic` alone.
        seed: Seed of the synthetic photographs; the other sources do not use it.
        progress: Called with (done, total) while photographs are painted or compared.
        eyes: Whether the photographs show eyes, where a study has settled it; None: look.
        cache: See `match.likenesses`.

    Returns:
        The data set, with contents, twins and fingerprint filled in.

    Raises:
        DataError: The spelling is unknown, or the data cannot be read; see the readers.
    """
    kind = spec.partition(":")[0]
    wish = labels or LabelWish()
    dataset = list_photographs(
        spec,
        patient=patient,
        split_by=split_by,
        columns=columns,
        labels=labels,
        folder=folder,
        seed=seed,
        progress=progress,
        cache=cache,
    )
    _refuse_foreign_bytes(dataset)
    samples: Sequence[Sample] = with_contents(dataset.samples)
    notes = dataset.notes
    named_by = dataset.named_by if _are_named(samples) else None
    if kind in ("folder", "csv"):
        tagged, more = with_dicom_patients(samples)
        notes += more
        if tagged != samples:
            named_by = TAGS if named_by is None else f"{named_by} and {TAGS}"
        samples = tagged
    if all(sample.period is None for sample in samples) and split_by in ("patient", "period"):
        samples = with_periods(samples)
    if kind != "idrid":  # which had to compare the pictures to be read at all
        samples = with_twins(samples, progress, cache)
        notes += _twin_notes(samples, dataset.classes)
    if boxes is not None:
        classes, prefix = (CODRAS_CLASSES, "training/") if kind == "idrid" else (None, "")
        samples, more = with_boxes(samples, boxes, default_classes=classes, prefix=prefix)
        notes += more
    if mask_classes is not None:
        samples, more = with_mask_values(samples, mask_classes)
        notes += more
    found = replace(
        dataset,
        samples=tuple(samples),
        fingerprint=fingerprint(dataset.classes, samples),
        named_by=named_by,
        sound=sound_class(dataset.classes, dataset.ordinal, wish.sound),
    )
    found = replace(found, eyes=show_eyes(found) if eyes is None else eyes)
    return replace(found, notes=notes + (() if _are_named(samples) else _unnamed_notes(found)))


def show_eyes(dataset: Dataset) -> bool:
    """Whether photographs show eyes: by what the data are, the names of classes, lesions or files, else by looking."""
    if not dataset.spec.startswith(("folder:", "csv:")) or speak_of_the_eye(dataset.classes):
        return True
    kinds = {kind for sample in dataset.samples for kind in (*sample.masks, *(box.lesion for box in sample.boxes))}
    named = sum(_NAME_OF_EYE.search(sample.image.stem) is not None for sample in dataset.samples)
    if kinds - {"lesion"} or 2 * named > len(dataset.samples):
        return True
    return are_fundus([sample.image for sample in dataset.samples])


def list_photographs(
    spec: str,
    *,
    patient: str | None = None,
    split_by: str = "patient",
    columns: TableWish | None = None,
    labels: LabelWish | None = None,
    folder: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    faults: list[str] | None = None,
    keep: Keep | None = None,
    cache: Path | None = None,
) -> Dataset:
    """The photographs of a data set as its reader lists them: contents, twins, dates and boxes are left out.

    Args:
        spec: As all below up to `progress`: see `load_dataset`.
        patient: Likewise.
        split_by: Likewise.
        columns: Likewise.
        labels: Likewise.
        folder: Likewise.
        seed: Likewise.
        progress: Likewise.
        faults: See `table.read_table`.
        keep: See `match.Keep`; here for a source that opens photographs to list them.
        cache: See `load_dataset`.

    Raises:
        DataError: The spelling is unknown, or the data cannot be read; see the readers.
    """
    kind, _, rest = spec.partition(":")
    rest = rest.strip()
    wish = labels or LabelWish()
    readers: dict[str, Callable[[], Dataset]] = {
        "idrid": lambda: read_idrid(_path(spec, rest), spec, progress, keep, cache),
        "folder": lambda: read_folder(_path(spec, rest), spec, patient, wish),
        "csv": lambda: read_table(_path(spec, rest), spec, patient, split_by, columns, wish, faults),
        **dict.fromkeys(_TASKS, lambda: _synthetic(spec, kind, rest, folder, seed, progress)),
    }
    if kind not in readers:
        raise DataError(f"The data '{spec}' are spelled in an unknown way: write {SPELLINGS}.")
    _refuse_options_of_others(spec, kind, patient, split_by, columns)
    dataset = readers[kind]()
    if (wish.classes or dataset.classes) != dataset.classes or wish.ordinal not in (None, dataset.ordinal):
        raise UnknownLabelError(
            f"{kind} photographs have the grades {', '.join(dataset.classes)}: leave --classes and --no-ordinal out."
        )
    if wish.classes is None and kind in ("folder", "csv"):
        labels_read = [dataset.classes[sample.label] for sample in dataset.samples if sample.label is not None]
        refuse_no_classes(labels_read, spec, _hint(_path(spec, rest)) if kind == "folder" else "")
    return dataset


def _refuse_options_of_others(
    spec: str, kind: str, patient: str | None, split_by: str, columns: TableWish | None
) -> None:
    """Refuse what is said of data of another kind."""
    if patient is not None and kind in ("idrid", *_TASKS):
        raise DataError(f"patient is '{patient}', but {kind} photographs name their patients themselves: leave it out.")
    if split_by not in ("patient", "period") and kind != "csv":
        raise DataError(
            f"--split-by is '{split_by}', but {kind} photographs have no columns: pass patient or period, or list them "
            "in a table (csv)."
        )
    if columns not in (None, TableWish()) and kind != "csv":
        raise DataError(
            f"--image-column, --label-column and --images are for tables (csv); the data are {spec}: leave them out."
        )


def _refuse_foreign_bytes(dataset: Dataset) -> None:
    """Refuse names of files and folders that neither a table nor another tool could write down."""
    for name in (*dataset.classes, *(sample.id for sample in dataset.samples)):
        if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"The name {name!r} in {dataset.spec} holds bytes that are no UTF-8: rename it.")


def fingerprint(classes: Sequence[str], samples: Iterable[Sample]) -> str:
    """Hash what training or evaluation could depend on; where the files lie is not part of it.

    Args:
        classes: The class names in their order.
        samples: With `content` filled in.

    Returns:
        32 hexadecimal digits of BLAKE2b over classes, and every sample's id, content, label, part, patient,
        twin, origin, boxes and contents of its masks; its period, where a column names it (EXIF is content), and what
        the values of its masks mean, where that is said.

    Raises:
        DataError: A mask cannot be read.
    """
    ordered = list(samples)
    masks = sorted({file for sample in ordered for files in sample.masks.values() for file in files})
    with ThreadPoolExecutor(max_workers=4) as pool:
        content = dict(zip(masks, pool.map(content_hash, masks), strict=True))
    digest = blake2b(json.dumps(list(classes)).encode(), digest_size=16)
    for sample in ordered:
        facts = [
            [sample.id, sample.content, sample.label, sample.part, sample.patient, sample.twin, sample.origin],
            [[kind, [content[file] for file in files]] for kind, files in sorted(sample.masks.items())],
            [[box.lesion, box.x0, box.y0, box.x1, box.y1] for box in sample.boxes],
        ]
        if sample.period is not None and sample.date is None:
            facts.append([sample.period])
        if sample.mask_values:
            facts.append(sorted(sample.mask_values.items()))
        digest.update(json.dumps(facts).encode())
    return digest.hexdigest()


def _hint(root: Path) -> str:
    """What may be meant by a folder that has one class alone: a table in it, else another level."""
    table = table_in(root)
    if table:
        return f"; there is a table: csv:{table}"
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if len(below) == 1 and any(path.is_dir() for path in below[0].iterdir()):
        return f" (folder:{below[0]} may be meant)"
    return " (is the path one level too high, or too low?)"


def _are_named(samples: Iterable[Sample]) -> bool:
    return any(sample.patient is not None for sample in samples)


def _unnamed_notes(dataset: Dataset) -> tuple[str, ...]:
    """Say that no patient is known, and by which expression names look like those of patients."""
    words = words_of(dataset)
    one = words.patient if dataset.eyes else words.eye
    note = (
        f"No {words.patient} is known: every photograph counts as one of its own, and photographs of one {one} may lie "
        "on both sides of the split."
    )
    expression = pair_expression(dataset.samples)
    if expression is None:
        return (f"{note} Name them with --patient where you can.",)
    return (f"{note} The names look like pairs: --patient '{expression}' keeps them on one side.",)


def _path(spec: str, text: str) -> Path:
    if not text or "\0" in text:
        raise DataError(f"The data '{spec}' name no path: write {SPELLINGS}.")
    return Path(text).expanduser()


def _synthetic(spec: str, kind: str, text: str, folder: Path | None, seed: int, progress: Progress | None) -> Dataset:
    """Paint synthetic photographs, or find them painted, and read their table."""
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise DataError(f"The data '{spec}' ask for '{text}' photographs: write {kind}:N with N from 1, or {kind}.")
    if folder is None:
        raise DataError(f"The data '{spec}' need a folder to write the photographs to: pass one.")
    count = int(text) if text else SYNTHETIC_COUNT
    task = _TASKS[kind]
    home, size = folder / f"{kind}-{count}-seed{seed}", TASKS[task].size
    table = write_synthetic(home, count, seed, size, progress=progress, task=task)
    # A small set may lack the worst grades; the scale is the same all the same.
    grades = tuple(str(grade) for grade in range(len(TASKS[task].shares)))
    return replace(read_table(table, spec, wish=LabelWish(grades, ordinal=True)), notes=())


def with_mask_values(samples: Sequence[Sample], text: str) -> tuple[list[Sample], tuple[str, ...]]:
    """Say what the values of masks of no stated type mean, by the text of `--mask-classes`; a note where there is none.

    Raises:
        DataError: The text is written otherwise.
    """
    values = named_values(text)
    found = [replace(sample, mask_values=values) if "lesion" in sample.masks else sample for sample in samples]
    if any(sample.mask_values for sample in found):
        return found, ()
    return found, ("--mask-classes names values, but no mask is of no stated type: nothing is read by them.",)


def with_dicom_patients(samples: Sequence[Sample]) -> tuple[list[Sample], tuple[str, ...]]:
    """Fill in `Sample.patient` where nothing else names it and the photograph is a DICOM file that does.

    Raises:
        DataError: The extra `dicom` is not installed, or a file is broken.
    """
    facts = {sample.id: dicom_facts(sample.image) for sample in samples if is_dicom(sample.image)}
    if not facts:
        return list(samples), ()
    found = [
        replace(sample, patient=sample.patient or facts[sample.id].patient) if sample.id in facts else sample
        for sample in samples
    ]
    eyes = Counter(fact.laterality for fact in facts.values())
    patients = {fact.patient for fact in facts.values() if fact.patient is not None}
    unnamed = sum(fact.patient is None for fact in facts.values())
    more = f", {unnamed} name no patient" if unnamed else ""
    return found, (
        f"DICOM: {len(facts)} photographs of {len(patients)} patients by their tags ({eyes['R']} of right eyes, "
        f"{eyes['L']} of left ones{more}); a patient's number is hashed.",
    )


def _twin_notes(samples: Sequence[Sample], classes: Sequence[str]) -> tuple[str, ...]:
    """Say which pictures occur more than once, and whether that spoils grades or the test."""
    by_twin: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.twin is not None:
            by_twin.setdefault(sample.twin, []).append(sample)
    groups = list(by_twin.values())
    notes = [f"{len(groups)} pictures occur more than once: kept, on one side of every split."] if groups else []
    for twins in groups:
        parts = Counter(sample.part for sample in twins)
        if len(parts) > 1:
            notes.append(f"{twins[0].id} and {twins[1].id} are one picture, in training and in test.")
        if len({sample.label for sample in twins}) > 1:
            listed = ", ".join(f"{s.id} {'ungraded' if s.label is None else classes[s.label]}" for s in twins)
            notes.append(f"One picture, different labels: {listed}.")
    return tuple(notes)
