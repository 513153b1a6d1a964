"""What the values or colours of a mask's pixels mean, as tools say it in a table beside their PNGs.

Known are `labelmap.txt` (CVAT's "Segmentation mask", `name:r,g,b::`) and Roboflow's `_classes.csv` (`Pixel Value,
Class`). A table holds for the pictures in its folder and below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regaze.corrections.formats.drawn import LABELS, meaning
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.source import Source, decode_text, read_bytes, shown

Classes = Mapping[str, str]
"""A value (`3`) or a colour (`#ff0000`) -> the name of its class."""

_Mask = NDArray[np.bool_]


def read_tables(folder: Path) -> dict[Path, Classes]:
    """The tables below a folder, by the folders that they lie in.

    Raises:
        CorrectionError: One cannot be read, or a line of it says something else.
    """
    patterns = {
        "labelmap.txt": r"(?P<name>[^:]*):(?P<r>\d{1,3}),(?P<g>\d{1,3}),(?P<b>\d{1,3})(:.*)?",
        "_classes.csv": r"(?P<value>\d{1,9})\s*[,;]\s*(?P<name>.*)",
    }
    tables: dict[Path, Classes] = {}
    for file in sorted(file for file in folder.rglob("*") if file.name in patterns and file.is_file()):
        named: dict[str, str] = {}
        for line, text in enumerate(decode_text(read_bytes(file), file).splitlines(), start=1):
            if not text.strip() or text.startswith("#") or (line == 1 and text.lower().startswith("pixel")):
                continue
            found = re.fullmatch(patterns[file.name], text.strip())
            if found is None:
                raise Source(file, line).refuse(shown(text), "a class and its value or colour")
            parts = found.groupdict()
            key = parts.get("value") or "#" + "".join(f"{int(parts[part]):02x}" for part in "rgb")
            named[key] = parts["name"].strip()
        tables[file.parent] = named
    return tables


def table_of(file: Path, tables: Mapping[Path, Classes]) -> Classes | None:
    """The table that holds for a picture: the nearest one above it."""
    return next((tables[folder] for folder in file.parents if folder in tables), None)


def by_class(image: Image.Image, classes: Classes, intake: Intake, source: Source) -> tuple[_Mask, _Mask]:
    """Which pixels say look here and not here, (H, W) each; landmarks are left out and counted.

    Args:
        image: A PNG of one value, palette index or colour per class; 0, black and transparent pixels say nothing.
        classes: What they mean.
        intake: Where landmarks are counted.
        source: The picture.

    Raises:
        CorrectionError: A value has no name, or the picture is in colour where values are named.
    """
    by_colour = any(key.startswith("#") for key in classes)
    if by_colour:
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
        codes = (pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]) * (pixels[..., 3] > 0)
    else:
        codes = np.asarray(image).astype(np.int64)
    if codes.ndim != 2:
        raise source.refuse(f"a picture of mode {image.mode}", "one value for each class, as they are named")
    named = {int(key.lstrip("#"), 16 if by_colour else 10): name for key, name in classes.items()}
    masks = {label: np.zeros(codes.shape, dtype=np.bool_) for label in LABELS}
    for code in map(int, np.unique(codes[codes != 0])):
        value = f"#{code:06x}" if by_colour else str(code)
        if code not in named:
            raise source.refuse(f"the value {value}, which has no name", f"one of {', '.join(sorted(classes))}")
        mark = meaning(named[code])
        if mark is None:
            intake.landmark(named[code])
        else:
            masks[mark] |= codes == code
    return masks["look"], masks["avoid"]
