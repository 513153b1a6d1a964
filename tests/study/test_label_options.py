"""What a study makes of labels: said at `init`, kept as it was made, and never more than is known."""

import json
import shutil

import pytest
from sklearn.metrics import roc_auc_score

from regaze.models.options import MachineOptions
from regaze.study.options import CorrectOptions, SelectOptions
from regaze.study.steps.collect import collect
from regaze.study.steps.correct import correct, select
from regaze.study.steps.supervision import free_of_lesions

WORDS = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")


@pytest.fixture
def init(regaze, tmp_path):
    """A function that makes a study on a table; returns its folder and what the program said."""

    def make(table, *options, name="s"):
        return tmp_path / name, regaze("init", tmp_path / name, "--data", f"csv:{table}", "--size", "64", *options)

    return make


def test_init_says_how_the_classes_are_taken(init, table_of, tmp_path):
    """Words in their order, the sound class, and the options that say it otherwise."""
    table = table_of(tmp_path / "t.csv", lambda row: row | {"label": WORDS[int(row["label"])]})
    _, said = init(table)
    assert "one scale, worst last: No_DR < Mild < Moderate < Severe < Proliferate_DR (--no-ordinal" in said.out
    assert "sound class: No_DR (--sound-class NAME: another)" in said.out
    _, said = init(table, "--no-ordinal", "--sound-class", "Mild", "--json", name="t")
    assert (said.json["ordinal"], said.json["sound_class"]) == (False, "Mild")
    _, said = init(table, "--classes", ",".join(WORDS[:3]), name="u")
    assert said.code == 1
    assert "line 4: the label 'Proliferate_DR' is none of the classes No_DR, Mild, Moderate" in said.err
    _, said = init(table, "--classes", "No_DR", name="v")
    assert "expected two or more different names" in said.err
    _, said = init(table, "--sound-class", "fine", name="w")
    assert "--sound-class fine: expected one of the classes" in said.err
    defects = table_of(tmp_path / "d.csv", lambda row: row | {"label": ("crack", "hole")[row["label"] == "0"]})
    _, said = init(defects, name="x")
    assert "no order is known" in said.out
    assert "no class is known to be the sound one: nothing counts as free of lesions" in said.out


def test_a_study_stays_as_it_was_made(init, table_of, tmp_path, open_quietly):
    """An earlier version's study keeps its order, its classes and its patients, whatever labels would mean now."""
    table = table_of(
        tmp_path / "t.csv",
        lambda row: row | {"label": "BAC"[int(row["label"]) % 3], "patient": row["patient"]},
    )
    folder, said = init(table, "--classes", "B,A,C")
    assert said.code == 0, said.err
    file = folder / "study.json"
    stored = json.loads(file.read_text())
    made = open_quietly(folder)
    assert (made.dataset.classes, made.dataset.ordinal, made.dataset.referable) == (("B", "A", "C"), True, None)
    for option in ("classes", "ordinal", "sound_class", "image_column", "label_column", "images"):
        del stored["options"][option]
    del stored["referable"]
    file.write_text(json.dumps(stored))
    earlier = open_quietly(folder)
    assert (earlier.dataset.classes, earlier.dataset.ordinal, earlier.dataset.referable) == (("B", "A", "C"), True, 2)
    assert [s.label for s in earlier.dataset.samples] == [s.label for s in made.dataset.samples]


def test_new_labels_are_changed_data(init, table_of, tmp_path, regaze):
    """A label that the study does not know is a change of its data."""
    table = table_of(tmp_path / "t.csv", lambda row: row)
    folder, _ = init(table)
    table.write_text(table.read_text().replace(",4,", ",9,"))
    refused = regaze("train", folder)
    assert refused.code == 1
    assert "has changed since the study was made" in refused.err


