"""The page a person reads at the end of the loop: one HTML file that needs no network and no script.

Invariant: everything that comes from data passes the template's autoescape; the page's own policy forbids
every load but inline pictures and the one script whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regaze.drawing import canvas, overlay
from regaze.drawing.canvas import Canvas
from regaze.drawing.charts import Axis, Bar, interval_chart, probability_chart
from regaze.errors import StudyError
from regaze.evaluation import verdicts
from regaze.evaluation.agreement import POINTING_RULE
from regaze.evaluation.seeds import Estimate
from regaze.evaluation.verdicts import DASH, FEWEST, Comparison, figure
from regaze.files import write_text
from regaze.report import matter, verdict
from regaze.report.data import IN_FULL, Case, ReportContent, View
from regaze.report.evidence_tables import TITLES, sections
from regaze.report.period_table import by_period
from regaze.report.tables import SCALES, class_name, dead_maps, evidence, percent, provenance_sections, right_of
from regaze.report.templates import SMALL, check_page_file, filled

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
    """Write the page, whole or not at all.

    Args:
        content: What to show.
        path: The HTML file; one that is there is replaced, a missing folder is made.

    Returns:
        `path`.

    Raises:
        StudyError: If `results` has no figures for one of the models named, or `path` is a folder.
    """
    check_page_file(path, "report.html")
    write_text(path, render(content))
    return path


def render(content: ReportContent) -> str:
    """Return the page as HTML text.

    Raises:
        StudyError: If `results` has no figures for one of the models named.
    """
    for role, _, name in content.roles:
        if name not in content.results["models"]:
            raise StudyError(
                f"The results hold no figures for the model {name!r} ({role}), only for "
                f"{sorted(content.results['models'])}: run `regaze evaluate` on it first."
            )
    return filled(
        "page.html.j2",
        content=content,
        vocabulary=content.words,
        script=SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii"),
        dash=DASH,
        **_answer(content),
        **_galleries(content),
        **evidence(content),
        **sections(content),
        **by_period(content),
        provenance=provenance_sections(content.provenance),
    )


def _answer(content: ReportContent) -> dict[str, Any]:
    """Return what stands at the top: the verdict, its charts, the counts, and what limits them."""
    summary = verdict.decide(content)
    matters = matter.matter_answer(content)
    margins = {name: verdicts.MEASURES[name].margin for name in ("kappa", "enrichment", "deletion")}
    too_small = {name: f"Grey: too small to matter (±{margin:g})." for name, margin in margins.items()}
    rankings = f"Of each kind the order that is hardest to beat. {too_small['deletion']}"
    return {
        "verdict": summary,
        "matter_line": matter.matter_line(matters),
        "claims": [
            (summary.grading, _change_chart(content, "kappa"), too_small["kappa"]),
            (summary.places, _change_chart(content, "enrichment"), too_small["enrichment"]),
            (matters, _duel_chart(content), rankings),
        ],
        "margins": (margins["kappa"], margins["enrichment"]),
        "pointing_rule": POINTING_RULE,
        "right": {role: right_of(content.figures(name)["confusion"]) for role, _, name in content.roles},
        "part": content.results["part"],
        "n": content.results["n"],
        "caveats": caveats(content),
        "notes": content.results["notes"],
        "n_intervals": count_intervals(content.paired) + count_intervals(_against(content)),
    }


def _change_chart(content: ReportContent, measure: str) -> Canvas | None:
    """Draw how a measure changed, against the model before and against the control."""
    rows = [
        ("After against before", verdicts.compare(content.paired[measure]), canvas.AFTER),
        ("After against the control", verdicts.compare(content.paired[f"{measure}_against_control"]), canvas.CONTROL),
    ]
    return _difference_chart(rows, measure, f"Difference of {measure} with its interval")


def _duel_chart(content: ReportContent) -> Canvas | None:
    """Draw where the map stands against the deciding order that is hardest to beat, on deletion and insertion."""
    rows = [
        (f"{TITLES[measure]}: the map against {matter.DECIDING[ranking]}", comparison, canvas.AFTER)
        for measure, ranking, comparison in matter.hardest(matter.duels(content))
    ]
    return _difference_chart(rows, "deletion", "Difference from reference rankings, with its interval")


def _difference_chart(rows: Sequence[tuple[str, Comparison, str]], measure: str, label: str) -> Canvas | None:
    """Draw paired differences (name, difference, colour) that have an interval; None where none has."""
    bars = [Bar(name, Estimate(c.difference, c.low, c.high), colour) for name, c, colour in rows if c.low is not None]
    if not bars:
        return None
    margin = verdicts.MEASURES[measure].margin
    ends = [abs(end) for _, c, _ in rows for end in (c.low, c.high) if end is not None]
    reach = 1.12 * max(2 * margin, *ends)
    axis = Axis(-reach, reach, sign=True, band=margin, rule=0.0, ends=("← worse", "better →"))
    return interval_chart([("", bars)], label, axis=axis)


def _against(content: ReportContent) -> dict[str, Any]:
    """Return the paired differences of the new model's map from other orders, as the tables show them."""
    parts = content.figures(content.after)["faithfulness"] or {}
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
    limits = [f"{content.learned}, which flatters all figures."] if content.learned else []
    if content.results["part"] != "test":
        limits.append(
            "Measured on the validation part, not on the test part: choices made while building the model "
            "may have looked at these photographs, which flatters all figures."
        )
    if content.unit == "photograph":
        patient = content.words.patient
        one = content.words.eye if patient == "group" else patient
        limits.append(
            f"No {patient} is known: photographs of one {one} may have been learned from and judged, which "
            "flatters all figures, and intervals that redraw single photographs are too narrow then."
        )
    limits += [content.near_copies] if content.near_copies else []
    shown = [name for *_, name in content.roles]
    limits += [doubt["text"] for doubt in content.results["warnings"] if doubt["model"] in shown]
    figures = content.figures(content.after)
    error, zero = (figures["maps"]["fused"][key] for key in ("squared_error", "zero_map_squared_error"))
    if error is not None and zero is not None and error >= zero:
        limits.append(
            f"By squared error the maps ({figure(error, 4)}) are no better than an empty map "
            f"({figure(zero, 4)}): judge them by the attention on {content.words.lesions}."
        )
    for _, words, name in content.roles:
        for scale, entry in content.figures(name)["maps"].items():
            if dead := dead_maps(entry):
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
    figures = content.figures(content.after)
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
    labels = sorted({case.label for case in content.cases}, key=lambda label: (label is None, label or 0))
    titles = {label: "No grade by an expert" if label is None else class_name(content, label) for label in labels}
    return {
        "groups": [
            (title, [_case(content, case) for case in content.cases if case.label == label])
            for label, title in titles.items()
        ],
        "worse_graded": [_case(content, case) for case in content.worse_graded[:IN_FULL]],
        "more_graded": [_small(content, case) for case in content.worse_graded[IN_FULL:]],
        "worse_maps": [_case(content, case) for case in content.worse_maps[:IN_FULL]],
        "more_maps": [_small(content, case) for case in content.worse_maps[IN_FULL:]],
        "further_off": [_small(content, case) for case in content.further_off],
        "ramp": [f"rgb({r} {g} {b})" for r, g, b in overlay.RAMP[::32]],
        "signed_ramp": [f"rgb({r} {g} {b})" for r, g, b in overlay.signed_ramp(11)],
        "has_evidence": any(
            case.after.evidence for case in [*content.cases, *content.worse_graded, *content.worse_maps]
        ),
    }


