"""Reading a foreign file, and where in it something stands, so that a mistake is refused with its line or path."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from pathlib import Path

from regaze.errors import CorrectionError

MAX_BYTES = 512 * 2**20
"""The largest file that is read: the brush strokes of a few thousand photographs in Label Studio's JSON."""

# Does not spell out millions of numbers, nor follow lists that lie too deep in each other.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


@dataclass(frozen=True)
class Source:
    """A spot in a file.

    Attributes:
        file: The file that the user named, or one in the folder they named.
        at: A line from 1, or the path of a value in JSON (`$.images[0]`); 0: the file as a whole.
    """

    file: Path
    at: int | str = 0

    def __str__(self) -> str:
        if not self.at:
            return str(self.file)
        return f"{self.file}, {self.at if isinstance(self.at, str) else f'line {self.at}'}"

    def inner(self, step: str) -> Source:
        """The spot of a value within a JSON value; `step` is `.key` or `[0]`, or several of them."""
        return Source(self.file, f"{self.at}{step}")

    def refuse(self, wrong: str, expected: str) -> CorrectionError:
        """The error to raise for a mistake here; its message is one line.

        Args:
            wrong: What stands here.
            expected: What should.
        """
        return CorrectionError(f"{self}: {wrong}, expected {expected}: correct it and import again, nothing was taken")


def shown(value: object) -> str:
    """A value as it fits into one line of a message: its repr, cut at 60 characters."""
    text = _REPR.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def number(text: str, name: str, source: Source) -> float:
    """Read a finite number.

    Args:
        text: Decimal, with or without exponent.
        name: Names it in the error.
        source: Where it was read.

    Raises:
        CorrectionError: It is something else.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise source.refuse(f"{name} is {shown(text)}", "a finite number")
    return value


def read_bytes(path: Path) -> bytes:
    """Read a file of a size that fits into memory.

    Raises:
        CorrectionError: It cannot be read, is empty, too large, or a zip archive.
    """
    source = Source(path)
    try:
        if not path.is_file():
            raise source.refuse("no file", "a file there")
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise source.refuse(f"{size} bytes", f"1 to {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise CorrectionError(f"{path} cannot be read ({error}): check its permissions") from error
    if data.startswith(b"PK\x03\x04"):
        raise source.refuse("a zip archive", "the file in it: unpack it")
    return data


def decode_text(data: bytes, path: Path) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Args:
        data: The file's bytes.
        path: Named in the error.

    Raises:
        CorrectionError: It is not UTF-8; names the line of the first wrong byte.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A byte order mark is not counted in `start`, but holds no line end either.
        line = data.count(b"\n", 0, error.start) + 1
        raise Source(path, line).refuse(f"the byte 0x{error.object[error.start]:02x}", "text in UTF-8") from error
