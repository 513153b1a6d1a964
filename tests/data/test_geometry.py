"""One geometry for photograph, masks and maps."""

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regaze.data.geometry import Geometry, field_of_view, resize_any_of
from regaze.data.images import read_photo

SIZES = st.integers(1, 64)


@st.composite
def geometries(draw, largest=90):
    """Windows of every kind: inside, beyond every edge, shrinking and enlarging."""
    width, height = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    side = draw(st.integers(1, largest + 20))
    left, top = draw(st.integers(-side + 1, width - 1)), draw(st.integers(-side + 1, height - 1))
    return Geometry(width, height, left, top, side, draw(SIZES))


def fundus(height=120, width=180, radius=70, level=120, centre=None):
    """A disc on black, as a camera draws it, with a little noise; and the disc's own mask."""
    y, x = np.mgrid[:height, :width] + 0.5
    cx, cy = centre or (width / 2, height / 2)
    disc = (x - cx) ** 2 + (y - cy) ** 2 <= radius**2
    noise = np.random.default_rng(1).integers(0, 6, (height, width, 3))
    return (disc[..., None] * np.array([level, level // 2, level // 4]) + noise).astype(np.uint8), disc


# -- field of view


@pytest.mark.parametrize("level", [30, 60, 120, 240])
@pytest.mark.parametrize("radius", [45, 70, 100])
def test_field_of_view_holds_the_disc_tightly(level, radius):
    """The box never cuts into the disc, dark or bright, cut by the frame or not, and leaves little around."""
    photo, disc = fundus(radius=radius, level=level, centre=(95, 60))
    left, top, right, bottom = field_of_view(photo)
    rows, columns = np.flatnonzero(disc.any(1)), np.flatnonzero(disc.any(0))
    truth = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    outwards = (np.array([left, top, right, bottom]) - truth) * [-1, -1, 1, 1]
    assert (outwards >= 0).all()
    assert (outwards <= 4).all()


def test_field_of_view_is_the_same_place_at_every_scale():
    """A native photograph and its shrunk copy give the same window within the finder's own pixel."""
    photo, _ = fundus(1600, 2400, 950)
    small = cv2.resize(photo, (600, 400), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(np.array(field_of_view(small)) * 4, field_of_view(photo), atol=2 * 2400 / 536 + 4)


@pytest.mark.parametrize("kind", ["bright", "scattered", "black", "tiny object", "one pixel", "dark left only"])
def test_pictures_without_a_dark_surround_keep_the_whole_frame(kind):
    """Industrial pictures, black ones and scattered spots are not cropped: no defect may be cut away."""
    rng = np.random.default_rng(0)
    photo = np.zeros((90, 140, 3), dtype=np.uint8)
    if kind == "bright":
        photo[:] = rng.integers(100, 200, photo.shape)
    elif kind == "scattered":
        photo[20:60, 30:34] = photo[25, 20:100] = photo[40:44, 20:110] = 200
    elif kind == "tiny object":
        photo[40:50, 60:70] = 200
    elif kind == "one pixel":
        photo = photo[:1, :1]
    elif kind == "dark left only":
        photo[:, 70:] = 150
    assert field_of_view(photo) == (0, 0, photo.shape[1], photo.shape[0])


def test_text_burnt_into_the_surround_does_not_widen_the_box():
    """A date beside the disc is not fundus, a disc split by a dark band is whole."""
    photo, _ = fundus(200, 300, 90)
    plain = field_of_view(photo)
    photo[185:190, 5:25] = 255
    assert field_of_view(photo) == plain
    photo[95:101] = 0
    assert field_of_view(photo) == plain


def test_fields_of_view_of_real_photographs():
    """IDRiD's camera draws a disc 852 pixels wide (at 1072 x 712): no box cuts it, none is 3 % wider."""
    shared = Path(os.environ.get("REGAZE_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    if not (shared / "idrid").is_dir():
        pytest.skip("no real data: set REGAZE_SHARED to the folder that holds idrid")
    photos = sorted((shared / "idrid" / "B. Disease Grading").rglob("*.jpg"))[::20]
    assert len(photos) > 10
    boxes = np.array([field_of_view(read_photo(path, 356)) for path in photos])
    widths = boxes[:, 2] - boxes[:, 0]
    assert widths.min() >= 426
    assert widths.max() <= 439
    assert (boxes[:, 1] == 0).all()
    assert (boxes[:, 3] == 356).all()


# -- placing the window


def test_fit_centres_and_pads_to_a_square():
    """By hand: a field of 80 x 60 at (10, 5) in 100 x 70 becomes a window of 80 from (10, -5)."""
    assert Geometry.fit(100, 70, (10, 5, 90, 65), 16) == Geometry(100, 70, 10, -5, 80, 16)
    assert Geometry.fit(100, 70, (0, 0, 100, 70), 16) == Geometry(100, 70, 0, -15, 100, 16)


@given(st.data(), st.integers(1, 60), st.integers(1, 60))
@settings(deadline=None)  # a busy machine is no failure
def test_fit_never_loses_the_field_of_view(data, width, height):
    """The window holds the whole field, and its centre is the field's within half a pixel."""
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    field = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    shape = Geometry.fit(width, height, field, 8)
    left, top, right, bottom = field
    assert shape.left <= left
    assert shape.top <= top
    assert shape.left + shape.side >= right
    assert shape.top + shape.side >= bottom
    assert shape.side == max(right - left, bottom - top)
    assert abs(2 * shape.left + shape.side - left - right) <= 1
    assert abs(2 * shape.top + shape.side - top - bottom) <= 1


@pytest.mark.parametrize("field", [(5, 0, 5, 9), (0, 9, 5, 3)])
def test_empty_fields_and_sizes_are_refused(field):
    """A window needs an area."""
    with pytest.raises(ValueError, match="is empty"):
        Geometry.fit(10, 10, field, 8)
    with pytest.raises(ValueError, match="at least 1"):
        Geometry.fit(10, 10, (0, 0, 10, 10), 0)


# -- masks


def exact_cell(shape, x, y):
    """The cell that holds a pixel's centre, in fractions; None outside the window."""
    scale = Fraction(shape.size, shape.side)
    cell = [((2 * at + 1 - 2 * start) * scale / 2).__floor__() for at, start in ((x, shape.left), (y, shape.top))]
    return tuple(cell) if all(0 <= at < shape.size for at in cell) else None


@given(st.data(), geometries())
@settings(deadline=None)  # a busy machine is no failure
def test_a_one_pixel_lesion_survives_in_its_cell(data, shape):
    """Inside the window one true pixel reaches the cell that holds its centre; outside it reaches none."""
    x, y = data.draw(st.integers(0, shape.width - 1)), data.draw(st.integers(0, shape.height - 1))
    mask = np.zeros((shape.height, shape.width), dtype=bool)
    mask[y, x] = True
    small = shape.mask(mask)
    cell = exact_cell(shape, x, y)
    if cell is None:
        assert not small.any()
        return
    assert small[cell[1], cell[0]]
    if shape.side >= shape.size:
        assert small.sum() == 1
    else:  # enlarged: every cell whose centre lies in the pixel, a filled rectangle without holes
        rows, columns = np.flatnonzero(small.any(1)), np.flatnonzero(small.any(0))
        assert small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == small.sum()


@given(geometries(largest=40), st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_masks_against_a_plain_loop(shape, seed, share):
    """When shrinking, the mask is what a loop over pixels says: no cell more, no cell less."""
    assume(shape.side >= shape.size)
    mask = np.random.default_rng(seed).random((shape.height, shape.width)) < share
    expected = np.zeros((shape.size, shape.size), dtype=bool)
    for y, x in np.argwhere(mask):
        if (cell := exact_cell(shape, x, y)) is not None:
            expected[cell[1], cell[0]] = True
    np.testing.assert_array_equal(shape.mask(mask), expected)


@given(geometries())
@settings(deadline=None)  # a busy machine is no failure
def test_a_full_mask_has_no_holes(shape):
    """The photograph's whole area is true in cropped pixels, shrunk or enlarged; only padding is False."""
    small = shape.mask(np.ones((shape.height, shape.width), dtype=bool))
    centres = (np.arange(shape.size) + 0.5) * shape.side / shape.size
    half = shape.side / shape.size / 2
    x, y = centres + shape.left, centres + shape.top
    touching = (x > -half) & (x < shape.width + half), (y > -half) & (y < shape.height + half)
    assert not small[~(touching[1][:, None] & touching[0][None, :])].any()
    # A shrunk cell at the photograph's edge may hold no pixel's centre; one that lies wholly inside must.
    margin = half if shape.side >= shape.size else 0.0
    inside = (x >= margin) & (x <= shape.width - margin), (y >= margin) & (y <= shape.height - margin)
    strict = (x > 0) & (x < shape.width), (y > 0) & (y < shape.height)
    assert small[(inside[1] & strict[1])[:, None] & (inside[0] & strict[0])[None, :]].all()


@pytest.mark.parametrize("shape", [Geometry(200, 150, 20, -10, 170, 170), Geometry(200, 150, 3, 5, 300, 300)])
def test_crop_and_lay_back_keeps_a_big_mask(shape):
    """At equal resolution a big lesion comes back with IoU above .95 (exactly, inside the window)."""
    y, x = np.mgrid[: shape.height, : shape.width]
    mask = (x - 100) ** 2 / 2 + (y - 75) ** 2 < 45**2
    back = shape.map_to_original(shape.mask(mask).astype(np.float32)) >= 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.95


def test_wrong_shapes_are_refused():
    """Arrays of another photograph or size do not pass silently."""
    shape = Geometry(20, 10, 0, 0, 20, 8)
    with pytest.raises(ValueError, match="The mask has shape"):
        shape.mask(np.zeros((20, 10), dtype=bool))
    with pytest.raises(ValueError, match="The array has 10 x 20 pixels, the photograph 20 x 10"):
        shape.image(np.zeros((20, 10, 3), dtype=np.uint8))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
@settings(deadline=None)  # a busy machine is no failure
def test_resizing_loses_no_pixel(width, height, new_width, new_height, seed):
    """Every true pixel is found again in the pixel of the result that holds its centre."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    resized = resize_any_of(mask, new_width, new_height)
    assert resized.shape == (new_height, new_width)
    assert mask.any() == resized.any()
    for y, x in np.argwhere(mask):
        assert resized[(2 * y + 1) * new_height // (2 * height), (2 * x + 1) * new_width // (2 * width)]


# -- images


def test_shrinking_is_the_area_mean():
    """By hand: 2 x 2 blocks become their mean, and cv2's INTER_AREA agrees where sides do not divide."""
    photo = np.zeros((4, 4, 3), dtype=np.uint8)
    photo[:2, :2] = [[[10, 0, 0], [20, 0, 0]], [[30, 0, 0], [40, 0, 0]]]
    small = Geometry(4, 4, 0, 0, 4, 2).image(photo)
    assert small[..., 0].tolist() == [[25, 0], [0, 0]]
    photo = np.random.default_rng(0).integers(0, 256, (97, 97, 3), dtype=np.uint8)
    reference = cv2.resize(photo, (31, 31), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(Geometry(97, 97, 0, 0, 97, 31).image(photo), reference.astype(int), atol=1)


def test_enlarging_is_bilinear_and_equal_size_is_exact():
    """At equal size the pixels are untouched; enlarging agrees with cv2's bilinear."""
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Geometry(20, 20, 0, 0, 20, 20).image(photo), photo)
    reference = cv2.resize(photo, (50, 50), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(Geometry(20, 20, 0, 0, 20, 50).image(photo), reference.astype(int), atol=2)


@pytest.mark.parametrize("size", [6, 30, 60])
def test_padding_is_black_and_the_window_is_cut_out(size):
    """Beyond the photograph there is black, in it the photograph, at every scale."""
    photo = np.full((20, 20, 3), 200, dtype=np.uint8)
    cropped = Geometry(20, 20, -5, 5, 30, size).image(photo)
    third = size // 6
    assert (cropped[: third * 3, third : third * 5] == 200).all()
    assert (cropped[:, :third] == 0).all()
    assert (cropped[:, third * 5 :] == 0).all()
    assert (cropped[third * 3 :] == 0).all()


def test_the_picture_by_hand():
    """A wide photograph lies between two bars, at every size; a field of view inside it leaves none."""
    whole = Geometry.fit(200, 64, (0, 0, 200, 64), 200)
    assert whole.picture == (slice(68, 132), slice(0, 200))
    assert Geometry.fit(200, 64, (0, 0, 200, 64), 100).picture == (slice(34, 66), slice(0, 100))
    assert Geometry.fit(64, 200, (0, 0, 64, 200), 400).picture == (slice(0, 400), slice(136, 264))
    assert Geometry.fit(200, 64, (50, 0, 110, 60), 30).picture == (slice(0, 30), slice(0, 30))
    assert Geometry.fit(200, 64, (0, 0, 100, 64), 50).picture == (slice(9, 41), slice(0, 50))


@given(geometries(largest=60))
@settings(max_examples=80, deadline=None)
def test_the_picture_holds_every_mask(shape):
    """The picture is where a mask that covers the whole photograph lies."""
    everything = shape.mask(np.ones((shape.height, shape.width), dtype=bool))
    assume(everything.any())
    inside = np.zeros((shape.size, shape.size), dtype=bool)
    inside[shape.picture] = True
    np.testing.assert_array_equal(inside, everything)


@given(geometries(largest=60), st.data())
@settings(max_examples=80, deadline=None)
def test_image_and_mask_agree(shape, data):
    """A white square in the photograph lands on the cropped pixels of its mask, and on no others."""
    x0, y0 = data.draw(st.integers(0, shape.width - 1)), data.draw(st.integers(0, shape.height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, shape.width)), data.draw(st.integers(y0 + 1, shape.height))
    mask = np.zeros((shape.height, shape.width), dtype=bool)
    mask[y0:y1, x0:x1] = True
    image = shape.image(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))[..., 0]
    small = shape.mask(mask)
    assert small[image > 128].all()
    if shape.side < shape.size:
        assert (image[small] >= 63).all()  # bilinear: half weight or more along either axis
    elif (shape.side / shape.size) ** 2 <= 120:  # a quarter of a pixel or more of the cell is white, and not lost
        assert (image[small] > 0).all()


@pytest.mark.parametrize(("width", "height"), [(320, 240), (321, 243), (327, 241)])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_photograph_gives_the_same_crop(width, height, factor):
    """A decode at a reduced scale, sides rounded up, lands on the same cropped pixels as the full one."""
    rows, columns = np.mgrid[: height + 8, : width + 8]
    wave = 128 + 60 * np.sin(rows / 25) + 60 * np.cos(columns / 31)
    photo = np.repeat(wave[..., None], 3, axis=2).round().astype(np.uint8)
    high, wide = -(-height // factor), -(-width // factor)
    blocks = photo[: high * factor, : wide * factor].reshape(high, factor, wide, factor, 3)
    reduced = blocks.mean((1, 3)).round().astype(np.uint8)
    shape = Geometry(width, height, 35, -20, 250, 25)
    full = shape.image(photo[:height, :width]).astype(int)
    difference = np.abs(full - shape.image(reduced))
    assert difference[3:-4, 1:-1].max() <= 3
    assert full.max() > 150


# -- maps


def test_a_map_comes_back_bilinear():
    """By hand on one row: cells 0 and 1 over 4 pixels read 0, .25, .75, 1; outside the window 0."""
    values = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    back = Geometry(6, 4, 1, 0, 4, 2).map_to_original(values)
    np.testing.assert_allclose(back, [[0, 0, 0.25, 0.75, 1, 0]] * 4, atol=1e-6)
    assert back.dtype == np.float32
    wide = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    reference = cv2.resize(wide, (91, 91), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(Geometry(91, 91, 0, 0, 91, 28).map_to_original(wide), reference, atol=1e-3)


@given(st.data(), st.integers(1, 24), st.integers(1, 24))
@settings(max_examples=60, deadline=None)
def test_a_bright_cell_comes_back_where_it_was(data, rows, columns):
    """The centre of mass of one bright cell lies within half a cell of the cell's place in the photograph."""
    side = data.draw(st.integers(max(rows, columns), 120))
    shape = Geometry(
        150,
        130,
        data.draw(st.integers(0, 150 - side)),
        data.draw(st.integers(0, max(0, 130 - side))),
        side,
        16,
    )
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    values = np.zeros((rows, columns), dtype=np.float32)
    values[row, column] = 1.0
    back = shape.map_to_original(values)
    y, x = np.mgrid[:130, :150] + 0.5
    centre = shape.left + (column + 0.5) * side / columns, shape.top + (row + 0.5) * side / rows
    assert back.sum() > 0
    assert abs((back * x).sum() / back.sum() - centre[0]) <= side / columns / 2 + 1e-3
    assert abs((back * y).sum() / back.sum() - centre[1]) <= side / rows / 2 + 1e-3


@given(geometries())
@settings(deadline=None)  # a busy machine is no failure
def test_a_constant_map_fills_the_window_and_nothing_else(shape):
    """Negative values too: zero is kept for what the model has not seen."""
    back = shape.map_to_original(np.full((3, 5), -2.0, dtype=np.float32))
    y, x = np.mgrid[: shape.height, : shape.width] + 0.5
    window = (x > shape.left) & (x < shape.left + shape.side) & (y > shape.top) & (y < shape.top + shape.side)
    np.testing.assert_array_equal(back, np.where(window, np.float32(-2), np.float32(0)))