def _frame(content: ReportContent, case: Case) -> dict[str, Any]:
    """Return what both sizes of a photograph show: its names, and the outline of its lesions."""
    return {
        "sample": case.sample,
        "expert": class_name(content, case.label),
        "side": case.photo.shape[0],
        "outline": overlay.outline_path(case.lesions) if _is_known(case) and case.lesions is not None else "",
        "boxes": case.origin == "boxes",
    }


def _case(content: ReportContent, case: Case) -> dict[str, Any]:
    """Return one photograph as it is shown in full."""
    frame = _frame(content, case)
    before, after = case.before, case.after
    lesions = "{Lesions} as drawn by an expert" if case.origin == "masks" else "{Lesions} within {clinician}'s boxes"
    if not frame["outline"]:
        lesions = "Known to be free of {lesions}" if _is_known(case) else "{Lesions} unknown"
    return frame | {
        "photo": overlay.data_uri(overlay.shrink(case.photo)),
        "lesions": content.words.fill(lesions),
        "views": [_view(content, case, role, view) for role, view in (("before", before), ("after", after))],
        "probabilities": probability_chart(content.classes, before.probabilities, after.probabilities, case.label),
        "measures": [
            (
                content.words.fill("Attention on {lesions}, times chance"),
                figure(before.enrichment, 1),
                figure(after.enrichment, 1),
            ),
            (
                content.words.fill("Strongest pixels in {lesions}"),
                percent(before.relevance_rank),
                percent(after.relevance_rank),
            ),
            ("Squared error of the map", figure(before.squared_error, 3), figure(after.squared_error, 3)),
        ],
        "evidence": _evidence(content, case),
        "has_measures": before.enrichment is not None or before.squared_error is not None,
    }


