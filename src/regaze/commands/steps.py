"""The steps of the loop, one command each. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from regaze.commands.base import Command, Result, StudyCommand, StudyFolder
from regaze.errors import OptionError
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.options import CollectOptions, CorrectOptions, EvaluateOptions, SelectOptions, StudyOptions
from regaze.training.options import FinetuneOptions, SupervisionOptions, TrainingOptions
from regaze.words import words_of

if TYPE_CHECKING:
    from regaze.study.folder import Study


@dataclass(frozen=True, kw_only=True)
class Init(Command):
    """The split is stored; every later command uses it."""

    folder: StudyFolder
    """Folder of the new study."""
    study: StudyOptions

    def run(self) -> Result:
        """Make the study."""
        from regaze.commands.tables import describe
        from regaze.doctor.examine import quick_findings
        from regaze.doctor.finding import HARMS
        from regaze.study.folder import create_study

        study = create_study(self.folder, self.study, self.voice())
        contents, lines = describe(study)
        found = quick_findings(study.dataset, self.study.folds)
        self.say(*lines, *(f"{HARMS[finding.harm]}: {finding.text}" for finding in found))
        self.voice().say(
            f"`regaze check {self.folder}` compares photographs with each other, and classes with all else: shortcuts"
        )
        return contents | {"findings": [{"kind": item.kind, "harm": item.harm, "text": item.text} for item in found]}, 0


@dataclass(frozen=True, kw_only=True)
class Train(StudyCommand):
    """Trains one model per fold. A finished fold is never trained again; an interrupted one goes on."""

    network: NetworkOptions = field(default_factory=NetworkOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    corrections: bool = False
    """Learn grades and maps together from the first step, extractor included, from all corrections so far; photographs
    of the sound class without a marked lesion count as corrected to "nothing to see"."""
    supervision: SupervisionOptions = field(default_factory=SupervisionOptions)
    model: str | None = None
    """With --corrections: name of the phase-1 model whose maps were corrected; default: that of the active model, else
    multi-scale."""
    machine: MachineOptions = field(default_factory=MachineOptions)
    size: int | None = None
    """Side of the network's square input in pixels, 32 to 4096; default: the study's."""
    name: str | None = None
    """The model's name in the study; default: the kind of network; with --corrections the name of the model whose maps
    were corrected and -supervised."""

    def run(self) -> Result:
        """Train."""
        from regaze.study.active_model import active_model
        from regaze.study.assessment.convergence import training_loss, unfinished
        from regaze.study.steps.train import train, train_on_corrections

        if not self.corrections and (self.model is not None or self.supervision != SupervisionOptions()):
            raise OptionError(
                "--model and the options of what is learned from corrections (--map-weight, --teacher-maps ...) need "
                "--corrections: phase 1 learns from grades alone."
            )
        study = self.open()
        network, training, machine = self.network, self.training, self.machine
        if self.corrections:
            parent = self.model or study.require_model(active_model(study)).root
            lesson = self.supervision
            name = train_on_corrections(study, parent, network, training, lesson, machine, self.name, self.size)
        else:
            name = train(study, network, training, machine, self.name, self.size)
        folder, loss = str(study.model_folder(name, 0).parent), training_loss(study, name)
        self.say(f"{name}: trained, {folder}")
        if loss is not None:
            self.say(f"training loss per head: {loss['first']:.2f} -> {loss['last']:.2f} (chance {loss['chance']:.2f})")
        if text := unfinished(study, name):
            study.voice.warn(text)
        return {"model": name, "folds": len(study.folds), "folder": folder, "training_loss": loss}, 0


@dataclass(frozen=True, kw_only=True)
class Collect(StudyCommand):
    """Diagnoses: misgraded; off-target (right grade, map misses the lesions); fine; unknown (lesions not known)."""

    model: str | None = None
    """Name of the model whose maps are collected; default: the active model, else multi-scale."""
    collect: CollectOptions = field(default_factory=CollectOptions)
    html: Path | None = None
    """File of a contact sheet: where the model looked, the worst first, at most 200 photographs."""
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> Result:
        """Collect."""
        from regaze.report.templates import check_page_file
        from regaze.study.active_model import active_model
        from regaze.study.steps.collect import collect

        if self.html is not None:
            check_page_file(self.html, "contact.html")  # before the work
        study = self.open()
        model = self.model or active_model(study)
        counts = collect(study, model, self.machine, self.collect)
        # The stored diagnosis, which scripts read, is not the word for a person.
        shown = [f"{count} {'off-target' if name == 'elsewhere' else name}" for name, count in counts.items()]
        self.say(f"{model}: {', '.join(shown)}")
        folder = str(study.collected_folder(model, 0).parent)
        page = None
        if self.html is not None:
            from regaze.report.contact_page import write_contact_sheet

            page = str(write_contact_sheet(study, model, self.html, self.machine.workers))
            self.say(f"page: {page}")
        return {"model": model, "diagnosis": counts, "folder": folder, "page": page}, 0


@dataclass(frozen=True, kw_only=True)
class Select(StudyCommand):
    """Candidates are the misgraded photographs, those with an off-target map, and those whose lesions are unknown."""

    model: str | None = None
    """Name of the model whose maps are to be corrected; default: the active model, else multi-scale."""
    select: SelectOptions = field(default_factory=SelectOptions)
    author: str | None = None
    """Author of the selection; default: the user's login name."""

    def run(self) -> Result:
        """Select."""
        from regaze.study.active_model import active_model
        from regaze.study.steps.correct import select

        study = self.open()
        model = self.model or active_model(study)
        selections = select(study, model, self.select, self.author)
        for selection in selections:
            self.say(f"{selection.model}: {len(selection.samples)} photographs by {selection.rule}")
            self.say(*(f"  {sample}: {why}" for sample, why in zip(selection.samples, selection.reasons, strict=True)))
        lists = [
            {"model": item.model, "samples": list(item.samples), "reasons": list(item.reasons)} for item in selections
        ]
        return {"model": model, "rule": self.select.by, "selections": lists}, 0


