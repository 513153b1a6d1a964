"""How long a grid will take, by the seconds of earlier runs in its folder; unknown where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regaze.experiments.plan import Kind, Run
from regaze.experiments.run_file import read_run
from regaze.experiments.runs import Bench

Key = tuple[str, str, str]


def expect(bench: Bench, runs: Sequence[Run]) -> dict[str, float | None]:
    """The seconds that each run which is not done yet should take.

    Args:
        bench: Where the runs are done.
        runs: The whole grid.

    Returns:
        `Run.id` -> seconds; None where no earlier run tells.
    """
    known = _earlier(bench)
    seconds: dict[str, float | None] = {}
    for run in runs:
        if bench.record(run) is None:
            rates = known.get((_stage(run.kind, run.cell.share), run.cell.backbone, run.cell.network))
            seconds[run.id] = float(np.median(rates)) * bench.units(run.kind) if rates else None
    return seconds


def _stage(kind: Kind, share: float | None) -> str:
    """What makes runs alike in time: maps cost more after fine-tuning, when they are deleted and inserted too."""
    return f"{kind}{'' if share is None else ', fine-tuned'}"


def _earlier(bench: Bench) -> dict[Key, list[float]]:
    """Seconds per unit of size of earlier runs at this size of picture that were done in one go."""
    rates: dict[Key, list[float]] = {}
    for file in sorted((bench.to / "runs").glob("*.json")):
        try:
            head, _ = read_run(file)
            if head.fresh and head.pixels == bench.options.size:
                key: Key = (_stage(head.kind, head.share), *head.cell)
                rates.setdefault(key, []).append(head.seconds / head.units)
        except (ValueError, KeyError, TypeError, OSError):
            continue
    return rates
