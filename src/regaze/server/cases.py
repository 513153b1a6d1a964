"""Cases, and their order in a queue: that of the acquisition rule, folds taking turns.

Invariant: what somebody has decided or drafted never leaves a queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from regaze.records import Selection


@dataclass(frozen=True)
class Case:
    """One row of a queue, see `tables`; `place` counts from 0, `model` is the NAME/foldK that selected it."""

    photograph: int
    place: int
    model: str
    why: str
    state: str
    flagged: bool
    reason: str = ""
    grade: int | None = None
    remark: str = ""
    author: str = ""
    time: str = ""


def in_order(
    selections: Sequence[Selection],
    ids: Mapping[str, int],
    corrected: set[tuple[str, str]],
    kept: dict[int, Case],
) -> Iterator[Case]:
    """The cases of a new queue: folds take turns, then what was worked on and is not selected any more."""
    place, seen = 0, set()
    longest = max((len(item.samples) for item in selections), default=0)
    for rank in range(longest):
        for selection in selections:
            if rank >= len(selection.samples) or selection.samples[rank] in seen:
                continue
            sample = selection.samples[rank]
            seen.add(sample)
            photograph = ids.get(sample)
            if photograph is None:
                continue
            state = "corrected" if (selection.model, sample) in corrected else "waiting"
            fresh = Case(photograph, place, selection.model, sentence(selection.reasons[rank]), state, False)
            old = kept.pop(photograph, None)
            if old is not None and old.state != "waiting":
                state = old.state
            yield fresh if old is None else _renewed(old, fresh, state)
            place += 1
    for old in kept.values():
        yield _renewed(old, old, old.state, place)
        place += 1


def _renewed(old: Case, fresh: Case, state: str, place: int | None = None) -> Case:
    at = fresh.place if place is None else place
    decided = (old.reason, old.grade, old.remark, old.author, old.time)
    return Case(old.photograph, at, fresh.model, fresh.why, state, old.flagged, *decided)


def sentence(reason: str) -> str:
    """Why a photograph is next, from a selection's line: its rank and the rule's name are left out."""
    _, _, rest = reason.partition(": ")
    text = rest or reason
    return f"{text[:1].upper()}{text[1:]}."
