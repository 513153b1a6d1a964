"""How long a grid will take: from the seconds of earlier runs where there are any, else from a short probe.

The probe takes the recipes' own steps, on random pictures and a network that is thrown away. It is an upper bound for
fine-tuning, whose features runs with one phase 1 share through the cache.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regaze.experiments.plan import Cell, Kind, Run
from regaze.experiments.runs import Bench
from regaze.files import read_json
from regaze.models.build import build_network
from regaze.models.options import NetworkOptions
from regaze.models.predictor import Predictor
from regaze.training.batches import TrainingSet
from regaze.training.options import FinetuneOptions, TrainingOptions
from regaze.training.recipes import finetune, train_phase1

_VIEWS = {"plain": 2, "single-scale": 2, "multi-scale": 9}  # maps and controls that are deleted and inserted
_BATCHES = 2  # of the probe, after one that warms up
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
    for run in runs:
        if bench.record(run) is not None:
            continue
        key: Key = (_stage(run.kind, run.cell.share), run.cell.backbone, run.cell.network)
        if key in known:
            found.append(Expected(run, float(np.median(known[key])) * bench.units(run.kind), "earlier runs"))
            continue
        if key[1:] not in rates:
            rates[key[1:]] = probe(bench, run.cell)
        found.append(Expected(run, _from_probe(bench, run, rates[key[1:]]), "probe"))
    return found


def _stage(kind: Kind, share: float | None) -> str:
    """What makes runs alike in time: maps cost more after fine-tuning, when they are deleted and inserted too."""
    return f"{kind}{'' if share is None else ', fine-tuned'}"


def probe(bench: Bench, cell: Cell) -> tuple[float, float, float]:
    """Seconds per photograph of a step of phase 1, of a step of fine-tuning (0 for plain), and of a prediction."""
    options = NetworkOptions(cell.network, cell.backbone)
    asked, machine, classes = bench.options, bench.machine, len(bench.dataset.classes)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (asked.batch, asked.size, asked.size, 3), dtype=np.uint8))
    look = torch.zeros(images.shape[:3], dtype=torch.bool)
    look[:, :8, :8] = True
    data = TrainingSet(images, torch.arange(asked.batch) % classes, look, torch.ones(asked.batch))
    network = build_network(options, classes, asked.size).network

    def first(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            train_phase1(
                network,
                data,
                TrainingOptions(epochs=epochs, batch=asked.batch),
                classes=classes,
                ordinal=bench.dataset.ordinal,
                normalisation=(_MEAN, _STD),
                seed=0,
                machine=machine,
                checkpoint=Path(scratch) / "checkpoint.safetensors",
            )

    def second(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            finetune(
                network,
                data,
                FinetuneOptions(epochs=epochs, batch=asked.batch),
                TrainingOptions(),
                classes=classes,
                ordinal=bench.dataset.ordinal,
                normalisation=(_MEAN, _STD),
                seed=0,
                machine=machine,
                checkpoint=Path(scratch) / "checkpoint.safetensors",
            )

    training = _per_epoch(first) / asked.batch
    tuning = 0.0 if cell.network == "plain" else _per_epoch(second) / asked.batch
    return training, tuning, _prediction(Predictor(network, _MEAN, _STD, "argmax", machine), images.numpy())


def _per_epoch(call: Callable[[int], None]) -> float:
    call(1)
    start = time.monotonic()
    call(_BATCHES)
    return (time.monotonic() - start) / _BATCHES


def _prediction(predictor: Predictor, images_NSSC: NDArray[np.uint8]) -> float:
    start = time.monotonic()
    predictor.predict(images_NSSC)
    return (time.monotonic() - start) / len(images_NSSC)


def _from_probe(bench: Bench, run: Run, rates: tuple[float, float, float]) -> float:
    training, tuning, prediction = rates
    asked = bench.options
    if run.kind == "phase1":
        return training * bench.units("phase1")
    if run.kind == "finetune":  # which collects the maps of the training part first
        return tuning * bench.units("finetune") + prediction * bench.n_training * asked.folds
    if run.kind == "judge":
        return prediction * bench.n_judged
    views = 0 if run.cell == Cell(run.cell.backbone, "multi-scale") else _VIEWS[run.cell.network]
    passes = views * 2 * (asked.steps + 1) * min(asked.faithfulness, bench.n_judged)
    return prediction * (passes + bench.n_judged)


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
