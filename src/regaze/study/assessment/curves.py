"""Mean curves of deletion and insertion from the records of the photographs.

Invariant: curves that are drawn together are means over the same photographs; how many is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regaze.records import FUSED

Row = dict[str, Any]
Curves = Mapping[str, Mapping[str, Sequence[float | None]]]  # map or ranking -> shares, deletion, insertion

LESIONS = "lesions"


def model_curves(rows: Mapping[str, Sequence[Row]]) -> dict[str, Any] | None:
    """Average the fused map's curves of several models.

    Args:
        rows: Name -> records of `judge_model`, of the same photographs in the same order.

    Returns:
        `n`, `shares`, and `lines`: name -> `deletion`, `insertion`; over the photographs measured with every model;
        None where there is none.
    """
    curves = [[_curves_of(row) for row in records] for records in rows.values()]
    measured = [of_models for of_models in zip(*curves, strict=True) if all(of_models)]
    return _means({name: [of_models[index][FUSED] for of_models in measured] for index, name in enumerate(rows)})


def ranking_curves(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Average the curves of one model's fused map and of its reference rankings, from records of `judge_model`.

    Returns:
        As `model_curves`, for `fused` and each ranking. Where the lesions are a ranking too, over the photographs
        that have lesions, so that every curve rests on the same ones. None without any ranking.
    """
    measured = [curves for curves in map(_curves_of, rows) if len(curves) > 1]
    kept = [curves for curves in measured if LESIONS in curves] or measured
    shared = [name for name in (kept[0] if kept else {}) if all(name in curves for curves in kept)]
    return _means({name: [curves[name] for curves in kept] for name in shared})


def _curves_of(row: Row) -> Curves:
    return row["faithfulness"]["curves"] if row["faithfulness"] is not None else {}


def _means(curves: Mapping[str, Sequence[Mapping[str, Sequence[float | None]]]]) -> dict[str, Any] | None:
    first = next(iter(curves.values()), [])
    if not first:
        return None
    return {
        "n": len(first),
        "shares": first[0]["shares"],
        "lines": {
            name: {
                measure: np.array([item[measure] for item in items], dtype=np.float64).mean(axis=0).tolist()
                for measure in ("deletion", "insertion")
            }
            for name, items in curves.items()
        },
    }
