"""From records per photograph to the figures that `regaze evaluate` prints, and to paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regaze.errors import StudyError
from regaze.evaluation.agreement import summarise_maps
from regaze.evaluation.comparison import ALL_MEASURES
from regaze.evaluation.grading import grading_summary, reliability
from regaze.evaluation.intervals import paired_kappa_difference, paired_mean_difference
from regaze.evaluation.lesion_coverage import BUDGET
from regaze.evaluation.periods import grading_by_period, period_answer
from regaze.evaluation.proper_scores import PROPER_SCORES, proper_scores
from regaze.files import write_json
from regaze.models.card import read_card
from regaze.models.options import MachineOptions
from regaze.models.precision import why_fp32
from regaze.records import Dataset
from regaze.study.assessment.baselines import judge_baselines, warning
from regaze.study.assessment.controls import control_of
from regaze.study.assessment.convergence import training_loss, unfinished
from regaze.study.assessment.judge import judge_model, part_of
from regaze.study.assessment.map_summary import map_figures, map_pairs
from regaze.study.assessment.overlap import overlap, refuse
from regaze.study.check import check_options
from regaze.study.folder import Study
from regaze.study.groups import near_copy_note, split_words, unit
from regaze.study.options import EvaluateOptions
from regaze.words import Words, words_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Assessment:
    """What judging a study's models gave.

    Attributes:
        figures: `part`, `n`, `overlap`, `models`, `paired`, `baselines`, `warnings` and `notes` (see docs/cli.md).
            Figures that cannot be computed are None; notes say why.
        records: Model -> one record per photograph, see `judge_model`.
    """

    figures: dict[str, Any]
    records: dict[str, list[Row]]


def evaluate(
    study: Study,
    options: EvaluateOptions,
    machine: MachineOptions,
    other: Dataset | None = None,
    names: Sequence[str] | None = None,
) -> Assessment:
    """Judge all models of a study.

    Args:
        study: Whose models.
        options: What is measured.
        machine: Device and precision.
        other: Judge on this data instead of the study's own test or validation part.
        names: Models to judge; default: all that are complete.

    Raises:
        StudyError: The study has no model, or one learned from photographs that it would be judged on.
        OptionError: An option is out of range.
    """
    check_options(options)
    names = list(names if names is not None else study.models())
    if not names:
        raise StudyError(f"Study {study.path} has no model yet: run `regaze train {study.path}` first.")
    seen = overlap(study, names, other=other)
    if not options.allow_overlap:
        refuse(seen, study.options.data if other is None else other.spec)
    rows = {name: judge_model(study, name, options, machine, other=other) for name in names}
    part = "test" if other is not None else part_of(study)
    first = rows[names[0]]
    result: dict[str, Any] = {
        "part": part,
        "n": sum(row["label"] is not None for row in first),
        "n_photographs": len(first),
        "overlap": seen.figures,
        "models": {
            name: summary(study, rows[name], options)
            | {"by_period": _by_period(study, rows[name], other, options), "training_loss": training_loss(study, name)}
            for name in names
        },
        "paired": {},
        "baselines": {},
        "warnings": [{"model": name, "text": text} for name in sorted(names) if (text := unfinished(study, name))],
        "notes": [*seen.notes, *_notes(study, rows, part, other, options)],
    }
    result["notes"] += [
        f"{name}: {period_answer(figures['by_period'])}."
        for name, figures in result["models"].items()
        if figures["by_period"] is not None
    ]
    for name in names:
        parent = study.card(name).parent
        for other_name in (parent, control_of(study, name)) if parent in rows else ():
            if other_name in rows:
                pair = compare(study, rows[other_name], rows[name], options)
                result["paired"][f"{name} against {other_name}"] = pair
    _add_baselines(study, rows, options, machine, other, result)
    if other is None:
        write_json(study.evaluation_folder / f"{part}.json", result)
    return Assessment(result, rows)


def _add_baselines(
    study: Study,
    rows: dict[str, list[Row]],
    options: EvaluateOptions,
    machine: MachineOptions,
    other: Dataset | None,
    result: dict[str, Any],
) -> None:
    """Give the result its baselines, each against the models, and what they put in doubt."""
    baselines, notes = judge_baselines(study, list(rows), machine, other)
    patient = words_of(study.dataset).patient
    for baseline in baselines:
        figures = _grading(study, baseline.records, options)
        pairs = {
            name: _kappa_pair(study, baseline.records, [row for row in rows[name] if row["label"] is not None], options)
            for name in baseline.models
        }
        result["baselines"][baseline.name] = {"about": baseline.words, **figures, "against": pairs}
        for name in sorted(pairs):
            if text := warning(baseline, figures["quadratic_weighted_kappa"], study.card(name), pairs[name], patient):
                result["warnings"].append({"model": name, "text": text})
    result["notes"] += notes


def summary(study: Study, rows: Sequence[Row], options: EvaluateOptions) -> dict[str, Any]:
    """All figures of one model."""
    graded = [row for row in rows if row["label"] is not None]
    figures = _grading(study, graded, options) if graded else dict.fromkeys(_GRADING_KEYS)
    measured = [row for row in rows if row["deletion"] is not None]
    for measure in ALL_MEASURES:
        figures[measure] = float(np.mean([row[measure] for row in measured])) if measured else None
    figures["n_faithfulness"] = len(measured)
    figures["precision"] = _precision(rows)
    scales = list(rows[0]["maps"])
    figures["maps"] = {scale: summarise_maps([row["maps"][scale] for row in rows]) for scale in scales}
    return figures | map_figures(rows, study.dataset.sound, options.resamples)


_GRADING_KEYS = (
    *(
        "quadratic_weighted_kappa",
        "interval",
        *PROPER_SCORES,
        "accuracy",
        "recall",
        "confusion",
        "referable",
        "two_classes",
        "calibration_error",
    ),
    "reliability",
)


def positive_class(dataset: Dataset) -> int | None:
    """Of two classes the one that is looked for: not the sound one, else the second; None for other numbers."""
    return None if len(dataset.classes) != 2 else 0 if dataset.sound == 1 else 1


def _grading(study: Study, rows: Sequence[Row], options: EvaluateOptions) -> dict[str, Any]:
    probabilities = np.array([row["probabilities"] for row in rows], dtype=np.float64)
    labels = np.array([row["label"] for row in rows])
    figures = grading_summary(
        probabilities,
        np.array([row["grade"] for row in rows]),
        labels,
        referable_from=study.dataset.referable,
        positive=positive_class(study.dataset),
        groups=[row["patient"] for row in rows],
        resamples=options.resamples,
        ordinal=study.dataset.ordinal,
    )
    if figures["two_classes"] is not None:
        figures["two_classes"]["positive"] = study.classes[positive_class(study.dataset) or 0]
    return {**figures, "reliability": reliability(probabilities, labels)}


def _by_period(
    study: Study, rows: Sequence[Row], other: Dataset | None, options: EvaluateOptions
) -> dict[str, Any] | None:
    """How a model grades in each period; None where fewer than two are known of enough photographs."""
    periods = {sample.id: sample.period for sample in (other or study.dataset).samples}
    graded = [row for row in rows if row["label"] is not None]
    if not graded:
        return None
    return grading_by_period(
        np.array([row["probabilities"] for row in graded], dtype=np.float64),
        np.array([row["grade"] for row in graded]),
        np.array([row["label"] for row in graded]),
        [periods[row["sample"]] for row in graded],
        groups=[row["patient"] for row in graded],
        resamples=options.resamples,
        ordinal=study.dataset.ordinal,
    )


def compare(study: Study, before: Sequence[Row], after: Sequence[Row], options: EvaluateOptions) -> dict[str, Any]:
    """Paired differences after - before over the same photographs, resampled by patient."""
    assert [row["sample"] for row in before] == [row["sample"] for row in after]
    graded = [pair for pair in zip(before, after, strict=True) if pair[0]["label"] is not None]
    kappa, scores = None, dict.fromkeys(PROPER_SCORES)
    if graded:
        kappa = _kappa_pair(study, [row for row, _ in graded], [row for _, row in graded], options)
        scores |= _score_pairs(study, graded, options)
    return {"kappa": kappa, **scores, **map_pairs(before, after, study.dataset.sound, options.resamples)}


def _score_pairs(study: Study, graded: Sequence[tuple[Row, Row]], options: EvaluateOptions) -> dict[str, Any]:
    """Paired differences of the proper scores; one that the classes do not allow is left out."""
    labels, patients = [row["label"] for row, _ in graded], [row["patient"] for row, _ in graded]
    before, after = (
        proper_scores([pair[side]["probabilities"] for pair in graded], labels, study.dataset.ordinal)
        for side in (0, 1)
    )
    return {name: paired_mean_difference(before[name], after[name], patients, options.resamples) for name in before}


def _kappa_pair(study: Study, before: Sequence[Row], after: Sequence[Row], options: EvaluateOptions) -> dict[str, Any]:
    """The paired difference of kappa of two records of the same graded photographs."""
    return paired_kappa_difference(
        [row["label"] for row in before],
        [row["grade"] for row in before],
        [row["grade"] for row in after],
        len(study.classes),
        groups=[row["patient"] for row in before],
        resamples=options.resamples,
        ordinal=study.dataset.ordinal,
    )


def _notes(
    study: Study, rows: dict[str, list[Row]], part: str, other: Dataset | None, options: EvaluateOptions
) -> list[str]:
    """What a reader of the figures must know."""
    first, words = next(iter(rows.values())), words_of(study.dataset)
    notes = _part_notes(study, first, part, other)
    if not study.dataset.ordinal:
        notes.append("Kappa is unweighted: the classes have no order.")
    if study.dataset.referable is not None:
        notes.append(f"Referable: grade {study.classes[study.dataset.referable]} or worse.")
    positive = positive_class(study.dataset)
    if positive is not None:
        notes.append(
            f"AUROC, sensitivity and specificity are those of {study.classes[positive]} against "
            f"{study.classes[1 - positive]}."
        )
    # Where nothing is known about lesions, `lesion_pixels` is None.
    with_lesions = [row["sample"] for row in first if row["maps"]["fused"]["lesion_pixels"]]
    if with_lesions:
        origins = {sample.id: sample.origin for sample in (other or study.dataset).samples}
        boxes = sum(origins[sample] == "boxes" for sample in with_lesions)
        masks = len(with_lesions) - boxes
        known = f"{masks} with masks, {boxes} with boxes"
        notes.append(f"Map figures over {masks + boxes} photographs with {words.lesions}: {known}.")
    else:
        notes.append(f"Map figures are null: no photograph of this part has known {words.lesions} (masks or boxes).")
    notes += [*_faithfulness_notes(first, options), *_map_notes(first, words), *_other_notes(rows)]
    notes += _precision_notes(study, rows)
    if any(not study.card(name).has_maps for name in rows):
        notes.append("The map of a plain network is its class activation map.")
    return notes + [
        f"{name}: the map of {scale} is constant on every photograph (dead)."
        for name, records in rows.items()
        for scale in records[0]["maps"]
        if all(row["maps"][scale]["dead"] for row in records)
    ]


def _precision(rows: Sequence[Row]) -> str | None:
    """What a model's records were computed in; None: an earlier version's, which do not say."""
    return " and ".join(sorted({row["precision"] for row in rows if "precision" in row})) or None


def _precision_notes(study: Study, rows: dict[str, list[Row]]) -> list[str]:
    """In which precision each model was judged, and why not in bfloat16."""
    found = {name: _precision(records) or "an unknown precision" for name, records in rows.items()}
    notes = [f"Judged in {precision}." for precision in set(found.values())]
    if len(notes) > 1:
        notes = [f"{name} is judged in {precision}." for name, precision in sorted(found.items())]
    for name in rows:
        reasons = (why_fp32(read_card(study.model_folder(name, fold))) for fold in study.folds)
        notes += [f"{name} {why}" for why in [next(filter(None, reasons), "")] if why]
    return notes


def _part_notes(study: Study, rows: Sequence[Row], part: str, other: Dataset | None) -> list[str]:
    """On which photographs the models were judged."""
    notes = []
    if other is not None:
        notes.append(f"Judged on other data: {other.spec}.")
        n_left_out = len(other.samples) - len(rows)
        if n_left_out:
            notes.append(f"{n_left_out} photographs of its training part are left out, since it has a test part.")
    elif part == "validation":
        folds = f"pooled over {len(study.folds)} folds" if len(study.folds) > 1 else "one fixed part of 20 %"
        by = split_words(study)
        notes.append(f"The data has no test part: judged on the validation photographs ({folds}, split {by}).")
    if unit(other or study.dataset) == "photograph":
        notes.append(
            f"No {words_of(study.dataset).patient} is known: intervals redraw single photographs, and come out too "
            "narrow if some belong together."
        )
    if other is None and (near := near_copy_note(study, {row["sample"] for row in rows})):
        notes.append(near)
    if len(study.folds) > 1 and (part == "test" or other is not None):
        notes.append(f"Probabilities and maps are means over the {len(study.folds)} folds' models.")
    return notes


def _faithfulness_notes(rows: Sequence[Row], options: EvaluateOptions) -> list[str]:
    """On what deletion and insertion rest, and what is not RISE's default."""
    measured = sum(row["deletion"] is not None for row in rows)
    if not measured:
        return ["Deletion and insertion are null: --faithfulness 0."]
    notes = [f"Deletion and insertion over {measured} photographs in {options.steps} steps, fused map."]
    if any(len(row["faithfulness"]["maps"]) > 1 for row in rows if row["faithfulness"] is not None):
        notes.append(
            "Deletion and insertion of two models also differ by how sure they are: compare each with its reference "
            "rankings, or the relative ones (over the probability on the whole photograph)."
        )
    if options.patch > 1:
        notes.append(f"Deletion and insertion change squares of {options.patch} pixels as one.")
    gone, start = options.deletion_substrate, options.insertion_substrate
    become = "what is left around them" if gone == "inpaint" else gone
    begins = "its first pixels" if start == "inpaint" else start
    return [*notes, f"Deleted pixels become {become}; insertion starts from {begins}."]


