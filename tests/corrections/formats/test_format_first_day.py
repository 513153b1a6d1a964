"""What annotation tools really export lands where it was drawn, or is refused in one line."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from regaze.corrections.formats.brush_rle import encode_brush
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.intake import Intake
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.records import Shape

WIDTH, HEIGHT = 160, 120
PLAIN = Album([Photograph(name, (f"{name}.jpg",), WIDTH, HEIGHT) for name in ("eye03", "eye04", "10_left", "10_right")])
BOX = (10, 20, 30, 25)  # left, top, right, bottom: nothing about it is symmetric
ORIENTATIONS = range(1, 9)


def turned(orientation):
    """A photograph `eye` with that orientation."""
    return Album([Photograph("eye", ("eye.jpg",), WIDTH, HEIGHT, orientation)])


def upright_size(orientation):
    """Width and height of what tools show, by Pillow."""
    return ImageOps.exif_transpose(with_orientation(Image.new("L", (WIDTH, HEIGHT)), orientation)).size


def with_orientation(image, orientation):
    """The picture with an orientation in its EXIF."""
    image.getexif()[0x0112] = orientation
    return image


def upright(mask, orientation):
    """A stored mask as tools show it, by Pillow."""
    image = with_orientation(Image.fromarray(mask.astype(np.uint8)), orientation)
    return np.asarray(ImageOps.exif_transpose(image)) > 0


def rectangle(size, box=BOX):
    """A mask (H, W) with a box."""
    mask = np.zeros(size[::-1], bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def label_studio(results, data=None, **annotation):
    """A task with one annotation."""
    return json.dumps([{"data": data or {"image": "eye03.jpg"}, "annotations": [{"result": results, **annotation}]}])


def result(kind="rectanglelabels", label="look", size=(WIDTH, HEIGHT), **value):
    """A result of Label Studio."""
    frame = {} if size is None else {"original_width": size[0], "original_height": size[1]}
    return {"type": kind, "to_name": "image", **frame, "value": {**value, **({kind: [label]} if label else {})}}


def percent(box, size):
    """A box as Label Studio writes it."""
    (x0, y0, x1, y1), (width, height) = box, size
    return {"x": 100 * x0 / width, "y": 100 * y0 / height, "width": 100 * (x1 - x0) / width} | {
        "height": 100 * (y1 - y0) / height
    }


def coco(annotations, name="eye03.jpg", size=(WIDTH, HEIGHT), categories=("look",)):
    """A COCO file with one image."""
    images = [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}]
    classes = [{"id": number, "name": text} for number, text in enumerate(categories)]
    entries = [{"id": n, "image_id": 1, "category_id": 0, **entry} for n, entry in enumerate(annotations)]
    return json.dumps({"images": images, "categories": classes, "annotations": entries})


def cvat(shapes, name="eye03.jpg", size=(WIDTH, HEIGHT)):
    """A CVAT file with one image."""
    image = f'<image id="0" name="{name}" width="{size[0]}" height="{size[1]}">{shapes}</image>'
    return f"<annotations>{image}</annotations>"


def drawn_box(name, size, path, photograph="eye.jpg"):
    """A tool's file that says BOX on a picture of that size."""
    x0, y0, x1, y1 = BOX
    if name == "label-studio":
        path.write_text(label_studio([result(size=size, **percent(BOX, size))], {"image": photograph}))
    elif name == "coco":
        path.write_text(coco([{"bbox": [x0, y0, x1 - x0, y1 - y0]}], photograph, size))
    elif name == "cvat":
        path.write_text(cvat(f'<box label="look" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>', photograph, size))
    else:
        path.mkdir()
        if name == "png":
            Image.fromarray(rectangle(size).astype(np.uint8)).save(path / "eye.png")
            return
        width, height = size
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        (path / "classes.txt").write_text("look")
        (path / "eye.txt").write_text(f"0 {' '.join(map(repr, shares))}")


def read(name, path, album=PLAIN, **rules):
    """What was drawn, and the notes."""
    intake = Intake(**rules)
    return FORMATS[name].read(path, album, intake), intake.notes


def look(drawn):
    """The pixels of "look here"."""
    return rasterise(drawn.shapes, HEIGHT, WIDTH)[0]


