"""Boxes in YOLO format: read exactly, attached to the right photograph, never guessed."""

import os
from pathlib import Path

import pytest

from regaze.data.boxes import CODRAS_CLASSES, lesion_type, read_box_file, read_classes, with_boxes
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
    file = written(tmp_path / "a.txt", "0 .1 .1 .1 .1\n\n1 .5 .25 .2 .1\n2 .5 .5 1 1")
    first, second = read_box_file(file, CODRAS_CLASSES)
    assert first.lesion == "hard_exudates"
    assert (first.x0, first.y0, first.x1, first.y1) == pytest.approx((0.4, 0.2, 0.6, 0.3))
    assert second == Box("haemorrhages", 0.0, 0.0, 1.0, 1.0)


def test_rounding_is_clipped(tmp_path):
    """An edge up to a hundredth outside is an exporter's rounding, and clipped to the photograph."""
    (box,) = read_box_file(written(tmp_path / "a.txt", "1 0.1 0.5 0.21 0.5"), CODRAS_CLASSES)
    assert (box.x0, box.x1) == pytest.approx((0.0, 0.205))


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("1 .5 .5 .1", "is not a box"),
        ("1 .5 .5 .1 .1 .9", "is not a box"),
        ("x .5 .5 .1 .1", "is not a box"),
        ("1 .5 .5 .1 wide", "is not a box"),
        ("1.5 .5 .5 .1 .1", "is not a box"),
        ("1 .5 .5 nan .1", "leaves the photograph"),
        ("1 inf .5 .1 .1", "leaves the photograph"),
        ("1 240 120 30 30", "leaves the photograph.*not pixels"),
        ("1 .95 .5 .2 .1", "leaves the photograph"),
        ("1 .5 .5 0 .1", "must be above 0"),
        ("1 .5 .5 .1 -.1", "must be above 0"),
        ("1 1.005 .5 .005 .1", "lies outside"),
        ("7 .5 .5 .1 .1", r"class 7 is not one of \[0, 1, 2\]"),
    ],
)
def test_malformed_lines_name_file_and_line(tmp_path, line, match):
    """Whatever is wrong with a line, the message names the file and the line."""
    file = written(tmp_path / "a.txt", f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(DataError, match=f"a.txt, line 2.*{match}"):
        read_box_file(file, CODRAS_CLASSES)


def test_not_text(tmp_path):
    """A binary file is an error that names it."""
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt cannot be read as text"):
        read_box_file(tmp_path / "a.txt", CODRAS_CLASSES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Hard Exudates", "hard_exudates"),
        ("EX", "hard_exudates"),
        ("cotton-wool spots", "soft_exudates"),
        ("haemorrhage", "haemorrhages"),
        ("Hemorrhages", "haemorrhages"),
        ("haemorrhages_and_microaneurysms", "haemorrhages"),
        ("MA", "microaneurysms"),
        ("neovascularization", "neovascularisation"),
        ("optic_disc", None),
        ("Optic Disk", None),
        ("fovea", None),
        ("drusen", "lesion"),
        ("lesion", "lesion"),
    ],
)
def test_names_of_lesions(name, kind):
    """Names as people write them give the types; landmarks are no lesions."""
    assert lesion_type(name) == kind


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "haemorrhage\noptic_disc\n"),
        ("data.yaml", "nc: 2\nnames: ['haemorrhage', \"optic_disc\"]  # two\n"),
        ("data.yaml", "names:\n  - haemorrhage\n  - optic_disc\nnc: 2\n"),
        ("data.yml", "path: x\nnames:\n  0: haemorrhage  # red\n  1: optic_disc\n\ntrain: y\n"),
        ("data.yaml", "names: {0: haemorrhage, 1: optic_disc}\n"),
    ],
)
def test_class_names_of_the_folder_win(tmp_path, file, text):
    """`classes.txt`, and every usual spelling in `data.yaml`, say what the numbers mean."""
    written(tmp_path / file, text)
    assert read_classes(tmp_path) == {0: "haemorrhages", 1: None}
    written(tmp_path / "a.txt", "0 .5 .5 .1 .1\n1 .5 .5 .1 .1")
    marked, _ = with_boxes([Sample("a", Path("a.jpg"), 0)], tmp_path, default_classes=CODRAS_CLASSES)
    assert [box.lesion for box in marked[0].boxes] == ["haemorrhages"]


def test_nameless_classes(tmp_path):
    """A names file without names is an error, not a silent default."""
    written(tmp_path / "data.yaml", "nc: 2\n")
    with pytest.raises(DataError, match=r"data\.yaml names no classes"):
        read_classes(tmp_path)


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
    assert "4 files fit a photograph; 3 photographs take them (2 of these with no lesion marked), 1 keep" in notes[0]
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
