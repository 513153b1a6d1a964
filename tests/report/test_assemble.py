"""From a study to the report's content: which photographs are shown, and with which maps."""

import dataclasses
import hashlib
import shutil
from collections import Counter

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from regaze.models.folder import load_model
from regaze.models.options import MachineOptions
from regaze.models.predictor import Predictor
from regaze.records import Correction
from regaze.report.assemble import _further_off, _gallery, _grade_changes, _map_changes, assemble
from regaze.report.data import Case, View
from regaze.study.assessment import summary
from regaze.study.assessment.judge import judge_model
from regaze.study.assessment.summary import evaluate
from regaze.study.lesions import enlarge
from regaze.study.options import EvaluateOptions

MACHINE = MachineOptions(precision="fp32", workers=1)
JUDGING = EvaluateOptions(faithfulness=2, steps=4, resamples=50)


def row(sample, label, grade, enrichment=None):
    """What the report needs of a record."""
    return {"sample": sample, "label": label, "grade": grade, "maps": {"fused": {"lesion_enrichment": enrichment}}}


@pytest.fixture
def rows():
    """Two models' records: a was lost, b won, c lost by more, d stays wrong, e has no grade, f stays right."""
    before = [
        row("a", 1, 1, 3),
        row("b", 2, 0, 1),
        row("c", 4, 4, 2),
        row("d", 1, 0),
        row("e", None, 2, 5),
        row("f", 0, 0),
    ]
    after = [
        row("a", 1, 0, 1),
        row("b", 2, 2, 2),
        row("c", 4, 0, 2),
        row("d", 1, 2),
        row("e", None, 0, 1),
        row("f", 0, 0),
    ]
    return before, after


def test_losses_come_first(rows):
    """What got worse is listed with the largest loss first; photographs without a grade count for maps only."""
    assert _grade_changes(*rows) == ([2, 0], [1])
    assert _map_changes(*rows) == ([4, 0], [1])


def test_wrong_before_and_further_off_now():
    """A photograph that was wrong already can still get worse; the largest step comes first."""
    before = [row("a", 1, 2), row("b", 4, 3), row("c", 1, 1), row("d", 0, 3), row("e", None, 2)]
    after = [row("a", 1, 3), row("b", 4, 0), row("c", 1, 3), row("d", 0, 2), row("e", None, 0)]
    assert _further_off(before, after) == [1, 0]


def test_gallery_is_not_picked_by_hand():
    """Per grade the 10th, 50th and 90th percentile of the change in enrichment, each photograph once."""
    before = [row(f"s{place:02}", 1, 1, 1.0) for place in range(11)] + [
        row("only", 3, 3, 1.0),
        row("none", None, 1, 9.0),
    ]
    after = [row(f"s{place:02}", 1, 1, float(place)) for place in range(11)] + [
        row("only", 3, 3, 1.0),
        row("none", None, 1),
    ]
    assert _gallery(before, after, 5) == [1, 5, 9, 11]


