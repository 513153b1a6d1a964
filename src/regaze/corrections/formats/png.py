"""PNG masks: a folder with one grey PNG for each photograph, and `corrections.json` with what a picture cannot hold.

Written are `<sample id>.png` in the photograph's size (255 "look here", 128 "not here", 0 nothing said) and, in
`corrections.json`, an entry for each of them: `sample`, `file`, `mode`, `author`, `time`, `remark`, `width`, `height`.
Pixels are in the photograph's stored order, and carry its EXIF orientation: whatever turns the one turns the other.
Lost: how it was drawn (strokes, polygons and boxes become pixels; where it was erased, 0).

A folder from elsewhere needs no `corrections.json`. Its PNGs are grey with the values above, or have one bit, or 0 and
1; 1 means "look here". Where values or colours are named (`Intake.classes`, else a table beside the pictures, see
`class_tables`) they mean what their names do; with `Intake.any_value` all but 0 means "look here". A name may end like
a mask's (`eye_mask.png`, `eye_HE.png`; `regaze.mask_names`), and several masks of one photograph that differ in this
or lie in folders of lesions (`HE/eye.png`) are one correction. Those in a folder named like a landmark (`OD/eye.png`),
or called so themselves (`eye_OD.png`), are left out.

Where EXIF turns the photograph, the PNG's own orientation or its size tells whether it was drawn upright; where neither
does, the user has to say (`Intake.drawn_on`), since masks come from tools that turn and from scripts that do not.
Without an entry a picture that is all 0 means *not corrected*: tools write one for every photograph. With an entry it
means what the entry says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import ExifTags, Image

from regaze.corrections.formats.class_tables import by_class, read_tables, table_of
from regaze.corrections.formats.drawn import Drawn, Notes, sheets
from regaze.corrections.formats.folders import by_name, member, new_folder
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.json_paths import read_json, write_lines
from regaze.corrections.formats.painted import open_png, orientation_of, painted, png_size
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.sheet import Sheet, sheet_of
from regaze.corrections.formats.source import Source, read_bytes, shown
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.files import replacing, write_text
from regaze.lesion_names import lesion_type, named_lesion
from regaze.mask_names import landmark_endings, mask_endings
from regaze.orientation import upright_pixels, upright_size
from regaze.records import Correction, Shape

SIDECAR = "corrections.json"
LOOK, AVOID = 255, 128

_FORMAT, _VERSION = "regaze corrections", 1

# What Label Studio calls its pictures: names of tasks, not of photographs.
_OF_A_TASK = re.compile(r"(.*/)?task-[0-9]+-annotation-[^/]*")


class _Entry(Notes, kw_only=True):
    mode: str
    sample: str
    file: str
    width: int
    height: int


class _Sidecar(Struct):
    format: str
    version: int
    corrections: list[_Entry]


def read_png(path: Path, album: Album, intake: Intake) -> list[Drawn]:
    """Read a folder of PNG masks.

    Args:
        path: The folder.
        album: The photographs it may name.
        intake: How it is taken.

    Returns:
        What was drawn, ordered by file name; see the module for pictures without anything drawn.

    Raises:
        CorrectionError: A picture or `corrections.json` is damaged, does not fit a photograph, or they do not fit
            each other.
    """
    sidecar = path / SIDECAR
    files = by_name(path, _pictures(path), suffix=".png", may_be_empty=sidecar.is_file())
    entries = _entries(sidecar, album, intake, set(files)) if sidecar.is_file() else {}
    tables = {} if entries or intake.classes else read_tables(path)
    result, owners = dict[str, Drawn](), dict[tuple[str, str], str]()
    for name, file in files.items():
        source = Source(file)
        entry, entry_source = entries.get(name) or (None, source)
        if entry is None and tables and "SegmentationObject" in file.parts:
            continue  # the same again, each object in a colour of its own
        photograph, kind = _owner(name if entry is None else entry.sample, album, intake, entry_source)
        if photograph is None:
            continue
        if kind is None and entry is None:
            intake.landmark(name)
            continue
        first = owners.setdefault((photograph.sample, kind or ""), name)
        if first != name:
            raise source.refuse(f"a second picture of {photograph.sample} beside {first}", "one")
        rules = intake if entry is not None else replace(intake, classes=intake.classes or table_of(file, tables))
        shapes = _shapes(read_bytes(file), photograph, rules, entry is not None, source)
        if entry is not None:
            result[photograph.sample] = entry.drawn(photograph.sample, shapes, entry_source)
        elif shapes:
            before = result.get(photograph.sample, Drawn(photograph.sample, ()))
            result[photograph.sample] = replace(before, shapes=(*before.shapes, *shapes))
    return list(result.values())


def write_png(items: Iterable[Drawn | Correction], album: Album, path: Path) -> None:
    """Write a folder of PNG masks, whole or not at all.

    Args:
        items: At most one for each photograph.
        album: The photographs.
        path: The folder; absent or empty.

    Raises:
        CorrectionError: A photograph is unknown or comes twice, its id cannot name a file, or `path` is taken.
    """
    entries = []
    with new_folder(path) as folder:
        for photograph, drawn in sheets(items, album):
            file = member(folder, photograph.sample, ".png")
            look, avoid = rasterise(drawn.shapes, photograph.height, photograph.width)
            values = np.where(look, LOOK, np.where(avoid, AVOID, 0)).astype(np.uint8)
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = photograph.orientation
            turned = {"exif": exif} if photograph.orientation != 1 else {}
            with replacing(file) as temporary:
                Image.fromarray(values).save(temporary, format="PNG", **turned)
            entry = {"sample": drawn.sample, "file": file.relative_to(folder).as_posix(), **drawn.notes}
            entries.append(entry | {"width": photograph.width, "height": photograph.height})
        write_text(folder / SIDECAR, write_lines({"format": _FORMAT, "version": _VERSION, "corrections": entries}))


def _pictures(path: Path) -> list[Path]:
    """The PNGs below a folder, sorted, without hidden ones."""
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() == ".png" and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]


def _owner(name: str, album: Album, intake: Intake, source: Source) -> tuple[Photograph | None, str | None]:
    """The photograph of a picture, and what tells it from other masks of the same photograph.

    The first is None for a picture to be passed over, the second for a landmark's.
    """
    folder, slash, base = name.rpartition("/")
    stem = base.removesuffix(".png")
    kind: str | None = ""
    photograph = album.match(name, source)
    if photograph is None and _OF_A_TASK.fullmatch(name):
        raise source.refuse("the name of a task, not of a photograph", "Label Studio's export called JSON")
    if photograph is None:
        for start, named in (*mask_endings(stem), *landmark_endings(stem)):
            photograph = album.match(f"{folder}{slash}{start}.png", source)
            if photograph is not None:
                kind = None if named is None else stem[len(start) :].lower()
                break
    if photograph is None:
        return intake.find(album, name, source), kind
    folders = [part for part in folder.split("/") if part and part not in photograph.sample.split("/")]
    if kind is None or any(lesion_type(part) is None for part in folders):
        return photograph, None
    return photograph, "/".join([*filter(None, map(named_lesion, folders)), kind])


def _entries(sidecar: Path, album: Album, intake: Intake, pictures: set[str]) -> dict[str, tuple[_Entry, Source]]:
    """What `corrections.json` says, by the name of the picture: one entry for each."""
    document: _Sidecar = read_json(sidecar, _Sidecar)
    if document.format != _FORMAT or document.version != _VERSION:
        raise Source(sidecar).refuse("another kind of file", f"format {_FORMAT!r} and version {_VERSION}")
    entries: dict[str, tuple[_Entry, Source]] = {}
    for index, entry in enumerate(document.corrections):
        source = Source(sidecar, f"$.corrections[{index}]")
        photograph = album.match(entry.sample, source) if intake.skip_unknown else album.find(entry.sample, source)
        if photograph is not None:
            _check_size(entry.width, entry.height, photograph, source)
        if entry.file in entries:
            raise source.refuse(f"the picture {shown(entry.file)} again", "each once")
        entries[entry.file] = entry, source
    odd = sorted(entries.keys() ^ pictures)
    if odd and odd[0] in entries:
        raise entries[odd[0]][1].refuse(f"no picture {odd[0]}", "one for each entry")
    if odd:
        raise Source(sidecar).refuse(f"no entry for the picture {odd[0]}", "one entry for each")
    return entries


def _check_size(width: int, height: int, photograph: Photograph, source: Source) -> None:
    """Refuse a size that is not the stored photograph's."""
    if (width, height) != (photograph.width, photograph.height):
        expected = f"{photograph.width} and {photograph.height}, the size of {photograph.sample}"
        raise source.refuse(f"width {width} and height {height}", expected)


