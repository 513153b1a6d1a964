"""Pictures of the report, checked by pixels known by hand."""

import base64
import io
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regaze.drawing import overlay


def luminance(rgb):
    """WCAG relative luminance of (n, 3) uint8."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def points_of(path):
    """All points of all rings of an outline, (ring, point, xy)."""
    rings = [ring for ring in path.split("Z") if ring]
    return [np.array([[float(v) for v in p.split()] for p in re.split("[ML]", ring)[1:]]) for ring in rings]


def test_ramp_lightness_rises_strictly():
    """More attention is always lighter, so that the picture survives a grey printer and colour blindness."""
    assert (np.diff(luminance(overlay.RAMP.astype(float))) > 0).all()


def test_for_and_against_are_told_apart_by_everyone():
    """Both ramps rise in lightness, equally strong is about equally light, and colour blindness does not mix them up.

    Simulated in linear RGB by Machado et al., "A Physiologically-based Model for Simulation of Color Vision
    Deficiency", 2009, severity 1; blue against yellow is what is left to protanopes and deuteranopes.
    """
    protanopia = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    deuteranopia = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    tritanopia = [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ours, against = (ramp.astype(float) for ramp in (overlay.RAMP, overlay.AGAINST))
    assert (np.diff(luminance(against)) > 0).all()
    assert np.abs(luminance(ours) - luminance(against)).max() < 0.2
    linear = [((ramp / 255 + 0.055) / 1.055) ** 2.4 for ramp in (ours, against)]
    for kind in (np.eye(3), protanopia, deuteranopia, tritanopia):
        seen = [np.clip(values @ np.array(kind).T, 0, 1) ** (1 / 2.4) * 255 for values in linear]
        apart = np.linalg.norm(seen[0] - seen[1], axis=1)
        assert apart[64:].min() > 60


def test_signed_overlay_is_bare_at_zero_blue_above_and_orange_below():
    """0 leaves a grey photograph, whatever its colours; equal strength is equally opaque on both sides."""
    photo = np.full((8, 8, 3), (200, 80, 20), np.uint8)
    grey = 0.299 * 200 + 0.587 * 80 + 0.114 * 20
    evidence = np.zeros((8, 8), np.float32)
    evidence[0], evidence[1] = 1, -1
    out = overlay.signed_overlay(photo, evidence).astype(float)
    assert np.abs(out[2:] - grey).max() <= 0.5
    for row, ramp in ((0, overlay.RAMP), (1, overlay.AGAINST)):
        expected = grey * (1 - overlay._STRENGTH) + ramp[-1].astype(float) * overlay._STRENGTH
        assert np.abs(out[row] - expected).max() <= 0.5
    assert overlay.signed_overlay(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), np.float32), 16).shape[0] == 16


def test_balanced_keeps_sign_and_ratio():
    """Maps of one photograph share one scale, 0 stays 0, and no evidence at all stays none."""
    strong = np.linspace(-4, 2, 16, dtype=np.float32).reshape(4, 4)
    first, second = overlay.balanced(strong, strong / 4)
    np.testing.assert_allclose(second, np.clip(first / 4, -0.25, 0.25), atol=0.01)
    assert (np.sign(first) == np.sign(strong)).all()
    assert first.min() == -1
    assert first.max() == pytest.approx(0.5, abs=0.02)
    assert not overlay.balanced(np.zeros((4, 4), np.float32))[0].any()


def test_overlay_leaves_grey_photograph_where_the_map_is_zero():
    """A zero shows the photograph; the peak shows the ramp's end at the stated strength."""
    photo = np.full((4, 4, 3), 100, np.uint8)
    attention = np.zeros((4, 4), np.float32)
    attention[1, 2] = 0.3
    out = overlay.overlay(photo, attention)
    assert (out[attention == 0] == 100).all()
    strength = overlay._STRENGTH
    expected = 100 * (1 - strength) + overlay.RAMP[-1].astype(float) * strength
    # One pixel of 16 lies above the 99.5th percentile's interpolation, so it is clipped at the peak.
    assert np.abs(out[1, 2] - expected).max() <= 1


def test_overlay_mutes_the_colours_of_the_photograph_but_keeps_its_grey():
    """Below a map the photograph keeps its brightness (ITU-R 601) and half of its colour."""
    photo = np.full((8, 8, 3), (200, 80, 20), np.uint8)
    out = overlay.overlay(photo, np.zeros((8, 8), np.float32))[0, 0].astype(float)
    grey = 0.299 * 200 + 0.587 * 80 + 0.114 * 20
    assert np.abs(out - (grey + overlay._SATURATION * (np.array([200, 80, 20]) - grey))).max() <= 0.5


