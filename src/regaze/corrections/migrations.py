"""The numbered steps that bring a database to the layout this version of regaze knows, and the check that it has it.

Invariant: a step that was ever released is never edited; a new layout is a new step at the end. Each step runs in one
transaction together with its own row in `migrations`, so that a database is always at the end of a step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection

from regaze import __version__
from regaze.corrections.database import Database
from regaze.errors import CorrectionError
from regaze.records import timestamp

# Marks the file as ours in the SQLite header ("rgzc"), so that a stranger's database is refused.
APPLICATION_ID = 0x72677A63

_CURE = "restore it from a copy"
# Tables and their columns; a column with its type, NOT NULL and place in the key.
_LAYOUT = """
    SELECT type || ' ' || name, type FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
    UNION ALL
    SELECT 'column ' || item.name || '.' || part.name,
        part.type || CASE part."notnull" WHEN 1 THEN ' NOT NULL' ELSE '' END
        || CASE part.pk WHEN 0 THEN '' ELSE ' PRIMARY KEY' END
    FROM sqlite_master AS item JOIN pragma_table_info(item.name) AS part WHERE item.type = 'table'
"""


@dataclass(frozen=True)
class Migration:
    """One step.

    Attributes:
        number: 1, 2, 3, ... without gaps.
        name: What it does, in a few words; stored beside the number and compared on opening.
        statements: SQL, run in this order; none where only the meaning of what is stored grows.
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
    # No table or column: the JSON of shapes says `mark`, which may be `erase`, where it said `look`. An earlier regaze
    # would take such rows for damaged; so it says which version to install.
    Migration(4, "shapes that erase", ()),
)


def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the steps that a database lacks, each in its own transaction, to a file whose layout is that of a step.

    Args:
        database: An open file; an empty one becomes ours.
        migrations: All known steps, in order; handed in by the tests only.

    Raises:
        CorrectionError: The file belongs to another program or a newer regaze, lacks a table or column of the steps
            that it says it has, or lacks steps and cannot be written.
    """
    with database.transaction() as connection:
        done = _applied(connection, database, migrations)
        _check_layout(connection, database, migrations[:done])
    missing = migrations[done:]
    if database.read_only and not any(migration.statements for migration in missing):
        return  # it is laid out as today
    if database.read_only:
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
    _check_layout(connection, database, migrations[:1], only="migrations")
    rows = connection.exec_driver_sql("SELECT number, name, version FROM migrations ORDER BY number").all()
    if not rows:  # the mark that the file is ours is made together with the first row
        raise CorrectionError(f"{database.path} is damaged (no row in its table migrations): {_CURE}")
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


def _check_layout(
    connection: Connection, database: Database, migrations: Sequence[Migration], only: str | None = None
) -> None:
    """Make sure that a database has the tables and columns that its steps made; others do no harm.

    Triggers are not asked for: what was done without them, the chain shows, row by row.

    Args:
        connection: Inside a transaction.
        database: For the message.
        migrations: The steps that it has behind it.
        only: The one table to look at; None: all.

    Raises:
        CorrectionError: One is missing, or a column is of another type.
    """
    with closing(sqlite3.connect(":memory:")) as model:
        for migration in migrations:
            for statement in migration.statements:
                model.execute(statement)
        expected = _layout(model.execute(_LAYOUT))
    found = _layout(connection.exec_driver_sql(_LAYOUT).all())
    for thing, kind in expected.items():
        if only is None or thing.startswith((f"table {only}", f"column {only}.")):
            _check_thing(database, thing, kind, found.get(thing))


def _check_thing(database: Database, thing: str, kind: str, found: str | None) -> None:
    if found is None:
        raise CorrectionError(f"{database.path} is damaged (the {thing} is missing): {_CURE}")
    if found != kind:
        raise CorrectionError(f"{database.path} is damaged (the {thing} is {found}, expected {kind}): {_CURE}")


def _layout(rows: Iterable[Sequence[str]]) -> dict[str, str]:
    """Thing -> its kind, of what `_LAYOUT` gives."""
    return {str(row[0]): str(row[1]) for row in rows}
