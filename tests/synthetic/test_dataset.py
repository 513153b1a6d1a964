"""The synthetic set on disk."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regaze.errors import DataError, OptionError
from regaze.records import LESION_TYPES
from regaze.synthetic import dataset
from regaze.synthetic.dataset import COLUMNS, write_synthetic
from regaze.synthetic.photograph import TASKS


def read(path):
    """Rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> dict[str, str]:
    """Relative path -> hash of every file below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A set of 21 photographs of 11 patients."""
    return write_synthetic(tmp_path_factory.mktemp("sets") / "set", 21, 3, size=64, workers=1)


def test_the_table_names_every_file_and_no_other(written):
    """Every cell leads to a photograph or mask of the right size, or is `none`; no file is left over."""
    rows = read(written)
    assert written.name == "synthetic.csv"
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 21
    named = {written.name, "synthetic.json"}
    for row in rows:
        with Image.open(written.parent / row["image"]) as photo:
            assert (photo.size, photo.mode, photo.format) == ((64, 64), "RGB", "JPEG")
        named.add(row["image"])
        for column in LESION_TYPES:
            if row[column] == "none":
                continue
            with Image.open(written.parent / row[column]) as mask:
                assert (mask.size, mask.mode, mask.format) == ((64, 64), "1", "PNG")
                assert np.asarray(mask).any()
            named.add(row[column])
    assert named == set(digest(written.parent))


def test_grades_fit_the_masks_in_the_table(written):
    """A healthy row has no mask, grade 1 microaneurysms alone, and higher grades something else."""
    rows = read(written)
    for row in rows:
        present = {column for column in LESION_TYPES if row[column] != "none"}
        if row["label"] in ("0", "1"):
            assert present == ({"microaneurysms"} if row["label"] == "1" else set())
        else:
            assert present - {"microaneurysms"}
    assert len({row["label"] for row in rows}) >= 3


def test_patients_stay_on_one_side(written):
    """Two eyes per patient (the odd one out has one), and the last fifth of the patients is the test."""
    rows = read(written)
    patients = list(dict.fromkeys(row["patient"] for row in rows))
    assert len(patients) == 11
    assert [sum(row["patient"] == p for row in rows) for p in patients] == [2] * 10 + [1]
    sides = {p: {row["split"] for row in rows if row["patient"] == p} for p in patients}
    assert all(len(side) == 1 for side in sides.values())
    assert [next(iter(sides[p])) for p in patients] == ["training"] * 9 + ["test"] * 2


def test_both_eyes_share_the_camera(written):
    """The two photographs of a patient have the same field of view."""
    rows = read(written)
    for right, left in zip(rows[0:8:2], rows[1:8:2], strict=True):
        fields = []
        for row in (right, left):
            with Image.open(written.parent / row["image"]) as photo:
                fields.append(np.asarray(photo.convert("L")) > 24)
        assert (fields[0] ^ fields[1]).mean() < 0.06
        assert "right" in right["image"]
        assert "left" in left["image"]


def test_grades_of_two_eyes_are_correlated_with_the_right_shares():
    """The marginal shares are IDRiD's (grade 1 raised), and most pairs agree or differ by one grade."""
    pairs = np.array([dataset._grades(np.random.default_rng(i)) for i in range(4000)])
    for side in (0, 1):
        np.testing.assert_allclose(np.bincount(pairs[:, side], minlength=5) / 4000, TASKS["clinical"].shares, atol=0.03)
    assert 0.7 < np.corrcoef(pairs.T)[0, 1] < 0.95
    assert 0.4 < (pairs[:, 0] == pairs[:, 1]).mean() < 0.85


def test_workers_do_not_change_a_byte(written, tmp_path):
    """Two spawned processes write the same files as one."""
    again = write_synthetic(tmp_path / "set", 21, 3, size=64, workers=2)
    assert digest(again.parent) == digest(written.parent)


def test_the_same_set_is_found_and_not_written_again(written, monkeypatch):
    """Asked again for the very set, nothing is painted."""
    before = {path: path.stat().st_mtime_ns for path in written.parent.rglob("*")}
    monkeypatch.setattr(dataset, "_write_photograph", None)
    assert write_synthetic(written.parent, 21, 3, size=64, workers=1) == written
    assert {path: path.stat().st_mtime_ns for path in written.parent.rglob("*")} == before


def test_progress_counts_to_the_end(tmp_path):
    """Progress is told after every photograph; missing parents and an empty folder are fine."""
    folder = tmp_path / "new" / "set"
    folder.mkdir(parents=True)
    steps = []
    write_synthetic(folder, 3, 0, size=64, workers=1, progress=lambda done, count: steps.append((done, count)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [path.name for path in folder.parent.iterdir()] == ["set"]
    assert json.loads((folder / "synthetic.json").read_text())["seed"] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_nothing(tmp_path, workers):
    """Ctrl-C in the middle leaves neither the final name nor a scratch folder; the next run succeeds."""

    def interrupt(done, count):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", 18, 0, size=64, workers=workers, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert len(read(write_synthetic(tmp_path / "set", 4, 0, size=64, workers=1))) == 4


def test_a_folder_with_something_else_is_refused(written, tmp_path):
    """Another set, foreign files, a plain file or a damaged set raise DataError and stay as they are."""
    before = digest(written.parent)
    with pytest.raises(DataError, match=r"another synthetic set .*seed 3.*seed 4"):
        write_synthetic(written.parent, 21, 4, size=64)
    assert digest(written.parent) == before

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="something else"):
        write_synthetic(tmp_path / "mine", 2, 0, size=64)
    with pytest.raises(DataError, match="is a file"):
        write_synthetic(tmp_path / "mine" / "notes.txt", 2, 0, size=64)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"

    damaged = write_synthetic(tmp_path / "damaged", 1, 0, size=64, workers=1)
    damaged.unlink()
    with pytest.raises(DataError, match=r"has lost its synthetic\.csv"):
        write_synthetic(damaged.parent, 1, 0, size=64)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count 0"),
        ({"seed": -1}, "seed -1"),
        ({"size": 32}, "size 32"),
    ],
)
def test_numbers_out_of_range(tmp_path, options, words):
    """A number outside its range is refused by name, and nothing is left."""
    with pytest.raises(OptionError, match=words):
        write_synthetic(tmp_path / "set", **({"count": 2, "seed": 0} | options))
    assert list(tmp_path.iterdir()) == []


def test_a_script_without_a_guard_is_told_the_cure(tmp_path):
    """Spawned processes import the script: one that paints at import is told so in one line, and leaves nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from regaze.synthetic.dataset import write_synthetic\n"
        f"write_synthetic(Path({str(tmp_path / 'sets' / 'set')!r}), 20, 0, size=64, workers=2)\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "DataError: A process that paints" in ended.stderr
    assert "if __name__ == '__main__':" in ended.stderr
    assert list((tmp_path / "sets").iterdir()) == []
