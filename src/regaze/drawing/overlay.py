"""Pictures of the report: attention or evidence over a photograph, lesion outlines, images that live inside the page.

Invariant: the colours say how strongly the model looked and nothing else. One ramp whose lightness rises with
the map, in the blue-green that a fundus does not contain, with transparency that follows the map; no rainbow.
Evidence has a sign: what speaks for a class has the same ramp, what speaks against it one in orange, over a photograph
without colours of its own; 0 is bare.
"""

from __future__ import annotations

import base64
import io
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 256  # pixels; three of them and their caption fill a desktop page, and 30 cases stay below 6 MB
CELLS = 64  # a single scale's map is shown at 64 pixels; more would only make the file large

# Lightness rises strictly from first to last (a test holds this), hue goes from deep blue to pale cyan: the
# complement of a fundus, apart from it also for readers who do not tell red from green.
_STOPS = np.array([[10, 24, 84], [16, 78, 160], [0, 142, 190], [64, 205, 208], [214, 255, 246]], np.float32)
# About as light, step for step; blue and orange stay apart whatever kind of colour blindness (a test holds this, too).
_STOPS_AGAINST = np.array([[74, 20, 4], [150, 56, 6], [222, 104, 8], [250, 168, 72], [255, 222, 150]], np.float32)
_STRENGTH = 0.78  # opacity where the map peaks: the vessel or lesion below must stay visible
OUTLINE = ((1.8, (40, 40, 40)), (0.8, (255, 255, 255)))  # pixels and colour of a lesion's: white in a dark halo
_LEGEND_GREY = 110  # of the photograph that a legend stands for
_SATURATION = 0.5  # of the photograph below a map; full colour stands beside it


