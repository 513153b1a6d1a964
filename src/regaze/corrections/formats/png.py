"""PNG masks: a folder with one grey PNG for each photograph, and `corrections.json` with what a picture cannot hold.

Written are `<sample id>.png` in the photograph's size (255 "look here", 128 "not here", 0 nothing said) and, in
`corrections.json`, an entry for each of them: `sample`, `file`, `mode`, `author`, `time`, `remark`, `width`, `height`.
Lost: how it was drawn (strokes, polygons and boxes become pixels).

A folder from elsewhere needs no `corrections.json`. Its PNGs are grey with the values above, or have one bit, or 0 and
1; 1 means "look here". Those in a folder named like a landmark (`OD/eye.png`) are left out. Without an entry a picture
that is all 0 means *not corrected*: tools write one for every photograph. With an entry it means what the entry says.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from regaze.corrections.formats.drawn import Drawn, Notes, check_size, mask_shape, sheets
from regaze.corrections.formats.folders import by_name, member, new_folder
from regaze.corrections.formats.json_paths import read_json, write_lines
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, read_bytes, shown
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.files import replacing, write_text
from regaze.lesion_names import lesion_type
from regaze.records import Correction, Shape

SIDECAR = "corrections.json"
LOOK, AVOID = 255, 128

_FORMAT, _VERSION = "regaze corrections", 1
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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


def read_png(path: Path, album: Album) -> list[Drawn]:
    """Read a folder of PNG masks.

    Args:
        path: The folder.
        album: The photographs it may name.

    Returns:
        What was drawn, ordered by file name; see the module for pictures without anything drawn.

    Raises:
        CorrectionError: A picture or `corrections.json` is damaged, does not fit a photograph, or they do not fit
            each other.
    """
    sidecar = path / SIDECAR
    files = by_name(path, _pictures(path), suffix=".png", may_be_empty=sidecar.is_file())
    entries = _entries(sidecar, album, set(files)) if sidecar.is_file() else {}
    result, owners = list[Drawn](), dict[str, str]()
    for name, file in files.items():
        source = Source(file)
        entry, photograph, entry_source = entries.get(name) or (None, album.find(name, source), source)
        if entry is None and _is_landmark(name, photograph):
            continue
        first = owners.setdefault(photograph.sample, name)
        if first != name:
            raise source.refuse(f"a second picture of {photograph.sample} beside {first}", "one")
        shapes = _shapes(_decode(read_bytes(file), photograph, source), source)
        if entry is not None:
            result.append(entry.drawn(photograph.sample, shapes, entry_source))
        elif shapes:
            result.append(Drawn(photograph.sample, shapes))
    return result


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
            with replacing(file) as temporary:
                Image.fromarray(values).save(temporary, format="PNG")
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


def _is_landmark(name: str, photograph: Photograph) -> bool:
    """Whether a picture lies in a folder of what is no lesion, which is not merely the photograph's own folder."""
    return any(lesion_type(part) is None for part in set(name.split("/")[:-1]) - set(photograph.sample.split("/")))


def _entries(sidecar: Path, album: Album, pictures: set[str]) -> dict[str, tuple[_Entry, Photograph, Source]]:
    """What `corrections.json` says, by the name of the picture: one entry for each."""
    document: _Sidecar = read_json(sidecar, _Sidecar)
    if document.format != _FORMAT or document.version != _VERSION:
        raise Source(sidecar).refuse("another kind of file", f"format {_FORMAT!r} and version {_VERSION}")
    entries: dict[str, tuple[_Entry, Photograph, Source]] = {}
    for index, entry in enumerate(document.corrections):
        source = Source(sidecar, f"$.corrections[{index}]")
        photograph = album.find(entry.sample, source)
        check_size(entry.width, entry.height, photograph, source)
        if entry.file in entries:
            raise source.refuse(f"the picture {shown(entry.file)} again", "each once")
        entries[entry.file] = entry, photograph, source
    odd = sorted(entries.keys() ^ pictures)
    if odd and odd[0] in entries:
        raise entries[odd[0]][2].refuse(f"no picture {odd[0]}", "one for each entry")
    if odd:
        raise Source(sidecar).refuse(f"no entry for the picture {odd[0]}", "one entry for each")
    return entries


def _decode(data: bytes, photograph: Photograph, source: Source) -> NDArray[np.uint8]:
    """The values of a picture, (H, W); its size is compared before a pixel is decoded."""
    if len(data) < 24 or not data.startswith(_SIGNATURE):
        raise source.refuse("no PNG", "a PNG")
    width, height = struct.unpack(">II", data[16:24])
    check_size(width, height, photograph, source)
    try:
        with PngImageFile(io.BytesIO(data)) as image:  # Image.open would warn above 89 Mpx
            if image.mode not in ("1", "L"):
                raise source.refuse(f"a picture of mode {image.mode}", "grey with 8 bits or 1 bit")
            return np.array(image, dtype=np.uint8)  # 0 and 1 where the picture has one bit
    except (OSError, ValueError, SyntaxError, OverflowError) as error:
        raise source.refuse(f"a damaged PNG ({error})", "a whole one") from error


def _shapes(values: NDArray[np.uint8], source: Source) -> tuple[Shape, ...]:
    present = np.bincount(values.reshape(-1), minlength=256)
    present[[0, 1, AVOID, LOOK]] = 0
    if present.any():
        wrong = int(np.flatnonzero(present)[0])
        raise source.refuse(f"the value {wrong}", f"0, {LOOK} (or 1) for look here, {AVOID} for not here")
    look = mask_shape(mask_to_runs((values == LOOK) | (values == 1)), True, source)
    return look + mask_shape(mask_to_runs(values == AVOID), False, source)
