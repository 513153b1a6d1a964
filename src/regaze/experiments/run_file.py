"""What a run of the grid found, as a file: `runs/ID.json`.

Invariant: what is read is what was written; a file that was altered, or whose values are of another type, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regaze.experiments.plan import Kind
from regaze.files import read_sealed, typed

Record = dict[str, Any]

_Figures = Mapping[str, Mapping[str, float | None]]  # name of a map -> measure -> value
# What each photograph of a run that trains nothing has, beside its name.
_NEEDED = {
    "judge": ("label", "grade", "maps"),
    "given": ("label", "lesions", "given"),
    "maps": ("zero", "mean", "views"),
}


@dataclass(frozen=True)
class RunHead:
    """What every run's file says, see `runs.Bench`.

    Attributes:
        id, kind: Of `Run`.
        cell: Backbone and network.
        share: Of `Cell`.
        part: Part that is judged.
        fresh: Whether it was done in one go.
        seconds: How long it took.
        units: What its seconds grow with; above 0.
        pixels: Side of the square input.
    """

    id: str
    kind: Kind
    cell: tuple[str, str]
    share: float | None
    part: str
    fresh: bool = False  # these four decide nothing, and an earlier version did not write them all
    seconds: float = 0.0
    units: float = 1.0
    pixels: int = 0


@dataclass(frozen=True)
class _Given:
    probabilities: tuple[tuple[float, ...], ...]
    grades: tuple[int, ...]


@dataclass(frozen=True)
class _Photograph:
    sample: str
    patient: str | None
    label: int | None = None
    grade: int = 0
    probabilities: tuple[float, ...] = ()
    lesions: bool = False
    zero: float | None = None
    mean: float | None = None
    maps: _Figures = field(default_factory=dict)
    views: _Figures = field(default_factory=dict)
    given: Mapping[str, _Given] = field(default_factory=dict)


def read_run(file: Path) -> tuple[RunHead, Record]:
    """Read a run's file: its head, and all of it.

    Raises:
        OSError: It is not there.
        ValueError: It is damaged, or was altered.
        TypeError: A value is of another type.
        KeyError: One is missing.
    """
    values = read_sealed(file)
    head: RunHead = typed(RunHead, values)
    if head.units <= 0:
        raise ValueError(f"units is {head.units}")
    if head.kind in _NEEDED:
        typed(list[_Photograph], values["photographs"])
        for photograph in values["photographs"]:
            for name in _NEEDED[head.kind]:
                photograph[name]
    return head, values
