"""Does the grid's runs, each once, in study folders below the reproduce folder.

    data/            synthetic photographs, where the data are those
    cache/           decoded photographs and features of frozen extractors, shared by all studies (may be deleted)
    studies/SEED/    a study per seed; figure 7's shares each have a study of their own in shares/MODEL, with the
                     phase-1 model linked in, since corrections are append-only and every share starts from none
    runs/ID.json     what a run found; a run whose file is there is done
    runs/ID.npz      figure 6's photographs and maps
    .locks/          what keeps several processes that work in the folder apart

Invariant: a run's file is written last and whole. A call that was killed leaves at most one run half done, and the
next call goes on from its checkpoint.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from regaze.console import Voice
from regaze.data.sources import load_dataset
from regaze.errors import StudyError
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.plan import TRAINS, Cell, Grid, Kind, Run, Want
from regaze.experiments.run_file import Record, read_run
from regaze.experiments.sharing import shared_out
from regaze.explanation.explainers import require
from regaze.files import held, read_json, replacing_folder, write_json, write_sealed
from regaze.models.build import build_network
from regaze.models.card import read_card, versions
from regaze.models.options import MachineOptions
from regaze.records import Dataset, Sample
from regaze.selection.rules import select as rank
from regaze.study.assessment.given_maps import judge_given_maps
from regaze.study.assessment.judge import judge_model, part_of
from regaze.study.folder import Study, create_study
from regaze.study.options import CorrectOptions, EvaluateOptions
from regaze.study.steps.collect import collect, read_collected
from regaze.study.steps.correct import correct
from regaze.study.steps.finetune import finetune_model
from regaze.study.steps.fold_model import arithmetic, checkpoint_file
from regaze.study.steps.train import train, train_on_corrections
from regaze.study.study_file import DEFAULT_FOLDS


@dataclass
class Bench:
    """Where the runs are done.

    Attributes:
        to: The reproduce folder.
        options: What the user asked for.
        machine: Device and precision.
        voice: Says what is going on.
        dataset: The photographs.
        grid: Makes runs of wishes.
    """

    to: Path
    options: ReproduceOptions
    machine: MachineOptions
    voice: Voice
    dataset: Dataset
    grid: Grid
    _studies: dict[int, Study] = field(default_factory=dict)

    @property
    def locks(self) -> Path:
        """What keeps processes that share the folder apart."""
        return self.to / ".locks"

    @property
    def n_judged(self) -> int:
        """Photographs that the models of one seed are judged on, nearly."""
        test = sum(sample.part == "test" for sample in self.dataset.samples)
        rest = len(self.dataset.samples) - test
        return test or (rest if self.options.folds > 1 else rest // DEFAULT_FOLDS)

    @property
    def trainings(self) -> int:
        """Independent trainings behind each figure: a seed's folds judge different photographs, or the same as one."""
        return self.options.seeds

    def units(self, kind: Kind) -> float:
        """What a run's seconds grow with: photographs shown in training, or photographs (and steps) measured."""
        options = self.options
        if kind in TRAINS:
            epochs = options.finetune_epochs if kind == "finetune" else options.epochs
            parts = options.folds if options.folds > 1 else DEFAULT_FOLDS
            training = sum(sample.part == "training" for sample in self.dataset.samples)
            return max(1, round(training * (parts - 1) / parts) * options.folds * epochs)
        if kind in ("judge", "given"):
            return max(1, self.n_judged)
        return max(1, min(options.faithfulness, self.n_judged) * (options.steps + 1))

    def record(self, run: Run) -> Record | None:
        """What a run found; None where it is not done, its file is damaged, or the model that it trained is gone."""
        try:
            head, record = read_run(self.to / "runs" / f"{run.id}.json")
            if head.id != run.id:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if run.kind in TRAINS and not self._has_models(run) else record

    def _has_models(self, run: Run) -> bool:
        """Whether every fold's model lies in its study."""
        study = self.to / "studies" / self.grid.study_name(run.seed)
        models = (study / "shares" / run.model if run.cell.partial else study) / "models" / run.model
        return all((models / f"fold{fold}" / "model.json").is_file() for fold in range(self.options.folds))

    def check(self, runs: Sequence[Run]) -> None:
        """Make sure that what is still to be done can be done, before hours are spent on what comes first.

        Raises:
            ModelError: A network cannot be built, or its weights do not fit or cannot be reached.
            OptionError: A library that measuring needs is not installed.
            StudyError: A part that is to be corrected, or measured, holds no photograph with known lesions.
        """
        waiting = [run for run in runs if self.record(run) is None]
        for cell in dict.fromkeys(run.cell.parent for run in waiting):
            build_network(self.grid.network(cell), len(self.dataset.classes), self.options.size)
        if any(run.kind == "maps" for run in waiting):
            require("grad-cam")
        for seed in dict.fromkeys(run.seed for run in waiting):
            self._check_lesions(seed, [run for run in waiting if run.seed == seed])

    def _check_lesions(self, seed: int, waiting: Sequence[Run]) -> None:
        study = self.study(seed)
        parts: dict[str, list[Sample]] = {}
        if any(run.cell.share for run in waiting):
            parts |= {f"training part of fold {fold + 1}": study.training(fold) for fold in study.folds}
        if any(run.kind in ("maps", "given") for run in waiting):
            validation = [sample for fold in study.folds for sample in study.validation(fold)]
            parts[f"{part_of(study)} part"] = study.test() or validation
        for part, samples in parts.items():
            if not any(sample.masks or sample.boxes for sample in samples):
                raise StudyError(
                    f"No photograph of the {part} of {self.options.data} (seed {seed}) has known lesions: "
                    "add masks or boxes, or give fewer --folds."
                )

    def do(self, runs: Sequence[Run]) -> None:
        """Do the runs that are not done yet.

        Other processes may do the same at the same time. What starts from one phase-1 model of one seed is one
        process's work (see `sharing`), so that none waits for another's model.
        """
        families: dict[tuple[int, str], list[Run]] = {}
        for run in runs:
            families.setdefault((run.seed, run.parent), []).append(run)
        groups = {f"seed{seed}-{parent}": family for (seed, parent), family in families.items()}
        numbers = {run.id: f"[{number} of {len(runs)}]" for number, run in enumerate(runs, start=1)}

        def done(name: str) -> bool:
            return all(self.record(run) is not None for run in groups[name])

        share = shared_out(list(groups), self.locks, done, self.voice.say)
        with closing(share):  # lets go of the lock also where a run fails
            for run in (run for name in share for run in groups[name]):
                if self.record(run) is None:
                    self.voice.say(f"{numbers[run.id]} {run.title}")
                    self._do_and_record(run)

    def _do_and_record(self, run: Run) -> None:
        study = self.study(run.seed)
        fresh = not any(checkpoint_file(study, run.model, fold).exists() for fold in study.folds)
        start = time.monotonic()
        values = self._do(study, run)
        record: Record = {
            "id": run.id,
            "kind": run.kind,
            "model": run.model,
            "seed": run.seed,
            "cell": [run.cell.backbone, run.cell.network],
            "share": run.cell.share,
            "part": part_of(study),
            "fresh": fresh,
            "seconds": round(time.monotonic() - start, 2),
            "units": self.units(run.kind),
            "pixels": self.options.size,
        }
        write_sealed(self.to / "runs" / f"{run.id}.json", record | values)

    def rows(self, want: Want) -> list[list[Record]]:
        """A wish's records per photograph, one list per seed; all runs must be done."""
        photographs = []
        for seed in range(self.options.seeds):
            record = self.record(self.grid.chain(want, seed)[-1])
            assert record is not None  # do() came before
            photographs.append(record["photographs"])
        return photographs

    def shown(self, want: Want) -> Path:
        """Figure 6's photographs and maps of the first seed."""
        return self.to / "runs" / f"{self.grid.chain(want, 0)[-1].id}.npz"

    def study(self, seed: int) -> Study:
        """The study of one seed, made where it is missing."""
        if seed not in self._studies:
            options = self.options.study(self.dataset.spec, seed)
            path = self.to / "studies" / self.grid.study_name(seed)
            with held(self.locks / path.name, wait=True):  # one process makes it
                study = create_study(path, options, self.voice)
                (self.to / "cache").mkdir(exist_ok=True)
                link(self.to / "cache", path / "cache")
            self._studies[seed] = study
        return self._studies[seed]

    def _do(self, study: Study, run: Run) -> Record:
        if run.kind == "phase1":
            train(study, self.grid.network(run.cell), self.options.training(), self.machine, run.model)
            return {"weights": read_card(study.model_folder(run.model, 0)).details["weights"]}
        home = self._home(study, run)
        if run.kind == "finetune":
            return self._finetune(study, home, run)
        if run.kind == "supervise":
            corrected = self._correct(study, home, run)
            network, supervision = self.grid.network(run.cell), self.options.supervision(run.cell.teacher_maps)
            recipe = self.options.training()
            train_on_corrections(home, run.parent, network, recipe, supervision, self.machine, run.model)
            return {"corrected": corrected}
        if run.kind == "judge":
            rows = judge_model(home, run.model, EvaluateOptions(faithfulness=0), self.machine)
            return {"photographs": [_slim(row) for row in rows]}
        if run.kind == "given":
            return {"photographs": judge_given_maps(home, run.model, self.machine)}
        from regaze.experiments.measure import measure

        shown = self.to / "runs" / f"{run.id}.npz"
        # Before fine-tuning only figure 6 looks at the multi-scale network's maps, and it deletes nothing.
        bare = run.cell == Cell(run.cell.backbone, "multi-scale")
        wanted = 0 if bare else self.options.faithfulness
        return {"photographs": measure(home, run.model, self.machine, wanted, self.options.steps, shown)}

    def _finetune(self, study: Study, home: Study, run: Run) -> Record:
        share = run.cell.share or 0.0
        corrected = self._correct(study, home, run) if share > 0 else 0
        options = self.options.finetuning(self.options.map_weight if share > 0 else 0.0)
        finetune_model(home, run.parent, options, self.machine, run.model)
        return {"corrected": corrected}

    def _correct(self, study: Study, home: Study, run: Run) -> int:
        """Correct a cell's share of the photographs, where that is not done; returns how many are corrected."""
        collect(study, run.parent, self.machine)
        link(study.path / "collected" / run.parent, home.path / "collected" / run.parent)
        put_selection(home, run.parent, run.cell.order, run.cell.share or 0.0)
        counts = correct(home, run.parent, CorrectOptions(source="all"))
        return counts["written"] + counts["kept"]

    def _home(self, study: Study, run: Run) -> Study:
        """The study that holds a model: of a share's a study of its own, so that its corrections lie apart."""
        if not run.cell.partial:
            return study
        home = replace(study, path=study.path / "shares" / run.model)
        if not (home.path / "study.json").is_file():
            write_json(home.path / "study.json", read_json(study.path / "study.json"))
        link(study.path / "models" / run.parent, home.path / "models" / run.parent)
        link(self.to / "cache", home.path / "cache")
        return home


