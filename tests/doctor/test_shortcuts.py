"""What goes with the class is found by its effect; what does not is passed over in silence."""

import pytest

from regaze.doctor.look import Look
from regaze.doctor.shortcuts import period_findings, shortcut_findings
from regaze.records import Dataset, Sample

ALIKE = {"width": 160, "height": 120, "size": 4000, "encoding": "JPEG 90", "colour": (150.0, 90.0, 40.0)}


def data(with_class):
    """Sixty photographs of two classes; `with_class`: class -> what the look, or the period, has in it."""
    samples, looks = [], []
    for number in range(60):
        label = number % 2
        values = ALIKE | with_class(label, number)
        period = values.pop("period", None)
        samples.append(Sample(f"s{number}", f"s{number}.jpg", label, period=period))
        looks.append(Look(**values))
    return Dataset("csv:x", ("good", "scratch"), False, tuple(samples), ""), list(zip(samples, looks, strict=True))


SHORTCUTS = {
    "camera": lambda label, _: {"camera": ("A", "B")[label]},
    "period": lambda label, _: {"period": ("2009", "2010")[label]},
    "size": lambda label, _: {"width": (160, 320)[label], "size": (4000, 8000)[label]},
    "format-and-compression": lambda label, _: {"encoding": ("JPEG 90", "PNG")[label]},
    "bytes-per-pixel": lambda label, number: {"size": 4000 + 900 * label + number},
    "mean-colour": lambda label, number: {"colour": (150.0 + 20 * label + number / 9, 90.0, 40.0 - 8 * label)},
    "brightness": lambda label, number: {"colour": tuple((1 + label / 5 + number / 900) * c for c in ALIKE["colour"])},
}


@pytest.mark.parametrize("name", SHORTCUTS)
def test_a_shortcut_is_found_by_its_name(name):
    """What tells the class is found, its effect stands before its p, and the cure after both."""
    dataset, pairs = data(SHORTCUTS[name])
    found = list(shortcut_findings(dataset, pairs))
    assert f"shortcut-{name}" in [finding.kind for finding in found]
    finding = next(finding for finding in found if finding.kind == f"shortcut-{name}")
    assert finding.harm == "misleads"
    assert finding.text.index("association") < finding.text.index("p below .001") < finding.text.index("a model may")


def test_what_is_alike_in_all_classes_is_no_shortcut():
    """Two cameras and colours that are dealt out evenly are not mentioned."""
    dataset, pairs = data(
        lambda _, number: {"camera": ("A", "B")[number // 2 % 2], "size": 4000 + number * 37 % 60, "period": "2009"}
    )
    assert list(shortcut_findings(dataset, pairs)) == []
    assert list(period_findings(dataset)) == []


def test_a_period_is_known_without_a_look():
    """`init` finds that classes go with the year."""
    dataset, _ = data(SHORTCUTS["period"])
    assert [finding.kind for finding in period_findings(dataset)] == ["shortcut-period"]
