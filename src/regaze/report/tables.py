"""The tables of the report: what was measured, scale by scale, class by class, and how it was made.

Invariant: a figure that was not measured is a dash, never a zero; nothing is left out because it looks bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regaze.drawing.canvas import AFTER, BEFORE, CONTROL, Canvas
from regaze.drawing.charts import Axis, Bar, interval_chart, reliability_chart
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import DASH, MINUS, compare, figure, judge, number
from regaze.report.data import ReportContent


@dataclass(frozen=True)
class _Measure:
    """A row of the table of figures; paths lead through a model's figures, their keys joined by dots.

    Attributes:
        words: Its name for the reader.
        path: Of the figure.
        digits: Decimals; None: a share, in per cent.
        higher: Whether higher is better.
        interval: Path of its own interval; empty: it has none.
        count: Path of the number of photographs.
        pair: Key of the paired difference; empty: not compared in pairs.
    """

    words: str
    path: str
    digits: int | None = None
    higher: bool = True
    interval: str = ""
    count: str = "n"
    pair: str = ""


def _of_map(words: str, key: str, digits: int | None, higher: bool = True, pair: str = "") -> _Measure:
    return _Measure(words, f"maps.fused.{key}", digits, higher, f"map_intervals.fused.{key}", "maps.fused.n_used", pair)


def _of_score(words: str, key: str, digits: int) -> _Measure:
    return _Measure(words, f"{key}.mean", digits, False, f"{key}.interval", pair=key)


def _of_curves(words: str, key: str, higher: bool) -> _Measure:
    return _Measure(words, key, 3, higher, f"faithfulness.all.fused.{key}.interval", "n_faithfulness", key)


_KAPPA = "Agreement with the expert (kappa, quadratic weighted where classes have an order)"
_MEASURES = (
    _Measure(_KAPPA, "quadratic_weighted_kappa", 3, interval="interval", pair="kappa"),
    _of_score("Ranked probability score (0 is perfect)", "ranked_probability_score", 4),
    _of_score("Log-loss (0 is perfect)", "log_loss", 3),
    _Measure("Graded exactly right", "accuracy"),
    _Measure("Referable disease: AUROC (chance 0.5)", "referable.auroc", 3),
    _Measure("Referable disease: sensitivity", "referable.sensitivity"),
    _Measure("Referable disease: specificity", "referable.specificity"),
    _Measure("Referable disease: sensitivity at a specificity of .9", "referable.sensitivity_at_90"),
    _Measure("One class against the other: AUROC (chance 0.5)", "two_classes.auroc", 3),
    _Measure("One class against the other: sensitivity", "two_classes.sensitivity"),
    _Measure("One class against the other: specificity", "two_classes.specificity"),
    _Measure("Confidence off by (expected calibration error)", "calibration_error", 3, higher=False),
    _of_map("Attention on {lesions}, times chance (enrichment)", "lesion_enrichment", 2, pair="enrichment"),
    _of_map("Strongest pixels in {lesions} (relevance rank)", "relevance_rank", None),
    _Measure(
        "Bright part of the map over the {lesions} (IoU)",
        "iou.fused.mean",
        3,
        interval="iou.fused.interval",
        count="iou.fused.n_used",
        pair="iou",
    ),
    _of_map("Squared error to the expert's map", "squared_error", 4, higher=False, pair="squared_error"),
    _of_curves("Deletion", "deletion", higher=False),
    _of_curves("Insertion", "insertion", higher=True),
    _of_curves("Deletion, over the certainty on the whole photograph", "relative_deletion", higher=False),
    _of_curves("Insertion, likewise", "relative_insertion", higher=True),
)

SCALES = {
    "fused": "All scales together",
    "scale1": "Scale 1 (finest)",
    "scale2": "Scale 2",
    "scale3": "Scale 3 (coarsest)",
}
COLOURS = {"before": BEFORE, "control": CONTROL, "after": AFTER}


def percent(value: Any, digits: int = 0) -> str:
    """Write a share as per cent, a dash where there is none."""
    known = number(value)
    return DASH if known is None else f"{figure(100 * known, digits)}\N{NO-BREAK SPACE}%"


def right_of(confusion: Sequence[Sequence[int]] | None) -> tuple[int, int] | None:
    """Return (graded exactly right, graded) from a confusion matrix; None where there is none."""
    if confusion is None:
        return None
    matrix = np.asarray(confusion, np.int64)
    return int(np.trace(matrix)), int(matrix.sum())


def dead_maps(entry: Mapping[str, Any]) -> str:
    """Say how many maps of one scale are the same everywhere; empty where none is."""
    return f"{entry['dead']} of {entry['n_used'] + entry['n_skipped']}" if entry["dead"] else ""


def class_name(content: ReportContent, index: int | None) -> str:
    """Return a class's name, or a plain word where there is none."""
    if index is None:
        return "not graded"
    return content.classes[index] if 0 <= index < len(content.classes) else f"class {index}"