def text(tmp_path, content):
    """A file with that text."""
    path = tmp_path / "in"
    path.write_text(content)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["label-studio", "coco", "cvat", "yolo"])
def test_marks_on_the_turned_picture_land_where_they_were_drawn(tmp_path, name, orientation):
    """All eight orientations of EXIF, against Pillow; where the size does not tell, it is said what was taken."""
    size = upright_size(orientation)
    drawn_box(name, size, tmp_path / "in")
    (drawn,), notes = read(name, tmp_path / "in", turned(orientation))
    np.testing.assert_array_equal(upright(look(drawn), orientation), rectangle(size))
    guessed = orientation in (2, 3, 4) or (name == "yolo" and orientation > 1)
    assert len(notes) == guessed
    assert all(
        "taken as drawn on upright" in note and f": 1 (first: eye, orientation {orientation})" in note for note in notes
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_an_option_says_what_was_drawn_on(tmp_path, name, orientation):
    """`stored` and `upright` leave nothing to guess, in every format."""
    for drawn_on, size in (("stored", (WIDTH, HEIGHT)), ("upright", upright_size(orientation))):
        path = tmp_path / drawn_on
        drawn_box(name, size, path)
        (drawn,), notes = read(name, path, turned(orientation), drawn_on=drawn_on)
        seen = look(drawn) if drawn_on == "stored" else upright(look(drawn), orientation)
        np.testing.assert_array_equal(seen, rectangle(size))
        assert notes == ()


@pytest.mark.parametrize("name", ["label-studio", "coco", "cvat", "png"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_file_of_the_stored_size_was_drawn_on_stored_pixels(tmp_path, name, orientation):
    """The size tells where it can."""
    drawn_box(name, (WIDTH, HEIGHT), tmp_path / "in")
    (drawn,), notes = read(name, tmp_path / "in", turned(orientation))
    np.testing.assert_array_equal(look(drawn), rectangle((WIDTH, HEIGHT)))
    assert notes == ()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_png_masks_of_turned_photographs(tmp_path, orientation):
    """By size, by the mask's own EXIF, or refused: tools turn, scripts do not."""
    size = upright_size(orientation)
    drawn_box("png", size, tmp_path / "in")
    if orientation in (2, 3, 4):
        with pytest.raises(CorrectionError, match=f"orientation {orientation}.*--drawn-on upright.*--drawn-on stored"):
            read("png", tmp_path / "in", turned(orientation))
    else:
        (drawn,), _ = read("png", tmp_path / "in", turned(orientation))
        np.testing.assert_array_equal(upright(look(drawn), orientation), rectangle(size))
    mask = Image.fromarray(rectangle((WIDTH, HEIGHT)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    mask.save(tmp_path / "in" / "eye.png", exif=exif)
    (drawn,), _ = read("png", tmp_path / "in", turned(orientation))
    np.testing.assert_array_equal(look(drawn), rectangle((WIDTH, HEIGHT)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_exports_open_rightly_in_tools_that_turn(tmp_path, name, orientation):
    """Masks, boxes, polygons and strokes: written upright (png: turned as the photograph), and read back in place."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[40:44, 5:9] = mask[44, 9] = True
    shapes = (
        Shape("box", "look", ((10, 20), (30, 25))),
        Shape("mask", "look", runs=mask_to_runs(mask)),
        Shape("polygon", "look", ((100, 90), (120.5, 90), (100, 110.25))),
        Shape("stroke", "avoid", ((100, 20), (140, 33)), 2.5),
    )
    before = Drawn("eye", shapes[:1] if name == "yolo" else shapes, mode="replace")
    FORMATS[name].write([before], turned(orientation), tmp_path / "out")
    (after,), _ = read(name, tmp_path / "out", turned(orientation))
    for got, expected in zip(*(rasterise(d.shapes, HEIGHT, WIDTH) for d in (after, before)), strict=True):
        np.testing.assert_array_equal(got, expected)
    size = upright_size(orientation)
    if name == "coco":
        document = json.loads((tmp_path / "out").read_text())
        assert (document["images"][0]["width"], document["images"][0]["height"]) == size
        x, y, width, height = map(int, document["annotations"][0]["bbox"])
        expected = upright(rectangle((WIDTH, HEIGHT)), orientation)
        np.testing.assert_array_equal(rectangle(size, (x, y, x + width, y + height)), expected)
    if name == "png":
        with Image.open(tmp_path / "out" / "eye.png") as image:
            assert ImageOps.exif_transpose(image).size == size


TWO_EYES = {"left": "/data/upload/1/0a0b0c0d-10_left.jpeg", "right": "/data/upload/1/0a0b0c0e-10_right.jpeg"}
TWO_BOXES = [result(**percent((10, 10, 30, 30), (WIDTH, HEIGHT))), result(**percent((100, 60, 120, 80), (160, 120)))]


@pytest.mark.parametrize(
    ("data", "names", "indices"),
    [
        (TWO_EYES, ("right", "left"), (None, None)),
        ({"images": list(TWO_EYES.values())}, ("image", "image"), (1, 0)),
    ],
)
def test_two_pictures_in_a_task_are_told_apart(tmp_path, data, names, indices):
    """By the key that an <Image> is named like, or the index in a list."""
    results = [
        {**one, "to_name": name, "item_index": index}
        for one, name, index in zip(TWO_BOXES, names, indices, strict=True)
    ]
    drawn, _ = read("label-studio", text(tmp_path, label_studio(results, data)))
    assert {item.sample: item.shapes[0].points[0] for item in drawn} == {"10_right": (10, 10), "10_left": (100, 60)}
    assert [int(look(item).sum()) for item in drawn] == [400, 400]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (TWO_EYES, ("right_eye", "left_eye")),
        (TWO_EYES, ("right_eye", "right_eye")),
        (TWO_EYES, (None, None)),
        ({"images": list(TWO_EYES.values())}, ("image", "image")),
        ({"left": "10_left.jpeg", "right": "stranger.jpeg"}, ("right_eye", "right_eye")),
        ({"left": "10_left.jpeg", "right": "stranger.jpeg"}, ("right_eye", "left_eye")),
    ],
)
def test_two_pictures_that_cannot_be_told_apart_are_refused(tmp_path, data, names):
    """Never both boxes on one photograph."""
    results = [{**one, "to_name": name} for one, name in zip(TWO_BOXES, names, strict=True)]
    path = text(tmp_path, label_studio(results, data))
    with pytest.raises(CorrectionError, match=r"\$\[0\]\.annotations\[0\]\.result\[0\]: a task of several pictures.*"):
        read("label-studio", path)
    with pytest.raises(CorrectionError):
        read("label-studio", path, skip_unknown=True)


def test_a_stranger_beside_a_known_picture(tmp_path):
    """Its marks are passed over with a count, and never move to the other picture."""
    data = {"left": "10_left.jpeg", "right": "stranger.jpeg"}
    results = [{**one, "to_name": name} for one, name in zip(TWO_BOXES, ("right", "left"), strict=True)]
    path = text(tmp_path, label_studio(results, data))
    with pytest.raises(CorrectionError, match="stranger"):
        read("label-studio", path)
    (drawn,), notes = read("label-studio", path, skip_unknown=True)
    assert (drawn.sample, len(drawn.shapes)) == ("10_left", 1)
    assert notes[0].startswith("Pictures that the study has not, passed over: 1")


@pytest.mark.parametrize(
    "data", [{"image": "s3://x/0001.jpg", "file": "eye03.jpg"}, {"img": "eye03.jpg", "patient": "10"}]
)
def test_one_picture_goes_by_any_text_of_its_task(tmp_path, data):
    """An address that names no file does not hide the one that does."""
    (drawn,), _ = read("label-studio", text(tmp_path, label_studio(TWO_BOXES, data)))
    assert (drawn.sample, len(drawn.shapes)) == ("eye03", 2)


@pytest.mark.parametrize("extra", [{"segmentation": []}, {"segmentation": [[60, 50, 100, 50, 100, 60, 60, 60]]}, {}])
def test_rotation_in_coco(tmp_path, extra):
    """CVAT leaves the box as it was and says how far it is turned, clockwise around the middle."""
    entry = {"bbox": [60, 50, 40, 10], "attributes": {"occluded": False, "rotation": 90.0}, **extra}
    (drawn,), _ = read("coco", text(tmp_path, coco([entry])))
    np.testing.assert_array_equal(look(drawn), rectangle((160, 120), (75, 35, 85, 75)))


FOREIGN_LS = [
    {"type": "keypointlabels", "value": {"x": 50, "y": 50, "width": 0.5, "keypointlabels": ["haemorrhage"]}},
    {"type": "vectorlabels", "value": {"vertices": [], "vectorlabels": ["haemorrhage"]}},
    {"type": "rectangle", "value": percent((1, 1, 5, 5), (160, 120))},
    result(**percent((10, 10, 10, 30), (160, 120))),
    result("polygonlabels", points=[[0, 0], [10, 10]]),
]
LANDMARK_LS = {"type": "keypointlabels", "value": {"x": 50, "y": 50, "width": 0.5, "keypointlabels": ["Fovea"]}}
FOREIGN_CVAT = (
    '<points label="MA" points="1,1"/><polyline label="MA" points="1,1;2,2"/><cuboid label="MA"/><unheard-of/>'
    '<box label="MA" xtl="10" ytl="10" xbr="10" ybr="30"/><polygon label="MA" points="1,1;2,2"/>'
)
FOREIGN_COCO = [
    {"keypoints": [1, 1, 2]},
    {"bbox": []},
    {"bbox": [10, 10, 0, 20]},
    {"bbox": [10, 10, 5, 5], "segmentation": [[10, 10, 15, 15]]},
    {"segmentation": [[]]},
]


@pytest.mark.parametrize("name", ["label-studio", "cvat", "coco"])
@pytest.mark.parametrize("is_alone", [False, True])
def test_foreign_shapes_beside_good_ones_are_left_out_and_counted(tmp_path, name, is_alone):
    """Some that mark no area and a landmark; alone they do not say that there is nothing to see."""
    good = () if is_alone else (10, 10, 20, 20)
    if name == "label-studio":
        results = [result("rectanglelabels", "haemorrhage", **percent((10, 10, 30, 30), (160, 120)))] * bool(good)
        mode = {"type": "choices", "from_name": "mode", "to_name": "image", "value": {"choices": ["replace"]}}
        content = label_studio([*results, *FOREIGN_LS, LANDMARK_LS, mode])
    elif name == "cvat":
        box = '<box label="HE" xtl="10" ytl="10" xbr="30" ybr="30"/>' * bool(good)
        landmark = '<points label="Fovea" points="5,5"/>'
        content = cvat(f'<tag label="reviewed"/>{box}{FOREIGN_CVAT}{landmark}')
    else:
        landmark = {"category_id": 1, "keypoints": [5, 5, 2], "bbox": [5, 5, 0, 0]}
        content = coco([{"bbox": list(good)}] * bool(good) + [*FOREIGN_COCO, landmark], categories=("HE", "Fovea"))
        content = content.replace('"file_name"', '"reviewed": true, "file_name"')
    drawn, notes = read(name, text(tmp_path, content))
    assert [int(look(item).sum()) for item in drawn] == ([] if is_alone else [400])
    assert [note.split(" (first")[0] for note in notes] == [
        f"Shapes that mark no area, left out: {6 if name == 'cvat' else 5}",
        "Marks of landmarks and what else is not looked for, left out: 1",
    ]
    assert str(tmp_path / "in") in notes[0]


@pytest.mark.parametrize("degrees", [0, 30])
def test_ellipses(tmp_path, degrees):
    """Label Studio's and CVAT's, turned clockwise around their middle: all pixels within, a hair of the border off."""
    ellipse = {"x": 50, "y": 50, "radiusX": 12.5, "radiusY": 10, "rotation": degrees}
    files = {
        "label-studio": label_studio([result("ellipselabels", **ellipse)]),
        "cvat": cvat(f'<ellipse label="look" cx="80" cy="60" rx="20" ry="12" rotation="{degrees}"/>'),
    }
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    turn = np.exp(-1j * np.radians(degrees))
    offset = ((columns - 80) + 1j * (rows - 60)) * turn
    expected = (offset.real / 20) ** 2 + (offset.imag / 12) ** 2 <= 1
    for name, content in files.items():
        (drawn,), _ = read(name, text(tmp_path, content))
        assert int((look(drawn) != expected).sum()) <= 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "1", "black"])
def test_bit_masks_of_label_studio(tmp_path, mode):
    """A picture as a data URL: its alpha where it is in part transparent, else what is not black."""
    mask = rectangle((160, 120))
    if mode == "black":
        image = Image.fromarray(np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), mask.astype(np.uint8) * 255]))
    elif mode in ("RGBA", "LA"):
        image = Image.fromarray((mask * 255).astype(np.uint8)).convert(mode)
        image.putalpha(Image.fromarray((mask * 255).astype(np.uint8)))
    else:
        image = Image.fromarray((mask * 255).astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    address = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    (drawn,), _ = read("label-studio", text(tmp_path, label_studio([result("bitmasklabels", imageDataURL=address)])))
    np.testing.assert_array_equal(look(drawn), mask)
    for wrong in ("http://x/y.png", "data:image/png;base64,*", "data:image/png;base64,AAAA"):
        with pytest.raises(CorrectionError, match="expected"):
            read("label-studio", text(tmp_path, label_studio([result("bitmasklabels", imageDataURL=wrong)])))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": -0.7, "y": 40, "width": 20, "height": 20}, (0, 48, 31, 72)),
        ({"x": 88, "y": 50, "width": 12.9, "height": 10}, (141, 60, 160, 72)),
        ({"x": 37.5, "y": 50, "width": -12.5, "height": -10}, (40, 48, 60, 60)),
    ],
)
def test_boxes_slightly_outside_and_drawn_backwards(tmp_path, value, expected):
    """They are clipped at the edge, and sorted."""
    (drawn,), _ = read("label-studio", text(tmp_path, label_studio([result(**value)])))
    np.testing.assert_array_equal(look(drawn), rectangle((160, 120), expected))


def test_a_box_backwards_or_slightly_outside_in_other_tools(tmp_path):
    """The same in pixels."""
    (drawn,), _ = read("cvat", text(tmp_path, cvat('<box label="look" xtl="30" ytl="30" xbr="-2" ybr="10"/>')))
    np.testing.assert_array_equal(look(drawn), rectangle((160, 120), (0, 10, 30, 30)))
    (drawn,), _ = read("coco", text(tmp_path, coco([{"bbox": [163, 30, -20, -10]}])))
    np.testing.assert_array_equal(look(drawn), rectangle((160, 120), (143, 20, 160, 30)))
    with pytest.raises(CorrectionError, match=r"the point \(170, 30\)"):
        read("coco", text(tmp_path, coco([{"bbox": [150, 20, 20, 10]}])))


@pytest.mark.parametrize("name", ["label-studio", "coco", "cvat", "png"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_copies_of_the_same_aspect_are_scaled(tmp_path, name, orientation, factor):
    """Half as large or twice, also of a turned photograph, and said; another aspect is refused."""
    full = upright_size(orientation)
    size = (round(full[0] * factor), round(full[1] * factor))
    drawn_box(name, size, tmp_path / "in")
    (drawn,), notes = read(name, tmp_path / "in", turned(orientation))
    expected = rectangle(full, tuple(round(value / factor) for value in BOX))
    seen = upright(look(drawn), orientation)
    if factor == 2 and name == "png":  # half pixels: none is lost
        assert seen[expected].all()
        assert int(seen.sum()) == 10 * 3
    else:
        assert int((seen != expected).sum()) <= 10
    assert notes[0].startswith("Pictures of another size, scaled to their photographs: 1")
    (tmp_path / "wrong").mkdir()
    drawn_box(name, (size[0], size[1] + 9), tmp_path / "wrong" / "in")
    with pytest.raises(CorrectionError, match="the size of eye"):
        read(name, tmp_path / "wrong" / "in", turned(orientation))


@pytest.mark.parametrize("kind", ["rectangle", "polygon", "brush"])
def test_percent_need_no_size(tmp_path, kind):
    """Results that the SDK made have none."""
    value = {
        "rectangle": percent(BOX, (160, 120)),
        "polygon": {"points": [[100 * x / 160, 100 * y / 120] for x, y in ((10, 20), (30, 20), (30, 25), (10, 25))]},
        "brush": {"format": "rle", "rle": encode_brush(mask_to_runs(rectangle((160, 120))))},
    }[kind]
    (drawn,), _ = read("label-studio", text(tmp_path, label_studio([result(f"{kind}labels", size=None, **value)])))
    np.testing.assert_array_equal(look(drawn), rectangle((160, 120)))


@pytest.mark.parametrize("name", FORMATS)
def test_strangers_are_passed_over_where_one_says_so(tmp_path, name):
    """Otherwise they refuse the file; what belongs to the study is taken either way."""
    both = Album([Photograph("eye", ("eye.jpg",), WIDTH, HEIGHT), Photograph("other", (), WIDTH, HEIGHT)])
    box = Shape("box", "look", ((10, 20), (30, 25)))
    FORMATS[name].write([Drawn("other", (box,)), Drawn("eye", (box,))], both, tmp_path / "in")
    with pytest.raises(CorrectionError, match="the image 'other"):
        read(name, tmp_path / "in", turned(1))
    (drawn,), notes = read(name, tmp_path / "in", turned(1), skip_unknown=True)
    assert drawn.sample == "eye"
    assert int(look(drawn).sum()) == 100
    assert "Pictures that the study has not, passed over: 1 (first: 'other" in notes[0]


NAMES = [
    "images/1a2b3c4d-eye03.jpg",
    "images\\1a2b3c4d-eye03.jpg",
    "1a2b3c4d__eye03.jpg",
    "eye03_jpg.rf.0123456789abcdef0123456789abcdef.jpg",
    "/data/local-files/?d=photos/eye03.jpg",
    "https://example.org/1a2b3c4d-eye03.jpg?token=x",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_tools_give_in_every_format(tmp_path, name):
    """Upload prefixes, Roboflow's hashes, addresses."""
    box = {"bbox": [10, 20, 20, 5]}
    files = {
        "coco": coco([box], name),
        "cvat": cvat('<box label="look" xtl="10" ytl="20" xbr="30" ybr="25"/>', name.replace("&", "&amp;")),
        "label-studio": label_studio([result(**percent(BOX, (160, 120)))], {"image": name}),
    }
    for format_name, content in files.items():
        (drawn,), _ = read(format_name, text(tmp_path, content))
        assert drawn.sample == "eye03"
    base = name.rpartition("/")[2].rpartition("\\")[2]
    if "?" in base:
        return
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "classes.txt").write_text("look")
    (folder / base.replace(".jpg", ".txt")).write_text("0 .5 .5 .1 .1")
    Image.fromarray(rectangle((160, 120)).astype(np.uint8)).save(folder / base.replace(".jpg", ".png"))
    for format_name in ("yolo", "png"):
        assert [drawn.sample for drawn in read(format_name, folder)[0]] == ["eye03"]


def test_a_name_is_taken_as_it_stands_first():
    """A study whose own photographs carry such names keeps them apart."""
    names = ["1a2b3c4d-eye", "eye", "a (1)"]
    album = Album([Photograph(name, (f"{name}.jpg",), 1, 1) for name in names])
    assert [album.match(f"{name}.jpg", None).sample for name in names] == names
    assert album.match("1a2b3c4d-a_1.jpg", None).sample == "a (1)"  # what Label Studio leaves of it


def test_label_studios_pictures_name_no_photograph(tmp_path):
    """Its PNGs are called by task; the message says which export is meant."""
    Image.new("L", (160, 120)).save(tmp_path / "task-1-annotation-101-by-1-brush-look-0.png")
    with pytest.raises(CorrectionError, match=r"name of a task, not of a photograph, expected .* called JSON"):
        read("png", tmp_path)


TWO_TASKS = """<annotations>{meta}
<image id="0" name="eye03.jpg" task_id="1" width="160" height="120">
<box label="look" xtl="10" ytl="10" xbr="30" ybr="30"/></image>
<image id="1" name="{name}" task_id="2" width="160" height="120">
<box label="look" xtl="30" ytl="10" xbr="50" ybr="30"/></image></annotations>"""
META = (
    "<meta><project><tasks><task><id>1</id><assignee><username>ada</username></assignee></task>"
    "<task><id>2</id><assignee></assignee></task></tasks></project></meta>"
)


@pytest.mark.parametrize("name", ["eye03.jpg", "eye03_1.jpg"])
@pytest.mark.parametrize(("meta", "authors"), [("", ["task 1", "task 2"]), (META, ["ada", "task 2"])])
def test_two_experts_on_one_picture_in_cvat(tmp_path, name, meta, authors):
    """Two tasks of a project: two corrections with two authors, whatever CVAT calls the second."""
    drawn, _ = read("cvat", text(tmp_path, TWO_TASKS.format(name=name, meta=meta)))
    assert [(item.sample, item.author) for item in drawn] == [("eye03", author) for author in authors]
    assert [item.shapes[0].points[0] for item in drawn] == [(10, 10), (30, 10)]


@pytest.mark.parametrize(("old", "new"), [("eye04.jpg", "eye04_1.jpg"), ('task_id="2"', 'task_id="1"')])
def test_a_second_picture_of_one_task_is_no_second_expert(tmp_path, old, new):
    """Nor is a name that only looks like one."""
    content = TWO_TASKS.format(name="eye04.jpg" if "eye" in old else "eye03.jpg", meta="")
    with pytest.raises(CorrectionError, match=r"eye04_1|eye03 again"):
        read("cvat", text(tmp_path, content.replace(old, new)))


def test_run_lengths_in_a_list(tmp_path):
    """One RLE as the only part."""
    entry = {"segmentation": [{"size": [120, 160], "counts": [1200, 20, 100, 17880]}]}
    (drawn,), _ = read("coco", text(tmp_path, coco([entry])))
    assert int(look(drawn).sum()) == 20 + 17880


def test_predictions_are_counted(tmp_path):
    """A task with nothing but predictions holds no correction, and that is said."""
    task = [{"data": {"image": "eye03.jpg"}, "annotations": [], "predictions": [{"result": []}]}]
    drawn, notes = read("label-studio", text(tmp_path, json.dumps(task)))
    assert drawn == []
    assert notes[0].startswith("Predictions, which are no corrections, passed over: 1")


@pytest.mark.parametrize(("author", "is_member"), [("a.b@example.org", True), ("user 1", False), ("A. Expert", False)])
def test_label_studio_gets_e_mails_alone_and_the_author_comes_back(tmp_path, author, is_member):
    """It refuses a whole import for an address that is no member's."""
    FORMATS["label-studio"].write([Drawn("eye03", (), author)], PLAIN, tmp_path / "out")
    (annotation,) = json.loads((tmp_path / "out").read_text())[0]["annotations"]
    assert ("completed_by" in annotation) == is_member
    (drawn,), _ = read("label-studio", tmp_path / "out")
    assert drawn.author == author


@pytest.mark.parametrize("name", ["label-studio", "coco", "cvat"])
def test_a_prefix_before_the_names_of_pictures(tmp_path, name):
    """For tools that serve files under an address; it is found again."""
    album = Album([Photograph("eye", ("eye.jpg",), 5, 3)], "/data/local-files/?d=photos/")
    FORMATS[name].write([Drawn("eye", ())], album, tmp_path / "out")
    assert "/data/local-files/?d=photos/eye.jpg" in (tmp_path / "out").read_text()
    assert FORMATS[name].read(tmp_path / "out", album)[0].sample == "eye"


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB"])
def test_png_masks_of_any_value(tmp_path, mode):
    """Class ids, labels of components, colours: refused with the option that takes all but 0."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:20, :20], values[30:40, :10] = 1, 2
    image = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    if mode == "P":
        image.putpalette([0, 0, 0, 9, 9, 9, 5, 0, 0])
    elif mode == "RGB":
        image = image.convert("RGB")
    image.save(tmp_path / "eye03.png")
    with pytest.raises(CorrectionError, match="--any-value takes all but 0"):
        read("png", tmp_path)
    (drawn,), _ = read("png", tmp_path, any_value=True)
    np.testing.assert_array_equal(look(drawn), values > 0)
