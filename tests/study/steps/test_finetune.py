"""Fine-tuning in a study: from which model, on which corrections, under which name."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from regaze.data.images import photo_size
from regaze.records import Correction


@pytest.fixture
def tune(regaze, tiny):
    """A function that fine-tunes as the finished study did."""

    def call(folder, *more):
        words = ["finetune", folder, "--epochs", "2", "--batch", "8", *tiny["machine"], *more, "--json"]
        outcome = regaze(*words)
        assert outcome.code == 0, outcome.err
        return outcome.json

    return call


def weights_of(folder, name):
    """The model's file."""
    return folder / "models" / name / "fold0" / "model.safetensors"


def card_of(folder, name):
    """The model's card."""
    return json.loads((folder / "models" / name / "fold0" / "model.json").read_text())


def draw(study, model, corner, sample=None, author="expert"):
    """Store an expert's square on a photograph; the same area wherever the corner is."""
    chosen = study.training(0)[0] if sample is None else sample
    width, height = photo_size(chosen.image)
    look = np.zeros((height, width), dtype=bool)
    look[corner : corner + 60, corner : corner + 60] = True
    drawn = Correction(0, chosen.id, model, "expert", "replace", look, None, author, "")
    return study.store.add_corrections([drawn])[0]


def draw_on_all(study, corner):
    """Store a square on every photograph that has a correction already."""
    for sample in study.training(0):
        if any(entry.sample == sample.id for entry in study.store.correction_index()):
            draw(study, "multi-scale/fold0", corner, sample)


def test_a_training_part_is_read_once(study_copy, tune, parts_read, open_quietly):
    """Fine-tuning lays the corrections beside photographs that it has read already."""
    tune(study_copy, "--map-weight", "2")
    assert parts_read == [[sample.id for sample in open_quietly(study_copy).training(0)]]


def test_extractor_stays_bitwise(finished):
    """Fine-tuning and its control leave the extractor's tensors as phase 1 left them, and change the branches."""
    before = load_file(weights_of(finished, "multi-scale"))
    for name in ("multi-scale-finetuned", "multi-scale-control"):
        after = load_file(weights_of(finished, name))
        assert before.keys() == after.keys()
        frozen = [key for key in before if key.startswith("extractor.")]
        assert len(frozen) > 10
        assert any("running_mean" in key for key in frozen), "batch-norm statistics are frozen too"
        for key in frozen:
            assert before[key].tobytes() == after[key].tobytes(), key
        moved = [key for key in before if key not in frozen and before[key].tobytes() != after[key].tobytes()]
        assert len(moved) > (len(before) - len(frozen)) // 2


def test_model_says_where_it_comes_from(finished, open_quietly):
    """A fine-tuned model's card names its parent, its recipe and the corrections it learned from."""
    parent, tuned, control = (card_of(finished, f"multi-scale{end}") for end in ("", "-finetuned", "-control"))
    assert parent["lineage"] == []
    assert tuned["lineage"] == control["lineage"] == [{"name": "multi-scale", "key": parent["key"]}]
    assert tuned["recipe"]["phase1"] == parent["recipe"]["phase1"]
    assert control["recipe"]["finetune"] == tuned["recipe"]["finetune"] | {"map_weight": 0.0}
    assert tuned["corrections"]["n"] == open_quietly(finished).store.count()
    assert [set(epoch) for epoch in tuned["history"]] == [{"grade", "map"}] * 2
    assert [set(epoch) for epoch in control["history"]] == [{"grade"}] * 2


def test_more_corrections_make_a_new_model(study_copy, tune, open_quietly, files_of, tmp_path):
    """A second round makes NAME-2 from phase 1 with all corrections so far; nothing is overwritten."""
    other = shutil.copytree(study_copy, tmp_path / "other")
    before = files_of(study_copy / "models")
    assert tune(study_copy)["model"] == "multi-scale-finetuned", "the same corrections: the same model"
    assert files_of(study_copy / "models") == before
    count = card_of(study_copy, "multi-scale-finetuned")["corrections"]["n"]

    study = open_quietly(study_copy)
    draw_on_all(study, 200)  # on all, for few are drawn in so short a training
    second = tune(study_copy)
    assert second == {"model": "multi-scale-finetuned-2", "parent": "multi-scale", "corrections": count}
    draw_on_all(study, 260)  # of the same area, elsewhere
    third = tune(study_copy)
    assert third == {"model": "multi-scale-finetuned-3", "parent": "multi-scale", "corrections": count}
    after = files_of(study_copy / "models")
    assert {key: after[key] for key in before} == before
    for number in (2, 3):
        assert [item["name"] for item in card_of(study_copy, f"multi-scale-finetuned-{number}")["lineage"]] == [
            "multi-scale"
        ]
    assert len({weights_of(study_copy, f"multi-scale-finetuned{end}").read_bytes() for end in ("", "-2", "-3")}) == 3

    # A study that never had the first round ends with the same weights: nothing of it was carried over.
    for name in ("multi-scale-finetuned", "multi-scale-control"):
        shutil.rmtree(other / "models" / name)
    draw_on_all(open_quietly(other), 200)
    assert tune(other)["model"] == "multi-scale-finetuned"
    assert weights_of(other, "multi-scale-finetuned").read_bytes() == (
        weights_of(study_copy, "multi-scale-finetuned-2").read_bytes()
    )