def test_only_the_sound_class_is_free_of_lesions(init, table_of, tmp_path, finished, open_quietly):
    """An empty mask of a cracked part is unknown; --healthy writes "nothing here" for sound parts alone."""
    names = {"0": "good", "1": "hole", "2": "dent", "3": "rust", "4": "stain"}
    seen = []

    def name(row):
        seen.append(row["label"])
        cracked = row["label"] == "0" and seen.count("0") % 2
        return row | {"label": "crack" if cracked else names[row["label"]]}

    def corrected(label):
        return {
            by_id[entry.sample].id: study.store.correction(entry.id).look.any()
            for entry in study.store.correction_index()
            if study.classes[by_id[entry.sample].label] == label
        }

    folder, said = init(table_of(tmp_path / "t.csv", name))
    assert "sound class: good" in said.out
    shutil.copytree(finished / "models" / "multi-scale", folder / "models" / "multi-scale")
    study = open_quietly(folder)
    by_id = {sample.id: sample for sample in study.dataset.samples}
    training = study.training(0)
    pixels = study.pixels(training, 64, 1)
    free = {study.classes[training[row].label] for row in free_of_lesions(training, pixels, study.dataset.sound)}
    assert free == {"good"}
    assert free_of_lesions(training, pixels, None) == []
    collect(study, "multi-scale", MachineOptions(precision="fp32", workers=1))
    select(study, "multi-scale", SelectOptions(by="random", everything=True))
    correct(study, "multi-scale", CorrectOptions(healthy=True))
    assert any(study.classes[sample.label] == "crack" for sample in training)
    assert corrected("crack") == {}
    assert set(corrected("good").values()) == {False}
    assert set(corrected("stain").values()) == {True}


def test_without_a_sound_class_nothing_is_free(init, table_of, tmp_path, finished, open_quietly, regaze):
    """Classes of which none is known to be sound get no empty correction, and the program says why."""
    table = table_of(tmp_path / "t.csv", lambda row: row | {"label": "vwxyz"[int(row["label"])]})
    folder, _ = init(table)
    shutil.copytree(finished / "models" / "multi-scale", folder / "models" / "multi-scale")
    study = open_quietly(folder)
    collect(study, "multi-scale", MachineOptions(precision="fp32", workers=1))
    select(study, "multi-scale", SelectOptions(by="random", everything=True))
    said = regaze("correct", folder, "--healthy")
    assert "(0 of them empty" in said.out
    assert "no class is known to be the sound one" in said.out
    assert study.store.count() > 0


def test_two_classes_have_auroc(table_of, tmp_path, regaze, tiny):
    """`evaluate` and the report tell the class that is looked for from the sound one, and say which it is."""
    table = table_of(tmp_path / "t.csv", lambda row: row | {"label": ("good", "bad")[row["label"] != "0"]})
    options = [f"csv:{table}" if word == tiny["data"] else word for word in tiny["run"]]
    made = regaze("run", tmp_path / "s", *options, "--json")
    assert made.code == 0, made.err
    for name, figures in made.json["models"].items():
        records = json.loads((tmp_path / "s" / "evaluation" / "test" / f"{name}.json").read_text())["photographs"]
        truth = [row["label"] == 0 for row in records]  # bad comes first
        scores = [row["probabilities"][0] for row in records]
        assert figures["two_classes"]["positive"] == "bad"
        assert figures["two_classes"]["auroc"] == pytest.approx(roc_auc_score(truth, scores))
        found = [row["grade"] == 0 for row in records]
        hits = sum(a and b for a, b in zip(truth, found, strict=True))
        assert figures["two_classes"]["sensitivity"] == pytest.approx(hits / sum(truth))
        assert set(figures["referable"].values()) == {None}
    assert "AUROC, sensitivity and specificity are those of bad against good." in made.json["notes"]
    assert "bad against the other class" in regaze("evaluate", tmp_path / "s", *tiny["evaluation"]).out
    page = (tmp_path / "s" / "report.html").read_text()
    assert "One class against the other: AUROC" in page
    assert "Referable disease" not in page
