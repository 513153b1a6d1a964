"""What a study holds, and its figures as a table for a person."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from regaze.evaluation.verdicts import compare, judge, undecided
from regaze.lesion_names import DISPLAY_NAMES
from regaze.study.folder import Study

if TYPE_CHECKING:  # these import torch, which `init` does without
    from regaze.study.assessment.experts import ExpertAgreement
    from regaze.study.assessment.rounds import Round


def describe(study: Study) -> dict[str, Any]:
    """Counts of what a study holds; `lines` says the same to a person."""
    samples = study.dataset.samples
    grades = Counter("no grade" if sample.label is None else study.classes[sample.label] for sample in samples)
    origins = Counter(sample.origin for sample in samples)
    training = [sample for sample in samples if sample.part == "training"]
    validation = [sample for fold in study.folds for sample in study.validation(fold)]
    ordered = [name for name in (*study.classes, "no grade") if name in grades]
    lines = [
        f"study: {study.path}",
        f"photographs: {len(samples)} ({len(training)} training part, {len(samples) - len(training)} test part)",
        ("grades: " if study.dataset.ordinal else "classes, taken as without an order: ")
        + ", ".join(f"{name} {grades[name]}" for name in ordered),
        f"lesions known from masks: {origins['masks']}, from boxes: {origins['boxes']}, unknown: {origins['none']}",
        f"validation: {len(validation)} photographs"
        + (f" in {len(study.folds)} folds" if len(study.folds) > 1 else " (one fixed part)"),
        *(f"note: {note}" for note in study.dataset.notes),
    ]
    return {
        "study": str(study.path),
        "photographs": len(samples),
        "grades": {name: grades[name] for name in ordered},
        "origins": dict(origins),
        "patients": len({sample.patient for sample in samples if sample.patient is not None}),
        "validation": len(validation),
        "test": len(samples) - len(training),
        "notes": list(study.dataset.notes),
        "lines": lines,
    }


def table(result: dict[str, Any]) -> None:
    """Print the figures of `evaluate`: one row per model, then the paired differences."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width of its own; 80 would cut the models' names
        console = Console(highlight=False, width=120)
    view = Table(title=f"{result['part']}, {result['n']} graded photographs")
    for heading in ("model", "kappa", "95 % interval", "map error", "(zero map)", "on lesions", "rank", "del", "ins"):
        view.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=heading == "model")
    for name, figures in result["models"].items():
        fused = figures["maps"]["fused"]
        view.add_row(
            name,
            number(figures["quadratic_weighted_kappa"]),
            interval(figures["interval"]),
            number(fused["squared_error"]),
            number(fused["zero_map_squared_error"]),
            number(fused["lesion_enrichment"], 2, "x"),
            number(fused["relevance_rank"], 2),
            number(figures["deletion"]),
            number(figures["insertion"]),
        )
    console.print(view)
    recall = _recall_table(result["models"])
    if recall is not None:
        console.print(recall)
    matters = _matter_table(result["models"])
    if matters is not None:
        console.print(matters)
    for label, pair in result["paired"].items():
        _print_pair(console, label, pair["kappa"], pair["enrichment"])
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)


_SHORT = {kind: name.short for kind, name in DISPLAY_NAMES.items()} | {
    "blurred-random": "noise",
    "below 1 %": "< 1 %",
    "1 to 2 %": "1-2 %",
    "2 to 4 %": "2-4 %",
    "4 % and more": "> 4 %",
}
_RECALL_LEGEND = (
    ", ".join(f"{name.short} {name.full.lower()}" for kind, name in DISPLAY_NAMES.items() if kind != "lesion")
    + "; then by diameter in per cent of the side; in brackets: lesions"
)


def _recall_table(models: dict[str, Any]) -> Table | None:
    """Share of the lesions of each type and size that the maps light; None where no mask tells them apart."""
    known = {name: figures["lesion_recall"]["masks"] for name, figures in models.items()}
    first = next(iter(known.values()))
    if not first["all"]["n_lesions"]:
        return None
    chance = next(iter(models.values()))["lesion_recall"]["chance"]
    view = Table(title=f"share of lesions lit, by type and by size (chance {chance:.2f})", caption=_RECALL_LEGEND)
    view.add_column("model", no_wrap=True)
    view.add_column("map", no_wrap=True)
    columns = [("types", kind) for kind in first["types"]] + [("sizes", size) for size in first["sizes"]]
    for group, key in columns:
        view.add_column(f"{_SHORT.get(key, key)}\n({first[group][key]['n_lesions']})", justify="right")
    for name, recall in known.items():
        for place, scale in enumerate(recall["all"]["recall"]):
            cells = [number(recall[group][key]["recall"][scale]["share"], 2) for group, key in columns]
            view.add_row("" if place else name, scale, *cells)
    return view


