"""Photographs in one folder per class, with lesion masks in a parallel tree.

Photographs lie at `DIR/CLASS/photo`, or `DIR/PART/CLASS/photo` with PART one of `training`, `train`, `val`,
`validation` (all of them the training part) and `test`.

Masks lie below `DIR/masks`, `DIR/ground_truth` or a sibling `DIR_masks`, at `[LESION/][PART/]CLASS/stem.png`; the stem
may carry the lesion (`regaze.lesion_names`) and `_mask`, `_gt`, `_seg` or `_segmentation`. Where neither names the
lesion, the masks count as type `lesion`; those of landmarks (`OD`) are left out and counted. `ground_truth` is MVTec's
layout: without PART its masks belong to the test part, if the photographs have parts.

What a missing mask file means: where a class has its folder in the mask tree, even an empty one, its photographs were
looked at. Those of the sound class without a mask file are *known* to be free of lesions; of another class they are
unknown, since nothing was marked where something is wrong (notes count both). In a class without such a folder nothing
is known. So whoever annotated a class in part should move the rest into another data set, or leave it
ungraded in a table (`data.table`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from regaze.data.classes import LabelWish, arrange, natural_key, sound_class
from regaze.data.finder import MASK_FOLDERS
from regaze.data.fundus import are_fundus
from regaze.data.images import IMAGE_SUFFIXES
from regaze.errors import DataError
from regaze.lesion_names import lesion_type, named_lesion
from regaze.records import Dataset, Origin, Part, Sample

PARTS: dict[str, Part] = {
    "training": "training",
    "train": "training",
    "val": "training",
    "valid": "training",
    "validation": "training",
    "test": "test",
}
"""Names of a part, in folders and tables. Validation photographs count as training: the study makes its own folds."""

_ENDING = re.compile(r"(.+)(_mask|-mask|_gt|_seg|_segmentation)")


@dataclass(frozen=True)
class _ClassFolder:
    """A folder of photographs of a class: `DIR/[PART/]CLASS`.

    Attributes:
        path: Where the photographs lie.
        part_name: The part as its folder spells it, or '' without parts.
    """

    path: Path
    part_name: str = ""

    @property
    def name(self) -> str:
        """The class."""
        return self.path.name

    @property
    def part(self) -> Part:
        """What the part's name means."""
        return PARTS[self.part_name.lower()] if self.part_name else "training"


@dataclass
class _MaskTree:
    """Mask files by the folder of photographs they belong to.

    Attributes:
        files: (lower-case name of the part or '', class) -> lesion type -> stem of the photograph that it fits -> file.
            A file stands under every stem that its ending allows.
        landmarks: Files in folders of a landmark.
    """

    files: dict[tuple[str, str], dict[str, dict[str, Path]]] = field(default_factory=dict)
    landmarks: list[Path] = field(default_factory=list)


def read_folder(root: Path, spec: str, patient: str | None = None, wish: LabelWish | None = None) -> Dataset:
    """Read photographs that lie in one folder per class.

    Args:
        root: The folder of the classes, see the module.
        spec: The spelling that the user gave.
        patient: A regular expression with one group that finds the patient in a file's stem.
        wish: What the user says of the classes.

    Returns:
        The data set; classes by `classes.arrange`; ids are `[PART/]CLASS/stem` with the part spelled `training` or
        `test`. Contents, twins and fingerprint are left empty for `sources.load_dataset`.

    Raises:
        DataError: No folder, no classes, no photographs, two photographs or masks with the same name, masks that fit no
            photograph, or a `patient` that is no expression with one group or fits no name.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder at {root}: check the path after folder:.")
    folders, empty = _class_folders(root)
    tree = _mask_tree(root)
    photographs = [(photo, folder) for folder in folders for photo in pictures(folder.path)]
    names, images = [folder.name for _, folder in photographs], [photo for photo, _ in photographs]
    arranged = arrange(names, str(root), wish or LabelWish(), "", lambda: are_fundus(images))
    samples = [
        _sample(photo, folder, label) for (photo, folder), label in zip(photographs, arranged.indices, strict=True)
    ]
    _refuse_same_ids(samples)
    notes = list(arranged.notes)
    notes += [f"Folders without photographs, not taken as classes: {', '.join(empty)}."] if empty else []
    if tree is not None:
        sound = sound_class(arranged.classes, arranged.ordinal, wish.sound if wish else None)
        samples, more = _with_masks(samples, folders, tree, None if sound is None else arranged.classes[sound])
        notes += more
    if patient is not None:
        samples, more = with_patients(samples, patient)
        notes += more
    named_by = None if patient is None else expression_words(patient)
    return Dataset(spec, arranged.classes, arranged.ordinal, tuple(samples), "", tuple(notes), named_by)


def pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, naturally sorted; hidden files are left out."""
    return sorted(
        (
            file
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
        ),
        key=lambda file: natural_key(file.name),
    )


