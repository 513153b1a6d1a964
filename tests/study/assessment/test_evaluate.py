"""Judging a study's models: on which photographs, what is kept, what the notes say."""

import json
import re
import shutil

import pytest
from sklearn.metrics import cohen_kappa_score


@pytest.fixture
def evaluate(regaze, tiny):
    """A function that calls `regaze evaluate`."""

    def call(folder, *more):
        return regaze("evaluate", folder, *tiny["machine"], *tiny["evaluation"], *more, "--json")

    return call


def test_test_part_where_there_is_one(finished_run, open_quietly):
    """The figures come from the photographs that the data set aside, and n counts them."""
    folder, outcome = finished_run
    study = open_quietly(folder)
    rows = json.loads((folder / "evaluation" / "test" / "multi-scale.json").read_text())["photographs"]
    assert [row["sample"] for row in rows] == [sample.id for sample in study.test()]
    notes = outcome.json["notes"]
    assert any(re.match(r"Map figures over \d photographs with lesions: \d with masks, 0 with boxes", n) for n in notes)
    assert "Deletion and insertion over 2 photographs in 4 steps, fused map." in notes


def test_figures_follow_from_the_records(finished_run):
    """The figures are those of the records per photograph: accuracy, confusion and means counted by hand."""
    folder, outcome = finished_run
    for name, figures in outcome.json["models"].items():
        rows = json.loads((folder / "evaluation" / "test" / f"{name}.json").read_text())["photographs"]
        assert figures["accuracy"] == pytest.approx(sum(row["grade"] == row["label"] for row in rows) / len(rows))
        for row in rows:
            assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
            below = [sum(row["probabilities"][: grade + 1]) for grade in range(5)]
            assert row["grade"] == next(grade for grade in range(5) if below[grade] >= 0.5), "grades are the median"
        used = [row["maps"]["fused"] for row in rows if row["maps"]["fused"]["lesion_pixels"]]
        assert figures["maps"]["fused"]["n_used"] == len(used)
        mean = sum(record["lesion_enrichment"] for record in used) / len(used)
        assert figures["maps"]["fused"]["lesion_enrichment"] == pytest.approx(mean)
        deletions = [row["deletion"] for row in rows if row["deletion"] is not None]
        assert figures["deletion"] == pytest.approx(sum(deletions) / len(deletions))


def test_training_masks_are_read_once(study_copy, evaluate, parts_read, open_quietly, finished_run):
    """The mean-map baseline of three models reads the training part once, and no figure depends on it."""
    shutil.rmtree(study_copy / "evaluation")
    again = evaluate(study_copy).json
    training = [sample.id for sample in open_quietly(study_copy).training(0)]
    assert len(again["models"]) == 3
    assert parts_read.count(training) == 1
    assert again["models"] == finished_run[1].json["models"]


def test_judged_once(study_copy, evaluate, monkeypatch, finished_run):
    """Records are kept: a second call asks no model; a damaged or an outdated record is made again."""
    from regaze.study.assessment import judge

    asked = []
    original = judge.load_model
    monkeypatch.setattr(judge, "load_model", lambda *arguments: (asked.append(arguments[0]), original(*arguments))[1])
    first = {key: finished_run[1].json[key] for key in ("part", "n", "models", "paired", "notes")}
    again = evaluate(study_copy).json
    assert asked == []
    assert {key: again[key] for key in first} == first
    file = study_copy / "evaluation" / "test" / "multi-scale.json"
    file.write_text(file.read_text()[:200])
    again = evaluate(study_copy).json
    assert len(asked) == 1
    assert {key: again[key] for key in first} == first
    evaluate(study_copy, "--steps", "5")
    assert len(asked) == 4


def test_no_faithfulness(study_copy, evaluate, check_figures):
    """--faithfulness 0 leaves deletion and insertion null, and a note says why."""
    result = evaluate(study_copy, "--faithfulness", "0").json
    check_figures(result)
    for figures in result["models"].values():
        assert (figures["deletion"], figures["insertion"], figures["n_faithfulness"]) == (None, None, 0)
    assert "Deletion and insertion are null: --faithfulness 0." in result["notes"]


