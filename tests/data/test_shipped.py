"""Tables as public data sets ship them and as other programs write them: read by one line of docs/data.md, and said."""

import csv
import json
import re
import shlex
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from regaze.cli import parse
from regaze.data.classes import LabelWish
from regaze.data.columns import TableWish
from regaze.data.sources import load_dataset
from regaze.data.table import read_table
from regaze.errors import DataError

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def eye(path: Path) -> Path:
    """Paint a small fundus photograph: a reddish disc on black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (64, 48))
    ImageDraw.Draw(image).ellipse((9, 1, 54, 46), fill=(190, 100, 45))
    # Noise of its own, so that no two photographs are one picture.
    noise = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 12, (48, 64, 1), dtype=np.uint8)
    pixels = np.asarray(image)
    Image.fromarray(np.where(pixels > 0, pixels + noise, 0).astype(np.uint8)).save(path)
    return path


def write(file: Path, header: str, rows: list[str], encoding: str = "utf-8") -> Path:
    """Write a table of text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return file


def facts(dataset):
    """Stem of the photograph -> class, and whether the classes are a scale."""
    labels = {s.image.stem: None if s.label is None else dataset.classes[s.label] for s in dataset.samples}
    return labels, dataset.ordinal


def test_aptos(tmp_path):
    """APTOS 2019: `id_code,diagnosis`, pictures without suffix in `train_images`."""
    names = [f"{number:012x}" for number in range(10, 16)]
    for name in names:
        eye(tmp_path / "train_images" / f"{name}.png")
    table = write(tmp_path / "train.csv", "id_code,diagnosis", [f"{name},{k % 5}" for k, name in enumerate(names)])
    for wish in (TableWish(), TableWish(images=tmp_path / "train_images")):
        dataset = load_dataset(f"csv:{table}", columns=wish)
        assert facts(dataset) == ({name: str(k % 5) for k, name in enumerate(names)}, True)
        assert [sample.id for sample in dataset.samples] == names
        assert "Photographs by the column id_code, labels by diagnosis." in dataset.notes
        assert any(note.startswith("6 of 6 photographs are spelled otherwise") for note in dataset.notes)
        assert dataset.sound == 0


def test_eyepacs(tmp_path):
    """EyePACS: `image,level`, `10_left` without suffix; the expression keeps both eyes of a patient together."""
    names = [f"{number}_{side}" for number in (10, 11, 12) for side in ("left", "right")]
    for name in names:
        eye(tmp_path / "train" / f"{name}.jpeg")
    table = write(tmp_path / "trainLabels.csv", "image,level", [f"{name},{k % 3}" for k, name in enumerate(names)])
    dataset = load_dataset(f"csv:{table}", columns=TableWish(images=tmp_path / "train"), patient="^([0-9]+)_")
    assert facts(dataset) == ({name: str(k % 3) for k, name in enumerate(names)}, True)
    assert [sample.patient for sample in dataset.samples] == ["10", "10", "11", "11", "12", "12"]


def test_messidor_2(tmp_path):
    """Messidor-2 with the adjudicated grades: suffixes in another case, and ungradable photographs without a grade."""
    rows = ["20051020_43808_0100_PP.png,0,0,1", "IM000123.JPG,2,1,1", "IM000124.jpg,,,0", "IM000125.jpg,3,0,1"]
    for name in ("20051020_43808_0100_PP.png", "IM000123.jpg", "IM000124.JPG", "IM000125.jpg"):
        eye(tmp_path / "IMAGES" / name)
    header = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    dataset = load_dataset(f"csv:{write(tmp_path / 'messidor_data.csv', header, rows)}")
    labels = {"20051020_43808_0100_PP": "0", "IM000123": "2", "IM000124": None, "IM000125": "3"}
    assert facts(dataset) == (labels, True)
    assert dataset.classes == ("0", "1", "2", "3")
    assert any("adjudicated_dme, adjudicated_gradable" in note for note in dataset.notes)


