"""Photographs in one folder per class, with lesion masks in a parallel tree or beside them.

Photographs lie at `DIR/[PART/]CLASS/photo`, PART in any spelling of training, validation (part of the training) and
test (`tree.part_name`); folders of photographs (`images`) may stand anywhere between and mean nothing. What lies below
a class, by patient say, belongs to it.

Masks lie in a folder of masks (`masks`, `ground_truth`, `segmentations`; `mask` or `labels` beside `images`), which may
stand at any level, or in a sibling `DIR_masks` (of `DIR/images` also `DIR/masks`): `[LESION/][PART/]CLASS/stem.png`, in
any order; in no class folder where the photographs' stems differ. Or beside their photograph: `stem_mask.png`,
`stem_mask_1.png`, `stem_EX.png`; or `stem.png` beside `stem.jpg`, where all PNGs of a folder are such and hold two
levels. The stem may carry the lesion (`regaze.lesion_names`) and `_mask`, `_gt`, `_seg` or `_segmentation`. Where
nothing names the lesion, the masks count as type `lesion`; those of landmarks (`OD`) are left out and counted.
`ground_truth` is MVTec's layout: without PART its masks belong to the test part, if the photographs have parts.

What a missing mask file means: where a class has its folder in the mask tree, even an empty one, its photographs were
looked at. Those of the sound class without a mask file are *known* to be free of lesions; of another class they are
unknown, since nothing was marked where something is wrong (notes count both). In a class without such a folder nothing
is known. So whoever annotated a class in part should move the rest into another data set, or leave it
ungraded in a table (`data.table`).

Invariant: every picture file below DIR is a photograph, a mask, or counted in a note that says why it is neither.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from regaze.data.classes import LabelWish, arrange, natural_key, sound_class
from regaze.data.fundus import are_fundus
from regaze.data.images import IMAGE_SUFFIXES
from regaze.data.mask_tree import MaskTree, Photo, companions, companions_of, like_masks, match_masks
from regaze.data.tree import Place, part_of, unread_in, walk
from regaze.errors import DataError
from regaze.records import Dataset, Origin, Sample

_SHOWN = 3  # examples in a note


@dataclass
class _Found:
    """The picture files below a folder, by what they are.

    Attributes:
        photos: In the order of the samples.
        masks: Folders of masks with their files.
        beside: Mask -> the photograph that it lies beside, and its lesion type or None.
        left: Reason -> files that are neither.
        empty: Folders of classes without a picture.
        named_alike: Photographs whose names look like those of masks or copies of others.
        unread: Files in formats that are not read.
    """

    photos: list[Photo] = field(default_factory=list)
    masks: list[tuple[Place, list[Path]]] = field(default_factory=list)
    beside: dict[Path, tuple[Path, str | None]] = field(default_factory=dict)
    left: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    empty: list[str] = field(default_factory=list)
    named_alike: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


def read_folder(root: Path, spec: str, patient: str | None = None, wish: LabelWish | None = None) -> Dataset:
    """Read photographs that lie in one folder per class.

    Args:
        root: The folder of the classes, see the module.
        spec: The spelling that the user gave.
        patient: A regular expression with one group that finds the patient in a file's stem.
        wish: What the user says of the classes.

    Returns:
        The data set; classes by `classes.arrange`. Ids are `[PART/]CLASS/stem` with the part spelled `training` or
        `test` (`validation` where a training photograph has the same name). Contents, twins and fingerprint are left
        empty for `sources.load_dataset`.

    Raises:
        DataError: No folder, no classes, no photographs, two photographs or masks with the same name, masks that fit no
            photograph, or a `patient` that is no expression with one group or fits no name.
    """
    if not root.is_dir():
        raise DataError(f"There is no folder at {root}: check the path after folder:.")
    found = _find(root)
    if not found.photos:
        raise DataError(_no_photographs(root, found))
    wish = wish or LabelWish()
    images = [photo.path for photo in found.photos]
    arranged = arrange([photo.label for photo in found.photos], str(root), wish, "", lambda: are_fundus(images))
    classes, ordinal = arranged.classes, arranged.ordinal
    samples = _samples(found.photos, arranged.indices)
    notes = [*arranged.notes, *_folder_notes(root, found)]
    if found.masks or found.beside:
        sound = sound_class(classes, ordinal, wish.sound)
        samples, more = _with_masks(samples, found, None if sound is None else classes[sound])
        notes += more
    if patient is not None:
        samples, more = with_patients(samples, patient)
        notes += more
    named_by = None if patient is None else expression_words(patient)
    return Dataset(spec, classes, ordinal, tuple(samples), "", tuple(notes), named_by)


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
    rest = f"{unknown} of {len(samples)} photographs"
    note = f"--patient '{expression}' does not fit {rest}: what these belong to is unknown."
    named = [replace(sample, patient=patient) for sample, patient in zip(samples, patients, strict=True)]
    return named, [note] if unknown else []


def expression_words(expression: str) -> str:
    """`Dataset.named_by` of patients that an expression finds."""
    return f"the expression {expression}"


def table_in(root: Path) -> Path | None:
    """A table of photographs under a usual name, in a folder or in one of its own folders; None without one."""
    names = ("metadata.csv", "metadata.jsonl", "labels.csv", "train.csv")
    tables = (folder / name for folder in (root, *sorted(root.glob("*/"))) for name in names)
    return next((path for path in tables if path.is_file()), None)


def _find(root: Path) -> _Found:
    """Sort the picture files below a folder by what they are."""
    found = _Found()
    flat: list[Photo] = []
    pictured: set[Path] = set()
    places: list[Place] = []
    shown_in: dict[Path, list[Path]] = {}
    for place, files in walk(root):
        hidden = [file for file in files if place.hidden or file.name.startswith(".")]
        shown = [file for file in files if file not in hidden]
        found.left["are hidden"] += hidden
        if place.hidden:
            continue
        found.unread += unread_in(place.path)
        if place.masks:
            found.masks.append((place, shown))
            continue
        shown_in[place.path] = shown
        beside = companions_of(shown_in.get(place.path.parent, ()), shown) or companions(shown)
        found.beside |= beside
        photos = [file for file in shown if file not in beside]
        if place.names:
            places.append(place)
            pictured |= {place.path, *place.path.parents} if photos else set()
            flat += [Photo(file, place.part, place.names[0], place.names[1:]) for file in photos]
            found.named_alike += like_masks(photos)
        else:
            found.left["lie in no class folder"] += photos
    for sibling, name in _siblings(root):
        found.masks += walk(sibling, masks=name)
    if any(photo.part is not None for photo in flat):
        found.left["lie outside the parts"] += [photo.path for photo in flat if photo.part is None]
        flat = [photo for photo in flat if photo.part is not None]
    found.photos = flat
    taken = {photo.path for photo in flat}
    found.named_alike = [file for file in found.named_alike if file in taken]
    found.beside = {mask: owner for mask, owner in found.beside.items() if owner[0] in taken}
    found.empty = [
        place.path.relative_to(root).as_posix()
        for place in places
        if len(place.names) == 1 and place.path.name == place.names[0] and place.path not in pictured
    ]
    return found


def _siblings(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders of masks beside the data set's, and what they are called."""
    whole = root.resolve()
    named = whole.with_name(f"{whole.name}_masks")
    if named.is_dir():
        yield named, "masks"
    if whole.name.lower() in ("images", "imgs", "photos") and (whole.parent / "masks").is_dir():
        yield whole.parent / "masks", "masks"


