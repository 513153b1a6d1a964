"""Which photographs belong together, and what says so: for a reader of `init`, `evaluate` and the report.

Invariant: no sentence claims a split by patient where no patient is known.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

from regaze.data.near_groups import NEAR_COPIES
from regaze.data.split import known_groups
from regaze.records import Dataset
from regaze.study.folder import Study
from regaze.words import words_of

Unit = Literal["photograph", "group", "patient"]


def unit(dataset: Dataset) -> Unit:
    """What the split keeps whole and intervals redraw, as JSON calls it; a group is one of near-copies."""
    if dataset.named_by is None:
        return "photograph"
    return "group" if dataset.named_by == NEAR_COPIES else "patient"


def unit_word(dataset: Dataset) -> str:
    """The same for a person, in the singular."""
    found = unit(dataset)
    return words_of(dataset).patient if found == "patient" else found


def group_words(study: Study) -> str:
    """How many groups are known and by what: `96 by column patient`; and how many photographs look like near-copies."""
    dataset, near = study.dataset, sum(map(len, study.near_copies))
    total, count = len(dataset.samples), len(known_groups(dataset.samples))
    doubt = f", but {near} of them are near-copies" if near and not study.options.group_near_copies else ""
    if dataset.named_by is None:
        copies = "" if count == total else " (copies of one picture as one)"
        return f"none named: {total} photographs count as {count}{copies}{doubt}"
    alone = sum(sample.patient is None for sample in dataset.samples)
    rest = f" ({alone} of {total} photographs belong to no group that is known)" if alone else ""
    return f"{count} by {dataset.named_by}{rest}{doubt}"


def near_copy_note(study: Study, judged: Set[str]) -> str | None:
    """Of how many judged photographs a near-copy was learned from; None where of none.

    Args:
        study: The study.
        judged: Ids of its photographs on which its models are judged.
    """
    count = 0
    for group in study.near_copies:
        for sample in judged & set(group):
            home = study.split.get(sample)  # None: of the test part, which no fold's model learned from
            count += any(study.split.get(other, home) != home for other in group)
    if not count:
        return None
    return (
        f"{count} of the {len(judged)} photographs have a near-copy among those that the model learned from, which "
        "flatters all figures: make a study with --group-near-copies."
    )


def split_words(study: Study) -> str:
    """What the study's split is by, as part of a sentence: `by patient`, `by photograph, since no patient is known`."""
    by, dataset = study.options.split_words, study.dataset
    found, patient = unit(dataset), words_of(dataset).patient
    if by != "patient":
        return f"by {by}" + ("" if found == "patient" else f"; no {patient} is known")
    if found != "patient":
        return f"by {found if found == 'photograph' else NEAR_COPIES}, since no {patient} is known"
    unknown = sum(sample.patient is None for sample in dataset.samples)
    return f"by {patient}" + (f", unknown of {unknown} of {len(dataset.samples)} photographs" if unknown else "")