def open_bench(to: Path, options: ReproduceOptions, machine: MachineOptions, voice: Voice) -> Bench:
    """Read the data and get ready; nothing is trained.

    Args:
        to: The reproduce folder.
        options: What the user asked for.
        machine: Device and precision.
        voice: Says what is going on.

    Raises:
        DataError: The data cannot be read.
        StudyError: They say nothing about lesions.
        OptionError: An option is out of range.
    """
    options.check()
    # Synthetic photographs are painted here: by one process.
    synthetic = options.data.startswith("synthetic")
    lock = held(to / ".locks" / "data", wait=True) if synthetic else nullcontext()
    with lock, voice.progress("reading photographs") as feed:
        dataset = load_dataset(
            options.data,
            boxes=options.boxes,
            patient=options.patient,
            split_by=options.split_by,
            columns=options.table_wish,
            labels=options.label_wish,
            mask_classes=options.mask_classes,
            folder=to / "data",
            seed=0,
            progress=feed,
        )
    if not any(sample.origin != "none" for sample in dataset.samples):
        raise StudyError(
            f"{options.data} has neither masks nor boxes to correct maps with: pass --boxes DIR, or add masks."
        )
    if synthetic:
        # A study paints photographs by its own seed; here all seeds see the same ones, by way of their table.
        table = dataset.samples[0].image.parent.parent / "synthetic.csv"
        dataset = load_dataset(f"csv:{table.resolve()}")
    grid = Grid(options, dataset.fingerprint, arithmetic(machine), versions())
    return Bench(to, options, machine, voice, dataset, grid)


