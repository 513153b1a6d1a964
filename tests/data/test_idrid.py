"""IDRiD's official layout: pictures are matched by what they show, and each stays in one set."""

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.data.idrid import read_idrid, read_labels
from regaze.errors import DataError
from regaze.records import Dataset, Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
needs_idrid = pytest.mark.skipif(not (SHARED / "idrid").is_dir(), reason=f"IDRiD is not at {SHARED / 'idrid'}")
SETS = {"training": "a. Training Set", "test": "b. Testing Set"}
TABLES = {
    "training": "a. IDRiD_Disease Grading_Training Labels.csv",
    "test": "b. IDRiD_Disease Grading_Testing Labels.csv",
}


def eye(seed: int, shift: int = 0) -> Image.Image:
    """A picture (300 x 200) with seeded structure, moved by `shift` pixels."""
    noise = np.random.default_rng(seed).normal(size=(240, 360, 3)).astype(np.float32)
    structure = cv2.GaussianBlur(noise, (0, 0), 5.0)
    structure = 110 + 35 * structure / structure.std()
    return Image.fromarray(structure[20:220, 20 + shift : 320 + shift].clip(30, 255).astype(np.uint8))


class Copy:
    """Builds a small IDRiD in the official layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def grade(self, part: str, name: str, picture: Image.Image, grade: int | None = 0, visit: str = "") -> None:
        """Add a graded photograph and its row (None: no row)."""
        folder = self.root / "B. Disease Grading" / "1. Original Images" / SETS[part]
        folder.mkdir(parents=True, exist_ok=True)
        comment = {"comment": f"{visit}\0".encode()} if visit else {}
        picture.save(folder / f"{name}.jpg", quality=93, **comment)
        table = self.root / "B. Disease Grading" / "2. Groundtruths" / TABLES[part]
        table.parent.mkdir(parents=True, exist_ok=True)
        if not table.exists():
            table.write_text("Image name,Retinopathy grade,Risk of macular edema ,,\n")
        if grade is not None:
            table.write_text(table.read_text() + f"{name},{grade},0,,\n")

    def segment(self, part: str, name: str, picture: Image.Image, kinds: str = "MA") -> None:
        """Add a segmented photograph, shrunk and re-encoded, with masks of the kinds (`MA HE EX SE OD`)."""
        section = self.root / "A. Segmentation"
        folder = section / "1. Original Images" / SETS[part]
        folder.mkdir(parents=True, exist_ok=True)
        picture.resize((240, 160), Image.Resampling.BOX).save(folder / f"{name}.jpg", quality=85)
        names = {
            "MA": "1. Microaneurysms",
            "HE": "2. Haemorrhages",
            "EX": "3. Hard Exudates",
            "SE": "4. Soft Exudates",
        }
        names["OD"] = "5. Optic Disc"
        (section / "2. All Segmentation Groundtruths" / SETS[part]).mkdir(parents=True, exist_ok=True)
        for kind in kinds.split():
            place = section / "2. All Segmentation Groundtruths" / SETS[part] / names[kind]
            place.mkdir(exist_ok=True)
            Image.new("1", (240, 160), 1).save(place / f"{name}_{kind}.tif")


def by_id(dataset: Dataset) -> dict[str, Sample]:
    """Return the samples by their ids."""
    return {sample.id: sample for sample in dataset.samples}


def test_twins_take_the_masks_and_names_mean_nothing(tmp_path):
    """The graded copy takes the masks, whatever the names; the disc is no lesion; others stay ungraded."""
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), 3, "v1")
    copy.grade("training", "IDRiD_002", eye(2), 0, "v2")
    copy.segment("training", "IDRiD_02", eye(1), "MA EX OD")
    copy.segment("training", "IDRiD_01", eye(9), "OD HE")
    dataset = read_idrid(tmp_path, "idrid:x")
    assert (dataset.classes, dataset.ordinal) == (("R0", "R1", "R2", "R3", "R4"), True)
    found = by_id(dataset)
    assert list(found) == ["training/IDRiD_001", "training/IDRiD_002", "segmentation-training/IDRiD_01"]
    twin = found["training/IDRiD_001"]
    assert (twin.label, twin.origin, sorted(twin.masks), twin.patient, twin.twin) == (
        3,
        "masks",
        ["hard_exudates", "microaneurysms"],
        "v1",
        None,
    )
    assert [file.name for file in twin.masks["microaneurysms"]] == ["IDRiD_02_MA.tif"]
    assert found["training/IDRiD_002"].origin == "none"
    alone = found["segmentation-training/IDRiD_01"]
    assert (alone.label, alone.part, alone.origin, sorted(alone.masks)) == (
        None,
        "training",
        "masks",
        ["haemorrhages"],
    )


def test_a_picture_is_in_one_set_only(tmp_path):
    """The graded copy decides the set; what training shares with the test leaves training, with a note."""
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), 1)
    copy.grade("training", "IDRiD_002", eye(2), 2)
    copy.grade("test", "IDRiD_001", eye(3), 3)
    copy.grade("test", "IDRiD_002", eye(2), 4)
    copy.segment("training", "IDRiD_01", eye(3), "MA")
    copy.segment("test", "IDRiD_55", eye(1), "EX")
    copy.segment("test", "IDRiD_56", eye(5), "SE")
    dataset = read_idrid(tmp_path, "idrid:x")
    assert {s.id: (s.part, s.label, sorted(s.masks)) for s in dataset.samples} == {
        "training/IDRiD_001": ("training", 1, ["hard_exudates"]),
        "test/IDRiD_001": ("test", 3, ["microaneurysms"]),
        "test/IDRiD_002": ("test", 4, []),
        "segmentation-test/IDRiD_56": ("test", None, ["soft_exudates"]),
    }
    assert "1 training photographs are left out, because the test set holds the same picture." in dataset.notes
    assert any(note.startswith("2 segmented photographs belong to the other set") for note in dataset.notes)


def test_copies_within_a_set_stay_as_twins(tmp_path):
    """Two graded copies stay, with one twin value, both with the masks, and different grades are named."""
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), 1)
    copy.grade("training", "IDRiD_002", eye(1), 2)
    copy.grade("training", "IDRiD_003", eye(2), 2)
    copy.segment("training", "IDRiD_01", eye(1), "MA")
    dataset = read_idrid(tmp_path, "idrid:x")
    assert [(s.id, s.twin, s.origin) for s in dataset.samples] == [
        ("training/IDRiD_001", "training/IDRiD_001", "masks"),
        ("training/IDRiD_002", "training/IDRiD_001", "masks"),
        ("training/IDRiD_003", None, "none"),
    ]
    assert "One picture, different grades: training/IDRiD_001 R1, training/IDRiD_002 R2." in dataset.notes


def test_visits(tmp_path):
    """The JPEG comment is the visit; `No ID` is unknown.

    Test photographs that share a visit stay and are counted.
    """
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), visit="010820171")
    copy.grade("training", "IDRiD_002", eye(2), visit="No ID")
    copy.grade("training", "IDRiD_003", eye(3))
    copy.grade("test", "IDRiD_001", eye(4), visit="010820171")
    dataset = read_idrid(tmp_path, "idrid:x")
    assert [s.patient for s in dataset.samples] == ["010820171", None, None, "010820171"]
    assert dataset.notes[-2:] == (
        "1 known visits in training, 1 in test; the visit of 2 photographs is unknown, each counts as its own.",
        "1 test photographs share a visit with training; the official split stands.",
    )


def test_rows_and_photographs_that_miss_each_other(tmp_path):
    """A row without a photograph is counted; a photograph without a row is kept without a grade."""
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), 1)
    copy.grade("training", "IDRiD_002", eye(2), None)
    table = tmp_path / "B. Disease Grading" / "2. Groundtruths" / TABLES["training"]
    table.write_text(table.read_text() + "IDRiD_003,4,0,,\n")
    dataset = read_idrid(tmp_path, "idrid:x")
    assert [s.label for s in dataset.samples] == [1, None]
    assert "1 rows of the training grades have no photograph." in dataset.notes
    assert "1 photographs of the graded training set have no row: not graded." in dataset.notes


@pytest.mark.parametrize("section", ["A. Segmentation", "B. Disease Grading"])
def test_either_part_may_be_absent_or_nested(tmp_path, section):
    """One part alone is enough, also when its archive was unpacked into a folder of its own name."""
    copy = Copy(tmp_path)
    if section.startswith("A"):
        copy.segment("test", "IDRiD_55", eye(1))
    else:
        copy.grade("test", "IDRiD_001", eye(1))
    expected = [sample.id for sample in read_idrid(tmp_path, "idrid:x").samples]
    assert len(expected) == 1
    (tmp_path / section).rename(tmp_path / "moved")
    (tmp_path / section).mkdir()
    (tmp_path / "moved").rename(tmp_path / section / section)
    assert [sample.id for sample in read_idrid(tmp_path, "idrid:x").samples] == expected


def test_missing_pieces(tmp_path):
    """No folder, no parts, no table, no masks: each says what was expected and where."""
    with pytest.raises(DataError, match=r"There is no folder at .*missing"):
        read_idrid(tmp_path / "missing", "idrid:x")
    with pytest.raises(DataError, match=r"holds no photographs of IDRiD: expected 'A\. Segmentation"):
        read_idrid(tmp_path, "idrid:x")
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1))
    table = tmp_path / "B. Disease Grading" / "2. Groundtruths" / TABLES["training"]
    text = table.read_text()
    table.unlink()
    with pytest.raises(DataError, match="grades of 1 training photographs are missing: expected them at"):
        read_idrid(tmp_path, "idrid:x")
    table.write_text(text)
    copy.segment("training", "IDRiD_01", eye(1), "")
    with pytest.raises(DataError, match=r"None of the 1 training photographs .* has a lesion mask"):
        read_idrid(tmp_path, "idrid:x")
    (tmp_path / "A. Segmentation" / "2. All Segmentation Groundtruths" / SETS["training"]).rmdir()
    with pytest.raises(DataError, match="masks of 1 training photographs are missing"):
        read_idrid(tmp_path, "idrid:x")


def test_labels_are_read_robustly(tmp_path):
    """BOM, blanks, further columns and empty rows do no harm."""
    table = tmp_path / "t.csv"
    table.write_text("\ufeffImage name , Retinopathy grade,,,\r\nIDRiD_001 ,3 ,2,,\r\n,,,,\r\nIDRiD_002,0\r\n", "utf-8")
    assert {name: grade for name, (grade, _) in read_labels(table).items()} == {
        "IDRiD_001": 3,
        "IDRiD_002": 0,
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "lacks the columns .*none"),
        ("Image,Grade\nx,1\n", "lacks the columns .*image, grade"),
        ("Image name,Retinopathy grade\nA,1\nB,5\n", "row 3: the grade of 'B' is '5', expected 0..4"),
        ("Image name,Retinopathy grade\nA\n", "row 2: the grade of 'A' is ''"),
        ("Image name,Retinopathy grade\nA,1\nA,1\n", "row 3: 'A' has a grade already .*row 2"),
    ],
)
def test_bad_labels_name_the_row(tmp_path, text, match):
    """A wrong grade, a wrong header or a repeated name is an error with file, row and value."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"t\.csv.*{match}"):
        read_labels(tmp_path / "t.csv")


