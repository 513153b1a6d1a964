"""What a mask file means: instances, soft edges, alpha, pages, and classes that are named."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from regaze.data.mask_file import named_values, read_marks, read_mask, read_regions
from regaze.errors import DataError

SQUARES = np.zeros((60, 80), np.int32)  # 20 squares of 5 x 5, numbered from 1: 500 pixels
for _number in range(20):
    _row, _column = divmod(_number, 5)
    SQUARES[4 + 14 * _row : 9 + 14 * _row, 4 + 15 * _column : 9 + 15 * _column] = _number + 1
TRUTH = SQUARES > 0


def dense():
    """Touching cells of some 12 pixels, numbered at random."""
    rows, columns = np.mgrid[:60, :80]
    seeds = np.random.default_rng(0).uniform((0, 0), (60, 80), (40, 2))
    labels = np.argmin((rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2, axis=2) + 1
    labels[:, :10] = 0
    return labels.astype(np.uint16)


def scattered():
    """Forty marks of one pixel, each with its own number."""
    labels = np.zeros((60, 80), np.uint16)
    labels[3::12, 3::10] = np.arange(1, 41).reshape(5, 8)
    return labels


def in_colours(labels):
    """(H, W, 3) with a colour of its own, dark or bright, for each number."""
    palette = np.random.default_rng(1).integers(1, 256, (labels.max() + 1, 3)).astype(np.uint8)
    palette[0] = 0
    palette[1:] = palette[1:] // np.linspace(1, 40, len(palette) - 1)[:, None].astype(np.uint8) + 1
    return palette[labels]


INSTANCES = {
    "8 bits.png": SQUARES.astype(np.uint8),
    "16 bits.png": SQUARES.astype(np.uint16),
    "32 bits.tif": SQUARES,
    "gaps.png": (SQUARES * 37 % 501 + TRUTH).astype(np.uint16),
    "floats.tif": SQUARES.astype(np.float32),
    "floats to 1.tif": (SQUARES / 20).astype(np.float32),
    "spread to 255.png": (SQUARES * 12).astype(np.uint8),
    "colours.png": in_colours(SQUARES),
    "dense.png": dense(),
    "dense.tif": dense().astype(np.int32) * 1000,
    "scattered.png": scattered(),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_every_instance_is_lesion(tmp_path, name):
    """Numbered areas, however numbered and stored, are all marks: the first as much as the last."""
    labels = INSTANCES[name]
    Image.fromarray(labels).save(tmp_path / name)
    expected = labels.max(axis=2) > 0 if labels.ndim == 3 else labels > 0
    assert expected.sum() in (500, 40, 60 * 70)
    np.testing.assert_array_equal(read_mask(tmp_path / name), expected)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 6.0, 15.0])
@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "floats"])
def test_soft_edges_are_still_cut_at_half(tmp_path, sigma, kind):
    """A blurred mark is no set of instances: its faint border is no lesion, at 8 bits, 16 and in floats."""
    disc = cv2.circle(np.zeros((120, 160), np.float32), (80, 60), 40, 1.0, -1)
    soft = cv2.GaussianBlur(disc, (0, 0), sigma)
    soft /= soft.max()
    written = {"8 bits": (soft * 255).round().astype(np.uint8), "16 bits": (soft * 65535).round().astype(np.uint16)}
    Image.fromarray(written.get(kind, soft)).save(tmp_path / "a.tif")
    mask = read_mask(tmp_path / "a.tif")
    values = written.get(kind, soft)
    np.testing.assert_array_equal(mask, values >= values.max() / 2)
    assert (values > 0).sum() > mask.sum() + 100  # else this test would prove nothing


def test_antialiased_drawings_are_cut_at_half(tmp_path):
    """Edges that a drawing program smooths are no instances."""
    drawn = np.zeros((200, 200), np.uint8)
    for number in range(12):
        centre = (int(40 + 35 * (number % 4)), int(40 + 50 * (number // 4)))
        cv2.ellipse(drawn, centre, (14, 9), 17.0 * number, 0, 360, 255, -1, cv2.LINE_AA)
    assert len(np.unique(drawn)) > 8
    Image.fromarray(drawn).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), drawn >= 127.5)


@pytest.mark.parametrize("value", [0.9, 0.3, 1.0, 255.0, 1e-3])
def test_floats_keep_their_marks(tmp_path, value):
    """A floating-point mask marks what is above 0; what is no number marks nothing."""
    values = np.where(TRUTH, value, 0).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, -1
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), TRUTH)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_paint_on_transparency_is_a_mask(tmp_path, mode):
    """Where all paint is black, what is opaque is the mask; an opaque black picture is empty."""
    rgba = np.zeros((*TRUTH.shape, 4), np.uint8)
    rgba[..., 3] = TRUTH * 255
    if mode == "P":
        image = Image.fromarray(TRUTH.astype(np.uint8)).convert("L")
        image.putdata((~TRUTH).astype(np.uint8).ravel().tolist())
        image = image.convert("P")
        image.putpalette([0] * 6)
        image.info["transparency"] = bytes([255, 0])
    else:
        image = Image.fromarray(rgba).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), TRUTH)
    Image.fromarray(np.dstack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)])).save(tmp_path / "b.png")
    assert not read_mask(tmp_path / "b.png").any()


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png"])
def test_every_page_marks(tmp_path, name):
    """One lesion, or one expert, per page: what any page marks is marked."""
    pages = [Image.fromarray((np.isin(SQUARES, range(low + 1, low + 11))).astype(np.uint8) * 255) for low in (0, 10)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_mask(tmp_path / name), TRUTH)


def test_pages_of_two_sizes_are_refused(tmp_path):
    """Pages that cannot lie on one photograph are one line."""
    Image.new("L", (6, 4)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (3, 2))])
    with pytest.raises(DataError, match=r"a\.tif has 6 x 4 pixels on its first page and 3 x 2 on page 2"):
        read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a.pgm"])
def test_plain_formats_are_read(tmp_path, name):
    """DRIVE's GIFs, and what Paint writes."""
    Image.fromarray(TRUTH.astype(np.uint8) * 255).save(tmp_path / name)
    np.testing.assert_array_equal(read_mask(tmp_path / name), TRUTH)


