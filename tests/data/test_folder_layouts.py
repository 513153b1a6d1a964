"""Layouts that data sets come in: masks beside photographs, parts in any spelling, nested folders, nothing lost."""

import numpy as np
import pytest
from PIL import Image

from regaze.data.folder import read_folder
from regaze.data.images import IMAGE_SUFFIXES
from regaze.data.sources import load_dataset
from regaze.data.tree import part_name
from regaze.errors import DataError


def make(root, *names):
    """Write small pictures, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(root / name)


def read(root):
    """Id -> (part, class, masks by lesion type: names), and the notes."""
    dataset = read_folder(root, "folder:x")
    return {
        sample.id: (
            sample.part,
            dataset.classes[sample.label],
            {kind: sorted(file.name for file in files) for kind, files in sample.masks.items()},
        )
        for sample in dataset.samples
    }, dataset.notes


@pytest.mark.parametrize(
    "ending",
    [
        *("_mask", "_mask_1", "-mask", " mask", "_Mask", "_MASK", "_mask1", "_mask (2)", "_gt", "_segmentation"),
        *("mask", ".mask", "_segm", "_label", "_annotation", "_ground-truth", ".png_mask"),
    ],
)
def test_a_mask_beside_its_photograph_is_no_photograph(tmp_path, ending):
    """BUSI and its kin: `x_mask.png` beside `x.png` is its mask; what has none is unknown."""
    make(tmp_path, "benign/benign (1).png", f"benign/benign (1){ending}.png", "malignant/a.png")
    found, notes = read(tmp_path)
    assert found == {
        "benign/benign (1)": ("training", "benign", {"lesion": [f"benign (1){ending}.png"]}),
        "malignant/a": ("training", "malignant", {}),
    }
    assert notes == ("Masks: 1 photographs have masks, 1 are unknown.",)


def test_several_masks_of_one_photograph_are_all_kept(tmp_path):
    """BUSI has `x_mask`, `x_mask_1`, `x_mask_2`: one photograph, three masks, beside it or in a tree."""
    make(tmp_path, *(f"a/x{ending}.png" for ending in ("", "_mask", "_mask_1", "_mask_2")), "b/y.png")
    make(tmp_path, "masks/b/y_mask.png", "masks/b/y_mask_1.png")
    found, _ = read(tmp_path)
    assert found["a/x"][2] == {"lesion": ["x_mask.png", "x_mask_1.png", "x_mask_2.png"]}
    assert found["b/y"][2] == {"lesion": ["y_mask.png", "y_mask_1.png"]}


def test_lesions_and_landmarks_beside_a_photograph(tmp_path):
    """IDRiD's short names beside a photograph are lesions; `_OD` is its disc, but an eye where nothing is masked."""
    make(
        tmp_path,
        "a/1.png",
        "a/1_EX.png",
        "a/1_MA.png",
        "a/1_OD.png",
        "a/1_optic_disc_mask.png",
        "b/2.png",
        "b/2_OD.png",
    )
    found, notes = read(tmp_path)
    assert found["a/1"][2] == {"hard_exudates": ["1_EX.png"], "microaneurysms": ["1_MA.png"]}
    assert set(found) == {"a/1", "b/2", "b/2_OD"}
    assert notes[-1] == "Masks: 2 files show a landmark (for example 1_optic_disc_mask.png): left out."


@pytest.mark.parametrize(
    ("training", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "valid-set", "test set"),
        ("1. TrainingSet", "2. ValidationSet", "3. TestingSet"),
        ("train_images", "dev", "test_images"),
        ("a. Training Set", "validate", "b. Testing Set"),
        ("seg_train/seg_train", "seg_valid/seg_valid", "seg_test/seg_test"),
        ("Training_Set/Training", "Validation_Set/Validation", "Test_Set/Test"),
    ],
)
def test_parts_in_any_spelling(tmp_path, training, validation, test):
    """Each spelling of a part is that part; validation is training; its equal names get ids of their own."""
    make(tmp_path, f"{training}/A/1.png", f"{training}/B/1.png", f"{validation}/A/1.png", f"{test}/A/1.png")
    found, notes = read(tmp_path)
    assert {name: part for name, (part, *_) in found.items()} == {
        "training/A/1": "training",
        "training/B/1": "training",
        "validation/A/1": "training",
        "test/A/1": "test",
    }
    assert notes == ()


