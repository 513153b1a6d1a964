"""Whether bfloat16 answers as fp32 does: measured when a model is made, minded when it predicts."""

import json
from dataclasses import replace

import numpy as np
import pytest

from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.precision import compare_precisions, predicting, why_fp32


@pytest.fixture
def card(finished, open_quietly):
    """A card that can be given any record of its arithmetic."""
    return open_quietly(finished).card("multi-scale")


def _with(card, **known):
    return replace(card, details={**card.details, "arithmetic": known})


def test_comparison_is_the_difference_of_two_predictions(finished, open_quietly):
    """The largest difference and the changed grades are those of predicting twice; bfloat16 differs a little."""
    study = open_quietly(finished)
    folder = study.model_folder("multi-scale", 0)
    images = study.pixels(study.training(0), 64).images
    predictor, card = load_model(folder, MachineOptions(precision="bf16"))
    found = compare_precisions(predictor.network, card, images, MachineOptions())
    one, other = (load_model(folder, MachineOptions(precision=name))[0].predict(images) for name in ("bf16", "fp32"))
    assert found["n"] == len(images)
    difference = np.abs(one.probabilities - other.probabilities).max()
    assert found["largest_difference"] == pytest.approx(difference, abs=1e-6)
    assert 0 < found["largest_difference"] < 0.1
    assert found["changed"] == (one.grades != other.grades).sum()


@pytest.mark.parametrize(
    ("known", "asked", "wanted"),
    [
        ({"trained": "bf16", "n": 32, "changed": 0, "largest_difference": 0.003}, "bf16", "bf16"),
        ({"trained": "bf16", "n": 32, "changed": 0, "largest_difference": 0.003}, "auto", "auto"),
        ({"trained": "bf16", "n": 32, "changed": 1, "largest_difference": 0.003}, "auto", "fp32"),
        ({"trained": "bf16", "n": 32, "changed": 0, "largest_difference": 0.021}, "bf16", "fp32"),
        ({"trained": "bf16", "n": 32, "changed": None, "largest_difference": None}, "bf16", "fp32"),
        ({"trained": "fp32"}, "auto", "fp32"),
        ({"trained": "fp32"}, "bf16", "bf16"),
    ],
)
def test_in_which_precision_a_model_predicts(card, known, asked, wanted):
    """fp32 where the two part, and where nobody compared unless bf16 is asked for; a reason where they part."""
    known_card = _with(card, **known)
    assert predicting(known_card, MachineOptions(precision=asked)).precision == wanted
    parts = known["trained"] == "bf16" and wanted == "fp32"
    assert bool(why_fp32(known_card)) is parts


def test_an_older_card_predicts_as_the_machine_says(card):
    """A card without the record changes nothing."""
    older = replace(card, details={key: value for key, value in card.details.items() if key != "arithmetic"})
    for name in ("auto", "bf16", "fp32"):
        assert predicting(older, MachineOptions(precision=name)).precision == name
    assert why_fp32(older) == ""


def test_from_training_to_prediction(new_study, regaze, tiny, tmp_path):
    """A model trained in bf16 carries the comparison; where it parts, `predict` computes in fp32 and says so."""
    folder, bf16 = new_study(), ("--precision", "bf16", "--workers", "1")
    assert regaze("init", folder, "--data", tiny["data"], "--size", "64").code == 0
    assert regaze("train", folder, *tiny["network"], *tiny["training"], *bf16).code == 0
    model = folder / "models" / "multi-scale" / "fold0"
    file = model / "model.json"
    values = json.loads(file.read_text())
    known = values["details"]["arithmetic"]
    assert known["trained"] == "bf16"
    assert known["n"] > 0
    assert known["largest_difference"] > 0
    photograph = next((folder / "data").rglob("*.jpg"))

    def predict(*precision):
        return regaze("predict", model, photograph, "--out", tmp_path / "out", *precision, "--workers", "1", "--json")

    def declare(**changes):
        values["details"]["arithmetic"] = known | changes
        file.write_text(json.dumps(values))

    declare(changed=0, largest_difference=0.001)
    short, full = predict("--precision", "bf16"), predict("--precision", "fp32")
    assert (short.json["precision"], full.json["precision"]) == ("bf16", "fp32")
    assert short.json["predictions"] != full.json["predictions"]
    declare(changed=2)
    parted = predict("--precision", "bf16")
    assert parted.json["precision"] == "fp32"
    assert parted.json["predictions"] == full.json["predictions"]
    assert f"multi-scale predicts in fp32: in bfloat16 2 of {known['n']} of its training photographs" in parted.err
    judged = regaze("evaluate", folder, *bf16, *tiny["evaluation"], "--json").json
    assert judged["models"]["multi-scale"]["precision"] == "fp32"
    assert any(note.startswith("multi-scale predicts in fp32") for note in judged["notes"])
    assert "Judged in fp32." in judged["notes"]


def test_a_network_without_numbers_is_no_crash(finished, open_quietly):
    """Where a precision gives NaN the comparison says that there is none, and the model is kept."""
    study = open_quietly(finished)
    predictor, card = load_model(study.model_folder("multi-scale", 0), MachineOptions(precision="fp32"))
    for parameter in predictor.network.parameters():
        parameter.data.fill_(float("nan"))
    found = compare_precisions(predictor.network, card, np.zeros((2, 64, 64, 3), np.uint8), MachineOptions())
    assert found == {"n": 2, "largest_difference": None, "changed": None}
