"""The history of rounds, and going back."""

import json
import shutil
from dataclasses import replace

import pytest

from regaze.study.active_model import active_model, model_folder
from regaze.study.assessment.controls import control_of
from regaze.study.assessment.rounds import Round, _judged, advice


@pytest.fixture
def two_rounds(study_copy, regaze, tiny, open_quietly):
    """A study with a second round on more corrections."""
    study = open_quietly(study_copy)
    first = study.store.correction(study.store.correction_index()[0].id)
    study.store.add_corrections([replace(first, id=0, look=~first.look, author="expert")])
    outcome = regaze("finetune", study_copy, "--epochs", "2", "--batch", "8", *tiny["machine"], "--json")
    assert outcome.code == 0, outcome.err
    return study_copy


def test_rounds_are_listed_with_parent_corrections_and_figures(two_rounds, regaze, tiny, open_quietly):
    """Phase 1 is round 0; controls are no rounds; every round is judged on the same validation photographs."""
    listed = regaze("rounds", two_rounds, "--resamples", "50", *tiny["machine"], "--json").json
    rounds = listed["rounds"]
    assert [one["model"] for one in rounds] == ["multi-scale", "multi-scale-finetuned", "multi-scale-finetuned-2"]
    assert [one["number"] for one in rounds] == [0, 1, 2]
    assert [one["parent"] for one in rounds] == [None, "multi-scale", "multi-scale"]
    assert [one["against"] for one in rounds] == [None, "multi-scale", "multi-scale-finetuned"]
    assert rounds[0]["corrections"] == 0
    assert rounds[1]["corrections"] == rounds[2]["corrections"] > 0
    assert set(listed["advice"]) == {"multi-scale"}
    study = open_quietly(two_rounds)
    validation = {sample.id for sample in study.validation(0)}
    assert study.test(), "the data has a test part, which rounds must not look at"
    for name in ("multi-scale", "multi-scale-finetuned-2"):
        file = two_rounds / "evaluation" / "rounds" / "validation" / f"{name}-fold0.json"
        assert {row["sample"] for row in json.loads(file.read_text())["photographs"]} == validation
    shown = regaze("rounds", two_rounds, "--resamples", "50", *tiny["machine"]).out
    assert "rounds of multi-scale, on the validation part" in shown
    for one in rounds:
        assert f"{one['ranked_probability_score']:.4f}" in shown
        assert f"{one['log_loss']:.3f}" in shown
    assert shown.count("  log-loss ") == shown.count("  ranked probability score ") == 3
    assert listed["advice"]["multi-scale"] in shown


def test_a_round_is_compared_with_its_own_control_alone(two_rounds, regaze, tiny, open_quietly):
    """The first round's control is no control of the second, whose corrections draw otherwise; made, it is found."""
    arguments = ("rounds", two_rounds, "--resamples", "50", *tiny["machine"])
    rounds = regaze(*arguments, "--json").json["rounds"]
    assert [one["control"] for one in rounds] == [None, "multi-scale-control", None]
    assert rounds[1]["kappa_against_control"]["n_groups"] > 0
    assert rounds[1]["control_command"] is None
    assert rounds[2]["kappa_against_control"] is None
    shown = regaze(*arguments).out
    assert "multi-scale-finetuned against its control multi-scale-control:" in shown
    assert "multi-scale-finetuned-2: not compared with a control" in shown
    judged = regaze("evaluate", two_rounds, *tiny["evaluation"], *tiny["machine"], "--json").json
    assert [pair for pair in judged["paired"] if pair.endswith("against multi-scale-control")] == [
        "multi-scale-finetuned against multi-scale-control"
    ]
    regaze("report", two_rounds, *tiny["evaluation"], *tiny["machine"])
    page = (two_rounds / "report.html").read_text(encoding="utf-8")
    assert "a model trained equally long without the corrected maps." in page
    assert "multi-scale-control" not in page

    command = rounds[2]["control_command"].replace("STUDY", str(two_rounds)).split()[1:]
    assert {"--epochs", "--batch"} & set(command), "the recipe is the round's"
    assert regaze(*command, *tiny["machine"], "--json").json["model"] == "multi-scale-control-2"
    again = regaze(*arguments, "--json").json["rounds"]
    assert [one["control"] for one in again] == [None, "multi-scale-control", "multi-scale-control-2"]

    study = open_quietly(two_rounds)
    first = study.store.correction(study.store.correction_index()[0].id)
    study.store.add_corrections([replace(first, id=0, look=first.look, author="another")])
    shutil.rmtree(two_rounds / "models" / "multi-scale-control-2")
    later = regaze(*arguments, "--json").json["rounds"][2]
    assert (later["control"], later["control_command"]) == (None, None), "further corrections would draw otherwise"