def test_whose_corrections_count(study_copy, open_quietly):
    """A model learns from corrections of its own maps and its descendants', the latest of each photograph."""
    from regaze.study.steps.supervision import corrections_of

    study = open_quietly(study_copy)
    known = {entry.sample: entry.id for entry in corrections_of(study, "multi-scale", 0)}
    first, second = study.training(0)[:2]
    draw(study, "single-scale/fold0", 100, first)
    draw(study, "multi-scale/fold1", 100, first)
    assert {entry.sample: entry.id for entry in corrections_of(study, "multi-scale", 0)} == known
    own = draw(study, "multi-scale/fold0", 100, first)
    newer = draw(study, "multi-scale-finetuned/fold0", 140, first)
    other = draw(study, "multi-scale-finetuned/fold0", 140, second)
    found = {entry.sample: entry.id for entry in corrections_of(study, "multi-scale", 0)}
    assert found == {**known, first.id: newer.id, second.id: other.id}
    assert own.id not in found.values()
    assert list(found) == sorted(found)


def test_the_latest_word_of_each_expert_counts(study_copy, open_quietly):
    """With several experts the latest correction of each counts; a photograph without a correction is absent."""
    from regaze.study.steps.supervision import corrections_of

    study = open_quietly(study_copy)
    first = study.training(0)[0]
    assert corrections_of(study, "single-scale", 0, "majority") == []
    draw(study, "single-scale/fold0", 100, first, "anna")
    ben = draw(study, "single-scale/fold0", 120, first, "ben")
    anna = draw(study, "single-scale/fold0", 140, first, "anna")
    assert corrections_of(study, "single-scale", 0, "majority") == [ben, anna]
    assert corrections_of(study, "single-scale", 0, "latest") == [anna]


def test_named_model_is_made_once(study_copy, tune, regaze, tiny):
    """--name gives the name; the same name for another recipe is refused."""
    assert tune(study_copy, "--name", "mine")["model"] == "mine"
    stamp = weights_of(study_copy, "mine").stat().st_mtime_ns
    assert tune(study_copy, "--name", "mine")["model"] == "mine"
    assert weights_of(study_copy, "mine").stat().st_mtime_ns == stamp
    refused = regaze("finetune", study_copy, "--epochs", "1", *tiny["machine"], "--name", "mine")
    assert refused.code == 1
    assert "'mine' (fold 0)" in refused.err
    assert "another --name" in refused.err


def test_edited_map_keeps_what_nobody_touched(study_copy, tune, open_quietly):
    """A correction of mode `edit` is learned from too, and differs from one that replaces the whole map."""
    study = open_quietly(study_copy)
    names = []
    for mode in ("edit", "replace"):
        for sample in study.training(0):  # on all, for few are drawn in so short a training
            width, height = photo_size(sample.image)
            look, avoid = np.zeros((2, height, width), dtype=bool)
            look[100:160, 100:160], avoid[300:360, 300:360] = True, True
            drawn = Correction(0, sample.id, "multi-scale/fold0", "expert", mode, look, avoid, "expert", "")
            study.store.add_corrections([drawn])
        names.append(tune(study_copy)["model"])
    edited, replaced = names
    assert (edited, replaced) == ("multi-scale-finetuned-2", "multi-scale-finetuned-3")
    assert weights_of(study_copy, edited).read_bytes() != weights_of(study_copy, replaced).read_bytes()


def test_teacher_maps_are_corrections_too(study_copy, tune, regaze):
    """A model that is graded from the expert's maps is no control, map loss or not; its own control sees none."""
    taught = tune(study_copy, "--map-weight", "0", "--teacher-maps", "0.5", "--name", "taught")["model"]
    found = {row["model"]: row for row in regaze("rounds", study_copy, "--resamples", "50", "--json").json["rounds"]}
    assert found[taught]["control"] == "multi-scale-control"
    assert found["multi-scale-finetuned"]["control"] == "multi-scale-control"


def test_a_runs_control_sees_no_teacher_maps(new_study, regaze, tiny):
    """`run --teacher-maps` makes a control that is trained equally long and learns nothing from corrections."""
    folder = new_study()
    outcome = regaze("run", folder, *tiny["run"], "--teacher-maps", "0.5", "--json")
    assert outcome.code == 0, outcome.err
    tuned, control = (card_of(folder, outcome.json[role])["recipe"]["finetune"] for role in ("after", "control"))
    assert (tuned["teacher_maps"], control["teacher_maps"], control["map_weight"]) == (0.5, 0.0, 0.0)
    refused = regaze("run", folder, *tiny["run"], "--learn", "train", "--map-weight", "0")
    assert refused.code != 0
    assert "learns nothing from corrections" in refused.err
