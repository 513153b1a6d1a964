"""Who knows no patient says so: in `init`, in `evaluate`, on the page; names in pairs are offered as patients."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regaze.console import Voice
from regaze.records import Dataset, Sample
from regaze.study.folder import Study, open_study
from regaze.study.groups import group_words, unit_word
from regaze.study.options import StudyOptions

EYES = 16


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """A folder of 32 noisy photographs, `10_left` and `10_right` to `25_left` and `25_right`, in two classes."""
    root = tmp_path_factory.mktemp("eyes")
    for number in range(10, 10 + EYES):
        for side in ("left", "right"):
            label = (number + (side == "left")) % 2
            path = root / str(label) / f"{number}_{side}.jpeg"
            path.parent.mkdir(exist_ok=True)
            Image.effect_noise((96, 96), 60 + number + 20 * label).convert("RGB").save(path)
    return root


def test_init_says_what_it_does_not_know_and_offers_the_expression(eyes, tmp_path, regaze):
    """No patient: said and not claimed; the expression that is offered keeps both eyes in one fold."""
    blind = regaze("init", tmp_path / "blind", "--data", f"folder:{eyes}", "--folds", "2", "--size", "64", "--no-crop")
    assert blind.code == 0, blind.err
    assert f"groups: none named: {2 * EYES} photographs count as {2 * EYES}" in blind.out
    assert "split by photograph, since no patient is known" in blind.out
    assert "split by patient" not in blind.out
    offered = re.search(r"--patient '(.+?)' keeps them on one side", blind.out)
    assert offered is not None
    told = ("--patient", offered[1], "--folds", "2", "--size", "64", "--no-crop", "--json")
    outcome = regaze("init", tmp_path / "told", "--data", f"folder:{eyes}", *told)
    assert outcome.json["split"]["groups"] == f"{EYES} by the expression {offered[1]}"
    assert outcome.json["split"]["about"] == "by patient"
    assert not any("No patient is known" in note for note in outcome.json["notes"])


def test_the_loop_claims_no_patient(eyes, tmp_path, regaze, tiny):
    """`evaluate` on photographs of unknown patients: no note speaks of a split by patient, or of their redraws."""
    data = ("--data", f"folder:{eyes}", "--folds", "2", "--size", "64", "--no-crop")
    trained = regaze("init", tmp_path / "s", *data)
    assert trained.code == 0, trained.err
    trained = regaze("train", tmp_path / "s", *tiny["network"], *tiny["training"], *tiny["machine"])
    assert trained.code == 0, trained.err
    judged = regaze("evaluate", tmp_path / "s", *tiny["machine"], *tiny["evaluation"], "--json")
    assert judged.code == 0, judged.err
    notes = " ".join(judged.json["notes"])
    assert "pooled over 2 folds, split by photograph, since no patient is known" in notes
    assert "intervals redraw single photographs" in notes
    assert "split by patient" not in notes


def dataset(named_by, *patients):
    """Photographs of these patients."""
    samples = tuple(Sample(str(index), None, 0, patient=patient) for index, patient in enumerate(patients))
    return Dataset("", ("0",), False, samples, "", (), named_by)


@pytest.mark.parametrize(
    ("data", "words", "unit"),
    [
        (dataset(None, None, None), "none named: 2 photographs count as 2", "photograph"),
        (dataset("column patient", "a", "a", "b"), "2 by column patient", "patient"),
        (
            dataset("column patient", "a", "a", None),
            "2 by column patient (1 of 3 photographs belong to no group that is known)",
            "patient",
        ),
        (dataset("near-copies", "a", "a", "b"), "2 by near-copies", "group"),
    ],
)
def test_groups_in_words(data, words, unit):
    """How many groups there are, by what, and of how many photographs nothing is known."""
    study = Study(Path(), StudyOptions(""), data, {}, Voice(quiet=True))
    assert (group_words(study), unit_word(data)) == (words, unit)


@pytest.fixture(scope="module")
def exposures(tmp_path_factory):
    """A table of 12 parts, each under three exposures, that nothing names."""
    root = tmp_path_factory.mktemp("exposures")
    lines = ["image,label"]
    for number in range(12):
        noise = np.random.default_rng(number).normal(size=(112, 112)).astype(np.float32)
        texture = cv2.GaussianBlur(noise, (0, 0), 2.5)
        for shift, (name, gain) in enumerate((("dim", 0.5), ("usual", 1.0), ("bright", 1.5))):
            light = np.clip(gain * (110 + 25 * texture / texture.std()), 0, 255)[4 * shift :, 3 * shift :]
            grey = light[:96, :96].astype(np.uint8)
            Image.fromarray(grey).save(root / f"{name}{number * 7919 % 1000:03}.png")
            lines.append(f"{name}{number * 7919 % 1000:03}.png,{number % 2}")
    (root / "table.csv").write_text("\n".join(lines))
    return root / "table.csv"


def test_near_copies_are_told_and_grouped_when_asked(exposures, tmp_path, regaze, tiny):
    """Told by `init` and by `evaluate` with the number of judged photographs; in one fold each where asked for."""
    options = ("--data", f"csv:{exposures}", "--folds", "2", "--size", "64", "--no-crop")
    loose = regaze("init", tmp_path / "loose", *options)
    assert "groups: none named: 36 photographs count as 36, but 36 of them are near-copies" in loose.out
    assert "36 photographs look like near-copies of 12 parts" in loose.out
    assert "pass --group-near-copies" in loose.out
    trained = regaze("train", tmp_path / "loose", *tiny["network"], *tiny["training"], *tiny["machine"])
    assert trained.code == 0, trained.err
    judged = regaze("evaluate", tmp_path / "loose", *tiny["machine"], *tiny["evaluation"], "--json")
    study = open_study(tmp_path / "loose", Voice(quiet=True))
    divided = sum(len(group) for group in study.near_copies if len({study.split[name] for name in group}) > 1)
    assert divided > 10
    assert any(note.startswith(f"{divided} of the 36 photographs have a near-copy") for note in judged.json["notes"])
    kept = regaze("init", tmp_path / "kept", *options, "--group-near-copies", "--json").json
    assert (kept["split"]["by"], kept["split"]["groups"]) == ("group", "12 by near-copies")
    assert kept["split"]["about"] == "by near-copies, since no group is known"
    study = open_study(tmp_path / "kept", Voice(quiet=True))
    assert len(study.near_copies) == 12
    assert all(len({study.split[name] for name in group}) == 1 for group in study.near_copies)
    assert len({sample.patient for sample in study.dataset.samples}) == 12
