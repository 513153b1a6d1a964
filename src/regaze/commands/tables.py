"""Tables that commands print for a person: what a study holds, its figures, its rounds, how far experts agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from regaze.console import Sheet, line, page, show
from regaze.evaluation.verdicts import compare, judge, undecided
from regaze.lesion_names import DISPLAY_NAMES
from regaze.study.folder import Study
from regaze.study.split import UNGRADED, describe_split, split_lines
from regaze.words import EYES, Words, words_of

if TYPE_CHECKING:  # these import torch, which `init` does without
    from regaze.study.assessment.experts import ExpertAgreement
    from regaze.study.assessment.rounds import Round


def describe(study: Study) -> tuple[dict[str, Any], list[str]]:
    """Counts of what a study holds, and lines that say the same to a person."""
    samples, lesions = study.dataset.samples, words_of(study.dataset).lesions
    split = describe_split(study)
    grades = Counter(UNGRADED if sample.label is None else study.classes[sample.label] for sample in samples)
    origins = Counter(sample.origin for sample in samples)
    n_test, n_validation = len(study.test()), sum(len(study.validation(fold)) for fold in study.folds)
    ordered = [name for name in (*study.classes, UNGRADED) if name in grades]
    lines = [
        f"study: {study.path}",
        f"photographs: {len(samples)} ({len(samples) - n_test} training part, {n_test} test part)",
        ("grades: " if study.dataset.ordinal else "classes, taken as without an order: ")
        + ", ".join(f"{name} {grades[name]}" for name in ordered),
        *_scale_lines(study),
        f"{lesions} known from masks: {origins['masks']}, from boxes: {origins['boxes']}, unknown: {origins['none']}",
        f"validation: {n_validation} photographs"
        + (f" in {len(study.folds)} folds" if len(study.folds) > 1 else " (one fixed part)"),
        *split_lines(split),
        *(f"note: {note}" for note in study.dataset.notes),
    ]
    contents = {
        "study": str(study.path),
        "photographs": len(samples),
        "grades": {name: grades[name] for name in ordered},
        "ordinal": study.dataset.ordinal,
        "sound_class": None if study.dataset.sound is None else study.classes[study.dataset.sound],
        "origins": dict(origins),
        "patients": len({sample.patient for sample in samples if sample.patient is not None}),
        "split": split,
        "validation": n_validation,
        "test": n_test,
        "notes": list(study.dataset.notes),
    }
    return contents, lines


def _scale_lines(study: Study) -> list[str]:
    """How the classes are taken, and how to say it otherwise; not where the data themselves settle it."""
    if not study.options.data.startswith(("folder:", "csv:")):
        return []
    sound = study.dataset.sound
    if study.dataset.ordinal:
        order = f"one scale, worst last: {' < '.join(study.classes)} (--no-ordinal: no order; --classes A,B,C: another)"
    else:
        order = "no order is known: kappa is unweighted (--ordinal: numbers are grades; --classes A,B,C: this order)"
    lesions = words_of(study.dataset).lesions
    free = f"no class is known to be the sound one: nothing counts as free of {lesions} (--sound-class NAME)"
    if sound is not None:
        free = f"sound class: {study.classes[sound]} (--sound-class NAME: another)"
    return [f"  {order}", f"  {free}"]


def table(result: dict[str, Any], words: Words = EYES) -> None:
    """Print the figures of `evaluate`: one row per model, then the paired differences; with the study's words."""
    console = page(120)
    headings = ("kappa", "95 % interval", "RPS", "log-loss", "map error", "(zero map)", f"on {words.lesions}", "rank")
    view = _view(f"{result['part']}, {result['n']} graded photographs", ["model"], headings)
    for name, figures in result["models"].items():
        fused = figures["maps"]["fused"]
        view.add_row(
            name,
            number(figures["quadratic_weighted_kappa"]),
            interval(figures["interval"]),
            number(_mean(figures["ranked_probability_score"]), 4),
            number(_mean(figures["log_loss"])),
            number(fused["squared_error"]),
            number(fused["zero_map_squared_error"]),
            number(fused["lesion_enrichment"], 2, "x"),
            number(fused["relevance_rank"], 2),
        )
    models, baselines = result["models"], _baseline_table(result["baselines"])
    plain = [make(models) for make in (_detection_table, _period_table)]
    worded = [make(models, words) for make in (_recall_table, _ranking_table)]
    learned = f"; {result['overlap']['words']}" if result["overlap"]["n"] else ""
    for part in (view, baselines, *plain, worded[0], _faithfulness_table(models), worded[1]):
        if part is not None:
            part.title = Text(f"{part.title}{learned}")
            console.print(part)
    for label, pair in result["paired"].items():
        _print_pairs(console, label, pair, words)
    for baseline, figures in result["baselines"].items():
        for name, pair in figures["against"].items():
            if pair["difference"] is not None:
                console.print(line(f"{name} against {baseline}: kappa {sentence(pair, 'kappa', words)}"))
    for doubt in result["warnings"]:
        console.print(line(f"warning: {doubt['text']}"))
    for note in result["notes"]:
        console.print(line(f"note: {note}"))


