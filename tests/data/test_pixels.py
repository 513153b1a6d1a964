"""The decoded cache."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.data import pixels
from regaze.data.images import content_hash, read_photo
from regaze.data.masks import lesion_masks
from regaze.data.pixels import load_pixels
from regaze.errors import DataError
from regaze.records import LESION_TYPES, Box, Sample

SIZE = 32


def make_photo(path, seed=0):
    """A fundus of radius 120 in 400 x 260, with a bright spot."""
    y, x = np.mgrid[:260, :400] + 0.5
    disc = (x - 200) ** 2 + (y - 130) ** 2 < 120**2
    photo = disc[..., None] * np.array([150, 80, 40]) + np.random.default_rng(seed).integers(0, 5, (260, 400, 3))
    photo[100:110, 150:160] = 255
    Image.fromarray(photo.astype(np.uint8)).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


@pytest.fixture
def samples(tmp_path):
    """Three samples: masks, boxes, nothing known."""
    result = []
    for at, name in enumerate(("a.jpg", "b.png", "c.jpg")):
        make_photo(tmp_path / name, at)
        result.append(Sample(id=f"set/{at}", image=tmp_path / name, label=at, content=content_hash(tmp_path / name)))
    spot = np.zeros((260, 400), dtype=bool)
    spot[100:110, 150:160] = True
    dot = np.zeros_like(spot)
    dot[200, 210] = dot[105, 155] = True
    Image.fromarray(spot).save(tmp_path / "spot.tif")
    Image.fromarray(dot).save(tmp_path / "dot.png")
    masks = {"hard_exudates": (tmp_path / "spot.tif",), "microaneurysms": (tmp_path / "dot.png",)}
    result[0] = dataclasses.replace(result[0], origin="masks", masks=masks)
    result[1] = dataclasses.replace(result[1], origin="boxes", boxes=(Box("haemorrhages", 0.4, 0.4, 0.5, 0.6),))
    return result


def same(first, second):
    """Whether two results hold the same."""
    return (
        first.geometries == second.geometries
        and np.array_equal(first.images, second.images)
        and np.array_equal(first.lesions, second.lesions)
    )


def entries(folder):
    """The cache's files."""
    return sorted(folder.iterdir())


def test_shapes_order_and_bits(samples):
    """Images and planes come in the samples' order; bit i is lesion type i, and types may overlap."""
    loaded = load_pixels(samples, SIZE, None)
    assert loaded.images.shape == (3, SIZE, SIZE, 3)
    assert loaded.images.dtype == loaded.lesions.dtype == np.uint8
    for place, sample in enumerate(samples):
        known = lesion_masks(sample)
        for bit, lesion in enumerate(LESION_TYPES):
            plane = (loaded.lesions[place] >> bit & 1).astype(bool)
            expected = loaded.geometries[place].mask(known[lesion]) if lesion in known else np.zeros_like(plane)
            np.testing.assert_array_equal(plane, expected)
    assert (loaded.lesions[0] == 0b101).any()  # the dot lies in the spot
    assert loaded.lesions[1].any()
    assert not loaded.lesions[2].any()
    np.testing.assert_array_equal(loaded.union, loaded.lesions > 0)
    assert loaded.union.dtype == np.bool_


def test_image_and_lesion_lie_on_each_other(samples):
    """The photograph's bright spot is where the mask's plane says, after crop and shrinking."""
    loaded = load_pixels(samples[:1], SIZE, None)
    plane = loaded.lesions[0] >> LESION_TYPES.index("hard_exudates") & 1
    blue = loaded.images[0, ..., 2]
    assert plane[blue > 150].all()
    assert (blue[plane.astype(bool)] > 45).all()


def test_the_disc_is_cropped_and_crop_false_keeps_all(samples):
    """The window is the disc (240 wide) plus a margin, or the whole photograph padded to a square."""
    for cropped in load_pixels(samples, SIZE, None).geometries:
        assert 240 <= cropped.side <= 250
        assert 68 <= cropped.left <= 80
    for whole in load_pixels(samples, SIZE, None, crop=False).geometries:
        assert (whole.left, whole.top, whole.side) == (0, -70, 400)


