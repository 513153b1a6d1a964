"""`train --corrections`, `run --learn train`: grades and maps together from the first step; phase 1 is the control."""

import json

import pytest

WORDS = ("train", "--corrections")


@pytest.fixture
def learn(regaze, tiny):
    """A function that calls `train STUDY --corrections` as the finished study's phase 1 was trained."""

    def call(folder, *more):
        return regaze("train", folder, "--corrections", *tiny["network"], *tiny["training"], *tiny["machine"], *more)

    return call


def card_of(folder, name):
    """The model's card."""
    return json.loads((folder / "models" / name / "fold0" / "model.json").read_text())


def test_it_learns_from_all_corrections_and_from_healthy_eyes(study_copy, learn, open_quietly, regaze, tiny):
    """It descends from the model whose maps were corrected, learns maps in every epoch, and is judged beside it."""
    outcome = learn(study_copy, "--teacher-maps", "0.5", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["model"] == "multi-scale-supervised"
    card, parent = card_of(study_copy, "multi-scale-supervised"), card_of(study_copy, "multi-scale")
    study = open_quietly(study_copy)
    assert card["lineage"] == [{"name": "multi-scale", "key": parent["key"]}]
    assert card["recipe"]["supervision"]["teacher_maps"] == 0.5
    assert card["recipe"]["phase1"] == parent["recipe"]["phase1"]
    assert card["corrections"]["n"] == study.store.count()
    healthy = [sample.id for sample in study.training(0) if sample.label == 0]
    assert card["corrections"]["free_of_lesions"] == len(healthy) > 0
    assert [set(losses) for losses in card["history"]] == [{"grade", "map"}] * 2
    figures = regaze("evaluate", study_copy, *tiny["evaluation"], *tiny["machine"], "--json").json
    assert "multi-scale-supervised against multi-scale" in figures["paired"], "phase 1 is parent and control"


def test_the_same_call_finds_its_model_and_new_corrections_make_another(study_copy, learn, open_quietly, files_of):
    """Nothing is trained twice or overwritten; a later correction makes NAME-2."""
    from tests.study.steps.test_finetune import draw

    assert learn(study_copy).code == 0
    before = files_of(study_copy / "models")
    assert learn(study_copy, "--json").json["model"] == "multi-scale-supervised"
    assert files_of(study_copy / "models") == before
    draw(open_quietly(study_copy), "multi-scale/fold0", 100)
    assert learn(study_copy, "--json").json["model"] == "multi-scale-supervised-2"
    assert files_of(study_copy / "models" / "multi-scale-supervised") == {
        path.removeprefix("multi-scale-supervised/"): value
        for path, value in before.items()
        if path.startswith("multi-scale-supervised/")
    }


def test_corrections_may_teach_another_network_at_another_size(study_copy, learn, regaze, tiny):
    """Corrections lie in original pixels; the control is phase 1 of that network, and `rounds` gives its command."""
    outcome = learn(study_copy, "--weighting", "evidence", "--size", "96", "--name", "evidence", "--json")
    assert outcome.code == 0, outcome.err
    card = card_of(study_copy, "evidence")
    assert (card["network"]["weighting"], card["size"]) == ("evidence", 96)
    (row,) = [row for row in regaze("rounds", study_copy, "--json").json["rounds"] if row["model"] == "evidence"]
    assert row["control"] is None
    made = regaze(*row["control_command"].replace("STUDY", str(study_copy)).split()[1:], *tiny["machine"])
    assert made.code == 0, made.err
    (row,) = [row for row in regaze("rounds", study_copy, "--json").json["rounds"] if row["model"] == "evidence"]
    assert row["control"] == "evidence-control"


def test_rounds_credit_it_against_phase_1(study_copy, learn, regaze):
    """Its control is the phase-1 model of the same network, recipe and size."""
    assert learn(study_copy).code == 0
    found = regaze("rounds", study_copy, "--json").json["rounds"]
    (row,) = [row for row in found if row["model"] == "multi-scale-supervised"]
    assert row["control"] == "multi-scale"
    assert row["kappa_against_control"] is not None


def test_run_learns_from_the_first_step(new_study, regaze, tiny, check_figures):
    """`run --learn train` ends with a report that names how corrections were learned; called again it goes on."""
    folder = new_study()
    words = ("run", folder, *tiny["run"], "--learn", "train", "--weighting", "gate", "--json")
    outcome = regaze(*words)
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert (result["before"], result["after"], result["control"]) == (
        "multi-scale",
        "multi-scale-supervised",
        "multi-scale",
    )
    check_figures(result, more=("report", "before", "after", "control"))
    page = (folder / "report.html").read_text()
    assert "grades and maps together, from the first step" in page
    assert page.count(">Before, the control<") >= 1, "one column for the model that is both"
    assert 'scope="col" class="control"' not in page
    models = sorted(path.name for path in (folder / "models").iterdir())
    assert models == ["multi-scale", "multi-scale-supervised"]
    assert regaze("verify", folder, "--json").json["problems"] == []
    assert regaze("run", folder, "--json").json["after"] == "multi-scale-supervised"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--map-weight", "1", "--no-corrections"), "need --corrections"),
        (("--model", "multi-scale", "--no-corrections"), "need --corrections"),
        (("--model", "multi-scale-finetuned"), "multi-scale-finetuned learned from corrections itself"),
        (("--model", "none"), "has no model 'none'"),
        (("--network", "plain"), "plain network has no attention map"),
        (("--map-weight", "0"), "--map-weight 0 without --teacher-maps learns nothing from corrections"),
        (("--teacher-maps", "2"), "--teacher-maps 2.0: expected 0 to 1"),
        (("--authors", "nobody=2"), "no correction is by 'nobody'"),
    ],
)
def test_what_cannot_be_learned_is_said(study_copy, learn, files_of, words, message):
    """One line with the option, its value and the cure; nothing is written."""
    before = files_of(study_copy / "models")
    outcome = learn(study_copy, *words)
    assert outcome.code != 0
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert files_of(study_copy / "models") == before


def test_without_a_correction_there_is_nothing_to_learn(new_study, regaze, tiny, learn):
    """A study without corrections says which commands make them."""
    folder = new_study()
    for words in (["init", folder, "--data", tiny["data"], "--size", "64"], ["train", folder, *tiny["network"]]):
        more = [*tiny["training"], *tiny["machine"]] if words[0] == "train" else []
        assert regaze(*words, *more).code == 0
    outcome = learn(folder)
    assert outcome.code != 0
    assert "no correction yet" in outcome.err
