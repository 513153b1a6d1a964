"""Small charts as inline SVG, made by hand: no script, no font, no library to load.

Invariant: every chart has a text that says the same (its label), every string in it is escaped, and a missing
figure leaves a gap, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from regaze.drawing import svg
from regaze.evaluation.verdicts import Comparison, figure, number


def difference_chart(
    rows: Sequence[tuple[str, Comparison]], margin: float, label: str, kinds: Sequence[str] = ("after", "control")
) -> Markup:
    """Draw paired differences with their intervals around a zero line.

    Args:
        rows: Name and difference; rows without an interval are left out.
        margin: Half-width of the grey band inside which a difference does not matter.
        label: What the chart shows, for readers who do not see it.
        kinds: Colour of each row; the last one serves for those that follow.

    Returns:
        An `<svg>`, or nothing where no row has an interval.
    """
    known = [
        (name, c, c.low, c.high, kinds[min(place, len(kinds) - 1)])
        for place, (name, c) in enumerate(rows)
        if c.low is not None and c.high is not None
    ]
    if not known:
        return Markup("")
    reach = 1.12 * max(2 * margin, *(max(abs(low), abs(high)) for _, _, low, high, _ in known)) or 1.0
    digits = next(places for places, least in ((1, 1), (2, 0.1), (3, 0)) if reach >= least)
    left, right, top, pitch = 12, svg.WIDTH - 12, 22, 40
    bottom = top + pitch * len(known)

    def at(value: float) -> float:
        return left + (value + reach) / (2 * reach) * (right - left)

    parts = [
        svg.rect(at(-margin), top - 6, at(margin) - at(-margin), bottom - top + 6, "band"),
        svg.text(left, 11, "← worse", kind="faint"),
        svg.text(right, 11, "better →", "end", "faint"),
        svg.line(at(0), top - 6, at(0), bottom, "zero"),
        svg.line(left, bottom, right, bottom, "axis"),
    ]
    for tick in svg.ticks(-reach, reach):
        parts.append(svg.line(at(tick), bottom, at(tick), bottom + 4, "axis"))
        parts.append(
            svg.text(
                at(tick),
                bottom + 16,
                figure(tick, digits, sign=abs(tick) > 1e-9),
                "middle",
                "faint",
            )
        )
    for index, (name, comparison, low, high, kind) in enumerate(known):
        y = top + pitch * index + 26
        parts.append(svg.text(left, y - 12, name, kind="over"))
        parts.append(svg.line(at(low), y, at(high), y, f"interval {kind}"))
        if comparison.difference is not None:
            parts.append(svg.dot(at(comparison.difference), y, 4.5, f"dot {kind}"))
    return svg.picture(bottom + 20, label, svg.join(parts))


def kappa_chart(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Markup:
    """Draw each model's kappa with its own interval on a scale from chance (0) to perfect (1).

    Args:
        rows: Name, kind (`before`, `control` or `after`) and figures of each model.

    Returns:
        An `<svg>`.
    """
    lows = [number((figures.get("interval") or [None])[0]) for _, _, figures in rows]
    values = [number(figures.get("quadratic_weighted_kappa")) for _, _, figures in rows]
    floor = min([0.0] + [v for v in (*lows, *values) if v is not None])
    left, right, top, pitch = 12, svg.WIDTH - 46, 8, 36
    bottom = top + pitch * len(rows)

    def at(value: float) -> float:
        return left + (value - floor) / (1 - floor) * (right - left)

    parts = [svg.line(left, bottom, right, bottom, "axis")]
    for tick in svg.ticks(floor, 1.0):
        parts += [
            svg.line(at(tick), top, at(tick), bottom, "grid"),
            svg.text(at(tick), bottom + 15, figure(tick, 1), "middle", "faint"),
        ]
    for index, (name, kind, figures) in enumerate(rows):
        y = top + pitch * index + 24
        value = number(figures.get("quadratic_weighted_kappa"))
        ends = [number(end) for end in figures.get("interval") or ()]
        parts.append(svg.text(left, y - 11, name))
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None:
            parts.append(svg.line(at(ends[0]), y, at(ends[1]), y, f"interval {kind}"))
        if value is not None:
            parts.append(svg.dot(at(value), y, 4.5, f"dot {kind}"))
        parts.append(svg.text(svg.WIDTH - 4, y + 4, figure(value), "end", "strong"))
    spoken = "; ".join(f"{name} {figure(figures.get('quadratic_weighted_kappa'))}" for name, _, figures in rows)
    return svg.picture(bottom + 20, f"Kappa of each model with its interval: {spoken}", svg.join(parts))


def reliability_chart(bins: Sequence[Mapping[str, Any]], name: str, kind: str) -> Markup:
    """Draw how often the model is right at each confidence; on the diagonal it keeps its word.

    Args:
        bins: `{confidence, accuracy, n}`, empty bins left out or None.
        name: The model's name, for the label.
        kind: `before`, `control` or `after`: the colour.

    Returns:
        An `<svg>`; the area of a dot follows the number of photographs in it.
    """
    side, left, top = 190, 34, 8
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + tick * side, top + (1 - tick) * side
        parts += [svg.line(left, y, left + side, y, "grid"), svg.line(x, top, x, top + side, "grid")]
        if tick in (0.0, 0.5, 1.0):
            parts.append(svg.text(x, top + side + 15, f"{tick:.0%}".replace("%", " %"), "middle", "faint"))
            parts.append(svg.text(left - 5, y + 4, f"{tick:.0%}".replace("%", ""), "end", "faint"))
    parts.append(svg.line(left, top + side, left + side, top, "zero"))
    points = [(number(b.get("confidence")), number(b.get("accuracy")), number(b.get("n"))) for b in bins]
    known = [(c, a, n) for c, a, n in points if c is not None and a is not None and n]
    largest = max((n for _, _, n in known), default=1.0)
    if len(known) > 1:
        parts.append(svg.polyline([(left + c * side, top + (1 - a) * side) for c, a, _ in known], f"curve {kind}"))
    for c, a, n in known:
        parts.append(svg.dot(left + c * side, top + (1 - a) * side, 2 + 6 * math.sqrt(n / largest), f"dot {kind}"))
    spoken = "; ".join(f"confidence {c:.0%}, right {a:.0%}, {n:.0f} photographs" for c, a, n in known) or "no figures"
    return svg.picture(top + side + 20, f"Reliability of {name}: {spoken}", svg.join(parts), left + side + 20)


def probability_chart(
    classes: Sequence[str], before: Sequence[float], after: Sequence[float], label: int | None, most: int = 6
) -> Markup:
    """Draw what both models gave to each class, the expert's class marked.

    Args:
        classes: Class names.
        before: Probabilities, 0..1.
        after: The same of the new model.
        label: The expert's class index or None.
        most: Classes shown; with more of them, the likeliest and the expert's.

    Returns:
        An `<svg>`.
    """
    indices = list(range(min(len(classes), len(before), len(after))))
    if len(indices) > most:
        likely = sorted(indices, key=lambda k: (k == label, max(before[k], after[k])), reverse=True)
        indices = sorted(likely[:most])
    width, left, pitch = 250, 104, 22
    span = width - left - 30
    parts = []
    for row, k in enumerate(indices):
        y = 2 + row * pitch
        name = classes[k] if len(classes[k]) <= 14 else classes[k][:13] + "…"
        parts.append(svg.text(left - 8, y + 13, name, "end", "strong" if k == label else ""))
        if k == label:
            parts.append(svg.dot(4, y + 9, 3, "dot expert"))
        for offset, values, kind in ((2, before, "before"), (10, after, "after")):
            parts.append(svg.rect(left, y + offset, span * min(max(values[k], 0), 1), 6.5, f"bar {kind}"))
        parts.append(svg.text(left + span + 5, y + 13, f"{after[k]:.0%}".replace("%", ""), kind="faint"))
    parts.append(svg.line(left, 0, left, 2 + len(indices) * pitch, "axis"))
    spoken = "; ".join(f"{classes[k]} {before[k]:.0%} before, {after[k]:.0%} after" for k in indices)
    return svg.picture(
        4 + len(indices) * pitch, f"Probability in percent of each class: {spoken}", svg.join(parts), width
    )
