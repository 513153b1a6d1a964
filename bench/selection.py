"""The experiment that decides which photographs an expert should see first.

For every fold (= seed) of a study with a phase-1 model: rank the training photographs that have lesions to draw by each
rule, correct the first of them from masks or boxes, fine-tune from phase 1 on just these, and judge the fold's
validation photographs. Gains are against the phase-1 model. Photographs of the lowest grade are not asked about: their
grade, which is known in training, says that there is nothing to draw (`healthy` is the whole budget with an empty map
for each of them on top). `prior` spends half of its budget in random order and ranks the rest by what those taught.

Every run is one JSON file, made once; a call that was stopped goes on. Several processes may share one folder, each
with folds of its own.

Usage: python bench/selection.py run STUDY OUT FOLD [FOLD ...]
       python bench/selection.py table OUT            (prints Markdown)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from curves import standings
from folds import Fold, open_fold, run
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from regaze.console import Voice
from regaze.files import read_json, write_json
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions
from regaze.models.uncertainty import cell_features
from regaze.records import Collected
from regaze.selection.prior import Prior
from regaze.selection.rules import select
from regaze.study.folder import Study, open_study
from regaze.study.lesions import grids_of, targets
from regaze.study.options import CollectOptions
from regaze.study.steps.collect import diagnose_all
from regaze.study.steps.uncertainty import all_scores
from regaze.training.options import FinetuneOptions

MODEL = "multi-scale"
RULES = (
    "random",
    "confidence",
    "entropy",
    "margin",
    "map-error",
    "branches",
    "scales",
    "cam",
    "instability",
    "combined",
    "prior",
)
BUDGETS = (0.05, 0.15, 0.4, 1.0)
# Shorter than the default round: about 360 runs have to end within hours on two cores.
OPTIONS = FinetuneOptions(epochs=4, replay=0.25, lr_maps=1e-2)
MACHINE = MachineOptions(workers=1)
FEW = 8  # a prior needs at least these


@dataclass
class Bench:
    """One fold, and what the rules rank by."""

    fold: Fold
    collected: list[Collected]
    predictions: Predictions
    features: NDArray[np.float16]


def prepare(study: Study, number: int) -> Bench:
    """Collect a fold's training part with all signals; `prior` comes with each budget."""
    fold = open_fold(study, number)
    part = fold.training
    predictor = fold.predictor(fold.network())
    predictions = predictor.predict(part.pixels.images, cache=fold.features())
    scores, _ = all_scores(study, fold.card, number, predictor, part.samples, part.pixels, predictions)
    collected = diagnose_all(
        part.samples, predictions, part.masks, part.known, part.pixels.pictures, CollectOptions(), scores
    )
    features = cell_features(predictor, part.pixels.images, grids_of(predictions)[-1])
    return Bench(fold, collected, predictions, features)


def chosen(bench: Bench, rule: str, budget: float) -> list[int]:
    """Indices of the photographs that a rule corrects within a budget, in the training part."""
    pool = bench.fold.drawable()
    count = max(1, round(budget * len(pool)))
    if rule == "prior" and 2 * FEW <= count < len(pool):
        return by_prior(bench, pool, count)
    ranking = select(
        [bench.collected[index] for index in pool],
        "random" if rule == "prior" else rule,
        count=count,
        seed=bench.fold.number,
        everything=True,
    )
    indices = {item.sample: index for index, item in enumerate(bench.collected)}
    return [indices[sample] for sample in ranking.samples]


def by_prior(bench: Bench, pool: list[int], count: int) -> list[int]:
    """Half of the budget in random order; the rest where the map is farthest from what those make one expect."""
    first = chosen(bench, "random", count / 2 / len(pool))
    grid = (bench.features.shape[2], bench.features.shape[3])
    groups = [bench.fold.training.samples[index].patient or str(index) for index in first]
    wanted = targets(bench.fold.training.masks[first], [grid])[0]
    prior = Prior.fit(bench.features[first], wanted, bench.fold.number, groups=groups)
    maps = np.mean(
        [
            torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(item)[:, None], grid)[:, 0].numpy()
            for item in bench.predictions.maps
        ],
        axis=0,
    )
    distances = prior.distance(bench.features, maps)
    rest = sorted(set(pool) - set(first), key=lambda index: (-distances[index], index))
    return first + rest[: count - len(first)]