def test_another_recipe_is_no_control(two_rounds, open_quietly):
    """Longer, or on another parent's weights: not trained equally long from the same start."""
    study = open_quietly(two_rounds)
    card = two_rounds / "models" / "multi-scale-control" / "fold0" / "model.json"
    values = json.loads(card.read_text())
    assert control_of(study, "multi-scale-finetuned") == "multi-scale-control"
    assert control_of(study, "multi-scale-control") is None
    assert control_of(study, "multi-scale") is None
    for change in (
        {"recipe": values["recipe"] | {"finetune": values["recipe"]["finetune"] | {"epochs": 99}}},
        {"lineage": [{"name": "multi-scale", "key": "another"}]},
    ):
        card.write_text(json.dumps(values | change))
        assert control_of(study, "multi-scale-finetuned") is None


def test_using_a_round_and_going_forward_again(two_rounds, regaze, tiny, files_of):
    """By number or by name; `rounds` shows the choice; nothing else in the study changes."""
    before = files_of(two_rounds / "models")
    assert regaze("use", two_rounds, "1", "--json").json["model"] == "multi-scale-finetuned"
    rounds = regaze("rounds", two_rounds, "--resamples", "50", *tiny["machine"], "--json").json["rounds"]
    assert [one["in_use"] for one in rounds] == [False, True, False]
    assert regaze("use", two_rounds, "multi-scale-finetuned-2", "--json").json["model"] == "multi-scale-finetuned-2"
    assert json.loads((two_rounds / "in_use.json").read_text())["before"] == "multi-scale-finetuned"
    assert files_of(two_rounds / "models") == before


def test_later_commands_take_the_active_model(two_rounds, regaze, tiny):
    """`collect`, `select` and `predict` without a model's name mean the chosen one; a name still wins."""
    regaze("use", two_rounds, "1")
    assert regaze("collect", two_rounds, *tiny["machine"], "--json").json["model"] == "multi-scale-finetuned"
    assert regaze("select", two_rounds, "--everything", "--json").json["model"] == "multi-scale-finetuned"
    named = regaze("collect", two_rounds, "--model", "multi-scale", *tiny["machine"], "--json").json
    assert named["model"] == "multi-scale"
    photograph = next((two_rounds / "data").rglob("*.jpg"))
    said = regaze("predict", two_rounds, photograph, "--out", two_rounds / "out", *tiny["machine"], "--json").json
    assert said["model"].endswith("models/multi-scale-finetuned/fold0")


def test_fine_tuning_restarts_from_phase_1_whatever_model_is_active(two_rounds, regaze, tiny):
    """With a fine-tuned model active, `finetune` means its phase-1 model."""
    regaze("use", two_rounds, "1")
    said = regaze("finetune", two_rounds, "--epochs", "2", "--batch", "8", *tiny["machine"], "--json").json
    assert said["parent"] == "multi-scale"


