"""What is measured on each photograph beyond its grade: lesions lit, overlap, reference rankings, sanity."""

import json
import re

import numpy as np
import pytest
from scipy import ndimage

from regaze.data.geometry import Geometry
from regaze.data.pixels import Pixels
from regaze.records import LESION_TYPES


@pytest.fixture
def evaluate(regaze, tiny):
    """A function that calls `regaze evaluate`."""

    def call(folder, *more):
        return regaze("evaluate", folder, *tiny["machine"], *tiny["evaluation"], *more)

    return call


@pytest.fixture(scope="module")
def rows_of(finished):
    """A function: model -> its records on the test part, as they lie in the file."""
    return lambda name: json.loads((finished / "evaluation" / "test" / f"{name}.json").read_text())["photographs"]


def test_lesions_are_counted_by_type(finished, rows_of, open_quietly):
    """The lesions found are those that the masks hold, component by component; a photograph without any has none."""
    study = open_quietly(finished)
    pixels = study.pixels(study.test(), 64)
    rows = rows_of("multi-scale")
    assert any(row["lesions"] for row in rows)
    for row, plane in zip(rows, pixels.lesions, strict=True):
        expected = {
            kind: ndimage.label(plane >> bit & 1, structure=np.ones((3, 3)))[1]
            for bit, kind in enumerate(LESION_TYPES)
            if (plane >> bit & 1).any()
        }
        if not expected:
            assert (row["lesions"], row["overlap"]) == (None, None)
            continue
        assert row["lesions"]["origin"] == "masks"
        found = {kind: sum(sizes.values()) for kind, sizes in row["lesions"]["found"].items()}
        assert found == expected


def test_lit_lesions_follow_from_the_map(finished, rows_of, open_quietly):
    """How many lesions a scale lights is counted again by a plain loop over the map's largest pixels."""
    from regaze.models.folder import load_model
    from regaze.models.options import MachineOptions
    from regaze.study.lesions import enlarge

    study = open_quietly(finished)
    predictor, _ = load_model(study.model_folder("multi-scale", 0), MachineOptions(precision="fp32"))
    pixels = study.pixels(study.test(), 64)
    scale = enlarge(predictor.predict(pixels.images).maps[0], 64)
    checked = 0
    for row, plane, one in zip(rows_of("multi-scale"), pixels.lesions, scale, strict=True):
        if row["lesions"] is None or row["maps"]["scale1"]["dead"]:
            continue
        lit = one >= np.sort(one, axis=None)[-round(0.05 * 64 * 64)]
        for bit, kind in enumerate(LESION_TYPES):
            labels, n = ndimage.label(plane >> bit & 1, structure=np.ones((3, 3)))
            expected = sum(lit[labels == place + 1].mean() for place in range(n))
            found = sum(row["lesions"]["lit"]["scale1"].get(kind, {}).values())
            assert found == pytest.approx(expected, abs=0.3), "equal but for pixels whose last bits differ"
            checked += n
    assert checked


def test_figures_add_up_the_records(finished_run, rows_of):
    """Recall is lit lesions over lesions, pooled; chance stands beside it; IoU is the mean of the records'."""
    for name, figures in finished_run[1].json["models"].items():
        lesions = [row["lesions"] for row in rows_of(name) if row["lesions"]]
        recall = figures["lesion_recall"]
        assert (recall["budget"], recall["chance"]) == (0.05, pytest.approx(0.05, abs=1e-3))
        assert recall["boxes"]["all"]["n_lesions"] == 0
        everything = recall["masks"]["all"]
        n = sum(sum(sizes.values()) for one in lesions for sizes in one["found"].values())
        assert (everything["n_lesions"], everything["n_used"]) == (n, len(lesions))
        assert everything["n_used"] + everything["n_skipped"] == len(rows_of(name))
        for scale, found in everything["recall"].items():
            lit = sum(sum(sizes.values()) for one in lesions for sizes in one["lit"][scale].values())
            assert found["share"] == pytest.approx(lit / n)
            assert figures["iou"][scale]["n_used"] == len(lesions)
        for group in ("types", "sizes"):
            assert sum(entry["n_lesions"] for entry in recall["masks"][group].values()) == n