def run_folds(study: Study, out: Path, folds: list[int]) -> None:
    """All runs of these folds that are not there yet."""
    for fold in folds:
        bench = prepare(study, fold)
        wanted: dict[str, list[int] | None] = {"phase1": None}
        for budget in BUDGETS:
            for rule in RULES:
                # With the whole budget every rule corrects the same photographs.
                name = "all-1" if budget == 1 else f"{rule}-{budget:g}"
                wanted.setdefault(name, chosen(bench, rule, budget))
        # Beside what has lesions, what is known to have none.
        wanted["healthy"] = [index for index, known in enumerate(bench.fold.training.known) if known]
        made: dict[frozenset[int] | None, Path] = {}
        for name, indices in wanted.items():
            file = out / f"fold{fold}" / f"{name}.json"
            # Two rules may choose the same photographs: one run serves both.
            twin = made.setdefault(None if indices is None else frozenset(indices), file)
            if not file.is_file():
                values = read_json(twin) if twin != file else run(bench.fold, indices, OPTIONS)
                write_json(file, values | {"n": 0 if indices is None else len(indices), "fold": fold})
                print(fold, name, {key: round(value, 3) for key, value in figures(values["rows"]).items()}, flush=True)


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Kappa, mean enrichment and mean squared error of photographs."""
    graded = [row for row in rows if row["label"] is not None]
    kappa = cohen_kappa_score([row["label"] for row in graded], [row["grade"] for row in graded], weights="quadratic")
    means = {
        key: float(np.mean([row[key] for row in rows if row[key] is not None]))
        for key in ("enrichment", "squared_error")
    }
    return {"kappa": float(kappa), **means}


def table(out: Path) -> None:
    """Gains per rule and budget, mean over the folds, and the area under them against random and oracle."""
    folds = sorted(path for path in out.iterdir() if path.is_dir())
    for measure_name, sign in (("enrichment", 1), ("squared_error", -1), ("kappa", 1)):
        gains = {rule: np.array([curve(fold, rule, measure_name, sign) for fold in folds]) for rule in RULES}
        print(f"\nGain in {measure_name.replace('_', ' ')} over phase 1, mean of {len(folds)} folds\n")
        heads = " | ".join(f"{budget:.0%}" for budget in BUDGETS)
        print(f"| rule | {heads} | random 0, oracle 1 | lead over confidence |")
        print("|---" * (len(BUDGETS) + 3) + "|")
        for rule, standing in standings((0.0, *BUDGETS), gains).items():
            cells = " | ".join(f"{value:.3f}" for value in gains[rule].mean(axis=0)[1:])
            relative = "-" if standing.relative is None else f"{standing.relative:.2f} {bounds(standing.interval, 2)}"
            lead = "-" if standing.lead is None else f"{standing.lead:+.4f} {bounds(standing.lead_interval, 4)}"
            print(f"| {rule} | {cells} | {relative} | {lead} |")


def curve(fold: Path, rule: str, key: str, sign: int) -> list[float]:
    """Gains at budget 0 and each budget."""
    start = figures(read_json(fold / "phase1.json")["rows"])[key]
    files = [fold / ("all-1.json" if budget == 1 else f"{rule}-{budget:g}.json") for budget in BUDGETS]
    return [0.0, *(sign * (figures(read_json(file)["rows"])[key] - start) for file in files)]


def bounds(interval: Any, digits: int) -> str:
    """[low, high], or nothing."""
    if interval is None or interval[0] is None:
        return ""
    return f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def main() -> None:
    """Run or print."""
    if sys.argv[1] == "table":
        table(Path(sys.argv[2]))
        return
    study = open_study(Path(sys.argv[2]), Voice(quiet=True))
    run_folds(study, Path(sys.argv[3]), [int(item) for item in sys.argv[4:]])


if __name__ == "__main__":
    main()
