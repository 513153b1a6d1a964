"""Rows of numbers, one for each photograph, in a file: a command that was ended need not read again what it has read.

Invariant: a row belongs to a file that has not been written since it was read (`files.state`); a half-written row is
none.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regaze.files import at_rest, digest, held, state

_KEY = "S16"  # of `files.digest`
_UNKEPT = b""


class Rows:
    """Rows in the order in which they are added.

    Attributes:
        keys: Of the rows; empty where a file was changed so lately that one more change might not show.
    """

    def __init__(self, kind: DTypeLike, stream: IO[bytes]) -> None:
        self._kind = np.dtype([("key", _KEY), ("row", kind)])
        self._stream = stream
        self._places: list[int] = []
        self.keys: list[bytes] = []
        self._lock = threading.Lock()
        written = stream.seek(0, os.SEEK_END) // self._kind.itemsize
        stream.truncate(written * self._kind.itemsize)
        self._written = written
        self._known: dict[bytes, int] = {}
        for start in range(0, written, 256):
            for place, key in enumerate(self._read(start, min(256, written - start))["key"], start):
                self._known[bytes(key)] = place

    def read(self, path: Path, work: Callable[[Path], NDArray[Any]]) -> tuple[bytes, NDArray[Any]]:
        """A photograph's row for `add`, by `work` where no earlier call has read it; may be called by threads."""
        key = digest([str(path), *state(path)]).encode() if at_rest([path]) else _UNKEPT
        place = self._known.get(key) if key else None
        return key, work(path) if place is None else self._read(place, 1)["row"][0]

    def add(self, key: bytes, row: NDArray[Any]) -> None:
        """Take the next photograph's row."""
        place = self._known.get(key) if key else None
        if place is None:
            with self._lock:
                self._stream.seek(0, os.SEEK_END)
                self._stream.write(np.array((key, row), self._kind).tobytes())
                self._stream.flush()
            place, self._written = self._written, self._written + 1
        self._places.append(place)
        self.keys.append(key)

    def __len__(self) -> int:
        """How many were added."""
        return len(self._places)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """One row."""
        row: NDArray[Any] = self._read(self._places[index], 1)["row"][0]
        return row

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Rows (stop - start,)."""
        places = self._places[start:stop]
        if places == list(range(places[0], places[0] + len(places))):
            return self._read(places[0], len(places))["row"]
        return np.stack([self._read(place, 1)["row"][0] for place in places])

    def _read(self, place: int, count: int) -> NDArray[Any]:
        size = self._kind.itemsize
        with self._lock:
            self._stream.seek(place * size)
            return np.frombuffer(self._stream.read(count * size), self._kind)


def writable(folder: Path) -> Path | None:
    """The folder, made where it is not there; None where nothing can be written into it."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


@contextmanager
def kept_rows(kind: DTypeLike, file: Path | None) -> Iterator[Rows]:
    """Rows whose file is removed when the block ends well, and is found by the next call where it was ended.

    Args:
        kind: What a row holds.
        file: Where; None, or another process writes there: a temporary file.
    """
    if file is None:
        with tempfile.TemporaryFile() as stream:
            yield Rows(kind, stream)
        return
    with held(file.with_name(f"{file.name}.lock")) as is_mine:
        if not is_mine:
            with kept_rows(kind, None) as rows:
                yield rows
            return
        with file.open("a+b") as stream:
            yield Rows(kind, stream)
        file.unlink()