def _baseline_table(baselines: dict[str, Any]) -> Sheet | None:
    """What the models must beat; None where nothing is graded."""
    if not baselines:
        return None
    view = _view("what a model must beat", ["baseline"], ("kappa", "95 % interval", "accuracy"))
    for name, figures in baselines.items():
        cells = number(figures["quadratic_weighted_kappa"]), interval(figures["interval"]), number(figures["accuracy"])
        view.add_row(name, *cells)
    return view


def _view(title: str, names: Iterable[str], headings: Iterable[str], **style: Any) -> Sheet:
    """An empty table: columns of names at the left, which are not wrapped, then columns of figures."""
    view = Sheet(title, **style)
    for name in names:
        view.add_column(name, no_wrap=True)
    for heading in headings:
        view.add_column(heading, justify="right")
    return view


_SHORT = {kind: name.short for kind, name in DISPLAY_NAMES.items()} | {
    "another": "another photograph's map",
    "turned": "map turned",
    "mirrored": "map mirrored",
    "blurred-random": "smooth noise",
    "centre": "centre first",
    "random": "random pixels",
    "lesions": "{lesions} first",
    "below 1 %": "< 1 %",
    "1 to 2 %": "1-2 %",
    "2 to 4 %": "2-4 %",
    "4 % and more": "> 4 %",
}


def _detection_table(models: dict[str, Any]) -> Sheet | None:
    """Telling two groups of classes apart: referable grades from others, or one class of two from the other."""
    for key, title in (("referable", "referable against not referable"), ("two_classes", "")):
        measured = {name: figures.get(key) for name, figures in models.items()}
        known = {name: found for name, found in measured.items() if found and found["auroc"] is not None}
        if known:
            positive = next(iter(known.values())).get("positive")
            view = _view(title or f"{positive} against the other class", ["model"], tuple(_DETECTION.values()))
            for name, found in known.items():
                view.add_row(name, *(number(found[figure]) for figure in _DETECTION))
            return view
    return None


_DETECTION = {
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "sensitivity_at_90": "sensitivity at specificity .9",
}


def _period_table(models: dict[str, Any]) -> Sheet | None:
    """Figures of each period; None where fewer than two are known of enough photographs."""
    known = {name: figures["by_period"]["periods"] for name, figures in models.items() if figures["by_period"]}
    if not known:
        return None
    view = _view(
        "by period (camera and year, site)",
        ["model", "period"],
        ("n", "accuracy", "beside what its grades explain", "kappa", "RPS"),
        caption="accuracy beside what a period's grades explain, with intervals that hold for all periods together",
    )
    for name, periods in known.items():
        for index, (period, figures) in enumerate(periods.items()):
            view.add_row(
                "" if index else name,
                period,
                str(figures["n"]),
                number(figures["accuracy"], 2),
                _signed({"difference": figures["excess"]["mean"], **figures["excess"]}, 2),
                number(figures["quadratic_weighted_kappa"]),
                number(figures["ranked_probability_score"]),
            )
    return view


