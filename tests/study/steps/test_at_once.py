"""Two calls at once: nothing is lost, nothing is doubled, and each says what it did."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from regaze.corrections.store import Store


@pytest.fixture
def selected(study_copy, regaze):
    """A copy of the finished study without a correction, with everything selected."""
    (study_copy / "records.sqlite").unlink()
    assert regaze("select", study_copy, "--everything").code == 0
    return study_copy


def test_corrections_that_another_wrote_meanwhile_stay(selected, regaze, monkeypatch, open_quietly):
    """Between the look at the store and the write another author was faster: those photographs are kept."""
    faster = regaze("correct", selected, "--author", "anna", "--json").json
    assert faster["written"] > 0
    with monkeypatch.context() as patch:
        patch.setattr(Store, "correction_index", lambda _: [])  # as it was before anna wrote
        slower = regaze("correct", selected, "--author", "ben", "--healthy", "--json").json
    assert slower["kept"] == faster["written"]
    assert slower["written"] == slower["healthy"] > 0, "only the empty ones, which anna did not ask for"
    entries = open_quietly(selected).store.correction_index()
    assert len(entries) == faster["written"] + slower["written"]
    assert max(Counter(entry.sample for entry in entries).values()) == 1


@pytest.mark.slow
def test_two_corrects_at_once(selected, open_quietly):
    """Real processes with other authors and options: every photograph once, and the counts add up."""
    words = (["--author", "anna", "--json"], ["--author", "ben", "--healthy", "--json"])
    calls = [
        subprocess.Popen(
            [sys.executable, "-m", "regaze", "correct", str(selected), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for more in words
    ]
    said = [(call.communicate(timeout=900), call.returncode) for call in calls]
    assert [code for _, code in said] == [0, 0], said
    entries = open_quietly(selected).store.correction_index()
    assert entries
    assert max(Counter(entry.sample for entry in entries).values()) == 1
    written = [json.loads(out)["written"] for (out, _), _ in said]
    assert sum(written) == len(entries)


def test_all_folds_learn_from_one_look_at_the_store(selected, regaze, monkeypatch, open_quietly):
    """A correction that is written between two folds belongs to the next round."""
    from regaze.study.steps.supervision import corrections_by_fold
    from regaze.training.options import FinetuneOptions

    assert regaze("correct", selected).code == 0
    study = open_quietly(selected)
    looks = []
    original = Store.correction_index
    monkeypatch.setattr(Store, "correction_index", lambda store: (looks.append(1), original(store))[1])
    monkeypatch.setattr(type(study), "folds", [0, 0, 0])
    assert corrections_by_fold(study, "multi-scale", FinetuneOptions())[0]
    assert len(looks) == 1


def test_two_collections_of_one_model_do_not_mix(study_copy, regaze, tiny, monkeypatch):
    """While another process collects, the second waits; then it finds all there, and collects nothing."""
    from contextlib import contextmanager

    from regaze.study.steps import collect as step

    folder = study_copy / "collected" / "multi-scale" / "fold0"
    kept = {name: (folder / name).read_bytes() for name in ("collected.json", "maps.safetensors")}
    (folder / "maps.safetensors").unlink()
    loaded = []
    monkeypatch.setattr(step, "load_model", lambda *given: loaded.append(given))

    @contextmanager
    def waited(path, wait=False):
        assert wait
        (folder / "maps.safetensors").write_bytes(kept["maps.safetensors"])  # what the other wrote meanwhile
        yield True

    monkeypatch.setattr(step, "held", waited)
    assert regaze("collect", study_copy, *tiny["machine"]).code == 0
    assert loaded == []
    assert {name: (folder / name).read_bytes() for name in kept} == kept