def _other_notes(rows: dict[str, list[Row]]) -> list[str]:
    """Whose maps stood in for a photograph's own, where a model graded too few photographs alike."""
    counts = []
    for records in rows.values():
        others = [row["faithfulness"]["others"] for row in records if row["faithfulness"] is not None]
        drawn = [each for each in others if each is not None]
        counts.append(tuple(sum(each[key] for each in drawn) for key in ("of_another_grade", "drawn")))
    unlike, total = max(counts)
    if not unlike:
        return []
    return [f"Of the other photographs' maps up to {unlike} of a model's {total} are of another predicted grade."]


def _map_notes(rows: Sequence[Row], words: Words) -> list[str]:
    """On what lesion recall, reference rankings and sanity checks rest; nothing about what was not asked for."""
    notes = []
    outlined = sum(bool(row["lesions"]) and row["lesions"]["origin"] == "masks" for row in rows)
    if outlined:
        notes.append(
            f"{words.lesions.capitalize()} lit: the share of each {words.lesion}'s pixels among the brightest "
            f"{BUDGET:.0%} of the map's, over {outlined} photographs with masks; chance is {BUDGET:g}."
        )
    rankings = sum(row["faithfulness"] is not None and len(row["faithfulness"]["maps"]) > 1 for row in rows)
    if rankings:
        notes.append(f"Reference rankings of deletion and insertion over {rankings} of these photographs.")
    checked = sum(row["sanity"] is not None for row in rows)
    if checked:
        notes.append(f"Sanity checks of the fused map over {checked} photographs; of several folds' models the first.")
    return notes
