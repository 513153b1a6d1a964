"""The tables and charts of the evidence: deletion and insertion, lesions lit, sanity checks.

Invariant: beside every mean stand its interval and the number of photographs; what was not measured is None or a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from regaze.drawing import evidence_charts as charts
from regaze.evaluation.verdicts import DASH, compare, figure, number
from regaze.report.data import ReportContent
from regaze.report.tables import SCALES, figures_of, percent, roles, span

PARTS = {"all": "All photographs measured", "without_grade_0": "Without the healthy (lowest grade)"}
TITLES = {"deletion": "Deletion", "insertion": "Insertion"}
ORDERS = {
    "fused": "Where it looks",
    "random": "Random order",
    "centre": "Centre first",
    "blurred-random": "Smooth noise",
    "lesions": "The expert's lesions first",
}
TYPES = {
    "microaneurysms": "Microaneurysms",
    "haemorrhages": "Haemorrhages",
    "hard_exudates": "Hard exudates",
    "soft_exudates": "Soft exudates",
    "neovascularisation": "New vessels",
    "lesion": "Lesions of no stated type",
}
CHANGES = {"flip": "Mirrored photograph", "shift": "Slightly shifted", "noise": "Slight noise"}


def faithfulness(content: ReportContent) -> dict[str, Any]:
    """Return what erasing and showing did: charts of the curves, and tables of areas and differences.

    Returns:
        `curves` and `order_curves`: (number of photographs, [(words, chart)], [(class, words)] for the key) or None;
        `areas` and `orders`: rows of the tables, empty where nothing was measured.
    """
    models = {role: (words, figures_of(content, name)) for role, words, name in roles(content)}
    order = [role for role in ("before", "control", "after") if role in models]
    return {
        "curves": _curves(content.curves.get("models"), {role: models[role][0] for role in order}),
        "order_curves": _curves(content.curves.get("orders"), ORDERS),
        "areas": [row for part in PARTS for row in _areas(content, part)],
        "orders": _orders(content),
    }


def _curves(
    found: Mapping[str, Any] | None, words: Mapping[str, str]
) -> tuple[int, list[tuple[str, Markup]], list[tuple[str, str]]] | None:
    if not found:
        return None
    names = [name for name in words if name in found["lines"]]
    # The map's own curve is drawn last and lies on top.
    drawn = sorted(names, key=lambda name: (name in ("after", "fused"), name == "before"))
    pictures = []
    for measure, title in TITLES.items():
        lines = [(words[name], f"line-{name}", found["lines"][name][measure]) for name in drawn]
        across = "pixels erased" if measure == "deletion" else "pixels shown"
        pictures.append((title, charts.curve_chart(lines, found["shares"], title, across)))
    return int(found["n"]), pictures, [(f"line-{name}", words[name]) for name in names]


def _areas(content: ReportContent, part: str) -> list[dict[str, Any]]:
    """Return one row for each measure: every model's mean area, and the paired differences."""
    shown = [((figures_of(content, name).get("faithfulness") or {}).get(part) or {}) for *_, name in roles(content)]
    if not any(shown):
        return []
    rows = []
    for measure, words in TITLES.items():
        entries = [(one.get("fused") or {}) for one in shown]
        cells = [
            (figure((entry.get(measure) or {}).get("mean"), 3), span((entry.get(measure) or {}).get("interval")))
            for entry in entries
        ]
        n = max((int(entry.get("n_used") or 0) for entry in entries), default=0)
        pairs = [_pair(content, part, measure, ending) for ending in _endings(content)]
        rows.append(
            {
                "part": PARTS[part],
                "first": measure == "deletion",
                "words": f"{words} {'↓' if measure == 'deletion' else '↑'}",
                "n": n,
                "cells": cells,
                "pairs": pairs,
            }
        )
    return rows


def _endings(content: ReportContent) -> list[str]:
    return ["", "_against_control"] if content.control is not None else [""]


def _pair(content: ReportContent, part: str, measure: str, ending: str) -> tuple[str, str]:
    pairs = content.paired if part == "all" else content.paired.get(f"{part}{ending}") or {}
    return difference(pairs.get(f"{measure}{ending}" if part == "all" else measure))


