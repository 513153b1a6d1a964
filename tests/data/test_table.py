"""A CSV table of photographs: every mistake names its line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regaze.data.sources import list_photographs
from regaze.data.table import read_table
from regaze.errors import DataError
from regaze.records import Dataset


@pytest.fixture
def read(tmp_path):
    """Return a function that writes and reads a table; a.png, b.png, c.png, m.png, n.png lie beside it."""
    for name in "abcmn":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")

    def write_and_read(text: str, patient: str | None = None, encoding: str = "utf-8") -> Dataset:
        (tmp_path / "t.csv").write_text(text, encoding=encoding)
        return read_table(tmp_path / "t.csv", "csv:t.csv", patient)

    return write_and_read


def test_plain_table(read, tmp_path):
    """Whole numbers from 0 are ordinal classes; an empty label is no grade.

    BOM, blanks, capitals do no harm.
    """
    dataset = read(" Image ,GRADE,,\na.png, 2 ,,\n\nb.png,,,\nc.png,0.0\n", encoding="utf-8-sig")
    assert (dataset.classes, dataset.ordinal) == (("0", "1", "2"), True)
    assert [(s.id, s.image, s.label, s.part, s.patient, s.origin) for s in dataset.samples] == [
        ("a", tmp_path / "a.png", 2, "training", None, "none"),
        ("b", tmp_path / "b.png", None, "training", None, "none"),
        ("c", tmp_path / "c.png", 0, "training", None, "none"),
    ]
    assert dataset.notes == ("No photograph has the grade 1.", "Photographs by the column Image, labels by GRADE.")


@pytest.mark.parametrize(
    ("labels", "classes", "ordinal"),
    [
        (("sick", "healthy", "sick"), ("healthy", "sick"), False),
        (("R2", "R0", "R1"), ("R0", "R1", "R2"), True),
        (("1", "0", "x"), ("0", "1", "x"), False),
        (("0", "0", "0"), ("0",), False),
    ],
)
def test_classes(read, labels, classes, ordinal):
    """Other labels are names, sorted; ordinal only if they are one word and consecutive numbers."""
    rows = "".join(f"{name}.png,{label}\n" for name, label in zip("abc", labels, strict=True))
    dataset = read(f"image,label\n{rows}")
    assert (dataset.classes, dataset.ordinal) == (classes, ordinal)
    assert [dataset.classes[s.label] for s in dataset.samples] == list(labels)


def test_masks(read, tmp_path):
    """Files; `none`; an empty cell beside a filled one is absence; a row of empty cells is not annotated."""
    dataset = read(
        "image,label,haemorrhages,Hard Exudates,other_mask,microaneurysms_mask\n"
        "a.png,0,m.png; n.png,,,\n"
        "b.png,0,none,,m.png,n.png\n"
        "c.png,0,NONE,,,\n"
        "m.png,0,,,,\n"
    )
    assert [(s.origin, dict(s.masks)) for s in dataset.samples] == [
        ("masks", {"haemorrhages": (tmp_path / "m.png", tmp_path / "n.png")}),
        ("masks", {"lesion": (tmp_path / "m.png",), "microaneurysms": (tmp_path / "n.png",)}),
        ("masks", {}),
        ("none", {}),
    ]


def test_split_and_patients(read):
    """The split column knows the usual words; the patient comes from a column or an expression."""
    text = "image,label,split,patient,eye\na.png,0,train,p1,L\nb.png,1,VAL,,R\n"
    text += "c.png,0,Testing Set,p1,L\nm.png,1,,p2,R\n"
    dataset = read(text)
    assert [s.part for s in dataset.samples] == ["training", "training", "test", "training"]
    assert [s.patient for s in dataset.samples] == ["p1", None, "p1", "p2"]
    assert dataset.notes == ("Columns of the table that are not used: eye.",)
    assert [s.patient for s in read(text, "Eye").samples] == ["L", "R", "L", "R"]
    assert [s.patient for s in read(text, "([ab])").samples] == ["a", "b", None, None]


def test_ids_are_unique_and_never_climb(read, tmp_path):
    """Ids are paths without suffix; where they would clash, or climb, they are made safe."""
    (tmp_path / "deep").mkdir()
    for name in ("deep/a.png", "deep/b.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    dataset = read(f"image,label\na.png,0\na.jpg,1\ndeep/../deep/a.png,0\n{tmp_path / 'deep' / 'b.png'},1\n")
    ids = [s.id for s in dataset.samples]
    assert ids[:3] == ["line2/a", "line3/a", "deep/deep/a"]
    assert ids[3].endswith("deep/b")
    assert not ids[3].startswith("/")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("image,label\n", "lists no photographs"),
        ("picture,label\na.png,0\n", "no column 'image' .*picture, label"),
        ("image,mark\na.png,0\n", "no column 'label' .*--label-column NAME"),
        ("image,label,Label\na.png,0,1\n", "two columns 'label'"),
        ("image,label\na.png,0\nz.png,1\n", r"line 3: there is no file .*z\.png"),
        ("image,label\n,0\n", "line 2: the cell 'image' is ''"),
        ("image,label\na\0.png,0\n", "line 2: the cell 'image' is 'a.x00.png'"),
        (f"image,label\n{'x' * 5000},0\n", "line 2: there is no file"),
        ("image,label\na.png,0\n./a.png,1\n", r"line 3: ./a\.png is listed in line 2 already"),
        ("image,label\na.png,0\nb.png,-1\n", "line 3: label -1 is outside 0..19"),
        ("image,label\na.png,0\nb.png,57\n", "line 3: label 57 is outside"),
        ("image,label\na.png,\n", "have no label"),
        ("image,label,split\na.png,0,later\n", "line 2: split 'later' is not one of"),
        ("image,label\na.png,0,x\n", "line 2 has 3 cells, expected 2"),
        ("image,label,mask\na.png,0,z.png\n", r"line 2: there is no file .*z\.png \(column 'mask'\)"),
    ],
)
def test_mistakes_name_the_line(read, text, match):
    """Every mistake is one message with the file and the line."""
    with pytest.raises(DataError, match=rf"t\.csv.*{match}"):
        read(text)


def test_unreadable(read, tmp_path):
    """A missing table, a folder and a file that is no text are errors."""
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "missing.csv", "csv:x")
    with pytest.raises(DataError, match="is a folder, pipe or device"):
        read_table(tmp_path, "csv:x")
    with pytest.raises(DataError, match="is no text"):
        read_table(tmp_path / "a.png", "csv:x")


def test_rows_are_counted_as_in_the_file(read):
    """Empty lines and cells with line breaks do not shift the line that a message names."""
    with pytest.raises(DataError, match="line 5: split 'no'"):
        read('image,label,split,remark\n\na.png,0,train,"two\nlines"\nb.png,0,no,x\n')


@given(st.lists(st.integers(0, 19), min_size=1, max_size=5))
def test_labels_index_their_class(tmp_path_factory, labels):
    """Whatever the grades, classes are 0..highest and the label of every row indexes its own number."""
    folder = tmp_path_factory.mktemp("labels")
    for number in range(len(labels)):
        (folder / f"{number}.png").touch()
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (folder / "t.csv").write_text(f"image,grade\n{rows}")
    dataset = read_table(folder / "t.csv", "csv:t")
    assert dataset.classes == tuple(str(grade) for grade in range(max(labels) + 1))
    assert [s.label for s in dataset.samples] == labels


def test_table_names_its_own_folder(read, tmp_path, monkeypatch):
    """Paths are relative to the table, not to the working directory."""
    monkeypatch.chdir(tmp_path.parent)
    (sample,) = read("image,label\na.png,0\n").samples
    assert sample.image.resolve() == Path(tmp_path / "a.png").resolve()


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a.png", "b.png", "c", "missing.png", "", "./a.png", "d.png"]),
        st.sampled_from(["0", "1", "2", ""]),
        st.sampled_from(["train", "test", "", "somewhere"]),
        st.sampled_from(["a.png", "none", "", "gone.png"]),
    ),
    min_size=1,
    max_size=8,
)


@given(_ROWS)
@settings(max_examples=60, deadline=None)
def test_every_row_is_a_photograph_or_named(tmp_path_factory, rows):
    """With faults collected, a row is taken, or one fault names its line: none is lost without a word."""
    folder = tmp_path_factory.mktemp("rows")
    for name in "abcd":
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(folder / f"{name}.png")
    (folder / "t.csv").write_text("image,label,split,MA\n" + "".join(",".join(row) + "\n" for row in rows))
    faults = []
    try:
        taken = len(list_photographs(f"csv:{folder / 't.csv'}", faults=faults).samples)
    except DataError as error:  # nothing is left, or no two classes
        assert str(folder) in str(error)
        return
    assert taken + len(faults) == len([row for row in rows if any(row)])
    assert all(", line " in fault for fault in faults)
