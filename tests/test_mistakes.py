"""Mistakes of a user: each is one line that names the thing and the cure, and leaves everything as it was.

Faults of files have a table of their own, `test_fault_table`.
"""

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
import torch


def without(*names):
    """Remove parts of a study, as if their step had not been taken."""

    def prepare(study):
        for name in names:
            path = study / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return prepare


def plain_network(study):
    """Make the study's model one of a plain network."""
    file = study / "models" / "multi-scale" / "fold0" / "model.json"
    card = json.loads(file.read_text())
    card["network"]["network"] = "plain"
    file.write_text(json.dumps(card))


@pytest.fixture(scope="module")
def files(tmp_path_factory, table_of):
    """Files and folders that mistakes are about, by name."""
    import numpy as np
    from safetensors.numpy import save_file

    root = tmp_path_factory.mktemp("mistakes")
    plain = ("image", "label", "patient")
    tables = {
        "bare": lambda row: {key: row[key] for key in plain},
        "masks": lambda row: row,
        "few": lambda row: row if row["patient"] < "p0003" else None,
        "ungraded": lambda row: row | {"label": "" if row["split"] == "training" else row["label"]},
        "one": lambda row: row | {"label": "0"},
        "missing": lambda row: row | {"image": row["image"].replace("_left", "_middle")},
    }
    found = {name: table_of(root / f"{name}.csv", change) for name, change in tables.items()}
    found["empty"] = root / "empty"
    found["empty"].mkdir()
    found["full"] = root / "full"
    found["full"].mkdir()
    (found["full"] / "letter.txt").write_text("mine")
    found["pickle"] = root / "weights.pth"
    torch.save({"a": torch.zeros(2)}, found["pickle"])
    found["foreign"] = root / "foreign.safetensors"
    save_file({f"layer{number}.weight": np.zeros(3, np.float32) for number in range(9)}, found["foreign"])
    found["nowhere"] = root / "nowhere"
    found["root"] = root
    return found


TRAIN = "train {study} --backbone test_resnet --name other --precision fp32"
RUN_NEW = "run {new} --data csv:{masks} --size 64 --backbone test_resnet --precision fp32 --workers 1"
RUN = "run {study} --data synthetic:30 --size 64 --healthy --backbone test_resnet --epochs 2 --batch 8 "
RUN += "--finetune-epochs 2 --precision fp32"

