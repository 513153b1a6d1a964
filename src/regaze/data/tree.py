"""What folders mean by their names: parts, masks, containers of photographs; all others are classes or lie below one.

Invariant: every picture file below a folder comes out of `walk` once, hidden ones too, so that a reader can say what it
did not take.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regaze.data.classes import natural_key
from regaze.data.images import is_picture
from regaze.records import Part

PartName = Literal["train", "val", "test"]

_PARTS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Words that say nothing beside a part's: `a. Training Set`, `test_images`.
_FILLING = r"(sets?|data|datasets?|images?|imgs?|photos?|pictures?|parts?|splits?|samples?|folders?|[a-z])"
_MASKS = r"(lesion_|binary_|segmentation_)?masks|ground_?truths?|gts?|segmentations"
_MASKS_BESIDE_IMAGES = r"(binary_|segmentation_)?masks?(_images?)?|segmentation|annotations?|labels?"
# Suffixes of pictures and arrays that are not read: who has them should hear so.
_UNREAD = re.compile(
    r".+\.(npy|npz|mat|h5|hdf5|pt|pkl|nii|nii\.gz|mha|mhd|nrrd|zarr|raw|cr2|cr3|nef|arw|dng|psd|xcf|svs|ndpi|exr|hdr|tga"
    r"|pcx|svg|jxl|pdf|e2e|fda|fds|zip|rar|7z|tar|tgz|gz)",
    re.IGNORECASE,
)
_CONTAINERS = r"(original_|raw_)?(images?|imgs?|photos?|photographs?|pictures?)|inputs?"


@dataclass(frozen=True)
class Place:
    """A folder below a data set's, by what its path means.

    Attributes:
        path: The folder.
        part: Its part, None without one.
        masks: The name of the folder of masks that it is or lies in, in lower case; '' outside.
        names: The names of the folders that mean neither, outermost first: a photograph's class and what lies below.
        hidden: It is hidden, or lies in a folder that is.
    """

    path: Path
    part: PartName | None = None
    masks: str = ""
    names: tuple[str, ...] = ()
    hidden: bool = False


def part_name(name: str) -> PartName | None:
    """Which part a folder's name, or a table's word, means in any spelling: `Training`, `a. Testing Set`, `val_images`.

    None where it means none.
    """
    plain = _plain(name)
    whole = plain.replace("_", "")
    if whole in _PARTS:
        return _PARTS[whole]
    words = [re.sub("(sets?|data|images)$", "", word) or word for word in plain.split("_")]
    left = [word for word in words if not re.fullmatch(_FILLING, word)]
    return _PARTS.get(left[0]) if len(left) == 1 else None


def part_folders(names: Collection[str]) -> dict[str, PartName]:
    """Of the names of all folders in one folder those that mean parts, also by each other: `seg_train`, `seg_test`."""
    found = {name: part for name in names if (part := part_name(name)) is not None}
    by_rest: dict[tuple[str, ...], dict[str, PartName]] = {}
    for name in names:
        if name not in found and (meant := _one_part(name)) is not None:
            by_rest.setdefault(meant[1], {})[name] = meant[0]
    for alike in by_rest.values():
        if len(set(alike.values())) > 1:
            found |= alike
    return found


def _one_part(name: str) -> tuple[PartName, tuple[str, ...]] | None:
    """The part that one word of a name means, and its other words: of `train_masks` `train` and `masks`."""
    words = _plain(name).split("_")
    meant = [number for number, word in enumerate(words) if word in _PARTS]
    if len(meant) != 1 or len(words) == 1:
        return None
    return _PARTS[words[meant[0]]], (*words[: meant[0]], *words[meant[0] + 1 :])


def part_of(name: PartName | None) -> Part:
    """The part that a name means; validation photographs count as training: the study makes its own folds."""
    return "test" if name == "test" else "training"


def pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, naturally sorted; hidden files are left out."""
    return [file for file in _pictures(folder) if not file.name.startswith(".")]


def unread_in(folder: Path) -> list[Path]:
    """The files directly in a folder that hold pictures or arrays in formats that are not read, sorted."""
    found = (file for file in folder.iterdir() if _UNREAD.fullmatch(file.name) and not file.name.startswith("."))
    return sorted(file for file in found if file.is_file() and not is_picture(file))


def mask_folders(names: Collection[str]) -> set[str]:
    """Of the names of all folders in one folder those that mean masks; some (`labels`) do beside photographs alone."""
    has_images = any(re.fullmatch(_CONTAINERS, _plain(name)) for name in names)
    beside = f"{_MASKS}|{_MASKS_BESIDE_IMAGES}"
    pattern = beside if has_images else _MASKS
    of_parts = {name for name in names if (found := _one_part(name)) and re.fullmatch(beside, "_".join(found[1]))}
    return of_parts | {name for name in names if re.fullmatch(pattern, _plain(name))}


def walk(root: Path, masks: str = "") -> Iterator[tuple[Place, list[Path]]]:
    """Every folder below a data set's and itself, with the picture files in it; folders and files naturally sorted.

    Args:
        root: The data set's folder.
        masks: The `Place.masks` of all of it, where it is a folder of masks.
    """
    yield from _walk(Place(root, masks=masks), frozenset())


def _walk(place: Place, above: frozenset[str]) -> Iterator[tuple[Place, list[Path]]]:
    real = os.path.realpath(place.path)
    if real in above:  # a link to a folder that it lies in
        return
    yield place, _pictures(place.path)
    folders = sorted((path for path in place.path.iterdir() if path.is_dir()), key=lambda path: natural_key(path.name))
    of_masks = mask_folders([path.name for path in folders])
    parts = part_folders([path.name for path in folders])
    for path in folders:
        yield from _walk(_below(place, path, path.name in of_masks, parts.get(path.name)), above | {real})


def _below(place: Place, path: Path, of_masks: bool, meant: PartName | None) -> Place:
    name = path.name
    part, masks, names = place.part, place.masks, place.names
    if of_masks and not masks:
        masks = name.lower()
        own = _one_part(name)
        part = own[0] if part is None and own is not None else part  # `train_masks`
    elif meant is not None and part is None:
        part = meant
    elif part is not None and not names and (part_name(name) == part or name == place.path.name):
        pass  # `Training_Set/Training`, `seg_train/seg_train` mean it once more
    elif not re.fullmatch(_CONTAINERS, _plain(name)):
        names = (*names, name)
    return Place(path, part, masks, names, place.hidden or name.startswith((".", "__")))


def _pictures(folder: Path) -> list[Path]:
    return sorted((file for file in folder.iterdir() if is_picture(file)), key=lambda file: natural_key(file.name))


def _plain(name: str) -> str:
    """Lower case, one `_` between words, without numbers: `2. TrainingSet` -> `training_set`."""
    return re.sub(r"[^a-z]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
