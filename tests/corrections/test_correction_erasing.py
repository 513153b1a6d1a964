"""Shapes that erase: pixels say nothing again, whatever was drawn there before, and a later shape may draw there."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regaze.corrections.shape_checks import shapes_from_json, shapes_to_json
from regaze.corrections.shapes import mask_to_runs, rasterise
from regaze.records import Shape
from tests.corrections.shape_pixels import HEIGHT, PATIENT, WIDTH, draw

_POINT = st.tuples(*[st.integers(-8, 52).map(lambda n: n / 4)] * 2)
_POINTS = {
    "stroke": st.lists(_POINT, min_size=1, max_size=4).map(tuple),
    "polygon": st.lists(_POINT, min_size=3, max_size=5).map(tuple),
    "box": st.tuples(_POINT, _POINT),
}
_RUNS = arrays(np.bool_, (HEIGHT, WIDTH), elements=st.booleans()).map(mask_to_runs)


def _shapes(mark):
    return st.one_of(
        st.builds(Shape, st.just("stroke"), mark, _POINTS["stroke"], st.sampled_from([0.3, 1.0, 3.25])),
        *(st.builds(Shape, st.just(kind), mark, _POINTS[kind]) for kind in ("polygon", "box")),
        st.builds(Shape, st.just("mask"), mark, runs=_RUNS),
    )


_ERASING = _shapes(st.just("erase"))
_DRAWN = st.lists(_shapes(st.sampled_from(["look", "avoid", "erase"])), max_size=6)


def _masks(shapes):
    return np.stack(rasterise(shapes, HEIGHT, WIDTH))


def test_erased_pixels_by_hand():
    """A box of look and avoid with a hole erased, on one side of which something is drawn again."""
    shapes = [
        Shape("box", "look", ((0, 0), (4, 2))),
        Shape("box", "avoid", ((0, 2), (4, 4))),
        Shape("box", "erase", ((1, 1), (3, 3))),
        Shape("box", "avoid", ((2, 1), (3, 2))),
    ]
    look, avoid = rasterise(shapes, 4, 4)
    np.testing.assert_array_equal(look.astype(int), [[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(avoid.astype(int), [[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]])


@PATIENT
@given(_DRAWN)
def test_a_pixel_says_what_the_last_shape_on_it_says(shapes):
    """Look, avoid and erase, each over any other: shape by shape on its own, laid over each other here."""
    expected = np.full((HEIGHT, WIDTH), "erase")
    for shape in shapes:
        expected[draw(replace(shape, mark="look"))] = shape.mark
    for mask, mark in zip(_masks(shapes), ("look", "avoid"), strict=True):
        np.testing.assert_array_equal(mask, expected == mark)


@PATIENT
@given(_DRAWN, _ERASING)
def test_erasing_empties_its_own_pixels_and_no_others(shapes, eraser):
    """Nothing says anything there; elsewhere all is as before."""
    gone = draw(replace(eraser, mark="look"))
    after = _masks([*shapes, eraser])
    assert not after[:, gone].any()
    np.testing.assert_array_equal(after[:, ~gone], _masks(shapes)[:, ~gone])


@PATIENT
@given(_DRAWN, st.lists(_ERASING, max_size=3))
def test_what_was_erased_comes_back_when_it_is_drawn_again(shapes, erasers):
    """Undoing by drawing anew gives the pixels of before; erasing what is bare, and erasing twice, change nothing."""
    before = _masks(shapes)
    np.testing.assert_array_equal(_masks([*shapes, *erasers, *shapes]), before)
    np.testing.assert_array_equal(_masks([*erasers, *shapes]), before)
    np.testing.assert_array_equal(_masks([*shapes, *erasers, *erasers]), _masks([*shapes, *erasers]))
    assert not _masks([*shapes, *(replace(shape, mark="erase") for shape in shapes)]).any()


@PATIENT
@given(_DRAWN)
def test_shapes_draw_the_same_after_a_way_through_json(shapes):
    """What is stored draws the same pixels in each of the three."""
    np.testing.assert_array_equal(_masks(shapes_from_json(shapes_to_json(shapes))), _masks(shapes))
