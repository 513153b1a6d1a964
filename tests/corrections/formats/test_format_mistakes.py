"""A foreign file with mistakes is refused as a whole, with the line that is wrong."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.corrections.formats import source
from regaze.corrections.formats.drawn import Drawn
from regaze.corrections.formats.photographs import Album, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.shapes import mask_to_runs
from regaze.errors import CorrectionError
from regaze.records import Shape

ALBUM = Album([Photograph("eye", ("eye.jpg",), 5, 3), Photograph("fundus", (), 4, 4)])


def refused(name, path, at, message):
    """Read, and check that the one line of the error names file, line or path, and what is wrong."""
    with pytest.raises(CorrectionError) as error:
        FORMATS[name].read(path, ALBUM)
    text = str(error.value)
    where = f"{path}, {at if isinstance(at, str) else f'line {at}'}: " if at else str(path)
    assert text.startswith(where), text
    assert re.search(message, text), text
    assert "expected" in text and "\n" not in text and len(text) < 400 + len(str(path))


def replaced(text, old, new):
    """Exactly one change."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


COCO = """{
 "images": [
  {"id": 1, "file_name": "eye.jpg", "width": 5, "height": 3},
  {"id": 2, "file_name": "fundus", "width": 4, "height": 4, "reviewed": true}
 ],
 "categories": [
  {"id": 1, "name": "look"}
 ],
 "annotations": [
  {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 1.5]},
  {
   "id": 2, "image_id": 1, "category_id": 1,
   "segmentation": {
    "size": [3, 5], "counts": "4120O10O00"
   }
  },
  {"id": 3, "image_id": 1, "category_id": 1,
   "segmentation": [[0, 0, 5, 0, 5, 3]]},
  {"id": 4, "image_id": 1, "category_id": 1, "segmentation": {"size": [3, 5], "counts": [7, 8]}}
 ]
}
"""

