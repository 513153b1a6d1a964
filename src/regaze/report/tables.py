"""The tables of the report: what was measured, scale by scale, class by class, and how it was made.

Invariant: a figure that was not measured is a dash, never a zero; nothing is left out because it looks bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regaze.report import charts
from regaze.report.content import ReportContent
from regaze.report.verdict import DASH, MINUS, figure, number

# Row of the table: words, path in a model's figures, decimals (-1: a share in per cent), direction.
_ROWS: tuple[tuple[str, tuple[str, ...], int, str], ...] = (
    ("Agreement with the expert (quadratic weighted kappa)", ("quadratic_weighted_kappa",), 3, "higher"),
    ("Graded exactly right", ("accuracy",), -1, "higher"),
    ("Referable disease: AUROC", ("referable", "auroc"), 3, "higher"),
    ("Referable disease: sensitivity", ("referable", "sensitivity"), -1, "higher"),
    ("Referable disease: specificity", ("referable", "specificity"), -1, "higher"),
    ("Confidence off by (expected calibration error)", ("calibration_error",), 3, "lower"),
    ("Attention on lesions, times chance (enrichment)", ("maps", "fused", "lesion_enrichment"), 2, "higher"),
    ("Strongest pixels in lesions (relevance rank)", ("maps", "fused", "relevance_rank"), -1, "higher"),
    ("Squared error to the expert's map", ("maps", "fused", "squared_error"), 4, "lower"),
    ("Deletion", ("deletion",), 3, "lower"),
    ("Insertion", ("insertion",), 3, "higher"),
)

SCALES = {
    "fused": "All scales together",
    "scale1": "Scale 1 (finest)",
    "scale2": "Scale 2",
    "scale3": "Scale 3 (coarsest)",
}


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
    rows = [_row(words, path, digits, way, [f for *_, f in models]) for words, path, digits, way in _ROWS]
    rows += _recalls(content, [f for *_, f in models])
    scales = _scale_rows(models)
    return {
        "models": models,
        "rows": rows,
        "rows_have_dash": any(cell == DASH for row in rows for cell in row["cells"]),
        "kappas": charts.kappa_chart([(words, role, figures) for role, words, _, figures in models]),
        "confusions": [
            (words, confusion_cells(figures["confusion"]))
            for _, words, _, figures in models
            if figures.get("confusion")
        ],
        "reliabilities": [
            (words, charts.reliability_chart(figures["reliability"], words.lower(), role), figures)
            for role, words, _, figures in models
            if figures.get("reliability")
        ],
        "scales": scales,
    }


def _row(words: str, path: Sequence[str], digits: int, way: str, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [number(_dig(figures, path)) for figures in models]
    write = percent if digits < 0 else figure
    cells = [write(v) if digits < 0 else figure(v, digits) for v in values]
    notes = []
    for figures in models:
        interval = figures.get("interval") if path == ("quadratic_weighted_kappa",) else None
        known = interval is not None and number(interval[0]) is not None
        notes.append(f"{figure(interval[0])} to {figure(interval[1])}" if interval and known else "")
    first, last = values[0], values[-1]
    change, trend = DASH, ""
    if first is not None and last is not None:
        scale = 100 if digits < 0 else 1
        change = figure(scale * (last - first), max(digits, 0), sign=True) + (" points" if digits < 0 else "")
        moved = last - first if way == "higher" else first - last
        trend = "same" if float(f"{abs(scale * moved):.{max(digits, 0)}f}") == 0 else ("up" if moved > 0 else "down")
    return {"words": words, "cells": cells, "notes": notes, "change": change, "trend": trend, "way": way}


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
        row = _row(f"Recognised: {name}", ("recall",), -1, "higher", recalls)
        row["notes"] = [_of(entry["confusion"], k) for entry in recalls]
        rows.append(row)
    return rows


def _of(confusion: Sequence[Sequence[int]] | None, k: int) -> str:
    return f"{confusion[k][k]} of {sum(confusion[k])}" if confusion and k < len(confusion) else ""


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
