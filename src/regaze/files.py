"""Writing files so that a reader never sees half of one: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from regaze.errors import StudyError

_SECOND = 10**9  # nanoseconds
_TICK = _SECOND // 10  # ample for a clock of nanoseconds, which a kernel moves on every 1 to 10 ms
_COARSE_TICK = 2 * _SECOND  # of a file system that keeps whole seconds

# The mask can be read only by setting it, which is not safe beside other threads: once, at import.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`; move it there when the block ends well, remove it otherwise.

    Raises:
        OSError: It cannot be written; also for safetensors, whose own error is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync_file(temporary)
        # mkstemp makes files private to their owner; results are as readable as the user's other files.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        _sync_folder(path.parent)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(f"{path.name} cannot be written ({error})") from error
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside `path`; move it there when the block ends well, remove it otherwise.

    Raises:
        OSError: It cannot be written, or `path` is there and no empty folder.
    """
    parent = path.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=parent))
    try:
        temporary.chmod(0o777 & ~_UMASK)
        yield temporary
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                _sync_file(Path(folder, name))
            _sync_folder(Path(folder))
        if path.is_dir():
            path.rmdir()
        temporary.replace(path)
        _sync_folder(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_file(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Put a rename on the disk. Not every file system can; the file is whole all the same."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a lock among processes; the system releases it however the process ends.

    Args:
        path: The lock's file; it stays (removing it would let two in).
        wait: Wait for another process that holds it.

    Yields:
        False where another process holds it (never with `wait`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def alone(path: Path, busy: str) -> Iterator[None]:
    """Keep other processes out of the block.

    Args:
        path: The lock's file, see `held`.
        busy: The message where another process is inside.

    Raises:
        StudyError: Another process is inside.
    """
    with held(path) as is_mine:
        if not is_mine:
            raise StudyError(busy)
        yield


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")  # the same bytes everywhere


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN is refused (it is no JSON).

    Bytes of a file's name that are no UTF-8 become JSON's own escapes, which `read_json` turns back.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def read_json(path: Path) -> Any:
    """Read a JSON file that this program wrote.

    Raises:
        ValueError: It is no JSON, or holds what `write_json` never writes: NaN, infinite or giant numbers, a nesting
            that Python cannot follow.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_no_number, parse_float=_finite, parse_int=_integer
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """`write_json`, with a hash of all values, for results that are kept and that nobody edits."""
    write_json(path, {**values, "seal": digest(json.loads(json.dumps(values)))})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote; a file without a seal, being older, is taken as it is.

    Raises:
        ValueError: See `read_json`; or a value is not the one that was written.
        TypeError: It holds no object.
    """
    values: dict[str, Any] = typed(dict[str, Any], read_json(path))
    if "seal" in values and values.pop("seal") != digest(values):
        raise ValueError("its values are not those that were written")
    return values


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _integer(text: str) -> int:
    if len(text) > 19:  # more than 64 bits
        raise ValueError(f"the integer {text[:19]}... has {len(text)} digits")
    return int(text)


def typed(kind: Any, value: Any) -> Any:
    """What JSON holds as a value of a type: dataclasses, sequences and mappings of them, paths.

    Raises:
        TypeError: It is something else; the message names where.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from error


def _path(kind: Any, value: Any) -> Path:
    if kind is not Path or not isinstance(value, str):
        raise TypeError(f"expected a path, got {type(value).__name__}")
    return Path(value)


def json_number(value: float | None) -> float | None:
    """A number as JSON holds it; None where it is none (NaN, infinite)."""
    return float(value) if value is not None and math.isfinite(value) else None


def identity(options: Any) -> dict[str, Any]:
    """What an options dataclass adds to a key: its values, but for those that mean what was done before they existed.

    A field that a later version adds names that value as `metadata={"before": ...}`, so that keys of what earlier
    versions made stay what they are.
    """
    unchanged = {item.name: item.metadata["before"] for item in fields(options) if "before" in item.metadata}
    return {key: value for key, value in asdict(options).items() if key not in unchanged or value != unchanged[key]}


def restored(kind: Any, values: Mapping[str, Any]) -> Any:
    """An options dataclass from stored values; a field that they lack, being older, means what was done then.

    Raises:
        TypeError: The values are not those of such a dataclass.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} cannot be made from {values!r}")
    before = {item.name: item.metadata["before"] for item in fields(kind) if "before" in item.metadata}
    unknown = values.keys() - {item.name for item in fields(kind)}
    if unknown:
        raise TypeError(f"{kind.__name__} has no option {min(map(str, unknown))!r}")
    return typed(kind, before | dict(values))


def state(file: Path) -> tuple[int, ...]:
    """Inode, size, and the times of writing and of change in nanoseconds; -1 where there is no file.

    A program may set the time of writing back (`cp -p`, `rsync -t`), not the time of change.
    """
    try:
        found = file.stat()
    except OSError:
        return (-1,)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def at_rest(files: Iterable[Path]) -> bool:
    """Whether none of the files was changed so lately that one more change might not show in its `state`."""
    changed = [at for file in files for at in state(file)[3:]]
    now = time.time_ns()
    return all(now - at > (_TICK if at % _SECOND else _COARSE_TICK) for at in changed)


def digest(value: Any) -> str:
    """Short content hash of a JSON-like value, the same for the same value on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
