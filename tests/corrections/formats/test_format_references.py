"""Bytes that other tools wrote, and bytes known by hand.

Where they come from: `pycocotools` 2.0.11 (`mask.encode`), `label-studio-sdk` 2.1.2 (`converter.brush.mask2rle`),
`@thi.ng/rle-pack` 3.2.12 (`encode`, what Label Studio's page calls), and a mask that somebody posted from CVAT
(github.com/cvat-ai/cvat/issues/4723).
"""

import json

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from regaze.corrections.formats.brush_rle import decode_brush, encode_brush
from regaze.corrections.formats.coco_rle import decode_counts, encode_counts
from regaze.corrections.formats.drawn import Drawn, meaning
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.formats.runs import crop_of_runs, runs_of_crop, tidy_runs, transpose_runs
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.records import Shape

_MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
_PATIENT = settings(deadline=None, max_examples=60)

# 3 x 5:  ...##
#         .###.
#         ....#
SMALL = (3, 2, 1, 3, 5, 1)
# The page's own bytes for it, drawn in the colour (200, 30, 7), opaque but for its last pixel, whose alpha is 100.
# fmt: off
PAGE = [0, 0, 0, 60, 57, 27, 253, 176, 1, 242, 7, 129, 255, 242, 7, 129, 255, 227, 0, 55, 144, 60, 15, 255, 144, 60, 15,
        255, 144, 60, 15, 255, 132, 192, 3, 200, 30, 7, 100]
# fmt: on
# 12 x 9, numpy.random.default_rng(5).random((12, 9)) > 0.6
NOISE = mask_to_runs(
    np.unpackbits(np.array([192, 103, 34, 218, 9, 72, 85, 57, 105, 126, 196, 58, 140, 0], np.uint8))[:108].reshape(
        12, 9
    )
    > 0
)


def eye(width, height):
    """One photograph."""
    return Album([Photograph("training/eye", ("training/eye.jpg",), width, height)])


@pytest.mark.parametrize(
    ("runs", "height", "width", "counts"),
    [
        (SMALL, 3, 5, "4120O10O00"),
        (NOISE, 12, 9, "052LO1000O10O00160J020O020N0O11N00O23ON0OO0020:1D02"),
        ((12,), 4, 3, "<"),
        ((0, 12), 4, 3, "0<"),
        # 130 x 140, the first 17,000 pixels of its rows: 121 whole rows and 60 pixels of the next
        ((0, 17000, 1200), 130, 140, "0j38" + "0" * 118 + "O1" + "0" * 158),
    ],
)
def test_coco_counts_are_those_of_pycocotools(runs, height, width, counts):
    """Byte for byte, both ways."""
    assert encode_counts(runs, height, width) == counts
    assert decode_counts(counts, height, width) == runs


def test_uncompressed_coco_counts_go_down_the_columns():
    """Known by hand: column 0 is empty, 1 has the middle pixel ..."""
    assert decode_counts([4, 1, 2, 1, 1, 2, 1, 1, 1, 1], 3, 5) == SMALL
    assert decode_counts([4, 1, 2, 1, 1, 2, 1, 1, 0, 0, 1, 1, 0], 3, 5) == SMALL  # runs of 0 say nothing


@pytest.mark.parametrize(
    ("runs", "rle"),
    [
        (SMALL, [0, 0, 0, 60, 57, 27, 253, 176, 9, 255, 227, 0, 183, 255, 132, 192, 35, 255, 0]),
        # Longer than 65,536 words, of which a count holds no more.
        ((0, 17000, 1200), [0, 1, 28, 96, 57, 27, 255, 255, 255, 255, 225, 51, 255, 252, 74, 252, 0]),
    ],
)
def test_brush_strokes_are_those_of_label_studios_converter(runs, rle):
    """Byte for byte, both ways."""
    height, width = (3, 5) if runs == SMALL else (130, 140)
    assert encode_brush(runs) == rle
    assert decode_brush(rle, height, width) == runs


