"""The tables of the report: what was measured, scale by scale, class by class, and how it was made.

Invariant: a figure that was not measured is a dash, never a zero; nothing is left out because it looks bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL, Canvas
from regaze.drawing.charts import Axis, Bar, interval_chart, reliability_chart
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import DASH, MINUS, compare, figure, judge, number
from regaze.report.data import ReportContent

FUSED = ("maps", "fused")

# Row of the table: words, path in a model's figures, decimals (-1: a share in per cent), direction, path of its own
# interval, path of the number of photographs, key of the paired difference ("": not compared in pairs).
_Row = tuple[str, tuple[str, ...], int, str, tuple[str, ...], tuple[str, ...], str]
_OVER = (*FUSED, "n_used")
_GRADED = ("n",)
_MEANS = ("map_intervals", "fused")
_ROWS: tuple[_Row, ...] = (
    (
        "Agreement with the expert (kappa, quadratic weighted where classes have an order)",
        ("quadratic_weighted_kappa",),
        3,
        "higher",
        ("interval",),
        _GRADED,
        "kappa",
    ),
    ("Graded exactly right", ("accuracy",), -1, "higher", (), _GRADED, ""),
    ("Referable disease: AUROC (chance 0.5)", ("referable", "auroc"), 3, "higher", (), _GRADED, ""),
    ("Referable disease: sensitivity", ("referable", "sensitivity"), -1, "higher", (), _GRADED, ""),
    ("Referable disease: specificity", ("referable", "specificity"), -1, "higher", (), _GRADED, ""),
    ("Confidence off by (expected calibration error)", ("calibration_error",), 3, "lower", (), _GRADED, ""),
    (
        "Attention on lesions, times chance (enrichment)",
        (*FUSED, "lesion_enrichment"),
        2,
        "higher",
        (*_MEANS, "lesion_enrichment"),
        _OVER,
        "enrichment",
    ),
    (
        "Strongest pixels in lesions (relevance rank)",
        (*FUSED, "relevance_rank"),
        -1,
        "higher",
        (*_MEANS, "relevance_rank"),
        _OVER,
        "",
    ),
    (
        "Bright part of the map over the lesions (IoU)",
        ("iou", "fused", "mean"),
        3,
        "higher",
        ("iou", "fused", "interval"),
        ("iou", "fused", "n_used"),
        "iou",
    ),
    (
        "Squared error to the expert's map",
        (*FUSED, "squared_error"),
        4,
        "lower",
        (*_MEANS, "squared_error"),
        _OVER,
        "squared_error",
    ),
    (
        "Deletion",
        ("deletion",),
        3,
        "lower",
        ("faithfulness", "all", "fused", "deletion", "interval"),
        ("n_faithfulness",),
        "deletion",
    ),
    (
        "Insertion",
        ("insertion",),
        3,
        "higher",
        ("faithfulness", "all", "fused", "insertion", "interval"),
        ("n_faithfulness",),
        "insertion",
    ),
)

SCALES = {
    "fused": "All scales together",
    "scale1": "Scale 1 (finest)",
    "scale2": "Scale 2",
    "scale3": "Scale 3 (coarsest)",
}


COLOURS = {"before": BEFORE, "control": CONTROL, "after": AFTER}


def roles(content: ReportContent) -> list[tuple[str, str, str]]:
    """Return (role, words, model name) of the models on the page, in the order of the columns."""
    found = [("before", "Before", content.before)]
    if content.control is not None:
        found.append(("control", "Control", content.control))
    return [*found, ("after", "After", content.after)]


def percent(value: Any, digits: int = 0) -> str:
    """Write a share as per cent, a dash where there is none."""
    known = number(value)
    return DASH if known is None else f"{figure(100 * known, digits)}\N{NO-BREAK SPACE}%"


def figures_of(content: ReportContent, name: str) -> Mapping[str, Any]:
    """Return a model's figures as `regaze evaluate` wrote them."""
    found: Mapping[str, Any] = content.results["models"][name]
    return found