def _ramp(stops: NDArray[np.float32]) -> NDArray[np.uint8]:
    positions = np.linspace(0, 1, len(stops))
    channels = [np.interp(np.linspace(0, 1, 256), positions, stops[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


RAMP: NDArray[np.uint8] = _ramp(_STOPS)
AGAINST: NDArray[np.uint8] = _ramp(_STOPS_AGAINST)


def relative(attention_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide a map by its own peak.

    The floor is not subtracted: a map that is the same everywhere comes out strong everywhere, as it is. The
    peak is the 99.5th percentile, so that one hot cell does not hide the rest; where that is zero, the
    maximum.

    Args:
        attention_map: (h, w) float, 0..1; NaN counts as 0.

    Returns:
        (h, w) float32, 0..1; all zero for an empty map.
    """
    values = _finite(attention_map)
    peak = _usual_peak(values)
    if peak < 1e-6:
        return np.zeros_like(values)
    return np.asarray(np.minimum(values / peak, 1), np.float32)


def balanced(*evidence: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Divide signed maps by one peak, that of the strongest: 0 stays 0, and maps of one photograph may be compared.

    Args:
        evidence: (h, w) float, any range; each one's peak is taken as `relative` takes it, of its absolute values.

    Returns:
        (h, w) float32, -1..1; all zero where all maps are zero.
    """
    peak = max(_usual_peak(np.abs(item)) for item in evidence)
    return [np.asarray(np.clip(item / (peak or 1.0), -1, 1), np.float32) for item in evidence]


def _usual_peak(values: NDArray[np.float32]) -> float:
    return float(np.percentile(values, 99.5)) or float(values.max(initial=0.0))


def peak_of(attention_map: NDArray[np.float32]) -> float:
    """Return the largest finite value of a map (0 for an empty one)."""
    return float(_finite(attention_map).max(initial=0.0))


def _finite(attention_map: NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.nan_to_num(np.asarray(attention_map, np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.maximum(values, 0)


def colourise(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Paint values (h, w) float, 0..1, with the ramp: (h, w, 3) uint8 RGB."""
    return _coloured(RAMP, values)


def _coloured(ramp: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(ramp[np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)])


def cells(attention_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Paint one scale's map cell by cell, relative to its own peak.

    Args:
        attention_map: (h, w) float in map cells, 0..1; more than `CELLS` on a side are averaged.

    Returns:
        (h, w, 3) uint8 RGB, one pixel for each cell.
    """
    strength = relative(attention_map)
    if max(strength.shape) > CELLS:
        strength = np.asarray(cv2.resize(strength, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.float32)
    return colourise(strength)


def shrink(photo: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """Reduce a photograph to at most `side` pixels; never enlarge it.

    Args:
        photo: (S, S, 3) uint8 RGB.
        side: Largest side in pixels.

    Returns:
        (s, s, 3) uint8 RGB, s = min(S, side).
    """
    if photo.shape[0] <= side:
        return photo
    return np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def overlay(photo: NDArray[np.uint8], attention_map: NDArray[np.float32], side: int = SIDE) -> NDArray[np.uint8]:
    """Lay an attention map over a photograph.

    Args:
        photo: (S, S, 3) uint8 RGB, cropped pixels.
        attention_map: (S, S) float, 0..1, same frame; drawn relative to its own peak (see `relative`).
        side: Largest side of the result in pixels.

    Returns:
        (s, s, 3) uint8 RGB: the photograph in muted colours where the map is 0, the ramp's end where it
        peaks.
    """
    small = shrink(photo, side)
    strength = _fitted(relative(attention_map), small)
    return _painted(small, strength, colourise(strength), _SATURATION)


def signed_overlay(photo: NDArray[np.uint8], evidence: NDArray[np.float32], side: int = SIDE) -> NDArray[np.uint8]:
    """Lay signed evidence over a photograph.

    Args:
        photo: (S, S, 3) uint8 RGB, cropped pixels.
        evidence: (S, S) float, -1..1 (see `balanced`), same frame.
        side: Largest side of the result in pixels.

    Returns:
        (s, s, 3) uint8 RGB: the photograph in grey where the evidence is 0, blue where it is above, orange where it is
        below.
    """
    small = shrink(photo, side)
    signed = _fitted(np.asarray(evidence, np.float32), small)
    strength = np.abs(signed)
    colours = np.where((signed < 0)[..., None], _coloured(AGAINST, strength), colourise(strength))
    return _painted(small, strength, colours, saturation=0.0)


def signed_ramp(steps: int) -> NDArray[np.uint8]:
    """The colours of evidence from -1 to 1 over mid-grey, as a legend shows them: (steps, 3) uint8 RGB."""
    strip = np.repeat(np.linspace(-1, 1, steps, dtype=np.float32)[None], steps, axis=0)
    return np.asarray(signed_overlay(np.full((steps, steps, 3), _LEGEND_GREY, np.uint8), strip, steps)[0])


def _fitted(values: NDArray[np.float32], small: NDArray[np.uint8]) -> NDArray[np.float32]:
    if values.shape[0] == small.shape[0]:
        return values
    size = (small.shape[1], small.shape[0])
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _painted(
    photo: NDArray[np.uint8], strength: NDArray[np.float32], colours: NDArray[np.uint8], saturation: float
) -> NDArray[np.uint8]:
    """Colours over a muted photograph, as opaque as they are strong."""
    pixels = photo.astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    muted = grey[..., None] + saturation * (pixels - grey[..., None])
    opacity = (_STRENGTH * strength)[..., None]
    mixed = muted * (1 - opacity) + colours.astype(np.float32) * opacity
    return np.asarray(np.rint(np.clip(mixed, 0, 255)), np.uint8)


def outline_path(mask: NDArray[np.bool_]) -> str:
    """Trace lesions as an SVG path that runs around them, not over them.

    The mask is widened by 1/128 of its side, at least a pixel, and the line follows the centres of its outermost
    pixels, half a pixel further in. A lesion of one pixel thus gets a visible ring, and clusters share one line.

    Args:
        mask: (S, S) bool, cropped pixels.

    Returns:
        SVG path data in the mask's pixel frame; empty where there is no lesion.
    """
    if not mask.any():
        return ""
    reach = max(1, round(mask.shape[0] / 128))
    padded = np.pad(mask.astype(np.uint8), reach)  # a lesion at the rim is outlined too
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT if reach == 1 else cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    contours, _ = cv2.findContours(cv2.dilate(padded, kernel), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.003 * mask.shape[0], True)[:, 0] - reach + 0.5
        if len(points) < 3:
            continue  # a hole of one or two pixels
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(parts)


def outlined(pixels: NDArray[np.uint8], lesions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a line around lesions, not over them; a lesion of one pixel gets a ring too.

    Args:
        pixels: (s, s, 3) uint8 RGB.
        lesions: (S, S) bool, the same square.
    """
    side, fine = pixels.shape[0], 4  # drawn four times larger, then shrunk: a smooth thin line
    mask = cv2.resize(lesions.astype(np.uint8), (side * fine,) * 2, interpolation=cv2.INTER_NEAREST)
    wide = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * fine + 1,) * 2))
    contours, _ = cv2.findContours(wide, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = pixels.astype(np.float32)
    for thickness, colour in OUTLINE:
        line = cv2.drawContours(np.zeros_like(mask), contours, -1, 255, thickness=round(thickness * fine))
        share = cv2.resize(line, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
        drawn += (np.array(colour, np.float32) - drawn) * share
    return np.asarray(np.rint(drawn), np.uint8)


def data_uri(pixels: NDArray[np.uint8], form: Literal["webp", "png"] = "webp") -> str:
    """Encode a picture as a `data:` URI.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        form: `webp` (lossy, for photographs) or `png` (exact, for the cells of a map).
    """
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    if form == "webp":
        picture.save(buffer, "WEBP", quality=82, method=4)
    else:
        picture.save(buffer, "PNG", optimize=True)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
