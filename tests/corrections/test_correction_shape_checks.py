"""Which shapes are accepted, and shapes as JSON."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regaze.corrections import shape_checks
from regaze.corrections.shape_checks import check_shapes, shapes_from_json, shapes_to_json
from regaze.corrections.shapes import rasterise
from regaze.errors import CorrectionError
from regaze.records import Shape

_NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
_POINTS = st.tuples(_NUMBERS, _NUMBERS)
_MARKS = st.sampled_from(["look", "avoid", "erase"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["look", "avoid", "erase"]), st.lists
)
_SHAPES = st.one_of(
    st.builds(
        Shape,
        st.just("stroke"),
        _MARKS,
        st.lists(_POINTS, min_size=1, max_size=5).map(tuple),
        st.floats(0, 1e6, exclude_min=True),
    ),
    st.builds(Shape, st.just("polygon"), _MARKS, st.lists(_POINTS, min_size=3, max_size=6).map(tuple)),
    st.builds(Shape, st.just("box"), _MARKS, st.tuples(_POINTS, _POINTS)),
    st.builds(Shape, st.just("mask"), _MARKS, runs=st.lists(st.integers(0, 10**6), min_size=1, max_size=9).map(tuple)),
)


@settings(deadline=None)
@given(st.lists(_SHAPES, max_size=4).map(tuple))
def test_shapes_come_back_from_json_number_by_number(shapes):
    """All 64 bits of every coordinate, the order, the kinds and the signs of zero survive; one line of text."""
    text = shapes_to_json(shapes)
    back = shapes_from_json(text)
    assert back == shapes
    assert "\n" not in text
    for one, other in zip(back, shapes, strict=True):
        for left, right in zip(one.points, other.points, strict=True):
            assert [math.copysign(1, value) for value in left] == [math.copysign(1, value) for value in right]
    assert shapes_to_json(back) == text


def test_the_json_is_what_the_docstring_says():
    """A reader of the database finds plain objects, and only the fields that a kind has."""
    shapes = [
        Shape("stroke", "look", ((1.5, 2), (3, 4.25)), 2.5),
        Shape("box", "erase", ((0, 0), (1, 1))),
        Shape("mask", "look", runs=(0, 6)),
    ]
    assert json.loads(shapes_to_json(shapes)) == [
        {"kind": "stroke", "mark": "look", "points": [[1.5, 2.0], [3.0, 4.25]], "radius": 2.5},
        {"kind": "box", "mark": "erase", "points": [[0.0, 0.0], [1.0, 1.0]]},
        {"kind": "mask", "mark": "look", "runs": [0, 6]},
    ]
    assert shapes_from_json("[]") == ()


def test_numpy_numbers_are_accepted_and_come_back_equal():
    """What a page or an importer computed with NumPy is stored as it is."""
    point = (np.float32(1.25), np.int64(3))
    shape = Shape("stroke", "look", (point,), np.float64(0.5))
    check_shapes([shape, Shape("mask", "look", runs=(np.int64(4), np.int32(5)))], 3, 3)
    assert shapes_from_json(shapes_to_json([shape])) == (Shape("stroke", "look", ((1.25, 3.0),), 0.5),)


def test_what_was_stored_before_shapes_could_erase_is_read():
    """`look`, true or false, stood where `mark` stands now; what is written again says `mark`."""
    old = '[{"kind":"box","look":true,"points":[[0,0],[1,1]]},{"kind":"mask","look":false,"runs":[0,6]}]'
    shapes = (Shape("box", "look", ((0, 0), (1, 1))), Shape("mask", "avoid", runs=(0, 6)))
    assert shapes_from_json(old) == shapes == shapes_from_json(shapes_to_json(shapes))
    assert 'look":' not in shapes_to_json(shapes)


@settings(deadline=None)
@given(st.lists(_SHAPES, min_size=1, max_size=3), _VALUES, st.sampled_from(["mark", "look"]))
def test_a_damaged_mark_is_refused_or_one_of_three(shapes, value, key):
    """Whatever JSON value stands for the mark or its earlier name, it is our message or a mark that can be drawn."""
    objects = json.loads(shapes_to_json(shapes))
    del objects[-1]["mark"]
    objects[-1][key] = value
    known = ("look", "avoid", "erase") if key == "mark" else (True, False)
    try:
        *_, last = shapes_from_json(json.dumps(objects), "row 7")
    except CorrectionError as error:
        assert "row 7" in str(error)
        assert not any(value is word or (isinstance(value, str) and value == word) for word in known)
    else:
        assert last.mark in ("look", "avoid", "erase")
        assert value in known


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape("circle", "look", ((1, 1),)), "is of kind 'circle', expected one of stroke, polygon, box, mask"),
        (Shape(["box"], "look"), r"is of kind \['box'\]"),
        (Shape("stroke", "yes", ((1, 1),), 1.0), r"\(stroke\) has mark 'yes', expected one of look, avoid, erase"),
        (Shape("box", True, ((1, 1), (2, 2))), r"\(box\) has mark True, expected one of"),
        (Shape("box", ["look"], ((1, 1), (2, 2))), r"has mark \['look'\]"),
        (Shape("box", None, ((1, 1), (2, 2))), "has mark None"),
        (Shape("stroke", "look", (), 1.0), "has 0 points, expected 1 to"),
        (Shape("polygon", "look", ((1, 1), (2, 2))), "has 2 points, expected 3 to"),
        (Shape("box", "look", ((1, 1), (2, 2), (3, 3))), "has 3 points, expected 2 to 2"),
        (Shape("mask", "look", ((1, 1),), runs=(9,)), "has 1 points, expected 0 to 0"),
        (Shape("stroke", "look", ((1, 1),)), r"has radius 0.0, expected more than 0 pixels"),
        (Shape("stroke", "look", ((1, 1),), -2.0), "has radius -2.0"),
        (Shape("stroke", "look", ((1, 1),), math.nan), "has radius nan"),
        (Shape("stroke", "look", ((1, 1),), math.inf), "has radius inf"),
        (Shape("stroke", "look", ((1, 1),), None), "has radius None"),
        (Shape("polygon", "look", ((1, 1), (2, 2), (3, 1)), 1.0), "has radius 1.0, expected 0: only a stroke"),
        (Shape("polygon", "look", ((1, 1), (math.nan, 2), (3, 1))), r"has \(nan, 2\) as point 2, expected x and y"),
        (Shape("polygon", "look", ((1, 1), (2, 2), (3, -math.inf))), r"has \(3, -inf\) as point 3"),
        (Shape("box", "look", ((1, 1), (2e6, 1))), r"has \(2000000.0, 1\) as point 2, .* at most 1000000"),
        (Shape("box", "look", ((1, 1), (1, 1, 1))), r"has \(1, 1, 1\) as point 2"),
        (Shape("box", "look", ((1, 1), 7)), "has 7 as point 2"),
        (Shape("box", "look", ((1, 1), ("a", 1))), r"has \('a', 1\) as point 2"),
        (Shape("box", "look", ((1, 1), (2, 2)), runs=(9,)), "has 1 runs, expected none: only a mask"),
        (Shape("mask", "look"), "has 0 runs, expected 1 to"),
        (Shape("mask", "look", runs=(10, -1)), "has -1 as run 2, expected a whole number"),
        (Shape("mask", "look", runs=(8.0, 1)), "has 8.0 as run 1"),
        (Shape("mask", "look", runs=(8, True)), "has True as run 2"),
        (Shape("mask", "look", runs=(8,)), r"sum to 8, expected 3 x 3 = 9: draw it on the photograph"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(shape, message):
    """Each refusal names the photograph, the shape's place in the list, its kind, the value and what was expected."""
    good = Shape("box", "look", ((0, 0), (1, 1)))
    with pytest.raises(CorrectionError, match=f"shapes of 's': shape 2 .*{message}"):
        check_shapes([good, shape], 3, 3, "shapes of 's'")
    with pytest.raises(CorrectionError, match="shape 1"):
        rasterise([shape], 3, 3)


