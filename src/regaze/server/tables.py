"""The page's tables: what changes while experts work, beside the append-only rows and outside their chain.

They are in the store's file, so that a finished case and its correction are one transaction, but no step of its
migrations: no command but `serve` needs them, an earlier regaze opens a study that was served, and an archive that
cannot be written opens without them.
"""

from __future__ import annotations

from regaze.corrections.store import Store
from regaze.errors import StudyError

# Raise it when the tables change, and bring older ones up to date in `lay`.
VERSION = 1

_TABLES: tuple[str, ...] = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE photographs (id INTEGER PRIMARY KEY, sample TEXT NOT NULL UNIQUE, record TEXT NOT NULL)",
    """CREATE TABLE queues (
        id INTEGER PRIMARY KEY,
        model TEXT NOT NULL UNIQUE,
        basis TEXT NOT NULL,
        waiting INTEGER NOT NULL,
        corrected INTEGER NOT NULL,
        accepted INTEGER NOT NULL,
        skipped INTEGER NOT NULL,
        flagged INTEGER NOT NULL
    )""",
    """CREATE TABLE cases (
        queue INTEGER NOT NULL,
        photograph INTEGER NOT NULL,
        place INTEGER NOT NULL,
        model TEXT NOT NULL,
        why TEXT NOT NULL,
        state TEXT NOT NULL,
        flagged INTEGER NOT NULL,
        reason TEXT NOT NULL,
        grade INTEGER,
        remark TEXT NOT NULL,
        author TEXT NOT NULL,
        time TEXT NOT NULL,
        PRIMARY KEY (queue, photograph)
    )""",
    "CREATE UNIQUE INDEX cases_by_place ON cases (queue, place)",
    "CREATE INDEX cases_by_state ON cases (queue, state, place)",
    """CREATE TABLE leases (
        photograph INTEGER PRIMARY KEY,
        window TEXT NOT NULL,
        author TEXT NOT NULL,
        until REAL NOT NULL
    )""",
    """CREATE TABLE drafts (
        queue INTEGER NOT NULL,
        photograph INTEGER NOT NULL,
        version INTEGER NOT NULL,
        window TEXT NOT NULL,
        author TEXT NOT NULL,
        time TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (queue, photograph)
    )""",
    """CREATE TABLE finishes (
        key TEXT PRIMARY KEY,
        photograph INTEGER NOT NULL,
        state TEXT NOT NULL,
        correction INTEGER
    )""",
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        author TEXT NOT NULL,
        time TEXT NOT NULL,
        cancelled INTEGER NOT NULL
    )""",
    "CREATE TABLE sessions (hash TEXT PRIMARY KEY, author TEXT NOT NULL, until REAL NOT NULL)",
)


def lay(store: Store) -> None:
    """Make the page's tables where they are missing.

    Raises:
        StudyError: A newer version made them.
        CorrectionError: The file cannot be written, or is damaged.
    """
    with store.transaction(write=True) as connection:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'facts'"
        if connection.exec_driver_sql(query).scalar_one_or_none() is None:
            for statement in _TABLES:
                connection.exec_driver_sql(statement)
            insert = "INSERT INTO facts (name, value) VALUES ('version', ?)"
            connection.exec_driver_sql(insert, (str(VERSION),))
        query = "SELECT value FROM facts WHERE name = 'version'"
        version = int(connection.exec_driver_sql(query).scalar_one())
    if version > VERSION:
        raise StudyError(
            f"{store.path} was served by a newer regaze (tables {version}, this one knows {VERSION}): update regaze."
        )