def test_relative_keeps_a_flat_map_flat_and_an_empty_map_empty():
    """A map that looks everywhere is strong everywhere; an empty one is not blown up; NaN is nothing."""
    assert (overlay.relative(np.full((5, 5), 0.02, np.float32)) == 1).all()
    assert (overlay.relative(np.zeros((5, 5), np.float32)) == 0).all()
    assert (overlay.relative(np.full((5, 5), 1e-9, np.float32)) == 0).all()
    holes = np.array([[np.nan, 0.5], [0.5, 0.25]], np.float32)
    np.testing.assert_allclose(overlay.relative(holes), [[0, 1], [1, 0.5]])


def test_relative_shows_a_single_cell_in_an_otherwise_empty_map():
    """A map with fewer cells than the percentile reaches is still seen."""
    single = np.zeros((40, 40), np.float32)
    single[3, 4] = 0.2
    assert overlay.relative(single)[3, 4] == 1
    assert overlay.relative(single).sum() == 1


def test_cells_are_the_maps_own_up_to_sixty_four():
    """A coarse map keeps its cells, one pixel each; a finer one is averaged."""
    coarse = np.array([[0.0, 0.2], [0.4, 0.4]], np.float32)
    np.testing.assert_array_equal(overlay.cells(coarse), overlay.RAMP[[[0, 128], [255, 255]]])
    fine = np.kron(np.eye(64, dtype=np.float32), np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(overlay.cells(fine), overlay.RAMP[(np.eye(64) * 255).astype(int)])


def test_peak_is_the_largest_finite_value():
    """The figure under a map is its own peak, not that of the drawn one."""
    assert overlay.peak_of(np.array([[0.25, np.nan]], np.float32)) == 0.25


def test_outline_runs_half_a_pixel_outside_a_rectangle():
    """Lesion pixels x 5..8, y 4..7 have edges at 5, 9, 4, 8; margin 1 puts the line at 4.5, 9.5, 3.5, 8.5."""
    mask = np.zeros((20, 20), bool)
    mask[4:8, 5:9] = True
    (ring,) = points_of(overlay.outline_path(mask))
    assert {tuple(p) for p in ring} == {(4.5, 3.5), (9.5, 3.5), (9.5, 8.5), (4.5, 8.5)}


def test_outline_of_one_pixel_is_a_ring_and_of_none_is_nothing():
    """The smallest lesion is seen; a clean photograph gets no line."""
    mask = np.zeros((20, 20), bool)
    assert overlay.outline_path(mask) == ""
    mask[0, 19] = True  # at the rim, where a ring leaves the picture
    (ring,) = points_of(overlay.outline_path(mask))
    assert len(ring) >= 3
    np.testing.assert_allclose(ring.min(0), [18.5, -0.5])
    np.testing.assert_allclose(ring.max(0), [20.5, 1.5])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=6))
def test_outline_encloses_every_lesion_pixel(blobs):
    """Filled again by an independent reader of the path, the outlines hold every lesion pixel."""
    mask = np.zeros((64, 64), bool)
    for y, x, size in blobs:
        mask[y : y + size, x : x + size] = True
    rings = points_of(overlay.outline_path(mask))
    canvas = np.zeros((640, 640), np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.rint(ring * 10 - 0.5).astype(np.int32)], 255)
    ys, xs = np.nonzero(mask)
    assert (canvas[ys * 10 + 5, xs * 10 + 5] == 255).all()


@pytest.mark.parametrize(("side", "expected"), [(100, 100), (256, 256), (1000, 256)])
def test_shrink_never_enlarges(side, expected):
    """The file stays small, and small photographs stay what they are."""
    assert overlay.shrink(np.zeros((side, side, 3), np.uint8)).shape == (expected, expected, 3)


def test_png_uri_holds_the_very_pixels_and_webp_nearly():
    """What the page shows is what was painted."""
    pixels = overlay.colourise(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    for form, tolerance in (("png", 0), ("webp", 60)):
        head, body = overlay.data_uri(pixels, form).split(",")
        assert head == f"data:image/{form};base64"
        back = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"), int)
        assert np.abs(back - pixels).max() <= tolerance