def test_a_box_without_area_is_a_click():
    """A click without a drag is no mistake: it is accepted and marks the pixel it lies in."""
    click = Shape("box", "look", ((1.25, 2.5), (1.25, 2.5)))
    check_shapes([click], 3, 3)
    assert [tuple(place) for place in np.argwhere(rasterise([click], 3, 3)[0])] == [(2, 1)]


def test_too_many_points_or_runs_are_refused(monkeypatch):
    """The limit is on every single shape, and a ragged mask is told the other way in."""
    monkeypatch.setattr(shape_checks, "MAX_POINTS", 8)
    with pytest.raises(CorrectionError, match=r"has 9 runs, expected 1 to 8: store so ragged a mask without shapes"):
        check_shapes([Shape("mask", "look", runs=(1,) * 9)], 3, 3)
    assert shape_checks._MOST_POINTS["stroke"] == shape_checks._MOST_POINTS["polygon"] == 1_000_000


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, -1), (20_000, 10_000)])
def test_a_photograph_without_a_sensible_size_is_refused(height, width):
    """No allocation is made for a size that no photograph has."""
    with pytest.raises(CorrectionError, match=rf"on {height} x {width} pixels, expected 1 to 150000000"):
        rasterise([], height, width)


@pytest.mark.parametrize("field", ["kind", "mark", "radius", "points", "runs"])
@pytest.mark.parametrize("value", ["x" * 9000, [None] * 9000, ["x" * 9000]])
def test_a_refusal_is_one_short_line_whatever_stands_there(field, value):
    """A value as long as a file is cut, so that the message can still be read."""
    kind, runs = ("mask", {"runs": [6]}) if field == "runs" else ("box", {"points": [[0, 0], [1, 1]]})
    with pytest.raises(CorrectionError) as refused:
        shapes_from_json(json.dumps([{"kind": kind, "mark": "look", **runs, field: value}]), "row 7")
    assert str(refused.value).startswith("row 7: shape 1")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no readable JSON"),
        ("[", "no readable JSON"),
        ("[" * 100_000, "no readable JSON"),
        ('{"kind": "box"}', "JSON of type dict, expected a list"),
        ("[3]", "shape 1 is 3, expected an object with kind, mark, points, radius, runs"),
        ('[{"kind": "box"}]', "shape 1 is .*expected an object"),
        ('[{"kind": "mask", "mark": "look", "runs": [1], "colour": 1}]', "expected an object"),
        ('[{"kind": "mask", "mark": "look", "runs": "12"}]', "expected lists"),
        ('[{"kind": "box", "mark": "look", "points": ["ab", "cd"]}]', "expected lists"),
        ('[{"kind": "box", "mark": "look", "points": [[1, 2], [NaN, 2]]}]', r"\(nan, 2\) as point 2"),
        ('[{"kind": "box", "mark": 1, "points": [[1, 2], [3, 4]]}]', "has mark 1"),
        ('[{"kind": "box", "mark": "Erase", "points": [[1, 2], [3, 4]]}]', "has mark 'Erase'"),
        ('[{"kind": "box", "mark": ["erase"], "points": [[1, 2], [3, 4]]}]', "has mark \\['erase'\\]"),
        ('[{"kind": "box", "mark": null, "points": [[1, 2], [3, 4]]}]', "has mark None"),
        ('[{"kind": "box", "look": 1, "points": [[1, 2], [3, 4]]}]', "expected an object"),
        ('[{"kind": "box", "look": null, "points": [[1, 2], [3, 4]]}]', "expected an object"),
        ('[{"kind": "box", "look": "erase", "points": [[1, 2], [3, 4]]}]', "expected an object"),
        ('[{"kind": "box", "look": true, "mark": "look", "points": [[1, 2], [3, 4]]}]', "expected an object"),
        ('[{"kind": "stroke", "mark": "look", "points": [[1, 2]], "radius": "2"}]', "has radius '2'"),
        ('[{"kind": {}, "mark": "look"}]', "of kind {}"),
    ],
)
def test_foreign_json_is_refused(text, message):
    """Whatever stands there, the user sees our message with the name of what was read."""
    with pytest.raises(CorrectionError, match=f"row 7.*{message}"):
        shapes_from_json(text, "row 7")
