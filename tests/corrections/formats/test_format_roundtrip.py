"""What is written in a foreign format comes back."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.errors import CorrectionError
from regaze.records import Correction, Shape

WIDTH, HEIGHT = 23, 17
ALBUM = Album(
    [
        Photograph("training/eye_1", ("a. Training Set/eye_1.jpg",), WIDTH, HEIGHT),
        Photograph("test/eye_1", ("b. Testing Set/eye_1.jpg",), 9, 12),
        Photograph("eye.2", (), WIDTH, HEIGHT),
    ]
)
# The formats that hold mode, author, time and remark.
NOTING = [name for name in FORMATS if name != "yolo"]
TIME = "2024-05-31T12:00:00Z"

_PATIENT = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
_COUNTER = itertools.count()

# Quarters of a pixel, some outside the photograph: borders in the middle of pixels are where rounding would show.
_COORDINATE = st.integers(-12, 4 * 26).map(lambda quarter: quarter / 4)
_POINT = st.tuples(_COORDINATE, _COORDINATE)
_MASK = arrays(np.bool_, (HEIGHT, WIDTH), elements=st.booleans()).map(mask_to_runs)
_MARK = st.sampled_from(["look", "avoid"])
_ANY_MARK = st.sampled_from(["look", "avoid", "erase"])
_BOX = st.builds(lambda mark, points: Shape("box", mark, tuple(points)), _MARK, st.tuples(_POINT, _POINT))
_SHAPE = st.one_of(
    _BOX,
    st.builds(lambda mark, p: Shape("polygon", mark, tuple(p)), _ANY_MARK, st.lists(_POINT, min_size=3, max_size=6)),
    st.builds(
        lambda mark, p, radius: Shape("stroke", mark, tuple(p), radius),
        _ANY_MARK,
        st.lists(_POINT, min_size=1, max_size=4),
        st.sampled_from([0.3, 1.0, 2.75]),
    ),
    st.builds(lambda mark, runs: Shape("mask", mark, runs=runs), _ANY_MARK, _MASK),
)
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t<&>\"'"), max_size=12)


def back(name, items, folder, album=ALBUM):
    """Write and read."""
    path = folder / f"export{next(_COUNTER)}"
    FORMATS[name].write(items, album, path)
    return FORMATS[name].read(path, album)


def masks(drawn):
    """Look and avoid."""
    return rasterise(drawn.shapes, HEIGHT, WIDTH)


@pytest.mark.parametrize("name", NOTING)
@_PATIENT
@given(shapes=st.lists(_SHAPE, max_size=5), mode=st.sampled_from(["replace", "edit"]), author=_TEXT, remark=_TEXT)
def test_shapes_come_back_pixel_for_pixel_with_who_drew_them_and_why(name, tmp_path, shapes, mode, author, remark):
    """Whatever was drawn, in and beyond the photograph, marks the same pixels; mode, author, time, remark stay."""
    drawn = Drawn("training/eye_1", tuple(shapes), author, remark, mode, TIME)
    (result,) = back(name, [drawn], tmp_path)
    for mask, expected in zip(masks(result), masks(drawn), strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert (result.sample, result.mode, result.author, result.remark, result.time) == (
        "training/eye_1",
        mode,
        author,
        remark,
        TIME,
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(_PATIENT, max_examples=20)
@given(orientation=st.integers(1, 8), shapes=st.lists(_SHAPE, min_size=1, max_size=3), boxes=st.lists(_BOX, max_size=3))
def test_marks_on_a_photograph_that_exif_turns_come_back(name, tmp_path, orientation, shapes, boxes):
    """All eight orientations, and all formats: written upright, read back, the same stored pixels are marked."""
    album = Album([Photograph("eye", ("eye.jpg",), WIDTH, HEIGHT, orientation)])
    if name == "yolo":  # boxes within the photograph alone stay what they are
        boxes = [_inside(box) for box in boxes]
        shapes = [box for box in boxes if box.points[0] < box.points[1] and box.points[0][1] < box.points[1][1]]
    drawn = Drawn("eye", tuple(shapes))
    (result,) = back(name, [drawn], tmp_path, album)
    for mask, expected in zip(masks(result), masks(drawn), strict=True):
        np.testing.assert_array_equal(mask, expected)


def _inside(box):
    """A box cut to the photograph, its upper left corner first."""
    (x0, x1), (y0, y1) = (sorted(values) for values in zip(*box.points, strict=True))
    clipped = [(min(max(x, 0), WIDTH), min(max(y, 0), HEIGHT)) for x, y in ((x0, y0), (x1, y1))]
    return Shape("box", box.mark, tuple(clipped))


@_PATIENT
@given(boxes=st.lists(st.tuples(_MARK, *[st.integers(0, 4 * side) for side in (WIDTH, WIDTH, HEIGHT, HEIGHT)])))
def test_boxes_come_back_from_yolo_in_their_order(tmp_path, boxes):
    """YOLO holds boxes within the photograph as they are, one over the other."""
    shapes = tuple(
        Shape("box", mark, ((min(x) / 4, min(y) / 4), (max(x) / 4, max(y) / 4)))
        for mark, x, y in ((mark, (x0, x1), (y0, y1)) for mark, x0, x1, y0, y1 in boxes)
        if x[0] != x[1] and y[0] != y[1]
    )
    drawn = Drawn("training/eye_1", shapes)
    (result,) = back("yolo", [drawn], tmp_path)
    assert [shape.mark for shape in result.shapes] == [shape.mark for shape in shapes]
    for mask, expected in zip(masks(result), masks(drawn), strict=True):
        np.testing.assert_array_equal(mask, expected)


@_PATIENT
@given(shapes=st.lists(_SHAPE, max_size=4))
def test_yolo_bounds_each_area_of_what_it_cannot_hold(tmp_path, shapes):
    """Nothing that said "look here" is lost, and what was drawn nowhere in the photograph is no box."""
    drawn = Drawn("training/eye_1", tuple(shapes))
    (result,) = back("yolo", [drawn], tmp_path)
    look, _ = masks(drawn)
    if any(shape.kind != "box" for shape in shapes):
        assert masks(result)[0][look].all()
    assert all(shape.kind == "box" for shape in result.shapes)
    assert not (result.shapes and not any(mask.any() for mask in masks(result)))


def test_yolo_draws_one_box_around_each_of_two_areas(tmp_path):
    """Known by hand: a dot of one pixel, and two pixels that touch at a corner."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2, 3] = mask[10, 11] = mask[11, 12] = True
    (result,) = back("yolo", [Drawn("eye.2", (Shape("mask", "look", runs=mask_to_runs(mask)),))], tmp_path)
    assert [shape.points for shape in result.shapes] == [((3, 2), (4, 3)), ((11, 10), (13, 12))]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_here_deserves_attention_is_not_the_same_as_not_corrected(name, tmp_path):
    """A photograph with an empty correction comes back with one; photographs without one do not come back."""
    result = back(name, [Drawn("training/eye_1", ())], tmp_path)
    assert [(drawn.sample, drawn.shapes, drawn.mode) for drawn in result] == [("training/eye_1", (), "replace")]


