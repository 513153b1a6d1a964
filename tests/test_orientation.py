"""EXIF orientation, held to Pillow's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from regaze.data.boxes import with_boxes
from regaze.data.images import photo_orientation, photo_size
from regaze.orientation import stored_pixels, stored_point, upright_pixels, upright_point, upright_size
from regaze.records import Sample

ORIENTATIONS = range(1, 9)
PIXELS = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7)


def saved(path, orientation, pixels=PIXELS):
    """A file with that orientation in its EXIF, 16 times as large as the pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.kron(pixels, np.ones((16, 16), np.uint8))).save(path, exif=exif)
    return path


@given(
    st.integers(1, 8),
    *(st.integers(1, 30) for _ in "wh"),
    st.floats(-0.5, 1.5).map(lambda share: round(share * 64) / 64),
    st.floats(-0.5, 1.5).map(lambda share: round(share * 64) / 64),
)
def test_turning_and_turning_back_changes_nothing(orientation, width, height, across, down):
    """Of points, in and outside, of sizes and of pixels; and a pixel goes where its centre goes."""
    upright = upright_size(width, height, orientation)
    assert upright_size(*upright, orientation) == (width, height)
    point = (across * width, down * height)
    assert stored_point(upright_point(point, *upright, orientation), *upright, orientation) == point
    stored = np.arange(height * width).reshape(height, width)
    turned = upright_pixels(stored, orientation)
    assert turned.shape == upright[::-1]
    np.testing.assert_array_equal(stored_pixels(turned, orientation), stored)
    row, column = height // 2, width // 3
    x, y = upright_point((column + 0.5, row + 0.5), *upright, orientation)
    assert turned[int(y), int(x)] == stored[row, column]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_and_points_turn_as_pillow_turns(tmp_path, orientation):
    """There and back; a pixel's centre goes where the pixel goes."""
    with Image.open(saved(tmp_path / "a.png", orientation)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))[::16, ::16]
    turned = upright_pixels(PIXELS, orientation)
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(stored_pixels(turned, orientation), PIXELS)
    assert upright_size(7, 5, orientation) == expected.shape[::-1]
    height, width = expected.shape
    for row, column in ((0, 0), (1, 4), (4, 2)):
        x, y = upright_point((column + 0.5, row + 0.5), width, height, orientation)
        assert expected[int(y), int(x)] == PIXELS[row, column]
        assert stored_point((x, y), width, height, orientation) == (column + 0.5, row + 0.5)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [*ORIENTATIONS, 0, 9])
def test_the_orientation_of_a_file(tmp_path, suffix, orientation):
    """A number that is none counts as 1, and so does a TIFF's, which Pillow turns itself."""
    path = saved(tmp_path / f"a.{suffix}", orientation)
    known = orientation if suffix != "tif" and 1 <= orientation <= 8 else 1
    assert photo_orientation(path) == known
    if suffix != "tif":
        assert photo_size(path) == (112, 80)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_of_a_data_set_were_drawn_on_the_turned_picture(tmp_path, orientation):
    """YOLO gives no size, and its tools turn: said where it matters."""
    path = saved(tmp_path / "eye.jpg", orientation)
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / "classes.txt").write_text("EX")
    (folder / "eye.txt").write_text("0 .25 .125 .25 .125")
    (sample,), notes = with_boxes([Sample("eye", path, 0)], folder)
    (box,) = sample.boxes
    stored = np.zeros((80, 112), bool)
    stored[round(box.y0 * 80) : round(box.y1 * 80), round(box.x0 * 112) : round(box.x1 * 112)] = True
    width, height = upright_size(112, 80, orientation)
    expected = np.zeros((height, width), bool)
    expected[height // 16 : height * 3 // 16, width // 8 : width * 3 // 8] = True
    np.testing.assert_array_equal(upright_pixels(stored, orientation), expected)
    assert any("EXIF turns 1 of these photographs" in note for note in notes) == (orientation != 1)
