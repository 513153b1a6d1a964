"""A list of work that several processes share."""

import threading
import time

import pytest

from regaze.experiments import sharing
from regaze.experiments.sharing import shared_out
from regaze.files import held

NAMES = [f"entry{index}" for index in range(12)]


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch):
    monkeypatch.setattr(sharing, "_PAUSE_SECONDS", 0.01)


def test_every_entry_is_done_once_by_somebody(tmp_path):
    """Four workers: no entry twice, none left, all end after the last one, and more than one had work."""
    finished, by, ends = set(), [], []

    def work(worker):
        for name in shared_out(NAMES, tmp_path, finished.__contains__, lambda _: None):
            time.sleep(0.02)
            finished.add(name)
            by.append((name, worker))
        ends.append(len(finished))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(name for name, _ in by) == sorted(NAMES)
    assert len({worker for _, worker in by}) > 1
    assert ends == [len(NAMES)] * 4


def test_what_another_process_left_is_taken_up(tmp_path):
    """An entry that is held comes last; held and done is not handed out; held and given up is; waiting is said once."""
    held_by_others = [held(tmp_path / name) for name in NAMES[:2]]
    for lock in held_by_others:
        assert lock.__enter__()
    finished, said, order = set(), [], []

    def say(line):
        said.append(line)
        finished.add(NAMES[0])  # the one is finished by its process, the other process is killed
        for lock in held_by_others:
            lock.__exit__(None, None, None)

    for name in shared_out(NAMES, tmp_path, finished.__contains__, say):
        order.append(name)
        finished.add(name)
    assert order == [*NAMES[2:], NAMES[1]]
    assert said == ["waiting for other processes, which are at the rest (2)"]


def test_a_failed_entry_is_let_go_of(tmp_path):
    """Closed in the middle of an entry, nobody holds its lock."""
    entries = shared_out(NAMES, tmp_path, lambda _: False, lambda _: None)
    name = next(entries)
    with held(tmp_path / name) as mine:
        assert not mine
    entries.close()
    with held(tmp_path / name) as mine:
        assert mine
