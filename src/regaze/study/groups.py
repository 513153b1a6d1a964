"""Which photographs belong together, and what says so: for a reader of `init`, `evaluate` and the report.

Invariant: no sentence claims a split by patient where no patient is known.
"""

from __future__ import annotations

from regaze.data.split import count_groups
from regaze.records import Dataset
from regaze.study.folder import Study

NEAR_COPIES = "near-copies"  # `Dataset.named_by` where nothing else names groups


def unit_word(dataset: Dataset) -> str:
    """What the split keeps whole and intervals redraw, in the singular."""
    if dataset.named_by is None:
        return "photograph"
    return "group" if dataset.named_by == NEAR_COPIES else "patient"


def group_words(dataset: Dataset) -> str:
    """How many groups are known and by what: `96 by column patient`."""
    total, count = len(dataset.samples), count_groups(dataset.samples)
    if dataset.named_by is None:
        copies = "" if count == total else " (copies of one picture as one)"
        return f"none named: {total} photographs count as {count}{copies}"
    alone = sum(sample.patient is None for sample in dataset.samples)
    rest = f" ({alone} of {total} photographs belong to no group that is known)" if alone else ""
    return f"{count} by {dataset.named_by}{rest}"


def split_words(study: Study) -> str:
    """What the study's split is by, as part of a sentence: `by patient`, `by photograph, since no patient is known`."""
    by = study.options.split_words
    unit, dataset = unit_word(study.dataset), study.dataset
    if by != "patient":
        return f"by {by}" + ("" if unit == "patient" else "; no patient is known")
    if unit != "patient":
        return f"by {unit if unit == 'photograph' else NEAR_COPIES}, since no patient is known"
    unknown = sum(sample.patient is None for sample in dataset.samples)
    return "by patient" + (f", unknown of {unknown} of {len(dataset.samples)} photographs" if unknown else "")
