"""Files and folders that formats read and write: no link is followed, nothing overwritten, nothing left half done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regaze.corrections.formats.source import Source
from regaze.errors import CorrectionError
from regaze.files import replacing_folder


def by_name(path: Path, files: Iterable[Path], *, suffix: str, may_be_empty: bool) -> dict[str, Path]:
    """The files of a foreign folder by their names relative to it.

    Args:
        path: The folder.
        files: Those of its files that count.
        suffix: Theirs, for the errors.
        may_be_empty: Accept a folder without such files.

    Raises:
        CorrectionError: There is no folder or no file, or a file is a link, which could lead anywhere.
    """
    if not path.is_dir():
        raise Source(path).refuse("no folder", f"a folder of {suffix} files")
    names = {file.relative_to(path).as_posix(): file for file in files}
    if not names and not may_be_empty:
        raise Source(path).refuse(f"no {suffix} file", "one for each photograph")
    for file in names.values():
        if file.is_symlink():
            raise Source(file).refuse("a link", "the file itself")
    return names


def check_free(path: Path, *, or_empty_folder: bool = False) -> None:
    """Refuse to write over what is there.

    Args:
        path: Where something is to be written.
        or_empty_folder: Accept an empty folder.

    Raises:
        CorrectionError: There is something else.
    """
    is_empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if (path.exists() or path.is_symlink()) and not (or_empty_folder and is_empty):
        raise CorrectionError(f"{path} is there already: export under another name, or remove it")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside `path`; it becomes `path` when the block ends well, and goes otherwise.

    Raises:
        CorrectionError: There is something at `path`.
    """
    check_free(path, or_empty_folder=True)
    with replacing_folder(path) as temporary:
        yield temporary


def member(folder: Path, sample: str, suffix: str) -> Path:
    """The file named like a sample in a folder.

    Args:
        folder: The folder.
        sample: `Sample.id`.
        suffix: Of the file, with its dot.

    Raises:
        CorrectionError: The id is no safe relative path.
    """
    parts = sample.split("/")
    if any(
        not part or part.startswith(".") or not part.isprintable() or set(part) & set('\\:*?"<>|') for part in parts
    ):
        raise CorrectionError(f"the id {sample!r} cannot name a file in {folder.name}: export to another format")
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)
