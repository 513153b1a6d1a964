"""From a study to the content of its report: figures, and the photographs worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regaze.data.images import photo_orientation
from regaze.errors import StudyError
from regaze.models.options import MachineOptions
from regaze.orientation import upright_pixels
from regaze.report.data import IN_FULL, Case, ReportContent, View
from regaze.report.templates import SMALL
from regaze.study.assessment.controls import control_of, is_control
from regaze.study.assessment.curves import model_curves, ranking_curves
from regaze.study.assessment.judge import judged_maps
from regaze.study.assessment.kept_maps import EXPERTS, GIVEN, Maps
from regaze.study.assessment.summary import Assessment
from regaze.study.folder import Study
from regaze.study.groups import group_words, near_copy_note, unit_word
from regaze.study.lesions import enlarge, known_lesions
from regaze.study.split import describe_split, period_names
from regaze.words import words_of

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
    beside = {} if control in (None, before) else {"control": control}
    names = {"before": before, **beside, "after": after}
    rows = {role: assessment.records[name] for role, name in names.items()}
    pair = rows["before"], rows["after"]
    worse_graded, better_graded = _grade_changes(*pair)
    worse_maps, better_maps = _map_changes(*pair)
    further = _further_off(*pair) if study.dataset.ordinal else []
    gallery = _gallery(*pair, len(study.classes))
    full = {*gallery, *worse_graded[:IN_FULL], *worse_maps[:IN_FULL]}
    shown = sorted(full | {*worse_graded, *worse_maps, *further})
    cases = _cases(study, (before, after), pair, shown, full, machine)
    return ReportContent(
        title=f"Does {after} look in the right place?",
        classes=study.classes,
        results=assessment.figures,
        before=before,
        after=after,
        control=control,
        paired=_paired(assessment.figures["paired"], before, after, control),
        cases=[cases[index] for index in gallery],
        worse_graded=[cases[index] for index in worse_graded],
        worse_maps=[cases[index] for index in worse_maps],
        further_off=[cases[index] for index in further],
        n_better_graded=len(better_graded),
        n_better_maps=len(better_maps),
        provenance=_provenance(study, assessment, before, after),
        commands=commands,
        groups=group_words(study),
        near_copies=near_copy_note(study, {row["sample"] for row in rows["after"]}),
        unit=unit_word(study.dataset),
        words=words_of(study.dataset),
        curves={"models": model_curves(rows), "orders": ranking_curves(rows["after"])},
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
    gains = pairs[f"{after} against {before}"]
    against = dict.fromkeys(gains) if control is None else pairs[f"{after} against {control}"]
    return gains | {f"{key}_against_control": pair for key, pair in against.items()}


def _grade_changes(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Indices graded right before and wrong after (the largest miss first), and the reverse."""
    worse, better = [], []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        was, now = old["grade"] == old["label"], new["grade"] == old["label"]
        if was and not now:
            worse.append(index)
        elif now and not was:
            better.append(index)
    worse.sort(key=lambda index: (-abs(after[index]["grade"] - after[index]["label"]), after[index]["sample"]))
    return worse, better


def _further_off(before: Sequence[Row], after: Sequence[Row]) -> list[int]:
    """Indices graded wrong before and further from the expert's grade after, the largest step first."""
    steps = [
        (abs(old["grade"] - old["label"]) - abs(new["grade"] - old["label"]), index)
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        if old["label"] is not None and old["grade"] != old["label"]
    ]
    return [index for step, index in sorted(steps) if step < 0]


def _map_changes(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[int], list[int]]:
    """Indices whose fused map lies less on the lesions than before (the largest loss first), and more."""
    changes = sorted(
        (now - was, index)
        for index, (was, now) in enumerate(zip(map(_enrichment, before), map(_enrichment, after), strict=True))
        if was is not None and now is not None
    )
    return [index for change, index in changes if change < 0], [index for change, index in changes if change > 0]


def _enrichment(row: Row) -> float | None:
    value: float | None = row["maps"]["fused"]["lesion_enrichment"]
    return value


def _gallery(before: Sequence[Row], after: Sequence[Row], classes: int) -> list[int]:
    """Photographs per grade at the 10th, 50th and 90th percentile of the change in enrichment: no hand-picking."""

    def change(index: int) -> tuple[float, str]:
        return (_enrichment(after[index]) or 0.0) - (_enrichment(before[index]) or 0.0), before[index]["sample"]

    chosen: list[int] = []
    for grade in range(classes):
        indices = sorted((index for index, row in enumerate(before) if row["label"] == grade), key=change)
        ranks = np.linspace(0.1, 0.9, PER_GRADE) * (len(indices) - 1)
        chosen += dict.fromkeys(indices[round(rank)] for rank in ranks if indices)
    return chosen


