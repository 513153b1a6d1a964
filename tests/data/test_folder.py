"""One folder per class, masks in a parallel tree."""

from pathlib import Path

import pytest
from PIL import Image

from regaze.data.classes import LabelWish
from regaze.data.folder import read_folder, with_patients
from regaze.errors import DataError
from regaze.records import Sample


def picture(path: Path) -> Path:
    """Write a small picture, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def origins(root: Path) -> dict[str, tuple[str, list[str]]]:
    """Return id -> (origin, lesion types) of a folder."""
    return {s.id: (s.origin, sorted(s.masks)) for s in read_folder(root, "folder:x").samples}


def test_plain_folder(tmp_path):
    """Ids are CLASS/stem, labels index the sorted classes, all is training, lesions are unknown."""
    for name in ("R1/b.png", "R0/a10.png", "R0/a9.JPG", "R0/notes.txt", "empty/readme.txt", ".hidden/x.png"):
        if name.endswith("txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        else:
            picture(tmp_path / name)
    dataset = read_folder(tmp_path, "folder:x")
    assert dataset.spec == "folder:x"
    assert (dataset.classes, dataset.ordinal) == (("R0", "R1"), True)
    assert [(s.id, s.label, s.part, s.patient, s.origin) for s in dataset.samples] == [
        ("R0/a9", 0, "training", None, "none"),
        ("R0/a10", 0, "training", None, "none"),
        ("R1/b", 1, "training", None, "none"),
    ]
    assert dataset.notes == (
        "Folders without photographs, not taken as classes: empty.",
        "1 pictures are hidden and are not taken (.hidden: 1, for example .hidden/x.png).",
    )


def test_parts(tmp_path):
    """train, val and test folders are parts; one class may lack from a part; ids are unique across parts."""
    picture(tmp_path / "train" / "sick" / "a.png")
    picture(tmp_path / "train" / "well" / "b.png")
    picture(tmp_path / "test" / "sick" / "a.png")
    picture(tmp_path / "other" / "x.png")
    dataset = read_folder(tmp_path, "folder:x")
    assert [(s.id, s.part, s.label) for s in dataset.samples] == [
        ("test/sick/a", "test", 0),
        ("training/sick/a", "training", 0),
        ("training/well/b", "training", 1),
    ]
    assert dataset.notes == ("1 pictures lie outside the parts and are not taken (other: 1, for example other/x.png).",)


def test_a_missing_mask_file_in_an_annotated_class(tmp_path):
    """A class with a mask folder, even an empty one, was looked at; only the sound class is free of lesions."""
    root = tmp_path / "set"
    for name in ("1/a", "1/b", "2/c", "3/d"):
        picture(root / f"{name}.png")
    picture(root / "masks" / "1" / "a.png")
    (root / "masks" / "2").mkdir()
    assert origins(root) == {
        "1/a": ("masks", ["lesion"]),
        "1/b": ("masks", []),
        "2/c": ("masks", []),
        "3/d": ("none", []),
    }
    notes = read_folder(root, "folder:x").notes
    assert "1 photographs have masks, 1 are unknown" in notes[0]
    assert "2 photographs without a mask file" in notes[1]
    assert "are unknown, since their class is not the sound one (1: 1, 2: 1)" in notes[1]
    notes = read_folder(root, "folder:x", wish=LabelWish(sound="2")).notes
    assert "1 photographs without a mask file count as free of marks, because their class, 2" in notes[1]
    assert "(1: 1)" in notes[2]


@pytest.mark.parametrize("ending", ["", "_mask", "-mask", "_gt", "_seg", "_segmentation"])
@pytest.mark.parametrize("top", ["set/masks", "set/ground_truth", "set_masks"])
def test_spellings_of_a_mask(tmp_path, top, ending):
    """A mask is found in each of the three trees, under each ending."""
    picture(tmp_path / "set" / "sick" / "a.png")
    mask = picture(tmp_path / top / "sick" / f"a{ending}.tif")
    (sample,) = read_folder(tmp_path / "set", "folder:x").samples
    assert (sample.origin, dict(sample.masks)) == ("masks", {"lesion": (mask,)})


def test_lesion_types(tmp_path):
    """Folders and endings named like a lesion type give masks of that type, side by side."""
    picture(tmp_path / "sick" / "a.png")
    picture(tmp_path / "sick" / "b.png")
    picture(tmp_path / "masks" / "Hard Exudates" / "sick" / "a.png")
    picture(tmp_path / "masks" / "haemorrhages" / "sick" / "a_mask.png")
    picture(tmp_path / "masks" / "sick" / "b_microaneurysms.png")
    assert origins(tmp_path) == {
        "sick/a": ("masks", ["haemorrhages", "hard_exudates"]),
        "sick/b": ("masks", ["microaneurysms"]),
    }


def test_several_typed_masks_of_one_photograph(tmp_path):
    """Endings of several lesion types beside one another are all taken."""
    picture(tmp_path / "sick" / "a.png")
    picture(tmp_path / "masks" / "sick" / "a_haemorrhages.png")
    picture(tmp_path / "masks" / "sick" / "a_soft_exudates.png")
    assert origins(tmp_path) == {"sick/a": ("masks", ["haemorrhages", "soft_exudates"])}


def test_mvtec(tmp_path):
    """MVTec's ground_truth belongs to the test part: equal names in train stay unknown."""
    for name in ("train/good/000", "train/bad/000", "test/good/000", "test/bad/000"):
        picture(tmp_path / f"{name}.png")
    picture(tmp_path / "ground_truth" / "bad" / "000_mask.png")
    assert origins(tmp_path) == {
        "training/good/000": ("none", []),
        "training/bad/000": ("none", []),
        "test/good/000": ("none", []),
        "test/bad/000": ("masks", ["lesion"]),
    }


