"""The commands about a study's rounds and about corrections of other tools. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from regaze.commands.base import Command, Result, StudyFolder
from regaze.models.options import MachineOptions
from regaze.study.options import EvaluateOptions

FormatName = Literal["png", "coco", "yolo", "label-studio", "cvat"]


@dataclass(frozen=True, kw_only=True)
class Rounds(Command):
    """Rounds are compared on the fixed validation part, by the 95 % interval of the paired difference."""

    folder: StudyFolder
    """Folder of the study."""
    resamples: int = EvaluateOptions.resamples
    """Bootstrap resamples of each interval, 1 or more."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """List the rounds."""
        from regaze.commands.tables import rounds_table
        from regaze.study.assessment.rounds import advice, rounds
        from regaze.study.check import check_value
        from regaze.study.folder import open_study

        check_value("resamples", self.resamples)
        study = open_study(self.folder, self.voice())
        found = rounds(study, self.machine, self.resamples)
        histories: dict[str, list[Any]] = {}
        for one in found:
            histories.setdefault(one.parent or one.model, []).append(one)
        advices = {root: advice(history) for root, history in histories.items()}
        if not self.output.json:
            rounds_table(histories, advices)
        return {"rounds": [asdict(one) for one in found], "advice": advices}, 0


@dataclass(frozen=True, kw_only=True)
class Use(Command):
    """Later commands use the active model unless --model names another. No model is deleted."""

    folder: StudyFolder
    """Folder of the study."""
    which: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ROUND|STR")]
    """Name of a model, or number of a round as `regaze rounds` shows it."""

    def run(self) -> Result:
        """Choose a round."""
        from regaze.study.assessment.rounds import use
        from regaze.study.folder import open_study

        study = open_study(self.folder, self.voice())
        name = use(study, self.which)
        self.say(f"active model: {name}, {study.model_folder(name, 0).parent}")
        return {"model": name, "folder": str(study.model_folder(name, 0).parent)}, 0


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Most formats turn strokes into masks, and YOLO holds boxes only; the output says what is lost."""

    folder: StudyFolder
    """Folder of the study."""
    to: Path
    """New file (coco, label-studio, cvat) or folder (png, yolo)."""
    format: FormatName = "png"
    """png: masks with corrections.json beside them. coco, yolo, label-studio, cvat: the format of that tool."""
    model: str | None = None
    """Only corrections of this model's maps; default: all corrections."""

    def run(self) -> Result:
        """Export."""
        from regaze.study.folder import open_study
        from regaze.study.steps.exchange import export_corrections, format_named

        study = open_study(self.folder, self.voice())
        count = export_corrections(study, self.to, self.format, self.model)
        loses = format_named(self.format).loses
        self.say(f"{count} corrections written to {self.to} ({self.format}: {loses})")
        return {"written": count, "to": str(self.to), "format": self.format, "loses": loses}, 0


@dataclass(frozen=True, kw_only=True)
class Import(Command):
    """A file with a mistake is refused as a whole; the error names the line, in JSON the path, of the mistake."""

    folder: StudyFolder
    """Folder of the study."""
    path: Annotated[Path, tyro.conf.Positional]
    """File or folder to read."""
    format: FormatName = "png"
    """png, coco, yolo, label-studio or cvat."""
    model: str | None = None
    """Name of the model whose maps were corrected; default: the active model, else multi-scale."""
    author: str | None = None
    """Author of corrections without one in the file; default: the user's login name."""

    def run(self) -> Result:
        """Import."""
        from regaze.study.active_model import model_or_default
        from regaze.study.folder import open_study
        from regaze.study.steps.exchange import import_corrections

        study = open_study(self.folder, self.voice())
        model = model_or_default(study, self.model)
        counts = import_corrections(study, self.path, self.format, model, self.author)
        self.say(
            f"{counts['read']} corrections read, {counts['written']} written, {counts['set_aside']} set aside "
            "(photographs outside the training part)"
        )
        return {"model": model, **counts, "total": study.store.count()}, 0


@dataclass(frozen=True, kw_only=True)
class Agree(Command):
    """Dice, intersection over union and kappa over the pixels of the network's input, for each pair of annotators."""

    folder: StudyFolder
    """Folder of the study."""
    model: str | None = None
    """Name of the model whose maps were corrected and collected; default: the active model, else multi-scale."""
    tolerance: float = 2.0
    """Distance in pixels of the network's input, 0 or more, within which two marks agree for the tolerant Dice."""

    def run(self) -> Result:
        """Compare."""
        from regaze.commands.tables import agreement_table
        from regaze.study.active_model import model_or_default
        from regaze.study.assessment.experts import agree
        from regaze.study.check import check_value
        from regaze.study.folder import open_study

        check_value("tolerance", self.tolerance)
        study = open_study(self.folder, self.voice())
        model = model_or_default(study, self.model)
        pairs = agree(study, model, self.tolerance)
        if not self.output.json:
            agreement_table(pairs)
        return {"model": model, "tolerance": self.tolerance, "pairs": [asdict(pair) for pair in pairs]}, 0


@dataclass(frozen=True, kw_only=True)
class Verify(Command):
    """Checks every row and their hash chain, every model's weights, and the corrections that each learned from."""

    folder: StudyFolder
    """Folder of the study."""

    def run(self) -> Result:
        """Verify; exit code 1 where something is wrong."""
        from regaze.study.folder import open_study
        from regaze.study.verify import verify

        study = open_study(self.folder, self.voice())
        found = verify(study)
        self.say(
            f"{found.corrections} corrections, {found.selections} selections, {found.links} links, "
            f"{found.models} model folders",
            *(f"problem: {problem}" for problem in found.problems),
            f"chain: {found.head or 'empty'}",
            "no problems found" if not found.problems else f"{len(found.problems)} problems found",
        )
        return {**asdict(found), "problems": list(found.problems)}, 1 if found.problems else 0
