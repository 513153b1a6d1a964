"""Masks as PNG bytes."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from regaze.corrections import masks
from regaze.corrections.masks import check_mask, decode_mask, encode_mask
from regaze.errors import CorrectionError

# A busy machine is slow; that is no fault of the code.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_PATIENT
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_every_mask_comes_back_bit_for_bit(mask):
    """Nothing is lost, whatever the size; in particular where the width is no multiple of 8."""
    back = decode_mask(encode_mask(mask), *mask.shape, "a mask")
    assert back.dtype == np.bool_
    np.testing.assert_array_equal(back, mask)
    back[:] = True  # the caller owns it


def test_the_bytes_are_a_png_of_one_bit_that_others_can_read():
    """Another program sees white where the expert said look: bit depth 1, grey, width before height."""
    mask = np.zeros((3, 10), bool)
    mask[1, 9] = True
    png = encode_mask(mask)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") == 10  # IHDR: width, height, bit depth, colour type
    assert int.from_bytes(png[20:24], "big") == 3
    assert png[24] == 1
    assert png[25] == 0
    with Image.open(io.BytesIO(png)) as image:
        np.testing.assert_array_equal(np.array(image.convert("L")), np.where(mask, 255, 0))


def test_views_in_any_memory_order_are_stored_as_they_look():
    """A transposed or strided mask is stored as it indexes, not as it lies in memory."""
    base = np.random.default_rng(0).random((20, 31)) > 0.5
    for view in (base.T, base[::-1, ::2], np.asfortranarray(base)):
        np.testing.assert_array_equal(decode_mask(encode_mask(view), *view.shape, "a view"), view)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2), np.uint8), r"'look' of 's' has dtype uint8, expected bool: .* mask > 0"),
        (np.zeros((2, 2), np.float32), "dtype float32"),
        (np.zeros((2, 2, 1), bool), r"shape \(2, 2, 1\), expected \(H, W\)"),
        (np.zeros(4, bool), r"shape \(4,\), expected \(H, W\)"),
        (np.zeros((0, 5), bool), r"shape \(0, 5\), expected 1 to"),
        ([[True]], "is a list, expected a NumPy array"),
    ],
)
def test_what_is_no_mask_is_refused_with_the_cure(mask, message):
    """A mask of the wrong kind is named with its photograph, its fault and what was expected."""
    with pytest.raises(CorrectionError, match=message):
        check_mask(mask, "look", "s")


def test_a_mask_larger_than_the_limit_is_refused_both_ways(monkeypatch):
    """The limit holds on the way in, and on the way out before any pixel is decoded."""
    monkeypatch.setattr(masks, "MAX_PIXELS", 15)
    mask = np.ones((4, 4), bool)
    with pytest.raises(CorrectionError, match=r"shape \(4, 4\), expected 1 to 15 pixels"):
        check_mask(mask, "look", "s")
    with pytest.raises(CorrectionError, match="claims 4 x 4 pixels"):
        decode_mask(encode_mask(mask), 4, 4, "a mask")


def test_a_mask_of_a_photograph_beyond_pillows_warning_comes_back():
    """What trains can be corrected: 95 million pixels, for which Pillow would warn (an error here)."""
    mask = np.zeros((9_500, 10_000), bool)
    mask[9_499, 9_999] = True
    assert np.flatnonzero(decode_mask(encode_mask(mask), *mask.shape, "a mask")).tolist() == [mask.size - 1]


def test_a_png_that_is_larger_than_the_noted_size_is_refused():
    """Bytes that would unpack to another size than the row says are not unpacked."""
    png = encode_mask(np.ones((300, 200), bool))
    with pytest.raises(CorrectionError, match=r"300 x 200 pixels, expected mode 1 and 3 x 2"):
        decode_mask(png, 3, 2, "a mask")


def test_a_png_with_more_than_one_bit_is_refused():
    """A grey picture in place of a mask is refused, not cut at some level."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 2), 7, np.uint8)).save(buffer, format="PNG")
    with pytest.raises(CorrectionError, match="mode L"):
        decode_mask(buffer.getvalue(), 3, 2, "a mask")


@_PATIENT
@given(st.integers(0, 60), st.binary(max_size=40))
def test_damaged_bytes_raise_our_error_or_none(position, junk):
    """Whatever happened to the bytes, the user sees our message and no stranger's traceback."""
    png = bytearray(encode_mask(np.random.default_rng(1).random((9, 9)) > 0.5))
    png[position : position + len(junk)] = junk
    try:
        back = decode_mask(bytes(png), 9, 9, "a mask")
    except CorrectionError as error:
        assert "a mask" in str(error)
    else:
        assert back.shape == (9, 9)


def test_a_cut_png_is_refused():
    """Half a mask is not filled up with black."""
    png = encode_mask(np.random.default_rng(1).random((64, 64)) > 0.5)
    with pytest.raises(CorrectionError, match="no readable PNG"):
        decode_mask(png[: len(png) // 2], 64, 64, "a mask")
