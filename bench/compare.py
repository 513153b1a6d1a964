"""A study's models against one of them, per map and measure, on the validation photographs of all folds.

A mean over folds hides a map that was lost in one of them: the relevance rank is therefore given fold by fold too.

Usage: python bench/compare.py STUDY FIRST MODEL [MODEL ...]   (prints Markdown)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from regaze.commands.tables import interval
from regaze.console import Voice
from regaze.evaluation.agreement import POINTING_RULE, summarise_maps
from regaze.evaluation.grading import quadratic_weighted_kappa
from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.models.options import MachineOptions
from regaze.study.assessment.judge import judge_model
from regaze.study.folder import Study, open_study
from regaze.study.options import EvaluateOptions

Row = dict[str, Any]
MEASURES = ("lesion_enrichment", "squared_error", "relevance_rank", "pointing_game")


def main() -> None:
    """Judge and print."""
    study, names = open_study(Path(sys.argv[1]), Voice(quiet=True)), sys.argv[2:]
    rows = {
        name: judge_model(
            study, name, EvaluateOptions(faithfulness=0), MachineOptions(), part="validation", folder="rounds"
        )
        for name in names
    }
    first = rows[names[0]]
    print(f"| model | measure | {names[0]} | model | difference | rank by fold |")
    print("|---|---|---|---|---|---|")
    for name in names[1:]:
        print(f"| {name} | kappa | {_kappa(study, first, rows[name])} | |")
        for scale in first[0]["maps"]:
            for measure in MEASURES:
                ranks = _ranks(study, rows[name], scale) if measure == "relevance_rank" else ""
                label = f"{scale} {measure.replace('_', ' ')}"
                label += f" ({POINTING_RULE})" if measure == "pointing_game" else ""
                print(f"| {name} | {label} | {_mean(first, rows[name], scale, measure)} | {ranks} |")


def _kappa(study: Study, first: list[Row], other: list[Row]) -> str:
    graded = [pair for pair in zip(first, other, strict=True) if pair[0]["label"] is not None]
    labels = [row["label"] for row, _ in graded]
    before, after = ([pair[side]["grade"] for pair in graded] for side in (0, 1))
    classes = len(study.classes)
    pair = paired_kappa_difference(labels, before, after, classes, groups=[row["patient"] for row, _ in graded])
    kappas = (quadratic_weighted_kappa(labels, grades, classes) for grades in (before, after))
    return " | ".join(
        [*(f"{kappa:.3f}" for kappa in kappas), f"{pair['difference']:+.3f} {interval(pair['interval'])}"]
    )


def _mean(first: list[Row], other: list[Row], scale: str, measure: str) -> str:
    before, after = ([row["maps"][scale][measure] for row in rows] for rows in (first, other))
    pair = paired_mean_difference(before, after, groups=[row["patient"] for row in first])
    return f"{pair['mean_a']:.4f} | {pair['mean_b']:.4f} | {pair['difference']:+.4f} {interval(pair['interval'])}"


def _ranks(study: Study, rows: list[Row], scale: str) -> str:
    """The mean relevance rank of each fold."""
    means = [
        summarise_maps([row["maps"][scale] for row in rows if study.split.get(row["sample"]) == fold])["relevance_rank"]
        for fold in study.folds
    ]
    return ", ".join("-" if mean is None else f"{mean:.2f}" for mean in means)


if __name__ == "__main__":
    main()
