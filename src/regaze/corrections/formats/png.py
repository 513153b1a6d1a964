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
from msgspec.structs import asdict
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from regaze.corrections.formats.drawn import (
    Drawn,
    check_size,
    mask_shapes,
    member,
    new_folder,
    noted,
    sheets,
)
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


class _Entry(Struct, kw_only=True):
    sample: str
    file: str
    mode: str
    author: str | None = None
    time: str | None = None
    remark: str | None = None
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
    files = _pictures(path)
    sidecar = path / SIDECAR
    entries = _entries(sidecar, album) if sidecar.is_file() else None
    if entries is not None and set(entries) != set(files):
        odd = sorted(set(entries) ^ set(files))[0]
        found = f"no picture {odd}" if odd in entries else f"no entry for the picture {odd}"
        raise (entries[odd][2] if odd in entries else Source(sidecar)).refuse(found, "one entry for each")
    result, owners = [], dict[str, str]()
    for name, file in files.items():
        source = Source(file)
        photograph = entries[name][1] if entries is not None else album.find(name, source)
        if entries is None and _is_landmark(name, photograph):
            continue
        if photograph.sample in owners:
            raise source.refuse(f"a second picture of {photograph.sample} beside {owners[photograph.sample]}", "one")
        owners[photograph.sample] = name
        shapes = _shapes(_decode(read_bytes(file), photograph, source), source)
        if entries is not None:
            entry, _, source = entries[name]
            notes = {"mode": entry.mode, "time": entry.time, "author": entry.author, "remark": entry.remark}
            result.append(noted(photograph.sample, shapes, source, **notes))
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
            entry = _Entry(
                sample=drawn.sample,
                file=file.relative_to(folder).as_posix(),
                mode=drawn.mode,
                author=drawn.author,
                time=drawn.time,
                remark=drawn.remark,
                width=photograph.width,
                height=photograph.height,
            )
            entries.append(asdict(entry))
        write_text(folder / SIDECAR, write_lines({"format": _FORMAT, "version": _VERSION, "corrections": entries}))


def _pictures(path: Path) -> dict[str, Path]:
    """The PNGs below a folder by their relative names, sorted."""
    if not path.is_dir():
        raise Source(path).refuse("no folder", "a folder of PNG masks")
    files = {
        file.relative_to(path).as_posix(): file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() == ".png" and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }
    for file in files.values():
        if file.is_symlink():
            raise Source(file).refuse("a link", "the picture itself")
    if not files and not (path / SIDECAR).is_file():
        raise Source(path).refuse("no PNG", "one for each photograph")
    return files


def _is_landmark(name: str, photograph: Photograph) -> bool:
    """Whether a picture lies in a folder of what is no lesion, which is not merely the photograph's own folder."""
    own = photograph.sample.split("/")
    return any(lesion_type(part) is None for part in name.split("/")[:-1] if part not in own)


def _entries(sidecar: Path, album: Album) -> dict[str, tuple[_Entry, Photograph, Source]]:
    """What `corrections.json` says, by the name of the picture."""
    notes: _Sidecar = read_json(sidecar, _Sidecar)
    if notes.format != _FORMAT or notes.version != _VERSION:
        raise Source(sidecar).refuse("another kind of file", f"format {_FORMAT!r} and version {_VERSION}")
    entries: dict[str, tuple[_Entry, Photograph, Source]] = {}
    for index, entry in enumerate(notes.corrections):
        source = Source(sidecar, f"$.corrections[{index}]")
        photograph = album.find(entry.sample, source)
        check_size(entry.width, entry.height, photograph, source)
        if entry.file in entries:
            raise source.refuse(f"the picture {shown(entry.file)} again", "each once")
        entries[entry.file] = entry, photograph, source
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
    look = mask_shapes(mask_to_runs((values == LOOK) | (values == 1)), True, source)
    return look + mask_shapes(mask_to_runs(values == AVOID), False, source)
