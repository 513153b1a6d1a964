"""From a study to the content of its report: figures, and the photographs worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from regaze.data.pixels import Pixels
from regaze.errors import StudyError
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions
from regaze.records import Sample
from regaze.report.data import IN_FULL, Case, ReportContent, View
from regaze.report.page import SMALL
from regaze.report.small import reduced
from regaze.study.assessment.curves import model_curves, order_curves
from regaze.study.assessment.ensemble import Ensemble
from regaze.study.assessment.judge import judge_model, part_of
from regaze.study.assessment.summary import compare, control_of, evaluate, is_control
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions
from regaze.study.options import EvaluateOptions

PER_GRADE = 3

Row = dict[str, Any]


def assemble(study: Study, options: EvaluateOptions, machine: MachineOptions, commands: list[str]) -> ReportContent:
    """Judge the study's models and gather what the report shows.

    Args:
        study: The study.
        options: As for `evaluate`.
        machine: Device and precision.
        commands: Command lines that reproduce the report.

    Raises:
        StudyError: The study has no fine-tuned model to compare.
    """
    names = study.models()
    before, after = _pair(study, names)
    control = control_of(study, names, before)
    results = evaluate(study, options, machine)
    names_by_role = {"before": before, **({"control": control} if control is not None else {}), "after": after}
    rows = {name: judge_model(study, name, options, machine) for name in names_by_role.values()}
    worse_graded, better_graded = _grade_changes(rows[before], rows[after])
    worse_maps, better_maps = _map_changes(rows[before], rows[after])
    further = _further_off(rows[before], rows[after]) if study.dataset.ordinal else []
    gallery = _gallery(rows[before], rows[after], len(study.classes))
    full = {*gallery, *worse_graded[:IN_FULL], *worse_maps[:IN_FULL]}
    shown = full | {*worse_graded, *worse_maps, *further}
    cases = _cases(study, before, after, rows, sorted(shown), full, machine)
    return ReportContent(
        title=f"Does {after} look in the right place?",
        classes=study.classes,
        results=results,
        before=before,
        after=after,
        control=control,
        paired=_paired(study, rows, before, after, control, options),
        cases=[cases[place] for place in gallery],
        worse_graded=[cases[place] for place in worse_graded],
        worse_maps=[cases[place] for place in worse_maps],
        further_off=[cases[place] for place in further],
        n_worse_graded=len(worse_graded),
        n_better_graded=len(better_graded),
        n_worse_maps=len(worse_maps),
        n_better_maps=len(better_maps),
        provenance=_provenance(study, before, after),
        commands=commands,
        curves={
            "models": model_curves({role: rows[name] for role, name in names_by_role.items()}),
            "orders": order_curves(rows[after]),
        },
    )


def _pair(study: Study, names: Sequence[str]) -> tuple[str, str]:
    """The latest fine-tuned model of the most scales, and the model it descends from."""
    cards = {name: study.card(name) for name in names}
    tuned = [name for name in names if cards[name].parent is not None and not is_control(study, name)]
    if not tuned:
        raise StudyError(
            f"Study {study.path} has no fine-tuned model to report on: run `regaze finetune {study.path}`."
        )
    multi = [name for name in tuned if cards[name].network.network == "multi-scale"]
    after = (multi or tuned)[-1]
    return str(cards[after].parent), after


def _paired(
    study: Study,
    rows: dict[str, list[Row]],
    before: str,
    after: str,
    control: str | None,
    options: EvaluateOptions,
) -> dict[str, Any]:
    paired = compare(study, rows[before], rows[after], options)
    if control is not None:
        against = compare(study, rows[control], rows[after], options)
        paired |= {f"{key}_against_control": value for key, value in against.items()}
    return paired


def _grade_changes(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Places graded right before and wrong after (the largest miss first), and the reverse."""
    worse, better = [], []
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if one["label"] is None:
            continue
        was, now = one["grade"] == one["label"], other["grade"] == other["label"]
        if was and not now:
            worse.append(place)
        elif now and not was:
            better.append(place)
    worse.sort(key=lambda place: (-abs(after[place]["grade"] - after[place]["label"]), after[place]["sample"]))
    return worse, better


def _further_off(before: Sequence[Row], after: Sequence[Row]) -> list[int]:
    """Places graded wrong before and further from the expert's grade after, the largest step first."""
    steps: list[tuple[int, int]] = []
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if one["label"] is None or one["grade"] == one["label"]:
            continue
        step = abs(other["grade"] - one["label"]) - abs(one["grade"] - one["label"])
        if step > 0:
            steps.append((-step, place))
    return [place for _, place in sorted(steps)]


