"""The page a person reads at the end of the loop: one HTML file that needs no network and no script.

Invariant: everything that comes from data passes the template's autoescape; the page's own policy forbids
every load but inline pictures and the one script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from regaze.drawing import canvas, overlay
from regaze.drawing.canvas import Canvas
from regaze.drawing.charts import Axis, Bar, interval_chart, probability_chart
from regaze.errors import StudyError
from regaze.evaluation import verdicts
from regaze.evaluation.intervals import FEWEST
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import DASH, Comparison, figure
from regaze.files import write_text
from regaze.report import matter, verdict
from regaze.report.data import IN_FULL, Case, ReportContent, View
from regaze.report.evidence_tables import MEASURES, sections
from regaze.report.tables import (
    SCALES,
    class_name,
    dead_maps,
    evidence,
    figures_of,
    percent,
    provenance_sections,
    right_of,
    roles,
)

# The style sheet's names of the colours that charts use too.
COLOURS = {
    "ink": canvas.INK,
    "soft": canvas.SOFT,
    "line": canvas.LINE,
    "paper": canvas.PAPER,
    "accent": canvas.AFTER,
    "before": canvas.BEFORE,
    "control": canvas.CONTROL,
    "good": canvas.GOOD,
}
SMALL = 128  # pixels; side of a picture in a list of many

# A blink comparison: the eye sees a change in place that it misses side by side. Without scripts the buttons
# stay hidden and both pictures stand next to each other.
SCRIPT = """
for (const button of document.querySelectorAll("button.flip")) {
  const after = button.closest(".case").querySelector("img.view-after");
  const before = button.closest(".case").querySelector("img.view-before");
  const sources = [after.src, before.src];
  button.hidden = false;
  button.addEventListener("click", () => {
    const flipped = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(flipped));
    button.textContent = flipped ? "Showing: before" : "Flip to before";
    after.src = sources[flipped ? 1 : 0];
  });
}
"""


def write_report(content: ReportContent, path: Path) -> Path:
    """Write the page.

    The file appears whole or not at all: it is written beside its place, flushed to disk and renamed.

    Args:
        content: What to show.
        path: The HTML file; one that is there is replaced, a missing folder is made.

    Returns:
        `path`.

    Raises:
        StudyError: If `results` has no figures for one of the models named, or `path` is a folder.
    """
    if path.is_dir():
        raise StudyError(f"{path} is a folder: give the page's file, e.g. {path / 'report.html'}.")
    write_text(path, render(content))
    return path


def render(content: ReportContent) -> str:
    """Return the page as HTML text.

    Raises:
        StudyError: If `results` has no figures for one of the models named.
    """
    _check(content)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regaze.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["percent"] = percent
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    return environment.get_template("page.html.j2").render(
        content=content,
        script=SCRIPT,
        style=(files("regaze.report") / "page.css").read_text(encoding="utf-8"),
        colours=COLOURS,
        script_hash=digest,
        dash=DASH,
        **_answer(content),
        **_galleries(content),
        **evidence(content),
        **sections(content),
        provenance=provenance_sections(content.provenance),
    )


def _check(content: ReportContent) -> None:
    models = content.results["models"]
    for role in ("before", "after", "control"):
        name = getattr(content, role)
        if name is not None and name not in models:
            raise StudyError(
                f"The results hold no figures for the model {name!r} ({role}), only for {sorted(models)}: "
                "run `regaze evaluate` on it first."
            )


def _answer(content: ReportContent) -> dict[str, Any]:
    """Return what stands at the top: the verdict, its two charts, the counts, and what limits them."""
    decided = verdict.decide(content)
    paired = {key: verdicts.compare(entry) for key, entry in content.paired.items()}
    none = verdicts.compare(None)

    def chart(key: str, margin: float, words: str) -> Canvas | None:
        rows = [("After against before", paired.get(key, none), canvas.AFTER)]
        rows.append(("After against the control", paired.get(f"{key}_against_control", none), canvas.CONTROL))
        return _difference_chart(rows, margin, words)

    places = matter.matter_claim(content)
    return {
        "verdict": decided,
        "matter_line": matter.matter_line(places),
        "claims": [
            (
                decided.grading,
                chart("kappa", verdicts.KAPPA_MARGIN, "Difference of kappa with its interval"),
                f"Grey: too small to matter (±{verdicts.KAPPA_MARGIN:g}).",
            ),
            (
                decided.places,
                chart("enrichment", verdicts.ENRICHMENT_MARGIN, "Difference of enrichment with its interval"),
                f"Grey: too small to matter (±{verdicts.ENRICHMENT_MARGIN:g}).",
            ),
            (
                places,
                _duel_chart(content),
                "Of each kind the order that is hardest to beat. Grey: too small to matter "
                f"(±{verdicts.FAITHFULNESS_MARGIN:g}).",
            ),
        ],
        "margins": (verdicts.KAPPA_MARGIN, verdicts.ENRICHMENT_MARGIN),
        "right": {role: right_of(figures_of(content, name)) for role, _, name in roles(content)},
        "part": content.results["part"],
        "n": content.results["n"],
        "caveats": caveats(content),
        "notes": content.results["notes"],
        "n_intervals": count_intervals(content.paired) + count_intervals(_against(content)),
    }


def _duel_chart(content: ReportContent) -> Canvas | None:
    """Draw where the map stands against the blind order that is hardest to beat, on deletion and insertion."""
    rows = [
        (f"{MEASURES[measure]}: the map against {matter.BLIND[control]}", comparison, canvas.AFTER)
        for measure, control, comparison in matter.hardest(matter.duels(content))
    ]
    margin = verdicts.FAITHFULNESS_MARGIN
    return _difference_chart(rows, margin, "Difference from orders without knowledge, with its interval")


def _difference_chart(rows: Sequence[tuple[str, Comparison, str]], margin: float, label: str) -> Canvas | None:
    """Draw paired differences (name, difference, colour) that have an interval; None where none has."""
    bars = [Bar(name, Estimate(c.difference, c.low, c.high), colour) for name, c, colour in rows if c.low is not None]
    if not bars:
        return None
    ends = [abs(end) for _, c, _ in rows for end in (c.low, c.high) if end is not None]
    reach = 1.12 * max(2 * margin, *ends)
    axis = Axis(-reach, reach, sign=True, band=margin, rule=0.0, ends=("← worse", "better →"))
    return interval_chart([("", bars)], label, axis=axis)


def _against(content: ReportContent) -> dict[str, Any]:
    """Return the paired differences of the new model's map from other orders, as the tables show them."""
    parts = figures_of(content, content.after)["faithfulness"] or {}
    return {
        part: {name: entry["against"] for name, entry in orders.items() if name != "fused"}
        for part, orders in parts.items()
        if orders is not None
    }


