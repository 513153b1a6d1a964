"""The table of the report that says how each model grades in each period, and whether its error follows the period."""

from __future__ import annotations

from typing import Any

from regaze.evaluation.periods import FEWEST_PHOTOGRAPHS, period_answer
from regaze.evaluation.verdicts import figure
from regaze.report.data import ReportContent
from regaze.report.tables import percent, span


def by_period(content: ReportContent) -> dict[str, Any]:
    """Return the table and the sentence above it.

    Returns:
        `period_rows`, the models beneath each other, and `period_answer` about the new model: both empty where no two
        periods are known; `fewest_photographs` of a period that is shown.
    """
    figures = content.figures(content.after).get("by_period")
    return {
        "period_rows": _rows(content),
        "period_answer": "" if figures is None else f"In the new model {period_answer(figures)}.",
        "fewest_photographs": FEWEST_PHOTOGRAPHS,
    }


def _rows(content: ReportContent) -> list[dict[str, Any]]:
    models = [(role, words, content.figures(name).get("by_period")) for role, words, name in content.roles]
    known = [(role, words, each["periods"]) for role, words, each in models if each is not None]
    return [
        {
            "period": period,
            "first": not index,
            "span": len(known),
            "role": role,
            "model": words,
            "n": periods[period]["n"],
            "accuracy": percent(periods[period]["accuracy"]),
            "excess": figure(100 * periods[period]["excess"]["mean"], 0, sign=True),
            "interval": span(periods[period]["excess"]["interval"], 0, 100, sign=True),
            "kappa": figure(periods[period]["quadratic_weighted_kappa"], 2),
            "rps": figure(periods[period]["ranked_probability_score"], 3),
            "recall": [percent(share) for share in periods[period]["recall"]],
        }
        for period in (known[-1][2] if known else ())
        for index, (role, words, periods) in enumerate(known)
    ]
