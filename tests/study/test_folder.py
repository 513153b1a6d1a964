"""The study's folder: made once, whole or not at all, and refused when its data has changed."""

import json
from dataclasses import replace

import pytest

from regaze import console
from regaze.console import Voice
from regaze.errors import DataError, OptionError, StudyError
from regaze.models.card import read_card
from regaze.models.options import MachineOptions
from regaze.study.folder import create_study
from regaze.study.options import StudyOptions
from regaze.study.steps.finetune import finetune_model
from regaze.study.steps.supervision import corrections_of
from regaze.training.options import FinetuneOptions

QUIET = Voice(quiet=True)


def options_for(table, **changes):
    """Options of a small study on a table."""
    return StudyOptions(**({"data": f"csv:{table}", "size": 64} | changes))


@pytest.fixture
def table(table_of, tmp_path):
    """A table of all painted photographs."""
    return table_of(tmp_path / "table.csv", lambda row: row)


def test_split_is_made_once(table, tmp_path, open_quietly):
    """The split is stored, covers the training part, keeps patients together, and is read back as it is."""
    made = create_study(tmp_path / "s", options_for(table), QUIET)
    stored = json.loads((tmp_path / "s" / "study.json").read_text())
    assert stored["schema_version"] == 1
    assert stored["split"] == made.split
    assert stored["classes"] == list(made.classes)
    opened = open_quietly(tmp_path / "s")
    assert opened.split == made.split
    assert set(made.split) == {sample.id for sample in made.dataset.samples if sample.part == "training"}
    by_patient = {}
    for sample in made.dataset.samples:
        if sample.part == "training":
            by_patient.setdefault(sample.patient, set()).add(made.split[sample.id])
    assert {len(folds) for folds in by_patient.values()} == {1}
    assert 0.1 < len(made.validation(0)) / len(made.split) < 0.35
    assert sorted(sample.id for sample in made.training(0) + made.validation(0)) == sorted(made.split)


def test_another_seed_is_another_split(table, tmp_path):
    """The seed decides the split, and the same seed gives the same one."""
    one, same, other = (
        create_study(tmp_path / f"s{number}", options_for(table, seed=seed), QUIET)
        for number, seed in enumerate((0, 0, 1))
    )
    assert one.split == same.split
    assert one.split != other.split


def test_the_same_study_is_opened(table, tmp_path):
    """`init` again with the same options changes nothing; other options are named in the refusal."""
    folder = tmp_path / "s"
    create_study(folder, options_for(table), QUIET)
    before = (folder / "study.json").read_bytes()
    create_study(folder, options_for(table), QUIET)
    assert (folder / "study.json").read_bytes() == before
    with pytest.raises(StudyError, match=r"was made with --size 64 --seed 0: give the same options"):
        create_study(folder, options_for(table, seed=3, size=96), QUIET)
    assert (folder / "study.json").read_bytes() == before


def test_study_is_used_from_any_folder(table, tmp_path, monkeypatch, open_quietly):
    """A relative path to the data means the same data wherever the study is opened from."""
    monkeypatch.chdir(tmp_path)
    create_study(tmp_path / "s", options_for(table.name), QUIET)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert len(open_quietly(tmp_path / "s").dataset.samples) == 30


def test_changed_data_is_refused(table, tmp_path, open_quietly):
    """A study whose labels have changed since is not opened."""
    create_study(tmp_path / "s", options_for(table), QUIET)
    lines = table.read_text().splitlines()
    label = lines[1].split(",")[1]
    table.write_text("\n".join([lines[0], lines[1].replace(f",{label},", f",{(int(label) + 1) % 5},"), *lines[2:]]))
    with pytest.raises(StudyError, match="has changed since the study was made"):
        open_quietly(tmp_path / "s")


def test_refused_study_leaves_nothing(table_of, tmp_path, new_study):
    """A study that cannot be made leaves no folder, and photographs that were there before stay."""
    small = table_of(tmp_path / "small.csv", lambda row: row if row["patient"] < "p0003" else None)
    with pytest.raises(StudyError, match=r"too small for a validation part.*pass --folds 2"):
        create_study(tmp_path / "s", options_for(small), QUIET)
    assert len(create_study(tmp_path / "two", options_for(small, folds=2), QUIET).split) == 6
    with pytest.raises(DataError, match="too few for 4 folds"):
        create_study(tmp_path / "s", options_for(small, folds=4), QUIET)
    with pytest.raises(OptionError, match="--seed -1: expected 0 or more"):
        create_study(tmp_path / "s", options_for(small, seed=-1), QUIET)

    def refuse(dataset):
        raise StudyError(f"no use for {len(dataset.samples)} photographs")

    with pytest.raises(StudyError, match="no use for 6 photographs"):
        create_study(tmp_path / "s", options_for(small, folds=2), QUIET, refuse)
    assert not (tmp_path / "s").exists()

    folder = new_study("kept")
    with pytest.raises(StudyError, match="no use"):
        create_study(folder, StudyOptions("synthetic:30", size=64), QUIET, refuse)
    assert {path.name for path in folder.iterdir()} == {"cache", "data", ".locks"}, "what a next call takes up"