def with_patients(samples: Sequence[Sample], expression: str) -> tuple[list[Sample], list[str]]:
    """Set `Sample.patient` from the stem of each photograph's file.

    Args:
        samples: Photographs.
        expression: A regular expression with one group, searched in the stem: `^(P[0-9]+)_`; one with a slash is
            searched in the id, which has the folders: `([^/]+)/[^/]+$`.

    Returns:
        The samples in the same order (None where the expression does not fit), and notes.

    Raises:
        DataError: No valid expression, not exactly one group, or it fits no photograph at all.
    """
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise DataError(
            f"patient '{expression}' is not a regular expression ({error}): write one such as ^(P[0-9]+)_."
        ) from error
    if pattern.groups != 1:
        raise DataError(
            f"patient '{expression}' has {pattern.groups} groups, expected 1: put brackets round the part of the "
            "file name that names the patient, such as ^(P[0-9]+)_."
        )
    texts = [sample.id if "/" in expression else sample.image.stem for sample in samples]
    matches = [pattern.search(text) for text in texts]
    patients = [(match.group(1) or None) if match else None for match in matches]
    unknown = patients.count(None)
    if samples and unknown == len(samples):
        raise DataError(
            f"patient '{expression}' fits none of the {len(samples)} photographs (for example "
            f"{texts[0]}): correct the expression."
        )
    note = f"The patient of {unknown} of {len(samples)} photographs is unknown: '{expression}' does not fit."
    named = [replace(sample, patient=patient) for sample, patient in zip(samples, patients, strict=True)]
    return named, [note] if unknown else []


def expression_words(expression: str) -> str:
    """`Dataset.named_by` of patients that an expression finds."""
    return f"the expression {expression}"


def _subfolders(folder: Path) -> list[Path]:
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return sorted(folders, key=lambda path: natural_key(path.name))


def _class_folders(root: Path) -> tuple[list[_ClassFolder], list[str]]:
    """The folders of photographs, and the names of folders that hold none."""
    tops = [path for path in _subfolders(root) if path.name.lower() not in MASK_FOLDERS]
    parts = [path for path in tops if path.name.lower() in PARTS and _subfolders(path)]
    if parts:
        candidates = [_ClassFolder(path, top.name) for top in parts for path in _subfolders(top)]
        stray = [path.name for path in tops if path not in parts]
    else:
        candidates, stray = [_ClassFolder(path) for path in tops], []
    folders = [folder for folder in candidates if pictures(folder.path)]
    if not folders:
        raise DataError(
            f"{root} holds no photographs: expected {root.name}/CLASS/photo.jpg "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}), one folder per class."
        )
    empty = [folder.path.relative_to(root).as_posix() for folder in candidates if folder not in folders]
    return folders, empty + stray


def _sample(photo: Path, folder: _ClassFolder, label: int | None) -> Sample:
    prefix = f"{folder.part}/" if folder.part_name else ""
    return Sample(id=f"{prefix}{folder.name}/{photo.stem}", image=photo, label=label, part=folder.part)


def _refuse_same_ids(samples: Iterable[Sample]) -> None:
    seen: dict[str, Path] = {}
    for sample in samples:
        other = seen.setdefault(sample.id, sample.image)
        if other != sample.image:
            raise DataError(f"{other} and {sample.image} have one name, {sample.id}: rename one of them.")


def _mask_tree(root: Path) -> _MaskTree | None:
    """The masks beside or below the photographs; None where no folder is for masks."""
    tree = _MaskTree()
    roots = [path for path in _subfolders(root) if path.name.lower() in MASK_FOLDERS]
    sibling = root.resolve().with_name(f"{root.resolve().name}_masks")
    roots += [sibling] if sibling.is_dir() else []
    for top in roots:
        for folder in (top, *_subfolders(top)):
            kind = "lesion" if folder == top else named_lesion(folder.name)
            if kind is not None:
                _collect(folder, kind, top.name.lower() == "ground_truth", tree)
            elif lesion_type(folder.name) is None:  # what lies deeper: the folder may also be a class
                tree.landmarks += [file for inner in _subfolders(folder) for file in pictures(inner)]
    return tree if roots else None


def _collect(top: Path, kind: str, mvtec: bool, tree: _MaskTree) -> None:
    """Take the masks of `top/[PART/]CLASS/` into the tree, as lesions of a kind."""
    for folder in _subfolders(top):
        inner = _subfolders(folder) if folder.name.lower() in PARTS else []
        for class_folder in inner or [folder]:
            part = folder.name if inner else ("test" if mvtec else "")
            kinds = tree.files.setdefault((part.lower(), class_folder.name), {})
            by_stem = kinds.setdefault(kind, {})
            files = pictures(class_folder)
            for file in files:
                if file.stem in by_stem:
                    raise DataError(f"{by_stem[file.stem]} and {file} mask one photograph alike: keep one of them.")
                by_stem[file.stem] = file
            for file in files:
                for stem, named in _endings(file.stem):
                    kinds.setdefault(named if named and kind == "lesion" else kind, {}).setdefault(stem, file)