def test_threshold_comes_from_the_validation_part(finished, finished_run, rows_of, open_quietly):
    """The test part's threshold is the best one of the validation photographs, and the figure is taken there."""
    from regaze.evaluation.overlap import THRESHOLDS

    study = open_quietly(finished)
    (file,) = (finished / "evaluation" / "thresholds").glob("multi-scale-????????.json")
    curves = json.loads(file.read_text())["curves"]["fused"]
    masks = study.pixels(study.validation(0), 64).union
    assert len(curves) == masks.any(axis=(1, 2)).sum() > 0
    best = int(np.mean(curves, axis=0).argmax())
    figure = finished_run[1].json["models"]["multi-scale"]["iou"]["fused"]
    assert figure["thresholds"] == [THRESHOLDS[best]]
    values = [row["overlap"]["fused"][best] for row in rows_of("multi-scale") if row["overlap"]]
    assert figure["mean"] == pytest.approx(np.mean(values))


def test_no_photograph_has_a_say_in_its_own_threshold(finished, open_quietly):
    """One fixed validation part: the threshold comes from the training part; copies in other data are left out."""
    from regaze.study.assessment.thresholds import _choosing

    study = open_quietly(finished)
    contents = {sample.content for sample in study.validation(0)}
    assert {sample.id for sample in _choosing(study, 0, set())} <= {sample.id for sample in study.validation(0)}
    chosen = _choosing(study, 0, contents)
    assert chosen
    assert {sample.id for sample in chosen} <= {sample.id for sample in study.training(0)}
    assert _choosing(study, 0, {sample.content for sample in study.dataset.samples}) == []


def test_folds_choose_for_each_other():
    """Of a cross-validated part each fold is judged at the threshold that is best on the others."""
    from regaze.evaluation.overlap import THRESHOLDS
    from regaze.study.assessment.thresholds import add_iou

    def row(best, value):
        curve = [0.0] * len(THRESHOLDS)
        curve[best] = value
        return {"overlap": {"fused": curve}, "maps": {"fused": {}}}

    folds = [[row(5, 0.9)], [row(8, 0.7), {"overlap": None, "maps": {"fused": {}}}], [row(8, 0.6)]]
    add_iou(None, "model", None, [], folds, crossed=True)
    assert [[one["maps"]["fused"]["iou_threshold"] for one in fold] for fold in folds] == [
        [THRESHOLDS[8]],
        [THRESHOLDS[5]] * 2,
        [THRESHOLDS[5]],
    ]
    assert [[one["maps"]["fused"]["iou"] for one in fold] for fold in folds] == [[0.0], [0.0, None], [0.0]]
    assert not any("overlap" in one for fold in folds for one in fold)


