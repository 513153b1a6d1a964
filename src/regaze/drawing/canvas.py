"""One drawing, two files: SVG as text, PNG through Pillow. No plotting library, no font file.

Invariant: both files hold the same shapes at the same places (user units; the PNG has `SCALE` pixels to a unit), and
every string is escaped.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regaze.files import replacing, write_text

SCALE = 2
# The report's colours.
INK, SOFT, LINE, PAPER = "#1b2430", "#55606e", "#d9dee4", "#ffffff"
BEFORE, CONTROL, AFTER = "#8a94a1", "#8a6a1c", "#0a5c8a"
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass
class Canvas:
    """A drawing; coordinates in user units, x to the right, y down.

    Attributes:
        width, height: Of the whole.
        label: What the drawing shows, for readers who do not see it.
    """

    width: float
    height: float
    label: str
    _parts: list[str] = field(default_factory=list)
    _picture: Image.Image = field(init=False, repr=False)
    _draw: ImageDraw.ImageDraw = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._picture = Image.new("RGB", (round(self.width * SCALE), round(self.height * SCALE)), PAPER)
        self._draw = ImageDraw.Draw(self._picture)

    def line(self, points: list[Point], colour: str, width: float = 1, dashed: bool = False) -> None:
        """A line through points."""
        spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(f'<polyline points="{spots}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dash}/>')
        pieces = _dashes(points) if dashed else [points]
        for piece in pieces:
            self._draw.line([_pixel(p) for p in piece], fill=colour, width=max(1, round(width * SCALE)), joint="curve")

    def dot(self, at: Point, colour: str, radius: float = 4.5) -> None:
        """A filled circle with a white rim."""
        self._parts.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" fill="{colour}" stroke="#fff" stroke-width="1"/>'
        )
        x, y = _pixel(at)
        reach = radius * SCALE
        self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour, outline=PAPER, width=SCALE)

    def diamond(self, at: Point, colour: str = INK, radius: float = 4.5) -> None:
        """An empty diamond: a number of the paper's."""
        x, y = at
        corners = [(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)]
        spots = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        self._parts.append(f'<polygon points="{spots}" fill="#fff" stroke="{colour}" stroke-width="1.5"/>')
        self._draw.polygon([_pixel(p) for p in corners], fill=PAPER, outline=colour, width=round(1.5 * SCALE))

    def box(self, at: Point, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
        )
        x, y = _pixel(at)
        self._draw.rectangle((x, y, x + width * SCALE, y + height * SCALE), fill=colour)

    def text(
        self, at: Point, words: str, colour: str = INK, size: float = 12, anchor: Anchor = "start", bold: bool = False
    ) -> None:
        """Words whose baseline begins, is centred or ends at a point."""
        weight = ' font-weight="700"' if bold else ""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" fill="{colour}" font-size="{size:g}" text-anchor="{anchor}"'
            f"{weight}>{escape(words)}</text>"
        )
        font = ImageFont.load_default(size * SCALE)
        place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        stroke = 0.4 * SCALE if bold else 0
        self._draw.text(_pixel(at), words, fill=colour, font=font, anchor=place, stroke_width=stroke)

    def image(self, at: Point, side: float, pixels: NDArray[np.uint8]) -> None:
        """A square picture (S, S, 3) uint8 RGB."""
        picture = Image.fromarray(pixels)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        self._parts.append(
            f'<image x="{at[0]:.1f}" y="{at[1]:.1f}" width="{side:g}" height="{side:g}" '
            f'href="data:image/png;base64,{data}"/>'
        )
        full = round(side * SCALE)
        x, y = _pixel(at)
        self._picture.paste(picture.resize((full, full), Image.Resampling.BILINEAR), (round(x), round(y)))

    def svg(self) -> str:
        """The drawing as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" aria-label="{escape(self.label)}" '
            'font-family="Segoe UI, Helvetica, Arial, sans-serif">'
        )
        ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return "\n".join([head, ground, *self._parts, "</svg>"]) + "\n"

    def write(self, stem: Path) -> list[Path]:
        """Write STEM.svg and STEM.png."""
        vector, raster = stem.with_suffix(".svg"), stem.with_suffix(".png")
        write_text(vector, self.svg())
        with replacing(raster) as temporary:
            self._picture.save(temporary, "PNG")
        return [vector, raster]


def _pixel(point: Point) -> Point:
    return point[0] * SCALE, point[1] * SCALE


def _dashes(points: list[Point], on: float = 4, off: float = 3) -> list[list[Point]]:
    """A line cut into dashes."""
    pieces: list[list[Point]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = float(np.hypot(x1 - x0, y1 - y0))
        for start in np.arange(0, length, on + off):
            ends = [start / length, min(start + on, length) / length]
            pieces.append([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in ends])
    return pieces
