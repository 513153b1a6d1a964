"""One vocabulary of lesions, in every place where one is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.corrections.formats.drawn import meaning
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.data.boxes import with_boxes
from regaze.data.folder import read_folder
from regaze.data.table import read_table
from regaze.lesion_names import DISPLAY_NAMES, lesion_type, named_lesion
from regaze.records import LESION_TYPES, Sample

LESIONS = {
    "MA": "microaneurysms",
    "microaneurysm": "microaneurysms",
    "Micro-Aneurysms": "microaneurysms",
    "HE": "haemorrhages",
    "he": "haemorrhages",
    "haemorrhage": "haemorrhages",
    "Hemorrhages": "haemorrhages",
    "2. Haemorrhages": "haemorrhages",
    "EX": "hard_exudates",
    "Hard Exudates": "hard_exudates",
    "hard-exudate": "hard_exudates",
    "HardExudates": "hard_exudates",
    "exudates": "hard_exudates",
    "Se": "soft_exudates",
    "soft_exudate": "soft_exudates",
    "cotton-wool spots": "soft_exudates",
    "NV": "neovascularisation",
    "neovascularization": "neovascularisation",
    "new vessels": "neovascularisation",
    "lesion": "lesion",
}
LANDMARKS = [
    *("disc", "Disk", "optic_disc", "Optic Disk", "opticDisc", "5. Optic Disc", "OD", "od", "ONH", "optic nerve head"),
    *("papilla", "cup", "optic cup", "OC", "fovea", "foveal centre", "foveola", "Macula", "vessels", "blood_vessel"),
    *("background", "ignore", "normal", "no lesion", "non-lesion", "bg", "void", "don't care", "ignore_region", "good"),
    *("O.D.", "disco óptico", "Disque optique", "tête du nerf optique", "Sehnervenkopf", "Papillen", "left macula"),
    *(
        "FÓVEA",
        "mácula",
        "Makula",
        "Macula_OS",
        "Exkavation",
        "copa óptica",
        "escavação",
        "gelber Fleck",
        "blinde vlek",
    ),
    *("Hintergrund", "arrière-plan", "fondo", "Gefäße", "dontcare", "null", "N/A", "not a lesion", "blind spot"),
    *("视盘", "視神経乳頭", "黄斑", "中心凹", "背景", "диск зрительного нерва", "макула", "фон"),
    *("ODisc", "papille", "FAZ", "neuroretinal rim", "macula_mask", "Macular Region", "normal retina", "__ignore__"),
]


@pytest.mark.parametrize(("name", "kind"), LESIONS.items())
def test_a_lesion_is_known_by_any_of_its_names(name, kind):
    """Short names in any case, one or many, British or American, whatever separates the words."""
    assert lesion_type(name) == named_lesion(name) == kind
    assert meaning(name) == "look"


@pytest.mark.parametrize("name", LANDMARKS)
def test_a_landmark_is_no_lesion(name):
    """Nor is a word for "nothing here"."""
    assert lesion_type(name) is None
    assert named_lesion(name) is None
    assert meaning(name) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("haemorrhages_and_microaneurysms", "haemorrhages"),
        ("disc haemorrhage", "haemorrhages"),
        ("neovascularisation of the disc", "neovascularisation"),
        ("exudates near the fovea", "hard_exudates"),
        ("IDRiD_MA", "microaneurysms"),
        ("drusen", "lesion"),
        ("macular edema", "lesion"),
        ("macular hole", "lesion"),
        ("abnormal", "lesion"),
        ("papilledema", "lesion"),
        ("disc edema", "lesion"),
        ("optic atrophy", "lesion"),
        ("Papillenödem", "lesion"),
        ("Blutung an der Papille", "lesion"),
        ("nerve fibre layer defect", "lesion"),
        ("hémorragie du disque", "haemorrhages"),
        ("出血", "lesion"),
        ("venous beading", "lesion"),
        ("discoloured", "lesion"),
        ("", "lesion"),
    ],
)
def test_a_name_of_several_words_is_a_lesion_where_one_is_named(name, kind):
    """And an unknown name is a lesion of no known type; neither is the name of a column or folder of one type."""
    assert lesion_type(name) == kind
    assert named_lesion(name) is None


def test_columns_of_a_table(tmp_path):
    """IDRiD's short names are mask columns; a landmark's column, `_mask` or not, is none, and neither are flags."""
    for name in ("a.png", "m.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    columns = [
        "MA",
        "he",
        "EX",
        "Soft-Exudates",
        "Hemorrhage_mask",
        "other mask",
        "OD",
        "OD_mask",
        "optic_disc_mask",
        "NV",
    ]
    (tmp_path / "t.csv").write_text(f"image,label,{','.join(columns)}\na.png,0,{'m.png,' * 9}1\n")
    dataset = read_table(tmp_path / "t.csv", "csv:t.csv")
    (sample,) = dataset.samples
    mask = tmp_path / "m.png"
    assert dict(sample.masks) == {
        "microaneurysms": (mask,),
        "haemorrhages": (mask, mask),
        "hard_exudates": (mask,),
        "soft_exudates": (mask,),
        "lesion": (mask,),
    }
    assert dataset.notes[-1] == "Columns of the table that are not used: od, od_mask, optic_disc_mask, nv."


def test_a_table_that_marks_landmarks_only_knows_of_no_lesion(tmp_path):
    """The photograph is not annotated, which differs from free of lesions."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,label,optic_disc_mask\na.png,0,a.png\n")
    (sample,) = read_table(tmp_path / "t.csv", "csv:t.csv").samples
    assert (sample.origin, dict(sample.masks)) == ("none", {})


