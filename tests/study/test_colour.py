"""A study whose photographs have their colour taken out: models learn, judge and predict from the same pixels."""

import numpy as np
import pytest

from regaze.data.pixels import load_pixels
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions

MACHINE = MachineOptions(precision="fp32", workers=1)


@pytest.fixture
def normalised(new_study, regaze, tiny):
    """The folder of a study made with `--colour normalised`, and its one model."""
    folder = new_study()
    made = regaze("init", folder, "--data", tiny["data"], "--size", "64", "--colour", "normalised", "--json")
    assert made.code == 0, made.err
    options = (*tiny["network"], "--network", "plain", "--epochs", "1", "--batch", "8", *tiny["machine"])
    trained = regaze("train", folder, *options, "--colour-jitter", "strong", "--json")
    assert trained.code == 0, trained.err
    return folder, folder / "models" / "plain" / "fold0"


def test_every_step_sees_the_same_pixels(normalised, regaze, tiny, open_quietly, tmp_path):
    """The study's pixels and those of `predict` are normalised, as the card says; people are shown the photograph."""
    folder, model = normalised
    study = open_quietly(folder)
    samples = study.validation(0)[:3]
    pixels = study.pixels(samples, 64)
    np.testing.assert_array_equal(pixels.images, load_pixels(samples, 64, None, colour="normalised").images)
    plain = load_pixels(samples, 64, None)
    np.testing.assert_array_equal(study.pixels(samples, 64, colour="none").images, plain.images)
    assert not np.array_equal(pixels.images, plain.images)
    predictor, card = load_model(model, MACHINE)
    assert (card.colour, card.recipe["phase1"]["colour_jitter"]) == ("normalised", "strong")
    wanted, other = (predictor.predict(item.images).probabilities for item in (pixels, plain))
    files = [sample.image for sample in samples]
    said = regaze("predict", model, *files, "--out", tmp_path, *tiny["machine"], "--json").json["predictions"]
    found = [list(item["probabilities"].values()) for item in said]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(wanted - other).max() > 1e-3


def test_a_study_keeps_its_colour(normalised, regaze, tiny):
    """`init` with another colour is refused by name, and so is another jitter for a model that is there."""
    folder, _ = normalised
    refused = regaze("init", folder, "--data", tiny["data"], "--size", "64")
    assert refused.code == 1
    assert "was made with --colour normalised" in refused.err
    options = (*tiny["network"], "--network", "plain", "--epochs", "1", "--batch", "8", *tiny["machine"])
    refused = regaze("train", folder, *options)
    assert refused.code == 1
    assert "was made with other options" in refused.err
