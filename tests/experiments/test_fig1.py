"""Figure 1: its cells, and its figures from records that are known by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from regaze.errors import OptionError
from regaze.evaluation.proper_scores import ranked_probability_scores
from regaze.experiments import fig1, fig5
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.plan import Grid
from regaze.study.assessment.given_maps import GIVEN
from regaze.study.assessment.measure import OTHERS

OPTIONS = ReproduceOptions(data="synthetic:40", backbones="resnet18", seeds=3, resamples=100, weightings="gate")
ERRORS = {"own": 0.8, "expert": 0.2, "empty": 2.0, "full": 1.5, "another": 1.2}  # of a decided grade


def records(seed, ordinal=True):
    """120 photographs of 60 patients, a fifth of them free of lesions, graded the worse the larger its map's error."""
    rng, rows = np.random.default_rng(seed), []
    for index in range(120):
        label, given = index % 5, {}
        for what in GIVEN:
            centres = label + ERRORS[what] * rng.standard_normal(OTHERS if what == "another" else 1)
            weights = np.exp(-((np.arange(5) - centres[:, None]) ** 2))
            shares = weights / weights.sum(axis=1, keepdims=True)
            given[what] = {"probabilities": shares.tolist(), "grades": shares.argmax(axis=1).tolist()}
        row = {"sample": f"{index}", "patient": f"{index // 2}", "label": label, "lesions": label > 0 or not ordinal}
        rows.append(row | {"given": given})
    return rows


def outcome_of(seeds, ordinal=True):
    """Figure 1 of one and the same records for each of its models."""
    dataset = SimpleNamespace(classes=tuple("abcde"), ordinal=ordinal)
    bench = SimpleNamespace(options=OPTIONS, dataset=dataset, trainings=len(seeds), rows=lambda _: seeds)
    return fig1.make(bench)


@pytest.fixture(scope="module")
def made():
    """The records of three seeds, and what is made of them."""
    seeds = [records(seed) for seed in range(3)]
    return seeds, outcome_of(seeds)


def test_kappa_and_score_by_hand(made):
    """Kappa is scikit-learn's, of several draws over all of them; the score is the mean of the draws' scores."""
    seeds, outcome = made
    for part, chosen in (("known lesions or none", lambda _: True), ("with lesions", lambda row: row["lesions"])):
        kappas, scores = {}, {}
        for what in GIVEN:
            kappas[what], scores[what] = [], []
            for rows in seeds:
                pairs = [(row["label"], grade) for row in rows if chosen(row) for grade in row["given"][what]["grades"]]
                kappas[what].append(cohen_kappa_score(*zip(*pairs, strict=True), weights="quadratic", labels=range(5)))
                each = [
                    ranked_probability_scores([shares], [row["label"]])[0]
                    for row in rows
                    if chosen(row)
                    for shares in row["given"][what]["probabilities"]
                ]
                scores[what].append(np.mean(each))
        for what, words in fig1._MAPS.items():
            figures = outcome.figures[f"gate, phase 1, {words}"]
            assert figures[f"{part}: kappa"].value == pytest.approx(np.mean(kappas[what]))
            assert figures[f"{part}: ranked probability score"].value == pytest.approx(np.mean(scores[what]))
            less = [figures[f"{part}: {measure}, less own's"] for measure in ("kappa", "ranked probability score")]
            if what == "own":
                assert [item.value for item in less] == [None, None]
                continue
            assert less[0].value == pytest.approx(np.mean(kappas[what]) - np.mean(kappas["own"]))
            assert less[1].value == pytest.approx(np.mean(scores[what]) - np.mean(scores["own"]))
            assert all(item.patients == 60 and item.low < item.value < item.high for item in less)
    assert outcome.figures["gate, phase 1, empty"]["known lesions or none: ranked probability score"].n == 360
    assert outcome.figures["gate, phase 1, empty"]["with lesions: ranked probability score"].n == 288


def test_grades_that_change_by_hand(made):
    """Share of the grades, over all draws, that are not those of the model's own map."""
    seeds, outcome = made
    (own,) = {figures["grades changed"].value for name, figures in outcome.figures.items() if "its own" in name}
    assert own == 0
    moved = [
        grade != row["given"]["own"]["grades"][0]
        for rows in seeds
        for row in rows
        for grade in row["given"]["another"]["grades"]
    ]
    found = outcome.figures["gate, phase 1, another photograph's"]["grades changed"].value
    assert found == pytest.approx(np.mean(moved))