def _recall_table(models: dict[str, Any], words: Words) -> Sheet | None:
    """Share of the lesions of each type and size that the maps light; None where no mask tells them apart."""
    recalls = {name: figures["lesion_recall"]["masks"] for name, figures in models.items()}
    first = next(iter(recalls.values()))
    if not first["all"]["n_lesions"]:
        return None
    chance = next(iter(models.values()))["lesion_recall"]["chance"]
    named = [DISPLAY_NAMES[kind] for kind in first["types"] if kind != "lesion"]
    legend = [*(f"{name.short} {name.full.lower()}" for name in named), "by diameter in per cent of the side"]
    columns = [("types", kind) for kind in first["types"]] + [("sizes", size) for size in first["sizes"]]
    view = _view(
        f"share of {words.lesions} lit, by type and by size (chance {chance:.2f})",
        ["model", "map"],
        [f"{_SHORT.get(key, key)}\n({first[group][key]['n_lesions']})" for group, key in columns],
        caption=f"{', '.join(legend)}; in brackets: {words.lesions}",
    )
    for name, recall in recalls.items():
        for index, scale in enumerate(recall["all"]["recall"]):
            cells = [number(recall[group][key]["recall"][scale]["share"], 2) for group, key in columns]
            view.add_row("" if index else name, scale, *cells)
    return view


def _faithfulness_table(models: dict[str, Any]) -> Sheet | None:
    """Deletion and insertion of each map, also over the probability on the whole photograph; None: not measured."""
    if not any(figures["n_faithfulness"] for figures in models.values()):
        return None
    view = _view(
        "deletion and insertion of the fused map",
        ["model"],
        ["photographs", "deletion", "insertion", "relative deletion", "relative insertion"],
        caption="relative: 1 is as sure as on the whole photograph",
    )
    for name, figures in models.items():
        areas = ("deletion", "insertion", "relative_deletion", "relative_insertion")
        cells = [number(figures[area]) for area in areas]
        view.add_row(name, str(figures["n_faithfulness"]), *cells)
    return view


def _ranking_table(models: dict[str, Any], words: Words) -> Sheet | None:
    """Deletion and insertion of each map less those of the reference rankings; None where none was measured."""
    measured = {name: figures["faithfulness"] for name, figures in models.items() if figures["faithfulness"]}
    parts = {name: figures["without_grade_0"] or figures["all"] for name, figures in measured.items()}
    if not any(len(part) > 1 for part in parts.values()):
        return None
    without = ", without grade 0" if any(figures["without_grade_0"] for figures in measured.values()) else ""
    view = _view(
        f"attention map minus reference ranking (paired){without}",
        ["model", "ranking"],
        ["photographs", "deletion", "insertion"],
        caption="deletion below zero and insertion above zero are better",
    )
    for name, part in parts.items():
        rankings = [ranking for ranking in part if ranking != "fused"]
        for index, ranking in enumerate(rankings):
            entry = part[ranking]
            cells = [_signed(entry["against"][measure], 3) for measure in ("deletion", "insertion")]
            last = index == len(rankings) - 1
            view.add_row(
                "" if index else name,
                words.fill(_SHORT.get(ranking, ranking)),
                str(entry["n_used"]),
                *cells,
                end_section=last,
            )
    return view


def rounds_table(histories: dict[str, list[Round]], advices: dict[str, str], words: Words = EYES) -> None:
    """Print the rounds of each phase-1 model, what they are credited with, and what to do next; `table` on words."""
    console = page(140)
    for root, history in histories.items():
        view = Sheet(f"rounds of {root}, on the validation part")
        headings = ("corrections", "kappa", "95 % interval", "RPS", "log-loss", f"on {words.lesions}", "credited")
        for heading in ("", "round", "model", *headings):
            view.add_column(heading, justify="left" if heading in ("", "model", "credited") else "right")
        for item in history:
            view.add_row(
                ">" if item.in_use else "",
                str(item.number),
                item.model,
                str(item.corrections) if item.parent else "-",
                number(item.kappa),
                interval(item.interval),
                number(item.ranked_probability_score, 4),
                number(item.log_loss),
                number(item.enrichment, 2, "x"),
                item.verdict if item.parent else "",
            )
        console.print(view)
        for item in history[1:]:
            label = f"{item.model} against {item.against}"
            _print_pairs(console, label, {name: getattr(item, f"{name}_difference") for name in _COMPARED}, words)
            if item.control is None:
                console.print(line(f"{item.model}: not compared with a control"))
            else:
                label = f"{item.model} against its control {item.control}"
                _print_pairs(
                    console, label, {name: getattr(item, f"{name}_against_control") for name in _COMPARED}, words
                )
        console.print(line(advices[root]))


