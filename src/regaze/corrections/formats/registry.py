"""The formats that corrections can be read from and written to: one entry each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from regaze.corrections.formats.coco import read_coco, write_coco
from regaze.corrections.formats.cvat import read_cvat, write_cvat
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.label_studio import read_label_studio, write_label_studio
from regaze.corrections.formats.photographs import Album
from regaze.corrections.formats.png import read_png, write_png
from regaze.corrections.formats.yolo import read_yolo, write_yolo
from regaze.records import Correction


@dataclass(frozen=True)
class Format:
    """How to read and write a format.

    Attributes:
        reader: (path, album, intake) -> what was drawn; raises CorrectionError where the file cannot be trusted.
        write: (items, album, path); a whole file or folder, or none.
        several: Holds more than one correction of a photograph.
        loses: What is not there any more after writing and reading.
        names_pictures: Names each picture inside the file, where something may stand before its name.
    """

    reader: Callable[[Path, Album, Intake], list[Drawn]]
    write: Callable[[Iterable[Drawn | Correction], Album, Path], None]
    several: bool
    loses: str
    names_pictures: bool

    def read(self, path: Path, album: Album, intake: Intake | None = None) -> list[Drawn]:
        """Read; without an intake a file is taken by the default rules, and what is left out is not told."""
        return self.reader(path, album, intake or Intake())


_STROKES = "strokes become masks, and so does all that was drawn before something was erased"

FORMATS: dict[str, Format] = {
    "png": Format(read_png, write_png, False, "strokes, polygons and boxes become masks", False),
    "coco": Format(read_coco, write_coco, False, _STROKES, True),
    "yolo": Format(
        read_yolo,
        write_yolo,
        False,
        "author, remark, time, mode; what is no box, or erased in part, gets bounding boxes",
        False,
    ),
    "label-studio": Format(read_label_studio, write_label_studio, True, _STROKES, True),
    "cvat": Format(read_cvat, write_cvat, False, f"{_STROKES}; control characters in texts", True),
}
