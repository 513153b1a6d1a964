"""Photographs of one and the same thing as groups of a data set: said, or kept together when they are asked to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regaze.data.match import Likeness, groups
from regaze.data.split import known_groups
from regaze.records import Dataset, Sample
from regaze.words import words_of

NEAR_COPIES = "near-copies"
"""`Dataset.named_by` where nothing else names groups."""


def near_groups(samples: Sequence[Sample], alike: Sequence[Likeness]) -> list[tuple[str, ...]]:
    """Ids of photographs of one and the same thing, where nothing else says that they belong together.

    Args:
        samples: With patients and twins filled in, as far as they are known.
        alike: Pairs of them that `near_copies.near_copies` or `Thumbnails.alike` found.

    Returns:
        Groups of two and more, ids in the order of the samples; those of one patient or of copies of one picture alone
        are left out.
    """
    known = {index: number for number, group in enumerate(known_groups(samples)) for index in group}
    found = groups(len(samples), [(like.first, like.second) for like in alike])
    return [
        tuple(samples[index].id for index in group) for group in found if len({known[index] for index in group}) > 1
    ]


def grouped_by_near_copies(samples: Sequence[Sample], near: Sequence[Sequence[str]]) -> list[Sample]:
    """Set `Sample.patient` so that near-copies, and whatever belongs with them, count as one.

    Args:
        samples: Photographs.
        near: What `near_groups` gave; ids that are not there are passed over.
    """
    place = {sample.id: index for index, sample in enumerate(samples)}
    links = [(group[0], index) for group in known_groups(samples) for index in group]
    listed = [[place[name] for name in group if name in place] for group in near]
    touched = {index for group in listed for index in group}
    links += [(group[0], index) for group in listed for index in group]
    marked = list(samples)
    for group in groups(len(samples), links):
        if touched.intersection(group):
            name = f"near-copies of {samples[group[0]].id}"
            for index in group:
                marked[index] = replace(samples[index], patient=name)
    return marked


def told_of_near_copies(dataset: Dataset, near: Sequence[Sequence[str]], *, group: bool) -> Dataset:
    """The data set with near-copies (`near_groups`) as one where they are to be grouped, else with a note."""
    if not near:
        return dataset
    if group:
        samples = tuple(grouped_by_near_copies(dataset.samples, near))
        named_by = NEAR_COPIES if dataset.named_by is None else f"{dataset.named_by} and {NEAR_COPIES}"
        return replace(dataset, samples=samples, named_by=named_by)
    shown = "; ".join(" = ".join(ids[:6]) + (" ..." if len(ids) > 6 else "") for ids in near[:5])
    many = f"{sum(map(len, near))} photographs look like near-copies of {len(near)} {words_of(dataset).eye}s"
    shown += " ..." if len(near) > 5 else ""
    note = (
        f"{many} (under another exposure, or a little shifted), and nothing keeps them together ({shown}): pass "
        "--group-near-copies to keep each on one side of the split."
    )
    return replace(dataset, notes=(*dataset.notes, note))