@pytest.mark.parametrize(
    ("which", "message"),
    [("7", "has no round 7 (rounds: 0 to 1)"), ("resnet", "has no model 'resnet'"), ("-1", "has no model '-1'")],
)
def test_a_round_that_is_not_there_is_refused(study_copy, regaze, which, message):
    """One line, exit code 1, nothing written."""
    outcome = regaze("use", study_copy, "--", which) if which.startswith("-") else regaze("use", study_copy, which)
    if outcome.code != 2:
        assert outcome.code == 1
        assert message in outcome.err
    assert not (study_copy / "in_use.json").exists()


def test_a_damaged_choice_is_named(study_copy, regaze, tiny):
    """The cure is to choose again."""
    (study_copy / "in_use.json").write_text("{")
    outcome = regaze("rounds", study_copy, *tiny["machine"])
    assert outcome.code == 1
    assert "in_use.json is damaged" in outcome.err
    assert "regaze use" in outcome.err


ROUND = Round(1, "b", "a", 3, 0.7, [0.6, 0.8], 0.6, 2.0, 0.1)


def pair(low, high):
    """A paired difference."""
    return {"difference": (low + high) / 2, "interval": [low, high], "n_groups": 10}


BETTER, OPEN, WORSE = pair(0.3, 0.9), pair(-0.3, 0.3), pair(-0.9, -0.3)
FEW = {"n_groups": 9}
BESIDE = {"ranked_probability_score": WORSE, "log_loss": BETTER}  # they stand beside and decide nothing


@pytest.mark.parametrize(
    ("kappa", "enrichment", "verdict"),
    [
        (BETTER, OPEN, "improved"),
        (OPEN, BETTER, "improved"),
        (OPEN, OPEN, "inconclusive"),
        (pair(-0.04, 0.04), pair(-0.1, 0.1), "equivalent"),
        (WORSE, OPEN, "worse"),
        (OPEN, WORSE, "worse"),
        (WORSE, BETTER, "worse"),
        (None, BETTER, "improved"),
        (None, {"difference": None, "interval": [None, None], "n_groups": 0}, "inconclusive"),
        (None, BETTER | FEW, "inconclusive"),
        (BETTER | FEW, BETTER | FEW, "inconclusive"),
        (BETTER, BETTER | FEW, "improved"),
    ],
)
def test_the_verdict_follows_the_paired_intervals(kappa, enrichment, verdict):
    """Improved where one of grading and attention is and the other is not worse; a loss is never made good."""
    pairs = BESIDE | {"kappa": kappa, "enrichment": enrichment}
    control = replace(ROUND, control="c")
    assert _judged(control, "a", pairs, BESIDE | {"kappa": BETTER, "enrichment": BETTER}).verdict == verdict


@pytest.mark.parametrize(
    ("kappa", "enrichment", "verdict"),
    [
        (BETTER, OPEN, "improved"),
        (pair(-0.04, 0.04), OPEN, "inconclusive"),
        (WORSE, OPEN, "worse"),
        (OPEN, BETTER, "inconclusive"),  # enrichment beyond the control, but no gain on the round before
    ],
)
def test_an_improvement_counts_beyond_the_control(kappa, enrichment, verdict):
    """What the control gained as well is not credited, measure by measure; without a control nothing is."""
    gained = BESIDE | {"kappa": BETTER, "enrichment": OPEN}
    against = BESIDE | {"kappa": kappa, "enrichment": enrichment}
    found = _judged(replace(ROUND, control="c"), "a", gained, against)
    assert (found.grading, found.attention) == ("improved", "inconclusive")
    assert found.verdict == verdict
    assert (found.log_loss_difference, found.ranked_probability_score_against_control) == (BETTER, WORSE)
    alone = _judged(ROUND, "a", gained, None)
    assert (alone.verdict, alone.is_uncredited) == ("inconclusive", True)


