"""What a study calls its things: defects where its photographs show parts, lesions of patients where they show eyes."""

import csv
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from regaze.data.sources import show_eyes
from regaze.records import Dataset, Sample
from regaze.words import EYES, PARTS, words_of
from tests.conftest import EVALUATION, MACHINE, NETWORK, TRAINING
from tests.report.contents import Reader

# Options (`--patient`), paths and keys of JSON are no words.
OF_EYES = re.compile(
    r"(?<![-\w/])(patients?|lesions?|eyes?|eyed|healthy|fundus|retin\w+|clinic\w*|referable|disease\w*|medical|doctor"
    r"|exudates?|h(a?)emorrhages?|microaneurysms?|vessels?|fovea\w*|diabetic)(?![\w=])",
    re.IGNORECASE,
)
SIDE = 96


def tile(seed, crack=False):
    """A grey brushed plate, (64, 96) uint8, and where it is cracked."""
    rng = np.random.default_rng(seed)
    plate = np.asarray(Image.fromarray(rng.normal(size=(16, 24)).astype(np.float32)).resize((SIDE, 64)))
    plate = 120 + 22 * plate + rng.normal(size=(64, SIDE)) * 5
    mask = np.zeros((64, SIDE), bool)
    if crack:
        top, left = rng.integers(8, 44), rng.integers(8, 70)
        mask[top : top + 12, left : left + 14] = True
    return np.where(mask, 25, plate).clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Photographs of plates as MVTec lays them out, good ones and cracked ones with masks; a table beside them."""
    root = tmp_path_factory.mktemp("tiles") / "plates"
    rows = []
    for number in range(24):
        kind = "crack" if number % 2 else "good"
        plate, mask = tile(number, kind == "crack")
        file, truth = root / kind / f"{number:03}.png", root / "ground_truth" / kind / f"{number:03}_mask.png"
        for path, pixels in ((file, plate), (truth, mask.astype(np.uint8) * 255)):
            if path is file or kind == "crack":
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        marked = f"ground_truth/crack/{truth.name}" if kind == "crack" else ""
        rows.append([f"{kind}/{file.name}", kind, f"t{number // 2}", marked])
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "tile", "mask"], *rows])
    return root


def read(text, root):
    """A text without the names of the test's own folders."""
    return text.replace(str(root), "")


def loop(regaze, study, data, *init):
    """Every command of the loop on one study; yields (command, what a person reads)."""
    machine = [*MACHINE]
    calls = [
        ("init", study, "--data", data, "--size", "64", *init),
        ("train", study, *NETWORK, *TRAINING, *machine),
        ("collect", study, *machine),
        ("select", study, "--everything"),
        ("correct", study, "--healthy"),
        ("finetune", study, "--epochs", "2", "--batch", "8", *machine),
        ("finetune", study, "--epochs", "2", "--batch", "8", "--map-weight", "0", *machine),
        ("evaluate", study, *EVALUATION, "--reference-rankings", "2", *machine),
        ("rounds", study, "--resamples", "50", *machine),
        ("report", study, *EVALUATION, "--sanity", "2", "--reference-rankings", "2", *machine),
        ("agree", study),
        ("verify", study),
        ("check", study, "--html", study.parent / "check.html"),
    ]
    for call in calls:
        outcome = regaze(*call)
        assert outcome.code in (0, 1), outcome.err
        assert "Traceback" not in outcome.err
        yield call[0], outcome.out + outcome.err
    for page in (study / "report.html", study.parent / "check.html"):
        text = page.read_text(encoding="utf-8")
        spoken = " ".join(re.findall(r'(?:alt|aria-label|title)="([^"]*)"', text))
        yield page.name, Reader(text).text + " " + spoken


