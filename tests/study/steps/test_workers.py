"""The same seed gives the same bytes, whatever the number of workers."""

import json

import pytest
from safetensors.numpy import load

STEPS = (
    ("train", "network", "training"),
    ("collect",),
    ("select",),
    ("correct",),
    ("finetune",),
    ("evaluate", "evaluation"),
)


def _without_keys(path, content):
    """Keys name corrections, which hold the time at which they were made, and a seal covers its key."""
    if path.endswith(".json"):
        return {name: value for name, value in json.loads(content).items() if name not in ("key", "seal")}
    return {name: array.tobytes() for name, array in load(content).items()}


@pytest.mark.slow
def test_the_same_bytes_with_0_1_and_2_workers(new_study, regaze, tiny, files_of):
    """Weights, maps, records and figures of train, collect, finetune and evaluate, from a cold cache each time."""
    found = {}
    for workers in (0, 1, 2):
        folder = new_study(f"workers{workers}")
        assert regaze("init", folder, "--data", tiny["data"], "--size", "64").code == 0
        machine = ["--precision", "fp32", "--workers", str(workers)]
        for name, *groups in STEPS:
            words = [word for group in groups for word in tiny[group]]
            words += ["--epochs", "2", "--batch", "8"] if name == "finetune" else []
            words += machine if name not in ("select", "correct") else []
            done = regaze(name, folder, *words)
            assert done.code == 0, done.err
        found[workers] = {
            path: _without_keys(path, content)
            for part in ("models", "collected", "evaluation")
            for path, (content, _) in files_of(folder / part).items()
            if not path.endswith("model.json")  # which says how many workers there were, and when
        }
    assert sum(path.endswith("model.safetensors") for path in found[0]) == 2
    assert any(path.endswith("test.json") for path in found[0])
    assert found[0] == found[1] == found[2]