def _map_changes(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Places whose fused map holds less of its energy in the lesions than before (the largest loss first), and more."""
    changes: list[tuple[float, int]] = []
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        was, now = one["maps"]["fused"]["lesion_enrichment"], other["maps"]["fused"]["lesion_enrichment"]
        if was is not None and now is not None:
            changes.append((now - was, place))
    changes.sort()
    return [place for change, place in changes if change < 0], [place for change, place in changes if change > 0]


def _gallery(before: Sequence[Row], after: Sequence[Row], classes: int) -> list[int]:
    """Photographs per grade at the 10th, 50th and 90th percentile of the change in enrichment: no hand-picking."""
    chosen: list[int] = []
    for grade in range(classes):
        places = [place for place, row in enumerate(before) if row["label"] == grade]
        change: Callable[[int], tuple[float, str]] = lambda place: (  # noqa: E731 - a sort key
            (after[place]["maps"]["fused"]["lesion_enrichment"] or 0.0)
            - (before[place]["maps"]["fused"]["lesion_enrichment"] or 0.0),
            before[place]["sample"],
        )
        places.sort(key=change)
        if places:
            marks = np.linspace(0.1, 0.9, PER_GRADE) * (len(places) - 1)
            chosen += list(dict.fromkeys(places[round(mark)] for mark in marks))
    return chosen


def _cases(
    study: Study,
    before: str,
    after: str,
    rows: dict[str, list[Row]],
    places: Sequence[int],
    full: set[int],
    machine: MachineOptions,
) -> dict[int, Case]:
    """Photographs with both models' maps, small but for those in `full`; none is shown to a model that saw it."""
    by_id = {sample.id: sample for sample in study.dataset.samples}
    cases: dict[int, Case] = {}
    test = part_of(study) == "test"
    for fold in study.folds:
        mine = [
            place for place in places if (test and fold == 0) or study.split.get(rows[before][place]["sample"]) == fold
        ]
        if not mine:
            continue
        samples = [by_id[rows[before][place]["sample"]] for place in mine]
        folds = study.folds if test else [fold]
        seen = {name: _show(study, name, folds, samples, machine) for name in (before, after)}
        pixels = seen[before][1]
        masks, known = known_lesions(samples, pixels, study.dataset.ordinal)
        for index, (place, sample) in enumerate(zip(mine, samples, strict=True)):
            case = Case(
                sample=sample.id,
                label=sample.label,
                photo=pixels.images[index],
                lesions=masks[index] if known[index] else None,
                origin=sample.origin,
                before=_view(seen[before][0], index, pixels.images.shape[1], rows[before][place]),
                after=_view(seen[after][0], index, pixels.images.shape[1], rows[after][place]),
            )
            cases[place] = case if place in full else reduced(case, SMALL)
    return cases


def _show(
    study: Study, name: str, folds: Sequence[int], samples: list[Sample], machine: MachineOptions
) -> tuple[Predictions, Pixels]:
    loaded = [load_model(study.model_folder(name, fold), machine) for fold in folds]
    pixels = study.pixels(samples, loaded[0][1].size, machine.workers)
    return Ensemble(tuple(predictor for predictor, _ in loaded)).predict(pixels.images), pixels


def _view(predictions: Predictions, index: int, side: int, row: Row) -> View:
    record = row["maps"]["fused"]
    return View(
        grade=int(predictions.grades[index]),
        confidence=float(predictions.probabilities[index, predictions.grades[index]]),
        probabilities=[float(value) for value in predictions.probabilities[index]],
        fused=enlarge(predictions.fused[index : index + 1], side)[0],
        scales=[maps[index] for maps in predictions.maps],
        enrichment=record["lesion_enrichment"],
        relevance_rank=record["relevance_rank"],
        squared_error=record["squared_error"],
    )


def _provenance(study: Study, before: str, after: str) -> dict[str, Any]:
    base, tuned = study.card(before), study.card(after)
    return {
        "data": {
            "source": study.options.data.partition(":")[0],
            "photographs": len(study.dataset.samples),
            "fingerprint": study.dataset.fingerprint,
            "notes": list(study.dataset.notes),
        },
        "split": {
            "folds": study.options.folds,
            "by": "patient, copies of one picture together, stratified by grade",
            "seed": study.options.seed,
        },
        "network": asdict(base.network),
        "input": {"size": tuned.size, "crop": tuned.crop},
        "phase 1": {**base.recipe["phase1"], "seconds": base.details["seconds"]},
        "fine-tuning": {**tuned.recipe["finetune"], "seconds": tuned.details["seconds"]},
        "corrections": tuned.corrections,
        "machine": tuned.details["machine"],
        "versions": tuned.versions,
        "made": tuned.created,
    }
