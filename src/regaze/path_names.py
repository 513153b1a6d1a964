"""How names of files are compared with files: one notion for tables of photographs and for annotation files.

Invariant: names are compared as texts; nothing in here touches the disk. Either slash separates the parts of a path, a
letter that Unicode can write in two ways (macOS writes the other one) is one letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def path_parts(name: str) -> list[str]:
    """The parts of a path in either spelling; one form for letters that Unicode can write in two ways."""
    plain = unicodedata.normalize("NFC", name).replace("\\", "/")
    return [part for part in plain.split("/") if part not in ("", ".")]


def without_suffix(parts: Sequence[str]) -> list[str]:
    """The parts of a path, the last one without what follows its last dot."""
    if not parts:
        return []
    stem, dot, _ = parts[-1].rpartition(".")
    return [*parts[:-1], stem] if stem and dot else list(parts)


class Endings:
    """Things by the ends of their paths: `c.png`, `b/c.png` and `a/b/c.png`, each with and without its suffix."""

    def __init__(self) -> None:
        self._things: dict[str, set[str]] = {}
        self._folded: dict[str, set[str]] | None = None  # of `_things`, once asked for
        self._deepest = 0  # parts of a path

    def add(self, path: str, thing: str, suffix: bool = True) -> None:
        """Let a path's ends find a thing; where `suffix` is False what follows the last dot is part of the name."""
        parts = path_parts(path)
        self._deepest = max(self._deepest, len(parts))
        for spelling in (parts, without_suffix(parts)) if suffix else (parts,):
            for start in range(len(spelling)):
                self._things.setdefault("/".join(spelling[start:]), set()).add(thing)

    def whole(self, name: str) -> set[str]:
        """The things whose path ends with all parts of a name, else those whose path without suffix does."""
        parts = path_parts(name)
        for ending in (parts, without_suffix(parts)):
            if things := self._things.get("/".join(ending)):
                return things
        return set()

    def in_any_case(self, name: str) -> set[str]:
        """As `whole`, whether letters are upper or lower case."""
        if self._folded is None:
            self._folded = {}
            for ending, things in self._things.items():
                self._folded.setdefault(ending.casefold(), set()).update(things)
        parts = path_parts(name.casefold())
        for wanted in (parts, without_suffix(parts)):
            if found := self._folded.get("/".join(wanted)):
                return found
        return set()

    def longest(self, name: str) -> set[str]:
        """The things whose path ends with the most parts of a name; empty where not even the last part fits."""
        parts = path_parts(name)
        # Of a name with more parts than any path no longer end can fit.
        found = (self.whole("/".join(parts[start:])) for start in range(max(0, len(parts) - self._deepest), len(parts)))
        return next((things for things in found if things), set())
