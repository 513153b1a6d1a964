"""Recipes of phase 1 side by side: pooled out-of-fold predictions of a study's models, paired with the first named.

Beside kappa stands the ranked probability score (RPS: the mean squared difference of cumulative probabilities, 0 is
perfect; Epstein 1969), which sees the probabilities and not only the decoded grade, so that it tells recipes apart on
fewer photographs. Intervals are bootstraps over patients, of paired differences. Run `regaze evaluate STUDY` first.

Usage: python bench/recipes.py STUDY REFERENCE [MODEL ...]   (prints Markdown)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.grading import quadratic_weighted_kappa
from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.evaluation.proper_scores import ranked_probability_scores
from regaze.files import read_json
from regaze.models.options import Decoding
from regaze.models.predictor import decode

DECODINGS: tuple[Decoding, ...] = ("median", "expected", "argmax")


def main() -> None:
    """Print the table."""
    study, names = Path(sys.argv[1]), sys.argv[2:]
    models = {name: records(study, name) for name in names}
    print("| model | kappa by median | by expected value | by arg-max | against the first | accuracy | RPS | against |")
    print("|---|---|---|---|---|---|---|---|")
    reference = models[names[0]]
    for name, rows in models.items():
        assert [row["sample"] for row in rows] == [row["sample"] for row in reference]
        print(f"| {name} | " + " | ".join(cells(rows, reference, same=rows is reference)) + " |")


def records(study: Path, name: str) -> list[dict[str, Any]]:
    """Graded validation photographs of a model, pooled over the folds."""
    files = sorted((study / "evaluation" / "validation").glob(f"{name}-fold*.json"))
    rows = [row for file in files for row in read_json(file)["photographs"]]
    return [row for row in rows if row["label"] is not None]


def cells(rows: list[dict[str, Any]], reference: list[dict[str, Any]], *, same: bool) -> list[str]:
    """One row of the table."""
    labels = np.array([row["label"] for row in rows])
    groups = [row["patient"] for row in rows]
    grades = {how: decode(probabilities(rows), how) for how in DECODINGS}
    classes = probabilities(rows).shape[1]
    kappas = [quadratic_weighted_kappa(labels, grades[how], classes) for how in DECODINGS]
    first = decode(probabilities(reference), "median")
    scores, others = (
        ranked_probability_scores(probabilities(each), [row["label"] for row in each]) for each in (rows, reference)
    )
    kappa = paired_kappa_difference(labels, first, grades["median"], classes, groups=groups)
    rps = paired_mean_difference(others, scores, groups=groups)
    return [
        *(f"{value:.3f}" for value in kappas),
        "-" if same else signed(kappa, 3),
        f"{(grades['median'] == labels).mean():.3f}",
        f"{scores.mean():.4f}",
        "-" if same else signed(rps, 4),
    ]


def probabilities(rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    """(N, K)."""
    return np.array([row["probabilities"] for row in rows], dtype=np.float32)


def signed(pair: Any, digits: int) -> str:
    """A paired difference with its interval."""
    low, high = pair["interval"]
    return f"{pair['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    main()