@pytest.mark.parametrize(
    ("runs", "height", "width", "rle"),
    [
        # Words that differ, in chunks.
        (
            SMALL,
            3,
            5,
            PAGE,
        ),
        ((10, 30, 9), 7, 7, [0, 0, 0, 196, 57, 27, 254, 39, 0, 206, 255, 248, 140, 0]),
        # The words 0 0 0 255 1 2 3 0 with counts of 2, 5, 9 and 13 bits: the second pixel has a colour and no alpha.
        ((0, 1, 1), 1, 2, [0, 0, 0, 8, 56, 164, 100, 128, 9, 63, 192, 64, 128, 192, 0]),
    ],
)
def test_brush_strokes_of_label_studios_page_are_read(runs, height, width, rle):
    """Whatever the brush's colour and the sizes of the counts; painted is where alpha is not 0."""
    assert decode_brush(rle, height, width) == runs


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools sets the shape of an array
@_PATIENT
@given(_MASKS)
def test_run_lengths_of_every_mask_come_back(mask):
    """Through each of the codecs, and transposed as NumPy does it; pycocotools unpacks the same from COCO's text."""
    height, width = mask.shape
    runs = mask_to_runs(mask)
    counts = encode_counts(runs, height, width)
    assert decode_counts(counts, height, width) == runs
    np.testing.assert_array_equal(pycocotools.mask.decode({"size": [height, width], "counts": counts}), mask)
    assert decode_brush(encode_brush(runs), height, width) == runs
    assert transpose_runs(runs, height, width) == mask_to_runs(mask.T)
    assert decode_counts(list(mask_to_runs(mask.T)), height, width) == runs
    crop, top, left = crop_of_runs(runs, width)
    assert runs_of_crop(crop, top, left, height, width) == runs
    if mask.any():
        np.testing.assert_array_equal(mask[top : top + crop.shape[0], left : left + crop.shape[1]], crop)
        assert crop.any(axis=0)[[0, -1]].all() and crop.any(axis=1)[[0, -1]].all()


@_PATIENT
@given(st.lists(st.integers(0, 3)))
def test_tidy_runs_are_the_same_mask(counts):
    """Runs of 0 and what they divide are joined."""
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    expected = mask_to_runs(flat[None]) if len(flat) else ()
    assert tidy_runs(np.asarray(counts, dtype=np.int64)) == expected


CVAT_BLOB = (
    "17, 10, 27, 15, 23, 18, 20, 21, 18, 23, 16, 24, 15, 26, 13, 27, 13, 27, 12, 29, 10, 30, 9, 32, 7, 34, 5, 36, 3, "
    "38, 2, 38, 2, 39, 1, 39, 1, 120, 1, 39, 1, 39, 1, 39, 2, 38, 2, 38, 3, 37, 3, 37, 3, 37, 4, 36, 4, 35, 6, 34, 7, "
    "33, 7, 32, 9, 30, 10, 29, 13, 26, 15, 23, 18, 20, 22, 15, 12"
)


def test_a_mask_that_cvat_wrote_lies_where_it_was_painted(tmp_path):
    """Its run lengths are of the rectangle at left, top, row by row: a filled blob that touches all four sides."""
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta></meta>\n'
        '<image id="0" name="eye.jpg" width="200" height="400"><mask label="blah" occluded="0" source="manual" '
        f'rle="{CVAT_BLOB}" left="79" top="304" width="40" height="40" z_order="0"> </mask></image></annotations>'
    )
    (drawn,) = FORMATS["cvat"].read(path, eye(200, 400))
    look, avoid = rasterise(drawn.shapes, 400, 200)
    rows, columns = np.nonzero(look)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (304, 344, 79, 119)
    assert look[304, 79 + 17 : 79 + 27].all() and look[304].sum() == 10
    assert look.sum() == sum(int(run) for run in CVAT_BLOB.split(",")[1::2])
    # Painted by a round brush: no row has a gap.
    assert (np.diff(look.astype(int), axis=1) == 1).sum(axis=1).max() == 1
    assert not avoid.any()
    assert (drawn.mode, drawn.author) == ("replace", "")


def test_cvat_draws_higher_layers_over_lower_ones_and_turns_boxes_around_their_middle(tmp_path):
    """A box of 4 x 2 turned by 90 degrees is one of 2 x 4; z_order decides, not the order in the file."""
    path = tmp_path / "annotations.xml"
    path.write_text(
        '<annotations><image id="5" name="x/eye.png" width="9" height="9">'
        '<box label="Not here" occluded="0" xtl="2" ytl="3" xbr="6" ybr="5" rotation="90" z_order="2"/>'
        '<polygon label="MA" points="0,0;9,0;9,9;0,9" z_order="-1"/>'
        '<box label="optic disc" xtl="0" ytl="0" xbr="9" ybr="9" z_order="7"/>'
        '<tag label="blurred"/></image></annotations>'
    )
    (drawn,) = FORMATS["cvat"].read(path, eye(9, 9))
    assert [shape.mark for shape in drawn.shapes] == ["look", "avoid"]
    _, avoid = rasterise(drawn.shapes, 9, 9)
    expected = np.zeros((9, 9), bool)
    expected[2:6, 3:5] = True
    np.testing.assert_array_equal(avoid, expected)


