"""The tables and charts of the evidence: deletion and insertion, lesions lit, sanity checks.

Invariant: beside every mean stand its interval and the number of photographs; what was not measured is None or a dash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from regaze.drawing.canvas import GOOD, Canvas
from regaze.drawing.charts import Axis, Bar, Curve, curve_chart, interval_chart, swatch
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import DASH, compare, figure
from regaze.lesion_names import DISPLAY_NAMES
from regaze.report.data import ReportContent
from regaze.report.tables import COLOURS, SCALES, percent, span

PARTS = {"all": "All photographs measured", "without_grade_0": "Without {healthy} ones (the sound class)"}
TITLES = {"deletion": "Deletion", "insertion": "Insertion"}
_AREAS = {
    "deletion": "Deletion ↓",
    "insertion": "Insertion ↑",
    "relative_deletion": "Relative deletion ↓",
    "relative_insertion": "Relative insertion ↑",
}
ORDERS = {
    "fused": "Where it looks",
    "another": "Another photograph's map",
    "turned": "Its map turned",
    "mirrored": "Its map mirrored",
    "blurred-random": "Smooth noise",
    "centre": "Centre first",
    "random": "Random pixels",
    "lesions": "The expert's {lesions} first",
}
CHANGES = {"flip": "Mirrored photograph", "shift": "Slightly shifted", "noise": "Slight noise"}

# How a curve is drawn: colour, dashes, width. The map's own is the strongest, the last drawn, and so on top. The map
# turned and mirrored stand in the tables alone: more lines cannot be told apart.
_STYLES: dict[str, tuple[str, tuple[float, ...], float]] = {
    "random": ("#5c6672", (2, 3), 1.4),
    "centre": ("#9a5b13", (7, 3), 1.4),
    "blurred-random": ("#7a4f9c", (5, 2, 1, 2), 1.4),
    "another": ("#a03a5a", (4, 2), 1.4),
    "lesions": (GOOD, (), 1.4),
    "control": (COLOURS["control"], (), 2.4),
    "before": (COLOURS["before"], (), 2.4),
    "after": (COLOURS["after"], (), 2.4),
    "fused": (COLOURS["after"], (), 2.4),
}
_NOT_MEASURED = (DASH, "")


def faithfulness(content: ReportContent) -> dict[str, Any]:
    """Return what erasing and showing did: charts of the curves, and tables of areas and differences.

    Returns:
        `curves` and `order_curves`: (number of photographs, [(words, chart)], [(swatch, words)], whether the lesions
        are among them) or None; `areas` and `orders`: rows of the tables, empty where nothing was measured; `measures`:
        headings of the columns of `orders`.
    """
    return {
        "curves": _curves(content.curves["models"], {role: words for role, words, _ in content.roles}),
        "order_curves": _curves(content.curves["orders"], _orders_of(content)),
        "areas": [row for part in PARTS for row in _areas(content, part)],
        "orders": [row for part in PARTS for row in _orders(content, part)],
        "measures": list(_AREAS.values()),
    }


def _curves(
    means: Mapping[str, Any] | None, words: Mapping[str, str]
) -> tuple[int, list[tuple[str, Canvas]], list[tuple[Canvas, str]], bool] | None:
    if means is None:
        return None
    lines, shares = {name: line for name, line in means["lines"].items() if name in _STYLES}, means["shares"]
    charts = []
    for measure, title in TITLES.items():
        curves = [
            Curve(words[name], [(x, Estimate(y)) for x, y in zip(shares, lines[name][measure], strict=True)], *style)
            for name, style in _STYLES.items()
            if name in lines
        ]
        spoken = "; ".join(f"{curve.name} {_spoken(curve)}" for curve in curves)
        known = [y for line in lines.values() for y in line[measure] if y is not None]
        axis = Axis(0.0, max(0.2, math.ceil(5 * max(known) - 1e-9) / 5), percent=True)
        across = "pixels erased" if measure == "deletion" else "pixels shown"
        charts.append((title, curve_chart([("", curves)], f"{title}: {spoken}", "", across, axis)))
    return means["n"], charts, _key({name: words[name] for name in words if name in lines}), "lesions" in lines


def _key(words: Mapping[str, str]) -> list[tuple[Canvas, str]]:
    return [(swatch(Curve("", [], *_STYLES[name])), text) for name, text in words.items()]


def _spoken(curve: Curve) -> str:
    """Say a curve at its beginning, near a quarter, and at its end."""
    shares = [share for share, _ in curve.points]
    quarter = min(range(len(shares)), key=lambda index: abs(shares[index] - 0.25))
    points = [curve.points[index] for index in sorted({0, quarter, len(shares) - 1})]
    return ", ".join(f"{figure(estimate.value)} at {share:.0%}" for share, estimate in points)


def _areas(content: ReportContent, part: str) -> list[dict[str, Any]]:
    """Return one row for each measure: every model's mean area, and the paired differences."""
    measured = [content.figures(name)["faithfulness"] for *_, name in content.roles]
    entries = [parts[part]["fused"] if parts is not None and parts[part] is not None else None for parts in measured]
    if not any(entries):
        return []
    endings = ["", "_against_control"] if content.control is not None else [""]
    pairs = [
        {measure: content.paired[measure + ending] for measure in _AREAS}
        if part == "all"
        else content.paired[part + ending]
        for ending in endings
    ]
    return [
        {
            "part": content.words.fill(PARTS[part]),
            "first": measure == "deletion",
            "words": words,
            "n": max(entry["n_used"] for entry in entries if entry is not None),
            "cells": [_mean(entry and entry[measure], 3) for entry in entries],
            "pairs": [_difference(pair[measure]) for pair in pairs],
        }
        for measure, words in _AREAS.items()
    ]


