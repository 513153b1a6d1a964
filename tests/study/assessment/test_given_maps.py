"""Other maps than a model's own: what is given, to whom, and that nothing else changes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from regaze.errors import DataError, ModelError
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import decode
from regaze.study.assessment.given_maps import GIVEN, judge_given_maps
from regaze.study.assessment.judge import judge_model
from regaze.study.assessment.measure import OTHERS
from regaze.study.lesions import targets
from regaze.study.options import EvaluateOptions

MACHINE = MachineOptions(precision="fp32", workers=1)
NAME = "multi-scale-finetuned"


@pytest.fixture
def study(study_copy, open_quietly):
    """A finished study, open, to be changed."""
    return open_quietly(study_copy)


def by_hand(study, maps_of):
    """Probabilities (N, K) of the test photographs with the maps that `maps_of(own maps, masks)` makes."""
    predictor, card = load_model(study.model_folder(NAME, 0), MACHINE)
    pixels = study.pixels(study.test(), card.size)
    with torch.no_grad():
        batch = predictor.normalise(pixels.images)
        own = predictor.network.eval()(batch).maps
        return torch.softmax(predictor.network(batch, maps_of(own, pixels.union)).logits, 1).numpy()


def probabilities(rows, what, draw=0):
    """(N, K) of what a model said with these maps."""
    return np.array([row["given"][what]["probabilities"][draw] for row in rows])


def test_own_maps_are_the_models_own_grades(study):
    """`own` is what `evaluate` says of the same photographs; grades are decoded from the probabilities beside them."""
    rows = judge_given_maps(study, NAME, MACHINE)
    judged = judge_model(study, NAME, EvaluateOptions(faithfulness=0), MACHINE)
    assert [row["sample"] for row in rows] == [row["sample"] for row in judged]
    assert probabilities(rows, "own").tolist() == [row["probabilities"] for row in judged]
    assert [row["given"]["own"]["grades"][0] for row in rows] == [row["grade"] for row in judged]
    assert {key for row in rows for key in row["given"]} == set(GIVEN)
    for row in rows:
        for what, given in row["given"].items():
            assert len(given["grades"]) == len(given["probabilities"]) == (OTHERS if what == "another" else 1)
            decoded = decode(np.array(given["probabilities"], dtype=np.float32), "median")
            assert given["grades"] == decoded.tolist()


@pytest.mark.parametrize(
    ("what", "maps_of"),
    [
        ("own", lambda own, _: own),
        ("empty", lambda own, _: [torch.zeros_like(item) for item in own]),
        ("full", lambda own, _: [torch.ones_like(item) for item in own]),
        (
            "expert",
            lambda own, masks: [
                torch.from_numpy(item).unsqueeze(1) for item in targets(masks, [item.shape[2:] for item in own])
            ],
        ),
    ],
)
def test_what_is_given_is_what_the_name_says(study, what, maps_of):
    """Maps of 0, of 1, M' of the known lesions: the probabilities are those of one plain forward pass with them."""
    rows = judge_given_maps(study, NAME, MACHINE)
    np.testing.assert_allclose(probabilities(rows, what), by_hand(study, maps_of), atol=1e-5)
    if what != "own":
        assert np.abs(probabilities(rows, what) - probabilities(rows, "own")).max() > 1e-4
    lesions = dict(zip([sample.id for sample in study.test()], study.pixels(study.test(), 64).union, strict=True))
    assert [row["lesions"] for row in rows] == [bool(lesions[row["sample"]].any()) for row in rows]
    assert {row["lesions"] for row in rows} == {True, False}


def test_another_photograph_is_of_another_patient_and_like_grade(study, monkeypatch):
    """Each draw gives the map of a photograph of another patient, of the same predicted grade where there is one."""
    from regaze.study.assessment import given_maps

    drawn, asked = [], []
    original = given_maps.other_photographs

    def spy(index, grades, strangers, draws):
        found = original(index, grades, strangers, draws)
        drawn.append(found[0])
        asked.append((grades, strangers))
        return found

    monkeypatch.setattr(given_maps, "other_photographs", spy)
    rows = judge_given_maps(study, NAME, MACHINE)
    patients = [row["patient"] for row in rows]
    own = np.array([row["given"]["own"]["grades"][0] for row in rows])
    assert len(drawn) == len(rows) > OTHERS
    for index, (others, (grades, strangers)) in enumerate(zip(drawn, asked, strict=True)):
        assert len(set(others)) == OTHERS
        assert all(patients[other] != patients[index] for other in others)
        np.testing.assert_array_equal(grades, own)
        alike = sum(strangers & (grades == grades[index]))
        assert sum(grades[other] == grades[index] for other in others) == min(OTHERS, alike)
    for draw in range(OTHERS):
        chosen = [others[draw] for others in drawn]
        wanted = by_hand(study, lambda maps, _, chosen=chosen: [item[chosen] for item in maps])
        np.testing.assert_allclose(probabilities(rows, "another", draw), wanted, atol=1e-5)


def test_only_what_is_graded_and_known_counts(study):
    """No grade, or nothing known about lesions: left out. Nothing left, or one patient alone: said."""
    test = study.test()
    changed = {test[0].id: {"label": None}, test[1].id: {"origin": "none", "masks": {}}}

    def put(changes):
        samples = tuple(replace(item, **changes.get(item.id, {})) for item in study.dataset.samples)
        study.dataset = replace(study.dataset, samples=samples)

    put(changed)
    assert [row["sample"] for row in judge_given_maps(study, NAME, MACHINE)] == [item.id for item in test[2:]]
    put({item.id: {"patient": "one"} for item in test})
    with pytest.raises(DataError, match="photographs of no other patient"):
        judge_given_maps(study, NAME, MACHINE)
    put({item.id: {"label": None} for item in test})
    with pytest.raises(DataError, match="no graded photograph of the part to judge on has known lesions"):
        judge_given_maps(study, NAME, MACHINE)


def test_a_plain_network_has_no_maps_to_replace(study, monkeypatch):
    """It is refused by name."""
    card = study.card(NAME)
    plain = replace(card, network=replace(card.network, network="plain"))
    monkeypatch.setattr(study, "require_model", lambda _: plain)
    with pytest.raises(ModelError, match=f"{NAME} is a plain network"):
        judge_given_maps(study, NAME, MACHINE)


def test_folds_judge_as_evaluate_does(study):
    """Without a test part each fold's validation part; with one, the mean of the folds' models."""
    once = judge_given_maps(study, NAME, MACHINE)
    folder = study.model_folder(NAME, 0)
    shutil.copytree(folder, study.model_folder(NAME, 1))
    shutil.copytree(study.model_folder("multi-scale", 0), study.model_folder("multi-scale", 1))
    study.options = replace(study.options, folds=2)
    assert judge_given_maps(study, NAME, MACHINE) == once
    names = [item.id for item in study.test()]
    study.dataset = replace(study.dataset, samples=tuple(replace(s, part="training") for s in study.dataset.samples))
    study.split = {name: index // 4 for index, name in enumerate(names)}
    assert len(study.validation(0)) == 4
    with pytest.raises(DataError, match="photographs of no other patient"):
        judge_given_maps(study, NAME, MACHINE)  # the second fold has one patient
    study.split = dict.fromkeys(names, 1)
    assert judge_given_maps(study, NAME, MACHINE) == once
