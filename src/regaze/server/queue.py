"""The queue of cases, in the order of the model's latest selection, and which window works on which.

Invariant: a window never gets a case that another holds; the counts of a queue are changed in the transaction that
changes a case's state. Every question is answered from an index, however long the queue is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from regaze.errors import StudyError
from regaze.records import Selection
from regaze.server.cases import Case, in_order
from regaze.server.desk import Desk

LEASE_SECONDS = 120.0
COUNTS = ("waiting", "corrected", "flagged", "skipped", "accepted")

_ROW = "photograph, place, model, why, state, flagged, reason, grade, remark, author, time"


class Queue:
    """The queue of the model that the desk shows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._making = threading.Lock()

    def number(self) -> int:
        """As `there`.

        Raises:
            StudyError: Nothing has been selected yet, or the study cannot be worked on.
        """
        number = self.there()
        if number is None:
            raise StudyError(
                f"Nothing has been selected for {self._desk.model} yet: wait for the job that does, or run "
                f"`regaze select {self._desk.study.path}`."
            )
        return number

    def there(self) -> int | None:
        """The queue's id, made or renewed where a newer selection is there; None where nothing has been selected.

        Raises:
            StudyError: The study cannot be worked on.
        """
        study, store, name = self._desk.study, self._desk.store, self._desk.model
        models = [study.fold_name(name, fold) for fold in study.folds]
        marks = ", ".join("?" * len(models))
        with store.transaction() as connection:
            query = f"SELECT max(id) FROM selections WHERE model IN ({marks}) GROUP BY model ORDER BY model"  # noqa: S608 - marks
            basis = ",".join(str(row[0]) for row in connection.exec_driver_sql(query, tuple(models)))
            found = connection.exec_driver_sql("SELECT id, basis FROM queues WHERE model = ?", (name,)).one_or_none()
        if not basis:
            return None
        if found is not None and found[1] == basis:
            return int(found[0])
        with self._making:
            selections = [store.latest_selection(model) for model in models]
            return self._renew(name, basis, [item for item in selections if item is not None])

    def _renew(self, name: str, basis: str, selections: Sequence[Selection]) -> int:
        """Put the selections' photographs into the queue; what was decided or drafted stays in it, behind them."""
        ids = self._desk.photograph_ids()
        corrected = {(entry.model, entry.sample) for entry in self._desk.store.correction_index()}
        with self._desk.store.transaction(write=True) as connection:
            connection.exec_driver_sql(
                "INSERT INTO queues (model, basis, waiting, corrected, accepted, skipped, flagged) "
                "VALUES (?, ?, 0, 0, 0, 0, 0) ON CONFLICT (model) DO UPDATE SET basis = excluded.basis",
                (name, basis),
            )
            queue = int(connection.exec_driver_sql("SELECT id FROM queues WHERE model = ?", (name,)).scalar_one())
            kept = _touched(connection, queue)
            connection.exec_driver_sql("DELETE FROM cases WHERE queue = ?", (queue,))
            cases = list(in_order(selections, ids, corrected, kept))
            fill(connection, queue, cases)
        return queue

    def counts(self, queue: int) -> dict[str, int]:
        """State -> number of cases."""
        with self._desk.store.transaction() as connection:
            return _counts(connection, queue)

    def page(
        self, queue: int, window: str | None, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """A part of the queue, as `replies.QueueItem` describes it, and the counts."""
        with self._desk.store.transaction() as connection:
            rows = connection.exec_driver_sql(
                "SELECT cases.photograph, state, flagged, why, leases.window, sample FROM cases "
                "JOIN photographs ON photographs.id = cases.photograph "
                "LEFT JOIN leases ON leases.photograph = cases.photograph AND leases.until > ? "
                "WHERE queue = ? AND place >= ? ORDER BY place LIMIT ?",
                (time.time(), queue, offset, limit),
            ).all()
            counts = _counts(connection, queue)
        items = [
            {
                "id": row[0],
                "name": row[5],
                "state": row[1],
                "flagged": bool(row[2]),
                "why": row[3],
                "leased_by_other": row[4] is not None and row[4] != window,
            }
            for row in rows
        ]
        return items, counts

    def case(self, queue: int, photograph: int) -> Case | None:
        """One case; None where the photograph is not in the queue."""
        with self._desk.store.transaction() as connection:
            return case_of(connection, queue, photograph)

    def next(self, queue: int, window: str, after: int | None) -> int | None:
        """Lease the next waiting case that no other window holds, and let go of what this window held.

        Args:
            queue: Its id.
            window: Who asks.
            after: The case to go on from, round to the first; None: from the first on.

        Returns:
            The photograph's id; None where no case waits.
        """
        with self._desk.store.transaction(write=True) as connection:
            now = time.time()
            connection.exec_driver_sql("DELETE FROM leases WHERE window = ? OR until <= ?", (window, now))
            left = None if after is None else case_of(connection, queue, after)
            found = None if left is None else _first_free(connection, queue, left.place + 1)
            found = _first_free(connection, queue, 0) if found is None else found
            if found is not None:
                self._write_lease(connection, found, window, now)
        return found

    def lease(self, photograph: int, window: str) -> str | None:
        """Lease a case, or go on with its lease.

        Returns:
            Until when, UTC; None where another window holds it.
        """
        with self._desk.store.transaction(write=True) as connection:
            now = time.time()
            query = "SELECT window FROM leases WHERE photograph = ? AND until > ?"
            holder = connection.exec_driver_sql(query, (photograph, now)).scalar_one_or_none()
            if holder is not None and holder != window:
                return None
            return self._write_lease(connection, photograph, window, now)

    def release(self, photograph: int, window: str) -> None:
        """Let go of a case."""
        with self._desk.store.transaction(write=True) as connection:
            let_go(connection, photograph, window)

    def _write_lease(self, connection: Connection, photograph: int, window: str, now: float) -> str:
        until = now + LEASE_SECONDS
        connection.exec_driver_sql(
            "INSERT INTO leases (photograph, window, author, until) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (photograph) DO UPDATE SET window = excluded.window, author = excluded.author, "
            "until = excluded.until",
            (photograph, window, self._desk.author, until),
        )
        return datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def let_go(connection: Connection, photograph: int, window: str) -> None:
    """Remove a window's lease of a case."""
    connection.exec_driver_sql("DELETE FROM leases WHERE photograph = ? AND window = ?", (photograph, window))


def fill(connection: Connection, queue: int, cases: Sequence[Case]) -> None:
    """Write all cases of an empty queue, and its counts."""
    marks = ", ".join("?" * 12)
    rows = [(queue, *(getattr(case, name) for name in _ROW.split(", "))) for case in cases]
    if rows:
        connection.exec_driver_sql(f"INSERT INTO cases (queue, {_ROW}) VALUES ({marks})", rows)  # noqa: S608 - ours
    counts = Counter(case.state for case in cases)
    counts["flagged"] = sum(case.flagged for case in cases)
    changes = ", ".join(f"{name} = ?" for name in COUNTS)
    connection.exec_driver_sql(
        f"UPDATE queues SET {changes} WHERE id = ?",  # noqa: S608 - our own names
        (*(counts[name] for name in COUNTS), queue),
    )


def decide(connection: Connection, queue: int, case: Case, values: Mapping[str, Any]) -> None:
    """Change what is known of a case (`state`, `flagged` and more of its columns), and the counts with it."""
    _count(connection, queue, case.state, -1)
    _count(connection, queue, str(values["state"]), +1)
    _count(connection, queue, "flagged", int(bool(values["flagged"])) - int(case.flagged), a_state=False)
    changes = ", ".join(f"{name} = ?" for name in values)
    connection.exec_driver_sql(
        f"UPDATE cases SET {changes} WHERE queue = ? AND photograph = ?",  # noqa: S608 - our own names
        (*values.values(), queue, case.photograph),
    )


def case_of(connection: Connection, queue: int, photograph: int) -> Case | None:
    """One case of a queue."""
    query = f"SELECT {_ROW} FROM cases WHERE queue = ? AND photograph = ?"  # noqa: S608 - our own names
    row = connection.exec_driver_sql(query, (queue, photograph)).one_or_none()
    return None if row is None else _case(row)


def _case(row: Any) -> Case:
    photograph, place, model, why, state, flagged, *decided = row
    return Case(photograph, place, model, why, state, bool(flagged), *decided)


def _count(connection: Connection, queue: int, name: str, change: int, *, a_state: bool = True) -> None:
    """Change one count; `flagged` counts flags, not cases that are in the state of that name."""
    if a_state and name == "flagged":
        return
    connection.exec_driver_sql(
        f"UPDATE queues SET {name} = {name} + ? WHERE id = ?",  # noqa: S608 - one of COUNTS
        (change, queue),
    )


def _counts(connection: Connection, queue: int) -> dict[str, int]:
    query = f"SELECT {', '.join(COUNTS)} FROM queues WHERE id = ?"  # noqa: S608 - our own names
    row = connection.exec_driver_sql(query, (queue,)).one()
    return dict(zip(COUNTS, map(int, row), strict=True))


def _first_free(connection: Connection, queue: int, place: int) -> int | None:
    """The first waiting case from a place on that nobody has leased; expired leases are gone."""
    found = connection.exec_driver_sql(
        "SELECT photograph FROM cases WHERE queue = ? AND state = 'waiting' AND place >= ? "
        "AND photograph NOT IN (SELECT photograph FROM leases) ORDER BY place LIMIT 1",
        (queue, place),
    ).scalar_one_or_none()
    return None if found is None else int(found)


def _touched(connection: Connection, queue: int) -> dict[int, Case]:
    """The cases of a queue on which somebody has worked."""
    rows = connection.exec_driver_sql(
        f"SELECT {_ROW} FROM cases WHERE queue = ? AND (state != 'waiting' OR flagged OR photograph IN "  # noqa: S608 - ours
        "(SELECT photograph FROM drafts WHERE drafts.queue = cases.queue)) ORDER BY place",
        (queue,),
    )
    return {case.photograph: case for case in map(_case, rows)}
