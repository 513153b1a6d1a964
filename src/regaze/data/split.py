"""Folds for cross-validation that keep a patient, and every copy of a picture, on one side.

Two photographs of one visit share their grade far more often than two random ones, so a split that divides them
flatters the model. Here photographs are joined into groups by patient and by twin (and by chains of both), and whole
groups are dealt out so that every fold gets its share of every class.

scikit-learn's `StratifiedGroupKFold` has the same aim, but depends on the order of the samples and warns about rare
classes; its balance on IDRiD is matched by the dealing below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from regaze.data.match import groups
from regaze.errors import DataError, OptionError
from regaze.records import Sample


def make_split(samples: Sequence[Sample], folds: int = 5, seed: int = 0) -> dict[str, int]:
    """Deal the training photographs into folds, whole groups at a time, with like shares of every class.

    The largest groups are dealt first, among equals those with the rarest class; each goes to the fold in
    which it adds least to the sum over classes of n_fold,class^2 / n_class, plus the same for photographs as
    such. Photographs without a grade count as a class of their own.

    Args:
        samples: Photographs of both parts, in any order.
        folds: Number of folds, 2 or more.
        seed: Decides among equals; the same seed gives the same folds, in whatever order the samples come.

    Returns:
        `Sample.id` -> fold 0..folds - 1, for every sample of the training part and no other.

    Raises:
        OptionError: Fewer than two folds.
        DataError: Fewer groups than folds.
    """
    if folds < 2:
        raise OptionError(f"folds is {folds}: a split needs 2 folds or more.")
    training = sorted((sample for sample in samples if sample.part == "training"), key=lambda sample: sample.id)
    grouped = groups(len(training), _links(training))
    if len(grouped) < folds:
        raise DataError(
            f"{len(training)} training photographs form {len(grouped)} groups (photographs of one patient and copies "
            f"of one picture stay together), too few for {folds} folds: ask for fewer folds or check the patients."
        )
    fold_of: dict[str, int] = {}
    for group, fold in _dealt(training, grouped, folds, seed):
        fold_of.update((training[index].id, fold) for index in group)
    return fold_of


def _links(samples: Sequence[Sample]) -> Iterator[tuple[int, int]]:
    """Pairs of indices that share a patient or a twin."""
    first: dict[tuple[str, str], int] = {}
    for index, sample in enumerate(samples):
        for kind, value in (("patient", sample.patient), ("twin", sample.twin)):
            if value is not None:
                yield first.setdefault((kind, value), index), index


def _dealt(
    samples: Sequence[Sample], grouped: Sequence[tuple[int, ...]], folds: int, seed: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every group with its fold, see `make_split`."""
    labels = sorted({sample.label for sample in samples}, key=lambda label: -1 if label is None else label)
    column = {label: number for number, label in enumerate(labels)}
    totals = Counter(sample.label for sample in samples)
    # One column per class and a last one for all photographs.
    weight = np.array([1 / totals[label] for label in labels] + [1 / len(samples)])
    filled = np.zeros((folds, len(weight)))

    def counts(group: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        row = np.zeros(len(weight))
        for index in group:
            row[column[samples[index].label]] += 1
        row[-1] = len(group)
        return row

    def order(group: tuple[int, ...]) -> tuple[int, int, bytes]:
        return -len(group), min(totals[samples[i].label] for i in group), _random_key(seed, samples[group[0]].id)

    preference = sorted(range(folds), key=lambda fold: _random_key(seed, f"fold {fold}"))
    for group in sorted(grouped, key=order):
        row = counts(group)
        # (n + g)^2 - n^2 = 2ng + g^2, and g^2 is the same in every fold. Rounding, so that equals are equals.
        added = np.round(filled @ (row * weight), 9)
        fold = min(preference, key=lambda fold: added[fold])
        filled[fold] += row
        yield group, fold


def _random_key(seed: int, name: str) -> bytes:
    """Bytes that order items at random by seed and name, so that no input order matters."""
    return blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
