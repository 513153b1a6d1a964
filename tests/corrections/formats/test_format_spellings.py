"""One thing in the spellings that tools and people have for it: each is read alike, or what was passed over is said."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.formats.source import Source
from regaze.corrections.shapes import rasterise
from regaze.errors import CorrectionError
from regaze.orientation import upright_pixels

WIDTH, HEIGHT = 160, 120
NAMES = ("eye03", "eye04", "a b", "eye (1)", "x.y")
ALBUM = Album([Photograph(name, (f"{name}.jpg",), WIDTH, HEIGHT) for name in NAMES])
BOX = np.zeros((HEIGHT, WIDTH), bool)
BOX[20:25, 10:30] = True
TURNED = np.zeros((HEIGHT, WIDTH), bool)  # by a quarter around its middle, (20, 22.5)
TURNED[12:32, 17:22] = True
RING = [10, 20, 30, 20, 30, 25, 10, 25]
BBOX = {"bbox": [10, 20, 20, 5]}
LINE = "0 0.125 0.1875 0.125 0.041666666667\n"


def read(name, path, **rules):
    """What was drawn, and the notes."""
    intake = Intake(**rules)
    return FORMATS[name].read(path, ALBUM, intake), " ".join(intake.notes)


def look(drawn):
    """The pixels of "look here"."""
    return rasterise(drawn.shapes, HEIGHT, WIDTH)[0]


def coco(path, annotations, name="eye03.jpg"):
    """A COCO file with one image."""
    entries = [{"image_id": 1, "category_id": 0, **entry} for entry in annotations]
    images = [{"id": 1, "file_name": name, "width": WIDTH, "height": HEIGHT}]
    path.write_text(
        json.dumps({"images": images, "categories": [{"id": 0, "name": "HE"}], "annotations": entries}), "utf-8"
    )
    return path


def result(**extra):
    """A rectangle of Label Studio that is BOX."""
    value = {"x": 6.25, "y": 100 / 6, "width": 12.5, "height": 25 / 6, "rectanglelabels": ["HE"]}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": "rectanglelabels", "to_name": "image", **size, "value": value, **extra}


def label_studio(path, document):
    """An export of Label Studio."""
    path.write_text(json.dumps(document))
    return path


def folder(path, files):
    """A folder with these files: texts and pictures."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.write_text(content)
        else:
            content.save(file)
    return path


@pytest.mark.parametrize(
    "entry",
    [
        {"segmentation": RING},
        {"segmentation": [[[10, 20], [30, 20], [30, 25], [10, 25]]]},
        {"segmentation": [[10, 20], [30, 20], [30, 25], [10, 25]]},
        {"segmentation": [[*RING, 10, 20]]},
        *({"segmentation": nothing, **BBOX} for nothing in (None, [], {}, "", [[]])),
    ],
)
def test_a_segmentation_of_coco_in_any_spelling(tmp_path, entry):
    """Flat, as points, closed; where it is empty, the box counts."""
    ((drawn,), notes) = read("coco", coco(tmp_path / "in", [entry]))
    np.testing.assert_array_equal(look(drawn), BOX)
    assert not notes


