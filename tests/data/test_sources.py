"""One door to all photographs; what leaves it is complete."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.data.sources import fingerprint, load_dataset
from regaze.errors import DataError
from regaze.records import Box

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def picture(path: Path, seed: int) -> Path:
    """Write a picture of coarse seeded noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(cells).resize((240, 160), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, three photographs; R1/c shows the picture of R0/a, re-encoded."""
    picture(tmp_path / "set" / "R0" / "P1_a.png", 1)
    picture(tmp_path / "set" / "R0" / "P2_b.png", 2)
    (tmp_path / "set" / "R1").mkdir()
    with Image.open(tmp_path / "set" / "R0" / "P1_a.png") as image:
        image.save(tmp_path / "set" / "R1" / "P3_c.jpg", quality=80)
    return tmp_path / "set"


def test_folder_is_completed(folder):
    """Contents, twins, patients, fingerprint and notes are filled in, with boxes if given."""
    dataset = load_dataset(f"folder:{folder}", patient="^(P.)")
    assert dataset.spec == f"folder:{folder}"
    assert [(s.id, s.twin, s.patient) for s in dataset.samples] == [
        ("R0/P1_a", "R0/P1_a", "P1"),
        ("R0/P2_b", None, "P2"),
        ("R1/P3_c", "R0/P1_a", "P3"),
    ]
    assert len({s.content for s in dataset.samples}) == 3
    assert "One picture, different labels: R0/P1_a R0, R1/P3_c R1." in dataset.notes
    boxes = folder.parent / "boxes"
    boxes.mkdir()
    (boxes / "classes.txt").write_text("exudate")
    (boxes / "P2_b.txt").write_text("0 .5 .5 .2 .2")
    with_boxes = load_dataset(f"folder:{folder}", boxes=boxes)
    assert [s.origin for s in with_boxes.samples] == ["none", "boxes", "none"]
    assert any(note.startswith("Boxes: 1 files") for note in with_boxes.notes)


def test_fingerprint_follows_the_data_and_not_the_place(folder):
    """The same data elsewhere have the same fingerprint; whatever matters changes it."""
    first = load_dataset(f"folder:{folder}")
    moved = folder.rename(folder.parent / "moved")
    second = load_dataset(f"folder:{moved}")
    assert second.fingerprint == first.fingerprint
    assert len(first.fingerprint) == 32
    one, *others = second.samples
    mask = picture(folder.parent / "mask.png", 5)
    changes = [
        {"id": "x"},
        {"content": "x"},
        {"label": 1},
        {"label": None},
        {"part": "test"},
        {"patient": "p"},
        {"twin": None},
        {"origin": "masks"},
        {"masks": {"lesion": (mask,)}},
        {"masks": {"haemorrhages": (mask,)}},
        {"boxes": (Box("lesion", 0, 0, 0.5, 0.5),)},
    ]
    prints = [fingerprint(second.classes, [replace(one, **change), *others]) for change in changes]
    prints += [
        fingerprint(("R0", "R2"), second.samples),
        fingerprint(second.classes, others),
        second.fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    before = fingerprint(second.classes, [replace(one, masks={"lesion": (mask,)})])
    picture(mask, 6)
    assert fingerprint(second.classes, [replace(one, masks={"lesion": (mask,)})]) != before


def test_csv(folder):
    """A table is read through the same door, the patient being a column of it."""
    (folder / "t.csv").write_text("image,label,who\nR0/P1_a.png,0,x\nR0/P2_b.png,1,y\n")
    dataset = load_dataset(f"csv:{folder / 't.csv'}", patient="who")
    assert [(s.id, s.patient) for s in dataset.samples] == [("R0/P1_a", "x"), ("R0/P2_b", "y")]
    assert dataset.fingerprint


def test_picture_in_training_and_test_is_noted(folder):
    """A table that puts one picture into both parts is told so."""
    (folder / "t.csv").write_text("image,label,split\nR0/P1_a.png,0,train\nR0/P2_b.png,1,train\nR1/P3_c.jpg,0,test\n")
    notes = load_dataset(f"csv:{folder / 't.csv'}").notes
    assert "R0/P1_a and R1/P3_c are one picture, in training and in test." in notes


def test_synthetic(tmp_path):
    """Synthetic photographs are painted once, have five grades whatever their number, patients and masks."""
    heard: list[tuple[int, int]] = []
    dataset = load_dataset("synthetic:6", folder=tmp_path, seed=3, progress=lambda *numbers: heard.append(numbers))
    assert (dataset.classes, dataset.ordinal) == (("0", "1", "2", "3", "4"), True)
    assert (len(dataset.samples), heard[0]) == (6, (1, 6))
    assert {s.origin for s in dataset.samples} == {"masks"}
    assert all(s.patient for s in dataset.samples)
    assert [s.twin for s in dataset.samples] == [None] * 6
    written = sorted(path for path in tmp_path.rglob("*.jpg"))
    assert len(written) == 6
    assert {path.relative_to(tmp_path).parts[0] for path in written} == {"synthetic-6-seed3"}
    before = [path.stat().st_mtime_ns for path in written]
    assert load_dataset("synthetic:6", folder=tmp_path, seed=3).fingerprint == dataset.fingerprint
    assert [path.stat().st_mtime_ns for path in written] == before


def test_synthetic_simple(tmp_path):
    """The simple task has three grades, a folder of its own beside the clinical set, and lesions by grade."""
    dataset = load_dataset("synthetic-simple:14", folder=tmp_path, seed=3)
    assert (dataset.classes, dataset.ordinal, len(dataset.samples)) == (("0", "1", "2"), True, 14)
    assert {sample.image.parent.parent.name for sample in dataset.samples} == {"synthetic-simple-14-seed3"}
    types = [set(), {"haemorrhages"}, {"haemorrhages", "soft_exudates"}]
    assert all(set(sample.masks) == types[sample.label] for sample in dataset.samples)
    assert {sample.label for sample in dataset.samples} == {0, 1, 2}


@pytest.mark.parametrize(
    ("spec", "options", "match"),
    [
        ("", {}, "spelled in an unknown way: write idrid:DIR"),
        ("retina:x", {}, "'retina:x' are spelled in an unknown way"),
        ("folder", {}, "name no path"),
        ("idrid:", {}, "name no path"),
        ("csv:a\0b", {}, "name no path"),
        ("synthetic", {}, "need a folder"),
        ("synthetic:0", {"folder": Path()}, "ask for '0' photographs"),
        ("synthetic:many", {"folder": Path()}, "ask for 'many' photographs: write synthetic:N"),
        ("synthetic-simple:0", {"folder": Path()}, "ask for '0' photographs: write synthetic-simple:N"),
        (
            "synthetic-simple:4",
            {"patient": "(x)", "folder": Path()},
            "synthetic-simple photographs name their patients",
        ),
        ("idrid:x", {"patient": "(x)"}, "idrid photographs name their patients themselves"),
        ("synthetic:4", {"patient": "(x)", "folder": Path()}, "synthetic photographs name their patients"),
        ("folder:/no/such/folder", {}, "There is no folder at"),
        ("idrid:/no/such/folder", {}, "There is no folder at"),
        ("csv:/no/such/table.csv", {}, "no such file"),
    ],
)
def test_mistakes(spec, options, match):
    """An unknown spelling, a missing path or an option that does not apply is one clear line."""
    with pytest.raises(DataError, match=match) as caught:
        load_dataset(spec, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    not ((SHARED / "idrid").is_dir() and (SHARED / "idrid_boxes").is_dir()),
    reason=f"IDRiD is not at {SHARED}",
)
def test_idrid_with_boxes():
    """With IDRiD and its boxes, 54 photographs keep masks, 369 have boxes, 2 are unknown; in seconds."""
    start = time.perf_counter()
    dataset = load_dataset(f"idrid:{SHARED / 'idrid'}", boxes=SHARED / "idrid_boxes")
    assert time.perf_counter() - start < 30  # 2.5 s on two idle cores
    origins = [s.origin for s in dataset.samples]
    assert [origins.count(origin) for origin in ("masks", "boxes", "none")] == [54, 369, 2]
    assert {box.lesion for s in dataset.samples for box in s.boxes} == {"hard_exudates", "haemorrhages"}
    assert all(len(s.content) == 32 for s in dataset.samples)
    assert len({s.id for s in dataset.samples}) == 425
