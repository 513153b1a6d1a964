"""Formats that people bring beside JPEG, PNG, TIFF and WebP, deep greys and colours, and files that are no pictures."""

import io
import os
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin, features

from regaze.data.images import content_hash, is_picture, pages, photo_orientation, photo_size, read_photo
from regaze.errors import DataError
from regaze.orientation import stored_pixels, upright_pixels


def colours(height=40, width=60, most=256, dtype=np.uint8):
    """(H, W, 3) of smooth levels up to `most` - 1, which every packing keeps well."""
    rows, columns = np.mgrid[:height, :width]
    ramp = np.stack([rows / height, columns / width, (rows + columns) / (height + width)], -1)
    ramp[0, 0] = 1
    return (ramp * (most - 1)).astype(dtype)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    """AVIF is read where Pillow can."""
    Image.fromarray(colours()).save(tmp_path / "a.avif", quality=100)
    assert np.abs(read_photo(tmp_path / "a.avif").astype(int) - colours()).max() <= 12
    assert photo_size(tmp_path / "a.avif") == (60, 40)


def test_gif_gives_its_first_frame_and_says_how_many(tmp_path):
    """A GIF's first frame is the photograph; how many pictures a file holds can be asked, of a TIFF too."""
    first, second = (Image.fromarray(np.full((4, 6), level, np.uint8)) for level in (200, 20))
    for name in ("a.gif", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=[second, first])
        assert (read_photo(tmp_path / name) == 200).all()
        assert pages(tmp_path / name) == 3
    first.save(tmp_path / "one.gif")
    assert pages(tmp_path / "one.gif") == 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "rgb.png", "rgb.tif", "rgba.png"])
def test_levels_of_more_than_8_bits_keep_their_light(tmp_path, name, bits):
    """A camera's 10 to 16 bits in a file of 16 come out as their upper 8, in greys and in colours."""
    deep = colours(most=2**bits, dtype=np.uint16)
    kind = name.split(".")[0]
    written = {"grey": deep[..., 0], "rgb": deep[..., ::-1]}.get(kind)
    if written is None:
        written = np.dstack([deep[..., ::-1], np.full(deep.shape[:2], 65535, np.uint16)])
    assert cv2.imwrite(str(tmp_path / name), written)
    expected = (deep >> (bits - 8)).astype(np.uint8)
    if kind == "grey":
        expected = np.repeat(expected[..., :1], 3, axis=2)
    np.testing.assert_array_equal(read_photo(tmp_path / name), expected)


def test_32_bit_greys_are_not_all_white(tmp_path):
    """Levels above 65535 count by the bits that they need, and are not clipped."""
    Image.fromarray((np.arange(6, dtype=np.int32) * 40_000_000).reshape(2, 3)).save(tmp_path / "a.tif")
    assert read_photo(tmp_path / "a.tif")[..., 0].tolist() == [[0, 38, 76], [114, 152, 190]]


def float_tiff(path):
    """An RGB TIFF of 32-bit floating-point numbers, which Pillow can neither write nor read."""
    assert cv2.imwrite(str(path), colours().astype(np.float32) / 255, [cv2.IMWRITE_TIFF_COMPRESSION, 1])


def test_what_a_file_is_instead_of_a_picture_is_said_with_the_cure(tmp_path):
    """One line names what the file is, and what to do about it."""
    float_tiff(tmp_path / "float.tif")
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (tmp_path / "pointer.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "empty.png").write_bytes(b"")
    expected = {
        "float.tif": "a TIFF of floating-point numbers of 32 bits in 3 channels): export it with 8 or 16 bits",
        "a.npy": "it is a NumPy array): save it as PNG",
        "a.jxl": "it is a JPEG XL): convert it to PNG",
        "pointer.png": "it is a pointer of Git LFS): fetch the file itself",
        "empty.png": "it is empty): replace the file",
    }
    for name, words in expected.items():
        with pytest.raises(DataError) as caught:
            read_photo(tmp_path / name)
        assert words in str(caught.value), name
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("after", [False, True])
def test_a_huge_text_does_not_spoil_the_pixels(tmp_path, after):
    """A PNG with 3 MB of XMP, before or behind its pixels, is read: nothing in it concerns the picture."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    buffer = io.BytesIO()
    Image.fromarray(colours()).save(buffer, format="PNG", pnginfo=texts)
    data = buffer.getvalue()
    if after:
        start = data.index(b"iTXt") - 4
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        closing = data.index(b"IEND") - 4
        data = data[:start] + data[end:closing] + data[start:end] + data[closing:]
        assert zlib.crc32(b"IEND") == int.from_bytes(data[-4:], "big")  # still a PNG
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), colours())


def test_pipes_folders_and_devices_are_one_line_and_do_not_hang(tmp_path):
    """What is no plain file is refused before it is opened, by every door."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", type(tmp_path)("/dev/zero")):
        for door in (read_photo, photo_size, content_hash, pages, photo_orientation):
            with pytest.raises(DataError, match="is a folder, pipe or device"):
                door(path)
        assert not is_picture(path)


@pytest.mark.parametrize("turn", range(1, 9))
def test_upright_is_what_viewers_show(tmp_path, turn):
    """Each EXIF orientation turns an array as Pillow's own transposition does, and back; the stored frame stays."""
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(colours(5, 7)).save(tmp_path / "a.png", exif=exif)
    assert photo_orientation(tmp_path / "a.png") == turn
    stored = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(stored, colours(5, 7))
    with Image.open(tmp_path / "a.png") as image:
        seen = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright_pixels(stored, turn), seen)
    np.testing.assert_array_equal(stored_pixels(seen, turn), stored)


def test_a_photograph_without_or_with_damaged_exif_is_upright(tmp_path):
    """No orientation, one beyond 8, and EXIF that cannot be parsed all mean: as stored."""
    Image.fromarray(colours()).save(tmp_path / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 9
    Image.fromarray(colours()).save(tmp_path / "b.jpg", exif=exif)
    Image.fromarray(colours()).save(tmp_path / "c.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert [photo_orientation(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [1, 1, 1]


def test_a_large_transparent_photograph_takes_little_more_than_itself(tmp_path):
    """Conversion goes strip by strip: an RGBA picture takes its own pixels and the result, not six copies."""
    side = 4000
    Image.new("RGBA", (side, side), (200, 100, 50, 128)).save(tmp_path / "a.png", compress_level=1)
    code = (
        "import resource, sys; from pathlib import Path; from regaze.data.images import read_photo; import cv2\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert read_photo(Path(sys.argv[1])).shape[2] == 3\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    scale = 1 if sys.platform == "darwin" else 1024
    assert int(run.stdout) * scale < 11 * side * side  # 4 + 3 bytes a pixel, and a strip's copies
