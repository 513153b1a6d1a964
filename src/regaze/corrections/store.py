"""What experts said and what they were asked, kept for good.

Invariant: a row is never changed and never deleted (triggers in the database refuse both); a new word on a
photograph is a new row. Whatever a method returned has been committed to the disk. The *current* correction
of a photograph is the one with the highest id, whoever made it: a later correction by anyone replaces an
earlier one.

All masks are (H, W) bool in original pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, func, insert, select

from regaze.corrections import chain
from regaze.corrections.author import default_author
from regaze.corrections.database import Database
from regaze.corrections.migrations import migrate
from regaze.corrections.rows import (
    CORRECTIONS,
    ENTRY_FIELDS,
    SELECTIONS,
    CorrectionEntry,
    digest,
    pack_correction,
    pack_selection,
    unpack_correction,
    unpack_selection,
)
from regaze.errors import CorrectionError
from regaze.records import Correction, Selection, Shape, timestamp

__all__ = ["CorrectionEntry", "Store", "default_author"]

# Rows whose PNG bytes are read at once while iterating: a few MB; one mask at a time is decoded.
_PAGE = 32


class Store:
    """The corrections and selections of one study, in one SQLite file.

    Several processes may read and write the file at once; open one `Store` in each. Use it as a context
    manager, or call `close`.
    """

    def __init__(self, path: Path | str, *, read_only: bool | None = None):
        """Open the file; create it, or bring an older one up to date, where needed.

        Args:
            path: The file, e.g. `records.sqlite` in a study folder that exists.
            read_only: True: never write. None: decided by the permissions of the file and its folder.

        Raises:
            CorrectionError: If the file is damaged, not ours, from a newer regaze, or cannot be opened.
        """
        self.path = Path(path)
        self._database = Database(self.path, read_only)
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

        Returns:
            The stored selection, with its id and time.

        Raises:
            CorrectionError: If a value lies outside what is stated above, or the file refuses.
        """
        now = timestamp()
        selection = Selection(0, model, rule, float(share), int(seed), tuple(samples), tuple(reasons), author, now)
        values = pack_selection(selection)
        with self._database.transaction(write=True) as connection:
            key = connection.execute(insert(SELECTIONS).values(values)).inserted_primary_key
            assert key is not None
            chain.append(connection, "selections", int(key[0]), values["hash"])
        return replace(selection, id=int(key[0]))

    def selections(self, model: str | None = None) -> list[Selection]:
        """All selections, or those for one model, oldest first.

        Args:
            model: Name of a model; None: of any.

        Returns:
            The selections; empty where there are none.

        Raises:
            CorrectionError: If the file cannot be read or a row is damaged.
        """
        query = select(SELECTIONS).order_by(SELECTIONS.c.id)
        if model is not None:
            query = query.where(SELECTIONS.c.model == model)
        return [unpack_selection(row._asdict(), f"selection {row.id} in {self.path}") for row in self._rows(query)]

    def latest_selection(self, model: str | None = None) -> Selection | None:
        """The selection stored last, or the last one for one model.

        Args:
            model: Name of a model; None: of any.

        Returns:
            The selection; None where there is none.

        Raises:
            CorrectionError: If the file cannot be read or a row is damaged.
        """
        selections = self.selections(model)
        return selections[-1] if selections else None

    def add_correction(
        self,
        sample: str,
        model: str,
        origin: str,
        look: NDArray[np.bool_],
        avoid: NDArray[np.bool_] | None = None,
        mode: Literal["replace", "edit"] = "replace",
        *,
        author: str,
        remark: str = "",
        map: str = "",
        shapes: Sequence[Shape] = (),
    ) -> Correction:
        """Store an expert's word on one photograph.

        Args:
            sample: `Sample.id`.
            model: Name of the model whose map was corrected.
            origin: `masks`, `boxes` or `expert`.
            look: (H, W) bool, original pixels, "look here"; all False with `replace` says "look nowhere".
            avoid: (H, W) bool, original pixels, "not here", sharing no pixel with `look`; None: none drawn.
            mode: `replace`: the mask is the whole map. `edit`: untouched pixels keep the model's own value.
            author: Who made it; see `default_author`.
            remark: Free text.
            map: Which map was corrected: `fused`, `scale1`, ...; empty: not one in particular.
            shapes: How the masks were drawn, in original pixels; if any, the masks must be exactly what
                `shapes.rasterise` makes of them (no `avoid` counts as an empty one).

        Returns:
            The stored correction, with its id and time.

        Raises:
            CorrectionError: If a value lies outside what is stated above, or the file refuses.
        """
        draft = Correction(0, sample, model, origin, mode, look, avoid, author, "", remark, map, tuple(shapes))
        entry = self.add_corrections([draft])[0]
        # Copies: what is returned must stay what was stored, even if the caller goes on drawing.
        avoid = None if avoid is None else avoid.copy()
        return replace(draft, id=entry.id, time=entry.time, look=look.copy(), avoid=avoid)

    def add_corrections(self, corrections: Iterable[Correction]) -> list[CorrectionEntry]:
        """Store many corrections in one transaction: all of them or, if one is refused, none.

        Args:
            corrections: Records with id 0; their `time` is ignored, the store writes its own. Taken one by
                one, so that an iterator may make each mask when it is asked for.

        Returns:
            What was stored, without masks, in the order given.

        Raises:
            CorrectionError: If a record is not acceptable (see `add_correction`) or the file refuses.
        """
        # Packed before the write lock is taken: making a mask may take long, and others want to write too.
        packed = [pack_correction(correction, timestamp()) for correction in corrections]
        if not packed:
            return []
        entries = []
        with self._database.transaction(write=True) as connection:
            for values in packed:
                key = connection.execute(insert(CORRECTIONS).values(values)).inserted_primary_key
                assert key is not None
                chain.append(connection, "corrections", int(key[0]), values["hash"])
                fields = {name: values[name] for name in ENTRY_FIELDS if name != "id"}
                entries.append(CorrectionEntry(id=int(key[0]), **fields))
        return entries

    def chain(self) -> chain.ChainReport:
        """Walk the chain over all rows, see `corrections.chain`.

        Raises:
            CorrectionError: If the file cannot be read.
        """
        with self._database.transaction() as connection:
            return chain.walk(connection)

    def count(self) -> int:
        """How many corrections are stored, replaced ones included.

        Returns:
            Their number.

        Raises:
            CorrectionError: If the file cannot be read.
        """
        return int(self._rows(select(func.count()).select_from(CORRECTIONS))[0][0])

    def correction_index(self, samples: Collection[str] | None = None) -> list[CorrectionEntry]:
        """All corrections so far without their masks, oldest first.

        Args:
            samples: Only these photographs; None: all.

        Returns:
            One entry per stored correction.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read.
        """
        if isinstance(samples, str):  # a collection of one-letter ids, which would silently find nothing
            raise TypeError(f"samples is the text {samples!r}, expected a list of sample ids: pass [{samples!r}]")
        # Filtered here and not in SQL, which limits how many values a query may name.
        wanted = None if samples is None else frozenset(samples)
        query = select(*(CORRECTIONS.c[name] for name in ENTRY_FIELDS)).order_by(CORRECTIONS.c.id)
        rows = [row for row in self._rows(query) if wanted is None or row.sample in wanted]
        return [CorrectionEntry(**row._asdict()) for row in rows]

    def current_index(self, samples: Collection[str] | None = None) -> dict[str, CorrectionEntry]:
        """The latest correction of each photograph, by anyone, without its masks.

        Args:
            samples: Only these photographs; None: all.

        Returns:
            `Sample.id` -> entry, ordered by sample id; photographs without a correction are absent.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read.
        """
        latest = {entry.sample: entry for entry in self.correction_index(samples)}
        return dict(sorted(latest.items()))

    def current_by_author(
        self, samples: Collection[str] | None = None, models: Collection[str] | None = None
    ) -> dict[tuple[str, str], CorrectionEntry]:
        """The latest correction of each photograph by each author, without its masks.

        Args:
            samples: Only these photographs; None: all.
            models: Only corrections of these models' maps, of which the latest counts; None: of any.

        Returns:
            (`Sample.id`, author) -> entry, ordered by both; an author who said nothing about a photograph is absent.

        Raises:
            TypeError: If `samples` or `models` is a single text.
            CorrectionError: If the file cannot be read.
        """
        if isinstance(models, str):
            raise TypeError(f"models is the text {models!r}, expected a list of names: pass [{models!r}]")
        wanted = None if models is None else frozenset(models)
        entries = (entry for entry in self.correction_index(samples) if wanted is None or entry.model in wanted)
        return dict(sorted({(entry.sample, entry.author): entry for entry in entries}.items()))

    def correction(self, correction_id: int) -> Correction:
        """One correction with its masks.

        Args:
            correction_id: `Correction.id` or `CorrectionEntry.id`.

        Returns:
            The correction.

        Raises:
            CorrectionError: If there is none with that id, or its row is damaged.
        """
        for correction in self._load([correction_id]):
            return correction
        raise CorrectionError(
            f"no correction {correction_id} in {self.path}, which holds {self.count()}: see correction_index"
        )

    def iterate_corrections(
        self, samples: Collection[str] | None = None, *, current: bool = False
    ) -> Iterator[Correction]:
        """Corrections with their masks, of which one at a time is decoded.

        What is stored after the call is not seen. The file is not held between two steps.

        Args:
            samples: Only these photographs; None: all.
            current: False: all so far, oldest first. True: the latest of each photograph, ordered by sample
                id.

        Returns:
            An iterator.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read or a row is damaged.
        """
        entries = self.current_index(samples).values() if current else self.correction_index(samples)
        return self._load([entry.id for entry in entries])

    def corrections(self, samples: Collection[str] | None = None) -> list[Correction]:
        """All corrections so far with their masks, oldest first; all masks are in memory at once.

        Args:
            samples: Only these photographs; None: all.

        Returns:
            The corrections.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read or a row is damaged.
        """
        return list(self.iterate_corrections(samples))

    def current_corrections(self, samples: Collection[str] | None = None) -> dict[str, Correction]:
        """The latest correction of each photograph, by anyone; all masks are in memory at once.

        Args:
            samples: Only these photographs; None: all.

        Returns:
            `Sample.id` -> correction, ordered by sample id; photographs without a correction are absent.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read or a row is damaged.
        """
        return {correction.sample: correction for correction in self.iterate_corrections(samples, current=True)}

    def fingerprint(self, samples: Collection[str] | None = None) -> str:
        """A hash over the current corrections, by which a model records exactly what it learned from.

        Args:
            samples: Only these photographs; None: all.

        Returns:
            64 hex digits; the same for the same current corrections in whatever order they were stored.

        Raises:
            TypeError: If `samples` is a single text.
            CorrectionError: If the file cannot be read.
        """
        hashes = (entry.hash for entry in self.current_index(samples).values())
        return digest("regaze current corrections 1", *hashes)

    def _rows(self, query: Select[Any]) -> list[Row[Any]]:
        with self._database.transaction() as connection:
            return list(connection.execute(query).all())

    def _load(self, ids: Sequence[int]) -> Iterator[Correction]:
        """Corrections with these ids, in this order; ids without a row are passed over."""
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            rows = {row.id: row for row in self._rows(select(CORRECTIONS).where(CORRECTIONS.c.id.in_(page)))}
            for row in (rows[row_id] for row_id in page if row_id in rows):
                yield unpack_correction(row._asdict(), f"correction {row.id} ({row.sample}) in {self.path}")