# Arguments; expected line on stderr; what is done to the finished study before. {study}: the finished study.
# {new}: a folder that does not exist. The others are files of the fixture above.
REFUSED = {
    # data
    "missing folder": ("init {new} --data folder:{nowhere}", "no folder .*nowhere", None),
    "missing IDRiD": ("init {new} --data idrid:{nowhere}", "nowhere", None),
    "empty folder": ("init {new} --data folder:{empty}", r"empty.*(no|class)", None),
    "unknown spelling": ("init {new} --data coco:{empty}", "write idrid:DIR, folder:DIR, csv:FILE, synthetic", None),
    "no path": ("init {new} --data folder:", "name no path", None),
    "no number": ("init {new} --data synthetic:many", "write synthetic:N with N from 1", None),
    "no graded photograph": ("init {new} --data csv:{ungraded}", "no graded photograph to train on: add labels", None),
    "missing photograph": ("init {new} --data csv:{missing}", r"line \d+: there is no file .*_middle", None),
    "few for a fifth": ("init {new} --data csv:{few}", r"too small for a validation part.*pass --folds 2", None),
    "few for the folds": ("init {new} --data csv:{few} --folds 9", "too few for 9 folds: ask for fewer", None),
    "missing boxes": ("init {new} --data csv:{bare} --boxes {nowhere}", "nowhere", None),
    "boxes of nothing": ("init {new} --data csv:{bare} --boxes {empty}", "empty", None),
    "wrong patient": ("init {new} --data synthetic:20 --patient name", "leave it out", None),
    "no lesions": ("run {new} --data csv:{bare} --size 64", "neither masks nor boxes.*pass --boxes DIR", None),
    # options
    "size 5": ("init {new} --data csv:{masks} --size 5", "--size 5: expected 32 to 4096", None),
    "size of training": (TRAIN + " --size 5", "--size 5: expected 32 to 4096", None),
    "folds 50": ("init {new} --data csv:{masks} --folds 50", "--folds 50: expected 1 to 20", None),
    "folds 0": ("init {new} --data csv:{masks} --folds 0", "--folds 0: expected 1", None),
    "seed": ("init {new} --data csv:{masks} --seed -1", "--seed -1: expected 0 or more", None),
    "share 0": ("select {study} --share 0", "--share 0.0: expected above 0, up to 1", None),
    "share 2": ("select {study} --share 2", "--share 2.0: expected above 0, up to 1", None),
    "share of a run": (RUN_NEW + " --share 2", "--share 2.0: expected above 0, up to 1", None),
    "rank": ("collect {study} --min-rank 2", "--min-rank 2.0: expected 0 to 1", None),
    "enrichment": ("collect {study} --min-enrichment -1", "--min-enrichment -1.0: expected 0 or more", None),
    "epochs 0": (TRAIN + " --epochs 0", "--epochs 0: expected 1 or more", None),
    "epochs beyond all": (TRAIN + " --epochs 1" + "0" * 23, "--epochs 10*: expected 1 to 100000", None),
    "epochs of many digits": (TRAIN + " --epochs 1" + "0" * 400, "expected 1 to 100000", None),
    "steps beyond all": ("evaluate {study} --steps 1000000000", "--steps 10*: expected 1 to 100000", None),
    "seed beyond all": ("init {new} --data csv:{masks} --seed 1" + "0" * 30, "expected 0 to 1000000000", None),
    "epochs negative": (TRAIN + " --epochs -3", "--epochs -3: expected 1 or more", None),
    "batch 0": (TRAIN + " --batch 0", "--batch 0: expected 2 or more", None),
    "smoothing": (TRAIN + " --smoothing 3", "--smoothing 3.0: expected 0 to 1", None),
    "learning rate": (TRAIN + " --lr-heads -1", "--lr-heads -1.0: expected 0 or more", None),
    "nan": (TRAIN + " --lr-heads nan", "--lr-heads nan: expected 0 or more", None),
    "averaging 1": (TRAIN + " --averaging 1", "--averaging 1.0: expected 0 to 0.9999", None),
    "epochs of a run": (RUN_NEW + " --epochs 0", "--epochs 0: expected 1 or more", None),
    "fine-tuning epochs 0": ("finetune {study} --epochs 0", "--epochs 0: expected 1 or more", None),
    "fine-tuning of a run": (RUN_NEW + " --finetune-epochs 0", "epochs 0: expected 1 or more", None),
    "map weight": ("finetune {study} --map-weight -1", "--map-weight -1.0: expected 0 or more", None),
    "steps 0": ("evaluate {study} --steps 0", "--steps 0: expected 1 or more", None),
    "resamples 0": ("evaluate {study} --resamples 0", "--resamples 0: expected 1 or more", None),
    "faithfulness": ("evaluate {study} --faithfulness -1", "--faithfulness -1: expected 0 or more", None),
    "steps of a run": (RUN_NEW + " --steps 0", "--steps 0: expected 1 or more", None),
    "name that climbs": (TRAIN + " --name ../../x", r"--name '\.\./\.\./x': expected up to 100 letters", None),
    "empty name": ("finetune {study} --name=", "--name '': expected", None),
    "prediction batch": ("predict {study}/models/multi-scale/fold0 {full} --batch 0", "--batch 0: expected 1", None),
    # networks
    "unknown backbone": (TRAIN + " --backbone resnet19", "Unknown backbone 'resnet19': expected one of alexnet", None),
    "scales": (TRAIN + " --scales 9", "--scales 9: backbone test_resnet gives 1 to 4 scales", None),
    "weights pickled": (TRAIN + " --weights {pickle}", "not a safetensors file.*pickled weights are not read", None),
    "weights foreign": (TRAIN + " --weights {foreign}", "do not fit test_resnet: 0 of its tensors", None),
    "unknown backbone of a run": (RUN_NEW + " --backbone resnet19", "Unknown backbone 'resnet19'", None),
    "weights of a run": (RUN_NEW + " --weights {foreign}", "do not fit test_resnet: 0 of its tensors", None),
    "rank of a run": (RUN_NEW + " --min-rank 2", "--min-rank 2.0: expected 0 to 1", None),
    "hub of timm": (TRAIN + " --weights hub", "Hub weights for test_resnet could not be had.*--weights none", None),
    "hub of torchvision": (
        "train {study} --backbone resnet18 --weights hub --name other",
        "Hub weights for resnet18 could not be had.*connect this machine",
        None,
    ),
    "no such device": (TRAIN + " --device cuda", "--device cuda: this machine has no such device; pass --device", None),
    "odd device": (TRAIN + " --device toaster", "--device toaster: expected auto, cpu, cuda", None),
    # order of the steps
    "train first": ("train {new}", r"new is no study \(it has no study.json\): run `regaze init", None),
    "run without data": ("run {new}", "no earlier run to go on with: pass --data", None),
    "collect first": (
        "collect {study}",
        r"no model 'multi-scale' \(models: none yet\): run `regaze train`",
        without("models"),
    ),
    "select first": ("select {study}", "have not been collected: run `regaze collect", without("collected")),
    "correct first": ("correct {study}", "Nothing has been selected.*run `regaze select", without("records.sqlite")),
    "agree first": ("agree {study}", "Nobody has corrected a map", without("records.sqlite")),
    "agree tolerance": ("agree {study} --tolerance -1", "--tolerance -1.0: expected 0 or more", None),
    "rounds first": ("rounds {study}", "no model with maps to correct: run `regaze train", without("models")),
    "use nothing": ("use {study} other", "no model 'other'", None),
    "export nothing": ("export {study} --to {new}", "no correction to export", without("records.sqlite")),
    "export over a file": ("export {study} --to {masks} --format coco", "masks", None),
    "import nowhere": ("import {study} {nowhere} --format coco", "nowhere: no file", None),
    "import of no model": ("import {study} {nowhere} --model resnet", "no model 'resnet'", None),
    "cache size": ("finetune {study} --cache much", "--cache much: expected a size such as 4GB", None),
    "replay 0": ("finetune {study} --replay 0", "--replay 0.0: expected above 0, up to 1", None),
    "tolerance": ("finetune {study} --tolerance -1", "--tolerance -1.0: expected 0 or more", None),
    "signals first": ("select {study} --by cam --everything", "regaze collect", None),
    "finetune first": (
        "finetune {study}",
        "no correction yet: run `regaze select` and `regaze correct`",
        without("records.sqlite", "models/multi-scale-finetuned", "models/multi-scale-control"),
    ),
    "evaluate first": ("evaluate {study}", "has no model yet: run `regaze train", without("models")),
    "report first": (
        "report {study}",
        "no fine-tuned model to report on: run `regaze finetune",
        without("models/multi-scale-finetuned"),
    ),
    # models
    "unknown model": ("collect {study} --model resnet", r"no model 'resnet' \(models: multi-scale, ", None),
    "fine-tune the fine-tuned": ("finetune {study} --model multi-scale-finetuned", "give the phase-1 model", None),
    "fine-tune a plain network": ("finetune {study}", "plain network without attention maps", plain_network),
    "other options, same name": (
        TRAIN + " --name multi-scale --epochs 1",
        "'multi-scale' .*made with other options",
        None,
    ),
    "other options, same run": (RUN + " --lr-heads 0.5", "made with other options.*another --name", None),
    "no boxes": ("correct {study} --from boxes", "has no boxes for any photograph: pass --boxes", None),
    # folders and files
    "folder in use": ("init {full} --data csv:{masks}", "full is not empty and no study: give a new folder", None),
    "file for a folder": ("init {masks} --data csv:{masks}", "is not empty and no study", None),
    "another study": ("init {study} --data synthetic:30 --size 96", "was made with --size 64: give the same", None),
    "another run": ("run {study} --data synthetic:30 --size 96", "was made with --size 64: give the same", None),
    "boxes without data": ("evaluate {study} --boxes {full}", "--boxes .*full: needs --data", None),
    # predict
    "no model folder": ("predict {full} {masks}", "full is no model folder .*no model.json", None),
    "study without a model": ("predict {study} {full}", "no model 'multi-scale'.*regaze train", without("models")),
    "nothing to predict": ("predict {study}/models/multi-scale/fold0", "No photograph to predict: give files", None),
    "no photograph": ("predict {study}/models/multi-scale/fold0 {empty}", "No photograph in .*empty: give files", None),
}

