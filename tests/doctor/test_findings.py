"""Each fault that the doctor knows is found in tiny painted data and named; sound data have none."""

import numpy as np
import pytest
from PIL import Image

from regaze.doctor.finding import HARMS
from regaze.errors import DataError
from tests.data.test_dicom import write as write_dicom
from tests.doctor.conftest import SIDE, eye, spot


def test_sound_data_have_no_finding(table):
    """Nothing is said of data that have nothing wrong, and nothing would corrupt a result."""
    found = table.check()
    assert found.photographs == 16
    assert [finding.text for finding in found.findings] == []
    assert not found.corrupts
    assert found.counts == {"0": (6, 6), "1": (5, 5), "2": (5, 5)}


def test_broken_files_are_all_named(table):
    """Empty, cut short and foreign files are told apart, all at once, and the rest is examined all the same."""
    whole = table.photo(1).read_bytes()
    table.photo(0).write_bytes(b"")
    table.photo(1).write_bytes(whole[: len(whole) // 2])
    table.photo(2).write_bytes(b"no picture at all")
    finding = table.finding("unreadable")
    assert finding.harm == "corrupts"
    assert {(item.text.rpartition("/")[2]) for item in finding.items} == {
        "eye00.png: empty",
        "eye01.png: cut short",
        "eye02.png: unreadable",
    }
    assert sum(photographs for photographs, _ in table.check().counts.values()) == 13


def test_a_folder_with_a_broken_file_is_examined(table, tmp_path):
    """`folder:` data name the broken file too."""
    from regaze.console import Voice
    from regaze.doctor.examine import Wanted, examine

    root = tmp_path / "classes"
    for number in range(16):
        target = root / ("good" if number % 2 else "scratch")
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number}.png").write_bytes(b"" if number == 3 else table.photo(number).read_bytes())
    found = examine(Wanted(f"folder:{root}"), Voice(quiet=True))
    assert [finding.kind for finding in found.findings if finding.harm == "corrupts"] == ["unreadable"]


def test_rows_without_photograph_are_all_named(table):
    """Every row whose file is missing, or that is listed twice, is named, not the first alone."""
    table.rows += [{"image": name, "label": "0"} for name in ("gone1.png", "gone2.png", "eye00.png")]
    finding = table.finding("rows")
    assert finding.harm == "corrupts"
    assert len(finding.items) == 3
    assert "gone1.png" in finding.text


def test_pictures_without_row_are_named(table):
    """A picture beside the photographs that no row names."""
    table.save("stray.png", eye(99))
    finding = table.finding("no-row")
    assert finding.harm == "look"
    assert "stray.png" in finding.text


@pytest.mark.parametrize(("label", "classes"), [("7", None), ("9", ("0", "1", "2")), ("-1", None)])
def test_a_label_outside_the_scale_is_found(table, label, classes):
    """A grade 7 among 0 to 2, one that is none of --classes, and a negative one."""
    from regaze.data.classes import LabelWish

    table.rows += [{**row, "image": f"more{n}.png"} for n, row in enumerate(table.rows[:9])]
    for number in range(9):
        table.save(f"more{number}.png", eye(50 + number))
    table.rows[5]["label"] = label
    kind = "label-outside-scale" if label == "7" else "rows"
    finding = table.finding(kind, labels=LabelWish(classes, ordinal=False if label == "7" else None))
    assert finding.harm == "corrupts"
    assert label in finding.text


def test_ungraded_photographs_are_counted(table):
    """A photograph without a label is counted."""
    table.rows[0]["label"] = ""
    assert table.finding("no-label").text.startswith("1 of 16")


def test_copies_with_two_grades_are_found(table):
    """A copy, re-encoded and shrunk, with another grade corrupts a result; one with the same grade is worth a look."""
    Image.fromarray(eye(1)).resize((120, 90)).save(table.root / "copy1.jpg", quality=90)
    table.add("copy1.jpg", "2")
    table.add("copy3.png", table.rows[3]["label"], eye(3))
    finding = table.finding("contradictory-copies")
    assert finding.harm == "corrupts"
    assert [item.text for item in finding.items] == ["eye01 (1) = copy1 (2)"]
    assert [item.text for item in table.finding("copies").items] == ["eye03 (0) = copy3 (0)"]


def test_copies_in_training_and_test_are_found(table):
    """A copy across the parts of the data itself."""
    for row in table.rows:
        row["split"] = "train"
    table.add("copy.png", table.rows[1]["label"], eye(1), split="test")
    finding = table.finding("copies-across-parts")
    assert finding.harm == "corrupts"
    assert [item.text for item in finding.items] == ["eye01 (1) = copy (1)"]


def test_near_copies_are_found(table):
    """Another exposure of one thing, shifted a little, that no patient joins; in training and test it corrupts."""
    shifted = np.roll(eye(1), (3, -4), axis=(0, 1)) * 0.6
    table.add("again.png", table.rows[1]["label"], shifted.astype(np.uint8))
    finding = table.finding("near-copies")
    assert finding.harm == "misleads"
    assert [item.text for item in finding.items] == ["eye01 (1) = again (1)"]
    assert "--group-near-copies" in finding.text
    assert table.finding("near-copies-across-split", split={"eye01": 0, "again": 1}).harm == "corrupts"
    table.rows[-1]["label"] = "2"
    assert table.finding("contradictory-near-copies").harm == "look"
    table.rows[-1]["patient"] = "p1"
    assert "near-copies" not in {finding.kind for finding in table.check().findings}


def test_near_copies_that_a_study_groups_are_no_finding(table):
    """They count as one group; between training and test they stay a finding, since the parts are given."""
    table.add("again.png", "1", np.roll(eye(1), (3, -4), axis=(0, 1)))
    found = table.check(group_near_copies=True)
    assert [finding.kind for finding in found.findings] == []
    assert found.counts["1"] == (6, 5)
    for row in table.rows:
        row["split"] = "test" if row["image"] == "again.png" else "train"
    assert table.finding("near-copies-across-split", group_near_copies=True).harm == "corrupts"


def test_values_of_masks_mean_what_is_said(table):
    """With --mask-classes a landmark's value is no lesion; what was seen without it is not taken for it."""
    cache = table.root / "looks.jsonl"
    table.rows[0]["mask"] = table.save("mask.png", spot(70, 50) // 255 * 3)
    assert table.finding("lesions-in-sound-class", cache=cache).harm == "corrupts"
    found = table.check(cache=cache, mask_classes="3=optic_disc")
    assert "lesions-in-sound-class" not in {finding.kind for finding in found.findings}
    with pytest.raises(DataError, match="VALUE=NAME"):
        table.check(mask_classes="nonsense")


def test_tags_of_dicom_name_patients(table):
    """Where no column names patients the tags do, as in a study; a photograph on both sides is found by them."""
    pytest.importorskip("pydicom")
    for number in range(2):
        write_dicom(table.root / f"scan{number}.dcm", eye(60 + number), PatientID="same")
        table.add(f"scan{number}.dcm", "1", patient="", split="test" if number else "train")
    found = table.check()
    assert "patients-across-split" in {finding.kind for finding in found.findings}
    assert "unknown-patient" not in {finding.kind for finding in found.findings}
    assert any("DICOM: 2 photographs of 1 patients" in note for note in found.notes)


def test_patients_on_both_sides_are_found(table):
    """A patient in training and in test; and where no patient is known, that is said."""
    for number, row in enumerate(table.rows):
        row["split"] = "test" if number > 11 else "train"
    table.rows[15]["patient"] = "p0"
    finding = table.finding("patients-across-split")
    assert finding.harm == "corrupts"
    assert "p0: 1 in training, 1 in test" in finding.text
    for row in table.rows:
        del row["patient"]
    assert table.finding("no-patient").harm == "misleads"


MASKS = {
    "mask-inverted": (lambda: 255 - spot(70, 50), "1", "corrupts"),
    "mask-outside-field": (lambda: spot(0, 0), "1", "misleads"),
    "empty-mask": (lambda: np.zeros_like(spot(0, 0)), "2", "misleads"),
    "lesions-in-sound-class": (lambda: spot(70, 50), "0", "corrupts"),
    "mask-size": (lambda: spot(70, 50)[::2, ::2], "1", "look"),
    "mask-unusable": (lambda: spot(70, 50)[:, :60], "1", "corrupts"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_fault_is_found(table, kind):
    """One wrong mask among right ones is found, alone, with its file's name."""
    make, label, harm = MASKS[kind]
    for number, row in enumerate(table.rows):
        row["lesion_mask"] = table.save(f"mask{number}.png", spot(60, 40)) if row["label"] != "0" else "none"
    wrong = next(row for row in table.rows if row["label"] == label)
    wrong["lesion_mask"] = table.save("wrong.png", make())
    found = [finding for finding in table.check().findings if finding.kind != "no-row"]
    assert [(finding.kind, finding.harm) for finding in found] == [(kind, harm)]
    assert len(found[0].items) == 1
    assert "wrong.png" in found[0].text or wrong["image"].removesuffix(".png") in found[0].text


def test_a_broken_mask_is_found(table):
    """A mask file that is no picture."""
    table.rows[1]["lesion_mask"] = "mask.png"
    (table.root / "mask.png").write_bytes(b"")
    assert "mask.png" in table.finding("mask-unusable").text


def test_boxes_outside_are_found(table, tmp_path):
    """Boxes in the black corner, lesions of a sound eye, and files that are malformed, all of them."""
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "classes.txt").write_text("haemorrhages\n")
    (boxes / "eye01.txt").write_text("0 0.05 0.05 0.08 0.08\n0 0.5 0.5 0.1 0.1\n")
    (boxes / "eye03.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert "eye01: 1 of 2 boxes" in table.finding("box-outside-field", boxes=boxes).text
    assert "eye03: 1 box" in table.finding("lesions-in-sound-class", boxes=boxes).text
    (boxes / "eye04.txt").write_text("0 80 60 20 20\n")
    (boxes / "eye05.txt").write_text("rubbish\n")
    finding = table.finding("boxes-unusable", boxes=boxes)
    assert finding.harm == "corrupts"
    assert len(finding.items) == 2


def _blurred():
    small = Image.fromarray(eye(2)).resize((20, 15), Image.Resampling.BOX)
    return np.asarray(small.resize(SIDE, Image.Resampling.BICUBIC)) * (eye(2) > 0)


PICTURES = {
    "black": (lambda: eye(2, light=0.08), "misleads"),
    "under-exposed": (lambda: eye(2, light=0.3), "look"),
    "over-exposed": (lambda: eye(2, light=2.9), "look"),
    "out-of-focus": (_blurred, "look"),
    "no-field": (lambda: eye(2, field=False), "look"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_an_unusual_picture_is_found(table, kind):
    """One dark, washed out, blurred or cut out photograph is found by its name."""
    make, harm = PICTURES[kind]
    table.save("eye02.png", make())
    finding = table.finding(kind)
    assert finding.harm == harm
    assert [item.samples[0].id for item in finding.items] == ["eye02"]


def test_small_classes_are_found(table):
    """A class of fewer groups than folds is named with how many folds it allows, one of the test part likewise."""
    for number, row in enumerate(table.rows):
        row["split"] = "test" if number > 11 else "train"
    assert "2" in table.finding("small-test-class").text
    table.rows = table.rows[:12]
    finding = table.finding("small-class", folds=6)
    assert finding.harm == "misleads"
    assert "--folds 4" in finding.text


def test_findings_come_worst_first(table):
    """Whatever is found stands in the order of its harm."""
    table.photo(0).write_bytes(b"")
    table.save("stray.png", eye(99))
    table.save("eye02.png", eye(2, light=0.08))
    harms = [finding.harm for finding in table.check().findings]
    assert set(harms) == set(HARMS)
    assert harms == sorted(harms, key=list(HARMS).index)