def test_folders_and_ends_of_file_names(tmp_path):
    """Short names, IDRiD's numbered ones and American ones; landmarks are left out and counted."""
    for name in (
        *("sick/a", "sick/b", "masks/EX/sick/a_EX", "masks/2. Haemorrhages/sick/a", "masks/sick/b_ma"),
        *("masks/sick/b_soft-exudates_mask", "masks/sick/b_OD", "masks/sick/b_optic_disc_mask", "masks/OD/sick/a"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    dataset = read_folder(tmp_path, "folder:x")
    assert {s.id: sorted(s.masks) for s in dataset.samples} == {
        "sick/a": ["haemorrhages", "hard_exudates"],
        "sick/b": ["microaneurysms", "soft_exudates"],
    }
    assert dataset.notes[-1] == "Masks: 3 files show a landmark (for example a.png): left out."


def test_a_stem_that_ends_like_a_landmark_is_still_a_stem(tmp_path):
    """OD is also the right eye: the mask of `7_OD.png` may be called so."""
    for name in ("sick/7_OD", "sick/7_OS", "masks/sick/7_OD", "masks/sick/7_OS_EX"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    masks = {s.id: sorted(s.masks) for s in read_folder(tmp_path, "folder:x").samples}
    assert masks == {"sick/7_OD": ["lesion"], "sick/7_OS": ["hard_exudates"]}


def label_studio(path: Path, labels: list[str]) -> None:
    """A box per label."""
    frame = {"type": "rectanglelabels", "original_width": 8, "original_height": 8}
    box = {"x": 0, "y": 0, "width": 50, "height": 50}
    results = [{**frame, "value": {**box, "rectanglelabels": [label]}} for label in labels]
    path.write_text(json.dumps([{"data": {"image": "a"}, "annotations": [{"result": results}]}]))


def coco(path: Path, labels: list[str]) -> None:
    """A box per label."""
    categories = [{"id": key, "name": label} for key, label in enumerate(labels)]
    boxes = [{"id": key, "image_id": 1, "category_id": key, "bbox": [0, 0, 4, 4]} for key in range(len(labels))]
    images = [{"id": 1, "file_name": "a", "width": 8, "height": 8}]
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": boxes}))


def cvat(path: Path, labels: list[str]) -> None:
    """A box per label."""
    boxes = "".join(f'<box label="{label}" xtl="0" ytl="0" xbr="4" ybr="4"/>' for label in labels)
    path.write_text(f'<annotations><image id="1" name="a" width="8" height="8">{boxes}</image></annotations>')


def yolo(path: Path, labels: list[str]) -> None:
    """A box per label."""
    path.mkdir()
    (path / "classes.txt").write_text("".join(f"{label}\n" for label in labels))
    (path / "a.txt").write_text("".join(f"{key} .25 .25 .5 .5\n" for key in range(len(labels))))


@pytest.mark.parametrize("write", [label_studio, coco, cvat, yolo])
def test_annotation_labels(tmp_path, write):
    """In every format a landmark beside lesions is left out, and the lesions stay."""
    write(tmp_path / "in", [*LESIONS, *LANDMARKS])
    (drawn,) = FORMATS[write.__name__.replace("_", "-")].read(tmp_path / "in", Album([Photograph("a", (), 8, 8)]))
    assert [shape.mark for shape in drawn.shapes] == ["look"] * len(LESIONS)


def test_boxes_of_a_data_set(tmp_path):
    """The same names as class names."""
    yolo(tmp_path / "in", [*LESIONS, *LANDMARKS])
    (sample,), _ = with_boxes([Sample("a", Path("a.jpg"), 0)], tmp_path / "in")
    assert [box.lesion for box in sample.boxes] == list(LESIONS.values())


def test_pictures_in_a_landmarks_folder(tmp_path):
    """One mask per lesion type and landmark is a usual layout; the landmark's picture is no correction."""
    for name in ("OD/a.png", "OD/b.png", "EX/b.png", "fovea/b.png", "normal/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / name)
    album = Album([Photograph(name, (), 8, 8) for name in ("a", "b", "normal/c")])
    assert [drawn.sample for drawn in FORMATS["png"].read(tmp_path, album)] == ["b", "normal/c"]


def test_every_lesion_type_has_a_name_for_people():
    """In the order of the types; the abbreviation means the same type where a person types it."""
    assert tuple(DISPLAY_NAMES) == LESION_TYPES
    named = {kind: named_lesion(name.short) for kind, name in DISPLAY_NAMES.items() if kind != "lesion"}
    assert all(kind == meant for kind, meant in named.items())
