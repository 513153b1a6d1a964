"""A disk that is full, and a process that is killed: one line, nothing half written, and the same call goes on."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from regaze.files import read_json, replacing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")

# A file may not grow beyond so many bytes: what is written beyond it fails as on a full disk (EFBIG).
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from regaze.cli import main
main(sys.argv[2:])
"""
MACHINE = ("--precision", "fp32", "--workers", "1")
TRAINING = ("--backbone", "test_resnet", "--epochs", "2", "--batch", "8", *MACHINE)
FINETUNING = ("--epochs", "2", "--batch", "8", *MACHINE)
EVALUATION = ("--faithfulness", "0", "--resamples", "20", *MACHINE)


def on_full_disk(limit, *words):
    """A command in a process of its own whose files may not exceed `limit` bytes."""
    program = [sys.executable, "-c", PROGRAM, str(limit), *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "limit", "gone"),
    [
        (("train", *TRAINING), 100_000, ("models", "collected", "evaluation", "records.sqlite")),
        (("collect", "--model", "multi-scale", *MACHINE), 4_000, ("collected",)),
        (("finetune", *FINETUNING), 100_000, ("models/multi-scale-finetuned", "models/multi-scale-control")),
        (("evaluate", *EVALUATION), 2_000, ("evaluation",)),
        (("correct", "--model", "multi-scale", "--healthy"), 2_000, ()),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_is_half_written(study_copy, regaze, words, limit, gone):
    """Every step says so; no temporary file stays, and with room the same call does its work."""
    for name in gone:
        path = study_copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if words[0] == "correct":  # into a store that has to grow
        (study_copy / "records.sqlite").unlink()
        assert regaze("select", study_copy, "--model", "multi-scale").code == 0
    command, *options = words
    failed = on_full_disk(limit, command, study_copy, *options, "--quiet")
    assert failed.returncode == 1, failed.stderr
    said = [text for text in failed.stderr.splitlines() if not text.startswith("warning: ")]
    assert len(said) == 1, failed.stderr
    assert said[0].startswith("regaze: ")
    assert not [path for path in study_copy.rglob(".*.*") if path.is_file() and ".locks" not in path.parts]
    assert not list((study_copy / "models").glob("multi-scale-f*/fold0/model.json")) or command != "finetune"
    again = regaze(command, study_copy, *options)
    assert again.code == 0, again.err


def test_init_on_a_full_disk_leaves_nothing(tmp_path, table_of, regaze):
    """The folder is gone again, and the same call makes the study later."""
    table = table_of(tmp_path / "t.csv", lambda row: row)
    words = ("init", tmp_path / "study", "--data", f"csv:{table}", "--size", "64")
    failed = on_full_disk(100, *words)
    assert failed.returncode == 1
    assert failed.stderr.count("regaze: ") == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "study").exists()
    assert regaze(*words).code == 0


def test_what_safetensors_cannot_write_is_an_error_of_the_disk(tmp_path):
    """Its own error becomes the system's, and the old file stays."""
    target = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(2)}, target)
    before = target.read_bytes()
    with pytest.raises(OSError, match=r"No space left|No such file|Is a directory"), replacing(target) as path:
        path.unlink()
        path.mkdir()
        try:
            save_file({"a": torch.zeros(3)}, path)
        finally:
            path.rmdir()
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("left", [[], ["cache/x.pixels", ".locks/init", ".study.json.k1ll3d"]])
def test_init_that_was_killed_starts_anew(new_study, regaze, left):
    """What a killed `init` leaves is no study and no obstacle; half a study.json is taken for none."""
    study = new_study()
    for name in left:
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_text('{"schema_')
    outcome = regaze("init", study, "--data", "synthetic:30", "--size", "64")
    assert outcome.code == 0, outcome.err
    assert read_json(study / "study.json")["schema_version"] == 1
    assert not list(study.glob(".study.json.*"))


def test_files_of_others_are_still_an_obstacle(new_study, regaze):
    """A folder that holds anything else is refused and left as it is."""
    study = new_study()
    (study / "study.json.bak").write_text("mine")
    outcome = regaze("init", study, "--data", "synthetic:30")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert (study / "study.json.bak").read_text() == "mine"
