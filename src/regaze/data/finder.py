"""Finds the picture that a cell of a table names, also where tools spell its name otherwise.

What counts as the same name: an address (`file://`, `%20` for a blank), other case where nothing fits exactly, either
slash, a letter written in Unicode's other way, no suffix, a picture's suffix in
another case or of another format. A bare name, and one whose folders all fit, is found anywhere below the folder of the
pictures; folders are left out of account only where they cannot be meant here (an absolute path of another machine), or
where the user says where the pictures lie. Several pictures that fit are an error, not a guess.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from regaze.data.images import IMAGE_SUFFIXES, is_picture
from regaze.data.tree import mask_folders
from regaze.errors import DataError
from regaze.path_names import Endings, path_parts


class Finder:
    """Pictures by the names that a table gives them.

    Attributes:
        base: What names are relative to.
    """

    def __init__(self, base: Path, anywhere: bool) -> None:
        """Of `base` the folders' names need not fit where `anywhere` is True."""
        self.base = base
        self._anywhere = anywhere
        self._folders: dict[Path, Endings] = {}

    def find(self, text: str, deep: bool = True) -> Path | None:
        """The file that a name means; None where there is none.

        Args:
            text: As the table writes it: relative to `base`, or absolute.
            deep: Also look for it in other folders below `base` than the name says.

        Raises:
            DataError: Several pictures fit.
        """
        for spelling in dict.fromkeys((text, text.replace("\\", "/"))):
            if is_file(self.base / spelling):
                return self.base / spelling
        # As an address, `%20` is a blank; the machine that it names is another one.
        address = re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]+://[^/]*(/.*)", text)
        plain = (address[1] if address else text).replace("\\", "/")
        if address or "%" in plain:
            return self._search(unquote(plain), deep) or (None if address else self._search(plain, deep))
        return self._search(plain, deep)

    def _search(self, plain: str, deep: bool) -> Path | None:
        if is_file(self.base / plain):
            return self.base / plain
        folder = (self.base / plain).parent
        if folder not in self._folders:
            self._folders[folder] = _endings(_pictures_in(folder), lambda path: path.name)
        name = path_parts(plain)[-1] if path_parts(plain) else ""
        found = self._folders[folder].whole(name) or self._folders[folder].in_any_case(name)
        if not found and deep:
            elsewhere = self._anywhere or re.match(r"[a-zA-Z]:|/", plain) is not None
            found = (self._below.longest if elsewhere else self._below.whole)(plain) or self._below.in_any_case(plain)
        files = sorted(file for file in found if _one_name(name, Path(file)))
        if len(files) > 1:
            raise DataError(f"{plain} fits {files[0]} and {files[1]}: write the name with its folder and suffix.")
        return Path(files[0]) if files else None

    @cached_property
    def _below(self) -> Endings:
        """All pictures below the folder; walked through once, and only where a name asks for it."""
        files: list[Path] = []
        for folder, names, _ in os.walk(self.base):
            of_masks = mask_folders(names)
            names[:] = [name for name in names if not name.startswith(".") and name not in of_masks]
            files += _pictures_in(Path(folder))
        return _endings(files, lambda path: path.relative_to(self.base).as_posix())


def is_file(path: Path) -> bool:
    """Whether a file is there; False too for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, a folder that may not be read, a zero byte
        return False


def _pictures_in(folder: Path) -> list[Path]:
    try:
        return [
            Path(entry.path)
            for entry in os.scandir(folder)
            if not entry.name.startswith(".") and is_picture(Path(entry.path))
        ]
    except (OSError, ValueError):
        return []


def _endings(files: Iterable[Path], spelled: Callable[[Path], str]) -> Endings:
    endings = Endings()
    for file in files:
        endings.add(spelled(file), str(file))
    return endings


def _one_name(name: str, file: Path) -> bool:
    """Whether a name is the file's, with a picture's suffix or none: `a.01` is not a.png."""
    stem, _, suffix = name.rpartition(".")
    whole = path_parts(file.name)[0].casefold()
    return name.casefold() in (whole, whole.rpartition(".")[0]) or (
        f".{suffix.lower()}" in IMAGE_SUFFIXES and bool(stem)
    )
