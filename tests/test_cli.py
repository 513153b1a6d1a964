"""The command line: its help, its words, the whole loop, and what it prints."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pytest

from regaze import cli_reference
from regaze.cli import COMMANDS, parse
from regaze.commands import loop
from regaze.commands.loop import Demo, Run
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.study.options import CorrectOptions, StudyOptions
from regaze.training.options import FinetuneOptions, SupervisionOptions

REFERENCE = Path(__file__).parent.parent / "docs" / "cli.md"
MODELS = ["multi-scale", "multi-scale-control", "multi-scale-finetuned"]


def options_of(reference):
    """Command -> group -> flag -> (type, help), read from the reference as a person reads it."""
    found = {}
    for name, section in re.findall(r"^## regaze (\S+)\n\n```text\n(.*?)^```", reference, re.M | re.S):
        groups = found.setdefault(name, {})
        for title, body in re.findall(
            r"^ (positional arguments|(?:\w+ )?options)\n -{20,}\n(.*?)(?=\n \w|\Z)", section, re.M | re.S
        ):
            entries = groups.setdefault(title, {})
            for line in body.splitlines():
                if re.match(r"  (-|[A-Z]{3,}|\[\[)", line) and not line.startswith("  ---"):
                    head, _, text = re.sub(r"^  ", "", line).partition("  ")
                    flag, _, kind = head.partition(" ") if "," not in head else (head, "", "yes or no")
                    entries[flag] = (kind or flag, text.strip())
                elif line.startswith("    ") and entries:
                    kind, text = entries[flag]
                    entries[flag] = (kind, f"{text} {line.strip()}".strip())
    return found


@pytest.fixture(scope="module")
def reference():
    """docs/cli.md."""
    return REFERENCE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def options(reference):
    """All options of the reference."""
    return options_of(reference)


def test_help_loads_nothing_heavy():
    """Every help answers at once: it loads neither torch nor an image library."""
    program = """
