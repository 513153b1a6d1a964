"""What several rooms' tests share: the program called in process, and one tiny finished study.

The study is made once per session and read by many tests; a test that changes it takes a copy.
"""

import os

# Before torch is loaded: tiny tensors are computed faster by one thread, and by the same arithmetic on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import gc
import io
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

COUNT = 30  # synthetic photographs: 15 patients, 3 of them for the test
DATA = f"synthetic:{COUNT}"

# A network of 0.2 million weights that timm keeps for tests; everything else as small as it can be.
NETWORK = ("--backbone", "test_resnet")
TRAINING = ("--epochs", "2", "--batch", "8")
MACHINE = ("--precision", "fp32", "--workers", "1")
EVALUATION = ("--faithfulness", "2", "--steps", "4", "--resamples", "50")
TINY = (*NETWORK, *TRAINING, "--finetune-epochs", "2", *MACHINE, *EVALUATION)


@dataclass(frozen=True)
class Outcome:
    """What a call of the program gave."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout; fails where there is more or less."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def _call(*arguments):
    """Call `regaze ARGUMENTS` in this process."""
    from regaze.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def regaze():
    """A function that calls the program: `regaze("train", folder, "--json").json`."""
    return _call


@pytest.fixture(scope="session")
def tiny():
    """The options that make a study small, by name: `data`, and lists for each command that takes them."""
    return {
        "data": DATA,
        "network": list(NETWORK),
        "training": list(TRAINING),
        "machine": list(MACHINE),
        "evaluation": list(EVALUATION),
        "run": ["--data", DATA, "--size", "64", "--healthy", *TINY],
    }


@pytest.fixture(scope="session")
def painted(tmp_path_factory):
    """The `data` folder of a study about `synthetic:30`, painted once; a new study may begin with a copy of it."""
    from regaze.synthetic.dataset import write_synthetic

    folder = tmp_path_factory.mktemp("painted") / "data"
    write_synthetic(folder / f"synthetic-{COUNT}-seed0", COUNT, 0, workers=1)
    return folder


@pytest.fixture
def new_study(painted, tmp_path):
    """A function that makes a folder for a new study about `synthetic:30` (nothing but its photographs)."""

    def make(name="new"):
        folder = tmp_path / name
        shutil.copytree(painted, folder / "data")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_run(painted, tmp_path_factory):
    """A finished `regaze run`: the study's folder and what the program said. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(painted, folder / "data")
    outcome = _call("run", folder, "--data", DATA, "--size", "64", "--healthy", *TINY, "--json")
    assert outcome.code == 0, outcome.err
    gc.collect()  # closes the store, whose write-ahead log the copies would take along otherwise
    return folder, outcome


@pytest.fixture(scope="session")
def finished(finished_run):
    """The folder of a finished study. Not to be changed."""
    return finished_run[0]


@pytest.fixture
def study_copy(finished, tmp_path):
    """A copy of the finished study, to be changed."""
    return shutil.copytree(finished, tmp_path / "study")


@pytest.fixture(scope="session")
def files_of():
    """A function: folder -> {path: (bytes, time of change)} of every file below it that matches the pattern."""

    def read(folder: Path, pattern="*"):
        return {
            str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(folder.rglob(pattern))
            if path.is_file()
        }

    return read


@pytest.fixture(scope="session")
def open_quietly():
    """A function that opens a study without a word."""
    from regaze.console import Voice
    from regaze.study.folder import open_study

    return lambda folder: open_study(Path(folder), Voice(quiet=True))


