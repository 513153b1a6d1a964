"""The charts of the page and of the reproduction: figures with intervals, curves, reliability, probabilities.

Two sizes: wide, with the rows' names on the left and panels side by side; and narrow, for the page, where a phone shows
a unit as a pixel, so that names stand above their rows and letters stay readable.

Invariant: a missing figure leaves a gap, never a zero; the paper's numbers are empty diamonds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from regaze.drawing.canvas import AFTER, BAND, BEFORE, INK, LINE, SOFT, Canvas, Dash
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import MINUS

NARROW = 340  # user units
_SMALL = 11
_RULE: Dash = (3, 3)
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Bar:
    """One row of an interval chart.

    Attributes:
        name: What it is; empty in a narrow chart: another figure of the row above.
        estimate: The figure; None: the row is a heading.
        colour: Of the dot and its interval.
        paper: The paper's number, or None.
    """

    name: str
    estimate: Estimate | None
    colour: str = AFTER
    paper: float | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a curve chart: (x, figure) from left to right, x a share, 0 to 1."""

    name: str
    points: Sequence[tuple[float, Estimate]]
    colour: str
    dash: Dash = ()
    width: float = 2


@dataclass(frozen=True)
class Axis:
    """The scale of an interval chart's x or of a curve chart's y.

    Attributes:
        low, high: What it spans.
        percent: Numbers are shares, written in per cent.
        sign: Numbers are differences, written with their sign.
        band: Half-width around zero inside which nothing matters, painted grey.
        rule: Where a dashed line stands, such as zero or chance; None: nowhere.
        rule_name: Words beside that line.
        ends: Words at the two ends.
    """

    low: float
    high: float
    percent: bool = False
    sign: bool = False
    band: float = 0.0
    rule: float | None = None
    rule_name: str = ""
    ends: tuple[str, str] = ("", "")

    def written(self, value: float) -> str:
        """A number beside a tick."""
        text = f"{100 * value if self.percent else value:{'+' if self.sign and value else ''}.4g}"
        return text.replace("-", MINUS) + ("\N{NO-BREAK SPACE}%" if self.percent else "")


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers within a range."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.999 * raw)
    return [round(step * k, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def interval_chart(
    panels: Sequence[tuple[str, Sequence[Bar]]], label: str, note: str = "", axis: Axis | None = None
) -> Canvas:
    """Rows of figures with their intervals.

    Args:
        panels: Title and rows; the rows' names stand left of the first panel, so all panels have the same.
        label: What the chart shows, for readers who do not see it.
        note: One line below.
        axis: Given: one narrow panel on this scale. None: wide panels, each on a scale that holds its figures.
    """
    narrow = axis is not None
    left, panel, gap, top = (12, NARROW - 24, 0, 22) if narrow else (250, 300, 60, 54)
    rows = panels[0][1]
    levels = _levels(rows, top, narrow)
    bottom = levels[-1] + 13
    width = NARROW if narrow else left + len(panels) * (panel + gap) - gap + 30
    canvas = Canvas(width, bottom + (21 if narrow else 52), label)
    for column, (title, bars) in enumerate(panels):
        start, scale = left + column * (panel + gap), axis or _axis_of(bars)
        _x_axis(canvas, scale, start, start + panel, top - 6, bottom)
        canvas.text((start, 24), title, size=13.5, bold=True)
        across = _scale(scale, start, start + panel)
        for bar, level in zip(bars, levels, strict=True):
            _bar(canvas, bar, level, across)
    for bar, level in zip(rows, levels, strict=True):
        at = (left, level - 11) if narrow else (14, level + 4)
        canvas.text(at, bar.name, bold=bar.estimate is None, halo=narrow)
    canvas.text((14, bottom + 42), note, SOFT, _SMALL)
    return canvas


def curve_chart(
    panels: Sequence[tuple[str, Sequence[Curve]]], label: str, note: str, x_title: str, axis: Axis | None = None
) -> Canvas:
    """Curves over a share, 0 to 1, drawn as per cent.

    Args:
        panels: Title and curves, the most important last: it lies on top.
        label: What the chart shows, for readers who do not see it.
        note: One line below.
        x_title: What x is.
        axis: Of y. Given: one narrow panel without a key and without dots. None: wide panels side by side, each on a
            scale that holds its figures.
    """
    narrow = axis is not None
    left0, top, side, height, gap = (40, 10, NARROW - 60, 176, 0) if narrow else (60, 60, 260, 220, 70)
    width = NARROW if narrow else left0 + len(panels) * (side + gap)
    bottom = top + height
    canvas = Canvas(width, bottom + (38 if narrow else 70), label)
    if not narrow:
        _key(canvas, {curve.name: curve for _, curves in panels for curve in curves}.values(), left0)
    for column, (title, curves) in enumerate(panels):
        left = left0 + column * (side + gap)
        up = axis or _axis_of([Bar("", estimate) for curve in curves for _, estimate in curve.points])
        across, rise = _scale(Axis(0, 1), left, left + side), _scale(up, bottom, top)
        canvas.text((left, 50), title, size=13.5, bold=True)
        for tick in ticks(up.low, up.high):
            canvas.line([(left, rise(tick)), (left + side, rise(tick))], LINE)
            canvas.text((left - 6, rise(tick) + 4), up.written(tick), SOFT, _SMALL, "end")
        for tick in _QUARTERS:
            canvas.text((across(tick), bottom + 17), f"{100 * tick:g} %", SOFT, _SMALL, "middle")
        for number, curve in enumerate(curves):
            _curve(canvas, curve, across, rise, None if narrow else 3.0 * (number - (len(curves) - 1) / 2))
        if narrow:
            canvas.text((left + side, bottom + 32), x_title, SOFT, _SMALL, "end")
        else:
            canvas.text((left + side / 2, bottom + 36), x_title, SOFT, _SMALL, "middle")
    canvas.text((left0, bottom + 58), note, SOFT, _SMALL)
    return canvas


def swatch(curve: Curve) -> Canvas:
    """A short piece of a curve, for a key beside a narrow chart."""
    canvas = Canvas(30, 8, "")
    canvas.line([(0, 4), (30, 4)], curve.colour, curve.width, curve.dash)
    return canvas


def reliability_chart(bins: Sequence[tuple[float, float, int]], label: str, colour: str) -> Canvas:
    """How often a model is right at each confidence; on the diagonal it keeps its word.

    Args:
        bins: Confidence and share right, 0..1, and photographs, at least one; the area of a dot follows the latter.
        label: What the chart shows, for readers who do not see it.
        colour: Of the model.
    """
    side, left, top = 190, 34, 8
    canvas = Canvas(left + side + 20, top + side + 20, label)
    across, up = _scale(Axis(0, 1), left, left + side), _scale(Axis(0, 1), top + side, top)
    for tick in _QUARTERS:
        canvas.line([(left, up(tick)), (left + side, up(tick))], LINE)
        canvas.line([(across(tick), top), (across(tick), top + side)], LINE)
        if tick in (0.0, 0.5, 1.0):
            canvas.text((across(tick), top + side + 15), f"{100 * tick:g} %", SOFT, _SMALL, "middle")
            canvas.text((left - 5, up(tick) + 4), f"{100 * tick:g}", SOFT, _SMALL, "end")
    canvas.line([(left, top + side), (left + side, top)], SOFT, dash=_RULE)
    spots = [(across(confidence), up(right)) for confidence, right, _ in bins]
    if len(spots) > 1:
        canvas.line(spots, colour, 1.2)
    largest = max(n for *_, n in bins)
    for spot, (*_, n) in zip(spots, bins, strict=True):
        canvas.dot(spot, colour, 2 + 6 * math.sqrt(n / largest))
    return canvas


def probability_chart(
    classes: Sequence[str], before: Sequence[float], after: Sequence[float], label: int | None, most: int = 6
) -> Canvas:
    """What two models gave to each class, the expert's class marked.

    Args:
        classes: Class names.
        before: Probabilities, 0..1.
        after: The same of the new model.
        label: The expert's class index or None.
        most: Classes shown; with more of them, the likeliest and the expert's.
    """
    indices = list(range(len(classes)))
    if len(indices) > most:
        likely = sorted(indices, key=lambda k: (k == label, max(before[k], after[k])), reverse=True)
        indices = sorted(likely[:most])
    spoken = "; ".join(f"{classes[k]} {before[k]:.0%} before, {after[k]:.0%} after" for k in indices)
    width, left, pitch = 250, 104, 22
    span, height = width - left - 30, 2 + len(indices) * pitch
    canvas = Canvas(width, height + 2, f"Probability in percent of each class: {spoken}")
    for row, k in enumerate(indices):
        y = 2 + row * pitch
        name = classes[k] if len(classes[k]) <= 14 else classes[k][:13] + "…"
        canvas.text((left - 8, y + 13), name, size=11.5, anchor="end", bold=k == label)
        if k == label:
            canvas.dot((4, y + 9), INK, 3)
        for offset, values, colour in ((2, before, BEFORE), (10, after, AFTER)):
            canvas.box((left, y + offset), span * min(max(values[k], 0), 1), 6.5, colour)
        canvas.text((left + span + 5, y + 13), f"{100 * after[k]:.0f}", SOFT, _SMALL)
    canvas.line([(left, 0), (left, height)], SOFT)
    return canvas


def _levels(rows: Sequence[Bar], top: float, narrow: bool) -> list[float]:
    """Where each row's dot lies: below its name in a narrow chart, else beside it."""
    if not narrow:
        return [top + 26 * row + 13 for row in range(len(rows))]
    return list(accumulate((34 if bar.name else 9 for bar in rows), initial=top - 10))[1:]


def _x_axis(canvas: Canvas, axis: Axis, left: float, right: float, top: float, bottom: float) -> None:
    at = _scale(axis, left, right)
    if axis.band:
        canvas.box((at(-axis.band), top), at(axis.band) - at(-axis.band), bottom - top, BAND)
    for tick in ticks(axis.low, axis.high):
        canvas.line([(at(tick), top), (at(tick), bottom)], LINE)
        canvas.text((at(tick), bottom + 16), axis.written(tick), SOFT, _SMALL, "middle")
    canvas.line([(left, bottom), (right, bottom)], SOFT, 0.6)
    if axis.rule is not None:
        canvas.line([(at(axis.rule), top), (at(axis.rule), bottom)], SOFT, dash=_RULE)
        canvas.text((at(axis.rule) + 4, top - 4), axis.rule_name, SOFT, _SMALL)
    canvas.text((left, top - 4), axis.ends[0], SOFT, _SMALL)
    canvas.text((right, top - 4), axis.ends[1], SOFT, _SMALL, "end")


def _bar(canvas: Canvas, bar: Bar, y: float, at: _Scale) -> None:
    figure = bar.estimate
    if figure is not None and figure.low is not None and figure.high is not None:
        canvas.line([(at(figure.low), y), (at(figure.high), y)], bar.colour, 3)
    if figure is not None and figure.value is not None:
        canvas.dot((at(figure.value), y), bar.colour)
    if bar.paper is not None:
        canvas.diamond((at(bar.paper), y))


def _key(canvas: Canvas, curves: Iterable[Curve], x: float) -> None:
    for curve in curves:
        canvas.line([(x, 20), (x + 22, 20)], curve.colour, curve.width, curve.dash)
        canvas.text((x + 28, 24), curve.name, size=12)
        x += 48 + 7 * len(curve.name)


def _curve(canvas: Canvas, curve: Curve, across: _Scale, up: _Scale, aside: float | None) -> None:
    """A line, and unless `aside` is None its dots with whiskers: so far beside it that those of others stay visible."""
    known = [(x, e, e.value) for x, e in curve.points if e.value is not None]
    spots = [(across(x) + (aside or 0), up(value)) for x, _, value in known]
    if len(spots) > 1:
        canvas.line(spots, curve.colour, curve.width, curve.dash)
    if aside is None:
        return
    for (_, estimate, _), spot in zip(known, spots, strict=True):
        if estimate.low is not None and estimate.high is not None:
            canvas.line([(spot[0], up(estimate.low)), (spot[0], up(estimate.high))], curve.colour, 1.2)
        canvas.dot(spot, curve.colour, 3.5)


_Scale = Callable[[float], float]


def _scale(axis: Axis, start: float, end: float) -> _Scale:
    """From values to user units."""
    return lambda value: start + (value - axis.low) / (axis.high - axis.low) * (end - start)


def _axis_of(bars: Sequence[Bar]) -> Axis:
    """What holds all figures, with a little room."""
    estimates = [bar.estimate for bar in bars if bar.estimate is not None]
    ends = [end for estimate in estimates for end in (estimate.value, estimate.low, estimate.high)]
    known = [value for value in (*ends, *(bar.paper for bar in bars)) if value is not None]
    if not known:
        return Axis(0, 1)
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or 0.05
    return Axis(low - room, high + room)