@pytest.mark.parametrize(
    "entry",
    [
        {**BBOX, "attributes": {"Rotation": "90.0"}},
        {**BBOX, "attributes": [{"name": "rotation", "value": 90}]},
        {**BBOX, "rotation": 450},
        *(
            {**BBOX, "segmentation": [ring], "attributes": {"rotation": -90}}
            for ring in (RING, [*RING, 10, 20], [10, 20, 10, 25, 30, 25, 30, 20], RING[2:] + RING[:2])
        ),
        # Turned already: its corners are not the box's.
        {
            **BBOX,
            "segmentation": [[17.5, 12.5, 22.5, 12.5, 22.5, 32.5, 17.5, 32.5]],
            "attributes": {"rotation": 90},
        },
    ],
)
def test_a_turned_box_of_coco_in_any_spelling(tmp_path, entry):
    """Wherever the angle stands, whichever corner comes first; turned once and not twice."""
    ((drawn,), _) = read("coco", coco(tmp_path / "in", [entry]))
    np.testing.assert_array_equal(look(drawn), TURNED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_label_studios_coco_gives_the_stored_size_and_upright_marks(tmp_path, orientation):
    """So the size tells nothing there; what was taken is said, and can be said otherwise."""
    photograph = Photograph("eye", ("eye.jpg",), WIDTH, HEIGHT, orientation)
    path = coco(tmp_path / "in", [BBOX], "eye.jpg")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({"info": {"contributor": "Label Studio"}, **document}))
    for drawn_on, shown in ((None, True), ("stored", False)):
        intake = Intake(drawn_on=drawn_on)
        (drawn,) = FORMATS["coco"].read(path, Album([photograph]), intake)
        seen = upright_pixels(look(drawn), orientation if shown else 1)
        assert seen[20:25, 10:30].all() and seen.sum() == 100
        assert len(intake.notes) == (shown and orientation != 1)


def test_a_box_of_five_numbers_is_left_out_beside_good_ones(tmp_path):
    """Whose angle may run either way; it is said."""
    ((drawn,), notes) = read("coco", coco(tmp_path / "in", [{"bbox": [20, 22, 20, 5, 30]}, BBOX]))
    np.testing.assert_array_equal(look(drawn), BOX)
    assert "left out: 1 (first: a box of 5 numbers" in notes


@pytest.mark.parametrize(
    ("task", "marked", "said"),
    [
        ({"completions": [{"result": [result()]}]}, 1, ""),
        ({"annotations": [], "drafts": [{"result": [result()]}]}, 0, "Drafts, which were never submitted"),
        ({"annotations": [{"was_cancelled": True, "result": [result()]}]}, 0, "Skipped annotations with marks"),
        ({"annotations": [{"was_cancelled": True, "result": []}]}, 0, ""),
        ({"annotations": [{"result": []}]}, 0, "Annotations without a mark, taken as not corrected"),
        ({"annotations": [{"result": None}, {"result": [result()]}]}, 1, "Annotations without a mark"),
        ({"annotations": [{"result": [result(image_rotation=90)]}]}, 1, "Marks on pictures turned in the editor"),
    ],
)
@pytest.mark.parametrize("is_alone", [False, True])
def test_what_label_studio_holds_is_taken_or_said(tmp_path, task, marked, said, is_alone):
    """Old exports, drafts, skipped and empty annotations, a turned view; a list of tasks or one task."""
    task = {"data": {"image": "eye03.jpg"}, **task}
    drawn, notes = read("label-studio", label_studio(tmp_path / "in", task if is_alone else [task]))
    assert len(drawn) == marked
    assert all((look(item) == BOX).all() for item in drawn)
    assert notes.startswith(said) and bool(notes) == bool(said)


@pytest.mark.parametrize(
    ("name", "document", "message"),
    [
        ("label-studio", {"images": [], "annotations": []}, "COCO, expected --format coco"),
        ("coco", [{"data": {}, "annotations": []}], "Label Studio's JSON, expected --format label-studio"),
        ("coco", {"shapes": [], "imagePath": "eye03.jpg"}, "LabelMe, expected an export as COCO"),
        ("coco", {"eye03.jpg12": {"filename": "eye03.jpg", "regions": []}}, "VIA .VGG., expected an export as COCO"),
        ("coco", {"type": "FeatureCollection", "features": []}, "GeoJSON, expected an export as COCO"),
    ],
)
def test_a_file_of_another_tool_is_called_by_its_name(tmp_path, name, document, message):
    """With what can be done."""
    with pytest.raises(CorrectionError, match=message):
        read(name, label_studio(tmp_path / "in", document))


