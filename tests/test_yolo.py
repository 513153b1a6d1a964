"""YOLO folders: read once, the same for a data set's boxes and for corrections."""

from pathlib import Path

import pytest

from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.data.boxes import with_boxes
from regaze.errors import CorrectionError, DataError
from regaze.records import Sample
from regaze.yolo import read_marks, read_names


def boxes_of_a_data_set(folder: Path) -> list[tuple[float, ...]]:
    """Edges in eighths of a photograph `eye`, as `--boxes` reads them."""
    (sample,), _ = with_boxes([Sample("eye", Path("eye.jpg"), 0)], folder)
    return [(8 * box.x0, 8 * box.y0, 8 * box.x1, 8 * box.y1) for box in sample.boxes]


def corrections(folder: Path) -> list[tuple[float, ...]]:
    """The same as `import` reads them."""
    (drawn,) = FORMATS["yolo"].read(folder, Album([Photograph("eye", (), 8, 8)]))
    return [(*shape.points[0], *shape.points[1]) for shape in drawn.shapes]


USERS = {boxes_of_a_data_set: DataError, corrections: CorrectionError}
BOTH = pytest.mark.parametrize("user", USERS)
NAMES = {0: "haemorrhage", 1: "optic_disc"}


@BOTH
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "haemorrhage\noptic_disc\n\n"),
        ("classes.txt", "\ufeffhaemorrhage\r\n optic_disc\r\n"),
        ("obj.names", "haemorrhage\noptic_disc\n"),
        ("data.yaml", "nc: 2\nnames: ['haemorrhage', \"optic_disc\"]  # two\n"),
        ("data.yaml", "names: [haemorrhage,\n  optic_disc]\nnc: 2\n"),
        ("data.yaml", "names:\n  - haemorrhage\n  - optic_disc\nnc: 2\n"),
        ("data.yaml", "names: # classes\n- haemorrhage\n\n- 'optic_disc'  # no lesion\n"),
        ("data.yml", "path: x\nnames:\n  0: haemorrhage  # red\n\n  1: optic_disc\n\ntrain: y\n"),
        ("data.yml", "names: # classes\n    # in order\n    1: optic_disc\n    0: haemorrhage\n"),
        ("data.yaml", "names: {0: haemorrhage, 1: optic_disc}\n"),
        ("data.yaml", "names: {'0': haemorrhage,\n  1: optic_disc}\n"),
    ],
)
def test_class_names_in_every_usual_spelling(tmp_path, user, file, text):
    """Comments, empty lines, lists over two lines and quotes do not shift the numbers: the disc stays the disc."""
    (tmp_path / file).write_text(text)
    assert read_names(tmp_path) == NAMES
    (tmp_path / "eye.txt").write_text("1 .5 .5 1 1\n0 .25 .25 .5 .5\n")
    assert user(tmp_path) == [(0, 0, 4, 4)]


def test_names_are_texts(tmp_path):
    """A class called `no` or `1` is one, though YAML has other plans for the words."""
    (tmp_path / "data.yaml").write_text("names: {3: no, 7: 1, 5: 2024-01-01}")
    assert read_names(tmp_path) == {3: "no", 7: "1", 5: "2024-01-01"}