LABEL_STUDIO = [
    {
        "id": 3,
        "file_upload": "1a2b3c4d-eye.jpg",
        "data": {"image": "/data/upload/7/1a2b3c4d-eye.jpg"},
        "meta": {},
        "annotations": [
            {
                "id": 11,
                "completed_by": 10,
                "created_at": "2024-05-31T14:00:00.728353+02:00",
                "was_cancelled": False,
                "result": [
                    {
                        "id": "a",
                        "type": "rectanglelabels",
                        "from_name": "tag",
                        "original_width": 40,
                        "original_height": 20,
                        "image_rotation": 0,
                        "value": {
                            "x": 25,
                            "y": 50,
                            "width": 10,
                            "height": 10,
                            "rotation": 90,
                            "rectanglelabels": ["Hard Exudates"],
                        },
                    },
                    {"id": "q", "type": "choices", "from_name": "quality", "value": {"choices": ["good"]}},
                ],
            },
            {"id": 12, "completed_by": {"id": 4, "email": "grace@example.org"}, "was_cancelled": True, "result": [{}]},
            {"id": 13, "completed_by": {"id": 4}, "was_cancelled": False, "result": []},
        ],
        "predictions": [{"result": [{"type": "nonsense"}]}],
    },
]


def test_an_export_of_label_studio_is_read(tmp_path):
    """A rectangle turned around its corner in pixels, not percent; author and time; nothing else was drawn."""
    path = tmp_path / "export.json"
    path.write_text(json.dumps(LABEL_STUDIO))
    (drawn,) = FORMATS["label-studio"].read(path, eye(40, 20))
    # From (10, 10) the side of 4 pixels goes down and the side of 2 to the left.
    assert drawn.shapes == (Shape("polygon", "look", ((10, 10), (10, 14), (8, 14), (8, 10))),)
    assert (drawn.author, drawn.time, drawn.mode) == ("user 10", "2024-05-31T12:00:00Z", "replace")


@pytest.mark.parametrize(
    "image",
    [
        "eye.jpg",
        "training/eye",
        "https://example.org/data/eye%2Ejpg?token=a%2Fb",
        "/data/local-files/?d=photos/training/eye.jpg",
        "s3://bucket/photos/training/eye.png",
        "/data/upload/7/1a2b3c4d-eye.jpg",
        "C:\\photos\\eye.jpg",
        "../../../etc/eye.jpg",
    ],
)
def test_label_studio_finds_the_photograph_by_any_of_its_addresses(tmp_path, image):
    """By name alone: an address is never opened."""
    task = json.loads(json.dumps(LABEL_STUDIO[0]))
    task["data"], task["file_upload"] = {"image": image}, None
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    assert [drawn.sample for drawn in FORMATS["label-studio"].read(path, eye(40, 20))] == ["training/eye"]


def test_a_brush_with_separate_labels_is_one_stroke(tmp_path):
    """With <Labels> and <Brush> Label Studio writes a region twice, once with and once without its label."""
    frame = {"id": "r", "original_width": 5, "original_height": 3}
    value = {"format": "rle", "rle": encode_brush(SMALL)}
    results = [
        {**frame, "type": "brush", "value": value},
        {**frame, "type": "labels", "value": {**value, "labels": ["NOT_HERE"]}},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"data": {"image": "eye"}, "annotations": [{"result": results}]}]))
    (drawn,) = FORMATS["label-studio"].read(path, eye(5, 3))
    assert drawn.shapes == (Shape("mask", "avoid", runs=SMALL),)