def right_of(figures: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (graded exactly right, graded) from the confusion matrix; None where there is none."""
    confusion = figures.get("confusion")
    if not confusion:
        return None
    matrix = np.asarray(confusion, np.int64)
    return int(np.trace(matrix)), int(matrix.sum())


def dead_maps(entry: Mapping[str, Any]) -> str:
    """Say how many maps of one scale are the same everywhere; empty where none is.

    `dead` is a number of photographs, or True where all are meant.
    """
    dead, n = entry.get("dead"), number(entry.get("n"))
    if not dead:
        return ""
    if dead is True:
        return "all"
    if n is None:
        n = (number(entry.get("n_used")) or 0) + (number(entry.get("n_skipped")) or 0)
    return f"{dead} of {n:.0f}" if n >= dead else str(dead)


def class_name(content: ReportContent, index: int | None) -> str:
    """Return a class's name, or a plain word where there is none."""
    if index is None:
        return "not graded"
    return content.classes[index] if 0 <= index < len(content.classes) else f"class {index}"


def evidence(content: ReportContent) -> dict[str, Any]:
    """Return the tables and the small charts."""
    models = [(role, words, name, figures_of(content, name)) for role, words, name in roles(content)]
    rows = [_row(content, row, [f for *_, f in models]) for row in _ROWS]
    rows += _recalls(content, [f for *_, f in models])
    scales = _scale_rows(models)
    return {
        "models": models,
        "rows": rows,
        "rows_have_dash": any(cell == DASH for row in rows for cell in row["cells"]),
        "kappas": _kappas([(words, COLOURS[role], figures) for role, words, _, figures in models]),
        "confusions": [
            (words, confusion_cells(figures["confusion"]))
            for _, words, _, figures in models
            if figures.get("confusion")
        ],
        "reliabilities": [
            (words, _reliability(figures["reliability"], words.lower(), COLOURS[role]), figures)
            for role, words, _, figures in models
            if figures.get("reliability")
        ],
        "scales": scales,
    }


def _kappas(models: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Canvas:
    """Draw each model's kappa (words, colour, figures) with its own interval, from chance (0) to perfect (1)."""
    bars = []
    for words, colour, figures in models:
        value = number(figures["quadratic_weighted_kappa"])
        low, high = map(number, figures["interval"] or (None, None))
        bars.append(Bar(f"{words}: {figure(value)}", Estimate(value, low, high), colour))
    known = [end for bar in bars if bar.estimate is not None for end in (bar.estimate.value, bar.estimate.low)]
    axis = Axis(min([0.0, *(end for end in known if end is not None)]), 1.0)
    spoken = "; ".join(bar.name.replace(":", "") for bar in bars)
    return interval_chart([("", bars)], f"Kappa of each model with its interval: {spoken}", axis=axis)


def _reliability(bins: Sequence[Mapping[str, Any]], name: str, colour: str) -> Canvas:
    known = [(one["confidence"], one["accuracy"], one["n"]) for one in bins if one["n"]]
    spoken = "; ".join(f"confidence {c:.0%}, right {a:.0%}, {n} photographs" for c, a, n in known)
    return reliability_chart(known, f"Reliability of {name}: {spoken}", colour)


def _row(content: ReportContent, row: _Row, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    words, path, digits, way, bounds, counted, key = row
    values = [number(_dig(figures, path)) for figures in models]
    share = digits < 0
    pair = compare(content.paired.get(key)) if key else compare(None)
    first, last = values[0], values[-1]
    change = pair.difference
    if change is None and first is not None and last is not None:
        change = last - first
    tested = pair.low is not None and pair.high is not None
    scale, decimals = (100, 0) if share else (1, digits)
    return {
        "words": words,
        "way": way,
        "cells": [percent(v) if share else figure(v, digits) for v in values],
        "notes": [_span(_dig(figures, bounds), scale, min(decimals, 3)) for figures in models],
        "n": figure(_dig(models[-1], counted), 0),
        "change": DASH
        if change is None
        else figure(scale * change, decimals, sign=True) + (" points" if share else ""),
        "interval": _span((pair.low, pair.high), scale, decimals, sign=True),
        "trend": "" if change is None else _trend(change, scale, decimals, way),
        "told": judge(pair, 0, way == "higher") if tested else "untested",
    }


def _trend(change: float, scale: int, decimals: int, way: str) -> str:
    """Say in which direction a figure went, as far as its decimals show it: `up` is better."""
    if float(f"{abs(scale * change):.{decimals}f}") == 0:
        return "same"
    return "up" if (change > 0) == (way == "higher") else "down"


def _span(bounds: Any, scale: int, decimals: int, sign: bool = False) -> str:
    """Write an interval; empty where there is none."""
    ends = [number(end) for end in bounds or ()]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return ""
    return f"{figure(scale * ends[0], decimals, sign)} to {figure(scale * ends[1], decimals, sign)}"


def _dig(figures: Any, path: Sequence[str]) -> Any:
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _recalls(content: ReportContent, models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each class: how many of its photographs were recognised."""
    rows = []
    for k, name in enumerate(content.classes):
        recalls = []
        for figures in models:
            values = figures.get("recall") or []
            recalls.append({"recall": values[k] if k < len(values) else None, "confusion": figures.get("confusion")})
        row = _row(content, (f"Recognised: {name}", ("recall",), -1, "higher", (), (), ""), recalls)
        row["n"] = figure(_total(recalls[-1]["confusion"], k), 0)
        row["notes"] = [_of(entry["confusion"], k) for entry in recalls]
        rows.append(row)
    return rows


def _of(confusion: Sequence[Sequence[int]] | None, k: int) -> str:
    return f"{confusion[k][k]} of {sum(confusion[k])}" if confusion and k < len(confusion) else ""


def _total(confusion: Sequence[Sequence[int]] | None, k: int) -> int | None:
    return sum(confusion[k]) if confusion and k < len(confusion) else None


def confusion_cells(confusion: Sequence[Sequence[int]]) -> list[list[tuple[int, float, bool]]]:
    """Return (count, share of its row 0..1, on the diagonal) for each cell; rows are the expert's classes."""
    cells = []
    for i, row in enumerate(confusion):
        total = sum(row) or 1
        cells.append([(int(count), count / total, i == j) for j, count in enumerate(row)])
    return cells


def _scale_rows(models: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the maps' figures, scale by scale, each model beneath the other."""
    names = list(dict.fromkeys(scale for *_, figures in models for scale in figures.get("maps") or {}))
    rows = []
    for scale in names:
        for role, words, _, figures in models:
            entry = (figures.get("maps") or {}).get(scale) or {}
            error = number(entry.get("squared_error"))
            baselines = [(kind, number(entry.get(f"{kind}_map_squared_error"))) for kind in ("zero", "mean")]
            unbeaten = [
                {"zero": "empty"}.get(kind, kind)
                for kind, value in baselines
                if error is not None and value is not None and error >= value
            ]
            rows.append(
                {
                    "scale": SCALES.get(scale, scale),
                    "first": role == "before",
                    "span": len(models),
                    "role": role,
                    "model": words,
                    "entry": entry,
                    "unbeaten": " and ".join(unbeaten),
                    "dead": dead_maps(entry),
                }
            )
    return rows


def provenance_sections(provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Flatten nested provenance for reading.

    Returns:
        (heading, [(key, value)]): one section for each mapping on the first level, its inner levels joined by
        dots; what stands alone on the first level comes first, under `general`.
    """
    alone = [(str(key), plain(value)) for key, value in provenance.items() if not isinstance(value, Mapping)]
    sections = [("general", alone)] if alone else []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            sections.append((str(key), list(_flat(value))))
    return sections


def _flat(mapping: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", plain(value)))
    return rows


def plain(value: Any) -> str:
    """Write a value of the provenance as a reader would: no brackets, no quotes."""
    if value is None or value == {} or value == [] or value == ():
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", MINUS) if "e" not in f"{value:.6g}" else f"{value:.6g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(inner) for inner in value)
    return str(value)