@pytest.mark.parametrize(
    "name", ["benign", "test_positive", "1", "", "contest", "trainer", "data", "validity", "masks"]
)
def test_other_names_are_no_part(name):
    """A class that merely begins or ends like a part is none."""
    assert part_name(name) is None


@pytest.mark.parametrize(
    ("photo", "mask", "expected"),
    [
        ("images/A/1.png", "masks/A/1.png", "A/1"),
        ("images/train/A/1.png", "masks/train/A/1.png", "training/A/1"),
        ("train/images/A/1.png", "train/masks/A/1.png", "training/A/1"),
        ("test/images/A/1.png", "test/labels/A/1.png", "test/A/1"),
        ("A/images/1.png", "A/masks/1.png", "A/1"),
        ("A/images/1.png", "A/mask/1_mask.png", "A/1"),
        ("A/train/1.png", "masks/A/train/1.png", "training/A/1"),
        ("A/patient7/1.png", "masks/A/patient7/1.png", "A/patient7/1"),
        ("A/1.png", "masks/1.png", "A/1"),
        ("A/1.png", "A/masks/1.png", "A/1"),
        ("A/1.png", "masks/a/1.png", "A/1"),
        ("A/1.png", "Ground Truth/A/1.png", "A/1"),
        ("test/A/1.png", "ground_truth/A/1_mask.png", "test/A/1"),
        ("train/A/1.png", "train_masks/A/1.png", "training/A/1"),
        ("train_images/A/1.png", "train_labels/A/1.png", "training/A/1"),
        ("A/1.png", "masks/A/1.png.png", "A/1"),
        ("A/1.png", "masks/A/mask_1.png", "A/1"),
    ],
)
def test_layouts_of_masks(tmp_path, photo, mask, expected):
    """Folders of photographs and of masks may stand at any level, above or below parts and classes."""
    make(tmp_path, photo, photo.replace("A/", "B/", 1).replace("1.png", "2.png"), mask)
    found, _ = read(tmp_path)
    assert len(found) == 2
    assert found[expected][1:] == ("A", {"lesion": [mask.split("/")[-1]]})


@pytest.mark.parametrize("kind", ["EX", "ex", "3. Hard Exudates", "HardExudates"])
@pytest.mark.parametrize("layout", ["{kind}/A", "A/{kind}", "test/{kind}/A", "{kind}/test/A"])
def test_lesions_and_classes_of_masks_in_any_order(tmp_path, kind, layout):
    """masks/TYPE/CLASS, masks/CLASS/TYPE, with and without parts, types by their short names too."""
    part = "test/" if "test" in layout else ""
    make(tmp_path, f"{part}A/0_0.png", f"{part}B/1.png", f"masks/{layout.format(kind=kind)}/0_0_EX.png")
    found, notes = read(tmp_path)
    assert found[f"{part}A/0_0"][2] == {"hard_exudates": ["0_0_EX.png"]}
    assert notes[0] == "Masks: 1 photographs have masks, 1 are unknown."


def test_landmarks_are_no_lesion_wherever_they_stand(tmp_path):
    """A folder, or an ending, that names a landmark is left out and counted, and says nothing of lesions."""
    make(tmp_path, "A/1.png", "A/2.png", "masks/OD/A/1.png", "masks/A/fovea/2.png", "masks/EX/B/1.png", "B/1.png")
    make(tmp_path, "masks/B/1_ONH.png", "masks/B/1_cup_mask.png", "C/3.png", "masks/C/3_OD.png")
    found, notes = read(tmp_path)
    assert {name: masks for name, (_, _, masks) in found.items()} == {
        "A/1": {},
        "A/2": {},
        "B/1": {"hard_exudates": ["1.png"]},
        "C/3": {},
    }
    assert notes[0] == "Masks: 1 photographs have masks, 3 are unknown."
    assert "Masks: 5 files show a landmark" in notes[-1]


def test_classes_named_like_lesions_stay_classes(tmp_path):
    """Where a class is called as a lesion is, its folder of masks is the class's."""
    make(tmp_path, "exudates/1.png", "normal/1.png", "masks/exudates/1.png")
    found, _ = read(tmp_path)
    assert found["exudates/1"][2] == {"lesion": ["1.png"]}
    assert found["normal/1"][2] == {}