def _no_photographs(root: Path, found: _Found) -> str:
    flat = found.left["lie in no class folder"]
    expected = (
        f"{root} holds no photographs: expected {root.name}/CLASS/photo.jpg ({', '.join(sorted(IMAGE_SUFFIXES))}), one "
        "folder per class."
    )
    if not flat:
        return expected
    table = table_in(root)
    cure = f"take the labels from the table that is there: csv:{table}" if table else "list them in a table (csv:FILE)"
    return (
        f"{expected} Its {len(flat)} pictures lie in no class folder ({_examples(root, flat)}): sort them into "
        f"folders, or {cure}."
    )


def _samples(photos: Sequence[Photo], labels: Sequence[int | None]) -> list[Sample]:
    samples: dict[str, Sample] = {}
    trained = {_id(photo, "training") for photo in photos if photo.part != "val"}
    for photo, label in zip(photos, labels, strict=True):
        name = _id(photo, "training")
        if photo.part == "val" and name in trained:
            name = _id(photo, "validation")
        other = samples.get(name)
        if other is not None:
            raise DataError(
                f"{other.image} and {photo.path} have one name, {name}: rename one of them (a mask beside its "
                f"photograph is called {photo.path.stem}_mask{photo.path.suffix})."
            )
        samples[name] = Sample(name, photo.path, label, part_of(photo.part))
    return list(samples.values())


