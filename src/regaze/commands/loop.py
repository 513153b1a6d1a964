"""The commands of the whole loop and of the report on it; `run.json` beside the study holds the last run.

Importing this module imports no torch.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from regaze.commands.base import Command, Result, StudyCommand, StudyFolder
from regaze.errors import OptionError, RegazeError, StudyError
from regaze.files import restored, typed
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.options import EvaluateOptions, LoopOptions, StudyOptions, option_words
from regaze.training.options import TrainingOptions
from regaze.words import words_of


@dataclass(frozen=True, kw_only=True)
class Report(StudyCommand):
    """The report is one HTML file without outside resources."""

    to: Path | None = None
    """File of the report; default: report.html in the study's folder."""
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Write the report."""
        from regaze.report.assemble import assemble, compared_models
        from regaze.report.page import write_report
        from regaze.report.templates import check_page_file
        from regaze.study.assessment.summary import evaluate

        study = self.open()
        file = self.to or study.path / "report.html"
        check_page_file(file, "report.html")  # like the next line, before anything is judged
        compared_models(study)
        stored = _stored_run(study.path)
        commands = [*([] if stored is None else stored[:1]), f"regaze report {self.folder}"]
        assessment = evaluate(study, self.evaluate, self.machine)
        content = assemble(study, assessment, self.machine, commands)
        path = write_report(content, file)
        self.say(f"report: {path}")
        return {"report": str(path)}, 0


@dataclass(frozen=True, kw_only=True)
class Run(LoopOptions, Command):
    """Runs init, train, collect, select, correct, finetune (and its control), evaluate and report.

    Without --data it goes on with the study's last run.
    """

    folder: StudyFolder
    """Folder of the study; made if it does not exist."""
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Do the whole loop."""
        from regaze.commands.tables import table
        from regaze.report.assemble import assemble
        from regaze.report.page import write_report
        from regaze.study.assessment.overlap import refuse_copies
        from regaze.study.assessment.summary import evaluate
        from regaze.study.check import check_options
        from regaze.study.folder import create_study
        from regaze.study.steps.run import check_loop, check_photographs, run_loop

        if not self.study.data:
            return self._go_on()
        check_loop(self)
        check_options(self.evaluate)
        study = create_study(self.folder, self.study, self.voice(), lambda dataset: check_photographs(dataset, self))
        if not self.evaluate.allow_overlap:
            refuse_copies(study.dataset)
        command = _command_line(self)
        with _storing_run(study.path, self, command):
            models = run_loop(study, self, self.machine)
        assessment = evaluate(study, self.evaluate, self.machine)
        report = None
        if models.after is not None:
            content = assemble(study, assessment, self.machine, [command])
            report = str(write_report(content, study.path / "report.html"))
        if not self.output.json:
            table(assessment.figures, words_of(study.dataset))
            plain = self.network.network == "plain"
            why = "a plain network has no maps to correct" if plain else "no photograph needed a correction"
            self.say(f"report: {report}" if report else f"no report: {why}")
        return {**assessment.figures, "report": report, **asdict(models)}, 0

    def _go_on(self) -> Result:
        """Take up the study's last run with the options it had."""
        stored = _stored_run(self.folder)
        if stored is None:
            raise StudyError(f"{self.folder} has no earlier run to go on with: pass --data.")
        ignored = _given(self, Run(folder=self.folder))
        if ignored:
            raise OptionError(
                f"{' '.join(ignored)} without --data: a run that goes on takes the options that it began with; "
                "leave them out, or pass --data too."
            )
        return replace(stored[1], folder=self.folder, output=self.output).run()


@contextmanager
def _storing_run(folder: Path, run: Run, command: str) -> Iterator[None]:
    """Keep the run's options beside the study while the block runs and after it, for a later call without options.

    A run that is refused is not what `regaze run STUDY` should go on with: then the file is as before.
    """
    from regaze.files import write_json, write_text

    file = folder / "run.json"
    before = file.read_text(encoding="utf-8") if file.is_file() else None
    write_json(file, {"command": command, "options": _plain(run)})
    try:
        yield
    except RegazeError:
        if before is None:
            file.unlink()
        else:
            write_text(file, before)
        raise


def _stored_run(folder: Path) -> tuple[str, Run] | None:
    """The command line and the options of the study's last run; None where there was none.

    Raises:
        StudyError: run.json is damaged.
    """
    from regaze.files import read_json

    file = folder / "run.json"
    if not file.is_file():
        return None
    try:
        values = read_json(file)
        return str(values["command"]), _command_from(values["options"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{file} is damaged ({error}): pass --data and the options of the run again.") from error


def _given(run: Run, usual: Run) -> list[str]:
    """The options of `run` that differ from those of `usual`, as words of a command line."""
    study, *others = ((getattr(run, name), getattr(usual, name)) for name in _PARTS)
    words = option_words(*study)
    # Groups of options are read by themselves; inside a group, `network` is an option like any other.
    words += option_words(run, usual, (*_PARTS, "output", "folder"))
    return words + [word for pair in others for word in option_words(*pair)]


def _command_line(run: Run) -> str:
    """The command that does this run again, however it was called (`regaze demo`, or `regaze run` to go on)."""
    return shlex.join(["regaze", "run", str(run.folder), *_given(run, Run(folder=run.folder))])


def _plain(run: Run) -> dict[str, Any]:
    values = asdict(run)
    return run.study.plain() | {key: values[key] for key in values if key not in ("output", "folder", "study")}


# A run's groups of options: name -> class.
_PARTS: dict[str, Any] = {
    name: kind for name, kind in get_type_hints(Run).items() if is_dataclass(kind) and name != "output"
}


def _command_from(values: dict[str, Any]) -> Run:
    for part, old, new in (("select", "rule", "by"), ("evaluate", "controls", "reference_rankings")):
        if old in values[part]:  # as an older version called it
            values[part][new] = values[part].pop(old)
    names = [item.name for item in fields(StudyOptions) if item.name in values]  # an older version had fewer
    study = StudyOptions.from_plain({name: values.pop(name) for name in names})
    kinds = get_type_hints(Run)
    built = {
        key: restored(_PARTS[key], value) if key in _PARTS else typed(kinds[key], value)
        for key, value in values.items()
    }
    return Run(folder=Path(), study=study, **built)


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """If fine-tuning did not help, the table and the report say so."""

    folder: Path = Path("demo")
    """Folder of the demo's study; an interrupted demo there goes on where it stopped."""
    photographs: int = 320
    """Number of synthetic photographs."""
    seed: int = 0
    """Seed of the photographs, the split, the initial weights and the augmentation."""
    weights: str = "none"
    """none: from scratch. hub (needs a network) or a .safetensors file of ResNet18: start from those."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16, fp32, or auto: bf16 where the processor computes it natively, else fp32."""

    def run(self) -> Result:
        """Run the loop on a synthetic set small enough for two cores and five minutes."""
        command = Run(
            folder=self.folder,
            study=StudyOptions(data=f"synthetic-simple:{self.photographs}", size=128, seed=self.seed),
            network=NetworkOptions(backbone="resnet18", weights=self.weights),
            training=TrainingOptions(epochs=30),
            finetune_epochs=8,
            evaluate=EvaluateOptions(steps=8),  # ten orders on 24 photographs, three models: 10 000 forward passes
            machine=MachineOptions(precision=self.precision),
            output=self.output,
        )
        return command.run()