def test_odir_one_hot(tmp_path):
    """ODIR: the refusal names one-hot columns; they are read where the user names them; several labels are no grade."""
    for number in range(4):
        eye(tmp_path / f"{number}_left.jpg")
    rows = ["0_left.jpg,1,0,0", "1_left.jpg,0,1,0", "2_left.jpg,0,1,1", "3_left.jpg,1,0,0"]
    table = write(tmp_path / "odir.csv", "Left-Fundus,N,D,G", rows)
    with pytest.raises(DataError, match=r"3 of 0 and 1 \(N, D, G\).*--label-column N,D,G"):
        read_table(table, "csv:x")
    wish = TableWish(image="Left-Fundus", label="N,D,G")
    dataset = load_dataset(f"csv:{table}", columns=wish)
    assert facts(dataset) == ({"0_left": "N", "1_left": "D", "2_left": None, "3_left": "N"}, False)
    assert any("1 photographs have none or several of these labels (for example line 4)" in n for n in dataset.notes)
    table.write_text(table.read_text().replace("1_left.jpg,0", "1_left.jpg,7"))
    with pytest.raises(DataError, match="line 3: the cell 'n' is '7', expected 0 or 1"):
        read_table(table, "csv:x", columns=wish)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_hugging_face(tmp_path, name):
    """Hugging Face's `imagefolder`: `file_name` beside the pictures, as CSV or JSON Lines."""
    for number in range(4):
        eye(tmp_path / "train" / f"{number}.png")
    file = tmp_path / "train" / name
    rows = [{"file_name": f"{number}.png", "label": ["healthy", "sick", None][number % 3]} for number in range(4)]
    if name.endswith("csv"):
        write(file, "file_name,label", [f"{row['file_name']},{row['label'] or ''}" for row in rows])
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    dataset = load_dataset(f"csv:{file}")
    assert facts(dataset) == ({"0": "healthy", "1": "sick", "2": None, "3": "healthy"}, False)
    with pytest.raises(DataError, match=rf"4 pictures lie in no class folder.*the table that is there: csv:.*{name}"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "train").rename(tmp_path / "eyes")
    with pytest.raises(DataError, match=rf"of one class, eyes.*there is a table: csv:.*{name}"):
        load_dataset(f"folder:{tmp_path}")


def test_every_data_set_has_its_line():
    """docs/data.md gives a command that parses for each data set that is tested here."""
    text = DOCS.read_text()
    for name in ("APTOS", "EyePACS", "Messidor-2", "ODIR", "Hugging Face"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name}")]
        (words,) = re.findall(r"`regaze (init study --data csv:[^`]+)`", line)
        assert parse(shlex.split(words)).study.data.startswith("csv:")