def test_content_of_a_study(finished, open_quietly):
    """Every case shows the photograph and the maps that the two models' records speak of."""
    study = open_quietly(finished)
    content = assemble(study, evaluate(study, JUDGING, MACHINE), MACHINE, ["regaze run x"])
    assert (content.before, content.after, content.control) == (
        "multi-scale",
        "multi-scale-finetuned",
        "multi-scale-control",
    )
    figures = {
        "kappa",
        "ranked_probability_score",
        "log_loss",
        "enrichment",
        "squared_error",
        "deletion",
        "insertion",
        "relative_deletion",
        "relative_insertion",
        "without_grade_0",
        "iou",
        "lesion_recall",
    }
    assert set(content.paired) == figures | {f"{figure}_against_control" for figure in figures}
    assert content.paired["kappa"] == content.results["paired"]["multi-scale-finetuned against multi-scale"]["kappa"]
    rows = {row["sample"]: row for row in judge_model(study, "multi-scale-finetuned", JUDGING, MACHINE)}
    test = {sample.id: sample for sample in study.test()}
    assert content.cases
    pixels = study.pixels(study.test(), 64)
    places = {sample.id: place for place, sample in enumerate(study.test())}
    for case in content.cases:
        assert case.sample in test
        assert case.label == test[case.sample].label
        np.testing.assert_array_equal(case.photo, pixels.images[places[case.sample]])
        np.testing.assert_array_equal(case.lesions, pixels.union[places[case.sample]])
        assert case.after.grade == rows[case.sample]["grade"]
        assert case.after.probabilities == pytest.approx(rows[case.sample]["probabilities"], abs=1e-5)
        assert case.after.fused.shape == (64, 64)
        assert [maps.shape for maps in case.after.scales] == [(16, 16), (8, 8), (4, 4)]
        assert not np.array_equal(case.before.fused, case.after.fused)
    was, now = (judge_model(study, name, JUDGING, MACHINE) for name in (content.before, content.after))
    assert len(content.worse_graded) == len(_grade_changes(was, now)[0]), "each with a picture"
    assert len(content.worse_maps) == len(_map_changes(was, now)[0])
    curves = content.curves["models"]
    assert (curves["n"], list(curves["lines"]), len(curves["shares"])) == (2, ["before", "control", "after"], 5)
    areas = np.array([row["deletion"] for row in rows.values() if row["deletion"] is not None])
    line = np.array(curves["lines"]["after"]["deletion"])
    assert np.trapezoid(line, dx=1 / 4) == pytest.approx(areas.mean(), abs=1e-3)
    orders = content.curves["orders"]["lines"]
    assert next(iter(orders)) == "fused"
    assert {"random", "centre", "blurred-random"} <= set(orders), "controls stand beside it by default"
    assert orders["fused"]["deletion"] == curves["lines"]["after"]["deletion"], "on the same photographs"
    assert content.provenance["corrections"]["n"] == study.store.count()
    assert content.provenance["data"]["fingerprint"] == study.dataset.fingerprint


def test_evidence_of_a_study(finished, open_quietly):
    """Each full case has the judged model's evidence: of the class given and the expert's, as one forward pass says."""
    study = open_quietly(finished)
    content = assemble(study, evaluate(study, JUDGING, MACHINE), MACHINE, [])
    predictor, card = load_model(study.model_folder("multi-scale-finetuned", 0), MACHINE)
    assert {case.sample for case in content.cases}
    for case in content.cases:
        sample = next(sample for sample in study.test() if sample.id == case.sample)
        evidence = predictor.predict(study.pixels([sample], card.size).images, evidence=True).evidence
        assert list(case.after.evidence) == list(dict.fromkeys([case.after.grade, case.label]))
        for index, values in case.after.evidence.items():
            expected = enlarge(evidence.of([index]), 64)[0]
            np.testing.assert_allclose(values, expected, atol=2e-3 * np.abs(expected).max())
    every = [values for case in content.cases for values in case.after.evidence.values()]
    assert np.min(every) < 0 < np.max(every)
    assert len(every) > len(content.cases), "of some the expert's class is another"


def test_maps_that_an_earlier_version_kept_have_no_evidence(study_copy, regaze, open_quietly, predicted):
    """The report leaves it out, and predicts nothing anew for it."""
    for file in (study_copy / "evaluation" / "test").glob("*.safetensors"):
        with safe_open(file, framework="numpy") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys() if "evidence" not in name}  # noqa: SIM118
            assert len(tensors) < len(stream.keys())
            metadata = stream.metadata()
        save_file(tensors, file, metadata)
    assert regaze("run", study_copy).code == 0
    assert not predicted
    page = (study_copy / "report.html").read_text(encoding="utf-8")
    assert "photograph by photograph" in page
    assert "Evidence after" not in page


def test_latest_round_is_reported(study_copy, open_quietly, regaze, tiny):
    """After a second round the report compares the newest fine-tuned model with its parent."""
    study = open_quietly(study_copy)
    sample = study.training(0)[0]
    look = np.zeros((512, 512), dtype=bool)
    look[100:200, 100:200] = True
    study.store.add_corrections(
        [Correction(0, sample.id, "multi-scale/fold0", "expert", "replace", look, None, "expert", "")]
    )
    regaze("finetune", study_copy, "--epochs", "1", "--batch", "8", *tiny["machine"])
    content = assemble(study, evaluate(study, JUDGING, MACHINE), MACHINE, [])
    assert (content.before, content.after) == ("multi-scale", "multi-scale-finetuned-2")


