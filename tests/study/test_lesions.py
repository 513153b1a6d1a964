"""What counts as known about lesions, and what an expert's word follows from it."""

import csv
import shutil

import numpy as np
import pytest

from regaze.data.images import photo_size
from regaze.records import Sample
from regaze.study.lesions import enlarge, lesion_status, mean_targets, targets


def sample(origin, label, boxes=()):
    """A photograph of which only the lesions count."""
    return Sample("a", "a.png", label, origin=origin, boxes=boxes)


@pytest.mark.parametrize(
    ("origin", "label", "has_lesions", "sound", "expected"),
    [
        ("masks", 2, True, 0, "lesions"),
        ("boxes", 0, True, 0, "lesions"),
        ("masks", 0, False, 0, "free"),
        ("boxes", 0, False, 0, "free"),
        ("masks", 2, False, 2, "free"),
        ("masks", 0, False, 2, "unknown"),
        ("boxes", 2, False, 0, "unknown"),
        ("masks", 1, False, 0, "unknown"),
        ("boxes", None, False, 0, "free"),
        ("boxes", None, False, None, "free"),
        ("masks", 0, False, None, "unknown"),
        ("boxes", 2, False, None, "unknown"),
        ("none", 0, False, 0, "unknown"),
        ("none", 3, False, 0, "unknown"),
    ],
)
def test_lesion_status(origin, label, has_lesions, sound, expected):
    """Free of lesions is claimed only where somebody looked and the class is the sound one, or there is no grade."""
    assert lesion_status(sample(origin, label), has_lesions, sound) == expected


def test_targets_by_hand():
    """A cell of the target holds the largest mark below it; the mean is over photographs with lesions alone."""
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[0, 0, 0] = True
    masks[2, :2] = True
    found = targets(masks, [(2, 2), (1, 1)])
    assert [item.shape for item in found] == [(3, 2, 2), (3, 1, 1)]
    assert found[0][1].max() == 0
    assert found[0][2, 0].min() > found[0][2, 1].max()
    means = mean_targets(masks, [(2, 2)])
    np.testing.assert_allclose(means[0], (found[0][0] + found[0][2]) / 2)
    assert mean_targets(masks[1:2], [(2, 2)])[0].tolist() == [[0, 0], [0, 0]]


def test_training_masks_are_those_that_mark_something(finished, open_quietly, parts_read):
    """Bit by bit what the photographs' masks say, at a side that is no multiple of eight; kept after the first call."""
    study = open_quietly(finished)
    wanted = study.pixels(study.training(0), 60).union
    wanted = wanted[wanted.any(axis=(1, 2))]
    assert 0 < len(wanted) < len(study.training(0))
    for _ in range(2):
        np.testing.assert_array_equal(study.training_masks(0, 60), wanted)
    assert len(parts_read) == 2


def test_enlarge_keeps_places():
    """An enlarged map is as large as asked for, and a cell stays over its own quarter."""
    maps = np.array([[[0, 0], [0, 1]]], dtype=np.float32)
    large = enlarge(maps, 8)
    assert large.shape == (1, 8, 8)
    assert large[0, 6:, 6:].min() == 1
    assert large[0, :2].max() == 0


@pytest.fixture
def boxed(finished, tmp_path, table_of, regaze, tiny):
    """A study with a clinician's boxes: one photograph with a box, two without any (grades 0 and above), one unknown.

    Its model is the finished study's, which saves the training.
    """
    source = table_of(tmp_path / "all.csv", lambda row: row)
    with source.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "training"]
    healthy = [row for row in rows if row["label"] == "0"]
    sick = [row for row in rows if row["label"] != "0"]
    stems = {row["image"].rsplit("/", 1)[1].removesuffix(".jpg"): row for row in (sick[0], sick[1], healthy[0])}
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for place, stem in enumerate(stems):
        (boxes / f"{stem}.txt").write_text("0 0.5 0.25 0.2 0.1\n" if place == 0 else "")
    (boxes / "classes.txt").write_text("haemorrhages\n")
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", "patient"])
        writer.writerows([row["image"], row["label"], row["patient"]] for row in rows)
    folder = tmp_path / "boxed"
    made = regaze("init", folder, "--data", f"csv:{table}", "--boxes", boxes, "--size", "64", "--json")
    assert made.code == 0, made.err
    assert made.json["origins"] == {"boxes": 3, "none": len(rows) - 3}
    shutil.copytree(finished / "models" / "multi-scale", folder / "models" / "multi-scale")
    return folder, list(stems)


def test_boxes_become_corrections(boxed, regaze, tiny, open_quietly):
    """A box is what the expert says; no box beside a grade above 0 is no word at all, beside grade 0 it is one."""
    folder, (with_box, sick, healthy) = boxed
    study = open_quietly(folder)
    ids = {item.image.stem: item.id for item in study.dataset.samples}
    study.split |= {ids[stem]: 1 for stem in (with_box, sick, healthy)}  # in the training part, whatever the seed
    from regaze.models.options import MachineOptions
    from regaze.study.options import CorrectOptions, SelectOptions
    from regaze.study.steps.collect import collect, read_collected
    from regaze.study.steps.correct import correct, select

    collect(study, "multi-scale", MachineOptions(precision="fp32", workers=1))
    collected = {item.sample: item for item in read_collected(study, "multi-scale", 0)}
    assert collected[ids[with_box]].enrichment is not None
    assert collected[ids[with_box]].squared_error is not None
    assert collected[ids[sick]].squared_error is None
    assert collected[ids[sick]].diagnosis in ("misgraded", "unknown")
    assert (collected[ids[healthy]].enrichment, collected[ids[healthy]].squared_error is None) == (None, False)

    select(study, "multi-scale", SelectOptions(by="random"))
    chosen = study.store.latest_selection("multi-scale/fold0").samples
    counts = correct(study, "multi-scale", CorrectOptions(source="boxes", healthy=True, author="clinician"))
    stored = {entry.sample: study.store.correction(entry.id) for entry in study.store.correction_index()}
    assert ids[sick] in chosen
    assert set(stored) == ({ids[with_box]} & set(chosen)) | {ids[healthy]}
    assert counts["written"] == len(stored)
    assert counts["healthy"] == 1
    assert {item.author for item in stored.values()} == {"clinician"}
    assert not stored[ids[healthy]].look.any()
    width, height = photo_size(study.dataset.samples[0].image)
    look = stored[ids[with_box]].look
    assert look.shape == (height, width)
    rows, columns = np.nonzero(look)
    assert (columns.min() / width, (columns.max() + 1) / width) == pytest.approx((0.4, 0.6), abs=2 / width)
    assert (rows.min() / height, (rows.max() + 1) / height) == pytest.approx((0.2, 0.3), abs=2 / height)
    again = correct(study, "multi-scale", CorrectOptions(source="boxes", healthy=True))
    assert (again["written"], again["kept"]) == (0, len(stored))


def test_without_healthy_nothing_is_said_of_the_healthy(boxed, open_quietly):
    """Unless asked for, a photograph free of lesions gets no correction."""
    from regaze.models.options import MachineOptions
    from regaze.study.options import CorrectOptions, SelectOptions
    from regaze.study.steps.collect import collect
    from regaze.study.steps.correct import correct, select

    study = open_quietly(boxed[0])
    collect(study, "multi-scale", MachineOptions(precision="fp32", workers=1))
    select(study, "multi-scale", SelectOptions(by="random"))
    correct(study, "multi-scale", CorrectOptions(healthy=False))
    assert all(study.store.correction(entry.id).look.any() for entry in study.store.correction_index())
