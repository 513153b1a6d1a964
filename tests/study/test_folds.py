"""Cross-validation: who learns from what, and how the folds' predictions are pooled."""

import json
from collections import Counter

import numpy as np
import pytest


@pytest.fixture(scope="module")
def folds(tmp_path_factory, regaze, tiny, table_of):
    """A study of two folds on a table without a test part, two of whose photographs have no grade."""
    from regaze.study.steps import fold_model, supervision, train

    folder = tmp_path_factory.mktemp("folds")
    ungraded = iter((True, True))
    # A table whose photographs with lesions have no grade twice; the rest as painted.
    table = table_of(
        folder / "table.csv",
        lambda row: {
            **{key: value for key, value in row.items() if key != "split"},
            "label": "" if row["label"] == "2" and next(ungraded, False) else row["label"],
        },
    )
    fed = {}
    original = fold_model.training_set

    def spy(samples, pixels):
        fed.setdefault(tuple(sample.id for sample in samples), 0)
        fed[tuple(sample.id for sample in samples)] += 1
        return original(samples, pixels)

    with pytest.MonkeyPatch.context() as patch:
        for module in (train, supervision):
            patch.setattr(module, "training_set", spy)
        options = [word for word in tiny["run"] if word != tiny["data"] and word != "--data"]
        outcome = regaze("run", folder / "study", "--data", f"csv:{table}", "--folds", "2", *options, "--json")
    assert outcome.code == 0, outcome.err
    return folder / "study", outcome.json, list(fed)


def test_each_photograph_is_judged_once(folds, open_quietly, check_figures):
    """Validation is pooled: every photograph exactly once, by a model that never saw it or its patient."""
    folder, result, fed = folds
    check_figures(result, more=("report", "before", "after", "control"))
    study = open_quietly(folder)
    patients = {sample.id: sample.patient for sample in study.dataset.samples}
    assert len(fed) == 2, "every model of a fold learns from one set"
    assert sorted(result["models"]) == ["multi-scale", "multi-scale-control", "multi-scale-finetuned"]
    for name in result["models"]:
        judged = Counter()
        for fold, learned in enumerate(fed):
            records = json.loads((folder / "evaluation" / "validation" / f"{name}-fold{fold}.json").read_text())
            ids = [row["sample"] for row in records["photographs"]]
            assert not set(ids) & set(learned)
            assert not {patients[item] for item in ids} & {patients[item] for item in learned}
            assert len(ids) + len(learned) == 30
            judged.update(ids)
        assert set(judged) == set(patients)
        assert set(judged.values()) == {1}


def test_two_models_per_method(folds):
    """Each fold has its own model, which says what it learned from; the folds' weights differ."""
    folder, result, fed = folds
    for name in result["models"]:
        cards = [json.loads((folder / "models" / name / f"fold{fold}" / "model.json").read_text()) for fold in (0, 1)]
        assert [card["data"]["fold"] for card in cards] == [0, 1]
        assert [card["data"]["n_training"] for card in cards] == [len(learned) for learned in fed]
        weights = [(folder / "models" / name / f"fold{fold}" / "model.safetensors").read_bytes() for fold in (0, 1)]
        assert weights[0] != weights[1]


def test_ungraded_photographs_count_for_maps_only(folds, open_quietly):
    """A photograph without a grade has no say in kappa, but its lesions have one in the map figures."""
    folder, result, _ = folds
    study = open_quietly(folder)
    ungraded = [sample for sample in study.dataset.samples if sample.label is None]
    assert len(ungraded) == 2
    assert all(sample.masks for sample in ungraded)
    assert (result["n"], result["n_photographs"]) == (28, 30)
    with_lesions = sum(bool(sample.masks) for sample in study.dataset.samples)
    for figures in result["models"].values():
        assert sum(map(sum, figures["confusion"])) == 28
        assert figures["maps"]["fused"]["n_used"] == with_lesions
        assert figures["n_faithfulness"] == 2, "the share of photographs is over all folds"


def test_part_is_validation_and_says_so(folds):
    """Without a test part the figures come from validation, and a note says so."""
    _, result, _ = folds
    assert result["part"] == "validation"
    assert any("no test part" in note and "pooled over 2 folds" in note for note in result["notes"])


def test_corrections_stay_in_their_fold(folds, open_quietly):
    """A fold's model learns from the corrections of its own maps, of photographs of its own training part."""
    folder, _, fed = folds
    study = open_quietly(folder)
    for fold, learned in enumerate(fed):
        card = json.loads((folder / "models" / "multi-scale-finetuned" / f"fold{fold}" / "model.json").read_text())
        corrections = [study.store.correction(number) for number in card["corrections"]["ids"]]
        assert corrections
        assert {item.model for item in corrections} == {f"multi-scale/fold{fold}"}
        assert {item.sample for item in corrections} <= set(learned)
    assert {item.model for item in study.store.correction_index()} == {"multi-scale/fold0", "multi-scale/fold1"}


def test_report_shows_each_photograph_to_models_that_never_saw_it(folds, open_quietly):
    """The report's pictures come from the model of the photograph's own validation fold."""
    from regaze.models.folder import load_model
    from regaze.models.options import MachineOptions
    from regaze.report.assemble import assemble
    from regaze.study.assessment.summary import evaluate
    from regaze.study.options import EvaluateOptions

    folder, _, fed = folds
    study, machine = open_quietly(folder), MachineOptions(precision="fp32", workers=1)
    content = assemble(study, evaluate(study, EvaluateOptions(2, steps=4, resamples=50), machine), machine, ["regaze"])
    models = [load_model(study.model_folder(content.after, fold), machine)[0] for fold in (0, 1)]
    assert {study.split[case.sample] for case in content.cases} == {0, 1}
    for case in (*content.cases, *content.worse_graded, *content.worse_maps):
        own = study.split[case.sample]
        assert case.sample not in fed[own]
        finest = [model.predict(case.photo[None]).maps[0][0] for model in models]
        np.testing.assert_allclose(case.after.scales[0], finest[own], atol=1e-3)
        assert not np.allclose(case.after.scales[0], finest[1 - own], atol=1e-3)
    assert any(case.label is None for case in content.cases) is False, "the gallery goes by grade"