@pytest.mark.parametrize(
    "files",
    [
        {"data.yaml": "names: [HE, OD]", "README.roboflow.txt": "v1\n", "README.dataset.txt": "# v1\n"},
        {"train/_darknet.labels": "HE\nOD\n"},
        {"labels/classes.txt": "HE\nOD\n"},
        {"dataset.yaml": "names: {0: HE, 1: OD}"},
        {"data/obj.names": "HE\nOD\n", "data/train.txt": "x/eye03.jpg\n", "classes.txt": "HE\nOD"},
        {"classes.txt": "HE", "Validation.txt": "data/eye03.jpg\n", "autosplit_train.txt": "./eye03.PNG\r\n"},
    ],
)
@pytest.mark.parametrize("line", [LINE, "0.000000e+00" + LINE[1:], "0.0" + LINE[1:]])
def test_folders_of_yolo_as_tools_lay_them_out(tmp_path, files, line):
    """Lists of pictures and notes are no boxes; class names lie at the top or below; NumPy writes floats."""
    lists = {name: text for name, text in files.items() if name != "data/train.txt"}
    path = folder(tmp_path / "in", {**lists, "train/labels/1a2b3c4d-eye03.txt": line})
    ((drawn,), notes) = read("yolo", path)
    np.testing.assert_array_equal(look(drawn), BOX)
    assert not notes


def test_two_lists_of_class_names_that_differ_are_refused(tmp_path):
    """Neither is guessed."""
    path = folder(tmp_path / "in", {"a/classes.txt": "HE", "b/classes.txt": "OD", "a/eye03.txt": LINE})
    with pytest.raises(CorrectionError, match="name the classes differently"):
        read("yolo", path)


CLASSES = BOX.astype(np.uint8)
CLASSES[80:100, 100:120] = 2
COLOURS = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
COLOURS[CLASSES == 1], COLOURS[CLASSES == 2] = (250, 50, 83), (36, 179, 83)
LABELMAP = "# label:color_rgb:parts:actions\nHE:250,50,83::\nbackground:0,0,0::\noptic_disc:36,179,83::\n"
ROBOFLOW = "Pixel Value, Class\n0, background\n1, HE\n2, optic disc\n"
HASHED = "eye03_jpg.rf.0123456789abcdef0123456789abcdef_mask.png"


@pytest.mark.parametrize("any_value", [False, True])
@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ({"train/_classes.csv": ROBOFLOW, f"train/{HASHED}": CLASSES}, None),
        ({"labelmap.txt": LABELMAP, "SegmentationClass/eye03.png": COLOURS}, None),
        (
            {"labelmap.txt": LABELMAP, "SegmentationClass/eye03.png": COLOURS, "SegmentationObject/eye03.png": COLOURS},
            None,
        ),
        ({"eye03.png": CLASSES}, {"1": "HE", "2": "OD"}),
        ({"eye03.png": COLOURS}, {"#fa3253": "HE", "#24b353": "OD"}),
    ],
)
def test_class_ids_of_png_masks_mean_what_a_table_says(tmp_path, files, classes, any_value):
    """A landmark's are never "look here", also where all but 0 would be."""
    pictures = {name: value if isinstance(value, str) else Image.fromarray(value) for name, value in files.items()}
    ((drawn,), notes) = read("png", folder(tmp_path / "in", pictures), any_value=any_value, classes=classes)
    np.testing.assert_array_equal(look(drawn), BOX)
    assert "not looked for, left out: 1 " in notes


