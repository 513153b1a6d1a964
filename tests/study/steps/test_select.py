"""Signals that need no label, and the batches that `select` makes of them."""

import json

import pytest

SIGNALS = {"branches", "scales", "cam", "instability", "prior"}


@pytest.fixture
def signalled(study_copy, regaze, tiny):
    """A study whose maps were collected with signals."""
    outcome = regaze("collect", study_copy, "--signals", *tiny["machine"], "--json")
    assert outcome.code == 0, outcome.err
    return study_copy


def rows_of(folder):
    """What was collected."""
    return json.loads((folder / "collected" / "multi-scale" / "fold0" / "collected.json").read_text())["photographs"]


def test_signals_are_collected_when_asked_for(study_copy, signalled):
    """One of each per photograph, the prior too since there are corrections."""
    for row in rows_of(signalled):
        assert set(row["signals"]) == SIGNALS
        assert all(value is not None and value >= 0 for value in row["signals"].values())
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_collecting_again_without_signals_keeps_the_cheap_ones(signalled, regaze, tiny):
    """Another request is another collection, with what one forward pass shows; the same one is not made again."""
    file = signalled / "collected" / "multi-scale" / "fold0" / "collected.json"
    stamp = file.stat().st_mtime_ns
    regaze("collect", signalled, "--signals", *tiny["machine"])
    assert file.stat().st_mtime_ns == stamp
    again = rows_of(signalled)
    regaze("collect", signalled, *tiny["machine"])
    whole = [row["signals"] for row in again]
    for row, before in zip(rows_of(signalled), whole, strict=True):
        assert row["signals"] == pytest.approx({name: before[name] for name in ("branches", "scales")}, abs=1e-4)


@pytest.mark.parametrize("rule", ["entropy", "margin", "branches", "scales", "cam", "instability", "prior", "combined"])
def test_every_rule_ranks_and_explains(signalled, regaze, rule):
    """The same request gives the same list, one line each; a bigger count begins with the smaller one."""
    first = regaze("select", signalled, "--by", rule, "--count", "5", "--everything", "--json").json["selections"][0]
    again = regaze("select", signalled, "--by", rule, "--count", "5", "--everything", "--json").json["selections"][0]
    more = regaze("select", signalled, "--by", rule, "--count", "9", "--everything", "--json").json["selections"][0]
    assert first == again
    assert len(first["samples"]) == len(first["reasons"]) == 5
    assert more["samples"][:5] == first["samples"]
    assert all(f"by {rule}" in line and "\n" not in line for line in first["reasons"])


def test_diversity_and_quotas_from_the_command_line(signalled, regaze, open_quietly):
    """With diversity no patient comes twice while others wait; equal quotas let grades take turns."""
    study = open_quietly(signalled)
    patients = {sample.id: sample.patient for sample in study.dataset.samples}
    labels = {sample.id: sample.label for sample in study.dataset.samples}
    words = ["--by", "cam", "--everything", "--count", "6", "--json"]
    varied = regaze("select", signalled, "--diversity", "0.5", *words).json["selections"][0]["samples"]
    assert len({patients[item] for item in varied}) == 6
    equal = regaze("select", signalled, "--quota", "equal", *words).json["selections"][0]["samples"]
    present = {labels[sample.id] for sample in study.training(0)}
    assert len({labels[item] for item in equal[: len(present)]}) == len(present)


def test_more_where_nothing_is_left(signalled, regaze):
    """All photographs of the finished study have been corrected: --more says so."""
    outcome = regaze("select", signalled, "--by", "cam", "--everything", "--more")
    assert outcome.code == 1
    assert "All 20 collected photographs have been corrected" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "cam"], "regaze collect --signals"),
        (["--by", "cam", "--diversity", "0.5"], "--signals"),
        (["--count", "0"], "--count 0: expected 1 to 1000000000"),
        (["--count", "3", "--share", "0.5"], "--count 3 and --share 0.5 both say how many: give one."),
        (["--diversity", "2"], "--diversity 2.0: expected 0 to 1"),
    ],
)
def test_what_select_cannot_do_is_said(study_copy, regaze, words, message):
    """Signals that were not collected and values out of range: one line with the cure."""
    outcome = regaze("select", study_copy, "--everything", *words)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_run_by_signals_collects_them_and_stays_as_it_is(new_study, regaze, tiny, files_of, open_quietly):
    """`run --by cam` measures the signals itself; called again it changes nothing; --more gives the next batch."""
    folder = new_study()
    usual = [word for word in tiny["run"] if word != "--healthy"]
    words = ["run", folder, *usual, "--by", "cam", "--share", "0.5", "--no-control"]
    assert regaze(*words, "--json").code == 0
    assert all(row["signals"] for row in rows_of(folder))
    before = files_of(folder / "models"), rows_of(folder)
    count = len(json.loads(regaze(*words, "--json").out)["models"])
    assert (files_of(folder / "models"), rows_of(folder)) == before
    assert count == 2
    corrected = {entry.sample for entry in open_quietly(folder).store.correction_index()}
    batch = regaze("select", folder, "--by", "cam", "--everything", "--more", "--json").json["selections"][0]
    assert not corrected & set(batch["samples"])
    assert set(batch["samples"]) | corrected == {row["sample"] for row in rows_of(folder)}


def test_a_run_that_needs_no_expert_says_so(new_study, regaze, tiny, monkeypatch):
    """Where all photographs are graded right with maps on the lesions, the run ends well with the phase-1 model."""
    from regaze.selection.rules import NothingToSelect
    from regaze.study.steps import run

    def nobody(*_arguments, **_options):
        raise NothingToSelect("none of the 21 photographs needs an expert")

    monkeypatch.setattr(run, "select", nobody)
    folder = new_study()
    outcome = regaze("run", folder, *tiny["run"])
    assert outcome.code == 0, outcome.err
    assert "none of the 21 photographs needs an expert" in outcome.err
    assert "no report: no photograph needed a correction" in outcome.out
