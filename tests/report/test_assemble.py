"""From a study to the report's content: which photographs are shown, and with which maps."""

import numpy as np
import pytest

from regaze.errors import StudyError
from regaze.models.options import MachineOptions
from regaze.records import Correction
from regaze.report.assemble import _further_off, _gallery, _grade_changes, _map_changes, assemble
from regaze.study.assessment.judge import judge_model
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
    content = assemble(study, JUDGING, MACHINE, ["regaze run x"])
    assert (content.before, content.after, content.control) == (
        "multi-scale",
        "multi-scale-finetuned",
        "multi-scale-control",
    )
    figures = {
        "kappa",
        "enrichment",
        "squared_error",
        "deletion",
        "insertion",
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
    assert content.n_worse_graded == len(content.worse_graded), "each with a picture"
    assert content.n_worse_maps == len(content.worse_maps)
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
    content = assemble(study, JUDGING, MACHINE, [])
    assert (content.before, content.after) == ("multi-scale", "multi-scale-finetuned-2")


def test_nothing_to_report(study_copy, open_quietly):
    """A control alone is no fine-tuned model to report on."""
    import shutil

    shutil.rmtree(study_copy / "models" / "multi-scale-finetuned")
    with pytest.raises(StudyError, match="no fine-tuned model to report on: run `regaze finetune"):
        assemble(open_quietly(study_copy), JUDGING, MACHINE, [])