def _id(photo: Photo, training: str) -> str:
    part = [] if photo.part is None else ["test" if photo.part == "test" else training]
    return "/".join([*part, photo.label, *photo.below, photo.path.stem])


def _folder_notes(root: Path, found: _Found) -> Iterator[str]:
    """What was not taken, and folders below classes that look like a slip."""
    if found.empty:
        yield f"Folders without photographs, not taken as classes: {', '.join(found.empty)}."
    for reason, files in found.left.items():
        if files:
            yield f"{len(files)} pictures {reason} and are not taken ({_examples(root, files)})."
    if found.unread:
        kinds = Counter("".join(file.suffixes[-1:]).lower() for file in found.unread)
        listed = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common(_SHOWN))
        yield (
            f"{len(found.unread)} files are in formats that are not read ({listed}, for example "
            f"{found.unread[0].name}): export pictures and masks as PNG, unpack archives."
        )
    if found.named_alike:
        first = found.named_alike[0].relative_to(root).as_posix()
        yield (
            f"{len(found.named_alike)} photographs are named like masks or copies of others (for example {first}), and "
            "taken as photographs: a mask beside x.png is called x_mask.png; copies belong together, see --patient."
        )
    below: dict[str, set[str]] = defaultdict(set)
    for photo in found.photos:
        for name in photo.below[:1]:
            below[name].add(photo.label)
    shared = sorted((name for name, labels in below.items() if len(labels) > 1), key=natural_key)
    if shared:
        yield (
            f"Folders below several classes have one name ({', '.join(shared[:_SHOWN])}): they count as parts of these "
            "classes; if they are the classes, give the folder that holds them."
        )


def _examples(root: Path, files: Sequence[Path]) -> str:
    """Files by their folders: `test: 4, for example test/0.png`."""
    folders = Counter(file.parent.relative_to(root).as_posix() for file in files)
    listed = ", ".join(f"{'the folder itself' if name == '.' else name}: {count}" for name, count in folders.items())
    return f"{listed}, for example {files[0].relative_to(root).as_posix()}"


def _with_masks(samples: Sequence[Sample], found: _Found, sound: str | None) -> tuple[list[Sample], list[str]]:
    """Give every photograph its masks, see the module for what a missing file means."""
    tree = match_masks(found.masks, found.photos)
    for mask, (owner, kind) in found.beside.items():
        if kind is None:
            tree.landmarks.append(mask)
        else:
            tree.add(owner, kind, mask)
    if tree.orphans and not tree.masks:
        raise DataError(
            f"None of the {len(tree.orphans)} masks fits a photograph (for example {tree.orphans[0]}): name a mask "
            "like its photograph, in a folder with the name of its class."
        )
    result: list[Sample] = []
    free: Counter[str] = Counter()
    for sample, photo in zip(samples, found.photos, strict=True):
        masks = tree.masks.get(photo.path, {})
        known = bool(masks) or not tree.known.isdisjoint({(None, photo.label), (photo.part, photo.label)})
        if known and not masks:
            free[photo.label] += 1
        origin: Origin = "masks" if known else "none"
        result.append(replace(sample, masks=masks, origin=origin))
    return result, list(_mask_notes(result, free, sound, tree))


def _mask_notes(samples: Sequence[Sample], free: Counter[str], sound: str | None, tree: MaskTree) -> Iterator[str]:
    counts = Counter(sample.origin for sample in samples)
    yield f"Masks: {counts['masks'] - free.total()} photographs have masks, {counts['none']} are unknown."
    if sound is not None and free[sound]:
        yield (
            f"Masks: {free[sound]} photographs without a mask file count as free of marks, because their class, "
            f"{sound}, has a folder of masks and is the sound one."
        )
    others = sorted((name for name in free if name != sound), key=natural_key)
    if others:
        listed = ", ".join(f"{name}: {free[name]}" for name in others)
        yield (
            f"Masks: {sum(free[name] for name in others)} photographs without a mask file, in classes that have a "
            f"folder of masks, are unknown, since their class is not the sound one ({listed})."
        )
    if tree.orphans:
        yield f"Masks: {len(tree.orphans)} files fit no photograph (for example {tree.orphans[0].name})."
    if tree.landmarks:
        yield (f"Masks: {len(tree.landmarks)} files show a landmark (for example {tree.landmarks[0].name}): left out.")