def _mean(entry: Mapping[str, Any] | None, digits: int = 2) -> tuple[str, str]:
    return _NOT_MEASURED if entry is None else (figure(entry["mean"], digits), span(entry["interval"]))


def _difference(pair: Mapping[str, Any] | None) -> tuple[str, str]:
    comparison = compare(pair)
    return figure(comparison.difference, 3, sign=True), span((comparison.low, comparison.high), 3, sign=True)


def _orders(content: ReportContent, part: str) -> list[dict[str, Any]]:
    """Return one row for each order of the new model: its areas, and the map less the order, paired."""
    measured = content.figures(content.after)["faithfulness"]
    orders = (measured[part] if measured is not None else None) or {}
    if len(orders) < 2:
        return []
    return [
        {
            "part": content.words.fill(PARTS[part]),
            "first": name == "fused",
            "span": len(orders),
            "words": words,
            "n": orders[name]["n_used"],
            "cells": [_mean(orders[name][measure], 3) for measure in _AREAS],
            "pairs": [_difference(None if name == "fused" else orders[name]["against"][measure]) for measure in _AREAS],
        }
        for name, words in _orders_of(content).items()
        if name in orders
    ]


def _orders_of(content: ReportContent) -> dict[str, str]:
    return {name: content.words.fill(text) for name, text in ORDERS.items()}


def lesions_lit(content: ReportContent) -> dict[str, Any]:
    """Return which lesions the maps light: a chart for each map, and the table beneath.

    Outlined lesions where there are any, else boxes: a box may hold many lesions or none, so the two are not pooled.

    Returns:
        `origin` (`masks`, `boxes` or None), `charts` ((words, chart) for each map), `key` ((swatch, words) for each
        model), `rows`, `sizes`, `per` (maps), `chance`, `budget`, `n`, `n_lesions`.
    """
    models = [(role, words) for role, words, _ in content.roles]
    recalls = [content.figures(name)["lesion_recall"] for *_, name in content.roles]
    last = recalls[-1]
    origin = next((origin for origin in ("masks", "boxes") if last[origin]["all"]["n_lesions"]), None)
    if origin is None:
        return {"origin": None}

    def entries(kind: str, group: str) -> list[Any]:
        return [recall[origin][kind].get(group) for recall in recalls]

    # Group of lesions -> its name, and each model's entry of it; a type alone is all lesions.
    named = {kind: name.full for kind, name in DISPLAY_NAMES.items()}
    named["lesion"] = content.words.fill("{Lesions} of no stated type")
    types = {kind: (named[kind], entries("types", kind)) for kind in last[origin]["types"]}
    whole = next(iter(types.values()))[0] if len(types) == 1 else f"All {content.words.lesions}"
    groups = (types if len(types) > 1 else {}) | {"all": (whole, [recall[origin]["all"] for recall in recalls])}
    sizes = [(size, entries("sizes", size)) for size in last[origin]["sizes"]]
    scales, lesions = list(last[origin]["all"]["recall"]), content.words.lesions
    rule_name = f"chance {100 * last['chance']:.0f} %"
    axis = Axis(0.0, _reach(groups.values(), scales), percent=True, rule=last["chance"], rule_name=rule_name)
    pairs = content.paired["lesion_recall"] or {}
    return {
        "origin": origin,
        "charts": [
            (SCALES.get(scale, scale), _lit_chart(groups.values(), scale, models, axis, lesions)) for scale in scales
        ],
        "key": _key(dict(models)),
        "rows": [
            _lit_row(group, scale, pairs.get(scale, {}).get(kind)) for kind, group in groups.items() for scale in scales
        ],
        "sizes": [_lit_row(group, scale, None) for group in sizes for scale in scales],
        "per": len(scales),
        "chance": last["chance"],
        "budget": last["budget"],
        "n": last[origin]["all"]["n_used"],
        "n_lesions": last[origin]["all"]["n_lesions"],
    }