DRAWN = "$.annotations"
COCO_MISTAKES = [
    (None, "", 0, "0 bytes"),
    (None, "{", "line 1, column 2", "the file ends"),
    (None, "[1]", "$", r"\[1\], expected `object`"),
    (None, '{"categories": [], "images": 3}', "$.images", "3, expected `array`"),
    (None, '{"categories": [],\n "images": [7]}', "$.images[0]", "7, expected `object`"),
    (None, "{}", "$", "no `images`, expected one"),
    (None, "PK\x03\x04", 0, "a zip archive, expected the file in it: unpack it"),
    (None, "\n" + "[" * 100_000, 0, "lists and objects too deep"),
    (None, "[1" + ",[1" * 100_000, 0, "lists and objects too deep"),
    (None, '{"images": ' + "[" * 700 + "]" * 700 + "}", "$.images[0]", "expected `object`"),
    (
        None,
        '{"categories": [], "images": [{"id": ' + "[" * 700 + "]" * 700 + "}]}",
        "$.images[0].id",
        r"\[\[\[.*expected",
    ),
    (None, '{"a":\n{"b": [NaN]}}', 0, "the number NaN, expected finite"),
    (None, '{"a":\n{"b": -Infinity}}', 0, "the number -Infinity, expected finite"),
    (None, '{"a":\n' + "9" * 5000 + "}", 0, "expected finite numbers"),
    (COCO[-20:], "", "line 19, column 79", "expected JSON"),
    ('"id": 2, "file_name"', '"id": 1, "file_name"', "$.images[1]", "the id 1 again"),
    ('"file_name": "fundus"', '"file_name": "eye"', "$.images[1]", "eye again, expected each photograph once"),
    ('"fundus"', '"other.jpg"', "$.images[1]", "the image 'other.jpg', expected one of the 2 photographs such as eye"),
    ('"width": 5', '"width": 6', "$.images[0]", "width 6 and height 3, expected 5 and 3, the size of eye"),
    ('"width": 5, ', "", "$.images[0]", "no `width`"),
    ('"width": 5', '"width": 5.0', "$.images[0].width", "5.0, expected `int`"),
    ('"file_name": "eye.jpg"', '"file_name": null', "$.images[0].file_name", "None, expected `str`"),
    ('"reviewed": true', '"reviewed": true, "mode": "merge"', "$.images[1]", "mode 'merge', expected replace or edit"),
    ('"reviewed": true', '"reviewed": true, "time": "noon"', "$.images[1]", "time 'noon', expected a time such as"),
    ('"reviewed": true', '"reviewed": true, "author": 7', "$.images[1].author", "7, expected `str"),
    ('"name": "look"', '"title": "look"', "$.categories[0]", "no `name`"),
    ('"id": 3', '"id": 1', f"{DRAWN}[2]", "the id 1 again"),
    ('"id": 3, "image_id": 1', '"id": 3, "image_id": 9', f"{DRAWN}[2]", "image_id 9"),
    ('"id": 3, "image_id": 1', '"id": 3, "image_id": true', f"{DRAWN}[2].image_id", "True, expected `int"),
    (
        '"category_id": 1, "bbox"',
        '"category_id": 5, "bbox"',
        f"{DRAWN}[0]",
        "category_id 5, expected",
    ),
    ('"category_id": 1, "bbox"', '"category_id": 1, "id": 1, "bbox"', 0, "the key 'id' twice"),
    ("[1, 1, 2, 1.5]", "[1, 1, 2]", f"{DRAWN}[0]", r"the bbox \[1.0, 1.0, 2.0\], expected 4 numbers"),
    ("[1, 1, 2, 1.5]", "[1, 1, 4.6, 1.5]", f"{DRAWN}[0]", r"the point \(5.6, 2.5\), expected inside the photo"),
    ("[1, 1, 2, 1.5]", "[-0.6, 1, 2, 1.5]", f"{DRAWN}[0]", r"the point \(-0.6, 1\)"),
    ("[1, 1, 2, 1.5]", "[1, 1, 1e999, 1.5]", f"{DRAWN}[0].bbox[2]", "inf, expected"),
    ("[1, 1, 2, 1.5]", f"[1, 1, {10**400}, 1.5]", f"{DRAWN}[0].bbox[2]", "expected a finite number"),
    ("[1, 1, 2, 1.5]", '[1, 1, "2", 1.5]', f"{DRAWN}[0].bbox[2]", "'2', expected `float`"),
    ("[1, 1, 2, 1.5]", "[1, 1, 2, 1.5", "line 10, column 67", "expected"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0"', f"{DRAWN}[1]", "runs of 14 pixels in all, not 3 x 5"),
    (
        '"counts": "4120O10O00"',
        '"counts": "4120O10O0~"',
        f"{DRAWN}[1]",
        "the character '~' at position 9",
    ),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0\u20ac"', f"{DRAWN}[1]", "an RLE with"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0P"', f"{DRAWN}[1]", "ends within a run"),
    ('"counts": "4120O10O00"', '"counts": "ooooooooooooooooooo0"', f"{DRAWN}[1]", "a run of 20 characters"),
    ('"counts": "4120O10O00"', '"counts": "4O?"', f"{DRAWN}[1]", "a run of -1 pixels"),
    ('"counts": "4120O10O00"', '"counts": ""', f"{DRAWN}[1]", "runs of 0 pixels"),
    (
        '"counts": "4120O10O00"',
        '"counts": null',
        f"{DRAWN}[1].segmentation.counts",
        "None, expected",
    ),
    (
        '"size": [3, 5], "counts": "',
        '"size": [5, 3], "counts": "',
        f"{DRAWN}[1]",
        r"\[5, 3\], expected \[3, 5\]",
    ),
    ("[7, 8]", "[7, 9]", f"{DRAWN}[3]", "runs of 16 pixels"),
    ("[7, 8]", "[7, -1, 9]", f"{DRAWN}[3].segmentation.counts[1]", "-1, expected `int` >= 0"),
    ("[7, 8]", "[7, 8.0]", f"{DRAWN}[3].segmentation.counts[1]", "8.0, expected `int`"),
    ("[7, 8]", "[7, 99999999999999999999]", f"{DRAWN}[3].segmentation.counts[1]", "expected `int` <= 150000000"),
    ("[[0, 0, 5, 0, 5, 3]]", "[[0, 0, 5, 0, 5]]", f"{DRAWN}[2]", "a polygon of 5 numbers"),
    ("[[0, 0, 5, 0, 5, 3]]", "[[0, 0, 5, 0, 5, 3.6]]", f"{DRAWN}[2]", r"the point \(5, 3.6\), expected inside"),
    ("[[0, 0, 5, 0, 5, 3]]", '[0, 0, "5", 0, 5, 3]', f"{DRAWN}[2].segmentation[0][2]", "'5', expected `float`"),
    ("[[0, 0, 5, 0, 5, 3]]", '"abc"', f"{DRAWN}[2].segmentation", "'abc', expected `object . array . null`"),
    ('{\n   "id": 2,', "{\n   id: 2,", "line 12, column 4", "in double quotes.*expected JSON"),
    ('"id": 2, "image_id"', '"id": 2 "image_id"', "line 12, column 12", "expected JSON"),
    ("]\n}\n", "]\n}\n}", "line 22, column 1", "Extra data.*expected JSON"),
]


@pytest.mark.parametrize(("old", "new", "at", "message"), COCO_MISTAKES)
def test_mistakes_in_coco_are_refused_with_their_path(tmp_path, old, new, at, message):
    """The path of the value that is wrong, or where the JSON breaks."""
    path = tmp_path / "instances.json"
    path.write_text(COCO)
    assert len(FORMATS["coco"].read(path, ALBUM)) == 2
    path.write_text(new if old is None else replaced(COCO, old, new))
    refused("coco", path, at, message)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <image id="0" name="eye.jpg" width="5" height="3">
    <box label="EX" occluded="0" xtl="1" ytl="1" xbr="3" ybr="2.5" z_order="0"></box>
    <polygon label="avoid" occluded="0" points="0,0;5,0;5,3" z_order="1">
    </polygon>
    <mask label="look" rle="1, 3" left="2" top="1" width="2" height="2"></mask>
  </image>
  <image id="1" name="fundus" width="4" height="4">
    <tag label="reviewed"><attribute name="mode">edit</attribute></tag>
  </image>
</annotations>
"""
BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>\n<annotations>&c;</annotations>'

CVAT_MISTAKES = [
    (None, "", 0, "0 bytes"),
    (None, "no xml", 1, "no XML .syntax error"),
    (None, "PK\x03\x04", 0, "unpack it"),
    (None, "\n<x/>", 2, "<x>, expected <annotations>"),
    (None, "<annotations>\n" + "<a>" * 100_000, 2, "more than 32 elements in each other"),
    (None, '<?xml version="1.0"?>\n' + BOMB, 2, "the document type 'a', expected none: entities"),
    (None, '\n<!DOCTYPE a SYSTEM "file:///etc/passwd">\n<annotations/>', 2, "the document type 'a'"),
    (None, "<annotations>&b;</annotations>", 1, "undefined entity"),
    (None, "<annotations/>", 1, "no <image>"),
    (None, "<annotations><track/></annotations>", 1, "a <track>, expected an export as CVAT for images"),
    ("</annotations>\n", "", 13, "no element found"),
    ("</polygon>", "</box>", 7, "mismatched tag"),
    ("<version>1.1", "<version>2.0", 3, "version '2.0', expected 1.1"),
    ('name="eye.jpg" ', "", 4, "<image> without 'name'"),
    ('name="eye.jpg"', 'name="ear.jpg"', 4, "the image 'ear.jpg'"),
    ('name="fundus"', 'name="eye"', 10, "eye again, expected each image once in its task"),
    ('id="1"', 'id="0"', 10, "the id 0 again"),
    ('id="1"', 'id="one"', 10, "id='one', expected a whole number"),
    ('width="5"', 'width="50"', 4, "width 50 and height 3, expected 5 and 3"),
    ('width="5"', 'width="5.0"', 4, "width='5.0'"),
    ('label="EX" ', "", 5, "<box> without 'label'"),
    ('xtl="1"', 'xtl="nan"', 5, "xtl is 'nan', expected a finite number"),
    ('xtl="1"', 'xtl="1e400"', 5, "xtl is '1e400'"),
    ('xtl="1"', 'xtl="1_0"', 5, "xtl is '1_0'"),
    ('xtl="1"', 'xtl="-1"', 5, r"the point \(-1, 1\)"),
    ('xtl="1"', 'rotation="90" xtl="-9"', 5, "the point"),
    ('z_order="1"', 'z_order="top"', 6, "z_order='top'"),
    ("0,0;5,0;5,3", "0,0;5;5,3", 6, "the point '5', expected x,y"),
    ("0,0;5,0;5,3", "0,0;5,x;5,3", 6, "y is 'x'"),
    ("0,0;5,0;5,3", "0,0;5,0;5,3.6", 6, r"the point \(5, 3.6\)"),
    ("<mask ", "<ellipse ", 8, "mismatched tag"),
    (
        "</polygon>",
        '</polygon><ellipse label="look" cx="1" cy="1" rx="-1" ry="1"/>',
        7,
        "the radii -1 and 1, expected sizes",
    ),
    ("1, 3", "1, 4", 8, "an rle of 5 pixels, expected 2 x 2 = 4"),
    ("1, 3", "1, -3", 8, "rle='1, -3', expected whole numbers"),
    ("1, 3", "", 8, "rle=''"),
    ('left="2"', 'left="4"', 8, "a mask up to column 6 and row 3, expected at most 5 and 3"),
    ('left="2"', 'left="-2"', 8, "left='-2'"),
    (">edit<", ">merge<", 11, "mode 'merge', expected replace or edit"),
    ('<attribute name="mode">', "<attribute>", 11, "<attribute> without 'name'"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), CVAT_MISTAKES)
def test_mistakes_in_cvat_are_refused_with_their_line(tmp_path, old, new, line, message):
    """The line where the element begins, or where the XML breaks; a document type is never read."""
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT)
    assert len(FORMATS["cvat"].read(path, ALBUM)) == 2
    path.write_text(new if old is None else replaced(CVAT, old, new))
    refused("cvat", path, line, message)


LABEL_STUDIO = """[
 {"id": 1, "data": {"image": "eye.jpg"},
  "annotations": [
   {"id": 1, "completed_by": 4, "created_at": "2024-05-31T12:00:00.5Z",
    "result": [
     {"type": "brushlabels", "original_width": 5, "original_height": 3, "image_rotation": 0,
      "value": {
       "format": "rle", "brushlabels": ["look"],
       "rle": [0, 0, 0, 60, 57, 27, 253, 176, 9, 255, 227, 0, 183, 255, 132, 192, 35, 255, 0]}},
     {"type": "rectanglelabels", "original_width": 5, "original_height": 3,
      "value": {"x": 0, "y": 0, "width": 40, "height": 40, "rectanglelabels": ["look"]}},
     {"type": "polygonlabels", "original_width": 5, "original_height": 3,
      "value": {"points": [[0, 0], [100, 0], [100, 100]], "polygonlabels": ["avoid"]}},
     {"type": "choices", "from_name": "mode", "value": {"choices": ["edit"]}}
    ]}
  ]},
 {"id": 2, "data": {"image": "fundus"}, "annotations": []}
]
"""
BRUSH = "[0, 0, 0, 60, 57, 27, 253, 176, 9, 255, 227, 0, 183, 255, 132, 192, 35, 255, 0]"

RESULTS = "$[0].annotations[0].result"
LABEL_STUDIO_MISTAKES = [
    (None, "{}", "$", "no `data`, as in JSON-MIN"),
    (None, '{"images": [], "categories": [], "annotations": []}', 0, "COCO, expected --format coco"),
    (None, '[{"image": "eye.jpg"}]', "$[0]", "no `data`, as in JSON-MIN, expected Label Studio's export called JSON"),
    (None, '[\n{"data": {}}]', "$[0].data", "the image ''"),
    ('"id": 2', '"id": 1', "$[1]", "the task id 1 again"),
    ('"fundus"', '"ear"', "$[1].data", "the image 'ear'"),
    ('"annotations": []', '"annotations": [1]', "$[1].annotations[0]", "1, expected `object`"),
    ('"annotations": []', '"annotations": [{"id": 1, "result": []}]', "$[1].annotations[0]", "annotation id 1 again"),
    ('"annotations": []', '"annotations": [{"result": 9}]', "$[1].annotations[0].result", "9, expected `array"),
    ('"completed_by": 4', '"completed_by": [4]', "$[0].annotations[0].completed_by", r"\[4\], expected"),
    ("2024-05-31T12:00:00.5Z", "31 May", "$[0].annotations[0]", "time '31 May'"),
    ('"edit"', '"both"', "$[0].annotations[0]", "mode 'both'"),
    ('["edit"]', "[7]", f"{RESULTS}[3].value.choices[0]", "7, expected `str`"),
    ('"type": "brushlabels", ', "", f"{RESULTS}[0]", "no `type`"),
    (
        '"original_height": 3, "image',
        '"original_height": 5, "image',
        f"{RESULTS}[0]",
        "height 5, expected 5",
    ),
    ('"brushlabels": ["look"]', '"brushlabels": ["EX", "avoid"]', f"{RESULTS}[0]", "look here or not here, not both"),
    ('"format": "rle"', '"format": "png"', f"{RESULTS}[0].value", "a brush of format 'png'"),
    (BRUSH, "{}", f"{RESULTS}[0].value.rle", "{}, expected `array`"),
    (BRUSH, "[]", f"{RESULTS}[0].value", "a brush RLE with 0 bytes that hold 0 words of 1 bits, not 4 x 3 x 5 of 8"),
    (BRUSH, BRUSH.replace("60", "64"), f"{RESULTS}[0].value", "hold 64 words of 8 bits, not 4 x 3 x 5"),
    (BRUSH, BRUSH.replace("0, 0, 0, 60", "255, 255, 255, 255"), f"{RESULTS}[0].value", "hold 4294967295 words"),
    (BRUSH, BRUSH.replace(" 57,", " 121,"), f"{RESULTS}[0].value", "words of 16 bits"),
    (
        BRUSH,
        BRUSH.replace(", 132, 192, 35, 255, 0]", "]"),
        f"{RESULTS}[0].value",
        "end after 36 of 60 words",
    ),
    (BRUSH, BRUSH[:20] + ", 254, 63, 0]", f"{RESULTS}[0].value", "64 words, not the 60 that the head promises"),
    (BRUSH, BRUSH.replace("255, 0]", "256, 0]"), f"{RESULTS}[0].value.rle[17]", "256, expected `int` <= 255"),
    (BRUSH, BRUSH.replace("255, 0]", "-1, 0]"), f"{RESULTS}[0].value.rle[17]", "-1, expected `int` >= 0"),
    (BRUSH, BRUSH.replace("255, 0]", "2.5, 0]"), f"{RESULTS}[0].value.rle[17]", "2.5, expected `int`"),
    ('"width": 40', '"width": 111', f"{RESULTS}[1].value", r"the point \(5.55, 1.2\), expected inside the photograph"),
    ('"width": 40', '"width": "40"', f"{RESULTS}[1].value.width", "'40', expected `float`"),
    ('"width": 40, ', "", f"{RESULTS}[1].value", "no `width`"),
    ('"width": 40', '"width": 40, "rotation": 1e999', f"{RESULTS}[1].value.rotation", "inf, expected"),
    ('"width": 40', '"width": 40, "rotation": 180', f"{RESULTS}[1].value", r"the point \(-1,"),
    ("[100, 0]", "[100]", f"{RESULTS}[2].value.points[1]", r"\[100\], expected `array` of length 2"),
    ("[100, 0]", "[111, 0]", f"{RESULTS}[2].value", r"the point \(5.55, 0\)"),
]


@pytest.mark.parametrize(("old", "new", "at", "message"), LABEL_STUDIO_MISTAKES)
def test_mistakes_in_label_studio_are_refused_with_their_path(tmp_path, old, new, at, message):
    """The path of the task, annotation, result or value that is wrong."""
    path = tmp_path / "export.json"
    path.write_text(LABEL_STUDIO)
    (drawn,) = FORMATS["label-studio"].read(path, ALBUM)
    assert [shape.kind for shape in drawn.shapes] == ["mask", "box", "polygon"]
    path.write_text(new if old is None else replaced(LABEL_STUDIO, old, new))
    refused("label-studio", path, at, message)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_there_is_refused(tmp_path, name):
    """A missing path, and a file for a folder or a folder for a file."""
    refused(name, tmp_path / "nowhere", 0, "no folder|no file")
    wrong = tmp_path / "wrong"
    if name in ("png", "yolo"):
        wrong.write_text("x")
    else:
        wrong.mkdir()
    refused(name, wrong, 0, "no folder|no file")


@pytest.mark.parametrize(("name", "good"), [("coco", COCO), ("cvat", CVAT), ("label-studio", LABEL_STUDIO)])
def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path, name, good):
    """Also after a byte order mark, which is itself accepted."""
    path = tmp_path / "in"
    path.write_bytes(b"\xef\xbb\xbf" + good.encode())
    assert FORMATS[name].read(path, ALBUM)
    lines = good.encode().split(b"\n")
    lines[3] += b"\xff"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    refused(name, path, 4, "the byte 0xff, expected text in UTF-8")


@pytest.mark.parametrize(("name", "good"), [("coco", COCO), ("cvat", CVAT), ("label-studio", LABEL_STUDIO)])
def test_a_file_too_large_for_memory_is_refused_before_it_is_read(tmp_path, name, good, monkeypatch):
    """By its size alone."""
    path = tmp_path / "in"
    path.write_text(good)
    monkeypatch.setattr(source, "MAX_BYTES", len(good) - 1)
    refused(name, path, 0, f"{len(good)} bytes, expected 1 to {len(good) - 1}")


@pytest.mark.parametrize("name", FORMATS)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_leads_to_anything_but_a_correction_error(tmp_path, name, data):
    """Bytes cut off, changed or put in: either the file still makes sense or it is refused in one line."""
    path = tmp_path / "damaged"
    if not path.exists():
        mask = np.eye(3, 5, dtype=bool)
        shapes = (
            Shape("mask", "look", runs=mask_to_runs(mask)),
            Shape("box", "look", ((1, 1), (3, 2))),
            Shape("polygon", "avoid", ((0, 0), (5, 0), (5, 3))),
        )
        FORMATS[name].write([Drawn("eye", shapes, "ada", "why", "edit", "2024-05-31T12:00:00Z")], ALBUM, path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
    file = data.draw(st.sampled_from(files))
    good = file.read_bytes()
    at = data.draw(st.integers(0, len(good)))
    length = data.draw(st.sampled_from([0, 1, 4, len(good)]))
    inserted = data.draw(st.one_of(st.just(b""), st.binary(max_size=3), st.sampled_from([b"9", b"-", b"null", b"[]"])))
    try:
        file.write_bytes(good[:at] + inserted + good[at + length :])
        FORMATS[name].read(path, ALBUM)
    except CorrectionError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    finally:
        file.write_bytes(good)


@pytest.mark.parametrize("type_", ["{}", "[1]", "null", "7"])
def test_a_result_whose_type_is_no_text_is_refused(tmp_path, type_):
    """Also where it cannot be compared with the known types."""
    path = tmp_path / "in"
    result = f'{{"type": {type_}, "to_name": "image", "value": {{}}}}'
    path.write_text(f'[{{"id": 1, "data": {{"image": "eye.jpg"}}, "annotations": [{{"result": [{result}]}}]}}]')
    refused("label-studio", path, "$[0].annotations[0].result[0].type", "expected")


def test_half_a_character_is_refused(tmp_path):
    """JSON can spell half of a character, which is no text."""
    path = tmp_path / "in"
    value = '{"format": "rle", "rle": [1], "brushlabels": ["\\ud800"]}'
    result = f'{{"type": "brushlabels", "to_name": "image", "value": {value}}}'
    path.write_text(f'[{{"id": 1, "data": {{"image": "eye.jpg"}}, "annotations": [{{"result": [{result}]}}]}}]')
    with pytest.raises(CorrectionError) as error:
        FORMATS["label-studio"].read(path, ALBUM)
    assert "\n" not in str(error.value)
