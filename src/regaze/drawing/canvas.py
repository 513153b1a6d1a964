"""One drawing, two forms: SVG as text, in a file or inside a page, and PNG through Pillow. No font file, no script.

Invariant: both hold the same shapes at the same places (user units; the PNG has `SCALE` pixels to a unit), and every
string is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import cycle, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regaze.files import replacing, write_text

SCALE = 2
# The colours of pages and pictures; the page's style sheet takes them from here.
INK, SOFT, LINE, PAPER, BAND = "#1b2430", "#55606e", "#d9dee4", "#ffffff", "#e9edf1"
BEFORE, CONTROL, AFTER, GOOD = "#8a94a1", "#8a6a1c", "#0a5c8a", "#1c6b45"
_PILLOW_LACKS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{NO-BREAK SPACE}": " "})  # in its own font
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]
Dash = tuple[float, ...]  # lengths of strokes and gaps in turn; empty: drawn through


@dataclass
class Canvas:
    """A drawing; coordinates in user units, x to the right, y down.

    Attributes:
        width, height: Of the whole.
        label: What the drawing shows, for readers who do not see it; empty: an ornament beside words that say the same.
    """

    width: float
    height: float
    label: str
    _parts: list[str] = field(default_factory=list)
    _strokes: list[Callable[[Image.Image, ImageDraw.ImageDraw], object]] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str, width: float = 1, dash: Dash = ()) -> None:
        """A line through points."""
        dashes = f' stroke-dasharray="{" ".join(f"{length:g}" for length in dash)}"' if dash else ""
        self._parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dashes}/>'
        )
        pieces = _dashes(points, dash) if dash else [points]
        thick = max(1, round(width * SCALE))
        pixels = [[_pixel(p) for p in piece] for piece in pieces]

        def paint(_: Image.Image, pen: ImageDraw.ImageDraw) -> None:
            for piece in pixels:
                pen.line(piece, fill=colour, width=thick, joint="curve")

        self._strokes.append(paint)

    def dot(self, at: Point, colour: str, radius: float = 4.5) -> None:
        """A filled circle with a white rim."""
        self._parts.append(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:.2f}" fill="{colour}" stroke="#fff" '
            'stroke-width="1"/>'
        )
        x, y = _pixel(at)
        reach = radius * SCALE
        corners = (x - reach, y - reach, x + reach, y + reach)
        self._strokes.append(lambda _, pen: pen.ellipse(corners, fill=colour, outline=PAPER, width=SCALE))

    def diamond(self, at: Point, radius: float = 4.5) -> None:
        """An empty diamond: a number of the paper's."""
        x, y = at
        corners = [(x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y)]
        self._parts.append(f'<polygon points="{_points(corners)}" fill="#fff" stroke="{INK}" stroke-width="1.5"/>')
        pixels, thick = [_pixel(p) for p in corners], round(1.5 * SCALE)
        self._strokes.append(lambda _, pen: pen.polygon(pixels, fill=PAPER, outline=INK, width=thick))

    def box(self, at: Point, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{at[0]:.1f}" y="{at[1]:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
        )
        x, y = _pixel(at)
        corners = (x, y, x + width * SCALE, y + height * SCALE)
        self._strokes.append(lambda _, pen: pen.rectangle(corners, fill=colour))

    def text(
        self,
        at: Point,
        words: str,
        colour: str = INK,
        size: float = 12,
        anchor: Anchor = "start",
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """Words whose baseline begins, is centred or ends at a point.

        Args:
            at: The point.
            words: One line.
            colour: Of the letters.
            size: Of the letters, in user units.
            anchor: What of the baseline lies at the point.
            bold: Heavy letters.
            halo: A rim in the paper's colour, so that lines below do not run through the letters.
        """
        more = ' font-weight="700"' if bold else ""
        if halo:
            more += f' paint-order="stroke" stroke="{PAPER}" stroke-width="3" stroke-linejoin="round"'
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" fill="{colour}" font-size="{size:g}" text-anchor="{anchor}"'
            f"{more}>{escape(words)}</text>"
        )
        rim, rim_colour = (1.5 * SCALE, PAPER) if halo else (0.4 * SCALE if bold else 0, colour)
        self._strokes.append(
            lambda _, pen: pen.text(
                _pixel(at),
                words.translate(_PILLOW_LACKS),
                fill=colour,
                font=ImageFont.load_default(size * SCALE),
                anchor={"start": "ls", "middle": "ms", "end": "rs"}[anchor],
                stroke_width=rim,
                stroke_fill=rim_colour,
            )
        )

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
        full = (round(side * SCALE),) * 2
        corner = (round(at[0] * SCALE), round(at[1] * SCALE))
        self._strokes.append(lambda sheet, _: sheet.paste(picture.resize(full, Image.Resampling.BILINEAR), corner))

    def __html__(self) -> str:
        """The drawing inside a page, as wide as its place there; jinja asks for this and does not escape it again."""
        spoken = f'class="chart" role="img" aria-label="{escape(self.label)}"' if self.label else 'aria-hidden="true"'
        return f'<svg {spoken} viewBox="0 0 {self.width:g} {self.height:g}">{"".join(self._parts)}</svg>'

    def svg(self) -> str:
        """The drawing as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" aria-label="{escape(self.label)}" '
            'font-family="Segoe UI, Helvetica, Arial, sans-serif">'
        )
        ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return "\n".join([head, ground, *self._parts, "</svg>"]) + "\n"

    def png(self) -> Image.Image:
        """The drawing as an RGB picture."""
        sheet = Image.new("RGB", (round(self.width * SCALE), round(self.height * SCALE)), PAPER)
        pen = ImageDraw.Draw(sheet)
        for stroke in self._strokes:
            stroke(sheet, pen)
        return sheet

    def write(self, stem: Path) -> list[Path]:
        """Write STEM.svg and STEM.png."""
        vector, raster = stem.with_suffix(".svg"), stem.with_suffix(".png")
        write_text(vector, self.svg())
        with replacing(raster) as temporary:
            self.png().save(temporary, "PNG")
        return [vector, raster]


def _pixel(point: Point) -> Point:
    return point[0] * SCALE, point[1] * SCALE


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _dashes(points: Sequence[Point], dash: Dash) -> list[list[Point]]:
    """A line cut into dashes, which begin anew at each of its points."""
    pieces: list[list[Point]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = float(np.hypot(x1 - x0, y1 - y0))
        start = 0.0
        for number, step in enumerate(cycle(dash)):
            if start >= length:
                break
            if number % 2 == 0:  # strokes and gaps take turns
                ends = [start / length, min(start + step, length) / length]
                pieces.append([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in ends])
            start += step
    return pieces
