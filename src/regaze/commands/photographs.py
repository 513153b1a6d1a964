"""The commands without a study: grade photographs, explain them, convert weights. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from regaze.commands.base import Command, Result
from regaze.models.options import MachineOptions


@dataclass(frozen=True, kw_only=True)
class Convert(Command):
    """Nothing in the file is run: a process of its own loads tensors, and refuses all else."""

    file: Annotated[Path, tyro.conf.Positional]
    """Pickled weights, as torch.save wrote them: .pth, .pt, .bin, .tar."""
    to: Path | None = None
    """The new file; default: beside it, with the suffix .safetensors."""

    def run(self) -> Result:
        """Convert."""
        from regaze.models.convert import convert

        made = convert(self.file, self.to)
        self.say(f"{made}: pass it with --weights {made}")
        return {"file": str(made)}, 0


@dataclass(frozen=True, kw_only=True)
class Predict(Command):
    """Writes an overlay and the maps of each photograph. A broken file is reported and skipped (exit code 1)."""

    model: Annotated[Path, tyro.conf.Positional]
    """Model folder, e.g. STUDY/models/multi-scale-finetuned/fold0, or a study: its active model."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Photographs, or folders of them."""
    out: Path = Path("predictions")
    """Folder for overlays (PNG, the map laid back on the photograph), maps and evidence (npz) and predictions.json."""
    batch: int = 32
    """Photographs per step, 1 or more."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Predict."""
        from regaze.photographs.predict import predict_files
        from regaze.study.active_model import model_folder

        voice, model = self.voice(), model_folder(self.model)
        kept: list[dict[str, Any]] = []
        lines: list[str] = []

        def each(item: dict[str, Any]) -> None:
            if self.output.json:  # one object
                kept.append(item)
            else:
                lines.append(f"{item['file']}: {item['class']} ({item['confidence']:.2f})")

        result = predict_files(model, self.images, self.out, self.machine, self.batch, voice, each)
        voice.say(f"model: {result['model']}")
        if lines:
            self.say(*lines)
        return result | {"predictions": kept}, 1 if result["failed"] else 0


@dataclass(frozen=True, kw_only=True)
class Explain(Command):
    """Writes one panel: each photograph, and beside it one heat map per explainer and model, on one colour scale."""

    model: Annotated[Path, tyro.conf.Positional]
    """Model folder, e.g. STUDY/models/multi-scale-finetuned/fold0, or a study: its active model."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Photographs."""
    by: str | None = None
    """Explainers, joined by commas; default: all fast ones that suit the model and are installed. Attention networks:
    attention, scale1, scale2 ..., evidence (for and against the class). Plain ones: cam. All: grad-cam, grad-cam++,
    layer-cam; slow: integrated-gradients, occlusion, rise."""
    to: Path = Path("panel.png")
    """File of the panel, .png, .webp or .jpg; an existing file is replaced."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Name of the class to explain; default: the most probable of each photograph."""
    beside: tuple[Path, ...] = ()
    """Other models, whose heat maps stand beside the first one's, e.g. before and after fine-tuning."""
    mask: tuple[Path, ...] = ()
    """Lesion masks, drawn as outlines; with one photograph only."""
    batch: int = 16
    """Photographs per step, 1 or more."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Explain."""
        from regaze.photographs.explain import explain_files
        from regaze.study.active_model import model_folder

        voice = self.voice()
        models = [model_folder(path) for path in (self.model, *self.beside)]
        result = explain_files(
            models, self.images, self.by, self.to, self.class_name, self.mask, self.machine, self.batch, voice
        )
        for answer in (result, *result["beside"]):
            voice.say(f"model: {answer['model']}")
            for item in answer["photographs"]:
                explained = f", explained: {item['explained']}" if item["explained"] is not None else ""
                self.say(f"{item['file']}: {item['class']} ({item['confidence']:.2f}){explained}")
        self.say(f"{', '.join(result['explainers'])}: {result['panel']}")
        return result, 0


@dataclass(frozen=True, kw_only=True)
class WhatIf(Command):
    """Prints probabilities with the model's own map, with the given one, and with as much attention in its own places.

    The last column is the model's own map times a factor: what it changes too is owed to the amount of attention and
    not to its place. Writes one panel.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """Model folder, e.g. STUDY/models/multi-scale-finetuned/fold0, or a study: its active model."""
    photo: Annotated[Path, tyro.conf.Positional]
    """A photograph."""
    map: Path | None = None
    """Grey picture (8 bits) of the photograph's size, upright as viewers show it: black is no attention, white is 1.
    Each map cell takes the brightest of its pixels."""
    correction: int | None = None
    """Number of a stored correction of this photograph: the map that it teaches."""
    study: Path | None = None
    """Study that holds the correction; default: the one given as model."""
    to: Path = Path("what-if.png")
    """File of the panel, .png, .webp or .jpg; an existing file is replaced."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Ask."""
        from regaze.commands.tables import what_if_table
        from regaze.photographs.what_if import what_if_file
        from regaze.study.active_model import model_folder

        marks = self._marks()
        result = what_if_file(model_folder(self.model), self.photo, marks, self.to, self.machine)
        self.voice().say(f"model: {result['model']}")
        if not self.output.json:
            what_if_table(result)
        return result, 0

    def _marks(self) -> Any:
        """The map's file, or the correction."""
        from regaze.errors import OptionError
        from regaze.photographs.what_if import check_photograph
        from regaze.study.folder import open_study

        if (self.map is None) == (self.correction is None):
            raise OptionError("Give what the model should look at: one of --map FILE and --correction NUMBER.")
        if self.correction is None:
            return self.map
        folder = self.study or self.model
        if not (folder / "study.json").is_file():
            raise OptionError(f"--correction {self.correction}: {folder} is no study, pass --study STUDY.")
        study = open_study(folder, self.voice())
        correction = study.store.correction(self.correction)
        images = {sample.id: sample.image for sample in study.dataset.samples}
        check_photograph(correction, self.photo, images[correction.sample])
        return correction
