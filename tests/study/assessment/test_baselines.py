"""The baselines of a study: on whose photographs they learn and are judged, what is kept, what is warned of."""

import json

import numpy as np
import pytest
from safetensors.torch import save_file

from regaze.console import Voice
from regaze.models.backbones import timm_backbone
from regaze.models.options import MachineOptions
from regaze.study.assessment import baselines
from regaze.study.assessment.baselines import BLIND, Baseline, judge_blind, warning
from regaze.study.folder import create_study
from regaze.study.options import StudyOptions

MACHINE = MachineOptions(precision="fp32", workers=1)


@pytest.fixture
def folded(table_of, tmp_path):
    """A study of three folds without a test part, without models."""
    table = table_of(tmp_path / "t.csv", lambda row: row | {"split": ""})
    options = StudyOptions(data=f"csv:{table}", size=32, folds=3)
    return create_study(tmp_path / "folded", options, Voice(quiet=True))


def test_blind_learns_from_the_folds_training_photographs_alone(folded, monkeypatch):
    """Each fold learns from its own training part and grades its own validation part; no patient is on both sides."""
    calls = []
    original = baselines.forest

    def spy(numbers, labels, others, classes, seed):
        calls.append((numbers.copy(), others.copy()))
        return original(numbers, labels, others, classes, seed)

    monkeypatch.setattr(baselines, "forest", spy)
    rows = judge_blind(folded, MACHINE)
    assert [row["sample"] for row in rows] == [s.id for fold in folded.folds for s in folded.validation(fold)]
    assert [len(learned) for learned, _ in calls] == [len(folded.training(fold)) for fold in folded.folds]
    numbers = {row["sample"]: tuple(n) for row, n in zip(rows, np.concatenate([c[1] for c in calls]), strict=True)}
    patients = {row["sample"]: row["patient"] for row in rows}
    of = {values: patients[sample] for sample, values in numbers.items()}
    for learned, judged in calls:
        mine, theirs = ({of[tuple(row)] for row in part} for part in (learned, judged))
        assert mine
        assert theirs
        assert not mine & theirs
    below = [sum(np.cumsum(row["probabilities"]) < 0.499999) for row in rows]  # half of the trees may say it
    assert [row["grade"] for row in rows] == below, "decoded as the models are: by the median"


def test_records_are_kept_and_made_again_when_the_classifier_changes(folded, monkeypatch):
    """A second call reads what the first wrote; another format does not."""
    rows = judge_blind(folded, MACHINE)
    monkeypatch.setattr(baselines, "forest", None)
    assert judge_blind(folded, MACHINE) == rows
    monkeypatch.setattr(baselines, "_FORMAT", baselines._FORMAT + 1)
    with pytest.raises(TypeError):
        judge_blind(folded, MACHINE)


def test_evaluate_sets_the_models_against_the_blind_baseline(finished_run):
    """Every model has its paired difference; from random weights there is no probe, which is said."""
    result = finished_run[1].json
    assert set(result["baselines"]) == {BLIND}
    blind = result["baselines"][BLIND]
    assert set(blind["against"]) == set(result["models"])
    for name, pair in blind["against"].items():
        gain = result["models"][name]["quadratic_weighted_kappa"] - blind["quadratic_weighted_kappa"]
        assert pair["difference"] == pytest.approx(gain)
    (note,) = [note for note in result["notes"] if note.startswith("No linear probe")]
    assert "(--weights none)" in note
    doubts = [each for each in result["warnings"] if "is not clearly above the blind baseline" in each["text"]]
    assert [each["model"] for each in doubts] == sorted(result["models"]), "three patients show nothing"


def test_probe_of_the_backbone_that_phase_1_started_from(new_study, regaze, tiny, tmp_path):
    """With weights from a file a probe stands beside its models; once the file is gone that is said."""
    weights, folder = tmp_path / "start.safetensors", new_study()
    save_file(timm_backbone("test_resnet", 64).whole.state_dict(), weights)
    begun = regaze("init", folder, "--data", tiny["data"], "--size", "64")
    assert begun.code == 0, begun.err
    options = [*tiny["network"], "--weights", weights, *tiny["training"], *tiny["machine"], "--name"]
    for kind in ("plain", "multi-scale"):
        assert regaze("train", folder, "--network", kind, *options, kind).code == 0
    asked = ["evaluate", folder, *tiny["machine"], *tiny["evaluation"]]
    result = regaze(*asked, "--json").json
    probe = result["baselines"]["probe-test_resnet"]
    assert set(probe["against"]) == {"plain", "multi-scale"}, "both started there"
    assert probe["n"] == result["n"]
    file = folder / "evaluation" / "baselines" / "test-probe-test_resnet.json"
    rows = json.loads(file.read_text())["photographs"]
    assert [sum(row["probabilities"]) for row in rows] == pytest.approx([1] * len(rows))
    assert len({tuple(row["probabilities"]) for row in rows}) == len(rows)
    shown = regaze(*asked).out
    assert "what a model must beat" in shown
    assert "plain against probe-test_resnet: kappa" in shown
    weights.unlink()
    result = regaze(*asked, "--json").json
    assert set(result["baselines"]) == {BLIND}
    assert any("start.safetensors, are gone." in note for note in result["notes"])


def test_other_data_is_graded_by_what_learned_from_the_study(folded, table_of, tmp_path):
    """On other data all folds' mean speaks, on that data's photographs."""
    from regaze.study.assessment.judge import other_data

    table = table_of(tmp_path / "o.csv", lambda row: row if row["split"] == "test" else None)
    other = other_data(folded, f"csv:{table}", None)
    rows = judge_blind(folded, MACHINE, other)
    assert [row["sample"] for row in rows] == [sample.id for sample in other.samples]
    assert [sum(row["probabilities"]) for row in rows] == pytest.approx([1] * len(rows))


def _pair(low, high):
    return {"difference": (low + high) / 2, "interval": [low, high], "n_used": 90, "n_groups": 80, "above_chance": True}


@pytest.mark.parametrize(
    ("name", "parent", "bounds", "word"),
    [
        (BLIND, None, (0.1, 0.3), None),
        (BLIND, None, (-0.1, 0.3), "inconclusive"),
        (BLIND, "m", (-0.02, 0.02), "equivalent"),
        ("probe-x", None, (-0.3, -0.1), "worse"),
        ("probe-x", None, (-0.3, 0.1), "inconclusive"),
        ("probe-x", None, (-0.1, 0.3), None),
        ("probe-x", None, (-0.03, 0.01), None),
        ("probe-x", "m", (-0.3, -0.1), None),
    ],
)
def test_what_is_warned_of(name, parent, bounds, word, finished, open_quietly):
    """Any model that is not improved on the blind baseline; phase 1 alone where its kappa is below its probe's."""
    card = open_quietly(finished).card("multi-scale" if parent is None else "multi-scale-finetuned")
    text = warning(Baseline(name, "a thing", (card.name,), []), 0.5, card, _pair(*bounds))
    place = "not clearly above" if name == BLIND else "below"
    assert text == "" if word is None else text.startswith(f"{card.name} is {place} a thing: kappa 0.50, difference")
    assert word is None or f"], {word}. " in text
