"""The commands about a study's rounds and about corrections of other tools. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from regaze.commands.base import Result, StudyCommand
from regaze.models.options import MachineOptions
from regaze.study.options import EvaluateOptions
from regaze.words import words_of

FormatName = Literal["png", "coco", "yolo", "label-studio", "cvat"]


@dataclass(frozen=True, kw_only=True)
class Rounds(StudyCommand):
    """Judged on the fixed validation part; a round is credited with what exceeds its control alone."""

    resamples: int = EvaluateOptions.resamples
    """Bootstrap resamples of each interval, 1 or more."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """List the rounds."""
        from regaze.commands.tables import rounds_table
        from regaze.study.assessment.rounds import advice, rounds
        from regaze.study.check import check_value

        check_value("resamples", self.resamples)
        study = self.open()
        history = rounds(study, self.machine, self.resamples)
        by_root: dict[str, list[Any]] = {}
        for item in history:
            by_root.setdefault(item.parent or item.model, []).append(item)
        advices = {root: advice(items, words_of(study.dataset).patient) for root, items in by_root.items()}
        if not self.output.json:
            rounds_table(by_root, advices, words_of(study.dataset))
        return {"rounds": [asdict(item) for item in history], "advice": advices}, 0


@dataclass(frozen=True, kw_only=True)
class Use(StudyCommand):
    """Later commands use the active model unless --model names another. No model is deleted."""

    which: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ROUND|STR")]
    """Name of a model, or number of a round as `regaze rounds` shows it."""

    def run(self) -> Result:
        """Choose a round."""
        from regaze.study.assessment.rounds import use

        study = self.open()
        name = use(study, self.which)
        folder = str(study.model_folder(name, 0).parent)
        self.say(f"active model: {name}, {folder}")
        return {"model": name, "folder": folder}, 0


@dataclass(frozen=True, kw_only=True)
class Export(StudyCommand):
    """Most formats turn strokes into masks, and YOLO holds boxes only; the output says what is lost."""

    to: Path
    """New file (coco, label-studio, cvat) or folder (png, yolo)."""
    format: FormatName = "png"
    """png: masks with corrections.json beside them. coco, yolo, label-studio, cvat: the format of that tool."""
    model: str | None = None
    """Only corrections of this model's maps; default: all corrections."""
    image_prefix: str = ""
    """Written before each photograph's name (label-studio, coco, cvat), for example /data/local-files/?d=photos/."""

    def run(self) -> Result:
        """Export."""
        from regaze.study.steps.exchange import export_corrections, format_named

        study = self.open()
        count = export_corrections(study, self.to, self.format, self.model, self.image_prefix)
        loses = format_named(self.format).loses
        self.say(f"{count} corrections written to {self.to} ({self.format}: {loses})")
        return {"written": count, "to": str(self.to), "format": self.format, "loses": loses}, 0


@dataclass(frozen=True, kw_only=True)
class Import(StudyCommand):
    """What marks no area is left out and counted; a file with a mistake is refused, with its line or JSON path.

    What the study holds already is not written again.
    """

    path: Annotated[Path, tyro.conf.Positional]
    """File or folder to read."""
    format: FormatName = "png"
    """png, coco, yolo, label-studio or cvat."""
    model: str | None = None
    """Name of the model whose maps were corrected; default: the active model, else multi-scale."""
    author: str | None = None
    """Author of corrections without one in the file; default: the user's login name."""
    skip_unknown: bool = False
    """Pass over pictures that the study has not, and count them; else they refuse the file."""
    drawn_on: Literal["upright", "stored"] | None = None
    """Photographs that EXIF turns were drawn on upright, as tools show them, or as stored; default: as the size in
    the file tells, else upright (png: else refused)."""
    any_value: bool = False
    """png: every value but 0 means look here, as in masks with labels 1, 2, 3."""
    mask_classes: str | None = None
    """png: what values or colours mean, VALUE=NAME,...: 1=MA,2=HE,5=OD or #ff0000=EX; landmarks are left out. Default:
    as labelmap.txt (CVAT) or _classes.csv (Roboflow) in the folder says."""

    def run(self) -> Result:
        """Import."""
        from regaze.corrections.formats.intake import Intake
        from regaze.data.mask_file import value_names
        from regaze.study.active_model import active_model
        from regaze.study.steps.exchange import import_corrections

        study = self.open()
        model = self.model or active_model(study)
        classes = None if self.mask_classes is None else value_names(self.mask_classes)
        intake = Intake(self.skip_unknown, self.drawn_on, self.any_value, classes)
        counts = import_corrections(study, self.path, self.format, model, self.author, intake)
        there = f"{counts['there_already']} there already, " if counts["there_already"] else ""
        self.say(
            f"{counts['read']} corrections read, {counts['written']} written, {there}{counts['set_aside']} set aside "
            "(photographs outside the training part)",
            *intake.notes,
        )
        return {"model": model, **counts, "notes": list(intake.notes), "total": study.store.count()}, 0


@dataclass(frozen=True, kw_only=True)
class Agree(StudyCommand):
    """Dice, intersection over union and kappa over the pixels of the network's input, for each pair of annotators."""

    model: str | None = None
    """Name of the model whose maps were corrected and collected; default: the active model, else multi-scale."""
    tolerance: float = 2.0
    """Distance in pixels of the network's input, 0 or more, within which two marks agree for the tolerant Dice."""
    allow_overlap: bool = False
    """Hold a fine-tuned model to corrections that it learned from, too; the table says of how many photographs."""

    def run(self) -> Result:
        """Compare."""
        from regaze.commands.tables import agreement_table
        from regaze.study.active_model import active_model
        from regaze.study.assessment.experts import agree
        from regaze.study.check import check_value

        check_value("tolerance", self.tolerance)
        study = self.open()
        model = self.model or active_model(study)
        agreement = agree(study, model, self.tolerance, allow_overlap=self.allow_overlap)
        if not self.output.json:
            agreement_table(agreement, words_of(study.dataset))
        return {"model": model, "tolerance": self.tolerance, **asdict(agreement), "verdict": agreement.verdict}, 0


@dataclass(frozen=True, kw_only=True)
class Verify(StudyCommand):
    """Checks every row and their hash chain, every model's weights, and the corrections that each learned from."""

    def run(self) -> Result:
        """Verify; exit code 1 where something is wrong."""
        from regaze.study.verify import verify

        result = verify(self.open())
        self.say(
            f"{result.corrections} corrections, {result.selections} selections, {result.links} links, "
            f"{result.models} model folders",
            *(f"problem: {problem}" for problem in result.problems),
            f"chain: {result.head or 'empty'}",
            f"{len(result.problems) or 'no'} problems found",
        )
        return {**asdict(result), "problems": list(result.problems)}, 1 if result.problems else 0
