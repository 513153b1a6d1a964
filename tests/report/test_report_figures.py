"""The page's tables and charts, and what stands where a figure is missing."""

import copy
import dataclasses
import math
import re

from regaze.drawing.canvas import BEFORE
from regaze.evaluation import verdicts
from regaze.report.page import caveats, render
from regaze.report.tables import evidence, provenance_sections, right_of
from tests.report.contents import BETTER, LESS, MORE, NO_LESIONS, Reader, content, orders, paired, with_evidence


def test_missing_figures_are_dashes_with_a_note_never_zeros():
    """A model without any figure still makes a page; a gap is a dash, and the page says what a dash is."""
    bare = content(kappa=None, enrichment=None)
    results = copy.deepcopy(bare.results)
    measured_nothing = {"lesion_recall", "n_faithfulness", "maps"}
    for name in ("phase1", "tuned"):
        model = results["models"][name]
        model |= dict.fromkeys(set(model) - measured_nothing)
        model["maps"] = {scale: dict.fromkeys(entry) for scale, entry in model["maps"].items()}
    results["models"]["tuned"]["quadratic_weighted_kappa"] = math.nan
    reader = Reader(render(dataclasses.replace(bare, results=results, provenance={})))
    cells = reader.all("span", "none")
    assert len(cells) > 2 * 11
    assert f"{verdicts.DASH} : not measured or not defined here" in reader.text
    assert "0.00" not in reader.text
    assert "No confusion matrix was measured." in reader.text
    assert "No paired comparison of the grades is given." in reader.text
    full = Reader(render(content()))
    assert len(full.all("span", "none")) < len(cells)


def test_figure_and_counts():
    """Numbers are written with a true minus, without a negative zero, and a dash where there is none."""
    minus = verdicts.MINUS
    written = [verdicts.figure(v, 2, sign=True) for v in (0.066, -0.15, -0.001, None, math.inf, True)]
    assert written == ["+0.07", f"{minus}0.15", "0.00", *[verdicts.DASH] * 3]
    assert right_of([[3, 1], [2, 4]]) == (7, 10)
    assert right_of(None) is None


def test_provenance_is_flattened_for_reading():
    """Nothing of the provenance is lost, whatever its depth."""
    nested = {"seed": 7, "options": {"epochs": 3, "inner": {"rate": 0.001, "on": True}}, "none": None}
    assert provenance_sections(nested) == [
        ("general", [("seed", "7"), ("none", verdicts.DASH)]),
        ("options", [("epochs", "3"), ("inner.rate", "0.001"), ("inner.on", "yes")]),
    ]


def test_curves_are_drawn_and_said():
    """Each curve is a line, and its figures stand in the chart's words; a missing point is no zero."""
    lines = {"before": {"deletion": [0.9, None, 0.1], "insertion": [0.2, 0.5, 0.9]}}
    lines |= {"after": {"deletion": [0.8, 0.3, 0.1], "insertion": [0.2, 0.6, 0.8]}}
    shares = [0.0, 0.25, 1.0]
    kinds = {
        "fused": {"deletion": [0.8, 0.2, 0.1], "insertion": [0.1, 0.2, 0.8]},
        "random": {"deletion": [0.8, 0.4, 0.1], "insertion": [0.1, 0.3, 0.8]},
    }
    page = with_evidence(
        {"all": orders([LESS] * 5, [MORE] * 5), "without_grade_0": None},
        curves={
            "models": {"n": 7, "shares": shares, "lines": lines},
            "orders": {"n": 5, "shares": shares, "lines": kinds},
        },
    )
    reader = Reader(render(page))
    drawn = [a for a in reader.all("polyline") if (a["stroke"], a["stroke-width"]) == (BEFORE, "2.4")]
    swatch = 1
    assert [len(a["points"].split()) for a in drawn][: 2 + swatch] == [2, 3, 2], "a gap is left out; then the key"
    spoken = [a["aria-label"] for a in reader.all("svg", "chart") if a["aria-label"].startswith("Deletion: ")]
    assert spoken[0] == "Deletion: Random pixels 0.80 at 0%, 0.40 at 25%, 0.10 at 100%; " + (
        "Where it looks 0.80 at 0%, 0.20 at 25%, 0.10 at 100%"
    )
    assert "means over the same 5 photographs" in reader.text
    assert "means over the same 7 photographs" in reader.text


def recall(share, low, high, n=40, origin="masks"):
    """Share of lesions lit on one scale and fused."""
    shares = {"share": share, "interval": [low, high]}
    entry = {"n_lesions": n, "n_used": 9, "n_skipped": 1, "recall": {"scale1": shares, "fused": shares}}
    some = {"all": entry, "types": {"microaneurysms": entry, "haemorrhages": entry}, "sizes": {"below 1 %": entry}}
    return {"budget": 0.05, "chance": 0.05, "masks": NO_LESIONS, "boxes": NO_LESIONS, origin: some}


