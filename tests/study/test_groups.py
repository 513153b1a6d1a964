"""Who knows no patient says so: in `init`, in `evaluate`, on the page; names in pairs are offered as patients."""

import re

import pytest
from PIL import Image

from regaze.records import Dataset, Sample
from regaze.study.groups import group_words, unit_word

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
    assert (group_words(data), unit_word(data)) == (words, unit)
