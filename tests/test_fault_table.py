"""One table: a fault of an input, a command that takes it, and what the command says; never a traceback.

Each row damages one thing, calls the program, and puts the thing back; nothing else may have changed.
"""

import gc
import json
import re
import shutil
import sqlite3
import struct
from contextlib import closing
from functools import cache

import pytest
from PIL import Image

from regaze import cli

GIANT, DEEP = "7" * 5000, "[" * 10**5 + "]" * 10**5
CARD, WEIGHTS = "models/multi-scale/fold0/model.json", "models/multi-scale/fold0/model.safetensors"


def cut(file):
    """The first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def gone(file):
    """No file."""
    file.unlink()


def text(content):
    """Another text in a file's place."""
    return lambda file: file.write_bytes(content if isinstance(content, bytes) else content.encode())


def value(*keys, to):
    """Another value inside a JSON file, given as JSON; None takes the key away."""

    def damage(file):
        values = json.loads(file.read_text())
        place = values
        for key in keys[:-1]:
            place = place[key]
        if to is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = "@"
        file.write_text(json.dumps(values).replace('"@"', to or ""))

    return damage


def sql(*statements):
    """Statements on a database whose triggers are gone, as another program would run them."""

    def damage(file):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                connection.execute(statement)

    return damage


def less_a_tensor(file):
    """A model's weights without one tensor, and the card's hash fitted to them."""
    from safetensors.torch import load_file, save_file

    from regaze.models.card import file_hash

    state = load_file(file)
    del state["perception.0.classify.weight"]
    save_file(state, file)
    value("weights", to=json.dumps(file_hash(file)))(file.with_name("model.json"))


# Commands; {names} are the study's and the files of `inputs` below.
STEPS = {
    "check": "check {study}",
    "init": "init {study} --data synthetic:30 --size 64",
    "train": "train {study} --backbone test_resnet --name other --precision fp32",
    "collect": "collect {study}",
    "select": "select {study}",
    "correct": "correct {study}",
    "import": "import {study} {coco} --format coco",
    "export": "export {study} --to {new}",
    "agree": "agree {study}",
    "finetune": "finetune {study}",
    "rounds": "rounds {study}",
    "use": "use {study} 1",
    "verify": "verify {study}",
    "evaluate": "evaluate {study}",
    "report": "report {study}",
    "predict": "predict {study} {photo}",
    "explain": "explain {study} {photo}",
    "what-if": "what-if {study} {photo} --map {map}",
    "what-if of a correction": "what-if {study} {photo} --correction 1",
    "run": "run {study}",
    "serve": "serve {study} --port 0",
}
MODEL = ("collect", "finetune", "rounds", "evaluate", "report", "predict", "explain", "what-if")
RECORDS = ("select", "correct", "import", "export", "agree", "finetune", "verify", "what-if of a correction")