def test_every_picture_file_is_taken_or_counted_with_a_reason(tmp_path):
    """No picture below the folder vanishes: photographs, masks, landmarks, orphans and what is left add up."""
    make(
        tmp_path,
        *("train/A/1.png", "train/A/deep/er/2.png", "train/B/3.bmp", "Testing/A/4.gif", "test_images/5.png"),
        *("stray.png", "other/6.png", ".hidden/7.png", "train/B/.8.png", "__MACOSX/A/9.png"),
        *("masks/train/A/1.png", "masks/train/A/none.png", "masks/OD/A/1.png", "train/B/3_mask.png"),
    )
    found, notes = read(tmp_path)
    assert set(found) == {"training/A/1", "training/A/deep/er/2", "training/B/3", "test/A/4"}
    assert sum(len(files) for *_, masks in found.values() for files in masks.values()) == 2
    said = "\n".join(notes)
    assert "2 pictures lie in no class folder and are not taken (the folder itself: 1, test_images: 1" in said
    assert "1 pictures lie outside the parts and are not taken (other: 1, for example other/6.png)" in said
    assert "3 pictures are hidden and are not taken" in said
    assert "Masks: 1 files fit no photograph (for example none.png)" in said
    assert "Masks: 1 files show a landmark" in said
    every = [path for path in tmp_path.rglob("*") if path.suffix in IMAGE_SUFFIXES]
    assert len(every) == 4 + 2 + 2 + 1 + 3 + 1 + 1


def test_a_flat_folder_says_where_its_pictures_lie(tmp_path):
    """Photographs in no class folder at all are a refusal that counts them and points at tables."""
    make(tmp_path, "train/1.png", "train/2.png", "test/3.png")
    with pytest.raises(DataError, match=r"3 pictures lie in no class folder \(test: 1, train: 2.*csv:FILE"):
        read_folder(tmp_path, "folder:x")


def test_names_that_differ_in_case_are_said(tmp_path):
    """`blowhole` beside `Blowhole` is one class misspelled, as a rule."""
    make(tmp_path, "Blowhole/1.png", "blowhole/2.png", "Crack/3.png")
    assert any("classes 'Blowhole' and 'blowhole' are spelled nearly alike" in note for note in read(tmp_path)[1])


def test_a_folder_one_level_too_high_is_said(tmp_path):
    """Folders of one name below several classes may be the classes."""
    make(tmp_path, *(f"{thing}/{kind}/1.png" for thing in ("bottle", "cable") for kind in ("good", "broken")))
    assert any("several classes have one name (broken, good)" in note for note in read(tmp_path)[1])


def test_links_are_followed_but_not_round_in_circles(tmp_path):
    """A class may be a link to a folder elsewhere; a link to a folder above ends there."""
    make(tmp_path, "elsewhere/1.png", "set/B/2.png")
    (tmp_path / "set" / "A").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "B" / "again").symlink_to(tmp_path / "set")
    assert set(read(tmp_path / "set")[0]) == {"A/1", "B/2"}


def test_masks_beside_a_folder_of_images(tmp_path):
    """Where the folder of images itself is given, the masks beside it are found."""
    make(tmp_path, "images/A/1.png", "images/B/2.png", "masks/A/1.png")
    assert read(tmp_path / "images")[0]["A/1"][2] == {"lesion": ["1.png"]}


def test_photographs_and_masks_with_a_word_each(tmp_path):
    """`x_image.png` and `x_mask.png` are one photograph and its mask, side by side and in a tree."""
    make(tmp_path, "a/1_image.png", "a/1_mask.png", "b/2_img.png", "masks/b/2_mask.png")
    found, _ = read(tmp_path)
    assert {name: masks for name, (_, _, masks) in found.items()} == {
        "a/1_image": {"lesion": ["1_mask.png"]},
        "b/2_img": {"lesion": ["2_mask.png"]},
    }


@pytest.mark.parametrize("name", ["x_roi", "x_flip", "x_manual1", "mask_y", "y_mask"])
def test_names_that_look_like_masks_or_copies_are_said(tmp_path, name):
    """What is taken as a photograph although another one's name begins its own, or it is called a mask, is named."""
    make(tmp_path, "a/x.png", f"a/{name}.png", "b/z.png")
    found, notes = read(tmp_path)
    assert f"a/{name}" in found
    assert any(
        note.startswith(f"1 photographs are named like masks or copies of others (for example a/{name}.png)")
        for note in notes
    )


