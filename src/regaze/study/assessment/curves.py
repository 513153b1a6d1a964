"""Mean curves of deletion and insertion from the records of the photographs.

Invariant: curves that are drawn together are means over the same photographs; how many is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
Curves = Mapping[str, Mapping[str, Sequence[float | None]]]  # order -> shares, deletion, insertion

FUSED = "fused"
LESIONS = "lesions"


def model_curves(rows: Mapping[str, Sequence[Row]]) -> dict[str, Any] | None:
    """Average the fused map's curves of several models.

    Args:
        rows: Name -> records of `judge_model`, of the same photographs in the same order.

    Returns:
        `n`, `shares`, and `lines`: name -> `deletion`, `insertion`; over the photographs measured with every model;
        None where there is none.
    """
    records = {name: [_curves_of(row) for row in some] for name, some in rows.items()}
    count = min(map(len, records.values()), default=0)
    places = [place for place in range(count) if all(some[place] for some in records.values())]
    return _means({name: [some[place][FUSED] for place in places] for name, some in records.items()})


def order_curves(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Average the curves of one model's fused map and of its reference rankings.

    Args:
        rows: Records of `judge_model`.

    Returns:
        As `model_curves`, by order: `fused` and each control. Where the lesions are an order too, over the
        photographs that have lesions, so that every curve rests on the same ones. None without any control.
    """
    records = [found for found in map(_curves_of, rows) if len(found) > 1]
    with_lesions = [found for found in records if LESIONS in found]
    kept = with_lesions or records
    shared = [name for name in (kept[0] if kept else {}) if all(name in found for found in kept)]
    return _means({name: [found[name] for found in kept] for name in shared})


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
                measure: np.array([one[measure] for one in some], dtype=np.float64).mean(axis=0).tolist()
                for measure in ("deletion", "insertion")
            }
            for name, some in curves.items()
        },
    }