def test_advice_by_hand():
    """Go on after a gain, once more after nothing, stop after nothing twice, back after a loss."""
    start = replace(ROUND, number=0)
    gain = replace(ROUND, grading="improved", verdict="improved", control="c")
    nothing = replace(ROUND, control="c")
    loss = replace(ROUND, grading="worse", verdict="worse")
    assert "No round yet" in advice([start])
    assert "go on" in advice([start, gain])
    assert "one more" in advice([start, gain, nothing])
    assert "last 2 rounds" in advice([start, gain, nothing, nothing])
    assert "may stop" in advice([start, gain, nothing, nothing, nothing])
    assert "regaze use STUDY b" in advice([start, gain, loss])
    few = replace(gain, kappa_difference=BETTER | FEW, enrichment_difference=BETTER | FEW)
    assert "cannot judge a round (9 patients, and 10 are the fewest)" in advice([start, few])


def test_advice_without_and_against_a_control():
    """A gain without a control asks for it and stops nobody; one that the control beats sends to the corrections."""
    start = replace(ROUND, number=0)
    alone = replace(ROUND, grading="improved", control_command="regaze finetune STUDY --map-weight 0")
    assert "not compared with a control: make one with `regaze finetune STUDY" in advice([start, alone])
    late = replace(alone, control_command=None)
    assert "make one with the next round" in advice([start, late])
    nothing = replace(ROUND, control="c")
    assert "one more" in advice([start, late, nothing])
    beaten = replace(ROUND, grading="improved", verdict="worse", control="c")
    assert "c, trained equally long" in advice([start, beaten])


def test_verify_finds_nothing_in_an_untouched_study(finished, regaze, files_of):
    """Everything is counted, nothing is changed, and the chain's head is told."""
    before = files_of(finished)
    said = regaze("verify", finished, "--json").json
    assert said["problems"] == []
    assert said["models"] == 3
    assert said["links"] == said["corrections"] + said["selections"] > 0
    assert len(said["head"]) == 64
    assert {key: value[0] for key, value in files_of(finished).items() if ".sqlite" not in key} == {
        key: value[0] for key, value in before.items() if ".sqlite" not in key
    }
    assert "no problems found" in regaze("verify", finished).out


@pytest.mark.parametrize("what", ["weights", "corrections", "row", "card"])
def test_verify_names_what_was_altered(study_copy, regaze, what):
    """Other weights, a removed correction, an altered row, a damaged card: exit code 1 and one line each."""
    import sqlite3
    from contextlib import closing

    folder = study_copy / "models" / "multi-scale-finetuned" / "fold0"
    wanted = {
        "weights": "holds other weights",
        "corrections": "which the store does not hold",
        "row": "does not match its hash",
        "card": "model.json is damaged",
    }[what]
    if what == "weights":
        other = study_copy / "models" / "multi-scale-control" / "fold0" / "model.safetensors"
        (folder / "model.safetensors").write_bytes(other.read_bytes())
    if what == "card":
        (folder / "model.json").write_text("{}")
    if what in ("corrections", "row"):
        with closing(sqlite3.connect(study_copy / "records.sqlite")) as connection:
            for trigger in ("corrections_refuse_delete", "corrections_refuse_update"):
                connection.execute(f"DROP TRIGGER {trigger}")
            change = "DELETE FROM corrections WHERE id = (SELECT max(id) FROM corrections)"
            if what == "row":
                change = "UPDATE corrections SET author = 'x' WHERE id = (SELECT max(id) FROM corrections)"
            connection.execute(change)
            connection.commit()
    outcome = regaze("verify", study_copy)
    assert outcome.code == 1
    assert wanted in outcome.out
    assert "problems found" in outcome.out


def test_the_only_model_is_the_default(study_copy, open_quietly):
    """Without the usual model, and with one alone, that one is meant; with several the usual one is asked for."""
    study = open_quietly(study_copy)
    assert len(study.models()) > 1
    shutil.rmtree(study_copy / "models" / "multi-scale")
    rest = study.models()
    assert active_model(study) == "multi-scale"
    for name in rest[1:]:
        shutil.rmtree(study_copy / "models" / name)
    assert active_model(study) == rest[0]
    assert model_folder(study_copy) == study.model_folder(rest[0], 0)
