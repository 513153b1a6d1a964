"""Charts of the evidence: what erasing and showing do to the model's certainty, and which lesions its maps light.

Invariant: as in `charts`, each chart says the same in words, and a missing figure is never drawn as a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from regaze.drawing import svg
from regaze.evaluation.verdicts import figure, number

Line = tuple[str, str, Sequence[float | None]]  # words, class of the style sheet, certainty at each share
Spot = tuple[str, float | None, float | None, float | None]  # class, share, ends of its interval


def curve_chart(lines: Sequence[Line], shares: Sequence[float], name: str, across: str) -> Markup:
    """Draw the model's mean certainty while pixels are erased or shown.

    Args:
        lines: The curves, the most important last (it lies on top).
        shares: Share of the pixels changed so far, 0..1, at each point.
        name: What the chart shows, for the label.
        across: What the horizontal axis counts.

    Returns:
        An `<svg>`; the vertical axis begins at 0 and ends at the next fifth above the largest certainty.
    """
    left, top, width, height = 34, 10, svg.WIDTH - 50, 176
    known = [value for *_, values in lines for value in map(number, values) if value is not None]
    ceiling = max(0.2, math.ceil(5 * max(known, default=1.0) - 1e-9) / 5)

    def down(value: float) -> float:
        return top + (1 - value / ceiling) * height

    parts = []
    for tick in svg.ticks(0.0, ceiling):
        parts.append(svg.line(left, down(tick), left + width, down(tick), "grid"))
        parts.append(svg.text(left - 5, down(tick) + 4, figure(100 * tick, 0), "end", "faint"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * width
        parts.append(svg.line(x, top + height, x, top + height + 4, "axis"))
        parts.append(svg.text(x, top + height + 16, f"{share:.0%}".replace("%", " %"), "middle", "faint"))
    parts.append(svg.line(left, top + height, left + width, top + height, "axis"))
    parts.append(svg.text(left + width, top + height + 31, across, "end", "faint"))
    for _, kind, values in lines:
        points = [(share, number(value)) for share, value in zip(shares, values, strict=True)]
        drawn = [(left + share * width, down(value)) for share, value in points if value is not None]
        parts.append(svg.polyline(drawn, f"curve {kind}"))
    return svg.picture(top + height + 36, f"{name}: {_spoken(lines, shares)}", svg.join(parts))


def _spoken(lines: Sequence[Line], shares: Sequence[float]) -> str:
    """Say each curve at its beginning, near a quarter, and at its end."""
    places = sorted({0, min(range(len(shares)), key=lambda place: abs(shares[place] - 0.25)), len(shares) - 1})
    return "; ".join(
        f"{words} " + ", ".join(f"{figure(values[place])} at {shares[place]:.0%}" for place in places)
        for words, _, values in lines
    )


def recall_chart(rows: Sequence[tuple[str, Sequence[Spot]]], chance: float | None, reach: float, name: str) -> Markup:
    """Draw which share of the lesions of each type a map lights, with intervals, and what chance would light.

    Args:
        rows: Words, and a dot for each model; a dot without figures leaves a gap.
        chance: Share that a map without knowledge lights, 0..1; None: not known.
        reach: End of the scale, above 0 to 1: the same for charts that are compared.
        name: What the chart shows, for the label.

    Returns:
        An `<svg>`.
    """
    left, right, top = 12, svg.WIDTH - 12, 20
    pitch = 26 + 9 * max((len(spots) for _, spots in rows), default=1)
    bottom = top + pitch * len(rows)

    def at(value: float) -> float:
        return left + min(max(value, 0.0), reach) / reach * (right - left)

    parts = [svg.line(left, bottom, right, bottom, "axis")]
    for tick in svg.ticks(0.0, reach):
        parts.append(svg.line(at(tick), top, at(tick), bottom, "grid"))
        parts.append(svg.text(at(tick), bottom + 15, f"{100 * tick:.0f} %", "middle", "faint"))
    if chance is not None:
        parts.append(svg.line(at(chance), top - 6, at(chance), bottom, "zero"))
        parts.append(svg.text(at(chance) + 4, top - 8, f"chance {100 * chance:.0f} %", kind="faint"))
    for index, (words, spots) in enumerate(rows):
        y = top + pitch * index + 15
        parts.append(svg.text(left, y, words, kind="over"))
        for place, (kind, share, low, high) in enumerate(spots):
            level = y + 11 + 9 * place
            if low is not None and high is not None:
                parts.append(svg.line(at(low), level, at(high), level, f"interval {kind}"))
            if share is not None:
                parts.append(svg.dot(at(share), level, 4, f"dot {kind}"))
    spoken = "; ".join(
        f"{words} " + ", ".join(f"{kind} {figure(share)}" for kind, share, _, _ in spots) for words, spots in rows
    )
    return svg.picture(bottom + 20, f"{name}: {spoken}", svg.join(parts))


def reach_of(entries: Sequence[Mapping[str, Any]]) -> float:
    """Return the end of a scale that holds all shares and intervals: the next tenth, at most 1.

    Args:
        entries: `share` and `interval` ([low, high]), each may be None.
    """
    ends = [number(value) for entry in entries for value in (entry.get("share"), *(entry.get("interval") or ()))]
    largest = max((end for end in ends if end is not None), default=0.1)
    return min(1.0, max(0.1, math.ceil(10 * largest - 1e-9) / 10))
