"""Boxes in YOLO format: read exactly, attached to the right photograph, never guessed."""

import os
from pathlib import Path

import pytest

from regaze.data.boxes import CODRAS_CLASSES, read_classes, with_boxes
from regaze.errors import DataError
from regaze.records import Box, Sample

SHARED = Path(os.environ.get("REGAZE_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def written(path: Path, text: str) -> Path:
    """Write a text file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_edges_known_by_hand(tmp_path):
    """Centre .5 .25, size .2 .1 is .4-.6 by .2-.3; the disc is none, class 2 is haemorrhages."""
    written(tmp_path / "a.txt", "0 .1 .1 .1 .1\n\n1 .5 .25 .2 .1\n2 .5 .5 1 1")
    (sample,), _ = with_boxes([Sample("a", Path("a.jpg"), 0)], tmp_path, default_classes=CODRAS_CLASSES)
    first, second = sample.boxes
    assert first.lesion == "hard_exudates"
    assert (first.x0, first.y0, first.x1, first.y1) == pytest.approx((0.4, 0.2, 0.6, 0.3))
    assert second == Box("haemorrhages", 0.0, 0.0, 1.0, 1.0)


def test_class_names_of_the_folder_win(tmp_path):
    """Names in the folder say what the numbers mean, not the numbers that are known without."""
    written(tmp_path / "classes.txt", "haemorrhage\noptic_disc\n")
    assert read_classes(tmp_path) == {0: "haemorrhages", 1: None}
    written(tmp_path / "a.txt", "0 .5 .5 .1 .1\n1 .5 .5 .1 .1")
    marked, _ = with_boxes([Sample("a", Path("a.jpg"), 0)], tmp_path, default_classes=CODRAS_CLASSES)
    assert [box.lesion for box in marked[0].boxes] == ["haemorrhages"]


def test_boxes_need_the_meaning_of_their_numbers(tmp_path):
    """Where neither folder nor source says what class 0 is, nothing is guessed."""
    written(tmp_path / "a.txt", "0 .5 .5 .1 .1")
    with pytest.raises(DataError, match=r"does not say what its class numbers mean.*classes\.txt"):
        with_boxes([Sample("a", Path("a.jpg"), 0)], tmp_path)


def test_marked_unmarked_unknown_and_masked(tmp_path):
    """Disc only or empty: nothing marked, known. No file: unknown. Masks win over boxes."""
    written(tmp_path / "marked.txt", "1 .5 .5 .1 .1")
    written(tmp_path / "disc.txt", "0 .5 .5 .1 .1")
    written(tmp_path / "empty.txt", "")
    written(tmp_path / "masked.txt", "1 .5 .5 .1 .1")
    written(tmp_path / "stranger.txt", "")
    masks = {"lesion": (Path("m.png"),)}
    samples = [Sample(n, Path(f"{n}.jpg"), 0) for n in ("marked", "disc", "empty", "unknown")]
    samples.append(Sample("masked", Path("masked.jpg"), 0, masks=masks, origin="masks"))
    marked, notes = with_boxes(samples, tmp_path, default_classes=CODRAS_CLASSES)
    assert [(s.origin, len(s.boxes)) for s in marked] == [
        ("boxes", 1),
        ("boxes", 0),
        ("boxes", 0),
        ("none", 0),
        ("masks", 0),
    ]
    assert marked[4] == samples[4]
    assert "4 files fit a photograph; 3 photographs take them (2 of these with nothing marked), 1 keep" in notes[0]
    assert "1 files fit no photograph (for example stranger.txt)" in notes[1]


def test_flat_boxes_never_reach_the_test_part_of_idrid(tmp_path):
    """With names that repeat, a flat file means the prefix's part, and a subfolder names its part."""
    samples = [
        Sample("training/IDRiD_001", Path("a/IDRiD_001.jpg"), 0),
        Sample("test/IDRiD_001", Path("b/IDRiD_001.jpg"), 0, "test"),
        Sample("test/IDRiD_002", Path("b/IDRiD_002.jpg"), 0, "test"),
    ]
    written(tmp_path / "flat" / "IDRiD_001.txt", "")
    written(tmp_path / "flat" / "IDRiD_002.txt", "")
    marked, notes = with_boxes(samples, tmp_path / "flat", default_classes=CODRAS_CLASSES, prefix="training/")
    assert [s.origin for s in marked] == ["boxes", "none", "none"]
    assert "IDRiD_002.txt" in notes[1]
    written(tmp_path / "deep" / "test" / "IDRiD_001.txt", "")
    written(tmp_path / "deep" / "train" / "IDRiD_001.txt", "1 .5 .5 .1 .1")
    marked, _ = with_boxes(samples, tmp_path / "deep", default_classes=CODRAS_CLASSES, prefix="training/")
    assert [(s.origin, len(s.boxes)) for s in marked] == [("boxes", 1), ("boxes", 0), ("none", 0)]


def test_ambiguous_and_doubled_names(tmp_path):
    """A stem of two photographs, or two files of one photograph, is an error; the id as a path settles it."""
    samples = [Sample("x/a", Path("x/a.jpg"), 0), Sample("y/a", Path("y/a.jpg"), 0)]
    written(tmp_path / "1" / "a.txt", "")
    with pytest.raises(DataError, match=r"fits several photographs \(x/a and y/a\).*x/a\.txt"):
        with_boxes(samples, tmp_path / "1", default_classes=CODRAS_CLASSES)
    written(tmp_path / "2" / "y" / "a.txt", "")
    marked, _ = with_boxes(samples, tmp_path / "2", default_classes=CODRAS_CLASSES)
    assert [s.origin for s in marked] == ["none", "boxes"]
    written(tmp_path / "3" / "a.txt", "")
    written(tmp_path / "3" / "b" / "a.txt", "")
    with pytest.raises(DataError, match="both describe x/a"):
        with_boxes(samples[:1], tmp_path / "3", default_classes=CODRAS_CLASSES)


def test_nothing_fits(tmp_path):
    """No folder, no files, or no file that fits: an error each."""
    one = [Sample("a", Path("a.jpg"), 0)]
    with pytest.raises(DataError, match=r"There is no boxes folder at .*missing"):
        with_boxes(one, tmp_path / "missing", default_classes=CODRAS_CLASSES)
    written(tmp_path / "classes.txt", "disc")
    with pytest.raises(DataError, match="holds no box files"):
        with_boxes(one, tmp_path)
    written(tmp_path / "b.txt", "")
    with pytest.raises(DataError, match=r"None of the 1 box files .*b\.txt; .*like a\)"):
        with_boxes(one, tmp_path)


@pytest.mark.skipif(not (SHARED / "idrid_boxes").is_dir(), reason=f"boxes are not at {SHARED / 'idrid_boxes'}")
def test_default_numbers_agree_with_the_published_boxes(tmp_path):
    """The built-in meaning of the numbers is what CODRAS's own `classes.txt` says."""
    assert read_classes(SHARED / "idrid_boxes") == dict(CODRAS_CLASSES)
    assert (SHARED / "idrid_boxes" / "classes.txt").is_file()
