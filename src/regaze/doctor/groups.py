"""Findings about labels, patients and classes: what is known of the photographs, and what it allows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from regaze.data.classes import off_scale
from regaze.data.split import known_groups
from regaze.doctor.finding import Finding, Item, about, examples
from regaze.records import Dataset, Sample
from regaze.words import words_of

_FEW_JUDGED = 10  # photographs of a class below which its share of right grades is a guess


def label_findings(dataset: Dataset) -> Iterator[Finding]:
    """Findings about labels: such as lie outside the scale of all others, and missing ones.

    Args:
        dataset: All photographs.

    Yields:
        The findings.
    """
    graded = [sample for sample in dataset.samples if sample.label is not None]
    counts = Counter(dataset.classes[sample.label] for sample in graded if sample.label is not None)
    strays = [] if dataset.ordinal else off_scale(counts)
    items = [
        Item(f"{sample.id}: {dataset.classes[sample.label]}", (sample,))
        for sample in graded
        if sample.label is not None and dataset.classes[sample.label] in strays
    ]
    yield from about(
        "label-outside-scale",
        "corrupts",
        items,
        ("label lies outside the scale of all others", "labels lie outside the scale of all others"),
        "correct it, or empty the cell; until then the classes count as without order",
    )
    if len(graded) < len(dataset.samples):
        missing = len(dataset.samples) - len(graded)
        text = f"{missing} of {len(dataset.samples)} photographs have no label: nothing is learned from them but maps."
        yield Finding("no-label", "look", text)


def patient_findings(dataset: Dataset, split: Mapping[str, int] | None = None) -> Iterator[Finding]:
    """Findings about patients: on both sides of a split, or not known.

    Args:
        dataset: All photographs.
        split: Of a study: id -> fold.

    Yields:
        The findings.
    """
    samples, words = dataset.samples, words_of(dataset)
    by_patient: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.patient is not None:
            by_patient[sample.patient].append(sample)
    items = []
    for patient, members in by_patient.items():
        parts = Counter(sample.part for sample in members)
        folds = {split[sample.id] for sample in members if sample.id in split} if split else set()
        if len(parts) > 1:
            sides = f"{parts['training']} in training, {parts['test']} in test"
            items.append(Item(f"{patient}: {sides}", tuple(members)))
        elif len(folds) > 1:
            items.append(Item(f"{patient}: folds {', '.join(map(str, sorted(folds)))}", tuple(members)))
    yield from about(
        "patients-across-split",
        "corrupts",
        items,
        (f"{words.patient} is on both sides of a split", f"{words.patients} are on both sides of a split"),
        f"put all photographs of one {words.patient} into one part, or the test flatters",
    )
    unknown = sum(sample.patient is None for sample in samples)
    if unknown == len(samples):
        several = (
            "both eyes or several visits of one patient" if dataset.eyes else f"several photographs of one {words.eye}"
        )
        text = (
            f"No {words.patient} is known: {several} may lie on both sides of a split, which flatters; name the "
            f"{words.patient} (--patient with a column, or an expression on the file name)."
        )
        yield Finding("no-patient", "misleads", text)
    elif unknown:
        share = f"{unknown} of {len(samples)} photographs"
        text = f"The {words.patient} of {share} is unknown: fill it in where it can be known."
        yield Finding("unknown-patient", "look", text)


def class_findings(dataset: Dataset, folds: int) -> Iterator[Finding]:
    """Findings about classes that are too small for what is planned.

    Args:
        dataset: All photographs.
        folds: Folds of the study; 1: one fixed part of a fifth.

    Yields:
        The findings.
    """
    needed = folds if folds > 1 else 5
    training, test = class_counts(dataset)
    small = {name: units for name, (_, units) in training.items() if units < needed}
    what = f"{folds} folds" if folds > 1 else "a validation part of one fifth"
    if small:
        listed = examples(f"{name} {units}" for name, units in small.items())
        allowed = min(small.values())
        cure = (
            f"take --folds {allowed}" if allowed > 1 and folds > 1 else "add photographs of it, or join it to another"
        )
        text = (
            f"{len(small)} {'class has' if len(small) == 1 else 'classes have'} fewer groups "
            f"({words_of(dataset).patients}, else photographs) than {what} need{'s' * (folds == 1)} to hold one each "
            f"({listed}): {cure}."
        )
        yield Finding("small-class", "misleads", text)
    if test:
        few = {name: test.get(name, 0) for name in training if test.get(name, 0) < _FEW_JUDGED}
        if few:
            listed = examples(f"{name} {count}" for name, count in few.items())
            text = (
                f"The test part has fewer than {_FEW_JUDGED} photographs of {len(few)} of {len(training)} classes "
                f"({listed}): what is said of these alone is a guess."
            )
            yield Finding("small-test-class", "look", text)


def class_counts(dataset: Dataset) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Class -> (photographs, groups) of the training part, and class -> photographs of the test part, if there is one.

    A group is a patient, or copies of one picture; a photograph that belongs to none is one by itself.
    """
    training = [sample for sample in dataset.samples if sample.part == "training"]
    photographs = Counter(sample.label for sample in training)
    units: Counter[int | None] = Counter()
    for group in known_groups(training):
        units.update({training[index].label for index in group})
    test = Counter(sample.label for sample in dataset.samples if sample.part == "test")
    names = dict(enumerate(dataset.classes))
    return (
        {name: (photographs[index], units[index]) for index, name in names.items()},
        {name: test[index] for index, name in names.items()} if test else {},
    )
