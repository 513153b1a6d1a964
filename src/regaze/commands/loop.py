"""The commands of the whole loop, and the report on it: what `regaze run` remembers beside the study.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from regaze.commands.base import Command, Result, StudyFolder
from regaze.errors import OptionError, RegazeError, StudyError
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.options import CollectOptions, CorrectOptions, EvaluateOptions, SelectOptions, StudyOptions
from regaze.training.options import FinetuneOptions, TrainingOptions


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """The report is one HTML file without outside resources."""

    folder: StudyFolder
    """Folder of the study."""
    to: Path | None = None
    """File of the report; default: report.html in the study's folder."""
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Write the report."""
        from regaze.report.assemble import assemble, compared_models
        from regaze.report.page import write_report
        from regaze.study.assessment.summary import evaluate
        from regaze.study.folder import open_study

        study = open_study(self.folder, self.voice())
        compared_models(study)  # refuses before anything is judged
        commands = [f"regaze report {self.folder}"]
        stored = _stored_run(study.path)
        if stored is not None:
            commands.insert(0, stored[0])
        assessment = evaluate(study, self.evaluate, self.machine)
        content = assemble(study, assessment, self.machine, commands)
        path = write_report(content, self.to or study.path / "report.html")
        self.say(f"report: {path}")
        return {"report": str(path)}, 0


@dataclass(frozen=True, kw_only=True)
class Run(Command):
    """Runs init, train, collect, select, correct, finetune (and its control), evaluate and report."""

    folder: StudyFolder
    """Folder of the study; made if it does not exist."""
    data: str | None = None
    """Photographs: idrid:DIR, folder:DIR, csv:FILE, synthetic[:N] or synthetic-simple[:N]; default:
    continue the study's last run."""
    boxes: Path | None = None
    """Folder with a clinician's boxes in YOLO format; masks win where a photograph has both."""
    size: int = StudyOptions.size
    """Side of the network's square input in pixels, 32 to 4096 (small lesions need 512; 224 is for quick runs)."""
    folds: int = StudyOptions.folds
    """1: one fixed validation part of 20 %. K: cross-validation, K models per method, pooled validation."""
    seed: int = StudyOptions.seed
    """Seed of the split, the initial weights, the order of the photographs and the augmentation."""
    patient: str | None = None
    """Column (csv) or regular expression on the file name (folder) that names the patient."""
    crop: bool = True
    """Crop to the round field of view; off for photographs without one."""
    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    finetune_epochs: int = FinetuneOptions.epochs
    """Passes over the training part in fine-tuning, 1 or more."""
    map_weight: float = FinetuneOptions.map_weight
    """Weight λ of the map loss, 0 or more."""
    collect: CollectOptions = field(default_factory=CollectOptions)
    select: SelectOptions = field(default_factory=SelectOptions)
    correct: CorrectOptions = field(default_factory=CorrectOptions)
    control: bool = True
    """Also fine-tune a control: equally long, without the map loss."""
    baselines: bool = False
    """Also train the paper's other methods: plain, and single-scale with the same fine-tuning."""
    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Do the whole loop."""
        from regaze.commands.tables import table
        from regaze.report.assemble import assemble
        from regaze.report.page import write_report
        from regaze.study.assessment.summary import evaluate
        from regaze.study.check import check_evaluation
        from regaze.study.folder import create_study
        from regaze.study.steps.run import check_loop, check_photographs, run_loop

        if self.data is None:
            return self._go_on()
        options = StudyOptions(self.data, self.boxes, self.size, self.folds, self.seed, self.patient, self.crop)
        loop = self._loop()
        check_loop(loop)
        check_evaluation(self.evaluate)
        study = create_study(
            self.folder, options, self.voice(), lambda dataset: check_photographs(dataset, loop, self.size)
        )
        command = _command_line(self)
        with _storing_run(study.path, self, command):
            done = run_loop(study, loop, self.machine)
        assessment = evaluate(study, self.evaluate, self.machine)
        report = None
        if done.after is not None:
            content = assemble(study, assessment, self.machine, [command])
            report = str(write_report(content, study.path / "report.html"))
        if not self.output.json:
            table(assessment.figures)
            self.say(f"report: {report}" if report else f"no report: {_why_none(self)}")
        models = {"before": done.before, "after": done.after, "control": done.control}
        return {**assessment.figures, "report": report, **models}, 0

    def _loop(self) -> Any:
        from regaze.study.steps.run import LoopOptions

        finetuning = FinetuneOptions(epochs=self.finetune_epochs, batch=self.training.batch, map_weight=self.map_weight)
        return LoopOptions(
            network=self.network,
            training=self.training,
            finetuning=finetuning,
            collect=self.collect,
            select=self.select,
            correct=self.correct,
            control=self.control,
            baselines=self.baselines,
        )

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
    words: list[str] = []
    for part, default in [(run, usual), *((getattr(run, name), getattr(usual, name)) for name in _PARTS)]:
        for item in fields(part):
            value = getattr(part, item.name)
            # Parts of the run have their own turn; inside a part, `network` is an option like any other.
            if part is run and item.name in (*_PARTS, "output", "folder"):
                continue
            if value == getattr(default, item.name):
                continue
            flag = "from" if item.name == "source" else item.name.replace("_", "-")
            words += (
                [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
            )
    return words


def _command_line(run: Run) -> str:
    """The command that does this run again, however it was called (`regaze demo`, or `regaze run` to go on)."""
    import shlex

    return shlex.join(["regaze", "run", str(run.folder), *_given(run, Run(folder=run.folder))])


def _plain(run: Run) -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(run)
    for key in ("output", "folder"):
        values.pop(key)
    kind, _, rest = str(values["data"]).partition(":")
    if kind in ("idrid", "folder", "csv"):
        values["data"] = f"{kind}:{Path(rest).expanduser().resolve()}"
    values["boxes"] = None if run.boxes is None else str(run.boxes.expanduser().resolve())
    return values


_PARTS: dict[str, type[Any]] = {
    "network": NetworkOptions,
    "training": TrainingOptions,
    "collect": CollectOptions,
    "select": SelectOptions,
    "correct": CorrectOptions,
    "evaluate": EvaluateOptions,
    "machine": MachineOptions,
}


def _why_none(run: Run) -> str:
    if run.network.network == "plain":
        return "a plain network has no maps to correct"
    return "no photograph needed a correction"


def _command_from(values: dict[str, Any]) -> Run:
    for part, old, new in (("select", "rule", "by"), ("evaluate", "controls", "reference_rankings")):
        if old in values[part]:  # as an older version called it
            values[part][new] = values[part].pop(old)
    built = {key: _PARTS[key](**value) if key in _PARTS else value for key, value in values.items()}
    built["boxes"] = None if built["boxes"] is None else Path(built["boxes"])
    return Run(folder=Path(), **built)


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
            data=f"synthetic-simple:{self.photographs}",
            size=128,
            seed=self.seed,
            network=NetworkOptions(backbone="resnet18", weights=self.weights),
            training=TrainingOptions(epochs=40),
            finetune_epochs=8,
            evaluate=EvaluateOptions(steps=16),
            machine=MachineOptions(precision=self.precision),
            output=self.output,
        )
        return command.run()
