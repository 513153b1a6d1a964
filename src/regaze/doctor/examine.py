"""The whole check-up: read what can be read, look at every photograph once, compare them, and say what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regaze.console import Voice
from regaze.data.boxes import CODRAS_CLASSES, read_classes, with_boxes
from regaze.data.classes import LabelWish, sound_class
from regaze.data.columns import TableWish
from regaze.data.images import is_picture
from regaze.data.mask_file import named_values
from regaze.data.match import Keep
from regaze.data.near_groups import grouped_by_near_copies
from regaze.data.periods import period_name
from regaze.data.sources import list_photographs, show_eyes, with_dicom_patients, with_mask_values
from regaze.data.tree import pictures
from regaze.doctor.copies import copy_findings, find_copies
from regaze.doctor.finding import Finding, Item, about, by_harm
from regaze.doctor.groups import class_counts, class_findings, label_findings, patient_findings
from regaze.doctor.look import Look
from regaze.doctor.looks import Looks
from regaze.doctor.marks import class_contradictions, mark_findings
from regaze.doctor.quality import quality_findings
from regaze.doctor.shortcuts import period_findings, shortcut_findings
from regaze.errors import DataError
from regaze.records import Dataset, Sample
from regaze.words import EYES, Words, words_of
from regaze.yolo import box_files, read_marks


@dataclass(frozen=True)
class Wanted:
    """What is to be examined, as the options of a study say it.

    Attributes:
        spec: `idrid:DIR`, `folder:DIR`, `csv:FILE` or a study's synthetic photographs.
        boxes: Folder with a clinician's boxes.
        patient: See `sources.load_dataset`, as all below up to `seed`.
        split_by: Likewise.
        columns: Likewise.
        labels: Likewise.
        mask_classes: Likewise.
        folder: Likewise.
        seed: Likewise.
        folds: Of the study, or as planned.
        split: Of a study: id -> fold.
        group_near_copies: Of a study: near-copies count as one patient's.
        cache: File of the looks; None: kept nowhere.
        keep: Of what is compared, see `near_copies.thumbnails`.
    """

    spec: str
    boxes: Path | None = None
    patient: str | None = None
    split_by: str = "patient"
    columns: TableWish | None = None
    labels: LabelWish | None = None
    mask_classes: str | None = None
    folder: Path | None = None
    seed: int = 0
    folds: int = 1
    split: Mapping[str, int] | None = None
    group_near_copies: bool = False
    cache: Path | None = None
    keep: Path | None = None


@dataclass(frozen=True)
class CheckUp:
    """What a check-up gave.

    Attributes:
        spec: What was examined.
        photographs: How many were found.
        findings: The worst first.
        counts: Class -> (photographs, groups) of the training part; empty where the data cannot be read.
        test: Class -> photographs of the test part; empty without one.
        notes: What the reader of the data has to say.
        words: What patients, lesions and eyes are called.
    """

    spec: str
    photographs: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, tuple[int, int]]
    test: Mapping[str, int]
    notes: tuple[str, ...] = ()
    words: Words = EYES

    @property
    def corrupts(self) -> bool:
        """Whether something would corrupt a result."""
        return any(finding.harm == "corrupts" for finding in self.findings)


def examine(wanted: Wanted, voice: Voice) -> CheckUp:
    """Examine data.

    Args:
        wanted: What, and how it is to be read.
        voice: Shows the progress.

    Returns:
        The findings. Data that the reader refuses give its sentence as a finding, beside the files that cannot be read.

    Raises:
        DataError: The spelling is unknown, there is nothing at its path, `mask_classes` is wrong, or a process
            died.
    """
    if wanted.mask_classes is not None:
        named_values(wanted.mask_classes)  # a mistake of the user's, no finding
    looks, faults = Looks(wanted.cache), list[str]()
    seen: dict[str, tuple[Sample, Look]] = {}

    def keep(samples: Sequence[Sample]) -> list[Sample]:
        if wanted.mask_classes is not None:
            samples, _ = with_mask_values(samples, wanted.mask_classes)
        with voice.progress("looking at photographs and masks") as feed:
            found = list(zip(samples, looks.at(samples, feed), strict=True))
        seen.update((sample.id, (sample, look)) for sample, look in found)
        return [_with_look(sample, look) for sample, look in found if not look.error]

    try:
        dataset = _listed(wanted, faults, keep)
        listed = dataset.samples
        samples = list(listed) if seen else keep(listed)
        named, of_tags = with_dicom_patients(samples) if wanted.spec.startswith(("folder:", "csv:")) else (samples, ())
    except DataError as error:
        root = _root(wanted.spec)
        if root is None or not root.exists():
            raise
        if not seen:
            keep(_picture_files(root))
        refused = Finding("refused", "corrupts", f"The data cannot be read: {error}")
        return CheckUp(wanted.spec, len(seen), tuple(by_harm([refused, *_file_findings(seen)])), {}, {})
    samples, boxes, notes = _boxed(named, wanted)
    if wanted.mask_classes is not None:
        samples, more = with_mask_values(samples, wanted.mask_classes)
        notes += more
    dataset = replace(dataset, samples=tuple(samples), notes=dataset.notes + of_tags + notes)
    dataset = replace(dataset, eyes=show_eyes(dataset))
    # Masks of another photograph of the same picture (IDRiD) have come to some.
    pairs = list(zip(samples, looks.at(samples), strict=True))
    with voice.progress("comparing photographs") as feed:
        copies, alike = find_copies(samples, feed, wanted.keep)
    grouped = dataset
    if wanted.group_near_copies:
        near = [tuple(samples[index].id for index in group) for group in alike]
        grouped = replace(dataset, samples=tuple(grouped_by_near_copies(samples, near)))
    findings = [
        *_row_findings(faults),
        *_file_findings(seen),
        *_unlisted(wanted, listed),
        *label_findings(dataset),
        *copy_findings(dataset, copies, alike, wanted.split, are_grouped=wanted.group_near_copies),
        *patient_findings(dataset, wanted.split),
        *boxes,
        *mark_findings(dataset, pairs),
        *class_findings(grouped, wanted.folds),
        *shortcut_findings(dataset, pairs),
        *quality_findings(dataset, pairs),
    ]
    counts, test = class_counts(grouped)
    return CheckUp(wanted.spec, len(seen), tuple(by_harm(findings)), counts, test, dataset.notes, words_of(dataset))


def quick_findings(dataset: Dataset, folds: int) -> list[Finding]:
    """What labels, patients and boxes tell, for `init`, which looks at pictures too (`data.inspection`); worst first.

    Args:
        dataset: As `sources.load_dataset` gives it.
        folds: Of the study.
    """
    found = [
        *label_findings(dataset),
        *patient_findings(dataset),
        *class_contradictions(dataset, [(sample, Look()) for sample in dataset.samples]),
        *class_findings(dataset, folds),
        *period_findings(dataset),
    ]
    # Those worth a look can wait, and a study says by itself where no patient is known.
    return by_harm(finding for finding in found if finding.harm != "look" and finding.kind != "no-patient")


def _listed(wanted: Wanted, faults: list[str], keep: Keep) -> Dataset:
    dataset = list_photographs(
        wanted.spec,
        patient=wanted.patient,
        split_by=wanted.split_by,
        columns=wanted.columns,
        labels=wanted.labels,
        folder=wanted.folder,
        seed=wanted.seed,
        faults=faults,
        keep=keep,
    )
    wish = wanted.labels or LabelWish()
    return replace(dataset, sound=sound_class(dataset.classes, dataset.ordinal, wish.sound))


def _with_look(sample: Sample, look: Look) -> Sample:
    """A sample with what a look tells: content, and date and period where nothing else names one."""
    sample = replace(sample, content=look.content)
    if sample.period is not None or look.day is None:
        return sample
    return replace(sample, date=look.day, period=period_name(look.day, look.camera))


def _root(spec: str) -> Path | None:
    kind, _, rest = spec.partition(":")
    return Path(rest.strip()).expanduser() if kind in ("idrid", "folder", "csv") and rest.strip() else None


def _picture_files(root: Path) -> list[Sample]:
    """Every picture below a folder (of a table: its folder), where nothing lists them."""
    top = root if root.is_dir() else root.parent
    files = sorted(file for file in top.rglob("*") if is_picture(file))
    return [Sample(file.relative_to(top).as_posix(), file, None) for file in files]


def _row_findings(faults: Sequence[str]) -> Iterator[Finding]:
    if faults:
        several = f"{len(faults)} rows of the table are" if len(faults) > 1 else "1 row of the table is"
        first = faults[0].rstrip(".")
        text = f"{several} wrong and would be refused, for example: {first}."
        yield Finding("rows", "corrupts", text, tuple(Item(fault) for fault in faults))


def _file_findings(seen: Mapping[str, tuple[Sample, Look]]) -> Iterator[Finding]:
    broken = [(sample, look) for sample, look in seen.values() if look.error]
    counts = Counter(look.damage for _, look in broken)
    listed = ", ".join(f"{count} {damage}" for damage, count in counts.most_common())
    items = [Item(f"{sample.image}: {look.damage}") for sample, look in broken]
    yield from about(
        "unreadable",
        "corrupts",
        items,
        ("photograph cannot be read", "photographs cannot be read"),
        f"{listed}; copy them anew from where they came, or take them out",
    )


def _unlisted(wanted: Wanted, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Pictures beside those that a table lists, which no row names."""
    if not wanted.spec.startswith("csv:"):
        return
    named = {sample.image.resolve() for sample in samples}
    named |= {file.resolve() for sample in samples for files in sample.masks.values() for file in files}
    folders = sorted({sample.image.parent for sample in samples})
    files = [file for folder in folders for file in pictures(folder) if file.resolve() not in named]
    yield from about(
        "no-row",
        "look",
        [Item(str(file)) for file in files],
        ("picture lies beside the photographs but has no row", "pictures lie beside the photographs but have no row"),
        "give them one if they are photographs; they are not used",
    )


