"""Folds for cross-validation that keep a patient, and every copy of a picture, on one side; if wanted periods too.

Two photographs of one visit share their grade far more often than two random ones, so a split that divides them
flatters the model. Here photographs are joined into groups by patient and by twin (and by chains of both), for a split
by period also by period (`data.periods`), and whole groups are dealt out so that every fold gets its share of every
class.

scikit-learn's `StratifiedGroupKFold` has the same aim, but depends on the order of the samples and warns about rare
classes; its balance on IDRiD is matched by the dealing below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import product

import numpy as np
from numpy.typing import NDArray

from regaze.data.match import groups
from regaze.data.periods import cut_periods
from regaze.errors import DataError, OptionError
from regaze.records import Sample

_FINEST = 4  # periods are cut to the size of a fold; where a fold lacks a class to a half, a third, a quarter of it
_FEW = 60  # up to so many periods, folds that lack a class are searched for better ones (a second or two at most)

_Groups = Sequence[tuple[int, ...]]


def make_split(samples: Sequence[Sample], folds: int = 5, seed: int = 0, *, by_period: bool = False) -> dict[str, int]:
    """Deal the training photographs into folds, whole groups at a time, with like shares of every class.

    The largest groups are dealt first, among equals those with the rarest class; each goes to the fold in
    which it adds least to the sum over classes of n_fold,class^2 / n_class, plus the same for photographs as
    such. Photographs without a grade count as a class of their own.

    By period, periods are cut as coarsely as gives every fold every class (where nothing does, as leaves the fewest
    out), and single periods change folds as long as that helps. A photograph of unknown period follows its patient and
    its twin; all others of unknown period are one period.

    Args:
        samples: Photographs of both parts, in any order.
        folds: Number of folds, 2 or more.
        seed: Decides among equals; the same seed gives the same folds, in whatever order the samples come.
        by_period: Leave whole periods out.

    Returns:
        `Sample.id` -> fold 0..folds - 1, for every sample of the training part and no other.

    Raises:
        OptionError: Fewer than two folds.
        DataError: Fewer groups than folds, or no known period to split by.
    """
    if folds < 2:
        raise OptionError(f"folds is {folds}: a split needs 2 folds or more.")
    training = sorted((sample for sample in samples if sample.part == "training"), key=lambda sample: sample.id)
    grouped = known_groups(training)
    if by_period:
        return _by_period(training, grouped, folds, seed)
    if len(grouped) < folds:
        raise DataError(
            f"{len(training)} training photographs form {len(grouped)} groups (what belongs together and copies of "
            f"one picture are not divided), too few for {folds} folds: ask for fewer folds or check --patient."
        )
    return _split(training, grouped, _Dealer(training, grouped).deal(folds, seed))


def known_groups(samples: Sequence[Sample]) -> list[tuple[int, ...]]:
    """Groups of indices that patients and copies of one picture make of photographs."""
    return groups(len(samples), _links(samples))


def _by_period(training: Sequence[Sample], grouped: _Groups, folds: int, seed: int) -> dict[str, int]:
    """See `make_split`."""
    if training and all(sample.period is None for sample in training):
        raise DataError(
            f"None of the {len(training)} training photographs says when it was taken (no date in its EXIF, or the "
            "column is empty), so there are no periods to split by: pass --split-by patient, or fill in a column (csv)."
        )
    found: list[tuple[int, int, dict[str, int]]] = []
    for cuts in range(1, _FINEST + 1):
        joined = _joined(training, grouped, len(training) / (folds * cuts))
        if len(joined) < folds:
            continue
        dealer = _Dealer(training, joined)
        dealt = dealer.improve(dealer.deal(folds, seed), folds)
        found.append((dealer.lacking(dealt, folds), cuts, _split(training, joined, dealt)))
        if not found[-1][0]:
            break
    if not found:
        raise DataError(
            f"{len(training)} training photographs form {len(joined)} groups (photographs of one period or column "
            f"value, what belongs together and copies of one picture are not divided), too few for {folds} folds: "
            "ask for fewer with --folds, or pass --split-by patient."
        )
    return min(found, key=lambda each: each[:2])[2]


def _links(samples: Sequence[Sample]) -> Iterator[tuple[int, int]]:
    """Pairs of indices that share a patient or a twin."""
    first: dict[tuple[str, str], int] = {}
    for index, sample in enumerate(samples):
        for kind, value in (("patient", sample.patient), ("twin", sample.twin)):
            if value is not None:
                yield first.setdefault((kind, value), index), index


def _joined(samples: Sequence[Sample], grouped: _Groups, most: float) -> list[tuple[int, ...]]:
    """Groups of patients and twins, joined by the periods in which any of them was photographed."""
    periods = cut_periods(samples, most)
    first: dict[tuple[str, int] | None, int] = {}
    none: set[tuple[str, int] | None] = {None}
    links = [(group[0], index) for group in grouped for index in group]
    for group in grouped:
        known = {period for index in group if (period := periods[index]) is not None}
        links += [(first.setdefault(period, group[0]), group[0]) for period in known or none]
    return groups(len(samples), links)


def _split(samples: Sequence[Sample], grouped: _Groups, dealt: Sequence[int]) -> dict[str, int]:
    return {samples[index].id: fold for group, fold in zip(grouped, dealt, strict=True) for index in group}


class _Dealer:
    """Puts whole groups into folds so that every fold gets its share of every class."""

    def __init__(self, samples: Sequence[Sample], grouped: _Groups) -> None:
        totals = Counter(sample.label for sample in samples)
        labels = sorted(totals, key=lambda label: -1 if label is None else label)
        column = {label: number for number, label in enumerate(labels)}
        # One column per class and a last one for all photographs.
        self.weight_C = np.array([1 / totals[label] for label in labels] + [1 / max(1, len(samples))])
        self.counts_GC = np.zeros((len(grouped), len(labels) + 1))
        for row, group in enumerate(grouped):
            for index in group:
                self.counts_GC[row, column[samples[index].label]] += 1
            self.counts_GC[row, -1] = len(group)
        self.classes = [column[label] for label in labels if label is not None]
        self.rarest = [min(totals[samples[index].label] for index in group) for group in grouped]
        self.names = [samples[group[0]].id for group in grouped]

    def deal(self, folds: int, seed: int) -> list[int]:
        """A fold for every group, one after the other."""
        filled = np.zeros((folds, len(self.weight_C)))
        preference = sorted(range(folds), key=lambda fold: _random_key(seed, f"fold {fold}"))
        dealt = [0] * len(self.names)

        def order(group: int) -> tuple[float, int, bytes]:
            return -self.counts_GC[group, -1], self.rarest[group], _random_key(seed, self.names[group])

        for group in sorted(range(len(dealt)), key=order):
            row = self.counts_GC[group]
            # (n + g)^2 - n^2 = 2ng + g^2, and g^2 is the same in every fold. Rounding, so that equals are equals.
            added = np.round(filled @ (row * self.weight_C), 9)
            fold = min(preference, key=lambda fold: added[fold])
            filled[fold] += row
            dealt[group] = fold
        return dealt

    def lacking(self, dealt: Sequence[int], folds: int) -> int:
        """How often a fold lacks a class."""
        return int((self._filled(dealt, folds)[:, self.classes] == 0).sum())

    def improve(self, dealt: list[int], folds: int) -> list[int]:
        """Move one group, or let two change places, as long as fewer folds lack a class or shares come out more alike.

        Left as it is where nothing is lacking, or where groups are so many that dealing them one by one does well.
        """
        if len(dealt) > _FEW or not self.lacking(dealt, folds):
            return dealt
        best, cost = dealt, self._cost(dealt, folds)
        while True:
            tried = [(self._cost(other, folds), other) for other in _neighbours(best, folds)]
            least, other = min(tried, key=lambda each: each[0], default=(cost, best))
            if least >= cost:
                return best
            best, cost = other, least

    def _cost(self, dealt: Sequence[int], folds: int) -> tuple[int, float]:
        filled = self._filled(dealt, folds)
        return int((filled[:, self.classes] == 0).sum()), round(float((filled**2 @ self.weight_C).sum()), 9)

    def _filled(self, dealt: Sequence[int], folds: int) -> NDArray[np.float64]:
        filled = np.zeros((folds, len(self.weight_C)))
        np.add.at(filled, np.asarray(dealt), self.counts_GC)
        return filled


def _neighbours(dealt: list[int], folds: int) -> Iterator[list[int]]:
    """Yield the folds with one group in another fold, then with two groups in each other's."""
    for group, fold in product(range(len(dealt)), range(folds)):
        if fold != dealt[group]:
            yield [*dealt[:group], fold, *dealt[group + 1 :]]
    for one, other in product(range(len(dealt)), repeat=2):
        if one < other and dealt[one] != dealt[other]:
            changed = dealt.copy()
            changed[one], changed[other] = dealt[other], dealt[one]
            yield changed


def _random_key(seed: int, name: str) -> bytes:
    """Bytes that order items at random by seed and name, so that no input order matters."""
    return blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