@pytest.mark.parametrize("size", [16, 200, 500])
def test_one_window_at_every_size_and_never_blurred(tmp_path, size):
    """The window does not depend on the size, and the decode behind it keeps at least `size` pixels of it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:1200, :1600] + 0.5
    disc = (x - 800) ** 2 + (y - 600) ** 2 < 550**2
    coarse = np.kron(rng.integers(60, 250, (300, 400, 1)), np.ones((4, 4, 3)))
    Image.fromarray((coarse * disc[..., None]).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    loaded = load_pixels([Sample(id="a", image=tmp_path / "a.jpg", label=0)], size, None)
    shape = loaded.geometries[0]
    assert dataclasses.replace(shape, size=16) == load_pixels(
        [Sample(id="a", image=tmp_path / "a.jpg", label=0)], 16, None
    ).geometries[0]  # fmt: skip
    full = shape.image(read_photo(tmp_path / "a.jpg")).astype(int)
    assert np.abs(full - loaded.images[0]).mean() < 1  # 8 if enlarged from a smaller decode


def test_cache_gives_what_decoding_gives(samples, tmp_path, monkeypatch):
    """Cold, warm and without a cache are equal; the warm call decodes nothing; no temporary file stays."""
    folder = tmp_path / "deep" / "cache"
    plain = load_pixels(samples, SIZE, None)
    assert same(load_pixels(samples, SIZE, folder), plain)
    assert len(entries(folder)) == 3
    assert all(path.suffix == ".pixels" for path in entries(folder))

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(pixels, "_decode", never)
    warm = load_pixels(samples, SIZE, folder, workers=1)
    assert same(warm, plain)
    assert warm.images.flags.writeable


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_entry_is_rebuilt(samples, tmp_path, damage):
    """A flipped bit, a cut-off file or a foreign one is rebuilt: neither an error nor believed."""
    folder = tmp_path / "cache"
    plain = load_pixels(samples, SIZE, folder)
    for path in entries(folder):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        broken = {
            "flip": bytes(data),
            "cut": bytes(data[:100]),
            "empty": b"",
            "foreign": b"\x80\x04K\x01." * 999,
        }
        path.write_bytes(broken[damage])
    before = [path.read_bytes() for path in entries(folder)]
    assert same(load_pixels(samples, SIZE, folder), plain)
    assert [path.read_bytes() for path in entries(folder)] != before
    assert same(load_pixels(samples, SIZE, folder), plain)


def test_every_input_that_matters_has_its_own_entry(samples, tmp_path):
    """Another size, crop, mask, box, origin or photograph never reads a stale entry; names do not matter."""
    folder = tmp_path / "cache"
    first = samples[0]
    load_pixels([first], SIZE, folder)
    load_pixels([dataclasses.replace(first, id="renamed", label=3, patient="p")], SIZE, folder)
    assert len(entries(folder)) == 1
    load_pixels([first], SIZE + 1, folder)
    load_pixels([first], SIZE, folder, crop=False)
    load_pixels([dataclasses.replace(first, origin="none")], SIZE, folder)
    load_pixels([dataclasses.replace(samples[1], boxes=())], SIZE, folder)
    load_pixels([samples[1]], SIZE, folder)
    assert len(entries(folder)) == 6
    Image.new("1", (400, 260)).save(tmp_path / "spot.tif")  # the expert erases the spot
    erased = load_pixels([first], SIZE, folder)
    assert not (erased.lesions >> LESION_TYPES.index("hard_exudates") & 1).any()
    assert len(entries(folder)) == 7
    make_photo(tmp_path / "a.jpg", 99)
    changed = load_pixels([dataclasses.replace(first, content="")], SIZE, folder)
    assert not np.array_equal(changed.images, erased.images)


def test_earlier_entries_stay_good():
    """An entry's name is that of earlier versions that read photographs and masks alike (`_VERSION`)."""
    sample = Sample("a", Path("a.png"), 0, content="c" * 32)
    assert pixels._key(sample, 64, True, "none") == "4dc95d70dfd97788c21347972d923e9c"
    assert pixels._key(sample, 64, True, "normalised") != pixels._key(sample, 64, True, "none")


def test_a_broken_photograph_is_named(samples, tmp_path):
    """One broken file stops the load with its sample and path, and leaves no half-written entry."""
    (tmp_path / "c.jpg").write_bytes((tmp_path / "c.jpg").read_bytes()[:2000])
    folder = tmp_path / "cache"
    for cache in (None, folder):
        with pytest.raises(DataError, match=r"set/2: .*c\.jpg cannot be read"):
            load_pixels(samples, SIZE, cache)
    assert all(path.suffix == ".pixels" for path in entries(folder))


def test_a_cache_folder_that_cannot_be_made_is_named(samples, tmp_path):
    """A file in the folder's place is the user's mistake, told in one line."""
    (tmp_path / "taken").write_text("x")
    with pytest.raises(DataError, match="taken cannot be made"):
        load_pixels(samples, SIZE, tmp_path / "taken")


def test_an_entry_that_cannot_be_written_leaves_nothing(samples, tmp_path, monkeypatch):
    """A full disk is one clear line, and the temporary file is removed."""

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("regaze.files.os.fsync", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        load_pixels(samples[:1], SIZE, tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_progress_counts_up_and_nothing_is_an_answer(samples):
    """The caller hears of every photograph, in its own thread; no samples give empty arrays."""
    heard = []
    load_pixels(samples, SIZE, None, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    nothing = load_pixels([], SIZE, None)
    assert nothing.images.shape == (0, SIZE, SIZE, 3)
    assert nothing.union.shape == (0, SIZE, SIZE)


def test_real_photographs_and_masks_lie_on_each_other():
    """IDRiD's hard exudates are brighter than around exactly where their masks land at 224 pixels."""
    shared = Path(os.environ.get("REGAZE_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    part = shared / "idrid" / "A. Segmentation"
    if not part.is_dir():
        pytest.skip("no real data: set REGAZE_SHARED to the folder that holds idrid")
    masks = sorted(part.rglob("*_EX.tif"))[:6]
    assert len(masks) == 6
    samples = []
    for mask in masks:
        photo = next(part.rglob(f"{mask.stem.removesuffix('_EX')}.jpg"))
        samples.append(Sample(id=mask.stem, image=photo, label=None, origin="masks", masks={"hard_exudates": (mask,)}))
    loaded = load_pixels(samples, 224, None)
    contrast = {(0, 0): 0.0, (0, 6): 0.0, (0, -6): 0.0, (6, 0): 0.0, (-6, 0): 0.0}
    for image, plane in zip(loaded.images, loaded.union, strict=True):
        green = image[..., 1].astype(np.float32)
        local = green - cv2.GaussianBlur(green, (0, 0), 10)
        for shift in contrast:
            contrast[shift] += float(local[np.roll(plane, shift, axis=(0, 1))].mean())
    centred = contrast.pop((0, 0))
    assert centred > 6  # levels, summed over six photographs
    assert max(contrast.values()) < centred / 2, (centred, contrast)
