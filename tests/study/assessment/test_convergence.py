"""The training loss as it is shown, and when a model of phase 1 is said not to have converged."""

import json
import math

import pytest

from regaze.study.assessment.convergence import training_loss, unfinished


def _write(study, name, losses):
    file = study.model_folder(name, 0) / "model.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"history": [{"grade": loss} for loss in losses]}))


def test_loss_is_that_of_one_head(finished, open_quietly):
    """Seven heads share the sum (fused, three attention, three perception); chance and least are known by hand."""
    study = open_quietly(finished)
    history = study.card("multi-scale").history
    loss = training_loss(study, "multi-scale")
    assert loss["first"] == pytest.approx(history[0]["grade"] / 7)
    assert loss["last"] == pytest.approx(history[-1]["grade"] / 7)
    assert loss["chance"] == pytest.approx(math.log(5))
    assert loss["least"] == pytest.approx(-0.92 * math.log(0.92) - 4 * 0.02 * math.log(0.02))
    assert loss["epochs"] == len(history) == 2


def test_near_chance_is_not_converged(study_copy, open_quietly):
    """Two epochs from scratch end near chance and are warned of; a fifth of the way to the least loss is not."""
    study = open_quietly(study_copy)
    text = unfinished(study, "multi-scale")
    assert text.startswith("multi-scale has not converged: its training loss per head ended at 1.")
    assert "chance 1.61, 2 epochs" in text
    loss = training_loss(study, "multi-scale")
    edge = loss["chance"] - 0.2 * (loss["chance"] - loss["least"])
    for factor, warned in ((1.01, True), (0.99, False)):
        _write(study, "multi-scale", [7 * 1.7, 7 * edge * factor])
        assert bool(unfinished(study, "multi-scale")) is warned


def test_fine_tuning_and_cards_without_history_say_nothing(study_copy, open_quietly):
    """A fine-tuned model begins where phase 1 ended; a card without a history has no loss."""
    study = open_quietly(study_copy)
    assert training_loss(study, "multi-scale-finetuned") is not None
    assert unfinished(study, "multi-scale-finetuned") == ""
    _write(study, "multi-scale", [])
    assert training_loss(study, "multi-scale") is None
    assert unfinished(study, "multi-scale") == ""


def test_train_and_evaluate_say_it(study_copy, regaze, tiny):
    """The loss is printed by `train`, its JSON has it, and `evaluate` warns."""
    again = [study_copy, *tiny["network"], *tiny["training"], *tiny["machine"]]
    said = regaze("train", *again)
    assert "training loss per head: 1." in said.out
    assert "warning: multi-scale has not converged" in said.err
    loss = regaze("train", *again, "--json").json["training_loss"]
    result = regaze("evaluate", study_copy, *tiny["machine"], *tiny["evaluation"], "--json").json
    assert result["models"]["multi-scale"]["training_loss"] == loss
    (doubt,) = [each for each in result["warnings"] if "has not converged" in each["text"]]
    assert doubt["model"] == "multi-scale", "phase 1 alone"