def _evidence(content: ReportContent, case: Case) -> list[dict[str, Any]]:
    """Return what the new model's grade rests on, by class, on one scale; the expert's class comes after its own."""
    found = case.after.evidence
    drawn = overlay.balanced(*found.values()) if found else []
    whose = {case.label: "the expert's class", case.after.grade: "the class that it gave"}
    return [
        {
            "picture": overlay.data_uri(overlay.signed_overlay(case.photo, values)),
            "name": class_name(content, index),
            "whose": "the class that both gave" if case.label == case.after.grade else whose[index],
            "alt": f"Evidence for and against {class_name(content, index)} after the corrections in {case.sample}",
        }
        for index, values in zip(found, drawn, strict=True)
    ]


def _is_known(case: Case) -> bool:
    return case.lesions is not None and case.origin != "none"


def _small(content: ReportContent, case: Case) -> dict[str, Any]:
    """Return one photograph as it is shown in a list of many."""
    before, after = case.before, case.after
    enrichment = ""
    if before.enrichment is not None and after.enrichment is not None:
        enrichment = f"{figure(before.enrichment, 1)} → {figure(after.enrichment, 1)}"
    return _frame(content, case) | {
        "grades": f"{class_name(content, before.grade)} → {class_name(content, after.grade)}",
        "enrichment": enrichment,
        "views": [
            (overlay.data_uri(overlay.overlay(case.photo, view.fused, SMALL)), _alt(case, role))
            for role, view in (("before", before), ("after", after))
        ],
    }


def _alt(case: Case, role: str) -> str:
    return f"Where the model looked {role} the corrections in {case.sample}"


def _view(content: ReportContent, case: Case, role: str, view: View) -> dict[str, Any]:
    grade = class_name(content, view.grade)
    peak = overlay.peak_of(view.fused)
    empty = peak < 1e-6
    return {
        "role": role,
        "picture": overlay.data_uri(overlay.overlay(case.photo, view.fused)),
        "grade": grade,
        "right": None if case.label is None else view.grade == case.label,
        "confidence": percent(view.confidence),
        "empty": empty,
        "peak": figure(peak, 2),
        "scales": [
            (overlay.data_uri(overlay.cells(scale), "png"), " by ".join(map(str, scale.shape))) for scale in view.scales
        ],
        "alt": f"{_alt(case, role)}; it said {grade}{'; the map is empty' if empty else ''}",
    }