@pytest.fixture(scope="session")
def table_of(painted):
    """A function that writes a CSV about the painted photographs, changed row by row by the caller.

    `change` gets a dict of the columns and returns it changed, or None to leave the photograph out.
    """
    import csv

    source = painted / f"synthetic-{COUNT}-seed0"

    def write(file: Path, change):
        with (source / "synthetic.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        kept = []
        for row in rows:
            row["image"] = str(source / row["image"])
            for column in list(row)[4:]:
                row[column] = row[column] if row[column] in ("", "none") else str(source / row[column])
            changed = change(row)
            if changed is not None:
                kept.append(changed)
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
        return file

    return write


GRADING = {
    "quadratic_weighted_kappa",
    "interval",
    "ranked_probability_score",
    "log_loss",
    "accuracy",
    "recall",
    "confusion",
    "referable",
    "two_classes",
    "calibration_error",
    "n",
    "reliability",
}
SCORES = {"ranked_probability_score", "log_loss"}
AREAS = {"deletion", "insertion", "relative_deletion", "relative_insertion"}
FAITHFULNESS = AREAS | {"n_faithfulness"}
MAP_FIGURES = {
    "squared_error",
    "zero_map_squared_error",
    "mean_map_squared_error",
    "lesion_enrichment",
    "relevance_rank",
    "pointing_game",
    "auroc",
    "healthy_squared_error",
}
MAP_COUNTS = {"n_used", "n_skipped", "n_healthy", "dead"}
EVIDENCE = {"map_intervals", "iou", "lesion_recall", "faithfulness", "sanity"}


def _is_number(value):
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _is_interval(value):
    return type(value) is list and len(value) == 2 and all(map(_is_number, value))


def _check_model(figures, classes, scales):
    assert set(figures) == GRADING | FAITHFULNESS | EVIDENCE | {"maps", "precision", "training_loss", "by_period"}
    assert figures["precision"] in ("fp32", "bf16")
    assert set(figures["training_loss"]) == {"first", "last", "chance", "least", "epochs"}
    for key in ("quadratic_weighted_kappa", "accuracy", "calibration_error", *AREAS):
        assert _is_number(figures[key]), key
    for key in SCORES:
        assert figures[key]["mean"] > 0
        assert _is_interval(figures[key]["interval"])
    assert _is_interval(figures["interval"])
    assert len(figures["recall"]) == classes
    assert all(map(_is_number, figures["recall"]))
    assert [len(row) for row in figures["confusion"]] == [classes] * classes
    assert sum(map(sum, figures["confusion"])) == figures["n"]
    assert set(figures["referable"]) == {"auroc", "sensitivity", "specificity", "sensitivity_at_90"}
    assert all(map(_is_number, figures["referable"].values()))
    assert all(set(item) == {"confidence", "accuracy", "n"} for item in figures["reliability"])
    assert sum(item["n"] for item in figures["reliability"]) == figures["n"]
    assert type(figures["n_faithfulness"]) is int
    assert set(figures["maps"]) == {"fused", *(f"scale{number + 1}" for number in range(scales))}
    for figure in figures["maps"].values():
        assert set(figure) == MAP_FIGURES | MAP_COUNTS
        assert all(_is_number(figure[key]) for key in MAP_FIGURES)
        assert all(type(figure[key]) is int for key in MAP_COUNTS)
    _check_evidence(figures)


def _check_evidence(figures):
    assert set(figures["map_intervals"]) == set(figures["iou"]) == set(figures["maps"])
    for intervals in figures["map_intervals"].values():
        assert set(intervals) == MAP_FIGURES
        assert all(map(_is_interval, intervals.values()))
    for found in figures["iou"].values():
        assert set(found) == {"mean", "interval", "n_used", "n_skipped", "thresholds"}
        assert _is_number(found["mean"])
        assert _is_interval(found["interval"])
    recall = figures["lesion_recall"]
    assert set(recall) == {"budget", "chance", "masks", "boxes"}
    for origin in ("masks", "boxes"):
        assert set(recall[origin]) == {"all", "types", "sizes"}
        for entry in (recall[origin]["all"], *recall[origin]["types"].values(), *recall[origin]["sizes"].values()):
            assert set(entry) == {"n_lesions", "n_used", "n_skipped", "recall"}
            assert set(entry["recall"]) == set(figures["maps"])
            assert all(set(found) == {"share", "interval"} for found in entry["recall"].values())
    assert (figures["faithfulness"] is None) == (figures["n_faithfulness"] == 0)
    if figures["faithfulness"] is not None:
        assert set(figures["faithfulness"]) == {"all", "without_grade_0"}
        assert figures["faithfulness"]["all"]["fused"]["n_used"] == figures["n_faithfulness"]
    if figures["sanity"] is not None:
        assert set(figures["sanity"]) == {"stability", "randomisation"}


def _check_pair(pair):
    nested = {"without_grade_0", "lesion_recall"}
    assert set(pair) == {"kappa", "enrichment", "squared_error", "iou"} | SCORES | AREAS | nested
    assert set(pair["without_grade_0"]) == AREAS
    assert "fused" in pair["lesion_recall"]
    single = {key: found for key, found in pair.items() if key not in nested}
    for key, found in (*single.items(), *pair["without_grade_0"].items()):
        more = {"probability_greater", "mean_a", "mean_b", "n_skipped"}
        if key == "kappa":
            more = {"probability_better", "above_chance"}
            assert found["above_chance"] in (True, False, None)
        assert set(found) == {"difference", "interval", "n_used", "n_groups"} | more
        assert all(_is_number(value) for name, value in found.items() if name not in ("interval", "above_chance"))
        assert _is_interval(found["interval"])


@pytest.fixture(scope="session")
def check_figures():
    """A function that holds a result to the shape that docs/cli.md gives: keys, types, null but no NaN."""

    def check(result, classes=5, scales=3, more=()):
        keys = {"part", "n", "n_photographs", "overlap", "models", "paired", "baselines", "warnings", "notes"}
        assert set(result) == keys | set(more)
        assert result["part"] in ("test", "validation")
        assert type(result["n"]) is int
        assert result["n"] <= result["n_photographs"]
        assert result["models"]
        for figures in result["models"].values():
            _check_model(figures, classes, scales)
            assert figures["n"] == result["n"]
            for figure in figures["maps"].values():
                assert figure["n_used"] + figure["n_skipped"] == result["n_photographs"]
        for label, pair in result["paired"].items():
            assert set(label.split(" against ")) <= set(result["models"])
            _check_pair(pair)
        for baseline in result["baselines"].values():
            assert set(baseline) == GRADING | {"about", "against"}
            assert baseline["n"] == result["n"]
            assert set(baseline["against"]) <= set(result["models"])
        for doubt in result["warnings"]:
            assert set(doubt) == {"model", "text"}
            assert doubt["model"] in result["models"]
        assert all(type(text) is str and text for text in result["notes"] + [d["text"] for d in result["warnings"]])

    return check


@pytest.fixture
def count_steps(monkeypatch):
    """A function: count optimiser steps from now on, and press Ctrl-C instead of step `stop`."""
    import torch

    original = torch.optim.AdamW.step

    def start(stop=None):
        steps = []

        def step(self, *arguments, **options):
            if len(steps) + 1 == stop:
                raise KeyboardInterrupt
            steps.append(time.monotonic())
            return original(self, *arguments, **options)

        monkeypatch.setattr(torch.optim.AdamW, "step", step)
        return steps

    return start