def test_masks_by_part(tmp_path):
    """With parts, masks below their part go to that part.

    Without parts one mask must not serve two photographs.
    """
    for part in ("train", "test"):
        picture(tmp_path / "set" / part / "bad" / "a.png")
    (tmp_path / "set" / "test" / "bad" / "b.png").write_bytes((tmp_path / "set/test/bad/a.png").read_bytes())
    mask = picture(tmp_path / "set" / "masks" / "train" / "bad" / "a.png")
    assert origins(tmp_path / "set") == {
        "training/bad/a": ("masks", ["lesion"]),
        "test/bad/a": ("none", []),
        "test/bad/b": ("none", []),
    }
    mask.rename(tmp_path / "set" / "masks" / "a.png")
    mask.parent.rmdir()
    picture(tmp_path / "set" / "masks" / "bad" / "a.png")
    with pytest.raises(DataError, match=r"could belong to .*test/bad/a.png or .*train/bad/a.png: lay the masks out"):
        read_folder(tmp_path / "set", "folder:x")


def test_masks_that_fit_nothing(tmp_path):
    """Some orphans are noted; nothing but orphans is a mistake."""
    picture(tmp_path / "sick" / "a.png")
    picture(tmp_path / "masks" / "sick" / "z.png")
    with pytest.raises(DataError, match="None of the 1 masks fits a photograph"):
        read_folder(tmp_path, "folder:x")
    picture(tmp_path / "masks" / "sick" / "a.png")
    assert read_folder(tmp_path, "folder:x").notes[-1] == "Masks: 1 files fit no photograph (for example z.png)."


def test_names_that_clash(tmp_path):
    """Two photographs, or two masks, with one stem are an error that names both."""
    picture(tmp_path / "1" / "sick" / "a.png")
    picture(tmp_path / "1" / "masks" / "sick" / "a.png")
    picture(tmp_path / "1" / "masks" / "sick" / "a.tif")
    with pytest.raises(DataError, match=r"a\.png and .*a\.tif mask one photograph"):
        read_folder(tmp_path / "1", "folder:x")
    picture(tmp_path / "2" / "sick" / "a.png")
    picture(tmp_path / "2" / "sick" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg and .*a\.png have one name, sick/a"):
        read_folder(tmp_path / "2", "folder:x")


def test_nothing_there(tmp_path):
    """A missing, an empty and a flat folder say what was expected."""
    with pytest.raises(DataError, match=r"There is no folder at .*missing"):
        read_folder(tmp_path / "missing", "folder:x")
    with pytest.raises(DataError, match=r"holds no photographs: expected .*/CLASS/photo"):
        read_folder(tmp_path, "folder:x")
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="one folder per class"):
        read_folder(tmp_path, "folder:x")


def test_patients_from_names():
    """The expression's group is the patient; a name that does not fit is unknown, and counted."""
    samples = [Sample(n, Path(f"{n}.jpg"), 0) for n in ("P1_left", "P1_right", "P22_left", "left")]
    marked, notes = with_patients(samples, r"^P(\d+)_")
    assert [s.patient for s in marked] == ["1", "1", "22", None]
    assert notes == [r"--patient '^P(\d+)_' does not fit 1 of 4 photographs: what these belong to is unknown."]


@pytest.mark.parametrize(
    ("expression", "match"),
    [
        ("(", "is not a regular expression"),
        ("P", "has 0 groups"),
        ("(P)(1)", "has 2 groups"),
        ("(Q)", "fits none"),
    ],
)
def test_bad_expressions(expression, match):
    """An expression that is none, has not one group, or never fits is an error that shows it."""
    with pytest.raises(DataError, match=match):
        with_patients([Sample("P1", Path("P1.jpg"), 0)], expression)


def test_folders_that_say_that_nothing_is_known(tmp_path):
    """A folder called `nan` or `unlabelled` is no class: its photographs are not graded, and a note counts them."""
    for name in ("R0/a", "R1/b", "nan/c", "unlabelled/d"):
        picture(tmp_path / f"{name}.png")
    dataset = read_folder(tmp_path, "folder:x")
    assert (dataset.classes, dataset.ordinal) == (("R0", "R1"), True)
    assert {s.id: s.label for s in dataset.samples} == {"R0/a": 0, "R1/b": 1, "nan/c": None, "unlabelled/d": None}
    assert "Labels that say that there is none: 'nan' 1, 'unlabelled' 1" in dataset.notes[0]


def test_the_user_orders_folders(tmp_path):
    """--classes gives the order of folders' names too, and a folder that it does not name is refused."""
    for name in ("good/a", "worn/b", "broken/c"):
        picture(tmp_path / f"{name}.png")
    wish = LabelWish(("good", "worn", "broken"))
    dataset = read_folder(tmp_path, "folder:x", wish=wish)
    assert (dataset.classes, dataset.ordinal) == (wish.classes, True)
    assert {s.id: s.label for s in dataset.samples} == {"good/a": 0, "worn/b": 1, "broken/c": 2}
    with pytest.raises(DataError, match="'broken' is none of the classes good, worn"):
        read_folder(tmp_path, "folder:x", wish=LabelWish(("good", "worn")))