def _cases(
    study: Study,
    names: tuple[str, str],
    rows: tuple[Sequence[Row], Sequence[Row]],
    shown: Sequence[int],
    full: set[int],
    machine: MachineOptions,
) -> dict[int, Case]:
    """Photographs with both models' maps as they were judged, small but for those in `full`."""
    if not shown:
        return {}
    by_id = {sample.id: sample for sample in study.dataset.samples}
    samples = [by_id[rows[0][index]["sample"]] for index in shown]
    pixels = study.pixels(samples, study.card(names[1]).size, machine.workers, colour="none")
    masks, known = known_lesions(samples, pixels, study.dataset.sound)
    maps = [judged_maps(study, name, {sample.id for sample in samples}, machine) for name in names]
    cases: dict[int, Case] = {}
    for index, sample, photo, lesions, is_known in zip(shown, samples, pixels.images, masks, known, strict=True):
        turn = photo_orientation(sample.image)
        before, after = (_view(rows[k][index], maps[k][sample.id], len(photo), turn) for k in (0, 1))
        marked = upright_pixels(lesions, turn) if is_known else None
        case = Case(sample.id, sample.label, upright_pixels(photo, turn), marked, sample.origin, before, after)
        cases[index] = case if index in full else case.reduced(SMALL)
    return cases


def _view(row: Row, maps: Maps, side: int, turn: int) -> View:
    """What a model saw, upright by the photograph's orientation `turn`."""
    fused = row["maps"]["fused"]
    return View(
        grade=row["grade"],
        confidence=row["probabilities"][row["grade"]],
        probabilities=row["probabilities"],
        fused=upright_pixels(enlarge(maps["fused"][None], side)[0], turn),
        scales=[upright_pixels(maps[name], turn) for name in sorted(maps) if name.startswith("scale")],
        enrichment=fused["lesion_enrichment"],
        relevance_rank=fused["relevance_rank"],
        squared_error=fused["squared_error"],
        evidence={index: upright_pixels(values, turn) for index, values in _evidence(row, maps, side).items()},
    )


def _evidence(row: Row, maps: Maps, side: int) -> dict[int, NDArray[np.float32]]:
    """For the class that the model gave, then for the expert's where that is another."""
    if GIVEN not in maps:
        return {}
    found = {row["grade"]: maps[GIVEN]}
    if row["label"] is not None:
        found.setdefault(row["label"], maps[EXPERTS])
    return {index: enlarge(values[None], side)[0] for index, values in found.items()}


def _split(study: Study) -> dict[str, Any]:
    split = describe_split(study)
    by = split["about"].removeprefix("by ") + ("" if split["periods"] is None else ", groups not divided")
    folds = split["folds"]
    return {
        "folds": study.options.folds,
        "by": f"{by}, copies of one picture together, stratified by grade",
        "groups": split["groups"],
        "seed": study.options.seed,
        **{f"periods of fold {fold['name']}": period_names(fold["periods"]) for fold in folds if fold["periods"]},
    }


def _provenance(study: Study, assessment: Assessment, before: str, after: str) -> dict[str, Any]:
    base, tuned = study.card(before), study.card(after)
    how = "finetune" if "finetune" in tuned.recipe else "supervision"
    learning = {"finetune": "fine-tuning", "supervision": "grades and maps together, from the first step"}[how]
    return {
        "data": {
            "source": study.options.data.partition(":")[0],
            "photographs": len(study.dataset.samples),
            "fingerprint": study.dataset.fingerprint,
            "notes": list(study.dataset.notes),
        },
        "split": _split(study),
        "network": asdict(tuned.network),
        "input": {"size": tuned.size, "crop": tuned.crop, "colour": tuned.colour},
        "phase 1": {**base.recipe["phase1"], "seconds": base.details["seconds"]},
        learning: {**tuned.recipe[how], "seconds": tuned.details["seconds"]},
        "corrections": tuned.corrections,
        "machine": tuned.details["machine"],
        "judged in": {name: assessment.figures["models"][name]["precision"] for name in (before, after)},
        "versions": tuned.versions,
        "made": tuned.created,
    }
