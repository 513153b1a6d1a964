"""Taking colour and illumination out of a photograph."""

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.data.colour import normalise_colour
from regaze.data.geometry import field_mask
from regaze.data.pixels import load_pixels
from regaze.records import Sample

SIDE = 240
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] + 0.5
RADIUS = np.hypot(ROWS - 120, COLUMNS - 120)
DISC = RADIUS < 115


def fundus(colour=(150.0, 80.0, 40.0), slope=0.0, spot=-30.0):
    """A disc of one colour, brighter to the right by `slope` levels over its width, with a spot of 6 x 6 pixels."""
    photo = np.broadcast_to(np.array(colour), (SIDE, SIDE, 3)) + (slope * (COLUMNS / SIDE - 0.5))[..., None]
    photo[100:106, 150:156] += spot
    return np.rint(photo * DISC[..., None]).clip(0, 255).astype(np.uint8)


def test_an_even_disc_is_mid_grey_to_its_rim():
    """Where nothing differs from its surroundings every channel is 128, the rim beside the black included."""
    found = normalise_colour(fundus(spot=0))
    assert (found[RADIUS < 113] == 128).all()
    assert set(np.unique(found)) == {0, 128}
    assert not found[~DISC].any()


def test_light_and_camera_leave_no_trace():
    """Another colour and a light from one side change the result by a few levels; the photographs differ by dozens."""
    plain, other = fundus(), fundus((110.0, 100.0, 70.0), slope=60)
    assert np.abs(plain.astype(int) - other)[DISC].max() > 50
    core = RADIUS < 105  # nearer to the rim the light's slope is one-sided
    assert np.abs(normalise_colour(plain).astype(int) - normalise_colour(other))[core].max() <= 8


def test_a_lesion_stays_a_lesion():
    """A dark spot is as dark as before or darker against its surroundings, a bright one as bright."""
    for spot in (-20.0, 20.0):
        contrast = normalise_colour(fundus(spot=spot))[102:104, 152:154].astype(int) - 128
        assert (contrast * np.sign(spot) > 30).all()


def test_a_dark_lesion_at_the_rim_is_in_the_field():
    """The field of view is the disc with what is dark inside it, and nothing of the black around."""
    photo = fundus()
    photo[118:124, 8:14] = 0
    mask = field_mask(photo)
    assert mask[DISC & (RADIUS < 112)].all()
    assert not mask[RADIUS > 118].any()
    assert field_mask(np.full((20, 30, 3), 90, np.uint8)).all(), "no dark surround: everything"


def test_the_caller_keeps_its_photograph():
    """The input is left as it was."""
    photo = fundus()
    before = photo.copy()
    normalise_colour(photo)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("crop", [True, False])
def test_bars_have_no_say(crop, tmp_path):
    """A wide photograph padded to a square has the picture that it has alone, between black bars."""
    wide = np.random.default_rng(0).integers(60, 200, (64, 200, 3)).astype(np.uint8)
    wide = cv2.blur(wide, (3, 3))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    sample = Sample("wide", tmp_path / "wide.png", None)
    found = load_pixels([sample], 200, tmp_path / "cache", crop=crop, colour="normalised")
    np.testing.assert_array_equal(found.images[0, 68:132], normalise_colour(wide))
    assert not found.images[0, :68].any()
    assert not found.images[0, 132:].any()
    again = load_pixels([sample], 200, tmp_path / "cache", crop=crop, colour="normalised")
    np.testing.assert_array_equal(found.images, again.images)
    plain = load_pixels([sample], 200, tmp_path / "cache", crop=crop)
    np.testing.assert_array_equal(plain.images[0, 68:132], wide)
    assert len(list((tmp_path / "cache").iterdir())) == 2, "each has its own entry"
