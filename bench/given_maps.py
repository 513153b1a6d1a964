"""Figure 1 of models that a study has: what they grade when other maps than their own weigh their features.

`regaze reproduce fig1` trains its own models, several seeds of them; this asks models that are there, on photographs
that they never saw. Kappa of "another" counts the grades of all draws together; its ranked probability score is the
mean of theirs. Differences are from the model's own maps, paired, resampled by patient.

Usage: python bench/given_maps.py STUDY MODEL ...   (prints Markdown)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from regaze.console import Voice
from regaze.evaluation.grading import quadratic_weighted_kappa
from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.evaluation.proper_scores import ranked_probability_scores
from regaze.models.options import MachineOptions
from regaze.study.assessment.given_maps import GIVEN, judge_given_maps
from regaze.study.folder import open_study

Row = dict[str, Any]


def main() -> None:
    """Judge and print."""
    study = open_study(Path(sys.argv[1]), Voice(quiet=True))
    print("| model | photographs | maps | n | kappa | less own | RPS | less own |")
    print("|---|---|---|---|---|---|---|---|")
    for name in sys.argv[2:]:
        known = judge_given_maps(study, name, MachineOptions())
        for part, rows in (("all known", known), ("with lesions", [row for row in known if row["lesions"]])):
            for what in GIVEN:
                print(
                    f"| {name} | {part} | {_MAPS.get(what, what)} | {len(rows)} | {cells(rows, what, study.classes)} |"
                )


_MAPS = {"own": "its own", "expert": "the expert's", "another": "another photograph's"}


def cells(rows: list[Row], what: str, classes: tuple[str, ...]) -> str:
    """Kappa and score under one map, and how far they are from those under the model's own."""
    labels = [row["label"] for row in rows]
    patients = [row["patient"] or row["sample"] for row in rows]  # an unknown one is one in all draws
    tries = len(rows[0]["given"][what]["grades"])
    grades = [grade for row in rows for grade in row["given"][what]["grades"]]
    own = [row["given"]["own"]["grades"][0] for row in rows for _ in range(tries)]
    many, groups = np.repeat(labels, tries), [patient for patient in patients for _ in range(tries)]
    kappa = quadratic_weighted_kappa(many, grades, len(classes))
    told, mine = scores(rows, what), scores(rows, "own")
    differences = ["", ""]
    if what != "own":
        pair = paired_kappa_difference(many, own, grades, len(classes), groups)
        differences = [signed(pair, 3), signed(paired_mean_difference(mine, told, patients), 4)]
    return f"{kappa:.3f} | {differences[0]} | {np.mean(told):.4f} | {differences[1]}"


def scores(rows: list[Row], what: str) -> list[float]:
    """Each photograph's ranked probability score, the mean of several draws'."""
    shares = [(row["given"][what]["probabilities"], row["label"]) for row in rows]
    return [float(np.mean(ranked_probability_scores(tries, [label] * len(tries)))) for tries, label in shares]


def signed(pair: Any, digits: int) -> str:
    """A paired difference with its interval."""
    low, high = pair["interval"]
    return f"{pair['difference']:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