def _shapes(data: bytes, photograph: Photograph, intake: Intake, is_ours: bool, source: Source) -> tuple[Shape, ...]:
    """What a picture says; its size is compared before a pixel is decoded."""
    size = png_size(data, source)
    if is_ours:
        _check_size(*size, photograph, source)
    with open_png(data, source) as image:
        # Our own are in stored order, which the photograph's orientation that they carry does not change.
        own = None if is_ours else orientation_of(image)
        if is_ours:
            sheet = Sheet(photograph, photograph.width, photograph.height, 1, intake)
        else:  # turned as it says itself, a picture is upright
            rules = intake if own is None else replace(intake, drawn_on="upright")
            sheet = sheet_of(photograph, upright_size(*size, own or 1), rules, source, by_a_tool=False)
        masks = by_class(image, intake.classes, intake, source) if intake.classes else _values(image, intake, source)
        look, avoid = (upright_pixels(mask, own or 1) for mask in masks)
    return sheet.mask(mask_to_runs(look), "look", source) + sheet.mask(mask_to_runs(avoid), "avoid", source)


def _values(image: Image.Image, intake: Intake, source: Source) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pixels say look here and not here, (H, W) each."""
    if intake.any_value:
        look = painted(image)
        return look, np.zeros_like(look)
    cure = "; --any-value takes all but 0 for look here, --mask-classes 1=MA,5=OD names them"
    if image.mode not in ("1", "L"):
        raise source.refuse(f"a picture of mode {image.mode}", f"grey with 8 bits or 1 bit{cure}")
    values = np.array(image, dtype=np.uint8)  # 0 and 1 where the picture has one bit
    present = np.bincount(values.reshape(-1), minlength=256)
    present[[0, 1, AVOID, LOOK]] = 0
    if present.any():
        wrong = int(np.flatnonzero(present)[0])
        raise source.refuse(f"the value {wrong}", f"0, {LOOK} (or 1) for look here, {AVOID} for not here{cure}")
    return (values == LOOK) | (values == 1), values == AVOID
