"""All experiments end to end, on photographs and networks that are as small as can be."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from regaze.commands.base import OutputOptions
from regaze.commands.reproduce import Reproduce, duration, plan_lines
from regaze.console import Voice
from regaze.errors import ModelError, OptionError, StudyError
from regaze.experiments.options import ReproduceOptions
from regaze.experiments.reproduce import planned
from regaze.experiments.runs import open_bench
from regaze.models.options import MachineOptions

OPTIONS = ReproduceOptions(
    data="synthetic:30",
    backbones="test_resnet",
    seeds=1,
    size=32,
    epochs=2,
    finetune_epochs=1,
    batch=8,
    weightings="residual,gate",
    shares="0.3",
    faithfulness=2,
    steps=3,
    resamples=50,
)
MACHINE = MachineOptions(precision="fp32", workers=1)


def _command(to, what="all", options=OPTIONS, **more):
    quiet = OutputOptions(json=True, quiet=True)
    return Reproduce(what=what, reproduce=options, machine=MACHINE, to=to, output=quiet, **more)


@pytest.fixture(scope="module")
def folder_of(painted, tmp_path_factory):
    """A function: a new reproduce folder that holds nothing but the painted photographs."""

    def make():
        folder = tmp_path_factory.mktemp("reproduce")
        shutil.copytree(painted, folder / "data")
        return folder

    return make


@pytest.fixture(scope="module")
def done(folder_of):
    """The folder, the page and the result of a finished call. Not to be changed."""
    to = folder_of()
    page = to / "page.md"
    result, code = _command(to, markdown=page).run()
    assert code == 0
    return to, page, result


def test_every_experiment_is_written(done):
    """JSON, Markdown, SVG and PNG of each, strict JSON, and a marked section of the page."""
    to, page, result = done
    text = page.read_text(encoding="utf-8")
    for name in ("fig1", "fig5", "fig6", "table2", "table3", "fig7"):
        values = json.loads((to / f"{name}.json").read_text(), parse_constant=pytest.fail)
        assert values == json.loads(json.dumps(result["experiments"][name]))
        assert values["claims"]
        assert values["figures"]
        assert all(claim["sentence"] in text for claim in values["claims"])
        assert (to / f"{name}.svg").read_text().startswith("<svg")
        with Image.open(to / f"{name}.png") as picture:
            assert min(picture.size) > 200
        assert f"<!-- regaze reproduce {name}, synthetic:30, 32 px: start -->" in text
    assert str(to) not in text
    assert "test_resnet from scratch" in text


def test_figures_come_from_the_records(done):
    """Figure 5's kappa is scikit-learn's on the judged photographs; table 3's zero map is the target's mean square."""
    to, _, result = done
    bench = open_bench(to, OPTIONS, MACHINE, Voice(quiet=True))
    run = next(run for run in planned(bench, ["fig5"]) if run.kind == "judge" and run.cell.network == "plain")
    rows = [row for row in bench.record(run)["photographs"] if row["label"] is not None]
    wanted = cohen_kappa_score([row["label"] for row in rows], [row["grade"] for row in rows], weights="quadratic")
    found = result["experiments"]["fig5"]["figures"]["test_resnet (plain)"]["kappa"]["value"]
    assert found is None if np.isnan(wanted) else found == pytest.approx(wanted)
    of_truth = [row["probabilities"][row["label"]] for row in rows]
    loss = result["experiments"]["fig5"]["figures"]["test_resnet (plain)"]["log-loss"]
    assert loss["value"] == pytest.approx(-np.log(of_truth).mean())
    beside = [note for note in result["experiments"]["fig5"]["notes"] if "paired, lower is better" in note]
    assert len(beside) == 4
    assert all(note.count("inconclusive") == 2 for note in beside), "one training of each decides nothing"
    maps = next(run for run in planned(bench, ["table3"]) if run.kind == "maps" and run.cell.share == 1.0)
    rows = bench.record(maps)["photographs"]
    deepest = [row["views"]["scale3"]["squared_error"] for row in rows]
    error = result["experiments"]["table3"]["figures"]["test_resnet, proposed, deepest map"]["squared error"]
    assert error["value"] == pytest.approx(np.mean(deepest))
    assert error["n"] == len(rows)
    assert sum(row["views"]["random"]["deletion"] is not None for row in rows) == 2
    tables = [result["experiments"][name]["figures"] for name in ("table2", "table3")]
    assert {line for line in tables[0] if "lesions" in line} == {"test_resnet, control: lesions"}
    assert not any(line.endswith("control: lesions") for line in tables[1])  # they are what maps are compared with
    assert all(values["squared error"]["value"] is not None for values in tables[1].values())


def test_one_training_decides_no_claim(done):
    """With one seed and one fold every claim is open, and the notes say why."""
    _, _, result = done
    claims = [claim for values in result["experiments"].values() for claim in values["claims"]]
    assert {claim["verdict"] for claim in claims} == {"inconclusive"}
    assert any("no claim is decided" in note for note in result["experiments"]["fig5"]["notes"])


def test_again_trains_nothing(done, count_steps, files_of):
    """A second call takes no optimiser step, changes no run, and writes the same figures."""
    to, page, result = done
    before, text = files_of(to / "runs"), page.read_text(encoding="utf-8")
    steps = count_steps()
    again, _ = _command(to, markdown=page).run()
    assert steps == []
    assert files_of(to / "runs") == before
    assert again == result
    assert page.read_text(encoding="utf-8") == text


def test_shares_are_kept_apart(done):
    """A share's model learned from its share of the photographs with lesions alone, restarted from phase 1."""
    to, _, _ = done
    cards = {path.parent.parent.name: json.loads(path.read_text()) for path in to.rglob("models/*/fold0/model.json")}
    some = [card for name, card in cards.items() if "-share30-" in name]
    full = next(card for name, card in cards.items() if name.startswith("test_resnet-multi-scale-finetuned"))
    assert len(some) == 3
    # Every photograph in each epoch: with a replayed share, more corrections would mean more steps.
    tuned = [card for name, card in cards.items() if "finetune" in card["recipe"]]
    assert {card["recipe"]["finetune"]["replay"] for card in tuned} == {1.0}
    for card in some:
        assert card["corrections"]["n"] == np.ceil(0.3 * full["corrections"]["n"])
        assert card["lineage"] == full["lineage"]