def test_claims_are_asked_of_models_that_know_the_experts_maps(made):
    """Teacher maps: four claims, decided by patients and seeds; a model that knows no such maps has figures alone."""
    seeds, outcome = made
    assert {claim.text.split(":")[0] for claim in outcome.claims} == {"gate, corrected, teacher maps"}
    assert [claim.verdict for claim in outcome.claims] == ["holds"] * 4
    assert {(claim.trainings, claim.difference.patients) for claim in outcome.claims} == {(3, 60)}
    turned = {"own": "expert", "expert": "own", "empty": "empty", "full": "full", "another": "another"}
    backwards = [
        [row | {"given": {what: row["given"][turned[what]] for what in GIVEN}} for row in rows] for rows in seeds
    ]
    assert outcome_of(backwards).claims[0].verdict == "does not hold"
    assert {claim.verdict for claim in outcome_of(seeds[:1]).claims} == {"inconclusive"}


def test_the_page_says_what_a_reader_must_know(made):
    """How many photographs, that an empty expert's map gives grade 0 away, how draws count; own has no difference."""
    _, outcome = made
    notes = " ".join(outcome.notes)
    assert "known (288 over all seeds) or known to be absent (72)" in notes
    assert "gives grade 0 away" in notes
    assert "Kappa counts the grades of all draws together" in notes
    assert len(outcome.rows) == 3 * len(GIVEN)
    assert all(len(row) == len(outcome.headers) for row in outcome.rows)
    assert {row[3] for row in outcome.rows if row[1] == "its own"} == {"-"}


def test_classes_without_an_order():
    """They have kappa and no ranked probability score; no class is given away."""
    outcome = outcome_of([records(0, ordinal=False)], ordinal=False)
    assert {row[4] for row in outcome.rows} == {"-"}
    assert "gives grade 0 away" not in " ".join(outcome.notes)
    assert all(float(row[2].split()[0]) for row in outcome.rows)


def test_each_weighting_has_three_trainings():
    """Phase 1 and two that learn from the first step; the paper's weighting shares its own two models with fig5."""
    options = replace(OPTIONS, weightings="gate,residual", seeds=1)
    grid = Grid(options, "f", "fp32", {"regaze": "1"})
    runs = grid.runs(fig1.wants(options))
    kinds = [run.kind for run in runs]
    assert {kind: kinds.count(kind) for kind in kinds} == {"phase1": 2, "finetune": 1, "supervise": 4, "given": 7}
    assert len({run.parent for run in runs}) == 2
    shared = {run.id for run in runs} & {run.id for run in grid.runs(fig5.wants(options))}
    assert {run.kind for run in runs if run.id in shared} == {"phase1", "finetune"}
    seen = set()
    for run in runs:
        assert run.kind == "phase1" or (run.model if run.kind == "given" else run.parent) in seen
        seen.add(run.model)
    names = [cell.name for cell in fig1.models(options).values()]
    assert names == [
        "resnet18-multi-scale",
        "resnet18-multi-scale-finetuned",
        "resnet18-multi-scale-supervised",
        "resnet18-multi-scale-supervised-teacher50",
        "resnet18-multi-scale-gate",
        "resnet18-multi-scale-gate-supervised",
        "resnet18-multi-scale-gate-supervised-teacher50",
    ]


@pytest.mark.parametrize("changed", [{"epochs": 3}, {"batch": 8}, {"size": 64}, {"weights": "resnet18=hub"}])
def test_ids_depend_on_all_that_decides_the_result(changed):
    """Recipe, size and weights change the id of a model that learned from the first step; fine-tuning's do not."""
    want = fig1.wants(OPTIONS)[-1]

    def ids(options):
        return {run.id for run in Grid(options, "f", "fp32", {"regaze": "1"}).chain(want, 0)}

    assert len(ids(OPTIONS)) == 3
    assert not ids(OPTIONS) & ids(replace(OPTIONS, **changed))
    assert ids(OPTIONS) == ids(replace(OPTIONS, finetune_epochs=99, map_weight=9.0, weightings="gate,evidence"))


@pytest.mark.parametrize("given", ["", "gate,none", ","])
def test_weightings_that_are_not_there(given):
    """Refused by name, with those that are."""
    with pytest.raises(OptionError, match=r"--weightings .*: expected one or more of residual, gate, evidence"):
        replace(OPTIONS, weightings=given).check()
    assert replace(OPTIONS, weightings="evidence, residual,evidence").weighting_names() == ("residual", "evidence")