CLASSES = np.zeros((30, 40), np.uint8)
for _value, _place in enumerate((np.s_[2:6, 2:6], np.s_[10:15, 2:6], np.s_[2:5, 20:30], np.s_[20:28, 20:32]), start=1):
    CLASSES[_place] = _value


def write_classes(path, kind):
    """Write `CLASSES` as greys, a palette, or grey RGB."""
    image = Image.fromarray(CLASSES)
    if kind == "palette":
        image = image.convert("P")
        image.putdata(CLASSES.ravel().tolist())
        image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    elif kind == "rgb":
        image = image.convert("RGB")
    elif kind == "16 bits":
        image = Image.fromarray(CLASSES.astype(np.uint16))
    image.save(path)


@pytest.mark.parametrize("kind", ["grey", "palette", "rgb", "16 bits"])
def test_named_classes_are_told_apart_and_landmarks_left_out(tmp_path, kind):
    """Each value is the lesion that it is named; two values may be one type, and the disc is none."""
    write_classes(tmp_path / "a.png", kind)
    regions = read_regions(tmp_path / "a.png", named_values("1=MA, 2=hard exudates,3=EX,4=OD"))
    assert set(regions) == {"microaneurysms", "hard_exudates"}
    np.testing.assert_array_equal(regions["microaneurysms"], CLASSES == 1)
    np.testing.assert_array_equal(regions["hard_exudates"], (CLASSES == 2) | (CLASSES == 3))


