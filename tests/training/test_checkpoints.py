"""A run that was interrupted goes on as if it had not been; damaged and foreign checkpoints are ignored."""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.runs import FINETUNE, PHASE1, RECIPES, Stop, moved, network_of, photographs, run, same


@pytest.mark.parametrize("recipe", RECIPES)
def test_resuming_equals_not_stopping(tmp_path, recipe):
    """Interrupted after epochs 1 and 2 of 4 and called again: bitwise the weights of an undisturbed run."""
    whole, history = run(recipe, tmp_path / "whole")
    for after in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "parts", progress=Stop(after))
    calls = []
    resumed, again = run(recipe, tmp_path / "parts", progress=lambda done, *_: calls.append(done))
    assert calls == [3, 4]
    assert same(whole, resumed)
    assert again == history
    assert not any(module.training for module in resumed.modules())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_finished_run_is_not_repeated(tmp_path, recipe):
    """Calling again after the end gives the same model without one more step."""
    first, history = run(recipe, tmp_path)
    second, again = run(recipe, tmp_path, progress=lambda *_: pytest.fail("trained again"))
    assert same(first, second)
    assert again == history


def test_resuming_without_averaging(tmp_path):
    """The same with the moving average off."""
    options = replace(PHASE1, averaging=0.0)
    whole, _ = run("phase1", tmp_path / "whole", options=options)
    with pytest.raises(KeyboardInterrupt):
        run("phase1", tmp_path / "parts", options=options, progress=Stop(2))
    assert same(whole, run("phase1", tmp_path / "parts", options=options)[0])


class Counter:
    """A progress callback that notes the epochs done and interrupts after the first call."""

    def __init__(self):
        self.calls = []

    def __call__(self, done, *_):
        """Called after every epoch."""
        self.calls.append(done)
        raise KeyboardInterrupt


def first_epoch(folder, **changes):
    """Number of the first epoch that a fine-tuning run does; None where it finds itself finished."""
    counter = Counter()
    with suppress(KeyboardInterrupt):
        run("finetune", folder, progress=counter, **changes)
    return counter.calls[0] if counter.calls else None


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A folder with the checkpoint of a fine-tuning run that was interrupted after epoch 2 of 4."""
    folder = tmp_path_factory.mktemp("half")
    with pytest.raises(KeyboardInterrupt):
        run("finetune", folder, progress=Stop(2))
    return folder


@pytest.fixture
def checkpoint(half_done, tmp_path):
    """A copy of it in the test's own folder."""
    return Path(shutil.copy(half_done / "finetune.safetensors", tmp_path))


@pytest.mark.parametrize("damage", ["none", "empty", "cut", "overwritten"])
def test_a_damaged_checkpoint_is_ignored(checkpoint, damage):
    """Training starts over; with the undamaged file it goes on at epoch 3."""
    content = checkpoint.read_bytes()
    damaged = {"none": content, "empty": b"", "cut": content[: len(content) // 2], "overwritten": b"\xff" * 100}
    checkpoint.write_bytes(damaged[damage])
    assert first_epoch(checkpoint.parent) == (3 if damage == "none" else 1)


def test_checkpoints_are_written_when_they_fall_due(tmp_path, monkeypatch):
    """Epochs of 9 seconds: a checkpoint after the third, and none that costs a short round its time."""
    monkeypatch.setattr("regaze.training.loop._CHECKPOINT_SECONDS", 20.0)
    now = [0.0]
    monkeypatch.setattr("regaze.training.loop.time.monotonic", lambda: now[0])
    there = []

    def progress(done, *_):
        there.append((tmp_path / "finetune.safetensors").exists())
        now[0] += 9.0

    run("finetune", tmp_path, progress=progress)
    assert there == [False, False, False, True]


def swapped(data):
    """The same grades, two of them swapped."""
    return replace(data, labels=data.labels[[1, 0, *range(2, len(data.labels))]])


def others(data):
    """As many corrected photographs, but others."""
    return replace(data, corrected=~data.corrected)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"ordinal": False},
        {"normalisation": ((0.4, 0.5, 0.5), (0.25, 0.25, 0.25))},
        {"options": replace(FINETUNE, lr_maps=1e-3)},
        {"network": {"seed": 1}},
        {"network": {"bars": "masked"}},
        {"data": moved},
        {"data": swapped},
        {"data": others},
    ],
    ids=[
        "seed",
        "loss",
        "mean",
        "options",
        "weights",
        "bars",
        "moved-corrections",
        "swapped-grades",
        "other-corrections",
    ],
)
def test_a_foreign_checkpoint_is_ignored(checkpoint, changes):
    """A checkpoint of a run that differs in anything that decides the result is not taken up."""
    changes = dict(changes)
    if "network" in changes:
        changes["network"] = network_of(**changes["network"])
    if "data" in changes:
        changes["data"] = changes["data"](photographs())
    assert first_epoch(checkpoint.parent, **changes) == 1


def test_a_checkpoint_of_the_other_recipe_is_ignored(tmp_path):
    """Phase 1 and fine-tuning never go on from each other's checkpoint, even under one name."""
    with pytest.raises(KeyboardInterrupt):
        run("phase1", tmp_path, progress=Stop(2))
    (tmp_path / "phase1.safetensors").rename(tmp_path / "finetune.safetensors")
    assert first_epoch(tmp_path) == 1