# A file of the study; what is done to it; the commands, and what all of them say.
STUDY_FAULTS = {
    "study.json cut": ("study.json", cut, STEPS, r"study\.json is damaged .*: restore it, or start a new study"),
    "study.json newer": (
        "study.json",
        value("schema_version", to="9"),
        STEPS,
        r"study\.json has schema 9, this regaze reads up to 1: update regaze",
    ),
    "study.json infinite": ("study.json", value("options", "seed", to="1e999"), STEPS, r"study\.json is damaged"),
    "study.json gone": ("study.json", gone, ("train", "select", "verify"), r"is no study \(it has no study\.json\)"),
    "study.json giant": ("study.json", value("options", "size", to=GIANT), ("collect",), "damaged .*5000 digits"),
    "study.json deep": ("study.json", value("notes", to=DEEP), ("collect",), "damaged .*nested"),
    "study.json a list": ("study.json", text("[1]"), ("collect",), r"study\.json is damaged"),
    "study.json no UTF-8": ("study.json", text(b"\xff\xfe{"), ("collect",), r"study\.json is damaged"),
    "study.json version": ("study.json", value("schema_version", to='"1"'), ("collect",), "damaged .*Expected `int`"),
    "study.json no split": ("study.json", value("split", to=None), ("collect",), "damaged .*split"),
    "study.json other data": (
        "study.json",
        value("fingerprint", to='"other"'),
        ("collect", "select", "evaluate"),
        "has changed since the study was made: restore it, or start a new study",
    ),
    "card cut": (CARD, cut, (*MODEL, "select"), r"model\.json is damaged .*: train the model again or restore"),
    "card no object": (CARD, text("{}"), ("evaluate",), r"model\.json is damaged"),
    "card newer": (CARD, value("schema_version", to="9"), MODEL, r"model\.json has schema 9, this regaze reads up to"),
    "card infinite": (CARD, value("std", 0, to="Infinity"), MODEL, r"model\.json is damaged .*Infinity is no number"),
    "card giant": (CARD, value("size", to=GIANT), ("predict",), "damaged .*5000 digits"),
    "card of texts": (CARD, value("size", to='"64"'), ("predict", "evaluate"), "damaged .*Expected `int`.*size"),
    "card order": (CARD, value("order", to='"1"'), ("select", "rounds"), "damaged .*Expected `int`.*order"),
    "a tensor less": (WEIGHTS, less_a_tensor, MODEL, r"model\.safetensors does not fit its model\.json .*classify"),
    "weights cut": (WEIGHTS, cut, MODEL, r"model\.safetensors (cannot be read|holds other weights than its)"),
    "weights gone": (WEIGHTS, gone, MODEL, r"model\.safetensors (is missing|cannot be read)"),
    "records no database": ("records.sqlite", text("no " * 999), RECORDS, "is not an SQLite database: restore it"),
    "records cut": ("records.sqlite", cut, RECORDS, r"records\.sqlite is damaged: restore it from a copy"),
    "records empty": ("records.sqlite", text(""), RECORDS, r"records\.sqlite is empty, and .*: restore a copy"),
    "records newer": (
        "records.sqlite",
        sql("INSERT INTO migrations VALUES (9, 'later', 'now', '9.0')"),
        RECORDS,
        "was written by regaze 9.0 .*install regaze 9.0 or newer",
    ),
    "records lack a table": (
        "records.sqlite",
        sql("DROP TABLE links"),
        RECORDS,
        r"records\.sqlite is damaged \(the table links is missing\): restore it from a copy",
    ),
    "records lack a column": (
        "records.sqlite",
        sql("ALTER TABLE corrections DROP COLUMN remark"),
        RECORDS,
        r"damaged \(the column corrections\.remark is missing\): restore it from a copy",
    ),
    "records lack their steps": (
        "records.sqlite",
        sql("DROP TABLE migrations"),
        ("select",),
        "table migrations is",
    ),
    "records of no step": ("records.sqlite", sql("DELETE FROM migrations"), ("select",), "no row in its table migrat"),
    "records of another type": (
        "records.sqlite",
        sql("ALTER TABLE selections DROP COLUMN share", "ALTER TABLE selections ADD COLUMN share TEXT"),
        ("select", "verify"),
        r"damaged \(the column selections\.share is TEXT, expected REAL NOT NULL\)",
    ),
    "records of another program": ("records.sqlite", sql("PRAGMA application_id = 5"), ("select",), "another program"),
    "a row with a text for a number": (
        "records.sqlite",
        sql("UPDATE corrections SET height = 'tall' WHERE id = 1"),
        ("correct", "export", "agree", "finetune", "verify"),
        r"correction 1 in .*records\.sqlite is damaged \(Expected `int`, got `str` - at `\$\.height`\)",
    ),
    "a row with bytes for a text": (
        "records.sqlite",
        sql("UPDATE corrections SET sample = x'ff00' WHERE id = 1"),
        ("export", "verify"),
        r"correction 1 .* is damaged \(Expected `str`, got `bytes` - at `\$\.sample`\)",
    ),
    "a selection of broken JSON": (
        "records.sqlite",
        sql("UPDATE selections SET samples = '[\"a'"),
        ("correct",),
        "selection 1 .*does not match its hash",
    ),
    "collected cut": (
        "collected/multi-scale/fold0/collected.json",
        cut,
        ("select",),
        r"collected\.json is damaged .*regaze collect",
    ),
    "collected altered": (
        "collected/multi-scale/fold0/collected.json",
        value("photographs", 0, "confidence", to="0.5"),
        ("select",),
        r"collected\.json is damaged .*not those that were written.*regaze collect",
    ),
    "run.json cut": ("run.json", cut, ("run",), r"run\.json is damaged .*: pass --data"),
    "run.json of another version": (
        "run.json",
        text('{"command": "", "options": {"x": 1}}'),
        ("run",),
        r"run\.json is damaged",
    ),
    "run.json infinite": ("run.json", value("options", "seed", to="1e999"), ("run",), r"run\.json is damaged"),
    "run.json of texts": ("run.json", value("options", "training", "epochs", to='"2"'), ("run",), "damaged .*epochs"),
    "the choice is no name": ("in_use.json", text('{"model": 3}'), ("collect", "predict"), "in_use.json is damaged"),
}

