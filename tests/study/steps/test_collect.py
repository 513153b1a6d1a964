"""Collecting maps, diagnosing them, and asking for corrections."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from regaze.errors import OptionError
from regaze.evaluation.picture import WHOLE
from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictions
from regaze.records import Sample
from regaze.study.lesions import targets
from regaze.study.options import CollectOptions, SelectOptions
from regaze.study.steps import collect as module
from regaze.study.steps.collect import collect, diagnose_all, read_collected
from regaze.study.steps.correct import select
from regaze.study.steps.uncertainty import forward_scores

MACHINE = MachineOptions(precision="fp32", workers=1)


def test_collected_is_what_the_model_says(finished, open_quietly):
    """Grades, confidence and maps on disk are the model's own, for the training photographs in their order."""
    study = open_quietly(finished)
    predictor, card = load_model(study.model_folder("multi-scale", 0), MACHINE)
    samples = study.training(0)
    said = predictor.predict(study.pixels(samples, card.size).images)
    found = read_collected(study, "multi-scale", 0)
    assert [(item.sample, item.label, item.grade) for item in found] == [
        (sample.id, sample.label, int(grade)) for sample, grade in zip(samples, said.grades, strict=True)
    ]
    confidence = said.probabilities[np.arange(len(samples)), said.grades]
    assert [item.confidence for item in found] == pytest.approx(confidence.tolist(), abs=1e-5)
    stored = load_file(finished / "collected" / "multi-scale" / "fold0" / "maps.safetensors")
    assert {key: value.shape[1:] for key, value in stored.items()} == {
        "scale1": (16, 16),
        "scale2": (8, 8),
        "scale3": (4, 4),
        "fused": (16, 16),
        "probabilities": (5,),
    }
    np.testing.assert_allclose(stored["fused"], said.fused, atol=1e-3)
    np.testing.assert_allclose(stored["scale3"], said.maps[2], atol=1e-3)


def test_diagnosis_by_hand():
    """On the lesion: fine; off it: elsewhere; wrong grade: misgraded; nothing known: unknown, with no figures."""
    samples = [Sample(name, f"{name}.png", 1, origin="masks") for name in "abcd"]
    masks = np.zeros((4, 32, 32), dtype=bool)
    masks[:3, 8:16, 8:16] = True
    on, off = np.zeros((2, 4, 4), dtype=np.float32)
    on[1, 1], off[3, 3] = 1, 1
    maps = np.stack([on, off, on, on])
    probabilities = np.tile(np.array([0.2, 0.8], dtype=np.float32), (4, 1))
    probabilities[2] = 0.7, 0.3
    said = Predictions(probabilities, np.array([1, 1, 0, 1]), (maps,), maps)
    known = np.array([True, True, True, False])
    pictures = [WHOLE] * 4
    found = diagnose_all(samples, said, masks, known, pictures, CollectOptions(), forward_scores(said))
    assert [item.diagnosis for item in found] == ["fine", "elsewhere", "misgraded", "unknown"]
    assert [item.confidence for item in found] == pytest.approx([0.8, 0.8, 0.7, 0.8])
    target = targets(masks, [(4, 4)])[0][0]
    assert found[0].squared_error == pytest.approx(((on - target) ** 2).mean())
    assert found[1].squared_error == pytest.approx(((off - target) ** 2).mean())
    assert found[0].squared_error < found[1].squared_error
    assert found[0].enrichment > 4
    assert found[1].enrichment == pytest.approx(0, abs=1e-6)
    assert (found[0].relevance_rank, found[1].relevance_rank) == (pytest.approx(1, abs=0.3), 0)
    assert (found[3].squared_error, found[3].relevance_rank, found[3].enrichment) == (None, None, None)
    options = CollectOptions(min_enrichment=17)
    strict = diagnose_all(samples, said, masks, known, pictures, options, forward_scores(said))
    assert [item.diagnosis for item in strict] == ["elsewhere", "elsewhere", "misgraded", "unknown"]


def test_collected_once(study_copy, open_quietly, monkeypatch):
    """The same model and thresholds are not asked again; other thresholds, or a damaged file, are."""
    study = open_quietly(study_copy)
    folder = study_copy / "collected" / "multi-scale" / "fold0"
    asked = []
    original = module.diagnose_all
    monkeypatch.setattr(module, "diagnose_all", lambda *arguments: (asked.append(1), original(*arguments))[1])
    before = (folder / "collected.json").read_bytes()
    counts = collect(study, "multi-scale", MACHINE)
    assert (asked, (folder / "collected.json").read_bytes()) == ([], before)
    assert sum(counts.values()) == len(study.training(0))
    collect(study, "multi-scale", MACHINE, CollectOptions(min_rank=0))
    assert len(asked) == 1
    (folder / "collected.json").write_text("{ half")
    assert collect(study, "multi-scale", MACHINE) == counts
    assert (folder / "collected.json").read_bytes() == before
    (folder / "maps.safetensors").unlink()
    collect(study, "multi-scale", MACHINE)
    assert len(asked) == 3
    assert (folder / "maps.safetensors").is_file()


def test_selected_once(study_copy, open_quietly):
    """The same request is stored once; another rule or share is a new selection; the first are the same ones."""
    study = open_quietly(study_copy)
    count = len(study.store.selections())
    whole = select(study, "multi-scale", SelectOptions())[0]
    assert len(study.store.selections()) == count == 1
    some = select(study, "multi-scale", SelectOptions(share=0.3), "expert")[0]
    assert len(study.store.selections()) == 2
    assert (some.author, some.rule, some.share) == ("expert", "branches", 0.3)
    assert some.samples == whole.samples[: len(some.samples)]
    assert 0 < len(some.samples) < len(whole.samples)
    unsure = select(study, "multi-scale", SelectOptions(by="confidence"))[0]
    assert set(unsure.samples) == set(whole.samples)
    confidence = {item.sample: item.confidence for item in read_collected(study, "multi-scale", 0)}
    assert [confidence[item] for item in unsure.samples] == sorted(confidence[item] for item in unsure.samples)
    doubt = {item.sample: item.signals["branches"] for item in read_collected(study, "multi-scale", 0)}
    assert [doubt[item] for item in whole.samples] == sorted((doubt[i] for i in whole.samples), reverse=True)
    assert study.store.latest_selection("multi-scale/fold0") == unsure


def test_nobody_to_ask(study_copy, open_quietly):
    """Where every map is fine there is nothing to select, and that is said."""
    file = study_copy / "collected" / "multi-scale" / "fold0" / "collected.json"
    values = json.loads(file.read_text())
    for item in values["photographs"]:
        item["diagnosis"] = "fine"
    del values["seal"]  # as an earlier version wrote it
    file.write_text(json.dumps(values))
    with pytest.raises(OptionError, match="none of the 20 photographs needs an expert"):
        select(open_quietly(study_copy), "multi-scale", SelectOptions())
