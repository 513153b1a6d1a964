"""Studies made by earlier versions open, verify and go on.

`fixtures/study_schema_1.tar.xz` was made by `regaze run`, `import`, `collect --signals`, `select` and `use` of 0.1.0
(commit 9dad3d6), before the rooms of the source were laid out anew: 14 synthetic photographs, a phase-1 model, its
fine-tuned model and control, 20 corrections (ten of them
imported from COCO), the records of an evaluation. It is never made again; a
later schema gets a file of its own.
"""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from regaze.commands import loop
from regaze.errors import StudyError
from regaze.models.options import MachineOptions
from regaze.study.steps import train as step
from regaze.training.options import TrainingOptions

FIXTURES = Path(__file__).parent / "fixtures"
HEAD = "f81f0059406a9018f4554a6b3e2860dc3a74d7778c179dbb6245cd70d36ab237"
MODELS = ["multi-scale", "multi-scale-control", "multi-scale-finetuned"]


@pytest.fixture
def earlier(tmp_path):
    """The stored study of schema 1, unpacked."""
    with tarfile.open(FIXTURES / "study_schema_1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "study"


def test_an_earlier_study_opens_and_verifies(earlier, regaze):
    """Every row, link and model is what it was when it was written, and so is the chain's head."""
    found = regaze("verify", earlier, "--json").json
    assert found["problems"] == []
    counts = [found[key] for key in ("corrections", "selections", "links", "models")]
    assert counts == [20, 2, 22, 3]
    assert found["head"] == HEAD


def test_an_earlier_model_gives_the_same_answers(earlier, regaze, tiny):
    """The same probabilities to 1e-4 and the same grades as its own records of then."""
    for name in MODELS:
        then = json.loads((earlier / "evaluation" / "test" / f"{name}.json").read_text())["photographs"]
        for record in then:
            file = next((earlier / "data").rglob(Path(record["sample"]).name + ".jpg"))
            model = earlier / "models" / name / "fold0"
            said = regaze("predict", model, file, "--out", earlier / "out", *tiny["machine"], "--json").json
            (now,) = said["predictions"]
            assert list(now["probabilities"].values()) == pytest.approx(record["probabilities"], abs=1e-4)
            assert now["grade"] == record["grade"]


def test_an_earlier_evaluation_keeps_its_figures(earlier, regaze, tiny):
    """`evaluate` may add keys to what it wrote then; what it wrote then does not change."""
    then = json.loads((earlier / "evaluation" / "test.json").read_text())
    rankings = ("--reference-rankings", "2", "--deletion-substrate", "grey")  # as it was judged then
    now = regaze("evaluate", earlier, *tiny["evaluation"], *rankings, *tiny["machine"], "--json").json
    assert _lost(then, now) == []


def test_an_earlier_study_goes_on(earlier, regaze, tiny):
    """The chosen round is still the active model, and a second round starts from the stored corrections."""
    listed = regaze("rounds", earlier, "--resamples", "50", *tiny["machine"], "--json").json["rounds"]
    assert [one["model"] for one in listed if one["in_use"]] == ["multi-scale-finetuned"]
    made = regaze("finetune", earlier, "--epochs", "1", "--batch", "8", *tiny["machine"], "--json")
    assert made.json["model"] == "multi-scale-finetuned-2"
    card = json.loads((earlier / "models" / "multi-scale-finetuned-2" / "fold0" / "model.json").read_text())
    assert card["key"] == "89f106dc1cfe58e3", "as 0.1.0 of then named this round: nothing is trained twice"
    assert regaze("verify", earlier, "--json").json["problems"] == []


def test_an_earlier_model_is_not_trained_again(earlier, open_quietly, monkeypatch):
    """Phase 1 with the options of then is the model of then, whatever options were added since."""
    study = open_quietly(earlier)
    card = study.card("multi-scale")
    monkeypatch.setattr(step, "_train_fold", lambda *_: pytest.fail("an earlier model would be trained again"))
    then, machine = TrainingOptions(**card.recipe["phase1"]), MachineOptions(precision="fp32", workers=1)
    assert step.train(study, card.network, then, machine) == "multi-scale"
    with pytest.raises(StudyError, match="made with other options"):
        step.train(study, card.network, replace(then, colour_jitter="strong"), machine)


def test_an_earlier_run_is_remembered(earlier):
    """`regaze run STUDY` takes the options that run.json has kept, and would keep the very same."""
    stored = json.loads((earlier / "run.json").read_text())
    command, run = loop._stored_run(earlier)
    assert command == stored["command"]
    assert (run.study.data, run.study.size, run.study.seed) == ("synthetic:14", 64, 3)
    renamed = stored["options"]["evaluate"]
    renamed["reference_rankings"] = renamed.pop("controls")
    assert _lost(stored["options"], loop._plain(run)) == []


def _lost(then, now, path="$"):
    """Paths of what `then` says and `now` does not; notes are prose and may be worded anew."""
    if isinstance(then, dict):
        found = [] if isinstance(now, dict) else [path]
        for key, value in then.items() if isinstance(now, dict) else ():
            if key != "notes":
                found += _lost(value, now[key], f"{path}.{key}") if key in now else [f"{path}.{key}"]
        return found
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            lost for place, pair in enumerate(zip(then, now, strict=True)) for lost in _lost(*pair, f"{path}[{place}]")
        ]
    if isinstance(then, float) and isinstance(now, float):
        return [] if now == pytest.approx(then, abs=1e-4) else [path]
    return [] if then == now else [path]