def test_newer_study_is_not_called_damaged(table, tmp_path, open_quietly):
    """A study of a later version asks for an update, whatever else it holds."""
    create_study(tmp_path / "s", options_for(table), QUIET)
    file = tmp_path / "s" / "study.json"
    values = json.loads(file.read_text())
    values["schema_version"] = 2
    values["options"]["invented_later"] = True
    file.write_text(json.dumps(values))
    with pytest.raises(StudyError, match="has schema 2, this regaze reads up to 1: update regaze"):
        open_quietly(tmp_path / "s")


def test_models_are_listed_in_order(study_copy, open_quietly):
    """Complete models, phase 1 first; a model without its card is not one."""
    study = open_quietly(study_copy)
    assert study.models()[0] == "multi-scale"
    assert sorted(study.models()) == ["multi-scale", "multi-scale-control", "multi-scale-finetuned"]
    (study_copy / "models" / "multi-scale-control" / "fold0" / "model.json").unlink()
    assert study.models() == ["multi-scale", "multi-scale-finetuned"]
    with pytest.raises(StudyError, match=r"no model 'multi-scale-control' \(models: multi-scale, multi-scale-fine"):
        study.require_model("multi-scale-control")
    assert study.card("multi-scale").parent is None


def test_listing_models_reads_each_card_once(finished, open_quietly, monkeypatch):
    """One card per model and call, its first fold's; `require_model` hands out what it read."""
    study = open_quietly(finished)
    read = []

    def spy(path):
        read.append(path)
        return read_card(path)

    monkeypatch.setattr("regaze.study.folder.read_card", spy)
    names = study.models()
    assert sorted(read) == sorted(study.model_folder(name, 0) for name in names)
    assert len(read) == 3
    assert study.require_model("multi-scale-control").name == "multi-scale-control"
    assert len(read) == 6


def test_a_log_hears_of_long_work(capsys, monkeypatch):
    """Where stderr is no terminal, long work says now and then how far it is; a quiet run says nothing."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    for voice in (Voice(), Voice(quiet=True)):
        with voice.progress("train multi-scale") as feed:
            for epoch in range(1, 11):
                now[0] += 10
                feed(epoch, 10)
    expected = [f"train multi-scale: {epoch} of 10" for epoch in (3, 6, 9)]
    assert capsys.readouterr().err.splitlines() == expected


def test_voice_is_quiet_where_nobody_watches(capsys):
    """Progress is for terminals, remarks are one line, warnings are said even by a quiet run, all on stderr."""
    voice, quiet = Voice(), Voice(quiet=True)
    with voice.progress("working") as feed:
        feed(1, 2)
    text = "a remark " * 30 + "[not a tag]"
    voice.say(text)
    quiet.say("nothing")
    quiet.warn(text)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{text}\nwarning: {text}\n"


def test_a_clock_that_goes_backwards_reorders_nothing(study_copy, open_quietly, monkeypatch):
    """Models stand in the order they were made and corrections in the order they came, whatever the clock said."""
    file = study_copy / "models" / "multi-scale-finetuned" / "fold0" / "model.json"
    first = json.loads(file.read_text())
    study = open_quietly(study_copy)
    before = [entry.id for entry in study.store.correction_index()]
    monkeypatch.setattr("regaze.corrections.store.timestamp", lambda: "2001-01-01T00:00:00Z")
    again = study.store.correction(before[-1])
    study.store.add_corrections([replace(again, id=0, remark="again")])
    assert [entry.id for entry in study.store.correction_index()] == [*before, before[-1] + 1]
    learned = {entry.sample: entry.id for entry in corrections_of(study, "multi-scale", 0)}
    assert learned[again.sample] == before[-1] + 1
    monkeypatch.setattr("regaze.study.steps.fold_model.timestamp", lambda: "2001-01-01T00:00:00Z")
    second = finetune_model(
        study, "multi-scale", FinetuneOptions(epochs=1), MachineOptions(precision="fp32", workers=1)
    )
    card = study.card(second)
    assert (card.created, card.order) == ("2001-01-01T00:00:00Z", max(first["order"], 3) + 1)
    assert study.models()[-1] == second


def test_a_moved_study_goes_on(study_copy, regaze, tmp_path):
    """A study may be moved: what is relative to it moves along, and what it made stays."""
    moved = study_copy.rename(tmp_path / "elsewhere")
    assert regaze("verify", moved).code == 0
    outcome = regaze("select", moved)
    assert outcome.code == 0, outcome.err


def test_data_that_moved_are_named(table, tmp_path, regaze):
    """Where the photographs lay in the folder that was moved, the line says which file is missing where."""
    folder = tmp_path / "s"
    create_study(folder, options_for(table), QUIET)
    table.rename(tmp_path / "gone.csv")
    outcome = regaze("train", folder)
    assert outcome.code == 1
    assert str(table) in outcome.err
    assert outcome.err.count("\n") == 1
