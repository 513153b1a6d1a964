"""From a study to the content of its report: figures, and the photographs worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from regaze.errors import StudyError
from regaze.models.options import MachineOptions
from regaze.report.data import IN_FULL, Case, ReportContent, View
from regaze.report.page import SMALL
from regaze.study.assessment.controls import control_of, is_control
from regaze.study.assessment.curves import model_curves, ranking_curves
from regaze.study.assessment.judge import judged_maps
from regaze.study.assessment.kept_maps import Maps
from regaze.study.assessment.summary import Assessment
from regaze.study.folder import Study
from regaze.study.lesions import enlarge, known_lesions

PER_GRADE = 3

Row = dict[str, Any]


def assemble(study: Study, assessment: Assessment, machine: MachineOptions, commands: list[str]) -> ReportContent:
    """Gather what the report shows.

    Args:
        study: The study.
        assessment: Of all its models, on its own photographs.
        machine: As it was judged with.
        commands: Command lines that reproduce the report.

    Raises:
        StudyError: The study has no fine-tuned model to compare.
    """
    before, after = compared_models(study)
    control = control_of(study, after)
    names_by_role = {"before": before, **({"control": control} if control is not None else {}), "after": after}
    rows = {name: assessment.records[name] for name in names_by_role.values()}
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
        results=assessment.figures,
        before=before,
        after=after,
        control=control,
        paired=_paired(assessment.figures["paired"], before, after, control),
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
            "orders": ranking_curves(rows[after]),
        },
    )


def compared_models(study: Study) -> tuple[str, str]:
    """The model before and the model after: the latest fine-tuned one of the most scales, and what it descends from.

    Raises:
        StudyError: No model is fine-tuned, or what it descends from is gone.
    """
    cards = study.cards()
    tuned = [name for name in cards if cards[name].parent is not None and not is_control(study, name)]
    if not tuned:
        raise StudyError(
            f"Study {study.path} has no fine-tuned model to report on: run `regaze finetune {study.path}`."
        )
    multi = [name for name in tuned if cards[name].network.network == "multi-scale"]
    after = (multi or tuned)[-1]
    before = str(cards[after].parent)
    study.require_model(before)
    return before, after


def _paired(pairs: dict[str, dict[str, Any]], before: str, after: str, control: str | None) -> dict[str, Any]:
    against = {} if control is None else pairs[f"{after} against {control}"]
    return pairs[f"{after} against {before}"] | {f"{key}_against_control": pair for key, pair in against.items()}


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
    """Photographs with both models' maps as they were judged, small but for those in `full`."""
    if not places:
        return {}
    by_id = {sample.id: sample for sample in study.dataset.samples}
    samples = [by_id[rows[after][place]["sample"]] for place in places]
    pixels = study.pixels(samples, study.card(after).size, machine.workers)
    masks, known = known_lesions(samples, pixels, study.dataset.ordinal)
    wanted = {sample.id for sample in samples}
    maps = {name: judged_maps(study, name, wanted, machine) for name in (before, after)}
    cases: dict[int, Case] = {}
    for place, sample, photo, lesions, sure in zip(places, samples, pixels.images, masks, known, strict=True):
        views = (_view(rows[name][place], maps[name][sample.id], len(photo)) for name in (before, after))
        case = Case(sample.id, sample.label, photo, lesions if sure else None, sample.origin, *views)
        cases[place] = case if place in full else case.reduced(SMALL)
    return cases


def _view(row: Row, maps: Maps, side: int) -> View:
    fused = row["maps"]["fused"]
    return View(
        grade=row["grade"],
        confidence=row["probabilities"][row["grade"]],
        probabilities=row["probabilities"],
        fused=enlarge(maps["fused"][None], side)[0],
        scales=[maps[name] for name in sorted(maps) if name != "fused"],
        enrichment=fused["lesion_enrichment"],
        relevance_rank=fused["relevance_rank"],
        squared_error=fused["squared_error"],
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
