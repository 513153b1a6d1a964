"""The two kinds of chart: rows of figures with intervals, and curves with bands.

Invariant: a missing figure leaves a gap, never a zero; the paper's numbers are empty diamonds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from regaze.drawing.canvas import AFTER, INK, LINE, SOFT, Canvas
from regaze.evaluation.seeds import Estimate


@dataclass(frozen=True)
class Bar:
    """One row of an interval chart.

    Attributes:
        name: What it is; empty estimates with `heading` True stand for a heading.
        estimate: Ours.
        colour: Of the dot and its interval.
        paper: The paper's number, or None.
    """

    name: str
    estimate: Estimate | None
    colour: str = AFTER
    paper: float | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a curve chart: (x, estimate) from left to right."""

    name: str
    points: Sequence[tuple[float, Estimate]]
    colour: str
    dashed: bool = False


_LEFT, _PANEL, _GAP, _PITCH, _TOP = 250, 300, 60, 26, 54


def interval_chart(panels: Sequence[tuple[str, Sequence[Bar]]], label: str, note: str) -> Canvas:
    """Panels side by side, one row per method in each.

    Args:
        panels: Title and rows; the rows' names stand left of the first panel, so all panels have the same.
        label: What the chart shows, for readers who do not see it.
        note: One line below.
    """
    rows = panels[0][1]
    width = _LEFT + len(panels) * _PANEL + (len(panels) - 1) * _GAP + 30
    bottom = _TOP + _PITCH * len(rows)
    canvas = Canvas(width, bottom + 52, label)
    for index, bar in enumerate(rows):
        heading = bar.estimate is None
        canvas.text((14, _TOP + _PITCH * index + 17), bar.name, size=12.5, bold=heading)
    for place, (title, bars) in enumerate(panels):
        left = _LEFT + place * (_PANEL + _GAP)
        low, high = _range(bars)
        at = _scale(low, high, left, left + _PANEL)
        canvas.text((left, 24), title, size=13.5, bold=True)
        for tick in ticks(low, high):
            canvas.line([(at(tick), _TOP - 6), (at(tick), bottom)], LINE)
            canvas.text((at(tick), bottom + 17), f"{tick:.4g}", SOFT, 11.5, "middle")
        for index, bar in enumerate(bars):
            y = _TOP + _PITCH * index + 13
            _bar(canvas, bar, y, at)
    canvas.text((14, bottom + 42), note, SOFT, 11.5)
    return canvas


def curve_chart(panels: Sequence[tuple[str, Sequence[Curve]]], label: str, note: str, x_title: str) -> Canvas:
    """Panels side by side; x is a share, 0 to 1, drawn as per cent.

    Args:
        panels: Title and curves.
        label: What the chart shows, for readers who do not see it.
        note: One line below.
        x_title: What x is.
    """
    side, height, left0, gap = 260, 220, 60, 70
    width = left0 + len(panels) * (side + gap)
    bottom = 60 + height
    canvas = Canvas(width, bottom + 70, label)
    names = {curve.name: curve for _, curves in panels for curve in curves}
    x = float(left0)
    for name, curve in names.items():
        canvas.line([(x, 20), (x + 22, 20)], curve.colour, 2, curve.dashed)
        canvas.text((x + 28, 24), name, size=12)
        x += 48 + 7 * len(name)
    for place, (title, curves) in enumerate(panels):
        left = left0 + place * (side + gap)
        bars = [Bar("", estimate) for curve in curves for _, estimate in curve.points]
        low, high = _range(bars)
        across, up = _scale(0, 1, left, left + side), _scale(low, high, bottom, 60)
        canvas.text((left, 50), title, size=13.5, bold=True)
        for tick in ticks(low, high):
            canvas.line([(left, up(tick)), (left + side, up(tick))], LINE)
            canvas.text((left - 6, up(tick) + 4), f"{tick:.4g}", SOFT, 11.5, "end")
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            canvas.text((across(tick), bottom + 17), f"{100 * tick:g} %", SOFT, 11.5, "middle")
        for number, curve in enumerate(curves):
            _curve(canvas, curve, across, up, 3.0 * (number - (len(curves) - 1) / 2))
        canvas.text((left + side / 2, bottom + 36), x_title, SOFT, 11.5, "middle")
    canvas.text((left0, bottom + 58), note, SOFT, 11.5)
    return canvas


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers within a range."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [round(step * k, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _bar(canvas: Canvas, bar: Bar, y: float, at: _Scale) -> None:
    found = bar.estimate
    if found is not None and found.low is not None and found.high is not None:
        canvas.line([(at(found.low), y), (at(found.high), y)], bar.colour, 3)
    if found is not None and found.value is not None:
        canvas.dot((at(found.value), y), bar.colour)
    if bar.paper is not None:
        canvas.diamond((at(bar.paper), y), INK)


def _curve(canvas: Canvas, curve: Curve, across: _Scale, up: _Scale, aside: float) -> None:
    """A line with whiskers; lines stand a little aside of one another, so that whiskers do not cover each other."""
    known = [(x, e) for x, e in curve.points if e.value is not None]
    spots = [(across(x) + aside, up(e.value)) for x, e in known if e.value is not None]
    if len(spots) > 1:
        canvas.line(spots, curve.colour, 2, curve.dashed)
    for (_, estimate), spot in zip(known, spots, strict=True):
        if estimate.low is not None and estimate.high is not None:
            canvas.line([(spot[0], up(estimate.low)), (spot[0], up(estimate.high))], curve.colour, 1.2)
        canvas.dot(spot, curve.colour, 3.5)


class _Scale:
    """From values to user units."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


def _range(bars: Sequence[Bar]) -> tuple[float, float]:
    """What an axis must show, with a little room."""
    values = [bar.paper for bar in bars]
    for bar in bars:
        if bar.estimate is not None:
            values += [bar.estimate.value, bar.estimate.low, bar.estimate.high]
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room
