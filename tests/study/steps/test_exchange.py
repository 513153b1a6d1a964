"""Corrections in and out of a study, and several experts."""

import json

import numpy as np
import pytest

from regaze.corrections.shapes import rasterise
from regaze.data.images import photo_size
from regaze.records import Correction, DrawnCorrection, Shape
from regaze.study.steps.supervision import author_weights, corrected_set, corrections_of
from regaze.training.options import FinetuneOptions
from regaze.training.targets import render


def square(study, sample, corner, author, mode="replace"):
    """An expert's square, 40 pixels wide."""
    width, height = photo_size(sample.image)
    look = np.zeros((height, width), dtype=bool)
    look[corner : corner + 40, corner : corner + 40] = True
    study.store.add_corrections([Correction(0, sample.id, "multi-scale/fold0", "expert", mode, look, None, author, "")])
    return look


def current(study):
    """The latest correction of each photograph."""
    return {entry.sample: study.store.correction(entry.id) for entry in study.store.correction_index()}


@pytest.mark.parametrize("name", ["png", "coco", "label-studio", "cvat"])
def test_what_goes_out_comes_back(study_copy, regaze, open_quietly, tmp_path, name):
    """Exported and imported again, every photograph's current correction has the same masks and mode."""
    before = current(open_quietly(study_copy))
    out = tmp_path / "out"
    said = regaze("export", study_copy, "--to", out, "--format", name, "--json").json
    assert said["written"] == len(before)
    read = regaze("import", study_copy, out, "--format", name, "--author", "anna", "--json").json
    assert (read["read"], read["written"], read["set_aside"]) == (len(before), len(before), 0)
    after = current(open_quietly(study_copy))
    for sample, correction in before.items():
        assert after[sample].id > correction.id
        assert (after[sample].look == correction.look).all()
        assert (after[sample].mode, after[sample].author) == (correction.mode, correction.author)