def count_intervals(paired: Mapping[str, Any]) -> int:
    """Return how many paired intervals the page rests on, at every depth."""
    if verdicts.compare(paired).low is not None:
        return 1
    return sum(count_intervals(inner) for inner in paired.values() if isinstance(inner, Mapping))


def caveats(content: ReportContent) -> list[str]:
    """Return what a reader must know before believing the figures, the most limiting first."""
    limits = []
    if content.results["part"] != "test":
        limits.append(
            "Measured on the validation part, not on the test part: choices made while building the model "
            "may have looked at these photographs, which flatters all figures."
        )
    figures = figures_of(content, content.after)
    error, zero = (figures["maps"]["fused"][key] for key in ("squared_error", "zero_map_squared_error"))
    if error is not None and zero is not None and error >= zero:
        limits.append(
            f"By squared error the maps ({figure(error, 4)}) are no better than an empty map "
            f"({figure(zero, 4)}): judge them by the attention on lesions."
        )
    for _, words, name in roles(content):
        for scale, entry in figures_of(content, name)["maps"].items():
            dead = dead_maps(entry)
            if dead:
                limits.append(f"{words}: dead maps (the same everywhere) at {SCALES.get(scale, scale)}: {dead}.")
    measured = figures["n_faithfulness"]
    if 0 < measured < FEWEST:
        limits.append(
            f"Deletion and insertion rest on {measured} photographs; intervals over fewer than {FEWEST} come "
            "out too narrow."
        )
    missing = not_measured(content)
    if missing:
        limits.append(f"Not measured: {'; '.join(missing)}.")
    return limits


def not_measured(content: ReportContent) -> list[str]:
    """Return what the page would show and nobody asked for, with the option that asks for it."""
    figures = figures_of(content, content.after)
    faithfulness = figures["faithfulness"]
    missing = []
    if faithfulness is None:
        missing.append("what happens when the places it looks at are erased or shown (--faithfulness 24)")
    elif len(faithfulness["all"]) < 2:
        missing.append("the same for reference rankings (--reference-rankings 24)")
    if figures["sanity"] is None:
        missing.append("whether the maps depend on what was learned, and stay when nothing changes (--sanity 8)")
    if content.control is None:
        missing.append("a model trained equally long without the corrected maps")
    return missing