INIT, RUN = "init {new} --data csv:{table} --size 64", "run {new} --data csv:{table} --size 64 --backbone test_resnet"
OTHER, FOLDER = "evaluate {study} --data csv:{table}", "init {new} --data folder:{eyes} --size 64"
TRAIN = "train {study} --backbone test_resnet --name other --precision fp32 --weights {weights}"
COCO, PNG = "import {study} {coco} --format coco", "import {study} {masks} --format png"
PREDICT = "predict {study}/models/multi-scale/fold0 {photo}"
EXPLAIN, WHAT_IF = "explain {study} {photo}", "what-if {study} {photo} --map {map}"
LABELS, SIZES = "image,label,patient\n", struct.pack(">II", 60_000, 60_000)


def wide(file):
    """A PNG that says it has 3.6 gigapixels."""
    data = bytearray(file.read_bytes())
    data[16:24] = SIZES
    file.write_bytes(data)


def in_colour(file):
    """The same picture with three channels."""
    Image.open(file).convert("RGB").save(file)


def shrunk(file):
    """The same picture, nine pixels wide and high."""
    Image.open(file).resize((9, 9)).save(file)


# An input; what is done to it; commands, and what all of them say.
INPUT_FAULTS = {
    "photograph cut": (
        "photo",
        cut,
        (PREDICT, EXPLAIN, WHAT_IF),
        "photo.png.*cannot be read|photo.png is .*broken|damaged",
    ),
    "photograph empty": ("photo", text(""), (PREDICT, EXPLAIN, WHAT_IF), "photo.png"),
    "photograph of words": ("photo", text("no picture"), (PREDICT, EXPLAIN, WHAT_IF), "photo.png"),
    "photograph too large": ("photo", wide, (PREDICT, EXPLAIN, WHAT_IF), "photo.png"),
    "photograph of a folder cut": ("eye", cut, (FOLDER,), "0.png"),
    "photograph of a folder empty": ("eye", text(""), (FOLDER,), "0.png"),
    "labels without a column": ("table", text("a,b\n1,2\n"), (INIT, RUN, OTHER), "table.csv"),
    "labels empty": ("table", text(""), (INIT, RUN, OTHER), "table.csv"),
    "labels gone": ("table", gone, (INIT, RUN, OTHER), "table.csv cannot be read .*no such file.*check the path"),
    "labels of nobody": ("table", text(LABELS + "nobody.png,1,p\n"), (INIT, RUN, OTHER), "line 2.*nobody.png"),
    "labels off the scale": (
        "table",
        text(LABELS + "photo.png,-1,p\n"),
        (INIT, RUN, OTHER),
        "line 2: label -1 is",
    ),
    "labels with NUL": ("table", text(LABELS + "pho\0to.png,1,p\n"), (INIT, RUN, OTHER), "table.csv"),
    "labels twice": ("table", text(LABELS + "photo.png,1,p\n" * 2), (INIT, RUN, OTHER), "table.csv.*photo.png"),
    "annotations cut": ("coco", cut, (COCO,), r"drawn.json"),
    "annotations empty": ("coco", text(""), (COCO,), r"drawn.json"),
    "annotations gone": ("coco", gone, (COCO,), r"drawn.json: no file"),
    "annotations of texts": ("coco", text('{"images": "x", "annotations": []}'), (COCO,), r"drawn.json.*\$\.images"),
    "annotations infinite": ("coco", text('{"images": Infinity}'), (COCO,), r"drawn.json"),
    "annotations deep": ("coco", text(DEEP), (COCO,), r"drawn.json"),
    "annotations for Label Studio": ("coco", cut, ("import {study} {coco} --format label-studio",), r"drawn.json"),
    "annotations for CVAT": ("coco", cut, ("import {study} {coco} --format cvat",), r"drawn.json"),
    "half a mask": ("mask", cut, (PNG,), r"\.png"),
    "mask empty": ("mask", text(""), (PNG,), r"\.png"),
    "mask of words": ("mask", text("no picture"), (PNG,), r"\.png"),
    "mask too large": ("mask", wide, (PNG,), r"\.png"),
    "a map cut": ("map", cut, (WHAT_IF,), "map.png.*cannot be read|map.png is .*broken|damaged"),
    "a map empty": ("map", text(""), (WHAT_IF,), "map.png"),
    "a map of words": ("map", text("no picture"), (WHAT_IF,), "map.png"),
    "a map too large": ("map", wide, (WHAT_IF,), "map.png"),
    "a map in colour": ("map", in_colour, (WHAT_IF,), "map.png has the mode RGB: expected grey, save it with 8 bits"),
    "a map of another size": ("map", shrunk, (WHAT_IF,), "map.png has 9 x 9 pixels: expected .* those of .*photo.png"),
    "weights cut": ("weights", cut, (TRAIN,), "weights.safetensors"),
    "weights of words": ("weights", text("no tensors"), (TRAIN,), "not a safetensors file|cannot be read"),
    "weights gone": ("weights", gone, (TRAIN,), "No weights file .*: give a .safetensors file"),
    "checkpoint of words": ("checkpoint", text("no pickle"), ("convert {checkpoint}",), "checkpoint.pth"),
    "checkpoint empty": ("checkpoint", text(""), ("convert {checkpoint}",), "checkpoint.pth"),
}


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory):
    """A copy of the finished study that every row leaves as it was."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("faults") / "study")


@pytest.fixture(scope="module")
def inputs(study, tmp_path_factory, open_quietly):
    """Inputs from outside, by name; all are good."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    root = tmp_path_factory.mktemp("inputs")
    sample = open_quietly(study).training(0)[0]
    found = {"photo": root / "photo.png", "table": root / "table.csv", "coco": root / "drawn.json"}
    with Image.open(sample.image) as picture:
        picture.save(found["photo"])
        size = picture.size
    found["table"].write_text(LABELS + "photo.png,1,p\n")
    found["coco"].write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    found["masks"], found["eyes"] = root / "masks", root / "eyes"
    found["mask"], found["eye"] = found["masks"] / f"{sample.id}.png", found["eyes"] / "0" / "0.png"
    for file in (found["mask"], found["eye"], found["eyes"] / "1" / "1.png"):
        file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 2, size[::-1], dtype=np.uint8) * 255
    Image.fromarray(noise).save(found["mask"])
    found["map"] = root / "map.png"
    Image.fromarray(noise).save(found["map"])
    shutil.copy(found["photo"], found["eye"])
    shutil.copy(found["photo"], found["eyes"] / "1" / "1.png")
    found["weights"], found["checkpoint"] = root / "weights.safetensors", root / "checkpoint.pth"
    save_file({"a": np.zeros(99, np.float32)}, found["weights"])
    torch.save({"a": torch.zeros(2)}, found["checkpoint"])
    return found