def _boxed(samples: list[Sample], wanted: Wanted) -> tuple[list[Sample], list[Finding], tuple[str, ...]]:
    """The samples with their boxes, and what is wrong with these."""
    if wanted.boxes is None:
        return samples, [], ()
    is_idrid = wanted.spec.startswith("idrid:")
    classes, prefix = (CODRAS_CLASSES, "training/") if is_idrid else (None, "")
    try:
        boxed, notes = with_boxes(samples, wanted.boxes, default_classes=classes, prefix=prefix)
    except DataError as error:
        faults = _box_faults(wanted.boxes, classes) or [str(error)]
        text = f"The boxes cannot be used, {len(faults)} faults, for example: {faults[0].rstrip('.')}."
        return samples, [Finding("boxes-unusable", "corrupts", text, tuple(map(Item, faults)))], ()
    return boxed, [], notes


def _box_faults(folder: Path, default: Mapping[int, str | None] | None) -> list[str]:
    """What is wrong with each file of boxes, one line each; none where the fault is another."""
    faults = []
    try:
        classes = read_classes(folder) or default or {}
        files = box_files(folder)
    except (DataError, OSError):
        return []
    for file in files if classes else []:
        try:
            read_marks(file, classes)
        except DataError as error:
            faults.append(str(error))
    return faults