def test_a_second_shot_lends_its_visit(tmp_path):
    """An ungraded second shot of a graded eye joins that visit, though its own comment is lost."""
    copy = Copy(tmp_path)
    copy.grade("training", "IDRiD_001", eye(1), visit="v1")
    copy.grade("training", "IDRiD_002", eye(2), visit="v2")
    copy.segment("training", "IDRiD_01", eye(1, shift=2))
    dataset = read_idrid(tmp_path, "idrid:x")
    assert by_id(dataset)["segmentation-training/IDRiD_01"].patient == "v1"
    assert len(dataset.samples) == 3
    assert any("shot twice" in note for note in dataset.notes)


@needs_idrid
def test_the_real_training_half():
    """On IDRiD: 413 graded, 42 twins with masks, 12 ungraded, the known twins, visits and grades."""
    dataset = read_idrid(SHARED / "idrid", "idrid:x")
    found = by_id(dataset)
    graded = [s for s in dataset.samples if s.label is not None]
    assert Counter(s.label for s in graded) == {0: 134, 1: 20, 2: 136, 3: 74, 4: 49}
    assert sum(s.origin == "masks" for s in graded) == 42
    ungraded = [s for s in dataset.samples if s.label is None]
    assert (len(ungraded), {s.origin for s in ungraded}) == (12, {"masks"})
    assert [file.name for file in found["training/IDRiD_053"].masks["microaneurysms"]] == ["IDRiD_48_MA.tif"]
    pairs = Counter(s.twin for s in dataset.samples if s.twin)
    assert sorted(pairs.values()) == [2, 2, 2, 2, 2]
    for a, b, grades in (("021", "391", (1, 2)), ("028", "327", (4, 3))):
        first, second = found[f"training/IDRiD_{a}"], found[f"training/IDRiD_{b}"]
        assert first.twin == second.twin == f"training/IDRiD_{a}"
        assert (first.label, second.label) == grades
    # 279 different comments, one of which is `No ID` (8 photographs): 278 known visits.
    assert len({s.patient for s in graded} - {None}) == 278
    assert sum(s.patient is None for s in graded) == 8
