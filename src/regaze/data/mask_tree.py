"""Mask files of a folder of photographs: which photograph each of them belongs to, and what it shows.

See `data.folder` for the layouts, and for what a missing mask means.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regaze.data.images import IMAGE_SUFFIXES, open_image
from regaze.data.tree import PartName, Place, unread_in
from regaze.errors import DataError
from regaze.lesion_names import lesion_type, named_lesion
from regaze.mask_names import landmark_endings, mask_endings, says_mask

# What a photograph's own name may end with where its mask's does not: `x_image.png`, `x_mask.png`.
_PHOTO_ENDING = re.compile(r"(.+?)[_ .-]+(images?|img|photo|orig|original|rgb|input)", re.IGNORECASE)


@dataclass(frozen=True)
class Photo:
    """A photograph as masks look for it.

    Attributes:
        path: Its file.
        part: Its part, None without one.
        label: Its class.
        below: The folders between the class and the file.
    """

    path: Path
    part: PartName | None
    label: str
    below: tuple[str, ...] = ()


@dataclass
class MaskTree:
    """Masks by photograph.

    Attributes:
        masks: Photograph's file -> lesion type -> mask files.
        known: (part, class) whose photographs were looked at, because the class has a folder of masks; part None: of
            any part.
        landmarks: Mask files that show no lesion.
        orphans: Mask files that fit no photograph.
    """

    masks: dict[Path, dict[str, tuple[Path, ...]]] = field(default_factory=dict)
    known: set[tuple[PartName | None, str]] = field(default_factory=set)
    landmarks: list[Path] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)

    def add(self, photo: Path, kind: str, mask: Path) -> None:
        """Give a photograph a mask."""
        kinds = self.masks.setdefault(photo, {})
        kinds[kind] = (*kinds.get(kind, ()), mask)


def companions_of(above: Sequence[Path], files: Sequence[Path]) -> dict[Path, tuple[Path, str | None]]:
    """The pictures of a folder where all of them are masks of those in the folder that holds it (DAGM: `Label`).

    Returns:
        As `companions`; empty where one is none.
    """
    if not above or not all(says_mask(file.stem) for file in files):
        return {}
    found = companions([*above, *files])
    return {file: found[file] for file in files} if found.keys() >= set(files) else {}


def companions(files: Sequence[Path]) -> dict[Path, tuple[Path, str | None]]:
    """Of the pictures in one folder those that are masks of another one: `x_mask.png`, `x_mask_1.png`, `x_EX.png`.

    Returns:
        Mask -> the photograph that it lies beside, and its lesion type, None where it shows a landmark.
    """
    by_stem, everything = {file.stem.casefold(): file for file in files}, set(files)
    for file in files:
        by_stem.setdefault(_shorter(file.stem).casefold(), file)
    found: dict[Path, tuple[Path, str | None]] = {}

    def take(file: Path, meanings: Iterable[tuple[str, str | None]], owners: Container[Path]) -> None:
        for stem, kind in meanings:
            photo = by_stem.get(stem.casefold())
            if file not in found and photo is not None and photo != file and photo in owners:
                found[file] = photo, kind if kind != "" else "lesion"

    for file in files:
        take(file, _bare(mask_endings(file.stem)), everything)
        if says_mask(file.stem):
            take(file, landmark_endings(file.stem), everything)
    # `7_OD` beside `7` may be a right eye; beside `7` and `7_MA` it is the disc.
    masked = {photo for photo, _ in found.values()}
    for file in files:
        take(file, landmark_endings(file.stem), masked)
    for file, photo in _pairs(files):
        if photo not in found:
            found.setdefault(file, (photo, "lesion"))
    # A mask's own name may begin another's: `x_mask` and `x_mask_EX`.
    return {mask: (found[photo][0] if photo in found else photo, kind) for mask, (photo, kind) in found.items()}


def _pairs(files: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Masks and photographs of one stem in one folder, `x.png` beside `x.jpg` (magnetic tiles): all of them or none.

    Every PNG has a JPEG of its name, and holds no more than two levels.
    """
    photos = {file.stem: file for file in files if file.suffix.lower() in (".jpg", ".jpeg")}
    masks = [file for file in files if file.suffix.lower() == ".png"]
    if masks and all(file.stem in photos and _is_binary(file) for file in masks):
        yield from ((file, photos[file.stem]) for file in masks)


def _is_binary(file: Path) -> bool:
    try:
        with open_image(file, decode=True) as image:
            return image.mode in ("1", "L", "P") and len(image.getcolors(256) or range(256)) <= 2
    except DataError:  # said where it is read
        return False


def like_masks(files: Sequence[Path]) -> list[Path]:
    """Of photographs in one folder those named like a mask, or like another one with a word behind it."""
    stems = {file.stem.casefold() for file in files}

    def is_longer(stem: str) -> bool:
        return any(stem[: word.start()] in stems for word in re.finditer(r"[_ .-]+(?=[a-z]+\d*$)", stem))

    return [file for file in files if says_mask(file.stem) or is_longer(file.stem.casefold())]


