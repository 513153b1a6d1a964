"""Findings about photographs that show one picture, or one and the same thing, judged by the pictures alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from regaze.data.match import TWIN, Progress, compared, groups, mark_twins
from regaze.data.near_copies import near_copies
from regaze.data.split import known_groups
from regaze.doctor.finding import Finding, Item, about, label_of
from regaze.records import Dataset, Sample
from regaze.words import words_of

Groups = list[tuple[int, ...]]


def find_copies(
    samples: Sequence[Sample], progress: Progress | None = None, keep: Path | None = None
) -> tuple[Groups, Groups]:
    """Groups of two and more: of copies of one picture, and of photographs of one thing (copies among them).

    Near-copies propose the pairs (`data.near_copies`); those that are copies are told by their pixels (`match.TWIN`),
    or by their bytes, since a picture without detail has nothing to compare.

    Args:
        samples: Photographs that can be read, with `content`.
        progress: Called with (done, total) as the photographs are read.
        keep: See `near_copies.thumbnails`.

    Raises:
        DataError: A file cannot be read as a picture.
    """
    paths = [sample.image for sample in samples]
    near = [(like.first, like.second) for like in near_copies(paths, progress, keep)]
    same = [(like.first, like.second) for like in compared(paths, near) if like.correlation >= TWIN]
    first: dict[str, int] = {}
    same += [(first.setdefault(sample.content, index), index) for index, sample in enumerate(samples)]
    found = [groups(len(samples), pairs) for pairs in (same, near + same)]
    copies, alike = ([group for group in each if len(group) > 1] for each in found)
    return copies, alike


def copy_findings(
    dataset: Dataset,
    copies: Groups,
    alike: Groups,
    split: Mapping[str, int] | None = None,
    *,
    are_grouped: bool = False,
) -> Iterator[Finding]:
    """Findings about what `find_copies` found.

    Args:
        dataset: The photographs.
        copies: Groups of copies.
        alike: Groups of photographs of one thing, copies among them.
        split: Of a study: id -> fold.
        are_grouped: The study keeps near-copies together; those in both parts stay a finding, since parts are given.

    Yields:
        The findings.
    """
    samples, eye = dataset.samples, words_of(dataset).eye
    names = [f"{sample.id} ({label_of(sample, dataset.classes)})" for sample in samples]

    def items(chosen: Sequence[tuple[int, ...]]) -> list[Item]:
        return [
            Item(" = ".join(names[index] for index in group), tuple(samples[index] for index in group))
            for group in chosen
        ]

    def labels(group: tuple[int, ...]) -> int:
        return len({samples[index].label for index in group} - {None})

    contradictory = [group for group in copies if labels(group) > 1]
    yield from about(
        "contradictory-copies",
        "corrupts",
        items(contradictory),
        ("picture has two different labels", "pictures have two different labels each"),
        "keep one label, the right one, or take both out: each teaches against the other",
    )
    leaking = [group for group in copies if _parts(samples, group) > 1]
    yield from about(
        "copies-across-parts",
        "corrupts",
        items(leaking),
        ("picture is in training and in test", "pictures are in training and in test"),
        "take it out of one of them, or the test flatters",
    )
    rest = [group for group in copies if group not in contradictory and group not in leaking]
    yield from about(
        "copies",
        "look",
        items(rest),
        ("picture occurs more than once", "pictures occur more than once"),
        "keep one of each; a study keeps them on one side of every split",
    )
    # One thing under several exposures, that nothing else keeps together.
    known = _known(samples, copies)
    near = [group for group in alike if len({known[index] for index in group}) > 1]
    across = [group for group in near if _parts(samples, group) > 1 or _folds(samples, group, split) > 1]
    cure = (
        "make the study with --group-near-copies, or name what photographs of one thing belong to (--patient, or a "
        "column of the table), so that none is judged by what was learned from another"
    )
    of_parts = (
        "where one is in the test part, take the others out of training (or it out of the test); where folds divide "
        "them, make the study with --group-near-copies"
    )
    yield from about(
        "near-copies-across-split",
        "corrupts",
        items(across),
        (
            f"{eye} was photographed several times and is on both sides of a split",
            f"{eye}s were photographed several times and are on both sides of a split",
        ),
        of_parts,
    )
    yield from about(
        "near-copies",
        "misleads",
        items([] if are_grouped else [group for group in near if group not in across]),
        (
            f"{eye} was photographed several times, and nothing says that these belong together",
            f"{eye}s were photographed several times, and nothing says that these belong together",
        ),
        cure,
    )
    one = {frozenset(group) for group in contradictory}
    yield from about(
        "contradictory-near-copies",
        "look",
        items([group for group in alike if labels(group) > 1 and frozenset(group) not in one]),
        (f"{eye} has different labels", f"{eye}s have different labels"),
        "look which is right, or whether it has changed between the photographs",
    )


def _known(samples: Sequence[Sample], copies: Groups) -> dict[int, int]:
    """Index -> number of the group that patients and copies make."""
    found = known_groups(mark_twins(samples, copies))
    return {index: number for number, group in enumerate(found) for index in group}


def _parts(samples: Sequence[Sample], group: tuple[int, ...]) -> int:
    return len({samples[index].part for index in group})


def _folds(samples: Sequence[Sample], group: tuple[int, ...], split: Mapping[str, int] | None) -> int:
    return len({split[samples[index].id] for index in group if samples[index].id in split}) if split else 0
