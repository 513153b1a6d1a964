"""Small parts of charts as inline SVG, made by hand: no script, no font, no library to load.

Invariant: every chart has a text that says the same (its label), every string in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH = 340  # user units; a phone shows the chart at this size, so that 11 units are 11 pixels


def picture(height: float, label: str, body: Markup, width: int = WIDTH) -> Markup:
    """Wrap the parts of a chart; the label says in words what they show."""
    return Markup('<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{body}</svg>').format(
        w=width, h=f"{height:g}", label=label, body=body
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> Markup:
    """Write words; `anchor` is `start`, `middle` or `end`, `kind` a class of the style sheet."""
    return Markup('<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}">{words}</text>').format(
        x=f"{x:.1f}", y=f"{y:.1f}", anchor=anchor, kind=kind, words=words
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Draw a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        f"{x1:.1f}", f"{y1:.1f}", f"{x2:.1f}", f"{y2:.1f}", kind
    )


def rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    """Draw a rectangle; a negative width counts as none."""
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(
        f"{x:.1f}", f"{y:.1f}", f"{max(width, 0):.1f}", f"{height:.1f}", kind
    )


def dot(x: float, y: float, radius: float, kind: str) -> Markup:
    """Draw a disc."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(f"{x:.1f}", f"{y:.1f}", f"{radius:.1f}", kind)


def join(parts: Sequence[Markup]) -> Markup:
    """Put parts one after the other."""
    return Markup("").join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Return about six round numbers within a range."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def polyline(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """Draw a line through points (x, y)."""
    return Markup('<polyline points="{}" class="{}"/>').format(" ".join(f"{x:.1f},{y:.1f}" for x, y in points), kind)