def agreement_table(agreement: ExpertAgreement, words: Words = EYES) -> None:
    """Print how far experts agree, and whether the model reaches what they reach; `table` on words."""
    console = page(120)
    learned = f"; {agreement.learned_words}" if agreement.learned else ""
    view = Sheet(f"agreement on where to look{learned}")
    headings = ("", "and", "photographs", "both empty", "Dice", "95 % interval", "tolerant Dice", "overlap", "kappa")
    for heading in headings:
        view.add_column(heading, justify="left" if heading in ("", "and") else "right")
    for pair in agreement.pairs:
        figures = (number(value, 2) for value in (pair.tolerant_dice, pair.iou, pair.kappa))
        dice = number(pair.dice, 2), interval(pair.dice_interval)
        view.add_row(pair.first, pair.second, str(pair.n), str(pair.n_both_empty), *dice, *figures)
    console.print(view)
    against = agreement.model_against_experts
    measured = against["difference"] is not None
    result = f"Dice {sentence(against, 'dice', words)}" if measured else "no photograph was corrected by two experts"
    console.print(line(f"the model against what experts reach among themselves: {result}"))


_COMPARED = {
    "kappa": "kappa",
    "ranked_probability_score": "ranked probability score",
    "log_loss": "log-loss",
    "enrichment": "attention on {lesions}",
}


def _print_pairs(console: Console, label: str, pairs: Mapping[str, Any], words: Words) -> None:
    """Print the differences of two models, each with what it says; one that was not measured is left out."""
    console.print(line(f"{label}:"))
    for measure, text in _COMPARED.items():
        pair = pairs[measure]
        if pair is not None and pair["difference"] is not None:
            console.print(line(f"  {words.fill(text)} {sentence(pair, measure, words)}"))


def _mean(entry: Mapping[str, Any] | None) -> float | None:
    return None if entry is None else entry["mean"]


def _signed(pair: dict[str, Any], digits: int) -> str:
    if pair["difference"] is None:
        return "-"
    low, high = pair["interval"]
    return f"{pair['difference']:+.{digits}f} [{number(low, digits)}, {number(high, digits)}]"


def sentence(pair: dict[str, Any], measure: str, words: Words = EYES) -> str:
    """A paired difference and what it says.

    Args:
        pair: As `evaluation.intervals` writes it, with a difference.
        measure: A key of `evaluation.verdicts.MEASURES`.
        words: The study's.
    """
    comparison = compare(pair)
    why = undecided(comparison, words.patient)
    digits = 4 if measure == "ranked_probability_score" else 3
    return f"{_signed(pair, digits)}: {judge(comparison, measure)}{f' ({why})' if why else ''}"


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def interval(bounds: list[float | None] | None) -> str:
    """[lo, hi], or a dash."""
    if not bounds or bounds[0] is None or bounds[1] is None:
        return "-"
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


_DEAF = "this model hardly listens: neither no attention at all nor attention everywhere moves its grade by much"


def what_if_table(result: Mapping[str, Any]) -> None:
    """Print what `what-if` found: a block of three rows for the grade and for each branch, a column per class."""
    classes = list(result["before"]["probabilities"])
    view = _view("", ["", "map"], [line(name) for name in classes])
    named = {"before": "its own", "now": "given", "same_amount": "its own, as much"}
    for scale in range(len(result["before"]["branches"]) + 1):
        for moment, words in named.items():
            shares = [result[moment]["probabilities"], *result[moment]["branches"]][scale]
            name = f"scale {scale}" if scale else "fused"
            view.add_row(name if moment == "before" else "", words, *(f"{shares[item]:.3f}" for item in classes))
    page(80).print(view)
    before, now = (result[moment]["class"] for moment in ("before", "now"))
    show(
        f"{result['file']}: {before} -> {now}; {result['moved']['now']:.3f} of the probability moves, "
        f"{result['moved']['same_amount']:.3f} with as much attention in its own places",
        *([] if result["listens"] else [_DEAF]),
        f"panel: {result['panel']}",
    )
