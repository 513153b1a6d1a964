"""One SQLite file: connections, transactions, and SQLite's errors in words that a user can act on.

Invariant: every read sees one snapshot, every write is one transaction under the write lock, and what was committed is
on the disk (write-ahead log, `synchronous=FULL`), whenever the process is killed. The log needs all processes on one
machine, so a study folder belongs on a local disk, not on NFS.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from regaze.errors import CorrectionError

BUSY_SECONDS = 30.0  # how long a write waits for another process to finish its own

# Primary result codes of SQLite (https://www.sqlite.org/rescode.html) -> what they mean, and the cure.
_CURES = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: restore it from a copy, or move it away to start anew",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a copy, or save the rest by `sqlite3 FILE .recover`",
    sqlite3.SQLITE_BUSY: f"was locked by another process for {BUSY_SECONDS:.0f} s: let it finish, try again",
    sqlite3.SQLITE_READONLY: "cannot be written: ask for write permission on the file and its folder",
    sqlite3.SQLITE_FULL: "cannot grow because the disk is full: free some space, then try again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that it is a file that you may read",
    sqlite3.SQLITE_IOERR: "met a disk error: free some space, check the disk, else restore the file from a copy",
}


class Database:
    """An open SQLite file.

    Use one per process: a connection must not be carried across a fork. Threads may share it.

    Attributes:
        path: The file.
        read_only: True where the permissions of the file and its folder allow no writing.
    """

    def __init__(self, path: Path):
        """Open the file, or create an empty one.

        Raises:
            CorrectionError: The folder is missing, or the file is missing and may not be created, or is no SQLite
                database.
        """
        self.path = path
        if not path.parent.is_dir():
            raise CorrectionError(f"no folder {path.parent} for {path.name}: create the study first")
        self.read_only = not _writable(path)
        if self.read_only and not path.is_file():
            raise CorrectionError(f"no file {path}, and it cannot be created here: open a study that has one")
        # Not the pool of an in-memory database, which closes a sixth thread's connection while it is in use.
        self._engine: Engine | None = create_engine("sqlite+pysqlite://", creator=self._connect, poolclass=QueuePool)
        if not self.read_only:
            try:
                self._use_write_ahead_log()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close every connection; a second call does nothing."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back if the block raises.

        Args:
            write: Take the write lock at once (waiting up to `BUSY_SECONDS`), so that no later statement can
                fail because another process wrote in between.

        Raises:
            CorrectionError: The database is closed or read-only, or SQLite refuses.
        """
        if self._engine is None:
            raise CorrectionError(f"{self.path} is closed: open the store again")
        if write and self.read_only:
            raise CorrectionError(f"{self.path} is open for reading only: open it where it can be written")
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
                yield connection
        except DBAPIError as error:
            raise CorrectionError(self._explain(error)) from error

    def _connect(self) -> sqlite3.Connection:
        """Open one connection that leaves BEGIN to `transaction` (isolation_level None)."""
        uri = self.path.resolve().as_uri() + ("?mode=ro" if self.read_only else "?mode=rwc")
        if self.read_only and not os.access(self.path.parent, os.W_OK) and not self._has_log():
            # Reading a write-ahead database needs an index file beside it, which this folder does not allow.
            # Without a log nobody is writing, so the file may be read as it stands.
            uri += "&immutable=1"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _has_log(self) -> bool:
        log = self.path.with_name(self.path.name + "-wal")
        return log.exists() and log.stat().st_size > 0

    def _use_write_ahead_log(self) -> None:
        """Switch the file to the write-ahead log, which lets readers read while one process writes.

        Where the file system cannot do it, SQLite keeps its rollback journal: as safe, with more waiting.

        Raises:
            CorrectionError: SQLite refuses.
        """
        assert self._engine is not None
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except DBAPIError as error:
                # Two processes that switch a new file at once: SQLite tells one "busy" without waiting.
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise CorrectionError(self._explain(error)) from error
                time.sleep(0.02)

    def _explain(self, error: DBAPIError) -> str:
        cure = _CURES.get(_code(error))
        if cure is None and isinstance(error, OperationalError):  # a text that is no UTF-8, a table made in another way
            cure = "is damaged: restore it from a copy"
        return f"{self.path} {cure} ({error.orig})" if cure else f"{self.path}: {error.orig}"


def _code(error: DBAPIError) -> int:
    """SQLite's primary result code (the low byte of the extended one); -1 where Python gives none."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def _writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
