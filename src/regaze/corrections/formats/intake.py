"""How a foreign file is to be taken, and what of it was left out: counted, with the first of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.source import Source, shown

DrawnOn = Literal["upright", "stored"]


@dataclass
class Intake:
    """One reading of one file or folder.

    Attributes:
        skip_unknown: Pass over pictures that the study has not, instead of refusing the file.
        drawn_on: What marks were drawn on where EXIF turns a photograph: `upright`, the picture as tools show it, or
            `stored`; None: what size and tool tell.
        any_value: PNG masks: every value but 0 means "look here".
        classes: PNG masks: a value (`3`) or colour (`#ff0000`) -> the name of its class; None: as the folder says.
        shapes_left_out: How many shapes were left out that are no landmark's.
    """

    skip_unknown: bool = False
    drawn_on: DrawnOn | None = None
    any_value: bool = False
    classes: Mapping[str, str] | None = None
    shapes_left_out: int = 0
    _seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    _of: set[tuple[str, str]] = field(default_factory=set)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each kind of thing that was left out or taken in a way that a person should know of."""
        return tuple(f"{what}: {count} (first: {first})" for what, (count, first) in self._seen.items())

    def find(self, album: Album, name: str, source: Source) -> Photograph | None:
        """`Album.find`; None for a picture that is to be passed over.

        Raises:
            CorrectionError: None fits and strangers are not to be passed over, or several fit.
        """
        if not self.skip_unknown:
            return album.find(name, source)
        photograph = album.match(name, source)
        if photograph is None:
            self.count("Pictures that the study has not, passed over", f"{shown(name)}, {source}")
        return photograph

    def leave_out(self, what: str, source: Source) -> None:
        """Count a shape that marks no area, or none that is known."""
        self.shapes_left_out += 1
        self.count("Shapes that mark no area, left out", f"{what}, {source}")

    def landmark(self, label: str) -> None:
        """Count a landmark's mark."""
        self.count("Marks of landmarks and what else is not looked for, left out", shown(label))

    def count(self, what: str, first: str, of: str | None = None) -> None:
        """Count one more.

        Args:
            what: In the plural, with what became of them.
            first: Told of the first.
            of: What is counted once, however often it comes; None: each time.
        """
        if of is not None and (what, of) in self._of:
            return
        self._of.add((what, of or ""))
        count, known = self._seen.get(what, (0, first))
        self._seen[what] = (count + 1, known)