def test_a_mask_of_a_landmark_alone_is_no_correction(tmp_path):
    """Value 1 is the disc where the table says so; a value without a name is refused."""
    path = folder(
        tmp_path / "in", {"_classes.csv": "Pixel Value, Class\n1, OD\n", HASHED: Image.fromarray(CLASSES % 2)}
    )
    drawn, notes = read("png", path)
    assert drawn == [] and "left out: 1 (first: 'OD')" in notes
    folder(path, {HASHED: Image.fromarray(CLASSES)})
    with pytest.raises(CorrectionError, match="the value 2, which has no name, expected one of 1"):
        read("png", path)


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (("eye03_mask.png",), 0),
        (("ground_truth/broken/eye03_mask.png",), 0),
        (("eye03_cp_masks.png",), 0),
        (("eye03_HE.png", "eye03_MA.png", "eye03_OD.png"), 1),
        (("HE/eye03.png", "MA/eye03.png", "OD/eye03.png"), 1),
        (("eye03_mask_1.png", "eye03_mask_2.png"), 0),
    ],
)
def test_several_masks_of_a_photograph_are_one_correction(tmp_path, names, left_out):
    """Told apart by what their names or folders say; landmarks are left out and counted."""
    halves = [BOX & (np.arange(WIDTH) < 20), BOX & (np.arange(WIDTH) >= 20), ~BOX]
    pieces = [BOX] if len(names) == 1 else halves[: len(names)]
    pictures = {name: Image.fromarray(piece.astype(np.uint8) * 255) for name, piece in zip(names, pieces, strict=True)}
    ((drawn,), notes) = read("png", folder(tmp_path / "in", pictures))
    np.testing.assert_array_equal(look(drawn), BOX)
    assert ("not looked for, left out: 1" in notes) == bool(left_out)


