"""The numbered steps that bring a database to the layout this version of regaze knows.

Invariant: a step that was ever released is never edited; a new layout is a new step at the end. Each step runs in one
transaction together with its own row in `migrations`, so that a database is always at the end of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from regaze import __version__
from regaze.corrections.database import Database
from regaze.errors import CorrectionError
from regaze.records import timestamp

# Marks the file as ours in the SQLite header ("rgzc"), so that a stranger's database is refused.
APPLICATION_ID = 0x72677A63


@dataclass(frozen=True)
class Migration:
    """One step.

    Attributes:
        number: 1, 2, 3, ... without gaps.
        name: What it does, in a few words; stored beside the number and compared on opening.
        statements: SQL, run in this order.
    """

    number: int
    name: str
    statements: tuple[str, ...]


def _append_only(table: str) -> tuple[str, ...]:
    """Triggers that refuse to change, delete or replace a row of `table`."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: add a new row instead'); END"
    return (
        f"CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} {refuse}",
        # INSERT OR REPLACE deletes without firing the trigger above.
        f"CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table} "  # noqa: S608 - our own table names
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) {refuse}",
    )


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "corrections and selections",
        (
            f"PRAGMA application_id = {APPLICATION_ID}",
            """CREATE TABLE migrations (
                number INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                time TEXT NOT NULL,
                version TEXT NOT NULL
            )""",
            # AUTOINCREMENT: an id is never used twice. The blobs come last, so that listing the other columns
            # does not read the pages that hold them.
            """CREATE TABLE corrections (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                sample TEXT NOT NULL,
                model TEXT NOT NULL,
                origin TEXT NOT NULL,
                mode TEXT NOT NULL,
                author TEXT NOT NULL,
                time TEXT NOT NULL,
                remark TEXT NOT NULL,
                hash TEXT NOT NULL,
                height INTEGER NOT NULL,
                width INTEGER NOT NULL,
                look BLOB NOT NULL,
                avoid BLOB
            )""",
            """CREATE TABLE selections (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                model TEXT NOT NULL,
                rule TEXT NOT NULL,
                share REAL NOT NULL,
                seed INTEGER NOT NULL,
                author TEXT NOT NULL,
                time TEXT NOT NULL,
                hash TEXT NOT NULL,
                samples TEXT NOT NULL,
                reasons TEXT NOT NULL
            )""",
            *_append_only("corrections"),
            *_append_only("selections"),
        ),
    ),
    Migration(
        2,
        "maps and shapes of corrections",
        (
            # Which map was corrected, and how the masks were drawn (JSON); empty in the rows of step 1, whose
            # hashes stay what they are.
            "ALTER TABLE corrections ADD COLUMN map TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE corrections ADD COLUMN shapes TEXT NOT NULL DEFAULT ''",
        ),
    ),
    Migration(
        3,
        "chain over all rows",
        (
            """CREATE TABLE links (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                kind TEXT NOT NULL,
                row INTEGER NOT NULL,
                hash TEXT NOT NULL
            )""",
            *_append_only("links"),
        ),
    ),
)


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the steps that a database lacks, each in its own transaction.

    Args:
        database: An open file; an empty one becomes ours.
        migrations: All known steps, in order; handed in by the tests only.

    Raises:
        CorrectionError: The file belongs to another program or a newer regaze, or lacks steps and cannot be written.
    """
    with database.transaction() as connection:
        done = _applied(connection, database, migrations)
    missing = migrations[done:]
    if missing and database.read_only:
        raise CorrectionError(
            f"{database.path} is at step {done} of {len(migrations)} and cannot be written here: "
            "open it once in a place where it can be written, so that its layout is brought up to date"
        )
    for migration in missing:
        with database.transaction(write=True) as connection:
            # Asked again under the write lock: another process may have opened the file at the same moment.
            if _applied(connection, database, migrations) >= migration.number:
                continue
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(
                "INSERT INTO migrations (number, name, time, version) VALUES (?, ?, ?, ?)",
                (migration.number, migration.name, timestamp(), __version__),
            )


def _applied(connection: Connection, database: Database, migrations: Sequence[Migration]) -> int:
    """How many steps were applied; 0 for an empty database.

    Raises:
        CorrectionError: The file belongs to another program or to a newer or different regaze.
    """
    if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != APPLICATION_ID:
        if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
            raise CorrectionError(
                f"{database.path} is an SQLite database of another program, expected one that regaze made: "
                "name a file inside a study folder"
            )
        return 0
    rows = connection.exec_driver_sql("SELECT number, name, version FROM migrations ORDER BY number").all()
    if len(rows) > len(migrations):
        raise CorrectionError(
            f"{database.path} was written by regaze {rows[-1].version} (step {rows[-1].number}), "
            f"this is {__version__} (step {len(migrations)}): install regaze {rows[-1].version} or newer"
        )
    for row, known in zip(rows, migrations, strict=False):
        if (row.number, row.name) != (known.number, known.name):
            raise CorrectionError(
                f"{database.path} has step {row.number} {row.name!r} of regaze {row.version}, this regaze "
                f"{__version__} expects {known.number} {known.name!r}: open it with regaze {row.version}"
            )
    return len(rows)