_Group = tuple[str, list[Any]]  # words, and each model's entry of `summarise_recall` or None


def _lit(entry: Mapping[str, Any] | None, scale: str) -> Estimate:
    """The share lit; nothing known where a model has no such lesions or no such map."""
    recall = entry["recall"].get(scale) if entry is not None else None
    return Estimate(None) if recall is None else Estimate(recall["share"], *recall["interval"])


def _reach(groups: Iterable[_Group], scales: Sequence[str]) -> float:
    """The end of a scale that holds all shares and intervals: the next tenth, at most 1; one for all charts."""
    shares = [_lit(entry, scale) for _, entries in groups for entry in entries for scale in scales]
    largest = max([0.1, *(end for share in shares for end in (share.value, share.high) if end is not None)])
    return min(1.0, math.ceil(10 * largest - 1e-9) / 10)


def _lit_chart(
    groups: Iterable[_Group], scale: str, models: Sequence[tuple[str, str]], axis: Axis, lesions: str
) -> Canvas:
    bars, spoken = [], []
    for words, entries in groups:
        name = f"{words} ({entries[-1]['n_lesions']} in {entries[-1]['n_used']} photographs)"
        shares = {role: _lit(entry, scale) for (role, _), entry in zip(models, entries, strict=True)}
        bars += [Bar(name if role == "before" else "", share, COLOURS[role]) for role, share in shares.items()]
        spoken.append(f"{name} {', '.join(f'{role} {figure(share.value)}' for role, share in shares.items())}")
    label = f"Share of {lesions} lit, {SCALES.get(scale, scale)}: {'; '.join(spoken)}"
    return interval_chart([("", bars)], label, axis=axis)


def _lit_row(group: _Group, scale: str, pair: Mapping[str, Any] | None) -> dict[str, Any]:
    words, entries = group
    last = entries[-1]
    change = _NOT_MEASURED
    # Paired differences are of outlined lesions; where the counts differ, these are others.
    if pair is not None and pair["difference"] is not None and pair["n_lesions"] == last["n_lesions"]:
        change = (figure(100 * pair["difference"], 0, sign=True), span(pair["interval"], 0, scale=100, sign=True))
    shares = [_lit(entry, scale) for entry in entries]
    return {
        "words": words[:1].upper() + words[1:],
        "n_lesions": last["n_lesions"],
        "n": last["n_used"],
        "scale": SCALES.get(scale, scale),
        "cells": [(percent(share.value), span((share.low, share.high), 0, scale=100)) for share in shares],
        "change": change,
    }


_SANITY = {
    "stability": "The photograph is changed a little: likeness of the maps should stay near 1",
    "randomisation": "Learned weights are replaced by random ones, from the output down: likeness should fall "
    "towards 0",
}


def sanity(content: ReportContent) -> list[dict[str, Any]]:
    """Return the rows of the sanity checks; empty where none was made."""
    models = [content.figures(name)["sanity"] for *_, name in content.roles]
    first = next((checks for checks in models if checks is not None), None)
    if first is None:
        return []
    rows = []
    for part, words in _SANITY.items():
        for index, step in enumerate(first[part]):
            entries = [None if checks is None else checks[part][step] for checks in models]
            if part == "randomisation":
                entries = [entry and entry["spearman"] for entry in entries]
            rows.append(
                {
                    "words": CHANGES[step] if part == "stability" else _stage(step),
                    "cells": [_mean(entry) for entry in entries],
                    "n": max(entry["n_used"] for entry in entries if entry is not None),
                    "part": words,
                    "begins": len(first[part]) if index == 0 else 0,
                }
            )
    return rows


def _stage(name: str) -> str:
    """Name a group of layers; the heads lie above an attention map and cannot change it."""
    if name.startswith("block"):
        return f"… down to block {name.removeprefix('block')}"
    return {"heads": "Heads (a map lies below them)", "attention": "… and attention branches"}.get(name, name)


def bins(content: ReportContent) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Return the table beneath the reliability diagrams: (model, [(confidence, right, photographs)])."""
    models = [(words, content.figures(name)["reliability"]) for _, words, name in content.roles]
    return [
        (words, [(percent(each["confidence"]), percent(each["accuracy"]), each["n"]) for each in diagram])
        for words, diagram in models
        if diagram
    ]


def sections(content: ReportContent) -> dict[str, Any]:
    """Return everything that the template shows of the evidence."""
    return {
        "faith": faithfulness(content),
        "lit": lesions_lit(content),
        "sanity": sanity(content),
        "bins": bins(content),
    }