def test_a_study_of_parts_speaks_of_parts(regaze, tiles, tmp_path):
    """From `init` to the report and the check, no sentence speaks of eyes, lesions, patients, clinics or diseases."""
    said = dict(loop(regaze, tmp_path / "study", f"folder:{tiles}"))
    assert len(said) == 14
    for command, text in said.items():
        found = OF_EYES.search(read(text, tmp_path))
        assert found is None, (command, text[max(0, found.start() - 200) : found.end() + 60])
    assert "defects known from masks: 12" in said["init"]
    assert "No group is known" in said["init"]
    assert "Attention on defects" in said["report.html"]
    assert "as drawn by an expert" in said["report.html"]
    assert "(groups, else photographs)" in said["check"]
    assert regaze("evaluate", tmp_path / "study", *EVALUATION, *MACHINE, "--json").json["part"] == "validation"


def test_a_group_goes_by_the_name_of_its_column(regaze, tiles, tmp_path):
    """`--patient tile` of a table makes tiles: the split is by tile, and intervals redraw tiles."""
    study = tmp_path / "study"
    made = regaze("init", study, "--data", f"csv:{tiles / 'table.csv'}", "--size", "64", "--patient", "tile", "--json")
    assert made.code == 0, made.err
    assert made.json["split"]["by"] == "patient"  # scripts read it
    assert made.json["split"]["about"] == "by tile"
    shown = regaze("init", study, "--data", f"csv:{tiles / 'table.csv'}", "--size", "64", "--patient", "tile")
    assert "split by tile" in shown.out
    assert not OF_EYES.search(read(shown.out + shown.err, tmp_path))


@pytest.mark.parametrize(
    ("named_by", "patient"),
    [
        ("column tile", "tile"),
        ("column part_id and near-copies", "part"),
        ("column Patient", "patient"),
        ("column 3", "group"),
        ("column series", "group"),
        ("the expression ^(a+)_", "group"),
        (None, "group"),
    ],
)
def test_names_of_groups(named_by, patient):
    """A column's own name where it is a word; eyes have patients, whatever their column is called."""
    dataset = Dataset("csv:t.csv", ("a", "b"), False, (), "", named_by=named_by, eyes=False)
    assert words_of(dataset).patient == patient
    assert words_of(Dataset("csv:t.csv", ("a", "b"), False, (), "", named_by=named_by)) == EYES
    assert words_of(dataset).fill("{Lesions} of one {patient}") == f"Defects of one {patient}"


def test_eyes_keep_the_words_of_a_clinic(regaze, finished, tmp_path):
    """A study of eyes speaks of patients and lesions, and of no defect."""
    study = tmp_path / "study"
    shutil.copytree(finished, study)
    page = Reader((study / "report.html").read_text(encoding="utf-8")).text
    assert "Attention on lesions" in page
    assert "no medical device" in page
    assert "all of one patient stay together" in page
    shown = regaze("evaluate", study, *EVALUATION, *MACHINE).out + page
    assert "photographs with lesions" in shown
    assert not re.search(r"\b(defects?|parts (?!of))\b", shown.replace("validation part", "")), shown


@pytest.mark.parametrize(
    ("names", "eyes"),
    [(("10_left", "10_right"), True), (("eye01", "P2-OD"), True), (("bolt", "leftover"), False), (("oda", "1"), False)],
)
def test_names_of_files_tell_eyes(tmp_path, names, eyes):
    """Photographs that no look could tell (grey noise) are eyes where their names say so."""
    for name in names:
        Image.fromarray(tile(1)[0]).save(tmp_path / f"{name}.png")
    samples = tuple(Sample(name, tmp_path / f"{name}.png", 0) for name in names)
    assert show_eyes(Dataset("csv:t.csv", ("a", "b"), False, samples, "")) is eyes
    assert show_eyes(Dataset("csv:t.csv", ("No_DR", "PDR"), False, samples, ""))


def test_the_words_of_parts_have_none_of_eyes():
    """The vocabulary itself keeps the two apart."""
    assert not OF_EYES.search(PARTS.fill("{lesions} {lesion} {patients} {patient} {eye} {healthy} {clinician}"))