def test_figure_1_learns_from_the_first_step(done):
    """Its models know all corrections that fine-tuning knows, beside healthy eyes; half see the expert's maps."""
    to, _, _ = done
    cards = [json.loads(path.read_text()) for path in to.rglob("models/*-supervised-*/fold0/model.json")]
    full = next(json.loads(path.read_text()) for path in to.rglob("models/*-finetuned-*/fold0/model.json"))
    found = sorted((card["network"]["weighting"], card["recipe"]["supervision"]["teacher_maps"]) for card in cards)
    assert found == [("gate", 0.0), ("gate", 0.5), ("residual", 0.0), ("residual", 0.5)]
    for card in cards:
        assert card["corrections"]["n"] == full["corrections"]["n"] > 0
        assert card["corrections"]["free_of_lesions"] > 0
        assert card["recipe"]["phase1"]["epochs"] == OPTIONS.epochs
        assert all("map" in losses for losses in card["history"])


def test_plan_trains_nothing(done, folder_of):
    """--plan lists the grid; its time is that of earlier runs, else unknown; nothing is trained."""
    fresh = folder_of()
    expected, code = _command(fresh, "table2", plan=True).run()
    assert code == 0
    assert expected["n_runs"] == len(expected["runs"]) == 7
    assert expected["n_done"] == 0
    assert (expected["sources"], expected["seconds"]) == ([], None)
    assert {run["seconds"] for run in expected["runs"]} == {None}
    assert plan_lines(expected)[-1] == "7 runs, 0 done; the rest takes an unknown time"
    assert not list(fresh.rglob("model.json"))
    assert not (fresh / "runs").exists()
    to, _, _ = done
    finished, _ = _command(to, plan=True).run()
    assert finished["n_done"] == finished["n_runs"]
    assert finished["seconds"] == 0
    assert plan_lines(finished)[-1] == f"{finished['n_runs']} runs, {finished['n_runs']} done"
    more = ReproduceOptions(**(vars(OPTIONS) | {"seeds": 2}))
    second, _ = _command(to, "table2", more, plan=True).run()
    assert (second["n_runs"], second["n_done"], second["sources"]) == (14, 7, ["earlier runs"])
    assert second["seconds"] > 0
    assert plan_lines(second)[-1].startswith("14 runs, 7 done; the rest takes about ")


def test_a_killed_call_goes_on(done, folder_of, count_steps, monkeypatch):
    """Killed in the middle of an epoch, the next call redoes that epoch alone and ends where no stop would have."""
    to = folder_of()
    monkeypatch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 0.0)  # usually at most every 20 seconds
    steps = count_steps(stop=4)
    with pytest.raises(KeyboardInterrupt):
        _command(to, "fig6").run()
    assert len(steps) == 3
    assert not list((to / "runs").glob("*.json"))
    more = count_steps()
    _command(to, "fig6").run()
    whole, _, _ = done
    files = sorted((to / "runs").glob("*.json"))
    assert len(files) == 4
    cards = [json.loads(path.read_text()) for path in to.rglob("models/*/fold0/model.json")]
    photographs = {card["data"]["n_training"] for card in cards}
    assert len(photographs) == 1
    each = photographs.pop() // 8  # steps of an epoch, the last one whole; two epochs of phase 1, one of fine-tuning
    assert each < len(steps) < 2 * each
    assert len(more) == 3 * each - each
    for file in files:
        measured = dict.fromkeys(("seconds", "fresh", "seal"))  # the seal is over the time, too
        one, other = (json.loads((folder / "runs" / file.name).read_text()) for folder in (to, whole))
        assert one | measured == other | measured
        assert one["fresh"] == (one["kind"] != "phase1")