def evidence(content: ReportContent) -> dict[str, Any]:
    """Return the tables and the small charts."""
    models = [(role, words, name, content.figures(name)) for role, words, name in content.roles]
    figures = [figures for *_, figures in models]
    rows = [_row(content, measure, figures) for measure in _MEASURES if _applies(measure, figures)]
    rows += [_recall_row(content, k, figures) for k in range(len(content.classes))]
    rows.append(_loss_row(content, figures))
    return {
        "models": models,
        "rows": rows,
        "rows_have_dash": any(cell == DASH for row in rows for cell in row["cells"]),
        "kappas": _kappas(models),
        "baselines": _baseline_rows(content),
        "confusions": [
            (words, confusion_cells(figures["confusion"])) for _, words, _, figures in models if figures["confusion"]
        ],
        "reliabilities": [
            (words, _reliability(figures["reliability"], words.lower(), COLOURS[role]), figures)
            for role, words, _, figures in models
            if figures["reliability"]
        ],
        "scales": _scale_rows(models),
    }


_Models = Sequence[tuple[str, str, str, Mapping[str, Any]]]  # role, words, name, figures


def _kappas(models: _Models) -> Canvas:
    """Draw each model's kappa with its own interval, from chance (0) to perfect (1)."""
    bars = []
    for role, words, _, figures in models:
        value = number(figures["quadratic_weighted_kappa"])
        low, high = figures["interval"] or (None, None)
        bars.append(Bar(f"{words}: {figure(value)}", Estimate(value, low, high), COLOURS[role]))
    known = [end for bar in bars if bar.estimate is not None for end in (bar.estimate.value, bar.estimate.low)]
    axis = Axis(min([0.0, *(end for end in known if end is not None)]), 1.0)
    spoken = "; ".join(bar.name.replace(":", "") for bar in bars)
    return interval_chart([("", bars)], f"Kappa of each model with its interval: {spoken}", axis=axis)


def _reliability(bins: Sequence[Mapping[str, Any]], name: str, colour: str) -> Canvas:
    known = [(each["confidence"], each["accuracy"], each["n"]) for each in bins]
    spoken = "; ".join(f"confidence {c:.0%}, right {a:.0%}, {n} photographs" for c, a, n in known)
    return reliability_chart(known, f"Reliability of {name}: {spoken}", colour)


