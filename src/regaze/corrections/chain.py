"""The chain over all rows of the store: every link holds the hash of a row and of the link before it.

Invariant: a row that is altered, removed or put in between breaks the chain there. What a chain alone cannot show is
its own end cut off; the models' cards name what they learned from, and `regaze verify` compares them with it.

Rows of a store that an older regaze wrote come before the first link, which covers them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from regaze.corrections.rows import hash_parts

TABLES = ("corrections", "selections")


@dataclass(frozen=True)
class ChainReport:
    """The state of the chain.

    Attributes:
        n_links: Links in it, the first one (over older rows) not counted.
        head: Hash of the last link, empty without one. Noted down, it shows later that nothing before it changed.
        problems: One line each; empty where the chain holds.
    """

    n_links: int
    head: str
    problems: tuple[str, ...]


def append(connection: Connection, table: str, row_id: int, row_hash: str) -> None:
    """Link a row that was just inserted; call it in the same transaction, under the write lock.

    Args:
        connection: Inside a writing transaction.
        table: `corrections` or `selections`.
        row_id: The row's id.
        row_hash: Its `hash`.
    """
    last = connection.execute(text("SELECT hash FROM links ORDER BY id DESC LIMIT 1")).scalar()
    if last is None:
        # The first link covers what was there before there were links.
        older = _hashes(connection)
        older[table].pop(row_id, None)
        last = _genesis(older)
        _insert(connection, "", 0, last)
    _insert(connection, table, row_id, _link(last, table, row_id, row_hash))


def walk(connection: Connection) -> ChainReport:
    """Compute the whole chain again and compare; `connection` is inside a transaction, so that all is of one moment."""
    rows = _hashes(connection)
    links = connection.execute(text("SELECT id, kind, row, hash FROM links ORDER BY id")).all()
    odd = next((link.id for link in links if list(map(type, link)) != [int, str, int, str]), None)
    if odd is not None:
        return ChainReport(max(0, len(links) - 1), "", (f"link {odd} of the chain holds a value of another type",))
    problems = []
    linked = {table: {link.row for link in links if link.kind == table} for table in TABLES}
    older = {
        table: {key: value for key, value in hashes.items() if key not in linked[table]}
        for table, hashes in rows.items()
    }
    if links:
        first = min((link.row for link in links if link.kind == "corrections"), default=None)
        late = [key for key in older["corrections"] if first is not None and key > first]
        problems += [f"correction {key} has no link: it was not stored by regaze" for key in late]
    previous = ""
    for position, link in enumerate(links):
        if position == 0:
            wanted = _genesis(older)
            what = "the rows older than the chain"
        else:
            wanted = _link(previous, link.kind, link.row, rows.get(link.kind, {}).get(link.row, "gone"))
            what = f"{link.kind.removesuffix('s')} {link.row}"
        if link.hash != wanted:
            problems.append(f"the chain is broken at {what}: it was altered or removed")
        previous = link.hash  # go on from what is written, so that one break is one line
    ids = [link.id for link in links]
    if ids != list(range(1, len(ids) + 1)):
        problems.append("links are missing from the chain")
    return ChainReport(max(0, len(links) - 1), previous, tuple(problems))


def _hashes(connection: Connection) -> dict[str, dict[int, str]]:
    """Table -> row id -> hash, in the order of ids."""
    return {
        table: {
            row.id: row.hash
            for row in connection.execute(text(f"SELECT id, hash FROM {table} ORDER BY id"))  # noqa: S608 - our tables
        }
        for table in TABLES
    }


def _genesis(older: dict[str, dict[int, str]]) -> str:
    rows = [(table, str(key), value) for table in TABLES for key, value in older[table].items()]
    return hash_parts("regaze chain 1", *(part for row in rows for part in row))


def _link(previous: str, table: str, row_id: int, row_hash: str) -> str:
    return hash_parts("regaze link 1", previous, table, str(row_id), row_hash)


def _insert(connection: Connection, kind: str, row_id: int, value: str) -> None:
    connection.execute(
        text("INSERT INTO links (kind, row, hash) VALUES (:kind, :row, :hash)"),
        {"kind": kind, "row": row_id, "hash": value},
    )
