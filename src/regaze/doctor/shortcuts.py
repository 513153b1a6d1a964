"""Findings about shortcuts: what goes with the class and is no disease, so that a model may learn it instead.

Each is an association over the graded photographs of the training part. Photographs of one patient count one by one,
so a p is somewhat too small; the effect decides as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from regaze.doctor.finding import Finding
from regaze.doctor.look import Look
from regaze.evaluation.association import Association, of_categories, of_numbers
from regaze.records import Dataset, Sample

_FEWEST = 20  # graded photographs
_EFFECT = 0.1  # below, it hardly helps a model
_P = 0.01  # shared among the things that are looked at
_RARE = 5  # photographs of a value below which it is joined to other rare ones
_MOST_SIZES = 20  # different sizes from which on they are compared as numbers
_OTHER = "other"
_PERIOD = "period (year and camera, or a column)"


def shortcut_findings(dataset: Dataset, pairs: Sequence[tuple[Sample, Look]]) -> Iterator[Finding]:
    """Findings about photographs that can be read.

    Args:
        dataset: Its classes.
        pairs: Photographs, each with the look at it.

    Yields:
        The findings, the strongest first.
    """
    known = [(sample, look) for sample, look in pairs if sample.label is not None and sample.part == "training"]
    if len(known) < _FEWEST:
        return
    looks = [look for _, look in known]
    labels = [sample.label or 0 for sample, _ in known]
    sizes = [f"{look.width} x {look.height}" for look in looks]
    categories: dict[str, Sequence[str]] = {
        "camera": [look.camera for look in looks],
        _PERIOD: [sample.period or "" for sample, _ in known],
        "format and compression": [look.encoding for look in looks],
    }
    light = np.array([look.colour for look in looks]) + 1e-6
    numbers = {
        "mean colour (share of red)": light[:, 0] / light.sum(axis=1),
        "mean colour (share of blue)": light[:, 2] / light.sum(axis=1),
        "brightness": light.mean(axis=1),
        "bytes per pixel": np.array([look.size / max(1, look.width * look.height) for look in looks]),
    }
    if len(set(sizes)) <= _MOST_SIZES:
        categories["size"] = sizes
    else:
        numbers["size in pixels"] = np.array([look.width * look.height for look in looks], dtype=float)
    tests = len(categories) + len(numbers)
    found = [
        *((name, of_categories(_joined(values), labels), values) for name, values in categories.items()),
        *((name, of_numbers(values, labels), values) for name, values in numbers.items()),
    ]
    strong = [(name, link, values) for name, link, values in found if link.effect >= _EFFECT and link.p < _P / tests]
    told: set[str] = set()
    for name, link, values in sorted(strong, key=lambda each: -each[1].effect):
        if (base := name.split(" (")[0]) in told:  # red and blue are one colour
            continue
        told.add(base)
        is_number = isinstance(values, np.ndarray)
        case = _medians(values, labels, dataset) if is_number else _most_unusual(_joined(values), labels, dataset)
        yield _finding(name, link, case)


def period_findings(dataset: Dataset) -> Iterator[Finding]:
    """Whether classes go with the period, which is known before any photograph is decoded.

    Args:
        dataset: Its photographs.

    Yields:
        The finding.
    """
    known = [sample for sample in dataset.samples if sample.label is not None and sample.part == "training"]
    periods = _joined([sample.period or "" for sample in known])
    labels = [sample.label or 0 for sample in known]
    if len(known) >= _FEWEST:
        link = of_categories(periods, labels)
        if link.effect >= _EFFECT and link.p < _P:
            yield _finding(_PERIOD, link, _most_unusual(periods, labels, dataset))


def _finding(name: str, link: Association, case: str) -> Finding:
    text = (
        f"The class goes with {name}: association {link.effect:.2f} of 1 (p {_p(link.p)}, {link.n} photographs; "
        f"{case}): a model may learn {name} instead of what is to be seen; {_CURES.get(name, _CURE)}."
    )
    return Finding(f"shortcut-{name.split(' (')[0].replace(' ', '-')}", "misleads", text)


_CURE = "set it against the blind baseline of `evaluate`"
_CURES = {
    _PERIOD: "leave whole periods out (--split-by period)",
    "camera": "leave whole cameras out (--split-by with a column, or period)",
    "format and compression": "save all photographs alike",
    "bytes per pixel": "save all photographs alike",
    "mean colour (share of red)": "take colour out (--colour normalised)",
    "mean colour (share of blue)": "take colour out (--colour normalised)",
    "brightness": "take illumination out (--colour normalised)",
}


def _p(value: float) -> str:
    return "below .001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _joined(values: Sequence[str]) -> list[str]:
    """Values, rare ones as one, so that a value of one photograph cannot tell its class."""
    counts = Counter(values)
    return [value if counts[value] >= _RARE else _OTHER for value in values]


def _most_unusual(values: Sequence[Hashable], labels: Sequence[int], dataset: Dataset) -> str:
    """The value and class that occur together most unlike what chance would have."""
    pairs, by_value, by_label = Counter(zip(values, labels, strict=True)), Counter(values), Counter(labels)
    expected = {(v, k): by_value[v] * by_label[k] / len(labels) for v in by_value for k in by_label}
    value, label = max(expected, key=lambda cell: (pairs[cell] - expected[cell]) ** 2 / expected[cell])
    return (
        f"{value or 'not known'}: {pairs[value, label]} of {by_value[value]} are {dataset.classes[label]}, "
        f"{expected[value, label]:.0f} expected"
    )


def _medians(values: np.typing.NDArray[np.float64], labels: Sequence[int], dataset: Dataset) -> str:
    """The classes with the lowest and the highest median."""
    of = {label: float(np.median(values[np.array(labels) == label])) for label in sorted(set(labels))}
    low, high = min(of, key=lambda label: of[label]), max(of, key=lambda label: of[label])
    return f"median {of[low]:.3g} in {dataset.classes[low]}, {of[high]:.3g} in {dataset.classes[high]}"