USAGE = {
    "nothing": "",
    "unknown command": "learn",
    "unknown option": "train {new} --speed 3",
    "missing folder": "train",
    "missing data": "init {new}",
    "word for a number": "init {new} --data csv:{masks} --size large",
    "unknown choice": "select {new} --by best",
    "missing value": "train {new} --epochs",
    "too many": "collect {new} {new}",
}


@pytest.fixture
def place(files, study_copy, tmp_path, monkeypatch):
    """Names for the arguments; no network, no cached weights, a folder of its own to stand in."""

    def unreachable(*_arguments, **_options):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    import huggingface_hub.constants

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    stand = tmp_path / "stand"
    stand.mkdir()
    monkeypatch.chdir(stand)
    return {**files, "study": study_copy, "new": tmp_path / "new"}


def listing(place):
    """Every file that a mistake could touch, but for caches and SQLite's own side files."""
    found = {}
    for root in (place["study"], place["new"], place["root"], Path.cwd()):
        for path in sorted(root.rglob("*")):
            if path.is_file() and "cache" not in path.parts and not path.name.endswith(("-wal", "-shm")):
                large = path.stat().st_size > 100_000
                found[path] = path.stat().st_mtime_ns if large else path.read_bytes()
    return found


def words(text, place):
    """The arguments of a row."""
    return [word.format(**place) for word in text.split(" ") if word]


