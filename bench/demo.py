"""The demo on several seeds: the same setting for all, nothing chosen among them.

Usage: python bench/demo.py FOLDER [SEEDS]   (FOLDER/seed0 ... are made by `regaze demo`, or gone on with; prints
Markdown). The number of threads moves digits as another seed does: the page's table is of the default.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from regaze.cli import main as regaze
from regaze.commands.tables import interval, number
from regaze.files import read_json

_MODELS = {"before": "multi-scale", "after": "multi-scale-finetuned", "control": "multi-scale-control"}


def main() -> None:
    """Make the studies that are missing, and print one row a seed and their mean."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    results = []
    for seed in range(count):
        study = folder / f"seed{seed}"
        if not (study / "report.html").is_file():
            try:
                regaze(["demo", "--folder", str(study), "--seed", str(seed), "--quiet"])
            except SystemExit as end:
                if end.code:
                    raise
        results.append(read_json(study / "evaluation" / "test.json"))
    print(
        "| seed | model | kappa | 95 % interval | accuracy | enrichment | relevance rank | pointing (15 px of 224) "
        "| deletion | insertion |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for seed, result in enumerate(results):
        for role, name in _MODELS.items():
            figures = result["models"][name]
            print(f"| {seed} | {role} | {' | '.join(_cells(figures))} |")
    for role, name in _MODELS.items():
        means = np.mean([_figures(result["models"][name]) for result in results], axis=0)
        kappa, *rest = (number(value, 2) for value in means)
        print(f"| mean | {role} | {kappa} | | {' | '.join(rest)} |")
    print("\n| seed | comparison | kappa | enrichment |\n|---|---|---|---|")
    for seed, result in enumerate(results):
        for other in ("before", "control"):
            pair = result["paired"][f"{_MODELS['after']} against {_MODELS[other]}"]
            cells = [
                f"{number(pair[key]['difference'], 3)} {interval(pair[key]['interval'])}"
                for key in ("kappa", "enrichment")
            ]
            print(f"| {seed} | after against {other} | {' | '.join(cells)} |")


def _figures(figures: dict[str, Any]) -> list[float]:
    fused = figures["maps"]["fused"]
    maps = [fused[key] for key in ("lesion_enrichment", "relevance_rank", "pointing_game")]
    return [figures["quadratic_weighted_kappa"], figures["accuracy"], *maps, figures["deletion"], figures["insertion"]]


def _cells(figures: dict[str, Any]) -> list[str]:
    kappa, *rest = (number(value, 2) for value in _figures(figures))
    return [kappa, interval(figures["interval"]), *rest]


if __name__ == "__main__":
    main()
