"""Neither predicting many photographs nor many epochs take more memory or file handles as they go on."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.console import Voice
from regaze.models.build import build_network
from regaze.models.card import ModelCard
from regaze.models.folder import save_model
from regaze.models.options import MachineOptions, NetworkOptions
from regaze.photographs.predict import predict_files

GROWTH = 12  # MiB that an allocator may hold back

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def usage():
    """Resident memory in MiB, and open file handles."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def model(tmp_path):
    """An untrained model of 32 pixels."""
    options = NetworkOptions(backbone="test_resnet", weights="none")
    built = build_network(options, 5, 32)
    card = ModelCard("m", options, tuple("01234"), True, "median", 32, True, built.mean, built.std, {"phase1": {}})
    save_model(tmp_path / "model", built.network, card)
    return tmp_path / "model"


def predicted(model, folder, count):
    """Predict so many photographs; memory and handles after a quarter of them, and at the end."""
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 40)).save(folder / f"p{index}.jpg")
    seen, done = [], 0

    def each(said):
        nonlocal done
        assert 0 <= said["grade"] <= 4
        done += 1
        if done in (count // 4, count):
            seen.append(usage())

    machine = MachineOptions(precision="fp32", workers=1)
    predict_files(model, [folder], folder.parent / "out", machine, 16, Voice(quiet=True), each)
    assert done == count
    return seen


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_predicting_goes_on_in_the_same_memory(model, tmp_path, count):
    """What is said of a photograph is written at once: after four times as many, memory and handles are as before."""
    (early, handles), (late, at_end) = predicted(model, tmp_path / "photos", count)
    assert late - early < GROWTH
    assert at_end == handles


@pytest.mark.slow
def test_epochs_go_on_in_the_same_memory(new_study, regaze, tiny, monkeypatch):
    """Of 20 epochs the last takes no more memory and no more handles than the fifth."""
    seen = []
    original = Voice.progress

    def progress(self, label):
        context = original(self, label)
        feed = context.__enter__()

        class Watched:
            def __enter__(self):
                return lambda done, total: (feed(done, total), seen.append(usage()) if "training" in label else None)

            def __exit__(self, *error):
                return context.__exit__(*error)

        return Watched()

    folder = new_study()
    assert regaze("init", folder, "--data", tiny["data"], "--size", "64").code == 0
    monkeypatch.setattr(Voice, "progress", progress)
    done = regaze("train", folder, *tiny["network"], "--epochs", "20", "--batch", "8", *tiny["machine"])
    assert done.code == 0, done.err
    assert len(seen) >= 20
    assert seen[-1][0] - seen[5][0] < GROWTH
    assert seen[-1][1] <= seen[5][1]