@pytest.fixture
def plain(tmp_path):
    """Four photographs, the table of which is yet to be written."""
    for number in range(4):
        eye(tmp_path / f"fond_{number}_\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    return [f"fond_{number}_\N{LATIN SMALL LETTER E WITH ACUTE}.png,{number % 2}" for number in range(4)], tmp_path


@pytest.mark.parametrize(
    ("encoding", "separator", "note"),
    [
        ("utf-8", ",", None),
        ("utf-8-sig", ";", "parted by semicolons"),
        ("utf-8", "\t", "parted by tabs"),
        ("utf-16", ",", "UTF-16"),
        ("utf-16-le", "\t", "UTF-16"),
        ("utf-16-be", ";", "UTF-16"),
        ("cp1252", ";", "Windows-1252"),
    ],
)
def test_what_spreadsheets_write(plain, encoding, separator, note):
    """Whatever parts the cells and however the letters are encoded, the same table is read; what is unusual is said."""
    rows, folder = plain
    table = write(
        folder / "t.csv", "image,label".replace(",", separator), [r.replace(",", separator) for r in rows], encoding
    )
    dataset = read_table(table, "csv:t")
    assert [s.label for s in dataset.samples] == [0, 1, 0, 1]
    assert [note in text for text in dataset.notes].count(True) == 1 if note else dataset.notes == ()


def test_excels_own_line(plain):
    """`sep=;` parts the cells and is no header; lines are counted as in the file."""
    rows, folder = plain
    table = write(folder / "t.csv", "sep=;\r\nimage;label", [row.replace(",", ";") for row in rows])
    assert len(read_table(table, "csv:t").samples) == 4
    table.write_text(table.read_text() + "gone.png;1\n")
    with pytest.raises(DataError, match=r"line 7: there is no file .*gone\.png"):
        read_table(table, "csv:t")


@pytest.mark.parametrize(
    ("start", "match"),
    [
        (b"PK\x03\x04", r"Excel workbook \(\.xlsx\).*save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"old kind \(\.xls\).*save it as CSV"),
        (b"PAR1", "Parquet"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"image,label\n\x81\x8d\x00\x01,0\n", "UTF-8, UTF-16 or Windows-1252"),
    ],
)
def test_what_is_no_table(tmp_path, start, match):
    """A workbook, an archive or noise is refused in one line with what to do."""
    (tmp_path / "t.csv").write_bytes(start + bytes(range(128, 256)))
    with pytest.raises(DataError, match=match) as caught:
        read_table(tmp_path / "t.csv", "csv:t")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["[1]", "{", '"text"', "[" * 100_000])
def test_damaged_json_lines(tmp_path, line):
    """A line that is no object is named."""
    (tmp_path / "m.jsonl").write_text(f'{{"file_name": "a.png", "label": 0}}\n{line}\n')
    with pytest.raises(DataError, match=r"m\.jsonl, line 2 is no JSON"):
        read_table(tmp_path / "m.jsonl", "csv:m")


SPELLINGS = {
    "backslash": lambda name: f"img\\{name}.png",
    "drive": lambda name: f"C:\\data\\img\\{name}.png",
    "other machine": lambda name: f"/home/somebody/img/{name}.png",
    "NFD": lambda name: unicodedata.normalize("NFD", f"img/{name}.png"),
    "suffix case": lambda name: f"img/{name}.PNG",
    "other suffix": lambda name: f"img/{name}.jpg",
    "no suffix": lambda name: f"img/{name}",
    "no folder": lambda name: f"{name}.png",
    "dot": lambda name: f"./img/{name}.png",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_a_path(tmp_path, spelling):
    """The same file in another spelling is found, the note says so, and the ids are the plain names."""
    names = ["é.1", "é.2", "o"]
    for name in names:
        eye(tmp_path / "img" / f"{name}.png")
    rows = [[SPELLINGS[spelling](name), str(number % 2)] for number, name in enumerate(names)]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["image", "label"], *rows])
    dataset = read_table(tmp_path / "t.csv", "csv:t")
    assert [s.image.name for s in dataset.samples] == [f"{name}.png" for name in names]
    assert [s.id.rsplit("/", 1)[-1] for s in dataset.samples] == names
    assert any("spelled otherwise" in note for note in dataset.notes) == (spelling != "dot")


def test_a_name_is_never_guessed(tmp_path):
    """Two pictures that fit, another folder's picture and a name that only begins alike are not taken."""
    for name in ("train/a.png", "test/a.png", "test/b.png", "c.png", "d.png", "d.jpg", "masks/e.png", "GT/f.png"):
        eye(tmp_path / name)

    def read(name, **wish):
        (tmp_path / "t.csv").write_text(f"image,label\n{name},0\n")
        return read_table(tmp_path / "t.csv", "csv:t", columns=TableWish(**wish)).samples[0].image

    with pytest.raises(DataError, match=r"line 2, column 'image': a fits .*test/a\.png and .*train/a\.png"):
        read("a")
    with pytest.raises(DataError, match=r"d fits .*d\.jpg and .*d\.png"):
        read("d")
    for name in ("train/b.png", "c.01", "e", "f"):
        with pytest.raises(DataError, match=r"there is no file.*--images DIR"):
            read(name)
    assert read("train/b.png", images=tmp_path / "test") == tmp_path / "test" / "b.png"
    with pytest.raises(DataError, match=r"--images .*nowhere: there is no such folder"):
        read("c.png", images=tmp_path / "nowhere")


def test_a_name_finds_what_folders_take(tmp_path):
    """What is a picture and what is a folder of masks is one notion: DICOM without suffix, `labels` beside `images`."""
    for name in ("images/g.png", "labels/g.png"):
        eye(tmp_path / name)
    (tmp_path / "images" / "IM01").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "t.csv").write_text("image,label\ng,good\nIM01,bad\n")
    dataset = read_table(tmp_path / "t.csv", "csv:t")
    assert [s.image for s in dataset.samples] == [tmp_path / "images" / "g.png", tmp_path / "images" / "IM01"]