import contextlib, io, sys
from regaze.cli import COMMANDS, main
for arguments in [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main(arguments)
    assert len(out.getvalue()) > 10, arguments
    print(arguments, sorted({"torch", "torchvision", "timm", "cv2", "PIL", "sklearn", "sqlalchemy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(COMMANDS) + 2
    assert all(line.endswith("[]") for line in lines), lines


def test_reference_is_what_the_program_says(reference, capsys, monkeypatch):
    """docs/cli.md is generated, and up to date."""
    monkeypatch.setenv("COLUMNS", "80")  # the generator must not depend on the terminal
    cli_reference.main()
    assert capsys.readouterr().out == reference, "run: make docs"


def test_every_option_is_explained(options):
    """Every option of every command has a help, a type, and a default or the word that it is required."""
    assert list(options) == list(COMMANDS)
    count = 0
    for command, groups in options.items():
        for title, entries in groups.items():
            assert entries, (command, title)
            for flag, (kind, text) in entries.items():
                if flag.startswith("-h"):
                    continue
                count += 1
                assert re.search(r"\((required|default: .*)\)$", text), (command, flag, text)
                assert len(re.sub(r"\((required|default: .*)\)$", "", text)) > 12, (command, flag)
                assert kind == "yes or no" or re.search(r"PATH|STUDY|WHAT|STR|INT|FLOAT|\{.+\}", kind), (
                    command,
                    flag,
                    kind,
                )
    assert count > 100


def test_shared_options_are_spelled_alike(options):
    """A group of options is the same in every command that has it, and a flag has one type everywhere."""
    groups, types = {}, {}
    for command, found in options.items():
        for title, entries in found.items():
            if title not in ("options", "positional arguments"):
                groups.setdefault(title, {})[command] = entries
            for flag, (kind, _) in entries.items():
                types.setdefault(flag, {})[command] = kind.replace("{None}|", "")
    shared = {title: by_command for title, by_command in groups.items() if len(by_command) > 1}
    assert {"output", "machine", "network", "evaluate", "study"} <= {title.removesuffix(" options") for title in shared}
    for entries in shared["study options"].values():  # required by init; run goes on without
        kind, text = entries["--data"]
        entries["--data"] = (kind, re.sub(r" \((required|default: '')\)$", "", text))
    for title, by_command in shared.items():
        first = next(iter(by_command.values()))
        assert all(entries == first for entries in by_command.values()), title
    types = {flag: by_command for flag, by_command in types.items() if flag.startswith("-")}
    for flag, by_command in types.items():
        assert len(set(by_command.values())) == 1, (flag, by_command)


def test_run_has_the_steps_defaults(options):
    """`run` promises what init and finetune promise, one by one: the same defaults and the same words."""
    defaults = {item.name: item.default for item in fields(Run)}
    assert Run(folder=Path()).study == StudyOptions(data="")
    assert len(options["run"]["study options"]) == len(fields(StudyOptions))
    assert defaults["finetune_epochs"] == FinetuneOptions().epochs
    assert Run(folder=Path()).finetuning.map_weight == FinetuneOptions().map_weight
    assert Run(folder=Path()).supervision == SupervisionOptions()


def test_version(regaze):
    """`--version` prints name and version."""
    from regaze import __version__

    assert regaze("--version").out == f"regaze {__version__}\n"


def test_run_makes_a_whole_study(finished_run, check_figures, reference, open_quietly):
    """One command gives split, three models, collected maps, selections, corrections, figures and a report."""
    folder, outcome = finished_run
    result = outcome.json
    check_figures(result, more=("report", "before", "after", "control"))
    for key in re.findall(r'"([a-z_]+)":', outcome.out):
        assert f'"{key}"' in reference, f"{key} is not documented"
    assert (result["part"], result["n"], result["n_photographs"]) == ("test", 6, 6)
    assert sorted(result["models"]) == MODELS
    assert (result["before"], result["after"], result["control"]) == (MODELS[0], MODELS[2], MODELS[1])
    assert set(result["paired"]) == {
        "multi-scale-finetuned against multi-scale",
        "multi-scale-control against multi-scale",
        "multi-scale-finetuned against multi-scale-control",
    }
    assert json.loads((folder / "evaluation" / "test.json").read_text()) == {
        key: value for key, value in result.items() if key not in ("report", "before", "after", "control")
    }
    for name in MODELS:
        assert sorted(path.name for path in (folder / "models" / name / "fold0").iterdir()) == [
            "learned.json",
            "model.json",
            "model.safetensors",
        ], "a checkpoint was left behind"

    study = open_quietly(folder)
    patients = {sample.id: sample.patient for sample in study.dataset.samples}
    learned = {patients[sample.id] for sample in study.training(0)}
    unseen = {patients[sample.id] for sample in (*study.validation(0), *study.test())}
    assert learned
    assert unseen
    assert not learned & unseen, "a patient is on both sides"
    assert len(study.training(0)) + len(study.validation(0)) + len(study.test()) == 30

    collected = json.loads((folder / "collected" / "multi-scale" / "fold0" / "collected.json").read_text())
    assert [item["sample"] for item in collected["photographs"]] == [sample.id for sample in study.training(0)]
    selection = study.store.latest_selection("multi-scale/fold0")
    assert selection.samples
    assert len(selection.reasons) == len(selection.samples)
    corrections = [study.store.correction(entry.id) for entry in study.store.correction_index()]
    assert {item.model for item in corrections} == {"multi-scale/fold0"}
    assert all(item.author and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item.time) for item in corrections)
    assert {item.sample for item in corrections} <= {sample.id for sample in study.training(0)}
    assert any(item.look.any() for item in corrections)
    healthy = {item.sample for item in corrections if not item.look.any()}
    assert healthy == {sample.id for sample in study.training(0) if sample.label == 0}


class Links(HTMLParser):
    """Collects whatever a browser would fetch."""

    def __init__(self, page):
        super().__init__()
        self.found, self.images = [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Keep the address of every resource."""
        for key, value in attrs:
            if key in ("src", "href", "srcset", "data", "poster", "action", "xlink:href"):
                self.images += tag == "img"
                if not value.startswith(("data:", "#")):
                    self.found.append((tag, value))


def test_report_needs_nothing_else(finished):
    """The report is one file: it refers to no other file and no address."""
    page = (finished / "report.html").read_text(encoding="utf-8")
    links = Links(page)
    assert links.images > 10
    assert links.found == []
    assert not re.search(r"@import|url\((?!['\"]?(data:|#))|<script[^>]+src", page)
    assert "regaze run" in page
    assert "--epochs 2" in page, "the command on the page makes this very study"


def test_run_again_changes_nothing(study_copy, finished_run, regaze, tiny, files_of, count_steps):
    """A finished study is never trained, collected, selected or corrected again, and says the same."""
    before = {key: value for key, value in files_of(study_copy).items() if key.startswith(("models", "collected"))}
    steps = count_steps()
    again = regaze("run", study_copy, *tiny["run"], "--json").json
    went_on = regaze("run", study_copy, "--json").json
    assert not steps
    after = files_of(study_copy)
    assert {key: after.get(key) for key in before} == before
    first = finished_run[1].json
    for result in (again, went_on):
        assert {**result, "report": ""} == {**first, "report": ""}
    assert json.loads((study_copy / "run.json").read_text())["command"].startswith(f"regaze run {study_copy} --data")


def test_run_goes_on_with_its_own_options_only(study_copy, regaze, files_of):
    """Options beside `run STUDY` would be ignored without --data, so they are refused, and run.json stays."""
    before = files_of(study_copy)
    refused = regaze("run", study_copy, "--epochs", "5", "--no-control")
    assert refused.code == 1
    assert re.fullmatch(r"regaze: --no-control --epochs 5 without --data: .*\n", refused.err)
    assert files_of(study_copy) == before


def test_refused_run_is_not_gone_on_with(study_copy, regaze, tiny):
    """A run that contradicts the study's models is refused, and `run STUDY` still means the one before."""
    before = (study_copy / "run.json").read_text()
    refused = regaze("run", study_copy, *tiny["run"], "--epochs", "3")
    assert (refused.code, refused.out) == (1, "")
    assert "was made with other options" in refused.err
    assert (study_copy / "run.json").read_text() == before


def test_steps_make_what_run_makes(new_study, finished, regaze, tiny, files_of):
    """init, train, collect, select, correct, finetune, evaluate, report: the same bytes as `run`, one JSON each."""
    folder = new_study()
    said = {"init": regaze("init", folder, "--data", tiny["data"], "--size", "64", "--json").json}
    training = [*tiny["network"], *tiny["training"], *tiny["machine"]]
    said["train"] = regaze("train", folder, *training, "--json").json
    said["collect"] = regaze("collect", folder, *tiny["machine"], "--json").json
    said["select"] = regaze("select", folder, "--author", "expert", "--json").json
    said["correct"] = regaze("correct", folder, "--healthy", "--author", "expert", "--json").json
    tuning = ["--epochs", "2", "--batch", "8", *tiny["machine"], "--json"]
    said["finetune"] = regaze("finetune", folder, *tuning).json
    said["control"] = regaze("finetune", folder, *tuning, "--map-weight", "0").json
    judging = [*tiny["machine"], *tiny["evaluation"], "--json"]
    said["evaluate"] = regaze("evaluate", folder, *judging).json
    said["report"] = regaze("report", folder, *judging).json

    assert {name: value[0] for name, value in files_of(folder / "models", "*.safetensors").items()} == {
        name: value[0] for name, value in files_of(finished / "models", "*.safetensors").items()
    }
    # The order of the keys follows the models' times; the content is the same.
    assert said["evaluate"] == json.loads((finished / "evaluation" / "test.json").read_text())
    assert said["init"]["photographs"] == 30
    assert said["init"]["test"] == 6
    loss = said["train"].pop("training_loss")
    assert loss == said["evaluate"]["models"]["multi-scale"]["training_loss"]
    assert said["train"] == {"model": "multi-scale", "folds": 1, "folder": str(folder / "models" / "multi-scale")}
    assert sum(said["collect"]["diagnosis"].values()) == 24 - said["init"]["validation"]
    assert said["select"]["selections"][0]["samples"]
    assert said["correct"]["written"] == said["correct"]["total"] == said["finetune"]["corrections"]
    assert said["finetune"]["model"] == "multi-scale-finetuned"
    assert said["control"]["model"] == "multi-scale-control"
    assert Path(said["report"]["report"]).stat().st_size > 50_000


def test_steps_speak_to_a_person(study_copy, regaze, tiny, tmp_path):
    """Without --json each command says its result in words, and no progress is mixed into it."""
    training = [*tiny["network"], *tiny["training"], *tiny["machine"]]
    judging = [*tiny["machine"], *tiny["evaluation"]]
    words = {
        ("init", study_copy, "--data", tiny["data"], "--size", "64"): "photographs: 30",
        ("train", study_copy, *training): "multi-scale: trained",
        ("collect", study_copy): r"multi-scale: \d+ misgraded",
        ("select", study_copy): "photographs by branches",
        ("correct", study_copy, "--healthy"): r"0 corrections written.* \d\d kept",
        ("finetune", study_copy, "--epochs", "2", "--batch", "8", *tiny["machine"]): "fine-tuned on",
        ("evaluate", study_copy, *judging): "test, 6 graded photographs",
        ("report", study_copy, *judging, "--to", tmp_path / "page.html"): "page.html",
    }
    for arguments, expected in words.items():
        outcome = regaze(*arguments)
        assert outcome.code == 0, (arguments, outcome.err)
        assert re.search(expected, outcome.out), (arguments, outcome.out)
    quiet = regaze("evaluate", study_copy, *judging, "--quiet")
    assert quiet.err == ""
    assert "multi-scale-finetuned" in quiet.out


def test_json_is_alone_on_stdout(tmp_path):
    """Of a real process stdout holds one JSON object and stderr, if quiet, nothing."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "regaze.cli",
            "init",
            "study",
            "--data",
            "synthetic:14",
            "--size",
            "32",
            "--json",
            "--quiet",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["photographs"] == 14
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_demo_is_a_run(monkeypatch, tmp_path, regaze):
    """`demo` is `run` with options of its own: what it promises is what `run` does."""
    seen = []
    monkeypatch.setattr(loop.Run, "run", lambda self: (seen.append(self), ({"part": "test"}, 0))[1])
    outcome = regaze("demo", "--folder", tmp_path / "d", "--photographs", "20", "--seed", "3", "--json")
    assert outcome.json == {"part": "test"}
    run = seen[0]
    assert (run.folder, run.study.data, run.study.seed) == (tmp_path / "d", "synthetic-simple:20", 3)
    assert run.output.json
    assert run.control
    assert Demo().folder == Path("demo")


def test_command_line_of_a_run_makes_it_again(tmp_path):
    """What the report prints as its command parses to the very same run, whatever the options."""
    run = Run(
        folder=tmp_path / "a study",
        study=StudyOptions(data="csv:my table.csv", boxes=Path("b"), crop=False),
        control=False,
        map_weight=2.5,
        network=NetworkOptions(network="single-scale", scales=2),
        correct=CorrectOptions(source="boxes", author="A. N. Other", healthy=not CorrectOptions().healthy),
        machine=MachineOptions(workers=1),
    )
    import shlex

    words = shlex.split(loop._command_line(run))
    assert words[0] == "regaze"
    assert parse(words[1:]) == run


def test_ctrl_c_is_one_line(study_copy, regaze, tiny, count_steps):
    """Ctrl-C ends with 130 and one line that says how to go on."""
    shutil.rmtree(study_copy / "models" / "multi-scale-control")
    count_steps(stop=1)
    outcome = regaze("run", study_copy, *tiny["run"], "--quiet")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "regaze: interrupted; the same command goes on where it stopped.\n"


def test_disk_mistakes_are_one_line(finished, regaze, tiny, tmp_path):
    """A path that cannot be written is no traceback."""
    (tmp_path / "file").write_text("x")
    outcome = regaze("report", finished, *tiny["machine"], *tiny["evaluation"], "--to", tmp_path / "file" / "page.html")
    assert outcome.code == 1
    assert re.fullmatch(r"regaze: .*file.*: check the path, its rights and the disk\.\n", outcome.err)