def put_selection(study: Study, parent: str, order: str, share: float) -> None:
    """Choose photographs to correct among all training photographs with known lesions, whether or not they need it.

    `select` ranks those that need an expert. Here the pool must be the same for every order and share, or a share
    would mean something else in each; the paper, too, counts in shares of all training photographs.

    Args:
        study: Whose store gets the selection.
        parent: The phase-1 model.
        order: The rule that ranks.
        share: Share of the photographs with known lesions.
    """
    for fold in study.folds:
        pool = [item for item in read_collected(study, parent, fold) if item.enrichment is not None]
        if not pool:
            continue
        chosen = rank(pool, order, share=share, everything=True, seed=study.options.seed, classes=study.classes)
        model = study.fold_name(parent, fold)
        latest = study.store.latest_selection(model)
        request = (f"{order}, lesions known", share, study.options.seed)
        if latest is None or (latest.rule, latest.share, latest.seed, latest.samples) != (*request, chosen.samples):
            study.store.add_selection(
                model, *request, samples=chosen.samples, reasons=chosen.reasons, author="regaze reproduce"
            )


def link(target: Path, path: Path) -> None:
    """Make `path` the same folder as `target`; a copy where the system knows no links.

    Args:
        target: A folder that exists.
        path: Of the link.
    """
    if path.is_symlink() or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(os.path.relpath(target.resolve(), path.parent.resolve()), target_is_directory=True)
    except OSError:
        with replacing_folder(path) as temporary:
            shutil.copytree(target, temporary, dirs_exist_ok=True)


def _slim(row: Record) -> Record:
    """What the figures need of a judge's record."""
    maps = {name: {"squared_error": record["squared_error"]} for name, record in row["maps"].items()}
    kept = ("sample", "patient", "label", "grade", "probabilities")
    return {key: row[key] for key in kept} | {"maps": maps}
