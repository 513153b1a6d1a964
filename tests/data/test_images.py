"""Reading photographs."""

import hashlib
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.data import images
from regaze.data.images import IMAGE_SUFFIXES, content_hash, jpeg_comment, photo_size, read_photo
from regaze.errors import DataError


def picture(height=6, width=9, seed=0):
    """(H, W, 3) uint8 of random colours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height, width):
    """(H, W, 3) uint8 ramp that JPEG keeps well."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, (rows + columns) // 2 % 256], -1).astype(np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff", "a.webp", "a.bmp", "a.ppm", "a.jp2"])
def test_lossless_formats_come_back_exactly(tmp_path, name):
    """A lossless picture in any allowed format is read exactly, as RGB that the caller may write into."""
    Image.fromarray(picture()).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    read = read_photo(tmp_path / name)
    np.testing.assert_array_equal(read, picture())
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert photo_size(tmp_path / name) == (9, 6)
    assert Path(name).suffix in IMAGE_SUFFIXES


def test_format_is_judged_by_content_not_by_name(tmp_path):
    """A BMP called .png is read as what it is; a format that is not on the list is refused, whatever its name."""
    Image.fromarray(picture()).save(tmp_path / "a.png", format="BMP")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), picture())
    Image.fromarray(picture()).save(tmp_path / "b.png", format="TGA")
    with pytest.raises(DataError, match=r"b\.png cannot be read as a picture \(not one of JPEG.*convert it to PNG"):
        read_photo(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("at_least", "expected"),
    [(None, (200, 301)), (101, (200, 301)), (100, (100, 151)), (50, (50, 76)), (26, (50, 76)), (25, (25, 38)),
     (1, (25, 38)), (9999, (200, 301))],
)  # fmt: skip
def test_jpeg_is_decoded_at_the_smallest_scale_that_is_enough(tmp_path, at_least, expected):
    """The shorter side never falls below at_least; a full-size decode is spared where a reduced one does."""
    Image.fromarray(smooth(200, 301)).save(tmp_path / "a.jpg", quality=95)
    assert read_photo(tmp_path / "a.jpg", at_least).shape[:2] == expected
    assert photo_size(tmp_path / "a.jpg") == (301, 200)


def test_reduced_decode_is_the_block_mean(tmp_path):
    """A reduced decode shows the same place: each pixel is the mean of its block of the full decode."""
    Image.fromarray(smooth(160, 240)).save(tmp_path / "a.jpg", quality=98, subsampling=0)
    full = read_photo(tmp_path / "a.jpg").astype(float)
    blocks = full.reshape(40, 4, 60, 4, 3).mean((1, 3))
    assert np.abs(read_photo(tmp_path / "a.jpg", 40) - blocks).max() < 3


def test_exif_orientation_is_not_applied(tmp_path):
    """Masks and boxes are in stored order, so the photograph stays in stored order too."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), picture())
    assert photo_size(tmp_path / "a.png") == (9, 6)


def test_greys_of_16_bits_keep_their_upper_8(tmp_path):
    """A 16-bit grey is scaled by a fixed range, not clipped at 255 and not stretched per photograph."""
    values = np.array([[0, 255, 256], [32768, 40000, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        expected = np.array([[0, 0, 1], [128, 156, 255]], dtype=np.uint8)
        np.testing.assert_array_equal(read_photo(tmp_path / name), np.repeat(expected[..., None], 3, 2))


def test_8_bit_greys_palettes_and_bilevel_pictures_become_rgb(tmp_path):
    """Greys are repeated, palettes looked up, 1-bit pictures become 0 and 255."""
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "l.png"), np.repeat(grey[..., None], 3, 2))
    palette = Image.new("P", (2, 1))
    palette.putdata([0, 1])
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png"), [[[10, 20, 30], [40, 50, 60]]])
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif")[..., 0], [[255, 0]])


def test_transparent_pixels_become_black(tmp_path):
    """Whatever colour hides under alpha 0 is not part of the photograph; alpha 128 is half as bright."""
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    first, second, third = read_photo(tmp_path / "a.png")[0]
    assert first.tolist() == [200, 100, 50]
    assert second.tolist() == [0, 0, 0]
    np.testing.assert_allclose(third, [100, 50, 25], atol=1)


def test_floating_point_pixels_are_refused(tmp_path):
    """A range that the file does not state is not guessed."""
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif holds floating-point pixels"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_truncated_files_are_one_clear_line(tmp_path, name):
    """A photograph cut off half way is an error that names it, never a half grey picture."""
    Image.fromarray(picture(200, 300)).save(tmp_path / "whole", format=Image.registered_extensions()[Path(name).suffix])
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{name} cannot be read") as caught:
        read_photo(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    """Every door says so in the same words."""
    (tmp_path / "a.jpg").write_bytes(data)
    for door in (read_photo, photo_size, jpeg_comment):
        with pytest.raises(DataError, match=r"a\.jpg cannot be read"):
            door(tmp_path / "a.jpg")


def test_missing_files_are_named(tmp_path):
    """A wrong path is told apart from a broken file."""
    with pytest.raises(DataError, match=r"no picture at .*none\.jpg"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(DataError, match=r"none\.jpg cannot be read"):
        content_hash(tmp_path / "none.jpg")


def test_own_pixel_limit_and_pillow_left_alone(tmp_path, monkeypatch):
    """Our limit holds with Pillow's own left as it is, and its warning does not leak below it."""
    before = Image.MAX_IMAGE_PIXELS
    Image.new("1", (10_000, 9_500)).save(tmp_path / "a.png")  # 95 Mpx: Pillow would warn, we accept
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert photo_size(tmp_path / "a.png") == (10_000, 9_500)
    assert not seen
    monkeypatch.setattr(images, "MAX_PIXELS", 94_000_000)
    with pytest.raises(DataError, match=r"10000 x 9500 pixels, more than 94 million"):
        photo_size(tmp_path / "a.png")
    Image.new("1", (20_000, 10_000)).save(tmp_path / "b.png")  # 200 Mpx: Pillow itself refuses
    with pytest.raises(DataError, match=r"b\.png"):
        photo_size(tmp_path / "b.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_warning_filters_survive_threads(tmp_path):
    """Opening pictures in many threads leaves the process' warning filters as they were."""
    Image.fromarray(picture()).save(tmp_path / "a.png")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [photo_size(tmp_path / "a.png") for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("stored", "expected"), [(b"010820171\0", "010820171"), (b" No ID \0\0", "No ID"), (b"\0", None)]
)
def test_jpeg_comment_is_stripped(tmp_path, stored, expected):
    """IDRiD's visit comes without its NUL; an empty comment counts as none."""
    Image.fromarray(picture()).save(tmp_path / "a.jpg", comment=stored)
    assert jpeg_comment(tmp_path / "a.jpg") == expected


def test_no_comment_is_none(tmp_path):
    """A JPEG without a comment, and a PNG, have none."""
    Image.fromarray(picture()).save(tmp_path / "a.jpg")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert jpeg_comment(tmp_path / "a.jpg") is None
    assert jpeg_comment(tmp_path / "a.png") is None


def test_content_hash_is_blake2b_of_the_bytes(tmp_path):
    """The fingerprint can be derived again with the standard library, and tells contents apart."""
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abd")
    assert content_hash(tmp_path / "a") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")