def test_what_cannot_be_done_is_said_before_training(folder_of, count_steps):
    """A backbone that does not exist, a page that is no text, a folder of other tables: one line, no step taken."""
    steps, to = count_steps(), folder_of()
    unknown = ReproduceOptions(**(vars(OPTIONS) | {"backbones": "test_resnet,resnet99"}))
    with pytest.raises(ModelError, match="resnet99"):
        _command(to, options=unknown).run()
    with pytest.raises(OptionError, match="expected a page in UTF-8"):
        _command(to, markdown=to).run()
    (to / "fig7.json").write_text('{"fingerprint": "of others", "data": "folder:eyes"}')
    with pytest.raises(OptionError, match=r"holds fig7 of other photographs \(folder:eyes\)"):
        _command(to).run()
    assert steps == []


def test_two_processes_share_the_grid(done, folder_of):
    """Started twice, every run is done once, both write the same tables, and figures are those of one process."""
    to, page = folder_of(), "page.md"
    given = ("--to", ".", "--markdown", page, "--resamples", "50", "--faithfulness", "2", "--steps", "3", "--json")
    given += ("--data", "synthetic:30", "--backbones", "test_resnet", "--seeds", "1", "--size", "32", "--batch", "8")
    given += ("--epochs", "2", "--finetune-epochs", "1", "--precision", "fp32", "--workers", "1")
    call = [sys.executable, "-m", "regaze", "reproduce", "fig5", *given]
    both = [subprocess.Popen(call, cwd=to, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    said = [line.split("] ")[1] for _, err in outs for line in err.splitlines() if " of 12] " in line]
    assert len(said) == len(set(said)) == 12
    results = [json.loads(out) for out, _ in outs]
    assert results[0] == results[1]
    _, _, whole = done
    figures = json.loads(json.dumps(whole["experiments"]["fig5"]["figures"]))
    assert results[0]["experiments"]["fig5"]["figures"] == figures
    assert (to / page).read_text(encoding="utf-8").count(": start -->") == 1


def test_a_model_that_is_gone_is_trained_again(done, tmp_path):
    """A training run counts as done only while its models are there; what was measured of them still counts."""
    to = shutil.copytree(done[0], tmp_path / "copy", symlinks=True)
    whole, _ = _command(to, plan=True).run()
    gone = next(path for path in to.glob("studies/*/models/*-finetuned-*") if "multi" in path.name)
    shutil.rmtree(gone)
    again, _ = _command(to, plan=True).run()
    assert [run["model"] for run in again["runs"] if not run["done"]] == [gone.name]
    assert whole["n_done"] == again["n_done"] + 1


def test_photographs_without_lesions_are_refused(folder_of, table_of, tmp_path):
    """Data that say nothing about lesions are refused before any training, with the cure."""

    def bare(row):
        return {key: "" if key not in ("image", "label", "patient", "split") else value for key, value in row.items()}

    table = table_of(tmp_path / "bare.csv", bare)
    options = ReproduceOptions(**(vars(OPTIONS) | {"data": f"csv:{table}"}))
    with pytest.raises(StudyError, match="neither masks nor boxes"):
        _command(tmp_path / "to", options=options).run()
    assert not list(tmp_path.rglob("model.json"))


@pytest.mark.parametrize(
    ("bare", "part", "what"), [("test", "test part", "table2"), ("training", "training part of fold 1", "fig7")]
)
def test_a_part_without_lesions_is_said_before_training(bare, part, what, table_of, tmp_path, count_steps):
    """Where the part to correct, or the part to measure, has no known lesions, no step is taken first."""

    def row_of(row):
        kept = ("image", "label", "patient", "split")
        return row if row["split"] != bare else {key: value if key in kept else "" for key, value in row.items()}

    options = ReproduceOptions(**(vars(OPTIONS) | {"data": f"csv:{table_of(tmp_path / 'some.csv', row_of)}"}))
    steps = count_steps()
    with pytest.raises(StudyError, match=f"No photograph of the {part} .* has known lesions"):
        _command(tmp_path / "to", what, options).run()
    assert steps == []


def test_durations():
    """Seconds, minutes, hours."""
    assert [duration(value) for value in (3.2, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2.0 h"]