def difference(pair: Mapping[str, Any] | None, digits: int = 3) -> tuple[str, str]:
    """Return a paired difference and its interval, as text."""
    comparison = compare(pair)
    return figure(comparison.difference, digits, sign=True), span((comparison.low, comparison.high), digits, sign=True)


def _orders(content: ReportContent) -> list[dict[str, Any]]:
    """Return one row for each order of the new model: its areas, and the map less the order, paired."""
    measured = figures_of(content, content.after).get("faithfulness") or {}
    rows = []
    for part, words in PARTS.items():
        orders = measured.get(part) or {}
        if len(orders) < 2:
            continue
        for name in [name for name in ORDERS if name in orders]:
            entry = orders[name]
            rows.append(
                {
                    "part": words,
                    "first": name == "fused",
                    "span": sum(known in orders for known in ORDERS),
                    "words": ORDERS[name],
                    "n": entry.get("n_used"),
                    "cells": [
                        (figure((entry.get(m) or {}).get("mean"), 3), span((entry.get(m) or {}).get("interval")))
                        for m in TITLES
                    ],
                    "pairs": [difference((entry.get("against") or {}).get(measure)) for measure in TITLES],
                    "n_pairs": ((entry.get("against") or {}).get("deletion") or {}).get("n_used"),
                }
            )
    return rows


def lesions_lit(content: ReportContent) -> dict[str, Any]:
    """Return which lesions the maps light: a chart for each map, and the table beneath.

    Outlined lesions where there are any, else boxes: a box may hold many lesions or none, so the two are not pooled.

    Returns:
        `origin` (`masks`, `boxes` or None), `charts` ((words, chart) for each map), `rows`, `sizes`, `chance`,
        `budget`, `n`.
    """
    models = [(role, figures_of(content, name).get("lesion_recall") or {}) for role, _, name in roles(content)]
    last = models[-1][1]
    origin = next((one for one in ("masks", "boxes") if _count(last.get(one))), None)
    if origin is None:
        return {"origin": None}
    known = [(role, recall.get(origin) or {}) for role, recall in models]
    groups = {**{kind: TYPES.get(kind, kind) for kind in last[origin]["types"]}, "all": "All lesions"}
    # One type alone is all lesions.
    groups = {"all": TYPES.get(next(iter(groups)), "All lesions")} if len(groups) == 2 else groups
    scales = [scale for scale in last[origin]["all"]["recall"] if any(_shares(one, "all", scale) for _, one in known)]
    reach = charts.reach_of([_shares(one, kind, scale) for _, one in known for kind in groups for scale in scales])
    chance = number(last.get("chance"))
    drawn = []
    for scale in scales:
        rows = [(_counted(last[origin], kind, words), _spots(known, kind, scale)) for kind, words in groups.items()]
        title = SCALES.get(scale, scale)
        drawn.append((title, charts.recall_chart(rows, chance, reach, f"Share of lesions lit, {title}")))
    return {
        "origin": origin,
        "charts": drawn,
        "rows": [_lit_row(content, known, kind, words, scale) for kind, words in groups.items() for scale in scales],
        "sizes": [
            _lit_row(content, known, size, size, scale, "sizes") for size in last[origin]["sizes"] for scale in scales
        ],
        "per": len(scales),
        "chance": chance,
        "budget": number(last.get("budget")),
        "n": last[origin]["all"]["n_used"],
        "n_lesions": last[origin]["all"]["n_lesions"],
    }


def _count(origin: Mapping[str, Any] | None) -> int:
    return int(((origin or {}).get("all") or {}).get("n_lesions") or 0)


def _entry(one: Mapping[str, Any], key: str, group: str = "types") -> Mapping[str, Any]:
    found: Mapping[str, Any] = (one.get("all") if key == "all" else (one.get(group) or {}).get(key)) or {}
    return found


def _shares(one: Mapping[str, Any], key: str, scale: str, group: str = "types") -> Mapping[str, Any]:
    found: Mapping[str, Any] = (_entry(one, key, group).get("recall") or {}).get(scale) or {}
    return found