@pytest.mark.parametrize("name", FORMATS)
def test_several_photographs_with_like_names_keep_what_is_theirs(name, tmp_path):
    """Photographs whose files have one stem, and one whose id has a dot, are not mixed up."""
    box = Shape("box", "look", ((1, 2), (4, 6)))
    items = [Drawn("training/eye_1", (box,)), Drawn("test/eye_1", ()), Drawn("eye.2", (box, box))]
    result = {drawn.sample: drawn for drawn in back(name, items, tmp_path)}
    assert set(result) == {"training/eye_1", "test/eye_1", "eye.2"}
    assert not result["test/eye_1"].shapes
    if name != "png":
        assert result["training/eye_1"].shapes == (box,)
        assert len(result["eye.2"].shapes) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_stored_corrections_are_written_with_both_their_masks(name, tmp_path):
    """A correction that came as masks, without shapes, is written as those masks."""
    look, avoid = np.zeros((2, HEIGHT, WIDTH), bool)
    look[3:5, 4:8] = avoid[9:12, 20:] = True
    correction = Correction(7, "eye.2", "phase1", "expert", "edit", look, avoid, "ada", TIME, "why")
    (result,) = back(name, [correction], tmp_path)
    for mask, expected in zip(masks(result), (look, avoid), strict=True):
        np.testing.assert_array_equal(mask, expected)
    if name in NOTING:
        assert (result.mode, result.author, result.time, result.remark) == ("edit", "ada", TIME, "why")


@pytest.mark.parametrize("name", ["coco", "label-studio", "cvat"])
def test_polygons_and_boxes_stay_polygons_and_boxes_where_a_tool_can_edit_them(name, tmp_path):
    """Corners come back as corners, in order; a stroke becomes a mask."""
    shapes = (
        Shape("box", "look", ((1.25, 2.5), (4, 6))),
        Shape("polygon", "avoid", ((0, 0), (10.1, 0.2), (5, 16.9))),
        Shape("stroke", "look", ((3, 3), (9, 3)), 1.5),
    )
    (result,) = back(name, [Drawn("eye.2", shapes)], tmp_path)
    assert result.shapes[:2] == shapes[:2]
    assert result.shapes[2].kind == "mask"