@pytest.mark.parametrize("mistake", REFUSED)
def test_refused(mistake, place, regaze):
    """The exit code is 1, stderr one line with the thing and the cure, stdout empty, and no file has changed."""
    arguments, expected, prepare = REFUSED[mistake]
    if "--device cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    if prepare is not None:
        prepare(place["study"])
    before = listing(place)
    outcome = regaze(*words(arguments, place))
    assert outcome.code == 1, outcome
    assert outcome.out == ""
    assert re.fullmatch(r"regaze: [^\n]+\n", outcome.err), outcome.err
    assert re.search(expected, outcome.err), outcome.err
    assert "Traceback" not in outcome.err
    after = listing(place)
    if place["study"] / "records.sqlite" not in before:  # an empty store is made by looking into it
        after.pop(place["study"] / "records.sqlite", None)
    assert after == before
    assert not place["new"].exists()


@pytest.mark.parametrize("mistake", USAGE)
def test_wrong_usage(mistake, place, regaze):
    """Words that the program does not know end with 2, a hint on stderr, and nothing done."""
    before = listing(place)
    outcome = regaze(*words(USAGE[mistake], place))
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert re.search("required|unrecognized|invalid|expected|choices|missing|unknown|match|parse", outcome.err, re.I)
    assert "Traceback" not in outcome.err
    assert listing(place) == before


def test_a_run_that_is_refused_makes_no_study(place, regaze):
    """A run whose network cannot be built leaves no folder behind, and there is no run to go on with."""
    outcome = regaze(*words(RUN_NEW + " --weights {nowhere}", place))
    assert outcome.code == 1
    assert "No weights file" in outcome.err
    assert not place["new"].exists()
    again = regaze("run", place["new"])
    assert again.code == 1
    assert "no earlier run" in again.err