def test_named_colours_are_told_apart(tmp_path):
    """Classes may be colours; transparent pixels are background."""
    colours = np.array([[0, 0, 0, 255], [255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 0]], np.uint8)
    Image.fromarray(colours[CLASSES]).save(tmp_path / "a.png")
    regions = read_regions(tmp_path / "a.png", named_values("#FF0000=HE,#00ff00=optic disc,#0000ff=drusen"))
    assert set(regions) == {"haemorrhages", "lesion"}
    np.testing.assert_array_equal(regions["haemorrhages"], CLASSES == 1)
    np.testing.assert_array_equal(regions["lesion"], CLASSES == 3)
    with pytest.raises(DataError, match=r"a\.png is in colour: name its colours"):
        read_regions(tmp_path / "a.png", named_values("1=HE"))


def test_a_value_without_a_name_is_refused(tmp_path):
    """No mark is lost for want of a name: the value and its pixels are said."""
    write_classes(tmp_path / "a.png", "grey")
    with pytest.raises(DataError, match=r"a\.png holds the value 4 \(96 pixels\), which --mask-classes does not name"):
        read_regions(tmp_path / "a.png", named_values("1=MA,2=HE,3=EX"))


@pytest.mark.parametrize("text", ["", "MA", "1=", "=MA", "1=MA,1=HE", "-1=MA", "#ff00=MA", "1=MA;2=HE=3", "1=MA,"])
def test_unreadable_names_are_refused(text):
    """A slip in --mask-classes is one line with an example."""
    with pytest.raises(DataError, match=r"--mask-classes .* is not VALUE=NAME"):
        named_values(text)


def test_values_that_may_be_classes_are_told(tmp_path):
    """Who reads a mask can say that it holds several values; 0/255, instances and soft edges do not."""
    for kind in ("grey", "palette", "rgb"):
        write_classes(tmp_path / "a.png", kind)
        values = ("#010101", "#020202", "#030303", "#040404") if kind == "rgb" else ("1", "2", "3", "4")
        assert read_marks(tmp_path / "a.png").values == values
    for plain in (TRUTH.astype(np.uint8) * 255, SQUARES.astype(np.uint16), ndimage.gaussian_filter(TRUTH * 255.0, 2)):
        Image.fromarray(plain.astype(np.float32) if plain.dtype == np.float64 else plain).save(tmp_path / "b.tif")
        assert read_marks(tmp_path / "b.tif").values == ()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("scale", [1, 200, 256, 3000])
def test_colours_of_16_bits_keep_their_low_levels(tmp_path, suffix, scale):
    """Pillow gives the upper bytes of 16 bits in each channel alone; marks in the lower ones are no less marks."""
    levels = (SQUARES * scale).astype(np.uint16)
    file = tmp_path / f"m.{suffix}"
    cv2.imwrite(str(file), np.dstack([levels] * 3))
    np.testing.assert_array_equal(read_mask(file), TRUTH)
    regions = read_regions(file, {str(number * scale): "haemorrhages" for number in range(1, 21)}) if scale == 1 else {}
    assert all((region == TRUTH).all() for region in regions.values())
    assert len(regions) == (scale == 1)


def test_a_piece_cut_out_of_a_photograph_is_its_outline(tmp_path):
    """Colours inside are the photograph's, however dark: transparency is the mask."""
    pixels = np.random.default_rng(0).integers(1, 255, (*TRUTH.shape, 4), dtype=np.uint8)
    pixels[..., 3] = TRUTH * 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), TRUTH)


@pytest.mark.parametrize("values", [(-1, 0), (20, -1), (128, 20)])
def test_marks_of_odd_values(tmp_path, values):
    """Marks of -1 on 0, labels on -1, and black paint on what is faintly black already, are the marks."""
    mark, ground = values
    found = np.where(TRUTH, mark, ground)
    if mark == 128:
        pixels = np.zeros((*TRUTH.shape, 4), np.uint8)
        pixels[..., 3] = found
        Image.fromarray(pixels).save(tmp_path / "m.png")
    else:
        Image.fromarray(found.astype(np.int32)).save(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_mask(next(tmp_path.iterdir())), TRUTH)