def _matter_table(models: dict[str, Any]) -> Table | None:
    """Deletion and insertion of each map less those of the reference rankings; None where none was measured."""
    measured = {name: figures["faithfulness"] for name, figures in models.items() if figures["faithfulness"]}
    parts = {name: found["without_grade_0"] or found["all"] for name, found in measured.items()}
    rankings = [order for order in next(iter(parts.values()), {}) if order != "fused"]
    if not rankings:
        return None
    healthy = any(found["without_grade_0"] for found in measured.values())
    view = Table(
        title=f"attention map minus reference ranking (paired){', without grade 0' if healthy else ''}",
        caption="deletion below zero and insertion above zero are better; in brackets: photographs",
        padding=(0, 1, 0, 0),
    )
    view.add_column("model", no_wrap=True)
    view.add_column("", no_wrap=True)
    for order in rankings:
        count = max(found[order]["n_used"] for found in parts.values())
        view.add_column(f"{_SHORT.get(order, order)} ({count})", justify="right")
    for name, found in parts.items():
        for measure, short in (("deletion", "del"), ("insertion", "ins")):
            cells = [_signed(found[order]["against"][measure], 2) for order in rankings]
            view.add_row(name if measure == "deletion" else "", short, *cells)
    return view


def rounds_table(histories: dict[str, list[Round]], advices: dict[str, str]) -> None:
    """Print the rounds of each phase-1 model, what they are credited with, and what to do next."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    for root, history in histories.items():
        view = Table(title=f"rounds of {root}, on the validation part")
        for heading in (
            "",
            "round",
            "model",
            "corrections",
            "kappa",
            "95 % interval",
            "on lesions",
            "credited",
        ):
            view.add_column(heading, justify="left" if heading in ("", "model", "credited") else "right")
        for one in history:
            view.add_row(
                ">" if one.in_use else "",
                str(one.number),
                one.model,
                str(one.corrections) if one.parent else "-",
                number(one.kappa),
                interval(one.interval),
                number(one.enrichment, 2, "x"),
                one.verdict if one.parent else "",
            )
        console.print(view)
        for one in history[1:]:
            _print_pair(console, f"{one.model} against {one.against}", one.kappa_difference, one.enrichment_difference)
            if one.control is None:
                console.print(f"{one.model}: not compared with a control")
            else:
                label = f"{one.model} against its control {one.control}"
                _print_pair(console, label, one.kappa_against_control, one.enrichment_against_control)
        console.print(advices[root], markup=False)


def agreement_table(found: ExpertAgreement) -> None:
    """Print how far experts agree, and whether the model reaches what they reach."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    view = Table(title="agreement on where to look")
    headings = ("", "and", "photographs", "both empty", "Dice", "95 % interval", "tolerant Dice", "overlap", "kappa")
    for heading in headings:
        view.add_column(heading, justify="left" if heading in ("", "and") else "right")
    for pair in found.pairs:
        figures = (number(value, 2) for value in (pair.tolerant_dice, pair.iou, pair.kappa))
        dice = number(pair.dice, 2), interval(pair.dice_interval)
        view.add_row(pair.first, pair.second, str(pair.n), str(pair.n_both_empty), *dice, *figures)
    console.print(view)
    against = found.model_against_experts
    told = "no photograph was corrected by two experts"
    if against["difference"] is not None:
        told = f"Dice {sentence(against, 'dice')}"
    console.print(f"the model against what experts reach among themselves: {told}", markup=False)


def _print_pair(console: Console, label: str, kappa: dict[str, Any] | None, enrichment: dict[str, Any] | None) -> None:
    """Print the differences of two models, each with what it says; one that was not measured is left out."""
    console.print(f"{label}:")
    for measure, text, pair in (("kappa", "kappa", kappa), ("enrichment", "attention on lesions", enrichment)):
        if pair is not None and pair["difference"] is not None:
            console.print(f"  {text} {sentence(pair, measure)}", markup=False)


def _signed(pair: dict[str, Any], digits: int) -> str:
    if pair["difference"] is None:
        return "-"
    low, high = pair["interval"]
    return f"{pair['difference']:+.{digits}f} [{number(low, digits)}, {number(high, digits)}]"


def sentence(pair: dict[str, Any], measure: str) -> str:
    """A paired difference and what it says.

    Args:
        pair: As `evaluation.intervals` writes it, with a difference.
        measure: A key of `evaluation.verdicts.MEASURES`.
    """
    comparison = compare(pair)
    why = undecided(comparison)
    return f"{_signed(pair, 3)}: {judge(comparison, measure)}{f' ({why})' if why else ''}"


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def interval(bounds: list[float | None] | None) -> str:
    """[lo, hi], or a dash."""
    if not bounds or bounds[0] is None or bounds[1] is None:
        return "-"
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"