def _galleries(content: ReportContent) -> dict[str, Any]:
    order: list[int | None] = [*range(len(content.classes)), None]
    order += sorted({c.label for c in content.cases if c.label is not None} - set(range(len(content.classes))))
    groups: list[tuple[str, list[dict[str, Any]]]] = []
    for label in order:
        shown = [c for c in content.cases if c.label == label]
        if shown:
            title = "No grade by an expert" if label is None else class_name(content, label)
            groups.append((title, [_case(content, c, f"g{len(groups)}-{k}") for k, c in enumerate(shown)]))
    return {
        "groups": groups,
        "worse_graded": [_case(content, c, f"w{k}") for k, c in enumerate(content.worse_graded[:IN_FULL])],
        "more_graded": [_small(content, c) for c in content.worse_graded[IN_FULL:]],
        "worse_maps": [_case(content, c, f"m{k}") for k, c in enumerate(content.worse_maps[:IN_FULL])],
        "more_maps": [_small(content, c) for c in content.worse_maps[IN_FULL:]],
        "further_off": [_small(content, c) for c in content.further_off],
        "ramp": [f"rgb({r} {g} {b})" for r, g, b in overlay.RAMP[::32]],
    }


def _case(content: ReportContent, case: Case, key: str) -> dict[str, Any]:
    """Return one photograph as the template wants it."""
    known = case.lesions is not None and case.origin != "none"
    outline = overlay.outline_path(case.lesions) if known and case.lesions is not None else ""
    lesions = "Lesions unknown"
    if known:
        lesions = "Known to be free of lesions"
        if outline:
            lesions = (
                "Lesions as drawn by an expert" if case.origin == "masks" else "Lesions within a clinician's boxes"
            )
    return {
        "key": key,
        "sample": case.sample,
        "expert": class_name(content, case.label),
        "side": case.photo.shape[0],
        "photo": overlay.data_uri(overlay.shrink(case.photo)),
        "outline": outline,
        "boxes": case.origin == "boxes",
        "lesions": lesions,
        "views": [_view(content, case, role, view) for role, view in (("before", case.before), ("after", case.after))],
        "probabilities": probability_chart(
            content.classes, case.before.probabilities, case.after.probabilities, case.label
        ),
        "measures": [
            (
                "Attention on lesions, times chance",
                figure(case.before.enrichment, 1),
                figure(case.after.enrichment, 1),
            ),
            (
                "Strongest pixels in lesions",
                percent(case.before.relevance_rank),
                percent(case.after.relevance_rank),
            ),
            (
                "Squared error of the map",
                figure(case.before.squared_error, 3),
                figure(case.after.squared_error, 3),
            ),
        ],
        "has_measures": case.before.enrichment is not None or case.before.squared_error is not None,
    }


def _small(content: ReportContent, case: Case) -> dict[str, Any]:
    """Return one photograph as it is shown in a list of many."""
    known = case.lesions is not None and case.origin != "none"
    before, after = case.before, case.after
    enrichment = ""
    if before.enrichment is not None and after.enrichment is not None:
        enrichment = f"{figure(before.enrichment, 1)} → {figure(after.enrichment, 1)}"
    return {
        "sample": case.sample,
        "expert": class_name(content, case.label),
        "grades": f"{class_name(content, before.grade)} → {class_name(content, after.grade)}",
        "enrichment": enrichment,
        "side": case.photo.shape[0],
        "outline": overlay.outline_path(case.lesions) if known and case.lesions is not None else "",
        "boxes": case.origin == "boxes",
        "views": [
            (
                overlay.data_uri(overlay.overlay(case.photo, view.fused, SMALL)),
                f"Where the model looked {role} the corrections in {case.sample}",
            )
            for role, view in (("before", before), ("after", after))
        ],
    }


def _view(content: ReportContent, case: Case, role: str, view: View) -> dict[str, Any]:
    grade = class_name(content, view.grade)
    empty = overlay.peak_of(view.fused) < 1e-6
    return {
        "role": role,
        "picture": overlay.data_uri(overlay.overlay(case.photo, view.fused)),
        "grade": grade,
        "right": None if case.label is None else view.grade == case.label,
        "confidence": percent(view.confidence),
        "empty": empty,
        "peak": figure(overlay.peak_of(view.fused), 2),
        "scales": [
            (
                overlay.data_uri(overlay.cells(scale), "png"),
                " by ".join(map(str, scale.shape)),
            )
            for scale in view.scales
        ],
        "alt": f"Where the model looked {role} the corrections in {case.sample}; it said {grade}"
        + ("; the map is empty" if empty else ""),
    }
