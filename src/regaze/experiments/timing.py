"""How long a grid will take: from the seconds of earlier runs where there are any, else from a short probe.

The probe takes the recipes' own steps, on random pictures and a network that is thrown away, and counts the fastest:
what a call costs once, and moments when other processes had the machine, do not enter.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regaze.experiments.plan import Cell, Kind, Run
from regaze.experiments.runs import Bench
from regaze.files import read_json
from regaze.models.build import build_network
from regaze.models.features import TURNS, FeatureCache
from regaze.models.options import NetworkOptions
from regaze.models.predictor import Predictor
from regaze.training.batches import TrainingSet
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import finetune, train_phase1

_VIEWS = {"plain": 2, "single-scale": 2, "multi-scale": 9}  # maps and controls that are deleted and inserted
_STEPS = 5  # of the probe, of which the first warms up
_MEAN, _STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Expected:
    """A run that is still to be done.

    Attributes:
        run: The run.
        seconds: What it should take.
        source: `earlier runs` or `probe`.
    """

    run: Run
    seconds: float
    source: str


def expect(bench: Bench, runs: Sequence[Run]) -> list[Expected]:
    """The runs that are not done yet, with the time that each should take."""
    known = _earlier(bench)
    rates: dict[tuple[str, str], tuple[float, float, float]] = {}
    found = []
    collected: set[tuple[int, str]] = set()
    for run in runs:
        first = run.kind == "finetune" and (run.seed, run.parent) not in collected
        collected |= {(run.seed, run.parent)} if first else set()
        if bench.record(run) is not None:
            continue
        key: Key = (_stage(run.kind, run.cell.share), run.cell.backbone, run.cell.network)
        if key in known:
            found.append(Expected(run, float(np.median(known[key])) * bench.units(run.kind), "earlier runs"))
            continue
        if key[1:] not in rates:
            rates[key[1:]] = probe(bench, run.cell)
        found.append(Expected(run, _from_probe(bench, run, rates[key[1:]], first), "probe"))
    return found


def _stage(kind: Kind, share: float | None) -> str:
    """What makes runs alike in time: maps cost more after fine-tuning, when they are deleted and inserted too."""
    return f"{kind}{'' if share is None else ', fine-tuned'}"


def probe(bench: Bench, cell: Cell) -> tuple[float, float, float]:
    """Seconds per photograph of a step of phase 1, of a step of fine-tuning (0 for plain), and of a forward pass."""
    asked, classes = bench.options, len(bench.dataset.classes)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (asked.batch, asked.size, asked.size, 3), dtype=np.uint8))
    look = torch.zeros(images.shape[:3], dtype=torch.bool)
    look[:, :8, :8] = True
    # A batch of photographs, so that an epoch is one step.
    data = TrainingSet(images, torch.arange(asked.batch) % classes, look, torch.ones(asked.batch))
    network = build_network(NetworkOptions(cell.network, cell.backbone), classes, asked.size).network
    marks: list[float] = []

    def mark(*_: object) -> None:
        marks.append(time.monotonic())

    with tempfile.TemporaryDirectory() as scratch:
        common: dict[str, Any] = {
            "classes": classes,
            "ordinal": bench.dataset.ordinal,
            "normalisation": (_MEAN, _STD),
            "seed": 0,
            "machine": bench.machine,
            "checkpoint": Path(scratch) / "checkpoint.safetensors",
            "progress": mark,
        }
        train_phase1(network, data, TrainingOptions(epochs=_STEPS, batch=asked.batch), **common)
        training = _fastest(marks)
        tuning = 0.0
        if cell.network != "plain":
            marks.clear()
            options = FinetuneOptions(epochs=_STEPS, batch=asked.batch, augment="none", replay=1.0)
            cache = FeatureCache(Path(scratch) / "features", 10**9)
            finetune(network, data, options, TrainingOptions(), cache=cache, **common)
            tuning = _fastest(marks)
    predictor = Predictor(network, _MEAN, _STD, "argmax", bench.machine)
    rows = predictor.normalise(images.numpy())
    marks.clear()
    for _ in range(_STEPS):
        predictor.scores(rows)
        mark()
    return training / asked.batch, tuning / asked.batch, _fastest(marks) / asked.batch


def _fastest(marks: Sequence[float]) -> float:
    return min(after - before for before, after in pairwise(marks))


def _from_probe(bench: Bench, run: Run, rates: tuple[float, float, float], first: bool) -> float:
    training, tuning, forward = rates
    asked = bench.options
    if run.kind == "phase1":
        return training * bench.units("phase1")
    if run.kind == "finetune":
        # The first from its parent also collects the training part's maps and fills the cache, turn by turn.
        turns = min(TURNS, asked.finetune_epochs) + 1 if first else 0
        return tuning * bench.units("finetune") + forward * turns * bench.n_training * asked.folds
    # On a test part every fold's model measures every photograph.
    models = asked.folds if any(sample.part == "test" for sample in bench.dataset.samples) else 1
    passes = bench.n_judged
    if run.kind == "maps" and run.cell != Cell(run.cell.backbone, "multi-scale"):
        rows = 3 + 2 * (asked.steps - 1) * _VIEWS[run.cell.network]
        passes += rows * min(asked.faithfulness, bench.n_judged)
    return forward * models * passes


def _earlier(bench: Bench) -> dict[Key, list[float]]:
    """Seconds per unit of size of earlier runs at this size of picture that were done in one go."""
    found: dict[Key, list[float]] = {}
    for file in sorted((bench.to / "runs").glob("*.json")):
        try:
            record = read_json(file)
            if record["fresh"] and record["pixels"] == bench.options.size:
                key: Key = (_stage(record["kind"], record["share"]), *record["cell"])
                found.setdefault(key, []).append(record["seconds"] / record["units"])
        except (ValueError, KeyError, TypeError, OSError):
            continue
    return found