def test_a_coco_file_of_another_tool_is_read(tmp_path):
    """Polygons in parts, both kinds of run lengths, bare boxes; images without annotations are not corrected."""
    path = tmp_path / "instances.json"
    annotations = [
        {"category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2], [3, 0, 5, 0, 5, 3]], "bbox": [0, 0, 5, 3]},
        {"category_id": 2, "segmentation": {"size": [3, 5], "counts": "4120O10O00"}, "iscrowd": 1},
        {"category_id": 9, "segmentation": {"size": [3, 5], "counts": [4, 1, 2, 1, 1, 2, 1, 1, 1, 1]}},
        {"category_id": 2, "segmentation": [], "bbox": [1, 0.5, 2, 2]},
        {"category_id": 2, "segmentation": [[1, 1, 3, 1, 3, 2, 1, 2]], "bbox": [1, 1, 2, 1]},
        {"category_id": 4, "bbox": [0, 0, 5, 3]},
    ]
    document = {
        "info": None,
        "images": [
            {"id": 1, "file_name": "eye.jpg", "width": 5, "height": 3},
            {"id": 2, "file_name": "other.jpg", "width": 2, "height": 2},
        ],
        "categories": [{"id": 2, "name": "EX"}, {"id": 9, "name": "avoid"}, {"id": 4, "name": "Optic Disc"}],
        "annotations": [{"id": key, "image_id": 1, **one} for key, one in enumerate(annotations)],
    }
    path.write_text(json.dumps(document))
    album = Album([Photograph("eye", (), 5, 3), Photograph("other", (), 2, 2)])
    (drawn,) = FORMATS["coco"].read(path, album)
    assert drawn == Drawn(
        "eye",
        (
            Shape("polygon", "look", ((0, 0), (2, 0), (2, 2))),
            Shape("polygon", "look", ((3, 0), (5, 0), (5, 3))),
            Shape("mask", "look", runs=SMALL),
            Shape("mask", "avoid", runs=SMALL),
            Shape("box", "look", ((1, 0.5), (3, 2.5))),
            Shape("box", "look", ((1, 1), (3, 2))),
        ),
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "disc\nhard exudates\nNot here\n"),
        ("obj.names", "disc\nhard exudates\nNot here\n"),
        ("data.yaml", "path: x\nnames: [disc, 'hard exudates', Not here]  # in order\nnc: 3\n"),
        ("data.yaml", "names:\n- disc\n- hard exudates\n- Not here\nnc: 3\n"),
        ("data.yml", "nc: 3\nnames:\n  0: disc\n  1: hard exudates\n  2: Not here\n"),
    ],
)
def test_yolo_boxes_of_another_tool_are_read(tmp_path, name, text):
    """Names from any of its files; an empty text, as tools write for every photograph, is no correction."""
    (tmp_path / name).write_text(text)
    (tmp_path / "eye.txt").write_text("1 0.5 0.5 1.005 0.5\n\n2 .25 .25 .5 .5\n0 0.5 0.5 1 1\n")
    (tmp_path / "other.txt").write_text("")
    (tmp_path / "train.txt").write_text("data/eye.jpg\n")
    album = Album([Photograph("eye", (), 8, 4), Photograph("other", (), 2, 2)])
    (drawn,) = FORMATS["yolo"].read(tmp_path, album)
    assert drawn.shapes == (Shape("box", "look", ((0, 1), (8, 3))), Shape("box", "avoid", ((0, 0), (4, 2))))


def test_png_masks_of_another_tool_are_read(tmp_path):
    """One bit, or 0 and 1; a picture without anything is no correction."""
    mask = np.zeros((3, 5), bool)
    mask[1, 1:4] = True
    Image.fromarray(mask).save(tmp_path / "a.png")
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "b.PNG", format="PNG")
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "c.png")
    album = Album([Photograph(name, (), 5, 3) for name in "abc"])
    shapes = (Shape("mask", "look", runs=mask_to_runs(mask)),)
    assert FORMATS["png"].read(tmp_path, album) == [Drawn("a", shapes), Drawn("b", shapes)]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("avoid", "avoid"),
        ("AVOID", "avoid"),
        ("not here", "avoid"),
        ("Not_Here", "avoid"),
        ("look", "look"),
        ("Hard Exudates", "look"),
        ("nothing here", "look"),
        ("unavoidable", "look"),
        ("optic_disc", None),
        ("Disk", None),
        ("Fovea", None),
        ("macula", None),
        ("discoloured lesion", "look"),
    ],
)
def test_labels_say_look_here_or_not_here(label, expected):
    """The words are known by hand; a landmark says neither."""
    assert meaning(label) == expected