@pytest.fixture(autouse=True)
def _stand(monkeypatch, tmp_path):
    """A folder of its own for what `predict` writes; rows share command lines, whose parsing takes most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("regaze.cli.parse", lambda words: _parsed(tuple(words)))


@cache
def _parsed(words, parse=cli.parse):
    return parse(list(words))


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """A folder that no row makes."""
    return tmp_path_factory.mktemp("absent") / "new"


STUDY_ROWS = [
    pytest.param(file, damage, STEPS[command], said, id=f"{fault}, {command}")
    for fault, (file, damage, commands, said) in STUDY_FAULTS.items()
    for command in commands
]
INPUT_ROWS = [
    pytest.param(name, damage, command, said, id=f"{fault}, {command.split()[0]}")
    for fault, (name, damage, commands, said) in INPUT_FAULTS.items()
    for command in commands
]


def listing(*folders):
    """Size and time of change of every file, but for caches, locks and SQLite's own side files."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not {"cache", ".locks"} & set(path.parts) and not path.name.endswith(("-wal", "-shm"))
    }


def refused(regaze, command, said, study, inputs, new, target, damage):
    """Damage a file, call the program, put the file back; exit code 1, one line that says so, nothing else changed."""
    beside = target.with_name("model.json")  # `less_a_tensor` fits it
    before = {file: file.read_bytes() for file in {target, beside} if file.is_file()}
    if target.suffix == ".sqlite":
        _close_stores(target.parent)
    damage(target)
    roots = (study, inputs["photo"].parent)
    there = listing(*roots)
    try:
        outcome = regaze(*(word.format(study=study, new=new, **inputs) for word in command.split()))
        assert outcome.code == 1, outcome
        assert re.search(said, outcome.err), outcome.err
        assert re.fullmatch(r"(?:(?:regaze|warning|model): [^\n]{1,2000}\n)+", outcome.err), outcome.err
        assert "Traceback" not in outcome.out + outcome.err
        assert listing(*roots) == there
        assert not new.exists()
    finally:
        if target.suffix == ".sqlite":
            _close_stores(target.parent)
        if target not in before:
            target.unlink(missing_ok=True)
        for file, content in before.items():
            file.write_bytes(content)


def _close_stores(folder):
    """Let go of databases that a command left to the garbage collector, with their side files."""
    gc.collect()
    for end in ("-wal", "-shm"):
        (folder / f"records.sqlite{end}").unlink(missing_ok=True)


@pytest.mark.parametrize(("file", "damage", "command", "said"), STUDY_ROWS)
def test_a_fault_of_a_study(file, damage, command, said, regaze, study, inputs, new):
    """What this program wrote is checked at the door by every command that takes it."""
    refused(regaze, command, said, study, inputs, new, study / file, damage)


@pytest.mark.parametrize(("name", "damage", "command", "said"), INPUT_ROWS)
def test_a_fault_of_an_input(name, damage, command, said, regaze, study, inputs, new):
    """What comes from outside is refused by every command that takes it, and nothing is made of it."""
    refused(regaze, command, said, study, inputs, new, inputs[name], damage)


def test_every_command_is_in_the_table():
    """A command that takes an input has a row; `reproduce` and `demo` take nothing that others do not."""
    rows = {row.values[2].split()[0] for row in (*STUDY_ROWS, *INPUT_ROWS)}
    assert rows == set(cli.COMMANDS) - {"reproduce", "demo"}
