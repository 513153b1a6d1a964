"""Names that come in pairs are noticed, and the expression offered groups them."""

from pathlib import Path

import pytest

from regaze.data.folder import with_patients
from regaze.data.pairs import pair_expression
from regaze.data.split import known_groups
from regaze.records import Sample

PATIENTS = 12


def samples(*forms):
    """Photographs of twelve patients, one for each form of a name, of three classes."""
    names = [form.format(patient) for patient in range(10, 10 + PATIENTS) for form in forms]
    return [Sample(name, Path(f"{name}.jpg"), index % 3) for index, name in enumerate(names)]


@pytest.mark.parametrize(
    "forms",
    [
        ("{}_left", "{}_right"),
        ("{}-Left", "{}-RIGHT"),
        ("left_{}", "right_{}"),
        ("{}left", "{}right"),
        ("{}_left_1", "{}_left_2", "{}_right_1"),
        ("{}_LeftEye", "{}_RightEye"),
        ("{}L", "{}R"),
        ("L{}", "R{}"),
        ("Patient {} L", "Patient {} R"),
        ("{}.l", "{}.r"),
        ("{}_L_001", "{}_R_001"),
        ("P{}OD", "P{}OS"),
        ("RET0{}OD", "RET0{}OS"),
        ("OD_{}", "OS_{}"),
        ("20200101_P{}_OD", "20200101_P{}_OS"),
        ("{}_RE", "{}_LE"),
        ("{}OculusDexter", "{}OculusSinister"),
        ("site_left_{}", "site_right_{}"),
        ("{}_1", "{}_2"),
        ("{}-01", "{}-02", "{}-03"),
        ("{} (1)", "{} (2)"),
        ("{}(1)", "{}(2)"),
        ("patient{}_slice0", *(f"patient{{}}_slice{number}" for number in range(1, 14))),
        ("{}a", "{}b"),
        ("{}_shot1", "{}_shot2"),
        ("exp1_num_{}", "exp2_num_{}", "exp3_num_{}"),
        ("{}/left", "{}/right"),
    ],
)
def test_usual_spellings_of_pairs(forms):
    """The expression offered for a spelling, handed in as it is, makes one group of each patient."""
    photographs = samples(*forms)
    expression = pair_expression(photographs)
    assert expression is not None
    marked, notes = with_patients(photographs, expression)
    assert not notes
    assert len(known_groups(marked)) == PATIENTS
    for index in range(0, len(marked), len(forms)):
        assert len({sample.patient for sample in marked[index : index + len(forms)]}) == 1


@pytest.mark.parametrize("form", ["IDRiD_0{}", "img{}", "{}", "20051019_{}_0100_PP", "{}_left"])
def test_names_without_pairs_offer_nothing(form):
    """Running numbers are no pairs, and one eye of each patient is none."""
    assert pair_expression(samples(form)) is None


def test_numbers_that_count_a_class_are_no_patients():
    """`benign (1)` to `benign (9)`: as many groups as classes."""
    names = [f"{name} ({number})" for name in ("benign", "malignant", "normal") for number in range(1, 10)]
    photographs = [Sample(name, Path(f"{name}.png"), index // 9) for index, name in enumerate(names)]
    assert pair_expression(photographs) is None


def test_sides_in_several_spellings():
    """Two sites that spell sides otherwise: every photograph is named by one expression."""
    names = [f"{patient}_{side}" for patient in range(8) for side in (("left", "right") if patient < 4 else ("R", "L"))]
    photographs = [Sample(name, Path(f"{name}.jpg"), 0) for name in names]
    marked, notes = with_patients(photographs, str(pair_expression(photographs)))
    assert (len(known_groups(marked)), notes) == (8, [])


def test_a_number_of_the_class_before_that_of_the_photograph_is_no_shot():
    """`0_3` and `1_3`, classes 0 and 1, have nothing to do with each other."""
    photographs = [
        Sample(f"{label}_{number}", Path(f"{label}_{number}.png"), label) for label in (0, 1) for number in range(8)
    ]
    assert pair_expression(photographs) is None