@pytest.mark.parametrize("name", ["png", "coco"])
def test_a_mask_over_most_of_a_photograph_is_told(tmp_path, name):
    """It may be inverted."""
    if name == "png":
        path = folder(tmp_path / "in", {"eye03.png": Image.fromarray((~BOX).astype(np.uint8))})
    else:
        path = coco(
            tmp_path / "in", [{"segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, WIDTH * HEIGHT - 100]}}]
        )
    ((drawn,), notes) = read(name, path)
    assert look(drawn).mean() > 0.9
    assert notes.startswith("Masks over more than half of their photograph, which may be inverted: 1 (first: eye03")


@pytest.mark.parametrize(
    ("given", "sample"),
    [
        ("EYE03.JPG", "eye03"),
        ("a-b_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "a b"),
        ("eye-1-_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "eye (1)"),
        ("x-y_png.rf.AbCdEfGhIjKlMnOpQrSt.jpg", "x.y"),
    ],
)
def test_names_that_lost_letters_or_case(tmp_path, given, sample):
    """As Roboflow and Windows leave them."""
    ((drawn,), _) = read("coco", coco(tmp_path / "in", [BBOX], given))
    assert drawn.sample == sample


@pytest.mark.parametrize(
    "shape",
    [
        '<polygon label="HE" points="10,20;30,20;30,25;10,25;"/>',
        '<polygon label="HE" points=""/><box label="HE" xtl="10" ytl="20" xbr="30" ybr="25"/>',
    ],
)
def test_polygons_of_cvat_with_empty_points(tmp_path, shape):
    """A semicolon at the end, or nothing at all, refuses no file."""
    path = tmp_path / "in"
    image = f'<image id="0" name="eye03.jpg" width="{WIDTH}" height="{HEIGHT}">{shape}</image>'
    path.write_text(f"<annotations>{image}</annotations>")
    ((drawn,), _) = read("cvat", path)
    np.testing.assert_array_equal(look(drawn), BOX)


def test_a_mask_of_cvat_slightly_beyond_the_edge_is_clipped(tmp_path):
    """By as much as a box may be."""
    path = tmp_path / "in"
    mask = f'<mask label="HE" rle="0, 100" left="{WIDTH - 19}" top="20" width="20" height="5"/>'
    path.write_text(
        f'<annotations><image id="0" name="eye03.jpg" width="{WIDTH}" height="{HEIGHT}">{mask}</image></annotations>'
    )
    ((drawn,), _) = read("cvat", path)
    assert look(drawn).sum() == 95 and look(drawn)[20:25, WIDTH - 19 :].all()


@pytest.mark.parametrize("group", ["optic_disc", "Landmark", "anatomical landmarks", "Macula"])
def test_a_landmark_that_the_group_of_a_class_alone_names(tmp_path, group):
    """COCO's `supercategory` tells what a class without a telling name is; a lesion's name goes before it."""
    for name, kept in (("object 1", 0), ("haemorrhage", 1)):
        document = json.loads(coco(tmp_path / "c.json", [BBOX]).read_text())
        document["categories"] = [{"id": 0, "name": name, "supercategory": group}]
        (tmp_path / "c.json").write_text(json.dumps(document))
        intake = Intake()
        assert len(FORMATS["coco"].read(tmp_path / "c.json", ALBUM, intake)) == kept
        assert len(intake.notes) == 1 - kept


def test_a_group_that_is_called_like_the_data_set_says_nothing(tmp_path):
    """Roboflow puts all classes below one with the data set's name, `optic-disc`, and that one below `none`."""
    document = json.loads(coco(tmp_path / "c.json", [BBOX]).read_text())
    document["categories"] = [
        {"id": 0, "name": "thing", "supercategory": "optic-disc"},
        {"id": 1, "name": "optic-disc", "supercategory": "none"},
    ]
    (tmp_path / "c.json").write_text(json.dumps(document))
    assert len(FORMATS["coco"].read(tmp_path / "c.json", ALBUM, Intake())) == 1


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("type", "optic disc", 0),
        ("Class", "fovea", 0),
        ("location", "macula", 1),
        ("type", "haemorrhage", 1),
        ("lesion type", "none", 1),
    ],
)
def test_a_landmark_that_an_attribute_alone_names(tmp_path, name, value, kept):
    """CVAT's label `object` with the attribute `type: optic disc` is no lesion; where a mark lies is no type."""
    (tmp_path / "c.xml").write_text(
        '<annotations><version>1.1</version><image id="0" name="eye03.jpg" width="160" height="120">'
        '<box label="object" xtl="10" ytl="10" xbr="30" ybr="30">'
        f'<attribute name="{name}">{value}</attribute></box></image></annotations>'
    )
    assert len(FORMATS["cvat"].read(tmp_path / "c.xml", ALBUM, Intake())) == kept


def test_a_landmark_that_a_choice_for_a_region_names(tmp_path):
    """Label Studio's label `object` with the region's choice `Optic disc` is no lesion."""
    choice = {"type": "choices", "id": "a", "value": {"choices": ["Optic disc"]}}
    document = [{"data": {"image": "eye03.jpg"}, "annotations": [{"result": [result(id="a"), choice]}]}]
    document[0]["annotations"][0]["result"][0]["value"]["rectanglelabels"] = ["object"]
    drawn, notes = read("label-studio", label_studio(tmp_path / "l.json", document))
    assert drawn == []
    assert "Marks of landmarks" in notes
    choice["value"]["choices"] = ["bright"]
    drawn, _ = read("label-studio", label_studio(tmp_path / "l.json", document))
    assert np.array_equal(look(drawn[0]), BOX)


@pytest.mark.parametrize("name", ["eye &amp; hand.jpg", "eye%20%26%20hand.jpg", "d/eye &#38; hand.jpg"])
def test_names_that_were_escaped(name):
    """A name that a tool has escaped for XML or an address finds its photograph."""
    album = Album([Photograph("eye & hand", ("eye & hand.jpg",), 160, 120)])
    assert album.find(name, Source(Path("x"))).sample == "eye & hand"


def test_names_of_very_many_folders_take_no_time():
    """Names of 200,000 folders, and a megabyte without one, find their photograph or none within seconds."""
    start = time.monotonic()
    for name in ("a/" * 200_000 + "eye03.jpg", "x" * 10**6 + "/eye03.jpg"):
        assert ALBUM.find(name, Source(Path("x"))).sample == "eye03"
    assert ALBUM.match("b\\" * 200_000 + "zz.jpg", Source(Path("x"))) is None
    assert time.monotonic() - start < 20
