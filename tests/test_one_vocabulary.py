"""The same interval gives the same word, whoever is asked: rounds, evaluate, the report, reproduce, agree."""

from dataclasses import replace

import pytest

from regaze.commands.tables import agreement_table, rounds_table, table
from regaze.evaluation.seeds import Estimate
from regaze.experiments.claims import Claim
from regaze.report.data import ReportContent
from regaze.report.page import render
from regaze.report.tables import evidence
from regaze.report.verdict import grading_answer, places_answer
from regaze.study.assessment.experts import ExpertAgreement
from regaze.study.assessment.rounds import Round, _judged

ROUND = Round(1, "b", "a", 3, 0.7, [0.6, 0.8], 0.6, 2.0, 0.1)
OPEN = {"difference": 0.0, "interval": [-0.9, 0.9], "n_used": 200, "n_groups": 200}
MAPS = {
    name: dict.fromkeys(
        (
            *("squared_error", "zero_map_squared_error", "mean_map_squared_error", "healthy_squared_error"),
            *("lesion_enrichment", "relevance_rank", "pointing_game", "dead", "n_used", "n_skipped"),
        )
    )
    for name in ("fused", "scale1")
}
NO_LESIONS = {"all": {"n_lesions": 0, "n_used": 0, "n_skipped": 10, "recall": {}}, "types": {}, "sizes": {}}
FIGURES = {
    "quadratic_weighted_kappa": 0.7,
    "interval": [0.6, 0.8],
    "maps": MAPS,
    "n_faithfulness": 0,
    "lesion_recall": {"budget": 0.05, "chance": None, "masks": NO_LESIONS, "boxes": NO_LESIONS},
} | dict.fromkeys(
    (
        *("accuracy", "recall", "confusion", "referable", "calibration_error", "reliability"),
        *("ranked_probability_score", "log_loss", "by_period", "training_loss", "precision"),
        *("deletion", "insertion", "relative_deletion", "relative_insertion", "faithfulness", "sanity"),
    )
)
EMPTY = {"baselines": {}, "warnings": [], "notes": [], "overlap": {"n": 0, "words": ""}}
SCORES = ("ranked_probability_score", "log_loss")
AREAS = ("deletion", "insertion", "relative_deletion", "relative_insertion")
MEASURES = ("kappa", *SCORES, "enrichment", "squared_error", *AREAS, "without_grade_0", "iou", "lesion_recall")


def ask_rounds(measure, pair, capsys):
    """What `regaze rounds` says of a round against the one before."""
    pairs = dict.fromkeys(("kappa", *SCORES, "enrichment"), OPEN) | {measure: pair}
    found = _judged(ROUND, "a", pairs, None)
    rounds_table({"a": [replace(ROUND, number=0), found]}, {"a": ""})
    shown = printed(measure, capsys)
    if measure not in SCORES:  # which stand beside and decide nothing
        assert shown == (found.grading if measure == "kappa" else found.attention)
    return shown


def ask_evaluate(measure, pair, capsys):
    """What the terminal's table says."""
    pairs = dict.fromkeys(("kappa", *SCORES, "enrichment")) | {measure: pair}
    result = {"part": "test", "n": 200, "models": {"b": FIGURES}, "paired": {"b against a": pairs}, **EMPTY}
    table(result)
    return printed(measure, capsys)


def ask_report(measure, pair, capsys):
    """What the page's answer and its table say; the figures without an answer have the table alone."""
    page = ReportContent(
        title="",
        classes=("none", "some"),
        results={"part": "test", "n": 200, "models": {"a": FIGURES, "b": FIGURES}, **EMPTY},
        before="a",
        after="b",
        control=None,
        paired=dict.fromkeys(f"{name}{ending}" for ending in ("", "_against_control") for name in MEASURES)
        | {measure: pair},
        cases=[],
        worse_graded=[],
        worse_maps=[],
        n_better_graded=0,
        n_better_maps=0,
        provenance={},
    )
    rows = {row["verdict"] for row in evidence(page)["rows"]} - {""}
    answers = {"kappa": grading_answer, "enrichment": places_answer}
    if measure in answers:
        rows.add(answers[measure](page).state)
    (word,) = rows
    assert word in render(page)
    return word


def ask_reproduce(measure, pair, capsys):
    """What a claim's verdict is, and that its answer presents it."""
    low, high = pair["interval"]
    figures = Estimate(pair["difference"], low, high, (pair["difference"],) * 3, pair["n_used"], pair["n_groups"])
    claim = Claim("A than B", "section 0", measure.replace("_", " "), figures, trainings=pair.get("seeds", 3))
    answers = {"improved": "holds", "inconclusive": "inconclusive"}
    assert claim.plain()["verdict"] == answers.get(claim.state, "does not hold")
    return claim.state