def test_other_data(study_copy, evaluate, table_of, tmp_path, check_figures, open_quietly):
    """--data judges on other photographs, without lesions too, and leaves the study's own figures alone."""
    before = (study_copy / "evaluation" / "test.json").read_bytes()
    study = open_quietly(study_copy)
    mine = {sample.patient for sample in study.training(0)}
    # The validation photographs are not what a model learned from.
    # Grades 0 to 2 only: a small set that lacks the worst grades is judged on the study's scale.
    table = table_of(
        tmp_path / "other.csv",
        lambda row: (
            {key: row[key] for key in ("image", "label", "patient")}
            if row["patient"] not in mine and row["label"] in "012"
            else None
        ),
    )
    result = evaluate(study_copy, "--data", f"csv:{table}").json
    check_figures(result)
    count = len(table.read_text().splitlines()) - 1
    assert count > 2
    assert (result["n"], result["n_photographs"]) == (count, count)
    assert f"Judged on other data: csv:{table}." in result["notes"]
    assert "Map figures are null: no photograph of this part has known lesions (masks or boxes)." in result["notes"]
    for figures in result["models"].values():
        assert figures["maps"]["fused"]["lesion_enrichment"] is None
        assert figures["maps"]["fused"]["n_used"] == 0
    assert (study_copy / "evaluation" / "test.json").read_bytes() == before
    assert result["overlap"]["n"] == 0


def test_test_photographs_are_no_leak(study_copy, evaluate, table_of, tmp_path):
    """Photographs that the study itself set aside are judged without a word."""
    table = table_of(tmp_path / "t.csv", lambda row: row if row["split"] == "test" else None)
    result = evaluate(study_copy, "--data", f"csv:{table}").json
    assert result["n_photographs"] == 6
    assert result["overlap"]["n"] == 0


@pytest.mark.parametrize(
    ("spell", "reason"),
    [
        (lambda row: row | {"label": "ABCDE"[int(row["label"])]}, "has the classes A, B"),
        (lambda row: row | {"label": str(int(row["label"]) + 2)}, "has the classes 2, 3, 4, 5, 6"),
    ],
)
def test_other_classes_are_refused(finished, evaluate, table_of, tmp_path, spell, reason):
    """Names without an order, or more grades, are not the study's classes."""
    table = table_of(tmp_path / "other.csv", spell)
    refused = evaluate(finished, "--data", f"csv:{table}")
    assert refused.code == 1
    assert reason in refused.err
    assert "the study has 0, 1, 2, 3, 4" in refused.err


def test_spread():
    """Photographs for deletion and insertion lie evenly over the part, never twice, never outside."""
    from regaze.study.assessment.measure import spread

    assert spread(10, 0) == spread(10, -1) == []
    assert spread(10, 1) == [0]
    assert spread(10, 2) == [0, 9]
    assert spread(9, 3) == [0, 4, 8]
    assert spread(3, 24) == [0, 1, 2]


def test_panel_is_the_mean_of_its_members(finished, open_quietly):
    """Several folds' models speak as one: mean probabilities, decoded; mean maps."""
    import numpy as np

    from regaze.models.folder import load_model
    from regaze.models.options import MachineOptions
    from regaze.study.assessment.ensemble import Ensemble

    study = open_quietly(finished)
    machine = MachineOptions(precision="fp32")
    members = [load_model(study.model_folder(name, 0), machine)[0] for name in ("multi-scale", "multi-scale-finetuned")]
    images = study.pixels(study.test(), 64).images
    one, other = (member.predict(images) for member in members)
    both = Ensemble(tuple(members)).predict(images)
    assert not np.allclose(one.probabilities, other.probabilities, atol=1e-4)
    np.testing.assert_allclose(both.probabilities, (one.probabilities + other.probabilities) / 2, atol=1e-6)
    np.testing.assert_allclose(both.fused, (one.fused + other.fused) / 2, atol=1e-6)
    np.testing.assert_allclose(both.maps[1], (one.maps[1] + other.maps[1]) / 2, atol=1e-6)
    below = both.probabilities.cumsum(axis=1)
    assert both.grades.tolist() == [int((row < 0.5).sum()) for row in below]
    scores = Ensemble(tuple(members)).scores(members[0].normalise(images)).numpy()
    np.testing.assert_allclose(scores, both.probabilities, atol=1e-5)


def test_classes_without_an_order(tmp_path, table_of, regaze, tiny, evaluate):
    """Names instead of grades: `evaluate` gives the unweighted kappa of its own confusion matrix, and says so."""
    names = ("pox", "ash", "mug", "rag", "elk")

    def named(row):
        return row | {"label": names[int("".join(letter for letter in row["label"] if letter.isdigit()))]}

    table, folder = table_of(tmp_path / "names.csv", named), tmp_path / "study"
    regaze("init", folder, "--data", f"csv:{table}", "--size", "64")
    trained = regaze("train", folder, *tiny["network"], *tiny["training"], *tiny["machine"])
    assert trained.code == 0, trained.err
    result = evaluate(folder).json
    figures = result["models"]["multi-scale"]
    pairs = [(i, j) for i, row in enumerate(figures["confusion"]) for j, n in enumerate(row) for _ in range(n)]
    wanted = cohen_kappa_score(*zip(*pairs, strict=True))
    assert figures["quadratic_weighted_kappa"] == pytest.approx(wanted)
    assert "Kappa is unweighted: the classes have no order." in result["notes"]
    assert not any(note.startswith("Referable") for note in result["notes"])
