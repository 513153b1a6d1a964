"""Lesion masks and boxes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.data.mask_file import read_mask
from regaze.data.masks import boxes_to_mask, lesion_masks, lesion_union
from regaze.errors import DataError
from regaze.records import Box, Sample

TRUTH = np.zeros((40, 60), dtype=bool)
TRUTH[10:20, 15:35] = True
TRUTH[30, 50] = True  # a lesion of one pixel


def shared():
    """The folder of real data, or skip."""
    folder = Path(os.environ.get("REGAZE_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    if not (folder / "idrid_native_sample").is_dir():
        pytest.skip("no real data: set REGAZE_SHARED to the folder that holds idrid and idrid_native_sample")
    return folder


def palette(indices, colours, **options):
    """A palette picture of (H, W) indices."""
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    result = Image.new("P", image.size)
    result.putdata(list(image.tobytes()))
    result.putpalette(colours)
    result.info.update(options)
    return result


def rgba(mask, colour, background):
    """(H, W, 4) uint8."""
    return np.where(mask[..., None], np.uint8(colour), np.uint8(background))


PICTURES = {
    "bilevel.tif": Image.fromarray(TRUTH),
    "grey_0_1.png": Image.fromarray(TRUTH.astype(np.uint8)),
    "grey_0_255.png": Image.fromarray(TRUTH.astype(np.uint8) * 255),
    "grey_16_bits.png": Image.fromarray(TRUTH.astype(np.uint16) * 3),
    "palette_0_1.tif": palette(TRUTH, [0, 0, 0, 128, 0, 0]),
    "palette_0_255.tif": palette(TRUTH * 255, list(np.repeat(np.arange(256), 3))),
    "palette_all_black.png": palette(TRUTH, [0, 0, 0, 0, 0, 0]),
    "palette_lesion_first.png": palette(~TRUTH, [255, 255, 255, 0, 0, 0]),
    "palette_transparent.png": palette(~TRUTH, [9, 9, 9, 8, 8, 8], transparency=1),
    "rgb.png": Image.fromarray(rgba(TRUTH, [128, 0, 0, 0], [0, 0, 0, 0])[..., :3]),
    "rgba_opaque.png": Image.fromarray(rgba(TRUTH, [128, 0, 0, 255], [0, 0, 0, 255])),
    "rgba_opaque.tif": Image.fromarray(rgba(TRUTH, [0, 0, 7, 255], [0, 0, 0, 255])),
    "rgba_transparent.png": Image.fromarray(rgba(TRUTH, [255, 0, 0, 255], [255, 255, 255, 0])),
    "grey_alpha.png": Image.fromarray(rgba(TRUTH, [255] * 4, [0, 0, 0, 255])[..., 2:]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_way_of_writing_a_mask_is_read_as_the_same_mask(tmp_path, name):
    """However a tool stores a mask, its meaning comes back, down to a lesion of one pixel."""
    PICTURES[name].save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, TRUTH)


def test_levels_of_a_label_picture_all_count(tmp_path):
    """One grey per class: the darkest class is a lesion too, and is not lost to half of the brightest."""
    labels = np.array([[0, 1, 2, 3, 4], [0, 10, 60, 120, 255]], dtype=np.uint8)
    Image.fromarray(labels[:1]).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[False, True, True, True, True]]
    Image.fromarray(labels[1:]).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[False, True, True, True, True]]


@pytest.mark.parametrize("name", ["a.jpg", "again.png"])
def test_lossy_noise_is_not_lesion(tmp_path, name):
    """A mask that went through JPEG comes back as drawn but for its rim, also when saved losslessly later."""
    Image.fromarray(TRUTH.astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=60)
    with Image.open(tmp_path / "a.jpg") as lossy:
        noisy = np.asarray(lossy)
        assert (noisy[~TRUTH] > 0).sum() > 20  # else this test would prove nothing
        lossy.save(tmp_path / "again.png")
    mask = read_mask(tmp_path / name)
    block = np.s_[5:25, 10:40]
    assert (mask[block] != TRUTH[block]).sum() <= 2
    assert mask[:5].sum() == 0


def test_jpeg_noise_of_few_levels_is_not_taken_for_labels(tmp_path):
    """A small JPEG mask may have as few levels as a label picture; its noise is still not lesion."""
    mask = np.zeros((16, 16), dtype=bool)
    mask[:, 2:8] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "a.jpg", quality=30)
    with Image.open(tmp_path / "a.jpg") as lossy:
        noisy = np.asarray(lossy)
    assert len(np.unique(noisy)) <= 8
    assert noisy[~mask].any()  # else this test would prove nothing
    np.testing.assert_array_equal(read_mask(tmp_path / "a.jpg"), mask)


def test_an_empty_mask_is_empty(tmp_path):
    """Black is black in every format: no level is promoted to lesion."""
    for name in ("a.jpg", "a.png", "a.tif"):
        Image.new("RGB", (5, 4)).save(tmp_path / name)
        assert read_mask(tmp_path / name).tolist() == [[False] * 5] * 4


def test_broken_masks_are_named(tmp_path):
    """A mask that cannot be read is an error, not an absent lesion."""
    (tmp_path / "a.tif").write_bytes(b"II*\0 broken")
    with pytest.raises(DataError, match=r"a\.tif"):
        read_mask(tmp_path / "a.tif")


def test_boxes_cover_the_pixels_whose_centres_they_hold():
    """By hand on 10 x 4: edges .2...5 cover columns 2, 3, 4; .25..75 covers rows 1 and 2."""
    mask = boxes_to_mask([Box("lesion", 0.2, 0.25, 0.5, 0.75)], 10, 4)
    expected = np.zeros((4, 10), dtype=bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_boxes_never_vanish_and_stay_inside():
    """A box thinner than a pixel marks the pixel that holds its middle; what lies outside is cut off."""
    for x, column in ((0.0, 0), (0.31, 3), (0.999, 9)):
        mask = boxes_to_mask([Box("lesion", x, 0.5, x + 1e-4, 0.5001)], 10, 4)
        assert np.argwhere(mask).tolist() == [[2, column]]
    assert boxes_to_mask([Box("lesion", -0.5, -0.5, 1.5, 1.5)], 10, 4).all()
    assert not boxes_to_mask([], 10, 4).any()


def sample(tmp_path, **known):
    """A sample with a 60 x 40 photograph."""
    Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    return Sample(id="a", image=tmp_path / "photo.png", label=0, **known)


def test_masks_of_one_type_are_joined_and_types_kept_apart(tmp_path):
    """Several files of one type make one mask; the union is over all types."""
    parts = np.zeros((3, 40, 60), dtype=bool)
    parts[0, 1, 1] = parts[1, 2, 2] = parts[2, 3, 3] = True
    paths = [tmp_path / f"{at}.png" for at in range(3)]
    for path, part in zip(paths, parts, strict=True):
        Image.fromarray(part).save(path)
    known = sample(
        tmp_path,
        origin="masks",
        masks={"haemorrhages": tuple(paths[:2]), "lesion": (paths[2],), "soft_exudates": ()},
    )
    masks = lesion_masks(known)
    assert list(masks) == ["haemorrhages", "lesion"]
    np.testing.assert_array_equal(masks["haemorrhages"], parts[0] | parts[1])
    np.testing.assert_array_equal(masks["lesion"], parts[2])
    np.testing.assert_array_equal(lesion_union(known), parts.any(0))


def test_origin_decides_what_counts(tmp_path):
    """Boxes count with origin boxes only; with nothing known or nothing marked there is no mask."""
    boxes = (Box("lesion", 0, 0, 0.5, 1), Box("hard_exudates", 0.5, 0, 1, 1), Box("lesion", 0.9, 0, 1, 1))
    masks = lesion_masks(sample(tmp_path, origin="boxes", boxes=boxes))
    assert set(masks) == {"lesion", "hard_exudates"}
    assert masks["lesion"].sum() == 40 * 36
    assert masks["hard_exudates"].sum() == 40 * 30
    for known in ({"origin": "none", "boxes": boxes}, {"origin": "boxes"}, {"origin": "masks"}):
        assert lesion_masks(sample(tmp_path, **known)) == {}
        union = lesion_union(sample(tmp_path, **known))
        assert union.shape == (40, 60)
        assert not union.any()


def test_a_mask_of_the_same_aspect_is_brought_to_the_photograph(tmp_path):
    """Masks drawn at another scale are resized any-of: the one-pixel lesion survives."""
    for factor in (3, 1):
        large = np.kron(TRUTH, np.ones((factor, factor), dtype=bool))
        large[0, 0] = True
        Image.fromarray(large).save(tmp_path / "mask.png")
        union = lesion_union(sample(tmp_path, origin="masks", masks={"lesion": (tmp_path / "mask.png",)}))
        expected = TRUTH.copy()
        expected[0, 0] = True
        np.testing.assert_array_equal(union, expected)
    Image.fromarray(TRUTH[::2, ::2]).save(tmp_path / "mask.png")  # half size: enlarged without holes
    union = lesion_union(sample(tmp_path, origin="masks", masks={"lesion": (tmp_path / "mask.png",)}))
    np.testing.assert_array_equal(union, np.kron(TRUTH[::2, ::2], np.ones((2, 2), dtype=bool)))


def test_a_mask_of_another_aspect_names_both_sizes(tmp_path):
    """A mask that belongs to another picture is refused with both sizes."""
    Image.new("1", (60, 41)).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask\.png has 60 x 41 pixels, its photograph .*photo\.png has 60 x 40"):
        lesion_masks(sample(tmp_path, origin="masks", masks={"lesion": (tmp_path / "mask.png",)}))


def test_published_and_shrunk_idrid_masks_agree():
    """The palette TIFFs as published, any-of 4 x 4, are exactly the 1-bit TIFFs of the shrunk copy."""
    native = sorted((shared() / "idrid_native_sample" / "A. Segmentation").rglob("IDRiD_48_*.tif"))
    assert len(native) == 5
    for path in native:
        small = shared() / "idrid" / path.relative_to(shared() / "idrid_native_sample")
        blocks = read_mask(path).reshape(712, 4, 1072, 4).any((1, 3))
        assert blocks.any()
        np.testing.assert_array_equal(blocks, read_mask(small))