@pytest.mark.parametrize("name", ["coco", "label-studio", "cvat"])
def test_what_was_drawn_before_something_was_erased_becomes_masks(name, tmp_path):
    """Other tools cannot erase: what is left is a mask of each mark, and what was drawn afterwards stays what it is."""
    before = (
        Shape("box", "look", ((1, 2), (9, 6))),
        Shape("box", "avoid", ((9, 2), (12, 6))),
        Shape("stroke", "erase", ((1, 4), (12, 4)), 0.6),
    )
    after = (Shape("polygon", "look", ((14, 10), (20, 10), (17, 15))), Shape("box", "avoid", ((2, 8), (5, 11))))
    drawn = Drawn("eye.2", before + after)
    (result,) = back(name, [drawn], tmp_path)
    assert [(shape.kind, shape.mark) for shape in result.shapes[:2]] == [("mask", "look"), ("mask", "avoid")]
    assert result.shapes[2:] == after
    for mask, expected in zip(masks(result), masks(drawn), strict=True):
        assert mask.any()
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("name", NOTING)
@pytest.mark.parametrize("text", ["a\r\nb\rc\nd\te", ' <&> "\'" ]]> &amp; ', "\u00e9\u4e2d\U0001f441", "\u2028"])
def test_awkward_texts_come_back_letter_by_letter(name, text, tmp_path):
    """Line ends, quotes and marks mean something to JSON and XML, and are kept."""
    (result,) = back(name, [Drawn("eye.2", (), author=text, remark=text)], tmp_path)
    assert (result.author, result.remark) == (text, text)


@pytest.mark.parametrize("name", ["coco", "label-studio", "cvat"])
def test_quarters_of_pixels_come_back_exactly_at_a_cameras_size(name, tmp_path):
    """Percent and other detours do not move a border off the middle of a pixel."""
    album = Album([Photograph("eye", (), 4288, 2848)])
    points = tuple((float(x), y) for x, y in zip(np.arange(0, 4288, 0.75), np.arange(0, 2848, 0.25), strict=False))
    (result,) = back(name, [Drawn("eye", (Shape("polygon", "look", points),))], tmp_path, album)
    assert result.shapes[0].points == points


def test_label_studio_holds_the_word_of_several_experts(tmp_path):
    """Two corrections of one photograph are two annotations of one task."""
    items = [
        Drawn("eye.2", (), author="ada"),
        Drawn("eye.2", (Shape("box", "look", ((1, 1), (2, 2))),), author="grace"),
    ]
    assert back("label-studio", items, tmp_path) == items


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.several])
def test_a_second_correction_of_a_photograph_is_refused_where_there_is_no_room(name, tmp_path):
    """Rather than that one of them is lost; nothing is left behind."""
    with pytest.raises(CorrectionError, match=r"'eye\.2' has several corrections.*one author at a time"):
        FORMATS[name].write([Drawn("eye.2", ()), Drawn("eye.2", ())], ALBUM, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_export_leaves_nothing_and_a_finished_one_is_never_overwritten(name, tmp_path):
    """No half file, and no earlier result destroyed."""
    path = tmp_path / "out"
    with pytest.raises(CorrectionError, match="no photograph 'nobody'"):
        FORMATS[name].write([Drawn("eye.2", ()), Drawn("nobody", ())], ALBUM, path)
    assert list(tmp_path.iterdir()) == []
    FORMATS[name].write([Drawn("eye.2", ())], ALBUM, path)
    with pytest.raises(CorrectionError, match="is there already"):
        FORMATS[name].write([], ALBUM, path)
    assert [drawn.sample for drawn in FORMATS[name].read(path, ALBUM)] == ["eye.2"]


@pytest.mark.parametrize("name", FORMATS)
def test_two_formats_are_folders_and_the_others_files(name, tmp_path):
    """As the help of `export --to` says."""
    FORMATS[name].write([Drawn("eye.2", ())], ALBUM, tmp_path / "out")
    assert (tmp_path / "out").is_dir() == (name in ("png", "yolo"))


@pytest.mark.parametrize("name", ["png", "yolo"])
@pytest.mark.parametrize("sample", ["../out", "/etc/eye", "a/../b", ".hidden", "a\\b", "a\0b"])
def test_an_id_that_leaves_the_folder_is_not_written(name, sample, tmp_path):
    """An export stays in its folder."""
    with pytest.raises(CorrectionError, match="cannot name a file"):
        FORMATS[name].write([Drawn(sample, ())], Album([Photograph(sample, (), 3, 3)]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_becomes_a_question_mark(tmp_path):
    """An author's name from a damaged system does not stop an export."""
    for name in NOTING:
        (result,) = back(name, [Drawn("eye.2", (), author="a\ud800")], tmp_path)
        assert result.author == "a?"


def test_png_pictures_can_be_read_by_people(tmp_path):
    """White is look, grey is avoid, black is nothing; the notes lie beside."""
    shapes = (Shape("box", "look", ((0, 0), (2, 1))), Shape("box", "avoid", ((2, 0), (3, 1))))
    FORMATS["png"].write([Drawn("training/eye_1", shapes, "ada")], ALBUM, tmp_path / "out")
    with Image.open(tmp_path / "out" / "training" / "eye_1.png") as image:
        assert image.mode == "L"
        assert np.array(image)[0, :4].tolist() == [255, 255, 128, 0]
    (entry,) = json.loads((tmp_path / "out" / "corrections.json").read_text())["corrections"]
    assert entry["author"] == "ada"
    assert (entry["width"], entry["height"]) == (WIDTH, HEIGHT)
