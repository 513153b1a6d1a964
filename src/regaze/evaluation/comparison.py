"""Explainers and reference rankings beside each other: means and paired differences of Deletion and Insertion.

Invariant: pure numbers from records that JSON can hold, so that folds can be stored one by one and pooled later. A
photograph that has no such map (no lesions to begin with) is skipped and counted; in a paired difference so is one
that lacks either.

Everything is given twice, with and without grade 0: on a healthy photograph there is nothing whose deletion could take
the grade away, and the healthy are a third of IDRiD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.evaluation.faithfulness import Faithfulness
from regaze.evaluation.intervals import mean_interval, paired_mean_difference

Record = dict[str, Any]

MEASURES = ("deletion", "insertion")
#: Also over the probability on the whole photograph: 1 is as sure as there, so that two networks of different
#: confidence can be compared.
ALL_MEASURES = (*MEASURES, "relative_deletion", "relative_insertion")


def faithfulness_records(results: Mapping[str, Faithfulness]) -> list[Record]:
    """One record per image.

    Args:
        results: Name -> result, of the same N images (`compare_orders`).

    Returns:
        N dicts: `followed`, the class whose probability was followed (int); `maps`: name -> `deletion` and `insertion`
        (float in 0..1), and `relative_deletion` and `relative_insertion`, these over the probability of that class on
        the whole photograph (float, 0 or more; None where that probability is 0); `curves`: name -> `shares`,
        `deletion` and `insertion`, lists of n_steps + 1 numbers to draw.

    Raises:
        ValueError: Results of different numbers of images.
    """
    sizes = {name: len(result.classes) for name, result in results.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"results of {sizes} images: pass results of the same images")
    count = max(sizes.values(), default=0)
    records: list[Record] = [{"followed": None, "maps": {}, "curves": {}} for _ in range(count)]
    for name, result in results.items():
        for index, record in enumerate(records):
            record["followed"] = int(result.classes[index])
            clean = float(result.deletion_curves[index, 0])
            areas = {"deletion": float(result.deletion[index]), "insertion": float(result.insertion[index])}
            relative = {f"relative_{key}": area / clean if clean else None for key, area in areas.items()}
            record["maps"][name] = {**areas, **relative}
            record["curves"][name] = {
                "shares": result.shares.tolist(),
                "deletion": result.deletion_curves[index].tolist(),
                "insertion": result.insertion_curves[index].tolist(),
            }
    return records


def summarise_faithfulness(
    records: Sequence[Record],
    labels: Sequence[int | None] | None = None,
    patients: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean Deletion and Insertion of every name, with 95 % bootstrap intervals.

    Args:
        records: From `faithfulness_records`, one per image.
        labels: True grades; None: unknown, left out of what is said without grade 0.
        patients: Resampled together, see `intervals.group_codes`.
        resamples: Number of resamples.

    Returns:
        `all`, and with labels `without_grade_0`: name -> each of `ALL_MEASURES` (`mean` and `interval`: [low,
        high]; None where undefined), `n_used`, `n_skipped`.

    Raises:
        ValueError: Numbers of records, labels and patients that differ.
        OptionError: `resamples` below 1.
    """
    names = dict.fromkeys(name for record in records for name in record["maps"])

    def entry(name: str, keep: NDArray[np.bool_]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for measure in ALL_MEASURES:
            mean, low, high = mean_interval(_values(records, name, measure)[keep], _kept(patients, keep), resamples)
            result[measure] = {"mean": mean, "interval": [low, high]}
        n_used = sum(name in record["maps"] for record, kept in zip(records, keep, strict=True) if kept)
        return result | {"n_used": n_used, "n_skipped": int(keep.sum()) - n_used}

    return {part: {name: entry(name, keep) for name in names} for part, keep in _parts(len(records), labels).items()}


def faithfulness_difference(
    before: tuple[Sequence[Record], str],
    after: tuple[Sequence[Record], str],
    labels: Sequence[int | None] | None = None,
    patients: Sequence[str | None] | None = None,
    resamples: int = 2000,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Paired difference of two maps on the same images: two explainers, a map and a ranking, or two models.

    Two models each follow the class that they give the untouched image; pass `classes` to `compare_orders` where they
    should follow the same one.

    Args:
        before: Records, one per image, and the name in them.
        after: Likewise; the same records for two names of one model.
        labels: As in `summarise_faithfulness`.
        patients: Likewise.
        resamples: Number of resamples; both sides see the same ones.

    Returns:
        `all`, and with labels `without_grade_0`: each of `ALL_MEASURES` as `intervals.paired_mean_difference` gives it.
        The difference is after - before: below zero is better for Deletion, above zero for Insertion.

    Raises:
        ValueError: Numbers of records, labels and patients that differ, or a name that no record has.
        OptionError: `resamples` below 1.
    """
    if len(before[0]) != len(after[0]):
        raise ValueError(f"{len(before[0])} and {len(after[0])} records: pass records of the same images")
    for records, name in (before, after):
        if records and not any(name in record["maps"] for record in records):
            known = ", ".join(dict.fromkeys(name for record in records for name in record["maps"]))
            raise ValueError(f"no record has a map {name!r} (maps: {known})")
    return {
        part: {
            measure: paired_mean_difference(
                _values(*before, measure)[keep], _values(*after, measure)[keep], _kept(patients, keep), resamples
            )
            for measure in ALL_MEASURES
        }
        for part, keep in _parts(len(before[0]), labels).items()
    }


def _parts(count: int, labels: Sequence[int | None] | None) -> dict[str, NDArray[np.bool_]]:
    """Name -> (N,) bool, the images of each part."""
    parts = {"all": np.ones(count, dtype=bool)}
    if labels is not None:
        if len(labels) != count:
            raise ValueError(f"{len(labels)} labels for {count} records: pass one label per image")
        parts["without_grade_0"] = np.array([label not in (None, 0) for label in labels], dtype=bool)
    return parts


def _kept(patients: Sequence[str | None] | None, keep: NDArray[np.bool_]) -> list[str | None] | None:
    if patients is None:
        return None
    if len(patients) != keep.size:
        raise ValueError(f"{len(patients)} patients for {keep.size} records: pass one patient per image, or None")
    return [patient for patient, wanted in zip(patients, keep, strict=True) if wanted]


def _values(records: Sequence[Record], name: str, measure: str) -> NDArray[np.float64]:
    """(N,) float64, NaN where an image has no such map."""
    return np.array([record["maps"].get(name, {}).get(measure) for record in records], dtype=np.float64)