@BOTH
@pytest.mark.parametrize(
    ("file", "text", "line", "message"),
    [
        ("classes.txt", "\n", 1, "no name, expected one per line"),
        ("classes.txt", "haemorrhage\n\nEX\n", 2, "no name, expected one per line, class 0 first, without empty lines"),
        ("classes.txt", b"a\n\xff", 2, "the byte 0xff, expected text in UTF-8"),
        ("data.yaml", "nc: 3\n", 1, "no list of names, expected `names:` with a list"),
        ("data.yaml", "", 1, "no list of names"),
        ("data.yaml", "[1]", 1, "no list of names"),
        ("data.yaml", "nc: 1\nnames: haemorrhage\n", 2, "no list of names"),
        ("data.yaml", "nc: 1\nnames:\n", 2, "no list of names"),
        ("data.yaml", "nc: 1\nnames: []\n", 2, "no names"),
        ("data.yaml", "names:\n- a\n- [b]\n", 3, "no name for class 1, expected a text"),
        ("data.yaml", "names:\n- a\n-\n", 3, "no name for class 1"),
        ("data.yaml", "names:\n  0: a\n  first: b\n", 3, "the class 'first', expected a number"),
        ("data.yaml", "names:\n  0: a\n  00: b\n", 3, "the class '00', expected a number, each once"),
        ("data.yaml", "names:\n  -1: a\n", 2, "the class '-1'"),
        ("data.yaml", "names: [a,\n b\nnc: 2\n", 3, "no YAML .*, expected a YAML file"),
        ("data.yaml", "nc: 2\nnames: *other\n", 2, "no YAML .*undefined alias"),
        ("data.yaml", "nc: 2\n\x00", 2, "no YAML .special characters"),
        ("data.yaml", "names: " + "[" * 5000, 1, "no YAML .too deep"),
    ],
)
def test_a_damaged_file_of_names_is_refused_with_its_line(tmp_path, user, file, text, line, message):
    """One line, no guess."""
    (tmp_path / "eye.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(USERS[user], match=rf"^[^\n]*{file}, line {line}: {message}[^\n]*$"):
        user(tmp_path)


@BOTH
def test_a_folder_without_names_is_refused(tmp_path, user):
    """What the numbers mean is not guessed."""
    (tmp_path / "eye.txt").write_text("0 .5 .5 .5 .5\n")
    assert read_names(tmp_path) is None
    with pytest.raises(USERS[user], match=r"classes\.txt"):
        user(tmp_path)


@BOTH
@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("0 0.1 0.5 0.21 0.5", (0, 2, 1.64, 6)),  # an exporter's rounding
        ("0 0.1 0.5 0.25 0.5", (0, 2, 1.8, 6)),  # drawn beyond the edge
        ("0 .25 .25 -.5 .5", (0, 0, 4, 4)),  # drawn backwards
        ("0 .25 .25 .5 .5 0.87", (0, 0, 4, 4)),  # a prediction with its confidence
        ("0 .25 .25 .5 0\n0 1.01 .5 .01 .1\n0 .25 .25 .5 .5", (0, 0, 4, 4)),  # two without an inside
    ],
)
def test_boxes_at_the_edge_backwards_and_of_predictions(tmp_path, user, text, edges):
    """They are clipped, sorted, and taken without their confidence; what has no inside is left out."""
    (tmp_path / "classes.txt").write_text("EX")
    (tmp_path / "eye.txt").write_text(text)
    assert user(tmp_path) == [pytest.approx(edges)]


@pytest.mark.parametrize("tail", ["", " .9"])
def test_polygons_and_turned_boxes(tmp_path, tail):
    """Polygons stay polygons in corrections, four corners may leave the photograph; `--boxes` takes the box around."""
    (tmp_path / "classes.txt").write_text("EX")
    (tmp_path / "eye.txt").write_text(f"0 .25 .25 .5 .25 .25 .5{tail}\n0 .5 -.25 .75 0 .5 .25 .25 0{tail}\n")
    (drawn,) = FORMATS["yolo"].read(tmp_path, Album([Photograph("eye", (), 8, 8)]))
    assert [shape.points for shape in drawn.shapes] == [((2, 2), (4, 2), (2, 4)), ((4, -2), (6, 0), (4, 2), (2, 0))]
    assert boxes_of_a_data_set(tmp_path) == [(2, 2, 4, 4), (2, 0, 6, 2)]


@BOTH
def test_keypoints_are_no_polygons(tmp_path, user):
    """A pose data set says so in its data.yaml; its lines would pass for polygons."""
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 2]\nnames: [eye]\n")
    (tmp_path / "eye.txt").write_text("0 .5 .5 .5 .5 .1 .1 .2 .2")
    with pytest.raises(USERS[user], match=r"data\.yaml, line 1: keypoints"):
        user(tmp_path)


def test_marks_without_an_inside_alone_do_not_say_that_there_is_nothing(tmp_path):
    """The photograph stays without knowledge."""
    (tmp_path / "classes.txt").write_text("EX")
    (tmp_path / "eye.txt").write_text("0 .5 .5 0 .5")
    (sample,), notes = with_boxes([Sample("eye", Path("eye.jpg"), 0)], tmp_path)
    assert (sample.origin, sample.boxes) == ("none", ())
    assert notes[-1] == "Boxes: 1 without an inside, left out."
    (tmp_path / "reviewed.list").write_text("eye")
    assert FORMATS["yolo"].read(tmp_path, Album([Photograph("eye", (), 8, 8)])) == []