def _row(content: ReportContent, measure: _Measure, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [number(_dig(figures, measure.path)) for figures in models]
    pair = compare(content.paired[measure.pair] if measure.pair else None)
    first, last = values[0], values[-1]
    change = pair.difference
    if change is None and first is not None and last is not None:
        change = last - first
    verdict = judge(pair, measure.pair) if pair.low is not None else ""
    share = measure.digits is None
    scale, digits = (100, 0) if measure.digits is None else (1, measure.digits)
    return {
        "words": content.words.fill(measure.words),
        "way": "higher" if measure.higher else "lower",
        "cells": [percent(value) if share else figure(value, digits) for value in values],
        "notes": [span(_dig(figures, measure.interval), min(digits, 3), scale) for figures in models],
        "n": figure(_dig(models[-1], measure.count), 0),
        "change": DASH if change is None else figure(scale * change, digits, sign=True) + (" points" if share else ""),
        "interval": span((pair.low, pair.high), digits, scale, sign=True),
        "verdict": verdict,
        "trend": verdict or ("" if change is None else _trend(scale * change, digits, measure.higher)),
    }


def _trend(change: float, digits: int, higher: bool) -> str:
    """Say in which direction a figure without an interval went, as far as its decimals show it."""
    if float(f"{abs(change):.{digits}f}") == 0:
        return ""
    return "to the better" if (change > 0) == higher else "to the worse"


def span(bounds: Sequence[float | None] | None, digits: int = 2, scale: int = 1, sign: bool = False) -> str:
    """Write an interval; empty where there is none.

    Args:
        bounds: [low, high], or None.
        digits: Decimals of each end.
        scale: 100: shares in per cent.
        sign: Write a plus too.
    """
    low, high = bounds or (None, None)
    if low is None or high is None:
        return ""
    return f"{figure(scale * low, digits, sign)} to {figure(scale * high, digits, sign)}"


def _dig(figures: Any, path: str) -> Any:
    """What lies at a path; None where the figures are not there or end before."""
    for key in path.split("."):
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _applies(measure: _Measure, models: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a row has its place: "referable" only for grades of retinopathy, "one class" only for two."""
    special = measure.path.startswith(("referable.", "two_classes."))
    return not special or any(_dig(figures, measure.path) is not None for figures in models)


def _recall_row(content: ReportContent, k: int, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many photographs of a class were recognised."""
    recalls = [{"recall": figures["recall"][k] if figures["recall"] else None} for figures in models]
    row = _row(content, _Measure("", "recall"), recalls) | {"words": f"Recognised: {content.classes[k]}"}
    counts = [figures["confusion"][k] if figures["confusion"] else None for figures in models]
    row["n"] = DASH if counts[-1] is None else str(sum(counts[-1]))
    row["notes"] = ["" if count is None else f"{count[k]} of {sum(count)}" for count in counts]
    return row


def _loss_row(content: ReportContent, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the training loss ended, and below it where it began."""
    words = "Training loss of the grade, last epoch (each model's own training)"
    row = _row(content, _Measure(words, "training_loss.last", 2, higher=False), models)
    losses = [figures["training_loss"] for figures in models]
    row["notes"] = ["" if loss is None else f"first {figure(loss['first'])}" for loss in losses]
    return row | {"n": "", "change": "", "trend": ""}  # each model's own training: no difference to judge


def _baseline_rows(content: ReportContent) -> list[dict[str, Any]]:
    """What the models must beat, and how far each is above it."""
    rows = []
    for name, found in content.results["baselines"].items():
        pairs = [compare(found["against"].get(model)) for *_, model in content.roles]
        rows.append(
            {
                "name": name,
                "about": found["about"],
                "kappa": figure(found["quadratic_weighted_kappa"], 3),
                "interval": span(found["interval"], 3),
                "accuracy": percent(found["accuracy"]),
                "changes": [figure(pair.difference, 3, sign=True) for pair in pairs],
                "intervals": [span((pair.low, pair.high), 3, sign=True) for pair in pairs],
                "verdicts": [judge(pair, "kappa") if pair.low is not None else "" for pair in pairs],
            }
        )
    return rows


def confusion_cells(confusion: Sequence[Sequence[int]]) -> list[list[tuple[int, float, bool]]]:
    """Return (count, share of its row 0..1, on the diagonal) for each cell; rows are the expert's classes."""
    totals = [sum(row) or 1 for row in confusion]
    return [
        [(count, count / total, i == j) for j, count in enumerate(row)]
        for i, (row, total) in enumerate(zip(confusion, totals, strict=True))
    ]


def _scale_rows(models: _Models) -> list[dict[str, Any]]:
    """Return the maps' figures, scale by scale, each model beneath the other."""
    rows = []
    for scale in models[-1][3]["maps"]:
        for role, words, _, figures in models:
            entry = figures["maps"][scale]
            error = entry["squared_error"]
            baselines = (("empty", entry["zero_map_squared_error"]), ("mean", entry["mean_map_squared_error"]))
            unbeaten = [name for name, value in baselines if error is not None and value is not None and error >= value]
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
    alone = [(key, plain(value)) for key, value in provenance.items() if not isinstance(value, Mapping)]
    sections = [("general", alone)] if alone else []
    return sections + [(key, _flat(value)) for key, value in provenance.items() if isinstance(value, Mapping)]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
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
        text = f"{value:.6g}"
        return text if "e" in text else text.replace("-", MINUS)
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(inner) for inner in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(inner)}" for key, inner in value.items())
    return str(value)