def test_masks_are_found_in_other_spellings(tmp_path):
    """A mask's cell may have backslashes and Unicode's other form; it is not looked for in other folders."""
    for name in ("a.png", "b.png", "m/é.png"):
        eye(tmp_path / name)
    mask = unicodedata.normalize("NFD", "m\\é.PNG")
    (tmp_path / "t.csv").write_text(f"image,label,EX,SE,MA,HE\na.png,0,{mask},,nan,\nb.png,1,NA,,-,?\n", "utf-8")
    one, two = read_table(tmp_path / "t.csv", "csv:t").samples
    assert (dict(one.masks), one.origin) == ({"hard_exudates": (tmp_path / "m" / "é.png",)}, "masks")
    assert (dict(two.masks), two.origin) == ({}, "none")
    (tmp_path / "t.csv").write_text("image,label,mask\na.png,0,é.png\n", "utf-8")
    with pytest.raises(DataError, match="there is no file"):
        read_table(tmp_path / "t.csv", "csv:t")


def test_columns_that_could_be_meant(tmp_path):
    """Two columns that could hold the label or the photograph are not guessed; `label` and `image` go before all."""
    eye(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("path,level,grade\na.png,1,2\n")
    with pytest.raises(DataError, match="the columns level and grade: pass --label-column"):
        read_table(tmp_path / "t.csv", "csv:t")
    assert read_table(tmp_path / "t.csv", "csv:t", columns=TableWish(label="Grade")).classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"--label-column: .* has no column 'mark'"):
        read_table(tmp_path / "t.csv", "csv:t", columns=TableWish(label="mark"))
    (tmp_path / "t.csv").write_text("id_code,path,level,label\na.png,a.png,1,0\n")
    with pytest.raises(DataError, match="the columns id_code and path: pass --image-column"):
        read_table(tmp_path / "t.csv", "csv:t")
    (tmp_path / "t.csv").write_text("image,path,level,label\na.png,a.png,1,0\n")
    assert "level" in read_table(tmp_path / "t.csv", "csv:t").notes[-1]


def test_unknown_patients_and_parts_are_not_one_patient(tmp_path):
    """`nan` in the patient, period or split column is an empty cell: unknown patients are not one patient."""
    for name in "abc":
        eye(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text(
        "image,label,patient,split,site\na.png,0,nan,NA,nan\nb.png,1,nan,test,x\nc.png,1,7,-,N/A\n"
    )
    dataset = read_table(tmp_path / "t.csv", "csv:t", split_by="site")
    assert [s.patient for s in dataset.samples] == [None, None, "7"]
    assert [s.part for s in dataset.samples] == ["training", "test", "training"]
    assert [s.period for s in dataset.samples] == [None, "x", None]
    # A study that took `nan` for a patient goes on with it: its fingerprint must stay.
    earlier = read_table(tmp_path / "t.csv", "csv:t", wish=LabelWish(("0", "1"), earlier=True))
    assert [s.patient for s in earlier.samples] == ["nan", "nan", "7"]


@pytest.mark.parametrize(
    "spelling",
    [
        "FUNDUS A.PNG",
        "fundus%20a.png",
        "file:///home/me/data/fundus%20a.png",
        "https://host/set/fundus a.png",
        "Fundus a",
    ],
)
def test_addresses_and_case(tmp_path, spelling):
    """A name in another case, percent-encoded, or the address that another machine had, is the file's."""
    for name in ("fundus a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "t.csv").write_text(f"image,label\n{spelling},0\nb.png,1\n")
    assert [sample.image.name for sample in read_table(tmp_path / "t.csv", "csv:t").samples] == [
        "fundus a.png",
        "b.png",
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image|label\na.png|0\nb.png|1\n", "utf-8"),
        ("image,label\na.png,0\nb.png,1\n", "utf-32"),
        ("image,label\na.png\u200b,0\n\u200eb.png,1\u200b\n", "utf-8"),
        ('[{"image": "a.png", "label": 0}, {"image": "b.png", "label": 1}]', "utf-8"),
        ("image,label\na.png,0\nb.png,1\nc.png,#REF!\n", "utf-8"),
    ],
)
def test_other_tables_of_text(tmp_path, text, encoding):
    """Bars, UTF-32, letters without width, a JSON array, and a cell that a spreadsheet could not compute."""
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "t.csv").write_text(text, encoding=encoding)
    dataset = read_table(tmp_path / "t.csv", "csv:t")
    assert (dataset.classes, [sample.label for sample in dataset.samples][:2]) == (("0", "1"), [0, 1])
    assert all(sample.label is None for sample in dataset.samples[2:])