@pytest.mark.parametrize("name", ["1a2b3c4d-eye", "eye_jpg.rf.0123456789abcdef0123456789abcdef", "labels/train/eye"])
def test_names_that_tools_give(tmp_path, name):
    """Label Studio's prefix, Roboflow's hash, ultralytics' folders."""
    (tmp_path / "classes.txt").write_text("EX")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / f"{name}.txt").write_text("0 .25 .25 .5 .5")
    assert [user(tmp_path) for user in USERS] == [[(0, 0, 4, 4)]] * 2


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 .5 .5 .1", "'1 .5 .5 .1', expected class, centre x, centre y, width, height"),
        ("1 .5 .5 .1 .1 9", "expected class, centre x.* a last number alone is a confidence, 0..1"),
        ("1 .5 .5 .1 .1 nan", "a last number alone is a confidence"),
        ("x .5 .5 .1 .1", "expected class, centre x"),
        ("-1 .5 .5 .1 .1", "expected class, centre x"),
        ("1.5 .5 .5 .1 .1", "expected class, centre x"),
        ("1 .5 .5 .1 wide", "expected class, centre x"),
        ("1 .5 .5 .1 1_0", "expected class, centre x"),
        ("\x00", "expected class, centre x"),
        ("1\u2028.5 .5 .5 .5 5", "expected class, centre x"),
        ("1 .5 .5 nan .1", "the box 1 .5 .5 nan .1, expected shares of width and height, 0..1, not pixels"),
        ("1 inf .5 .1 .1", "expected shares"),
        ("1 .5 .5 .1 1e999", "expected shares"),
        ("1 240 120 30 30", "expected shares"),
        ("1 .95 .5 .2 .1", "expected shares"),
        ("1 .1 .1 .5 .1 1.2 .5", "expected shares"),
        ("1 1.1 .1 1.5 .1 1.5 .5 1.1 .5", "expected shares"),
        ("1 10 10 50 10 50 50 10 50", "expected shares"),
        ("7 .5 .5 .1 .1", r"class 7, expected one of \[0, 1\], those with a name"),
    ],
)
def test_malformed_lines_name_file_and_line(tmp_path, user, text, message):
    """Whatever is wrong with a line, the message names the file and the line; empty lines count."""
    (tmp_path / "classes.txt").write_text("EX\nMA\n")
    (tmp_path / "eye.txt").write_text(f"0 .5 .5 .1 .1\n\n{text}\n")
    with pytest.raises(USERS[user], match=rf"^[^\n]*eye\.txt, line 3: .*{message}[^\n]*$"):
        user(tmp_path)


def test_lists_of_pictures_and_notes_are_no_boxes(tmp_path):
    """What tools put beside the texts is passed over."""
    for name in ("train.txt", "README.txt", "a/LICENSE.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("data/eye.jpg\n")
    (tmp_path / "classes.txt").write_text("EX")
    (tmp_path / "eye.txt").write_text("0 .25 .25 .5 .5")
    assert [user(tmp_path) for user in USERS] == [[(0, 0, 4, 4)]] * 2


def test_a_text_without_end_is_not_read(tmp_path, monkeypatch):
    """By its size alone."""
    monkeypatch.setattr("regaze.yolo._MAX_BYTES", 10)
    (tmp_path / "a.txt").write_text("0 .5 .5 .5 .5")
    with pytest.raises(DataError, match=r"a\.txt has 13 bytes, expected at most 10"):
        read_marks(tmp_path / "a.txt", {0})


@BOTH
@pytest.mark.parametrize("more", [" .5 .5", " .9 1", " .9 17", " .5 .5 1", " .5 .5 .6 .6 .7 .7"])
def test_boxes_with_more_numbers_behind_are_no_polygons(tmp_path, user, more):
    """Keypoints without their `data.yaml`, and tracks: where every line is as long, the folder is refused."""
    (tmp_path / "classes.txt").write_text("EX")
    for name in ("eye", "b"):
        (tmp_path / f"{name}.txt").write_text(f"0 .5 .5 .5 .5{more}\n0 .4 .4 .2 .2{more}\n")
    with pytest.raises(USERS[user], match=r"^[^\n]*: every line holds \d+ numbers behind the class \([^\n]*$"):
        user(tmp_path)


@BOTH
def test_polygons_among_which_one_differs_are_polygons(tmp_path, user):
    """Triangles are polygons where another mark of the folder is longer."""
    (tmp_path / "classes.txt").write_text("EX")
    longer = "0 .25 .25 .75 .25 .75 .5 .25 .75 .2 .5\n"
    (tmp_path / "eye.txt").write_text("0 .25 .25 .75 .25 .25 .75\n" * 3 + longer)
    assert len(user(tmp_path)) == 4
