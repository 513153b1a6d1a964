"""What a study's split holds: for a reader of `init` and of the report."""

from __future__ import annotations

from collections import Counter
from typing import Any

from regaze.data.periods import fold_periods
from regaze.study.folder import Study
from regaze.study.groups import group_words, split_words, unit

UNGRADED = "no grade"
_NAMES = 8  # periods of a fold that are named; a table may have hundreds of sites


def describe_split(study: Study) -> dict[str, Any]:
    """What the training part is split by, and what lies in each fold.

    Returns:
        `by` (`patient`, `period`, `column site`; `photograph` where no patient is known, `group` where near-copies
        alone are), `about` (the same for a sentence), `groups` (how many there are in all parts, and by what);
        `periods` and `pieces` (periods, and what they are cut into in time) and `without_period` (photographs of
        unknown period), all three None where it is not by period or column; `folds`: for each fold, without
        cross-validation for `validation` and `training`, its `name`, `photographs`, `grades` (class -> photographs) and
        `periods` (names).
    """
    by_period = study.options.split_by != "patient"
    training = [sample for sample in study.dataset.samples if sample.id in study.split]
    crossed = len(study.folds) > 1
    home = study.split if crossed else {sample: int(fold > 0) for sample, fold in study.split.items()}
    names = study.folds if crossed else ["validation", "training"]
    periods = fold_periods(training, home) if by_period else {}
    folds = []
    for number, name in enumerate(names):
        members = [sample for sample in training if home[sample.id] == number]
        counts = Counter(UNGRADED if sample.label is None else study.classes[sample.label] for sample in members)
        unknown = sum(sample.period is None for sample in members)
        folds.append(
            {
                "name": str(name),
                "photographs": len(members),
                "grades": {grade: counts[grade] for grade in (*study.classes, UNGRADED)},
                "periods": periods.get(number, []) + ([f"unknown ({unknown})"] if by_period and unknown else []),
            }
        )
    pieces = sum(map(len, fold_periods(training, study.split).values()))
    return {
        "by": study.options.split_words if by_period else unit(study.dataset),
        "about": split_words(study),
        "groups": group_words(study),
        "periods": len({sample.period for sample in training} - {None}) if by_period else None,
        "pieces": pieces if by_period else None,
        "without_period": sum(sample.period is None for sample in training) if by_period else None,
        "folds": folds,
    }


def split_lines(split: dict[str, Any]) -> list[str]:
    """What `describe_split` gave, as lines: what it is by, and a table of the folds."""
    cut = f", large ones cut in time: {split['pieces']}" if split["pieces"] != split["periods"] else ""
    periods = f": {split['periods']} periods{cut}" if split["periods"] else ""
    lines = [f"groups: {split['groups']}", f"split {split['about']}{periods}"]
    if split["without_period"]:
        lines.append(
            f"{split['without_period']} photographs of unknown period: with their group or the copy of their picture "
            "where that has one, all others in one fold"
        )
    shown = [grade for grade in split["folds"][0]["grades"] if any(fold["grades"][grade] for fold in split["folds"])]
    rows = [["fold", "photographs", *shown]]
    rows += [
        [fold["name"], str(fold["photographs"]), *(str(fold["grades"][grade]) for grade in shown)]
        for fold in split["folds"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = ["", *(period_names(fold["periods"]) for fold in split["folds"])]
    for row, end in zip(rows, ends, strict=True):
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        lines.append("  ".join(["", *cells, end]).rstrip())
    return lines


def period_names(names: list[str]) -> str:
    """The names of a fold's periods in one line; of many the first."""
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
