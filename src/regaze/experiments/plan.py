"""The grid of runs: what has to be trained and measured, each run with an id that says everything that decides it.

Invariant: a run's id is a hash over its options, the data's fingerprint, the versions that compute, and the ids of the
runs that it builds on. Two experiments that need the same run name the same id, so that it is done once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from regaze.experiments.options import ReproduceOptions
from regaze.files import digest, identity
from regaze.models.options import NetworkKind, NetworkOptions, Weighting
from regaze.study.steps.fold_model import weights_identity

Kind = Literal["phase1", "finetune", "supervise", "judge", "maps", "given"]
Learn = Literal["finetune", "train"]
Order = Literal["map-error", "confidence", "random"]
_FORMAT = 3  # of the measured records; raise it when their content changes
TRAINS: frozenset[Kind] = frozenset({"phase1", "finetune", "supervise"})
_VERBS: dict[Kind, str] = {
    "phase1": "train",
    "finetune": "fine-tune",
    "supervise": "train on corrections",
    "judge": "judge",
    "maps": "measure maps of",
    "given": "give other maps to",
}


@dataclass(frozen=True)
class Cell:
    """One model of the grid, whatever the seed.

    Attributes:
        backbone: Its backbone.
        network: plain, single-scale or multi-scale.
        share: None: phase 1. 0: fine-tuned equally long without the map loss (the control). Above: the share of the
            training photographs with known lesions that were corrected.
        order: Which were corrected first; does not matter for none and all.
        weighting: What the map does to the features, see `NetworkOptions`.
        learn: How corrections are learned: by fine-tuning phase 1, or by training anew, from the first step.
        teacher_maps: See `SupervisionOptions`; where `learn` is `train`.
    """

    backbone: str
    network: NetworkKind
    share: float | None = None
    order: Order = "map-error"
    weighting: Weighting = "residual"
    learn: Learn = "finetune"
    teacher_maps: float = 0.0

    @property
    def parent(self) -> Cell:
        """The phase-1 model that it restarts from (itself for phase 1)."""
        return Cell(self.backbone, self.network, weighting=self.weighting)

    @property
    def partial(self) -> bool:
        """True where some but not all photographs were corrected."""
        return self.share is not None and 0 < self.share < 1

    @property
    def name(self) -> str:
        """As models are named, e.g. `resnet18-multi-scale-share30-confidence`."""
        base = f"{self.backbone}-{self.network}{'' if self.weighting == 'residual' else f'-{self.weighting}'}"
        if self.share is None:
            return base
        if self.learn == "train":
            return f"{base}-supervised{f'-teacher{100 * self.teacher_maps:g}' if self.teacher_maps else ''}"
        if self.partial:
            return f"{base}-share{100 * self.share:g}-{self.order}"
        return f"{base}-{'finetuned' if self.share else 'control'}"


@dataclass(frozen=True)
class Want:
    """What an experiment asks for, for every seed: a model judged, its maps measured, or other maps given to it."""

    kind: Literal["judge", "maps", "given"]
    cell: Cell


@dataclass(frozen=True)
class Run:
    """One thing to do.

    Attributes:
        id: 16 hex digits, see the module.
        kind: phase1, finetune and supervise (on corrections, from the first step) train; judge grades photographs that
            the model never saw; maps measures its maps; given grades with other maps than its own.
        seed: Of the study that it belongs to.
        cell: The model.
        model: The model's name in its study: the cell's and the first digits of the id that trained it.
        parent: The name of the phase-1 model (`model` itself for phase 1).
    """

    id: str
    kind: Kind
    seed: int
    cell: Cell
    model: str
    parent: str

    @property
    def title(self) -> str:
        """For a person."""
        return f"{_VERBS[self.kind]} {self.cell.name}, seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """Turns what is wanted into runs.

    Attributes:
        options: What the user asked for.
        fingerprint: Of the data.
        arithmetic: bf16 or fp32.
        versions: Of what decides a result.
    """

    options: ReproduceOptions
    fingerprint: str
    arithmetic: str
    versions: dict[str, str]

    def runs(self, wants: Iterable[Want]) -> list[Run]:
        """All runs in an order in which each finds what it needs, seed by seed, none twice."""
        wanted = list(dict.fromkeys(wants))
        seeds = range(self.options.seeds)
        return list({run.id: run for seed in seeds for want in wanted for run in self.chain(want, seed)}.values())

    def chain(self, want: Want, seed: int) -> list[Run]:
        """The runs behind one wish, the wish itself last.

        Args:
            want: What is asked of a model.
            seed: Of the study.
        """
        runs = self._models(want.cell, seed)
        trained = runs[-1]
        content: list[Any] = [want.kind, _FORMAT, trained.id]
        if want.kind == "maps":
            content += [self.options.faithfulness, self.options.steps]
        return [*runs, Run(digest(content), want.kind, seed, want.cell, trained.model, trained.parent)]

    def _models(self, cell: Cell, seed: int) -> list[Run]:
        network = identity(self.network(cell))
        network["weights"] = weights_identity(network["weights"])
        root = digest([self.study_id(seed), network, identity(self.options.training())])
        parent = _named(cell.parent, root)
        first = Run(root, "phase1", seed, cell.parent, parent, parent)
        if cell.share is None:
            return [first]
        if cell.learn == "train":
            taught = digest([root, cell.share, identity(self.options.supervision(cell.teacher_maps))])
            return [first, Run(taught, "supervise", seed, cell, _named(cell, taught), parent)]
        tuning = identity(self.options.finetuning(self.options.map_weight if cell.share else 0.0))
        tuned = digest([root, cell.share, cell.order if cell.partial else "", tuning])
        return [first, Run(tuned, "finetune", seed, cell, _named(cell, tuned), parent)]

    def network(self, cell: Cell) -> NetworkOptions:
        """What phase 1 builds for a cell: the paper's network, which sees bars, with the cell's weighting."""
        weights = self.options.weights_of()[cell.backbone]
        return NetworkOptions(cell.network, cell.backbone, weights, weighting=cell.weighting, bars="seen")

    def study_id(self, seed: int) -> str:
        """Hash of what all runs of a seed have in common."""
        return digest([self.fingerprint, self._split(), seed, self.arithmetic, self.versions])

    def study_name(self, seed: int) -> str:
        """Name of the study's folder; another size or other data is another folder."""
        data = digest([self.fingerprint, *self._split()])
        return f"seed{seed}-{data[:8]}"

    def _split(self) -> list[Any]:
        """How photographs are read and split; what later versions added counts where it is used."""
        options = self.options
        by = [] if options.split_by == "patient" else [options.split_by]
        colour = [] if options.colour == "none" else [f"colour {options.colour}"]
        return [options.size, options.folds, options.crop, options.patient, *by, *colour]


def _named(cell: Cell, run_id: str) -> str:
    return f"{cell.name}-{run_id[:8]}"
