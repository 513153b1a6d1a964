"""Figures about maps from records per photograph: means with 95 % intervals by patient, and paired differences.

Invariant: whatever is averaged says over how many photographs (`n_used`, `n_skipped`); what cannot be computed is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import getitem, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.agreement import per_image
from regaze.evaluation.comparison import ALL_MEASURES, faithfulness_difference, summarise_faithfulness
from regaze.evaluation.intervals import mean_interval, paired_mean_difference
from regaze.evaluation.lesion_coverage import BUDGET, Counts, recall_difference, summarise_recall
from regaze.records import FUSED

Row = dict[str, Any]
Figures = dict[str, Any]

# An expert's outlines tell single lesions; a box may hold many lesions or none, so the two are not pooled.
ORIGINS = ("masks", "boxes")


def map_figures(rows: Sequence[Row], sound: int | None, resamples: int) -> Figures:
    """Figures of one model's maps.

    Args:
        rows: Records of `judge_model`, at least one.
        sound: The class that means "no finding"; None: of none is that known.
        resamples: Bootstrap resamples of each interval.

    Returns:
        `map_intervals`: map's name -> number of `summarise_maps` -> [low, high]. `iou`: map's name -> `mean`,
        `interval`, `n_used`, `n_skipped`, `thresholds` (each fold's, sorted). `lesion_recall`: `budget`, `chance`, and
        `masks` and `boxes`, each what `summarise_recall` gives. `faithfulness` and `sanity`: see the functions below;
        None where not measured.
    """
    patients = [row["patient"] for row in rows]
    scales = list(rows[0]["maps"])
    return {
        "map_intervals": {scale: _map_intervals(rows, scale, patients, resamples) for scale in scales},
        "iou": {scale: _iou(rows, scale, patients, resamples) for scale in scales},
        "lesion_recall": _lesion_recall(rows, scales, patients, resamples),
        "faithfulness": _faithfulness(rows, sound, resamples),
        "sanity": _sanity(rows, patients, resamples),
    }


def map_pairs(before: Sequence[Row], after: Sequence[Row], sound: int | None, resamples: int) -> Figures:
    """Paired differences after - before of the maps, over the same photographs, resampled by patient.

    Args:
        before: Records of one model.
        after: Records of another, of the same photographs in the same order.
        sound: As in `map_figures`.
        resamples: Bootstrap resamples of each interval.

    Returns:
        `enrichment`, `squared_error` and `iou` of the fused map; each of `comparison.ALL_MEASURES` (over all
        photographs measured with both), `without_grade_0` (these four; None where no class is known to be sound), and
        `lesion_recall`: map's name -> `all` and each lesion type -> what `recall_difference` gives; masks only.
    """
    graded = [index for index, row in enumerate(before) if row["label"] not in (None, sound)]
    diseased = [before[index] for index in graded], [after[index] for index in graded]

    def faithfulness(before: Sequence[Row], after: Sequence[Row]) -> Figures:
        return {measure: _difference(before, after, itemgetter(measure), resamples) for measure in ALL_MEASURES}

    def fused(field: str) -> Figures:
        return _difference(before, after, lambda row: row["maps"][FUSED][field], resamples)

    return {
        "enrichment": fused("lesion_enrichment"),
        "squared_error": fused("squared_error"),
        **faithfulness(before, after),
        "without_grade_0": None if sound is None else faithfulness(*diseased),
        "iou": fused("iou"),
        "lesion_recall": _recall_pairs(before, after, resamples),
    }


def _difference(
    before: Sequence[Row], after: Sequence[Row], value: Callable[[Row], float | None], resamples: int
) -> Figures:
    values, others = (_array([value(row) for row in rows]) for rows in (before, after))
    return paired_mean_difference(values, others, [row["patient"] for row in before], resamples)


def _recall_pairs(before: Sequence[Row], after: Sequence[Row], resamples: int) -> Figures:
    patients = [row["patient"] for row in before]
    counts = _counts(before, "masks", "found")
    kinds = [None, *dict.fromkeys(kind for row in counts if row for kind in row)]
    recalls: Figures = {}
    for scale in [name for name in before[0]["maps"] if name in after[0]["maps"]]:
        lit_a, lit_b = (_counts(rows, "masks", "lit", scale) for rows in (before, after))
        recalls[scale] = {
            kind or "all": recall_difference(counts, lit_a, lit_b, kind, patients, resamples) for kind in kinds
        }
    return recalls


def _map_intervals(rows: Sequence[Row], scale: str, patients: Sequence[str | None], resamples: int) -> Figures:
    arrays = per_image([row["maps"][scale] for row in rows])
    return {name: list(mean_interval(values, patients, resamples)[1:]) for name, values in arrays.items()}


def _iou(rows: Sequence[Row], scale: str, patients: Sequence[str | None], resamples: int) -> Figures:
    maps = [row["maps"][scale] for row in rows]
    thresholds = {record["iou_threshold"] for record in maps} - {None}
    return {**_mean([record["iou"] for record in maps], patients, resamples), "thresholds": sorted(thresholds)}


def _lesion_recall(
    rows: Sequence[Row], scales: Sequence[str], patients: Sequence[str | None], resamples: int
) -> Figures:
    chances = [row["lesions"]["chance"] for row in rows if row["lesions"]]
    return {
        "budget": BUDGET,
        "chance": float(np.mean(chances)) if chances else None,  # they differ by rounding, as pictures do in size
        **{
            origin: summarise_recall(
                _counts(rows, origin, "found"),
                {scale: _counts(rows, origin, "lit", scale) for scale in scales},
                patients,
                resamples,
            )
            for origin in ORIGINS
        },
    }


def _counts(rows: Sequence[Row], origin: str, *path: str) -> list[Counts | None]:
    """What stands at a path of the records' `lesions`; None for photographs whose lesions are not of this origin."""
    lesions = [row["lesions"] for row in rows]
    return [reduce(getitem, path, item) if item and item["origin"] == origin else None for item in lesions]


def _faithfulness(rows: Sequence[Row], sound: int | None, resamples: int) -> Figures | None:
    """Deletion and insertion with and without the sound class, and the reference rankings.

    Returns:
        None where nothing was measured. Else `all` and `without_grade_0` (None where no class is sound), each
        with the fused map and the measured rankings -> each of `comparison.ALL_MEASURES` (`mean`, `interval`),
        `n_used`, `n_skipped` (of the photographs measured at all); a ranking has `against` too: the fused map less the
        ranking on the photographs that have both, the same four as `paired_mean_difference` gives them.
    """
    measured = [row for row in rows if row["faithfulness"] is not None]
    if not measured:
        return None
    records = [row["faithfulness"] for row in measured]
    # What is compared calls the sound class 0, whatever its index.
    graded = [None if row["label"] is None else int(row["label"] != sound) for row in measured]
    labels = None if sound is None else graded
    patients = [row["patient"] for row in measured]
    parts: Figures = {"without_grade_0": None, **summarise_faithfulness(records, labels, patients, resamples)}
    for ranking in [name for name in parts["all"] if name != FUSED]:
        against = faithfulness_difference((records, ranking), (records, FUSED), labels, patients, resamples)
        for part, pair in against.items():
            parts[part][ranking]["against"] = pair
    return {part: parts[part] for part in ("all", "without_grade_0")}


def _sanity(rows: Sequence[Row], patients: Sequence[str | None], resamples: int) -> Figures | None:
    """Sanity checks of the fused map.

    Returns:
        None where nothing was checked. Else `stability`: change -> mean rank correlation; `randomisation`: group of
        layers, in the order of their destruction -> `spearman` and `ssim`; each with `mean`, `interval`, `n_used` and
        `n_skipped` (photographs not checked, or on which a map is constant).
    """
    first = next((row["sanity"] for row in rows if row["sanity"] is not None), None)
    if first is None:
        return None

    def mean(*path: str) -> Figures:
        records = [row["sanity"] for row in rows]
        return _mean(
            [None if record is None else reduce(getitem, path, record) for record in records], patients, resamples
        )

    return {
        "stability": {change: mean("stability", change) for change in first["stability"]},
        "randomisation": {
            stage: {measure: mean("randomisation", stage, measure) for measure in measures}
            for stage, measures in first["randomisation"].items()
        },
    }


def _mean(values: Sequence[Any], patients: Sequence[str | None], resamples: int) -> Figures:
    array = _array(values)
    mean, low, high = mean_interval(array, patients, resamples)
    n_used = int((~np.isnan(array)).sum())
    return {"mean": mean, "interval": [low, high], "n_used": n_used, "n_skipped": len(array) - n_used}


def _array(values: Sequence[Any]) -> NDArray[np.float64]:
    """(N,) float64, NaN for None."""
    return np.array(values, dtype=np.float64)
