"""Plan, run, write: all of `regaze reproduce` behind its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regaze.errors import OptionError
from regaze.evaluation.verdicts import FEWEST_SEEDS
from regaze.experiments import fig1, fig5, fig6, fig7, table2, table3
from regaze.experiments.options import Experiment, ReproduceOptions
from regaze.experiments.outcome import Outcome, put_section, read_page
from regaze.experiments.plan import Run, Want
from regaze.experiments.runs import Bench
from regaze.experiments.timing import expect
from regaze.files import held, read_json
from regaze.study.groups import unit, unit_word
from regaze.words import words_of


@dataclass(frozen=True)
class Part:
    """An experiment: what it asks for and what it makes of that."""

    wants: Callable[[ReproduceOptions], list[Want]]
    make: Callable[[Bench], Outcome]


PARTS: dict[Experiment, Part] = {
    "fig1": Part(fig1.wants, fig1.make),
    "fig5": Part(fig5.wants, fig5.make),
    "fig6": Part(fig6.wants, fig6.make),
    "table2": Part(table2.wants, table2.make),
    "table3": Part(table3.wants, table3.make),
    "fig7": Part(fig7.wants, fig7.make),
}


def planned(bench: Bench, names: Sequence[Experiment]) -> list[Run]:
    """Every run that the experiments need, shared ones once.

    Args:
        bench: Where the runs are done.
        names: The experiments.
    """
    return bench.grid.runs(want for name in names for want in PARTS[name].wants(bench.options))


def plan(bench: Bench, names: Sequence[Experiment]) -> dict[str, Any]:
    """The grid with its time as far as earlier runs tell it; nothing is trained.

    Args:
        bench: Where the runs would be done.
        names: The experiments.

    Returns:
        What `regaze reproduce --plan --json` prints; `seconds` is None where no earlier run tells.
    """
    runs = planned(bench, names)
    waiting = expect(bench, runs)
    known = [seconds for seconds in waiting.values() if seconds is not None]
    return {
        "experiments": list(names),
        "runs": [_line(run, waiting) for run in runs],
        "n_runs": len(runs),
        "n_done": len(runs) - len(waiting),
        "seconds": round(sum(known), 1) if len(known) == len(waiting) else None,
        "sources": ["earlier runs"] if known else [],
    }


def reproduce(bench: Bench, names: Sequence[Experiment], markdown: Path | None) -> dict[str, Any]:
    """Do what is not done yet, and write each experiment.

    Called by several processes for one folder, they share the runs, and each writes the experiments.

    Args:
        bench: Where the runs are done.
        names: The experiments.
        markdown: A page that gets each experiment as a marked section, or None.

    Returns:
        `experiments`: name -> its JSON; `files`: what was written.
    """
    _check_folder(bench, names)
    if markdown is not None:
        read_page(markdown)  # a page that cannot be read says so now, and not after hours
    runs = planned(bench, names)
    bench.check(runs)
    bench.do(runs)
    files: list[Path] = []
    results: dict[str, Any] = {}
    about, heading, common = _about(bench), _heading(bench), _notes(bench, runs)
    with held(bench.locks / "tables", wait=True):  # processes that shared the runs end at the same time
        for name in names:
            outcome = PARTS[name].make(bench)
            mine = [run.id for run in bench.grid.runs(PARTS[name].wants(bench.options))]
            more = about | {"notes": [*outcome.notes, *common], "runs": mine}
            files += outcome.write(bench.to, more, heading, common)
            results[name] = outcome.plain(more)
            if markdown is not None:
                put_section(markdown, f"{name}, {heading}", outcome.markdown(3, heading, common))
                files.append(markdown)
    return {"experiments": results, "files": [str(path) for path in dict.fromkeys(files)]}


def _check_folder(bench: Bench, names: Sequence[Experiment]) -> None:
    """Refuse to write over the tables of other photographs.

    Raises:
        OptionError: The folder holds one of these experiments, made on other data.
    """
    for name in names:
        with suppress(OSError, ValueError, KeyError, TypeError):  # what cannot be read is nobody's table
            earlier = read_json(bench.to / f"{name}.json")
            if earlier["fingerprint"] != bench.dataset.fingerprint:
                raise OptionError(
                    f"--to {bench.to} holds {name} of other photographs ({earlier['data']}): give another folder."
                )


def _line(run: Run, waiting: Mapping[str, float | None]) -> dict[str, Any]:
    line: dict[str, Any] = {"id": run.id, "kind": run.kind, "seed": run.seed, "model": run.model}
    if run.id not in waiting:
        return line | {"done": True}
    seconds = waiting[run.id]
    return line | {"done": False, "seconds": None if seconds is None else round(seconds, 1)}


def _about(bench: Bench) -> dict[str, Any]:
    options = bench.options
    return {
        "data": _data(bench),
        "fingerprint": bench.dataset.fingerprint,
        "options": asdict(options)
        | {
            "data": _data(bench),
            "boxes": None if options.boxes is None else options.boxes.name,
            "images": None if options.images is None else options.images.name,
            "weights": {name: Path(value).name for name, value in options.weights_of().items()},
        },
        "versions": bench.grid.versions,
        "trainings": bench.trainings,
    }


def _data(bench: Bench) -> str:
    """The data's spelling without this machine's folders."""
    kind, _, rest = bench.options.data.partition(":")
    return f"{kind}:{Path(rest).name}" if kind in ("idrid", "folder", "csv") else bench.options.data


def _heading(bench: Bench) -> str:
    return f"{_data(bench)}, {bench.options.size} px"


def _notes(bench: Bench, runs: Sequence[Run]) -> list[str]:
    """What a reader of any of the tables must know."""
    options = bench.options
    part = next(record["part"] for run in runs if (record := bench.record(run)) is not None)
    folds = f", {options.folds} folds pooled" if options.folds > 1 else ""
    folds += f", split by {options.split_words}" if options.split_by != "patient" else ""
    word = unit_word(bench.dataset)
    folds += "" if unit(bench.dataset) == "patient" else f", no {words_of(bench.dataset).patient} known"
    seeds = f"{options.seeds} seed{'s' if options.seeds > 1 else ''}"
    weights = options.weights_of()
    used = {run.cell.backbone for run in runs}
    scratch = [name for name, value in weights.items() if value == "none" and name in used]
    given = [f"{name} from {Path(value).name}" for name, value in weights.items() if value != "none" and name in used]
    start = "; ".join([*given, *([f"{', '.join(scratch)} from scratch"] if scratch else [])])
    notes = [
        f"Judged on the {part} part: about {bench.n_judged} photographs per seed, {seeds}{folds}, {options.size} px, "
        f"{options.epochs} epochs and {options.finetune_epochs} of fine-tuning. Weights: {start}.",
        "Mean of the seeds' figures; 95 % intervals (paired for differences) are Student's, of the variances that "
        f"{word}s and seeds each add.",
    ]
    if bench.trainings == 1:
        notes.append(f"One training run per model: intervals are over {word}s alone, and no claim is decided.")
    elif bench.trainings < FEWEST_SEEDS:
        notes.append(f"{bench.trainings} training runs per model: no claim is decided below {FEWEST_SEEDS}.")
    return notes
