"""The store under several processes, and under processes that are killed."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing

import pytest

from regaze.corrections.store import Store

# Says "ready", waits for a line, then stores one correction at a time and prints each id once committed.
WRITER = """
import sys
import numpy as np
from regaze.corrections.store import Store
from regaze.records import Correction

path, author, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(int(sys.argv[4]))
print("ready", flush=True)
sys.stdin.readline()
with Store(path) as store:
    for i in range(n):
        look = rng.random((90, 60)) > 0.5
        draft = Correction(0, f"{author}/{i}", "m", "masks", "replace", look, None, author, "", str(look.sum()))
        print(store.add_corrections([draft])[0].id, flush=True)
"""

# The same with batches: every number printed stands for one whole batch of five.
BATCHES = """
import sys
import numpy as np
from regaze.corrections.store import Store
from regaze.records import Correction

look = np.random.default_rng(0).random((300, 300)) > 0.5
print("ready", flush=True)
sys.stdin.readline()
with Store(sys.argv[1]) as store:
    for i in range(100_000):
        draft = Correction(0, str(i), "m", "masks", "replace", look, None, "x", "")
        store.add_corrections([draft] * 5)
        print(i, flush=True)
"""


@pytest.fixture
def start():
    """Start a script in a process of its own; none outlives the test, however the test ends."""
    with ExitStack() as stack:

        def started(script, *arguments):
            process = subprocess.Popen(
                [sys.executable, "-c", script, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)  # called before the process is waited for
            return process

        yield started


def _go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def _kill_at_a_random_moment(process):
    """Wait for a few lines and a random while, kill with SIGKILL, and give all whole lines printed so far."""
    _go(process)
    printed = [process.stdout.readline() for _ in range(random.randint(1, 5))]
    time.sleep(random.uniform(0, 0.06))
    process.kill()
    # Not communicate(), which would pass over lines that are in the buffer already.
    lines = printed + process.stdout.read().splitlines(keepends=True)
    assert process.wait() == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith("\n")]


def _integrity(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_a_committed_correction_survives_sigkill(tmp_path, start):
    """Every id that a killed process printed is found back whole, and the file opens cleanly."""
    path = tmp_path / "records.sqlite"
    for run in range(3):
        ids = _kill_at_a_random_moment(start(WRITER, path, f"run{run}", 100_000, run))
        assert ids
        with Store(path) as store:
            for one in ids:
                correction = store.correction(one)
                assert correction.author == f"run{run}"
                assert correction.remark == str(correction.look.sum())
            # At most the one in writing when the process died is there without having been printed.
            stored = [e.id for e in store.correction_index() if e.author == f"run{run}"]
            assert stored[: len(ids)] == ids
            assert len(stored) <= len(ids) + 1
        assert _integrity(path) == [("ok",)]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_a_killed_batch_is_there_whole_or_not_at_all(tmp_path, start):
    """No kill leaves a part of a batch behind."""
    path = tmp_path / "records.sqlite"
    numbers = _kill_at_a_random_moment(start(BATCHES, path))
    with Store(path) as store:
        samples = [entry.sample for entry in store.correction_index()]
    whole = [str(i) for i in range(len(samples) // 5) for _ in range(5)]
    assert samples == whole
    assert len(samples) // 5 - len(numbers) in (0, 1)


def test_two_processes_write_at_once(tmp_path, start):
    """Two processes create the file and write at the same moment: nothing fails, is lost or is mixed up."""
    path = tmp_path / "records.sqlite"
    n = 40
    writers = [start(WRITER, path, name, n, seed) for seed, name in enumerate(("ada", "ben"))]
    for writer in writers:
        _go(writer)
    outputs = [writer.stdout.read().split() for writer in writers]
    assert [writer.wait() for writer in writers] == [0, 0]
    ids = [int(one) for output in outputs for one in output]
    assert len(set(ids)) == 2 * n
    with Store(path) as store:
        assert sorted(ids) == [entry.id for entry in store.correction_index()]
        for name in ("ada", "ben"):
            mine = [store.correction(e.id) for e in store.correction_index() if e.author == name]
            assert [c.sample for c in mine] == [f"{name}/{i}" for i in range(n)]
            assert all(c.remark == str(c.look.sum()) for c in mine)
    assert _integrity(path) == [("ok",)]


def test_the_room_loads_no_torch():
    """Storing a correction is cheap to import: neither torch nor another heavy library comes along."""
    heavy = ["torch", "torchvision", "timm", "cv2", "sklearn", "lightning_fabric"]
    code = (
        "import sys, regaze.corrections.store, regaze.selection.rules, regaze.selection.diagnosis;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# One import's worth, at once.
IMPORTS = """
import sys
import numpy as np
from regaze.corrections.store import Store
from regaze.records import Correction

drafts = [
    Correction(0, str(i), "m", "expert", "replace", np.random.default_rng(i).random((300, 300)) > 0.5, None, "x", "")
    for i in range(30)
]
print("ready", flush=True)
sys.stdin.readline()
with Store(sys.argv[1]) as store:
    print(len(store.add_corrections(drafts, unless_there=True)), flush=True)
"""


def test_two_imports_of_one_file_at_once_write_it_once(start, path):
    """One transaction decides: one of them writes all, the other finds all there."""
    Store(path).close()
    processes = [start(IMPORTS, path) for _ in range(2)]
    for process in processes:
        _go(process)
    written = sorted(int(process.stdout.readline()) for process in processes)
    assert written == [0, 30]
    with Store(path) as store:
        assert store.count() == 30
        assert store.chain().problems == ()


# What `correct` and `select` add, by an author of its own.
STEPS = """
import sys
import numpy as np
from regaze.corrections.store import Store
from regaze.records import Correction

author = sys.argv[2]
look = np.random.default_rng(0).random((300, 300)) > 0.5
drafts = [Correction(0, str(i), "m", "masks", "replace", look, None, author, "") for i in range(30)]
print("ready", flush=True)
sys.stdin.readline()
with Store(sys.argv[1]) as store:
    print(len(store.add_corrections(drafts, unless_corrected=True)), flush=True)
    request = ("m", "random", 1.0, 0, [str(i) for i in range(30)], ["why"] * 30, author)
    print(store.add_selection(*request, unless_latest=True).id, flush=True)
"""


def test_two_who_correct_or_select_at_once_leave_one(start, path):
    """One transaction decides whose corrections and whose selection stand, whoever their authors are."""
    Store(path).close()
    processes = [start(STEPS, path, author) for author in ("anna", "ben", "clara")]
    for process in processes:
        _go(process)
    said = [[int(process.stdout.readline()) for _ in range(2)] for process in processes]
    assert sorted(count for count, _ in said) == [0, 0, 30]
    assert {number for _, number in said} == {1}
    with Store(path) as store:
        assert sorted(entry.sample for entry in store.correction_index()) == sorted(map(str, range(30)))
        assert len({entry.author for entry in store.correction_index()}) == 1
        assert len(store.selections()) == 1
        assert store.chain().problems == ()
