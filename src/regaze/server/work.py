"""A job's own process: `python -m regaze.server.work STUDY JOB KIND MODEL`, started by `server.jobs`.

Every step goes on where an earlier call stopped and makes nothing twice, so a killed job is simply started again.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from regaze.console import Voice, line
from regaze.errors import RegazeError, StudyError
from regaze.files import held, restored
from regaze.models.options import MachineOptions
from regaze.selection.rules import NothingToSelect
from regaze.server.jobs import JobFiles, files_of
from regaze.server.rounds import keep_rounds, kept_round
from regaze.study.assessment.controls import is_control
from regaze.study.folder import Study, open_study
from regaze.study.options import SelectOptions
from regaze.study.steps.collect import collect
from regaze.study.steps.correct import select
from regaze.study.steps.finetune import finetune_model
from regaze.training.options import FinetuneOptions, TrainingOptions

_NICE = 10
_SECONDS = 0.25  # between two lines of progress


class Log:
    """Writes a job's progress, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8")
        self._number = 0
        self._now: dict[str, Any] = {"phase": "starting", "done": 0, "total": 0, "message": ""}
        self._last = 0.0

    def write(self, *, at_once: bool = True, **values: Any) -> None:
        """Say how the job stands: what changed since the last line."""
        self._now |= values
        if not at_once and time.monotonic() - self._last < _SECONDS:
            return
        self._last = time.monotonic()
        self._number += 1
        # One write of one whole line: a reader never takes two lines for one.
        self._stream.write(json.dumps({"n": self._number, **self._now}, allow_nan=False) + "\n")
        self._stream.flush()


class LogVoice(Voice):
    """A voice whose remarks and progress go into a job's log."""

    def __init__(self, log: Log) -> None:
        super().__init__(quiet=True)
        self._log = log

    def say(self, text: str) -> None:
        """Note a remark."""
        self._log.write(message=line(text))

    def warn(self, text: str) -> None:
        """Note a warning."""
        self.say(text)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """Note progress."""
        self._log.write(message=line(label), done=0, total=0)

        def feed(done: int, total: int) -> None:
            self._log.write(at_once=done == total, done=done, total=total)

        yield feed


def work(study: Study, kind: str, model: str, log: Log) -> dict[str, Any]:
    """Do a job.

    Args:
        study: Open.
        kind: `round` or `queue`.
        model: That the page shows.
        log: For the phases.

    Returns:
        What the last line of the log says beside the state.

    Raises:
        RegazeError: A step refuses.
    """
    machine = MachineOptions(workers=1)
    if kind == "queue":
        _new_queue(study, model, machine, log)
        return {"model": model}
    root = study.require_model(model).root
    options = _recipe(study, root)
    log.write(phase="training")
    name = finetune_model(study, root, options, machine)
    log.write(phase="control")
    finetune_model(study, root, options.control(), machine)
    log.write(phase="judging")
    keep_rounds(study, machine)
    _new_queue(study, name, machine, log)
    return {"model": name, "verdict": kept_round(study, name)}


def _recipe(study: Study, root: str) -> FinetuneOptions:
    """How the last round of a line was trained, so that rounds can be compared; else as usual."""
    for name, card in reversed(study.cards().items()):
        if card.root == root and "finetune" in card.recipe and not is_control(study, name):
            found: FinetuneOptions = restored(FinetuneOptions, card.recipe["finetune"])
            return found
    phase1: TrainingOptions = restored(TrainingOptions, study.card(root).recipe["phase1"])
    return replace(FinetuneOptions(), batch=phase1.batch)


def _new_queue(study: Study, model: str, machine: MachineOptions, log: Log) -> None:
    """Collect and select for a model, so that its cases are there when the expert goes on with it."""
    log.write(phase="queue")
    collect(study, model, machine)
    try:
        select(study, model, SelectOptions(more=True))
    except NothingToSelect as reason:
        log.write(message=str(reason))


def main(study: str, job: str, kind: str, model: str) -> int:
    """Do one job to its end, holding its lock."""
    files: JobFiles = files_of(Path(study), int(job))
    with held(files.lock, wait=True):
        if hasattr(os, "nice"):
            os.nice(_NICE)  # the server's what-ifs go first
        log = Log(files.log)
        log.write(state="running", pid=os.getpid())
        try:
            import torch

            torch.set_num_threads(1)
            found = work(open_study(Path(study), LogVoice(log)), kind, model, log)
        except RegazeError as error:
            log.write(state="failed", message=line(error))
            return 1
        except Exception as error:  # noqa: BLE001 - the log is the only way to say it
            traceback.print_exc()
            log.write(state="failed", message=line(f"{type(error).__name__}: {error} (see {files.errors})"))
            return 1
        log.write(state="done", **found)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise StudyError("python -m regaze.server.work STUDY JOB KIND MODEL: started by `regaze serve` alone")
    sys.exit(main(*sys.argv[1:]))
