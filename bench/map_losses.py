"""Which map loss should be the default: kappa and attention together, paired with the paper's norm.

For every fold (= seed) of a study with a phase-1 model: correct every training photograph that has lesions to draw,
fine-tune from phase 1 once for each loss, and judge the fold's validation photographs. Losses that are squares take
four times the weight, since a square of something below one is small. Every run is one JSON file, made once; a call
that was stopped goes on, and several processes may share a folder, each with folds of its own. A row of the table is
*on the front* where no other row is at least as good in kappa, enrichment and squared error, and better in one.

Usage: python bench/map_losses.py run STUDY OUT FOLD [FOLD ...]
       python bench/map_losses.py table OUT            (prints Markdown)
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from folds import open_fold, run

from regaze.console import Voice
from regaze.evaluation.grading import quadratic_weighted_kappa
from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.files import read_json, write_json
from regaze.study.folder import Study, open_study
from regaze.training.options import FinetuneOptions, MapLoss

LOSSES: tuple[MapLoss, ...] = get_args(MapLoss)
WEIGHTS: dict[str, float] = {"mse": 20.0, "outside": 20.0}
USUAL = FinetuneOptions(epochs=4, replay=0.25, lr_maps=1e-2)
CLASSES = 5


def recipes() -> dict[str, FinetuneOptions]:
    """Name of a row -> its options; `none` is the control."""
    weights = {loss: WEIGHTS.get(loss, USUAL.map_weight) for loss in LOSSES}
    losses = {loss: replace(USUAL, map_loss=loss, map_weight=weight) for loss, weight in weights.items()}
    return {"none": replace(USUAL, map_weight=0.0), **losses}


def run_fold(study: Study, out: Path, fold: int) -> None:
    """All runs of a fold that are not there yet."""
    bench = open_fold(study, fold)
    for name, options in recipes().items():
        file = out / f"fold{fold}" / f"{name}.json"
        if not file.is_file():
            write_json(file, run(bench, bench.drawable(), options))
            print(fold, name, flush=True)


def table(out: Path) -> None:
    """Kappa, enrichment and squared error per loss, pooled over the folds, and their front."""
    folds = sorted(path for path in out.iterdir() if path.is_dir())
    rows = {name: [row for fold in folds for row in read_json(fold / f"{name}.json")["rows"]] for name in recipes()}
    first = rows["norm"]
    points = {name: _point(first, records) for name, records in rows.items()}
    print(f"{len(folds)} folds, {sum(row['label'] is not None for row in first)} graded photographs\n")
    print("| map loss | λ | kappa | against the norm | enrichment | against | squared error | front |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (kappa, enrichment, error) in points.items():
        weight = f"{recipes()[name].map_weight:g}"
        others = [point for other, point in points.items() if other != name]
        front = "" if any(_beats(other, points[name]) for other in others) else "yes"
        against = [_difference(first, rows[name], key) for key in ("kappa", "enrichment")]
        cells = [name, weight, f"{kappa:.3f}", against[0], f"{enrichment:.2f}", against[1], f"{error:.4f}", front]
        print(f"| {' | '.join(cells)} |")


def _point(first: list[dict[str, Any]], rows: list[dict[str, Any]]) -> tuple[float, float, float]:
    assert [row["sample"] for row in rows] == [row["sample"] for row in first]
    labels, grades, _ = _grades(rows, rows)
    kappa = quadratic_weighted_kappa(labels, grades, CLASSES)
    means = [float(np.mean([row[key] for row in rows if row[key] is not None])) for key in _MAPS]
    return kappa, means[0], means[1]


_MAPS = ("enrichment", "squared_error")


def _beats(point: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """At least as good in all three, better in one; of the squared error less is better."""
    pairs = list(zip((point[0], point[1], -point[2]), (other[0], other[1], -other[2]), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _grades(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> tuple[list[int], list[int], list[int]]:
    pairs = [pair for pair in zip(a, b, strict=True) if pair[0]["label"] is not None]
    labels, grades = [row["label"] for row, _ in pairs], [row["grade"] for row, _ in pairs]
    return labels, grades, [row["grade"] for _, row in pairs]


def _difference(first: list[dict[str, Any]], rows: list[dict[str, Any]], key: str) -> str:
    """Rows - first with its paired interval over patients."""
    if rows is first:
        return "-"
    if key == "kappa":
        patients = [row["patient"] for row in first if row["label"] is not None]
        pair = paired_kappa_difference(*_grades(first, rows), CLASSES, groups=patients)
    else:
        before, after = (np.array([row[key] for row in item], dtype=np.float64) for item in (first, rows))
        pair = paired_mean_difference(before, after, groups=[row["patient"] for row in first])
    low, high = pair["interval"]
    return f"{pair['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Run or print."""
    if sys.argv[1] == "table":
        table(Path(sys.argv[2]))
        return
    study = open_study(Path(sys.argv[2]), Voice(quiet=True))
    for fold in sys.argv[4:]:
        run_fold(study, Path(sys.argv[3]), int(fold))


if __name__ == "__main__":
    main()