def test_lesions_lit_stand_by_type_and_scale_beside_chance():
    """One chart for each map with the line of chance; the table has counts, intervals and the paired change."""
    change = {"difference": 0.12, "interval": [0.02, 0.22], "n_lesions": 40}
    both = {"fused": {"microaneurysms": change, "haemorrhages": change | {"n_lesions": 3}}}
    page = with_evidence(recall=recall(0.31, 0.2, 0.4), paired={"kappa": BETTER, "lesion_recall": both})
    reader = Reader(render(page))
    charts = [a["aria-label"] for a in reader.all("svg", "chart") if "lesions lit" in a["aria-label"]]
    assert [words.split(":")[0] for words in charts] == [
        "Share of lesions lit, Scale 1 (finest)",
        "Share of lesions lit, All scales together",
    ]
    assert "Microaneurysms (40 in 9 photographs) before \N{EN DASH}, after 0.31" in charts[0]
    assert reader.text.count("chance 5 %") == 2
    assert "40 lesions, outlined by experts, in 9 photographs" in reader.text
    assert reader.text.count("+2 to +22") == 1, "a change over other lesions than those shown is left out"
    assert "31 % 20 to 40" in reader.text
    boxed = Reader(render(with_evidence(recall=recall(0.31, 0.2, 0.4, origin="boxes")))).text
    assert "40 boxes drawn by a clinician (a box may hold many lesions) in 9 photographs" in boxed


def test_sanity_checks_and_reliability_have_their_counts():
    """A likeness comes with its interval and number of photographs, a dot of the diagram with its photographs."""
    mean = {"mean": 0.97, "interval": [0.9, 0.99], "n_used": 4, "n_skipped": 0}
    stages = {name: {"spearman": mean, "ssim": mean} for name in ("heads", "attention", "block3")}
    checks = {"stability": {"flip": mean}, "randomisation": stages}
    reader = Reader(render(with_evidence(sanity=checks)))
    assert reader.text.count("0.97 0.90 to 0.99") == 4
    assert "Heads (a map lies below them)" in reader.text
    assert "50 % 40 % 10" in reader.text
    assert "sure right photographs" in reader.text


def test_changes_in_the_table_are_judged_by_their_own_intervals():
    """A paired interval that includes zero is no better and no worse; what was not compared only has a direction."""
    text = Reader(render(content(paired={"kappa": paired(-0.1, 0.36), "squared_error": paired(0.01, 0.02)}))).text
    row = text[text.index("Agreement with the expert (kappa, quadratic") :]
    assert row.index("+0.130 inconclusive \N{MINUS SIGN}0.100 to +0.360") < row.index("Graded exactly right")
    assert "+0.0150 worse +0.0100 to +0.0200" in text
    untested = Reader(render(content(paired={}))).text
    assert "+0.130 to the better 0.610" in untested


def _with_baselines(**found):
    base = content()
    blind = {"about": "colours and a thumbnail", "quadratic_weighted_kappa": 0.387, "interval": [0.286, 0.48]}
    blind |= {
        "accuracy": 0.436,
        "against": {"phase1": paired(0.1, 0.3, n_used=90), "tuned": paired(-0.1, 0.3, n_used=90)},
    }
    doubts = [{"model": name, "text": f"{name} is no better."} for name in ("tuned", "another")]
    results = base.results | {"baselines": {"blind": blind | found}, "warnings": doubts}
    return dataclasses.replace(base, results=results)


def test_baselines_stand_beside_the_models():
    """Kappa and interval of a baseline, and each model's paired difference from it with its word."""
    text = Reader(render(_with_baselines())).text
    assert re.search(r"blind colours and a thumbnail 0\.387 0\.286 to 0\.480 44\s%", text)
    minus = verdicts.MINUS
    assert f"+0.200 improved +0.100 to +0.300 +0.100 inconclusive {minus}0.100 to +0.300" in text
    assert "What a model must beat" not in Reader(render(content())).text


def test_a_model_that_a_baseline_was_not_set_against_has_dashes():
    """A probe belongs to the models that started from its weights; for another there is nothing to say."""
    (row,) = evidence(_with_baselines(against={"phase1": paired(0.1, 0.3, n_used=90)}))["baselines"]
    assert row["changes"] == ["+0.200", verdicts.DASH]
    assert row["verdicts"] == ["improved", ""]


def test_warnings_are_read_before_the_figures():
    """What `evaluate` warns of stands under "Before you rely on this", of the models on the page alone."""
    assert "tuned is no better." in caveats(_with_baselines())
    text = Reader(render(_with_baselines())).text
    assert "tuned is no better." in text
    assert "another is no better." not in text


def test_training_loss_is_shown_from_first_to_last():
    """Each model's own loss, where it ended and where it began, without a comparison."""
    (row,) = [row for row in evidence(content())["rows"] if row["words"].startswith("Training loss")]
    assert row["cells"] == ["0.70", "0.70"]
    assert row["notes"] == ["first 1.20", "first 1.20"]
    assert (row["n"], row["change"], row["trend"], row["verdict"]) == ("", "", "", "")