def test_files_in_formats_that_are_not_read_are_said_and_say_nothing_of_lesions(tmp_path):
    """An array in a folder of masks is no mask, and the photographs beside it were not looked at in vain."""
    make(tmp_path, "good/1.png", "good/2.png", "bad/3.png", "masks/bad/3.png")
    (tmp_path / "masks/good").mkdir()
    (tmp_path / "masks/good/1.npy").write_bytes(b"\x93NUMPY")
    dataset = read_folder(tmp_path, "folder:x")
    assert {sample.id: sample.origin for sample in dataset.samples} == {
        "good/1": "none",
        "good/2": "none",
        "bad/3": "masks",
    }
    assert "1 files are in formats that are not read (.npy: 1, for example 1.npy)" in dataset.notes[0]


def test_magnetic_tiles_as_they_ship(tmp_path):
    """`MT_Blowhole/Imgs/x.png` of two levels is the mask of `x.jpg` beside it; one that is no mask leaves none."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(
        ("MT_Blowhole/Imgs/exp1_num_1", "MT_Blowhole/Imgs/exp2_num_1", "MT_Free/Imgs/exp1_num_2")
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 9), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
        marked = np.zeros((12, 9), np.uint8)
        marked[:3] = 255 * (number < 2)
        Image.fromarray(marked).save(tmp_path / f"{name}.png")
    found, _ = read(tmp_path)
    assert found == {
        "MT_Blowhole/exp1_num_1": ("training", "MT_Blowhole", {"lesion": ["exp1_num_1.png"]}),
        "MT_Blowhole/exp2_num_1": ("training", "MT_Blowhole", {"lesion": ["exp2_num_1.png"]}),
        "MT_Free/exp1_num_2": ("training", "MT_Free", {"lesion": ["exp1_num_2.png"]}),
    }
    Image.fromarray(rng.integers(0, 255, (12, 9), dtype=np.uint8)).save(tmp_path / "MT_Free/Imgs/exp1_num_2.png")
    with pytest.raises(DataError, match=r"exp1_num_2\.png have one name"):
        read(tmp_path)


def test_a_folder_of_masks_for_each_photograph(tmp_path):
    """MVTec LOCO: `ground_truth/CLASS/000/001.png` is a mask of photograph 000, and not of 001."""
    for name in ("train/good/000", "test/good/000", *(f"test/logical/{number:03}" for number in range(3))):
        make(tmp_path, f"{name}.png")
    make(tmp_path, "ground_truth/logical/000/000.png", "ground_truth/logical/000/001.png")
    make(tmp_path, "ground_truth/logical/002/000.png")
    found, _ = read(tmp_path)
    masks = {name: entry[2] for name, entry in found.items() if entry[2]}
    assert masks == {
        "test/logical/000": {"lesion": ["000.png", "001.png"]},
        "test/logical/002": {"lesion": ["000.png"]},
    }


def test_a_folder_of_masks_below_the_photographs(tmp_path):
    """DAGM: `Train/Label/0001_label.png` below `Train/0001.png` is its mask, `Label` no class and no photograph."""
    for kind in ("Class1", "Class2"):
        make(tmp_path, *(f"{kind}/Train/{number:04}.PNG" for number in range(3)))
        make(tmp_path, f"{kind}/Train/Label/0001_label.PNG")
    found, _ = read(tmp_path)
    assert len(found) == 6
    assert {name: entry[2] for name, entry in found.items() if entry[2]} == {
        f"training/{kind}/0001": {"lesion": ["0001_label.PNG"]} for kind in ("Class1", "Class2")
    }


def test_the_folder_that_may_be_meant_is_named(tmp_path):
    """One class alone, whose folder has folders: that one may be meant."""
    make(tmp_path, *(f"Data/Images/{kind}/{number}.png" for kind in ("a", "b") for number in range(3)))
    with pytest.raises(DataError, match=r"one class, Data, .*\(folder:.*Data may be meant\)"):
        load_dataset(f"folder:{tmp_path}")
    assert load_dataset(f"folder:{tmp_path / 'Data'}").classes == ("a", "b")
