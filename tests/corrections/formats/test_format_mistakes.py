"""A foreign file with mistakes is refused as a whole, with the line that is wrong."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regaze.corrections.formats import source
from regaze.corrections.formats.drawn import Album, Drawn, Photograph
from regaze.corrections.formats.registry import FORMATS
from regaze.corrections.shapes import mask_to_runs
from regaze.errors import CorrectionError
from regaze.records import Shape

ALBUM = Album([Photograph("eye", ("eye.jpg",), 5, 3), Photograph("fundus", (), 4, 4)])


def refused(name, path, line, message):
    """Read, and check that the one line of the error names file, line and what is wrong."""
    with pytest.raises(CorrectionError) as error:
        FORMATS[name].read(path, ALBUM)
    text = str(error.value)
    where = f"{path}, line {line}: " if line else str(path)
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

COCO_MISTAKES = [
    (None, "", 0, "0 bytes"),
    (None, "{", 1, "the file ends"),
    (None, "[1]", 1, "no object, expected an object with images"),
    (None, '{"categories": [], "images": 3}', 1, "'images' is 3, expected a list of objects"),
    (None, '{"categories": [],\n "images": [7]}', 1, "7 in 'images', expected an object"),
    (None, "{}", 1, "no 'categories', expected a list of objects"),
    (None, "PK\x03\x04", 0, "a zip archive, expected the file in it: unpack it"),
    (None, "\n" + "[" * 100_000, 2, "more than 32 lists and objects in each other"),
    (None, "[1" + ",[1" * 100_000, 1, "lists too deep"),
    (None, '{"a":\n{"b": [NaN]}}', 2, "NaN"),
    (None, '{"a":\n' + "9" * 5000 + "}", 2, "a finite number"),
    (COCO[-20:], "", 19, "expected JSON"),
    ('"id": 2, "file_name"', '"id": 1, "file_name"', 4, "the image id 1 again"),
    ('"file_name": "fundus"', '"file_name": "eye"', 4, "eye again, expected each photograph once"),
    ('"fundus"', '"other.jpg"', 4, "the image 'other.jpg', expected one of the 2 photographs such as eye"),
    ('"width": 5', '"width": 6', 3, "width 6 and height 3, expected 5 and 3, the size of eye"),
    ('"width": 5, ', "", 3, "width None"),
    ('"width": 5', '"width": 5.0', 3, "width 5.0"),
    ('"file_name": "eye.jpg"', '"file_name": null', 3, "'file_name' is None, expected a text"),
    ('"reviewed": true', '"reviewed": true, "mode": "merge"', 4, "mode 'merge', expected replace or edit"),
    ('"reviewed": true', '"reviewed": true, "time": "noon"', 4, "time 'noon', expected a time such as"),
    ('"reviewed": true', '"reviewed": true, "author": 7', 4, "'author' is 7"),
    ('"name": "look"', '"title": "look"', 7, "no 'name', expected a text"),
    ('"id": 3', '"id": 1', 17, "the annotation id 1 again"),
    ('"id": 3, "image_id": 1', '"id": 3, "image_id": 9', 17, "image_id 9"),
    ('"id": 3, "image_id": 1', '"id": 3, "image_id": true', 17, "image_id' is True"),
    ('"category_id": 1, "bbox"', '"category_id": 5, "bbox"', 10, "category_id 5, expected the id of one of the cat"),
    ('"category_id": 1, "bbox"', '"category_id": 1, "id": 1, "bbox"', 10, "the key 'id' twice"),
    ("[1, 1, 2, 1.5]", "[1, 1, 2]", 10, r"'bbox' is \[1, 1, 2\], expected 4 numbers"),
    ("[1, 1, 2, 1.5]", "[1, 1, 0, 1.5]", 10, "a box 0 wide and 1.5 high"),
    ("[1, 1, 2, 1.5]", "[1, 1, 4.6, 1.5]", 10, r"the point \(5.6, 2.5\), expected inside the photograph"),
    ("[1, 1, 2, 1.5]", "[-0.6, 1, 2, 1.5]", 10, r"the point \(-0.6, 1\)"),
    ("[1, 1, 2, 1.5]", "[1, 1, 1e999, 1.5]", 10, "inf in 'bbox', expected finite"),
    ("[1, 1, 2, 1.5]", f"[1, 1, {10**400}, 1.5]", 10, "in 'bbox', expected finite"),
    ("[1, 1, 2, 1.5]", '[1, 1, "2", 1.5]', 10, "'2' in 'bbox'"),
    ("[1, 1, 2, 1.5]", "[1, 1, 2, 1.5", 10, "expected"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0"', 11, "an RLE with runs of 14 pixels in all, not 3 x 5 = 15"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0~"', 11, "the character '~' at position 9"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0\u20ac"', 11, "an RLE with"),
    ('"counts": "4120O10O00"', '"counts": "4120O10O0P"', 11, "ends within a run"),
    ('"counts": "4120O10O00"', '"counts": "ooooooooooooooooooo0"', 11, "a run of 20 characters"),
    ('"counts": "4120O10O00"', '"counts": "4O?"', 11, "a run of -1 pixels"),
    ('"counts": "4120O10O00"', '"counts": ""', 11, "runs of 0 pixels"),
    ('"counts": "4120O10O00"', '"counts": null', 11, "RLE counts None, expected a text or a list"),
    ('"size": [3, 5], "counts": "', '"size": [5, 3], "counts": "', 11, r"size \[5, 3\], expected \[3, 5\], height"),
    ("[7, 8]", "[7, 9]", 19, "runs of 16 pixels"),
    ("[7, 8]", "[7, -1, 9]", 19, "a run of -1 pixels"),
    ("[7, 8]", "[7, 8.0]", 19, "a text or a list of whole numbers"),
    ("[7, 8]", "[7, 99999999999999999999]", 19, "a text or a list of whole numbers"),
    ("[[0, 0, 5, 0, 5, 3]]", "[[0, 0, 5, 0, 5]]", 17, "a polygon of 5 numbers"),
    ("[[0, 0, 5, 0, 5, 3]]", "[[0, 0, 5, 0]]", 17, "a polygon of 4 numbers, expected x and y of three points"),
    ("[[0, 0, 5, 0, 5, 3]]", "[[0, 0, 5, 0, 5, 3.6]]", 17, r"the point \(5, 3.6\), expected inside the photograph"),
    ("[[0, 0, 5, 0, 5, 3]]", "[0, 0, 5, 0, 5, 3]", 17, "'segmentation' is .* expected a list of polygons, or an RLE"),
    ("[[0, 0, 5, 0, 5, 3]]", '"abc"', 17, "'segmentation' is 'abc'"),
    ('{\n   "id": 2,', "{\n   id: 2,", 12, "a key in quotes"),
    ('"id": 2, "image_id"', '"id": 2 "image_id"', 12, "expected ','"),
    ("]\n}\n", "]\n}\n}", 22, "expected the end of the file"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), COCO_MISTAKES)
def test_mistakes_in_coco_are_refused_with_their_line(tmp_path, old, new, line, message):
    """The line of the object that is wrong, or where the JSON breaks."""
    path = tmp_path / "instances.json"
    path.write_text(COCO)
    assert len(FORMATS["coco"].read(path, ALBUM)) == 2
    path.write_text(new if old is None else replaced(COCO, old, new))
    refused("coco", path, line, message)


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
    ('name="fundus"', 'name="eye"', 10, "eye or the id 1 again"),
    ('id="1"', 'id="0"', 10, "fundus or the id 0 again"),
    ('id="1"', 'id="one"', 10, "id='one', expected a whole number"),
    ('width="5"', 'width="50"', 4, "width 50 and height 3, expected 5 and 3"),
    ('width="5"', 'width="5.0"', 4, "width='5.0'"),
    ('label="EX" ', "", 5, "<box> without 'label'"),
    ('xtl="1"', 'xtl="nan"', 5, "xtl is 'nan', expected a finite number"),
    ('xtl="1"', 'xtl="1e400"', 5, "xtl is '1e400'"),
    ('xtl="1"', 'xtl="1_0"', 5, "xtl is '1_0'"),
    ('xtl="1"', 'xtl="-1"', 5, r"the point \(-1, 1\)"),
    ('xtl="1"', 'xtl="3"', 5, "a box 0 wide"),
    ('xtl="1"', 'rotation="90" xtl="-2"', 5, "the point"),
    ('z_order="1"', 'z_order="top"', 6, "z_order='top'"),
    ("0,0;5,0;5,3", "0,0;5,0", 6, "a polygon of 2 points, expected three"),
    ("0,0;5,0;5,3", "0,0;5;5,3", 6, "the point '5', expected x,y"),
    ("0,0;5,0;5,3", "0,0;5,x;5,3", 6, "y is 'x'"),
    ("0,0;5,0;5,3", "0,0;5,0;5,3.6", 6, r"the point \(5, 3.6\)"),
    ("<mask ", "<ellipse ", 8, "mismatched tag"),
    (
        "</polygon>",
        '</polygon><points label="look" points="1,1"/>',
        7,
        "a <points>, expected one of box, polygon, mask",
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

LABEL_STUDIO_MISTAKES = [
    (None, "{}", 1, "the file is {}, expected a list of objects"),
    (None, '[{"image": "eye.jpg"}]', 1, "no 'data', expected an object"),
    (None, '[\n{"data": {}}]', 2, "the image ''"),
    ('"id": 2', '"id": 1', 17, "the task id 1 again"),
    ('"fundus"', '"ear"', 17, "the image 'ear'"),
    ('"annotations": []', '"annotations": [1]', 17, "1 in 'annotations', expected an object|'annotations' is"),
    ('"annotations": []', '"annotations": [{"id": 1, "result": []}]', 17, "the annotation id 1 again"),
    ('"annotations": []', '"annotations": [{"id": 9}]', 17, "no 'result'"),
    ('"completed_by": 4', '"completed_by": [4]', 4, "'completed_by' is"),
    ("2024-05-31T12:00:00.5Z", "31 May", 4, "time '31 May'"),
    ('"edit"', '"both"', 4, "mode 'both'"),
    ('["edit"]', "[7]", 14, r"'choices' is \[7\], expected a list of texts"),
    ('"type": "brushlabels"', '"type": "ellipselabels"', 6, "a result of type 'ellipselabels', expected brush"),
    ('"type": "brushlabels", ', "", 6, "no 'type'"),
    ('"original_height": 3, "image', '"original_height": 5, "image', 6, "width 5 and height 5, expected 5 and 3"),
    ('"image_rotation": 0', '"image_rotation": 90', 6, "a picture turned by 90 degrees"),
    ('"brushlabels": ["look"]', '"brushlabels": []', 7, r"the labels \[\], expected a list with a label"),
    ('"brushlabels": ["look"]', '"brushlabels": ["EX", "avoid"]', 7, "look here or not here, not both"),
    ('"format": "rle"', '"format": "png"', 7, "a brush of format 'png'"),
    (BRUSH, "{}", 7, "with a list 'rle'"),
    (BRUSH, "[]", 7, "a brush RLE with 0 bytes that hold 0 words of 1 bits, not 4 x 3 x 5 of 8"),
    (BRUSH, BRUSH.replace("60", "64"), 7, "hold 64 words of 8 bits, not 4 x 3 x 5"),
    (BRUSH, BRUSH.replace("0, 0, 0, 60", "255, 255, 255, 255"), 7, "hold 4294967295 words"),
    (BRUSH, BRUSH.replace(" 57,", " 121,"), 7, "words of 16 bits"),
    (BRUSH, BRUSH.replace(", 132, 192, 35, 255, 0]", "]"), 7, "bytes that end after 36 of 60 words"),
    (BRUSH, BRUSH[:20] + ", 254, 63, 0]", 7, "64 words, not the 60 that the head promises"),
    (BRUSH, BRUSH.replace("255, 0]", "256, 0]"), 7, "something else than numbers of 0 to 255"),
    (BRUSH, BRUSH.replace("255, 0]", "-1, 0]"), 7, "something else than numbers of 0 to 255"),
    (BRUSH, BRUSH.replace("255, 0]", "2.5, 0]"), 7, "something else than numbers of 0 to 255"),
    ('"width": 40', '"width": 0', 11, "a box 0 wide"),
    ('"width": 40', '"width": 111', 11, r"the point \(5.55, 1.2\), expected inside the photograph"),
    ('"width": 40', '"width": "40"', 11, "'40' in 'width'"),
    ('"width": 40, ', "", 11, "None in 'width'"),
    ('"width": 40', '"width": 40, "rotation": 1e999', 11, "inf in 'rotation'"),
    ('"width": 40', '"width": 40, "rotation": 180', 11, r"the point \(-2,"),
    ("[100, 0], ", "", 13, "the points .* expected a list of three"),
    ("[100, 0]", "[100]", 13, r"a point is \[100\], expected 2 numbers"),
    ("[100, 0]", "[111, 0]", 13, r"the point \(5.55, 0\)"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), LABEL_STUDIO_MISTAKES)
def test_mistakes_in_label_studio_are_refused_with_their_line(tmp_path, old, new, line, message):
    """The line of the task, annotation, result or value that is wrong."""
    path = tmp_path / "export.json"
    path.write_text(LABEL_STUDIO)
    (drawn,) = FORMATS["label-studio"].read(path, ALBUM)
    assert [shape.kind for shape in drawn.shapes] == ["mask", "box", "polygon"]
    path.write_text(new if old is None else replaced(LABEL_STUDIO, old, new))
    refused("label-studio", path, line, message)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_there_is_refused(tmp_path, name):
    """A missing path, and a file for a folder or a folder for a file."""
    refused(name, tmp_path / "nowhere", 0, "no folder|no file")
    wrong = tmp_path / "wrong"
    if FORMATS[name].is_folder:
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
            Shape("mask", True, runs=mask_to_runs(mask)),
            Shape("box", True, ((1, 1), (3, 2))),
            Shape("polygon", False, ((0, 0), (5, 0), (5, 3))),
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