def _endings(stem: str) -> Iterator[tuple[str, str | None]]:
    """The shorter stems that a mask's stem may stand for, with the lesion that its ending names."""
    ended = _ENDING.fullmatch(stem)
    if ended:
        yield ended[1], None
    for text in (stem, ended[1] if ended else ""):
        for separator in re.finditer(r"[_ -]", text):
            named = named_lesion(text[separator.end() :])
            if named is not None:
                yield text[: separator.start()], named


def _with_masks(
    samples: Sequence[Sample], folders: Sequence[_ClassFolder], tree: _MaskTree, sound: str | None
) -> tuple[list[Sample], list[str]]:
    """Give every photograph its masks, see the module for what a missing file means."""
    by_path = {folder.path: folder for folder in folders}
    result: list[Sample] = []
    free: Counter[str] = Counter()
    owners: dict[Path, Sample] = {}
    for sample in samples:
        folder = by_path[sample.image.parent]
        known, masks = _masks_of(sample.image.stem, folder, tree)
        for file in masks.values():
            other = owners.setdefault(file, sample)
            if other is not sample:
                raise DataError(
                    f"{file} could belong to {other.id} or {sample.id}: lay the masks out by part, "
                    f"{folder.part_name}/{folder.name}/{file.name}."
                )
        if known and not masks:
            free[folder.name] += 1
        origin: Origin = "masks" if known else "none"
        result.append(replace(sample, masks={kind: (file,) for kind, file in masks.items()}, origin=origin))
    everything = dict.fromkeys(
        file for kinds in tree.files.values() for stems in kinds.values() for file in stems.values()
    )
    orphans = [file for file in everything if file not in owners]
    landmarks = [*tree.landmarks, *filter(_is_landmark, orphans)]
    orphans = [file for file in orphans if not _is_landmark(file)]
    if orphans and not owners:
        raise DataError(
            f"None of the {len(everything)} masks fits a photograph (for example {orphans[0]}): name a mask like "
            "its photograph, in a folder with the name of its class."
        )
    return result, list(_mask_notes(result, free, sound, orphans, landmarks))


def _masks_of(stem: str, folder: _ClassFolder, tree: _MaskTree) -> tuple[bool, dict[str, Path]]:
    """Whether a photograph was looked at for lesions, and its masks by lesion type."""
    keys = [(folder.part_name.lower(), folder.name), ("", folder.name)]
    # `ground_truth` without parts was filed under test; without parts in the photographs it serves them all.
    keys += [("test", folder.name)] if not folder.part_name else []
    kinds = [tree.files[key] for key in dict.fromkeys(keys) if key in tree.files]
    masks: dict[str, Path] = {}
    for by_kind in kinds:
        for kind, by_stem in by_kind.items():
            if stem in by_stem:
                masks.setdefault(kind, by_stem[stem])
    return bool(kinds), masks


def _is_landmark(file: Path) -> bool:
    """Whether a mask's ending names a landmark (`eye_OD.png`, `eye_optic_disc_mask.png`)."""
    ended = _ENDING.fullmatch(file.stem)
    words = re.split(r"[_ -]", ended[1] if ended else file.stem)
    return len(words) > 1 and any(lesion_type("_".join(words[-count:])) is None for count in (1, 2))


def _mask_notes(
    samples: Sequence[Sample],
    free: Counter[str],
    sound: str | None,
    orphans: Sequence[Path],
    landmarks: Sequence[Path],
) -> Iterator[str]:
    counts = Counter(sample.origin for sample in samples)
    yield f"Masks: {counts['masks'] - free.total()} photographs have masks, {counts['none']} are unknown."
    if sound is not None and free[sound]:
        yield (
            f"Masks: {free[sound]} photographs without a mask file count as free of lesions, because their class, "
            f"{sound}, has a folder of masks and is the sound one."
        )
    others = sorted((name for name in free if name != sound), key=natural_key)
    if others:
        listed = ", ".join(f"{name}: {free[name]}" for name in others)
        yield (
            f"Masks: {sum(free[name] for name in others)} photographs without a mask file, in classes that have a "
            f"folder of masks, are unknown, since their class is not the sound one ({listed})."
        )
    if orphans:
        yield f"Masks: {len(orphans)} files fit no photograph (for example {orphans[0].name})."
    if landmarks:
        yield f"Masks: {len(landmarks)} files show a landmark, no lesion (for example {landmarks[0].name}): left out."