def test_columns_that_may_name_patients_are_offered(tmp_path):
    """`PatientID` is not taken unasked, but offered; a column that is not there is said with those that are."""
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    table = tmp_path / "t.csv"
    table.write_text("image,label,PatientID\na.png,0,7\nb.png,1,7\n")
    dataset = read_table(table, "csv:t")
    assert [sample.patient for sample in dataset.samples] == [None, None]
    assert "The column PatientID may name the patients: pass --patient 'PatientID' if it does." in dataset.notes
    assert {sample.patient for sample in read_table(table, "csv:t", "PatientID").samples} == {"7"}
    with pytest.raises(DataError, match=r"no column 'subject' with the patient .its columns: image, label, patientid"):
        read_table(table, "csv:t", "subject")


def test_one_disease_of_many_is_no_label(tmp_path):
    """RFMiD: the column DR among other diseases is not taken for the label; all of them are named."""
    for name in "1234":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    table = tmp_path / "t.csv"
    table.write_text("ID,Disease_Risk,DR,ARMD\n1,1,1,0\n2,1,0,1\n3,0,0,0\n4,1,1,0\n")
    with pytest.raises(DataError, match=r"Disease_Risk, DR, ARMD.*--label-column"):
        read_table(table, "csv:t", columns=TableWish(image="ID"))


def test_ddr(tmp_path):
    """DDR: `train.txt` without a header, a blank between name and grade, 5 for ungradable."""
    names = [f"007-{number:04}-000.jpg" for number in range(12)]
    for name in names:
        eye(tmp_path / "train" / name)
    rows = [f"{name} {number % 6}" for number, name in enumerate(names)]
    table = write(tmp_path / "train.txt", rows[0], rows[1:])
    dataset = read_table(table, "csv:x", columns=TableWish(images=tmp_path / "train"))
    labels, ordinal = facts(dataset)
    assert ordinal
    assert labels == {name[:-4]: None if n % 6 == 5 else str(n % 6) for n, name in enumerate(names)}
    assert "The table has no header: its lines are taken as the name of a photograph and its label." in dataset.notes
    assert any("Label 5 (2 photographs) is DDR's word for ungradable" in note for note in dataset.notes)


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_a_table_without_a_header(tmp_path, separator):
    """Lines of a photograph and its label need no header; a header that is there is none of them."""
    for number in range(6):
        eye(tmp_path / f"a b {number}.png")
    rows = [f"a b {number}.png{separator}{('sound', 'ill')[number % 2]}" for number in range(6)]
    labels, _ = facts(read_table(write(tmp_path / "t.csv", rows[0], rows[1:]), "csv:x"))
    assert labels == {f"a b {number}": ("sound", "ill")[number % 2] for number in range(6)}


def test_visa(tmp_path):
    """VisA: photographs, and masks as well, relative to the folder of --images; empty masks where nothing is wrong."""
    for name in ("n0", "n1", "a0", "a1"):
        eye(tmp_path / "VisA" / "candle" / f"{name}.JPG")
    for name in ("a0", "a1"):
        eye(tmp_path / "VisA" / "masks" / f"{name}.png")
    rows = [f"candle,{'train' if n == '0' else 'test'},normal,candle/n{n}.JPG," for n in "01"]
    rows += [f"candle,test,anomaly,candle/a{n}.JPG,masks/a{n}.png" for n in "01"]
    table = write(tmp_path / "split_csv" / "1cls.csv", "object,split,label,image,mask", rows)
    dataset = read_table(table, "csv:x", columns=TableWish(images=tmp_path / "VisA"))
    masks = {sample.image.stem: [file.name for file in sample.masks.get("lesion", ())] for sample in dataset.samples}
    assert masks == {"n0": [], "n1": [], "a0": ["a0.png"], "a1": ["a1.png"]}
    assert [sample.part for sample in dataset.samples] == ["training", "test", "test", "test"]


def test_columns_without_separators(tmp_path):
    """Severstal's `ImageId,ClassId` are columns of image and label."""
    for number in range(4):
        eye(tmp_path / f"{number}.jpg")
    table = write(tmp_path / "train.csv", "ImageId,ClassId", [f"{number}.jpg,c{number % 2}" for number in range(4)])
    assert facts(read_table(table, "csv:x"))[0] == {str(number): f"c{number % 2}" for number in range(4)}