def ask_agree(measure, pair, capsys):
    """What is said of the model against the experts, whose Dice has the margin of kappa."""
    found = ExpertAgreement([], pair)
    agreement_table(found)
    assert f": {found.verdict}" in capsys.readouterr().out
    return found.verdict


def printed(measure, capsys):
    """The word that ends a difference in the terminal."""
    text = {
        "kappa": "  kappa ",
        "ranked_probability_score": "  ranked probability score ",
        "log_loss": "  log-loss ",
        "enrichment": "  attention on lesions ",
    }[measure]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(text) and "0.900" not in line]
    return line.partition("]: ")[2].split(" (")[0]


ALL = (ask_rounds, ask_evaluate, ask_report, ask_reproduce, ask_agree)
PLACES = {
    "kappa": ALL,
    "enrichment": ALL[:4],
    "ranked_probability_score": ALL[:4],
    "log_loss": ALL[:4],
    "squared_error": (ask_report, ask_reproduce),
    "deletion": (ask_report, ask_reproduce),
    "insertion": (ask_report, ask_reproduce),
    "relative_insertion": (ask_report, ask_reproduce),
}


@pytest.mark.parametrize(
    ("measure", "difference", "interval", "patients", "word"),
    [
        ("kappa", 0.02, [0.01, 0.03], 200, "equivalent"),
        ("kappa", -0.02, [-0.03, -0.01], 200, "equivalent"),
        ("kappa", 0.0, [-0.05, 0.05], 200, "equivalent"),
        ("kappa", 0.08, [0.02, 0.14], 200, "improved"),
        ("kappa", -0.08, [-0.14, -0.02], 200, "worse"),
        ("kappa", 0.03, [-0.02, 0.08], 200, "inconclusive"),
        ("kappa", -0.08, [-0.2, 0.04], 200, "inconclusive"),
        ("kappa", 0.1, [0.0, 0.2], 200, "inconclusive"),
        ("kappa", 0.3, [0.2, 0.4], 9, "inconclusive"),
        ("kappa", 0.3, [0.2, 0.4], 10, "improved"),
        ("enrichment", 0.12, [0.05, 0.19], 200, "equivalent"),
        ("enrichment", 0.3, [0.05, 0.5], 200, "improved"),
        ("enrichment", -0.3, [-0.5, -0.05], 200, "worse"),
        ("enrichment", 0.3, [0.05, 0.5], 9, "inconclusive"),
        ("ranked_probability_score", -0.01, [-0.015, -0.005], 200, "improved"),
        ("ranked_probability_score", -0.003, [-0.0045, -0.0015], 200, "equivalent"),
        ("ranked_probability_score", 0.01, [0.005, 0.015], 200, "worse"),
        ("ranked_probability_score", 0.01, [0.005, 0.015], 9, "inconclusive"),
        ("log_loss", -0.05, [-0.09, -0.01], 200, "improved"),
        ("log_loss", 0.01, [0.001, 0.019], 200, "equivalent"),
        ("log_loss", 0.05, [-0.01, 0.11], 200, "inconclusive"),
        ("relative_insertion", 0.06, [0.01, 0.11], 200, "improved"),
        ("squared_error", -0.03, [-0.05, -0.01], 200, "improved"),
        ("squared_error", 0.03, [0.005, 0.05], 200, "worse"),
        ("squared_error", 0.005, [0.001, 0.009], 200, "equivalent"),
        ("deletion", -0.04, [-0.07, -0.01], 200, "improved"),
        ("deletion", 0.04, [0.01, 0.07], 200, "worse"),
        ("insertion", 0.01, [0.001, 0.019], 200, "equivalent"),
        ("insertion", 0.04, [0.01, 0.07], 200, "improved"),
    ],
)
def test_the_same_interval_gives_the_same_word(measure, difference, interval, patients, word, capsys):
    """Word and decision come from `evaluation.verdicts` wherever a difference is said."""
    pair = {"difference": difference, "interval": interval, "n_used": 200, "n_groups": patients}
    assert {ask.__name__: ask(measure, pair, capsys) for ask in PLACES[measure]} == {
        ask.__name__: word for ask in PLACES[measure]
    }


def test_fewer_than_three_trainings_decide_nothing(capsys):
    """Only `reproduce` has several trainings of each model; two of them are too few."""
    pair = {"difference": 0.3, "interval": [0.2, 0.4], "n_used": 200, "n_groups": 200}
    assert ask_reproduce("kappa", pair | {"seeds": 2}, capsys) == "inconclusive"
    assert ask_reproduce("kappa", pair | {"seeds": 3}, capsys) == "improved"
