"""The loop with other networks, and what a person reads."""

import json
import re

import pytest

from regaze.commands.tables import interval, number, sentence


def test_plain_network_is_trained_and_judged(new_study, regaze, tiny, check_figures):
    """A plain network has no map to correct: it is trained and judged by its activation map, and the end says so."""
    folder = new_study()
    outcome = regaze("run", folder, *tiny["run"], "--network", "plain", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    check_figures(result, scales=1, more=("report", "before", "after", "control"))
    assert (result["before"], result["after"], result["control"], result["report"]) == ("plain", None, None, None)
    assert result["paired"] == {}
    assert "The map of a plain network is its class activation map." in result["notes"]
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["plain"]
    assert not (folder / "report.html").exists()
    assert "no report: a plain network has no maps to correct" in regaze("run", folder).out


def test_loop_without_control(new_study, regaze, tiny):
    """--no-control leaves out the control, and the report says what it could not compare with."""
    folder = new_study()
    result = regaze(
        "run", folder, *tiny["run"], "--no-control", "--epochs", "1", "--finetune-epochs", "1", "--json"
    ).json
    assert result["control"] is None
    assert list(result["paired"]) == ["multi-scale-finetuned against multi-scale"]
    assert "control" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_baselines_are_made_once(new_study, regaze, tiny, files_of, count_steps):
    """--baselines adds the paper's other methods, each with its own corrections; again, nothing is trained."""
    folder = new_study()
    first = regaze("run", folder, *tiny["run"], "--baselines", "--json").json
    assert set(first["models"]) == {
        "plain",
        "single-scale",
        "single-scale-finetuned",
        "multi-scale",
        "multi-scale-finetuned",
        "multi-scale-control",
    }
    assert (first["before"], first["after"]) == ("multi-scale", "multi-scale-finetuned")
    before = files_of(folder / "models")
    steps = count_steps()
    again = regaze("run", folder, *tiny["run"], "--baselines", "--json").json
    assert steps == []
    assert files_of(folder / "models") == before
    assert again["models"] == first["models"]


def test_words_for_figures():
    """A difference says its verdict, and why there is none; what is missing is a dash."""

    def words(difference, interval, measure="kappa", patients=10):
        pair = {"difference": difference, "interval": interval, "n_groups": patients}
        return sentence(pair, measure)

    assert words(0.1, [0.02, 0.2]) == "+0.100 [0.020, 0.200]: improved"
    assert words(0.1, [0.02, 0.2], "squared_error") == "+0.100 [0.020, 0.200]: worse"
    assert words(-0.1, [-0.2, -0.02]).endswith("worse")
    assert words(-0.1, [-0.2, -0.02], "squared_error").endswith("improved")
    assert words(0.1, [0.0, 0.2]).endswith("inconclusive")
    assert words(0.1, [None, None]) == "+0.100 [-, -]: inconclusive"
    few = "+0.100 [0.020, 0.200]: inconclusive (9 patients, and 10 are the fewest)"
    assert words(0.1, [0.02, 0.2], patients=9) == few
    assert (number(None), number(2.345, 2, "x"), number(0.0)) == ("-", "2.35x", "0.000")
    assert (interval([0.1, 0.25]), interval([None, 1.0]), interval(None)) == ("[0.100, 0.250]", "-", "-")


def test_init_describes_the_data(new_study, regaze, tiny):
    """`init` counts photographs, grades, patients and what is known about lesions."""
    folder = new_study()
    said = regaze("init", folder, "--data", tiny["data"], "--size", "64", "--json").json
    split = json.loads((folder / "study.json").read_text())["split"]
    assert said["photographs"] == sum(said["grades"].values()) == 30
    assert said["origins"] == {"masks": 30}
    assert said["patients"] == 15
    assert said["validation"] == sum(fold == 0 for fold in split.values())
    assert list(said["grades"]) == sorted(said["grades"])


def test_init_says_that_classes_have_no_order(new_study, regaze, table_of, tmp_path):
    """One mistyped grade makes the classes names without an order, which `init` says beside them."""
    table = table_of(tmp_path / "typo.csv", lambda row: row | {"label": "x" if row["label"] == "4" else row["label"]})
    said = regaze("init", new_study(), "--data", f"csv:{table}", "--size", "64").out
    assert re.search(r"^classes, taken as without an order: 0 \d+, .*\bx \d", said, re.MULTILINE)
    assert "grades: " not in said