def test_a_validation_photograph_is_set_aside(study_copy, regaze, open_quietly, tmp_path):
    """No model may learn from it: it is counted, not stored."""
    study = open_quietly(study_copy)
    own, other = study.training(0)[0], study.validation(0)[0]
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "classes.txt").write_text("lesion\n")
    for sample in (own, other):
        (boxes / f"{sample.image.stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    before = study.store.count()
    said = regaze("import", study_copy, boxes, "--format", "yolo", "--author", "anna", "--json").json
    assert (said["read"], said["written"], said["set_aside"]) == (2, 1, 1)
    assert study.store.count() == before + 1
    stored = current(study)[own.id]
    assert (stored.author, stored.origin, stored.model) == ("anna", "expert", "multi-scale/fold0")
    assert [shape.kind for shape in stored.shapes] == ["box"]


def test_a_file_with_a_mistake_leaves_nothing(study_copy, regaze, open_quietly, tmp_path):
    """One bad line among good ones: refused with its number, nothing imported."""
    study = open_quietly(study_copy)
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "classes.txt").write_text("lesion\n")
    good, bad = study.training(0)[:2]
    (boxes / f"{good.image.stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (boxes / f"{bad.image.stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n0 0.5 half 0.1 0.1\n")
    before = study.store.count()
    outcome = regaze("import", study_copy, boxes, "--format", "yolo")
    assert outcome.code == 1
    assert f"{bad.image.stem}.txt, line 2" in outcome.err
    assert outcome.err.count("\n") == 1
    assert study.store.count() == before


def test_nothing_to_export_is_said(study_copy, regaze, tmp_path):
    """A model without corrections has nothing to write, and nothing is written."""
    outcome = regaze("export", study_copy, "--to", tmp_path / "out", "--model", "plain")
    assert outcome.code == 1
    assert "no correction of plain to export" in outcome.err
    assert not (tmp_path / "out").exists()


def learned(study, options):
    """The training set of fold 0 with its corrections."""
    from regaze.models.card import read_card

    card = read_card(study.model_folder("multi-scale", 0))
    samples = study.training(0)
    entries = corrections_of(study, "multi-scale", 0, options.experts)
    pixels = study.pixels(samples, card.size, 1)
    return corrected_set(study, samples, pixels, entries, options, [2.0, 4.0, 8.0])


def test_several_experts_are_merged(study_copy, open_quietly):
    """`latest` takes the last correction; `majority` what three of five marked; weights are the authors'."""
    study = open_quietly(study_copy)
    sample = study.training(0)[0]
    one = square(study, sample, 100, "anna")  # beside the one that the finished study has from the masks
    square(study, sample, 120, "ben")
    square(study, sample, 100, "dora")
    square(study, sample, 100, "clara")
    last = learned(study, FinetuneOptions(authors=("clara=3", "anna=0.5")))
    geometry = study.pixels([sample], 64).geometries[0]
    assert (last.look[0, 0].numpy() == geometry.mask(one)).all()
    assert last.corrected[0] == 3
    most = learned(study, FinetuneOptions(experts="majority", authors=("clara=3", "anna=0.5")))
    assert (most.look[0, 0].numpy() == geometry.mask(one)).all()
    assert most.corrected[0] == pytest.approx((1 + 0.5 + 1 + 1 + 3) / 5)
    agreed = learned(study, FinetuneOptions(experts="staple"))
    assert agreed.look[0, 0].any()


def test_an_edit_reaches_the_loop_as_an_edit(study_copy, open_quietly):
    """`edit` marks the photograph; tolerance leaves a band in doubt; sizes give one plane per scale."""
    study = open_quietly(study_copy)
    sample = study.training(0)[0]
    square(study, sample, 100, "anna", mode="edit")
    data = learned(study, FinetuneOptions(tolerance=1.0, match_sizes=True))
    assert bool(data.edited[0])
    assert int(data.edited.sum()) == 1
    assert data.look.shape[1] == data.doubt.shape[1] == 3
    assert data.doubt[0].any()


def test_nothing_to_see_may_carry_strokes(study_copy, open_quietly):
    """The map is to be zero but for what was drawn and not erased again; "not here" is zero in a halo too."""
    study = open_quietly(study_copy)
    sample = study.training(0)[0]
    width, height = photo_size(sample.image)
    shapes = (
        Shape("box", "look", ((100, 100), (140, 140))),
        Shape("box", "look", ((200, 200), (300, 300))),
        Shape("box", "avoid", ((140, 100), (150, 140))),
        Shape("box", "erase", ((190, 190), (310, 310))),
    )
    study.store.add_corrections(
        [DrawnCorrection(sample.id, "multi-scale/fold0", "replace", shapes, height, width, "anna")]
    )
    data = learned(study, FinetuneOptions())
    look, avoid = rasterise(shapes, height, width)
    geometry = study.pixels([sample], 64).geometries[0]
    assert (data.look[0, 0].numpy() == geometry.mask(look)).all()
    assert (data.avoid[0].numpy() == geometry.mask(avoid) & ~geometry.mask(look)).all()
    assert data.avoid[0].any()
    assert data.edited is None
    (target,) = render(data.look[:1], data.avoid[:1, None], None, None, [(16, 16)])
    assert target.claim.all()
    assert target.value.max() == 1
    assert not target.value[:, :, 12:].any()


@pytest.mark.parametrize("text", ["anna", "anna=", "=2", "anna=0", "anna=-1", "anna=much", "anna=inf", "anna=nan"])
def test_a_weight_that_is_none_is_refused(text, study_copy, regaze):
    """The message names the option, the value and what is expected, before any work."""
    outcome = regaze("finetune", study_copy, "--authors", text)
    assert outcome.code == 1
    assert f"--authors '{text}': expected NAME=WEIGHT" in outcome.err


def test_weights_by_hand():
    """Names may hold an equals sign; the last weight of a name counts."""
    assert author_weights(["anna=2", "a=b=0.5", "anna=3"]) == {"anna": 3.0, "a=b": 0.5}


def test_shapes_are_kept(study_copy, open_quietly, regaze, tmp_path):
    """A box that came in goes out as a box."""
    study = open_quietly(study_copy)
    sample = study.training(0)[0]
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "classes.txt").write_text("lesion\n")
    (boxes / f"{sample.image.stem}.txt").write_text("0 0.5 0.5 0.25 0.125\n")
    regaze("import", study_copy, boxes, "--format", "yolo", "--author", "anna")
    (shape,) = current(study)[sample.id].shapes
    assert isinstance(shape, Shape)
    out = tmp_path / "coco.json"
    regaze("export", study_copy, "--to", out, "--format", "coco")
    assert json.loads(out.read_text())["annotations"]


def test_agreement_of_experts_and_of_the_model_with_them(study_copy, regaze, open_quietly):
    """Two equal squares agree fully, a shifted one less; the model stands in the same table; empty words agree."""
    study = open_quietly(study_copy)
    first, *others = study.training(0)
    second = next(sample for sample in others if sample.patient != first.patient)
    for sample in (first, second):
        square(study, sample, 100, "anna")
        square(study, sample, 100, "ben")
    square(study, first, 110, "clara")
    found = regaze("agree", study_copy, "--json").json
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    assert (pairs["anna", "ben"]["dice"], pairs["anna", "ben"]["n"]) == (1.0, 2)
    assert 0 < pairs["anna", "clara"]["dice"] < 1
    assert pairs["anna", "clara"]["n"] == 1
    assert pairs["anna", "clara"]["tolerant_dice"] >= pairs["anna", "clara"]["dice"]
    assert 0 <= pairs["anna", "the model"]["dice"] < 1
    assert pairs["anna", "ben"]["dice_interval"] == [1.0, 1.0]
    against = found["model_against_experts"]
    assert (against["n_used"], against["n_groups"]) == (2, 2)
    assert (against["difference"] < 0, found["verdict"]) == (True, "inconclusive"), "two photographs decide nothing"
    shown = regaze("agree", study_copy).out
    assert "agreement on where to look" in shown
    assert "the model" in shown
    assert "against what experts reach among themselves: Dice -" in shown
    assert "inconclusive (" in shown


def test_the_model_is_held_to_what_experts_reach():
    """On photographs of two experts: the model's mean Dice with them less theirs, by patient; 12 patients decide."""
    from regaze.corrections.consensus import agreement
    from regaze.study.assessment.experts import ExpertAgreement, _model_against_experts

    left, right = np.zeros((2, 4, 4), dtype=bool)
    left[:, :2], right[:, 2:] = True, True
    alone = agreement({"anna": left, "the model": right})

    def found(model, patients):
        pairs = agreement({"anna": left, "ben": left, "the model": model})
        return ExpertAgreement([], _model_against_experts([("x", alone), *((name, pairs) for name in patients)]))

    reached, missed = (found(model, "abcdefghijkl") for model in (left, right))
    assert (reached.model_against_experts["n_used"], reached.model_against_experts["n_skipped"]) == (12, 1)
    assert (reached.model_against_experts["difference"], reached.verdict) == (0.0, "equivalent")
    assert (missed.model_against_experts["difference"], missed.verdict) == (-1.0, "worse")
    assert found(right, "abc").verdict == "inconclusive"


def test_the_model_is_cut_at_what_experts_marked():
    """As many pixels as the experts marked in the mean, the highest of them; none where all say nothing."""
    from regaze.study.assessment.experts import _highest

    fused = np.arange(16, dtype=np.float32).reshape(4, 4)
    three, one = np.zeros((2, 4, 4), dtype=bool)
    three[0, :3], one[0, 0] = True, True
    assert np.flatnonzero(_highest(fused, [three, one])).tolist() == [14, 15]
    assert not _highest(fused, [np.zeros((4, 4), dtype=bool)]).any()


def test_agreement_needs_corrections(study_copy, regaze):
    """A model whose maps nobody corrected: one line with the cure."""
    (study_copy / "records.sqlite").unlink()
    outcome = regaze("agree", study_copy)
    assert outcome.code == 1
    assert "Nobody has corrected a map of multi-scale yet" in outcome.err


def boxes_of(study, folder):
    """A YOLO folder with a box on three training photographs; their samples."""
    folder.mkdir()
    (folder / "classes.txt").write_text("lesion\n")
    samples = study.training(0)[:3]
    for sample in samples:
        (folder / f"{sample.image.stem}.txt").write_text("0 0.5 0.5 0.25 0.125\n")
    return samples


def test_an_import_repeated_writes_nothing_twice(study_copy, open_quietly, regaze, tmp_path):
    """Whether the first call was cut off after its write or not; another author's word is another correction."""
    study = open_quietly(study_copy)
    boxes = tmp_path / "boxes"
    boxes_of(study, boxes)
    counts = []
    for author in ("anna", "anna", "ben", "anna"):
        said = regaze("import", study_copy, boxes, "--format", "yolo", "--author", author, "--json").json
        counts.append((said["read"], said["written"], said["there_already"], study.store.count()))
    before = counts[0][3] - 3
    assert counts == [(3, 3, 0, before + 3), (3, 0, 3, before + 3), (3, 3, 0, before + 6), (3, 0, 3, before + 6)]
    assert "3 there already" in regaze("import", study_copy, boxes, "--format", "yolo", "--author", "ben").out
    assert study.store.chain().problems == ()


def test_what_came_in_between_makes_the_same_file_news(study_copy, open_quietly, regaze, tmp_path):
    """An expert who goes back to an earlier drawing has said something new."""
    study = open_quietly(study_copy)
    boxes = tmp_path / "boxes"
    sample, *_ = boxes_of(study, boxes)
    regaze("import", study_copy, boxes, "--format", "yolo", "--author", "anna")
    square(study, sample, 100, "anna")
    said = regaze("import", study_copy, boxes, "--format", "yolo", "--author", "anna", "--json").json
    assert (said["written"], said["there_already"]) == (1, 2)


def test_what_was_left_out_is_said(study_copy, open_quietly, regaze, tmp_path):
    """Strangers and landmarks are counted, on the screen and in the JSON."""
    study = open_quietly(study_copy)
    boxes = tmp_path / "boxes"
    sample, *_ = boxes_of(study, boxes)
    (boxes / "stranger.txt").write_text("0 0.5 0.5 0.25 0.125\n")
    (boxes / "classes.txt").write_text("lesion\noptic disc\n")
    (boxes / f"{sample.image.stem}.txt").write_text("0 0.5 0.5 0.25 0.125\n1 0.5 0.5 0.25 0.125\n")
    assert regaze("import", study_copy, boxes, "--format", "yolo").code == 1
    said = regaze("import", study_copy, boxes, "--format", "yolo", "--skip-unknown", "--author", "anna", "--json").json
    assert (said["read"], said["written"]) == (3, 3)
    assert len(said["notes"]) == 2
    outcome = regaze("import", study_copy, boxes, "--format", "yolo", "--skip-unknown", "--author", "anna")
    assert all(
        note in outcome.out.replace("\n", " ")
        for note in ("Pictures that the study has not, passed over: 1", "optic disc")
    )


def test_a_prefix_is_for_formats_that_name_pictures(study_copy, regaze, tmp_path):
    """Others name their files like photographs."""
    outcome = regaze("export", study_copy, "--to", tmp_path / "out", "--format", "yolo", "--image-prefix", "x/")
    assert outcome.code == 1
    assert "--image-prefix x/: yolo names no pictures, expected one of coco, label-studio, cvat" in outcome.err
    assert not (tmp_path / "out").exists()
    regaze("export", study_copy, "--to", tmp_path / "out", "--format", "label-studio", "--image-prefix", "/data/?d=")
    tasks = json.loads((tmp_path / "out").read_text())
    assert all(task["data"]["image"].startswith("/data/?d=") for task in tasks)