@dataclass(frozen=True, kw_only=True)
class Correct(StudyCommand):
    """A photograph that already has a correction for this model keeps it."""

    model: str | None = None
    """Name of the model whose maps are corrected; default: the active model, else multi-scale."""
    correct: CorrectOptions = field(default_factory=CorrectOptions)

    def run(self) -> Result:
        """Correct."""
        from regaze.study.active_model import active_model
        from regaze.study.steps.correct import correct

        study = self.open()
        model = self.model or active_model(study)
        counts = correct(study, model, self.correct)
        self.say(
            f"{counts['written']} corrections written ({counts['healthy']} of them empty: nothing deserves attention), "
            f"{counts['kept']} kept, {counts['without_knowledge']} photographs left out: no "
            f"{words_of(study.dataset).lesion} in masks or boxes" + (self._of_sound_class(study))
        )
        return {"model": model, **counts, "total": study.store.count()}, 0

    def _of_sound_class(self, study: Study) -> str:
        """What `--healthy` does, or why it has done nothing."""
        lesions = words_of(study.dataset).lesions
        if study.dataset.sound is None:
            return (
                f" (no class is known to be the sound one, so none counts as free of {lesions})" * self.correct.healthy
            )
        return "" if self.correct.healthy else f" (--healthy corrects those of {study.classes[study.dataset.sound]})"


@dataclass(frozen=True, kw_only=True)
class Finetune(StudyCommand):
    """Restarts from the phase-1 model, with all corrections so far; the extractor is frozen, but for --unfreeze."""

    model: str | None = None
    """Name of the phase-1 model; default: that of the active model, else multi-scale."""
    finetuning: FinetuneOptions = field(default_factory=FinetuneOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)
    name: str | None = None
    """The new model's name; default: the phase-1 model's name and -finetuned (-control with --map-weight 0)."""

    def run(self) -> Result:
        """Fine-tune."""
        from regaze.study.active_model import active_model
        from regaze.study.steps.finetune import finetune_model

        study = self.open()
        parent = self.model or study.require_model(active_model(study)).root
        name = finetune_model(study, parent, self.finetuning, self.machine, self.name)
        corrections = study.card(name).corrections
        self.say(f"{name}: fine-tuned on {corrections['n']} corrections, {study.model_folder(name, 0).parent}")
        study.voice.say(
            f"`regaze use {self.folder} {name}` makes it the active model: predict, explain and the next round use it"
        )
        return {"model": name, "parent": parent, "corrections": corrections["n"]}, 0


@dataclass(frozen=True, kw_only=True)
class Evaluate(StudyCommand):
    """Uses the test part of the data if it has one, else the validation part; the output says which."""

    evaluate: EvaluateOptions = field(default_factory=EvaluateOptions)
    machine: MachineOptions = field(default_factory=MachineOptions)
    data: str | None = None
    """Evaluate on this data of the same classes instead: idrid:DIR, folder:DIR, csv:FILE,
    synthetic[:N] or synthetic-simple[:N]."""
    boxes: Path | None = None
    """Folder with a clinician's boxes for --data."""
    patient: str | None = None
    """Column (csv) or regular expression on the file name (folder) that names the patient in --data."""
    image_column: str | None = None
    """Column of --data (csv) with the photographs' names; default: image, or another usual name."""
    label_column: str | None = None
    """Column of --data (csv) with the labels, or one-hot columns joined by commas; default: label, or another usual
    name."""
    images: Path | None = None
    """Folder with the photographs of --data (csv); default: the table's."""

    def run(self) -> Result:
        """Evaluate."""
        from regaze.commands.tables import table
        from regaze.data.columns import TableWish
        from regaze.study.assessment.judge import other_data
        from regaze.study.assessment.summary import evaluate

        if self.boxes is not None and self.data is None:
            raise OptionError(f"--boxes {self.boxes}: needs --data; the study has boxes of its own.")
        study = self.open()
        columns = TableWish(self.image_column, self.label_column, self.images)
        other = other_data(study, self.data, self.boxes, self.patient, columns) if self.data is not None else None
        result = evaluate(study, self.evaluate, self.machine, other).figures
        if not self.output.json:
            table(result, words_of(study.dataset))
        return result, 0
