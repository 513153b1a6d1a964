"""Writing files whole or not at all."""

import os
import stat
import subprocess
import sys

import pytest

from regaze.errors import StudyError
from regaze.files import alone, digest, read_json, replacing, write_json, write_text


def test_a_written_file_reads_back(tmp_path):
    """Text and JSON come back as they were, missing folders are made, and nothing else is left."""
    path = tmp_path / "a" / "b" / "größe.json"
    write_json(path, {"ä": [1, 2.5, None, True], "b": "x\ny"})
    assert read_json(path) == {"ä": [1, 2.5, None, True], "b": "x\ny"}
    assert "ä" in path.read_text(encoding="utf-8")
    write_text(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    """An exception inside the block, an interrupt included, changes nothing and leaves no temporary file."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    """The sync comes first: after a crash the name never points to half a file. The folder follows."""
    path, events = tmp_path / "a.txt", []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(path.exists()), sync(handle))[1])
    write_text(path, "new")
    assert events == ([False, True] if os.name == "posix" else [False])
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_results_are_as_readable_as_other_files(tmp_path, umask, mode):
    """The temporary file is private; the result follows the umask of the user's process, which stays as it was."""
    code = (
        "import os, sys; from pathlib import Path; from regaze.files import write_text\n"
        "write_text(Path(sys.argv[1]), 'x'); print(os.umask(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.txt")], umask=umask, capture_output=True, text=True, check=True
    )
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode
    assert int(done.stdout) == umask


def test_nan_is_no_json(tmp_path):
    """NaN and infinity are refused before anything is written."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "a.json", {"x": value})
    assert list(tmp_path.iterdir()) == []


def test_a_digest_depends_on_the_value_alone():
    """The order of keys does not matter, the order of lists and every value does; it is the same on every machine."""
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    values = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, {"a": [1]}, {"a": 1.5}, [], ""]
    assert len({digest(value) for value in values}) == len(values)
    assert digest([1, 2]) != digest([2, 1])
    # BLAKE2b of the text {"a":[1,"ü"]} written in ASCII, as any implementation gives it.
    assert digest({"a": [1, "ü"]}) == "86a9c65c684ec6fb"


def test_one_process_at_a_time(tmp_path):
    """A second process is told so, also by a caller of this one; when the first is killed the way is free."""
    lock = tmp_path / "a" / ".lock"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom regaze.files import alone\n"
        "with alone(Path(sys.argv[1]), 'busy'):\n    print('in', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(StudyError, match="busy by another"), alone(lock, "busy by another"):
            pytest.fail("two processes were inside")
        other.kill()
    with alone(lock, "busy"), pytest.raises(StudyError, match="still busy"), alone(lock, "still busy"):
        pytest.fail("two callers were inside")
    with alone(lock, "busy"):
        pass
