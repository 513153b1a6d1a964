"""The command that reproduces the paper's tables and figures on one's own data. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from regaze.commands.base import Command, Result
from regaze.experiments.options import EXPERIMENTS, ReproduceOptions
from regaze.models.options import MachineOptions


@dataclass(frozen=True, kw_only=True)
class Reproduce(Command):
    """Runs a grid of trainings, each shared by all tables and figures that need it; called again, it goes on.

    Several processes with the same --to (one per core or GPU) share the runs.
    """

    what: Annotated[
        Literal["fig1", "fig5", "fig6", "table2", "table3", "fig7", "all"],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="WHAT"),
    ]
    """fig1: other maps than the model's own. fig5: grading. fig6: maps of the branches. table2: deletion and insertion.
    table3: MSE of the maps. fig7: how many corrections. all: these six."""
    reproduce: ReproduceOptions
    machine: MachineOptions = field(default_factory=MachineOptions)
    to: Path = Path("reproduce")
    """Folder of the runs, tables and figures."""
    plan: bool = False
    """Print the grid, with its time where earlier runs in the folder tell it, and stop."""
    markdown: Path | None = None
    """Also write each experiment to this Markdown page; an earlier section of it is replaced."""

    def run(self) -> Result:
        """Plan, run, write."""
        from regaze.experiments.reproduce import plan, reproduce
        from regaze.experiments.runs import open_bench

        names = EXPERIMENTS if self.what == "all" else (self.what,)
        bench = open_bench(self.to, self.reproduce, self.machine, self.voice())
        if self.plan:
            expected = plan(bench, names)
            self.say(*plan_lines(expected))
            return expected, 0
        result = reproduce(bench, names, self.markdown)
        for name, values in result["experiments"].items():
            self.say(f"{name}: {values['title']}", *(f"  {claim['sentence']}" for claim in values["claims"]))
        self.say(f"written: {', '.join(result['files'])}")
        return result, 0


def plan_lines(expected: dict[str, Any]) -> list[str]:
    """The plan for a person."""
    runs = expected["runs"]
    lines = [
        f"{run['id']}  {run['kind']:8}  seed {run['seed']}  {run['model']}  "
        + ("done" if run["done"] else "unknown" if run["seconds"] is None else duration(run["seconds"]))
        for run in runs
    ]
    seconds = [run["seconds"] for run in runs if not run["done"]]
    known = [value for value in seconds if value is not None]
    time = f"takes about {duration(sum(known))} (by earlier runs)" if known else "takes an unknown time"
    if 0 < len(known) < len(seconds):
        time += f" and {len(seconds) - len(known)} runs of unknown time"
    rest = f"; the rest {time}" if seconds else ""
    return [*lines, f"{expected['n_runs']} runs, {expected['n_done']} done{rest}"]


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