def test_nothing_to_report(study_copy, regaze, files_of):
    """A control alone is no fine-tuned model to report on; that is said before anything is judged."""
    shutil.rmtree(study_copy / "models" / "multi-scale-finetuned")
    shutil.rmtree(study_copy / "evaluation")
    refused = regaze("report", study_copy)
    assert refused.code != 0
    assert "no fine-tuned model to report on: run `regaze finetune" in refused.err
    assert not files_of(study_copy / "evaluation")


@pytest.fixture
def predicted(monkeypatch):
    """Counts photographs that went through a network for its grades and maps: (network, photograph) -> times."""
    times = Counter()
    predict = Predictor.predict

    def counted(self, images, *more, **others):
        network = hashlib.sha256(b"".join(v.numpy().tobytes() for v in self.network.state_dict().values())).hexdigest()
        times.update((network, hashlib.sha256(image.tobytes()).hexdigest()) for image in images)
        return predict(self, images, *more, **others)

    monkeypatch.setattr(Predictor, "predict", counted)
    return times


@pytest.fixture
def judged(monkeypatch):
    """Counts calls: `models` that were judged, `pairs` that were compared."""
    calls = Counter()

    def count(name, key):
        whole = getattr(summary, name)
        monkeypatch.setattr(summary, name, lambda *given, **more: calls.update([key]) or whole(*given, **more))

    count("judge_model", "models")
    count("compare", "pairs")
    return calls


def test_a_run_judges_once_and_predicts_each_photograph_once(study_copy, regaze, open_quietly, predicted, judged):
    """`run` hands what it measured to its report: nothing is judged, compared or predicted a second time."""
    shutil.rmtree(study_copy / "evaluation")
    outcome = regaze("run", study_copy, "--json")
    assert outcome.code == 0, outcome.err
    assert judged == {"models": len(outcome.json["models"]), "pairs": len(outcome.json["paired"])}
    assert len(predicted) >= 3 * len(open_quietly(study_copy).test()), "every model saw the photographs of the test"
    assert set(predicted.values()) == {1}
    page = (study_copy / "report.html").read_bytes()

    predicted.clear()
    assert regaze("run", study_copy).code == 0
    assert not predicted, "what is kept is not predicted again"
    assert (study_copy / "report.html").read_bytes() == page


def test_a_report_alone_judges_once(study_copy, regaze, tiny, predicted, judged):
    """`report` judges what is not judged yet, and shows the photographs from what was predicted then."""
    shutil.rmtree(study_copy / "evaluation")
    assert regaze("report", study_copy, *tiny["machine"], *tiny["evaluation"]).code == 0
    assert judged == {"models": 3, "pairs": 3}
    assert set(predicted.values()) == {1}


def test_maps_that_nobody_kept_are_predicted_once(study_copy, regaze, open_quietly, predicted):
    """Where an earlier version kept no maps, they alone are made; a damaged file counts as none."""
    report = study_copy / "report.html"
    page = regaze("run", study_copy) and report.read_bytes()
    files = sorted((study_copy / "evaluation" / "test").glob("*.safetensors"))
    assert len(files) == 3
    files[0].unlink()
    files[1].write_bytes(b"damaged")
    files[2].write_bytes(files[2].read_bytes()[:-8])
    predicted.clear()
    assert regaze("run", study_copy).code == 0
    assert len(predicted) == 2 * len(open_quietly(study_copy).test()), "of the two models that the report shows"
    assert set(predicted.values()) == {1}
    assert report.read_bytes() == page


def test_a_small_case_loses_no_lesion():
    """One lesion pixel in 512 is still marked at 128; a case that is small already stays as it is."""
    mask = np.zeros((512, 512), bool)
    mask[300, 77] = True
    seen = View(0, 0.5, [0.5, 0.5], np.full((512, 512), 0.25, np.float32), [np.ones((8, 8), np.float32)])
    seen = dataclasses.replace(seen, evidence={0: np.zeros((512, 512), np.float32)})
    one = Case("a", 0, np.full((512, 512, 3), 90, np.uint8), mask, "masks", seen, seen)
    small = one.reduced(128)
    assert small.photo.shape == (128, 128, 3)
    assert small.lesions.sum() == 1
    assert small.lesions[75, 19]
    np.testing.assert_allclose(small.after.fused, 0.25)
    assert (small.after.scales, small.after.evidence, small.after.grade) == ([], {}, 0)
    assert small.reduced(128) is small
