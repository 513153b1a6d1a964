"""What one correction says of the network's square."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regaze.corrections.planes import make_planes

CELLS = (4.0, 8.0, 16.0)


def blob(side=64, *boxes):
    """A mask with (row, column, height, width) rectangles."""
    mask = np.zeros((side, side), dtype=bool)
    for row, column, height, width in boxes:
        mask[row : row + height, column : column + width] = True
    return mask


def test_without_options_the_masks_come_through():
    """One plane, nothing in doubt; where both were said, look wins."""
    look, avoid = blob(64, (10, 10, 4, 4)), blob(64, (12, 12, 8, 8))
    planes = make_planes(look, avoid)
    assert planes.look.shape == planes.doubt.shape == (1, 64, 64)
    assert (planes.look[0] == look).all()
    assert (planes.avoid == (avoid & ~look)).all()
    assert not planes.doubt.any()


def test_the_band_by_hand():
    """A 9-pixel square with tolerance 2: a 5-pixel square is sure, two pixels on either side of its edge are not."""
    planes = make_planes(blob(32, (10, 10, 9, 9)), None, tolerance=2)
    assert (planes.look[0] == blob(32, (12, 12, 5, 5))).all()
    row = planes.doubt[0, 14]
    assert np.flatnonzero(row).tolist() == [8, 9, 10, 11, 17, 18, 19, 20]
    assert not planes.doubt[0, 8, 8]  # the corner is sqrt(8) away


def test_what_was_refused_stays_refused():
    """The band does not blur a "not here" that the expert drew beside the lesion."""
    planes = make_planes(blob(32, (10, 10, 9, 9)), blob(32, (10, 19, 9, 3)), tolerance=2)
    assert planes.avoid[14, 19]
    assert not planes.doubt[0, 14, 19]
    assert planes.doubt[0, 14, 9]


@settings(max_examples=60, deadline=None)
@given(
    look=arrays(np.bool_, (24, 24), elements=st.booleans()),
    tolerance=st.sampled_from([0.0, 0.5, 1.0, 2.5, 9.0]),
    sizes=st.booleans(),
)
def test_no_lesion_vanishes(look, tolerance, sizes):
    """Every component keeps a pixel on some scale; sure pixels were drawn, and are not in doubt where they count."""
    import cv2

    planes = make_planes(look, None, tolerance, CELLS if sizes else None)
    kept = planes.look.any(axis=0)
    assert not (kept & ~look).any()
    assert not (planes.look & planes.doubt).any()
    count, labels = cv2.connectedComponents(look.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        assert kept[labels == label].any()


@pytest.mark.parametrize(
    ("box", "scale"), [((20, 20, 1, 1), 0), ((20, 20, 5, 5), 0), ((20, 20, 8, 8), 1), ((20, 20, 30, 30), 2)]
)
def test_sizes_go_to_their_scale(box, scale):
    """Equivalent diameters 1.1, 5.6, 9.0 and 33.9 against cells of 4, 8 and 16 pixels; other scales are free there."""
    look = blob(64, box)
    planes = make_planes(look, None, cells=CELLS)
    for place in range(3):
        assert planes.look[place].any() == (place == scale)
        assert (planes.doubt[place] == (look if place != scale else False)).all()


def test_look_nowhere_stays_look_nowhere():
    """An empty correction has no doubt and no lesion, with every option."""
    planes = make_planes(np.zeros((16, 16), dtype=bool), None, 3.0, CELLS)
    assert not planes.look.any()
    assert not planes.doubt.any()


def test_a_whole_square_is_all_lesion():
    """There is no edge to be in doubt about."""
    planes = make_planes(np.ones((16, 16), dtype=bool), None, 3.0)
    assert planes.look.all()
    assert not planes.doubt.any()