def test_reference_rankings_and_sanity(study_copy, evaluate):
    """On as many photographs as asked for: the reference rankings, paired with the map, and both sanity checks."""
    before = (study_copy / "models" / "multi-scale" / "fold0" / "model.safetensors").read_bytes()
    outcome = evaluate(study_copy, "--faithfulness", "6", "--reference-rankings", "6", "--sanity", "2", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    for name, figures in result["models"].items():
        found = figures["faithfulness"]
        names = ["fused", "another", "turned", "mirrored", "random", "centre", "blurred-random", "lesions"]
        assert list(found["all"]) == names
        assert {entry["n_used"] for name, entry in found["all"].items() if name != "lesions"} == {6}
        assert found["all"]["fused"]["relative_insertion"]["mean"] == pytest.approx(figures["relative_insertion"])
        assert figures["relative_insertion"] > figures["insertion"]
        assert found["all"]["fused"]["deletion"]["mean"] == pytest.approx(figures["deletion"])
        assert found["all"]["random"]["n_used"] == 6
        lesions = found["all"]["lesions"]
        assert lesions["n_used"] == figures["lesion_recall"]["masks"]["all"]["n_used"]
        assert lesions["n_used"] + lesions["n_skipped"] == 6
        assert found["without_grade_0"]["fused"]["n_used"] < 6
        against = found["all"]["random"]["against"]["insertion"]
        assert against["difference"] == pytest.approx(
            found["all"]["fused"]["insertion"]["mean"] - found["all"]["random"]["insertion"]["mean"]
        )
        sanity = figures["sanity"]
        assert set(sanity["stability"]) == {"flip", "shift", "noise"}
        stages = sanity["randomisation"]
        assert next(iter(stages)) == "heads"
        assert list(stages)[-1] == "block1"
        if name != "plain":
            assert stages["heads"]["ssim"]["mean"] == pytest.approx(1), "no head lies below an attention map"
            assert stages["block1"]["ssim"]["mean"] < 0.999
        assert stages["block1"]["spearman"]["n_used"] + stages["block1"]["spearman"]["n_skipped"] == 6
    assert "Reference rankings of deletion and insertion over 6 of these photographs." in result["notes"]
    assert any(note.startswith("Sanity checks of the fused map over 2 photographs") for note in result["notes"])
    assert (study_copy / "models" / "multi-scale" / "fold0" / "model.safetensors").read_bytes() == before


def test_the_same_rankings_for_every_model(study_copy, evaluate, monkeypatch):
    """Orders drawn by lot are the same for each model, another for each photograph, and the same when asked again."""
    from regaze.evaluation.reference_rankings import RANKINGS
    from regaze.study.assessment import measure

    drawn = []

    def recorded(make):
        def order(*arguments):
            found = make(*arguments)
            drawn.append(np.array(found).tobytes())
            return found

        return order

    random = {name: recorded(make) if name == "random" else make for name, make in RANKINGS.items()}
    monkeypatch.setattr(measure, "RANKINGS", random)
    models = len(evaluate(study_copy, "--reference-rankings", "2", "--json").json["models"])
    assert models > 1
    assert len(drawn) == 2 * models
    assert drawn == drawn[:2] * models
    assert drawn[0] != drawn[1]
    file = study_copy / "evaluation" / "test" / "multi-scale.json"
    first = json.loads(file.read_text())["photographs"]
    file.unlink()
    evaluate(study_copy, "--reference-rankings", "2", "--json")
    again = json.loads(file.read_text())["photographs"]
    assert [row["faithfulness"] for row in again] == [row["faithfulness"] for row in first]
    assert sum(row["faithfulness"] is not None for row in first) == 2


def test_another_photographs_map_is_of_the_same_model(finished, open_quietly):
    """`another` is the mean over three strangers' fused maps of the same model; turned and mirrored are the own map."""
    from regaze.evaluation.faithfulness import Procedure, compare_orders
    from regaze.models.folder import load_model
    from regaze.models.options import MachineOptions
    from regaze.study.assessment.ensemble import Ensemble
    from regaze.study.assessment.measure import measure_faithfulness

    study = open_quietly(finished)
    member = load_model(study.model_folder("multi-scale", 0), MachineOptions(precision="fp32"))[0]
    ensemble, samples = Ensemble((member,)), study.test()
    pixels = study.pixels(samples, 64)
    said = ensemble.predict(pixels.images)
    rows, procedure = [{} for _ in samples], Procedure(n_steps=4, patch=8)
    known = np.zeros(len(samples), dtype=bool)
    count = len(samples)
    nothing = (count, count, lambda *_: None)
    measure_faithfulness(rows, samples, ensemble, pixels, known, said.probabilities, procedure, *nothing)
    followed = said.probabilities.argmax(axis=1)
    everyone = ensemble.order(pixels.images, followed)
    unlike = 0
    for index, row in enumerate(rows):
        record = row["faithfulness"]
        strangers = [
            other
            for other, sample in enumerate(samples)
            if sample.patient != samples[index].patient and sample.content != samples[index].content
        ]
        alike = [other for other in strangers if followed[other] == followed[index]]
        assert record["others"] == {"drawn": 3, "of_another_grade": max(0, 3 - len(alike))}
        unlike += record["others"]["of_another_grade"]
        image = ensemble.members[0].normalise(pixels.images[index : index + 1])

        def area(order, image=image, index=index):
            found = compare_orders(
                ensemble.scores, image, {"map": order[None].copy()}, procedure, classes=followed[index : index + 1]
            )["map"]
            return pytest.approx([found.deletion[0], found.insertion[0]], abs=1e-4)

        own = everyone[index]
        for name, order in (("fused", own), ("turned", own[::-1, ::-1]), ("mirrored", own[:, ::-1])):
            assert [record["maps"][name][key] for key in ("deletion", "insertion")] == area(order)
        candidates = {other: area(everyone[other]).expected for other in (alike if len(alike) >= 3 else strangers)}
        means = [record["maps"]["another"][key] for key in ("deletion", "insertion")]
        lows, highs = (np.sort(np.array(list(candidates.values())), axis=0)[part] for part in (0, -1))
        assert (lows - 1e-4 <= means).all()
        assert (means <= highs + 1e-4).all()
        assert record["curves"]["another"]["deletion"][0] == pytest.approx(record["curves"]["fused"]["deletion"][0])
    assert unlike < 3 * len(samples), "some are graded alike"


def test_maps_of_other_grades_are_counted_in_the_notes():
    """A reader learns how many other photographs' maps are not of the same predicted grade; where none is, nothing."""
    from regaze.study.assessment.summary import _other_notes

    def row(others):
        return {"faithfulness": {"others": others}}

    drawn = [row({"drawn": 3, "of_another_grade": n}) for n in (0, 2)]
    rows = {"a": [*drawn, row(None), {"faithfulness": None}], "b": drawn[:1]}
    (note,) = _other_notes(rows)
    assert note == "Of the other photographs' maps up to 2 of a model's 6 are of another predicted grade."
    assert _other_notes({"b": drawn[:1], "c": [row(None)]}) == []


def test_inpainting_is_the_default(study_copy, evaluate):
    """By default what deleted pixels leave is filled from around them; the notes say so, insertion stays as it was."""
    before = evaluate(study_copy, "--deletion-substrate", "grey", "--json").json
    after = evaluate(study_copy, "--json").json
    assert "Deleted pixels become what is left around them; insertion starts from blur." in after["notes"]
    one, other = (result["models"]["multi-scale"] for result in (before, after))
    assert one["deletion"] != other["deletion"]
    assert one["insertion"] == pytest.approx(other["insertion"], abs=1e-5)


def test_records_of_an_earlier_format_are_judged_anew(study_copy, evaluate):
    """A file of records without the reference rankings of today, under another key, is replaced and not read."""
    file = study_copy / "evaluation" / "test" / "multi-scale.json"
    values = json.loads(file.read_text())
    for one in values["photographs"]:
        one["faithfulness"] = one["faithfulness"] and {"followed": 0, "maps": {}, "curves": {}}
        one.pop("relative_deletion")
    file.write_text(json.dumps(values | {"key": "earlier"}))
    found = evaluate(study_copy, "--json")
    assert found.code == 0, found.err
    assert found.json["models"]["multi-scale"]["relative_deletion"] is not None


@pytest.fixture
def ensemble_of():
    """A function: kind of network -> an ensemble of one small network, drawn by lot."""
    from regaze.models.build import build_network
    from regaze.models.options import MachineOptions, NetworkOptions
    from regaze.models.predictor import Predictor
    from regaze.study.assessment.ensemble import Ensemble

    def make(kind):
        network = build_network(NetworkOptions(kind, "test_resnet"), 5, 64).network
        machine = MachineOptions(precision="fp32", device="cpu")
        return Ensemble((Predictor(network, (0.5,) * 3, (0.25,) * 3, "median", machine),))

    return make


@pytest.mark.parametrize(("kind", "by"), [("plain", "cam"), ("multi-scale", "attention")])
def test_pixels_are_ranked_before_they_are_flattened(ensemble_of, kind, by):
    """Evidence against the class, which the shown map cuts to zero, and a saturated map still rank every pixel."""
    import torch

    from regaze.evaluation.faithfulness import Procedure, compare_orders
    from regaze.explanation.explainers import explain
    from regaze.study.assessment.measure import measure_faithfulness

    torch.manual_seed(0)
    ensemble = ensemble_of(kind)
    network = ensemble.members[0].network
    with torch.no_grad():
        if kind == "plain":
            network.classify.weight[3] = -network.classify.weight[3].abs()
            network.classify.bias[3] = 100.0
        else:
            for branch in network.attention:
                branch.map.bias += 30.0
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    said = ensemble.predict(images)
    assert len(np.unique(said.fused)) == 1, "the shown map is flat"
    followed = said.probabilities.argmax(axis=1)
    order = ensemble.order(images, followed)
    assert len(np.unique(order)) > 50
    np.testing.assert_array_equal(order, explain(ensemble.members[0], images, by, followed))
    rows, procedure = [{}, {}], Procedure(n_steps=4, patch=4, deletion="mean")
    pixels = Pixels(images, np.zeros((2, 64, 64), np.uint8), (Geometry(64, 64, 0, 0, 64, 64),) * 2)
    known = np.zeros(2, dtype=bool)
    measure_faithfulness(rows, [], ensemble, pixels, known, said.probabilities, procedure, 2, 0, lambda *_: None)
    found = compare_orders(ensemble.scores, ensemble.members[0].normalise(images), {by: order}, procedure)[by]
    assert [row["deletion"] for row in rows] == pytest.approx(list(found.deletion))
    assert [row["insertion"] for row in rows] == pytest.approx(list(found.insertion))
    assert [row["faithfulness"]["followed"] for row in rows] == list(followed)


def test_patches_and_substrates(study_copy, evaluate):
    """Other substrates and squares give other areas, and the notes name them; a square of no pixel is refused."""
    before = evaluate(study_copy, "--json").json
    given = ("--patch", "8", "--deletion-substrate", "black", "--insertion-substrate", "mean")
    after = evaluate(study_copy, *given, "--json").json
    for measure in ("deletion", "insertion"):
        assert after["models"]["multi-scale"][measure] != before["models"]["multi-scale"][measure]
    assert "Deletion and insertion change squares of 8 pixels as one." in after["notes"]
    assert "Deleted pixels become black; insertion starts from mean." in after["notes"]
    refused = evaluate(study_copy, "--patch", "0")
    assert refused.code == 1
    assert "--patch 0: expected 1 or more" in refused.err


def test_paired_deletion_and_insertion(finished_run, rows_of):
    """Differences between two models are means over the photographs measured with both, grade 0 with and without."""
    pairs = finished_run[1].json["paired"]
    label, pair = next(iter(pairs.items()))
    after, before = label.split(" against ")
    rows = list(zip(rows_of(before), rows_of(after), strict=True))
    for kept, found in ((rows, pair), ([r for r in rows if r[0]["label"]], pair["without_grade_0"])):
        both = [(one, other) for one, other in kept if one["deletion"] is not None]
        for measure in ("deletion", "insertion"):
            assert found[measure]["n_used"] == len(both)
            assert found[measure]["n_skipped"] == len(kept) - len(both)
            if both:
                expected = np.mean([other[measure] - one[measure] for one, other in both])
                assert found[measure]["difference"] == pytest.approx(expected)


def test_paired_recall(finished_run):
    """The difference in recall is that of the two models' recalls, for each type and every shared scale."""
    result = finished_run[1].json
    for label, pair in result["paired"].items():
        after, before = (result["models"][name]["lesion_recall"]["masks"] for name in label.split(" against "))
        assert "fused" in pair["lesion_recall"]
        for scale, kinds in pair["lesion_recall"].items():
            assert set(kinds) == {"all", *after["types"]}
            for kind, found in kinds.items():
                one, other = (
                    (part["all"] if kind == "all" else part["types"][kind])["recall"][scale]["share"]
                    for part in (before, after)
                )
                assert found["difference"] == pytest.approx(other - one)


def test_the_table_shows_recall(study_copy, evaluate):
    """A person sees the share of lesions lit by type, for every map, with chance in the title."""
    out = evaluate(study_copy).out
    title = "share of lesions lit, by type and by size (chance 0.05)"
    assert title in out
    figures = json.loads((study_copy / "evaluation" / "test.json").read_text())["models"]["multi-scale"]
    types = figures["lesion_recall"]["masks"]["types"]
    assert types
    short = {"microaneurysms": "MA", "haemorrhages": "HE", "hard_exudates": "EX", "soft_exudates": "SE"}
    short |= {"neovascularisation": "NV", "lesion": "other"}
    assert re.search(r"┃\s+".join(re.escape(short[kind]) + " " for kind in types), out), "one column per type"
    assert "MA microaneurysms" in out
    assert out.split(title)[1].count("│ fused") == len(list((study_copy / "models").iterdir()))
    assert max(map(len, out.splitlines())) <= 120


def test_the_table_shows_reference_rankings(study_copy, evaluate):
    """Beside deletion and insertion stand the reference rankings, paired; few photographs decide nothing."""
    out = evaluate(study_copy).out
    result = json.loads((study_copy / "evaluation" / "test.json").read_text())
    assert "attention map minus reference ranking (paired), without grade 0" in out
    lines = out.split("attention map minus reference ranking")[1].splitlines()
    for name, figures in result["models"].items():
        rankings = figures["faithfulness"]["without_grade_0"]
        place = next(at for at, line in enumerate(lines) if re.match(rf"│ {re.escape(name)} +│ another photo", line))
        line = lines[place].split("│")
        assert line[3].strip() == str(rankings["another"]["n_used"])
        for cell, measure in zip(line[4:6], ("deletion", "insertion"), strict=True):
            assert f"{rankings['another']['against'][measure]['difference']:+.3f}" in cell
        assert "map turned" in lines[place + 1]
        assert f"{figures['relative_deletion']:.3f}" in out.split("relative: 1 is as sure as")[0]
    patients = next(iter(result["paired"].values()))["kappa"]["n_groups"]
    assert patients < 10
    assert out.count(f"inconclusive ({patients} patients, and 10 are the fewest)") >= len(result["paired"])
    assert not re.search(r": (better|worse)$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 120


def test_lesions_of_unknown_photographs(study_copy, evaluate, table_of, tmp_path):
    """Where nothing is known about lesions nothing is lit, nothing overlaps, and the table is left out."""
    columns = ("image", "label", "patient")
    table = table_of(
        tmp_path / "bare.csv", lambda row: {key: row[key] for key in columns} if row["label"] in "01" else None
    )
    outcome = evaluate(study_copy, "--data", f"csv:{table}", "--allow-overlap", "--json")
    assert outcome.code == 0, outcome.err
    for figures in outcome.json["models"].values():
        recall = figures["lesion_recall"]
        assert recall["chance"] is None
        assert recall["masks"]["all"]["n_lesions"] == 0
        assert recall["masks"]["all"]["recall"]["fused"] == {"share": None, "interval": [None, None]}
        assert (figures["iou"]["fused"]["mean"], figures["iou"]["fused"]["n_used"]) == (None, 0)
    shown = evaluate(study_copy, "--data", f"csv:{table}", "--allow-overlap")
    assert shown.code == 0 and "share of lesions" not in shown.out


def test_layer_groups(finished, open_quietly):
    """Groups run from the output down, name submodules that exist, and cover every parameter once."""
    from regaze.models.folder import load_model
    from regaze.models.options import MachineOptions
    from regaze.study.assessment.measure import layer_groups

    study = open_quietly(finished)
    for name in study.models():
        network = load_model(study.model_folder(name, 0), MachineOptions(precision="fp32"))[0].network
        groups = layer_groups(network)
        parts = [part for _, some in groups for part in some]
        names = [f"{part}.{key}" for part in parts for key, _ in network.get_submodule(part).named_parameters()]
        assert sorted(names) == sorted(key for key, _ in network.named_parameters())
        assert groups[0][0] == "heads"
        assert groups[-1][0] in ("block1", "extractor")
