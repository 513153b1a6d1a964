"""What is made of labels: an order only where there is one, a sound class only where there is one, no nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regaze.data.classes import (
    LabelWish,
    UnknownLabelError,
    arrange,
    is_missing,
    natural_key,
    referable_from,
    refuse_no_classes,
    sound_class,
    speak_of_the_eye,
)
from regaze.errors import DataError


def taken(labels, wish=None, graded_by="", fundus=False):
    """Classes and order of labels."""
    found = arrange(labels, "t.csv", wish or LabelWish(), graded_by, lambda: fundus)
    return found.classes, found.ordinal


@pytest.mark.parametrize(
    ("names", "expected", "ordinal"),
    [
        (["R4", "R0", "R1", "R3", "R2"], ("R0", "R1", "R2", "R3", "R4"), True),
        (["grade_2", "grade_10", "grade_1"], ("grade_1", "grade_2", "grade_10"), True),
        (["Stage 2", "Stage 1"], ("Stage 1", "Stage 2"), True),
        (["class_0", "class_1", "class_2"], ("class_0", "class_1", "class_2"), False),
        (["10", "9", "11"], ("9", "10", "11"), False),
        (["0", "1", "2", "3", "4"], ("0", "1", "2", "3", "4"), False),
        (["R0", "S1"], ("R0", "S1"), False),
        (["sick", "healthy"], ("healthy", "sick"), False),
        (["0", "00"], ("0", "00"), False),
    ],
)
def test_numbers_are_a_scale_only_where_they_are_named_as_grades(names, expected, ordinal):
    """Numbers of classes are no grades; classes sort by the numbers in them."""
    assert taken(names) == (expected, ordinal)


@pytest.mark.parametrize("column", ["level", "DR_grade", "adjudicated_dr_grade", "diagnosis", "Retinopathy grade"])
def test_a_column_of_grades_makes_numbers_a_scale(column):
    """A column that is called as grades are says that its numbers are grades, also those that nobody has."""
    assert taken(["0", "2", "4"], graded_by=column) == (("0", "1", "2", "3", "4"), True)
    assert taken(["0", "2", "1"], graded_by="label") == (("0", "1", "2"), False)


def test_numbers_of_fundus_photographs_are_grades_up_to_four():
    """0 to 4 of fundus photographs is the clinical scale; higher numbers are something else."""
    assert taken(["0", "1", "3"], fundus=True) == (("0", "1", "2", "3"), True)
    assert taken(["class0", "class1"], fundus=True) == (("class0", "class1"), True)
    assert taken(list("0123456"), fundus=True) == (tuple("0123456"), False)


@pytest.mark.parametrize(
    "names",
    [
        ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"),
        ("No DR", "Mild", "Moderate", "Severe", "Proliferative DR"),
        ("NoDR", "mild npdr", "moderate npdr", "severe npdr", "PDR"),
        ("0 - No DR", "1 - Mild", "2 - Moderate", "3 - Severe", "4 - Proliferative"),
        ("Normal", "Mild NPDR", "Moderate NPDR", "Severe NPDR", "PDR"),
        ("no diabetic retinopathy", "Mild_Nonproliferative_DR", "MODERATE", "SEVERE", "proliferative retinopathy"),
        ("healthy", "moderate", "severe"),
        ("mild", "severe"),
    ],
)
def test_words_of_retinopathy_have_their_order(names):
    """Whatever the spelling and the order in which they come, the worst is last."""
    assert taken(sorted(names)) == (names, True)
    assert taken(sorted(names), LabelWish(ordinal=False)) == (names, False)


def test_a_user_gives_the_order():
    """--classes is the order, of words and of numbers; a class that nobody has is noted; others are refused."""
    wish = LabelWish(("good", "worn", "broken", "lost"))
    found = arrange(["worn", "good", "broken"], "t.csv", wish, "", lambda: False)
    assert (found.classes, found.ordinal, found.indices) == (wish.classes, True, (1, 0, 2))
    assert found.notes == ("No photograph has the grade lost.",)
    assert not arrange(["worn"], "t.csv", LabelWish(wish.classes, ordinal=False), "", lambda: False).ordinal
    assert arrange(["02", "1.0"], "t.csv", LabelWish(("1", "2")), "", lambda: False).indices == (1, 0)
    with pytest.raises(UnknownLabelError, match="row 1: the label 'dirty' is none of the classes good, worn"):
        arrange(["good", "dirty"], "t.csv", wish, "", lambda: False, lambda row: f"row {row}")
    with pytest.raises(DataError, match="nothing says in which order crack, hole are: pass --classes"):
        taken(["hole", "crack"], LabelWish(ordinal=True))
    assert taken(["1", "2", "0"], LabelWish(ordinal=True)) == (("0", "1", "2"), True)
    assert taken(["R1", "R0"], LabelWish(ordinal=False)) == (("R0", "R1"), False)


MISSING = ["", "nan", "NaN", "NA", "N/A", "n.a.", "None", "null", "<NA>", "#N/A", "-", "--", "?", "unknown", "ungraded"]


@pytest.mark.parametrize("text", MISSING)
def test_written_out_missing_labels_are_not_graded(text):
    """However a program writes "nothing", it is no class, and the grades keep their order; a note counts it."""
    assert is_missing(text)
    found = arrange(["0", text, "1", "2"], "t.csv", LabelWish(), "level", lambda: False)
    assert (found.classes, found.ordinal, found.indices) == (("0", "1", "2"), True, (0, None, 1, 2))
    assert any(f"'{text}' 1" in note for note in found.notes) == bool(text)


def test_none_may_be_a_class():
    """`none` beside words may be the class without a finding: the user says which; beside a sound class it is none."""
    with pytest.raises(DataError, match=r"may mean 'no finding' or 'not graded': pass --classes none,crack,hole"):
        taken(["none", "crack", "hole"])
    assert taken(["none", "crack"], LabelWish(("none", "crack"))) == (("none", "crack"), True)
    assert taken(["none", "crack", "good"]) == (("crack", "good"), False)
    with pytest.raises(DataError, match="have no label"):
        taken(["nan", ""])


@pytest.mark.parametrize("labels", [["0.013", "0.5", "0.9"], ["0,5", "1,25"], ["1e-3", "2e-3"], ["12.5 %", "3 %"]])
def test_measurements_are_refused(labels):
    """Numbers with decimals are measurements, until the user calls them classes."""
    with pytest.raises(DataError, match="look like a measurement"):
        taken(labels)
    assert taken(labels, LabelWish(tuple(labels)))[0] == tuple(labels)


def test_labels_that_teach_nothing_are_refused():
    """One class alone, and one class per photograph, are no classes; a few photographs of many classes are."""
    with pytest.raises(DataError, match=r"all 3 graded photographs are of one class, train, and .*one level too high"):
        refuse_no_classes(["train"] * 3, "folder:x", " (one level too high?)")
    with pytest.raises(DataError, match="5 different labels for 5 photographs look like names"):
        refuse_no_classes(list("abcde"), "csv:x")
    with pytest.raises(DataError, match="30 different labels for 40 photographs"):
        refuse_no_classes([str(number % 30) for number in range(40)], "csv:x")
    refuse_no_classes(["a", "b", "c"], "csv:x")
    refuse_no_classes([str(number % 8) for number in range(16)], "csv:x")


def test_ages_and_identities_are_no_grades():
    """Whole numbers far from 0 are refused with their place; many numbered classes from 0 on are classes."""
    with pytest.raises(DataError, match=r"label 57 is outside 0..19.*such as an age"):
        taken(["57", "0", "57"])
    numbers = [str(number) for number in range(40)]
    assert taken(numbers) == (tuple(numbers), False)


@pytest.mark.parametrize(
    ("classes", "ordinal", "sound"),
    [
        (("0", "1", "2"), True, 0),
        (("R0", "R1"), True, 0),
        (("0", "1", "2"), False, None),
        (("R1", "R2"), True, None),
        (("grade_1", "grade_2"), True, None),
        (("Mild", "Severe"), True, None),
        (("No_DR", "Mild"), True, 0),
        (("crack", "good", "hole"), False, 1),
        (("benign", "malignant", "normal"), False, 2),
        (("glioma", "meningioma", "notumor"), False, 2),
        (("Defective", "Non-Defective"), False, 1),
        (("crack", "hole"), False, None),
        (("good", "normal", "hole"), False, None),
        (("abnormal", "diseased"), False, None),
        (("noise", "scratch"), False, None),
    ],
)
def test_the_sound_class_is_named_so_or_the_zero_of_a_scale(classes, ordinal, sound):
    """No other class counts as free of lesions for free."""
    assert sound_class(classes, ordinal) == sound


def test_a_user_names_the_sound_class():
    """--sound-class goes before all; a name that is no class is refused."""
    assert sound_class(("0", "1"), True, "1") == 1
    with pytest.raises(DataError, match="--sound-class fine: expected one of the classes, crack, good"):
        sound_class(("crack", "good"), False, "fine")


@pytest.mark.parametrize(
    ("classes", "ordinal", "fundus", "expected"),
    [
        (("0", "1", "2", "3", "4"), True, True, 2),
        (("R0", "R1", "R2"), True, True, 2),
        (("0", "1", "2", "3", "4"), True, False, None),
        (("0", "1", "2", "3", "4"), False, True, None),
        (("0", "1"), True, True, None),
        (("No DR", "Mild", "Moderate", "Severe", "PDR"), True, False, 2),
        (("No DR", "Moderate", "PDR"), True, False, 1),
        (("normal", "mild", "severe"), True, False, None),
        (("good", "worn", "broken"), True, True, None),
        (tuple("0123456"), True, True, None),
    ],
)
def test_referable_means_something_for_retinopathy_alone(classes, ordinal, fundus, expected):
    """Only grades of retinopathy have a grade from which a patient is referred."""
    assert referable_from(classes, ordinal, fundus or speak_of_the_eye(classes)) == expected


def test_two_spellings_of_one_class_are_said():
    """`blowhole` beside `Blowhole` stays two classes, and is said."""
    found = arrange(["blowhole", "Blowhole", "crack"], "t.csv", LabelWish(), "", lambda: False)
    assert len(found.classes) == 3
    assert "spelled nearly alike" in found.notes[0]


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_total(names):
    """Names sort alike from every order, and different names have different keys."""
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)
    assert len({str(natural_key(name)) for name in set(names)}) == len(set(names))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_every_graded_photograph_has_the_class_that_it_names(labels):
    """Whatever the labels, they are refused in one line or each index names its own label."""
    try:
        found = arrange(labels, "t.csv", LabelWish(), "", lambda: False)
    except DataError as error:
        assert "t.csv" in str(error)
        return
    for label, index in zip(labels, found.indices, strict=True):
        assert index is None or found.classes[index] == label
        assert (index is None) == is_missing(label)