def _counted(one: Mapping[str, Any], kind: str, words: str) -> str:
    entry = _entry(one, kind)
    return f"{words} ({entry['n_lesions']} in {entry['n_used']} photographs)"


def _spots(known: Sequence[tuple[str, Mapping[str, Any]]], kind: str, scale: str) -> list[charts.Spot]:
    spots = []
    for role, one in known:
        found = _shares(one, kind, scale)
        low, high = found.get("interval") or (None, None)
        spots.append((role, number(found.get("share")), number(low), number(high)))
    return spots


def _lit_row(
    content: ReportContent,
    known: Sequence[tuple[str, Mapping[str, Any]]],
    key: str,
    words: str,
    scale: str,
    group: str = "types",
) -> dict[str, Any]:
    entry = _entry(known[-1][1], key, group)
    cells = []
    for _, one in known:
        found = _shares(one, key, scale, group)
        cells.append((percent(found.get("share")), span(found.get("interval"), 0, scale=100)))
    pair = ((content.paired.get("lesion_recall") or {}).get(scale) or {}).get(key) if group == "types" else None
    comparison = compare(pair)
    # Paired differences are of outlined lesions; where the counts differ, these are others.
    same = (pair or {}).get("n_lesions") == entry.get("n_lesions")
    change = (DASH, "")
    if same and comparison.difference is not None:
        ends = (comparison.low, comparison.high)
        change = (figure(100 * comparison.difference, 0, sign=True), span(ends, 0, scale=100, sign=True))
    return {
        "words": words[:1].upper() + words[1:],
        "n_lesions": entry.get("n_lesions"),
        "n": entry.get("n_used"),
        "scale": SCALES.get(scale, scale),
        "cells": cells,
        "change": change,
    }


def sanity(content: ReportContent) -> list[dict[str, Any]]:
    """Return the rows of the sanity checks; empty where none was made."""
    models = [figures_of(content, name).get("sanity") or {} for *_, name in roles(content)]
    first = next((one for one in models if one), None)
    if first is None:
        return []

    def row(words: str, found: Sequence[Mapping[str, Any]], part: str, begins: int) -> dict[str, Any]:
        cells = [(figure(one.get("mean")), span(one.get("interval"))) for one in found]
        n = max((int(one.get("n_used") or 0) for one in found), default=0)
        return {"words": words, "cells": cells, "n": n, "part": part, "begins": begins}

    changes, stages = list(first["stability"]), list(first["randomisation"])
    rows = [
        row(
            CHANGES.get(change, change),
            [(one.get("stability") or {}).get(change) or {} for one in models],
            "The photograph is changed a little: likeness of the maps should stay near 1",
            len(changes) if place == 0 else 0,
        )
        for place, change in enumerate(changes)
    ]
    return rows + [
        row(
            _stage(stage),
            [((one.get("randomisation") or {}).get(stage) or {}).get("spearman") or {} for one in models],
            "Learned weights are replaced by random ones, from the output down: likeness should fall towards 0",
            len(stages) if place == 0 else 0,
        )
        for place, stage in enumerate(stages)
    ]


def _stage(name: str) -> str:
    """Name a group of layers; the heads lie above an attention map and cannot change it."""
    if name.startswith("block"):
        return f"… down to block {name.removeprefix('block')}"
    return {"heads": "Heads (a map lies below them)", "attention": "… and attention branches"}.get(name, name)


def bins(content: ReportContent) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Return the table beneath the reliability diagrams: (model, [(confidence, right, photographs)])."""
    return [
        (
            words,
            [
                (percent(one.get("confidence")), percent(one.get("accuracy")), int(one["n"]))
                for one in figures_of(content, name).get("reliability") or []
                if one.get("n")
            ],
        )
        for _, words, name in roles(content)
        if figures_of(content, name).get("reliability")
    ]


def sections(content: ReportContent) -> dict[str, Any]:
    """Return everything that the template shows of the evidence."""
    return {
        "faith": faithfulness(content),
        "lit": lesions_lit(content),
        "sanity": sanity(content),
        "bins": bins(content),
    }