def match_masks(places: Sequence[tuple[Place, Sequence[Path]]], photos: Sequence[Photo]) -> MaskTree:
    """Find the photograph of each mask in the folders of masks.

    Args:
        places: The folders of masks and those below them, with their picture files.
        photos: All photographs.

    Raises:
        DataError: A mask fits several photographs, or two of one stem fit one.
    """
    tree = MaskTree()
    classes, folders = {photo.label for photo in photos}, {photo.below for photo in photos}
    has_parts = any(photo.part is not None for photo in photos)
    by_stem = _by_stem(photos)
    above = {place.path.parent for place, _ in places}
    for place, files in places:
        label, kind, below = _meaning(place.names, classes)
        part = _part_of(place) if has_parts else None
        if kind is None:
            tree.landmarks += files
            continue
        _refuse_alike(files)
        landmarks = len(tree.landmarks)
        # MVTec LOCO has a folder for each photograph: ground_truth/CLASS/000/001.png.
        is_of_one = bool(below) and below not in folders and below[-1] in by_stem
        for file in files:
            if is_of_one:
                candidates = [(below[-1], named_lesion(file.stem) or kind)]
            else:
                candidates = [] if label is None and below else _candidates(file, kind)
            owner = _owner(file, candidates, by_stem, label, part, below[:-1] if is_of_one else below)
            if owner is not None:
                tree.add(owner[0].path, owner[1], file)
            elif any(True for _ in landmark_endings(file.stem)):
                tree.landmarks.append(file)
            else:
                tree.orphans.append(file)
        # An empty folder says that nothing was found; one of landmarks alone says nothing.
        looked = len(files) > len(tree.landmarks) - landmarks or (not files and place.path not in above)
        if label is not None and looked and not unread_in(place.path):
            tree.known.add((part, label))
    return tree


def _by_stem(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    """Photographs by their stems, and by the shorter ones that no other has."""
    found: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        found[photo.path.stem].append(photo)
    shorter = {_shorter(stem) for stem in found} - found.keys()
    for photo in photos:
        if (stem := _shorter(photo.path.stem)) in shorter:
            found[stem].append(photo)
    return found


def _candidates(file: Path, kind: str) -> list[tuple[str, str]]:
    """The stems of photographs that a mask may belong to, and the lesion that it would show."""
    names = _bare(((file.stem, ""), *mask_endings(file.stem)))
    return [(stem, named if named and kind == "lesion" else kind) for stem, named in names]


def _owner(
    file: Path,
    candidates: Sequence[tuple[str, str]],
    by_stem: dict[str, list[Photo]],
    label: str | None,
    part: PartName | None,
    below: tuple[str, ...],
) -> tuple[Photo, str] | None:
    """The photograph of a mask and its lesion type; None where none fits."""
    for stem, kind in candidates:
        fitting = [
            photo for photo in by_stem.get(stem, []) if label in (None, photo.label) and part in (None, photo.part)
        ]
        fitting = [photo for photo in fitting if photo.below == below] or fitting
        if len(fitting) > 1:
            names = " or ".join(str(photo.path) for photo in fitting[:2])
            raise DataError(
                f"{file} could belong to {names}: lay the masks out like the photographs, by part and class."
            )
        if fitting:
            return fitting[0], kind
    return None


def _meaning(names: Sequence[str], classes: Collection[str]) -> tuple[str | None, str | None, tuple[str, ...]]:
    """What the folders of masks mean: class (None: none), lesion type (None: a landmark) and the rest."""
    label = next((name for name in reversed(names) if name in classes), None)
    spelled = label
    if label is None:
        alike = {known.casefold(): known for known in sorted(classes)}
        spelled = next((name for name in reversed(names) if name.casefold() in alike), None)
        label = None if spelled is None else alike[spelled.casefold()]
    rest = list(names)
    if spelled is not None:
        del rest[len(rest) - 1 - rest[::-1].index(spelled)]
    kinds = [name for name in rest if named_lesion(name) is not None]
    landmark = any(lesion_type(name) is None for name in rest if name not in kinds)
    below = tuple(name for name in rest if name not in kinds and lesion_type(name) is not None)
    kind = named_lesion(kinds[0]) if kinds else "lesion"
    return label, None if landmark else kind, below


def _part_of(place: Place) -> PartName | None:
    """The part of a folder of masks; MVTec's ground_truth belongs to the test part."""
    return place.part or ("test" if place.masks.startswith("ground") else None)


def _bare(meanings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same, and without the photograph's suffix that tools leave in a mask's name (`x.jpg.png`)."""
    for stem, named in meanings:
        yield stem, named
        if Path(stem).suffix.lower() in IMAGE_SUFFIXES:
            yield Path(stem).stem, named


def _shorter(stem: str) -> str:
    """A photograph's stem without the word that says what it is."""
    ended = _PHOTO_ENDING.fullmatch(stem)
    return ended[1] if ended else stem


def _refuse_alike(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other != file:
            raise DataError(f"{other} and {file} mask one photograph alike: keep one of them.")
