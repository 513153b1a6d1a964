"""The corrections that experts made and the selections that they were asked for, append-only.

Invariant: a row is never changed and never deleted (triggers in the database refuse both); a newer correction of a
photograph is a new row, with a higher id. Whatever a method returned has been committed to the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Row, Select, Table, func, insert, select

from regaze.corrections import chain
from regaze.corrections.database import Database
from regaze.corrections.migrations import migrate
from regaze.corrections.rows import (
    CORRECTIONS,
    ENTRY_FIELDS,
    SELECTIONS,
    CorrectionEntry,
    content,
    pack_correction,
    pack_selection,
    unpack_correction,
    unpack_entry,
    unpack_selection,
)
from regaze.errors import CorrectionError
from regaze.records import Correction, DrawnCorrection, Selection, timestamp


class Store:
    """The corrections and selections of one study, in one SQLite file.

    Several processes may read and write the file at once; open one `Store` in each. Use it as a context
    manager, or call `close`. Every method but `close` raises `CorrectionError` where the file is closed, cannot be
    read or written, or holds a damaged row.
    """

    def __init__(self, path: Path | str):
        """Open the file; create it, or bring an older one up to date, where needed.

        Where the file or its folder may not be written, it is open for reading only.

        Args:
            path: The file, e.g. `records.sqlite` in a study folder that exists.

        Raises:
            CorrectionError: The file is damaged, not ours, from a newer regaze, or cannot be opened.
        """
        self.path = Path(path)
        self._database = Database(self.path)
        try:
            migrate(self._database)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_selection(
        self,
        model: str,
        rule: str,
        share: float,
        seed: int,
        samples: Sequence[str],
        reasons: Sequence[str],
        author: str,
        *,
        unless_latest: bool = False,
    ) -> Selection:
        """Store which photographs an expert is asked to look at.

        Args:
            model: Name of the model whose maps are to be corrected.
            rule: Name of the rule that ranked them.
            share: Share of the candidates taken, above 0 and at most 1.
            seed: Seed of the rule and of ties, 64 bits with sign.
            samples: `Sample.id`s, most wanted first; at least one, none twice.
            reasons: One line per sample.
            author: Who asked for it.
            unless_latest: Store nothing where the model's latest selection has this rule, share, seed and samples.

        Returns:
            The stored selection, with its id and time, or that latest one.

        Raises:
            CorrectionError: A value lies outside what is stated above.
        """
        now = timestamp()
        selection = Selection(0, model, rule, float(share), int(seed), tuple(samples), tuple(reasons), author, now)
        values = pack_selection(selection)
        with self._database.transaction(write=True) as connection:
            latest = next(iter(self._unpacked(connection, _latest(model))), None) if unless_latest else None
            if latest is not None and _request(latest) == _request(selection):
                return latest
            return replace(selection, id=_insert(connection, SELECTIONS, values))

    def selections(self) -> list[Selection]:
        """All selections, oldest first."""
        return self._selections(select(SELECTIONS).order_by(SELECTIONS.c.id))

    def latest_selection(self, model: str) -> Selection | None:
        """The selection stored last for the maps of `model`; None where there is none."""
        return next(iter(self._selections(_latest(model))), None)

    def add_corrections(
        self,
        corrections: Iterable[Correction | DrawnCorrection],
        *,
        unless_there: bool = False,
        unless_corrected: bool = False,
    ) -> list[CorrectionEntry]:
        """Store corrections in one transaction: all of them or, if one is refused, none.

        Args:
            corrections: Records with id 0; their `time` is ignored, the store writes its own. It makes the masks of a
                `DrawnCorrection`. An iterator may make each mask when it is asked for.
            unless_there: Leave out those with which an author's corrections of the photograph and model end already,
                in this order and equal in all but their time. What two processes add at once is then added once.
            unless_corrected: Leave out those of a photograph and model that anybody has corrected.

        Returns:
            What was stored, without masks, in the order given.

        Raises:
            CorrectionError: A record breaks what `Correction` says of it, or `look` and `avoid` share a pixel.
        """
        # Packed before the write lock is taken: making a mask may take long, and others want to write too.
        packed = [pack_correction(correction, timestamp()) for correction in corrections]
        if not packed:
            return []
        with self._database.transaction(write=True) as connection:
            if unless_there:
                packed = _not_there(connection, packed)
            if unless_corrected:
                stored = {tuple(row) for row in connection.execute(select(CORRECTIONS.c.sample, CORRECTIONS.c.model))}
                packed = [values for values in packed if (values["sample"], values["model"]) not in stored]
            rows = [{**values, "id": _insert(connection, CORRECTIONS, values)} for values in packed]
        return [CorrectionEntry(**{name: row[name] for name in ENTRY_FIELDS}) for row in rows]

    def transaction(self, write: bool = False) -> AbstractContextManager[Connection]:
        """One transaction, see `Database.transaction`: for the tables beside the append-only ones."""
        return self._database.transaction(write)

    @staticmethod
    def insert_corrections(connection: Connection, packed: Iterable[Mapping[str, Any]]) -> list[int]:
        """Store corrections within a write transaction, so that they and what is written beside them are one.

        Args:
            connection: Of `transaction(write=True)`.
            packed: What `rows.pack_correction` gives; packing may take long, so it comes before the transaction.

        Returns:
            Their ids.
        """
        return [_insert(connection, CORRECTIONS, dict(values)) for values in packed]

    def chain(self) -> chain.ChainReport:
        """Walk the chain over all rows, see `corrections.chain`."""
        with self._database.transaction() as connection:
            return chain.walk(connection)

    def count(self) -> int:
        """How many corrections are stored, replaced ones included."""
        return int(self._rows(select(func.count()).select_from(CORRECTIONS))[0][0])

    def correction_index(self) -> list[CorrectionEntry]:
        """All corrections so far without their masks, oldest first."""
        query = select(*(CORRECTIONS.c[name] for name in ENTRY_FIELDS)).order_by(CORRECTIONS.c.id)
        return [unpack_entry(row._asdict(), f"correction {row.id} in {self.path}") for row in self._rows(query)]

    def correction(self, correction_id: int) -> Correction:
        """One correction with its masks.

        Raises:
            CorrectionError: There is none with that id, or its row is damaged.
        """
        rows = self._rows(select(CORRECTIONS).where(CORRECTIONS.c.id == correction_id))
        if not rows:
            raise CorrectionError(
                f"no correction {correction_id} in {self.path}, which holds {self.count()}: see correction_index"
            )
        return unpack_correction(rows[0]._asdict(), f"correction {rows[0].id} ({rows[0].sample}) in {self.path}")

    def _selections(self, query: Select[Any]) -> list[Selection]:
        with self._database.transaction() as connection:
            return self._unpacked(connection, query)

    def _unpacked(self, connection: Connection, query: Select[Any]) -> list[Selection]:
        rows = connection.execute(query).all()
        return [unpack_selection(row._asdict(), f"selection {row.id} in {self.path}") for row in rows]

    def _rows(self, query: Select[Any]) -> list[Row[Any]]:
        with self._database.transaction() as connection:
            return list(connection.execute(query).all())


def _latest(model: str) -> Select[Any]:
    return select(SELECTIONS).where(SELECTIONS.c.model == model).order_by(SELECTIONS.c.id.desc()).limit(1)


def _request(selection: Selection) -> tuple[Any, ...]:
    return selection.rule, selection.share, selection.seed, selection.samples


def _not_there(connection: Connection, packed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of some packed corrections that the store does not end with; see `Store.add_corrections`."""
    names = ("sample", "model", "author")
    new: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for values in packed:
        new.setdefault(tuple(values[name] for name in names), []).append(values)
    stored: dict[tuple[str, ...], list[int]] = {}
    query = select(CORRECTIONS.c.id, *(CORRECTIONS.c[name] for name in names)).order_by(CORRECTIONS.c.id)
    for row in connection.execute(query):
        if tuple(row[1:]) in new:
            stored.setdefault(tuple(row[1:]), []).append(row[0])
    there: set[int] = set()
    for key, group in new.items():
        numbers = stored.get(key, [])[-len(group) :]
        if not numbers:
            continue
        rows = connection.execute(select(CORRECTIONS).where(CORRECTIONS.c.id.in_(numbers)).order_by(CORRECTIONS.c.id))
        old = [content(row._asdict(), f"correction {row.id}") for row in rows]
        wanted = [content(one, f"correction of {key[0]!r}") for one in group]
        count = next(n for n in range(len(old), -1, -1) if old[len(old) - n :] == wanted[:n])
        there |= set(map(id, group[:count]))
    return [values for values in packed if id(values) not in there]


def _insert(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    """Add one row with its link in the chain; its id."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    chain.append(connection, table.name, int(key[0]), values["hash"])
    return int(key[0])
