"""Drafts, saved while an expert works, and finished cases.

Invariant: what `save` or `finish` returned is on the disk; a draft that another window saved meanwhile is shown to this
one and never overwritten; one key finishes a case once, and the case's state and its correction are one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection

from regaze.corrections.rows import pack_correction
from regaze.corrections.shape_checks import check_shapes
from regaze.errors import CorrectionError
from regaze.records import DrawnCorrection, timestamp
from regaze.server.bodies import DraftBody, DraftContent
from regaze.server.cases import Case
from regaze.server.desk import Desk
from regaze.server.frame import Frame
from regaze.server.queue import decide, let_go
from regaze.server.shape_bodies import stored_shapes

_STATES = {"correct": "corrected", "nothing": "corrected", "accept": "accepted", "skip": "skipped", None: "flagged"}


@dataclass(frozen=True)
class SavedDraft:
    """A draft as it is on the disk; `content` is JSON of `bodies.DraftContent`."""

    version: int
    saved_at: str
    window: str
    content: str

    def plain(self) -> dict[str, Any]:
        """As `replies.Draft` describes it."""
        head = {"version": self.version, "saved_at": self.saved_at, "window": self.window}
        return head | cast("dict[str, Any]", json.loads(self.content))


@dataclass(frozen=True)
class Done:
    """What a finished case became."""

    state: str
    correction: int | None


class NewerDraftError(Exception):
    """Another window has saved the draft since; `draft` is what it saved, None where there is none."""

    def __init__(self, draft: SavedDraft | None) -> None:
        super().__init__()
        self.draft = draft


class Drafts:
    """The drafts of one study."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def read(self, queue: int, photograph: int) -> SavedDraft | None:
        """A case's draft; None where there is none."""
        with self._desk.store.transaction() as connection:
            return _draft(connection, queue, photograph)

    def save(self, queue: int, photograph: int, body: DraftBody, frame: Frame) -> SavedDraft:
        """Save a draft.

        Args:
            queue: Of the case.
            photograph: The server's id.
            body: What to save, and the version that it was made from.
            frame: Of the photograph.

        Raises:
            NewerDraftError: Another window has saved since.
            CorrectionError: A shape cannot be drawn.
        """
        check_shapes(stored_shapes(body.shapes, frame), frame.height, frame.width)
        content = body.model_dump_json(exclude={"window", "base"})
        with self._desk.store.transaction(write=True) as connection:
            there = _draft(connection, queue, photograph)
            if (there.version if there else 0) != body.base:
                # The same window may send a save again whose answer was lost.
                if there is not None and there.window == body.window and there.content == content:
                    return there
                raise NewerDraftError(there)
            saved = SavedDraft(body.base + 1, timestamp(), body.window, content)
            connection.exec_driver_sql(
                "INSERT INTO drafts (queue, photograph, version, window, author, time, content) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (queue, photograph) DO UPDATE SET "
                "version = excluded.version, window = excluded.window, author = excluded.author, "
                "time = excluded.time, content = excluded.content",
                (queue, photograph, saved.version, saved.window, self._desk.author, saved.saved_at, content),
            )
        return saved

    def finish(self, queue: int, case: Case, version: int, key: str, window: str, frame: Frame) -> Done:
        """Finish a case by its draft: write the correction where there is one to write, and the case's state.

        Args:
            queue: Of the case.
            case: The case.
            version: Of the draft that the expert saw.
            key: Of this finish; one that was used already gives what it gave.
            window: Whose lease ends.
            frame: Of the photograph.

        Raises:
            NewerDraftError: Another window has saved the draft since.
            CorrectionError: The draft does not say enough, or cannot be drawn.
        """
        with self._desk.store.transaction() as connection:
            done = _finished(connection, key, case.photograph)
            draft = _draft(connection, queue, case.photograph)
        if done is not None:
            return done
        if draft is None or draft.version != version:
            raise NewerDraftError(draft)
        content = DraftContent.model_validate_json(draft.content)
        _require_enough(content, len(self._desk.study.classes))
        # Packed before the write lock is taken: masks of a large photograph take long.
        packed = [pack_correction(item, timestamp()) for item in self._corrections(case, content, frame)]
        with self._desk.store.transaction(write=True) as connection:
            done = _finished(connection, key, case.photograph)
            if done is not None:
                return done
            there = _draft(connection, queue, case.photograph)
            if there is None or there.version != version:
                raise NewerDraftError(there)
            ids = self._desk.store.insert_corrections(connection, packed)
            done = Done(_STATES[content.decision], ids[0] if ids else None)
            values = {"state": done.state, "flagged": int(content.flagged), "reason": content.reason}
            values |= {"grade": content.grade, "remark": content.remark}
            values |= {"author": self._desk.author, "time": timestamp()}
            decide(connection, queue, case, values)
            connection.exec_driver_sql(
                "INSERT INTO finishes (key, photograph, state, correction) VALUES (?, ?, ?, ?)",
                (key, case.photograph, done.state, done.correction),
            )
            let_go(connection, case.photograph, window)
        return done

    def _corrections(self, case: Case, content: DraftContent, frame: Frame) -> list[DrawnCorrection]:
        """What the store gets: one correction for every fold that trains on the photograph, or none."""
        if content.decision not in ("correct", "nothing"):
            return []
        study, shapes = self._desk.study, stored_shapes(content.shapes, frame)
        name = case.model.rpartition("/")[0]
        return [
            DrawnCorrection(
                sample=frame.sample,
                model=study.fold_name(name, fold),
                mode="edit" if content.decision == "correct" else "replace",
                shapes=shapes,
                height=frame.height,
                width=frame.width,
                author=self._desk.author,
                remark=content.remark,
            )
            for fold in study.folds
            if study.split.get(frame.sample) != fold
        ]


def _require_enough(content: DraftContent, classes: int) -> None:
    """Refuse to finish what says nothing.

    Raises:
        CorrectionError: It says too little.
    """
    if content.decision == "correct" and not content.shapes:
        raise CorrectionError("a correction without a stroke: paint where to look, or choose accept or nothing to see")
    if content.decision == "skip" and not content.reason.strip():
        raise CorrectionError("a case is skipped without a reason: say why")
    if content.decision is None and not content.flagged:
        raise CorrectionError("a case is finished without a decision: correct it, accept it, skip it or flag it")
    if content.grade is not None and content.grade >= classes:
        raise CorrectionError(f"grade {content.grade}, expected 0 to {classes - 1}: choose one of the classes")


def _draft(connection: Connection, queue: int, photograph: int) -> SavedDraft | None:
    query = "SELECT version, time, window, content FROM drafts WHERE queue = ? AND photograph = ?"
    row = connection.exec_driver_sql(query, (queue, photograph)).one_or_none()
    return None if row is None else SavedDraft(*row)


def _finished(connection: Connection, key: str, photograph: int) -> Done | None:
    """What a key finished.

    Raises:
        CorrectionError: It finished another case.
    """
    query = "SELECT photograph, state, correction FROM finishes WHERE key = ?"
    row = connection.exec_driver_sql(query, (key,)).one_or_none()
    if row is None:
        return None
    if row[0] != photograph:
        raise CorrectionError("the key of this finish was used for another case: make a new one for every finish")
    return Done(row[1], row[2])
