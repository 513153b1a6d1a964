"""A panel of explanations: the photograph, and beside it one picture per explainer, on one sheet.

Invariant: what is drawn says only how a pixel ranks in its own map, of signed maps also for or against; two pictures
may be compared in place, not in strength, and the sheet says so.

Frame: cropped pixels, enlarged to the tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regaze.drawing.overlay import OUTLINE, RAMP, outlined, overlay, signed_overlay, signed_ramp

PHOTO_SIDE = 748  # pixels of a photograph: twice the largest tile, so that lesions stay sharp
FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}  # suffix -> Pillow's name
WIDTH = 1200  # pixels: a page of a paper or an issue shows it without shrinking
_MARGIN, _GAP = 28, 14
_MOST_IN_LINE = 4  # more would be smaller than the lesions in them
_LARGEST_TILE = 374
_CAPTION = 52  # below a tile: two lines
_HEAD, _FOOT = 74, 46
_SCALE = 150  # pixels; width of a colour scale in the legend
_FOOT_LINE = 26  # more for each line of the legend after the first
_SMALL = 15  # pixels: a web page shows the sheet at three quarters of its width
_BETWEEN = 22  # above and below the line between two photographs
_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (24, 28, 34), (104, 112, 122), (222, 226, 231)


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet.

    Attributes:
        title: Large letters below it.
        text: Small letters below that.
        strength: (s, s) float in 0..1, how strongly to paint; None: the bare photograph.
        signed: `strength` is in -1..1: above 0 speaks for the class, below 0 against it.
    """

    title: str
    text: str
    strength: NDArray[np.float32] | None = None
    signed: bool = False


@dataclass(frozen=True)
class Row:
    """One photograph of the sheet.

    Attributes:
        title: File and grade.
        text: Probabilities, and what is explained.
        photo: (S, S, 3) uint8 RGB, cropped pixels.
        tiles: Its pictures, the bare photograph first.
        lesions: (S, S) bool, outlined in every picture; None: unknown.
    """

    title: str
    text: str
    photo: NDArray[np.uint8]
    tiles: tuple[Tile, ...]
    lesions: NDArray[np.bool_] | None = None


def strength(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """How strongly to paint the pixels of a map of which only the order counts.

    Nothing below the map's median, full at its 99.5th percentile, straight between: scale and offset of the map do not
    matter, so that log-odds, gradients and probabilities are painted alike. A map that is the same everywhere is not
    painted at all.

    Args:
        values: (S, S) float32, larger = more important.

    Returns:
        (S, S) float32 in 0..1.
    """
    floor, peak = map(float, np.percentile(values, [50, 99.5]))
    if not peak > floor:  # more than 99.5 % tie: what is left over is all there is to see
        peak = float(values.max())
    if not peak > floor:
        return np.zeros_like(values, np.float32)
    return np.asarray(np.clip((values - floor) / (peak - floor), 0, 1), np.float32)


def draw_panel(rows: Sequence[Row]) -> Image.Image:
    """Draw the sheet, `WIDTH` pixels wide, RGB.

    Args:
        rows: At least one; each with as many tiles as the others.
    """
    lines = -(-len(rows[0].tiles) // _MOST_IN_LINE)
    columns = -(-len(rows[0].tiles) // lines)  # as many in each line
    side = min((WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) // columns, _LARGEST_TILE)
    height = _HEAD + lines * (side + _CAPTION + _GAP) - _GAP + 2 * _BETWEEN
    signed = any(tile.signed for tile in rows[0].tiles)
    foot = _FOOT + _FOOT_LINE * signed
    sheet = Image.new("RGB", (WIDTH, _MARGIN + len(rows) * height - _BETWEEN + foot), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        top = _MARGIN + index * height
        if index:
            pen.line((_MARGIN, top - _BETWEEN, WIDTH - _MARGIN, top - _BETWEEN), fill=_LINE)
        _write(pen, (_MARGIN, top), row.title, 26, _INK, WIDTH - 2 * _MARGIN)
        _write(pen, (_MARGIN, top + 36), row.text, 16, _FAINT, WIDTH - 2 * _MARGIN)
        for number, tile in enumerate(row.tiles):
            x = _MARGIN + number % columns * (side + _GAP)
            y = top + _HEAD + number // columns * (side + _CAPTION + _GAP)
            sheet.paste(_picture(row, tile, side), (x, y))
            _write(pen, (x, y + side + 6), tile.title, 19, _INK, side)
            _write(pen, (x, y + side + 30), tile.text, _SMALL, _FAINT, side)
    _foot(sheet, pen, sheet.height - foot + 4, any(row.lesions is not None for row in rows), signed)
    return sheet


def _picture(row: Row, tile: Tile, side: int) -> Image.Image:
    """One tile: photograph, paint, outlines."""
    size = (side, side)
    shrinks = row.photo.shape[0] > side
    photo = cv2.resize(row.photo, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    pixels = np.asarray(photo, np.uint8)
    if tile.strength is not None:
        painted = np.asarray(cv2.resize(tile.strength, size, interpolation=cv2.INTER_LINEAR), np.float32)
        pixels = (signed_overlay if tile.signed else overlay)(pixels, painted, side)
    if row.lesions is not None:
        pixels = outlined(pixels, row.lesions)
    return Image.fromarray(pixels)


def _foot(sheet: Image.Image, pen: ImageDraw.ImageDraw, y: int, outlined: bool, signed: bool) -> None:
    """The legend: what the colours mean; a line of its own for evidence."""
    pen.line((_MARGIN, y - 12, WIDTH - _MARGIN, y - 12), fill=_LINE)
    ramp = RAMP[np.linspace(0, 255, _SCALE).astype(int)]
    text = "more important; each picture by its own ranking: compare places, not strengths"
    x = _scale(sheet, pen, (_MARGIN, y), "less important", ramp, text) + 30
    if outlined:
        pen.ellipse((x, y + 2, x + 14, y + 16), fill=OUTLINE[0][1])
        pen.ellipse((x + 3, y + 5, x + 11, y + 13), outline=OUTLINE[1][1], width=1)
        _write(pen, (x + 22, y), "marked by an expert", _SMALL, _FAINT)
    if signed:
        _scale(
            sheet, pen, (_MARGIN, y + _FOOT_LINE), "evidence against the class", signed_ramp(_SCALE), "for the class"
        )


def _scale(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    low: str,
    colours: NDArray[np.uint8],
    high: str,
) -> int:
    """Draw colours (n, 3) between the words for their ends; returns where it ends."""
    x = at[0] + _write(pen, at, low, _SMALL, _FAINT) + 10
    sheet.paste(Image.fromarray(np.repeat(colours[None], 12, axis=0)), (x, at[1] + 4))
    x += len(colours) + 10
    return x + _write(pen, (x, at[1]), high, _SMALL, _FAINT)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    width: int | None = None,
) -> int:
    """Write one line, cut to a width in pixels; returns the width it took."""
    font = ImageFont.load_default(size)
    shown = text
    while width is not None and len(shown) > 1 and pen.textlength(shown, font=font) > width:
        shown = shown.removesuffix("…")[:-1].rstrip() + "…"
    pen.text(at, shown, fill=colour, font=font)
    return round(pen.textlength(shown, font=font))
